/* Prototypes of what the shim stands before, without the macros that name one for another. */
#ifndef TESTS_FAULT_SHIM_H
#define TESTS_FAULT_SHIM_H

#include <sys/types.h>
#include <time.h>

ssize_t pread(int file, void *bytes, size_t length, off_t at);
ssize_t pread64(int file, void *bytes, size_t length, off64_t at);
ssize_t pwrite(int file, const void *bytes, size_t length, off_t at);
ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at);
int ftruncate(int file, off_t length);
int ftruncate64(int file, off64_t length);
int open(const char *path, int flags, ...);
int open64(const char *path, int flags, ...);

#endif
