/* What becomes of single values of PostgreSQL's columns, both ways, asked without a server: tables of texts and properties, and of what
 * fits no column. Each case is tried again with memory that runs out at its n-th piece: no other answer comes of that. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "model/document.h"
#include "store/postgresql_internal.h"
#include "world.h"

/* The answer as text, or !CODE; static memory. AON_NO_MEMORY: none. */
typedef aon_result (*asking)(const pg_column *column, const void *given, char ret_answer[400], aon_error *error);

static void is_answered(const pg_column *column, asking ask, const void *given, const char *wanted) {
  char answer[400] = "";
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(ask(column, given, answer, &error), AON_OK);
  assert_string_equal(answer, wanted);
  for (int kind = CALL_MEMORY; kind <= CALL_PIECE; kind++)
    for (int nth = 1;; nth++) {
      error = (aon_error)AON_ERROR_INIT;
      calls_fail(kind, nth);
      aon_result result = ask(column, given, answer, &error);
      bool failed = calls_end();
      if (result)
        assert_int_equal(result, AON_NO_MEMORY);
      else
        assert_string_equal(answer, wanted);
      if (!failed)
        break;
    }
}

static aon_result told(aon_result result, const aon_error *error, char ret_answer[400]) {
  if (result == AON_NO_MEMORY)
    return result;
  assert_true(result == AON_REJECTED || result == AON_PERMANENT || result == AON_CORRUPT);
  assert_true(error->sentence[0]);
  snprintf(ret_answer, 400, "!%s", error->code);
  return AON_OK;
}

static pg_column column_of(pg_form form, pg_form element, bool jsonb, bool padded) {
  return (pg_column){
      .name = "c", .type = "t", .base = "b", .form = form, .element = element, .delimiter = ',', .jsonb = jsonb, .padded = padded};
}

/* ---- a property to its text ---- */

static aon_result spell(const pg_column *column, const void *given, char ret_answer[400], aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  bson_iter_t at;
  pg_text text;
  assert_true(bson_iter_init(&at, given) && bson_iter_next(&at));
  aon_result result = pg_spell(column, &at, &arena, &text, error);
  if (result)
    return told(result, error, ret_answer);
  snprintf(ret_answer, 400, "%.*s", text.data ? (int)text.length : 4, text.data ? text.data : "NULL");
  return AON_OK;
}

static void properties_are_spelled(void **state) {
  (void)state;
  static const struct {
    pg_form form, element;
    bool jsonb, padded;
    const char *json, *spelled;
  } cases[] = {
      {FORM_TEXT, 0, 0, 0, "null", "NULL"},
      {FORM_TEXT, 0, 0, 0, "\"a b \"", "a b "},
      {FORM_TEXT, 0, 0, 1, "\"a b  \"", "a b"},
      {FORM_TEXT, 0, 0, 1, "\"   \"", ""},
      {FORM_TEXT, 0, 0, 0, "\"a\\u0000\"", "!bad_type"},
      {FORM_TEXT, 0, 0, 0, "true", "true"},
      {FORM_TEXT, 0, 0, 0, "false", "false"},
      {FORM_TEXT, 0, 0, 0, "1.5", "1.5"},
      {FORM_TEXT, 0, 0, 0, "{\"$numberDecimal\":\"1.50\"}", "1.50"},
      {FORM_TEXT, 0, 0, 0, "{\"$oid\":\"0123456789abcdef01234567\"}", "0123456789abcdef01234567"},
      {FORM_TEXT, 0, 0, 0, "{\"$date\":\"2027-01-06T08:00:00.5Z\"}", "2027-01-06T08:00:00.500Z"},
      {FORM_TEXT, 0, 0, 0, "{\"$binary\":{\"base64\":\"AP8=\",\"subType\":\"00\"}}", "!bad_type"},
      {FORM_TEXT, 0, 0, 0, "{\"a\":1}", "!bad_type"},
      {FORM_TEXT, 0, 0, 0, "[1]", "!bad_type"},
      {FORM_TEXT, 0, 0, 0, "{\"$minKey\":1}", "!bad_type"},
      {FORM_INTEGER, 0, 0, 0, "5", "5"},
      {FORM_INTEGER, 0, 0, 0, "{\"$numberLong\":\"-9223372036854775808\"}", "-9223372036854775808"},
      {FORM_INTEGER, 0, 0, 0, "-3.0", "-3"},
      {FORM_INTEGER, 0, 0, 0, "1.5", "!bad_type"},
      {FORM_INTEGER, 0, 0, 0, "1e19", "!bad_type"},
      {FORM_INTEGER, 0, 0, 0, "{\"$numberDouble\":\"NaN\"}", "!bad_type"},
      {FORM_BOOLEAN, 0, 0, 0, "{\"$numberDouble\":\"Infinity\"}", "!bad_type"},
      {FORM_REAL, 0, 0, 0, "{\"$numberDouble\":\"NaN\"}", "NaN"},
      {FORM_REAL, 0, 0, 0, "{\"$numberDouble\":\"Infinity\"}", "Infinity"},
      {FORM_REAL, 0, 0, 0, "{\"$numberDouble\":\"-Infinity\"}", "-Infinity"},
      {FORM_REAL, 0, 0, 0, "{\"$numberLong\":\"9007199254740993\"}", "!out_of_range"},
      {FORM_REAL, 0, 0, 0, "{\"$numberLong\":\"-9007199254740993\"}", "!out_of_range"},
      {FORM_REAL, 0, 0, 0, "{\"$numberLong\":\"9007199254740994\"}", "9007199254740994"},
      {FORM_BYTES, 0, 0, 0, "\"AP8=\"", "\\x00ff"},
      {FORM_BYTES, 0, 0, 0, "\"AP8\"", "!bad_type"},
      {FORM_BYTES, 0, 0, 0, "\"A!8=\"", "!bad_type"},
      {FORM_BYTES, 0, 0, 0, "\"\"", "\\x"},
      {FORM_BYTES, 0, 0, 0, "{\"$binary\":{\"base64\":\"AP8=\",\"subType\":\"00\"}}", "\\x00ff"},
      {FORM_INSTANT, 0, 0, 0, "\"2027-01-06T08:00:00.500Z\"", "2027-01-06 08:00:00.5+00"},
      {FORM_INSTANT, 0, 0, 0, "\"2027-01-06T08:00:00.000Z\"", "2027-01-06 08:00:00+00"},
      {FORM_INSTANT, 0, 0, 0, "\"2027-01-06T08:00:00Z\"", "2027-01-06 08:00:00+00"},
      {FORM_INSTANT, 0, 0, 0, "\"2027-01-06 08:00:00Z\"", "2027-01-06 08:00:00Z"}, /* for the server to say */
      {FORM_INSTANT, 0, 0, 0, "\"2027-01-06T08:00:00.1234567Z\"", "2027-01-06T08:00:00.1234567Z"},
      {FORM_INSTANT, 0, 0, 0, "\"2027-01-06T08:00:00.Z\"", "2027-01-06T08:00:00.Z"},
      {FORM_INSTANT, 0, 0, 0, "\"2027-01-06T08:00:00.5x\"", "2027-01-06T08:00:00.5x"},
      {FORM_INSTANT, 0, 0, 0, "\"2027-01-06T08:00:00,5Z\"", "2027-01-06T08:00:00,5Z"},
      {FORM_INSTANT, 0, 0, 0, "\"2027-01-06T08:00:00.a5Z\"", "2027-01-06T08:00:00.a5Z"},
      {FORM_INSTANT, 0, 0, 0, "\"2027-1x-06T08:00:00.5Z\"", "2027-1x-06T08:00:00.5Z"},
      {FORM_INSTANT, 0, 0, 0, "{\"$date\":\"2027-01-06T08:00:00.5Z\"}", "2027-01-06 08:00:00.5+00"},
      {FORM_TIMESTAMP, 0, 0, 0, "\"2027-01-06T08:00:00.120\"", "2027-01-06 08:00:00.12"},
      {FORM_TIMESTAMP, 0, 0, 0, "\"infinity\"", "infinity"},
      {FORM_JSON, 0, 1, 0, "{\"a\":[1,null,\"x\"]}", "{\"a\":[1,null,\"x\"]}"},
      {FORM_JSON, 0, 1, 0, "1e15", "1000000000000000.0"},
      {FORM_JSON, 0, 1, 0, "[1e21,\"1e15\",{\"e\":true}]", "[1e+21,\"1e15\",{\"e\":true}]"},
      {FORM_JSON, 0, 1, 0, "\"a\\u0000\"", "!bad_type"},
      {FORM_JSON, 0, 0, 0, "\"a\\u0000\"", "\"a\\u0000\""},
      {FORM_JSON, 0, 1, 0, "{\"$numberDouble\":\"-0.0\"}", "!bad_type"},
      {FORM_JSON, 0, 1, 0, "{\"a\":{\"$numberDouble\":\"NaN\"}}", "!bad_type"},
      {FORM_JSON, 0, 1, 0, "[{\"$oid\":\"0123456789abcdef01234567\"}]", "!bad_type"},
      {FORM_ARRAY, FORM_INTEGER, 0, 0, "[]", "{}"},
      {FORM_ARRAY, FORM_INTEGER, 0, 0, "[1,null,3]", "{1,NULL,3}"},
      {FORM_ARRAY, FORM_INTEGER, 0, 0, "[[1,2],[3,4]]", "{{1,2},{3,4}}"},
      {FORM_ARRAY, FORM_INTEGER, 0, 0, "[1.5]", "!bad_type"},
      {FORM_ARRAY, FORM_INTEGER, 0, 0, "[[[[[[1]]]]]]", "{{{{{{1}}}}}}"},
      {FORM_ARRAY, FORM_INTEGER, 0, 0, "[[[[[[[1]]]]]]]", "!bad_type"},
      {FORM_ARRAY, FORM_TEXT, 0, 0, "[\"\",\"null\",\"nul\",\"a,b\",\"a\\\"b\",\"a\\\\b\",\"{x}\",\" y\",\"z\"]",
       "{\"\",\"null\",nul,\"a,b\",\"a\\\"b\",\"a\\\\b\",\"{x}\",\" y\",z}"},
      {FORM_ARRAY, FORM_BOOLEAN, 0, 0, "[true,false,null]", "{t,f,NULL}"},
      {FORM_ARRAY, FORM_JSON, 1, 0, "[{\"a\":1},[1,2]]", "{\"{\\\"a\\\":1}\",\"[1,2]\"}"},
      {FORM_ARRAY, FORM_TEXT, 0, 0, "[{\"a\":1}]", "!bad_type"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char json[300];
    bson_error_t why;
    pg_column column = column_of(cases[i].form, cases[i].element, cases[i].jsonb, cases[i].padded);
    snprintf(json, sizeof json, "{\"p\":%s}", cases[i].json);
    bson_t *document = bson_new_from_json((const uint8_t *)json, -1, &why);
    if (!document)
      fail_msg("%s: %s", json, why.message);
    is_answered(&column, spell, document, cases[i].spelled);
    bson_destroy(document);
  }
}

/* ---- a text to its property ---- */

static aon_result append(const pg_column *column, const void *given, char ret_answer[400], aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  AON_BUFFER_CLEANUP aon_buffer json = {0};
  const char *literal = given;
  pg_text text = {.data = literal, .length = literal ? strlen(literal) : 0};
  bson_t document = BSON_INITIALIZER;
  bool plain;
  aon_result result = pg_append(column, "p", &text, &arena, &document, &plain, error);
  if (!result)
    result = aon_document_to_json(&document, &json, error);
  bson_destroy(&document);
  if (result)
    return told(result, error, ret_answer);
  snprintf(ret_answer, 400, "%s%s", plain ? "" : "not plain: ", json.data);
  return AON_OK;
}

static void texts_become_properties(void **state) {
  (void)state;
  static const struct {
    pg_form form, element;
    bool jsonb;
    const char *text, *json;
  } cases[] = {
      {FORM_TEXT, 0, 0, NULL, "{\"p\":null}"},
      {FORM_TEXT, 0, 0, "x", "{\"p\":\"x\"}"},
      {FORM_INTEGER, 0, 0, "-7", "{\"p\":-7}"},
      {FORM_REAL, 0, 0, "5", "{\"p\":5.0}"},
      {FORM_REAL, 0, 0, "0.1", "{\"p\":0.1}"},
      {FORM_REAL, 0, 0, "NaN", "{\"p\":\"NaN\"}"},
      {FORM_REAL, 0, 0, "-Infinity", "{\"p\":\"-Infinity\"}"},
      {FORM_REAL, 0, 0, "Infinity", "{\"p\":\"Infinity\"}"},
      {FORM_BOOLEAN, 0, 0, "true", "{\"p\":true}"},
      {FORM_BOOLEAN, 0, 0, "false", "{\"p\":false}"},
      {FORM_BYTES, 0, 0, "\\x00ff", "{\"p\":\"AP8=\"}"},
      {FORM_BYTES, 0, 0, "\\x", "{\"p\":\"\"}"},
      {FORM_BYTES, 0, 0, "00ff", "!bad_document"},
      {FORM_BYTES, 0, 0, "\\", "!bad_document"},
      {FORM_BYTES, 0, 0, "\\x0g", "!bad_document"},
      {FORM_INSTANT, 0, 0, "2027-01-06 08:00:00+00", "{\"p\":\"2027-01-06T08:00:00.000Z\"}"},
      {FORM_INSTANT, 0, 0, "2027-01-06 08:00:00.5+00", "{\"p\":\"2027-01-06T08:00:00.500Z\"}"},
      {FORM_INSTANT, 0, 0, "2027-01-06 08:00:00.12+00", "{\"p\":\"2027-01-06T08:00:00.120Z\"}"},
      {FORM_INSTANT, 0, 0, "2027-01-06 08:00:00.123456+00", "{\"p\":\"2027-01-06T08:00:00.123456Z\"}"},
      {FORM_INSTANT, 0, 0, "infinity", "{\"p\":\"infinity\"}"},
      {FORM_TIMESTAMP, 0, 0, "2027-01-06 08:00:00", "{\"p\":\"2027-01-06T08:00:00.000\"}"},
      {FORM_TIMESTAMP, 0, 0, "2027-01-06T08:00:00", "not plain: {\"p\":\"2027-01-06T08:00:00\"}"},
      {FORM_JSON, 0, 1, "{\"a\": [1, 1.5, \"x\"]}", "{\"p\":{\"a\":[1,1.5,\"x\"]}}"},
      {FORM_JSON, 0, 0, "{\"a\":1}", "{\"p\":{\"a\":1}}"},
      {FORM_JSON, 0, 0, "{\"a\": 1}", "not plain: {\"p\":{\"a\":1}}"},
      {FORM_JSON, 0, 1, "null", "not plain: {\"p\":null}"},
      {FORM_JSON, 0, 1, "1.50", "not plain: {\"p\":1.5}"},
      {FORM_JSON, 0, 1, "12345678901234567890", "not plain: {\"p\":1.2345678901234567e+19}"},
      {FORM_JSON, 0, 1, "0.1234567890123456", "not plain: {\"p\":0.1234567890123456}"},
      {FORM_JSON, 0, 1, "[true, false, 1e2, \"12345678901234567890 \\\" e\"]",
       "not plain: {\"p\":[true,false,100.0,\"12345678901234567890 \\\" e\"]}"},
      {FORM_JSON, 0, 1, "1e400", "!bad_document"},
      {FORM_JSON, 0, 1, "{\"a\":1,\"a\":2}", "!bad_document"},
      {FORM_ARRAY, FORM_INTEGER, 0, "{}", "{\"p\":[]}"},
      {FORM_ARRAY, FORM_INTEGER, 0, "{1,NULL,3}", "{\"p\":[1,null,3]}"},
      {FORM_ARRAY, FORM_INTEGER, 0, "{{1,2},{3,4}}", "{\"p\":[[1,2],[3,4]]}"},
      {FORM_ARRAY, FORM_INTEGER, 0, "[0:1]={1,2}", "not plain: {\"p\":[1,2]}"},
      {FORM_ARRAY, FORM_INTEGER, 0, "[0:1]", "!bad_document"},
      {FORM_ARRAY, FORM_INTEGER, 0, "1", "!bad_document"},
      {FORM_ARRAY, FORM_INTEGER, 0, "", "!bad_document"},
      {FORM_ARRAY, FORM_INTEGER, 0, "{1", "!bad_document"},
      {FORM_ARRAY, FORM_INTEGER, 0, "{1}x", "!bad_document"},
      {FORM_ARRAY, FORM_INTEGER, 0, "{{{{{{{1}}}}}}}", "!bad_document"},
      {FORM_ARRAY, FORM_TEXT, 0, "{\"\",\"NULL\",\"a,b\",\"a\\\"b\",z}", "{\"p\":[\"\",\"NULL\",\"a,b\",\"a\\\"b\",\"z\"]}"},
      {FORM_ARRAY, FORM_TEXT, 0, "{\"z\"}", "not plain: {\"p\":[\"z\"]}"},
      {FORM_ARRAY, FORM_TEXT, 0, "{\"a", "!bad_document"},
      {FORM_ARRAY, FORM_TEXT, 0, "{\"a\\", "!bad_document"},
      {FORM_ARRAY, FORM_BOOLEAN, 0, "{t,f,NULL}", "{\"p\":[true,false,null]}"},
      {FORM_ARRAY, FORM_JSON, 1, "{\"{\\\"a\\\": 1}\",\"null\"}", "not plain: {\"p\":[{\"a\":1},null]}"},
      {FORM_ARRAY, FORM_JSON, 1, "{\"{\"}", "!bad_document"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    pg_column column = column_of(cases[i].form, cases[i].element, cases[i].jsonb, false);
    is_answered(&column, append, cases[i].text, cases[i].json);
  }
}

/* ---- ids ---- */

static void ids_fit_their_columns(void **state) {
  (void)state;
  static const struct {
    const char *base, *id;
    bool fits;
  } cases[] = {{"text", "", true},
               {"text", "x y", true},
               {"text", "\xff", false},
               {"int2", "-32768", true},
               {"int2", "32768", false},
               {"int4", "2147483647", true},
               {"int4", "-2147483649", false},
               {"int8", "9223372036854775807", true},
               {"int8", "9223372036854775808", false},
               {"int8", "007", false},
               {"int8", "7 ", false},
               {"int8", "", false},
               {"int8", "123456789012345678901234567890", false},
               {"uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", true},
               {"uuid", "A0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", false},
               {"uuid", "a0eebc99-9c0b-4ef8-bb6d_6bb9bd380a11", false},
               {"uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", false}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    pg_column column = {.base = cases[i].base};
    if (pg_id_fits(&column, cases[i].id, strlen(cases[i].id)) != cases[i].fits)
      fail_msg("%s as %s", cases[i].id, cases[i].base);
  }
  pg_column column = {.base = "text"};
  assert_false(pg_id_fits(&column, "a\0b", 3));
  pg_text one = {.data = "a", .length = 1}, other = {.data = "b", .length = 1}, longer = {.data = "ab", .length = 2}, null = {0};
  assert_true(pg_same(&one, &one) && pg_same(&null, &null));
  assert_false(pg_same(&one, &other) || pg_same(&one, &longer) || pg_same(&one, &null) || pg_same(&null, &one));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(properties_are_spelled), cmocka_unit_test(texts_become_properties),
                                     cmocka_unit_test(ids_fit_their_columns)};
  return cmocka_run_group_tests_name("store kept_postgresql", tests, NULL, NULL);
}
