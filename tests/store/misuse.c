/* Callers that break the contract of aon/store.h: places that are none, a transaction too many, one that has failed and is used on, writes
 * that say nothing, searches that a store can't do. Each is refused by code and sentence, changes nothing, and the store goes on. With the
 * argument postgresql, mongodb, rtdb or firestore: such a store, on a server that tests/servers starts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aon/callback.h"
#include "mongodb_world.h"
#include "postgresql_world.h"
#include "store/memory.h"
#include "world.h"

typedef struct fixture {
  const char *name;
  const aon_store_adapter *adapter;
  aon_store_class memory;
} fixture;

typedef struct subject {
  world w;
  pg_world pg;
  mdb_world mdb;
  const fixture *fixture;
  aon_memory_database *memory;
  aon_store *store; /* without the decorator that would end the test */
  aon_collection items;
  char location[64];
} subject;

static bool is(const subject *s, const char *kind) { return !strcmp(s->fixture->adapter->kind, kind); }

static const char *place_of(subject *s) {
  if (is(s, "postgresql"))
    return s->pg.location;
  if (is(s, "mongodb"))
    return s->mdb.location;
  return is(s, "sqlite") ? world_path(&s->w, "s.db") : s->location;
}

static aon_result open_at(subject *s, const char *location, aon_store **ret_store) {
  aon_store_config config = {.name = "main", .location = location, .create = true, .timeout_ms = 10000, .options = s->memory};
  s->w.error = (aon_error)AON_ERROR_INIT;
  return aon_store_open(s->w.env, s->fixture->adapter, &config, ret_store, &s->w.error);
}

static int set_up(void **state) {
  static unsigned number;
  subject *s = calloc(1, sizeof *s);
  s->fixture = *state;
  world_open(&s->w);
  number++;
  snprintf(s->location, sizeof s->location, is(s, "firebase-rtdb") ? "//127.0.0.1/?ns=m%d-%u" : "//demo-m%d-%u/", (int)getpid(), number);
  if (is(s, "postgresql"))
    pg_world_open(&s->pg);
  if (is(s, "mongodb"))
    mdb_world_open(&s->mdb);
  aon_memory_config memory = {.store_class = s->fixture->memory, .tokens = true, .batch_operations = 3};
  if (memory.store_class)
    OK(&s->w, aon_memory_new(&memory, &s->memory, &s->w.error));
  s->items = (aon_collection){.store = "main", .name = "items"};
  OK(&s->w, open_at(s, place_of(s), &s->store));
  *state = s;
  return 0;
}

static int tear_down(void **state) {
  subject *s = *state;
  aon_store_close(s->store);
  aon_memory_free(s->memory);
  if (is(s, "postgresql"))
    pg_world_close(&s->pg);
  if (is(s, "mongodb"))
    mdb_world_close(&s->mdb);
  world_close(&s->w);
  free(s);
  return 0;
}

static bool transactional(const subject *s) { return aon_store_capabilities(s->store)->store_class <= AON_CLASS_BATCH; }

#define IS(s, call, kind, code) FAILS(&(s)->w, ((s)->w.error = (aon_error)AON_ERROR_INIT, call), kind, code)

static aon_write create(subject *s, const char *id) {
  return write_of(&s->items, id, (aon_image){0}, normal(&s->w, s->store, &s->items, id, "{\"n\":1}"), 0);
}

static bool there(subject *s, const char *id) { return look(&s->w, s->store, &s->items, id).bson != NULL; }

/* ---- places ---- */

static void a_place_that_is_none_is_refused(void **state) {
  static const struct {
    const char *kind, *location, *code;
  } places[] = {{"sqlite", NULL, "bad_location"},
                {"sqlite", "", "bad_location"},
                {"sqlite", ":memory:", "bad_location"},
                {"postgresql", NULL, "bad_location"},
                {"postgresql", "", "bad_location"},
                {"postgresql", "//u@h:port/d", "bad_location"},
                {"mongodb", NULL, "bad_location"},
                {"mongodb", "//", "bad_location"},
                {"mongodb", "//127.0.0.1:1", "bad_location"},
                {"mongodb", "//127.0.0.1:1/", "bad_location"},
                {"firebase-rtdb", NULL, "bad_location"},
                {"firebase-rtdb", "host", "bad_location"},
                {"firebase-rtdb", "//", "bad_location"},
                {"firebase-rtdb", "///x", "bad_location"},
                {"firebase-rtdb", "//h/x", "bad_location"},
                {"firebase-rtdb", "//h/?ns=", "bad_location"},
                {"firebase-rtdb", "//h/?ns=a b", "bad_location"},
                {"firebase-rtdb", "//u@h/", "bad_location"},
                {"firestore", NULL, "bad_location"},
                {"firestore", "p", "bad_location"},
                {"firestore", "//", "bad_location"},
                {"firestore", "//p?x/", "bad_location"},
                {"firestore", "//p/d/e", "bad_location"},
                {"firebase-auth", NULL, "bad_location"},
                {"firebase-auth", "//", "bad_location"},
                {"firebase-auth", "//p@q", "bad_location"},
                {"firebase-auth", "//p/x", "bad_location"}};
  subject *s = *state;
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    aon_store *none = NULL;
    if (is(s, places[i].kind))
      IS(s, open_at(s, places[i].location, &none), AON_USAGE, places[i].code);
  }
}

/* ---- transactions ---- */

static aon_transaction *begin(subject *s, uint32_t attempt) {
  aon_branch own = branch(attempt);
  aon_transaction *transaction = NULL;
  OK(&s->w, aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &transaction, &s->w.error));
  return transaction;
}

static void one_transaction_at_a_time(void **state) {
  subject *s = *state;
  aon_transaction *other;
  size_t failed;
  aon_branch second = branch(2);
  if (!transactional(s))
    return;
  aon_write write = create(s, "a");
  aon_transaction *first = begin(s, 1);
  IS(s, aon_store_begin(s->store, &second, AON_MARKER_COMMIT, &other, &s->w.error), AON_USAGE, "transaction_open");
  OK(&s->w, aon_store_apply(s->store, first, &write, 1, NULL, &failed, &s->w.error));
  OK(&s->w, aon_store_commit(s->store, first, &s->w.error));
  assert_true(there(s, "a"));
}

static bool of_sql(const subject *s) { return is(s, "sqlite") || is(s, "postgresql"); }

/* Ended is ended: what comes after is told so, and takes nothing back. Whoever wants no sentence gets none. */
static void a_transaction_ends_once(void **state) {
  subject *s = *state;
  aon_write_state states[1] = {AON_WRITE_NOT_SENT};
  size_t failed;
  if (!of_sql(s))
    return;
  aon_write write = create(s, "a");
  aon_transaction *transaction = begin(s, 40);
  OK(&s->w, aon_store_apply(s->store, transaction, &write, 0, NULL, &failed, &s->w.error)); /* of nothing */
  OK(&s->w, aon_store_apply(s->store, transaction, &write, 1, states, &failed, &s->w.error));
  assert_int_equal(states[0], AON_WRITE_APPLIED);
  OK(&s->w, aon_store_commit(s->store, transaction, &s->w.error));
  aon_store_abort(s->store, transaction);
  aon_store_abort(s->store, NULL);
  IS(s, aon_store_apply(s->store, transaction, &write, 1, NULL, &failed, &s->w.error), AON_USAGE, "transaction_failed");
  IS(s, aon_store_flush(s->store, transaction, &s->w.error), AON_USAGE, "transaction_failed");
  IS(s, aon_store_commit(s->store, transaction, &s->w.error), AON_USAGE, "transaction_failed");
  if (aon_store_capabilities(s->store)->store_class == AON_CLASS_PREPARED)
    IS(s, aon_store_prepare(s->store, transaction, &s->w.error), AON_USAGE, "transaction_failed");
  assert_int_equal(aon_store_commit(s->store, transaction, NULL), AON_USAGE);
  assert_true(there(s, "a"));
}

/* Without a sentence the answer is the same. */
static void who_wants_no_sentence_is_answered(void **state) {
  subject *s = *state;
  aon_write_state states[3] = {AON_WRITE_NOT_SENT, AON_WRITE_NOT_SENT, AON_WRITE_NOT_SENT};
  size_t failed = 99;
  if (!of_sql(s))
    return;
  aon_write writes[] = {create(s, "a"), create(s, "a"), create(s, "b")};
  aon_transaction *transaction = begin(s, 50);
  assert_int_equal(aon_store_apply(s->store, transaction, writes, 3, states, &failed, NULL), AON_PERMANENT);
  assert_int_equal(failed, 1);
  assert_int_equal(states[0], AON_WRITE_APPLIED);
  assert_int_equal(states[1], AON_WRITE_REFUSED);
  assert_int_equal(states[2], AON_WRITE_NOT_SENT);
  aon_store_abort(s->store, transaction);
  assert_false(there(s, "a"));
}

/* Closed with a transaction open: nothing of it is kept. */
static void closing_takes_back(void **state) {
  subject *s = *state;
  size_t failed;
  if (!of_sql(s))
    return;
  aon_write write = create(s, "a");
  OK(&s->w, aon_store_apply(s->store, begin(s, 60), &write, 1, NULL, &failed, &s->w.error));
  aon_store_close(s->store);
  OK(&s->w, open_at(s, place_of(s), &s->store));
  assert_false(there(s, "a"));
  char name[300];
  memset(name, 'n', sizeof name - 1);
  name[sizeof name - 1] = 0;
  aon_store_config config = {.name = name, .location = place_of(s), .timeout_ms = 0};
  aon_store *other = NULL;
  if (is(s, "postgresql"))
    IS(s, aon_store_open(s->w.env, s->fixture->adapter, &config, &other, &s->w.error), AON_USAGE, "bad_name");
  config.name = "other";
  OK(&s->w, aon_store_open(s->w.env, s->fixture->adapter, &config, &other, &s->w.error));
  aon_store_close(other);
}

/* How it is ended makes no difference. */
static void fail_and_end(subject *s, uint32_t attempt, int how) {
  size_t failed = 99;
  aon_write_state states[2] = {AON_WRITE_NOT_SENT, AON_WRITE_NOT_SENT};
  aon_write writes[] = {create(s, "b"), create(s, "a")}; /* the second one is there */
  aon_transaction *transaction = begin(s, attempt);
  bool together = aon_store_capabilities(s->store)->store_class == AON_CLASS_BATCH; /* refused when all is sent */
  aon_result result = aon_store_apply(s->store, transaction, writes, 2, states, &failed, &s->w.error);
  if (result || !together) {
    assert_int_equal(result, AON_PERMANENT);
    assert_int_equal(failed, 1);
    IS(s, aon_store_apply(s->store, transaction, writes, 1, NULL, &failed, &s->w.error), AON_USAGE, "transaction_failed");
    if (how)
      IS(s, aon_store_flush(s->store, transaction, &s->w.error), AON_USAGE, "transaction_failed");
  }
  if (how == 0)
    aon_store_abort(s->store, transaction);
  else if (how == 2 && aon_store_capabilities(s->store)->store_class == AON_CLASS_PREPARED)
    IS(s, aon_store_prepare(s->store, transaction, &s->w.error), AON_USAGE, "transaction_failed");
  else if (result)
    IS(s, aon_store_commit(s->store, transaction, &s->w.error), AON_USAGE, "transaction_failed");
  else
    IS(s, aon_store_commit(s->store, transaction, &s->w.error), AON_PERMANENT, "duplicate");
  assert_false(there(s, "b"));
}

static void a_transaction_that_failed_is_over(void **state) {
  subject *s = *state;
  size_t failed;
  if (!transactional(s))
    return;
  aon_write write = create(s, "a");
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  for (int how = 0; how < 3; how++)
    fail_and_end(s, 10 + (uint32_t)how, how);
  IS(s, aon_store_apply(s->store, NULL, &write, 1, NULL, &failed, &s->w.error), AON_USAGE, "transaction_failed");
  write = create(s, "c");
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  assert_true(there(s, "a") && there(s, "c"));
}

/* ---- writes and searches ---- */

static void a_write_of_nothing_changes_nothing(void **state) {
  subject *s = *state;
  aon_write nothing = write_of(&s->items, "n", (aon_image){0}, (aon_image){0}, 7);
  aon_write_state states[1] = {AON_WRITE_NOT_SENT};
  size_t failed;
  aon_result result;
  if (transactional(s)) {
    aon_transaction *transaction = begin(s, 20);
    result = aon_store_apply(s->store, transaction, &nothing, 1, states, &failed, &s->w.error);
    aon_store_abort(s->store, transaction);
  } else {
    result = aon_store_apply(s->store, NULL, &nothing, 1, states, &failed, &s->w.error);
  }
  assert_true(!result || (s->w.error.code[0] && s->w.error.sentence[0]));
  assert_false(there(s, "n"));
}

static aon_result hear(void *context, const aon_found *found, aon_error *error) {
  (void)error;
  *(unsigned *)context += found->id.length > 0;
  return AON_OK;
}

static void a_search_for_too_much_is_refused(void **state) {
  subject *s = *state;
  aon_match matches[100];
  char names[100][8];
  unsigned found = 0;
  aon_write write = create(s, "a");
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  for (size_t i = 0; i < 100; i++) {
    snprintf(names[i], sizeof names[i], "p%zu", i);
    matches[i] = (aon_match){names[i], text("x")};
  }
  s->w.error = (aon_error)AON_ERROR_INIT;
  aon_result result = aon_store_scan(s->store, &s->items, matches, 100, NULL, hear, &found, &s->w.error);
  assert_true(!result || result == AON_USAGE);
  assert_int_equal(found, 0);
  if (is(s, "postgresql"))
    assert_string_equal(s->w.error.code, "too_many");
  OK(&s->w, aon_store_scan(s->store, &s->items, NULL, 0, NULL, hear, &found, &s->w.error));
  assert_int_equal(found, 1);
}

static void a_path_that_can_not_be_searched_is_refused(void **state) {
  static const struct {
    const char *path, *code;
    aon_result kind;
  } paths[] = {{"/a/{id}/b", "not_supported", AON_USAGE}, {"/a{id}", "bad_format", AON_REJECTED}, {"/a/b", "bad_format", AON_REJECTED},
               {"//", "bad_format", AON_REJECTED},        {"/{}/x", "bad_format", AON_REJECTED},  {"{id}", "bad_format", AON_REJECTED}};
  subject *s = *state;
  unsigned found = 0;
  if (!is(s, "firebase-rtdb") && !is(s, "firestore"))
    return;
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    aon_collection in = {.store = "main", .name = "items", .path = paths[i].path};
    if (i || is(s, "firebase-rtdb"))
      IS(s, aon_store_scan(s->store, &in, NULL, 0, NULL, hear, &found, &s->w.error), paths[i].kind, paths[i].code);
  }
  assert_int_equal(found, 0);
}

/* Whoever is cancelled is told so, or had ended before; the store forgets it, or says so again. */
static void what_is_cancelled_changes_nothing(void **state) {
  subject *s = *state;
  aon_write write = create(s, "a");
  aon_write_state states[1] = {AON_WRITE_NOT_SENT};
  size_t failed;
  if (transactional(s)) {
    aon_transaction *transaction = begin(s, 30);
    aon_store_cancel(s->store);
    aon_result result = aon_store_apply(s->store, transaction, &write, 1, NULL, &failed, &s->w.error);
    assert_true(!result || result == AON_CANCELLED || result == AON_TRANSIENT);
    aon_store_abort(s->store, transaction);
  } else {
    aon_store_cancel(s->store);
    aon_result result = aon_store_apply(s->store, NULL, &write, 1, states, &failed, &s->w.error);
    assert_true(!result || result == AON_CANCELLED || result == AON_TRANSIENT);
    if (!result)
      return;
  }
  aon_store *fresh;
  OK(&s->w, open_at(s, place_of(s), &fresh));
  assert_null(look(&s->w, fresh, &s->items, "a").bson);
  aon_store_close(fresh);
}

#define CASE(name, fixture)                                                                                                                \
  { #name, name, set_up, tear_down, fixture }

static int run(fixture *f, size_t count) {
  int failures = 0;
  for (size_t i = 0; i < count; i++) {
    const struct CMUnitTest tests[] = {CASE(a_place_that_is_none_is_refused, &f[i]),
                                       CASE(one_transaction_at_a_time, &f[i]),
                                       CASE(a_transaction_that_failed_is_over, &f[i]),
                                       CASE(a_transaction_ends_once, &f[i]),
                                       CASE(who_wants_no_sentence_is_answered, &f[i]),
                                       CASE(closing_takes_back, &f[i]),
                                       CASE(a_write_of_nothing_changes_nothing, &f[i]),
                                       CASE(a_search_for_too_much_is_refused, &f[i]),
                                       CASE(a_path_that_can_not_be_searched_is_refused, &f[i]),
                                       CASE(what_is_cancelled_changes_nothing, &f[i])};
    failures += cmocka_run_group_tests_name(f[i].name, tests, NULL, NULL);
  }
  return failures != 0;
}

int main(int count, char **arguments) {
  static fixture here[] = {{"sqlite", &aon_sqlite_adapter, 0},
                           {"memory, class 1", &aon_memory_adapter, AON_CLASS_PREPARED},
                           {"memory, class 2", &aon_memory_adapter, AON_CLASS_TRANSACTION},
                           {"memory, class 3", &aon_memory_adapter, AON_CLASS_BATCH},
                           {"memory, class 4", &aon_memory_adapter, AON_CLASS_CONDITIONAL},
                           {"memory, class 5", &aon_memory_adapter, AON_CLASS_PLAIN}};
  static fixture served[] = {{"postgresql", &aon_postgresql_adapter, 0},
                             {"mongodb", &aon_mongodb_adapter, 0},
                             {"rtdb", &aon_rtdb_adapter, 0},
                             {"firestore", &aon_firestore_adapter, 0}};
  if (count == 1)
    return run(here, sizeof here / sizeof *here);
  if ((!strcmp(arguments[1], "postgresql") && !pg_there("store misuse postgresql")) ||
      (!strcmp(arguments[1], "mongodb") && !mdb_there("store misuse mongodb")))
    return 77;
  for (size_t i = 0; i < sizeof served / sizeof *served; i++)
    if (!strcmp(arguments[1], served[i].name))
      return run(&served[i], 1);
  return 1;
}
