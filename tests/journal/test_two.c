/* Several processes with one journal: made at once, fought over, and left by a killed one. */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int setup(void **state) {
  *state = world_make();
  return 0;
}

static int teardown(void **state) {
  world_end(*state);
  return 0;
}

/* Runs work in n processes at once; each ends with its number of successes. Returns their sum. */
static int in_processes(world *w, int n, int (*work)(world *w, int number)) {
  pid_t children[8];
  for (int i = 0; i < n; i++) {
    children[i] = fork();
    assert_true(children[i] >= 0);
    if (children[i] == 0)
      _exit(work(w, i));
  }
  int sum = 0, failed = 0;
  for (int i = 0; i < n; i++) { /* all of them, before the folder goes away */
    int status = 0;
    assert_int_equal(waitpid(children[i], &status, 0), children[i]);
    failed += !WIFEXITED(status) || WEXITSTATUS(status) == 99;
    sum += WIFEXITED(status) ? WEXITSTATUS(status) : 0;
  }
  assert_int_equal(failed, 0);
  return sum;
}

static aon_journal *open_quietly(world *w) {
  aon_journal *journal;
  aon_error error = AON_ERROR_INIT;
  aon_journal_config config = {.location = w->location, .key_file = w->key, .reserve_bytes = 1000};
  if (aon_journal_open(&w->env, &config, &journal, &error)) {
    fprintf(stderr, "open: %s (%lld)\n", error.sentence, (long long)error.native_code);
    _exit(99);
  }
  world_clock(w, journal);
  return journal;
}

static bool submit_quietly(world *w, aon_journal *journal, const char *id, const char *key) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_error error = AON_ERROR_INIT;
  aon_bulk bulk;
  bool existed = false;
  aon_process self = w->env.ops->process_self(w);
  aon_submission one = {.id = id, .idempotency_key = key, .digest = "d", .organization = "o", .state = AON_PLANNING, .worker = &self};
  aon_result result = AON_TRANSIENT;
  while (result == AON_TRANSIENT)
    result = aon_journal_submit(journal, &one, &arena, &bulk, &existed, &error);
  if (result) {
    fprintf(stderr, "submit: %s\n", error.sentence);
    _exit(99);
  }
  return !existed;
}

/* Each seals something with the key that it found or made. */
static int make_and_seal(world *w, int number) {
  aon_journal *journal = open_quietly(w);
  char id[37];
  planned plan = {0};
  uuid(w, (unsigned)number, id);
  submit_quietly(w, journal, id, NULL);
  char document[20];
  snprintf(document, sizeof document, "u%d", number);
  plan_add(&plan, 0, 'C', &users, document);
  aon_result result = AON_TRANSIENT;
  while (result == AON_TRANSIENT) /* a slow machine */
    result = aon_journal_log(journal, id, 1, plan.operations, 1, NULL, 0, NULL, NULL);
  if (result)
    return 99;
  plan_clear(&plan);
  aon_journal_close(journal);
  return 1;
}

static void made_at_once(void **state) {
  world *w = *state;
  assert_int_equal(in_processes(w, 6, make_and_seal), 6);
  aon_journal *journal = world_open(w);
  for (unsigned i = 0; i < 6; i++) {
    char id[37];
    aon_entries *entries;
    const aon_operation *found;
    size_t count;
    OK(aon_entries_open(journal, uuid(w, i, id), 0, -1, false, &entries, error));
    OK(aon_entries_next(entries, &found, &count, NULL, error)); /* one key for all */
    assert_true(image_holds(&found->after, "value-0"));
    aon_entries_close(entries);
  }
  aon_journal_close(journal);
}

static int submit_same_keys(world *w, int number) {
  aon_journal *journal = open_quietly(w);
  int won = 0;
  for (unsigned i = 0; i < 20; i++) {
    char id[37], key[20];
    snprintf(key, sizeof key, "key-%u", i);
    won += submit_quietly(w, journal, uuid(w, (unsigned)number * 1000 + i, id), key);
  }
  aon_journal_close(journal);
  return won;
}

static void a_key_is_used_once(void **state) { assert_int_equal(in_processes(*state, 4, submit_same_keys), 20); }

/* Each tries to lock the same documents, in an order of its own, until it has one or all are taken. */
static int lock_documents(world *w, int number) {
  aon_journal *journal = open_quietly(w);
  char id[37];
  uuid(w, (unsigned)number, id);
  submit_quietly(w, journal, id, NULL);
  int64_t next = 0;
  for (int i = 0; i < 30; i++) {
    planned plan = {0};
    char document[20];
    snprintf(document, sizeof document, "u%d", (i * 7 + number * 11) % 30);
    plan_add(&plan, next, 'u', &users, document);
    aon_result result = AON_TRANSIENT;
    while (result == AON_TRANSIENT)
      result = aon_journal_log(journal, id, 1, plan.operations, 1, NULL, 0, NULL, NULL);
    plan_clear(&plan);
    if (result && result != AON_BUSY)
      return 99;
    next += result == AON_OK;
  }
  aon_journal_close(journal);
  return (int)next;
}

static void each_document_has_one_holder(void **state) { assert_int_equal(in_processes(*state, 4, lock_documents), 30); }

static int claim_one(world *w, int number) {
  (void)number;
  aon_journal *journal = open_quietly(w);
  AON_ARENA_CLEANUP aon_arena arena = {0};
  char id[37];
  aon_bulk bulk;
  aon_process self = w->env.ops->process_self(w);
  aon_result result = AON_TRANSIENT;
  while (result == AON_TRANSIENT)
    result = aon_journal_claim(journal, uuid(w, 1, id), &self, &arena, &bulk, NULL);
  aon_journal_close(journal);
  return result == AON_OK ? 1 : result == AON_BUSY ? 0 : 99;
}

static void one_takes_over(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char id[37];
  begin_bulk(w, journal, uuid(w, 1, id));
  w->skew_ms = 31000;
  assert_int_equal(in_processes(w, 5, claim_one), 1);
  aon_journal_close(journal);
}

static int named_locks(world *w, int number) {
  aon_journal *journal = open_quietly(w);
  char holder[20];
  snprintf(holder, sizeof holder, "holder %d", number);
  int won = 0;
  for (int i = 0; i < 10; i++) {
    char name[20];
    int64_t epoch;
    snprintf(name, sizeof name, "lock %d", i);
    aon_result result = AON_TRANSIENT;
    while (result == AON_TRANSIENT)
      result = aon_journal_lock(journal, name, holder, false, 600000, &epoch, NULL);
    if (result && result != AON_BUSY)
      return 99;
    won += result == AON_OK;
  }
  aon_journal_close(journal);
  return won;
}

static void named_locks_have_one_holder(void **state) { assert_int_equal(in_processes(*state, 4, named_locks), 10); }

/* What was committed before a kill is there; what was not is not half there. */
static void a_killed_process_leaves_whole_calls(void **state) {
  world *w = *state;
  char id[37];
  aon_journal_close(world_open(w));
  uuid(w, 1, id);
  for (int round = 0; round < 3; round++) {
    uuid(w, 1u + (unsigned)round, id);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      aon_journal *journal = open_quietly(w);
      submit_quietly(w, journal, id, NULL);
      for (int64_t first = 0;; first += 50) {
        planned plan = {0};
        char prefix[8];
        snprintf(prefix, sizeof prefix, "r%d-", round);
        plan_creates(&plan, first, 50, prefix);
        if (aon_journal_log(journal, id, 1, plan.operations, plan.count, NULL, 0, NULL, NULL))
          _exit(99);
        plan_clear(&plan);
      }
    }
    usleep(150000);
    kill(child, SIGKILL);
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
    aon_journal *journal = world_open(w);
    AON_ARENA_CLEANUP aon_arena arena = {0};
    aon_bulk bulk;
    aon_error missing = AON_ERROR_INIT;
    if (aon_journal_get(journal, id, &arena, &bulk, &missing)) { /* killed before it had even submitted */
      assert_string_equal(missing.code, "not_found");
    } else {
      aon_entries *entries;
      const aon_operation *found;
      size_t count, all = 0;
      OK(aon_entries_open(journal, id, 0, -1, false, &entries, error));
      while (!aon_entries_next(entries, &found, &count, NULL, &missing))
        all += count;
      aon_entries_close(entries);
      assert_int_equal(all % 50, 0);
      planned plan = {0};
      char prefix[16];
      snprintf(prefix, sizeof prefix, "after%d-", round);
      plan_creates(&plan, (int64_t)all, 1, prefix);
      OK(aon_journal_log(journal, id, 1, plan.operations, 1, NULL, 0, NULL, error)); /* and it goes on right there */
      plan_clear(&plan);
    }
    aon_journal_close(journal);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(made_at_once, setup, teardown),
      cmocka_unit_test_setup_teardown(a_key_is_used_once, setup, teardown),
      cmocka_unit_test_setup_teardown(each_document_has_one_holder, setup, teardown),
      cmocka_unit_test_setup_teardown(one_takes_over, setup, teardown),
      cmocka_unit_test_setup_teardown(named_locks_have_one_holder, setup, teardown),
      cmocka_unit_test_setup_teardown(a_killed_process_leaves_whole_calls, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
