/* Coroutines and the environment that the code under test sees: clocks, sleep, steps, randomness, processes. See sim.h.
 *
 * Each process is one coroutine on a stack of its own. It gives way at every step, sleep and call of the disk, but only when the length of
 * run that it was given is used up: switching at each of them would cost more than all the rest. A killed one is never entered again; its
 * memory, files and stores are taken away by the world. */
#include <sys/mman.h>
#include <ucontext.h>

#include "sim.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#define STACK_BYTES ((size_t)1 << 20)
#define POOL 8

struct task {
  process *owner;
  void (*run)(process *owner);
  ucontext_t context;
  void *stack;
  int number;
  bool done, in_world, slot_used;
  int64_t wake_ms;
};

static struct {
  ucontext_t scheduler;
  task *current;
  uint32_t left; /* points until it gives way */
  task pool[POOL];
  int numbers;
  bool in_world; /* nobody's coroutine runs: always the world */
#if defined(__SANITIZE_ADDRESS__)
  void *fake;
  const void *bottom;
  size_t size;
#endif
} all;

static void to_task(task *t) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&all.fake, t->stack, STACK_BYTES);
#endif
  swapcontext(&all.scheduler, &t->context);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(all.fake, NULL, NULL);
#endif
}

static void to_scheduler(task *t) {
#if defined(__SANITIZE_ADDRESS__)
  void *fake = NULL;
  __sanitizer_start_switch_fiber(t->done ? NULL : &fake, all.bottom, all.size);
#endif
  swapcontext(&t->context, &all.scheduler);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, &all.bottom, &all.size);
#endif
}

static void start(void) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(NULL, &all.bottom, &all.size);
#endif
  task *t = all.current;
  t->run(t->owner);
  t->done = true;
  to_scheduler(t);
}

static void make_context(task *t) {
  getcontext(&t->context);
  t->context.uc_stack = (stack_t){.ss_sp = t->stack, .ss_size = STACK_BYTES};
  makecontext(&t->context, start, 0);
}

task *task_new(process *owner, void (*run)(process *owner)) {
  task *t = NULL;
  for (size_t i = 0; i < POOL && !t; i++)
    if (!all.pool[i].slot_used)
      t = &all.pool[i];
  if (!t)
    abort();
  if (!t->stack)
    t->stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(t->stack, STACK_BYTES); /* of one that was killed in the middle */
#endif
  *t = (task){.owner = owner, .run = run, .stack = t->stack, .number = ++all.numbers, .slot_used = true};
  make_context(t);
  return t;
}

void task_resume(task *t, uint32_t quantum) {
  all.current = t;
  all.left = quantum;
  W->counts.switches++;
  to_task(t);
  all.current = NULL;
}

void task_kill(task *t) {
  disk_process_crash(W->disk, t->number);
  heap_drop(t->number);
  t->slot_used = false;
}

void task_pool_release(void) {
  for (size_t i = 0; i < POOL; i++)
    all.pool[i].slot_used = false;
  all.numbers = 0;
  all.current = NULL;
}

bool task_done(const task *t) { return t->done; }
int64_t task_wakes_ms(const task *t) { return t->wake_ms; }

void task_freeze(task *t, int64_t until_ms) {
  if (t->wake_ms < until_ms)
    t->wake_ms = until_ms;
}

process *task_process(void) { return all.current && !all.current->in_world ? all.current->owner : NULL; }

int heap_owner_now(void) { return all.current && !all.current->in_world ? all.current->number : HEAP_WORLD; }

bool world_enter(void) {
  bool before = !all.current || all.current->in_world;
  if (all.current)
    all.current->in_world = true;
  return before;
}

void world_leave(bool before) {
  if (all.current)
    all.current->in_world = before;
}

void sim_point(const char *what) {
  (void)what;
  task *t = all.current;
  if (!t || t->in_world)
    return;
  if (all.left > 1) {
    all.left--;
    return;
  }
  to_scheduler(t);
}

void sim_sleep(int64_t ms) {
  task *t = all.current;
  if (!t || t->in_world)
    return;
  t->wake_ms = W->now_ms + (ms > 0 ? ms : 0);
  to_scheduler(t);
}

/* ---- the environment ---- */

static int64_t env_now(void *context) {
  (void)context;
  return SIM_EPOCH_MS + W->now_ms - SIM_START_MS + W->wall_ahead_ms;
}

static int64_t env_monotonic(void *context) {
  (void)context;
  return W->now_ms;
}

static void env_sleep(void *context, int64_t ms) {
  (void)context;
  sim_sleep(ms);
}

static void env_random(void *context, void *bytes, size_t length) {
  (void)context;
  for (size_t i = 0; i < length; i++) {
    W->random = W->random * 6364136223846793005u + 1442695040888963407u;
    ((uint8_t *)bytes)[i] = (uint8_t)(W->random >> 40);
  }
}

static aon_process env_self(void *context) {
  const process *p = context;
  aon_process self = {.pid = p->pid, .start_ticks = 1};
  memcpy(self.boot_id, p->boot, sizeof self.boot_id);
  return self;
}

/* Proved only where it ran on this boot of this host. */
static bool env_dead(void *context, const aon_process *other) {
  const process *p = context;
  if (strcmp(p->boot, other->boot_id))
    return false;
  for (size_t i = 0; i < W->process_count; i++)
    if (W->processes[i].alive && W->processes[i].pid == other->pid)
      return false;
  return true;
}

static void env_step(void *context, const char *what) {
  (void)context;
  if (W->tracing && task_process())
    trace("%s", what);
  sim_point(what);
}

static void env_log(void *context, aon_log_level level, const char *text) {
  (void)context;
  (void)level;
  if (W->tracing)
    trace("  log: %s", text);
}

aon_env_ops sim_env_ops(void) {
  aon_env_ops ops = {.now_ms = env_now,
                     .monotonic_ms = env_monotonic,
                     .sleep_ms = env_sleep,
                     .random = env_random,
                     .process_self = env_self,
                     .process_dead = env_dead,
                     .step = env_step,
                     .log = env_log};
  disk_env_ops(&ops);
  return ops;
}
