/* What stands at the limits: documents nested deeper than we make them, or larger than one may be; doubled members; elements that only
 * comparing tells apart; kinds of values without a text; names of nothing. */
#include <math.h>

#include "helpers.h"
#include "model/members.h"
#include "model/problems.h"
#include "model/state.h"
#include "model/text.h"

/* {"o":{"o":… {"a":first,"b":second}}}: what stands inside is beyond the limit. */
static bson_t *deep_document(int depth, const char *inner) {
  bson_t *all = document_of(inner);
  for (int i = 0; i < depth; i++) {
    bson_t *outer = document_of("{}");
    assert_true(BSON_APPEND_DOCUMENT(outer, "o", all));
    drop(all);
    all = outer;
  }
  return all;
}

static aon_result count_difference(void *context, const char *path, const bson_iter_t *before, const bson_iter_t *after, aon_error *error) {
  (void)error;
  assert_true(before && after);
  assert_int_equal(strlen(path), 2 * AON_DOCUMENT_DEPTH_LIMIT);
  ++*(int *)context;
  return AON_OK;
}

/* Beyond the limit bytes are compared, so what is the same in another order is told as different: never the other way round. */
static void beyond_the_depth(void **state) {
  (void)state;
  bson_t *one = deep_document(150, "{\"a\":1,\"b\":2}"), *same = deep_document(150, "{\"a\":1,\"b\":2}"),
         *other = deep_document(150, "{\"b\":2,\"a\":1}"), *third = deep_document(150, "{\"a\":1,\"b\":3}"), result;
  aon_error error = AON_ERROR_INIT;
  size_t conflicts = 0;
  int differences = 0;
  assert_true(aon_document_equal(one, same, NULL));
  assert_false(aon_document_equal(one, other, NULL));
  assert_int_equal(aon_document_difference(one, other, count_difference, &differences, &error), AON_OK);
  assert_int_equal(differences, 1); /* of the value at the limit, as a whole */
  assert_int_equal(aon_document_merge(one, other, third, NULL, &result, &conflicts, NULL, NULL, &error), AON_OK);
  assert_int_equal(conflicts, 1); /* theirs stays */
  assert_true(aon_document_equal(&result, third, NULL));
  bson_destroy(&result);
  bson_t *empty = document_of("{}");
  assert_int_equal(aon_document_patch(empty, one, &result, &error), AON_REJECTED);
  assert_string_equal(error.code, "too_deep");
  bson_destroy(&result);
  drop(empty);
  drop(one);
  drop(same);
  drop(other);
  drop(third);
}

static void equal_at(const char *left, const char *right, bool wanted) {
  static const char *const sets[] = {"/s", NULL};
  static const aon_comparison how = {.sets = sets};
  bson_t *a = document_of(left), *b = document_of(right);
  if (aon_document_equal(a, b, &how) != wanted || aon_document_equal(b, a, &how) != wanted)
    fail_msg("%s and %s", left, right);
  drop(a);
  drop(b);
}

/* Truths have one hash, whichever they are: only counting tells such sets apart. */
static void sets_of_one_hash(void **state) {
  (void)state;
  equal_at("{\"s\":[true,false,true]}", "{\"s\":[true,true,false]}", true);
  equal_at("{\"s\":[true,false,false]}", "{\"s\":[true,true,false]}", false);
  equal_at("{\"s\":[true,true]}", "{\"s\":[false,false]}", false);
  equal_at("{\"s\":[1e300,-1e300,0.5]}", "{\"s\":[0.5,1e300,-1e300]}", true);
  equal_at("{\"s\":[1e300]}", "{\"s\":[2e300]}", false);
  bson_t a = BSON_INITIALIZER, b = BSON_INITIALIZER, list;
  BSON_APPEND_ARRAY_BEGIN(&a, "s", &list);
  bson_append_double(&list, "0", 1, NAN);
  bson_append_double(&list, "1", 1, 1);
  bson_append_array_end(&a, &list);
  BSON_APPEND_ARRAY_BEGIN(&b, "s", &list);
  bson_append_int32(&list, "0", 1, 1);
  bson_append_double(&list, "1", 1, -NAN);
  bson_append_array_end(&b, &list);
  static const char *const sets[] = {"/s", NULL};
  static const aon_comparison how = {.sets = sets};
  assert_true(aon_document_equal(&a, &b, &how));
  assert_false(aon_document_equal(&a, &b, NULL)); /* as lists they differ: 1 is not NaN */
  bson_destroy(&a);
  bson_destroy(&b);
}

/* Three decimals, of one hash too: the first stands as often in both, the others don't. */
static void sets_of_decimals(void **state) {
  (void)state;
  static const char *const left[] = {"1.5", "2.5", "2.5", "3.5"}, *const right[] = {"1.5", "2.5", "3.5", "3.5"};
  static const char *const sets[] = {"/s", NULL};
  static const aon_comparison how = {.sets = sets};
  bson_t documents[3], list;
  for (int d = 0; d < 3; d++) {
    bson_init(&documents[d]);
    BSON_APPEND_ARRAY_BEGIN(&documents[d], "s", &list);
    for (int i = 0; i < 4; i++) {
      bson_decimal128_t decimal;
      char key[2] = {(char)('0' + i), 0};
      assert_true(bson_decimal128_from_string(d == 0 ? left[i] : d == 1 ? right[i] : left[(i + 1) % 4], &decimal));
      bson_append_decimal128(&list, key, 1, &decimal);
    }
    bson_append_array_end(&documents[d], &list);
  }
  assert_false(aon_document_equal(&documents[0], &documents[1], &how));
  assert_false(aon_document_equal(&documents[1], &documents[0], &how));
  assert_true(aon_document_equal(&documents[0], &documents[2], &how));
  for (int d = 0; d < 3; d++)
    bson_destroy(&documents[d]);
}

static void elements_beyond_the_depth(void **state) {
  (void)state;
  bson_t a = BSON_INITIALIZER, list, *deep = deep_document(150, "{\"a\":1}");
  BSON_APPEND_ARRAY_BEGIN(&a, "s", &list);
  assert_true(bson_append_document(&list, "0", 1, deep) && bson_append_int32(&list, "1", 1, 7));
  bson_append_array_end(&a, &list);
  bson_t b = BSON_INITIALIZER;
  BSON_APPEND_ARRAY_BEGIN(&b, "s", &list);
  assert_true(bson_append_int32(&list, "0", 1, 7) && bson_append_document(&list, "1", 1, deep));
  bson_append_array_end(&b, &list);
  static const char *const sets[] = {"/s", NULL};
  static const aon_comparison how = {.sets = sets};
  assert_true(aon_document_equal(&a, &b, &how));
  bson_destroy(&a);
  bson_destroy(&b);
  drop(deep);
}

static void lists_beyond_the_depth(void **state) {
  (void)state;
  bson_t *one = document_of("{\"0\":1}");
  for (int i = 0; i < 150; i++) {
    bson_t *outer = document_of("{}");
    assert_true(BSON_APPEND_ARRAY(outer, "0", one));
    drop(one);
    one = outer;
  }
  bson_t a = BSON_INITIALIZER, b = BSON_INITIALIZER, list;
  BSON_APPEND_ARRAY_BEGIN(&a, "s", &list);
  assert_true(bson_append_array(&list, "0", 1, one) && bson_append_int32(&list, "1", 1, 7));
  bson_append_array_end(&a, &list);
  BSON_APPEND_ARRAY_BEGIN(&b, "s", &list);
  assert_true(bson_append_int32(&list, "0", 1, 7) && bson_append_array(&list, "1", 1, one));
  bson_append_array_end(&b, &list);
  static const char *const sets[] = {"/s", NULL};
  assert_true(aon_document_equal(&a, &b, &(aon_comparison){.sets = sets}));
  bson_destroy(&a);
  bson_destroy(&b);
  drop(one);
}

static void numbers_that_are_none(void **state) {
  (void)state;
  bson_t a = BSON_INITIALIZER, b = BSON_INITIALIZER;
  bson_append_double(&a, "n", -1, NAN);
  bson_append_double(&b, "n", -1, 1.5);
  assert_false(aon_document_equal(&a, &b, NULL));
  assert_false(aon_document_equal(&b, &a, NULL));
  bson_reinit(&a);
  bson_reinit(&b);
  bson_append_regex(&a, "r", -1, "a.*", "");
  bson_append_regex(&b, "r", -1, "a.*b", "");
  assert_false(aon_document_equal(&a, &b, NULL));
  bson_destroy(&a);
  bson_destroy(&b);
}

/* A member that stands twice: the first one counts, also where an index is made. */
static void doubled_members(void **state) {
  (void)state;
  bson_t a = BSON_INITIALIZER;
  for (int i = 0; i < 40; i++) {
    char key[8];
    snprintf(key, sizeof key, "k%d", i % 30);
    BSON_APPEND_INT32(&a, key, i);
  }
  bson_iter_t found;
  AON_MEMBERS_CLEANUP aon_members members = {0};
  aon_members_open_document(&members, &a);
  assert_true(aon_members_find(&members, "k29", &found)); /* out of step: an index is made */
  assert_true(aon_members_find(&members, "k3", &found));
  assert_int_equal(bson_iter_int32(&found), 3);
  assert_false(aon_members_find(&members, "zz", &found)); /* behind them all */
  assert_false(aon_members_find(&members, "a", &found));
  assert_false(aon_members_find(&members, "k299", &found));
  bson_destroy(&a);
}

static void a_place_that_is_none(void **state) {
  (void)state;
  static const char *const names[] = {"/a", "b", NULL};
  static const aon_comparison how = {.sets = names, .volatiles = names, .stamps = names};
  const aon_place member = {NULL, "b"};
  assert_false(aon_place_is(NULL, "/a")); /* the document itself is no member */
  assert_false(aon_place_is_set(NULL, &how));
  assert_false(aon_place_is_stamp(NULL, &how));
  assert_false(aon_place_is_volatile(NULL, &how));
  assert_false(aon_place_is_set(&member, NULL));
  assert_true(aon_place_is_set(&member, &how) && aon_place_is_stamp(&member, &how) && aon_place_is_volatile(&member, &how));
}

/* ---- texts ---- */

static void refused(const char *json, size_t length, const char *code) {
  bson_t document;
  aon_error error = AON_ERROR_INIT;
  aon_result result = aon_document_from_json(json, length, &document, &error);
  if (result != AON_REJECTED || strcmp(error.code, code))
    fail_msg("%.40s: %s %s, not %s", json, aon_result_name(result), error.code, code);
  bson_destroy(&document);
}

static void beyond_the_size(void **state) {
  (void)state;
  size_t limit = AON_DOCUMENT_BYTES_LIMIT;
  char *json = malloc(limit + 100);
  assert_non_null(json);
  static const char *const heads[] = {"{\"a\":\"", "{\""}, *const tails[] = {"\"}", "\":1}"};
  for (int key = 0; key < 2; key++)
    for (int less = 3; less >= -3; less -= 3) { /* around the limit of the one text, and of the document */
      size_t head = strlen(heads[key]), length = (size_t)((long)limit - less);
      memcpy(json, heads[key], head);
      memset(json + head, 'x', length);
      strcpy(json + head + length, tails[key]);
      refused(json, head + length + strlen(tails[key]), "too_long");
    }
  free(json);
}

/* The key that a sentence shows is cut between characters. */
static void a_long_key_stands_twice(void **state) {
  (void)state;
  char key[200] = "", json[500];
  for (int i = 0; i < 40; i++)
    strcat(key, i == 0 ? "x" : "é");
  snprintf(json, sizeof json, "{\"%s\":1,\"%s\":2}", key, key);
  bson_t document;
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(aon_document_from_json(json, strlen(json), &document, &error), AON_REJECTED);
  assert_string_equal(error.code, "bad_json");
  assert_non_null(strstr(error.sentence, "stands twice"));
  assert_non_null(strstr(error.sentence, "éé\""));
  bson_destroy(&document);
}

static void a_kind_without_a_text(void **state) {
  (void)state;
  bson_t document = BSON_INITIALIZER;
  bson_oid_t oid = {{0}};
  aon_error error = AON_ERROR_INIT;
  aon_buffer out = {0};
  BSON_APPEND_DBPOINTER(&document, "p", "collection", &oid);
  assert_int_equal(aon_document_to_json(&document, &out, &error), AON_REJECTED);
  assert_string_equal(error.code, "bad_type");
  assert_non_null(strstr(error.sentence, "BSON type 12"));
  assert_string_equal(out.data, "");
  aon_buffer_release(&out);
  bson_destroy(&document);
}

static void names_at_the_limit(void **state) {
  (void)state;
  char longest[130];
  memset(longest, 'x', sizeof longest - 1);
  longest[129] = 0;
  assert_int_equal(aon_text_distance(longest + 1, longest, 5), 6); /* no misspelt names any more */
  assert_int_equal(aon_text_distance(longest, longest + 1, 5), 6);
  assert_int_equal(aon_text_distance(longest, longest, 5), 0);
  assert_int_equal(aon_text_distance(longest + 1, longest + 2, 5), 1);
  aon_text parts[1];
  bool fits = true;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(aon_id_split((aon_text){"a", 1}, 0, &arena, parts, &fits, &error), AON_OK);
  assert_false(fits); /* an id of no parts is none */
}

static void states_that_are_none(void **state) {
  (void)state;
  assert_string_equal(aon_state_name((aon_state)AON_STATE_COUNT), "invalid");
  assert_string_equal(aon_state_name((aon_state)-1), "invalid");
  assert_false(aon_state_terminal((aon_state)AON_STATE_COUNT));
}

/* ---- problems ---- */

static void problems_of_no_sheet(void **state) {
  (void)state;
  static const struct {
    const char *sheet, *sentence;
  } added[] = {{NULL, "a"}, {"Users", "e"}, {NULL, "b"}, {"Sites", "g"}, {"Users", "f"}, {NULL, "c"}, {NULL, NULL}};
  static const char *const sorted[] = {"a", "b", "c", NULL, "e", "f", "g"};
  aon_problems problems = {0};
  aon_error error = AON_ERROR_INIT;
  for (size_t i = 0; i < sizeof added / sizeof *added; i++) {
    aon_problem problem = {
        .severity = AON_PROBLEM_ERROR, .sheet = added[i].sheet, .code = "c", .sentence = added[i].sentence, .row = 1, .column = 1};
    assert_int_equal(aon_problems_add(&problems, &problem, &error), AON_OK);
  }
  aon_problems_sort(&problems);
  for (size_t i = 0; i < problems.errors_kept; i++)
    if (sorted[i])
      assert_string_equal(problems.errors[i].sentence, sorted[i]);
    else
      assert_null(problems.errors[i].sentence);
  aon_problems_release(&problems);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(beyond_the_depth),          cmocka_unit_test(sets_of_one_hash),       cmocka_unit_test(sets_of_decimals),
      cmocka_unit_test(elements_beyond_the_depth), cmocka_unit_test(lists_beyond_the_depth), cmocka_unit_test(numbers_that_are_none),
      cmocka_unit_test(doubled_members),           cmocka_unit_test(a_place_that_is_none),   cmocka_unit_test(beyond_the_size),
      cmocka_unit_test(a_long_key_stands_twice),   cmocka_unit_test(a_kind_without_a_text),  cmocka_unit_test(names_at_the_limit),
      cmocka_unit_test(states_that_are_none),      cmocka_unit_test(problems_of_no_sheet)};
  return cmocka_run_group_tests_name("model limits", tests, NULL, NULL);
}
