/* What a person asks of a bulk operation: hold and resume, rollback, undo, cancel, resolve; and the forced failures of tests. */
#include "harness.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#define LINE(store, id, operation, data)                                                                                                   \
  "{\"store\":\"" store "\",\"collection\":\"c\",\"id\":\"" id "\",\"operation\":\"" operation "\",\"data\":" data "}\n"
#define DELETE(store, id) "{\"store\":\"" store "\",\"collection\":\"c\",\"id\":\"" id "\",\"operation\":\"delete\"}\n"

static world *five_classes(void) {
  world *w = world_new();
  static const char *const names[] = {"p", "t", "b", "k", "x"};
  for (int i = 0; i < 5; i++) {
    world_memory(w, names[i], (aon_store_class)(i + 1), &(aon_memory_config){.tokens = true});
    world_put(w, names[i], "c", "edit", "{\"n\":1,\"m\":1}");
    world_put(w, names[i], "c", "gone", "{\"n\":1}");
  }
  return w;
}
#define PART(s)                                                                                                                            \
  LINE(s, "new", "create", "{\"n\":5}") LINE(s, "edit", "update", "{\"n\":2}") DELETE(s, "gone") LINE(s, "new", "update", "{\"m\":6}")
#define ALL PART("p") PART("t") PART("b") PART("k") PART("x")

static void remember(world *w, char id[37]) { memcpy(id, w->outcome.bulk_id, 37); }

static void every_forced_failure(void **state) {
  (void)state;
  for (int64_t k = 0; k <= 20; k++) {
    world *w = five_classes();
    char *before = world_snapshot(w);
    w->config.test_rollback_at = k;
    w->config.test_mode = true;
    world_engine(w);
    aon_result result = world_apply(w, ALL);
    assert_int_equal(result, AON_OK);
    if (k == 20) { /* beyond the last one: nothing fails, a warning */
      assert_int_equal(w->outcome.state, AON_COMMITTED);
      assert_non_null(strstr(w->log, "nothing fails"));
    } else {
      char *after = world_snapshot(w), line[100];
      assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
      assert_int_equal(world_status(w, result), 3);
      assert_string_equal(before, after);
      assert_int_equal(w->outcome.failure.operation, k);
      snprintf(line, sizeof line, "Operation %lld failed: [TEST] Forced failure", (long long)k);
      assert_non_null(strstr(w->log, line));
      snprintf(line, sizeof line, "[AtomicOperations] Starting rollback of %lld operations", (long long)k);
      assert_non_null(strstr(w->log, line));
      assert_non_null(strstr(w->log, "[AtomicOperations] Rollback completed successfully"));
      free(after);
    }
    free(before);
    world_free(w);
  }
}

static aon_result hear_line(void *context, const char *json, size_t length, aon_error *error) {
  aon_result result = aon_buffer_append(context, json, length, error);
  return result ? result : aon_buffer_text(context, "\n", error);
}

static void test_mode_keeps_images(void **state) {
  (void)state;
  for (int keep = 0; keep < 2; keep++) {
    world *w = five_classes();
    w->config.test_rollback_at = 3;
    w->config.test_mode = keep;
    w->config.retention_ms = 1000;
    world_engine(w);
    OK(world_apply(w, PART("t")));
    char id[37];
    remember(w, id);
    AON_BUFFER_CLEANUP aon_buffer log = {0};
    OK(aon_entries_log(w->engine, id, hear_line, &log, error));
    assert_non_null(strstr(log.data, "\"status\":\"rolledback\""));
    world_advance(w, 2000);
    OK(aon_housekeep(w->engine, &w->options, error));
    aon_buffer_clear(&log);
    OK(aon_entries_log(w->engine, id, hear_line, &log, error));
    assert_true((strstr(log.data, "\"newData\":{") != NULL) == (keep == 1));
    world_free(w);
  }
}

/* More batches than the log of a bulk operation keeps in memory at once: what became of the last ones is told as of the first ones. */
#define MANY_BATCHES 4200

typedef struct statuses {
  uint64_t taken_back, pending;
} statuses;

static aon_result count_status(void *context, const char *json, size_t length, aon_error *error) {
  (void)length;
  (void)error;
  statuses *s = context;
  s->taken_back += strstr(json, "\"status\":\"rolledback\"") != NULL;
  s->pending += strstr(json, "\"status\":\"pending\"") != NULL;
  return AON_OK;
}

static void a_log_of_many_batches(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "b", AON_CLASS_BATCH, NULL);
  w->config.batch = 1;
  w->config.test_rollback_at = MANY_BATCHES;
  world_engine(w);
  AON_BUFFER_CLEANUP aon_buffer lines = {0};
  for (int i = 0; i <= MANY_BATCHES; i++)
    OK(aon_buffer_format(&lines, error, "{\"store\":\"b\",\"collection\":\"c\",\"id\":\"%d\",\"operation\":\"create\",\"data\":{}}\n", i));
  OK(world_apply(w, lines.data));
  assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
  statuses counted = {0};
  OK(aon_entries_log(w->engine, w->outcome.bulk_id, count_status, &counted, error));
  assert_int_equal(counted.taken_back, MANY_BATCHES);
  assert_int_equal(counted.pending, 1); /* the one that was to fail */
  world_free(w);
}

static void older_indexes_count_their_collection(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  w->config.test_user_index = 1;
  world_engine(w);
  OK(world_apply(w, "{\"store\":\"t\",\"collection\":\"users\",\"id\":\"1\",\"operation\":\"create\",\"data\":{}}\n"
                    "{\"store\":\"t\",\"collection\":\"sites\",\"id\":\"1\",\"operation\":\"create\",\"data\":{}}\n"
                    "{\"store\":\"t\",\"collection\":\"users\",\"id\":\"2\",\"operation\":\"create\",\"data\":{}}\n"));
  assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
  assert_int_equal(w->outcome.failure.operation, 2);
  world_free(w);
}

/* ---- hold ---- */

static void hold_and_resume(void **state) {
  (void)state;
  for (int64_t k = 0; k < 20; k++) {
    world *w = five_classes();
    w->config.test_rollback_at = k;
    w->options.hold_on_failure = true;
    world_engine(w);
    aon_result result = world_apply(w, ALL);
    char id[37];
    remember(w, id);
    assert_int_equal(result, AON_OK);
    assert_int_equal(w->outcome.state, AON_HELD);
    assert_int_equal(world_status(w, result), 6);
    assert_int_equal(world_recover(w), 0); /* a sweep leaves it to the person */
    assert_int_equal(world_state(w, id), AON_HELD);
    world_new_outcome(w);
    result = aon_resume(w->engine, id, &w->options, &w->outcome, &w->error);
    if (result || w->outcome.state != AON_COMMITTED)
      fail_msg("k %d: %s %s: %s", (int)k, aon_state_name(w->outcome.state), w->error.sentence, w->outcome.failure.message);
    static const char *const names[] = {"p", "t", "b", "k", "x"};
    for (int i = 0; i < 5; i++) {
      assert_string_equal(world_get(w, names[i], "c", "new"), "{\"n\":5,\"m\":6}");
      assert_string_equal(world_get(w, names[i], "c", "edit"), "{\"n\":2,\"m\":1}");
      assert_string_equal(world_get(w, names[i], "c", "gone"), "");
    }
    world_free(w);
  }
}

static void hold_ends_in_a_rollback(void **state) {
  (void)state;
  for (int by_time = 0; by_time < 2; by_time++) {
    world *w = five_classes();
    char *before = world_snapshot(w), id[37];
    w->config.test_rollback_at = 17;
    w->options.hold_on_failure = true;
    world_engine(w);
    OK(world_apply(w, ALL));
    remember(w, id);
    assert_int_equal(w->outcome.state, AON_HELD);
    if (by_time) {
      world_advance(w, 3600001);
      assert_int_equal(world_recover(w), 0);
    } else {
      world_new_outcome(w);
      OK(aon_rollback(w->engine, id, &w->options, &w->outcome, error));
    }
    assert_int_equal(world_state(w, id), AON_ROLLED_BACK);
    char *after = world_snapshot(w);
    assert_string_equal(before, after);
    free(before);
    free(after);
    world_free(w);
  }
}

static void resume_refuses_what_was_changed(void **state) {
  (void)state;
  world *w = five_classes();
  w->config.test_rollback_at = 3;
  w->options.hold_on_failure = true;
  world_engine(w);
  OK(world_apply(w, LINE("b", "edit", "update", "{\"n\":2}") LINE("b", "new", "create", "{}") DELETE("b", "gone")
                        LINE("t", "new", "create", "{}")));
  char id[37];
  remember(w, id);
  world_put(w, "b", "c", "edit", "{\"n\":8,\"m\":1}");
  world_new_outcome(w);
  assert_int_equal(aon_resume(w->engine, id, &w->options, &w->outcome, &w->error), AON_PERMANENT);
  assert_string_equal(w->error.code, "changed_meanwhile");
  assert_int_equal(world_state(w, id), AON_HELD);
  world_free(w);
}

/* ---- undo ---- */

static void undo_and_undo_of_the_undo(void **state) {
  (void)state;
  world *w = five_classes();
  char *before = world_snapshot(w), first[37], second[37];
  world_engine(w);
  APPLY_OK(w, ALL);
  remember(w, first);
  char *after = world_snapshot(w);
  OK(world_undo(w, first, NULL));
  assert_int_equal(w->outcome.state, AON_COMMITTED);
  remember(w, second);
  char *now = world_snapshot(w);
  assert_string_equal(now, before);
  free(now);
  assert_int_equal(world_state(w, first), AON_UNDONE);
  assert_string_equal(w->outcome.undoes, first);
  AON_BUFFER_CLEANUP aon_buffer json = {0};
  OK(aon_show(w->engine, first, &json, error));
  assert_non_null(strstr(json.data, "\"undoneBy\":[\""));
  OK(world_undo(w, second, NULL));
  assert_int_equal(w->outcome.state, AON_COMMITTED);
  now = world_snapshot(w);
  assert_string_equal(now, after);
  assert_int_equal(world_state(w, second), AON_UNDONE);
  assert_int_equal(world_undo(w, first, NULL), AON_USAGE); /* it is taken back already */
  free(now);
  free(after);
  free(before);
  world_free(w);
}

static void undo_names_who_came_later(void **state) {
  (void)state;
  world *w = five_classes();
  char first[37], later[37];
  world_engine(w);
  APPLY_OK(w, LINE("t", "edit", "update", "{\"n\":2}") LINE("t", "new", "create", "{\"n\":1}"));
  remember(w, first);
  APPLY_OK(w, LINE("t", "edit", "update", "{\"n\":3}"));
  remember(w, later);
  aon_result result = world_undo(w, first, NULL);
  assert_int_equal(result, AON_OK);
  assert_int_equal(w->outcome.state, AON_REJECTED_STATE);
  assert_int_equal(world_status(w, result), 2);
  assert_non_null(strstr(w->outcome.problems.errors[0].sentence, later));
  assert_int_equal(world_state(w, first), AON_COMMITTED);
  assert_string_equal(world_get(w, "t", "c", "new"), "{\"n\":1}"); /* with conflicts it changes nothing */
  const char *const keep[] = {"t/c/edit", NULL};
  OK(world_undo(w, first, &(aon_undo_options){.first = -1, .keep_theirs = keep}));
  assert_int_equal(w->outcome.state, AON_COMMITTED);
  assert_string_equal(world_get(w, "t", "c", "edit"), "{\"n\":3,\"m\":1}");
  assert_string_equal(world_get(w, "t", "c", "new"), "");
  world_free(w);
}

static void undo_forced(void **state) {
  (void)state;
  world *w = five_classes();
  char first[37];
  world_engine(w);
  APPLY_OK(w, LINE("k", "edit", "update", "{\"n\":2}") LINE("k", "new", "create", "{\"n\":1}"));
  remember(w, first);
  world_put(w, "k", "c", "edit", "{\"n\":9,\"m\":1}");
  const char *const all[] = {"all", NULL};
  OK(world_undo(w, first, &(aon_undo_options){.first = -1, .force = all}));
  assert_int_equal(w->outcome.state, AON_COMMITTED);
  assert_string_equal(world_get(w, "k", "c", "edit"), "{\"n\":1,\"m\":1}");
  world_free(w);
}

static void undo_of_a_part(void **state) {
  (void)state;
  world *w = five_classes();
  char first[37];
  world_engine(w);
  APPLY_OK(w, LINE("t", "a", "create", "{\"n\":1}") LINE("t", "b", "create", "{\"n\":1}") LINE("t", "user", "create", "{\"boss\":\"a\"}")
                  LINE("t", "b", "update", "{\"n\":2}"));
  remember(w, first);
  OK(world_undo(w, first, &(aon_undo_options){.first = 0, .last = 0}));
  assert_int_equal(w->outcome.state, AON_REJECTED_STATE); /* somebody's boss */
  assert_string_equal(w->outcome.problems.errors[0].code, "depends");
  assert_non_null(strstr(w->outcome.problems.errors[0].sentence, "Operation 3"));
  OK(world_undo(w, first, &(aon_undo_options){.first = 1, .last = 1}));
  assert_int_equal(w->outcome.state, AON_REJECTED_STATE); /* by chain */
  assert_int_equal(world_undo(w, first, &(aon_undo_options){.first = 2, .last = 9}), AON_USAGE);
  OK(world_undo(w, first, &(aon_undo_options){.first = 2, .last = 2}));
  assert_int_equal(w->outcome.state, AON_COMMITTED);
  assert_string_equal(world_get(w, "t", "c", "user"), "");
  assert_int_equal(world_state(w, first), AON_COMMITTED);
  OK(world_undo(w, first, NULL)); /* a later undo takes the rest */
  assert_int_equal(w->outcome.state, AON_COMMITTED);
  assert_string_equal(world_get(w, "t", "c", "a"), "");
  assert_string_equal(world_get(w, "t", "c", "b"), "");
  assert_int_equal(world_state(w, first), AON_UNDONE);
  world_free(w);
}

static void change_back(world *w) { world_put(w, "b", "c", "edit", "{\"n\":44}"); }
static void an_undo_that_fails(void **state) {
  (void)state;
  world *w = five_classes();
  char first[37], undo[37];
  world_engine(w);
  APPLY_OK(w, LINE("b", "new", "create", "{\"n\":1}") LINE("b", "edit", "update", "{\"n\":2}") LINE("t", "new", "create", "{\"n\":1}"));
  remember(w, first);
  w->config.test_rollback_at = 2; /* the undo fails, and somebody writes what it changed before it is put back */
  world_close(w);
  world_engine(w);
  w->call = change_back;
  w->call_name = "store.b.resolve";
  OK(world_undo(w, first, NULL));
  assert_int_equal(w->outcome.state, AON_ROLLBACK_FAILED);
  remember(w, undo);
  assert_int_equal(world_state(w, first), AON_UNDO_FAILED);
  world_new_outcome(w);
  assert_int_equal(aon_resolve(w->engine, first, "all", AON_FORCE, NULL, &w->options, &w->outcome, &w->error),
                   AON_USAGE); /* the other one's */
  world_new_outcome(w);
  OK(aon_resolve(w->engine, undo, "all", AON_KEEP_THEIRS, NULL, &w->options, &w->outcome, error));
  assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
  assert_int_equal(world_state(w, first), AON_COMMITTED);
  assert_string_equal(world_get(w, "b", "c", "edit"), "{\"n\":44}");
  assert_string_equal(world_get(w, "t", "c", "new"), "{\"n\":1}");
  world_free(w);
}

static void undo_dies(world *w, uint64_t n) {
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_memory(w, "b", AON_CLASS_BATCH, NULL);
  world_put(w, "t", "c", "edit", "{\"n\":1}");
  world_put(w, "b", "c", "edit", "{\"n\":1}");
  char *before = world_snapshot(w), id[37];
  world_engine(w);
  aon_result result =
      world_apply(w, LINE("t", "edit", "update", "{\"n\":2}") LINE("b", "edit", "update", "{\"n\":2}") LINE("b", "new", "create", "{}"));
  CHECK(!result && w->outcome.state == AON_COMMITTED);
  remember(w, id);
  char *after = world_snapshot(w);
  w->steps = 0;
  w->crash_at = n;
  if (!setjmp(w->crashed)) {
    CHECK(!world_undo(w, id, NULL) && w->outcome.state == AON_COMMITTED);
    world_nothing_left();
  }
  world_die(w);
  CHECK(world_recover(w) == 0);
  CHECK(world_recover(w) == 0);
  aon_state state = world_state(w, id);
  char *now = world_snapshot(w);
  CHECK((state == AON_UNDONE && !strcmp(now, before)) || (state == AON_COMMITTED && !strcmp(now, after)));
}
static void every_step_of_an_undo(void **state) {
  (void)state;
  assert_true(world_every_step(undo_dies, 500) > 30);
}

/* ---- cancel ---- */

static void ask_cancel(world *w) {
  aon_journal *journal;
  OK(aon_engine_journal(w->engine, true, &journal, error));
  AON_ARENA_CLEANUP aon_arena arena = {0};
  OK(aon_journal_ask_cancel(journal, w->call_context, error));
  world_advance(w, 11000); /* a third of the lease: the worker renews and hears it */
}
static void cancel_while_executing(void **state) {
  (void)state;
  world *w = five_classes();
  char *before = world_snapshot(w), id[] = "0b7f6a52-3c1e-4d0a-9f55-8f4f6f1f2a11";
  w->options.id = id;
  world_engine(w);
  w->call = ask_cancel;
  w->call_context = id;
  w->call_name = "store.b.begin";
  aon_result result = world_apply(w, ALL);
  assert_int_equal(result, AON_OK);
  assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
  assert_int_equal(world_status(w, result), 3);
  char *after = world_snapshot(w);
  assert_string_equal(before, after);
  world_new_outcome(w);
  assert_int_equal(aon_cancel(w->engine, id, &w->options, &w->outcome, &w->error), AON_USAGE); /* too late */
  free(before);
  free(after);
  world_free(w);
}

static sig_atomic_t interrupted;
static void interrupt(world *w) {
  (void)w;
  interrupted = 1;
}
static void a_signal(void **state) {
  (void)state;
  static const char *const at[] = {"journal.log", "store.b.begin", "store.p.commit_prepared"};
  for (int i = 0; i < 3; i++) {
    world *w = five_classes();
    interrupted = 0;
    w->options.interrupted = &interrupted;
    world_engine(w);
    w->call = interrupt;
    w->call_name = at[i];
    aon_result result = world_apply(w, ALL);
    assert_int_equal(result, AON_OK);
    /* Before anything was written cancelled, then rolled back, after the decision finished first. */
    static const aon_state ends[] = {AON_CANCELLED_STATE, AON_ROLLED_BACK, AON_COMMITTED};
    assert_int_equal(w->outcome.state, ends[i]);
    assert_int_equal(world_status(w, result), i == 2 ? 0 : 3);
    world_free(w);
  }
}

/* ---- resolve ---- */

static void foreign(world *w) {
  world_put(w, "b", "c", "edit", "{\"n\":9,\"m\":1}");
  world_put(w, "b", "c", "new", "{\"n\":9}");
}
static world *in_conflict(char id[37]) {
  world *w = five_classes();
  w->config.test_rollback_at = 3;
  world_engine(w);
  w->call = foreign;
  w->call_name = "store.b.resolve";
  OK(world_apply(w, LINE("b", "edit", "update", "{\"n\":2}") LINE("b", "new", "create", "{\"n\":1}") LINE("b", "third", "create", "{}")
                        LINE("t", "new", "create", "{}")));
  remember(w, id);
  assert_int_equal(w->outcome.state, AON_ROLLBACK_FAILED);
  assert_int_equal(w->outcome.conflicts, 2);
  return w;
}

static void resolve_keep_force_merge(void **state) {
  (void)state;
  char id[37];
  world *w = in_conflict(id);
  w->config.test_rollback_at = -1;
  world_close(w);
  world_engine(w);
  /* A document in conflict stays locked, and only it. */
  w->options.lock_wait_ms = 0;
  OK(world_apply(w, LINE("b", "edit", "update", "{\"n\":4}")));
  assert_string_equal(w->outcome.failure.code, "locked");
  assert_string_equal(w->outcome.failure.held_by, id);
  APPLY_OK(w, LINE("b", "third", "create", "{\"n\":4}"));
  world_new_outcome(w);
  assert_int_equal(aon_resolve(w->engine, id, "b/c/third", AON_FORCE, NULL, &w->options, &w->outcome, &w->error), AON_USAGE);
  world_new_outcome(w);
  OK(aon_resolve(w->engine, id, "b/c/edit", AON_MERGE, "{\"n\":5}", &w->options, &w->outcome, error));
  assert_int_equal(w->outcome.state, AON_ROLLBACK_FAILED);
  assert_string_equal(world_get(w, "b", "c", "edit"), "{\"n\":5}");
  world_new_outcome(w);
  OK(aon_resolve(w->engine, id, "b/c/new", AON_KEEP_THEIRS, NULL, &w->options, &w->outcome, error));
  assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
  assert_string_equal(world_get(w, "b", "c", "new"), "{\"n\":9}");
  APPLY_OK(w, LINE("b", "edit", "update", "{\"n\":4}"));
  world_free(w);
  w = in_conflict(id);
  world_new_outcome(w);
  OK(aon_resolve(w->engine, id, "all", AON_FORCE, NULL, &w->options, &w->outcome, error));
  assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
  assert_string_equal(world_get(w, "b", "c", "edit"), "{\"n\":1,\"m\":1}");
  assert_string_equal(world_get(w, "b", "c", "new"), "");
  world_free(w);
}

static void retry_of_a_failed_rollback(void **state) {
  (void)state;
  char id[37];
  world *w = in_conflict(id);
  world_new_outcome(w);
  OK(aon_rollback(w->engine, id, &w->options, &w->outcome, error));
  assert_int_equal(w->outcome.state, AON_ROLLBACK_FAILED);
  world_put(w, "b", "c", "edit", "{\"n\":2,\"m\":7}"); /* what was in the way went away */
  world_put(w, "b", "c", "new", NULL);
  world_new_outcome(w);
  OK(aon_rollback(w->engine, id, &w->options, &w->outcome, error));
  assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
  assert_string_equal(world_get(w, "b", "c", "edit"), "{\"n\":1,\"m\":7}");
  world_free(w);
}

/* ---- a journal that somebody, or a disk, has changed ---- */

static void damage(world *w, const char *sql) {
  sqlite3 *database;
  world_close(w);
  assert_int_equal(sqlite3_open(w->journal, &database), SQLITE_OK);
  assert_int_equal(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_close(database), SQLITE_OK);
  world_engine(w);
}

static aon_result shown(world *w, const char *id) {
  AON_BUFFER_CLEANUP aon_buffer out = {0};
  w->error = (aon_error)AON_ERROR_INIT;
  return aon_show(w->engine, id, &out, &w->error);
}

/* Recovery asks the stores about each attempt: billions of them would keep it for days. */
static void as_many_attempts_as_there_can_be(void **state) {
  (void)state;
  char id[37];
  world *w = five_classes();
  w->config.test_rollback_at = 3;
  w->options.hold_on_failure = true;
  world_engine(w);
  OK(world_apply(w, ALL));
  remember(w, id);
  damage(w, "update bulk set attempt = 10000");
  world_new_outcome(w);
  assert_int_equal(aon_resume(w->engine, id, &w->options, &w->outcome, &w->error), AON_USAGE);
  assert_string_equal(w->error.code, "wrong_state");
  damage(w, "update bulk set attempt = 10001");
  assert_int_equal(shown(w, id), AON_CORRUPT);
  damage(w, "update bulk set attempt = -1");
  assert_int_equal(shown(w, id), AON_CORRUPT);
  damage(w, "update bulk set attempt = 10000");
  world_new_outcome(w);
  OK(aon_rollback(w->engine, id, &w->options, &w->outcome, error));
  assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
  world_free(w);
}

/* Paths are told as they stand in the journal, so what is no array of texts must not be. */
static void conflicts_that_are_damaged(void **state) {
  (void)state;
  static const char *const wrong[] = {"x", "{}", "[1]", "[],\"a\":[]", "[]}", ""};
  char id[37], sql[100];
  world *w = in_conflict(id);
  w->config.test_rollback_at = -1;
  OK(shown(w, id));
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    snprintf(sql, sizeof sql, "update conflicts set paths = '%s'", wrong[i]);
    damage(w, sql);
    assert_int_equal(shown(w, id), AON_CORRUPT);
    assert_string_equal(w->error.code, "corrupt");
  }
  damage(w, "update conflicts set paths = null, code = null");
  OK(shown(w, id));
  world_new_outcome(w);
  OK(aon_rollback(w->engine, id, &w->options, &w->outcome, error));
  assert_int_equal(w->outcome.state, AON_ROLLBACK_FAILED);
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(every_forced_failure),
                                     TEST(test_mode_keeps_images),
                                     TEST(older_indexes_count_their_collection),
                                     TEST(hold_and_resume),
                                     TEST(hold_ends_in_a_rollback),
                                     TEST(resume_refuses_what_was_changed),
                                     TEST(undo_and_undo_of_the_undo),
                                     TEST(undo_names_who_came_later),
                                     TEST(undo_forced),
                                     TEST(undo_of_a_part),
                                     TEST(an_undo_that_fails),
                                     TEST(every_step_of_an_undo),
                                     TEST(cancel_while_executing),
                                     TEST(a_signal),
                                     TEST(resolve_keep_force_merge),
                                     TEST(retry_of_a_failed_rollback),
                                     TEST(as_many_attempts_as_there_can_be),
                                     TEST(conflicts_that_are_damaged),
                                     TEST(a_log_of_many_batches)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
