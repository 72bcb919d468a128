/* The first way over the workbook: every sheet once, every cell judged by its column, rows put into the stage. What a row needs to know
 * of other rows of its own sheet (the same id, the same unique value) is found here too; the rest is validate.c. */
#include "pack/job.h"

#include <stdlib.h>
#include <string.h>

#include "sheet/report.h"

#define COLUMNS_LIMIT 16384

static aon_result keep_text(aon_pack_job *job, const char *text, char **ret_text, aon_error *error) {
  *ret_text = aon_arena_text(&job->arena, text ? text : "", text ? strlen(text) : 0);
  return *ret_text ? AON_OK : aon_fail_memory(error);
}

/* ---- Sheets ---- */

static aon_result nearest_name(const char *name, const char *const *names, size_t count, aon_buffer *sentence, aon_error *error) {
  const char *nearest;
  aon_result result = aon_nearest((aon_text){name, strlen(name)}, names, count, &nearest, error);
  if (!result && nearest)
    result = aon_buffer_format(sentence, error, " Did you mean “%s”?", nearest);
  return result;
}

static aon_result unknown_sheet(aon_pack_job *job, size_t place, const char *name, aon_error *error) {
  const aon_schema *schema = &job->pack->schema;
  const char *names[AON_SCHEMA_SHEETS];
  for (size_t i = 0; i < schema->sheet_count; i++)
    names[i] = schema->sheets[i].name;
  aon_buffer sentence AON_BUFFER_CLEANUP = {0};
  aon_result result = aon_buffer_format(&sentence, error, "%s: This sheet is not known to the pack and was left out.", name);
  if (!result)
    result = nearest_name(name, names, schema->sheet_count, &sentence, error);
  if (result)
    return result;
  aon_finding finding = {
      .severity = AON_PROBLEM_WARNING, .place = place, .sheet = name, .code = "unknown_sheet", .sentence = sentence.data};
  return aon_finding_add(job, &finding, error);
}

static aon_result second_sheet(aon_pack_job *job, const aon_schema_sheet *sheet, size_t place, const char *name, aon_error *error) {
  aon_buffer sentence AON_BUFFER_CLEANUP = {0};
  aon_result result = aon_buffer_format(
      &sentence, error, "%s!A1: The sheet “%s” is there already as “%s”. Put all rows into one of the two and delete the other.", name,
      sheet->name, job->sheets[sheet->index].name);
  if (result)
    return result;
  aon_finding finding = {.place = place, .sheet = name, .row = 1, .column = 1, .code = "duplicate", .sentence = sentence.data};
  return aon_finding_add(job, &finding, error);
}

static aon_result no_sheet(aon_pack_job *job, aon_error *error) {
  const aon_schema *schema = &job->pack->schema;
  aon_buffer sentence AON_BUFFER_CLEANUP = {0};
  aon_result result = aon_buffer_format(&sentence, error, "%s has none of the sheets of the pack “%s”: ",
                                        job->input->file_name ? job->input->file_name : "The workbook", schema->name);
  for (size_t i = 0; i < schema->sheet_count && !result; i++)
    result = aon_buffer_format(&sentence, error, "%s%s", i ? ", " : "", schema->sheets[i].name);
  if (!result)
    result =
        aon_buffer_format(&sentence, error, ". Name its sheets so, or start from the template (“aon pack template %s”).", schema->name);
  if (result)
    return result;
  aon_finding finding = {.code = "bad_file", .sentence = sentence.data};
  return aon_finding_add(job, &finding, error);
}

/* ---- Headings ---- */

typedef struct sheet_reader {
  aon_pack_job *job;
  const aon_schema_sheet *sheet;
  aon_job_sheet *in_file;
  uint8_t map[COLUMNS_LIMIT + 1]; /* number in the file -> index of the column + 1 */
} sheet_reader;

static aon_result heading_finding(sheet_reader *r, aon_severity severity, const aon_cell *cell, const char *heading, const char *code,
                                  const char *sentence, aon_error *error) {
  char letters[8];
  aon_column_name(cell->column, letters);
  aon_buffer text AON_BUFFER_CLEANUP = {0};
  aon_result result = aon_buffer_format(&text, error, "%s!%s%u: %s", r->in_file->name, letters, r->in_file->heading_row, sentence);
  if (result)
    return result;
  aon_finding finding = {.severity = severity,
                         .place = r->in_file->place,
                         .sheet = r->in_file->name,
                         .row = r->in_file->heading_row,
                         .column = cell->column,
                         .heading = heading,
                         .value = heading,
                         .code = code,
                         .sentence = text.data};
  return aon_finding_add(r->job, &finding, error);
}

static aon_result unknown_heading(sheet_reader *r, const aon_cell *cell, const char *heading, aon_error *error) {
  const char *names[AON_SCHEMA_COLUMNS];
  for (size_t i = 0; i < r->sheet->column_count; i++)
    names[i] = r->sheet->columns[i].heading;
  aon_buffer sentence AON_BUFFER_CLEANUP = {0};
  aon_result result = aon_buffer_format(&sentence, error, "The column “%.200s” is not known in this sheet and was left out.", heading);
  if (!result)
    result = nearest_name(heading, names, r->sheet->column_count, &sentence, error);
  return result ? result : heading_finding(r, AON_PROBLEM_WARNING, cell, heading, "unknown_column", sentence.data, error);
}

static aon_result second_heading(sheet_reader *r, const aon_cell *cell, const aon_schema_column *column, const char *heading,
                                 aon_error *error) {
  char letters[8];
  aon_column_name(r->in_file->columns[column->index], letters);
  aon_buffer sentence AON_BUFFER_CLEANUP = {0};
  aon_result result = aon_buffer_format(&sentence, error, "The column “%s” is there already at %s!%s%u. Keep one of the two.",
                                        column->heading, r->in_file->name, letters, r->in_file->heading_row);
  return result ? result : heading_finding(r, AON_PROBLEM_ERROR, cell, heading, "duplicate", sentence.data, error);
}

static const aon_schema_column *column_of(const aon_schema_sheet *sheet, const char *folded) {
  for (size_t i = 0; i < sheet->column_count; i++)
    if (!strcmp(sheet->columns[i].folded, folded))
      return &sheet->columns[i];
  return NULL;
}

static aon_result read_heading(sheet_reader *r, const aon_cell *cell, aon_error *error) {
  const char *shown;
  aon_result result = aon_cell_shown(cell, &r->job->row_arena, &shown, error);
  if (result || !shown)
    return result;
  aon_buffer folded AON_BUFFER_CLEANUP = {0};
  aon_error bad = AON_ERROR_INIT;
  result = aon_schema_name((aon_text){shown, strlen(shown)}, &folded, &bad);
  if (result == AON_NO_MEMORY)
    return aon_fail_memory(error);
  const aon_schema_column *column = result ? NULL : column_of(r->sheet, folded.data ? folded.data : "");
  if (!column)
    return unknown_heading(r, cell, shown, error);
  if (r->in_file->columns[column->index])
    return second_heading(r, cell, column, shown, error);
  if (cell->column > COLUMNS_LIMIT)
    return AON_OK;
  r->in_file->columns[column->index] = cell->column;
  r->map[cell->column] = (uint8_t)(column->index + 1);
  return keep_text(r->job, shown, &r->in_file->headings[column->index], error);
}

static aon_result read_headings(sheet_reader *r, const aon_row *row, aon_error *error) {
  r->in_file->headed = true;
  r->in_file->heading_row = row->number;
  for (size_t i = 0; i < row->count; i++) {
    aon_result result = aon_cell_blank(&row->cells[i]) ? AON_OK : read_heading(r, &row->cells[i], error);
    if (result)
      return result;
  }
  return AON_OK;
}

/* ---- Rows ---- */

typedef struct row_parse {
  uint32_t number;
  int64_t key;
  aon_text id;
  int flags;
  uint64_t filled, cleared, faults;
  bson_t data, shown;
} row_parse;

static aon_result fault(sheet_reader *r, row_parse *row, const aon_schema_column *column, const aon_check *check, const char *shown,
                        aon_error *error) {
  aon_buffer sentence AON_BUFFER_CLEANUP = {0};
  const char *visible = column->field.sensitive ? NULL : shown;
  aon_result result =
      aon_check_sentence(check, r->in_file->name, r->in_file->columns[column->index], row->number, visible, &sentence, error);
  if (result)
    return result;
  /* The id stands first in most sheets, but need not: whether the row is surely a create is known when the row is read. */
  aon_finding finding = {.phase = column->create_only && (row->flags & AON_ROW_GIVEN) ? AON_FOUND_IF_CREATED : AON_FOUND_PARSING,
                         .place = r->in_file->place,
                         .sheet = r->in_file->name,
                         .row = row->number,
                         .column = r->in_file->columns[column->index],
                         .heading = r->in_file->headings[column->index],
                         .value = visible,
                         .code = check->code,
                         .sentence = sentence.data};
  finding.sub = finding.phase == AON_FOUND_IF_CREATED;
  row->faults |= (uint64_t)1 << column->index;
  return aon_finding_add(r->job, &finding, error);
}

static aon_result duplicate(sheet_reader *r, row_parse *row, const aon_schema_column *column, int64_t first, const char *shown,
                            aon_error *error) {
  const char *place = aon_cell_name(r->job, r->sheet, column, aon_key_row(first), &r->job->row_arena);
  bool secret = column->field.sensitive || !shown;
  const char *sentence = aon_arena_format(&r->job->row_arena, "%s%.200s%s stands in %s already. %s", secret ? "The value" : "“",
                                          secret ? "" : shown, secret ? "" : "”", place ? place : "",
                                          column->id ? "Each id may stand in a sheet once."
                                                     : "Each value may stand in this column once; change one of the two.");
  if (!place || !sentence)
    return aon_fail_memory(error);
  row->faults |= (uint64_t)1 << column->index;
  return aon_finding_cell(r->job, AON_FOUND_PARSING, AON_PROBLEM_ERROR, r->sheet, column, row->number, shown, "duplicate", sentence, error);
}

static aon_result remember_id(sheet_reader *r, row_parse *row, const aon_schema_column *column, const char *shown, aon_error *error) {
  aon_result result = aon_stage_run(r->job, error, "insert or ignore into id(sheet, id, key) values(?1, ?2, ?3)", "iti",
                                    (int64_t)r->sheet->index, row->id, row->key);
  if (result || sqlite3_changes(aon_sqlite_handle(r->job->stage)))
    return result;
  sqlite3_stmt *statement AON_SQLITE_DONE = NULL;
  result = aon_stage_query(r->job, &statement, error, "select key from id where sheet = ?1 and id = ?2", "it", (int64_t)r->sheet->index,
                           row->id);
  if (!result)
    result = aon_sqlite_step(r->job->stage, statement, error);
  return result ? result : duplicate(r, row, column, sqlite3_column_int64(statement, 0), shown, error);
}

/* good: the value passed its own checks. A bad one is kept too, so that who refers to it isn't told a second time. */
static aon_result remember_name(sheet_reader *r, row_parse *row, const aon_schema_column *column, aon_text text, bool good,
                                const char *shown, aon_error *error) {
  aon_buffer folded AON_BUFFER_CLEANUP = {0};
  aon_error bad = AON_ERROR_INIT;
  aon_result result = aon_text_fold(text.data, text.length, &folded, &bad);
  if (result == AON_NO_MEMORY)
    return aon_fail_memory(error);
  if (result || !folded.length)
    return AON_OK;
  aon_text key = {folded.data, folded.length};
  int64_t sheet = (int64_t)r->sheet->index, index = (int64_t)column->index;
  result = aon_stage_run(r->job, error, "insert or ignore into name(sheet, col, folded, key, good) values(?1, ?2, ?3, ?4, ?5)", "iitii",
                         sheet, index, key, row->key, (int64_t)good);
  if (result || sqlite3_changes(aon_sqlite_handle(r->job->stage)) || !good)
    return result;
  if (!column->unique)
    return aon_stage_run(r->job, error, "update name set more = 1 where sheet = ?1 and col = ?2 and folded = ?3", "iit", sheet, index, key);
  sqlite3_stmt *statement AON_SQLITE_DONE = NULL;
  result = aon_stage_query(r->job, &statement, error, "select key from name where sheet = ?1 and col = ?2 and folded = ?3", "iit", sheet,
                           index, key);
  if (!result)
    result = aon_sqlite_step(r->job->stage, statement, error);
  return result ? result : duplicate(r, row, column, sqlite3_column_int64(statement, 0), shown, error);
}

static bool is_named(const sheet_reader *r, const aon_schema_column *column) { return r->job->named[r->sheet->index] >> column->index & 1; }

static aon_result keep_value(sheet_reader *r, row_parse *row, const aon_schema_column *column, const aon_value *value, const char *shown,
                             aon_error *error) {
  row->filled |= (uint64_t)1 << column->index;
  if (column->field.sensitive && !column->collection)
    return value->kind == AON_VALUE_TEXT ? aon_secret_seal(r->job, value->text, column->property, &row->data, error) : AON_OK;
  aon_value_append(&row->data, column->property, value, column->wrap);
  char number[24];
  snprintf(number, sizeof number, "%zu", column->index);
  if (!column->field.sensitive && (value->kind != AON_VALUE_TEXT || strcmp(value->text.data, shown ? shown : "") != 0))
    bson_append_utf8(&row->shown, number, -1, shown ? shown : "", -1);
  return is_named(r, column) ? remember_name(r, row, column, value->text, true, shown, error) : AON_OK;
}

static aon_result read_cell(sheet_reader *r, row_parse *row, const aon_cell *cell, const aon_schema_column *column, aon_error *error) {
  aon_arena *arena = &r->job->row_arena;
  const char *shown;
  aon_value value = {0};
  aon_check check = {0};
  aon_result result = aon_cell_shown(cell, arena, &shown, error);
  if (!result)
    result = aon_field_read(&column->field, cell, arena, &value, &check, error);
  if (result)
    return result;
  if (check.code) {
    result = fault(r, row, column, &check, shown, error);
    if (!result && is_named(r, column) && shown)
      result = remember_name(r, row, column, (aon_text){shown, strlen(shown)}, false, shown, error);
    return result;
  }
  if (value.kind == AON_VALUE_CLEAR && !column->id)
    row->cleared |= (uint64_t)1 << column->index;
  if (value.kind == AON_VALUE_CLEAR || value.kind == AON_VALUE_EMPTY)
    return AON_OK;
  if (!column->id)
    return keep_value(r, row, column, &value, shown, error);
  row->filled |= (uint64_t)1 << column->index;
  row->id = value.text;
  row->flags |= AON_ROW_GIVEN;
  return remember_id(r, row, column, shown, error);
}

static const aon_schema_column *column_at(const sheet_reader *r, const aon_cell *cell) {
  size_t index = cell->column <= COLUMNS_LIMIT ? r->map[cell->column] : 0;
  return index ? &r->sheet->columns[index - 1] : NULL;
}

static aon_result store_row(sheet_reader *r, row_parse *row, aon_error *error) {
  char uuid[AON_UUID_LENGTH + 1];
  if (!(row->flags & AON_ROW_GIVEN)) {
    aon_uuid_make(r->job->pack->env, uuid);
    row->id = (aon_text){uuid, AON_UUID_LENGTH};
  }
  bool shown = !bson_empty(&row->shown);
  return aon_stage_run(r->job, error,
                       "insert into row(key, id, flags, filled, cleared, faults, data, shown) values(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                       "itiiiibb", row->key, row->id, (int64_t)row->flags, (int64_t)row->filled, (int64_t)row->cleared,
                       (int64_t)row->faults, (const void *)bson_get_data(&row->data), (size_t)row->data.len,
                       shown ? (const void *)bson_get_data(&row->shown) : NULL, (size_t)row->shown.len);
}

static aon_result read_cells(sheet_reader *r, row_parse *row, const aon_row *cells, aon_error *error) {
  /* The id first: other cells may be judged by it. */
  for (int pass = 0; pass < 2; pass++)
    for (size_t i = 0; i < cells->count; i++) {
      const aon_schema_column *column = column_at(r, &cells->cells[i]);
      if (!column || column->id != !pass || aon_cell_blank(&cells->cells[i]))
        continue;
      aon_result result = read_cell(r, row, &cells->cells[i], column, error);
      if (result)
        return result;
    }
  return AON_OK;
}

static aon_result tick(aon_pack_job *job, aon_error *error) {
  if (++job->rows_done % AON_JOB_TICK_ROWS || !job->input->tick)
    return AON_OK;
  return job->input->tick(job->input->tick_context, job->rows_done, error);
}

static aon_result read_row(sheet_reader *r, const aon_row *cells, aon_error *error) {
  bool blank = true;
  for (size_t i = 0; i < cells->count && blank; i++)
    blank = !column_at(r, &cells->cells[i]) || aon_cell_blank(&cells->cells[i]);
  if (blank)
    return AON_OK;
  aon_arena_reset(&r->job->row_arena);
  row_parse row = {.number = cells->number, .key = aon_row_key(r->sheet, cells->number)};
  bson_init(&row.data);
  bson_init(&row.shown);
  aon_result result = read_cells(r, &row, cells, error);
  if (!result)
    result = store_row(r, &row, error);
  bson_destroy(&row.data);
  bson_destroy(&row.shown);
  r->in_file->rows++;
  return result ? result : tick(r->job, error);
}

static bool row_blank(const aon_row *row) {
  for (size_t i = 0; i < row->count; i++)
    if (!aon_cell_blank(&row->cells[i]))
      return false;
  return true;
}

static aon_result read_rows(sheet_reader *r, aon_rows *rows, aon_error *error) {
  const aon_row *row;
  aon_result result;
  while (!(result = aon_rows_next(rows, &row, error))) {
    if (r->in_file->headed)
      result = read_row(r, row, error);
    else if (!row_blank(row))
      result = read_headings(r, row, error);
    if (result)
      return result;
  }
  return result == AON_END ? AON_OK : result;
}

static aon_result read_sheet(aon_pack_job *job, const aon_schema_sheet *sheet, size_t place, const char *name, aon_error *error) {
  aon_job_sheet *in_file = &job->sheets[sheet->index];
  in_file->present = true;
  in_file->place = place;
  aon_result result = keep_text(job, name, &in_file->name, error);
  if (result)
    return result;
  sheet_reader *r = aon_arena_alloc(&job->arena, sizeof *r);
  if (!r)
    return aon_fail_memory(error);
  *r = (sheet_reader){.job = job, .sheet = sheet, .in_file = in_file};
  aon_rows *rows;
  result = aon_rows_open(job->input->workbook, place - 1, &rows, error);
  if (result)
    return result;
  result = read_rows(r, rows, error);
  aon_rows_close(rows);
  return result;
}

static aon_result find_sheet(aon_pack_job *job, const char *name, const aon_schema_sheet **ret_sheet, bool *ret_ours, aon_error *error) {
  const aon_schema *schema = &job->pack->schema;
  aon_buffer folded AON_BUFFER_CLEANUP = {0}, ours AON_BUFFER_CLEANUP = {0};
  *ret_sheet = NULL;
  *ret_ours = false;
  aon_error bad = AON_ERROR_INIT;
  aon_result result = aon_schema_name((aon_text){name, strlen(name)}, &folded, &bad);
  if (!result)
    result = aon_schema_name(AON_TEXT(AON_REPORT_SHEET), &ours, &bad);
  if (result)
    return result == AON_NO_MEMORY ? aon_fail_memory(error) : AON_OK;
  const char *text = folded.data ? folded.data : "";
  *ret_ours = !strcmp(text, ours.data);
  for (size_t i = 0; i < schema->sheet_count; i++)
    if (!strcmp(schema->sheets[i].folded, text))
      *ret_sheet = &schema->sheets[i];
  return AON_OK;
}

static aon_result read_workbook(aon_pack_job *job, aon_error *error) {
  size_t count = aon_workbook_sheets(job->input->workbook), known = 0;
  aon_result result = AON_OK;
  for (size_t i = 0; i < count && !result; i++) {
    const char *name = aon_workbook_sheet_name(job->input->workbook, i);
    const aon_schema_sheet *sheet;
    bool ours;
    result = find_sheet(job, name, &sheet, &ours, error);
    if (result)
      return result;
    known += sheet != NULL;
    if (sheet && job->sheets[sheet->index].present)
      result = second_sheet(job, sheet, i + 1, name, error);
    else if (sheet)
      result = read_sheet(job, sheet, i + 1, name, error);
    else if (!ours && aon_workbook_sheet_state(job->input->workbook, i) == AON_SHEET_VISIBLE)
      result = unknown_sheet(job, i + 1, name, error);
  }
  return result || known ? result : no_sheet(job, error);
}

/* ---- Opening ---- */

static aon_result check_organization(aon_pack_job *job, aon_error *error) {
  const aon_schema *schema = &job->pack->schema;
  bool needed = schema->organization != NULL, keyed = false;
  for (size_t i = 0; i < schema->collection_count; i++)
    keyed |= schema->collections[i].keyed;
  if (needed && !job->organization.length)
    return aon_fail(error, AON_USAGE, "required", "The pack “%s” needs an organization. Name it with --org.", schema->name);
  if (!keyed)
    return AON_OK;
  aon_check check = {0};
  aon_check_organization(job->organization, &check);
  if (!check.code)
    return AON_OK;
  return aon_fail(error, AON_USAGE, check.code, "The organization “%.128s” %s. %s", job->input->organization, check.problem, check.advice);
}

/* Columns that must be found by value: unique ones, and those that others refer to. */
static void mark_named(aon_pack_job *job) {
  const aon_schema *schema = &job->pack->schema;
  for (size_t i = 0; i < schema->sheet_count; i++)
    for (size_t k = 0; k < schema->sheets[i].column_count; k++) {
      const aon_schema_column *column = &schema->sheets[i].columns[k];
      if (column->unique)
        job->named[i] |= (uint64_t)1 << k;
      for (size_t n = 0; n < column->reference_count; n++)
        if (column->references[n].sheet)
          job->named[column->references[n].sheet->index] |= (uint64_t)1 << column->references[n].column->index;
    }
}

static aon_result prepare(aon_pack_job *job, aon_error *error) {
  const aon_schema *schema = &job->pack->schema;
  job->recall = calloc(AON_RECALL_SLOTS, sizeof *job->recall);
  job->sheets = aon_arena_alloc(&job->arena, schema->sheet_count * sizeof *job->sheets);
  job->named = aon_arena_alloc(&job->arena, schema->sheet_count * sizeof *job->named);
  if (!job->recall || !job->sheets || !job->named)
    return aon_fail_memory(error);
  for (size_t i = 0; i < schema->sheet_count; i++) {
    job->sheets[i].columns = aon_arena_alloc(&job->arena, schema->sheets[i].column_count * sizeof(uint32_t));
    job->sheets[i].headings = aon_arena_alloc(&job->arena, schema->sheets[i].column_count * sizeof(char *));
    if (!job->sheets[i].columns || !job->sheets[i].headings)
      return aon_fail_memory(error);
  }
  mark_named(job);
  aon_instant_format(job->input->instant_ms, job->instant);
  return AON_OK;
}

aon_result aon_pack_job_open(aon_pack *pack, const aon_pack_input *input, aon_pack_job **ret_job, aon_error *error) {
  aon_pack_job *job = calloc(1, sizeof *job);
  if (!job)
    return aon_fail_memory(error);
  job->pack = pack;
  job->input = input;
  job->organization = (aon_text){input->organization ? input->organization : "", input->organization ? strlen(input->organization) : 0};
  aon_result result = check_organization(job, error);
  if (!result)
    result = prepare(job, error);
  if (!result)
    result = aon_stage_open(job, error);
  if (!result)
    result = aon_bridge_open(job, error);
  if (!result)
    result = read_workbook(job, error);
  if (!result)
    result = aon_findings_report(job, error);
  if (result) {
    aon_pack_job_close(job);
    return result;
  }
  *ret_job = job;
  return AON_OK;
}

void aon_pack_job_close(aon_pack_job *job) {
  if (!job)
    return;
  aon_bridge_close(job);
  aon_sqlite_close(job->stage);
  free(job->recall);
  aon_arena_release(&job->row_arena);
  aon_arena_release(&job->arena);
  aon_secret_forget(job);
  free(job);
}
