/* Who owns what is allocated. The linker sends malloc and its kin of the code under test here (--wrap), and SQLite is given the same, so
 * that a crash can take away all that a process had, and the n-th allocation can fail. Libraries keep their own.
 *
 * A table beside the real heap, not heads in the blocks: what a library allocated may be freed here and the other way round. Only SQLite's
 * blocks, which nobody else frees and which are most of all, have heads and come from pools of their own (not with a sanitizer, which would
 * see nothing of them then). */
#include <malloc.h>
#include <stddef.h>
#include <sys/mman.h>

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

#define SOON 60u /* allocations; about as many as a statement needs */

static struct {
  struct slot {
    uintptr_t at; /* 0: free */
    int owner;
  } * slots;
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

bool heap_fails_soon(void) { return heap.fail_in && heap.fail_in <= SOON && heap_owner_now() != HEAP_WORLD; }

void heap_fail_in(uint32_t n) { heap.fail_in = n; }

/* ---- SQLite's blocks ---- */

#define STEP 16u
#define SMALL_LIMIT 1024u
#define SMALL_CLASSES (SMALL_LIMIT / STEP)
#define LARGE_CLASSES 16u /* powers of two above */
#define CARVED_BYTES 65536u
#define LISTS 64u

typedef struct head {
  struct head *next, **back; /* in the list of its owner; back NULL: made between worlds, it stays */
  uint32_t bytes, class;
  int owner;
} __attribute__((aligned(16))) head;

static struct {
  head *free[SMALL_CLASSES + LARGE_CLASSES];
  head *of[LISTS]; /* by owner */
} pool;

static uint32_t class_of(uint32_t bytes, uint32_t *ret_bytes) {
  if (bytes <= SMALL_LIMIT) {
    uint32_t class = bytes ? (bytes - 1) / STEP : 0;
    *ret_bytes = (class + 1) * STEP;
    return class;
  }
  uint32_t class = 0;
  while (SMALL_LIMIT << (class + 1) < bytes)
    class ++;
  *ret_bytes = SMALL_LIMIT << (class + 1);
  return SMALL_CLASSES + class;
}

static void refill(uint32_t class, uint32_t bytes) {
  size_t each = sizeof(head) + bytes, count = each < CARVED_BYTES ? CARVED_BYTES / each : 1;
  char *raw = __real_malloc(count * each);
  for (size_t i = 0; raw && i < count; i++) {
    head *h = (head *)(void *)(raw + i * each);
    *h = (head){.next = pool.free[class], .bytes = bytes, .class = class};
    pool.free[class] = h;
  }
}

static void unlink_head(head *h) {
  if (!h->back)
    return;
  *h->back = h->next;
  if (h->next)
    h->next->back = h->back;
}

/* ---- stills: what was made once and is put back as it was, at the same addresses (warm.c) ---- */

#define STILL_BYTES ((size_t)4 << 20)
#define STILL_STEP 16u
#define STILL_CLASSES 4096u /* up to 64 kB; what is larger is not used again */

static struct {
  char *base, *copies; /* HEAP_STILLS of STILL_BYTES each */
  size_t used[HEAP_STILLS];
  int making; /* -1: none */
  head *free[STILL_CLASSES];
} stills = {.making = -1};

int heap_still_of(const void *block) {
  size_t away = (size_t)((const char *)block - stills.base);
  return stills.base && away < HEAP_STILLS * STILL_BYTES ? (int)(away / STILL_BYTES) : -1;
}

void heap_still_begin(int which) {
  size_t all = 2 * HEAP_STILLS * STILL_BYTES;
  if (!stills.base) {
    stills.base = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    stills.copies = stills.base + all / 2;
  }
  stills.making = which;
  stills.used[which] = 0;
  memset(stills.free, 0, sizeof stills.free);
}

void heap_still_end(void) {
  size_t at = (size_t)stills.making * STILL_BYTES;
  memcpy(stills.copies + at, stills.base + at, stills.used[stills.making]);
  stills.making = -1;
}

void heap_still_restore(int which) {
  size_t at = (size_t)which * STILL_BYTES;
  memcpy(stills.base + at, stills.copies + at, stills.used[which]);
}

static void *still_malloc(int bytes) {
  uint32_t class = ((uint32_t)bytes + STILL_STEP - 1) / STILL_STEP, rounded = class * STILL_STEP;
  head *h = class < STILL_CLASSES ? stills.free[class] : NULL;
  if (h) {
    stills.free[class] = h->next;
    return h + 1;
  }
  size_t *used = &stills.used[stills.making];
  if (*used + sizeof *h + rounded > STILL_BYTES)
    return NULL;
  h = (head *)(void *)(stills.base + (size_t)stills.making * STILL_BYTES + *used);
  *used += sizeof *h + rounded;
  *h = (head){.bytes = rounded, .class = class};
  return h + 1;
}

/* In a world what belongs to a still is only forgotten: it goes, and comes back, with all of it. */
static void still_free(void *block) {
  head *h = (head *)block - 1;
  if (stills.making < 0 || h->class >= STILL_CLASSES)
    return;
  h->next = stills.free[h->class];
  stills.free[h->class] = h;
}

/* ---- SQLite's allocator ---- */

static void pool_free(head *h) {
  h->next = pool.free[h->class];
  pool.free[h->class] = h;
}

static void pool_drop(uint32_t list, int owner, bool all) {
  for (head *h = pool.of[list], *next; h; h = next) {
    next = h->next;
    if (!all && h->owner != owner)
      continue;
    unlink_head(h);
    pool_free(h);
  }
}

static void *pooled_malloc(int bytes) {
  if (stills.making >= 0)
    return still_malloc(bytes);
  uint32_t rounded, class = class_of((uint32_t)bytes, &rounded);
  if (fails())
    return NULL;
  if (!pool.free[class])
    refill(class, rounded);
  head *h = pool.free[class];
  if (!h)
    return NULL;
  pool.free[class] = h->next;
  h->back = NULL;
  if (W) {
    h->owner = heap_owner_now();
    head **list = &pool.of[(uint32_t)h->owner % LISTS];
    h->next = *list;
    h->back = list;
    if (h->next)
      h->next->back = &h->next;
    *list = h;
  }
  return h + 1;
}

static void pooled_free(void *block) {
  if (!block)
    return;
  if (heap_still_of(block) >= 0) {
    still_free(block);
    return;
  }
  head *h = (head *)block - 1;
  unlink_head(h);
  pool_free(h);
}

static int pooled_size(void *block) { return block ? (int)((head *)block - 1)->bytes : 0; }

static void *pooled_realloc(void *block, int bytes) {
  if (!block)
    return pooled_malloc(bytes);
  if (bytes <= pooled_size(block))
    return fails() ? NULL : block;
  void *grown = pooled_malloc(bytes);
  if (!grown)
    return NULL;
  memcpy(grown, block, (size_t)pooled_size(block));
  pooled_free(block);
  return grown;
}

/* ---- what goes with its owner ---- */

void heap_drop(int owner) {
  warm_drop(owner);
  pool_drop((uint32_t)owner % LISTS, owner, false);
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
  warm_drop(-1);
  for (uint32_t i = 0; i < LISTS; i++)
    pool_drop(i, 0, true);
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

/* With a sanitizer: */
static void *plain_malloc(int bytes) { return stills.making >= 0 ? still_malloc(bytes) : __wrap_malloc((size_t)bytes); }
static void plain_free(void *block) {
  if (heap_still_of(block) >= 0)
    still_free(block);
  else
    __wrap_free(block);
}
static int plain_size(void *block) {
  if (heap_still_of(block) >= 0)
    return pooled_size(block);
  return block ? (int)malloc_usable_size(block) : 0;
}
static void *plain_realloc(void *block, int bytes) {
  if (heap_still_of(block) < 0 && stills.making < 0)
    return __wrap_realloc(block, (size_t)bytes);
  void *grown = plain_malloc(bytes);
  if (grown && block) {
    memcpy(grown, block, (size_t)(plain_size(block) < bytes ? plain_size(block) : bytes));
    plain_free(block);
  }
  return grown;
}
static int sqlite_round(int bytes) { return (bytes + 7) & ~7; }
static int sqlite_start(void *unused) {
  (void)unused;
  return SQLITE_OK;
}
static void sqlite_stop(void *unused) { (void)unused; }

int heap_sqlite_config(void) {
#ifdef __SANITIZE_ADDRESS__
  static const bool pools = false;
#else
  static const bool pools = true;
#endif
  const sqlite3_mem_methods methods = {.xMalloc = pools ? pooled_malloc : plain_malloc,
                                       .xFree = pools ? pooled_free : plain_free,
                                       .xRealloc = pools ? pooled_realloc : plain_realloc,
                                       .xSize = pools ? pooled_size : plain_size,
                                       .xRoundup = sqlite_round,
                                       .xInit = sqlite_start,
                                       .xShutdown = sqlite_stop};
  return sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}
