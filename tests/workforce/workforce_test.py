#!/usr/bin/python3
"""Runs all cases of the workforce pack.

    workforce_test.py [--first] [NAME …]      names: only cases whose name holds one of them; --first: stops at the first that fails

AON_BIN names the program; without it the cases test the oracle alone. AON_SHARED names the folder with the workbooks that come with the
specification (default: `shared/data` beside the source tree). Exit 0: all held; 1: some didn't; 77: skipped, with the reason.
"""

import os
import pathlib
import sys
import tempfile
import traceback

try:
    import openpyxl  # noqa: F401  (the cases write workbooks with it)
except ImportError:
    print('skipped: workforce: python3-openpyxl is not installed')
    sys.exit(77)

import cases
from world import Differs, World


def run_case(name, function, aon, shared):
    """One case in a folder of its own; what went wrong, or None."""
    with tempfile.TemporaryDirectory(prefix='aon-workforce-') as folder:
        world = World(aon, folder)
        world.shared = shared
        try:
            function(world)
        except Differs as differs:
            return str(differs)
        except Exception:  # a slip in a case, or a time-out of the program: this case fails, the others go on
            return traceback.format_exc()
    return None


def main():
    cases.check_tables()
    aon = os.environ.get('AON_BIN')
    root = pathlib.Path(__file__).resolve().parents[2]
    shared = pathlib.Path(os.environ.get('AON_SHARED') or root.parent / 'shared' / 'data')
    failed = skipped = passed = 0
    words = [word for word in sys.argv[1:] if word != '--first']
    for name, function in cases.CASES.items():
        if words and not any(word in name for word in words) or failed and '--first' in sys.argv:
            continue
        if getattr(function, 'shared', False) and not (shared / 'workforce').is_dir():
            print(f'skipped: {name}: the folder with the specification\'s workbooks is not there')
            skipped += 1
            continue
        wrong = run_case(name, function, os.path.abspath(aon) if aon else None, shared)
        failed, passed = failed + bool(wrong), passed + (not wrong)
        print(f'{"FAILED" if wrong else "ok"}: {name}' + ('\n    ' + wrong.replace('\n', '\n    ') if wrong else ''), flush=True)
    print(f'{"program" if aon else "oracle alone"}: {passed} cases held, {failed} did not, {skipped} skipped')
    return 1 if failed else 77 if not passed else 0


if __name__ == '__main__':
    sys.exit(main())
