/* The one suite that every store passes: SQLite document tables and column tables, memory in classes 1 to 5, callbacks; one with the
 * tracing and the fault-injecting decorator around it, which change nothing while no fault is due; with the argument postgresql,
 * PostgreSQL's (tests/servers/postgresql starts one, with prepared transactions and without); with rtdb the Realtime Database's
 * (tests/servers/rtdb starts a double), with firestore that of Firestore, with auth that of Firebase Auth (tests/servers/firestore and
 * tests/servers/firebase-auth start Google's emulators); with mongodb that of MongoDB. A case that does not hold in a place is left out by
 * name, and says why.
 * Everything runs under the asserting decorator, so the contract is watched from both sides meanwhile. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aon/callback.h"
#include "model/document.h"
#include "mongodb_world.h"
#include "postgresql_world.h"
#include "store/fault.h"
#include "store/memory.h"
#include "store/trace.h"
#include "world.h"

typedef struct fixture {
  const char *name;
  enum { DOCUMENTS, COLUMNS, MEMORY, CALLBACK, PG_DOCUMENTS, PG_PLAIN_DOCUMENTS, PG_COLUMNS, MONGODB, RTDB, FIRESTORE, AUTH } kind;
  aon_memory_config memory;
  bool decorated, exclusive;
} fixture;

typedef struct subject {
  world w;
  const fixture *fixture;
  aon_store *store, *other; /* two workers on the same database */
  aon_memory_database *memory;
  aon_callbacks callbacks;
  aon_trace trace;
  aon_fault fault;
  aon_collection items;
  aon_store_class class;
  pg_world pg;
  char location[64]; /* of a Firebase database of its own */
  mdb_world mdb;
} subject;

/* ---- the callback store's own little database: a memory store that its functions use ---- */

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
  aon_arena arena = {0};
  aon_image found;
  bson_t view;
  snprintf(id, sizeof id, "%.*s", (int)asked.length, asked.data);
  aon_result result = aon_memory_look(context, collection, id, &arena, &found, error);
  *ret_exists = !result && found.bson && aon_image_view(&found, &view) && bson_concat(document, &view);
  aon_arena_release(&arena);
  return result;
}

static aon_result callback_scan(void *context, const char *collection, aon_callback_found found, void *found_context, aon_error *error) {
  static const char *const ids[] = {"a", "b", "c", "d", "e"};
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

/* ---- set-up ---- */

static bool of_postgresql(const subject *s) { return s->fixture->kind >= PG_DOCUMENTS && s->fixture->kind <= PG_COLUMNS; }
static bool of_mongodb(const subject *s) { return s->fixture->kind == MONGODB; }
static bool of_columns(const subject *s) { return s->fixture->kind == COLUMNS || s->fixture->kind == PG_COLUMNS; }

static void open_both(subject *s) {
  const aon_store_adapter *adapter = &aon_sqlite_adapter;
  const void *options = NULL;
  const char *location = world_path(&s->w, "s.db");
  if (s->fixture->kind == MEMORY) {
    adapter = &aon_memory_adapter;
    options = s->memory;
  } else if (s->fixture->kind == CALLBACK) {
    adapter = &aon_callback_adapter;
    options = &s->callbacks;
  } else if (s->fixture->kind == RTDB) {
    adapter = &aon_rtdb_adapter;
    location = s->location;
  } else if (s->fixture->kind == FIRESTORE) {
    adapter = &aon_firestore_adapter;
    location = s->location;
  } else if (s->fixture->kind == AUTH) {
    adapter = &aon_auth_adapter;
    location = s->location;
  } else if (of_postgresql(s)) {
    adapter = &aon_postgresql_adapter;
    location = s->pg.location;
  } else if (of_mongodb(s)) {
    adapter = &aon_mongodb_adapter;
    location = s->mdb.location;
  }
  if (s->fixture->decorated) {
    s->fault = (aon_fault){.inner = adapter, .inner_options = options};
    s->trace = (aon_trace){.inner = &aon_fault_adapter, .inner_options = &s->fault};
    adapter = &aon_trace_adapter;
    options = &s->trace;
  }
  s->w.exclusive = s->fixture->exclusive;
  s->store = world_store(&s->w, adapter, options, "main", location, !of_columns(s));
  s->other = world_store(&s->w, adapter, options, "main", location, !of_columns(s));
}

static int set_up(void **state) {
  subject *s = calloc(1, sizeof *s);
  s->fixture = *state;
  world_open(&s->w);
  aon_memory_config memory = s->fixture->memory;
  if (s->fixture->kind == CALLBACK)
    memory.store_class = AON_CLASS_PLAIN;
  if (memory.store_class)
    OK(&s->w, aon_memory_new(&memory, &s->memory, &s->w.error));
  s->callbacks = (aon_callbacks){.version = AON_CALLBACKS_VERSION,
                                 .context = s->memory,
                                 .perform = callback_perform,
                                 .undo = callback_undo,
                                 .read = callback_read,
                                 .scan = callback_scan};
  if (s->fixture->kind == COLUMNS)
    sql(world_path(&s->w, "s.db"), "create table items(name text, id text primary key, n integer, note text collate nocase)");
  if (of_postgresql(s)) {
    pg_world_open(&s->pg);
    s->w.timeout_ms = 2000;
  }
  if (s->fixture->kind == PG_COLUMNS)
    pg_sql(&s->pg, "create collation nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
                   "create table items(name text, id text primary key, n bigint, note text collate nocase)");
  if (s->fixture->kind == PG_PLAIN_DOCUMENTS)
    pg_sql(&s->pg, "create table items(id text primary key, doc json)");
  if (s->fixture->kind == RTDB) {
    static unsigned number;
    snprintf(s->location, sizeof s->location, "//127.0.0.1/?ns=s%d-%u", (int)getpid(), ++number);
    s->w.timeout_ms = 5000;
  }
  if (s->fixture->kind == FIRESTORE || s->fixture->kind == AUTH) {
    static unsigned number;
    snprintf(s->location, sizeof s->location, "//demo-s%d-%u/", (int)getpid(), ++number);
    s->w.timeout_ms = 20000;
  }
  if (of_mongodb(s)) {
    mdb_world_open(&s->mdb);
    s->w.timeout_ms = 4000;
  }
  s->items = (aon_collection){.store = "main", .name = "items"};
  open_both(s);
  s->class = aon_store_capabilities(s->store)->store_class;
  *state = s;
  return 0;
}

/* Whatever was asked, and whatever failed: every connection has come back. */
static void assert_nothing_lent(const aon_store *store) {
  aon_pool_counts pool;
  if (!aon_pool_status(store, &pool))
    return;
  assert_int_equal(pool.idle, pool.total);
  assert_int_equal(pool.waiting, 0);
}

static int tear_down(void **state) {
  subject *s = *state;
  assert_nothing_lent(s->store);
  assert_nothing_lent(s->other);
  aon_store_close(s->store);
  aon_store_close(s->other);
  aon_memory_free(s->memory);
  if (of_postgresql(s))
    pg_world_close(&s->pg);
  if (of_mongodb(s))
    mdb_world_close(&s->mdb);
  world_close(&s->w);
  free(s);
  return 0;
}

static bool transactional(const subject *s) { return s->class <= AON_CLASS_BATCH; }

#define NEEDS(condition, why_not)                                                                                                          \
  do {                                                                                                                                     \
    if (!(condition)) {                                                                                                                    \
      print_message("left out: %s: %s\n", __func__, why_not);                                                                              \
      skip();                                                                                                                              \
    }                                                                                                                                      \
  } while (0)

/* ---- documents ---- */

/* Accounts have no free properties: name is the displayName, note the photoURL, n the claim n, and a verified address where it is 1, since
 * claims can't be searched. What is an account's already stays. */
static const char *account_of(subject *s, const char *id, const char *json) {
  bson_t document, account = BSON_INITIALIZER, claims;
  bson_iter_t at;
  aon_buffer out = {0};
  OK(&s->w, aon_document_from_json(json, strlen(json), &document, &s->w.error));
  assert_true(bson_iter_init(&at, &document));
  while (bson_iter_next(&at)) {
    const char *key = bson_iter_key(&at);
    if (strcmp(key, "n") != 0) {
      assert_true(bson_append_iter(&account, !strcmp(key, "name") ? "displayName" : !strcmp(key, "note") ? "photoURL" : key, -1, &at));
      continue;
    }
    if (bson_iter_as_int64(&at) == 1) {
      BSON_APPEND_UTF8(&account, "email", aon_arena_format(&s->w.arena, "%s@example.com", id));
      BSON_APPEND_BOOL(&account, "emailVerified", true);
    }
    BSON_APPEND_DOCUMENT_BEGIN(&account, "customClaims", &claims);
    assert_true(bson_append_iter(&claims, key, -1, &at));
    assert_true(bson_append_document_end(&account, &claims));
  }
  OK(&s->w, aon_document_to_json(&account, &out, &s->w.error));
  const char *kept = aon_arena_text(&s->w.arena, out.data, out.length);
  aon_buffer_release(&out);
  bson_destroy(&account);
  bson_destroy(&document);
  return kept;
}

static aon_match match_of(const subject *s, const char *property, const char *value) {
  if (s->fixture->kind != AUTH)
    return (aon_match){property, text(value)};
  if (!strcmp(property, "n"))
    return (aon_match){"emailVerified", text(!strcmp(value, "1") ? "true" : "false")};
  return (aon_match){!strcmp(property, "name") ? "displayName" : "photoURL", text(value)};
}

static aon_image made(subject *s, const char *id, const char *json) {
  return normal(&s->w, s->store, &s->items, id, s->fixture->kind == AUTH ? account_of(s, id, json) : json);
}

static aon_image put(subject *s, const char *id, const char *json) {
  aon_image wanted = made(s, id, json);
  aon_write write = write_of(&s->items, id, (aon_image){0}, wanted, 0);
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  return look(&s->w, s->store, &s->items, id);
}

static const aon_image absent = {0};

/* ---- reading and writing ---- */

static void reads_as_empty(void **state) {
  subject *s = *state;
  aon_text ids[2] = {text("a"), text("b")};
  aon_image images[2];
  OK(&s->w, aon_store_read(s->store, &s->items, ids, 2, &s->w.arena, images, &s->w.error));
  assert_null(images[0].bson);
  assert_null(images[1].bson);
  const aon_shape *shape;
  OK(&s->w, aon_store_describe(s->store, &s->items, &shape, &s->w.error));
  assert_int_equal(shape->document_table, !of_columns(s));
}

static void gives_back_what_normalise_said(void **state) {
  subject *s = *state;
  aon_image wanted = made(s, "a", "{\"name\":\"Anna\",\"n\":7}");
  aon_image found = put(s, "a", "{\"name\":\"Anna\",\"n\":7}");
  assert_same(&s->w, &found, &wanted);
  aon_image again = made(s, "a", json_of(&s->w, &found));
  assert_same(&s->w, &again, &found);
  found = look(&s->w, s->other, &s->items, "a");
  assert_same(&s->w, &found, &wanted);
}

static void creates_once(void **state) {
  subject *s = *state;
  aon_image first = put(s, "a", "{\"name\":\"Anna\"}");
  aon_write again = write_of(&s->items, "a", absent, made(s, "a", "{\"name\":\"Otto\"}"), 41);
  FAILS(&s->w, apply_now(&s->w, s->other, &again, 1), AON_PERMANENT, "duplicate");
  aon_image now = look(&s->w, s->store, &s->items, "a");
  assert_same(&s->w, &now, &first);
}

static void names_the_operation(void **state) {
  subject *s = *state;
  put(s, "b", "{\"n\":1}");
  aon_write writes[2] = {write_of(&s->items, "a", absent, made(s, "a", "{\"n\":1}"), 16),
                         write_of(&s->items, "b", absent, made(s, "b", "{\"n\":2}"), 17)};
  aon_result result = apply_now(&s->w, s->store, writes, 2);
  assert_int_equal(result, AON_PERMANENT);
  assert_int_equal(s->w.error.operation, 17);
  s->w.error = (aon_error)AON_ERROR_INIT;
  aon_image first = look(&s->w, s->store, &s->items, "a");
  assert_int_equal(first.bson == NULL, transactional(s)); /* without transactions the first one stands */
}

static void updates_what_is_expected(void **state) {
  subject *s = *state;
  aon_image before = put(s, "a", "{\"name\":\"Anna\",\"n\":1}");
  aon_image after = made(s, "a", "{\"name\":\"Anna\",\"n\":2,\"note\":\"x\"}");
  aon_write write = write_of(&s->items, "a", before, after, 0);
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  aon_image now = look(&s->w, s->other, &s->items, "a");
  assert_same(&s->w, &now, &after);
}

static void refuses_what_changed_meanwhile(void **state) {
  subject *s = *state;
  aon_image before = put(s, "a", "{\"name\":\"Anna\",\"note\":\"x\"}");
  aon_image theirs = made(s, "a", "{\"name\":\"Anna\",\"note\":\"X\"}"); /* another case is another value, whatever the collation */
  aon_write foreign = write_of(&s->items, "a", before, theirs, 0);
  OK(&s->w, apply_now(&s->w, s->other, &foreign, 1));
  aon_write update = write_of(&s->items, "a", before, made(s, "a", "{\"name\":\"Otto\"}"), 3);
  FAILS(&s->w, apply_now(&s->w, s->store, &update, 1), AON_PERMANENT, "changed_meanwhile");
  aon_write delete = write_of(&s->items, "a", before, absent, 3);
  FAILS(&s->w, apply_now(&s->w, s->store, &delete, 1), AON_PERMANENT, "changed_meanwhile");
  aon_image now = look(&s->w, s->store, &s->items, "a");
  assert_same(&s->w, &now, &theirs);
}

static void refuses_what_is_gone(void **state) {
  subject *s = *state;
  aon_image before = put(s, "a", "{\"name\":\"Anna\"}");
  aon_write delete = write_of(&s->items, "a", before, absent, 0);
  OK(&s->w, apply_now(&s->w, s->other, &delete, 1));
  FAILS(&s->w, apply_now(&s->w, s->store, &delete, 1), AON_PERMANENT, "changed_meanwhile");
  aon_write update = write_of(&s->items, "a", before, before, 0);
  FAILS(&s->w, apply_now(&s->w, s->store, &update, 1), AON_PERMANENT, "changed_meanwhile");
  aon_image now = look(&s->w, s->store, &s->items, "a");
  assert_null(now.bson);
}

/* The coordinator goes back by writing the before image under the condition that the after image, as read, still stands. */
static void goes_back(void **state) {
  subject *s = *state;
  aon_image before = put(s, "a", "{\"name\":\"Anna\",\"n\":1}");
  aon_write there[3] = {write_of(&s->items, "a", before, made(s, "a", "{\"n\":2}"), 0),
                        write_of(&s->items, "b", absent, made(s, "b", "{\"n\":3}"), 1)};
  OK(&s->w, apply_now(&s->w, s->store, there, 2));
  aon_write back[2] = {write_of(&s->items, "b", look(&s->w, s->store, &s->items, "b"), absent, 1),
                       write_of(&s->items, "a", look(&s->w, s->store, &s->items, "a"), before, 0)};
  back[0].compensates = back[1].compensates = true;
  OK(&s->w, apply_now(&s->w, s->store, back, 2));
  aon_image a = look(&s->w, s->other, &s->items, "a"), b = look(&s->w, s->other, &s->items, "b");
  assert_same(&s->w, &a, &before);
  assert_null(b.bson);
}

static void chains_within_one_call(void **state) {
  subject *s = *state;
  aon_image one = made(s, "a", "{\"n\":1}"), two = made(s, "a", "{\"n\":2}");
  aon_write writes[4] = {write_of(&s->items, "a", absent, one, 0), write_of(&s->items, "a", one, two, 1),
                         write_of(&s->items, "a", two, absent, 2), write_of(&s->items, "a", absent, one, 3)};
  OK(&s->w, apply_now(&s->w, s->store, writes, 4));
  aon_image now = look(&s->w, s->other, &s->items, "a");
  assert_same(&s->w, &now, &one);
}

static void stamps(void **state) {
  subject *s = *state;
  NEEDS(!of_columns(s), "a table of columns has none for it");
  NEEDS(s->fixture->kind != CALLBACK, "an embedding program's functions stamp by themselves");
  aon_write write = write_of(&s->items, "a", absent, made(s, "a", "{\"n\":1}"), 0);
  write.stamp = "the-bulk-id";
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  bool account = s->fixture->kind == AUTH;
  const char *stamped =
      account ? "{\"uid\":\"a\",\"email\":\"a@example.com\",\"emailVerified\":true,\"disabled\":false,\"customClaims\":{\"n\":1},"
                "\"_bulkOperationId\":\"the-bulk-id\"}"
              : "{\"n\":1,\"_bulkOperationId\":\"the-bulk-id\"}";
  aon_image now = look(&s->w, s->store, &s->items, "a"), wanted = image(&s->w, stamped);
  assert_same(&s->w, &now, &wanted);
}

static void refuses_an_empty_id(void **state) {
  subject *s = *state;
  bson_t document = BSON_INITIALIZER;
  aon_image ignored;
  FAILS(&s->w, aon_store_normalise(s->store, &s->items, text(""), &document, &s->w.arena, &ignored, &s->w.error), AON_REJECTED,
        "bad_format");
  bson_destroy(&document);
}

static void keeps_odd_ids_and_texts(void **state) {
  subject *s = *state;
  static const char *const ids[] = {"a b", "O'Neil \"x\"", "é:%3A", "%", "0012", "x;drop table items", "\xf0\x9f\x98\x80"};
  const char *json = "{\"name\":\"é \\\" \\\\ \\u0000 \\n\",\"n\":-9223372036854775808}";
  if (s->fixture->kind == PG_COLUMNS) /* PostgreSQL has no NUL in a text */
    json = "{\"name\":\"é \\\" \\\\ \\n\",\"n\":-9223372036854775808}";
  if (s->fixture->kind == RTDB) /* a Realtime Database has doubles only */
    json = "{\"name\":\"é \\\" \\\\ \\u0000 \\n\",\"n\":-9007199254740992}";
  for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
    aon_image found = put(s, ids[i], json), wanted = made(s, ids[i], json);
    assert_same(&s->w, &found, &wanted);
  }
}

/* ---- scan ---- */

typedef struct seen {
  char ids[64];
  size_t count, stop_after;
  aon_result stop_with;
} seen;

static aon_result see(void *context, const aon_found *found, aon_error *error) {
  seen *all = context;
  char id[16];
  snprintf(id, sizeof id, "%.*s", (int)found->id.length, found->id.data);
  size_t at = 0; /* in the order of the alphabet, since a scan has none */
  while (all->ids[at] && all->ids[at] < id[0])
    at++;
  memmove(all->ids + at + 1, all->ids + at, strlen(all->ids + at) + 1);
  all->ids[at] = id[0];
  if (++all->count != all->stop_after)
    return AON_OK;
  return all->stop_with == AON_END ? AON_END : aon_fail(error, all->stop_with, "enough", "That is enough.");
}

static const char *scanned(subject *s, const aon_match *matches, size_t count, seen *all) {
  const char *const names[] = {match_of(s, "name", "").property, NULL};
  memset(all, 0, sizeof *all);
  OK(&s->w, aon_store_scan(s->store, &s->items, matches, count, names, see, all, &s->w.error));
  return all->ids;
}

static void finds_what_matches(void **state) {
  subject *s = *state;
  seen all;
  assert_string_equal(scanned(s, NULL, 0, &all), "");
  put(s, "a", "{\"name\":\"Anna\",\"n\":1}");
  put(s, "b", "{\"name\":\"Otto\",\"n\":1}");
  put(s, "c", "{\"name\":\"Anna\",\"n\":12}");
  put(s, "d", "{\"name\":\"anna\",\"note\":\"Anna\"}");
  assert_string_equal(scanned(s, NULL, 0, &all), "abcd");
  aon_match matches[2] = {match_of(s, "name", "Anna"), match_of(s, "n", "1")};
  assert_string_equal(scanned(s, matches, 1, &all), "ac");
  assert_string_equal(scanned(s, matches + 1, 1, &all), "ab");
  assert_string_equal(scanned(s, matches, 2, &all), "a");
  matches[0].value = text("nobody");
  assert_string_equal(scanned(s, matches, 1, &all), "");
  matches[0] = match_of(s, "note", "ANNA");
  assert_string_equal(scanned(s, matches, 1, &all), "");
}

static void stops_where_told(void **state) {
  subject *s = *state;
  put(s, "a", "{\"n\":1}");
  put(s, "b", "{\"n\":1}");
  seen all = {.stop_after = 1, .stop_with = AON_END};
  OK(&s->w, aon_store_scan(s->store, &s->items, NULL, 0, NULL, see, &all, &s->w.error));
  assert_int_equal(all.count, 1);
  all = (seen){.stop_after = 1, .stop_with = AON_REJECTED};
  FAILS(&s->w, aon_store_scan(s->store, &s->items, NULL, 0, NULL, see, &all, &s->w.error), AON_REJECTED, "enough");
  aon_image still = put(s, "c", "{\"n\":1}"); /* nothing is left open by it */
  assert_non_null(still.bson);
}

static aon_result read_within(void *context, const aon_found *found, aon_error *error) {
  subject *s = context;
  aon_image now;
  return aon_store_read(s->store, &s->items, &found->id, 1, &s->w.arena, &now, error);
}

static void reads_within_a_scan(void **state) {
  subject *s = *state;
  for (int i = 0; i < 5; i++)
    put(s, (char[]){(char)('a' + i), 0}, "{\"n\":1}");
  OK(&s->w, aon_store_scan(s->store, &s->items, NULL, 0, NULL, read_within, s, &s->w.error));
}

static void gives_images_that_a_write_can_expect(void **state) {
  subject *s = *state;
  put(s, "a", "{\"name\":\"Anna\"}");
  aon_image now = look(&s->w, s->other, &s->items, "a");
  aon_write write = write_of(&s->items, "a", now, made(s, "a", "{\"name\":\"Otto\"}"), 0);
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
}

/* ---- transactions and markers ---- */

static aon_transaction *begun(subject *s, aon_store *store, uint32_t attempt, aon_marker marker) {
  aon_transaction *transaction;
  aon_branch own = branch(attempt);
  OK(&s->w, aon_store_begin(store, &own, marker, &transaction, &s->w.error));
  return transaction;
}

static void apply_one(subject *s, aon_store *store, aon_transaction *transaction, aon_write write) {
  size_t failed;
  OK(&s->w, aon_store_apply(store, transaction, &write, 1, NULL, &failed, &s->w.error));
}

static aon_branch_state resolved(subject *s, aon_store *store, uint32_t attempt) {
  aon_branch_state found;
  aon_branch own = branch(attempt);
  OK(&s->w, aon_store_resolve(store, &own, &found, &s->w.error));
  return found;
}

static void isolates(void **state) {
  subject *s = *state;
  NEEDS(transactional(s), "the store has no transactions");
  aon_transaction *transaction = begun(s, s->store, 1, AON_MARKER_COMMIT);
  apply_one(s, s->store, transaction, write_of(&s->items, "a", absent, made(s, "a", "{\"n\":1}"), 0));
  aon_image inside = look(&s->w, s->store, &s->items, "a"), outside = look(&s->w, s->other, &s->items, "a");
  assert_non_null(inside.bson);
  assert_null(outside.bson);
  aon_store_abort(s->store, transaction);
  inside = look(&s->w, s->store, &s->items, "a");
  assert_null(inside.bson);
  transaction = begun(s, s->store, 1, AON_MARKER_COMMIT); /* its marker went with it */
  apply_one(s, s->store, transaction, write_of(&s->items, "a", absent, made(s, "a", "{\"n\":1}"), 0));
  OK(&s->w, aon_store_commit(s->store, transaction, &s->w.error));
  outside = look(&s->w, s->other, &s->items, "a");
  assert_non_null(outside.bson);
}

static void commits_once(void **state) {
  subject *s = *state;
  NEEDS(transactional(s), "the store has no transactions");
  OK(&s->w, aon_store_commit(s->store, begun(s, s->store, 1, AON_MARKER_COMMIT), &s->w.error));
  aon_branch own = branch(1);
  aon_transaction *transaction;
  FAILS(&s->w, aon_store_begin(s->other, &own, AON_MARKER_COMMIT, &transaction, &s->w.error), AON_FENCED, "fenced");
  assert_int_equal(resolved(s, s->other, 1), AON_BRANCH_COMMITTED);
  assert_int_equal(resolved(s, s->store, 1), AON_BRANCH_COMMITTED);
}

static void fences_who_was_resolved(void **state) {
  subject *s = *state;
  NEEDS(transactional(s), "the store has no transactions");
  assert_int_equal(resolved(s, s->other, 1), AON_BRANCH_ABORTED);
  assert_int_equal(resolved(s, s->store, 1), AON_BRANCH_ABORTED);
  aon_branch own = branch(1);
  aon_transaction *transaction;
  FAILS(&s->w, aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &transaction, &s->w.error), AON_FENCED, "fenced");
  FAILS(&s->w, aon_store_begin(s->store, &own, AON_MARKER_UNDONE, &transaction, &s->w.error), AON_FENCED, "fenced");
  aon_store_abort(s->store, begun(s, s->store, 2, AON_MARKER_COMMIT)); /* the next attempt is free */
}

static void turns_the_marker_when_undone(void **state) {
  subject *s = *state;
  NEEDS(transactional(s), "the store has no transactions");
  aon_branch own = branch(1);
  aon_transaction *transaction;
  FAILS(&s->w, aon_store_begin(s->store, &own, AON_MARKER_UNDONE, &transaction, &s->w.error), AON_FENCED, "fenced");
  OK(&s->w, aon_store_commit(s->store, begun(s, s->store, 1, AON_MARKER_COMMIT), &s->w.error));
  aon_store_abort(s->store, begun(s, s->store, 1, AON_MARKER_UNDONE));
  assert_int_equal(resolved(s, s->store, 1), AON_BRANCH_COMMITTED);
  OK(&s->w, aon_store_commit(s->store, begun(s, s->store, 1, AON_MARKER_UNDONE), &s->w.error));
  assert_int_equal(resolved(s, s->store, 1), AON_BRANCH_UNDONE);
  FAILS(&s->w, aon_store_begin(s->store, &own, AON_MARKER_UNDONE, &transaction, &s->w.error), AON_FENCED, "fenced");
  FAILS(&s->w, aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &transaction, &s->w.error), AON_FENCED, "fenced");
}

/* A worker sleeps in its transaction; another one recovers. Either it is told to wait, or the sleeper's commit fails. */
static void never_both_aborted_and_committed(void **state) {
  subject *s = *state;
  NEEDS(transactional(s), "the store has no transactions");
  aon_transaction *zombie = begun(s, s->store, 1, AON_MARKER_COMMIT);
  apply_one(s, s->store, zombie, write_of(&s->items, "a", absent, made(s, "a", "{\"n\":1}"), 0));
  aon_branch_state found = resolved(s, s->other, 1);
  aon_result result = aon_store_commit(s->store, zombie, &s->w.error);
  if (found == AON_BRANCH_OPEN) {
    OK(&s->w, result);
    assert_int_equal(resolved(s, s->other, 1), AON_BRANCH_COMMITTED);
  } else {
    assert_int_equal(found, AON_BRANCH_ABORTED);
    FAILS(&s->w, result, AON_FENCED, "fenced");
    aon_image now = look(&s->w, s->other, &s->items, "a");
    assert_null(now.bson);
  }
}

static void lost_connection_rolls_back(void **state) {
  subject *s = *state;
  NEEDS(transactional(s), "the store has no transactions");
  aon_transaction *transaction = begun(s, s->store, 1, AON_MARKER_COMMIT);
  apply_one(s, s->store, transaction, write_of(&s->items, "a", absent, made(s, "a", "{\"n\":1}"), 0));
  aon_store_abort(s->store, transaction);
  aon_store_close(s->store);
  aon_store_close(s->other);
  open_both(s);
  assert_int_equal(resolved(s, s->store, 1), AON_BRANCH_ABORTED);
  aon_image now = look(&s->w, s->store, &s->items, "a");
  assert_null(now.bson);
}

static void keeps_young_markers(void **state) {
  subject *s = *state;
  NEEDS(transactional(s), "the store has no transactions");
  OK(&s->w, aon_store_commit(s->store, begun(s, s->store, 1, AON_MARKER_COMMIT), &s->w.error));
  OK(&s->w, aon_store_forget(s->store, INT64_MAX, &s->w.error)); /* however much is asked for */
  assert_int_equal(resolved(s, s->other, 1), AON_BRANCH_COMMITTED);
}

static void one_conflict_ends_it_all(void **state) {
  subject *s = *state;
  NEEDS(transactional(s), "the store has no transactions");
  put(s, "z", "{\"n\":0}");
  aon_transaction *transaction = begun(s, s->store, 1, AON_MARKER_COMMIT);
  apply_one(s, s->store, transaction, write_of(&s->items, "a", absent, made(s, "a", "{\"n\":1}"), 0));
  aon_write bad = write_of(&s->items, "z", absent, made(s, "z", "{\"n\":2}"), 9);
  size_t failed;
  aon_result result = aon_store_apply(s->store, transaction, &bad, 1, NULL, &failed, &s->w.error);
  if (result)
    aon_store_abort(s->store, transaction);
  else if (s->class == AON_CLASS_BATCH) /* its conditions may be asked with the commit only */
    result = aon_store_commit(s->store, transaction, &s->w.error);
  assert_int_equal(s->w.error.operation, 9);
  FAILS(&s->w, result, AON_PERMANENT, "duplicate");
  aon_image a = look(&s->w, s->other, &s->items, "a");
  assert_null(a.bson);
}

/* ---- class 1 ---- */

static aon_branch prepared_one(subject *s) {
  aon_transaction *transaction = begun(s, s->store, 1, AON_MARKER_COMMIT);
  apply_one(s, s->store, transaction, write_of(&s->items, "a", absent, made(s, "a", "{\"n\":1}"), 0));
  OK(&s->w, aon_store_flush(s->store, transaction, &s->w.error));
  OK(&s->w, aon_store_prepare(s->store, transaction, &s->w.error));
  assert_int_equal(resolved(s, s->other, 1), AON_BRANCH_PREPARED);
  aon_image now = look(&s->w, s->other, &s->items, "a");
  assert_null(now.bson);
  return branch(1);
}

static void commits_what_is_prepared(void **state) {
  subject *s = *state;
  NEEDS(s->class == AON_CLASS_PREPARED, "the store prepares no transactions");
  aon_branch own = prepared_one(s);
  OK(&s->w, aon_store_commit_prepared(s->other, &own, &s->w.error));
  OK(&s->w, aon_store_commit_prepared(s->store, &own, &s->w.error));
  FAILS(&s->w, aon_store_abort_prepared(s->store, &own, &s->w.error), AON_PERMANENT, "already_committed");
  assert_int_equal(resolved(s, s->other, 1), AON_BRANCH_COMMITTED);
  aon_image now = look(&s->w, s->other, &s->items, "a");
  assert_non_null(now.bson);
}

static void rolls_back_what_is_prepared(void **state) {
  subject *s = *state;
  NEEDS(s->class == AON_CLASS_PREPARED, "the store prepares no transactions");
  aon_branch own = prepared_one(s);
  OK(&s->w, aon_store_abort_prepared(s->other, &own, &s->w.error));
  OK(&s->w, aon_store_abort_prepared(s->store, &own, &s->w.error));
  FAILS(&s->w, aon_store_commit_prepared(s->store, &own, &s->w.error), AON_PERMANENT, "prepared_lost");
  assert_int_equal(resolved(s, s->other, 1), AON_BRANCH_ABORTED);
  aon_image now = look(&s->w, s->store, &s->items, "a");
  assert_null(now.bson);
}

static void refuses_what_its_class_lacks(void **state) {
  subject *s = *state;
  aon_branch own = branch(1);
  aon_branch_state found;
  aon_transaction *transaction;
  if (s->class != AON_CLASS_PREPARED)
    FAILS(&s->w, aon_store_commit_prepared(s->store, &own, &s->w.error), AON_USAGE, "not_supported");
  if (!transactional(s)) {
    FAILS(&s->w, aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &transaction, &s->w.error), AON_USAGE, "not_supported");
    FAILS(&s->w, aon_store_resolve(s->store, &own, &found, &s->w.error), AON_USAGE, "not_supported");
  }
}

/* ---- classes 4 and 5 ---- */

static void tells_what_became_of_each(void **state) {
  subject *s = *state;
  NEEDS(!transactional(s), "the store has transactions");
  put(s, "b", "{\"n\":1}");
  aon_write writes[3] = {write_of(&s->items, "a", absent, made(s, "a", "{\"n\":1}"), 0),
                         write_of(&s->items, "b", absent, made(s, "b", "{\"n\":1}"), 1),
                         write_of(&s->items, "c", absent, made(s, "c", "{\"n\":1}"), 2)};
  aon_write_state states[3];
  size_t failed;
  FAILS(&s->w, aon_store_apply(s->store, NULL, writes, 3, states, &failed, &s->w.error), AON_PERMANENT, "duplicate");
  assert_int_equal(failed, 1);
  assert_int_equal(states[0], AON_WRITE_APPLIED);
  assert_int_equal(states[1], AON_WRITE_REFUSED);
  aon_image c = look(&s->w, s->store, &s->items, "c");
  assert_int_equal(states[2] == AON_WRITE_APPLIED, c.bson != NULL);
}

/* What it deletes reads as absent at once, comes back whole, and goes for good only when it is told so. */
static void deletes_for_good_when_told(void **state) {
  subject *s = *state;
  NEEDS(aon_store_capabilities(s->store)->finishes, "the store deletes at once");
  aon_image before = put(s, "a", "{\"name\":\"Anna\",\"n\":1,\"note\":\"x\"}");
  aon_write delete = write_of(&s->items, "a", before, absent, 0), back = write_of(&s->items, "a", absent, before, 0);
  back.compensates = true;
  OK(&s->w, apply_now(&s->w, s->store, &delete, 1));
  aon_image now = look(&s->w, s->other, &s->items, "a");
  assert_null(now.bson);
  OK(&s->w, apply_now(&s->w, s->other, &back, 1));
  now = look(&s->w, s->store, &s->items, "a");
  assert_same(&s->w, &now, &before);
  aon_write finish = delete;
  finish.finishes = true;
  OK(&s->w, apply_now(&s->w, s->store, &finish, 1)); /* nothing is set aside: nothing goes */
  now = look(&s->w, s->other, &s->items, "a");
  assert_same(&s->w, &now, &before);
  OK(&s->w, apply_now(&s->w, s->store, &delete, 1));
  for (int i = 0; i < 2; i++)
    OK(&s->w, apply_now(&s->w, s->other, &finish, 1));
  now = put(s, "a", "{\"name\":\"Otto\"}");
  OK(&s->w, apply_now(&s->w, s->store, &finish, 1));
  aon_image still = look(&s->w, s->other, &s->items, "a");
  assert_same(&s->w, &still, &now);
}

static void examines(void **state) {
  subject *s = *state;
  put(s, "a", "{\"n\":1}");
  aon_buffer report = {0};
  bool healthy = false;
  OK(&s->w, aon_store_examine(s->store, &report, &healthy, &s->w.error));
  assert_true(healthy);
  assert_true(report.length > 10);
  aon_buffer_release(&report);
}

#define TEST(function)                                                                                                                     \
  { #function, function, set_up, tear_down, NULL }

static const struct CMUnitTest suite[] = {TEST(reads_as_empty),
                                          TEST(gives_back_what_normalise_said),
                                          TEST(creates_once),
                                          TEST(names_the_operation),
                                          TEST(updates_what_is_expected),
                                          TEST(refuses_what_changed_meanwhile),
                                          TEST(refuses_what_is_gone),
                                          TEST(goes_back),
                                          TEST(chains_within_one_call),
                                          TEST(stamps),
                                          TEST(refuses_an_empty_id),
                                          TEST(keeps_odd_ids_and_texts),
                                          TEST(finds_what_matches),
                                          TEST(stops_where_told),
                                          TEST(reads_within_a_scan),
                                          TEST(gives_images_that_a_write_can_expect),
                                          TEST(isolates),
                                          TEST(commits_once),
                                          TEST(fences_who_was_resolved),
                                          TEST(turns_the_marker_when_undone),
                                          TEST(never_both_aborted_and_committed),
                                          TEST(lost_connection_rolls_back),
                                          TEST(keeps_young_markers),
                                          TEST(one_conflict_ends_it_all),
                                          TEST(commits_what_is_prepared),
                                          TEST(rolls_back_what_is_prepared),
                                          TEST(refuses_what_its_class_lacks),
                                          TEST(tells_what_became_of_each),
                                          TEST(deletes_for_good_when_told),
                                          TEST(examines)};

#define SUITE (sizeof suite / sizeof *suite)

static int run(fixture *fixtures, size_t count) {
  int failures = 0;
  for (size_t i = 0; i < count; i++) {
    struct CMUnitTest tests[SUITE];
    memcpy(tests, suite, sizeof suite);
    for (size_t j = 0; j < SUITE; j++)
      tests[j].initial_state = &fixtures[i];
    failures += _cmocka_run_group_tests(fixtures[i].name, tests, SUITE, NULL, NULL);
  }
  return failures != 0;
}

int main(int count, char **arguments) {
  static fixture postgresql[] = {
      {"postgresql, document tables", PG_DOCUMENTS, {0}},
      {"postgresql, tables of id and json", PG_PLAIN_DOCUMENTS, {0}},
      {"postgresql, column tables", PG_COLUMNS, {0}},
  };
  static fixture mongodb[] = {
      {"mongodb", MONGODB, {0}},
  };
  static fixture fixtures[] = {
      {"sqlite, document tables", DOCUMENTS, {0}},
      {"sqlite, column tables", COLUMNS, {0}},
      {"memory, class 1", MEMORY, {.store_class = AON_CLASS_PREPARED}},
      {"memory, class 2", MEMORY, {.store_class = AON_CLASS_TRANSACTION, .one_writer = true}},
      {"memory, class 3", MEMORY, {.store_class = AON_CLASS_BATCH, .tokens = true}},
      {"memory, class 4", MEMORY, {.store_class = AON_CLASS_CONDITIONAL, .tokens = true, .drop_empty = true}},
      {"memory, class 5", MEMORY, {.store_class = AON_CLASS_PLAIN}},
      {"callback", CALLBACK, {0}},
      {"sqlite, decorated", DOCUMENTS, {0}, .decorated = true},
      {"memory, class 1, decorated", MEMORY, {.store_class = AON_CLASS_PREPARED}, .decorated = true},
  };
  static fixture rtdb[] = {
      {"realtime database", RTDB, {0}},
      {"realtime database, exclusive", RTDB, {0}, .exclusive = true},
      {"realtime database, decorated", RTDB, {0}, .decorated = true},
  };
  static fixture firestore[] = {
      {"firestore", FIRESTORE, {0}},
      {"firestore, decorated", FIRESTORE, {0}, .decorated = true},
  };
  static fixture auth[] = {
      {"firebase auth", AUTH, {0}},
      {"firebase auth, decorated", AUTH, {0}, .decorated = true},
  };
  if (count > 1 && !strcmp(arguments[1], "auth"))
    return run(auth, sizeof auth / sizeof *auth);
  if (count > 1 && !strcmp(arguments[1], "firestore"))
    return run(firestore, sizeof firestore / sizeof *firestore);
  if (count > 1 && !strcmp(arguments[1], "rtdb"))
    return run(rtdb, sizeof rtdb / sizeof *rtdb);
  if (count > 1 && !strcmp(arguments[1], "postgresql"))
    return pg_there("store conformance postgresql") ? run(postgresql, sizeof postgresql / sizeof *postgresql) : 77;
  if (count > 1 && !strcmp(arguments[1], "mongodb"))
    return mdb_there("store conformance mongodb") ? run(mongodb, sizeof mongodb / sizeof *mongodb) : 77;
  return run(fixtures, sizeof fixtures / sizeof *fixtures);
}
