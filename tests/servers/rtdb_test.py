#!/usr/bin/python3
"""The real program with `realtime` on a double of the Firebase Realtime Database and the other stores on SQLite: the cases of served.py, troubles of
the service, many documents at once, credentials.

    tests/servers/rtdb NAME -- tests/servers/rtdb_test.py [CASE …]

AON_FULL=1 tries every call, else a sample.
"""

import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from places import Realtime, ask  # noqa: E402
from secured import Secured, key_file  # noqa: E402
from served import Cases, Served, check, p, same, upload  # noqa: E402


class Mixed(Served):
    PLACES = (Realtime,)

    def at(self, *request):
        return self.places['realtime'].at(*request)

    def documents(self):
        return self.places['realtime'].documents()


def fault(**what):
    ask(Realtime.address(), 'POST', '/.double', what)


def counted():
    return ask(Realtime.address(), 'POST', '/.double', {'count': True})


cases = Cases(Mixed)
secured = Secured(cases)


# ---- lost replies ----

def replies_of_an_exclusive_store_lost(folder):
    return cases.lost_at_calls(folder, 'reply', {'AON_STORES_REALTIME_EXCLUSIVE': 'true'})


def a_reply_lost_before_a_rollback(folder):
    """The write was done, its answer lost, sent again, and then all is taken back: nothing of it is left."""
    point, book = cases.point(folder), p.second_book(folder / 'second')
    last = cases.last_operation(point, book)
    for n in range(1, 4):
        copy = point.fresh()
        fault(at=n, writes=True, status=503, done=True)
        copy.run(*upload(book), env={'TEST_ROLLBACK_AT_OPERATION': last}).exits(3)
        point.settled(copy, f'write {n} answered by 503 after it was done')
        point.drop(copy)


# ---- troubles of the service ----

def troubles_of_the_service(folder):
    point, book = cases.point(folder), p.second_book(folder / 'second')
    ends = {}
    for what in ({'at': 1, 'times': 2, 'status': 503}, {'at': 2, 'times': 2, 'status': 429, 'retryAfter': 1}, {'at': 1, 'status': 503, 'writes': True},
                 {'at': 1, 'times': 2, 'status': 500, 'writes': True, 'done': True}, {'at': 1, 'status': 429, 'writes': True},
                 {'at': 2, 'status': 403, 'writes': True}, {'at': 1, 'status': 400, 'writes': True}, {'at': 1, 'times': 99999, 'status': 503}):
        copy = point.fresh()
        fault(**what)
        ran = copy.run(*upload(book), env={'AON_STORES_REALTIME_TIMEOUT': '3s'}).exits(0, 1, 3)
        fault(at=0)
        copy.run('recover').exits(0)
        state = point.settled(copy, what)
        refused = what['status'] in (400, 403) or what.get('times', 0) > 100
        check((state != 'committed') == refused and (ran.status != 0) == refused, what, state, ran)
        ends[state] = ends.get(state, 0) + 1
        point.drop(copy)
    return str(ends)


# ---- what is kept ----

def documents_come_back_as_planned(folder):
    data = Mixed(folder / 'data')
    documents = [{'n': 1, 'half': 0.5, 'big': 9007199254740992, 'far': 1e300, 'yes': True, 'text': 'é " \\ \n'}, {'list': [1, 2, 3], 'gap': [1, None, 3]},
                 {'a': {'b': {'c': [{'d': 1}, {'e': []}]}}, 'nothing': None, 'empty': {}}, {'m': {'0': 'a', '1': 'b'}, 'o': {'1': 'x', '7': 'y'}},
                 {'far': [None, None, None, None, 'x'], '5': 1}]
    lines = [{'store': 'realtime', 'collection': 'c', 'id': f'k{i}', 'operation': 'create', 'data': one} for i, one in enumerate(documents)]
    bulk = data.apply(lines).exits(0).json['bulkOperationId']
    same(data.documents()['c'], {entry['documentId']: entry['newData'] for entry in data.entries(bulk)}, 'what is there is what was planned')
    data.run('undo', bulk, '--json').exits(0)
    same(data.rows().get(('realtime', 'c')), None)
    for bad, code in (({'a.b': 1}, 'forbidden_character'), ({'n': 9007199254740993}, 'out_of_range'), ({'x': 'y' * (11 << 20)}, 'too_long')):
        ran = data.apply([{'store': 'realtime', 'collection': 'c', 'id': 'k', 'operation': 'create', 'data': bad}]).exits(2)
        same(ran.json['errors'][0]['code'], code)
    data.apply([{'store': 'realtime', 'collection': 'c', 'id': 'a/b', 'operation': 'create', 'data': {'n': 1}}]).exits(2).says('forbidden_character')


def many_at_once(folder):
    """2,000 documents: in parallel, and taken back."""
    data = Mixed(folder / 'data')
    lines = [{'store': 'realtime', 'collection': 'c', 'id': f'k{i}', 'operation': 'create', 'data': {'n': i, 'name': f'Name {i}'}} for i in range(2000)]
    counted()
    began = time.monotonic()
    bulk = data.apply(lines).exits(0).json['bulkOperationId']
    took, requests = time.monotonic() - began, counted()
    same(len(data.at('GET', 'c')), 2000)
    check(sum(requests.values()) <= 2005, 'more requests than operations', requests)
    data.run('undo', bulk, '--json').exits(0)
    same(data.at('GET', 'c'), None)
    exclusive = Mixed(folder / 'exclusive', {'AON_STORES_REALTIME_EXCLUSIVE': 'true'})
    counted()
    exclusive.apply(lines).exits(0)
    return f'{requests} in {took:.1f} s; exclusive {counted()}'


# ---- credentials, secrets, doctor ----

def credentials_are_named_when_they_fail(folder):
    data = Mixed(folder / 'data')
    gone = {'FIREBASE_DATABASE_EMULATOR_HOST': None, 'AON_STORES_REALTIME_URL': 'firebase-rtdb://127.0.0.1:1/'}
    data.run('doctor', env=gone).exits(1).says('GOOGLE_APPLICATION_CREDENTIALS')
    path, _, private = key_file(folder, 'http://127.0.0.1:9/token')
    said = ''
    for text in ('', '{}', '{"type": "authorized_user"}', path.read_text().replace('BEGIN', 'BEGUN'), path.read_text().replace('http://127.0.0.1:9', 'http://evil')):
        (folder / 'bad.json').write_text(text)
        ran = data.run('doctor', env={**gone, 'GOOGLE_APPLICATION_CREDENTIALS': folder / 'bad.json'}).exits(1).says('service account')
        said += ran.out + ran.err
    for line in private.read_text().splitlines()[1:3]:
        check(line not in said, 'a secret was said:', said[max(0, said.find(line) - 200):][:400])


def doctor_tells(folder):
    data = cases.prepared(folder)
    ours = [item for item in data.run('doctor', '--json').exits(0, 1).lines if item['name'] == 'realtime'][0]
    text = '\n'.join(ours['findings'])
    check('class 4' in text and 'emulator' in text and 'ETag' in text, text)
    text = data.run('doctor', env={'AON_STORES_REALTIME_EXCLUSIVE': 'true'}).out
    check('PATCH' in text, text)
    pools = [item for item in data.run('pool', '--json').exits(0).lines if item['store'] == 'realtime']
    same((pools[0]['max'], pools[0]['waiting']), (20, 0))
    cases.doctor_knows_that_no_index_would_serve(folder, data, 'realtime')


CASES = [cases.workbooks_end_as_the_oracle_says, documents_come_back_as_planned, many_at_once, cases.every_page_of_a_listing_is_read,
         cases.killed_at_calls, cases.killed_while_rolling_back,
         cases.replies_lost_at_calls, cases.requests_lost_at_calls, cases.replies_lost_while_rolling_back, replies_of_an_exclusive_store_lost,
         a_reply_lost_before_a_rollback, troubles_of_the_service, cases.taken_back_over_foreign_writes, cases.a_foreign_write_meets_a_rollback,
         cases.a_foreign_write_between_plan_and_execution_is_refused, credentials_are_named_when_they_fail, secured.who_is_trusted,
         secured.a_token_is_renewed_before_its_end, secured.a_token_that_is_refused_is_replaced_once, secured.clocks_that_differ, cases.secrets_stay_in, doctor_tells,
         secured.doctor_tells_the_clock, secured.http2_where_it_is_offered, cases.servers_killed_in_the_middle, cases.late_writes,
         *cases.commands_killed('resolve_killed')]

if __name__ == '__main__':
    if not os.environ.get(Realtime.VARIABLE):
        print('skipped: rtdb program: no server; run it by tests/servers/rtdb')
        sys.exit(77)
    p.main('rtdb program', CASES)
