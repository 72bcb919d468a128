/* What the tables of a PostgreSQL database look like.
 *
 * A table of exactly `id` (text, its key), `doc` (json or jsonb) and perhaps `bson` (bytea) is a document table; any other is used column
 * by column. What a trigger or a rule would write can't be read from the catalogue, so each is taken for one that writes.
 *
 * Invariant: a forgotten table is retired, not freed, so that shapes handed out stay. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "store/postgresql_internal.h"

#define OURS "aon_"

/* ---- forgetting ---- */

void pg_schema_forget(pg_store *store) {
  while (store->tables) {
    pg_table *table = store->tables;
    store->tables = table->next;
    table->next = store->retired;
    store->retired = table;
  }
}

void pg_schema_release(pg_store *store) {
  pg_schema_forget(store);
  while (store->retired) {
    pg_table *table = store->retired;
    store->retired = table->next;
    aon_arena_release(&table->arena);
    free(table);
  }
}

static void retire(pg_store *store, pg_table *table) {
  pg_table **at = &store->tables;
  while (*at != table)
    at = &(*at)->next;
  *at = table->next;
  table->next = store->retired;
  store->retired = table;
}

/* ---- the catalogue ---- */

#define FINGERPRINT                                                                                                                        \
  "select md5(concat((select string_agg(concat_ws('|', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated, "       \
  "a.attidentity, a.attisdropped), ',' order by a.attnum) from pg_attribute a where a.attrelid = c.oid and a.attnum > 0), "                \
  "(select i.indkey::text from pg_index i where i.indrelid = c.oid and i.indisprimary), c.relhastriggers, c.relhasrules)) "                \
  "from pg_class c where c.oid = $1::oid"

/* Name, type, base type ("" for types that users make), type of elements, their delimiter, generated, identity, default, place in the key,
 * collation that compares bytes. */
#define COLUMNS                                                                                                                            \
  "with recursive d(oid, at) as (select oid, typbasetype from pg_type where typtype = 'd' union all select d.oid, t.typbasetype from d "   \
  "join pg_type t on t.oid = d.at where t.typtype = 'd'), base as (select d.oid, d.at from d join pg_type t on t.oid = d.at where "        \
  "t.typtype <> 'd'), named as (select t.*, case when t.typnamespace = 'pg_catalog'::regnamespace then t.typname::text else '' end as "    \
  "plain, t.typcategory = 'A' and t.typlen = -1 and t.typelem <> 0 and t.typname not in ('int2vector', 'oidvector') as list from pg_type " \
  "t) select a.attname, format_type(a.atttypid, a.atttypmod), case when b.list then '[]' else b.plain end, e.plain, e.typdelim, "          \
  "a.attgenerated <> '', a.attidentity, pg_get_expr(v.adbin, v.adrelid), case when k.place < k.count then k.place + 1 else 0 end, "        \
  "coalesce(o.collisdeterministic, true), case when a.attidentity <> '' then pg_get_serial_sequence(c.oid::regclass::text, a.attname) "    \
  "end from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped left join base ab on ab.oid = "   \
  "a.atttypid join named b on b.oid = coalesce(ab.at, a.atttypid) left join base eb on eb.oid = b.typelem left join named e on b.list "    \
  "and e.oid = coalesce(eb.at, b.typelem) left join pg_attrdef v on v.adrelid = a.attrelid and v.adnum = a.attnum left join "              \
  "pg_collation o on o.oid = a.attcollation left join lateral (select array_position(i.indkey::int2[], a.attnum) as place, "               \
  "i.indnkeyatts as count from pg_index i where i.indrelid = c.oid and i.indisprimary) k on true where c.oid = $1::oid order by a.attnum"

#define EFFECTS                                                                                                                            \
  "select kind, string_agg(distinct said, '; ') from ("                                                                                    \
  "select 'd' as kind, 'rows of ' || conrelid::regclass || ' refer to it with ON DELETE ' || case confdeltype when 'c' then 'CASCADE' "    \
  "when 'n' then 'SET NULL' else 'SET DEFAULT' end as said from pg_constraint where contype = 'f' and confrelid = $1::oid and "            \
  "confdeltype in ('c', 'n', 'd') union all "                                                                                              \
  "select 'w', 'rows of ' || conrelid::regclass || ' refer to it with ON UPDATE ' || case confupdtype when 'c' then 'CASCADE' "            \
  "when 'n' then 'SET NULL' else 'SET DEFAULT' end from pg_constraint where contype = 'f' and confrelid = $1::oid and "                    \
  "confupdtype in ('c', 'n', 'd') union all "                                                                                              \
  "select kind, 'its trigger ' || tgname || ' runs the function ' || proname from pg_trigger join pg_proc p on p.oid = tgfoid join "       \
  "(values ('d', 8), ('w', 20)) as k(kind, bits) on tgtype & bits <> 0 where tgrelid = $1::oid and not tgisinternal and tgenabled in "     \
  "('O', 'A') union all "                                                                                                                  \
  "select case ev_type when '4' then 'd' else 'w' end, 'its rule ' || rulename || ' changes what is done' from pg_rewrite where "          \
  "ev_class = $1::oid and ev_type in ('2', '3', '4')) effects group by kind"

static aon_postgresql_value value_of(const char *text) { return (aon_postgresql_value){.data = text}; }

/* *ret_text NULL: null stands there. False: no memory, which must not read as “no default” or “no effect”. */
static bool keep(pg_table *table, const PGresult *row, int line, int column, const char **ret_text) {
  *ret_text = NULL;
  if (PQgetisnull(row, line, column))
    return true;
  *ret_text = aon_arena_text(&table->arena, PQgetvalue(row, line, column), (size_t)PQgetlength(row, line, column));
  return *ret_text;
}

/* ---- columns ---- */

typedef struct known_type {
  const char *name;
  pg_form form;
  bool typed, certain;
} known_type;

/* Types whose own equality tells apart whatever their text tells apart (but 0 and -0), and what we can spell as the server does. */
static const known_type known_types[] = {
    {"int2", FORM_INTEGER, true, true},         {"int4", FORM_INTEGER, true, true},   {"int8", FORM_INTEGER, true, true},
    {"float4", FORM_REAL, true, false},         {"float8", FORM_REAL, true, true},    {"bool", FORM_BOOLEAN, true, true},
    {"text", FORM_TEXT, false, true},           {"varchar", FORM_TEXT, false, false}, {"bytea", FORM_BYTES, true, true},
    {"uuid", FORM_TEXT, true, false},           {"date", FORM_TEXT, true, false},     {"timestamp", FORM_TIMESTAMP, true, false},
    {"timestamptz", FORM_INSTANT, true, false}, {"json", FORM_JSON, false, false},    {"jsonb", FORM_JSON, true, false},
    {"[]", FORM_ARRAY, false, false},
};

static const known_type *type_named(const char *name) {
  for (size_t i = 0; i < sizeof known_types / sizeof *known_types; i++)
    if (!strcmp(known_types[i].name, name))
      return &known_types[i];
  return NULL;
}

static bool quoted_literal(const char *sql) {
  if (*sql++ != '\'')
    return false;
  for (; *sql; sql++)
    if (*sql == '\'' && *++sql != '\'')
      return !*sql || (!strncmp(sql, "::", 2) && !strpbrk(sql, "('"));
  return false;
}

/* pg_get_expr spells literals as 'text'::type, 12, true, NULL::type. Texts of dates such as 'now' are folded when the table is made. */
static bool literal(const char *sql) {
  if (!strcasecmp(sql, "true") || !strcasecmp(sql, "false") || !strncasecmp(sql, "null::", 6))
    return true;
  return (sql[0] && strspn(sql, "0123456789.") == strlen(sql)) || quoted_literal(sql);
}

static aon_result identity_default(pg_column *column, pg_table *table, const char *sequence, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  aon_result result = aon_buffer_text(&sql, "nextval(", error);
  if (!result)
    result = aon_postgresql_literal(sequence, &sql, error);
  if (!result)
    result = aon_buffer_text(&sql, ")", error);
  if (!result && !(column->default_sql = aon_arena_text(&table->arena, sql.data, sql.length)))
    result = aon_fail_memory(error);
  return result;
}

static aon_result load_column(pg_table *table, const PGresult *row, int line, aon_error *error) {
  pg_column *column = &table->columns[line];
  if (!keep(table, row, line, 0, &column->name) || !keep(table, row, line, 1, &column->type) || !keep(table, row, line, 2, &column->base) ||
      !keep(table, row, line, 7, &column->default_sql))
    return aon_fail_memory(error);
  const known_type *type = type_named(column->base), *element = type_named(PQgetvalue(row, line, 3));
  column->form = type ? type->form : FORM_TEXT;
  column->typed = type && type->typed;
  column->certain = type && type->certain &&
                    !strcmp(column->type, !strcmp(column->base, "bool")     ? "boolean"
                                          : !strcmp(column->base, "int2")   ? "smallint"
                                          : !strcmp(column->base, "int4")   ? "integer"
                                          : !strcmp(column->base, "int8")   ? "bigint"
                                          : !strcmp(column->base, "float8") ? "double precision"
                                                                            : column->base);
  column->element = element ? element->form : FORM_TEXT;
  column->delimiter = PQgetvalue(row, line, 4)[0];
  column->jsonb = !strcmp(column->base, "jsonb");
  column->padded = !strcmp(column->base, "bpchar");
  column->limited = column->padded || !strcmp(column->base, "varchar") || !strcmp(column->base, "bit") || !strcmp(column->base, "varbit");
  column->cast = column->limited ? aon_arena_format(&table->arena, "pg_catalog.\"%s\"", column->base) : column->type;
  if (!column->cast)
    return aon_fail_memory(error);
  column->generated = PQgetvalue(row, line, 5)[0] == 't';
  if (column->generated)
    column->default_sql = NULL;
  column->key = (uint32_t)atoi(PQgetvalue(row, line, 8));
  column->exact = PQgetvalue(row, line, 9)[0] == 't';
  column->typed = column->typed && column->exact;
  if (column->key > table->key_count)
    table->key_count = column->key;
  column->default_fixed = !column->default_sql || literal(column->default_sql);
  if (PQgetisnull(row, line, 10))
    return AON_OK;
  column->default_fixed = false;
  return identity_default(column, table, PQgetvalue(row, line, 10), error);
}

static aon_result load_columns(pg_store *store, pg_table *table, aon_error *error) {
  AON_POSTGRESQL_RESULT PGresult *row = NULL;
  aon_postgresql_value oid = value_of(table->oid);
  aon_result result = pg_query(store, COLUMNS, &oid, 1, "looking at a table", &row, error);
  if (result)
    return result;
  table->column_count = (size_t)PQntuples(row);
  table->columns = aon_arena_alloc(&table->arena, (table->column_count + 1) * sizeof *table->columns);
  if (!table->columns)
    return aon_fail_memory(error);
  for (size_t i = 0; !result && i < table->column_count; i++)
    result = load_column(table, row, (int)i, error);
  if (result)
    return result;
  table->keys = aon_arena_alloc(&table->arena, (table->key_count + 1) * sizeof *table->keys);
  if (!table->keys)
    return aon_fail_memory(error);
  for (size_t i = 0; i < table->column_count; i++)
    if (table->columns[i].key)
      table->keys[table->columns[i].key - 1] = i;
  return AON_OK;
}

/* ---- the rest of a table ---- */

static bool is_column(const pg_table *table, size_t at, const char *name, const char *base) {
  const pg_column *column = &table->columns[at];
  return !strcmp(column->name, name) && !strcmp(column->base, base) && !column->generated;
}

static void find_documents(pg_table *table) {
  table->has_bson = table->column_count == 3 && is_column(table, 2, "bson", "bytea");
  table->documents = (table->column_count == 2 || table->has_bson) && table->key_count == 1 && table->columns[0].key == 1 &&
                     is_column(table, 0, "id", "text") && (is_column(table, 1, "doc", "jsonb") || is_column(table, 1, "doc", "json"));
  table->has_bson = table->has_bson && table->documents;
  table->shape.document_table = table->documents;
}

static aon_result load_lists(pg_table *table, aon_error *error) {
  const char **names = aon_arena_alloc(&table->arena, (table->column_count + table->key_count + 2) * sizeof *names);
  if (!names)
    return aon_fail_memory(error);
  if (table->documents)
    return AON_OK;
  for (size_t i = 0; i < table->key_count; i++)
    names[i] = table->columns[table->keys[i]].name;
  table->shape.key = names;
  names += table->key_count + 1;
  table->shape.volatiles = names;
  for (size_t i = 0; i < table->column_count; i++)
    if (table->columns[i].generated)
      *names++ = table->columns[i].name;
  return AON_OK;
}

static aon_result load_select(pg_table *table, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer list = {0};
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < table->column_count; i++) {
    result = aon_buffer_text(&list, i ? ", t." : "t.", error);
    if (!result)
      result = aon_postgresql_name(table->columns[i].name, &list, error);
    if (!result)
      result = aon_buffer_text(&list, "::text", error);
  }
  if (!result && !(table->select_list = aon_arena_text(&table->arena, list.data, list.length)))
    result = aon_fail_memory(error);
  return result;
}

static aon_result load_effects(pg_store *store, pg_table *table, aon_error *error) {
  AON_POSTGRESQL_RESULT PGresult *row = NULL;
  aon_postgresql_value oid = value_of(table->oid);
  aon_result result = pg_query(store, EFFECTS, &oid, 1, "looking at a table", &row, error);
  for (int i = 0; !result && i < PQntuples(row); i++) {
    const char *said;
    if (!keep(table, row, i, 1, &said))
      return aon_fail_memory(error);
    if (PQgetvalue(row, i, 0)[0] == 'd')
      table->shape.delete_effect = said;
    else
      table->shape.write_effect = said;
  }
  return result;
}

static aon_result default_sql(const pg_column *column, aon_buffer *sql, aon_error *error) {
  return aon_buffer_format(sql, error, "%s(%s)::%s::text", sql->length ? ", " : "select ", column->default_sql, column->type);
}

static aon_result fix_defaults(pg_store *store, pg_table *table, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  AON_POSTGRESQL_RESULT PGresult *row = NULL;
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < table->column_count; i++)
    if (table->columns[i].default_sql && table->columns[i].default_fixed)
      result = default_sql(&table->columns[i], &sql, error);
  if (result || !sql.length)
    return result;
  result = pg_query(store, sql.data, NULL, 0, "looking at a table's defaults", &row, error);
  for (size_t i = 0, at = 0; !result && i < table->column_count; i++)
    if (table->columns[i].default_sql && table->columns[i].default_fixed &&
        !keep(table, row, 0, (int)at++, &table->columns[i].default_text))
      result = aon_fail_memory(error);
  return result;
}

/* affects: it has triggers (of foreign keys that refer to it, too) or rules, which may have effects. */
static aon_result load(pg_store *store, pg_table *table, bool affects, aon_error *error) {
  AON_POSTGRESQL_RESULT PGresult *row = NULL;
  aon_postgresql_value oid = value_of(table->oid);
  aon_result result = pg_query(store, FINGERPRINT, &oid, 1, "looking at a table", &row, error);
  if (!result && PQntuples(row) != 1)
    result = aon_fail(error, AON_TRANSIENT, "schema_changed", "“%s” in %s was altered while it was looked at. Try again.", table->name,
                      store->name);
  if (!result && !keep(table, row, 0, 0, &table->fingerprint))
    result = aon_fail_memory(error);
  if (!result)
    result = load_columns(store, table, error);
  if (!result && !table->key_count)
    result =
        aon_fail(error, AON_REJECTED, "unknown_collection",
                 "“%s” in %s is no table with a primary key, so its rows have no ids. Give it a primary key.", table->name, store->name);
  if (result)
    return result;
  find_documents(table);
  result = load_lists(table, error);
  if (!result)
    result = load_select(table, error);
  if (!result && affects)
    result = load_effects(store, table, error);
  return result || table->documents ? result : fix_defaults(store, table, error);
}

/* ---- finding ---- */

static aon_result good_name(const pg_store *store, const char *name, aon_error *error) {
  const char *dot = strchr(name, '.');
  const char *table = dot ? dot + 1 : name;
  bool system = !strncmp(name, "information_schema.", 19); /* others of the system begin with pg_ */
  if (table[0] && !system && strncasecmp(table, OURS, strlen(OURS)) && strncasecmp(name, OURS, strlen(OURS)) && strncasecmp(name, "pg_", 3))
    return AON_OK;
  return aon_fail(error, AON_REJECTED, "unknown_collection",
                  "“%s” can't be a collection of %s: that name is kept for the system's own tables.", name, store->name);
}

/* The name quoted as one, or as schema and table. */
static aon_result quote_name(const char *name, bool split, aon_buffer *out, aon_error *error) {
  const char *dot = strchr(name, '.');
  if (!split || !dot)
    return aon_postgresql_name(name, out, error);
  char *schema = strndup(name, (size_t)(dot - name));
  aon_result result = schema ? aon_postgresql_name(schema, out, error) : aon_fail_memory(error);
  free(schema);
  if (!result)
    result = aon_buffer_text(out, ".", error);
  return result ? result : aon_postgresql_name(dot + 1, out, error);
}

#define LOOK_UP                                                                                                                            \
  "select c.oid::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relhastriggers or c.relhasrules from (select "           \
  "coalesce(to_regclass($1), to_regclass($2)) as oid) o join pg_class c on c.oid = o.oid join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p', 'f')"

static aon_result table_new(const char *name, pg_table **ret_table, aon_error *error) {
  pg_table *table = calloc(1, sizeof *table);
  if (table)
    table->name = aon_arena_text(&table->arena, name, strlen(name));
  if (!table || !table->name) {
    free(table);
    return aon_fail_memory(error);
  }
  *ret_table = table;
  return AON_OK;
}

static void table_free(pg_table *table) {
  aon_arena_release(&table->arena);
  free(table);
}

static void adopt(pg_store *store, pg_table *table) {
  table->next = store->tables;
  store->tables = table;
}

static aon_result load_new(pg_store *store, const char *name, const PGresult *found, pg_table **ret_table, aon_error *error) {
  pg_table *table;
  aon_result result = table_new(name, &table, error);
  if (result)
    return result;
  table->shape.exists = true;
  bool both = keep(table, found, 0, 0, &table->oid) && keep(table, found, 0, 1, &table->quoted);
  result = both ? load(store, table, PQgetvalue(found, 0, 2)[0] == 't', error) : aon_fail_memory(error);
  if (result) {
    table_free(table);
    return result;
  }
  adopt(store, table);
  *ret_table = table;
  return AON_OK;
}

static aon_result absent_new(pg_store *store, const char *name, pg_table **ret_table, aon_error *error) {
  pg_table *table;
  if (!store->create)
    return aon_fail(error, AON_REJECTED, "unknown_collection", "%s has no table “%s”. Make it, or set create: true for this store.",
                    store->name, name);
  aon_result result = table_new(name, &table, error);
  if (result)
    return result;
  table->documents = table->has_bson = table->shape.document_table = true;
  adopt(store, table);
  *ret_table = table;
  return AON_OK;
}

pg_table *pg_table_known(pg_store *store, const aon_collection *collection) {
  for (pg_table *table = store->tables; table; table = table->next)
    if (!strcmp(table->name, collection->name))
      return table;
  return NULL;
}

aon_result pg_table_find(pg_store *store, const aon_collection *collection, pg_table **ret_table, aon_error *error) {
  pg_table *table = pg_table_known(store, collection);
  if (table && table->shape.exists) {
    *ret_table = table;
    return AON_OK;
  }
  AON_BUFFER_CLEANUP aon_buffer whole = {0};
  AON_BUFFER_CLEANUP aon_buffer parted = {0};
  AON_POSTGRESQL_RESULT PGresult *found = NULL;
  aon_result result = good_name(store, collection->name, error);
  if (!result)
    result = quote_name(collection->name, false, &whole, error);
  if (!result)
    result = quote_name(collection->name, true, &parted, error);
  if (result)
    return result;
  aon_postgresql_value names[2] = {value_of(whole.data), value_of(parted.data)};
  result = pg_query(store, LOOK_UP, names, 2, "looking for a table", &found, error);
  if (result)
    return result;
  if (PQntuples(found)) {
    if (table)
      retire(store, table);
    return load_new(store, collection->name, found, ret_table, error);
  }
  if (!table)
    return absent_new(store, collection->name, ret_table, error);
  *ret_table = table;
  return AON_OK;
}

/* Outside the transaction; if another worker makes it at the same time, its is as good. */
aon_result pg_table_make(pg_store *store, const aon_collection *collection, pg_table **ret_table, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  AON_POSTGRESQL_RESULT PGresult *row = NULL;
  const char *dot = strchr(collection->name, '.');
  bool parted = false;
  aon_error failure = AON_ERROR_INIT;
  aon_result result = AON_OK;
  if (dot) {
    char *schema = strndup(collection->name, (size_t)(dot - collection->name));
    aon_postgresql_value name = value_of(schema ? schema : "");
    result = pg_query(store, "select 1 from pg_namespace where nspname = $1", &name, 1, "looking for a schema", &row, error);
    parted = !result && PQntuples(row) > 0;
    free(schema);
  }
  if (!result)
    result = aon_buffer_text(&sql, "create table ", error);
  if (!result)
    result = quote_name(collection->name, parted, &sql, error);
  if (!result)
    result = aon_buffer_text(&sql, " (id text primary key, doc jsonb not null, bson bytea)", error);
  if (result)
    return result;
  aon_result made = pg_query(store, sql.data, NULL, 0, "making a table", NULL, &failure);
  result = pg_table_find(store, collection, ret_table, error);
  if (result || (*ret_table)->shape.exists)
    return result;
  return made ? pg_tell(made, &failure, error)
              : aon_fail(error, AON_TRANSIENT, "schema_changed", "“%s” was dropped as soon as it was made.", collection->name);
}

aon_postgresql_statement pg_table_look(const pg_table *table, aon_postgresql_value *oid) {
  *oid = value_of(table->oid);
  return (aon_postgresql_statement){.sql = FINGERPRINT, .values = oid, .count = 1, .doing = "looking at a table", .keep = true};
}

bool pg_table_same(const pg_table *table, const PGresult *looked) {
  return PQntuples(looked) == 1 && !strcmp(PQgetvalue(looked, 0, 0), table->fingerprint);
}

aon_result pg_table_altered(pg_store *store, const pg_table *table, aon_error *error) {
  pg_schema_forget(store);
  return aon_fail(error, AON_TRANSIENT, "schema_changed", "“%s” in %s was altered meanwhile. Try again.", table->name, store->name);
}

aon_result pg_table_pin(pg_store *store, aon_postgresql *connection, pg_table *table, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  aon_postgresql_value oid;
  if (table->pinned == store->transaction.number)
    return AON_OK;
  aon_result result = aon_buffer_format(&sql, error, "lock table %s in row exclusive mode", table->quoted);
  if (result)
    return result;
  aon_postgresql_statement statements[2] = {{sql.data, NULL, 0, "locking a table against changes of its columns"},
                                            pg_table_look(table, &oid)};
  PGresult *results[2];
  size_t failed;
  aon_error failure = AON_ERROR_INIT;
  result = aon_postgresql_pipeline(connection, statements, 2, results, &failed, &failure);
  bool same = !result && pg_table_same(table, results[1]);
  PQclear(results[0]);
  PQclear(results[1]);
  if (!same && (!result || !strcmp(failure.code, "schema_changed")))
    return pg_table_altered(store, table, error);
  if (!result)
    table->pinned = store->transaction.number;
  return pg_tell(result, &failure, error);
}

const pg_column *pg_column_find(const pg_table *table, const char *name, size_t hint, size_t *ret_at) {
  for (size_t i = 0; i < table->column_count; i++) {
    size_t at = (hint + i) % table->column_count; /* properties mostly come in the order of columns */
    if (!strcmp(table->columns[at].name, name)) {
      *ret_at = at;
      return &table->columns[at];
    }
  }
  return NULL;
}

aon_result pg_describe(void *state, const aon_collection *collection, const aon_shape **ret_shape, aon_error *error) {
  pg_store *store = state;
  pg_table *table;
  pg_enter(store);
  aon_result result = pg_table_find(store, collection, &table, error);
  if (!result)
    *ret_shape = &table->shape;
  return result;
}
