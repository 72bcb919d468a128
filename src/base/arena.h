/* Arena: memory of one bulk operation, batch or request, freed as one.
 * Invariant: pointers stay valid until reset or release; reset keeps the first block, so a batch loop does not allocate. */
#ifndef AON_BASE_ARENA_H
#define AON_BASE_ARENA_H

#include <stddef.h>

typedef struct aon_arena {
  struct aon_arena_block *first, *current;
  size_t used_bytes; /* in all blocks, for limits */
} aon_arena;

void *aon_arena_alloc(aon_arena *arena, size_t bytes)
    __attribute__((malloc, warn_unused_result)); /* zeroed, aligned to 16; NULL: no memory */
void *aon_arena_copy(aon_arena *arena, const void *bytes, size_t length) __attribute__((warn_unused_result));
char *aon_arena_text(aon_arena *arena, const char *text, size_t length) __attribute__((warn_unused_result)); /* NUL appended */
char *aon_arena_format(aon_arena *arena, const char *format, ...) __attribute__((warn_unused_result, format(printf, 2, 3)));
void aon_arena_reset(aon_arena *arena);   /* all pointers die, the first block stays */
void aon_arena_release(aon_arena *arena); /* all memory is given back; the arena may be used again */

#define AON_ARENA_CLEANUP __attribute__((cleanup(aon_arena_release)))
#endif
