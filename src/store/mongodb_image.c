/* MongoDB documents: which text names one, how it becomes an image and comes back, what can't be held.
 *
 * Invariants:
 *  - an image and its token give back the stored bytes, but for the place of _id, which the server puts first in every document;
 *  - the id as text is _id (or the collection's own key) where that is a text; a number, an ObjectId or a UUID is named by its usual
 *    spelling, and the token keeps which of them _id is. Of several properties the parts are joined. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/document.h"
#include "model/text.h"
#include "store/mongodb_internal.h"

#define OID_TEXT 24
#define UUID_TEXT 36

/* ---- keys ---- */

/* What the configuration says of the database's collection goes before what a pack says of its documents. */
mdb_key mdb_key_of(const mdb_store *store, const aon_collection *collection) {
  static const char *const by_id[] = {"_id"};
  for (const aon_store_key *key = store->keys; key && key->collection; key++)
    if (!strcmp(key->collection, collection->name)) {
      mdb_key found = {.names = key->properties};
      while (found.names[found.count])
        found.count++;
      return found;
    }
  bool own = collection->id_property && mdb_plain_name(collection->id_property);
  return (mdb_key){own ? &collection->id_property : by_id, 1};
}

const char *mdb_key_shown(mdb_key key, const char *after, char ret_shown[MDB_KEY_SHOWN]) {
  size_t length = 0;
  *ret_shown = 0;
  for (size_t i = 0; i < key.count && length < MDB_KEY_SHOWN; i++)
    length += (size_t)snprintf(ret_shown + length, MDB_KEY_SHOWN - length, "%s%s%s", i ? ", " : "", key.names[i], after);
  return ret_shown;
}

bool mdb_plain_name(const char *name) { return *name && *name != '$' && !strchr(name, '.'); }

/* ---- ids ---- */

aon_result mdb_id_parts(mdb_key key, aon_text id, aon_arena *arena, aon_text ret_parts[AON_STORE_KEY_PARTS], bool *ret_fits,
                        aon_error *error) {
  *ret_fits = true;
  ret_parts[0] = id;
  return key.count == 1 ? AON_OK : aon_id_split(id, key.count, arena, ret_parts, ret_fits, error);
}

static bool is_hex(aon_text text, size_t length) {
  if (text.length != length)
    return false;
  for (size_t i = 0; i < length; i++)
    if (!strchr("0123456789abcdef", text.data[i]) || !text.data[i])
      return false;
  return true;
}

static bool read_integer(aon_text text, int64_t *ret_value) {
  char digits[MDB_NUMBER_BYTES], again[MDB_NUMBER_BYTES];
  if (!text.length || text.length >= sizeof digits)
    return false;
  snprintf(digits, sizeof digits, "%.*s", (int)text.length, text.data);
  *ret_value = strtoll(digits, NULL, 10);
  snprintf(again, sizeof again, "%lld", (long long)*ret_value);
  return !strcmp(digits, again);
}

static bool read_uuid(aon_text text, uint8_t ret_bytes[16]) {
  size_t at = 0;
  if (text.length != UUID_TEXT)
    return false;
  for (size_t i = 0; i < UUID_TEXT;) {
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (text.data[i++] != '-')
        return false;
      continue;
    }
    aon_text two = {text.data + i, 2};
    char digits[3] = {text.data[i], text.data[i + 1], 0};
    if (!is_hex(two, 2))
      return false;
    ret_bytes[at++] = (uint8_t)strtoul(digits, NULL, 16);
    i += 2;
  }
  return true;
}

static const char *next_index(uint32_t *index, char buffer[16]) {
  const char *key;
  bson_uint32_to_string((*index)++, &key, buffer, 16);
  return key;
}

void mdb_append_candidates(bson_t *array, aon_text id, uint32_t *index) {
  char buffer[16];
  uint8_t uuid[16];
  int64_t number;
  bson_oid_t oid;
  bson_append_utf8(array, next_index(index, buffer), -1, id.data, (int)id.length);
  if (read_integer(id, &number))
    bson_append_int64(array, next_index(index, buffer), -1, number);
  if (is_hex(id, OID_TEXT)) {
    char digits[OID_TEXT + 1];
    snprintf(digits, sizeof digits, "%.*s", OID_TEXT, id.data);
    bson_oid_init_from_string(&oid, digits);
    bson_append_oid(array, next_index(index, buffer), -1, &oid);
  }
  if (read_uuid(id, uuid))
    bson_append_binary(array, next_index(index, buffer), -1, BSON_SUBTYPE_UUID, uuid, sizeof uuid);
}

static char *uuid_text(aon_arena *arena, const uint8_t *b) {
  return aon_arena_format(arena, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4], b[5],
                          b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

/* *ret_text.data NULL: no text names it. */
static aon_result spell(const bson_iter_t *at, aon_arena *arena, aon_text *ret_text, aon_error *error) {
  uint32_t length = 0;
  bson_subtype_t subtype;
  const uint8_t *bytes;
  char digits[OID_TEXT + 1];
  char *made = NULL;
  *ret_text = (aon_text){0};
  switch (bson_iter_type(at)) {
  case BSON_TYPE_UTF8: {
    const char *text = bson_iter_utf8(at, &length);
    if (memchr(text, 0, length))
      return AON_OK;
    made = aon_arena_text(arena, text, length);
    break;
  }
  case BSON_TYPE_INT32:
  case BSON_TYPE_INT64:
    made = aon_arena_format(arena, "%lld", (long long)bson_iter_as_int64(at));
    break;
  case BSON_TYPE_DOUBLE: {
    double value = bson_iter_double(at);
    if (value < -9007199254740992.0 || value > 9007199254740992.0 || value != (double)(int64_t)value)
      return AON_OK;
    made = aon_arena_format(arena, "%lld", (long long)value);
    break;
  }
  case BSON_TYPE_OID:
    bson_oid_to_string(bson_iter_oid(at), digits);
    made = aon_arena_text(arena, digits, OID_TEXT);
    break;
  case BSON_TYPE_BINARY:
    bson_iter_binary(at, &subtype, &length, &bytes);
    if (subtype != BSON_SUBTYPE_UUID || length != 16)
      return AON_OK;
    made = uuid_text(arena, bytes);
    break;
  default:
    return AON_OK;
  }
  if (!made)
    return aon_fail_memory(error);
  *ret_text = (aon_text){made, strlen(made)};
  return AON_OK;
}

static aon_result join(const aon_text *parts, size_t count, aon_arena *arena, aon_text *ret_id, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer joined = {0};
  aon_result result = aon_id_join(parts, count, &joined, error);
  if (result)
    return result;
  *ret_id = (aon_text){aon_arena_text(arena, joined.data, joined.length), joined.length};
  return ret_id->data ? AON_OK : aon_fail_memory(error);
}

aon_result mdb_id_text(const mdb_store *store, const aon_collection *collection, const bson_t *document, aon_arena *arena, aon_text *ret_id,
                       aon_error *error) {
  mdb_key key = mdb_key_of(store, collection);
  aon_text parts[AON_STORE_KEY_PARTS];
  bson_iter_t at;
  for (size_t i = 0; i < key.count; i++) {
    parts[i] = (aon_text){0};
    aon_result result = bson_iter_init_find(&at, document, key.names[i]) ? spell(&at, arena, &parts[i], error) : AON_OK;
    if (result)
      return result;
    if (!parts[i].data || (key.count == 1 && !parts[i].length))
      return aon_fail(error, AON_PERMANENT, "not_supported",
                      "%s/%s holds a document whose %s can't be named: it must be a text, a whole number, an ObjectId or a UUID.",
                      store->name, collection->name, key.names[i]);
  }
  *ret_id = parts[0];
  return key.count == 1 ? AON_OK : join(parts, key.count, arena, ret_id, error);
}

static bool same_text(aon_text a, aon_text b) { return a.length == b.length && (!a.length || !memcmp(a.data, b.data, a.length)); }

/* ---- documents to images ---- */

static bool shows_id(const aon_collection *collection) { return collection->id_property && !strcmp(collection->id_property, "_id"); }

static aon_result keep_token(const bson_iter_t *own, aon_arena *arena, aon_image *image, aon_error *error) {
  bson_t token = BSON_INITIALIZER;
  bson_append_iter(&token, "_id", 3, own);
  image->token_length = token.len;
  image->token = aon_arena_copy(arena, bson_get_data(&token), token.len);
  bson_destroy(&token);
  return image->token ? AON_OK : aon_fail_memory(error);
}

aon_result mdb_image_of(const aon_collection *collection, aon_text id, const bson_t *document, aon_arena *arena, aon_image *ret_image,
                        aon_error *error) {
  bson_t out = BSON_INITIALIZER;
  bson_iter_t at, own;
  bool has_id = false;
  if (shows_id(collection))
    bson_append_utf8(&out, "_id", 3, id.data, (int)id.length);
  bson_iter_init(&at, document);
  while (bson_iter_next(&at)) {
    if (!strcmp(bson_iter_key(&at), "_id")) {
      own = at;
      has_id = true;
    } else {
      bson_append_iter(&out, bson_iter_key(&at), (int)bson_iter_key_len(&at), &at);
    }
  }
  aon_result result = aon_image_from(&out, arena, ret_image, error);
  if (!result && has_id) {
    aon_text text;
    result = spell(&own, arena, &text, error);
    bool plain = bson_iter_type(&own) == BSON_TYPE_UTF8 && text.data && same_text(text, id);
    if (!result && !plain)
      result = keep_token(&own, arena, ret_image, error);
  }
  bson_destroy(&out);
  return result;
}

/* ---- images to documents ---- */

static void append_id(const aon_image *image, aon_text id, const bson_t *own_id, bson_t *out) {
  bson_t token;
  bson_iter_t at;
  if ((own_id && bson_iter_init_find(&at, own_id, "_id")) ||
      (image->token && bson_init_static(&token, image->token, image->token_length) && bson_iter_init_find(&at, &token, "_id")))
    bson_append_iter(out, "_id", 3, &at);
  else
    bson_append_utf8(out, "_id", 3, id.data, (int)id.length);
}

aon_result mdb_document_of(const mdb_store *store, const aon_collection *collection, aon_text id, const aon_image *image,
                           const bson_t *own_id, const char *stamp, bson_t *ret_document, aon_error *error) {
  bson_t view;
  bson_iter_t at;
  bson_init(ret_document);
  if (!aon_image_view(image, &view) || !bson_iter_init(&at, &view))
    return aon_fail(error, AON_CORRUPT, "bad_image", "An image of %s/%s can't be read.", store->name, collection->name);
  append_id(image, id, own_id, ret_document);
  while (bson_iter_next(&at))
    if (strcmp(bson_iter_key(&at), "_id") != 0 && !(stamp && !strcmp(bson_iter_key(&at), AON_STAMP_NAME)))
      bson_append_iter(ret_document, bson_iter_key(&at), (int)bson_iter_key_len(&at), &at);
  if (stamp)
    bson_append_utf8(ret_document, AON_STAMP_NAME, -1, stamp, -1);
  return AON_OK;
}

/* ---- normalising ---- */

typedef struct checking {
  const mdb_store *store;
  const char *top; /* the property in which something is wrong */
} checking;

static aon_result unholdable(const checking *c, const char *code, const char *why, aon_error *error) {
  return aon_fail(error, AON_REJECTED, code, "The property “%s” of a document for %s %s.", c->top, c->store->name, why);
}

/* FerretDB hangs up on types that it does not have, changes -0.0, and refuses some values. */
static aon_result check_ferretdb(const checking *c, const bson_iter_t *at, bool array, aon_error *error) {
  const char *key = bson_iter_key(at);
  double value;
  if (!array && (*key == '$' || strchr(key, '.')))
    return unholdable(c, "bad_type", "has a name with $ or a dot, which FerretDB can't hold", error);
  switch (bson_iter_type(at)) {
  case BSON_TYPE_DOUBLE:
    value = bson_iter_double(at);
    if (value != value || value - value != 0 || (value == 0 && 1 / value < 0))
      return unholdable(c, "bad_type", "is a number (not finite, or -0.0) that FerretDB can't hold", error);
    return AON_OK;
  case BSON_TYPE_ARRAY:
    return array ? unholdable(c, "bad_type", "is a list within a list, which FerretDB can't hold", error) : AON_OK;
  case BSON_TYPE_DOCUMENT:
  case BSON_TYPE_NULL:
  case BSON_TYPE_BOOL:
  case BSON_TYPE_INT32:
  case BSON_TYPE_INT64:
  case BSON_TYPE_UTF8:
  case BSON_TYPE_DATE_TIME:
  case BSON_TYPE_OID:
  case BSON_TYPE_BINARY:
  case BSON_TYPE_TIMESTAMP:
    return AON_OK;
  default:
    return unholdable(c, "bad_type", "has a type that FerretDB does not have", error);
  }
}

static aon_result check_members(checking *c, bson_iter_t *at, bool array, int depth, aon_error *error) {
  if (depth > MDB_DEPTH_LIMIT)
    return unholdable(c, "too_deep", "nests deeper than MongoDB's 100 levels", error);
  while (bson_iter_next(at)) {
    bson_iter_t inner;
    if (depth == 1)
      c->top = bson_iter_key(at);
    if (c->store->facts.ferretdb) {
      aon_result result = check_ferretdb(c, at, array, error);
      if (result)
        return result;
    }
    bool list = bson_iter_type(at) == BSON_TYPE_ARRAY;
    if ((list || bson_iter_type(at) == BSON_TYPE_DOCUMENT) && bson_iter_recurse(at, &inner)) {
      aon_result result = check_members(c, &inner, list, depth + 1, error);
      if (result)
        return result;
    }
  }
  return AON_OK;
}

/* What repeats the id, or a part of it, must say the same. */
static aon_result check_repeated(const mdb_store *store, const aon_collection *collection, const char *property, aon_text part, aon_text id,
                                 const bson_t *document, bool needed, aon_arena *arena, aon_error *error) {
  bson_iter_t at;
  aon_text text = {0};
  bool there = bson_iter_init_find(&at, document, property);
  if (!there && !needed)
    return AON_OK;
  aon_result result = there ? spell(&at, arena, &text, error) : AON_OK;
  if (result || (text.data && same_text(text, part)))
    return result;
  return aon_fail(error, AON_REJECTED, "inconsistent", "The document %.*s of %s/%s %s “%s”, which holds its id.", mdb_shown(id), id.data,
                  store->name, collection->name, there ? "has another value in the property" : "lacks the property", property);
}

static aon_result check_key(const mdb_store *store, const aon_collection *collection, aon_text id, const bson_t *document, aon_arena *arena,
                            aon_error *error) {
  mdb_key key = mdb_key_of(store, collection);
  aon_text parts[AON_STORE_KEY_PARTS];
  char shown[MDB_KEY_SHOWN];
  bool fits;
  if (mdb_keyed_by_id(key))
    return check_repeated(store, collection, "_id", id, id, document, false, arena, error);
  aon_result result = mdb_id_parts(key, id, arena, parts, &fits, error);
  if (!result && !fits)
    result = aon_fail(error, AON_REJECTED, "bad_format",
                      "“%.*s” can't be an id in %s/%s: it needs one part for each property of the key (%s), joined with “:”.",
                      mdb_shown(id), id.data, store->name, collection->name, mdb_key_shown(key, "", shown));
  for (size_t i = 0; !result && i < key.count; i++)
    result = check_repeated(store, collection, key.names[i], parts[i], id, document, true, arena, error);
  if (!result && shows_id(collection))
    result = check_repeated(store, collection, "_id", id, id, document, false, arena, error);
  return result;
}

aon_result mdb_normalise(void *state, const aon_collection *collection, aon_text id, const bson_t *document, aon_arena *arena,
                         aon_image *ret_image, aon_error *error) {
  const mdb_store *store = state;
  bson_iter_t at;
  if (!id.length || memchr(id.data, 0, id.length) || !bson_utf8_validate(id.data, id.length, false))
    return aon_fail(error, AON_REJECTED, "bad_format", "A document of %s/%s needs an id, a text without NUL.", store->name,
                    collection->name);
  if (!bson_iter_init(&at, document))
    return aon_fail(error, AON_CORRUPT, "bad_image", "A document can't be read.");
  if (document->len + id.length + 64 > MDB_DOCUMENT_BYTES)
    return aon_fail(error, AON_REJECTED, "too_long", "The document is larger than MongoDB's %u bytes.", MDB_DOCUMENT_BYTES);
  checking c = {.store = store, .top = ""};
  aon_result result = check_members(&c, &at, false, 1, error);
  if (!result)
    result = check_key(store, collection, id, document, arena, error);
  return result ? result : mdb_image_of(collection, id, document, arena, ret_image, error);
}
