/* What MongoDB and FerretDB keep of a document, and which values an id stands for: without a server. */
#include <math.h>
#include <string.h>

#include "kept.h"
#include "store/mongodb_internal.h"

static char name[] = "main";
static mdb_store mongodb = {.name = name, .facts = {.transactions = true}}, ferretdb = {.name = name, .facts = {.ferretdb = true}};
static const aon_collection items = {.store = "main", .name = "items"};

static void mongodb_keeps(void **state) {
  (void)state;
  static const aon_collection shown = {.store = "main", .name = "items", .id_property = "_id"},
                              own = {.store = "main", .name = "items", .id_property = "code"},
                              odd = {.store = "main", .name = "items", .id_property = "a.b"};
  static const kept_case cases[] = {{"a", "{\"x\":[[1],{\"a.b\":-0.0,\"$c\":null}]}", NULL},
                                    {"a", "{\"_id\":\"a\",\"x\":1}", "{\"x\":1}"},
                                    {"5", "{\"_id\":5,\"x\":1}", "{\"x\":1}"},
                                    {"5", "{\"_id\":5.0}", "{}"},
                                    {"5", "{\"_id\":5.5}", "!inconsistent"},
                                    {"a", "{\"_id\":\"b\"}", "!inconsistent"},
                                    {"a", "{\"_id\":null}", "!inconsistent"},
                                    {"a", "{\"_id\":\"\"}", "!inconsistent"},
                                    {"a", "{\"_id\":1e300}", "!inconsistent"},
                                    {"", "{\"x\":1}", "!bad_format"},
                                    {"\xff", "{\"x\":1}", "!bad_format"}};
  static const kept_case of_shown[] = {{"a", "{\"x\":1}", "{\"_id\":\"a\",\"x\":1}"}, {"5", "{\"_id\":5}", "{\"_id\":\"5\"}"}};
  static const kept_case of_own[] = {{"a", "{\"code\":\"a\"}", NULL},
                                     {"5", "{\"code\":5}", NULL},
                                     {"a", "{\"x\":1}", "!inconsistent"},
                                     {"a", "{\"code\":\"b\"}", "!inconsistent"}};
  static const kept_case of_ferretdb[] = {{"a", "{\"x\":[1,{\"y\":[null]}],\"t\":\"x\",\"b\":true,\"d\":0.0}", NULL},
                                          {"a", "{\"x\":[[1]]}", "!bad_type"},
                                          {"a", "{\"x\":{\"a.b\":1}}", "!bad_type"},
                                          {"a", "{\"$x\":1}", "!bad_type"},
                                          {"a", "{\"x\":-0.0}", "!bad_type"}};
  KEEPS(mdb_normalise, &mongodb, &items, cases);
  KEEPS(mdb_normalise, &mongodb, &shown, of_shown);
  KEEPS(mdb_normalise, &mongodb, &own, of_own);
  KEEPS(mdb_normalise, &mongodb, &odd, cases); /* a property that can't be asked for is no key */
  KEEPS(mdb_normalise, &ferretdb, &items, of_ferretdb);
  assert_string_equal(kept_of_levels(mdb_normalise, &mongodb, &items, MDB_DEPTH_LIMIT), "kept");
  assert_string_equal(kept_of_levels(mdb_normalise, &mongodb, &items, MDB_DEPTH_LIMIT + 1), "!too_deep");
  bson_t *plain = kept_nested(1);
  kept_is(mdb_normalise, &mongodb, &items, (aon_text){"a\0b", 3}, plain, "!bad_format");
  bson_destroy(plain);
  bson_t document = BSON_INITIALIZER;
  BSON_APPEND_DOUBLE(&document, "d", (double)INFINITY);
  kept_is(mdb_normalise, &ferretdb, &items, text("a"), &document, "!bad_type");
  bson_reinit(&document);
  BSON_APPEND_MINKEY(&document, "m");
  kept_is(mdb_normalise, &ferretdb, &items, text("a"), &document, "!bad_type");
  bson_destroy(&document);
}

/* All values that an id may stand for: s text, i number, o ObjectId, u UUID. */
static void mongodb_knows_ids(void **state) {
  (void)state;
  static const struct {
    const char *id, *kinds;
  } cases[] = {{"a", "s"},
               {"5", "si"},
               {"-5", "si"},
               {"05", "s"},
               {"5.0", "s"},
               {"9223372036854775807", "si"},
               {"9223372036854775808", "s"},
               {"123456789012345678901234", "so"},
               {"507f1f77bcf86cd799439011", "so"},
               {"507F1F77BCF86CD799439011", "s"},
               {"507f1f77bcf86cd79943901g", "s"},
               {"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "su"},
               {"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g", "s"},
               {"a0eebc99x9c0b-4ef8-bb6d-6bb9bd380a11", "s"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    AON_ARENA_CLEANUP aon_arena arena = {0};
    bson_t array = BSON_INITIALIZER;
    bson_iter_t at;
    uint32_t index = 0;
    char kinds[8] = "";
    aon_error error = AON_ERROR_INIT;
    assert_true(mdb_append_candidates(&array, text(cases[i].id), &index));
    assert_true(bson_iter_init(&at, &array));
    while (bson_iter_next(&at)) {
      bson_type_t type = bson_iter_type(&at);
      kinds[strlen(kinds)] = type == BSON_TYPE_UTF8 ? 's' : type == BSON_TYPE_INT64 ? 'i' : type == BSON_TYPE_OID ? 'o' : 'u';
      bson_t document = BSON_INITIALIZER; /* each of them is spelled as the id again */
      aon_text spelled;
      bson_append_iter(&document, "_id", 3, &at);
      assert_int_equal(mdb_id_text(&mongodb, &items, &document, &arena, &spelled, &error), AON_OK);
      assert_int_equal(spelled.length, strlen(cases[i].id));
      assert_memory_equal(spelled.data, cases[i].id, spelled.length);
      bson_destroy(&document);
    }
    assert_string_equal(kinds, cases[i].kinds);
    assert_int_equal(index, strlen(kinds));
    bson_destroy(&array);
  }
}

static void mongodb_refuses_ids(void **state) {
  (void)state;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  static const struct {
    bson_subtype_t subtype;
    uint32_t length;
  } binaries[] = {{BSON_SUBTYPE_BINARY, 16}, {BSON_SUBTYPE_UUID, 15}};
  aon_text spelled;
  bson_t document = BSON_INITIALIZER;
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(mdb_id_text(&mongodb, &items, &document, &arena, &spelled, &error), AON_PERMANENT);
  for (size_t i = 0; i < sizeof binaries / sizeof *binaries; i++) {
    bson_reinit(&document);
    BSON_APPEND_BINARY(&document, "_id", binaries[i].subtype, (const uint8_t *)"0123456789abcdef", binaries[i].length);
    error = (aon_error)AON_ERROR_INIT;
    assert_int_equal(mdb_id_text(&mongodb, &items, &document, &arena, &spelled, &error), AON_PERMANENT);
    assert_string_equal(error.code, "not_supported");
  }
  bson_destroy(&document);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(mongodb_keeps), cmocka_unit_test(mongodb_knows_ids),
                                     cmocka_unit_test(mongodb_refuses_ids)};
  return cmocka_run_group_tests_name("store kept_mongodb", tests, NULL, NULL);
}
