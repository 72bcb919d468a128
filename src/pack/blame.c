/* Which cells a refusal of a store is about: the store names properties, the pack's tables say which columns they come from.
 *
 * Invariant: a cell is named only where it is certain: its column is declared to be that property, and the document has there what the cell
 * says (nothing, where the cell is empty). Where any property comes from elsewhere than cells, and none from a cell, none is named. */
#include "pack/job.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct blaming {
  aon_pack_job *job;
  const aon_schema_sheet *sheet;
  const aon_schema_collection *collection;
  const aon_operation *operation;
  aon_job_row *rows;      /* AON_JOB_BATCH of them: the stage gives no fewer */
  const aon_job_row *row; /* the first of them */
  bson_t patch;           /* what the cells say of the row's own document, or of the extension */
  bson_t main_after;      /* the row's own document, before its store has made it its own */
  bool loaded;
} blaming;

static const aon_schema_sheet *sheet_named(const aon_pack_job *job, const char *name) {
  for (size_t i = 0; i < job->pack->schema.sheet_count; i++)
    if (job->sheets[i].present && job->sheets[i].name && !strcmp(job->sheets[i].name, name))
      return &job->pack->schema.sheets[i];
  return NULL;
}

static bool repeats(const aon_schema_sheet *sheet, const aon_schema_collection *collection, const char *property) {
  for (size_t i = 0; i < sheet->index_count; i++)
    for (const char *const *at = sheet->indexes[i].properties; sheet->indexes[i].collection == collection && *at; at++)
      if (!strcmp(*at, property))
        return true;
  return false;
}

/* The column that is declared to be this property; NULL: none, or it is only a part of it. */
static const aon_schema_column *column_of(const blaming *b, const char *property) {
  for (size_t i = 0; i < b->sheet->column_count; i++) {
    const aon_schema_column *column = &b->sheet->columns[i];
    bool own =
        !column->parent && !strcmp(column->property, property) &&
        (column->collection == b->collection || (column->collection == b->sheet->main && repeats(b->sheet, b->collection, property)));
    bool unique = column->unique_in == b->collection && !strcmp(column->unique_in_property, property);
    if (own || unique)
      return column;
  }
  return NULL;
}

static bool value_in(const bson_t *document, const char *property, bson_iter_t *at) {
  return bson_iter_init_find(at, document, property) && !BSON_ITER_HOLDS_NULL(at);
}

static bool same(const bson_t *a, const char *name_in_a, const bson_t *b, const char *name_in_b) {
  bson_iter_t x, y;
  bool in_a = value_in(a, name_in_a, &x), in_b = value_in(b, name_in_b, &y);
  if (!in_a || !in_b)
    return in_a == in_b;
  bson_t one, other;
  bson_init(&one);
  bson_init(&other);
  bool equal = bson_append_iter(&one, "v", 1, &x) && bson_append_iter(&other, "v", 1, &y) && bson_equal(&one, &other);
  bson_destroy(&one);
  bson_destroy(&other);
  return equal;
}

/* Does the document have there what the cell says? A pack's adjust may have put something else. */
static bool from_cell(const blaming *b, const aon_schema_column *column, const char *property) {
  bool exists = b->row->flags & AON_ROW_EXISTS;
  if (column->id)
    return b->row->flags & AON_ROW_GIVEN;
  if ((column->create_only && exists) || column->collection == NULL)
    return false;
  bool touched = (b->row->filled | b->row->cleared) >> column->index & 1;
  if (!touched && exists)
    return false; /* it stays as it was */
  if (column->collection != b->sheet->main)
    return touched;
  if (!same(&b->patch, column->property, &b->main_after, column->property))
    return false;
  bson_t after;
  bool own = b->collection == b->sheet->main || repeats(b->sheet, b->collection, property);
  return own || (aon_image_view(&b->operation->after, &after) && same(&b->main_after, column->property, &after, property));
}

static const aon_schema_column *cell_of(const blaming *b, const char *property) {
  const aon_schema_column *column = column_of(b, property);
  return column && b->job->sheets[b->sheet->index].columns[column->index] && from_cell(b, column, property) ? column : NULL;
}

/* A pack's collect may write other documents of the same collection, of which the columns say nothing. */
static aon_result own_document(const blaming *b, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer id = {0};
  aon_result result = aon_schema_id(b->collection, b->job->organization, b->row->id, &id, error);
  if (result)
    return result;
  return aon_text_same((aon_text){id.data, id.length}, b->operation->id) ? AON_OK : AON_END;
}

/* AON_END: the row isn't there, or the document isn't its own. */
static aon_result load(blaming *b, aon_arena *arena, aon_error *error) {
  size_t count;
  b->rows = aon_bson_array(AON_JOB_BATCH, sizeof *b->rows);
  aon_result result = b->rows ? AON_OK : aon_fail_memory(error);
  if (!result)
    result = aon_stage_rows(b->job, b->sheet, b->operation->origin.row - 1, arena, b->rows, &count, error);
  if (!result && (!count || b->rows[0].number != b->operation->origin.row))
    result = AON_END;
  b->row = b->rows;
  if (!result)
    result = own_document(b, error);
  if (!result)
    result = aon_row_after(b->job, b->row, &b->main_after, error);
  if (result)
    return result;
  aon_row_patch(b->row, b->sheet->main, &b->patch);
  b->loaded = true;
  return AON_OK;
}

static void release(blaming *b) {
  if (b->loaded) {
    bson_destroy(&b->patch);
    bson_destroy(&b->main_after);
  }
  free(b->rows);
}

/* The columns of a refusal about these properties (one a line), each once. Properties that no sheet tells (the organization) don't count. */
static size_t columns_of(const blaming *b, const char *properties, const aon_schema_column **columns) {
  char name[sizeof((aon_error *)0)->properties];
  size_t count = 0;
  for (const char *at = properties; *at; at += strcspn(at, "\n") + (at[strcspn(at, "\n")] == '\n')) {
    snprintf(name, sizeof name, "%.*s", (int)strcspn(at, "\n"), at);
    const aon_schema_column *column = cell_of(b, name);
    bool known = !column;
    for (size_t i = 0; i < count; i++)
      known = known || columns[i] == column;
    if (!known)
      columns[count++] = column;
    if (!column && column_of(b, name))
      return 0; /* it comes from a cell, but this one is not certain to say it */
  }
  return count;
}

static bool blame(blaming *b, const aon_error *why, const aon_schema_column **columns, size_t *ret_count, aon_arena *arena) {
  const aon_origin *origin = &b->operation->origin;
  aon_error failure = AON_ERROR_INIT; /* the row is told in any case */
  *ret_count = 0;
  b->sheet = origin->sheet && origin->row ? sheet_named(b->job, origin->sheet) : NULL;
  b->collection = aon_schema_collection_find(&b->job->pack->schema, b->operation->collection->name);
  if (!*why->properties || !b->sheet || !b->sheet->main || !b->collection)
    return false;
  aon_result result = load(b, arena, &failure);
  if (!result)
    *ret_count = columns_of(b, why->properties, columns);
  else if (result != AON_END)
    aon_log(b->job->pack->env, AON_LOG_DEBUG, "no cell is named: %s", failure.sentence);
  return *ret_count > 0;
}

/* "C7, D7"; "" where they have no room, since half of them would be taken for all. */
static void write_cells(const blaming *b, const aon_schema_column **columns, size_t count, char *cells, size_t room) {
  size_t length = 0;
  char letters[8];
  for (size_t i = 0; i < count; i++) {
    aon_column_name(b->job->sheets[b->sheet->index].columns[columns[i]->index], letters);
    int more = snprintf(cells + length, room - length, "%s%s%u", i ? ", " : "", letters, b->operation->origin.row);
    if (more < 0 || (size_t)more >= room - length) {
      *cells = 0;
      return;
    }
    length += (size_t)more;
  }
}

void aon_pack_job_cells(aon_pack_job *job, const aon_operation *operation, const aon_error *why, char *cells, size_t room) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  const aon_schema_column *columns[AON_SCHEMA_COLUMNS];
  size_t count;
  blaming b = {.job = job, .operation = operation};
  *cells = 0;
  if (blame(&b, why, columns, &count, &arena))
    write_cells(&b, columns, count, cells, room);
  release(&b);
}

aon_result aon_job_refused(aon_pack_job *job, const aon_operation *operation, const aon_error *why, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  AON_BUFFER_CLEANUP aon_buffer sentence = {0};
  const aon_schema_column *columns[AON_SCHEMA_COLUMNS];
  const aon_origin *origin = &operation->origin;
  size_t count;
  blaming b = {.job = job, .operation = operation};
  aon_problem problem = {.severity = AON_PROBLEM_ERROR, .sheet = origin->sheet, .row = origin->row, .code = why->code};
  if (!*why->properties || !origin->sheet || !origin->row) {
    if (error)
      *error = *why;
    return AON_REJECTED;
  }
  aon_result result;
  if (blame(&b, why, columns, &count, &arena) && count == 1) {
    const aon_job_sheet *in_file = &job->sheets[b.sheet->index];
    problem.column = in_file->columns[columns[0]->index];
    problem.heading = in_file->headings[columns[0]->index];
    problem.value = aon_row_shown(b.row, columns[0], &arena);
    result = aon_buffer_format(&sentence, error, "%s: %s", aon_cell_name(job, b.sheet, columns[0], origin->row, &arena), why->sentence);
  } else {
    result = aon_buffer_format(&sentence, error, "%s, row %u: %s", origin->sheet, origin->row, why->sentence);
  }
  problem.sentence = sentence.data;
  if (!result)
    result = aon_problems_add(job->input->problems, &problem, error);
  release(&b);
  if (!result && error)
    *error = *why;
  return result ? result : AON_REJECTED;
}
