/* What only a journal on MongoDB can show: a transaction that a killed or a frozen worker left open, images that no single document can
 * hold, a copy that was broken off, a server without transactions. Run by tests/servers/mongodb. */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "journal/mongodb_docket.h"

static int setup(void **state) {
  *state = world_make();
  return 0;
}

static int teardown(void **state) {
  world_end(*state);
  return 0;
}

/* ---- who is in the way ---- */

static aon_result hold_the_turn(aon_docket *d, void *arguments, aon_error *error) {
  aon_result result = aon_docket_turn(d, error);
  if (!result && write(*(int *)arguments, "x", 1) != 1)
    _exit(98);
  for (;;)
    pause();
}

/* A process that has the turn in an open transaction, and does not end it. */
static pid_t in_the_way(world *w) {
  int ends[2];
  char byte;
  assert_int_equal(pipe(ends), 0);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    aon_journal *journal = world_open(w);
    aon_error error = AON_ERROR_INIT;
    (void)!aon_docket_write(aon_journal_state(journal), "standing in the way", hold_the_turn, &ends[1], &error);
    _exit(97);
  }
  assert_int_equal(read(ends[0], &byte, 1), 1);
  close(ends[0]);
  close(ends[1]);
  return child;
}

static void log_some(world *w, aon_journal *journal, const char *id, int64_t first) {
  (void)w;
  planned plan = {0};
  plan_creates(&plan, first, 3, "u");
  OK(aon_journal_log(journal, id, 1, plan.operations, plan.count, NULL, 0, NULL, error));
  plan_clear(&plan);
}

static void what_a_worker_left_open_is_ended(void **state) {
  world *w = *state;
  char id[37];
  aon_journal *journal = world_open(w);
  begin_bulk(w, journal, uuid(w, 1, id));
  pid_t frozen = in_the_way(w);
  log_some(w, journal, id, 0); /* within the patience of a call */
  kill(frozen, SIGKILL);
  waitpid(frozen, NULL, 0);
  pid_t killed = in_the_way(w);
  kill(killed, SIGKILL);
  waitpid(killed, NULL, 0);
  w->dead_pid = killed;
  log_some(w, journal, id, 3);
  aon_journal_close(journal);
}

/* ---- large images ---- */

static void images_of_many_megabytes_come_back(void **state) {
  world *w = *state;
  char id[37];
  size_t length = (size_t)15 << 20, count;
  char *text = malloc(length + 1);
  assert_non_null(text);
  for (size_t i = 0; i < length; i++)
    text[i] = (char)('a' + i * 7919 % 26);
  text[length] = 0;
  aon_journal *journal = world_open(w);
  begin_bulk(w, journal, uuid(w, 1, id));
  planned plan = {0};
  plan_add(&plan, 0, 'C', &users, "large");
  plan.operations[0].after = image_of(&plan.arena, "after", text);
  OK(aon_journal_log(journal, id, 1, plan.operations, 1, NULL, 0, NULL, error));
  aon_entries *entries;
  const aon_operation *operations;
  OK(aon_entries_open(journal, id, 0, -1, false, &entries, error));
  OK(aon_entries_next(entries, &operations, &count, NULL, error));
  assert_int_equal(operations[0].after.bson_length, plan.operations[0].after.bson_length);
  assert_memory_equal(operations[0].after.bson, plan.operations[0].after.bson, operations[0].after.bson_length);
  aon_entries_close(entries);
  plan_clear(&plan);
  free(text);
  aon_journal_close(journal);
}

/* ---- a copy that was broken off ---- */

static aon_result begin_copy(aon_docket *d, void *arguments, aon_error *error) {
  (void)arguments;
  return aon_docket_loading(d, d->now_ms + 60000, error);
}

static void half_a_copy_is_no_journal(void **state) {
  world *w = *state;
  char id[37];
  aon_error found;
  aon_bulk bulk;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_journal *journal = world_open(w), *other = NULL;
  aon_journal_config config = {.location = w->location, .key_file = w->key};
  begin_bulk(w, journal, uuid(w, 1, id));
  OK(aon_docket_write(aon_journal_state(journal), "copying", begin_copy, NULL, error));
  FAILS(aon_journal_open(&w->env, &config, &other, error), AON_BUSY, "journal_loading", found);
  ((aon_docket *)aon_journal_state(journal))->now_ms = 0;
  int64_t hour_ago = -3600000; /* long since */
  ((aon_docket *)aon_journal_state(journal))->ahead_ms = &hour_ago;
  OK(aon_docket_write(aon_journal_state(journal), "copying", begin_copy, NULL, error));
  aon_journal_close(journal);
  journal = world_open(w);
  FAILS(aon_journal_get(journal, id, &arena, &bulk, error), AON_USAGE, "not_found", found);
  begin_bulk(w, journal, id);
  log_some(w, journal, id, 0);
  aon_journal_close(journal);
}

/* ---- a server alone ---- */

static void without_transactions_there_is_no_journal(void **state) {
  world *w = *state;
  aon_journal *journal = NULL;
  aon_error found;
  aon_journal_config config = {.location = w->location, .key_file = w->key};
  FAILS(aon_journal_open(&w->env, &config, &journal, error), AON_ENVIRONMENT, "no_transactions", found);
  assert_false(world_has(w, "journal.key"));
}

int main(void) {
  const char *kind = getenv("AON_TEST_MONGODB_KIND");
  if (!kind) {
    printf("skipped: journal mongodb: no server; run it by tests/servers/mongodb\n");
    return 77;
  }
  setenv("AON_TEST_JOURNAL", "mongodb", 1);
  const struct CMUnitTest set[] = {
      cmocka_unit_test_setup_teardown(what_a_worker_left_open_is_ended, setup, teardown),
      cmocka_unit_test_setup_teardown(images_of_many_megabytes_come_back, setup, teardown),
      cmocka_unit_test_setup_teardown(half_a_copy_is_no_journal, setup, teardown),
  };
  const struct CMUnitTest alone[] = {cmocka_unit_test_setup_teardown(without_transactions_there_is_no_journal, setup, teardown)};
  return strcmp(kind, "set") ? cmocka_run_group_tests(alone, NULL, NULL) : cmocka_run_group_tests(set, NULL, NULL);
}
