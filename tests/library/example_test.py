"""example_test.py BOOKING: what docs/library.md shows of the example is what it does."""
import json
import pathlib
import sqlite3
import subprocess
import sys
import tempfile


def run(program, folder, order, *seats):
    done = subprocess.run([program, folder, order, *seats], capture_output=True, text=True, timeout=60)
    said = [line for line in done.stdout.splitlines() if line.startswith('  ')]
    result = json.loads(done.stdout.splitlines()[-1]) if done.stdout.endswith('}\n') else None
    return done.returncode, said, result, done.stderr


def orders(folder):
    with sqlite3.connect(pathlib.Path(folder, 'shop.db')) as shop:
        return [row[0] for row in shop.execute('select id from orders order by id')]


def main():
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        status, said, result, _ = run(program, folder, 'order1', 'A1', 'A2')
        assert (status, result['state']) == (0, 'committed'), result
        assert said == ['  hall: A1 is reserved', '  hall: A2 is reserved', '  post: a letter about order1 goes out'], said
        assert orders(folder) == ['order1']

        status, said, result, _ = run(program, folder, 'order1', 'B1')
        assert (status, result['state'], said) == (3, 'rolled_back', []), result
        assert result['failure']['code'] == 'duplicate', result

        status, said, result, _ = run(program, folder, 'order2', 'A3', 'A4', 'A5', 'A6', 'A7', 'A8', 'A9', 'B1')
        assert (status, result['state'], result['failure']['code']) == (3, 'rolled_back', 'hall_full'), result
        assert sum('reserved' in line for line in said) == sum('free again' in line for line in said) == 7, said
        assert not any('letter' in line for line in said)
        assert orders(folder) == ['order1']

        status, _, result, errors = run(program, '/proc/nowhere', 'order3', 'B1')
        assert status == 1 and result is None and '/proc/nowhere' in errors, errors
    return 0


sys.exit(main())
