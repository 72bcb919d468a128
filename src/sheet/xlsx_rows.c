/* Rows of a worksheet part: a push parser that is fed one chunk whenever no complete row is left.
 *
 * Invariants: the queue holds what one chunk completes, plus the row that is still open; offsets, not pointers, are kept into
 * "text" until a row is handed out, because the buffer grows and moves. A shared string is looked up only then, so a chunk full of
 * references to long strings costs nothing. Rows come in ascending order or the sheet is refused: sorting would need all of them. */
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/text.h"
#include "sheet/internal.h"
#include "sheet/xml.h"

#define NOT_LOOKED_UP ((aon_cell_type)'S') /* in the queue only: number is the index of a shared string */

typedef enum place { AT_TOP, AT_SHEET, AT_DATA, AT_ROW, AT_CELL, AT_VALUE, AT_INLINE, AT_INLINE_RUN, AT_TEXT, AT_RUN_TEXT } place;

typedef enum content { CONTENT_NUMBER, CONTENT_SHARED, CONTENT_TEXT, CONTENT_INLINE, CONTENT_BOOLEAN, CONTENT_ERROR, CONTENT_ISO } content;

typedef struct queued_row {
  uint32_t number;
  size_t first, count; /* cells */
} queued_row;

typedef struct xlsx_rows {
  aon_xml xml;
  aon_rows rows;
  locale_t c_locale;

  /* where the parser stands */
  place place;
  int skipped; /* open elements that do not count */
  bool is_worksheet;
  uint32_t last_row, row; /* row: 0 until the open row's number is known */
  uint32_t last_column, column;
  bool unordered;
  uint64_t cell_count;
  content content;
  aon_numfmt format;
  bool has_value;
  aon_buffer value;

  /* the queue */
  aon_cell *cells; /* malloc */
  size_t cells_used, cells_capacity;
  size_t open_first; /* first cell of the open row */
  queued_row *queue; /* malloc */
  size_t queue_count, queue_capacity, queue_next;
  aon_buffer text;
  size_t open_text; /* where the open row's text begins */

  aon_buffer scratch; /* shared strings of the row handed out */
  aon_row out;
} xlsx_rows;

static xlsx_rows *of_rows(aon_rows *rows) { return (xlsx_rows *)((char *)rows - offsetof(xlsx_rows, rows)); }

static const aon_workbook_limits *limits_of(const xlsx_rows *reader) { return &reader->rows.workbook->limits; }

/* ---- refusals ---- */

static void fail(xlsx_rows *reader, aon_result result) {
  if (result)
    aon_xml_stop(&reader->xml, result);
}

static void refuse_cell(xlsx_rows *reader, const char *why) {
  char column[8];
  aon_column_name(reader->column, column);
  fail(reader, aon_refuse(reader->xml.error, "Cell %s!%s%u %s. " AON_SAVE_AGAIN, reader->rows.sheet->name, column, reader->row, why));
}

static void refuse_order(xlsx_rows *reader, uint32_t number) {
  fail(reader, aon_refuse(reader->xml.error, "Row %u of the sheet “%s” stands after row %u. " AON_SAVE_AGAIN, number,
                          reader->rows.sheet->name, reader->last_row));
}

static void refuse_limit(xlsx_rows *reader, const char *what, const char *name, uint64_t limit) {
  fail(reader, aon_refuse_limit(reader->xml.error, what, name, limit));
  aon_error_prefix(reader->xml.error, "Sheet “%s”: ", reader->rows.sheet->name);
}

/* ---- rows ---- */

static bool set_row(xlsx_rows *reader, uint32_t number) {
  if (number > limits_of(reader)->rows)
    refuse_limit(reader, "The sheet goes further down", "rows", limits_of(reader)->rows);
  else if (number <= reader->last_row)
    refuse_order(reader, number);
  else
    reader->row = number;
  return !reader->xml.failed;
}

/* Digits only; numbers beyond any limit come out as UINT32_MAX. 0: no number. */
static uint32_t count_of(const char *at, const char *end) {
  uint64_t number = 0;
  if (at == end)
    return 0;
  for (; at < end; at++) {
    if (*at < '0' || *at > '9')
      return 0;
    number = number < UINT32_MAX ? number * 10 + (uint64_t)(*at - '0') : number;
  }
  return number < UINT32_MAX ? (uint32_t)number : UINT32_MAX;
}

static void row_start(xlsx_rows *reader, int count, const xmlChar **attributes) {
  aon_text reference;
  reader->place = AT_ROW;
  reader->row = 0;
  reader->last_column = 0;
  reader->unordered = false;
  if (!aon_xml_attribute(count, attributes, "r", &reference))
    return;
  uint32_t number = count_of(reference.data, reference.data + reference.length);
  if (number)
    set_row(reader, number);
  else
    fail(reader, aon_refuse(reader->xml.error, "The row after row %u of the sheet “%s” has no proper number. " AON_SAVE_AGAIN,
                            reader->last_row, reader->rows.sheet->name));
}

static int column_order(const void *a, const void *b) {
  uint32_t first = ((const aon_cell *)a)->column, second = ((const aon_cell *)b)->column;
  return first < second ? -1 : first > second;
}

static void sort_cells(xlsx_rows *reader, aon_cell *cells, size_t count) {
  qsort(cells, count, sizeof *cells, column_order);
  for (size_t i = 1; i < count; i++) {
    if (cells[i - 1].column == cells[i].column) {
      reader->column = cells[i].column;
      refuse_cell(reader, "stands there twice");
      return;
    }
  }
}

static bool grow_list(xlsx_rows *reader, void **list, size_t *capacity, size_t size) {
  size_t more = *capacity ? *capacity * 2 : 64;
  void *grown = realloc(*list, more * size);
  if (!grown) {
    fail(reader, aon_fail_memory(reader->xml.error));
    return false;
  }
  *list = grown;
  *capacity = more;
  return true;
}

static void row_end(xlsx_rows *reader) {
  reader->place = AT_DATA;
  if (!reader->row && !set_row(reader, reader->last_row + 1))
    return;
  reader->last_row = reader->row;
  size_t count = reader->cells_used - reader->open_first;
  if (count == 0)
    return;
  if (reader->unordered)
    sort_cells(reader, reader->cells + reader->open_first, count);
  if (reader->queue_count == reader->queue_capacity &&
      !grow_list(reader, (void **)&reader->queue, &reader->queue_capacity, sizeof *reader->queue))
    return;
  reader->queue[reader->queue_count++] = (queued_row){reader->row, reader->open_first, count};
  reader->open_first = reader->cells_used;
  reader->open_text = reader->text.length;
}

/* ---- cells ---- */

/* "B7", "B", "b7": the column, and the row or 0. */
static bool read_reference(aon_text reference, uint32_t *ret_column, uint32_t *ret_row) {
  const char *at = reference.data, *end = at + reference.length;
  uint32_t column = 0;
  for (; at < end && column < 1000000; at++) {
    char letter = *at & ~0x20;
    if (letter < 'A' || letter > 'Z')
      break;
    column = column * 26 + (uint32_t)(letter - 'A' + 1);
  }
  *ret_column = column;
  *ret_row = count_of(at, end);
  return column && (at == end || *ret_row);
}

static void place_cell(xlsx_rows *reader, const aon_text *reference) {
  uint32_t row = 0;
  reader->column = reader->last_column + 1;
  if (reference && !read_reference(*reference, &reader->column, &row)) {
    fail(reader, aon_refuse(reader->xml.error, "A cell in the row after row %u of the sheet “%s” has no proper place. " AON_SAVE_AGAIN,
                            reader->last_row, reader->rows.sheet->name));
    return;
  }
  if (reader->column > limits_of(reader)->columns) {
    refuse_limit(reader, "The sheet goes further to the right", "columns", limits_of(reader)->columns);
    return;
  }
  if (!reader->row && !set_row(reader, row ? row : reader->last_row + 1))
    return;
  if (row && row != reader->row) {
    refuse_cell(reader, "says that it stands in another row");
    return;
  }
  if (reader->column <= reader->last_column)
    reader->unordered = true;
  else
    reader->last_column = reader->column;
  if (++reader->cell_count > limits_of(reader)->cells)
    refuse_limit(reader, "The sheet has more cells", "cells", limits_of(reader)->cells);
}

static bool content_of(aon_text type, content *ret_content) {
  static const struct {
    aon_text name;
    content content;
  } contents[] = {{AON_TEXT("s"), CONTENT_SHARED},         {AON_TEXT("n"), CONTENT_NUMBER},  {AON_TEXT("str"), CONTENT_TEXT},
                  {AON_TEXT("inlineStr"), CONTENT_INLINE}, {AON_TEXT("b"), CONTENT_BOOLEAN}, {AON_TEXT("e"), CONTENT_ERROR},
                  {AON_TEXT("d"), CONTENT_ISO}};
  for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
    if (contents[i].name.length == type.length && !memcmp(contents[i].name.data, type.data, type.length)) {
      *ret_content = contents[i].content;
      return true;
    }
  }
  return false;
}

typedef struct cell_attributes {
  aon_text reference, style, type; /* data NULL: not there */
} cell_attributes;

/* All in one pass: there are millions of cells. */
static cell_attributes attributes_of(int count, const xmlChar **attributes) {
  cell_attributes found = {0};
  for (; count--; attributes += 5) {
    if (attributes[1] || attributes[0][1])
      continue;
    aon_text value = {(const char *)attributes[3], (size_t)(attributes[4] - attributes[3])};
    switch (attributes[0][0]) {
    case 'r': found.reference = value; break;
    case 's': found.style = value; break;
    case 't': found.type = value; break;
    default: break;
    }
  }
  return found;
}

static void cell_start(xlsx_rows *reader, int count, const xmlChar **attributes) {
  const aon_workbook *workbook = reader->rows.workbook;
  cell_attributes found = attributes_of(count, attributes);
  reader->place = AT_CELL;
  reader->has_value = false;
  reader->format = AON_NUMFMT_PLAIN;
  reader->content = CONTENT_NUMBER;
  aon_buffer_clear(&reader->value);
  place_cell(reader, found.reference.data ? &found.reference : NULL);
  if (reader->xml.failed)
    return;
  uint32_t style = found.style.data ? count_of(found.style.data, found.style.data + found.style.length) : 0;
  if (style < workbook->style_count)
    reader->format = (aon_numfmt)workbook->styles[style];
  else if (style) /* without its format a date would come out as a number */
    refuse_cell(reader, "names a cell format that the file does not hold");
  if (found.type.data && !content_of(found.type, &reader->content))
    refuse_cell(reader, "holds something of an unknown type");
}

static void put_cell(xlsx_rows *reader, aon_cell_type type, double number) {
  if (reader->cells_used == reader->cells_capacity &&
      !grow_list(reader, (void **)&reader->cells, &reader->cells_capacity, sizeof *reader->cells))
    return;
  reader->cells[reader->cells_used++] = (aon_cell){.column = reader->column, .type = type, .number = number};
}

/* Text is NUL-terminated. Until the row is handed out text.data is the offset of the text in the buffer. */
static void put_text(xlsx_rows *reader, aon_cell_type type, const char *text, size_t length) {
  size_t offset = reader->text.length;
  aon_result result = aon_buffer_append(&reader->text, text, length + 1, reader->xml.error);
  if (result == AON_PERMANENT || reader->text.length - reader->open_text > AON_LIMIT_ROW_BYTES) {
    refuse_limit(reader, "A row has more bytes of text", "row_bytes", AON_LIMIT_ROW_BYTES);
    return;
  }
  fail(reader, result);
  if (result)
    return;
  put_cell(reader, type, 0);
  if (!reader->xml.failed)
    reader->cells[reader->cells_used - 1].text = (aon_text){(const char *)(uintptr_t)offset, length};
}

/* Decimal digits with at most 19 of them and a small exponent, exactly as strtod would; false: leave it to strtod. Source: Clinger, "How to
 * Read Floating Point Numbers Accurately" (both factors are exact doubles, so their product or quotient is rounded once). */
static bool read_simple(const char *at, const char *end, double *ret_number) {
  static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  bool negative = at < end && *at == '-';
  uint64_t digits = 0;
  int count = 0, scale = 0;
  for (at += negative; at < end && *at >= '0' && *at <= '9'; at++, count++)
    digits = digits * 10 + (uint64_t)(*at - '0');
  if (at < end && *at == '.') {
    for (at++; at < end && *at >= '0' && *at <= '9'; at++, count++, scale++)
      digits = digits * 10 + (uint64_t)(*at - '0');
  }
  if (at != end || count == 0 || count > 19 || digits > UINT64_C(1) << 53 || scale > 22)
    return false;
  double number = (double)digits / powers[scale];
  *ret_number = negative ? -number : number;
  return true;
}

static bool read_number(xlsx_rows *reader, const char *text, size_t length, double *ret_number) {
  const char *end = text + length;
  if (read_simple(text, end, ret_number))
    return true;
  if (length > 400 || strspn(text, "+-.0123456789eE") != length)
    return false;
  char *stop;
  double number = strtod_l(text, &stop, reader->c_locale);
  if (stop != end || !isfinite(number))
    return false;
  *ret_number = number;
  return true;
}

static void put_number(xlsx_rows *reader, const char *text, size_t length) {
  double number;
  aon_serial serial;
  if (!read_number(reader, text, length, &number)) {
    refuse_cell(reader, "is said to be a number but holds something else");
    return;
  }
  if (reader->format == AON_NUMFMT_DURATION)
    put_cell(reader, AON_CELL_DURATION, round(number * 86400000.0) / 1000.0);
  else if (reader->format == AON_NUMFMT_DATE && aon_serial_format(number, reader->rows.workbook->date1904, &serial))
    put_text(reader, serial.is_time ? AON_CELL_TIME : AON_CELL_DATE, serial.text, serial.length);
  else
    put_cell(reader, AON_CELL_NUMBER, number);
}

static void put_shared(xlsx_rows *reader, const char *text, size_t length) {
  const aon_strings *strings = reader->rows.workbook->strings;
  uint64_t index = 0;
  bool good = length > 0 && length < 16;
  for (size_t i = 0; good && i < length; i++) {
    good = text[i] >= '0' && text[i] <= '9';
    index = index * 10 + (uint64_t)(text[i] - '0');
  }
  if (!good || !strings || index >= aon_strings_count(strings))
    refuse_cell(reader, "names a shared text that the file does not hold");
  else
    put_cell(reader, NOT_LOOKED_UP, (double)index);
}

static void put_boolean(xlsx_rows *reader, const char *text, size_t length) {
  bool yes = (length == 1 && *text == '1') || (length == 4 && !memcmp(text, "true", 4));
  bool no = (length == 1 && *text == '0') || (length == 5 && !memcmp(text, "false", 5));
  if (yes || no)
    put_cell(reader, AON_CELL_BOOLEAN, yes);
  else
    refuse_cell(reader, "is said to be true or false but holds something else");
}

static void put_iso(xlsx_rows *reader, const char *text, size_t length) {
  aon_serial serial;
  if (aon_serial_from_iso(text, length, &serial))
    put_text(reader, serial.is_time ? AON_CELL_TIME : AON_CELL_DATE, serial.text, serial.length);
  else
    refuse_cell(reader, "is said to be a date but holds something else");
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static void cell_end(xlsx_rows *reader) {
  reader->place = AT_ROW;
  char *text = reader->value.data;
  size_t length = reader->value.length;
  if (!reader->has_value || !length)
    return;
  if (reader->content == CONTENT_TEXT || reader->content == CONTENT_INLINE) {
    length = aon_text_unescape(text, length);
    text[length] = 0;
    put_text(reader, AON_CELL_TEXT, text, length);
    return;
  }
  while (length && is_blank(text[length - 1]))
    text[--length] = 0;
  while (length && is_blank(*text)) {
    text++;
    length--;
  }
  if (!length)
    return;
  switch (reader->content) {
  case CONTENT_SHARED: put_shared(reader, text, length); break;
  case CONTENT_BOOLEAN: put_boolean(reader, text, length); break;
  case CONTENT_ERROR: put_text(reader, AON_CELL_ERROR, text, length); break;
  case CONTENT_ISO: put_iso(reader, text, length); break;
  default: put_number(reader, text, length); break;
  }
}

/* ---- events ---- */

/* worksheet > sheetData > row > c > v, or c > is > t, or c > is > r > t. A formula (f) and phonetic runs (rPh) do not count. */
static bool enter(xlsx_rows *reader, const char *name, int count, const xmlChar **attributes) {
  switch (reader->place) {
  case AT_TOP:
    reader->is_worksheet = !strcmp(name, "worksheet");
    reader->place = AT_SHEET;
    return true;
  case AT_SHEET:
    if (strcmp(name, "sheetData"))
      return false;
    reader->place = AT_DATA;
    return true;
  case AT_DATA:
    if (strcmp(name, "row"))
      return false;
    row_start(reader, count, attributes);
    return true;
  case AT_ROW:
    if (strcmp(name, "c"))
      return false;
    cell_start(reader, count, attributes);
    return true;
  case AT_CELL:
    if (!strcmp(name, "v") && reader->content != CONTENT_INLINE)
      reader->place = AT_VALUE;
    else if (!strcmp(name, "is") && reader->content == CONTENT_INLINE)
      reader->place = AT_INLINE;
    else
      return false;
    reader->has_value = true;
    return true;
  case AT_INLINE:
    if (strcmp(name, "t") && strcmp(name, "r"))
      return false;
    reader->place = *name == 't' ? AT_TEXT : AT_INLINE_RUN;
    return true;
  case AT_INLINE_RUN:
    if (strcmp(name, "t"))
      return false;
    reader->place = AT_RUN_TEXT;
    return true;
  default: return false;
  }
}

static void on_start(aon_xml *xml, const char *name, bool foreign, int count, const xmlChar **attributes) {
  xlsx_rows *reader = (xlsx_rows *)xml;
  if (reader->skipped || foreign || !enter(reader, name, count, attributes))
    reader->skipped++;
}

static void on_end(aon_xml *xml, const char *name) {
  (void)name;
  xlsx_rows *reader = (xlsx_rows *)xml;
  if (reader->skipped) {
    reader->skipped--;
    return;
  }
  switch (reader->place) {
  case AT_RUN_TEXT: reader->place = AT_INLINE_RUN; break;
  case AT_TEXT:
  case AT_INLINE_RUN: reader->place = AT_INLINE; break;
  case AT_INLINE:
  case AT_VALUE: reader->place = AT_CELL; break;
  case AT_CELL: cell_end(reader); break;
  case AT_ROW: row_end(reader); break;
  case AT_DATA: reader->place = AT_SHEET; break;
  default: reader->place = AT_TOP; break;
  }
}

static void on_text(aon_xml *xml, const char *text, size_t length) {
  xlsx_rows *reader = (xlsx_rows *)xml;
  if (reader->skipped || (reader->place != AT_VALUE && reader->place != AT_TEXT && reader->place != AT_RUN_TEXT))
    return;
  uint32_t limit = limits_of(reader)->string_bytes;
  if (length > limit || reader->value.length > limit - length)
    refuse_limit(reader, "A cell has more bytes of text", "string_bytes", limit);
  else
    fail(reader, aon_buffer_append(&reader->value, text, length, reader->xml.error));
}

static const aon_xml_events events = {on_start, on_end, on_text};

/* ---- the cursor ---- */

/* All complete rows have been handed out: what belongs to the open one moves to the front. */
static void compact(xlsx_rows *reader) {
  size_t cells = reader->cells_used - reader->open_first, bytes = reader->text.length - reader->open_text;
  memmove(reader->cells, reader->cells + reader->open_first, cells * sizeof *reader->cells);
  for (size_t i = 0; i < cells; i++) {
    if (reader->cells[i].text.length)
      reader->cells[i].text.data = (const char *)((uintptr_t)reader->cells[i].text.data - reader->open_text);
  }
  if (bytes)
    memmove(reader->text.data, reader->text.data + reader->open_text, bytes);
  reader->text.length = bytes;
  reader->cells_used = cells;
  reader->open_first = reader->open_text = 0;
  reader->queue_count = reader->queue_next = 0;
}

static aon_result refuse_row_bytes(const xlsx_rows *reader, uint32_t row, aon_error *error) {
  aon_result result = aon_refuse_limit(error, "This row has more bytes of text", "row_bytes", AON_LIMIT_ROW_BYTES);
  aon_error_prefix(error, "Sheet “%s”, row %u: ", reader->rows.sheet->name, row);
  return result;
}

/* Offsets become pointers, references texts. Strings that come from the file go to scratch, whose address is known only at the end. */
static aon_result hand_out(xlsx_rows *reader, const queued_row *row, aon_error *error) {
  aon_cell *cells = reader->cells + row->first;
  size_t kept = 0;
  reader->scratch.limit = AON_LIMIT_ROW_BYTES;
  aon_buffer_clear(&reader->scratch);
  for (size_t i = 0; i < row->count; i++) {
    aon_cell cell = cells[i];
    size_t offset = 0;
    bool spilled = false;
    if (cell.type == NOT_LOOKED_UP) {
      aon_result result =
          aon_strings_get(reader->rows.workbook->strings, (uint64_t)cell.number, &reader->scratch, &cell.text, &offset, error);
      if (result == AON_PERMANENT)
        return refuse_row_bytes(reader, row->number, error);
      if (result)
        return result;
      spilled = !cell.text.data;
      cell.number = spilled ? (double)(offset + 1) : 0;
      cell.type = AON_CELL_TEXT;
    } else if (cell.text.length) {
      cell.text.data = reader->text.data + (uintptr_t)cell.text.data;
    }
    if (cell.type == AON_CELL_TEXT && !cell.text.length)
      continue;
    cells[kept++] = cell;
  }
  for (size_t i = 0; i < kept; i++) {
    if (cells[i].type == AON_CELL_TEXT && !cells[i].text.data) {
      cells[i].text.data = reader->scratch.data + ((size_t)cells[i].number - 1);
      cells[i].number = 0;
    }
  }
  reader->out = (aon_row){row->number, cells, kept};
  return AON_OK;
}

static aon_result finish(xlsx_rows *reader, aon_error *error) {
  if (!reader->is_worksheet)
    return aon_refuse(error, "This file is damaged: the part with the cells of the sheet “%s” is no worksheet. " AON_SAVE_AGAIN,
                      reader->rows.sheet->name);
  return AON_END;
}

static aon_result next(aon_rows *rows, const aon_row **ret_row, aon_error *error) {
  xlsx_rows *reader = of_rows(rows);
  if (reader->xml.failed) /* rows that were complete before the failure are not handed out after it */
    return aon_fail(error, AON_USAGE, "wrong_state", "The sheet “%s” has failed before.", rows->sheet->name);
  for (;;) {
    while (reader->queue_next < reader->queue_count) {
      aon_result result = hand_out(reader, &reader->queue[reader->queue_next++], error);
      if (result)
        return result;
      if (reader->out.count) {
        *ret_row = &reader->out;
        return AON_OK;
      }
    }
    if (reader->cells)
      compact(reader);
    aon_result result = aon_xml_pump(&reader->xml, error);
    if (result && !(result == AON_END && reader->queue_count))
      return result == AON_END ? finish(reader, error) : result;
  }
}

static void close_rows(aon_rows *rows) {
  xlsx_rows *reader = of_rows(rows);
  aon_xml_close(&reader->xml);
  free(reader->cells);
  free(reader->queue);
  aon_buffer_release(&reader->value);
  aon_buffer_release(&reader->text);
  aon_buffer_release(&reader->scratch);
  if (reader->c_locale)
    freelocale(reader->c_locale);
  free(reader);
}

static const aon_rows_ops xlsx_ops = {next, close_rows};

aon_result aon_xlsx_rows_open(aon_workbook *workbook, size_t sheet, aon_rows **ret_rows, aon_error *error) {
  xlsx_rows *reader = calloc(1, sizeof *reader);
  if (!reader)
    return aon_fail_memory(error);
  reader->rows = (aon_rows){&xlsx_ops, workbook, &workbook->sheets[sheet]};
  reader->c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  aon_result result = reader->c_locale ? AON_OK : aon_fail_memory(error);
  if (!result)
    result = aon_xml_open(&reader->xml, workbook->package, workbook->sheets[sheet].part, &events, error);
  if (result) {
    close_rows(&reader->rows);
    return result;
  }
  *ret_rows = &reader->rows;
  return AON_OK;
}
