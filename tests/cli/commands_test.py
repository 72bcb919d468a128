#!/usr/bin/python3
"""Each command on real data: what it prints for people and programs, its exit status, and what it must leave alone."""

import csv
import json
import os
import re
import sqlite3
import zipfile

import openpyxl

import program as p
from program import Data, check, keys, result_shape, same, same_rows

UUID = re.compile(r'[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}')
INSTANT = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z')
ENTRY_KEYS = {'operationId': str, 'bulkOperationId': str, 'sequence': int, 'dataSource': str, 'collectionName': str, 'documentId': str, 'operation': str,
              'previousData': (dict, type(None)), 'newData': (dict, type(None)), 'status': str, 'createdAt': str,
              'executedAt': (str, type(None)), 'rolledbackAt': (str, type(None))}
DIFF_KEYS = {'sequence': int, 'store': str, 'collection': str, 'documentId': str, 'operation': str, 'changes': list}


def line(operation, name, data=None, store='main', collection='notes', **more):
    made = {'store': store, 'collection': collection, 'id': name, 'operation': operation, **more}
    if data is not None:
        made['data'] = data
    return made


def import_commits_and_says_so(folder):
    data = Data(folder / 'd')
    result = result_shape(data.imports(p.first_book(folder / 'b')).exits(0).json)
    same((result['state'], result['dryRun'], result['failure'], result['errorCount'], result['undoes'], result['undoneBy']),
         ('committed', False, None, 0, None, []))
    check(UUID.fullmatch(result['bulkOperationId']), result['bulkOperationId'])
    same(result['counts']['users'], {'create': 4, 'edit': 0, 'delete': 0, 'unchanged': 0})
    same(set(result['counts']), {'users', 'departments', 'sites', 'nonOpsDays'}, 'counts of the sheets that the workbook has')
    same(result['operations'], len(data.entries(result['bulkOperationId'])))
    user = data.document('main', 'users', 'u0')
    check(INSTANT.fullmatch(user['createdAt']) and user['createdAt'] == data.document('main', 'sites', 's1')['createdAt'], 'one instant', user)
    same(user['_bulkOperationId'], result['bulkOperationId'])
    again = result_shape(data.imports(p.first_book(folder / 'again')).exits(0).json)
    same((again['state'], again['operations'], again['counts']['users']['unchanged']), ('committed', 0, 4), 'the same again with ids')
    shown = data.run('import', p.second_book(folder / 'b2'), '--pack', 'workforce', '--org', 'org1').exits(0).says('done', 'changes are in', 'aon undo', 'created')
    check('\033' not in shown.out + shown.err, 'colours without a terminal')
    same(shown.err, '', 'progress without a terminal')


def rejected_names_every_cell(folder):
    data = Data(folder / 'd')
    book = p.write_book(folder / 'b', {'Users': [{'Name': '', 'Email': 'no', 'Role': 'boss'}, {'Name': 'B', 'Email': 'b@example.com', 'Role': 'staff', 'Colour': 'red'}],
                                       'Cars': [{'A': '1'}]})
    ran = data.imports(book, '--report', folder / 'marked.xlsx').exits(2)
    result = result_shape(ran.json)
    same((result['state'], result['counts'], result['operations'], result['errorCount']), ('rejected', {}, 0, 3))
    same({(e['cell'], e['code']) for e in result['errors']}, {('A2', 'required'), ('B2', 'bad_format'), ('C2', 'not_allowed')})
    same({w['code'] for w in result['warnings']}, {'unknown_sheet', 'unknown_column'})
    check(not list((folder / 'd').glob('[!j]*.db')), 'a rejected upload made a store file', list((folder / 'd').iterdir()))
    check((folder / 'marked.xlsx').exists(), 'no report')
    human = data.run('import', book, '--pack', 'workforce', '--org', 'org1').exits(2).says('3 places need correction', 'nothing was changed', 'Users!A2')
    same(human.out.count('Users!A2'), 1, 'the cell is said twice', human.out)
    data.run('diff', result['bulkOperationId']).exits(0, 1)
    same(data.run('watch', result['bulkOperationId'], '--json').exits(2).json['state'], 'rejected')


def a_report_whatever_the_outcome(folder):
    data = Data(folder / 'd')
    source = folder / 'b.xlsx'
    book = openpyxl.Workbook()
    book.active.title = 'Users'
    for row in (['Name', 'Email', 'Role'], ['A', 'a@example.com', 'boss'], ['B', 'b@example.com', 'staff']):
        book.active.append(row)
    book.save(source)
    before = source.read_bytes()
    out = folder / 'out.xlsx'
    out.write_text('old')
    data.imports(source, '--report', out).exits(2)
    marked = openpyxl.load_workbook(out)
    same(marked.sheetnames[0], 'Allornone errors')
    check(marked['Users']['C2'].fill.fgColor.rgb.endswith('FF0000') or marked['Users']['C2'].fill.fill_type == 'solid', 'the cell is not red')
    check(marked['Users']['C2'].comment, 'the cell has no comment')
    marked['Users']['C2'] = 'staff'
    marked.save(folder / 'corrected.xlsx')
    data.imports(out).exits(2)
    data.imports(folder / 'corrected.xlsx', '--report', out).exits(0)
    same(openpyxl.load_workbook(out).sheetnames.count('Allornone errors') <= 1, True)
    data.imports(out, '--dry-run', '--report', folder / 'dry.xlsx').exits(2)
    check((folder / 'dry.xlsx').exists(), 'no report of a dry run')
    data.imports(source, '--report', source).exits(1, 2).says('b.xlsx')
    same(source.read_bytes(), before, 'the input was written over')
    data.imports(folder / 'corrected.xlsx', '--report', folder / 'no' / 'such' / 'folder.xlsx').exits(1, 2).says('folder.xlsx')
    forced = p.write_book(folder / 'forced', {'Users': [{'Name': 'Z', 'Email': 'z@example.com', 'Role': 'staff'}]})
    data.imports(forced, '--report', folder / 'forced.xlsx', env={'TEST_ROLLBACK_AT_OPERATION': 0}).exits(3)
    check((folder / 'forced.xlsx').exists(), 'no report of what was rolled back')


def dry_run_writes_no_store(folder):
    data = Data(folder / 'd')
    result = result_shape(data.imports(p.first_book(folder / 'b'), '--dry-run').exits(0).json)
    same((result['state'], result['dryRun']), ('planned', True))
    check(not list((folder / 'd').glob('[!j]*.db')), 'a dry run made a store file', sorted((folder / 'd').iterdir()))
    changes = data.run('diff', result['bulkOperationId'], '--json').exits(0).lines
    same(len(changes), result['operations'])
    for change in changes:
        keys(change, DIFF_KEYS)
        for part in change['changes']:
            keys(part, {'path': str})
            check('before' in part and 'after' in part, part)
    check(all(c['operation'] == 'create' for c in changes))
    data.run('import', p.first_book(folder / 'b2'), '--pack', 'workforce', '--org', 'org1', '-n').exits(0).says('this is what would change', 'create')
    data.imports(p.first_book(folder / 'b3')).exits(0)
    before = data.rows()
    tables = data.sql("select name from sqlite_master")
    dry = data.imports(p.second_book(folder / 'b4'), '--dry-run').exits(0).json
    same_rows(data.rows(), before, 'a dry run wrote')
    same(data.sql("select name from sqlite_master"), tables, 'a dry run made a table')
    edit = next(c for c in data.run('diff', dry['bulkOperationId'], '--json').lines if c['documentId'] == 'u0' and c['collection'] == 'users')
    check({'path': '/name', 'before': 'User 0', 'after': 'User Zero'} in edit['changes'], edit)
    same(data.run('locks').exits(0).out, '')


def the_same_again(folder):
    data = Data(folder / 'd')
    book, other = p.first_book(folder / 'b'), p.second_book(folder / 'b2')
    first = data.imports(book, '--idempotency-key', 'k1').exits(0).json
    second = data.imports(book, '--idempotency-key', 'k1').exits(0).json
    same(second, first, 'the first result')
    data.imports(other, '--idempotency-key', 'k1').exits(1).says('idempotency key')
    data.imports(book, '--idempotency-key', 'k1', org='org2').exits(0, 2)
    given = '11111111-2222-4333-8444-555555555555'
    lines = [line('create', 'a', {'n': 1})]
    done = data.apply(lines, '--id', given).exits(0).json
    same(done['bulkOperationId'], given)
    same(data.apply(lines, '--id', given).exits(0).json, done)
    data.apply([line('create', 'b', {'n': 1})], '--id', given).exits(1).says(given)
    wrong = '11111111-2222-4333-8444-555555555556'
    same(data.apply(lines, '--id', wrong).exits(2, 3).json['state'], data.apply(lines, '--id', wrong).exits(2, 3).json['state'])
    same(data.apply(lines, '--id', wrong).status, data.apply(lines, '--id', wrong).status)
    forced = '11111111-2222-4333-8444-555555555557'
    env = {'TEST_ROLLBACK_AT_OPERATION': 0}
    data.apply([line('create', 'c', {})], '--id', forced, env=env).exits(3)
    same(data.apply([line('create', 'c', {})], '--id', forced).exits(3).json['state'], 'rolled_back', 'the first result, not another run')
    same(data.document('main', 'notes', 'c'), None)


def apply_from_a_file_and_from_standard_input(folder):
    data = Data(folder / 'd')
    text = ''.join(json.dumps(item) + '\n\n' for item in [line('create', 'a', {'n': 9007199254740993, 'l': [1, None], 'f': 1.0}), line('upsert', 'b', {'x': 1})])
    (folder / 'ops.ndjson').write_text(text)
    result = result_shape(data.run('apply', folder / 'ops.ndjson', '--json').exits(0).json)
    same((result['operations'], result['counts']), (2, {'notes': {'create': 2, 'edit': 0, 'delete': 0, 'unchanged': 0}}))
    same(data.document('main', 'notes', 'a'), {'n': 9007199254740993, 'l': [1, None], 'f': 1.0})
    result = data.apply([line('update', 'a', {'n': None, 'l': [2], 'o': {'p': 1}}), line('update', 'a', {'o': {'q': 2}}), line('replace', 'b', {'y': 2}),
                         line('create', 'c', {'k': 1}, expect=None), line('delete', 'c', expect={'k': 1}), {'store': 'main', 'collection': 'notes', 'operation': 'create', 'data': {'made': True}}]).exits(0).json
    same(data.document('main', 'notes', 'a'), {'l': [2], 'f': 1.0, 'o': {'p': 1, 'q': 2}})
    same(data.document('main', 'notes', 'b'), {'y': 2})
    same(data.document('main', 'notes', 'c'), None)
    same(len(data.sql("select id from notes where doc ->> 'made'")), 1)
    before = data.rows()
    wrong = ['{"store":"main"', json.dumps(line('create', 'a', {'n': 1}, expect=None)), '{"store":"main","store":"x","collection":"n","operation":"create","data":{}}',
             json.dumps(line('update', 'none', {'a': 1})), json.dumps(line('replace', 'none', {'a': 1})), json.dumps(line('delete', 'none')),
             json.dumps({**line('create', 'z', {}), 'colour': 1}), json.dumps(line('create', 'z', {}, store='nowhere')), json.dumps(line('update', 'a', {'n': 1}, expect={'l': [3]})),
             '{"store":"main","collection":"n","id":"q","operation":"create","data":{"n":18446744073709551616}}', '[]', json.dumps(line('paint', 'a', {})),
             json.dumps(line('delete', 'a', {'data': 1})), json.dumps(line('update', 'a')), '\\', json.dumps(line('create', 'y', {}, path='/x'))]
    result = result_shape(data.apply('\n'.join(wrong) + '\n').exits(2).json)
    same(sorted({e['line'] for e in result['errors']}), list(range(1, len(wrong) + 1)), 'every wrong line is named', [e['message'] for e in result['errors']])
    codes = {e['line']: e['code'] for e in result['errors']}
    same((codes[2], codes[4], codes[5], codes[6], codes[8], codes[9]), ('changed_meanwhile', 'not_found', 'not_found', 'not_found', 'unknown_store', 'changed_meanwhile'))
    same_rows(data.rows(), before, 'a rejected file')
    same(data.apply([line('create', 'n', {}), line('create', 'n', {})]).exits(2).json['errors'][0]['code'], 'duplicate')
    failure = result_shape(data.apply([line('create', 'n', {}), line('create', 'a', {})]).exits(3).json)['failure']  # creates are not read ahead
    same((failure['operation'], failure['documentId'], failure['code']), (1, 'a', 'duplicate'))
    same_rows(data.rows(), before, 'rolled back')
    data.run('apply', folder / 'none.ndjson').exits(1).says('none.ndjson')
    same(data.apply('').exits(0).json['operations'], 0)
    data.run('apply', '-', given='\n\n').exits(0).says('nothing to change')
    same(data.apply(b'\xef\xbb\xbf' + json.dumps(line('create', 'bom', {})).encode()).status in (0, 2), True)
    data.apply(b'{"store":"main","collection":"notes","id":"\xff","operation":"create","data":{}}\n').exits(2)


def existing_sql_tables(folder):
    path = folder / 'bank.db'
    with sqlite3.connect(path) as connection:
        connection.executescript('''create table account (bank text, number integer, owner text not null, balance decimal(10,2) check (balance >= 0), photo blob,
            primary key (bank, number)); insert into account values ('b', 1, 'Ada', 10, null), ('b', 2, 'Bob', 5, x'00ff');
            create table loose (a text); create table child (id integer primary key, bank text, number integer,
            foreign key (bank, number) references account (bank, number));''')
    mode = sqlite3.connect(path).execute('pragma journal_mode').fetchone()
    (folder / 'c.yaml').write_text('stores:\n  bank: {url: "sqlite:bank.db"}\n')
    data = Data(folder / 'd')

    def run(*lines, **more):
        return data.apply([line(*item[:-1], item[-1], store='bank', collection=more.get('collection', 'account')) for item in lines], '--config', folder / 'c.yaml')

    run(('update', 'b:1', {'balance': 12}), ('create', 'b:3', {'bank': 'b', 'number': 3, 'owner': 'Cy', 'photo': 'AP8='}), ('delete', 'b:2', None)).exits(0)
    rows = sqlite3.connect(path).execute('select * from account order by number').fetchall()
    same(rows, [('b', 1, 'Ada', 12, None), ('b', 3, 'Cy', None, b'\x00\xff')])
    same(sqlite3.connect(path).execute('pragma journal_mode').fetchone(), mode, 'the journal mode of a file that was there')
    same(run(('update', 'b:1', {'colour': 'red'})).exits(2).json['errors'][0]['code'], 'unknown_property')
    same(run(('create', 'x', {'a': 1}), collection='nothere').exits(2).json['errors'][0]['code'], 'unknown_collection')
    check(run(('create', 'x', {'a': 'x'}), collection='loose').exits(2).says('key'))
    for change in ({'balance': -1}, {'owner': None}):
        result = run(('update', 'b:3', {'owner': 'Di'}), ('update', 'b:1', change)).exits(2, 3).json
        check(result['state'] in ('rolled_back', 'rejected'), result)
        same(sqlite3.connect(path).execute('select * from account order by number').fetchall(), rows, change)
    result = result_shape(run(('update', 'b:1', {'balance': -1})).exits(3).json)
    same((result['failure']['operation'], result['failure']['store'], result['failure']['collection'], result['failure']['documentId']), (0, 'bank', 'account', 'b:1'))
    run(('create', '1', {'id': 1, 'bank': 'zz', 'number': 9}), collection='child').exits(2, 3)
    same(sqlite3.connect(path).execute('select count(*) from child').fetchone(), (0,))


def sheet_shows_what_the_reader_sees(folder):
    book = p.write_book(folder / 'b', {'Users': [{'Name': 'A', 'Email': '1'}, {'Name': 'x\x1b[31my', 'Email': ''}]})
    lines = p.aon('sheet', book, '--json', cwd=folder).exits(0).lines
    same(lines[0], {'sheet': 'Users', 'state': 'visible', 'row': 1, 'cells': [[1, 's', 'Name'], [2, 's', 'Email']]})
    same([row['row'] for row in lines], [1, 2, 3])
    human = p.aon('sheet', book, cwd=folder).exits(0)
    check('\x1b' not in human.out and 'Users' in human.out, human.out)
    with zipfile.ZipFile(folder / 'b.zip', 'w') as archive:
        archive.write(book / 'Users.csv', 'Users.csv')
    same(p.aon('sheet', folder / 'b.zip', '--json').exits(0).lines, lines)
    p.aon('sheet', book / 'Users.csv').exits(2).says('folder')
    p.aon('sheet', folder / 'none.xlsx').exits(1).says('none.xlsx')
    (folder / 'text.xlsx').write_text('not a workbook')
    p.aon('sheet', folder / 'text.xlsx').exits(2).says('not a workbook')
    same(sorted(path.name for path in folder.iterdir()), ['b', 'b.zip', 'text.xlsx'], 'looking left files')


def history(folder):
    data = p.prepared(folder)
    bulk = data.imports(p.second_book(folder / 'b2'), '--user', 'ann').exits(0).json
    result_shape(bulk)
    data.imports(p.write_book(folder / 'bad', {'Users': [{'Name': '', 'Email': 'x@example.com', 'Role': 'staff'}]}), '--user', 'bob').exits(2)
    before = data.rows()
    listed = data.listed()
    same([b['state'] for b in listed], ['rejected', 'committed', 'committed'], 'newest first')
    for item in listed:
        result_shape(item)
        keys(item, {'createdAt': str, 'finishedAt': (str, type(None)), 'organization': str, 'user': str})
    same(len(data.run('list', '--json', '--limit', '1').lines), 1)
    same([b['user'] for b in data.run('list', '--json', '--query', 'ann').lines], ['ann'])
    same(len(data.run('list', '--json', '--state', 'committed', '--state', 'held').lines), 2)
    same(len(data.run('list', '--json', '--org', 'other').lines), 0)
    data.run('list').exits(0).says('committed', bulk['bulkOperationId'][:8])
    same(data.run('show', bulk['bulkOperationId'][:8], '--json').exits(0).json, bulk, 'show is the result')
    data.run('show', bulk['bulkOperationId'][:3]).exits(1).says('4 characters')
    data.run('show', bulk['bulkOperationId'].upper()).exits(0, 1)
    data.run('show', bulk['bulkOperationId']).exits(0).says('done', bulk['bulkOperationId'])
    entries = data.entries(bulk['bulkOperationId'])
    same([e['sequence'] for e in entries], list(range(bulk['operations'])))
    for entry in entries:
        keys(entry, ENTRY_KEYS)
        check(entry['status'] == 'executed' and INSTANT.fullmatch(entry['executedAt']) and entry['rolledbackAt'] is None, entry)
        same(entry['previousData'] is None, entry['operation'] == 'create', entry)
        same(entry['newData'] is None, entry['operation'] == 'delete', entry)
    check({'create', 'update', 'delete'} == {e['operation'] for e in entries}, 'the plan has all kinds')
    human = data.run('log', bulk['bulkOperationId']).exits(0).out.splitlines()
    same((len(human), human[0].split()[0]), (len(entries), '1'), 'people count from 1')
    for change in data.run('diff', bulk['bulkOperationId'], '--json').exits(0).lines:
        keys(change, DIFF_KEYS)
    data.run('diff', bulk['bulkOperationId']).exits(0).says('users/u0', 'User Zero')
    same(data.run('watch', bulk['bulkOperationId'], '--json').exits(0).lines[-1]['state'], 'committed')
    same(data.run('locks', '--json').exits(0).out, '')
    doctor = data.run('doctor', '--json').exits(0).lines
    same([d['name'] for d in doctor], ['journal', 'main', 'realtime', 'settings', 'identity'])
    for item in doctor:
        keys(item, {'name': str, 'kind': str, 'healthy': bool, 'findings': list})
        check(item['healthy'], item)
    data.run('doctor').exits(0).says('class 2', 'integrity: ok')
    same_rows(data.rows(), before, 'looking changed something')
    data.run('recover').exits(0).says('nothing to recover')
    same(data.run('recover', '--json').exits(0).json, {'recovered': 0, 'open': 0, 'needPerson': 0})
    same(data.run('recover', bulk['bulkOperationId'], '--json').exits(0).json['recovered'], 0)
    data.run('cancel', bulk['bulkOperationId']).exits(1).says('committed')
    data.run('resume', bulk['bulkOperationId']).exits(1).says('committed')
    data.run('rollback', bulk['bulkOperationId']).exits(1).says('aon undo')
    data.run('resolve', bulk['bulkOperationId'], 'all', '--force').exits(1).says('committed')


def doctor_knows_what_packs_look_up(folder):
    """Store, collection, property, and the statement that makes the index: after which it is told to serve."""
    data = p.prepared(folder)
    said = data.run('doctor').exits(0).says('main/users: pack workforce looks up email among the documents of an organization, by organizationID: no index').out
    check('identity/accounts: pack workforce looks up email: NO index serves that' in said and 'None would: ' in said, said)
    check('CREATE INDEX' not in said and 'contacts' not in said, 'few documents need none, and a store that nobody has is nobody\'s')
    many = "with recursive n(n) as (select 1 union all select n + 1 from n where n < 1001) insert into {} from n"
    data.sql(many.format("users(id, doc) select 'k' || n, json_object('organizationID', 'other', 'email', 'k' || n)"))
    line = next(line for line in data.run('doctor', '--pack', 'workforce').exits(0).out.splitlines() if line.strip().startswith('main/users: '))
    check('by organizationID: NO index serves that, so each time it reads about 10' in line and 'documents. Make one: CREATE INDEX ' in line, line)
    data.sql(line.partition('Make one: ')[2])
    data.run('doctor').exits(0).says('main/users: pack workforce looks up email among the documents of an organization, by organizationID: an index serves that')
    ran = data.imports(p.write_book(folder / 'again', {'Users': [{'Name': 'Else', 'Email': 'U1@example.com', 'Role': 'staff'}]})).exits(2).json
    same([(error['cell'], error['code']) for error in ran['errors']], [('B2', 'duplicate')])
    (folder / 'own.lua').write_text("""return {name = 'own', version = 1, organization = 'company', collections = {{name = 'people', store = 'main', id = 'id',
      organization = 'company'}}, sheets = {{name = 'People', collection = 'people', columns = {{heading = 'ID', property = 'id', type = 'id', id = true},
      {heading = 'Name', property = 'name', type = 'text', unique = true}}}}}""")
    own = ('doctor', '--pack', folder / 'own.lua')
    check('people' not in data.run(*own).exits(0).out, 'its table is not there')
    data.sql('create table people(id text primary key, company text, name text)')
    data.sql(many.format("people select n, 'c' || n, 'n' || n"))
    data.run(*own).exits(0).says('main/people: pack own looks up name', 'by company: NO index', 'CREATE INDEX "people_company" ON "people"("company")')
    data.sql("create index part on people(company) where name = 'a'")
    data.run(*own).exits(0).says('by company: NO index')
    data.sql('create index "people_company" on "people"("company")')
    data.run(*own).exits(0).says('by company: an index serves that')
    (folder / 'broken.lua').write_text('return {name =')
    data.run('doctor', '--pack', folder / 'broken.lua').exits(1).says('packs: something is wrong', 'broken.lua')


def a_constraint_names_the_cell(folder):
    """What must be unique or not null, by the table's own rules; a rule that names no column names the row."""
    data = Data(folder / 'data')
    data.run('import', p.write_book(folder / 'nothing', {'Users': [{'Name': 'A', 'Email': 'a@example.com', 'Role': 'staff'}]}), '--pack', 'workforce', '--org', 'org1').exits(0)
    data.sql('create table people(id text primary key, company text, name text not null, code text, unique(company, code), check(length(name) < 9))')
    (folder / 'own.lua').write_text("""return {name = 'own', version = 1, organization = 'company', collections = {{name = 'people', store = 'main', id = 'id',
      organization = 'company'}}, sheets = {{name = 'People', collection = 'people', columns = {{heading = 'ID', property = 'id', type = 'id', id = true},
      {heading = 'Name', property = 'name', type = 'text'}, {heading = 'Code', property = 'code', type = 'text'}}}}}""")
    row = {'ID': 'a', 'Code': 'X', 'Name': 'Ann'}
    for name, more, cell in (('unique', {'ID': 'b', 'Code': 'X', 'Name': 'Bob'}, 'B3'), ('null', {'ID': 'b', 'Code': 'Y', 'Name': ''}, 'C3'),
                             ('check', {'ID': 'b', 'Code': 'Y', 'Name': 'Bartholomew'}, None)):
        book = p.write_book(folder / name, {'People': [row, more]})
        failure = data.run('import', book, '--pack', folder / 'own.lua', '--org', 'c1', '--json').exits(3).json['failure']
        same((name, failure['sheet'], failure['row'], failure['cell']), (name, 'People', 3, cell))
        bulk = data.listed()[0]['bulkOperationId']
        same(data.shown(bulk)['failure'], failure)
        data.run('show', bulk).exits(0).says('(People!' + cell + ')' if cell else '(People, row 3)')
        same(data.sql('select count(*) from people'), [(0,)])


def looking_makes_nothing(folder):
    for args in (['list'], ['locks'], ['doctor'], ['list', '--json']):
        data = Data(folder / 'd')
        data.run(*args).exits(0)
        check(not (folder / 'd').exists(), args, 'made the data folder')
    data.run('recover').exits(1).says('--data')


def undo_and_what_depends_on_it(folder):
    data = p.prepared(folder)
    before = data.rows()
    bulk = data.imports(p.second_book(folder / 'b2')).exits(0).json['bulkOperationId']
    after = data.rows()
    dry = result_shape(data.run('undo', bulk, '--dry-run', '--json').exits(0).json)
    same((dry['state'], dry['undoes']), ('planned', bulk))
    same_rows(data.rows(), after, 'a dry undo wrote')
    result = result_shape(data.run('undo', bulk, '--json').exits(0).json)
    same((result['state'], result['undoes']), ('committed', bulk))
    same_rows(data.rows(), before, 'undone')
    old = data.shown(bulk)
    same((old['state'], old['undoneBy']), ('undone', [result['bulkOperationId']]))
    data.run('undo', bulk).exits(1).says('undone')
    data.run('undo', result['bulkOperationId']).exits(0)
    check(data.document('main', 'users', 'u0')['name'] == 'User Zero', 'an undo can be taken back')


def undo_with_conflicts(folder):
    data = p.prepared(folder)
    before = data.rows()
    bulk = data.imports(p.second_book(folder / 'b2')).exits(0).json['bulkOperationId']
    data.put('main', 'users', 'u0', {**data.document('main', 'users', 'u0'), 'name': 'Theirs', 'shoe': 44})
    data.put('main', 'users', 'n1', {**data.document('main', 'users', 'n1'), 'shoe': 40})
    changed = data.rows()
    result = result_shape(data.run('undo', bulk, '--json').exits(2).json)
    same(result['state'], 'rejected')
    same({e['documentId'] for e in result['errors']}, {'u0', 'n1'}, result['errors'])
    same_rows(data.rows(), changed, 'an undo that was refused')
    same(data.shown(bulk)['state'], 'committed')
    data.run('undo', bulk).exits(2).says('main/users/u0', '--keep-theirs')
    data.run('undo', bulk, '--keep-theirs', 'main/users/u0').exits(2)
    given = '11111111-2222-4333-8444-555555555558'
    first = data.run('undo', bulk, '--keep-theirs', 'main/users/u0', '--id', given, '--json').exits(2).json
    same(data.run('undo', bulk, '--keep-theirs', 'main/users/u0', '--id', given, '--json').exits(2).json, first)
    data.run('undo', bulk, '--keep-theirs', 'main/users/u0', '--force', 'all', '--id', given).exits(1).says(given)
    result = data.run('undo', bulk, '--keep-theirs', 'main/users/u0', '--force', 'main/users/n1', '--json').exits(0).json
    same(data.document('main', 'users', 'u0')['name'], 'Theirs')
    same(data.document('main', 'users', 'n1'), None)
    left = {t: r for t, r in data.rows().items() if t != ('main', 'users')}
    same_rows(left, {t: r for t, r in before.items() if t != ('main', 'users')}, 'the rest')
    same(data.shown(bulk)['state'], 'undone')


def partial_rollback(folder):
    data = Data(folder / 'd')
    ops = [line('create', f'n{i}', {'n': i}) for i in range(6)]
    bulk = data.apply(ops).exits(0).json['bulkOperationId']
    result = result_shape(data.run('rollback', bulk, '--range', '2-3', '--json').exits(0).json)
    same((result['undoes'], result['operations']), (bulk, 2))
    same([data.document('main', 'notes', f'n{i}') is None for i in range(6)], [False, False, True, True, False, False])
    same(data.shown(bulk)['state'], 'committed', 'after a part it stays committed')
    data.run('rollback', bulk, '--range', '5-9').exits(1).says('0-5')
    data.run('undo', bulk, '--json').exits(0)
    same(data.sql('select * from notes'), [])
    same(data.shown(bulk)['state'], 'undone')
    data.imports(p.first_book(folder / 'b')).exits(0)
    whole = data.imports(p.second_book(folder / 'b2')).exits(0).json['bulkOperationId']
    days = data.document('settings', 'firestore:organization-offdays', 'org1')
    data.run('rollback', whole, '--sheet', 'Cars').exits(1, 2).says('part')
    refused = data.run('rollback', whole, '--sheet', 'Departments', '--json').exits(0, 2).json
    if refused['state'] == 'rejected':
        check(all(e['code'] == 'depends' for e in refused['errors']), refused['errors'])
    result = data.run('rollback', whole, '--sheet', 'Non-Ops Days', '--json')
    check(result.status in (0, 2), result)
    if result.status == 0:
        check(data.document('settings', 'firestore:organization-offdays', 'org1') != days, 'nothing was taken back')


def hold_and_resume(folder):
    data = p.prepared(folder)
    before = data.rows()
    book = p.second_book(folder / 'b2')
    held = result_shape(data.imports(book, '--on-failure', 'hold', env={'TEST_ROLLBACK_AT_OPERATION': 3}).exits(6).json)
    same((held['state'], held['failure']['operation']), ('held', 3))
    same_rows(data.rows(), before, 'nothing of a transaction stays while it is held')
    check(data.run('locks', '--json').exits(0).lines, 'documents stay locked while it is held')
    ran = data.imports(p.second_book(folder / 'b3'), '--lock-wait', '0').exits(5)
    ran.says(held['bulkOperationId'])
    same(ran.json['failure']['heldBy'], held['bulkOperationId'])
    data.run('show', held['bulkOperationId']).exits(0).says('aon resume', 'aon rollback')
    data.run('recover').exits(0)
    same(data.shown(held['bulkOperationId'])['state'], 'held', 'recovery leaves it to the person')
    same(result_shape(data.run('resume', held['bulkOperationId'], '--json').exits(0).json)['state'], 'committed')
    check(data.document('main', 'users', 'u0')['name'] == 'User Zero')
    same(data.run('locks', '--json').exits(0).out, '')
    again = data.imports(p.write_book(folder / 'b4', {'Departments': [{'Department ID': 'd1', 'Name': 'Pantry'}]}), '--on-failure', 'hold',
                         env={'TEST_ROLLBACK_AT_OPERATION': 0}).exits(6).json['bulkOperationId']
    now = data.rows()
    same(result_shape(data.run('rollback', again, '--json').exits(0).json)['state'], 'rolled_back')
    same_rows(data.rows(), now)
    third = data.imports(p.write_book(folder / 'b5', {'Departments': [{'Department ID': 'd1', 'Name': 'Pantry'}]}), '--on-failure', 'hold',
                         env={'TEST_ROLLBACK_AT_OPERATION': 0}).exits(6).json['bulkOperationId']
    same(result_shape(data.run('cancel', third, '--json').exits(0).json)['state'], 'rolled_back')
    fourth = data.imports(p.write_book(folder / 'b6', {'Departments': [{'Department ID': 'd1', 'Name': 'Pantry'}]}), '--on-failure', 'hold',
                          env={'TEST_ROLLBACK_AT_OPERATION': 0, 'AON_HOLD_UNTIL': '1ms'}).exits(6).json['bulkOperationId']
    data.run('recover').exits(0)
    same(data.shown(fourth)['state'], 'rolled_back', 'held for too long')


def key_rotation(folder):
    data = Data(folder / 'd')
    first = data.imports(p.first_book(folder / 'b')).exits(0).json['bulkOperationId']
    key = (folder / 'd' / 'journal.key').read_bytes()
    data.run('journal', 'rotate-key').exits(0).says('journal.key')
    check((folder / 'd' / 'journal.key').read_bytes() != key, 'no new key')
    same((folder / 'd' / 'journal.key').stat().st_mode & 0o777, 0o600)
    data.run('undo', first).exits(0)


CASES = [import_commits_and_says_so, rejected_names_every_cell, a_report_whatever_the_outcome, dry_run_writes_no_store, the_same_again,
         apply_from_a_file_and_from_standard_input, existing_sql_tables, sheet_shows_what_the_reader_sees, history, looking_makes_nothing,
         doctor_knows_what_packs_look_up, a_constraint_names_the_cell,
         undo_and_what_depends_on_it, undo_with_conflicts, partial_rollback, hold_and_resume, key_rotation]

if __name__ == '__main__':
    p.main('commands', CASES)
