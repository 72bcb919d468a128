/* The memory store. What its classes mean and its invariant stand in memory.h.
 *
 * A document is a cell of one hash table; a deleted one stays as an empty cell, so cells never move or die before the database.
 * A transaction of class 1 or 2 owns the cells that it has written and keeps their new value in them. */
#include "store/memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "model/document.h"
#include "store/match.h"

#define BUCKETS_FIRST 64u
#define MARKER_DAYS_MS ((int64_t)30 * 24 * 3600 * 1000)
#define STAMP "_bulkOperationId"

typedef struct value { /* NULL bytes: absent */
  uint8_t *bytes;
  uint32_t length;
} value;

typedef struct cell {
  struct cell *next;
  uint64_t hash, version;
  value now, pending;
  struct aon_transaction *owner; /* class 1 and 2: whose row lock */
  struct cell *next_owned;
  size_t collection_length, id_length;
  char key[]; /* collection, NUL, id */
} cell;

typedef enum marker_state { MARKER_NONE, MARKER_COMMITTED, MARKER_ABORTED, MARKER_TAKEN_BACK } marker_state;

typedef struct marker {
  struct marker *next;
  char bulk_id[40];
  uint32_t attempt, batch;
  marker_state state, pending;
  struct aon_transaction *owner;
  int64_t at_ms;
} marker;

typedef struct request { /* one write, gathered or under way */
  struct request *next;
  cell *target;
  value expected, wanted;
  uint8_t token[8];
  bool has_token;
  int64_t operation;
} request;

typedef struct memory_store memory_store;

struct aon_transaction {
  struct aon_transaction *next; /* of all that the database knows */
  memory_store *handle;         /* NULL: prepared, or its commit is under way */
  char bulk_id[40];
  uint32_t attempt, batch;
  aon_marker marker;
  bool failed, prepared;
  int64_t began_ms;
  cell *owned;
  request *first, **last; /* class 3 */
  size_t operations, bytes;
};

typedef enum errand_kind { ERRAND_WRITE, ERRAND_COMMIT, ERRAND_PREPARE, ERRAND_COMMIT_PREPARED, ERRAND_ABORT_PREPARED } errand_kind;

typedef struct errand { /* a request under way */
  struct errand *next;
  errand_kind kind;
  aon_transaction *transaction;
  request *write;
  char bulk_id[40];
  uint32_t attempt, batch;
} errand;

struct aon_memory_database {
  pthread_mutex_t mutex;
  aon_memory_config config;
  char identity[256];
  cell **buckets;
  size_t bucket_count, cell_count;
  uint64_t version;
  marker *markers;
  aon_transaction *transactions;
  errand *errands;
  aon_memory_trouble trouble;
  uint64_t trouble_in, trouble_times;
  int64_t now_ms; /* of the last call of any handle, for delivered requests */
  void (*between)(void *context);
  void *between_context;
};

struct memory_store {
  aon_env *env;
  aon_memory_database *database;
  char name[64];
  aon_transaction *transaction;
  atomic_int cancelled;
};

typedef aon_memory_database database;

static void unlock(database **db) { pthread_mutex_unlock(&(*db)->mutex); }

#define LOCKED(db)                                                                                                                         \
  __attribute__((cleanup(unlock))) database *held = (db);                                                                                  \
  pthread_mutex_lock(&held->mutex)

/* ---- values and cells ---- */

static uint64_t hash_bytes(const void *bytes, size_t length) { /* FNV-1a */
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < length; i++)
    hash = (hash ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
  return hash;
}

static aon_result value_copy(const uint8_t *bytes, uint32_t length, value *ret_value, aon_error *error) {
  *ret_value = (value){0};
  if (!bytes)
    return AON_OK;
  uint8_t *copy = malloc(length);
  if (!copy)
    return aon_fail_memory(error);
  memcpy(copy, bytes, length);
  *ret_value = (value){copy, length};
  return AON_OK;
}

static void value_drop(value *v) {
  free(v->bytes);
  *v = (value){0};
}

static bool value_view(const value *v, bson_t *ret_view) { return v->bytes && bson_init_static(ret_view, v->bytes, v->length); }

static bool values_equal(const value *a, const value *b) {
  bson_t one, other;
  if (!a->bytes || !b->bytes)
    return a->bytes == b->bytes;
  return value_view(a, &one) && value_view(b, &other) && aon_document_equal(&one, &other, NULL);
}

static aon_result grow(database *db, aon_error *error) {
  size_t count = db->bucket_count ? db->bucket_count * 2 : BUCKETS_FIRST;
  cell **buckets = calloc(count, sizeof *buckets);
  if (!buckets)
    return aon_fail_memory(error);
  for (size_t i = 0; i < db->bucket_count; i++)
    for (cell *at = db->buckets[i], *next; at; at = next) {
      next = at->next;
      at->next = buckets[at->hash % count];
      buckets[at->hash % count] = at;
    }
  free(db->buckets);
  db->buckets = buckets;
  db->bucket_count = count;
  return AON_OK;
}

static const char *id_of(const cell *c) { return c->key + c->collection_length + 1; }

static uint64_t cell_hash(const char *collection, aon_text id) {
  return hash_bytes(collection, strlen(collection)) * 31 + hash_bytes(id.data, id.length);
}

static cell *cell_find(const database *db, const char *collection, aon_text id) {
  uint64_t hash = cell_hash(collection, id);
  for (cell *at = db->bucket_count ? db->buckets[hash % db->bucket_count] : NULL; at; at = at->next)
    if (at->hash == hash && !strcmp(at->key, collection) && at->id_length == id.length && !memcmp(id_of(at), id.data, id.length))
      return at;
  return NULL;
}

static aon_result cell_get(database *db, const char *collection, aon_text id, cell **ret_cell, aon_error *error) {
  cell *found = cell_find(db, collection, id);
  if (found) {
    *ret_cell = found;
    return AON_OK;
  }
  if (db->cell_count >= db->bucket_count) {
    aon_result result = grow(db, error);
    if (result)
      return result;
  }
  size_t length = strlen(collection);
  cell *fresh = calloc(1, sizeof *fresh + length + 1 + id.length + 1);
  if (!fresh)
    return aon_fail_memory(error);
  fresh->hash = cell_hash(collection, id);
  fresh->collection_length = length;
  fresh->id_length = id.length;
  memcpy(fresh->key, collection, length + 1);
  memcpy(fresh->key + length + 1, id.data, id.length);
  fresh->next = db->buckets[fresh->hash % db->bucket_count];
  db->buckets[fresh->hash % db->bucket_count] = fresh;
  db->cell_count++;
  *ret_cell = fresh;
  return AON_OK;
}

static void cell_set(database *db, cell *c, value *taken) {
  free(c->now.bytes);
  c->now = *taken;
  *taken = (value){0};
  c->version = ++db->version;
}

static uint64_t token_of(const database *db, const cell *c) {
  return db->config.store_class == AON_CLASS_BATCH ? c->version : hash_bytes(c->now.bytes, c->now.length);
}

/* What this transaction sees in the cell. */
static const value *seen_by(const aon_transaction *transaction, const cell *c) {
  if (!transaction)
    return &c->now;
  if (c->owner == transaction)
    return &c->pending;
  const value *last = &c->now;
  for (const request *r = transaction->first; r; r = r->next)
    if (r->target == c)
      last = &r->wanted;
  return last;
}

/* ---- requests ---- */

static void request_free(request *r) {
  if (!r)
    return;
  value_drop(&r->expected);
  value_drop(&r->wanted);
  free(r);
}

static aon_result stamped(const aon_write *write, value *ret_value, aon_error *error) {
  bson_t document, copy = BSON_INITIALIZER;
  aon_result result = AON_OK;
  if (aon_image_view(&write->wanted, &document))
    bson_copy_to_excluding_noinit(&document, &copy, STAMP, NULL);
  if (!bson_append_utf8(&copy, STAMP, (int)strlen(STAMP), write->stamp, (int)strlen(write->stamp)))
    result = aon_fail(error, AON_PERMANENT, "too_long", "A document is too large.");
  if (!result)
    result = value_copy(bson_get_data(&copy), copy.len, ret_value, error);
  bson_destroy(&copy);
  return result;
}

static aon_result request_new(database *db, const aon_write *write, request **ret_request, aon_error *error) {
  request *r = calloc(1, sizeof *r);
  if (!r)
    return aon_fail_memory(error);
  r->operation = write->operation;
  aon_result result = cell_get(db, write->collection->name, write->id, &r->target, error);
  if (!result)
    result = value_copy(write->expected.bson, write->expected.bson_length, &r->expected, error);
  if (!result && write->wanted.bson && write->stamp)
    result = stamped(write, &r->wanted, error);
  else if (!result)
    result = value_copy(write->wanted.bson, write->wanted.bson_length, &r->wanted, error);
  if (result) {
    request_free(r);
    return result;
  }
  r->has_token = write->expected.token_length == sizeof r->token;
  if (r->has_token)
    memcpy(r->token, write->expected.token, sizeof r->token);
  *ret_request = r;
  return AON_OK;
}

static aon_result refuse(const request *r, bool duplicate, aon_error *error) {
  aon_result result = duplicate ? aon_fail(error, AON_PERMANENT, "duplicate", "%s/%.*s is there already. Nothing was written.",
                                           r->target->key, (int)r->target->id_length, id_of(r->target))
                                : aon_fail(error, AON_PERMANENT, "changed_meanwhile",
                                           "%s/%.*s was changed by somebody else meanwhile. Nothing was written.", r->target->key,
                                           (int)r->target->id_length, id_of(r->target));
  if (error)
    error->operation = r->operation;
  return result;
}

/* Does the expectation hold against what is seen? A token speaks of what is committed, so it counts only there. */
static aon_result expect(const database *db, const request *r, const value *seen, aon_error *error) {
  if (!r->expected.bytes)
    return seen->bytes ? refuse(r, true, error) : AON_OK;
  bool holds = seen->bytes != NULL;
  if (holds && r->has_token && seen == &r->target->now) {
    uint64_t token = token_of(db, r->target);
    holds = !memcmp(&token, r->token, sizeof token);
  } else if (holds) {
    holds = values_equal(&r->expected, seen);
  }
  return holds ? AON_OK : refuse(r, false, error);
}

static aon_result locked_by_other(const cell *c, aon_error *error) {
  return aon_fail(error, AON_TRANSIENT, "locked", "%s/%.*s is locked by another transaction. Try again later.", c->key, (int)c->id_length,
                  id_of(c));
}

/* ---- markers ---- */

static marker *marker_find(const database *db, const aon_branch *branch) {
  for (marker *m = db->markers; m; m = m->next)
    if (m->attempt == branch->attempt && m->batch == branch->batch && !strcmp(m->bulk_id, branch->bulk_id))
      return m;
  return NULL;
}

static aon_result marker_get(database *db, const aon_branch *branch, marker **ret_marker, aon_error *error) {
  *ret_marker = marker_find(db, branch);
  if (*ret_marker)
    return AON_OK;
  marker *m = calloc(1, sizeof *m);
  if (!m)
    return aon_fail_memory(error);
  snprintf(m->bulk_id, sizeof m->bulk_id, "%s", branch->bulk_id);
  m->attempt = branch->attempt;
  m->batch = branch->batch;
  m->next = db->markers;
  db->markers = m;
  *ret_marker = m;
  return AON_OK;
}

static aon_branch branch_of(const aon_transaction *t) {
  return (aon_branch){.bulk_id = t->bulk_id, .attempt = t->attempt, .batch = t->batch};
}

static aon_result fenced(const aon_branch *branch, aon_error *error) {
  return aon_fail(error, AON_FENCED, "fenced",
                  "The markers of bulk operation %s, attempt %u, say that another worker has taken over. Nothing was written.",
                  branch->bulk_id, (unsigned)branch->attempt);
}

/* May a transaction with this marker go on? */
static bool marker_allows(const marker *m, aon_marker wanted) {
  marker_state state = m ? m->state : MARKER_NONE;
  return wanted == AON_MARKER_COMMIT ? state == MARKER_NONE : state == MARKER_COMMITTED;
}

static marker_state state_after(aon_marker wanted) { return wanted == AON_MARKER_COMMIT ? MARKER_COMMITTED : MARKER_TAKEN_BACK; }

/* ---- transactions ---- */

static bool locking(const database *db) { return db->config.store_class <= AON_CLASS_TRANSACTION; }

static void transaction_free(database *db, aon_transaction *t) {
  aon_transaction **at = &db->transactions;
  while (*at && *at != t)
    at = &(*at)->next;
  if (*at)
    *at = t->next;
  if (t->handle)
    t->handle->transaction = NULL;
  for (request *r = t->first, *next; r; r = next) {
    next = r->next;
    request_free(r);
  }
  free(t);
}

static void release_locks(database *db, aon_transaction *t, bool keep) {
  for (cell *c = t->owned, *next; c; c = next) {
    next = c->next_owned;
    if (keep)
      cell_set(db, c, &c->pending);
    else
      value_drop(&c->pending);
    c->owner = NULL;
    c->next_owned = NULL;
  }
  for (marker *m = db->markers; m; m = m->next)
    if (m->owner == t) {
      m->owner = NULL;
      m->state = keep ? m->pending : m->state;
    }
}

static void roll_back(database *db, aon_transaction *t) {
  release_locks(db, t, false);
  transaction_free(db, t);
}

/* Class 3: the one request that does it all. */
static aon_result batch_arrives(database *db, aon_transaction *t, aon_error *error) {
  aon_branch branch = branch_of(t);
  marker *m;
  if (!marker_allows(marker_find(db, &branch), t->marker))
    return fenced(&branch, error);
  for (request *r = t->first; r; r = r->next) {
    const value *seen = &r->target->now;
    for (const request *earlier = t->first; earlier != r; earlier = earlier->next)
      if (earlier->target == r->target)
        seen = &earlier->wanted;
    aon_result result = expect(db, r, seen, error);
    if (result)
      return result;
  }
  aon_result result = marker_get(db, &branch, &m, error);
  if (result)
    return result;
  m->state = state_after(t->marker);
  m->at_ms = db->now_ms;
  for (request *r = t->first; r; r = r->next)
    cell_set(db, r->target, &r->wanted); /* moves it: nothing can fail half-way */
  return AON_OK;
}

static aon_result commit_arrives(database *db, aon_transaction *t, aon_error *error) {
  aon_result result = AON_OK;
  if (locking(db))
    release_locks(db, t, true);
  else
    result = batch_arrives(db, t, error);
  transaction_free(db, t);
  return result;
}

static size_t prepared_count(const database *db) {
  size_t count = 0;
  for (const aon_transaction *t = db->transactions; t; t = t->next)
    count += t->prepared;
  return count;
}

static aon_result prepare_arrives(database *db, aon_transaction *t, aon_error *error) {
  if (prepared_count(db) >= db->config.prepare_slots) {
    roll_back(db, t);
    return aon_fail(error, AON_TRANSIENT, "no_slot", "All %u slots for prepared transactions are taken. Try again later.",
                    db->config.prepare_slots);
  }
  if (t->handle)
    t->handle->transaction = NULL;
  t->handle = NULL;
  t->prepared = true;
  return AON_OK;
}

static aon_transaction *prepared_find(const database *db, const aon_branch *branch) {
  for (aon_transaction *t = db->transactions; t; t = t->next)
    if (t->prepared && t->attempt == branch->attempt && t->batch == branch->batch && !strcmp(t->bulk_id, branch->bulk_id))
      return t;
  return NULL;
}

static aon_result prepared_ends(database *db, const aon_branch *branch, bool commits, aon_error *error) {
  aon_transaction *t = prepared_find(db, branch);
  if (t && commits)
    return commit_arrives(db, t, error);
  if (t) {
    roll_back(db, t);
    return AON_OK;
  }
  const marker *m = marker_find(db, branch);
  bool committed = m && m->state == MARKER_COMMITTED;
  if (commits == committed)
    return AON_OK;
  return commits ? aon_fail(error, AON_PERMANENT, "prepared_lost",
                            "The prepared transaction of bulk operation %s is gone, and it did not commit.", branch->bulk_id)
                 : aon_fail(error, AON_PERMANENT, "already_committed",
                            "The prepared transaction of bulk operation %s has committed already.", branch->bulk_id);
}

/* ---- troubles ---- */

static aon_memory_trouble trouble_now(database *db) {
  if (!db->trouble_in || --db->trouble_in)
    return AON_MEMORY_NONE;
  if (--db->trouble_times)
    db->trouble_in = 1;
  return db->trouble;
}

static aon_result no_reply(aon_error *error) {
  return aon_fail(error, AON_UNKNOWN, "no_reply", "The memory store did not answer in time.");
}

static aon_result refused_for_now(aon_error *error) {
  return aon_fail(error, AON_TRANSIENT, "unavailable", "The memory store is unavailable. Try again later.");
}

static aon_result send_off(database *db, errand_kind kind, aon_transaction *t, request *write, const aon_branch *branch, aon_error *error) {
  errand *e = calloc(1, sizeof *e);
  if (!e) {
    if (t)
      roll_back(db, t);
    return aon_fail_memory(error);
  }
  e->kind = kind;
  e->transaction = t;
  e->write = write;
  if (branch) {
    snprintf(e->bulk_id, sizeof e->bulk_id, "%s", branch->bulk_id);
    e->attempt = branch->attempt;
    e->batch = branch->batch;
  }
  if (t && t->handle) {
    t->handle->transaction = NULL;
    t->handle = NULL;
  }
  errand **last = &db->errands;
  while (*last)
    last = &(*last)->next;
  *last = e;
  return no_reply(error);
}

static aon_result write_arrives(database *db, request *r, aon_error *error) {
  aon_result result = db->config.store_class == AON_CLASS_PLAIN ? AON_OK : expect(db, r, &r->target->now, error);
  if (!result)
    cell_set(db, r->target, &r->wanted);
  return result;
}

static aon_result errand_arrives(database *db, errand *e, aon_error *error) {
  aon_branch branch = {.bulk_id = e->bulk_id, .attempt = e->attempt, .batch = e->batch};
  aon_result result = AON_OK;
  switch (e->kind) {
  case ERRAND_WRITE:
    result = write_arrives(db, e->write, error);
    break;
  case ERRAND_COMMIT:
    result = commit_arrives(db, e->transaction, error);
    break;
  case ERRAND_PREPARE:
    result = prepare_arrives(db, e->transaction, error);
    break;
  case ERRAND_COMMIT_PREPARED:
    result = prepared_ends(db, &branch, true, error);
    break;
  case ERRAND_ABORT_PREPARED:
    result = prepared_ends(db, &branch, false, error);
    break;
  }
  request_free(e->write);
  return result;
}

/* ---- opening ---- */

aon_result aon_memory_new(const aon_memory_config *config, aon_memory_database **ret_database, aon_error *error) {
  database *db = calloc(1, sizeof *db);
  if (!db)
    return aon_fail_memory(error);
  pthread_mutex_init(&db->mutex, NULL);
  db->config = *config;
  if (!db->config.batch_operations)
    db->config.batch_operations = config->store_class == AON_CLASS_BATCH ? AON_MEMORY_BATCH : UINT32_MAX;
  if (!db->config.batch_bytes)
    db->config.batch_bytes = UINT32_MAX;
  if (!db->config.prepare_slots)
    db->config.prepare_slots = AON_MEMORY_SLOTS;
  if (!db->config.max_exact_integer)
    db->config.max_exact_integer = INT64_MAX;
  if (config->identity)
    snprintf(db->identity, sizeof db->identity, "%s", config->identity);
  else
    snprintf(db->identity, sizeof db->identity, "memory:%p", (void *)db);
  *ret_database = db;
  return AON_OK;
}

static void errands_drop(database *db) {
  for (errand *e = db->errands, *next; e; e = next) {
    next = e->next;
    if (e->transaction)
      roll_back(db, e->transaction);
    request_free(e->write);
    free(e);
  }
  db->errands = NULL;
}

void aon_memory_free(aon_memory_database *db) {
  if (!db)
    return;
  errands_drop(db);
  while (db->transactions)
    roll_back(db, db->transactions);
  for (marker *m = db->markers, *next; m; m = next) {
    next = m->next;
    free(m);
  }
  for (size_t i = 0; i < db->bucket_count; i++)
    for (cell *c = db->buckets[i], *next; c; c = next) {
      next = c->next;
      value_drop(&c->now);
      free(c);
    }
  free(db->buckets);
  pthread_mutex_destroy(&db->mutex);
  free(db);
}

static aon_result open_store(aon_env *env, const aon_store_config *config, void **ret_state, aon_store_caps *ret_caps, aon_error *error) {
  database *db = (database *)config->options; /* shared on purpose: the options of this adapter are the database itself */
  if (!db)
    return aon_fail(error, AON_USAGE, "no_options", "The memory store %s needs a database object.", config->name);
  memory_store *store = calloc(1, sizeof *store);
  if (!store)
    return aon_fail_memory(error);
  store->env = env;
  store->database = db;
  snprintf(store->name, sizeof store->name, "%s", config->name);
  *ret_caps = (aon_store_caps){.store_class = db->config.store_class,
                               .types = db->config.types,
                               .batch_operations = db->config.batch_operations,
                               .batch_bytes = db->config.batch_bytes,
                               .transaction_ms = db->config.transaction_ms,
                               .max_exact_integer = db->config.max_exact_integer,
                               .paths = db->config.paths,
                               .one_writer = db->config.one_writer,
                               .any_thread = true,
                               .can_undo = !db->config.cannot_undo};
  memcpy(ret_caps->database, db->identity, sizeof db->identity);
  *ret_state = store;
  return AON_OK;
}

static void enter(memory_store *store) {
  atomic_store(&store->cancelled, 0);
  store->database->now_ms = aon_now_ms(store->env);
}

static void close_store(void *state) {
  memory_store *store = state;
  {
    LOCKED(store->database);
    if (store->transaction) /* a lost connection aborts; what was prepared stays */
      roll_back(store->database, store->transaction);
  }
  free(store);
}

static void cancel(void *state) {
  memory_store *store = state;
  atomic_store(&store->cancelled, 1);
}

static aon_result stopped(const memory_store *store, aon_error *error) {
  return aon_fail(error, AON_CANCELLED, "cancelled", "The call to %s was cancelled.", store->name);
}

static aon_result describe(void *state, const aon_collection *collection, const aon_shape **ret_shape, aon_error *error) {
  static const aon_shape shape = {.exists = true, .document_table = true};
  (void)state;
  (void)collection;
  (void)error;
  *ret_shape = &shape;
  return AON_OK;
}

/* ---- normalising ---- */

static aon_result unholdable(const char *name, const char *code, const char *why, aon_error *error) {
  return aon_fail(error, AON_REJECTED, code, "The property “%s” %s.", name, why);
}

static uint32_t type_bit(bson_type_t type) {
  switch (type) {
  case BSON_TYPE_DATE_TIME:
    return AON_TYPE_TIMESTAMP;
  case BSON_TYPE_OID:
    return AON_TYPE_OBJECT_ID;
  case BSON_TYPE_BINARY:
    return AON_TYPE_BYTES;
  case BSON_TYPE_DECIMAL128:
    return AON_TYPE_DECIMAL;
  default:
    return 0;
  }
}

static aon_result normalise_members(const database *db, bson_iter_t *at, bool array, bson_t *out, aon_error *error);

static aon_result normalise_nested(const database *db, const bson_iter_t *at, const char *key, bool array, bson_t *out, bool *ret_empty,
                                   aon_error *error) {
  bson_iter_t inner;
  bson_t child = BSON_INITIALIZER;
  aon_result result = AON_OK;
  if (bson_iter_recurse(at, &inner))
    result = normalise_members(db, &inner, array, &child, error);
  *ret_empty = bson_empty(&child);
  if (!result && !(*ret_empty && db->config.drop_empty)) {
    bool done = array ? bson_append_array(out, key, -1, &child) : bson_append_document(out, key, -1, &child);
    if (!done)
      result = unholdable(key, "too_long", "is too large", error);
  }
  bson_destroy(&child);
  return result;
}

static aon_result normalise_value(const database *db, const bson_iter_t *at, const char *key, bson_t *out, bool *ret_dropped,
                                  aon_error *error) {
  bson_type_t type = bson_iter_type(at);
  *ret_dropped = false;
  if (type == BSON_TYPE_DOCUMENT || type == BSON_TYPE_ARRAY) {
    bool empty;
    aon_result result = normalise_nested(db, at, key, type == BSON_TYPE_ARRAY, out, &empty, error);
    *ret_dropped = empty && db->config.drop_empty;
    return result;
  }
  if (type == BSON_TYPE_NULL && db->config.drop_empty) {
    *ret_dropped = true;
    return AON_OK;
  }
  bool plain = type == BSON_TYPE_NULL || type == BSON_TYPE_BOOL || type == BSON_TYPE_INT32 || type == BSON_TYPE_INT64 ||
               type == BSON_TYPE_DOUBLE || type == BSON_TYPE_UTF8;
  if (!plain && !(db->config.types & type_bit(type)))
    return unholdable(key, "bad_type", "has a type that this store does not have", error);
  if ((type == BSON_TYPE_INT32 || type == BSON_TYPE_INT64) &&
      (bson_iter_as_int64(at) > db->config.max_exact_integer ||
       bson_iter_as_int64(at) < -db->config.max_exact_integer - (db->config.max_exact_integer == INT64_MAX)))
    return unholdable(key, "out_of_range", "is an integer that this store would round", error);
  return bson_append_iter(out, key, -1, at) ? AON_OK : unholdable(key, "too_long", "is too large", error);
}

static aon_result normalise_members(const database *db, bson_iter_t *at, bool array, bson_t *out, aon_error *error) {
  uint32_t index = 0;
  char number[16];
  const char *key;
  while (bson_iter_next(at)) {
    bool dropped;
    bson_uint32_to_string(index, &key, number, sizeof number);
    aon_result result = normalise_value(db, at, array ? key : bson_iter_key(at), out, &dropped, error);
    if (result)
      return result;
    index += !dropped;
  }
  return AON_OK;
}

static aon_result normalise(void *state, const aon_collection *collection, aon_text id, const bson_t *document, aon_arena *arena,
                            aon_image *ret_image, aon_error *error) {
  memory_store *store = state;
  bson_iter_t at;
  bson_t out = BSON_INITIALIZER;
  aon_result result = AON_OK;
  if (!id.length)
    result = aon_fail(error, AON_REJECTED, "bad_format", "A document of %s/%s needs an id.", store->name, collection->name);
  else if (!bson_iter_init(&at, document))
    result = aon_fail(error, AON_CORRUPT, "bad_image", "A document can't be read.");
  else
    result = normalise_members(store->database, &at, false, &out, error);
  if (!result && store->database->config.drop_empty && bson_empty(&out))
    result = aon_fail(error, AON_REJECTED, "bad_type", "%s/%s can't hold the empty document %.*s.", store->name, collection->name,
                      (int)id.length, id.data);
  if (!result)
    result = aon_image_from(&out, arena, ret_image, error);
  bson_destroy(&out);
  return result;
}

/* ---- reading ---- */

static aon_result image_of(const database *db, const cell *c, const value *v, aon_arena *arena, aon_image *ret_image, aon_error *error) {
  *ret_image = (aon_image){0};
  if (!v->bytes)
    return AON_OK;
  aon_image image = {.bson_length = v->length};
  image.bson = aon_arena_copy(arena, v->bytes, v->length);
  if (image.bson && db->config.tokens && v == &c->now) {
    uint64_t token = token_of(db, c);
    image.token = aon_arena_copy(arena, &token, sizeof token);
    image.token_length = sizeof token;
  }
  if (!image.bson || (image.token_length && !image.token))
    return aon_fail_memory(error);
  *ret_image = image;
  return AON_OK;
}

static aon_result read_documents(void *state, const aon_collection *collection, const aon_text *ids, size_t count, aon_arena *arena,
                                 aon_image *images, aon_error *error) {
  memory_store *store = state;
  enter(store);
  memset(images, 0, count * sizeof *images);
  LOCKED(store->database);
  for (size_t i = 0; i < count; i++) {
    if (atomic_load(&store->cancelled))
      return stopped(store, error);
    const cell *c = cell_find(held, collection->name, ids[i]);
    aon_result result = c ? image_of(held, c, seen_by(store->transaction, c), arena, &images[i], error) : AON_OK;
    if (result)
      return result;
  }
  return AON_OK;
}

static bool matches_all(const value *v, const aon_match *matches, size_t count) {
  bson_t document;
  return value_view(v, &document) && aon_match_all(&document, matches, count);
}

typedef struct found_list {
  struct found_list *next;
  aon_found found;
} found_list;

static aon_result collect(memory_store *store, const char *collection, const aon_match *matches, size_t count, aon_arena *arena,
                          found_list **ret_list, aon_error *error) {
  LOCKED(store->database);
  for (size_t i = 0; i < held->bucket_count; i++)
    for (const cell *c = held->buckets[i]; c; c = c->next) {
      const value *seen = strcmp(c->key, collection) ? NULL : seen_by(store->transaction, c);
      if (!seen || !seen->bytes || !matches_all(seen, matches, count))
        continue;
      found_list *entry = aon_arena_alloc(arena, sizeof *entry);
      if (!entry)
        return aon_fail_memory(error);
      entry->found.id = (aon_text){id_of(c), c->id_length}; /* cells live as long as the database */
      aon_result result = image_of(held, c, seen, arena, &entry->found.image, error);
      if (result)
        return result;
      entry->next = *ret_list;
      *ret_list = entry;
    }
  return AON_OK;
}

/* All documents are in memory anyway, so what matches is gathered first: the callback may then use the store. */
static aon_result scan(void *state, const aon_collection *collection, const aon_match *matches, size_t count, const char *const *properties,
                       aon_scan_each each, void *context, aon_error *error) {
  memory_store *store = state;
  enter(store);
  (void)properties;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  found_list *list = NULL;
  aon_result result = collect(store, collection->name, matches, count, &arena, &list, error);
  for (; !result && list; list = list->next)
    result = atomic_load(&store->cancelled) ? stopped(store, error) : each(context, &list->found, error);
  return result == AON_END ? AON_OK : result;
}

/* ---- transactions ---- */

static aon_result may_begin(const memory_store *store, const database *db, aon_error *error) {
  if (store->transaction)
    return aon_fail(error, AON_USAGE, "transaction_open", "%s already has a transaction open.", store->name);
  for (const aon_transaction *t = db->transactions; db->config.one_writer && t; t = t->next)
    return aon_fail(error, AON_TRANSIENT, "database_locked", "%s is being written by another transaction. Try again later.", store->name);
  return AON_OK;
}

static aon_result begin(void *state, const aon_branch *branch, aon_marker wanted, aon_transaction **ret_transaction, aon_error *error) {
  memory_store *store = state;
  enter(store);
  LOCKED(store->database);
  aon_result result = may_begin(store, held, error);
  marker *m = marker_find(held, branch);
  if (!result && m && m->owner)
    result =
        aon_fail(error, AON_TRANSIENT, "locked", "A transaction of bulk operation %s is still open in %s.", branch->bulk_id, store->name);
  if (!result && !marker_allows(m, wanted))
    result = fenced(branch, error);
  if (!result && locking(held))
    result = marker_get(held, branch, &m, error);
  aon_transaction *t = result ? NULL : calloc(1, sizeof *t);
  if (result || !t)
    return result ? result : aon_fail_memory(error);
  *t = (aon_transaction){.next = held->transactions,
                         .handle = store,
                         .attempt = branch->attempt,
                         .batch = branch->batch,
                         .marker = wanted,
                         .began_ms = aon_monotonic_ms(store->env)};
  t->last = &t->first;
  snprintf(t->bulk_id, sizeof t->bulk_id, "%s", branch->bulk_id);
  if (locking(held)) {
    m->owner = t;
    m->pending = state_after(wanted);
    m->at_ms = held->now_ms;
  }
  held->transactions = store->transaction = t;
  *ret_transaction = t;
  return AON_OK;
}

static bool expired(const memory_store *store, const aon_transaction *t) {
  int64_t life = store->database->config.transaction_ms;
  return life && aon_monotonic_ms(store->env) - t->began_ms > life;
}

static aon_result write_locked(database *db, aon_transaction *t, request *r, aon_error *error) {
  cell *c = r->target;
  if (c->owner && c->owner != t)
    return locked_by_other(c, error);
  aon_result result = expect(db, r, seen_by(t, c), error);
  if (result)
    return result;
  if (!c->owner) {
    c->owner = t;
    c->next_owned = t->owned;
    t->owned = c;
  }
  value_drop(&c->pending);
  c->pending = r->wanted;
  r->wanted = (value){0};
  return AON_OK;
}

static aon_result write_gathered(database *db, aon_transaction *t, request *r, aon_error *error) {
  aon_result result = expect(db, r, seen_by(t, r->target), error);
  if (result)
    return result;
  *t->last = r;
  t->last = &r->next;
  return AON_OK;
}

static aon_result within_limits(const database *db, const aon_transaction *t, const aon_write *write, aon_error *error) {
  size_t bytes = write->expected.bson_length + (size_t)write->wanted.bson_length;
  if (t->operations + 1 > db->config.batch_operations || t->bytes + bytes > db->config.batch_bytes)
    return aon_fail(error, AON_PERMANENT, "too_many", "A batch takes at most %u operations and %u bytes.", db->config.batch_operations,
                    db->config.batch_bytes);
  return AON_OK;
}

static aon_result apply_in(memory_store *store, database *db, aon_transaction *t, const aon_write *write, aon_error *error) {
  request *r;
  if (atomic_load(&store->cancelled))
    return stopped(store, error);
  if (expired(store, t))
    return aon_fail(error, AON_TRANSIENT, "transaction_expired", "The transaction of %s was open for too long. Begin again.", store->name);
  aon_result result = locking(db) ? AON_OK : within_limits(db, t, write, error);
  if (!result)
    result = request_new(db, write, &r, error);
  if (result)
    return result;
  result = locking(db) ? write_locked(db, t, r, error) : write_gathered(db, t, r, error);
  if (result || locking(db))
    request_free(r);
  t->operations++;
  t->bytes += write->expected.bson_length + (size_t)write->wanted.bson_length;
  return result;
}

static aon_result apply_transaction(memory_store *store, database *db, aon_transaction *t, const aon_write *writes, size_t count,
                                    aon_write_state *states, size_t *ret_failed, aon_error *error) {
  if (!t || t != store->transaction || t->failed)
    return aon_fail(error, AON_USAGE, "transaction_failed", "Writes to %s need an open transaction that has not failed.", store->name);
  for (size_t i = 0; i < count; i++) {
    aon_result result = apply_in(store, db, t, &writes[i], error);
    if (states)
      states[i] = result ? AON_WRITE_REFUSED : AON_WRITE_APPLIED;
    if (result) {
      t->failed = true;
      *ret_failed = i;
      return result;
    }
  }
  return AON_OK;
}

/* ---- classes 4 and 5 ---- */

/* Takes the request over if it stays under way: *r is NULL then. */
static aon_result send_single(database *db, request **r, aon_write_state *state, aon_error *error) {
  aon_memory_trouble trouble = trouble_now(db);
  *state = AON_WRITE_REFUSED;
  if (trouble == AON_MEMORY_REFUSE)
    return refused_for_now(error);
  if (trouble == AON_MEMORY_DELAY) {
    aon_result sent = send_off(db, ERRAND_WRITE, NULL, *r, NULL, error);
    if (sent == AON_UNKNOWN) {
      *state = AON_WRITE_UNKNOWN;
      *r = NULL;
    }
    return sent;
  }
  aon_result result = write_arrives(db, *r, error);
  if (trouble == AON_MEMORY_LOSE_REPLY) {
    *state = AON_WRITE_UNKNOWN;
    return no_reply(error);
  }
  if (!result)
    *state = AON_WRITE_APPLIED;
  return result;
}

static aon_result apply_single(memory_store *store, const aon_write *write, aon_write_state *state, aon_error *error) {
  database *db = store->database;
  request *r;
  if (atomic_load(&store->cancelled))
    return stopped(store, error);
  {
    LOCKED(db);
    aon_result result = request_new(held, write, &r, error);
    if (!result && held->config.store_class == AON_CLASS_PLAIN && (result = expect(held, r, &r->target->now, error))) {
      *state = AON_WRITE_REFUSED;
      request_free(r);
    }
    if (result)
      return result;
  }
  if (db->config.store_class == AON_CLASS_PLAIN && db->between)
    db->between(db->between_context);
  LOCKED(db);
  aon_result result = send_single(held, &r, state, error);
  request_free(r);
  if (result && error && error->operation == AON_NO_OPERATION)
    error->operation = write->operation;
  return result;
}

static aon_result apply(void *state, aon_transaction *transaction, const aon_write *writes, size_t count, aon_write_state *states,
                        size_t *ret_failed, aon_error *error) {
  memory_store *store = state;
  enter(store);
  if (store->database->config.store_class <= AON_CLASS_BATCH) {
    LOCKED(store->database);
    return apply_transaction(store, held, transaction, writes, count, states, ret_failed, error);
  }
  memset(states, 0, count * sizeof *states);
  for (size_t i = 0; i < count; i++) {
    aon_result result = apply_single(store, &writes[i], &states[i], error);
    if (result) {
      *ret_failed = i;
      return result;
    }
  }
  return AON_OK;
}

/* ---- ends ---- */

static aon_result flush(void *state, aon_transaction *transaction, aon_error *error) {
  memory_store *store = state;
  enter(store);
  if (transaction != store->transaction || transaction->failed)
    return aon_fail(error, AON_USAGE, "transaction_failed", "A transaction of %s that has failed can only be rolled back.", store->name);
  return AON_OK;
}

static void abort_transaction(void *state, aon_transaction *transaction) {
  memory_store *store = state;
  LOCKED(store->database);
  if (transaction && transaction == store->transaction)
    roll_back(held, transaction);
}

static aon_result end(memory_store *store, aon_transaction *t, errand_kind kind, aon_error *error) {
  enter(store);
  LOCKED(store->database);
  aon_result result = AON_OK;
  if (t != store->transaction || t->failed)
    result = aon_fail(error, AON_USAGE, "transaction_failed", "A transaction of %s that has failed can only be rolled back.", store->name);
  else if (expired(store, t))
    result =
        aon_fail(error, AON_TRANSIENT, "transaction_expired", "The transaction of %s was open for too long. Begin again.", store->name);
  aon_memory_trouble trouble = result ? AON_MEMORY_REFUSE : trouble_now(held);
  if (!result && trouble == AON_MEMORY_REFUSE)
    result = refused_for_now(error);
  if (result) {
    if (t == store->transaction)
      roll_back(held, t);
    return result;
  }
  if (trouble == AON_MEMORY_DELAY)
    return send_off(held, kind, t, NULL, NULL, error);
  result = kind == ERRAND_COMMIT ? commit_arrives(held, t, error) : prepare_arrives(held, t, error);
  return trouble == AON_MEMORY_LOSE_REPLY ? no_reply(error) : result;
}

static aon_result commit(void *state, aon_transaction *transaction, aon_error *error) {
  return end(state, transaction, ERRAND_COMMIT, error);
}
static aon_result prepare(void *state, aon_transaction *transaction, aon_error *error) {
  return end(state, transaction, ERRAND_PREPARE, error);
}

static aon_result end_prepared(memory_store *store, const aon_branch *branch, bool commits, aon_error *error) {
  enter(store);
  LOCKED(store->database);
  aon_memory_trouble trouble = trouble_now(held);
  if (trouble == AON_MEMORY_REFUSE)
    return refused_for_now(error);
  if (trouble == AON_MEMORY_DELAY)
    return send_off(held, commits ? ERRAND_COMMIT_PREPARED : ERRAND_ABORT_PREPARED, NULL, NULL, branch, error);
  aon_result result = prepared_ends(held, branch, commits, error);
  return trouble == AON_MEMORY_LOSE_REPLY ? no_reply(error) : result;
}

static aon_result commit_prepared(void *state, const aon_branch *branch, aon_error *error) {
  return end_prepared(state, branch, true, error);
}
static aon_result abort_prepared(void *state, const aon_branch *branch, aon_error *error) {
  return end_prepared(state, branch, false, error);
}

static aon_result resolve(void *state, const aon_branch *branch, aon_branch_state *ret_state, aon_error *error) {
  static const aon_branch_state states[] = {
      [MARKER_COMMITTED] = AON_BRANCH_COMMITTED, [MARKER_ABORTED] = AON_BRANCH_ABORTED, [MARKER_TAKEN_BACK] = AON_BRANCH_UNDONE};
  memory_store *store = state;
  enter(store);
  LOCKED(store->database);
  marker *m = marker_find(held, branch);
  bool written = m && m->state != MARKER_NONE;
  if (m && m->owner)
    *ret_state = m->owner->prepared ? AON_BRANCH_PREPARED : AON_BRANCH_OPEN;
  else if (written)
    *ret_state = states[m->state];
  else if (held->config.one_writer && held->transactions)
    *ret_state = AON_BRANCH_OPEN;
  else {
    aon_result result = marker_get(held, branch, &m, error);
    if (result)
      return result;
    m->state = MARKER_ABORTED;
    m->at_ms = held->now_ms;
    *ret_state = AON_BRANCH_ABORTED;
  }
  return AON_OK;
}

static aon_result forget(void *state, int64_t before_ms, aon_error *error) {
  memory_store *store = state;
  enter(store);
  (void)error;
  LOCKED(store->database);
  int64_t youngest = held->now_ms - MARKER_DAYS_MS;
  marker **at = &held->markers;
  while (*at) {
    marker *m = *at;
    if (m->owner || m->at_ms >= (before_ms < youngest ? before_ms : youngest)) {
      at = &m->next;
      continue;
    }
    *at = m->next;
    free(m);
  }
  return AON_OK;
}

static aon_result examine(void *state, struct aon_buffer *report, bool *ret_healthy, aon_error *error) {
  memory_store *store = state;
  enter(store);
  LOCKED(store->database);
  *ret_healthy = true;
  return aon_buffer_format(report, error, "in memory, class %d, %zu cells, %zu prepared transactions\n", (int)held->config.store_class,
                           held->cell_count, prepared_count(held));
}

const aon_store_adapter aon_memory_adapter = {
    .kind = "memory",
    .interface_version = AON_STORE_INTERFACE,
    .open = open_store,
    .close = close_store,
    .describe = describe,
    .normalise = normalise,
    .read = read_documents,
    .scan = scan,
    .begin = begin,
    .apply = apply,
    .flush = flush,
    .prepare = prepare,
    .commit = commit,
    .abort = abort_transaction,
    .commit_prepared = commit_prepared,
    .abort_prepared = abort_prepared,
    .resolve = resolve,
    .forget = forget,
    .examine = examine,
    .cancel = cancel,
};

/* ---- what tests do to it ---- */

aon_result aon_memory_foreign_write(aon_memory_database *db, const char *collection, const char *id, const bson_t *document,
                                    aon_error *error) {
  LOCKED(db);
  cell *c;
  value fresh = {0};
  aon_result result = cell_get(held, collection, (aon_text){id, strlen(id)}, &c, error);
  if (!result && c->owner)
    result = locked_by_other(c, error);
  if (!result && document)
    result = value_copy(bson_get_data(document), document->len, &fresh, error);
  if (!result)
    cell_set(held, c, &fresh);
  return result;
}

aon_result aon_memory_look(aon_memory_database *db, const char *collection, const char *id, aon_arena *arena, aon_image *ret_image,
                           aon_error *error) {
  LOCKED(db);
  *ret_image = (aon_image){0};
  const cell *c = cell_find(held, collection, (aon_text){id, strlen(id)});
  return c ? image_of(held, c, &c->now, arena, ret_image, error) : AON_OK;
}

size_t aon_memory_documents(aon_memory_database *db) {
  LOCKED(db);
  size_t count = 0;
  for (size_t i = 0; i < held->bucket_count; i++)
    for (const cell *c = held->buckets[i]; c; c = c->next)
      count += c->now.bytes != NULL;
  return count;
}

void aon_memory_trouble_at(aon_memory_database *db, aon_memory_trouble trouble, uint64_t nth, uint64_t times) {
  LOCKED(db);
  held->trouble = trouble;
  held->trouble_in = trouble == AON_MEMORY_NONE || !times ? 0 : nth;
  held->trouble_times = times;
}

size_t aon_memory_under_way(aon_memory_database *db) {
  LOCKED(db);
  size_t count = 0;
  for (const errand *e = held->errands; e; e = e->next)
    count++;
  return count;
}

aon_result aon_memory_deliver(aon_memory_database *db, bool *ret_done, aon_error *error) {
  LOCKED(db);
  errand *e = held->errands;
  *ret_done = false;
  if (!e)
    return aon_fail(error, AON_USAGE, "nothing_under_way", "No request is under way.");
  held->errands = e->next;
  aon_error refused = AON_ERROR_INIT;
  aon_result result = errand_arrives(held, e, &refused);
  free(e);
  *ret_done = result == AON_OK;
  return AON_OK;
}

void aon_memory_drop(aon_memory_database *db) {
  LOCKED(db);
  errands_drop(held);
}

size_t aon_memory_prepared(aon_memory_database *db) {
  LOCKED(db);
  return prepared_count(held);
}

bool aon_memory_prepared_at(aon_memory_database *db, size_t at, aon_branch *ret_branch) {
  LOCKED(db);
  for (const aon_transaction *t = held->transactions; t; t = t->next)
    if (t->prepared && !at--) {
      *ret_branch = branch_of(t);
      return true;
    }
  return false;
}

void aon_memory_prepared_drop(aon_memory_database *db) {
  LOCKED(db);
  for (aon_transaction *t = held->transactions, *next; t; t = next) {
    next = t->next;
    if (t->prepared)
      roll_back(held, t);
  }
}

void aon_memory_between(aon_memory_database *db, void (*between)(void *), void *context) {
  LOCKED(db);
  db->between = between;
  db->between_context = context;
}
