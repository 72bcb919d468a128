/* After the decision: only forward; and the terminal arrow of every bulk operation.
 * Invariants: committed is said only when every part has its share; the result is durable in the same write as the terminal state. */
#include <string.h>

#include "coordinator/internal.h"
#include "coordinator/run.h"
#include "coordinator/transitions.h"
#include "model/document.h"

/* ---- class 1 ---- */

aon_result aon_commit_conflict(aon_run *run, const aon_operation *operation, const aon_error *why, aon_error *error) {
  char id[600], sentence[900];
  snprintf(id, sizeof id, "%.*s", (int)operation->id.length, operation->id.data);
  snprintf(sentence, sizeof sentence, "%s/%s/%.300s lost its change after the decision, and it could not be made again: %.400s",
           operation->collection->store, operation->collection->name, id, why->sentence);
  aon_conflict record = {.sequence = operation->sequence,
                         .store = operation->collection->store,
                         .collection = operation->collection->name,
                         .document_id = id,
                         .code = "commit_lost",
                         .sentence = sentence};
  run->conflicts++;
  return aon_journal_conflict_put(run->journal, run->id, run->epoch, &record, error);
}

/* The prepared transaction is gone without a trace: the after images go in anew, each under "equals the before image". */
static aon_result apply_again(void *context, aon_part *part, const aon_operation *operations, size_t count, aon_error *error) {
  aon_run *run = context;
  for (size_t i = 0; i < count; i++) {
    aon_write write = {.collection = operations[i].collection,
                       .id = operations[i].id,
                       .expected = operations[i].before,
                       .wanted = operations[i].after,
                       .path = operations[i].path,
                       .operation = operations[i].sequence};
    aon_branch branch = {.bulk_id = run->id, .attempt = run->attempt, .batch = 1 + (uint32_t)operations[i].sequence};
    aon_error failure = AON_ERROR_INIT;
    size_t failed = 0;
    aon_transaction *transaction;
    aon_result result = aon_store_begin(part->store, &branch, AON_MARKER_COMMIT, &transaction, &failure);
    if (result == AON_FENCED)
      continue; /* done before a crash */
    if (!result) {
      result = aon_store_apply(part->store, transaction, &write, 1, NULL, &failed, &failure);
      if (!result)
        result = aon_store_commit(part->store, transaction, &failure);
      else
        aon_store_abort(part->store, transaction);
    }
    if (result == AON_PERMANENT)
      result = aon_commit_conflict(run, &operations[i], &failure, error);
    else if (result && error)
      *error = failure;
    if (result)
      return result;
  }
  return AON_OK;
}

/* All names of that database had their share in the one transaction. */
static aon_result commit_again(aon_run *run, const aon_part *leader, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < run->part_count; i++)
    if (aon_part_leader(run, &run->parts[i]) == leader)
      result = aon_run_walk(run, 0, run->operations - 1, false, AON_CLASS_BIT(AON_CLASS_PREPARED), &run->parts[i], apply_again, run, error);
  return result;
}

static aon_result commit_prepared(aon_run *run, aon_part *part, aon_error *error) {
  aon_branch branch = aon_part_branch(run, 0);
  for (uint32_t i = 0;; i++) {
    aon_error failure = AON_ERROR_INIT;
    aon_result result = aon_store_commit_prepared(part->store, &branch, &failure);
    if (!result)
      return AON_OK;
    if (result == AON_PERMANENT || result == AON_UNKNOWN) { /* "does not exist" is not success: the marker says which */
      aon_branch_state state;
      result = aon_part_resolve(run, part, run->attempt, 0, &state, error);
      if (result)
        return result;
      if (state == AON_BRANCH_COMMITTED)
        return AON_OK;
      if (state != AON_BRANCH_PREPARED)
        return commit_again(run, part, error);
      result = AON_TRANSIENT; /* still there: it is asked again */
      failure.kind = AON_TRANSIENT;
    }
    if (!aon_result_retryable(result) || i + 1 >= AON_RETRY_TRIES) {
      if (error)
        *error = failure;
      return result;
    }
    result = aon_run_pause(run, i, AON_RETRY_LONGEST_MS, error);
    if (result)
      return result;
  }
}

static aon_result count_open(void *context, const aon_conflict *found, aon_error *error) {
  (void)error;
  *(uint64_t *)context += !found->watched;
  return AON_OK;
}

aon_result aon_run_commit_prepared(aon_run *run, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < run->part_count; i++)
    if (run->parts[i].caps->store_class == AON_CLASS_PREPARED && run->parts[i].shares_with == i)
      result = commit_prepared(run, &run->parts[i], error);
  return result;
}

aon_result aon_run_finish(aon_run *run, aon_error *error) {
  run->deaf = true;
  aon_result result = aon_run_commit_prepared(run, error);
  if (!result)
    result = aon_run_effects(run, error);
  run->conflicts = 0;
  if (!result)
    result = aon_journal_conflicts(run->journal, run->id, count_open, &run->conflicts, error);
  if (result)
    return result;
  return aon_run_conclude(run, run->conflicts ? AON_COMMIT_FAILED : AON_COMMITTED, error);
}

/* ---- the terminal arrow ---- */

typedef struct undos { /* of one bulk operation */
  const char *but;     /* this one's own state is given by the caller */
  bool under_way, failed, whole;
} undos;

static void count_undo(undos *all, const char *kind, aon_state state) {
  all->under_way = all->under_way || (!aon_state_terminal(state) && state >= AON_LOGGED);
  all->failed = all->failed || state == AON_ROLLBACK_FAILED || state == AON_COMMIT_FAILED;
  all->whole = all->whole || (state == AON_COMMITTED && strcmp(kind, "undo_part"));
}

static aon_result hear_undo(void *context, const aon_bulk *bulk, aon_error *error) {
  (void)error;
  undos *all = context;
  if (!all->but || strcmp(all->but, bulk->id))
    count_undo(all, bulk->kind, bulk->state);
  return AON_OK;
}

/* It follows from all undos of it, whichever ended last; none but one of them is ever past `logged` at a time. */
aon_result aon_undone_becomes(aon_run *run, const char *id, const char *but, aon_state but_state, const char *but_kind,
                              aon_state *ret_state, aon_error *error) {
  undos all = {.but = but};
  aon_bulk_filter filter = {.undoes = id};
  aon_result result = aon_journal_list(run->journal, &filter, hear_undo, &all, error);
  if (but)
    count_undo(&all, but_kind, but_state);
  *ret_state = all.under_way ? AON_UNDOING : all.failed ? AON_UNDO_FAILED : all.whole ? AON_UNDONE : AON_COMMITTED;
  return result;
}

/* The bulk operation that this one takes back follows it: undone, undo_failed, or committed again. What keeps it from that now is only
 * told at level debug: recovery makes it follow later. */
static void settle_undone(aon_run *run) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_bulk undone;
  aon_error failure = AON_ERROR_INIT;
  aon_state to = AON_UNDOING;
  aon_process self = run->env->ops->process_self(run->env->context);
  aon_result result = aon_journal_get(run->journal, run->undoes, &arena, &undone, &failure);
  if (!result && undone.state != AON_UNDOING && undone.state != AON_UNDO_FAILED)
    return;
  if (!result)
    result = aon_undone_becomes(run, run->undoes, run->id, run->state, run->partial_undo ? "undo_part" : "undo", &to, &failure);
  if (!result && aon_transition_find(undone.state, to)) {
    result = aon_journal_claim(run->journal, run->undoes, &self, &arena, &undone, &failure);
    static const aon_bulk_change nothing;
    if (!result)
      result = aon_journal_move(run->journal, run->undoes, undone.epoch, undone.state, to, &nothing, &failure);
  }
  if (result)
    aon_log(run->env, AON_LOG_DEBUG, "%s", failure.sentence);
}

static aon_result clear_images(aon_run *run, aon_error *error) {
  aon_result result;
  do
    result = aon_journal_clear_images(run->journal, run->id, error);
  while (!result);
  return result == AON_END ? AON_OK : result;
}

aon_result aon_run_conclude(aon_run *run, aon_state terminal, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer summary = {0}, failure = {0};
  aon_outcome *outcome = run->outcome;
  aon_result result = AON_OK;
  if (terminal == AON_REJECTED_STATE) { /* nothing of a plan with errors is kept */
    outcome->state = AON_REJECTED_STATE;
    run->operations = outcome->operations = run->reached = 0;
    result = aon_journal_discard(run->journal, run->id, run->epoch, error);
  }
  outcome->conflicts = run->conflicts;
  if (run->ending_since_ms) /* now, or it would not stand in the summary */
    outcome->timings.finish = (double)(aon_monotonic_ms(run->env) - run->ending_since_ms);
  if (!result && outcome->timings.execute > 0 && terminal == AON_COMMITTED)
    outcome->operations_per_second = (double)run->operations * 1000.0 / outcome->timings.execute;
  if (!result && !run->recovering && !run->keep_summary)
    result = aon_outcome_summary(outcome, &summary, error);
  if (!result && outcome->failure.set)
    result = aon_failure_to_json(&outcome->failure, &failure, error);
  int64_t images_until = aon_now_ms(run->env) + run->engine->config.retention_ms;
  aon_bulk_change change = {.summary = summary.data,
                            .failure = failure.data,
                            .images_until_ms = &images_until,
                            .operations = &run->operations,
                            .progress = &run->reached};
  if (!result)
    result = aon_run_move(run, terminal, &change, error);
  if (result)
    return result;
  run->has_lease = false;
  if (terminal == AON_COMMITTED)
    aon_log(run->env, AON_LOG_INFO, "Bulk upload committed: %lld operations", (long long)run->operations);
  if (run->undoes[0])
    settle_undone(run);
  bool keep =
      run->engine->config.test_mode || run->engine->config.retention_ms > 0 || terminal == AON_PLANNED || run->conflicts || run->watched;
  if (!result && !keep)
    result = clear_images(run, error);
  return result;
}
