/* Documents that many rows feed: index documents, groups, roles, days off. Rows only say what they put in and take out; the document is
 * read, changed and handed over once, at its own step of the plan. */
#include "pack/job.h"

#include <stdlib.h>

#define SHARED_BATCH 100 /* fewer than rows: each may hold thousands of members */

typedef struct touched {
  aon_buffer id;
  int64_t number; /* of the document: they are handed over in the order in which they were first touched */
  bool first;
} touched;

static aon_result find_number(aon_pack_job *job, const aon_schema_collection *collection, touched *t, aon_error *error) {
  sqlite3_stmt *statement AON_SQLITE_DONE = NULL;
  aon_result result = aon_stage_query(job, &statement, error, "select number from shared where coll = ?1 and id = ?2", "it",
                                      (int64_t)collection->index, (aon_text){t->id.data, t->id.length});
  if (!result)
    result = aon_sqlite_step(job->stage, statement, error);
  if (!result)
    t->number = sqlite3_column_int64(statement, 0);
  return result;
}

/* The document's id and number; it is noted at its first touch. */
static aon_result touch(aon_pack_job *job, const aon_schema_collection *collection, aon_text own, const aon_schema_sheet *sheet, touched *t,
                        aon_error *error) {
  aon_result result = aon_schema_id(collection, job->organization, own, &t->id, error);
  if (result)
    return result;
  aon_text id = {t->id.data, t->id.length}, number;
  uint32_t kind = AON_RECALL_SHARED + (uint32_t)collection->index;
  job->touched++;
  if (aon_recall_get(job, kind, id, &number)) {
    memcpy(&t->number, number.data, sizeof t->number);
    return AON_OK;
  }
  result = aon_stage_run(job, error, "insert or ignore into shared(number, coll, id, own, sheet) values(?1, ?2, ?3, ?4, ?5)", "iitti",
                         job->touched, (int64_t)collection->index, id, own, (int64_t)sheet->index);
  t->first = !result && sqlite3_changes(aon_sqlite_handle(job->stage));
  t->number = job->touched;
  if (!result && !t->first)
    result = find_number(job, collection, t, error);
  if (!result)
    aon_recall_put(job, kind, id, (aon_text){(const char *)&t->number, sizeof t->number});
  return result;
}

aon_result aon_shared_member(aon_pack_job *job, const aon_schema_collection *collection, aon_text own, const char *property, aon_text value,
                             bool joins, const aon_schema_sheet *sheet, aon_error *error) {
  touched t = {0};
  aon_result result = touch(job, collection, own, sheet, &t, error);
  aon_buffer_release(&t.id);
  if (result)
    return result;
  return aon_stage_run(job, error, "insert or replace into member(document, property, value, joins, touched) values(?1, ?2, ?3, ?4, ?5)",
                       "ittii", t.number, (aon_text){property, strlen(property)}, value, (int64_t)joins, job->touched);
}

static aon_result properties_of(aon_pack_job *job, const touched *t, bson_t *ret_properties, aon_error *error) {
  sqlite3_stmt *statement AON_SQLITE_DONE = NULL;
  bson_init(ret_properties);
  if (t->first)
    return AON_OK;
  aon_result result = aon_stage_query(job, &statement, error, "select properties from shared where number = ?1", "i", t->number);
  if (!result)
    result = aon_sqlite_step(job->stage, statement, error);
  bson_t view;
  const void *bytes = result ? NULL : sqlite3_column_blob(statement, 0);
  if (bytes && bson_init_static(&view, bytes, (size_t)sqlite3_column_bytes(statement, 0)))
    bson_concat(ret_properties, &view);
  return result == AON_END ? AON_OK : result;
}

aon_result aon_shared_properties(aon_pack_job *job, const aon_schema_collection *collection, aon_text own, const bson_t *properties,
                                 const aon_schema_sheet *sheet, aon_error *error) {
  touched t = {0};
  bson_t before, after;
  aon_result result = touch(job, collection, own, sheet, &t, error);
  aon_buffer_release(&t.id);
  if (!result)
    result = properties_of(job, &t, &before, error);
  if (result)
    return result;
  aon_document_put(&before, properties, &after);
  result = aon_stage_run(job, error, "update shared set properties = ?2 where number = ?1", "ib", t.number,
                         (const void *)bson_get_data(&after), (size_t)after.len);
  bson_destroy(&before);
  bson_destroy(&after);
  return result;
}

/* ---- Lists of entries ---- */

/* Entries are the same if their keys are, names compared as everywhere; the keys in their order are the order of the list. */
static aon_result sort_key(const aon_schema_collection *collection, const bson_t *entry, aon_buffer *out, aon_error *error) {
  aon_result result = AON_OK;
  for (const char *const *key = collection->list_keys; *key && !result; key++) {
    aon_text text;
    if (aon_document_text(entry, *key, &text))
      result = aon_text_fold(text.data, text.length, out, error);
    if (!result)
      result = aon_buffer_append(out, "\x1f", 1, error);
  }
  return result;
}

aon_result aon_shared_entry(aon_pack_job *job, const aon_schema_collection *collection, aon_text own, const bson_t *entry,
                            const aon_schema_sheet *sheet, aon_error *error) {
  touched t = {0};
  aon_buffer sort AON_BUFFER_CLEANUP = {0};
  aon_result result = touch(job, collection, own, sheet, &t, error);
  if (!result)
    result = sort_key(collection, entry, &sort, error);
  if (!result)
    result = aon_stage_run(job, error, "insert or ignore into entry(coll, id, sort, value) values(?1, ?2, ?3, ?4)", "ittb",
                           (int64_t)collection->index, (aon_text){t.id.data, t.id.length}, (aon_text){sort.data, sort.length},
                           (const void *)bson_get_data(entry), (size_t)entry->len);
  aon_buffer_release(&t.id);
  return result;
}

typedef struct listed {
  const char *sort;
  size_t position;
  const uint8_t *bytes; /* of the entry, in the arena */
  uint32_t length;
} listed;

typedef struct list {
  aon_arena *arena;
  listed *entries;
  size_t count, capacity;
} list;

static aon_result list_add(list *l, const char *sort, size_t length, const uint8_t *bytes, size_t bytes_length, aon_error *error) {
  if (l->count == l->capacity) {
    size_t capacity = l->capacity ? l->capacity * 2 : 16;
    listed *grown = aon_arena_alloc(l->arena, capacity * sizeof *grown);
    if (!grown)
      return aon_fail_memory(error);
    for (size_t i = 0; i < l->count; i++)
      grown[i] = l->entries[i];
    l->entries = grown;
    l->capacity = capacity;
  }
  listed *entry = &l->entries[l->count];
  *entry = (listed){.sort = aon_arena_text(l->arena, sort, length),
                    .position = l->count,
                    .bytes = aon_arena_copy(l->arena, bytes, bytes_length),
                    .length = (uint32_t)bytes_length};
  if (!entry->bytes || !entry->sort)
    return aon_fail_memory(error);
  l->count++;
  return AON_OK;
}

static aon_result list_stored(const aon_schema_collection *collection, const aon_image *before, list *l, aon_error *error) {
  bson_t view;
  bson_iter_t value, item;
  if (!before->bson || !aon_image_view(before, &view) || !bson_iter_init_find(&value, &view, collection->list) ||
      !BSON_ITER_HOLDS_ARRAY(&value) || !bson_iter_recurse(&value, &item))
    return AON_OK;
  aon_result result = AON_OK;
  while (!result && bson_iter_next(&item)) {
    aon_buffer sort AON_BUFFER_CLEANUP = {0};
    uint32_t length;
    const uint8_t *bytes;
    bson_t entry;
    if (!BSON_ITER_HOLDS_DOCUMENT(&item))
      continue;
    bson_iter_document(&item, &length, &bytes);
    if (!bson_init_static(&entry, bytes, length))
      continue;
    result = sort_key(collection, &entry, &sort, error);
    if (!result)
      result = list_add(l, sort.data, sort.length, bytes, length, error);
  }
  return result;
}

static int by_sort(const void *a, const void *b) {
  const listed *left = a, *right = b;
  int order = strcmp(left->sort, right->sort);
  return order ? order : (left->position > right->position) - (left->position < right->position);
}

static aon_result list_staged(aon_pack_job *job, const aon_schema_collection *collection, aon_text id, list *l, aon_error *error) {
  sqlite3_stmt *statement AON_SQLITE_DONE = NULL;
  aon_result result = aon_stage_query(job, &statement, error, "select sort, value from entry where coll = ?1 and id = ?2 order by sort",
                                      "it", (int64_t)collection->index, id);
  while (!result && !(result = aon_sqlite_step(job->stage, statement, error))) {
    aon_text sort = aon_stage_text(statement, 0);
    result = list_add(l, sort.data, sort.length, sqlite3_column_blob(statement, 1), (size_t)sqlite3_column_bytes(statement, 1), error);
  }
  return result == AON_END ? AON_OK : result;
}

aon_result aon_shared_list(aon_pack_job *job, const aon_schema_collection *collection, aon_text id, const aon_image *before,
                           aon_arena *arena, bson_t *ret_list, uint64_t *ret_added, aon_error *error) {
  list l = {.arena = arena};
  aon_result result = list_stored(collection, before, &l, error);
  size_t stored = l.count;
  if (!result)
    result = list_staged(job, collection, id, &l, error);
  if (result)
    return result;
  if (l.count > stored)
    qsort(l.entries, l.count, sizeof *l.entries, by_sort);
  uint64_t added = 0;
  uint32_t position = 0;
  const char *last = NULL;
  bson_init(ret_list);
  for (size_t i = 0; i < l.count; i++) {
    char buffer[16];
    const char *key;
    bool staged = l.entries[i].position >= stored;
    if (staged && last && !strcmp(last, l.entries[i].sort))
      continue; /* it is there already */
    last = l.entries[i].sort;
    added += staged;
    bson_uint32_to_string(position++, &key, buffer, sizeof buffer);
    bson_t entry;
    if (bson_init_static(&entry, l.entries[i].bytes, l.entries[i].length))
      bson_append_document(ret_list, key, -1, &entry);
  }
  if (ret_added)
    *ret_added = added;
  return AON_OK;
}

/* ---- Emission ---- */

typedef struct shared_document {
  int64_t number;
  const aon_schema_collection *collection;
  const aon_schema_sheet *sheet;
  aon_text id, own;
  bson_t properties; /* a view into the arena */
  bool has_properties;
  aon_image before;
} shared_document;

typedef struct emission {
  aon_pack_job *job;
  const aon_schema_step *step;
  const aon_plan_sink *sink;
  aon_arena arena; /* of one batch */
  shared_document *documents;
  size_t count;
  uint64_t entries;
} emission;

static const aon_schema_collection *of_step(const emission *e, int64_t index) {
  for (size_t i = 0; i < e->step->collection_count; i++)
    if ((int64_t)e->step->collections[i]->index == index)
      return e->step->collections[i];
  return NULL;
}

static aon_text copy_text(aon_arena *arena, aon_text text) {
  return (aon_text){aon_arena_text(arena, text.data ? text.data : "", text.length), text.length};
}

static aon_result load(emission *e, int64_t *after, aon_error *error) {
  sqlite3_stmt *statement AON_SQLITE_DONE = NULL;
  aon_result result =
      aon_stage_query(e->job, &statement, error,
                      "select number, coll, id, own, sheet, properties from shared where number > ?1 order by number", "i", *after);
  e->count = 0;
  while (!result && e->count < SHARED_BATCH && !(result = aon_sqlite_step(e->job->stage, statement, error))) {
    *after = sqlite3_column_int64(statement, 0);
    shared_document *d = &e->documents[e->count];
    *d = (shared_document){.number = *after, .collection = of_step(e, sqlite3_column_int64(statement, 1))};
    if (!d->collection)
      continue;
    d->id = copy_text(&e->arena, aon_stage_text(statement, 2));
    d->own = copy_text(&e->arena, aon_stage_text(statement, 3));
    d->sheet = &e->job->pack->schema.sheets[sqlite3_column_int64(statement, 4)];
    const void *bytes = sqlite3_column_blob(statement, 5);
    size_t length = bytes ? (size_t)sqlite3_column_bytes(statement, 5) : 0;
    const uint8_t *copy = bytes ? aon_arena_copy(&e->arena, bytes, length) : NULL;
    if (!d->id.data || !d->own.data || (bytes && !copy))
      return aon_fail_memory(error);
    d->has_properties = copy && bson_init_static(&d->properties, copy, length);
    e->count++;
  }
  return result == AON_END ? AON_OK : result;
}

static aon_result read_before(emission *e, const aon_schema_collection *collection, aon_error *error) {
  aon_text ids[SHARED_BATCH];
  aon_image images[SHARED_BATCH];
  size_t at[SHARED_BATCH], count = 0;
  for (size_t i = 0; i < e->count; i++)
    if (e->documents[i].collection == collection) {
      at[count] = i;
      ids[count++] = e->documents[i].id;
    }
  if (!count)
    return AON_OK;
  aon_result result = aon_source_read(e->job, collection, ids, count, &e->arena, images, error);
  for (size_t i = 0; i < count && !result; i++)
    e->documents[at[i]].before = images[i];
  return result;
}

/* Members of a set that is there: a table of open addressing, for sets may be long. */
typedef struct text_set {
  aon_text *slots;
  size_t mask;
} text_set;

static size_t hash(aon_text text) {
  uint64_t h = 1469598103934665603u;
  for (size_t i = 0; i < text.length; i++)
    h = (h ^ (unsigned char)text.data[i]) * 1099511628211u;
  return (size_t)(h ^ h >> 32);
}

static bool set_put(text_set *set, aon_text text) {
  size_t at = hash(text) & set->mask;
  for (; set->slots[at].data; at = (at + 1) & set->mask)
    if (aon_text_same(set->slots[at], text))
      return false;
  set->slots[at] = text;
  return true;
}

static bool set_make(text_set *set, size_t count, aon_arena *arena) {
  size_t size = 16;
  while (size < count * 2)
    size *= 2;
  set->slots = aon_arena_alloc(arena, size * sizeof *set->slots);
  set->mask = size - 1;
  return set->slots != NULL;
}

static aon_result leaves(emission *e, const shared_document *d, const char *property, aon_text value, bool *ret_leaves, aon_error *error) {
  sqlite3_stmt *statement AON_SQLITE_DONE = NULL;
  aon_result result =
      aon_stage_query(e->job, &statement, error, "select joins from member where document = ?1 and property = ?2 and value = ?3", "itt",
                      d->number, (aon_text){property, strlen(property)}, value);
  if (!result)
    result = aon_sqlite_step(e->job->stage, statement, error);
  *ret_leaves = !result && !sqlite3_column_int(statement, 0);
  return result == AON_END ? AON_OK : result;
}

typedef struct members {
  bson_t array;
  uint32_t count;
  bool changed, joined;
} members;

static void append_member(members *m, aon_text value) {
  char buffer[16];
  const char *key;
  bson_uint32_to_string(m->count++, &key, buffer, sizeof buffer);
  bson_append_utf8(&m->array, key, -1, value.data, (int)value.length);
}

static aon_result append_joining(emission *e, const shared_document *d, const char *property, const text_set *there, members *m,
                                 aon_error *error) {
  sqlite3_stmt *statement AON_SQLITE_DONE = NULL;
  aon_result result = aon_stage_query(e->job, &statement, error,
                                      "select value from member where document = ?1 and property = ?2 and joins = 1 order by touched", "it",
                                      d->number, (aon_text){property, strlen(property)});
  while (!result && !(result = aon_sqlite_step(e->job->stage, statement, error))) {
    aon_text value = aon_stage_text(statement, 0);
    size_t at = hash(value) & there->mask;
    while (there->slots[at].data && !aon_text_same(there->slots[at], value))
      at = (at + 1) & there->mask;
    m->joined = true;
    if (there->slots[at].data)
      continue;
    append_member(m, value);
    m->changed = true;
  }
  return result == AON_END ? AON_OK : result;
}

static aon_result members_of(emission *e, const shared_document *d, const char *property, const bson_t *before, members *m,
                             aon_error *error) {
  aon_text *there;
  size_t count;
  text_set set;
  bson_init(&m->array);
  aon_result result = aon_document_texts(before, property, &e->arena, &there, &count, error);
  if (!result && !set_make(&set, count, &e->arena))
    result = aon_fail_memory(error);
  for (size_t i = 0; i < count && !result; i++) {
    bool gone;
    result = leaves(e, d, property, there[i], &gone, error);
    m->changed |= gone;
    if (!result && !gone && set_put(&set, there[i]))
      append_member(m, there[i]);
  }
  return result ? result : append_joining(e, d, property, &set, m, error);
}

/* A document that is missing though what it belongs to is there takes from that what it repeats (an index document its name). */
static aon_result copy_missing(emission *e, const shared_document *d, bson_t *patch, aon_error *error) {
  const aon_schema_collection *from = d->collection->copy_from;
  aon_image image;
  bson_t view;
  if (!from || d->has_properties)
    return AON_OK;
  aon_result result = aon_source_read(e->job, from, &d->own, 1, &e->arena, &image, error);
  if (result || !image.bson || !aon_image_view(&image, &view))
    return result;
  for (const char *const *property = d->collection->copy_properties; property && *property; property++) {
    bson_iter_t value;
    if (bson_iter_init_find(&value, &view, *property))
      bson_append_iter(patch, NULL, 0, &value);
  }
  return AON_OK;
}

static aon_result patch_sets(emission *e, const shared_document *d, const bson_t *start, bson_t *patch, bool *worth, aon_error *error) {
  aon_result result = AON_OK;
  for (const char *const *set = d->collection->base.sets; set && *set && !result; set++) {
    members m = {0};
    result = members_of(e, d, *set + 1, start, &m, error);
    if (!result && (m.changed || !d->before.bson))
      bson_append_array(patch, *set + 1, -1, &m.array);
    *worth |= m.joined;
    bson_destroy(&m.array);
  }
  return result;
}

static aon_result patch_list(emission *e, const shared_document *d, bson_t *patch, bool *worth, aon_error *error) {
  bson_t entries;
  uint64_t added;
  if (!d->collection->list)
    return AON_OK;
  aon_result result = aon_shared_list(e->job, d->collection, d->id, &d->before, &e->arena, &entries, &added, error);
  if (result)
    return result;
  e->entries += added;
  *worth |= added > 0;
  if (added)
    bson_append_array(patch, d->collection->list, -1, &entries);
  bson_destroy(&entries);
  return AON_OK;
}

/* What the document becomes; *worth: if it isn't there yet, is there anything to put into it. */
static aon_result make_patch(emission *e, const shared_document *d, const bson_t *start, bson_t *patch, bool *worth, aon_error *error) {
  *worth = d->has_properties;
  if (d->has_properties)
    bson_concat(patch, &d->properties);
  aon_result result = d->before.bson ? AON_OK : copy_missing(e, d, patch, error);
  if (!result)
    result = patch_sets(e, d, start, patch, worth, error);
  return result ? result : patch_list(e, d, patch, worth, error);
}

static aon_result emit(emission *e, const shared_document *d, aon_error *error) {
  bson_t start, patch, after;
  bool worth = false, there = d->before.bson != NULL;
  aon_origin origin = {.sheet = e->job->sheets[d->sheet->index].name, .entity = d->sheet->entity};
  if (there && !aon_image_view(&d->before, &start))
    return aon_fail(error, AON_CORRUPT, "corrupt", "The document %s/%.*s can't be read.", d->collection->base.name, (int)d->id.length,
                    d->id.data);
  if (there && aon_document_foreign(e->job, d->collection, &start))
    return AON_OK;
  if (!there)
    aon_document_begin(e->job, d->collection, d->id, d->own, &start);
  bson_init(&patch);
  aon_result result = make_patch(e, d, &start, &patch, &worth, error);
  if (!result && (there || worth)) {
    aon_document_put(&start, &patch, &after);
    result = aon_job_emit(e->job, e->sink, d->collection, d->id, &d->before, &after, &origin, NULL, error);
    bson_destroy(&after);
  }
  bson_destroy(&patch);
  bson_destroy(&start);
  return result;
}

static aon_result emit_batches(emission *e, aon_error *error) {
  int64_t after = 0;
  for (;;) {
    aon_arena_reset(&e->arena);
    aon_result result = load(e, &after, error);
    for (size_t i = 0; i < e->step->collection_count && !result; i++)
      result = read_before(e, e->step->collections[i], error);
    for (size_t i = 0; i < e->count && !result; i++)
      result = emit(e, &e->documents[i], error);
    if (result || e->count < SHARED_BATCH)
      return result;
  }
}

aon_result aon_shared_emit(aon_pack_job *job, const aon_schema_step *step, const aon_plan_sink *sink, uint64_t *ret_entries,
                           aon_error *error) {
  emission e = {.job = job, .step = step, .sink = sink, .documents = aon_bson_array(SHARED_BATCH, sizeof(shared_document))};
  if (!e.documents)
    return aon_fail_memory(error);
  aon_result result = emit_batches(&e, error);
  aon_arena_release(&e.arena);
  free(e.documents);
  *ret_entries = e.entries;
  return result;
}
