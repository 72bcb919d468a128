/* See calls.h. */
#include "calls.h"

#include <execinfo.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "base/arena.h"
#include "base/buffer.h"

static struct {
  int kind;
  atomic_int left; /* 0: none fails */
  atomic_bool failed, for_ever;
  void (*then)(void);
} fault;

void calls_fail(int kind, int nth) {
  fault.kind = kind;
  fault.then = NULL;
  atomic_store(&fault.for_ever, false);
  atomic_store(&fault.failed, false);
  atomic_store(&fault.left, nth);
}

void calls_fail_from(int kind, int nth) {
  calls_fail(kind, 0);
  atomic_store(&fault.for_ever, true);
  atomic_store(&fault.left, nth);
}

void calls_fail_for_ever(int nth, void (*then)(void)) {
  calls_fail_from(CALL_STEP, 0);
  fault.then = then;
  atomic_store(&fault.left, nth);
}

/* ---- ways ---- */

#define WAYS_LIMIT (1 << 17) /* of a process; a power of two */
#define WAYS_OF_WATCH 8192
#define DEPTH_LIMIT 40

static struct {
  pthread_mutex_t lock;
  atomic_bool on;
  int kind, depth, calls;
  uint64_t known[WAYS_LIMIT]; /* hashes; 0: free */
  size_t known_count;
  int nths[WAYS_OF_WATCH];
  size_t count;
} watch = {.lock = PTHREAD_MUTEX_INITIALIZER};

void calls_watch(int kind, int depth) {
  calls_fail(kind, 0);
  watch.kind = kind;
  watch.depth = depth < DEPTH_LIMIT ? depth : DEPTH_LIMIT;
  watch.calls = 0;
  watch.count = 0;
  atomic_store(&watch.on, true);
}

size_t calls_ways(const int **ret_nths) {
  *ret_nths = watch.nths;
  return watch.count;
}

static bool is_new(uint64_t way) {
  size_t at = way % WAYS_LIMIT;
  for (; watch.known[at]; at = (at + 1) % WAYS_LIMIT)
    if (watch.known[at] == way)
      return false;
  if (watch.known_count >= WAYS_LIMIT / 2)
    return false;
  watch.known[at] = way;
  watch.known_count++;
  return true;
}

/* Three frames are of this file and its caller here: this one, calls_due and the wrapper. */
__attribute__((noinline)) static void note_way(int kind) {
  void *frames[DEPTH_LIMIT + 3];
  int count = backtrace(frames, watch.depth + 3);
  uint64_t way = UINT64_C(14695981039346656037) ^ (uint64_t)kind;
  for (int i = 3; i < count; i++)
    way = (way ^ (uintptr_t)frames[i]) * UINT64_C(1099511628211);
  pthread_mutex_lock(&watch.lock);
  watch.calls++;
  if (is_new(way ? way : 1) && watch.count < WAYS_OF_WATCH)
    watch.nths[watch.count++] = watch.calls;
  pthread_mutex_unlock(&watch.lock);
}

bool calls_due(int kind) {
  if (atomic_load(&watch.on) && kind == watch.kind)
    note_way(kind);
  if (kind != fault.kind || atomic_load(&fault.left) <= 0)
    return atomic_load(&fault.for_ever) && atomic_load(&fault.failed) && kind == fault.kind;
  if (atomic_fetch_sub(&fault.left, 1) != 1)
    return false;
  atomic_store(&fault.failed, true);
  if (fault.then)
    fault.then();
  return true;
}

bool calls_failed(void) { return atomic_load(&fault.failed); }

bool calls_end(void) {
  bool failed = calls_failed();
  atomic_store(&watch.on, false);
  atomic_store(&fault.left, 0);
  atomic_store(&fault.for_ever, false);
  return failed;
}

int calls_seen(void) {
  int seen = INT_MAX - atomic_load(&fault.left);
  calls_end();
  return seen;
}

const char *calls_name(int kind) {
  static const char *const names[CALLS] = {"allocation", "piece of memory", "step", "statement"};
  return names[kind];
}

bool calls_full(void) {
  const char *full = getenv("AON_FULL");
  return full && !strcmp(full, "1");
}

int calls_next(int nth, int fewer) {
  const char *more = getenv("AON_CALLS_MORE");
  int times = more ? atoi(more) : 1;
  return calls_full() ? nth + 1 : nth + 1 + nth / (times > 1 ? fewer * times : fewer);
}

/* ---- memory ---- */

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *block, size_t bytes);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *block, size_t bytes);
char *__wrap_strdup(const char *text);
void *__wrap_malloc(size_t bytes) { return calls_due(CALL_MEMORY) ? NULL : __real_malloc(bytes); }
void *__wrap_calloc(size_t count, size_t bytes) { return calls_due(CALL_MEMORY) ? NULL : __real_calloc(count, bytes); }
void *__wrap_realloc(void *block, size_t bytes) { return calls_due(CALL_MEMORY) ? NULL : __real_realloc(block, bytes); }
char *__wrap_strdup(const char *text) { return calls_due(CALL_MEMORY) ? NULL : __real_strdup(text); }

void *__real_aon_arena_alloc(aon_arena *arena, size_t bytes);
void *__real_aon_arena_copy(aon_arena *arena, const void *bytes, size_t length);
char *__real_aon_arena_text(aon_arena *arena, const char *text, size_t length);
void *__wrap_aon_arena_alloc(aon_arena *arena, size_t bytes);
void *__wrap_aon_arena_copy(aon_arena *arena, const void *bytes, size_t length);
char *__wrap_aon_arena_text(aon_arena *arena, const char *text, size_t length);
char *__wrap_aon_arena_format(aon_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
void *__wrap_aon_arena_alloc(aon_arena *arena, size_t bytes) { return calls_due(CALL_PIECE) ? NULL : __real_aon_arena_alloc(arena, bytes); }
void *__wrap_aon_arena_copy(aon_arena *arena, const void *bytes, size_t length) {
  return calls_due(CALL_PIECE) ? NULL : __real_aon_arena_copy(arena, bytes, length);
}
char *__wrap_aon_arena_text(aon_arena *arena, const char *text, size_t length) {
  return calls_due(CALL_PIECE) ? NULL : __real_aon_arena_text(arena, text, length);
}

char *__wrap_aon_arena_format(aon_arena *arena, const char *format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  int length = vsnprintf(NULL, 0, format, arguments);
  char *text = calls_due(CALL_PIECE) ? NULL : __real_aon_arena_alloc(arena, (size_t)length + 1);
  if (text)
    vsnprintf(text, (size_t)length + 1, format, again);
  va_end(again);
  va_end(arguments);
  return text;
}

aon_result __real_aon_buffer_append(aon_buffer *buffer, const void *bytes, size_t length, aon_error *error);
aon_result __real_aon_buffer_text(aon_buffer *buffer, const char *text, aon_error *error);
aon_result __real_aon_buffer_reserve(aon_buffer *buffer, size_t more, aon_error *error);
aon_result __wrap_aon_buffer_append(aon_buffer *buffer, const void *bytes, size_t length, aon_error *error);
aon_result __wrap_aon_buffer_text(aon_buffer *buffer, const char *text, aon_error *error);
aon_result __wrap_aon_buffer_reserve(aon_buffer *buffer, size_t more, aon_error *error);
aon_result __wrap_aon_buffer_format(aon_buffer *buffer, aon_error *error, const char *format, ...) __attribute__((format(printf, 3, 4)));
aon_result __wrap_aon_buffer_append(aon_buffer *buffer, const void *bytes, size_t length, aon_error *error) {
  return calls_due(CALL_PIECE) ? aon_fail_memory(error) : __real_aon_buffer_append(buffer, bytes, length, error);
}
aon_result __wrap_aon_buffer_text(aon_buffer *buffer, const char *text, aon_error *error) {
  return calls_due(CALL_PIECE) ? aon_fail_memory(error) : __real_aon_buffer_text(buffer, text, error);
}
aon_result __wrap_aon_buffer_reserve(aon_buffer *buffer, size_t more, aon_error *error) {
  return calls_due(CALL_PIECE) ? aon_fail_memory(error) : __real_aon_buffer_reserve(buffer, more, error);
}

aon_result __wrap_aon_buffer_format(aon_buffer *buffer, aon_error *error, const char *format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  int length = vsnprintf(NULL, 0, format, arguments);
  aon_result result = calls_due(CALL_PIECE) ? aon_fail_memory(error) : __real_aon_buffer_reserve(buffer, (size_t)length, error);
  if (!result) {
    vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, again);
    buffer->length += (size_t)length;
  }
  va_end(again);
  va_end(arguments);
  return result;
}

/* ---- SQLite ---- */

int __real_sqlite3_step(sqlite3_stmt *statement);
int __real_sqlite3_prepare_v2(sqlite3 *database, const char *sql, int length, sqlite3_stmt **ret, const char **tail);
int __real_sqlite3_prepare_v3(sqlite3 *database, const char *sql, int length, unsigned flags, sqlite3_stmt **ret, const char **tail);
int __wrap_sqlite3_step(sqlite3_stmt *statement);
int __wrap_sqlite3_prepare_v2(sqlite3 *database, const char *sql, int length, sqlite3_stmt **ret, const char **tail);
int __wrap_sqlite3_prepare_v3(sqlite3 *database, const char *sql, int length, unsigned flags, sqlite3_stmt **ret, const char **tail);
int __wrap_sqlite3_step(sqlite3_stmt *statement) { return calls_due(CALL_STEP) ? SQLITE_IOERR : __real_sqlite3_step(statement); }
int __wrap_sqlite3_prepare_v2(sqlite3 *database, const char *sql, int length, sqlite3_stmt **ret, const char **tail) {
  *ret = NULL;
  return calls_due(CALL_STATEMENT) ? SQLITE_IOERR : __real_sqlite3_prepare_v2(database, sql, length, ret, tail);
}
int __wrap_sqlite3_prepare_v3(sqlite3 *database, const char *sql, int length, unsigned flags, sqlite3_stmt **ret, const char **tail) {
  *ret = NULL;
  return calls_due(CALL_STATEMENT) ? SQLITE_IOERR : __real_sqlite3_prepare_v3(database, sql, length, flags, ret, tail);
}
