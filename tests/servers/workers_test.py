#!/usr/bin/python3
"""Many workers on one journal in PostgreSQL or MongoDB: uploads queued, three workers, one killed each second, one frozen past its lease and continued: each
upload wholly in or out, once.

    tests/servers/postgresql NAME -- tests/servers/workers_test.py
    tests/servers/mongodb NAME set -- tests/servers/workers_test.py

AON_FULL=1 queues 60 uploads and kills until all have ended, else 12 and five times."""

import pathlib
import sys

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / name) for name in ('workers', 'servers', 'cli', 'crash')]

import program as p  # noqa: E402
import workers_test as w  # noqa: E402
from places import MONGODB, POSTGRESQL, MongodbJournal, PostgresqlJournal  # noqa: E402
from served import Served  # noqa: E402


class Journalled(Served):
    PLACES = (MongodbJournal if MONGODB else PostgresqlJournal,)


def three_workers_on_one_server(folder):
    counted, data = Journalled(folder / 'counted'), Journalled(folder / 'data')
    said = w.killed_and_frozen(folder, counted, data, *((60, 10000) if p.FULL else (12, 5)))
    p.check(not (data.folder / 'journal.db').exists(), 'the journal is not on the server')
    data.places['journal'].clean()
    return said


if __name__ == '__main__':
    if not POSTGRESQL and not MONGODB:
        print('skipped: workers on a server: no server; run it by tests/servers/postgresql or tests/servers/mongodb')
        sys.exit(77)
    p.main(f'workers on {Journalled.PLACES[0].KIND}', [three_workers_on_one_server])
