/* See book.h. */
#include "book.h"

#include <bson/bson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "sheet/rows_json.h"

#define RELATIONS "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
#define PACKAGE_RELATIONS "http://schemas.openxmlformats.org/package/2006/relationships"
#define MAIN "http://schemas.openxmlformats.org/spreadsheetml/2006/main"

#define PART(name, text)                                                                                                                   \
  { name, sizeof name - 1, text, sizeof text - 1 }

static const book_part usual[] = {
    PART("[Content_Types].xml", "<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\">"
                                "<Default Extension=\"rels\" ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/>"
                                "<Default Extension=\"xml\" ContentType=\"application/xml\"/>"
                                "<Override PartName=\"/xl/workbook.xml\" "
                                "ContentType=\"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml\"/>"
                                "<Override PartName=\"/xl/worksheets/sheet1.xml\""
                                " ContentType=\"application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml\"/>"
                                "</Types>"),
    PART("_rels/.rels", "<Relationships xmlns=\"" PACKAGE_RELATIONS "\"><Relationship Id=\"rId1\" Type=\"" RELATIONS
                        "/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>"),
    PART("xl/workbook.xml", "<workbook xmlns=\"" MAIN "\" xmlns:r=\"" RELATIONS
                            "\"><sheets><sheet name=\"S\" sheetId=\"1\" r:id=\"rId1\"/></sheets></workbook>"),
    PART("xl/_rels/workbook.xml.rels", "<Relationships xmlns=\"" PACKAGE_RELATIONS "\"><Relationship Id=\"rId1\" Type=\"" RELATIONS
                                       "/worksheet\" Target=\"worksheets/sheet1.xml\"/><Relationship Id=\"rId2\" Type=\"" RELATIONS
                                       "/styles\" Target=\"styles.xml\"/><Relationship Id=\"rId3\" Type=\"" RELATIONS
                                       "/sharedStrings\" Target=\"sharedStrings.xml\"/></Relationships>"),
    PART("xl/worksheets/sheet1.xml", "<worksheet xmlns=\"" MAIN "\"><sheetData><row><c><v>1</v></c></row></sheetData></worksheet>"),
    PART("xl/styles.xml", "<styleSheet xmlns=\"" MAIN "\"><numFmts><numFmt numFmtId=\"164\" formatCode=\"yyyy\\-mm\\-dd\"/></numFmts>"
                          "<fonts count=\"1\"><font><sz val=\"11\"/></font></fonts><fills count=\"1\"><fill/></fills>"
                          "<borders count=\"1\"><border/></borders><cellStyleXfs count=\"1\"><xf/></cellStyleXfs>"
                          "<cellXfs count=\"6\"><xf numFmtId=\"0\"/><xf numFmtId=\"14\"/><xf numFmtId=\"164\"/><xf numFmtId=\"46\"/>"
                          "<xf numFmtId=\"22\"/><xf numFmtId=\"20\"/></cellXfs></styleSheet>"),
    PART("xl/sharedStrings.xml", "<sst xmlns=\"" MAIN "\"><si><t>shared</t></si><si><r><t>ri</t></r><r><t>ch</t></r></si>"
                                 "<si><t></t></si><si><t xml:space=\"preserve\"> _x0041_ </t></si></sst>"),
};

static const book_part *find(const book_part *parts, size_t count, const book_part *wanted) {
  for (size_t i = 0; i < count; i++)
    if (parts[i].name_length == wanted->name_length && !memcmp(parts[i].name, wanted->name, wanted->name_length))
      return &parts[i];
  return NULL;
}

/* The next line "=== NAME", or end; *ret_name NULL: the end. */
static const char *marker(const char *at, const char *end, const char **ret_name, size_t *ret_length) {
  for (const char *line = at; line < end;) {
    const char *stop = memchr(line, '\n', (size_t)(end - line));
    const char *after = stop ? stop : end;
    if (after - line > 4 && !memcmp(line, "=== ", 4)) {
      *ret_name = line + 4;
      *ret_length = (size_t)(after - line) - 4;
      return line;
    }
    line = stop ? stop + 1 : end;
  }
  *ret_name = NULL;
  *ret_length = 0;
  return end;
}

void book_parse(const uint8_t *data, size_t size, book *ret_book) {
  static const char first[] = "xl/worksheets/sheet1.xml";
  const char *at = (const char *)data, *end = at + size, *name = first;
  size_t name_length = sizeof first - 1;
  ret_book->count = 0;
  while (name && ret_book->count < BOOK_PARTS_MAX - sizeof usual / sizeof *usual) {
    const char *next_name;
    size_t next_length;
    const char *stop = marker(at, end, &next_name, &next_length);
    if (name != first || stop > at)
      ret_book->parts[ret_book->count++] = (book_part){name, name_length, at, (size_t)(stop - at)};
    at = next_name ? next_name + next_length + (next_name + next_length < end) : end;
    name = next_name;
    name_length = next_length;
  }
  for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
    if (!find(ret_book->parts, ret_book->count, &usual[i]))
      ret_book->parts[ret_book->count++] = usual[i];
}

static void must(aon_result result) { FUZZ_CHECK(result == AON_OK, "%s", aon_result_name(result)); }

static void little(aon_buffer *out, uint64_t value, int bytes) {
  for (; bytes--; value >>= 8)
    must(aon_buffer_append(out, &(char){(char)value}, 1, NULL));
}

/* What the local header and the central directory say alike of an entry (APPNOTE 4.3.7, 4.3.12). */
static void describe(aon_buffer *out, const book_part *part) {
  little(out, 20, 2);
  little(out, 0x800, 2); /* names are UTF-8 */
  little(out, 0, 2);     /* stored */
  little(out, 0x58210000, 4);
  little(out, crc32(0, (const Bytef *)part->text, (uInt)part->length), 4);
  little(out, part->length, 4);
  little(out, part->length, 4);
  little(out, part->name_length, 2);
  little(out, 0, 2);
}

void book_put(const char *path, const book *from) {
  AON_BUFFER_CLEANUP aon_buffer out = {0};
  size_t starts[BOOK_PARTS_MAX];
  for (size_t i = 0; i < from->count; i++) {
    starts[i] = out.length;
    little(&out, 0x04034b50, 4);
    describe(&out, &from->parts[i]);
    must(aon_buffer_append(&out, from->parts[i].name, from->parts[i].name_length, NULL));
    must(aon_buffer_append(&out, from->parts[i].text, from->parts[i].length, NULL));
  }
  size_t directory = out.length;
  for (size_t i = 0; i < from->count; i++) {
    little(&out, 0x02014b50, 4);
    little(&out, 20, 2);
    describe(&out, &from->parts[i]);
    little(&out, 0, 10); /* no comment, first disk, no attributes */
    little(&out, starts[i], 4);
    must(aon_buffer_append(&out, from->parts[i].name, from->parts[i].name_length, NULL));
  }
  size_t end = out.length;
  little(&out, 0x06054b50, 4);
  little(&out, 0, 4);
  little(&out, from->count, 2);
  little(&out, from->count, 2);
  little(&out, end - directory, 4);
  little(&out, directory, 4);
  little(&out, 0, 2);
  fuzz_file_put(path, out.data, out.length);
}

/* ---- reading ---- */

static void check_cell(const aon_cell *cell, uint32_t column) {
  FUZZ_CHECK(cell->column > column, "column %u after %u", cell->column, column);
  FUZZ_CHECK(cell->column <= 16384, "column %u", cell->column);
  switch (cell->type) {
  case AON_CELL_NUMBER:
  case AON_CELL_DURATION:
    FUZZ_CHECK(isfinite(cell->number), "%g", cell->number);
    break;
  case AON_CELL_BOOLEAN:
    FUZZ_CHECK(cell->number == 0 || cell->number == 1, "%g", cell->number);
    break;
  case AON_CELL_TEXT:
  case AON_CELL_ERROR:
  case AON_CELL_DATE:
  case AON_CELL_TIME:
    FUZZ_CHECK(cell->text.length > 0, "an empty text in column %u", cell->column);
    FUZZ_CHECK(cell->text.data[cell->text.length] == 0, "no NUL after a text in column %u", cell->column);
    FUZZ_CHECK(bson_utf8_validate(cell->text.data, cell->text.length, false), "no UTF-8 in column %u: “%s”", cell->column, cell->text.data);
    break;
  default:
    FUZZ_CHECK(false, "a cell of type %d", (int)cell->type);
  }
}

static aon_result read_sheet(aon_workbook *workbook, size_t sheet, aon_buffer *out, aon_error *error) {
  aon_rows *rows;
  const aon_row *row;
  uint32_t last = 0;
  aon_result result = aon_rows_open(workbook, sheet, &rows, error);
  if (result)
    return result;
  while (!(result = aon_rows_next(rows, &row, error))) {
    FUZZ_CHECK(row->number > last && row->number <= 1048576, "row %u after row %u", row->number, last);
    FUZZ_CHECK(row->count > 0, "row %u without cells", row->number);
    last = row->number;
    for (size_t i = 0; i < row->count; i++)
      check_cell(&row->cells[i], i ? row->cells[i - 1].column : 0);
    must(aon_row_to_json(aon_workbook_sheet_name(workbook, sheet), aon_workbook_sheet_state(workbook, sheet), row, out, error));
    must(aon_buffer_append(out, "\n", 1, error));
  }
  aon_rows_close(rows);
  return result == AON_END ? AON_OK : result;
}

aon_result book_read(const char *path, aon_buffer *out, aon_error *error) {
  aon_workbook *workbook;
  *error = (aon_error)AON_ERROR_INIT;
  aon_result result = aon_workbook_open(fuzz_world(), path, NULL, &workbook, error);
  if (!result) {
    for (size_t i = 0; !result && i < aon_workbook_sheets(workbook); i++) {
      must(aon_buffer_format(out, NULL, "sheet %s\n", aon_workbook_sheet_name(workbook, i)));
      result = read_sheet(workbook, i, out, error);
    }
    aon_workbook_close(workbook);
  }
  FUZZ_CHECK(result == AON_OK || result == AON_REJECTED, "%s: %s", aon_result_name(result), error->sentence);
  FUZZ_CHECK(!result == !error->sentence[0], "a refusal has a sentence, and nothing else has: %s", error->sentence);
  FUZZ_CHECK(!result || !strcmp(error->code, "bad_file"), "%s: %s", error->code, error->sentence);
  FUZZ_CHECK(bson_utf8_validate(error->sentence, strlen(error->sentence), false), "a sentence that is no UTF-8: %s", error->sentence);
  return result;
}
