/* Spare memory: for callees that can't bear to be refused.
 *
 * libbson ends the process where malloc gives nothing, and so does Lua where our own code uses a state outside of a protected call; jansson
 * doesn't tell a text that is wrong from memory that is short; libxml2 forgets blocks. Where a program has put memory by, their requests
 * get some of that when there is no other, and are counted: aon_run_tick sees it and ends the bulk operation as one that found no memory,
 * at the next border of a batch. So a run that meets the end of memory ends with a sentence; only when the spare memory is used up too, the
 * process dies, and recovery mends what it leaves.
 *
 * Invariants: spare memory is handed out only after malloc refused; a block of it may be given back by aon_spare_free only; when all blocks
 * are back, all of it is there again. The state is one for the process, as those libraries' own tables of functions are. */
#ifndef AON_BASE_SPARE_H
#define AON_BASE_SPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aon/memory.h"

void *aon_spare_realloc(void *block, size_t old_bytes, size_t bytes); /* block NULL: a new one; NULL: the spare memory is used up too */
void aon_spare_free(void *block);                                     /* malloc's own too */
bool aon_spare_holds(const void *block);
uint64_t aon_spare_given(void); /* requests that malloc refused, since the program started */
#endif
