/* Walking through the log of a bulk operation, part by part.
 * Invariant: a callback never sees more operations at once than its store takes, nor two operations on one document. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/internal.h"
#include "coordinator/run.h"

struct aon_walk {
  aon_run *run;
  aon_walk_what what;
  aon_batch_do each;
  void *context;
  aon_part *part; /* of the operations gathered */
  aon_operation *operations;
  uint64_t *hashes; /* of their documents, an open-addressing set */
  size_t count, limit, bytes, slots;
};

typedef struct aon_walk walk;

static aon_result give(walk *w, aon_error *error) {
  if (!w->count)
    return AON_OK;
  aon_result result = w->what.leader ? AON_OK : aon_run_guard(w->run, w->part, error);
  if (!result)
    result = w->each(w->context, w->part, w->operations, w->count, error);
  w->count = w->bytes = 0;
  memset(w->hashes, 0, w->slots * sizeof *w->hashes);
  return result;
}

/* Eight bytes at a time, each mixed in by a multiplication whose upper half comes back down. */
static uint64_t mix(uint64_t hash, const char *at, size_t length) {
  hash ^= length;
  while (length) {
    size_t taken = length < 8 ? length : 8;
    uint64_t word = 0;
    memcpy(&word, at, taken);
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    hash ^= hash >> 32;
    at += taken;
    length -= taken;
  }
  return hash;
}

/* Only to tell the documents of one call, which is of one store, apart: two that look alike end up in two calls. */
static uint64_t short_hash(const aon_operation *operation) {
  const char *name = operation->collection->name;
  return mix(mix(0, name, strlen(name)), operation->id.data, operation->id.length) << 1 | 1;
}

static bool seen(walk *w, const aon_operation *operation) {
  uint64_t hash = short_hash(operation);
  size_t at = (hash >> 1) & (w->slots - 1);
  while (w->hashes[at]) {
    if (w->hashes[at] == hash)
      return true;
    at = (at + 1) & (w->slots - 1);
  }
  w->hashes[at] = hash;
  return false;
}

static aon_result take(walk *w, const aon_operation *operation, aon_error *error) {
  aon_part *part = aon_run_part(w->run, operation->collection->store);
  if (!part)
    return aon_fail(error, AON_CORRUPT, "corrupt", "Operation %lld of bulk operation %s is for store “%s”, which takes no part in it.",
                    (long long)operation->sequence, w->run->id, operation->collection->store);
  if (!(w->what.wanted & AON_CLASS_BIT(part->caps->store_class)) || (w->what.only && w->what.only != part) ||
      (w->what.leader && w->what.leader != aon_part_leader(w->run, part)))
    return AON_OK;
  size_t bytes = (size_t)operation->before.bson_length + operation->after.bson_length;
  size_t most = part->caps->batch_operations < w->limit ? part->caps->batch_operations : w->limit;
  aon_result result = AON_OK;
  if (w->count && (w->part != part || w->count >= most || (part->caps->batch_bytes && w->bytes + bytes > part->caps->batch_bytes)))
    result = give(w, error);
  if (!result && seen(w, operation)) {
    result = give(w, error);
    if (!result)
      seen(w, operation);
  }
  if (result)
    return result;
  w->part = part;
  w->operations[w->count++] = *operation;
  w->bytes += bytes;
  return AON_OK;
}

aon_result aon_walk_cleared(const aon_run *run, aon_error *error) {
  return aon_fail(error, AON_REJECTED, "images_cleared", "The images of bulk operation %s are no longer kept, so it can't be taken back.",
                  run->id);
}

aon_result aon_walk_piece(walk *w, const aon_operation *operations, size_t count, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < count; i++)
    result = take(w, &operations[w->what.backward ? count - 1 - i : i], error);
  return result ? result : give(w, error); /* the operations live until the next piece */
}

static aon_result walk_pieces(walk *w, aon_entries *entries, aon_error *error) {
  for (;;) {
    const aon_operation *operations;
    size_t count;
    bool cleared;
    aon_result result = aon_entries_next(entries, &operations, &count, &cleared, error);
    if (result)
      return result == AON_END ? AON_OK : result;
    result = cleared ? aon_walk_cleared(w->run, error) : aon_walk_piece(w, operations, count, error);
    if (result)
      return result;
  }
}

aon_result aon_walk_open(aon_run *run, const aon_walk_what *what, aon_batch_do each, void *context, walk **ret_walk, aon_error *error) {
  walk *w = calloc(1, sizeof *w);
  if (!w)
    return aon_fail_memory(error);
  *w = (walk){.run = run, .what = *what, .each = each, .context = context, .limit = run->engine->config.batch};
  for (w->slots = 64; w->slots < 2 * w->limit;)
    w->slots *= 2;
  w->operations = calloc(w->limit, sizeof *w->operations);
  w->hashes = calloc(w->slots, sizeof *w->hashes);
  if (!w->operations || !w->hashes) {
    aon_walk_close(w);
    return aon_fail_memory(error);
  }
  *ret_walk = w;
  return AON_OK;
}

void aon_walk_close(walk *w) {
  if (!w)
    return;
  free(w->operations);
  free(w->hashes);
  free(w);
}

aon_result aon_run_walk(aon_run *run, int64_t first, int64_t last, bool backward, unsigned wanted, const aon_part *only, aon_batch_do each,
                        void *context, aon_error *error) {
  if (last < first)
    return AON_OK;
  walk *w = NULL;
  aon_entries *entries = NULL;
  aon_result result = aon_walk_open(run, &(aon_walk_what){.only = only, .wanted = wanted, .backward = backward}, each, context, &w, error);
  if (!result)
    result = aon_entries_open(run->journal, run->id, first, last, backward, &entries, error);
  if (!result)
    result = walk_pieces(w, entries, error);
  aon_entries_close(entries);
  aon_walk_close(w);
  return result;
}
