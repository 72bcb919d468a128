/* What earlier attempts or workers sent in classes 3 to 5, and whether it still stands.
 *
 * Invariant: an operation is left out of a later attempt only if its batch is known to be applied, or its document was seen to be as
 * wanted. */
#include <string.h>

#include "coordinator/hashes.h"
#include "coordinator/internal.h"
#include "coordinator/run.h"
#include "model/document.h"
#include "model/text.h"

typedef struct noting {
  aon_run *run;
  aon_arena arena;
  struct unended { /* a batch of class 3 without an end: at most one of each part and attempt */
    aon_part *part;
    aon_batch batch;
  } unended[AON_PARTS_LIMIT];
  size_t count;
} noting;

static void note_applied(aon_part *part, const aon_batch *batch) {
  if (batch->last + 1 > part->applied_below)
    part->applied_below = batch->last + 1;
}

static aon_result note_batch(void *context, const aon_batch *batch, aon_error *error) {
  noting *n = context;
  aon_part *part = aon_run_part(n->run, batch->store);
  if (!part || aon_part_transactional(part))
    return AON_OK;
  aon_part_took_batch(n->run, part, batch->batch);
  if (batch->status == AON_BATCH_APPLIED) {
    note_applied(part, batch);
  } else if (batch->status == AON_BATCH_ANNOUNCED && part->caps->store_class != AON_CLASS_BATCH) {
    if (batch->last + 1 > part->doubtful_below)
      part->doubtful_below = batch->last + 1;
  } else if (batch->status == AON_BATCH_ANNOUNCED) {
    if (n->count == AON_PARTS_LIMIT)
      return aon_fail(error, AON_CORRUPT, "corrupt", "The journal names more unfinished batches of bulk operation %s than there can be.",
                      n->run->id);
    n->unended[n->count++] = (struct unended){.part = part, .batch = *batch};
  }
  return AON_OK;
}

/* Class 3: the marker says whether the batch is in; if nobody wrote one it never will be. */
static aon_result ask_marker(aon_run *run, const struct unended *unended, aon_error *error) {
  aon_branch_state state;
  aon_batch batch = unended->batch;
  batch.store = unended->part->name;
  aon_result result = aon_part_resolve(run, unended->part, batch.attempt, batch.batch, &state, error);
  if (result)
    return result;
  batch.status = state == AON_BRANCH_COMMITTED ? AON_BATCH_APPLIED : AON_BATCH_REFUSED;
  if (batch.status == AON_BATCH_APPLIED)
    note_applied(unended->part, &batch);
  return aon_journal_batch(run->journal, run->id, run->epoch, &batch, error);
}

aon_result aon_run_note_batches(aon_run *run, aon_error *error) {
  noting n = {.run = run};
  aon_result result = aon_journal_batches(run->journal, run->id, note_batch, &n, error);
  for (size_t i = 0; !result && i < n.count; i++)
    result = ask_marker(run, &n.unended[i], error);
  return result;
}

/* ---- does it still stand? ---- */

typedef struct comparing {
  aon_run *run;
  aon_hashes seen; /* documents whose last applied operation was compared: earlier ones of their chains don't count */
} comparing;

static aon_result compare_one(comparing *c, aon_part *part, const aon_operation *operation, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_image now;
  const aon_shape *shape;
  uint64_t hash = aon_document_hash(operation->collection->store, operation->collection->name, operation->id);
  if (aon_hashes_has(&c->seen, hash))
    return AON_OK;
  aon_result result = aon_hashes_add(&c->seen, hash, error);
  if (!result)
    result = aon_store_read(part->store, operation->collection, &operation->id, 1, &arena, &now, error);
  if (!result)
    result = aon_store_describe(part->store, operation->collection, &shape, error);
  if (result || aon_image_same(&now, &operation->after, operation->collection->volatiles, shape->volatiles))
    return result;
  return aon_fail(error, AON_PERMANENT, "changed_meanwhile",
                  "%s/%s/%.*s was changed by somebody else while it was on hold. Roll it back instead.", part->name,
                  operation->collection->name, (int)operation->id.length, operation->id.data);
}

static aon_result compare_written(void *context, aon_part *part, const aon_operation *operations, size_t count, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < count; i++)
    if (operations[i].sequence < part->applied_below)
      result = compare_one(context, part, &operations[i], error);
  return result;
}

aon_result aon_run_compare_written(aon_run *run, aon_error *error) {
  comparing c = {.run = run};
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < run->part_count; i++)
    if (!aon_part_transactional(&run->parts[i]))
      result = aon_run_walk(run, 0, run->parts[i].applied_below - 1, true, ~0u, &run->parts[i], compare_written, &c, error);
  aon_hashes_release(&c.seen);
  return result;
}
