/* Equality, difference, patch, and values at a pointer. */
#include <math.h>

#include "base/arena.h"
#include "helpers.h"

static bool equal(const char *left, const char *right, const aon_comparison *how) {
  bson_t *a = document_of(left), *b = document_of(right);
  bool one_way = aon_document_equal(a, b, how);
  assert_int_equal(one_way, aon_document_equal(b, a, how));
  drop(a);
  drop(b);
  return one_way;
}

static void compares_by_value(void **state) {
  (void)state;
  assert_true(equal("{\"a\":1,\"b\":{\"x\":[1.0,2],\"y\":null}}", "{\"b\":{\"y\":null,\"x\":[1,2.0]},\"a\":1.0}", NULL));
  assert_true(equal("{\"a\":0.0}", "{\"a\":-0.0}", NULL));
  assert_false(equal("{\"a\":null}", "{}", NULL));
  assert_false(equal("{\"a\":null}", "{\"b\":null}", NULL));
  assert_false(equal("{\"a\":[1,2]}", "{\"a\":[2,1]}", NULL));
  assert_false(equal("{\"a\":[1,2]}", "{\"a\":[1,2,3]}", NULL));
  assert_false(equal("{\"a\":1}", "{\"a\":true}", NULL));
  assert_false(equal("{\"a\":\"1\"}", "{\"a\":1}", NULL));
  assert_false(equal("{\"a\":{}}", "{\"a\":[]}", NULL));
  assert_false(equal("{\"a\":\"x\"}", "{\"a\":\"x\\u0000\"}", NULL));
  assert_false(equal("{\"a\":\"x\\u0000y\"}", "{\"a\":\"x\\u0000z\"}", NULL));
}

static void compares_numbers_exactly(void **state) {
  (void)state;
  assert_true(equal("{\"a\":9007199254740992}", "{\"a\":9007199254740992.0}", NULL));
  assert_false(equal("{\"a\":9007199254740993}", "{\"a\":9007199254740992.0}", NULL));
  assert_false(equal("{\"a\":9223372036854775807}", "{\"a\":9223372036854775808.0}", NULL));
  assert_true(equal("{\"a\":-9223372036854775808}", "{\"a\":-9223372036854775808.0}", NULL));
  assert_false(equal("{\"a\":1}", "{\"a\":1.5}", NULL));
  bson_t a = BSON_INITIALIZER, b = BSON_INITIALIZER;
  bson_append_int32(&a, "i", -1, 7);
  bson_append_double(&a, "n", -1, NAN);
  bson_append_int64(&b, "i", -1, 7);
  bson_append_double(&b, "n", -1, -NAN);
  assert_true(aon_document_equal(&a, &b, NULL));
  bson_destroy(&a);
  bson_destroy(&b);
}

/* libbson's own copy of code ends at the first NUL in it. */
static void compares_code_whole(void **state) {
  (void)state;
  static const uint8_t left[] = "\x10\0\0\0\x0d"
                                "a\0\4\0\0\0x\0y\0",
                       right[] = "\x10\0\0\0\x0d"
                                 "a\0\4\0\0\0x\0z\0";
  bson_t a, b;
  assert_true(bson_init_static(&a, left, sizeof left) && bson_init_static(&b, right, sizeof right));
  assert_true(aon_document_equal(&a, &a, NULL));
  assert_false(aon_document_equal(&a, &b, NULL));
}

static void compares_types_beyond_json(void **state) {
  (void)state;
  bson_t documents[8];
  bson_oid_t oid;
  bson_decimal128_t decimal;
  bson_oid_init_from_string(&oid, "0123456789abcdef01234567");
  assert_true(bson_decimal128_from_string("1.5", &decimal));
  for (size_t i = 0; i < 8; i++)
    bson_init(&documents[i]);
  bson_append_date_time(&documents[0], "a", -1, 5);
  bson_append_int64(&documents[1], "a", -1, 5);
  bson_append_oid(&documents[2], "a", -1, &oid);
  bson_append_utf8(&documents[3], "a", -1, "0123456789abcdef01234567", -1);
  bson_append_binary(&documents[4], "a", -1, BSON_SUBTYPE_BINARY, (const uint8_t *)"x", 1);
  bson_append_binary(&documents[5], "a", -1, BSON_SUBTYPE_USER, (const uint8_t *)"x", 1);
  bson_append_decimal128(&documents[6], "a", -1, &decimal);
  bson_append_timestamp(&documents[7], "a", -1, 1, 2);
  for (size_t i = 0; i < 8; i++)
    for (size_t j = 0; j < 8; j++) {
      bson_t *copy = bson_copy(&documents[j]);
      bson_append_null(copy, "z", -1); /* another place in memory, and not the same bytes as a whole */
      bson_t *other = bson_copy(&documents[i]);
      bson_append_null(other, "z", -1);
      assert_int_equal(aon_document_equal(other, copy, NULL), i == j);
      bson_destroy(copy);
      bson_destroy(other);
    }
  for (size_t i = 0; i < 8; i++)
    bson_destroy(&documents[i]);
}

static void leaves_out_stamps_and_volatiles(void **state) {
  (void)state;
  static const char *const stamps[] = {"updatedAt", NULL}, *const volatiles[] = {"lastLogin", NULL};
  const aon_comparison how = {.stamps = stamps, .volatiles = volatiles};
  assert_true(equal("{\"a\":1,\"updatedAt\":1}", "{\"lastLogin\":2,\"a\":1}", &how));
  assert_true(equal("{\"a\":1}", "{\"a\":1,\"_bulkOperationId\":\"x\"}", &how));
  assert_false(equal("{\"a\":1}", "{\"a\":1,\"_bulkOperationId\":\"x\"}", NULL));
  assert_false(equal("{\"a\":1,\"updatedAt\":1}", "{\"a\":1,\"updatedAt\":2}", NULL));
  assert_false(equal("{\"o\":{\"updatedAt\":1}}", "{\"o\":{\"updatedAt\":2}}", &how));
}

static void compares_sets_without_order(void **state) {
  (void)state;
  static const char *const sets[] = {"/ids", "/o/x~1y", "names", NULL};
  const aon_comparison how = {.sets = sets};
  assert_true(equal("{\"ids\":[1,\"a\",{\"x\":1,\"y\":2}]}", "{\"ids\":[{\"y\":2.0,\"x\":1},1.0,\"a\"]}", &how));
  assert_true(equal("{\"o\":{\"x/y\":[1,2]},\"names\":[\"b\",\"a\"]}", "{\"o\":{\"x/y\":[2,1]},\"names\":[\"a\",\"b\"]}", &how));
  assert_false(equal("{\"o\":{\"ids\":[1,2]}}", "{\"o\":{\"ids\":[2,1]}}", &how));
  assert_false(equal("{\"o\":{\"names\":[1,2]}}", "{\"o\":{\"names\":[2,1]}}", &how));
  assert_false(equal("{\"ids\":[1,1,2]}", "{\"ids\":[1,2,2]}", &how));
  assert_false(equal("{\"ids\":[1]}", "{\"ids\":[1,1]}", &how));
  assert_false(equal("{\"ids\":[]}", "{}", &how));
  assert_true(equal("{\"ids\":[[1,2],[2,1],true]}", "{\"ids\":[true,[2,1],[1,2]]}", &how));
  assert_false(equal("{\"ids\":[[1,2]]}", "{\"ids\":[[2,1]]}", &how));
}

static bson_t *set_of(void (*append)(bson_t *, const char *, int), const int *values, size_t count) {
  bson_t *document = bson_new(), array;
  static const char *const keys[] = {"0", "1", "2", "3"};
  bson_append_array_begin(document, "ids", -1, &array);
  for (size_t i = 0; i < count; i++)
    append(&array, keys[i], values[i]);
  bson_append_array_end(document, &array);
  return document;
}

static void append_instant(bson_t *array, const char *key, int value) { bson_append_date_time(array, key, -1, value); }

static void append_id(bson_t *array, const char *key, int value) {
  bson_oid_t oid = {{0}};
  oid.bytes[11] = (uint8_t)value;
  bson_append_oid(array, key, -1, &oid);
}

static void append_timestamp(bson_t *array, const char *key, int value) { bson_append_timestamp(array, key, -1, (uint32_t)value, 0); }

/* Elements of other types, some of which can't be told apart but by comparing each with each. */
static void compares_sets_of_other_types(void **state) {
  (void)state;
  static const char *const sets[] = {"/ids", NULL};
  const aon_comparison how = {.sets = sets};
  void (*const types[])(bson_t *, const char *, int) = {append_instant, append_id, append_timestamp};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    bson_t *a = set_of(types[i], (const int[]){1, 2, 2, 3}, 4), *same = set_of(types[i], (const int[]){2, 3, 2, 1}, 4);
    bson_t *other = set_of(types[i], (const int[]){1, 3, 3, 2}, 4), *third = set_of(types[i], (const int[]){1, 4, 4, 5}, 4);
    assert_true(aon_document_equal(a, same, &how));
    assert_false(aon_document_equal(a, other, &how));
    assert_false(aon_document_equal(a, third, &how));
    bson_destroy(a);
    bson_destroy(same);
    bson_destroy(other);
    bson_destroy(third);
  }
}

/* As many members as an index document of a large organization has, in another order: linear, or this would not come back. */
static void compares_wide_documents(void **state) {
  (void)state;
  enum { MEMBERS = 30000 };
  static const char *const sets[] = {"/ids", NULL};
  const aon_comparison how = {.sets = sets};
  bson_t a = BSON_INITIALIZER, b = BSON_INITIALIZER, ids_a, ids_b;
  char key[16];
  bson_append_array_begin(&a, "ids", -1, &ids_a);
  bson_append_array_begin(&b, "ids", -1, &ids_b);
  for (int i = 0; i < MEMBERS; i++) {
    snprintf(key, sizeof key, "%d", i);
    bson_append_int32(&ids_a, key, -1, i % 7 ? i : 1);
    bson_append_int64(&ids_b, key, -1, (MEMBERS - 1 - i) % 7 ? MEMBERS - 1 - i : 1);
  }
  bson_append_array_end(&a, &ids_a);
  bson_append_array_end(&b, &ids_b);
  for (int i = 0; i < MEMBERS; i++) {
    snprintf(key, sizeof key, "k%d", i);
    bson_append_int32(&a, key, -1, i);
    snprintf(key, sizeof key, "k%d", MEMBERS - 1 - i);
    bson_append_double(&b, key, -1, MEMBERS - 1 - i);
  }
  assert_true(aon_document_equal(&a, &b, &how));
  assert_false(aon_document_equal(&a, &b, NULL));
  bson_destroy(&a);
  bson_destroy(&b);
}

static void equality_agrees_with_itself(void **state) {
  (void)state;
  uint64_t seed = 21;
  for (int i = 0; i < 3000; i++) {
    bson_t *a = random_document(&seed, false), *b = random_document(&seed, false);
    assert_true(aon_document_equal(a, a, NULL));
    assert_int_equal(aon_document_equal(a, b, NULL), aon_document_equal(b, a, NULL));
    drop(a);
    drop(b);
  }
}

/* Difference */

static aon_result write_change(void *context, const char *path, const bson_iter_t *before, const bson_iter_t *after, aon_error *error) {
  aon_buffer *out = context;
  aon_result result = aon_buffer_format(out, error, "%s%s ", out->length ? "; " : "", path);
  if (!result)
    result = before ? aon_value_to_json(before, out, error) : aon_buffer_text(out, "-", error);
  if (!result)
    result = aon_buffer_text(out, ">", error);
  return result ? result : after ? aon_value_to_json(after, out, error) : aon_buffer_text(out, "-", error);
}

static void differs(const char *left, const char *right, const char *expected) {
  bson_t *a = left ? document_of(left) : NULL, *b = right ? document_of(right) : NULL;
  aon_buffer out = {0};
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(aon_buffer_text(&out, "", &error), AON_OK);
  assert_int_equal(aon_document_difference(a, b, write_change, &out, &error), AON_OK);
  assert_string_equal(out.data, expected);
  aon_buffer_release(&out);
  if (a)
    drop(a);
  if (b)
    drop(b);
}

static void names_changed_leaves(void **state) {
  (void)state;
  differs("{\"a\":1,\"b\":{\"x\":1,\"y\":2}}", "{\"b\":{\"y\":3,\"x\":1.0},\"a\":1}", "/b/y 2>3");
  differs("{\"a\":1}", "{\"b\":null}", "/a 1>-; /b ->null");
  differs("{\"a\":[1,2]}", "{\"a\":[1,3]}", "/a [1,2]>[1,3]");
  differs("{\"a\":{\"x\":{\"y\":1},\"z\":2}}", "{}", "/a/x/y 1>-; /a/z 2>-");
  differs("{}", "{\"a\":{\"x\":1,\"e\":{}}}", "/a/x ->1; /a/e ->{}");
  differs("{\"a\":{}}", "{}", "/a {}>-");
  differs("{\"a\":{}}", "{\"a\":{\"x\":1}}", "/a/x ->1");
  differs("{\"a\":{\"x\":1}}", "{\"a\":5}", "/a {\"x\":1}>5");
  differs("{\"a/b\":{\"c~d\":1}}", "{\"a/b\":{\"c~d\":2}}", "/a~1b/c~0d 1>2");
  differs("{\"\":1}", "{\"\":2}", "/ 1>2");
  differs(NULL, "{\"a\":1,\"b\":{\"x\":[]}}", "/a ->1; /b/x ->[]");
  differs("{\"a\":1,\"b\":{}}", NULL, "/a 1>-; /b {}>-");
  differs(NULL, NULL, "");
}

typedef struct heard {
  const bson_t *before, *after;
  int count, stop_at;
} heard;

static aon_result check_change(void *context, const char *path, const bson_iter_t *before, const bson_iter_t *after, aon_error *error) {
  heard *h = context;
  bson_iter_t at;
  (void)error;
  h->count++;
  assert_int_equal(before != NULL, aon_document_at(h->before, path, &at));
  if (before)
    assert_true(aon_value_equal(before, &at));
  assert_int_equal(after != NULL, aon_document_at(h->after, path, &at));
  if (after)
    assert_true(aon_value_equal(after, &at));
  return h->count == h->stop_at ? AON_END : AON_OK;
}

static void difference_is_empty_only_if_equal(void **state) {
  (void)state;
  uint64_t seed = 31;
  aon_error error = AON_ERROR_INIT;
  for (int i = 0; i < 3000; i++) {
    heard h = {.before = random_document(&seed, false), .after = random_document(&seed, false)};
    assert_int_equal(aon_document_difference(h.before, h.after, check_change, &h, &error), AON_OK);
    /* An object without members that is missing on the other side is told, so this holds both ways. */
    assert_int_equal(h.count == 0, aon_document_equal(h.before, h.after, NULL));
    if (h.count > 1) {
      h = (heard){.before = h.before, .after = h.after, .stop_at = 1};
      assert_int_equal(aon_document_difference(h.before, h.after, check_change, &h, &error), AON_OK);
      assert_int_equal(h.count, 1);
    }
    drop((bson_t *)(uintptr_t)h.before);
    drop((bson_t *)(uintptr_t)h.after);
  }
}

static aon_result fail_change(void *context, const char *path, const bson_iter_t *before, const bson_iter_t *after, aon_error *error) {
  (void)context;
  (void)path;
  (void)before;
  (void)after;
  return aon_fail(error, AON_CANCELLED, "cancelled", "Stopped.");
}

static void difference_hands_failures_on(void **state) {
  (void)state;
  bson_t *a = document_of("{\"a\":{\"b\":1}}"), *b = document_of("{}");
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(aon_document_difference(a, b, fail_change, NULL, &error), AON_CANCELLED);
  assert_int_equal(aon_document_difference(b, a, fail_change, NULL, &error), AON_CANCELLED);
  drop(a);
  drop(b);
}

/* Patch */

static void patches(const char *target, const char *patch, const char *expected) {
  bson_t *old = document_of(target), *change = document_of(patch), result;
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(aon_document_patch(old, change, &result, &error), AON_OK);
  assert_document(&result, expected);
  bson_destroy(&result);
  drop(old);
  drop(change);
}

static void patches_as_rfc_7396_shows(void **state) {
  (void)state;
  patches("{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}");
  patches("{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}");
  patches("{\"a\":\"b\"}", "{\"a\":null}", "{}");
  patches("{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}");
  patches("{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}");
  patches("{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}");
  patches("{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}");
  patches("{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}");
  patches("{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}");
  patches("{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}");
  patches("{\"a\":5}", "{\"a\":{\"x\":null,\"y\":1}}", "{\"a\":{\"y\":1}}");
  patches("{\"a\":1}", "{\"a\":[null,{\"x\":null}]}", "{\"a\":[null,{\"x\":null}]}");
  patches("{\"a\":{\"x\":1}}", "{\"a\":{}}", "{\"a\":{\"x\":1}}");
}

static void patch_reaches_the_size_limit(void **state) {
  (void)state;
  char *half = malloc(AON_DOCUMENT_BYTES_LIMIT / 2);
  assert_non_null(half);
  memset(half, 'x', AON_DOCUMENT_BYTES_LIMIT / 2);
  bson_t a = BSON_INITIALIZER, b = BSON_INITIALIZER, result;
  bson_append_utf8(&a, "a", -1, half, AON_DOCUMENT_BYTES_LIMIT / 2);
  bson_append_utf8(&b, "b", -1, half, AON_DOCUMENT_BYTES_LIMIT / 2);
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(aon_document_patch(&a, &b, &result, &error), AON_REJECTED);
  assert_string_equal(error.code, "too_long");
  bson_destroy(&result);
  bson_destroy(&a);
  bson_destroy(&b);
  free(half);
}

static void finds_values_by_pointer(void **state) {
  (void)state;
  static const char *const there[][2] = {{"/a/b", "1"},  {"/l/0", "\"x\""}, {"/l/1/k", "2"},     {"/m~1n", "3"},
                                         {"/o~0p", "4"}, {"/", "5"},        {"/a", "{\"b\":1}"}, {"/q~01", "6"}};
  static const char *const nowhere[] = {"", "a", "/x", "/a/b/c", "/l/2", "/l/-", "/l/00", "/m/n", "/o~p", "/o~2p", "/a/", "/o~"};
  bson_t *document = document_of("{\"a\":{\"b\":1},\"l\":[\"x\",{\"k\":2}],\"m/n\":3,\"o~p\":4,\"\":5,\"q~1\":6}");
  bson_iter_t value;
  aon_error error;
  for (size_t i = 0; i < sizeof there / sizeof *there; i++) {
    aon_buffer out = {0};
    assert_true(aon_document_at(document, there[i][0], &value));
    assert_int_equal(aon_value_to_json(&value, &out, &error), AON_OK);
    assert_string_equal(out.data, there[i][1]);
    aon_buffer_release(&out);
  }
  for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++)
    assert_false(aon_document_at(document, nowhere[i], &value));
  static const char *const names[] = {"password", "a", NULL}, *const others[] = {"b", "k", NULL};
  assert_true(aon_document_holds(document, names));
  assert_false(aon_document_holds(document, others));
  assert_false(aon_document_holds(document, NULL));
  drop(document);
}

static void copies_images(void **state) {
  (void)state;
  bson_t *document = document_of("{\"a\":1}"), view;
  aon_arena arena = {0};
  aon_image image;
  aon_error error;
  assert_int_equal(aon_image_from(document, &arena, &image, &error), AON_OK);
  drop(document);
  assert_true(aon_image_view(&image, &view));
  assert_document(&view, "{\"a\":1}");
  assert_null(image.token);
  image.bson_length--;
  assert_false(aon_image_view(&image, &view));
  assert_false(aon_image_view(&(aon_image){0}, &view));
  aon_arena_release(&arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(compares_by_value),
      cmocka_unit_test(compares_numbers_exactly),
      cmocka_unit_test(compares_code_whole),
      cmocka_unit_test(compares_types_beyond_json),
      cmocka_unit_test(leaves_out_stamps_and_volatiles),
      cmocka_unit_test(compares_sets_without_order),
      cmocka_unit_test(compares_sets_of_other_types),
      cmocka_unit_test(compares_wide_documents),
      cmocka_unit_test(equality_agrees_with_itself),
      cmocka_unit_test(names_changed_leaves),
      cmocka_unit_test(difference_is_empty_only_if_equal),
      cmocka_unit_test(difference_hands_failures_on),
      cmocka_unit_test(patches_as_rfc_7396_shows),
      cmocka_unit_test(patch_reaches_the_size_limit),
      cmocka_unit_test(finds_values_by_pointer),
      cmocka_unit_test(copies_images),
  };
  return cmocka_run_group_tests_name("model compare", tests, NULL, NULL);
}
