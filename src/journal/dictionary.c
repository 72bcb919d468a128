/* Names of one bulk operation's log. Invariants stand in dictionary.h. */
#include "journal/dictionary.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/spare.h"

#define SLOTS_FIRST 64

struct aon_dictionary {
  unsigned owners;
  aon_arena arena;
  struct named {
    aon_collection *collection;
    const char *settings;
  } * collections;
  size_t collection_count, collection_capacity;
  const char **texts;
  size_t text_count, text_capacity;
  uint32_t *slots; /* open addressing; number of a text + 1, 0: free */
  size_t slot_count;
};

aon_dictionary *aon_dictionary_new(void) {
  aon_dictionary *dictionary = calloc(1, sizeof *dictionary);
  if (dictionary)
    dictionary->owners = 1;
  return dictionary;
}

aon_dictionary *aon_dictionary_share(aon_dictionary *dictionary) {
  dictionary->owners++;
  return dictionary;
}

void aon_dictionary_release(aon_dictionary *dictionary) {
  if (!dictionary || --dictionary->owners)
    return;
  aon_arena_release(&dictionary->arena);
  free(dictionary->collections);
  free(dictionary->texts);
  free(dictionary->slots);
  free(dictionary);
}

size_t aon_dictionary_collections(const aon_dictionary *dictionary) { return dictionary->collection_count; }
size_t aon_dictionary_texts(const aon_dictionary *dictionary) { return dictionary->text_count; }

const aon_collection *aon_dictionary_collection_at(const aon_dictionary *dictionary, size_t number) {
  return number < dictionary->collection_count ? dictionary->collections[number].collection : NULL;
}

const char *aon_dictionary_settings_at(const aon_dictionary *dictionary, size_t number) { return dictionary->collections[number].settings; }

const char *aon_dictionary_text_at(const aon_dictionary *dictionary, size_t number) {
  return number < dictionary->text_count ? dictionary->texts[number] : NULL;
}

/* ---- texts ---- */

static size_t text_hash(const char *text) { /* FNV-1a; only where in memory a text is looked for */
  uint64_t hash = 14695981039346656037u;
  for (; *text; text++)
    hash = (hash ^ (unsigned char)*text) * 1099511628211u;
  return (size_t)(hash ^ hash >> 32);
}

static size_t slot_of(const aon_dictionary *dictionary, const char *text) {
  size_t slot = text_hash(text) & (dictionary->slot_count - 1);
  while (dictionary->slots[slot] && strcmp(dictionary->texts[dictionary->slots[slot] - 1], text))
    slot = (slot + 1) & (dictionary->slot_count - 1);
  return slot;
}

static aon_result slots_grow(aon_dictionary *dictionary, aon_error *error) {
  size_t count = dictionary->slot_count ? dictionary->slot_count * 2 : SLOTS_FIRST;
  uint32_t *slots = calloc(count, sizeof *slots);
  if (!slots)
    return aon_fail_memory(error);
  free(dictionary->slots);
  dictionary->slots = slots;
  dictionary->slot_count = count;
  for (size_t i = 0; i < dictionary->text_count; i++)
    slots[slot_of(dictionary, dictionary->texts[i])] = (uint32_t)i + 1;
  return AON_OK;
}

static aon_result text_add(aon_dictionary *dictionary, const char *text, aon_error *error) {
  if (dictionary->text_count == AON_DICTIONARY_TEXTS_LIMIT)
    return aon_fail(error, AON_PERMANENT, "too_many_names", "One bulk operation can name at most %d sheets and entities.",
                    AON_DICTIONARY_TEXTS_LIMIT);
  if (dictionary->text_count == dictionary->text_capacity) {
    size_t capacity = dictionary->text_capacity ? dictionary->text_capacity * 2 : 32;
    const char **texts = realloc(dictionary->texts, capacity * sizeof *texts);
    if (!texts)
      return aon_fail_memory(error);
    dictionary->texts = texts;
    dictionary->text_capacity = capacity;
  }
  const char *copy = aon_arena_text(&dictionary->arena, text, strlen(text));
  if (!copy)
    return aon_fail_memory(error);
  dictionary->texts[dictionary->text_count] = copy;
  dictionary->slots[slot_of(dictionary, copy)] = (uint32_t)++dictionary->text_count;
  return AON_OK;
}

aon_result aon_dictionary_text(aon_dictionary *dictionary, const char *text, uint32_t *ret_number, aon_error *error) {
  if (dictionary->text_count * 2 >= dictionary->slot_count) {
    aon_result result = slots_grow(dictionary, error);
    if (result)
      return result;
  }
  uint32_t found = dictionary->slots[slot_of(dictionary, text)];
  if (found) {
    *ret_number = found - 1;
    return AON_OK;
  }
  aon_result result = text_add(dictionary, text, error);
  if (!result)
    *ret_number = (uint32_t)dictionary->text_count - 1;
  return result;
}

aon_result aon_dictionary_restore_text(aon_dictionary *dictionary, const char *text, aon_error *error) {
  uint32_t number;
  size_t expected = dictionary->text_count;
  aon_result result = aon_dictionary_text(dictionary, text, &number, error);
  if (!result && number != expected)
    return aon_fail(error, AON_CORRUPT, "corrupt", "The journal names a sheet or an entity twice. Restore the journal from a backup.");
  return result;
}

/* ---- collections ---- */

#define NAME_LISTS 4
static const char *const list_names[NAME_LISTS] = {"stamps", "sets", "volatiles", "sensitive"};

static void lists_of(const aon_collection *collection, const char *const *lists[NAME_LISTS]) {
  lists[0] = collection->stamps;
  lists[1] = collection->sets;
  lists[2] = collection->volatiles;
  lists[3] = collection->sensitive;
}

static json_t *list_json(const char *const *names) {
  if (!names)
    return json_null();
  json_t *list = json_array();
  for (; list && *names; names++)
    if (json_array_append_new(list, json_string(*names))) {
      json_decref(list);
      return NULL;
    }
  return list;
}

static char *settings_of(const aon_collection *collection) {
  const char *const *lists[NAME_LISTS];
  lists_of(collection, lists);
  json_t *settings = json_pack("{ss ss ss? ss? sb}", "store", collection->store, "name", collection->name, "idProperty",
                               collection->id_property, "path", collection->path, "mergeNone", (int)collection->merge_none);
  bool whole = settings != NULL;
  for (size_t i = 0; whole && i < NAME_LISTS; i++)
    whole = json_object_set_new(settings, list_names[i], list_json(lists[i])) == 0;
  char *text = whole ? json_dumps(settings, JSON_COMPACT) : NULL;
  json_decref(settings);
  return text;
}

static aon_result copy_text(const char *text, aon_arena *arena, const char **ret_copy, aon_error *error) {
  *ret_copy = text ? aon_arena_text(arena, text, strlen(text)) : NULL;
  return text && !*ret_copy ? aon_fail_memory(error) : AON_OK;
}

static aon_result copy_list(const char *const *names, aon_arena *arena, const char *const **ret_copy, aon_error *error) {
  *ret_copy = NULL;
  if (!names)
    return AON_OK;
  size_t count = 0;
  while (names[count])
    count++;
  const char **copy = aon_arena_alloc(arena, (count + 1) * sizeof *copy);
  if (!copy)
    return aon_fail_memory(error);
  for (size_t i = 0; i < count; i++) {
    aon_result result = copy_text(names[i], arena, &copy[i], error);
    if (result)
      return result;
  }
  *ret_copy = copy;
  return AON_OK;
}

aon_result aon_collection_copy(const aon_collection *collection, aon_arena *arena, aon_collection *ret_copy, aon_error *error) {
  aon_collection copy = *collection;
  const char *const *lists[NAME_LISTS];
  lists_of(collection, lists);
  const char *const **to[NAME_LISTS] = {&copy.stamps, &copy.sets, &copy.volatiles, &copy.sensitive};
  aon_result result = copy_text(collection->store, arena, &copy.store, error);
  if (!result)
    result = copy_text(collection->name, arena, &copy.name, error);
  if (!result)
    result = copy_text(collection->id_property, arena, &copy.id_property, error);
  if (!result)
    result = copy_text(collection->path, arena, &copy.path, error);
  for (size_t i = 0; !result && i < NAME_LISTS; i++)
    result = copy_list(lists[i], arena, to[i], error);
  if (!result)
    *ret_copy = copy;
  return result;
}

static aon_result collection_add(aon_dictionary *dictionary, const aon_collection *collection, const char *settings, aon_error *error) {
  if (dictionary->collection_count == AON_DICTIONARY_COLLECTIONS_LIMIT)
    return aon_fail(error, AON_PERMANENT, "too_many_names", "One bulk operation can touch at most %d collections.",
                    AON_DICTIONARY_COLLECTIONS_LIMIT);
  if (dictionary->collection_count == dictionary->collection_capacity) {
    size_t capacity = dictionary->collection_capacity ? dictionary->collection_capacity * 2 : 16;
    struct named *collections = realloc(dictionary->collections, capacity * sizeof *collections);
    if (!collections)
      return aon_fail_memory(error);
    dictionary->collections = collections;
    dictionary->collection_capacity = capacity;
  }
  struct named named = {.collection = aon_arena_alloc(&dictionary->arena, sizeof *named.collection),
                        .settings = aon_arena_text(&dictionary->arena, settings, strlen(settings))};
  if (!named.collection || !named.settings)
    return aon_fail_memory(error);
  aon_result result = aon_collection_copy(collection, &dictionary->arena, named.collection, error);
  if (!result)
    dictionary->collections[dictionary->collection_count++] = named;
  return result;
}

aon_result aon_dictionary_collection(aon_dictionary *dictionary, const aon_collection *collection, uint32_t *ret_number, aon_error *error) {
  char *settings = settings_of(collection);
  if (!settings) /* jansson fails for lack of memory, or for bytes that are no UTF-8 */
    return aon_fail(error, AON_PERMANENT, "bad_collection",
                    "The settings of a collection can't be kept: its names are no UTF-8, or memory is short.");
  aon_result result = AON_OK;
  size_t at = 0;
  while (at < dictionary->collection_count && strcmp(dictionary->collections[at].settings, settings))
    at++;
  if (at == dictionary->collection_count)
    result = collection_add(dictionary, collection, settings, error);
  aon_spare_free(settings);
  if (!result)
    *ret_number = (uint32_t)at;
  return result;
}

static const char *const *list_from(const json_t *list, aon_arena *arena, bool *whole, bool *short_of_memory) {
  if (!list || json_is_null(list))
    return NULL;
  size_t count = json_array_size(list);
  const char **names = aon_arena_alloc(arena, (count + 1) * sizeof *names);
  *short_of_memory = *short_of_memory || !names;
  *whole = *whole && json_is_array(list) && names;
  for (size_t i = 0; *whole && i < count; i++) {
    names[i] = json_string_value(json_array_get(list, i));
    *whole = names[i] != NULL;
  }
  return names;
}

aon_result aon_dictionary_restore_collection(aon_dictionary *dictionary, const char *settings, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  json_t *root = json_loads(settings, JSON_REJECT_DUPLICATES, NULL);
  bool whole = json_is_object(root), short_of_memory = false;
  aon_collection collection = {.store = json_string_value(json_object_get(root, "store")),
                               .name = json_string_value(json_object_get(root, "name")),
                               .id_property = json_string_value(json_object_get(root, "idProperty")),
                               .path = json_string_value(json_object_get(root, "path")),
                               .stamps = list_from(json_object_get(root, "stamps"), &arena, &whole, &short_of_memory),
                               .sets = list_from(json_object_get(root, "sets"), &arena, &whole, &short_of_memory),
                               .volatiles = list_from(json_object_get(root, "volatiles"), &arena, &whole, &short_of_memory),
                               .sensitive = list_from(json_object_get(root, "sensitive"), &arena, &whole, &short_of_memory),
                               .merge_none = json_is_true(json_object_get(root, "mergeNone"))};
  aon_result result;
  if (short_of_memory)
    result = aon_fail_memory(error);
  else if (!whole || !collection.store || !collection.name)
    result = aon_fail(error, AON_CORRUPT, "corrupt",
                      "The settings of a collection in the journal are damaged. Restore the journal from a backup.");
  else
    result = collection_add(dictionary, &collection, settings, error);
  json_decref(root);
  return result;
}
