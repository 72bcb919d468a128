/* What aon doctor tells of a MongoDB store.
 *
 * Invariant: changes nothing. */
#include <stdlib.h>
#include <string.h>

#include "store/mongodb_internal.h"

#define CLOCK_TOLERANCE_MS 2000

static aon_result tell_means(const mdb_store *store, aon_buffer *report, aon_error *error) {
  const mdb_facts *facts = &store->facts;
  aon_result result;
  if (facts->transactions)
    result = aon_buffer_format(report, error,
                               "MongoDB %s, replica set %s, one transaction with a marker (class 2), at most %lld s long; MongoDB can't "
                               "prepare transactions, so it is no class 1\n",
                               facts->version, *facts->set_name ? facts->set_name : "behind mongos", (long long)(facts->life_ms / 1000));
  else
    result = aon_buffer_format(report, error, "%s %s, conditional writes, each seen at once (class 4): %s\n",
                               facts->ferretdb ? "FerretDB as MongoDB" : "MongoDB", facts->version, facts->why);
  if (!result && !facts->transactions)
    result = aon_buffer_text(report,
                             facts->compares_whole
                                 ? "conditions: the whole document\n"
                                 : "conditions: property by property; what somebody adds in the instant before a write is not noticed\n",
                             error);
  return result;
}

static aon_result tell_server(mdb_store *store, aon_mongodb *connection, aon_buffer *report, bool *healthy, aon_error *error) {
  bson_t hello = BSON_INITIALIZER, reply;
  bson_iter_t at;
  BSON_APPEND_INT32(&hello, "hello", 1);
  aon_result result = aon_mongodb_run(connection, "admin", &hello, AON_MONGODB_READ, "examining it", &reply, error);
  int64_t here = aon_now_ms(store->env);
  int64_t there =
      !result && bson_iter_init_find(&at, &reply, "localTime") && BSON_ITER_HOLDS_DATE_TIME(&at) ? bson_iter_date_time(&at) : here;
  bool writable = !result && bson_iter_init_find(&at, &reply, "isWritablePrimary") && bson_iter_as_bool(&at);
  bool clock = llabs(here - there) < CLOCK_TOLERANCE_MS;
  if (!result)
    result = aon_buffer_format(report, error, "clock: %lld ms %s ours%s\n", llabs(here - there), there > here ? "before" : "behind",
                               clock ? "" : ", which is MUCH; set one of them right");
  if (!result && !writable)
    result = aon_buffer_text(report, "writable: NO, it is no primary; name all members and replicaSet= in the URL\n", error);
  if (!result && *store->facts.set_name && aon_mongodb_direct(connection))
    result = aon_buffer_format(report, error, "one member is named only: with replicaSet=%s in the URL another primary would be found\n",
                               store->facts.set_name);
  *healthy = clock && writable;
  bson_destroy(&reply);
  bson_destroy(&hello);
  return result;
}

static bool allows(const bson_iter_t *privileges, const char *database, const char *action) {
  bson_iter_t each, at, found;
  if (!bson_iter_recurse(privileges, &each))
    return false;
  while (bson_iter_next(&each)) {
    const char *on = NULL, *collection = "";
    bool anywhere = false, does = false;
    if (bson_iter_recurse(&each, &at) && bson_iter_find_descendant(&at, "resource.db", &found) && BSON_ITER_HOLDS_UTF8(&found))
      on = bson_iter_utf8(&found, NULL);
    if (bson_iter_recurse(&each, &at) && bson_iter_find_descendant(&at, "resource.collection", &found) && BSON_ITER_HOLDS_UTF8(&found))
      collection = bson_iter_utf8(&found, NULL);
    if (bson_iter_recurse(&each, &at) && bson_iter_find_descendant(&at, "resource.anyResource", &found))
      anywhere = bson_iter_as_bool(&found);
    if (bson_iter_recurse(&each, &at) && bson_iter_find(&at, "actions") && bson_iter_recurse(&at, &found))
      while (bson_iter_next(&found))
        does = does || (BSON_ITER_HOLDS_UTF8(&found) && !strcmp(bson_iter_utf8(&found, NULL), action));
    if (does && (anywhere || (on && !*collection && (!*on || !strcmp(on, database)))))
      return true;
  }
  return false;
}

/* Some servers name roles and no privileges. */
static bool has_writing_role(const bson_t *reply) {
  static const char *const roles[] = {"readWrite", "readWriteAnyDatabase", "dbOwner", "root", "__system"};
  bson_iter_t list, each, role;
  if (!mdb_find(reply, "authInfo.authenticatedUserRoles", &list) || !bson_iter_recurse(&list, &each))
    return false;
  while (bson_iter_next(&each))
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
      if (bson_iter_recurse(&each, &role) && bson_iter_find(&role, "role") && BSON_ITER_HOLDS_UTF8(&role) &&
          !strcmp(bson_iter_utf8(&role, NULL), roles[i]))
        return true;
  return false;
}

/* Rights on single collections are not looked at: they may suffice, so their want is told, and not called a fault. */
static aon_result tell_rights(mdb_store *store, aon_mongodb *connection, aon_buffer *report, bool *healthy, aon_error *error) {
  static const char *const needed[] = {"find", "insert", "update", "remove", "createCollection", "listCollections"};
  bson_t command = BSON_INITIALIZER, reply;
  bson_iter_t found, name;
  BSON_APPEND_INT32(&command, "connectionStatus", 1);
  BSON_APPEND_BOOL(&command, "showPrivileges", true);
  aon_result result = aon_mongodb_run(connection, "admin", &command, AON_MONGODB_READ, "examining it", &reply, error);
  const char *user = NULL;
  if (!result && mdb_find(&reply, "authInfo.authenticatedUsers.0.user", &name) && BSON_ITER_HOLDS_UTF8(&name))
    user = bson_iter_utf8(&name, NULL);
  if (!result)
    result = aon_buffer_format(report, error, "user %s, database %s, %s\n", user ? user : "none (no authentication)",
                               aon_mongodb_database(connection), aon_mongodb_encrypted(connection) ? "TLS" : "no TLS");
  bool told = !result && user && !has_writing_role(&reply) && mdb_find(&reply, "authInfo.authenticatedUserPrivileges", &found);
  for (size_t i = 0; told && !result && i < sizeof needed / sizeof *needed; i++)
    if (!allows(&found, aon_mongodb_database(connection), needed[i])) {
      *healthy = *healthy && i > 3;
      result = aon_buffer_format(report, error, "this user may not %s in the whole database: grant readWrite on %s\n", needed[i],
                                 aon_mongodb_database(connection));
    }
  (void)store;
  bson_destroy(&reply);
  bson_destroy(&command);
  return result;
}

static aon_result tell_markers(mdb_store *store, aon_mongodb *connection, aon_buffer *report, aon_error *error) {
  bson_iter_t at;
  if (!store->facts.transactions)
    return AON_OK;
  bson_t reply, *command = BCON_NEW("count", BCON_UTF8(MDB_MARKERS), "query", "{", "state", "{", "$ne", BCON_UTF8("session"), "}", "}");
  aon_result result = aon_mongodb_run(connection, NULL, command, AON_MONGODB_READ, "counting markers", &reply, error);
  if (!result)
    result = aon_buffer_format(report, error, "markers of bulk operations: %lld\n",
                               (long long)(bson_iter_init_find(&at, &reply, "n") ? bson_iter_as_int64(&at) : 0));
  bson_destroy(&reply);
  bson_destroy(command);
  return result;
}

/* Without such an index a document of the same key that somebody makes beside us is met by the next read only, as ambiguous. */
static aon_result tell_keys(mdb_store *store, aon_buffer *report, bool *healthy, aon_error *error) {
  aon_result result = AON_OK;
  for (const aon_store_key *at = store->keys; !result && at && at->collection; at++) {
    char shown[MDB_KEY_SHOWN], made[MDB_KEY_SHOWN];
    mdb_key key = mdb_key_of(store, &(aon_collection){.name = at->collection});
    bool unique, there;
    result = mdb_key_unique(store, at->collection, key, &unique, &there, error);
    if (result || unique || !there)
      continue;
    *healthy = false;
    result =
        aon_buffer_format(report, error,
                          "collection %.100s: no unique index keeps two documents from having one key (%s), and a look-up by it may go "
                          "through all documents. Make one: db.%.100s.createIndex({%s}, {unique: true})\n",
                          at->collection, mdb_key_shown(key, "", shown), at->collection, mdb_key_shown(key, ": 1", made));
  }
  return result;
}

aon_result mdb_examine(void *state, aon_buffer *report, bool *ret_healthy, aon_error *error) {
  mdb_store *store = state;
  aon_mongodb *connection;
  bool healthy = true;
  aon_error failure = AON_ERROR_INIT;
  mdb_enter(store);
  aon_result result = mdb_acquire(store, true, &connection, &failure);
  if (!result) {
    result = tell_means(store, report, &failure);
    if (!result)
      result = tell_server(store, connection, report, &healthy, &failure);
    if (!result)
      result = tell_rights(store, connection, report, &healthy, &failure);
    if (!result)
      result = tell_markers(store, connection, report, &failure);
    if (!result)
      result = tell_keys(store, report, &healthy, &failure);
    mdb_release(store, connection);
  }
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
