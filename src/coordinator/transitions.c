/* The table of arrows. Each row is one that docs/protocol.md names; tests/coordinator/test_table.c holds it against that page. */
#include "coordinator/transitions.h"

#include <stddef.h>

static const aon_transition table[] = {
    {AON_SCHEDULED, AON_QUEUED, "its time has come"},
    {AON_SCHEDULED, AON_CANCELLED_STATE, "cancelled by a person"},
    {AON_QUEUED, AON_PARSING, "a worker takes it"},
    {AON_QUEUED, AON_CANCELLED_STATE, "cancelled by a person"},
    {AON_QUEUED, AON_ROLLED_BACK, "lost before any write"},
    {AON_PARSING, AON_VALIDATING, "all rows are read"},
    {AON_PARSING, AON_REJECTED_STATE, "the file can't be read"},
    {AON_PARSING, AON_CANCELLED_STATE, "cancelled by a person"},
    {AON_PARSING, AON_ROLLED_BACK, "failed or lost before any write"},
    {AON_PARSING, AON_QUEUED, "lost, and asked to be tried again"},
    {AON_VALIDATING, AON_PLANNING, "no errors"},
    {AON_VALIDATING, AON_REJECTED_STATE, "errors were found"},
    {AON_VALIDATING, AON_CANCELLED_STATE, "cancelled by a person"},
    {AON_VALIDATING, AON_ROLLED_BACK, "failed or lost before any write"},
    {AON_VALIDATING, AON_QUEUED, "lost, and asked to be tried again"},
    {AON_PLANNING, AON_VALIDATING, "planned anew: documents were taken meanwhile"},
    {AON_PLANNING, AON_REJECTED_STATE, "planning found errors"},
    {AON_PLANNING, AON_PLANNED, "a dry run ends"},
    {AON_PLANNING, AON_LOGGED, "every operation is durable"},
    {AON_PLANNING, AON_CANCELLED_STATE, "cancelled by a person"},
    {AON_PLANNING, AON_ROLLED_BACK, "failed or lost before any write"},
    {AON_PLANNING, AON_QUEUED, "lost, and asked to be tried again"},
    {AON_LOGGED, AON_EXECUTING, "the first store may be written"},
    {AON_LOGGED, AON_CANCELLED_STATE, "cancelled by a person"},
    {AON_LOGGED, AON_ROLLED_BACK, "failed or lost before any write"},
    {AON_LOGGED, AON_QUEUED, "lost, and asked to be tried again"},
    {AON_EXECUTING, AON_PREPARING, "all is applied"},
    {AON_EXECUTING, AON_ROLLING_BACK, "failed, cancelled or lost"},
    {AON_EXECUTING, AON_HELD, "failed, and a person wants to decide"},
    {AON_PREPARING, AON_ROLLING_BACK, "failed or lost, and the last resource is not committed"},
    {AON_PREPARING, AON_COMMITTING, "decided"},
    {AON_HELD, AON_EXECUTING, "resumed by a person"},
    {AON_HELD, AON_ROLLING_BACK, "ended by a person, or held too long"},
    {AON_ROLLING_BACK, AON_ROLLED_BACK, "every store is as before"},
    {AON_ROLLING_BACK, AON_ROLLBACK_FAILED, "documents need a person"},
    {AON_ROLLBACK_FAILED, AON_ROLLING_BACK, "tried again"},
    {AON_ROLLBACK_FAILED, AON_ROLLED_BACK, "a person has resolved the documents"},
    {AON_COMMITTING, AON_COMMITTED, "every store has its part"},
    {AON_COMMITTING, AON_COMMIT_FAILED, "a store lost or refused its part after the decision"},
    {AON_COMMIT_FAILED, AON_COMMITTING, "tried again"},
    {AON_COMMIT_FAILED, AON_COMMITTED, "a person has resolved the documents"},
    {AON_COMMITTED, AON_UNDOING, "a person takes it back"},
    {AON_UNDOING, AON_UNDONE, "taken back whole"},
    {AON_UNDOING, AON_UNDO_FAILED, "documents need a person"},
    {AON_UNDOING, AON_COMMITTED, "the undo was refused, rolled back, or took back a part"},
    {AON_UNDO_FAILED, AON_UNDOING, "tried again"},
    {AON_UNDO_FAILED, AON_UNDONE, "a person has resolved the documents"},
    {AON_UNDO_FAILED, AON_COMMITTED, "a person has resolved the documents, and the undo was rolled back"},
    {AON_STATE_COUNT, AON_STATE_COUNT, NULL},
};

const aon_transition *aon_transition_find(aon_state from, aon_state to) {
  for (const aon_transition *row = table; row->when; row++)
    if (row->from == from && row->to == to)
      return row;
  return NULL;
}
