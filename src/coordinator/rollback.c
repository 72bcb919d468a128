/* Going back: every store as it was, nobody else's write lost.
 *
 *   open transactions -> aborted by their connection      prepared ones -> ROLLBACK PREPARED
 *   committed transactions and batches -> before images in one transaction that turns their marker into *undone*
 *   single writes -> before images one by one, each under the version just read
 *
 * Invariants:
 *  - a conflict is in the journal before the transaction that leaves it out commits;
 *  - replaying any step has the effect of once: a marker that says undone (or aborted) is never worked on again;
 *  - rolled_back is said only when every part was proved restored. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/hashes.h"
#include "coordinator/internal.h"
#include "coordinator/run.h"
#include "model/document.h"
#include "model/text.h"

#define SETTLE_ATTEMPT 1000000u /* attempts of settlements, far above those of resumes */

typedef struct chain { /* operations on one document, newest first */
  aon_arena arena;
  aon_operation *items;
  size_t count, capacity;
} chain;

typedef struct going_back {
  aon_run *run;
  aon_part *part;
  aon_transaction *transaction; /* NULL: classes 4 and 5 */
  aon_arena arena;              /* of one call */
  aon_write *writes;
  const aon_operation **of; /* the operation of each write */
  aon_hashes left;          /* documents in conflict: all older operations on them are left alone too */
  bool found_conflict;      /* this pass met a new one: its transaction must not commit */
  int64_t put_back;
  int64_t first, last;        /* what is taken back now */
  uint32_t refusals;          /* of this branch, because somebody was faster */
  bool doubtful;              /* a request of this batch may still be on its way (classes 4 and 5) */
  aon_batch *batch;           /* the one that is taken back now (classes 4 and 5) */
  aon_hashes open;            /* its documents whose last request was not answered: compared again when the horizon has passed */
  aon_hashes were_open;       /* the same of the pass before; only they are looked at in this one … */
  bool again;                 /* … if it is not the first */
  int64_t asked_ms;           /* monotonic, when the last unanswered request was given up */
  const aon_conflict *record; /* the one that is settled; a write for it is announced there (classes 4 and 5) */
  bool announced;
  chain doubted;                /* operations of newer batches whose requests may still take effect, newest first (classes 4 and 5) … */
  aon_hashes doubted_documents; /* … and which documents they are on */
} going_back;

static uint64_t hash_of(const aon_operation *operation) {
  return aon_document_hash(operation->collection->store, operation->collection->name, operation->id);
}

static aon_result chain_grow(chain *c, aon_error *error) {
  size_t capacity = c->capacity ? 2 * c->capacity : 4;
  if (c->count < c->capacity)
    return AON_OK;
  aon_operation *grown = realloc(c->items, capacity * sizeof *grown);
  if (!grown)
    return aon_fail_memory(error);
  c->items = grown;
  c->capacity = capacity;
  return AON_OK;
}

/* What judging it takes: kind and images. */
static aon_result chain_add(chain *c, const aon_operation *operation, aon_error *error) {
  aon_operation kept = {.sequence = operation->sequence, .kind = operation->kind, .hash = hash_of(operation)};
  aon_result result = chain_grow(c, error);
  if (!result)
    result = aon_image_copy(&c->arena, &operation->before, &kept.before, error);
  if (!result)
    result = aon_image_copy(&c->arena, &operation->after, &kept.after, error);
  if (!result)
    c->items[c->count++] = kept;
  return result;
}

static aon_result chain_read(aon_run *run, int64_t sequence, chain *c, aon_error *error) {
  aon_operation found;
  aon_result result = chain_grow(c, error);
  if (!result)
    result = aon_run_operation(run, sequence, &c->arena, &found, error);
  if (result)
    return result;
  found.hash = hash_of(&found);
  c->items[c->count++] = found;
  return AON_OK;
}

static void chain_release(chain *c) {
  aon_arena_release(&c->arena);
  free(c->items);
  *c = (chain){0};
}

static aon_result conflict(going_back *g, const aon_operation *operation, const char *code, const char *sentence, const char *paths,
                           aon_error *error) {
  char id[600];
  snprintf(id, sizeof id, "%.*s", (int)operation->id.length, operation->id.data);
  aon_conflict record = {.sequence = operation->sequence,
                         .store = operation->collection->store,
                         .collection = operation->collection->name,
                         .document_id = id,
                         .code = code,
                         .sentence = sentence,
                         .paths = paths};
  if (g->transaction) { /* the journal may be in this very database: it is written once the transaction is gone */
    aon_store_abort(g->part->store, g->transaction);
    g->transaction = NULL;
    g->found_conflict = true;
  }
  aon_result result = aon_journal_conflict_put(g->run->journal, g->run->id, g->run->epoch, &record, error);
  if (result) /* not left alone before it is named: the next try finds it anew */
    return result;
  g->run->conflicts++;
  return aon_hashes_add(&g->left, hash_of(operation), error);
}

static aon_result foreign_change(going_back *g, const aon_operation *operation, const char *paths, aon_error *error) {
  char sentence[900];
  const char *what = operation->kind == AON_CREATE ? "was created by this upload and changed by somebody else since; it was not deleted"
                     : operation->kind == AON_DELETE
                         ? "was deleted by this upload and made anew by somebody else; it was not overwritten"
                         : "has properties that both this upload and somebody else changed; their values were not overwritten";
  snprintf(sentence, sizeof sentence, "%s/%s/%.*s %s. Choose: keep theirs, force ours back, or merge.", operation->collection->store,
           operation->collection->name, (int)(operation->id.length > 300 ? 300 : operation->id.length), operation->id.data, what);
  return conflict(g, operation, "foreign_change", sentence, paths, error);
}

static bool refused_for_good(aon_result result) { return result == AON_PERMANENT || result == AON_REJECTED; }

static aon_result refused(going_back *g, const aon_operation *operation, const aon_error *why, aon_error *error) {
  char sentence[1100];
  snprintf(sentence, sizeof sentence, "%s/%s/%.*s could not be put back: %.700s", operation->collection->store, operation->collection->name,
           (int)(operation->id.length > 300 ? 300 : operation->id.length), operation->id.data, why->sentence);
  return conflict(g, operation, why->code, sentence, NULL, error);
}

static aon_result judge_all(going_back *g, const aon_operation *operations, size_t count, aon_image *images, size_t *ret_writes,
                            aon_error *error) {
  *ret_writes = 0;
  const aon_shape *shape;
  for (size_t i = 0; i < count; i++) {
    if (aon_hashes_has(&g->left, hash_of(&operations[i])))
      continue;
    aon_restore restore;
    aon_result result = aon_store_describe(g->part->store, operations[i].collection, &shape, error);
    if (!result)
      result = aon_restore_judge(&operations[i], &images[i], shape->volatiles, &g->arena, &restore, error);
    if (!result && restore.verdict == AON_RESTORE_CONFLICT)
      result = foreign_change(g, &operations[i], restore.paths, error);
    if (result)
      return result;
    if (restore.verdict != AON_RESTORE_WRITE)
      continue;
    g->writes[*ret_writes] = (aon_write){.collection = operations[i].collection,
                                         .id = operations[i].id,
                                         .expected = images[i],
                                         .wanted = restore.target,
                                         .path = operations[i].path,
                                         .operation = operations[i].sequence,
                                         .compensates = true};
    g->of[(*ret_writes)++] = &operations[i];
  }
  return AON_OK;
}

/* Reads the documents of one call as they are now; neighbours of one collection in one read. */
static aon_result read_now(going_back *g, const aon_operation *operations, size_t count, aon_image *images, aon_error *error) {
  aon_text *ids = aon_arena_alloc(&g->arena, count * sizeof *ids);
  if (!ids)
    return aon_fail_memory(error);
  for (size_t i = 0; i < count; i++)
    ids[i] = operations[i].id;
  for (size_t from = 0, to; from < count; from = to) {
    for (to = from + 1; to < count && !strcmp(operations[to].collection->name, operations[from].collection->name);)
      to++;
    aon_result result = aon_store_read(g->part->store, operations[from].collection, ids + from, to - from, &g->arena, images + from, error);
    if (result)
      return result;
  }
  return AON_OK;
}

/* Somebody else was faster than our compare and write: looked at anew. */
static bool is_foreign(const aon_error *failure) {
  return !strcmp(failure->code, "changed_meanwhile") || !strcmp(failure->code, "duplicate");
}

/* ---- classes 2 and 3: one transaction ---- */

static aon_result restore_call(void *context, aon_part *part, const aon_operation *operations, size_t count, aon_error *error) {
  (void)part;
  going_back *g = context;
  aon_arena_reset(&g->arena);
  aon_image *images = aon_arena_alloc(&g->arena, count * sizeof *images);
  if (!images)
    return aon_fail_memory(error);
  aon_result result = read_now(g, operations, count, images, error);
  size_t writes = 0, failed = 0;
  if (!result)
    result = judge_all(g, operations, count, images, &writes, error);
  if (result || g->found_conflict)
    return result ? result : AON_END;
  aon_error failure = AON_ERROR_INIT;
  result = writes ? aon_store_apply(g->part->store, g->transaction, g->writes, writes, NULL, &failed, &failure) : AON_OK;
  /* It may also have been a commit of ours that nobody answered: then the marker says undone by now, and nothing is in conflict. */
  if (refused_for_good(result) && is_foreign(&failure) && ++g->refusals < AON_RESTORE_TRIES)
    return aon_fail(error, AON_TRANSIENT, failure.code, "%s", failure.sentence);
  if (refused_for_good(result) && failed < writes) {
    result = refused(g, g->of[failed], &failure, error);
    return result ? result : AON_END;
  }
  if (result && error)
    *error = failure;
  if (!result) {
    g->put_back += (int64_t)count;
    aon_run_progress(g->run, g->run->reached - g->put_back, g->run->reached);
  }
  return result;
}

static bool of_this_part(const going_back *g, const aon_conflict *found) {
  aon_part *part = aon_run_part(g->run, found->store);
  return part && !found->watched && aon_part_leader(g->run, part) == aon_part_leader(g->run, g->part);
}

static uint64_t hash_of_conflict(const aon_conflict *found) {
  aon_text id = {found->document_id, strlen(found->document_id)};
  return aon_document_hash(found->store, found->collection, id);
}

/* What an earlier rollback found in the part that is taken back now is looked for anew; its other documents stay left alone. With a marker
 * the journal keeps it until the document is restored: the one who found it may be frozen, and commit without the document after all. */
static aon_result known_conflict(void *context, const aon_conflict *found, aon_error *error) {
  going_back *g = context;
  if (!of_this_part(g, found))
    return AON_OK;
  if (found->sequence < g->first || found->sequence > g->last)
    return aon_hashes_add(&g->left, hash_of_conflict(found), error);
  bool marked = aon_part_transactional(g->part) || g->part->caps->store_class == AON_CLASS_BATCH;
  return marked ? AON_OK : aon_journal_conflict_drop(g->run->journal, g->run->id, g->run->epoch, found->sequence, error);
}

/* After our own commit: what was not found anew is restored. */
static aon_result restored_conflict(void *context, const aon_conflict *found, aon_error *error) {
  going_back *g = context;
  if (!of_this_part(g, found) || found->sequence < g->first || found->sequence > g->last ||
      aon_hashes_has(&g->left, hash_of_conflict(found)))
    return AON_OK;
  return aon_journal_conflict_drop(g->run->journal, g->run->id, g->run->epoch, found->sequence, error);
}

static aon_result take_up(going_back *g, int64_t first, int64_t last, aon_error *error) {
  g->first = first;
  g->last = last;
  return aon_journal_conflicts(g->run->journal, g->run->id, known_conflict, g, error);
}

/* One pass over a committed branch. *ret_again: a conflict was found and left out; the rest must be done anew. */
static aon_result restore_once(going_back *g, const aon_branch *branch, int64_t first, int64_t last, bool *ret_again, aon_error *error) {
  *ret_again = false;
  g->found_conflict = false;
  aon_result result = aon_run_guard(g->run, g->part, error);
  if (!result)
    result = aon_store_begin(g->part->store, branch, AON_MARKER_UNDONE, &g->transaction, error);
  if (result)
    return result;
  g->put_back = 0;
  for (size_t i = 0; !result && i < g->run->part_count; i++) { /* all names of this database */
    aon_part *part = &g->run->parts[i];
    if (aon_part_leader(g->run, part) == g->part)
      result = aon_run_walk(g->run, first, last, true, AON_CLASS_BIT(part->caps->store_class), part, restore_call, g, error);
  }
  if (result == AON_END && g->found_conflict) {
    *ret_again = true;
    return AON_OK;
  }
  if (!result)
    result = aon_store_flush(g->part->store, g->transaction, error);
  aon_transaction *transaction = g->transaction;
  g->transaction = NULL;
  if (result) {
    if (transaction)
      aon_store_abort(g->part->store, transaction);
    return result;
  }
  return aon_store_commit(g->part->store, transaction, error);
}

static aon_result restore_branch(aon_run *run, aon_part *part, uint32_t attempt, uint32_t batch, int64_t first, int64_t last,
                                 aon_error *error) {
  going_back g = {.run = run, .part = part};
  aon_branch branch = {.bulk_id = run->id, .attempt = attempt, .batch = batch};
  g.writes = calloc(run->engine->config.batch, sizeof *g.writes);
  g.of = calloc(run->engine->config.batch, sizeof *g.of);
  aon_result result = g.writes && g.of ? AON_OK : aon_fail_memory(error);
  if (!result)
    result = take_up(&g, first, last, error);
  for (uint32_t tries = 0; !result;) {
    bool again;
    aon_error failure = AON_ERROR_INIT;
    result = restore_once(&g, &branch, first, last, &again, &failure);
    if (!result && !again) {
      result = aon_journal_conflicts(run->journal, run->id, restored_conflict, &g, error);
      break;
    }
    bool faster = refused_for_good(result) && is_foreign(&failure); /* somebody wrote between our reading and the commit (class 3) */
    if ((result == AON_UNKNOWN || aon_result_retryable(result) || faster) && ++tries < AON_RETRY_TRIES) {
      aon_branch_state state = AON_BRANCH_COMMITTED;
      result = aon_run_pause(run, tries, AON_RETRY_LONGEST_MS, error);
      if (!result)
        result = aon_part_resolve(run, part, attempt, batch, &state, error);
      if (!result && state != AON_BRANCH_COMMITTED)
        break; /* the lost commit took effect */
    } else if (result && error) {
      *error = failure;
    }
  }
  aon_arena_release(&g.arena);
  free(g.writes);
  free(g.of);
  aon_hashes_release(&g.left);
  return result;
}

/* A request to prepare that was still on its way may arrive after there was nothing to take back: asked until there is nothing more. */
static aon_result back_prepared(aon_run *run, aon_part *part, uint32_t attempt, aon_branch_state *ret_state, aon_error *error) {
  aon_branch branch = {.bulk_id = run->id, .attempt = attempt};
  for (uint32_t i = 0; i < AON_RETRY_TRIES; i++) {
    aon_result result = aon_store_abort_prepared(part->store, &branch, error);
    if (!result)
      result = aon_part_resolve(run, part, attempt, 0, ret_state, error);
    if (result || *ret_state != AON_BRANCH_PREPARED)
      return result;
  }
  return aon_fail(error, AON_TRANSIENT, "still_open", "The prepared transaction of bulk operation %s in %s is there again and again.",
                  run->id, part->name);
}

aon_result aon_run_abort_prepared(aon_run *run, aon_error *error) {
  for (size_t i = 0; i < run->part_count; i++) {
    if (run->parts[i].caps->store_class != AON_CLASS_PREPARED || run->parts[i].shares_with != i)
      continue;
    for (uint32_t attempt = run->attempt + 1; attempt-- > 0;) {
      aon_branch_state state;
      aon_result result = back_prepared(run, &run->parts[i], attempt, &state, error);
      if (result)
        return result;
    }
  }
  return AON_OK;
}

/* Class 2 (and 1 after a lost decision never comes here): every attempt that may have committed. */
static aon_result back_transaction(aon_run *run, aon_part *part, aon_error *error) {
  uint32_t first = run->recovering ? 0 : run->attempt;
  if (!run->recovering && !part->committed && !part->prepared)
    return AON_OK; /* its transaction was ended by us without a commit: proved */
  for (uint32_t attempt = run->attempt + 1; attempt-- > first;) {
    aon_branch_state state;
    aon_result result = part->caps->store_class == AON_CLASS_PREPARED ? back_prepared(run, part, attempt, &state, error)
                                                                      : aon_part_resolve(run, part, attempt, 0, &state, error);
    if (!result && state == AON_BRANCH_COMMITTED)
      result = restore_branch(run, part, attempt, 0, 0, run->operations - 1, error);
    if (result)
      return result;
  }
  return AON_OK;
}

/* ---- classes 3 to 5: by announced batch, newest first ---- */

typedef struct batch_list {
  aon_run *run;
  aon_arena arena;
  aon_batch *items;
  size_t count, capacity;
} batch_list;

static aon_result gather(void *context, const aon_batch *batch, aon_error *error) {
  batch_list *list = context;
  if (list->count == list->capacity) {
    size_t capacity = list->capacity ? 2 * list->capacity : 256;
    aon_batch *grown = realloc(list->items, capacity * sizeof *grown);
    if (!grown)
      return aon_fail_memory(error);
    list->items = grown;
    list->capacity = capacity;
  }
  list->items[list->count] = *batch;
  list->items[list->count].store = aon_arena_text(&list->arena, batch->store, strlen(batch->store));
  return list->items[list->count++].store ? AON_OK : aon_fail_memory(error);
}

/* Durable before an older batch is touched: looked at once more after that, a document of both would seem changed by somebody else. */
static aon_result batch_is(aon_run *run, const aon_batch *batch, aon_batch_status status, aon_error *error) {
  aon_batch changed = *batch;
  changed.status = status;
  changed.unanswered = false;
  changed.durable = true;
  return aon_journal_batch(run->journal, run->id, run->epoch, &changed, error);
}

static aon_result wait_until(aon_run *run, int64_t monotonic_ms, aon_error *error) {
  aon_result result = AON_OK;
  for (int64_t left; !result && (left = monotonic_ms - aon_monotonic_ms(run->env)) > 0;)
    result = aon_run_pause(run, 4, left, error);
  return result;
}

/* A request that was never answered may still arrive: nothing is compared before the horizon has passed since. When the last one of another
 * worker that took it back was sent is not known, only that it was before we took over. */
static aon_result wait_for_horizon(aon_run *run, const aon_part *part, const aon_batch *batch, aon_error *error) {
  int64_t horizon = aon_store_configuration(part->store)->horizon_ms;
  if (run->taken_up_ms && batch->unanswered) {
    aon_result result = wait_until(run, run->taken_up_ms + horizon, error);
    if (result)
      return result;
  }
  while (batch->unanswered || (run->recovering && batch->status == AON_BATCH_ANNOUNCED)) {
    int64_t left = batch->at_ms + horizon - aon_now_ms(run->env);
    if (left <= 0 || left > horizon)
      return AON_OK;
    aon_result result = aon_run_pause(run, 4, left, error);
    if (result)
      return result;
  }
  return AON_OK;
}

/* The restored document differs from what it was by its stamp, so a request of ours that is still on its way no longer matches it. */
static aon_result stamp_void(going_back *g, aon_image *target, aon_error *error) {
  bson_t view, stamped;
  char text[48];
  if (!aon_image_view(target, &view))
    return aon_fail(error, AON_CORRUPT, "corrupt", "A before image of bulk operation %s is damaged.", g->run->id);
  snprintf(text, sizeof text, "%s:void", g->run->id);
  bson_init(&stamped);
  bson_copy_to_excluding_noinit(&view, &stamped, AON_STAMP_NAME, (char *)NULL);
  bool fine = BSON_APPEND_UTF8(&stamped, AON_STAMP_NAME, text);
  aon_result result = fine ? aon_image_from(&stamped, &g->arena, target, error) : aon_fail_memory(error);
  bson_destroy(&stamped);
  return result;
}

/* Before the first write that takes back is sent: whoever takes over must know that one may be on its way. */
static aon_result announce_back(going_back *g, aon_error *error) {
  if (g->batch->unanswered)
    return AON_OK;
  aon_batch changed = *g->batch;
  changed.unanswered = true;
  aon_result result = aon_journal_batch(g->run->journal, g->run->id, g->run->epoch, &changed, error);
  if (!result)
    g->batch->unanswered = true;
  return result;
}

/* Whether a request in doubt may have found what it asks for, once the operations newer than this one were taken back: the document as this
 * one left it, or as an older one in doubt made it since. Class 5 asks for nothing. */
static bool may_have_come(const going_back *g, const aon_operation *operation, const aon_shape *shape, size_t at, const bool *came) {
  const aon_image *asked = &g->doubted.items[at].before;
  const char *const *volatiles = operation->collection->volatiles;
  if (g->part->caps->store_class == AON_CLASS_PLAIN || aon_image_same(asked, &operation->after, volatiles, shape->volatiles))
    return true;
  for (size_t i = at + 1; i < g->doubted.count; i++)
    if (came[i] && aon_image_same(asked, &g->doubted.items[i].after, volatiles, shape->volatiles))
      return true;
  return false;
}

/* A request changes a document all at once: done to what was taken back, it makes the whole of what was there. Else some value only happens
 * to be the one that it would have made. */
static aon_result explains(going_back *g, const aon_operation *newer, const aon_shape *shape, const aon_image *image,
                           const aon_image *target, bool *ret_explains, aon_error *error) {
  *ret_explains = true;
  if (newer->kind != AON_UPDATE)
    return AON_OK;
  aon_operation again = *newer;
  aon_restore redone;
  again.before = newer->after;
  again.after = newer->before;
  aon_result result = aon_restore_judge(&again, target, shape->volatiles, &g->arena, &redone, error);
  if (!result)
    *ret_explains =
        redone.verdict == AON_RESTORE_WRITE && aon_image_same(&redone.target, image, newer->collection->volatiles, shape->volatiles);
  return result;
}

/* What the document would be without the newer operations on it that have taken effect only now. They are watched by their stamp, which
 * going back takes away: what they made has to go with it. */
static aon_result without_doubted(going_back *g, const aon_operation *operation, const aon_shape *shape, aon_image *image,
                                  aon_error *error) {
  uint64_t hash = hash_of(operation);
  if (!aon_hashes_has(&g->doubted_documents, hash) ||
      aon_image_same(image, &operation->after, operation->collection->volatiles, shape->volatiles))
    return AON_OK;
  bool *came = aon_arena_alloc(&g->arena, g->doubted.count * sizeof *came);
  if (!came)
    return aon_fail_memory(error);
  for (size_t i = g->doubted.count; i-- > 0;) { /* oldest first */
    const aon_operation *newer = &g->doubted.items[i];
    came[i] = newer->hash == hash && newer->sequence > operation->sequence && may_have_come(g, operation, shape, i, came);
  }
  for (size_t i = 0; i < g->doubted.count; i++) {
    aon_operation newer = g->doubted.items[i];
    aon_restore restore;
    if (!came[i])
      continue;
    newer.collection = operation->collection;
    newer.id = operation->id;
    bool whole = false;
    aon_result result = aon_restore_judge(&newer, image, shape->volatiles, &g->arena, &restore, error);
    if (!result && restore.verdict == AON_RESTORE_WRITE)
      result = explains(g, &newer, shape, image, &restore.target, &whole, error);
    if (result)
      return result;
    if (whole)
      *image = restore.target;
  }
  return AON_OK;
}

/* One document of class 4 or 5: read, judge, write under the version just read. Where the write is not answered the document stays open. */
static aon_result back_one(going_back *g, const aon_operation *operation, aon_error *error) {
  aon_error failure = AON_ERROR_INIT;
  for (uint32_t i = 0; i < AON_RESTORE_TRIES; i++) {
    aon_arena_reset(&g->arena);
    aon_image now, alone;
    const aon_shape *shape;
    aon_restore restore;
    aon_result result = aon_run_guard(g->run, g->part, error);
    if (!result)
      result = aon_store_read(g->part->store, operation->collection, &operation->id, 1, &g->arena, &now, error);
    if (!result)
      result = aon_store_describe(g->part->store, operation->collection, &shape, error);
    alone = now;
    if (!result)
      result = without_doubted(g, operation, shape, &alone, error);
    if (!result)
      result = aon_restore_judge(operation, &alone, shape->volatiles, &g->arena, &restore, error);
    if (result)
      return result;
    if (restore.verdict == AON_RESTORE_DONE && alone.bson != now.bson) {
      restore.verdict = AON_RESTORE_WRITE;
      restore.target = alone;
    }
    bool voids = g->doubtful && aon_store_configuration(g->part->store)->void_stamp && operation->kind == AON_UPDATE;
    if (voids && restore.verdict == AON_RESTORE_DONE &&
        aon_image_same(&now, &operation->before, NULL, NULL)) { /* a late request would match it */
      restore.verdict = AON_RESTORE_WRITE;
      restore.target = operation->before;
    }
    if (restore.verdict == AON_RESTORE_DONE)
      return AON_OK;
    if (restore.verdict == AON_RESTORE_CONFLICT)
      return foreign_change(g, operation, restore.paths, error);
    if (voids && restore.target.bson)
      result = stamp_void(g, &restore.target, error);
    if (!result)
      result = announce_back(g, error);
    if (result)
      return result;
    aon_write write = {.collection = operation->collection,
                       .id = operation->id,
                       .expected = now,
                       .wanted = restore.target,
                       .path = operation->path,
                       .operation = operation->sequence,
                       .compensates = true};
    aon_write_state state = AON_WRITE_NOT_SENT;
    size_t failed = 0;
    result = aon_store_apply(g->part->store, NULL, &write, 1, &state, &failed, &failure);
    if (!result)
      return AON_OK;
    if (result == AON_UNKNOWN) {
      g->asked_ms = aon_monotonic_ms(g->run->env);
      return aon_hashes_add(&g->open, hash_of(operation), error);
    }
    if (refused_for_good(result) && !is_foreign(&failure))
      return refused(g, operation, &failure, error);
    if (!refused_for_good(result) && !aon_result_retryable(result)) {
      if (error)
        *error = failure;
      return result;
    }
    result = aon_run_pause(g->run, i, AON_RETRY_LONGEST_MS, error);
    if (result)
      return result;
  }
  if (is_foreign(&failure))
    return refused(g, operation, &failure, error);
  return aon_fail(error, AON_TRANSIENT, failure.code, "%s", failure.sentence);
}

static aon_result back_call(void *context, aon_part *part, const aon_operation *operations, size_t count, aon_error *error) {
  (void)part;
  going_back *g = context;
  for (size_t i = 0; i < count; i++) {
    uint64_t hash = hash_of(&operations[i]);
    if (aon_hashes_has(&g->left, hash) || (g->again && !aon_hashes_has(&g->were_open, hash)))
      continue;
    aon_result result = back_one(g, &operations[i], error);
    if (result)
      return result;
  }
  return AON_OK;
}

/* What was in doubt is kept for the older operations on its documents, and looked at again for a while: a request of ours may arrive after
 * all (watch.c). */
static aon_result doubt_call(void *context, aon_part *part, const aon_operation *operations, size_t count, aon_error *error) {
  going_back *g = context;
  int64_t watch = aon_store_configuration(part->store)->watch_ms, until = aon_now_ms(g->run->env) + watch;
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < count; i++) {
    if (aon_hashes_has(&g->left, hash_of(&operations[i])))
      continue;
    result = chain_add(&g->doubted, &operations[i], error);
    if (!result)
      result = aon_hashes_add(&g->doubted_documents, hash_of(&operations[i]), error);
    if (result || watch <= 0)
      continue;
    char id[1600];
    snprintf(id, sizeof id, "%.*s", (int)operations[i].id.length, operations[i].id.data);
    aon_conflict record = {.sequence = operations[i].sequence,
                           .store = operations[i].collection->store,
                           .collection = operations[i].collection->name,
                           .document_id = id,
                           .code = "watched",
                           .sentence = "A request that was never answered may still arrive.",
                           .watched = true,
                           .watch_until_ms = until};
    result = aon_journal_conflict_put(g->run->journal, g->run->id, g->run->epoch, &record, error);
  }
  return result;
}

/* A write that was not answered is neither repeated nor compared before the horizon has passed: it could still arrive when the batch counts
 * as undone, and make anew what another bulk operation has deleted by then. */
static aon_result back_passes(going_back *g, unsigned class, aon_error *error) {
  aon_result result = AON_OK;
  g->again = false;
  for (uint32_t i = 0; !result && i < AON_RESTORE_TRIES; i++) {
    result = aon_run_walk(g->run, g->batch->first, g->batch->last, true, class, g->part, back_call, g, error);
    if (result || !g->open.count)
      return result;
    g->doubtful = g->again = true;
    aon_hashes_release(&g->were_open);
    g->were_open = g->open;
    g->open = (aon_hashes){0};
    result = wait_until(g->run, g->asked_ms + aon_store_configuration(g->part->store)->horizon_ms, error);
  }
  return result ? result : aon_fail(error, AON_TRANSIENT, "no_reply", "The store %s does not answer.", g->part->name);
}

static aon_result back_single(going_back *g, const aon_batch *batch, aon_error *error) {
  aon_run *run = g->run;
  unsigned class = AON_CLASS_BIT(g->part->caps->store_class);
  aon_batch own = *batch;
  g->batch = &own;
  g->doubtful = batch->unanswered || (run->recovering && batch->status == AON_BATCH_ANNOUNCED);
  aon_result result = wait_for_horizon(run, g->part, batch, error);
  if (!result)
    result = take_up(g, batch->first, batch->last, error);
  if (!result)
    result = back_passes(g, class, error);
  if (!result && g->doubtful)
    result = aon_run_walk(run, batch->first, batch->last, true, class, g->part, doubt_call, g, error);
  aon_hashes_release(&g->open);
  aon_hashes_release(&g->were_open);
  g->open = g->were_open = (aon_hashes){0};
  return result;
}

static aon_result back_batch(going_back *g, const aon_batch *batch, aon_error *error) {
  aon_run *run = g->run;
  aon_result result = AON_OK;
  if (g->part->caps->store_class == AON_CLASS_BATCH) {
    aon_branch_state state;
    result = aon_part_resolve(run, g->part, batch->attempt, batch->batch, &state, error);
    if (!result && state == AON_BRANCH_COMMITTED)
      result = restore_branch(run, g->part, batch->attempt, batch->batch, batch->first, batch->last, error);
  } else {
    result = back_single(g, batch, error);
  }
  return result ? result : batch_is(run, batch, AON_BATCH_UNDONE, error);
}

/* A store that can't be reached now keeps none of the others from being put back. */
static bool others_go_on(aon_result result) {
  return result == AON_TRANSIENT || result == AON_UNKNOWN || result == AON_ENVIRONMENT || result == AON_PERMANENT;
}

static aon_result keep_first(aon_result first, aon_result result, const aon_error *failure, aon_error *error) {
  if (!first && result && error)
    *error = *failure;
  return first ? first : result;
}

typedef struct watched_list {
  going_back *g;
  int64_t *sequences;
  size_t count, capacity;
} watched_list;

static aon_result note_watched(void *context, const aon_conflict *found, aon_error *error) {
  watched_list *list = context;
  if (!found->watched || aon_run_part(list->g->run, found->store) != list->g->part)
    return AON_OK;
  if (list->count == list->capacity) {
    size_t capacity = list->capacity ? 2 * list->capacity : 64;
    int64_t *grown = realloc(list->sequences, capacity * sizeof *grown);
    if (!grown)
      return aon_fail_memory(error);
    list->sequences = grown;
    list->capacity = capacity;
  }
  list->sequences[list->count++] = found->sequence;
  return AON_OK;
}

/* What a worker before this one left in doubt, of batches that it took back. */
static aon_result doubted_before(going_back *g, aon_error *error) {
  watched_list list = {.g = g};
  aon_result result = aon_journal_conflicts(g->run->journal, g->run->id, note_watched, &list, error);
  for (size_t i = list.count; !result && i-- > 0;) { /* listed by sequence */
    result = chain_read(g->run, list.sequences[i], &g->doubted, error);
    if (!result)
      result = aon_hashes_add(&g->doubted_documents, g->doubted.items[g->doubted.count - 1].hash, error);
  }
  free(list.sequences);
  return result;
}

static aon_result back_batches(aon_run *run, const batch_list *list, unsigned classes, aon_error *error) {
  aon_result worst = AON_OK;
  for (size_t p = 0; p < run->part_count; p++) {
    aon_part *part = &run->parts[p];
    if (!(classes & AON_CLASS_BIT(part->caps->store_class)) || !part->caps->can_undo)
      continue;
    going_back g = {.run = run, .part = part};
    aon_result result = AON_OK;
    aon_error failure = AON_ERROR_INIT;
    if (run->recovering && part->caps->store_class != AON_CLASS_BATCH)
      result = doubted_before(&g, &failure);
    for (size_t i = list->count; !result && i-- > 0;)
      if (!strcmp(list->items[i].store, part->name) && list->items[i].status != AON_BATCH_UNDONE &&
          list->items[i].status != AON_BATCH_REFUSED)
        result = back_batch(&g, &list->items[i], &failure);
    aon_arena_release(&g.arena);
    aon_hashes_release(&g.left);
    aon_hashes_release(&g.doubted_documents);
    chain_release(&g.doubted);
    worst = keep_first(worst, result, &failure, error);
    if (result && !others_go_on(result))
      break;
  }
  return worst;
}

/* ---- the whole ---- */

/* The line for each operation is promised to people who read logs, also where the store takes all back at once. */
static aon_result announce_operations(aon_run *run, aon_error *error) {
  aon_log(run->env, AON_LOG_INFO, "[AtomicOperations] Starting rollback of %lld operations", (long long)run->reached);
  if (run->env->log_level < AON_LOG_INFO || run->reached <= 0)
    return AON_OK;
  aon_entries *entries = NULL;
  aon_result result = aon_entries_open(run->journal, run->id, 0, run->reached - 1, true, &entries, error);
  while (!result) {
    const aon_operation *operations;
    size_t count;
    bool cleared;
    result = aon_entries_next(entries, &operations, &count, &cleared, error);
    for (size_t i = count; !result && i-- > 0;)
      aon_log(run->env, AON_LOG_INFO, "[AtomicOperations] Rolling back operation %lld: %s %s", (long long)operations[i].sequence,
              aon_operation_name(operations[i].kind), operations[i].collection->name);
  }
  aon_entries_close(entries);
  return result == AON_END ? AON_OK : result;
}

static aon_result count_open(void *context, const aon_conflict *found, aon_error *error) {
  (void)error;
  aon_run *run = context;
  run->conflicts += !found->watched;
  run->watched += found->watched;
  return AON_OK;
}

static aon_result note_extent(aon_run *run, aon_error *error) {
  for (size_t i = 0; i < run->part_count; i++) {
    const aon_part *part = &run->parts[i];
    if (!aon_part_transactional(part) || run->reached <= 0)
      continue;
    aon_batch record = {
        .store = part->name, .attempt = run->attempt, .batch = 0, .first = 0, .last = run->reached - 1, .status = AON_BATCH_UNDONE};
    aon_result result = aon_journal_batch(run->journal, run->id, run->epoch, &record, error);
    if (result)
      return result;
  }
  return AON_OK;
}

/* Prepared transactions first: their locks go at once. */
static aon_result back_transactions(aon_run *run, aon_error *error) {
  aon_result worst = AON_OK;
  for (int class = AON_CLASS_PREPARED; class <= AON_CLASS_TRANSACTION; class ++)
    for (size_t i = 0; i < run->part_count; i++) {
      if ((int)run->parts[i].caps->store_class != class || run->parts[i].shares_with != i)
        continue;
      aon_error failure = AON_ERROR_INIT;
      aon_result result = back_transaction(run, &run->parts[i], &failure);
      worst = keep_first(worst, result, &failure, error);
      if (result && !others_go_on(result))
        return worst;
    }
  return worst;
}

static aon_result take_all_back(aon_run *run, aon_error *error) {
  batch_list list = {.run = run};
  aon_parts_abort(run);
  aon_result result = aon_journal_batches(run->journal, run->id, gather, &list, error);
  if (!result) {
    result = back_transactions(run, error);
    aon_error failure = AON_ERROR_INIT;
    unsigned slower = AON_CLASS_BIT(AON_CLASS_BATCH) | AON_CLASS_BIT(AON_CLASS_CONDITIONAL) | AON_CLASS_BIT(AON_CLASS_PLAIN);
    if (!result || others_go_on(result))
      result = keep_first(result, back_batches(run, &list, slower, &failure), &failure, error);
  }
  if (!result)
    result = note_extent(run, error);
  aon_arena_release(&list.arena);
  free(list.items);
  return result;
}

/* Named by a sweep that gave up and died before it could say so: they are in conflict with nobody, and would be left alone for ever. */
static aon_result drop_given_up(void *context, const aon_conflict *found, aon_error *error) {
  aon_run *run = context;
  return found->watched || strcmp(found->code, AON_GAVE_UP)
             ? AON_OK
             : aon_journal_conflict_drop(run->journal, run->id, run->epoch, found->sequence, error);
}

aon_result aon_run_rollback(aon_run *run, aon_error *error) {
  run->deaf = true;
  aon_result result = announce_operations(run, error);
  if (!result)
    result = aon_journal_conflicts(run->journal, run->id, drop_given_up, run, error);
  if (!result)
    result = take_all_back(run, error);
  run->conflicts = run->watched = 0;
  if (!result)
    result = aon_journal_conflicts(run->journal, run->id, count_open, run, error);
  if (result) {
    aon_log(run->env, AON_LOG_ERROR, "Rollback of bulk operation %s is not finished; recovery goes on with it", run->id);
    return result;
  }
  if (run->conflicts) {
    aon_log(run->env, AON_LOG_ERROR, "[AtomicOperations] Rollback failed: %llu documents need a person",
            (unsigned long long)run->conflicts);
    return aon_run_conclude(run, AON_ROLLBACK_FAILED, error);
  }
  result = aon_run_conclude(run, AON_ROLLED_BACK, error);
  if (!result) {
    aon_log(run->env, AON_LOG_INFO, "[AtomicOperations] Rollback completed successfully");
    aon_log(run->env, AON_LOG_ERROR, "Bulk upload failed, all changes rolled back");
  }
  return result;
}

/* ---- one conflict, by a person's choice or tried again ---- */

/* For how long a write that is sent now may still arrive. */
static int64_t may_arrive_ms(const going_back *g) {
  const aon_store_config *config = aon_store_configuration(g->part->store);
  return (config->timeout_ms > 0 ? config->timeout_ms : AON_REQUEST_MS) + config->horizon_ms;
}

/* Before a write of class 4 or 5 is sent: whoever settles the document next waits until it can no longer arrive. What is watched is looked
 * at again anyway. */
static aon_result announce_settling(going_back *g, aon_error *error) {
  if (g->announced || g->record->watched)
    return AON_OK;
  aon_conflict changed = *g->record;
  changed.watch_until_ms = aon_now_ms(g->run->env) + may_arrive_ms(g);
  aon_result result = aon_journal_conflict_put(g->run->journal, g->run->id, g->run->epoch, &changed, error);
  g->announced = !result;
  return result;
}

/* One that an earlier settling announced may still be on its way. The wall clock may have jumped: never longer than it can take. */
static aon_result wait_for_earlier(going_back *g, aon_error *error) {
  int64_t left = g->record->watched ? 0 : g->record->watch_until_ms - aon_now_ms(g->run->env), longest = may_arrive_ms(g);
  return left > 0 ? wait_until(g->run, aon_monotonic_ms(g->run->env) + (left < longest ? left : longest), error) : AON_OK;
}

static aon_result settle_write(going_back *g, const aon_operation *operation, const aon_image *now, const aon_image *target,
                               bool compensates, bool *ret_settled, aon_error *error) {
  aon_write write = {.collection = operation->collection,
                     .id = operation->id,
                     .expected = *now,
                     .wanted = *target,
                     .path = operation->path,
                     .operation = operation->sequence,
                     .compensates = compensates};
  size_t failed = 0;
  if (!aon_part_transactional(g->part) && g->part->caps->store_class != AON_CLASS_BATCH) {
    aon_write_state state = AON_WRITE_NOT_SENT;
    aon_result result = announce_settling(g, error);
    if (!result)
      result = aon_store_apply(g->part->store, NULL, &write, 1, &state, &failed, error);
    g->again = result == AON_UNKNOWN;
    *ret_settled = result == AON_OK;
    return result;
  }
  /* A branch of its own for this document and this worker's epoch: its marker there means that its write went in already. */
  aon_branch branch = {.bulk_id = g->run->id, .attempt = SETTLE_ATTEMPT + (uint32_t)g->run->epoch, .batch = (uint32_t)operation->sequence};
  aon_transaction *transaction;
  aon_result result = aon_store_begin(g->part->store, &branch, AON_MARKER_COMMIT, &transaction, error);
  *ret_settled = result == AON_FENCED;
  if (result)
    return result == AON_FENCED ? AON_OK : result;
  result = aon_store_apply(g->part->store, transaction, &write, 1, NULL, &failed, error);
  if (!result)
    result = aon_store_flush(g->part->store, transaction, error);
  if (result)
    aon_store_abort(g->part->store, transaction);
  else
    result = aon_store_commit(g->part->store, transaction, error);
  *ret_settled = result == AON_OK;
  return result;
}

/* What the document goes back to. Requests of its own for each operation (classes 4 and 5) may have taken effect or not, each by itself:
 * one after the other is judged by what the newer ones leave. Elsewhere all that came before the conflict took effect, and is judged as
 * one. */
static aon_result judge_chain(going_back *g, const chain *c, const aon_operation *whole, const aon_image *now, const aon_shape *shape,
                              aon_restore *ret_restore, aon_error *error) {
  if (g->part->caps->store_class < AON_CLASS_CONDITIONAL)
    return aon_restore_judge(whole, now, shape->volatiles, &g->arena, ret_restore, error);
  *ret_restore = (aon_restore){.verdict = AON_RESTORE_DONE, .target = *now};
  for (size_t i = 0; i < c->count; i++) {
    aon_restore one;
    aon_result result = aon_restore_judge(&c->items[i], &ret_restore->target, shape->volatiles, &g->arena, &one, error);
    if (result)
      return result;
    if (one.verdict == AON_RESTORE_CONFLICT)
      ret_restore->verdict = AON_RESTORE_CONFLICT;
    if (ret_restore->verdict == AON_RESTORE_CONFLICT)
      return AON_OK;
    if (one.verdict == AON_RESTORE_WRITE)
      *ret_restore = one;
  }
  return AON_OK;
}

static aon_result settle_once(going_back *g, const chain *c, const aon_operation *operation, const char *choice, const bson_t *merged,
                              bool *ret_settled, aon_error *error) {
  aon_arena_reset(&g->arena);
  aon_image now, target = {0};
  const aon_shape *shape;
  aon_restore restore;
  aon_result result = aon_store_read(g->part->store, operation->collection, &operation->id, 1, &g->arena, &now, error);
  if (!result)
    result = aon_store_describe(g->part->store, operation->collection, &shape, error);
  if (result)
    return result;
  bool forward = g->run->state == AON_COMMIT_FAILED; /* after a lost decision "ours" is the after image */
  if (choice && !strcmp(choice, "force")) {
    target = forward ? operation->after : operation->before;
  } else if (choice) {
    result = aon_store_normalise(g->part->store, operation->collection, operation->id, merged, &g->arena, &target, error);
  } else if (forward) {
    *ret_settled = aon_image_same(&now, &operation->after, operation->collection->volatiles, shape->volatiles);
    if (*ret_settled || !aon_image_same(&now, &operation->before, operation->collection->volatiles, shape->volatiles))
      return AON_OK;
    target = operation->after;
  } else {
    result = judge_chain(g, c, operation, &now, shape, &restore, error);
    if (!result && restore.verdict != AON_RESTORE_WRITE) {
      *ret_settled = restore.verdict == AON_RESTORE_DONE;
      return AON_OK;
    }
    target = restore.target;
  }
  if (result)
    return result;
  if ((!now.bson && !target.bson) || (g->again && aon_image_same(&now, &target, NULL, NULL))) { /* there already; or the lost one did it */
    *ret_settled = true;
    return AON_OK;
  }
  return settle_write(g, operation, &now, &target, !merged && !forward, ret_settled, error);
}

/* A document that several of its operations changed goes back to before the first of them. */
static aon_result older_operation(void *context, aon_part *part, const aon_operation *operations, size_t count, aon_error *error) {
  (void)part;
  chain *c = context;
  for (size_t i = 0; i < count; i++) {
    const aon_operation *newest = &c->items[0];
    if (strcmp(operations[i].collection->name, newest->collection->name) || operations[i].id.length != newest->id.length ||
        memcmp(operations[i].id.data, newest->id.data, newest->id.length))
      continue;
    aon_result result = chain_add(c, &operations[i], error);
    if (result)
      return result;
    c->items[c->count - 1].collection = c->items[0].collection; /* the walk's own goes with it */
    c->items[c->count - 1].id = c->items[0].id;
  }
  return AON_OK;
}

/* The operations on the document of a conflict. */
static aon_result gather_chain(going_back *g, chain *c, aon_error *error) {
  aon_result result = chain_read(g->run, g->record->sequence, c, error);
  if (!result && g->run->state != AON_COMMIT_FAILED) /* forward, each operation is written by itself */
    result = aon_run_walk(g->run, 0, g->record->sequence - 1, true, ~0u, g->part, older_operation, c, error);
  return result;
}

aon_result aon_conflict_settle(aon_run *run, const aon_conflict *found, const char *choice, const bson_t *merged, bool *ret_settled,
                               aon_error *error) {
  *ret_settled = false;
  if (choice && !strcmp(choice, "keep_theirs")) {
    *ret_settled = true;
    return AON_OK;
  }
  going_back g = {.run = run, .part = aon_run_part(run, found->store), .record = found};
  if (!g.part)
    return aon_fail(error, AON_CORRUPT, "corrupt", "Store “%s” takes no part in bulk operation %s.", found->store, run->id);
  chain c = {0};
  aon_result result = wait_for_earlier(&g, error);
  if (!result)
    result = gather_chain(&g, &c, error);
  aon_operation operation = {0};
  if (!result) {
    operation = c.items[0];
    operation.before = c.items[c.count - 1].before;
    if (c.count > 1)
      operation.kind = operation.before.bson ? (operation.after.bson ? AON_UPDATE : AON_DELETE) : AON_CREATE;
  }
  for (uint32_t i = 0; !result && i < AON_RESTORE_TRIES; i++) {
    aon_error failure = AON_ERROR_INIT;
    result = aon_run_guard(run, g.part, &failure);
    if (!result)
      result = settle_once(&g, &c, &operation, choice, merged, ret_settled, &failure);
    if (!result || *ret_settled)
      break;
    bool again = result == AON_TRANSIENT || g.again || !strcmp(failure.code, "changed_meanwhile") || !strcmp(failure.code, "duplicate");
    if (!again || i + 1 == AON_RESTORE_TRIES) {
      if (error)
        *error = failure;
      break;
    }
    int64_t horizon = aon_store_configuration(g.part->store)->horizon_ms; /* an unanswered write is neither repeated nor compared before */
    result = g.again ? wait_until(run, aon_monotonic_ms(run->env) + horizon, error) : aon_run_pause(run, i, AON_RETRY_LONGEST_MS, error);
  }
  aon_arena_release(&g.arena);
  chain_release(&c);
  return result;
}
