/* What MongoDB and FerretDB keep of a document, and which values an id stands for: without a server. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kept.h"
#include "model/document.h"
#include "store/mongodb_internal.h"

static char name[] = "main";
static mdb_store mongodb = {.name = name, .facts = {.transactions = true}}, ferretdb = {.name = name, .facts = {.ferretdb = true}};
static const aon_collection items = {.store = "main", .name = "items"}, orders = {.store = "main", .name = "orders"};
static const char *const of_orders[] = {"region", "number", NULL}, *const of_people[] = {"email", NULL};
static const aon_store_key keys[] = {{"people", of_people}, {"orders", of_orders}, {0}};
static mdb_store keyed = {.name = name, .keys = keys, .facts = {.transactions = true}};

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
  BSON_APPEND_DOUBLE(&document, "d", (double)NAN);
  kept_is(mdb_normalise, &ferretdb, &items, text("a"), &document, "!bad_type");
  char long_id[300];
  kept_repeat(long_id, 'a', sizeof long_id - 1);
  kept_case longer[] = {{long_id, "{\"_id\":\"b\"}", "!inconsistent"}};
  KEEPS(mdb_normalise, &mongodb, &items, longer);
  bson_reinit(&document);
  BSON_APPEND_MINKEY(&document, "m");
  kept_is(mdb_normalise, &ferretdb, &items, text("a"), &document, "!bad_type");
  bson_destroy(&document);
}

/* Documents that the configuration says to be known by other properties than _id. */
static void mongodb_keeps_keys(void **state) {
  (void)state;
  static const aon_collection people = {.store = "main", .name = "people", .id_property = "userID"},
                              shown = {.store = "main", .name = "orders", .id_property = "_id"};
  static const kept_case cases[] = {{"north:5", "{\"region\":\"north\",\"number\":5}", NULL},
                                    {"north:5", "{\"number\":5.0,\"x\":[1],\"region\":\"north\"}", NULL},
                                    {"a%3Ab:%25", "{\"region\":\"a:b\",\"number\":\"%\"}", NULL},
                                    {":5", "{\"region\":\"\",\"number\":5}", NULL},
                                    {"north:5", "{\"_id\":7,\"region\":\"north\",\"number\":5}", "{\"region\":\"north\",\"number\":5}"},
                                    {"north:5", "{\"region\":\"north\",\"number\":6}", "!inconsistent"},
                                    {"north:5", "{\"region\":\"north\",\"number\":5.5}", "!inconsistent"},
                                    {"north:5", "{\"number\":5}", "!inconsistent"},
                                    {"north:5", "{\"region\":null,\"number\":5}", "!inconsistent"},
                                    {"north", "{\"region\":\"north\",\"number\":5}", "!bad_format"},
                                    {"north:5:6", "{\"region\":\"north\",\"number\":5}", "!bad_format"},
                                    {"%41:5", "{\"region\":\"A\",\"number\":5}", "!bad_format"}};
  static const kept_case of_one[] = {{"a", "{\"email\":\"a\",\"userID\":\"b\"}", NULL}, {"a", "{\"userID\":\"a\"}", "!inconsistent"}};
  static const kept_case of_shown[] = {
      {"north:5", "{\"region\":\"north\",\"number\":5}", "{\"_id\":\"north:5\",\"region\":\"north\",\"number\":5}"},
      {"north:5", "{\"_id\":\"north:6\",\"region\":\"north\",\"number\":5}", "!inconsistent"}};
  KEEPS(mdb_normalise, &keyed, &orders, cases);
  KEEPS(mdb_normalise, &keyed, &people, of_one);
  KEEPS(mdb_normalise, &keyed, &shown, of_shown);
}

static void mongodb_joins_ids(void **state) {
  (void)state;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  static const struct {
    const char *json, *id;
  } cases[] = {{"{\"number\":5,\"region\":\"north\"}", "north:5"},
               {"{\"region\":\"a:b%\",\"number\":\"\"}", "a%3Ab%25:"},
               {"{\"region\":\"north\"}", NULL},
               {"{\"region\":\"north\",\"number\":[5]}", NULL},
               {"{\"region\":null,\"number\":5}", NULL}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    bson_t document;
    aon_text id;
    aon_error error = AON_ERROR_INIT;
    assert_int_equal(aon_document_from_json(cases[i].json, strlen(cases[i].json), &document, &error), AON_OK);
    aon_result result = mdb_id_text(&keyed, &orders, &document, &arena, &id, &error);
    if (cases[i].id) {
      assert_int_equal(result, AON_OK);
      assert_string_equal(id.data, cases[i].id);
    } else {
      assert_int_equal(result, AON_PERMANENT);
      assert_string_equal(error.code, "not_supported");
    }
    bson_destroy(&document);
  }
}

/* What a batch of ids is asked for: in one query, a branch for each beginning of ids, so that an index serves it. */
static void mongodb_asks_for_keys(void **state) {
  (void)state;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  static const struct {
    const char *ids[4], *branches;
  } cases[] = {{{"n:1", "n:b"}, "{ \"0\" : { \"region\" : { \"$in\" : [ \"n\" ] }, \"number\" : { \"$in\" : [ \"1\", 1, \"b\" ] } } }"},
               {{"7:a", "n", "n:a", "s:a"},
                "{ \"0\" : { \"region\" : { \"$in\" : [ \"7\", 7 ] }, \"number\" : { \"$in\" : [ \"a\" ] } }, "
                "\"1\" : { \"region\" : { \"$in\" : [ \"n\" ] }, \"number\" : { \"$in\" : [ \"a\" ] } }, "
                "\"2\" : { \"region\" : { \"$in\" : [ \"s\" ] }, \"number\" : { \"$in\" : [ \"a\" ] } } }"},
               {{":1", ":2"}, "{ \"0\" : { \"region\" : { \"$in\" : [ \"\" ] }, \"number\" : { \"$in\" : [ \"1\", 1, \"2\", 2 ] } } }"},
               {{"a%3Ab:c"}, "{ \"0\" : { \"region\" : { \"$in\" : [ \"a:b\" ] }, \"number\" : { \"$in\" : [ \"c\" ] } } }"},
               {{"n", "n:1:2", "%:1"}, "{ }"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    aon_text ids[4];
    size_t count = 0;
    uint32_t branches;
    aon_error error = AON_ERROR_INIT;
    bson_t array = BSON_INITIALIZER;
    for (; count < 4 && cases[i].ids[count]; count++)
      ids[count] = text(cases[i].ids[count]);
    mdb_key key = mdb_key_of(&keyed, &orders);
    assert_int_equal(mdb_append_branches(key, ids, count, &arena, &array, &branches, &error), AON_OK);
    assert_int_equal(branches, bson_count_keys(&array));
    char *said = bson_as_relaxed_extended_json(&array, NULL);
    assert_string_equal(said, cases[i].branches);
    bson_free(said);
    bson_destroy(&array);
  }
}

static void keys_that_can_not_serve(void **state) {
  (void)state;
  static const char *const none[] = {NULL}, *const dotted[] = {"a", "b.c", NULL}, *const dollar[] = {"$a", NULL},
                           *const twice[] = {"a", "b", "a", NULL}, *const own[] = {"a", "_id", NULL}, *const empty[] = {"", NULL},
                           *const most[] = {"1", "2", "3", "4", "5", "6", "7", "8", NULL}, *const many[] = {"1", "2", "3", "4", "5",
                                                                                                            "6", "7", "8", "9", NULL};
  static const char *const *const bad[] = {none, dotted, dollar, twice, own, empty, many, NULL};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_non_null(aon_store_key_problem(&(aon_store_key){"orders", bad[i]}));
  assert_null(aon_store_key_problem(&(aon_store_key){"orders", most}));
  assert_null(aon_store_key_problem(&keys[1]));
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
    mdb_append_candidates(&array, text(cases[i].id), &index);
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

static void mongodb_cuts_long_keys(void **state) {
  (void)state;
  static const char fifty[] = "01234567890123456789012345678901234567890123456789";
  static const char *const names[] = {fifty, fifty, fifty, fifty, fifty};
  char shown[MDB_KEY_SHOWN];
  assert_string_equal(mdb_key_shown((mdb_key){of_orders, 2}, ": 1", shown), "region: 1, number: 1");
  assert_int_equal(strlen(mdb_key_shown((mdb_key){names, 5}, "", shown)), MDB_KEY_SHOWN - 1);
  assert_true(mdb_plain_name("a$"));
  assert_false(mdb_plain_name("") || mdb_plain_name("$a") || mdb_plain_name("a.b"));
}

static void mongodb_has_a_limit(void **state) {
  (void)state;
  char *found = NULL, *long_text = malloc(MDB_DOCUMENT_BYTES + 1);
  aon_error error = AON_ERROR_INIT;
  assert_non_null(long_text);
  for (int over = 0; over < 2; over++) {
    bson_t document = BSON_INITIALIZER;
    kept_repeat(long_text, 'x', MDB_DOCUMENT_BYTES - 200 + 200 * (size_t)over);
    BSON_APPEND_UTF8(&document, "t", long_text);
    assert_int_equal(kept_answer(mdb_normalise, &mongodb, &items, text("a"), &document, &found, &error), AON_OK);
    assert_int_equal(*found, over ? '!' : '{');
    free(found);
    bson_destroy(&document);
  }
  assert_string_equal(error.code, "too_long");
  free(long_text);
}

/* An image gives back the _id that is there, or that it was read with, or else its id as text. */
static void mongodb_gives_back_ids(void **state) {
  (void)state;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_error error = AON_ERROR_INIT;
  bson_t stored = BSON_INITIALIZER, made, other = BSON_INITIALIZER, bare = BSON_INITIALIZER;
  aon_image image;
  BSON_APPEND_INT64(&stored, "_id", 5);
  BSON_APPEND_UTF8(&stored, AON_STAMP_NAME, "old");
  assert_int_equal(mdb_image_of(&items, text("5"), &stored, &arena, &image, &error), AON_OK);
  assert_true(image.token_length > 0);
  BSON_APPEND_UTF8(&other, "_id", "theirs");
  static const struct {
    bool token, own;
    const char *stamp, *json;
  } cases[] = {{true, false, NULL, "{ \"_id\" : 5, \"" AON_STAMP_NAME "\" : \"old\" }"},
               {true, true, "new", "{ \"_id\" : \"theirs\", \"" AON_STAMP_NAME "\" : \"new\" }"},
               {false, false, NULL, "{ \"_id\" : \"5\", \"" AON_STAMP_NAME "\" : \"old\" }"}};
  for (size_t i = 0; i < 3; i++) {
    aon_image of = image;
    if (!cases[i].token)
      of.token = NULL;
    assert_int_equal(mdb_document_of(&mongodb, &items, text("5"), &of, cases[i].own ? &other : &bare, cases[i].stamp, &made, &error),
                     AON_OK);
    char *said = bson_as_relaxed_extended_json(&made, NULL);
    assert_string_equal(said, cases[i].json);
    bson_free(said);
    bson_destroy(&made);
  }
  image.bson_length--;
  assert_int_equal(mdb_document_of(&mongodb, &items, text("5"), &image, NULL, NULL, &made, &error), AON_CORRUPT);
  assert_string_equal(error.code, "bad_image");
  bson_destroy(&made);
  bson_reinit(&stored); /* found by another property: no text names its _id, but it is kept */
  bson_append_utf8(&stored, "_id", 3, "a\0b", 3);
  assert_int_equal(mdb_image_of(&items, text("a"), &stored, &arena, &image, &error), AON_OK);
  assert_true(image.token_length > 0);
  bson_destroy(&stored);
  bson_destroy(&other);
  bson_destroy(&bare);
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
  static const char zero_in_hex[] = "0123456789ab\0def01234567"; /* 24 bytes, and no ObjectId */
  uint32_t index = 0;
  bson_reinit(&document);
  mdb_append_candidates(&document, (aon_text){zero_in_hex, 24}, &index);
  mdb_append_candidates(&document, (aon_text){"", 0}, &index);
  assert_int_equal(index, 2);
  for (int i = 0; i < 3; i++) {
    bson_reinit(&document);
    if (i == 0)
      BSON_APPEND_UTF8(&document, "_id", "");
    else if (i == 1)
      bson_append_utf8(&document, "_id", 3, "a\0b", 3);
    else
      BSON_APPEND_DOUBLE(&document, "_id", -1e300);
    error = (aon_error)AON_ERROR_INIT;
    assert_int_equal(mdb_id_text(&mongodb, &items, &document, &arena, &spelled, &error), AON_PERMANENT);
    assert_string_equal(error.code, "not_supported");
  }
  bson_destroy(&document);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(mongodb_keeps),           cmocka_unit_test(mongodb_keeps_keys),
                                     cmocka_unit_test(mongodb_joins_ids),       cmocka_unit_test(mongodb_asks_for_keys),
                                     cmocka_unit_test(mongodb_knows_ids),       cmocka_unit_test(mongodb_refuses_ids),
                                     cmocka_unit_test(keys_that_can_not_serve), cmocka_unit_test(mongodb_cuts_long_keys),
                                     cmocka_unit_test(mongodb_has_a_limit),     cmocka_unit_test(mongodb_gives_back_ids)};
  return cmocka_run_group_tests_name("store kept_mongodb", tests, NULL, NULL);
}
