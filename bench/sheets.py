"""Reading one workbook: our reader beside openpyxl, python-calamine and calamine, each a process of its own that touches every cell."""

import plot
import workbook
from page import Aim, Section, ratio
from timing import Failed, Spread, ratios

ROWS, QUICK_ROWS = 100_000, 300
REPETITIONS = {'ours': 7, 'calamine, streaming (Rust)': 7, 'python-calamine': 3, 'openpyxl, read_only': 1}
OURS, CALAMINE, PYTHON_CALAMINE, OPENPYXL = REPETITIONS


def commands(machine, section):
    """The readers that are there; the others are left out by name."""
    found = {OURS: [machine.program('bench', 'read_sheet')]}
    peers = machine.peers or machine.data / 'no-peers'
    calamine, python = peers / 'calamine/release/read-calamine', peers / 'python/bin/python'
    theirs = {
        CALAMINE: ('calamine', calamine, [calamine]),
        PYTHON_CALAMINE: ('python', python, [python, machine.here / 'readers.py', 'python-calamine']),
        OPENPYXL: ('python', python, [python, machine.here / 'readers.py', 'openpyxl']),
    }
    for name, (peer, program, command) in theirs.items():
        if program.exists():
            found[name] = command
        else:
            section.left_out[name] = machine.without(peer)
    return found


def check(name, seen, expected):
    if any(seen[key] != value and not (key == 'sum' and abs(seen[key] - value) < 1e-3) for key, value in expected.items()):
        raise Failed(f'{name} saw {seen}, there is {expected}')


def measure(machine, section, path, rows, quick):
    """All readers in turns, the quick ones more often than the slow ones. One of others that fails is left out."""
    expected, taken = workbook.expected(rows), {}
    readers = commands(machine, section)
    for number in range(1 if quick else max(REPETITIONS.values())):
        for name, command in list(readers.items()):
            if number >= REPETITIONS[name]:
                continue
            try:
                one = machine.run([*command, path])
                check(name, one.json(), expected)
            except (Failed, ValueError):
                if name == OURS:
                    raise
                section.left_out[name] = 'it failed on the workbook, or saw other cells'
                del readers[name]
                taken.pop(name, None)
                continue
            taken.setdefault(name, []).append(one)
    return taken


def part(machine, quick, say):
    section = Section('Reading a workbook')
    rows = QUICK_ROWS if quick else ROWS
    folder = machine.fresh('workbooks')
    table = section.table(
        f'{rows:,} rows × {len(workbook.COLUMNS)} columns',
        ['reader', 'wall, ms', 'CPU, ms', 'ours / it', 'of CPU time', 'peak, MiB', 'runs'],
    )
    groups = []
    for shared, kind in ((True, 'shared strings'), (False, 'inline strings')):
        say(f'reading a workbook of {rows:,} rows with {kind}')
        path = folder / f'{kind.split()[0]}.xlsx'
        xml_bytes = workbook.write(path, rows, shared)
        taken = measure(machine, section, path, rows, quick)
        table.add(f'*{kind}: {path.stat().st_size / 1e6:.1f} MB packed, {xml_bytes / 1e6:.1f} MB of XML*', '', '', '', '', '', '')
        for name, runs in taken.items():
            pairs = min(len(runs), len(taken[OURS]))
            wall = ratios([one.wall for one in taken[OURS][:pairs]], [one.wall for one in runs[:pairs]])
            cpu = ratios([one.cpu for one in taken[OURS][:pairs]], [one.cpu for one in runs[:pairs]])
            table.add(
                name,
                Spread([one.wall for one in runs]).median,
                Spread([one.cpu for one in runs]).median,
                ratio(wall),
                ratio(cpu),
                max(one.peak_kib for one in runs) / 1024,
                len(runs),
            )
            if name == CALAMINE:
                section.aims.append(Aim(f"time of our reader to calamine's, {kind}", 0.6, wall, cpu=cpu))
        section.aims.append(Aim(f'resident memory of our reader, {kind}', 16, max(one.peak_kib for one in taken[OURS]) / 1024, 'MiB'))
        groups.append((kind, [(name, Spread([one.wall for one in runs]).median, 0 if name == OURS else 1) for name, runs in taken.items()]))
    machine.forget('workbooks')
    section.plots['sheets.svg'] = 'Time to read a workbook', plot.bars(
        f'Reading {rows:,} rows × {len(workbook.COLUMNS)} columns', 'ms', groups
    )
    return section
