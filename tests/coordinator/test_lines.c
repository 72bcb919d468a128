/* Operations by line: every rule of docs/reference.md, "Operations by line". */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static world *one_store(void) {
  world *w = world_new();
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_put(w, "t", "c", "1", "{\"a\":1,\"deep\":{\"x\":1,\"y\":[1,2,3]},\"gone\":true}");
  world_engine(w);
  return w;
}

static void rejects(world *w, const char *lines, const char *code, uint64_t line, const char *part) {
  aon_result result = world_apply(w, lines);
  if (result || w->outcome.state != AON_REJECTED_STATE)
    fail_msg("%s: %s %s, %s", lines, aon_result_name(result), w->error.sentence, aon_state_name(w->outcome.state));
  assert_int_equal(world_status(w, result), 2);
  const aon_problem *first = &w->outcome.problems.errors[0];
  if (strcmp(first->code, code) || first->line != line || !strstr(first->sentence, part))
    fail_msg("%s: %s, line %d: %s", lines, first->code, (int)first->line, first->sentence);
  char prefix[40];
  snprintf(prefix, sizeof prefix, "Line %llu: ", (unsigned long long)line);
  assert_true(!strncmp(first->sentence, prefix, strlen(prefix)));
  assert_null(strstr(first->sentence + strlen(prefix), "Line "));
  assert_non_null(strstr(w->outcome.json.data, "\"operations\":0"));
  assert_non_null(strstr(w->outcome.json.data, "\"counts\":{}"));
}

static void patches_as_rfc_7396_says(void **state) {
  (void)state;
  world *w = one_store();
  APPLY_OK(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"update\",\"data\":{\"deep\":{\"x\":null,\"y\":[9],\"z\":{"
              "\"n\":null}},\"gone\":null,\"new\":\"ü\"}}\n");
  assert_string_equal(world_get(w, "t", "c", "1"), "{\"a\":1,\"deep\":{\"y\":[9],\"z\":{}},\"new\":\"ü\"}");
  APPLY_OK(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"upsert\",\"data\":{\"a\":2}}\n"
              "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"2\",\"operation\":\"upsert\",\"data\":{\"a\":3,\"n\":null}}\n");
  assert_string_equal(world_get(w, "t", "c", "1"), "{\"a\":2,\"deep\":{\"y\":[9],\"z\":{}},\"new\":\"ü\"}");
  assert_non_null(strstr(w->outcome.json.data, "\"counts\":{\"c\":{\"create\":1,\"edit\":1,\"delete\":0,\"unchanged\":0}}"));
  APPLY_OK(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"replace\",\"data\":{\"only\":1}}\n");
  assert_string_equal(world_get(w, "t", "c", "1"), "{\"only\":1}");
  APPLY_OK(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"replace\",\"data\":{\"only\":1}}\n"
              "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"2\",\"operation\":\"update\",\"data\":{\"a\":3}}\n");
  assert_non_null(strstr(w->outcome.json.data, "\"unchanged\":2"));
  assert_int_equal(w->outcome.operations, 0);
  world_free(w);
}

static void collects_all_errors(void **state) {
  (void)state;
  world *w = one_store();
  aon_result result = world_apply(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"9\",\"operation\":\"create\",\"data\":{\"a\":1}}\n"
                                     "\n"
                                     "not json\n"
                                     "   \n"
                                     "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"8\",\"operation\":\"update\",\"data\":{\"a\":1}}\r\n"
                                     "{\"store\":\"nowhere\",\"collection\":\"c\",\"id\":\"8\",\"operation\":\"delete\"}");
  assert_int_equal(result, AON_OK);
  assert_int_equal(w->outcome.state, AON_REJECTED_STATE);
  assert_int_equal(w->outcome.problems.error_count, 3);
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_bulk bulk;
  world_bulk(w, w->outcome.bulk_id, &arena, &bulk);
  assert_int_equal(bulk.operations, 0);
  assert_string_equal(world_get(w, "t", "c", "9"), "");
  assert_non_null(strstr(w->outcome.json.data, "\"line\":3"));
  assert_non_null(strstr(w->outcome.json.data, "\"line\":5"));
  assert_non_null(strstr(w->outcome.json.data, "\"code\":\"unknown_store\""));
  world_free(w);
}

static void says_what_is_wrong(void **state) {
  (void)state;
  world *w = one_store();
  rejects(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"update\",\"data\":{},\"data\":{}}\n", "bad_json", 1,
          "data");
  rejects(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"update\",\"data\":{},\"what\":1}\n", "bad_line", 1,
          "“what”");
  rejects(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"update\",\"data\":{\"n\":9223372036854775808}}\n",
          "bad_json", 1, "64");
  rejects(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"update\",\"data\":[]}\n", "bad_line", 1, "object");
  rejects(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"move\",\"data\":{}}\n", "bad_line", 1, "operation");
  rejects(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":1,\"operation\":\"update\",\"data\":{}}\n", "bad_line", 1, "text");
  rejects(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"delete\",\"data\":{}}\n", "bad_line", 1, "no “data”");
  rejects(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"delete\",\"types\":{\"/a\":\"timestamp\"}}\n", "bad_line",
          1, "types");
  rejects(w, "{\"store\":\"t\",\"collection\":\"c\",\"operation\":\"update\",\"data\":{}}\n", "bad_line", 1, "“id”");
  rejects(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"update\"}\n", "bad_line", 1, "“data”");
  rejects(w, "{\"store\":\"t\",\"id\":\"1\",\"operation\":\"delete\"}\n", "bad_line", 1, "“collection”");
  rejects(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"update\",\"data\":{},\"path\":\"/x\"}\n", "bad_line", 1,
          "paths");
  rejects(w, "[]\n", "bad_json", 1, "object");
  rejects(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"n\",\"operation\":\"replace\",\"data\":{}}\n", "not_found", 1, "no such");
  rejects(w,
          "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"update\",\"data\":{\"d\":\"x\"},\"types\":{\"/"
          "d\":\"timestamp\"}}\n",
          "bad_type", 1, "types");
  world_free(w);
}

/* ---- types that JSON lacks ---- */

#define TYPED(id, operation, data, types)                                                                                                  \
  "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"" id "\",\"operation\":\"" operation "\",\"data\":" data ",\"types\":" types "}\n"

static world *typed_store(uint32_t types) {
  world *w = world_new();
  world_memory(w, "t", AON_CLASS_TRANSACTION, &(aon_memory_config){.types = types});
  world_put(w, "t", "c", "1", "{\"a\":1}");
  world_engine(w);
  return w;
}

/* The kind of value that the store keeps at a dotted path. */
static bson_type_t kept_type(world *w, const char *id, const char *path) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_image image;
  bson_t document;
  bson_iter_t at, found;
  OK(aon_memory_look(world_database(w, "t"), "c", id, &arena, &image, error));
  assert_true(aon_image_view(&image, &document));
  assert_true(bson_iter_init(&at, &document));
  return bson_iter_find_descendant(&at, path, &found) ? bson_iter_type(&found) : BSON_TYPE_EOD;
}

static void types_are_kept_as_such(void **state) {
  (void)state;
  world *w =
      typed_store(AON_TYPE_TIMESTAMP | AON_TYPE_OBJECT_ID | AON_TYPE_BYTES | AON_TYPE_DECIMAL | AON_TYPE_GEOPOINT | AON_TYPE_REFERENCE);
  APPLY_OK(w, TYPED("2", "create",
                    "{\"at\":\"2024-02-29T23:59:59.5Z\",\"text\":\"2024-02-29T23:59:59.5Z\",\"in\":{\"key\":\"0123456789abcdef01234567\"},"
                    "\"list\":[1,\"YWJj\"],\"a/b~c\":\"12345678901234567890.10\",\"place\":{\"longitude\":-180,\"latitude\":90},"
                    "\"to\":\"users/1\"}",
                    "{\"/at\":\"timestamp\",\"/in/key\":\"objectId\",\"/list/1\":\"bytes\",\"/a~1b~0c\":\"decimal\","
                    "\"/place\":\"geopoint\",\"/to\":\"reference\"}"));
  assert_int_equal(kept_type(w, "2", "at"), BSON_TYPE_DATE_TIME);
  assert_int_equal(kept_type(w, "2", "text"), BSON_TYPE_UTF8);
  assert_int_equal(kept_type(w, "2", "in.key"), BSON_TYPE_OID);
  assert_int_equal(kept_type(w, "2", "list.0"), BSON_TYPE_INT64);
  assert_int_equal(kept_type(w, "2", "list.1"), BSON_TYPE_BINARY);
  assert_int_equal(kept_type(w, "2", "a/b~c"), BSON_TYPE_DECIMAL128);
  assert_string_equal(world_get(w, "t", "c", "2"),
                      "{\"at\":\"2024-02-29T23:59:59.500Z\",\"text\":\"2024-02-29T23:59:59.5Z\",\"in\":{\"key\":"
                      "\"0123456789abcdef01234567\"},\"list\":[1,\"YWJj\"],\"a/b~c\":\"12345678901234567890.10\","
                      "\"place\":{\"$geopoint\":[90.0,-180.0]},\"to\":{\"$reference\":\"users/1\"}}");
  world_free(w);
}

static void types_that_do_not_read(void **state) {
  (void)state;
  world *w = typed_store(AON_TYPE_TIMESTAMP | AON_TYPE_OBJECT_ID | AON_TYPE_BYTES | AON_TYPE_DECIMAL | AON_TYPE_GEOPOINT);
  static const char *const wrong[][2] = {
      {"\"yesterday\"", "timestamp"},
      {"\"0123456789abcdef0123456\"", "objectId"},
      {"\"a*b\"", "bytes"},
      {"\"1.2.3\"", "decimal"},
      {"12", "decimal"},
      {"\"1,2\"", "geopoint"},
      {"{\"latitude\":1}", "geopoint"},
      {"{\"longitude\":1}", "geopoint"},
      {"{\"latitude\":90.5,\"longitude\":1}", "geopoint"},
      {"{\"latitude\":1,\"longitude\":-181}", "geopoint"},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    char line[400];
    snprintf(line, sizeof line, TYPED("1", "update", "{\"d\":%s}", "{\"/d\":\"%s\"}"), wrong[i][0], wrong[i][1]);
    rejects(w, line, "bad_type", 1, "“/d” does not read as");
  }
  rejects(w, TYPED("1", "update", "{\"d\":\"u/1\"}", "{\"/d\":\"reference\"}"), "bad_type", 1, "can't be kept");
  rejects(w, TYPED("1", "update", "{\"d\":\"1\"}", "{\"/d\":\"money\"}"), "bad_type", 1, "“money” is no type");
  rejects(w, TYPED("1", "update", "{\"d\":[{\"e\":\"1\"}]}", "{\"/d/0/e\":\"bytes\"}"), "bad_type", 1, "/d/0/e");
  rejects(w, TYPED("1", "update", "{\"d\":\"YWJj\"}", "{\"/d\":\"bytes\",\"/e\":\"bytes\"}"), "bad_type", 1, "not in “data”");
  assert_string_equal(world_get(w, "t", "c", "1"), "{\"a\":1}");
  world_free(w);
}

static void expects(void **state) {
  (void)state;
  world *w = one_store();
  rejects(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"upsert\",\"data\":{\"a\":5},\"expect\":null}\n",
          "changed_meanwhile", 1, "expect");
  rejects(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"update\",\"data\":{\"a\":5},\"expect\":{\"a\":7}}\n",
          "changed_meanwhile", 1, "expect");
  APPLY_OK(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"update\",\"data\":{\"a\":5},\"expect\":{\"a\":1.0,"
              "\"gone\":true}}\n"
              "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"2\",\"operation\":\"upsert\",\"data\":{\"a\":5},\"expect\":null}\n");
  assert_string_equal(world_get(w, "t", "c", "2"), "{\"a\":5}");
  world_free(w);
}

static void numbers_stay_exact(void **state) {
  (void)state;
  world *w = one_store();
  world_memory(w, "f", AON_CLASS_CONDITIONAL, &(aon_memory_config){.max_exact_integer = (INT64_C(1) << 53)});
  world_close(w);
  world_engine(w);
  APPLY_OK(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"n\",\"operation\":\"create\",\"data\":{\"big\":9223372036854775807,\"small\":"
              "-9223372036854775808,\"d\":1.5}}\n");
  assert_string_equal(world_get(w, "t", "c", "n"), "{\"big\":9223372036854775807,\"small\":-9223372036854775808,\"d\":1.5}");
  aon_result result =
      world_apply(w, "{\"store\":\"f\",\"collection\":\"c\",\"id\":\"n\",\"operation\":\"create\",\"data\":{\"big\":9007199254740993}}\n");
  assert_int_equal(result, AON_OK);
  assert_int_equal(w->outcome.state, AON_REJECTED_STATE);
  world_free(w);
}

static void chains_within_and_across_batches(void **state) {
  (void)state;
  world *w = one_store();
  aon_buffer lines = {0};
  OK(aon_buffer_format(&lines, error, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"delete\"}\n"));
  OK(aon_buffer_format(&lines, error,
                       "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"chain\",\"operation\":\"create\",\"data\":{\"n\":0}}\n"));
  OK(aon_buffer_format(
      &lines, error,
      "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"chain\",\"operation\":\"update\",\"data\":{\"m\":1},\"expect\":{\"n\":0}}\n"));
  for (int i = 0; i < 600; i++)
    OK(aon_buffer_format(&lines, error,
                         "{\"store\":\"t\",\"collection\":\"d\",\"id\":\"f%d\",\"operation\":\"create\",\"data\":{\"n\":%d}}\n", i, i));
  OK(aon_buffer_format(&lines, error,
                       "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"create\",\"data\":{\"again\":true}}\n"));
  OK(aon_buffer_format(
      &lines, error,
      "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"chain\",\"operation\":\"update\",\"data\":{\"o\":2},\"expect\":{\"m\":1}}\n"));
  APPLY_OK(w, lines.data);
  assert_string_equal(world_get(w, "t", "c", "1"), "{\"again\":true}");
  assert_string_equal(world_get(w, "t", "c", "chain"), "{\"n\":0,\"m\":1,\"o\":2}");
  char id[37];
  memcpy(id, w->outcome.bulk_id, 37);
  OK(world_undo(w, id, NULL));
  assert_int_equal(w->outcome.state, AON_COMMITTED);
  assert_string_equal(world_get(w, "t", "c", "1"), "{\"a\":1,\"deep\":{\"x\":1,\"y\":[1,2,3]},\"gone\":true}");
  assert_string_equal(world_get(w, "t", "c", "chain"), "");
  assert_string_equal(world_get(w, "t", "d", "f599"), "");
  rejects(w,
          "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"x\",\"operation\":\"create\",\"data\":{\"n\":0}}\n"
          "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"x\",\"operation\":\"create\",\"data\":{\"n\":0}}\n",
          "duplicate", 2, "earlier line");
  rejects(w,
          "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"delete\"}\n"
          "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"update\",\"data\":{}}\n",
          "not_found", 2, "no such");
  aon_buffer_release(&lines);
  world_free(w);
}

static void a_duplicate_that_the_store_refuses(void **state) {
  (void)state;
  world *w = one_store();
  aon_result result = world_apply(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"2\",\"operation\":\"create\",\"data\":{}}\n"
                                     "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"create\",\"data\":{}}\n");
  assert_int_equal(result, AON_OK);
  assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
  assert_int_equal(world_status(w, result), 3);
  assert_string_equal(w->outcome.failure.code, "duplicate");
  assert_int_equal(w->outcome.failure.operation, 1);
  assert_string_equal(w->outcome.failure.document_id, "1");
  assert_string_equal(world_get(w, "t", "c", "2"), "");
  world_free(w);
}

static void ids_are_made(void **state) {
  (void)state;
  world *w = one_store();
  APPLY_OK(w, "{\"store\":\"t\",\"collection\":\"d\",\"operation\":\"create\",\"data\":{\"n\":1}}\n"
              "{\"store\":\"t\",\"collection\":\"d\",\"operation\":\"create\",\"data\":{\"n\":2}}\n");
  assert_int_equal(aon_memory_documents(world_database(w, "t")), 3);
  world_free(w);
}

static void the_limit_on_errors(void **state) {
  (void)state;
  world *w = one_store();
  size_t lines = AON_PROBLEMS_KEPT + 100;
  char *text = malloc(lines * 8), *at = text;
  for (size_t i = 0; i < lines; i++)
    at += sprintf(at, "x%zu\n", i);
  OK(world_apply(w, text));
  assert_int_equal(w->outcome.state, AON_REJECTED_STATE);
  assert_int_equal(w->outcome.problems.error_count, lines);
  assert_true(w->outcome.problems.errors_kept < lines);
  free(text);
  world_free(w);
}

static void a_dry_run_writes_nothing(void **state) {
  (void)state;
  world *w = one_store();
  world_sqlite(w, "s");
  world_close(w);
  world_engine(w);
  w->options.dry_run = true;
  aon_result result = world_apply(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"update\",\"data\":{\"a\":2}}\n"
                                     "{\"store\":\"s\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"create\",\"data\":{\"a\":2}}\n");
  assert_int_equal(result, AON_OK);
  assert_int_equal(w->outcome.state, AON_PLANNED);
  assert_int_equal(world_status(w, result), 0);
  assert_non_null(strstr(w->outcome.json.data, "\"dryRun\":true"));
  assert_int_equal(w->outcome.operations, 2);
  assert_null(strstr(w->steps_log, ".begin\n"));
  aon_file_info info;
  char path[160];
  snprintf(path, sizeof path, "%s/s.db", w->folder);
  OK(w->env.ops->file_info(w, path, &info, error));
  assert_false(info.exists);
  w->options.dry_run = false; /* and it holds nothing */
  APPLY_OK(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"update\",\"data\":{\"a\":2}}\n");
  world_free(w);
}

static void two_hundred_thousand(void **state) {
  (void)state;
  world *w = one_store();
  w->config.batch = 500;
  world_close(w);
  world_sqlite(w, "s");
  world_engine(w);
  char path[160];
  snprintf(path, sizeof path, "%s/many.ndjson", w->folder);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  for (int i = 0; i < 200000; i++)
    fprintf(file,
            "{\"store\":\"s\",\"collection\":\"c\",\"id\":\"%d\",\"operation\":\"create\",\"data\":{\"n\":%d,\"text\":\"some words to fill "
            "it up a little\"}}\n",
            i, i);
  fclose(file);
  struct rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  w->env.log_level = AON_LOG_ERROR;
  aon_result result = world_apply_file(w, path);
  getrusage(RUSAGE_SELF, &after);
  assert_int_equal(result, AON_OK);
  assert_int_equal(w->outcome.state, AON_COMMITTED);
  assert_int_equal(w->outcome.operations, 200000);
  long grown_kib = after.ru_maxrss - before.ru_maxrss;
  print_message("grown by %ld KiB\n", grown_kib);
#ifdef __SANITIZE_ADDRESS__
  assert_true(grown_kib < 1024 * 1024); /* what was freed is kept for a while */
#else
  assert_true(grown_kib < 96 * 1024); /* what SQLite keeps of a transaction in a cache is most of it */
#endif
  world_free(w);
}

static void takes_long(world *w) { world_advance(w, 300); }

/* Reading what is there belongs to validation; the phases add up. */
static void the_result_tells_how_long_each_phase_took(void **state) {
  (void)state;
  world *w = one_store();
  w->call = takes_long;
  w->call_name = "store.t.read";
  APPLY_OK(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"update\",\"data\":{\"a\":2}}");
  assert_non_null(strstr(w->outcome.json.data, "{\"parse\":0,\"validate\":300,\"plan\":0,\"log\":0,\"execute\":0,\"finish\":0}"));
  world_free(w);
}

/* Finishing and going back stand in the result although it is written before they are over. */
static void the_result_tells_how_long_the_end_took(void **state) {
  (void)state;
  static const char line[] = "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"2\",\"operation\":\"create\",\"data\":{}}";
  world *w = one_store();
  w->call = takes_long;
  w->call_name = "journal.conflicts";
  APPLY_OK(w, line);
  assert_non_null(strstr(w->outcome.json.data, "\"finish\":300}"));
  world_free(w);
  w = world_new();
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  w->config.test_rollback_at = 0;
  world_engine(w);
  w->call = takes_long;
  w->call_name = "journal.conflicts";
  OK(world_apply(w, line));
  assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
  assert_non_null(strstr(w->outcome.json.data, "\"finish\":300}"));
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(patches_as_rfc_7396_says),
                                     TEST(collects_all_errors),
                                     TEST(says_what_is_wrong),
                                     TEST(types_are_kept_as_such),
                                     TEST(types_that_do_not_read),
                                     TEST(expects),
                                     TEST(numbers_stay_exact),
                                     TEST(chains_within_and_across_batches),
                                     TEST(a_duplicate_that_the_store_refuses),
                                     TEST(ids_are_made),
                                     TEST(the_limit_on_errors),
                                     TEST(a_dry_run_writes_nothing),
                                     TEST(the_result_tells_how_long_each_phase_took),
                                     TEST(the_result_tells_how_long_the_end_took),
                                     TEST(two_hundred_thousand)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
