/* Points at which a call can fail, and the walk over all of them.
 *
 * A run is made once, by the explorer. At each point it forks: in the child that one call fails (once, or from there on), the child goes on
 * to the end of the run, judges what is left and dies; the explorer goes on without a fault. So n = 1, 2, … is tried until a run has no
 * fault, and each n costs what is left of the run. This works because everything that a run changes is memory: the disk is one (disk.h).
 *
 * Invariant: between points_begin and points_end the process has one thread. */
#ifndef TESTS_FAULT_POINTS_H
#define TESTS_FAULT_POINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum point_kind { POINT_ALLOCATION, POINT_ENV, POINT_SQLITE, POINT_KINDS } point_kind;

typedef enum point_way {
  WAY_NONE,      /* the call goes well */
  WAY_ONCE,      /* this call fails, the next one goes well */
  WAY_EVER,      /* it and all of its kind after it */
  WAY_SAME_EVER, /* it and all of its name after it */
  WAY_FULL,      /* the disk is full: it and all writes after it, as a full disk says it */
  WAY_LOST, /* a sync that fails once, loses what was not synced, and calls all of it synced from then on; the power fails at the end */
  WAYS
} point_way;

typedef struct points_options {
  point_kind kind;
  bool stacks;          /* candidates are only the points that are reached by a way of calls that no earlier one had */
  const char *of;       /* only points of this name; NULL: of any */
  uint64_t budget;      /* so many points of the candidates, evenly spread; 0: all */
  uint64_t candidates;  /* how many there are, as points_end of a run that only counted said; not needed without budget */
  uint64_t only;        /* one point, with its stack printed; 0: by the above */
  point_way only_way;   /* with only; WAY_NONE: all */
  bool only_counts;     /* nothing fails */
  unsigned jobs;        /* children at once */
  uint64_t seconds;     /* per child, then it hangs */
  const char *scenario; /* for messages */
} points_options;

void points_begin(const points_options *options);
/* How the call that is about to be made goes. name: a literal. */
point_way point_here(point_kind kind, const char *name);
/* The end of the run: true in a child, whose faults are over now. */
bool points_end(void);
uint64_t points_candidates(void); /* of the last run */
bool points_is_child(void);       /* a fault has happened in this process */
bool points_power_fails(void);    /* at the end of this child's run: after a lost sync, and after each second fault that happens once */
const char *point_way_name(point_way way);
const char *point_kind_name(point_kind kind);

/* The child's last words: an end for the table, NULL complaint if all is well. */
_Noreturn void points_verdict(const char *end, const char *complaint);

typedef struct points_total {
  uint64_t points, tried, bad;
} points_total;
points_total points_print(void); /* the table of the last exploration */

/* Calls of the test's own are no points. */
void points_quiet(void);
void points_loud(void);
bool points_is_quiet(void);
#endif
