#!/usr/bin/python3
"""Memory stays bounded, however long the input: a million operations by `apply`, and a sheet of as many rows as Excel can hold, within 128 MiB each.

The peak is measured on a plain build: AON_PLAIN_BIN, or AON_BIN where it has no sanitizers. AON_FULL=1 takes all of it, else a tenth; the bound is
the same: what would grow with the rows shows as a difference between a tenth and a hundredth.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile

import program as p
from program import Data, Skip, check, result_shape, same

LIMIT_KIB = 128 * 1024
OPERATIONS = 1_000_000 if p.FULL else 100_000
ROWS = 1_048_576 if p.FULL else 104_857


def plain_binary():
    for path in (os.environ.get('AON_PLAIN_BIN'), p.BINARY):
        if path and os.path.exists(path):
            libraries = subprocess.run(['ldd', path], capture_output=True, text=True, check=False).stdout
            if 'libasan' not in libraries:
                return os.path.abspath(path)
    raise Skip('a build with sanitizers needs more memory: AON_PLAIN_BIN names none without')


def measured(args, given=None):
    """Runs the plain program; its exit status, what it printed, and its peak memory in KiB."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen([plain_binary(), *map(str, args)], env=p.environment(None), stdin=subprocess.PIPE if given else subprocess.DEVNULL,
                                   stdout=out, stderr=err)
        if given:
            with contextless(process.stdin) as pipe:
                given(pipe)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        return p.Ran(process.args, process.returncode, out.read().decode(), err.read().decode()), usage.ru_maxrss


class contextless:
    """The pipe, closed in the end also if the program stopped to read."""

    def __init__(self, pipe):
        self.pipe = pipe

    def __enter__(self):
        return self.pipe

    def __exit__(self, kind, value, trace):
        try:
            self.pipe.close()
        except BrokenPipeError:
            pass
        return kind is BrokenPipeError


def within(peak, what):
    check(peak <= LIMIT_KIB, f'{what}: {peak} KiB at the peak, {LIMIT_KIB} KiB are allowed')
    return f'{what}: {peak // 1024} MiB at the peak'


def many_operations(folder):
    plain_binary()

    def write(pipe):
        text = io.StringIO()
        for n in range(OPERATIONS):
            text.write(json.dumps({'store': ('main', 'settings')[n % 2], 'collection': 'things', 'id': f'thing-{n:08}', 'operation': 'create',
                                   'data': {'name': f'Thing {n}', 'number': n, 'tags': ['a', 'b'], 'place': {'x': n / 7, 'y': -n}}}) + '\n')
            if text.tell() > 1 << 20:
                pipe.write(text.getvalue().encode())
                text = io.StringIO()
        pipe.write(text.getvalue().encode())

    data = Data(folder / 'd')
    ran, peak = measured(['apply', '-', '--json', '--data', data.folder], write)
    result = result_shape(ran.exits(0).json)
    same((result['state'], result['operations']), ('committed', OPERATIONS))
    same([data.sql('select count(*) from things', store=store) for store in ('main', 'settings')], [[(OPERATIONS // 2,)]] * 2)
    said = [within(peak, f'{OPERATIONS} operations')]
    ran, peak = measured(['undo', result['bulkOperationId'], '--json', '--data', data.folder])
    ran.exits(0)
    same([data.sql('select count(*) from things', store=store) for store in ('main', 'settings')], [[(0,)]] * 2)
    said.append(within(peak, 'their undo'))
    return ', '.join(said)


SHEET_HEAD = ('<?xml version="1.0" encoding="UTF-8"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
              '<row r="1"><c r="A1" t="inlineStr"><is><t>{}</t></is></c><c r="B1" t="inlineStr"><is><t>{}</t></is></c><c r="C1" t="inlineStr"><is><t>{}</t></is></c></row>')


def big_book(path, sheet, headings, row):
    """A workbook of one sheet with ROWS rows, written piece by piece."""
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as book:
        book.writestr('[Content_Types].xml', '<?xml version="1.0" encoding="UTF-8"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
                      '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" '
                      'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/><Override PartName="/xl/worksheets/sheet1.xml" '
                      'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>')
        relation = 'http://schemas.openxmlformats.org/officeDocument/2006/relationships'
        package = '<?xml version="1.0" encoding="UTF-8"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{}</Relationships>'
        book.writestr('_rels/.rels', package.format(f'<Relationship Id="r1" Type="{relation}/officeDocument" Target="xl/workbook.xml"/>'))
        book.writestr('xl/_rels/workbook.xml.rels', package.format(f'<Relationship Id="r1" Type="{relation}/worksheet" Target="worksheets/sheet1.xml"/>'))
        book.writestr('xl/workbook.xml', '<?xml version="1.0" encoding="UTF-8"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
                      f'xmlns:r="{relation}"><sheets><sheet name="{sheet}" sheetId="1" r:id="r1"/></sheets></workbook>')
        with book.open('xl/worksheets/sheet1.xml', 'w', force_zip64=True) as part:
            part.write(SHEET_HEAD.format(*headings).encode())
            lines = []
            for n in range(2, ROWS + 1):
                cells = ''.join(f'<c r="{column}{n}" t="inlineStr"><is><t>{value}</t></is></c>' for column, value in zip('ABC', row(n)) if value)
                lines.append(f'<row r="{n}">{cells}</row>')
                if len(lines) == 5000 or n == ROWS:
                    part.write(''.join(lines).encode())
                    lines = []
            part.write(b'</sheetData></worksheet>')
    return path


def sheet_of_excels_own_limit(folder):
    plain_binary()
    book = big_book(folder / 'b.xlsx', 'Products', ('Product ID', 'Name', 'Category'), lambda n: (f'p{n:07}', f'Product {n}', 'dry' if n % 3 else ''))
    data = Data(folder / 'd')
    ran, peak = measured(['import', book, '--pack', 'workforce', '--org', 'org1', '--json', '--data', data.folder])
    result = result_shape(ran.exits(0).json)
    same((result['state'], result['operations']), ('committed', ROWS - 1))
    same(data.sql('select count(*) from products'), [(ROWS - 1,)])
    return within(peak, f'{ROWS} rows')


def sheet_that_is_wrong_everywhere(folder):
    plain_binary()
    book = big_book(folder / 'b.xlsx', 'Departments', ('Name', 'Email', 'Status'), lambda n: (f'Department {n % (ROWS // 2)}', 'nobody', 'asleep'))
    data = Data(folder / 'd')
    ran, peak = measured(['import', book, '--pack', 'workforce', '--org', 'org1', '--json', '--data', data.folder])
    result = result_shape(ran.exits(2).json)
    check(result['errorCount'] >= 2 * (ROWS - 1) and len(result['errors']) < result['errorCount'], result['errorCount'], len(result['errors']))
    return within(peak, f'{ROWS} rows, {result["errorCount"]} errors')


def reading_alone(folder):
    plain_binary()
    book = big_book(folder / 'b.xlsx', 'S', ('A', 'B', 'C'), lambda n: (f'a{n}', f'b{n}', ''))
    with open('/dev/null', 'wb') as nowhere:
        process = subprocess.Popen([plain_binary(), 'sheet', str(book), '--json'], env=p.environment(None), stdout=nowhere)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    same(process.returncode, 0)
    return within(usage.ru_maxrss, f'{ROWS} rows')


CASES = [many_operations, sheet_of_excels_own_limit, sheet_that_is_wrong_everywhere, reading_alone]

if __name__ == '__main__':
    sys.exit(p.run_cases('memory', CASES, sys.argv[1:]))
