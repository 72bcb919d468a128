/* SQLite connections. Invariants stand in wire/sqlite.h. */
#include "wire/sqlite.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/sqlite_syncs.h"

#define STATEMENTS_LIMIT 128
#define LARGE_PAGE_BYTES "8192"
#define OPEN_PAUSE_MS 10 /* between two tries to open a file that another connection is changing */

struct aon_sqlite {
  aon_env *env;
  sqlite3 *handle;
  char label[64];
  char *path;
  struct {
    const char *sql;
    sqlite3_stmt *statement;
  } cache[STATEMENTS_LIMIT];
  size_t cached;
};

aon_result aon_sqlite_fail(aon_sqlite *database, int rc, const char *doing, aon_error *error) {
  const char *label = database->label, *path = database->path;
  const char *native = database->handle ? sqlite3_errmsg(database->handle) : sqlite3_errstr(rc);
  switch (rc & 0xff) {
  case SQLITE_BUSY:
  case SQLITE_LOCKED:
    return aon_fail_native(error, AON_TRANSIENT, "database_locked", rc,
                           "%s (“%s”) is locked by another program while %s. Close that program or wait, then try again.", label, path,
                           doing);
  case SQLITE_CONSTRAINT:
    if (rc == SQLITE_CONSTRAINT_PRIMARYKEY || rc == SQLITE_CONSTRAINT_UNIQUE || rc == SQLITE_CONSTRAINT_ROWID)
      return aon_fail_native(error, AON_PERMANENT, "duplicate", rc, "%s refused it while %s: %s.", label, doing, native);
    return aon_fail_native(error, AON_PERMANENT, "constraint", rc, "%s refused it while %s: %s.", label, doing, native);
  case SQLITE_TOOBIG:
    return aon_fail_native(error, AON_PERMANENT, "too_long", rc, "%s refused a value that is too long while %s.", label, doing);
  case SQLITE_MISMATCH:
    return aon_fail_native(error, AON_PERMANENT, "bad_type", rc, "%s refused a value of the wrong type while %s.", label, doing);
  case SQLITE_FULL:
    return aon_fail_native(error, AON_ENVIRONMENT, "disk_full", rc,
                           "The disk of %s (“%s”) is full while %s. Free some space and try again.", label, path, doing);
  case SQLITE_READONLY:
    return aon_fail_native(error, AON_ENVIRONMENT, "read_only", rc,
                           "%s (“%s”) can't be written while %s: it or its folder is read-only. Change the permissions.", label, path,
                           doing);
  case SQLITE_CANTOPEN:
  case SQLITE_PERM:
  case SQLITE_AUTH:
    return aon_fail_native(error, AON_ENVIRONMENT, "no_permission", rc,
                           "%s (“%s”) can't be opened while %s: %s. Check the folder and its permissions.", label, path, doing, native);
  case SQLITE_IOERR:
    if (rc == SQLITE_IOERR_NOMEM)
      return aon_fail_memory(error);
    return aon_fail_native(error, AON_ENVIRONMENT, "io_error", rc, "The disk of %s (“%s”) failed while %s: %s.", label, path, doing,
                           native);
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
    return aon_fail_native(error, AON_CORRUPT, "corrupt", rc,
                           "%s (“%s”) is damaged or is no SQLite database (%s). Restore it from a backup; nothing was changed.", label,
                           path, native);
  case SQLITE_NOMEM:
    return aon_fail_memory(error);
  case SQLITE_INTERRUPT:
    return aon_fail_native(error, AON_CANCELLED, "cancelled", rc, "Stopped while %s.", doing);
  default:
    return aon_fail_native(error, AON_PERMANENT, "sql_error", rc, "%s refused it while %s: %s.", label, doing, native);
  }
}

void aon_sqlite_tune_process(void) { (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); }

static aon_result make_private(aon_sqlite *database, aon_error *error) {
  /* SQLite would make the file readable for all: it is made here first, empty, which SQLite takes for a new database. */
  aon_file_info info;
  aon_result result = database->env->ops->file_info(database->env->context, database->path, &info, error);
  if (result || info.exists)
    return result;
  aon_file *file;
  aon_error failure = AON_ERROR_INIT;
  result = database->env->ops->file_open(database->env->context, database->path, AON_FILE_CREATE, &file, &failure);
  if (result && !strcmp(failure.code, "exists"))
    return AON_OK; /* another process was faster */
  if (result) {
    if (error)
      *error = failure;
    return result;
  }
  database->env->ops->file_close(file);
  return AON_OK;
}

/* One row of one pragma: its first column as a number, and whether it reads "wal". */
static aon_result read_pragma(aon_sqlite *database, const char *sql, int64_t *ret_number, bool *ret_wal, aon_error *error) {
  sqlite3_stmt *statement = NULL;
  aon_result result = aon_sqlite_prepare(database, sql, &statement, error);
  if (result)
    return result;
  result = aon_sqlite_step(database, statement, error);
  if (!result) {
    const char *text = (const char *)sqlite3_column_text(statement, 0);
    *ret_number = sqlite3_column_int64(statement, 0);
    *ret_wal = text && !strcmp(text, "wal");
  }
  sqlite3_finalize(statement);
  return result;
}

static aon_result pragmas_once(aon_sqlite *database, aon_sqlite_mode mode, aon_error *error) {
  int64_t number = 0;
  bool wal = false;
  aon_result result = AON_OK;
  bool create = mode == AON_SQLITE_CREATE || mode == AON_SQLITE_CREATE_LARGE;
  if (create)
    result = read_pragma(database, "pragma page_count", &number, &wal, error);
  bool empty = create && number == 0;
  if (!result && empty && mode == AON_SQLITE_CREATE_LARGE)
    result = aon_sqlite_execute(database, "pragma page_size=" LARGE_PAGE_BYTES, error);
  if (!result)
    result = read_pragma(database, empty ? "pragma journal_mode=wal" : "pragma journal_mode", &number, &wal, error);
  if (result)
    return result;
  /* Not by its pragma, which makes SQLite prepare all statements anew. */
  sqlite3_db_config(database->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
  return aon_sqlite_execute(database, wal ? "pragma synchronous=full" : "pragma synchronous=extra", error);
}

/* SQLite asks no busy handler while it changes a file to WAL or recovers one: two that open a new file at once would fail. */
static aon_result pragmas(aon_sqlite *database, aon_sqlite_mode mode, int busy_ms, aon_error *error) {
  int64_t until = aon_monotonic_ms(database->env) + busy_ms;
  for (;;) {
    aon_error failure = AON_ERROR_INIT;
    aon_result result = pragmas_once(database, mode, &failure);
    if (result != AON_TRANSIENT || aon_monotonic_ms(database->env) >= until) {
      if (result && error)
        *error = failure;
      return result;
    }
    aon_sleep_ms(database->env, OPEN_PAUSE_MS);
  }
}

aon_result aon_sqlite_open(aon_env *env, const char *label, const char *path, aon_sqlite_mode mode, int busy_ms, aon_sqlite **ret_database,
                           aon_error *error) {
  aon_sqlite *database = calloc(1, sizeof *database);
  if (!database)
    return aon_fail_memory(error);
  database->env = env;
  snprintf(database->label, sizeof database->label, "%s", label);
  database->path = strdup(path);
  aon_result result = database->path ? AON_OK : aon_fail_memory(error);
  if (!result && (mode == AON_SQLITE_CREATE || mode == AON_SQLITE_CREATE_LARGE))
    result = make_private(database, error);
  const char *layer = NULL;
  if (!result)
    result = aon_sqlite_syncs_over(env->vfs, &layer, error);
  if (!result) {
    int flags = mode == AON_SQLITE_READ ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    int rc = sqlite3_open_v2(path, &database->handle, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, layer);
    if (rc)
      result = aon_sqlite_fail(database, rc, "opening it", error);
  }
  if (!result) {
    sqlite3_busy_timeout(database->handle, busy_ms);
    result = pragmas(database, mode, busy_ms, error);
  }
  if (result) {
    aon_sqlite_close(database);
    return result;
  }
  *ret_database = database;
  return AON_OK;
}

void aon_sqlite_close(aon_sqlite *database) {
  if (!database)
    return;
  for (size_t i = 0; i < database->cached; i++)
    sqlite3_finalize(database->cache[i].statement);
  sqlite3_close_v2(database->handle);
  free(database->path);
  free(database);
}

sqlite3 *aon_sqlite_handle(aon_sqlite *database) { return database->handle; }

aon_result aon_sqlite_prepare(aon_sqlite *database, const char *sql, sqlite3_stmt **ret_statement, aon_error *error) {
  sqlite3_stmt *statement;
  int rc = sqlite3_prepare_v2(database->handle, sql, -1, &statement, NULL);
  if (rc)
    return aon_sqlite_fail(database, rc, "preparing a statement", error);
  *ret_statement = statement;
  return AON_OK;
}

aon_result aon_sqlite_statement(aon_sqlite *database, const char *sql, sqlite3_stmt **ret_statement, aon_error *error) {
  for (size_t i = 0; i < database->cached; i++)
    if (database->cache[i].sql == sql && !sqlite3_stmt_busy(database->cache[i].statement)) {
      *ret_statement = database->cache[i].statement;
      return AON_OK;
    }
  if (database->cached == STATEMENTS_LIMIT)
    return aon_fail(error, AON_PERMANENT, "statement_limit", "More than %d statements of %s are in use at once.", STATEMENTS_LIMIT,
                    database->label);
  sqlite3_stmt *statement;
  int rc = sqlite3_prepare_v3(database->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL);
  if (rc)
    return aon_sqlite_fail(database, rc, "preparing a statement", error);
  database->cache[database->cached].sql = sql;
  database->cache[database->cached++].statement = statement;
  *ret_statement = statement;
  return AON_OK;
}

void aon_sqlite_done(sqlite3_stmt **statement) {
  if (!*statement)
    return;
  sqlite3_reset(*statement);
  sqlite3_clear_bindings(*statement);
  *statement = NULL;
}

aon_result aon_sqlite_step(aon_sqlite *database, sqlite3_stmt *statement, aon_error *error) {
  int rc = sqlite3_step(statement);
  if (rc == SQLITE_ROW)
    return AON_OK;
  if (rc == SQLITE_DONE)
    return AON_END;
  aon_result result = aon_sqlite_fail(database, rc, sqlite3_stmt_readonly(statement) ? "reading" : "writing", error);
  sqlite3_reset(statement);
  return result;
}

aon_result aon_sqlite_run(aon_sqlite *database, sqlite3_stmt *statement, aon_error *error) {
  aon_result result = aon_sqlite_step(database, statement, error);
  sqlite3_reset(statement);
  return result == AON_END ? AON_OK : result;
}

aon_result aon_sqlite_execute(aon_sqlite *database, const char *sql, aon_error *error) {
  int rc = sqlite3_exec(database->handle, sql, NULL, NULL, NULL);
  return rc ? aon_sqlite_fail(database, rc, "writing", error) : AON_OK;
}

aon_result aon_sqlite_identity(aon_env *env, const char *path, char ret_identity[AON_SQLITE_IDENTITY], aon_error *error) {
  sqlite3_vfs *vfs = sqlite3_vfs_find(env->vfs);
  if (!vfs)
    return aon_fail(error, AON_ENVIRONMENT, "sqlite_missing", "SQLite has no file system layer named “%s”.",
                    env->vfs ? env->vfs : "default");
  char *full = calloc(1, (size_t)vfs->mxPathname + 1);
  if (!full)
    return aon_fail_memory(error);
  int rc = vfs->xFullPathname(vfs, path, vfs->mxPathname, full);
  if (rc != SQLITE_OK && rc != SQLITE_OK_SYMLINK) {
    free(full);
    return aon_fail_native(error, AON_ENVIRONMENT, "no_permission", rc, "The path “%s” can't be used for a database (%s).", path,
                           sqlite3_errstr(rc));
  }
  size_t length = strlen(full);
  if (length < AON_SQLITE_IDENTITY) {
    memcpy(ret_identity, full, length + 1);
  } else {
    unsigned char digest[32];
    crypto_generichash(digest, sizeof digest, (const unsigned char *)full, length, NULL, 0);
    memcpy(ret_identity, "digest:", 7);
    sodium_bin2hex(ret_identity + 7, 2 * sizeof digest + 1, digest, sizeof digest);
  }
  free(full);
  return AON_OK;
}
