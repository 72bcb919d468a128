#!/usr/bin/python3
"""The real program with every store, and its journal, on servers: the cases of served.py on the mix that is named first.

    tests/servers/postgresql NAME --prepared 20 -- tests/servers/rtdb NAME -- tests/servers/firestore NAME -- tests/servers/mix_test.py postgresql [CASE …]

AON_FULL=1 tries every call and all cases, else a sample. Firestore's and Auth's emulators keep everything in their memory, so they aren't killed but out of reach.
"""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from places import MONGODB, POSTGRESQL, Identity, MongodbJournal, MongodbMain, PostgresqlJournal, PostgresqlMain, Realtime, Settings, pymongo  # noqa: E402
from served import Cases, Served, p  # noqa: E402

MIXES = {'postgresql': (PostgresqlMain, Realtime, Settings, PostgresqlJournal), 'mongodb': (MongodbMain, Realtime, Settings, Identity, MongodbJournal)}


def missing(places):
    for kind in places:
        if kind in (PostgresqlMain, PostgresqlJournal) and not POSTGRESQL:
            return 'no PostgreSQL; run it by tests/servers/postgresql'
        if kind in (MongodbMain, MongodbJournal) and not (MONGODB and pymongo):
            return 'no MongoDB; run it by tests/servers/mongodb'
        if getattr(kind, 'VARIABLE', '') and not os.environ.get(kind.VARIABLE):
            return f'no {kind.VARIABLE}'
    return None


if __name__ == '__main__':
    mix = sys.argv.pop(1)
    if why := missing(MIXES[mix]):
        print(f'skipped: mix {mix}: {why}')
        sys.exit(77)
    cases = Cases(type('Mixed', (Served,), {'PLACES': MIXES[mix]}), sample=2)
    brief = [cases.a_workbook_ends_as_in_embedded_stores, cases.killed_at_calls, cases.killed_while_rolling_back, cases.replies_lost_at_calls,
             cases.requests_lost_at_calls, cases.secrets_stay_in, cases.servers_killed_in_the_middle]
    more = [cases.servers_out_of_reach, cases.workbooks_end_as_the_oracle_says, cases.replies_lost_while_rolling_back, cases.taken_back_over_foreign_writes,
            cases.a_foreign_write_between_plan_and_execution_is_refused, cases.several_at_once]
    p.main(f'mix {mix}', brief + more if p.FULL or sys.argv[1:] else brief)
