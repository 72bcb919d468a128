/* Arrows, leases, cancelling and the queue in the docket.
 *
 * Invariants: every write here names the epoch; a claim raises it; an arrow is one transaction, which raises the generations of the stores
 * and frees locks and lease where it must; doing the same arrow again with the same epoch changes nothing and succeeds; of two workers that
 * take the same one from the queue, one gets it. */
#include <jansson.h>
#include <string.h>

#include "journal/mongodb_docket.h"

#define NAP_MS 250 /* between two looks at the queue */

/* ---- generations ---- */

static aon_result check_stores(const char *stores, aon_error *error) {
  if (!stores)
    return AON_OK;
  json_t *list = json_loads(stores, 0, NULL);
  bool right = json_is_array(list);
  json_decref(list);
  return right ? AON_OK : aon_fail(error, AON_USAGE, "bad_stores", "The list of a bulk operation's stores is no JSON array.");
}

static bool named_before(json_t *list, size_t index, const char *name) {
  for (size_t i = 0; i < index; i++) {
    const char *other = json_string_value(json_object_get(json_array_get(list, i), "name"));
    if (other && !strcmp(other, name))
      return true;
  }
  return false;
}

static aon_result raise_generations(aon_docket *d, const char *stores, aon_error *error) {
  json_t *list = stores ? json_loads(stores, 0, NULL) : NULL;
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < json_array_size(list); i++) {
    const char *name = json_string_value(json_object_get(json_array_get(list, i), "name"));
    if (name && !named_before(list, i, name))
      result = aon_docket_update(d, AON_DOCKET_GENERATIONS, BCON_NEW("_id", BCON_UTF8(name)),
                                 BCON_NEW("$inc", "{", "generation", BCON_INT64(1), "}"), true, NULL, error);
  }
  json_decref(list);
  return result;
}

aon_result aon_docket_generation(void *state, const char *store, int64_t *ret_generation, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  aon_result result =
      aon_docket_find(state, AON_DOCKET_GENERATIONS, BCON_NEW("_id", BCON_UTF8(store)), NULL, &rows, "reading a generation", error);
  if (!result)
    *ret_generation = rows.count ? aon_docket_int(&rows.rows[0], "generation") : 0;
  return result;
}

/* ---- arrows ---- */

typedef struct move_call {
  const char *id;
  int64_t epoch;
  aon_state from, to;
  bool arrow;
  const aon_bulk_change *change;
} move_call;

static bson_t *changes(const aon_docket *d, const aon_bulk_change *change) {
  bson_t *set = BCON_NEW("changed_ms", BCON_INT64(d->now_ms));
  if (change->stores)
    BSON_APPEND_UTF8(set, "stores", change->stores);
  if (change->summary)
    BSON_APPEND_UTF8(set, "summary", change->summary);
  if (change->failure && *change->failure)
    BSON_APPEND_UTF8(set, "failure", change->failure);
  else if (change->failure)
    BSON_APPEND_NULL(set, "failure");
  if (change->operations)
    BSON_APPEND_INT64(set, "operations", *change->operations);
  if (change->progress)
    BSON_APPEND_INT64(set, "progress", *change->progress);
  if (change->hold_until_ms)
    BSON_APPEND_INT64(set, "hold_until_ms", *change->hold_until_ms);
  if (change->images_until_ms)
    BSON_APPEND_INT64(set, "images_until_ms", *change->images_until_ms);
  if (change->attempt)
    BSON_APPEND_INT64(set, "attempt", (int64_t)*change->attempt);
  return set;
}

static void no_worker(bson_t *set) {
  BCON_APPEND(set, "lease_until_ms", BCON_INT64(0), "worker_boot", "", "worker_pid", BCON_INT64(0), "worker_ticks", BCON_INT64(0));
}

static bson_t *arrow(const aon_docket *d, const move_call *call, bool worked_on) {
  bson_t *set = changes(d, call->change);
  bool end = aon_state_terminal(call->to);
  BSON_APPEND_UTF8(set, "state", aon_state_name(call->to));
  BSON_APPEND_INT64(set, "finished_ms", end ? d->now_ms : 0);
  if (end)
    BCON_APPEND(set, "holds", BCON_BOOL(false), "cancel_asked", BCON_BOOL(false));
  if (end || (call->change->free_lease && call->to != AON_EXECUTING))
    no_worker(set);
  else if (worked_on)
    BSON_APPEND_INT64(set, "lease_until_ms", d->now_ms + d->lease_ms);
  return set;
}

static aon_result stores_of(aon_docket *d, const char *id, const char *given, aon_arena *arena, const char **ret_stores, aon_error *error) {
  aon_bulk bulk;
  *ret_stores = given;
  aon_result result = given ? AON_OK : aon_docket_get(d, id, arena, &bulk, error);
  if (!result && !given)
    *ret_stores = bulk.stores;
  return result;
}

static aon_result go_there(aon_docket *d, const move_call *call, const aon_docket_head *head, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  const char *stores;
  bool end = aon_state_terminal(call->to);
  aon_result result = stores_of(d, call->id, call->change->stores, &arena, &stores, error);
  if (!result)
    result = aon_docket_touch(d, call->id, call->epoch, arrow(d, call, head->worked_on), NULL, error);
  if (!result && (end || call->to == AON_EXECUTING))
    result = raise_generations(d, stores, error);
  if (!result && end)
    result = aon_docket_update(d, AON_DOCKET_WASTE, BCON_NEW("_id", BCON_INT64(head->log)),
                               BCON_NEW("$set", "{", "at_ms", BCON_INT64(d->now_ms), "}"), true, NULL, error);
  return result;
}

static aon_result move_work(aon_docket *d, void *arguments, aon_error *error) {
  const move_call *call = arguments;
  aon_docket_head head;
  aon_result result = aon_docket_fence(d, call->id, call->epoch, &head, error);
  if (result)
    return result;
  if (!call->arrow) {
    bson_t *set = changes(d, call->change);
    if (call->change->free_lease)
      no_worker(set);
    return aon_docket_touch(d, call->id, call->epoch, set, NULL, error);
  }
  if (head.state == call->from && call->from != call->to)
    return go_there(d, call, &head, error);
  if (head.state != call->to)
    return aon_fail(error, AON_USAGE, "wrong_state", "Bulk operation %s is %s, not %s; it can't become %s.", call->id,
                    aon_state_name(head.state), aon_state_name(call->from), aon_state_name(call->to));
  /* Its reply was lost, or it came twice. */
  return aon_state_terminal(call->to) || !head.worked_on
             ? AON_OK
             : aon_docket_touch(d, call->id, call->epoch, BCON_NEW("lease_until_ms", BCON_INT64(d->now_ms + d->lease_ms)), NULL, error);
}

static const aon_bulk_change *or_nothing(const aon_bulk_change *change) {
  static const aon_bulk_change nothing;
  return change ? change : &nothing;
}

aon_result aon_docket_move(void *state, const char *id, int64_t epoch, aon_state from, aon_state to, const aon_bulk_change *change,
                           aon_error *error) {
  move_call call = {.id = id, .epoch = epoch, .from = from, .to = to, .arrow = true, .change = or_nothing(change)};
  aon_result result = check_stores(call.change->stores, error);
  return result ? result : aon_docket_write(state, "recording a state", move_work, &call, error);
}

aon_result aon_docket_change(void *state, const char *id, int64_t epoch, const aon_bulk_change *change, aon_error *error) {
  move_call call = {.id = id, .epoch = epoch, .change = or_nothing(change)};
  aon_result result = check_stores(call.change->stores, error);
  return result ? result : aon_docket_write(state, "recording what changed", move_work, &call, error);
}

/* ---- leases ---- */

typedef struct claim_call {
  const char *id;
  const aon_process *worker;
  bool queued; /* only while it waits in the queue: AON_END else, or if somebody works on it */
  char token[AON_DOCKET_TOKEN + 1];
  aon_arena *arena;
  aon_bulk bulk;
} claim_call;

static aon_result lease_to(aon_docket *d, claim_call *call, aon_error *error) {
  const aon_process *worker = call->worker;
  int64_t epoch = call->bulk.epoch;
  aon_result result =
      aon_docket_touch(d, call->id, epoch,
                       BCON_NEW("epoch", BCON_INT64(epoch + 1), "lease_until_ms", BCON_INT64(d->now_ms + d->lease_ms), "changed_ms",
                                BCON_INT64(d->now_ms), "worker_boot", BCON_UTF8(worker->boot_id), "worker_pid", BCON_INT64(worker->pid),
                                "worker_ticks", BCON_INT64((int64_t)worker->start_ticks), "claim_token", BCON_UTF8(call->token)),
                       NULL, error);
  return result ? result : aon_docket_get(d, call->id, call->arena, &call->bulk, error);
}

static aon_result claim_work(aon_docket *d, void *arguments, aon_error *error) {
  claim_call *call = arguments;
  AON_DOCKET_ROWS rows = {0};
  aon_result result =
      aon_docket_find(d, AON_DOCKET_BULK, BCON_NEW("_id", BCON_UTF8(call->id)), NULL, &rows, "looking up a bulk operation", error);
  if (!result && !rows.count)
    result = aon_docket_not_found(call->id, error);
  if (!result)
    result = aon_docket_bulk_from(&rows.rows[0], call->arena, &call->bulk, error);
  if (result)
    return result;
  const char *token = aon_docket_text(&rows.rows[0], "claim_token");
  if (token && !strcmp(token, call->token)) /* by a try whose reply was lost */
    return AON_OK;
  if (call->queued && (call->bulk.state != AON_QUEUED || call->bulk.hold_until_ms > d->now_ms))
    return AON_END;
  int64_t left_ms = call->bulk.lease_until_ms - d->now_ms;
  bool busy = call->bulk.worker.boot_id[0] && left_ms > 0 && !d->env->ops->process_dead(d->env->context, &call->bulk.worker);
  if (busy)
    return call->queued ? AON_END : aon_journal_held_by(call->id, &call->bulk.worker, left_ms, error);
  return lease_to(d, call, error);
}

aon_result aon_docket_claim(void *state, const char *id, const aon_process *worker, aon_arena *arena, aon_bulk *ret_bulk,
                            aon_error *error) {
  claim_call call = {.id = id, .worker = worker, .arena = arena};
  aon_docket_token(state, call.token);
  aon_result result = aon_docket_write(state, "taking a lease", claim_work, &call, error);
  if (!result)
    *ret_bulk = call.bulk;
  return result;
}

typedef struct renew_call {
  const char *id;
  int64_t epoch, until_ms;
  bool cancel;
} renew_call;

static aon_result renew_work(aon_docket *d, void *arguments, aon_error *error) {
  renew_call *call = arguments;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_docket_head head;
  aon_bulk bulk;
  aon_result result = aon_docket_fence(d, call->id, call->epoch, &head, error);
  if (!result && !head.worked_on)
    return aon_fail(error, AON_FENCED, "lease_free", "Bulk operation %s has no worker any more; there is no lease to renew.", call->id);
  call->until_ms = d->now_ms + d->lease_ms;
  if (!result)
    result = aon_docket_touch(d, call->id, call->epoch, BCON_NEW("lease_until_ms", BCON_INT64(call->until_ms)), NULL, error);
  if (!result)
    result = aon_docket_get(d, call->id, &arena, &bulk, error);
  if (!result)
    call->cancel = bulk.cancel_asked;
  return result;
}

aon_result aon_docket_renew(void *state, const char *id, int64_t epoch, int64_t *ret_lease_until_ms, bool *ret_cancel_asked,
                            aon_error *error) {
  renew_call call = {.id = id, .epoch = epoch};
  aon_result result = aon_docket_write(state, "renewing a lease", renew_work, &call, error);
  if (!result) {
    *ret_lease_until_ms = call.until_ms;
    *ret_cancel_asked = call.cancel;
  }
  return result;
}

static aon_result cancel_work(aon_docket *d, void *arguments, aon_error *error) {
  const char *id = arguments;
  aon_docket_head head;
  aon_result result = aon_docket_head_of(d, id, &head, error);
  if (result || aon_state_terminal(head.state))
    return result;
  return aon_docket_touch(d, id, head.epoch, BCON_NEW("cancel_asked", BCON_BOOL(true)), NULL, error);
}

aon_result aon_docket_ask_cancel(void *state, const char *id, aon_error *error) {
  return aon_docket_write(state, "asking to cancel", cancel_work, (void *)id, error);
}

/* ---- the queue ---- */

typedef struct take_call {
  const aon_take *what;
  int64_t age_ms, number; /* of the last one looked at */
} take_call;

static bson_t *queued_filter(const take_call *call, int64_t now_ms) {
  bson_t *filter = BCON_NEW("state", BCON_UTF8(aon_state_name(AON_QUEUED)), "hold_until_ms", "{", "$lte", BCON_INT64(now_ms), "}", "$or",
                            "[", "{", "age_ms", "{", "$gt", BCON_INT64(call->age_ms), "}", "}", "{", "age_ms", BCON_INT64(call->age_ms),
                            "number", "{", "$gt", BCON_INT64(call->number), "}", "}", "]");
  if (call->what->organization)
    BSON_APPEND_UTF8(filter, "organization", call->what->organization);
  return filter;
}

/* An idle worker writes nothing; only this process can prove a worker of its host dead. */
static bool may_be_free(aon_docket *d, const aon_docket_row *row, int64_t now_ms) {
  const char *boot = aon_docket_text(row, "worker_boot");
  aon_process worker = {.pid = aon_docket_int(row, "worker_pid"), .start_ticks = (uint64_t)aon_docket_int(row, "worker_ticks")};
  snprintf(worker.boot_id, sizeof worker.boot_id, "%s", boot ? boot : "");
  return !worker.boot_id[0] || aon_docket_int(row, "lease_until_ms") <= now_ms || d->env->ops->process_dead(d->env->context, &worker);
}

/* One page of the queue; AON_END: none of it could be had. */
static aon_result take_page(aon_docket *d, take_call *call, bool *ret_more, aon_arena *arena, aon_bulk *ret_bulk, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  int64_t now_ms;
  aon_result result = aon_docket_now(d, &now_ms, error);
  if (!result)
    result =
        aon_docket_find(d, AON_DOCKET_BULK, queued_filter(call, now_ms),
                        BCON_NEW("sort", "{", "age_ms", BCON_INT32(1), "number", BCON_INT32(1), "}", "limit", BCON_INT64(AON_DOCKET_PAGE)),
                        &rows, "looking into the queue", error);
  if (result)
    return result;
  result = AON_END;
  for (size_t i = 0; result == AON_END && i < rows.count; i++) {
    const aon_docket_row *row = &rows.rows[i];
    call->age_ms = aon_docket_int(row, "age_ms");
    call->number = aon_docket_int(row, "number");
    if (!may_be_free(d, row, now_ms))
      continue;
    claim_call claim = {.id = aon_docket_text(row, "_id"), .worker = call->what->worker, .queued = true, .arena = arena};
    aon_docket_token(d, claim.token);
    result = aon_docket_write(d, "taking one from the queue", claim_work, &claim, error);
    if (!result)
      *ret_bulk = claim.bulk;
  }
  *ret_more = rows.count == AON_DOCKET_PAGE;
  return result;
}

aon_result aon_docket_take(void *state, const aon_take *what, aon_arena *arena, aon_bulk *ret_bulk, aon_error *error) {
  take_call call = {.what = what, .age_ms = INT64_MIN, .number = INT64_MIN};
  aon_docket_head head;
  aon_result result = AON_OK;
  if (what->after) {
    result = aon_docket_head_of(state, what->after, &head, error);
    if (result)
      return result;
    call.age_ms = head.age_ms;
    call.number = head.number;
  }
  result = AON_END;
  for (bool more = true; result == AON_END && more;)
    result = take_page(state, &call, &more, arena, ret_bulk, error);
  return result;
}

/* What changes when something comes into the queue. */
static aon_result queue_mark(aon_docket *d, int64_t *ret_mark, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  int64_t now_ms, mark = 0;
  aon_result result = aon_docket_now(d, &now_ms, error);
  if (!result)
    result = aon_docket_find(
        d, AON_DOCKET_BULK, BCON_NEW("state", BCON_UTF8(aon_state_name(AON_QUEUED)), "hold_until_ms", "{", "$lte", BCON_INT64(now_ms), "}"),
        BCON_NEW("projection", "{", "number", BCON_INT32(1), "changed_ms", BCON_INT32(1), "}"), &rows, "looking into the queue", error);
  for (size_t i = 0; i < rows.count; i++)
    mark = mark * 31 + aon_docket_int(&rows.rows[i], "number") + aon_docket_int(&rows.rows[i], "changed_ms");
  *ret_mark = mark;
  return result;
}

aon_result aon_docket_wait(void *state, int64_t longest_ms, aon_error *error) {
  aon_docket *d = state;
  int64_t until_ms = aon_monotonic_ms(d->env) + longest_ms, before = 0, now = 0;
  aon_result result = queue_mark(d, &before, error);
  now = before;
  for (int64_t left = longest_ms; !result && left > 0 && now == before; left = until_ms - aon_monotonic_ms(d->env)) {
    aon_sleep_ms(d->env, left < NAP_MS ? left : NAP_MS);
    result = queue_mark(d, &now, error);
  }
  return result;
}
