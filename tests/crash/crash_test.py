#!/usr/bin/python3
"""The real program under kill -9: at calls to journal and stores, at any time, while it recovers, takes back, resolves and resumes; and frozen
until others have taken its work over.

    crash_test.py [NAME …]      names: only cases whose name holds one of them

After `aon recover` every store is exactly as before or holds exactly the plan, row by row; every bulk operation is at its end, no lock is left,
and a second recovery finds nothing to do. AON_FULL=1 tries every call, else a sample that has each kind of call in it.
"""

import itertools
import json
import pathlib
import random
import shutil
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'cli'))

import program as p  # noqa: E402
from program import Data, Skip, calls_of, check, finish, same, same_rows, stopped  # noqa: E402

KILLED = -signal.SIGKILL
HIDDEN = '•••'
# A rollback reads the journal for its lines at level info: runs that die must make the same calls as the one whose calls were counted.
COUNTED = {'LOG_LEVEL': 'debug'}
SAMPLE = 16         # points of one kind of run in the short version
SHARE = 1           # of them; less where each point takes long
QUIET = ('read', 'normalise', 'describe', 'scan', 'generation', 'log_append')  # calls of which the sample takes few


def sample(calls, count=SAMPLE, seed=1):
    """Numbers of calls to die at: every one of them, or some of each kind, those that change something first."""
    points, count = range(1, len(calls)), max(1, round(SHARE * count))
    if p.FULL or len(calls) - 1 <= count:
        return list(points)
    loud = [n for n in points if not calls[n].endswith(QUIET) and (n == 1 or calls[n] != calls[n - 1])]
    chance = random.Random(seed)
    first = {}
    for n in loud:
        first.setdefault(calls[n], n)
    must = sorted(set(first.values()) | {n for n in loud if calls[n].endswith(('commit', 'move'))})
    chosen = set(must if len(must) <= count else chance.sample(must, count))
    rest = [n for n in points if n not in chosen]
    chosen.update(chance.sample(rest, max(0, min(len(rest), count - len(chosen)))))
    return sorted(chosen)


def overlaid(rows, entries):
    """Rows of document tables with a plan's after images in: {(store, table): {id: document}}."""
    documents = {table: {row[0]: json.loads(row[1]) for row in lines} for table, lines in rows.items() if all(len(row) == 2 for row in lines)}
    for entry in entries:
        table = documents.setdefault((entry['dataSource'], entry['collectionName']), {})
        table.pop(entry['documentId'], None)
        if entry['newData'] is not None:
            table[entry['documentId']] = {name: value for name, value in entry['newData'].items() if value != HIDDEN}
    return {table: lines for table, lines in documents.items() if lines}


def holds_plan(data, before, bulk, where):
    entries = data.entries(bulk)
    check(entries, 'a committed bulk operation has no entries', where)
    check(all(entry['status'] == 'executed' for entry in entries), 'entries that are not executed', where, entries[0])
    found, wanted = data.rows(), overlaid(before, entries)
    same(overlaid(found, []), wanted, where)
    touched = {(entry['dataSource'], entry['collectionName'], entry['documentId']) for entry in entries}
    for table, rows in before.items():
        for row in rows:
            check((*table, row[0]) in touched or row in found.get(table, []), 'a row that is none of its business changed', where, table, row)


class Point:
    """One prepared folder, one deadly run in a copy of it, and what must be true after recovery."""

    def __init__(self, folder, data, before, known, after=None):
        self.folder, self.data, self.before, self.known, self.after, self.names = folder, data, before, known, after, itertools.count(1)

    def fresh(self):
        return self.data.copy(self.folder / f'copy{next(self.names)}')

    def further(self, make):
        """A point in the middle of a run, which make() leads a fresh copy to: copied, or, where a copy would differ from it, led there each time."""
        other = type(self)(self.folder, make(), self.before, self.known)
        other.names = self.names
        if not other.data.exact:
            first, other.data = [other.data], None
            other.fresh = lambda: first.pop() if first else make()
        return other

    def recover(self, data, where, statuses=(0,)):
        return data.run('recover').exits(*statuses)

    def settled(self, data, where):
        """The heart of it: all or nothing, said truly, nothing left behind."""
        listed = data.listed()
        for bulk in listed:
            check(bulk['state'] in p.TERMINAL, 'not at an end:', bulk['state'], where)
        new = [bulk for bulk in listed if bulk['bulkOperationId'] not in self.known]
        check(len(new) <= 1, 'more bulk operations than were begun', where)
        state = new[0]['state'] if new else None
        check(state in (None, 'committed', 'rolled_back', 'cancelled'), 'wholly in or wholly out, not', state, where)
        if state != 'committed':
            same_rows(data.rows(), self.before, where, 'is', state, 'but the stores differ from before')
        elif self.after is not None:
            same_rows(data.bare(data.rows()), data.bare(self.after), where, 'is committed, but the stores differ from the plan')
        else:
            holds_plan(data, self.before, new[0]['bulkOperationId'], where)
        same(data.run('locks', '--json').exits(0).out, '', 'locks are left', where)
        data.run('recover').exits(0).says('nothing to recover')
        return state

    def drop(self, data):
        shutil.rmtree(data.folder)


def import_point(folder, data):
    return Point(folder, data, data.rows(), {bulk['bulkOperationId'] for bulk in data.listed()})


def die_everywhere(point, args, calls, env=None, given=None, count=SAMPLE):
    def die(n):
        data, where = point.fresh(), f'killed before call {n} ({calls[n]})'
        data.run(*args, env={**(env or {}), **COUNTED, 'TEST_CRASH_AT_CALL': n}, given=given).exits(KILLED)
        point.recover(data, where)
        state = point.settled(data, where)
        point.drop(data)
        return state

    points = sample(calls, count)
    ends = p.each(points, die)
    return f'{len(points)} points of {len(calls) - 1}: ' + ', '.join(f'{state or "never begun"} {count}' for state, count in sorted(ends.items(), key=str))


def counted(point, args, env=None, given=None, statuses=(0,)):
    """The names of the calls that the same run makes when nobody kills it."""
    data = point.fresh()
    ran = data.run(*args, env={**(env or {}), **COUNTED}, given=given).exits(*statuses)
    point.drop(data)
    return calls_of(ran)


def upload(book):
    return ['import', book, '--pack', 'workforce', '--org', 'org1', '--json']


def second_upload(folder):
    """The prepared folder, the point and the command that most cases begin with."""
    data = p.prepared(folder)
    return import_point(folder, data), upload(p.second_book(folder / 'second'))


def workbook_of_our_own(folder):
    point, args = second_upload(folder)
    return die_everywhere(point, args, counted(point, args), count=24)


def small_workbook(folder):
    book = p.SHARED / 'workforce' / 'small.xlsx'
    if not book.exists():
        raise Skip('the folder with the specification\'s workbooks is not there')
    point = import_point(folder, p.prepared(folder))
    return die_everywhere(point, upload(book), counted(point, upload(book)), count=20)


TABLES = '''create table account (bank text, number integer, owner text not null, balance numeric, primary key (bank, number)) without rowid;
create table note (id integer primary key, body text, raw blob);
insert into account values ('b1', 1, 'Ada', 10), ('b1', 2, 'Bob', 20.25), ('b2', 1, 'Cyd', null);
insert into note values (1, 'one', x'00ff'), (2, 'two', null);'''

LINES = ''.join(json.dumps(line) + '\n' for line in [
    {'store': 'bank', 'collection': 'account', 'id': 'b1:1', 'operation': 'update', 'data': {'balance': 11}},
    {'store': 'bank', 'collection': 'account', 'id': 'b1:3', 'operation': 'create', 'data': {'bank': 'b1', 'number': 3, 'owner': 'Dee'}},
    {'store': 'main', 'collection': 'users', 'id': 'u2', 'operation': 'update', 'data': {'title': 'Cook'}},
    {'store': 'books', 'collection': 'note', 'id': '1', 'operation': 'delete'},
    {'store': 'books', 'collection': 'note', 'id': '3', 'operation': 'create', 'data': {'id': 3, 'body': 'three'}},
    {'store': 'bank', 'collection': 'account', 'id': 'b2:1', 'operation': 'delete'},
    {'store': 'main', 'collection': 'pets', 'id': 'p1', 'operation': 'create', 'data': {'name': 'Rex'}},
])


class Tables(Data):
    """A data folder with two databases that were there before us; they stand in the folder, so that copies hold them."""

    def run(self, *args, env=None, **more):
        (self.folder.parent / f'{self.folder.name}.yaml').write_text(
            f'stores:\n  bank: {{url: "sqlite:{self.folder}/bank.db"}}\n  books: {{url: "sqlite:{self.folder}/books.db"}}\n')
        return super().run(*args, '--config', self.folder.parent / f'{self.folder.name}.yaml', env=env, **more)

    def copy(self, to):
        return Tables(super().copy(to).folder, self.env)


def lines_into_existing_tables(folder):
    data = Tables(p.prepared(folder).folder)
    for store in ('bank', 'books'):
        for statement in TABLES.split(';'):
            if ('account' in statement) == (store == 'bank') and statement.strip():
                data.sql(statement, store=store)
    point = import_point(folder, data)
    done = point.fresh()
    done.run('apply', '-', given=LINES).exits(0)
    point.after = done.rows()
    check(point.after != point.before, 'the reference run changed nothing')
    return die_everywhere(point, ['apply', '-'], counted(point, ['apply', '-'], given=LINES), given=LINES)


def crashed_at(point, args, name, nth=0):
    """A folder in which the run was killed before a call of this name."""
    calls = counted(point, args)
    at = [n for n in range(1, len(calls)) if calls[n] == name][nth]
    data = point.fresh()
    data.run(*args, env={**COUNTED, 'TEST_CRASH_AT_CALL': at}).exits(KILLED)
    return data


RECOVERED = (('store.main.commit', 0), ('store.settings.commit', 0), ('journal.move', -2), ('journal.move', -1), ('store.main.apply', 0))


def recovery_itself(folder, choose=lambda calls: RECOVERED):
    """Killed before each of the chosen calls, then killed again while it recovers, then recovered."""
    point, args = second_upload(folder)
    said = []
    for name, nth in choose(counted(point, args)):
        again = point.further(lambda: crashed_at(point, args, name, nth))
        calls = counted(again, ['recover'])
        said.append(f'after {name}: ' + die_everywhere(again, ['recover'], calls, count=7))
    return '; '.join(said)


def undo_killed(folder):
    data = p.prepared(folder)
    before = data.rows()
    bulk = data.imports(p.second_book(folder / 'second')).exits(0).json['bulkOperationId']
    point = import_point(folder, data)
    point.after = before
    args = ['undo', bulk]
    calls, ends = counted(point, args), {}
    for n in sample(calls, 14):
        copy, where = point.fresh(), f'undo killed before call {n} ({calls[n]})'
        copy.run(*args, env={**COUNTED, 'TEST_CRASH_AT_CALL': n}).exits(KILLED)
        point.recover(copy, where)
        state = point.settled(copy, where)
        old = copy.shown(bulk)['state']
        same(old, 'undone' if state == 'committed' else 'committed', where, 'the one that is taken back')
        if state != 'committed':
            same(copy.run('undo', bulk, '--json').exits(0).json['undoes'], bulk, where)
            same_rows(copy.bare(copy.rows()), copy.bare(before), where, 'undone after all')
        ends[old] = ends.get(old, 0) + 1
        point.drop(copy)
    return ', '.join(f'{state} {count}' for state, count in ends.items()) + f' of {len(calls) - 1} calls'


def forced_failure_killed(folder):
    point, args = second_upload(folder)
    env = {'TEST_ROLLBACK_AT_OPERATION': 9}
    calls = counted(point, args, env, statuses=(3,))
    return die_everywhere(point, args, calls, env, count=10)


def newest(data):
    return data.listed()[0]['bulkOperationId']


def resume_killed(folder):
    """On hold after a failure; the person goes on, and that is killed."""
    point, args = second_upload(folder)

    def held():
        data = point.fresh()
        data.run(*args, '--on-failure', 'hold', env={'TEST_ROLLBACK_AT_OPERATION': 5}).exits(6)
        return data

    again = point.further(held)
    whole, ends = again.fresh(), {}
    calls = calls_of(whole.run('resume', newest(whole), env=COUNTED).exits(0))
    point.drop(whole)
    for n in sample(calls, 10):
        copy, where = again.fresh(), f'resume killed before call {n} ({calls[n]})'
        bulk, before = newest(copy), copy.rows()
        copy.run('resume', bulk, env={**COUNTED, 'TEST_CRASH_AT_CALL': n}).exits(KILLED)
        copy.run('recover').exits(0)
        if copy.shown(bulk)['state'] == 'held':  # killed before it had begun: it still waits for a person
            same_rows(copy.rows(), before, where, 'is held')
            copy.run('rollback', bulk).exits(0)
        state = again.settled(copy, where)
        ends[state] = ends.get(state, 0) + 1
        again.drop(copy)
    return ', '.join(f'{state} {count}' for state, count in ends.items())


THEIRS = (('realtime', 'firebase:user', 'u1', 'email'), ('realtime', 'firebase:user', 'n1', 'name'))


def resolve_killed(folder, theirs=THEIRS):
    """Somebody else wrote before the decision, which is the last commit; the rollback names it; the person's choice is killed, and made again."""
    point, args = second_upload(folder)
    data = crashed_at(point, args, [name for name in counted(point, args)[1:] if name.endswith('.commit')][-1])
    for store, collection, name, prop in theirs:
        data.put(store, collection, name, {**data.document(store, collection, name), prop: 'theirs@example.com'})
    data.run('recover').exits(4)
    bulk = newest(data)
    same(data.shown(bulk)['state'], 'rollback_failed')
    again = Point(folder, data, point.before, point.known)
    again.names = point.names
    calls, tried = counted(again, ['resolve', bulk, 'all', '--force']), 0
    for n in sample(calls, 10):
        copy, where = again.fresh(), f'resolve killed before call {n} ({calls[n]})'
        copy.run('resolve', bulk, 'all', '--force', env={**COUNTED, 'TEST_CRASH_AT_CALL': n}).exits(KILLED)
        check(copy.run('recover').status in (0, 4), where)
        if copy.shown(bulk)['state'] != 'rolled_back':
            copy.run('resolve', bulk, 'all', '--force').exits(0)
        same(again.settled(copy, where), 'rolled_back', where)
        tried += 1
        again.drop(copy)
    return f'{tried} points of {len(calls) - 1}'


def killed_at_any_time(folder):
    point, args = second_upload(folder)
    began = time.monotonic()
    whole = point.fresh()
    whole.run(*args).exits(0)
    length, chance, ends = time.monotonic() - began, random.Random(3), {}
    for n in range(200 if p.FULL else 8):
        data = point.fresh()
        process = data.start(*args)
        time.sleep(chance.random() * length)
        process.kill()
        finish(process)
        if (data.folder / 'journal.db').exists():
            point.recover(data, n)
        state = point.settled(data, f'killed at any time, run {n}')
        ends[state] = ends.get(state, 0) + 1
        point.drop(data)
    return ', '.join(f'{state or "never begun"} {count}' for state, count in ends.items())


FROZEN = {'AON_JOURNAL_LEASE': '1s', 'AON_STORES_MAIN_TIMEOUT': '100ms', 'AON_STORES_REALTIME_TIMEOUT': '100ms', 'AON_STORES_SETTINGS_TIMEOUT': '100ms',
          'AON_STORES_IDENTITY_TIMEOUT': '100ms'}


def one_frozen(point, args, n, name):
    data, where = point.fresh(), f'frozen before call {n} ({name})'
    data.env.update(FROZEN)
    process = data.start(*args, env={'TEST_STOP_AT_CALL': n})
    try:
        check(stopped(process), where, 'did not stop')
        time.sleep(1.3)
        ran = data.run('recover').exits(0, 5)  # 5: its open transactions still bar the stores, and nobody pretends otherwise
        new = [bulk for bulk in data.listed() if bulk['bulkOperationId'] not in point.known]
        ended = ran.status == 0 and bool(new) and new[0]['state'] in p.TERMINAL
        left = data.rows() if ended else None
        process.send_signal(signal.SIGCONT)
        late = finish(process)
    finally:
        process.kill()
    if ended:
        check(late.status != 0 or new[0]['state'] == 'committed', where, 'says it is done, after others ended it\n', late)
        same_rows(data.rows(), left, where, 'a late write took effect')
    point.recover(data, where)
    state = point.settled(data, where)
    point.drop(data)
    return 'taken over' if ended else 'waited for' if new else 'not begun', state


def frozen_worker(folder):
    point, args = second_upload(folder)
    calls, ends = counted(point, args), {}
    begun = calls.index('store.main.begin')
    decided = calls.index('store.main.commit') + 1
    quiet = [n for n in sample(calls, 40, seed=5) if n < begun or n >= decided]  # the stores are free: others take over at once
    if p.FULL:
        quiet = [n for n in range(5, len(calls)) if n < begun or n >= decided][::3]
    points = quiet if p.FULL else [n for n in quiet if n < begun][::7] + [n for n in quiet if n >= decided][:2]
    barred = range(begun + 1, decided)  # its open transactions bar the stores until it is continued: slow to try
    points += list(barred)[::8] if p.FULL else [begun + 3]
    for n in points:
        ends_as = ' '.join(map(str, one_frozen(point, args, n, calls[n])))
        ends[ends_as] = ends.get(ends_as, 0) + 1
    return ', '.join(f'{end} {count}' for end, count in ends.items())


CASES = [workbook_of_our_own, small_workbook, lines_into_existing_tables, recovery_itself, undo_killed, forced_failure_killed, resume_killed,
         resolve_killed, killed_at_any_time, frozen_worker]

if __name__ == '__main__':
    p.main('crash', CASES)
