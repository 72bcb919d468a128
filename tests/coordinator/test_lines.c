/* Operations by line: every rule of docs/reference.md, "Operations by line". */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "store/fault.h"

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

/* ---- what is wrong with a line, further ---- */

static void says_what_else_is_wrong(void **state) {
  (void)state;
  world *w = one_store();
  char *long_id = malloc(1700);
  rejects(w, "{\"store\":\"\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"delete\"}\n", "bad_line", 1, "“store” must not be empty");
  rejects(w, "{\"store\":\"t\\u0000\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"delete\"}\n", "bad_line", 1, "NUL");
  rejects(w, "{\"collection\":\"c\",\"id\":\"1\",\"operation\":\"delete\"}\n", "bad_line", 1, "“store” is missing");
  rejects(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\"}\n", "bad_line", 1, "“operation” must be");
  rejects(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"update\",\"data\":{},\"expect\":7}\n", "bad_line", 1,
          "“expect” must be null or an object");
  rejects(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"update\",\"data\":{},\"types\":[]}\n", "bad_line", 1,
          "JSON Pointers");
  sprintf(long_id, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"%01501d\",\"operation\":\"delete\"} \t\r\n", 1);
  rejects(w, long_id, "bad_line", 1, "longer than 1500 bytes");
  rejects(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"update\",\"data\":{\"a\":2},\"expect\":{\"b\":1}}\n",
          "changed_meanwhile", 1, "expect");
  APPLY_OK(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"update\",\"data\":{\"a\":2},\"expect\":{}}\t \n");
  assert_string_equal(world_get(w, "t", "c", "1"), "{\"a\":2,\"deep\":{\"x\":1,\"y\":[1,2,3]},\"gone\":true}");
  free(long_id);
  world_free(w);
}

/* A place of a type that is longer than we follow is told as none of the data, never written past. */
static void a_type_at_a_very_long_place(void **state) {
  (void)state;
  world *w = typed_store(AON_TYPE_BYTES);
  aon_buffer line = {0};
  OK(aon_buffer_format(&line, error, TYPED("1", "update", "{\"%06000d\":{\"b\":\"YWJj\"},\"~/\":\"YWJj\"}", "{\"/%06000d/b\":\"bytes\"}"),
                       1, 1));
  rejects(w, line.data, "bad_type", 1, "not in “data”");
  aon_buffer_release(&line);
  APPLY_OK(w, TYPED("2", "create", "{\"~/\":\"YWJj\"}", "{\"/~0~1\":\"bytes\"}"));
  assert_int_equal(kept_type(w, "2", "~/"), BSON_TYPE_BINARY);
  rejects(w, TYPED("1", "update", "{\"d\":\"YWJj\"}", "{\"/d\":7}"), "bad_type", 1, "not in “data”");
  world_free(w);
}

/* ---- limits ---- */

static void fails_as(world *w, aon_result result, const char *code) {
  const char *got = result ? w->error.code : w->outcome.problems.errors_kept ? w->outcome.problems.errors[0].code : "";
  if (w->outcome.state == AON_COMMITTED || strcmp(got, code))
    fail_msg("%s %s: %s %s, not %s", aon_result_name(result), w->error.sentence, aon_state_name(w->outcome.state), got, code);
}

static void a_line_without_an_end(void **state) {
  (void)state;
  world *w = one_store();
  size_t length = (17u << 20) + 7;
  char *line = malloc(length + 1);
  assert_non_null(line);
  memset(line, 'x', length);
  line[length] = 0;
  fails_as(w, world_apply(w, line), "too_long");
  line[length - (1u << 20) - 100] = '\n'; /* one that ends within the limit is read, and is no JSON */
  aon_result result = world_apply(w, line);
  assert_int_equal(result, AON_OK);
  assert_int_equal(w->outcome.state, AON_REJECTED_STATE);
  assert_int_equal(w->outcome.problems.error_count, 2);
  free(line);
  world_free(w);
}

/* Each half is fine; what they make together is no document. */
static void a_document_that_grows_too_large(void **state) {
  (void)state;
  world *w = one_store();
  size_t half = 9u << 20;
  char *text = malloc(half + 1);
  memset(text, 'x', half);
  text[half] = 0;
  AON_BUFFER_CLEANUP aon_buffer there = {0}, line = {0};
  OK(aon_buffer_format(&there, error, "{\"a\":\"%s\"}", text));
  world_put(w, "t", "c", "big", there.data);
  OK(aon_buffer_format(&line, error,
                       "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"big\",\"operation\":\"update\",\"data\":{\"b\":\"%s\"}}\n", text));
  rejects(w, line.data, "too_long", 1, "larger than the limit");
  free(text);
  world_free(w);
}

static void names_that_are_too_long(void **state) {
  (void)state;
  world *w = one_store();
  char line[400];
  snprintf(line, sizeof line, "{\"store\":\"t\",\"collection\":\"%0100d\",\"id\":\"1\",\"operation\":\"upsert\",\"data\":{}}\n", 1);
  fails_as(w, world_apply(w, line), "too_long");
  assert_int_equal(aon_memory_documents(world_database(w, "t")), 1);
  world_free(w);
}

static void more_collections_than_are_counted(void **state) {
  (void)state;
  world *w = one_store();
  AON_BUFFER_CLEANUP aon_buffer lines = {0};
  for (int i = 0; i < AON_COUNTS_LIMIT + 1; i++)
    OK(aon_buffer_format(&lines, error, "{\"store\":\"t\",\"collection\":\"c%d\",\"id\":\"1\",\"operation\":\"create\",\"data\":{}}\n", i));
  fails_as(w, world_apply(w, lines.data), "too_many");
  assert_int_equal(aon_memory_documents(world_database(w, "t")), 1);
  world_free(w);
}

/* ---- a world that is not as it should be ---- */

static void one_collection_of_two_stores(void **state) {
  (void)state;
  world *w = one_store();
  world_memory(w, "u", AON_CLASS_TRANSACTION, NULL);
  world_close(w);
  world_engine(w);
  APPLY_OK(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"2\",\"operation\":\"create\",\"data\":{\"a\":1}}\n"
              "{\"store\":\"u\",\"collection\":\"c\",\"id\":\"2\",\"operation\":\"create\",\"data\":{\"a\":2}}\n"
              "{\"store\":\"u\",\"collection\":\"d\",\"id\":\"2\",\"operation\":\"create\",\"data\":{\"a\":3}}\n"
              "{\"store\":\"t\",\"collection\":\"d\",\"id\":\"2\",\"operation\":\"create\",\"data\":{\"a\":4}}\n"
              "{\"store\":\"u\",\"collection\":\"c\",\"id\":\"2\",\"operation\":\"update\",\"data\":{\"a\":5}}\n");
  assert_string_equal(world_get(w, "t", "c", "2"), "{\"a\":1}");
  assert_string_equal(world_get(w, "u", "c", "2"), "{\"a\":5}");
  assert_string_equal(world_get(w, "u", "d", "2"), "{\"a\":3}");
  assert_string_equal(world_get(w, "t", "d", "2"), "{\"a\":4}");
  world_free(w);
}

/* A collection that its store can't hold is said for each line that names it; the others are looked at all the same. */
static void a_collection_that_a_store_refuses(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  aon_fault refuses = {.inner = w->stores[0].adapter,
                       .inner_options = w->stores[0].config.options,
                       .call = "read",
                       .nth = 1,
                       .kind = AON_REJECTED,
                       .code = "no_collection"};
  w->stores[0].adapter = &aon_fault_adapter;
  w->stores[0].config.options = &refuses;
  world_engine(w);
  aon_result result = world_apply(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"upsert\",\"data\":{\"a\":1}}\n"
                                     "{\"store\":\"t\",\"collection\":\"d\",\"id\":\"1\",\"operation\":\"create\",\"data\":{\"a\":1}}\n"
                                     "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"2\",\"operation\":\"upsert\",\"data\":{\"a\":1}}\n");
  assert_int_equal(result, AON_OK);
  assert_int_equal(w->outcome.state, AON_REJECTED_STATE);
  assert_int_equal(w->outcome.problems.error_count, 2);
  for (size_t i = 0; i < 2; i++) {
    assert_string_equal(w->outcome.problems.errors[i].code, "no_collection");
    assert_int_equal(w->outcome.problems.errors[i].line, i ? 3 : 1);
  }
  assert_int_equal(aon_memory_documents(world_database(w, "t")), 0);
  world_free(w);
}

static void a_path_is_kept(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "t", AON_CLASS_TRANSACTION, &(aon_memory_config){.paths = true});
  world_engine(w);
  APPLY_OK(w,
           "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"create\",\"data\":{\"a\":1},\"path\":\"/somewhere/1\"}\n");
  aon_journal *journal;
  aon_entries *entries;
  const aon_operation *operations;
  size_t count = 0;
  bool cleared;
  OK(aon_engine_journal(w->engine, false, &journal, error));
  OK(aon_entries_open(journal, w->outcome.bulk_id, 0, 0, false, &entries, error));
  OK(aon_entries_next(entries, &operations, &count, &cleared, error));
  assert_int_equal(count, 1);
  assert_string_equal(operations->path, "/somewhere/1");
  aon_entries_close(entries);
  world_free(w);
}

static const char three[] = "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"2\",\"operation\":\"create\",\"data\":{\"a\":1}}\n";

/* Standard input is put by first, and goes again whatever becomes of it. */
static void reads_standard_input(void **state) {
  (void)state;
  world *w = one_store();
  int saved = dup(STDIN_FILENO);
  OK(world_apply(w, three)); /* leaves the file */
  world_put(w, "t", "c", "2", NULL);
  for (int folder = 1; folder >= 0; folder--) {
    assert_true(freopen(folder ? w->folder : w->input, "r", stdin));
    aon_result result = world_apply_file(w, "-");
    if (folder) {
      assert_int_equal(result, AON_ENVIRONMENT);
      assert_string_equal(w->error.code, "io_error");
      assert_non_null(strstr(w->error.sentence, "Standard input"));
    } else {
      assert_int_equal(result, AON_OK);
      assert_int_equal(w->outcome.state, AON_COMMITTED);
    }
    clearerr(stdin);
  }
  assert_string_equal(world_get(w, "t", "c", "2"), "{\"a\":1}");
  dup2(saved, STDIN_FILENO);
  close(saved);
  world_free(w);
}

static aon_result (*removes)(void *context, const char *path, aon_error *error);
static aon_result not_removed(void *context, const char *path, aon_error *error) {
  return strstr(path, ".input-") ? aon_fail(error, AON_ENVIRONMENT, "io_error", "“%s” can't be removed.", path)
                                 : removes(context, path, error);
}

static void a_spool_that_stays_is_told(void **state) {
  (void)state;
  world *w = one_store();
  int saved = dup(STDIN_FILENO);
  FILE *file = fopen(w->input, "wb");
  assert_non_null(file);
  fputs(three, file);
  fclose(file);
  assert_true(freopen(w->input, "r", stdin));
  aon_env_ops *ops = (aon_env_ops *)w->env.ops; /* the harness's own, on the heap */
  removes = ops->file_remove;
  ops->file_remove = not_removed;
  OK(world_apply_file(w, "-"));
  ops->file_remove = removes;
  assert_int_equal(w->outcome.state, AON_COMMITTED);
  assert_non_null(strstr(w->log, "can't be removed"));
  dup2(saved, STDIN_FILENO);
  close(saved);
  world_free(w);
}

static void a_folder_is_no_file(void **state) {
  (void)state;
  world *w = one_store();
  assert_int_equal(world_apply_file(w, w->folder), AON_ENVIRONMENT);
  assert_string_equal(w->error.code, "no_such_file");
  w->options.organization = NULL; /* lines need none */
  APPLY_OK(w, three);
  world_free(w);
}

/* Whoever interrupts the plan of a long file is heard at the next batch. */
static volatile sig_atomic_t interrupted;
static void interrupt_it(world *w) {
  (void)w;
  interrupted = 1;
}

static void an_interrupted_plan_ends(void **state) {
  (void)state;
  world *w = one_store();
  AON_BUFFER_CLEANUP aon_buffer lines = {0};
  for (int i = 0; i < 3000; i++)
    OK(aon_buffer_format(&lines, error, "{\"store\":\"t\",\"collection\":\"d\",\"id\":\"%d\",\"operation\":\"upsert\",\"data\":{}}\n", i));
  interrupted = 0;
  w->options.interrupted = &interrupted;
  w->call = interrupt_it;
  w->call_name = "store.t.read";
  aon_result result = world_apply(w, lines.data);
  assert_true(result == AON_CANCELLED || w->outcome.state == AON_CANCELLED_STATE);
  assert_int_equal(aon_memory_documents(world_database(w, "t")), 1);
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
                                     TEST(says_what_else_is_wrong),
                                     TEST(a_type_at_a_very_long_place),
                                     TEST(a_line_without_an_end),
                                     TEST(a_document_that_grows_too_large),
                                     TEST(names_that_are_too_long),
                                     TEST(more_collections_than_are_counted),
                                     TEST(one_collection_of_two_stores),
                                     TEST(a_collection_that_a_store_refuses),
                                     TEST(a_path_is_kept),
                                     TEST(reads_standard_input),
                                     TEST(a_spool_that_stays_is_told),
                                     TEST(a_folder_is_no_file),
                                     TEST(an_interrupted_plan_ends),
                                     TEST(two_hundred_thousand)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
