/* What the tables of a SQLite file look like.
 *
 * A table of exactly `id` (text, its key) and `doc` is a document table; any other is used column by column. Which triggers
 * would write what is not read from their text: a statement is prepared under an authorizer, which SQLite tells every table
 * that the statement would touch and the trigger that makes it do so.
 *
 * Invariant: a table described here holds for one schema version; a forgotten one is retired, not freed, so that shapes
 * handed out stay. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "store/sqlite_internal.h"

#define OURS "aon_"
#define EFFECT_BYTES 600

/* ---- forgetting ---- */

static void finalise(sqlite_table *table) {
  sqlite3_finalize(table->select_by_id);
  table->select_by_id = NULL;
  for (int i = 0; i < SCRATCH_COUNT; i++) {
    sqlite3_finalize(table->scratch[i]);
    table->scratch[i] = NULL;
  }
  for (int kind = 0; kind < KIND_COUNT; kind++)
    for (size_t i = 0; i < SQLITE_TABLE_STATEMENTS; i++) {
      sqlite3_finalize(table->statements[kind][i].statement);
      table->statements[kind][i] = (sqlite_statement){0};
    }
}

void sqlite_schema_forget(sqlite_store *store) {
  while (store->tables) {
    sqlite_table *table = store->tables;
    store->tables = table->next;
    finalise(table);
    table->next = store->retired;
    store->retired = table;
  }
  sqlite3_close_v2(store->scratch);
  store->scratch = NULL;
  store->schema_version = -1;
}

void sqlite_schema_release(sqlite_store *store) {
  sqlite_schema_forget(store);
  while (store->retired) {
    sqlite_table *table = store->retired;
    store->retired = table->next;
    aon_arena_release(&table->arena);
    free(table);
  }
}

static aon_result schema_version(sqlite_store *store, int64_t *ret_version, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result = aon_sqlite_statement(store->database, "pragma schema_version", &statement, error);
  if (result)
    return result;
  int rc = sqlite3_step(statement);
  if (rc != SQLITE_ROW)
    return sqlite_failed(store, rc, "reading", error);
  *ret_version = sqlite3_column_int64(statement, 0);
  return AON_OK;
}

aon_result sqlite_schema_check(sqlite_store *store, aon_error *error) {
  int64_t version = -1;
  aon_result result = schema_version(store, &version, error);
  if (!result && version != store->schema_version) {
    sqlite_schema_forget(store);
    store->schema_version = version;
  }
  return result;
}

aon_result sqlite_quote(const char *name, aon_buffer *out, aon_error *error) {
  aon_result result = aon_buffer_append(out, "\"", 1, error);
  for (; !result && *name; name++)
    result = *name == '"' ? aon_buffer_append(out, "\"\"", 2, error) : aon_buffer_append(out, name, 1, error);
  return result ? result : aon_buffer_append(out, "\"", 1, error);
}

/* ---- columns ---- */

static bool holds(const char *type, const char *part) { return strcasestr(type, part) != NULL; }

/* https://www.sqlite.org/datatype3.html, 3.1; STRICT tables know these names only (https://www.sqlite.org/stricttables.html). */
static sqlite_affinity affinity_of(const char *type, bool strict) {
  if (strict && !strcasecmp(type, "ANY"))
    return AFFINITY_NONE;
  if (holds(type, "INT"))
    return AFFINITY_INTEGER;
  if (holds(type, "CHAR") || holds(type, "CLOB") || holds(type, "TEXT"))
    return AFFINITY_TEXT;
  if (holds(type, "BLOB") || !type[0])
    return AFFINITY_NONE;
  if (holds(type, "REAL") || holds(type, "FLOA") || holds(type, "DOUB"))
    return AFFINITY_REAL;
  return AFFINITY_NUMERIC;
}

/* *ret_text NULL: null stands there. False: no memory, which must not read as “no default” or “no type”. */
static bool text_at(aon_arena *arena, sqlite3_stmt *row, int column, const char **ret_text) {
  *ret_text = NULL;
  if (sqlite3_column_type(row, column) == SQLITE_NULL)
    return true;
  const char *text = (const char *)sqlite3_column_text(row, column);
  *ret_text = text ? aon_arena_text(arena, text, (size_t)sqlite3_column_bytes(row, column)) : NULL;
  return *ret_text;
}

static aon_result prepare_named(sqlite_store *store, const char *sql, const char *name, sqlite3_stmt **ret_statement, aon_error *error) {
  aon_result result = aon_sqlite_statement(store->database, sql, ret_statement, error);
  if (!result)
    sqlite3_bind_text(*ret_statement, 1, name, -1, SQLITE_STATIC);
  return result;
}

static bool quoted_literal(const char *sql) {
  if (*sql == 'x' || *sql == 'X')
    sql++;
  if (*sql++ != '\'')
    return false;
  for (; *sql; sql++)
    if (*sql == '\'' && *++sql != '\'')
      return !*sql; /* the closing quote is the last character */
  return false;
}

static bool literal(const char *sql) {
  if (!strcasecmp(sql, "null") || !strcasecmp(sql, "true") || !strcasecmp(sql, "false"))
    return true;
  const char *rest = sql[0] == '+' || sql[0] == '-' ? sql + 1 : sql;
  if (rest[0] && strspn(rest, "0123456789.") == strlen(rest))
    return true;
  return quoted_literal(sql);
}

/* cid, name, type, notnull, dflt_value, pk, hidden */
static aon_result load_column(sqlite_table *table, sqlite3_stmt *row, aon_error *error) {
  sqlite_column *column = &table->columns[table->column_count++];
  if (!text_at(&table->arena, row, 1, &column->name) || !text_at(&table->arena, row, 2, &column->type) ||
      !text_at(&table->arena, row, 4, &column->default_sql))
    return aon_fail_memory(error);
  column->key = (uint32_t)sqlite3_column_int(row, 5);
  column->generated = sqlite3_column_int(row, 6) > 1;
  column->affinity = affinity_of(column->type, table->strict);
  column->bytes = column->affinity == AFFINITY_NONE && holds(column->type, "BLOB");
  column->default_fixed = !column->default_sql || literal(column->default_sql);
  column->default_value.type = SQLITE_NULL;
  if (column->key > table->key_count)
    table->key_count = column->key;
  return AON_OK;
}

typedef struct found_table { /* what pragma table_list says */
  bool strict;
  size_t columns;
} found_table;

static aon_result load_columns(sqlite_store *store, sqlite_table *table, size_t capacity, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *row = NULL;
  aon_result result = prepare_named(store, "select * from pragma_table_xinfo(?1) where hidden <> 1", table->name, &row, error);
  if (result)
    return result;
  table->columns = aon_arena_alloc(&table->arena, capacity * sizeof *table->columns);
  if (!table->columns)
    return aon_fail_memory(error);
  int rc = SQLITE_DONE;
  while (!result && (rc = sqlite3_step(row)) == SQLITE_ROW) {
    if (table->column_count == capacity)
      result = aon_fail(error, AON_TRANSIENT, "schema_changed", "“%s” in %s was altered while it was looked at. Try again.", table->name,
                        store->name);
    else
      result = load_column(table, row, error);
  }
  if (!result && rc != SQLITE_DONE)
    result = sqlite_failed(store, rc, "reading", error);
  return result;
}

static void collated_key(sqlite_table *table, const char *name, const char *collation) {
  for (size_t i = 0; name && i < table->column_count; i++)
    if (table->columns[i].key && !strcasecmp(table->columns[i].name, name) && strcasecmp(collation, "BINARY"))
      table->columns[i].collated = true;
}

/* The index of the primary key tells its collations; a table with an INTEGER PRIMARY KEY in place of the rowid has none. */
static aon_result load_key(sqlite_store *store, sqlite_table *table, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *row = NULL;
  aon_result result =
      prepare_named(store, "select x.name, x.coll from pragma_index_list(?1) i, pragma_index_xinfo(i.name) x where i.origin='pk'",
                    table->name, &row, error);
  if (result)
    return result;
  bool indexed = false;
  int rc;
  while ((rc = sqlite3_step(row)) == SQLITE_ROW) {
    indexed = true;
    collated_key(table, (const char *)sqlite3_column_text(row, 0), (const char *)sqlite3_column_text(row, 1));
  }
  if (rc != SQLITE_DONE)
    return sqlite_failed(store, rc, "reading", error);
  table->keys = aon_arena_alloc(&table->arena, (table->key_count + 1) * sizeof *table->keys);
  if (!table->keys)
    return aon_fail_memory(error);
  for (size_t i = 0; i < table->column_count; i++)
    if (table->columns[i].key) {
      table->keys[table->columns[i].key - 1] = i;
      table->columns[i].rowid = !indexed && !strcasecmp(table->columns[i].type, "INTEGER");
    }
  return AON_OK;
}

/* ---- what a write would change beside its row ---- */

typedef struct effects {
  char text[EFFECT_BYTES];
  char last[128]; /* trigger named last */
} effects;

static void note(effects *found, const char *format, const char *what, const char *how) {
  size_t length = strlen(found->text);
  if (length)
    length += (size_t)snprintf(found->text + length, sizeof found->text - length, "; ");
  if (length < sizeof found->text)
    snprintf(found->text + length, sizeof found->text - length, format, what, how);
}

static int hear(void *context, int action, const char *table, const char *column, const char *database, const char *trigger) {
  (void)column;
  (void)database;
  effects *found = context;
  bool writes = action == SQLITE_INSERT || action == SQLITE_UPDATE || action == SQLITE_DELETE;
  if (writes && trigger && strcmp(found->last, trigger)) {
    snprintf(found->last, sizeof found->last, "%s", trigger);
    note(found, "its trigger %s writes to %s", trigger, table);
  }
  return SQLITE_OK;
}

static aon_result triggers_of(sqlite_store *store, const char *sql, effects *found, aon_error *error) {
  found->last[0] = 0;
  sqlite3_stmt *statement = NULL;
  sqlite3_set_authorizer(store->handle, hear, found);
  int rc = sqlite3_prepare_v2(store->handle, sql, -1, &statement, NULL);
  sqlite3_set_authorizer(store->handle, NULL, NULL);
  sqlite3_finalize(statement);
  /* What SQLite refuses to prepare it refuses when it is written. */
  return rc == SQLITE_OK || (rc & 0xff) == SQLITE_ERROR ? AON_OK : sqlite_failed(store, rc, "looking at triggers", error);
}

static aon_result foreign_keys_of(sqlite_store *store, const sqlite_table *table, const char *sql, effects *found, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *row = NULL;
  aon_result result = prepare_named(store, sql, table->name, &row, error);
  if (result)
    return result;
  int rc;
  while ((rc = sqlite3_step(row)) == SQLITE_ROW)
    note(found, "rows of %s refer to it with %s", (const char *)sqlite3_column_text(row, 0), (const char *)sqlite3_column_text(row, 1));
  return rc == SQLITE_DONE ? AON_OK : sqlite_failed(store, rc, "reading", error);
}

/* False: no memory, which must not read as “no effect”. */
static bool effect_text(sqlite_table *table, const effects *found, const char **ret_text) {
  *ret_text = found->text[0] ? aon_arena_text(&table->arena, found->text, strlen(found->text)) : NULL;
  return !found->text[0] || *ret_text;
}

#define REFERRING(event)                                                                                                                   \
  "select distinct m.name, 'ON " event " ' || f.on_" event " from sqlite_schema m, pragma_foreign_key_list(m.name) f where m.type='table'" \
  " and f.\"table\" = ?1 collate nocase and f.on_" event " in ('CASCADE', 'SET NULL', 'SET DEFAULT')"

static aon_result has_triggers(sqlite_store *store, const sqlite_table *table, bool *ret_has, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *row = NULL;
  aon_result result =
      prepare_named(store, "select 1 from sqlite_schema where type='trigger' and tbl_name=?1 collate nocase", table->name, &row, error);
  if (result)
    return result;
  int rc = sqlite3_step(row);
  *ret_has = rc == SQLITE_ROW;
  return rc == SQLITE_ROW || rc == SQLITE_DONE ? AON_OK : sqlite_failed(store, rc, "reading", error);
}

static aon_result load_triggers(sqlite_store *store, sqlite_table *table, effects *deletes, effects *writes, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  aon_result result = aon_buffer_format(&sql, error, "delete from %s", table->quoted);
  if (result)
    return result;
  result = triggers_of(store, sql.data, deletes, error);
  aon_buffer_clear(&sql);
  if (!result)
    result = aon_buffer_format(&sql, error, "insert into %s default values", table->quoted);
  if (!result)
    result = triggers_of(store, sql.data, writes, error);
  for (size_t i = 0; !result && i < table->column_count; i++) {
    if (table->columns[i].generated)
      continue;
    aon_buffer_clear(&sql);
    result = aon_buffer_format(&sql, error, "update %s set ", table->quoted);
    if (!result)
      result = sqlite_quote(table->columns[i].name, &sql, error);
    if (!result)
      result = aon_buffer_text(&sql, " = null", error);
    if (!result)
      result = triggers_of(store, sql.data, writes, error);
  }
  return result;
}

static aon_result load_effects(sqlite_store *store, sqlite_table *table, aon_error *error) {
  effects deletes = {0}, writes = {0};
  bool triggers = false;
  aon_result result = foreign_keys_of(store, table, REFERRING("DELETE"), &deletes, error);
  if (!result)
    result = foreign_keys_of(store, table, REFERRING("UPDATE"), &writes, error);
  if (!result)
    result = has_triggers(store, table, &triggers, error);
  if (!result && triggers)
    result = load_triggers(store, table, &deletes, &writes, error);
  if (!result && (!effect_text(table, &deletes, &table->shape.delete_effect) || !effect_text(table, &writes, &table->shape.write_effect)))
    result = aon_fail_memory(error);
  return result;
}

/* ---- one table ---- */

static bool is_document_table(const sqlite_table *table) {
  return table->column_count == 2 && table->key_count == 1 && !strcasecmp(table->columns[0].name, "id") &&
         !strcasecmp(table->columns[1].name, "doc") && table->columns[0].key == 1 && table->columns[0].affinity == AFFINITY_TEXT &&
         !table->columns[0].generated && !table->columns[1].generated;
}

static aon_result load_lists(sqlite_table *table, aon_error *error) {
  const char **names = aon_arena_alloc(&table->arena, (table->column_count + table->key_count + 2) * sizeof *names);
  if (!names)
    return aon_fail_memory(error);
  for (size_t i = 0; i < table->key_count; i++)
    names[i] = table->columns[table->keys[i]].name;
  table->shape.key = names;
  names += table->key_count + 1;
  table->shape.volatiles = names;
  for (size_t i = 0; i < table->column_count; i++)
    if (table->columns[i].generated)
      *names++ = table->columns[i].name;
  table->before = aon_arena_alloc(&table->arena, table->column_count * sizeof *table->before);
  table->after = aon_arena_alloc(&table->arena, table->column_count * sizeof *table->after);
  table->choice = aon_arena_alloc(&table->arena, table->column_count);
  return table->before && table->after && table->choice ? AON_OK : aon_fail_memory(error);
}

static aon_result load_select(sqlite_table *table, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer list = {0};
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < table->column_count; i++) {
    if (i)
      result = aon_buffer_append(&list, ", ", 2, error);
    if (!result)
      result = sqlite_quote(table->columns[i].name, &list, error);
  }
  if (!result && !(table->select_list = aon_arena_text(&table->arena, list.data, list.length)))
    result = aon_fail_memory(error);
  return result;
}

static aon_result load(sqlite_store *store, sqlite_table *table, const found_table *found, aon_error *error) {
  aon_result result = load_columns(store, table, found->columns, error);
  if (!result && !table->key_count)
    result =
        aon_fail(error, AON_REJECTED, "unknown_collection",
                 "“%s” in %s is no table with a primary key, so its rows have no ids. Give it a primary key.", table->name, store->name);
  if (!result)
    result = load_key(store, table, error);
  table->shape.document_table = !result && is_document_table(table);
  if (!result)
    result = load_lists(table, error);
  if (!result)
    result = load_select(table, error);
  if (!result)
    result = load_effects(store, table, error);
  if (!result)
    result = sqlite_default_fix(store, table, error);
  if (table->shape.document_table)
    table->shape.key = table->shape.volatiles = NULL;
  return result;
}

static aon_result table_new(const char *name, sqlite_table **ret_table, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer quoted = {0};
  sqlite_table *table = calloc(1, sizeof *table);
  aon_result result = table ? sqlite_quote(name, &quoted, error) : aon_fail_memory(error);
  if (!result) {
    table->name = aon_arena_text(&table->arena, name, strlen(name));
    table->quoted = aon_arena_text(&table->arena, quoted.data, quoted.length);
    table->exists = table->shape.exists = true;
    if (!table->name || !table->quoted)
      result = aon_fail_memory(error);
  }
  if (result) {
    if (table)
      aon_arena_release(&table->arena);
    free(table);
    return result;
  }
  *ret_table = table;
  return AON_OK;
}

/* AON_END: no such table. */
static aon_result look_up(sqlite_store *store, const char *name, found_table *ret_found, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *row = NULL;
  aon_result result = prepare_named(store, "select strict, ncol from pragma_table_list(?1) where schema='main'", name, &row, error);
  if (result)
    return result;
  int rc = sqlite3_step(row);
  if (rc == SQLITE_DONE)
    return AON_END;
  if (rc != SQLITE_ROW)
    return sqlite_failed(store, rc, "reading", error);
  *ret_found = (found_table){.strict = sqlite3_column_int(row, 0) != 0, .columns = (size_t)sqlite3_column_int(row, 1)};
  return AON_OK;
}

static void adopt(sqlite_store *store, sqlite_table *table) {
  table->next = store->tables;
  store->tables = table;
}

static aon_result load_new(sqlite_store *store, const char *name, const found_table *found, sqlite_table **ret_table, aon_error *error) {
  sqlite_table *table;
  aon_result result = table_new(name, &table, error);
  if (result)
    return result;
  table->strict = found->strict;
  result = load(store, table, found, error);
  if (result) {
    finalise(table);
    aon_arena_release(&table->arena);
    free(table);
    return result;
  }
  adopt(store, table);
  *ret_table = table;
  return AON_OK;
}

static aon_result absent_new(sqlite_store *store, const char *name, sqlite_table **ret_table, aon_error *error) {
  sqlite_table *table;
  aon_result result = table_new(name, &table, error);
  if (result)
    return result;
  table->exists = table->shape.exists = false;
  table->shape.document_table = true;
  adopt(store, table);
  *ret_table = table;
  return AON_OK;
}

static aon_result good_name(const sqlite_store *store, const char *name, aon_error *error) {
  if (name[0] && strncasecmp(name, OURS, strlen(OURS)) && strncasecmp(name, "sqlite_", 7))
    return AON_OK;
  return aon_fail(error, AON_REJECTED, "unknown_collection",
                  "“%s” can't be a collection of %s: that name is kept for the system's own tables.", name, store->name);
}

sqlite_table *sqlite_table_known(sqlite_store *store, const aon_collection *collection) {
  for (sqlite_table *table = store->tables; table; table = table->next)
    if (!strcmp(table->name, collection->name))
      return table;
  return NULL;
}

aon_result sqlite_table_find(sqlite_store *store, const aon_collection *collection, bool file_there, sqlite_table **ret_table,
                             aon_error *error) {
  sqlite_table *known = sqlite_table_known(store, collection);
  if (known) {
    *ret_table = known;
    return AON_OK;
  }
  found_table found;
  aon_result result = good_name(store, collection->name, error);
  if (!result)
    result = file_there ? look_up(store, collection->name, &found, error) : AON_END;
  if (!result)
    return load_new(store, collection->name, &found, ret_table, error);
  if (result != AON_END)
    return result;
  if (store->create)
    return absent_new(store, collection->name, ret_table, error);
  return aon_fail(error, AON_REJECTED, "unknown_collection", "%s has no table “%s”. Make it, or set create: true for this store.",
                  store->name, collection->name);
}

static void retire(sqlite_store *store, sqlite_table *table) {
  sqlite_table **at = &store->tables;
  while (*at != table)
    at = &(*at)->next;
  *at = table->next;
  table->next = store->retired;
  store->retired = table;
}

aon_result sqlite_table_make(sqlite_store *store, const aon_collection *collection, sqlite_table **ret_table, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  aon_result result = aon_buffer_text(&sql, "create table ", error);
  if (!result)
    result = sqlite_quote(collection->name, &sql, error);
  if (!result)
    result = aon_buffer_text(&sql, " (id TEXT PRIMARY KEY, doc TEXT)", error);
  if (result)
    return result;
  int rc = sqlite3_exec(store->handle, sql.data, NULL, NULL, NULL);
  if (rc)
    return sqlite_failed(store, rc, "making a table", error);
  store->transaction.made_tables = true;
  retire(store, sqlite_table_known(store, collection));
  /* Ours alone has changed the schema, within this transaction: what is known of the other tables still holds. */
  result = schema_version(store, &store->schema_version, error);
  return result ? result : sqlite_table_find(store, collection, true, ret_table, error);
}

aon_result sqlite_describe(void *state, const aon_collection *collection, const aon_shape **ret_shape, aon_error *error) {
  sqlite_store *store = state;
  sqlite_enter(store);
  bool there;
  aon_result result = good_name(store, collection->name, error);
  if (!result)
    result = sqlite_read_begin(store, &there, error);
  if (result)
    return result;
  sqlite_table *table;
  result = sqlite_table_find(store, collection, there, &table, error);
  if (there)
    sqlite_read_end(store);
  if (!result)
    *ret_shape = &table->shape;
  return result;
}
