/* The states of a bulk operation, as people read them. Which arrow is allowed stands in coordinator/transitions.c only. */
#ifndef AON_MODEL_STATE_H
#define AON_MODEL_STATE_H

#include <stdbool.h>

typedef enum aon_state {
  AON_SCHEDULED,
  AON_QUEUED,
  AON_PARSING,
  AON_VALIDATING,
  AON_PLANNING,
  AON_LOGGED,
  AON_EXECUTING,
  AON_PREPARING,
  AON_COMMITTING,
  AON_COMMITTED,
  AON_REJECTED_STATE,
  AON_CANCELLED_STATE,
  AON_PLANNED,
  AON_HELD,
  AON_ROLLING_BACK,
  AON_ROLLED_BACK,
  AON_ROLLBACK_FAILED,
  AON_UNDOING,
  AON_UNDONE,
  AON_UNDO_FAILED,
  AON_COMMIT_FAILED,
  AON_STATE_COUNT
} aon_state;

const char *aon_state_name(aon_state state); /* "rolled_back" */
bool aon_state_parse(const char *name, aon_state *ret_state);
/* No worker has anything left to do: committed, rejected, cancelled, planned, rolled_back, undone and the three _failed.
 * Documents are free, but for those in conflict. */
bool aon_state_terminal(aon_state state);
#endif
