"""The same rows by ScalarDB, one transaction over two SQLite storages, beside an import and the floor.

It gets every advantage: its time is taken inside its process, after start-up and warming up, and holds neither reading the rows nor closing
the files; ours is the whole process. Its failure is one that it meets when it writes, at the last row, after all others."""

import plot
from imports import Unit
from page import Aim, Section, ratio
from timing import Failed, Spread, ratios

TITLE = 'ScalarDB on the same rows'
REPETITIONS = {1_000: 2, 10_000: 2}
JUDGED = 10_000
QUICK = {40: 1}
WAYS = {'commit': 'committed', 'abort': 'taken back after a failure at the last row'}


class PeerFailed(Exception):
    """ScalarDB itself did not run here: that is no failure of the benchmark."""


def command(machine, folder, unit, way):
    classes = machine.peers / 'scalardb'
    return ['java', '-cp', f'{classes / "classes"}:{classes / "lib"}/*', 'Peer', folder, unit.set.rows, unit.set.before, way]


def once(machine, unit, way):
    """One run of theirs and one of ours, in milliseconds."""
    taken = machine.run(command(machine, machine.fresh('scalardb'), unit, way), status=None)
    if taken.status:
        raise PeerFailed
    result = taken.json()
    if result['seen'] != (unit.set.count if way == 'commit' else 0):
        raise Failed(f'ScalarDB: {way}: {result["seen"]} of {unit.set.count} rows are there')
    if way == 'commit':
        ours = unit.run_ours()[0]
    else:
        ours = unit.run_ours(status=3, environment={'TEST_ROLLBACK_AT_OPERATION': str(unit.set.count - 1)})[0]
    return result['wall_ms'], taken.peak_kib, ours


def part(machine, quick, say):
    try:
        return measured(machine, quick, say)
    except PeerFailed:
        section = Section(TITLE)
        section.left_out['ScalarDB'] = 'it failed on the rows'
        return section


def measured(machine, quick, say):
    section = Section(TITLE)
    if not machine.peers or not (machine.peers / 'scalardb' / 'classes' / 'Peer.class').exists():
        section.left_out['ScalarDB'] = machine.without('scalardb')
        return section
    table = section.table(
        'Half inserts, half updates; random ids; two SQLite stores',
        ['what', 'operations', 'floor, ms', 'ScalarDB, ms', 'ours, ms', 'ScalarDB / ours', 'ScalarDB, MiB', 'ours, MiB'],
    )
    groups = []
    for count, repetitions in (QUICK if quick else REPETITIONS).items():
        unit = Unit(machine, count, True, True)
        for way, words in WAYS.items():
            say(f'ScalarDB: {count:,} operations, {words}, {repetitions} times')
            floor = [unit.run_floor()[0].json()['wall_ms'] for _ in range(repetitions)]
            theirs, peaks, ours = zip(*(once(machine, unit, way) for _ in range(repetitions)))
            times = ratios(theirs, [taken.wall for taken in ours])
            table.add(
                words,
                count,
                Spread(floor).median,
                Spread(theirs).median,
                Spread([taken.wall for taken in ours]).median,
                ratio(times),
                max(peaks) / 1024,
                max(taken.peak_kib for taken in ours) / 1024,
            )
            groups.append(
                (
                    f'{count:,} operations, {words}',
                    [
                        ('floor', Spread(floor).median, 2),
                        ('ours', Spread([taken.wall for taken in ours]).median, 0),
                        ('ScalarDB', Spread(theirs).median, 1),
                    ],
                )
            )
            if way == 'commit' and count == JUDGED:
                section.aims.append(
                    Aim(f"our time to ScalarDB's, {count:,} operations", 0.1, ratios([taken.wall for taken in ours], theirs))
                )
        unit.close()
        machine.forget('scalardb')
    section.plots['scalardb.svg'] = 'Time of one transaction', plot.bars('One transaction over two SQLite files', 'ms', groups)
    return section
