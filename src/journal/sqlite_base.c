/* Statements and transactions of the ledger. Invariants stand in sqlite_ledger.h. */
#include <stdarg.h>
#include <string.h>

#include "journal/sqlite_ledger.h"

/* ---- statements ---- */

static void bind_all(sqlite3_stmt *statement, const char *types, va_list arguments) {
  int index = 1;
  for (; *types; types++, index++) {
    /* What is bound outlives the step, so nothing is copied and nothing here can fail for lack of memory. */
    if (*types == 't') {
      const char *text = va_arg(arguments, const char *);
      sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
    } else if (*types == 'i') {
      sqlite3_bind_int64(statement, index, va_arg(arguments, int64_t));
    } else if (*types == 'p') {
      const int64_t *value = va_arg(arguments, const int64_t *);
      if (value)
        sqlite3_bind_int64(statement, index, *value);
    } else if (*types == 'b') {
      const void *bytes = va_arg(arguments, const void *);
      size_t length = va_arg(arguments, size_t);
      sqlite3_bind_blob64(statement, index, bytes, length, SQLITE_STATIC);
    }
  }
}

aon_result aon_ledger_query(aon_ledger *ledger, const char *sql, sqlite3_stmt **ret_statement, aon_error *error, const char *types, ...) {
  aon_result result = aon_sqlite_statement(ledger->database, sql, ret_statement, error);
  if (result)
    return result;
  va_list arguments;
  va_start(arguments, types);
  bind_all(*ret_statement, types, arguments);
  va_end(arguments);
  return AON_OK;
}

aon_result aon_ledger_run(aon_ledger *ledger, const char *sql, aon_error *error, const char *types, ...) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result = aon_sqlite_statement(ledger->database, sql, &statement, error);
  if (result)
    return result;
  va_list arguments;
  va_start(arguments, types);
  bind_all(statement, types, arguments);
  va_end(arguments);
  return aon_sqlite_run(ledger->database, statement, error);
}

aon_result aon_ledger_number(aon_ledger *ledger, const char *sql, int64_t *ret_value, aon_error *error, const char *types, ...) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result = aon_sqlite_statement(ledger->database, sql, &statement, error);
  if (result)
    return result;
  va_list arguments;
  va_start(arguments, types);
  bind_all(statement, types, arguments);
  va_end(arguments);
  result = aon_sqlite_step(ledger->database, statement, error);
  if (result == AON_END)
    return AON_OK;
  if (!result && sqlite3_column_type(statement, 0) != SQLITE_NULL)
    *ret_value = sqlite3_column_int64(statement, 0);
  return result;
}

int64_t aon_ledger_changes(aon_ledger *ledger) { return sqlite3_changes64(aon_sqlite_handle(ledger->database)); }

const char *aon_ledger_text(sqlite3_stmt *statement, int column) { return (const char *)sqlite3_column_text(statement, column); }

aon_result aon_ledger_copy(sqlite3_stmt *statement, int column, aon_arena *arena, const char **ret_text, aon_error *error) {
  const char *text = aon_ledger_text(statement, column);
  *ret_text = text ? aon_arena_text(arena, text, (size_t)sqlite3_column_bytes(statement, column)) : NULL;
  return text && !*ret_text ? aon_fail_memory(error) : AON_OK;
}

/* ---- transactions ---- */

bool aon_ledger_doubtful(aon_result result) { return result == AON_ENVIRONMENT || result == AON_UNKNOWN; }

static bool disk_full(const aon_error *error) {
  return (error->native_code & 0xff) == SQLITE_FULL || error->native_code == SQLITE_IOERR_SHMSIZE ||
         error->native_code == SQLITE_IOERR_WRITE;
}

static aon_result sync_as(aon_ledger *ledger, bool durable, aon_error *error) {
  if (ledger->syncing == durable)
    return AON_OK;
  aon_result result = aon_sqlite_execute(ledger->database, durable ? "pragma synchronous=full" : "pragma synchronous=normal", error);
  if (!result)
    ledger->syncing = durable;
  return result;
}

static void scratch_shrink(aon_buffer *buffer) {
  if (buffer->capacity > AON_LEDGER_SCRATCH_BYTES)
    aon_buffer_release(buffer);
}

static void after(aon_ledger *ledger, aon_result result) {
  if (result) { /* what a rollback made untrue */
    aon_ledger_names_drop(&ledger->written);
    if (ledger->chain_noted)
      aon_ledger_chain_drop(ledger);
  }
  ledger->chain_noted = false;
  scratch_shrink(&ledger->writer.operations);
  scratch_shrink(&ledger->writer.images);
  scratch_shrink(&ledger->sealed);
  scratch_shrink(&ledger->run);
}

/* A rollback can fail too, for lack of memory; it is made up for before the next transaction, or none would ever begin again. */
static aon_result close_left_open(aon_ledger *ledger, aon_error *error) {
  return sqlite3_get_autocommit(aon_sqlite_handle(ledger->database)) ? AON_OK : aon_ledger_run(ledger, "rollback", error, "");
}

static aon_result attempt(aon_ledger *ledger, bool durable, aon_ledger_work work, void *arguments, aon_error *error) {
  aon_result result = close_left_open(ledger, error);
  if (!result)
    result = sync_as(ledger, durable, error);
  if (!result)
    result = aon_ledger_run(ledger, "begin immediate", error, "");
  if (result)
    return result;
  result = work(ledger, arguments, error);
  if (!result)
    result = aon_ledger_run(ledger, "commit", error, "");
  if (result && !sqlite3_get_autocommit(aon_sqlite_handle(ledger->database))) {
    aon_error second = AON_ERROR_INIT;
    if (aon_ledger_run(ledger, "rollback", &second, ""))
      aon_log(ledger->env, AON_LOG_ERROR, "The journal could not take back a write: %s", second.sentence);
  }
  after(ledger, result);
  return result;
}

aon_result aon_ledger_write(aon_ledger *ledger, bool durable, aon_ledger_work work, void *arguments, aon_error *error) {
  aon_error failure = AON_ERROR_INIT;
  aon_result result = attempt(ledger, durable, work, arguments, &failure);
  if (result && disk_full(&failure) && aon_reserve_spend(&ledger->reserve))
    result = attempt(ledger, durable, work, arguments, &failure);
  else if (!result)
    aon_reserve_fill(&ledger->reserve);
  if (result && error)
    *error = failure;
  return result;
}

aon_result aon_ledger_read(aon_ledger *ledger, aon_ledger_work work, void *arguments, aon_error *error) {
  aon_result result = close_left_open(ledger, error);
  if (!result)
    result = aon_ledger_run(ledger, "begin", error, "");
  if (result)
    return result;
  result = work(ledger, arguments, error);
  aon_error second = AON_ERROR_INIT;
  if (aon_ledger_run(ledger, "rollback", result ? &second : error, "") && !result)
    result = error ? error->kind : AON_ENVIRONMENT;
  return result;
}
