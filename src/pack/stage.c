/* The stage: a temporary database without a name. SQLite keeps it in its page cache and writes what doesn't fit to a file that is
 * removed as soon as it is opened; nothing of it outlives the job, so neither journal nor syncs are needed. */
#include "pack/job.h"

#include <stdlib.h>
#include <string.h>

static const char tables[] =
    "create table row(key integer primary key, id text not null, flags integer not null, filled integer not null, cleared integer not null,"
    " faults integer not null, data blob not null, shown blob, refs blob, before blob, token blob);"
    "create table id(sheet integer, id text, key integer, primary key(sheet, id)) without rowid;"
    "create table name(sheet integer, col integer, folded text, key integer, good integer, more integer default 0,"
    " primary key(sheet, col, folded)) without rowid;"
    "create table known(coll integer, property text, folded text, id text, primary key(coll, property, folded, id)) without rowid;"
    "create table scanned(coll integer, property text, primary key(coll, property)) without rowid;"
    "create table stored(coll integer, id text, primary key(coll, id)) without rowid;"
    "create table made(coll integer, id text, property text, folded text, primary key(coll, id)) without rowid;"
    "create table shared(number integer primary key, coll integer, id text, own text, sheet integer, properties blob, unique(coll, id));"
    "create table member(document integer, property text, value text, joins integer, touched integer,"
    " primary key(document, property, value)) without rowid;"
    "create table entry(coll integer, id text, sort text, value blob, primary key(coll, id, sort)) without rowid;"
    "create table image(coll integer, id text, bson blob, token blob, primary key(coll, id)) without rowid;"
    "create table finding(place integer, row integer, col integer, severity integer, sub integer, phase integer, sheet text, heading text, "
    "value text,"
    " code text, sentence text, primary key(place, row, col, severity, sub)) without rowid;";

aon_result aon_stage_open(aon_pack_job *job, aon_error *error) {
  aon_result result = aon_sqlite_open(job->pack->env, "the temporary database of the upload", "", AON_SQLITE_WRITE, 0, &job->stage, error);
  if (result)
    return result;
  char pragmas[200];
  snprintf(pragmas, sizeof pragmas,
           "pragma journal_mode=off; pragma synchronous=off; pragma locking_mode=exclusive; pragma cache_size=-%llu;",
           (unsigned long long)(job->pack->limits.stage_memory_bytes >> 10));
  result = aon_sqlite_execute(job->stage, pragmas, error);
  if (!result)
    result = aon_sqlite_execute(job->stage, tables, error);
  return result ? result : aon_sqlite_execute(job->stage, "begin", error);
}

aon_result aon_stage_forget_validation(aon_pack_job *job, aon_error *error) {
  job->touched = 0;
  aon_recall_clear(job);
  return aon_sqlite_execute(
      job->stage,
      "delete from known; delete from scanned; delete from stored; delete from made; delete from shared; delete from member;"
      "delete from entry; delete from image; delete from finding where phase = 1;",
      error);
}

static aon_result bind_all(aon_pack_job *job, sqlite3_stmt *statement, const char *types, va_list arguments, aon_error *error) {
  int rc = SQLITE_OK;
  for (int i = 1; !rc && *types; i++, types++)
    switch (*types) {
    case 'i':
      rc = sqlite3_bind_int64(statement, i, va_arg(arguments, int64_t));
      break;
    case 't': {
      aon_text text = va_arg(arguments, aon_text);
      rc = text.data ? sqlite3_bind_text64(statement, i, text.data, text.length, SQLITE_STATIC, SQLITE_UTF8)
                     : sqlite3_bind_null(statement, i);
      break;
    }
    case 'b': {
      const void *bytes = va_arg(arguments, const void *);
      size_t length = va_arg(arguments, size_t);
      rc = bytes ? sqlite3_bind_blob64(statement, i, bytes, length, SQLITE_STATIC) : sqlite3_bind_null(statement, i);
      break;
    }
    default:
      rc = sqlite3_bind_null(statement, i);
    }
  return rc ? aon_sqlite_fail(job->stage, rc, "preparing a row", error) : AON_OK;
}

static aon_result query(aon_pack_job *job, sqlite3_stmt **ret_statement, aon_error *error, const char *sql, const char *types,
                        va_list arguments) {
  sqlite3_stmt *statement AON_SQLITE_DONE = NULL;
  aon_result result = aon_sqlite_statement(job->stage, sql, &statement, error);
  if (!result)
    result = bind_all(job, statement, types, arguments, error);
  if (result)
    return result;
  *ret_statement = statement;
  statement = NULL;
  return AON_OK;
}

aon_result aon_stage_query(aon_pack_job *job, sqlite3_stmt **ret_statement, aon_error *error, const char *sql, const char *types, ...) {
  va_list arguments;
  va_start(arguments, types);
  aon_result result = query(job, ret_statement, error, sql, types, arguments);
  va_end(arguments);
  return result;
}

aon_result aon_stage_run(aon_pack_job *job, aon_error *error, const char *sql, const char *types, ...) {
  va_list arguments;
  va_start(arguments, types);
  sqlite3_stmt *statement AON_SQLITE_DONE = NULL;
  aon_result result = query(job, &statement, error, sql, types, arguments);
  va_end(arguments);
  return result ? result : aon_sqlite_run(job->stage, statement, error);
}

aon_text aon_stage_text(sqlite3_stmt *statement, int column) {
  const char *data = (const char *)sqlite3_column_text(statement, column);
  return (aon_text){data, data ? (size_t)sqlite3_column_bytes(statement, column) : 0};
}

static const uint8_t *copy_blob(sqlite3_stmt *statement, int column, aon_arena *arena, uint32_t *ret_length, bool *failed) {
  const void *bytes = sqlite3_column_blob(statement, column);
  size_t length = bytes ? (size_t)sqlite3_column_bytes(statement, column) : 0;
  *ret_length = (uint32_t)length;
  if (!bytes)
    return NULL;
  const uint8_t *copy = aon_arena_copy(arena, bytes, length);
  *failed |= !copy;
  return copy;
}

static bool copy_document(sqlite3_stmt *statement, int column, aon_arena *arena, bson_t *ret_document) {
  uint32_t length;
  bool failed = false;
  const uint8_t *bytes = copy_blob(statement, column, arena, &length, &failed);
  if (!bytes) {
    bson_init(ret_document);
    return !failed;
  }
  return bson_init_static(ret_document, bytes, length);
}

static aon_result row_from(sqlite3_stmt *statement, const aon_schema_sheet *sheet, aon_arena *arena, aon_job_row *row, aon_error *error) {
  aon_text id = aon_stage_text(statement, 1);
  *row = (aon_job_row){.key = sqlite3_column_int64(statement, 0),
                       .sheet = sheet,
                       .flags = sqlite3_column_int(statement, 2),
                       .filled = (uint64_t)sqlite3_column_int64(statement, 3),
                       .cleared = (uint64_t)sqlite3_column_int64(statement, 4),
                       .faults = (uint64_t)sqlite3_column_int64(statement, 5)};
  row->number = aon_key_row(row->key);
  row->id = (aon_text){aon_arena_text(arena, id.data ? id.data : "", id.length), id.length};
  bool failed = !row->id.data;
  failed |= !copy_document(statement, 6, arena, &row->data);
  failed |= !copy_document(statement, 7, arena, &row->shown);
  failed |= !copy_document(statement, 8, arena, &row->refs);
  row->before.bson = copy_blob(statement, 9, arena, &row->before.bson_length, &failed);
  row->before.token = copy_blob(statement, 10, arena, &row->before.token_length, &failed);
  bson_init(&row->before_view);
  if (!failed && row->before.bson)
    failed = !aon_image_view(&row->before, &row->before_view);
  return failed ? aon_fail_memory(error) : AON_OK;
}

aon_result aon_stage_rows(aon_pack_job *job, const aon_schema_sheet *sheet, uint32_t after, aon_arena *arena, aon_job_row *rows,
                          size_t *ret_count, aon_error *error) {
  sqlite3_stmt *statement AON_SQLITE_DONE = NULL;
  aon_result result = aon_stage_query(job, &statement, error,
                                      "select key, id, flags, filled, cleared, faults, data, shown, refs, before, token from row"
                                      " where key > ?1 and key <= ?2 order by key limit ?3",
                                      "iii", aon_row_key(sheet, after), aon_row_key(sheet, UINT32_MAX), (int64_t)AON_JOB_BATCH);
  size_t count = 0;
  while (!result && (!count || arena->used_bytes < AON_JOB_BATCH_BYTES) && !(result = aon_sqlite_step(job->stage, statement, error))) {
    result = row_from(statement, sheet, arena, &rows[count], error);
    if (!result)
      count++;
  }
  *ret_count = count;
  return result == AON_END ? AON_OK : result;
}
