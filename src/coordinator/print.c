/* The journal's operations as people and programs read them: entries and differences, a line each.
 * Invariants:
 *  - a sensitive value is never printed; it shows as "•••", and only that it changed;
 *  - memory holds EXTENTS_LIMIT batches, whatever their number: those that come next in the plan, fetched anew when they are used up. */
#include <string.h>

#include "coordinator/internal.h"
#include "coordinator/run.h"
#include "model/document.h"
#include "model/text.h"

#define HIDDEN "\"•••\""
#define EXTENTS_LIMIT 4096

typedef struct extent {
  char store[64];
  int64_t first, last, at_ms;
  uint64_t order; /* of its announcement: the last one that holds an operation tells what became of it */
  aon_batch_status status;
} extent;

typedef struct printing {
  aon_journal *journal;
  const aon_bulk *bulk;
  aon_line_each each;
  void *context;
  aon_buffer line;
  extent extents[EXTENTS_LIMIT];
  size_t extent_count, furthest; /* the one that begins last: dropped when one that begins before it comes */
  uint64_t heard;
  int64_t from, until; /* all batches of the operations in between are known */
} printing;

static bool is_sensitive(const aon_collection *collection, const char *pointer) {
  for (const char *const *name = collection->sensitive; name && *name; name++) {
    size_t length = strlen(*name);
    if (!strncmp(pointer + 1, *name, length) && (pointer[1 + length] == 0 || pointer[1 + length] == '/'))
      return true;
  }
  return false;
}

static aon_result append_value(printing *p, bool hidden, const bson_iter_t *value, aon_error *error) {
  if (!value)
    return aon_buffer_text(&p->line, "null", error);
  return hidden ? aon_buffer_text(&p->line, HIDDEN, error) : aon_value_to_json(value, &p->line, error);
}

static aon_result member(printing *p, const char *name, const char *value, size_t length, aon_error *error) {
  aon_result result = aon_buffer_format(&p->line, error, "\"%s\":", name);
  return result ? result : aon_text_to_json(value, length, &p->line, error);
}

/* ---- diff ---- */

typedef struct changes {
  printing *p;
  const aon_collection *collection;
  size_t count;
} changes;

static aon_result one_change(void *context, const char *path, const bson_iter_t *before, const bson_iter_t *after, aon_error *error) {
  changes *c = context;
  printing *p = c->p;
  bool hidden = is_sensitive(c->collection, path);
  aon_result result = aon_buffer_text(&p->line, c->count++ ? ",{" : "{", error);
  if (!result)
    result = member(p, "path", path, strlen(path), error);
  if (!result)
    result = aon_buffer_text(&p->line, ",\"before\":", error);
  if (!result)
    result = append_value(p, hidden, before, error);
  if (!result)
    result = aon_buffer_text(&p->line, ",\"after\":", error);
  if (!result)
    result = append_value(p, hidden, after, error);
  return result ? result : aon_buffer_text(&p->line, "}", error);
}

static aon_result place_members(printing *p, const char *store_name, const aon_operation *operation, aon_error *error) {
  aon_result result = member(p, store_name, operation->collection->store, strlen(operation->collection->store), error);
  if (!result)
    result = aon_buffer_text(&p->line, ",", error);
  bool entry = !strcmp(store_name, "dataSource");
  if (!result)
    result = member(p, entry ? "collectionName" : "collection", operation->collection->name, strlen(operation->collection->name), error);
  if (!result)
    result = aon_buffer_text(&p->line, ",", error);
  if (!result)
    result = member(p, "documentId", operation->id.data, operation->id.length, error);
  return result ? result : aon_buffer_format(&p->line, error, ",\"operation\":\"%s\"", aon_operation_name(operation->kind));
}

static aon_result print_difference(printing *p, const aon_operation *operation, aon_error *error) {
  bson_t before, after;
  bool had = operation->before.bson && aon_image_view(&operation->before, &before);
  bool has = operation->after.bson && aon_image_view(&operation->after, &after);
  changes c = {.p = p, .collection = operation->collection};
  aon_buffer_clear(&p->line);
  aon_result result = aon_buffer_format(&p->line, error, "{\"sequence\":%lld,", (long long)operation->sequence);
  if (!result)
    result = place_members(p, "store", operation, error);
  if (!result)
    result = aon_buffer_text(&p->line, ",\"changes\":[", error);
  if (!result)
    result = aon_document_difference(had ? &before : NULL, has ? &after : NULL, one_change, &c, error);
  if (!result)
    result = aon_buffer_text(&p->line, "]}", error);
  return result ? result : p->each(p->context, p->line.data, p->line.length, error);
}

/* ---- entries ---- */

static void find_furthest(printing *p) {
  p->furthest = 0;
  for (size_t i = 1; i < p->extent_count; i++)
    if (p->extents[i].first > p->extents[p->furthest].first)
      p->furthest = i;
}

static void leave_for_later(printing *p, int64_t first) {
  if (p->until >= first)
    p->until = first - 1;
}

static aon_result note_extent(void *context, const aon_batch *batch, aon_error *error) {
  (void)error;
  printing *p = context;
  uint64_t order = p->heard++;
  if (batch->last < p->from)
    return AON_OK;
  bool full = p->extent_count == EXTENTS_LIMIT;
  if (full && batch->first >= p->extents[p->furthest].first) {
    leave_for_later(p, batch->first);
    return AON_OK;
  }
  if (full)
    leave_for_later(p, p->extents[p->furthest].first);
  extent *e = &p->extents[full ? p->furthest : p->extent_count++];
  *e = (extent){.first = batch->first, .last = batch->last, .at_ms = batch->at_ms, .order = order, .status = batch->status};
  snprintf(e->store, sizeof e->store, "%s", batch->store);
  if (p->extent_count == EXTENTS_LIMIT)
    find_furthest(p);
  return AON_OK;
}

/* The batches of this operation, and of as many after it as there is room for. */
static aon_result look_ahead(printing *p, int64_t sequence, aon_error *error) {
  if (sequence <= p->until)
    return AON_OK;
  p->extent_count = 0;
  p->heard = 0;
  p->from = sequence;
  p->until = INT64_MAX;
  return aon_journal_batches(p->journal, p->bulk->id, note_extent, p, error);
}

static const extent *extent_of(const printing *p, const aon_operation *operation) {
  const extent *found = NULL;
  for (size_t i = 0; i < p->extent_count; i++) {
    const extent *e = &p->extents[i];
    if (operation->sequence >= e->first && operation->sequence <= e->last && (!found || e->order > found->order) &&
        !strcmp(e->store, operation->collection->store))
      found = e;
  }
  return found;
}

static aon_result is_conflict(void *context, const aon_conflict *found, aon_error *error) {
  (void)error;
  int64_t *wanted = context;
  if (!found->watched && found->sequence == wanted[0])
    wanted[1] = 1;
  return AON_OK;
}

/* Derived from the batches and the state: it may trail the stores, never lead them, and is true once the state is terminal. */
static aon_result status_of(printing *p, const aon_operation *operation, const char **ret_status, const extent **ret_extent,
                            aon_error *error) {
  aon_result result = look_ahead(p, operation->sequence, error);
  if (result)
    return result;
  *ret_extent = extent_of(p, operation);
  aon_state state = p->bulk->state;
  bool failed = state == AON_ROLLBACK_FAILED || state == AON_COMMIT_FAILED || state == AON_UNDO_FAILED;
  if (failed) {
    int64_t wanted[2] = {operation->sequence, 0};
    result = aon_journal_conflicts(p->journal, p->bulk->id, is_conflict, wanted, error);
    if (result)
      return result;
    if (wanted[1]) {
      *ret_status = "conflict";
      return AON_OK;
    }
  }
  if (state == AON_COMMITTED || state == AON_COMMITTING || state == AON_COMMIT_FAILED || state == AON_UNDOING || state == AON_UNDO_FAILED)
    *ret_status = "executed";
  else if (state == AON_UNDONE)
    *ret_status = "rolledback";
  else if (*ret_extent && (*ret_extent)->status == AON_BATCH_UNDONE)
    *ret_status = "rolledback";
  else if (*ret_extent && (*ret_extent)->status == AON_BATCH_APPLIED)
    *ret_status = "executed";
  else
    *ret_status = "pending";
  return AON_OK;
}

static aon_result image_member(printing *p, const char *name, const aon_operation *operation, const aon_image *image, aon_error *error) {
  aon_result result = aon_buffer_format(&p->line, error, ",\"%s\":", name);
  bson_t view;
  bson_iter_t at;
  if (result)
    return result;
  if (!image->bson || !aon_image_view(image, &view) || !bson_iter_init(&at, &view))
    return aon_buffer_text(&p->line, "null", error);
  result = aon_buffer_text(&p->line, "{", error);
  for (size_t i = 0; !result && bson_iter_next(&at); i++) {
    char pointer[300];
    snprintf(pointer, sizeof pointer, "/%s", bson_iter_key(&at));
    if (i)
      result = aon_buffer_text(&p->line, ",", error);
    if (!result)
      result = aon_text_to_json(bson_iter_key(&at), bson_iter_key_len(&at), &p->line, error);
    if (!result)
      result = aon_buffer_text(&p->line, ":", error);
    if (!result)
      result = append_value(p, is_sensitive(operation->collection, pointer), &at, error);
  }
  return result ? result : aon_buffer_text(&p->line, "}", error);
}

static aon_result instant_member(printing *p, const char *name, int64_t ms, aon_error *error) {
  char text[AON_INSTANT_LENGTH + 1];
  if (ms <= 0)
    return aon_buffer_format(&p->line, error, ",\"%s\":null", name);
  aon_instant_format(ms, text);
  return aon_buffer_format(&p->line, error, ",\"%s\":\"%s\"", name, text);
}

static aon_result print_entry(printing *p, const aon_operation *operation, aon_error *error) {
  const char *status = "pending";
  const extent *e = NULL;
  aon_result result = status_of(p, operation, &status, &e, error);
  aon_buffer_clear(&p->line);
  if (!result)
    result = aon_buffer_format(&p->line, error, "{\"operationId\":\"%s:%lld\",\"bulkOperationId\":\"%s\",\"sequence\":%lld,", p->bulk->id,
                               (long long)operation->sequence, p->bulk->id, (long long)operation->sequence);
  if (!result)
    result = place_members(p, "dataSource", operation, error);
  if (!result)
    result = image_member(p, "previousData", operation, &operation->before, error);
  if (!result)
    result = image_member(p, "newData", operation, &operation->after, error);
  if (!result)
    result = aon_buffer_format(&p->line, error, ",\"status\":\"%s\"", status);
  bool undone = !strcmp(status, "rolledback"), executed = undone || !strcmp(status, "executed");
  int64_t ended = p->bulk->finished_ms ? p->bulk->finished_ms : p->bulk->changed_ms;
  if (!result)
    result = instant_member(p, "createdAt", p->bulk->created_ms, error);
  if (!result)
    result = instant_member(p, "executedAt", executed ? (e && !undone ? e->at_ms : ended) : 0, error);
  if (!result)
    result = instant_member(p, "rolledbackAt", undone ? (e ? e->at_ms : ended) : 0, error);
  if (!result)
    result = aon_buffer_text(&p->line, "}", error);
  return result ? result : p->each(p->context, p->line.data, p->line.length, error);
}

/* ---- the walk ---- */

static aon_result print_all(printing *p, bool entries_wanted, aon_error *error) {
  aon_entries *entries = NULL;
  aon_result result = aon_entries_open(p->journal, p->bulk->id, 0, INT64_MAX, false, &entries, error);
  while (!result) {
    const aon_operation *operations;
    size_t count;
    bool cleared;
    result = aon_entries_next(entries, &operations, &count, &cleared, error);
    if (!result && cleared && !entries_wanted)
      result = aon_fail(error, AON_USAGE, "images_cleared",
                        "The images of bulk operation %s are no longer kept; aon log still lists its operations.", p->bulk->id);
    for (size_t i = 0; !result && i < count; i++)
      result = entries_wanted ? print_entry(p, &operations[i], error) : print_difference(p, &operations[i], error);
  }
  aon_entries_close(entries);
  return result == AON_END ? AON_OK : result;
}

static aon_result print_bulk(aon_engine *engine, const char *id, bool entries_wanted, aon_line_each each, void *context, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_journal *journal;
  aon_bulk bulk;
  aon_result result = aon_engine_bulk(engine, id, &arena, &journal, &bulk, error);
  if (result)
    return result;
  printing *p = aon_arena_alloc(&arena, sizeof *p);
  if (!p)
    return aon_fail_memory(error);
  *p = (printing){.journal = journal, .bulk = &bulk, .each = each, .context = context, .until = -1};
  result = print_all(p, entries_wanted, error);
  aon_buffer_release(&p->line);
  return result;
}

aon_result aon_diff(aon_engine *engine, const char *id, aon_line_each each, void *context, aon_error *error) {
  return print_bulk(engine, id, false, each, context, error);
}

aon_result aon_entries_log(aon_engine *engine, const char *id, aon_line_each each, void *context, aon_error *error) {
  return print_bulk(engine, id, true, each, context, error);
}
