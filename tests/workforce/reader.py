"""Reads a workbook (.xlsx, .xlsm, a folder or a zip of .csv) into plain sheets for the oracle.

A sheet is (name, hidden, rows); rows is {row number: {column number: (type, value)}}, both from 1. Types: s text, n number, b boolean,
e error, d date with or without a time, t time of day. Cells without content are not listed. Shares no code with the program under test.
"""

import csv
import datetime
import io
import pathlib
import zipfile

import openpyxl


def typed(cell):
    value = cell.value
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if cell.data_type == 'e':
        return ('e', value)
    if isinstance(value, bool):
        return ('b', value)
    if isinstance(value, datetime.datetime):
        return ('d', value)
    if isinstance(value, datetime.date):
        return ('d', datetime.datetime(value.year, value.month, value.day))
    if isinstance(value, datetime.time):
        return ('t', value)
    if isinstance(value, datetime.timedelta):
        return ('dur', value)
    if isinstance(value, (int, float)):
        return ('n', value)
    return ('s', value)


def xlsx_sheets(path):
    book = openpyxl.load_workbook(path, data_only=True)
    sheets = []
    for sheet in book.worksheets:
        rows = {}
        for row in sheet.iter_rows():
            cells = {cell.column: typed(cell) for cell in row}
            cells = {column: cell for column, cell in cells.items() if cell}
            if cells:
                rows[row[0].row] = cells
        sheets.append((sheet.title, sheet.sheet_state != 'visible', rows))
    return sheets


def csv_rows(data):
    text = data.decode('utf-8-sig')
    first = text.split('\n', 1)[0]
    delimiter = max(',;\t', key=first.count)
    rows = {}
    for number, fields in enumerate(csv.reader(io.StringIO(text, newline=''), delimiter=delimiter), 1):
        cells = {column: ('s', field) for column, field in enumerate(fields, 1) if field.strip()}
        if cells:
            rows[number] = cells
    return rows


def read(path):
    path = pathlib.Path(path)
    if path.is_dir():
        return [(file.stem, False, csv_rows(file.read_bytes())) for file in sorted(path.iterdir()) if file.suffix.lower() == '.csv']
    if path.suffix.lower() == '.zip':
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith('.csv')]
            return [(pathlib.PurePosixPath(name).stem, False, csv_rows(archive.read(name))) for name in names]
    return xlsx_sheets(path)
