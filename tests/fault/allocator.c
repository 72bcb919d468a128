/* See allocator.h. Invariant: nothing here allocates. */
#include "allocator.h"

#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "points.h"

#ifdef AON_ABOVE_ASAN
#define BELOW(name) __interceptor_##name
#else
#define BELOW(name) __libc_##name
#endif
void *BELOW(malloc)(size_t);
void *BELOW(calloc)(size_t, size_t);
void *BELOW(realloc)(void *, size_t);
void *BELOW(memalign)(size_t, size_t);
void BELOW(free)(void *);

/* ---- who asks ---- */

#define OBJECTS_LIMIT 64
static struct object {
  uintptr_t first, last, base;
  char name[40];
} objects[OBJECTS_LIMIT];
static size_t object_count;

static int note_object(struct dl_phdr_info *info, size_t size, void *context) {
  (void)size;
  (void)context;
  if (object_count == OBJECTS_LIMIT)
    return 1;
  struct object *o = &objects[object_count++];
  const char *slash = strrchr(info->dlpi_name, '/');
  const char *name = slash ? slash + 1 : *info->dlpi_name ? info->dlpi_name : "aon";
  snprintf(o->name, sizeof o->name, "%.*s", (int)strcspn(name, "."), name);
  o->first = UINTPTR_MAX;
  o->base = info->dlpi_addr;
  for (int i = 0; i < info->dlpi_phnum; i++)
    if (info->dlpi_phdr[i].p_type == PT_LOAD) {
      uintptr_t at = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
      o->first = at < o->first ? at : o->first;
      o->last = at + info->dlpi_phdr[i].p_memsz > o->last ? at + info->dlpi_phdr[i].p_memsz : o->last;
    }
  return 0;
}

void allocator_names(void) { dl_iterate_phdr(note_object, NULL); }

/* An address as addr2line wants it. */
static size_t offset_of(const void *address) {
  for (size_t i = 0; i < object_count; i++)
    if ((uintptr_t)address >= objects[i].first && (uintptr_t)address < objects[i].last)
      return (uintptr_t)address - objects[i].base;
  return 0;
}

static const char *asker(const void *address) {
  for (size_t i = 0; i < object_count; i++)
    if ((uintptr_t)address >= objects[i].first && (uintptr_t)address < objects[i].last)
      return objects[i].name;
  return "before main";
}

/* ---- what is not given back: open addressing with tombstones, in memory of its own ---- */

#define SLOTS (1u << 16)
#define TOMB ((void *)1)
static struct block {
  void *at;
  const void *from;
  size_t bytes;
} * blocks;
static size_t block_count, slots_used;
static bool watching;

void allocator_watch(void) {
  if (!blocks)
    blocks = mmap(NULL, SLOTS * sizeof *blocks, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (blocks == MAP_FAILED)
    abort();
  memset(blocks, 0, SLOTS * sizeof *blocks);
  block_count = slots_used = 0;
  watching = true;
}

void allocator_stop(void) { watching = false; }

static struct block *slot_of(const void *at) {
  size_t slot = ((uintptr_t)at >> 4) * 0x9e3779b97f4a7c15u >> 48;
  while (blocks[slot % SLOTS].at && blocks[slot % SLOTS].at != at)
    slot++;
  return &blocks[slot % SLOTS];
}

static void clean_up(void) { /* tombstones out: all that live are entered anew */
  static struct block live[SLOTS / 4];
  size_t count = 0;
  for (size_t i = 0; i < SLOTS; i++)
    if (blocks[i].at && blocks[i].at != TOMB)
      live[count++] = blocks[i];
  memset(blocks, 0, SLOTS * sizeof *blocks);
  for (size_t i = 0; i < count; i++)
    *slot_of(live[i].at) = live[i];
  slots_used = count;
}

static void born(void *at, size_t bytes, const void *from) {
  if (!watching || !at || points_is_quiet())
    return;
  if (slots_used > SLOTS / 2)
    clean_up();
  if (block_count >= SLOTS / 4 - 1)
    abort(); /* more at once than any run here needs */
  struct block *b = slot_of(at);
  slots_used += !b->at;
  *b = (struct block){.at = at, .from = from, .bytes = bytes};
  block_count++;
}

static bool died(void *at) {
  if (!watching || !at)
    return false;
  struct block *b = slot_of(at);
  if (!b->at)
    return false;
  *b = (struct block){.at = TOMB};
  block_count--;
  return true;
}

/* What a run without a fault leaves is kept by libraries for next time: so many blocks by each caller are no leak. */
#define EXCUSES_LIMIT 64
static struct excuse {
  const void *from;
  size_t count;
} excuses[EXCUSES_LIMIT];
static size_t excuse_count;

static struct excuse *excuse_of(const void *from) {
  for (size_t i = 0; i < excuse_count; i++)
    if (excuses[i].from == from)
      return &excuses[i];
  return NULL;
}

void allocator_excuse(void) {
  excuse_count = 0;
  for (size_t i = 0; block_count && i < SLOTS; i++) {
    if (!blocks[i].at || blocks[i].at == TOMB)
      continue;
    struct excuse *known = excuse_of(blocks[i].from);
    if (known)
      known->count++;
    else if (excuse_count < EXCUSES_LIMIT)
      excuses[excuse_count++] = (struct excuse){.from = blocks[i].from, .count = 1};
  }
}

/* libzip 1.7.3 forgets some blocks of its own where malloc fails while it opens a part; it has no hook for memory that would help. */
static bool known_to_lose(const void *from) { return points_is_child() && !strcmp(asker(from), "libzip"); }

size_t allocator_left(char *ret_text, size_t size) {
  size_t used = 0, count = 0;
  struct excuse left[EXCUSES_LIMIT];
  memcpy(left, excuses, sizeof left);
  ret_text[0] = 0;
  for (size_t i = 0; blocks && block_count && i < SLOTS; i++) {
    if (!blocks[i].at || blocks[i].at == TOMB)
      continue;
    struct excuse *excuse = excuse_of(blocks[i].from);
    if (excuse && left[excuse - excuses].count) {
      left[excuse - excuses].count--;
      continue;
    }
    if (known_to_lose(blocks[i].from))
      continue;
    count++;
    if (used + 100 < size)
      used += (size_t)snprintf(ret_text + used, size - used, " %zu bytes of %s+0x%zx,", blocks[i].bytes, asker(blocks[i].from),
                               offset_of(blocks[i].from));
  }
  return count;
}

/* ---- malloc and its like ---- */

static bool fails(const void *from) { return !points_is_quiet() && point_here(POINT_ALLOCATION, asker(from)) != WAY_NONE; }
#define FROM __builtin_return_address(0)

void *malloc(size_t bytes) {
  if (fails(FROM)) {
    errno = ENOMEM;
    return NULL;
  }
  void *at = BELOW(malloc)(bytes);
  born(at, bytes, FROM);
  return at;
}

void *calloc(size_t count, size_t bytes) {
  if (fails(FROM)) {
    errno = ENOMEM;
    return NULL;
  }
  void *at = BELOW(calloc)(count, bytes);
  born(at, count * bytes, FROM);
  return at;
}

void *realloc(void *old, size_t bytes) {
  if (bytes && fails(FROM)) {
    errno = ENOMEM;
    return NULL;
  }
  bool known = died(old);
  void *at = BELOW(realloc)(old, bytes);
  if (known || !old)
    born(at, bytes, FROM);
  return at;
}

void *reallocarray(void *old, size_t count, size_t bytes) {
  if (bytes && count > SIZE_MAX / bytes) {
    errno = ENOMEM;
    return NULL;
  }
  return realloc(old, count * bytes);
}

void *memalign(size_t alignment, size_t bytes) {
  if (fails(FROM)) {
    errno = ENOMEM;
    return NULL;
  }
  void *at = BELOW(memalign)(alignment, bytes);
  born(at, bytes, FROM);
  return at;
}

void *aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }

int posix_memalign(void **ret_at, size_t alignment, size_t bytes) {
  void *at = memalign(alignment, bytes);
  if (!at)
    return ENOMEM;
  *ret_at = at;
  return 0;
}

void free(void *at) {
  died(at);
  BELOW(free)(at);
}

/* AddressSanitizer's own strdup and strndup would go round these. */
char *strdup(const char *text) {
  size_t length = strlen(text) + 1;
  if (fails(FROM)) {
    errno = ENOMEM;
    return NULL;
  }
  char *copy = BELOW(malloc)(length);
  born(copy, length, FROM);
  return copy ? memcpy(copy, text, length) : NULL;
}

char *strndup(const char *text, size_t most) {
  size_t length = strnlen(text, most);
  if (fails(FROM)) {
    errno = ENOMEM;
    return NULL;
  }
  char *copy = BELOW(malloc)(length + 1);
  born(copy, length + 1, FROM);
  if (!copy)
    return NULL;
  memcpy(copy, text, length);
  copy[length] = 0;
  return copy;
}
