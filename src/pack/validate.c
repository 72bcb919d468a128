/* What needs more than the cell: other rows, other sheets, the stores. Row by row in the order of the plan, in batches of which the
 * documents are read at once. The first finding of a cell stays, so the order of checks in validate_row is the order of the
 * promise: required, (form and range: while parsing,) references, duplicate, rules across columns.
 *
 * A row whose id is wrong is neither surely new nor surely known: what depends on that is left out for it. */
#include "pack/job.h"

#include <lauxlib.h>
#include <stdlib.h>

typedef struct pass {
  aon_pack_job *job;
  const aon_schema_sheet *sheet;
  aon_job_sheet *in_file;
  uint64_t missing_told; /* columns that the file lacks and that were reported */
  aon_arena arena;       /* of the batch */
  aon_job_row *rows;
  size_t count;
} pass;

static bool has(uint64_t bits, const aon_schema_column *column) { return bits >> column->index & 1; }
static uint64_t bit(const aon_schema_column *column) { return (uint64_t)1 << column->index; }

static bool unsure(const aon_job_row *row) {
  return (row->flags & AON_ROW_FOREIGN) || (row->sheet->id_column && has(row->faults, row->sheet->id_column));
}

static const char *shown(pass *p, const aon_job_row *row, const aon_schema_column *column) { return aon_row_shown(row, column, &p->arena); }

static aon_result tell(pass *p, aon_job_row *row, const aon_schema_column *column, const char *code, const char *sentence,
                       aon_error *error) {
  row->faults |= bit(column);
  return aon_finding_cell(p->job, AON_FOUND_VALIDATING, AON_PROBLEM_ERROR, p->sheet, column, row->number, shown(p, row, column), code,
                          sentence, error);
}

/* ---- Documents that are there ---- */

static size_t given_rows(pass *p, size_t at[AON_JOB_BATCH], aon_text ids[AON_JOB_BATCH]) {
  size_t count = 0;
  for (size_t i = 0; i < p->count; i++)
    if ((p->rows[i].flags & AON_ROW_GIVEN) && !has(p->rows[i].faults, p->sheet->id_column)) {
      at[count] = i;
      ids[count++] = p->rows[i].id;
    }
  return count;
}

static aon_result take_image(pass *p, aon_job_row *row, const aon_schema_collection *collection, const aon_image *image, aon_error *error) {
  bson_t view;
  if (!image->bson)
    return AON_OK;
  if (!aon_image_view(image, &view))
    return aon_fail(error, AON_CORRUPT, "corrupt", "The document %s/%.*s can't be read.", collection->base.name, (int)row->id.length,
                    row->id.data);
  if (aon_document_foreign(p->job, collection, &view)) {
    row->flags |= AON_ROW_FOREIGN;
  } else if (collection == p->sheet->main) {
    row->flags |= AON_ROW_EXISTS;
    row->before = *image;
    (void)aon_image_view(image, &row->before_view);
  }
  return AON_OK;
}

/* The composite id of a document under the row's own id. */
static aon_result document_id(pass *p, const aon_schema_collection *collection, aon_text own, aon_text *ret_id, aon_error *error) {
  aon_buffer id AON_BUFFER_CLEANUP = {0};
  aon_result result = aon_schema_id(collection, p->job->organization, own, &id, error);
  if (result)
    return result;
  *ret_id = (aon_text){aon_arena_text(&p->arena, id.data ? id.data : "", id.length), id.length};
  return ret_id->data ? AON_OK : aon_fail_memory(error);
}

static aon_result read_documents(pass *p, aon_error *error) {
  size_t at[AON_JOB_BATCH], count;
  aon_text owns[AON_JOB_BATCH], ids[AON_JOB_BATCH];
  aon_image images[AON_JOB_BATCH];
  if (!p->sheet->id_column || !p->sheet->main || !(count = given_rows(p, at, owns)))
    return AON_OK;
  for (size_t d = 0; d < p->sheet->document_count; d++) {
    const aon_schema_collection *collection = p->sheet->documents[d];
    if (collection != p->sheet->main && !collection->organization_property)
      continue;
    aon_result result = AON_OK;
    for (size_t i = 0; i < count && !result; i++)
      result = document_id(p, collection, owns[i], &ids[i], error);
    if (!result)
      result = aon_source_read(p->job, collection, ids, count, &p->arena, images, error);
    for (size_t i = 0; i < count && !result; i++)
      result = take_image(p, &p->rows[at[i]], collection, &images[i], error);
    if (result)
      return result;
  }
  return AON_OK;
}

static aon_result check_id(pass *p, aon_job_row *row, aon_error *error) {
  if (!(row->flags & AON_ROW_FOREIGN))
    return AON_OK;
  return tell(p, row, p->sheet->id_column, "duplicate", "This id is taken. Choose another one, or leave the cell empty to get a new one.",
              error);
}

/* ---- Required ---- */

static aon_result missing_column(pass *p, const aon_schema_column *column, aon_error *error) {
  if (has(p->missing_told, column))
    return AON_OK;
  p->missing_told |= bit(column);
  aon_buffer sentence AON_BUFFER_CLEANUP = {0};
  aon_result result =
      aon_buffer_format(&sentence, error, "%s!A%u: The column “%s” is missing, and new rows need it. Add it with this heading.",
                        p->in_file->name, p->in_file->heading_row, column->heading);
  if (result)
    return result;
  aon_finding finding = {.phase = AON_FOUND_VALIDATING,
                         .place = p->in_file->place,
                         .sheet = p->in_file->name,
                         .row = p->in_file->heading_row,
                         .column = 1,
                         .sub = (uint32_t)column->index + 1,
                         .heading = column->heading,
                         .code = "required",
                         .sentence = sentence.data};
  return aon_finding_add(p->job, &finding, error);
}

static aon_result check_required(pass *p, aon_job_row *row, aon_error *error) {
  bool created = !(row->flags & AON_ROW_EXISTS);
  aon_result result = AON_OK;
  for (size_t i = 0; i < p->sheet->column_count && !result; i++) {
    const aon_schema_column *column = &p->sheet->columns[i];
    if (!column->required || has(row->filled, column) || has(row->faults, column) || (!created && !has(row->cleared, column)))
      continue;
    if (!p->in_file->columns[i]) {
      row->faults |= bit(column);
      result = missing_column(p, column, error);
      continue;
    }
    char sentence[400];
    snprintf(sentence, sizeof sentence, "%.200s is required. %s", column->heading,
             has(row->cleared, column) ? "It can't be cleared; write a value." : "Fill in the cell.");
    result = tell(p, row, column, "required", sentence, error);
  }
  return result;
}

/* Values that count only when the document is made: what was found in them is settled now. */
static aon_result check_create_only(pass *p, aon_job_row *row, aon_error *error) {
  bool created = !(row->flags & AON_ROW_EXISTS);
  aon_result result = created ? aon_finding_settle(p->job, p->sheet, row->number, true, error) : AON_OK;
  for (size_t i = 0; i < p->sheet->column_count && !result && !created; i++) {
    const aon_schema_column *column = &p->sheet->columns[i];
    if (!column->create_only || !has(row->filled | row->cleared | row->faults, column))
      continue;
    char sentence[400];
    snprintf(sentence, sizeof sentence, "%.200s counts only for new rows and was ignored, for this one is there already.", column->heading);
    result = aon_finding_cell(p->job, AON_FOUND_VALIDATING, AON_PROBLEM_WARNING, p->sheet, column, row->number, shown(p, row, column),
                              "ignored", sentence, error);
    row->filled &= ~bit(column);
    row->cleared &= ~bit(column);
    row->faults &= ~bit(column);
  }
  return result;
}

static bool has_create_only(const aon_schema_sheet *sheet) {
  bool any = false;
  for (size_t i = 0; i < sheet->column_count; i++)
    any |= sheet->columns[i].create_only;
  return any;
}

/* ---- References ---- */

typedef enum found { FOUND, FOUND_HIDDEN, FOUND_NOT, FOUND_TWICE } found;

static aon_result in_workbook(pass *p, const aon_schema_reference *reference, aon_text folded, aon_text *ret_id, found *ret_found,
                              aon_error *error) {
  *ret_found = FOUND_NOT;
  if (!reference->sheet || !p->job->sheets[reference->sheet->index].present)
    return AON_OK;
  sqlite3_stmt *statement AON_SQLITE_DONE = NULL;
  aon_result result = aon_stage_query(p->job, &statement, error,
                                      "select row.id, name.good, name.more from name join row on row.key = name.key"
                                      " where name.sheet = ?1 and name.col = ?2 and name.folded = ?3",
                                      "iit", (int64_t)reference->sheet->index, (int64_t)reference->column->index, folded);
  if (!result)
    result = aon_sqlite_step(p->job->stage, statement, error);
  if (result)
    return result == AON_END ? AON_OK : result;
  aon_text id = aon_stage_text(statement, 0);
  *ret_id = (aon_text){aon_arena_text(&p->arena, id.data, id.length), id.length};
  *ret_found = !sqlite3_column_int(statement, 1) ? FOUND_HIDDEN : sqlite3_column_int(statement, 2) ? FOUND_TWICE : FOUND;
  return ret_id->data ? AON_OK : aon_fail_memory(error);
}

static aon_result make_document(pass *p, const aon_schema_reference *reference, aon_text name, aon_text folded, aon_text *ret_id,
                                aon_error *error) {
  char uuid[AON_UUID_LENGTH + 1];
  aon_uuid_make(p->job->pack->env, uuid);
  *ret_id = (aon_text){aon_arena_text(&p->arena, uuid, AON_UUID_LENGTH), AON_UUID_LENGTH};
  if (!ret_id->data)
    return aon_fail_memory(error);
  aon_text by = {reference->by, strlen(reference->by)};
  aon_result result = aon_stage_run(p->job, error, "insert or ignore into known(coll, property, folded, id) values(?1, ?2, ?3, ?4)", "ittt",
                                    (int64_t)reference->collection->index, by, folded, *ret_id);
  if (!result)
    result = aon_stage_run(p->job, error, "insert or ignore into made(coll, id, property, folded) values(?1, ?2, ?3, ?4)", "ittt",
                           (int64_t)reference->collection->index, *ret_id, by, folded);
  if (result)
    return result;
  bson_t properties;
  bson_init(&properties);
  bson_append_utf8(&properties, reference->by, -1, name.data, (int)name.length);
  result = aon_shared_properties(p->job, reference->collection, *ret_id, &properties, p->sheet, error);
  bson_destroy(&properties);
  return result;
}

/* A sheet without the column that others refer to, though its new rows need it, was reported as a whole. */
static bool column_missing(const pass *p, const aon_schema_reference *reference) {
  if (!reference->sheet)
    return false;
  const aon_job_sheet *in_file = &p->job->sheets[reference->sheet->index];
  return in_file->rows && !in_file->columns[reference->column->index];
}

static aon_result in_store(pass *p, const aon_schema_reference *reference, aon_text name, aon_text folded, aon_text *ret_id,
                           found *ret_found, aon_error *error) {
  int count;
  aon_result result = aon_lookup(p->job, reference->collection, reference->by, folded, AON_TEXT(""), &p->arena, ret_id, &count, error);
  if (result)
    return result;
  *ret_found = count == 1 ? FOUND : count ? FOUND_TWICE : FOUND_NOT;
  if (count == 1)
    return aon_stage_run(
        p->job, error,
        "insert or ignore into stored(coll, id) select ?1, ?2 where not exists (select 1 from made where coll = ?1 and id = ?2)", "it",
        (int64_t)reference->collection->index, *ret_id);
  if (!count && reference->make) {
    *ret_found = FOUND;
    return make_document(p, reference, name, folded, ret_id, error);
  }
  if (!count && column_missing(p, reference))
    *ret_found = FOUND_HIDDEN;
  return AON_OK;
}

/* The same few names stand in many rows: what the workbook itself says of one stays true. */
static bool recalled(pass *p, const aon_schema_reference *reference, uint32_t kind, aon_text name, aon_text *ret_id) {
  aon_text id;
  if (!reference->sheet || !aon_recall_get(p->job, kind, name, &id))
    return false;
  *ret_id = (aon_text){aon_arena_text(&p->arena, id.data, id.length), id.length};
  return ret_id->data != NULL;
}

static aon_result resolve(pass *p, const aon_schema_reference *reference, aon_text name, aon_text *ret_id, found *ret_found,
                          aon_error *error) {
  uint32_t kind = reference->sheet ? AON_RECALL_NAMED + (uint32_t)(reference->sheet->index << 8 | reference->column->index) : 0;
  *ret_found = FOUND;
  if (recalled(p, reference, kind, name, ret_id))
    return AON_OK;
  aon_buffer folded AON_BUFFER_CLEANUP = {0};
  aon_result result = aon_text_fold(name.data, name.length, &folded, error);
  if (result)
    return result;
  aon_text key = {folded.data ? folded.data : "", folded.length};
  result = in_workbook(p, reference, key, ret_id, ret_found, error);
  if (!result && *ret_found == FOUND && ret_id->length)
    aon_recall_put(p->job, kind, name, *ret_id);
  if (!result && *ret_found == FOUND_NOT)
    result = in_store(p, reference, name, key, ret_id, ret_found, error);
  return result;
}

/* Which reference holds for the row; NULL: none, or it can't be told. */
static const aon_schema_reference *reference_of(const aon_job_row *row, const aon_schema_column *column) {
  aon_text value;
  if (!column->reference_when)
    return column->reference_count ? &column->references[0] : NULL;
  if (has(row->faults, column->reference_when) || !aon_document_text(&row->data, column->reference_when->property, &value))
    return NULL;
  for (size_t i = 0; i < column->reference_count; i++)
    if (aon_text_same(value, (aon_text){column->references[i].when, strlen(column->references[i].when)}))
      return &column->references[i];
  return NULL;
}

typedef struct resolved {
  aon_text *ids;
  size_t count;
  bool hidden;
  aon_buffer missing, twice; /* “A”, “B” */
} resolved;

static aon_result note(aon_buffer *list, aon_text name, aon_error *error) {
  return aon_buffer_format(list, error, "%s“%.*s”", list->length ? ", " : "", (int)(name.length > 200 ? 200 : name.length), name.data);
}

static aon_result resolve_one(pass *p, const aon_schema_reference *reference, aon_text name, resolved *r, aon_error *error) {
  aon_text id = {0};
  found how;
  aon_result result = resolve(p, reference, name, &id, &how, error);
  if (result)
    return result;
  if (how == FOUND_NOT)
    return note(&r->missing, name, error);
  if (how == FOUND_TWICE)
    return note(&r->twice, name, error);
  r->hidden |= how == FOUND_HIDDEN;
  r->ids[r->count++] = id;
  return AON_OK;
}

static aon_result tell_reference(pass *p, aon_job_row *row, const aon_schema_column *column, const aon_schema_reference *reference,
                                 const resolved *r, aon_error *error) {
  aon_buffer sentence AON_BUFFER_CLEANUP = {0};
  aon_result result = AON_OK;
  if (r->missing.length)
    result = aon_buffer_format(&sentence, error, "There is no %s with the %s %s%s%s. Correct it, or add it%s.", reference->noun,
                               reference->by, r->missing.data, reference->sheet ? ", neither in this workbook nor " : "",
                               reference->sheet ? "in the organization" : "", reference->sheet ? " to its sheet" : "");
  if (!result && r->twice.length)
    result = aon_buffer_format(&sentence, error, "%sore than one %s has the %s %s. Give them different ones first.",
                               sentence.length ? " Also, m" : "M", reference->noun, reference->by, r->twice.data);
  return result ? result : tell(p, row, column, r->missing.length ? "not_found" : "ambiguous", sentence.data, error);
}

static void append_ids(bson_t *refs, const aon_schema_column *column, const resolved *r) {
  bson_t list;
  if (column->field.shape == AON_FIELD_ONE) {
    if (r->count)
      bson_append_utf8(refs, column->property, -1, r->ids[0].data, (int)r->ids[0].length);
    return;
  }
  bson_append_array_begin(refs, column->property, -1, &list);
  for (size_t i = 0; i < r->count; i++) {
    char buffer[16];
    const char *key;
    bson_uint32_to_string((uint32_t)i, &key, buffer, sizeof buffer);
    bson_append_utf8(&list, key, -1, r->ids[i].data, (int)r->ids[i].length);
  }
  bson_append_array_end(refs, &list);
}

static aon_result check_reference(pass *p, aon_job_row *row, const aon_schema_column *column, bson_t *refs, aon_error *error) {
  const aon_schema_reference *reference = reference_of(row, column);
  if (!has(row->filled, column) || has(row->faults, column) || !reference)
    return AON_OK;
  aon_text *names;
  size_t count;
  resolved r = {0};
  aon_result result = aon_document_texts(&row->data, column->property, &p->arena, &names, &count, error);
  if (!result && !(r.ids = aon_arena_alloc(&p->arena, (count + 1) * sizeof *r.ids)))
    result = aon_fail_memory(error);
  for (size_t i = 0; i < count && !result; i++)
    result = resolve_one(p, reference, names[i], &r, error);
  if (!result && (r.missing.length || r.twice.length))
    result = tell_reference(p, row, column, reference, &r, error);
  else if (!result && r.hidden)
    row->faults |= bit(column);
  if (!result)
    append_ids(refs, column, &r);
  aon_buffer_release(&r.missing);
  aon_buffer_release(&r.twice);
  return result;
}

static aon_result check_references(pass *p, aon_job_row *row, aon_error *error) {
  bson_t refs;
  bson_init(&refs);
  aon_result result = AON_OK;
  for (size_t i = 0; i < p->sheet->column_count && !result; i++)
    if (p->sheet->columns[i].reference_count)
      result = check_reference(p, row, &p->sheet->columns[i], &refs, error);
  const uint8_t *copy = result || bson_empty(&refs) ? NULL : aon_arena_copy(&p->arena, bson_get_data(&refs), refs.len);
  uint32_t length = refs.len;
  bool empty = bson_empty(&refs);
  bson_destroy(&refs);
  if (result || empty)
    return result;
  return copy && bson_init_static(&row->refs, copy, length) ? AON_OK : aon_fail_memory(error);
}

/* ---- Unique values against the stores ---- */

static aon_result fold_of(const bson_t *document, const char *property, aon_buffer *out, bool *ret_there, aon_error *error) {
  aon_text text;
  *ret_there = aon_document_text(document, property, &text);
  return *ret_there ? aon_text_fold(text.data, text.length, out, error) : AON_OK;
}

static aon_result taken(pass *p, aon_job_row *row, const aon_schema_column *column, const aon_schema_collection *collection,
                        const char *property, aon_text folded, bool ours, aon_error *error) {
  aon_text holder;
  int count;
  aon_result result = aon_lookup(p->job, collection, property, folded, row->id, &p->arena, &holder, &count, error);
  if (result || !count)
    return result;
  aon_buffer sentence AON_BUFFER_CLEANUP = {0};
  const char *value = shown(p, row, column);
  result = aon_buffer_format(&sentence, error, "%s%.200s%s is taken", value ? "“" : "The value", value ? value : "", value ? "”" : "");
  if (!result && ours)
    result =
        aon_buffer_format(&sentence, error, " by the one with the id %.*s. Change it, or put that id into this row to change that one.",
                          (int)holder.length, holder.data);
  else if (!result)
    result = aon_buffer_format(&sentence, error, ". Choose another one.");
  return result ? result : tell(p, row, column, "duplicate", sentence.data, error);
}

static aon_result check_unique(pass *p, aon_job_row *row, const aon_schema_column *column, aon_error *error) {
  aon_buffer now AON_BUFFER_CLEANUP = {0}, before AON_BUFFER_CLEANUP = {0};
  bool there;
  aon_result result = fold_of(&row->data, column->property, &now, &there, error);
  if (!result)
    result = fold_of(&row->before_view, column->property, &before, &there, error);
  if (result)
    return result;
  aon_text folded = {now.data ? now.data : "", now.length};
  if (there && aon_text_same(folded, (aon_text){before.data ? before.data : "", before.length}))
    return AON_OK;
  result = taken(p, row, column, p->sheet->main, column->property, folded, true, error);
  if (!result && column->unique_in && !has(row->faults, column))
    result = taken(p, row, column, column->unique_in, column->unique_in_property, folded, false, error);
  return result;
}

static aon_result check_uniques(pass *p, aon_job_row *row, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; i < p->sheet->column_count && !result; i++) {
    const aon_schema_column *column = &p->sheet->columns[i];
    if (column->unique && p->sheet->main && has(row->filled, column) && !has(row->faults, column))
      result = check_unique(p, row, column, error);
  }
  return result;
}

/* ---- Rules across columns ---- */

/* {property} in a sentence of the pack becomes the cell: Schedules!F3. */
static aon_result with_cells(pass *p, const aon_job_row *row, const char *text, aon_buffer *out, aon_error *error) {
  aon_result result = AON_OK;
  while (*text && !result) {
    const char *open = strchr(text, '{'), *close = open ? strchr(open, '}') : NULL;
    const aon_schema_column *column = NULL;
    for (size_t i = 0; close && i < p->sheet->column_count; i++)
      if (strlen(p->sheet->columns[i].property) == (size_t)(close - open - 1) &&
          !strncmp(p->sheet->columns[i].property, open + 1, (size_t)(close - open - 1)))
        column = &p->sheet->columns[i];
    const char *name = column ? aon_cell_name(p->job, p->sheet, column, row->number, &p->arena) : NULL;
    size_t plain = name ? (size_t)(open - text) : strlen(text);
    result = aon_buffer_append(out, text, plain, error);
    if (!result && name)
      result = aon_buffer_text(out, name, error);
    text += name ? (size_t)(close + 1 - text) : plain;
  }
  return result;
}

/* The cell of the verdict; where the file lacks the column, one that the rule looks at and that is there. */
static const aon_schema_column *verdict_column(const pass *p, const aon_schema_rule *rule, const char *property) {
  const aon_schema_column *column = aon_schema_column_find(p->sheet, property);
  if (column && p->in_file->columns[column->index])
    return column;
  for (size_t i = 0; i < p->sheet->column_count; i++)
    if (rule->needs >> i & 1 && p->in_file->columns[i])
      return &p->sheet->columns[i];
  return column;
}

static aon_result check_rule(pass *p, aon_job_row *row, const aon_schema_rule *rule, aon_error *error) {
  aon_verdict verdict = {0};
  aon_buffer sentence AON_BUFFER_CLEANUP = {0};
  aon_result result = aon_bridge_check(p->job, rule->function, &p->arena, &verdict, error);
  if (result || !verdict.property)
    return result;
  const aon_schema_column *column = verdict_column(p, rule, verdict.property);
  if (!column)
    return aon_fail(error, AON_ENVIRONMENT, "bad_pack", "%s: a rule of the sheet %s names “%s”, which is no column.", p->job->pack->file,
                    p->sheet->name, verdict.property);
  result = with_cells(p, row, verdict.sentence, &sentence, error);
  if (result || has(row->faults, column))
    return result;
  return tell(p, row, column, verdict.code, sentence.data ? sentence.data : "", error);
}

static aon_result check_rules(pass *p, aon_job_row *row, const bson_t *after, aon_error *error) {
  aon_result result = p->sheet->rule_count ? aon_bridge_row(p->job, row, after, error) : AON_OK;
  uint64_t faults = row->faults;
  for (size_t i = 0; i < p->sheet->rule_count && !result; i++)
    if (!(p->sheet->rules[i].needs & faults))
      result = check_rule(p, row, &p->sheet->rules[i], error);
  return result;
}

/* ---- What the row gives to shared documents ---- */

static bool contains(const aon_text *texts, size_t count, aon_text text) {
  for (size_t i = 0; i < count; i++)
    if (aon_text_same(texts[i], text))
      return true;
  return false;
}

typedef struct change {
  aon_text *before, *after;
  size_t before_count, after_count;
} change;

static aon_result member(pass *p, const aon_job_row *row, const aon_schema_membership *m, aon_text value, bool joins, aon_error *error) {
  return aon_shared_member(p->job, m->collection, m->inverse ? row->id : value, m->property, m->inverse ? value : row->id, joins, p->sheet,
                           error);
}

static aon_result gather_membership(pass *p, const aon_job_row *row, const aon_schema_membership *m, const change *c, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; i < c->before_count && !result; i++)
    if (!contains(c->after, c->after_count, c->before[i]))
      result = member(p, row, m, c->before[i], false, error);
  for (size_t i = 0; i < c->after_count && !result; i++)
    if (!contains(c->before, c->before_count, c->after[i]))
      result = member(p, row, m, c->after[i], true, error);
  return result;
}

static aon_result gather_memberships(pass *p, const aon_job_row *row, const bson_t *after, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; i < p->sheet->column_count && !result; i++) {
    const aon_schema_column *column = &p->sheet->columns[i];
    change c;
    if (!column->membership_count)
      continue;
    result = aon_document_texts(&row->before_view, column->property, &p->arena, &c.before, &c.before_count, error);
    if (!result)
      result = aon_document_texts(after, column->property, &p->arena, &c.after, &c.after_count, error);
    for (size_t k = 0; k < column->membership_count && !result; k++)
      result = gather_membership(p, row, &column->memberships[k], &c, error);
  }
  return result;
}

static void take(const bson_t *from, const char *const *names, bson_t *into) {
  for (; names && *names; names++) {
    bson_iter_t value;
    if (bson_iter_init_find(&value, from, *names))
      bson_append_iter(into, NULL, 0, &value);
  }
}

static aon_result gather_indexes(pass *p, const aon_job_row *row, const bson_t *after, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; i < p->sheet->index_count && !result; i++) {
    bson_t properties;
    bson_init(&properties);
    take(after, p->sheet->indexes[i].properties, &properties);
    result = aon_shared_properties(p->job, p->sheet->indexes[i].collection, row->id, &properties, p->sheet, error);
    bson_destroy(&properties);
  }
  return result;
}

static aon_result gather_entry(pass *p, const aon_job_row *row, const bson_t *after, aon_error *error) {
  aon_text when, own = {"", 0};
  if (!p->sheet->entry_count || row->faults || !aon_document_text(after, p->sheet->entry_when->property, &when))
    return AON_OK;
  (void)aon_document_text(after, p->sheet->entry_id->property, &own);
  for (size_t i = 0; i < p->sheet->entry_count; i++) {
    const aon_schema_entry *entry = &p->sheet->entries[i];
    if (!aon_text_same(when, (aon_text){entry->when, strlen(entry->when)}))
      continue;
    bson_t value;
    bson_init(&value);
    take(after, p->sheet->entry_properties, &value);
    aon_result result = aon_shared_entry(p->job, entry->collection, own, &value, p->sheet, error);
    bson_destroy(&value);
    return result;
  }
  return AON_OK;
}

/* ---- Rows ---- */

static bool needs_document(const aon_schema_sheet *sheet) {
  bool members = false;
  for (size_t i = 0; i < sheet->column_count; i++)
    members |= sheet->columns[i].membership_count > 0;
  return members || sheet->rule_count || sheet->adjust != LUA_NOREF || sheet->index_count || sheet->entry_count;
}

static aon_result check_document(pass *p, aon_job_row *row, aon_error *error) {
  bson_t after;
  aon_result result = aon_row_after(p->job, row, &after, error);
  if (result)
    return result;
  result = check_rules(p, row, &after, error);
  if (!result)
    result = gather_indexes(p, row, &after, error);
  if (!result)
    result = gather_memberships(p, row, &after, error);
  if (!result)
    result = gather_entry(p, row, &after, error);
  bson_destroy(&after);
  return result;
}

static aon_result keep_row(pass *p, const aon_job_row *row, aon_error *error) {
  bool refs = !bson_empty(&row->refs);
  if (!refs && !(row->flags & AON_ROW_GIVEN))
    return AON_OK;
  return aon_stage_run(p->job, error, "update row set flags = ?2, refs = ?3, before = ?4, token = ?5 where key = ?1", "iibbb", row->key,
                       (int64_t)row->flags, refs ? (const void *)bson_get_data(&row->refs) : NULL, (size_t)row->refs.len,
                       (const void *)row->before.bson, (size_t)row->before.bson_length, (const void *)row->before.token,
                       (size_t)row->before.token_length);
}

static aon_result validate_row(pass *p, aon_job_row *row, aon_error *error) {
  aon_result result = check_id(p, row, error);
  bool sure = !unsure(row);
  if (!result && sure && has_create_only(p->sheet))
    result = check_create_only(p, row, error);
  if (!result && sure)
    result = check_required(p, row, error);
  if (!result)
    result = check_references(p, row, error);
  if (!result && sure)
    result = check_uniques(p, row, error);
  if (!result && sure && needs_document(p->sheet))
    result = check_document(p, row, error);
  return result ? result : keep_row(p, row, error);
}

/* What an earlier validation found out about a row is forgotten: the stores may have changed since. */
static void forget(aon_job_row *row) {
  row->flags &= AON_ROW_GIVEN;
  row->before = (aon_image){0};
  bson_init(&row->before_view);
  bson_init(&row->refs);
}

static aon_result validate_batches(pass *p, aon_error *error) {
  for (uint32_t after = 0;;) {
    aon_arena_reset(&p->arena);
    aon_result result = aon_stage_rows(p->job, p->sheet, after, &p->arena, p->rows, &p->count, error);
    for (size_t i = 0; i < p->count && !result; i++)
      forget(&p->rows[i]);
    if (!result)
      result = read_documents(p, error);
    for (size_t i = 0; i < p->count && !result; i++)
      result = validate_row(p, &p->rows[i], error);
    if (!result && p->job->input->tick)
      result = p->job->input->tick(p->job->input->tick_context, p->job->rows_done += p->count, error);
    if (result || !p->count)
      return result;
    after = p->rows[p->count - 1].number;
  }
}

static aon_result validate_sheet(aon_pack_job *job, const aon_schema_sheet *sheet, aon_error *error) {
  if (!job->sheets[sheet->index].rows)
    return AON_OK;
  pass p = {.job = job,
            .sheet = sheet,
            .in_file = &job->sheets[sheet->index],
            .rows = aon_bson_array(aon_sheet_batch(job, sheet), sizeof(aon_job_row))};
  if (!p.rows)
    return aon_fail_memory(error);
  aon_result result = validate_batches(&p, error);
  free(p.rows);
  aon_arena_release(&p.arena);
  return result;
}

static aon_result validate_all(aon_pack_job *job, aon_error *error) {
  const aon_schema *schema = &job->pack->schema;
  aon_result result = AON_OK;
  for (size_t i = 0; i < schema->step_count && !result; i++)
    if (schema->steps[i].sheet)
      result = validate_sheet(job, schema->steps[i].sheet, error);
  for (size_t i = 0; i < schema->sheet_count && !result; i++)
    if (!schema->sheets[i].main)
      result = validate_sheet(job, &schema->sheets[i], error);
  return result;
}

aon_result aon_pack_job_validate(aon_pack_job *job, aon_error *error) {
  aon_result result = aon_stage_forget_validation(job, error);
  if (!result)
    result = validate_all(job, error);
  if (!result)
    result = aon_findings_report(job, error);
  return result;
}
