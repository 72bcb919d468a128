/* What the stores know: values of documents of the organization, read by one streaming scan per collection and property when the first
 * question comes, and single documents with lists, each read once.
 *
 * Invariant: `known` holds the documents as they will be after the upload: a document whose row brings another value for the property is
 * left out, for the workbook answers for it. */
#include "pack/job.h"

typedef struct scan {
  aon_pack_job *job;
  const aon_schema_collection *collection;
  const char *property;
  const aon_schema_sheet *sheet; /* whose rows may rename documents; NULL: none do */
  uint64_t column;               /* the column that does, as a bit */
} scan;

static aon_result renamed(const scan *s, aon_text id, bool *ret_renamed, aon_error *error) {
  *ret_renamed = false;
  if (!s->sheet)
    return AON_OK;
  sqlite3_stmt *statement AON_SQLITE_DONE = NULL;
  aon_result result = aon_stage_query(
      s->job, &statement, error,
      "select row.filled & ~row.faults | row.cleared from id join row on row.key = id.key where id.sheet = ?1 and id.id = ?2", "it",
      (int64_t)s->sheet->index, id);
  if (!result)
    result = aon_sqlite_step(s->job->stage, statement, error);
  if (!result)
    *ret_renamed = ((uint64_t)sqlite3_column_int64(statement, 0) & s->column) != 0;
  return result == AON_END ? AON_OK : result;
}

static aon_result each(void *context, const aon_found *found, aon_error *error) {
  const scan *s = context;
  bson_t view;
  aon_text text;
  bool gone;
  if (!aon_image_view(&found->image, &view) || !aon_document_text(&view, s->property, &text))
    return AON_OK;
  aon_result result = renamed(s, found->id, &gone, error);
  if (result || gone)
    return result;
  aon_buffer folded AON_BUFFER_CLEANUP = {0};
  if ((result = aon_text_fold(text.data, text.length, &folded, error)))
    return result;
  return aon_stage_run(s->job, error, "insert or ignore into known(coll, property, folded, id) values(?1, ?2, ?3, ?4)", "ittt",
                       (int64_t)s->collection->index, (aon_text){s->property, strlen(s->property)},
                       (aon_text){folded.data ? folded.data : "", folded.length}, found->id);
}

/* The sheet whose rows change that property: its own column, or one that must be unique there. */
static void find_renaming(scan *s) {
  const aon_schema *schema = &s->job->pack->schema;
  for (size_t i = 0; i < schema->sheet_count; i++)
    for (size_t k = 0; k < schema->sheets[i].column_count; k++) {
      const aon_schema_column *column = &schema->sheets[i].columns[k];
      bool own = schema->sheets[i].main == s->collection && !strcmp(column->property, s->property);
      bool beside = column->unique_in == s->collection && !strcmp(column->unique_in_property, s->property);
      if (own || beside) {
        s->sheet = &schema->sheets[i];
        s->column = (uint64_t)1 << k;
      }
    }
}

static aon_result read_all(aon_pack_job *job, const aon_schema_collection *collection, const char *property, aon_error *error) {
  scan s = {.job = job, .collection = collection, .property = property};
  find_renaming(&s);
  aon_match match = {.property = collection->organization_property, .value = job->organization};
  const char *properties[] = {property, collection->organization_property, NULL};
  const aon_document_source *source = job->input->source;
  aon_result result = source->scan(source->context, &collection->base, &match, match.property ? 1 : 0, properties, each, &s, error);
  return result == AON_END ? AON_OK : result;
}

static aon_result need(aon_pack_job *job, const aon_schema_collection *collection, const char *property, aon_error *error) {
  aon_text name = {property, strlen(property)}, yes;
  uint32_t kind = AON_RECALL_SCANNED + (uint32_t)collection->index;
  if (aon_recall_get(job, kind, name, &yes))
    return AON_OK;
  aon_result result =
      aon_stage_run(job, error, "insert or ignore into scanned(coll, property) values(?1, ?2)", "it", (int64_t)collection->index, name);
  if (!result && sqlite3_changes(aon_sqlite_handle(job->stage)))
    result = read_all(job, collection, property, error);
  if (!result)
    aon_recall_put(job, kind, name, AON_TEXT("1"));
  return result;
}

aon_result aon_lookup(aon_pack_job *job, const aon_schema_collection *collection, const char *property, aon_text folded, aon_text except,
                      aon_arena *arena, aon_text *ret_id, int *ret_count, aon_error *error) {
  *ret_id = (aon_text){0};
  *ret_count = 0;
  aon_result result = need(job, collection, property, error);
  if (result)
    return result;
  sqlite3_stmt *statement AON_SQLITE_DONE = NULL;
  result =
      aon_stage_query(job, &statement, error, "select id from known where coll = ?1 and property = ?2 and folded = ?3 and id <> ?4 limit 2",
                      "ittt", (int64_t)collection->index, (aon_text){property, strlen(property)}, folded, except);
  while (!result && !(result = aon_sqlite_step(job->stage, statement, error)))
    if (++*ret_count == 1) {
      aon_text id = aon_stage_text(statement, 0);
      *ret_id = (aon_text){aon_arena_text(arena, id.data, id.length), id.length};
      if (!ret_id->data)
        return aon_fail_memory(error);
    }
  return result == AON_END ? AON_OK : result;
}

/* ---- Documents with lists ---- */

static aon_result keep_image(aon_pack_job *job, const aon_schema_collection *collection, aon_text id, const aon_image *image,
                             aon_error *error) {
  return aon_stage_run(job, error, "insert or ignore into image(coll, id, bson, token) values(?1, ?2, ?3, ?4)", "itbb",
                       (int64_t)collection->index, id, (const void *)image->bson, (size_t)image->bson_length, (const void *)image->token,
                       (size_t)image->token_length);
}

static aon_result stored_image(aon_pack_job *job, const aon_schema_collection *collection, aon_text id, aon_arena *arena,
                               aon_image *ret_image, bool *ret_there, aon_error *error) {
  sqlite3_stmt *statement AON_SQLITE_DONE = NULL;
  *ret_image = (aon_image){0};
  aon_result result =
      aon_stage_query(job, &statement, error, "select bson from image where coll = ?1 and id = ?2", "it", (int64_t)collection->index, id);
  if (!result)
    result = aon_sqlite_step(job->stage, statement, error);
  *ret_there = !result;
  if (result)
    return result == AON_END ? AON_OK : result;
  const void *bytes = sqlite3_column_blob(statement, 0);
  if (!bytes)
    return AON_OK;
  ret_image->bson_length = (uint32_t)sqlite3_column_bytes(statement, 0);
  ret_image->bson = aon_arena_copy(arena, bytes, ret_image->bson_length);
  return ret_image->bson ? AON_OK : aon_fail_memory(error);
}

aon_result aon_lookup_image(aon_pack_job *job, const aon_schema_collection *collection, aon_text id, aon_arena *arena, aon_image *ret_image,
                            aon_error *error) {
  bool there;
  aon_result result = stored_image(job, collection, id, arena, ret_image, &there, error);
  if (result || there)
    return result;
  result = aon_source_read(job, collection, &id, 1, arena, ret_image, error);
  return result ? result : keep_image(job, collection, id, ret_image, error);
}

aon_result aon_lookup_prefetch(aon_pack_job *job, const aon_schema_collection *collection, const aon_text *ids, size_t count,
                               aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_text wanted[AON_JOB_BATCH];
  aon_image images[AON_JOB_BATCH];
  aon_result result = AON_OK;
  for (size_t i = 0, waiting = 0; i < count && !result; i++) {
    aon_image image;
    bool there;
    result = stored_image(job, collection, ids[i], &arena, &image, &there, error);
    for (size_t k = 0; k < waiting && !there; k++)
      there = aon_text_same(wanted[k], ids[i]);
    if (!result && !there)
      wanted[waiting++] = ids[i];
    if (result || !waiting || (waiting < AON_JOB_BATCH && i + 1 < count))
      continue;
    result = aon_source_read(job, collection, wanted, waiting, &arena, images, error);
    for (size_t k = 0; k < waiting && !result; k++)
      result = keep_image(job, collection, wanted[k], &images[k], error);
    waiting = 0;
    aon_arena_reset(&arena);
  }
  return result;
}
