/* What the tests of the model share: documents from literals, a seeded generator of documents. */
#ifndef TESTS_MODEL_HELPERS_H
#define TESTS_MODEL_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/document.h"

static inline bson_t *document_of(const char *json) {
  bson_t *document = aligned_alloc(_Alignof(bson_t), sizeof *document); /* given back by drop */
  aon_error error = AON_ERROR_INIT;
  assert_non_null(document);
  if (aon_document_from_json(json, strlen(json), document, &error))
    fail_msg("%s: %s", json, error.sentence);
  return document;
}

static inline void drop(bson_t *document) {
  bson_destroy(document);
  free(document);
}

static inline char *text_of(const bson_t *document) {
  aon_buffer out = {0};
  aon_error error = AON_ERROR_INIT;
  if (aon_document_to_json(document, &out, &error))
    fail_msg("%s", error.sentence);
  return out.data;
}

static inline void assert_document(const bson_t *document, const char *json) {
  char *text = text_of(document);
  assert_string_equal(text, json);
  free(text);
}

static inline uint64_t next_random(uint64_t *seed) { /* xorshift64*, S. Vigna */
  *seed ^= *seed >> 12;
  *seed ^= *seed << 25;
  *seed ^= *seed >> 27;
  return *seed * UINT64_C(2685821657736338717);
}

static inline uint32_t below(uint64_t *seed, uint32_t limit) { return (uint32_t)(next_random(seed) >> 33) % limit; }

/* A key says what stands under it, so that two documents never have an object where the other has a leaf: a…f leaves, o p objects. */
static inline void random_members(uint64_t *seed, int depth, bool may_null, aon_buffer *out) {
  static const char *const leaves[] = {"0",    "1",  "1.0",   "-7",          "2.5",  "\"x\"",           "\"\\u00e9\"",
                                       "true", "[]", "[1,2]", "[{\"o\":1}]", "\"\"", "9007199254740993"};
  static const char *const keys[] = {"a", "b", "c", "d~/e", "f", "o", "p"};
  aon_error error;
  assert_int_equal(aon_buffer_text(out, "{", &error), AON_OK);
  bool first = true;
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    if (below(seed, 2))
      continue;
    assert_int_equal(aon_buffer_format(out, &error, "%s\"%s\":", first ? "" : ",", keys[i]), AON_OK);
    first = false;
    if (i >= 5 && depth > 0 && !(may_null && below(seed, 4) == 0))
      random_members(seed, depth - 1, may_null, out);
    else if (may_null && (i >= 5 || below(seed, 3) == 0))
      assert_int_equal(aon_buffer_text(out, "null", &error), AON_OK);
    else
      assert_int_equal(aon_buffer_text(out, i >= 5 ? "{}" : leaves[below(seed, sizeof leaves / sizeof *leaves)], &error), AON_OK);
  }
  assert_int_equal(aon_buffer_text(out, "}", &error), AON_OK);
}

/* may_null: for patches, where null removes. */
static inline bson_t *random_document(uint64_t *seed, bool may_null) {
  aon_buffer text = {0};
  random_members(seed, 3, may_null, &text);
  bson_t *document = document_of(text.data);
  aon_buffer_release(&text);
  return document;
}
#endif
