/* SQLite connections as both journal and stores use them: opening, pragmas, prepared statements, errors.
 *
 * Invariants: every connection has extended result codes and a busy time-out; statements come from a small cache by their
 * (static) text; a failing call is classified here and nowhere else. */
#ifndef AON_WIRE_SQLITE_H
#define AON_WIRE_SQLITE_H

#include <sqlite3.h>
#include <stdbool.h>

#include "aon/env.h"

typedef struct aon_sqlite aon_sqlite;

typedef enum aon_sqlite_mode {
  AON_SQLITE_READ,        /* must exist; opened for reading only */
  AON_SQLITE_WRITE,       /* must exist */
  AON_SQLITE_CREATE,      /* made with mode 0600 and WAL if not there */
  AON_SQLITE_CREATE_LARGE /* the same; a new file gets large pages, for values of many kilobytes */
} aon_sqlite_mode;

/* For a program of our own, before anything in it uses SQLite; a program that embeds the library sets SQLite up as it likes. SQLite counts
 * no memory then, which nobody here asks for, and which takes a lock of the process for every block. */
void aon_sqlite_tune_process(void);

/* label names the database in sentences ("main", "the journal"). busy_ms: how long one call waits for another
 * connection. A file that we make gets WAL; one that is there keeps its journal mode. synchronous is FULL in WAL, else EXTRA. */
aon_result aon_sqlite_open(aon_env *env, const char *label, const char *path, aon_sqlite_mode mode, int busy_ms, aon_sqlite **ret_database,
                           aon_error *error) AON_MUST_USE;
void aon_sqlite_close(aon_sqlite *database);
sqlite3 *aon_sqlite_handle(aon_sqlite *database);

/* A statement ready to bind, from the cache (key: the address of a static text) or prepared anew. Give it back with
 * aon_sqlite_done, which resets it and clears its bindings. */
aon_result aon_sqlite_statement(aon_sqlite *database, const char *sql, sqlite3_stmt **ret_statement, aon_error *error) AON_MUST_USE;
void aon_sqlite_done(sqlite3_stmt **statement); /* for __attribute__((cleanup)); NULL is fine */
/* Like _statement for texts that live only now (table names in them); finalised by the caller. */
aon_result aon_sqlite_prepare(aon_sqlite *database, const char *sql, sqlite3_stmt **ret_statement, aon_error *error) AON_MUST_USE;

/* Steps: AON_OK with a row, AON_END when done, else the classified failure. */
aon_result aon_sqlite_step(aon_sqlite *database, sqlite3_stmt *statement, aon_error *error) AON_MUST_USE;
/* Steps a statement that gives no rows, resets it. */
aon_result aon_sqlite_run(aon_sqlite *database, sqlite3_stmt *statement, aon_error *error) AON_MUST_USE;
aon_result aon_sqlite_execute(aon_sqlite *database, const char *sql, aon_error *error) AON_MUST_USE; /* script without rows */

/* Classifies rc (an extended result code) of this connection into *error and returns its kind: busy and locked transient;
 * constraint permanent (code duplicate for primary key and unique, else constraint); full, read-only, cannot open, no
 * permission, I/O environment; corrupt, not a database corrupt; no memory. */
aon_result aon_sqlite_fail(aon_sqlite *database, int rc, const char *doing, aon_error *error);

/* The file behind a path, whether it is there or not: absolute, links resolved; two paths of one file give one identity. A path too long
 * for the buffer is given as its digest. So a store and a journal in one file are recognised (aon_store_caps.database). */
#define AON_SQLITE_IDENTITY 256
aon_result aon_sqlite_identity(aon_env *env, const char *path, char ret_identity[AON_SQLITE_IDENTITY], aon_error *error) AON_MUST_USE;

#define AON_SQLITE_DONE __attribute__((cleanup(aon_sqlite_done)))
#endif
