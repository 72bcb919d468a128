/* Members by key, elements by value, places.
 * Invariant: an index holds offsets, never iterators, so that an object of a million members costs megabytes, not hundreds. */
#include "model/members.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FEW_MEMBERS 16 /* up to here a walk beats an index */

struct aon_member {
  const char *key;
  uint32_t offset;
};

struct aon_element {
  uint64_t hash;
  uint32_t offset;
};

bool aon_iter_is_object(const bson_iter_t *value) { return value && bson_iter_type(value) == BSON_TYPE_DOCUMENT; }
bool aon_iter_is_array(const bson_iter_t *value) { return value && bson_iter_type(value) == BSON_TYPE_ARRAY; }

aon_result aon_document_damaged(aon_error *error) {
  return aon_fail(error, AON_CORRUPT, "bad_document", "The bytes of a document are damaged.");
}

aon_result aon_document_too_large(aon_error *error) {
  return aon_fail(error, AON_REJECTED, "too_long", "The document is larger than the limit of %u MiB; split it.",
                  AON_DOCUMENT_BYTES_LIMIT >> 20);
}

void aon_iter_bytes(const bson_iter_t *value, const uint8_t **ret_bytes, size_t *ret_length) {
  uint32_t start = value->key + bson_iter_key_len(value) + 1;
  *ret_bytes = value->raw + start;
  *ret_length = value->next_off - start;
}

aon_result aon_iter_append(bson_t *out, const char *key, int length, const bson_iter_t *value, aon_error *error) {
  const uint8_t *bytes;
  size_t value_length, key_length = length < 0 ? strlen(key) : (size_t)length;
  uint32_t before = out->len;
  if (!bson_append_iter(out, key, (int)key_length, value))
    return aon_document_too_large(error);
  aon_iter_bytes(value, &bytes, &value_length);
  if (out->len - before == 1 + key_length + 1 + value_length)
    return AON_OK;
  return aon_fail(error, AON_REJECTED, "bad_type",
                  "The property “%s” holds code with the character NUL in it, which can't be copied whole.", key);
}

static void members_of(aon_members *members, const uint8_t *data, uint32_t length) {
  *members = (aon_members){.data = data, .length = length};
  members->in_step = data && bson_iter_init_from_data(&members->next, data, length) && bson_iter_next(&members->next);
}

void aon_members_open(aon_members *members, const bson_iter_t *object) {
  const uint8_t *data = NULL;
  uint32_t length = 0;
  if (aon_iter_is_object(object))
    bson_iter_document(object, &length, &data);
  members_of(members, data, length);
}

void aon_members_open_document(aon_members *members, const bson_t *document) {
  members_of(members, document ? bson_get_data(document) : NULL, document ? document->len : 0);
}

void aon_members_close(aon_members *members) {
  bson_free(members->sorted);
  *members = (aon_members){0};
}

static int compare_members(const void *left, const void *right) {
  const struct aon_member *a = left, *b = right;
  int order = strcmp(a->key, b->key);
  return order ? order : a->offset < b->offset ? -1 : a->offset > b->offset;
}

static void index_members(aon_members *members) {
  bson_iter_t at;
  if (!bson_iter_init_from_data(&at, members->data, members->length))
    return;
  members->sorted = bson_malloc(members->count * sizeof *members->sorted);
  size_t count = 0;
  while (count < members->count && bson_iter_next(&at))
    members->sorted[count++] = (struct aon_member){.key = bson_iter_key(&at), .offset = bson_iter_offset(&at)};
  members->count = count;
  qsort(members->sorted, count, sizeof *members->sorted, compare_members);
}

static bool find_indexed(aon_members *members, const char *key, bson_iter_t *ret_value) {
  size_t low = 0, high = members->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (strcmp(members->sorted[middle].key, key) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == members->count || strcmp(members->sorted[low].key, key) != 0)
    return false;
  return bson_iter_init_from_data_at_offset(ret_value, members->data, members->length, members->sorted[low].offset, (uint32_t)strlen(key));
}

static bool find_walking(const aon_members *members, const char *key, bson_iter_t *ret_value) {
  if (!bson_iter_init_from_data(ret_value, members->data, members->length))
    return false;
  while (bson_iter_next(ret_value))
    if (strcmp(bson_iter_key(ret_value), key) == 0)
      return true;
  return false;
}

static void count_members(aon_members *members) {
  bson_iter_t at;
  members->counted = true;
  if (bson_iter_init_from_data(&at, members->data, members->length))
    while (bson_iter_next(&at))
      members->count++;
  if (members->count > FEW_MEMBERS)
    index_members(members);
}

bool aon_members_find(aon_members *members, const char *key, bson_iter_t *ret_value) {
  if (!members->data)
    return false;
  if (members->in_step && strcmp(bson_iter_key(&members->next), key) == 0) {
    *ret_value = members->next;
    members->in_step = bson_iter_next(&members->next);
    return true;
  }
  if (!members->counted)
    count_members(members);
  if (!(members->sorted ? find_indexed(members, key, ret_value) : find_walking(members, key, ret_value)))
    return false;
  members->next = *ret_value; /* found out of step: go on behind it */
  members->in_step = bson_iter_next(&members->next);
  return true;
}

/* Hashes: equal values have equal hashes (1 and 1.0, objects in any order). Not stored anywhere. */

static uint64_t mix(uint64_t hash, uint64_t value) {
  hash ^= value + 0x9e3779b97f4a7c15u + (hash << 6) + (hash >> 2);
  hash ^= hash >> 32;
  hash *= 0xd6e8feb86659fd93u;
  return hash ^ hash >> 32;
}

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t length) {
  const unsigned char *at = bytes;
  uint64_t word = 0;
  for (; length >= 8; length -= 8, at += 8) {
    memcpy(&word, at, 8);
    hash = mix(hash, word);
  }
  word = 0;
  memcpy(&word, at, length);
  return mix(mix(hash, word), length);
}

static uint64_t hash_double(double value) {
  if (value >= -0x1p63 && value < 0x1p63 && value == trunc(value))
    return mix(1, (uint64_t)(int64_t)value);
  uint64_t bits = 0;
  if (!isnan(value))
    memcpy(&bits, &value, sizeof bits);
  return mix(2, bits);
}

static uint64_t hash_value(const bson_iter_t *value, int depth) {
  uint32_t length;
  bson_iter_t at;
  uint64_t hash = 0;
  switch (bson_iter_type(value)) {
  case BSON_TYPE_INT32:
    return mix(1, (uint64_t)(int64_t)bson_iter_int32(value));
  case BSON_TYPE_INT64:
    return mix(1, (uint64_t)bson_iter_int64(value));
  case BSON_TYPE_DOUBLE:
    return hash_double(bson_iter_double(value));
  case BSON_TYPE_UTF8: {
    const char *text = bson_iter_utf8(value, &length);
    return hash_bytes(3, text, length);
  }
  case BSON_TYPE_DATE_TIME:
    return mix(8, (uint64_t)bson_iter_date_time(value));
  case BSON_TYPE_OID:
    return hash_bytes(9, bson_iter_oid(value), sizeof(bson_oid_t));
  case BSON_TYPE_DOCUMENT:
    if (depth < AON_DOCUMENT_DEPTH_LIMIT && bson_iter_recurse(value, &at))
      while (bson_iter_next(&at)) /* added up: the order does not count */
        hash += mix(hash_bytes(4, bson_iter_key(&at), bson_iter_key_len(&at)), hash_value(&at, depth + 1));
    return mix(5, hash);
  case BSON_TYPE_ARRAY:
    if (depth < AON_DOCUMENT_DEPTH_LIMIT && bson_iter_recurse(value, &at))
      while (bson_iter_next(&at))
        hash = mix(hash, hash_value(&at, depth + 1));
    return mix(6, hash);
  default: /* rare in sets: told apart by comparing */
    return mix(7, (uint64_t)bson_iter_type(value));
  }
}

static int compare_elements(const void *left, const void *right) {
  const struct aon_element *a = left, *b = right;
  if (a->hash != b->hash)
    return a->hash < b->hash ? -1 : 1;
  return a->offset < b->offset ? -1 : a->offset > b->offset;
}

void aon_bag_open(aon_bag *bag, const bson_iter_t *array) {
  *bag = (aon_bag){0};
  if (!aon_iter_is_array(array))
    return;
  bson_iter_array(array, &bag->length, &bag->data);
  bson_iter_t at;
  size_t count = 0, capacity = 0;
  if (bson_iter_init_from_data(&at, bag->data, bag->length))
    while (bson_iter_next(&at)) {
      if (count == capacity) {
        capacity = capacity ? capacity * 2 : 16;
        bag->sorted = bson_realloc(bag->sorted, capacity * sizeof *bag->sorted);
      }
      bag->sorted[count++] = (struct aon_element){.hash = hash_value(&at, 0), .offset = bson_iter_offset(&at)};
    }
  bag->count = count;
  if (count)
    qsort(bag->sorted, count, sizeof *bag->sorted, compare_elements);
}

void aon_bag_close(aon_bag *bag) {
  bson_free(bag->sorted);
  *bag = (aon_bag){0};
}

static bool element_at(const aon_bag *bag, size_t index, bson_iter_t *ret_value) {
  uint32_t offset = bag->sorted[index].offset;
  uint32_t key_length = (uint32_t)strlen((const char *)bag->data + offset + 1);
  return bson_iter_init_from_data_at_offset(ret_value, bag->data, bag->length, offset, key_length);
}

static size_t first_of_hash(const aon_bag *bag, uint64_t hash) {
  size_t low = 0, high = bag->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (bag->sorted[middle].hash < hash)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

bool aon_bag_holds(const aon_bag *bag, const bson_iter_t *value) {
  uint64_t hash = hash_value(value, 0);
  for (size_t i = first_of_hash(bag, hash); i < bag->count && bag->sorted[i].hash == hash; i++) {
    bson_iter_t element;
    if (element_at(bag, i, &element) && aon_value_equal(&element, value))
      return true;
  }
  return false;
}

/* How often the value stands among the elements from first to last. */
static size_t occurrences(const aon_bag *bag, size_t first, size_t last, const bson_iter_t *value) {
  size_t count = 0;
  for (size_t i = first; i <= last; i++) {
    bson_iter_t element;
    count += element_at(bag, i, &element) && aon_value_equal(&element, value);
  }
  return count;
}

/* A run of one hash is of one value, but for an accident: so that is tried first, and costs no more than its length. */
static bool runs_equal(const aon_bag *a, const aon_bag *b, size_t first, size_t last) {
  bson_iter_t value;
  if (!element_at(a, first, &value))
    return false;
  size_t length = last - first + 1;
  size_t in_a = occurrences(a, first, last, &value), in_b = occurrences(b, first, last, &value);
  if (in_a == length || in_a != in_b)
    return in_a == in_b;
  for (size_t i = first + 1; i <= last; i++)
    if (!element_at(a, i, &value) || occurrences(a, first, last, &value) != occurrences(b, first, last, &value))
      return false;
  return true;
}

/* Both are sorted by hash, so equal bags have equal runs of hashes. */
bool aon_bag_equal(const aon_bag *a, const aon_bag *b) {
  if (a->count != b->count)
    return false;
  for (size_t i = 0; i < a->count; i++)
    if (a->sorted[i].hash != b->sorted[i].hash)
      return false;
  for (size_t first = 0, last; first < a->count; first = last + 1) {
    for (last = first; last + 1 < a->count && a->sorted[last + 1].hash == a->sorted[first].hash;)
      last++;
    if (!runs_equal(a, b, first, last))
      return false;
  }
  return true;
}

bool aon_segment_is(const char *segment, size_t length, const char *key) {
  for (size_t i = 0; i < length; i++, key++) {
    char c = segment[i];
    if (c == '~') {
      if (++i == length || (segment[i] != '0' && segment[i] != '1'))
        return false;
      c = segment[i] == '0' ? '~' : '/';
    }
    if (*key == 0 || *key != c)
      return false;
  }
  return *key == 0;
}

bool aon_place_is(const aon_place *place, const char *pointer) {
  if (!place)
    return false;
  if (pointer[0] != '/')
    return !place->up && strcmp(place->key, pointer) == 0;
  size_t end = strlen(pointer);
  for (; place; place = place->up) {
    size_t start = end;
    while (start > 0 && pointer[start - 1] != '/')
      start--;
    if (start == 0 || !aon_segment_is(pointer + start, end - start, place->key))
      return false;
    end = start - 1;
  }
  return end == 0;
}

bool aon_place_is_set(const aon_place *place, const aon_comparison *how) {
  for (const char *const *name = how && place ? how->sets : NULL; name && *name; name++)
    if (aon_place_is(place, *name))
      return true;
  return false;
}

static bool is_top_level(const aon_place *place, const char *const *names) {
  for (; names && *names; names++)
    if (strcmp(place->key, *names) == 0)
      return true;
  return false;
}

bool aon_place_is_stamp(const aon_place *place, const aon_comparison *how) {
  return how && place && !place->up && (strcmp(place->key, AON_STAMP_NAME) == 0 || is_top_level(place, how->stamps));
}

bool aon_place_is_volatile(const aon_place *place, const aon_comparison *how) {
  return how && place && !place->up && is_top_level(place, how->volatiles);
}

static aon_result append_segment(const char *key, aon_buffer *out, aon_error *error) {
  aon_result result = aon_buffer_append(out, "/", 1, error);
  while (!result) {
    size_t plain = strcspn(key, "~/");
    if ((result = aon_buffer_append(out, key, plain, error)) || !key[plain])
      return result;
    result = aon_buffer_append(out, key[plain] == '~' ? "~0" : "~1", 2, error);
    key += plain + 1;
  }
  return result;
}

aon_result aon_place_text(const aon_place *place, aon_buffer *out, aon_error *error) {
  if (!place)
    return AON_OK;
  aon_result result = aon_place_text(place->up, out, error);
  return result ? result : append_segment(place->key, out, error);
}
