/* The queue in the ledger: who takes the next one, and how workers wait.
 * Invariant: taking is one write that finds and leases; two workers never get the same one in the same epoch. */
#include <string.h>

#include "journal/sqlite_ledger.h"

#define NAP_MS 50 /* between two looks at whether another connection wrote */

typedef struct take_call {
  const aon_take *what;
  int64_t after_age, after_number; /* of the last one looked at */
  char id[40];
  bool found;
  aon_arena *arena;
  aon_bulk bulk; /* as it was leased */
} take_call;

static aon_result next_queued(aon_ledger *ledger, take_call *call, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result =
      aon_ledger_query(ledger,
                       "select id, age_ms, number from bulk where state = 'queued' and (age_ms, number) > (?1, ?2)"
                       " and hold_until_ms <= ?3 and (?4 is null or organization = ?4) order by age_ms, number limit 1",
                       &statement, error, "iiit", call->after_age, call->after_number, aon_now_ms(ledger->env), call->what->organization);
  if (!result)
    result = aon_sqlite_step(ledger->database, statement, error);
  if (result)
    return result;
  snprintf(call->id, sizeof call->id, "%s", aon_ledger_text(statement, 0));
  call->after_age = sqlite3_column_int64(statement, 1);
  call->after_number = sqlite3_column_int64(statement, 2);
  return AON_OK;
}

/* As many are queued and leased at once as there are workers that look at one, so few are passed over. */
static aon_result look(aon_ledger *ledger, void *arguments, aon_error *error) {
  take_call *call = arguments;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_ledger_head head;
  aon_result result = AON_OK;
  call->found = false;
  call->after_age = call->after_number = INT64_MIN;
  if (call->what->after) {
    result = aon_ledger_head_of(ledger, call->what->after, &head, error);
    call->after_age = head.age_ms;
    call->after_number = head.number;
  }
  while (!result && !call->found && !(result = next_queued(ledger, call, error))) {
    aon_bulk bulk;
    aon_arena_reset(&arena);
    result = aon_ledger_bulk(ledger, call->id, &arena, &bulk, error);
    if (!result)
      call->found = aon_ledger_claimable(ledger, &bulk, NULL) == AON_OK;
  }
  return result == AON_END ? AON_OK : result;
}

static aon_result take_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  take_call *call = arguments;
  aon_result result = look(ledger, call, error);
  if (result || !call->found)
    return result;
  result = aon_ledger_lease(ledger, call->id, call->what->worker, error);
  return result ? result : aon_ledger_bulk(ledger, call->id, call->arena, &call->bulk, error);
}

/* Looked at first without the write lock: an idle worker keeps nobody from writing. */
aon_result aon_ledger_take(void *state, const aon_take *what, aon_arena *arena, aon_bulk *ret_bulk, aon_error *error) {
  take_call call = {.what = what, .arena = arena};
  aon_result result = aon_ledger_read(state, look, &call, error);
  if (!result && call.found)
    result = aon_ledger_write(state, true, take_work, &call, error);
  if (result)
    return result;
  if (call.found)
    *ret_bulk = call.bulk;
  return call.found ? AON_OK : AON_END;
}

aon_result aon_ledger_wait(void *state, int64_t longest_ms, aon_error *error) {
  aon_ledger *ledger = state;
  int64_t until = aon_monotonic_ms(ledger->env) + longest_ms, before = 0, now;
  aon_result result = aon_ledger_number(ledger, "pragma data_version", &before, error, "");
  now = before;
  for (int64_t left = longest_ms; !result && left > 0 && now == before; left = until - aon_monotonic_ms(ledger->env)) {
    aon_sleep_ms(ledger->env, left < NAP_MS ? left : NAP_MS);
    result = aon_ledger_number(ledger, "pragma data_version", &now, error, "");
  }
  return result;
}
