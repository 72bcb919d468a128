/* Paths of documents. A placeholder stands for one part of the id, in order; a template with several has ids joined
 * by ':' (model/text.h). */
#include <string.h>

#include "model/text.h"
#include "store/firebase_internal.h"
#include "store/match.h"

static aon_result bad_path(const aon_collection *collection, aon_error *error) {
  return aon_fail(error, AON_REJECTED, "bad_format",
                  "The path of collection “%s” can't be used: write segments between slashes, each a name or {name}, %d at most.",
                  collection->name, FB_SEGMENTS_LIMIT);
}

aon_result fb_path_parse(const aon_collection *collection, aon_arena *arena, fb_path *ret_path, aon_error *error) {
  *ret_path = (fb_path){.count = 0};
  const char *at = collection->path ? collection->path : collection->name;
  while (*at == '/')
    at++;
  for (size_t length; *at; at += length + (at[length] == '/')) {
    length = strcspn(at, "/");
    const char *brace = memchr(at, '{', length);
    bool placeholder = *at == '{' && length > 2 && at[length - 1] == '}';
    if (!length || ret_path->count + 1 >= FB_SEGMENTS_LIMIT || (brace && !placeholder))
      return bad_path(collection, error);
    const char *segment = placeholder ? NULL : aon_arena_text(arena, at, length);
    if (!placeholder && !segment)
      return aon_fail_memory(error);
    ret_path->placeholders += placeholder;
    ret_path->segments[ret_path->count++] = segment;
  }
  if (!collection->path) {
    ret_path->segments[ret_path->count++] = NULL;
    ret_path->placeholders++;
  }
  return ret_path->placeholders && ret_path->count > 1 ? AON_OK : bad_path(collection, error);
}

aon_result fb_path_fill(const fb_path *path, aon_text id, aon_arena *arena, aon_text segments[FB_SEGMENTS_LIMIT], bool *ret_fits,
                        aon_error *error) {
  aon_text parts[FB_SEGMENTS_LIMIT] = {id};
  *ret_fits = id.length > 0;
  if (*ret_fits && path->placeholders > 1) {
    aon_result result = aon_id_split(id, path->placeholders, arena, parts, ret_fits, error);
    if (result)
      return result;
  }
  size_t part = 0;
  for (size_t i = 0; *ret_fits && i < path->count; i++) {
    segments[i] = path->segments[i] ? (aon_text){path->segments[i], strlen(path->segments[i])} : parts[part++];
    *ret_fits = segments[i].length > 0;
  }
  return AON_OK;
}

aon_result fb_path_id(const fb_path *path, const aon_text *values, aon_arena *arena, aon_text *ret_id, aon_error *error) {
  if (path->placeholders == 1) {
    ret_id->data = aon_arena_text(arena, values[0].data, values[0].length);
    ret_id->length = values[0].length;
    return ret_id->data ? AON_OK : aon_fail_memory(error);
  }
  AON_BUFFER_CLEANUP aon_buffer joined = {0};
  aon_result result = aon_id_join(values, path->placeholders, &joined, error);
  if (result)
    return result;
  *ret_id = (aon_text){aon_arena_text(arena, joined.data, joined.length), joined.length};
  return ret_id->data ? AON_OK : aon_fail_memory(error);
}

aon_result fb_escape(const char *text, size_t length, aon_buffer *out, aon_error *error) {
  static const char digits[] = "0123456789ABCDEF";
  aon_result result = aon_buffer_reserve(out, 3 * length, error);
  for (size_t i = 0; !result && i < length; i++) {
    unsigned char c = (unsigned char)text[i];
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '~';
    char escaped[3] = {'%', digits[c >> 4], digits[c & 15]};
    result = aon_buffer_append(out, plain ? text + i : escaped, plain ? 1 : 3, error);
  }
  return result;
}

aon_result fb_walk_found(const fb_walk *walk, const aon_image *image, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  aon_found here = {.image = *image};
  bson_t view;
  if (!image->bson || !aon_image_view(image, &view) || !aon_match_all(&view, walk->matches, walk->count))
    return AON_OK;
  aon_result result = fb_path_id(&walk->path, walk->values, &scratch, &here.id, error);
  return result ? result : walk->each(walk->context, &here, error);
}
