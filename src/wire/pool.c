/* Connection pools. Invariants stand in wire/pool.h. */
#include "wire/pool.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_PAUSE_MS 2 /* between two looks for a free connection */

typedef struct idle_connection {
  void *connection;
  int64_t since_ms;
} idle_connection;

struct aon_pool {
  aon_env *env;
  char label[64];
  aon_pool_settings settings;
  const aon_pool_ops *ops;
  void *context;
  pthread_mutex_t lock; /* over all below */
  uint32_t total, idle_count, waiting;
  idle_connection *idle; /* max of them; the one used last at the end */
};

aon_result aon_pool_new(aon_env *env, const char *label, const aon_pool_settings *settings, const aon_pool_ops *ops, void *context,
                        aon_pool **ret_pool, aon_error *error) {
  aon_pool *pool = calloc(1, sizeof *pool);
  if (!pool)
    return aon_fail_memory(error);
  pool->env = env;
  pool->settings = *settings;
  if (!pool->settings.max)
    pool->settings.max = AON_POOL_MAX;
  if (!pool->settings.idle_ms)
    pool->settings.idle_ms = AON_POOL_IDLE_MS;
  if (!pool->settings.connect_ms)
    pool->settings.connect_ms = AON_POOL_CONNECT_MS;
  pool->ops = ops;
  pool->context = context;
  snprintf(pool->label, sizeof pool->label, "%s", label);
  pool->idle = calloc(pool->settings.max, sizeof *pool->idle);
  if (!pool->idle || pthread_mutex_init(&pool->lock, NULL)) {
    free(pool->idle);
    free(pool);
    return aon_fail_memory(error);
  }
  *ret_pool = pool;
  return AON_OK;
}

void aon_pool_free(aon_pool *pool) {
  if (!pool)
    return;
  for (uint32_t i = 0; i < pool->idle_count; i++)
    pool->ops->close(pool->context, pool->idle[i].connection);
  pthread_mutex_destroy(&pool->lock);
  free(pool->idle);
  free(pool);
}

/* Takes out the one that sat longest, if that is too long. Under the lock. */
static void *stale(aon_pool *pool) {
  if (!pool->idle_count || aon_monotonic_ms(pool->env) - pool->idle[0].since_ms < pool->settings.idle_ms)
    return NULL;
  void *connection = pool->idle[0].connection;
  memmove(pool->idle, pool->idle + 1, --pool->idle_count * sizeof *pool->idle);
  pool->total--;
  return connection;
}

static void close_stale(aon_pool *pool) {
  void *connection;
  do {
    pthread_mutex_lock(&pool->lock);
    connection = stale(pool);
    pthread_mutex_unlock(&pool->lock);
    if (connection)
      pool->ops->close(pool->context, connection);
  } while (connection);
}

typedef enum taken { TAKEN_NONE, TAKEN_IDLE, TAKEN_PLACE } taken;

/* An idle connection, or the right to open one. */
static taken take(aon_pool *pool, void **ret_connection) {
  taken got = TAKEN_NONE;
  pthread_mutex_lock(&pool->lock);
  if (pool->idle_count) {
    *ret_connection = pool->idle[--pool->idle_count].connection;
    got = TAKEN_IDLE;
  } else if (pool->total < pool->settings.max) {
    pool->total++;
    got = TAKEN_PLACE;
  }
  pthread_mutex_unlock(&pool->lock);
  return got;
}

static void forget_one(aon_pool *pool) {
  pthread_mutex_lock(&pool->lock);
  pool->total--;
  pthread_mutex_unlock(&pool->lock);
}

static void count_waiting(aon_pool *pool, int by) {
  pthread_mutex_lock(&pool->lock);
  pool->waiting = (uint32_t)((int)pool->waiting + by);
  pthread_mutex_unlock(&pool->lock);
}

static aon_result open_one(aon_pool *pool, int64_t deadline_ms, void **ret_connection, aon_error *error) {
  int64_t until = aon_monotonic_ms(pool->env) + pool->settings.connect_ms;
  aon_result result = pool->ops->open(pool->context, until < deadline_ms ? until : deadline_ms, ret_connection, error);
  if (result)
    forget_one(pool);
  return result;
}

static aon_result wait_for_one(aon_pool *pool, int64_t deadline_ms, taken *ret_got, void **ret_connection, aon_error *error) {
  count_waiting(pool, 1);
  while ((*ret_got = take(pool, ret_connection)) == TAKEN_NONE && aon_monotonic_ms(pool->env) < deadline_ms)
    aon_sleep_ms(pool->env, WAIT_PAUSE_MS);
  count_waiting(pool, -1);
  if (*ret_got != TAKEN_NONE)
    return AON_OK;
  return aon_fail(error, AON_TRANSIENT, "unavailable", "All %u connections to %s are in use. Try again, or raise pool.max of the store.",
                  (unsigned)pool->settings.max, pool->label);
}

aon_result aon_pool_acquire(aon_pool *pool, int64_t deadline_ms, void **ret_connection, aon_error *error) {
  close_stale(pool);
  for (;;) {
    void *connection = NULL;
    taken got = take(pool, &connection);
    aon_result result = got == TAKEN_NONE ? wait_for_one(pool, deadline_ms, &got, &connection, error) : AON_OK;
    if (result)
      return result;
    if (got == TAKEN_PLACE)
      return open_one(pool, deadline_ms, ret_connection, error);
    if (pool->ops->alive(pool->context, connection)) {
      *ret_connection = connection;
      return AON_OK;
    }
    pool->ops->close(pool->context, connection); /* it died while nobody looked: another one takes its place */
    forget_one(pool);
  }
}

void aon_pool_release(aon_pool *pool, void *connection, bool broken) {
  if (broken) {
    pool->ops->close(pool->context, connection);
    forget_one(pool);
  } else {
    pthread_mutex_lock(&pool->lock);
    pool->idle[pool->idle_count++] = (idle_connection){connection, aon_monotonic_ms(pool->env)};
    pthread_mutex_unlock(&pool->lock);
  }
  close_stale(pool);
}

aon_pool_counts aon_pool_look(const aon_pool *pool) {
  pthread_mutex_t *lock = (pthread_mutex_t *)&pool->lock;
  pthread_mutex_lock(lock);
  aon_pool_counts counts = {pool->total, pool->idle_count, pool->waiting, pool->settings.max};
  pthread_mutex_unlock(lock);
  return counts;
}
