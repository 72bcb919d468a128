/* Encoding and decoding of segments. Form and invariants stand in segment.h. */
#include "journal/segment.h"

#include <sodium.h>
#include <string.h>
#include <xxhash.h>

#define VERSION 1
#define VARINT_BYTES 10

enum { KIND = 3, SAME_PLACE = 4, NEXT_ROW = 8, HAS_PATH = 16, HAS_FLAGS = 32, CONTROL = 63 };

/* ---- encoding ---- */

static unsigned char *put_number(unsigned char *at, uint64_t number) {
  while (number >= 0x80) {
    *at++ = (unsigned char)(number | 0x80);
    number >>= 7;
  }
  *at++ = (unsigned char)number;
  return at;
}

static unsigned char *put_bytes(unsigned char *at, const void *bytes, size_t length) {
  if (length)
    memcpy(at, bytes, length);
  return at + length;
}

void aon_segment_begin(aon_segment_writer *writer, int64_t first) {
  aon_buffer_clear(&writer->operations);
  aon_buffer_clear(&writer->images);
  *writer = (aon_segment_writer){.operations = writer->operations, .images = writer->images, .first = first};
}

void aon_segment_release(aon_segment_writer *writer) {
  aon_buffer_release(&writer->operations);
  aon_buffer_release(&writer->images);
}

bool aon_segment_full(const aon_segment_writer *writer) {
  return writer->count >= AON_SEGMENT_OPERATIONS || writer->images.length >= AON_SEGMENT_IMAGES_BYTES;
}

static bool same_text(const char *a, const char *b) { return a == b || (a && b && !strcmp(a, b)); }

static aon_result text_number(aon_dictionary *dictionary, const char *text, uint32_t *ret_number, aon_error *error) {
  *ret_number = 0;
  if (!text)
    return AON_OK;
  aon_result result = aon_dictionary_text(dictionary, text, ret_number, error);
  (*ret_number)++;
  return result;
}

static aon_result collection_number(aon_segment_writer *writer, aon_dictionary *dictionary, const aon_collection *collection,
                                    uint32_t *ret_number, aon_error *error) {
  for (size_t i = 0; i < writer->seen_count; i++)
    if (writer->seen[i].collection == collection) {
      *ret_number = writer->seen[i].number;
      return AON_OK;
    }
  aon_result result = aon_dictionary_collection(dictionary, collection, ret_number, error);
  if (!result && writer->seen_count < AON_SEGMENT_SEEN) {
    writer->seen[writer->seen_count].collection = collection;
    writer->seen[writer->seen_count++].number = *ret_number;
  }
  return result;
}

/* Looks up what differs from the operation before; *ret_same: nothing does. */
static aon_result place(aon_segment_writer *writer, aon_dictionary *dictionary, const aon_operation *operation, bool *ret_same,
                        aon_error *error) {
  const aon_operation *previous = writer->previous;
  aon_result result = AON_OK;
  uint32_t collection = writer->collection, sheet = writer->sheet, entity = writer->entity;
  if (!previous || previous->collection != operation->collection)
    result = collection_number(writer, dictionary, operation->collection, &collection, error);
  if (!result && (!previous || !same_text(previous->origin.sheet, operation->origin.sheet)))
    result = text_number(dictionary, operation->origin.sheet, &sheet, error);
  if (!result && (!previous || !same_text(previous->origin.entity, operation->origin.entity)))
    result = text_number(dictionary, operation->origin.entity, &entity, error);
  *ret_same = previous && collection == writer->collection && sheet == writer->sheet && entity == writer->entity;
  writer->collection = collection;
  writer->sheet = sheet;
  writer->entity = entity;
  return result;
}

static bool image_valid(const aon_image *image) {
  if (!image->bson)
    return image->bson_length == 0 && (image->token || image->token_length == 0);
  uint32_t head;
  if (image->bson_length < 5)
    return false;
  memcpy(&head, image->bson, sizeof head);
  return le32toh(head) == image->bson_length && (image->token || image->token_length == 0);
}

static aon_result put_image(aon_buffer *out, const aon_image *image, aon_error *error) {
  aon_result result = aon_buffer_reserve(out, (size_t)image->bson_length + image->token_length + 2 * VARINT_BYTES, error);
  if (result)
    return result;
  unsigned char *start = (unsigned char *)out->data + out->length;
  unsigned char *at = put_number(start, image->bson_length);
  at = put_bytes(at, image->bson, image->bson_length);
  at = put_number(at, image->token ? (uint64_t)image->token_length + 1 : 0);
  at = put_bytes(at, image->token, image->token_length);
  out->length += (size_t)(at - start);
  return AON_OK;
}

static aon_result put_head(aon_segment_writer *writer, const aon_operation *operation, bool same, aon_error *error) {
  size_t path_length = operation->path ? strlen(operation->path) : 0;
  if (operation->id.length > AON_SEGMENT_ID_BYTES_LIMIT || path_length > AON_SEGMENT_ID_BYTES_LIMIT)
    return aon_fail(error, AON_PERMANENT, "too_long", "The id or path of a document in %s is longer than %zu bytes.",
                    operation->collection->name, AON_SEGMENT_ID_BYTES_LIMIT);
  aon_buffer *out = &writer->operations;
  aon_result result = aon_buffer_reserve(out, 2 + 7 * VARINT_BYTES + operation->id.length + path_length + 1, error);
  if (result)
    return result;
  unsigned char *start = (unsigned char *)out->data + out->length, *at = start;
  if (writer->count == 0)
    *at++ = VERSION;
  bool next_row = operation->origin.row == (writer->previous ? writer->previous->origin.row : 0) + 1;
  *at++ = (unsigned char)((unsigned)operation->kind | (same ? SAME_PLACE : 0u) | (next_row ? NEXT_ROW : 0u) |
                          (operation->path ? HAS_PATH : 0u) | (operation->flags ? HAS_FLAGS : 0u));
  if (operation->flags)
    at = put_number(at, operation->flags);
  if (!same) {
    at = put_number(at, writer->collection);
    at = put_number(at, writer->sheet);
    at = put_number(at, writer->entity);
  }
  if (!next_row)
    at = put_number(at, operation->origin.row);
  at = put_number(at, operation->id.length);
  at = put_bytes(at, operation->id.data, operation->id.length);
  if (operation->path) {
    at = put_number(at, path_length);
    at = put_bytes(at, operation->path, path_length + 1);
  }
  out->length += (size_t)(at - start);
  return AON_OK;
}

aon_result aon_segment_add(aon_segment_writer *writer, aon_dictionary *dictionary, const aon_operation *operation, aon_error *error) {
  if (operation->kind < AON_CREATE || operation->kind > AON_DELETE || !image_valid(&operation->before) || !image_valid(&operation->after))
    return aon_fail(error, AON_USAGE, "bad_image", "Operation %lld on %s has no valid kind or images; it can't be recorded.",
                    (long long)operation->sequence + 1, operation->collection->name);
  bool same;
  aon_result result = place(writer, dictionary, operation, &same, error);
  if (!result)
    result = put_head(writer, operation, same, error);
  if (!result)
    result = put_image(&writer->images, &operation->before, error);
  if (!result)
    result = put_image(&writer->images, &operation->after, error);
  if (result)
    return result;
  writer->sensitive = writer->sensitive || (operation->flags & AON_OPERATION_SENSITIVE);
  writer->previous = operation;
  writer->count++;
  return AON_OK;
}

static void place_of(int64_t first, aon_segment_role role, unsigned char ret_place[9]) {
  for (int i = 0; i < 8; i++)
    ret_place[i] = (unsigned char)((uint64_t)first >> (8 * i));
  ret_place[8] = (unsigned char)role;
}

void aon_segment_sum(const char *bulk_id, int64_t first, aon_segment_role role, const void *bytes, size_t length,
                     unsigned char ret_sum[AON_SEGMENT_SUM_BYTES]) {
  unsigned char place[9];
  place_of(first, role, place);
  uint64_t seed = XXH3_64bits_withSeed(place, sizeof place, XXH3_64bits(bulk_id, strlen(bulk_id)));
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_withSeed(length ? bytes : "", length, seed));
  _Static_assert(sizeof canonical.digest == AON_SEGMENT_SUM_BYTES, "a sum is 128 bits");
  memcpy(ret_sum, canonical.digest, sizeof canonical.digest);
}

void aon_segment_sum_1(const char *bulk_id, int64_t first, aon_segment_role role, const void *bytes, size_t length,
                       unsigned char ret_sum[AON_SEGMENT_SUM_BYTES]) {
  unsigned char place[9];
  place_of(first, role, place);
  crypto_generichash_state state;
  crypto_generichash_init(&state, NULL, 0, AON_SEGMENT_SUM_BYTES);
  crypto_generichash_update(&state, (const unsigned char *)bulk_id, strlen(bulk_id) + 1);
  crypto_generichash_update(&state, place, sizeof place);
  if (length)
    crypto_generichash_update(&state, bytes, length);
  crypto_generichash_final(&state, ret_sum, AON_SEGMENT_SUM_BYTES);
}

/* ---- decoding ---- */

typedef struct reader {
  const unsigned char *at, *end;
  bool bad; /* once set, everything reads as 0 */
} reader;

static uint64_t get_number(reader *from) {
  uint64_t number = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (from->bad || from->at == from->end)
      break;
    unsigned char byte = *from->at++;
    number |= (uint64_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80))
      return number;
  }
  from->bad = true;
  return 0;
}

static const unsigned char *get_bytes(reader *from, uint64_t length) {
  if (from->bad || length > (uint64_t)(from->end - from->at)) {
    from->bad = true;
    return NULL;
  }
  const unsigned char *bytes = from->at;
  from->at += length;
  return bytes;
}

static void get_image(reader *from, aon_image *ret_image) {
  uint64_t length = get_number(from);
  aon_image image = {0};
  if (length) {
    image.bson = get_bytes(from, length);
    image.bson_length = (uint32_t)length;
  }
  uint64_t token = get_number(from);
  if (token) {
    image.token = get_bytes(from, token - 1);
    image.token_length = (uint32_t)(token - 1);
  }
  if (length > UINT32_MAX || token > UINT32_MAX || (!from->bad && !image_valid(&image)))
    from->bad = true;
  if (!from->bad)
    *ret_image = image;
}

typedef struct place_read {
  const aon_collection *collection;
  const char *sheet, *entity;
  uint32_t row;
} place_read;

static const char *name_at(const aon_dictionary *dictionary, uint64_t number, reader *from) {
  if (number == 0)
    return NULL;
  const char *name = aon_dictionary_text_at(dictionary, (size_t)number - 1);
  from->bad = from->bad || !name;
  return name;
}

static void get_path(reader *from, aon_operation *ret_operation) {
  uint64_t length = get_number(from);
  const unsigned char *path = length < AON_SEGMENT_ID_BYTES_LIMIT + 1 ? get_bytes(from, length + 1) : NULL;
  if (!path || path[length] || memchr(path, 0, length))
    from->bad = true;
  else
    ret_operation->path = (const char *)path;
}

static void get_operation(reader *from, const aon_dictionary *dictionary, place_read *where, aon_operation *ret_operation) {
  const unsigned char *control = get_bytes(from, 1);
  if (!control || (*control & ~CONTROL) || !(*control & KIND)) {
    from->bad = true;
    return;
  }
  uint64_t flags = *control & HAS_FLAGS ? get_number(from) : 0;
  if (!(*control & SAME_PLACE)) {
    where->collection = aon_dictionary_collection_at(dictionary, (size_t)get_number(from));
    where->sheet = name_at(dictionary, get_number(from), from);
    where->entity = name_at(dictionary, get_number(from), from);
  }
  uint64_t row = *control & NEXT_ROW ? (uint64_t)where->row + 1 : get_number(from);
  where->row = (uint32_t)row;
  uint64_t length = get_number(from);
  ret_operation->kind = (aon_operation_kind)(*control & KIND);
  ret_operation->flags = (uint32_t)flags;
  ret_operation->collection = where->collection;
  ret_operation->origin = (aon_origin){.sheet = where->sheet, .row = where->row, .entity = where->entity};
  ret_operation->id = (aon_text){(const char *)get_bytes(from, length), (size_t)length};
  if (*control & HAS_PATH)
    get_path(from, ret_operation);
  if (!where->collection || flags > UINT32_MAX || row > UINT32_MAX)
    from->bad = true;
}

aon_result aon_segment_decode(const aon_dictionary *dictionary, int64_t first, uint32_t count, const void *operations,
                              size_t operations_length, const void *images, size_t images_length, aon_arena *arena,
                              aon_operation **ret_operations, aon_error *error) {
  reader heads = {.at = operations, .end = (const unsigned char *)operations + operations_length};
  reader pictures = {.at = images, .end = images ? (const unsigned char *)images + images_length : NULL};
  const unsigned char *version = get_bytes(&heads, 1);
  /* An operation takes at least three bytes: a count that can't be is found before memory is asked for. */
  bool bad = !version || *version != VERSION || count == 0 || count > operations_length / 2;
  aon_operation *decoded = bad ? NULL : aon_arena_alloc(arena, count * sizeof *decoded);
  if (!bad && !decoded)
    return aon_fail_memory(error);
  place_read where = {0};
  for (uint32_t i = 0; !bad && i < count; i++) {
    decoded[i].sequence = first + i;
    get_operation(&heads, dictionary, &where, &decoded[i]);
    if (images) {
      get_image(&pictures, &decoded[i].before);
      get_image(&pictures, &decoded[i].after);
    }
    bad = heads.bad || pictures.bad;
  }
  if (bad || heads.at != heads.end || pictures.at != pictures.end)
    return aon_fail(error, AON_CORRUPT, "corrupt",
                    "The operations from number %lld on are damaged in the journal. Restore the journal from a backup.",
                    (long long)first + 1);
  *ret_operations = decoded;
  return AON_OK;
}
