#!/usr/bin/env python3
"""How far one journal goes: uploads that wait, and 1, 2, 3 … workers on them. Prints a table.

    bench/workers.py [--aon PROGRAM] [--uploads N] [--rows N] [--workers 1,2,3] [--journal URL] [--main URL]

--journal and --main set journal.url and the URL of the store main (PostgreSQL: a database that is empty is meant for this alone). Times are of
this machine with whatever else runs on it: compare them within one run only. CPU is user and system time of all workers."""

import argparse
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
TERMINAL = {'committed', 'rolled_back', 'rejected', 'cancelled', 'rollback_failed', 'commit_failed'}


def aon(options, folder, *words):
    ended = subprocess.run([options.aon, *map(str, words), '--data', str(folder)], capture_output=True, text=True, env=environment(options, folder))
    if ended.returncode:
        sys.exit(f'aon {" ".join(map(str, words))}: {ended.stderr}')
    return ended.stdout


def environment(options, folder):
    env = {name: value for name, value in os.environ.items() if not name.startswith(('AON_', 'TEST_', 'LOG_LEVEL'))}
    env['AON_PACKS'] = str(ROOT / 'packs')
    if options.journal:
        env.update(AON_JOURNAL_URL=options.journal, AON_JOURNAL_KEY_FILE=str(folder / 'journal.key'))
    if options.main:
        env['AON_STORES_MAIN_URL'] = options.main
        env['AON_STORES_MAIN_CREATE'] = 'true'
    return env


def upload(folder, tag, number, rows):
    lines = ['User ID,Name,Email,Role,Password']
    lines += [f'{tag}u{number}x{row},User {row},{tag}u{number}x{row}@example.com,staff,secret-{row}' for row in range(rows)]
    path = folder / f'upload{number}.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as packed:
        packed.writestr('Users.csv', '\n'.join(lines) + '\n')
    return path


def measure(options, workers, tag):
    with tempfile.TemporaryDirectory(prefix='aon-bench-') as name:
        folder = pathlib.Path(name)
        data = folder / 'data'
        began = time.monotonic()
        ids = {aon(options, data, 'import', upload(folder, tag, n, options.rows), '--pack', 'workforce', '--org', tag, '--queue').strip()
               for n in range(options.uploads)}
        queueing = time.monotonic() - began
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began, left, counts, operations = time.monotonic(), set(ids), {}, 0
        crew = subprocess.Popen([options.aon, 'serve', '--workers-only', '--json', '--workers', str(workers), '--data', str(data)],
                                stdout=subprocess.PIPE, text=True, env=environment(options, data))
        while left:
            event = json.loads(crew.stdout.readline())
            if event['event'] == 'ended' and event['bulkOperationId'] in left:
                left.discard(event['bulkOperationId'])
                counts[event['state']] = counts.get(event['state'], 0) + 1
                operations += event['operations']
        seconds = time.monotonic() - began
        crew.send_signal(signal.SIGTERM)
        crew.communicate(timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    states = ', '.join(f'{count} {state}' for state, count in sorted(counts.items()))
    print(f'| {workers} | {options.uploads / seconds * 60:.0f} | {operations / seconds:.0f} | {seconds:.1f} | {cpu:.1f} | {queueing / options.uploads * 1000:.0f} | {states} |',
          flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--aon', default=str(ROOT / 'build-bench' / 'aon'))
    parser.add_argument('--uploads', type=int, default=60)
    parser.add_argument('--rows', type=int, default=100)
    parser.add_argument('--workers', default='1,2,3')
    parser.add_argument('--journal')
    parser.add_argument('--main')
    options = parser.parse_args()
    print('| workers | uploads a minute | operations a second | seconds | CPU s | queueing, ms each | ends |\n|---|---|---|---|---|---|---|')
    for workers in options.workers.split(','):
        measure(options, int(workers), f'o{workers}r{os.getpid()}')


if __name__ == '__main__':
    main()
