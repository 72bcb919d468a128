#!/usr/bin/python3
"""The real program with `main` on MongoDB and the other stores on SQLite: the cases of served.py, plans larger than a transaction, and what
`aon doctor` tells.

    tests/servers/mongodb NAME set|alone -- tests/servers/mongodb_test.py [CASE …]

AON_FULL=1 tries every call, else a sample.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from places import MONGODB, REPLICA_SET, MongodbMain, pymongo  # noqa: E402
from served import SECRET, Cases, Served, check, p, same  # noqa: E402


class Mixed(Served):
    PLACES = (MongodbMain,)


cases = Cases(Mixed)


def plans_larger_than_a_transaction(folder):
    if not REPLICA_SET:
        return 'nothing to split'
    data = cases.prepared(folder)
    path = folder / 'many.ndjson'
    path.write_text(''.join(json.dumps({'store': 'main', 'collection': 'c', 'id': f'{i}', 'operation': 'create', 'data': {'n': i}}) + '\n' for i in range(30)))
    before, small = data.rows(), {'AON_STORES_MAIN_TRANSACTION_OPERATIONS': 20, 'AON_BATCH': 7}
    refused = data.run('apply', path, '--json', env={**small, 'AON_STORES_MAIN_TRANSACTION_BEYOND': 'refuse'}).exits(2)
    check('"plan_too_large"' in refused.out, refused.out)
    p.same_rows(data.rows(), before, 'a refused plan changes nothing')
    ran = data.run('apply', path, '--json', env={**small, 'TEST_ROLLBACK_AT_OPERATION': 25}).exits(3)
    check(any(warning['code'] == 'plan_split' for warning in ran.json['warnings']), ran.out)
    p.same_rows(data.rows(), before, 'the batches are taken back')
    data.run('apply', path, '--json', env=small).exits(0)
    same(data.places['main'].database()['c'].count_documents({}), 30)
    markers = [m['state'] for m in data.places['main'].database()['aon_markers'].find({'state': {'$ne': 'session'}})]
    check(markers.count('commit') >= 5 and markers.count('undone') >= 3, markers)
    return f'{markers.count("undone")} batches taken back'


def doctor_tells(folder):
    data = cases.prepared(folder)
    ours = [item for item in data.run('doctor', '--json').exits(0, 1).lines if item['name'] == 'main'][0]
    text = '\n'.join(ours['findings'])
    check(ours['healthy'] and 'clock' in text and 'database' in text, text)
    if REPLICA_SET:
        check('class 2' in text and 'MongoDB' in text and 'markers of bulk operations: 1' in text, text)
    else:
        check('class 4' in text and 'server alone' in text and 'property by property' in text, text)
    same(data.run('pool', '--json').exits(0).lines, [{'store': 'main', 'total': 1, 'idle': 1, 'waiting': 0, 'max': 20}])


def addresses_that_are_wrong_keep_their_secrets(folder):
    where = f'u:{SECRET}@'
    cases.addresses_keep_their_secrets(folder, 'AON_STORES_MAIN_URL', (f'mongodb://{where}[bad', f'mongodb://{where}127.0.0.1:1', f'mongodb+srv://{where}bad.invalid/x'))


CASES = [cases.workbooks_end_as_the_oracle_says, cases.killed_at_calls, cases.killed_while_rolling_back, cases.replies_lost_at_calls,
         cases.requests_lost_at_calls, cases.taken_back_over_foreign_writes, cases.a_foreign_write_meets_a_rollback,
         cases.a_foreign_write_between_plan_and_execution_is_refused,
         cases.several_at_once, plans_larger_than_a_transaction, cases.secrets_stay_in, addresses_that_are_wrong_keep_their_secrets, doctor_tells,
         cases.servers_killed_in_the_middle, *([] if REPLICA_SET else [cases.late_writes]), *cases.commands_killed('recovery_itself')]

if __name__ == '__main__':
    if not MONGODB or not pymongo:
        print(f'skipped: mongodb program: {"no pymongo in build-servers/secantusdb" if MONGODB else "no server; run it by tests/servers/mongodb"}')
        sys.exit(77)
    p.main('mongodb program', CASES)
