/* A session over embedded stores, from outside: what is asked for happens wholly or not at all, and can be taken back. */
#include <stdlib.h>
#include <string.h>

#include "world.h"

static const char first_lines[] = LINE("main", "users", "u1", "create", "{\"name\":\"Ann\",\"age\":30}")
    LINE("main", "users", "u2", "create", "{\"name\":\"Bob\"}") LINE("realtime", "presence", "u1", "create", "{\"online\":true}")
        LINE("settings", "themes", "t1", "create", "{\"colour\":\"red\"}");

static const char more_lines[] =
    LINE("main", "users", "u1", "update", "{\"age\":31}") LINE("main", "users", "u3", "create", "{\"name\":\"Cid\"}")
        LINE("realtime", "presence", "u1", "replace", "{\"online\":false}") DELETE_LINE("settings", "themes", "t1")
            LINE("identity", "accounts", "a1", "upsert", "{\"mail\":\"ann@example.com\"}") DELETE_LINE("main", "users", "u2");
#define MORE 6

static int set_up(void **state) {
  world *w = malloc(sizeof *w);
  world_make(w);
  world_open(w);
  json_decref(world_apply(w, first_lines, NULL, 0));
  *state = w;
  return 0;
}

static int tear_down(void **state) {
  world_drop(*state);
  free(*state);
  return 0;
}

static void expect_rows(const world *w, const char *expected) {
  char *now = world_rows(w);
  assert_string_equal(now, expected);
  free(now);
}

static void applies_and_shows(void **state) {
  world *w = *state;
  aon_error error = AON_ERROR_INIT;
  json_t *done = world_apply(w, more_lines, NULL, 0);
  assert_string_equal(text_of(done, "state"), "committed");
  assert_int_equal(json_integer_value(json_object_get(done, "operations")), MORE);
  char *ann = world_document(w, "main", "users", "u1"), *bob = world_document(w, "main", "users", "u2");
  assert_string_equal(ann, "{\"name\":\"Ann\",\"age\":31}");
  assert_null(bob);
  char *text = NULL;
  json_t *shown = world_result(aon_session_show(w->session, text_of(done, "bulkOperationId"), &text, &error), &text, &error);
  assert_true(json_equal(shown, done));
  assert_string_equal(text_of(shown, "user"), "tester");
  free(ann);
  json_decref(shown);
  json_decref(done);
}

static void every_forced_failure_leaves_all_as_before(void **state) {
  world *w = *state;
  char *before = world_rows(w);
  for (int64_t k = 0; k < MORE; k++) {
    aon_session_run run = AON_SESSION_RUN_INIT;
    run.test_mode = true;
    run.fail_at = k;
    json_t *failed = world_apply(w, more_lines, &run, 3);
    assert_string_equal(text_of(failed, "state"), "rolled_back");
    const json_t *failure = json_object_get(failed, "failure");
    assert_string_equal(text_of(failure, "code"), "forced_failure");
    assert_int_equal(json_integer_value(json_object_get(failure, "operation")), k);
    expect_rows(w, before);
    json_decref(failed);
  }
  free(before);
}

/* {0} is what people write: it must not mean "fail at the first operation". */
static void a_zeroed_run_is_harmless(void **state) {
  aon_session_run run = {0};
  json_decref(world_apply(*state, more_lines, &run, 0));
}

static void a_dry_run_writes_nothing(void **state) {
  world *w = *state;
  char *before = world_rows(w);
  aon_session_run run = AON_SESSION_RUN_INIT;
  run.dry_run = true;
  json_t *planned = world_apply(w, more_lines, &run, 0);
  assert_string_equal(text_of(planned, "state"), "planned");
  assert_int_equal(json_integer_value(json_object_get(planned, "operations")), MORE);
  expect_rows(w, before);
  json_decref(planned);
  free(before);
}

static void undo_takes_back(void **state) {
  world *w = *state;
  aon_error error = AON_ERROR_INIT;
  char *before = world_rows(w), *text = NULL;
  int status = -1;
  json_t *done = world_apply(w, more_lines, NULL, 0);
  const char *id = text_of(done, "bulkOperationId");
  json_t *undo = world_result(aon_session_undo(w->session, id, NULL, &text, &status, &error), &text, &error);
  assert_int_equal(status, 0);
  assert_string_equal(text_of(undo, "undoes"), id);
  expect_rows(w, before);
  json_t *shown = world_result(aon_session_show(w->session, id, &text, &error), &text, &error);
  assert_string_equal(text_of(shown, "state"), "undone");
  json_decref(shown);
  json_decref(undo);
  json_decref(done);
  free(before);
}

/* Somebody else holds back one row: the user table refuses it until the trigger is gone. */
static json_t *held(world *w) {
  world_sql(w, "settings.db", "create trigger no before delete on themes begin select raise(abort, 'not now'); end");
  aon_session_run run = AON_SESSION_RUN_INIT;
  run.hold_on_failure = true;
  json_t *result = world_apply(w, more_lines, &run, 6);
  assert_string_equal(text_of(result, "state"), "held");
  return result;
}

static void a_held_one_is_rolled_back(void **state) {
  world *w = *state;
  aon_error error = AON_ERROR_INIT;
  char *before = world_rows(w), *text = NULL;
  int status = -1;
  json_t *waiting = held(w);
  json_t *back =
      world_result(aon_session_rollback(w->session, text_of(waiting, "bulkOperationId"), NULL, &text, &status, &error), &text, &error);
  assert_string_equal(text_of(back, "state"), "rolled_back");
  assert_int_equal(status, 0);
  expect_rows(w, before);
  json_decref(back);
  json_decref(waiting);
  free(before);
}

/* Also in another session, as after a restart of the program. */
static void a_held_one_is_resumed(void **state) {
  world *w = *state;
  aon_error error = AON_ERROR_INIT;
  char *text = NULL;
  int status = -1;
  json_t *waiting = held(w);
  world_reopen(w);
  world_sql(w, "settings.db", "drop trigger no");
  json_t *done =
      world_result(aon_session_resume(w->session, text_of(waiting, "bulkOperationId"), NULL, &text, &status, &error), &text, &error);
  assert_string_equal(text_of(done, "state"), "committed");
  assert_int_equal(status, 0);
  assert_null(world_document(w, "settings", "themes", "t1"));
  json_decref(done);
  json_decref(waiting);
}

static void recovery_with_nothing_to_do(void **state) {
  world *w = *state;
  aon_error error = AON_ERROR_INIT;
  uint64_t recovered = 9, open = 9, person = 9;
  assert_int_equal(aon_session_recover(w->session, NULL, &recovered, &open, &person, &error), AON_OK);
  assert_true(recovered == 0 && open == 0 && person == 0);
  assert_int_equal(aon_session_recover(w->session, NULL, NULL, NULL, NULL, NULL), AON_OK);
}

static void the_same_again_gives_the_first_result(void **state) {
  world *w = *state;
  aon_session_run run = AON_SESSION_RUN_INIT;
  run.idempotency_key = "order 17";
  json_t *one = world_apply(w, more_lines, &run, 0), *two = world_apply(w, more_lines, &run, 0);
  assert_true(json_equal(one, two));
  aon_error error = AON_ERROR_INIT;
  char *text = NULL;
  int status = -1;
  assert_int_equal(aon_session_apply(w->session, first_lines, strlen(first_lines), &run, &text, &status, &error), AON_USAGE);
  assert_string_equal(error.code, "idempotency_mismatch");
  assert_int_equal(status, 1);
  assert_null(text);
  json_decref(one);
  json_decref(two);
}

static void wrong_lines_are_all_named(void **state) {
  world *w = *state;
  char *before = world_rows(w);
  json_t *rejected =
      world_apply(w, LINE("main", "users", "u8", "delete", "{}") LINE("main", "users", "u9", "update", "{\"age\":1}") "oops\n", NULL, 2);
  assert_string_equal(text_of(rejected, "state"), "rejected");
  assert_int_equal(json_array_size(json_object_get(rejected, "errors")), 3);
  expect_rows(w, before);
  json_decref(rejected);
  free(before);
}

static void nothing_at_all_is_committed(void **state) {
  json_t *done = world_apply(*state, "", NULL, 0);
  assert_int_equal(json_integer_value(json_object_get(done, "operations")), 0);
  json_decref(done);
}

static void a_table_of_the_programs_own(void **state) {
  world *w = *state;
  aon_error error = AON_ERROR_INIT;
  world_sql(w, "shop.db",
            "create table stock (id text primary key, amount integer not null check (amount >= 0)); insert into stock values ('bolt', 5)");
  aon_session_close(w->session);
  w->session = NULL;
  aon_session_options options = {.data_folder = w->folder};
  assert_int_equal(aon_session_open(&options, &w->session, &error), AON_OK);
  char *path = world_path(w, "shop.db");
  aon_store_config config = {.name = "shop", .location = path};
  assert_int_equal(aon_session_store(w->session, &aon_sqlite_adapter, &config, &error), AON_OK);
  memset(path, 'x', strlen(path)); /* the session must have copied it */
  free(path);
  json_t *done = world_apply(w, LINE("shop", "stock", "bolt", "update", "{\"amount\":3}"), NULL, 0);
  json_t *refused = world_apply(w, LINE("shop", "stock", "bolt", "update", "{\"amount\":-1}"), NULL, 3);
  assert_string_equal(text_of(json_object_get(refused, "failure"), "code"), "constraint");
  json_decref(refused);
  json_decref(done);
}

static void what_others_changed_is_decided_by_a_person(void **state) {
  world *w = *state;
  aon_error error = AON_ERROR_INIT;
  char *text = NULL;
  int status = -1;
  json_t *done = world_apply(w, LINE("main", "users", "u1", "update", "{\"age\":31}"), NULL, 0);
  world_sql(w, "main.db", "update users set doc = '{\"name\":\"Ann\",\"age\":99}' where id = 'u1'");
  json_t *undo = world_result(aon_session_undo(w->session, text_of(done, "bulkOperationId"), NULL, &text, &status, &error), &text, &error);
  assert_int_equal(status, 2);
  char *theirs = world_document(w, "main", "users", "u1");
  assert_string_equal(theirs, "{\"name\":\"Ann\",\"age\":99}");
  assert_int_equal(aon_session_resolve(w->session, text_of(done, "bulkOperationId"), "main/users/u1", AON_CHOICE_FORCE, NULL, NULL, &text,
                                       &status, &error),
                   AON_USAGE);
  assert_string_equal(error.code, "wrong_state");
  free(theirs);
  json_decref(undo);
  json_decref(done);
}

static void an_environment_of_the_programs_own(void **state) {
  world *w = *state;
  aon_env *env = NULL;
  aon_error error = AON_ERROR_INIT;
  aon_session_close(w->session);
  w->session = NULL;
  assert_int_equal(aon_env_open(AON_LOG_ERROR, 0, 0, &env, &error), AON_OK);
  aon_session_options options = {.data_folder = w->folder, .embedded_stores = true, .env = env};
  assert_int_equal(aon_session_open(&options, &w->session, &error), AON_OK);
  json_decref(world_apply(w, more_lines, NULL, 0));
  aon_session_close(w->session);
  w->session = NULL;
  assert_true(aon_env_steps(env) > 10);
  aon_env_close(env);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(applies_and_shows, set_up, tear_down),
      cmocka_unit_test_setup_teardown(every_forced_failure_leaves_all_as_before, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_zeroed_run_is_harmless, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_dry_run_writes_nothing, set_up, tear_down),
      cmocka_unit_test_setup_teardown(undo_takes_back, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_held_one_is_rolled_back, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_held_one_is_resumed, set_up, tear_down),
      cmocka_unit_test_setup_teardown(recovery_with_nothing_to_do, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_same_again_gives_the_first_result, set_up, tear_down),
      cmocka_unit_test_setup_teardown(wrong_lines_are_all_named, set_up, tear_down),
      cmocka_unit_test_setup_teardown(nothing_at_all_is_committed, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_table_of_the_programs_own, set_up, tear_down),
      cmocka_unit_test_setup_teardown(what_others_changed_is_decided_by_a_person, set_up, tear_down),
      cmocka_unit_test_setup_teardown(an_environment_of_the_programs_own, set_up, tear_down),
  };
  return cmocka_run_group_tests_name("library session", tests, NULL, NULL);
}
