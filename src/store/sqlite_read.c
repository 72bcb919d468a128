/* Reading SQLite: documents by id, and all that match.
 *
 * Invariants: a call sees one snapshot (one read transaction, or the open transaction); a row counts as the document asked for only if
 * its key spells exactly that id, whatever collations and affinities let SQLite find it by. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/match.h"
#include "store/sqlite_internal.h"

/* ---- by id ---- */

static aon_result key_condition(const sqlite_table *table, size_t place, int *parameter, aon_buffer *sql, aon_error *error) {
  const sqlite_column *column = &table->columns[table->keys[place]];
  size_t count = sqlite_alternatives_count(column);
  aon_result result = aon_buffer_text(sql, place ? " and " : " where ", error);
  if (!result)
    result = sqlite_quote(column->name, sql, error);
  if (!result && count == 1)
    result = aon_buffer_format(sql, error, " = ?%d", *parameter);
  for (size_t i = 0; !result && count > 1 && i < count; i++)
    result = aon_buffer_format(sql, error, "%s?%d%s", i ? ", " : " in (", *parameter + (int)i, i + 1 == count ? ")" : "");
  *parameter += (int)count;
  return result;
}

static aon_result prepare_by_id(sqlite_store *store, sqlite_table *table, aon_error *error) {
  if (table->select_by_id)
    return AON_OK;
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  int parameter = 1;
  aon_result result = aon_buffer_format(&sql, error, "select %s from %s", table->select_list, table->quoted);
  for (size_t i = 0; !result && i < table->key_count; i++)
    result = key_condition(table, i, &parameter, &sql, error);
  if (result)
    return result;
  int rc = sqlite3_prepare_v3(store->handle, sql.data, -1, SQLITE_PREPARE_PERSISTENT, &table->select_by_id, NULL);
  return rc ? sqlite_failed(store, rc, "preparing to read", error) : AON_OK;
}

/* Is the current row the one with this id? Where SQLite compares keys by their bytes as text there is nothing to ask. */
static aon_result is_it(sqlite_store *store, const sqlite_table *table, sqlite3_stmt *row, aon_text id, bool *ret_is, aon_error *error) {
  *ret_is = true;
  if (table->shape.document_table && !table->columns[0].collated)
    return AON_OK;
  for (size_t i = 0; i < table->column_count; i++)
    sqlite_value_of(row, (int)i, &table->before[i]);
  aon_buffer_clear(&store->key_text);
  aon_result result = sqlite_row_id(store, table, table->before, &store->key_text, error);
  *ret_is = !result && store->key_text.length == id.length && !memcmp(store->key_text.data, id.data, id.length);
  return result;
}

static aon_result read_one(sqlite_store *store, sqlite_table *table, aon_text id, aon_arena *arena, aon_image *ret_image,
                           aon_error *error) {
  sqlite3_stmt *statement = table->select_by_id;
  bool possible, is;
  aon_arena_reset(&store->scratch_arena);
  aon_result result = sqlite_bind_id(store, table, statement, id, &possible, error);
  int rc = SQLITE_DONE;
  while (!result && possible && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
    result = is_it(store, table, statement, id, &is, error);
    if (!result && is && ret_image->bson)
      result = aon_fail(error, AON_PERMANENT, "ambiguous",
                        "Several rows of %s/%s have the id “%.*s” (as text and as number, say). Repair them by hand.", store->name,
                        table->name, id.length < 200 ? (int)id.length : 200, id.data);
    else if (!result && is)
      result = sqlite_row_image(store, table, statement, id, true, arena, ret_image, error);
  }
  if (!result && rc != SQLITE_DONE && rc != SQLITE_ROW)
    result = sqlite_failed(store, rc, "reading", error);
  sqlite3_reset(statement);
  return result;
}

static aon_result read_all(sqlite_store *store, const aon_collection *collection, const aon_text *ids, size_t count, aon_arena *arena,
                           aon_image *images, aon_error *error) {
  sqlite_table *table;
  aon_result result = sqlite_table_find(store, collection, true, &table, error);
  if (result || !table->exists)
    return result;
  result = prepare_by_id(store, table, error);
  for (size_t i = 0; !result && i < count; i++) {
    if (sqlite_cancelled(store))
      return sqlite_stopped(store, error);
    result = read_one(store, table, ids[i], arena, &images[i], error);
  }
  if (table->select_by_id)
    sqlite3_clear_bindings(table->select_by_id);
  return result;
}

aon_result sqlite_read(void *state, const aon_collection *collection, const aon_text *ids, size_t count, aon_arena *arena,
                       aon_image *images, aon_error *error) {
  sqlite_store *store = state;
  sqlite_enter(store);
  memset(images, 0, count * sizeof *images);
  bool there;
  aon_result result = sqlite_read_begin(store, &there, error);
  if (result || !there)
    return result;
  result = read_all(store, collection, ids, count, arena, images, error);
  sqlite_read_end(store);
  return result;
}

/* ---- scan ---- */

typedef struct scanning {
  sqlite_store *store;
  sqlite_table *table;
  const aon_match *matches;
  size_t count;
  bool token;
  aon_scan_each each;
  void *context;
} scanning;

/* Can SQLite's JSON functions look for it? They take a label between quotes, in which nothing can be escaped. */
static bool can_filter(const aon_match *match) {
  return !strpbrk(match->property, "\"\\") && !(match->value.length && memchr(match->value.data, 0, match->value.length));
}

/* The property's text; 1 where only row_matches can tell (no text, no JSON, or maybe escapes in its keys, which SQLite before 3.43 does not
 * decode); NULL where it is missing. Spelled with its path in it, and always the same, so that an index on it serves. */
static aon_result document_value(const char *property, aon_buffer *sql, aon_error *error) {
  char *path = sqlite3_mprintf("'$.\"%q\"'", property);
  aon_result result =
      path ? aon_buffer_format(sql, error,
                               "case when typeof(doc) = 'text' and json_valid(doc) and json_type(doc) = 'object' and not instr(doc, "
                               "'\\u') then case when json_type(doc, %s) = 'text' then json_extract(doc, %s) when json_type(doc, %s) is "
                               "not null then 1 end else 1 end",
                               path, path, path)
           : aon_fail_memory(error);
  sqlite3_free(path);
  return result;
}

/* SQLite leaves out what certainly does not match; row_matches decides on the rest. */
static aon_result document_conditions(const scanning *s, aon_buffer *sql, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0, conditions = 0; !result && i < s->count; i++)
    if (can_filter(&s->matches[i])) {
      result = aon_buffer_text(sql, conditions++ ? " and " : " where ", error);
      if (!result)
        result = document_value(s->matches[i].property, sql, error);
      if (!result)
        result = aon_buffer_format(sql, error, " in (?%zu, 1)", i + 1);
    }
  return result;
}

static aon_result bind_document(const scanning *s, sqlite3_stmt *statement, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < s->count; i++) {
    sqlite_value value = {.type = SQLITE_TEXT, .bytes = s->matches[i].value.data, .length = s->matches[i].value.length};
    if (can_filter(&s->matches[i]))
      result = sqlite_bind(s->store, statement, (int)i + 1, &value, error);
  }
  return result;
}

static aon_result column_conditions(const scanning *s, aon_buffer *sql, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < s->count; i++) {
    size_t at;
    const sqlite_column *column = sqlite_column_find(s->table, s->matches[i].property, &at);
    if (!column)
      return sqlite_unknown_property(s->store, s->table, s->matches[i].property, AON_REJECTED, error);
    result = aon_buffer_text(sql, i ? " and " : " where ", error);
    if (!result)
      result = sqlite_quote(column->name, sql, error);
    for (size_t j = 0; !result && j < SQLITE_ALTERNATIVES; j++) /* those that a column can't have are bound as NULL */
      result = aon_buffer_format(sql, error, "%s?%zu%s", j ? ", " : " in (", i * SQLITE_ALTERNATIVES + j + 1,
                                 j + 1 == SQLITE_ALTERNATIVES ? ")" : "");
  }
  return result;
}

static aon_result bind_columns(const scanning *s, sqlite3_stmt *statement, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < s->count; i++) {
    size_t at;
    sqlite_value values[SQLITE_ALTERNATIVES];
    result = sqlite_alternatives(s->store, sqlite_column_find(s->table, s->matches[i].property, &at), s->matches[i].value, values, error);
    for (size_t j = 0; !result && j < SQLITE_ALTERNATIVES; j++)
      result = sqlite_bind(s->store, statement, (int)(i * SQLITE_ALTERNATIVES + j) + 1, &values[j], error);
  }
  return result;
}

static aon_result prepare_scan(scanning *s, const char *before, sqlite3_stmt **ret_statement, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  bool documents = s->table->shape.document_table;
  aon_result result = aon_buffer_format(&sql, error, "%sselect %s from %s", before, s->table->select_list, s->table->quoted);
  if (!result)
    result = documents ? document_conditions(s, &sql, error) : column_conditions(s, &sql, error);
  if (result)
    return result;
  int rc = sqlite3_prepare_v2(s->store->handle, sql.data, -1, ret_statement, NULL);
  if (rc)
    return sqlite_failed(s->store, rc, "preparing to read", error);
  return documents ? bind_document(s, *ret_statement, error) : bind_columns(s, *ret_statement, error);
}

static bool row_matches(const scanning *s, const aon_image *image) {
  bson_t document;
  if (s->table->shape.document_table)
    return aon_image_view(image, &document) && aon_match_all(&document, s->matches, s->count);
  for (size_t i = 0; i < s->count; i++) {
    size_t at;
    if (!sqlite_column_find(s->table, s->matches[i].property, &at) || !sqlite_value_matches(&s->table->before[at], s->matches[i].value))
      return false;
  }
  return true;
}

static aon_result scan_row(const scanning *s, sqlite3_stmt *statement, aon_arena *arena, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer id = {0};
  for (size_t i = 0; i < s->table->column_count; i++)
    sqlite_value_of(statement, (int)i, &s->table->before[i]);
  aon_result result = sqlite_row_id(s->store, s->table, s->table->before, &id, error);
  if (result)
    return result;
  aon_found found = {.id = {id.data ? id.data : "", id.length}};
  result = sqlite_row_image(s->store, s->table, statement, found.id, s->token, arena, &found.image, error);
  return result || !row_matches(s, &found.image) ? result : s->each(s->context, &found, error);
}

static aon_result scan_rows(scanning *s, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  sqlite3_stmt *statement = NULL;
  aon_arena_reset(&s->store->scratch_arena);
  aon_result result = prepare_scan(s, "", &statement, error);
  int rc = SQLITE_DONE;
  while (!result && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
    result = sqlite_cancelled(s->store) ? sqlite_stopped(s->store, error) : scan_row(s, statement, &arena, error);
    aon_arena_reset(&arena);
  }
  if (!result && rc != SQLITE_DONE && rc != SQLITE_ROW)
    result = sqlite_failed(s->store, rc, "reading", error);
  sqlite3_finalize(statement);
  return result == AON_END ? AON_OK : result;
}

aon_result sqlite_scan(void *state, const aon_collection *collection, const aon_match *matches, size_t count, const char *const *properties,
                       aon_scan_each each, void *context, aon_error *error) {
  sqlite_store *store = state;
  sqlite_enter(store);
  bool there;
  aon_result result = sqlite_read_begin(store, &there, error);
  if (result || !there)
    return result;
  scanning s = {.store = store, .matches = matches, .count = count, .token = !properties, .each = each, .context = context};
  result = sqlite_table_find(store, collection, true, &s.table, error);
  if (!result && s.table->exists)
    result = scan_rows(&s, error);
  sqlite_read_end(store);
  return result;
}

/* ---- for aon doctor: does an index serve a scan? ---- */

/* Asks the planner, which knows types, collations and predicates of indexes. */
static aon_result ask_plan(scanning *s, bool *ret_serves, aon_error *error) {
  sqlite3_stmt *plan = NULL;
  aon_arena_reset(&s->store->scratch_arena);
  aon_result result = prepare_scan(s, "explain query plan ", &plan, error);
  int rc = SQLITE_DONE;
  *ret_serves = !result;
  while (!result && (rc = sqlite3_step(plan)) == SQLITE_ROW) {
    const char *detail = (const char *)sqlite3_column_text(plan, 3);
    *ret_serves = *ret_serves && detail && strncmp(detail, "SCAN", 4) != 0;
  }
  if (!result && rc != SQLITE_DONE)
    result = sqlite_failed(s->store, rc, "looking at its indexes", error);
  sqlite3_finalize(plan);
  return result;
}

static aon_result count_rows(const scanning *s, int64_t *ret_rows, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  sqlite3_stmt *statement = NULL;
  aon_result result = aon_buffer_format(&sql, error, "select count(*) from %s", s->table->quoted);
  if (result)
    return result;
  int rc = sqlite3_prepare_v2(s->store->handle, sql.data, -1, &statement, NULL);
  if (!rc && (rc = sqlite3_step(statement)) == SQLITE_ROW)
    *ret_rows = sqlite3_column_int64(statement, 0);
  sqlite3_finalize(statement);
  return rc == SQLITE_ROW ? AON_OK : sqlite_failed(s->store, rc, "counting documents", error);
}

static aon_result index_sql(const scanning *s, aon_buffer *sql, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer name = {0};
  const char *property = s->matches->property;
  aon_result result = aon_buffer_format(&name, error, "%s_%s", s->table->name, property);
  if (!result)
    result = aon_buffer_text(sql, "CREATE INDEX ", error);
  if (!result)
    result = sqlite_quote(name.data, sql, error);
  if (!result)
    result = aon_buffer_format(sql, error, " ON %s(", s->table->quoted);
  if (!result)
    result = s->table->shape.document_table ? document_value(property, sql, error) : sqlite_quote(property, sql, error);
  return result ? result : aon_buffer_text(sql, ")", error);
}

static aon_result look_up(scanning *s, aon_index *ret_index, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  bool serves;
  aon_result result = ask_plan(s, &serves, error);
  if (!result)
    result = count_rows(s, &ret_index->documents, error);
  if (!result)
    result = index_sql(s, &sql, error);
  if (result)
    return result;
  bool possible = !s->table->shape.document_table || can_filter(s->matches);
  ret_index->state = serves ? AON_INDEX_SERVES : possible ? AON_INDEX_MISSING : AON_INDEX_POINTLESS;
  snprintf(ret_index->text, sizeof ret_index->text, "%s", possible ? sql.data : "SQLite can't be asked for a property of that name");
  return AON_OK;
}

aon_result sqlite_look_up(void *state, const aon_collection *collection, const aon_match *match, aon_index *ret_index, aon_error *error) {
  sqlite_store *store = state;
  sqlite_enter(store);
  bool there;
  scanning s = {.store = store, .matches = match, .count = 1};
  aon_result result = sqlite_read_begin(store, &there, error);
  if (result || !there)
    return result;
  result = sqlite_table_find(store, collection, true, &s.table, error);
  if (!result && s.table->exists && match)
    result = look_up(&s, ret_index, error);
  sqlite_read_end(store);
  return result;
}
