/* A set of document hashes: which documents were met already. Memory: some 16 bytes for each. Internal to the room. */
#ifndef AON_COORDINATOR_HASHES_H
#define AON_COORDINATOR_HASHES_H

#include <stdbool.h>

#include "aon/result.h"

typedef struct aon_hashes { /* all zero: empty */
  uint64_t *slots;
  size_t count, capacity; /* capacity: a power of two; 0 marks a free slot */
} aon_hashes;

bool aon_hashes_has(const aon_hashes *set, uint64_t hash);
aon_result aon_hashes_add(aon_hashes *set, uint64_t hash, aon_error *error) AON_MUST_USE;
void aon_hashes_release(aon_hashes *set);
#endif
