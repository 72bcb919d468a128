/* What SQLite's columns make of single properties and values, both ways: a table of one column for each case. Each case is tried again with
 * memory that runs out at its n-th piece: no other answer comes of that. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "kept.h"
#include "model/document.h"

typedef struct place {
  world w;
  void *state;
  aon_store_caps caps;
  aon_collection t;
} place;

/* A file with one table: its id, and a column v of the type. */
static void place_make(place *p, const char *type, const char *value) {
  char statement[300];
  *p = (place){.t = {.store = "main", .name = "t"}};
  world_open(&p->w);
  aon_store_config config = {.name = "main", .location = world_path(&p->w, "s.db"), .timeout_ms = 300};
  int made = snprintf(statement, sizeof statement, "create table t(id text primary key, v %s);", type);
  if (value)
    snprintf(statement + made, sizeof statement - (size_t)made, "insert into t values('z', %s)", value);
  sql(config.location, statement);
  OK(&p->w, aon_sqlite_adapter.open(p->w.env, &config, &p->state, &p->caps, &p->w.error));
}

static void place_end(place *p) {
  aon_sqlite_adapter.close(p->state);
  world_close(&p->w);
}

/* ---- a property to its value ---- */

static void properties_are_kept(void **state) {
  (void)state;
  static const struct {
    const char *type, *json, *kept;
  } cases[] = {
      {"text", "\"x\"", "\"x\""},
      {"text", "5", "\"5\""},
      {"text", "1.5", "\"1.5\""},
      {"text", "0.1000000000000000055511151231257827", "\"0.1\""},
      {"text", "true", "\"1\""},
      {"text", "{\"a\":1}", "!bad_type"},
      {"text", "[1]", "!bad_type"},
      {"varchar(3)", "\"abcdef\"", "\"abcdef\""},
      {"integer", "\"7\"", "7"},
      {"integer", "\"7.0\"", "7"},
      {"integer", "\" 7 \"", "7"},
      {"integer", "\"-0\"", "0"},
      {"integer", "\"x\"", "\"x\""},
      {"integer", "\"\"", "\"\""},
      {"integer", "2.0", "2"},
      {"integer", "2.5", "2.5"},
      {"integer", "false", "0"},
      {"integer", "\"12345678901234567890\"", "!out_of_range"},
      {"integer", "\"1e3\"", "1000"},
      {"integer", "\"1e\"", "\"1e\""},
      {"integer", "\"1e+2147483648\"", "!out_of_range"},
      {"integer", "\"1E3\"", "1000"},
      {"integer", "\"1e000000000000000000000000000003\"", "!out_of_range"},
      {"real", "\"1e400\"", "!out_of_range"},
      {"real", "\"-1e-400\"", "!out_of_range"},
      {"real", "\"1e-400\"", "!out_of_range"},
      {"real", "\"9007199254740993\"", "!out_of_range"},
      {"real", "9223372036854775807", "!out_of_range"},
      {"blob default x''", NULL, "\"\""},
      {"numeric, g integer generated always as (1)", "\"1.50\"", "1.5"},
      {"integer default +7", NULL, "7"},
      {"default FALSE", NULL, "0"},
      {"default X'00FF'", NULL, "\"AP8=\""},
      {"clob", "5", "\"5\""},
      {"numeric", "\"1.50\"", "1.5"},
      {"numeric", "\"0.10\"", "0.1"},
      {"numeric", "\"+.5\"", "0.5"},
      {"numeric", "\"-1.5e-3\"", "-0.0015"},
      {"numeric", "\"0.1234567890123456789\"", "!out_of_range"},
      {"decimal(10,2)", "\"abc\"", "\"abc\""},
      {"real", "5", "5.0"},
      {"real", "9007199254740993", "!out_of_range"},
      {"real", "9007199254740992", "9007199254740992.0"},
      {"real", "\"2.5\"", "2.5"},
      {"real", "-0.0", "0.0"},
      {"double precision", "1e300", "1e+300"},
      {"blob", "\"AP8=\"", "\"AP8=\""},
      {"blob", "\"\"", "\"\""},
      {"blob", "\"AP8\"", "!bad_type"},
      {"blob", "5", "5"},
      {"", "\"x\"", "\"x\""},
      {"", "1.5", "1.5"},
      {"datetime", "\"2027-01-06\"", "\"2027-01-06\""},
      {"text default 'it''s'", NULL, "\"it's\""},
      {"integer default -7", NULL, "-7"},
      {"integer default '8'", NULL, "8"},
      {"default 1.5", NULL, "1.5"},
      {"default (1 + 1)", NULL, "2"},
      {"default x'00ff'", NULL, "\"AP8=\""},
      {"blob default x'00ff'", NULL, "\"AP8=\""},
      {"default true", NULL, "1"},
      {"default null", NULL, "null"},
      {"text not null default ''", NULL, "\"\""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    place p;
    char json[200], kept[200];
    place_make(&p, cases[i].type, NULL);
    snprintf(json, sizeof json, cases[i].json ? "{\"v\":%s}" : "{}", cases[i].json);
    if (*cases[i].kept == '!')
      snprintf(kept, sizeof kept, "%s", cases[i].kept);
    else
      snprintf(kept, sizeof kept, "{\"id\":\"a\",\"v\":%s}", cases[i].kept);
    kept_case one[] = {{"a", json, kept}};
    KEEPS(aon_sqlite_adapter.normalise, p.state, &p.t, one);
    place_end(&p);
  }
}

/* ---- a value to its property, and back ---- */

static aon_result read_value(place *p, char ret_answer[200], aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  AON_BUFFER_CLEANUP aon_buffer json = {0};
  aon_image found;
  bson_t view;
  aon_text id = text("z");
  aon_result result = aon_sqlite_adapter.read(p->state, &p->t, &id, 1, &arena, &found, error);
  if (result)
    return result;
  assert_true(found.bson && aon_image_view(&found, &view));
  result = aon_document_to_json(&view, &json, error);
  snprintf(ret_answer, 200, "%s%s", found.token_length ? "with a token: " : "", json.data ? json.data : "");
  return result;
}

static void values_are_read(void **state) {
  (void)state;
  static const struct {
    const char *type, *value, *read;
  } cases[] = {{"text", "'x'", "\"x\""},
               {"text", "x'4142'", "\"QUI=\""},
               {"integer", "9223372036854775807", "9223372036854775807"},
               {"integer", "'x'", "\"x\""},
               {"integer", "2.5", "2.5"},
               {"integer", "null", "null"},
               {"real", "5", "5.0"},
               {"real", "9e999", "\"Infinity\""},
               {"numeric", "1.50", "1.5"},
               {"blob", "x'00ff'", "\"AP8=\""},
               {"blob", "x''", "\"\""},
               {"blob", "'text'", "\"text\""},
               {"blob", "7", "7"},
               {"", "x'00ff'", "\"AP8=\""},
               {"", "'x'", "\"x\""},
               {"", "-0.0", "-0.0"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    place p;
    char answer[200] = "", again[200], wanted[200];
    aon_error error = AON_ERROR_INIT;
    place_make(&p, cases[i].type, cases[i].value);
    assert_int_equal(read_value(&p, answer, &error), AON_OK);
    snprintf(wanted, sizeof wanted, "{\"id\":\"z\",\"v\":%s}", cases[i].read);
    assert_string_equal(strstr(answer, "{"), wanted);
    for (int kind = CALL_MEMORY; kind <= CALL_PIECE; kind++)
      for (int nth = 1;; nth++) {
        calls_fail(kind, nth);
        aon_result result = read_value(&p, again, &error);
        bool failed = calls_end();
        if (result)
          assert_int_equal(result, AON_NO_MEMORY);
        else
          assert_string_equal(again, answer);
        if (!failed)
          break;
      }
    place_end(&p);
  }
}

/* ---- keys, and whole documents ---- */

/* A place whose table is made by that statement. */
static void table_make(place *p, const char *statement) {
  *p = (place){.t = {.store = "main", .name = "t"}};
  world_open(&p->w);
  aon_store_config config = {.name = "main", .location = world_path(&p->w, "s.db"), .timeout_ms = 300};
  sql(config.location, statement);
  OK(&p->w, aon_sqlite_adapter.open(p->w.env, &config, &p->state, &p->caps, &p->w.error));
}

static void keys_are_kept(void **state) {
  (void)state;
  static const struct {
    const char *table;
    kept_case one;
  } cases[] = {{"create table t(id text primary key, v text)", {"a", "{\"id\":null,\"v\":\"1\"}", "{\"id\":\"a\",\"v\":\"1\"}"}},
               {"create table t(id blob primary key, v text)", {"AP8=", "{}", "{\"id\":\"AP8=\",\"v\":null}"}},
               {"create table t(id blob primary key, v text)", {"A!", "{}", "!bad_format"}},
               {"create table t(a integer, b text, v text, primary key(a, b))", {"1:x", "{}", "{\"a\":1,\"b\":\"x\",\"v\":null}"}},
               {"create table t(a integer, b text, v text, primary key(a, b))", {"1:", "{}", "{\"a\":1,\"b\":\"\",\"v\":null}"}},
               {"create table t(a integer, b text, v text, primary key(a, b))", {"1", "{}", "!bad_format"}},
               {"create table t(a integer, b text, v text, primary key(a, b))", {"1:x", "{\"b\":\"y\"}", "!inconsistent"}},
               {"create table t(id text primary key, doc text)", {"a", "{\"v\":[{\"w\":1.5},null,true]}", NULL}}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    place p;
    table_make(&p, cases[i].table);
    kept_are(aon_sqlite_adapter.normalise, p.state, &p.t, &cases[i].one, 1);
    place_end(&p);
  }
}

/* Types that JSON lacks. */
static void other_types_are_refused(void **state) {
  (void)state;
  static const char *const tables[] = {"create table t(id text primary key, v text)", "create table t(id text primary key, doc text)"};
  static const char *const values[] = {"{\"v\":{\"$numberDouble\":\"Infinity\"}}", "{\"v\":{\"$numberDouble\":\"NaN\"}}",
                                       "{\"v\":{\"$oid\":\"0123456789abcdef01234567\"}}"};
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
    for (size_t j = 0; j < sizeof values / sizeof *values; j++) {
      place p;
      bson_error_t why;
      bson_t *document = bson_new_from_json((const uint8_t *)values[j], -1, &why);
      assert_non_null(document);
      table_make(&p, tables[i]);
      kept_is(aon_sqlite_adapter.normalise, p.state, &p.t, text("a"), document, "!bad_type");
      bson_destroy(document);
      place_end(&p);
    }
}

static void a_document_has_its_bounds(void **state) {
  (void)state;
  place p;
  char *found = NULL, *long_text = malloc((17 << 20) + 1);
  bson_t document = BSON_INITIALIZER;
  table_make(&p, "create table t(id text primary key, doc text)");
  assert_string_equal(kept_of_levels(aon_sqlite_adapter.normalise, p.state, &p.t, 100), "kept");
  assert_string_equal(kept_of_levels(aon_sqlite_adapter.normalise, p.state, &p.t, 102), "!too_long");
  kept_repeat(long_text, 'x', 17 << 20);
  BSON_APPEND_UTF8(&document, "v", long_text);
  assert_int_equal(kept_answer(aon_sqlite_adapter.normalise, p.state, &p.t, text("a"), &document, &found, &p.w.error), AON_OK);
  assert_string_equal(found, "!too_long");
  free(found);
  free(long_text);
  bson_destroy(&document);
  place_end(&p);
}

/* ---- in a store that is new each time ---- */

/* What a call makes once, and keeps, is asked for with memory that runs out at its n-th piece: the next call makes it well. */
static void what_is_made_once_is_made_well(void **state) {
  static const char *const tables[] = {
      "create table t(id text primary key, n numeric default (1 + 1), x text default 'it''s', b blob default x'00ff', g as (n))",
      "create table t(a integer, b text, v numeric default 2, primary key(a, b)) without rowid",
      "create table t(id integer primary key, n integer default 7, v any) strict"};
  static const char *const wanted[] = {"{\"id\":\"1:x\",\"n\":2,\"x\":\"it's\",\"b\":\"AP8=\"}", "{\"a\":1,\"b\":\"x\",\"v\":2}",
                                       "!bad_type"};
  (void)state;
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
    for (int kind = CALL_MEMORY; kind <= CALL_STATEMENT; kind++)
      for (int nth = 1, failed = 1; failed; nth = calls_next(nth, getenv("AON_CALLS_MORE") ? 8 : 2)) {
        place p;
        char *found = NULL;
        bson_t nothing = BSON_INITIALIZER;
        aon_error error = AON_ERROR_INIT;
        table_make(&p, tables[i]);
        calls_fail(kind, nth);
        aon_image image;
        aon_arena arena = {0};
        aon_result result = aon_sqlite_adapter.normalise(p.state, &p.t, text("1:x"), &nothing, &arena, &image, nth % 2 ? &error : NULL);
        failed = calls_end();
        aon_arena_release(&arena);
        if (result && *wanted[i] != '!')
          assert_true(failed && result != AON_REJECTED && result != AON_USAGE);
        assert_int_equal(kept_answer(aon_sqlite_adapter.normalise, p.state, &p.t, text("1:x"), &nothing, &found, &error), AON_OK);
        assert_string_equal(found, wanted[i]);
        free(found);
        bson_destroy(&nothing);
        place_end(&p);
      }
}

/* A foreign key that is open is refused, whether it can be found out whose it is or not. */
static void an_open_key_is_refused_whatever_fails(void **state) {
  (void)state;
  for (int kind = CALL_MEMORY; kind <= CALL_STATEMENT; kind++)
    for (int nth = 1, failed = 1; failed; nth++) {
      place p;
      aon_transaction *transaction;
      size_t at;
      aon_branch own = branch(1);
      table_make(&p, "create table p(id text primary key); create table t(id text primary key, p text references p(id))");
      aon_write write = write_of(&p.t, "x", (aon_image){0}, image(&p.w, "{\"id\":\"x\",\"p\":\"none\"}"), 5);
      OK(&p.w, aon_sqlite_adapter.begin(p.state, &own, AON_MARKER_COMMIT, &transaction, &p.w.error));
      calls_fail(kind, nth);
      aon_error error = AON_ERROR_INIT;
      aon_result result = aon_sqlite_adapter.apply(p.state, transaction, &write, 1, NULL, &at, &error);
      if (!result)
        result = aon_sqlite_adapter.flush(p.state, transaction, nth % 2 ? &error : NULL);
      failed = calls_end();
      assert_int_not_equal(result, AON_OK);
      if (!failed) {
        assert_int_equal(result, AON_PERMANENT);
        assert_true(nth % 2 == 0 || error.operation == 5);
      }
      aon_sqlite_adapter.abort(p.state, transaction);
      place_end(&p);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(properties_are_kept),
                                     cmocka_unit_test(values_are_read),
                                     cmocka_unit_test(keys_are_kept),
                                     cmocka_unit_test(other_types_are_refused),
                                     cmocka_unit_test(a_document_has_its_bounds),
                                     cmocka_unit_test(what_is_made_once_is_made_well),
                                     cmocka_unit_test(an_open_key_is_refused_whatever_fails)};
  return cmocka_run_group_tests_name("store kept_sqlite", tests, NULL, NULL);
}
