/* Strays: what a request of ours, never answered, did after its bulk operation was rolled back (docs/protocol.md, class 4 and 5).
 *
 * A rollback leaves a watch on each document of a batch in doubt. Housekeeping looks at them again until their time is over; a read that
 * meets one shows what was there before.
 *
 * Invariant: only a document stamped with the id of the bulk operation that rolled back is touched. A document that has vanished is left as
 * it is: a late delete of ours can't be told from somebody else's. */
#include <string.h>

#include "coordinator/internal.h"
#include "coordinator/run.h"
#include "model/document.h"

bool aon_image_stamped(const aon_image *image, char ret_id[37], bool *ret_begun) {
  bson_t view;
  bson_iter_t at;
  uint32_t length;
  *ret_begun = false;
  if (!image->bson || !aon_image_view(image, &view) || !bson_iter_init_find(&at, &view, AON_STAMP_NAME) || !BSON_ITER_HOLDS_UTF8(&at))
    return false;
  const char *text = bson_iter_utf8(&at, &length);
  *ret_begun = length == 36 + strlen(AON_STAMP_BEGUN) && !strcmp(text + 36, AON_STAMP_BEGUN);
  if (length != 36 && !*ret_begun)
    return false;
  memcpy(ret_id, text, 36);
  ret_id[36] = 0;
  return true;
}

typedef struct watching {
  aon_run *run;
  aon_arena arena;
  int64_t sequences[256]; /* of one round; the next sweep finds the others */
  bool over[256];
  size_t count;
} watching;

static aon_result gather(void *context, const aon_conflict *found, aon_error *error) {
  (void)error;
  watching *w = context;
  if (!found->watched)
    return AON_OK;
  if (w->count == sizeof w->sequences / sizeof *w->sequences)
    return AON_END;
  w->over[w->count] = aon_now_ms(w->run->env) >= found->watch_until_ms;
  w->sequences[w->count++] = found->sequence;
  return AON_OK;
}

/* One document: taken back if it is a stray; no longer watched when its time is over. */
static aon_result look_again(watching *w, int64_t sequence, bool over, aon_error *error) {
  aon_run *run = w->run;
  aon_operation operation;
  aon_image now;
  char id[37];
  bool begun;
  aon_arena_reset(&w->arena);
  aon_result result = aon_run_operation(run, sequence, &w->arena, &operation, error);
  aon_part *part = result ? NULL : aon_run_part(run, operation.collection->store);
  if (!result && !part)
    return aon_fail(error, AON_CORRUPT, "corrupt", "Store “%s” takes no part in bulk operation %s.", operation.collection->store, run->id);
  if (!result)
    result = aon_store_read(part->store, operation.collection, &operation.id, 1, &w->arena, &now, error);
  if (result)
    return result;
  if (aon_image_stamped(&now, id, &begun) && !strcmp(id, run->id)) {
    bool settled = false;
    aon_conflict record = {.sequence = sequence, .store = operation.collection->store, .watched = true};
    result = aon_conflict_settle(run, &record, NULL, NULL, &settled, error);
    if (!result)
      result = aon_run_event(run, settled ? "stray" : "stray_left", NULL, error);
    aon_log(run->env, AON_LOG_WARNING, "A late write of bulk operation %s was %s", run->id,
            settled ? "taken back" : "met, and could not be taken back");
  }
  return !result && over ? aon_journal_conflict_drop(run->journal, run->id, run->epoch, sequence, error) : result;
}

aon_result aon_strays_sweep(aon_engine *engine, aon_journal *journal, const char *id, const aon_run_options *options, aon_error *error) {
  aon_outcome outcome = {0};
  aon_run run;
  aon_bulk bulk;
  static const aon_bulk_change free_lease = {.free_lease = true};
  aon_run_begin(&run, engine, journal, options, &outcome);
  aon_result result = aon_run_claim(&run, id, &bulk, error);
  bool claimed = !result;
  run.deaf = run.recovering = true;
  if (!result)
    result = aon_parts_load(&run, bulk.stores, error);
  watching w = {.run = &run};
  if (!result)
    result = aon_journal_conflicts(journal, id, gather, &w, error);
  if (result == AON_END)
    result = AON_OK;
  for (size_t i = 0; !result && i < w.count; i++)
    result = look_again(&w, w.sequences[i], w.over[i], error);
  aon_error ignored = AON_ERROR_INIT;
  if (claimed && aon_journal_update(journal, id, run.epoch, &free_lease, &ignored))
    aon_log(engine->env, AON_LOG_DEBUG, "%s", ignored.sentence);
  aon_arena_release(&w.arena);
  aon_run_end(&run);
  aon_outcome_release(&outcome);
  return result;
}
