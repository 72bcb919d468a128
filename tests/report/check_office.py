#!/usr/bin/env python3
"""Reports and templates through LibreOffice, headless: it opens them, finds the same values, and what it saves is known as ours again.

check_office.py REPORT_TOOL SOURCE_ROOT
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
import zipfile

NAME = "report in LibreOffice"


def skip(why):
    print(f"skipped: {NAME}: {why}")
    sys.exit(77)


try:
    import openpyxl
except ImportError:
    skip("python3-openpyxl isn't installed")

warnings.simplefilter("ignore")
SHEET, RED = "Allornone errors", "FFFF4B4A"
BOOKS = ["workforce/mistakes.xlsx", "workforce/with-ids.xlsx",
         "xlsx-corpus/files/qax-os_excelize__test__Book1.xlsx",
         "xlsx-corpus/files/tafia_calamine__tests__nonstandard-xml-ns-prefix.xlsx",
         "xlsx-corpus/files/tidyverse_readxl__tests__testthat__sheets__no-styles-or-sharedStrings-parts.xlsx",
         "xlsx-corpus/files/ExcelDataReader_ExcelDataReader__src__TestData__strict__Test_Issue_11573_BlankValues.xlsx"]


def convert(office, folder, paths):
    out = os.path.join(folder, "converted")
    office = subprocess.Popen([office, "--headless", f"-env:UserInstallation=file://{folder}/profile", "--convert-to", "xlsx", "--outdir", out, *paths],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        said, _ = office.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        os.killpg(office.pid, signal.SIGKILL)  # it is a script that starts the program itself
        raise AssertionError("LibreOffice doesn't end")
    for path in paths:
        target = os.path.join(out, os.path.basename(path))
        assert os.path.exists(target), f"LibreOffice doesn't open {os.path.basename(path)}: {said}"
        yield target


def values(book):
    """As LibreOffice keeps them: whole numbers as such, no formulas' own text."""
    def plain(value):
        return round(float(value), 9) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
    return {(s.title, k): plain(c.value) for s in book.worksheets if s.title != SHEET for k, c in s._cells.items()
            if c.value is not None and c.data_type != "f"}


def marked(book):
    return {(s.title, k) for s in book.worksheets for k, c in s._cells.items() if c.fill.fill_type == "solid" and c.fill.fgColor.rgb == RED}


def commented(book):
    return {(s.title, k) for s in book.worksheets for k, c in s._cells.items() if c.comment and "[Allornone] " in c.comment.text}


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, f"{words[0]}: {done.returncode} {done.stdout}{done.stderr[-2000:]}"


def prepare(tool, path, folder, number):
    """Gives the plain copy and the report of a workbook, and the cells that are marked."""
    source, report, problems = (os.path.join(folder, f"{number}{end}") for end in ("-plain.xlsx", "-report.xlsx", "-problems"))
    shutil.copy(path, source)
    try:
        sheet = openpyxl.load_workbook(path).worksheets[-1]
        name, cells = sheet.title, {(sheet.max_row, sheet.max_column), (sheet.max_row + 2, 1), (1, 1)}
    except Exception:  # noqa: BLE001 - openpyxl doesn't know the strict dialect, LibreOffice does
        with zipfile.ZipFile(path) as package:
            name = re.findall(r'<sheet [^>]*?name="([^"]*)"', package.read("xl/workbook.xml").decode())[-1]
        cells = {(1, 1), (2, 3), (40, 2)}
    with open(problems, "w", encoding="utf-8") as out:
        for row, column in cells:
            out.write(f"E\t{name}\t{row}\t{column}\tH\tv\trequired\tFill it in.\n")
    run(tool, source, report, problems)
    return source, report, {(name, cell) for cell in cells}


def main():
    tool, root = sys.argv[1], sys.argv[2]
    office = shutil.which("soffice") or shutil.which("libreoffice")
    if not office:
        skip("LibreOffice (libreoffice-calc-nogui) isn't installed")
    shared = os.environ.get("AON_SHARED") or os.path.join(root, "..", "shared", "data")
    if not os.path.isdir(shared):
        skip("the workbooks aren't there")
    folder = tempfile.mkdtemp(prefix="aon-office-")
    try:
        template = os.path.join(folder, "template.xlsx")
        run(tool, "--template", template)
        made = [prepare(tool, os.path.join(shared, b), folder, i) for i, b in enumerate(BOOKS)]
        converted = dict(zip([p for m in made for p in m[:2]] + [template],
                             convert(office, folder, [p for m in made for p in m[:2]] + [template])))
        nothing = os.path.join(folder, "nothing")
        open(nothing, "w").close()
        for source, report, cells in made:
            plain, saved = openpyxl.load_workbook(converted[source]), openpyxl.load_workbook(converted[report])
            assert saved.sheetnames == [SHEET] + plain.sheetnames, saved.sheetnames
            assert values(plain) == values(saved), f"{report}: values differ"
            assert marked(saved) == cells and commented(saved) == cells, f"{report}: {marked(saved)} {commented(saved)} {cells}"
            again = report + ".again.xlsx"
            run(tool, converted[report], again, nothing)
            book = openpyxl.load_workbook(again)
            assert not marked(book) and not commented(book) and book.sheetnames == saved.sheetnames, f"{again}: marks stay"
            assert values(book) == values(saved), f"{again}: values differ"
        book = openpyxl.load_workbook(converted[template])
        assert book.sheetnames == ["Users", "Allornone lists"] and book["Allornone lists"].sheet_state == "hidden"
        rules = {str(r.sqref)[:3]: r.formula1 for r in book["Users"].data_validations.dataValidation}
        assert rules == {"B2:": '"once,daily"', "C2:": "'Allornone lists'!$A$1:$A$2"}, rules
        assert book["Users"]["A1"].comment.text.startswith("Row 2 is an example") and book["Users"]["A1"].font.b
        assert book["Users"]["D2"].value == "007" and str(book["Users"]["E2"].value) == "2028-02-29 00:00:00"
        print(f"{len(made)} workbooks and a template through LibreOffice")
    finally:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
