/* Shared strings.
 *
 * Invariants: strings 0 … kept-1 are in memory and never move: [length, bytes, NUL] one after another without gaps, in blocks. From the
 * first one that would pass the limit on, all go to the files. "texts" holds [length, bytes] one after another, "places" the offset of each
 * in texts, eight bytes a string. Both are written by appending and read through a small direct-mapped cache of pages, because cells mostly
 * name strings in the order of the table. */
#include "sheet/shared_strings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define PAGE_BYTES 8192u
#define PAGES 32u
#define BLOCK_BYTES ((size_t)64 << 10)

typedef struct spill {
  aon_env *env;
  aon_file *file;
  uint64_t written, length; /* bytes in the file; with those in out */
  unsigned char out[PAGE_BYTES];
  uint64_t page[PAGES]; /* number + 1 of the page that a slot holds, 0: none */
  unsigned char bytes[PAGES][PAGE_BYTES];
} spill;

typedef struct block {
  struct block *next;
  size_t used, capacity;
  char bytes[];
} block;

struct aon_strings {
  aon_env *env;
  uint64_t memory_bytes, used_bytes;
  block *blocks; /* the newest first */
  char **memory; /* malloc */
  size_t memory_count, memory_capacity;
  uint64_t count;
  spill *texts, *places; /* NULL: nothing has been spilled */
};

/* Made in TMPDIR, else in /var/tmp (/tmp may be memory), else in /tmp. */
static aon_result open_temporary(aon_env *env, aon_file **ret_file, aon_error *error) {
  const char *folders[] = {getenv("TMPDIR"), "/var/tmp", "/tmp"};
  aon_error why = AON_ERROR_INIT;
  aon_result result = AON_OK;
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
    if (!folders[i] || !*folders[i])
      continue;
    unsigned char random[12];
    char path[4096], hex[25];
    aon_random(env, random, sizeof random);
    for (size_t k = 0; k < sizeof random; k++)
      snprintf(hex + 2 * k, 3, "%02x", random[k]);
    snprintf(path, sizeof path, "%s/aon-strings-%s", folders[i], hex);
    result = env->ops->file_open(env->context, path, AON_FILE_CREATE, ret_file, &why);
    if (result)
      continue;
    result = env->ops->file_remove(env->context, path, error);
    if (result)
      env->ops->file_close(*ret_file);
    return result;
  }
  if (error)
    *error = why;
  return result;
}

static aon_result spill_new(aon_env *env, spill **ret_spill, aon_error *error) {
  spill *made = calloc(1, sizeof *made);
  if (!made)
    return aon_fail_memory(error);
  made->env = env;
  aon_result result = open_temporary(env, &made->file, error);
  if (result) {
    free(made);
    return result;
  }
  *ret_spill = made;
  return AON_OK;
}

static void spill_free(spill *spilled) {
  if (!spilled)
    return;
  spilled->env->ops->file_close(spilled->file);
  free(spilled);
}

static aon_result spill_flush(spill *to, aon_error *error) {
  aon_result result = to->env->ops->file_write(to->file, to->written, to->out, (size_t)(to->length - to->written), error);
  if (!result)
    to->written = to->length;
  return result;
}

static aon_result spill_append(spill *to, const void *bytes, size_t length, aon_error *error) {
  const unsigned char *at = bytes;
  while (length) {
    size_t used = (size_t)(to->length - to->written), now = sizeof to->out - used < length ? sizeof to->out - used : length;
    memcpy(to->out + used, at, now);
    to->length += now;
    at += now;
    length -= now;
    if (to->length - to->written == sizeof to->out) {
      aon_result result = spill_flush(to, error);
      if (result)
        return result;
    }
  }
  return AON_OK;
}

static aon_result spill_read(spill *from, uint64_t offset, void *bytes, size_t length, aon_error *error) {
  if (from->written != from->length) {
    aon_result result = spill_flush(from, error);
    if (result)
      return result;
  }
  unsigned char *to = bytes;
  while (length) {
    uint64_t page = offset / PAGE_BYTES;
    size_t slot = page % PAGES, start = offset % PAGE_BYTES, now = PAGE_BYTES - start < length ? PAGE_BYTES - start : length;
    if (from->page[slot] != page + 1) {
      size_t got = 0;
      aon_result result = from->env->ops->file_read(from->file, page * PAGE_BYTES, from->bytes[slot], PAGE_BYTES, &got, error);
      if (result)
        return result;
      if (got < start + now)
        return aon_fail(error, AON_ENVIRONMENT, "io_error", "A temporary file of the reader has lost its end. Try again.");
      from->page[slot] = got == PAGE_BYTES ? page + 1 : 0; /* a page that may still grow is read anew */
    }
    memcpy(to, from->bytes[slot] + start, now);
    to += now;
    offset += now;
    length -= now;
  }
  return AON_OK;
}

aon_result aon_strings_new(aon_env *env, uint64_t memory_bytes, aon_strings **ret_strings, aon_error *error) {
  aon_strings *strings = calloc(1, sizeof *strings);
  if (!strings)
    return aon_fail_memory(error);
  strings->env = env;
  strings->memory_bytes = memory_bytes;
  *ret_strings = strings;
  return AON_OK;
}

void aon_strings_free(aon_strings *strings) {
  if (!strings)
    return;
  spill_free(strings->texts);
  spill_free(strings->places);
  free(strings->memory);
  while (strings->blocks) {
    block *next = strings->blocks->next;
    free(strings->blocks);
    strings->blocks = next;
  }
  free(strings);
}

uint64_t aon_strings_count(const aon_strings *strings) { return strings->count; }

bool aon_strings_spilled(const aon_strings *strings) { return strings->texts != NULL; }

/* Room in the newest block, or a new one. NULL: no memory. */
static char *room_for(aon_strings *strings, size_t bytes) {
  block *newest = strings->blocks;
  if (!newest || newest->capacity - newest->used < bytes) {
    size_t capacity = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
    block *made = malloc(sizeof *made + capacity);
    if (!made)
      return NULL;
    *made = (block){.next = newest, .capacity = capacity};
    strings->blocks = newest = made;
  }
  char *room = newest->bytes + newest->used;
  newest->used += bytes;
  return room;
}

static size_t kept_bytes(size_t length) { return sizeof(uint32_t) + length + 1; }

static aon_result keep(aon_strings *strings, const char *text, size_t length, aon_error *error) {
  if (strings->memory_count == strings->memory_capacity) {
    size_t capacity = strings->memory_capacity ? strings->memory_capacity * 2 : 256;
    char **grown = realloc(strings->memory, capacity * sizeof *grown);
    if (!grown)
      return aon_fail_memory(error);
    strings->memory = grown;
    strings->memory_capacity = capacity;
  }
  char *room = room_for(strings, kept_bytes(length));
  if (!room)
    return aon_fail_memory(error);
  uint32_t stored = (uint32_t)length;
  memcpy(room, &stored, sizeof stored);
  memcpy(room + sizeof stored, text, length);
  room[sizeof stored + length] = 0;
  strings->memory[strings->memory_count++] = room;
  strings->used_bytes += kept_bytes(length) + sizeof *strings->memory;
  return AON_OK;
}

static aon_result put_aside(aon_strings *strings, const char *text, size_t length, aon_error *error) {
  aon_result result = AON_OK;
  if (!strings->texts)
    result = spill_new(strings->env, &strings->texts, error);
  if (!result && !strings->places)
    result = spill_new(strings->env, &strings->places, error);
  if (result)
    return result;
  uint64_t place = strings->texts->length;
  uint32_t stored = (uint32_t)length;
  result = spill_append(strings->places, &place, sizeof place, error);
  if (!result)
    result = spill_append(strings->texts, &stored, sizeof stored, error);
  if (!result)
    result = spill_append(strings->texts, text, length, error);
  return result;
}

aon_result aon_strings_add(aon_strings *strings, const char *text, size_t length, aon_error *error) {
  bool fits = !strings->texts && strings->used_bytes + kept_bytes(length) + sizeof *strings->memory <= strings->memory_bytes;
  aon_result result = fits ? keep(strings, text, length, error) : put_aside(strings, text, length, error);
  if (!result)
    strings->count++;
  return result;
}

aon_result aon_strings_get(aon_strings *strings, uint64_t index, aon_buffer *scratch, aon_text *ret_text, size_t *ret_offset,
                           aon_error *error) {
  if (index < strings->memory_count) {
    const char *found = strings->memory[index];
    uint32_t stored;
    memcpy(&stored, found, sizeof stored);
    *ret_text = (aon_text){found + sizeof stored, stored};
    return AON_OK;
  }
  uint64_t place;
  uint32_t length;
  aon_result result = spill_read(strings->places, (index - strings->memory_count) * sizeof place, &place, sizeof place, error);
  if (!result)
    result = spill_read(strings->texts, place, &length, sizeof length, error);
  if (!result)
    result = aon_buffer_reserve(scratch, (size_t)length + 1, error);
  if (!result)
    result = spill_read(strings->texts, place + sizeof length, scratch->data + scratch->length, length, error);
  if (result)
    return result;
  *ret_text = (aon_text){NULL, length};
  *ret_offset = scratch->length;
  scratch->length += length + (size_t)1;
  scratch->data[scratch->length - 1] = scratch->data[scratch->length] = 0;
  return AON_OK;
}

/* _xHHHH_, as workbooks write what XML has no character for. */
static bool unit_at(const char *at, const char *end, uint32_t *ret_unit) {
  return end - at >= 7 && at[0] == '_' && at[1] == 'x' && at[6] == '_' && hex4(at + 2, ret_unit);
}

size_t aon_text_unescape(char *text, size_t length) {
  char *from = memchr(text, '_', length), *to = from, *end = text + length;
  if (!from)
    return length;
  while (from < end) {
    uint32_t unit, low;
    if (*from != '_' || !unit_at(from, end, &unit)) {
      *to++ = *from++;
      continue;
    }
    from += 7;
    if (unit >= 0xd800 && unit < 0xdc00 && unit_at(from, end, &low) && low >= 0xdc00 && low < 0xe000) {
      unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
      from += 7;
    } else if (unit == 0 || (unit >= 0xd800 && unit < 0xe000)) {
      unit = 0xfffd;
    }
    to += utf8_encode(unit, to);
  }
  return (size_t)(to - text);
}
