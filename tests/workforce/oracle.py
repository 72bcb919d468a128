#!/usr/bin/python3
"""What one upload of the workforce pack must give, computed a second time and independently of the program.

    oracle.py FILE --org ORG --user NAME [--state STATE.json]

Given a workbook, an organization and the documents that are there, it prints the errors and warnings, or the documents of every collection
after the import with the counts of rows. STATE is {store: {collection: {id: document}}}. Ids that an import makes stand as <new-N>, the
instant as <now>, the bulk operation's id as <bulk>. Written from the pack's specification only, with the plainest means: whole state in
memory, one pass per rule. It never looks at the program or the pack.
"""

import argparse
import calendar
import copy
import datetime
import decimal
import difflib
import json
import re
import sys
import unicodedata
import zoneinfo

import reader

COUNTRIES = set(
    '''
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI
    CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ
    GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS
    LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG
    PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK
    TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
    '''.split()
)
ZONES = {zone.casefold(): zone for zone in zoneinfo.available_timezones()}
WEEKDAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']
STAMPS = ('createdAt', 'createdBy', 'updatedAt', 'updatedBy', '_bulkOperationId')
STATUS = ('active', 'inactive')
TEXT_LIMIT, LONG_LIMIT, ID_LIMIT = 200, 1000, 128
REPORT_SHEET = 'allornoneerrors'

# Columns by sheet: heading, property, kind, and options: need, words, default, to (sheet referred to), low and high, limit.
SHEETS = {
    'Users': [
        ('User ID', 'userID', 'id', {'rtdb': True}),
        ('Name', 'name', 'text', {'need': True}),
        ('Email', 'email', 'email', {'need': True, 'unique': True, 'lower': True}),
        ('Phone', 'phone', 'phone', {}),
        ('Title', 'title', 'text', {}),
        ('Role', 'role', 'word', {'need': True, 'words': ('admin', 'manager', 'supervisor', 'staff')}),
        ('Departments', 'departmentIDs', 'refs', {'to': 'Departments'}),
        ('Sites', 'siteIDs', 'refs', {'to': 'Sites'}),
        ('Language', 'language', 'language', {'default': 'en'}),
        ('Status', 'status', 'word', {'words': STATUS, 'default': 'active'}),
        ('Employee Number', 'employeeNumber', 'text', {}),
        ('Hire Date', 'hireDate', 'date', {}),
        ('Password', 'password', 'password', {}),
    ],
    'Departments': [
        ('Department ID', 'departmentID', 'id', {}),
        ('Name', 'name', 'text', {'need': True, 'unique': True}),
        ('Code', 'code', 'text', {}),
        ('Email', 'email', 'email', {}),
        ('Status', 'status', 'word', {'words': STATUS, 'default': 'active'}),
    ],
    'Sites': [
        ('Site ID', 'siteID', 'id', {'rtdb': True}),
        ('Name', 'name', 'text', {'need': True, 'unique': True}),
        ('Code', 'code', 'text', {}),
        ('Address', 'address', 'text', {'limit': LONG_LIMIT}),
        ('City', 'city', 'text', {}),
        ('Country', 'country', 'country', {}),
        ('Latitude', 'latitude', 'number', {'low': -90, 'high': 90}),
        ('Longitude', 'longitude', 'number', {'low': -180, 'high': 180}),
        ('Time Zone', 'timeZone', 'zone', {}),
        ('Site Group', 'siteGroup', 'group', {}),
        ('Departments', 'departmentIDs', 'refs', {'to': 'Departments'}),
        ('Status', 'status', 'word', {'words': STATUS, 'default': 'active'}),
    ],
    'Products': [
        ('Product ID', 'productID', 'id', {}),
        ('Name', 'name', 'text', {'need': True, 'unique': True}),
        ('Category', 'category', 'text', {}),
    ],
    'SKUs': [
        ('SKU ID', 'skuID', 'id', {}),
        ('Name', 'name', 'text', {'need': True}),
        ('Code', 'code', 'text', {'need': True, 'unique': True}),
        ('Product', 'productID', 'ref', {'need': True, 'to': 'Products'}),
    ],
    'Questionnaires': [
        ('Questionnaire ID', 'questionnaireID', 'id', {'rtdb': True}),
        ('Title', 'title', 'text', {'need': True, 'unique': True}),
        ('Type', 'type', 'word', {'words': ('audit', 'checklist', 'survey'), 'default': 'checklist'}),
        ('Questions', 'questions', 'questions', {'need': True}),
    ],
    'Schedules': [
        ('Schedule ID', 'scheduleID', 'id', {}),
        ('Title', 'title', 'text', {'need': True}),
        ('Questionnaire', 'questionnaireID', 'ref', {'to': 'Questionnaires'}),
        ('Type', 'type', 'word', {'need': True, 'words': ('once', 'daily', 'weekly', 'monthly')}),
        ('Days', 'days', 'days', {}),
        ('Start Date', 'startDate', 'date', {'need': True}),
        ('End Date', 'endDate', 'date', {}),
        ('Start Time', 'startTime', 'time', {'need': True}),
        ('End Time', 'endTime', 'time', {'need': True}),
        ('Sites', 'siteIDs', 'refs', {'need': True, 'to': 'Sites'}),
        ('Users', 'userIDs', 'refs', {'to': 'Users'}),
        ('Departments', 'departmentIDs', 'refs', {'to': 'Departments'}),
        ('SKUs', 'skuIDs', 'refs', {'to': 'SKUs'}),
    ],
    'Issues': [
        ('Issue ID', 'issueID', 'id', {}),
        ('Title', 'title', 'text', {'need': True}),
        ('Site', 'siteID', 'ref', {'need': True, 'to': 'Sites'}),
        ('Assignee', 'assigneeID', 'ref', {'to': 'Users'}),
        ('Priority', 'priority', 'word', {'words': ('low', 'medium', 'high'), 'default': 'medium'}),
        ('Status', 'status', 'word', {'words': ('open', 'resolved'), 'default': 'open'}),
        ('Due Date', 'dueDate', 'date', {}),
    ],
    'Non-Ops Days': [
        ('Scope', 'scope', 'word', {'need': True, 'words': ('organization', 'site', 'user')}),
        ('Reference', 'reference', 'reference', {}),
        ('Start Date', 'startDate', 'date', {'need': True}),
        ('End Date', 'endDate', 'date', {}),
        ('Name', 'name', 'text', {'need': True}),
    ],
}
ENTITY = {
    'Users': 'users',
    'Departments': 'departments',
    'Sites': 'sites',
    'Products': 'products',
    'SKUs': 'skus',
    'Questionnaires': 'questionnaires',
    'Schedules': 'schedules',
    'Issues': 'issues',
    'Non-Ops Days': 'nonOpsDays',
}
COLLECTION = dict(ENTITY, Schedules='sitescheduleindexes')
KEY = {'Users': 'email', 'Departments': 'name', 'Sites': 'name', 'Products': 'name', 'SKUs': 'code', 'Questionnaires': 'title'}
# Members of these count as sets: their order says nothing.
SETS = {
    'departmentindexes': ('userIDs', 'siteIDs'),
    'siteindexes': ('userIDs', 'departmentIDs', 'scheduleIDs'),
    'roles': ('userIDs',),
    'sitegroups': ('siteIDs',),
}


class Fault(Exception):
    """What is wrong with one cell: its code."""


CLEAR = object()


def fold(text):
    return unicodedata.normalize('NFC', unicodedata.normalize('NFC', text).casefold())


def plain(name):
    """A sheet's name or a heading without what doesn't count in it."""
    return re.sub(r'[\s_-]', '', fold(name).strip().rstrip('*'))


def column_name(number):
    name = ''
    while number:
        number, rest = divmod(number - 1, 26)
        name = chr(65 + rest) + name
    return name


def as_text(cell):
    kind, value = cell
    if kind == 'e':
        raise Fault('bad_type')
    if kind == 'n':
        text = format(decimal.Decimal(repr(value)), 'f')
        return text.rstrip('0').rstrip('.') if '.' in text else text
    if kind == 'b':
        return 'TRUE' if value else 'FALSE'
    if kind == 'd':
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat()
    if kind == 't':
        return value.strftime('%H:%M') if not value.second else value.strftime('%H:%M:%S')
    return str(value).strip()


def entries(text):
    seen, found = set(), []
    for part in re.split('[,;]', text):
        part = part.strip()
        if part and fold(part) not in seen:
            seen.add(fold(part))
            found.append(part)
    return found


def encode(*parts):
    return ':'.join(part.replace('%', '%25').replace(':', '%3A') for part in parts)


# --- one cell -------------------------------------------------------------------------------------------------------------------------


def limited(text, limit=TEXT_LIMIT):
    if len(text) > limit:
        raise Fault('too_long')
    return text


def parse_id(cell, options):
    text = as_text(cell)
    if options.get('rtdb') and any(c in '.$#[]/' or unicodedata.category(c) == 'Cc' for c in text):
        raise Fault('forbidden_character')
    return limited(text, ID_LIMIT)


def parse_email(cell, options):
    text = as_text(cell)
    if not re.fullmatch(r'[^\s@,;<>()"]+@[^\s@,;<>()".]+(\.[^\s@,;<>()".]+)+', text):
        raise Fault('bad_format')
    return limited(text.lower() if options.get('lower') else text)


def parse_phone(cell, options):
    text = as_text(cell)
    if not re.fullmatch(r'\+[1-9][0-9]{1,14}', text):
        raise Fault('bad_format')
    return text


def parse_word(cell, options):
    text = fold(as_text(cell))
    if text not in options['words']:
        raise Fault('not_allowed')
    return text


LANGUAGE = re.compile(
    r'''([a-z]{2,3}(-[a-z]{3}){0,3}|[a-z]{4}|[a-z]{5,8})(-[a-z]{4})?(-([a-z]{2}|[0-9]{3}))?
    (-([a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*(-[0-9a-wy-z](-[a-z0-9]{2,8})+)*(-x(-[a-z0-9]{1,8})+)?|x(-[a-z0-9]{1,8})+''',
    re.X | re.I | re.A,
)


def parse_language(cell, options):
    text = as_text(cell)
    if not LANGUAGE.fullmatch(text):
        raise Fault('bad_format')
    parts, private = text.lower().split('-'), False
    for i, part in enumerate(parts):
        private = private or (i > 0 and len(parts[i - 1]) == 1)
        if i and not private and len(part) == 2:
            parts[i] = part.upper()
        elif i and not private and len(part) == 4 and part.isalpha():
            parts[i] = part.title()
    return '-'.join(parts)


def parse_country(cell, options):
    text = as_text(cell)
    if not re.fullmatch('[A-Za-z]{2}', text):
        raise Fault('bad_format')
    if text.upper() not in COUNTRIES:
        raise Fault('not_allowed')
    return text.upper()


def parse_zone(cell, options):
    zone = ZONES.get(fold(as_text(cell)))
    if not zone:
        raise Fault('not_allowed')
    return zone


def parse_number(cell, options):
    kind, value = cell
    if kind == 's' and re.fullmatch(r'[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?', value.strip()):
        value = float(value)
    elif kind != 'n':
        raise Fault('bad_type')
    if not options['low'] <= value <= options['high']:
        raise Fault('out_of_range')
    return value


def parse_date(cell, options):
    kind, value = cell
    if kind == 'e':
        raise Fault('bad_type')
    if kind == 'd' and value.time() == datetime.time():
        return value.date().isoformat()
    try:
        if kind == 's' and re.fullmatch('[0-9]{4}-[0-9]{2}-[0-9]{2}', value.strip()):
            return datetime.date.fromisoformat(value.strip()).isoformat()
    except ValueError:
        pass
    raise Fault('bad_format')


def parse_time(cell, options):
    kind, value = cell
    if kind == 'e':
        raise Fault('bad_type')
    if kind == 't' and not value.second and not value.microsecond:
        return value.strftime('%H:%M')
    if kind == 's' and re.fullmatch('([01][0-9]|2[0-3]):[0-5][0-9]', value.strip()):
        return value.strip()
    raise Fault('bad_format')


def parse_password(cell, options):
    text = as_text(cell)
    if len(text) < 8:
        raise Fault('out_of_range')
    return limited(text)


def parse_questions(cell, options):
    lines = [line.strip() for line in as_text(cell).splitlines()]
    return [{'text': limited(line, LONG_LIMIT)} for line in lines if line]


def parse_text(cell, options):
    return limited(as_text(cell), options.get('limit', TEXT_LIMIT))


def parse_refs(cell, options):
    return entries(as_text(cell))


PARSE = {
    'id': parse_id,
    'text': parse_text,
    'email': parse_email,
    'phone': parse_phone,
    'word': parse_word,
    'language': parse_language,
    'country': parse_country,
    'zone': parse_zone,
    'number': parse_number,
    'date': parse_date,
    'time': parse_time,
    'password': parse_password,
    'questions': parse_questions,
    'refs': parse_refs,
    'ref': lambda cell, options: as_text(cell),
    'group': parse_text,
    'reference': lambda cell, options: as_text(cell),
    'days': parse_refs,
}


def parse_days(schedule_type, names):
    """The days of a schedule as they are stored; names that are no day of that type are a fault."""
    days = []
    for name in map(fold, map(str, names)):
        if schedule_type == 'weekly' and name in WEEKDAYS:
            days.append(name)
        elif schedule_type == 'monthly' and name == 'last':
            days.append(name)
        elif schedule_type == 'monthly' and re.fullmatch('[0-9]{1,2}', name) and 1 <= int(name) <= 31:
            days.append(int(name))
        else:
            raise Fault('not_allowed')
    return days


# --- rows -----------------------------------------------------------------------------------------------------------------------------


class Row:
    """One row of a known sheet: what its cells hold, and the id and the document it is about."""

    def __init__(self, sheet, number, cells):
        self.sheet, self.number, self.cells = sheet, number, cells
        self.values, self.faulty = {}, set()
        self.id, self.old = None, None


class Sheet:
    def __init__(self, kind, title, rows):
        self.kind, self.title = kind, title
        self.columns = {}  # property -> (column number, heading as the file has it)
        self.head = min(rows) if rows else 0
        self.rows = [Row(self, number, cells) for number, cells in sorted(rows.items()) if number != self.head]


class Oracle:
    def __init__(self, sheets, org, user, state=None):
        self.org, self.user = org, user
        self.before = state or {}
        self.after = copy.deepcopy(self.before)
        self.errors, self.warnings = [], []
        self.known, self.made = {}, 0
        self.found, self.first, self.foreign = {}, {}, None
        self.groups = None
        self.read_sheets(sheets)

    # ---- finding things

    def docs(self, store, collection, when='before'):
        return getattr(self, when).get(store, {}).get(collection, {})

    def own(self, collection):
        return {i: d for i, d in self.docs('main', collection).items() if d.get('organizationID') == self.org}

    def error(self, row, prop, code):
        column, heading = row.sheet.columns.get(prop, (1, None))
        cell = row.cells.get(column)
        shown = cell[1].strip() if cell and cell[0] == 's' and prop != 'password' else None
        row.faulty.add(prop)
        self.errors.append(
            {'sheet': row.sheet.title, 'cell': f'{column_name(column)}{row.number}', 'heading': heading, 'code': code, 'value': shown}
        )

    def warn(self, sheet, cell, heading, code, meant=None):
        self.warnings.append({'sheet': sheet, 'cell': cell, 'heading': heading, 'code': code, 'meant': meant})

    # ---- sheets and headings

    def read_sheets(self, sheets):
        names = {plain(name): name for name in SHEETS}
        for title, hidden, rows in sheets:
            kind = names.get(plain(title))
            if kind and kind in self.known:
                self.errors.append({'sheet': title, 'cell': 'A1', 'heading': None, 'code': 'duplicate', 'value': None})
            elif kind:
                self.known[kind] = Sheet(kind, title, rows)
                if rows:
                    self.read_headings(self.known[kind], rows)
            elif not hidden and plain(title) != REPORT_SHEET:
                near = difflib.get_close_matches(plain(title), names, 1)
                self.warn(title, None, None, 'unknown_sheet', names[near[0]] if near else None)
        if not self.known:
            self.errors.append({'sheet': None, 'cell': None, 'heading': None, 'code': 'bad_file', 'value': None})

    def read_headings(self, sheet, rows):
        headings = {plain(heading): (heading, prop) for heading, prop, _, _ in SHEETS[sheet.kind]}
        for number, cell in sorted(rows[sheet.head].items()):
            text = as_text(cell)
            at = f'{column_name(number)}{sheet.head}'
            heading, prop = headings.get(plain(text), (None, None))
            if not prop:
                near = difflib.get_close_matches(plain(text), headings, 1)
                self.warn(sheet.title, at, text, 'unknown_column', headings[near[0]][0] if near else None)
            elif prop in sheet.columns:
                self.errors.append({'sheet': sheet.title, 'cell': at, 'heading': text, 'code': 'duplicate', 'value': text})
            else:
                sheet.columns[prop] = (number, text)

    # ---- validation

    def validate(self):
        for kind in SHEETS:
            if kind in self.known:
                self.identify(self.known[kind])
                for row in self.known[kind].rows:
                    self.read_row(row)
                self.missing_columns(self.known[kind])
        for check in (self.references, self.uniques, self.rules):
            for kind in SHEETS:
                for row in self.known[kind].rows if kind in self.known else []:
                    check(row)

    def identify(self, sheet):
        """Gives each row its id and the document that it updates."""
        heading, prop, kind, options = SHEETS[sheet.kind][0]
        seen = set()
        for row in sheet.rows if kind == 'id' else []:
            cell = row.cells.get(sheet.columns.get(prop, (0, 0))[0])
            if not cell:
                self.made += 1
                row.id = f'<new-{self.made}>'
                continue
            try:
                row.id = parse_id(cell, options)
            except Fault as fault:
                self.error(row, prop, str(fault))
                continue
            there = self.docs('main', COLLECTION[sheet.kind]).get(row.id)
            if row.id in seen or (there and there.get('organizationID') != self.org):
                self.error(row, prop, 'duplicate')
            elif there:
                row.old = there
            seen.add(row.id)

    def read_row(self, row):
        for heading, prop, kind, options in SHEETS[row.sheet.kind]:
            if kind == 'id' or prop not in row.sheet.columns:
                continue
            cell = row.cells.get(row.sheet.columns[prop][0])
            if kind == 'password' and row.old:
                if cell:
                    number, title = row.sheet.columns[prop]
                    self.warn(row.sheet.title, f'{column_name(number)}{row.number}', title, 'ignored')
                continue
            if not cell or cell == ('s', 'CLEAR') or (cell[0] == 's' and cell[1].strip() == 'CLEAR'):
                if options.get('need') and (cell or not row.old):
                    self.error(row, prop, 'required')
                elif cell and row.old:
                    row.values[prop] = CLEAR
                continue
            try:
                row.values[prop] = PARSE[kind](cell, options)
            except Fault as fault:
                self.error(row, prop, str(fault))

    def missing_columns(self, sheet):
        """Needed where a row creates; one error for the sheet, at A of the headings."""
        if not any(not row.old for row in sheet.rows):
            return
        for heading, prop, kind, options in SHEETS[sheet.kind]:
            if options.get('need') and prop not in sheet.columns:
                self.errors.append({'sheet': sheet.title, 'cell': f'A{sheet.head}', 'heading': None, 'code': 'required', 'value': None})

    def names(self, kind):
        """Names that references find: those of the rows (also faulty ones: the name is still what was meant), those that stay in the store."""
        if kind in self.found:
            return self.found[kind]
        key, rows = KEY[kind], self.known[kind].rows if kind in self.known else []
        in_rows, in_store = {}, {}
        for row in rows:
            value = row.values.get(key)
            if key in row.faulty and key in row.sheet.columns:
                cell = row.cells.get(row.sheet.columns[key][0])
                value = cell[1] if cell and cell[0] == 's' else None
            if isinstance(value, str):
                in_rows.setdefault(fold(value.strip()), [row.id])
        renamed = {row.id for row in rows if key in row.values}
        for ident, doc in self.own(COLLECTION[kind]).items():
            if ident not in renamed:
                in_store.setdefault(fold(str(doc.get(key, ''))), []).append(ident)
        self.found[kind] = (in_rows, in_store)
        return self.found[kind]

    def lookup(self, kind, name):
        """The ids that a name stands for after this upload: of a row if there is one, else of the store."""
        in_rows, in_store = self.names(kind)
        return in_rows.get(fold(name)) or in_store.get(fold(name), [])

    def resolve(self, row, prop, kind, names):
        found = [self.lookup(kind, name) for name in names]
        if any(not ids for ids in found):
            self.error(row, prop, 'not_found')
        elif any(len(ids) > 1 for ids in found):
            self.error(row, prop, 'ambiguous')
        return list(dict.fromkeys(ids[0] for ids in found if ids))

    def references(self, row):
        for heading, prop, kind, options in SHEETS[row.sheet.kind]:
            value = row.values.get(prop)
            if value is None or value is CLEAR or prop in row.faulty:
                continue
            if kind == 'refs':
                row.values[prop] = self.resolve(row, prop, options['to'], value)
            elif kind == 'ref':
                row.values[prop] = (self.resolve(row, prop, options['to'], [value]) or [None])[0]
            elif kind == 'group' and len(self.group_ids().get(fold(value), [])) > 1:
                self.error(row, prop, 'ambiguous')
            elif kind == 'reference' and row.values.get('scope') in ('site', 'user'):
                target = 'Sites' if row.values['scope'] == 'site' else 'Users'
                row.values[prop] = (self.resolve(row, prop, target, [value]) or [None])[0]

    def uniques(self, row):
        for heading, prop, kind, options in SHEETS[row.sheet.kind]:
            value = row.values.get(prop)
            if not options.get('unique') or not isinstance(value, str) or prop in row.faulty:
                continue
            first = self.first.setdefault((row.sheet.kind, fold(value)), row)
            stored = self.names(row.sheet.kind)[1].get(fold(value), [])
            if first is not row or any(i != row.id for i in stored) or (row.sheet.kind == 'Users' and self.account_taken(row, value)):
                self.error(row, prop, 'duplicate')

    def account_taken(self, row, email):
        """An account of somebody who isn't a user of this organization has the address."""
        if self.foreign is None:
            ours, self.foreign = self.own('users'), {}
            for uid, account in self.docs('identity', 'accounts').items():
                if uid not in ours:
                    self.foreign.setdefault(fold(account.get('email', '')), set()).add(uid)
        return bool(self.foreign.get(fold(email), set()) - {row.id})

    def will_be(self, row, prop):
        """A property as it will be: what the row says, else what is there."""
        if prop in row.values:
            return None if row.values[prop] is CLEAR else row.values[prop]
        old = row.old or {}
        return old.get('location', {}).get(prop) if prop in ('latitude', 'longitude') else old.get(prop)

    def rules(self, row):
        rule = {'Sites': self.site_rules, 'Schedules': self.schedule_rules, 'Non-Ops Days': self.offday_rules}.get(row.sheet.kind)
        if rule:
            rule(row)

    def site_rules(self, row):
        if {'latitude', 'longitude'} & row.faulty:
            return
        for here, there in (('latitude', 'longitude'), ('longitude', 'latitude')):
            if self.will_be(row, here) is None and self.will_be(row, there) is not None:
                self.error(row, here, 'required')

    def schedule_rules(self, row):
        kind = self.will_be(row, 'type')
        if not row.faulty & {'type', 'days'}:
            self.day_rule(row, kind)
        if not row.faulty & {'startDate', 'endDate'}:
            start, end = self.will_be(row, 'startDate'), self.will_be(row, 'endDate')
            if end is None and kind not in (None, 'once') and 'type' not in row.faulty:
                self.error(row, 'endDate', 'required')
            elif end is not None and start is not None and end < start:
                self.error(row, 'endDate', 'inconsistent')
        if not row.faulty & {'startTime', 'endTime'}:
            start, end = self.will_be(row, 'startTime'), self.will_be(row, 'endTime')
            if start is not None and end is not None and end <= start:
                self.error(row, 'endTime', 'inconsistent')

    def day_rule(self, row, kind):
        row.days = []
        if kind not in ('weekly', 'monthly'):
            return
        try:
            row.days = parse_days(kind, self.will_be(row, 'days') or [])
            if not row.days:
                self.error(row, 'days', 'required')
        except Fault as fault:
            self.error(row, 'days', str(fault))

    def offday_rules(self, row):
        scope, reference = row.values.get('scope'), row.values.get('reference')
        if 'scope' not in row.faulty and 'reference' not in row.faulty:
            if scope == 'organization' and reference is not None:
                self.error(row, 'reference', 'inconsistent')
            elif scope != 'organization' and reference is None:
                self.error(row, 'reference', 'required')
        start, end = row.values.get('startDate'), row.values.get('endDate')
        if not row.faulty & {'startDate', 'endDate'} and start is not None and end is not None and end < start:
            self.error(row, 'endDate', 'inconsistent')

    # ---- documents

    def put(self, store, collection, ident, values, lists=()):
        """Sets properties (None removes) in a document of `after`, made if it isn't there."""
        docs = self.after.setdefault(store, {}).setdefault(collection, {})
        doc = docs.setdefault(ident, {})
        if store in ('main', 'settings'):
            doc.setdefault('organizationID', self.org)
        for name in lists:
            doc.setdefault(name, [])
        for name, value in values.items():
            if value is None:
                doc.pop(name, None)
            else:
                doc[name] = value
        return doc

    def move(self, collection, prop, ids, member, joined):
        """Puts a member into, or takes it out of, a set in index documents; ids is {document id: its own properties}."""
        for ident, own in ids.items():
            lists = SETS[collection]
            there = ident in self.docs('main', collection, 'after')
            if not there and not joined:
                continue
            doc = self.put('main', collection, ident, {} if there else own, lists)
            members = [m for m in doc[prop] if m != member]
            doc[prop] = members + [member] if joined else members

    def columns_of(self, row, skip=()):
        """The row's columns as properties: with defaults on create, CLEAR resolved."""
        values = {}
        for heading, prop, kind, options in SHEETS[row.sheet.kind]:
            value, default = row.values.get(prop), [] if kind in ('refs', 'days') else options.get('default')
            if prop in skip or (value is None and row.old):
                continue
            values[prop] = row.id if kind == 'id' else default if value is None or value is CLEAR else value
        return values

    def plan(self):
        order = ('Products', 'SKUs', 'Departments', 'Sites', 'Users', 'Questionnaires', 'Non-Ops Days', 'Schedules', 'Issues')
        make = {
            'Departments': self.make_department,
            'Sites': self.make_site,
            'Users': self.make_user,
            'Questionnaires': self.make_questionnaire,
            'Schedules': self.make_schedule,
            'Non-Ops Days': self.make_offday,
        }
        for kind in order:  # days off before schedules: statistics leave them out
            for row in self.known[kind].rows if kind in self.known else []:
                make.get(kind, self.make_plain)(row)

    def make_plain(self, row):
        self.put('main', COLLECTION[row.sheet.kind], row.id, self.columns_of(row))
        row.documents = [('main', COLLECTION[row.sheet.kind], row.id)]

    def make_department(self, row):
        self.make_plain(row)
        name = self.docs('main', 'departments', 'after')[row.id]['name']
        index = encode(row.id, self.org)
        self.put('main', 'departmentindexes', index, dict(self.department_index(row.id), name=name), SETS['departmentindexes'])
        row.documents.append(('main', 'departmentindexes', index))

    def department_index(self, ident):
        name = self.docs('main', 'departments', 'after').get(ident, {}).get('name')
        return {'_id': encode(ident, self.org), 'departmentID': ident, 'name': name}

    def site_index(self, ident):
        return {'siteID': ident, 'name': self.docs('main', 'sites', 'after').get(ident, {}).get('name')}

    def departments_by_index(self, idents):
        return {encode(i, self.org): self.department_index(i) for i in idents}

    def sites_by_index(self, idents):
        return {i: self.site_index(i) for i in idents}

    def make_site(self, row):
        old = row.old or {}
        doc = self.put('main', 'sites', row.id, self.columns_of(row, ('latitude', 'longitude', 'siteGroup')))
        latitude, longitude = self.will_be(row, 'latitude'), self.will_be(row, 'longitude')
        self.put('main', 'sites', row.id, {'location': {'latitude': latitude, 'longitude': longitude} if latitude is not None else None})
        if row.values.get('siteGroup') is CLEAR:
            doc.pop('siteGroupID', None)
        elif 'siteGroup' in row.values:
            doc['siteGroupID'] = self.group(row.values['siteGroup'])
        if doc.get('siteGroupID') != old.get('siteGroupID'):
            self.move('sitegroups', 'siteIDs', {old.get('siteGroupID'): {}}, row.id, False)
            if 'siteGroupID' in doc:
                self.move('sitegroups', 'siteIDs', {doc['siteGroupID']: {}}, row.id, True)
        index = self.put('main', 'siteindexes', row.id, self.site_index(row.id), SETS['siteindexes'])
        left, joined = self.difference(old, doc, 'departmentIDs')
        index['departmentIDs'] = [i for i in index['departmentIDs'] if i not in left] + [
            i for i in joined if i not in index['departmentIDs']
        ]
        self.move('departmentindexes', 'siteIDs', self.departments_by_index(left), row.id, False)
        self.move('departmentindexes', 'siteIDs', self.departments_by_index(joined), row.id, True)
        row.documents = [('main', 'sites', row.id), ('main', 'siteindexes', row.id)]

    def difference(self, old, new, prop):
        was, now = old.get(prop, []), new.get(prop, [])
        return [i for i in was if i not in now], [i for i in now if i not in was]

    def group_ids(self):
        if self.groups is None:
            self.groups = {}
            for ident, doc in self.own('sitegroups').items():
                self.groups.setdefault(fold(doc['name']), []).append(ident)
        return self.groups

    def group(self, name):
        if fold(name) not in self.group_ids():
            self.made += 1
            ident = f'<new-{self.made}>'
            self.put('main', 'sitegroups', ident, {'_id': ident, 'name': name}, SETS['sitegroups'])
            self.groups[fold(name)] = [ident]
        return self.groups[fold(name)][0]

    def make_user(self, row):
        old = row.old or {}
        doc = self.put('main', 'users', row.id, self.columns_of(row, ('employeeNumber', 'hireDate', 'password')))
        row.documents = [
            ('main', 'users', row.id),
            ('main', 'user_extension', row.id),
            ('realtime', 'firebase:user', row.id),
            ('identity', 'accounts', row.id),
        ]
        self.extension(row)
        mirror = {name: doc[name] for name in ('name', 'email', 'role', 'status', 'organizationID')}
        mirror['siteIDs'] = {i: True for i in doc['siteIDs']} or None
        self.put('realtime', 'firebase:user', row.id, mirror)
        self.put(
            'identity',
            'accounts',
            row.id,
            {
                'uid': row.id,
                'email': doc['email'],
                'displayName': doc['name'],
                'phoneNumber': doc.get('phone'),
                'disabled': doc['status'] == 'inactive',
            },
        )
        if not row.old and 'password' in row.values:
            self.put('identity', 'accounts', row.id, {'hasPassword': True})
        if doc['role'] != old.get('role'):
            if old.get('role'):
                self.move('roles', 'userIDs', {encode(self.org, old['role']): {}}, row.id, False)
            ident = encode(self.org, doc['role'])
            self.move('roles', 'userIDs', {ident: {'_id': ident, 'role': doc['role']}}, row.id, True)
        for prop, collection, by_index in (
            ('departmentIDs', 'departmentindexes', self.departments_by_index),
            ('siteIDs', 'siteindexes', self.sites_by_index),
        ):
            left, joined = self.difference(old, doc, prop)
            self.move(collection, 'userIDs', by_index(left), row.id, False)
            self.move(collection, 'userIDs', by_index(joined), row.id, True)

    def extension(self, row):
        values = {
            name: None if row.values[name] is CLEAR else row.values[name] for name in ('employeeNumber', 'hireDate') if name in row.values
        }
        there = self.docs('main', 'user_extension', 'after').get(row.id)
        if not there and not any(value is not None for value in values.values()):
            return
        doc = self.put('main', 'user_extension', row.id, dict(values, userID=row.id))
        if 'employeeNumber' not in doc and 'hireDate' not in doc:
            del self.after['main']['user_extension'][row.id]

    def make_questionnaire(self, row):
        self.make_plain(row)
        doc = self.docs('main', 'questionnaires', 'after')[row.id]
        both = {'title': doc['title'], 'type': doc['type']}
        index = dict(both, questionnaireIndexID=row.id, questionCount=len(doc['questions']))
        path = encode(self.org, row.id)
        self.put('main', 'questionnaireindexes', row.id, index)
        self.put('realtime', 'firebase:questionnaire', path, dict(both, questionnaireID=row.id, questions=doc['questions'] or None))
        self.put('realtime', 'firebase:questionnaireIndex', path, index)
        row.documents += [
            ('main', 'questionnaireindexes', row.id),
            ('realtime', 'firebase:questionnaire', path),
            ('realtime', 'firebase:questionnaireIndex', path),
        ]

    def make_offday(self, row):
        scope, ident = row.values['scope'], row.values.get('reference')
        day = {
            'startDate': row.values['startDate'],
            'endDate': row.values.get('endDate', row.values['startDate']),
            'name': row.values['name'],
        }
        if scope == 'organization':
            target, own = ('settings', 'firestore:organization-offdays', self.org), {'organizationID': self.org}
        else:
            key = encode(self.org, ident)
            target, own = ('main', f'{scope}offdays', key), {'_id': key, f'{scope}ID': ident}
        doc = self.put(*target, own, ('days',))
        row.documents = []
        row.made = not any(same_day(day, other) for other in doc['days'])
        if row.made:
            doc['days'] = sorted(doc['days'] + [day], key=lambda d: (d['startDate'], d['endDate'], d['name']))

    def make_schedule(self, row):
        old = row.old or {}
        doc = self.put('main', 'sitescheduleindexes', row.id, dict(self.columns_of(row, ('days',)), days=row.days))
        statistics = {'_id': row.id, 'scheduleID': row.id, 'total': self.total(doc)}
        if row.id not in self.docs('main', 'schedulestatistics', 'after'):
            statistics.update(completed=0, missed=0)
        self.put('main', 'schedulestatistics', row.id, statistics)
        if doc['skuIDs']:
            self.put('main', 'skuschedules', row.id, {'scheduleID': row.id, 'skuIDs': doc['skuIDs']})
        else:
            self.docs('main', 'skuschedules', 'after').pop(row.id, None)
        left, joined = self.difference(old, doc, 'siteIDs')
        self.move('siteindexes', 'scheduleIDs', self.sites_by_index(left), row.id, False)
        self.move('siteindexes', 'scheduleIDs', self.sites_by_index(joined), row.id, True)
        row.documents = [('main', name, row.id) for name in ('sitescheduleindexes', 'schedulestatistics', 'skuschedules')]

    def total(self, doc):
        off = ranges(self.docs('settings', 'firestore:organization-offdays', 'after').get(self.org))
        days = occurrences(doc)
        total = 0
        for site in doc['siteIDs']:
            closed = off + ranges(self.docs('main', 'siteoffdays', 'after').get(encode(self.org, site)))
            total += sum(not any(start <= day <= end for start, end in closed) for day in days)
        return total

    # ---- outcome

    def changed(self, store, collection, ident):
        return comparable(collection, self.docs(store, collection).get(ident)) != comparable(
            collection, self.docs(store, collection, 'after').get(ident)
        )

    def stamp(self):
        """Stamps what changed, gives back what didn't; the number of documents that changed is the number of operations."""
        operations = 0
        for store, collections in self.after.items():
            for collection, docs in collections.items():
                gone = [i for i in self.docs(store, collection) if i not in docs]
                operations += len(gone)
                for ident, doc in docs.items():
                    if not self.changed(store, collection, ident):
                        docs[ident] = self.docs(store, collection)[ident]
                        continue
                    operations += 1
                    if store in ('main', 'settings'):
                        if ident not in self.docs(store, collection):
                            doc.update(createdAt='<now>', createdBy=self.user)
                        doc.update(updatedAt='<now>', updatedBy=self.user, _bulkOperationId='<bulk>')
        return operations

    def count(self):
        counts = {}
        for kind, sheet in self.known.items():
            count = counts[ENTITY[kind]] = {'create': 0, 'edit': 0, 'delete': 0, 'unchanged': 0}
            for row in sheet.rows:
                if kind == 'Non-Ops Days':
                    count['create' if row.made else 'unchanged'] += 1
                else:
                    count['create' if not row.old else 'edit' if any(self.changed(*d) for d in row.documents) else 'unchanged'] += 1
        return counts

    def run(self):
        self.validate()
        if self.errors:
            return {'state': 'rejected', 'errors': self.errors, 'warnings': self.warnings, 'counts': {}, 'operations': 0}
        self.plan()
        counts = self.count()
        operations = self.stamp()
        return {
            'state': 'committed',
            'errors': [],
            'warnings': self.warnings,
            'counts': counts,
            'operations': operations,
            'documents': self.after,
        }


def same_day(one, other):
    return (one['startDate'], one['endDate'], fold(one['name'])) == (other['startDate'], other['endDate'], fold(other['name']))


def comparable(collection, doc):
    """A document without what counts for nothing: stamps, and the order in sets."""
    if doc is None:
        return None
    return {name: sorted(value) if name in SETS.get(collection, ()) else value for name, value in doc.items() if name not in STAMPS}


def ranges(doc):
    parse = datetime.date.fromisoformat
    return [(parse(day['startDate']), parse(day['endDate'])) for day in (doc or {}).get('days', [])]


def occurrences(doc):
    """The days on which a schedule occurs."""
    start = datetime.date.fromisoformat(doc['startDate'])
    if doc['type'] == 'once':
        return [start]
    end = datetime.date.fromisoformat(doc['endDate'])
    found = []
    for number in range(start.toordinal(), end.toordinal() + 1):
        day = datetime.date.fromordinal(number)
        last = calendar.monthrange(day.year, day.month)[1]
        if (
            doc['type'] == 'daily'
            or (doc['type'] == 'weekly' and WEEKDAYS[day.weekday()] in doc['days'])
            or (doc['type'] == 'monthly' and (day.day in doc['days'] or (day.day == last and 'last' in doc['days'])))
        ):
            found.append(day)
    return found


def expect(path, org, user, state=None):
    return Oracle(reader.read(path), org, user, state).run()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('file')
    parser.add_argument('--org', required=True)
    parser.add_argument('--user', required=True)
    parser.add_argument('--state', help='JSON file {store: {collection: {id: document}}}')
    given = parser.parse_args()
    state = json.load(open(given.state, encoding='utf-8')) if given.state else None
    json.dump(expect(given.file, given.org, given.user, state), sys.stdout, ensure_ascii=False, indent=1, sort_keys=True)
    print()


if __name__ == '__main__':
    main()
