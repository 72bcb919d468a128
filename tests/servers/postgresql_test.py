#!/usr/bin/python3
"""The real program with `main` on PostgreSQL and the other stores on SQLite: the workforce workbooks against the oracle, kill -9 at calls,
replies and requests lost at calls, the server killed in the middle, foreign writes, several at once.

    tests/servers/postgresql NAME [--prepared N] -- tests/servers/postgresql_test.py [CASE …]

AON_FULL=1 tries every call, else a sample.
"""

import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / 'cli'), str(TESTS / 'crash'), str(TESTS / 'workforce'), str(TESTS / 'servers')]

import compare  # noqa: E402
import crash_test as crash  # noqa: E402
import program as p  # noqa: E402
from lossy import Proxy  # noqa: E402
from program import Data, Skip, calls_of, check, finish, same  # noqa: E402

URL = os.environ.get('AON_TEST_POSTGRESQL', '')
SAMPLE = 6  # points of one kind in the short version
SECRET = 'pl4nted-p4ssw0rd'


def address():
    host, port = re.match(r'postgresql://aon@([^:/]+):(\d+)/', URL).groups()
    return host, int(port)


def psql(database, statement):
    done = subprocess.run(['psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', URL.rsplit('/', 1)[0] + '/' + database, '-c', statement], capture_output=True, text=True,
                          timeout=60)
    check(done.returncode == 0, statement, done.stderr)
    return done.stdout


def tables(database):
    """Every row of every table but ours: document tables as (id, doc), others as one text."""
    found = {}
    names = psql(database, "select c.relname, exists(select from pg_attribute where attrelid = c.oid and attname = 'doc') from pg_class c where relkind = 'r' "
                           "and relnamespace = 'public'::regnamespace and relname not like 'aon\\_%'").splitlines()
    for name, documents in (line.rsplit('|', 1) for line in names):
        columns = 'json_build_array(t.id, t.doc::text)' if documents == 't' else 'json_build_array(t::text)'
        rows = psql(database, f'select {columns} from "{name}" t').splitlines()
        if rows:
            found[name] = sorted((tuple(json.loads(row)) for row in rows), key=repr)
    return found


class Mixed(Data):
    """A data folder whose store main is a database of its own on the server."""
    made = 0

    def __init__(self, folder, env=None, database=None):
        Mixed.made += 1
        self.database = database or f'd{os.getpid()}_{Mixed.made}'
        if not database:
            psql('postgres', f'create database {self.database}')
        super().__init__(folder, {**(env or {}), **self.through(address())})

    def through(self, where, password=''):
        return {'AON_STORES_MAIN_URL': f'postgresql://aon{password}@{where[0]}:{where[1]}/{self.database}', 'AON_STORES_MAIN_CREATE': 'true'}

    def rows(self):
        return {**super().rows(), **{('main', table): rows for table, rows in tables(self.database).items()}}

    def sql(self, statement, *values, store='main'):
        if store != 'main':
            return super().sql(statement, *values, store=store)
        return psql(self.database, statement.replace(' real', ' double precision'))  # SQLite's real is a double

    def put(self, store, collection, name, document):
        if store != 'main':
            return super().put(store, collection, name, document)
        text = json.dumps(document).replace("'", "''")
        return psql(self.database, f'insert into "{collection}" (id, doc) values (\'{name}\', \'{text}\') on conflict (id) do update set doc = excluded.doc, bson = null')

    def document(self, store, collection, name):
        if store != 'main':
            return super().document(store, collection, name)
        found = psql(self.database, f'select doc from "{collection}" where id = \'{name}\'')
        return json.loads(found) if found.strip() else None

    def copy(self, to):
        p.shutil.copytree(self.folder, to)
        Mixed.made += 1
        name = f'd{os.getpid()}_{Mixed.made}'
        psql('postgres', f'create database {name} template {self.database}')
        return Mixed(to, {k: v for k, v in self.env.items() if not k.startswith('AON_STORES_MAIN')}, name)


def no_prepared(*where):
    same(psql('postgres', "select gid from pg_prepared_xacts where gid like 'aon:%'"), '', 'prepared transactions are left', *where)


class Point(crash.Point):
    def settled(self, data, where):
        state = super().settled(data, where)
        no_prepared(where)
        return state

    def drop(self, data):
        psql('postgres', f'drop database {data.database} with (force)')
        super().drop(data)


def prepared(folder):
    data = Mixed(folder / 'prepared')
    data.imports(p.first_book(folder / 'first')).exits(0)
    p.seed_foreign(data)
    return data


def point_of(folder):
    data = prepared(folder)
    return data, Point(folder, data, data.rows(), {bulk['bulkOperationId'] for bulk in data.listed()})


def upload(book):
    return ('import', book, '--pack', 'workforce', '--org', 'org1', '--json')


# ---- the workbooks ----

def workbooks_end_as_the_oracle_says(folder):
    shared = p.SHARED / 'workforce'
    if not (shared / 'full.xlsx').exists():
        raise Skip(f'no workbooks in {shared}')
    plain_dump, said = compare.dump, []
    for books in (['full.xlsx'], ['with-ids.xlsx', 'with-ids-second-upload.xlsx'], ['mistakes.xlsx']):
        data = Mixed(folder / books[0])
        def dump(where, data=data):
            main = {name: {row[0]: json.loads(row[1]) for row in rows} for name, rows in tables(data.database).items()}
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

def lost_at_calls(folder, lose):
    data, point = point_of(folder)
    book = p.second_book(folder / 'second')
    counted, proxy, ends = point.fresh(), Proxy(address()), {}
    counted.run(*upload(book), env=counted.through(proxy.address)).exits(0)
    calls = proxy.seen
    point.drop(counted)
    step = 1 if p.FULL else max(1, calls // (2 * SAMPLE))
    for n in range(1 if p.FULL else 2, calls + 1, step):
        copy, proxy, where = point.fresh(), Proxy(address(), n, lose), f'{lose} {n} of {calls} lost'
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

def server_pid():
    return int(pathlib.Path(os.environ['AON_TEST_POSTGRESQL_DATA'], 'postmaster.pid').read_text().split()[0])


def children(pid):
    found = []
    for stat in pathlib.Path('/proc').glob('[0-9]*/stat'):
        try:
            if int(stat.read_text().rsplit(')', 1)[1].split()[1]) == pid:
                found.append(int(stat.parent.name))
        except (OSError, ValueError):
            continue
    return found


STARTED = []  # by us, so that a killed one is reaped: PostgreSQL takes a zombie for alive


def kill_server():
    pid = server_pid()
    victims = [pid] + children(pid)
    for victim in victims:
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            pass
    for process in STARTED:
        process.wait()
    for _ in range(600):  # the first one is for the script that started it to reap
        if not any(pathlib.Path('/proc', str(victim)).exists() for victim in victims):
            return
        time.sleep(0.1)


def start_server():
    log = open(pathlib.Path(os.environ['AON_TEST_POSTGRESQL_SOCKET'], 'again.log'), 'ab')
    STARTED.append(subprocess.Popen(shlex.split(os.environ['AON_TEST_POSTGRESQL_START']), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd='/'))
    for _ in range(600):
        if subprocess.run(['psql', '-XAtq', URL, '-c', 'select 1'], capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    check(False, 'the server does not start again:', pathlib.Path(log.name).read_text()[-2000:])


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
    theirs = {**data.document('main', 'users', 'u1'), 'nickname': 'U'}
    data.put('main', 'users', 'u1', theirs)
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
    no_prepared()


def a_foreign_write_between_plan_and_execution_is_refused(folder):
    data, point = point_of(folder)
    book = p.second_book(folder / 'second')
    counted = point.fresh()
    calls = calls_of(counted.run(*upload(book), env=crash.COUNTED).exits(0))
    point.drop(counted)
    copy = point.fresh()
    process = copy.start(*upload(book), env={**crash.COUNTED, 'TEST_STOP_AT_CALL': calls.index('store.main.apply')})
    check(p.stopped(process), 'it did not stop')
    copy.put('main', 'users', 'u1', {**copy.document('main', 'users', 'u1'), 'nickname': 'U'})
    wanted = copy.rows()
    os.kill(process.pid, signal.SIGCONT)
    finish(process).exits(3).says('changed_meanwhile', 'u1')
    p.same_rows(copy.rows(), wanted, 'all but the foreign write is as before')
    no_prepared()


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
    same(data.document('main', 'c', 'shared'), {f'by{n}': True for n in range(4)}, 'each one went by itself')
    same(psql(data.database, 'select count(*) from c'), '201\n')
    no_prepared()


def secrets_stay_in(folder):
    data = prepared(folder)
    env = data.through(address(), f':{SECRET}')
    said = ''
    runs = [(('doctor',), env), (('doctor', '--json'), {'AON_STORES_MAIN_URL': f'postgresql://u:{SECRET}@127.0.0.1:1/x'}),
            (('doctor',), {'AON_STORES_MAIN_URL': f'postgresql://u:{SECRET}@[bad'}), (('pool',), {'AON_STORES_MAIN_URL': f'postgresql://u:{SECRET}@127.0.0.1:1/x'}),
            (upload(p.second_book(folder / 'second')), env)]
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
    can = psql('postgres', "select current_setting('max_prepared_transactions')::int > 0").strip() == 't'
    check(('class 1' in text) == can and 'PostgreSQL' in text and 'markers of bulk operations: 1' in text and 'clock' in text, text)
    same(data.run('pool', '--json').exits(0).lines, [{'store': 'main', 'total': 1, 'idle': 1, 'waiting': 0, 'max': 20}])
    if can:
        psql(data.database, "begin; create table orphan(); prepare transaction 'aon:nobody:main:1'")
        data.run('doctor').exits(1).says('aon:nobody:main:1')
        data.run('recover').exits(0)
        psql(data.database, "rollback prepared 'aon:nobody:main:1'")  # it is there still: listed, never touched


CASES = [workbooks_end_as_the_oracle_says, killed_at_calls, killed_while_rolling_back, replies_lost_at_calls, requests_lost_at_calls,
         taken_back_over_foreign_writes, a_foreign_write_between_plan_and_execution_is_refused, several_at_once, secrets_stay_in, doctor_tells,
         server_killed_in_the_middle]

if __name__ == '__main__':
    if not URL:
        print('skipped: postgresql program: no server; run it by tests/servers/postgresql')
        sys.exit(77)
    p.main('postgresql program', CASES)
