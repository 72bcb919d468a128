/* The worksheet as a stream of tags: sheetData's rows and cells are looked at where there is something to do, all else is copied.
 *
 * Invariant: faults[0, next) lie in rows that have been passed; made cells stand in ascending order among those that are there. A row or
 * cell without r stands behind the one before it (18.3.1.73, 18.3.1.4). */
#include "sheet/report_cells.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX_BYTES 64
#define COLUMN_RANGES 16384 /* <col> elements that are remembered: there are no more columns */
#define RELATIONS "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
#define RELATIONS_STRICT "http://purl.oclc.org/ooxml/officeDocument/relationships"

typedef struct column_range {
  uint32_t first, last, style;
} column_range;

typedef struct cell_stream {
  aon_cells_edit *edit;
  aon_sink *sink;
  aon_buffer tag; /* the one being changed */
  char prefix[PREFIX_BYTES];
  bool strict, related; /* related: the root declares r: */
  uint32_t depth;
  enum { BEFORE, IN_COLUMNS, IN_DATA, BEHIND } place;
  bool drawn; /* legacyDrawing is written or there */
  column_range *columns;
  size_t column_count;
  uint32_t row, column; /* the last ones */
  uint32_t highest;     /* row so far: sheets whose rows don't ascend exist */
  uint32_t row_style;
  bool faulty_row;
  size_t next;       /* first fault in a row not yet passed */
  size_t here, stop; /* faults of this row not yet passed, and their end */
} cell_stream;

static aon_fault *fault_at(cell_stream *cells, size_t i) { return &cells->edit->faults->items[i]; }

static void copy(cell_stream *cells, const aon_token *token) { aon_sink_put(cells->sink, token->bytes.data, token->bytes.length); }

/* The token into cells->tag, to be changed. */
static aon_result lift(cell_stream *cells, const aon_token *token, aon_error *error) {
  aon_buffer_clear(&cells->tag);
  return aon_buffer_append(&cells->tag, token->bytes.data, token->bytes.length, error);
}

static void put_tag(cell_stream *cells) { aon_sink_put(cells->sink, cells->tag.data, cells->tag.length); }

static void root(cell_stream *cells, const aon_token *token) {
  snprintf(cells->prefix, sizeof cells->prefix, "%.*s", (int)token->prefix.length, token->prefix.data);
  cells->strict = memmem(token->bytes.data, token->bytes.length, "purl.oclc.org/ooxml/spreadsheetml/main", 38) != NULL;
  aon_text space;
  cells->related = aon_tag_attribute(token->bytes, "xmlns:r", &space) && aon_text_is(space, cells->strict ? RELATIONS_STRICT : RELATIONS);
}

/* --- around the cells --- */

static void drawing_add(cell_stream *cells) {
  if (cells->drawn || !cells->edit->drawing_id)
    return;
  aon_sink_format(cells->sink, "<%slegacyDrawing%s%s%s r:id=\"%s\"/>", cells->prefix, cells->related ? "" : " xmlns:r=\"",
                  cells->related  ? ""
                  : cells->strict ? RELATIONS_STRICT
                                  : RELATIONS,
                  cells->related ? "" : "\"", cells->edit->drawing_id);
  cells->drawn = true;
}

/* Elements that the schema puts behind legacyDrawing. */
static bool behind_drawing(const cell_stream *cells, aon_text name) {
  static const char *const names[] = {"legacyDrawingHF", "drawingHF",       "picture",    "oleObjects",
                                      "controls",        "webPublishItems", "tableParts", "extLst"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (aon_text_is(name, names[i]))
      return true;
  }
  return aon_text_is(name, "AlternateContent") && !cells->edit->has_drawing; /* else it wraps controls behind a drawing to come */
}

static void drawing_found(cell_stream *cells, const aon_token *token) {
  aon_text id;
  if (!aon_tag_attribute(token->bytes, ":id", &id) || id.length >= AON_RELATION_ID_BYTES)
    return;
  memcpy(cells->edit->found_id, id.data, id.length);
  cells->edit->found_id[id.length] = 0;
  cells->drawn = true;
}

static void widen(uint32_t bounds[4], uint32_t row, uint32_t column) {
  bounds[0] = row < bounds[0] ? row : bounds[0];
  bounds[1] = column < bounds[1] ? column : bounds[1];
  bounds[2] = row > bounds[2] ? row : bounds[2];
  bounds[3] = column > bounds[3] ? column : bounds[3];
}

/* ref="A1:M21" widened over all faults; one that can't be read stays as it is. */
static aon_result dimension(cell_stream *cells, const aon_token *token, aon_error *error) {
  aon_text ref;
  uint32_t bounds[4] = {UINT32_MAX, UINT32_MAX, 0, 0}, row, column;
  aon_result result = lift(cells, token, error);
  if (result || !cells->edit->faults->count || !aon_tag_attribute(token->bytes, "ref", &ref))
    goto out;
  const char *colon = memchr(ref.data, ':', ref.length);
  aon_text first = {ref.data, colon ? (size_t)(colon - ref.data) : ref.length};
  aon_text last = colon ? (aon_text){colon + 1, ref.length - first.length - 1} : first;
  if (!aon_cell_parse(first, &row, &column) || !row || !column)
    goto out;
  widen(bounds, row, column);
  if (!aon_cell_parse(last, &row, &column) || !row || !column)
    goto out;
  widen(bounds, row, column);
  uint32_t was[4];
  memcpy(was, bounds, sizeof was);
  for (size_t i = 0; i < cells->edit->faults->count; i++)
    widen(bounds, fault_at(cells, i)->row, fault_at(cells, i)->column);
  if (memcmp(was, bounds, sizeof was)) {
    char from[AON_FAULT_REFERENCE], to[AON_FAULT_REFERENCE], text[2 * AON_FAULT_REFERENCE + 1];
    aon_cell_reference(bounds[0], bounds[1], from);
    aon_cell_reference(bounds[2], bounds[3], to);
    snprintf(text, sizeof text, "%s:%s", from, to);
    result = aon_tag_set(&cells->tag, "ref", text, error);
  }
out:
  if (!result)
    put_tag(cells);
  return result;
}

static aon_result column_keep(cell_stream *cells, const aon_token *token, aon_error *error) {
  uint32_t style = aon_tag_number(token->bytes, "style", 0);
  if (!style || cells->column_count == COLUMN_RANGES)
    return AON_OK;
  if (!cells->columns && !(cells->columns = calloc(COLUMN_RANGES, sizeof *cells->columns)))
    return aon_fail_memory(error);
  cells->columns[cells->column_count++] =
      (column_range){aon_tag_number(token->bytes, "min", 0), aon_tag_number(token->bytes, "max", 0), style};
  return AON_OK;
}

/* --- styles --- */

/* A style as a cell names it, without our colour of an earlier report; one that the workbook doesn't have is none. */
static aon_result style_plain(cell_stream *cells, uint32_t style, uint32_t *ret_style, aon_error *error) {
  if (style >= aon_styles_count(cells->edit->styles))
    style = 0;
  return aon_styles_restore(cells->edit->styles, style, ret_style, error);
}

static uint32_t style_of_column(const cell_stream *cells, uint32_t column) {
  for (size_t i = 0; i < cells->column_count; i++) {
    if (column >= cells->columns[i].first && column <= cells->columns[i].last)
      return cells->columns[i].style;
  }
  return 0;
}

static aon_result cell_make(cell_stream *cells, aon_fault *fault, aon_error *error) {
  char reference[AON_FAULT_REFERENCE];
  uint32_t style = cells->row_style ? cells->row_style : style_of_column(cells, fault->column);
  aon_result result = style_plain(cells, style, &style, error);
  if (!result)
    result = aon_styles_mark(cells->edit->styles, style, &style, error);
  if (result)
    return result;
  aon_cell_reference(fault->row, fault->column, reference);
  aon_sink_format(cells->sink, "<%sc r=\"%s\" s=\"%u\"/>", cells->prefix, reference, style);
  fault->placed = true;
  return AON_OK;
}

static aon_result cell_restyle(cell_stream *cells, const aon_token *token, bool mark, aon_error *error) {
  uint32_t was = aon_tag_number(token->bytes, "s", 0), style = was;
  aon_result result = style_plain(cells, was, &style, error);
  if (!result && mark)
    result = aon_styles_mark(cells->edit->styles, style, &style, error);
  if (!result && style == was) {
    copy(cells, token);
    return AON_OK;
  }
  if (!result)
    result = lift(cells, token, error);
  if (!result)
    result = style ? aon_tag_set_number(&cells->tag, "s", style, error) : aon_tag_set(&cells->tag, "s", NULL, error);
  if (!result)
    put_tag(cells);
  return result;
}

/* --- rows and cells --- */

/* Cells of this row that are to be made before the given column. */
static aon_result cells_make(cell_stream *cells, uint32_t before, aon_error *error) {
  aon_result result = AON_OK;
  for (; !result && cells->here < cells->stop && fault_at(cells, cells->here)->column < before; cells->here++) {
    if (!fault_at(cells, cells->here)->placed)
      result = cell_make(cells, fault_at(cells, cells->here), error);
  }
  return result;
}

static size_t row_end(cell_stream *cells, size_t from) {
  uint32_t row = fault_at(cells, from)->row;
  while (from < cells->edit->faults->count && fault_at(cells, from)->row == row)
    from++;
  return from;
}

/* Rows that are to be made before the given one. */
static aon_result rows_make(cell_stream *cells, uint32_t before, aon_error *error) {
  aon_result result = AON_OK;
  while (!result && cells->next < cells->edit->faults->count && fault_at(cells, cells->next)->row < before) {
    cells->here = cells->next;
    cells->next = cells->stop = row_end(cells, cells->next);
    cells->row_style = 0;
    aon_sink_format(cells->sink, "<%srow r=\"%u\">", cells->prefix, fault_at(cells, cells->here)->row);
    result = cells_make(cells, UINT32_MAX, error);
    aon_sink_format(cells->sink, "</%srow>", cells->prefix);
  }
  return result;
}

/* Finds the faults of this row. Rows that don't ascend are marked where they have the cell. */
static aon_result row_enter(cell_stream *cells, const aon_token *token, aon_error *error) {
  uint32_t number = aon_tag_number(token->bytes, "r", cells->row + 1);
  size_t count = cells->edit->faults->count;
  aon_result result = rows_make(cells, number, error);
  if (result)
    return result;
  cells->here = number <= cells->highest ? aon_faults_from(cells->edit->faults, number, 0) : cells->next;
  cells->faulty_row = cells->here < count && fault_at(cells, cells->here)->row == number;
  cells->stop = cells->faulty_row ? row_end(cells, cells->here) : cells->here;
  cells->next = cells->stop > cells->next ? cells->stop : cells->next;
  cells->row = number;
  cells->highest = number > cells->highest ? number : cells->highest;
  cells->column = 0;
  cells->row_style = aon_tag_flag(token->bytes, "customFormat") ? aon_tag_number(token->bytes, "s", 0) : 0;
  return AON_OK;
}

static aon_result row_open(cell_stream *cells, const aon_token *token, aon_error *error) {
  aon_result result = row_enter(cells, token, error);
  if (result || !cells->faulty_row) {
    if (!result)
      copy(cells, token);
    return result;
  }
  result = lift(cells, token, error);
  if (!result)
    result = aon_tag_set(&cells->tag, "spans", NULL, error);
  if (!result && token->kind == AON_TOKEN_EMPTY)
    result = aon_tag_unclose(&cells->tag, error);
  if (result)
    return result;
  put_tag(cells);
  if (token->kind == AON_TOKEN_EMPTY) {
    result = cells_make(cells, UINT32_MAX, error);
    aon_sink_format(cells->sink, "</%srow>", cells->prefix);
  }
  return result;
}

static uint32_t column_of(const cell_stream *cells, const aon_token *token) {
  aon_text reference;
  uint32_t row, column;
  if (aon_tag_attribute(token->bytes, "r", &reference) && aon_cell_parse(reference, &row, &column) && column)
    return column;
  return cells->column + 1;
}

static aon_result cell(cell_stream *cells, const aon_token *token, aon_error *error) {
  bool faulty = false;
  if (cells->faulty_row) {
    cells->column = column_of(cells, token);
    aon_result result = cells_make(cells, cells->column, error);
    if (result)
      return result;
    size_t at = aon_faults_from(cells->edit->faults, cells->row, cells->column);
    faulty = at < cells->stop && fault_at(cells, at)->column == cells->column && fault_at(cells, at)->row == cells->row;
    if (faulty)
      fault_at(cells, at)->placed = true;
  }
  if (faulty || cells->edit->restore || cells->edit->strip)
    return cell_restyle(cells, token, faulty, error);
  copy(cells, token);
  return AON_OK;
}

/* --- the sheet --- */

static aon_result data_open(cell_stream *cells, const aon_token *token, aon_error *error) {
  cells->place = IN_DATA;
  if (token->kind != AON_TOKEN_EMPTY || !cells->edit->faults->count) {
    copy(cells, token);
    cells->place = token->kind == AON_TOKEN_EMPTY ? BEHIND : IN_DATA;
    return AON_OK;
  }
  aon_result result = lift(cells, token, error);
  if (!result)
    result = aon_tag_unclose(&cells->tag, error);
  if (result)
    return result;
  put_tag(cells);
  result = rows_make(cells, UINT32_MAX, error);
  aon_sink_format(cells->sink, "</%ssheetData>", cells->prefix);
  cells->place = BEHIND;
  return result;
}

static aon_result child_open(cell_stream *cells, const aon_token *token, aon_error *error) {
  if (cells->place != IN_DATA && aon_text_is(token->local, "sheetData"))
    return data_open(cells, token, error);
  if (aon_text_is(token->local, "dimension"))
    return dimension(cells, token, error);
  if (aon_text_is(token->local, "cols") && token->kind == AON_TOKEN_START)
    cells->place = IN_COLUMNS;
  if (aon_text_is(token->local, "legacyDrawing"))
    drawing_found(cells, token);
  if (cells->place == BEHIND && behind_drawing(cells, token->local))
    drawing_add(cells);
  copy(cells, token);
  return AON_OK;
}

static aon_result opened(cell_stream *cells, const aon_token *token, aon_error *error) {
  if (cells->depth == 0)
    root(cells, token);
  if (cells->depth == 1)
    return child_open(cells, token, error);
  if (cells->depth == 2 && cells->place == IN_DATA && aon_text_is(token->local, "row"))
    return row_open(cells, token, error);
  if (cells->depth == 3 && cells->place == IN_DATA && aon_text_is(token->local, "c"))
    return cell(cells, token, error);
  copy(cells, token);
  return cells->depth == 2 && cells->place == IN_COLUMNS && aon_text_is(token->local, "col") ? column_keep(cells, token, error) : AON_OK;
}

static aon_result closing(cell_stream *cells, const aon_token *token, aon_error *error) {
  aon_result result = AON_OK;
  if (cells->depth == 2 && cells->place == IN_DATA && aon_text_is(token->local, "row"))
    result = cells_make(cells, UINT32_MAX, error);
  if (cells->depth == 1 && cells->place == IN_DATA)
    result = rows_make(cells, UINT32_MAX, error);
  if (cells->depth == 1 && cells->place != BEFORE)
    cells->place = cells->place == IN_COLUMNS ? BEFORE : BEHIND;
  if (cells->depth == 0)
    drawing_add(cells);
  copy(cells, token);
  return result;
}

static aon_result step(cell_stream *cells, const aon_token *token, aon_error *error) {
  if (!aon_token_tag(token)) {
    copy(cells, token);
    return AON_OK;
  }
  if (token->kind == AON_TOKEN_CLOSE) {
    if (cells->depth)
      cells->depth--;
    return closing(cells, token, error);
  }
  aon_result result = opened(cells, token, error);
  if (token->kind == AON_TOKEN_START)
    cells->depth++;
  return result;
}

aon_result aon_cells_edit_run(aon_cells_edit *edit, const aon_markup_input *input, aon_sink *sink, aon_error *error) {
  AON_MARKUP_CLEANUP aon_markup *markup = NULL;
  cell_stream cells = {.edit = edit, .sink = sink};
  edit->found_id[0] = 0;
  aon_result result = aon_markup_open(input, &markup, error);
  aon_token token;
  while (!result && !(result = aon_markup_next(markup, &token, error)))
    result = step(&cells, &token, error);
  aon_buffer_release(&cells.tag);
  free(cells.columns);
  return result == AON_END ? AON_OK : result;
}
