/* The problems of one input: all are counted, the first ones are kept.
 * Invariant: kept problems are whole copies in the list's own arena, errors and warnings in the order they came. */
#ifndef AON_MODEL_PROBLEMS_H
#define AON_MODEL_PROBLEMS_H

#include "aon/operation.h"
#include "base/arena.h"
#include "base/buffer.h"

#define AON_PROBLEMS_KEPT 10000 /* of each severity */

typedef struct aon_problems {
  aon_arena arena;
  aon_problem *errors, *warnings;
  size_t errors_kept, warnings_kept;         /* at most limit each */
  uint64_t error_count, warning_count;       /* all */
  size_t limit;                              /* 0: AON_PROBLEMS_KEPT */
  size_t errors_capacity, warnings_capacity; /* of the arrays */
} aon_problems;

aon_result aon_problems_add(aon_problems *problems, const aon_problem *problem, aon_error *error) AON_MUST_USE;
/* Sorts errors for people: by order of sheets as first seen, row, column; stable. */
void aon_problems_sort(aon_problems *problems);
/* Removes all, so that validation can run again; memory of the first block stays. */
void aon_problems_clear(aon_problems *problems);
void aon_problems_release(aon_problems *problems);

/* {"sheet":…,"cell":"B7","heading":…,"value":…,"code":…,"message":…} or, with a line, {"line":…,"store":…,"collection":…,
 * "documentId":…,"code":…,"message":…}. */
aon_result aon_problem_to_json(const aon_problem *problem, aon_buffer *out, aon_error *error) AON_MUST_USE;
#endif
