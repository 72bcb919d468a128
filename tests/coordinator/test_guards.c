/* Rules of the drive order and of the way back that no other suite misses: each test fails if its one rule is taken away (tools/mutate
 * names the rule). */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define LINE(store, id, operation, data)                                                                                                   \
  "{\"store\":\"" store "\",\"collection\":\"c\",\"id\":\"" id "\",\"operation\":\"" operation "\",\"data\":" data "}\n"

#define ID "0b7f6a52-3c1e-4d0a-9f55-8f4f6f1f2a12"

/* ---- a batch that was announced and never sent is not ours ---- */

static sig_atomic_t interrupted;
static void interrupted_and_changed(world *w) {
  interrupted = 1;
  world_put(w, "k", "c", "edit", w->call_context);
}
static void a_batch_that_was_not_sent(void **state) {
  (void)state;
  char same[] = "{\"n\":2}", other[] = "{\"n\":99}"; /* what somebody writes: what we were about to write, and something else */
  for (int class = AON_CLASS_CONDITIONAL; class <= AON_CLASS_PLAIN; class ++)
    for (int i = 0; i < 2; i++) {
      world *w = world_new();
      world_memory(w, "k", (aon_store_class) class, &(aon_memory_config){.tokens = true});
      world_put(w, "k", "c", "edit", "{\"n\":1}");
      interrupted = 0;
      w->options.interrupted = &interrupted;
      world_engine(w);
      w->call = interrupted_and_changed;
      w->call_context = i ? other : same;
      w->call_name = "journal.batch"; /* it is announced, then the guard fails */
      aon_result result = world_apply(w, LINE("k", "edit", "update", "{\"n\":2}"));
      assert_int_equal(result, AON_OK);
      assert_null(w->call);
      assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
      assert_int_equal(w->outcome.conflicts, 0);
      assert_string_equal(world_get(w, "k", "c", "edit"), i ? other : same); /* theirs, even where it looks like ours */
      assert_null(strstr(w->steps_log, "store.k.apply"));
      world_free(w);
    }
}

/* ---- each request that is sent, also again, ends before the lease does ---- */

#define SLOW_MS 12000

static int64_t shortest_ms;
static void slow_request(world *w) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_bulk bulk;
  w->call = slow_request;
  world_bulk(w, ID, &arena, &bulk);
  int64_t left = bulk.lease_until_ms - aon_now_ms(&w->env);
  if (left < shortest_ms)
    shortest_ms = left;
  world_advance(w, SLOW_MS);
}
static void a_request_ends_before_the_lease(void **state) {
  (void)state;
  for (int class = AON_CLASS_CONDITIONAL; class <= AON_CLASS_PLAIN; class ++) {
    world *w = world_new();
    world_memory(w, "k", (aon_store_class) class, &(aon_memory_config){.tokens = true});
    world_config(w, "k")->timeout_ms = SLOW_MS;
    w->config.batch = 4;
    w->options.id = ID;
    world_engine(w);
    aon_memory_trouble_at(world_database(w, "k"), AON_MEMORY_REFUSE, 1, 1); /* so that all four are sent again, one by one */
    shortest_ms = INT64_MAX;
    w->call = slow_request;
    w->call_name = "store.k.apply";
    APPLY_OK(w, LINE("k", "1", "create", "{\"n\":1}") LINE("k", "2", "create", "{\"n\":1}") LINE("k", "3", "create", "{\"n\":1}")
                    LINE("k", "4", "create", "{\"n\":1}"));
    if (shortest_ms <= SLOW_MS)
      fail_msg("class %d: a request of %d ms was sent when the lease had %lld left", class, SLOW_MS, (long long)shortest_ms);
    w->call = NULL;
    world_free(w);
  }
}

/* ---- the way back ---- */

/* One of two stores is out of reach: the other one is as before at once. */
static void a_store_out_of_reach_stops_no_other(void **state) {
  (void)state;
  static const char *const names[] = {"a", "b"};
  for (int class = AON_CLASS_BATCH; class <= AON_CLASS_PLAIN; class ++)
    for (int closed = 0; closed < 2; closed++) {
      world *w = world_new();
      world_memory(w, "a", (aon_store_class) class, NULL);
      world_memory(w, "b", (aon_store_class) class, NULL);
      world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
      world_put(w, "a", "c", "edit", "{\"n\":1}");
      world_put(w, "b", "c", "edit", "{\"n\":1}");
      w->config.test_rollback_at = 2;
      world_engine(w);
      aon_memory_trouble_at(world_database(w, names[closed]), AON_MEMORY_REFUSE, 2, 1000000); /* its first request went through */
      aon_result result =
          world_apply(w, LINE("a", "edit", "update", "{\"n\":2}") LINE("b", "edit", "update", "{\"n\":2}") LINE("t", "1", "create", "{}"));
      assert_int_not_equal(result, AON_OK);
      assert_int_equal(world_state(w, w->outcome.bulk_id), AON_ROLLING_BACK);
      assert_string_equal(world_get(w, names[closed], "c", "edit"), "{\"n\":2}");
      assert_string_equal(world_get(w, names[!closed], "c", "edit"), "{\"n\":1}");
      world_free(w);
    }
}

/* Conflicts of two batches are both named at the end, in classes with a marker and without. */
static void both_changed(world *w) {
  world_put(w, "k", "c", "1", "{\"n\":7}");
  world_put(w, "k", "c", "4", "{\"n\":8}");
}
static void conflicts_of_each_batch_stay_named(void **state) {
  (void)state;
  for (int class = AON_CLASS_BATCH; class <= AON_CLASS_PLAIN; class ++) {
    world *w = world_new();
    world_memory(w, "k", (aon_store_class) class, NULL);
    world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
    w->config.test_rollback_at = 4;
    world_engine(w);
    w->call = both_changed;
    w->call_name = "journal.batches"; /* the rollback begins */
    OK(world_apply(w, LINE("k", "1", "create", "{\"n\":1}") LINE("k", "2", "create", "{\"n\":1}") LINE("k", "3", "create", "{\"n\":1}")
                          LINE("k", "4", "create", "{\"n\":1}") LINE("t", "1", "create", "{}")));
    assert_null(w->call);
    assert_int_equal(w->outcome.state, AON_ROLLBACK_FAILED);
    assert_int_equal(w->outcome.conflicts, 2);
    assert_non_null(strstr(w->outcome.json.data, "\"documentId\":\"1\""));
    assert_non_null(strstr(w->outcome.json.data, "\"documentId\":\"4\""));
    assert_string_equal(world_get(w, "k", "c", "1"), "{\"n\":7}");
    assert_string_equal(world_get(w, "k", "c", "2"), "");
    assert_string_equal(world_get(w, "k", "c", "4"), "{\"n\":8}");
    world_free(w);
  }
}

/* ---- what was lost is no success ---- */

/* The first sending was never answered nor done; the second one is refused, because somebody's write stood there for a moment. */
static void as_before_again(world *w) { world_put(w, "k", "c", "edit", "{\"n\":1}"); }
static void for_a_moment(world *w) {
  world_put(w, "k", "c", "edit", "{\"n\":99}");
  w->call = as_before_again;
  w->call_name = "store.k.read"; /* it is compared */
}
static void first_sending(world *w) { w->call = for_a_moment; }
static void a_refusal_stands(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "k", AON_CLASS_CONDITIONAL, &(aon_memory_config){.tokens = true});
  world_put(w, "k", "c", "edit", "{\"n\":1}");
  world_engine(w);
  aon_memory_trouble_at(world_database(w, "k"), AON_MEMORY_DELAY, 1, 1);
  w->call = first_sending;
  w->call_name = "store.k.apply";
  OK(world_apply(w, LINE("k", "edit", "update", "{\"n\":2}")));
  assert_null(w->call);
  assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
  assert_string_equal(w->outcome.failure.code, "changed_meanwhile");
  assert_string_equal(world_get(w, "k", "c", "edit"), "{\"n\":1}");
  world_free(w);
}

/* A COMMIT that never arrived, of the first of two stores and of the last. */
static void lost_on_the_way(world *w) { aon_memory_drop(world_database(w, w->call_context)); }
static void a_lost_commit_takes_all_back(void **state) {
  (void)state;
  static char t[] = "t", u[] = "u";
  for (int i = 0; i < 2; i++) {
    world *w = world_new();
    world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
    world_memory(w, "u", AON_CLASS_TRANSACTION, NULL);
    world_engine(w);
    w->call = lost_on_the_way;
    w->call_context = i ? u : t;
    w->call_name = i ? "store.u.resolve" : "store.t.resolve";
    aon_memory_trouble_at(world_database(w, w->call_context), AON_MEMORY_DELAY, 1, 1);
    OK(world_apply(w, LINE("t", "1", "create", "{\"n\":1}") LINE("u", "1", "create", "{\"n\":1}")));
    assert_null(w->call);
    assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
    assert_string_equal(world_get(w, "t", "c", "1"), "");
    assert_string_equal(world_get(w, "u", "c", "1"), "");
    world_free(w);
  }
}

/* ---- the decision ---- */

/* The worker dies when the last resource has committed and the journal doesn't know yet: everybody could read it, so it stays. */
static void dies_here(world *w) { longjmp(w->crashed, 1); }
static void dies_at_the_next_arrow(world *w) {
  w->call = dies_here;
  w->call_name = "journal.move";
}
static void decided_and_dead(world *w, uint64_t n) {
  (void)n;
  world_memory(w, "p", AON_CLASS_PREPARED, NULL);
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  w->options.id = ID;
  world_engine(w);
  w->call = dies_at_the_next_arrow;
  w->call_name = "store.t.commit";
  if (!setjmp(w->crashed)) {
    aon_result result = world_apply(w, LINE("p", "1", "create", "{\"n\":1}") LINE("t", "1", "create", "{\"n\":1}"));
    (void)result;
    CHECK(!"it should be dead");
  }
  CHECK(!strcmp(world_get(w, "t", "c", "1"), "{\"n\":1}"));
  world_die(w);
  CHECK(world_recover(w) == 0);
  CHECK(world_state(w, ID) == AON_COMMITTED);
  CHECK(!strcmp(world_get(w, "t", "c", "1"), "{\"n\":1}"));
  CHECK(!strcmp(world_get(w, "p", "c", "1"), "{\"n\":1}"));
}
static void the_last_resource_is_asked(void **state) {
  (void)state;
  assert_int_equal(world_child(decided_and_dead, 1), 0);
}

static void no_arrow_but_those_of_the_page(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  w->options.id = ID;
  world_engine(w);
  APPLY_OK(w, LINE("t", "1", "create", "{\"n\":1}"));
  aon_journal *journal;
  OK(aon_engine_journal(w->engine, true, &journal, error));
  for (int from = 0; from < AON_STATE_COUNT; from++)
    for (int to = 0; to < AON_STATE_COUNT; to++) {
      aon_run run;
      aon_error failure = AON_ERROR_INIT;
      if (aon_transition_find((aon_state)from, (aon_state)to))
        continue;
      aon_run_begin(&run, w->engine, journal, &w->options, &w->outcome);
      snprintf(run.id, sizeof run.id, "%s", ID);
      run.state = (aon_state)from;
      assert_int_equal(aon_run_move(&run, (aon_state)to, NULL, &failure), AON_USAGE);
      assert_string_equal(failure.code, "bad_transition");
    }
  assert_int_equal(world_state(w, ID), AON_COMMITTED);
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(a_batch_that_was_not_sent),
                                     TEST(a_request_ends_before_the_lease),
                                     TEST(a_store_out_of_reach_stops_no_other),
                                     TEST(conflicts_of_each_batch_stay_named),
                                     TEST(a_refusal_stands),
                                     TEST(a_lost_commit_takes_all_back),
                                     TEST(the_last_resource_is_asked),
                                     TEST(no_arrow_but_those_of_the_page)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
