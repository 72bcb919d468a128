/* The engine's inside, shared by the files of this room only. */
#ifndef AON_COORDINATOR_INTERNAL_H
#define AON_COORDINATOR_INTERNAL_H

#include "coordinator/engine.h"

struct aon_engine {
  aon_env *env;
  aon_engine_config config;
  aon_engine_store *stores;
  aon_store **open; /* one for each of stores, NULL until needed */
  aon_journal *journal;
  bool journal_writable;
};
#endif
