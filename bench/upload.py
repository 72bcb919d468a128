"""One upload: a workbook of some 500 operations through the workforce pack, from the file to committed, beside the floor of its rows.

It goes into stores that hold a small company already, as most uploads do, and once more into an empty folder, where stores and journal
have to be made first. The floor writes the rows that the upload wrote, in its order, to copies of the same files."""

import contextlib
import json
import sqlite3

from imports import PHASES
from page import Aim, Section, ratio
from timing import Failed, Spread, copy_durably, ratios, syncs

STORES = ('main', 'realtime', 'settings', 'identity')
PEOPLE, QUICK_PEOPLE = 123, 4  # four operations each, and what the departments keep of them
REPETITIONS = 11


def documents(folder):
    """(store, table, id): document, of all stores."""
    found = {}
    for store in STORES:
        file = folder / f'{store}.db'
        if not file.exists():
            continue
        with contextlib.closing(sqlite3.connect(f'file:{file}?mode=ro', uri=True)) as database:
            for (table,) in database.execute("select name from sqlite_master where type='table' and not name glob 'aon_*'").fetchall():
                found.update({(store, table, identifier): text for identifier, text in database.execute(f'select id, doc from "{table}"')})
    return found


class Upload:
    """One workbook into copies of one folder."""

    def __init__(self, machine, name, workbook, before):
        self.machine, self.name, self.workbook, self.before = machine, name, workbook, before
        self.rows = machine.data / 'rows' / 'upload.rows'
        self.rows.parent.mkdir(parents=True, exist_ok=True)
        self.floor, self.ours, self.phases = [], [], []

    def folder(self, name):
        folder = self.machine.fresh(name)
        folder.chmod(0o700)
        for file in sorted(self.before.iterdir()) if self.before else []:
            copy_durably(file, folder / file.name)
            (folder / file.name).chmod(0o600)
        return folder

    def run(self, folder, **more):
        command = [
            self.machine.program('aon'),
            'import',
            self.workbook,
            '--pack',
            self.machine.here.parent / 'packs' / 'workforce.lua',
            '--org',
            'org1',
            '--data',
            folder,
            '--user',
            'bench',
            '--json',
        ]
        return self.machine.run(command, **more)

    def rows_of_people(self):
        """Rows below the headings of all sheets."""
        lines = self.machine.run([self.machine.program('aon'), 'sheet', self.workbook, '--json']).output.splitlines()
        return sum(row['row'] > 1 and bool(row['cells']) for row in map(json.loads, lines))

    def take_rows(self):
        """What one upload writes becomes the rows of the floor; its calls of fsync and of Lua are counted on the way."""
        before = documents(self.folder('upload'))  # another copy: reading leaves a log file beside a store, which saves a call
        folder = self.folder('upload')
        taken = self.run(folder, count_calls=True)
        self.calls, self.operations = taken.calls, taken.json()['operations']
        self.rows_read, self.after = self.rows_of_people(), documents(folder)
        log = self.machine.run([self.machine.program('aon'), 'log', taken.json()['bulkOperationId'], '--data', folder, '--json'])
        with open(self.rows, 'w') as rows:
            for entry in map(json.loads, log.output.splitlines()):
                at = entry['dataSource'], entry['collectionName'], entry['documentId']
                if at not in self.after:
                    raise Failed(f'the upload wrote {at}, which is not there')
                rows.write('\t'.join((str(STORES.index(at[0])), 'u' if at in before else 'i', at[1], at[2], self.after[at])) + '\n')
                before[at] = self.after[at]

    def repeat(self, number):
        for which in ('floor', 'ours') if number % 2 == 0 else ('ours', 'floor'):
            folder = self.folder('upload')
            if which == 'ours':
                taken = self.run(folder)
                self.ours.append(taken)
                self.phases.append(taken.json()['timings'])
            else:
                floor = self.machine.program('bench', 'floor')
                self.floor.append(self.machine.run([floor, self.rows, *(folder / f'{store}.db' for store in STORES)]).json())
                if documents(folder) != self.after:
                    raise Failed('the upload and its floor left other rows')


def part(machine, quick, say):
    section = Section('An upload of 500 operations')
    people = QUICK_PEOPLE if quick else PEOPLE
    repetitions = 1 if quick else REPETITIONS
    say(f'an upload of {people} people, {repetitions} times')
    folder = machine.fresh('books')
    company, colleagues = folder / 'company.xlsx', folder / 'colleagues.xlsx'
    machine.run([machine.program('tools', 'make-sample'), company])
    machine.run([machine.program('tools', 'make-sample'), '--people', people, colleagues])
    before = machine.fresh('company')
    Upload(machine, '', company, None).run(before)
    uploads = [
        Upload(machine, 'into stores that hold a company', colleagues, before),
        Upload(machine, 'the company, into an empty folder', company, None),
    ]
    table = section.table(
        'From the file to committed (four stores)',
        ['upload', 'operations', 'floor, ms', 'upload, ms', 'upload / floor', 'of CPU time', 'fsync', 'fdatasync', 'Lua calls a row', 'peak, MiB'],
    )
    phases = section.table('Where its time goes, ms', ['upload', *PHASES, 'outside', 'whole process'])
    for upload in uploads:
        upload.take_rows()
        for number in range(repetitions):
            upload.repeat(number)
        wall = ratios([taken.wall for taken in upload.ours], [taken['wall_ms'] for taken in upload.floor])
        cpu = ratios([taken.cpu for taken in upload.ours], [taken['cpu_ms'] for taken in upload.floor])
        whole = Spread([taken.wall for taken in upload.ours]).median
        table.add(
            upload.name,
            upload.operations,
            Spread([taken['wall_ms'] for taken in upload.floor]).median,
            whole,
            ratio(wall),
            ratio(cpu),
            upload.calls['fsync'],
            upload.calls['fdatasync'],
            upload.calls['lua'] / upload.rows_read,
            max(taken.peak_kib for taken in upload.ours) / 1024,
        )
        medians = [Spread([one[phase] for one in upload.phases]).median for phase in PHASES]
        phases.add(upload.name, *medians, whole - sum(medians), whole)
        if upload.before:
            section.aims.append(Aim(f'upload of {upload.operations} operations to the floor of its rows', 8, wall, cpu=cpu))
            section.aims.append(
                Aim(
                    f'its calls of fsync and fdatasync ({whole:.0f} ms from the file to committed)', 16, syncs(upload.calls), 'calls'
                )
            )
    for name in ('upload', 'books', 'company'):
        machine.forget(name)
    return section
