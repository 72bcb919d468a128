"""Imports by `aon apply` over two SQLite stores beside the floor of the same rows."""

import contextlib
import itertools
import shutil
import sqlite3

import plot
import rows
from page import Aim, Section, ratio
from timing import Failed, Spread, copy_durably, ratios, syncs

PHASES = ('parse', 'validate', 'plan', 'log', 'execute', 'finish')


class Unit:
    """One set of rows, with the state of the stores before it, and what each repetition took."""

    def __init__(self, machine, count, mixed, random_ids):
        self.machine = machine
        self.set = rows.make(machine.data / 'rows', count, mixed, random_ids)
        self.floor, self.ours, self.phases = [], [], []
        self.before = None
        if mixed:
            self.before = machine.fresh(f'before-{self.set.name}')
            machine.run([machine.program('bench', 'floor'), self.set.before, *self.files(self.before)])

    def files(self, folder):
        return [folder / f'{store}.db' for store in rows.STORES]

    def folder(self, name):
        """A folder with the stores as they are before the unit."""
        folder = self.machine.fresh(name)
        folder.chmod(0o700)
        for file in self.files(folder) if self.before else []:
            copy_durably(self.before / file.name, file)
        return folder

    def run_floor(self):
        folder = self.folder('floor')
        taken = self.machine.run([self.machine.program('bench', 'floor'), self.set.rows, *self.files(folder)])
        return taken, folder

    def run_ours(self, *options, status=0, environment=None, count_calls=False, name='ours'):
        folder = self.folder(name)
        taken = self.apply(folder, *options, status=status, environment=environment, count_calls=count_calls)
        return taken, folder

    def apply(self, folder, *options, **more):
        command = [self.machine.program('aon'), 'apply', self.set.lines, '--data', folder, '--user', 'bench', '--json', *options]
        return self.machine.run(command, **more)

    def repeat(self, number):
        """One repetition: floor and import one after the other, the second first every other time."""
        for which in ('floor', 'ours') if number % 2 == 0 else ('ours', 'floor'):
            if which == 'floor':
                taken, floor = self.run_floor()
                self.floor.append(taken.json())
            else:
                taken, ours = self.run_ours()
                self.ours.append(taken)
                self.phases.append(taken.json()['timings'])
        if number == 0:
            same_content(floor, ours)

    def close(self):
        for name in ('floor', 'ours', 'ways', 'calls', 'killed', f'before-{self.set.name}'):
            self.machine.forget(name)
        for file in (self.set.lines, self.set.rows, self.set.before):
            file.unlink()


def content(file):
    """Rows of a store in the order of their ids; none if there is no file."""
    if file.exists():
        with contextlib.closing(sqlite3.connect(f'file:{file}?mode=ro', uri=True)) as database:
            yield from database.execute(f'select id, doc from {rows.TABLE} order by id')


def same_rows(one, other):
    return all(a == b for a, b in itertools.zip_longest(content(one), content(other)))


def same_content(floor, ours):
    """The floor is one only if both wrote the same bytes."""
    for store in rows.STORES:
        if not same_rows(floor / f'{store}.db', ours / f'{store}.db'):
            raise Failed(f'the import and the floor left other rows in {store}')


# ---- what else can be done with a unit ----


def last_commit(unit):
    """The number of the call that commits the second store, and the folder of the import that it was seen in."""
    folder = unit.folder('calls')
    taken = unit.apply(folder, environment={'LOG_LEVEL': 'debug'})
    calls = [line for line in taken.errors.splitlines() if line.endswith('.commit') and ' store.' in line]
    if len(calls) < 2:
        raise Failed('the program printed no calls that commit')
    return int(calls[-1].split('call ')[1].split(':')[0]), folder


def executed_ms(taken):
    """The program tells whole milliseconds."""
    return max(1, taken.json()['timings']['execute'])


class Ways:
    """Dry run, rollback, undo and recovery of one unit, each beside an import."""

    NAMES = ('import', 'dry run', 'rolled back at the last operation', 'undo', 'recovery after kill -9 between the two commits')

    def __init__(self, machine, unit):
        self.machine, self.unit = machine, unit
        self.taken = {name: [] for name in self.NAMES}
        self.execute, self.back = [], []
        self.commit, self.after = last_commit(unit)

    def repeat(self):
        unit, machine, aon = self.unit, self.machine, self.machine.program('aon')
        taken, folder = unit.run_ours(name='ways')
        result = taken.json()
        self.taken['import'].append(taken)
        self.taken['undo'].append(machine.run([aon, 'undo', result['bulkOperationId'], '--data', folder, '--user', 'bench', '--json']))
        self.as_before(folder)
        self.taken['dry run'].append(unit.run_ours('--dry-run', name='ways')[0])
        taken, folder = unit.run_ours(status=3, environment={'TEST_ROLLBACK_AT_OPERATION': str(unit.set.count - 1)}, name='ways')
        self.taken['rolled back at the last operation'].append(taken)
        self.execute.append(executed_ms(taken))
        self.back.append(taken.json()['timings']['finish'])
        self.as_before(folder)
        self.taken['recovery after kill -9 between the two commits'].append(self.recovered())

    def recovered(self):
        """Kills an import between its two commits, and recovers. A run that renews its lease more or less often makes other calls, so that
        the number that was right for one may be a little off for the next: then it is corrected."""
        for _ in range(TRIES):
            killed, folder = self.unit.run_ours(status=None, environment={'TEST_CRASH_AT_CALL': str(self.commit)}, name='ways')
            written = self.written(folder)
            if killed.status == -9 and written == 1:
                taken = self.machine.run([self.machine.program('aon'), 'recover', '--data', folder, '--user', 'bench', '--json'])
                self.as_before(folder)
                return taken
            self.commit += 1 if written == 0 else -1
        raise Failed(f'none of {TRIES} imports was killed between its two commits')

    def written(self, folder):
        """How many stores hold the unit. A copy is asked: a look would change the log files that recovery is to find."""
        copy = self.machine.fresh('killed')
        for file in folder.glob('*.db*'):
            shutil.copyfile(file, copy / file.name)
        return sum(same_rows(file, self.after / file.name) for file in self.unit.files(copy))

    def holds(self, folder, wanted):
        return all(same_rows(file, wanted / file.name) for file in self.unit.files(folder))

    def as_before(self, folder):
        if not self.holds(folder, self.unit.before):
            raise Failed(f'{folder.name}: the stores are not as they were before')


# ---- the part ----

REPETITIONS = {1_000: 9, 10_000: 7, 100_000: 3, 1_000_000: 1}
QUICK = {60: 1}
WAYS = {1_000: 3, 10_000: 3, 100_000: 3}
QUICK_WAYS = {60: 1}
TRIES = 8
COUNTED = 100_000  # up to here calls of fsync are counted, in a run of their own
WANTED = {10_000: 2.5, 100_000: 2.0}
GROWTH_FROM, GROWTH_TO = 10_000, 1_000_000
SHAPES = [(mixed, random_ids) for mixed in (True, False) for random_ids in (True, False)]


def shape_words(mixed, random_ids):
    return f'{"half inserts, half updates" if mixed else "creates"}; {"random" if random_ids else "sequential"} ids'


def measure(machine, quick, say):
    """Interleaved: every repetition runs all shapes, each floor beside its import."""
    units = {}
    for count, repetitions in (QUICK if quick else REPETITIONS).items():
        say(f'imports of {count:,} operations, {repetitions} times')
        of_count = [Unit(machine, count, *shape) for shape in SHAPES]
        for number in range(repetitions):
            for unit in of_count:
                unit.repeat(number)
        for unit in of_count:
            unit.calls = unit.run_ours(count_calls=True)[0].calls if count <= COUNTED else None
            units[unit.set.mixed, unit.set.random_ids, count] = unit
            unit.close()
    return units


def measure_ways(machine, quick, say):
    found = {}
    for count, repetitions in (QUICK_WAYS if quick else WAYS).items():
        say(f'dry run, rollback, undo and recovery of {count:,} operations, {repetitions} times')
        unit = Unit(machine, count, True, True)
        found[count] = Ways(machine, unit)
        for _ in range(repetitions):
            found[count].repeat()
        unit.close()
    return found


def beside_floor(section, units):
    table = section.table(
        'Import beside the floor',
        [
            'rows',
            'operations',
            'floor, ms',
            'import, ms',
            'import / floor',
            'of CPU time',
            'µs each',
            'floor, µs each',
            'peak, MiB',
            'fsync',
        ],
    )
    for (mixed, random_ids, count), unit in units.items():
        floor, ours = Spread([taken['wall_ms'] for taken in unit.floor]), Spread([taken.wall for taken in unit.ours])
        times = ratios([taken.wall for taken in unit.ours], [taken['wall_ms'] for taken in unit.floor])
        cpu = ratios([taken.cpu for taken in unit.ours], [taken['cpu_ms'] for taken in unit.floor])
        table.add(
            shape_words(mixed, random_ids),
            count,
            floor.median,
            ours.median,
            ratio(times),
            ratio(cpu),
            ours.median * 1000 / count,
            floor.median * 1000 / count,
            max(taken.peak_kib for taken in unit.ours) / 1024,
            syncs(unit.calls) if unit.calls else '',
        )
        if count in WANTED:
            section.aims.append(Aim(f'import of {count:,} to the floor: {shape_words(mixed, random_ids)}', WANTED[count], times, cpu=cpu))


def by_phase(section, units):
    table = section.table('Where the time of an import goes, ms', ['rows', 'operations', *PHASES, 'outside', 'whole process'])
    for (mixed, random_ids, count), unit in units.items():
        if random_ids:
            medians = [Spread([phases[phase] for phases in unit.phases]).median for phase in PHASES]
            whole = Spread([taken.wall for taken in unit.ours]).median
            table.add(shape_words(mixed, random_ids), count, *medians, whole - sum(medians), whole)


def phases_plot(units):
    """Of creates with random ids: what each phase takes; beside them the floor's whole time."""
    groups = []
    for (mixed, random_ids, count), unit in units.items():
        if random_ids and not mixed:
            medians = [(phase, Spread([phases[phase] for phases in unit.phases]).median, 0) for phase in PHASES]
            outside = Spread([taken.wall for taken in unit.ours]).median - sum(value for _, value, _ in medians)
            floor = Spread([taken['wall_ms'] for taken in unit.floor]).median
            groups.append((f'{count:,} operations', [('floor, all of it', floor, 2), *medians, ('outside', max(0.0, outside), 3)]))
    return plot.bars('Phases of an import of creates, two SQLite stores, random ids', 'ms', groups)


def growth(section, units):
    for shape in SHAPES:
        from_unit, to_unit = units.get((*shape, GROWTH_FROM)), units.get((*shape, GROWTH_TO))
        if not from_unit or not to_unit:
            continue
        each, cpu = (
            [Spread([getattr(taken, clock) for taken in unit.ours]).median / unit.set.count for unit in (from_unit, to_unit)]
            for clock in ('wall', 'cpu')
        )
        floor = [Spread([taken['wall_ms'] for taken in unit.floor]).median / unit.set.count for unit in (from_unit, to_unit)]
        section.aims.append(
            Aim(
                f'cost per operation at {GROWTH_TO:,} to that at {GROWTH_FROM:,}: {shape_words(*shape)} '
                f'(the floor itself: {floor[1] / floor[0]:.2f})',
                1.2,
                each[1] / each[0],
                cpu=cpu[1] / cpu[0],
            )
        )
    peaks = [taken.peak_kib / 1024 for (_, _, count), unit in units.items() if count == GROWTH_TO for taken in unit.ours]
    if peaks:
        section.aims.append(Aim(f'resident memory at {GROWTH_TO:,}', 128, max(peaks), 'MiB'))


def growth_plot(units):
    """Our cost and the floor's by number of operations, in microseconds each."""
    series = []
    for colour, shape in enumerate(shape for shape in SHAPES if shape[1]):
        of_shape = [(count, unit) for (*other, count), unit in units.items() if tuple(other) == shape]
        words = 'half updates' if shape[0] else 'creates'
        series.append(
            (
                f'import, {words}',
                [(count, Spread([taken.wall for taken in unit.ours]).median * 1000 / count) for count, unit in of_shape],
                colour,
                False,
            )
        )
        series.append(
            (
                f'floor, {words}',
                [(count, Spread([taken['wall_ms'] for taken in unit.floor]).median * 1000 / count) for count, unit in of_shape],
                colour,
                True,
            )
        )
    return plot.growth('Cost per operation, two SQLite stores, random ids', 'operations', 'µs each', series)


def beside_import(section, ways):
    table = section.table(
        'Other ways through the same rows (half inserts, half updates; random ids)',
        ['what', 'operations', 'wall, ms', 'CPU, ms', '/ import', '/ execution', 'peak, MiB'],
    )
    for count, found in ways.items():
        to_execution = {
            'dry run': ratios([one.wall for one in found.taken['dry run']], [executed_ms(one) for one in found.taken['import']]),
            'rolled back at the last operation': ratios(found.back, found.execute),
        }
        for name in Ways.NAMES:
            taken = found.taken[name]
            table.add(
                name,
                count,
                Spread([one.wall for one in taken]).median,
                Spread([one.cpu for one in taken]).median,
                ratio(ratios([one.wall for one in taken], [one.wall for one in found.taken['import']])),
                ratio(to_execution[name]) if name in to_execution else '',
                max(one.peak_kib for one in taken) / 1024,
            )
        if count >= 10_000:
            section.aims.append(Aim(f'rollback to execution, {count:,} operations', 1.0, ratios(found.back, found.execute)))
            wall, cpu = (
                ratios([getattr(one, clock) for one in found.taken['dry run']], [getattr(one, clock) for one in found.taken['import']])
                for clock in ('wall', 'cpu')
            )
            section.aims.append(Aim(f'dry run to import, {count:,} operations', 0.5, wall, cpu=cpu))


def part(machine, quick, say):
    section = Section('Imports over two SQLite stores')
    units = measure(machine, quick, say)
    ways = measure_ways(machine, quick, say)
    beside_floor(section, units)
    by_phase(section, units)
    beside_import(section, ways)
    growth(section, units)
    section.plots['growth.svg'] = 'Cost per operation by number of operations', growth_plot(units)
    section.plots['phases.svg'] = 'Where the time of an import goes', phases_plot(units)
    return section
