/* The cursor over a worksheet: a push parser and a scanner of plain rows are fed whenever no complete row is left.
 *
 * Invariants: the queue holds what one chunk completes, plus the row that is still open; offsets, not pointers, are kept into
 * "text" until a row is handed out, because the buffer grows and moves. A shared string is looked up only then, so a chunk full of
 * references to long strings costs nothing. Rows come in ascending order or the sheet is refused: sorting would need all of them. */
#include "sheet/xlsx_rows.h"

#include <stdlib.h>
#include <string.h>

static xlsx_rows *of_rows(aon_rows *rows) { return (xlsx_rows *)((char *)rows - offsetof(xlsx_rows, rows)); }

/* ---- events ---- */

/* All in one pass: there are millions of cells. */
static xlsx_cell_attributes attributes_of(int count, const xmlChar **attributes) {
  xlsx_cell_attributes found = {0};
  for (; count--; attributes += 5) {
    if (attributes[1] || attributes[0][1])
      continue;
    aon_text value = {(const char *)attributes[3], (size_t)(attributes[4] - attributes[3])};
    switch (attributes[0][0]) {
    case 'r':
      found.reference = value;
      break;
    case 's':
      found.style = value;
      break;
    case 't':
      found.type = value;
      break;
    default:
      break;
    }
  }
  return found;
}

/* worksheet > sheetData > row > c > v, or c > is > t, or c > is > r > t. A formula (f) and phonetic runs (rPh) do not count. */
static bool enter(xlsx_rows *reader, const char *name, int count, const xmlChar **attributes) {
  aon_text reference;
  xlsx_cell_attributes found;
  switch (reader->place) {
  case AT_TOP:
    reader->is_worksheet = !strcmp(name, "worksheet");
    reader->place = AT_SHEET;
    return true;
  case AT_SHEET:
    if (strcmp(name, "sheetData"))
      return false;
    reader->place = AT_DATA;
    reader->plain = !reader->xml.prefixed;
    return true;
  case AT_DATA:
    if (strcmp(name, "row"))
      return false;
    if (aon_xml_attribute(count, attributes, "r", &reference))
      aon_xlsx_row_start(reader, &reference);
    else
      aon_xlsx_row_start(reader, NULL);
    return true;
  case AT_ROW:
    if (strcmp(name, "c"))
      return false;
    found = attributes_of(count, attributes);
    aon_xlsx_cell_start(reader, &found);
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
  default:
    return false;
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
  case AT_RUN_TEXT:
    reader->place = AT_INLINE_RUN;
    break;
  case AT_TEXT:
  case AT_INLINE_RUN:
    reader->place = AT_INLINE;
    break;
  case AT_INLINE:
  case AT_VALUE:
    reader->place = AT_CELL;
    break;
  case AT_CELL:
    aon_xlsx_cell_end(reader);
    break;
  case AT_ROW:
    aon_xlsx_row_end(reader);
    break;
  case AT_DATA:
    reader->place = AT_SHEET;
    break;
  default:
    reader->place = AT_TOP;
    break;
  }
}

static void on_text(aon_xml *xml, const char *text, size_t length) {
  xlsx_rows *reader = (xlsx_rows *)xml;
  if (!reader->skipped && (reader->place == AT_VALUE || reader->place == AT_TEXT || reader->place == AT_RUN_TEXT))
    aon_xlsx_cell_text(reader, text, length);
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
    if (cell.type == AON_NOT_LOOKED_UP) {
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

static bool ready(const aon_xml *xml) {
  const xlsx_rows *reader = (const xlsx_rows *)xml;
  return reader->place == AT_DATA && !reader->skipped && reader->plain;
}

static const aon_mixed_ops mixed_ops = {ready, aon_xlsx_plain_rows, {"</row>", "<sheetData>"}};

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
    aon_result result = aon_mixed_step(&reader->bytes, error);
    if (result && !(result == AON_END && reader->queue_count))
      return result == AON_END ? finish(reader, error) : result;
  }
}

static void close_rows(aon_rows *rows) {
  xlsx_rows *reader = of_rows(rows);
  aon_xml_close(&reader->xml);
  aon_mixed_close(&reader->bytes);
  free(reader->plain_cells);
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
  if (!result)
    result = aon_mixed_open(&reader->bytes, workbook->env, &reader->xml, &mixed_ops, error);
  if (result) {
    close_rows(&reader->rows);
    return result;
  }
  *ret_rows = &reader->rows;
  return AON_OK;
}
