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
    psql(data.places['main'].name, 'create table large as select n as id, n % 7 as company from generate_series(1, 2000) n; analyze large')
    data.run('doctor').exits(0, 1).says('table large: about 2000 rows and no index')
    psql(data.places['main'].name, 'create index on large(company)')
    check('table large' not in data.run('doctor').out, 'it has an index')
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
        same((failure['sheet'], failure['row'], failure['collection'], failure['documentId'], failure['code']), ('Users', 5, 'users', 'n3', code))
        check(words in failure['message'], failure)
        same(data.rows(), before, 'nothing of it stays')
        bulk = data.listed()[0]['bulkOperationId']
        same(data.shown(bulk)['failure'], failure)
        ran = data.run('show', bulk).exits(0)
        check(f"Change {failure['operation'] + 1} failed (Users, row 5): " in ran.out and words in ran.out, ran.out)
    lines = [{'store': 'main', 'collection': 'users', 'id': 'n3', 'operation': 'create', 'data': {'name': 'New 3'}}]
    bulk = data.apply([{**lines[0], 'id': 'n2', 'data': {'name': 'New 2'}}, *lines]).exits(3).json['bulkOperationId']
    check('Change 2 failed (line 2): ' in data.run('show', bulk).out, data.run('show', bulk).out)


CASES = [cases.workbooks_end_as_the_oracle_says, cases.killed_at_calls, cases.killed_while_rolling_back, cases.replies_lost_at_calls,
         cases.requests_lost_at_calls, cases.taken_back_over_foreign_writes, cases.a_foreign_write_meets_a_rollback,
         cases.a_foreign_write_between_plan_and_execution_is_refused,
         a_row_that_a_constraint_refuses_is_named,
         cases.several_at_once, cases.secrets_stay_in, addresses_that_are_wrong_keep_their_secrets, doctor_tells,
         stores_that_take_turns_are_written_in_few_calls, cases.servers_killed_in_the_middle, *cases.commands_killed('recovery_itself')]

if __name__ == '__main__':
    if not POSTGRESQL:
        print('skipped: postgresql program: no server; run it by tests/servers/postgresql')
        sys.exit(77)
    p.main('postgresql program', CASES)
