/* Connections: the pool by itself, and PostgreSQL's when connections die, calls are cancelled, locks are held, or replies are lost. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postgresql_world.h"
#include "wire/pool.h"

/* ---- the pool by itself ---- */

typedef struct fake {
  world w;
  int opened, closed, dead, refuse;
  int64_t now_ms; /* of a clock that stands still until the test moves it */
} fake;

static aon_result fake_open(void *context, int64_t deadline_ms, void **ret_connection, aon_error *error) {
  fake *f = context;
  (void)deadline_ms;
  if (f->refuse)
    return aon_fail(error, AON_TRANSIENT, "unavailable", "Nobody is at home.");
  f->opened++;
  *ret_connection = malloc(1);
  return AON_OK;
}

static void fake_close(void *context, void *connection) {
  fake *f = context;
  f->closed++;
  free(connection);
}

static bool fake_alive(void *context, void *connection) {
  fake *f = context;
  (void)connection;
  return !f->dead || !f->dead--;
}

static const aon_pool_ops fake_ops = {fake_open, fake_close, fake_alive};

static aon_pool *pool_of(fake *f, uint32_t max, int64_t idle_ms) {
  aon_pool_settings settings = {.max = max, .idle_ms = idle_ms};
  aon_pool *pool;
  world_open(&f->w);
  OK(&f->w, aon_pool_new(f->w.env, "main", &settings, &fake_ops, f, &pool, &f->w.error));
  return pool;
}

static void pool_end(fake *f, aon_pool *pool) {
  aon_pool_free(pool);
  assert_int_equal(f->opened, f->closed); /* nothing leaks */
  world_close(&f->w);
}

static void *taken(fake *f, aon_pool *pool) {
  void *connection = NULL;
  OK(&f->w, aon_pool_acquire(pool, aon_monotonic_ms(f->w.env) + 10000, &connection, &f->w.error));
  return connection;
}

static void counted(aon_pool *pool, uint32_t total, uint32_t idle, uint32_t waiting) {
  aon_pool_counts now = aon_pool_look(pool);
  assert_int_equal(now.total, total);
  assert_int_equal(now.idle, idle);
  assert_int_equal(now.waiting, waiting);
}

static void keeps_connections_for_the_next(void **state) {
  (void)state;
  fake f = {0};
  aon_pool *pool = pool_of(&f, 0, 0);
  assert_int_equal(aon_pool_look(pool).max, 20);
  void *one = taken(&f, pool), *two = taken(&f, pool);
  counted(pool, 2, 0, 0);
  aon_pool_release(pool, one, false);
  counted(pool, 2, 1, 0);
  assert_ptr_equal(taken(&f, pool), one);
  aon_pool_release(pool, one, false);
  aon_pool_release(pool, two, true); /* broken: not kept */
  counted(pool, 1, 1, 0);
  f.dead = 1; /* died while idle: another one in its place */
  aon_pool_release(pool, taken(&f, pool), false);
  counted(pool, 1, 1, 0);
  assert_int_equal(f.opened, 3);
  pool_end(&f, pool);
}

static int64_t fake_monotonic_ms(void *context) { return ((fake *)context)->now_ms; }

static void closes_what_is_idle_too_long(void **state) {
  (void)state;
  fake f = {0};
  world_open(&f.w);
  aon_env_ops ops = {.monotonic_ms = fake_monotonic_ms};
  aon_env env = {.ops = &ops, .context = &f};
  aon_pool_settings settings = {.max = 3, .idle_ms = 1000};
  aon_pool *pool;
  OK(&f.w, aon_pool_new(&env, "main", &settings, &fake_ops, &f, &pool, &f.w.error));
  void *one, *two, *three;
  OK(&f.w, aon_pool_acquire(pool, INT64_MAX, &one, &f.w.error));
  OK(&f.w, aon_pool_acquire(pool, INT64_MAX, &two, &f.w.error));
  OK(&f.w, aon_pool_acquire(pool, INT64_MAX, &three, &f.w.error));
  aon_pool_release(pool, one, false);
  f.now_ms = 600;
  aon_pool_release(pool, two, false);
  assert_int_equal(f.closed, 0);
  f.now_ms = 1200; /* the first was idle for longer than a second, the second was not */
  aon_pool_release(pool, three, false);
  assert_int_equal(f.closed, 1);
  counted(pool, 2, 2, 0);
  pool_end(&f, pool);
}

static void counts_no_connection_that_could_not_be_opened(void **state) {
  (void)state;
  fake f = {.refuse = 1};
  void *connection;
  aon_pool *pool = pool_of(&f, 1, 0);
  for (int i = 0; i < 3; i++) {
    FAILS(&f.w, aon_pool_acquire(pool, INT64_MAX, &connection, &f.w.error), AON_TRANSIENT, "unavailable");
    counted(pool, 0, 0, 0);
  }
  pool_end(&f, pool);
}

typedef struct waiter {
  fake *f;
  aon_pool *pool;
  void *got;
} waiter;

static void *wait_for_it(void *context) {
  waiter *w = context;
  aon_error error = AON_ERROR_INIT;
  if (aon_pool_acquire(w->pool, INT64_MAX, &w->got, &error))
    w->got = NULL;
  return NULL;
}

static void lets_wait_who_comes_last(void **state) {
  (void)state;
  fake f = {0};
  aon_pool *pool = pool_of(&f, 1, 0);
  void *one = taken(&f, pool), *ignored;
  FAILS(&f.w, aon_pool_acquire(pool, aon_monotonic_ms(f.w.env) + 5, &ignored, &f.w.error), AON_TRANSIENT, "unavailable");
  waiter w = {&f, pool, NULL};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, wait_for_it, &w), 0);
  while (!aon_pool_look(pool).waiting)
    aon_sleep_ms(f.w.env, 1);
  counted(pool, 1, 0, 1);
  aon_pool_release(pool, one, false);
  pthread_join(thread, NULL);
  assert_ptr_equal(w.got, one);
  counted(pool, 1, 0, 0);
  aon_pool_release(pool, one, false);
  pool_end(&f, pool);
}

/* ---- PostgreSQL's ---- */

typedef struct subject {
  world w;
  pg_world pg;
  aon_store *store; /* not under a decorator, so that its pool can be looked at */
  aon_collection items;
} subject;

static aon_store *opened(subject *s, const char *location) {
  aon_store_config config = {.name = "main", .location = location, .create = true, .timeout_ms = 2000};
  aon_store *store = NULL;
  OK(&s->w, aon_store_open(s->w.env, &aon_postgresql_adapter, &config, &store, &s->w.error));
  return store;
}

static int set_up(void **state) {
  subject *s = calloc(1, sizeof *s);
  world_open(&s->w);
  pg_world_open(&s->pg);
  s->items = (aon_collection){.store = "main", .name = "items"};
  pg_sql(&s->pg, "create table items(id text primary key, v text); insert into items values('a', 'x')");
  s->store = opened(s, s->pg.location);
  *state = s;
  return 0;
}

/* Whatever a test did: no connection is in use any more, and the server has no more than the pool says. */
static int tear_down(void **state) {
  subject *s = *state;
  aon_pool_counts counts;
  assert_true(aon_pool_status(s->store, &counts));
  assert_int_equal(counts.total, counts.idle);
  char ours[200];
  snprintf(ours, sizeof ours,
           "select count(*) from pg_stat_activity where application_name = 'allornone' and datname = current_database()");
  for (int i = 0; strtoul(pg_text_of(&s->w, &s->pg, ours), NULL, 10) != counts.total; i++) { /* a closed one is gone a little later */
    assert_true(i < 500);
    aon_sleep_ms(s->w.env, 10);
  }
  aon_store_close(s->store);
  pg_world_close(&s->pg);
  world_close(&s->w);
  free(s);
  return 0;
}

static void kill_connections(subject *s) {
  pg_sql(&s->pg, "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'allornone'");
}

static aon_transaction *begun(subject *s, uint32_t attempt) {
  aon_transaction *transaction;
  aon_branch own = branch(attempt);
  OK(&s->w, aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &transaction, &s->w.error));
  return transaction;
}

static aon_branch_state resolved(subject *s, uint32_t attempt) {
  aon_branch own = branch(attempt);
  aon_branch_state found;
  OK(&s->w, aon_store_resolve(s->store, &own, &found, &s->w.error));
  return found;
}

static aon_write change(subject *s, const char *json) {
  return write_of(&s->items, "a", look(&s->w, s->store, &s->items, "a"), normal(&s->w, s->store, &s->items, "a", json), 3);
}

static void replaces_a_connection_that_died(void **state) {
  subject *s = *state;
  for (int i = 0; i < 3; i++) {
    look(&s->w, s->store, &s->items, "a");
    kill_connections(s);
    aon_image now = look(&s->w, s->store, &s->items, "a");
    assert_non_null(now.bson);
  }
}

static void a_connection_that_dies_takes_its_transaction_along(void **state) {
  subject *s = *state;
  size_t failed;
  aon_write write = change(s, "{\"v\":\"y\"}");
  aon_transaction *transaction = begun(s, 1);
  kill_connections(s);
  FAILS(&s->w, aon_store_apply(s->store, transaction, &write, 1, NULL, &failed, &s->w.error), AON_TRANSIENT, "unavailable");
  aon_store_abort(s->store, transaction);
  assert_int_equal(resolved(s, 1), AON_BRANCH_ABORTED);
  transaction = begun(s, 2);
  OK(&s->w, aon_store_apply(s->store, transaction, &write, 1, NULL, &failed, &s->w.error));
  kill_connections(s);
  FAILS(&s->w, aon_store_commit(s->store, transaction, &s->w.error), AON_UNKNOWN, "commit_lost"); /* nobody said what became of it */
  assert_int_equal(resolved(s, 2), AON_BRANCH_ABORTED);
  assert_string_equal(pg_text_of(&s->w, &s->pg, "select v from items"), "x");
}

static void a_lost_prepare_is_resolved(void **state) {
  subject *s = *state;
  if (!pg_prepares(&s->pg))
    skip();
  aon_transaction *transaction = begun(s, 1);
  kill_connections(s);
  FAILS(&s->w, aon_store_prepare(s->store, transaction, &s->w.error), AON_UNKNOWN, "prepare_lost");
  assert_int_equal(resolved(s, 1), AON_BRANCH_ABORTED);
  transaction = begun(s, 2);
  OK(&s->w, aon_store_prepare(s->store, transaction, &s->w.error));
  pg_sql(&s->pg, "rollback prepared 'aon:12345678-1234-4234-8234-123456789abc:main:2'"); /* a person did it by hand */
  aon_branch own = branch(2);
  FAILS(&s->w, aon_store_commit_prepared(s->store, &own, &s->w.error), AON_PERMANENT, "prepared_lost");
}

static void a_lock_that_somebody_holds_is_transient(void **state) {
  subject *s = *state;
  size_t failed;
  aon_write write = change(s, "{\"v\":\"y\"}");
  pg_sql(&s->pg, "begin; select * from items for update");
  aon_transaction *transaction = begun(s, 1);
  FAILS(&s->w, aon_store_apply(s->store, transaction, &write, 1, NULL, &failed, &s->w.error), AON_TRANSIENT, "database_locked");
  aon_store_abort(s->store, transaction);
  pg_sql(&s->pg, "update items set v = 'theirs'");
  transaction = begun(s, 2);
  pg_sql(&s->pg, "commit");
  FAILS(&s->w, aon_store_apply(s->store, transaction, &write, 1, NULL, &failed, &s->w.error), AON_PERMANENT, "changed_meanwhile");
  aon_store_abort(s->store, transaction);
  assert_string_equal(pg_text_of(&s->w, &s->pg, "select v from items"), "theirs");
}

typedef struct canceller {
  subject *s;
  aon_result result;
  aon_error error;
  aon_write write;
  aon_transaction *transaction;
} canceller;

static void *apply_blocked(void *context) {
  canceller *c = context;
  size_t failed;
  c->result = aon_store_apply(c->s->store, c->transaction, &c->write, 1, NULL, &failed, &c->error);
  return NULL;
}

static void can_be_cancelled(void **state) {
  subject *s = *state;
  canceller c = {.s = s, .error = AON_ERROR_INIT, .write = change(s, "{\"v\":\"y\"}")};
  pg_sql(&s->pg, "begin; select * from items for update");
  c.transaction = begun(s, 1);
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, apply_blocked, &c), 0);
  while (strcmp(pg_text_of(&s->w, &s->pg, "select count(*) from pg_locks where not granted"), "1"))
    aon_sleep_ms(s->w.env, 5);
  aon_store_cancel(s->store);
  pthread_join(thread, NULL);
  assert_int_equal(c.result, AON_CANCELLED);
  assert_string_equal(c.error.code, "cancelled");
  aon_store_abort(s->store, c.transaction);
  pg_sql(&s->pg, "rollback");
  assert_string_equal(pg_text_of(&s->w, &s->pg, "select v from items"), "x");
  OK(&s->w, aon_store_commit(s->store, begun(s, 2), &s->w.error)); /* an old cancel is forgotten */
}

static void says_why_it_cannot_be_reached(void **state) {
  subject *s = *state;
  char port[16];
  snprintf(port, sizeof port, "%s", PQport(s->pg.outside));
  pg_sql(&s->pg, "drop role if exists nobody_may; create role nobody_may login connection limit 0");
  const struct {
    const char *location;
    aon_result kind;
    const char *code;
  } tries[] = {{"//aon:geheim@127.0.0.1:1/postgres", AON_TRANSIENT, "unavailable"},
               {aon_arena_format(&s->w.arena, "//aon:geheim@127.0.0.1:%s/nowhere", port), AON_ENVIRONMENT, "no_such_file"},
               {aon_arena_format(&s->w.arena, "//geheim@127.0.0.1:%s/postgres", port), AON_ENVIRONMENT, "no_permission"},
               {aon_arena_format(&s->w.arena, "//nobody_may:geheim@127.0.0.1:%s/postgres", port), AON_TRANSIENT, "unavailable"},
               {"//aon:geheim@[::1/x", AON_USAGE, "bad_location"},
               {"//aon:geheim@127.0.0.1/x?colour=blue", AON_USAGE, "bad_location"},
               {"postgres", AON_USAGE, "bad_location"}};
  for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
    aon_store_config config = {.name = "main", .location = tries[i].location, .timeout_ms = 2000};
    aon_store *store = NULL;
    aon_result result = aon_store_open(s->w.env, &aon_postgresql_adapter, &config, &store, &s->w.error);
    assert_null(i == 2 ? NULL : strstr(s->w.error.sentence, "geheim")); /* there it is the user's name */
    FAILS(&s->w, result, tries[i].kind, tries[i].code);
  }
  pg_sql(&s->pg, "drop role nobody_may");
}

static void knows_its_database_again(void **state) {
  subject *s = *state;
  pg_world elsewhere;
  pg_world_open(&elsewhere);
  aon_store *same = opened(s, s->pg.location), *other = opened(s, elsewhere.location);
  assert_string_equal(aon_store_capabilities(same)->database, aon_store_capabilities(s->store)->database);
  assert_string_not_equal(aon_store_capabilities(other)->database, aon_store_capabilities(s->store)->database);
  aon_store_close(same);
  aon_store_close(other);
  pg_world_close(&elsewhere);
}

#define TEST(function)                                                                                                                     \
  { #function, function, set_up, tear_down, NULL }

int main(void) {
  const struct CMUnitTest alone[] = {cmocka_unit_test(keeps_connections_for_the_next), cmocka_unit_test(closes_what_is_idle_too_long),
                                     cmocka_unit_test(counts_no_connection_that_could_not_be_opened),
                                     cmocka_unit_test(lets_wait_who_comes_last)};
  const struct CMUnitTest served[] = {TEST(replaces_a_connection_that_died),
                                      TEST(a_connection_that_dies_takes_its_transaction_along),
                                      TEST(a_lost_prepare_is_resolved),
                                      TEST(a_lock_that_somebody_holds_is_transient),
                                      TEST(can_be_cancelled),
                                      TEST(says_why_it_cannot_be_reached),
                                      TEST(knows_its_database_again)};
  int failed = cmocka_run_group_tests_name("pool", alone, NULL, NULL);
  if (failed || !pg_there("store postgresql pool"))
    return failed ? 1 : 77;
  return cmocka_run_group_tests_name("postgresql pool", served, NULL, NULL);
}
