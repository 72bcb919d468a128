/* Connection, calls and transactions of the register. Invariants stand in postgresql_register.h. */
#include <endian.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "journal/postgresql_register.h"
#include "wire/libpq.h"

#define PAUSE_FIRST_MS 20 /* before a call is sent again; doubled each time up to … */
#define PAUSE_LAST_MS 1000

/* A transaction that a dead client left open must not keep others waiting; and every query here is a walk along an index, whatever the
 * statistics of a table that has just grown say. */
static const char *const session[] = {
    "select set_config('idle_in_transaction_session_timeout', '10s', false), set_config('enable_hashjoin', 'off', false),"
    " set_config('enable_mergejoin', 'off', false), set_config('enable_seqscan', 'off', false),"
    " set_config('client_min_messages', 'error', false), set_config('tcp_user_timeout', '20s', false)",
};

/* ---- connection ---- */

static aon_result connect_anew(aon_register *r, aon_error *error) {
  aon_postgresql_settings settings = {.label = "the journal", .url = r->url, .timeout_ms = AON_REGISTER_CALL_MS};
  aon_postgresql_close(r->connection);
  r->connection = NULL;
  int64_t now = aon_monotonic_ms(r->env);
  aon_postgresql *connection;
  aon_result result = aon_postgresql_open(r->env, &settings, &r->interrupt, now + AON_REGISTER_CONNECT_MS, &connection, error);
  for (size_t i = 0; !result && i < sizeof session / sizeof *session; i++) {
    result = aon_postgresql_run(connection, session[i], NULL, 0, "connecting", NULL, error);
    if (result)
      aon_postgresql_close(connection);
  }
  if (!result)
    r->connection = connection;
  return result;
}

static aon_result connected(aon_register *r, aon_error *error) {
  return r->connection && aon_postgresql_alive(r->connection) ? AON_OK : connect_anew(r, error);
}

/* ---- calls ---- */

static void clear_results(aon_register_call *call) {
  for (size_t i = 0; i < call->count && i < AON_REGISTER_STATEMENTS; i++) {
    PQclear(call->results[i]);
    call->results[i] = NULL;
  }
}

void aon_register_call_end(aon_register_call *call) {
  clear_results(call);
  aon_arena_release(&call->arena);
}

static const char *number_text(aon_arena *arena, int64_t number) { return aon_arena_format(arena, "%lld", (long long)number); }

/* false: no memory. */
static bool value_from(aon_register_call *call, char type, va_list *arguments, aon_postgresql_value *ret_value) {
  aon_postgresql_value value = {0};
  bool absent = false;
  if (type == 't') {
    value.data = va_arg(*arguments, const char *);
    absent = !value.data;
  } else if (type == 'i') {
    value.data = number_text(&call->arena, va_arg(*arguments, int64_t));
  } else if (type == 'o') {
    value.data = va_arg(*arguments, int) ? "t" : "f";
  } else if (type == 'p') {
    const int64_t *number = va_arg(*arguments, const int64_t *);
    value.data = number ? number_text(&call->arena, *number) : NULL;
    absent = !number;
  } else {
    value.data = va_arg(*arguments, const char *);
    value.length = (int)va_arg(*arguments, size_t);
    value.binary = true;
    absent = !value.data;
  }
  *ret_value = value;
  return absent || value.data;
}

static void add(aon_register_call *call, const char *sql, const char *types, va_list *arguments) {
  if (call->count >= AON_REGISTER_STATEMENTS) {
    call->count = AON_REGISTER_STATEMENTS + 1; /* too many: told when it is run */
    return;
  }
  size_t count = strlen(types);
  aon_postgresql_value *values = aon_arena_alloc(&call->arena, (count ? count : 1) * sizeof *values);
  bool whole = values != NULL;
  for (size_t i = 0; whole && i < count; i++)
    whole = value_from(call, types[i], arguments, &values[i]);
  call->statements[call->count++] = (aon_postgresql_statement){.sql = whole ? sql : NULL, .values = values, .count = count, .binary = true};
}

void aon_register_add(aon_register_call *call, const char *sql, const char *types, ...) {
  va_list arguments;
  va_start(arguments, types);
  add(call, sql, types, &arguments);
  va_end(arguments);
}

void aon_register_begin(aon_register_call *call, bool durable) {
  call->writes = true;
  aon_register_add(call, "begin", "");
  if (!durable)
    aon_register_add(call, "set local synchronous_commit = off", "");
}

/* ---- running ---- */

static aon_result complete(const aon_register_call *call, aon_error *error) {
  if (call->count > AON_REGISTER_STATEMENTS)
    return aon_fail(error, AON_PERMANENT, "too_many", "One call of the journal would take more than %d statements. Log less at once.",
                    AON_REGISTER_STATEMENTS);
  for (size_t i = 0; i < call->count; i++)
    if (!call->statements[i].sql)
      return aon_fail_memory(error);
  return AON_OK;
}

void aon_register_abandon(aon_register *r) {
  aon_error ignored = AON_ERROR_INIT;
  if (!aon_postgresql_broken(r->connection) && PQtransactionStatus(aon_postgresql_handle(r->connection)) != PQTRANS_IDLE &&
      aon_postgresql_run(r->connection, "rollback", NULL, 0, "rolling back", NULL, &ignored)) {
    aon_postgresql_close(r->connection);
    r->connection = NULL;
  }
}

/* *ret_doubt: it may have been done. */
static aon_result send(aon_register *r, aon_register_call *call, bool *ret_doubt, aon_error *error) {
  size_t failed;
  clear_results(call);
  aon_postgresql_deadline(r->connection, aon_monotonic_ms(r->env) + AON_REGISTER_CALL_MS);
  call->tries++;
  aon_result result = aon_postgresql_pipeline(r->connection, call->statements, call->count, call->results, &failed, error);
  if (!result)
    return AON_OK;
  bool refused = aon_postgresql_refused(r->connection);
  *ret_doubt = *ret_doubt || !refused;
  if (!refused && result != AON_NO_MEMORY)
    result = AON_TRANSIENT;
  if (!r->inside) {
    aon_register_abandon(r);
    if (r->connection && aon_postgresql_broken(r->connection)) {
      aon_postgresql_close(r->connection);
      r->connection = NULL;
    }
  }
  return result;
}

static aon_result run_patiently(aon_register *r, aon_register_call *call, bool *ret_doubt, aon_error *error) {
  int64_t until_ms = aon_monotonic_ms(r->env) + AON_REGISTER_PATIENCE_MS, pause_ms = PAUSE_FIRST_MS;
  for (;;) {
    aon_result result = connected(r, error);
    if (!result)
      result = send(r, call, ret_doubt, error);
    if (result != AON_TRANSIENT || aon_monotonic_ms(r->env) + pause_ms >= until_ms)
      return result;
    aon_sleep_ms(r->env, pause_ms);
    pause_ms = pause_ms * 2 < PAUSE_LAST_MS ? pause_ms * 2 : PAUSE_LAST_MS;
  }
}

aon_result aon_register_run(aon_register *r, aon_register_call *call, const char *doing, aon_error *error) {
  aon_error failure = AON_ERROR_INIT;
  bool doubt = false;
  if (call->writes)
    aon_register_add(call, "commit", "");
  for (size_t i = 0; i < call->count && i < AON_REGISTER_STATEMENTS; i++)
    call->statements[i].doing = doing;
  aon_result result = complete(call, &failure);
  if (!result && r->absent)
    return AON_OK; /* a journal that isn't there has no rows */
  if (!result)
    result = r->inside ? send(r, call, &doubt, &failure) : run_patiently(r, call, &doubt, &failure);
  if (result && doubt && call->writes)
    result = aon_fail(&failure, AON_UNKNOWN, "journal_unknown",
                      "The journal did not answer while %s, and could not be asked again since; whether it is recorded will be read back. "
                      "Look after the server, then run aon recover.",
                      doing);
  if (result && error)
    *error = failure;
  return result;
}

aon_result aon_register_ask(aon_register *r, aon_register_call *call, const char *doing, const char *sql, aon_error *error,
                            const char *types, ...) {
  va_list arguments;
  va_start(arguments, types);
  add(call, sql, types, &arguments);
  va_end(arguments);
  return aon_register_run(r, call, doing, error);
}

/* ---- one state for several reads ---- */

aon_result aon_register_read(aon_register *r, bool again, aon_register_work work, void *arguments, aon_error *error) {
  static const char begin[] = "begin isolation level repeatable read read only";
  if (r->absent)
    return work(r, arguments, error);
  int64_t until_ms = aon_monotonic_ms(r->env) + AON_REGISTER_PATIENCE_MS;
  for (;;) {
    AON_REGISTER_CALL opening = {0};
    aon_result result = aon_register_ask(r, &opening, "reading", begin, error, "");
    if (result)
      return result;
    r->inside = true;
    result = work(r, arguments, error);
    r->inside = false;
    bool broke = aon_postgresql_broken(r->connection);
    aon_register_abandon(r);
    if (!again || result != AON_TRANSIENT || !broke || aon_monotonic_ms(r->env) >= until_ms)
      return result;
  }
}

/* ---- rows ---- */

int aon_register_rows(const aon_register_call *call, size_t statement) { return PQntuples(call->results[statement]); }

bool aon_register_null(const aon_register_call *call, size_t statement, int row, int column) {
  return PQgetisnull(call->results[statement], row, column);
}

size_t aon_register_length(const aon_register_call *call, size_t statement, int row, int column) {
  return (size_t)PQgetlength(call->results[statement], row, column);
}

int64_t aon_register_int(const aon_register_call *call, size_t statement, int row, int column) {
  const unsigned char *bytes = (const unsigned char *)PQgetvalue(call->results[statement], row, column);
  size_t length = aon_register_length(call, statement, row, column);
  if (length == 1)
    return *bytes;
  if (length == 4) {
    uint32_t number;
    memcpy(&number, bytes, sizeof number);
    return (int32_t)be32toh(number);
  }
  uint64_t number = 0;
  if (length == 8)
    memcpy(&number, bytes, sizeof number);
  return (int64_t)be64toh(number);
}

const char *aon_register_text(const aon_register_call *call, size_t statement, int row, int column) {
  return aon_register_null(call, statement, row, column) ? NULL : PQgetvalue(call->results[statement], row, column);
}

aon_result aon_register_copy(const aon_register_call *call, size_t statement, int row, int column, aon_arena *arena, const char **ret_text,
                             aon_error *error) {
  const char *text = aon_register_text(call, statement, row, column);
  *ret_text = text ? aon_arena_text(arena, text, aon_register_length(call, statement, row, column)) : NULL;
  return text && !*ret_text ? aon_fail_memory(error) : AON_OK;
}

void aon_register_token(aon_register *r, char ret_token[AON_REGISTER_TOKEN + 1]) {
  uint64_t number;
  aon_random(r->env, &number, sizeof number);
  snprintf(ret_token, AON_REGISTER_TOKEN + 1, "%016llx", (unsigned long long)number);
}
