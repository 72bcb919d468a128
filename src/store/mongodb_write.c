/* Writing MongoDB.
 *
 * In a transaction: each run of writes of one kind to one collection reads the documents that it expects, compares them byte by byte, and
 * goes out as few commands. What somebody changes after the transaction's snapshot makes the server refuse the write (a write conflict).
 * Writes of one kind are gathered first, however they alternate, since a command costs more than a document.
 * Without one: the same look, then each write by itself, under a condition that the server checks together with it.
 *
 * Invariants:
 *  - nothing is changed or deleted whose bytes are not those expected; a refusal names the first write at fault;
 *  - a stretch holds no document twice, so that what it read stands for all of it, and the order within it shows to nobody but an index
 *    that demands unique values, or a validator: there it is kept. A transaction has no savepoint to fall back to, so what can be at fault
 *    is looked for before anything of the stretch is written, but for creates where only one collection has any;
 *  - outside a transaction a write that was sent and not answered is AON_WRITE_UNKNOWN, and nothing is sent after it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "model/document.h"
#include "store/mongodb_internal.h"

#define GROUPS_LIMIT 32 /* of writes that are gathered; beyond it their own order is kept */

typedef enum kind { KIND_INSERT, KIND_UPDATE, KIND_DELETE } kind;

typedef struct applying {
  mdb_store *store;
  aon_transaction *transaction; /* NULL: one by one */
  const aon_write *writes;
  size_t count;
  aon_write_state *states; /* may be NULL in a transaction */
  aon_arena arena;         /* of a run, or of a stretch that is gathered */
  uint64_t *met;           /* hashes of the ids of a stretch, by open addressing */
  size_t met_size;         /* a power of two, more than twice the writes */
} applying;

typedef struct run { /* writes from..to-1 */
  size_t from, to;
  kind kind;
  bool looks; /* even where the server itself would refuse it */
  const mdb_collection *collection;
  bson_t **now; /* the documents as they stand, those of from first; all NULL where nobody need look */
} run;

static kind kind_of(const aon_write *write) { return !write->expected.bson ? KIND_INSERT : write->wanted.bson ? KIND_UPDATE : KIND_DELETE; }

/* ---- what is expected ---- */

static aon_result changed(bool gone, aon_error *error) {
  return aon_fail(error, AON_PERMANENT, "changed_meanwhile", "%s",
                  gone ? "it was deleted by somebody else meanwhile. Nothing was written; try again with what is there now."
                       : "it was changed by somebody else meanwhile. Nothing was written; try again with what is there now.");
}

static aon_result compare(const applying *a, const run *r, size_t at, aon_error *error) {
  const aon_write *write = &a->writes[at];
  const bson_t *now = r->now[at - r->from];
  bson_t expected;
  if (r->kind == KIND_INSERT)
    return now ? aon_fail(error, AON_PERMANENT, "duplicate", "a document with this id is there already.") : AON_OK;
  if (!now)
    return changed(true, error);
  aon_result result = mdb_document_of(a->store, write->collection, write->id, &write->expected, now, NULL, &expected, error);
  if (!result && (expected.len != now->len || memcmp(bson_get_data(&expected), bson_get_data(now), now->len) != 0))
    result = changed(false, error);
  bson_destroy(&expected);
  return result;
}

/* A create of a document that is found by its _id is refused by the server itself; by other properties it must be looked for. */
static aon_result look_and_compare(applying *a, run *r, size_t *ret_failed, aon_error *error) {
  size_t count = r->to - r->from;
  const aon_collection *collection = a->writes[r->from].collection;
  aon_text *ids = aon_arena_alloc(&a->arena, count * sizeof *ids);
  r->now = aon_arena_alloc(&a->arena, count * sizeof(bson_t *));
  if (!ids || !r->now)
    return aon_fail_memory(error);
  if (r->kind == KIND_INSERT && mdb_keyed_by_id(mdb_key_of(a->store, collection)) && !r->looks)
    return AON_OK;
  for (size_t i = 0; i < count; i++)
    ids[i] = a->writes[r->from + i].id;
  *ret_failed = r->from;
  aon_result result = mdb_fetch(a->store, collection, ids, count, &a->arena, r->now, error);
  for (size_t i = r->from; !result && i < r->to; i++) {
    *ret_failed = i;
    result = compare(a, r, i, error);
  }
  return result;
}

/* ---- runs ---- */

/* Seeded by where its stretch begins, so what older stretches left in the table is met by none. Two of one hash only make a stretch shorter. */
static bool meet(applying *a, const aon_write *write, size_t from) {
  uint64_t seed = XXH3_64bits_withSeed(write->collection->name, strlen(write->collection->name), from);
  uint64_t hash = XXH3_64bits_withSeed(write->id.data, write->id.length, seed) | 1; /* 0 is a free place */
  size_t at = (hash >> 32) & (a->met_size - 1);
  for (; a->met[at]; at = (at + 1) & (a->met_size - 1))
    if (a->met[at] == hash)
      return false;
  a->met[at] = hash;
  return true;
}

static size_t stretch_end(applying *a, size_t from) {
  size_t to = from;
  while (to < a->count && meet(a, &a->writes[to], from))
    to++;
  return to;
}

static bool together(const aon_write *a, const aon_write *b) {
  return kind_of(a) == kind_of(b) && (a->collection == b->collection || !strcmp(a->collection->name, b->collection->name));
}

static size_t run_end(const applying *a, size_t from, size_t limit) {
  size_t to = from + 1;
  while (to < limit && together(&a->writes[to], &a->writes[from]))
    to++;
  return to;
}

/* A collection that is missing is made by its first document. One made outside the transaction would be younger than its snapshot, which
 * the server refuses as a conflict. */
static aon_result find_collection(applying *a, run *r, aon_error *error) {
  const aon_collection *collection = a->writes[r->from].collection;
  mdb_collection *found;
  aon_result result = mdb_collection_find(a->store, collection, &found, error);
  if (!result && !found->shape.exists) {
    if (r->kind != KIND_INSERT)
      return changed(true, error);
    found->shape.exists = true; /* if this is rolled back it reads as empty, which is as right */
  }
  r->collection = found;
  return result;
}

/* ---- commands ---- */

/* A replacement would be taken for operators where a name begins with a dollar, and an empty timestamp would be filled in. */
static bool needs_pipeline(const bson_t *document) {
  bson_iter_t at;
  uint32_t seconds, increment;
  bson_iter_init(&at, document);
  while (bson_iter_next(&at)) {
    if (*bson_iter_key(&at) == '$')
      return true;
    if (bson_iter_type(&at) == BSON_TYPE_TIMESTAMP) {
      bson_iter_timestamp(&at, &seconds, &increment);
      if (!seconds && !increment)
        return true;
    }
  }
  return false;
}

static void append_replacement(bson_t *statement, const bson_t *document) {
  bson_t pipeline, stage, literal;
  if (!needs_pipeline(document)) {
    BSON_APPEND_DOCUMENT(statement, "u", document);
    return;
  }
  BSON_APPEND_ARRAY_BEGIN(statement, "u", &pipeline);
  BSON_APPEND_DOCUMENT_BEGIN(&pipeline, "0", &stage);
  BSON_APPEND_DOCUMENT_BEGIN(&stage, "$replaceWith", &literal);
  BSON_APPEND_DOCUMENT(&literal, "$literal", document);
  bson_append_document_end(&stage, &literal);
  bson_append_document_end(&pipeline, &stage);
  bson_append_array_end(statement, &pipeline);
}

/* {$expr: {$eq: ["$$ROOT", {$literal: DOCUMENT}]}} */
static void append_whole(bson_t *query, const bson_t *now) {
  bson_t expression, sides, literal;
  BSON_APPEND_DOCUMENT_BEGIN(query, "$expr", &expression);
  BSON_APPEND_ARRAY_BEGIN(&expression, "$eq", &sides);
  BSON_APPEND_UTF8(&sides, "0", "$$ROOT");
  BSON_APPEND_DOCUMENT_BEGIN(&sides, "1", &literal);
  BSON_APPEND_DOCUMENT(&literal, "$literal", now);
  bson_append_document_end(&sides, &literal);
  bson_append_array_end(&expression, &sides);
  bson_append_document_end(query, &expression);
}

static const char *type_name(bson_type_t type) { return type == BSON_TYPE_NULL ? "null" : type == BSON_TYPE_DOCUMENT ? "object" : NULL; }

/* A server that can't compare the whole document compares each property: null is not missing, a value is not a list that holds it. What
 * somebody adds in the instant since we looked is not seen. */
static void append_each(bson_t *query, const bson_t *now) {
  bson_iter_t at, inner;
  bson_iter_init(&at, now);
  while (bson_iter_next(&at)) {
    bson_t condition, not ;
    const char *key = bson_iter_key(&at), *type = type_name(bson_iter_type(&at));
    if (!strcmp(key, "_id") || !mdb_plain_name(key))
      continue;
    bson_append_document_begin(query, key, -1, &condition);
    bson_append_iter(&condition, "$eq", 3, &at);
    if (bson_iter_type(&at) == BSON_TYPE_ARRAY) {
      int32_t length = 0;
      bson_iter_recurse(&at, &inner);
      while (bson_iter_next(&inner))
        length++;
      BSON_APPEND_INT32(&condition, "$size", length);
    } else if (type) {
      BSON_APPEND_UTF8(&condition, "$type", type);
    } else {
      BSON_APPEND_DOCUMENT_BEGIN(&condition, "$not", &not );
      BSON_APPEND_UTF8(&not, "$type", "array");
      bson_append_document_end(&condition, &not );
    }
    bson_append_document_end(query, &condition);
  }
}

/* The condition of one update or delete. In a transaction the snapshot is the condition. */
static void append_query(const applying *a, const run *r, const bson_t *now, bson_t *statement) {
  bson_t query, collation;
  bson_iter_t own;
  BSON_APPEND_DOCUMENT_BEGIN(statement, "q", &query);
  bson_iter_init_find(&own, now, "_id"); /* compare has seen it */
  bson_append_iter(&query, "_id", 3, &own);
  if (!a->transaction && a->store->facts.compares_whole)
    append_whole(&query, now);
  else if (!a->transaction)
    append_each(&query, now);
  bson_append_document_end(statement, &query);
  if (a->transaction || !r->collection->collated)
    return;
  BSON_APPEND_DOCUMENT_BEGIN(statement, "collation", &collation);
  BSON_APPEND_UTF8(&collation, "locale", "simple");
  bson_append_document_end(statement, &collation);
}

static const char *const verbs[] = {[KIND_INSERT] = "insert", [KIND_UPDATE] = "update", [KIND_DELETE] = "delete"};
static const char *const lists[] = {[KIND_INSERT] = "documents", [KIND_UPDATE] = "updates", [KIND_DELETE] = "deletes"};

static aon_result append_statement(const applying *a, const run *r, size_t at, bson_t *array, const char *key, aon_error *error) {
  const aon_write *write = &a->writes[at];
  const bson_t *now = r->now[at - r->from];
  bson_t wanted = BSON_INITIALIZER, statement;
  aon_result result = AON_OK;
  if (r->kind != KIND_DELETE) {
    bson_destroy(&wanted);
    result = mdb_document_of(a->store, write->collection, write->id, &write->wanted, now, write->stamp, &wanted, error);
  }
  if (!result && r->kind == KIND_INSERT) {
    bson_append_document(array, key, -1, &wanted);
  } else if (!result) {
    bson_append_document_begin(array, key, -1, &statement);
    append_query(a, r, now, &statement);
    if (r->kind == KIND_UPDATE)
      append_replacement(&statement, &wanted);
    else
      BSON_APPEND_INT32(&statement, "limit", 1);
    bson_append_document_end(array, &statement);
  }
  bson_destroy(&wanted);
  return result;
}

static size_t bytes_of(const aon_write *write) {
  return (size_t)write->expected.bson_length + write->wanted.bson_length + write->id.length;
}

/* As many statements as one command takes; *ret_to is behind the last one. */
static aon_result build(const applying *a, const run *r, size_t from, size_t most, bson_t *command, size_t *ret_to, aon_error *error) {
  bson_t array;
  char buffer[16];
  const char *key;
  size_t bytes = 0, to = from;
  aon_result result = AON_OK;
  BSON_APPEND_UTF8(command, verbs[r->kind], r->collection->name);
  BSON_APPEND_ARRAY_BEGIN(command, lists[r->kind], &array);
  for (; !result && to < r->to && to - from < most && (to == from || bytes + bytes_of(&a->writes[to]) <= MDB_COMMAND_BYTES); to++) {
    bytes += bytes_of(&a->writes[to]);
    bson_uint32_to_string((uint32_t)(to - from), &key, buffer, sizeof buffer);
    result = append_statement(a, r, to, &array, key, error);
  }
  *ret_to = to;
  bson_append_array_end(command, &array);
  return result;
}

static int64_t count_of(const bson_t *reply) {
  bson_iter_t at;
  return bson_iter_init_find(&at, reply, "n") ? bson_iter_as_int64(&at) : 0;
}

/* One command of the writes from.. up to *ret_to. */
static aon_result send_some(applying *a, const run *r, size_t from, size_t *ret_to, size_t *ret_failed, aon_error *error) {
  bson_t command = BSON_INITIALIZER, reply;
  aon_mongodb *connection;
  size_t to = from;
  *ret_failed = from;
  aon_result result = build(a, r, from, a->transaction ? SIZE_MAX : 1, &command, &to, error);
  *ret_to = to;
  if (!a->transaction)
    aon_mongodb_durable(&command, false, 0);
  if (!result)
    result = mdb_acquire(a->store, false, &connection, error);
  if (result) {
    *ret_failed = to > from ? to - 1 : from;
    bson_destroy(&command);
    return result;
  }
  result = aon_mongodb_run(connection, NULL, &command, a->transaction ? AON_MONGODB_INSIDE : AON_MONGODB_WRITE, "writing", &reply, error);
  if (result && aon_mongodb_code(connection) && from + aon_mongodb_write_index(connection) < to)
    *ret_failed = from + aon_mongodb_write_index(connection);
  if (!result && count_of(&reply) != (int64_t)(to - from))
    result = changed(false, error);
  mdb_release(a->store, connection);
  bson_destroy(&reply);
  bson_destroy(&command);
  return result;
}

/* ---- apply ---- */

static void note(applying *a, size_t at, aon_result result) {
  if (a->states)
    a->states[at] = !result ? AON_WRITE_APPLIED : result == AON_UNKNOWN ? AON_WRITE_UNKNOWN : AON_WRITE_REFUSED;
}

static aon_result send_run(applying *a, const run *r, size_t *ret_failed, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t at = r->from, to; !result && at < r->to; at = to) {
    result = send_some(a, r, at, &to, ret_failed, error);
    for (size_t i = at; i < to; i++)
      if (i < *ret_failed || !result)
        note(a, i, AON_OK);
  }
  return result;
}

static aon_result look(applying *a, run *r, size_t *ret_failed, aon_error *error) {
  *ret_failed = r->from;
  if (!a->writes[r->from].expected.bson && !a->writes[r->from].wanted.bson)
    return aon_fail(error, AON_USAGE, "empty_write", "it has neither an expected nor a wanted image.");
  aon_result result = find_collection(a, r, error);
  return result ? result : look_and_compare(a, r, ret_failed, error);
}

static aon_result apply_run(applying *a, size_t from, size_t *to, size_t *ret_failed, aon_error *error) {
  run r = {.from = from, .to = *to, .kind = kind_of(&a->writes[from])};
  aon_arena_reset(&a->arena);
  aon_result result = look(a, &r, ret_failed, error);
  if (result && !a->transaction && *ret_failed > from) { /* those before it go out: what they expect is there */
    *to = r.to = *ret_failed;
    result = AON_OK;
  }
  return result ? result : send_run(a, &r, ret_failed, error);
}

/* ---- gathering ---- */

/* Groups the writes of a stretch as they are first met, each in its own order. places: where each stood. 0: too many. */
static size_t find_groups(const applying *a, size_t from, size_t to, aon_write *writes, size_t *places, run *runs) {
  const aon_write *firsts[GROUPS_LIMIT];
  size_t count = 0, at = 0;
  for (size_t i = from; i < to; i++) {
    size_t group = 0;
    while (group < count && !together(firsts[group], &a->writes[i]))
      group++;
    if (group == GROUPS_LIMIT)
      return 0;
    if (group == count)
      firsts[count++] = &a->writes[i];
  }
  for (size_t group = 0; group < count; group++) {
    runs[group] = (run){.from = at, .kind = kind_of(firsts[group])};
    for (size_t i = from; i < to; i++)
      if (together(firsts[group], &a->writes[i])) {
        writes[at] = a->writes[i];
        places[at++] = i;
      }
    runs[group].to = at;
  }
  return count;
}

/* May they go out in another order? Then creates of several collections are looked for, as the server would name the first of
 * one of them. */
static aon_result may_gather(const applying *a, run *runs, size_t count, bool *ret_may, aon_error *error) {
  size_t creates = 0;
  aon_result result = AON_OK;
  *ret_may = count > 1;
  for (size_t i = 0; !result && *ret_may && i < count; i++) {
    mdb_collection *found;
    creates += runs[i].kind == KIND_INSERT;
    result = mdb_collection_find(a->store, a->writes[runs[i].from].collection, &found, error);
    if (!result)
      *ret_may = !mdb_keeps_order(a->store, found);
  }
  for (size_t i = 0; i < count; i++)
    runs[i].looks = creates > 1;
  return result;
}

static aon_result apply_groups(applying *gathered, run *runs, size_t count, bool *ret_done, size_t *ret_failed, aon_error *error) {
  aon_error failure = AON_ERROR_INIT;
  aon_result result = AON_OK;
  aon_arena_reset(&gathered->arena);
  for (size_t i = 0; !result && i < count; i++)
    result = look(gathered, &runs[i], ret_failed, &failure);
  *ret_done = result != AON_PERMANENT || aon_mongodb_code(gathered->transaction->connection);
  for (size_t i = 0; !result && i < count; i++)
    result = send_run(gathered, &runs[i], ret_failed, &failure);
  if (!*ret_done)
    return AON_OK;
  if (result && error)
    *error = failure;
  return result;
}

/* *ret_done false: it can't be gathered, or something is not as expected, and nothing was written; in their own order the first write at
 * fault is found. */
static aon_result apply_gathered(applying *a, size_t from, size_t to, bool *ret_done, size_t *ret_failed, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_write *writes = aon_arena_alloc(&arena, (to - from) * sizeof *writes);
  size_t *places = aon_arena_alloc(&arena, (to - from) * sizeof *places), failed = 0;
  run runs[GROUPS_LIMIT];
  *ret_done = false;
  if (!writes || !places)
    return aon_fail_memory(error);
  applying gathered = *a;
  gathered.writes = writes;
  gathered.count = to - from;
  gathered.states = NULL;
  size_t count = find_groups(a, from, to, writes, places, runs);
  aon_result result = may_gather(&gathered, runs, count, ret_done, error);
  if (result || !*ret_done)
    return result;
  result = apply_groups(&gathered, runs, count, ret_done, &failed, error);
  a->arena = gathered.arena;
  *ret_failed = places[failed];
  for (size_t i = from; !result && *ret_done && i < to; i++)
    note(a, i, AON_OK);
  return result;
}

static aon_result apply_stretch(applying *a, size_t from, size_t *ret_to, size_t *ret_failed, aon_error *error) {
  size_t limit = *ret_to = stretch_end(a, from);
  bool done = false;
  *ret_failed = from;
  aon_result result = AON_OK;
  if (a->transaction && run_end(a, from, limit) < limit)
    result = apply_gathered(a, from, limit, &done, ret_failed, error);
  for (size_t at = from, to; !result && !done && at < limit; at = to) {
    to = run_end(a, at, limit);
    result = apply_run(a, at, &to, ret_failed, error);
  }
  return result;
}

static aon_result about(const applying *a, size_t at, aon_result result, aon_error *error) {
  const aon_write *write = &a->writes[at];
  if (result == AON_REJECTED) /* an image that was never normalised: refused like by a constraint */
    result = AON_PERMANENT;
  if (!error)
    return result;
  error->kind = result;
  error->operation = write->operation;
  aon_error_prefix(error, "%s/%s/%.*s: ", a->store->name, write->collection->name, mdb_shown(write->id), write->id.data);
  return result;
}

aon_result mdb_apply(void *state, aon_transaction *transaction, const aon_write *writes, size_t count, aon_write_state *states,
                     size_t *ret_failed, aon_error *error) {
  mdb_store *store = state;
  mdb_enter(store);
  if (store->facts.transactions && (!transaction || !transaction->open || transaction->failed))
    return aon_fail(error, AON_USAGE, "transaction_failed", "Writes to %s need an open transaction that has not failed.", store->name);
  applying a = {.store = store, .transaction = transaction, .writes = writes, .count = count, .states = states};
  size_t failed = 0;
  aon_result result = AON_OK;
  for (size_t i = 0; states && i < count; i++)
    states[i] = AON_WRITE_NOT_SENT;
  for (a.met_size = 16; a.met_size < 2 * count + 2;)
    a.met_size *= 2;
  a.met = calloc(a.met_size, sizeof *a.met);
  if (!a.met)
    result = aon_fail_memory(error);
  for (size_t from = 0, to; !result && from < count; from = to)
    result = apply_stretch(&a, from, &to, &failed, error);
  aon_arena_release(&a.arena);
  free(a.met);
  if (!result)
    return AON_OK;
  note(&a, failed, result);
  if (transaction)
    transaction->failed = true;
  *ret_failed = failed;
  return about(&a, failed, result, error);
}
