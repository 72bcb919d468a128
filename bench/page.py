"""Tables and aims, as the terminal and the page show them."""


class Table:
    def __init__(self, title, columns, note=''):
        self.title, self.columns, self.note, self.rows = title, columns, note, []

    def add(self, *cells):
        self.rows.append([cell if isinstance(cell, str) else number(cell) for cell in cells])

    def lines(self):
        """Markdown that lines up, so that it reads well in a terminal too. Columns hold numbers but for the first."""
        widths = [max(len(row[i]) for row in [self.columns, *self.rows]) for i in range(len(self.columns))]
        rows = [self.columns, ['-' * widths[0], *('-' * (width - 1) + ':' for width in widths[1:])], *self.rows]
        for row in rows:
            yield '| ' + ' | '.join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))) + ' |'

    def text(self):
        return '\n'.join([f'**{self.title}**', '', *self.lines(), *(['', self.note] if self.note else [])])


class Aim:
    """What was promised, and what was measured. `limit` is the most that meets it."""

    def __init__(self, text, limit, measured, unit='×', spread=None):
        self.text, self.limit, self.measured, self.unit, self.spread = text, limit, measured, unit, spread

    def cells(self):
        extent = f' ({self.spread.low:.2f} to {self.spread.high:.2f})' if self.spread and self.spread.count > 1 else ''
        verdict = 'met' if self.measured <= self.limit else '**missed**'
        return self.text, f'at most {number(self.limit)} {self.unit}', f'{number(self.measured)} {self.unit}{extent}', verdict


class Section:
    """What one part of the benchmark found."""

    def __init__(self, title):
        self.title, self.tables, self.aims, self.plots = title, [], [], {}

    def table(self, *arguments, **more):
        self.tables.append(Table(*arguments, **more))
        return self.tables[-1]


def number(value):
    """Three digits that count, thousands grouped, nothing after the point that means nothing."""
    if isinstance(value, int) or abs(value) >= 100:
        return f'{value:,.0f}'
    return f'{value:.1f}' if abs(value) >= 10 else f'{value:.2f}'


def ratio(spread):
    return f'{spread.median:.2f}' + (f' ({spread.low:.2f}–{spread.high:.2f})' if spread.count > 1 else '')


def aims_table(aims):
    table = Table('Aims', ['aim', 'wanted', 'measured', 'so'])
    for aim in aims:
        table.add(*aim.cells())
    return table
