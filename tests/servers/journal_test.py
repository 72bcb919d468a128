#!/usr/bin/python3
"""The real program with its journal on PostgreSQL or MongoDB and its stores on SQLite: the cases of served.py and of the crash suite (kill -9 at calls, frozen
workers, recovery killed again), its server away, four recoveries at once, two machines, a journal that moves, secrets, doctor.

    tests/servers/postgresql NAME -- tests/servers/journal_test.py [CASE …]
    tests/servers/mongodb NAME set -- tests/servers/journal_test.py [CASE …]

AON_FULL=1 tries every call, else a sample.
"""

import json
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from places import MONGODB, POSTGRESQL, MongodbJournal, PostgresqlJournal, psql, pymongo  # noqa: E402
from served import SECRET, Cases, Point, Served, crash, finish, p, check, same, upload  # noqa: E402

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / 'examples'
Plain = p.Data  # the class that keeps its journal in a file


KIND = MongodbJournal if MONGODB else PostgresqlJournal


class Journalled(Served):
    PLACES = (KIND,)


cases = Cases(Journalled)


def the_server_stays_away(folder):
    """Without the journal nothing new is sent anywhere; when it is there again, recovery ends what was open."""
    point, args = cases.point(folder), upload(p.second_book(folder / 'second'))
    calls = cases.calls(point, args)
    for name in ('journal.log', 'store.main.commit'):
        where = f'the server went away before {name}'
        copy, process = cases.stopped_before(point, args, calls.index(name))
        KIND.SERVER.kill()
        os.kill(process.pid, signal.SIGCONT)
        ran = finish(process)
        check(ran.status not in (0, 3), 'it says that it knows the end', where, ran)
        copy.run('list').exits(1).says('journal')
        KIND.SERVER.start()
        point.recover(copy, where)
        point.settled(copy, where)
        point.drop(copy)


def two_recover_at_once(folder):
    point = cases.point(folder)
    crashed = crash.crashed_at(point, upload(p.second_book(folder / 'second')), 'store.main.commit')
    running = [crashed.start('recover') for _ in range(4)]
    for process in running:
        check(finish(process).status in (0, 5), 'a recovery failed')
    point.settled(crashed, 'four recoveries at once')


def workers_on_two_machines(folder):
    """Another data folder with a copy of the key works with the same journal; without the key, or with another, it is refused in a sentence."""
    data = cases.prepared(folder)
    other = Journalled(folder / 'other', places=data.places)
    other.folder.mkdir()
    other.run('recover').exits(1).says('key file', 'copy it')
    (other.folder / 'journal.key').write_bytes((cases.prepared(folder / 'third').folder / 'journal.key').read_bytes())
    os.chmod(other.folder / 'journal.key', 0o600)
    other.run('recover').exits(1).says('lacks the key')
    shutil.copy(data.folder / 'journal.key', other.folder / 'journal.key')
    other.run('recover').exits(0)
    same([bulk['bulkOperationId'] for bulk in other.listed()], [bulk['bulkOperationId'] for bulk in data.listed()])
    data.run('journal', 'rotate-key').exits(0)
    other.run('recover').exits(1).says('lacks the key')


def addresses_that_are_wrong_keep_their_secrets(folder):
    cases.addresses_keep_their_secrets(folder, 'AON_JOURNAL_URL', (f'{KIND.KIND}://u:{SECRET}@[bad', f'mysql://u:{SECRET}@h/x'))


def doctor_tells(folder):
    data = Journalled(folder / 'new')
    data.folder.mkdir()
    data.run('doctor').exits(0, 1).says(KIND.MISSING)
    data.imports(p.first_book(folder / 'first')).exits(0)
    text = data.run('doctor').exits(0, 1).out
    for words in KIND.TOLD + ('clock agrees', 'schema version 1', 'right check sum', 'key file', 'may read and write'):
        check(words in text, words, 'is not told:', text)
    data.places['journal'].damage()
    data.run('doctor').exits(1).says('damaged')
    data.places['journal'].make_newer()
    data.run('list').exits(1).says('version 99')


def a_journal_moves_there_and_back(folder):
    """Ended ones, one on hold with its locks, a rollback that waits for a person: all of it is there, and goes on, after each move."""
    plain = Plain(folder / 'plain')
    plain.imports(p.first_book(folder / 'first')).exits(0)
    committed = plain.imports(p.second_book(folder / 'second')).exits(0).json['bulkOperationId']
    lines = ''.join(f'{{"store":"main","collection":"c","id":"{n}","operation":"create","data":{{"n":{n}}}}}\n' for n in range(40))
    held = plain.run('apply', '-', '--json', '--on-failure', 'hold', given=lines, env={'TEST_ROLLBACK_AT_OPERATION': 7}).exits(6).json['bulkOperationId']
    said = [plain.run(*args).exits(0).out for args in (('list', '--json'), ('log', committed, '--json'), ('show', held, '--json'), ('locks', '--json'))]
    served = Journalled(folder / 'served')
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


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def role_on_postgresql(folder):
    """The addresses of the journal for the worker, and for somebody else."""
    done = subprocess.run(['psql', '-Xq', POSTGRESQL, '-f', EXAMPLES / 'journal-role.sql'], capture_output=True, text=True)
    check(done.returncode == 0, done.stderr)
    psql('postgres', 'create role stranger login')
    rights = psql('postgres', "select rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls from pg_roles where rolname = 'aon_worker'")
    same(rights.strip(), 'f', 'the worker may do more than its work')
    return [POSTGRESQL.replace('aon@', f'{name}@').rsplit('/', 1)[0] + '/journal' for name in ('aon_worker', 'stranger')]


def recorded(script):
    """What the script for mongosh does, as commands: [database, command]."""
    node = pathlib.Path(__file__).resolve().parents[2] / 'build-servers/node/bin/node'
    if not node.exists():
        raise p.Skip('Node.js is not there (tests/servers/fetch gets it)')
    shell = """const calls = [];
      const at = (name) => ({getSiblingDB: at, createRole: ({role, ...rest}) => calls.push([name, {createRole: role, ...rest}]),
                             createUser: ({user, ...rest}) => calls.push([name, {createUser: user, ...rest}])});
      require('vm').runInNewContext(require('fs').readFileSync(process.argv[1], 'utf8'), {db: at('admin'), passwordPrompt: () => process.argv[2]});
      console.log(JSON.stringify(calls));"""
    return json.loads(subprocess.run([node, '-e', shell, script, SECRET], check=True, capture_output=True).stdout)


def role_on_mongodb(folder):
    """On a server of its own, which asks who one is once the users are made."""
    command, port = shlex.split(os.environ['AON_TEST_MONGODB_START']), free_port()
    (folder / 'server').mkdir()
    command[command.index('--port') + 1], command[command.index('--storage-path') + 1] = str(port), str(folder / 'server')

    def started(*more):
        with open(folder / 'server.log', 'ab') as log:
            process = subprocess.Popen([*command, *more], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
        for _ in range(300):
            try:
                socket.create_connection(('127.0.0.1', port), 1).close()
                return process
            except OSError:
                time.sleep(0.1)
        check(False, 'the server does not start:', (folder / 'server.log').read_text()[-1000:])

    process = started()
    with pymongo.MongoClient('127.0.0.1', port, directConnection=True) as client:
        for database, what in recorded(EXAMPLES / 'journal-role.js'):
            client[database].command(what)
        client['shop'].command({'createUser': 'stranger', 'pwd': SECRET, 'roles': [{'role': 'readWrite', 'db': 'shop'}]})
    process.kill()
    process.wait()
    process = started('--auth')
    worker = f'mongodb://aon_worker:{SECRET}@127.0.0.1:{port}/journal?replicaSet=secantus'
    with pymongo.MongoClient(worker.replace('replicaSet=secantus', 'directConnection=true')) as client:
        for database, what in (('shop', {'insert': 'c', 'documents': [{'_id': 1}]}), ('shop', {'find': 'c'}), ('journal', {'createUser': 'x', 'pwd': 'x', 'roles': []})):
            try:
                client[database].command(what)
                check(False, 'the worker may do more than its work:', database, what)
            except pymongo.errors.OperationFailure:
                pass
    return [worker, f'mongodb://stranger:{SECRET}@127.0.0.1:{port}/journal?replicaSet=secantus&authSource=shop'], process


def a_role_of_its_own(folder):
    """The scripts of examples/: with that role everything goes, another one is refused in a sentence, and the role reaches nothing else."""
    process = None
    if MONGODB:
        (worker, stranger), process = role_on_mongodb(folder)
    else:
        worker, stranger = role_on_postgresql(folder)
    try:
        data = Plain(folder / 'data', {'AON_JOURNAL_URL': worker})
        bulk = data.imports(p.first_book(folder / 'first')).exits(0).json['bulkOperationId']
        if p.FULL:
            data.run('undo', bulk, '--json').exits(0)
        data.run('recover').exits(0)
        check('may read and write' in data.run('doctor').exits(0, 1).out, 'doctor says otherwise')
        ran = data.run('list', env={'AON_JOURNAL_URL': stranger, 'LOG_LEVEL': 'debug'}).exits(1).says('does not allow this user' if MONGODB else 'refused the connection')
        check(SECRET not in ran.out + ran.err, 'the password was said', ran)
    finally:
        if process:
            process.kill()
            process.wait()


CASES = [cases.workbooks_end_as_the_oracle_says, cases.replies_lost_at_calls, cases.requests_lost_at_calls, two_recover_at_once, workers_on_two_machines,
         a_journal_moves_there_and_back, a_role_of_its_own, cases.secrets_stay_in, addresses_that_are_wrong_keep_their_secrets, doctor_tells, crash.workbook_of_our_own,
         cases.servers_killed_in_the_middle]
# The same calls of the journal in other commands.
MORE = [crash.recovery_itself, crash.undo_killed, crash.forced_failure_killed, crash.resume_killed, crash.resolve_killed]
LONG = [crash.frozen_worker, the_server_stays_away]  # they wait for minutes; a frozen worker is also in workers_test.py

if __name__ == '__main__':
    if not POSTGRESQL and not MONGODB:
        print('skipped: journal on a server: no server; run it by tests/servers/postgresql or tests/servers/mongodb')
        sys.exit(77)
    p.Data, crash.Data, crash.Point = Journalled, Journalled, Point  # whose cases run here
    every = p.FULL or sys.argv[1:]
    p.main(f'{KIND.KIND} journal', CASES + (MORE + LONG if every else []))
