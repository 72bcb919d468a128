/* Arrows, leases and cancelling in the register.
 *
 * Invariants: every write here names the epoch; a claim raises it; an arrow is one conditional write, which raises the generations of the
 * stores and frees locks and lease where it must; doing the same arrow again with the same epoch changes nothing and succeeds. */
#include <jansson.h>
#include <string.h>

#include "journal/postgresql_register.h"

#define CLAIM_TRIES 5 /* against others who claim and give back at the same moment */

/* ---- generations ---- */

static aon_result check_stores(const char *stores, aon_error *error) {
  if (!stores)
    return AON_OK;
  json_t *list = json_loads(stores, 0, NULL);
  bool right = json_is_array(list);
  json_decref(list);
  return right ? AON_OK : aon_fail(error, AON_USAGE, "bad_stores", "The list of a bulk operation's stores is no JSON array.");
}

aon_result aon_register_generation(void *state, const char *store, int64_t *ret_generation, aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_result result = aon_register_ask(state, &call, "reading a generation",
                                       "select generation from aon_journal_generations where store = $1", error, "t", store);
  if (!result)
    *ret_generation = aon_register_rows(&call, 0) ? aon_register_int(&call, 0, 0, 0) : 0;
  return result;
}

/* ---- arrows ---- */

#define CHANGES                                                                                                                                  \
  "changed_ms = aon_journal_now(), stores = coalesce($3, stores), summary = coalesce($4, summary), failure = nullif(coalesce($5, failure), '')," \
  " operations = coalesce($6::bigint, operations), progress = coalesce($7::bigint, progress),"                                                   \
  " hold_until_ms = coalesce($8::bigint, hold_until_ms), images_until_ms = coalesce($9::bigint, images_until_ms),"                               \
  " attempt = coalesce($10::bigint, attempt)"
#define NO_WORKER "lease_until_ms = 0, worker_boot = '', worker_pid = 0, worker_ticks = 0"

/* What an arrow says to the stores' generations; sorted, so that two arrows at once wait for each other and don't deadlock. */
#define RAISE                                                                                                                              \
  " insert into aon_journal_generations select s.name, 1 from (select distinct e->>'name' as name from moved,"                             \
  " jsonb_array_elements(moved.stores::jsonb) e where moved.stores is not null and e->>'name' is not null order by 1) s"                   \
  " on conflict (store) do update set generation = aon_journal_generations.generation + 1"

static const char update_sql[] = "update aon_journal_bulk set " CHANGES " where id = $1 and epoch = $2::bigint";
static const char update_free_sql[] = "update aon_journal_bulk set " CHANGES ", " NO_WORKER " where id = $1 and epoch = $2::bigint";
#define ARROW " where id = $1 and epoch = $2::bigint and state = $11 and logged >= $13::bigint"
static const char arrow_sql[] =
    "update aon_journal_bulk set " CHANGES ", state = $12, finished_ms = 0,"
    " lease_until_ms = case when worker_boot <> '' then aon_journal_now() + $14::bigint else lease_until_ms end" ARROW;
static const char arrow_free_sql[] = "update aon_journal_bulk set " CHANGES ", state = $12, finished_ms = 0, " NO_WORKER ARROW;
static const char arrow_executing_sql[] =
    "with moved as (update aon_journal_bulk set " CHANGES ", state = $12, finished_ms = 0,"
    " lease_until_ms = case when worker_boot <> '' then aon_journal_now() + $14::bigint else lease_until_ms end" ARROW
    " returning stores)" RAISE;
static const char arrow_end_sql[] =
    "with moved as (update aon_journal_bulk set " CHANGES ", state = $12, finished_ms = aon_journal_now(), holds = false,"
    " cancel_asked = false, " NO_WORKER ARROW " returning log, stores),"
    " wasted as (insert into aon_journal_waste select log from moved on conflict do nothing)" RAISE;
static const char renew_sql[] = "update aon_journal_bulk set lease_until_ms = aon_journal_now() + $3::bigint"
                                " where id = $1 and epoch = $2::bigint and worker_boot <> '' and state = $4";

typedef struct arrow_form {
  const char *sql, *types;
} arrow_form;
#define ARROW_TYPES "titttppppptti" /* … and the lease, where it is renewed */

static arrow_form arrow_for(aon_state to, const aon_bulk_change *change) {
  if (aon_state_terminal(to))
    return (arrow_form){arrow_end_sql, ARROW_TYPES};
  if (to == AON_EXECUTING)
    return (arrow_form){arrow_executing_sql, ARROW_TYPES "i"};
  return change->free_lease ? (arrow_form){arrow_free_sql, ARROW_TYPES} : (arrow_form){arrow_sql, ARROW_TYPES "i"};
}

static const aon_bulk_change *or_nothing(const aon_bulk_change *change) {
  static const aon_bulk_change nothing;
  return change ? change : &nothing;
}

/* Phases that leave nothing outside the journal: a server that falls would only set the bulk operation back. `executing` is durable here:
 * the server can fall without the worker, whose transactions go on. */
static bool arrow_durable(aon_state to) { return to != AON_PARSING && to != AON_VALIDATING && to != AON_PLANNING; }

aon_result aon_register_move(void *state, const char *id, int64_t epoch, aon_state from, aon_state to, const aon_bulk_change *given,
                             aon_error *error) {
  aon_register *r = state;
  const aon_bulk_change *change = or_nothing(given);
  int64_t attempt = change->attempt ? (int64_t)*change->attempt : 0;
  aon_result result = check_stores(change->stores, error);
  if (result)
    return result;
  AON_REGISTER_CALL call = {0};
  aon_register_begin(&call, arrow_durable(to));
  size_t at = call.count;
  aon_register_head_add(&call, id, true);
  if (!aon_state_terminal(to)) /* its reply was lost, or it came twice */
    aon_register_add(&call, renew_sql, "tiit", id, epoch, r->lease_ms, aon_state_name(to));
  arrow_form arrow = arrow_for(to, change);
  aon_register_add(&call, arrow.sql, arrow.types, id, epoch, change->stores, change->summary, change->failure, change->operations,
                   change->progress, change->hold_until_ms, change->images_until_ms, change->attempt ? &attempt : NULL,
                   aon_state_name(from), aon_state_name(to), r->logged_id[0] && !strcmp(r->logged_id, id) ? r->logged : (int64_t)0,
                   r->lease_ms);
  result = aon_register_run(r, &call, "recording a state", error);
  aon_register_head head;
  if (!result)
    result = aon_register_fence(r, &call, at, id, epoch, &head, error);
  if (result || head.state == to || head.state == from)
    return result;
  return aon_fail(error, AON_USAGE, "wrong_state", "Bulk operation %s is %s, not %s; it can't become %s.", id, aon_state_name(head.state),
                  aon_state_name(from), aon_state_name(to));
}

aon_result aon_register_update(void *state, const char *id, int64_t epoch, const aon_bulk_change *change, aon_error *error) {
  aon_register *r = state;
  bool durable = change->stores || change->summary || change->failure || change->attempt || change->hold_until_ms ||
                 change->images_until_ms || change->free_lease;
  int64_t attempt = change->attempt ? (int64_t)*change->attempt : 0;
  aon_result result = check_stores(change->stores, error);
  if (result)
    return result;
  AON_REGISTER_CALL call = {0};
  aon_register_begin(&call, durable);
  size_t at = call.count;
  aon_register_head_add(&call, id, true);
  aon_register_add(&call, change->free_lease ? update_free_sql : update_sql, "titttppppp", id, epoch, change->stores, change->summary,
                   change->failure, change->operations, change->progress, change->hold_until_ms, change->images_until_ms,
                   change->attempt ? &attempt : NULL);
  result = aon_register_run(r, &call, "recording what changed", error);
  aon_register_head head;
  return result ? result : aon_register_fence(r, &call, at, id, epoch, &head, error);
}

/* ---- leases ---- */

/* AON_END: somebody else changed it in between. */
static aon_result claim_once(aon_register *r, const char *id, const aon_process *worker, aon_arena *arena, aon_bulk *ret_bulk,
                             aon_error *error) {
  AON_REGISTER_CALL look = {0}, call = {0};
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  aon_bulk bulk;
  aon_result result = aon_register_ask(r, &look, "looking up a bulk operation",
                                       "select " AON_REGISTER_COLUMNS " from aon_journal_bulk b where b.id = $1", error, "t", id);
  if (!result && !aon_register_rows(&look, 0))
    result = aon_register_not_found(id, error);
  if (!result)
    result = aon_register_bulk_from(&look, 0, 0, &scratch, &bulk, error);
  if (result)
    return result;
  int64_t left_ms = bulk.lease_until_ms - aon_register_int(&look, 0, 0, AON_REGISTER_COLUMN_NOW);
  bool dead = r->env->ops->process_dead(r->env->context, &bulk.worker); /* proved for the worker of this very epoch */
  if (bulk.worker.boot_id[0] && left_ms > 0 && !dead)
    return aon_journal_held_by(id, &bulk.worker, left_ms, error);
  char token[AON_REGISTER_TOKEN + 1];
  aon_register_token(r, token);
  aon_register_begin(&call, true);
  aon_register_add(&call,
                   "update aon_journal_bulk set epoch = epoch + 1, lease_until_ms = aon_journal_now() + $3::bigint,"
                   " changed_ms = aon_journal_now(), worker_boot = $4, worker_pid = $5::bigint, worker_ticks = $6::bigint, claim_token = $7"
                   " where id = $1 and epoch = $2::bigint and (worker_boot = '' or lease_until_ms <= aon_journal_now() or $8::boolean)",
                   "tiitiito", id, bulk.epoch, r->lease_ms, worker->boot_id, worker->pid, (int64_t)worker->start_ticks, token, (int)dead);
  size_t at = call.count;
  aon_register_add(&call, "select " AON_REGISTER_COLUMNS " from aon_journal_bulk b where b.id = $1 and b.claim_token = $2", "tt", id,
                   token);
  result = aon_register_run(r, &call, "taking a lease", error);
  if (result)
    return result;
  return aon_register_rows(&call, at) ? aon_register_bulk_from(&call, at, 0, arena, ret_bulk, error) : AON_END;
}

aon_result aon_register_claim(void *state, const char *id, const aon_process *worker, aon_arena *arena, aon_bulk *ret_bulk,
                              aon_error *error) {
  aon_result result = AON_END;
  for (int i = 0; result == AON_END && i < CLAIM_TRIES; i++)
    result = claim_once(state, id, worker, arena, ret_bulk, error);
  return result == AON_END ? aon_fail(error, AON_BUSY, "busy", "Bulk operation %s is being taken by others. Try again.", id) : result;
}

aon_result aon_register_renew(void *state, const char *id, int64_t epoch, int64_t *ret_lease_until_ms, bool *ret_cancel_asked,
                              aon_error *error) {
  aon_register *r = state;
  AON_REGISTER_CALL call = {0};
  /* Durable: a server that falls and comes back must not have forgotten what the worker still counts on. */
  aon_register_begin(&call, true);
  aon_register_head_add(&call, id, true);
  aon_register_add(&call,
                   "update aon_journal_bulk set lease_until_ms = aon_journal_now() + $3::bigint where id = $1 and epoch = $2::bigint"
                   " and worker_boot <> '' returning lease_until_ms, cancel_asked",
                   "tii", id, epoch, r->lease_ms);
  aon_register_head head;
  aon_result result = aon_register_run(r, &call, "renewing a lease", error);
  if (!result)
    result = aon_register_fence(r, &call, 1, id, epoch, &head, error);
  if (result)
    return result;
  if (!aon_register_rows(&call, 2))
    return aon_fail(error, AON_FENCED, "lease_free", "Bulk operation %s has no worker any more; there is no lease to renew.", id);
  *ret_lease_until_ms = aon_register_int(&call, 2, 0, 0);
  *ret_cancel_asked = aon_register_int(&call, 2, 0, 1) != 0;
  return AON_OK;
}

aon_result aon_register_ask_cancel(void *state, const char *id, aon_error *error) {
  aon_register *r = state;
  AON_REGISTER_CALL call = {0};
  aon_register_begin(&call, true);
  aon_register_head_add(&call, id, true);
  aon_register_add(&call, "update aon_journal_bulk set cancel_asked = true where id = $1 and finished_ms = 0", "t", id);
  aon_register_head head;
  aon_result result = aon_register_run(r, &call, "asking to cancel", error);
  return result ? result : aon_register_head_read(&call, 1, id, &head, error);
}
