/* SQLite as a store of class 2: one connection, one writer, a marker in every transaction.
 *
 *     closed --a call that needs the file--> idle --begin--> writing --commit, abort, failing begin--> idle
 *                                             |  ^
 *                                        read, scan (a read transaction, nested calls share it)
 *
 * Invariants:
 *  - a transaction is BEGIN IMMEDIATE with its marker as first row written; a marker that is there already fences it;
 *  - only a COMMIT that may have reached the disk is AON_UNKNOWN: busy, full, a constraint or a cancel leave SQLite in the open
 *    transaction, which is then rolled back;
 *  - resolve always writes the row that it reports, so what was found is durable before anybody relies on it (a process killed
 *    within COMMIT leaves frames that can be read but were never synced);
 *  - resolve makes the file if the store may make it: without the abort marker a worker that sleeps before its begin could make
 *    the file later and commit. Where the store may not, its begin fails without the file just as resolve does;
 *  - cancel only touches atomics and sqlite3_interrupt, so it may come from a signal handler. */
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "store/sqlite_internal.h"

#define MARKER_DAYS_MS ((int64_t)30 * 24 * 3600 * 1000) /* docs/protocol.md: markers stay 30 days at least */
#define WAL_KEPT_BYTES "16777216"                       /* what stays of the write-ahead log's file after a large transaction */
#define LOG_PAGES 1000                                  /* a longer log is moved into the file; SQLite's own default */
#define CACHE_KIBIBYTES "8192"

/* ---- the connection ---- */

void sqlite_enter(sqlite_store *store) {
  atomic_store(&store->cancelled, 0);
  store->deadline_ms = aon_monotonic_ms(store->env) + store->timeout_ms;
}

bool sqlite_cancelled(const sqlite_store *store) { return atomic_load_explicit(&store->cancelled, memory_order_relaxed) != 0; }

aon_result sqlite_stopped(const sqlite_store *store, aon_error *error) {
  return aon_fail(error, AON_CANCELLED, "cancelled", "The call to %s was cancelled.", store->name);
}

aon_result sqlite_failed(sqlite_store *store, int rc, const char *doing, aon_error *error) {
  int primary = rc & 0xff;
  if (sqlite_cancelled(store) && (primary == SQLITE_BUSY || primary == SQLITE_LOCKED || primary == SQLITE_INTERRUPT))
    return sqlite_stopped(store, error);
  return aon_sqlite_fail(store->database, rc, doing, error);
}

/* Waits for another connection's lock until the call's deadline, on the environment's clock. */
static int wait_busy(void *context, int tries) {
  static const int delays_ms[] = {1, 2, 5, 10, 15, 20, 25, 50, 100};
  sqlite_store *store = context;
  int64_t left = store->deadline_ms - aon_monotonic_ms(store->env);
  if (sqlite_cancelled(store) || left <= 0)
    return 0;
  int last = (int)(sizeof delays_ms / sizeof *delays_ms) - 1;
  int64_t delay = delays_ms[tries < last ? tries : last];
  aon_sleep_ms(store->env, delay < left ? delay : left);
  return 1;
}

static void disconnect(sqlite_store *store) {
  sqlite_schema_forget(store);
  atomic_store(&store->interruptible, NULL);
  while (atomic_load(&store->cancelling)) /* another thread is within cancel, which never waits */
    sched_yield();
  aon_sqlite_close(store->database);
  store->database = NULL;
  store->handle = NULL;
  store->transaction.open = false;
  store->reading = 0;
}

static aon_result run(sqlite_store *store, const char *sql, const char *doing, aon_error *error) {
  sqlite3_stmt *statement;
  aon_result result = aon_sqlite_statement(store->database, sql, &statement, error);
  if (result)
    return result;
  int rc = sqlite3_step(statement);
  if (rc != SQLITE_DONE && rc != SQLITE_ROW)
    result = sqlite_failed(store, rc, doing, error);
  sqlite3_reset(statement);
  return result;
}

static aon_result number(sqlite_store *store, const char *sql, int64_t *ret_number, aon_error *error) {
  sqlite3_stmt *statement;
  aon_result result = aon_sqlite_statement(store->database, sql, &statement, error);
  if (result)
    return result;
  int rc = sqlite3_step(statement);
  if (rc == SQLITE_ROW)
    *ret_number = sqlite3_column_int64(statement, 0);
  else
    result = sqlite_failed(store, rc, "reading", error);
  sqlite3_reset(statement);
  return result;
}

static void roll_back(sqlite_store *store) {
  if (!sqlite3_get_autocommit(store->handle) && sqlite3_exec(store->handle, "rollback", NULL, NULL, NULL) &&
      !sqlite3_get_autocommit(store->handle))
    disconnect(store); /* closing rolls back too, and frees its locks */
}

/* The file was removed, or another one put in its place: what is written to the old one is lost. */
static bool moved(sqlite_store *store) {
  int is = 0;
  return sqlite3_file_control(store->handle, "main", SQLITE_FCNTL_HAS_MOVED, &is) == SQLITE_OK && is;
}

static int note_log_pages(void *context, sqlite3 *handle, const char *database, int pages) {
  (void)handle;
  (void)database;
  sqlite_store *store = context;
  store->log_pages = pages;
  return SQLITE_OK;
}

/* Moving the log into the file is nobody's who waits for a commit: it is done before the next large transaction, or by closing, which may
 * happen beside other stores'. Whoever reads an old state keeps it from being done now; then the next one does it. */
static void move_log(sqlite_store *store) {
  if (store->log_pages < LOG_PAGES)
    return;
  store->log_pages = 0;
  (void)sqlite3_wal_checkpoint_v2(store->handle, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

static aon_result connection_settings(sqlite_store *store, aon_error *error) {
  sqlite3_busy_handler(store->handle, wait_busy, store);
  sqlite3_wal_hook(store->handle, note_log_pages, store); /* in place of the one that checkpoints within the commit */
  sqlite3_db_config(store->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  return aon_sqlite_execute(store->database,
                            "pragma foreign_keys=on; pragma journal_size_limit=" WAL_KEPT_BYTES "; pragma cache_size=-" CACHE_KIBIBYTES ";",
                            error);
}

static aon_result open_connection(sqlite_store *store, aon_sqlite_mode mode, aon_error *error) {
  int busy_ms = store->timeout_ms > INT_MAX ? INT_MAX : (int)store->timeout_ms;
  aon_result result = aon_sqlite_open(store->env, store->name, store->path, mode, busy_ms, &store->database, error);
  if (result)
    return result;
  store->handle = aon_sqlite_handle(store->database);
  atomic_store(&store->interruptible, store->handle);
  result = connection_settings(store, error);
  if (result)
    disconnect(store);
  return result;
}

/* An empty file (left by a crash between making it and its first page) is still ours to give WAL. */
static aon_result reopen_if_empty(sqlite_store *store, aon_error *error) {
  int64_t pages;
  aon_result result = number(store, "pragma page_count", &pages, error);
  if (!result && pages == 0)
    disconnect(store);
  return result;
}

/* make: the file is made if it isn't there and the store may. *ret_there false: no file, nothing opened. */
static aon_result connect_file(sqlite_store *store, bool make, bool *ret_there, aon_error *error) {
  aon_result result = AON_OK;
  bool free_to_close = !store->transaction.open && !store->reading;
  if (store->database && free_to_close && moved(store))
    disconnect(store);
  if (store->database && free_to_close && make && store->create)
    result = reopen_if_empty(store, error);
  *ret_there = true;
  if (result || store->database)
    return result;
  aon_file_info info;
  result = store->env->ops->file_info(store->env->context, store->path, &info, error);
  if (result)
    return result;
  if (info.exists && info.is_directory)
    return aon_fail(error, AON_ENVIRONMENT, "no_such_file", "%s is bound to “%s”, which is a folder. Name a file.", store->name,
                    store->path);
  if (!info.exists && !store->create)
    return aon_fail(error, AON_ENVIRONMENT, "no_such_file",
                    "%s is bound to “%s”, which isn't there. Correct the path, or set create: true to have it made.", store->name,
                    store->path);
  if (!info.exists && !make) {
    *ret_there = false;
    return AON_OK;
  }
  return open_connection(store, make && store->create ? AON_SQLITE_CREATE : AON_SQLITE_WRITE, error);
}

aon_result sqlite_read_begin(sqlite_store *store, bool *ret_there, aon_error *error) {
  aon_result result = connect_file(store, false, ret_there, error);
  if (result || !*ret_there)
    return result;
  if (!store->transaction.open && !store->reading) {
    result = run(store, "begin", "reading", error);
    if (!result)
      result = sqlite_schema_check(store, error);
    if (result) {
      roll_back(store);
      return result;
    }
  }
  store->reading++;
  return AON_OK;
}

void sqlite_read_end(sqlite_store *store) {
  if (--store->reading || store->transaction.open)
    return;
  aon_error ignored = AON_ERROR_INIT; /* nothing was written: this only gives the snapshot back */
  if (run(store, "rollback", "reading", &ignored))
    roll_back(store);
}

/* ---- opening and closing ---- */

static aon_result good_path(const aon_store_config *config, aon_error *error) {
  if (!config->location[0])
    return aon_fail(error, AON_USAGE, "bad_location", "%s names no file: write sqlite:PATH.", config->name);
  if (!strcmp(config->location, ":memory:"))
    return aon_fail(error, AON_USAGE, "bad_location", "%s can't live in memory: nothing would outlive the process. Write sqlite:PATH.",
                    config->name);
  return AON_OK;
}

static void close_store(void *state) {
  sqlite_store *store = state;
  sqlite_open_keys_forget(&store->transaction);
  disconnect(store);
  sqlite_schema_release(store);
  sqlite3_close_v2(store->scratch);
  aon_buffer_release(&store->expected_text);
  aon_buffer_release(&store->wanted_text);
  aon_buffer_release(&store->key_text);
  aon_arena_release(&store->scratch_arena);
  free(store->name);
  free(store->path);
  free(store);
}

static aon_result open_store(aon_env *env, const aon_store_config *config, void **ret_state, aon_store_caps *ret_caps, aon_error *error) {
  aon_store_caps caps = {.store_class = AON_CLASS_TRANSACTION,
                         .batch_operations = UINT32_MAX,
                         .batch_bytes = UINT32_MAX,
                         .max_exact_integer = INT64_MAX,
                         .one_writer = true,
                         .any_thread = true,
                         .can_undo = true};
  aon_result result = good_path(config, error);
  if (!result)
    result = aon_sqlite_identity(env, config->location, caps.database, error);
  if (result)
    return result;
  sqlite_store *store = calloc(1, sizeof *store);
  if (!store)
    return aon_fail_memory(error);
  store->env = env;
  store->create = config->create;
  store->timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : SQLITE_TIMEOUT_MS;
  store->schema_version = -1;
  store->transaction.store = store;
  store->name = strdup(config->name);
  store->path = strdup(config->location);
  if (!store->name || !store->path) {
    close_store(store);
    return aon_fail_memory(error);
  }
  *ret_state = store;
  *ret_caps = caps;
  return AON_OK;
}

static void cancel(void *state) {
  sqlite_store *store = state;
  atomic_fetch_add(&store->cancelling, 1);
  atomic_store(&store->cancelled, 1);
  sqlite3 *handle = atomic_load(&store->interruptible);
  if (handle)
    sqlite3_interrupt(handle);
  atomic_fetch_sub(&store->cancelling, 1);
}

/* ---- markers ---- */

#define MAKE_MARKERS                                                                                                                       \
  "create table if not exists aon_markers(bulk text not null, attempt integer not null, batch integer not null, state text not "           \
  "null, at_ms integer not null, primary key(bulk, attempt, batch)) without rowid"

static aon_result bound(sqlite_store *store, const char *sql, const aon_branch *branch, sqlite3_stmt **ret_statement, aon_error *error) {
  aon_result result = aon_sqlite_statement(store->database, sql, ret_statement, error);
  if (result)
    return result;
  sqlite3_bind_text(*ret_statement, 1, branch->bulk_id, -1, SQLITE_STATIC);
  sqlite3_bind_int64(*ret_statement, 2, branch->attempt);
  sqlite3_bind_int64(*ret_statement, 3, branch->batch);
  sqlite3_bind_int64(*ret_statement, 4, aon_now_ms(store->env));
  return AON_OK;
}

static aon_result bound_run(sqlite_store *store, const char *sql, const aon_branch *branch, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result = bound(store, sql, branch, &statement, error);
  if (result)
    return result;
  int rc = sqlite3_step(statement);
  return rc == SQLITE_DONE ? AON_OK : sqlite_failed(store, rc, "writing a marker", error);
}

static aon_result markers_there(sqlite_store *store, bool *ret_there, aon_error *error) {
  int64_t count = 0;
  aon_result result = number(store, "select count(*) from sqlite_schema where type='table' and name='aon_markers'", &count, error);
  *ret_there = count > 0;
  return result;
}

static aon_result fenced(const sqlite_store *store, const aon_branch *branch, aon_marker marker, aon_error *error) {
  return aon_fail(
      error, AON_FENCED, "fenced",
      marker == AON_MARKER_COMMIT
          ? "%s holds a marker of bulk operation %s, attempt %u, already: another worker has taken it over. Nothing was written."
          : "%s holds no commit marker of bulk operation %s, attempt %u: there is nothing to take back, or it was taken back already.",
      store->name, branch->bulk_id, (unsigned)branch->attempt);
}

static aon_result write_marker(sqlite_store *store, const aon_branch *branch, aon_marker marker, aon_error *error) {
  aon_result result;
  if (marker == AON_MARKER_COMMIT) {
    result = run(store, MAKE_MARKERS, "making the table of markers", error);
    if (!result)
      result = bound_run(store, "insert or ignore into aon_markers values(?1, ?2, ?3, 'commit', ?4)", branch, error);
  } else {
    bool there;
    result = markers_there(store, &there, error);
    if (!result && !there)
      return fenced(store, branch, marker, error);
    if (!result)
      result =
          bound_run(store, "update aon_markers set state='undone', at_ms=?4 where bulk=?1 and attempt=?2 and batch=?3 and state='commit'",
                    branch, error);
  }
  return result || sqlite3_changes(store->handle) == 1 ? result : fenced(store, branch, marker, error);
}

/* ---- transactions ---- */

static void ended(sqlite_store *store) {
  sqlite_open_keys_forget(&store->transaction);
  store->transaction = (aon_transaction){.store = store};
}

static void abandon(sqlite_store *store) {
  bool made = store->transaction.made_tables;
  roll_back(store);
  if (made)
    sqlite_schema_forget(store); /* the schema's number comes again with another schema */
  ended(store);
}

static aon_result one_at_a_time(const sqlite_store *store, aon_error *error) {
  if (!store->transaction.open && !store->reading)
    return AON_OK;
  return aon_fail(error, AON_USAGE, "transaction_open", "%s already has a transaction open.", store->name);
}

static aon_result begin(void *state, const aon_branch *branch, aon_marker marker, aon_transaction **ret_transaction, aon_error *error) {
  sqlite_store *store = state;
  sqlite_enter(store);
  bool there = true;
  aon_result result = one_at_a_time(store, error);
  if (!result)
    result = connect_file(store, marker == AON_MARKER_COMMIT, &there, error);
  if (!result && !there)
    result = fenced(store, branch, marker, error);
  if (!result)
    move_log(store);
  if (!result)
    result = run(store, "begin immediate", "opening a transaction", error);
  if (result)
    return result;
  store->transaction.open = true;
  result = run(store, "pragma defer_foreign_keys=on", "opening a transaction", error);
  if (!result)
    result = write_marker(store, branch, marker, error);
  if (!result)
    result = sqlite_schema_check(store, error);
  if (result) {
    abandon(store);
    return result;
  }
  *ret_transaction = &store->transaction;
  return AON_OK;
}

static void abort_transaction(void *state, aon_transaction *transaction) {
  if (transaction && transaction->open)
    abandon(state);
}

/* Did this failing COMMIT certainly not reach the disk? */
static bool proven(int rc) {
  switch (rc & 0xff) {
  case SQLITE_BUSY:
  case SQLITE_LOCKED:
  case SQLITE_CONSTRAINT:
  case SQLITE_FULL:
  case SQLITE_INTERRUPT:
  case SQLITE_READONLY:
    return true;
  default:
    return false;
  }
}

static aon_result commit_step(sqlite_store *store, aon_error *error) {
  sqlite3_stmt *statement;
  aon_result result = aon_sqlite_statement(store->database, "commit", &statement, error);
  if (result)
    return result;
  int rc = sqlite3_step(statement);
  sqlite3_reset(statement);
  if (rc == SQLITE_DONE)
    return AON_OK;
  result = sqlite_failed(store, rc, "committing", error);
  if (proven(rc))
    return result;
  if (error)
    error->kind = AON_UNKNOWN;
  return AON_UNKNOWN;
}

static aon_result commit(void *state, aon_transaction *transaction, aon_error *error) {
  sqlite_store *store = state;
  sqlite_enter(store);
  aon_result result = AON_OK;
  if (!transaction->open || transaction->failed)
    result = aon_fail(error, AON_USAGE, "transaction_failed", "A transaction of %s that has failed can only be rolled back.", store->name);
  if (!result && moved(store))
    result = aon_fail(error, AON_ENVIRONMENT, "file_replaced",
                      "“%s” was removed or replaced while %s was being written. Nothing was committed.", store->path, store->name);
  if (!result)
    result = sqlite_flush(store, transaction, error);
  if (!result)
    result = commit_step(store, error);
  if (result)
    abandon(store);
  else
    ended(store);
  return result;
}

/* ---- resolving ---- */

#define RESOLVE                                                                                                                            \
  "insert into aon_markers values(?1, ?2, ?3, 'abort', ?4) on conflict do update set at_ms = max(at_ms + 1, ?4) "                          \
  "returning state"

static aon_result resolved_state(sqlite_store *store, const aon_branch *branch, aon_branch_state *ret_state, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result = bound(store, RESOLVE, branch, &statement, error);
  if (result)
    return result;
  int rc = sqlite3_step(statement);
  if (rc != SQLITE_ROW)
    return sqlite_failed(store, rc, "looking for a marker", error);
  const char *text = (const char *)sqlite3_column_text(statement, 0), *state = text ? text : "";
  if (!strcmp(state, "commit"))
    *ret_state = AON_BRANCH_COMMITTED;
  else if (!strcmp(state, "undone"))
    *ret_state = AON_BRANCH_UNDONE;
  else if (!strcmp(state, "abort"))
    *ret_state = AON_BRANCH_ABORTED;
  else
    return aon_fail(error, AON_CORRUPT, "bad_marker",
                    "The marker of bulk operation %s in %s is none that we wrote. Look at the table aon_markers.", branch->bulk_id,
                    store->name);
  rc = sqlite3_step(statement);
  return rc == SQLITE_DONE ? AON_OK : sqlite_failed(store, rc, "writing a marker", error);
}

static aon_result resolve_in_transaction(sqlite_store *store, const aon_branch *branch, aon_branch_state *ret_state, aon_error *error) {
  aon_result result = run(store, "begin immediate", "looking for a marker", error);
  if (!result)
    result = run(store, MAKE_MARKERS, "making the table of markers", error);
  if (!result)
    result = resolved_state(store, branch, ret_state, error);
  if (!result)
    result = commit_step(store, error);
  if (result)
    roll_back(store);
  return result;
}

static aon_result resolve(void *state, const aon_branch *branch, aon_branch_state *ret_state, aon_error *error) {
  sqlite_store *store = state;
  sqlite_enter(store);
  bool there;
  aon_result result = one_at_a_time(store, error);
  if (!result)
    result = connect_file(store, true, &there, error);
  if (result)
    return result;
  aon_error failure = AON_ERROR_INIT;
  aon_branch_state found = AON_BRANCH_OPEN;
  result = resolve_in_transaction(store, branch, &found, &failure);
  if (result == AON_TRANSIENT) { /* somebody writes, perhaps the transaction that is asked for */
    result = AON_OK;
    found = AON_BRANCH_OPEN;
  }
  if (!result)
    *ret_state = found;
  return sqlite_tell(result, &failure, error);
}

static aon_result forget(void *state, int64_t before_ms, aon_error *error) {
  sqlite_store *store = state;
  sqlite_enter(store);
  bool there = false;
  int64_t youngest = aon_now_ms(store->env) - MARKER_DAYS_MS;
  aon_result result = one_at_a_time(store, error);
  if (!result)
    result = connect_file(store, false, &there, error);
  if (!result && there)
    result = markers_there(store, &there, error);
  if (result || !there)
    return result;
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  result = aon_sqlite_statement(store->database, "delete from aon_markers where at_ms < ?1", &statement, error);
  if (result)
    return result;
  sqlite3_bind_int64(statement, 1, before_ms < youngest ? before_ms : youngest);
  int rc = sqlite3_step(statement);
  return rc == SQLITE_DONE ? AON_OK : sqlite_failed(store, rc, "forgetting old markers", error);
}

/* ---- for aon doctor ---- */

static aon_result tell_check(sqlite_store *store, aon_buffer *report, bool *healthy, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result = aon_sqlite_statement(store->database, "pragma quick_check(5)", &statement, error);
  int rc = SQLITE_DONE;
  while (!result && (rc = sqlite3_step(statement)) == SQLITE_ROW) { /* of findings five at most */
    const char *text = (const char *)sqlite3_column_text(statement, 0), *said = text ? text : "?";
    bool good = !strcmp(said, "ok");
    *healthy = *healthy && good;
    result = aon_buffer_format(report, error, good ? "integrity: %s\n" : "integrity: DAMAGED, restore a backup: %s\n", said);
  }
  if (!result && rc != SQLITE_DONE && rc != SQLITE_ROW)
    result = sqlite_failed(store, rc, "checking it", error);
  return result;
}

static aon_result tell_file(sqlite_store *store, aon_buffer *report, aon_error *error) {
  aon_file_info info;
  aon_result result = store->env->ops->file_info(store->env->context, store->path, &info, error);
  if (!result)
    result = aon_buffer_format(report, error, "file: %s, %llu KiB, %llu MiB free on its disk\n", store->path,
                               (unsigned long long)(info.size_bytes >> 10), (unsigned long long)(info.free_bytes >> 20));
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  if (!result)
    result = aon_sqlite_statement(store->database, "pragma journal_mode", &statement, error);
  if (result)
    return result;
  int rc = sqlite3_step(statement);
  if (rc != SQLITE_ROW)
    return sqlite_failed(store, rc, "reading", error);
  return aon_buffer_format(report, error, "journal mode: %s\n", sqlite3_column_text(statement, 0));
}

static aon_result tell_markers(sqlite_store *store, aon_buffer *report, aon_error *error) {
  bool there;
  int64_t count = 0;
  aon_result result = markers_there(store, &there, error);
  if (!result && there)
    result = number(store, "select count(*) from aon_markers", &count, error);
  return result ? result : aon_buffer_format(report, error, "markers of bulk operations: %lld\n", (long long)count);
}

/* Takes the writer's lock and gives it back: nothing is changed, and whoever can't is told why. */
static aon_result tell_writable(sqlite_store *store, aon_buffer *report, bool *healthy, aon_error *error) {
  aon_error failure = AON_ERROR_INIT;
  if (sqlite3_db_readonly(store->handle, "main") == 1) {
    *healthy = false;
    return aon_buffer_text(report, "writable: NO, the file is read-only\n", error);
  }
  aon_result result = run(store, "begin immediate", "trying to write", &failure);
  roll_back(store);
  if (!result)
    return aon_buffer_text(report, "writable: yes\n", error);
  *healthy = false;
  return aon_buffer_format(report, error, "writable: NO, %s\n", failure.sentence);
}

static aon_result examine(void *state, struct aon_buffer *report, bool *ret_healthy, aon_error *error) {
  sqlite_store *store = state;
  sqlite_enter(store);
  bool there, healthy = true;
  aon_error failure = AON_ERROR_INIT;
  aon_result result = one_at_a_time(store, error);
  if (!result)
    result = aon_buffer_format(
        report, error,
        "SQLite %s, one transaction with a marker (class 2), one writer at a time; SQLite can't prepare transactions, so it is no class 1\n",
        sqlite3_libversion());
  if (result)
    return result;
  result = connect_file(store, false, &there, &failure);
  if (!result && !there) {
    *ret_healthy = true;
    return aon_buffer_format(report, error, "file: %s is not there yet, the first write makes it\n", store->path);
  }
  if (!result)
    result = tell_file(store, report, &failure);
  if (!result)
    result = tell_check(store, report, &healthy, &failure);
  if (!result)
    result = tell_markers(store, report, &failure);
  if (!result)
    result = tell_writable(store, report, &healthy, &failure);
  if (result) {
    healthy = false;
    result = aon_buffer_format(report, error, "problem: %s\n", failure.sentence);
  }
  if (!result)
    *ret_healthy = healthy;
  return result;
}

const aon_store_adapter aon_sqlite_adapter = {
    .kind = "sqlite",
    .interface_version = AON_STORE_INTERFACE,
    .open = open_store,
    .close = close_store,
    .describe = sqlite_describe,
    .normalise = sqlite_normalise,
    .read = sqlite_read,
    .scan = sqlite_scan,
    .begin = begin,
    .apply = sqlite_apply,
    .flush = sqlite_flush,
    .commit = commit,
    .abort = abort_transaction,
    .resolve = resolve,
    .forget = forget,
    .examine = examine,
    .cancel = cancel,
    .look_up = sqlite_look_up,
};
