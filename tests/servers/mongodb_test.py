#!/usr/bin/python3
"""The real program with `main` on MongoDB and the other stores on SQLite: the workforce workbooks against the oracle, kill -9 at calls, replies
and requests lost at calls, the server killed in the middle, foreign writes, several at once, plans larger than a transaction.

    tests/servers/mongodb NAME set|alone -- tests/servers/mongodb_test.py [CASE …]

AON_FULL=1 tries every call, else a sample.
"""

import glob
import json
import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / 'cli'), str(TESTS / 'crash'), str(TESTS / 'workforce')]
sys.path += glob.glob(str(pathlib.Path(os.environ.get('AON_TEST_MONGODB_PYTHON', '')).parents[1] / 'lib/python3*/site-packages')) \
    if os.environ.get('AON_TEST_MONGODB_PYTHON') else []

import compare  # noqa: E402
import crash_test as crash  # noqa: E402
import program as p  # noqa: E402
from program import Data, Skip, calls_of, check, finish, same  # noqa: E402

try:
    import bson.raw_bson
    import pymongo
except ImportError:
    pymongo = None

URL = os.environ.get('AON_TEST_MONGODB', '')
SET = os.environ.get('AON_TEST_MONGODB_KIND') == 'set'
SAMPLE = 6  # points of one kind in the short version
SECRET = 'pl4nted-p4ssw0rd'
SHOWS_ID = {'departmentindexes', 'sitegroups', 'schedulestatistics', 'roles', 'siteoffdays', 'useroffdays'}  # packs/workforce.lua: their id is _id
SOON = {} if SET else {'AON_STORES_MAIN_HORIZON': '1s', 'AON_STORES_MAIN_WATCH': '1s'}


def address():
    host, port = re.match(r'mongodb://([^:/]+):(\d+)/', URL).groups()
    return host, int(port)


def connect():
    return pymongo.MongoClient(URL, serverSelectionTimeoutMS=30000, socketTimeoutMS=30000, directConnection=True)


CLIENT = None


def database(name):
    global CLIENT
    CLIENT = CLIENT or connect()
    return CLIENT[name]


def tables(name):
    """Every document of every collection but ours, as (id, JSON without what only the store needs)."""
    found = {}
    for collection in database(name).list_collection_names():
        if collection.startswith('aon_'):
            continue
        rows = []
        for document in database(name)[collection].find():
            key = document['_id']
            if collection not in SHOWS_ID:
                del document['_id']
            rows.append((key, json.dumps(document, sort_keys=True)))
        if rows:
            found[collection] = sorted(rows)
    return found


class Mixed(Data):
    """A data folder whose store main is a database of its own on the server."""
    made = 0

    def __init__(self, folder, env=None, name=None):
        Mixed.made += 1
        self.database = name or f'd{os.getpid()}_{Mixed.made}'
        super().__init__(folder, {**(env or {}), **self.through(address()), **SOON})

    def through(self, where, user=''):
        options = '?replicaSet=secantus' if SET and where == address() else '?directConnection=true'
        return {'AON_STORES_MAIN_URL': f'mongodb://{user}{where[0]}:{where[1]}/{self.database}{options}', 'AON_STORES_MAIN_CREATE': 'true'}

    def rows(self):
        return {**super().rows(), **{('main', table): rows for table, rows in tables(self.database).items()}}

    def put(self, store, collection, name, document):
        if store != 'main':
            return super().put(store, collection, name, document)
        return database(self.database)[collection].replace_one({'_id': name}, {'_id': name, **document}, upsert=True)

    def document(self, store, collection, name):
        if store != 'main':
            return super().document(store, collection, name)
        found = database(self.database)[collection].find_one({'_id': name})
        if found and collection not in SHOWS_ID:
            del found['_id']
        return found

    def copy(self, to):
        p.shutil.copytree(self.folder, to)
        Mixed.made += 1
        name = f'd{os.getpid()}_{Mixed.made}'
        whole = bson.codec_options.CodecOptions(document_class=bson.raw_bson.RawBSONDocument)
        for collection in database(self.database).list_collection_names():
            documents = list(database(self.database).get_collection(collection, codec_options=whole).find())
            if documents:
                database(name).get_collection(collection, codec_options=whole).insert_many(documents)
        return Mixed(to, {k: v for k, v in self.env.items() if not k.startswith('AON_STORES_MAIN')}, name)


class Point(crash.Point):
    def recover(self, data, where, statuses=(0,)):
        ran = super().recover(data, where, statuses)
        if not SET:  # what was in doubt is watched for a while, and then taken off the list by housekeeping
            for _ in range(40):
                if not data.run('locks', '--json').out:
                    break
                time.sleep(0.5)
                data.run('recover')
        return ran

    def drop(self, data):
        database(data.database).client.drop_database(data.database)
        super().drop(data)


def prepared(folder):
    data = Mixed(folder / 'prepared')
    data.imports(p.first_book(folder / 'first')).exits(0)
    seed_foreign(data)
    return data


def seed_foreign(data):
    """As program.py's: documents that no import made."""
    data.put('main', 'users', 'x1', {'userID': 'x1', 'organizationID': 'other', 'name': 'Else', 'email': 'u0@example.com', 'unknown': [1, None, {'a': 1.0}]})
    data.put('main', 'ledger', 'a:1', {'amount': 2.5, 'at': bson.timestamp.Timestamp(1, 2).as_datetime().isoformat()})
    data.put('realtime', 'firebase:user', 'x1', {'name': 'Else'})


def point_of(folder):
    data = prepared(folder)
    return data, Point(folder, data, data.rows(), {bulk['bulkOperationId'] for bulk in data.listed()})


def upload(book):
    return ('import', book, '--pack', 'workforce', '--org', 'org1', '--json')


# ---- the workbooks ----

def as_planned(document):
    """Without the stamp that class 4 adds to documents which the pack does not stamp."""
    if not SET and 'createdAt' not in document and 'updatedAt' not in document:
        document.pop('_bulkOperationId', None)
    return document


def workbooks_end_as_the_oracle_says(folder):
    shared = p.SHARED / 'workforce'
    if not (shared / 'full.xlsx').exists():
        raise Skip(f'no workbooks in {shared}')
    plain_dump, said = compare.dump, []
    for books in (['full.xlsx'], ['with-ids.xlsx', 'with-ids-second-upload.xlsx'], ['mistakes.xlsx']):
        data = Mixed(folder / books[0])
        def dump(where, data=data):
            main = {name: {row[0]: as_planned(json.loads(row[1])) for row in rows} for name, rows in tables(data.database).items()}
            return {**plain_dump(where), **({'main': main} if main else {})}
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


# ---- kill -9 of the program ----

def killed_at_calls(folder):
    data, point = point_of(folder)
    book = p.second_book(folder / 'second')
    counted = point.fresh()
    calls = calls_of(counted.run(*upload(book), env=crash.COUNTED).exits(0))
    point.drop(counted)
    return crash.die_everywhere(point, upload(book), calls, count=SAMPLE)


def killed_while_rolling_back(folder):
    data, point = point_of(folder)
    book = p.second_book(folder / 'second')
    env = {'TEST_ROLLBACK_AT_OPERATION': 9}
    counted = point.fresh()
    calls = calls_of(counted.run(*upload(book), env={**env, **crash.COUNTED}).exits(3))
    point.settled(counted, 'a forced rollback')
    point.drop(counted)
    return crash.die_everywhere(point, upload(book), calls, env=env, count=SAMPLE)


# ---- lost replies ----

class Proxy:
    """Between program and server; counts what the program sends, and at one of them hangs up: the request was done but its reply is lost, or
    the request itself is."""

    def __init__(self, drop_at=0, lose='reply'):
        self.drop_at, self.lose, self.seen, self.lock = drop_at, lose, 0, threading.Lock()
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.address = self.listener.getsockname()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(address())
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            lost = threading.Event()
            threading.Thread(target=self.forward, args=(client, server, lost), daemon=True).start()
            threading.Thread(target=self.answer, args=(server, client, lost), daemon=True).start()

    def forward(self, client, server, lost):
        try:
            while chunk := client.recv(1 << 20):
                with self.lock:
                    self.seen += 1
                    drop = self.seen == self.drop_at
                if drop and self.lose == 'request':
                    break
                if drop:
                    lost.set()
                server.sendall(chunk)
                if drop:
                    time.sleep(0.5)  # the server has its time to do it
                    break
        except OSError:
            pass
        self.hang_up(client, server)

    def answer(self, server, client, lost):
        try:
            while chunk := server.recv(1 << 20):
                if not lost.is_set():
                    client.sendall(chunk)
        except OSError:
            pass
        self.hang_up(client, server)

    @staticmethod
    def hang_up(*ends):
        for end in ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()


def lost_at_calls(folder, lose):
    data, point = point_of(folder)
    book = p.second_book(folder / 'second')
    counted, proxy, ends = point.fresh(), Proxy(), {}
    counted.run(*upload(book), env=counted.through(proxy.address)).exits(0)
    calls = proxy.seen
    point.drop(counted)
    step = 1 if p.FULL else max(1, calls // (2 * SAMPLE))
    for n in range(1 if p.FULL else 2, calls + 1, step):
        copy, proxy, where = point.fresh(), Proxy(n, lose), f'{lose} {n} of {calls} lost'
        ran = copy.run(*upload(book), env=copy.through(proxy.address)).exits(0, 1, 3, 5)
        proxy.close()
        point.recover(copy, where)
        state = point.settled(copy, where)
        check(ran.status != 0 or state == 'committed', 'it said committed, but', state, where)
        check(ran.status != 3 or state != 'committed', 'it said rolled back, but', state, where)
        ends[state] = ends.get(state, 0) + 1
        point.drop(copy)
    check(ends.get('committed'), 'no lost connection was overcome', ends)
    return f'{calls} calls, {ends}'


def replies_lost_at_calls(folder):
    return lost_at_calls(folder, 'reply')


def requests_lost_at_calls(folder):
    return lost_at_calls(folder, 'request')


# ---- kill -9 of the server ----

STARTED = []  # by us, so that a killed one is reaped
SERVER = [int(os.environ.get('AON_TEST_MONGODB_PID', 0))]


def kill_server():
    global CLIENT
    os.kill(SERVER[0], signal.SIGKILL)
    for process in STARTED:
        process.wait()
    for _ in range(600):  # the first one is for the script that started it to reap
        try:
            with socket.create_connection(address(), 1):
                time.sleep(0.1)
        except OSError:
            break
    CLIENT = None


def start_server():
    folder = pathlib.Path(os.environ['AON_TEST_MONGODB_FOLDER'])
    log = open(folder / 'again.log', 'ab')
    STARTED.append(subprocess.Popen(shlex.split(os.environ['AON_TEST_MONGODB_START']), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder))
    SERVER[0] = STARTED[-1].pid
    (folder / 'again.pid').write_text(f'{SERVER[0]}\n')
    for _ in range(600):
        try:
            connect().admin.command('ping')
            return
        except pymongo.errors.PyMongoError:
            time.sleep(0.1)
    check(False, 'the server does not start again:', (folder / 'again.log').read_text()[-2000:])


def server_killed_in_the_middle(folder):
    data, point = point_of(folder)
    book, ends = p.second_book(folder / 'second'), {}
    counted = point.fresh()
    calls = calls_of(counted.run(*upload(book), env=crash.COUNTED).exits(0))
    point.drop(counted)
    points = [n for n in range(1, len(calls)) if calls[n].startswith('store.main.') and not calls[n].endswith(crash.QUIET)]
    for n in points if p.FULL else points[::max(1, len(points) // SAMPLE)]:
        copy, where = point.fresh(), f'the server was killed before call {n} ({calls[n]})'
        process = copy.start(*upload(book), env={**crash.COUNTED, 'TEST_STOP_AT_CALL': n})
        check(p.stopped(process), 'it did not stop', where)
        kill_server()
        start_server()
        os.kill(process.pid, signal.SIGCONT)
        finish(process).exits(0, 1, 3, 5)
        point.recover(copy, where)
        state = point.settled(copy, where)
        ends[state] = ends.get(state, 0) + 1
        point.drop(copy)
    return str(ends)


# ---- foreign writes, several at once, secrets ----

def taken_back_over_foreign_writes(folder):
    data = prepared(folder)
    bulk = data.imports(p.second_book(folder / 'second')).exits(0).json['bulkOperationId']
    data.put('main', 'users', 'u1', {**data.document('main', 'users', 'u1'), 'nickname': 'U'})
    data.run('undo', bulk, '--json').exits(0)
    now = data.document('main', 'users', 'u1')
    same((now['nickname'], now['email']), ('U', 'u1@example.com'), 'theirs stays, ours is taken back')
    bulk = data.imports(p.second_book(folder / 'third')).exits(0).json['bulkOperationId']
    before = data.rows()
    data.put('main', 'users', 'u1', {**data.document('main', 'users', 'u1'), 'email': 'theirs@example.com'})
    wanted = data.rows()
    check(wanted != before, 'the foreign write is there')
    data.run('undo', bulk, '--json').exits(2).says('u1')
    same(data.rows(), wanted, 'a refused undo changes nothing')
    data.run('undo', bulk, '--keep-theirs', 'main/users/u1', '--json').exits(0)
    same(data.document('main', 'users', 'u1')['email'], 'theirs@example.com')


def a_foreign_write_between_plan_and_execution_is_refused(folder):
    data, point = point_of(folder)
    book = p.second_book(folder / 'second')
    counted = point.fresh()
    calls = calls_of(counted.run(*upload(book), env=crash.COUNTED).exits(0))
    point.drop(counted)
    copy = point.fresh()
    process = copy.start(*upload(book), env={**crash.COUNTED, 'TEST_STOP_AT_CALL': calls.index('store.main.apply')})
    check(p.stopped(process), 'it did not stop')
    theirs = {**copy.document('main', 'users', 'u1'), 'nickname': 'U'}
    copy.put('main', 'users', 'u1', theirs)  # in a set after the snapshot of our transaction: the server refuses our own write
    wanted = copy.rows()
    os.kill(process.pid, signal.SIGCONT)
    finish(process).exits(3).says('changed_meanwhile', 'u1')
    p.same_rows(copy.rows(), wanted, 'all but the foreign write is as before')


def several_at_once(folder):
    data = prepared(folder)
    def lines(n):
        return ''.join(json.dumps({'store': store, 'collection': 'c', 'id': f'{n}-{i}', 'operation': 'create', 'data': {'n': i}}) + '\n'
                       for i in range(50) for store in ('main', 'realtime'))
    files = []
    for n in range(4):
        path = folder / f'{n}.ndjson'
        path.write_text(lines(n) + json.dumps({'store': 'main', 'collection': 'c', 'id': 'shared', 'operation': 'upsert', 'data': {f'by{n}': True}}) + '\n')
        files.append(path)
    running = [data.start('apply', path, '--json', '--lock-wait', '60') for path in files]
    for process in running:
        finish(process).exits(0)
    shared = data.document('main', 'c', 'shared')
    shared.pop('_bulkOperationId', None)
    same(shared, {f'by{n}': True for n in range(4)}, 'each one went by itself')
    same(database(data.database)['c'].count_documents({}), 201)


def plans_larger_than_a_transaction(folder):
    if not SET:
        return 'nothing to split'
    data = prepared(folder)
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
    same(database(data.database)['c'].count_documents({}), 30)
    markers = [m['state'] for m in database(data.database)['aon_markers'].find({'state': {'$ne': 'session'}})]
    check(markers.count('commit') >= 5 and markers.count('undone') >= 3, markers)
    return f'{markers.count("undone")} batches taken back'


def secrets_stay_in(folder):
    data = prepared(folder)
    said = ''
    runs = [(('doctor',), data.through(address(), f'u:{SECRET}@')), (('doctor', '--json'), {'AON_STORES_MAIN_URL': f'mongodb://u:{SECRET}@127.0.0.1:1/x'}),
            (('doctor',), {'AON_STORES_MAIN_URL': f'mongodb://u:{SECRET}@[bad'}), (('pool',), {'AON_STORES_MAIN_URL': f'mongodb://u:{SECRET}@127.0.0.1:1/x'}),
            (('doctor',), {'AON_STORES_MAIN_URL': f'mongodb+srv://u:{SECRET}@bad.invalid/x'}), (('doctor',), {'AON_STORES_MAIN_URL': f'mongodb://u:{SECRET}@127.0.0.1:1'}),
            (upload(p.second_book(folder / 'second')), data.through(address(), f'u:{SECRET}@'))]
    for args, more in runs:
        ran = data.run(*args, env={**more, 'LOG_LEVEL': 'debug'})
        said += ran.out + ran.err
    check(SECRET not in said, 'the password was said:', said[max(0, said.find(SECRET) - 300):][:400])
    for path in data.folder.rglob('*'):
        check(path.is_dir() or SECRET.encode() not in path.read_bytes(), 'the password stands in', path)


def doctor_tells(folder):
    data = prepared(folder)
    ours = [item for item in data.run('doctor', '--json').exits(0, 1).lines if item['name'] == 'main'][0]
    text = '\n'.join(ours['findings'])
    check(ours['healthy'] and 'clock' in text and 'database' in text, text)
    if SET:
        check('class 2' in text and 'MongoDB' in text and 'markers of bulk operations: 1' in text, text)
    else:
        check('class 4' in text and 'server alone' in text and 'property by property' in text, text)
    same(data.run('pool', '--json').exits(0).lines, [{'store': 'main', 'total': 1, 'idle': 1, 'waiting': 0, 'max': 20}])


CASES = [workbooks_end_as_the_oracle_says, killed_at_calls, killed_while_rolling_back, replies_lost_at_calls, requests_lost_at_calls,
         taken_back_over_foreign_writes, a_foreign_write_between_plan_and_execution_is_refused, several_at_once, plans_larger_than_a_transaction,
         secrets_stay_in, doctor_tells, server_killed_in_the_middle]

if __name__ == '__main__':
    if not URL or not pymongo:
        print(f'skipped: mongodb program: {"no pymongo in build-servers/secantusdb" if URL else "no server; run it by tests/servers/mongodb"}')
        sys.exit(77)
    p.main('mongodb program', CASES)
