/* Lost, late and refused requests in every class; what was never answered is waited for and watched. */
#include "harness.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/fault.h"

#define LINE(store, id, operation, data)                                                                                                   \
  "{\"store\":\"" store "\",\"collection\":\"c\",\"id\":\"" id "\",\"operation\":\"" operation "\",\"data\":" data "}\n"
#define DELETE(store, id) "{\"store\":\"" store "\",\"collection\":\"c\",\"id\":\"" id "\",\"operation\":\"delete\"}\n"

/* Going back, too: each request of the way there and the way back loses its reply, or is refused for a while. */
static void lost_on_the_way_back(void **state) {
  (void)state;
  for (int class = AON_CLASS_PREPARED; class <= AON_CLASS_PLAIN; class ++)
    for (uint64_t nth = 1; nth <= 9; nth++)
      for (uint64_t times = 1; times <= 3; times += 2) {
        world *w = world_new();
        world_memory(w, "s", (aon_store_class) class, &(aon_memory_config){.tokens = true});
        world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
        world_put(w, "s", "c", "edit", "{\"n\":1}");
        world_put(w, "s", "c", "gone", "{\"n\":1}");
        char *before = world_snapshot(w);
        w->config.test_rollback_at = 3;
        world_engine(w);
        aon_memory_trouble_at(world_database(w, "s"), AON_MEMORY_LOSE_REPLY, nth, times);
        aon_result result = world_apply(w, LINE("s", "new", "create", "{\"n\":1}") LINE("s", "edit", "update", "{\"n\":2}")
                                               DELETE("s", "gone") LINE("t", "1", "create", "{}"));
        char *after = world_snapshot(w);
        if (result || w->outcome.state != AON_ROLLED_BACK || strcmp(before, after))
          fail_msg("class %d, request %d: %s, %s %s\n%s", class, (int)nth, aon_state_name(w->outcome.state), aon_result_name(result),
                   w->error.sentence, after);
        free(before);
        free(after);
        world_free(w);
      }
}

/* A request that is answered by nobody and arrives when all is over. In classes 1 to 3 the marker refuses it. */
static void late_in_classes_1_to_3(void **state) {
  (void)state;
  for (int class = AON_CLASS_PREPARED; class <= AON_CLASS_BATCH; class ++)
    for (uint64_t nth = 1; nth <= 3; nth++) {
      world *w = world_new();
      world_memory(w, "s", (aon_store_class) class, NULL);
      world_put(w, "s", "c", "edit", "{\"n\":1}");
      world_engine(w);
      aon_memory_trouble_at(world_database(w, "s"), AON_MEMORY_DELAY, nth, 1);
      aon_result result = world_apply(w, LINE("s", "new", "create", "{\"n\":1}") LINE("s", "edit", "update", "{\"n\":2}")
                                             LINE("s", "new2", "create", "{}"));
      (void)result;
      while (aon_memory_under_way(world_database(w, "s"))) {
        bool done;
        OK(aon_memory_deliver(world_database(w, "s"), &done, error));
      }
      world_die(w);
      assert_int_equal(world_recover(w), 0);
      bool in = *world_get(w, "s", "c", "new") && *world_get(w, "s", "c", "new2") && !strcmp(world_get(w, "s", "c", "edit"), "{\"n\":2}");
      bool out =
          !*world_get(w, "s", "c", "new") && !*world_get(w, "s", "c", "new2") && !strcmp(world_get(w, "s", "c", "edit"), "{\"n\":1}");
      aon_state said = world_state(w, w->outcome.bulk_id);
      assert_true((said == AON_COMMITTED && in) || (said == AON_ROLLED_BACK && out));
      world_free(w);
    }
}

/* A batch whose commit nobody answered, and whose marker nobody can read for as long as we ask: it may be in. It is neither sent again nor
 * called refused, for whoever takes it up asks the marker only then. */
static void a_batch_nobody_can_prove(void **state) {
  (void)state;
  for (int held = 0; held < 2; held++) {
    world *w = world_new();
    world_memory(w, "b", AON_CLASS_BATCH, NULL);
    world_put(w, "b", "c", "edit", "{\"n\":1}");
    aon_fault fault = {.inner = w->stores[0].adapter,
                       .inner_options = w->stores[0].config.options,
                       .call = "resolve",
                       .nth = 1,
                       .for_ever = true,
                       .kind = AON_TRANSIENT};
    w->stores[0].adapter = &aon_fault_adapter;
    w->stores[0].config.options = &fault;
    w->options.hold_on_failure = held;
    world_engine(w);
    aon_memory_trouble_at(world_database(w, "b"), AON_MEMORY_LOSE_REPLY, 1, 1);
    aon_result result = world_apply(w, LINE("b", "edit", "update", "{\"n\":2}"));
    (void)result;
    char id[37];
    memcpy(id, w->outcome.bulk_id, 37);
    assert_string_equal(world_get(w, "b", "c", "edit"), "{\"n\":2}");
    assert_int_equal(world_state(w, id), held ? AON_HELD : AON_ROLLING_BACK);
    fault.nth = 0; /* the store answers again */
    world_die(w);
    assert_int_equal(world_recover(w), 0);
    world_new_outcome(w);
    OK(aon_rollback(w->engine, id, &w->options, &w->outcome, error));
    assert_int_equal(world_state(w, id), AON_ROLLED_BACK);
    assert_string_equal(world_get(w, "b", "c", "edit"), "{\"n\":1}");
    world_free(w);
  }
}

/* Several operations on one document, each a request of its own; the last one, which would have taken back what the first had made, never
 * took effect. What lies between the first image and the last is ours all the same. */
static void set_back(world *w) {
  unsigned *requests = w->call_context;
  if (++*requests == 4) /* the third again */
    world_put(w, "k", "c", "edit", "{\"n\":1,\"ours\":1}");
  else
    w->call = set_back;
}
static void a_chain_of_which_the_last_is_missing(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "k", AON_CLASS_CONDITIONAL, &(aon_memory_config){.batch_operations = 1});
  world_put(w, "k", "c", "edit", "{\"n\":1}");
  world_engine(w);
  aon_memory_trouble_at(world_database(w, "k"), AON_MEMORY_DELAY, 3, 1); /* the third write, which never arrives */
  unsigned requests = 0;
  w->call = set_back; /* somebody sets n to what it was */
  w->call_context = &requests;
  w->call_name = "store.k.apply";
  aon_result result = world_apply(w, LINE("k", "edit", "update", "{\"ours\":1}") LINE("k", "edit", "update", "{\"n\":2}")
                                         LINE("k", "edit", "update", "{\"n\":3,\"ours\":null}"));
  assert_int_equal(result, AON_OK);
  aon_memory_drop(world_database(w, "k"));
  if (w->outcome.state == AON_ROLLBACK_FAILED) {
    char id[37];
    memcpy(id, w->outcome.bulk_id, 37);
    world_new_outcome(w);
    OK(aon_rollback(w->engine, id, &w->options, &w->outcome, error));
  }
  if (w->outcome.state == AON_ROLLED_BACK)
    assert_string_equal(world_get(w, "k", "c", "edit"), "{\"n\":1}");
  else
    assert_int_equal(w->outcome.conflicts, 1);
  world_free(w);
}

/* It arrives when its own operation has been taken back and an older one on the same document has not: with the older one's stamp goes what
 * the watch would know it by, so it is taken back together with that. */
static void arrives_amid(world *w) {
  bool done = false;
  OK(aon_memory_deliver(world_database(w, "k"), &done, error));
  assert_true(done);
}
static void late_between_two_of_a_chain(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "k", AON_CLASS_CONDITIONAL, &(aon_memory_config){.tokens = true, .batch_operations = 1});
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_put(w, "k", "c", "edit", "{\"n\":1}");
  w->config.test_rollback_at = 2;
  world_engine(w);
  aon_memory_trouble_at(world_database(w, "k"), AON_MEMORY_DELAY, 2, 1);
  w->call = arrives_amid;
  w->call_name = "journal.conflict_put"; /* the watch */
  OK(world_apply(w, LINE("k", "edit", "update", "{\"n\":2}") LINE("k", "edit", "update", "{\"late\":1}") LINE("t", "1", "create", "{}")));
  assert_null(w->call);
  assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
  assert_string_equal(world_get(w, "k", "c", "edit"), "{\"n\":1}");
  world_free(w);
}

/* A request in doubt that would have set a value to what an older operation had set it to: the document that the older one left is not its
 * work, and its before image is not written there, whether somebody else changed another value or not. */
static void changes_another_value(world *w) { world_put(w, "k", "c", "edit", "{\"n\":1,\"c\":2,\"b\":1,\"theirs\":9}"); }
#define FIRST_TWO LINE("k", "edit", "update", "{\"c\":1,\"b\":1}") LINE("k", "edit", "update", "{\"c\":2}")
#define LAST LINE("k", "new", "create", "{}")
static void in_doubt_and_alike(void **state) {
  (void)state;
  for (int round = 0; round < 4; round++) {
    bool theirs = round % 2;
    world *w = world_new();
    world_memory(w, "k", round < 2 ? AON_CLASS_CONDITIONAL : AON_CLASS_PLAIN, &(aon_memory_config){.batch_operations = 1});
    world_put(w, "k", "c", "edit", "{\"n\":1}");
    w->config.test_rollback_at = 3;
    world_engine(w);
    aon_memory_trouble_at(world_database(w, "k"), AON_MEMORY_DELAY, 3, 1); /* it never arrives */
    w->call = theirs ? changes_another_value : NULL;
    w->call_name = "journal.conflict_put"; /* once the one in doubt is taken back */
    OK(world_apply(w, round < 2 ? FIRST_TWO LINE("k", "edit", "update", "{\"c\":1}") LAST
                                : FIRST_TWO LINE("k", "edit", "update", "{\"c\":1,\"b\":5}") LAST)); /* b tells that it did not come */
    aon_memory_drop(world_database(w, "k"));
    assert_null(w->call);
    assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
    assert_string_equal(world_get(w, "k", "c", "edit"), theirs ? "{\"n\":1,\"theirs\":9}" : "{\"n\":1}");
    world_free(w);
  }
}

/* A document that somebody else changed is found on the way back while another process holds the journal for too long: it is named when the
 * journal is free again, not forgotten because it was found before. */
typedef struct holder {
  sqlite3 *database;
  int begun;
} holder;
static void lets_go(world *w) {
  assert_int_equal(sqlite3_exec(((holder *)w->call_context)->database, "rollback", NULL, NULL, NULL), SQLITE_OK);
}
static void holds_the_journal(world *w) {
  assert_int_equal(sqlite3_exec(((holder *)w->call_context)->database, "begin immediate", NULL, NULL, NULL), SQLITE_OK);
  w->call = lets_go;
  w->call_name = "store.b.resolve";
}
static void changes_what_goes_back(world *w) {
  w->call = changes_what_goes_back;
  if (++((holder *)w->call_context)->begun < 2) /* the first one is on the way forward */
    return;
  world_put(w, "b", "c", "edit", "{\"n\":9}");
  w->call = holds_the_journal;
  w->call_name = "journal.conflict_put";
}
static void a_conflict_that_could_not_be_noted(void **state) {
  (void)state;
  holder elsewhere = {0};
  world *w = world_new();
  world_memory(w, "b", AON_CLASS_BATCH, NULL);
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_put(w, "b", "c", "edit", "{\"n\":1}");
  w->config.test_rollback_at = 1;
  world_engine(w);
  assert_int_equal(sqlite3_open(w->journal, &elsewhere.database), SQLITE_OK);
  w->call = changes_what_goes_back;
  w->call_name = "store.b.begin";
  w->call_context = &elsewhere;
  OK(world_apply(w, LINE("b", "edit", "update", "{\"n\":2}") LINE("t", "1", "create", "{}")));
  assert_null(w->call);
  assert_int_equal(w->outcome.state, AON_ROLLBACK_FAILED);
  assert_int_equal(w->outcome.conflicts, 1);
  assert_string_equal(world_get(w, "b", "c", "edit"), "{\"n\":9}");
  sqlite3_close(elsewhere.database);
  world_free(w);
}

/* Class 4: the late request arrives after the rollback, and matches again. The watch takes it back; a read never shows it. */
static void late_after_a_rollback_is_watched(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "k", AON_CLASS_CONDITIONAL, &(aon_memory_config){.tokens = true});
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_put(w, "k", "c", "edit", "{\"n\":1}");
  w->config.test_rollback_at = 2;
  world_engine(w);
  aon_memory_trouble_at(world_database(w, "k"), AON_MEMORY_DELAY, 1, 1);
  int64_t slept = w->slept_ms;
  aon_result result =
      world_apply(w, LINE("k", "edit", "update", "{\"n\":2}") LINE("k", "new", "create", "{\"n\":2}") LINE("t", "1", "create", "{}"));
  assert_int_equal(result, AON_OK);
  assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
  assert_true(w->slept_ms - slept >= 3000); /* the horizon: nothing was compared before */
  assert_string_equal(world_get(w, "k", "c", "edit"), "{\"n\":1}");
  bool done = false;
  OK(aon_memory_deliver(world_database(w, "k"), &done, error));
  assert_true(done); /* the stray is there */
  assert_string_equal(world_get(w, "k", "c", "edit"), "{\"n\":2}");
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_collection c = {.store = "k", .name = "c"};
  aon_image image;
  OK(aon_document_get(w->engine, &c, AON_TEXT("edit"), AON_READ_COMMITTED, 0, &arena, &image, NULL, error));
  bson_t view;
  bson_iter_t at;
  assert_true(aon_image_view(&image, &view) && bson_iter_init_find(&at, &view, "n"));
  assert_int_equal(bson_iter_as_int64(&at), 1);
  OK(aon_housekeep(w->engine, &w->options, error));
  assert_string_equal(world_get(w, "k", "c", "edit"), "{\"n\":1}");
  world_put(w, "k", "c", "edit", "{\"n\":5}"); /* nobody's stray */
  OK(aon_housekeep(w->engine, &w->options, error));
  assert_string_equal(world_get(w, "k", "c", "edit"), "{\"n\":5}");
  world_advance(w, 61000); /* the watch is over */
  OK(aon_housekeep(w->engine, &w->options, error));
  size_t before = w->steps_length;
  OK(aon_housekeep(w->engine, &w->options, error));
  assert_null(strstr(w->steps_log + before, "store.k.read"));
  world_free(w);
}

/* A write that takes back and is not answered is not sent again before it can no longer arrive: else it would make anew what somebody
 * deletes when all is over. The same for who takes the rollback over, wherever the first worker died. */
static void back_without_answer(world *w, uint64_t n, aon_store_class class) {
  world_memory(w, "k", class, NULL);
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_put(w, "k", "c", "gone", "{\"n\":1}");
  w->config.test_rollback_at = 1;
  world_engine(w);
  aon_memory_trouble_at(world_database(w, "k"), AON_MEMORY_DELAY, 2, 1);
  w->steps = 0;
  w->crash_at = n;
  if (!setjmp(w->crashed)) {
    aon_result result = world_apply(w, DELETE("k", "gone") LINE("t", "1", "create", "{}"));
    CHECK(!result && w->outcome.state == AON_ROLLED_BACK);
    CHECK(aon_memory_under_way(world_database(w, "k")) == 1 && w->slept_ms >= 3000);
    world_nothing_left();
  }
  world_die(w);
  CHECK(world_recover(w) == 0);
  CHECK(!aon_memory_under_way(world_database(w, "k")) || w->slept_ms >= 3000);
  CHECK(!strcmp(world_get(w, "k", "c", "gone"), "{\"n\":1}"));
}
static void back_in_class_4(world *w, uint64_t n) { back_without_answer(w, n, AON_CLASS_CONDITIONAL); }
static void back_in_class_5(world *w, uint64_t n) { back_without_answer(w, n, AON_CLASS_PLAIN); }

static void a_write_back_is_waited_for(void **state) {
  (void)state;
  assert_true(world_every_step(back_in_class_4, 400) > 20);
  assert_true(world_every_step(back_in_class_5, 400) > 20);
}

/* The same for a person's choice: where nobody answered, nothing is compared or chosen before the write can no longer arrive, also by who
 * comes after a worker that died. */
static void somebody_edits(world *w) { world_put(w, "k", "c", "edit", "{\"n\":99}"); }
static void choice_without_answer(world *w, uint64_t n, aon_store_class class) {
  world_memory(w, "k", class, NULL);
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_put(w, "k", "c", "edit", "{\"n\":1}");
  w->config.test_rollback_at = 1;
  world_engine(w);
  w->call = somebody_edits;
  w->call_name = "journal.batches";
  CHECK(!world_apply(w, LINE("k", "edit", "update", "{\"n\":2}") LINE("t", "1", "create", "{}")));
  CHECK(w->outcome.state == AON_ROLLBACK_FAILED);
  char id[37];
  memcpy(id, w->outcome.bulk_id, sizeof id);
  aon_memory_trouble_at(world_database(w, "k"), AON_MEMORY_DELAY, 1, 1);
  int64_t slept = w->slept_ms;
  world_new_outcome(w);
  w->steps = 0;
  w->crash_at = n;
  if (!setjmp(w->crashed)) {
    CHECK(!aon_resolve(w->engine, id, "all", AON_FORCE, NULL, &w->options, &w->outcome, &w->error));
    CHECK(aon_memory_under_way(world_database(w, "k")) == 1 && w->slept_ms - slept >= 3000);
    world_nothing_left();
  }
  world_die(w);
  CHECK(world_recover(w) == 0);
  world_new_outcome(w);
  if (world_state(w, id) == AON_ROLLBACK_FAILED)
    CHECK(!aon_resolve(w->engine, id, "all", AON_FORCE, NULL, &w->options, &w->outcome, &w->error));
  CHECK(!aon_memory_under_way(world_database(w, "k")) || w->slept_ms - slept >= 3000);
  CHECK(world_state(w, id) == AON_ROLLED_BACK && !strcmp(world_get(w, "k", "c", "edit"), "{\"n\":1}"));
}
static void choice_in_class_4(world *w, uint64_t n) { choice_without_answer(w, n, AON_CLASS_CONDITIONAL); }
static void choice_in_class_5(world *w, uint64_t n) { choice_without_answer(w, n, AON_CLASS_PLAIN); }

static void a_choice_is_waited_for(void **state) {
  (void)state;
  assert_true(world_every_step(choice_in_class_4, 400) > 5);
  assert_true(world_every_step(choice_in_class_5, 400) > 5);
}

static void void_stamp_keeps_it_out(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "k", AON_CLASS_CONDITIONAL, &(aon_memory_config){.tokens = true});
  world_config(w, "k")->void_stamp = true;
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_put(w, "k", "c", "edit", "{\"n\":1}");
  w->config.test_rollback_at = 1;
  world_engine(w);
  aon_memory_trouble_at(world_database(w, "k"), AON_MEMORY_DELAY, 1, 1);
  OK(world_apply(w, LINE("k", "edit", "update", "{\"n\":2}") LINE("t", "1", "create", "{}")));
  assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
  bool done = true;
  OK(aon_memory_deliver(world_database(w, "k"), &done, error));
  assert_false(done);
  assert_string_equal(world_get(w, "k", "c", "edit"), "{\"n\":1}");
  world_free(w);
}

/* Not arrived when the rollback looks: what stands there is stamped all the same, else the late request would match it. */
static void void_stamp_of_what_was_not_written(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "k", AON_CLASS_CONDITIONAL, &(aon_memory_config){.tokens = true});
  world_config(w, "k")->void_stamp = true;
  world_put(w, "k", "c", "edit", "{\"n\":1}");
  world_engine(w);
  aon_memory_trouble_at(world_database(w, "k"), AON_MEMORY_DELAY, 1, 7); /* all sendings */
  OK(world_apply(w, LINE("k", "edit", "update", "{\"n\":2}")));
  assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
  assert_int_equal(aon_memory_under_way(world_database(w, "k")), 7);
  while (aon_memory_under_way(world_database(w, "k"))) {
    bool done = true;
    OK(aon_memory_deliver(world_database(w, "k"), &done, error));
    assert_false(done);
  }
  assert_string_equal(world_get(w, "k", "c", "edit"), "{\"n\":1}");
  world_free(w);
}

/* A rollback names a conflict and freezes; another worker takes over and dies before its transaction; the first one goes on and commits
 * without the document. What it left out is still named. */
static void dies_here(world *w) { longjmp(w->crashed, 1); }
static void another_one_begins(world *w) {
  aon_engine *frozen = w->engine;
  int64_t pid = w->pid++;
  world_advance(w, 31000);
  w->engine = NULL;
  w->call = dies_here;
  w->call_name = "store.b.begin";
  if (!setjmp(w->crashed))
    world_recover(w);
  w->engine = frozen;
  w->pid = pid;
}
static void somebody_writes(world *w) {
  world_put(w, "b", "c", "edit", "{\"n\":99}");
  w->call = another_one_begins;
  w->call_name = "store.b.commit"; /* of the pass that leaves it out */
}
static void frozen_rollback(world *w, uint64_t n) {
  (void)n;
  world_memory(w, "b", AON_CLASS_BATCH, NULL);
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_put(w, "b", "c", "edit", "{\"n\":1}");
  w->config.test_rollback_at = 2;
  world_engine(w);
  w->call = somebody_writes;
  w->call_name = "store.b.resolve";
  aon_result result =
      world_apply(w, LINE("b", "edit", "update", "{\"n\":2}") LINE("b", "new", "create", "{\"n\":2}") LINE("t", "1", "create", "{}"));
  CHECK(result == AON_FENCED && !w->call);
  CHECK(!strcmp(world_get(w, "b", "c", "new"), "")); /* it went on all the same */
  w->engine = NULL;
  w->pid += 2;
  world_advance(w, 31000);
  CHECK(world_recover(w) == 0);
  CHECK(world_state(w, w->outcome.bulk_id) == AON_ROLLBACK_FAILED);
  CHECK(!strcmp(world_get(w, "b", "c", "edit"), "{\"n\":99}"));
}
static void conflict_of_a_frozen_rollback_stays_named(void **state) {
  (void)state;
  assert_int_equal(world_child(frozen_rollback, 1), 0);
}

/* A PREPARE on its way arrives between the question for what is prepared and the marker: nothing prepared is left behind. */
static void arrives(world *w) {
  bool done = false;
  OK(aon_memory_deliver(world_database(w, "p"), &done, error));
  assert_true(done);
}
static void arrives_before_the_marker(world *w) {
  w->call = arrives;
  w->call_name = "store.p.resolve";
}
static void prepared_late_is_ended(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "p", AON_CLASS_PREPARED, NULL);
  world_engine(w);
  aon_memory_trouble_at(world_database(w, "p"), AON_MEMORY_DELAY, 1, 1);
  w->call = arrives_before_the_marker;
  w->call_name = "store.p.abort_prepared";
  OK(world_apply(w, LINE("p", "1", "create", "{\"n\":1}")));
  assert_null(w->call);
  assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
  assert_int_equal(aon_memory_prepared(world_database(w, "p")), 0);
  assert_string_equal(world_get(w, "p", "c", "1"), "");
  world_free(w);
}

static void transient_is_bounded(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "k", AON_CLASS_CONDITIONAL, NULL);
  world_engine(w);
  aon_memory_trouble_at(world_database(w, "k"), AON_MEMORY_REFUSE, 1, 3);
  APPLY_OK(w, LINE("k", "1", "create", "{\"n\":1}"));
  assert_true(w->slept_ms >= 125);
  aon_memory_trouble_at(world_database(w, "k"), AON_MEMORY_REFUSE, 1, 1000);
  aon_result result = world_apply(w, LINE("k", "2", "create", "{\"n\":1}"));
  assert_int_equal(result, AON_OK);
  assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
  assert_string_equal(w->outcome.failure.document_id, "2"); /* told with its document */
  assert_true(w->slept_ms < 60000);
  world_free(w);
}

static void change_it(world *w) { world_put(w, w->call_context, "c", "edit", "{\"n\":77}"); }

static void changed_meanwhile_rolls_back(void **state) {
  (void)state;
  for (int class = AON_CLASS_PREPARED; class <= AON_CLASS_PLAIN; class ++) {
    world *w = world_new();
    world_memory(w, "s", (aon_store_class) class, &(aon_memory_config){.tokens = true});
    world_put(w, "s", "c", "edit", "{\"n\":1}");
    world_engine(w);
    w->call = change_it;
    w->call_context = (void *)(uintptr_t) "s";
    w->call_name = class <= AON_CLASS_BATCH ? "store.s.begin" : "store.s.apply";
    aon_result result = world_apply(w, LINE("s", "new", "create", "{\"n\":1}") LINE("s", "edit", "update", "{\"n\":2}"));
    assert_int_equal(result, AON_OK);
    assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
    assert_string_equal(w->outcome.failure.code, "changed_meanwhile");
    assert_string_equal(w->outcome.failure.document_id, "edit");
    assert_string_equal(world_get(w, "s", "c", "edit"), "{\"n\":77}");
    assert_string_equal(world_get(w, "s", "c", "new"), "");
    world_free(w);
  }
}

/* A person's ROLLBACK PREPARED after the decision: made again where it can be, else named. */
static void drop_prepared(world *w) { aon_memory_prepared_drop(world_database(w, "p")); }
static void drop_and_change(world *w) {
  aon_memory_prepared_drop(world_database(w, "p"));
  world_put(w, "p", "c", "edit", "{\"n\":50}");
}
static void a_lost_prepared_transaction(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "p", AON_CLASS_PREPARED, NULL);
  world_put(w, "p", "c", "edit", "{\"n\":1}");
  world_put(w, "p", "c", "gone", "{\"n\":1}");
  world_engine(w);
  w->call = drop_prepared;
  w->call_name = "store.p.commit_prepared";
  APPLY_OK(w, LINE("p", "edit", "update", "{\"n\":2}") LINE("p", "new", "create", "{\"n\":1}"));
  assert_string_equal(world_get(w, "p", "c", "edit"), "{\"n\":2}");
  assert_string_equal(world_get(w, "p", "c", "new"), "{\"n\":1}");
  w->call = drop_and_change;
  aon_result result = world_apply(w, LINE("p", "edit", "update", "{\"n\":3}") LINE("p", "new", "update", "{\"n\":3}") DELETE("p", "gone"));
  assert_int_equal(result, AON_OK);
  assert_int_equal(w->outcome.state, AON_COMMIT_FAILED);
  assert_int_equal(world_status(w, result), 4);
  assert_int_equal(w->outcome.conflicts, 1);
  assert_string_equal(world_get(w, "p", "c", "new"), "{\"n\":3}");
  assert_string_equal(world_get(w, "p", "c", "gone"), "");
  assert_string_equal(world_get(w, "p", "c", "edit"), "{\"n\":50}"); /* theirs is not overwritten, nor by trying again */
  char id[37];
  memcpy(id, w->outcome.bulk_id, 37);
  world_new_outcome(w);
  OK(aon_rollback(w->engine, id, &w->options, &w->outcome, error));
  assert_int_equal(w->outcome.state, AON_COMMIT_FAILED);
  assert_string_equal(world_get(w, "p", "c", "edit"), "{\"n\":50}");
  world_new_outcome(w);
  OK(aon_resolve(w->engine, id, "p/c/edit", AON_FORCE, NULL, &w->options, &w->outcome, error));
  assert_int_equal(w->outcome.state, AON_COMMITTED);
  assert_string_equal(world_get(w, "p", "c", "edit"), "{\"n\":3}");
  world_free(w);
}

/* What can't be taken back waits for the decision; sent once, also where the worker dies in between. */
static void effects_die(world *w, uint64_t n) {
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_memory(w, "x", AON_CLASS_PLAIN, &(aon_memory_config){.cannot_undo = true});
  world_engine(w);
  w->steps = 0;
  w->crash_at = n;
  if (!setjmp(w->crashed)) {
    aon_result result = world_apply(w, LINE("x", "1", "create", "{\"n\":1}") LINE("x", "2", "create", "{\"n\":1}")
                                           LINE("x", "3", "create", "{\"n\":1}") LINE("t", "1", "create", "{\"n\":1}"));
    CHECK(!result && w->outcome.state == AON_COMMITTED);
    world_nothing_left();
  }
  world_die(w);
  CHECK(world_recover(w) == 0);
  size_t x = aon_memory_documents(world_database(w, "x")), t = aon_memory_documents(world_database(w, "t"));
  CHECK((x == 3 && t == 1) || (x == 0 && t == 0));
}
static void effects_wait_and_are_sent_once(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_memory(w, "x", AON_CLASS_PLAIN, &(aon_memory_config){.cannot_undo = true});
  w->config.test_rollback_at = 2;
  world_engine(w);
  OK(world_apply(w, LINE("x", "1", "create", "{\"n\":1}") LINE("t", "1", "create", "{\"n\":1}") LINE("t", "2", "create", "{\"n\":1}")));
  assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
  assert_null(strstr(w->steps_log, "store.x.apply"));
  /* The store refuses one for good after the decision: it is named, the others go out. */
  world_put(w, "x", "c", "2", "{\"there\":true}");
  w->config.test_rollback_at = -1;
  world_close(w);
  world_engine(w);
  aon_result result = world_apply(w, LINE("x", "1", "create", "{\"n\":1}") LINE("x", "2", "create", "{\"n\":1}")
                                         LINE("x", "3", "create", "{\"n\":1}") LINE("t", "1", "create", "{\"n\":1}"));
  assert_int_equal(result, AON_OK);
  assert_int_equal(w->outcome.state, AON_COMMIT_FAILED);
  assert_string_equal(world_get(w, "x", "c", "1"), "{\"n\":1}");
  assert_string_equal(world_get(w, "x", "c", "2"), "{\"there\":true}");
  assert_string_equal(world_get(w, "x", "c", "3"), "{\"n\":1}");
  assert_string_equal(world_get(w, "t", "c", "1"), "{\"n\":1}");
  world_free(w);
  assert_true(world_every_step(effects_die, 400) > 20);
}

/* ---- a callback store: its undo, not its do, takes back ---- */

typedef struct calls {
  char text[400];
} calls;

static aon_result perform(void *context, const aon_callback_operation *operation, aon_error *error) {
  (void)error;
  calls *c = context;
  size_t at = strlen(c->text);
  snprintf(c->text + at, sizeof c->text - at, "do %.*s; ", (int)operation->id.length, operation->id.data);
  return AON_OK;
}
static aon_result undo(void *context, const aon_callback_operation *operation, aon_error *error) {
  (void)error;
  calls *c = context;
  size_t at = strlen(c->text);
  snprintf(c->text + at, sizeof c->text - at, "undo %.*s; ", (int)operation->id.length, operation->id.data);
  return AON_OK;
}
static aon_result read_done(void *context, const char *collection, aon_text id, bson_t *document, bool *ret_exists, aon_error *error) {
  (void)collection;
  (void)error;
  char did[40], undid[40];
  const calls *c = context;
  snprintf(did, sizeof did, "do %.*s;", (int)id.length, id.data);
  snprintf(undid, sizeof undid, "undo %.*s;", (int)id.length, id.data);
  *ret_exists = strstr(c->text, did) && !strstr(c->text, undid);
  if (*ret_exists)
    BSON_APPEND_INT64(document, "n", 1);
  return AON_OK;
}

static void callbacks_are_undone(void **state) {
  (void)state;
  world *w = world_new();
  calls c = {.text = ""};
  const aon_callbacks functions = {.version = AON_CALLBACKS_VERSION, .context = &c, .perform = perform, .undo = undo, .read = read_done};
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_callbacks(w, "x", &functions);
  w->config.test_rollback_at = 2;
  world_engine(w);
  OK(world_apply(w, LINE("x", "a", "create", "{\"n\":1}") LINE("x", "b", "create", "{\"n\":1}") LINE("t", "1", "create", "{}")));
  assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
  assert_string_equal(c.text, "do a; do b; undo b; undo a; ");
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(lost_on_the_way_back),
                                     TEST(late_in_classes_1_to_3),
                                     TEST(a_batch_nobody_can_prove),
                                     TEST(a_chain_of_which_the_last_is_missing),
                                     TEST(late_between_two_of_a_chain),
                                     TEST(in_doubt_and_alike),
                                     TEST(a_conflict_that_could_not_be_noted),
                                     TEST(late_after_a_rollback_is_watched),
                                     TEST(a_write_back_is_waited_for),
                                     TEST(a_choice_is_waited_for),
                                     TEST(void_stamp_keeps_it_out),
                                     TEST(void_stamp_of_what_was_not_written),
                                     TEST(conflict_of_a_frozen_rollback_stays_named),
                                     TEST(prepared_late_is_ended),
                                     TEST(transient_is_bounded),
                                     TEST(changed_meanwhile_rolls_back),
                                     TEST(a_lost_prepared_transaction),
                                     TEST(callbacks_are_undone),
                                     TEST(effects_wait_and_are_sent_once)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
