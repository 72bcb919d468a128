/* A decorator that writes one readable line for every call to a store, after it has returned:
 *
 *     main: read users, 3 ids: ok, 2 there
 *     main: apply 5 writes to users: permanent changed_meanwhile (write 2, operation 17)
 *
 * It shows names, counts, results and ids of bulk operations, never values of documents. */
#ifndef AON_STORE_TRACE_H
#define AON_STORE_TRACE_H

#include "aon/store.h"

typedef struct aon_trace { /* aon_store_config.options; lives until close */
  const aon_store_adapter *inner;
  const void *inner_options;
  void (*line)(void *context, const char *line); /* NULL: the environment's log, at level debug */
  void *context;
} aon_trace;

extern const aon_store_adapter aon_trace_adapter;
#endif
