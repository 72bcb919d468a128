/* Recovery: what dead or expired workers left is brought to an end; housekeeping.
 *
 *   parsing … logged   -> rolled_back (nothing was written), or queued again      executing -> rolling_back
 *   preparing          -> the last resource says: committing, or rolling_back
 *   committing, rolling_back -> go on where it stopped                held      -> rolled back once its time is over
 *   undoing            -> follows the bulk operation that takes it back
 *
 * Invariant: a bulk operation whose worker lives is never touched: the claim refuses. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/hashes.h"
#include "coordinator/internal.h"
#include "coordinator/run.h"
#include "coordinator/submit.h"
#include "coordinator/worker.h"
#include "model/text.h"

static void lost(aon_run *run) {
  static const aon_error why = {.kind = AON_ENVIRONMENT,
                                .operation = AON_NO_OPERATION,
                                .code = "worker_lost",
                                .sentence = "Its worker was lost before it came to an end."};
  aon_run_fail(run, &why, NULL);
}

/* The stores are opened late: what is said of the bulk operation does not depend on whether they can be reached now. */
static aon_result go_on_back(aon_run *run, const char *stores, aon_error *error) {
  aon_result result = aon_parts_load(run, stores, error);
  return result ? result : aon_run_rollback(run, error);
}

static aon_result roll_back_lost(aon_run *run, const char *stores, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer failure = {0};
  lost(run);
  aon_result result = aon_failure_to_json(&run->outcome->failure, &failure, error);
  run->reached = run->operations;
  aon_bulk_change change = {.failure = failure.data};
  if (!result)
    result = aon_run_move(run, AON_ROLLING_BACK, &change, error);
  return result ? result : go_on_back(run, stores, error);
}

static aon_result recover_preparing(aon_run *run, const char *stores, aon_error *error) {
  aon_result loaded = aon_parts_load(run, stores, error);
  if (loaded)
    return loaded;
  for (size_t i = 0; i < run->part_count; i++) {
    if (!run->parts[i].last_resource)
      continue;
    aon_branch_state state;
    aon_result result = aon_part_resolve(run, &run->parts[i], run->attempt, 0, &state, error);
    if (result)
      return result;
    if (state == AON_BRANCH_COMMITTED) {
      result = aon_run_move(run, AON_COMMITTING, NULL, error);
      return result ? result : aon_run_finish(run, error);
    }
  }
  return roll_back_lost(run, stores, error);
}

static aon_result recover_committing(aon_run *run, const char *stores, aon_error *error) {
  aon_result result = aon_parts_load(run, stores, error);
  return result ? result : aon_run_finish(run, error);
}

static aon_result recover_undoing(aon_run *run, aon_error *error) {
  aon_state to;
  aon_result result = aon_undone_becomes(run, run->id, NULL, AON_STATE_COUNT, "", &to, error);
  return result || to == AON_UNDOING ? result : aon_run_move(run, to, NULL, error); /* an undo under way settles this one itself */
}

static aon_result recover_held(aon_run *run, const aon_bulk *bulk, aon_error *error) {
  if (aon_now_ms(run->env) < bulk->hold_until_ms) {
    static const aon_bulk_change free_again = {.free_lease = true};
    run->has_lease = false;
    return aon_journal_update(run->journal, run->id, run->epoch, &free_again, error);
  }
  return roll_back_lost(run, bulk->stores, error);
}

static aon_result count_conflict(void *context, const aon_conflict *found, aon_error *error) {
  (void)error;
  *(uint64_t *)context += !found->watched;
  return AON_OK;
}

/* A person decided about the last document, and the worker was lost before it could say so. */
static aon_result recover_failed(aon_run *run, const aon_bulk *bulk, aon_error *error) {
  aon_result result = aon_journal_conflicts(run->journal, run->id, count_conflict, &run->conflicts, error);
  if (result || run->conflicts)
    return result;
  return aon_run_conclude(run,
                          bulk->state == AON_COMMIT_FAILED ? AON_COMMITTED
                          : bulk->state == AON_UNDO_FAILED ? AON_UNDONE
                                                           : AON_ROLLED_BACK,
                          error);
}

/* No store was written. One that came from the queue is tried again by whoever takes it next. */
static aon_result recover_unwritten(aon_run *run, const aon_bulk *bulk, aon_error *error) {
  bool queued = false;
  aon_result result = aon_run_requeue_lost(run, bulk, &queued, error);
  if (result || queued)
    return result;
  lost(run);
  return aon_run_conclude(run, AON_ROLLED_BACK, error);
}

static aon_result recover_by_state(aon_run *run, const aon_bulk *bulk, aon_error *error) {
  run->deaf = true;
  run->recovering = true;
  run->reached = run->operations;
  switch (bulk->state) {
  case AON_PARSING:
  case AON_VALIDATING:
  case AON_PLANNING:
  case AON_LOGGED:
    return recover_unwritten(run, bulk, error);
  case AON_EXECUTING:
    return roll_back_lost(run, bulk->stores, error);
  case AON_PREPARING:
    return recover_preparing(run, bulk->stores, error);
  case AON_COMMITTING:
    return recover_committing(run, bulk->stores, error);
  case AON_ROLLING_BACK:
    return go_on_back(run, bulk->stores, error);
  case AON_HELD:
    return recover_held(run, bulk, error);
  case AON_UNDOING:
    return recover_undoing(run, error);
  case AON_ROLLBACK_FAILED:
  case AON_UNDO_FAILED:
  case AON_COMMIT_FAILED:
    return recover_failed(run, bulk, error);
  default:
    return AON_OK;
  }
}

aon_result aon_run_claim(aon_run *run, const char *id, aon_bulk *ret_bulk, aon_error *error) {
  aon_process self = run->env->ops->process_self(run->env->context);
  run->adopting_ms = aon_monotonic_ms(run->env);
  aon_result result = aon_journal_claim(run->journal, id, &self, &run->arena, ret_bulk, error);
  if (result)
    return result;
  aon_run_adopt(run, ret_bulk);
  run->taken_up_ms = ret_bulk->state == AON_ROLLING_BACK ? aon_monotonic_ms(run->env) : 0;
  run->partial_undo = ret_bulk->kind && !strcmp(ret_bulk->kind, "undo_part");
  return AON_OK;
}

static uint64_t sequence_hash(int64_t sequence) { return (uint64_t)sequence + 1; }

static aon_result note_named(void *context, const aon_conflict *found, aon_error *error) {
  return found->watched ? AON_OK : aon_hashes_add(context, sequence_hash(found->sequence), error);
}

/* Every operation of the log is named: who can't be asked can't be proved to be as before. aon rollback looks at all of them anew, but not
 * at those that are in conflict with somebody: they stay named for that. */
static aon_result name_documents(aon_run *run, const char *why, aon_error *error) {
  aon_entries *entries = NULL;
  aon_hashes named = {0};
  aon_result result = aon_journal_conflicts(run->journal, run->id, note_named, &named, error);
  if (!result)
    result = aon_entries_open(run->journal, run->id, 0, INT64_MAX, true, &entries, error);
  while (!result) {
    const aon_operation *operations;
    size_t count;
    bool cleared;
    result = aon_entries_next(entries, &operations, &count, &cleared, error);
    for (size_t i = 0; !result && i < count; i++) {
      run->conflicts++;
      if (aon_hashes_has(&named, sequence_hash(operations[i].sequence)))
        continue;
      char id[1600];
      snprintf(id, sizeof id, "%.*s", (int)operations[i].id.length, operations[i].id.data);
      aon_conflict record = {.sequence = operations[i].sequence,
                             .store = operations[i].collection->store,
                             .collection = operations[i].collection->name,
                             .document_id = id,
                             .code = AON_GAVE_UP,
                             .sentence = why};
      result = aon_journal_conflict_put(run->journal, run->id, run->epoch, &record, error);
    }
  }
  aon_entries_close(entries);
  aon_hashes_release(&named);
  return result == AON_END ? AON_OK : result;
}

/* A transient failure of a rollback, or after the decision, is tried again by the next sweep, but not for ever: after give_up every
 * document that may still differ is named, and a person decides. */
static aon_result give_up_after(aon_run *run, const aon_error *why, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_bulk bulk;
  if (run->state != AON_ROLLING_BACK && run->state != AON_COMMITTING)
    return AON_OK;
  aon_result result = aon_journal_get(run->journal, run->id, &arena, &bulk, error);
  if (result || !bulk.hold_until_ms || aon_now_ms(run->env) < bulk.hold_until_ms)
    return result;
  result = name_documents(run, why->sentence, error);
  return result ? result : aon_run_conclude(run, run->state == AON_COMMITTING ? AON_COMMIT_FAILED : AON_ROLLBACK_FAILED, error);
}

static aon_result recover_one(aon_engine *engine, aon_journal *journal, const char *id, const aon_run_options *options,
                              aon_state *ret_before, aon_state *ret_after, aon_error *error) {
  aon_outcome outcome = {0};
  aon_run run;
  aon_bulk bulk;
  aon_run_begin(&run, engine, journal, options, &outcome);
  aon_result result = aon_run_claim(&run, id, &bulk, error);
  if (!result) {
    *ret_before = bulk.state;
    aon_error failure = AON_ERROR_INIT;
    result = recover_by_state(&run, &bulk, &failure);
    if (result) {
      aon_error second = AON_ERROR_INIT;
      if (result != AON_FENCED && give_up_after(&run, &failure, &second))
        aon_log(engine->env, AON_LOG_DEBUG, "%s", second.sentence);
      if (aon_state_terminal(run.state))
        result = AON_OK;
      else if (error)
        *error = failure;
    }
    *ret_after = run.state;
    if (!aon_state_terminal(run.state) && run.state != AON_HELD) { /* given free for the next sweep */
      static const aon_bulk_change free_again = {.free_lease = true};
      aon_error ignored = AON_ERROR_INIT;
      if (aon_journal_update(journal, run.id, run.epoch, &free_again, &ignored))
        aon_log(engine->env, AON_LOG_DEBUG, "%s", ignored.sentence);
    }
  }
  aon_run_end(&run);
  aon_outcome_release(&outcome);
  return result;
}

typedef struct open_list {
  aon_env *env;
  aon_arena arena;
  const char **ids;
  size_t count, capacity;
} open_list;

static aon_result gather_id(open_list *list, const char *id, aon_error *error) {
  if (list->count == list->capacity) {
    size_t capacity = list->capacity ? 2 * list->capacity : 64;
    const char **grown = realloc(list->ids, capacity * sizeof *grown);
    if (!grown)
      return aon_fail_memory(error);
    list->ids = grown;
    list->capacity = capacity;
  }
  list->ids[list->count] = aon_arena_text(&list->arena, id, strlen(id));
  return list->ids[list->count++] ? AON_OK : aon_fail_memory(error);
}

/* A held one is a person's until its time is over: its lease is not even asked for. */
static aon_result gather_open(void *context, const aon_bulk *bulk, aon_error *error) {
  open_list *list = context;
  return bulk->state == AON_HELD && aon_now_ms(list->env) < bulk->hold_until_ms ? AON_OK : gather_id(list, bulk->id, error);
}

static const char *sentence_for(aon_state before, aon_state after) {
  if (after == AON_COMMITTED)
    return "It was decided; the rest was finished. All changes are in.";
  if (after == AON_ROLLED_BACK)
    return before <= AON_LOGGED ? "It was stopped before the first write. Nothing was changed." : "Everything was put back.";
  if (after == AON_ROLLBACK_FAILED)
    return "Rollback failed: documents need a person. Look with aon show, then decide with aon resolve.";
  if (after == AON_COMMIT_FAILED)
    return "The decision was made, but documents need a person. Look with aon show, then decide with aon resolve.";
  if (after == AON_QUEUED)
    return "Its worker was lost before the first write. It is queued again.";
  if (after == AON_HELD)
    return "It is on hold and waits for a person: aon resume or aon rollback.";
  return "It is not at its end yet.";
}

typedef struct recovery {
  aon_engine *engine;
  aon_journal *journal;
  const aon_run_options *options;
  aon_recovered each;
  void *context;
  uint64_t recovered, open, person;
} recovery;

static aon_result recover_listed(recovery *r, const char *id, bool asked, aon_error *error) {
  aon_state before = AON_STATE_COUNT, after = AON_STATE_COUNT;
  aon_error failure = AON_ERROR_INIT;
  aon_result result = recover_one(r->engine, r->journal, id, r->options, &before, &after, &failure);
  if (result == AON_BUSY && !asked)
    return AON_OK; /* its worker lives */
  if (result == AON_FENCED && before == AON_STATE_COUNT)
    return AON_OK; /* another worker was faster */
  if (result && before == AON_STATE_COUNT) {
    if (error)
      *error = failure;
    return result;
  }
  bool waiting = after == AON_HELD || after == AON_UNDOING;
  if (result)
    r->open++;
  else if (before != after)
    r->recovered++;
  r->person += after == AON_ROLLBACK_FAILED || after == AON_COMMIT_FAILED || after == AON_UNDO_FAILED;
  if (r->each && (result || before != after || (asked && waiting)))
    r->each(r->context, id, before, after, result ? failure.sentence : sentence_for(before, after));
  return AON_OK;
}

static const aon_state failed_states[] = {AON_ROLLBACK_FAILED, AON_UNDO_FAILED, AON_COMMIT_FAILED};
#define FAILED_STATES (sizeof failed_states / sizeof *failed_states)

static bool is_failed(aon_state state) { return state == AON_ROLLBACK_FAILED || state == AON_UNDO_FAILED || state == AON_COMMIT_FAILED; }

/* One that needs a person is only counted and named, unless there is nothing left for the person to decide. */
static aon_result look_at_failed(recovery *r, const char *id, aon_state state, aon_error *error) {
  uint64_t conflicts = 0;
  aon_result result = aon_journal_conflicts(r->journal, id, count_conflict, &conflicts, error);
  if (result || !conflicts)
    return result ? result : recover_listed(r, id, false, error);
  r->person++;
  if (r->each)
    r->each(r->context, id, state, state, "It needs a person. Look with aon show, then decide with aon resolve.");
  return AON_OK;
}

/* Done before the others, so that none is told twice that this very recovery ends so. */
static aon_result look_at_all_failed(recovery *r, aon_error *error) {
  open_list list = {0};
  aon_result result = AON_OK;
  for (size_t s = 0; !result && s < FAILED_STATES; s++) {
    aon_bulk_filter filter = {.states = &failed_states[s], .state_count = 1};
    list.count = 0;
    result = aon_journal_list(r->journal, &filter, gather_open, &list, error);
    for (size_t i = list.count; !result && i-- > 0;)
      result = look_at_failed(r, list.ids[i], failed_states[s], error);
  }
  aon_arena_release(&list.arena);
  free(list.ids);
  return result;
}

aon_result aon_recover(aon_engine *engine, const char *id, const aon_run_options *options, aon_recovered each, void *context,
                       uint64_t *ret_recovered, uint64_t *ret_open, uint64_t *ret_person, aon_error *error) {
  static const aon_state unfinished[] = {AON_PARSING,   AON_VALIDATING, AON_PLANNING, AON_LOGGED,       AON_EXECUTING,
                                         AON_PREPARING, AON_COMMITTING, AON_HELD,     AON_ROLLING_BACK, AON_UNDOING};
  recovery r = {.engine = engine, .options = options, .each = each, .context = context};
  open_list list = {.env = engine->env};
  aon_bulk_filter filter = {.states = unfinished, .state_count = sizeof unfinished / sizeof *unfinished};
  aon_result result = aon_engine_journal(engine, true, &r.journal, error);
  if (!result && id) {
    AON_ARENA_CLEANUP aon_arena arena = {0};
    aon_bulk bulk;
    result = aon_journal_get(r.journal, id, &arena, &bulk, error);
    if (!result && is_failed(bulk.state))
      result = look_at_failed(&r, id, bulk.state, error);
    else if (!result && !aon_state_terminal(bulk.state))
      result = recover_listed(&r, id, true, error);
  } else if (!result) {
    result = look_at_all_failed(&r, error);
    if (!result)
      result = aon_journal_list(r.journal, &filter, gather_open, &list, error);
    for (size_t i = list.count; !result && i-- > 0;) /* oldest first */
      result = recover_listed(&r, list.ids[i], false, error);
    uint64_t freed;
    if (!result) /* of uploads that are at their end, or were never queued */
      result = aon_journal_sweep_files(r.journal, &freed, error);
  }
  aon_arena_release(&list.arena);
  free(list.ids);
  *ret_recovered = r.recovered;
  *ret_open = r.open;
  *ret_person = r.person;
  return result;
}

typedef struct stale {
  aon_engine *engine;
  aon_journal *journal;
  const aon_run_options *options;
} stale;

/* What is in doubt is looked at again. A store that can't be reached now keeps no command from its own work. */
static aon_result one_watched(void *context, const char *id, bool images, bool watched, aon_error *error) {
  stale *s = context;
  aon_error failure = AON_ERROR_INIT;
  (void)images;
  (void)error;
  if (watched && aon_strays_sweep(s->engine, s->journal, id, s->options, &failure))
    aon_log(s->engine->env, AON_LOG_DEBUG, "%s", failure.sentence);
  return AON_OK;
}

/* Images past their retention are cleared, too, but for documents that still need a person. */
static aon_result one_stale(void *context, const char *id, bool images, bool watched, aon_error *error) {
  stale *s = context;
  aon_result result = one_watched(context, id, images, watched, error);
  while (!result && images)
    result = aon_journal_clear_images(s->journal, id, error);
  return result == AON_END ? AON_OK : result;
}

static aon_result look_at_stale(aon_engine *engine, aon_journal *journal, const aon_run_options *options, aon_error *error) {
  stale s = {.engine = engine, .journal = journal, .options = options};
  return aon_journal_stale(journal, one_stale, &s, error);
}

aon_result aon_take_late_back(aon_engine *engine, const aon_run_options *options, aon_error *error) {
  stale s = {.engine = engine, .options = options};
  aon_result result = aon_engine_journal(engine, true, &s.journal, error);
  return result ? result : aon_journal_stale(s.journal, one_watched, &s, error);
}

aon_result aon_housekeep(aon_engine *engine, const aon_run_options *options, aon_error *error) {
  return aon_housekeep_heard(engine, options, NULL, NULL, error);
}

aon_result aon_housekeep_heard(aon_engine *engine, const aon_run_options *options, aon_recovered each, void *context, aon_error *error) {
  aon_journal *journal;
  uint64_t recovered, open, person, freed;
  aon_result result = aon_engine_journal(engine, true, &journal, error);
  if (!result)
    result = aon_recover(engine, NULL, options, each, context, &recovered, &open, &person, error);
  if (!result && recovered)
    aon_log(engine->env, AON_LOG_WARNING, "%llu bulk operations that an earlier worker left were brought to an end",
            (unsigned long long)recovered);
  if (!result)
    result = aon_journal_sweep_locks(journal, &freed, error);
  return result ? result : look_at_stale(engine, journal, options, error);
}
