/* Writing SQLite: each write is one statement under its condition, prepared once for a choice of columns.
 *
 * Invariants:
 *  - a condition compares every column that the expected image has, byte by byte (collate binary), so that nobody's write is overwritten;
 *  - statements say OR ABORT, so that a table's own ON CONFLICT REPLACE or IGNORE can't touch other rows or swallow a refusal;
 *  - no allocation per write once buffers and statements are there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "store/sqlite_internal.h"

#define CHOSEN_SET 1   /* in SET or VALUES */
#define CHOSEN_WHERE 2 /* in WHERE */
#define ID_SHOWN 200   /* bytes of an id in a sentence */
#define SQLITE_VIOLATIONS_LIMIT 10000
#define BLAMED_LIMIT 16  /* columns of a constraint that are named */
#define BLAMED_BYTES 128 /* of the name of one */

static int shown(aon_text id) { return id.length < ID_SHOWN ? (int)id.length : ID_SHOWN; }

static aon_result about(aon_result result, const sqlite_store *store, const aon_write *write, aon_error *error) {
  if (result == AON_REJECTED) /* an image that was never normalised: refused like by a constraint */
    result = AON_PERMANENT;
  if (!error)
    return result;
  error->kind = result;
  error->operation = write->operation;
  aon_error_prefix(error, "%s/%s/%.*s: ", store->name, write->collection->name, shown(write->id), write->id.data);
  return result;
}

/* ---- statement texts ---- */

static aon_result list_columns(const sqlite_table *table, int chosen, const char *format, const char *separator, aon_buffer *sql,
                               aon_error *error) {
  aon_result result = AON_OK;
  bool first = true;
  for (size_t i = 0; !result && i < table->column_count; i++) {
    if (!(table->choice[i] & chosen))
      continue;
    result = first ? AON_OK : aon_buffer_text(sql, separator, error);
    first = false;
    if (!result)
      result = sqlite_quote(table->columns[i].name, sql, error);
    if (!result)
      result = aon_buffer_text(sql, format, error);
  }
  return result;
}

static aon_result insert_sql(const sqlite_table *table, aon_buffer *sql, aon_error *error) {
  aon_result result = aon_buffer_format(sql, error, "insert or abort into %s(", table->quoted);
  if (!result)
    result = list_columns(table, CHOSEN_SET, "", ",", sql, error);
  if (!result)
    result = aon_buffer_text(sql, ") values(", error);
  bool first = true;
  for (size_t i = 0; !result && i < table->column_count; i++)
    if (table->choice[i] & CHOSEN_SET) {
      result = aon_buffer_text(sql, first ? "?" : ",?", error);
      first = false;
    }
  return result ? result : aon_buffer_text(sql, ")", error);
}

/* The key is compared twice: as SQLite compares it, which finds the row by its index, and by its bytes. */
static aon_result where_sql(const sqlite_table *table, aon_buffer *sql, aon_error *error) {
  aon_result result = aon_buffer_text(sql, " where ", error);
  for (size_t i = 0; !result && i < table->key_count; i++) {
    result = sqlite_quote(table->columns[table->keys[i]].name, sql, error);
    if (!result)
      result = aon_buffer_text(sql, " = ? and ", error);
  }
  return result ? result : list_columns(table, CHOSEN_WHERE, " is ? collate binary", " and ", sql, error);
}

static aon_result statement_sql(const sqlite_table *table, sqlite_kind kind, aon_buffer *sql, aon_error *error) {
  if (kind == KIND_INSERT)
    return insert_sql(table, sql, error);
  aon_result result = aon_buffer_format(sql, error, kind == KIND_UPDATE ? "update or abort %s set " : "delete from %s", table->quoted);
  if (!result && kind == KIND_UPDATE)
    result = list_columns(table, CHOSEN_SET, " = ?", ",", sql, error);
  return result ? result : where_sql(table, sql, error);
}

static aon_result statement_new(sqlite_store *store, sqlite_table *table, sqlite_kind kind, sqlite_statement *slot, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  sqlite3_finalize(slot->statement);
  slot->statement = NULL;
  if (!slot->key && !(slot->key = aon_arena_alloc(&table->arena, table->column_count)))
    return aon_fail_memory(error);
  aon_result result = statement_sql(table, kind, &sql, error);
  if (result)
    return result;
  int rc = sqlite3_prepare_v3(store->handle, sql.data, -1, SQLITE_PREPARE_PERSISTENT, &slot->statement, NULL);
  if (rc)
    return sqlite_failed(store, rc, "preparing to write", error);
  memcpy(slot->key, table->choice, table->column_count);
  return AON_OK;
}

/* The statement for table->choice, from the few kept or made anew in the place of the one unused for longest. */
static aon_result statement_for(sqlite_store *store, sqlite_table *table, sqlite_kind kind, sqlite3_stmt **ret_statement,
                                aon_error *error) {
  sqlite_statement *slots = table->statements[kind], *oldest = &slots[0];
  for (size_t i = 0; i < SQLITE_TABLE_STATEMENTS; i++) {
    if (slots[i].statement && !memcmp(slots[i].key, table->choice, table->column_count)) {
      slots[i].used = ++store->uses;
      *ret_statement = slots[i].statement;
      return AON_OK;
    }
    if (!slots[i].statement || (oldest->statement && slots[i].used < oldest->used))
      oldest = &slots[i];
    if (!slots[i].statement)
      break;
  }
  aon_result result = statement_new(store, table, kind, oldest, error);
  if (result)
    return result;
  oldest->used = ++store->uses;
  *ret_statement = oldest->statement;
  return AON_OK;
}

/* ---- rows of one write ---- */

static bool same_value(const sqlite_value *a, const sqlite_value *b) {
  if (a->type != b->type)
    return false;
  switch (a->type) {
  case SQLITE_INTEGER:
    return a->integer == b->integer;
  case SQLITE_FLOAT:
    return !memcmp(&a->real, &b->real, sizeof a->real);
  case SQLITE_TEXT:
  case SQLITE_BLOB:
    return a->length == b->length && (!a->length || !memcmp(a->bytes, b->bytes, a->length));
  default:
    return true;
  }
}

#define STAMP "_bulkOperationId"

static aon_result stamped_text(const aon_image *image, const char *stamp, sqlite_store *store, const char **ret_text, size_t *ret_length,
                               aon_error *error) {
  bson_t document, copy = BSON_INITIALIZER;
  if (!aon_image_view(image, &document)) {
    bson_destroy(&copy);
    return aon_fail(error, AON_CORRUPT, "bad_image", "An image of a document can't be read.");
  }
  bson_copy_to_excluding_noinit(&document, &copy, STAMP, NULL);
  aon_image stamped = {0};
  aon_result result = AON_OK;
  if (!bson_append_utf8(&copy, STAMP, (int)strlen(STAMP), stamp, (int)strlen(stamp)))
    result = aon_fail(error, AON_PERMANENT, "too_long", "A document is too large.");
  stamped.bson = bson_get_data(&copy);
  stamped.bson_length = copy.len;
  if (!result)
    result = sqlite_image_text(store, &stamped, &store->wanted_text, ret_text, ret_length, error);
  bson_destroy(&copy);
  return result;
}

/* id and doc, as a row of a document table. */
static aon_result document_row(sqlite_store *store, const aon_write *write, const aon_image *image, const char *stamp, aon_buffer *buffer,
                               sqlite_value *row, aon_error *error) {
  const char *text;
  size_t length;
  aon_result result =
      stamp ? stamped_text(image, stamp, store, &text, &length, error) : sqlite_image_text(store, image, buffer, &text, &length, error);
  if (result)
    return result;
  row[0] = (sqlite_value){.type = SQLITE_TEXT, .bytes = write->id.data, .length = write->id.length};
  row[1] = (sqlite_value){.type = SQLITE_TEXT, .bytes = text, .length = length};
  return AON_OK;
}

static void stamp_row(const sqlite_table *table, const char *stamp, sqlite_value *row) {
  size_t at;
  if (sqlite_column_find(table, STAMP, &at)) /* a table without that column can't be stamped */
    row[at] = (sqlite_value){.type = SQLITE_TEXT, .bytes = stamp, .length = strlen(stamp)};
}

static aon_result load_rows(sqlite_store *store, sqlite_table *table, const aon_write *write, aon_error *error) {
  bool documents = table->shape.document_table;
  aon_result result = AON_OK;
  if (write->expected.bson)
    result = documents ? document_row(store, write, &write->expected, NULL, &store->expected_text, table->before, error)
                       : sqlite_image_row(store, table, &write->expected, table->before, error);
  if (!result && write->wanted.bson)
    result = documents ? document_row(store, write, &write->wanted, write->stamp, &store->wanted_text, table->after, error)
                       : sqlite_image_row(store, table, &write->wanted, table->after, error);
  if (!result && write->wanted.bson && write->stamp && !documents)
    stamp_row(table, write->stamp, table->after);
  for (size_t i = 0; !result && !documents && i < table->key_count; i++) {
    sqlite_value *key = write->expected.bson ? &table->before[table->keys[i]] : &table->after[table->keys[i]];
    if (!key->type)
      result = aon_fail(error, AON_PERMANENT, "bad_image", "The image lacks its key “%s”.", table->columns[table->keys[i]].name);
  }
  return result;
}

static void choose(sqlite_table *table, sqlite_kind kind) {
  bool any = false;
  for (size_t i = 0; i < table->column_count; i++) {
    const sqlite_value *before = &table->before[i], *after = &table->after[i];
    bool where = kind != KIND_INSERT && before->type; /* what is generated has no type here */
    bool set = kind == KIND_INSERT ? after->type : kind == KIND_UPDATE && after->type && !same_value(before, after);
    any = any || set;
    table->choice[i] = (unsigned char)((set ? CHOSEN_SET : 0) | (where ? CHOSEN_WHERE : 0));
  }
  if (kind == KIND_UPDATE && !any) /* nothing differs, but the condition has still to be asked */
    table->choice[table->keys[0]] |= CHOSEN_SET;
}

static aon_result bind_rows(sqlite_store *store, const sqlite_table *table, sqlite_kind kind, sqlite3_stmt *statement, aon_error *error) {
  aon_result result = AON_OK;
  int at = 1;
  for (size_t i = 0; !result && kind != KIND_DELETE && i < table->column_count; i++)
    if (table->choice[i] & CHOSEN_SET)
      result = sqlite_bind(store, statement, at++, &table->after[i], error);
  for (size_t i = 0; !result && kind != KIND_INSERT && i < table->key_count; i++)
    result = sqlite_bind(store, statement, at++, &table->before[table->keys[i]], error);
  for (size_t i = 0; !result && kind != KIND_INSERT && i < table->column_count; i++)
    if (table->choice[i] & CHOSEN_WHERE)
      result = sqlite_bind(store, statement, at++, &table->before[i], error);
  return result;
}

/* ---- refusals ---- */

static aon_result changed_meanwhile(sqlite_store *store, const aon_write *write, aon_error *error) {
  aon_arena arena = {0};
  aon_image now = {0};
  aon_error ignored = AON_ERROR_INIT; /* the document can't be read: then it was changed as well */
  bool gone = !sqlite_read(store, write->collection, &write->id, 1, &arena, &now, &ignored) && !now.bson;
  aon_arena_release(&arena);
  return aon_fail(error, AON_PERMANENT, "changed_meanwhile", "%s",
                  gone ? "it was deleted by somebody else meanwhile. Nothing was written; try again with what is there now."
                       : "it was changed by somebody else meanwhile. Nothing was written; try again with what is there now.");
}

/* SQLite says "TABLE.COLUMN, TABLE.COLUMN" of what must be unique, or must not be null; of other constraints only their names. What isn't
 * spelled quite so names nothing. */
static void blame(const sqlite_store *store, const sqlite_table *table, const char *key, aon_error *error) {
  const char *names[BLAMED_LIMIT], *at = strstr(sqlite3_errmsg(store->handle), " failed: ");
  size_t count = 0, prefix = strlen(table->name);
  for (at = at ? at + 9 : ""; *at; count++) {
    size_t place, length = strcspn(at, ",");
    char name[BLAMED_BYTES];
    if (count == BLAMED_LIMIT || length < prefix + 2 || length - prefix > sizeof name || strncmp(at, table->name, prefix) ||
        at[prefix] != '.')
      return;
    snprintf(name, sizeof name, "%.*s", (int)(length - prefix - 1), at + prefix + 1);
    const sqlite_column *column = sqlite_column_find(table, name, &place);
    names[count] = !column ? NULL : !table->shape.document_table ? column->name : place == table->keys[0] ? key : NULL;
    if (!names[count])
      return;
    at += length + (at[length] ? 2 : 0);
  }
  aon_error_properties(error, names, count);
}

/* A key that is taken already is a duplicate whatever SQLite calls it; so is any other unique value. */
static aon_result refused(sqlite_store *store, const sqlite_table *table, const aon_write *write, int rc, aon_error *error) {
  if (rc == SQLITE_CONSTRAINT_TRIGGER)
    return aon_fail_native(error, AON_PERMANENT, "constraint", rc, "a trigger refused it: %s.", sqlite3_errmsg(store->handle));
  aon_result result = sqlite_failed(store, rc, "writing", error);
  if ((rc & 0xff) == SQLITE_CONSTRAINT)
    blame(store, table, write->collection->id_property, error);
  return result;
}

/* ---- foreign keys ---- */

void sqlite_open_keys_forget(aon_transaction *transaction) {
  for (size_t i = 0; i < transaction->at_fault_count; i++)
    free(transaction->at_fault[i].id);
  transaction->at_fault_count = 0;
}

/* Foreign keys are checked at the end, and SQLite only tells whether any is open. So the operations done while one is are remembered, the
 * first of them at least, to name the one at fault. */
static void watch_keys(aon_transaction *transaction, const sqlite_table *table, const aon_write *write) {
  int open = 0, highest = 0;
  (void)sqlite3_db_status(transaction->store->handle, SQLITE_DBSTATUS_DEFERRED_FKS, &open, &highest, 0);
  if (!open) {
    if (transaction->at_fault_count)
      sqlite_open_keys_forget(transaction);
    return;
  }
  if (transaction->at_fault_count == SQLITE_FAILED_KEYS_LIMIT)
    return;
  sqlite_open_key entry = {
      .table = table, .operation = write->operation, .id = malloc(write->id.length + 1), .id_length = write->id.length};
  if (!entry.id)
    return;
  memcpy(entry.id, write->id.data, write->id.length);
  transaction->at_fault[transaction->at_fault_count++] = entry;
}

/* The id of the row at rowid in key_text. */
static bool row_id_at(sqlite_store *store, const sqlite_table *table, int64_t rowid) {
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  aon_error ignored = AON_ERROR_INIT; /* then the first operation is named instead */
  sqlite3_stmt *statement = NULL;
  bool found = false;
  aon_buffer_clear(&store->key_text);
  if (!aon_buffer_format(&sql, &ignored, "select %s from %s where rowid = ?1", table->select_list, table->quoted) &&
      !sqlite3_prepare_v2(store->handle, sql.data, -1, &statement, NULL) && !sqlite3_bind_int64(statement, 1, rowid) &&
      sqlite3_step(statement) == SQLITE_ROW) {
    for (size_t i = 0; i < table->column_count; i++)
      sqlite_value_of(statement, (int)i, &table->before[i]);
    found = !sqlite_row_id(store, table, table->before, &store->key_text, &ignored);
  }
  sqlite3_finalize(statement);
  return found;
}

static const sqlite_open_key *entry_of(sqlite_store *store, const char *child, int64_t rowid) {
  aon_transaction *transaction = &store->transaction;
  bool looked = false;
  for (size_t i = 0; i < transaction->at_fault_count; i++) {
    const sqlite_open_key *entry = &transaction->at_fault[i];
    if (strcasecmp(entry->table->name, child))
      continue;
    if (!looked && !row_id_at(store, entry->table, rowid))
      return NULL;
    looked = true;
    if (entry->id_length == store->key_text.length && !memcmp(entry->id, store->key_text.data, entry->id_length))
      return entry;
  }
  return NULL;
}

/* A row that refers to nothing was written itself, or lost what it refers to to an operation on the other table. */
static const sqlite_open_key *at_fault(sqlite_store *store, const char *child, int64_t rowid, const char *parent) {
  const sqlite_open_key *entry = entry_of(store, child, rowid);
  aon_transaction *transaction = &store->transaction;
  for (size_t i = 0; !entry && i < transaction->at_fault_count; i++)
    if (!strcasecmp(transaction->at_fault[i].table->name, parent))
      entry = &transaction->at_fault[i];
  return entry;
}

static aon_result open_keys(sqlite_store *store, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result = aon_sqlite_statement(store->database, "pragma foreign_key_check", &statement, error);
  if (result)
    return result;
  const sqlite_open_key *entry = NULL;
  char child[128] = "a table", parent[128] = "another table";
  for (int i = 0; !entry && i < SQLITE_VIOLATIONS_LIMIT && sqlite3_step(statement) == SQLITE_ROW; i++) { /* older ones are there too */
    snprintf(child, sizeof child, "%s", sqlite3_column_text(statement, 0));
    snprintf(parent, sizeof parent, "%s", sqlite3_column_text(statement, 2));
    entry = at_fault(store, child, sqlite3_column_int64(statement, 1), parent);
  }
  if (!entry && store->transaction.at_fault_count)
    entry = &store->transaction.at_fault[0];
  aon_fail_native(error, AON_PERMANENT, "constraint", SQLITE_CONSTRAINT_FOREIGNKEY,
                  "%s refuses it: a row of %s%s%.*s%s would refer to one of %s that isn't there.", store->name, child,
                  entry ? " (see the operation on " : "", entry ? (int)(entry->id_length < ID_SHOWN ? entry->id_length : ID_SHOWN) : 0,
                  entry ? entry->id : "", entry ? ")" : "", parent);
  if (error && entry)
    error->operation = entry->operation;
  return AON_PERMANENT;
}

/* What was written goes to the write-ahead log now, where a full disk still refuses it before anything is decided; the commit only has to
 * mark it. A page that is in use is left to the commit. */
static aon_result pages_to_log(sqlite_store *store, aon_transaction *transaction, aon_error *error) {
  int rc = transaction->flushed ? SQLITE_OK : sqlite3_db_cacheflush(store->handle);
  transaction->flushed = true;
  if (rc == SQLITE_OK || (rc & 0xff) == SQLITE_BUSY)
    return AON_OK;
  transaction->failed = true;
  return sqlite_failed(store, rc, "writing", error);
}

aon_result sqlite_flush(void *state, aon_transaction *transaction, aon_error *error) {
  sqlite_store *store = state;
  sqlite_enter(store);
  int open = 0, highest = 0;
  if (!transaction->open || transaction->failed)
    return aon_fail(error, AON_USAGE, "transaction_failed", "A transaction of %s that has failed can only be rolled back.", store->name);
  (void)sqlite3_db_status(store->handle, SQLITE_DBSTATUS_DEFERRED_FKS, &open, &highest, 0);
  if (!open)
    return pages_to_log(store, transaction, error);
  aon_result result = open_keys(store, error);
  transaction->failed = true;
  return result;
}

/* ---- apply ---- */

static sqlite_kind kind_of(const aon_write *write) {
  return !write->expected.bson ? KIND_INSERT : write->wanted.bson ? KIND_UPDATE : KIND_DELETE;
}

static aon_result step_write(sqlite_store *store, sqlite_table *table, const aon_write *write, aon_error *error) {
  sqlite_kind kind = kind_of(write);
  sqlite3_stmt *statement;
  choose(table, kind);
  aon_result result = statement_for(store, table, kind, &statement, error);
  if (!result)
    result = bind_rows(store, table, kind, statement, error);
  if (result)
    return result;
  int rc = sqlite3_step(statement);
  if (rc != SQLITE_DONE)
    result = refused(store, table, write, rc, error);
  sqlite3_reset(statement);
  if (result)
    return result;
  if (sqlite3_changes(store->handle) == 1)
    return AON_OK;
  if (kind == KIND_INSERT)
    return aon_fail(error, AON_PERMANENT, "constraint", "a trigger of the table left it out. Nothing was written.");
  return changed_meanwhile(store, write, error);
}

static aon_result find_table(sqlite_store *store, const aon_write *write, sqlite_table **table, aon_error *error) {
  if (*table && !strcmp((*table)->name, write->collection->name))
    return AON_OK;
  aon_result result = sqlite_table_find(store, write->collection, true, table, error);
  if (!result && !(*table)->exists) {
    if (!write->expected.bson)
      return sqlite_table_make(store, write->collection, table, error);
    return aon_fail(error, AON_PERMANENT, "changed_meanwhile", "its table isn't there any more. Nothing was written.");
  }
  return result;
}

static aon_result apply_one(sqlite_store *store, const aon_write *write, sqlite_table **table, aon_error *error) {
  if (!write->expected.bson && !write->wanted.bson)
    return aon_fail(error, AON_USAGE, "empty_write", "it has neither an expected nor a wanted image.");
  aon_result result = find_table(store, write, table, error);
  if (result)
    return result;
  if (!(*table)->shape.document_table)
    aon_arena_reset(&store->scratch_arena);
  result = load_rows(store, *table, write, error);
  if (!result)
    result = step_write(store, *table, write, error);
  if (!result)
    watch_keys(&store->transaction, *table, write);
  return result;
}

aon_result sqlite_apply(void *state, aon_transaction *transaction, const aon_write *writes, size_t count, aon_write_state *states,
                        size_t *ret_failed, aon_error *error) {
  sqlite_store *store = state;
  sqlite_enter(store);
  if (!transaction || !transaction->open || transaction->failed)
    return aon_fail(error, AON_USAGE, "transaction_failed", "Writes to %s need an open transaction that has not failed.", store->name);
  sqlite_table *table = NULL;
  transaction->flushed = false;
  for (size_t i = 0; i < count; i++) {
    aon_result result = sqlite_cancelled(store) ? sqlite_stopped(store, error) : apply_one(store, &writes[i], &table, error);
    if (result) {
      transaction->failed = true;
      if (states)
        states[i] = AON_WRITE_REFUSED;
      if (ret_failed)
        *ret_failed = i;
      return about(result, store, &writes[i], error);
    }
    if (states)
      states[i] = AON_WRITE_APPLIED;
  }
  return AON_OK;
}
