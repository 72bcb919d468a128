/* What becomes of single values of PostgreSQL's columns, both ways, asked without a server: tables of texts and properties, and of what
 * fits no column. Each case is tried again with memory that runs out at its n-th piece: no other answer comes of that. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "kept.h"
#include "model/document.h"
#include "store/postgresql_internal.h"

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
      {FORM_JSON, 0, 1, 0, "[1e300,-1e15,1.5e-7]", "[1e+300,-1000000000000000.0,1.5e-07]"},
      {FORM_JSON, 0, 1, 0, "[\"\",\"x\"]", "[\"\",\"x\"]"},
      {FORM_REAL, 0, 0, 0, "{\"$numberLong\":\"-9007199254740994\"}", "-9007199254740994"},
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
      {FORM_JSON, 0, 1, "[1E2, 18446744073709551616, -9223372036854775809, 1.05]",
       "not plain: {\"p\":[100.0,1.8446744073709552e+19,-9.223372036854776e+18,1.05]}"},
      {FORM_JSON, 0, 0, "{\"a\":1}x", "!bad_document"},
      {FORM_JSON, 0, 0, "\"open", "!bad_document"},
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
      {FORM_ARRAY, FORM_BOOLEAN, 0, "{true,\"\"}", "not plain: {\"p\":[true,false]}"},
      {FORM_ARRAY, FORM_TEXT, 0, "{a,", "!bad_document"},
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

/* ---- rows and images of tables that no server has ---- */

typedef struct place {
  world w;
  pg_store store;
  pg_table table;
  pg_column columns[4];
  size_t keys[2];
  aon_collection t;
  char name[8];
} place;

static const pg_column text_column = {
    .type = "text", .cast = "text", .base = "text", .form = FORM_TEXT, .certain = true, .exact = true, .default_fixed = true};

static pg_column named(const char *name, const char *base, pg_form form) {
  pg_column column = text_column;
  column.name = name;
  column.base = column.type = column.cast = base;
  column.form = form;
  column.jsonb = !strcmp(base, "jsonb");
  return column;
}

static void place_open(place *p, size_t columns, size_t keys) {
  *p = (place){.t = {.store = "main", .name = "t"}, .name = "main"};
  world_open(&p->w);
  p->store = (pg_store){.env = p->w.env, .name = p->name, .timeout_ms = 300, .tables = &p->table};
  p->table = (pg_table){.name = "t", .columns = p->columns, .column_count = columns, .keys = p->keys, .key_count = keys};
  p->table.shape.exists = true;
  p->keys[1] = 1;
}

/* id, doc, bson */
static void documents_open(place *p, const char *base, bool has_bson) {
  place_open(p, has_bson ? 3 : 2, 1);
  p->columns[0] = named("id", "text", FORM_TEXT);
  p->columns[1] = named("doc", base, FORM_JSON);
  p->columns[2] = named("bson", "bytea", FORM_BYTES);
  p->table.documents = p->table.shape.document_table = true;
  p->table.has_bson = has_bson;
}

/* id or a, b; then n int4, v text, default 'd'; a generated one stands for the fourth. */
static void columns_open(place *p, const char *key, size_t keys) {
  place_open(p, 4, keys);
  bool whole = !strncmp(key, "int", 3);
  p->columns[0] = named("a", key, whole ? FORM_INTEGER : FORM_TEXT);
  p->columns[1] = named("n", "int4", FORM_INTEGER);
  p->columns[2] = named("v", "text", FORM_TEXT);
  p->columns[2].default_text = "d";
  p->columns[3] = named("g", "text", FORM_TEXT);
  p->columns[3].generated = true;
}

static void place_shut(place *p) {
  aon_arena_release(&p->store.scratch);
  world_close(&p->w);
}

static void tables_keep(place *p, const kept_case *cases, size_t count) {
  kept_are(pg_normalise, &p->store, &p->t, cases, count);
  place_shut(p);
}

static void documents_are_kept(void **state) {
  (void)state;
  static const kept_case plain[] = {{"a", "{\"v\":[1,1.5,\"x\",null]}", NULL},
                                    {"a", "{\"v\":-0.0}", "!bad_type"},
                                    {"a", "{\"v\":\"a\\u0000\"}", "!bad_type"},
                                    {"\xff", "{}", "!bad_format"},
                                    {"", "{}", "!bad_format"}};
  static const kept_case whole[] = {{"a", "{\"v\":-0.0}", NULL}};
  static const kept_case json[] = {{"a", "{\"v\":\"a\\u0000\"}", NULL}};
  place p;
  documents_open(&p, "jsonb", false);
  tables_keep(&p, plain, sizeof plain / sizeof *plain);
  documents_open(&p, "jsonb", true);
  tables_keep(&p, whole, 1);
  documents_open(&p, "json", false);
  tables_keep(&p, json, 1);
}

static void columns_are_kept(void **state) {
  (void)state;
  static const kept_case one[] = {{"7", "{}", "{\"a\":7,\"n\":null,\"v\":\"d\"}"},
                                  {"7", "{\"a\":null,\"n\":2147483648}", "!out_of_range"},
                                  {"7", "{\"a\":8}", "!inconsistent"},
                                  {"7", "{\"N\":8}", "!unknown_property"},
                                  {"7", "{\"zz\":8}", "!unknown_property"},
                                  {"7", "{\"n\":[8]}", "!bad_type"},
                                  {"7", "{\"g\":\"x\",\"v\":\"y\",\"a\":7}", "{\"a\":7,\"n\":null,\"v\":\"y\"}"},
                                  {"x", "{}", "!bad_format"},
                                  {"07", "{}", "!bad_format"}};
  static const kept_case two[] = {{"x:7", "{\"v\":null}", "{\"a\":\"x\",\"n\":7,\"v\":null}"},
                                  {":7", "{\"a\":\"\"}", "{\"a\":\"\",\"n\":7,\"v\":\"d\"}"},
                                  {"x", "{}", "!bad_format"},
                                  {"x:y", "{}", "!bad_format"}};
  place p;
  columns_open(&p, "int8", 1);
  tables_keep(&p, one, sizeof one / sizeof *one);
  columns_open(&p, "text", 2);
  tables_keep(&p, two, sizeof two / sizeof *two);
}

static void a_document_has_its_bounds(void **state) {
  (void)state;
  place p;
  char *found = NULL, *long_text = malloc((17 << 20) + 1);
  bson_t document = BSON_INITIALIZER, empty = BSON_INITIALIZER;
  documents_open(&p, "jsonb", false);
  kept_repeat(long_text, 'x', 17 << 20);
  BSON_APPEND_UTF8(&document, "v", long_text);
  assert_int_equal(kept_answer(pg_normalise, &p.store, &p.t, text("a"), &document, &found, &p.w.error), AON_OK);
  assert_string_equal(found, "!too_long");
  free(found);
  assert_int_equal(kept_answer(pg_normalise, &p.store, &p.t, (aon_text){"a\0b", 3}, &empty, &found, &p.w.error), AON_OK);
  assert_string_equal(found, "!bad_format");
  free(found);
  assert_string_equal(kept_of_levels(pg_normalise, &p.store, &p.t, 100), "kept");
  assert_string_equal(kept_of_levels(pg_normalise, &p.store, &p.t, 102), "!bad_type");
  free(long_text);
  bson_destroy(&document);
  place_shut(&p);
}

/* A row as texts, and what is asked of it. */
typedef struct row_case {
  const char *doc, *bson, *answer;
} row_case;

typedef struct row_asked {
  place *p;
  const row_case *row;
} row_asked;

static pg_text of(const char *literal) { return (pg_text){.data = literal, .length = literal ? strlen(literal) : 0}; }

/* The image, and the row that becomes of it, which is the one it was read from. */
static aon_result read_row(const pg_column *column, const void *given, char ret_answer[400], aon_error *error) {
  (void)column;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  AON_BUFFER_CLEANUP aon_buffer json = {0};
  const row_asked *asked = given;
  place *p = asked->p;
  pg_text row[3] = {of("a"), of(asked->row->doc), of(asked->row->bson)}, again[4] = {{0}};
  aon_image found;
  bson_t view;
  aon_result result = pg_row_image(&p->store, &p->table, row, true, &arena, &found, error);
  if (!result)
    result = pg_image_row(&p->store, &p->table, text("a"), &found, NULL, &arena, again, error);
  if (result)
    return told(result, error, ret_answer);
  for (size_t i = 0; i < p->table.column_count; i++)
    if (!pg_same(&row[i], &again[i]))
      fail_msg("%s, %s: column %zu was “%s”, is “%s”", asked->row->doc, asked->row->bson, i, row[i].data, again[i].data);
  assert_true(aon_image_view(&found, &view));
  result = aon_document_to_json(&view, &json, error);
  snprintf(ret_answer, 400, "%s%s", found.token_length ? "with a token: " : "", json.data ? json.data : "");
  return result;
}

static void rows_of_documents_are_read(void **state) {
  (void)state;
  static const char *const oid = "\\x140000000776000123456789abcdef0123456700"; /* v: an id of MongoDB's */
  const row_case cases[] = {{"{\"v\":1}", NULL, "{\"v\":1}"},
                            {"{\"v\": 1}", NULL, "with a token: {\"v\":1}"},
                            {"{\"v\":1.50}", NULL, "with a token: {\"v\":1.5}"},
                            {NULL, NULL, "!bad_document"},
                            {"[1]", NULL, "!bad_document"},
                            {"{\"v\":1e400}", NULL, "!bad_document"},
                            {"{\"v\":\"0123456789abcdef01234567\"}", oid, "{\"v\":\"0123456789abcdef01234567\"}"},
                            {"{\"v\":\"changed\"}", oid, "with a token: {\"v\":\"changed\"}"},
                            {"{\"v\":1}", "no hex", "with a token: {\"v\":1}"},
                            {"{\"v\":1}", "\\x05", "with a token: {\"v\":1}"},
                            {"{\"v\":1}", "\\x0600000010", "with a token: {\"v\":1}"},
                            {"{\"v\":1}", "\\x0c0000000276000900000000", "with a token: {\"v\":1}"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    place p;
    row_asked asked = {&p, &cases[i]};
    documents_open(&p, "json", true);
    is_answered(NULL, read_row, &asked, cases[i].answer);
    place_shut(&p);
  }
}

/* What an image with that stored form is written as. */
typedef struct token_asked {
  place *p;
  const char *token;
  uint32_t length;
  const char *stamp;
} token_asked;

static aon_result write_token(const pg_column *column, const void *given, char ret_answer[400], aon_error *error) {
  (void)column;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  const token_asked *asked = given;
  pg_text row[4];
  bson_t document = BSON_INITIALIZER;
  BSON_APPEND_INT64(&document, "a", 7);
  aon_image image = {
      .bson = bson_get_data(&document), .bson_length = document.len, .token = (const uint8_t *)asked->token, .token_length = asked->length};
  aon_result result = pg_image_row(&asked->p->store, &asked->p->table, text("7"), &image, asked->stamp, &arena, row, error);
  bson_destroy(&document);
  if (result)
    return told(result, error, ret_answer);
  snprintf(ret_answer, 400, "%s,%s,%s", row[0].data,
           row[1].absent ? "absent"
           : row[1].data ? row[1].data
                         : "null",
           row[2].absent ? "absent" : row[2].data);
  return AON_OK;
}

static void stored_forms_are_checked(void **state) {
  (void)state;
  static const struct {
    const char *token;
    uint32_t length;
    const char *stamp, *answer;
  } cases[] = {{"", 0, NULL, "7,absent,absent"},
               {"\1\0v\0\2\0\0\0xy", 10, NULL, "7,absent,xy"},
               {"\1\0v\0\0\0\0\0\1\0n\1\0\0\0\0", 16, NULL, "7,null,"},
               {"\2\0zz\0\1\0\0\0x", 10, NULL, "7,absent,absent"}, /* a column that is gone */
               {"\1\0v", 3, NULL, "!bad_token"},
               {"\x09\0v\0\0\0\0\0", 8, NULL, "!bad_token"},
               {"\1\0v\0\3\0\0\0xy", 10, NULL, "!bad_token"},
               {"", 0, "stamp", "7,absent,stamp"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    place p;
    columns_open(&p, "int8", 1);
    if (cases[i].stamp)
      p.columns[2].name = AON_STAMP_NAME;
    token_asked asked = {&p, cases[i].token, cases[i].length, cases[i].stamp};
    is_answered(NULL, write_token, &asked, cases[i].answer);
    place_shut(&p);
  }
}

static aon_result read_id(const pg_column *column, const void *given, char ret_answer[400], aon_error *error) {
  (void)column;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  const row_asked *asked = given;
  pg_text row[2] = {of(asked->row->doc), of(asked->row->bson)};
  aon_text id;
  aon_result result = pg_row_id(&asked->p->table, row, &arena, &id, error);
  if (result)
    return told(result, error, ret_answer);
  snprintf(ret_answer, 400, "%.*s", (int)id.length, id.data);
  return AON_OK;
}

static void rows_have_ids(void **state) {
  (void)state;
  static const row_case cases[] = {{"a", "7", "a:7"}, {"", "7", ":7"}, {NULL, "7", ":7"}, {"a:b", "7", "a%3Ab:7"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    place p;
    row_asked asked = {&p, &cases[i]};
    columns_open(&p, "text", 2);
    is_answered(NULL, read_id, &asked, cases[i].answer);
    place_shut(&p);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(properties_are_spelled),     cmocka_unit_test(texts_become_properties),  cmocka_unit_test(ids_fit_their_columns),
      cmocka_unit_test(documents_are_kept),         cmocka_unit_test(columns_are_kept),         cmocka_unit_test(a_document_has_its_bounds),
      cmocka_unit_test(rows_of_documents_are_read), cmocka_unit_test(stored_forms_are_checked), cmocka_unit_test(rows_have_ids)};
  return cmocka_run_group_tests_name("store kept_postgresql", tests, NULL, NULL);
}
