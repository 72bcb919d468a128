/* What a person can ask of a bulk operation that is there: rollback, resume, cancel, resolve.
 * Invariant: each takes the lease first; a living worker is asked, never overruled. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/internal.h"
#include "coordinator/run.h"
#include "coordinator/submit.h"
#include "model/document.h"
#include "model/text.h"

static aon_result wrong_state(const aon_bulk *bulk, const char *wanted, aon_error *error) {
  return aon_fail(error, AON_USAGE, "wrong_state", "Bulk operation %s is %s; %s.", bulk->id, aon_state_name(bulk->state), wanted);
}

typedef aon_result (*command)(aon_run *run, const aon_bulk *bulk, void *context, aon_error *error);

/* Opens the journal, takes the lease, loads the parts, runs the command, ends. */
static aon_result with_claim(aon_engine *engine, const char *id, const aon_run_options *options, command what, void *context,
                             aon_outcome *outcome, aon_error *error) {
  aon_journal *journal;
  aon_result result = aon_engine_journal(engine, true, &journal, error);
  if (result)
    return result;
  aon_run run;
  aon_bulk bulk;
  aon_run_begin(&run, engine, journal, options, outcome);
  run.keep_summary = true;
  result = aon_run_claim(&run, id, &bulk, error);
  if (!result) {
    aon_error failure = AON_ERROR_INIT;
    result = bulk.stores ? aon_parts_load(&run, bulk.stores, &failure) : AON_OK;
    run.reached = run.operations;
    if (!result)
      result = what(&run, &bulk, context, &failure);
    if (result && error)
      *error = failure;
    if (run.has_lease && run.state != AON_CANCELLED_STATE) { /* nobody works on it any more */
      static const aon_bulk_change free_lease = {.free_lease = true};
      aon_error ignored = AON_ERROR_INIT;
      if (aon_journal_update(journal, run.id, run.epoch, &free_lease, &ignored))
        aon_log(engine->env, AON_LOG_DEBUG, "%s", ignored.sentence);
    }
    aon_error ignored = AON_ERROR_INIT;
    if (!result)
      result = aon_outcome_finish(&run, error);
    else if (aon_outcome_finish(&run, &ignored))
      aon_log(engine->env, AON_LOG_DEBUG, "%s", ignored.sentence);
  }
  aon_run_end(&run);
  return result;
}

/* ---- conflicts ---- */

typedef struct conflict_list {
  aon_arena arena;
  aon_conflict *items;
  size_t count, capacity;
} conflict_list;

static aon_result gather(void *context, const aon_conflict *found, aon_error *error) {
  conflict_list *list = context;
  if (found->watched)
    return AON_OK;
  if (list->count == list->capacity) {
    size_t capacity = list->capacity ? 2 * list->capacity : 64;
    aon_conflict *grown = realloc(list->items, capacity * sizeof *grown);
    if (!grown)
      return aon_fail_memory(error);
    list->items = grown;
    list->capacity = capacity;
  }
  aon_conflict *kept = &list->items[list->count++];
  *kept = *found;
  const char **const texts[] = {&kept->store,    &kept->collection, &kept->document_id, &kept->code,
                                &kept->sentence, &kept->paths,      &kept->choice};
  bool fine = true;
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    if (*texts[i]) {
      *texts[i] = aon_arena_text(&list->arena, *texts[i], strlen(*texts[i]));
      fine = fine && *texts[i];
    }
  return fine ? AON_OK : aon_fail_memory(error);
}

static void release(conflict_list *list) {
  aon_arena_release(&list->arena);
  free(list->items);
}

static aon_state resolved_state(const aon_run *run, const aon_bulk *bulk) {
  (void)run;
  return bulk->state == AON_COMMIT_FAILED ? AON_COMMITTED : AON_ROLLED_BACK;
}

typedef struct resolving {
  const char *doc, *choice;
  const bson_t *merged;
} resolving;

static bool names(const char *doc, const aon_conflict *found) {
  if (!strcmp(doc, "all"))
    return true;
  char name[1800];
  snprintf(name, sizeof name, "%s/%s/%s", found->store, found->collection, found->document_id);
  return !strcmp(doc, name);
}

static bool gave_up(const aon_conflict *found) { return !found->watched && found->code && !strcmp(found->code, AON_GAVE_UP); }

static aon_result note_given_up(void *context, const aon_conflict *found, aon_error *error) {
  (void)error;
  bool *any = context;
  *any = *any || gave_up(found);
  return AON_OK;
}

/* Where recovery gave up, a transaction may still be prepared, and hold its locks for ever. */
static aon_result end_prepared(aon_run *run, const aon_bulk *bulk, aon_error *error) {
  bool any = false;
  aon_result result = aon_journal_conflicts(run->journal, run->id, note_given_up, &any, error);
  if (result || !any)
    return result;
  return bulk->state == AON_COMMIT_FAILED ? aon_run_commit_prepared(run, error) : aon_run_abort_prepared(run, error);
}

static aon_result settle_listed(aon_run *run, const resolving *how, uint64_t *ret_named, uint64_t *ret_left, aon_error *error) {
  conflict_list list = {0};
  aon_result result = aon_journal_conflicts(run->journal, run->id, gather, &list, error);
  *ret_named = *ret_left = 0;
  for (size_t i = 0; !result && i < list.count; i++) {
    bool settled = false;
    if (!names(how->doc, &list.items[i])) {
      ++*ret_left;
      continue;
    }
    ++*ret_named;
    result = aon_conflict_settle(run, &list.items[i], how->choice, how->merged, &settled, error);
    if (!result && settled)
      result = aon_journal_conflict_drop(run->journal, run->id, run->epoch, list.items[i].sequence, error);
    *ret_left += !settled;
    if (!result && settled && how->choice) {
      AON_BUFFER_CLEANUP aon_buffer detail = {0};
      result = aon_buffer_format(&detail, error, "{\"choice\":\"%s\",\"document\":", how->choice);
      char name[1800];
      snprintf(name, sizeof name, "%s/%s/%s", list.items[i].store, list.items[i].collection, list.items[i].document_id);
      if (!result)
        result = aon_text_to_json(name, strlen(name), &detail, error);
      if (!result)
        result = aon_buffer_text(&detail, "}", error);
      if (!result)
        result = aon_run_event(run, "resolve", detail.data, error);
    }
  }
  release(&list);
  return result;
}

/* Its documents are those of the bulk operation that takes it back; when that one is resolved this one follows. */
static aon_result follow_undo(aon_run *run, const aon_bulk *bulk, aon_error *error) {
  aon_state to;
  aon_result result = aon_undone_becomes(run, run->id, NULL, AON_STATE_COUNT, "", &to, error);
  if (!result && to == AON_UNDO_FAILED)
    return wrong_state(bulk, "its documents are named by the bulk operation that takes it back (undoneBy): resolve, or roll back, that one",
                       error);
  return result || to == bulk->state ? result : aon_run_move(run, to, NULL, error);
}

static aon_result do_resolve(aon_run *run, const aon_bulk *bulk, void *context, aon_error *error) {
  const resolving *how = context;
  if (bulk->state == AON_UNDO_FAILED)
    return follow_undo(run, bulk, error);
  if (bulk->state != AON_ROLLBACK_FAILED && bulk->state != AON_COMMIT_FAILED)
    return wrong_state(bulk, "it has no documents to resolve", error);
  uint64_t named, left;
  run->deaf = true;
  run->recovering = true;
  aon_result result = end_prepared(run, bulk, error);
  if (!result)
    result = settle_listed(run, how, &named, &left, error);
  if (result)
    return result;
  if (!named && left)
    return aon_fail(error, AON_USAGE, "not_found",
                    "“%s” is not among the documents of bulk operation %s that need a person. They are named STORE/COLLECTION/ID.",
                    how->doc, bulk->id);
  run->conflicts = run->outcome->conflicts = left;
  return left ? AON_OK : aon_run_conclude(run, resolved_state(run, bulk), error);
}

aon_result aon_resolve(aon_engine *engine, const char *id, const char *doc, aon_choice choice, const char *merged,
                       const aon_run_options *options, aon_outcome *outcome, aon_error *error) {
  static const char *const choices[] = {"keep_theirs", "force", "merge"};
  bson_t document;
  resolving how = {.doc = doc, .choice = choices[choice]};
  if (choice == AON_MERGE) {
    if (!merged || !strcmp(doc, "all"))
      return aon_fail(error, AON_USAGE, "bad_merge", "A merged document goes to one document: give STORE/COLLECTION/ID and a file.");
    aon_result result = aon_document_from_json(merged, strlen(merged), &document, error);
    if (result)
      return result;
    how.merged = &document;
  }
  aon_result result = with_claim(engine, id, options, do_resolve, &how, outcome, error);
  if (how.merged)
    bson_destroy(&document);
  return result;
}

/* ---- rollback ---- */

/* Documents named because a store could not be reached for too long: the whole way is gone again. */
static aon_result drop_given_up(void *context, const aon_conflict *found, aon_error *error) {
  aon_run *run = ((void **)context)[0];
  uint64_t *count = ((void **)context)[1];
  if (!gave_up(found))
    return AON_OK;
  ++*count;
  return aon_journal_conflict_drop(run->journal, run->id, run->epoch, found->sequence, error);
}

static aon_result again_back(aon_run *run, aon_error *error) {
  aon_result result = aon_run_move(run, AON_ROLLING_BACK, NULL, error);
  return result ? result : aon_run_rollback(run, error);
}

static aon_result again_forward(aon_run *run, aon_error *error) {
  aon_result result = aon_run_move(run, AON_COMMITTING, NULL, error);
  return result ? result : aon_run_finish(run, error);
}

static aon_result retry_failed(aon_run *run, const aon_bulk *bulk, aon_error *error) {
  const resolving by_rule = {.doc = "all"};
  uint64_t named, left;
  uint64_t dropped = 0;
  aon_result result = aon_journal_conflicts(run->journal, run->id, drop_given_up, (void *[]){run, &dropped}, error);
  if (result)
    return result;
  if (dropped)
    return bulk->state == AON_COMMIT_FAILED ? again_forward(run, error) : again_back(run, error);
  result = settle_listed(run, &by_rule, &named, &left, error);
  run->conflicts = run->outcome->conflicts = left;
  return result || left ? result : aon_run_conclude(run, resolved_state(run, bulk), error);
}

static aon_result do_rollback(aon_run *run, const aon_bulk *bulk, void *context, aon_error *error) {
  (void)context;
  run->deaf = true;
  run->recovering = true;
  switch (bulk->state) {
  case AON_HELD:
    return again_back(run, error);
  case AON_ROLLING_BACK:
    return aon_run_rollback(run, error);
  case AON_UNDO_FAILED:
    return follow_undo(run, bulk, error);
  case AON_ROLLBACK_FAILED:
  case AON_COMMIT_FAILED:
    return retry_failed(run, bulk, error);
  case AON_ROLLED_BACK:
    return AON_OK;
  case AON_COMMITTED:
    return wrong_state(bulk, "to take all of it back use aon undo, for a part of it give --range A-B or --sheet NAME", error);
  default:
    return wrong_state(bulk, "only one that is held, or whose rollback failed, can be rolled back", error);
  }
}

aon_result aon_rollback(aon_engine *engine, const char *id, const aon_run_options *options, aon_outcome *outcome, aon_error *error) {
  return with_claim(engine, id, options, do_rollback, NULL, outcome, error);
}

/* ---- resume ---- */

static aon_result do_resume(aon_run *run, const aon_bulk *bulk, void *context, aon_error *error) {
  (void)context;
  if (bulk->state != AON_HELD)
    return wrong_state(bulk, "only one that is held can be resumed", error);
  if (bulk->attempt >= AON_ATTEMPTS_MAX)
    return wrong_state(bulk, "it was resumed as often as there can be: roll it back", error);
  aon_result result = aon_run_note_batches(run, error);
  if (!result)
    result = aon_run_compare_written(run, error);
  uint32_t attempt = bulk->attempt + 1;
  aon_bulk_change change = {.attempt = &attempt};
  if (!result)
    result = aon_run_move(run, AON_EXECUTING, &change, error);
  if (result)
    return result;
  run->attempt = attempt;
  run->outcome->failure = (aon_failure){0};
  return aon_run_execute(run, error);
}

aon_result aon_resume(aon_engine *engine, const char *id, const aon_run_options *options, aon_outcome *outcome, aon_error *error) {
  return with_claim(engine, id, options, do_resume, NULL, outcome, error);
}

/* ---- cancel ---- */

static aon_result do_cancel(aon_run *run, const aon_bulk *bulk, void *context, aon_error *error) {
  run->deaf = true;
  run->recovering = true;
  switch (bulk->state) {
  case AON_SCHEDULED:
  case AON_QUEUED:
  case AON_PARSING:
  case AON_VALIDATING:
  case AON_PLANNING:
  case AON_LOGGED:
    return aon_run_conclude(run, AON_CANCELLED_STATE, error);
  case AON_EXECUTING:
    return again_back(run, error);
  case AON_HELD:
    return do_rollback(run, bulk, context, error);
  default:
    return wrong_state(bulk, "it can no longer be cancelled", error);
  }
}

/* A living worker hears it at its next tick; we wait until it has acted. */
static aon_result ask_worker(aon_engine *engine, aon_journal *journal, const char *id, const aon_run_options *options, aon_outcome *outcome,
                             aon_error *error) {
  aon_result result = aon_journal_ask_cancel(journal, id, error);
  int64_t until = aon_monotonic_ms(engine->env) + options->lock_wait_ms;
  while (!result) {
    AON_ARENA_CLEANUP aon_arena arena = {0};
    aon_bulk bulk;
    result = aon_journal_get(journal, id, &arena, &bulk, error);
    if (!result && aon_state_terminal(bulk.state)) {
      if (bulk.state == AON_COMMITTED)
        return wrong_state(&bulk, "the decision was made before it could be cancelled", error);
      return aon_outcome_repeat(engine, journal, &bulk, outcome, error);
    }
    if (!result && aon_monotonic_ms(engine->env) >= until)
      return aon_fail(error, AON_BUSY, "cancel_asked", "Its worker was asked to stop and has not done so yet. Look again with: aon show %s",
                      id);
    aon_sleep_ms(engine->env, 100);
  }
  return result;
}

aon_result aon_cancel(aon_engine *engine, const char *id, const aon_run_options *options, aon_outcome *outcome, aon_error *error) {
  aon_error failure = AON_ERROR_INIT;
  aon_result result = with_claim(engine, id, options, do_cancel, NULL, outcome, &failure);
  if (result == AON_BUSY && engine->journal)
    return ask_worker(engine, engine->journal, id, options, outcome, error);
  uint64_t freed;
  if (!result) /* of one that waited in the queue */
    result = aon_journal_sweep_files(engine->journal, &freed, &failure);
  if (result && error)
    *error = failure;
  return result;
}
