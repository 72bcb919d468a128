/* Names of the states. */
#include "model/state.h"

#include <stddef.h>
#include <string.h>

typedef struct state_row {
  const char *name;
  bool terminal;
} state_row;

static const state_row rows[AON_STATE_COUNT] = {
    [AON_SCHEDULED] = {"scheduled", false},
    [AON_QUEUED] = {"queued", false},
    [AON_PARSING] = {"parsing", false},
    [AON_VALIDATING] = {"validating", false},
    [AON_PLANNING] = {"planning", false},
    [AON_LOGGED] = {"logged", false},
    [AON_EXECUTING] = {"executing", false},
    [AON_PREPARING] = {"preparing", false},
    [AON_COMMITTING] = {"committing", false},
    [AON_COMMITTED] = {"committed", true},
    [AON_REJECTED_STATE] = {"rejected", true},
    [AON_CANCELLED_STATE] = {"cancelled", true},
    [AON_PLANNED] = {"planned", true},
    [AON_HELD] = {"held", false},
    [AON_ROLLING_BACK] = {"rolling_back", false},
    [AON_ROLLED_BACK] = {"rolled_back", true},
    [AON_ROLLBACK_FAILED] = {"rollback_failed", true},
    [AON_UNDOING] = {"undoing", false},
    [AON_UNDONE] = {"undone", true},
    [AON_UNDO_FAILED] = {"undo_failed", true},
    [AON_COMMIT_FAILED] = {"commit_failed", true},
};

const char *aon_state_name(aon_state state) { return (unsigned)state < AON_STATE_COUNT ? rows[state].name : "invalid"; }

bool aon_state_parse(const char *name, aon_state *ret_state) {
  for (size_t i = 0; i < AON_STATE_COUNT; i++)
    if (strcmp(rows[i].name, name) == 0) {
      *ret_state = (aon_state)i;
      return true;
    }
  return false;
}

bool aon_state_terminal(aon_state state) { return (unsigned)state < AON_STATE_COUNT && rows[state].terminal; }
