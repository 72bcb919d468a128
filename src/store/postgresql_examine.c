/* What aon doctor tells of a PostgreSQL store.
 *
 * Invariant: changes nothing; prepared transactions are listed, never touched. */
#include <stdlib.h>
#include <string.h>

#include "store/postgresql_internal.h"

#define ORPHANS_SHOWN "20"
#define CLOCK_TOLERANCE_MS 2000
#define TABLES_SHOWN "20"

#define FACTS                                                                                                                              \
  "select current_setting('server_version'), current_setting('max_prepared_transactions'), current_user, current_database(), "             \
  "coalesce(current_schema(), ''), (extract(epoch from clock_timestamp()) * 1000)::bigint, current_setting('fsync'), "                     \
  "current_setting('synchronous_commit'), pg_is_in_recovery(), coalesce(has_schema_privilege(current_schema(), 'create'), false), "        \
  "coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false), current_setting('full_page_writes')"

static aon_result tell_facts(pg_store *store, const PGresult *row, aon_buffer *report, bool *healthy, aon_error *error) {
  int64_t here = aon_now_ms(store->env), there = strtoll(PQgetvalue(row, 0, 5), NULL, 10);
  bool durable = !strcmp(PQgetvalue(row, 0, 6), "on") && !strcmp(PQgetvalue(row, 0, 11), "on");
  bool standby = PQgetvalue(row, 0, 8)[0] == 't', clock = llabs(here - there) < CLOCK_TOLERANCE_MS;
  aon_result result = aon_buffer_format(
      report, error,
      store->prepares ? "PostgreSQL %s, prepared transactions (class 1), %s places\n"
                      : "PostgreSQL %s, one transaction with a marker (class 2): it can't prepare, max_prepared_transactions is %s\n",
      PQgetvalue(row, 0, 0), PQgetvalue(row, 0, 1));
  if (!result)
    result = aon_buffer_format(report, error, "user %s, database %s, schema %s, %s\n", PQgetvalue(row, 0, 2), PQgetvalue(row, 0, 3),
                               PQgetvalue(row, 0, 4), PQgetvalue(row, 0, 10)[0] == 't' ? "TLS" : "no TLS");
  if (!result)
    result = aon_buffer_format(report, error,
                               durable ? "durable: yes, synchronous_commit %s\n"
                                       : "durable: NO, fsync or full_page_writes is off (synchronous_commit %s)\n",
                               PQgetvalue(row, 0, 7));
  if (!result)
    result = aon_buffer_format(report, error, "clock: %lld ms %s ours%s\n", llabs(here - there), there > here ? "before" : "behind",
                               clock ? "" : ", which is MUCH; set one of them right");
  if (!result && standby)
    result = aon_buffer_text(report, "writable: NO, it is a standby\n", error);
  *healthy = *healthy && durable && !standby && clock;
  return result;
}

static aon_result tell_markers(pg_store *store, bool may_create, aon_buffer *report, bool *healthy, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  AON_POSTGRESQL_RESULT PGresult *row = NULL, *count = NULL;
  aon_postgresql_value name = {.data = store->markers};
  aon_result result = pg_query(store,
                               "select case when to_regclass($1) is not null then has_table_privilege(to_regclass($1), 'select') and "
                               "has_table_privilege(to_regclass($1), 'insert') and has_table_privilege(to_regclass($1), 'update') end",
                               &name, 1, "looking at markers", &row, error);
  if (result)
    return result;
  if (PQgetisnull(row, 0, 0)) {
    *healthy = *healthy && may_create;
    return aon_buffer_format(report, error,
                             may_create ? "markers: %s is not there yet, the first write makes it\n"
                                        : "markers: %s is not there, and this user may NOT create tables in that schema: grant it\n",
                             store->markers);
  }
  if (PQgetvalue(row, 0, 0)[0] != 't') {
    *healthy = false;
    return aon_buffer_format(report, error, "markers: NOT usable, this user needs select, insert and update on %s\n", store->markers);
  }
  result = aon_buffer_format(&sql, error, "select count(*) from %s", store->markers);
  if (!result)
    result = pg_query(store, sql.data, NULL, 0, "counting markers", &count, error);
  return result ? result : aon_buffer_format(report, error, "markers of bulk operations: %s\n", PQgetvalue(count, 0, 0));
}

#define TABLES                                                                                                                             \
  "from pg_class c where relkind in ('r', 'p') and relnamespace = current_schema()::regnamespace and relname not like 'aon\\_%' "

/* A database may have tables that are none of ours, so what a user may not do with one is told, and not called a fault. */
static aon_result tell_rights(pg_store *store, aon_buffer *report, aon_error *error) {
  AON_POSTGRESQL_RESULT PGresult *rows = NULL;
  aon_result result =
      pg_query(store,
               "select * from (select c.oid::regclass, (select string_agg(may, ', ' order by at) from unnest(array['select', 'insert', "
               "'update', 'delete']) with ordinality m(may, at) where not has_table_privilege(c.oid, may)) as lacks " TABLES
               ") x where lacks is not null order by 1 limit " TABLES_SHOWN,
               NULL, 0, "looking at rights", &rows, error);
  for (int i = 0; !result && i < PQntuples(rows); i++)
    result = aon_buffer_format(report, error,
                               "table %.200s: this user may not %s; bulk operations that need it are refused until it is granted\n",
                               PQgetvalue(rows, i, 0), PQgetvalue(rows, i, 1));
  return result;
}

static aon_result tell_orphans(pg_store *store, aon_buffer *report, bool *healthy, aon_error *error) {
  AON_POSTGRESQL_RESULT PGresult *rows = NULL;
  aon_result result =
      pg_query(store,
               "select gid, owner, extract(epoch from clock_timestamp() - prepared)::bigint from pg_prepared_xacts where gid "
               "like 'aon:%' and database = current_database() order by prepared limit " ORPHANS_SHOWN,
               NULL, 0, "looking for prepared transactions", &rows, error);
  for (int i = 0; !result && i < PQntuples(rows); i++) {
    *healthy = false;
    result = aon_buffer_format(report, error, "prepared transaction %s of %s, %s s old: aon recover ends it if the journal knows it\n",
                               PQgetvalue(rows, i, 0), PQgetvalue(rows, i, 1), PQgetvalue(rows, i, 2));
  }
  return result;
}

aon_result pg_examine(void *state, aon_buffer *report, bool *ret_healthy, aon_error *error) {
  pg_store *store = state;
  AON_POSTGRESQL_RESULT PGresult *row = NULL;
  bool healthy = true;
  aon_error failure = AON_ERROR_INIT;
  pg_enter(store);
  aon_result result = pg_query(store, FACTS, NULL, 0, "examining it", &row, &failure);
  if (!result)
    result = tell_facts(store, row, report, &healthy, &failure);
  if (!result)
    result = tell_markers(store, PQgetvalue(row, 0, 9)[0] == 't', report, &healthy, &failure);
  if (!result)
    result = tell_orphans(store, report, &healthy, &failure);
  if (!result)
    result = tell_rights(store, report, &failure);
  aon_pool_counts pool = aon_pool_look(store->pool);
  if (!result)
    result = aon_buffer_format(report, &failure, "pool: %u connections, %u idle, at most %u\n", pool.total, pool.idle, pool.max);
  if (result) {
    healthy = false;
    result = aon_buffer_format(report, error, "problem: %s\n", failure.sentence);
  }
  if (!result)
    *ret_healthy = healthy;
  return result;
}
