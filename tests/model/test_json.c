/* JSON both ways: what is accepted, what is refused and how it is told, and that nothing changes on the way there and back.
 * jansson is the oracle for what is JSON. */
#include <float.h>
#include <jansson.h>
#include <locale.h>
#include <math.h>

#include "helpers.h"

static aon_result read_text(const char *text, size_t length, char *ret_sentence) {
  bson_t document;
  aon_error error = AON_ERROR_INIT;
  aon_result result = aon_document_from_json(text, length, &document, &error);
  if (result)
    snprintf(ret_sentence, sizeof error.sentence, "%s", error.sentence);
  if (result == AON_REJECTED)
    assert_true(strcmp(error.code, "bad_json") == 0 || strcmp(error.code, "too_long") == 0);
  bson_destroy(&document);
  return result;
}

static void refused(const char *text, const char *word) {
  char sentence[sizeof((aon_error *)0)->sentence];
  if (read_text(text, strlen(text), sentence) != AON_REJECTED)
    fail_msg("accepted: %s", text);
  if (!strstr(sentence, word))
    fail_msg("%s: the sentence lacks '%s': %s", text, word, sentence);
}

static void same(const char *text, const char *canonical) {
  bson_t *document = document_of(text);
  assert_document(document, canonical);
  drop(document);
}

static void writes_canonical_text(void **state) {
  (void)state;
  same(" { \"b\" : 1 ,\t\"a\":[ ] , \"o\":{ } }\r\n", "{\"b\":1,\"a\":[],\"o\":{}}");
  same("{\"\":null,\"t\":true,\"f\":false}", "{\"\":null,\"t\":true,\"f\":false}");
  same("{\"a\":[1,[2,{\"x\":[3]}],\"é\"]}", "{\"a\":[1,[2,{\"x\":[3]}],\"é\"]}");
  same("{\"a\":\"\\u00e9\\ud83d\\ude00\\/\\u2028\"}", "{\"a\":\"é😀/\xe2\x80\xa8\"}");
  same("{\"a\":\"\\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001f\\u007f\"}", "{\"a\":\"\\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001f\x7f\"}");
  same("{\"\\u006b\\n\":{\"\\u0061\":\"\\u0062\"}}", "{\"k\\n\":{\"a\":\"b\"}}");
  same("{\"$oid\":{\"$numberLong\":\"1\"},\"a.b\":1,\"$date\":2}", "{\"$oid\":{\"$numberLong\":\"1\"},\"a.b\":1,\"$date\":2}");
}

static void keeps_numbers(void **state) {
  (void)state;
  same("{\"a\":9223372036854775807,\"b\":-9223372036854775808,\"c\":-0}", "{\"a\":9223372036854775807,\"b\":-9223372036854775808,\"c\":0}");
  same("{\"a\":1.0,\"b\":-0.0,\"c\":1e2,\"d\":0.1,\"e\":1E+22,\"f\":1e23}",
       "{\"a\":1.0,\"b\":-0.0,\"c\":100.0,\"d\":0.1,\"e\":1e+22,\"f\":1e+23}");
  same("{\"a\":0.30000000000000004,\"b\":1.0000000000000002,\"c\":0.0001,\"d\":0.00009,\"e\":-0.5,\"f\":-12.00000001}",
       "{\"a\":0.30000000000000004,\"b\":1.0000000000000002,\"c\":0.0001,\"d\":9e-05,\"e\":-0.5,\"f\":-12.00000001}");
  same("{\"a\":5e-324,\"b\":1.7976931348623157e308,\"c\":2.2250738585072014e-308}",
       "{\"a\":5e-324,\"b\":1.7976931348623157e+308,\"c\":2.2250738585072014e-308}");
  same("{\"a\":999999999999999.0,\"b\":1234567890123456.0,\"c\":9007199254740993.0,\"d\":1e-400}",
       "{\"a\":999999999999999.0,\"b\":1234567890123456.0,\"c\":9007199254740992.0,\"d\":0.0}");
}

static void refuses_what_is_no_json(void **state) {
  (void)state;
  static const char *const texts[][2] = {{"", "column 1"},
                                         {"[]", "object is expected"},
                                         {"1", "object is expected"},
                                         {"{", "key in quotes"},
                                         {"{\"a\"}", "colon"},
                                         {"{\"a\":}", "value is expected"},
                                         {"{\"a\":1,}", "key in quotes"},
                                         {"{\"a\":[1,]}", "value is expected"},
                                         {"{\"a\":1 \"b\":2}", "comma or }"},
                                         {"{\"a\":[1 2]}", "comma or ]"},
                                         {"{} {}", "nothing may follow"},
                                         {"{a:1}", "key in quotes"},
                                         {"{\"a\":01}", "begin with 0"},
                                         {"{\"a\":-}", "digit"},
                                         {"{\"a\":1.}", "digit"},
                                         {"{\"a\":.5}", "value"},
                                         {"{\"a\":1e}", "digit"},
                                         {"{\"a\":+1}", "value"},
                                         {"{\"a\":NaN}", "value"},
                                         {"{\"a\":tru}", "value"},
                                         {"{\"a\":0x1}", "comma or }"},
                                         {"{\"a\":'x'}", "value"},
                                         {"{\"a\":\"\\x\"}", "no such escape"},
                                         {"{\"a\":\"\\u12g4\"}", "hexadecimal"},
                                         {"{\"a\":\"\\ud800\"}", "surrogate"},
                                         {"{\"a\":\"\\udc00\"}", "surrogate"},
                                         {"{\"a\":\"\\ud800\\u0041\"}", "surrogate"},
                                         {"{\"a\":\"\\ud800\\ue000\"}", "surrogate"},
                                         {"{\"a\":\"x", "within a string"},
                                         {"{\"a\":\"x\\", "within a string"},
                                         {"{\"a\":\"\t\"}", "must be escaped"},
                                         {"{\"a\":\"\n\"}", "must be escaped"},
                                         {"{\"a\":\"\xff\"}", "UTF-8"},
                                         {"{\"a\":\"\xc0\x80\"}", "UTF-8"},
                                         {"{\"a\":\"\xed\xa0\x80\"}", "UTF-8"},
                                         {"{\"a\":\"\xf4\x90\x80\x80\"}", "UTF-8"},
                                         {"{\"a\":\"\xe2\x82\"}", "UTF-8"},
                                         {"\xef\xbb\xbf{}", "object is expected"},
                                         {"{\"a\":1/**/}", "comma or }"},
                                         {"{\"a\\u0000b\":1}", "NUL"},
                                         {"{\"a\":9223372036854775808}", "64 bits"},
                                         {"{\"a\":-9223372036854775809}", "64 bits"},
                                         {"{\"a\":99999999999999999999999}", "64 bits"},
                                         {"{\"a\":1e309}", "too large"},
                                         {"{\"a\":-1e309}", "too large"},
                                         {"{\"a\":1,\"b\":2,\"a\":3}", "\"a\" stands twice"},
                                         {"{\"x\":{\"a\":1,\"\\u0061\":3}}", "\"a\" stands twice"},
                                         {"{\"\":1,\"\":2}", "stands twice"}};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    refused(texts[i][0], texts[i][1]);
}

static void tells_where(void **state) {
  (void)state;
  refused("{\"é\":x}", "column 6");
  refused("{\n  \"a\": 1,\n  \"b\": x\n}", "line 3, column 8");
  refused("{\"a\":1,\"a\":2}", "column 8");
}

static void never_tells_a_value(void **state) {
  (void)state;
  char sentence[sizeof((aon_error *)0)->sentence];
  const char *text = "{\"password\":\"secret-1\",\"n\":12345678901234567890123,\"x\":\"secret-2";
  assert_int_equal(read_text(text, strlen(text), sentence), AON_REJECTED);
  assert_null(strstr(sentence, "secret"));
  assert_null(strstr(sentence, "1234"));
}

static void finds_doubled_keys_among_many(void **state) {
  (void)state;
  aon_buffer text = {0};
  aon_error error;
  assert_int_equal(aon_buffer_text(&text, "{", &error), AON_OK);
  for (int i = 0; i < 5000; i++)
    assert_int_equal(aon_buffer_format(&text, &error, "\"k%d\":{\"k%d\":1},", i, i), AON_OK);
  assert_int_equal(aon_buffer_text(&text, "\"z\":1}", &error), AON_OK);
  bson_t *document = document_of(text.data);
  drop(document);
  text.data[--text.length] = 0;
  assert_int_equal(aon_buffer_text(&text, ",\"k77\":1}", &error), AON_OK);
  refused(text.data, "\"k77\" stands twice");
  aon_buffer_release(&text);
}

static void reaches_the_depth_limit(void **state) {
  (void)state;
  for (int extra = 0; extra < 2; extra++) {
    aon_buffer text = {0};
    aon_error error = AON_ERROR_INIT;
    int depth = AON_DOCUMENT_DEPTH_LIMIT + extra;
    for (int i = 0; i < depth; i++)
      assert_int_equal(aon_buffer_text(&text, i + 1 < depth ? "{\"a\":" : "{", &error), AON_OK);
    for (int i = 0; i < depth; i++)
      assert_int_equal(aon_buffer_text(&text, "}", &error), AON_OK);
    if (extra)
      refused(text.data, "too deep");
    else
      same(text.data, text.data);
    aon_buffer_release(&text);
  }
}

static void reaches_the_size_limit(void **state) {
  (void)state;
  size_t head = strlen("{\"a\":\""), room = AON_DOCUMENT_BYTES_LIMIT - 5 - 3 - 5;
  char *text = malloc(head + room + 8);
  assert_non_null(text);
  memcpy(text, "{\"a\":\"", head);
  memset(text + head, 'x', room + 1);
  memcpy(text + head + room, "\"}", 3);
  bson_t *document = document_of(text);
  assert_int_equal(document->len, AON_DOCUMENT_BYTES_LIMIT);
  drop(document);
  memcpy(text + head + room, "x\"}", 4);
  refused(text, "larger than the limit of 16 MiB");
  free(text);
}

static void shows_types_beyond_json(void **state) {
  (void)state;
  bson_t document = BSON_INITIALIZER;
  bson_oid_t oid;
  bson_decimal128_t decimal;
  bson_oid_init_from_string(&oid, "0123456789abcdef01234567");
  assert_true(bson_decimal128_from_string("12345678901234567890.10", &decimal));
  bson_append_date_time(&document, "t", -1, 1799222400123);
  bson_append_date_time(&document, "never", -1, INT64_MIN);
  bson_append_oid(&document, "o", -1, &oid);
  bson_append_binary(&document, "b", -1, BSON_SUBTYPE_BINARY, (const uint8_t *)"\x00\xff!", 3);
  bson_append_binary(&document, "empty", -1, BSON_SUBTYPE_BINARY, (const uint8_t *)"", 0);
  bson_append_decimal128(&document, "d", -1, &decimal);
  bson_append_int32(&document, "i", -1, -5);
  bson_append_double(&document, "n", -1, NAN);
  bson_append_double(&document, "inf", -1, -INFINITY);
  bson_append_timestamp(&document, "ts", -1, 7, 8);
  bson_append_regex(&document, "r", -1, "^a", "i");
  bson_t scope = BSON_INITIALIZER;
  bson_append_code_with_scope(&document, "c", -1, "f()", &scope);
  bson_append_symbol(&document, "s", -1, "sym", -1);
  bson_append_maxkey(&document, "max", -1);
  assert_document(&document, "{\"t\":\"2027-01-06T08:00:00.123Z\",\"never\":\"-9223372036854775808\",\"o\":\"0123456789abcdef01234567\","
                             "\"b\":\"AP8h\",\"empty\":\"\",\"d\":\"12345678901234567890.10\",\"i\":-5,\"n\":\"NaN\",\"inf\":\"-Infinity\","
                             "\"ts\":\"7:8\",\"r\":\"^a\",\"c\":\"f()\",\"s\":\"sym\",\"max\":\"MaxKey\"}");
  bson_destroy(&document);
}

static void leaves_the_buffer_when_it_fails(void **state) {
  (void)state;
  bson_t document = BSON_INITIALIZER;
  bson_append_utf8(&document, "good", -1, "x", 1);
  bson_append_utf8(&document, "bad", -1, "\xff", 1);
  aon_buffer out = {0};
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(aon_buffer_text(&out, "before", &error), AON_OK);
  assert_int_equal(aon_document_to_json(&document, &out, &error), AON_REJECTED);
  assert_string_equal(error.code, "bad_format");
  assert_string_equal(out.data, "before");
  aon_buffer_release(&out);
  bson_destroy(&document);
}

/* Plain bytes are taken eight at a time: what is not plain must be seen at every offset, and nothing else. */
static void escapes_at_every_offset(void **state) {
  (void)state;
  aon_buffer out = {0};
  aon_error error = AON_ERROR_INIT;
  for (int c = 0; c < 128; c++)
    for (size_t at = 0; at < 19; at++) {
      char text[20], sentence[sizeof error.sentence];
      memset(text, at % 2 ? ' ' : '~', sizeof text);
      text[at] = (char)c;
      aon_buffer_clear(&out);
      assert_int_equal(aon_buffer_text(&out, "{\"k\":", &error), AON_OK);
      assert_int_equal(aon_text_to_json(text, 19, &out, &error), AON_OK);
      assert_int_equal(aon_buffer_text(&out, "}", &error), AON_OK);
      bool escaped = c < 0x20 || c == '"' || c == '\\', short_form = c && strchr("\"\\\b\f\n\r\t", c);
      assert_int_equal(out.length, 5 + 21 + 1 + (escaped ? short_form ? 1 : 5 : 0));
      bson_t document;
      bson_iter_t value;
      uint32_t length;
      assert_int_equal(aon_document_from_json(out.data, out.length, &document, &error), AON_OK);
      assert_true(bson_iter_init_find(&value, &document, "k"));
      assert_memory_equal(bson_iter_utf8(&value, &length), text, 19);
      assert_int_equal(length, 19);
      bson_destroy(&document);
      if (escaped) { /* unescaped it is no JSON */
        char raw[64];
        int raw_length = snprintf(raw, sizeof raw, "{\"k\":\"%.*s", (int)at, text);
        raw[raw_length++] = (char)c;
        memcpy(raw + raw_length, "z\"}", 3);
        assert_int_equal(read_text(raw, (size_t)raw_length + 3, sentence), AON_REJECTED);
      }
    }
  aon_buffer_release(&out);
}

/* A document deeper than we make comes from elsewhere, if at all: it is compared and merged as far as the limit goes, as a value below. */
static void survives_deep_bytes(void **state) {
  (void)state;
  enum { LEVELS = 100000 };
  uint8_t *bytes = malloc(LEVELS * 8);
  assert_non_null(bytes);
  for (uint32_t i = 0; i < LEVELS; i++) {
    uint32_t length = (LEVELS - i) * 8 - 3, little = BSON_UINT32_TO_LE(length);
    if (i + 1 == LEVELS) {
      memcpy(bytes + i * 7, "\5\0\0\0", 5);
      break;
    }
    memcpy(bytes + i * 7, &little, 4);
    memcpy(bytes + i * 7 + 4, i % 2 ? "\0030" : "\0040", 3);
  }
  memset(bytes + (LEVELS - 1) * 7 + 5, 0, LEVELS - 1);
  aon_image image = {.bson = bytes, .bson_length = LEVELS * 8 - 3};
  bson_t deep, result;
  bson_t *empty = document_of("{}");
  aon_buffer out = {0};
  aon_error error = AON_ERROR_INIT;
  size_t conflicts;
  assert_true(aon_image_view(&image, &deep));
  assert_int_equal(aon_document_to_json(&deep, &out, &error), AON_REJECTED);
  assert_string_equal(error.code, "too_deep");
  assert_false(aon_document_equal(&deep, empty, NULL));
  assert_int_equal(aon_document_merge(empty, &deep, &deep, NULL, &result, &conflicts, NULL, NULL, &error), AON_OK);
  assert_true(bson_empty(&result));
  bson_destroy(&result);
  assert_int_equal(aon_document_patch(empty, &deep, &result, &error), AON_OK);
  bson_destroy(&result);
  aon_buffer_release(&out);
  drop(empty);
  free(bytes);
}

static void survives_damaged_bytes(void **state) {
  (void)state;
  bson_t *document = document_of("{\"a\":{\"b\":[1,\"text\",{\"c\":null}]},\"d\":2.5}");
  uint64_t seed = 3;
  for (int i = 0; i < 3000; i++) {
    uint8_t bytes[128];
    memcpy(bytes, bson_get_data(document), document->len);
    bytes[4 + below(&seed, document->len - 5)] = (uint8_t)next_random(&seed);
    bson_t view;
    aon_image image = {.bson = bytes, .bson_length = document->len};
    aon_buffer out = {0};
    if (aon_image_view(&image, &view)) {
      aon_result result = aon_document_to_json(&view, &out, NULL);
      assert_true(result == AON_OK || result == AON_CORRUPT || result == AON_REJECTED);
      assert_true(aon_document_equal(&view, &view, NULL));
      (void)aon_document_equal(&view, document, NULL);
    }
    aon_buffer_release(&out);
  }
  drop(document);
}

/* Most documents are written by a quicker way than a value within another one. */
static void assert_same_both_ways(const bson_t *document) {
  bson_t outer = BSON_INITIALIZER;
  aon_buffer quick = {0}, careful = {0};
  bson_iter_t value;
  assert_true(BSON_APPEND_DOCUMENT(&outer, "x", document));
  assert_true(bson_iter_init_find(&value, &outer, "x"));
  aon_error failure = AON_ERROR_INIT, other = AON_ERROR_INIT;
  assert_int_equal(aon_document_to_json(document, &quick, &failure), aon_value_to_json(&value, &careful, &other));
  assert_string_equal(quick.data ? quick.data : "", careful.data ? careful.data : "");
  aon_buffer_release(&quick);
  aon_buffer_release(&careful);
  bson_destroy(&outer);
}

static void writes_the_same_both_ways(void **state) {
  (void)state;
  static const char *const special[] = {"{}", "{\"\":null,\"a\":[]}",
                                        "{\"n\":[null,null,-9223372036854775808,9223372036854775807,true,false,-0.0,1e300,5e-324]}",
                                        "{\"quote\\\"\":\"a\\\\b\\n\",\"\u00fc\":\"\u00e4\u20ac\U0001f600\",\"t\":\"\\u0000\"}",
                                        "{\"text of eight and more\":\"plain, then \\u001f, then \u00f6 and more\"}"};
  for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
    bson_t *document = document_of(special[i]);
    assert_same_both_ways(document);
    drop(document);
  }
  uint64_t seed = 11;
  for (int i = 0; i < 2000; i++) {
    bson_t *document = random_document(&seed, true);
    assert_same_both_ways(document);
    bson_append_int32(document, "small", -1, (int32_t)i - 1000); /* a type that the quicker way does not know */
    assert_same_both_ways(document);
    bson_append_utf8(document, "bad", -1, "\xff", 1);
    assert_same_both_ways(document);
    drop(document);
  }
}

static void reads_back_every_double(void **state) {
  (void)state;
  uint64_t seed = 7;
  for (int i = 0; i < 60000; i++) {
    uint64_t bits = next_random(&seed);
    double value, back;
    memcpy(&value, &bits, sizeof value);
    if (i % 3 == 1)
      value = (double)((int64_t)bits >> below(&seed, 60)) / (double)(1u << below(&seed, 20));
    if (i % 3 == 2)
      value = (double)below(&seed, 100000000) / 10000;
    if (!isfinite(value))
      continue;
    bson_t document = BSON_INITIALIZER;
    bson_append_double(&document, "x", 1, value);
    char *text = text_of(&document);
    bson_t *read = document_of(text);
    bson_iter_t at;
    assert_true(bson_iter_init_find(&at, read, "x") && bson_iter_type(&at) == BSON_TYPE_DOUBLE);
    back = bson_iter_double(&at);
    assert_memory_equal(&back, &value, sizeof value);
    char shortest[64];
    snprintf(shortest, sizeof shortest, "%.15g", value);
    if (!strpbrk(shortest, "e") && strtod(shortest, NULL) == value) {
      aon_buffer expected = {0};
      assert_int_equal(aon_buffer_format(&expected, NULL, "{\"x\":%s%s}", shortest, strchr(shortest, '.') ? "" : ".0"), AON_OK);
      assert_string_equal(text, expected.data);
      aon_buffer_release(&expected);
    }
    drop(read);
    free(text);
    bson_destroy(&document);
  }
}

/* A locale with a decimal comma must neither be written nor read. */
static void heeds_no_locale(void **state) {
  (void)state;
  static const char *const locales[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "ps_AF"};
  bool found = false;
  for (size_t i = 0; i < sizeof locales / sizeof *locales && !found; i++)
    found = setlocale(LC_NUMERIC, locales[i]) != NULL;
  if (!found) {
    print_message("skipped: heeds_no_locale: no locale with a decimal comma is installed\n");
    skip();
  }
  same("{\"a\":0.1,\"b\":1.7976931348623157e308,\"c\":3.141592653589793}",
       "{\"a\":0.1,\"b\":1.7976931348623157e+308,\"c\":3.141592653589793}");
  setlocale(LC_NUMERIC, "C");
}

static bool oracle_accepts(const char *text, size_t length) {
  json_error_t error;
  json_t *tree = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
  bool accepted = json_is_object(tree);
  json_decref(tree);
  return accepted;
}

/* Texts broken in a byte or two: accepted exactly where jansson does. */
static void agrees_with_jansson(void **state) {
  (void)state;
  static const char alphabet[] = "{}[]\",:\\u0019eE+-. \ntfnaod\x80\xc3\xe2\xed";
  uint64_t seed = 11;
  int accepted = 0;
  for (int i = 0; i < 40000; i++) {
    aon_buffer text = {0};
    random_members(&seed, 2, true, &text);
    for (uint32_t broken = below(&seed, 3); broken > 0; broken--) {
      size_t at = below(&seed, (uint32_t)text.length);
      if (below(&seed, 3) == 0 && text.length > 1) {
        memmove(text.data + at, text.data + at + 1, text.length - at);
        text.length--;
      } else {
        text.data[at] = alphabet[below(&seed, sizeof alphabet - 1)];
      }
    }
    char sentence[sizeof((aon_error *)0)->sentence];
    bool ours = read_text(text.data, text.length, sentence) == AON_OK, theirs = oracle_accepts(text.data, text.length);
    if (ours != theirs)
      fail_msg("round %d: %s by us: %.*s", i, ours ? "accepted" : "refused", (int)text.length, text.data);
    accepted += ours;
    aon_buffer_release(&text);
  }
  assert_in_range(accepted, 10000, 39000);
}

static void reads_back_what_it_writes(void **state) {
  (void)state;
  uint64_t seed = 5;
  for (int i = 0; i < 5000; i++) {
    bson_t *document = random_document(&seed, i & 1);
    char *text = text_of(document);
    bson_t *read = document_of(text);
    assert_true(bson_equal(document, read));
    drop(read);
    free(text);
    drop(document);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(writes_canonical_text),     cmocka_unit_test(keeps_numbers),
      cmocka_unit_test(refuses_what_is_no_json),   cmocka_unit_test(tells_where),
      cmocka_unit_test(never_tells_a_value),       cmocka_unit_test(finds_doubled_keys_among_many),
      cmocka_unit_test(reaches_the_depth_limit),   cmocka_unit_test(reaches_the_size_limit),
      cmocka_unit_test(shows_types_beyond_json),   cmocka_unit_test(leaves_the_buffer_when_it_fails),
      cmocka_unit_test(escapes_at_every_offset),   cmocka_unit_test(survives_deep_bytes),
      cmocka_unit_test(survives_damaged_bytes),    cmocka_unit_test(reads_back_every_double),
      cmocka_unit_test(writes_the_same_both_ways), cmocka_unit_test(heeds_no_locale),
      cmocka_unit_test(agrees_with_jansson),       cmocka_unit_test(reads_back_what_it_writes),
  };
  return cmocka_run_group_tests_name("model json", tests, NULL, NULL);
}
