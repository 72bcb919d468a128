/* Arrows, leases and cancelling in the ledger.
 *
 * Invariants: every write here names the epoch; a claim raises it; an arrow is one conditional write, which raises the
 * generations of the stores and frees locks and lease where it must; doing the same arrow again with the same epoch changes
 * nothing and succeeds. */
#include <jansson.h>
#include <string.h>

#include "journal/sqlite_ledger.h"

typedef struct move_call {
  const char *id;
  int64_t epoch;
  aon_state from, to;
  bool arrow; /* false: only the change */
  const aon_bulk_change *change;
} move_call;

/* ---- generations ---- */

static aon_result raise_all(aon_ledger *ledger, const char *stores, aon_error *error) {
  json_t *list = json_loads(stores, 0, NULL);
  aon_result result =
      json_is_array(list) ? AON_OK : aon_fail(error, AON_USAGE, "bad_stores", "The list of a bulk operation's stores is no JSON array.");
  size_t index;
  json_t *store;
  json_array_foreach(list, index, store) {
    const char *name = json_string_value(json_object_get(store, "name"));
    if (result || !name)
      continue;
    result = aon_ledger_run(ledger, "insert into generations values (?, 1) on conflict do update set generation = generation + 1", error,
                            "t", name);
  }
  json_decref(list);
  return result;
}

static aon_result raise_generations(aon_ledger *ledger, int64_t number, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer stores = {0};
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result =
      aon_ledger_query(ledger, "select stores from bulk where number = ? and stores is not null", &statement, error, "i", number);
  if (!result)
    result = aon_sqlite_step(ledger->database, statement, error);
  if (result)
    return result == AON_END ? AON_OK : result;
  result = aon_buffer_text(&stores, aon_ledger_text(statement, 0), error);
  return result ? result : raise_all(ledger, stores.data, error);
}

aon_result aon_ledger_generation(void *state, const char *store, int64_t *ret_generation, aon_error *error) {
  int64_t generation = 0;
  aon_result result = aon_ledger_number(state, "select generation from generations where store = ?", &generation, error, "t", store);
  if (!result)
    *ret_generation = generation;
  return result;
}

/* ---- arrows ---- */

static aon_result renew_row(aon_ledger *ledger, int64_t number, int64_t now, aon_error *error) {
  return aon_ledger_run(ledger, "update bulk set lease_until_ms = ? where number = ? and worker_boot <> ''", error, "ii",
                        now + ledger->lease_ms, number);
}

static aon_result change_row(aon_ledger *ledger, int64_t number, const move_call *call, aon_error *error) {
  static const aon_bulk_change nothing;
  const aon_bulk_change *change = call->change ? call->change : &nothing;
  int64_t now = aon_now_ms(ledger->env), attempt = change->attempt ? (int64_t)*change->attempt : 0;
  bool ends = call->arrow && aon_state_terminal(call->to);
  aon_result result =
      aon_ledger_run(ledger,
                     "update bulk set changed_ms = ?, stores = coalesce(?, stores), summary = coalesce(?, summary),"
                     " failure = nullif(coalesce(?, failure), ''), operations = coalesce(?, operations), progress = coalesce(?, progress),"
                     " hold_until_ms = coalesce(?, hold_until_ms), images_until_ms = coalesce(?, images_until_ms),"
                     " attempt = coalesce(?, attempt) where number = ?",
                     error, "itttpppppi", now, change->stores, change->summary, change->failure, change->operations, change->progress,
                     change->hold_until_ms, change->images_until_ms, change->attempt ? &attempt : NULL, number);
  if (!result && call->arrow && !ends && !change->free_lease)
    result = renew_row(ledger, number, now, error);
  if (!result && (ends || change->free_lease))
    result =
        aon_ledger_run(ledger, "update bulk set lease_until_ms = 0, worker_boot = '', worker_pid = 0, worker_ticks = 0 where number = ?",
                       error, "i", number);
  if (!result && call->arrow)
    result = aon_ledger_run(ledger, "update bulk set state = ?, finished_ms = ? where number = ?", error, "tii", aon_state_name(call->to),
                            ends ? now : (int64_t)0, number);
  if (!result && ends)
    result = aon_ledger_run(ledger, "update bulk set holds = 0, cancel_asked = 0 where number = ?", error, "i", number);
  if (!result && (ends || (call->arrow && call->to == AON_EXECUTING)))
    result = raise_generations(ledger, number, error);
  return result;
}

static aon_result move_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  const move_call *call = arguments;
  aon_ledger_head head;
  aon_result result = aon_ledger_fence(ledger, call->id, call->epoch, &head, error);
  if (result)
    return result;
  if (call->arrow && head.state == call->to) /* its reply was lost, or it came twice */
    return aon_state_terminal(call->to) ? AON_OK : renew_row(ledger, head.number, aon_now_ms(ledger->env), error);
  if (call->arrow && head.state != call->from)
    return aon_fail(error, AON_USAGE, "wrong_state", "Bulk operation %s is %s, not %s; it can't become %s.", call->id,
                    aon_state_name(head.state), aon_state_name(call->from), aon_state_name(call->to));
  return change_row(ledger, head.number, call, error);
}

/* Arrows that a loss of power may take back. It ends every worker of this journal too, which is on the machine that lost it, and what is
 * sent after such an arrow lasts only by a later write of the journal that is durable, and this one with it: phases leave nothing outside
 * the journal; `executing` opens transactions, which are gone with their connections, and announces whatever else is sent. */
static bool arrow_durable(aon_state to) { return to != AON_PARSING && to != AON_VALIDATING && to != AON_PLANNING && to != AON_EXECUTING; }

aon_result aon_ledger_move(void *state, const char *id, int64_t epoch, aon_state from, aon_state to, const aon_bulk_change *change,
                           aon_error *error) {
  aon_ledger *ledger = state;
  move_call call = {.id = id, .epoch = epoch, .from = from, .to = to, .arrow = true, .change = change};
  aon_error failure = AON_ERROR_INIT;
  aon_result result = aon_ledger_write(ledger, arrow_durable(to), move_work, &call, &failure);
  if (aon_ledger_doubtful(result)) { /* the reply is lost: what is there now decides */
    aon_ledger_head head;
    aon_error second = AON_ERROR_INIT;
    aon_result read = aon_ledger_head_of(ledger, id, &head, &second);
    if (read)
      result = aon_fail(&failure, AON_UNKNOWN, "journal_unknown",
                        "Whether bulk operation %s became %s could not be read back from the journal: %s", id, aon_state_name(to),
                        second.sentence);
    else if (head.state == to && head.epoch == epoch)
      result = AON_OK;
  }
  if (result && error)
    *error = failure;
  return result;
}

aon_result aon_ledger_update(void *state, const char *id, int64_t epoch, const aon_bulk_change *change, aon_error *error) {
  move_call call = {.id = id, .epoch = epoch, .change = change};
  bool durable = change->stores || change->summary || change->failure || change->attempt || change->hold_until_ms ||
                 change->images_until_ms || change->free_lease;
  return aon_ledger_write(state, durable, move_work, &call, error);
}

/* ---- leases ---- */

typedef struct claim_call {
  const char *id;
  const aon_process *worker;
  aon_arena *arena;
  aon_bulk bulk; /* as it was claimed: read in the same transaction, or it could show the epoch of who claims it next */
} claim_call;

aon_result aon_ledger_claimable(aon_ledger *ledger, const aon_bulk *bulk, aon_error *error) {
  bool leased = bulk->worker.boot_id[0] && bulk->lease_until_ms > aon_now_ms(ledger->env) &&
                !ledger->env->ops->process_dead(ledger->env->context, &bulk->worker);
  return leased ? aon_journal_held_by(bulk->id, &bulk->worker, bulk->lease_until_ms - aon_now_ms(ledger->env), error) : AON_OK;
}

aon_result aon_ledger_lease(aon_ledger *ledger, const char *id, const aon_process *worker, aon_error *error) {
  int64_t now = aon_now_ms(ledger->env);
  return aon_ledger_run(
      ledger,
      "update bulk set epoch = epoch + 1, lease_until_ms = ?, changed_ms = ?, worker_boot = ?, worker_pid = ?, worker_ticks = ?"
      " where id = ?",
      error, "iitiit", now + ledger->lease_ms, now, worker->boot_id, worker->pid, (int64_t)worker->start_ticks, id);
}

static aon_result claim_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  claim_call *call = arguments;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_bulk bulk;
  aon_result result = aon_ledger_bulk(ledger, call->id, &arena, &bulk, error);
  if (!result)
    result = aon_ledger_claimable(ledger, &bulk, error);
  if (!result)
    result = aon_ledger_lease(ledger, call->id, call->worker, error);
  return result ? result : aon_ledger_bulk(ledger, call->id, call->arena, &call->bulk, error);
}

aon_result aon_ledger_claim(void *state, const char *id, const aon_process *worker, aon_arena *arena, aon_bulk *ret_bulk,
                            aon_error *error) {
  claim_call call = {.id = id, .worker = worker, .arena = arena};
  aon_result result = aon_ledger_write(state, true, claim_work, &call, error);
  if (!result)
    *ret_bulk = call.bulk;
  return result;
}

typedef struct renew_call {
  const char *id;
  int64_t epoch, until_ms;
  bool cancel_asked;
} renew_call;

static aon_result renew_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  renew_call *call = arguments;
  aon_ledger_head head;
  aon_result result = aon_ledger_fence(ledger, call->id, call->epoch, &head, error);
  if (result)
    return result;
  int64_t cancel = 0, now = aon_now_ms(ledger->env);
  call->until_ms = now + ledger->lease_ms;
  result = renew_row(ledger, head.number, now, error);
  if (!result && aon_ledger_changes(ledger) == 0)
    return aon_fail(error, AON_FENCED, "lease_free", "Bulk operation %s has no worker any more; there is no lease to renew.", call->id);
  if (!result)
    result = aon_ledger_number(ledger, "select cancel_asked from bulk where number = ?", &cancel, error, "i", head.number);
  call->cancel_asked = cancel != 0;
  return result;
}

aon_result aon_ledger_renew(void *state, const char *id, int64_t epoch, int64_t *ret_lease_until_ms, bool *ret_cancel_asked,
                            aon_error *error) {
  renew_call call = {.id = id, .epoch = epoch};
  aon_result result = aon_ledger_write(state, false, renew_work, &call, error);
  if (result)
    return result;
  *ret_lease_until_ms = call.until_ms;
  *ret_cancel_asked = call.cancel_asked;
  return AON_OK;
}

static aon_result cancel_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  const char *id = arguments;
  aon_ledger_head head;
  aon_result result = aon_ledger_head_of(ledger, id, &head, error);
  if (result || aon_state_terminal(head.state))
    return result;
  return aon_ledger_run(ledger, "update bulk set cancel_asked = 1 where number = ?", error, "i", head.number);
}

aon_result aon_ledger_ask_cancel(void *state, const char *id, aon_error *error) {
  char copy[64];
  snprintf(copy, sizeof copy, "%s", id);
  return aon_ledger_write(state, true, cancel_work, copy, error);
}
