#!/usr/bin/python3
"""The real program with its journal on PostgreSQL or MongoDB and its stores on SQLite: the cases of served.py and of the crash suite (kill -9 at calls, frozen
workers, recovery killed again), its server away, four recoveries at once, two machines, a journal that moves, secrets, doctor.

    tests/servers/postgresql NAME -- tests/servers/journal_test.py [CASE …]
    tests/servers/mongodb NAME set -- tests/servers/journal_test.py [CASE …]

AON_FULL=1 tries every call, else a sample.
"""

import os
import pathlib
import shutil
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from places import MONGODB, POSTGRESQL, MongodbJournal, PostgresqlJournal  # noqa: E402
from served import SECRET, Cases, Point, Served, crash, finish, p, check, same, upload  # noqa: E402

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


CASES = [cases.workbooks_end_as_the_oracle_says, cases.replies_lost_at_calls, cases.requests_lost_at_calls, two_recover_at_once, workers_on_two_machines,
         a_journal_moves_there_and_back, cases.secrets_stay_in, addresses_that_are_wrong_keep_their_secrets, doctor_tells, crash.workbook_of_our_own,
         cases.servers_killed_in_the_middle]
# The same calls of the journal in other commands: on one kind of server in the short version.
MORE = [crash.recovery_itself, crash.undo_killed, crash.forced_failure_killed, crash.resume_killed, crash.resolve_killed]
LONG = [crash.frozen_worker, the_server_stays_away]  # they wait for minutes; a frozen worker is also in workers_test.py

if __name__ == '__main__':
    if not POSTGRESQL and not MONGODB:
        print('skipped: journal on a server: no server; run it by tests/servers/postgresql or tests/servers/mongodb')
        sys.exit(77)
    p.Data, crash.Data, crash.Point = Journalled, Journalled, Point  # whose cases run here
    every = p.FULL or sys.argv[1:]
    p.main(f'{KIND.KIND} journal', CASES + (MORE if every or POSTGRESQL else []) + (LONG if every else []))
