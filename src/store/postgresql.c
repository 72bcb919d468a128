/* PostgreSQL as a store of class 1 where it can prepare transactions, else of class 2.
 *
 *     idle --begin--> open --apply fails--> failed
 *      ^               |                      |
 *      +--commit, prepare, abort--+---abort---+
 *
 * Invariants:
 *  - the marker is the first row a transaction writes; one that is there already fences it, one that another open transaction has written
 *    is waited for;
 *  - a commit or prepare that the server did not answer is AON_UNKNOWN, whatever the reason; its answer "ERROR" proves that nothing was
 *    applied;
 *  - a connection on which anything is uncertain is closed, never given back to the pool;
 *  - tables of ours are made outside the transaction (docs/postgresql.md says why).
 * Design: docs/postgresql.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/postgresql_internal.h"

#define MARKER_DAYS_MS ((int64_t)30 * 24 * 3600 * 1000) /* docs/protocol.md: markers stay 30 days at least */
#define GID_BYTES 200                                   /* PostgreSQL's own limit */
#define NUMBER_BYTES 24

/* ---- connections ---- */

void pg_enter(pg_store *store) {
  aon_interrupt_clear(&store->interrupt);
  store->deadline_ms = aon_monotonic_ms(store->env) + store->timeout_ms;
}

static aon_result open_connection(void *context, int64_t deadline_ms, void **ret_connection, aon_error *error) {
  pg_store *store = context;
  aon_postgresql_settings settings = {.label = store->name, .url = store->url, .timeout_ms = store->timeout_ms};
  aon_postgresql *connection;
  aon_result result = aon_postgresql_open(store->env, &settings, &store->interrupt, deadline_ms, &connection, error);
  if (!result)
    *ret_connection = connection;
  return result;
}

static void close_connection(void *context, void *connection) {
  (void)context;
  aon_postgresql_close(connection);
}

static bool connection_alive(void *context, void *connection) {
  (void)context;
  return aon_postgresql_alive(connection);
}

static const aon_pool_ops pool_ops = {open_connection, close_connection, connection_alive};

aon_result pg_acquire(pg_store *store, bool apart, aon_postgresql **ret_connection, aon_error *error) {
  void *connection = store->transaction.connection;
  aon_result result = AON_OK;
  if (apart || !store->transaction.open) /* opening one may take its own time, however short the call's is */
    result = aon_pool_acquire(store->pool, store->deadline_ms + AON_POOL_CONNECT_MS, &connection, error);
  if (result)
    return result;
  aon_postgresql_deadline(connection, aon_monotonic_ms(store->env) + store->timeout_ms);
  *ret_connection = connection;
  return AON_OK;
}

void pg_release(pg_store *store, aon_postgresql *connection) {
  if (store->transaction.open && connection == store->transaction.connection)
    return;
  aon_pool_release(store->pool, connection, !aon_postgresql_alive(connection));
}

aon_result pg_query(pg_store *store, const char *sql, const aon_postgresql_value *values, size_t count, const char *doing,
                    PGresult **ret_result, aon_error *error) {
  aon_postgresql *connection;
  aon_result result = pg_acquire(store, true, &connection, error);
  if (result)
    return result;
  result = aon_postgresql_run(connection, sql, values, count, doing, ret_result, error);
  pg_release(store, connection);
  return result;
}

static aon_pool_counts pool_counts(void *state) { return aon_pool_look(((pg_store *)state)->pool); }

static aon_postgresql_value text_value(const char *text) { return (aon_postgresql_value){.data = text}; }

/* ---- opening and closing ---- */

static void close_store(void *state) {
  pg_store *store = state;
  if (store->transaction.open)
    aon_pool_release(store->pool, store->transaction.connection, true);
  pg_schema_release(store);
  aon_pool_free(store->pool);
  aon_interrupt_close(&store->interrupt);
  aon_arena_release(&store->scratch);
  free(store->name);
  free(store->url);
  free(store->markers);
  free(store);
}

/* Cluster, database and schema of the marker table: who shares them shares markers, and so a transaction. A cluster that keeps its number
 * from us is known by its address. */
static aon_result measure(pg_store *store, aon_store_caps *caps, aon_error *error) {
  AON_POSTGRESQL_RESULT PGresult *row = NULL, *cluster = NULL;
  aon_postgresql *connection;
  aon_result result = pg_acquire(store, true, &connection, error);
  if (result)
    return result;
  result =
      aon_postgresql_run(connection,
                         "select current_setting('max_prepared_transactions')::int > 0, d.oid::text, coalesce(n.oid::text, ''), "
                         "quote_ident(coalesce(current_schema(), 'public')) || '.aon_markers', current_setting('server_version_num')::int "
                         "from pg_database d left join pg_namespace n on n.nspname = current_schema() where d.datname = current_database()",
                         NULL, 0, "looking at what it can do", &row, error);
  if (!result && (PQntuples(row) != 1 || atoi(PQgetvalue(row, 0, 4)) < 120000))
    result = aon_fail(error, AON_ENVIRONMENT, "not_supported", "%s is older than PostgreSQL 12.", store->name);
  char system[128] = "";
  if (!result) {
    if (!aon_postgresql_run(connection, "select system_identifier from pg_control_system()", NULL, 0, "looking at what it can do", &cluster,
                            NULL))
      snprintf(system, sizeof system, "%s", PQgetvalue(cluster, 0, 0));
    else
      snprintf(system, sizeof system, "%.80s:%.20s", PQhost(aon_postgresql_handle(connection)), PQport(aon_postgresql_handle(connection)));
    snprintf(caps->database, sizeof caps->database, "postgresql:%s/%.20s/%.20s", system, PQgetvalue(row, 0, 1), PQgetvalue(row, 0, 2));
    store->prepares = !strcmp(PQgetvalue(row, 0, 0), "t");
    caps->store_class = store->prepares ? AON_CLASS_PREPARED : AON_CLASS_TRANSACTION;
    store->markers = strdup(PQgetvalue(row, 0, 3));
    if (!store->markers)
      result = aon_fail_memory(error);
  }
  pg_release(store, connection);
  return result;
}

static aon_result good_config(const aon_store_config *config, aon_error *error) {
  if (strncmp(config->location, "//", 2))
    return aon_fail(error, AON_USAGE, "bad_location", "%s names no database: write postgresql://USER@HOST:PORT/DATABASE.", config->name);
  if (strlen(config->name) > GID_BYTES - 80)
    return aon_fail(error, AON_USAGE, "bad_name", "“%s” is too long a name for a store that prepares transactions.", config->name);
  return AON_OK;
}

static aon_result new_store(aon_env *env, const aon_store_config *config, pg_store **ret_store, aon_error *error) {
  aon_pool_settings pool = {config->pool_max, config->pool_idle_ms, config->pool_connect_ms};
  pg_store *store = calloc(1, sizeof *store);
  if (!store)
    return aon_fail_memory(error);
  store->env = env;
  store->interrupt.wake = -1;
  store->create = config->create;
  store->timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : PG_TIMEOUT_MS;
  store->transaction.store = store;
  store->name = strdup(config->name);
  aon_result result = AON_OK;
  if (!store->name || asprintf(&store->url, "postgresql:%s", config->location) < 0) {
    store->url = NULL;
    result = aon_fail_memory(error);
  }
  if (!result)
    result = aon_interrupt_open(&store->interrupt, error);
  if (!result)
    result = aon_pool_new(env, store->name, &pool, &pool_ops, store, &store->pool, error);
  if (result) {
    close_store(store);
    return result;
  }
  *ret_store = store;
  return AON_OK;
}

static aon_result open_store(aon_env *env, const aon_store_config *config, void **ret_state, aon_store_caps *ret_caps, aon_error *error) {
  aon_store_caps caps = {.types = AON_TYPE_TIMESTAMP | AON_TYPE_OBJECT_ID | AON_TYPE_BYTES | AON_TYPE_DECIMAL,
                         .batch_operations = PG_BATCH_OPERATIONS,
                         .batch_bytes = PG_BATCH_BYTES,
                         .max_exact_integer = INT64_MAX,
                         .can_undo = true};
  pg_store *store;
  aon_result result = good_config(config, error);
  if (!result)
    result = new_store(env, config, &store, error);
  if (result)
    return result;
  pg_enter(store);
  result = measure(store, &caps, error);
  if (result) {
    close_store(store);
    return result;
  }
  *ret_state = store;
  *ret_caps = caps;
  return AON_OK;
}

static void cancel(void *state) { aon_interrupt_raise(&((pg_store *)state)->interrupt); }

/* ---- markers ---- */

static aon_result markers_exist(pg_store *store, bool *ret_there, aon_error *error) {
  AON_POSTGRESQL_RESULT PGresult *row = NULL;
  aon_postgresql_value name = text_value(store->markers);
  aon_result result = pg_query(store, "select to_regclass($1) is not null", &name, 1, "looking for markers", &row, error);
  if (!result)
    *ret_there = !strcmp(PQgetvalue(row, 0, 0), "t");
  return result;
}

/* Two workers may make it at once: one of them is refused by the catalogue, and finds it there when it looks again. */
static aon_result make_markers(pg_store *store, aon_error *error) {
  if (store->markers_there)
    return AON_OK;
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  aon_error failure = AON_ERROR_INIT;
  aon_result result = markers_exist(store, &store->markers_there, error);
  if (result || store->markers_there)
    return result;
  result =
      aon_buffer_format(&sql, error,
                        "create table %s(bulk text not null, attempt bigint not null, batch bigint not null, state text not null, at_ms "
                        "bigint not null, primary key(bulk, attempt, batch))",
                        store->markers);
  if (result)
    return result;
  result = pg_query(store, sql.data, NULL, 0, "making the table of markers", NULL, &failure);
  if (result && (markers_exist(store, &store->markers_there, NULL) || !store->markers_there))
    return pg_tell(result, &failure, error);
  store->markers_there = true;
  return AON_OK;
}

typedef struct marker_values {
  char numbers[3][NUMBER_BYTES];
  aon_postgresql_value values[4];
} marker_values;

static void bind_marker(pg_store *store, const aon_branch *branch, marker_values *m) {
  snprintf(m->numbers[0], NUMBER_BYTES, "%u", (unsigned)branch->attempt);
  snprintf(m->numbers[1], NUMBER_BYTES, "%u", (unsigned)branch->batch);
  snprintf(m->numbers[2], NUMBER_BYTES, "%lld", (long long)aon_now_ms(store->env));
  m->values[0] = text_value(branch->bulk_id);
  for (int i = 0; i < 3; i++)
    m->values[i + 1] = text_value(m->numbers[i]);
}

static aon_result fenced(const pg_store *store, const aon_branch *branch, aon_marker marker, aon_error *error) {
  return aon_fail(
      error, AON_FENCED, "fenced",
      marker == AON_MARKER_COMMIT
          ? "%s holds a marker of bulk operation %s, attempt %u, already: another worker has taken it over. Nothing was written."
          : "%s holds no commit marker of bulk operation %s, attempt %u: there is nothing to take back, or it was taken back already.",
      store->name, branch->bulk_id, (unsigned)branch->attempt);
}

static void gid_of(const pg_store *store, const aon_branch *branch, char ret_gid[GID_BYTES]) {
  snprintf(ret_gid, GID_BYTES, "aon:%.40s:%s:%u", branch->bulk_id, store->name, (unsigned)branch->attempt);
}

/* ---- transactions ---- */

static void ended(pg_store *store, bool broken) {
  aon_postgresql *connection = store->transaction.connection;
  store->transaction = (aon_transaction){.store = store};
  aon_pool_release(store->pool, connection, broken || !aon_postgresql_alive(connection));
}

static void abandon(pg_store *store) {
  aon_postgresql *connection = store->transaction.connection;
  bool clean = !aon_postgresql_broken(connection) && !aon_postgresql_run(connection, "rollback", NULL, 0, "rolling back", NULL, NULL);
  ended(store, !clean);
}

static aon_result one_at_a_time(const pg_store *store, aon_error *error) {
  if (!store->transaction.open)
    return AON_OK;
  return aon_fail(error, AON_USAGE, "transaction_open", "%s already has a transaction open.", store->name);
}

static aon_result open_with_marker(pg_store *store, const aon_branch *branch, aon_marker marker, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  marker_values m;
  bind_marker(store, branch, &m);
  aon_result result =
      marker == AON_MARKER_COMMIT
          ? aon_buffer_format(&sql, error, "insert into %s values($1, $2, $3, 'commit', $4) on conflict do nothing", store->markers)
          : aon_buffer_format(
                &sql, error,
                "update %s set state = 'undone', at_ms = $4 where bulk = $1 and attempt = $2 and batch = $3 and state = 'commit'",
                store->markers);
  if (result)
    return result;
  aon_postgresql_statement statements[2] = {{"begin read write", NULL, 0, "opening a transaction"},
                                            {sql.data, m.values, 4, "writing a marker"}};
  PGresult *results[2];
  size_t failed;
  result = aon_postgresql_pipeline(store->transaction.connection, statements, 2, results, &failed, error);
  if (result && !strcmp(aon_postgresql_sqlstate(store->transaction.connection), "42P01"))
    store->markers_there = false; /* somebody dropped it */
  if (!result && strcmp(PQcmdTuples(results[1]), "1"))
    result = fenced(store, branch, marker, error);
  PQclear(results[0]);
  PQclear(results[1]);
  return result;
}

static aon_result begin(void *state, const aon_branch *branch, aon_marker marker, aon_transaction **ret_transaction, aon_error *error) {
  pg_store *store = state;
  pg_enter(store);
  bool there = true;
  aon_postgresql *connection;
  aon_result result = one_at_a_time(store, error);
  if (!result && marker == AON_MARKER_COMMIT)
    result = make_markers(store, error);
  else if (!result)
    result = markers_exist(store, &there, error);
  if (!result && !there)
    result = fenced(store, branch, marker, error);
  if (!result)
    result = pg_acquire(store, true, &connection, error);
  if (result)
    return result;
  aon_transaction *t = &store->transaction;
  *t = (aon_transaction){.store = store, .connection = connection, .branch = *branch, .number = ++store->transactions, .open = true};
  snprintf(t->bulk_id, sizeof t->bulk_id, "%s", branch->bulk_id);
  t->branch.bulk_id = t->bulk_id;
  result = open_with_marker(store, branch, marker, error);
  if (result) {
    abandon(store);
    return result;
  }
  *ret_transaction = t;
  return AON_OK;
}

static void abort_transaction(void *state, aon_transaction *transaction) {
  pg_store *store = state;
  if (!transaction || !transaction->open)
    return;
  pg_enter(store);
  aon_postgresql_deadline(transaction->connection, store->deadline_ms);
  abandon(store);
}

static aon_result may_end(pg_store *store, aon_transaction *transaction, aon_error *error) {
  pg_enter(store);
  if (transaction->open) /* else it has no connection any more */
    aon_postgresql_deadline(transaction->connection, store->deadline_ms);
  if (transaction->open && !transaction->failed)
    return AON_OK;
  return aon_fail(error, AON_USAGE, "transaction_failed", "A transaction of %s that has failed can only be rolled back.", store->name);
}

static aon_result flush(void *state, aon_transaction *transaction, aon_error *error) {
  pg_store *store = state;
  aon_result result = may_end(store, transaction, error);
  if (result)
    return result;
  result =
      aon_postgresql_run(transaction->connection, "set constraints all immediate", NULL, 0, "checking deferred constraints", NULL, error);
  if (result)
    transaction->failed = true;
  return result;
}

/* Runs what ends the transaction. Its command tag says whether it did: a transaction that had failed is answered with ROLLBACK. */
static aon_result end_by(pg_store *store, aon_transaction *transaction, const char *sql, const char *tag, const char *lost_code,
                         const char *doing, aon_error *error) {
  AON_POSTGRESQL_RESULT PGresult *row = NULL;
  aon_postgresql *connection = transaction->connection;
  aon_error failure = AON_ERROR_INIT;
  aon_result result = aon_postgresql_run(connection, sql, NULL, 0, doing, &row, &failure);
  if (!result && strcmp(PQcmdStatus(row), tag)) {
    ended(store, true);
    return aon_fail(error, AON_USAGE, "transaction_failed", "A transaction of %s had failed before; nothing of it was kept.", store->name);
  }
  if (!result) {
    ended(store, false);
    return AON_OK;
  }
  if (!aon_postgresql_refused(connection)) {
    ended(store, true);
    return aon_fail(error, AON_UNKNOWN, lost_code, "The connection to %s was lost while %s; whether it was done is not known yet.",
                    store->name, doing);
  }
  abandon(store);
  return pg_tell(result, &failure, error);
}

static aon_result commit(void *state, aon_transaction *transaction, aon_error *error) {
  pg_store *store = state;
  aon_result result = may_end(store, transaction, error);
  if (!result)
    return end_by(store, transaction, "commit", "COMMIT", "commit_lost", "committing", error);
  if (transaction->open)
    abandon(store);
  return result;
}

static aon_result prepare(void *state, aon_transaction *transaction, aon_error *error) {
  pg_store *store = state;
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  char gid[GID_BYTES];
  gid_of(store, &transaction->branch, gid);
  aon_result result = may_end(store, transaction, error);
  if (!result)
    result = aon_buffer_text(&sql, "prepare transaction ", error);
  if (!result)
    result = aon_postgresql_literal(gid, &sql, error);
  if (!result)
    return end_by(store, transaction, sql.data, "PREPARE TRANSACTION", "prepare_lost", "preparing", error);
  if (transaction->open)
    abandon(store);
  return result;
}

/* ---- prepared transactions and resolving ---- */

static aon_result is_prepared(pg_store *store, const aon_branch *branch, bool *ret_is, aon_error *error) {
  AON_POSTGRESQL_RESULT PGresult *row = NULL;
  char gid[GID_BYTES];
  gid_of(store, branch, gid);
  aon_postgresql_value value = text_value(gid);
  *ret_is = false;
  aon_result result = pg_query(store, "select 1 from pg_prepared_xacts where gid = $1 and database = current_database()", &value, 1,
                               "looking for a prepared transaction", &row, error);
  if (!result)
    *ret_is = PQntuples(row) > 0;
  return result;
}

static aon_result marked_committed(pg_store *store, const aon_branch *branch, bool *ret_is, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  AON_POSTGRESQL_RESULT PGresult *row = NULL;
  marker_values m;
  bool there;
  *ret_is = false;
  aon_result result = markers_exist(store, &there, error);
  if (result || !there)
    return result;
  bind_marker(store, branch, &m);
  result = aon_buffer_format(&sql, error, "select 1 from %s where bulk = $1 and attempt = $2 and batch = $3 and state = 'commit'",
                             store->markers);
  if (!result)
    result = pg_query(store, sql.data, m.values, 3, "looking for a marker", &row, error);
  if (!result)
    *ret_is = PQntuples(row) > 0;
  return result;
}

/* *ret_found false: no such prepared transaction. */
static aon_result end_prepared(pg_store *store, const aon_branch *branch, const char *how, const char *doing, bool *ret_found,
                               aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  char gid[GID_BYTES];
  gid_of(store, branch, gid);
  aon_postgresql *connection;
  aon_result result = aon_buffer_text(&sql, how, error);
  if (!result)
    result = aon_postgresql_literal(gid, &sql, error);
  if (!result)
    result = pg_acquire(store, true, &connection, error);
  if (result)
    return result;
  aon_error failure = AON_ERROR_INIT;
  result = aon_postgresql_run(connection, sql.data, NULL, 0, doing, NULL, &failure);
  bool missing = result && !strcmp(aon_postgresql_sqlstate(connection), "42704");
  bool busy = result && !strcmp(aon_postgresql_sqlstate(connection), "55000");
  bool unanswered = result && !aon_postgresql_refused(connection);
  pg_release(store, connection);
  *ret_found = !missing;
  if (!result || missing)
    return AON_OK;
  if (busy)
    return aon_fail(error, AON_TRANSIENT, "database_locked", "A prepared transaction of %s is being ended by somebody else. Try again.",
                    store->name);
  if (unanswered)
    return aon_fail(error, AON_UNKNOWN, "commit_lost", "The connection to %s was lost while %s; whether it was done is not known yet.",
                    store->name, doing);
  return pg_tell(result, &failure, error);
}

static aon_result commit_prepared(void *state, const aon_branch *branch, aon_error *error) {
  pg_store *store = state;
  bool found, committed = true;
  pg_enter(store);
  aon_result result = one_at_a_time(store, error);
  if (!result)
    result = end_prepared(store, branch, "commit prepared ", "committing a prepared transaction", &found, error);
  if (!result && !found)
    result = marked_committed(store, branch, &committed, error);
  if (!result && !committed)
    result = aon_fail(error, AON_PERMANENT, "prepared_lost",
                      "%s has no prepared transaction of bulk operation %s, attempt %u, and no marker of it: somebody rolled it back.",
                      store->name, branch->bulk_id, (unsigned)branch->attempt);
  return result;
}

static aon_result abort_prepared(void *state, const aon_branch *branch, aon_error *error) {
  pg_store *store = state;
  bool found, committed = false;
  pg_enter(store);
  aon_result result = one_at_a_time(store, error);
  if (!result)
    result = end_prepared(store, branch, "rollback prepared ", "rolling a prepared transaction back", &found, error);
  if (!result && !found)
    result = marked_committed(store, branch, &committed, error);
  if (!result && committed)
    result = aon_fail(error, AON_PERMANENT, "already_committed", "%s has committed bulk operation %s, attempt %u, already.", store->name,
                      branch->bulk_id, (unsigned)branch->attempt);
  return result;
}

static aon_result state_named(const pg_store *store, const aon_branch *branch, const char *name, aon_branch_state *ret_state,
                              aon_error *error) {
  if (!strcmp(name, "commit"))
    *ret_state = AON_BRANCH_COMMITTED;
  else if (!strcmp(name, "undone"))
    *ret_state = AON_BRANCH_UNDONE;
  else if (!strcmp(name, "abort"))
    *ret_state = AON_BRANCH_ABORTED;
  else
    return aon_fail(error, AON_CORRUPT, "bad_marker",
                    "The marker of bulk operation %s in %s is none that we wrote. Look at the table aon_markers.", branch->bulk_id,
                    store->name);
  return AON_OK;
}

static aon_result write_abort_marker(pg_store *store, const aon_branch *branch, aon_branch_state *ret_state, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  AON_POSTGRESQL_RESULT PGresult *row = NULL;
  marker_values m;
  bind_marker(store, branch, &m);
  aon_result result =
      aon_buffer_format(&sql, error,
                        "insert into %s as m values($1, $2, $3, 'abort', $4) on conflict (bulk, attempt, batch) do update set "
                        "at_ms = greatest(m.at_ms + 1, excluded.at_ms) returning m.state",
                        store->markers);
  if (!result)
    result = pg_query(store, sql.data, m.values, 4, "looking for a marker", &row, error);
  return result ? result : state_named(store, branch, PQgetvalue(row, 0, 0), ret_state, error);
}

static aon_result resolve(void *state, const aon_branch *branch, aon_branch_state *ret_state, aon_error *error) {
  pg_store *store = state;
  bool prepared = false;
  pg_enter(store);
  aon_result result = one_at_a_time(store, error);
  if (!result)
    result = is_prepared(store, branch, &prepared, error);
  if (!result && !prepared)
    result = make_markers(store, error);
  if (result)
    return result;
  aon_branch_state found = AON_BRANCH_PREPARED;
  aon_error failure = AON_ERROR_INIT;
  result = prepared ? AON_OK : write_abort_marker(store, branch, &found, &failure);
  if (result == AON_TRANSIENT && !strcmp(failure.code, "database_locked")) { /* its transaction is open, or was prepared since */
    found = AON_BRANCH_OPEN;
    result = is_prepared(store, branch, &prepared, &failure);
    if (prepared)
      found = AON_BRANCH_PREPARED;
  }
  if (result && !strcmp(failure.code, "schema_changed"))
    store->markers_there = false;
  if (!result)
    *ret_state = found;
  return pg_tell(result, &failure, error);
}

static aon_result forget(void *state, int64_t before_ms, aon_error *error) {
  pg_store *store = state;
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  int64_t youngest = aon_now_ms(store->env) - MARKER_DAYS_MS;
  char number[NUMBER_BYTES];
  snprintf(number, sizeof number, "%lld", (long long)(before_ms < youngest ? before_ms : youngest));
  aon_postgresql_value value = text_value(number);
  bool there = false;
  pg_enter(store);
  aon_result result = one_at_a_time(store, error);
  if (!result)
    result = markers_exist(store, &there, error);
  if (result || !there)
    return result;
  result = aon_buffer_format(&sql, error, "delete from %s where at_ms < $1", store->markers);
  return result ? result : pg_query(store, sql.data, &value, 1, "forgetting old markers", NULL, error);
}

const aon_store_adapter aon_postgresql_adapter = {
    .kind = "postgresql",
    .interface_version = AON_STORE_INTERFACE,
    .open = open_store,
    .close = close_store,
    .describe = pg_describe,
    .normalise = pg_normalise,
    .read = pg_read,
    .scan = pg_scan,
    .begin = begin,
    .apply = pg_apply,
    .flush = flush,
    .prepare = prepare,
    .commit = commit,
    .abort = abort_transaction,
    .commit_prepared = commit_prepared,
    .abort_prepared = abort_prepared,
    .resolve = resolve,
    .forget = forget,
    .examine = pg_examine,
    .cancel = cancel,
    .pool = pool_counts,
    .look_up = pg_look_up,
};
