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
    if can:
        psql(data.places['main'].name, "begin; create table orphan(); prepare transaction 'aon:nobody:main:1'")
        data.run('doctor').exits(1).says('aon:nobody:main:1')
        data.run('recover').exits(0)
        psql(data.places['main'].name, "rollback prepared 'aon:nobody:main:1'")  # it is there still: listed, never touched


CASES = [cases.workbooks_end_as_the_oracle_says, cases.killed_at_calls, cases.killed_while_rolling_back, cases.replies_lost_at_calls,
         cases.requests_lost_at_calls, cases.taken_back_over_foreign_writes, cases.a_foreign_write_between_plan_and_execution_is_refused,
         cases.several_at_once, cases.secrets_stay_in, addresses_that_are_wrong_keep_their_secrets, doctor_tells,
         stores_that_take_turns_are_written_in_few_calls, cases.servers_killed_in_the_middle]

if __name__ == '__main__':
    if not POSTGRESQL:
        print('skipped: postgresql program: no server; run it by tests/servers/postgresql')
        sys.exit(77)
    p.main('postgresql program', CASES)
