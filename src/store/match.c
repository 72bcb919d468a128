/* Matching documents by the text of their properties. */
#include "store/match.h"

#include <string.h>

#include "base/buffer.h"
#include "model/document.h"

#define NUMBER_ROOM 64 /* more than the text of any number takes */

static bool same_text(const char *text, size_t length, aon_text other) {
  return length == other.length && (!length || !memcmp(text, other.data, length));
}

bool aon_match_holds(const bson_t *document, const aon_match *match) {
  bson_iter_t at;
  if (!bson_iter_init_find(&at, document, match->property))
    return false;
  char room[NUMBER_ROOM]; /* no memory that could run out: who finds nothing must be right */
  aon_buffer text = {.data = room, .capacity = sizeof room, .limit = sizeof room - 1};
  uint32_t length;
  switch (bson_iter_type(&at)) {
  case BSON_TYPE_UTF8: {
    const char *found = bson_iter_utf8(&at, &length);
    return same_text(found, length, match->value);
  }
  case BSON_TYPE_BOOL:
  case BSON_TYPE_INT32:
  case BSON_TYPE_INT64:
  case BSON_TYPE_DOUBLE:
    return !aon_value_to_json(&at, &text, NULL) && same_text(text.data, text.length, match->value);
  default:
    return false;
  }
}

bool aon_match_all(const bson_t *document, const aon_match *matches, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!aon_match_holds(document, &matches[i]))
      return false;
  return true;
}
