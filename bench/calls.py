"""Calls per operation of the stores behind HTTP: what an import and a rollback ask of the Realtime Database and of Firestore.

Their doubles and emulators say nothing about time over a network, but each request is one that Google would be asked, and most would be
billed. A relay between program and service counts them."""

import collections
import json
import os
import re
import socket
import threading

import rows
from page import Section
from servers import Missing, started
from timing import Failed

COUNTS, QUICK = (1_000, 10_000), (40,)
WAYS = {'commit': 'committed', 'abort': 'taken back'}
HEAD_BYTES = 65_536


class Relay:
    """Passes bytes on in both directions, and reads the requests in them: a head, and as much behind it as its Content-Length says."""

    def __init__(self, address):
        self.server, self.lock, self.counts = address, threading.Lock(), collections.Counter()
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.address = '{}:{}'.format(*self.listener.getsockname())
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.server)
            except OSError:
                return
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.pass_on, args=(client, server, self.reader()), daemon=True).start()
            threading.Thread(target=self.pass_on, args=(server, client, lambda chunk: None), daemon=True).start()

    @staticmethod
    def pass_on(source, target, look):
        try:
            while chunk := source.recv(HEAD_BYTES):
                look(chunk)
                target.sendall(chunk)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def reader(self):
        head, body = bytearray(), 0

        def look(chunk):
            nonlocal head, body
            while chunk:
                skipped = min(body, len(chunk))
                body, chunk = body - skipped, chunk[skipped:]
                if not chunk:
                    return
                head += chunk
                end = head.find(b'\r\n\r\n')
                if end < 0:
                    return
                chunk, said = bytes(head[end + 4 :]), bytes(head[:end]).decode('latin-1')
                head = bytearray()
                length = re.search(r'(?im)^content-length: *(\d+)', said)
                body = int(length[1]) if length else 0
                self.count(said.split(' ', 2))

        return look

    def count(self, words):
        verb = re.search(r':(\w+)(\?|$)', words[1])
        with self.lock:
            self.counts[verb[1] if verb else words[0]] += 1

    def take(self):
        with self.lock:
            taken, self.counts = self.counts, collections.Counter()
        return taken

    def close(self):
        self.listener.close()


SINGLY = {'AON_STORES_REALTIME_HORIZON': '1s'}  # on loopback nothing arrives later
SERVICES = {
    'Realtime Database': ('rtdb', 'FIREBASE_DATABASE_EMULATOR_HOST', 'firebase-rtdb://bench.example/?ns={}', SINGLY),
    'Realtime Database, `exclusive: true`': (
        'rtdb',
        'FIREBASE_DATABASE_EMULATOR_HOST',
        'firebase-rtdb://bench.example/?ns={}',
        {**SINGLY, 'AON_STORES_REALTIME_EXCLUSIVE': 'true'},
    ),
    'Firestore': ('firestore', 'FIRESTORE_EMULATOR_HOST', 'firestore://{}/', {}),
}


class Service:
    """The store `realtime` on the service, `main` in a file."""

    def __init__(self, machine, variable, url, options, told):
        host, port = told[variable].rsplit(':', 1)
        self.machine, self.relay = machine, Relay((host, int(port)))
        self.environment = {variable: self.relay.address, 'AON_STORES_REALTIME_URL': url, **options}

    def apply(self, lines, folder, status=0, **environment):
        command = [self.machine.program('aon'), 'apply', lines, '--data', folder, '--user', 'bench', '--json']
        self.relay.take()
        self.machine.run(command, status=status, environment={**self.environment, **environment})
        return self.relay.take()


def before_lines(made):
    """What is there before, as creates."""
    file = made.before.with_suffix('.ndjson.before')
    with open(made.before) as source, open(file, 'w') as to:
        for line in source:
            store, _, table, identifier, text = line.rstrip('\n').split('\t', 4)
            to.write(f'{{"store":"{rows.STORES[int(store)]}","collection":"{table}","id":{json.dumps(identifier)},"operation":"create","data":{text}}}\n')
    return file


def measured(machine, name, table, counts, say):
    script, variable, url, options = SERVICES[name]
    with started(script) as told:
        for count in counts:
            made = rows.make(machine.data / 'rows', count, True, True)
            before = before_lines(made)
            for way, words in WAYS.items():
                say(f'{name}: calls for {count:,} operations, {words}')
                service = Service(machine, variable, url.format(f'demo-bench-{os.getpid()}-{count}-{way}'), options, told)
                folder = machine.fresh('ours')
                folder.chmod(0o700)
                service.apply(before, folder)
                if way == 'commit':
                    calls = service.apply(made.lines, folder)
                else:
                    calls = service.apply(made.lines, folder, 3, TEST_ROLLBACK_AT_OPERATION=str(count - 1))
                service.relay.close()
                theirs = sum(1 for line in open(made.rows) if line.startswith('1\t'))
                kinds = ', '.join(f'{number:,} {kind}' for kind, number in sorted(calls.items()))
                table.add(name, theirs, words, sum(calls.values()), sum(calls.values()) / theirs, kinds)
            for file in (made.lines, made.rows, made.before, before):
                file.unlink()
    machine.forget('ours')


def part(machine, quick, say):
    section = Section('Calls per operation')
    table = section.table(
        'Half inserts, half updates; the other half of the bulk operation goes to an SQLite file',
        ['store', 'its operations', 'end', 'requests', 'per operation', 'which'],
    )
    for name in SERVICES:
        try:
            measured(machine, name, table, QUICK if quick else COUNTS, say)
        except Missing as why:
            section.left_out[name] = str(why)
        except Failed as why:
            raise Failed(f'{name}: {why}') from None
    return section
