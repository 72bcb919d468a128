/* A set of 64-bit hashes that may say yes by mistake and never no by mistake (a Bloom filter in blocks of one cache line;
 * Putze, Sanders, Singler 2007). Answers "surely not locked, surely not logged" without a look at the disk.
 * Invariant: its memory stays below AON_FILTER_BYTES_LIMIT whatever is added. */
#ifndef AON_JOURNAL_FILTER_H
#define AON_JOURNAL_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AON_FILTER_BYTES_LIMIT ((size_t)8 << 20)
#define AON_FILTER_BYTES_FIRST ((size_t)64 << 10)

typedef struct aon_filter {
  uint64_t *words;
  size_t bytes;
  uint64_t added, crowd;
} aon_filter;

bool aon_filter_make(aon_filter *filter, uint64_t expected); /* empty, of a size for that many; false: no memory */
void aon_filter_release(aon_filter *filter);
void aon_filter_add(aon_filter *filter, uint64_t hash);
bool aon_filter_maybe(const aon_filter *filter, uint64_t hash);
/* So much was added since it was made that it should be made anew, larger or without what is no longer wanted. */
bool aon_filter_crowded(const aon_filter *filter);
#endif
