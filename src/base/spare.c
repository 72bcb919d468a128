/* Spare memory. Invariants stand in spare.h. Sources: the documentation of bson_mem_set_vtable, json_set_alloc_funcs and xmlMemSetup. */
#include "base/spare.h"

#include <bson/bson.h>
#include <jansson.h>
#include <libxml/xmlmemory.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGN ((size_t)16)

/* Blocks are cut off one after another; the room is whole again when the last one is given back. */
static struct {
  pthread_mutex_t mutex;
  unsigned char *room;
  size_t bytes, used, blocks;
  _Atomic uint64_t given;
} spare = {.mutex = PTHREAD_MUTEX_INITIALIZER};

bool aon_spare_holds(const void *block) {
  return spare.room && (const unsigned char *)block >= spare.room && (const unsigned char *)block < spare.room + spare.bytes;
}

/* In front of each block stands how long it is. */
static size_t length_of(const void *block) {
  size_t length;
  memcpy(&length, (const unsigned char *)block - ALIGN, sizeof length);
  return length;
}

/* alignment: a power of two, ALIGN at least. */
static void *take(size_t alignment, size_t bytes) {
  void *block = NULL;
  spare.given++;
  pthread_mutex_lock(&spare.mutex);
  size_t start = ((spare.used + ALIGN + alignment - 1) & ~(alignment - 1));
  if (spare.room && start <= spare.bytes && bytes <= spare.bytes - start) {
    block = spare.room + start;
    memcpy((unsigned char *)block - ALIGN, &bytes, sizeof bytes);
    spare.used = (start + bytes + ALIGN - 1) & ~(ALIGN - 1);
    spare.blocks++;
  }
  pthread_mutex_unlock(&spare.mutex);
  return block;
}

void aon_spare_free(void *block) {
  if (!aon_spare_holds(block)) {
    free(block);
    return;
  }
  pthread_mutex_lock(&spare.mutex);
  if (--spare.blocks == 0)
    spare.used = 0;
  pthread_mutex_unlock(&spare.mutex);
}

void *aon_spare_realloc(void *block, size_t old_bytes, size_t bytes) {
  void *moved = aon_spare_holds(block) ? NULL : realloc(block, bytes);
  if (moved)
    return moved;
  moved = take(ALIGN, bytes);
  if (moved && block) {
    memcpy(moved, block, old_bytes < bytes ? old_bytes : bytes);
    aon_spare_free(block);
  }
  return moved;
}

uint64_t aon_spare_given(void) { return spare.given; }

/* ---- what libraries call ---- */

static void *table_malloc(size_t bytes) {
  void *block = malloc(bytes);
  return block ? block : take(ALIGN, bytes);
}

static void *table_calloc(size_t count, size_t bytes) {
  void *block = calloc(count, bytes);
  if (block || (bytes && count > SIZE_MAX / bytes))
    return block;
  block = take(ALIGN, count * bytes);
  return block ? memset(block, 0, count * bytes) : NULL;
}

/* libbson doesn't say how long the old block is: of one of malloc's, no more than fits into what is asked for is taken over. */
static void *table_realloc(void *block, size_t bytes) {
  if (aon_spare_holds(block))
    return aon_spare_realloc(block, length_of(block), bytes);
  void *moved = realloc(block, bytes);
  if (moved || !block)
    return moved ? moved : take(ALIGN, bytes);
  moved = take(ALIGN, bytes);
  if (moved) {
    size_t had = malloc_usable_size(block);
    memcpy(moved, block, had < bytes ? had : bytes);
    free(block);
  }
  return moved;
}

static void *table_aligned_alloc(size_t alignment, size_t bytes) {
  void *block = aligned_alloc(alignment, (bytes + alignment - 1) & ~(alignment - 1));
  return block ? block : take(alignment < ALIGN ? ALIGN : alignment, bytes);
}

static char *table_strdup(const char *text) {
  size_t length = strlen(text) + 1;
  char *copy = table_malloc(length);
  return copy ? memcpy(copy, text, length) : NULL;
}

aon_result aon_spare_open(size_t bytes, aon_error *error) {
  static const bson_mem_vtable_t table = {.malloc = table_malloc,
                                          .calloc = table_calloc,
                                          .realloc = table_realloc,
                                          .free = aon_spare_free,
                                          .aligned_alloc = table_aligned_alloc};
  aon_result result = AON_OK;
  pthread_mutex_lock(&spare.mutex);
  if (!spare.room) {
    void *room = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) {
      result = aon_fail_memory(error);
    } else {
      spare.room = room;
      spare.bytes = bytes;
      bson_mem_set_vtable(&table);
      json_set_alloc_funcs(table_malloc, aon_spare_free);
      if (xmlMemSetup(aon_spare_free, table_malloc, table_realloc, table_strdup))
        result = aon_fail_memory(error);
    }
  }
  pthread_mutex_unlock(&spare.mutex);
  return result;
}
