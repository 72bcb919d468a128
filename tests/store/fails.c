/* The n-th allocation, step or statement of SQLite, or exchange with a server fails, once, in the life of a store: it is opened, described,
 * written in several transactions, taken back, searched, resolved, examined. Either the life ends there (each_fault), or in each call of
 * the life the n-th fails, and whoever called calls again, in the same store (each_call_again). With the argument postgresql, mongodb, rtdb,
 * firestore or auth, one on such a server (tests/servers).
 *
 * A failing call has a kind, a code and a sentence, none of them the caller's fault; what it says of its writes is true of what a sound
 * store finds afterwards (unknown: what resolve then says); called again it does what it was to do; no transaction stays; and the same life
 * can be led again. All of it runs under the asserting decorator, but for the lives of callers that want no sentence. AON_FULL=1: each n, else all of the first and some of the rest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aon/callback.h"
#include "calls.h"
#include "exchanges.h"
#include "model/document.h"
#include "mongodb_world.h"
#include "postgresql_world.h"
#include "store/memory.h"
#include "world.h"

/* ---- what fails ---- */

static char about[100]; /* what is tried, for people */
static const char *kind_name(int kind) { return exchange_name(kind); }

/* ---- a store and its tables ---- */

typedef struct fixture {
  const char *name;
  enum { DOCUMENTS, COLUMNS, MEMORY, CALLBACK, PG_DOCUMENTS, PG_COLUMNS, MONGODB, RTDB, FIRESTORE, AUTH } kind;
  aon_memory_config memory;
} fixture;

#define WRITES 4
#define ATTEMPTS 10

typedef struct life {
  world w;
  const fixture *fixture;
  pg_world pg;
  mdb_world mdb;
  char firebase[64]; /* the location of a Firebase database of its own */
  aon_memory_database *memory;
  aon_callbacks callbacks;
  aon_assert wrap;
  const char *location;
  aon_collection items, pairs;
  bson_t new_item, new_pair;
  const char *note, *v; /* properties that are changed, and looked for */
  char *normal;         /* what the new document of items becomes, as text */
  uint32_t attempt;     /* of the first transaction of this life; ATTEMPTS more are its own */
  int kind, nth;        /* of each call the nth of the kind fails; nth 0: of the whole life, or none */
  unsigned met;         /* calls that met it */
  /* What the call under way is about: */
  aon_write writes[WRITES];
  bool under_way;
  aon_write_state *states; /* NULL: in a transaction */
  size_t count;
  aon_branch branch;
  bool prepared, unknown, undoing;
  bool silent; /* whoever calls wants no sentence, and the decorator, which wants one, stands not between */
} life;

static const char *const sqlite_columns =
    "create table items(id text primary key, i integer, r real, n decimal(20,2), x text, b blob, y, v varchar(10), d datetime, "
    "o boolean default true, q integer default 7, e text default 'it''s', s blob default x'00ff', t default (1 + 1), "
    "g generated always as (i + 1), note text collate nocase);"
    "insert into items(id, i, r, n, x, b, y, v, d, o, note) values('a', 9007199254740993, 0.1, 1.5, 'ü', x'00ff', x'01', 'v', "
    "'2027-01-01', 1, 'Old');"
    "create table log(n integer);"
    "create trigger after_items after update on items begin insert into log values(1); end;"
    "create table children(id text primary key, item text references items(id) on delete cascade);"
    "create table pairs(a integer, b text, v text, primary key(a, b)) without rowid;"
    "insert into pairs values(1, 'x', 'one');";

static const char *const pg_columns =
    "create type mood as enum('ok', 'so so'); create domain positive as int4 check (value > 0); create type pair as (a int4, b text);"
    "create table items(id text primary key, i2 int2, i8 int8, nu numeric, n2 numeric(10,2), f4 float4, f8 float8, o bool default true, "
    "x text, v varchar(5), ch char(5), u uuid, d date, ti time, tz timetz, ts timestamp, tt timestamptz, iv interval, by bytea, j json, "
    "jb jsonb, ai int4[], at text[], an numeric[], att timestamptz[], aj jsonb[], m mood, p positive, pr pair, ra int4range, ip inet, "
    "bi bit(3), q int4 default 7, e text default 'it''s', g int4 generated always as (q + 1) stored, note text);"
    "insert into items values('a', -32768, 9007199254740993, '1.50', '1.5', 0.1, 0.1, true, E'é \"\\\\\\n', 'abc', 'ab', "
    "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '2027-01-06', '23:59:59.5', '12:00:00.5+05:30', '2027-01-06 08:00:00.123456', "
    "'2027-01-06 08:00:00.12+00', '1 mon', '\\x00ff', '{ \"a\" : 1.50 }', '{\"b\":[null,true,1.50]}', '{1,NULL,3}', "
    "array['', 'NULL', 'a,b', null], '{1.50,2}', '{2027-01-06 08:00:00+00,infinity}', array['{\"a\":1}'::jsonb, 'null'::jsonb], 'so so', "
    "3, row(1, 'a,\"b'), '[1,5)', '10.0.0.1', B'101', 1, 'e', default, 'Old');"
    "create table log(n int4); create function note_it() returns trigger language plpgsql as "
    "$$ begin insert into log values(1); return new; end $$; "
    "create trigger after_items after update on items for each row execute function note_it();"
    "create table children(id text primary key, item text references items(id) on delete cascade);"
    "create table pairs(a int8, b text, v text, primary key(a, b)); insert into pairs values(1, 'x', 'one');";

static bool of_postgresql(const life *l) { return l->fixture->kind == PG_DOCUMENTS || l->fixture->kind == PG_COLUMNS; }
static bool on_server(const life *l) { return l->fixture->kind >= PG_DOCUMENTS; }
static bool of_columns(const life *l) { return l->fixture->kind == COLUMNS || l->fixture->kind == PG_COLUMNS; }

static void open_store(life *l, aon_store **ret_store, aon_result *ret_result, aon_error *error) {
  static const aon_store_adapter *const adapters[] = {
      &aon_sqlite_adapter,     &aon_sqlite_adapter,  &aon_memory_adapter, &aon_callback_adapter,  &aon_postgresql_adapter,
      &aon_postgresql_adapter, &aon_mongodb_adapter, &aon_rtdb_adapter,   &aon_firestore_adapter, &aon_auth_adapter};
  const aon_store_adapter *inner = adapters[l->fixture->kind];
  l->wrap.inner = inner;
  l->wrap.inner_options = l->fixture->kind == CALLBACK ? (const void *)&l->callbacks : l->memory;
  aon_store_config config = {.name = "main",
                             .location = l->location,
                             .create = true,
                             .stamp = l->fixture->kind == DOCUMENTS,
                             .timeout_ms = l->fixture->kind == FIRESTORE ? 20000
                                           : on_server(l)                ? 3000
                                                                         : 300,
                             .options = l->silent ? l->wrap.inner_options : &l->wrap};
  *ret_result = aon_store_open(l->w.env, l->silent ? inner : &aon_assert_adapter, &config, ret_store, error);
}

static aon_store *sound_store(life *l) {
  aon_store *store;
  aon_result result;
  open_store(l, &store, &result, &l->w.error);
  OK(&l->w, result);
  return store;
}

/* ---- called again ---- */

static void says_why(const char *of, aon_result result, const aon_error *error) {
  if (result && (!error->code[0] || !error->sentence[0] || result == AON_USAGE || result == AON_REJECTED || result == AON_CORRUPT))
    fail_msg("%s%s: %s %s: %s", about, of, aon_result_name(result), error->code, error->sentence);
}

static void plant(const life *l) {
  if (l->nth)
    calls_fail(l->kind, l->nth);
}

/* Whether it is to be called again, without a fault. */
static bool failed_by_it(life *l, aon_result result, aon_error *error, const char *call) {
  char of[200];
  if (!l->nth)
    return false;
  bool met = calls_end();
  l->met += met;
  if (!result || !met)
    return false;
  snprintf(of, sizeof of, ", in %s", call);
  if (error) {
    says_why(of, result, error);
    *error = (aon_error)AON_ERROR_INIT;
  }
  return true;
}

#define GO(call)                                                                                                                           \
  do {                                                                                                                                     \
    aon_result result_ = (call);                                                                                                           \
    if (result_)                                                                                                                           \
      return result_;                                                                                                                      \
  } while (0)

#define TRY(call)                                                                                                                          \
  do {                                                                                                                                     \
    plant(l);                                                                                                                              \
    aon_result tried_ = (call);                                                                                                            \
    if (failed_by_it(l, tried_, error, #call))                                                                                             \
      tried_ = (call);                                                                                                                     \
    if (tried_)                                                                                                                            \
      return tried_;                                                                                                                       \
  } while (0)

/* ---- the callback store's own database: a memory store ---- */

static aon_result callback_write(void *context, const aon_callback_operation *operation, bool undo, aon_error *error) {
  char id[100];
  snprintf(id, sizeof id, "%.*s", (int)operation->id.length, operation->id.data);
  return aon_memory_foreign_write(context, operation->collection, id, undo ? operation->before : operation->after, error);
}
static aon_result callback_perform(void *context, const aon_callback_operation *operation, aon_error *error) {
  return callback_write(context, operation, false, error);
}
static aon_result callback_undo(void *context, const aon_callback_operation *operation, aon_error *error) {
  return callback_write(context, operation, true, error);
}
static aon_result callback_read(void *context, const char *collection, aon_text asked, bson_t *document, bool *ret_exists,
                                aon_error *error) {
  char id[100];
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_image found;
  bson_t view;
  snprintf(id, sizeof id, "%.*s", (int)asked.length, asked.data);
  aon_result result = aon_memory_look(context, collection, id, &arena, &found, error);
  *ret_exists = !result && found.bson && aon_image_view(&found, &view) && bson_concat(document, &view);
  return result;
}
static aon_result callback_scan(void *context, const char *collection, aon_callback_found found, void *found_context, aon_error *error) {
  static const char *const ids[] = {"a", "b", "1:x", "2:y"};
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < sizeof ids / sizeof *ids; i++) {
    bson_t document = BSON_INITIALIZER;
    bool exists;
    result = callback_read(context, collection, text(ids[i]), &document, &exists, error);
    if (!result && exists)
      result = found(found_context, text(ids[i]), &document, error);
    bson_destroy(&document);
  }
  return result;
}

/* ---- the tables before a life ---- */

static void put_memory(life *l, const char *collection, const char *id, const char *json) {
  bson_t document;
  if (json)
    OK(&l->w, aon_document_from_json(json, strlen(json), &document, &l->w.error));
  OK(&l->w, aon_memory_foreign_write(l->memory, collection, id, json ? &document : NULL, &l->w.error));
  if (json)
    bson_destroy(&document);
}

/* Nobody asks what stands there before it goes for good. */
static aon_write finished(const aon_collection *in, const char *id, int64_t operation) {
  static uint8_t nothing[] = {5, 0, 0, 0, 0};
  aon_write write = write_of(in, id, (aon_image){.bson = nothing, .bson_length = sizeof nothing}, (aon_image){0}, operation);
  write.finishes = true;
  return write;
}

/* By the store itself, where nothing fails. */
static void put_back(life *l) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  static const char *const ids[] = {"a", "b", "2:y"};
  static const char *const item = "{\"i\":1,\"deep\":{\"er\":[1,{\"x\":2}]},\"note\":\"Old\"}",
                           *const account =
                               "{\"customClaims\":{\"i\":1,\"deep\":{\"er\":[1,{\"x\":2}]}},\"photoURL\":\"Old\",\"email\":\"a@x.org\","
                               "\"emailVerified\":true,\"phoneNumber\":\"+4712345678\"}";
  aon_store *store = sound_store(l);
  for (int i = 0; i < 3; i++) {
    const aon_collection *in = i < 2 ? &l->items : &l->pairs;
    aon_write finish = finished(in, ids[i], i);
    if (aon_store_capabilities(store)->finishes) /* what a broken life has set aside */
      OK(&l->w, apply_now(&l->w, store, &finish, 1));
    aon_image found = look(&l->w, store, in, ids[i]), wanted = {0};
    if (!i)
      wanted = normal(&l->w, store, in, "a", l->fixture->kind == AUTH ? account : item);
    aon_write write = write_of(in, ids[i], found, wanted, i);
    write.compensates = true; /* so what goes is not set aside */
    if (found.bson || wanted.bson)
      OK(&l->w, apply_now(&l->w, store, &write, 1));
  }
  aon_store_close(store);
}

static void begin_anew(life *l) {
  static const char *const drop = "drop table if exists children; drop table if exists items; drop table if exists pairs; "
                                  "drop table if exists log; ";
  switch (l->fixture->kind) {
  case DOCUMENTS:
    sql(l->location, drop);
    sql(l->location, "create table items(id text primary key, doc text); insert into items values('a', '{\"i\":1,\"note\":\"Old\"}')");
    break;
  case COLUMNS:
    sql(l->location, drop);
    sql(l->location, sqlite_columns);
    break;
  case MEMORY:
  case CALLBACK:
    put_memory(l, "items", "a", "{\"i\":1,\"deep\":{\"er\":[1,{\"x\":null}]},\"note\":\"Old\"}");
    put_memory(l, "items", "b", NULL);
    put_memory(l, "pairs", "2:y", NULL);
    break;
  case PG_DOCUMENTS:
    pg_sql(&l->pg, drop);
    pg_sql(&l->pg, "create table items(id text primary key, doc json); insert into items values('a', '{\"i\":1,\"note\":\"Old\"}')");
    break;
  case PG_COLUMNS:
    pg_sql(&l->pg, drop);
    pg_sql(&l->pg, "drop type if exists mood; drop domain if exists positive; drop type if exists pair; drop function if exists note_it");
    pg_sql(&l->pg, pg_columns);
    break;
  case MONGODB:
  case RTDB:
  case FIRESTORE:
  case AUTH:
    put_back(l);
    break;
  }
}

static void life_open(life *l, const fixture *f) {
  memset(l, 0, sizeof *l);
  l->fixture = f;
  world_open(&l->w);
  aon_memory_config memory = f->memory;
  if (f->kind == CALLBACK)
    memory.store_class = AON_CLASS_PLAIN;
  if (memory.store_class)
    OK(&l->w, aon_memory_new(&memory, &l->memory, &l->w.error));
  l->callbacks = (aon_callbacks){.version = AON_CALLBACKS_VERSION,
                                 .context = l->memory,
                                 .perform = callback_perform,
                                 .undo = callback_undo,
                                 .read = callback_read,
                                 .scan = callback_scan};
  if (of_postgresql(l))
    pg_world_open(&l->pg);
  if (f->kind == MONGODB)
    mdb_world_open(&l->mdb);
  snprintf(l->firebase, sizeof l->firebase, f->kind == RTDB ? "//127.0.0.1/?ns=f%d" : "//demo-f%d/", (int)getpid());
  l->location = of_postgresql(l)     ? l->pg.location
                : f->kind == MONGODB ? l->mdb.location
                : on_server(l)       ? l->firebase
                                     : world_path(&l->w, "s.db");
  static const char *const secrets[] = {"password", NULL};
  l->items = (aon_collection){.store = "main", .name = "items", .sensitive = f->kind == AUTH ? secrets : NULL};
  l->pairs = (aon_collection){.store = "main", .name = "pairs"};
  l->note = f->kind == AUTH ? "photoURL" : "note";
  l->v = f->kind == AUTH ? "displayName" : "v";
  static const char *const item = "{\"i\":2,\"x\":\"é\",\"note\":\"n\"}", *const pg_item =
                                                                              "{\"i8\":2,\"x\":\"é\",\"j\":{\"a\":1},\"note\":\"n\"}";
  static const char *const pair = "{\"v\":\"two\"}", *const column_pair = "{\"a\":2,\"b\":\"y\",\"v\":\"two\"}";
  static const char *const account = "{\"displayName\":\"é\",\"email\":\"b@x.org\",\"password\":\"planted\",\"photoURL\":\"n\","
                                     "\"_bulkOperationId\":\"4c5b1f38-7d7c-4b5e-9a52-6f1f0c1d2e3a\"}",
                           *const account_pair = "{\"displayName\":\"two\",\"customClaims\":{\"v\":2}}";
  const char *one = f->kind == AUTH         ? account
                    : f->kind == PG_COLUMNS ? pg_item
                                            : item,
             *other = f->kind == AUTH ? account_pair
                      : of_columns(l) ? column_pair
                                      : pair;
  OK(&l->w, aon_document_from_json(one, strlen(one), &l->new_item, &l->w.error));
  OK(&l->w, aon_document_from_json(other, strlen(other), &l->new_pair, &l->w.error));
  l->attempt = 100000; /* those of apply_now are below */
}

static void life_close(life *l) {
  bson_destroy(&l->new_item);
  bson_destroy(&l->new_pair);
  if (of_postgresql(l))
    pg_world_close(&l->pg);
  if (l->fixture->kind == MONGODB)
    mdb_world_close(&l->mdb);
  aon_memory_free(l->memory);
  free(l->normal);
  world_close(&l->w);
}

/* ---- a life ---- */

static aon_result in_transaction(life *l, aon_store *store, aon_marker marker, aon_error *error) {
  aon_transaction *transaction;
  size_t failed;
  aon_result result = aon_store_begin(store, &l->branch, marker, &transaction, error);
  if (result)
    return result;
  result = aon_store_apply(store, transaction, l->writes, l->count, NULL, &failed, error);
  if (!result)
    result = aon_store_flush(store, transaction, error);
  if (result) {
    aon_store_abort(store, transaction);
    return result;
  }
  if (aon_store_capabilities(store)->store_class != AON_CLASS_PREPARED)
    return aon_store_commit(store, transaction, error);
  result = aon_store_prepare(store, transaction, error);
  if (result)
    return result;
  l->prepared = true;
  result = aon_store_commit_prepared(store, &l->branch, error);
  if (!result)
    l->prepared = false;
  return result;
}

static aon_result write_all(life *l, aon_store *store, uint32_t attempt, aon_marker marker, const aon_write *writes, size_t count,
                            aon_error *error) {
  static aon_write_state states[WRITES];
  size_t failed;
  memcpy(l->writes, writes, count * sizeof *writes);
  l->count = count;
  l->under_way = true;
  l->branch = branch(attempt);
  l->unknown = l->prepared = false;
  l->undoing = marker == AON_MARKER_UNDONE;
  memset(states, 0, sizeof states);
  bool transactions = aon_store_capabilities(store)->store_class <= AON_CLASS_BATCH;
  l->states = transactions ? NULL : states;
  aon_result result =
      transactions ? in_transaction(l, store, marker, error) : aon_store_apply(store, NULL, writes, count, states, &failed, error);
  l->unknown = result == AON_UNKNOWN;
  l->under_way = result != AON_OK;
  return result;
}

static aon_result read_now(aon_store *store, const aon_collection *in, const char *id, aon_arena *arena, aon_image *ret, aon_error *error) {
  aon_text asked = text(id);
  return aon_store_read(store, in, &asked, 1, arena, ret, error);
}

/* The document with another note. */
static aon_result with_note(const char *name, const aon_image *of, const char *note, aon_arena *arena, aon_image *ret, aon_error *error) {
  bson_t view, changed = BSON_INITIALIZER;
  assert_true(aon_image_view(of, &view));
  bson_copy_to_excluding_noinit(&view, &changed, name, NULL);
  BSON_APPEND_UTF8(&changed, name, note);
  aon_result result = aon_image_from(&changed, arena, ret, error);
  bson_destroy(&changed);
  ret->token = of->token;
  ret->token_length = of->token_length;
  return result;
}

static aon_result hear(void *context, const aon_found *found, aon_error *error) {
  (void)error;
  *(int *)context += found->id.length > 0;
  return AON_OK;
}

static aon_result search(aon_store *store, const aon_collection *in, const char *property, const char *value, int wanted,
                         aon_error *error) {
  const char *const properties[] = {property, NULL};
  aon_match match = {property, text(value)};
  int found = 0;
  aon_result result = aon_store_scan(store, in, &match, 1, properties, hear, &found, error);
  if (!result && found != wanted)
    fail_msg("%s: %s=%s is found %d times, not %d", about, property, value, found, wanted);
  found = 0;
  if (!result)
    result = aon_store_scan(store, in, NULL, 0, NULL, hear, &found, error);
  if (!result)
    assert_true(found >= wanted);
  return result;
}

/* An index could serve it, and there is none. The decorator knows nothing of look-ups. */
static aon_result look_up(const life *l, aon_store *store, const aon_collection *in, const char *property, aon_error *error) {
  aon_match match = {property, text("New")};
  aon_index index, read;
  aon_result result = aon_store_look_up(store, in, &match, &index, error);
  if (!result)
    result = aon_store_look_up(store, in, NULL, &read, error);
  if (!result && l->silent && (of_postgresql(l) || l->fixture->kind <= COLUMNS)) {
    assert_int_equal(index.state, AON_INDEX_MISSING);
    assert_int_equal(read.state, AON_INDEX_NO_NEED);
  }
  return result;
}

/* A transaction whose marker is there already, or of which there is nothing to take back. */
static aon_result is_fenced(aon_store *store, uint32_t attempt, aon_marker marker, aon_error *error) {
  aon_branch of = branch(attempt);
  aon_transaction *transaction;
  aon_result result = aon_store_begin(store, &of, marker, &transaction, error);
  assert_int_not_equal(result, AON_OK);
  if (result == AON_FENCED && error)
    *error = (aon_error)AON_ERROR_INIT;
  return result == AON_FENCED ? AON_OK : result;
}

/* Ends what is no more prepared. wanted: what it is told then. */
static aon_result end_again(aon_store *store, uint32_t attempt, bool commit, const char *wanted, aon_error *error) {
  aon_branch of = branch(attempt);
  aon_error why = AON_ERROR_INIT;
  aon_result result = commit ? aon_store_commit_prepared(store, &of, &why) : aon_store_abort_prepared(store, &of, &why);
  if (wanted && result == AON_PERMANENT && !strcmp(why.code, wanted))
    return AON_OK;
  if (!result && wanted)
    fail_msg("%s: it ended something that was not there", about);
  if (result && error)
    *error = why;
  return result;
}

/* The image of a new document, which is the same whatever failed before. */
static aon_result normal_item(aon_store *store, const life *l, aon_arena *arena, aon_image *ret, aon_error *error) {
  return aon_store_normalise(store, &l->items, text("b"), &l->new_item, arena, ret, error);
}

/* ---- judging ---- */

static const char *stamp_of(const bson_t *document) {
  bson_iter_t at;
  return bson_iter_init_find(&at, document, "_bulkOperationId") ? bson_iter_utf8(&at, NULL) : "";
}

static bool stands(life *l, aon_store *store, const aon_write *write, const aon_image *image) {
  aon_image found;
  bson_t one, other;
  OK(&l->w, read_now(store, write->collection, write->id.data, &l->w.arena, &found, &l->w.error));
  if (!found.bson || !image->bson)
    return !found.bson == !image->bson;
  assert_true(aon_image_view(&found, &one) && aon_image_view(image, &other));
  static const char *const added[] = {"_bulkOperationId", "g", "password",
                                      NULL}; /* by the store itself: the stamp, a generated column; or never told */
  bool begun = l->fixture->kind == AUTH && strcmp(stamp_of(&one), stamp_of(&other)); /* an account that is not made to its end */
  return !begun && aon_document_equal(&one, &other, &(aon_comparison){.volatiles = added});
}

static bool committed(life *l, aon_store *store) {
  aon_branch_state state = AON_BRANCH_OPEN;
  for (int i = 0; i < 200 && state == AON_BRANCH_OPEN; i++) { /* a server takes a while to see that a connection is gone */
    aon_result result = aon_store_resolve(store, &l->branch, &state, &l->w.error);
    if (result == AON_TRANSIENT)
      state = AON_BRANCH_OPEN;
    else
      OK(&l->w, result);
    if (state == AON_BRANCH_OPEN)
      usleep(20000);
  }
  if (state == AON_BRANCH_PREPARED) {
    OK(&l->w, aon_store_abort_prepared(store, &l->branch, &l->w.error));
    return false;
  }
  assert_int_not_equal(state, AON_BRANCH_OPEN);
  return state != AON_BRANCH_ABORTED;
}

/* What was said of the writes under way is so. */
static void is_true(life *l) {
  if (!l->under_way)
    return;
  aon_store *store = sound_store(l);
  bool in = (l->unknown || l->prepared) && !l->states && committed(l, store);
  if (l->undoing && (l->unknown || l->prepared) &&
      !l->states) { /* the marker was there before: undone or not, the rows tell, all of them */
    in = stands(l, store, &l->writes[0], &l->writes[0].wanted);
  }
  for (size_t i = 0; i < l->count; i++) {
    const aon_write *write = &l->writes[i];
    if (l->states && l->states[i] == AON_WRITE_UNKNOWN)
      continue;
    bool now = l->states ? l->states[i] == AON_WRITE_APPLIED : in;
    if (!write->finishes && !stands(l, store, write, now ? &write->wanted : &write->expected))
      fail_msg("%s: write %zu should be %s: wanted %s", about, i, now ? "in" : "out",
               json_of(&l->w, now ? &write->wanted : &write->expected));
  }
  aon_store_close(store);
}

/* ---- a whole life ---- */

/* What a write that failed left out is written once more: the same, if it is known that nothing of it is in. */
static aon_result write_well(life *l, aon_store *store, uint32_t *attempt, aon_marker marker, const aon_write *writes, size_t count,
                             aon_error *error) {
  aon_write left[WRITES];
  size_t lacking = 0;
  plant(l);
  aon_result result = write_all(l, store, *attempt, marker, writes, count, error);
  if (!failed_by_it(l, result, error, "a write"))
    return result;
  is_true(l);
  aon_store *sound = sound_store(l);
  for (size_t i = 0; i < count; i++)
    if (!stands(l, sound, &writes[i], &writes[i].wanted))
      left[lacking++] = writes[i];
  aon_store_close(sound);
  if (!lacking)
    return AON_OK;
  if (marker == AON_MARKER_COMMIT)
    ++*attempt;
  return write_all(l, store, *attempt, marker, left, lacking, error);
}

static aon_result delete_for_good(life *l, aon_store *store, const aon_image *b, aon_error *error) {
  const aon_write third[] = {write_of(&l->items, "b", *b, (aon_image){0}, 5)};
  GO(write_all(l, store, l->attempt + 2, AON_MARKER_COMMIT, third, 1, error));
  const aon_write last[] = {finished(&l->items, "b", 5)};
  return write_all(l, store, l->attempt + 2, AON_MARKER_COMMIT, last, 1, error);
}

/* Prepared, and rolled back: nothing of it is in. */
static aon_result prepare_it(life *l, aon_store *store, uint32_t attempt, const aon_write *write, aon_error *error) {
  aon_transaction *transaction;
  size_t failed;
  l->writes[0] = *write;
  l->count = 1;
  l->branch = branch(attempt);
  l->under_way = true;
  l->states = NULL;
  l->unknown = l->prepared = l->undoing = false;
  GO(aon_store_begin(store, &l->branch, AON_MARKER_COMMIT, &transaction, error));
  aon_result result = aon_store_apply(store, transaction, write, 1, NULL, &failed, error);
  if (result) {
    aon_store_abort(store, transaction);
    return result;
  }
  result = aon_store_prepare(store, transaction, error);
  l->prepared = !result;
  l->unknown = result == AON_UNKNOWN;
  return result;
}

static aon_result prepare_well(life *l, aon_store *store, uint32_t *attempt, const aon_write *write, aon_error *error) {
  plant(l);
  aon_result result = prepare_it(l, store, *attempt, write, error);
  if (!failed_by_it(l, result, error, "preparing"))
    return result;
  is_true(l);
  return prepare_it(l, store, ++*attempt, write, error);
}

static aon_result prepared_life(life *l, aon_store *store, const aon_image *pair, uint32_t done, aon_error *error) {
  const aon_write write = write_of(&l->pairs, "2:y", *pair, (aon_image){0}, 6);
  uint32_t attempt = l->attempt + 4;
  aon_branch_state state;
  GO(prepare_well(l, store, &attempt, &write, error));
  aon_branch of = branch(attempt);
  TRY(aon_store_resolve(store, &of, &state, error));
  assert_int_equal(state, AON_BRANCH_PREPARED);
  TRY(aon_store_abort_prepared(store, &of, error));
  l->under_way = false;
  TRY(end_again(store, attempt, false, NULL, error));
  TRY(end_again(store, attempt, true, "prepared_lost", error));
  TRY(end_again(store, done, true, NULL, error));
  TRY(end_again(store, done, false, "already_committed", error));
  return AON_OK;
}

static aon_result write_life(life *l, aon_store *store, aon_arena *arena, uint32_t *attempt, aon_error *error) {
  aon_image a, changed, again, b, pair;
  TRY(read_now(store, &l->items, "a", arena, &a, error));
  GO(with_note(l->note, &a, "New", arena, &changed, error));
  TRY(normal_item(store, l, arena, &b, error));
  if (!l->normal) /* of the first life, where nothing fails */
    assert_non_null(l->normal = strdup(json_of(&l->w, &b)));
  else if (l->nth || calls_failed())
    assert_string_equal(json_of(&l->w, &b), l->normal);
  TRY(aon_store_normalise(store, &l->pairs, text("2:y"), &l->new_pair, arena, &pair, error));
  const aon_write first[] = {write_of(&l->items, "a", a, changed, 0), write_of(&l->items, "b", (aon_image){0}, b, 1),
                             write_of(&l->pairs, "2:y", (aon_image){0}, pair, 2)};
  GO(write_well(l, store, &attempt[0], AON_MARKER_COMMIT, first, 3, error));
  if (aon_store_capabilities(store)->store_class == AON_CLASS_PREPARED)
    GO(prepared_life(l, store, &pair, attempt[0], error));
  TRY(search(store, &l->items, l->note, "New", 1, error));
  TRY(read_now(store, &l->items, "a", arena, &again, error));
  TRY(read_now(store, &l->items, "b", arena, &b, error));
  const aon_write second[] = {write_of(&l->items, "a", again, (aon_image){0}, 3), write_of(&l->items, "b", b, (aon_image){0}, 4)};
  attempt[1] = attempt[0] + 1;
  GO(write_well(l, store, &attempt[1], AON_MARKER_COMMIT, second, 2, error));
  const aon_write back[] = {write_of(&l->items, "b", (aon_image){0}, b, 4), write_of(&l->items, "a", (aon_image){0}, again, 3)};
  GO(write_well(l, store, &attempt[1], AON_MARKER_UNDONE, back, 2, error));
  if (aon_store_capabilities(store)->finishes)
    GO(delete_for_good(l, store, &b, error));
  TRY(search(store, &l->pairs, l->v, "two", 1, error));
  return AON_OK;
}

static aon_result examine(aon_store *store, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  bool healthy;
  GO(aon_store_examine(store, &report, &healthy, error));
  if (!healthy && !calls_failed()) /* one that could not be looked at is a finding too */
    fail_msg("not healthy: %s", report.data);
  return AON_OK;
}

static aon_result look_life(life *l, aon_store *store, const uint32_t *attempt, aon_error *error) {
  const aon_shape *shape;
  TRY(aon_store_describe(store, &l->items, &shape, error));
  if (of_columns(l)) /* what a write would do beside is known, whatever failed while it was looked for */
    assert_true(shape->delete_effect && shape->write_effect);
  TRY(aon_store_describe(store, &l->pairs, &shape, error));
  if (aon_store_capabilities(store)->store_class <= AON_CLASS_BATCH) {
    static const aon_branch_state wanted[] = {AON_BRANCH_COMMITTED, AON_BRANCH_UNDONE, AON_BRANCH_ABORTED};
    const uint32_t attempts[] = {attempt[0], attempt[1], l->attempt + ATTEMPTS - 1};
    for (int i = 0; i < 3; i++) {
      aon_branch of = branch(attempts[i]);
      aon_branch_state state;
      TRY(aon_store_resolve(store, &of, &state, error));
      assert_int_equal(state, wanted[i]);
    }
    TRY(is_fenced(store, attempts[2], AON_MARKER_COMMIT, error));
    TRY(is_fenced(store, attempts[2], AON_MARKER_UNDONE, error));
    TRY(aon_store_forget(store, aon_now_ms(l->w.env), error));
  }
  TRY(look_up(l, store, &l->items, l->note, error));
  TRY(examine(store, error));
  return AON_OK;
}

static aon_result open_it(life *l, aon_store **ret_store, aon_error *error) {
  aon_result result;
  open_store(l, ret_store, &result, error);
  return result;
}

static aon_result open_well(life *l, aon_store **ret_store, aon_error *error) {
  TRY(open_it(l, ret_store, error));
  return AON_OK;
}

static aon_result lead(life *l, aon_arena *arena, aon_error *error) {
  aon_store *store;
  uint32_t attempt[2] = {l->attempt, l->attempt + 1};
  l->under_way = false;
  aon_result result = open_well(l, &store, error);
  if (result)
    return result;
  result = write_life(l, store, arena, attempt, error);
  if (!result)
    result = look_life(l, store, attempt, error);
  aon_store_close(store);
  return result;
}

/* ---- and all of its faults ---- */

static bool of_sqlite(int kind) { return kind == CALL_STEP || kind == CALL_STATEMENT; }

/* Memory runs out at each piece of a description: it is told, and the next one lacks nothing, neither an effect nor a default. */
static void each_description(life *l) {
  begin_anew(l);
  for (int nth = 1, failed = 1; failed; nth++) {
    AON_ARENA_CLEANUP aon_arena arena = {0};
    aon_error error = AON_ERROR_INIT;
    const aon_shape *shape;
    aon_image made;
    aon_store *store = sound_store(l);
    snprintf(about, sizeof about, "%s, piece %d of a description", l->fixture->name, nth);
    calls_fail(CALL_PIECE, nth);
    aon_result result = aon_store_describe(store, &l->items, &shape, &error);
    failed = calls_end();
    says_why("", result, &error);
    OK(&l->w, aon_store_describe(store, &l->items, &shape, &l->w.error));
    assert_true(shape->delete_effect && shape->write_effect);
    OK(&l->w, normal_item(store, l, &arena, &made, &l->w.error));
    assert_string_equal(json_of(&l->w, &made), l->normal);
    aon_store_close(store);
  }
}

static void each_nth_again(life *l, int kind) {
  const int fewer = on_server(l) ? 4 : getenv("AON_CALLS_MORE") ? 64 : 8;
  l->kind = kind;
  l->nth = on_server(l) && of_sqlite(kind) ? 0 : 1;
  for (l->met = 1; l->nth && l->met; l->nth = calls_next(l->nth, fewer)) {
    AON_ARENA_CLEANUP aon_arena arena = {0};
    aon_error error = AON_ERROR_INIT;
    snprintf(about, sizeof about, "%s%s, %s %d of each call", l->fixture->name, l->silent ? ", silent" : "", kind_name(kind), l->nth);
    l->met = 0;
    begin_anew(l);
    if (lead(l, &arena, l->silent ? NULL : &error))
      fail_msg("%s: %s %s", about, error.code, error.sentence);
    l->attempt += ATTEMPTS;
  }
  l->nth = 0;
}

static void each_call_again(life *l) {
  if (of_postgresql(l) && !calls_full() && !getenv("AON_CALLS_MORE")) /* minutes on a busy machine */
    return;
  for (int silent = 0; silent < (of_postgresql(l) || l->fixture->kind <= COLUMNS ? 2 : 1); silent++) {
    l->silent = silent;
    for (int kind = 0; kind < EXCHANGES; kind++)
      each_nth_again(l, kind);
  }
  l->silent = false;
}

static void each_fault(void **state) {
  life *l = calloc(1, sizeof *l);
  life_open(l, *state);
  for (int kind = 0; kind < EXCHANGES; kind++) {
    if (on_server(l) && of_sqlite(kind)) /* SQLite has no part in it */
      continue;
    for (int nth = 0;; nth = calls_next(nth, on_server(l) ? (of_postgresql(l) ? 2 : 1) : 8)) { /* the 0th: without a fault */
      AON_ARENA_CLEANUP aon_arena arena = {0};
      aon_error error = AON_ERROR_INIT;
      snprintf(about, sizeof about, "%s, %s %d", l->fixture->name, kind_name(kind), nth);
      begin_anew(l);
      calls_fail(kind, nth);
      aon_result result = lead(l, &arena, &error);
      bool failed = calls_end();
      if (!nth && result)
        fail_msg("%s: %s %s", about, error.code, error.sentence);
      says_why("", result, &error);
      is_true(l);
      l->attempt += ATTEMPTS;
      if (nth && !failed)
        break;
    }
  }
  each_call_again(l);
  if (of_columns(l))
    each_description(l);
  begin_anew(l);
  AON_ARENA_CLEANUP aon_arena arena = {0};
  OK(&l->w, lead(l, &arena, &l->w.error));
  life_close(l);
  free(l);
}

static int run(fixture *fixtures, size_t count) {
  int failures = 0;
  for (size_t i = 0; i < count; i++) {
    const struct CMUnitTest tests[] = {{fixtures[i].name, each_fault, NULL, NULL, &fixtures[i]}};
    failures += cmocka_run_group_tests(tests, NULL, NULL);
  }
  return failures != 0;
}

int main(int count, char **arguments) {
  static fixture postgresql[] = {{"postgresql, documents", PG_DOCUMENTS, {0}}, {"postgresql, columns", PG_COLUMNS, {0}}};
  static fixture fixtures[] = {
      {"sqlite, documents", DOCUMENTS, {0}},
      {"sqlite, columns", COLUMNS, {0}},
      {"memory, class 1", MEMORY, {.store_class = AON_CLASS_PREPARED, .tokens = true}},
      {"memory, class 2", MEMORY, {.store_class = AON_CLASS_TRANSACTION, .one_writer = true}},
      {"memory, class 3", MEMORY, {.store_class = AON_CLASS_BATCH, .tokens = true}},
      {"memory, class 4", MEMORY, {.store_class = AON_CLASS_CONDITIONAL, .tokens = true, .drop_empty = true}},
      {"memory, class 5", MEMORY, {.store_class = AON_CLASS_PLAIN}},
      {"callbacks", CALLBACK, {0}},
  };
  static fixture mongodb[] = {{"mongodb", MONGODB, {0}}}, rtdb[] = {{"rtdb", RTDB, {0}}}, firestore[] = {{"firestore", FIRESTORE, {0}}},
                 auth[] = {{"auth", AUTH, {0}}};
  if (count > 1 && !strcmp(arguments[1], "postgresql"))
    return pg_there("store fails postgresql") ? run(postgresql, sizeof postgresql / sizeof *postgresql) : 77;
  if (count > 1 && !strcmp(arguments[1], "mongodb")) {
    const char *kind = getenv("AON_TEST_MONGODB_KIND");
    if (kind && !strcmp(kind, "alone") && !getenv("AON_CALLS_MORE") && !calls_full()) {
      printf("skipped: store fails mongodb alone: the server takes a minute for it; AON_FULL=1 or AON_CALLS_MORE=1 runs it\n");
      return 77;
    }
    return mdb_there("store fails mongodb") ? run(mongodb, 1) : 77;
  }
  if (count > 1 && !strcmp(arguments[1], "rtdb"))
    return run(rtdb, 1);
  if (count > 1 && !strcmp(arguments[1], "auth"))
    return run(auth, 1);
  if (count > 1 && !getenv("AON_CALLS_MORE") && !calls_full()) {
    printf("skipped: store fails firestore: the emulator takes a minute for it; AON_FULL=1 or AON_CALLS_MORE=1 runs it\n");
    return 77;
  }
  if (count > 1)
    return run(firestore, 1);
  return run(fixtures, sizeof fixtures / sizeof *fixtures);
}
