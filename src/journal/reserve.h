/* The reserve: a file beside the journal that is given free when the disk is full, so that a rollback can still be recorded.
 *
 * Invariants: the file system has given it its room: asked to, or by writing bytes that don't compress; it is never needed for
 * correctness: where it can't be made, that is said in the log and work goes on. */
#ifndef AON_JOURNAL_RESERVE_H
#define AON_JOURNAL_RESERVE_H

#include <stdbool.h>

#include "aon/env.h"

#define AON_RESERVE_RETRY_MS 10000 /* a reserve that could not be made is tried again no sooner */

typedef struct aon_reserve {
  aon_env *env;
  char *path; /* NULL: none is kept */
  uint64_t bytes;
  bool there;
  int64_t tried_ms; /* monotonic; when it was last found missing or could not be made */
} aon_reserve;

aon_result aon_reserve_open(aon_reserve *reserve, aon_env *env, const char *journal_path, uint64_t bytes, aon_error *error) AON_MUST_USE;
/* Makes it if it isn't there and the disk would keep as much again free. */
void aon_reserve_fill(aon_reserve *reserve);
/* Gives it free; false: there was none. */
bool aon_reserve_spend(aon_reserve *reserve);
void aon_reserve_close(aon_reserve *reserve); /* the file stays */
#endif
