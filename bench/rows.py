"""Rows for the imports: the same ones as NDJSON for `aon apply`, as a table for the floor, and as what was there before.

Rows alternate between two stores. Of a mixed unit every second pair of rows updates documents that are there, the others are inserts.
Random ids are UUIDs, which is what `aon apply` gives where a line names none, and as scattered in an index as the hashed ids of a pack. The same
arguments give the same rows for ever."""

import json
import random

STORES = ('main', 'realtime')
TABLE = 'items'
CITIES = ('Lisbon', 'Porto', 'Dubai', 'Osaka', 'Nairobi', 'Quito', 'Aarhus', 'Perth')
NOTE = 'Deliver to the back door before eight, ask for the shift lead.'


class RowSet:
    """Files of one unit: lines (NDJSON), rows (for the floor) and, in a mixed unit, before (rows that are there already)."""

    def __init__(self, folder, count, mixed, random_ids):
        self.count, self.mixed, self.random_ids = count, mixed, random_ids
        self.name = f'{"mixed" if mixed else "creates"}-{"random" if random_ids else "sequential"}-{count}'
        self.lines, self.rows, self.before = (folder / f'{self.name}.{kind}' for kind in ('ndjson', 'rows', 'before'))


def identifiers(count, random_ids):
    if not random_ids:
        return [f'item-{number:012d}' for number in range(count)]
    source = random.Random(count)
    return [
        f'{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}'
        for text in (f'{source.getrandbits(128):032x}' for _ in range(count))
    ]


def document(number, count, note):
    return (
        f'{{"name":"Item {number}","code":"C{number * 7919 % 1000003:07d}","city":"{CITIES[number % len(CITIES)]}","count":{count},'
        f'"active":{"true" if number % 3 else "false"},"note":"{note}"}}'
    )


def make(folder, count, mixed, random_ids):
    """Writes the files of one unit, unless they are there."""
    made = RowSet(folder, count, mixed, random_ids)
    if made.lines.exists():
        return made
    folder.mkdir(parents=True, exist_ok=True)
    ids = identifiers(count, random_ids)
    if mixed:  # the first half of the ids is there already; rows of both kinds take turns
        there, new = iter(ids[: count // 2]), iter(ids[count // 2 :])
        ids = [next(there if number // 2 % 2 else new) for number in range(count)]
    unfinished = made.lines.with_suffix('.unfinished')
    with open(unfinished, 'w') as lines, open(made.rows, 'w') as rows, open(made.before, 'w') as before:
        for number, identifier in enumerate(ids):
            store = number % 2
            head = f'{{"store":"{STORES[store]}","collection":"{TABLE}","id":"{identifier}"'
            if mixed and number // 2 % 2:
                before.write(f'{store}\ti\t{TABLE}\t{identifier}\t{document(number, 0, "Nothing yet.")}\n')
                rows.write(f'{store}\tu\t{TABLE}\t{identifier}\t{document(number, number, NOTE)}\n')
                lines.write(f'{head},"operation":"update","data":{{"count":{number},"note":{json.dumps(NOTE)}}}}}\n')
            else:
                rows.write(f'{store}\ti\t{TABLE}\t{identifier}\t{document(number, number, NOTE)}\n')
                lines.write(f'{head},"operation":"create","data":{document(number, number, NOTE)}}}\n')
    unfinished.rename(made.lines)
    return made
