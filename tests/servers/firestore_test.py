#!/usr/bin/python3
"""The real program with `settings` on Google's Firestore emulator and the other stores on SQLite: the cases of served.py, every type of value
there and back, batches.

    tests/servers/firestore NAME -- tests/servers/firestore_test.py [CASE …]

AON_FULL=1 tries every call, else a sample.
"""

import os
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import places  # noqa: E402
from secured import Secured  # noqa: E402
from served import Cases, Served, check, finish, p, same  # noqa: E402


class Mixed(Served):
    PLACES = (places.Settings,)

    def raw(self, markers=False):
        return self.places['settings'].raw(markers)

    def commit(self, documents):
        self.places['settings'].commit(documents)

    def root(self):
        return self.places['settings'].root()


cases = Cases(Mixed)
secured = Secured(cases)


def every_type_comes_back(folder):
    """What stood there in types that JSON lacks stands there again, exactly, after an update and its undo, a delete and its undo."""
    data = Mixed(folder / 'data')
    fields = {'at': {'timestampValue': '2027-01-06T08:00:00.123456Z'}, 'on': {'timestampValue': '2027-01-06T08:00:00Z'},
              'place': {'geoPointValue': {'latitude': 59.9, 'longitude': -0.5}}, 'zero': {'geoPointValue': {}}, 'bytes': {'bytesValue': 'AAEC/w=='},
              'to': {'referenceValue': f'{data.root()}/c/other'}, 'far': {'referenceValue': 'projects/x/databases/(default)/documents/c/other'},
              'one': {'integerValue': '1'}, 'real': {'doubleValue': 1.0}, 'big': {'integerValue': '-9223372036854775808'}, 'nan': {'doubleValue': 'NaN'},
              'inf': {'doubleValue': '-Infinity'}, 'small': {'doubleValue': 5e-324}, 'nothing': {'nullValue': None}, 'yes': {'booleanValue': True},
              'empty': {'mapValue': {}}, 'none': {'arrayValue': {}}, 'odd': {'mapValue': {'fields': {'$geopoint': {'stringValue': 'x'}}}},
              'text': {'stringValue': 'é " \\ \n'}, 'name.with`marks': {'integerValue': '2'},
              'list': {'arrayValue': {'values': [{'mapValue': {'fields': {'at': {'timestampValue': '1969-12-31T23:59:59.999999Z'}}}}, {'nullValue': None}]}}}
    data.commit({'c/a': fields})
    before = data.raw()
    bulk = data.apply([{'store': 'settings', 'collection': 'c', 'id': 'a', 'operation': 'replace', 'data': {'n': 1}}]).exits(0).json['bulkOperationId']
    data.run('undo', bulk, '--json').exits(0)
    same(data.raw(), before, 'replaced and taken back')
    bulk = data.apply([{'store': 'settings', 'collection': 'c', 'id': 'a', 'operation': 'delete'}]).exits(0).json['bulkOperationId']
    same(data.raw(), {})
    data.run('undo', bulk, '--json').exits(0)
    same(data.raw(), before, 'deleted and taken back')
    data.apply([{'store': 'settings', 'collection': 'c', 'id': 'a', 'operation': 'update', 'data': {'n': 1}}]).exits(0)
    same(data.raw(), {'c/a': {**fields, 'n': {'integerValue': '1'}}}, 'an update leaves the others as they were')


def typed_values_are_written(folder):
    data = Mixed(folder / 'data')
    values = {'at': '2027-01-06T08:00:00.5Z', 'place': {'latitude': 59.9, 'longitude': 10}, 'bytes': 'AAEC', 'to': 'c/other'}
    types = {'/at': 'timestamp', '/place': 'geopoint', '/bytes': 'bytes', '/to': 'reference'}
    line = {'store': 'settings', 'collection': 'c', 'id': 'a', 'operation': 'create', 'data': values, 'types': types}
    data.apply([line]).exits(0)
    same(data.raw()['c/a'], {'at': {'timestampValue': '2027-01-06T08:00:00.500Z'}, 'place': {'geoPointValue': {'latitude': 59.9, 'longitude': 10.0}},
                             'bytes': {'bytesValue': 'AAEC'}, 'to': {'referenceValue': f'{data.root()}/c/other'}})
    same(data.apply([{**line, 'operation': 'replace'}]).exits(0).json['operations'], 0, 'what is there is what was planned')
    for bad, code in (({'__x__': 1}, 'forbidden_character'), ({'l': [[1]]}, 'bad_type'), ({'x': 'y' * (1 << 20)}, 'too_long')):
        same(data.apply([{'store': 'settings', 'collection': 'c', 'id': 'k', 'operation': 'create', 'data': bad}]).exits(2).json['errors'][0]['code'], code)
    data.apply([{'store': 'settings', 'collection': 'c', 'id': 'a/b', 'operation': 'create', 'data': {'n': 1}}]).exits(2).says('forbidden_character')


def many_in_batches(folder):
    data = Mixed(folder / 'data')
    lines = [{'store': 'settings', 'collection': 'c', 'id': f'k{i}', 'operation': 'create', 'data': {'n': i, 'name': f'Name {i}'}} for i in range(2000)]
    began = time.monotonic()
    bulk = data.apply(lines).exits(0).json['bulkOperationId']
    took = time.monotonic() - began
    same(len(data.raw()), 2000)
    markers = [path for path in data.raw(markers=True) if path.startswith('aon_markers/')]
    same(len(markers), 5, 'a marker for each batch of 499')
    again = data.apply(lines).exits(2, 3)
    same(again.json['failure']['code'] if again.json['failure'] else again.json['errors'][0]['code'], 'duplicate')
    data.run('undo', bulk, '--json').exits(0)
    same(data.raw(), {})
    failed = data.apply(lines, env={'TEST_ROLLBACK_AT_OPERATION': 1500}).exits(3).json
    same((failed['state'], data.raw()), ('rolled_back', {}))
    return f'2000 in {took:.1f} s'


def written_between_reading_and_commit_of_a_rollback(folder):
    point = cases.point(folder)
    args, env = cases.rolled_back(point, folder)
    calls = cases.calls(point, args, env, 3)
    commits = [n for n in range(1, len(calls)) if calls[n] == 'store.settings.commit']
    check(len(commits) >= 2, calls)
    copy, process = cases.stopped_before(point, args, commits[-1], env)
    copy.put('settings', 'firestore:organization-offdays', 'org1', {**copy.document('settings', 'firestore:organization-offdays', 'org1'), 'theirs': 1})
    os.kill(process.pid, signal.SIGCONT)
    finish(process).exits(3)
    now, was = (data.document('settings', 'firestore:organization-offdays', 'org1') for data in (copy, point.data))
    same(now, {**was, 'theirs': 1}, 'theirs stays, ours is taken back')


def doctor_tells(folder):
    data = cases.prepared(folder)
    ours = [item for item in data.run('doctor', '--json').exits(0, 1).lines if item['name'] == 'settings'][0]
    text = '\n'.join(ours['findings'])
    check('class 3' in text and 'emulator' in text and 'markers of bulk operations: 1' in text, text)
    cases.doctor_knows_that_no_index_would_serve(folder, data, 'settings')
    data.run('doctor', env={'FIRESTORE_EMULATOR_HOST': '127.0.0.1:1'}).exits(1).says('settings')
    data.run('doctor', env={'FIRESTORE_EMULATOR_HOST': 'http://x'}).exits(1).says('FIRESTORE_EMULATOR_HOST')


CASES = [cases.workbooks_end_as_the_oracle_says, every_type_comes_back, typed_values_are_written, many_in_batches, cases.every_page_of_a_listing_is_read,
         cases.killed_at_calls,
         cases.killed_while_rolling_back, cases.replies_lost_at_calls, cases.requests_lost_at_calls, cases.replies_lost_while_rolling_back,
         cases.taken_back_over_foreign_writes, cases.a_foreign_write_meets_a_rollback, cases.a_foreign_write_between_plan_and_execution_is_refused,
         written_between_reading_and_commit_of_a_rollback, doctor_tells, secured.doctor_tells_the_clock,
         secured.a_token_that_is_refused_is_replaced_once, *cases.commands_killed('undo_killed')]

if __name__ == '__main__':
    if not os.environ.get(places.Settings.VARIABLE):
        print('skipped: firestore program: no server; run it by tests/servers/firestore')
        sys.exit(77)
    p.main('firestore program', CASES)
