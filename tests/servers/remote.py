"""Cases that every store behind HTTP has to pass with the real program: one of the four stores on a service, the others on SQLite.

A suite gives a subclass of Remote (one database of its own for each data folder) and lists the bound methods of Cases.
"""

import http.client
import json
import os
import pathlib
import shutil
import signal
import sys

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / 'cli'), str(TESTS / 'crash'), str(TESTS / 'workforce')]

import compare  # noqa: E402
import crash_test as crash  # noqa: E402
import program as p  # noqa: E402
from lossy import Proxy  # noqa: E402
from program import Data, Skip, calls_of, check, finish, same  # noqa: E402

SAMPLE = 6
STAMP = '_bulkOperationId'


def ask(address, method, path, body=None):
    connection = http.client.HTTPConnection(*address, timeout=60)
    connection.request(method, path, None if body is None else json.dumps(body), {'Authorization': 'Bearer owner', 'Content-Type': 'application/json'})
    response = connection.getresponse()
    text = response.read()
    connection.close()
    check(response.status in (200, 204), method, path, response.status, text[:300])
    return json.loads(text) if text else None


def upload(book):
    return ('import', book, '--pack', 'workforce', '--org', 'org1', '--json')


class Remote(Data):
    """A data folder one of whose stores is a database of its own on the service."""
    STORE = ''     # which of the four
    VARIABLE = ''  # where Google's SDKs, and the program, look for an emulator
    made = 0

    def __init__(self, folder, env=None):
        Remote.made += 1
        self.database = f'demo-d{os.getpid()}-{Remote.made}'
        super().__init__(folder, {**(env or {}), f'AON_STORES_{self.STORE.upper()}_URL': self.url()})

    @classmethod
    def address(cls):
        host, port = os.environ[cls.VARIABLE].split(':')
        return host, int(port)

    @classmethod
    def through(cls, where):
        return {cls.VARIABLE: f'{where[0]}:{where[1]}'}

    def ask(self, method, path, body=None):
        return ask(self.address(), method, path, body)

    def rows(self):
        rows = super().rows()
        for name, tree in self.documents().items():
            rows[(self.STORE, name)] = sorted(((one, json.dumps(value, sort_keys=True)) for one, value in tree.items()), key=repr)
        return rows

    def put(self, store, collection, name, document):
        return self.write(collection, name, document) if store == self.STORE else super().put(store, collection, name, document)

    def document(self, store, collection, name):
        return super().document(store, collection, name) if store != self.STORE else self.documents().get(collection, {}).get(name)

    def copy(self, to):
        shutil.copytree(self.folder, to)
        other = type(self)(to, self.env)
        other.take_from(self)
        return other


class Point(crash.Point):
    def drop(self, data):
        data.wipe()
        super().drop(data)


class Cases:
    def __init__(self, remote, env=None, touched=None, foreign=('nickname', 'U')):
        """touched: (collection, id, property) of a document of the store that the second workbook changes; foreign: a property, and a value of it,
        that it knows nothing of."""
        self.remote, self.env, self.touched, self.foreign = remote, env or {}, touched, foreign

    def prepared(self, folder, env=None):
        data = self.remote(folder / 'prepared', {**self.env, **(env or {})})
        data.imports(p.first_book(folder / 'first')).exits(0)
        p.seed_foreign(data)
        return data

    def point(self, folder, env=None):
        data = self.prepared(folder, env)
        return Point(folder, data, data.rows(), {bulk['bulkOperationId'] for bulk in data.listed()})

    @staticmethod
    def calls(point, args, env=None, status=0):
        fresh = point.fresh()
        calls = calls_of(fresh.run(*args, env={**(env or {}), **crash.COUNTED}).exits(status))
        point.drop(fresh)
        return calls

    @staticmethod
    def last_operation(point, book):
        fresh = point.fresh()
        last = fresh.run(*upload(book)).exits(0).json['operations'] - 1
        point.drop(fresh)
        return last

    def rolled_back(self, point, folder):
        """A command, and the variable by which it writes to the store and then fails."""
        book = p.second_book(folder / 'second')
        return upload(book), {'TEST_ROLLBACK_AT_OPERATION': self.last_operation(point, book)}

    def workbooks_end_as_the_oracle_says(self, folder):
        shared = p.SHARED / 'workforce'
        if not (shared / 'full.xlsx').exists():
            raise Skip(f'no workbooks in {shared}')
        plain_dump, said = compare.dump, []
        for books in (['full.xlsx'], ['with-ids.xlsx', 'with-ids-second-upload.xlsx'], ['mistakes.xlsx']):
            data = self.remote(folder / books[0], self.env)
            def dump(where, data=data):
                ours = {name: {one: {key: value for key, value in document.items() if key != STAMP} for one, document in tree.items()}
                        for name, tree in data.documents().items()} if data.STORE == 'realtime' else data.documents()
                return {**plain_dump(where), **({data.STORE: ours} if ours else {})}
            compare.dump = dump
            os.environ.update({**data.env, 'AON_PACK': str(pathlib.Path(p.PACKS) / 'workforce.lua')})
            try:
                for book in books:
                    found, want, _ = compare.check(p.BINARY, shared / book, data.folder)
                    check(not found, book, '\n'.join(line[:200] for line in found[:10]))
                    said.append(f'{book} {want["state"]}, {want["operations"]} operations')
            finally:
                compare.dump = plain_dump
                for name in data.env:
                    os.environ.pop(name, None)
        return '; '.join(said)

    def killed_at_calls(self, folder):
        point, book = self.point(folder), p.second_book(folder / 'second')
        return crash.die_everywhere(point, upload(book), self.calls(point, upload(book)), count=2 * SAMPLE)

    def killed_while_rolling_back(self, folder):
        point = self.point(folder)
        args, env = self.rolled_back(point, folder)
        return crash.die_everywhere(point, args, self.calls(point, args, env, 3), env=env, count=2 * SAMPLE)

    def lost_at_calls(self, folder, lose, env=None, back=False):
        """env: of the whole case; back: the run is rolled back. What is lost is lost for good: nothing arrives late."""
        point = self.point(folder, env)
        args, more = self.rolled_back(point, folder) if back else (upload(p.second_book(folder / 'second')), {})
        fresh, proxy, ends = point.fresh(), Proxy(self.remote.address()), {}
        fresh.run(*args, env={**fresh.through(proxy.address), **more}).exits(0, 3)
        calls = proxy.seen
        proxy.close()
        point.drop(fresh)
        for n in range(1, calls + 1, 1 if p.FULL else max(1, calls // (2 * SAMPLE))):
            copy, proxy, where = point.fresh(), Proxy(self.remote.address(), n, lose), f'{lose} {n} of {calls} lost'
            ran = copy.run(*args, env={**copy.through(proxy.address), **more}).exits(0, 1, 3, 5)
            proxy.close()
            point.recover(copy, where)
            state = point.settled(copy, where)
            check(ran.status != 0 or state == 'committed', 'it said committed, but', state, where)
            check(ran.status != 3 or state != 'committed', 'it said rolled back, but', state, where)
            ends[state] = ends.get(state, 0) + 1
            point.drop(copy)
        check(back or ends.get('committed'), 'no lost connection was overcome', ends)
        return f'{calls} requests, {ends}'

    def replies_lost_at_calls(self, folder):
        return self.lost_at_calls(folder, 'reply')

    def requests_lost_at_calls(self, folder):
        return self.lost_at_calls(folder, 'request')

    def replies_lost_while_rolling_back(self, folder):
        return self.lost_at_calls(folder, 'reply', back=True)

    def taken_back_over_foreign_writes(self, folder):
        data = self.prepared(folder)
        (collection, name, prop), (other, value) = self.touched, self.foreign
        before = data.document(data.STORE, collection, name)[prop]
        bulk = data.imports(p.second_book(folder / 'second')).exits(0).json['bulkOperationId']
        data.put(data.STORE, collection, name, {**data.document(data.STORE, collection, name), other: value})
        data.run('undo', bulk, '--json').exits(0)
        now = data.document(data.STORE, collection, name)
        same((now[other], now[prop]), (value, before), 'theirs stays, ours is taken back')
        bulk = data.imports(p.second_book(folder / 'third')).exits(0).json['bulkOperationId']
        data.put(data.STORE, collection, name, {**data.document(data.STORE, collection, name), prop: 'theirs'})
        wanted = data.rows()
        data.run('undo', bulk, '--json').exits(2).says(name)
        p.same_rows(data.rows(), wanted, 'a refused undo changes nothing')
        data.run('undo', bulk, '--keep-theirs', f'{data.STORE}/{collection}/{name}', '--json').exits(0)
        same(data.document(data.STORE, collection, name)[prop], 'theirs')

    def a_foreign_write_between_plan_and_execution_is_refused(self, folder):
        point, book = self.point(folder), p.second_book(folder / 'second')
        collection, name, prop = self.touched
        calls, copy = self.calls(point, upload(book)), point.fresh()
        process = copy.start(*upload(book), env={**crash.COUNTED, 'TEST_STOP_AT_CALL': calls.index(f'store.{copy.STORE}.apply')})
        check(p.stopped(process), 'it did not stop')
        copy.put(copy.STORE, collection, name, {**copy.document(copy.STORE, collection, name), prop: 'theirs'})
        wanted = copy.rows()
        os.kill(process.pid, signal.SIGCONT)
        ran = finish(process).exits(3).says('changed_meanwhile', name)
        same(ran.json['conflicts'], [], 'a write that was refused is nobody\'s conflict')
        p.same_rows(copy.rows(), wanted, 'all but the foreign write is as before')
