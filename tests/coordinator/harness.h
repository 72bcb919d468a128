/* What the coordinator's tests share: a world with a clock of its own, memory stores of any class and SQLite files, engines over one
 * journal, plans in lines, and processes that die at a step.
 *
 * A worker dies by crash_at: at that step it is left by longjmp, its handles are closed (as a kernel does) and nothing else of it runs.
 * What it had allocated is lost with it, so such tests run in a forked child (world_child), as real crashes do. */
#ifndef AON_TESTS_COORDINATOR_HARNESS_H
#define AON_TESTS_COORDINATOR_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/internal.h"
#include "coordinator/run.h"
#include "coordinator/transitions.h"
#include "model/document.h"
#include "store/callback.h"
#include "store/memory.h"
#include "store/trace.h"

#define WORLD_STORES 8

typedef struct world_store {
  char name[16], location[128];
  aon_memory_database *database; /* NULL: SQLite */
  bool alias;
  aon_trace trace;
  aon_store_config config;
  const aon_store_adapter *adapter;
} world_store;

typedef struct world {
  aon_env env, *real;
  char folder[64], journal[96], key[96], input[96];
  world_store stores[WORLD_STORES];
  size_t store_count;
  aon_engine_config config; /* of engines to come */
  aon_engine *engine;       /* the one whose steps are counted */
  int64_t ahead_ms;         /* the clock; sleeping moves it */
  int64_t slept_ms;
  uint64_t steps, crash_at, call_at;
  void (*call)(struct world *w); /* at step call_at, once: foreign writers, other workers, frozen ones */
  const char *call_name;         /* or at the first step of this name; then call_at is 0 */
  void *call_context;
  jmp_buf crashed;
  int64_t pid;      /* of this worker */
  int64_t dead_pid; /* up to it all workers are proved dead */
  char log[1 << 16];
  size_t log_length;
  char steps_log[1 << 18]; /* names of steps and lines of stores, each with a newline */
  size_t steps_length;
  aon_run_options options;
  aon_outcome outcome; /* of the last call */
  aon_error error;
} world;

world *world_new(void);
void world_free(world *w);
/* A memory store; config NULL: only the class. */
aon_memory_database *world_memory(world *w, const char *name, aon_store_class store_class, const aon_memory_config *config);
void world_alias(world *w, const char *name, const char *of); /* another name for that memory database */
void world_sqlite(world *w, const char *name);
void world_callbacks(world *w, const char *name, const aon_callbacks *functions);
aon_store_config *world_config(world *w, const char *name);
aon_memory_database *world_database(world *w, const char *name);
aon_engine *world_engine(world *w); /* opens one over all stores; it becomes w->engine */
void world_close(world *w);         /* the engine */
void world_die(world *w);           /* the engine's handles go as those of a dead process; the next engine is another worker */

/* Commands on w->engine. They free the last outcome, and fill outcome and error. */
aon_result world_apply(world *w, const char *lines);
aon_result world_apply_file(world *w, const char *path);
aon_result world_undo(world *w, const char *id, const aon_undo_options *options);
void world_new_outcome(world *w);
int world_status(world *w, aon_result result);
/* Opens another engine and recovers all: the number that is still open. */
uint64_t world_recover(world *w);
void world_advance(world *w, int64_t ms);

/* A foreign write; json NULL deletes. */
void world_put(world *w, const char *store, const char *collection, const char *id, const char *json);
/* What is committed there, as canonical JSON without the stamp; "" if not there. Static memory. */
const char *world_get(world *w, const char *store, const char *collection, const char *id);
/* All documents of all stores in the collections c, d and e, a line each, sorted; free it. */
char *world_snapshot(world *w);
bool world_steps_in_order(world *w, const char *const *names); /* each found after the one before */
aon_state world_state(world *w, const char *id);
void world_bulk(world *w, const char *id, aon_arena *arena, aon_bulk *ret_bulk);

/* Runs the test in a child, so that what a dead worker left is no leak. Its status: 0 passed, 77 nothing left to try. */
int world_child(void (*test)(world *w, uint64_t n), uint64_t n);
/* child for n = 1, 2, …, until it says that there is nothing left; the number tried. */
uint64_t world_every_step(void (*test)(world *w, uint64_t n), uint64_t most);
_Noreturn void world_nothing_left(void);
/* For children, where cmocka's own failures don't reach. */
#define CHECK(condition)                                                                                                                   \
  do {                                                                                                                                     \
    if (!(condition))                                                                                                                      \
      world_failed(__FILE__, __LINE__, #condition, w);                                                                                     \
  } while (0)
_Noreturn void world_failed(const char *file, int line, const char *what, world *w);

#define OK(call)                                                                                                                           \
  do {                                                                                                                                     \
    aon_error error_ = AON_ERROR_INIT, *error = &error_;                                                                                   \
    aon_result got_ = (call);                                                                                                              \
    (void)error;                                                                                                                           \
    if (got_)                                                                                                                              \
      fail_msg("%s: %s: %s", #call, aon_result_name(got_), error_.sentence);                                                               \
  } while (0)
#define APPLY_OK(w, lines)                                                                                                                 \
  do {                                                                                                                                     \
    aon_result got_ = world_apply(w, lines);                                                                                               \
    if (got_ || (w)->outcome.state != AON_COMMITTED)                                                                                       \
      fail_msg("apply: %s %s: %s %s\n%s", aon_result_name(got_), (w)->error.sentence, aon_state_name((w)->outcome.state),                  \
               (w)->outcome.failure.message, (w)->outcome.json.data ? (w)->outcome.json.data : "");                                        \
  } while (0)
#define TEST(name) cmocka_unit_test(name)
#endif
