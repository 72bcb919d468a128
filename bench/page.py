"""Tables and aims, as the terminal and the page show them."""

import json
import os
import platform
import re
import xml.dom.minidom
from datetime import date

from timing import Spread


AIMS = ['aim', 'wanted', 'measured', 'in CPU time', 'so']


class Table:
    def __init__(self, title, columns):
        self.title, self.columns, self.rows = title, columns, []

    def add(self, *cells):
        self.rows.append([cell if isinstance(cell, str) else number(cell) for cell in cells])

    def lines(self):
        """Markdown that lines up, so that it reads well in a terminal too. Columns hold numbers but for the first."""
        widths = [max(len(row[i]) for row in [self.columns, *self.rows]) for i in range(len(self.columns))]
        rows = [self.columns, ['-' * widths[0], *('-' * (width - 1) + ':' for width in widths[1:])], *self.rows]
        for row in rows:
            yield '| ' + ' | '.join(
                cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))
            ) + ' |'

    def body(self):
        return '\n'.join(self.lines())

    def text(self):
        return f'**{self.title}**\n\n{self.body()}'


class Aim:
    """What was promised, and what was measured: a Spread, of whose median the verdict speaks, or a number. `limit` is the most that
    meets it; `cpu` is the same ratio in CPU time, for the reader to compare."""

    def __init__(self, text, limit, measured, unit='×', cpu=None):
        self.text, self.limit, self.unit, self.cpu = text, limit, unit, cpu
        self.measured = measured.median if isinstance(measured, Spread) else measured
        self.shown = ratio(measured) if isinstance(measured, Spread) else number(measured)

    def cells(self):
        cpu = ratio(self.cpu) if isinstance(self.cpu, Spread) else number(self.cpu) if self.cpu else ''
        verdict = 'met' if self.measured <= self.limit else '**missed**'
        return self.text, f'at most {number(self.limit)} {self.unit}', f'{self.shown} {self.unit}', cpu, verdict


class Section:
    """What one part of the benchmark found. Plots: file name to (what it shows, SVG). Left out: programs of others by name, each with the
    reason why it was not measured."""

    def __init__(self, title):
        self.title, self.tables, self.aims, self.plots, self.left_out = title, [], [], {}, {}

    def text(self):
        """As the page has it; what was not measured is said."""
        pieces = [f'![{words}]({name})' for name, (words, _) in self.plots.items()] + [table.text() for table in self.tables if table.rows]
        return '\n\n'.join([*pieces, *self.reasons()])

    def reasons(self):
        return [f'*Not measured: {name}, because {reason}.*' for name, reason in self.left_out.items()]

    def table(self, title, columns):
        self.tables.append(Table(title, columns))
        return self.tables[-1]


def number(value):
    """Three digits that count, thousands grouped, nothing after the point that means nothing."""
    if isinstance(value, int) or abs(value) >= 100:
        return f'{value:,.0f}'
    return f'{value:.1f}' if abs(value) >= 10 else f'{value:.2f}'


def ratio(spread):
    return f'{spread.median:.2f}' + (f' ({spread.low:.2f}–{spread.high:.2f})' if spread.count > 1 else '')


def aims_table(aims):
    table = Table('Aims', AIMS)
    for aim in aims:
        table.add(*aim.cells())
    return table


def machine_words(load_before, load_after, versions):
    """The machine without its name: what a reader needs to weigh the figures."""
    info = dict(line.split(':', 1) for line in open('/proc/cpuinfo').read().replace('\t', '').split('\n\n')[0].splitlines() if ':' in line)
    memory = int(next(line for line in open('/proc/meminfo') if line.startswith('MemTotal')).split()[1]) / 1024 / 1024
    processor = info.get('model name', 'unknown processor').strip()
    return (
        f'Measured on {date.today().isoformat()}: {os.cpu_count()} cores ({processor}), {memory:.0f} GiB of memory, '
        f'Linux {platform.release().split("-")[0]}, {versions}. '
        f'Load before and after (of the last minute, this run included): {load_before:.1f} and {load_after:.1f}.'
    )


KEPT = 'measured.json'


def kept(folder, sections, machine):
    """What is known of each part: as it was found now, or else by an earlier run of which the page tells. Kept beside the page."""
    file = folder / KEPT
    known = json.loads(file.read_text()) if file.exists() else {}
    for name, section in sections.items():
        known[name] = {'machine': machine, 'aims': [aim.cells() for aim in section.aims], 'text': section.text()}
    file.write_text(json.dumps(known, ensure_ascii=False, indent=1) + '\n')
    return known


def machines(known):
    """One run after another, each with the parts that it has measured, unless it was one run."""
    runs = {}
    for name, part in known.items():
        runs.setdefault(part['machine'], []).append(name)
    if len(runs) == 1:
        return next(iter(runs))
    return '\n\n'.join(f'{words} (Parts of `bench/run`: {", ".join(names)}.)' for words, names in runs.items())


def write(template, folder, parts, sections, machine):
    """README.md from its template, and the plots beside it. Parts that were not measured stay as they were."""
    head, text = template.read_text().split('\n', 1)
    known = kept(folder, sections, machine)
    known = {name: known[name] for name in parts if name in known}
    aims = Table('Aims', AIMS)
    for part in known.values():
        for cells in part['aims']:
            aims.add(*cells)
    filled = {
        'profile': (template.parent / 'profile.md').read_text().strip(),
        'aims': aims.body(),
        'machine': machines(known),
        **{name: part['text'] for name, part in known.items()},
    }
    for name in re.findall(r'^@(\w+)@$', text, flags=re.M):
        filled.setdefault(name, '*Not measured yet.*')
    (folder / 'README.md').write_text(head + '\n' + re.sub(r'^@(\w+)@$', lambda found: filled[found[1]], text, flags=re.M))
    for section in sections.values():
        for name, (_, plot) in section.plots.items():
            xml.dom.minidom.parseString(plot)  # a page must be able to show it
            (folder / name).write_text(plot)
