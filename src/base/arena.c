/* Arena. Blocks double up to BLOCK_MAX; a larger request gets a block of its own. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_MIN ((size_t)16 << 10)
#define BLOCK_MAX ((size_t)1 << 20)
#define ALIGN ((size_t)16)

struct aon_arena_block {
  struct aon_arena_block *next;
  size_t capacity, used;
  _Alignas(16) unsigned char bytes[];
};

static struct aon_arena_block *block_new(size_t capacity) {
  struct aon_arena_block *block = malloc(sizeof *block + capacity);
  if (block)
    *block = (struct aon_arena_block){.capacity = capacity};
  return block;
}

/* As it comes from malloc: for what is written over at once. */
static void *take(aon_arena *arena, size_t bytes) {
  if (bytes > SIZE_MAX - ALIGN - sizeof(struct aon_arena_block))
    return NULL;
  bytes = (bytes + ALIGN - 1) & ~(ALIGN - 1);
  if (bytes == 0)
    bytes = ALIGN;
  struct aon_arena_block *block = arena->current;
  if (!block || block->capacity - block->used < bytes) {
    size_t capacity = block ? block->capacity * 2 : BLOCK_MIN;
    if (capacity > BLOCK_MAX)
      capacity = BLOCK_MAX;
    if (capacity < bytes)
      capacity = bytes;
    struct aon_arena_block *fresh = block_new(capacity);
    if (!fresh)
      return NULL;
    if (block)
      block->next = fresh;
    else
      arena->first = fresh;
    arena->current = block = fresh;
  }
  void *at = block->bytes + block->used;
  block->used += bytes;
  arena->used_bytes += bytes;
  return at;
}

void *aon_arena_alloc(aon_arena *arena, size_t bytes) {
  void *at = take(arena, bytes);
  if (at)
    memset(at, 0, bytes);
  return at;
}

void *aon_arena_copy(aon_arena *arena, const void *bytes, size_t length) {
  void *copy = take(arena, length);
  if (copy && length)
    memcpy(copy, bytes, length);
  return copy;
}

char *aon_arena_text(aon_arena *arena, const char *text, size_t length) {
  if (length == SIZE_MAX)
    return NULL;
  char *copy = take(arena, length + 1);
  if (copy && length)
    memcpy(copy, text, length);
  if (copy)
    copy[length] = 0;
  return copy;
}

char *aon_arena_format(aon_arena *arena, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  if (length < 0)
    return NULL;
  char *text = aon_arena_alloc(arena, (size_t)length + 1);
  if (!text)
    return NULL;
  va_start(arguments, format);
  vsnprintf(text, (size_t)length + 1, format, arguments);
  va_end(arguments);
  return text;
}

static void free_from(struct aon_arena_block *block) {
  while (block) {
    struct aon_arena_block *next = block->next;
    free(block);
    block = next;
  }
}

void aon_arena_reset(aon_arena *arena) {
  if (!arena->first)
    return;
  free_from(arena->first->next);
  arena->first->next = NULL;
  arena->first->used = 0;
  arena->current = arena->first;
  arena->used_bytes = 0;
}

void aon_arena_release(aon_arena *arena) {
  free_from(arena->first);
  *arena = (aon_arena){0};
}
