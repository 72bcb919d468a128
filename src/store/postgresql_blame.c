/* What a constraint that refused a row is about: the properties, by the names that the server gives of column and constraint and by its
 * catalogue.
 *
 * Invariants: all of a constraint's properties are named or none is; a part of a document is named only where the definition says nothing else
 * of the document; the refusal stands, whether this can be found out or not. */
#include <ctype.h>
#include <string.h>

#include "store/postgresql_internal.h"

#define PROPERTIES_LIMIT 16

/* r: the table that is blamed ($2, $3), if it is ours ($1) or a part of it. */
#define BLAMED                                                                                                                             \
  "with r as (select c.oid from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = $2 and relname = $3 and "           \
  "(c.oid = $1::oid or c.oid in (select relid from pg_partition_tree($1::oid)))), "                                                        \
  "i as (select indexrelid from pg_index join pg_class c on c.oid = indexrelid where indrelid = (select oid from r) and relname = $5 and " \
  "indnatts = indnkeyatts) "

/* Columns of the constraint, of the index that no constraint stands for, or the one that must not be null. */
static const char columns_sql[] = BLAMED
    "select attname from pg_attribute where attrelid = (select oid from r) and attnum > 0 and (attname = $4 or attnum = any(coalesce("
    "(select conkey from pg_constraint where conrelid = attrelid and conname = $5), "
    "(select array_agg(refobjsubid::int2) from pg_depend where classid = 'pg_class'::regclass and objid = (select indexrelid from i) and "
    "refclassid = classid and refobjid = attrelid and refobjsubid > 0)))) order by attnum";

static const char definition_sql[] =
    BLAMED "select coalesce((select pg_get_constraintdef(oid) from pg_constraint where conrelid = (select oid from r) and conname = $5), "
           "(select pg_get_indexdef(indexrelid) from i)) where $4 = ''";

typedef struct found {
  const char *names[PROPERTIES_LIMIT];
  size_t count;
  bool all;
} found;

static void add(found *f, const char *name) {
  for (size_t i = 0; i < f->count; i++)
    if (!strcmp(f->names[i], name))
      return;
  f->all = f->all && f->count < PROPERTIES_LIMIT;
  if (f->all)
    f->names[f->count++] = name;
}

static bool in_word(char c) { return c == '_' || c == '$' || isalnum((unsigned char)c) || (unsigned char)c >= 0x80; }

/* At " ->> 'name'::text)" behind doc: the name, in the arena; NULL: it is something else. */
static const char *property_at(const char *at, aon_arena *arena) {
  const char *quote = !strncmp(at, " ->> '", 6) ? at + 6 : !strncmp(at, " -> '", 5) ? at + 5 : NULL;
  char *name = quote ? aon_arena_text(arena, quote, strlen(quote)) : NULL;
  size_t length = 0;
  if (!name)
    return NULL;
  for (; *quote && !(quote[0] == '\'' && quote[1] != '\''); quote += *quote == '\'' ? 2 : 1)
    name[length++] = *quote;
  name[length] = 0;
  return strncmp(quote, "'::text)", 8) ? NULL : name;
}

static void read_definition(const char *text, const char *key, aon_arena *arena, found *f) {
  if (!strcmp(text, "PRIMARY KEY (id)")) {
    f->all = key != NULL;
    if (key)
      add(f, key);
    return;
  }
  for (const char *at = text; f->all && (at = strstr(at, "doc")); at += 3) {
    if ((at > text && in_word(at[-1])) || in_word(at[3]))
      continue;
    const char *name = at > text && at[-1] == '(' ? property_at(at + 3, arena) : NULL;
    f->all = name != NULL;
    if (name)
      add(f, name);
  }
}

void pg_blame(pg_store *store, const pg_table *table, const aon_collection *collection, aon_error *error) {
  aon_postgresql *connection = store->transaction.connection;
  aon_postgresql_blame blame = aon_postgresql_blamed(connection);
  AON_POSTGRESQL_RESULT PGresult *rows = NULL;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_error ignored = AON_ERROR_INIT;
  found f = {.all = true};
  aon_postgresql_value values[5] = {
      {.data = table->oid}, {.data = blame.schema}, {.data = blame.table}, {.data = blame.column}, {.data = blame.constraint}};
  if ((!*blame.column && !*blame.constraint) || !store->transaction.savepoint ||
      aon_postgresql_run(connection, "rollback to savepoint aon", NULL, 0, "looking what was refused", NULL, &ignored) ||
      aon_postgresql_run(connection, table->documents ? definition_sql : columns_sql, values, 5, "looking what was refused", &rows,
                         &ignored))
    return;
  for (int i = 0; i < PQntuples(rows); i++)
    if (!table->documents)
      add(&f, PQgetvalue(rows, i, 0));
    else
      read_definition(PQgetvalue(rows, i, 0), collection->id_property, &arena, &f);
  if (f.all)
    aon_error_properties(error, f.names, f.count);
}
