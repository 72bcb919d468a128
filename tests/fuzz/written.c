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

bool same_json(const json_t *a, const json_t *b) {
  const char *key;
  json_t *value;
  if (json_is_number(a) && json_is_number(b)) {
    if (json_is_integer(a) && json_is_integer(b))
      return json_integer_value(a) == json_integer_value(b);
    return (long double)(json_is_integer(a) ? (long double)json_integer_value(a) : (long double)json_real_value(a)) ==
           (json_is_integer(b) ? (long double)json_integer_value(b) : (long double)json_real_value(b));
  }
  if (json_typeof(a) != json_typeof(b))
    return false;
  if (json_is_array(a)) {
    bool equal = json_array_size(a) == json_array_size(b);
    for (size_t i = 0; equal && i < json_array_size(a); i++)
      equal = same_json(json_array_get(a, i), json_array_get(b, i));
    return equal;
  }
  if (!json_is_object(a))
    return json_equal(a, b);
  if (json_object_size(a) != json_object_size(b))
    return false;
  json_object_foreach((json_t *)(uintptr_t)a, key, value) {
    const json_t *other = json_object_get(b, key);
    if (!other || !same_json(value, other))
      return false;
  }
  return true;
}
