/* What rows and cells of a worksheet mean: places, types, numbers, dates, texts. Nothing here parses XML. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/text.h"
#include "sheet/xlsx_rows.h"

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

void aon_xlsx_row_start(xlsx_rows *reader, const aon_text *reference) {
  reader->place = AT_ROW;
  reader->row = 0;
  reader->last_column = 0;
  reader->unordered = false;
  if (!reference)
    return;
  uint32_t number = count_of(reference->data, reference->data + reference->length);
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

void aon_xlsx_row_end(xlsx_rows *reader) {
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

static bool content_of(aon_text type, xlsx_content *ret_content) {
  static const struct {
    aon_text name;
    xlsx_content content;
  } contents[] = {{AON_TEXT("s"), CONTENT_SHARED},  {AON_TEXT("n"), CONTENT_NUMBER},
                  {AON_TEXT("str"), CONTENT_TEXT},  {AON_TEXT("inlineStr"), CONTENT_INLINE},
                  {AON_TEXT("b"), CONTENT_BOOLEAN}, {AON_TEXT("e"), CONTENT_ERROR},
                  {AON_TEXT("d"), CONTENT_ISO}};
  for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
    if (contents[i].name.length == type.length && !memcmp(contents[i].name.data, type.data, type.length)) {
      *ret_content = contents[i].content;
      return true;
    }
  }
  return false;
}

static void begin_cell(xlsx_rows *reader, const xlsx_cell_attributes *attributes) {
  const aon_workbook *workbook = reader->rows.workbook;
  reader->format = AON_NUMFMT_PLAIN;
  reader->content = CONTENT_NUMBER;
  place_cell(reader, attributes->reference.data ? &attributes->reference : NULL);
  if (reader->xml.failed)
    return;
  uint32_t style = attributes->style.data ? count_of(attributes->style.data, attributes->style.data + attributes->style.length) : 0;
  if (style < workbook->style_count)
    reader->format = (aon_numfmt)workbook->styles[style];
  else if (style) /* without its format a date would come out as a number */
    refuse_cell(reader, "names a cell format that the file does not hold");
  /* A refusal stops the parser, and its memory, where the attributes lie, is gone. */
  if (!reader->xml.failed && attributes->type.data && !content_of(attributes->type, &reader->content))
    refuse_cell(reader, "holds something of an unknown type");
}

void aon_xlsx_cell_start(xlsx_rows *reader, const xlsx_cell_attributes *attributes) {
  reader->place = AT_CELL;
  reader->has_value = false;
  aon_buffer_clear(&reader->value);
  begin_cell(reader, attributes);
}

static void put_cell(xlsx_rows *reader, aon_cell_type type, double number) {
  if (reader->cells_used == reader->cells_capacity &&
      !grow_list(reader, (void **)&reader->cells, &reader->cells_capacity, sizeof *reader->cells))
    return;
  reader->cells[reader->cells_used++] = (aon_cell){.column = reader->column, .type = type, .number = number};
}

/* Text is NUL-terminated. Until the row is handed out text.data is the offset of the text in the buffer. escaped: with _xHHHH_ in it. */
static void put_text(xlsx_rows *reader, aon_cell_type type, const char *text, size_t length, bool escaped) {
  size_t offset = reader->text.length;
  aon_result result = aon_buffer_reserve(&reader->text, length + 1, reader->xml.error);
  if (result == AON_PERMANENT || offset + length - reader->open_text > AON_LIMIT_ROW_BYTES) {
    refuse_limit(reader, "A row has more bytes of text", "row_bytes", AON_LIMIT_ROW_BYTES);
    return;
  }
  fail(reader, result);
  if (result)
    return;
  char *copy = reader->text.data + offset;
  memcpy(copy, text, length);
  if (escaped)
    length = aon_text_unescape(copy, length);
  copy[length] = copy[length + 1] = 0;
  reader->text.length = offset + length + 1;
  put_cell(reader, type, 0);
  if (!reader->xml.failed)
    reader->cells[reader->cells_used - 1].text = (aon_text){(const char *)(uintptr_t)offset, length};
}

#ifdef __SIZEOF_INT128__
/* digits / 10^scale, rounded once: the quotient's highest 64 bits, the last of which stands for all that is left, become a double, and that
 * conversion rounds. */
static double divide_exactly(uint64_t digits, int scale) {
  uint64_t power = 1;
  for (int i = 0; i < scale; i++)
    power *= 10;
  int shift = 64 + __builtin_clzll(digits);
  unsigned __int128 whole = (unsigned __int128)digits << shift, quotient = whole / power;
  int more = 64 - (quotient >> 64 ? __builtin_clzll((uint64_t)(quotient >> 64)) : 64);
  uint64_t top = (uint64_t)(quotient >> more);
  bool rest = ((unsigned __int128)top << more) != quotient || quotient * power != whole;
  return ldexp((double)(top | rest), more - shift);
}
#endif

/* Decimal digits without an exponent, exactly as strtod would; false: leave it to strtod. Source: Clinger, "How to Read Floating Point
 * Numbers Accurately" (where both are exact doubles, their quotient is rounded once). */
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
  if (at != end || count == 0 || count > 19)
    return false;
  double number;
  if (digits <= UINT64_C(1) << 53)
    number = (double)digits / powers[scale];
  else
#ifdef __SIZEOF_INT128__
    number = divide_exactly(digits, scale);
#else
    return false;
#endif
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
    put_text(reader, serial.is_time ? AON_CELL_TIME : AON_CELL_DATE, serial.text, serial.length, false);
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
    put_cell(reader, AON_NOT_LOOKED_UP, (double)index);
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
    put_text(reader, serial.is_time ? AON_CELL_TIME : AON_CELL_DATE, serial.text, serial.length, false);
  else
    refuse_cell(reader, "is said to be a date but holds something else");
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/* What a cell holds; behind the text stands a byte that is none of a number. */
static void put_content(xlsx_rows *reader, const char *text, size_t length) {
  if (reader->content == CONTENT_TEXT || reader->content == CONTENT_INLINE) {
    put_text(reader, AON_CELL_TEXT, text, length, true);
    return;
  }
  while (length && is_blank(text[length - 1]))
    length--;
  while (length && is_blank(*text)) {
    text++;
    length--;
  }
  if (!length)
    return;
  switch (reader->content) {
  case CONTENT_SHARED:
    put_shared(reader, text, length);
    break;
  case CONTENT_BOOLEAN:
    put_boolean(reader, text, length);
    break;
  case CONTENT_ERROR:
    put_text(reader, AON_CELL_ERROR, text, length, false);
    break;
  case CONTENT_ISO:
    put_iso(reader, text, length);
    break;
  default:
    put_number(reader, text, length);
    break;
  }
}

static bool fits(xlsx_rows *reader, size_t length) {
  uint32_t limit = limits_of(reader)->string_bytes;
  if (length > limit)
    refuse_limit(reader, "A cell has more bytes of text", "string_bytes", limit);
  return length <= limit;
}

void aon_xlsx_cell_end(xlsx_rows *reader) {
  reader->place = AT_ROW;
  if (reader->has_value && reader->value.length)
    put_content(reader, reader->value.data, reader->value.length);
}

void aon_xlsx_cell_text(xlsx_rows *reader, const char *text, size_t length) {
  if (fits(reader, reader->value.length + length))
    fail(reader, aon_buffer_append(&reader->value, text, length, reader->xml.error));
}

void aon_xlsx_cell_whole(xlsx_rows *reader, const xlsx_cell_attributes *attributes, aon_text value, aon_text inline_text) {
  begin_cell(reader, attributes);
  aon_text text = reader->content == CONTENT_INLINE ? inline_text : value;
  if (!reader->xml.failed && text.length && fits(reader, text.length))
    put_content(reader, text.data, text.length);
}
