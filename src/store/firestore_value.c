/* Documents to Firestore's JSON and back.
 *
 * BSON has no geopoint, no reference and no instant finer than a millisecond; they are objects with one property: {"$geopoint": [latitude,
 * longitude]}, {"$reference": "path"}, {"$timestamp": "…"}. A map of somebody's that looks like one of them is {"$map": {…}}.
 *
 * Invariant: normalising is the way to Firestore and back, so what is planned equals what is read.
 * Source: https://cloud.google.com/firestore/docs/reference/rest/v1/Value and /docs/quotas. */
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/document.h"
#include "model/text.h"
#include "store/firestore_internal.h"

/* ---- names ---- */

static bool name_fits(const char *text, size_t length) {
  bool reserved = length > 3 && !strncmp(text, "__", 2) && !strncmp(text + length - 2, "__", 2);
  return length && length <= FS_NAME_BYTES && !reserved;
}

static bool id_fits(aon_text id) {
  bool dots = id.length <= 2 && !strncmp(id.data, "..", id.length);
  return name_fits(id.data, id.length) && !dots && !memchr(id.data, '/', id.length);
}

aon_result fs_document_name(const fs_store *store, const aon_collection *collection, aon_text id, aon_arena *arena, const char **ret_name,
                            aon_error *error) {
  fb_path path;
  aon_text segments[FB_SEGMENTS_LIMIT];
  bool fits;
  *ret_name = NULL;
  aon_result result = fb_path_parse(collection, arena, &path, error);
  if (!result && path.count % 2)
    return aon_fail(error, AON_REJECTED, "bad_format",
                    "The path of collection “%s” must have pairs of a collection and a document: a/{b}/c/{d}.", collection->name);
  if (!result)
    result = fb_path_fill(&path, id, arena, segments, &fits, error);
  if (result || !fits)
    return result;
  AON_BUFFER_CLEANUP aon_buffer name = {0};
  result = aon_buffer_text(&name, store->root, error);
  for (size_t i = 0; !result && i < path.count; i++) {
    if (!id_fits(segments[i]))
      return AON_OK;
    result = aon_buffer_text(&name, "/", error);
    if (!result)
      result = aon_buffer_append(&name, segments[i].data, segments[i].length, error);
  }
  if (!result && !(*ret_name = aon_arena_text(arena, name.data, name.length)))
    result = aon_fail_memory(error);
  return result;
}

/* ---- the types that BSON lacks ---- */

typedef enum special { PLAIN, GEOPOINT, REFERENCE, TIMESTAMP, ESCAPED } special;
static const char *const special_names[] = {
    [GEOPOINT] = "$geopoint", [REFERENCE] = "$reference", [TIMESTAMP] = "$timestamp", [ESCAPED] = "$map"};

static special special_of_name(const char *name) {
  for (special i = GEOPOINT; i <= ESCAPED; i++)
    if (!strcmp(name, special_names[i]))
      return i;
  return PLAIN;
}

/* An object with one property of such a name, and the type that belongs to it. */
static special special_of(const bson_iter_t *value, bson_iter_t *ret_inner) {
  bson_iter_t only, more;
  if (!BSON_ITER_HOLDS_DOCUMENT(value) || !bson_iter_recurse(value, &only) || !bson_iter_next(&only))
    return PLAIN;
  special kind = special_of_name(bson_iter_key(&only));
  more = only;
  bool fits = kind == GEOPOINT  ? BSON_ITER_HOLDS_ARRAY(&only)
              : kind == ESCAPED ? BSON_ITER_HOLDS_DOCUMENT(&only)
                                : BSON_ITER_HOLDS_UTF8(&only);
  if (kind == PLAIN || !fits || bson_iter_next(&more))
    return PLAIN;
  *ret_inner = only;
  return kind;
}

/* ---- to JSON ---- */

typedef struct writing {
  const fs_store *store;
  const char *what; /* NULL: not to be checked, it was there before */
  aon_buffer *out;
  aon_error *error;
  size_t bytes; /* by Firestore's own way of counting */
} writing;

static aon_result bad(const writing *w, const char *code, const char *why) {
  return aon_fail(w->error, AON_REJECTED, code, "%s %s.", w->what ? w->what : w->store->fb.name, why);
}

static aon_result put_fields(writing *w, bson_iter_t children, int depth);
static aon_result put_value(writing *w, const bson_iter_t *value, int depth, bool in_array);

static aon_result put_double(writing *w, double value) {
  w->bytes += 8;
  if (isnan(value))
    return aon_buffer_text(w->out, "{\"doubleValue\":\"NaN\"}", w->error);
  if (isinf(value))
    return aon_buffer_format(w->out, w->error, "{\"doubleValue\":\"%sInfinity\"}", value < 0 ? "-" : "");
  return aon_buffer_format(w->out, w->error, "{\"doubleValue\":%.17g}", value);
}

static aon_result put_quoted(writing *w, const char *type, const char *text, size_t length) {
  aon_result result = aon_buffer_format(w->out, w->error, "{\"%s\":", type);
  if (!result)
    result = aon_text_to_json(text, length, w->out, w->error);
  return result ? result : aon_buffer_text(w->out, "}", w->error);
}

static aon_result put_bytes(writing *w, const bson_iter_t *value) {
  bson_subtype_t subtype;
  uint32_t length;
  const uint8_t *bytes;
  bson_iter_binary(value, &subtype, &length, &bytes);
  size_t size = sodium_base64_encoded_len(length, sodium_base64_VARIANT_ORIGINAL);
  char *text = malloc(size);
  if (!text)
    return aon_fail_memory(w->error);
  sodium_bin2base64(text, size, bytes, length, sodium_base64_VARIANT_ORIGINAL);
  w->bytes += length;
  aon_result result = put_quoted(w, "bytesValue", text, strlen(text));
  free(text);
  return result;
}

static aon_result put_geopoint(writing *w, const bson_iter_t *pair) {
  bson_iter_t at;
  double places[2];
  bool fine = bson_iter_recurse(pair, &at);
  for (int i = 0; fine && i < 2; i++) {
    fine = bson_iter_next(&at) && BSON_ITER_HOLDS_NUMBER(&at);
    places[i] = fine ? bson_iter_as_double(&at) : 0;
  }
  if (!fine || fabs(places[0]) > 90 || fabs(places[1]) > 180)
    return bad(w, "bad_type", "holds a geopoint that is none");
  w->bytes += 16;
  return aon_buffer_format(w->out, w->error, "{\"geoPointValue\":{\"latitude\":%.17g,\"longitude\":%.17g}}", places[0], places[1]);
}

/* A path within this database, or a whole name of another one's document. */
static aon_result put_reference(writing *w, const char *path) {
  AON_BUFFER_CLEANUP aon_buffer name = {0};
  bool whole = !strncmp(path, "projects/", 9);
  aon_result result = aon_buffer_format(&name, w->error, "%s%s%s", whole ? "" : w->store->root, whole ? "" : "/", path + (*path == '/'));
  w->bytes += name.length;
  return result ? result : put_quoted(w, "referenceValue", name.data, name.length);
}

/* Firestore keeps microseconds: what is finer goes, as it does there. */
static aon_result put_fine_timestamp(writing *w, const char *text) {
  int64_t ms;
  char kept[64];
  const char *dot = strchr(text, '.');
  size_t digits = dot ? strspn(dot + 1, "0123456789") : 0;
  if (!aon_instant_parse(text, &ms) || !dot || strlen(text) >= sizeof kept)
    return bad(w, "bad_type", "holds a timestamp that is none");
  snprintf(kept, sizeof kept, "%.*s%s", (int)(dot - text + 1 + (digits > 6 ? 6 : (long)digits)), text, dot + 1 + digits);
  w->bytes += 8;
  return put_quoted(w, "timestampValue", kept, strlen(kept));
}

static aon_result put_special(writing *w, special kind, const bson_iter_t *inner, int depth) {
  bson_iter_t children;
  switch (kind) {
  case GEOPOINT:
    return put_geopoint(w, inner);
  case REFERENCE:
    return put_reference(w, bson_iter_utf8(inner, NULL));
  case TIMESTAMP:
    return put_fine_timestamp(w, bson_iter_utf8(inner, NULL));
  default:
    break;
  }
  aon_result result = bson_iter_recurse(inner, &children) ? aon_buffer_text(w->out, "{\"mapValue\":{\"fields\":{", w->error)
                                                          : bad(w, "bad_document", "is damaged");
  if (!result)
    result = put_fields(w, children, depth + 1);
  return result ? result : aon_buffer_text(w->out, "}}}", w->error);
}

static aon_result put_array(writing *w, const bson_iter_t *value, int depth) {
  bson_iter_t child;
  aon_result result = bson_iter_recurse(value, &child) ? aon_buffer_text(w->out, "{\"arrayValue\":{\"values\":[", w->error)
                                                       : bad(w, "bad_document", "is damaged");
  for (bool first = true; !result && bson_iter_next(&child); first = false) {
    result = first ? AON_OK : aon_buffer_text(w->out, ",", w->error);
    if (!result)
      result = put_value(w, &child, depth + 1, true);
  }
  return result ? result : aon_buffer_text(w->out, "]}}", w->error);
}

static aon_result put_map(writing *w, const bson_iter_t *value, int depth) {
  bson_iter_t children, inner;
  special kind = special_of(value, &inner);
  if (kind != PLAIN)
    return put_special(w, kind, &inner, depth);
  aon_result result = bson_iter_recurse(value, &children) ? aon_buffer_text(w->out, "{\"mapValue\":{\"fields\":{", w->error)
                                                          : bad(w, "bad_document", "is damaged");
  if (!result)
    result = put_fields(w, children, depth + 1);
  return result ? result : aon_buffer_text(w->out, "}}}", w->error);
}

static aon_result put_value(writing *w, const bson_iter_t *value, int depth, bool in_array) {
  char instant[AON_INSTANT_LENGTH + 1];
  uint32_t length;
  const char *text;
  if (w->what && depth > FS_DEPTH)
    return bad(w, "too_long", "is nested deeper than 20 levels");
  switch (bson_iter_type(value)) {
  case BSON_TYPE_NULL:
  case BSON_TYPE_UNDEFINED:
    w->bytes += 1;
    return aon_buffer_text(w->out, "{\"nullValue\":null}", w->error);
  case BSON_TYPE_BOOL:
    w->bytes += 1;
    return aon_buffer_format(w->out, w->error, "{\"booleanValue\":%s}", bson_iter_bool(value) ? "true" : "false");
  case BSON_TYPE_INT32:
  case BSON_TYPE_INT64:
    w->bytes += 8;
    return aon_buffer_format(w->out, w->error, "{\"integerValue\":\"%lld\"}", (long long)bson_iter_as_int64(value));
  case BSON_TYPE_DOUBLE:
    return put_double(w, bson_iter_double(value));
  case BSON_TYPE_UTF8:
    text = bson_iter_utf8(value, &length);
    w->bytes += length + 1;
    return put_quoted(w, "stringValue", text, length);
  case BSON_TYPE_DATE_TIME:
    aon_instant_format(bson_iter_date_time(value), instant);
    w->bytes += 8;
    return put_quoted(w, "timestampValue", instant, strlen(instant));
  case BSON_TYPE_BINARY:
    return put_bytes(w, value);
  case BSON_TYPE_ARRAY:
    return in_array ? bad(w, "bad_type", "holds a list in a list, which Firestore can't keep") : put_array(w, value, depth);
  case BSON_TYPE_DOCUMENT:
    return put_map(w, value, depth);
  default:
    return bad(w, "bad_type", "holds a type that Firestore can't keep");
  }
}

static aon_result put_fields(writing *w, bson_iter_t children, int depth) {
  aon_result result = AON_OK;
  for (bool first = true; !result && bson_iter_next(&children); first = false) {
    const char *key = bson_iter_key(&children);
    if (w->what && !name_fits(key, strlen(key)))
      return bad(w, "forbidden_character",
                 "has a property whose name Firestore can't keep: empty, like __this__, or longer than 1500 bytes");
    w->bytes += strlen(key) + 1;
    result = first ? AON_OK : aon_buffer_text(w->out, ",", w->error);
    if (!result)
      result = aon_text_to_json(key, strlen(key), w->out, w->error);
    if (!result)
      result = aon_buffer_text(w->out, ":", w->error);
    if (!result)
      result = put_value(w, &children, depth, false);
  }
  return result;
}

static aon_result put_document(writing *w, const char *name, const bson_t *document) {
  bson_iter_t children;
  aon_result result = aon_buffer_text(w->out, "{\"name\":", w->error);
  if (!result)
    result = aon_text_to_json(name, strlen(name), w->out, w->error);
  if (!result)
    result = aon_buffer_text(w->out, ",\"fields\":{", w->error);
  if (!result)
    result = bson_iter_init(&children, document) ? put_fields(w, children, 1) : bad(w, "bad_document", "is damaged");
  return result ? result : aon_buffer_text(w->out, "}}", w->error);
}

aon_result fs_put_document(const fs_store *store, const char *name, const aon_image *image, const char *stamp, aon_buffer *out,
                           aon_error *error) {
  writing w = {.store = store, .out = out, .error = error};
  bson_t view, stamped;
  if (!aon_image_view(image, &view))
    return bad(&w, "bad_document", "has a damaged image");
  if (!stamp)
    return put_document(&w, name, &view);
  bson_init(&stamped);
  bson_copy_to_excluding_noinit(&view, &stamped, AON_STAMP_NAME, (char *)NULL);
  aon_result result = bson_append_utf8(&stamped, AON_STAMP_NAME, -1, stamp, -1) ? put_document(&w, name, &stamped) : aon_fail_memory(error);
  bson_destroy(&stamped);
  return result;
}

/* ---- from JSON: of a reply (AON_HTTP_REPLY_LIMIT), whose values are longer than BSON's, so libbson never refuses to append ---- */

typedef struct taking {
  const fs_store *store;
  bool no_memory;
} taking;

static bool take_fields(taking *t, json_t *fields, bson_t *out);

static bool take_timestamp(const char *text, const char *key, bson_t *out) {
  int64_t ms;
  bson_t below;
  const char *dot = strchr(text, '.');
  size_t digits = dot ? strspn(dot + 1, "0123456789") : 0;
  bool fine = digits > 3 && strspn(dot + 4, "0") < digits - 3;
  if (!fine && aon_instant_parse(text, &ms))
    return bson_append_date_time(out, key, -1, ms);
  bson_append_document_begin(out, key, -1, &below);
  bson_append_utf8(&below, "$timestamp", -1, text, -1);
  return bson_append_document_end(out, &below);
}

static bool take_bytes(taking *t, const char *text, const char *key, bson_t *out) {
  size_t length = strlen(text), decoded = 0;
  unsigned char *bytes = malloc(length + 1);
  t->no_memory = t->no_memory || !bytes;
  bool fine = bytes && !sodium_base642bin(bytes, length + 1, text, length, NULL, &decoded, NULL, sodium_base64_VARIANT_ORIGINAL);
  if (fine)
    bson_append_binary(out, key, -1, BSON_SUBTYPE_BINARY, bytes, (uint32_t)decoded);
  free(bytes);
  return fine;
}

static bool take_reference(const fs_store *store, const char *name, const char *key, bson_t *out) {
  bson_t below;
  size_t root = strlen(store->root);
  const char *path = !strncmp(name, store->root, root) && name[root] == '/' ? name + root + 1 : name;
  bson_append_document_begin(out, key, -1, &below);
  bson_append_utf8(&below, "$reference", -1, path, -1);
  return bson_append_document_end(out, &below);
}

static bool take_geopoint(json_t *point, const char *key, bson_t *out) {
  bson_t below, pair; /* a coordinate that is 0 is left out */
  bson_append_document_begin(out, key, -1, &below);
  bson_append_array_begin(&below, "$geopoint", -1, &pair);
  bson_append_double(&pair, "0", 1, json_number_value(json_object_get(point, "latitude")));
  bson_append_double(&pair, "1", 1, json_number_value(json_object_get(point, "longitude")));
  bson_append_array_end(&below, &pair);
  return bson_append_document_end(out, &below);
}

static bool take_double(json_t *value, const char *key, bson_t *out) {
  const char *text = json_string_value(value);
  double number = !text                  ? json_number_value(value)
                  : !strcmp(text, "NaN") ? (double)NAN
                  : *text == '-'         ? -(double)INFINITY
                                         : (double)INFINITY;
  return bson_append_double(out, key, -1, number);
}

static bool take_map(taking *t, json_t *map, const char *key, bson_t *out) {
  json_t *fields = json_object_get(map, "fields");
  void *only = json_object_size(fields) == 1 ? json_object_iter(fields) : NULL;
  bson_t below, inner;
  bool escaped = only && special_of_name(json_object_iter_key(only)) != PLAIN;
  bson_append_document_begin(out, key, -1, &below);
  if (escaped)
    bson_append_document_begin(&below, "$map", -1, &inner);
  bool fine = take_fields(t, fields, escaped ? &inner : &below);
  if (escaped)
    bson_append_document_end(&below, &inner);
  bson_append_document_end(out, &below);
  return fine;
}

static bool take_value(taking *t, json_t *value, const char *key, bson_t *out) {
  void *only = json_object_iter(value);
  if (!only)
    return false;
  const char *type = json_object_iter_key(only);
  json_t *inner = json_object_iter_value(only), *child;
  const char *text = json_string_value(inner);
  if (!strcmp(type, "nullValue"))
    return bson_append_null(out, key, -1);
  if (!strcmp(type, "booleanValue"))
    return bson_append_bool(out, key, -1, json_is_true(inner));
  if (!strcmp(type, "integerValue"))
    return bson_append_int64(out, key, -1, text ? strtoll(text, NULL, 10) : (int64_t)json_number_value(inner));
  if (!strcmp(type, "doubleValue"))
    return take_double(inner, key, out);
  if (!strcmp(type, "stringValue"))
    return bson_append_utf8(out, key, -1, text, (int)json_string_length(inner));
  if (!strcmp(type, "timestampValue") && text)
    return take_timestamp(text, key, out);
  if (!strcmp(type, "bytesValue") && text)
    return take_bytes(t, text, key, out);
  if (!strcmp(type, "referenceValue") && text)
    return take_reference(t->store, text, key, out);
  if (!strcmp(type, "geoPointValue"))
    return take_geopoint(inner, key, out);
  if (!strcmp(type, "mapValue"))
    return take_map(t, inner, key, out);
  if (strcmp(type, "arrayValue"))
    return false; /* a type that Firestore got after this was written: refused, not lost */
  size_t index;
  bson_t below;
  bool fine = true;
  bson_append_array_begin(out, key, -1, &below);
  json_array_foreach(json_object_get(inner, "values"), index, child) {
    char place[24];
    snprintf(place, sizeof place, "%zu", index);
    fine = fine && take_value(t, child, place, &below);
  }
  bson_append_array_end(out, &below);
  return fine;
}

static bool take_fields(taking *t, json_t *fields, bson_t *out) {
  const char *key;
  json_t *value;
  bool fine = true;
  json_object_foreach(fields, key, value) fine = fine && take_value(t, value, key, out);
  return fine;
}

aon_result fs_image(const fs_store *store, json_t *document, aon_arena *arena, aon_image *ret_image, aon_error *error) {
  bson_t made = BSON_INITIALIZER;
  const char *version = json_string_value(json_object_get(document, "updateTime"));
  taking t = {.store = store};
  bool fine = take_fields(&t, json_object_get(document, "fields"), &made);
  aon_result result = fine          ? aon_image_from(&made, arena, ret_image, error)
                      : t.no_memory ? aon_fail_memory(error)
                                    : aon_fail(error, AON_PERMANENT, "bad_type",
                                               "A document of %s holds a type of value that this program does not know.", store->fb.name);
  bson_destroy(&made);
  if (!result && version) {
    ret_image->token = aon_arena_copy(arena, version, strlen(version));
    ret_image->token_length = (uint32_t)strlen(version);
    result = ret_image->token ? AON_OK : aon_fail_memory(error);
  }
  return result;
}

/* ---- normalise ---- */

aon_result fs_normalise(void *state, const aon_collection *collection, aon_text id, const bson_t *document, aon_arena *arena,
                        aon_image *ret_image, aon_error *error) {
  const fs_store *store = state;
  const char *name;
  fb_name what;
  AON_BUFFER_CLEANUP aon_buffer out = {0};
  writing w = {.store = store, .what = what.text, .out = &out, .error = error};
  aon_result result = fb_name_document(&store->fb, collection, id, &what, error);
  if (!result)
    result = fs_document_name(store, collection, id, arena, &name, error);
  if (!result && !name)
    return bad(&w, "forbidden_character",
               "has an id that Firestore can't keep: not / . .. or __like this__, 1500 bytes at most, and as many parts as the path has");
  if (!result)
    result = put_document(&w, name, document);
  if (!result && w.bytes + strlen(name) + 48 > FS_DOCUMENT_BYTES)
    result = bad(&w, "too_long", "takes more than 1 MiB, the most that Firestore keeps in one document");
  if (result)
    return result;
  json_error_t ignored;
  json_t *root = json_loadb(out.data, out.length, JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &ignored);
  result = root ? fs_image(store, root, arena, ret_image, error) : bad(&w, "bad_document", "can't be spelled");
  json_decref(root);
  return result;
}
