/* Open addressing with linear probing, never more than three quarters full. The upper 32 bits of a hash name its home, so that
 * the table can be made anew from what the slots keep. */
#include "journal/chain.h"

#include <stdlib.h>

#define SLOTS_FIRST ((size_t)4096)
#define SEGMENT_BITS 24
#define SEGMENT_MASK (((uint64_t)1 << SEGMENT_BITS) - 1)

static size_t slot_of(const uint64_t *slots, size_t count, uint64_t hash) {
  size_t at = (size_t)(((hash >> 32) * (uint64_t)count) >> 32);
  while (slots[at] && (slots[at] ^ hash) & ~SEGMENT_MASK)
    at = at + 1 == count ? 0 : at + 1;
  return at;
}

static size_t limit_of(const aon_chain *chain) { return chain->limit_bytes ? chain->limit_bytes : AON_CHAIN_BYTES_LIMIT; }

static bool slots_grow(aon_chain *chain, size_t documents) {
  size_t count = chain->slot_count ? chain->slot_count : SLOTS_FIRST;
  while (count / 4 * 3 < chain->used + documents)
    count *= 2;
  if (count == chain->slot_count)
    return true;
  if (count * sizeof *chain->slots + chain->segment_capacity * sizeof *chain->firsts > limit_of(chain))
    return false;
  uint64_t *slots = calloc(count, sizeof *slots);
  if (!slots)
    return false;
  for (size_t i = 0; i < chain->slot_count; i++)
    if (chain->slots[i])
      slots[slot_of(slots, count, chain->slots[i])] = chain->slots[i];
  free(chain->slots);
  chain->slots = slots;
  chain->slot_count = count;
  return true;
}

static bool segments_grow(aon_chain *chain) {
  if (chain->segment_count < chain->segment_capacity)
    return true;
  size_t capacity = chain->segment_capacity ? chain->segment_capacity * 2 : 64;
  if (capacity >= SEGMENT_MASK || chain->slot_count * sizeof *chain->slots + capacity * sizeof *chain->firsts > limit_of(chain))
    return false;
  int64_t *firsts = realloc(chain->firsts, capacity * sizeof *firsts);
  if (!firsts)
    return false;
  chain->firsts = firsts;
  chain->segment_capacity = capacity;
  return true;
}

bool aon_chain_begin(aon_chain *chain, int64_t first, size_t documents) {
  if (!segments_grow(chain) || !slots_grow(chain, documents))
    return false;
  chain->firsts[chain->segment_count++] = first;
  return true;
}

void aon_chain_add(aon_chain *chain, uint64_t hash) {
  size_t at = slot_of(chain->slots, chain->slot_count, hash);
  chain->used += chain->slots[at] == 0;
  chain->slots[at] = (hash & ~SEGMENT_MASK) | chain->segment_count;
}

bool aon_chain_find(const aon_chain *chain, uint64_t hash, int64_t *ret_first) {
  if (!chain->slots)
    return false;
  uint64_t found = chain->slots[slot_of(chain->slots, chain->slot_count, hash)];
  if (!found)
    return false;
  *ret_first = chain->firsts[(found & SEGMENT_MASK) - 1];
  return true;
}

void aon_chain_release(aon_chain *chain) {
  free(chain->slots);
  free(chain->firsts);
  *chain = (aon_chain){.limit_bytes = chain->limit_bytes};
}
