/* Tasks that an environment runs side by side (include/aon/env.h, run_together). */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "aon/env.h"

#define TASKS 40
#define ROUNDS 500

typedef struct work {
  aon_env *env;
  int runs[TASKS];
  uint64_t sums[TASKS];
  size_t order[TASKS], ended;
  pthread_t by[TASKS];
} work;

static void count_up(void *argument, size_t index) {
  work *w = argument;
  w->runs[index]++;
  for (uint64_t i = 0; i < 1000; i++)
    w->sums[index] += i * index;
}

static aon_env *open_env(uint64_t crash_at) {
  aon_env *env;
  aon_error failure = AON_ERROR_INIT;
  assert_int_equal(aon_env_open(AON_LOG_ERROR, crash_at, 0, &env, &failure), AON_OK);
  return env;
}

static void every_task_runs_once_and_is_seen(void **state) {
  (void)state;
  work w = {.env = open_env(0)};
  for (int round = 1; round <= ROUNDS; round++) {
    size_t count = 1 + (size_t)round % TASKS;
    memset(w.runs, 0, sizeof w.runs);
    memset(w.sums, 0, sizeof w.sums);
    aon_run_together(w.env, count_up, &w, count);
    for (size_t i = 0; i < TASKS; i++) {
      assert_int_equal(w.runs[i], i < count);
      assert_int_equal(w.sums[i], i < count ? 499500 * i : 0);
    }
  }
  aon_env_close(w.env);
}

static void note_order(void *argument, size_t index) {
  work *w = argument;
  w->by[index] = pthread_self();
  w->order[w->ended++] = index;
}

static void in_order(aon_env *env) {
  work w = {.env = env};
  aon_run_together(env, note_order, &w, TASKS);
  for (size_t i = 0; i < TASKS; i++) {
    assert_int_equal(w.order[i], i);
    assert_true(pthread_equal(w.by[i], pthread_self()));
  }
}

/* Counted calls must be the same ones in every run, or a crash at the n-th would not be repeatable. */
static void counted_calls_keep_tasks_in_order(void **state) {
  (void)state;
  aon_env *env = open_env(UINT64_MAX);
  in_order(env);
  aon_env_close(env);
}

static void without_the_operation_tasks_run_in_order(void **state) {
  (void)state;
  aon_env *real = open_env(0);
  aon_env_ops ops = *real->ops;
  ops.run_together = NULL;
  aon_env env = {.ops = &ops, .context = real->context};
  in_order(&env);
  aon_env_close(real);
}

static void a_forked_process_goes_on_alone(void **state) {
  (void)state;
  work w = {.env = open_env(0)};
  aon_run_together(w.env, count_up, &w, TASKS);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    memset(w.runs, 0, sizeof w.runs);
    aon_run_together(w.env, count_up, &w, TASKS);
    int once = 0;
    for (size_t i = 0; i < TASKS; i++)
      once += w.runs[i] == 1;
    aon_env_close(w.env);
    _exit(once == TASKS ? 0 : 1);
  }
  int status = -1;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  aon_env_close(w.env);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_task_runs_once_and_is_seen),
      cmocka_unit_test(counted_calls_keep_tasks_in_order),
      cmocka_unit_test(without_the_operation_tasks_run_in_order),
      cmocka_unit_test(a_forked_process_goes_on_alone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
