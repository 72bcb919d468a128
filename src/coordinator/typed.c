/* Types that JSON lacks. Texts are turned into BSON values where a line says so.
 * geopoint: {"latitude", "longitude"} with numbers; reference: the path of a document as text; both are kept as BSON objects that the
 * adapter of a store with these types understands: {"$geopoint": [lat, lng]}, {"$reference": path}. */
#include "coordinator/typed.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "model/document.h"
#include "model/text.h"

#define PATH_LIMIT 1024

typedef struct typing {
  const bson_t *types;
  uint32_t allowed;
  uint32_t used; /* how many of types were met */
  aon_error *error;
} typing;

static const struct {
  const char *name;
  uint32_t bit;
} known_types[] = {{"timestamp", AON_TYPE_TIMESTAMP}, {"objectId", AON_TYPE_OBJECT_ID}, {"bytes", AON_TYPE_BYTES},
                   {"decimal", AON_TYPE_DECIMAL},     {"geopoint", AON_TYPE_GEOPOINT},  {"reference", AON_TYPE_REFERENCE}};

static aon_result bad(typing *t, const char *path, const char *name, const char *what) {
  return aon_fail(t->error, AON_REJECTED, "bad_type", "“%s” %s as %s.", path, what, name);
}

static bool append_bytes(bson_t *out, const char *key, const char *text) {
  size_t length = strlen(text), decoded;
  unsigned char *bytes = bson_malloc(length + 1);
  bool fine = sodium_base642bin(bytes, length + 1, text, length, NULL, &decoded, NULL, sodium_base64_VARIANT_ORIGINAL) == 0 &&
              bson_append_binary(out, key, -1, BSON_SUBTYPE_BINARY, bytes, (uint32_t)decoded);
  bson_free(bytes);
  return fine;
}

static bool append_geopoint(bson_t *out, const char *key, const bson_iter_t *value) {
  bson_iter_t object, latitude = {0}, longitude = {0};
  if (!BSON_ITER_HOLDS_DOCUMENT(value) || !bson_iter_recurse(value, &object))
    return false;
  bson_iter_t copy = object;
  if (!bson_iter_find(&object, "latitude") || !BSON_ITER_HOLDS_NUMBER(&object))
    return false;
  latitude = object;
  if (!bson_iter_find(&copy, "longitude") || !BSON_ITER_HOLDS_NUMBER(&copy))
    return false;
  longitude = copy;
  double lat = bson_iter_as_double(&latitude), lng = bson_iter_as_double(&longitude);
  bson_t point, pair;
  return lat >= -90 && lat <= 90 && lng >= -180 && lng <= 180 && bson_append_document_begin(out, key, -1, &point) &&
         bson_append_array_begin(&point, "$geopoint", -1, &pair) && bson_append_double(&pair, "0", 1, lat) &&
         bson_append_double(&pair, "1", 1, lng) && bson_append_array_end(&point, &pair) && bson_append_document_end(out, &point);
}

static bool append_typed(bson_t *out, const char *key, const bson_iter_t *value, uint32_t type) {
  if (type == AON_TYPE_GEOPOINT)
    return append_geopoint(out, key, value);
  if (!BSON_ITER_HOLDS_UTF8(value))
    return false;
  const char *text = bson_iter_utf8(value, NULL);
  bson_decimal128_t decimal;
  bson_oid_t oid;
  int64_t ms;
  bson_t child;
  switch (type) {
  case AON_TYPE_TIMESTAMP:
    return aon_instant_parse(text, &ms) && bson_append_date_time(out, key, -1, ms);
  case AON_TYPE_OBJECT_ID:
    if (!bson_oid_is_valid(text, strlen(text)))
      return false;
    bson_oid_init_from_string(&oid, text);
    return bson_append_oid(out, key, -1, &oid);
  case AON_TYPE_BYTES:
    return append_bytes(out, key, text);
  case AON_TYPE_DECIMAL:
    return bson_decimal128_from_string(text, &decimal) && bson_append_decimal128(out, key, -1, &decimal);
  case AON_TYPE_REFERENCE:
    return *text && bson_append_document_begin(out, key, -1, &child) && bson_append_utf8(&child, "$reference", -1, text, -1) &&
           bson_append_document_end(out, &child);
  default:
    return false;
  }
}

static const char *type_at(const typing *t, const char *path) {
  bson_iter_t at;
  return bson_iter_init_find(&at, t->types, path) && BSON_ITER_HOLDS_UTF8(&at) ? bson_iter_utf8(&at, NULL) : NULL;
}

static aon_result rebuild(typing *t, bson_iter_t *from, bson_t *out, const char *path);

static aon_result rebuild_child(typing *t, const bson_iter_t *at, bson_t *out, const char *path) {
  bson_iter_t inner;
  bson_t child;
  const char *key = bson_iter_key(at);
  bool array = BSON_ITER_HOLDS_ARRAY(at);
  if (!bson_iter_recurse(at, &inner) ||
      !(array ? bson_append_array_begin(out, key, -1, &child) : bson_append_document_begin(out, key, -1, &child)))
    return aon_fail_memory(t->error);
  aon_result result = rebuild(t, &inner, &child, path);
  bool ended = array ? bson_append_array_end(out, &child) : bson_append_document_end(out, &child);
  return result ? result : ended ? AON_OK : aon_fail_memory(t->error);
}

static aon_result one(typing *t, const bson_iter_t *at, bson_t *out, const char *path) {
  const char *name = type_at(t, path);
  if (!name) {
    if (BSON_ITER_HOLDS_DOCUMENT(at) || BSON_ITER_HOLDS_ARRAY(at))
      return rebuild_child(t, at, out, path);
    return bson_append_iter(out, bson_iter_key(at), -1, at) ? AON_OK : aon_fail_memory(t->error);
  }
  t->used++;
  for (size_t i = 0; i < sizeof known_types / sizeof *known_types; i++) {
    if (strcmp(name, known_types[i].name))
      continue;
    if (!(t->allowed & known_types[i].bit))
      return bad(t, path, name, "can't be kept by this store");
    return append_typed(out, bson_iter_key(at), at, known_types[i].bit) ? AON_OK : bad(t, path, name, "does not read");
  }
  return aon_fail(t->error, AON_REJECTED, "bad_type",
                  "“%s” is no type; known are timestamp, objectId, bytes, decimal, geopoint and reference.", name);
}

static aon_result rebuild(typing *t, bson_iter_t *from, bson_t *out, const char *path) {
  while (bson_iter_next(from)) {
    char deeper[PATH_LIMIT];
    size_t length = (size_t)snprintf(deeper, sizeof deeper, "%s/", path);
    for (const char *c = bson_iter_key(from); *c && length + 3 < sizeof deeper; c++) {
      if (*c == '~' || *c == '/') {
        deeper[length++] = '~';
        deeper[length++] = *c == '~' ? '0' : '1';
      } else {
        deeper[length++] = *c;
      }
    }
    deeper[length] = 0;
    aon_result result = one(t, from, out, deeper);
    if (result)
      return result;
  }
  return AON_OK;
}

aon_result aon_types_apply(bson_t *document, const bson_iter_t *types, uint32_t allowed, aon_error *error) {
  uint32_t length;
  const uint8_t *bytes;
  bson_t view;
  bson_iter_t at;
  bson_iter_document(types, &length, &bytes);
  if (!bson_init_static(&view, bytes, length) || !bson_iter_init(&at, document))
    return aon_fail(error, AON_REJECTED, "bad_type", "“types” can't be read.");
  aon_error failure = AON_ERROR_INIT;
  typing t = {.types = &view, .allowed = allowed, .error = &failure};
  bson_t out = BSON_INITIALIZER;
  aon_result result = rebuild(&t, &at, &out, "");
  if (!result && t.used != bson_count_keys(&view))
    result = aon_fail(&failure, AON_REJECTED, "bad_type", "“types” points to something that is not in “data”.");
  if (result) {
    bson_destroy(&out);
    if (error)
      *error = failure;
    return result;
  }
  bson_destroy(document);
  bson_steal(document, &out);
  return AON_OK;
}
