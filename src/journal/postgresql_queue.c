/* The queue in the register: who takes the next one, and how workers wait.
 * Invariant: taking is one write that finds and leases (for update skip locked); two workers never get the same one in the same epoch. */
#include <string.h>

#include "journal/postgresql_register.h"

#define NAP_MS 250   /* between two looks at the queue */
#define TAKE_TRIES 5 /* against others who take what was seen */

typedef struct take_call {
  aon_register *r;
  const aon_take *what;
  int64_t after_age, after_number;
  aon_buffer dead; /* text[] of NUMBER:EPOCH whose worker is proved dead */
  size_t dead_count;
  bool any; /* there may be one to take */
} take_call;

static aon_result add_dead(take_call *call, int64_t number, int64_t epoch, aon_error *error) {
  char pair[48];
  int length = snprintf(pair, sizeof pair, "%lld:%lld", (long long)number, (long long)epoch);
  call->dead_count++;
  return aon_postgresql_texts_add(&call->dead, pair, (size_t)length, error);
}

/* One page of what is queued: an idle worker writes nothing, and only this process can prove a worker of its host dead. */
static aon_result look_page(take_call *call, int64_t *age, int64_t *number, bool *ret_more, aon_error *error) {
  AON_REGISTER_CALL ask = {0};
  aon_result result = aon_register_ask(
      call->r, &ask, "looking into the queue",
      "select age_ms, number, epoch, lease_until_ms > aon_journal_now(), worker_boot, worker_pid, worker_ticks from aon_journal_bulk"
      " where state = 'queued' and (age_ms, number) > ($1, $2) and hold_until_ms <= aon_journal_now() and ($3::text is null or organization = $3)"
      " order by age_ms, number limit $4",
      error, "iiti", *age, *number, call->what->organization, (int64_t)AON_REGISTER_PAGE);
  int rows = result ? 0 : aon_register_rows(&ask, 0);
  for (int row = 0; !result && row < rows; row++) {
    *age = aon_register_int(&ask, 0, row, 0);
    *number = aon_register_int(&ask, 0, row, 1);
    aon_process worker = {.pid = aon_register_int(&ask, 0, row, 5), .start_ticks = (uint64_t)aon_register_int(&ask, 0, row, 6)};
    snprintf(worker.boot_id, sizeof worker.boot_id, "%s", aon_register_text(&ask, 0, row, 4));
    if (!worker.boot_id[0] || !aon_register_int(&ask, 0, row, 3)) {
      call->any = true;
    } else if (call->r->env->ops->process_dead(call->r->env->context, &worker)) {
      call->any = true;
      result = add_dead(call, *number, aon_register_int(&ask, 0, row, 2), error);
    }
  }
  *ret_more = rows == AON_REGISTER_PAGE;
  return result;
}

static aon_result look(take_call *call, aon_error *error) {
  int64_t age = call->after_age, number = call->after_number;
  aon_buffer_clear(&call->dead);
  call->dead_count = 0;
  call->any = false;
  aon_result result = aon_postgresql_texts_start(&call->dead, error);
  for (bool more = true; !result && more && !call->any;)
    result = look_page(call, &age, &number, &more, error);
  if (!result)
    aon_postgresql_texts_end(&call->dead, call->dead_count);
  return result;
}

/* AON_END: others took what was seen. A try before whose reply was lost has taken its own one, by which it is known. */
static aon_result take_once(take_call *call, aon_arena *arena, aon_bulk *ret_bulk, aon_error *error) {
  AON_REGISTER_CALL out = {0};
  const aon_process *worker = call->what->worker;
  char token[AON_REGISTER_TOKEN + 1];
  aon_register_token(call->r, token);
  aon_register_begin(&out, true);
  aon_register_add(
      &out,
      "update aon_journal_bulk set epoch = epoch + 1, lease_until_ms = aon_journal_now() + $1::bigint, changed_ms = aon_journal_now(),"
      " worker_boot = $2, worker_pid = $3::bigint, worker_ticks = $4::bigint, claim_token = $5 where number = (select number"
      " from aon_journal_bulk where state = 'queued' and (age_ms, number) > ($6::bigint, $7::bigint)"
      " and hold_until_ms <= aon_journal_now() and ($8::text is null or organization = $8)"
      " and (worker_boot = '' or lease_until_ms <= aon_journal_now() or number || ':' || epoch = any ($9::text[]))"
      " and not exists (select from aon_journal_bulk t where t.state = 'queued' and t.claim_token = $5)"
      " order by age_ms, number limit 1 for update skip locked)",
      "itiitiitb", call->r->lease_ms, worker->boot_id, worker->pid, (int64_t)worker->start_ticks, token, call->after_age,
      call->after_number, call->what->organization, call->dead.data, call->dead.length);
  aon_register_add(&out, "select " AON_REGISTER_COLUMNS " from aon_journal_bulk b where b.state = 'queued' and b.claim_token = $1", "t",
                   token);
  aon_result result = aon_register_run(call->r, &out, "taking one from the queue", error);
  if (result)
    return result;
  return aon_register_rows(&out, 2) ? aon_register_bulk_from(&out, 2, 0, arena, ret_bulk, error) : AON_END;
}

aon_result aon_register_take(void *state, const aon_take *what, aon_arena *arena, aon_bulk *ret_bulk, aon_error *error) {
  take_call call = {.r = state, .what = what, .after_age = INT64_MIN, .after_number = INT64_MIN};
  aon_register_head head;
  aon_result result = AON_OK;
  if (what->after) {
    result = aon_register_head_of(state, what->after, &head, error);
    call.after_age = head.age_ms;
    call.after_number = head.number;
  }
  bool taken = false;
  for (int i = 0; !result && !taken && i < TAKE_TRIES; i++) {
    result = look(&call, error);
    if (result || !call.any)
      break;
    result = take_once(&call, arena, ret_bulk, error);
    taken = result == AON_OK;
    if (result == AON_END)
      result = AON_OK;
  }
  aon_buffer_release(&call.dead);
  return result || taken ? result : AON_END;
}

static aon_result queue_mark(aon_register *r, int64_t *ret_number, int64_t *ret_changed, aon_error *error) {
  AON_REGISTER_CALL ask = {0};
  aon_result result = aon_register_ask(r, &ask, "looking into the queue",
                                       "select coalesce(max(number), 0), coalesce(max(changed_ms), 0) + count(*) from aon_journal_bulk"
                                       " where state = 'queued' and hold_until_ms <= aon_journal_now()",
                                       error, "");
  if (!result && aon_register_rows(&ask, 0)) {
    *ret_number = aon_register_int(&ask, 0, 0, 0);
    *ret_changed = aon_register_int(&ask, 0, 0, 1);
  }
  return result;
}

aon_result aon_register_wait(void *state, int64_t longest_ms, aon_error *error) {
  aon_register *r = state;
  int64_t until_ms = aon_monotonic_ms(r->env) + longest_ms, number = 0, changed = 0, number_now = 0, changed_now = 0;
  aon_result result = queue_mark(r, &number, &changed, error);
  number_now = number;
  changed_now = changed;
  for (int64_t left = longest_ms; !result && left > 0 && number_now == number && changed_now == changed;
       left = until_ms - aon_monotonic_ms(r->env)) {
    aon_sleep_ms(r->env, left < NAP_MS ? left : NAP_MS);
    result = queue_mark(r, &number_now, &changed_now, error);
  }
  return result;
}
