/* Stores beside each other: the open transactions of classes 1 and 2 are filled at the same time, each in plan order, while the next piece
 * of the log is read. Where a store's calls may not come from any thread, the tasks of a round follow each other: then too each store gets
 * its share of a piece in one call, however the stores take turns in the plan.
 *
 *   round n:   lane a applies its share of piece n    lane b its share of piece n    the journal reads piece n + 1
 *
 * Invariants:
 *  - in one store operations are applied in plan order, whatever other stores do;
 *  - the failure that is told is that of the earliest operation in the plan which fails, as if all had been applied one after another:
 *    after a failure the other lanes go on up to it;
 *  - only the caller's thread uses the journal, but while it waits in a round: then only the task that reads does; a store is used by its
 *    own lane alone. */
#include <stdlib.h>

#include "coordinator/internal.h"
#include "coordinator/run.h"

#define LANES_LIMIT (AON_TOGETHER_LIMIT - 1) /* one task reads */

typedef struct source { /* of pieces: one for all lanes, or one for each where they lie apart in the log */
  aon_entries *entries;
  const aon_operation *now, *next;
  size_t now_count, next_count;
  bool at_end;
} source;

typedef struct lane {
  aon_part *leader;
  aon_walk *walk;
  source *from;
  aon_write *writes;
  aon_result result;
  aon_error failure;
  const aon_operation *at_fault; /* NULL: none in particular */
  int64_t failed_at;             /* sequence; of the first one of the call where none is at fault */
  int64_t applied;
} lane;

struct aon_lanes {
  aon_run *run;
  int64_t stop_at; /* operations from here on are left alone: something before them has failed */
  lane lanes[LANES_LIMIT];
  size_t lane_count;
  source sources[LANES_LIMIT];
  size_t source_count;
  aon_result read_result;
  aon_error read_failure;
  bool any_thread;
};

static bool leads(const aon_run *run, size_t index) {
  return aon_part_transactional(&run->parts[index]) && run->parts[index].shares_with == index;
}

bool aon_lanes_possible(aon_run *run) {
  size_t count = 0;
  for (size_t i = 0; i < run->part_count; i++)
    count += leads(run, i);
  return count > 0 && count <= LANES_LIMIT;
}

/* ---- reading ---- */

static void read_next(aon_lanes *lanes) {
  for (size_t i = 0; !lanes->read_result && i < lanes->source_count; i++) {
    source *from = &lanes->sources[i];
    bool cleared = false;
    from->next_count = 0;
    if (from->at_end)
      continue;
    aon_result result = aon_entries_next(from->entries, &from->next, &from->next_count, &cleared, &lanes->read_failure);
    from->at_end = result == AON_END;
    if (from->at_end)
      from->next_count = 0;
    else
      lanes->read_result = !result && cleared ? aon_walk_cleared(lanes->run, &lanes->read_failure) : result;
  }
}

static bool step_on(aon_lanes *lanes) {
  bool any = false;
  for (size_t i = 0; i < lanes->source_count; i++) {
    source *from = &lanes->sources[i];
    from->now = from->next;
    from->now_count = from->next_count;
    any = any || (from->now_count && from->now[0].sequence < lanes->stop_at);
  }
  return any;
}

/* ---- applying ---- */

static aon_result apply_share(void *context, aon_part *part, const aon_operation *operations, size_t count, aon_error *error) {
  (void)part;
  lane *l = context;
  size_t failed = count;
  aon_to_writes(operations, count, l->writes);
  aon_result result = aon_store_apply(l->leader->store, l->leader->transaction, l->writes, count, NULL, &failed, error);
  if (!result) {
    l->applied += (int64_t)count;
    return AON_OK;
  }
  if (error->operation == AON_NO_OPERATION && failed < count)
    error->operation = operations[failed].sequence;
  l->failed_at = operations[0].sequence;
  for (size_t i = 0; i < count; i++)
    if (operations[i].sequence == error->operation) {
      l->at_fault = &operations[i];
      l->failed_at = operations[i].sequence;
    }
  return result;
}

static void work(void *argument, size_t index) {
  aon_lanes *lanes = argument;
  if (index == 0) {
    read_next(lanes);
    return;
  }
  lane *l = &lanes->lanes[index - 1];
  size_t count = l->from->now_count;
  if (l->result || !count)
    return;
  while (count && l->from->now[count - 1].sequence >= lanes->stop_at)
    count--;
  l->result = aon_walk_piece(l->walk, l->from->now, count, &l->failure);
}

/* The earliest failure so far; NULL: none. */
static const lane *first_failure(aon_lanes *lanes) {
  const lane *first = NULL;
  for (size_t i = 0; i < lanes->lane_count; i++)
    if (lanes->lanes[i].result && (!first || lanes->lanes[i].failed_at < first->failed_at))
      first = &lanes->lanes[i];
  if (first)
    lanes->stop_at = first->failed_at;
  return first;
}

static int64_t applied(const aon_lanes *lanes) {
  int64_t sum = 0;
  for (size_t i = 0; i < lanes->lane_count; i++)
    sum += lanes->lanes[i].applied;
  return sum;
}

static aon_result guard(aon_lanes *lanes, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < lanes->lane_count; i++)
    result = aon_run_guard(lanes->run, lanes->lanes[i].leader, error);
  return result;
}

static void work_all(aon_lanes *lanes) {
  if (lanes->any_thread)
    aon_run_together(lanes->run->env, work, lanes, 1 + lanes->lane_count);
  for (size_t i = 0; !lanes->any_thread && i <= lanes->lane_count; i++)
    work(lanes, i);
}

static aon_result rounds(aon_lanes *lanes, aon_error *error) {
  read_next(lanes);
  while (!lanes->read_result && step_on(lanes)) {
    aon_result result = guard(lanes, error);
    if (result)
      return result;
    work_all(lanes);
    if (!first_failure(lanes))
      aon_run_progress(lanes->run, applied(lanes), lanes->run->operations);
  }
  return AON_OK;
}

aon_result aon_lanes_apply(aon_lanes *lanes, const aon_operation **ret_operation, aon_error *error) {
  *ret_operation = NULL;
  aon_result result = rounds(lanes, error);
  const lane *failed = first_failure(lanes);
  if (failed && !result) {
    *ret_operation = failed->at_fault;
    if (error)
      *error = failed->failure;
    return failed->result;
  }
  if (result || !lanes->read_result)
    return result;
  if (error)
    *error = lanes->read_failure;
  return lanes->read_result;
}

/* ---- opening and closing ---- */

/* Where the log has one store after another, each lane reads its own stretch, or they could not run beside each other. */
static bool apart(const aon_lanes *lanes, const int64_t *first, const int64_t *last) {
  for (size_t i = 0; i < lanes->lane_count; i++)
    for (size_t j = 0; j < i; j++)
      if (first[i] <= last[j] && first[j] <= last[i])
        return false;
  return true;
}

static void stretch_of(const aon_run *run, const aon_part *leader, int64_t *ret_first, int64_t *ret_last) {
  *ret_first = INT64_MAX;
  *ret_last = -1;
  for (size_t i = 0; i < run->part_count; i++) {
    const aon_part *part = &run->parts[i];
    if (&run->parts[part->shares_with] != leader || !aon_part_transactional(part))
      continue;
    *ret_first = part->first < *ret_first ? part->first : *ret_first;
    *ret_last = part->last > *ret_last ? part->last : *ret_last;
  }
}

static aon_result open_source(aon_lanes *lanes, int64_t first, int64_t last, aon_error *error) {
  source *from = &lanes->sources[lanes->source_count++];
  if (last < first) {
    from->at_end = true;
    return AON_OK;
  }
  return aon_entries_open(lanes->run->journal, lanes->run->id, first, last, false, &from->entries, error);
}

static aon_result open_sources(aon_lanes *lanes, int64_t last, aon_error *error) {
  int64_t firsts[LANES_LIMIT], lasts[LANES_LIMIT];
  for (size_t i = 0; i < lanes->lane_count; i++)
    stretch_of(lanes->run, lanes->lanes[i].leader, &firsts[i], &lasts[i]);
  bool own = apart(lanes, firsts, lasts);
  aon_result result = own ? AON_OK : open_source(lanes, 0, last, error);
  for (size_t i = 0; !result && i < lanes->lane_count; i++) {
    lanes->lanes[i].from = &lanes->sources[own ? i : 0];
    if (own)
      result = open_source(lanes, firsts[i], lasts[i] < last ? lasts[i] : last, error);
  }
  return result;
}

static aon_result open_lane(aon_lanes *lanes, aon_part *leader, aon_error *error) {
  lane *l = &lanes->lanes[lanes->lane_count++];
  *l = (lane){.leader = leader, .failure = AON_ERROR_INIT};
  lanes->any_thread = lanes->any_thread && leader->caps->any_thread;
  l->writes = calloc(lanes->run->engine->config.batch, sizeof *l->writes);
  if (!l->writes)
    return aon_fail_memory(error);
  aon_walk_what what = {.leader = leader, .wanted = AON_CLASS_BIT(AON_CLASS_PREPARED) | AON_CLASS_BIT(AON_CLASS_TRANSACTION)};
  return aon_walk_open(lanes->run, &what, apply_share, l, &l->walk, error);
}

aon_result aon_lanes_open(aon_run *run, int64_t last, aon_lanes **ret_lanes, aon_error *error) {
  aon_lanes *lanes = calloc(1, sizeof *lanes);
  if (!lanes)
    return aon_fail_memory(error);
  *lanes = (aon_lanes){.run = run, .stop_at = INT64_MAX, .read_failure = AON_ERROR_INIT, .any_thread = true};
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < run->part_count; i++)
    if (leads(run, i))
      result = open_lane(lanes, &run->parts[i], error);
  if (!result)
    result = open_sources(lanes, last, error);
  if (result)
    aon_lanes_close(lanes);
  else
    *ret_lanes = lanes;
  return result;
}

void aon_lanes_close(aon_lanes *lanes) {
  if (!lanes)
    return;
  for (size_t i = 0; i < lanes->lane_count; i++) {
    aon_walk_close(lanes->lanes[i].walk);
    free(lanes->lanes[i].writes);
  }
  for (size_t i = 0; i < lanes->source_count; i++)
    aon_entries_close(lanes->sources[i].entries);
  free(lanes);
}
