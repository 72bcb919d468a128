"""Two stores on servers: a bulk operation beside the floor and beside other transaction managers, in one run.

Everybody writes the same rows, half inserts and half updates, half of them to each store, as one atomic unit; or is made to fail when all
but the last row are written. Before each run the stores are as they were, after it they must hold what they should. CPU time is that of
everything that has a part in it: the client, the servers, the coordinator of its own where there is one."""

import contextlib
import json
import math
import sqlite3

import plot
import profile_of
import rows
from page import Aim, Section, ratio
from peers_jvm import Narayana, PeerFailed, ScalarDB, Seata
from servers import CLIENT, Clock, Missing, MongoDB, One, PostgreSQL, started
from timing import Failed, Spread, copy_durably, ratios

REPETITIONS = {1_000: 3, 10_000: 5, 100_000: 2}
QUICK = {40: 1}
WAYS = {'commit': 'committed', 'abort': 'taken back'}
AIMS = {10_000: 1.5, 100_000: 1.3}
TENTH = 0.1
MINUTES = 1.5  # of one run of a peer, beyond which it is left out
PROFILED = 10_000
# No checkpoint and no vacuum fall into a run.
SETTINGS = ('shared_buffers=256MB', 'max_wal_size=4GB', 'autovacuum=off', 'checkpoint_timeout=1h')


# ---- stores ----


class OnPostgreSQL:
    """One store: a database that is made anew as a copy of the one that was prepared."""

    words, kind = 'PostgreSQL', 'postgresql'
    taken_back_whole = math.inf  # rows that the floor writes in one transaction

    def __init__(self, server, number):
        self.server, self.pid = server, server.pid
        self.now, self.kept = f'now{number}', f'kept{number}_'
        self.target, self.slots = server.of(self.now), set()

    def clear(self):
        self.server.make(self.now)

    def keep(self, slot):
        self.server.make(self.kept + slot, self.now)
        self.slots.add(slot)

    def fresh(self, slot):
        self.server.make(self.now, self.kept + slot)

    def rows(self, where=rows.TABLE):
        return self.server.rows(self.now, where)

    def close(self):
        for name in (self.now, *(self.kept + slot for slot in self.slots)):
            self.server.forget(name)


class OnSQLite:
    """One store: a file, of which a copy is kept."""

    words, kind, pid = 'SQLite', 'sqlite', None
    taken_back_whole = math.inf

    def __init__(self, machine, number):
        self.machine, self.number = machine, number
        self.folder = machine.fresh(f'store{number}')
        self.target = str(self.folder / 'now.db')

    def clear(self):
        for file in self.folder.glob('now.db*'):
            file.unlink()

    def keep(self, slot):
        copy_durably(self.target, self.folder / f'kept-{slot}.db')

    def fresh(self, slot):
        self.clear()
        copy_durably(self.folder / f'kept-{slot}.db', self.target)

    def rows(self, where=rows.TABLE):
        with contextlib.closing(sqlite3.connect(f'file:{self.target}?mode=ro', uri=True)) as database:
            names = {name for (name,) in database.execute("select name from sqlite_master where type='table'")}
            table = where.split(' ')[0].strip('"')
            if table not in names:
                return []
            return [(identifier, json.loads(text)) for identifier, text in database.execute(f'select id, doc from {where} order by id')]

    def close(self):
        self.machine.forget(f'store{self.number}')


class OnMongoDB:
    """One store: a database that is written anew each time, since there is nothing to copy."""

    words, kind = 'MongoDB-compatible', 'mongodb'
    taken_back_whole = 30_000  # TRANSACTION_ROWS of floor_mongodb.c

    def __init__(self, server, number):
        self.server, self.pid = server, server.pid
        self.database, self.kept = f'now{number}', {}
        self.target = server.of(self.database)

    def clear(self):
        self.server.forget(self.database)

    def keep(self, slot):
        self.kept[slot] = {name: list(self.server.client[self.database][name].find()) for name in self.server.names(self.database)}

    def fresh(self, slot):
        self.clear()
        for name, documents in self.kept[slot].items():
            self.server.write(self.database, name, documents)

    def rows(self, where=rows.TABLE):
        return self.server.rows(self.database, where)

    def close(self):
        self.clear()


# ---- a unit ----


def documents(file, store):
    """id: document, of the rows of one store."""
    fields = (line.rstrip('\n').split('\t', 4) for line in open(file))
    return {identifier: json.loads(text) for number, _, _, identifier, text in fields if int(number) == store}


class Unit:
    """One set of rows, and the stores that they go to."""

    def __init__(self, machine, stores, count):
        self.machine, self.stores = machine, stores
        self.set = rows.make(machine.data / 'rows', count, True, True)
        self.before = [documents(self.set.before, number) for number in range(2)]
        self.after = [{**self.before[number], **documents(self.set.rows, number)} for number in range(2)]
        self.targets = [store.target for store in stores]
        self.prepare('plain', self.load)

    def load(self):
        self.machine.run([self.machine.program('bench', 'floor'), self.set.before, *self.targets])

    def prepare(self, slot, load):
        """Keeps what `load` writes to the empty stores, to begin with it again and again."""
        for store in self.stores:
            store.clear()
        load()
        for store in self.stores:
            store.keep(slot)

    def servers(self):
        """Their names and processes; two stores may be on one."""
        return {store.words: store.pid for store in self.stores if store.pid}

    def fresh(self, slot='plain'):
        for store in self.stores:
            store.fresh(slot)

    def check(self, name, way, where=rows.TABLE, stores=None):
        """`where`: the table, with a condition, in SQL; or one for each store. `stores`: only these."""
        wanted = self.after if way == 'commit' else self.before
        for number, store in enumerate(self.stores):
            if stores is not None and store not in stores:
                continue
            found = store.rows(where if isinstance(where, str) else where[number])
            if dict(found) != wanted[number] or len(found) != len(wanted[number]):
                raise Failed(f'{name}, {WAYS[way]}: {store.words} does not hold what it should ({len(found)} rows, {len(wanted[number])} wanted)')

    def close(self):
        for store in self.stores:
            store.close()
        for file in (self.set.lines, self.set.rows, self.set.before):
            file.unlink()


# ---- who runs ----


class Floor:
    name = 'floor'

    def __init__(self, machine, unit):
        self.machine, self.unit = machine, unit

    def run(self, way):
        unit = self.unit
        unit.fresh()
        words = [self.machine.program('bench', 'floor'), *(['--rollback'] if way == 'abort' else []), unit.set.rows]
        clock = Clock(unit.servers())
        taken = self.machine.run([*words, *unit.targets]).json()
        shares = {CLIENT: taken['cpu_ms'], **clock.taken()}
        # Rows that don't fit into one transaction it can't take back: then only its last one is.
        whole = [store for store in unit.stores if way == 'commit' or unit.set.count // 2 <= store.taken_back_whole]
        unit.check(self.name, way, stores=whole)
        return One(taken['wall_ms'], shares)

    @staticmethod
    def most(repetitions, count):
        return repetitions

    def close(self):
        pass


class Ours:
    """The whole process of `aon apply`, in a data folder that it makes. The stores have seen it before, so that its table of markers is there,
    as those of the others are."""

    name, slot = 'Allornone', 'ours'

    def __init__(self, machine, unit):
        self.machine, self.unit = machine, unit
        unit.prepare(self.slot, self.load)

    def load(self):
        self.unit.load()
        first = self.machine.data / 'rows' / 'first.ndjson'
        with open(first, 'w') as lines:
            for operation, more in (('create', ',"data":{}'), ('delete', '')):
                for store in rows.STORES:
                    lines.write(f'{{"store":"{store}","collection":"{rows.TABLE}","id":"first","operation":"{operation}"{more}}}\n')
        self.apply(first)
        first.unlink()

    def apply(self, lines, status=0, before=(), **more):
        """before: a command that runs it."""
        folder = self.machine.fresh('ours')
        folder.chmod(0o700)
        for name, store in zip(rows.STORES, self.unit.stores):
            more[f'AON_STORES_{name.upper()}_URL'] = f'sqlite:{store.target}' if store.kind == 'sqlite' else store.target
            more[f'AON_STORES_{name.upper()}_CREATE'] = 'true'
        command = [*before, self.machine.program('aon'), 'apply', lines, '--data', folder, '--user', 'bench', '--json']
        taken = self.machine.run(command, status=status, environment=more)
        self.machine.forget('ours')
        return taken

    def run(self, way, before=()):
        unit = self.unit
        unit.fresh(self.slot)
        clock = Clock(unit.servers())
        if way == 'abort':
            taken = self.apply(unit.set.lines, 3, before, TEST_ROLLBACK_AT_OPERATION=str(unit.set.count - 1))
        else:
            taken = self.apply(unit.set.lines, 0, before)
        shares = {CLIENT: taken.cpu, **clock.taken()}
        unit.check(self.name, way)
        return One(taken.wall, shares, taken.json()['timings'])

    @staticmethod
    def most(repetitions, count):
        return repetitions

    def close(self):
        pass


# ---- mixes ----


class Mix:
    """Two stores, and who can run over them; who can't, with the reason."""

    def __init__(self, name, slug, stores, others, cannot):
        self.name, self.slug, self.stores, self.others, self.cannot = name, slug, stores, others, cannot


SCALARDB_NO_MONGODB = 'it has no adapter for MongoDB'
SEATA_NO = 'its AT mode writes its undo log by SQL into each database and knows neither SQLite nor MongoDB; TCC would be undo written by hand'
MIXES = [
    Mix('PostgreSQL and SQLite', 'sqlite', ('postgresql', 'sqlite'), (Narayana, ScalarDB), {'Seata': SEATA_NO}),
    Mix(
        'PostgreSQL and a MongoDB-compatible server',
        'mongodb',
        ('postgresql', 'mongodb'),
        (Narayana,),
        {'ScalarDB': SCALARDB_NO_MONGODB, 'Seata': SEATA_NO},
    ),
    Mix('PostgreSQL, two databases', 'twice', ('postgresql', 'postgresql'), (Narayana, ScalarDB, Seata), {}),
]


def made(machine, kinds, postgresql, mongodb):
    stores = []
    for number, kind in enumerate(kinds):
        if kind == 'sqlite':
            stores.append(OnSQLite(machine, number))
        elif kind == 'postgresql':
            stores.append(OnPostgreSQL(postgresql, number))
        else:
            stores.append(OnMongoDB(mongodb, number))
    return stores


class Measured:
    """Runs of one mix: (who, way, count) to what each repetition took."""

    def __init__(self):
        self.runs, self.left_out, self.profile = {}, {}, {}

    def add(self, who, way, count, one):
        self.runs.setdefault((who, way, count), []).append(one)

    def of(self, who, way, count):
        return self.runs.get((who, way, count), [])


def too_long(name, count, found):
    """Why it is not run with so many: by what it took with the most that it was run with."""
    longest = [(of, max(one.wall for one in runs)) for (who, _, of), runs in found.runs.items() if who == name]
    of, ms = max(longest, default=(count, 0))
    minutes = ms * count / of / 60_000
    return f'{count:,} operations would take it some {minutes:.0f} min' if minutes > MINUTES else None


def crew(machine, unit, mix, found):
    """Floor and ours, and those of the others that are there."""
    runners = [Floor(machine, unit), Ours(machine, unit)]
    for kind in mix.others:
        if kind.name in found.left_out:
            continue
        reason = kind.missing(machine) or too_long(kind.name, unit.set.count, found)
        if reason:
            found.left_out[kind.name] = reason
            continue
        try:
            runners.append(kind(machine, unit))
        except PeerFailed as why:
            found.left_out[kind.name] = f'it did not start ({why})'
    return runners


def run_unit(machine, mix, stores, count, repetitions, found, say):
    unit = Unit(machine, stores, count)
    runners = crew(machine, unit, mix, found)
    try:
        for number in range(repetitions):
            for way in WAYS:
                for runner in runners if number % 2 == 0 else runners[::-1]:
                    if runner.name in found.left_out or number >= runner.most(repetitions, count):
                        continue
                    say(f'{mix.name}: {runner.name}, {count:,} operations, {WAYS[way]}')
                    try:
                        found.add(runner.name, way, count, runner.run(way))
                    except PeerFailed as why:
                        found.left_out[runner.name] = f'it failed at {count:,} operations, {WAYS[way]}: {why}'
        if count == PROFILED or count in QUICK:
            say(f'{mix.name}: a profile of ours, {count:,} operations')
            found.profile = profile_of.taken(machine, lambda before: runners[1].run('commit', before))
    finally:
        for runner in runners:
            runner.close()
        unit.close()


def measure(machine, mix, quick, say):
    found = Measured()
    found.left_out.update(mix.cannot)
    with contextlib.ExitStack() as servers:
        postgresql = mongodb = None
        if 'postgresql' in mix.stores:
            settings = ('--prepared', '20', *(word for one in SETTINGS for word in ('--setting', one)))
            postgresql = PostgreSQL(servers.enter_context(started('postgresql', *settings)))
        if 'mongodb' in mix.stores:
            mongodb = MongoDB(servers.enter_context(started('mongodb', 'set')))
        for count, repetitions in (QUICK if quick else REPETITIONS).items():
            run_unit(machine, mix, made(machine, mix.stores, postgresql, mongodb), count, repetitions, found, say)
    return found


# ---- tables ----


def paired(one, other, clock):
    count = min(len(one), len(other))
    return ratios([getattr(a, clock) for a in one[:count]], [getattr(b, clock) for b in other[:count]])


def tables(section, mix, found):
    table = section.table(
        mix.name, ['who', 'operations', 'end', 'wall, ms', 'CPU, ms', 'wall / floor', 'CPU / floor', 'ours / it', 'of CPU', 'runs']
    )
    for (who, way, count), runs in sorted(found.runs.items(), key=lambda item: (item[0][2], item[0][1] != 'commit')):
        floor, ours = found.of('floor', way, count), found.of('Allornone', way, count)
        table.add(
            who,
            count,
            WAYS[way],
            Spread([one.wall for one in runs]).median,
            Spread([one.cpu for one in runs]).median,
            ratio(paired(runs, floor, 'wall')),
            ratio(paired(runs, floor, 'cpu')),
            ratio(paired(ours, runs, 'wall')),
            ratio(paired(ours, runs, 'cpu')),
            len(runs),
        )
    for name, reason in found.left_out.items():
        section.left_out[f'{name} over {mix.name}'] = reason


def phases(section, mix, found):
    names = ('parse', 'validate', 'plan', 'log', 'execute', 'finish')
    table = section.table(f'{mix.name}: where the time of ours goes, ms', ['end', 'operations', *names, 'outside', 'whole process'])
    for (who, way, count), runs in sorted(found.runs.items(), key=lambda item: (item[0][2], item[0][1] != 'commit')):
        if who == 'Allornone':
            medians = [Spread([one.phases[name] for one in runs]).median for name in names]
            whole = Spread([one.wall for one in runs]).median
            table.add(WAYS[way], count, *medians, whole - sum(medians), whole)


def shares(section, mix, found):
    servers = list(dict.fromkeys(name for runs in found.runs.values() for name in runs[0].shares if name != CLIENT))
    table = section.table(f'{mix.name}: whose CPU time it is, ms', ['who', 'operations', 'end', CLIENT, *servers])
    for (who, way, count), runs in sorted(found.runs.items(), key=lambda item: (item[0][2], item[0][1] != 'commit')):
        cells = [Spread([one.shares[name] for one in runs]).median if name in runs[0].shares else '' for name in (CLIENT, *servers)]
        table.add(who, count, WAYS[way], *cells)


def profiles(section, found):
    """By mix; found: mixes to what each of them found."""
    named = {mix: one.profile for mix, one in found.items() if isinstance(one.profile, dict) and one.profile}
    for mix, one in found.items():
        if isinstance(one.profile, str):
            section.left_out[f'the profile of {mix.name}'] = one.profile
    table = section.table(
        f'Where the CPU time of our own process goes, {PROFILED:,} operations committed, % (by perf; a line counts for all that it calls, so lines overlap)',
        ['what', *(mix.name for mix in named)],
    )
    for words in profile_of.WHAT:
        shares_of = [profile.get(words) for profile in named.values()]
        if any(share is not None for share in shares_of):
            table.add(words, *('' if share is None else share for share in shares_of))


def aims(section, mix, found):
    for count, wanted in AIMS.items():
        ours, floor = found.of('Allornone', 'commit', count), found.of('floor', 'commit', count)
        if not ours or not floor:
            continue
        section.aims.append(
            Aim(f'{mix.name}: {count:,} operations to the floor', wanted, paired(ours, floor, 'wall'), cpu=paired(ours, floor, 'cpu'))
        )
        for other, most in (('ScalarDB', TENTH), ('Narayana', 1.0)):
            runs = found.of(other, 'commit', count)
            if runs:
                section.aims.append(
                    Aim(f'{mix.name}: {count:,} operations to {other}', most, paired(ours, runs, 'wall'), cpu=paired(ours, runs, 'cpu'))
                )
        back = found.of('Allornone', 'abort', count)
        if back:
            section.aims.append(
                Aim(
                    f'{mix.name}: rollback to execution, {count:,} operations',
                    1.0,
                    ratios([one.phases['finish'] for one in back], [max(1, one.phases['execute']) for one in back]),
                )
            )


def bars(mix, found):
    groups = []
    for count in sorted({count for _, _, count in found.runs}):
        entries = [
            (who, Spread([one.wall for one in runs]).median, 2 if who == 'floor' else 0 if who == 'Allornone' else 1)
            for (who, way, of), runs in found.runs.items()
            if way == 'commit' and of == count
        ]
        groups.append((f'{count:,} operations, committed', entries))
    return plot.bars(f'One atomic unit over {mix.name}', 'ms', groups)


def part(machine, quick, say):
    section = Section('Stores on servers')
    measured = {}
    for mix in MIXES:
        try:
            found = measured[mix] = measure(machine, mix, quick, say)
        except Missing as why:
            section.left_out[mix.name] = str(why)
            continue
        tables(section, mix, found)
        shares(section, mix, found)
        phases(section, mix, found)
        aims(section, mix, found)
        section.plots[f'servers-{mix.slug}.svg'] = f'One atomic unit over {mix.name}', bars(mix, found)
    profiles(section, measured)
    machine.forget('jvm')
    return section
