/* Helping threads. Invariants stand in together.h. */
#include "base/together.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "aon/env.h"

#define HELPERS_LIMIT (AON_TOGETHER_LIMIT - 1) /* the caller is one of those who work */

struct aon_together {
  pthread_mutex_t lock;
  pthread_cond_t work, done;
  pthread_t helpers[HELPERS_LIMIT];
  size_t helper_count, limit; /* one more than processors, since some tasks wait for a disk */
  pid_t process;              /* that has the helpers */
  bool busy, ending;
  void (*task)(void *argument, size_t index);
  void *argument;
  size_t count, taken, ended; /* tasks of the call under way */
};

aon_together *aon_together_new(void) {
  aon_together *together = calloc(1, sizeof *together);
  if (!together)
    return NULL;
  together->process = getpid();
  long processors = sysconf(_SC_NPROCESSORS_ONLN);
  together->limit = processors < 1 ? 1 : processors < HELPERS_LIMIT ? (size_t)processors : HELPERS_LIMIT;
  pthread_mutex_init(&together->lock, NULL);
  pthread_cond_init(&together->work, NULL);
  pthread_cond_init(&together->done, NULL);
  return together;
}

/* A fork leaves the helpers behind, and perhaps the lock in the hands of one of them: its child works alone. */
static bool left_behind(const aon_together *together) { return together->process != getpid(); }

/* Takes tasks until none is left. The lock is held before and after. */
static void work_off(aon_together *together) {
  while (together->taken < together->count) {
    size_t index = together->taken++;
    pthread_mutex_unlock(&together->lock);
    together->task(together->argument, index);
    pthread_mutex_lock(&together->lock);
    if (++together->ended == together->count)
      pthread_cond_signal(&together->done);
  }
}

static void *help(void *context) {
  aon_together *together = context;
  pthread_mutex_lock(&together->lock);
  while (!together->ending) {
    work_off(together);
    if (!together->ending)
      pthread_cond_wait(&together->work, &together->lock);
  }
  pthread_mutex_unlock(&together->lock);
  return NULL;
}

/* Signals are for the program's own threads: a helper that took one would run its handler in the middle of a task. */
static void hire(aon_together *together, size_t wanted) {
  sigset_t all, before;
  sigfillset(&all);
  if (together->helper_count >= wanted || pthread_sigmask(SIG_SETMASK, &all, &before))
    return;
  while (together->helper_count < wanted && !pthread_create(&together->helpers[together->helper_count], NULL, help, together))
    together->helper_count++;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void aon_together_run(aon_together *together, void (*task)(void *argument, size_t index), void *argument, size_t count) {
  bool alone = true;
  if (together && count > 1 && !left_behind(together)) {
    pthread_mutex_lock(&together->lock);
    alone = together->busy;
    together->busy = true;
    if (alone)
      pthread_mutex_unlock(&together->lock);
  }
  if (alone) {
    for (size_t i = 0; i < count; i++)
      task(argument, i);
    return;
  }
  together->task = task;
  together->argument = argument;
  together->taken = together->ended = 0;
  together->count = count;
  hire(together, count - 1 < together->limit ? count - 1 : together->limit);
  pthread_cond_broadcast(&together->work);
  work_off(together);
  while (together->ended < together->count)
    pthread_cond_wait(&together->done, &together->lock);
  together->count = together->taken = 0;
  together->busy = false;
  pthread_mutex_unlock(&together->lock);
}

void aon_together_free(aon_together *together) {
  if (!together || left_behind(together)) {
    free(together);
    return;
  }
  pthread_mutex_lock(&together->lock);
  together->ending = true;
  pthread_cond_broadcast(&together->work);
  pthread_mutex_unlock(&together->lock);
  for (size_t i = 0; i < together->helper_count; i++)
    pthread_join(together->helpers[i], NULL);
  pthread_cond_destroy(&together->work);
  pthread_cond_destroy(&together->done);
  pthread_mutex_destroy(&together->lock);
  free(together);
}
