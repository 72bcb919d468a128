#!/usr/bin/env python3
"""Marks cells in workbooks and looks at the reports with openpyxl: what was there stays, what is faulty is red and commented, a report
of a report is a report of the upload.

check_marks.py REPORT_TOOL SOURCE_ROOT [--all | NAME ...]    (without: a sample that is done within a minute; names: only these files)
"""
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
import zlib

try:
    import openpyxl
    from openpyxl.cell.cell import MergedCell
    from openpyxl.utils import get_column_letter
except ImportError:
    print("skipped: report marks: python3-openpyxl isn't installed")
    sys.exit(77)

warnings.simplefilter("ignore")
SHEET = "Allornone errors"
RED = "FFFF4B4A"
SIGN = "[Allornone] "
LARGEST, SMALL = 400_000, 30_000
ALWAYS = ["comment", "no-styles", "prefix", "strict", "vba_comments", "mistakes"]


def open_book(path):
    """None where openpyxl itself can't read the file."""
    try:
        return openpyxl.load_workbook(path, keep_links=False)
    except Exception:  # noqa: BLE001 - whatever it stumbles over
        return None


def cells(sheet):
    return {(c.row, c.column): c for row in sheet.iter_rows() for c in row} if sheet.max_row * sheet.max_column < 2_000_000 else \
        {key: c for key, c in sheet._cells.items()}


def is_red(cell):
    return cell.fill.fill_type == "solid" and cell.fill.fgColor.rgb == RED


def value(cell):
    """Formulas of arrays and tables are objects."""
    return repr(vars(cell.value)) if hasattr(cell.value, "__dict__") else repr(cell.value)


def look(cell, plain=False):
    """All of a cell's format but its fill."""
    if plain:
        return cell.number_format
    return (repr(cell.font), repr(cell.border), repr(cell.alignment), cell.number_format, repr(cell.protection))


def choose(sheet):
    """Cells to mark: the first, one in the middle and the last that are there, two commented ones, and two that aren't there."""
    there = sorted(key for key, cell in sheet._cells.items() if not isinstance(cell, MergedCell))
    chosen = {there[0], there[len(there) // 2], there[-1]} if there else set()
    chosen |= set([key for key in there if sheet._cells[key].comment][:2])
    bottom, right = min(sheet.max_row, 1_000_000), min(sheet.max_column, 16_000)
    chosen |= {(bottom + 3, 2), (max(1, bottom // 2), right + 2)}
    covered = set(key for key, cell in sheet._cells.items() if isinstance(cell, MergedCell)) # a merged range shows its first cell only
    return sorted(chosen - covered)


def write_problems(path, chosen):
    with open(path, "w", encoding="utf-8") as out:
        for name, keys in chosen.items():
            for row, column in keys:
                place = f"{name}!{get_column_letter(column)}{row}"
                out.write("\t".join(["E", name, str(row), str(column), "Heading", "as <shown> & \"so\"", "bad_format",
                                     f"{place}: this isn't right."]) + "\n")


def run(tool, source, target, problems):
    done = subprocess.run([tool, source, target, problems], capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"report_tool ended with {done.returncode}: {done.stdout}{done.stderr[-2000:]}")


def same_values(before, after):
    uploaded = [s for s in before.worksheets if s.title != SHEET]
    assert [s.title for s in after.worksheets[1:]] == [s.title for s in uploaded], "sheets differ"
    assert after.sheetnames[0] == SHEET and after.sheetnames.count(SHEET) == 1, f"sheets: {after.sheetnames}"
    for old in uploaded:
        new = after[old.title]
        was = {k: value(c) for k, c in old._cells.items() if c.value is not None}
        now = {k: value(c) for k, c in new._cells.items() if c.value is not None}
        assert was == now, f"values of {old.title} differ: {sorted(set(was.items()) ^ set(now.items()))[:4]}"
        assert old.merged_cells.ranges == new.merged_cells.ranges, f"merged cells of {old.title} differ"
        assert old.sheet_state == new.sheet_state, old.title
        assert {k: d.width for k, d in old.column_dimensions.items()} == {k: d.width for k, d in new.column_dimensions.items()}


def check_sheet(old, new, keys, plain):
    marked = set(keys)
    for key in marked:
        cell = new._cells.get(key)
        assert cell is not None and is_red(cell), f"{old.title} {key} isn't red"
        assert cell.comment, f"{old.title} {key} has no comment"
        was = old._cells.get(key)
        place = f"{old.title}!{cell.coordinate}: this isn't right."
        if was is not None and was.comment:
            assert cell.comment.text == was.comment.text + "\n" + SIGN + place, f"comment of {key}: {cell.comment.text!r}"
            assert cell.comment.author == was.comment.author, f"{cell.comment.author!r} was {was.comment.author!r}"
        else:
            assert cell.comment.text == SIGN + place and cell.comment.author == "Allornone", f"comment of {key}: {cell.comment.text!r}"
        if was is not None:
            assert look(was, plain) == look(cell, plain), f"format of {old.title} {key} changed"
    for key, was in old._cells.items():
        if key in marked:
            continue
        cell = new._cells.get(key)
        assert cell is not None, f"{old.title} {key} is gone"
        assert look(was, plain) == look(cell, plain) and repr(was.fill) == repr(cell.fill), f"format of {old.title} {key} changed"
        assert (was.comment and was.comment.text) == (cell.comment and cell.comment.text), f"comment of {old.title} {key} changed"
        assert (was.hyperlink and was.hyperlink.ref) == (cell.hyperlink and cell.hyperlink.ref)
    extra = [k for k, c in new._cells.items() if k not in marked and k not in old._cells and (c.comment or is_red(c))]
    assert not extra, f"marks on {extra[:5]} of {old.title}"


def check_list(book, chosen):
    sheet = book.worksheets[0]
    total = sum(len(keys) for keys in chosen.values())
    assert sheet["A1"].value == (f"{total} cells need correction. Nothing was changed." if total > 1 else
                                 "1 cell needs correction. Nothing was changed." if total else "No cell needs correction."), sheet["A1"].value
    assert [c.value for c in sheet[4]] == ["Sheet", "Cell", "Heading", "Value", "Code", "What to do"]
    assert sheet["A4"].font.b and sheet.freeze_panes == "A5"
    row = 5
    for name, keys in chosen.items():
        for key in keys:
            place = f"{get_column_letter(key[1])}{key[0]}"
            assert (sheet.cell(row, 1).value, sheet.cell(row, 2).value) == (name, place), sheet.cell(row, 2).value
            quoted = name.replace("'", "''")
            assert sheet.cell(row, 2).hyperlink.location == f"'{quoted}'!{place}", sheet.cell(row, 2).hyperlink.location
            assert sheet.cell(row, 4).value == "as <shown> & \"so\""
            row += 1
    assert sheet.cell(row, 1).value is None
    if total:
        assert sheet.auto_filter.ref == f"A4:F{row - 1}"


def check_names(before, after):
    for old in before.worksheets:
        assert {n: d.attr_text for n, d in names(old)} == {n: d.attr_text for n, d in names(after[old.title])}, f"names of {old.title} differ"
        assert old.print_title_rows == after[old.title].print_title_rows
    if before._sheets:
        assert after.active.title == before.active.title, f"open: {after.active.title}, was {before.active.title}"


def names(sheet):
    return sheet.defined_names.items() if hasattr(sheet, "defined_names") else []


def check_file(tool, path, folder):
    before = open_book(path)
    with zipfile.ZipFile(path) as package:  # without formats every program has defaults of its own
        plain = not any(b"cellXfs" in package.read(n) for n in package.namelist() if n.lower().replace("\\", "/").endswith("styles.xml"))
    if before is None or not before.worksheets:
        return False
    chosen = {s.title: choose(s) for s in before.worksheets}
    files = [os.path.join(folder, f"{i}.xlsx") for i in range(4)]
    problems, nothing = os.path.join(folder, "problems"), os.path.join(folder, "nothing")
    write_problems(problems, chosen)
    write_problems(nothing, {})
    run(tool, path, files[0], problems)
    run(tool, files[0], files[1], problems)
    run(tool, files[1], files[2], nothing)
    for i, expected in ((0, chosen), (1, chosen), (2, {name: [] for name in chosen})):
        after = open_book(files[i])
        assert after is not None, f"openpyxl opens the upload, but not report {i}"
        same_values(before, after)
        for old in before.worksheets:
            check_sheet(old, after[old.title], expected[old.title], plain)
        check_list(after, expected if i < 2 else {})
        check_names(before, after)
    check_resaved(tool, before, files, problems, nothing, chosen)
    return True


def check_resaved(tool, before, files, problems, nothing, chosen):
    """Another program saved the report: formats renumbered, what it doesn't know dropped."""
    book = open_book(files[0])
    try:
        book.save(files[3])
    except Exception:  # noqa: BLE001 - openpyxl can't save all that it opens
        return
    saved = open_book(files[3])
    if saved is None:
        return
    run(tool, files[3], files[1], nothing)
    after = open_book(files[1])
    same_values(saved, after)
    for old in before.worksheets:
        for key, cell in after[old.title]._cells.items():
            assert not is_red(cell), f"{old.title} {key} is still red"
            was = old._cells.get(key)
            text = cell.comment.text if cell.comment else None
            assert text == (was.comment.text if was is not None and was.comment else None), f"comment of {old.title} {key}: {text!r}"
            if was is not None and was.fill.fill_type in (None, "solid"):
                assert (was.fill.fill_type, was.fill.fgColor.rgb if was.fill.fill_type else 0) == \
                    (cell.fill.fill_type, cell.fill.fgColor.rgb if cell.fill.fill_type else 0), f"fill of {old.title} {key}"


def main():
    tool, root, only = sys.argv[1], sys.argv[2], sys.argv[3:]
    shared = os.environ.get("AON_SHARED") or os.path.join(root, "..", "shared", "data")
    corpus = os.path.join(shared, "xlsx-corpus")
    if not os.path.isdir(corpus):
        print("skipped: report marks: the corpus of workbooks isn't there")
        return 77
    with open(os.path.join(corpus, "manifest.csv"), encoding="utf-8", newline="") as rows:
        files = [os.path.join(corpus, "files", r["file"]) for r in csv.DictReader(rows) if r["verdict"].startswith("ok")]
    files += [os.path.join(shared, "workforce", name) for name in ("mistakes.xlsx", "small.xlsx", "with-ids.xlsx")]
    files = [f for f in files if not f.lower().endswith(".csv") and os.path.getsize(f) < LARGEST]
    if not only:
        files = [f for f in files if any(part in f for part in ALWAYS) or (os.path.getsize(f) < SMALL and zlib.crc32(os.path.basename(f).encode()) % 3 == 0)]
    elif only != ["--all"]:
        files = [f for f in files if any(part in f for part in only)]
    checked, failed = 0, 0
    for path in files:
        folder = tempfile.mkdtemp(prefix="aon-report-")
        try:
            checked += check_file(tool, path, folder)
        except AssertionError as problem:
            failed += 1
            print(f"{os.path.basename(path)}: {problem}")
        finally:
            shutil.rmtree(folder)
    print(f"{checked} workbooks marked, {failed} wrong")
    return 1 if failed or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
