/* What is asked of a bulk operation at an odd time, or of a plan beyond a limit: refused in words a person can act on, and nothing is
 * changed by being asked. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>

#include "store/fault.h"

#define LINE(store, id, operation, data)                                                                                                   \
  "{\"store\":\"" store "\",\"collection\":\"c\",\"id\":\"" id "\",\"operation\":\"" operation "\",\"data\":" data "}\n"

static void remember(world *w, char id[37]) { memcpy(id, w->outcome.bulk_id, 37); }

static world *two_stores(void) {
  world *w = world_new();
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_memory(w, "b", AON_CLASS_BATCH, NULL);
  world_put(w, "b", "c", "edit", "{\"n\":1}");
  return w;
}

/* ---- recovery of one ---- */

typedef struct heard {
  unsigned count;
  aon_state before, after;
  char sentence[300];
} heard;

static void hear(void *context, const char *id, aon_state before, aon_state after, const char *sentence) {
  heard *h = context;
  (void)id;
  h->count++;
  h->before = before;
  h->after = after;
  snprintf(h->sentence, sizeof h->sentence, "%s", sentence);
}

static heard recover_one(world *w, const char *id, uint64_t *ret_open, uint64_t *ret_person) {
  heard h = {0};
  uint64_t recovered;
  OK(aon_recover(w->engine, id, &w->options, hear, &h, &recovered, ret_open, ret_person, error));
  return h;
}

static void a_held_one_waits_for_its_person(void **state) {
  (void)state;
  world *w = two_stores();
  w->config.test_rollback_at = 1;
  w->options.hold_on_failure = true;
  world_engine(w);
  OK(world_apply(w, LINE("b", "edit", "update", "{\"n\":2}") LINE("t", "1", "create", "{}")));
  char id[37];
  remember(w, id);
  assert_int_equal(w->outcome.state, AON_HELD);
  uint64_t open, person;
  heard h = recover_one(w, id, &open, &person);
  assert_int_equal(h.count, 1);
  assert_int_equal(h.after, AON_HELD);
  assert_non_null(strstr(h.sentence, "aon resume or aon rollback"));
  assert_int_equal(world_state(w, id), AON_HELD);
  world_new_outcome(w);
  OK(aon_resume(w->engine, id, &w->options, &w->outcome, error)); /* being asked took nothing from it */
  assert_int_equal(w->outcome.state, AON_COMMITTED);
  h = recover_one(w, id, &open, &person); /* nothing to do, nothing to tell */
  assert_int_equal(h.count, 0);
  world_free(w);
}

static void close_the_way(world *w) { aon_memory_trouble_at(world_database(w, "p"), AON_MEMORY_REFUSE, 1, 1000000); }

/* After the decision a store stays out of reach until recovery gives up: every document is named, and rollback, which is what a person
 * asks for, goes on to the decision, never back behind it. */
static void given_up_after_the_decision(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "p", AON_CLASS_PREPARED, NULL);
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  w->config.give_up_ms = 3600000;
  world_engine(w);
  w->call = close_the_way;
  w->call_name = "store.p.commit_prepared";
  aon_result result = world_apply(w, LINE("p", "1", "create", "{\"n\":1}") LINE("t", "1", "create", "{\"n\":1}"));
  char id[37];
  remember(w, id);
  assert_int_equal(world_state(w, id), AON_COMMITTING);
  assert_int_equal(world_status(w, result), 4);
  uint64_t open, person;
  world_die(w);
  world_engine(w);
  heard h = recover_one(w, id, &open, &person);
  assert_int_equal(open, 1);
  world_advance(w, 4000000);
  h = recover_one(w, id, &open, &person);
  assert_int_equal(h.before, AON_COMMITTING);
  assert_int_equal(h.after, AON_COMMIT_FAILED);
  assert_int_equal(person, 1);
  assert_non_null(strstr(h.sentence, "The decision was made"));
  h = recover_one(w, id, &open, &person);
  assert_int_equal(person, 1);
  assert_non_null(strstr(h.sentence, "aon resolve"));
  aon_memory_trouble_at(world_database(w, "p"), AON_MEMORY_NONE, 1, 1);
  world_new_outcome(w);
  OK(aon_rollback(w->engine, id, &w->options, &w->outcome, error));
  assert_int_equal(w->outcome.state, AON_COMMITTED);
  assert_string_equal(world_get(w, "p", "c", "1"), "{\"n\":1}");
  assert_string_equal(world_get(w, "t", "c", "1"), "{\"n\":1}");
  world_free(w);
}

/* A sweep gives up, names every document, and dies before it can say so. The store comes back: the next sweep takes all back, and none of
 * those names keeps a document as it is. */
static void die_here(world *w) { longjmp(w->crashed, 1); }

static void names_and_dies(world *w, uint64_t n) {
  (void)n;
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_memory(w, "b", AON_CLASS_BATCH, NULL);
  world_put(w, "b", "c", "edit", "{\"n\":1}");
  w->config.test_rollback_at = 2;
  w->config.give_up_ms = 3600000;
  world_engine(w);
  aon_memory_trouble_at(world_database(w, "b"), AON_MEMORY_REFUSE, 2, 1000000);
  CHECK(world_apply(w, LINE("b", "edit", "update", "{\"n\":2}") LINE("b", "new", "create", "{\"n\":2}")
                           LINE("t", "1", "create", "{\"n\":1}")) != AON_OK);
  char id[37];
  remember(w, id);
  world_die(w);
  world_advance(w, 4000000);
  world_engine(w);
  w->call = die_here;
  w->call_name = "journal.move";
  w->steps_length = 0;
  if (!setjmp(w->crashed)) {
    world_recover(w);
    CHECK(!"it came to no end that it could not say");
  }
  CHECK(strstr(w->steps_log, "journal.conflict_put"));
  world_die(w);
  world_engine(w);
  CHECK(world_state(w, id) == AON_ROLLING_BACK);
  aon_memory_trouble_at(world_database(w, "b"), AON_MEMORY_NONE, 1, 1);
  CHECK(world_recover(w) == 0);
  CHECK(world_state(w, id) == AON_ROLLED_BACK);
  CHECK(!strcmp(world_get(w, "b", "c", "edit"), "{\"n\":1}"));
  CHECK(!strcmp(world_get(w, "b", "c", "new"), ""));
}

static void what_a_lost_sweep_named_is_forgotten(void **state) {
  (void)state;
  assert_int_equal(world_child(names_and_dies, 1), 0);
}

/* What a person chooses goes for documents. A prepared transaction that recovery could not end holds its locks whatever is chosen: it is
 * ended first, as was decided, and while its store is out of reach nothing is taken as settled. */
static void a_choice_ends_what_is_prepared(void **state) {
  (void)state;
  for (int decided = 0; decided < 2; decided++) {
    world *w = world_new();
    world_memory(w, "p", AON_CLASS_PREPARED, NULL);
    world_memory(w, "q", AON_CLASS_PREPARED, NULL);
    aon_fault refuses = {.inner = w->stores[1].adapter,
                         .inner_options = w->stores[1].config.options,
                         .call = "prepare",
                         .nth = !decided,
                         .kind = AON_PERMANENT};
    w->stores[1].adapter = &aon_fault_adapter;
    w->stores[1].config.options = &refuses;
    w->config.give_up_ms = 3600000;
    world_engine(w);
    w->call = close_the_way;
    w->call_name = decided ? "store.p.commit_prepared" : "store.p.abort_prepared";
    aon_result result = world_apply(w, LINE("p", "1", "create", "{\"n\":1}") LINE("q", "1", "create", "{\"n\":1}"));
    (void)result;
    char id[37];
    remember(w, id);
    assert_int_equal(world_state(w, id), decided ? AON_COMMITTING : AON_ROLLING_BACK);
    uint64_t open, person;
    world_die(w);
    world_engine(w);
    recover_one(w, id, &open, &person);
    world_advance(w, 4000000);
    heard h = recover_one(w, id, &open, &person);
    aon_state failed = decided ? AON_COMMIT_FAILED : AON_ROLLBACK_FAILED;
    assert_int_equal(h.after, failed);
    world_new_outcome(w);
    w->error = (aon_error)AON_ERROR_INIT;
    result = aon_resolve(w->engine, id, "all", AON_KEEP_THEIRS, NULL, &w->options, &w->outcome, &w->error);
    assert_true(aon_result_retryable(result));
    assert_int_equal(world_state(w, id), failed);
    assert_int_equal(aon_memory_prepared(world_database(w, "p")), 1);
    aon_memory_trouble_at(world_database(w, "p"), AON_MEMORY_NONE, 1, 1);
    world_new_outcome(w);
    OK(aon_resolve(w->engine, id, "all", AON_KEEP_THEIRS, NULL, &w->options, &w->outcome, error));
    assert_int_equal(w->outcome.state, decided ? AON_COMMITTED : AON_ROLLED_BACK);
    assert_int_equal(aon_memory_prepared(world_database(w, "p")), 0);
    assert_string_equal(world_get(w, "p", "c", "1"), decided ? "{\"n\":1}" : "");
    world_free(w);
  }
}

/* A document that is in conflict with somebody stays so when the rollback of others is given up: nobody would look at it again. */
static void put_edit(world *w) {
  world_put(w, "b", "c", "edit", "{\"n\":9}");
  aon_memory_trouble_at(world_database(w, "k"), AON_MEMORY_REFUSE, 1, 1000000);
}
static void giving_up_keeps_conflicts(void **state) {
  (void)state;
  world *w = two_stores();
  world_memory(w, "k", AON_CLASS_CONDITIONAL, NULL);
  w->config.give_up_ms = 3600000;
  w->config.test_rollback_at = 2;
  world_engine(w);
  w->call = put_edit;
  w->call_name = "store.b.resolve"; /* the rollback begins */
  aon_result result =
      world_apply(w, LINE("b", "edit", "update", "{\"n\":2}") LINE("k", "1", "create", "{\"n\":1}") LINE("t", "1", "create", "{\"n\":1}"));
  (void)result;
  char id[37];
  remember(w, id);
  uint64_t open, person;
  world_die(w);
  world_engine(w);
  recover_one(w, id, &open, &person);
  world_advance(w, 4000000);
  heard h = recover_one(w, id, &open, &person);
  assert_int_equal(h.after, AON_ROLLBACK_FAILED);
  aon_memory_trouble_at(world_database(w, "k"), AON_MEMORY_NONE, 1, 1);
  world_new_outcome(w);
  OK(aon_rollback(w->engine, id, &w->options, &w->outcome, error));
  assert_int_equal(w->outcome.state, AON_ROLLBACK_FAILED);
  assert_int_equal(w->outcome.conflicts, 1);
  assert_string_equal(world_get(w, "k", "c", "1"), "");
  assert_string_equal(world_get(w, "b", "c", "edit"), "{\"n\":9}");
  AON_BUFFER_CLEANUP aon_buffer json = {0};
  OK(aon_show(w->engine, id, &json, error));
  assert_non_null(strstr(json.data, "\"code\":\"foreign_change\""));
  world_free(w);
}

/* A store set up anew with less than it had is another store: recovery touches nothing until it is as it was. */
static void a_store_of_another_class(void **state) {
  (void)state;
  world *w = two_stores();
  w->config.test_rollback_at = 1;
  w->options.hold_on_failure = true;
  world_engine(w);
  OK(world_apply(w, LINE("b", "edit", "update", "{\"n\":2}") LINE("t", "1", "create", "{}")));
  char id[37];
  remember(w, id);
  world_close(w);
  aon_memory_database *plain;
  OK(aon_memory_new(&(aon_memory_config){.store_class = AON_CLASS_PLAIN}, &plain, error));
  const void *was = w->stores[1].trace.inner_options;
  w->stores[1].trace.inner_options = plain;
  world_engine(w);
  world_new_outcome(w);
  w->error = (aon_error)AON_ERROR_INIT;
  assert_int_equal(aon_rollback(w->engine, id, &w->options, &w->outcome, &w->error), AON_ENVIRONMENT);
  assert_string_equal(w->error.code, "store_changed");
  assert_non_null(strstr(w->error.sentence, "now works by class 5"));
  assert_int_equal(world_state(w, id), AON_HELD);
  world_close(w);
  w->stores[1].trace.inner_options = was;
  aon_memory_free(plain);
  world_engine(w);
  world_new_outcome(w);
  OK(aon_rollback(w->engine, id, &w->options, &w->outcome, error));
  assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
  assert_string_equal(world_get(w, "b", "c", "edit"), "{\"n\":1}");
  world_free(w);
}

/* ---- images that are gone ---- */

static aon_result hear_line(void *context, const char *json, size_t length, aon_error *error) {
  (void)json;
  (void)length;
  (void)error;
  ++*(unsigned *)context;
  return AON_OK;
}

static void images_that_are_no_longer_kept(void **state) {
  (void)state;
  for (int at_once = 0; at_once < 2; at_once++) {
    world *w = two_stores();
    w->config.retention_ms = at_once ? -1 : 1000;
    world_engine(w);
    APPLY_OK(w, LINE("b", "edit", "update", "{\"n\":2}") LINE("t", "1", "create", "{}"));
    char id[37];
    remember(w, id);
    if (!at_once) {
      world_advance(w, 2000);
      OK(aon_housekeep(w->engine, &w->options, error));
    }
    unsigned lines = 0;
    w->error = (aon_error)AON_ERROR_INIT;
    assert_int_equal(aon_diff(w->engine, id, hear_line, &lines, &w->error), AON_USAGE);
    assert_string_equal(w->error.code, "images_cleared");
    assert_int_equal(lines, 0);
    OK(aon_entries_log(w->engine, id, hear_line, &lines, error)); /* what was done to which document stays */
    assert_int_equal(lines, 2);
    aon_result result = world_undo(w, id, NULL);
    assert_true(result || w->outcome.state == AON_REJECTED_STATE);
    assert_string_equal(world_get(w, "b", "c", "edit"), "{\"n\":2}");
    world_free(w);
  }
}

/* ---- undo ---- */

static void change_back(world *w) { world_put(w, "b", "c", "edit", "{\"n\":44}"); }

/* The rollback of a failed undo is asked of the bulk operation that failed; the one it takes back follows it. */
static void the_taken_back_one_follows(void **state) {
  (void)state;
  world *w = two_stores();
  char first[37], undo[37];
  world_engine(w);
  APPLY_OK(w, LINE("b", "new", "create", "{}") LINE("b", "edit", "update", "{\"n\":2}") LINE("t", "1", "create", "{}"));
  remember(w, first);
  w->config.test_rollback_at = 2; /* the undo fails, and somebody writes what it changed before it is put back */
  world_close(w);
  world_engine(w);
  w->call = change_back;
  w->call_name = "store.b.resolve";
  OK(world_undo(w, first, NULL));
  remember(w, undo);
  assert_int_equal(w->outcome.state, AON_ROLLBACK_FAILED);
  assert_int_equal(world_state(w, first), AON_UNDO_FAILED);
  world_new_outcome(w);
  w->error = (aon_error)AON_ERROR_INIT;
  assert_int_equal(aon_rollback(w->engine, first, &w->options, &w->outcome, &w->error), AON_USAGE);
  assert_string_equal(w->error.code, "wrong_state");
  assert_non_null(strstr(w->error.sentence, "undoneBy"));
  world_put(w, "b", "c", "edit", "{\"n\":1}"); /* what was in the way went away */
  world_new_outcome(w);
  OK(aon_rollback(w->engine, undo, &w->options, &w->outcome, error));
  assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
  assert_int_equal(world_state(w, first), AON_COMMITTED);
  assert_string_equal(world_get(w, "b", "c", "edit"), "{\"n\":2}");
  world_free(w);
}

/* ---- limits ---- */

static void is_rejected(world *w, const char *lines, const char *code) {
  aon_result result = world_apply(w, lines);
  assert_int_equal(world_status(w, result), 2);
  if (!w->outcome.problems.error_count || strcmp(w->outcome.problems.errors[0].code, code))
    fail_msg("%.60s…: not %s: %s", lines, code, w->outcome.problems.error_count ? w->outcome.problems.errors[0].sentence : "");
  assert_string_equal(world_get(w, "t", "c", "1"), "");
}

/* A line whose text has so many bytes; free it. */
static char *long_line(size_t bytes, const char *head, const char *tail) {
  size_t before = strlen(head);
  char *line = malloc(before + bytes + strlen(tail) + 1);
  assert_non_null(line);
  memcpy(line, head, before);
  memset(line + before, 'a', bytes);
  strcpy(line + before + bytes, tail);
  return line;
}

#define LONG_DATA "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"create\",\"data\":{\"a\":\""

static void plans_beyond_a_limit(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_engine(w);
  char *line = long_line(1501, "{\"store\":\"t\",\"collection\":\"c\",\"operation\":\"create\",\"data\":{},\"id\":\"", "\"}\n");
  is_rejected(w, line, "bad_line");
  free(line);
  line = long_line((16u << 20) + 1, LONG_DATA, "\"}}\n");
  is_rejected(w, line, "too_long");
  free(line);
  AON_BUFFER_CLEANUP aon_buffer many = {0};
  for (int i = 0; i < 513; i++)
    OK(aon_buffer_format(&many, error, "{\"store\":\"t\",\"collection\":\"c%d\",\"id\":\"1\",\"operation\":\"create\",\"data\":{}}\n", i));
  is_rejected(w, many.data, "too_many_collections");
  assert_int_equal(aon_memory_documents(world_database(w, "t")), 0);
  world_free(w);
}

/* Above a mebibyte it goes through, with a warning; images that pass the limit of an entry together are refused before any write. */
static void large_documents(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_engine(w);
  char *line = long_line(9u << 20, LONG_DATA, "\"}}\n");
  APPLY_OK(w, line);
  assert_int_equal(w->outcome.problems.warnings_kept, 1);
  assert_string_equal(w->outcome.problems.warnings[0].code, "large_document");
  free(line);
  line = long_line(9u << 20, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"update\",\"data\":{\"a\":\"b", "\"}}\n");
  aon_result result = world_apply(w, line);
  free(line);
  assert_int_equal(world_status(w, result), 2);
  assert_string_equal(w->outcome.problems.errors[0].code, "too_long");
  assert_non_null(strstr(w->outcome.problems.errors[0].sentence, "Split the document"));
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_held_one_waits_for_its_person),     TEST(given_up_after_the_decision), TEST(a_choice_ends_what_is_prepared),
      TEST(giving_up_keeps_conflicts),           TEST(a_store_of_another_class),    TEST(images_that_are_no_longer_kept),
      TEST(the_taken_back_one_follows),          TEST(plans_beyond_a_limit),        TEST(large_documents),
      TEST(what_a_lost_sweep_named_is_forgotten)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
