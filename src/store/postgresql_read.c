/* Reading PostgreSQL: documents by id, and all that match.
 *
 * Invariants: a read is one statement, so it sees one snapshot; a scan is one cursor, so does it; a row counts as the document asked for
 * only if its key spells exactly that id, whatever collations let the server find it by. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/text.h"
#include "store/match.h"
#include "store/postgresql_internal.h"

#define SCAN_MATCHES_LIMIT 64

/* ---- by id ---- */

static bool by_type(const pg_column *column) {
  static const char *const types[] = {"int2", "int4", "int8", "uuid", "text", "varchar", "bpchar"};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (!strcmp(column->base, types[i]))
      return true;
  return false;
}

/* A value of the type is equal to no other text's: no collation takes two for one, no cast cuts one off. */
static bool one_text(const pg_column *column) { return column->exact && !column->limited; }

/* By its type, so that the index of the key is used, where an id that fits is certain to be a value of it; and by its text. */
aon_result pg_key_condition(const pg_table *table, size_t place, const char *parameter, aon_buffer *sql, aon_error *error) {
  const pg_column *column = &table->columns[table->keys[place]];
  AON_BUFFER_CLEANUP aon_buffer name = {0};
  aon_result result = aon_postgresql_name(column->name, &name, error);
  if (!result && by_type(column))
    result = aon_buffer_format(sql, error, " and t.%s = %s::%s", name.data, parameter, column->type);
  if (!result && !(by_type(column) && one_text(column)))
    result = aon_buffer_format(sql, error, " and t.%s::text collate \"C\" = %s", name.data, parameter);
  return result;
}

static aon_result read_sql(const pg_table *table, aon_buffer *sql, aon_error *error) {
  char parameter[24];
  aon_result result = aon_buffer_format(sql, error, "select a.n, %s from unnest(", table->select_list);
  for (size_t i = 0; !result && i < table->key_count; i++)
    result = aon_buffer_format(sql, error, "%s$%zu::text[]", i ? ", " : "", i + 1);
  if (!result)
    result = aon_buffer_text(sql, ") with ordinality as a(", error);
  for (size_t i = 0; !result && i < table->key_count; i++)
    result = aon_buffer_format(sql, error, "k%zu, ", i);
  if (!result)
    result = aon_buffer_format(sql, error, "n) join %s t on true", table->quoted);
  for (size_t i = 0; !result && i < table->key_count; i++) {
    snprintf(parameter, sizeof parameter, "a.k%zu", i);
    result = pg_key_condition(table, i, parameter, sql, error);
  }
  return result;
}

typedef struct asked { /* the parts of the ids that a row can have, and whose they are */
  aon_buffer *parts;   /* one array for each column of the key */
  size_t *places;      /* in ids */
  size_t count;
} asked;

static aon_result ask_for(pg_store *store, const pg_table *table, aon_text id, size_t place, asked *a, aon_error *error) {
  aon_text *parts = aon_arena_alloc(&store->scratch, table->key_count * sizeof *parts);
  bool fits = true;
  aon_result result = AON_OK;
  if (!parts)
    return aon_fail_memory(error);
  if (table->key_count == 1)
    parts[0] = id;
  else
    result = aon_id_split(id, table->key_count, &store->scratch, parts, &fits, error);
  if (result || !fits)
    return result;
  for (size_t i = 0; i < table->key_count; i++)
    if (!pg_id_fits(&table->columns[table->keys[i]], parts[i].data, parts[i].length))
      return AON_OK;
  for (size_t i = 0; !result && i < table->key_count; i++)
    result = aon_postgresql_texts_add(&a->parts[i], parts[i].length ? parts[i].data : "", parts[i].length, error);
  a->places[a->count++] = place;
  return result;
}

static aon_result take_rows(pg_store *store, const pg_table *table, const PGresult *rows, const aon_text *ids, const asked *a,
                            aon_arena *arena, aon_image *images, aon_error *error) {
  pg_text *row = aon_arena_alloc(&store->scratch, table->column_count * sizeof *row);
  aon_result result = row ? AON_OK : aon_fail_memory(error);
  for (int i = 0; !result && i < PQntuples(rows); i++) {
    size_t place = a->places[strtoul(PQgetvalue(rows, i, 0), NULL, 10) - 1];
    pg_result_row(rows, i, 1, table->column_count, row);
    if (images[place].bson)
      result = aon_fail(error, AON_PERMANENT, "ambiguous", "Several rows of %s/%s have the id “%.*s”. Repair them by hand.", store->name,
                        table->name, pg_shown(ids[place]), ids[place].data);
    else
      result = pg_row_image(store, table, row, true, arena, &images[place], error);
  }
  return result;
}

static aon_result send_read(pg_store *store, pg_table *table, const asked *a, PGresult **ret_rows, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  aon_postgresql *connection;
  aon_postgresql_value *values = aon_arena_alloc(&store->scratch, table->key_count * sizeof *values);
  aon_result result = values ? read_sql(table, &sql, error) : aon_fail_memory(error);
  for (size_t i = 0; !result && i < table->key_count; i++) {
    aon_postgresql_texts_end(&a->parts[i], a->count);
    values[i] = (aon_postgresql_value){.data = a->parts[i].data, .length = (int)a->parts[i].length, .binary = true};
  }
  if (!result)
    result = pg_acquire(store, false, &connection, error);
  if (result)
    return result;
  aon_error failure = AON_ERROR_INIT;
  aon_postgresql_value oid;
  aon_postgresql_statement statements[2] = {
      pg_table_look(table, &oid), {.sql = sql.data, .values = values, .count = table->key_count, .doing = "reading", .keep = true}};
  PGresult *results[2];
  size_t failed;
  result = aon_postgresql_pipeline(connection, statements, 2, results, &failed, &failure);
  pg_release(store, connection);
  if ((!result && !pg_table_same(table, results[0])) || (result && !strcmp(failure.code, "schema_changed")))
    result = pg_table_altered(store, table, &failure);
  PQclear(results[0]);
  if (result)
    PQclear(results[1]);
  else
    *ret_rows = results[1];
  return pg_tell(result, &failure, error);
}

static aon_result read_rows(pg_store *store, pg_table *table, const aon_text *ids, size_t count, asked *a, aon_arena *arena,
                            aon_image *images, aon_error *error) {
  AON_POSTGRESQL_RESULT PGresult *rows = NULL;
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < table->key_count; i++)
    result = aon_postgresql_texts_start(&a->parts[i], error);
  for (size_t i = 0; !result && i < count; i++)
    result = ask_for(store, table, ids[i], i, a, error);
  if (!result && a->count)
    result = send_read(store, table, a, &rows, error);
  return result || !a->count ? result : take_rows(store, table, rows, ids, a, arena, images, error);
}

static aon_result read_once(pg_store *store, const aon_collection *collection, const aon_text *ids, size_t count, aon_arena *arena,
                            aon_image *images, aon_error *error) {
  pg_table *table;
  memset(images, 0, count * sizeof *images);
  aon_result result = pg_table_find(store, collection, &table, error);
  if (result || !table->shape.exists || !count)
    return result;
  aon_arena_reset(&store->scratch);
  asked a = {.parts = aon_arena_alloc(&store->scratch, table->key_count * sizeof *a.parts),
             .places = aon_arena_alloc(&store->scratch, count * sizeof *a.places)};
  if (!a.parts || !a.places)
    return aon_fail_memory(error);
  result = read_rows(store, table, ids, count, &a, arena, images, error);
  for (size_t i = 0; i < table->key_count; i++)
    aon_buffer_release(&a.parts[i]);
  return result;
}

aon_result pg_read(void *state, const aon_collection *collection, const aon_text *ids, size_t count, aon_arena *arena, aon_image *images,
                   aon_error *error) {
  pg_store *store = state;
  aon_error failure = AON_ERROR_INIT;
  pg_enter(store);
  aon_result result = read_once(store, collection, ids, count, arena, images, &failure);
  if (result == AON_TRANSIENT && !strcmp(failure.code, "schema_changed") && !store->transaction.open) {
    failure = (aon_error)AON_ERROR_INIT; /* it was altered since it was described: as it is now */
    result = read_once(store, collection, ids, count, arena, images, &failure);
  }
  return pg_tell(result, &failure, error);
}

/* ---- scan ---- */

typedef struct scanning {
  pg_store *store;
  pg_table *table;
  const aon_match *matches;
  size_t count;
  bool token;
  aon_scan_each each;
  void *context;
  aon_postgresql_value values[2 * SCAN_MATCHES_LIMIT];
  size_t value_count;
  aon_arena texts; /* behind the values */
} scanning;

static aon_result add_value(scanning *s, const char *text, size_t length, aon_error *error) {
  char *kept = aon_arena_text(&s->texts, text, length);
  if (!kept)
    return aon_fail_memory(error);
  s->values[s->value_count++] = (aon_postgresql_value){.data = kept};
  return AON_OK;
}

/* Could a number be spelled so? Then an index on texts can't tell. */
static bool spells_number(aon_text value) {
  char text[64], *end;
  if (!value.length || value.length >= sizeof text)
    return value.length > 0;
  snprintf(text, sizeof text, "%.*s", (int)value.length, value.data);
  (void)strtod(text, &end);
  return !*end;
}

/* Leaves out only what certainly does not match; aon_match_all decides on the rest. */
static aon_result document_condition(scanning *s, const aon_match *match, aon_buffer *sql, aon_error *error) {
  bool number = spells_number(match->value);
  aon_result result = add_value(s, match->property, strlen(match->property), error);
  if (!result)
    result = add_value(s, match->value.data, match->value.length, error);
  if (result)
    return result;
  size_t at = s->value_count;
  return number ? aon_buffer_format(sql, error, " and (t.doc ->> $%zu::text = $%zu or (t.doc -> $%zu::text)::text ~ '^[-0-9]')", at - 1, at,
                                    at - 1)
                : aon_buffer_format(sql, error, " and t.doc ->> $%zu::text = $%zu", at - 1, at);
}

static aon_result column_condition(scanning *s, const aon_match *match, aon_buffer *sql, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer name = {0};
  size_t place;
  const pg_column *column = pg_column_find(s->table, match->property, 0, &place);
  if (!column)
    return aon_fail(error, AON_REJECTED, "unknown_property", "%s/%s has no column “%s”.", s->store->name, s->table->name, match->property);
  if (column->form == FORM_INTEGER && !pg_id_fits(column, match->value.data, match->value.length))
    return aon_buffer_text(sql, " and false", error);
  if (column->form != FORM_INTEGER && column->form != FORM_TEXT && column->form != FORM_BOOLEAN)
    return AON_OK;
  aon_result result = aon_postgresql_name(column->name, &name, error);
  if (!result)
    result = add_value(s, match->value.data, match->value.length, error);
  size_t at = s->value_count;
  if (!result && column->form == FORM_INTEGER)
    return aon_buffer_format(sql, error, " and t.%s = $%zu::%s", name.data, at, column->type);
  if (!result && (!strcmp(column->base, "text") || !strcmp(column->base, "varchar")))
    result = aon_buffer_format(sql, error, " and t.%s = $%zu", name.data, at); /* an index serves this one */
  return result ? result : aon_buffer_format(sql, error, " and t.%s::text collate \"C\" = $%zu", name.data, at);
}

static aon_result scan_sql(scanning *s, aon_buffer *sql, aon_error *error) {
  aon_result result = aon_buffer_format(sql, error, "select %s from %s t where true", s->table->select_list, s->table->quoted);
  for (size_t i = 0; !result && i < s->count; i++) {
    const aon_match *match = &s->matches[i];
    bool sendable = !match->value.length || (!memchr(match->value.data, 0, match->value.length) &&
                                             bson_utf8_validate(match->value.data, match->value.length, false));
    if (s->table->documents)
      result = sendable ? document_condition(s, match, sql, error) : AON_OK;
    else
      result = sendable ? column_condition(s, match, sql, error) : aon_buffer_text(sql, " and false", error);
  }
  return result;
}

static aon_result scan_row(scanning *s, const pg_text *row, aon_arena *arena, aon_error *error) {
  bson_t document;
  aon_found found = {0};
  aon_result result = pg_row_id(s->table, row, arena, &found.id, error);
  if (!result)
    result = pg_row_image(s->store, s->table, row, s->token, arena, &found.image, error);
  if (result || !aon_image_view(&found.image, &document) || !aon_match_all(&document, s->matches, s->count))
    return result;
  return s->each(s->context, &found, error);
}

static aon_result scan_fetched(scanning *s, const PGresult *rows, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  pg_text *row = aon_arena_alloc(&s->texts, s->table->column_count * sizeof *row);
  aon_result result = row ? AON_OK : aon_fail_memory(error);
  for (int i = 0; !result && i < PQntuples(rows); i++) {
    pg_result_row(rows, i, 0, s->table->column_count, row);
    result = scan_row(s, row, &arena, error);
    aon_arena_reset(&arena);
  }
  return result;
}

static aon_result fetch_all(scanning *s, aon_postgresql *connection, const char *cursor, PGresult *first, aon_error *error) {
  char fetch[64];
  PGresult *rows = first;
  snprintf(fetch, sizeof fetch, "fetch " PG_FETCH_ROWS " from %s", cursor);
  aon_result result = AON_OK;
  while (!result && PQntuples(rows)) {
    bool last = PQntuples(rows) < atoi(PG_FETCH_ROWS);
    result = scan_fetched(s, rows, error);
    PQclear(rows);
    rows = NULL;
    if (last)
      break;
    aon_postgresql_deadline(connection, aon_monotonic_ms(s->store->env) + s->store->timeout_ms);
    if (!result)
      result = aon_postgresql_run(connection, fetch, NULL, 0, "reading", &rows, error);
  }
  PQclear(rows);
  return result;
}

/* Within the open transaction the cursor is closed, else the transaction that was opened for it ends. */
static void end_scan(scanning *s, aon_postgresql *connection, const char *cursor, bool own) {
  char close[64];
  snprintf(close, sizeof close, own ? "rollback" : "close %s", cursor);
  aon_error ignored = AON_ERROR_INIT; /* nothing was written, and a broken connection is not kept */
  if (aon_postgresql_run(connection, close, NULL, 0, "ending a scan", NULL, &ignored) && !own)
    s->store->transaction.failed = true;
}

static aon_result scan_rows(scanning *s, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  char cursor[32], fetch[64];
  bool own = !s->store->transaction.open;
  aon_postgresql *connection;
  snprintf(cursor, sizeof cursor, "aon_scan_%llu", (unsigned long long)++s->store->cursors);
  snprintf(fetch, sizeof fetch, "fetch " PG_FETCH_ROWS " from %s", cursor);
  aon_result result = aon_buffer_format(&sql, error, "declare %s no scroll cursor for ", cursor);
  if (!result)
    result = scan_sql(s, &sql, error);
  if (!result)
    result = pg_acquire(s->store, false, &connection, error);
  if (result)
    return result;
  aon_postgresql_value oid;
  aon_postgresql_statement statements[4] = {{"begin read only", NULL, 0, "reading"},
                                            pg_table_look(s->table, &oid),
                                            {sql.data, s->values, s->value_count, "reading"},
                                            {fetch, NULL, 0, "reading"}};
  PGresult *results[4] = {0};
  size_t failed;
  aon_error failure = AON_ERROR_INIT;
  result = aon_postgresql_pipeline(connection, statements + !own, own ? 4 : 3, results + !own, &failed, &failure);
  if ((!result && !pg_table_same(s->table, results[1])) || (result && !strcmp(failure.code, "schema_changed")))
    result = pg_table_altered(s->store, s->table, &failure);
  if (result)
    PQclear(results[3]);
  else
    result = fetch_all(s, connection, cursor, results[3], &failure);
  for (int i = 0; i < 3; i++)
    PQclear(results[i]);
  end_scan(s, connection, cursor, own);
  pg_release(s->store, connection);
  return pg_tell(result == AON_END ? AON_OK : result, &failure, error);
}

aon_result pg_scan(void *state, const aon_collection *collection, const aon_match *matches, size_t count, const char *const *properties,
                   aon_scan_each each, void *context, aon_error *error) {
  pg_store *store = state;
  scanning s = {.store = store, .matches = matches, .count = count, .token = !properties, .each = each, .context = context};
  if (count > SCAN_MATCHES_LIMIT)
    return aon_fail(error, AON_USAGE, "too_many", "More than %d properties were asked for at once.", SCAN_MATCHES_LIMIT);
  pg_enter(store);
  aon_result result = pg_table_find(store, collection, &s.table, error);
  if (!result && s.table->shape.exists)
    result = scan_rows(&s, error);
  aon_arena_release(&s.texts);
  return result;
}

/* ---- for aon doctor: does an index serve a scan? ---- */

/* What CREATE INDEX takes between its brackets for such a scan, "" where it would refuse; and the form of that, for the catalogue. */
static aon_result index_key(const pg_table *table, const char *property, aon_buffer *key, const char **ret_form, aon_error *error) {
  static const char *const immutable[] = {"uuid", "bpchar", "citext"}; /* their texts are the same whatever the session is set to */
  AON_BUFFER_CLEANUP aon_buffer name = {0};
  size_t place;
  const pg_column *column = table->documents ? NULL : pg_column_find(table, property, 0, &place);
  aon_result result = column ? aon_postgresql_name(property, &name, error) : aon_postgresql_literal(property, &name, error);
  *ret_form = !column ? "((doc ->> %L::text))" : "%I";
  if (result || !column)
    return result ? result : aon_buffer_format(key, error, "(doc ->> %s)", name.data);
  if (column->form == FORM_INTEGER || !strcmp(column->base, "text") || !strcmp(column->base, "varchar"))
    return aon_buffer_text(key, name.data, error);
  *ret_form = "((%I)::text)";
  for (size_t i = 0; i < sizeof immutable / sizeof *immutable; i++)
    if (!strcmp(column->base, immutable[i]))
      return aon_buffer_format(key, error, "(%s::text) collate \"C\"", name.data);
  return aon_buffer_text(key, "", error);
}

/* The plan says whether an index narrows the scan down, whatever type, collation or predicate it is of; the catalogue, whether one begins with
 * what is looked for, since one that has it further behind is read whole. */
static aon_result ask_plan(scanning *s, const char *form, const char *scan, bool *ret_serves, int64_t *ret_rows, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer explain = {0};
  aon_postgresql *connection;
  aon_result result = aon_buffer_format(&explain, error, "explain (format json, costs off) %s", scan);
  if (!result)
    result = pg_acquire(s->store, false, &connection, error);
  if (result)
    return result;
  aon_postgresql_value about[3] = {{.data = s->table->oid}, {.data = form}, {.data = s->matches->property}};
  aon_postgresql_statement statements[4] = {
      {"begin read only", NULL, 0, "looking at indexes"},
      {"set local enable_seqscan = off", NULL, 0, "looking at indexes"},
      {"select exists(select from pg_index i where (indrelid = $1::oid or indrelid in (select relid from pg_partition_tree($1::oid))) and "
       "indisvalid and indpred is null and pg_get_indexdef(indexrelid, 1, false) = format($2, $3::text)), "
       "greatest(reltuples::bigint, pg_stat_get_live_tuples(oid)) from pg_class where oid = $1::oid",
       about, 3, "looking at indexes"},
      {explain.data, s->values, s->value_count, "looking at indexes"}};
  PGresult *results[4] = {0};
  size_t failed;
  result = aon_postgresql_pipeline(connection, statements, 4, results, &failed, error);
  if (!result) {
    const char *plan = PQgetvalue(results[3], 0, 0);
    *ret_serves = PQgetvalue(results[2], 0, 0)[0] == 't' && strstr(plan, "\"Index Cond\":") && !strstr(plan, "\"Node Type\": \"Seq Scan\"");
    *ret_rows = strtoll(PQgetvalue(results[2], 0, 1), NULL, 10);
  }
  for (int i = 0; i < 4; i++)
    PQclear(results[i]);
  aon_error ignored = AON_ERROR_INIT; /* nothing was written, and a broken connection is not kept */
  if (aon_postgresql_run(connection, "rollback", NULL, 0, "looking at indexes", NULL, &ignored))
    aon_log(s->store->env, AON_LOG_DEBUG, "%s", ignored.sentence);
  pg_release(s->store, connection);
  return result;
}

static aon_result look_up(scanning *s, aon_index *ret_index, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer scan = {0}, key = {0};
  const char *form;
  const aon_match *match = s->matches;
  bool serves = false;
  aon_result result = scan_sql(s, &scan, error);
  if (!result)
    result = index_key(s->table, match->property, &key, &form, error);
  if (!result)
    result = ask_plan(s, form, scan.data, &serves, &ret_index->documents, error);
  if (result)
    return result;
  bool number = s->table->documents && spells_number(match->value);
  ret_index->state = serves ? AON_INDEX_SERVES : number || !key.length ? AON_INDEX_POINTLESS : AON_INDEX_MISSING;
  if (number)
    snprintf(ret_index->text, sizeof ret_index->text, "“%.*s” may stand there as a number, which an index on texts doesn't find",
             pg_shown(match->value), match->value.data);
  else if (!key.length)
    snprintf(ret_index->text, sizeof ret_index->text, "that column is of a type that is compared by its text; make it text");
  else
    snprintf(ret_index->text, sizeof ret_index->text, "CREATE INDEX ON %s (%s)", s->table->quoted, key.data);
  return AON_OK;
}

aon_result pg_look_up(void *state, const aon_collection *collection, const aon_match *match, aon_index *ret_index, aon_error *error) {
  pg_store *store = state;
  scanning s = {.store = store, .matches = match, .count = 1};
  pg_enter(store);
  aon_result result = pg_table_find(store, collection, &s.table, error);
  size_t place;
  aon_match number = {.property = match ? match->property : "", .value = AON_TEXT("1")};
  const pg_column *column = !result && match ? pg_column_find(s.table, match->property, 0, &place) : NULL;
  if (column && column->form == FORM_INTEGER && !pg_id_fits(column, match->value.data, match->value.length))
    s.matches = &number; /* nothing would be found by that one */
  if (!result && s.table->shape.exists && match)
    result = look_up(&s, ret_index, error);
  aon_arena_release(&s.texts);
  return result;
}
