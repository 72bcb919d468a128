#!/usr/bin/python3
"""The real program with its journal on PostgreSQL and its stores on SQLite: workbooks against the oracle, the crash suite's cases (kill -9 at calls,
frozen workers, recovery killed again), replies and requests of the journal lost, its server killed in the middle, one key for all, doctor.

    tests/servers/postgresql NAME -- tests/servers/journal_test.py [CASE …]

AON_FULL=1 tries every call, else a sample.
"""

import os
import pathlib
import shutil
import signal
import sys

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / name) for name in ('cli', 'crash', 'workforce', 'servers')]

import compare  # noqa: E402
import crash_test as crash  # noqa: E402
import postgresql_test as servers  # noqa: E402
import program as p  # noqa: E402
from program import Skip, calls_of, check, finish, same  # noqa: E402
from postgresql_test import psql  # noqa: E402

Plain = p.Data  # the class that keeps its journal in a file
URL, FULL, SECRET = servers.URL, p.FULL, servers.SECRET
SAMPLE = 6


class Served(p.Data):
    """A data folder whose journal is a database of its own on the server. Copies have copies of both."""
    made = 0

    def __init__(self, folder, env=None, database=None):
        Served.made += 1
        self.database = database or f'j{os.getpid()}_{Served.made}'
        if not database:
            psql('postgres', f'create database {self.database}')
        super().__init__(folder, {**(env or {}), **self.through(servers.address())})

    def through(self, where, password=''):
        return {'AON_JOURNAL_URL': f'postgresql://aon{password}@{where[0]}:{where[1]}/{self.database}'}

    def copy(self, to):
        shutil.copytree(self.folder, to)
        Served.made += 1
        name = f'j{os.getpid()}_{Served.made}'
        psql('postgres', f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '{self.database}'")
        psql('postgres', f'create database {name} template {self.database}')
        return Served(to, {k: v for k, v in self.env.items() if k != 'AON_JOURNAL_URL'}, name)


class Point(crash.Point):
    def drop(self, data):
        psql('postgres', f'drop database {data.database} with (force)')
        super().drop(data)


def prepared(folder):
    data = Served(folder / 'prepared')
    data.imports(p.first_book(folder / 'first')).exits(0)
    p.seed_foreign(data)
    return data


def point_of(folder):
    data = prepared(folder)
    return data, crash.import_point(folder, data)


def workbooks_end_as_the_oracle_says(folder):
    shared, said = p.SHARED / 'workforce', []
    if not (shared / 'full.xlsx').exists():
        raise Skip(f'no workbooks in {shared}')
    for books in (['full.xlsx'], ['with-ids.xlsx', 'with-ids-second-upload.xlsx'], ['mistakes.xlsx']):
        data = Served(folder / books[0])
        os.environ.update({**data.env, 'AON_PACK': str(pathlib.Path(p.PACKS) / 'workforce.lua')})
        try:
            for book in books:
                found, want, _ = compare.check(p.BINARY, shared / book, data.folder)
                check(not found, book, '\n'.join(line[:200] for line in found[:10]))
                said.append(f'{book} {want["state"]}, {want["operations"]} operations')
        finally:
            for name in data.env:
                os.environ.pop(name, None)
        check(not (data.folder / 'journal.db').exists(), 'there is a journal in a file too')
    return '; '.join(said)


# ---- replies and requests of the journal that are lost ----

def lost_at_calls(folder, lose):
    data, point = point_of(folder)
    book, ends, worst = p.second_book(folder / 'second'), {}, 0
    counted, proxy = point.fresh(), servers.Proxy(servers.address())
    counted.run(*servers.upload(book), env=counted.through(proxy.address)).exits(0)
    calls = proxy.seen
    proxy.close()
    point.drop(counted)
    step = 1 if FULL else max(1, calls // (3 * SAMPLE))
    for n in range(1 if FULL else 2, calls + 1, step):
        copy, proxy, where = point.fresh(), servers.Proxy(servers.address(), n, lose), f'{lose} {n} of {calls} lost'
        ran = copy.run(*servers.upload(book), env=copy.through(proxy.address)).exits(0, 1, 3, 5)
        proxy.close()
        worst += ran.status != 0
        point.recover(copy, where)
        state = point.settled(copy, where)
        check(ran.status != 0 or state == 'committed', 'it said committed, but', state, where)
        check(ran.status != 3 or state != 'committed', 'it said rolled back, but', state, where)
        same(psql(copy.database, 'select count(*) - count(distinct (bulk_id, what, detail, who)) from aon_journal_events').strip(), '0',
             'an event was noted twice', where)
        ends[state] = ends.get(state, 0) + 1
        point.drop(copy)
    same(worst, 0, 'a single lost connection to the journal ended the run', ends)
    return f'{calls} calls, {ends}'


def replies_lost_at_calls(folder):
    return lost_at_calls(folder, 'reply')


def requests_lost_at_calls(folder):
    return lost_at_calls(folder, 'request')


# ---- the server ----

def server_killed_in_the_middle(folder):
    """Killed and started again while a worker stands before a call: it goes on, or ends and is recovered; never a part."""
    data, point = point_of(folder)
    book, ends, status = p.second_book(folder / 'second'), {}, {}
    counted = point.fresh()
    calls = calls_of(counted.run(*servers.upload(book), env=crash.COUNTED).exits(0))
    point.drop(counted)
    points = [n for n in range(1, len(calls)) if calls[n].startswith('journal.') and not calls[n].endswith(crash.QUIET)]
    for n in points if FULL else points[1::max(1, len(points) // SAMPLE)]:
        copy, where = point.fresh(), f'the server was killed before call {n} ({calls[n]})'
        process = copy.start(*servers.upload(book), env={**crash.COUNTED, 'TEST_STOP_AT_CALL': n})
        check(p.stopped(process), 'it did not stop', where)
        servers.kill_server()
        servers.start_server()
        os.kill(process.pid, signal.SIGCONT)
        ran = finish(process).exits(0, 1, 3, 5)
        point.recover(copy, where)
        state = point.settled(copy, where)
        check(ran.status != 0 or state == 'committed', 'it said committed, but', state, where)
        ends[state], status[ran.status] = ends.get(state, 0) + 1, status.get(ran.status, 0) + 1
        point.drop(copy)
    return f'{ends}, exit {status}'


def the_server_stays_away(folder):
    """Without the journal nothing new is sent anywhere; when it is there again, recovery ends what was open."""
    data, point = point_of(folder)
    book = p.second_book(folder / 'second')
    counted = point.fresh()
    calls = calls_of(counted.run(*servers.upload(book), env=crash.COUNTED).exits(0))
    point.drop(counted)
    for name in ('journal.log', 'store.main.commit'):
        copy, where = point.fresh(), f'the server went away before {name}'
        process = copy.start(*servers.upload(book), env={**crash.COUNTED, 'TEST_STOP_AT_CALL': calls.index(name)})
        check(p.stopped(process), 'it did not stop', where)
        servers.kill_server()
        os.kill(process.pid, signal.SIGCONT)
        ran = finish(process)
        check(ran.status not in (0, 3), 'it says that it knows the end', where, ran)
        copy.run('list').exits(1).says('journal')
        servers.start_server()
        point.recover(copy, where)
        point.settled(copy, where)
        point.drop(copy)


# ---- several ----

def two_recover_at_once(folder):
    data, point = point_of(folder)
    crashed = crash.crashed_at(point, servers.upload(p.second_book(folder / 'second')), 'store.main.commit')
    running = [crashed.start('recover') for _ in range(4)]
    for process in running:
        check(finish(process).status in (0, 5), 'a recovery failed')
    point.settled(crashed, 'four recoveries at once')


def workers_on_two_machines(folder):
    """Another data folder with a copy of the key works with the same journal; without the key, or with another, it is refused in a sentence."""
    data = prepared(folder)
    other = Served(folder / 'other', database=data.database)
    other.folder.mkdir()
    other.run('recover').exits(1).says('key file', 'copy it')
    (other.folder / 'journal.key').write_bytes((prepared(folder / 'third').folder / 'journal.key').read_bytes())
    os.chmod(other.folder / 'journal.key', 0o600)
    other.run('recover').exits(1).says('lacks the key')
    shutil.copy(data.folder / 'journal.key', other.folder / 'journal.key')
    other.run('recover').exits(0)
    same([bulk['bulkOperationId'] for bulk in other.listed()], [bulk['bulkOperationId'] for bulk in data.listed()])
    data.run('journal', 'rotate-key').exits(0)
    other.run('recover').exits(1).says('lacks the key')


def secrets_stay_in(folder):
    data, said = prepared(folder), ''
    there = {**data.through(servers.address(), f':{SECRET}'), 'LOG_LEVEL': 'debug'}
    for args, env in ((('doctor',), there), (('doctor', '--json'), {'AON_JOURNAL_URL': f'postgresql://u:{SECRET}@127.0.0.1:1/x'}),
                      (('list',), {'AON_JOURNAL_URL': f'postgresql://u:{SECRET}@[bad'}), (('list',), {'AON_JOURNAL_URL': f'mysql://u:{SECRET}@h/x'}),
                      (servers.upload(p.second_book(folder / 'second')), there)):
        ran = data.run(*args, env=env)
        said += ran.out + ran.err
    check(SECRET not in said, 'the password was said:', said[max(0, said.find(SECRET) - 300):][:400])
    for path in data.folder.rglob('*'):
        check(path.is_dir() or SECRET.encode() not in path.read_bytes(), 'the password stands in', path)


def doctor_tells(folder):
    data = Served(folder / 'new')
    data.folder.mkdir()
    data.run('doctor').exits(0, 1).says('no tables')
    data.imports(p.first_book(folder / 'first')).exits(0)
    text = data.run('doctor').exits(0, 1).out
    for words in ('PostgreSQL 1', 'role aon', 'schema public', 'clock agrees', 'schema version 1', 'right check sum', 'key file', 'may read and write'):
        check(words in text, words, 'is not told:', text)
    psql(data.database, 'update aon_journal_segments set images = images || \'x\'')
    data.run('doctor').exits(1).says('damaged')
    psql(data.database, 'update aon_journal_version set version = 99')
    data.run('list').exits(1).says('version 99')


def a_journal_moves_there_and_back(folder):
    """Ended ones, one on hold with its locks, a rollback that waits for a person: all of it is there, and goes on, after each move."""
    plain = Plain(folder / 'plain')
    plain.imports(p.first_book(folder / 'first')).exits(0)
    committed = plain.imports(p.second_book(folder / 'second')).exits(0).json['bulkOperationId']
    lines = ''.join(f'{{"store":"main","collection":"c","id":"{n}","operation":"create","data":{{"n":{n}}}}}\n' for n in range(40))
    held = plain.run('apply', '-', '--json', '--on-failure', 'hold', given=lines, env={'TEST_ROLLBACK_AT_OPERATION': 7}).exits(6).json['bulkOperationId']
    said = [plain.run(*args).exits(0).out for args in (('list', '--json'), ('log', committed, '--json'), ('show', held, '--json'), ('locks', '--json'))]
    served = Served(folder / 'served')
    shutil.copytree(plain.folder, served.folder, ignore=shutil.ignore_patterns('journal.db*'))
    there, file = served.env['AON_JOURNAL_URL'], folder / 'back' / 'journal.db'
    plain.run('journal', 'migrate', f'sqlite:{plain.folder}/journal.db', there).exits(0).says('3 bulk operations')
    def looks_the_same(at, where):
        for args, wanted in zip((('list', '--json'), ('log', committed, '--json'), ('show', held, '--json'), ('locks', '--json')), said):
            same(at.run(*args).exits(0).out, wanted, where, args)
        at.apply([{'store': 'main', 'collection': 'c', 'id': '3', 'operation': 'create', 'data': {}}], '--lock-wait', '0').exits(5).says(held)
    looks_the_same(served, 'on the server')
    served.run('journal', 'migrate', f'sqlite:{plain.folder}/journal.db', there).exits(1).says('bulk operations already')
    back = Plain(folder / 'back')
    shutil.copytree(served.folder, back.folder)
    served.run('list').exits(0)
    before = served.run('list', '--json').out
    back.run('journal', 'migrate', there, f'sqlite:{file}').exits(0).says('bulk operations')
    same(back.run('list', '--json').exits(0).out, before, 'back in a file')
    back.run('doctor').exits(0).says('right check sum')
    for at in (served, back):
        at.run('rollback', held).exits(0)
        at.run('undo', committed).exits(0)
        at.run('recover').exits(0).says('nothing to recover')
        same(at.run('locks', '--json').exits(0).out, '')
        at.imports(p.second_book(folder / f'again-{at.folder.name}')).exits(0)


CASES = [workbooks_end_as_the_oracle_says, replies_lost_at_calls, requests_lost_at_calls, two_recover_at_once, workers_on_two_machines, a_journal_moves_there_and_back, secrets_stay_in,
         doctor_tells, crash.workbook_of_our_own, crash.recovery_itself, crash.undo_killed, crash.forced_failure_killed, crash.resume_killed,
         crash.resolve_killed, crash.frozen_worker, server_killed_in_the_middle, the_server_stays_away]

if __name__ == '__main__':
    if not URL:
        print('skipped: postgresql journal: no server; run it by tests/servers/postgresql')
        sys.exit(77)
    p.Data, crash.Data, crash.Point = Served, Served, Point  # whose cases run here
    p.main('postgresql journal', CASES)
