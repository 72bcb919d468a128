#!/usr/bin/python3
"""Many workers on one journal in PostgreSQL: uploads queued, three workers, one killed each second: each upload wholly in or out.

    tests/servers/postgresql NAME -- tests/servers/workers_test.py

AON_FULL=1 queues 60 uploads, else 20."""

import contextlib
import os
import pathlib
import random
import signal
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / 'cli'), str(TESTS / 'crash'), str(TESTS / 'workers')]

import program as p  # noqa: E402
import workers_test as w  # noqa: E402
from program import Data, check, same  # noqa: E402


def three_workers_on_one_server(folder):
    data = Data(folder / 'data', {'AON_JOURNAL_URL': os.environ['AON_TEST_POSTGRESQL'], 'AON_JOURNAL_RESERVE': None})
    names = {}
    for n in range(60 if p.FULL else 20):
        ids = [f'u{n:02}x{k:03}' for k in range(40)]
        names[w.queue(data, w.book(folder, f'people{n}', ids))] = ids
    chance, killed = random.Random(3), 0
    with contextlib.ExitStack() as stack:
        one = lambda: stack.enter_context(w.worker(data, ended=(0, -signal.SIGKILL)))
        crew = [one() for _ in range(3)]
        done = lambda: not [line for line in data.listed() if line['state'] not in p.TERMINAL]
        while not done() and killed < 10:
            victim = chance.randrange(3)
            crew[victim].kill()
            crew[victim].wait()
            killed, crew[victim] = killed + 1, one()
            time.sleep(1)
        w.until(done, lambda: [line['state'] for line in data.listed()])
    check(not (data.folder / 'journal.db').exists(), 'the journal is not on the server')
    there, ended = set(w.users(data)), {bulk: data.shown(bulk)['state'] for bulk in names}
    for bulk, ids in names.items():
        same([name for name in ids if name in there], ids if ended[bulk] == 'committed' else [], bulk, ended[bulk])
    states = list(ended.values())
    check(set(states) <= {'committed', 'rolled_back'}, ended)
    return f'{killed} workers killed; {states.count("committed")} committed, {states.count("rolled_back")} rolled back'


if __name__ == '__main__':
    sys.exit(p.run_cases('workers on postgresql', [three_workers_on_one_server], sys.argv[1:]))
