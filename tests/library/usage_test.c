/* Wrong usage: each mistake gives a stable code and a sentence, and never takes the program down or leaves something half done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aon/callback.h"
#include "world.h"

#define NOBODY "00000000-0000-4000-8000-000000000000"

static int set_up(void **state) {
  world *w = malloc(sizeof *w);
  world_make(w);
  world_open(w);
  *state = w;
  return 0;
}

static int tear_down(void **state) {
  world_drop(*state);
  free(*state);
  return 0;
}

static void expect(aon_result result, aon_result wanted, const aon_error *error, const char *code) {
  assert_int_equal(result, wanted);
  assert_int_equal(error->kind, wanted);
  assert_string_equal(error->code, code);
  assert_true(strlen(error->sentence) > 10);
}

static void opening(void **state) {
  (void)state;
  aon_session *session = NULL;
  aon_error error = AON_ERROR_INIT;
  expect(aon_session_open(NULL, &session, &error), AON_USAGE, &error, "required");
  aon_session_options options = {0};
  expect(aon_session_open(&options, &session, &error), AON_USAGE, &error, "no_data_folder");
  options.data_folder = "";
  expect(aon_session_open(&options, &session, &error), AON_USAGE, &error, "no_data_folder");
  options.data_folder = "/proc/no/such/folder";
  assert_int_equal(aon_session_open(&options, &session, &error), AON_ENVIRONMENT);
  assert_non_null(strstr(error.sentence, "/proc/no"));
  assert_null(session);
  assert_int_equal(aon_session_open(&options, &session, NULL), AON_ENVIRONMENT);
  aon_session_close(NULL);
  aon_result_text_free(NULL);
}

static void stores(void **state) {
  world *w = *state;
  aon_error error = AON_ERROR_INIT;
  aon_store_config config = {.name = "extra", .location = ""};
  expect(aon_session_store(w->session, NULL, &config, &error), AON_USAGE, &error, "required");
  expect(aon_session_store(w->session, &aon_sqlite_adapter, NULL, &error), AON_USAGE, &error, "required");
  config.name = NULL;
  expect(aon_session_store(w->session, &aon_sqlite_adapter, &config, &error), AON_USAGE, &error, "bad_name");
  aon_store_adapter other = aon_callback_adapter;
  other.interface_version = AON_STORE_INTERFACE + 1;
  config.name = "extra";
  expect(aon_session_store(w->session, &other, &config, &error), AON_USAGE, &error, "interface_version");
  char name[16];
  aon_result result = AON_OK;
  for (int i = 0; !result && i < 1000; i++) {
    snprintf(name, sizeof name, "s%d", i);
    config.name = name;
    result = aon_session_store(w->session, &aon_callback_adapter, &config, &error);
  }
  expect(result, AON_USAGE, &error, "too_many_stores");
  json_decref(world_apply(w, "", NULL, 0));
  config.name = "s1";
  expect(aon_session_store(w->session, &aon_callback_adapter, &config, &error), AON_USAGE, &error, "too_late");
}

static void arguments(void **state) {
  world *w = *state;
  aon_error error = AON_ERROR_INIT;
  char *text = NULL;
  int status = -1;
  expect(aon_session_apply(NULL, "", 0, NULL, &text, &status, &error), AON_USAGE, &error, "required");
  expect(aon_session_apply(w->session, NULL, 5, NULL, &text, &status, &error), AON_USAGE, &error, "required");
  expect(aon_session_apply(w->session, "", 0, NULL, NULL, &status, &error), AON_USAGE, &error, "required");
  expect(aon_session_import(w->session, NULL, "contacts", NULL, NULL, &text, &status, &error), AON_USAGE, &error, "required");
  expect(aon_session_import(w->session, "x.xlsx", NULL, NULL, NULL, &text, &status, &error), AON_USAGE, &error, "required");
  expect(aon_session_undo(w->session, NULL, NULL, &text, &status, &error), AON_USAGE, &error, "required");
  expect(aon_session_rollback(w->session, "", NULL, &text, &status, &error), AON_USAGE, &error, "required");
  expect(aon_session_resume(w->session, NULL, NULL, &text, &status, &error), AON_USAGE, &error, "required");
  expect(aon_session_show(w->session, NULL, &text, &error), AON_USAGE, &error, "required");
  expect(aon_session_resolve(w->session, NOBODY, NULL, AON_CHOICE_FORCE, NULL, NULL, &text, &status, &error), AON_USAGE, &error,
         "required");
  expect(aon_session_resolve(w->session, NOBODY, "all", (aon_session_choice)9, NULL, NULL, &text, &status, &error), AON_USAGE, &error,
         "required");
  expect(aon_session_examine(w->session, "nowhere", &text, NULL, &error), AON_REJECTED, &error, "unknown_store");
  assert_null(text);
  assert_int_equal(status, 1);
  assert_int_equal(aon_session_undo(w->session, NULL, NULL, &text, NULL, NULL), AON_USAGE);
}

static void reads(void **state) {
  world *w = *state;
  aon_error error = AON_ERROR_INIT;
  char untouched[] = "untouched", *text = untouched;
  const aon_session_isolation committed = AON_ISOLATION_COMMITTED;
  expect(aon_session_get(NULL, "main", "users", "u1", NULL, committed, &text, &error), AON_USAGE, &error, "required");
  expect(aon_session_get(w->session, NULL, "users", "u1", NULL, committed, &text, &error), AON_USAGE, &error, "required");
  expect(aon_session_get(w->session, "main", "", "u1", NULL, committed, &text, &error), AON_USAGE, &error, "required");
  expect(aon_session_get(w->session, "main", "users", NULL, NULL, committed, &text, &error), AON_USAGE, &error, "required");
  expect(aon_session_get(w->session, "main", "users", "u1", NULL, committed, NULL, &error), AON_USAGE, &error, "required");
  expect(aon_session_get(w->session, "main", "users", "u1", NULL, (aon_session_isolation)9, &text, &error), AON_USAGE, &error, "required");
  expect(aon_session_get(w->session, "main", "users", "u1", "no-such-pack", committed, &text, &error), AON_ENVIRONMENT, &error,
         "unknown_pack");
  expect(aon_session_get(w->session, "nowhere", "users", "u1", NULL, committed, &text, &error), AON_REJECTED, &error, "unknown_store");
  assert_int_equal(aon_session_get(w->session, "nowhere", "users", "u1", NULL, committed, &text, NULL), AON_REJECTED);
  assert_ptr_equal(text, untouched);
  assert_int_equal(aon_session_get(w->session, "main", "users", "u1", NULL, committed, &text, &error), AON_OK);
  assert_null(text);
  char *file = world_path(w, "main.db"), *journal = world_path(w, "journal.db");
  assert_true(access(file, F_OK) && access(journal, F_OK)); /* reading makes nothing */
  free(file);
  free(journal);
}

static void unknown_bulk_operations(void **state) {
  world *w = *state;
  aon_error error = AON_ERROR_INIT;
  char *text = NULL;
  int status = -1;
  json_decref(world_apply(w, "", NULL, 0));
  expect(aon_session_show(w->session, NOBODY, &text, &error), AON_USAGE, &error, "not_found");
  expect(aon_session_undo(w->session, NOBODY, NULL, &text, &status, &error), AON_USAGE, &error, "not_found");
  expect(aon_session_rollback(w->session, NOBODY, NULL, &text, &status, &error), AON_USAGE, &error, "not_found");
  expect(aon_session_resume(w->session, "never heard of", NULL, &text, &status, &error), AON_USAGE, &error, "not_found");
  expect(aon_session_recover(w->session, NOBODY, NULL, NULL, NULL, &error), AON_USAGE, &error, "not_found");
  assert_null(text);
}

static void wrong_ids(void **state) {
  world *w = *state;
  aon_error error = AON_ERROR_INIT;
  char *text = NULL;
  int status = -1;
  aon_session_run run = AON_SESSION_RUN_INIT;
  run.id = "seventeen";
  expect(aon_session_apply(w->session, "", 0, &run, &text, &status, &error), AON_USAGE, &error, "bad_id");
  assert_int_equal(status, 1);
}

static void imports(void **state) {
  world *w = *state;
  aon_error error = AON_ERROR_INIT;
  char *text = NULL, *missing = world_path(w, "missing.xlsx");
  int status = -1;
  expect(aon_session_import(w->session, missing, "no-such-pack", NULL, NULL, &text, &status, &error), AON_ENVIRONMENT, &error,
         "unknown_pack");
  world_write(w, "broken.lua", "return {\n  name = 17,\n");
  char *broken = world_path(w, "broken.lua");
  aon_result result = aon_session_import(w->session, missing, broken, NULL, NULL, &text, &status, &error);
  assert_true(result && strstr(error.sentence, "broken.lua"));
  aon_session_close(w->session);
  aon_session_options options = {.data_folder = w->folder};
  assert_int_equal(aon_session_open(&options, &w->session, &error), AON_OK);
  expect(aon_session_import(w->session, missing, "contacts", NULL, NULL, &text, &status, &error), AON_USAGE, &error, "no_organization");
  assert_null(text);
  free(broken);
  free(missing);
}

static void a_store_that_is_not_there(void **state) {
  world *w = *state;
  json_t *rejected = world_apply(w, LINE("nowhere", "things", "1", "create", "{}"), NULL, 2);
  assert_string_equal(text_of(json_array_get(json_object_get(rejected, "errors"), 0), "code"), "unknown_store");
  json_decref(rejected);
}

static void a_folder_without_permission(void **state) {
  world *w = *state;
  if (!geteuid()) {
    print_message("skipped: a folder without permission: root may write everywhere\n");
    return;
  }
  aon_error error = AON_ERROR_INIT;
  char *text = NULL;
  int status = -1;
  char command[300];
  snprintf(command, sizeof command, "chmod 500 '%s'", w->folder);
  assert_int_equal(system(command), 0);
  assert_int_equal(aon_session_apply(w->session, "", 0, NULL, &text, &status, &error), AON_ENVIRONMENT);
  assert_int_equal(status, 1);
  snprintf(command, sizeof command, "chmod 700 '%s'", w->folder);
  assert_int_equal(system(command), 0);
}

static void places_for_results(void **state) {
  world *w = *state;
  aon_error error = AON_ERROR_INIT;
  const aon_session_options options = {.data_folder = w->folder};
  const aon_store_config config = {.name = "more", .location = NULL}, nameless = {.location = "x"}, empty = {.name = ""};
  char *text = NULL;
  int status = -1;
  expect(aon_session_open(&options, NULL, &error), AON_USAGE, &error, "required");
  expect(aon_session_store(w->session, NULL, &config, &error), AON_USAGE, &error, "required");
  expect(aon_session_store(w->session, &aon_sqlite_adapter, NULL, &error), AON_USAGE, &error, "required");
  expect(aon_session_store(w->session, &aon_sqlite_adapter, &nameless, &error), AON_USAGE, &error, "bad_name");
  expect(aon_session_store(w->session, &aon_sqlite_adapter, &empty, &error), AON_USAGE, &error, "bad_name");
  char *first = world_path(w, "first.db"), *second = world_path(w, "second.db");
  for (int i = 0; i < 2; i++) { /* the same name again: the later one counts */
    aon_store_config again = {.name = "more", .location = i ? second : first, .create = true};
    assert_int_equal(aon_session_store(w->session, &aon_sqlite_adapter, &again, &error), AON_OK);
  }
  json_decref(world_apply(w, LINE("more", "things", "1", "create", "{\"n\":1}"), NULL, 0));
  assert_int_equal(access(first, F_OK), -1);
  assert_int_equal(access(second, F_OK), 0);
  assert_int_equal(aon_session_apply(w->session, NULL, 0, NULL, &text, &status, &error), AON_OK); /* nothing to do is done */
  assert_int_equal(status, 0);
  free(text);
  text = NULL;
  bool healthy = false;
  char *report = NULL;
  assert_int_equal(aon_session_examine(w->session, "main", &report, NULL, &error), AON_OK);
  free(report);
  assert_int_equal(aon_session_examine(w->session, "main", &report, &healthy, &error), AON_OK);
  assert_true(healthy);
  free(report);
  free(first);
  free(second);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(opening, set_up, tear_down),
      cmocka_unit_test_setup_teardown(stores, set_up, tear_down),
      cmocka_unit_test_setup_teardown(arguments, set_up, tear_down),
      cmocka_unit_test_setup_teardown(reads, set_up, tear_down),
      cmocka_unit_test_setup_teardown(unknown_bulk_operations, set_up, tear_down),
      cmocka_unit_test_setup_teardown(wrong_ids, set_up, tear_down),
      cmocka_unit_test_setup_teardown(imports, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_store_that_is_not_there, set_up, tear_down),
      cmocka_unit_test_setup_teardown(places_for_results, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_folder_without_permission, set_up, tear_down),
  };
  return cmocka_run_group_tests_name("library usage", tests, NULL, NULL);
}
