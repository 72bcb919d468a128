/* What Firestore, a Realtime Database and Firebase Auth keep of a document, how what they give is read, and how they are asked: without
 * them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kept.h"
#include "model/document.h"
#include "store/auth_internal.h"
#include "store/firestore_internal.h"
#include "store/rtdb_internal.h"

#define ROOT "projects/p/databases/(default)/documents"

static char name[] = "main", none[] = "", root[] = ROOT, base[] = "http://x/", query[] = "ns=n";
static fs_store firestore = {.fb = {.name = name}, .base = base, .root = root};
static rtdb_store rtdb = {.fb = {.name = name}, .base = base, .query = query};
static fb_store auth = {.name = name};

/* ---- paths ---- */

static void reads_paths(void **state) {
  (void)state;
  static const struct {
    const char *path, *id, *kept;
  } cases[] = {{"/c/{id}", "a", "{\"x\":1}"},
               {"c/{id}/", "a", "{\"x\":1}"},
               {NULL, "a", "{\"x\":1}"},
               {"/c/{a}/d/{b}", "a:b", "{\"x\":1}"},
               {"/c/{a}/d/{b}", "a", "!forbidden_character"},
               {"/c/{a}/d/{b}", "a:", "!forbidden_character"},
               {"/c", "a", "!bad_format"},
               {"/{id}", "a", "!bad_format"},
               {"/", "a", "!bad_format"},
               {"/c//{id}", "a", "!bad_format"},
               {"/c/x{id}", "a", "!bad_format"},
               {"/c/{id", "a", "!bad_format"},
               {"/c/{}", "a", "!bad_format"},
               {"/a/b/a/b/a/b/a/b/a/b/a/b/a/b/a/b/a/b/a/b/a/b/a/b/a/b/a/b/a/b/a/{id}", "a", "!bad_format"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    aon_collection in = {.store = "main", .name = "c", .path = cases[i].path};
    kept_case one[] = {{cases[i].id, "{\"x\":1}", cases[i].kept}};
    KEEPS(rtdb_normalise, &rtdb, &in, one);
    KEEPS(fs_normalise, &firestore, &in, one);
  }
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_error error = AON_ERROR_INIT;
  aon_text segments[FB_SEGMENTS_LIMIT];
  fb_path path;
  bool fits = true;
  assert_int_equal(fb_path_parse(&(aon_collection){.name = "c", .path = "/c/{a}/d/{b}"}, &arena, &path, &error), AON_OK);
  assert_int_equal(fb_path_fill(&path, (aon_text){"", 0}, &arena, segments, &fits, &error), AON_OK);
  assert_false(fits);
  aon_collection odd = {.store = "main", .name = "c", .path = "/c/d/{id}"};
  kept_case one[] = {{"a", "{\"x\":1}", "!bad_format"}}, other[] = {{"a", "{\"x\":1}", NULL}};
  KEEPS(fs_normalise, &firestore, &odd, one); /* a document stands at an even place */
  KEEPS(rtdb_normalise, &rtdb, &odd, other);
}

static void escapes_urls(void **state) {
  (void)state;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_error error = AON_ERROR_INIT;
  const char *url;
  assert_int_equal(rtdb_url(&rtdb, "c/\xc3\xa9 a%", "print=silent", &arena, &url, &error), AON_OK);
  assert_string_equal(url, "http://x/c/%C3%A9%20a%25.json?ns=n&print=silent");
  rtdb_store alone = rtdb;
  alone.query = none;
  assert_int_equal(rtdb_url(&alone, "c/A-z_0~9", "", &arena, &url, &error), AON_OK);
  assert_string_equal(url, "http://x/c/A-z_0~9.json?");
}

/* ---- Firestore ---- */

static const aon_collection items = {.store = "main", .name = "items"};

static void firestore_keeps(void **state) {
  (void)state;
  static const kept_case cases[] = {
      {"a", "{\"n\":null,\"b\":true,\"f\":false,\"i\":-7,\"d\":1.5,\"t\":\"\xc3\xa9\\u0000x\"}", NULL},
      {"a", "{\"l\":[1,\"x\",{\"m\":[2]}],\"e\":[],\"m\":{}}", NULL},
      {"a", "{\"g\":{\"$geopoint\":[1.5,-2]}}", "{\"g\":{\"$geopoint\":[1.5,-2.0]}}"},
      {"a", "{\"g\":{\"$geopoint\":[90,180]}}", "{\"g\":{\"$geopoint\":[90.0,180.0]}}"},
      {"a", "{\"g\":{\"$geopoint\":[91,0]}}", "!bad_type"},
      {"a", "{\"g\":{\"$geopoint\":[0,-181]}}", "!bad_type"},
      {"a", "{\"g\":{\"$geopoint\":[1]}}", "!bad_type"},
      {"a", "{\"g\":{\"$geopoint\":[]}}", "!bad_type"},
      {"a", "{\"t\":{\"$timestamp\":\"2027-01-06T08:00:00.1234567890123456789012345678901234567890123456789012345678901234567890Z\"}}",
       "!bad_type"},
      {"a", "{\"g\":{\"$geopoint\":[\"1\",2]}}", "!bad_type"},
      {"a", "{\"r\":{\"$reference\":\"users/u\"}}", NULL},
      {"a", "{\"r\":{\"$reference\":\"/users/u\"}}", "{\"r\":{\"$reference\":\"users/u\"}}"},
      {"a", "{\"r\":{\"$reference\":\"" ROOT "/users/u\"}}", "{\"r\":{\"$reference\":\"users/u\"}}"},
      {"a", "{\"r\":{\"$reference\":\"" ROOT "2/users/u\"}}", NULL},
      {"a", "{\"r\":{\"$reference\":\"projects/q/databases/d/documents/users/u\"}}", NULL},
      {"a", "{\"t\":{\"$timestamp\":\"2027-01-06T08:00:00.123456Z\"}}", NULL},
      {"a", "{\"t\":{\"$timestamp\":\"2027-01-06T08:00:00.123456789Z\"}}", "{\"t\":{\"$timestamp\":\"2027-01-06T08:00:00.123456Z\"}}"},
      {"a", "{\"t\":{\"$timestamp\":\"2027-01-06T08:00:00.123000Z\"}}", "{\"t\":\"2027-01-06T08:00:00.123Z\"}"},
      {"a", "{\"t\":{\"$timestamp\":\"2027-01-06T08:00:00Z\"}}", "!bad_type"},
      {"a", "{\"t\":{\"$timestamp\":\"soon.\"}}", "!bad_type"},
      {"a", "{\"m\":{\"$geopoint\":[1,2],\"x\":1}}", NULL}, /* looks like one of them, and is not */
      {"a", "{\"m\":{\"$geopoint\":\"x\"}}", "{\"m\":{\"$map\":{\"$geopoint\":\"x\"}}}"},
      {"a", "{\"m\":{\"$reference\":5}}", "{\"m\":{\"$map\":{\"$reference\":5}}}"},
      {"a", "{\"m\":{\"$map\":5}}", "{\"m\":{\"$map\":{\"$map\":5}}}"},
      {"a", "{\"m\":{\"$map\":{\"$timestamp\":5}}}", NULL},
      {"a", "{\"m\":{\"$map\":{}}}", "{\"m\":{}}"},
      {"a", "{\"m\":{\"$other\":1}}", NULL},
      {"a", "{\"l\":[[1]]}", "!bad_type"},
      {"a", "{\"__x__\":1}", "!forbidden_character"},
      {"a", "{\"m\":{\"__x__\":1}}", "!forbidden_character"},
      {"a", "{\"__\":1}", NULL},
      {"a", "{\"\":1}", "!forbidden_character"},
      {"", "{\"x\":1}", "!bad_format"},
      {"a/b", "{\"x\":1}", "!forbidden_character"},
      {".", "{\"x\":1}", "!forbidden_character"},
      {"..", "{\"x\":1}", "!forbidden_character"},
      {"...", "{\"x\":1}", NULL},
      {"__a__", "{\"x\":1}", "!forbidden_character"},
      {"__abc", "{\"x\":1}", NULL},
      {"__a", "{\"x\":1}", NULL}};
  KEEPS(fs_normalise, &firestore, &items, cases);
  char long_text[1600], json[1700];
  for (size_t i = 1500; i <= 1501; i++) {
    kept_repeat(long_text, 'n', i);
    snprintf(json, sizeof json, "{\"%s\":1}", long_text);
    kept_case long_name[] = {{"a", json, i > 1500 ? "!forbidden_character" : NULL}},
              long_id[] = {{long_text, "{\"x\":1}", i > 1500 ? "!forbidden_character" : NULL}};
    KEEPS(fs_normalise, &firestore, &items, long_name);
    KEEPS(fs_normalise, &firestore, &items, long_id);
  }
  assert_string_equal(kept_of_levels(fs_normalise, &firestore, &items, FS_DEPTH), "kept");
  assert_string_equal(kept_of_levels(fs_normalise, &firestore, &items, FS_DEPTH + 1), "!too_long");
}

static void firestore_keeps_types(void **state) {
  (void)state;
  bson_t document = BSON_INITIALIZER;
  bson_decimal128_t decimal;
  BSON_APPEND_DOUBLE(&document, "nan", (double)NAN);
  BSON_APPEND_DOUBLE(&document, "inf", (double)INFINITY);
  BSON_APPEND_DOUBLE(&document, "less", -(double)INFINITY);
  BSON_APPEND_UNDEFINED(&document, "undefined");
  BSON_APPEND_INT32(&document, "i", 5);
  BSON_APPEND_DATE_TIME(&document, "t", 1799222400123);
  BSON_APPEND_BINARY(&document, "b", BSON_SUBTYPE_BINARY, (const uint8_t *)"\x00\xff", 2);
  kept_is(
      fs_normalise, &firestore, &items, text("a"), &document,
      "{\"nan\":\"NaN\",\"inf\":\"Infinity\",\"less\":\"-Infinity\",\"undefined\":null,\"i\":5,\"t\":\"2027-01-06T08:00:00.123Z\",\"b\":\"AP8=\"}");
  bson_decimal128_from_string("1.5", &decimal);
  BSON_APPEND_DECIMAL128(&document, "d", &decimal);
  kept_is(fs_normalise, &firestore, &items, text("a"), &document, "!bad_type");
  bson_destroy(&document);
}

static void firestore_has_a_limit(void **state) {
  (void)state;
  char *found = NULL, *long_text = malloc(FS_DOCUMENT_BYTES + 1);
  aon_error error = AON_ERROR_INIT;
  assert_non_null(long_text);
  for (int over = 0; over < 2; over++) {
    bson_t document = BSON_INITIALIZER;
    kept_repeat(long_text, 'x', FS_DOCUMENT_BYTES - 200 + 200 * (size_t)over);
    BSON_APPEND_UTF8(&document, "t", long_text);
    assert_int_equal(kept_answer(fs_normalise, &firestore, &items, text("a"), &document, &found, &error), AON_OK);
    assert_int_equal(*found, over ? '!' : '{');
    free(found);
    bson_destroy(&document);
  }
  assert_string_equal(error.code, "too_long");
  free(long_text);
}

/* What the service gives, as text; or !CODE. */
static void reads_firestore(const char *json, const char *wanted) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  AON_BUFFER_CLEANUP aon_buffer out = {0};
  json_error_t ignored;
  aon_image image;
  bson_t view;
  aon_error error = AON_ERROR_INIT;
  json_t *given = json_loads(json, JSON_ALLOW_NUL, &ignored);
  assert_non_null(given);
  aon_result result = fs_image(&firestore, given, &arena, &image, &error);
  json_decref(given);
  if (*wanted == '!') {
    assert_int_equal(result, AON_PERMANENT);
    assert_string_equal(error.code, wanted + 1);
    return;
  }
  assert_int_equal(result, AON_OK);
  assert_true(aon_image_view(&image, &view));
  assert_int_equal(aon_document_to_json(&view, &out, &error), AON_OK);
  assert_string_equal(out.data, wanted);
  assert_int_equal(image.token_length, strstr(json, "updateTime") ? 4 : 0);
}

static void firestore_is_read(void **state) {
  (void)state;
  reads_firestore("{\"fields\":{\"i\":{\"integerValue\":\"9007199254740993\"},\"j\":{\"integerValue\":5}},\"updateTime\":\"2027\"}",
                  "{\"i\":9007199254740993,\"j\":5}");
  reads_firestore("{}", "{}");
  reads_firestore("{\"fields\":{\"g\":{\"geoPointValue\":{\"latitude\":1.5}}}}", "{\"g\":{\"$geopoint\":[1.5,0.0]}}");
  reads_firestore("{\"fields\":{\"a\":{\"arrayValue\":{}},\"m\":{\"mapValue\":{}}}}", "{\"a\":[],\"m\":{}}");
  reads_firestore("{\"fields\":{\"d\":{\"doubleValue\":\"NaN\"},\"e\":{\"doubleValue\":\"-Infinity\"},\"f\":{\"doubleValue\":2}}}",
                  "{\"d\":\"NaN\",\"e\":\"-Infinity\",\"f\":2.0}");
  reads_firestore("{\"fields\":{\"t\":{\"timestampValue\":\"2027-01-06T08:00:00.1234Z\"}}}",
                  "{\"t\":{\"$timestamp\":\"2027-01-06T08:00:00.1234Z\"}}");
  reads_firestore("{\"fields\":{\"t\":{\"timestampValue\":\"9999999\"}}}", "{\"t\":{\"$timestamp\":\"9999999\"}}");
  reads_firestore("{\"fields\":{\"r\":{\"referenceValue\":\"" ROOT "\"}}}", "{\"r\":{\"$reference\":\"" ROOT "\"}}");
  /* What it may have got since, or what makes no sense, is refused rather than lost. */
  static const char *const bad[] = {"{\"vectorValue\":{}}",
                                    "{}",
                                    "{\"timestampValue\":5}",
                                    "{\"bytesValue\":5}",
                                    "{\"bytesValue\":\"!\"}",
                                    "{\"referenceValue\":null}",
                                    "{\"arrayValue\":{\"values\":[{\"x\":1}]}}",
                                    "{\"arrayValue\":{\"values\":[{\"x\":1},{\"nullValue\":null}]}}",
                                    "{\"arrayValue\":{\"values\":[{\"mapValue\":{\"fields\":{\"a\":{\"x\":1}}}}]}}",
                                    "{\"mapValue\":{\"fields\":{\"x\":{\"y\":1}}}}",
                                    "{\"mapValue\":{\"fields\":{\"$map\":{\"y\":1}}}}"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char json[200];
    snprintf(json, sizeof json, "{\"fields\":{\"a\":{\"nullValue\":null},\"x\":%s,\"z\":{\"nullValue\":null}}}", bad[i]);
    reads_firestore(json, "!bad_type");
  }
}

static void firestore_is_stamped(void **state) {
  (void)state;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  AON_BUFFER_CLEANUP aon_buffer out = {0};
  aon_error error = AON_ERROR_INIT;
  bson_t document = BSON_INITIALIZER;
  aon_image image;
  BSON_APPEND_UTF8(&document, AON_STAMP_NAME, "old");
  BSON_APPEND_INT64(&document, "x", 1);
  assert_int_equal(aon_image_from(&document, &arena, &image, &error), AON_OK);
  bson_destroy(&document);
  assert_int_equal(fs_put_document(&firestore, "n", &image, "new", &out, &error), AON_OK);
  assert_string_equal(out.data,
                      "{\"name\":\"n\",\"fields\":{\"x\":{\"integerValue\":\"1\"},\"" AON_STAMP_NAME "\":{\"stringValue\":\"new\"}}}");
  image.bson_length--;
  assert_int_equal(fs_put_document(&firestore, "n", &image, "new", &out, &error), AON_REJECTED);
  assert_string_equal(error.code, "bad_document");
}

/* ---- Realtime Database ---- */

static void rtdb_keeps(void **state) {
  (void)state;
  static const kept_case cases[] = {{"a", "{\"x\":1,\"n\":null,\"e\":{},\"l\":[],\"d\":{\"e\":{\"f\":[null]}}}", "{\"x\":1}"},
                                    {"a", "{\"n\":null}", "!bad_format"},
                                    {"a", "{}", "!bad_format"},
                                    {"a", "{\"t\":\"\xc3\xa9\",\"b\":true,\"f\":false,\"d\":-2.5}", NULL},
                                    {"a", "{\"d\":1.0,\"e\":-0.0,\"big\":1e16}", "{\"d\":1,\"e\":0,\"big\":1e+16}"},
                                    {"a", "{\"i\":9007199254740992,\"j\":-9007199254740992}", NULL},
                                    {"a", "{\"i\":9007199254740993}", "!out_of_range"},
                                    {"a", "{\"i\":-9007199254740993}", "!out_of_range"},
                                    {"a", "{\"l\":{\"0\":\"a\",\"1\":\"b\"}}", "{\"l\":[\"a\",\"b\"]}"},
                                    {"a", "{\"l\":{\"1\":\"b\",\"0\":{\"x\":1}}}", "{\"l\":[{\"x\":1},\"b\"]}"},
                                    {"a", "{\"l\":[\"a\",null,\"c\"]}", NULL},
                                    {"a", "{\"l\":[null,null,null,1]}", "{\"l\":{\"3\":1}}"},
                                    {"a", "{\"l\":{\"1\":\"a\"}}", "{\"l\":[null,\"a\"]}"},
                                    {"a", "{\"l\":{\"2\":\"a\"}}", NULL},
                                    {"a", "{\"l\":{\"00\":\"a\"}}", NULL},
                                    {"a", "{\"l\":{\"0\":\"a\",\"x\":\"b\"}}", NULL},
                                    {"a", "{\"l\":{\"1234567890\":\"a\"}}", NULL},
                                    {"a", "{\"l\":{\"0\":\"a\",\"-1\":\"b\"}}", NULL},
                                    {"a", "{\"0\":\"a\",\"1\":\"b\"}", NULL}, /* a document is an object */
                                    {"a", "{\"a.b\":1}", "!forbidden_character"},
                                    {"a", "{\"o\":{\"\":1}}", "!forbidden_character"},
                                    {"a", "{\"o\":{\"\\u0001\":1}}", "!forbidden_character"},
                                    {"a", "{\"o\":{\"\\u007f\":1}}", "!forbidden_character"},
                                    {"a", "{\"l\":[{\"$\":1}]}", "!forbidden_character"},
                                    {"", "{\"x\":1}", "!bad_format"},
                                    {"a.b", "{\"x\":1}", "!forbidden_character"},
                                    {"a/b", "{\"x\":1}", "!forbidden_character"}};
  KEEPS(rtdb_normalise, &rtdb, &items, cases);
  char long_text[800];
  for (size_t i = 768; i <= 769; i++) {
    kept_repeat(long_text, 'n', i);
    kept_case long_id[] = {{long_text, "{\"x\":1}", i > 768 ? "!forbidden_character" : NULL}};
    KEEPS(rtdb_normalise, &rtdb, &items, long_id);
  }
  assert_string_equal(kept_of_levels(rtdb_normalise, &rtdb, &items, RTDB_DEPTH - 1), "kept"); /* of "items/a", two levels */
  assert_string_equal(kept_of_levels(rtdb_normalise, &rtdb, &items, RTDB_DEPTH), "!too_long");
  bson_t document = BSON_INITIALIZER;
  BSON_APPEND_INT32(&document, "i", 5);
  BSON_APPEND_UNDEFINED(&document, "u");
  kept_is(rtdb_normalise, &rtdb, &items, text("a"), &document, "{\"i\":5}");
  BSON_APPEND_DOUBLE(&document, "d", (double)NAN);
  kept_is(rtdb_normalise, &rtdb, &items, text("a"), &document, "!bad_type");
  bson_reinit(&document);
  BSON_APPEND_DATE_TIME(&document, "t", 5);
  kept_is(rtdb_normalise, &rtdb, &items, text("a"), &document, "!bad_type");
  bson_destroy(&document);
}

static void rtdb_is_read(void **state) {
  (void)state;
  static const struct {
    const char *reply, *wanted;
    aon_result result;
  } cases[] = {{"null", NULL, AON_OK},
               {"{\"l\":[1,2],\"t\":\"x\",\"b\":true,\"d\":1.5}", "{\"l\":[1,2],\"t\":\"x\",\"b\":true,\"d\":1.5}", AON_OK},
               {"{\"l\":{\"0\":1,\"1\":2}}", "{\"l\":[1,2]}", AON_OK},
               {"[\"a\",{\"b\":false}]", "{\"0\":\"a\",\"1\":{\"b\":false}}", AON_OK},
               {"{\"a.b\":1}", "{\"a.b\":1}", AON_OK}, /* the server's own is taken as it is */
               {"5", NULL, AON_PERMANENT},
               {"\"x\"", NULL, AON_PERMANENT},
               {"{", NULL, AON_CORRUPT},
               {"", NULL, AON_CORRUPT}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    AON_ARENA_CLEANUP aon_arena arena = {0};
    AON_BUFFER_CLEANUP aon_buffer out = {0};
    aon_error error = AON_ERROR_INIT;
    aon_image image;
    bson_t view;
    const char *reply = cases[i].reply;
    assert_int_equal(rtdb_image(&rtdb, *reply ? reply : NULL, strlen(reply), i % 2 ? "tag" : NULL, &arena, &image, &error),
                     cases[i].result);
    assert_int_equal(image.bson != NULL, cases[i].wanted != NULL);
    if (!cases[i].wanted)
      continue;
    assert_true(aon_image_view(&image, &view));
    assert_int_equal(aon_document_to_json(&view, &out, &error), AON_OK);
    assert_string_equal(out.data, cases[i].wanted);
    assert_int_equal(image.token_length, i % 2 ? 3 : 0);
  }
}

/* What the server has is taken, beyond the limits for what is ours. */
static void rtdb_is_read_beyond_limits(void **state) {
  (void)state;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  AON_BUFFER_CLEANUP aon_buffer json = {0}, out = {0};
  aon_error error = AON_ERROR_INIT;
  aon_image image;
  bson_t view;
  char *long_text = malloc(RTDB_STRING_BYTES + 2);
  kept_repeat(long_text, 'x', RTDB_STRING_BYTES + 1);
  assert_int_equal(aon_buffer_format(&json, &error, "{\"t\":\"%s\",\"d\":", long_text), AON_OK);
  for (int i = 0; i < RTDB_DEPTH + 2; i++)
    assert_int_equal(aon_buffer_text(&json, "{\"d\":", &error), AON_OK);
  assert_int_equal(aon_buffer_text(&json, "1", &error), AON_OK);
  for (int i = 0; i < RTDB_DEPTH + 3; i++)
    assert_int_equal(aon_buffer_text(&json, "}", &error), AON_OK);
  assert_int_equal(rtdb_image(&rtdb, json.data, json.length, NULL, &arena, &image, &error), AON_OK);
  assert_true(aon_image_view(&image, &view));
  assert_int_equal(aon_document_to_json(&view, &out, &error), AON_OK);
  assert_string_equal(out.data, json.data);
  free(long_text);
}

/* ---- accounts ---- */

static const char *const secret[] = {"phone", "password", NULL};
static const aon_collection accounts = {.store = "main", .name = "accounts", .sensitive = secret},
                            unguarded = {.store = "main", .name = "accounts"};

static void auth_keeps(void **state) {
  (void)state;
  static const kept_case cases[] = {
      {"u", "{}", "{\"uid\":\"u\",\"disabled\":false}"},
      {"u", "{\"uid\":\"u\",\"hasPassword\":true}", "{\"uid\":\"u\",\"disabled\":false}"},
      {"u", "{\"uid\":\"v\"}", "!inconsistent"},
      {"u", "{\"uid\":\"uu\"}", "!inconsistent"},
      {"u", "{\"uid\":5}", "!inconsistent"},
      {"u", "{\"email\":\"An@B.C[\",\"displayName\":\"\",\"phoneNumber\":null}",
       "{\"uid\":\"u\",\"email\":\"an@b.c[\",\"disabled\":false}"},
      {"u", "{\"displayName\":\"An\",\"phoneNumber\":\"+1\",\"photoURL\":\"http://p\"}",
       "{\"uid\":\"u\",\"displayName\":\"An\",\"phoneNumber\":\"+1\",\"photoURL\":\"http://p\",\"disabled\":false}"},
      {"u", "{\"disabled\":true,\"emailVerified\":true,\"email\":\"a@b.c\"}",
       "{\"uid\":\"u\",\"email\":\"a@b.c\",\"emailVerified\":true,\"disabled\":true}"},
      {"u", "{\"emailVerified\":true}", "{\"uid\":\"u\",\"disabled\":false}"}, /* of no address */
      {"u", "{\"emailVerified\":true,\"email\":null}", "{\"uid\":\"u\",\"disabled\":false}"},
      {"u", "{\"displayName\":\"a\\u0000b\",\"photoURL\":\"\\u0000\"}",
       "{\"uid\":\"u\",\"displayName\":\"a\\u0000b\",\"photoURL\":\"\\u0000\",\"disabled\":false}"},
      {"u", "{\"customClaims\":{\"a\":\"\\u0000\"}}", "{\"uid\":\"u\",\"customClaims\":{\"a\":\"\\u0000\"},\"disabled\":false}"},
      {"u", "{\"disabled\":null,\"emailVerified\":false}", "{\"uid\":\"u\",\"disabled\":false}"},
      {"u", "{\"disabled\":\"\"}", "{\"uid\":\"u\",\"disabled\":false}"},
      {"u", "{\"disabled\":\"yes\"}", "!bad_type"},
      {"u", "{\"emailVerified\":1}", "!bad_type"},
      {"u", "{\"email\":5}", "!bad_type"},
      {"u", "{\"colour\":1}", "!unknown_property"},
      {"u", "{\"customClaims\":{\"role\":\"x\"}}", "{\"uid\":\"u\",\"customClaims\":{\"role\":\"x\"},\"disabled\":false}"},
      {"u", "{\"customClaims\":null}", "{\"uid\":\"u\",\"disabled\":false}"},
      {"u", "{\"customClaims\":[1]}", "!bad_type"},
      {"u", "{\"password\":\"p\"}", "{\"uid\":\"u\",\"password\":\"p\",\"disabled\":false}"},
      {"u", "{\"password\":\"p\",\"customClaims\":{\"a\":1}}", "!inconsistent"},
      {"", "{}", "!bad_format"}};
  static const kept_case bare[] = {{"u", "{\"password\":\"p\"}", "!not_supported"},
                                   {"u", "{\"displayName\":\"An\"}", "{\"uid\":\"u\",\"displayName\":\"An\",\"disabled\":false}"}};
  KEEPS(auth_normalise, &auth, &accounts, cases);
  KEEPS(auth_normalise, &auth, &unguarded, bare);
  char long_text[1100], json[1200];
  kept_repeat(long_text, 'u', AUTH_UID_BYTES + 1);
  kept_case long_id[] = {{long_text, "{}", "!bad_format"}};
  KEEPS(auth_normalise, &auth, &accounts, long_id);
  bson_t nothing = BSON_INITIALIZER;
  kept_is(auth_normalise, &auth, &accounts, (aon_text){"a\0b", 3}, &nothing, "!forbidden_character");
  kept_repeat(long_text, 'c', 1000);
  snprintf(json, sizeof json, "{\"customClaims\":{\"x\":\"%s\"}}", long_text);
  kept_case long_claims[] = {{"u", json, "!too_long"}};
  KEEPS(auth_normalise, &auth, &accounts, long_claims);
  kept_repeat(long_text, 'e', 500);
  snprintf(json, sizeof json, "{\"email\":\"%s\"}", long_text);
  char whole[1200];
  snprintf(whole, sizeof whole, "{\"uid\":\"u\",\"email\":\"%s\",\"disabled\":false}", long_text);
  kept_case long_email[] = {{"u", json, whole}}; /* it is for the service to refuse */
  KEEPS(auth_normalise, &auth, &accounts, long_email);
}

static void auth_is_read(void **state) {
  (void)state;
  static const struct {
    const char *user, *wanted; /* NULL: set aside; "!": can't be read */
  } cases[] = {
      {"{\"localId\":\"u\"}", "{\"uid\":\"u\",\"disabled\":false}"},
      {"{\"localId\":\"u\",\"email\":\"\",\"photoUrl\":\"p\",\"emailVerified\":true,\"disabled\":true,\"customAttributes\":\"{\\\"a\\\":1}\"}",
       "{\"uid\":\"u\",\"photoURL\":\"p\",\"emailVerified\":true,\"disabled\":true,\"customClaims\":{\"a\":1}}"},
      {"{\"localId\":\"u\",\"customAttributes\":\"{}\"}", "{\"uid\":\"u\",\"disabled\":false}"},
      {"{\"localId\":\"u\",\"customAttributes\":\"\"}", "{\"uid\":\"u\",\"disabled\":false}"},
      {"{\"localId\":\"u\",\"displayName\":\"a\\u0000b\",\"customAttributes\":\"{\\\"a\\\":\\\"\\\\u0000\\\"}\"}",
       "{\"uid\":\"u\",\"displayName\":\"a\\u0000b\",\"disabled\":false,\"customClaims\":{\"a\":\"\\u0000\"}}"},
      {"{\"localId\":\"u\",\"customAttributes\":\"[1]\"}", "!"},
      {"{\"localId\":\"u\",\"customAttributes\":\"x\"}", "!"},
      {"{\"localId\":\"u\",\"customAttributes\":\"{\\\"a\\\":1e999}\"}", "!"},
      {"{\"localId\":\"u\",\"customAttributes\":\"{\\\"a\\\":1,\\\"" AUTH_MARK "\\\":true}\"}", NULL},
      {"{\"localId\":\"u\",\"customAttributes\":\"{\\\"" AUTH_MARK "\\\":false}\"}",
       "{\"uid\":\"u\",\"disabled\":false,\"customClaims\":{\"" AUTH_MARK "\":false}}"},
      {"{\"localId\":\"u\",\"customAttributes\":\"{\\\"a\\\":1,\\\"a\\\":2}\"}", "!"},
      {"{\"email\":\"e\"}", "!"},
      {"{}", "!"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    AON_ARENA_CLEANUP aon_arena arena = {0};
    AON_BUFFER_CLEANUP aon_buffer out = {0};
    json_error_t ignored;
    aon_error error = AON_ERROR_INIT;
    aon_image image;
    bool aside;
    bson_t view;
    json_t *user = json_loads(cases[i].user, JSON_ALLOW_NUL, &ignored);
    aon_result result = auth_image(&auth, user, &arena, &image, &aside, &error);
    json_decref(user);
    const char *wanted = cases[i].wanted;
    assert_int_equal(result, wanted && *wanted == '!' ? AON_CORRUPT : AON_OK);
    assert_int_equal(aside, !wanted);
    assert_int_equal(image.bson != NULL, wanted && *wanted == '{');
    if (!image.bson)
      continue;
    assert_true(aon_image_view(&image, &view));
    assert_int_equal(aon_document_to_json(&view, &out, &error), AON_OK);
    assert_string_equal(out.data, wanted);
  }
}

static void says(json_t *body, const char *wanted) {
  assert_non_null(body);
  char *found = json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS);
  json_decref(body);
  assert_string_equal(found, wanted);
  free(found);
}

static void auth_is_asked(void **state) {
  (void)state;
  auth_account bare = {.disabled = true}, full = {.texts = {text("e"), text("d"), text("+1"), text("p")},
                                                  .password = text("pw"),
                                                  .email_verified = true,
                                                  .claims = "{\"a\":1}"};
  static const bool none_of_them[AUTH_TEXTS] = {false}, all_of_them[AUTH_TEXTS] = {true, true, true, true};
  auth_account with_password = {.disabled = true, .password = text("pw")}; /* others are imported */
  says(auth_to_create("u", &with_password), "{\"disabled\":true,\"emailVerified\":false,\"localId\":\"u\",\"password\":\"pw\"}");
  says(auth_to_create("u", &full), "{\"disabled\":false,\"displayName\":\"d\",\"email\":\"e\",\"emailVerified\":true,\"localId\":\"u\","
                                   "\"password\":\"pw\",\"phoneNumber\":\"+1\",\"photoUrl\":\"p\"}");
  says(auth_to_import("u", &bare), "{\"disabled\":true,\"emailVerified\":false,\"localId\":\"u\"}");
  says(auth_to_import("u", &full), "{\"customAttributes\":\"{\\\"a\\\":1}\",\"disabled\":false,\"displayName\":\"d\",\"email\":\"e\","
                                   "\"emailVerified\":true,\"localId\":\"u\",\"phoneNumber\":\"+1\",\"photoUrl\":\"p\"}");
  says(auth_to_update("u", &bare, none_of_them),
       "{\"customAttributes\":\"{}\",\"disableUser\":true,\"emailVerified\":false,\"localId\":\"u\"}");
  says(auth_to_update("u", &bare, all_of_them),
       "{\"customAttributes\":\"{}\",\"deleteAttribute\":[\"EMAIL\",\"DISPLAY_NAME\",\"PHOTO_URL\"],"
       "\"deleteProvider\":[\"phone\"],\"disableUser\":true,\"emailVerified\":false,\"localId\":\"u\"}");
  says(auth_to_update("u", &full, all_of_them),
       "{\"customAttributes\":\"{\\\"a\\\":1}\",\"disableUser\":false,\"displayName\":\"d\",\"email\":\"e\","
       "\"emailVerified\":true,\"localId\":\"u\",\"password\":\"pw\",\"phoneNumber\":\"+1\",\"photoUrl\":\"p\"}");
  says(auth_to_set_aside("u", &bare), "{\"customAttributes\":\"{\\\"" AUTH_MARK "\\\":true}\",\"disableUser\":true,\"localId\":\"u\"}");
  says(auth_to_set_aside("u", &full),
       "{\"customAttributes\":\"{\\\"a\\\":1,\\\"" AUTH_MARK "\\\":true}\",\"disableUser\":true,\"localId\":\"u\"}");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(reads_paths),
                                     cmocka_unit_test(escapes_urls),
                                     cmocka_unit_test(firestore_keeps),
                                     cmocka_unit_test(firestore_keeps_types),
                                     cmocka_unit_test(firestore_has_a_limit),
                                     cmocka_unit_test(firestore_is_read),
                                     cmocka_unit_test(firestore_is_stamped),
                                     cmocka_unit_test(rtdb_keeps),
                                     cmocka_unit_test(rtdb_is_read),
                                     cmocka_unit_test(rtdb_is_read_beyond_limits),
                                     cmocka_unit_test(auth_keeps),
                                     cmocka_unit_test(auth_is_read),
                                     cmocka_unit_test(auth_is_asked)};
  return cmocka_run_group_tests_name("store kept_firebase", tests, NULL, NULL);
}
