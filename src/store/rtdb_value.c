/* Documents as a Realtime Database keeps them.
 *
 * It holds a tree of objects whose leaves are texts, doubles and booleans. Null, {} and [] are not kept. A list is an object with the keys
 * 0, 1, …; what it gives back as a list is decided by the keys that are there: all of them numbers, more than half of the places filled.
 *
 * Invariant: both ways go through one function, `settle`, so what is planned equals what is read back, however the server spells it. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/document.h"
#include "store/rtdb_internal.h"

/* ---- keys and paths ---- */

bool rtdb_key_fits(const char *key, size_t length) {
  if (!length || length > RTDB_KEY_BYTES)
    return false;
  for (size_t i = 0; i < length; i++)
    if ((unsigned char)key[i] < 32 || key[i] == 127 || strchr(".$#[]/", key[i]))
      return false;
  return true;
}

aon_result rtdb_document_path(const aon_collection *collection, aon_text id, aon_arena *arena, const char **ret_path, aon_error *error) {
  fb_path path;
  aon_text segments[FB_SEGMENTS_LIMIT];
  bool fits;
  *ret_path = NULL;
  aon_result result = fb_path_parse(collection, arena, &path, error);
  if (!result)
    result = fb_path_fill(&path, id, arena, segments, &fits, error);
  if (result || !fits)
    return result;
  AON_BUFFER_CLEANUP aon_buffer text = {0};
  for (size_t i = 0; !result && i < path.count; i++) {
    if (!rtdb_key_fits(segments[i].data, segments[i].length))
      return AON_OK;
    result = i ? aon_buffer_text(&text, "/", error) : AON_OK;
    if (!result)
      result = aon_buffer_append(&text, segments[i].data, segments[i].length, error);
  }
  if (!result && !(*ret_path = aon_arena_text(arena, text.data, text.length)))
    result = aon_fail_memory(error);
  return result;
}

aon_result rtdb_url(const rtdb_store *store, const char *path, const char *options, aon_arena *arena, const char **ret_url,
                    aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer url = {0};
  aon_result result = aon_buffer_text(&url, store->base, error);
  for (const char *at = path; !result && *at;) {
    size_t length = strcspn(at, "/");
    result = fb_escape(at, length, &url, error);
    at += length;
    if (!result && *at)
      result = aon_buffer_text(&url, "/", error);
    at += *at == '/';
  }
  if (!result)
    result = aon_buffer_format(&url, error, ".json?%s%s%s", store->query, *store->query && *options ? "&" : "", options);
  if (!result && !(*ret_url = aon_arena_text(arena, url.data, url.length)))
    result = aon_fail_memory(error);
  return result;
}

/* ---- the form in which things are kept ---- */

typedef struct settling {
  const char *what; /* "STORE/COLLECTION/ID", for sentences */
  bool strict;      /* ours, to be refused where it can't be kept; else the server's, taken as it is */
  aon_error *error;
} settling;

static aon_result bad(const settling *s, const char *code, const char *why) {
  return aon_fail(s->error, AON_REJECTED, code, "%s %s.", s->what, why);
}

static bool is_empty(const bson_iter_t *value) {
  bson_iter_t child;
  if (BSON_ITER_HOLDS_NULL(value) || BSON_ITER_HOLDS_UNDEFINED(value))
    return true;
  if ((!BSON_ITER_HOLDS_DOCUMENT(value) && !BSON_ITER_HOLDS_ARRAY(value)) || !bson_iter_recurse(value, &child))
    return false;
  while (bson_iter_next(&child))
    if (!is_empty(&child))
      return false;
  return true;
}

/* 0, 1, 2, …: the place in a list; UINT32_MAX: no such key. */
static uint32_t place_of(const char *key) {
  uint64_t at = 0;
  if (!*key || (*key == '0' && key[1]) || strlen(key) > 9)
    return UINT32_MAX;
  for (; *key; key++) {
    if (*key < '0' || *key > '9')
      return UINT32_MAX;
    at = at * 10 + (uint64_t)(*key - '0');
  }
  return (uint32_t)at;
}

/* How many children are kept, and, if they make a list, how long it is (else 0). */
static size_t measure(bson_iter_t children, uint32_t *ret_list) {
  size_t kept = 0;
  uint32_t last = 0;
  bool list = true;
  while (bson_iter_next(&children)) {
    if (is_empty(&children))
      continue;
    uint32_t place = place_of(bson_iter_key(&children));
    kept++;
    list = list && place != UINT32_MAX;
    last = place != UINT32_MAX && place > last ? place : last;
  }
  *ret_list = list && kept && last < 2 * kept ? last + 1 : 0;
  return kept;
}

static aon_result settle(const settling *s, bson_iter_t children, bson_t *out, uint32_t list, int depth);

static aon_result settle_number(const settling *s, const char *key, double value, bson_t *out) {
  if (!isfinite(value))
    return bad(s, "bad_type", "holds a number that is not finite; a Realtime Database can't keep it");
  bool whole = value == floor(value) && fabs(value) <= (double)RTDB_MAX_INTEGER;
  return (whole ? bson_append_int64(out, key, -1, (int64_t)value) : bson_append_double(out, key, -1, value)) ? AON_OK
                                                                                                             : aon_fail_memory(s->error);
}

static aon_result settle_tree(const settling *s, const char *key, const bson_iter_t *value, bson_t *out, int depth) {
  bson_iter_t children;
  bson_t below;
  uint32_t list;
  if (depth >= RTDB_DEPTH && s->strict)
    return bad(s, "too_long", "is nested deeper than 32 levels, with its path");
  if (!bson_iter_recurse(value, &children))
    return bad(s, "bad_document", "is damaged");
  measure(children, &list);
  if (!(list ? bson_append_array_begin(out, key, -1, &below) : bson_append_document_begin(out, key, -1, &below)))
    return aon_fail_memory(s->error);
  aon_result result = settle(s, children, &below, list, depth + 1);
  bool ended = list ? bson_append_array_end(out, &below) : bson_append_document_end(out, &below);
  return result ? result : ended ? AON_OK : aon_fail_memory(s->error);
}

static aon_result settle_value(const settling *s, const char *key, const bson_iter_t *value, bson_t *out, int depth) {
  uint32_t length;
  switch (bson_iter_type(value)) {
  case BSON_TYPE_UTF8:
    bson_iter_utf8(value, &length);
    if (length > RTDB_STRING_BYTES && s->strict)
      return bad(s, "too_long", "holds a text of more than 10 MiB");
    return bson_append_iter(out, key, -1, value) ? AON_OK : aon_fail_memory(s->error);
  case BSON_TYPE_BOOL:
    return bson_append_iter(out, key, -1, value) ? AON_OK : aon_fail_memory(s->error);
  case BSON_TYPE_INT32:
    return settle_number(s, key, bson_iter_int32(value), out);
  case BSON_TYPE_INT64:
    if (bson_iter_int64(value) > RTDB_MAX_INTEGER || bson_iter_int64(value) < -RTDB_MAX_INTEGER) /* the server gives doubles */
      return bad(s, "out_of_range", "holds an integer beyond 2^53, which a Realtime Database would round");
    return settle_number(s, key, (double)bson_iter_int64(value), out);
  case BSON_TYPE_DOUBLE:
    return settle_number(s, key, bson_iter_double(value), out);
  case BSON_TYPE_DOCUMENT:
  case BSON_TYPE_ARRAY:
    return settle_tree(s, key, value, out, depth);
  default:
    return bad(s, "bad_type", "holds a type that a Realtime Database can't keep: it has texts, numbers, booleans, objects and lists");
  }
}

/* A list: each at its place, null where none is. */
static aon_result settle_list(const settling *s, bson_iter_t children, bson_t *out, uint32_t list, int depth) {
  struct where {
    uint32_t offset, key_length; /* of the element; 0: nothing there */
  } *places = calloc(list, sizeof *places);
  if (!places)
    return aon_fail_memory(s->error);
  const uint8_t *raw = children.raw; /* which the iterator forgets at its end */
  uint32_t length = children.len;
  while (bson_iter_next(&children))
    if (!is_empty(&children))
      places[place_of(bson_iter_key(&children))] = (struct where){bson_iter_offset(&children), bson_iter_key_len(&children)};
  aon_result result = AON_OK;
  for (uint32_t i = 0; !result && i < list; i++) {
    char key[16];
    bson_iter_t at;
    snprintf(key, sizeof key, "%u", (unsigned)i);
    if (!places[i].offset)
      result = bson_append_null(out, key, -1) ? AON_OK : aon_fail_memory(s->error);
    else if (bson_iter_init_from_data_at_offset(&at, raw, length, places[i].offset, places[i].key_length))
      result = settle_value(s, key, &at, out, depth);
    else
      result = bad(s, "bad_document", "is damaged");
  }
  free(places);
  return result;
}

static aon_result settle(const settling *s, bson_iter_t children, bson_t *out, uint32_t list, int depth) {
  if (list)
    return settle_list(s, children, out, list, depth);
  aon_result result = AON_OK;
  while (!result && bson_iter_next(&children)) {
    const char *key = bson_iter_key(&children);
    if (is_empty(&children))
      continue;
    if (s->strict && !rtdb_key_fits(key, strlen(key)))
      return bad(s, "forbidden_character",
                 "has a property whose name a Realtime Database can't keep: none of . $ # [ ] / and control characters, 768 bytes at most");
    result = settle_value(s, key, &children, out, depth);
  }
  return result;
}

static aon_result settled(const settling *s, const bson_t *document, int depth, bson_t *ret_document) {
  bson_iter_t children;
  bson_init(ret_document);
  if (!bson_iter_init(&children, document))
    return bad(s, "bad_document", "is damaged");
  return settle(s, children, ret_document, 0, depth); /* a document is an object, whatever its keys */
}

static int depth_of(const char *path) {
  int depth = 1;
  for (; *path; path++)
    depth += *path == '/';
  return depth;
}

aon_result rtdb_normalise(void *state, const aon_collection *collection, aon_text id, const bson_t *document, aon_arena *arena,
                          aon_image *ret_image, aon_error *error) {
  const rtdb_store *store = state;
  const char *path;
  fb_name what;
  settling s = {.what = what.text, .strict = true, .error = error};
  aon_result result = fb_name_document(&store->fb, collection, id, &what, error);
  if (!result)
    result = rtdb_document_path(collection, id, arena, &path, error);
  if (!result && !path)
    return bad(
        &s, "forbidden_character",
        "has an id that can't be a key of a Realtime Database: none of . $ # [ ] / and control characters, 768 bytes at most, and as many "
        "parts as the path has");
  bson_t kept;
  if (result)
    return result;
  result = settled(&s, document, depth_of(path), &kept);
  if (!result && bson_empty(&kept))
    result = bad(&s, "bad_format", "would be empty; a Realtime Database keeps no empty document");
  if (!result)
    result = aon_image_from(&kept, arena, ret_image, error);
  bson_destroy(&kept);
  return result;
}

/* ---- from JSON ---- */

static bool append_json(bson_t *out, const char *key, json_t *value);

static bool append_children(bson_t *out, json_t *value) {
  const char *name;
  json_t *child;
  size_t index;
  bool fine = true;
  if (json_is_object(value)) {
    json_object_foreach(value, name, child) fine = fine && append_json(out, name, child);
    return fine;
  }
  json_array_foreach(value, index, child) {
    char key[24];
    snprintf(key, sizeof key, "%zu", index);
    fine = fine && append_json(out, key, child);
  }
  return fine;
}

static bool append_json(bson_t *out, const char *key, json_t *value) {
  bson_t below;
  switch (json_typeof(value)) {
  case JSON_OBJECT:
    return bson_append_document_begin(out, key, -1, &below) && append_children(&below, value) && bson_append_document_end(out, &below);
  case JSON_ARRAY:
    return bson_append_array_begin(out, key, -1, &below) && append_children(&below, value) && bson_append_array_end(out, &below);
  case JSON_STRING:
    return bson_append_utf8(out, key, -1, json_string_value(value), (int)json_string_length(value));
  case JSON_REAL:
    return bson_append_double(out, key, -1, json_real_value(value));
  case JSON_TRUE:
  case JSON_FALSE:
    return bson_append_bool(out, key, -1, json_is_true(value));
  default:
    return bson_append_null(out, key, -1);
  }
}

static aon_result document_of(const rtdb_store *store, json_t *root, bson_t *ret_document, aon_error *error) {
  settling s = {.what = store->fb.name, .error = error};
  bson_t plain = BSON_INITIALIZER;
  aon_result result =
      append_children(&plain, root) ? AON_OK : aon_fail(error, AON_PERMANENT, "too_long", "A document of %s is too large.", store->fb.name);
  bson_init(ret_document);
  if (!result) {
    bson_destroy(ret_document);
    result = settled(&s, &plain, 0, ret_document);
  }
  bson_destroy(&plain);
  return result;
}

aon_result rtdb_image(const rtdb_store *store, const char *json, size_t length, const char *etag, aon_arena *arena, aon_image *ret_image,
                      aon_error *error) {
  json_error_t ignored;
  *ret_image = (aon_image){0};
  json_t *root = json_loadb(json ? json : "", length, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &ignored);
  if (!root)
    return aon_fail(error, AON_CORRUPT, "corrupt", "%s gave a reply that is no JSON.", store->fb.name);
  if (json_is_null(root)) {
    json_decref(root);
    return AON_OK;
  }
  if (!json_is_object(root) && !json_is_array(root)) {
    json_decref(root);
    return aon_fail(error, AON_PERMANENT, "bad_type",
                    "Where a document of %s should stand is a single value. Look at the path of the collection.", store->fb.name);
  }
  bson_t document;
  aon_result result = document_of(store, root, &document, error);
  json_decref(root);
  if (!result)
    result = aon_image_from(&document, arena, ret_image, error);
  bson_destroy(&document);
  if (!result && etag && *etag) {
    ret_image->token = aon_arena_copy(arena, etag, strlen(etag));
    ret_image->token_length = (uint32_t)strlen(etag);
    result = ret_image->token ? AON_OK : aon_fail_memory(error);
  }
  return result;
}
