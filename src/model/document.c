/* Documents as images, and what stands where in them. */
#include "model/document.h"

#include <string.h>

#include "model/members.h"

bool aon_image_view(const aon_image *image, bson_t *ret_view) {
  return image->bson != NULL && bson_init_static(ret_view, image->bson, image->bson_length);
}

aon_result aon_image_from(const bson_t *document, aon_arena *arena, aon_image *ret_image, aon_error *error) {
  const uint8_t *copy = aon_arena_copy(arena, bson_get_data(document), document->len);
  if (!copy)
    return aon_fail_memory(error);
  *ret_image = (aon_image){.bson = copy, .bson_length = document->len};
  return AON_OK;
}

bool aon_document_holds(const bson_t *document, const char *const *names) {
  bson_iter_t value;
  for (; names && *names; names++)
    if (bson_iter_init_find(&value, document, *names))
      return true;
  return false;
}

static bool find_segment(bson_iter_t *members, const char *segment, size_t length) {
  while (bson_iter_next(members))
    if (aon_segment_is(segment, length, bson_iter_key(members)))
      return true;
  return false;
}

/* The keys of an array are its indexes without leading zeros, so they need no rule of their own. */
bool aon_document_at(const bson_t *document, const char *pointer, bson_iter_t *ret_value) {
  bson_iter_t at, members;
  if (pointer[0] != '/' || !bson_iter_init(&members, document))
    return false; /* "" is the document, which is no value in one */
  for (;;) {
    size_t length = strcspn(++pointer, "/");
    if (!find_segment(&members, pointer, length))
      return false;
    at = members;
    pointer += length;
    if (!*pointer)
      break;
    if ((!aon_iter_is_object(&at) && !aon_iter_is_array(&at)) || !bson_iter_recurse(&at, &members))
      return false;
  }
  *ret_value = at;
  return true;
}
