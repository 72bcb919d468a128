/* Where a document of a pack lies: its store, and the query or the path by which that store's own tools find it. */
#include <string.h>

#include "model/document.h"
#include "model/text.h"
#include "pack/schema.h"

static aon_result unknown_collection(const aon_pack *pack, const char *name, aon_error *error) {
  const char *names[AON_SCHEMA_COLLECTIONS], *nearest;
  size_t count = pack->schema.collection_count;
  for (size_t i = 0; i < count; i++)
    names[i] = pack->schema.collections[i].base.name;
  aon_result result = aon_nearest((aon_text){name, strlen(name)}, names, count, &nearest, error);
  if (result)
    return result;
  if (nearest)
    return aon_fail(error, AON_USAGE, "unknown_collection", "The pack %s has no collection “%s”. Did you mean “%s”?", pack->schema.name,
                    name, nearest);
  return aon_fail(error, AON_USAGE, "unknown_collection", "The pack %s has no collection “%s”. “aon pack show %s” lists those that it has.",
                  pack->schema.name, name, pack->schema.name);
}

/* A simple id is its only part as it stands; a composite one is split and decoded. */
static aon_result split_id(const aon_schema_collection *collection, const char *id, aon_arena *arena, aon_text parts[AON_SCHEMA_PARTS],
                           aon_error *error) {
  aon_text whole = {id, strlen(id)};
  bool good = whole.length > 0;
  if (collection->part_count == 1)
    parts[0] = whole;
  else if (good) {
    aon_result result = aon_id_split(whole, collection->part_count, arena, parts, &good, error);
    if (result)
      return result;
  }
  for (size_t i = 0; good && i < collection->part_count; i++)
    good = parts[i].length > 0;
  if (good)
    return AON_OK;
  aon_buffer form AON_BUFFER_CLEANUP = {0};
  for (size_t i = 0; i < collection->part_count; i++) {
    aon_result result = aon_buffer_format(&form, error, "%s%s", i ? ":" : "", collection->parts[i]);
    if (result)
      return result;
  }
  return aon_fail(error, AON_USAGE, "bad_format", "“%s” is no id of %s. Write it as %s (a : or %% inside a part as %%3A or %%25).", id,
                  collection->base.name, form.data);
}

/* The value of a place holder such as {userID}. */
static const aon_text *part_named(const aon_schema_collection *collection, const aon_text *parts, const char *name, size_t length) {
  for (size_t i = 0; i < collection->part_count; i++)
    if (strlen(collection->parts[i]) == length && !memcmp(collection->parts[i], name, length))
      return &parts[i];
  return NULL;
}

static aon_result fill_path(const aon_pack *pack, const aon_schema_collection *collection, const aon_text *parts, aon_buffer *out,
                            aon_error *error) {
  aon_result result = AON_OK;
  for (const char *p = collection->base.path; !result && *p;) {
    size_t plain = strcspn(p, "{");
    result = aon_buffer_append(out, p, plain, error);
    p += plain;
    if (result || !*p)
      break;
    size_t length = strcspn(p + 1, "}");
    const aon_text *value = p[1 + length] ? part_named(collection, parts, p + 1, length) : NULL;
    if (!value)
      return aon_fail(error, AON_ENVIRONMENT, "bad_pack", "%s: the path of the collection %s names %.*s, which is no part of its id.",
                      pack->file, collection->base.name, (int)length, p + 1);
    if (memchr(value->data, '/', value->length))
      return aon_fail(error, AON_USAGE, "forbidden_character", "An id of %s can't have a / in it: it is part of a path.",
                      collection->base.name);
    result = aon_buffer_append(out, value->data, value->length, error);
    p += length + 2;
  }
  return result;
}

static aon_result append_key(aon_buffer *out, const char *before, const char *name, aon_error *error) {
  aon_result result = aon_buffer_text(out, before, error);
  if (!result)
    result = aon_text_to_json(name, strlen(name), out, error);
  return result ? result : aon_buffer_text(out, ":", error);
}

/* value NULL: null. */
static aon_result append_member(aon_buffer *out, const char *before, const char *name, const char *value, aon_error *error) {
  aon_result result = append_key(out, before, name, error);
  if (result)
    return result;
  return value ? aon_text_to_json(value, strlen(value), out, error) : aon_buffer_text(out, "null", error);
}

/* A document that has a path is found by that; what it holds need not repeat its id. */
static aon_result append_query(const aon_schema_collection *collection, const char *id, const aon_text *parts, aon_buffer *out,
                               aon_error *error) {
  aon_result result = AON_OK;
  if (collection->base.path)
    return aon_buffer_text(out, ",\"query\":null", error);
  if (collection->part_count == 1) {
    const char *property = collection->base.id_property ? collection->base.id_property : collection->parts[0];
    result = append_member(out, ",\"query\":{", property, id, error);
  }
  for (size_t i = 0; !result && collection->part_count > 1 && i < collection->part_count; i++) {
    result = append_key(out, i ? "," : ",\"query\":{", collection->parts[i], error);
    if (!result)
      result = aon_text_to_json(parts[i].data, parts[i].length, out, error);
  }
  return result ? result : aon_buffer_text(out, "}", error);
}

static aon_result append_path(const aon_pack *pack, const aon_schema_collection *collection, const aon_text *parts, aon_buffer *out,
                              aon_error *error) {
  aon_buffer path AON_BUFFER_CLEANUP = {0};
  if (!collection->base.path)
    return aon_buffer_text(out, ",\"path\":null", error);
  aon_result result = fill_path(pack, collection, parts, &path, error);
  if (!result)
    result = append_member(out, ",", "path", path.data ? path.data : "", error);
  return result;
}

aon_result aon_pack_locate(const aon_pack *pack, const char *collection_name, const char *id, aon_buffer *out, aon_error *error) {
  const aon_schema_collection *collection = aon_schema_collection_find(&pack->schema, collection_name);
  aon_arena arena AON_ARENA_CLEANUP = {0};
  aon_buffer line AON_BUFFER_CLEANUP = {0};
  aon_text parts[AON_SCHEMA_PARTS];
  if (!collection)
    return unknown_collection(pack, collection_name, error);
  aon_result result = id ? split_id(collection, id, &arena, parts, error) : AON_OK;
  if (!result)
    result = append_member(&line, "{", "store", collection->base.store, error);
  if (!result)
    result = append_member(&line, ",", "collection", collection->base.name, error);
  if (!result)
    result = append_member(&line, ",", "documentId", id, error);
  if (!result)
    result = id ? append_query(collection, id, parts, &line, error) : aon_buffer_text(&line, ",\"query\":null", error);
  if (!result)
    result = id ? append_path(pack, collection, parts, &line, error) : append_member(&line, ",", "path", collection->base.path, error);
  if (!result)
    result = aon_buffer_text(&line, "}", error);
  return result ? result : aon_buffer_append(out, line.data, line.length, error);
}
