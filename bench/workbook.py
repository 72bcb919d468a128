"""The workbook for the readers: as many rows as wanted, twelve columns, every cell of a known type.

Written piece by piece as a spreadsheet program writes it: cells with references and styles, texts in the table of shared strings (or, in
the other kind, inline as most libraries write them), dates as numbers with a format. The same arguments give the same bytes for ever."""

import zipfile

COLUMNS = ('Name', 'Email', 'Role', 'City', 'Team', 'Remark', 'Salary', 'Hours', 'Rate', 'Born', 'Hired', 'Active')
FIRST = (
    'Ana',
    'Bruno',
    'Chen',
    'Dalia',
    'Emeka',
    'Farah',
    'Goran',
    'Hana',
    'Inês',
    'João',
    'Karim',
    'Léa',
    'Mila',
    'Nils',
    'Olga',
    'Priya',
)
LAST = (
    'Sousa',
    'Costa',
    'Wei',
    'Haddad',
    'Obi',
    'Nasser',
    'Petrović',
    'Ito',
    'Duarte',
    'Ribeiro',
    'Aziz',
    'Moreau',
    'Novak',
    'Berg',
    'Ivanova',
    'Rao',
)
ROLES = ('admin', 'manager', 'supervisor', 'staff')
CITIES = ('Lisbon', 'Porto', 'Dubai', 'Osaka', 'Nairobi', 'Quito', 'Aarhus', 'Perth', 'Łódź', 'São Paulo')
REMARKS = tuple(
    f'Works on {day}s, trained for {what}' for day in ('Monday', 'Tuesday', 'Friday') for what in ('audits', 'the kitchen', 'the till')
)
DATE_STYLE = 1
NAMESPACE = 'http://schemas.openxmlformats.org/spreadsheetml/2006/main'
RELATIONS = 'http://schemas.openxmlformats.org/officeDocument/2006/relationships'
HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
PARTS = {
    '[Content_Types].xml': '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    + ''.join(
        f'<Override PartName="/xl/{name}.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.{kind}+xml"/>'
        for name, kind in (
            ('workbook', 'sheet.main'),
            ('worksheets/sheet1', 'worksheet'),
            ('styles', 'styles'),
            ('sharedStrings', 'sharedStrings'),
        )
    )
    + '</Types>',
    '_rels/.rels': '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    f'<Relationship Id="rId1" Type="{RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    'xl/workbook.xml': f'<workbook xmlns="{NAMESPACE}" xmlns:r="{RELATIONS}">'
    '<sheets><sheet name="People" sheetId="1" r:id="rId1"/></sheets></workbook>',
    'xl/_rels/workbook.xml.rels': '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    + ''.join(
        f'<Relationship Id="rId{number}" Type="{RELATIONS}/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(
            (('worksheet', 'worksheets/sheet1.xml'), ('styles', 'styles.xml'), ('sharedStrings', 'sharedStrings.xml')), 1
        )
    )
    + '</Relationships>',
    'xl/styles.xml': f'<styleSheet xmlns="{NAMESPACE}"><fonts count="1"><font><sz val="11"/><name val="Calibri"/></font></fonts>'
    '<fills count="1"><fill><patternFill patternType="none"/></fill></fills><borders count="1"><border/></borders>'
    '<cellStyleXfs count="1"><xf/></cellStyleXfs><cellXfs count="2"><xf xfId="0"/>'
    '<xf numFmtId="14" xfId="0" applyNumberFormat="1"/></cellXfs></styleSheet>',
}


def person(number):
    """Texts, numbers, dates as days since the epoch of workbooks, and a boolean of one row."""
    first, last = FIRST[number % len(FIRST)], LAST[number // len(FIRST) % len(LAST)]
    texts = (
        f'{first} {last} {number}',
        f'{first.lower()}.{number}@example.com',
        ROLES[number % len(ROLES)],
        CITIES[number * 7 % len(CITIES)],
        f'Team {number * 11 % 240}',
        REMARKS[number * 5 % len(REMARKS)],
    )
    return (
        texts,
        (24000 + number * 37 % 60000, number % 40, (number * 13 % 10000) / 100),
        (20000 + number % 18000, 40000 + number % 6000),
        number % 2,
    )


class Strings:
    """The shared strings, numbered in the order of their first use."""

    def __init__(self):
        self.numbers, self.used = {}, 0

    def cell(self, reference, text):
        self.used += 1
        return f'<c r="{reference}" t="s"><v>{self.numbers.setdefault(text, len(self.numbers))}</v></c>'


def inline(reference, text):
    return f'<c r="{reference}" t="inlineStr"><is><t>{text}</t></is></c>'


def sheet_rows(count, text_cell):
    """XML of the heading and of each row; no text holds anything that XML would want escaped."""
    yield '<row r="1">' + ''.join(text_cell(f'{chr(65 + i)}1', heading) for i, heading in enumerate(COLUMNS)) + '</row>'
    for number in range(count):
        at = number + 2
        texts, numbers, days, active = person(number)
        yield (
            f'<row r="{at}">{"".join(text_cell(f"{chr(65 + i)}{at}", text) for i, text in enumerate(texts))}'
            f'<c r="G{at}"><v>{numbers[0]}</v></c><c r="H{at}"><v>{numbers[1]}</v></c><c r="I{at}"><v>{numbers[2]}</v></c>'
            f'<c r="J{at}" s="{DATE_STYLE}"><v>{days[0]}</v></c><c r="K{at}" s="{DATE_STYLE}"><v>{days[1]}</v></c>'
            f'<c r="L{at}" t="b"><v>{active}</v></c></row>'
        )


def expected(count):
    """What every reader must have seen."""
    people = [person(number) for number in range(count)]
    texts = list(COLUMNS) + [text for texts, *_ in people for text in texts]
    return {
        'cells': 12 * (count + 1),
        'numbers': 3 * count,
        'sum': sum(sum(numbers) for _, numbers, *_ in people),
        'texts': len(texts),
        'letters': sum(map(len, texts)),
        'dates': 2 * count,
        'booleans': count,
    }


def write(path, count, shared):
    """Writes the workbook and returns the number of bytes of XML in it."""
    strings, sizes = Strings(), 0

    def part(package, name, pieces):
        nonlocal sizes
        info = zipfile.ZipInfo(name, (2027, 1, 4, 0, 0, 0))
        info.compress_type = zipfile.ZIP_DEFLATED
        with package.open(info, 'w') as out:
            for piece in pieces:
                data = piece.encode()
                sizes += len(data)
                out.write(data)

    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as package:
        for name, text in PARTS.items():
            part(package, name, [HEAD, text])
        part(
            package,
            'xl/worksheets/sheet1.xml',
            [
                HEAD,
                f'<worksheet xmlns="{NAMESPACE}"><dimension ref="A1:L{count + 1}"/><sheetData>',
                *sheet_rows(count, strings.cell if shared else inline),
                '</sheetData></worksheet>',
            ],
        )
        part(
            package,
            'xl/sharedStrings.xml',
            [
                HEAD,
                f'<sst xmlns="{NAMESPACE}" count="{strings.used}" uniqueCount="{len(strings.numbers)}">',
                *(f'<si><t>{text}</t></si>' for text in strings.numbers),
                '</sst>',
            ],
        )
    return sizes
