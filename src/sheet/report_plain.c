/* A report that is a workbook of our own: the sheet of errors, and the rows of .csv files as sheets of text, faulty cells marked.
 * Invariant: sheets stand in the order of the input behind the sheet of errors; rows are streamed, one at a time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sheet/report.h"
#include "sheet/report_book.h"
#include "sheet/report_faults.h"
#include "sheet/report_list.h"
#include "sheet/report_notes.h"
#include "sheet/report_workbook.h"

#define NAME_CHARACTERS 31 /* of a sheet: Excel's limit, in UTF-16 units */
#define RELATIONS "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
#define MAIN "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
#define DECLARATION "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n"
#define WORKBOOK_TYPE "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
#define RELATIONS_TYPE "application/vnd.openxmlformats-package.relationships+xml"
#define COLUMN_WIDTH 18 /* in characters */

typedef struct plain_sheet {
  const char *source; /* name in the input */
  char *name;         /* one that a workbook can have */
  size_t index;       /* in the input */
  aon_faults faults;
} plain_sheet;

typedef struct plain_maker {
  const aon_report *report;
  aon_workbook *workbook;
  aon_archive *archive;
  aon_arena arena;
  aon_styles *styles;
  uint32_t plain, marked; /* formats of cells */
  plain_sheet *sheets;
  size_t count, last_sheet;
} plain_maker;

/* --- names of sheets --- */

/* Cut to Excel's length and without the characters that it forbids. */
static void name_clean(const char *source, size_t most, char *out) {
  size_t length = 0, units = 0;
  while (source[length]) {
    unsigned char c = (unsigned char)source[length];
    units += (c & 0xC0) == 0x80 ? 0 : c >= 0xF0 ? 2 : 1;
    if (units > most)
      break;
    out[length] = c < 0x20 || strchr("[]:*?/\\", c) ? '_' : (char)c;
    length++;
  }
  out[length] = 0;
  if (*out == '\'')
    *out = '_';
  if (length && out[length - 1] == '\'')
    out[length - 1] = '_';
  if (!length)
    strcpy(out, "_");
}

static bool name_used(const plain_maker *maker, const char *name) {
  bool used = !strcasecmp(name, AON_REPORT_SHEET);
  for (size_t i = 0; !used && i < maker->count; i++)
    used = !strcasecmp(name, maker->sheets[i].name);
  return used;
}

static aon_result name_make(plain_maker *maker, const char *source, char **ret_name, aon_error *error) {
  char *name = aon_arena_alloc(&maker->arena, strlen(source) + 16);
  if (!name)
    return aon_fail_memory(error);
  name_clean(source, NAME_CHARACTERS, name);
  for (unsigned number = 2; name_used(maker, name); number++) {
    char end[16];
    int length = snprintf(end, sizeof end, " %u", number);
    name_clean(source, NAME_CHARACTERS - (size_t)length, name);
    strcat(name, end);
  }
  *ret_name = name;
  return AON_OK;
}

static aon_result sheets_plan(plain_maker *maker, aon_error *error) {
  size_t count = maker->workbook ? aon_workbook_sheets(maker->workbook) : 0;
  aon_fault_book *book = NULL;
  const aon_report *report = maker->report;
  aon_result result = aon_fault_book_make(&maker->arena, report->errors, report->error_count, &book, error);
  maker->sheets = aon_arena_alloc(&maker->arena, count * sizeof *maker->sheets);
  if (!result && !maker->sheets)
    result = aon_fail_memory(error);
  for (size_t i = 0; !result && i < count; i++) {
    plain_sheet *sheet = &maker->sheets[maker->count];
    *sheet = (plain_sheet){.source = aon_workbook_sheet_name(maker->workbook, i), .index = i};
    if (!strcasecmp(sheet->source, AON_REPORT_SHEET))
      continue; /* an older report's */
    result = name_make(maker, sheet->source, &sheet->name, error);
    if (!result)
      result = aon_fault_book_sheet(book, &maker->arena, sheet->source, &sheet->faults, error);
    maker->count++;
  }
  return result;
}

/* --- the package around the sheets --- */

static aon_result write_types(plain_maker *maker, aon_error *error) {
  aon_sink sink = aon_archive_begin(maker->archive, "[Content_Types].xml");
  aon_sink_text(&sink,
                DECLARATION "<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\"><Default Extension=\"rels\" "
                            "ContentType=\"" RELATIONS_TYPE "\"/><Default Extension=\"xml\" ContentType=\"application/xml\"/>"
                            "<Default Extension=\"vml\" ContentType=\"" AON_TYPE_DRAWING "\"/>"
                            "<Override PartName=\"/xl/workbook.xml\" ContentType=\"" WORKBOOK_TYPE "\"/>"
                            "<Override PartName=\"/xl/styles.xml\" ContentType=\"" AON_TYPE_STYLES "\"/>");
  for (size_t i = 0; i <= maker->count; i++) {
    aon_sink_format(&sink, "<Override PartName=\"/xl/worksheets/sheet%zu.xml\" ContentType=\"" AON_TYPE_WORKSHEET "\"/>", i + 1);
    if (i && maker->sheets[i - 1].faults.count)
      aon_sink_format(&sink, "<Override PartName=\"/xl/comments%zu.xml\" ContentType=\"" AON_TYPE_COMMENTS "\"/>", i + 1);
  }
  aon_sink_text(&sink, "</Types>");
  return aon_archive_end(maker->archive, &sink, error);
}

static void relation(aon_sink *sink, size_t number, const char *kind, const char *stem, size_t of, const char *ending) {
  aon_sink_format(sink, "<Relationship Id=\"rId%zu\" Type=\"" RELATIONS "/%s\" Target=\"%s", number, kind, stem);
  if (of)
    aon_sink_format(sink, "%zu", of);
  aon_sink_format(sink, "%s\"/>", ending);
}

static aon_sink relations_begin(plain_maker *maker, const char *name) {
  aon_sink sink = aon_archive_begin(maker->archive, name);
  aon_sink_text(&sink, DECLARATION "<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">");
  return sink;
}

static aon_result relations_end(plain_maker *maker, aon_sink *sink, aon_error *error) {
  aon_sink_text(sink, "</Relationships>");
  return aon_archive_end(maker->archive, sink, error);
}

static aon_result write_book(plain_maker *maker, aon_error *error) {
  aon_sink sink = relations_begin(maker, "_rels/.rels");
  relation(&sink, 1, "officeDocument", "xl/workbook", 0, ".xml");
  aon_result result = relations_end(maker, &sink, error);
  if (result)
    return result;
  sink = aon_archive_begin(maker->archive, "xl/workbook.xml");
  aon_sink_format(&sink,
                  DECLARATION "<workbook xmlns=\"" MAIN "\" xmlns:r=\"" RELATIONS
                              "\"><bookViews><workbookView activeTab=\"0\"/></bookViews><sheets>"
                              "<sheet name=\"%s\" sheetId=\"1\" r:id=\"rId1\"/>",
                  AON_REPORT_SHEET);
  for (size_t i = 0; i < maker->count; i++) {
    aon_sink_text(&sink, "<sheet name=\"");
    aon_sink_escape(&sink, maker->sheets[i].name);
    aon_sink_format(&sink, "\" sheetId=\"%zu\" r:id=\"rId%zu\"/>", i + 2, i + 2);
  }
  aon_sink_text(&sink, "</sheets></workbook>");
  result = aon_archive_end(maker->archive, &sink, error);
  if (result)
    return result;
  sink = relations_begin(maker, "xl/_rels/workbook.xml.rels");
  for (size_t i = 0; i <= maker->count; i++)
    relation(&sink, i + 1, "worksheet", "worksheets/sheet", i + 1, ".xml");
  relation(&sink, maker->count + 2, "styles", "styles", 0, ".xml");
  return relations_end(maker, &sink, error);
}

static const char *sheet_name(void *context, const char *name) {
  plain_maker *maker = context;
  for (size_t i = 0; i < maker->count; i++) {
    size_t at = (maker->last_sheet + i) % maker->count;
    if (!strcmp(maker->sheets[at].source, name)) {
      maker->last_sheet = at;
      return maker->sheets[at].name;
    }
  }
  return NULL;
}

static aon_result write_list(plain_maker *maker, aon_error *error) {
  const aon_report *report = maker->report;
  aon_list list = {.errors = report->errors,
                   .warnings = report->warnings,
                   .error_count = report->error_count,
                   .warning_count = report->warning_count,
                   .more = report->more,
                   .selected = true,
                   .sheet_name = sheet_name,
                   .context = maker};
  aon_sink sink = aon_archive_begin(maker->archive, "xl/worksheets/sheet1.xml");
  aon_result result = aon_list_write(&list, maker->styles, &sink, error);
  return result ? result : aon_archive_end(maker->archive, &sink, error);
}

/* --- rows --- */

static void cell(aon_sink *sink, uint32_t row, uint32_t column, uint32_t style, const aon_cell *from) {
  char reference[AON_FAULT_REFERENCE];
  aon_cell_reference(row, column, reference);
  if (!from) {
    aon_sink_format(sink, "<c r=\"%s\" s=\"%u\"/>", reference, style);
    return;
  }
  aon_sink_format(sink, "<c r=\"%s\" s=\"%u\" t=\"inlineStr\"><is><t xml:space=\"preserve\">", reference, style);
  aon_sink_escape(sink, from->text.data);
  aon_sink_text(sink, "</t></is></c>");
}

/* A row with cells[0, count) and the faults of it, those on cells that aren't there too. */
static size_t row_write(const plain_maker *maker, const aon_faults *faults, size_t next, uint32_t number, const aon_row *row,
                        aon_sink *sink) {
  size_t at = 0, count = row ? row->count : 0;
  aon_sink_format(sink, "<row r=\"%u\">", number);
  for (;;) {
    const aon_fault *fault = next < faults->count && faults->items[next].row == number ? &faults->items[next] : NULL;
    const aon_cell *here = at < count && row->cells[at].column <= AON_FAULT_COLUMNS ? &row->cells[at] : NULL;
    if (!fault && !here)
      break;
    bool faulty = fault && (!here || fault->column <= here->column), filled = here && (!fault || here->column <= fault->column);
    cell(sink, number, filled ? here->column : fault->column, faulty ? maker->marked : maker->plain, filled ? here : NULL);
    next += faulty;
    at += filled;
  }
  aon_sink_text(sink, "</row>");
  return next;
}

static size_t rows_between(const plain_maker *maker, const aon_faults *faults, size_t next, uint32_t before, aon_sink *sink) {
  while (next < faults->count && faults->items[next].row < before)
    next = row_write(maker, faults, next, faults->items[next].row, NULL, sink);
  return next;
}

static aon_result rows_write(const plain_maker *maker, const plain_sheet *sheet, aon_sink *sink, aon_error *error) {
  aon_rows *rows = NULL;
  aon_result result = aon_rows_open(maker->workbook, sheet->index, &rows, error);
  const aon_row *row;
  size_t next = 0;
  while (!result && !(result = aon_rows_next(rows, &row, error))) {
    if (row->number > AON_FAULT_ROWS)
      continue;
    next = rows_between(maker, &sheet->faults, next, row->number, sink);
    next = row_write(maker, &sheet->faults, next, row->number, row, sink);
  }
  if (rows)
    aon_rows_close(rows);
  rows_between(maker, &sheet->faults, next, UINT32_MAX, sink);
  return result == AON_END ? AON_OK : result;
}

static aon_result sheet_write(plain_maker *maker, const plain_sheet *sheet, size_t number, aon_error *error) {
  char name[64];
  snprintf(name, sizeof name, "xl/worksheets/sheet%zu.xml", number);
  aon_sink sink = aon_archive_begin(maker->archive, name);
  aon_sink_format(&sink,
                  DECLARATION "<worksheet xmlns=\"" MAIN "\" xmlns:r=\"" RELATIONS
                              "\"><sheetFormatPr defaultRowHeight=\"15\"/><cols><col min=\"1\" "
                              "max=\"%u\" width=\"%u\" customWidth=\"1\" style=\"%u\"/></cols><sheetData>",
                  AON_FAULT_COLUMNS, COLUMN_WIDTH, maker->plain);
  aon_result result = rows_write(maker, sheet, &sink, error);
  aon_sink_text(&sink, sheet->faults.count ? "</sheetData><legacyDrawing r:id=\"rId2\"/></worksheet>" : "</sheetData></worksheet>");
  return result ? result : aon_archive_end(maker->archive, &sink, error);
}

static aon_result notes_write(plain_maker *maker, plain_sheet *sheet, size_t number, aon_error *error) {
  char name[64];
  aon_notes notes = {.faults = &sheet->faults};
  if (!sheet->faults.count)
    return AON_OK;
  snprintf(name, sizeof name, "xl/comments%zu.xml", number);
  aon_sink sink = aon_archive_begin(maker->archive, name);
  aon_notes_comments_new(&notes, &sink);
  aon_result result = aon_archive_end(maker->archive, &sink, error);
  if (result)
    return result;
  snprintf(name, sizeof name, "xl/drawings/vmlDrawing%zu.vml", number);
  sink = aon_archive_begin(maker->archive, name);
  aon_notes_drawing_new(&notes, &sink);
  result = aon_archive_end(maker->archive, &sink, error);
  if (result)
    return result;
  snprintf(name, sizeof name, "xl/worksheets/_rels/sheet%zu.xml.rels", number);
  sink = relations_begin(maker, name);
  relation(&sink, 1, "comments", "../comments", number, ".xml");
  relation(&sink, 2, "vmlDrawing", "../drawings/vmlDrawing", number, ".vml");
  return relations_end(maker, &sink, error);
}

static aon_result write_sheets(plain_maker *maker, aon_error *error) {
  aon_result result = aon_styles_own(maker->styles, AON_STYLE_CELL, &maker->plain, error);
  if (!result)
    result = aon_styles_mark(maker->styles, maker->plain, &maker->marked, error);
  for (size_t i = 0; !result && i < maker->count; i++) {
    result = sheet_write(maker, &maker->sheets[i], i + 2, error);
    if (!result)
      result = notes_write(maker, &maker->sheets[i], i + 2, error);
  }
  return result;
}

static aon_result write_styles(plain_maker *maker, aon_error *error) {
  aon_sink sink = aon_archive_begin(maker->archive, "xl/styles.xml");
  aon_styles_write(maker->styles, &sink);
  return aon_archive_end(maker->archive, &sink, error);
}

aon_result aon_report_make(const aon_report *report, aon_workbook *workbook, aon_archive *archive, aon_error *error) {
  plain_maker maker = {.report = report, .workbook = workbook, .archive = archive};
  aon_result result = sheets_plan(&maker, error);
  if (!result)
    result = aon_styles_open(AON_TEXT(""), false, &maker.styles, error);
  if (!result)
    result = write_types(&maker, error);
  if (!result)
    result = write_book(&maker, error);
  if (!result)
    result = write_list(&maker, error);
  if (!result)
    result = write_sheets(&maker, error);
  if (!result)
    result = write_styles(&maker, error);
  aon_styles_close(maker.styles);
  aon_arena_release(&maker.arena);
  return result;
}
