/* A pool of connections of one kind, for any number of threads.
 *
 * Invariants: never more than max connections; a connection is either idle or in one caller's hands; one that died, or sat idle longer than
 * idle_ms, is closed and never handed out; whoever waits is served until its deadline. Connections are opened outside the lock. */
#ifndef AON_WIRE_POOL_H
#define AON_WIRE_POOL_H

#include <stdbool.h>

#include "aon/env.h"
#include "aon/pool.h"

#define AON_POOL_MAX 20
#define AON_POOL_LIMIT 1000 /* most that a configuration may ask for */
#define AON_POOL_IDLE_MS 30000
#define AON_POOL_CONNECT_MS 2000

typedef struct aon_pool aon_pool;

typedef struct aon_pool_settings { /* 0: the default */
  uint32_t max;
  int64_t idle_ms, connect_ms;
} aon_pool_settings;

typedef struct aon_pool_ops {
  aon_result (*open)(void *context, int64_t deadline_ms, void **ret_connection, aon_error *error);
  void (*close)(void *context, void *connection);
  bool (*alive)(void *context, void *connection); /* cheap: no round trip */
} aon_pool_ops;

aon_result aon_pool_new(aon_env *env, const char *label, const aon_pool_settings *settings, const aon_pool_ops *ops, void *context,
                        aon_pool **ret_pool, aon_error *error) AON_MUST_USE;
void aon_pool_free(aon_pool *pool); /* all connections were given back */

/* None free until the deadline (monotonic clock): AON_TRANSIENT, code unavailable. Opening takes at most connect_ms of it. */
aon_result aon_pool_acquire(aon_pool *pool, int64_t deadline_ms, void **ret_connection, aon_error *error) AON_MUST_USE;
/* broken: it is closed instead of kept. */
void aon_pool_release(aon_pool *pool, void *connection, bool broken);
aon_pool_counts aon_pool_look(const aon_pool *pool);
#endif
