/* Open stores: the one door through which every call to an adapter passes.
 *
 * Invariant: each call but cancel is announced to the environment as a step "store.NAME.CALL" before the adapter hears of
 * it, so that a crash or a stop can be placed before every one of them. */
#include "aon/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum call {
  CALL_OPEN,
  CALL_DESCRIBE,
  CALL_NORMALISE,
  CALL_READ,
  CALL_SCAN,
  CALL_BEGIN,
  CALL_APPLY,
  CALL_FLUSH,
  CALL_PREPARE,
  CALL_COMMIT,
  CALL_ABORT,
  CALL_COMMIT_PREPARED,
  CALL_ABORT_PREPARED,
  CALL_RESOLVE,
  CALL_FORGET,
  CALL_EXAMINE,
  CALL_LOOK_UP,
  CALL_COUNT
} call;

static const char *const call_names[CALL_COUNT] = {[CALL_OPEN] = "open",
                                                   [CALL_DESCRIBE] = "describe",
                                                   [CALL_NORMALISE] = "normalise",
                                                   [CALL_READ] = "read",
                                                   [CALL_SCAN] = "scan",
                                                   [CALL_BEGIN] = "begin",
                                                   [CALL_APPLY] = "apply",
                                                   [CALL_FLUSH] = "flush",
                                                   [CALL_PREPARE] = "prepare",
                                                   [CALL_COMMIT] = "commit",
                                                   [CALL_ABORT] = "abort",
                                                   [CALL_COMMIT_PREPARED] = "commit_prepared",
                                                   [CALL_ABORT_PREPARED] = "abort_prepared",
                                                   [CALL_RESOLVE] = "resolve",
                                                   [CALL_FORGET] = "forget",
                                                   [CALL_EXAMINE] = "examine",
                                                   [CALL_LOOK_UP] = "look_up"};

#define STEP_BYTES 96

struct aon_store {
  aon_env *env;
  const aon_store_adapter *adapter;
  void *state;
  aon_store_config config; /* name and location are our own copies */
  aon_store_caps caps;
  char steps[CALL_COUNT][STEP_BYTES]; /* written once, so that a step costs no formatting */
};

static void announce(aon_store *store, call what) { aon_step(store->env, store->steps[what]); }

static const aon_store_adapter *const registry[] = {&aon_sqlite_adapter, &aon_postgresql_adapter, &aon_mongodb_adapter,
                                                    &aon_rtdb_adapter,   &aon_firestore_adapter,  &aon_auth_adapter};

const char *aon_store_key_problem(const aon_store_key *key) {
  size_t count = 0;
  for (const char *const *at = key->properties; at && *at; at++, count++) {
    if (count == AON_STORE_KEY_PARTS)
      return "a key has at most 8 properties";
    if (!**at || **at == '$' || strchr(*at, '.'))
      return "the name of a property of a key can't be empty, hold a dot or begin with a dollar";
    if (!strcmp(*at, "_id"))
      return "“_id” can't be part of a key; documents without a key are found by it";
    for (const char *const *other = key->properties; other < at; other++)
      if (!strcmp(*other, *at))
        return "a property stands twice in it";
  }
  return count ? NULL : "it must name at least one property";
}

const aon_store_adapter *aon_store_adapter_find(const char *scheme) {
  if (!strcmp(scheme, "postgres")) /* libpq takes both */
    scheme = "postgresql";
  if (!strcmp(scheme, "mongodb+srv")) /* its location begins with "+srv" */
    scheme = "mongodb";
  for (size_t i = 0; i < sizeof registry / sizeof *registry; i++)
    if (!strcmp(registry[i]->kind, scheme))
      return registry[i];
  return NULL;
}

static aon_result fitting(const aon_store_adapter *adapter, const aon_store_config *config, aon_error *error) {
  if (adapter->interface_version != AON_STORE_INTERFACE)
    return aon_fail(error, AON_USAGE, "interface_version",
                    "The store adapter “%s” speaks interface %u, this program speaks %u. Build them from one version.", adapter->kind,
                    (unsigned)adapter->interface_version, (unsigned)AON_STORE_INTERFACE);
  if (!config->name || !config->name[0])
    return aon_fail(error, AON_USAGE, "bad_name", "A store without a name can't be opened.");
  return AON_OK;
}

static aon_result measured(const aon_store *store, aon_error *error) {
  const aon_store_caps *caps = &store->caps;
  if (caps->store_class < AON_CLASS_PREPARED || caps->store_class > AON_CLASS_PLAIN || !caps->batch_operations || !caps->batch_bytes)
    return aon_fail(error, AON_USAGE, "bad_adapter", "The store adapter “%s” does not say what %s can do.", store->adapter->kind,
                    store->config.name);
  return AON_OK;
}

aon_result aon_store_open(aon_env *env, const aon_store_adapter *adapter, const aon_store_config *config, aon_store **ret_store,
                          aon_error *error) {
  aon_result result = fitting(adapter, config, error);
  if (result)
    return result;
  aon_store *store = calloc(1, sizeof *store);
  if (!store)
    return aon_fail_memory(error);
  store->env = env;
  store->adapter = adapter;
  store->config = *config;
  store->config.name = strdup(config->name);
  store->config.location = strdup(config->location ? config->location : "");
  if (!store->config.name || !store->config.location)
    result = aon_fail_memory(error);
  if (!result) {
    for (int i = 0; i < CALL_COUNT; i++)
      snprintf(store->steps[i], STEP_BYTES, "store.%.64s.%s", store->config.name, call_names[i]);
    announce(store, CALL_OPEN);
    result = adapter->open(env, &store->config, &store->state, &store->caps, error);
    if (result)
      store->state = NULL;
  }
  if (!result)
    result = measured(store, error);
  if (result) {
    aon_store_close(store);
    return result;
  }
  *ret_store = store;
  return AON_OK;
}

void aon_store_close(aon_store *store) {
  if (!store)
    return;
  if (store->state)
    store->adapter->close(store->state);
  free((char *)store->config.name);
  free((char *)store->config.location);
  free(store);
}

const aon_store_caps *aon_store_capabilities(const aon_store *store) { return &store->caps; }
const aon_store_config *aon_store_configuration(const aon_store *store) { return &store->config; }

static aon_result lacks(const aon_store *store, const char *what, aon_error *error) {
  return aon_fail(error, AON_USAGE, "not_supported", "The store %s (%s, class %d) can't %s.", store->config.name, store->adapter->kind,
                  (int)store->caps.store_class, what);
}

aon_result aon_store_describe(aon_store *store, const aon_collection *collection, const aon_shape **ret_shape, aon_error *error) {
  announce(store, CALL_DESCRIBE);
  return store->adapter->describe(store->state, collection, ret_shape, error);
}

aon_result aon_store_normalise(aon_store *store, const aon_collection *collection, aon_text id, const bson_t *document,
                               struct aon_arena *arena, aon_image *ret_image, aon_error *error) {
  announce(store, CALL_NORMALISE);
  return store->adapter->normalise(store->state, collection, id, document, arena, ret_image, error);
}

aon_result aon_store_read(aon_store *store, const aon_collection *collection, const aon_text *ids, size_t count, struct aon_arena *arena,
                          aon_image *images, aon_error *error) {
  if (count > AON_STORE_READ_LIMIT)
    return aon_fail(error, AON_USAGE, "too_many", "More than %u documents were asked for at once.", AON_STORE_READ_LIMIT);
  announce(store, CALL_READ);
  return store->adapter->read(store->state, collection, ids, count, arena, images, error);
}

aon_result aon_store_scan(aon_store *store, const aon_collection *collection, const aon_match *matches, size_t count,
                          const char *const *properties, aon_scan_each each, void *context, aon_error *error) {
  announce(store, CALL_SCAN);
  return store->adapter->scan(store->state, collection, matches, count, properties, each, context, error);
}

aon_result aon_store_begin(aon_store *store, const aon_branch *branch, aon_marker marker, aon_transaction **ret_transaction,
                           aon_error *error) {
  if (store->caps.store_class > AON_CLASS_BATCH || !store->adapter->begin)
    return lacks(store, "open a transaction", error);
  announce(store, CALL_BEGIN);
  return store->adapter->begin(store->state, branch, marker, ret_transaction, error);
}

aon_result aon_store_apply(aon_store *store, aon_transaction *transaction, const aon_write *writes, size_t count, aon_write_state *states,
                           size_t *ret_failed, aon_error *error) {
  announce(store, CALL_APPLY);
  return store->adapter->apply(store->state, transaction, writes, count, states, ret_failed, error);
}

aon_result aon_store_flush(aon_store *store, aon_transaction *transaction, aon_error *error) {
  announce(store, CALL_FLUSH);
  return store->adapter->flush(store->state, transaction, error);
}

aon_result aon_store_prepare(aon_store *store, aon_transaction *transaction, aon_error *error) {
  if (store->caps.store_class != AON_CLASS_PREPARED || !store->adapter->prepare)
    return lacks(store, "prepare a transaction", error);
  announce(store, CALL_PREPARE);
  return store->adapter->prepare(store->state, transaction, error);
}

aon_result aon_store_commit(aon_store *store, aon_transaction *transaction, aon_error *error) {
  announce(store, CALL_COMMIT);
  return store->adapter->commit(store->state, transaction, error);
}

void aon_store_abort(aon_store *store, aon_transaction *transaction) {
  announce(store, CALL_ABORT);
  store->adapter->abort(store->state, transaction);
}

aon_result aon_store_commit_prepared(aon_store *store, const aon_branch *branch, aon_error *error) {
  if (store->caps.store_class != AON_CLASS_PREPARED || !store->adapter->commit_prepared)
    return lacks(store, "commit a prepared transaction", error);
  announce(store, CALL_COMMIT_PREPARED);
  return store->adapter->commit_prepared(store->state, branch, error);
}

aon_result aon_store_abort_prepared(aon_store *store, const aon_branch *branch, aon_error *error) {
  if (store->caps.store_class != AON_CLASS_PREPARED || !store->adapter->abort_prepared)
    return lacks(store, "roll back a prepared transaction", error);
  announce(store, CALL_ABORT_PREPARED);
  return store->adapter->abort_prepared(store->state, branch, error);
}

aon_result aon_store_resolve(aon_store *store, const aon_branch *branch, aon_branch_state *ret_state, aon_error *error) {
  if (store->caps.store_class > AON_CLASS_BATCH || !store->adapter->resolve)
    return lacks(store, "keep markers", error);
  announce(store, CALL_RESOLVE);
  return store->adapter->resolve(store->state, branch, ret_state, error);
}

aon_result aon_store_forget(aon_store *store, int64_t before_ms, aon_error *error) {
  announce(store, CALL_FORGET);
  return store->adapter->forget(store->state, before_ms, error);
}

aon_result aon_store_examine(aon_store *store, struct aon_buffer *report, bool *ret_healthy, aon_error *error) {
  announce(store, CALL_EXAMINE);
  return store->adapter->examine(store->state, report, ret_healthy, error);
}

aon_result aon_store_look_up(aon_store *store, const aon_collection *collection, const aon_match *match, aon_index *ret_index,
                             aon_error *error) {
  *ret_index = (aon_index){.state = AON_INDEX_NO_NEED, .documents = -1};
  if (!store->adapter->look_up)
    return AON_OK;
  announce(store, CALL_LOOK_UP);
  return store->adapter->look_up(store->state, collection, match, ret_index, error);
}

void aon_store_cancel(aon_store *store) { store->adapter->cancel(store->state); }

bool aon_pool_status(const aon_store *store, aon_pool_counts *ret_counts) {
  if (!store->adapter->pool)
    return false;
  *ret_counts = store->adapter->pool(store->state);
  return ret_counts->max > 0; /* 0: a decorator around a store without one */
}
