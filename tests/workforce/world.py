"""A small world for one case: a data folder that a case seeds, uploads workbooks into and asks for documents.

With a program every upload is run by it and held against the oracle; without one (`aon` is None) the oracle's own documents are what the
case sees, so that the cases' explicit expectations test the oracle itself.
"""

import csv
import json
import pathlib
import zipfile

import openpyxl

import compare
import oracle

ABSENT = object()


class Differs(Exception):
    """An expectation of a case that doesn't hold; its text is a list of lines."""


def headings(rows):
    """The headings of rows given as dicts, in the order in which they first stand."""
    return list(dict.fromkeys(heading for row in rows for heading in row))


def grid(rows):
    """Rows as dicts become a grid with headings; a grid (a list of lists) stays as it is."""
    if not rows or isinstance(rows[0], list):
        return rows
    names = headings(rows)
    return [names] + [[row.get(name) for name in names] for row in rows]


def write_xlsx(path, sheets, hidden=()):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        sheet.sheet_state = 'hidden' if name in hidden else 'visible'
        for number, row in enumerate(grid(rows), 1):
            for column, value in enumerate(row, 1):
                if value is not None:
                    sheet.cell(number, column, value)
    if hidden and len(hidden) == len(sheets):
        raise ValueError('a workbook needs one sheet that can be seen')
    book.save(path)


def write_csv(folder, sheets, delimiter=',', bom=False):
    folder.mkdir()
    for name, rows in sheets.items():
        with open(folder / (name + '.csv'), 'w', encoding='utf-8-sig' if bom else 'utf-8', newline='') as file:
            csv.writer(file, delimiter=delimiter).writerows([['' if value is None else value for value in row] for row in grid(rows)])


class World:
    def __init__(self, aon, folder):
        self.aon, self.folder = aon, pathlib.Path(folder)
        self.data = self.folder / 'data'
        self.state, self.uploads, self.result, self.want = {}, 0, None, None

    def seed(self, state):
        """Documents that are there before; {'store/collection': {id: document}}."""
        for name, docs in state.items():
            store, collection = name.split('/', 1)
            self.state.setdefault(store, {}).setdefault(collection, {}).update(docs)
        if self.aon:
            compare.seed(self.data, self.state)

    def book(self, sheets, form='xlsx', **options):
        self.uploads += 1
        path = self.folder / f'upload{self.uploads}'
        if form == 'xlsx':
            path = path.with_suffix('.xlsx')
            write_xlsx(path, sheets, **options)
            return path
        write_csv(path, sheets, **options)
        if form == 'zip':
            with zipfile.ZipFile(path.with_suffix('.zip'), 'w', zipfile.ZIP_DEFLATED) as archive:
                for file in path.iterdir():
                    archive.write(file, file.name)
            path = path.with_suffix('.zip')
        return path

    def upload(self, sheets, errors=(), warnings=None, counts=None, operations=None, org='org1', options=(), **form):
        """Uploads sheets (or the file of that path) and checks the outcome: errors as 'Users!C3 bad_format', counts of an entity as
        'create edit unchanged'."""
        if isinstance(sheets, pathlib.Path):
            path, self.uploads = sheets, self.uploads + 1
        else:
            path = self.book(sheets, **form)
        found = self.import_file(path, org, options)
        self.result = self.result or self.want
        found += self.unlike('errors', errors, self.result['errors'])
        if warnings is not None:
            found += self.unlike('warnings', warnings, self.result['warnings'])
        for entity, text in (counts or {}).items():
            have = self.result['counts'].get(entity)
            shown = have and f'{have["create"]} {have["edit"]} {have["unchanged"]}'
            if shown != text:
                found.append(f'counts of {entity} (create edit unchanged): expected {text}, are {shown}')
        if operations is not None and self.result['operations'] != operations:
            found.append(f'operations: expected {operations}, are {self.result["operations"]}')
        if found:
            raise Differs('\n'.join([f'upload {self.uploads} ({path.name}):'] + found[: compare.SHOWN] + [f'({len(found)} in all)']))
        return self.result

    def import_file(self, path, org, options):
        if self.aon:
            found, self.want, self.result = compare.check(self.aon, path, self.data, org, options=options)
            self.state = compare.dump(self.data)
            return found
        self.result = None
        self.want = oracle.expect(path, org, 'tester', self.state)
        if self.want['state'] == 'committed' and '--dry-run' not in options:
            self.state = compare.canonical(self.want['documents'], lambda i: bool(compare.NEW.fullmatch(i)))
        return []

    def unlike(self, what, want, problems):
        have = sorted(
            f'{p["sheet"]}!{p["cell"]} {p["code"]}' for p in problems if not (p['code'] == 'ignored' and p.get('heading') == 'Days')
        )
        have = [text.replace('!None', '') if 'unknown_sheet' not in text else f'{text.split("!")[0]} unknown_sheet' for text in have]
        return [] if sorted(want) == sorted(have) else [f'{what} by hand: expected {sorted(want)}, are {sorted(have)}']

    def says(self, code, *words):
        """The sentence of the error with that code holds the words (only a program has sentences)."""
        for problem in self.result['errors'] if self.aon else []:
            if problem['code'] == code and all(word in problem['message'] for word in words):
                return
        if self.aon:
            raise Differs(f'no sentence of {code} names {words}: {[p["message"] for p in self.result["errors"]]}')

    def silent_about(self, secret):
        if self.aon and secret in json.dumps(self.result, ensure_ascii=False):
            raise Differs('the result shows a sensitive value')

    def docs(self, store, collection):
        return self.state.get(store, {}).get(collection, {})

    def named(self, collection, prop, value):
        """The id of the one document whose property has that value."""
        found = [ident for ident, doc in self.docs('main', collection).items() if doc.get(prop) == value]
        if len(found) != 1:
            raise Differs(f'{collection} with {prop} = {value}: {len(found)} documents')
        return found[0]

    def has(self, path, ident, **properties):
        """The document of store/collection has these properties (ABSENT: not at all); without properties: it is there."""
        store, collection = path.split('/', 1)
        doc = self.docs(store, collection).get(ident)
        if doc is None:
            raise Differs(f'{path}/{ident} is not there, only {sorted(self.docs(store, collection))[:8]}')
        for name, value in properties.items():
            have = doc.get(name, ABSENT)
            same = sorted(have) == sorted(value) if name in oracle.SETS.get(collection, ()) and have is not ABSENT else have == value
            if not same:
                raise Differs(
                    f'{path}/{ident}: {name} is {"absent" if have is ABSENT else have!r}, expected {"absent" if value is ABSENT else value!r}'
                )

    def lacks(self, path, ident):
        store, collection = path.split('/', 1)
        if ident in self.docs(store, collection):
            raise Differs(f'{path}/{ident} should not be there')

    def exactly(self, path, ident, doc):
        """The document holds exactly that, stamps aside."""
        store, collection = path.split('/', 1)
        have = self.docs(store, collection).get(ident)
        if oracle.comparable(collection, have) != oracle.comparable(collection, doc):
            raise Differs(f'{path}/{ident} is {have}, expected {doc}')
