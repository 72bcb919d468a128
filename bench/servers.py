"""Servers for the benchmark, started by the tests' own scripts, and what they take of the processor."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time

from timing import ROOT, Failed

SCRIPTS = ROOT / 'tests' / 'servers'
TICKS = os.sysconf('SC_CLK_TCK')
HOLD = """
import json, os, sys
print(json.dumps({name: value for name, value in os.environ.items() if name.startswith(('AON_TEST_', 'FIREBASE_', 'FIRESTORE_'))}), flush=True)
sys.stdin.read()
"""


CLIENT = 'client'


class One:
    """What one run took, in milliseconds; shares: who took how much of the CPU time; ours has phases."""

    def __init__(self, wall, shares, phases=None):
        self.wall, self.shares, self.phases = wall, shares, phases
        self.cpu = sum(shares.values())


class Missing(Exception):
    """A server that can't be had here: what needs it is left out, by name."""


@contextlib.contextmanager
def started(script, *words):
    """What the script tells its command about the server, which runs until the block ends."""
    holder = subprocess.Popen(
        [SCRIPTS / script, 'bench', *words, '--', sys.executable, '-c', HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        said = holder.stdout.readline()
        if said.startswith('skipped: '):
            raise Missing(said.strip().split(': ', 2)[2])
        if not said.startswith('{'):
            raise Missing(f'tests/servers/{script} could not start it')
        yield json.loads(said)
    finally:
        holder.stdin.close()
        holder.wait()


def stat(pid):
    """(parent, milliseconds of the process itself, milliseconds of its children that ended)."""
    fields = pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()
    user, system, children_user, children_system = map(int, fields[11:15])
    return int(fields[1]), (user + system) * 1000 / TICKS, (children_user + children_system) * 1000 / TICKS


def cpu_ms(roots):
    """CPU time of some processes and all that they started, those that ended included. Its grain is that of the kernel's ticks."""
    seen = {}
    for entry in os.listdir('/proc'):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                seen[int(entry)] = stat(entry)
    wanted = set()
    for pid in seen:
        at, chain = pid, []
        while at in seen and at not in wanted and at not in roots:
            chain.append(at)
            at = seen[at][0]
        if at in roots or at in wanted:
            wanted.update(chain)
    wanted.update(root for root in roots if root in seen)
    return sum(seen[pid][1] + seen[pid][2] for pid in wanted)


class Clock:
    """CPU time that processes take from now on, by the name of each. A server's process that is just ending could be counted twice, by itself
    and by who started it: it gets a moment to be gone."""

    SETTLE_S = 0.05

    def __init__(self, roots):
        self.roots = roots
        self.before = self.now()

    def now(self):
        time.sleep(self.SETTLE_S)
        return {name: cpu_ms({pid}) for name, pid in self.roots.items()}

    def taken(self):
        return {name: ms - self.before[name] for name, ms in self.now().items()}


class PostgreSQL:
    """Databases on one server: a copy of one that was made ready is a matter of files."""

    def __init__(self, told):
        self.url = told['AON_TEST_POSTGRESQL']
        self.pid = int(told['AON_TEST_POSTGRESQL_PID'])
        self.base = self.url.rsplit('/', 1)[0]

    def of(self, database):
        return f'{self.base}/{database}'

    def sql(self, database, *statements):
        words = [word for statement in statements for word in ('-c', statement)]
        done = subprocess.run(['psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', self.of(database), *words], capture_output=True, text=True)
        if done.returncode:
            raise Failed(f'PostgreSQL: {done.stderr.strip()}')
        return done.stdout

    def make(self, database, like='template1'):
        """An empty database, or a copy. Its log is on the disk when this returns; its files need not be, since no checkpoint falls into a
        run (SETTINGS of the mixes)."""
        self.forget(database)
        self.sql('postgres', f'create database {database} template {like}')

    def forget(self, database):
        self.sql('postgres', f'drop database if exists {database} with (force)')

    def rows(self, database, table):
        """(id, document) in order; none if there is no table."""
        if self.sql(database, f"select to_regclass('{table.split()[0]}') is not null").strip() != 't':
            return []
        said = self.sql(database, f'select json_build_array(id, doc::json)::text from {table} order by id collate "C"')
        return [tuple(json.loads(line)) for line in said.splitlines()]


class MongoDB:
    """Databases on one server, by its makers' Python driver, which comes with the server."""

    TOGETHER = 5_000

    def __init__(self, told):
        self.url = told['AON_TEST_MONGODB']
        self.pid = int(told['AON_TEST_MONGODB_PID'])
        packages = pathlib.Path(told['AON_TEST_MONGODB_PYTHON']).parents[1]
        sys.path += map(str, packages.glob('lib/python3*/site-packages'))
        try:
            import pymongo
        except ImportError:
            raise Missing('its driver for Python is not there') from None
        self.client = pymongo.MongoClient(self.url, directConnection=True)

    def of(self, database):
        head, options = self.url.rsplit('/?', 1)
        return f'{head}/{database}?{options}'

    def forget(self, database):
        self.client.drop_database(database)

    def names(self, database):
        return self.client[database].list_collection_names()

    def write(self, database, name, documents):
        """In transactions, else this server would wait for its disk at each document."""
        for at in range(0, len(documents), self.TOGETHER):
            with self.client.start_session() as session, session.start_transaction():
                self.client[database][name].insert_many(documents[at : at + self.TOGETHER], session=session)

    def rows(self, database, table):
        return [(document.pop('_id'), document) for document in self.client[database][table].find().sort('_id', 1)]
