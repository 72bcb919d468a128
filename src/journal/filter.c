/* Blocked Bloom filter: 8 bits in one of many blocks of 512, at least 32 bits a hash until the limit of memory is reached. */
#include "journal/filter.h"

#include <stdlib.h>

#define BITS_PER_HASH 32
#define BLOCK_WORDS 8
#define PROBES 8

static uint64_t capacity(const aon_filter *filter) { return (uint64_t)filter->bytes * 8 / BITS_PER_HASH; }

bool aon_filter_make(aon_filter *filter, uint64_t expected) {
  size_t bytes = AON_FILTER_BYTES_FIRST;
  while (bytes < AON_FILTER_BYTES_LIMIT && (uint64_t)bytes * 8 / BITS_PER_HASH < 4 * expected)
    bytes *= 2;
  uint64_t *words = aligned_alloc(64, bytes);
  if (!words)
    return false;
  for (size_t i = 0; i < bytes / sizeof *words; i++)
    words[i] = 0;
  free(filter->words);
  *filter = (aon_filter){.words = words, .bytes = bytes};
  filter->crowd = capacity(filter) > 2 * expected ? capacity(filter) : 2 * expected;
  return true;
}

void aon_filter_release(aon_filter *filter) {
  free(filter->words);
  *filter = (aon_filter){0};
}

/* The upper half names the block; eight times nine bits of a mix of the whole name the bits. */
static uint64_t *block_of(const aon_filter *filter, uint64_t hash) {
  uint64_t blocks = filter->bytes / (BLOCK_WORDS * sizeof(uint64_t));
  return filter->words + (((hash >> 32) * blocks) >> 32) * BLOCK_WORDS;
}

static uint64_t mix(uint64_t hash) {
  hash *= 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 29;
}

void aon_filter_add(aon_filter *filter, uint64_t hash) {
  uint64_t *block = block_of(filter, hash), bits = mix(hash);
  for (unsigned word = 0; word < PROBES; word++, bits = bits >> 6 | bits << 58)
    block[word] |= (uint64_t)1 << (bits & 63);
  filter->added++;
}

bool aon_filter_maybe(const aon_filter *filter, uint64_t hash) {
  if (!filter->words)
    return true;
  const uint64_t *block = block_of(filter, hash);
  uint64_t bits = mix(hash), missing = 0;
  for (unsigned word = 0; word < PROBES; word++, bits = bits >> 6 | bits << 58)
    missing |= ~block[word] & (uint64_t)1 << (bits & 63);
  return missing == 0;
}

bool aon_filter_crowded(const aon_filter *filter) { return filter->added > filter->crowd; }
