#!/usr/bin/python3
"""The real program with `main` on PostgreSQL and the other stores on SQLite: the cases of served.py, and what `aon doctor` tells.

    tests/servers/postgresql NAME [--prepared N] -- tests/servers/postgresql_test.py [CASE …]

AON_FULL=1 tries every call, else a sample.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from places import POSTGRESQL, PostgresqlMain, psql  # noqa: E402
from served import SECRET, Cases, Served, calls_of, check, crash, p, same  # noqa: E402


class Mixed(Served):
    PLACES = (PostgresqlMain,)


cases = Cases(Mixed)


def addresses_that_are_wrong_keep_their_secrets(folder):
    cases.addresses_keep_their_secrets(folder, 'AON_STORES_MAIN_URL', (f'postgresql://u:{SECRET}@[bad', f'postgresql://u:{SECRET}@bad.invalid/x'))


def stores_that_take_turns_are_written_in_few_calls(folder):
    """Lines that go to one store and to the other in turns: each call costs a round trip, so there is one for many."""
    data = Mixed(folder / 'data')
    lines = [{'store': store, 'collection': 'c', 'id': f'k{i}', 'operation': 'create', 'data': {'n': i}} for i in range(200) for store in ('main', 'settings')]
    calls = calls_of(data.apply(lines, env=crash.COUNTED).exits(0))
    same([calls.count('store.main.apply'), calls.count('store.settings.apply')], [1, 1])
    same(len(data.rows()[('main', 'c')]), 200)


def doctor_tells(folder):
    data = cases.prepared(folder)
    ours = [item for item in data.run('doctor', '--json').exits(0, 1).lines if item['name'] == 'main'][0]
    text = '\n'.join(ours['findings'])
    can = psql('postgres', "select current_setting('max_prepared_transactions')::int > 0").strip() == 't'
    check(('class 1' in text) == can and 'PostgreSQL' in text and 'markers of bulk operations: 1' in text and 'clock' in text, text)
    same(data.run('pool', '--json').exits(0).lines, [{'store': 'main', 'total': 1, 'idle': 1, 'waiting': 0, 'max': 20}])
    who = f'limited_{data.places["main"].name}'
    psql(data.places['main'].name, f'create role {who} login; grant select, update on users to {who}; grant select, insert, update on aon_markers to {who}; '
                                   f'grant all on sites to {who}')
    lesser = {'AON_STORES_MAIN_URL': data.env['AON_STORES_MAIN_URL'].replace('//aon@', f'//{who}@')}
    said = data.run('doctor', env=lesser).exits(0, 1).says('table users: this user may not insert, delete;').out
    check('table sites' not in said, said)
    psql(data.places['main'].name, f'drop owned by {who}; drop role {who}')
    if can:
        psql(data.places['main'].name, "begin; create table orphan(); prepare transaction 'aon:nobody:main:1'")
        data.run('doctor').exits(1).says('aon:nobody:main:1')
        data.run('recover').exits(0)
        psql(data.places['main'].name, "rollback prepared 'aon:nobody:main:1'")  # it is there still: listed, never touched


def looked_up(ran, table):
    return next((line.strip() for line in ran.exits(0, 1).out.splitlines() if line.strip().startswith(f'main/{table}: ')), '')


def doctor_knows_what_packs_look_up(folder):
    """A document table and tables of columns, before and after the index that is told was made; an index that doesn't serve is none."""
    data = cases.prepared(folder)
    database = data.places['main'].name
    users = lambda env=None: looked_up(data.run('doctor', env=env), 'users')
    told = 'main/users: pack workforce looks up email among the documents of an organization, by organizationID: '
    check(users().startswith(told + 'no index serves that, and none is needed for about'), users())
    psql(database, "insert into users select 'k' || n, jsonb_build_object('organizationID', 'other', 'email', 'k' || n) from generate_series(1, 2000) n; analyze users")
    psql(database, "create index on users((doc ->> 'email')); create index on users using gin(doc)")
    statement = """CREATE INDEX ON public.users ((doc ->> 'organizationID'))"""
    check(users().startswith(told + 'NO index serves that, so each time it reads about 20') and users().endswith(f'documents. Make one: {statement}'), users())
    psql(database, statement)
    same(users(), told + 'an index serves that')
    check('None would: “12” may stand there as a number' in users({'AON_ORGANIZATION': '12'}), users({'AON_ORGANIZATION': '12'}))
    same(users({'AON_ORGANIZATION': '12a'}), told + 'an index serves that')
    pack = folder / 'own.lua'
    pack.write_text(OWN)
    own = lambda: looked_up(data.run('doctor', '--pack', pack), 'people')
    for kind, key, column in (('text', '"company"', 'text'), ('bigint', '"company"', 'bigint'), ('uuid', '("company"::text) collate "C"', 'uuid')):
        psql(database, f'drop table if exists people; create table people(id text primary key, company {kind}, name text, code text)')
        psql(database, f"insert into people select n, {dict(text='n::text', bigint='n', uuid='gen_random_uuid()')[kind]}, n, n from generate_series(1, 2000) n; analyze people")
        psql(database, "create index on people(name, company); create index on people(company) where name = 'a'")
        statement = f'CREATE INDEX ON public.people ({key})'
        said = own()
        check('looks up name and code among' in said and said.endswith(f'by company: NO index serves that, so each time it reads about 2000 documents. Make one: {statement}'), said)
        psql(database, statement)
        check(own().endswith('by company: an index serves that'), own())
    psql(database, "create type colour as enum('red'); drop table people; create table people(id text primary key, company colour, name text, code text)")
    psql(database, "insert into people select n, 'red' from generate_series(1, 2000) n; analyze people")
    check('Make one' not in own() and 'make it text' in own(), own())


OWN = """return {name = 'own', version = 1, organization = 'company', collections = {{name = 'people', store = 'main', id = 'id', organization = 'company'}},
  sheets = {{name = 'People', collection = 'people', columns = {{heading = 'ID', property = 'id', type = 'id', id = true},
    {heading = 'Name', property = 'name', type = 'text', unique = true}, {heading = 'Code', property = 'code', type = 'text', unique = true},
    {heading = 'Born', property = 'born', type = 'text'}, {heading = 'Boss', property = 'boss', type = 'text'},
    {heading = 'Amount', property = 'amount', type = 'number'}},
    adjust = function(row) if row.document.name == 'Upper' then return {name = 'UPPER'} end end}}}"""


def a_constraint_names_the_cell(folder):
    """In a table of columns: each kind of constraint, by the columns that it is about; where the value is not the cell's, the row alone."""
    data = cases.prepared(folder)
    database, pack = data.places['main'].name, folder / 'own.lua'
    pack.write_text(OWN)
    psql(database, 'create table people(id text primary key, company text not null, name text not null check(name <> \'UPPER\'), code text, born date, boss text, '
                   'amount numeric(6, 2) check(amount > 0), constraint boss_is_there foreign key(boss) references people(id), unique(company, born), '
                   'constraint paid check(amount < 100 or boss is null))')
    psql(database, "create unique index code_once on people(lower(code)); insert into people values('old', 'c2', 'Old', 'O', '2020-01-01', null, 5)")
    before = data.rows()
    good = {'ID': 'a', 'Name': 'Ann', 'Code': 'X', 'Born': '2000-01-01', 'Boss': '', 'Amount': '5'}
    trials = (('unique', {'Born': '2000-01-01'}, 'D3', 'duplicate'), ('expression', {'Code': 'o'}, 'C3', 'duplicate'), ('null', {'Name': ''}, 'B3', 'constraint'),
              ('check', {'Amount': '-1'}, 'F3', 'constraint'), ('key', {'Boss': 'nobody'}, 'E3', 'constraint'),
              ('several', {'Boss': 'a', 'Amount': '200'}, 'E3, F3', 'constraint'), ('adjusted', {'Name': 'Upper'}, None, 'constraint'))
    for name, more, cell, code in trials:
        book = p.write_book(folder / name, {'People': [good, {'ID': 'b', 'Name': 'Bob', 'Code': 'Y', 'Born': '2001-01-01', 'Boss': '', 'Amount': '6', **more}]})
        failure = data.run('import', book, '--pack', pack, '--org', 'c1', '--json').exits(3).json['failure']
        same((name, failure['sheet'], failure['row'], failure['cell'], failure['code'], failure['operation']), (name, 'People', 3, cell, code, 1))
        data.run('show', data.listed()[0]['bulkOperationId']).exits(0).says(f'Change 2 failed (People!{cell}): ' if cell else 'Change 2 failed (People, row 3): ')
        same(data.rows(), before, 'nothing of it stays')
    for name, more, cell in (('type', {'Born': 'once'}, 'D3'), ('range', {'Amount': '123456'}, 'F3')):
        book = p.write_book(folder / name, {'People': [good, {'ID': 'b', 'Name': 'Bob', 'Code': 'Y', 'Boss': '', 'Born': '2001-01-01', 'Amount': '6', **more}]})
        error, = data.run('import', book, '--pack', pack, '--org', 'c1', '--json').exits(2).json['errors']
        same((name, error['sheet'], error['cell'], error['value']), (name, 'People', cell, list(more.values())[0]))
        check(error['message'].startswith(f'People!{cell}: '), error)


def a_row_that_a_constraint_refuses_is_named(folder):
    """By sheet and row, for people and programs, at once and when it is shown later; each kind of constraint names what it is about."""
    data = cases.prepared(folder)
    before, database = data.rows(), data.places['main'].name
    users = [{'User ID': f'n{n}', 'Name': f'New {n}', 'Email': f'n{n}@example.com', 'Role': 'staff', 'Employee Number': f'N{n}'} for n in range(5)]
    for statement, code, words in (("create unique index one_name on users((doc ->> 'name'))", 'duplicate', 'one_name'),
                                   ("alter table users add constraint no_threes check (doc ->> 'name' <> 'New 3') not valid", 'constraint', 'no_threes')):
        psql(database, statement)
        book = p.write_book(folder / code, {'Users': [{**user, 'Name': 'User 1'} if code == 'duplicate' and user['User ID'] == 'n3' else user for user in users]})
        failure = data.imports(book).exits(3).json['failure']
        same((failure['sheet'], failure['row'], failure['cell'], failure['collection'], failure['documentId'], failure['code']), ('Users', 5, 'B5', 'users', 'n3', code))
        check(words in failure['message'], failure)
        same(data.rows(), before, 'nothing of it stays')
        bulk = data.listed()[0]['bulkOperationId']
        same(data.shown(bulk)['failure'], failure)
        ran = data.run('show', bulk).exits(0)
        check(f"Change {failure['operation'] + 1} failed (Users!B5): " in ran.out and words in ran.out, ran.out)
    lines = [{'store': 'main', 'collection': 'users', 'id': 'n3', 'operation': 'create', 'data': {'name': 'New 3'}}]
    bulk = data.apply([{**lines[0], 'id': 'n2', 'data': {'name': 'New 2'}}, *lines]).exits(3).json['bulkOperationId']
    check('Change 2 failed (line 2): ' in data.run('show', bulk).out, data.run('show', bulk).out)


CASES = [cases.workbooks_end_as_the_oracle_says, cases.killed_at_calls, cases.killed_while_rolling_back, cases.replies_lost_at_calls,
         cases.requests_lost_at_calls, cases.taken_back_over_foreign_writes, cases.a_foreign_write_meets_a_rollback,
         cases.a_foreign_write_between_plan_and_execution_is_refused,
         a_row_that_a_constraint_refuses_is_named, a_constraint_names_the_cell, doctor_knows_what_packs_look_up,
         cases.several_at_once, cases.secrets_stay_in, addresses_that_are_wrong_keep_their_secrets, doctor_tells,
         stores_that_take_turns_are_written_in_few_calls, cases.servers_killed_in_the_middle, *cases.commands_killed('recovery_itself')]

if __name__ == '__main__':
    if not POSTGRESQL:
        print('skipped: postgresql program: no server; run it by tests/servers/postgresql')
        sys.exit(77)
    p.main('postgresql program', CASES)
