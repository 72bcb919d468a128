/* Counts per entity. Invariant: entities stand in the order of first use, each once. */
#include <stdlib.h>
#include <string.h>

#include "model/plan.h"

/* A pointer that was given out stays valid until the next entity is added. */
aon_result aon_counts_entity(aon_counts *counts, const char *entity, struct aon_count **ret_count, aon_error *error) {
  for (size_t i = 0; i < counts->count; i++)
    if (strcmp(counts->entries[i].entity, entity) == 0) {
      *ret_count = &counts->entries[i];
      return AON_OK;
    }
  if (counts->count == AON_COUNTS_LIMIT)
    return aon_fail(error, AON_REJECTED, "too_many", "There are more than %d entities or collections in one bulk operation; split it.",
                    AON_COUNTS_LIMIT);
  if (strlen(entity) >= sizeof counts->entries->entity)
    return aon_fail(error, AON_REJECTED, "too_long", "The name \"%.40s…\" of an entity or collection is longer than %zu bytes.", entity,
                    sizeof counts->entries->entity - 1);
  if (counts->count == counts->capacity) {
    size_t capacity = counts->capacity ? counts->capacity * 2 : 16;
    struct aon_count *entries = realloc(counts->entries, capacity * sizeof *entries);
    if (!entries)
      return aon_fail_memory(error);
    counts->entries = entries;
    counts->capacity = capacity;
  }
  struct aon_count *fresh = &counts->entries[counts->count++];
  *fresh = (struct aon_count){0};
  memcpy(fresh->entity, entity, strlen(entity) + 1);
  *ret_count = fresh;
  return AON_OK;
}

void aon_counts_release(aon_counts *counts) {
  free(counts->entries);
  *counts = (aon_counts){0};
}
