/* See written.h. */
#include "written.h"

#include <string.h>

#include "fuzz.h"
#include "model/document.h"

static aon_result write_members(const bson_t *document, aon_buffer *out, aon_error *error) {
  bson_iter_t at;
  size_t count = 0;
  aon_result result = aon_buffer_text(out, "{", error);
  if (!result && !bson_iter_init(&at, document))
    return AON_CORRUPT;
  while (!result && bson_iter_next(&at)) {
    const char *key = bson_iter_key(&at);
    if (count++)
      result = aon_buffer_text(out, ",", error);
    if (!result)
      result = aon_text_to_json(key, strlen(key), out, error);
    if (!result)
      result = aon_buffer_text(out, ":", error);
    if (!result)
      result = aon_value_to_json(&at, out, error);
  }
  if (!result && at.err_off)
    result = AON_CORRUPT;
  return result ? result : aon_buffer_text(out, "}", error);
}

void check_written(const bson_t *document) {
  AON_BUFFER_CLEANUP aon_buffer whole = {0};
  AON_BUFFER_CLEANUP aon_buffer pieces = {0};
  aon_error error = AON_ERROR_INIT, why = AON_ERROR_INIT;
  FUZZ_CHECK(aon_buffer_text(&whole, "x", NULL) == AON_OK, "memory");
  aon_result first = aon_document_to_json(document, &whole, &error), second = write_members(document, &pieces, &why);
  bool limit = strstr(error.code, "too_deep") || strstr(why.code, "too_deep"); /* a member by itself stands one level higher */
  FUZZ_CHECK(limit || !first == !second, "whole: %s; by members: %s", first ? error.sentence : "written",
             second ? why.sentence : "written");
  FUZZ_CHECK(!first || (whole.length == 1 && whole.data[0] == 'x' && !whole.data[1]), "a failure left “%s”", whole.data);
  FUZZ_CHECK(first || second || !strcmp(whole.data + 1, pieces.data), "%s\n  %s", whole.data + 1, pieces.data);
}
