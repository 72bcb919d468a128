/* Which state may follow which: the one table of docs/protocol.md. No other code decides or assigns a state. */
#ifndef AON_COORDINATOR_TRANSITIONS_H
#define AON_COORDINATOR_TRANSITIONS_H

#include "model/state.h"

typedef struct aon_transition {
  aon_state from, to;
  const char *when;
} aon_transition;

/* NULL: there is no such arrow. */
const aon_transition *aon_transition_find(aon_state from, aon_state to);
#endif
