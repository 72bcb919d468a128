/* Execution, in the drive order of docs/protocol.md: what can refuse goes first and hidden, what shows goes late.
 *
 *   executing   1. classes 1 and 2 in open transactions (or rehearsed)     2. classes 3, 4, 5, each batch announced first
 *   preparing   3. PREPARE in class 1    4. COMMIT in class 2, the last resource at the end: its marker is the decision
 *   committing  5. finish.c
 *
 * Invariants:
 *  - nothing is sent before `logged` is durable, nothing of classes 3 to 5 before its batch is announced;
 *  - a failure before the decision leads to `rolling_back` (or `held`), after it only forward;
 *  - while the last resource is unresolved nobody rolls back. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/internal.h"
#include "coordinator/run.h"
#include "model/document.h"

#define TRANSACTIONAL (AON_CLASS_BIT(AON_CLASS_PREPARED) | AON_CLASS_BIT(AON_CLASS_TRANSACTION))

typedef struct sending {
  aon_run *run;
  aon_write *writes;
  aon_write_state *states;
  aon_operation *kept; /* of a batch, without those that an earlier attempt applied */
  bool again;          /* the real run of a rehearsed part */
} sending;

static aon_result sending_open(sending *s, aon_run *run, aon_error *error) {
  size_t batch = run->engine->config.batch;
  *s = (sending){.run = run};
  s->writes = calloc(batch, sizeof *s->writes);
  s->states = calloc(batch, sizeof *s->states);
  s->kept = calloc(batch, sizeof *s->kept);
  return s->writes && s->states && s->kept ? AON_OK : aon_fail_memory(error);
}

static void sending_close(sending *s) {
  free(s->writes);
  free(s->states);
  free(s->kept);
}

static void end_transactions(aon_run *run, bool rehearsed_only) {
  for (size_t i = 0; i < run->part_count; i++) {
    aon_part *part = &run->parts[i];
    if (!part->transaction || (rehearsed_only && !part->rehearse))
      continue;
    aon_store_abort(part->store, part->transaction);
    part->transaction = NULL;
  }
}

void aon_parts_abort(aon_run *run) { end_transactions(run, false); }

void aon_to_writes(const aon_operation *operations, size_t count, aon_write *writes) {
  for (size_t i = 0; i < count; i++)
    writes[i] = (aon_write){.collection = operations[i].collection,
                            .id = operations[i].id,
                            .expected = operations[i].before,
                            .wanted = operations[i].after,
                            .path = operations[i].path,
                            .operation = operations[i].sequence};
}

static const aon_operation *operation_of(const aon_operation *operations, size_t count, const aon_error *failure) {
  for (size_t i = 0; i < count; i++)
    if (operations[i].sequence == failure->operation)
      return &operations[i];
  return NULL;
}

/* A failing operation is remembered with all that a person needs, whatever is done about it later. */
static aon_result report(aon_run *run, const aon_operation *operations, size_t count, size_t failed, aon_result result,
                         const aon_error *failure, aon_error *error) {
  aon_error filled = *failure;
  if (filled.operation == AON_NO_OPERATION && failed < count)
    filled.operation = operations[failed].sequence;
  const aon_operation *operation = operation_of(operations, count, &filled);
  if (operation)
    run->reached = operation->sequence;
  if (result != AON_TRANSIENT && operation)
    aon_run_fail(run, &filled, operation);
  if (error)
    *error = filled;
  return result;
}

/* ---- 1. classes 1 and 2 ---- */

static aon_result begin_parts(aon_run *run, bool rehearsed_only, aon_error *error) {
  for (size_t i = 0; i < run->part_count; i++) {
    aon_part *part = &run->parts[i];
    if (!aon_part_transactional(part) || part->shares_with != i || (rehearsed_only && !part->rehearse))
      continue;
    aon_result result = aon_run_guard(run, part, error);
    aon_branch branch = aon_part_branch(run, 0);
    if (!result)
      result = aon_store_begin(part->store, &branch, AON_MARKER_COMMIT, &part->transaction, error);
    if (result)
      return result;
  }
  return AON_OK;
}

static aon_result apply_open(void *context, aon_part *part, const aon_operation *operations, size_t count, aon_error *error) {
  sending *s = context;
  aon_part *leader = aon_part_leader(s->run, part);
  if (s->again && !leader->rehearse)
    return AON_OK;
  aon_to_writes(operations, count, s->writes);
  size_t failed = count;
  aon_error failure = AON_ERROR_INIT;
  aon_result result = aon_store_apply(leader->store, leader->transaction, s->writes, count, NULL, &failed, &failure);
  if (result)
    return report(s->run, operations, count, failed, result, &failure, error);
  if (!s->again) {
    s->run->reached = operations[count - 1].sequence + 1;
    aon_run_progress(s->run, s->run->reached, s->run->operations);
  }
  return AON_OK;
}

typedef struct flushing {
  aon_part *parts[AON_PARTS_LIMIT];
  aon_result results[AON_PARTS_LIMIT];
  aon_error failures[AON_PARTS_LIMIT];
  size_t count;
} flushing;

static void flush_part(void *argument, size_t index) {
  flushing *f = argument;
  f->results[index] = aon_store_flush(f->parts[index]->store, f->parts[index]->transaction, &f->failures[index]);
}

/* Stores whose calls may come from any thread are flushed side by side: it is where most of what was written goes to the disk. */
static void flush_all(aon_run *run, flushing *f) {
  bool together = true;
  for (size_t i = 0; i < f->count; i++) {
    f->failures[i] = (aon_error)AON_ERROR_INIT;
    together = together && f->parts[i]->caps->any_thread;
  }
  if (together)
    aon_run_together(run->env, flush_part, f, f->count);
  for (size_t i = 0; !together && i < f->count; i++)
    flush_part(f, i);
}

static aon_result flush_parts(aon_run *run, bool rehearsed_only, aon_error *error) {
  flushing f = {.count = 0};
  for (size_t i = 0; i < run->part_count; i++)
    if (run->parts[i].transaction && (run->parts[i].rehearse || !rehearsed_only))
      f.parts[f.count++] = &run->parts[i];
  flush_all(run, &f);
  for (size_t i = 0; i < f.count; i++) {
    aon_part *part = f.parts[i];
    if (f.results[i]) {
      if (error)
        *error = f.failures[i];
      return f.results[i];
    }
    if (part->rehearse && !rehearsed_only) {
      aon_store_abort(part->store, part->transaction);
      part->transaction = NULL;
    }
  }
  return AON_OK;
}

static aon_result apply_side_by_side(aon_run *run, int64_t last, aon_error *error) {
  aon_lanes *lanes;
  const aon_operation *at_fault = NULL;
  aon_error failure = AON_ERROR_INIT;
  aon_result result = aon_lanes_open(run, last, &lanes, error);
  if (result)
    return result;
  result = aon_lanes_apply(lanes, &at_fault, &failure);
  if (result)
    result = report(run, at_fault, at_fault ? 1 : 0, at_fault ? 0 : 1, result, &failure, error);
  else if (last >= 0)
    run->reached = last + 1;
  aon_lanes_close(lanes);
  return result;
}

static bool any_rehearsed(const aon_run *run) {
  for (size_t i = 0; i < run->part_count; i++)
    if (run->parts[i].rehearse && aon_part_transactional(&run->parts[i]))
      return true;
  return false;
}

static aon_result transactions_once(aon_run *run, sending *s, int64_t last, bool again, aon_error *error) {
  s->again = again;
  aon_result result = begin_parts(run, again, error);
  if (!result && !again && aon_lanes_possible(run))
    result = apply_side_by_side(run, last, error);
  else if (!result)
    result = aon_run_walk(run, 0, last, false, TRANSACTIONAL, NULL, apply_open, s, error);
  if (!result)
    result = flush_parts(run, again, error);
  return result;
}

/* Transient failures (proven not applied) end the transactions and are tried again, a bounded number of times. */
static aon_result transactions(aon_run *run, sending *s, int64_t last, bool again, aon_error *error) {
  for (uint32_t i = 0;; i++) {
    aon_error failure = AON_ERROR_INIT;
    aon_result result = transactions_once(run, s, last, again, &failure);
    if (!result)
      return AON_OK;
    if (!aon_result_retryable(result) || i + 1 >= AON_RETRY_TRIES) {
      if (error)
        *error = failure;
      return result;
    }
    end_transactions(run, again); /* those that were not rehearsed stand as they are */
    result = aon_run_pause(run, i, AON_RETRY_LONGEST_MS, error);
    if (result)
      return result;
  }
}

/* ---- 2. classes 3, 4 and 5 ---- */

static aon_result announce(aon_run *run, const aon_part *part, uint32_t batch, const aon_operation *operations, size_t count,
                           aon_batch_status status, bool unanswered, aon_error *error) {
  aon_batch record = {.store = part->name,
                      .attempt = run->attempt,
                      .batch = batch,
                      .first = operations[0].sequence,
                      .last = operations[count - 1].sequence,
                      .status = status,
                      .unanswered = unanswered};
  return aon_journal_batch(run->journal, run->id, run->epoch, &record, error);
}

static aon_result send_atomic(aon_run *run, aon_part *part, uint32_t batch, const aon_write *writes, size_t count, size_t *ret_failed,
                              aon_error *error) {
  aon_branch branch = aon_part_branch(run, batch);
  aon_transaction *transaction;
  aon_result result = aon_store_begin(part->store, &branch, AON_MARKER_COMMIT, &transaction, error);
  if (result)
    return result;
  result = aon_store_apply(part->store, transaction, writes, count, NULL, ret_failed, error);
  if (result) {
    aon_store_abort(part->store, transaction);
    return result;
  }
  return aon_store_commit(part->store, transaction, error);
}

/* Class 3. A lost reply is resolved by the marker: what it says is the truth. While nobody can read it the batch may be in: it stays
 * announced, and is not sent again. */
static aon_result batch_atomic(sending *s, aon_part *part, const aon_operation *operations, size_t count, aon_error *error) {
  aon_run *run = s->run;
  for (uint32_t i = 0;; i++) {
    uint32_t batch = aon_part_take_batch(run, part);
    size_t failed = count;
    aon_error failure = AON_ERROR_INIT;
    aon_result result = announce(run, part, batch, operations, count, AON_BATCH_ANNOUNCED, false, error);
    if (!result)
      result = aon_run_guard(run, part, error);
    if (result)
      return result;
    result = send_atomic(run, part, batch, s->writes, count, &failed, &failure);
    if (result == AON_UNKNOWN) {
      aon_branch_state state;
      result = aon_part_resolve(run, part, run->attempt, batch, &state, &failure);
      if (result)
        return report(run, operations, count, failed, result, &failure, error);
      if (state != AON_BRANCH_COMMITTED)
        result = aon_fail(&failure, AON_TRANSIENT, "lost_reply", "%s lost a reply and had not applied the batch.", part->name);
    }
    if (!result)
      return announce(run, part, batch, operations, count, AON_BATCH_APPLIED, false, error);
    if (!aon_result_retryable(result) || i + 1 >= AON_RETRY_TRIES)
      return report(run, operations, count, failed, result, &failure, error);
    result = announce(run, part, batch, operations, count, AON_BATCH_REFUSED, false, error);
    if (!result)
      result = aon_run_pause(run, i, AON_RETRY_LONGEST_MS, error);
    if (result)
      return result;
  }
}

/* By this very write, whose store goes on with it when it is sent again. */
static bool is_begun(const aon_image *now, const aon_write *write) {
  char id[37], ours[37];
  bool begun, whole;
  return aon_image_stamped(now, id, &begun) && begun && aon_image_stamped(&write->wanted, ours, &whole) && !strcmp(id, ours);
}

/* Did a write whose reply was lost, or that was refused on its second sending, take effect after all? */
static aon_result look(const aon_part *part, const aon_write *write, aon_write_state *state, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_image now;
  const aon_shape *shape;
  aon_result result = aon_store_read(part->store, write->collection, &write->id, 1, &arena, &now, error);
  if (!result)
    result = aon_store_describe(part->store, write->collection, &shape, error);
  if (result)
    return result;
  if (aon_image_same(&now, &write->wanted, write->collection->volatiles, shape->volatiles))
    *state = AON_WRITE_APPLIED;
  else if (aon_image_same(&now, &write->expected, write->collection->volatiles, shape->volatiles) || is_begun(&now, write))
    *state = AON_WRITE_NOT_SENT;
  else
    return aon_fail(error, AON_PERMANENT, "changed_meanwhile", "%s/%s/%.*s was changed by somebody else meanwhile.", part->name,
                    write->collection->name, (int)write->id.length, write->id.data);
  return AON_OK;
}

/* Sends one write again. A write in doubt is looked at: before in class 5, which has no condition, after a refusal in class 4. */
static aon_result send_again(aon_part *part, const aon_write *write, bool doubtful, aon_write_state *state, aon_error *error) {
  size_t failed = 0;
  if (doubtful && part->caps->store_class == AON_CLASS_PLAIN) {
    aon_result result = look(part, write, state, error);
    if (result || *state == AON_WRITE_APPLIED)
      return result;
  }
  aon_error refusal = AON_ERROR_INIT;
  aon_result result = aon_store_apply(part->store, NULL, write, 1, state, &failed, &refusal);
  if (result == AON_PERMANENT && doubtful) {
    aon_result seen = look(part, write, state, error);
    if (seen || *state == AON_WRITE_APPLIED)
      return seen;
    *state = AON_WRITE_REFUSED; /* it is as before, and the refusal stands */
  }
  if (result && error)
    *error = refusal;
  return result;
}

/* Sends what is still to be sent of a batch, a round. */
static aon_result round_of(aon_part *part, sending *s, size_t count, const bool *doubtful, size_t *ret_failed, aon_error *error) {
  for (size_t i = 0; i < count; i++) {
    if (s->states[i] == AON_WRITE_APPLIED)
      continue;
    aon_result result = aon_run_guard(s->run, part, error); /* each may take as long as a request may */
    if (!result)
      result = send_again(part, &s->writes[i], doubtful[i], &s->states[i], error);
    if (result) {
      *ret_failed = i;
      return result;
    }
  }
  return AON_OK;
}

/* What became of a batch that failed. Where every answer is known nobody need look at what was not applied: what a store refused because
 * somebody else wrote it is not ours to put back. A store that sends many at once may have applied some behind the one that it refused, so
 * each run of applied writes gets a record; the last of them takes the batch's own, until when all of it counts as announced. */
static aon_result note_failed(const sending *s, aon_part *part, uint32_t batch, const aon_operation *operations, size_t count,
                              bool unanswered, aon_error *error) {
  bool known = !unanswered, any = false;
  for (size_t i = 0; i < count; i++) {
    known = known && s->states[i] != AON_WRITE_UNKNOWN;
    any = any || s->states[i] == AON_WRITE_APPLIED;
  }
  if (!known || !any)
    return announce(s->run, part, batch, operations, count, known ? AON_BATCH_REFUSED : AON_BATCH_ANNOUNCED, unanswered, error);
  aon_result result = AON_OK;
  for (size_t from = 0, to; !result && from < count; from = to) {
    for (to = from; to < count && s->states[to] == AON_WRITE_APPLIED; to++)
      any = false;
    if (to > from) {
      for (size_t i = to; i < count; i++)
        any = any || s->states[i] == AON_WRITE_APPLIED;
      result = announce(s->run, part, any ? aon_part_take_batch(s->run, part) : batch, operations + from, to - from, AON_BATCH_APPLIED,
                        false, error);
    }
    to += to < count;
  }
  return result;
}

/* Classes 4 and 5: conditional or plain writes; a lost reply is sent again under the same condition. */
static aon_result batch_single(sending *s, aon_part *part, const aon_operation *operations, size_t count, aon_error *error) {
  aon_run *run = s->run;
  uint32_t batch = aon_part_take_batch(run, part);
  bool *doubtful = calloc(count, sizeof *doubtful);
  if (!doubtful)
    return aon_fail_memory(error);
  size_t failed = count;
  aon_error failure = AON_ERROR_INIT;
  aon_result result = announce(run, part, batch, operations, count, AON_BATCH_ANNOUNCED, false, error);
  if (result) {
    free(doubtful);
    return result;
  }
  memset(s->states, 0, count * sizeof *s->states);
  bool unanswered = false;                     /* also where a later sending was answered: the first one may still be on its way */
  result = aon_run_guard(run, part, &failure); /* where it fails nothing was sent, and the journal is told so below */
  if (!result)
    result = aon_store_apply(part->store, NULL, s->writes, count, s->states, &failed, &failure);
  for (uint32_t i = 0;; i++) {
    for (size_t j = 0; j < count; j++) {
      doubtful[j] = doubtful[j] || s->states[j] == AON_WRITE_UNKNOWN;
      unanswered = unanswered || doubtful[j];
    }
    if ((result != AON_UNKNOWN && result != AON_TRANSIENT) || i == AON_RETRY_TRIES)
      break;
    result = aon_run_pause(run, i, AON_RETRY_LONGEST_MS, &failure);
    if (!result)
      result = round_of(part, s, count, doubtful, &failed, &failure);
  }
  free(doubtful);
  if (result) {
    aon_error ignored = AON_ERROR_INIT; /* the first failure is the one to tell; recovery treats an announced batch as doubtful anyway */
    if (note_failed(s, part, batch, operations, count, unanswered, &ignored))
      aon_log(run->env, AON_LOG_DEBUG, "the journal did not take the state of a batch: %s", ignored.sentence);
    return report(run, operations, count, failed, result, &failure, error);
  }
  return announce(run, part, batch, operations, count, AON_BATCH_APPLIED, unanswered, error);
}

/* Leaves out what an earlier attempt or worker has applied; what it announced without an end is looked at, one by one. */
static aon_result still_to_send(sending *s, const aon_part *part, const aon_operation *operations, size_t count, size_t *ret_count,
                                aon_error *error) {
  *ret_count = 0;
  for (size_t i = 0; i < count; i++) {
    aon_write_state state = AON_WRITE_NOT_SENT;
    if (operations[i].sequence < part->applied_below)
      continue;
    if (operations[i].sequence < part->doubtful_below) {
      aon_write write;
      aon_error failure = AON_ERROR_INIT;
      aon_to_writes(&operations[i], 1, &write);
      aon_result result = look(part, &write, &state, &failure);
      if (result)
        return report(s->run, operations, count, i, result, &failure, error);
    }
    if (state != AON_WRITE_APPLIED)
      s->kept[(*ret_count)++] = operations[i];
  }
  return AON_OK;
}

static aon_result send_batch(void *context, aon_part *part, const aon_operation *operations, size_t count, aon_error *error) {
  sending *s = context;
  if (!part->caps->can_undo && s->run->state != AON_COMMITTING)
    return AON_OK; /* what can't be taken back waits for the decision */
  size_t left = count;
  if (operations[0].sequence < part->applied_below || operations[0].sequence < part->doubtful_below) {
    aon_result result = still_to_send(s, part, operations, count, &left, error);
    if (result || !left)
      return result;
    operations = s->kept;
    count = left;
  }
  aon_to_writes(operations, count, s->writes);
  aon_result result = part->caps->store_class == AON_CLASS_BATCH ? batch_atomic(s, part, operations, count, error)
                                                                 : batch_single(s, part, operations, count, error);
  if (!result)
    aon_run_progress(s->run, operations[count - 1].sequence + 1, s->run->operations);
  return result;
}

static aon_result visible_classes(aon_run *run, sending *s, int64_t last, aon_error *error) {
  for (int class = AON_CLASS_BATCH; class <= AON_CLASS_PLAIN; class ++) {
    aon_result result = aon_run_walk(run, 0, last, false, AON_CLASS_BIT(class), NULL, send_batch, s, error);
    if (result)
      return result;
  }
  return AON_OK;
}

/* ---- 3 and 4. prepare, and commit class 2 ---- */

aon_result aon_part_resolve(aon_run *run, aon_part *part, uint32_t attempt, uint32_t batch, aon_branch_state *ret_state, aon_error *error) {
  aon_branch branch = {.bulk_id = run->id, .attempt = attempt, .batch = batch};
  for (uint32_t i = 0;; i++) {
    aon_result result = aon_store_resolve(part->store, &branch, ret_state, error);
    if (result && !aon_result_retryable(result))
      return result;
    if (!result && *ret_state != AON_BRANCH_OPEN)
      return AON_OK;
    if (i + 1 >= AON_RETRY_TRIES)
      return result ? result
                    : aon_fail(error, AON_TRANSIENT, "still_open",
                               "A transaction of bulk operation %s is still open in %s; nobody can tell yet whether it commits.", run->id,
                               part->name);
    result = aon_run_pause(run, i, AON_RETRY_LONGEST_MS, error);
    if (result)
      return result;
  }
}

static aon_result commit_part(aon_run *run, aon_part *part, aon_error *error) {
  aon_result result = aon_run_guard(run, part, error);
  if (result)
    return result;
  aon_transaction *transaction = part->transaction;
  part->transaction = NULL;
  part->committed = true; /* asked for: from here on only the marker knows */
  aon_error failure = AON_ERROR_INIT;
  result = aon_store_commit(part->store, transaction, &failure);
  if (result == AON_UNKNOWN) {
    aon_branch_state state;
    result = aon_part_resolve(run, part, run->attempt, 0, &state, &failure);
    if (!result && state != AON_BRANCH_COMMITTED)
      result = aon_fail(&failure, AON_PERMANENT, "commit_lost", "%s lost the connection at its commit and did not commit.", part->name);
  }
  if (result && error)
    *error = failure;
  return result;
}

static aon_result prepare_part(aon_run *run, aon_part *part, aon_error *error) {
  aon_transaction *transaction = part->transaction;
  part->transaction = NULL;
  part->prepared = true; /* asked for: from here on only the catalogue knows */
  aon_result result = aon_store_prepare(part->store, transaction, error);
  if (result != AON_UNKNOWN)
    return result;
  aon_branch_state state;
  result = aon_part_resolve(run, part, run->attempt, 0, &state, error);
  if (result || state == AON_BRANCH_PREPARED)
    return result;
  return aon_fail(error, AON_PERMANENT, "prepare_lost", "%s lost the connection while it prepared and did not prepare.", part->name);
}

static aon_result prepare_parts(aon_run *run, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < run->part_count; i++) {
    aon_part *part = &run->parts[i];
    if (part->caps->store_class != AON_CLASS_PREPARED || part->shares_with != i)
      continue;
    result = aon_run_guard(run, part, error);
    if (!result)
      result = prepare_part(run, part, error);
  }
  return result;
}

static aon_result commit_parts(aon_run *run, aon_error *error) {
  aon_part *last = NULL;
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < run->part_count; i++) {
    aon_part *part = &run->parts[i];
    if (part->caps->store_class != AON_CLASS_TRANSACTION || part->shares_with != i)
      continue;
    if (part->last_resource)
      last = part;
    else
      result = commit_part(run, part, error);
  }
  return !result && last ? commit_part(run, last, error) : result;
}

/* ---- failure before the decision ---- */

/* Has the last resource committed in spite of the failure? Then the decision is made and it goes forward. */
static aon_result decided(aon_run *run, bool *ret_decided, aon_error *error) {
  *ret_decided = false;
  for (size_t i = 0; i < run->part_count; i++) {
    aon_part *part = &run->parts[i];
    if (!part->last_resource || !(part->committed || run->recovering))
      continue;
    aon_branch_state state;
    aon_result result = aon_part_resolve(run, part, run->attempt, 0, &state, error);
    if (result)
      return result;
    *ret_decided = state == AON_BRANCH_COMMITTED;
  }
  return AON_OK;
}

static aon_result hold(aon_run *run, aon_error *error) {
  int64_t until = aon_now_ms(run->env) + run->engine->config.hold_until_ms;
  AON_BUFFER_CLEANUP aon_buffer failure = {0};
  aon_result result = aon_failure_to_json(&run->outcome->failure, &failure, error);
  aon_bulk_change change = {.hold_until_ms = &until, .free_lease = true, .failure = failure.data, .progress = &run->reached};
  if (!result)
    result = aon_run_move(run, AON_HELD, &change, error);
  run->has_lease = false;
  aon_log(run->env, AON_LOG_INFO, "Bulk upload is on hold; its documents stay locked");
  return result;
}

/* The first failure is told with its operation, wherever it was met. */
static void note_failure(aon_run *run, const aon_error *why) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_operation operation;
  aon_error ignored = AON_ERROR_INIT;
  bool known = !run->outcome->failure.set && why->operation >= 0 && !aon_run_operation(run, why->operation, &arena, &operation, &ignored);
  aon_run_fail(run, why, known ? &operation : NULL);
}

static aon_result go_back(aon_run *run, const aon_error *why, aon_error *error) {
  run->deaf = true;
  note_failure(run, why);
  if (run->outcome->failure.operation >= 0)
    aon_log(run->env, AON_LOG_ERROR, "Operation %lld failed: %s", (long long)run->outcome->failure.operation,
            run->outcome->failure.message);
  else
    aon_log(run->env, AON_LOG_ERROR, "%s", run->outcome->failure.message);
  aon_result result;
  if (run->state == AON_PREPARING) {
    bool committed;
    result = decided(run, &committed, error);
    if (result)
      return result;
    if (committed) {
      result = aon_run_move(run, AON_COMMITTING, NULL, error);
      return result ? result : aon_run_finish(run, error);
    }
  }
  bool wait = run->options && run->options->hold_on_failure && run->state == AON_EXECUTING && why->kind != AON_CANCELLED;
  if (wait) {
    aon_parts_abort(run); /* no lock of a database waits for a person */
    return hold(run, error);
  }
  AON_BUFFER_CLEANUP aon_buffer failure = {0};
  result = aon_failure_to_json(&run->outcome->failure, &failure, error);
  aon_bulk_change change = {.failure = failure.data, .progress = &run->reached};
  if (!result)
    result = aon_run_move(run, AON_ROLLING_BACK, &change, error);
  if (!result)
    result = aon_run_rollback(run, error);
  return result;
}

static aon_result forced(aon_run *run, aon_error *error) {
  aon_result result = aon_fail(error, AON_PERMANENT, "forced_failure", "[TEST] Forced failure");
  error->operation = run->fail_at;
  run->reached = run->fail_at;
  return result;
}

/* The last moment at which a person's wish to cancel can be heard: leases are renewed far less often than a short run takes. */
static aon_result hear_cancel(aon_run *run, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_bulk bulk;
  aon_result result = aon_run_tick(run, error);
  if (!result && !run->deaf)
    result = aon_journal_get(run->journal, run->id, &arena, &bulk, error);
  if (!result && !run->deaf && bulk.cancel_asked)
    result = aon_fail(error, AON_CANCELLED, "cancelled", "It was cancelled by a person.");
  return result;
}

/* Everything up to the decision. */
static aon_result drive(aon_run *run, sending *s, aon_error *error) {
  bool failing = run->fail_at >= 0 && run->fail_at < run->operations;
  int64_t last = failing ? run->fail_at - 1 : run->operations - 1;
  aon_result result = transactions(run, s, last, false, error);
  if (!result)
    result = visible_classes(run, s, last, error);
  if (!result && failing)
    result = forced(run, error);
  if (!result)
    result = hear_cancel(run, error);
  if (!result)
    result = aon_run_move(run, AON_PREPARING, NULL, error);
  if (!result && any_rehearsed(run))
    result = transactions(run, s, last, true, error);
  if (!result)
    result = prepare_parts(run, error);
  return result ? result : commit_parts(run, error);
}

static void warn_unreached(aon_run *run) {
  const aon_engine_config *config = &run->engine->config;
  bool wanted = config->test_rollback_at >= 0 || config->test_user_index >= 0 || config->test_dept_index >= 0 ||
                config->test_site_index >= 0 || config->test_schedule_index >= 0;
  if (wanted && run->fail_at < 0)
    aon_log(run->env, AON_LOG_WARNING, "The forced failure lies beyond the last of %lld operations: nothing fails.",
            (long long)run->operations);
}

static double milliseconds_since(aon_run *run, int64_t from_ms) { return (double)(aon_monotonic_ms(run->env) - from_ms); }

aon_result aon_run_execute(aon_run *run, aon_error *error) {
  sending s;
  aon_result result = sending_open(&s, run, error);
  if (result) {
    sending_close(&s);
    return result;
  }
  aon_log(run->env, AON_LOG_INFO, "Executing %lld operations atomically...", (long long)run->operations);
  warn_unreached(run);
  int64_t started = aon_monotonic_ms(run->env);
  aon_error failure = AON_ERROR_INIT;
  if (run->state != AON_EXECUTING)
    result = aon_run_move(run, AON_EXECUTING, NULL, error);
  if (result) {
    sending_close(&s);
    return result;
  }
  result = drive(run, &s, &failure);
  sending_close(&s);
  run->outcome->timings.execute = milliseconds_since(run, started);
  if (result == AON_FENCED) { /* another worker has taken over: it recovers, this one only stops */
    aon_parts_abort(run);
    if (error)
      *error = failure;
    return result;
  }
  run->ending_since_ms = aon_monotonic_ms(run->env);
  if (result)
    result = go_back(run, &failure, error);
  else
    result = aon_run_move(run, AON_COMMITTING, NULL, error);
  if (!result && run->state == AON_COMMITTING)
    result = aon_run_finish(run, error);
  return result;
}

/* After the decision one by one: what a store refuses for good is named, and the others still go out. */
static aon_result send_effect(void *context, aon_part *part, const aon_operation *operations, size_t count, aon_error *error) {
  sending *s = context;
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < count && !part->caps->can_undo; i++) {
    aon_error failure = AON_ERROR_INIT;
    result = send_batch(s, part, &operations[i], 1, &failure);
    if (result == AON_PERMANENT || result == AON_REJECTED)
      result = aon_commit_conflict(s->run, &operations[i], &failure, error);
    else if (result && error)
      *error = failure;
  }
  return result;
}

/* What a delete has set aside goes for good. Nothing is announced: it may be repeated, and touches only what is set aside. */
static aon_result finish_delete(void *context, aon_part *part, const aon_operation *operations, size_t count, aon_error *error) {
  sending *s = context;
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < count; i++) {
    if (operations[i].kind != AON_DELETE)
      continue;
    aon_error failure = AON_ERROR_INIT;
    for (uint32_t tries = 0;; tries++) {
      size_t failed = 0;
      aon_to_writes(&operations[i], 1, s->writes);
      s->writes->finishes = true;
      result = aon_run_guard(s->run, part, &failure);
      if (!result)
        result = aon_store_apply(part->store, NULL, s->writes, 1, s->states, &failed, &failure);
      if ((result != AON_UNKNOWN && !aon_result_retryable(result)) || tries + 1 >= AON_RETRY_TRIES)
        break;
      result = aon_run_pause(s->run, tries, AON_RETRY_LONGEST_MS, error);
      if (result)
        return result;
    }
    if (result == AON_PERMANENT)
      result = aon_commit_conflict(s->run, &operations[i], &failure, error);
    else if (result && error)
      *error = failure;
  }
  return result;
}

static aon_result finish_deletes(sending *s, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < s->run->part_count; i++) {
    aon_part *part = &s->run->parts[i];
    if (part->caps->finishes)
      result =
          aon_run_walk(s->run, 0, s->run->operations - 1, false, AON_CLASS_BIT(part->caps->store_class), part, finish_delete, s, error);
  }
  return result;
}

aon_result aon_run_effects(aon_run *run, aon_error *error) {
  bool any = false;
  for (size_t i = 0; i < run->part_count; i++)
    any = any || !run->parts[i].caps->can_undo || run->parts[i].caps->finishes;
  if (!any)
    return AON_OK;
  sending s;
  aon_result result = sending_open(&s, run, error);
  unsigned slow = AON_CLASS_BIT(AON_CLASS_BATCH) | AON_CLASS_BIT(AON_CLASS_CONDITIONAL) | AON_CLASS_BIT(AON_CLASS_PLAIN);
  if (!result)
    result = aon_run_note_batches(run, error);
  if (!result)
    result = aon_run_walk(run, 0, run->operations - 1, false, slow, NULL, send_effect, &s, error);
  if (!result)
    result = finish_deletes(&s, error);
  sending_close(&s);
  return result;
}
