/* The drive order of docs/protocol.md: what can refuse goes first and hidden, what shows goes late; and stores that share a database. */
#include "harness.h"

#include <stdlib.h>
#include <unistd.h>

#define LINE(store, id, operation, data)                                                                                                   \
  "{\"store\":\"" store "\",\"collection\":\"c\",\"id\":\"" id "\",\"operation\":\"" operation "\",\"data\":" data "}\n"
#define CREATE(store, id) LINE(store, id, "create", "{\"n\":1}")

static void one_of_each_class(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "p", AON_CLASS_PREPARED, NULL);
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_memory(w, "u", AON_CLASS_TRANSACTION, NULL);
  world_memory(w, "b", AON_CLASS_BATCH, NULL);
  world_memory(w, "k", AON_CLASS_CONDITIONAL, NULL);
  world_memory(w, "x", AON_CLASS_PLAIN, NULL);
  world_engine(w);
  /* In the plan the weakest come first. u has most operations of class 2: it is the last resource. */
  APPLY_OK(w, CREATE("x", "1") CREATE("k", "1") CREATE("b", "1") CREATE("u", "1") CREATE("u", "2") CREATE("t", "1") CREATE("p", "1"));
  const char *const order[] = {"store.u.begin\n",           "store.t.begin\n",  "store.p.begin\n",
                               "store.u.apply\n",           "store.t.apply\n",  "store.p.apply\n",
                               "store.u.flush\n",           "store.t.flush\n",  "store.p.flush\n",
                               "journal.batch\n",           "store.b.begin\n",  "store.b.commit\n",
                               "journal.batch\n",           "journal.batch\n",  "store.k.apply\n",
                               "journal.batch\n",           "journal.batch\n",  "store.x.apply\n",
                               "journal.batch\n",           "journal.move\n",   "store.p.prepare\n",
                               "store.t.commit\n",          "store.u.commit\n", "journal.move\n",
                               "store.p.commit_prepared\n", "journal.move\n",   NULL};
  assert_true(world_steps_in_order(w, order));
  world_free(w);
}

/* Where the slower classes take long, transactions are rehearsed, rolled back, and applied again at the end. */
static void rehearsal(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_memory(w, "b", AON_CLASS_BATCH, NULL);
  w->config.hold_ms = 1;
  world_engine(w);
  APPLY_OK(w, CREATE("b", "1") CREATE("b", "2") CREATE("t", "1"));
  const char *const order[] = {"store.t.begin\n", "store.t.apply\n", "store.t.flush\n", "store.t.abort\n",  "store.b.commit\n",
                               "store.t.begin\n", "store.t.apply\n", "store.t.flush\n", "store.t.commit\n", NULL};
  assert_true(world_steps_in_order(w, order));
  assert_string_equal(world_get(w, "t", "c", "1"), "{\"n\":1}");
  /* What the database refuses shows in nobody's store: it comes before the batches. */
  size_t from = w->steps_length;
  OK(world_apply(w, CREATE("b", "3") CREATE("t", "1")));
  assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
  assert_null(strstr(w->steps_log + from, "store.b.begin"));
  world_free(w);
}

static void busy_for_a_while(world *w) {
  aon_memory_database *database = world_database(w, "t");
  aon_memory_trouble_at(database, AON_MEMORY_REFUSE, 1, 1);
}
static void two_names_for_one_database(void **state) {
  (void)state;
  for (int class = AON_CLASS_PREPARED; class <= AON_CLASS_PLAIN; class ++) {
    world *w = world_new();
    world_memory(w, "one", (aon_store_class) class, NULL);
    world_alias(w, "two", "one");
    world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
    world_engine(w);
    APPLY_OK(w, CREATE("one", "1") CREATE("two", "2") CREATE("one", "3") CREATE("two", "4") CREATE("t", "1"));
    for (int i = 1; i <= 4; i++)
      assert_string_equal(world_get(w, "one", "c", (char[]){(char)('0' + i), 0}), "{\"n\":1}");
    world_close(w);
    w->config.test_rollback_at = 4;
    world_engine(w);
    w->call = busy_for_a_while;
    w->call_name = "store.t.commit";
    OK(world_apply(w, CREATE("one", "5") CREATE("two", "6") LINE("two", "2", "update", "{\"n\":2}") CREATE("one", "7") CREATE("t", "2")));
    assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
    assert_int_equal(aon_memory_documents(world_database(w, "one")), 4);
    assert_string_equal(world_get(w, "two", "c", "2"), "{\"n\":1}");
    world_free(w);
  }
}

/* ---- SQLite files under several names ---- */

static void alias_file(world *w, const char *name, const char *target) {
  world_sqlite(w, name);
  assert_int_equal(symlink(target, world_config(w, name)->location), 0);
}

static void two_names_for_one_file(void **state) {
  (void)state;
  world *w = world_new();
  world_sqlite(w, "one");
  world_put(w, "one", "c", "there", "{\"n\":0}");
  alias_file(w, "two", world_config(w, "one")->location);
  world_engine(w);
  APPLY_OK(w, CREATE("one", "1") CREATE("two", "2") LINE("two", "there", "update", "{\"n\":1}"));
  assert_string_equal(world_get(w, "one", "c", "2"), "{\"n\":1}");
  assert_string_equal(world_get(w, "one", "c", "there"), "{\"n\":1}");
  world_free(w);
}

static void in_the_journals_own_file(void **state) {
  (void)state;
  world *w = world_new();
  world_sqlite(w, "other");
  world_sqlite(w, "own");
  assert_int_equal(symlink(w->journal, world_config(w, "own")->location), 0);
  world_engine(w);
  aon_journal *journal;
  OK(aon_engine_journal(w->engine, true, &journal, error)); /* so that the file is there */
  APPLY_OK(w, CREATE("own", "1") CREATE("other", "1") CREATE("other", "2") CREATE("other", "3"));
  assert_string_equal(world_get(w, "own", "c", "1"), "{\"n\":1}");
  assert_non_null(strstr(w->steps_log, "own: abort")); /* rehearsed: an open transaction would lock the journal out */
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_bulk bulk;
  world_bulk(w, w->outcome.bulk_id, &arena, &bulk);
  assert_non_null(strstr(bulk.stores, "\"name\":\"own\",\"class\":2,\"operations\":1,\"lastResource\":true"));
  char id[37];
  memcpy(id, w->outcome.bulk_id, 37);
  OK(world_undo(w, id, NULL));
  assert_int_equal(w->outcome.state, AON_COMMITTED);
  assert_string_equal(world_get(w, "own", "c", "1"), "");
  world_free(w);
}

static void sqlite_and_memory_die(world *w, uint64_t n) {
  world_sqlite(w, "s");
  world_sqlite(w, "r");
  world_memory(w, "b", AON_CLASS_BATCH, NULL);
  world_put(w, "s", "c", "edit", "{ \"n\" : 1 }");
  world_put(w, "r", "c", "gone", "{\"n\":1}");
  world_put(w, "b", "c", "edit", "{\"n\":1}");
  char *before = world_snapshot(w);
  world_engine(w);
  w->steps = 0;
  w->crash_at = n;
  if (!setjmp(w->crashed)) {
    aon_result result = world_apply(
        w,
        LINE("s", "edit", "update", "{\"n\":2}") "{\"store\":\"r\",\"collection\":\"c\",\"id\":\"gone\",\"operation\":\"delete\"}\n" LINE(
            "b", "edit", "update", "{\"n\":2}") CREATE("r", "new"));
    CHECK(!result && w->outcome.state == AON_COMMITTED);
    world_nothing_left();
  }
  world_die(w);
  CHECK(world_recover(w) == 0);
  char *now = world_snapshot(w);
  CHECK(!strcmp(now, before) || !strcmp(now, "b/c/edit {\"n\":2}\nr/c/new {\"n\":1}\ns/c/edit {\"n\":2}\n"));
}
static void every_step_with_sqlite(void **state) {
  (void)state;
  assert_true(world_every_step(sqlite_and_memory_die, 500) > 40);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(one_of_each_class),          TEST(rehearsal),
                                     TEST(two_names_for_one_database), TEST(two_names_for_one_file),
                                     TEST(in_the_journals_own_file),   TEST(every_step_with_sqlite)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
