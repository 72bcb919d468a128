/* The n-th piece of memory fails, in each thing that can be done with documents: it is said, nothing is half made, and the next try is as
 * the first one was. */
#include "calls.h"
#include "helpers.h"
#include "model/problems.h"
#include "model/text.h"

#define FIRST                                                                                                                                                    \
  "{\"a\":1,\"b\":-2.5,\"c\":\"t\\u00e9xt\\n\\ud83d\\ude00\",\"d\":[1,[2,{\"e\":null}],\"x\"],\"o\":{\"p\":{\"q\":true},\"ids\":[1,2,3]},\"ids\":[\"u\",\"v\"]," \
  "\"big\":9007199254740993,\"updatedAt\":1}"
#define SECOND                                                                                                                             \
  "{\"a\":2,\"c\":null,\"d\":[1],\"o\":{\"p\":{\"q\":false,\"r\":{}},\"ids\":[1,2,3,4]},\"ids\":[\"u\",\"v\",\"w\"],\"n\":{\"m\":[{\"l\":1}]},\"updatedAt\":2}"
#define THIRD                                                                                                                                                             \
  "{\"a\":3,\"c\":null,\"d\":[1],\"o\":{\"p\":{\"q\":false,\"r\":{},\"s\":7},\"ids\":[4,3,2,1,9]},\"ids\":[\"w\",\"u\",\"x\"],\"n\":{\"m\":[{\"l\":1}]},\"t\":{\"u\":1}," \
  "\"updatedAt\":3}"

static bson_t *first, *second, *third; /* made once: what is tried is not the making of them */

static aon_result hear_path(void *context, const char *path, aon_error *error) { return aon_buffer_format(context, error, "%s ", path); }

static aon_result hear_change(void *context, const char *path, const bson_iter_t *before, const bson_iter_t *after, aon_error *error) {
  aon_result result = aon_buffer_format(context, error, "%s ", path);
  if (!result && before)
    result = aon_value_to_json(before, context, error);
  return result || !after ? result : aon_value_to_json(after, context, error);
}

static aon_result as_text(bson_t *document, aon_result result, aon_buffer *out, aon_error *error) {
  if (result)
    return result;
  result = aon_document_to_json(document, out, error);
  bson_destroy(document);
  return result;
}

static aon_result read_text(aon_buffer *out, aon_error *error) {
  bson_t document;
  return as_text(&document, aon_document_from_json(FIRST, strlen(FIRST), &document, error), out, error);
}

/* More than a reader has room for at first, nested and with many keys. */
static aon_result read_large(aon_buffer *out, aon_error *error) {
  static char text[40000];
  size_t length = 0;
  for (int i = 0; i < 400; i++)
    length += (size_t)snprintf(text + length, sizeof text - length, "%s\"key %d\":{\"list\":[%d,\"text\"],\"o\":{}}", i ? "," : "{", i, i);
  snprintf(text + length, sizeof text - length, "}");
  bson_t document;
  return as_text(&document, aon_document_from_json(text, strlen(text), &document, error), out, error);
}

static aon_result patch(aon_buffer *out, aon_error *error) {
  bson_t document;
  return as_text(&document, aon_document_patch(first, second, &document, error), out, error);
}

static aon_result merge(aon_buffer *out, aon_error *error) {
  static const char *const stamps[] = {"updatedAt", NULL}, *const sets[] = {"ids", "/o/ids", NULL};
  static const aon_comparison how = {.stamps = stamps, .sets = sets};
  bson_t document;
  size_t conflicts;
  return as_text(&document, aon_document_merge(first, second, third, &how, &document, &conflicts, hear_path, out, error), out, error);
}

static aon_result differ(aon_buffer *out, aon_error *error) {
  aon_result result = aon_document_difference(first, third, hear_change, out, error);
  return result ? result : aon_document_difference(NULL, first, hear_change, out, error);
}

static aon_result fold(aon_buffer *out, aon_error *error) {
  static const char text[] = "Straße Ä";
  return aon_text_fold(text, strlen(text), out, error);
}

static aon_result ids(aon_buffer *out, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  const aon_text parts[] = {AON_TEXT("a:b"), AON_TEXT("c%d"), AON_TEXT("")};
  aon_text again[3];
  bool fits = true;
  aon_result result = aon_id_join(parts, 3, out, error);
  if (!result)
    result = aon_id_split((aon_text){out->data, out->length}, 3, &arena, again, &fits, error);
  assert_true(result || (fits && again[0].length == 3));
  return result;
}

static aon_result image(aon_buffer *out, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_image made;
  bson_t view;
  aon_result result = aon_image_from(first, &arena, &made, error);
  if (!result && aon_image_view(&made, &view))
    result = aon_document_to_json(&view, out, error);
  return result;
}

static aon_result tell_problems(aon_buffer *out, aon_error *error) {
  aon_problems list = {0};
  const aon_problem cell = {.severity = AON_PROBLEM_ERROR,
                            .sheet = "Users",
                            .heading = "Name",
                            .value = "x",
                            .row = 3,
                            .column = 2,
                            .code = "required",
                            .sentence = "Give a name."},
                    line = {.severity = AON_PROBLEM_ERROR,
                            .line = 7,
                            .store = "s",
                            .collection = "c",
                            .document_id = "1",
                            .code = "not_found",
                            .sentence = "It is not there."};
  aon_result result = AON_OK;
  for (int i = 0; !result && i < 40; i++)
    result = aon_problems_add(&list, i % 2 ? &cell : &line, error);
  for (size_t i = 0; !result && i < 2; i++)
    result = aon_problem_to_json(&list.errors[i], out, error);
  aon_problem both = cell;
  both.store = "s";
  both.collection = "c";
  both.document_id = "1";
  if (!result)
    result = aon_problem_to_json(&both, out, error);
  assert_true(result || list.error_count == 40);
  aon_problems_release(&list);
  return result;
}

static void each_call(void **state) {
  (void)state;
  static aon_result (*const deeds[])(aon_buffer * out, aon_error * error) = {read_text, read_large, patch, merge,        differ,
                                                                             fold,      ids,        image, tell_problems};
  for (size_t i = 0; i < sizeof deeds / sizeof *deeds; i++) {
    AON_BUFFER_CLEANUP aon_buffer whole = {0};
    aon_error error = AON_ERROR_INIT;
    assert_int_equal(deeds[i](&whole, &error), AON_OK);
    for (int kind = CALL_MEMORY; kind <= CALL_PIECE; kind++)
      for (int nth = 1;; nth++) {
        AON_BUFFER_CLEANUP aon_buffer out = {0}, again = {0};
        error = (aon_error)AON_ERROR_INIT;
        calls_fail(kind, nth);
        aon_result result = deeds[i](&out, &error);
        if (!calls_end()) {
          assert_int_equal(result, AON_OK);
          break;
        }
        if (result ? strcmp(error.code, "no_memory") : strcmp(out.data, whole.data)) /* or there was another way */
          fail_msg("deed %zu, %s %d: %s %s", i, calls_name(kind), nth, aon_result_name(result), error.code);
        assert_int_equal(deeds[i](&again, &error), AON_OK);
        assert_string_equal(again.data, whole.data);
      }
  }
}

int main(void) {
  first = document_of(FIRST);
  second = document_of(SECOND);
  third = document_of(THIRD);
  const struct CMUnitTest tests[] = {cmocka_unit_test(each_call)};
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  drop(first);
  drop(second);
  drop(third);
  return failed;
}
