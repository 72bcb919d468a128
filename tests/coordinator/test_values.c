/* Small functions of the coordinator by tables of what goes in and what comes out: types that JSON lacks, what a queued upload keeps of its
 * options, the promised exit statuses, names of files. */
#include <stdio.h>
#include <stdlib.h>

#include "coordinator/queue.h"
#include "coordinator/submit.h"
#include "coordinator/typed.h"
#include "harness.h"

static bson_t *read_json(const char *json) {
  bson_error_t why;
  bson_t *document = bson_new_from_json((const uint8_t *)json, -1, &why);
  if (!document)
    fail_msg("%s: %s", json, why.message);
  return document;
}

/* ---- types ---- */

static void values_get_their_types(void **state) {
  (void)state;
  static const uint32_t all =
      AON_TYPE_TIMESTAMP | AON_TYPE_OBJECT_ID | AON_TYPE_BYTES | AON_TYPE_DECIMAL | AON_TYPE_GEOPOINT | AON_TYPE_REFERENCE;
  static const struct {
    const char *data, *types, *typed; /* typed NULL: bad_type */
    uint32_t lacking;
  } cases[] = {
      {"{\"a\":\"2027-01-06T08:00:00.000Z\"}", "{\"/a\":\"timestamp\"}", "{\"a\":{\"$date\":\"2027-01-06T08:00:00Z\"}}", 0},
      {"{\"a\":\"soon\"}", "{\"/a\":\"timestamp\"}", NULL, 0},
      {"{\"a\":5}", "{\"/a\":\"timestamp\"}", NULL, 0},
      {"{\"a\":\"2027-01-06T08:00:00.000Z\"}", "{\"/a\":\"timestamp\"}", NULL, AON_TYPE_TIMESTAMP},
      {"{\"a\":\"0123456789abcdef01234567\"}", "{\"/a\":\"objectId\"}", "{\"a\":{\"$oid\":\"0123456789abcdef01234567\"}}", 0},
      {"{\"a\":\"0123456789abcdef0123456\"}", "{\"/a\":\"objectId\"}", NULL, 0},
      {"{\"a\":\"x123456789abcdef01234567\"}", "{\"/a\":\"objectId\"}", NULL, 0},
      {"{\"a\":\"AP8=\"}", "{\"/a\":\"bytes\"}", "{\"a\":{\"$binary\":{\"base64\":\"AP8=\",\"subType\":\"00\"}}}", 0},
      {"{\"a\":\"\"}", "{\"/a\":\"bytes\"}", "{\"a\":{\"$binary\":{\"base64\":\"\",\"subType\":\"00\"}}}", 0},
      {"{\"a\":\"AP8\"}", "{\"/a\":\"bytes\"}", NULL, 0},
      {"{\"a\":\"1.50\"}", "{\"/a\":\"decimal\"}", "{\"a\":{\"$numberDecimal\":\"1.50\"}}", 0},
      {"{\"a\":\"one\"}", "{\"/a\":\"decimal\"}", NULL, 0},
      {"{\"a\":\"users/u\"}", "{\"/a\":\"reference\"}", "{\"a\":{\"$reference\":\"users/u\"}}", 0},
      {"{\"a\":\"\"}", "{\"/a\":\"reference\"}", NULL, 0},
      {"{\"a\":{\"latitude\":1,\"longitude\":-2.5}}", "{\"/a\":\"geopoint\"}", "{\"a\":{\"$geopoint\":[1.0,-2.5]}}", 0},
      {"{\"a\":{\"longitude\":180,\"latitude\":-90}}", "{\"/a\":\"geopoint\"}", "{\"a\":{\"$geopoint\":[-90.0,180.0]}}", 0},
      {"{\"a\":{\"latitude\":90.5,\"longitude\":0}}", "{\"/a\":\"geopoint\"}", NULL, 0},
      {"{\"a\":{\"latitude\":-90.5,\"longitude\":0}}", "{\"/a\":\"geopoint\"}", NULL, 0},
      {"{\"a\":{\"latitude\":0,\"longitude\":180.5}}", "{\"/a\":\"geopoint\"}", NULL, 0},
      {"{\"a\":{\"latitude\":0,\"longitude\":-180.5}}", "{\"/a\":\"geopoint\"}", NULL, 0},
      {"{\"a\":{\"latitude\":0}}", "{\"/a\":\"geopoint\"}", NULL, 0},
      {"{\"a\":{\"longitude\":0}}", "{\"/a\":\"geopoint\"}", NULL, 0},
      {"{\"a\":{\"latitude\":\"0\",\"longitude\":0}}", "{\"/a\":\"geopoint\"}", NULL, 0},
      {"{\"a\":{\"latitude\":0,\"longitude\":\"0\"}}", "{\"/a\":\"geopoint\"}", NULL, 0},
      {"{\"a\":[0,0]}", "{\"/a\":\"geopoint\"}", NULL, 0},
      {"{\"l\":[\"x\",{\"b/c~d\":\"AA==\"}],\"n\":null}", "{\"/l/1/b~1c~0d\":\"bytes\"}",
       "{\"l\":[\"x\",{\"b/c~d\":{\"$binary\":{\"base64\":\"AA==\",\"subType\":\"00\"}}}],\"n\":null}", 0},
      {"{\"a\":\"x\"}", "{\"/a\":\"colour\"}", NULL, 0},
      {"{\"a\":\"x\"}", "{\"/a\":5}", NULL, 0},
      {"{\"a\":\"x\"}", "{\"/b\":\"bytes\"}", NULL, 0},
      {"{\"a\":\"x\"}", "{\"a\":\"bytes\"}", NULL, 0},
      {"{\"a\":\"x\"}", "{}", "{\"a\":\"x\"}", 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char wrapped[200];
    bson_iter_t types;
    aon_error error = AON_ERROR_INIT;
    snprintf(wrapped, sizeof wrapped, "{\"t\":%s}", cases[i].types);
    bson_t data, *named = read_json(wrapped), *before = read_json(cases[i].data);
    bson_copy_to(before, &data);
    assert_true(bson_iter_init_find(&types, named, "t"));
    aon_result result = aon_types_apply(&data, &types, all & ~cases[i].lacking, &error);
    bson_t *wanted = cases[i].typed ? read_json(cases[i].typed) : bson_copy(before);
    if (result != (cases[i].typed ? AON_OK : AON_REJECTED) || !bson_equal(&data, wanted))
      fail_msg("%s with %s: %s %s", cases[i].data, cases[i].types, aon_result_name(result), error.sentence);
    if (result)
      assert_string_equal(error.code, "bad_type");
    bson_destroy(&data);
    bson_destroy(named);
    bson_destroy(before);
    bson_destroy(wanted);
  }
}

/* ---- what a queued upload keeps ---- */

#define QUEUED(rest) "{\"format\":1,\"lockWaitMs\":7,\"pack\":\"p\",\"packDigest\":\"d\"" rest "}"
#define STORE "{\"name\":\"main\",\"kind\":\"sqlite\",\"place\":\"journal/main.db\"}"

static void options_are_read_or_refused(void **state) {
  (void)state;
  static const struct {
    const char *json;
    int stores; /* -1: refused */
  } cases[] = {{QUEUED(",\"stores\":[]"), 0},
               {QUEUED(",\"stores\":[" STORE "," STORE "]"), 2},
               {"{\"format\":2}", 0}, /* a newer program's: only that is told */
               {NULL, -1},
               {"", -1},
               {"[]", -1},
               {"{}", -1},
               {"{\"format\":0}", -1},
               {"{\"format\":1}", -1},
               {"{\"format\":1,\"pack\":\"p\"}", -1},
               {"{\"format\":1,\"pack\":5,\"packDigest\":\"d\",\"stores\":[]}", -1},
               {QUEUED(""), -1},
               {QUEUED(",\"stores\":{}"), -1},
               {QUEUED(",\"stores\":[5]"), -1},
               {QUEUED(",\"stores\":[{\"name\":\"main\"}]"), -1},
               {QUEUED(",\"stores\":[{\"name\":\"main\",\"kind\":\"sqlite\"}]"), -1}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    AON_ARENA_CLEANUP aon_arena arena = {0};
    aon_queue_options options;
    aon_error error = AON_ERROR_INIT;
    aon_result result = aon_queue_read(cases[i].json, &arena, &options, &error);
    if (result != (cases[i].stores < 0 ? AON_CORRUPT : AON_OK) || (!result && (int)options.store_count != cases[i].stores))
      fail_msg("%s: %s", cases[i].json ? cases[i].json : "none", aon_result_name(result));
  }
}

static void too_many_stores_are_refused(void **state) {
  (void)state;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  AON_BUFFER_CLEANUP aon_buffer json = {0};
  aon_queue_options options = {.pack = "p", .pack_digest = "d"}, back;
  aon_error error = AON_ERROR_INIT;
  for (size_t i = 0; i < AON_QUEUE_STORES_LIMIT; i++)
    options.stores[options.store_count++] = (aon_queue_store){"main", "sqlite", "a \"b\""};
  assert_int_equal(aon_queue_write(&options, &json, &error), AON_OK);
  assert_int_equal(aon_queue_read(json.data, &arena, &back, &error), AON_OK);
  assert_int_equal(back.store_count, AON_QUEUE_STORES_LIMIT);
  assert_string_equal(back.stores[AON_QUEUE_STORES_LIMIT - 1].place, "a \"b\"");
  json.length -= 2; /* "]}" */
  assert_int_equal(aon_buffer_text(&json, "," STORE "]}", &error), AON_OK);
  assert_int_equal(aon_queue_read(json.data, &arena, &back, &error), AON_CORRUPT);
}

/* ---- exit statuses ---- */

static void statuses_are_those_promised(void **state) {
  (void)state;
  static const struct {
    aon_result result;
    aon_state state;
    const char *code; /* of the error, or of the failure */
    bool begun;
    int status;
  } cases[] = {{AON_OK, AON_COMMITTED, "", true, 0},
               {AON_OK, AON_PLANNED, "", true, 0},
               {AON_OK, AON_QUEUED, "", true, 0},
               {AON_OK, AON_REJECTED_STATE, "", true, 2},
               {AON_OK, AON_CANCELLED_STATE, "", true, 3},
               {AON_OK, AON_CANCELLED_STATE, "locked", true, 5},
               {AON_OK, AON_ROLLED_BACK, "", true, 3},
               {AON_OK, AON_ROLLED_BACK, "database_locked", true, 5},
               {AON_OK, AON_ROLLBACK_FAILED, "", true, 4},
               {AON_OK, AON_UNDO_FAILED, "", true, 4},
               {AON_OK, AON_COMMIT_FAILED, "", true, 4},
               {AON_OK, AON_HELD, "", true, 6},
               {AON_OK, AON_ROLLING_BACK, "", true, 4},
               {AON_REJECTED, AON_QUEUED, "bad_line", false, 2},
               {AON_CANCELLED, AON_QUEUED, "cancelled", false, 3},
               {AON_BUSY, AON_EXECUTING, "busy", true, 5},
               {AON_TRANSIENT, AON_LOGGED, "database_locked", true, 5},
               {AON_TRANSIENT, AON_LOGGED, "unreachable", true, 1},
               {AON_USAGE, AON_EXECUTING, "not_found", true, 1},
               {AON_UNKNOWN, AON_EXECUTING, "journal_unknown", true, 4},
               {AON_ENVIRONMENT, AON_COMMITTING, "io_error", true, 4},
               {AON_ENVIRONMENT, AON_ROLLING_BACK, "io_error", true, 4},
               {AON_ENVIRONMENT, AON_EXECUTING, "io_error", false, 1},
               {AON_ENVIRONMENT, AON_COMMITTED, "io_error", true, 1}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    aon_outcome outcome = {.state = cases[i].state};
    aon_error error = AON_ERROR_INIT;
    if (cases[i].begun)
      strcpy(outcome.bulk_id, "0b7f6a52-3c1e-4d0a-9f55-8f4f6f1f2a11");
    snprintf(outcome.failure.code, sizeof outcome.failure.code, "%s", cases[i].result ? "" : cases[i].code);
    snprintf(error.code, sizeof error.code, "%s", cases[i].result ? cases[i].code : "");
    int status = aon_outcome_exit_status(&outcome, cases[i].result, &error);
    if (status != cases[i].status)
      fail_msg("%s, %s %s: %d", aon_result_name(cases[i].result), aon_state_name(cases[i].state), cases[i].code, status);
  }
}

static void names_of_files(void **state) {
  (void)state;
  assert_string_equal(aon_base_name("book.xlsx"), "book.xlsx");
  assert_string_equal(aon_base_name("/a/b/book.xlsx"), "book.xlsx");
  assert_string_equal(aon_base_name("/a/folder//"), "folder//");
  assert_string_equal(aon_base_name("/"), "");
  assert_string_equal(aon_base_name(""), "");
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(values_get_their_types), TEST(options_are_read_or_refused), TEST(too_many_stores_are_refused),
                                     TEST(statuses_are_those_promised), TEST(names_of_files)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
