/* What only a journal on a server can show: a missing one read as empty, its keys, a connection that breaks, a server that lost what it
 * had, others who hold what is needed, plans that were given up, damage. Run by tests/servers/postgresql. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>

static int setup(void **state) {
  *state = world_make();
  return 0;
}

static int teardown(void **state) {
  world_end(*state);
  return 0;
}

/* All connections of journals, but not the test's own. */
static void hang_up(world *w) {
  world_sql(w, "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'allornone'");
}

static aon_result count_bulk(void *context, const aon_bulk *bulk, aon_error *error) {
  (void)bulk;
  (void)error;
  ++*(int *)context;
  return AON_OK;
}

static aon_result count_lock(void *context, const aon_lock *lock, aon_error *error) {
  (void)lock;
  (void)error;
  ++*(int *)context;
  return AON_OK;
}

static aon_result count_event(void *context, const aon_event *event, aon_error *error) {
  (void)event;
  (void)error;
  ++*(int *)context;
  return AON_OK;
}

static void reads_a_missing_journal_as_empty(void **state) {
  world *w = *state;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_journal *journal = world_open_with(w, &(aon_journal_config){.location = w->location, .key_file = w->key, .read_only = true});
  aon_bulk bulk;
  aon_operation operation;
  aon_error found;
  int count = 0;
  bool held = true, healthy = false;
  int64_t generation = 7;
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  assert_true(aon_journal_missing(journal));
  FAILS(aon_journal_get(journal, "00000000-0000-4000-8000-000000000000", &arena, &bulk, error), AON_USAGE, "not_found", found);
  OK(aon_journal_list(journal, NULL, count_bulk, &count, error));
  OK(aon_journal_locks(journal, count_lock, &count, error));
  OK(aon_journal_events(journal, NULL, 0, count_event, &count, error));
  OK(aon_journal_holder(journal, &users, AON_TEXT("u1"), &arena, &held, &bulk, &operation, error));
  OK(aon_journal_generation(journal, "main", &generation, error));
  OK(aon_journal_examine(journal, &report, &healthy, error));
  assert_int_equal(count, 0);
  assert_false(held);
  assert_int_equal(generation, 0);
  assert_non_null(strstr(report.data, "no tables"));
  aon_journal_close(journal);
  assert_false(world_has(w, "journal.key")); /* looking makes nothing */
  aon_journal_close(world_open(w));
  journal = world_open_with(w, &(aon_journal_config){.location = w->location, .key_file = w->key, .read_only = true});
  assert_false(aon_journal_missing(journal));
  aon_journal_close(journal);
}

static void refuse_open(world *w, aon_result kind, const char *code, const char *words) {
  aon_journal *journal = NULL;
  aon_error found;
  aon_journal_config config = {.location = w->location, .key_file = w->key};
  FAILS(aon_journal_open(&w->env, &config, &journal, error), kind, code, found);
  if (!strstr(found.sentence, words))
    fail_msg("“%s” is not in: %s", words, found.sentence);
}

static void no_journal_without_its_key(void **state) {
  world *w = *state;
  char aside[120];
  aon_error found;
  snprintf(aside, sizeof aside, "%s.aside", w->key);
  aon_journal_close(world_open(w));
  OK(w->env.ops->file_rename(w, w->key, aside, error));
  refuse_open(w, AON_ENVIRONMENT, "missing_key", "copy it from one");
  world *other = world_make(); /* another journal's key */
  aon_journal_close(world_open(other));
  OK(w->env.ops->file_rename(w, other->key, w->key, error));
  refuse_open(w, AON_ENVIRONMENT, "missing_key", "another journal's");
  world_end(other);
  OK(w->env.ops->file_rename(w, aside, w->key, error));
  aon_journal *journal = world_open(w);
  OK(aon_journal_rotate_key(journal, error));
  aon_journal_close(journal);
  aon_journal_close(world_open(w));
  world_sql(w, "update aon_journal_version set version = 99");
  refuse_open(w, AON_ENVIRONMENT, "newer_journal", "version 99");
  aon_journal_config without = {.location = w->location};
  FAILS(aon_journal_open(&w->env, &without, &journal, error), AON_USAGE, "no_key_file", found);
}

static void a_broken_connection_is_replaced(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  AON_ARENA_CLEANUP aon_arena arena = {0};
  char id[37];
  planned plan = {0};
  aon_bulk bulk;
  int64_t epoch, until;
  bool cancel;
  hang_up(w);
  begin_bulk(w, journal, uuid(w, 1, id));
  for (int64_t i = 0; i < 3; i++) {
    hang_up(w);
    plan_creates(&plan, i * 10, 10, "u");
    OK(aon_journal_log(journal, id, 1, plan.operations, plan.count, NULL, 0, NULL, error));
    plan_clear(&plan);
  }
  aon_entries *entries;
  const aon_operation *operations;
  size_t count, all = 0;
  OK(aon_entries_open(journal, id, 0, -1, true, &entries, error));
  aon_result result;
  hang_up(w);
  while (!(result = aon_entries_next(entries, &operations, &count, NULL, NULL))) {
    all += count;
    hang_up(w);
  }
  assert_int_equal(result, AON_END);
  assert_int_equal(all, 30);
  aon_entries_close(entries);
  OK(aon_journal_renew(journal, id, 1, &until, &cancel, error));
  hang_up(w);
  OK(aon_journal_lock(journal, "name", "me", false, 0, &epoch, error));
  hang_up(w);
  OK(aon_journal_unlock(journal, "name", "me", epoch, error));
  hang_up(w);
  go(journal, id, AON_PLANNING, AON_LOGGED);
  OK(aon_journal_get(journal, id, &arena, &bulk, error));
  assert_int_equal(bulk.state, AON_LOGGED);
  aon_journal_close(journal);
}

/* The end of a plan that was not synced is lost where the server falls: the worker must not go on as if it were there. */
static void what_the_server_lost_is_noticed(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  AON_ARENA_CLEANUP aon_arena arena = {0};
  char id[37];
  planned plan = {0};
  aon_bulk bulk;
  aon_error found;
  begin_bulk(w, journal, uuid(w, 1, id));
  for (int64_t i = 0; i < 2; i++) {
    plan_creates(&plan, i * 10, 10, "u");
    OK(aon_journal_log(journal, id, 1, plan.operations, plan.count, NULL, 0, NULL, error));
    plan_clear(&plan);
  }
  world_sql(w, "delete from aon_journal_segments where first = 10; update aon_journal_bulk set logged = 10");
  plan_creates(&plan, 20, 10, "u");
  FAILS(aon_journal_log(journal, id, 1, plan.operations, plan.count, NULL, 0, NULL, error), AON_ENVIRONMENT, "journal_set_back", found);
  FAILS(aon_journal_move(journal, id, 1, AON_PLANNING, AON_LOGGED, NULL, error), AON_ENVIRONMENT, "journal_set_back", found);
  assert_string_equal(found.bulk_id, id);
  OK(aon_journal_get(journal, id, &arena, &bulk, error));
  assert_int_equal(bulk.state, AON_PLANNING);
  OK(aon_journal_discard(journal, id, 1, error)); /* planned anew it is as good as ever */
  plan_clear(&plan);
  plan_creates(&plan, 0, 5, "u");
  OK(aon_journal_log(journal, id, 1, plan.operations, plan.count, NULL, 0, NULL, error));
  plan_clear(&plan);
  go(journal, id, AON_PLANNING, AON_LOGGED);
  aon_journal_close(journal);
}

static int64_t number(aon_journal *journal, const char *id) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_bulk bulk;
  OK(aon_journal_get(journal, id, &arena, &bulk, error));
  return bulk.epoch;
}

/* A call that has to wait for somebody who doesn't end is a transient failure, which leaves nothing behind. */
static void waits_are_bounded(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char id[37];
  planned plan = {0};
  aon_error found;
  begin_bulk(w, journal, uuid(w, 1, id));
  plan_creates(&plan, 0, 10, "u");
  world_sql(w, "begin; lock table aon_journal_turn in exclusive mode");
  FAILS(aon_journal_log(journal, id, 1, plan.operations, plan.count, NULL, 0, NULL, error), AON_TRANSIENT, "database_locked", found);
  assert_int_equal(number(journal, id), 1); /* reading waits for nobody */
  world_sql(w, "commit");
  OK(aon_journal_log(journal, id, 1, plan.operations, plan.count, NULL, 0, NULL, error));
  plan_clear(&plan);
  aon_journal_close(journal);
}

static void sweeps_what_was_given_up(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char a[37], b[37];
  planned plan = {0};
  uint64_t freed;
  begin_bulk(w, journal, uuid(w, 1, a));
  begin_bulk(w, journal, uuid(w, 2, b));
  plan_creates(&plan, 0, 100, "u");
  OK(aon_journal_log(journal, a, 1, plan.operations, plan.count, NULL, 0, NULL, error));
  OK(aon_journal_discard(journal, a, 1, error));
  OK(aon_journal_log(journal, b, 1, plan.operations, plan.count, NULL, 0, NULL, error)); /* free at once */
  go(journal, b, AON_PLANNING, AON_LOGGED);
  go(journal, b, AON_LOGGED, AON_COMMITTED);
  for (int i = 0; i < 3; i++)
    OK(aon_journal_sweep_locks(journal, &freed, error));
  /* A division by zero where something is left that should not be, or is gone that should be there. */
  world_sql(w, "select 1 / (case when (select count(*) from aon_journal_locks) = 0 and (select count(*) from aon_journal_waste) = 0"
               " and (select count(*) from aon_journal_segments) = 1 then 1 else 0 end)");
  aon_entries *entries;
  const aon_operation *operations;
  size_t count;
  OK(aon_entries_open(journal, b, 0, -1, false, &entries, error)); /* its history stays */
  OK(aon_entries_next(entries, &operations, &count, NULL, error));
  assert_int_equal(count, 100);
  aon_entries_close(entries);
  plan_clear(&plan);
  aon_journal_close(journal);
}

static void damage_is_found_and_secrets_are_sealed(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char id[37];
  planned plan = {0};
  aon_error found;
  bool healthy = true;
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  begin_bulk(w, journal, uuid(w, 1, id));
  plan_add(&plan, 0, 'C', &users, "u1");
  OK(aon_journal_log(journal, id, 1, plan.operations, plan.count, NULL, 0, NULL, error));
  plan_clear(&plan);
  world_sql(
      w,
      "select 1 / (case when exists (select from aon_journal_segments where position('value-0'::bytea in images) > 0) then 0 else 1 end)");
  OK(aon_journal_examine(journal, &report, &healthy, error));
  assert_non_null(strstr(report.data, "right check sum"));
  world_sql(w, "update aon_journal_segments set images = set_byte(images, 40, get_byte(images, 40) # 1)");
  aon_entries *entries;
  const aon_operation *operations;
  size_t count;
  OK(aon_entries_open(journal, id, 0, -1, false, &entries, error));
  FAILS(aon_entries_next(entries, &operations, &count, NULL, error), AON_CORRUPT, "corrupt", found);
  assert_string_equal(found.bulk_id, id);
  aon_entries_close(entries);
  aon_buffer_clear(&report);
  OK(aon_journal_examine(journal, &report, &healthy, error));
  assert_false(healthy);
  assert_non_null(strstr(report.data, "1 of 1 pieces of the log are damaged"));
  aon_journal_close(journal);
}

static aon_result look(aon_journal *journal, const char *id, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_bulk bulk;
  aon_operation operation;
  bool held;
  int count = 0;
  aon_result result = aon_journal_get(journal, id, &arena, &bulk, error);
  if (!result)
    result = aon_journal_list(journal, NULL, count_bulk, &count, error);
  if (!result)
    result = aon_journal_holder(journal, &users, AON_TEXT("u0"), &arena, &held, &bulk, &operation, error);
  return result ? result : aon_journal_holder(journal, &users, AON_TEXT("c0"), &arena, &held, &bulk, &operation, error);
}

static void damaged_rows_are_told(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char id[37], other[37];
  planned plan = {0};
  aon_error found;
  bool healthy = true;
  begin_bulk(w, journal, uuid(w, 1, id));
  begin_bulk(w, journal, uuid(w, 2, other));
  plan_creates(&plan, 0, 2, "u");
  OK(aon_journal_log(journal, id, 1, plan.operations, 2, NULL, 0, NULL, error));
  plan_clear(&plan);
  plan_creates(&plan, 0, 2, "c");
  OK(aon_journal_log(journal, other, 1, plan.operations, 2, NULL, 0, NULL, error));
  plan_clear(&plan);
  const aon_conflict conflict = {.store = "main", .collection = "users", .document_id = "c0", .code = "x", .sentence = "y"};
  OK(aon_journal_conflict_put(journal, other, 1, &conflict, error));
  go(journal, other, AON_PLANNING, AON_ROLLBACK_FAILED);
  OK(look(journal, id, error));
  static const char *const hurts[][2] = {
      {"update aon_journal_bulk set state = 'nonsense'", "update aon_journal_bulk set state = 'planning'"},
      {"update aon_journal_bulk set undoes = 'x'", "update aon_journal_bulk set undoes = null"},
      {"update aon_journal_bulk set attempt = -1", "update aon_journal_bulk set attempt = 1"},
      {"update aon_journal_bulk set attempt = 10001", "update aon_journal_bulk set attempt = 1"},
      {"update aon_journal_bulk set id = 'none' where number = 2",
       "update aon_journal_bulk set id = '3c6ef362-aaaa-4bbb-8ccc-000000000002' where number = 2"},
      {"create table aside as table aon_journal_segments; delete from aon_journal_segments",
       "insert into aon_journal_segments table aside; update aon_journal_bulk set state = 'rollback_failed', holds = false where number = 2"},
  };
  for (size_t i = 0; i < sizeof hurts / sizeof *hurts; i++) {
    world_sql(w, hurts[i][0]);
    FAILS(look(journal, id, error), AON_CORRUPT, "corrupt", found);
    world_sql(w, hurts[i][1]);
    OK(look(journal, id, error));
  }
  world_sql(w, "delete from aon_journal_locks where log = (select log from aon_journal_bulk where number = 2)");
  FAILS(look(journal, id, error), AON_CORRUPT, "corrupt", found);
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  world_sql(w, "update aon_journal_segments set operations_sum = '\\x00'");
  OK(aon_journal_examine(journal, &report, &healthy, error));
  assert_false(healthy);
  assert_non_null(strstr(report.data, "2 of 2 pieces of the log are damaged"));
  world_sql(w, "update aon_journal_version set version = -1");
  refuse_open(w, AON_CORRUPT, "corrupt", "backup");
  aon_journal_close(journal);
}

/* A role that may read the tables, and no more. */
static void doctor_tells_what_a_role_may_not(void **state) {
  world *w = *state;
  char location[500];
  bool healthy = true;
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  aon_journal_close(world_open(w));
  world_sql(w, "do $$ begin if not exists (select from pg_roles where rolname = 'reader') then create role reader; end if;"
               " execute format('grant usage on schema %I to reader; grant select on all tables in schema %I to reader', current_schema(),"
               " current_schema()); end $$");
  snprintf(location, sizeof location, "%s%%20-crole%%3Dreader", w->location);
  aon_journal *journal = world_open_with(w, &(aon_journal_config){.location = location, .key_file = w->key, .read_only = true});
  OK(aon_journal_examine(journal, &report, &healthy, error));
  assert_false(healthy);
  assert_non_null(strstr(report.data, "the role may not read and write table aon_journal_bulk"));
  aon_journal_close(journal);
}

int main(void) {
  if (!getenv("AON_TEST_POSTGRESQL")) {
    printf("skipped: journal postgresql: no server; run it by tests/servers/postgresql\n");
    return 77;
  }
  setenv("AON_TEST_JOURNAL", "postgresql", 1);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(reads_a_missing_journal_as_empty, setup, teardown),
      cmocka_unit_test_setup_teardown(no_journal_without_its_key, setup, teardown),
      cmocka_unit_test_setup_teardown(a_broken_connection_is_replaced, setup, teardown),
      cmocka_unit_test_setup_teardown(what_the_server_lost_is_noticed, setup, teardown),
      cmocka_unit_test_setup_teardown(waits_are_bounded, setup, teardown),
      cmocka_unit_test_setup_teardown(sweeps_what_was_given_up, setup, teardown),
      cmocka_unit_test_setup_teardown(damage_is_found_and_secrets_are_sealed, setup, teardown),
      cmocka_unit_test_setup_teardown(damaged_rows_are_told, setup, teardown),
      cmocka_unit_test_setup_teardown(doctor_tells_what_a_role_may_not, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
