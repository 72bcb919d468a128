/* What a pack says of itself: where documents lie, its description, the columns of its template. The workforce pack is the example. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "pack/pack.h"

typedef struct fixture {
  aon_env *env;
  aon_pack *pack;
} fixture;

static int load(void **state) {
  fixture *f = calloc(1, sizeof *f);
  aon_error error = AON_ERROR_INIT;
  if (!f || aon_env_open(AON_LOG_ERROR, 0, 0, &f->env, &error) ||
      aon_pack_load(f->env, SOURCE_ROOT "/packs/workforce.lua", NULL, NULL, &f->pack, &error)) {
    print_error("%s\n", error.sentence);
    return -1;
  }
  *state = f;
  return 0;
}

static int unload(void **state) {
  fixture *f = *state;
  aon_pack_close(f->pack);
  aon_env_close(f->env);
  free(f);
  return 0;
}

static void documents_are_located(void **state) {
  static const struct {
    const char *collection, *id, *expected;
  } cases[] = {
      {"users", "usr1",
       "{\"store\":\"main\",\"collection\":\"users\",\"documentId\":\"usr1\",\"query\":{\"userID\":\"usr1\"},\"path\":null}"},
      {"departmentindexes", "dept1:org1",
       "{\"store\":\"main\",\"collection\":\"departmentindexes\",\"documentId\":\"dept1:org1\","
       "\"query\":{\"departmentID\":\"dept1\",\"organizationID\":\"org1\"},\"path\":null}"},
      {"roles", "org%3A1:a%25b",
       "{\"store\":\"main\",\"collection\":\"roles\",\"documentId\":\"org%3A1:a%25b\",\"query\":{\"organizationID\":\"org:1\",\"role\":\"a%"
       "b\"},"
       "\"path\":null}"},
      {"sitegroups", "g:1",
       "{\"store\":\"main\",\"collection\":\"sitegroups\",\"documentId\":\"g:1\",\"query\":{\"_id\":\"g:1\"},\"path\":null}"},
      {"firebase:user", "user123",
       "{\"store\":\"realtime\",\"collection\":\"firebase:user\",\"documentId\":\"user123\",\"query\":null,\"path\":\"/user/user123\"}"},
      {"firebase:questionnaire", "org1:q\"1",
       "{\"store\":\"realtime\",\"collection\":\"firebase:questionnaire\",\"documentId\":\"org1:q\\\"1\",\"query\":null,\"path\":\"/"
       "questionnaire/org1/q\\\"1\"}"},
      {"firestore:organization-offdays", "org123",
       "{\"store\":\"settings\",\"collection\":\"firestore:organization-offdays\",\"documentId\":\"org123\",\"query\":null,"
       "\"path\":\"organizations/org123/settings/offDays\"}"},
      {"accounts", "usr1",
       "{\"store\":\"identity\",\"collection\":\"accounts\",\"documentId\":\"usr1\",\"query\":{\"uid\":\"usr1\"},\"path\":null}"},
      {"firebase:user", NULL,
       "{\"store\":\"realtime\",\"collection\":\"firebase:user\",\"documentId\":null,\"query\":null,\"path\":\"/user/{userID}\"}"},
      {"users", NULL, "{\"store\":\"main\",\"collection\":\"users\",\"documentId\":null,\"query\":null,\"path\":null}"},
  };
  fixture *f = *state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    aon_error error = AON_ERROR_INIT;
    aon_buffer out AON_BUFFER_CLEANUP = {0};
    if (aon_pack_locate(f->pack, cases[i].collection, cases[i].id, &out, &error))
      fail_msg("%s", error.sentence);
    assert_string_equal(out.data, cases[i].expected);
  }
}

static void wrong_ids_and_collections_are_named(void **state) {
  static const struct {
    const char *collection, *id, *code, *hint;
  } cases[] = {{"user", "x", "unknown_collection", "Did you mean “users”?"},
               {"nothing like it", "x", "unknown_collection", "aon pack show workforce"},
               {"departmentindexes", "dept1", "bad_format", "departmentID:organizationID"},
               {"departmentindexes", "a:b:c", "bad_format", "departmentID:organizationID"},
               {"departmentindexes", ":org1", "bad_format", "departmentID:organizationID"},
               {"roles", "org1:%zz", "bad_format", "organizationID:role"},
               {"users", "", "bad_format", "userID"},
               {"firebase:user", "a/b", "forbidden_character", "/"}};
  fixture *f = *state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    aon_error error = AON_ERROR_INIT;
    aon_buffer out AON_BUFFER_CLEANUP = {0};
    assert_int_equal(aon_pack_locate(f->pack, cases[i].collection, cases[i].id, &out, &error), AON_USAGE);
    assert_string_equal(error.code, cases[i].code);
    if (!strstr(error.sentence, cases[i].hint))
      fail_msg("no \"%s\" in: %s", cases[i].hint, error.sentence);
    assert_int_equal(out.length, 0);
  }
}

static json_t *with(json_t *array, const char *key, const char *value) {
  size_t index;
  json_t *entry;
  json_array_foreach(array, index, entry) if (!strcmp(json_string_value(json_object_get(entry, key)), value)) return entry;
  fail_msg("nothing has %s = %s", key, value);
  return NULL;
}

static void the_description_is_json(void **state) {
  fixture *f = *state;
  aon_error error = AON_ERROR_INIT;
  aon_buffer out AON_BUFFER_CLEANUP = {0};
  assert_int_equal(aon_pack_describe(f->pack, true, &out, &error), AON_OK);
  json_t *root = json_loadb(out.data, out.length, JSON_REJECT_DUPLICATES, NULL);
  assert_non_null(root);
  assert_string_equal(json_string_value(json_object_get(root, "name")), "workforce");
  assert_int_equal(json_array_size(json_object_get(root, "stores")), 4);
  assert_int_equal(json_array_size(json_object_get(root, "collections")), 18 + 4 + 1);
  assert_int_equal(json_array_size(json_object_get(root, "sheets")), 9);
  json_t *users = with(json_object_get(root, "sheets"), "name", "Users");
  json_t *role = with(json_object_get(users, "columns"), "heading", "Role");
  assert_true(json_is_true(json_object_get(role, "required")));
  assert_string_equal(json_string_value(json_array_get(json_object_get(role, "choices"), 1)), "manager");
  json_t *sites = with(json_object_get(users, "columns"), "heading", "Sites");
  assert_string_equal(json_string_value(json_object_get(sites, "shape")), "list");
  assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(sites, "references"), 0), "collection")), "sites");
  json_t *password = with(json_object_get(users, "columns"), "heading", "Password");
  assert_true(json_is_null(json_object_get(password, "collection")) && json_is_true(json_object_get(password, "sensitive")));
  json_t *latitude = with(json_object_get(with(json_object_get(root, "sheets"), "name", "Sites"), "columns"), "heading", "Latitude");
  assert_int_equal(json_integer_value(json_object_get(latitude, "minimum")), -90);
  json_decref(root);
}

static void the_description_is_readable(void **state) {
  static const char *const lines[] = {"\nStore main\n",
                                      "  departmentindexes     departmentID:organizationID\n",
                                      "/user/{userID}\n",
                                      "\nSheet Users -> users, user_extension\n",
                                      "one of admin, manager, supervisor, staff, required\n",
                                      "email address, required, unique\n",
                                      "number, from -90 to 90\n",
                                      "list separated by commas: name of a site",
                                      "one of active, inactive, active if left empty\n",
                                      "name of a site (where Scope is site) or email of a user (where Scope is user)\n",
                                      "text, at least 8 characters, only for new rows\n",
                                      "one per line: text, at most 1000 characters, required\n",
                                      "id, made if left empty\n"};
  fixture *f = *state;
  aon_error error = AON_ERROR_INIT;
  aon_buffer out AON_BUFFER_CLEANUP = {0};
  assert_int_equal(aon_pack_describe(f->pack, false, &out, &error), AON_OK);
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
    if (!strstr(out.data, lines[i]))
      fail_msg("no \"%s\" in:\n%s", lines[i], out.data);
}

static const aon_template_column *column_of(const aon_template_sheet *sheet, const char *heading) {
  for (size_t i = 0; i < sheet->column_count; i++)
    if (!strcmp(sheet->columns[i].heading, heading))
      return &sheet->columns[i];
  fail_msg("no heading %s in %s", heading, sheet->name);
  return NULL;
}

static void the_template_has_every_column(void **state) {
  static const char *const names[] = {"Users",          "Departments", "Sites",  "Products",    "SKUs",
                                      "Questionnaires", "Schedules",   "Issues", "Non-Ops Days"};
  fixture *f = *state;
  aon_error error = AON_ERROR_INIT;
  aon_arena arena AON_ARENA_CLEANUP = {0};
  const aon_template_sheet *sheets;
  size_t count;
  assert_int_equal(aon_pack_template(f->pack, &arena, &sheets, &count, &error), AON_OK);
  assert_int_equal(count, 9);
  for (size_t i = 0; i < count; i++)
    assert_string_equal(sheets[i].name, names[i]);
  const aon_template_column *role = column_of(&sheets[0], "Role*");
  assert_string_equal(role->choices[3], "staff");
  assert_null(role->choices[4]);
  assert_string_equal(role->note, "One of admin, manager, supervisor, staff, required.");
  assert_true(column_of(&sheets[0], "Phone")->text_format);
  assert_int_equal(column_of(&sheets[0], "Hire Date")->example_type, 'd');
  assert_null(column_of(&sheets[0], "Sites")->choices);
  assert_int_equal(column_of(&sheets[2], "Latitude")->example_type, 'n');
  assert_int_equal(column_of(&sheets[6], "Start Time*")->example_type, 't');
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(documents_are_located), cmocka_unit_test(wrong_ids_and_collections_are_named),
                                     cmocka_unit_test(the_description_is_json), cmocka_unit_test(the_description_is_readable),
                                     cmocka_unit_test(the_template_has_every_column)};
  return cmocka_run_group_tests(tests, load, unload);
}
