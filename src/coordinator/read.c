/* Reads while a bulk operation is in flight (docs/protocol.md, "Reads"): the journal, the store, the journal again.
 *
 * Invariant: `committed` never shows a state between: before the decision the before image, after it the after image, for all stores at the
 * same instant. */
#include <string.h>

#include "coordinator/internal.h"
#include "coordinator/run.h"
#include "model/document.h"
#include "model/text.h"

#define READ_TRIES 10

typedef struct holding {
  bool is;
  aon_bulk bulk;
  aon_operation operation;
} holding;

static bool is_decided(aon_state state) { return state == AON_COMMITTING || state == AON_UNDOING || state == AON_COMMIT_FAILED; }

/* A document in conflict shows what the store has: there is no image that is more right. */
static bool shows_image(const holding *held) {
  return held->is && !aon_state_terminal(held->bulk.state) && held->bulk.state != AON_UNDOING;
}

static aon_result look(aon_journal *journal, const aon_collection *collection, aon_text id, aon_arena *arena, holding *held,
                       int64_t *ret_generation, aon_error *error) {
  aon_result result = aon_journal_holder(journal, collection, id, arena, &held->is, &held->bulk, &held->operation, error);
  return result ? result : aon_journal_generation(journal, collection->store, ret_generation, error);
}

static void give_image(const holding *held, aon_image *ret_image, aon_image *ret_pending) {
  *ret_image = is_decided(held->bulk.state) ? held->operation.after : held->operation.before;
  if (ret_pending)
    *ret_pending = held->operation.after;
}

/* Before `logged` its before images are not to be relied on: a plan takes its locks with its log, and only then looks whether somebody else
 * came in between. */
static bool is_planned(aon_state state) { return state == AON_PARSING || state == AON_VALIDATING || state == AON_PLANNING; }

/* A create is planned without a look into the store, which refuses it if the document is there. Until it is sent, the store knows better
 * than the before image whether there is one. */
static bool is_unread(const holding *held) {
  return shows_image(held) && !is_decided(held->bulk.state) && (!held->operation.before.bson || is_planned(held->bulk.state));
}

typedef struct sending {
  const aon_operation *operation;
  bool begun;
} sending;

static aon_result hear_batch(void *context, const aon_batch *batch, aon_error *error) {
  (void)error;
  sending *s = context;
  s->begun = s->begun || (batch->first <= s->operation->sequence && !strcmp(batch->store, s->operation->collection->store));
  return AON_OK;
}

/* May the store show something of it by now? Open transactions are seen by nobody, and batches are announced first. */
static aon_result is_sent(aon_journal *journal, aon_store *store, const holding *held, bool *ret_sent, aon_error *error) {
  aon_state state = held->bulk.state;
  bool waits = is_planned(state) || state == AON_LOGGED;
  *ret_sent = !waits && state != AON_EXECUTING;
  const aon_store_caps *caps = aon_store_capabilities(store);
  if (state != AON_EXECUTING || (caps->store_class <= AON_CLASS_TRANSACTION && !caps->transaction_operations))
    return AON_OK; /* with a limit, a plan beyond it goes by batches */
  sending s = {.operation = &held->operation};
  aon_result result = aon_journal_batches(journal, held->bulk.id, hear_batch, &s, error);
  *ret_sent = s.begun;
  return result;
}

/* A stray: stamped by a bulk operation that rolled back. The sweep takes it back; a read shows what was there before (an image, if the
 * journal still has it). */
static aon_result mend_stray(aon_engine *engine, aon_journal *journal, const aon_collection *collection, aon_text id, aon_arena *arena,
                             aon_image *image, aon_error *error) {
  char stamp[37];
  bool begun;
  if (!aon_image_stamped(image, stamp, &begun))
    return AON_OK;
  aon_bulk bulk;
  aon_error failure = AON_ERROR_INIT;
  aon_result result = aon_journal_get(journal, stamp, arena, &bulk, &failure);
  if (result == AON_USAGE || (!result && bulk.state != AON_ROLLED_BACK))
    return AON_OK; /* another journal's, or no stray */
  int64_t sequence = AON_NO_OPERATION;
  if (!result)
    result = aon_journal_last_of(journal, stamp, aon_document_hash(collection->store, collection->name, id), collection, id, &sequence,
                                 &failure);
  aon_run run;
  aon_run_begin(&run, engine, journal, NULL, NULL);
  memcpy(run.id, stamp, sizeof run.id);
  aon_operation operation;
  if (!result && sequence != AON_NO_OPERATION)
    result = aon_run_operation(&run, sequence, arena, &operation, &failure);
  if (!result && sequence != AON_NO_OPERATION && (operation.before.bson || operation.kind == AON_CREATE))
    *image = operation.before;
  aon_run_end(&run);
  if (result && error)
    *error = failure;
  return result;
}

static aon_result read_committed(aon_engine *engine, aon_journal *journal, aon_store *store, const aon_collection *collection, aon_text id,
                                 bool *ret_settled, aon_arena *arena, aon_image *ret_image, aon_image *ret_pending, aon_error *error) {
  holding before = {0}, after = {0};
  int64_t first, second;
  *ret_settled = true;
  aon_result result = look(journal, collection, id, arena, &before, &first, error);
  if (!result && shows_image(&before) && !is_unread(&before)) {
    give_image(&before, ret_image, ret_pending);
    return AON_OK;
  }
  if (!result)
    result = aon_store_read(store, collection, &id, 1, arena, ret_image, error);
  if (!result) /* a journal that was missing at the first look may be there at the second */
    result = aon_engine_journal(engine, false, &journal, error);
  if (!result)
    result = look(journal, collection, id, arena, &after, &second, error);
  bool sent = true;
  if (!result && is_unread(&after))
    result = is_sent(journal, store, &after, &sent, error);
  if (!result && !sent) {
    *ret_settled = first == second;
    if (ret_pending)
      *ret_pending = after.operation.after;
    return AON_OK;
  }
  if (!result && shows_image(&after)) {
    give_image(&after, ret_image, ret_pending);
    return AON_OK;
  }
  if (!result)
    result = mend_stray(engine, journal, collection, id, arena, ret_image, error);
  *ret_settled = first == second;
  return result;
}

/* Waits until nobody works on it, then reads. */
static aon_result read_locked(aon_engine *engine, aon_journal *journal, aon_store *store, const aon_collection *collection, aon_text id,
                              int64_t wait_ms, aon_arena *arena, aon_image *ret_image, aon_error *error) {
  int64_t until = aon_monotonic_ms(engine->env) + wait_ms;
  for (;;) {
    holding holder = {0};
    int64_t first, second = 0;
    aon_result result = look(journal, collection, id, arena, &holder, &first, error);
    if (result)
      return result;
    if (!shows_image(&holder)) {
      result = aon_store_read(store, collection, &id, 1, arena, ret_image, error);
      if (!result)
        result = aon_engine_journal(engine, false, &journal, error);
      if (!result)
        result = look(journal, collection, id, arena, &holder, &second, error);
      if (result || (!shows_image(&holder) && first == second))
        return result;
    }
    if (aon_monotonic_ms(engine->env) >= until) {
      result = aon_fail(error, AON_BUSY, "locked", "%s/%.*s is held by bulk operation %s. Try again later.", collection->name,
                        (int)id.length, id.data, holder.is ? holder.bulk.id : "of another worker");
      if (error && holder.is)
        snprintf(error->held_by, sizeof error->held_by, "%s", holder.bulk.id);
      return result;
    }
    aon_sleep_ms(engine->env, 50);
  }
}

aon_result aon_document_get(aon_engine *engine, const aon_collection *collection, aon_text id, aon_read_mode mode, int64_t wait_ms,
                            aon_arena *arena, aon_image *ret_image, aon_image *ret_pending, aon_error *error) {
  aon_store *store;
  aon_journal *journal;
  if (ret_pending)
    *ret_pending = (aon_image){0};
  aon_result result = aon_engine_store_open(engine, collection->store, &store, error);
  if (!result && mode == AON_READ_LATEST)
    return aon_store_read(store, collection, &id, 1, arena, ret_image, error);
  if (!result)
    result = aon_engine_journal(engine, false, &journal, error);
  for (int i = 0; !result && mode != AON_READ_LOCKED && i < READ_TRIES; i++) {
    bool settled;
    result = aon_engine_journal(engine, false, &journal, error);
    if (result)
      return result;
    result = read_committed(engine, journal, store, collection, id, &settled, arena, ret_image,
                            mode == AON_READ_PENDING ? ret_pending : NULL, error);
    if (!result && settled)
      return AON_OK;
  }
  return result ? result : read_locked(engine, journal, store, collection, id, wait_ms, arena, ret_image, error);
}
