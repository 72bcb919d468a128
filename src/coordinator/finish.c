/* After the decision: only forward; and the terminal arrow of every bulk operation.
 * Invariants: committed is said only when every part has its share; the result is durable in the same write as the terminal state. */
#include <string.h>

#include "coordinator/internal.h"
#include "coordinator/run.h"
#include "model/document.h"

/* ---- class 1 ---- */

typedef struct again {
  aon_run *run;
  aon_part *part;
  aon_transaction *transaction;
} again;

static aon_result commit_conflict(aon_run *run, const aon_operation *operation, const aon_error *why, aon_error *error) {
  char id[600], sentence[900];
  snprintf(id, sizeof id, "%.*s", (int)operation->id.length, operation->id.data);
  snprintf(sentence, sizeof sentence, "%s/%s/%.300s lost its change after the decision, and it could not be made again: %.400s", operation->collection->store,
           operation->collection->name, id, why->sentence);
  aon_conflict record = {.sequence = operation->sequence, .store = operation->collection->store, .collection = operation->collection->name,
                         .document_id = id, .code = "commit_lost", .sentence = sentence};
  run->conflicts++;
  return aon_journal_conflict_put(run->journal, run->id, run->epoch, &record, error);
}

/* The prepared transaction is gone without a trace: the after images go in anew, each under "equals the before image". */
static aon_result apply_again(void *context, aon_part *part, const aon_operation *operations, size_t count, aon_error *error) {
  again *a = context;
  for (size_t i = 0; i < count; i++) {
    aon_write write = {.collection = operations[i].collection, .id = operations[i].id, .expected = operations[i].before,
                       .wanted = operations[i].after, .path = operations[i].path, .operation = operations[i].sequence};
    aon_branch branch = {.bulk_id = a->run->id, .attempt = a->run->attempt, .batch = 1 + (uint32_t)operations[i].sequence};
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
      result = commit_conflict(a->run, &operations[i], &failure, error);
    else if (result && error)
      *error = failure;
    if (result)
      return result;
  }
  return AON_OK;
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
      if (state != AON_BRANCH_PREPARED) {
        again a = {.run = run, .part = part};
        return aon_run_walk(run, 0, run->operations - 1, false, AON_CLASS_BIT(AON_CLASS_PREPARED), part, apply_again, &a, error);
      }
    }
    if (!aon_result_retryable(result) || i + 1 >= AON_RETRY_TRIES) {
      if (error)
        *error = failure;
      return result ? result : AON_TRANSIENT;
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

aon_result aon_run_finish(aon_run *run, aon_error *error) {
  run->deaf = true;
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < run->part_count; i++)
    if (run->parts[i].caps->store_class == AON_CLASS_PREPARED && run->parts[i].shares_with == i)
      result = commit_prepared(run, &run->parts[i], error);
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

/* The bulk operation that this one takes back follows it: undone, undo_failed, or committed again. */
static aon_result settle_undone(aon_run *run, aon_error *error) {
  aon_arena arena = {0};
  aon_bulk undone;
  aon_process self = run->env->ops->process_self(run->env->context);
  aon_result result = aon_journal_get(run->journal, run->undoes, &arena, &undone, error);
  aon_state to = run->state == AON_COMMITTED && !run->partial_undo ? AON_UNDONE
                 : run->state == AON_ROLLBACK_FAILED || run->state == AON_COMMIT_FAILED ? AON_UNDO_FAILED
                                                                                        : AON_COMMITTED;
  bool follows = !result && (undone.state == AON_UNDOING || undone.state == AON_UNDO_FAILED) && undone.state != to;
  if (follows)
    result = aon_journal_claim(run->journal, run->undoes, &self, &arena, &undone, error);
  if (follows && !result) {
    aon_bulk_change change = {0};
    result = aon_journal_move(run->journal, run->undoes, undone.epoch, undone.state, to, &change, error);
  }
  aon_arena_release(&arena);
  return result;
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
  outcome->conflicts = run->conflicts;
  if (outcome->timings.execute > 0 && terminal == AON_COMMITTED)
    outcome->operations_per_second = (double)run->operations * 1000.0 / outcome->timings.execute;
  if (!run->recovering && !run->keep_summary)
    result = aon_outcome_summary(outcome, &summary, error);
  if (!result && outcome->failure.set)
    result = aon_failure_to_json(&outcome->failure, &failure, error);
  int64_t images_until = aon_now_ms(run->env) + run->engine->config.retention_ms;
  aon_bulk_change change = {.summary = summary.data, .failure = failure.data, .images_until_ms = &images_until, .operations = &run->operations,
                            .progress = &run->reached};
  if (!result)
    result = aon_run_move(run, terminal, &change, error);
  if (result)
    return result;
  run->has_lease = false;
  if (terminal == AON_COMMITTED)
    aon_log(run->env, AON_LOG_INFO, "Bulk upload committed: %lld operations", (long long)run->operations);
  if (run->undoes[0])
    result = settle_undone(run, error);
  bool keep = run->engine->config.test_mode || run->engine->config.retention_ms > 0 || terminal == AON_PLANNED || run->conflicts;
  if (!result && !keep)
    result = clear_images(run, error);
  return result;
}
