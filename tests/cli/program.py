"""The real program, run from outside: what the suites of cli and crash share.

AON_BIN names the program, AON_PACKS the folder of packs; AON_SHARED the folder with the workbooks that come with the specification (default:
`shared/data` beside the source tree); AON_FULL=1 asks for the long version of each suite.
"""

import concurrent.futures
import csv
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.path.abspath(os.environ['AON_BIN']) if os.environ.get('AON_BIN') else None
PACKS = os.path.abspath(os.environ.get('AON_PACKS') or ROOT / 'packs')
SHARED = pathlib.Path(os.environ.get('AON_SHARED') or ROOT.parent / 'shared' / 'data')
FULL = os.environ.get('AON_FULL') == '1'
STORES = ('main', 'realtime', 'settings', 'identity')
TERMINAL = ('committed', 'rolled_back', 'rejected', 'cancelled', 'planned', 'undone', 'rollback_failed', 'undo_failed', 'commit_failed')
RUN_SECONDS = 240  # nothing here takes as long: a hang becomes a failure that names its command
OURS = ('AON_', 'TEST_', 'DEBUG_ATOMIC', 'LOG_LEVEL')

RESULT_KEYS = {'bulkOperationId': str, 'state': str, 'dryRun': bool, 'operations': int, 'counts': dict, 'errors': list, 'errorCount': int,
               'warnings': list, 'timings': dict, 'operationsPerSecond': (int, float), 'failure': (dict, type(None)), 'conflicts': list,
               'undoes': (str, type(None)), 'undoneBy': list}
FAILURE_KEYS = {'operation': (int, type(None)), 'store': (str, type(None)), 'collection': (str, type(None)), 'documentId': (str, type(None)),
                'code': str, 'message': str, 'heldBy': (str, type(None)), 'sheet': (str, type(None)), 'row': (int, type(None)), 'cell': (str, type(None))}
PROBLEM_KEYS = {'sheet': (str, type(None)), 'cell': (str, type(None)), 'heading': (str, type(None)), 'code': str, 'message': str}
TIMINGS = {'parse', 'validate', 'plan', 'log', 'execute', 'finish'}


class Wrong(AssertionError):
    """An expectation that doesn't hold."""


class Skip(Exception):
    """Can't be tried on this machine; says why."""


def check(condition, *said):
    if not condition:
        raise Wrong(' '.join(str(word) for word in said))


def same(found, wanted, *where):
    check(found == wanted, *where, f'\n  found  {found!r}\n  wanted {wanted!r}')


class Ran:
    """What one run of the program left: status, output, and the command for messages."""

    def __init__(self, command, status, out, err):
        self.command, self.status, self.out, self.err = command, status, out, err

    def __str__(self):
        return f'$ {" ".join(self.command)}\n  status {self.status}\n  stdout {self.out[-1500:]!r}\n  stderr {self.err[-2500:]!r}'

    def exits(self, *statuses):
        check(self.status in statuses, 'wanted exit status', statuses, '\n', self)
        check('AddressSanitizer' not in self.err and 'runtime error' not in self.err and 'LeakSanitizer' not in self.err, self)
        return self

    def says(self, *words):
        for word in words:
            check(word.lower() in (self.out + self.err).lower(), f'it does not say {word!r}:\n', self)
        return self

    @property
    def json(self):
        try:
            return json.loads(self.out)
        except ValueError:
            raise Wrong(f'no JSON object on standard output:\n{self}') from None

    @property
    def lines(self):
        try:
            return [json.loads(line) for line in self.out.splitlines()]
        except ValueError:
            raise Wrong(f'no lines of JSON on standard output:\n{self}') from None


def environment(extra):
    """Nothing of the caller's settings leaks in; what a case wants is said by the case."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    env.update({'AON_PACKS': PACKS, 'AON_JOURNAL_RESERVE': '64KiB', 'TZ': 'UTC', 'LC_ALL': 'C.UTF-8'})
    env.update({name: str(value) for name, value in (extra or {}).items() if value is not None})
    for name, value in (extra or {}).items():
        if value is None:
            env.pop(name, None)
    return env


def start(args, env=None, cwd=None, stdin=subprocess.DEVNULL, **more):
    return subprocess.Popen([BINARY] + [str(arg) for arg in args], env=environment(env), cwd=cwd, stdin=stdin, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **more)


def finish(process, given=None, seconds=RUN_SECONDS):
    try:
        out, err = process.communicate(given, timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Wrong(f'no end after {seconds} s: {" ".join(process.args)}') from None
    return Ran(process.args, process.returncode, out.decode('utf-8', 'replace'), err.decode('utf-8', 'replace'))


def aon(*args, env=None, cwd=None, given=None, **more):
    stdin = subprocess.DEVNULL if given is None else subprocess.PIPE
    return finish(start(args, env, cwd, stdin, **more), given.encode() if isinstance(given, str) else given)


class Data:
    """A data folder and the commands on it."""
    exact = True  # a copy of it is the same to the program, also in the middle of a run

    def __init__(self, folder, env=None):
        self.folder, self.env = pathlib.Path(folder), dict(env or {})

    def run(self, *args, env=None, **more):
        return aon(*args, '--data', self.folder, env={**self.env, **(env or {})}, **more)

    def start(self, *args, env=None, **more):
        return start([*args, '--data', self.folder], {**self.env, **(env or {})}, **more)

    def imports(self, book, *args, org='org1', env=None, **more):
        return self.run('import', book, '--pack', 'workforce', '--org', org, '--json', *args, env=env, **more)

    def apply(self, operations, *args, env=None, **more):
        text = operations if isinstance(operations, (str, bytes)) else ''.join(json.dumps(line) + '\n' for line in operations)
        return self.run('apply', '-', '--json', *args, env=env, given=text, **more)

    def listed(self):
        return self.run('list', '--json', '--limit', '1000').exits(0).lines

    def shown(self, bulk):
        return self.run('show', bulk, '--json').exits(0).json

    def entries(self, bulk):
        return self.run('log', bulk, '--json').exits(0).lines

    def store(self, name='main'):
        return self.folder / f'{name}.db'

    def rows(self):
        """Every row of every store, aon_ tables aside; an empty table and none are the same."""
        found = {}
        for path in sorted(self.folder.glob('*.db')):
            if path.stem != 'journal':
                found.update({(path.stem, table): rows for table, rows in tables_of(path).items() if rows})
        return found

    @staticmethod
    def bare(rows):
        """Without what a store adds by itself, which says who wrote last."""
        return rows

    def sql(self, statement, *values, store='main'):
        with sqlite3.connect(self.store(store), timeout=20) as connection:
            rows = connection.execute(statement, values).fetchall()
        connection.close()
        return rows

    def document(self, store, collection, name):
        rows = self.sql(f'select doc from "{collection}" where id = ?', name, store=store) if self.store(store).exists() else []
        return json.loads(rows[0][0]) if rows else None

    def put(self, store, collection, name, document):
        self.sql(f'insert or replace into "{collection}" (id, doc) values (?, ?)', name, json.dumps(document), store=store)

    def copy(self, to):
        shutil.copytree(self.folder, to)
        return Data(to, self.env)


def tables_of(path):
    connection = sqlite3.connect(path, timeout=20)
    try:
        names = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        return {name: sorted(connection.execute(f'select * from "{name}"').fetchall(), key=repr)
                for name in names if not name.startswith(('aon_', 'sqlite_'))}
    finally:
        connection.close()


def differing(found, wanted):
    lines = []
    for table in sorted(set(found) | set(wanted)):
        here, there = set(map(repr, found.get(table, []))), set(map(repr, wanted.get(table, [])))
        lines += [f'  {table}: is there, should not be: {row[:300]}' for row in sorted(here - there)[:3]]
        lines += [f'  {table}: should be there: {row[:300]}' for row in sorted(there - here)[:3]]
    return '\n'.join(lines)


def same_rows(found, wanted, *where):
    check(found == wanted, *where, '\n', differing(found, wanted))


def keys(found, wanted, *where):
    for name, kind in wanted.items():
        check(name in found, f'key {name!r} is missing', *where, found)
        kinds = kind if isinstance(kind, tuple) else (kind,)
        value = found[name]
        check(isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds), f'{name!r} is {value!r}', *where)


def result_shape(result):
    """A result object has all its keys, whatever became of it."""
    keys(result, RESULT_KEYS, 'in a result:')
    check(TIMINGS <= set(result['timings']), 'timings', result['timings'])
    for problem in result['errors'] + result['warnings']:
        if 'line' in problem:
            keys(problem, {'line': int, 'code': str, 'message': str}, 'in a problem:')
        else:
            keys(problem, PROBLEM_KEYS, 'in a problem:')
            check('value' in problem, problem)
    if result['failure']:
        keys(result['failure'], FAILURE_KEYS, 'in a failure:')
    for count in result['counts'].values():
        same(set(count), {'create', 'edit', 'delete', 'unchanged'})
    return result


def write_book(folder, sheets):
    """A workbook as a folder of .csv: {'Users': [{'Name': …}, …]}."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    for name, rows in sheets.items():
        headings = list(dict.fromkeys(heading for row in rows for heading in row))
        with open(folder / f'{name}.csv', 'w', encoding='utf-8', newline='') as file:
            writer = csv.writer(file)
            writer.writerow(headings)
            writer.writerows([[row.get(heading, '') for heading in headings] for row in rows])
    return folder


SECRET = 'pl4nted-s3cret-'


def first_book(folder):
    """What stands in the stores before: ids of its own, so that a second upload can edit it."""
    return write_book(folder, {
        'Users': [{'User ID': f'u{n}', 'Name': f'User {n}', 'Email': f'u{n}@example.com', 'Role': ('staff', 'manager')[n % 2], 'Departments': 'Kitchen',
                   'Sites': 'North', 'Employee Number': f'E{n}', 'Password': f'{SECRET}{n}'} for n in range(4)],
        'Departments': [{'Department ID': 'd1', 'Name': 'Kitchen'}, {'Department ID': 'd2', 'Name': 'Garden'}],
        'Sites': [{'Site ID': 's1', 'Name': 'North', 'Time Zone': 'Europe/Oslo', 'Site Group': 'All', 'Departments': 'Kitchen'},
                  {'Site ID': 's2', 'Name': 'South', 'Site Group': 'All'}],
        'Non-Ops Days': [{'Scope': 'organization', 'Start Date': '2027-05-01', 'Name': 'Labour Day'}],
    })


def second_book(folder):
    """Edits, documents taken away, new ones, and one document in each of the four stores."""
    return write_book(folder, {
        'Users': [{'User ID': 'u0', 'Name': 'User Zero', 'Email': 'u0@example.com', 'Role': 'admin', 'Employee Number': 'CLEAR'},
                  {'User ID': 'u1', 'Name': 'User 1', 'Email': 'one@example.com', 'Role': 'manager', 'Sites': 'South'},
                  {'User ID': 'n1', 'Name': 'New 1', 'Email': 'n1@example.com', 'Role': 'staff', 'Departments': 'Green Garden', 'Password': SECRET + 'new'}],
        'Departments': [{'Department ID': 'd2', 'Name': 'Green Garden'}],
        'Schedules': [{'Schedule ID': 'h1', 'Title': 'Round', 'Type': 'weekly', 'Days': 'mon', 'Start Date': '2027-05-03', 'End Date': '2027-05-30',
                       'Start Time': '08:00', 'End Time': '09:00', 'Sites': 'North'}],
        'Non-Ops Days': [{'Scope': 'organization', 'Start Date': '2027-05-10', 'Name': 'Fair'}],
    })


def seed_foreign(data):
    """Rows that no import made: another organization's, and a table that is nobody's business."""
    data.put('main', 'users', 'x1', {'userID': 'x1', 'organizationID': 'other', 'name': 'Else', 'email': 'u0@example.com', 'unknown': [1, None, {'a': 1.0}]})
    data.sql('create table ledger (account text, number integer, amount real, primary key (account, number))')
    data.sql("insert into ledger values ('a', 1, 2.5), ('a', 2, null), ('b', 1, 1e300)")
    data.put('realtime', 'firebase:user', 'x1', {'name': 'Else'})


def prepared(folder, env=None):
    """A data folder that isn't empty."""
    data = Data(pathlib.Path(folder) / 'prepared', env)
    data.imports(first_book(pathlib.Path(folder) / 'first')).exits(0)
    seed_foreign(data)
    return data


def stopped(process, seconds=60):
    """Waits until the program has stopped itself; False: it ended without."""
    for _ in range(int(seconds / 0.02)):
        pid, status = os.waitpid(process.pid, os.WNOHANG | os.WUNTRACED)
        if pid and os.WIFSTOPPED(status):
            return True
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return False
        time.sleep(0.02)
    raise Wrong(f'it neither stopped nor ended: {" ".join(process.args)}')


def calls_of(ran):
    """The names of the calls to journal and stores that a run at level debug wrote, the first one at index 1."""
    names = [None] + [line.split(': ', 1)[1] for line in ran.err.splitlines() if line.startswith('[DEBUG] call ')]
    total = [int(line.split()[1]) for line in ran.err.splitlines() if line.endswith('calls to journal and stores')]
    same(total, [len(names) - 1], 'number of calls\n', ran)
    return names


def kill(process):
    process.send_signal(signal.SIGKILL)
    return finish(process)


class Bites:
    """Points of a case that are tried one after the other, so that a run of hours can be done in bites. AON_NOTED names a file that takes a line for each
    point that held: a later call leaves those out, and counts them. AON_BITE (seconds) ends a call with a skipped case when that time is over."""
    began, case, rounds = time.monotonic(), (), 0

    @classmethod
    def begin(cls, *case):
        cls.case, cls.rounds = case, 0

    @classmethod
    def held(cls):
        path = os.environ.get('AON_NOTED')
        lines = [json.loads(line) for line in open(path, encoding='utf-8')] if path and os.path.exists(path) else []
        return {line[-2]: line[-1] for line in lines if line[:-2] == [*cls.case, cls.rounds]}

    @classmethod
    def note(cls, point, end):
        if path := os.environ.get('AON_NOTED'):
            with open(path, 'a', encoding='utf-8') as file:
                file.write(json.dumps([*cls.case, cls.rounds, point, end]) + '\n')


def each(points, trial):
    """How often each end came: {what trial(point) returned: times}."""
    points, bite, at_once = list(points), float(os.environ.get('AON_BITE') or 'inf'), int(os.environ.get('AON_AT_ONCE') or 1)
    Bites.rounds += 1
    held, stopped_early = Bites.held(), threading.Event()

    def tried(point):
        if stopped_early.is_set() or time.monotonic() - Bites.began > bite:
            return
        try:
            held[point] = trial(point)
        except BaseException:
            stopped_early.set()
            raise
        Bites.note(point, held[point])

    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        try:
            list(pool.map(tried, [point for point in points if point not in held]))
        finally:
            stopped_early.set()
    ends = [held[point] for point in points if point in held]
    if len(ends) < len(points):
        raise Skip(f'{len(ends)} of {len(points)} points tried so far (AON_BITE)')
    return {end: ends.count(end) for end in dict.fromkeys(ends)}


def run_cases(area, cases, names):
    """Runs functions that take a folder each. Exit status for meson."""
    if not BINARY:
        print(f'skipped: {area}: AON_BIN names no program')
        return 77
    failed = skipped = passed = 0
    for case in cases:
        name = case.__name__
        if names and not any(word in name for word in names):
            continue
        began, said = time.monotonic(), None
        Bites.begin(area, name)
        with tempfile.TemporaryDirectory(prefix='aon-') as folder:
            try:
                said = case(pathlib.Path(folder))
                passed, word = passed + 1, 'ok'
            except Skip as why:
                skipped, word, said = skipped + 1, 'skipped', str(why)
            except Wrong as wrong:
                failed, word, said = failed + 1, 'FAILED', str(wrong)
            except Exception:
                failed, word, said = failed + 1, 'FAILED', traceback.format_exc()
        print(f'{word}: {name}{": " + said if said else ""} ({time.monotonic() - began:.1f} s)', flush=True)
    print(f'{area}: {passed} passed, {failed} failed, {skipped} skipped')
    return 1 if failed else 77 if not passed else 0


def main(area, cases):
    sys.exit(run_cases(area, cases, sys.argv[1:]))
