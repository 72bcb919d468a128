/* Who owns what is allocated. The linker sends malloc and its kin of the code under test here (--wrap), and SQLite is given the same, so
 * that a crash can take away all that a process had, and the n-th allocation can fail. Libraries keep their own.
 *
 * A table beside the real heap, not heads in the blocks: what a library allocated may be freed here and the other way round. */
#include <malloc.h>
#include <stddef.h>

#include "sim.h"

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *block, size_t bytes);
void __real_free(void *block);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *block, size_t bytes);
void __wrap_free(void *block);
char *__wrap_strdup(const char *text);
void *__wrap_sodium_malloc(size_t bytes);
void __wrap_sodium_free(void *block);

static struct {
  struct slot {
    uintptr_t at; /* 0: free */
    int owner;
  } *slots;
  size_t capacity, count;
  uint32_t fail_in;
} heap;

static size_t place_of(uintptr_t at) { return (size_t)((at >> 4) * 0x9e3779b97f4a7c15u >> 20) & (heap.capacity - 1); }

static void put(uintptr_t at, int owner) {
  size_t place = place_of(at);
  while (heap.slots[place].at && heap.slots[place].at != at)
    place = (place + 1) & (heap.capacity - 1);
  heap.count += !heap.slots[place].at;
  heap.slots[place] = (struct slot){at, owner};
}

static void *note(void *block) {
  if (!block || !W) /* between worlds: what is made then stays */
    return block;
  if (heap.count * 2 >= heap.capacity) {
    struct slot *old = heap.slots;
    size_t capacity = heap.capacity;
    heap.capacity = capacity ? 2 * capacity : 4096;
    heap.slots = __real_calloc(heap.capacity, sizeof *heap.slots);
    heap.count = 0;
    for (size_t i = 0; i < capacity; i++)
      if (old[i].at)
        put(old[i].at, old[i].owner);
    __real_free(old);
  }
  put((uintptr_t)block, heap_owner_now());
  return block;
}

/* Linear probing without tombstones: what follows moves up. */
static void forget(void *block) {
  if (!heap.capacity || !block)
    return;
  size_t mask = heap.capacity - 1, place = place_of((uintptr_t)block);
  while (heap.slots[place].at && heap.slots[place].at != (uintptr_t)block)
    place = (place + 1) & mask;
  if (!heap.slots[place].at)
    return;
  heap.count--;
  for (size_t next = (place + 1) & mask; heap.slots[next].at; next = (next + 1) & mask) {
    size_t home = place_of(heap.slots[next].at);
    if (((next - home) & mask) >= ((next - place) & mask)) {
      heap.slots[place] = heap.slots[next];
      place = next;
    }
  }
  heap.slots[place].at = 0;
}

static bool fails(void) {
  if (!heap.fail_in || heap_owner_now() == HEAP_WORLD || --heap.fail_in)
    return false;
  W->counts.failed_allocations++;
  trace("an allocation fails");
  return true;
}

void heap_fail_in(uint32_t n) { heap.fail_in = n; }

void heap_drop(int owner) {
  for (size_t i = 0; i < heap.capacity;) {
    void *block = (void *)heap.slots[i].at;
    if (!block || heap.slots[i].owner != owner) {
      i++;
      continue;
    }
    forget(block); /* another one may have moved here */
    __real_free(block);
  }
}

void heap_drop_all(void) {
  for (size_t i = 0; i < heap.capacity; i++)
    if (heap.slots[i].at)
      __real_free((void *)heap.slots[i].at);
  __real_free(heap.slots);
  heap.slots = NULL;
  heap.capacity = heap.count = 0;
  heap.fail_in = 0;
}

void *__wrap_malloc(size_t bytes) { return fails() ? NULL : note(__real_malloc(bytes)); }
void *__wrap_calloc(size_t count, size_t bytes) { return fails() ? NULL : note(__real_calloc(count, bytes)); }

void *__wrap_realloc(void *block, size_t bytes) {
  if (fails())
    return NULL;
  forget(block);
  void *grown = __real_realloc(block, bytes);
  return note(grown ? grown : block);
}

void __wrap_free(void *block) {
  forget(block);
  __real_free(block);
}

char *__wrap_strdup(const char *text) {
  size_t length = strlen(text) + 1;
  char *copy = __wrap_malloc(length);
  return copy ? memcpy(copy, text, length) : NULL;
}

void *__wrap_sodium_malloc(size_t bytes) { return __wrap_malloc(bytes); }
void __wrap_sodium_free(void *block) { __wrap_free(block); }

static void *sqlite_malloc(int bytes) { return __wrap_malloc((size_t)bytes); }
static void *sqlite_realloc(void *block, int bytes) { return __wrap_realloc(block, (size_t)bytes); }
static int sqlite_size(void *block) { return block ? (int)malloc_usable_size(block) : 0; }
static int sqlite_round(int bytes) { return (bytes + 7) & ~7; }
static int sqlite_start(void *unused) {
  (void)unused;
  return SQLITE_OK;
}
static void sqlite_stop(void *unused) { (void)unused; }

int heap_sqlite_config(void) {
  static const sqlite3_mem_methods methods = {.xMalloc = sqlite_malloc,
                                              .xFree = __wrap_free,
                                              .xRealloc = sqlite_realloc,
                                              .xSize = sqlite_size,
                                              .xRoundup = sqlite_round,
                                              .xInit = sqlite_start,
                                              .xShutdown = sqlite_stop};
  return sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}
