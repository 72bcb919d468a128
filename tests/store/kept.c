/* See kept.h. */
#include "kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "model/document.h"

aon_result kept_answer(kept_normaliser normalise, void *state, const aon_collection *in, aon_text id, const bson_t *document,
                       char **ret_text, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  AON_BUFFER_CLEANUP aon_buffer text = {0};
  aon_image image;
  bson_t view;
  aon_result result = normalise(state, in, id, document, &arena, &image, error);
  if (result == AON_NO_MEMORY)
    return result;
  if (result) {
    assert_true(result == AON_REJECTED || result == AON_PERMANENT || result == AON_CORRUPT);
    assert_true(error->sentence[0]);
    assert_true(asprintf(ret_text, "!%s", error->code) > 0);
    return AON_OK;
  }
  assert_true(aon_image_view(&image, &view));
  result = aon_document_to_json(&view, &text, error);
  if (!result)
    assert_true(asprintf(ret_text, "%s", text.data) > 0);
  return result;
}

void kept_is(kept_normaliser normalise, void *state, const aon_collection *in, aon_text id, const bson_t *document, const char *wanted) {
  char *found = NULL;
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(kept_answer(normalise, state, in, id, document, &found, &error), AON_OK);
  assert_string_equal(found, wanted);
  free(found);
  for (int kind = CALL_MEMORY; kind <= CALL_PIECE; kind++)
    for (int nth = 1;; nth++) {
      error = (aon_error)AON_ERROR_INIT;
      found = NULL;
      calls_fail(kind, nth);
      aon_result result = kept_answer(normalise, state, in, id, document, &found, &error);
      bool failed = calls_end();
      if (!result)
        assert_string_equal(found, wanted);
      else
        assert_int_equal(result, AON_NO_MEMORY);
      free(found);
      if (!failed)
        break;
    }
}

void kept_are(kept_normaliser normalise, void *state, const aon_collection *in, const kept_case *cases, size_t count) {
  for (size_t i = 0; i < count; i++) {
    bson_t document;
    aon_error error = AON_ERROR_INIT;
    if (aon_document_from_json(cases[i].json, strlen(cases[i].json), &document, &error))
      fail_msg("%s: %s", cases[i].json, error.sentence);
    kept_is(normalise, state, in, text(cases[i].id), &document, cases[i].kept ? cases[i].kept : cases[i].json);
    bson_destroy(&document);
  }
}

void kept_repeat(char *out, char what, size_t times) {
  memset(out, what, times);
  out[times] = 0;
}

bson_t *kept_nested(int levels) {
  bson_t *document = bson_new();
  BSON_APPEND_INT64(document, "x", 1);
  for (int i = 1; i < levels; i++) {
    bson_t *outer = bson_new();
    BSON_APPEND_DOCUMENT(outer, "d", document);
    bson_destroy(document);
    document = outer;
  }
  return document;
}

const char *kept_of_levels(kept_normaliser normalise, void *state, const aon_collection *in, int levels) {
  static char text_of_it[40];
  char *found = NULL;
  aon_error error = AON_ERROR_INIT;
  bson_t *document = kept_nested(levels);
  assert_int_equal(kept_answer(normalise, state, in, text("a"), document, &found, &error), AON_OK);
  bson_destroy(document);
  snprintf(text_of_it, sizeof text_of_it, "%.30s", *found == '!' ? found : "kept");
  free(found);
  return text_of_it;
}
