/* See hashes.h. Open addressing; at most half of the slots are taken. */
#include "coordinator/hashes.h"

#include <stdlib.h>

static uint64_t *slot_of(const aon_hashes *set, uint64_t hash) {
  size_t at = hash & (set->capacity - 1);
  while (set->slots[at] && set->slots[at] != hash)
    at = (at + 1) & (set->capacity - 1);
  return &set->slots[at];
}

static uint64_t never_zero(uint64_t hash) { return hash ? hash : 1; }

bool aon_hashes_has(const aon_hashes *set, uint64_t hash) { return set->count && *slot_of(set, never_zero(hash)); }

static aon_result grow(aon_hashes *set, aon_error *error) {
  aon_hashes larger = {.count = set->count, .capacity = set->capacity ? 2 * set->capacity : 64};
  larger.slots = calloc(larger.capacity, sizeof *larger.slots);
  if (!larger.slots)
    return aon_fail_memory(error);
  for (size_t i = 0; i < set->capacity; i++)
    if (set->slots[i])
      *slot_of(&larger, set->slots[i]) = set->slots[i];
  free(set->slots);
  *set = larger;
  return AON_OK;
}

aon_result aon_hashes_add(aon_hashes *set, uint64_t hash, aon_error *error) {
  aon_result result = 2 * (set->count + 1) > set->capacity ? grow(set, error) : AON_OK;
  if (result)
    return result;
  uint64_t *slot = slot_of(set, never_zero(hash));
  set->count += !*slot;
  *slot = never_zero(hash);
  return AON_OK;
}

void aon_hashes_release(aon_hashes *set) {
  free(set->slots);
  *set = (aon_hashes){0};
}
