"""Python's readers of workbooks, as a program: readers.py openpyxl|python-calamine WORKBOOK. Prints what it saw, as read_sheet does."""

import datetime
import json
import sys


def rows_of_openpyxl(path):
    import openpyxl

    return openpyxl.load_workbook(path, read_only=True).worksheets[0].iter_rows(values_only=True)


def rows_of_python_calamine(path):
    import python_calamine

    return python_calamine.CalamineWorkbook.from_path(path).get_sheet_by_index(0).iter_rows()


def look(rows):
    texts = letters = numbers = dates = booleans = 0
    total = 0.0
    for row in rows:
        for value in row:
            kind = type(value)
            if kind is str:
                texts += 1
                letters += len(value)
            elif kind is bool:
                booleans += 1
            elif kind is int or kind is float:
                numbers += 1
                total += value
            elif isinstance(value, datetime.date):
                dates += 1
    return {
        'cells': texts + numbers + dates + booleans,
        'numbers': numbers,
        'sum': total,
        'texts': texts,
        'letters': letters,
        'dates': dates,
        'booleans': booleans,
    }


if __name__ == '__main__':
    reader = {'openpyxl': rows_of_openpyxl, 'python-calamine': rows_of_python_calamine}[sys.argv[1]]
    print(json.dumps(look(reader(sys.argv[2]))))
