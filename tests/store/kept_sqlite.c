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

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(properties_are_kept), cmocka_unit_test(values_are_read)};
  return cmocka_run_group_tests_name("store kept_sqlite", tests, NULL, NULL);
}
