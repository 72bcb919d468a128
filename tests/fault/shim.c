/* LD_PRELOAD: real calls of a real process that fail as a machine makes them fail. What is asked for stands in the environment:
 *
 *   FAULT_CALL   read, write, sync, truncate, open or allocate (malloc and its like, from main on; programs without sanitizers only)
 *   FAULT_PATH   only files whose path holds this
 *   FAULT_AT     the number of the call, from 1            FAULT_TIMES  how many of them from there on; 0: all; not set: one
 *   FAULT_ERRNO  the error's number; 0 with write: half of it is written, and said so
 *   FAULT_CLOCK  CALL:MILLISECONDS: from that reading of the wall clock on, it is so much ahead (or behind)
 *   FAULT_COUNT  a file that gets the number of calls that there were, at the end
 *
 * The names are the libc's that SQLite, libaon and stdio use. Only their wall clock is moved: CLOCK_BOOTTIME stays. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "shim.h"

static _Atomic long calls, readings;

static long number(const char *name, long otherwise) {
  const char *text = getenv(name);
  return text && *text ? atol(text) : otherwise;
}

static bool wanted(const char *call, const char *path) {
  const char *asked = getenv("FAULT_CALL"), *part = getenv("FAULT_PATH");
  return asked && !strcmp(asked, call) && (!part || strstr(path, part));
}

/* True: this call is to fail. */
static bool hit(const char *call, const char *path) {
  if (!wanted(call, path))
    return false;
  long n = ++calls, at = number("FAULT_AT", 0), times = number("FAULT_TIMES", 1);
  return at && n >= at && (times == 0 || n < at + times);
}

static bool hit_file(const char *call, int descriptor) {
  char link[64], path[4096];
  if (!getenv("FAULT_CALL"))
    return false;
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, sizeof path - 1);
  path[length < 0 ? 0 : length] = 0;
  return hit(call, path);
}

static int broken(void) {
  errno = (int)number("FAULT_ERRNO", EIO);
  return -1;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* ---- reading, writing ---- */

ssize_t pread(int file, void *bytes, size_t length, off_t at) {
  return hit_file("read", file) ? broken() : NEXT(pread)(file, bytes, length, at);
}

ssize_t pread64(int file, void *bytes, size_t length, off64_t at) {
  return hit_file("read", file) ? broken() : NEXT(pread64)(file, bytes, length, at);
}

static ssize_t written(int file, const void *bytes, size_t length, off64_t at) {
  ssize_t (*next)(int, const void *, size_t, off64_t) = (ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
  if (!hit_file("write", file))
    return next(file, bytes, length, at);
  if (number("FAULT_ERRNO", EIO))
    return broken();
  return next(file, bytes, length > 1 ? length / 2 : length, at);
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t at) { return written(file, bytes, length, at); }
ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at) { return written(file, bytes, length, at); }

int fsync(int file) { return hit_file("sync", file) ? broken() : NEXT(fsync)(file); }
int fdatasync(int file) { return hit_file("sync", file) ? broken() : NEXT(fdatasync)(file); }
int ftruncate(int file, off_t length) { return hit_file("truncate", file) ? broken() : NEXT(ftruncate)(file, length); }
int ftruncate64(int file, off64_t length) { return hit_file("truncate", file) ? broken() : NEXT(ftruncate64)(file, length); }

/* ---- opening ---- */

static int opened(const char *name, const char *path, int flags, mode_t mode) {
  if (hit("open", path))
    return broken();
  int (*next)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, name);
  return next(path, flags, mode);
}

static mode_t mode_of(int flags, va_list arguments) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0; }

int open(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return opened("open", path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return opened("open64", path, flags, mode);
}

/* ---- memory ---- */

#ifndef AON_ABOVE_ASAN
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *block, size_t bytes);

static struct {
  bool counts;
  long at, times;
} memory; /* read once: getenv for each allocation would be most of the run */

static bool refused(void) {
  if (!memory.counts)
    return false;
  long n = ++calls;
  bool hits = memory.at && n >= memory.at && (memory.times == 0 || n < memory.at + memory.times);
  if (hits)
    errno = ENOMEM;
  return hits;
}

void *malloc(size_t bytes) { return refused() ? NULL : __libc_malloc(bytes); }
void *calloc(size_t count, size_t bytes) { return refused() ? NULL : __libc_calloc(count, bytes); }
void *realloc(void *block, size_t bytes) { return bytes && refused() ? NULL : __libc_realloc(block, bytes); }

__attribute__((constructor)) static void ask(void) {
  const char *asked = getenv("FAULT_CALL");
  memory.at = number("FAULT_AT", 0);
  memory.times = number("FAULT_TIMES", 1);
  memory.counts = asked && !strcmp(asked, "allocate");
}
#endif

/* ---- the clock ---- */

int clock_gettime(clockid_t id, struct timespec *now) {
  int result = NEXT(clock_gettime)(id, now);
  const char *asked = getenv("FAULT_CLOCK");
  long long at = 0, ms = 0;
  if (result || id != CLOCK_REALTIME || !asked || sscanf(asked, "%lld:%lld", &at, &ms) != 2 || ++readings < at)
    return result;
  now->tv_sec += ms / 1000;
  return result;
}

__attribute__((destructor)) static void tell(void) {
  const char *path = getenv("FAULT_COUNT");
#ifndef AON_ABOVE_ASAN
  memory.counts = false;
#endif
  FILE *file = path ? fopen(path, "w") : NULL;
  if (!file)
    return;
  fprintf(file, "%ld %ld\n", calls, readings);
  fclose(file);
}
