/* From validated rows to operations, step by step in the order of the plan. Rows go in batches: first what each becomes, then one read per
 * collection for the documents beside the main ones, then the operations in the order of rows.
 *
 * Only reads the stage, so it can be run again. Memory: one batch. */
#include "pack/job.h"

#include <lauxlib.h>
#include <stdlib.h>

typedef enum intent_kind { INTENT_MERGE, INTENT_DELETE, INTENT_BOUND, INTENT_INDEX } intent_kind;

typedef struct intent { /* one document beside the main one */
  intent_kind kind;
  const aon_schema_collection *collection;
  aon_text id, own;
  const bson_t *properties, *defaults; /* in the arena; defaults may be NULL */
  bool filled;                         /* BOUND: a cell brings a value */
  bool fresh;                          /* surely not there: under an id that was made for this row */
  aon_image before;
} intent;

typedef struct work { /* one row of the batch */
  aon_job_row row;
  bson_t after;
  bool has_after;
  size_t first, count; /* its intents */
} work;

struct aon_collector {
  aon_pack_job *job;
  const aon_schema_sheet *sheet;
  const aon_plan_sink *sink;
  aon_counts *counts;
  struct aon_count *count; /* of the sheet's entity; valid while no entity is added */
  aon_arena arena;
  aon_job_row *loaded;
  work *rows;
  size_t row_count;
  work *current;
  intent *intents;
  size_t intent_count, intent_capacity;
};

aon_arena *aon_collector_arena(aon_collector *c) { return &c->arena; }

aon_result aon_source_read(aon_pack_job *job, const aon_schema_collection *collection, const aon_text *ids, size_t count, aon_arena *arena,
                           aon_image *images, aon_error *error) {
  const aon_document_source *source = job->input->source;
  return source->read(source->context, &collection->base, ids, count, arena, images, error);
}

/* ---- One operation ---- */

static bool empty_value(const bson_iter_t *value) {
  bson_iter_t inner;
  return (BSON_ITER_HOLDS_ARRAY(value) || BSON_ITER_HOLDS_DOCUMENT(value)) && bson_iter_recurse(value, &inner) && !bson_iter_next(&inner);
}

static void without_empty(const bson_t *document, bson_t *ret_document) {
  bson_iter_t at;
  bson_init(ret_document);
  for (bson_iter_init(&at, document); bson_iter_next(&at);)
    if (!empty_value(&at))
      bson_append_iter(ret_document, NULL, 0, &at);
}

static void stamp(const aon_pack_job *job, const bson_t *document, bool created, bson_t *ret_document) {
  bson_t stamps;
  const char *user = job->input->user ? job->input->user : "";
  bson_init(&stamps);
  if (created) {
    bson_append_utf8(&stamps, "createdAt", -1, job->instant, -1);
    bson_append_utf8(&stamps, "createdBy", -1, user, -1);
  }
  bson_append_utf8(&stamps, "updatedAt", -1, job->instant, -1);
  bson_append_utf8(&stamps, "updatedBy", -1, user, -1);
  if (job->input->bulk_id)
    bson_append_utf8(&stamps, "_bulkOperationId", -1, job->input->bulk_id, -1);
  aon_document_put(document, &stamps, ret_document);
  bson_destroy(&stamps);
}

static bool same(const aon_schema_collection *collection, const aon_image *before, const bson_t *after) {
  bson_t view;
  aon_comparison how = {.stamps = collection->base.stamps, .volatiles = collection->base.volatiles, .sets = collection->base.sets};
  return before->bson && aon_image_view(before, &view) && aon_document_equal(&view, after, &how);
}

static bool sensitive(const aon_schema_collection *collection, const aon_image *before, const bson_t *after) {
  bson_t view;
  if (!collection->base.sensitive)
    return false;
  return (after && aon_document_holds(after, collection->base.sensitive)) ||
         (before->bson && aon_image_view(before, &view) && aon_document_holds(&view, collection->base.sensitive));
}

static aon_result hand_over(aon_pack_job *job, const aon_plan_sink *sink, const aon_schema_collection *collection, aon_text id,
                            const aon_image *before, const bson_t *after, const aon_origin *origin, aon_error *error) {
  aon_operation operation = {.collection = &collection->base,
                             .id = id,
                             .before = *before,
                             .origin = *origin,
                             .kind = !after         ? AON_DELETE
                                     : before->bson ? AON_UPDATE
                                                    : AON_CREATE,
                             .flags = sensitive(collection, before, after) ? AON_OPERATION_SENSITIVE : 0};
  if (after)
    operation.after = (aon_image){.bson = bson_get_data(after), .bson_length = after->len};
  aon_error why = AON_ERROR_INIT;
  aon_result result = sink->operation(sink->context, &operation, &why);
  if (result == AON_REJECTED)
    return aon_job_refused(job, &operation, &why, error);
  if (result && error)
    *error = why;
  return result;
}

aon_result aon_job_emit(aon_pack_job *job, const aon_plan_sink *sink, const aon_schema_collection *collection, aon_text id,
                        const aon_image *before, const bson_t *after, const aon_origin *origin, bool *ret_emitted, aon_error *error) {
  bson_t reduced, stamped;
  if (ret_emitted)
    *ret_emitted = false;
  if (!after && !before->bson)
    return AON_OK;
  if (after && collection->drops_empty)
    without_empty(after, &reduced);
  else
    bson_init(&reduced);
  const bson_t *result_document = after && collection->drops_empty ? &reduced : after;
  aon_result result = AON_OK;
  if (!after || !same(collection, before, result_document)) {
    if (after && collection->stamped)
      stamp(job, result_document, !before->bson, &stamped);
    else
      bson_init(&stamped);
    result = hand_over(job, sink, collection, id, before, after && collection->stamped ? &stamped : result_document, origin, error);
    bson_destroy(&stamped);
    if (ret_emitted)
      *ret_emitted = !result;
  }
  bson_destroy(&reduced);
  return result;
}

/* ---- Intents ---- */

static aon_result add_intent(aon_collector *c, const intent *new_one, aon_error *error) {
  if (c->intent_count == c->intent_capacity) {
    size_t capacity = c->intent_capacity ? c->intent_capacity * 2 : 4 * AON_JOB_BATCH;
    intent *grown = realloc(c->intents, capacity * sizeof *grown);
    if (!grown)
      return aon_fail_memory(error);
    c->intents = grown;
    c->intent_capacity = capacity;
  }
  intent *it = &c->intents[c->intent_count];
  *it = *new_one;
  aon_buffer id AON_BUFFER_CLEANUP = {0};
  aon_result result = aon_schema_id(it->collection, c->job->organization, it->own, &id, error);
  if (result)
    return result;
  it->own = (aon_text){aon_arena_text(&c->arena, it->own.data ? it->own.data : "", it->own.length), it->own.length};
  it->id = (aon_text){aon_arena_text(&c->arena, id.data ? id.data : "", id.length), id.length};
  if (!it->own.data || !it->id.data)
    return aon_fail_memory(error);
  it->fresh = !(c->current->row.flags & AON_ROW_GIVEN) && it->collection->own_part >= 0 && aon_text_same(it->own, c->current->row.id);
  c->intent_count++;
  c->current->count++;
  return AON_OK;
}

/* A pack that names the same document twice in a row means one document. */
static intent *find_intent(aon_collector *c, const aon_schema_collection *collection, aon_text own) {
  for (size_t i = 0; i < c->current->count; i++) {
    intent *it = &c->intents[c->current->first + i];
    if (it->collection == collection && aon_text_same(it->own, own))
      return it;
  }
  return NULL;
}

static aon_result join(aon_collector *c, const bson_t **into, const bson_t *more, aon_error *error) {
  bson_t joined;
  if (!more || !*into) {
    *into = *into ? *into : more;
    return AON_OK;
  }
  bson_init(&joined);
  bson_iter_t at;
  for (bson_iter_init(&at, *into); bson_iter_next(&at);)
    if (!bson_has_field(more, bson_iter_key(&at)))
      bson_append_iter(&joined, NULL, 0, &at);
  bson_concat(&joined, more);
  *into = aon_bson_keep(&c->arena, &joined);
  return *into ? AON_OK : aon_fail_memory(error);
}

aon_result aon_collector_merge(aon_collector *c, const aon_schema_collection *collection, aon_text own, const bson_t *properties,
                               const bson_t *defaults, aon_error *error) {
  intent *there = find_intent(c, collection, own);
  if (!there)
    return add_intent(
        c, &(intent){.kind = INTENT_MERGE, .collection = collection, .own = own, .properties = properties, .defaults = defaults}, error);
  aon_result result = there->kind == INTENT_DELETE ? AON_OK : join(c, &there->properties, properties, error);
  if (there->kind == INTENT_DELETE)
    there->properties = properties;
  there->kind = INTENT_MERGE;
  return result ? result : join(c, &there->defaults, defaults, error);
}

aon_result aon_collector_delete(aon_collector *c, const aon_schema_collection *collection, aon_text own, aon_error *error) {
  intent *there = find_intent(c, collection, own);
  if (there) {
    there->kind = INTENT_DELETE;
    return AON_OK;
  }
  return add_intent(c, &(intent){.kind = INTENT_DELETE, .collection = collection, .own = own}, error);
}

static aon_result keep(aon_collector *c, bson_t *document, const bson_t **ret_view, aon_error *error) {
  *ret_view = aon_bson_keep(&c->arena, document);
  return *ret_view ? AON_OK : aon_fail_memory(error);
}

static aon_result add_extensions(aon_collector *c, work *w, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; i < c->sheet->extension_count && !result; i++) {
    const aon_schema_collection *collection = c->sheet->extensions[i];
    uint64_t bound = aon_sheet_bound(c->sheet, collection);
    bson_t patch;
    const bson_t *view = NULL;
    if (!(bound & (w->row.filled | w->row.cleared)))
      continue;
    aon_row_patch(&w->row, collection, &patch);
    result = keep(c, &patch, &view, error);
    if (!result)
      result = add_intent(
          c,
          &(intent){
              .kind = INTENT_BOUND, .collection = collection, .own = w->row.id, .properties = view, .filled = (bound & w->row.filled) != 0},
          error);
  }
  return result;
}

/* A row that changes nothing itself is an edit all the same if its index document lacks what it repeats: that one is looked at. */
static aon_result add_indexes(aon_collector *c, work *w, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; i < c->sheet->index_count && !result && (w->row.flags & AON_ROW_EXISTS); i++) {
    bson_t properties;
    const bson_t *view = NULL;
    bson_init(&properties);
    for (const char *const *name = c->sheet->indexes[i].properties; *name; name++) {
      bson_iter_t value;
      if (bson_iter_init_find(&value, &w->after, *name))
        bson_append_iter(&properties, NULL, 0, &value);
    }
    result = keep(c, &properties, &view, error);
    if (!result)
      result = add_intent(
          c, &(intent){.kind = INTENT_INDEX, .collection = c->sheet->indexes[i].collection, .own = w->row.id, .properties = view}, error);
  }
  return result;
}

/* ---- A batch: what rows become ---- */

static void mask_create_only(aon_job_row *row) {
  for (size_t i = 0; i < row->sheet->column_count && (row->flags & AON_ROW_EXISTS); i++)
    if (row->sheet->columns[i].create_only) {
      row->filled &= ~((uint64_t)1 << i);
      row->cleared &= ~((uint64_t)1 << i);
    }
}

static aon_result load(aon_collector *c, uint32_t after, aon_error *error) {
  aon_arena_reset(&c->arena);
  c->intent_count = 0;
  aon_result result = aon_stage_rows(c->job, c->sheet, after, &c->arena, c->loaded, &c->row_count, error);
  for (size_t i = 0; i < c->row_count && !result; i++) {
    work *w = &c->rows[i];
    *w = (work){.row = c->loaded[i]};
    mask_create_only(&w->row);
    result = aon_row_after(c->job, &w->row, &w->after, error);
    w->has_after = !result;
  }
  return result;
}

static void unload(aon_collector *c) {
  for (size_t i = 0; i < c->row_count; i++)
    if (c->rows[i].has_after) {
      bson_destroy(&c->rows[i].after);
      c->rows[i].has_after = false;
    }
}

static aon_result prefetch_from(aon_collector *c, const aon_schema_collection *collection, const char *from, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_result result = AON_OK;
  for (size_t i = 0; i < c->row_count && !result; i++) {
    aon_text *owns, none = {"", 0};
    size_t count;
    result = from ? aon_document_texts(&c->rows[i].after, from, &arena, &owns, &count, error) : AON_OK;
    if (!from) {
      owns = &none;
      count = i == 0;
    }
    aon_text *ids = result ? NULL : aon_arena_alloc(&arena, (count + 1) * sizeof *ids);
    for (size_t k = 0; k < count && ids && !result; k++) {
      aon_buffer id AON_BUFFER_CLEANUP = {0};
      result = aon_schema_id(collection, c->job->organization, owns[k], &id, error);
      ids[k] = (aon_text){aon_arena_text(&arena, id.data ? id.data : "", id.length), id.length};
    }
    if (!result && ids)
      result = aon_lookup_prefetch(c->job, collection, ids, count, error);
    aon_arena_reset(&arena);
  }
  return result;
}

static aon_result call_pack(aon_collector *c, aon_error *error) {
  aon_result result = c->sheet->collect == LUA_NOREF ? AON_OK : aon_bridge_batch(c->job, error);
  for (size_t i = 0; i < c->sheet->read_count && !result; i++)
    result = prefetch_from(c, c->sheet->reads[i], c->sheet->reads_from[i], error);
  for (size_t i = 0; i < c->row_count && !result; i++) {
    work *w = c->current = &c->rows[i];
    w->first = c->intent_count;
    result = add_extensions(c, w, error);
    if (!result)
      result = add_indexes(c, w, error);
    if (result || c->sheet->collect == LUA_NOREF)
      continue;
    result = aon_bridge_row(c->job, &w->row, &w->after, error);
    if (!result)
      result = aon_bridge_collect(c->job, c->sheet->collect, c, error);
  }
  return result;
}

/* ---- A batch: documents that are there ---- */

static aon_result read_some(aon_collector *c, const aon_schema_collection *collection, intent **waiting, size_t count, aon_error *error) {
  aon_text ids[AON_JOB_BATCH];
  aon_image images[AON_JOB_BATCH];
  for (size_t i = 0; i < count; i++)
    ids[i] = waiting[i]->id;
  aon_result result = count ? aon_source_read(c->job, collection, ids, count, &c->arena, images, error) : AON_OK;
  for (size_t i = 0; i < count && !result; i++)
    waiting[i]->before = images[i];
  return result;
}

static aon_result read_collection(aon_collector *c, const aon_schema_collection *collection, aon_error *error) {
  intent *waiting[AON_JOB_BATCH];
  size_t count = 0;
  aon_result result = AON_OK;
  for (size_t i = 0; i < c->intent_count && !result; i++) {
    intent *it = &c->intents[i];
    if (it->collection != collection || it->fresh)
      continue;
    waiting[count++] = it;
    if (count == AON_JOB_BATCH) {
      result = read_some(c, collection, waiting, count, error);
      count = 0;
    }
  }
  return result ? result : read_some(c, collection, waiting, count, error);
}

static aon_result read_intents(aon_collector *c, aon_error *error) {
  bool wanted[AON_SCHEMA_COLLECTIONS] = {false};
  aon_result result = AON_OK;
  for (size_t i = 0; i < c->intent_count; i++)
    wanted[c->intents[i].collection->index] |= !c->intents[i].fresh;
  for (size_t i = 0; i < c->job->pack->schema.collection_count && !result; i++)
    if (wanted[i])
      result = read_collection(c, &c->job->pack->schema.collections[i], error);
  return result;
}

/* ---- A batch: operations ---- */

static bool keeps_any(const aon_schema_sheet *sheet, const aon_schema_collection *collection, const bson_t *document) {
  uint64_t bound = aon_sheet_bound(sheet, collection);
  for (size_t i = 0; i < sheet->column_count; i++)
    if ((bound >> i & 1) && bson_has_field(document, sheet->columns[i].parent ? sheet->columns[i].parent : sheet->columns[i].property))
      return true;
  return false;
}

/* What a new document has besides what the row says. */
static aon_result put_defaults(const aon_collector *c, const aon_job_row *row, const intent *it, bson_t *document, aon_error *error) {
  bson_t defaults, more;
  aon_result result = aon_secret_open(c->job, row, it->collection, it->defaults, &defaults, error);
  if (result)
    return result;
  aon_document_put(document, &defaults, &more);
  bson_destroy(&defaults);
  bson_destroy(document);
  bson_steal(document, &more);
  return AON_OK;
}

static aon_result emit_merge(aon_collector *c, const aon_job_row *row, const intent *it, const aon_origin *origin, bool *ret_emitted,
                             aon_error *error) {
  aon_result result = AON_OK;
  bson_t start, after;
  bool there = it->before.bson != NULL;
  if (!there && it->kind == INTENT_BOUND && !it->filled)
    return AON_OK;
  if (!there)
    aon_document_begin(c->job, it->collection, it->id, it->own, &start);
  else if (!aon_image_view(&it->before, &start))
    return aon_fail(error, AON_CORRUPT, "corrupt", "The document %s/%.*s can't be read.", it->collection->base.name, (int)it->id.length,
                    it->id.data);
  if (!there && it->defaults)
    result = put_defaults(c, row, it, &start, error);
  if (!result) {
    aon_document_put(&start, it->properties, &after);
    bool gone = it->kind == INTENT_BOUND && !keeps_any(c->sheet, it->collection, &after);
    result = aon_job_emit(c->job, c->sink, it->collection, it->id, &it->before, gone ? NULL : &after, origin, ret_emitted, error);
    bson_destroy(&after);
  }
  bson_destroy(&start);
  return result;
}

static bool index_differs(const intent *it) {
  bson_t view;
  bson_iter_t at, there;
  if (!it->before.bson || !aon_image_view(&it->before, &view))
    return true;
  for (bson_iter_init(&at, it->properties); bson_iter_next(&at);)
    if (!bson_iter_init_find(&there, &view, bson_iter_key(&at)) || !aon_value_equal(&at, &there))
      return true;
  return false;
}

static aon_result emit_intent(aon_collector *c, const aon_job_row *row, const intent *it, const aon_origin *origin, bool *ret_emitted,
                              aon_error *error) {
  *ret_emitted = false;
  if (it->kind == INTENT_INDEX) {
    *ret_emitted = index_differs(it); /* its operation comes at the step of shared documents */
    return AON_OK;
  }
  if (it->kind == INTENT_DELETE)
    return aon_job_emit(c->job, c->sink, it->collection, it->id, &it->before, NULL, origin, ret_emitted, error);
  return emit_merge(c, row, it, origin, ret_emitted, error);
}

/* ---- Claims ---- */

static aon_result claim(aon_collector *c, aon_claim kind, const aon_schema_collection *collection, const char *property, aon_text value,
                        aon_error *error) {
  return c->sink->claim ? c->sink->claim(c->sink->context, kind, &collection->base, property, value, error) : AON_OK;
}

static aon_result folded_of(const bson_t *document, const char *property, aon_buffer *out, aon_error *error) {
  aon_text text;
  return aon_document_text(document, property, &text) ? aon_text_fold(text.data, text.length, out, error) : AON_OK;
}

/* The new value, and the one that is given up: until the decision nobody else may take either. */
static aon_result claim_unique(aon_collector *c, const work *w, const aon_schema_column *column, aon_error *error) {
  aon_buffer now AON_BUFFER_CLEANUP = {0}, before AON_BUFFER_CLEANUP = {0};
  aon_result result = folded_of(&w->after, column->property, &now, error);
  if (!result)
    result = folded_of(&w->row.before_view, column->property, &before, error);
  aon_text texts[] = {{now.data, now.length}, {before.data, before.length}};
  if (result || aon_text_same(texts[0], texts[1]))
    return result;
  for (size_t i = 0; i < 2 && !result; i++) {
    if (!texts[i].length)
      continue;
    result = claim(c, AON_CLAIM_VALUE, c->sheet->main, column->property, texts[i], error);
    if (!result && column->unique_in)
      result = claim(c, AON_CLAIM_VALUE, column->unique_in, column->unique_in_property, texts[i], error);
  }
  return result;
}

/* Documents that this upload makes itself need no claim: nobody else knows them. */
static aon_result is_there(aon_collector *c, const aon_schema_reference *reference, aon_text id, bool *ret_there, aon_error *error) {
  aon_text known;
  int64_t sheet = reference->sheet ? (int64_t)reference->sheet->index : -1;
  uint32_t kind = AON_RECALL_THERE + (uint32_t)(reference->collection->index << 8) + (uint32_t)(sheet + 1);
  if (aon_recall_get(c->job, kind, id, &known)) {
    *ret_there = *known.data == '1';
    return AON_OK;
  }
  sqlite3_stmt *statement AON_SQLITE_DONE = NULL;
  aon_result result = aon_stage_query(c->job, &statement, error,
                                      "select 1 from stored where coll = ?1 and id = ?2 union all"
                                      " select 1 from id join row on row.key = id.key where id.sheet = ?3 and id.id = ?2 and row.flags & 2",
                                      "iti", (int64_t)reference->collection->index, id, sheet);
  if (!result)
    result = aon_sqlite_step(c->job->stage, statement, error);
  if (result && result != AON_END)
    return result;
  *ret_there = !result;
  aon_recall_put(c->job, kind, id, *ret_there ? AON_TEXT("1") : AON_TEXT("0"));
  return AON_OK;
}

static aon_result claim_references(aon_collector *c, const work *w, const aon_schema_column *column, aon_error *error) {
  aon_text *ids;
  size_t count;
  aon_result result = aon_document_texts(&w->row.refs, column->property, &c->arena, &ids, &count, error);
  for (size_t i = 0; i < count && !result; i++) {
    bool there;
    result = is_there(c, &column->references[0], ids[i], &there, error);
    if (!result && there)
      result = claim(c, AON_CLAIM_REFERENCE, column->references[0].collection, NULL, ids[i], error);
  }
  return result;
}

static aon_result claim_row(aon_collector *c, const work *w, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; i < c->sheet->column_count && !result; i++) {
    const aon_schema_column *column = &c->sheet->columns[i];
    if (column->unique)
      result = claim_unique(c, w, column, error);
    if (!result && column->reference_count && !column->reference_when)
      result = claim_references(c, w, column, error);
  }
  return result;
}

/* Groups that this upload makes: nobody else may make one of that name meanwhile. */
static aon_result claim_made(aon_pack_job *job, const aon_plan_sink *sink, aon_error *error) {
  sqlite3_stmt *statement AON_SQLITE_DONE = NULL;
  if (!sink->claim)
    return AON_OK;
  aon_result result = aon_stage_query(job, &statement, error, "select coll, property, folded from made order by coll, id", "");
  while (!result && !(result = aon_sqlite_step(job->stage, statement, error)))
    result = sink->claim(sink->context, AON_CLAIM_VALUE, &job->pack->schema.collections[sqlite3_column_int(statement, 0)].base,
                         (const char *)sqlite3_column_text(statement, 1), aon_stage_text(statement, 2), error);
  return result == AON_END ? AON_OK : result;
}

/* ---- Rows ---- */

static aon_result emit_row(aon_collector *c, work *w, aon_error *error) {
  bool created = !w->row.before.bson, changed, emitted;
  aon_origin origin = {.sheet = c->job->sheets[c->sheet->index].name, .row = w->row.number, .entity = c->sheet->entity};
  aon_buffer id AON_BUFFER_CLEANUP = {0};
  aon_result result = aon_schema_id(c->sheet->main, c->job->organization, w->row.id, &id, error);
  if (!result)
    result =
        aon_job_emit(c->job, c->sink, c->sheet->main, (aon_text){id.data, id.length}, &w->row.before, &w->after, &origin, &changed, error);
  for (size_t i = 0; i < w->count && !result; i++) {
    result = emit_intent(c, &w->row, &c->intents[w->first + i], &origin, &emitted, error);
    changed |= emitted;
  }
  if (!result && changed)
    result = claim_row(c, w, error);
  if (!result) {
    c->count->created += created;
    c->count->edited += !created && changed;
    c->count->unchanged += !created && !changed;
  }
  return result;
}

static aon_result collect_batches(aon_collector *c, aon_error *error) {
  const aon_pack_input *input = c->job->input;
  for (uint32_t after = 0;;) {
    aon_result result = load(c, after, error);
    if (!result)
      result = call_pack(c, error);
    if (!result)
      result = read_intents(c, error);
    for (size_t i = 0; i < c->row_count && !result; i++)
      result = emit_row(c, &c->rows[i], error);
    unload(c);
    if (!result && input->tick)
      result = input->tick(input->tick_context, c->job->rows_done += c->row_count, error);
    if (result || !c->row_count)
      return result;
    after = c->rows[c->row_count - 1].row.number;
  }
}

static aon_result collect_sheet(aon_pack_job *job, const aon_schema_sheet *sheet, const aon_plan_sink *sink, aon_counts *counts,
                                aon_error *error) {
  if (!job->sheets[sheet->index].rows)
    return AON_OK;
  size_t batch = aon_sheet_batch(job, sheet);
  aon_collector c = {.job = job,
                     .sheet = sheet,
                     .sink = sink,
                     .counts = counts,
                     .rows = aon_bson_array(batch, sizeof(work)),
                     .loaded = aon_bson_array(batch, sizeof(aon_job_row))};
  aon_result result = c.rows && c.loaded ? aon_counts_entity(counts, sheet->entity, &c.count, error) : aon_fail_memory(error);
  if (!result)
    result = collect_batches(&c, error);
  free(c.rows);
  free(c.loaded);
  free(c.intents);
  aon_arena_release(&c.arena);
  return result;
}

/* ---- Steps ---- */

/* Rows that are entries: a new day is a create, one that is there (or stands in the workbook twice) is unchanged. */
static aon_result count_entries(aon_pack_job *job, const aon_schema_step *step, uint64_t added, aon_counts *counts, aon_error *error) {
  const aon_schema *schema = &job->pack->schema;
  for (size_t i = 0; i < schema->sheet_count; i++) {
    struct aon_count *count;
    if (schema->sheets[i].main || !job->sheets[i].present || !step->entity || strcmp(schema->sheets[i].entity, step->entity) != 0)
      continue;
    aon_result result = aon_counts_entity(counts, step->entity, &count, error);
    if (result)
      return result;
    count->created += added;
    count->unchanged -= added;
  }
  return AON_OK;
}

static aon_result begin_counts(aon_pack_job *job, aon_counts *counts, aon_error *error) {
  const aon_schema *schema = &job->pack->schema;
  for (size_t i = 0; i < schema->sheet_count; i++) {
    struct aon_count *count;
    if (!job->sheets[i].present)
      continue;
    aon_result result = aon_counts_entity(counts, schema->sheets[i].entity, &count, error);
    if (result)
      return result;
    count->created = count->edited = count->deleted = count->unchanged = 0;
    if (!schema->sheets[i].main)
      count->unchanged = job->sheets[i].rows;
  }
  return AON_OK;
}

static aon_result run_step(aon_pack_job *job, const aon_schema_step *step, const aon_plan_sink *sink, aon_counts *counts,
                           aon_error *error) {
  if (step->sheet)
    return collect_sheet(job, step->sheet, sink, counts, error);
  uint64_t added = 0;
  aon_result result = aon_shared_emit(job, step, sink, &added, error);
  return result || !added ? result : count_entries(job, step, added, counts, error);
}

aon_result aon_pack_job_collect(aon_pack_job *job, const aon_plan_sink *sink, aon_counts *counts, aon_error *error) {
  const aon_schema *schema = &job->pack->schema;
  aon_result result = begin_counts(job, counts, error);
  if (!result)
    result = claim_made(job, sink, error);
  for (size_t i = 0; i < schema->step_count && !result; i++) {
    const aon_schema_step *step = &schema->steps[i];
    if (step->group_begins && sink->group)
      result = sink->group(sink->context, step->group, error);
    if (!result)
      result = run_step(job, step, sink, counts, error);
    if (!result && step->group_ends && sink->group)
      result = sink->group(sink->context, NULL, error);
  }
  return result;
}
