/* The floor on an SQLite file: prepared statements. The file is opened as the embedded store opens its own (WAL, synchronous FULL, its size
 * of the page cache), tables are the store's document tables. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "floor.h"

#define CACHE_KIBIBYTES "8192" /* the embedded store's */

typedef struct file {
  sqlite3 *database;
  struct {
    sqlite3_stmt *insert, *update;
  } tables[FLOOR_MAX_TABLES];
} file;

static void run(const file *f, const char *sql) {
  if (sqlite3_exec(f->database, sql, NULL, NULL, NULL))
    floor_give_up("floor: %s: %s", sql, sqlite3_errmsg(f->database));
}

static sqlite3_stmt *prepared(const file *f, const char *format, const char *table) {
  char sql[256];
  snprintf(sql, sizeof sql, format, table);
  sqlite3_stmt *statement;
  if (sqlite3_prepare_v3(f->database, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL))
    floor_give_up("floor: %s: %s", sql, sqlite3_errmsg(f->database));
  return statement;
}

static void open_file(floor_target *target) {
  file *f = target->state = floor_grown(NULL, sizeof *f);
  if (sqlite3_open_v2(target->where, &f->database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL))
    floor_give_up("floor: %s can't be opened", target->where);
  run(f, "pragma journal_mode=wal; pragma synchronous=full; pragma cache_size=-" CACHE_KIBIBYTES "; begin immediate");
  for (unsigned short i = 0; i < target->table_count; i++) {
    char sql[256];
    snprintf(sql, sizeof sql, "create table if not exists \"%s\" (id TEXT PRIMARY KEY, doc TEXT)", target->tables[i]);
    run(f, sql);
    f->tables[i].insert = prepared(f, "insert into \"%s\" values (?1, ?2)", target->tables[i]);
    f->tables[i].update = prepared(f, "update \"%s\" set doc = ?2 where id = ?1", target->tables[i]);
  }
}

static void write_rows(floor_target *target) {
  const file *f = target->state;
  for (const floor_row *row = target->rows; row < target->rows + target->count; row++) {
    sqlite3_stmt *statement = row->update ? f->tables[row->table].update : f->tables[row->table].insert;
    sqlite3_bind_text(statement, 1, row->id, row->id_length, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, row->document, row->document_length, SQLITE_STATIC);
    if (sqlite3_step(statement) != SQLITE_DONE || sqlite3_changes(f->database) != 1)
      floor_give_up("floor: %s: %s", row->id, sqlite3_errmsg(f->database));
    sqlite3_reset(statement);
  }
}

static void end(floor_target *target, bool commit) { run(target->state, commit ? "commit" : "rollback"); }

static void close_file(floor_target *target) {
  file *f = target->state;
  for (unsigned short i = 0; i < target->table_count; i++) {
    sqlite3_finalize(f->tables[i].insert);
    sqlite3_finalize(f->tables[i].update);
  }
  if (sqlite3_close(f->database))
    floor_give_up("floor: %s can't be closed", target->where);
  free(f);
}

const floor_kind floor_sqlite = {.open = open_file, .write = write_rows, .end = end, .close = close_file};
