/* MongoDB as a store of class 2 where it has transactions (a replica set, a sharded cluster), else of class 4.
 *
 *     idle --begin--> open --apply fails--> failed
 *      ^               |                      |
 *      +-----commit, abort-----+----abort-----+
 *
 * Invariants:
 *  - the marker is the first document that a transaction writes; one that is there already fences it;
 *  - a transaction that another one keeps from writing its marker ends that one by its noted session, and begins anew;
 *  - a commit that was not answered is AON_UNKNOWN, whatever failure is told when it is asked again;
 *  - a connection on which anything is uncertain is closed, never given back to the pool;
 *  - the collection of markers is made outside the transaction.
 * Design: docs/mongodb.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/mongodb_internal.h"

#define MARKER_DAYS_MS ((int64_t)30 * 24 * 3600 * 1000) /* docs/protocol.md: markers stay 30 days at least */
#define KEY_BYTES 96
#define LSID_BYTES 128

/* ---- connections ---- */

void mdb_enter(mdb_store *store) {
  aon_interrupt_clear(&store->interrupt);
  store->deadline_ms = aon_monotonic_ms(store->env) + store->timeout_ms;
}

static aon_result open_connection(void *context, int64_t deadline_ms, void **ret_connection, aon_error *error) {
  mdb_store *store = context;
  aon_mongodb_settings settings = {.label = store->name, .url = store->url, .timeout_ms = store->timeout_ms};
  aon_mongodb *connection;
  aon_result result = aon_mongodb_open(store->env, &settings, &store->interrupt, deadline_ms, &connection, error);
  if (!result)
    *ret_connection = connection;
  return result;
}

static void close_connection(void *context, void *connection) {
  (void)context;
  aon_mongodb_close(connection);
}

static bool connection_alive(void *context, void *connection) {
  (void)context;
  return aon_mongodb_alive(connection);
}

static const aon_pool_ops pool_ops = {open_connection, close_connection, connection_alive};

aon_result mdb_acquire(mdb_store *store, bool apart, aon_mongodb **ret_connection, aon_error *error) {
  void *connection = store->transaction.connection;
  aon_result result = AON_OK;
  if (apart || !store->transaction.open) /* opening one may take its own time, however short the call's is */
    result = aon_pool_acquire(store->pool,
                              store->deadline_ms > INT64_MAX - AON_POOL_CONNECT_MS ? INT64_MAX : store->deadline_ms + AON_POOL_CONNECT_MS,
                              &connection, error);
  if (result)
    return result;
  aon_mongodb_deadline(connection, aon_monotonic_ms(store->env) + store->timeout_ms);
  *ret_connection = connection;
  return AON_OK;
}

void mdb_release(mdb_store *store, aon_mongodb *connection) {
  if (store->transaction.open && connection == store->transaction.connection)
    return;
  aon_pool_release(store->pool, connection, aon_mongodb_broken(connection) || !aon_mongodb_alive(connection));
}

aon_result mdb_command(mdb_store *store, const char *database, const bson_t *command, aon_mongodb_kind kind, const char *doing,
                       bson_t *ret_reply, int *ret_code, aon_error *error) {
  aon_mongodb *connection;
  aon_result result = mdb_acquire(store, true, &connection, error);
  if (ret_code)
    *ret_code = 0;
  if (result) {
    bson_init(ret_reply);
    return result;
  }
  result = aon_mongodb_run(connection, database, command, kind, doing, ret_reply, error);
  if (ret_code)
    *ret_code = aon_mongodb_code(connection);
  mdb_release(store, connection);
  return result;
}

static aon_pool_counts pool_counts(void *state) { return aon_pool_look(((mdb_store *)state)->pool); }

/* ---- what the server can do ---- */

bool mdb_find(const bson_t *answer, const char *path, bson_iter_t *ret_found) {
  bson_iter_t at;
  return bson_iter_init(&at, answer) && bson_iter_find_descendant(&at, path, ret_found);
}

static void text_of(const bson_t *document, const char *key, char *out, size_t size) {
  bson_iter_t at;
  if (bson_iter_init_find(&at, document, key) && BSON_ITER_HOLDS_UTF8(&at))
    snprintf(out, size, "%s", bson_iter_utf8(&at, NULL));
}

/* Hosts of a replica set change, its name and first host are what we have to tell sets apart; a server alone is its address. */
static aon_result say_hello(mdb_store *store, aon_mongodb *connection, aon_store_caps *caps, bool *ret_sharded, aon_error *error) {
  bson_t hello = BSON_INITIALIZER, reply;
  bson_iter_t at;
  char where[100];
  BSON_APPEND_INT32(&hello, "hello", 1);
  aon_result result = aon_mongodb_run(connection, "admin", &hello, AON_MONGODB_READ, "looking at what it can do", &reply, error);
  snprintf(where, sizeof where, "%.90s", aon_mongodb_address(connection));
  if (!result) {
    text_of(&reply, "setName", store->facts.set_name, sizeof store->facts.set_name);
    *ret_sharded = bson_iter_init_find(&at, &reply, "msg") && BSON_ITER_HOLDS_UTF8(&at) && !strcmp(bson_iter_utf8(&at, NULL), "isdbgrid");
    if (*store->facts.set_name && mdb_find(&reply, "hosts.0", &at) && BSON_ITER_HOLDS_UTF8(&at))
      snprintf(where, sizeof where, "%.90s", bson_iter_utf8(&at, NULL));
    snprintf(caps->database, sizeof caps->database, "mongodb:%.63s:%s/%.63s", store->facts.set_name, where,
             aon_mongodb_database(connection));
  }
  bson_destroy(&reply);
  bson_destroy(&hello);
  return result;
}

static aon_result look_at_build(mdb_store *store, aon_mongodb *connection, aon_error *error) {
  bson_t command = BSON_INITIALIZER, reply;
  BSON_APPEND_INT32(&command, "buildInfo", 1);
  aon_result result = aon_mongodb_run(connection, "admin", &command, AON_MONGODB_READ, "looking at what it can do", &reply, error);
  text_of(&reply, "version", store->facts.version, sizeof store->facts.version);
  store->facts.ferretdb = bson_has_field(&reply, "ferretdbVersion") || bson_has_field(&reply, "ferretdb");
  bson_destroy(&reply);
  bson_destroy(&command);
  if (!result && atoi(store->facts.version) < 4)
    result = aon_fail(error, AON_ENVIRONMENT, "not_supported", "%s is older than MongoDB 4.4.", store->name);
  return result;
}

static void append_find(bson_t *command, const char *collection, const bson_t *filter) {
  BSON_APPEND_UTF8(command, "find", collection);
  BSON_APPEND_DOCUMENT(command, "filter", filter);
  BSON_APPEND_INT32(command, "limit", 1);
}

/* Tried, not guessed: a look in a transaction that is then given up. Servers alone have none, and some of them don't even say so. */
static aon_result try_transaction(mdb_store *store, aon_mongodb *connection, aon_error *error) {
  bson_t command = BSON_INITIALIZER, filter = BSON_INITIALIZER, reply;
  const bson_t *lsid;
  aon_error failure = AON_ERROR_INIT;
  append_find(&command, MDB_MARKERS, &filter);
  aon_result result = aon_mongodb_begin(connection, &lsid, &failure);
  if (!result) {
    result = aon_mongodb_run(connection, NULL, &command, AON_MONGODB_INSIDE, "trying a transaction", &reply, &failure);
    bson_destroy(&reply);
    aon_mongodb_abort(connection);
  }
  bson_destroy(&filter);
  bson_destroy(&command);
  store->facts.transactions = !result;
  if (!result)
    return AON_OK;
  bool says_nothing = result != AON_PERMANENT || !strcmp(failure.code, "no_permission"); /* about transactions */
  if (says_nothing) {
    if (error)
      *error = failure;
    return result;
  }
  snprintf(store->facts.why, sizeof store->facts.why, "%.190s", failure.sentence);
  return AON_OK;
}

/* FerretDB finds out only at a document that it can't. */
static aon_result try_whole_comparison(mdb_store *store, aon_mongodb *connection, aon_error *error) {
  if (store->facts.ferretdb)
    return AON_OK;
  bson_t command = BSON_INITIALIZER, reply, nothing = BSON_INITIALIZER;
  bson_t *filter = BCON_NEW("$expr", "{", "$eq", "[", BCON_UTF8("$$ROOT"), "{", "$literal", BCON_DOCUMENT(&nothing), "}", "]", "}");
  aon_error failure = AON_ERROR_INIT;
  append_find(&command, MDB_MARKERS, filter);
  aon_result result = aon_mongodb_run(connection, NULL, &command, AON_MONGODB_READ, "looking at what it can do", &reply, &failure);
  store->facts.compares_whole = !result;
  bson_destroy(&reply);
  bson_destroy(filter);
  bson_destroy(&nothing);
  bson_destroy(&command);
  if (!result || result == AON_PERMANENT)
    return AON_OK;
  if (error)
    *error = failure;
  return result;
}

/* A user without the right to ask gets what MongoDB comes with. */
static void look_at_life(mdb_store *store, aon_mongodb *connection) {
  bson_t command = BSON_INITIALIZER, reply;
  bson_iter_t at;
  BSON_APPEND_INT32(&command, "getParameter", 1);
  BSON_APPEND_INT32(&command, "transactionLifetimeLimitSeconds", 1);
  store->facts.life_ms = MDB_LIFE_MS;
  if (!aon_mongodb_run(connection, "admin", &command, AON_MONGODB_READ, "looking at what it can do", &reply, NULL) &&
      bson_iter_init_find(&at, &reply, "transactionLifetimeLimitSeconds") && bson_iter_as_int64(&at) > 0)
    store->facts.life_ms = bson_iter_as_int64(&at) * 1000;
  bson_destroy(&reply);
  bson_destroy(&command);
}

static aon_result measure(mdb_store *store, aon_store_caps *caps, aon_error *error) {
  aon_mongodb *connection;
  bool sharded = false;
  aon_result result = mdb_acquire(store, true, &connection, error);
  if (result)
    return result;
  result = say_hello(store, connection, caps, &sharded, error);
  if (!result)
    result = look_at_build(store, connection, error);
  bool alone = !*store->facts.set_name && !sharded;
  if (alone)
    snprintf(store->facts.why, sizeof store->facts.why, "it is a server alone; transactions need a replica set, which may have one member");
  if (!result && !alone)
    result = try_transaction(store, connection, error);
  if (!result && store->facts.transactions)
    look_at_life(store, connection);
  else if (!result && !alone)
    result = aon_fail(error, AON_ENVIRONMENT, "not_supported", "%s is a replica set or cluster, but has no transactions: %.120s",
                      store->name, store->facts.why);
  else if (!result)
    result = try_whole_comparison(store, connection, error);
  mdb_release(store, connection);
  caps->store_class = store->facts.transactions ? AON_CLASS_TRANSACTION : AON_CLASS_CONDITIONAL;
  caps->transaction_ms = store->facts.life_ms;
  if (!caps->transaction_operations) /* half its life, at a thousand a second */
    caps->transaction_operations = (uint32_t)(store->facts.life_ms / 2 < UINT32_MAX ? store->facts.life_ms / 2 : UINT32_MAX);
  caps->types = AON_TYPE_TIMESTAMP | AON_TYPE_OBJECT_ID | AON_TYPE_BYTES | (store->facts.ferretdb ? 0 : AON_TYPE_DECIMAL);
  return result;
}

/* ---- opening and closing ---- */

static void close_store(void *state) {
  mdb_store *store = state;
  if (store->transaction.open) {
    aon_mongodb_abort(store->transaction.connection);
    aon_pool_release(store->pool, store->transaction.connection, true);
  }
  mdb_collections_release(store);
  aon_pool_free(store->pool);
  aon_interrupt_close(&store->interrupt);
  free(store->name);
  free(store->url);
  free(store);
}

/* The location is the URL behind "mongodb": "+srv://…" too. */
static aon_result good_config(const aon_store_config *config, aon_error *error) {
  const char *location = config->location;
  for (const aon_store_key *key = config->keys; key && key->collection; key++) {
    const char *why = aon_store_key_problem(key);
    if (why)
      return aon_fail(error, AON_USAGE, "bad_configuration", "The key of %s/%.120s can't serve: %s.", config->name, key->collection, why);
  }
  if (!strncmp(location, "//", 2) || !strncmp(location, "+srv://", 7))
    return AON_OK;
  return aon_fail(error, AON_USAGE, "bad_location", "%s names no database: write mongodb://HOST:PORT/DATABASE?replicaSet=NAME.",
                  config->name);
}

static aon_result new_store(aon_env *env, const aon_store_config *config, mdb_store **ret_store, aon_error *error) {
  aon_pool_settings pool = {config->pool_max, config->pool_idle_ms, config->pool_connect_ms};
  mdb_store *store = calloc(1, sizeof *store);
  if (!store)
    return aon_fail_memory(error);
  store->env = env;
  store->interrupt.wake = -1;
  store->create = config->create;
  store->keys = config->keys;
  store->timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : MDB_TIMEOUT_MS;
  store->transaction.store = store;
  store->name = strdup(config->name);
  aon_result result = AON_OK;
  if (!store->name || asprintf(&store->url, "mongodb%s%s", *config->location == '+' ? "" : ":", config->location) < 0) {
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
  aon_store_caps caps = {.batch_operations = MDB_BATCH_OPERATIONS,
                         .batch_bytes = MDB_BATCH_BYTES,
                         .transaction_operations = config->transaction_operations,
                         .transaction_bytes = config->transaction_bytes ? config->transaction_bytes : MDB_TRANSACTION_BYTES,
                         .splits = !config->transaction_refuse,
                         .max_exact_integer = INT64_MAX,
                         .can_undo = true};
  mdb_store *store;
  aon_result result = good_config(config, error);
  if (!result)
    result = new_store(env, config, &store, error);
  if (result)
    return result;
  mdb_enter(store);
  result = measure(store, &caps, error);
  if (result) {
    close_store(store);
    return result;
  }
  *ret_state = store;
  *ret_caps = caps;
  return AON_OK;
}

static void cancel(void *state) { aon_interrupt_raise(&((mdb_store *)state)->interrupt); }

/* ---- markers ---- */

static void key_of(const aon_branch *branch, char ret_key[KEY_BYTES]) {
  snprintf(ret_key, KEY_BYTES, "%.40s:%u:%u", branch->bulk_id, (unsigned)branch->attempt, (unsigned)branch->batch);
}

static aon_result make_markers(mdb_store *store, aon_error *error) {
  if (store->markers_there)
    return AON_OK;
  aon_result result = mdb_collection_make(store, MDB_MARKERS, error);
  store->markers_there = !result;
  return result;
}

static void append_branch(bson_t *document, const aon_branch *branch) {
  BSON_APPEND_UTF8(document, "bulk", branch->bulk_id);
  BSON_APPEND_INT64(document, "attempt", branch->attempt);
  BSON_APPEND_INT64(document, "batch", branch->batch);
}

static aon_result fenced(const mdb_store *store, const aon_branch *branch, aon_marker marker, aon_error *error) {
  return aon_fail(
      error, AON_FENCED, "fenced",
      marker == AON_MARKER_COMMIT
          ? "%s holds a marker of bulk operation %s, attempt %u, already: another worker has taken it over. Nothing was written."
          : "%s holds no commit marker of bulk operation %s, attempt %u: there is nothing to take back, or it was taken back already.",
      store->name, branch->bulk_id, (unsigned)branch->attempt);
}

/* The name of the session that is about to write a marker, for those who will find the marker held: MongoDB keeps a transaction open for a
 * minute after its client died. *ret_before: who stood there. Its loss costs that minute, so nobody waits for it to be durable. */
static aon_result note_session(mdb_store *store, const aon_branch *branch, const bson_t *lsid, bson_t *ret_before, aon_error *error) {
  char key[KEY_BYTES + 8];
  bson_t reply, command = BSON_INITIALIZER, query = BSON_INITIALIZER, update = BSON_INITIALIZER, set;
  bson_iter_t found;
  key_of(branch, key);
  strcat(key, ":session");
  BSON_APPEND_UTF8(&query, "_id", key);
  BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
  append_branch(&set, branch);
  BSON_APPEND_UTF8(&set, "state", "session");
  BSON_APPEND_DOCUMENT(&set, "lsid", lsid);
  BSON_APPEND_DATE_TIME(&set, "at", aon_now_ms(store->env));
  bson_append_document_end(&update, &set);
  BSON_APPEND_UTF8(&command, "findAndModify", MDB_MARKERS);
  BSON_APPEND_DOCUMENT(&command, "query", &query);
  BSON_APPEND_DOCUMENT(&command, "update", &update);
  BSON_APPEND_BOOL(&command, "upsert", true);
  aon_result result = mdb_command(store, NULL, &command, AON_MONGODB_READ, "noting a session", &reply, NULL, error);
  if (!result && mdb_find(&reply, "value.lsid", &found) && BSON_ITER_HOLDS_DOCUMENT(&found)) {
    uint32_t length;
    const uint8_t *bytes;
    bson_t view;
    bson_iter_document(&found, &length, &bytes);
    if (length <= LSID_BYTES && bson_init_static(&view, bytes, length) && !bson_equal(&view, lsid))
      bson_concat(ret_before, &view);
  }
  bson_destroy(&reply);
  bson_destroy(&command);
  bson_destroy(&query);
  bson_destroy(&update);
  return result;
}

static void end_session(mdb_store *store, const bson_t *lsid) {
  bson_t command = BSON_INITIALIZER, reply, sessions;
  if (bson_empty(lsid))
    return;
  BSON_APPEND_ARRAY_BEGIN(&command, "killSessions", &sessions);
  BSON_APPEND_DOCUMENT(&sessions, "0", lsid);
  bson_append_array_end(&command, &sessions);
  aon_error why = AON_ERROR_INIT;
  if (mdb_command(store, "admin", &command, AON_MONGODB_READ, "ending a session", &reply, NULL, &why))
    aon_log(store->env, AON_LOG_DEBUG, "%s", why.sentence);
  bson_destroy(&reply);
  bson_destroy(&command);
}

static aon_result noted_session(mdb_store *store, const aon_branch *branch, bson_t *ret_lsid, aon_error *error) {
  char key[KEY_BYTES + 8];
  bson_t command = BSON_INITIALIZER, filter = BSON_INITIALIZER, reply;
  bson_iter_t found;
  key_of(branch, key);
  strcat(key, ":session");
  BSON_APPEND_UTF8(&filter, "_id", key);
  append_find(&command, MDB_MARKERS, &filter);
  aon_result result = mdb_command(store, NULL, &command, AON_MONGODB_READ, "looking for a session", &reply, NULL, error);
  if (!result && mdb_find(&reply, "cursor.firstBatch.0.lsid", &found) && BSON_ITER_HOLDS_DOCUMENT(&found)) {
    uint32_t length;
    const uint8_t *bytes;
    bson_t view;
    bson_iter_document(&found, &length, &bytes);
    if (bson_init_static(&view, bytes, length))
      bson_concat(ret_lsid, &view);
  }
  bson_destroy(&reply);
  bson_destroy(&filter);
  bson_destroy(&command);
  return result;
}

/* ---- transactions ---- */

static void ended(mdb_store *store) {
  aon_mongodb *connection = store->transaction.connection;
  store->transaction = (aon_transaction){.store = store};
  aon_pool_release(store->pool, connection, aon_mongodb_broken(connection) || !aon_mongodb_alive(connection));
}

static void abandon(mdb_store *store) {
  aon_mongodb_abort(store->transaction.connection);
  ended(store);
}

static aon_result one_at_a_time(const mdb_store *store, aon_error *error) {
  if (!store->transaction.open)
    return AON_OK;
  return aon_fail(error, AON_USAGE, "transaction_open", "%s already has a transaction open.", store->name);
}

static void insert_marker(mdb_store *store, const aon_branch *branch, const char *key, bson_t *command) {
  bson_t documents, document;
  BSON_APPEND_UTF8(command, "insert", MDB_MARKERS);
  BSON_APPEND_ARRAY_BEGIN(command, "documents", &documents);
  BSON_APPEND_DOCUMENT_BEGIN(&documents, "0", &document);
  BSON_APPEND_UTF8(&document, "_id", key);
  append_branch(&document, branch);
  BSON_APPEND_UTF8(&document, "state", "commit");
  BSON_APPEND_DATE_TIME(&document, "at", aon_now_ms(store->env));
  bson_append_document_end(&documents, &document);
  bson_append_array_end(command, &documents);
}

static void turn_marker(mdb_store *store, const char *key, bson_t *command) {
  bson_t *turn = BCON_NEW("updates", "[", "{", "q", "{", "_id", BCON_UTF8(key), "state", BCON_UTF8("commit"), "}", "u", "{", "$set", "{",
                          "state", BCON_UTF8("undone"), "at", BCON_DATE_TIME(aon_now_ms(store->env)), "}", "}", "}", "]");
  BSON_APPEND_UTF8(command, "update", MDB_MARKERS);
  bson_concat(command, turn);
  bson_destroy(turn);
}

static int64_t count_of(const bson_t *reply) {
  bson_iter_t at;
  return bson_iter_init_find(&at, reply, "n") ? bson_iter_as_int64(&at) : 0;
}

static aon_result write_marker(mdb_store *store, const aon_branch *branch, aon_marker marker, aon_error *error) {
  aon_mongodb *connection = store->transaction.connection;
  char key[KEY_BYTES];
  bson_t command = BSON_INITIALIZER, reply;
  key_of(branch, key);
  if (marker == AON_MARKER_COMMIT)
    insert_marker(store, branch, key, &command);
  else
    turn_marker(store, key, &command);
  aon_result result = aon_mongodb_run(connection, NULL, &command, AON_MONGODB_INSIDE, "writing a marker", &reply, error);
  if (result ? aon_mongodb_code(connection) == AON_MONGODB_DUPLICATE : count_of(&reply) != 1)
    result = fenced(store, branch, marker, error);
  bson_destroy(&reply);
  bson_destroy(&command);
  return result;
}

static aon_result open_with_marker(mdb_store *store, const aon_branch *branch, aon_marker marker, aon_error *error) {
  const bson_t *lsid;
  bson_t before = BSON_INITIALIZER;
  aon_result result = aon_mongodb_begin(store->transaction.connection, &lsid, error);
  if (!result)
    result = note_session(store, branch, lsid, &before, error);
  if (!result)
    result = write_marker(store, branch, marker, error);
  if (result && aon_mongodb_code(store->transaction.connection) == AON_MONGODB_WRITE_CONFLICT)
    end_session(store, &before);
  bson_destroy(&before);
  return result;
}

static aon_result begin(void *state, const aon_branch *branch, aon_marker marker, aon_transaction **ret_transaction, aon_error *error) {
  mdb_store *store = state;
  aon_mongodb *connection;
  mdb_enter(store);
  aon_result result = one_at_a_time(store, error);
  if (!result)
    result = make_markers(store, error);
  if (!result)
    result = mdb_acquire(store, true, &connection, error);
  if (result)
    return result;
  aon_transaction *t = &store->transaction;
  *t = (aon_transaction){.store = store, .connection = connection, .branch = *branch, .marker = marker, .open = true};
  store->transactions++;
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
  mdb_store *store = state;
  if (!transaction || !transaction->open)
    return;
  mdb_enter(store);
  abandon(store);
}

static aon_result may_end(mdb_store *store, aon_transaction *transaction, aon_error *error) {
  mdb_enter(store);
  if (!transaction->open || transaction->failed)
    return aon_fail(error, AON_USAGE, "transaction_failed", "A transaction of %s that has failed can only be rolled back.", store->name);
  aon_mongodb_deadline(transaction->connection, store->deadline_ms);
  return AON_OK;
}

/* MongoDB has no constraints that wait for the end. */
static aon_result flush(void *state, aon_transaction *transaction, aon_error *error) { return may_end(state, transaction, error); }

static aon_result state_named(const mdb_store *store, const aon_branch *branch, const char *name, aon_branch_state *ret_state,
                              aon_error *error) {
  if (!strcmp(name, "commit"))
    *ret_state = AON_BRANCH_COMMITTED;
  else if (!strcmp(name, "undone"))
    *ret_state = AON_BRANCH_UNDONE;
  else if (!strcmp(name, "abort"))
    *ret_state = AON_BRANCH_ABORTED;
  else
    return aon_fail(error, AON_CORRUPT, "bad_marker",
                    "The marker of bulk operation %s in %s is none that we wrote. Look at the collection " MDB_MARKERS ".", branch->bulk_id,
                    store->name);
  return AON_OK;
}

/* Why was the transaction gone when it was to be committed? Somebody ended it to write another marker, or it was too old: the
 * failure that was told stays, also where the marker can't be read. */
static aon_result gone(mdb_store *store, const aon_branch *branch, aon_marker marker, aon_error *error) {
  char key[KEY_BYTES], state[16] = "";
  bson_t command = BSON_INITIALIZER, filter = BSON_INITIALIZER, reply;
  bson_iter_t found;
  aon_error unread = AON_ERROR_INIT;
  key_of(branch, key);
  BSON_APPEND_UTF8(&filter, "_id", key);
  append_find(&command, MDB_MARKERS, &filter);
  aon_result result = mdb_command(store, NULL, &command, AON_MONGODB_READ, "looking for a marker", &reply, NULL, &unread);
  if (!result && mdb_find(&reply, "cursor.firstBatch.0.state", &found) && BSON_ITER_HOLDS_UTF8(&found))
    snprintf(state, sizeof state, "%s", bson_iter_utf8(&found, NULL));
  bson_destroy(&reply);
  bson_destroy(&filter);
  bson_destroy(&command);
  return *state && strcmp(state, "commit") ? fenced(store, branch, marker, error) : AON_TRANSIENT;
}

static aon_result commit(void *state, aon_transaction *transaction, aon_error *error) {
  mdb_store *store = state;
  aon_error failure = AON_ERROR_INIT;
  aon_result result = may_end(store, transaction, error);
  if (result) {
    if (transaction->open)
      abandon(store);
    return result;
  }
  char bulk_id[40];
  aon_branch branch = transaction->branch;
  aon_marker marker = transaction->marker;
  snprintf(bulk_id, sizeof bulk_id, "%s", transaction->bulk_id);
  branch.bulk_id = bulk_id;
  result = aon_mongodb_commit(transaction->connection, &failure);
  bool missing = result && result != AON_UNKNOWN && aon_mongodb_code(transaction->connection) == AON_MONGODB_NO_SUCH_TRANSACTION;
  ended(store);
  if (missing)
    result = gone(store, &branch, marker, &failure);
  if (result && error)
    *error = failure;
  return result;
}

/* ---- resolving ---- */

/* In a transaction, so that one that is in the way shows at once. *ret_code: the server's own number. */
static aon_result write_abort_marker(mdb_store *store, const aon_branch *branch, aon_branch_state *ret_state, int *ret_code,
                                     aon_error *error) {
  char key[KEY_BYTES];
  key_of(branch, key);
  bson_t reply,
      *command = BCON_NEW("findAndModify", BCON_UTF8(MDB_MARKERS), "query", "{", "_id", BCON_UTF8(key), "}", "update", "{", "$setOnInsert",
                          "{", "bulk", BCON_UTF8(branch->bulk_id), "attempt", BCON_INT64(branch->attempt), "batch",
                          BCON_INT64(branch->batch), "state", BCON_UTF8("abort"), "}", "$inc", "{", "asked", BCON_INT64(1), "}", "$max",
                          "{", "at", BCON_DATE_TIME(aon_now_ms(store->env)), "}", "}", "upsert", BCON_BOOL(true), "new", BCON_BOOL(true));
  aon_mongodb *connection;
  const bson_t *lsid;
  *ret_code = 0;
  aon_result result = mdb_acquire(store, true, &connection, error);
  if (result) {
    bson_destroy(command);
    return result;
  }
  result = aon_mongodb_begin(connection, &lsid, error);
  if (!result) {
    bson_iter_t found;
    result = aon_mongodb_run(connection, NULL, command, AON_MONGODB_INSIDE, "writing a marker", &reply, error);
    bool told = !result && mdb_find(&reply, "value.state", &found) && BSON_ITER_HOLDS_UTF8(&found);
    if (!result)
      result = state_named(store, branch, told ? bson_iter_utf8(&found, NULL) : "", ret_state, error);
    bson_destroy(&reply);
    *ret_code = aon_mongodb_code(connection);
    if (result) {
      aon_mongodb_abort(connection);
    } else {
      result = aon_mongodb_commit(connection, error);
      *ret_code = aon_mongodb_code(connection);
    }
  }
  mdb_release(store, connection);
  bson_destroy(command);
  if (result == AON_UNKNOWN) /* asking again does no harm */
    result = aon_fail(error, AON_TRANSIENT, "unavailable", "%s did not answer while writing a marker. Try again.", store->name);
  return result;
}

static aon_result resolve(void *state, const aon_branch *branch, aon_branch_state *ret_state, aon_error *error) {
  mdb_store *store = state;
  aon_branch_state found = AON_BRANCH_OPEN;
  int code;
  mdb_enter(store);
  aon_result result = one_at_a_time(store, error);
  if (!result)
    result = make_markers(store, error);
  if (result)
    return result;
  aon_error failure = AON_ERROR_INIT;
  result = write_abort_marker(store, branch, &found, &code, &failure);
  if (result &&
      code == AON_MONGODB_WRITE_CONFLICT) { /* a transaction of a dead or frozen worker: it is ended, then there is nothing in the way */
    bson_t lsid = BSON_INITIALIZER;
    result = noted_session(store, branch, &lsid, &failure);
    if (!result) {
      end_session(store, &lsid);
      failure = (aon_error)AON_ERROR_INIT;
      found = AON_BRANCH_OPEN;
      result = write_abort_marker(store, branch, &found, &code, &failure);
    }
    bson_destroy(&lsid);
    if (result && code == AON_MONGODB_WRITE_CONFLICT) {
      found = AON_BRANCH_OPEN;
      result = AON_OK;
    }
  }
  if (result && error)
    *error = failure;
  if (!result)
    *ret_state = found;
  return result;
}

static aon_result forget(void *state, int64_t before_ms, aon_error *error) {
  mdb_store *store = state;
  int64_t youngest = aon_now_ms(store->env) - MARKER_DAYS_MS;
  mdb_enter(store);
  aon_result result = one_at_a_time(store, error);
  if (result || !store->facts.transactions)
    return result;
  bson_t reply,
      *command = BCON_NEW("delete", BCON_UTF8(MDB_MARKERS), "deletes", "[", "{", "q", "{", "at", "{", "$lt",
                          BCON_DATE_TIME(before_ms < youngest ? before_ms : youngest), "}", "}", "limit", BCON_INT32(0), "}", "]");
  result = mdb_command(store, NULL, command, AON_MONGODB_READ, "forgetting old markers", &reply, NULL, error);
  bson_destroy(&reply);
  bson_destroy(command);
  return result;
}

const aon_store_adapter aon_mongodb_adapter = {
    .kind = "mongodb",
    .interface_version = AON_STORE_INTERFACE,
    .open = open_store,
    .close = close_store,
    .describe = mdb_describe,
    .normalise = mdb_normalise,
    .read = mdb_read,
    .scan = mdb_scan,
    .begin = begin,
    .apply = mdb_apply,
    .flush = flush,
    .commit = commit,
    .abort = abort_transaction,
    .resolve = resolve,
    .forget = forget,
    .examine = mdb_examine,
    .cancel = cancel,
    .pool = pool_counts,
    .look_up = mdb_look_up,
};
