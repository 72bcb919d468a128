"""Transaction managers of others, each a Java program that takes turns with the rest (jvm/Turns.java).

It gets every advantage: its virtual machine is warm, connections are open and rows in memory before its clock starts, closing isn't counted."""

import contextlib
import itertools
import json
import socket
import subprocess
import threading
import time

import rows
from servers import CLIENT, Clock, One
from timing import Failed

WARM_ROWS, WARM_ROUNDS = 1_000, 6
PATIENCE_S = 60
LONGEST_ANSWER_S = 120
COMMITTED = 3  # the state of a record of ScalarDB's


class PeerFailed(Exception):
    """The program of others did not do it: no failure of the benchmark."""


def free_port():
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


def answers(port, process):
    """Whether a server takes connections before our patience ends."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(('127.0.0.1', port), 1).close()
            return True
        except OSError:
            time.sleep(0.2)
    return False


class Jvm:
    """A Java program that answers each line with one of JSON."""

    def __init__(self, machine, project, main, *options):
        self.folder = machine.fresh(f'jvm/{project}')
        home = machine.peers / project
        self.errors = open(self.folder / 'errors.log', 'w+')
        self.process = subprocess.Popen(
            ['java', '-Xmx2g', *options, '-cp', f'{home / "classes"}:{home / "lib"}/*', main, str(self.folder)],
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def ask(self, *words):
        """Who takes too long is ended, and so fails."""
        watch = threading.Timer(LONGEST_ANSWER_S, self.process.kill)
        watch.start()
        try:
            return self.answer(words)
        finally:
            watch.cancel()

    def answer(self, words):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write('\t'.join(map(str, words)) + '\n')
            self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith('{'):  # libraries print what they like
                said = json.loads(line)
                if 'failed' in said:
                    raise PeerFailed(said['failed'][:200])
                return said
        raise PeerFailed(f'its process ended, or was ended after {LONGEST_ANSWER_S} s')

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.close()


class Peer:
    """One transaction manager over the stores of a unit."""

    project = main = None
    slot = 'plain'  # what it finds there before
    longest = 10_000  # up to here it is repeated like the rest, beyond it runs once

    @classmethod
    def missing(cls, machine):
        if not machine.peers or not (machine.peers / cls.project / 'classes' / f'{cls.main}.class').exists():
            return machine.without(cls.project)
        return None

    def __init__(self, machine, unit):
        self.machine, self.unit, self.warm, self.jvm = machine, unit, False, None
        self.tables = [self.table(number, store) for number, store in enumerate(unit.stores)]
        try:
            self.start()
            if self.slot != 'plain':
                unit.prepare(self.slot, lambda: self.jvm.ask('load', *unit.targets, unit.set.before))
        except PeerFailed:
            self.close()
            raise

    def start(self):
        self.jvm = Jvm(self.machine, self.project, self.main)

    def roots(self):
        return {CLIENT: self.jvm.process.pid, **self.unit.servers()}

    @staticmethod
    def table(number, store):
        return rows.TABLE

    def most(self, repetitions, count):
        return repetitions if count <= self.longest else 1

    def turn(self, file, way):
        self.unit.fresh(self.slot)
        self.jvm.ask('open', *self.unit.targets, file, way)
        clock = Clock(self.roots())
        said = self.jvm.ask('go')
        shares = clock.taken()
        self.jvm.ask('close')
        if said['committed'] != (way == 'commit'):
            raise PeerFailed('it committed' if said['committed'] else 'it did not commit')
        return One(said['wall_ms'], shares)

    def warm_up(self):
        """The first of its rows, both ways, before any is timed."""
        if self.warm:
            return
        some = self.machine.data / 'rows' / 'warm.rows'
        with open(self.unit.set.rows) as lines:
            some.write_text(''.join(itertools.islice(lines, WARM_ROWS)))
        for number in range(WARM_ROUNDS):
            self.turn(some, 'abort' if number % 2 else 'commit')
        some.unlink()
        self.warm = True

    def run(self, way):
        self.warm_up()
        one = self.turn(self.unit.set.rows, way)
        try:
            self.unit.check(self.name, way, self.tables)
        except Failed as why:
            raise PeerFailed(str(why)) from None
        return one

    def close(self):
        if self.jvm:
            self.jvm.close()


class Narayana(Peer):
    """XA; what has none is the last resource of its transaction."""

    name, project, main = 'Narayana', 'narayana', 'NarayanaPeer'


class ScalarDB(Peer):
    """It keeps columns of its own beside each row, so that it has to load what was there before."""

    name, project, main, slot = 'ScalarDB', 'scalardb', 'ScalarDbServers', 'scalardb'
    longest = 1_000

    @staticmethod
    def table(number, store):
        name = f'"store{number}${rows.TABLE}"' if store.kind == 'sqlite' else f'store{number}.{rows.TABLE}'
        return f'{name} where tx_state = {COMMITTED}'


class Seata(Peer):
    """AT mode, with its server beside it; its undo log stands in each database."""

    name, project, main, slot = 'Seata', 'seata', 'SeataPeer', 'seata'

    def __init__(self, machine, unit):
        self.server = None
        super().__init__(machine, unit)

    @classmethod
    def missing(cls, machine):
        if machine.peers and not (machine.peers / 'seata-server' / 'lib').exists():
            return machine.without('seata-server')
        return super().missing(machine)

    def start(self):
        port, console = free_port(), free_port()
        folder = self.machine.fresh('jvm/seata-server')
        home = self.machine.peers / 'seata-server'
        options = (
            '-Xmx2g',
            f'-Dseata.server.service-port={port}',
            f'-Dserver.port={console}',
            '-Dserver.address=127.0.0.1',
            f'-Dseata.store.file.dir={folder / "sessions"}',
            f'-Dlog.home={folder}',
            f'-Duser.home={folder}',
        )
        with open(folder / 'output.log', 'w') as output:
            self.server = subprocess.Popen(
                ['java', *options, '-cp', f'{home / "classes"}:{home / "lib"}/*', 'io.seata.server.ServerApplication'],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        if not answers(port, self.server):
            raise PeerFailed('its server did not start')
        self.jvm = Jvm(self.machine, self.project, self.main, f'-Dservice.default.grouplist=127.0.0.1:{port}')

    def roots(self):
        return {**super().roots(), 'a server of its own': self.server.pid}

    def close(self):
        super().close()
        if self.server:
            self.server.kill()
            self.server.wait()
