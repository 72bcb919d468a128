/* JSON text of people: our reader beside jansson's, and our writer beside our reader.
 *
 * Properties: both take and refuse the same texts (but for our named limits); they read the same values; what is written is read back
 * equal and written again byte by byte the same; an empty patch changes nothing. The text may hold several objects, one a line. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "model/document.h"
#include "written.h"

static void same_value(const bson_iter_t *ours, const json_t *theirs);

static void same_members(const bson_iter_t *ours, const json_t *theirs, bool array) {
  bson_iter_t at;
  size_t count = 0;
  FUZZ_CHECK(bson_iter_recurse(ours, &at), "an object that can't be entered");
  while (bson_iter_next(&at)) {
    const json_t *other = array ? json_array_get(theirs, count) : json_object_get(theirs, bson_iter_key(&at));
    FUZZ_CHECK(other != NULL, "only we have “%s”", bson_iter_key(&at));
    same_value(&at, other);
    count++;
  }
  FUZZ_CHECK(count == (array ? json_array_size(theirs) : json_object_size(theirs)), "%zu members of ours", count);
}

static void same_value(const bson_iter_t *ours, const json_t *theirs) {
  uint32_t length;
  switch (bson_iter_type(ours)) {
  case BSON_TYPE_DOCUMENT:
    FUZZ_CHECK(json_is_object(theirs), "an object");
    same_members(ours, theirs, false);
    break;
  case BSON_TYPE_ARRAY:
    FUZZ_CHECK(json_is_array(theirs), "an array");
    same_members(ours, theirs, true);
    break;
  case BSON_TYPE_UTF8: {
    const char *text = bson_iter_utf8(ours, &length);
    FUZZ_CHECK(json_is_string(theirs) && json_string_length(theirs) == length && !memcmp(json_string_value(theirs), text, length),
               "the text “%s”", text);
    break;
  }
  case BSON_TYPE_INT64:
    FUZZ_CHECK(json_is_integer(theirs) && json_integer_value(theirs) == bson_iter_int64(ours), "the integer %lld",
               (long long)bson_iter_int64(ours));
    break;
  case BSON_TYPE_DOUBLE:
    FUZZ_CHECK(json_is_real(theirs) && json_real_value(theirs) == bson_iter_double(ours), "%.17g beside %.17g", bson_iter_double(ours),
               json_real_value(theirs));
    break;
  case BSON_TYPE_BOOL:
    FUZZ_CHECK(json_is_boolean(theirs) && json_is_true(theirs) == bson_iter_bool(ours), "true or false");
    break;
  default:
    FUZZ_CHECK(bson_iter_type(ours) == BSON_TYPE_NULL && json_is_null(theirs), "type %d", (int)bson_iter_type(ours));
  }
}

static void same_document(const bson_t *ours, const json_t *theirs) {
  bson_t whole = BSON_INITIALIZER;
  bson_iter_t at;
  BSON_APPEND_DOCUMENT(&whole, "", ours);
  FUZZ_CHECK(bson_iter_init(&at, &whole) && bson_iter_next(&at), "a document in a document");
  same_value(&at, theirs);
  bson_destroy(&whole);
}

static void round_trip(const bson_t *document) {
  AON_BUFFER_CLEANUP aon_buffer first = {0};
  AON_BUFFER_CLEANUP aon_buffer second = {0};
  aon_error error = AON_ERROR_INIT;
  bson_t again, patched, nothing = BSON_INITIALIZER;
  FUZZ_CHECK(bson_validate(document, BSON_VALIDATE_UTF8 | BSON_VALIDATE_UTF8_ALLOW_NULL, NULL), "BSON that libbson refuses");
  check_written(document);
  FUZZ_CHECK(aon_document_to_json(document, &first, &error) == AON_OK, "%s", error.sentence);
  FUZZ_CHECK(aon_document_from_json(first.data, first.length, &again, &error) == AON_OK, "%s: %s", error.sentence, first.data);
  FUZZ_CHECK(aon_document_equal(document, &again, NULL), "%s", first.data);
  FUZZ_CHECK(aon_document_to_json(&again, &second, &error) == AON_OK, "%s", error.sentence);
  FUZZ_CHECK(first.length == second.length && !memcmp(first.data, second.data, first.length), "%s\n  %s", first.data, second.data);
  FUZZ_CHECK(aon_document_patch(document, &nothing, &patched, &error) == AON_OK, "%s", error.sentence);
  FUZZ_CHECK(aon_document_equal(document, &patched, NULL), "%s", first.data);
  bson_destroy(&patched);
  bson_destroy(&again);
}

/* What we refuse and jansson may take: what is nested deeper than our limit, and a raw zero byte, over which jansson's reader skips. */
static bool by_design(const char *text, size_t length, const aon_error *error) {
  return error->sentence[0] && (strstr(error->sentence, "nested too deep") || (length && memchr(text, 0, length)));
}

static void one_text(const char *text, size_t length) {
  bson_t document;
  aon_error error = AON_ERROR_INIT;
  json_error_t why;
  aon_result result = aon_document_from_json(text, length, &document, &error);
  json_t *theirs = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
  if (theirs && !json_is_object(theirs)) {
    json_decref(theirs);
    theirs = NULL;
  }
  FUZZ_CHECK(result == AON_OK || result == AON_REJECTED, "%s", aon_result_name(result));
  FUZZ_CHECK(!result == !error.sentence[0], "a refusal has a sentence: %s", error.sentence);
  FUZZ_CHECK(!theirs == (result != AON_OK) || by_design(text, length, &error), "ours: %s; jansson: %s", result ? error.sentence : "taken",
             theirs ? "taken" : why.text);
  if (!result) {
    same_document(&document, theirs);
    round_trip(&document);
  }
  bson_destroy(&document);
  json_decref(theirs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *at = (const char *)data, *end = at + size;
  while (at < end) {
    const char *line = memchr(at, '\n', (size_t)(end - at));
    one_text(at, line ? (size_t)(line - at) : (size_t)(end - at));
    at = line ? line + 1 : end;
  }
  one_text((const char *)data, size);
  return 0;
}
