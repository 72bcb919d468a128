/* The n-th allocation, call of the environment and call of SQLite's file system fails, once and for ever, over whole runs.
 *
 *   fault_test [SCENARIO [KIND [N [WAY]]]]     KIND: allocation, environment or SQLite; N: one point, with its stack; WAY: once, "for
 *   ever", …
 *
 * For each fault: it neither crashes nor hangs, nothing is leaked, no file stays open, and nothing is a lie:
 *  - a failure has a code, a sentence and an exit status of those that are promised;
 *  - what is told, and what the journal shows, is what the stores hold at that instant, where it is an end;
 *  - the next healthy recovery makes the stores wholly as before or wholly as after, says which, and leaves no lock;
 *  - then the same work can be done again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "allocator.h"
#include "aon/memory.h"
#include "points.h"
#include "world.h"

#define SECONDS_OF_A_RUN 120
#define SPARE_BYTES ((size_t)16 << 20) /* as the program has */

typedef struct scenario {
  const char *name;
  void (*start)(void); /* the disk before it */
  void (*run)(const char *id, told *ret);
  aon_state wanted;                    /* its end without a fault; AON_STATE_COUNT: none of its own */
  const char *about;                   /* the bulk operation whose state tells what the stores hold */
  aon_state about_before, about_after; /* where that is not the run's own */
  unsigned dies_at; /* the disk before it is what a run of changes leaves that dies at this part of its steps, in 1/1000 */
} scenario;

static const scenario scenarios[] = {
    {"changes", world_prepared, run_changes, AON_COMMITTED, OUR_ID},
    {"company", world_empty, run_company, AON_COMMITTED, OUR_ID},
    {"refused", world_empty, run_changes_refused, AON_REJECTED_STATE, OUR_ID},
    {"forced", world_prepared, run_forced, AON_ROLLED_BACK, OUR_ID},
    {"lines", world_prepared, run_lines, AON_COMMITTED, OUR_ID},
    {"undo", world_imported, run_undo, AON_COMMITTED, OUR_ID},
    {"recovery-early", world_prepared, run_recovery, AON_STATE_COUNT, OUR_ID, .dies_at = 600},
    {"recovery-back", world_prepared, run_recovery, AON_STATE_COUNT, OUR_ID, .dies_at = 880},
    {"recovery-late", world_prepared, run_recovery, AON_STATE_COUNT, OUR_ID, .dies_at = 960},
};
#define SCENARIOS (sizeof scenarios / sizeof *scenarios)

static const scenario *now;
static char *rows_before, *rows_after;
static char dead_image[64];

/* ---- judging a run ---- */

static char complaint[3000];

#define WRONG(...)                                                                                                                         \
  do {                                                                                                                                     \
    snprintf(complaint, sizeof complaint, __VA_ARGS__);                                                                                    \
    return false;                                                                                                                          \
  } while (0)

static char *outline(void) {
  points_quiet();
  char *rows = world_rows();
  world_outline(rows);
  points_loud();
  return rows;
}

static bool told_properly(const told *t) {
  if (t->result == AON_OK && t->exit_status != 0 && !t->has_state)
    WRONG("exit status %d for nothing", t->exit_status);
  if (t->exit_status < 0 || t->exit_status > 6)
    WRONG("exit status %d", t->exit_status);
  if (t->result == AON_OK)
    return true;
  size_t length = strlen(t->error.sentence);
  if (!t->error.code[0] || length < 10 || t->error.kind != t->result)
    WRONG("%s without a sentence: code “%s”, “%s”", aon_result_name(t->result), t->error.code, t->error.sentence);
  if (t->exit_status == 0)
    WRONG("exit status 0 for %s: %s", t->error.code, t->error.sentence);
  if (t->result == AON_USAGE || t->result == AON_REJECTED || t->result == AON_CORRUPT || t->result == AON_CANCELLED)
    WRONG("the machine failed, and %s is said: %s", t->error.code, t->error.sentence);
  return true;
}

/* A file that has no error is not to be said to have one. */
static bool not_blamed(const told *t) {
  if (!t->has_state || t->result || t->state != AON_REJECTED_STATE || now->wanted == AON_REJECTED_STATE)
    return true;
  WRONG("the machine failed, and the file is said to be wrong: %s: %s", t->problem_code, t->problem_sentence);
}

static const char *which(const char *rows) { return !strcmp(rows, rows_before) ? "before" : !strcmp(rows, rows_after) ? "after" : NULL; }

static void first_difference(const char *a, const char *b, char *out, size_t size) {
  size_t same = 0;
  while (a[same] && a[same] == b[same])
    same++;
  size_t from = same < 100 ? 0 : same - 100;
  snprintf(out, size, "found “…%.200s…”, wanted “…%.200s…”", a + from, b + from);
}

static bool wholly_in(aon_state state) { return state == AON_COMMITTED || state == AON_UNDOING || state == AON_UNDONE; }
static bool wholly_out(aon_state state) {
  return state == AON_ROLLED_BACK || state == AON_REJECTED_STATE || state == AON_CANCELLED_STATE || state == AON_PLANNED ||
         state <= AON_LOGGED || state == AON_STATE_COUNT;
}

/* What is said of an end is what the stores hold. */
static bool true_to(aon_state state, const char *rows, const char *who) {
  const char *found = which(rows);
  char difference[800];
  if (!wholly_in(state) && !wholly_out(state))
    return true;
  const char *wanted = wholly_in(state) ? "after" : "before";
  if (found && (!strcmp(found, wanted) || !strcmp(rows_before, rows_after)))
    return true;
  first_difference(rows, wholly_in(state) ? rows_after : rows_before, difference, sizeof difference);
  WRONG("%s says %s, and the stores are %s: %s", who, state == AON_STATE_COUNT ? "nothing" : aon_state_name(state),
        found ? found : "neither as before nor as after", difference);
}

static bool at_once(const told *t) {
  aon_error error;
  aon_state shown = world_state(now->about, &error);
  if (error.kind)
    WRONG("the journal can't be read afterwards: %s", error.sentence);
  if (t->has_state && !t->result && t->state != shown)
    WRONG("%s is told, and the journal shows %s", aon_state_name(t->state), shown == AON_STATE_COUNT ? "nothing" : aon_state_name(shown));
  char *rows = outline();
  bool good = true_to(shown, rows, "the journal");
  points_quiet();
  free(rows);
  points_loud();
  return good;
}

static bool mended(const told *t) {
  told recovery;
  aon_error error;
  disk_new_process();
  points_quiet();
  run_recovery(NULL, &recovery);
  points_loud();
  if (recovery.result)
    WRONG("recovery afterwards: %s: %s", recovery.error.code, recovery.error.sentence);
  aon_state shown = world_state(now->about, &error);
  if (shown != AON_STATE_COUNT && !wholly_in(shown) && !wholly_out(shown))
    WRONG("recovery leaves it %s", aon_state_name(shown));
  if (shown != AON_STATE_COUNT && !aon_state_terminal(shown))
    WRONG("recovery leaves it %s", aon_state_name(shown));
  if (t->has_state && !t->result && t->state != shown)
    WRONG("%s was told, and it is %s", aon_state_name(t->state), shown == AON_STATE_COUNT ? "nothing" : aon_state_name(shown));
  char *rows = outline();
  bool good = true_to(shown, rows, "recovery");
  points_quiet();
  free(rows);
  points_loud();
  if (!good)
    return false;
  if (world_held() != 0)
    WRONG("%d locks or conflicts are left after it is %s", world_held(), shown == AON_STATE_COUNT ? "nothing" : aon_state_name(shown));
  return true;
}

/* What could not be done can be done now. */
static bool usable(void) {
  told again;
  aon_error error;
  if (now->wanted == AON_STATE_COUNT || world_state(now->about, &error) == now->wanted)
    return true;
  points_quiet();
  now->run(AGAIN_ID, &again);
  points_loud();
  if (again.result || !again.has_state || again.state != now->wanted)
    WRONG("the same again: %s %s %s", aon_result_name(again.result), again.has_state ? aon_state_name(again.state) : "",
          again.error.sentence);
  char *rows = outline();
  bool good = true_to(again.state, rows, "the same again");
  points_quiet();
  free(rows);
  points_loud();
  return good;
}

static void describe(const told *t, char *ret_text, size_t size) {
  if (t->result)
    snprintf(ret_text, size, "%s (exit %d)", t->error.code, t->exit_status);
  else
    snprintf(ret_text, size, "%s (exit %d)", t->has_state ? aon_state_name(t->state) : "done", t->exit_status);
}

static bool judge(const told *t) {
  char left[2000];
  if (allocator_left(left, sizeof left))
    WRONG("leaked (%s):%s", t->result ? t->error.code : "no error", left);
  allocator_stop();
  if (disk_open_files())
    WRONG("%zu files stay open", disk_open_files());
  if (!told_properly(t) || !not_blamed(t))
    return false;
  if (points_power_fails())
    disk_power_fails();
  return at_once(t) && mended(t) && usable();
}

/* ---- one scenario ---- */

static void start(void) {
  now->start();
  if (now->dies_at)
    disk_load(dead_image);
  if (now->dies_at)
    disk_new_process();
}

/* Leaves the disk as a run of changes leaves it that dies on its way. */
static void make_dead(void) {
  told t;
  snprintf(dead_image, sizeof dead_image, "/tmp/aon-fault-%d", (int)getpid());
  points_quiet();
  world_prepared();
  disk_die_at(0, dead_image);
  run_changes(OUR_ID, &t);
  uint64_t steps = disk_steps();
  world_prepared();
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    disk_die_at(steps * now->dies_at / 1000, dead_image);
    run_changes(OUR_ID, &t);
    _exit(99);
  }
  int status;
  if (waitpid(pid, &status, 0) != pid || status != 0)
    abort();
  points_loud();
}

static void reference(void) {
  told t;
  world_prepared();
  points_quiet();
  if (now->dies_at)
    make_dead();
  start();
  free(rows_before);
  free(rows_after);
  if (now->dies_at) {
    world_prepared();
    rows_before = outline();
    run_changes(OUR_ID, &t);
    rows_after = outline();
  } else {
    rows_before = outline();
    now->run(OUR_ID, &t);
    rows_after = outline();
  }
  points_loud();
  if (now->wanted != AON_STATE_COUNT && (t.result || t.state != now->wanted)) {
    fprintf(stderr, "%s without a fault: %s %s\n", now->name, aon_result_name(t.result), t.error.sentence);
    exit(99);
  }
}

/* How many points there are to choose from; what is left of this run is what libraries keep. */
static uint64_t count(const points_options *options) {
  points_options counting = *options;
  told t;
  counting.only_counts = true;
  start();
  allocator_watch();
  points_begin(&counting);
  now->run(OUR_ID, &t);
  points_end();
  allocator_excuse();
  return points_candidates();
}

static uint64_t explore(points_options *options) {
  told t;
  char end[120], left[2000];
  options->candidates = count(options);
  start();
  allocator_watch();
  points_begin(options);
  now->run(OUR_ID, &t);
  if (points_end()) {
    bool good = judge(&t);
    describe(&t, end, sizeof end);
    points_verdict(end, good ? NULL : complaint);
  }
  size_t leaks = allocator_left(left, sizeof left);
  allocator_stop();
  points_total total = points_print();
  if (leaks || disk_open_files()) {
    printf("FAILED: %s without a fault leaks%s, %zu files are open\n", now->name, left, disk_open_files());
    total.bad++;
  }
  disk_power_fails();
  if (!at_once(&t) || !mended(&t)) {
    printf("FAILED: %s without a fault, and then the power fails: %s\n", now->name, complaint);
    total.bad++;
  }
  return total.bad;
}

/* ---- all of them ---- */

/* In the short version, so many points of a scenario and kind; each is several runs. Allocations are many, and most of them alike: the long
 * version takes each way of calls to one. AON_FAULT_BUDGET is another number, 0: all; AON_FAULT_EACH=1: each allocation, alike or not;
 * AON_FAULT_OF=NAME: only those that the table names so (aon: our own allocations). */
static const uint64_t budgets[] = {[POINT_ALLOCATION] = 12, [POINT_ENV] = 4, [POINT_SQLITE] = 8};

static uint64_t number_of(const char *variable, uint64_t otherwise) {
  const char *text = getenv(variable);
  return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static points_options options_of(point_kind kind, int argc, char **argv) {
  bool full = number_of("AON_FULL", 0) == 1;
  points_options options = {.kind = kind, .seconds = SECONDS_OF_A_RUN, .scenario = now->name};
  options.jobs = (unsigned)number_of("AON_FAULT_JOBS", 1);
  options.stacks = kind == POINT_ALLOCATION && number_of("AON_FAULT_EACH", 0) != 1;
  options.budget = number_of("AON_FAULT_BUDGET", full ? 0 : budgets[kind]);
  options.of = getenv("AON_FAULT_OF");
  options.only = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
  for (point_way way = WAY_ONCE; argc > 4 && way < WAYS; way++)
    if (!strcmp(argv[4], point_way_name(way)))
      options.only_way = way;
  return options;
}

static bool asked(const char *given, const char *name) { return !given || !strcmp(given, name) || !strcmp(given, "all"); }

static uint64_t explore_all(int argc, char **argv) {
  uint64_t bad = 0;
  for (size_t i = 0; i < SCENARIOS; i++) {
    if (!asked(argc > 1 ? argv[1] : NULL, scenarios[i].name))
      continue;
    now = &scenarios[i];
    reference();
    for (point_kind kind = 0; kind < POINT_KINDS; kind++) {
      if (!asked(argc > 2 ? argv[2] : NULL, point_kind_name(kind)))
        continue;
      points_options options = options_of(kind, argc, argv);
      bad += explore(&options);
    }
  }
  return bad;
}

int main(int argc, char **argv) {
  const char *packs = getenv("AON_PACKS"), *company = getenv("AON_COMPANY"), *changes = getenv("AON_CHANGES");
  if (!packs || !company || !changes) {
    printf("skipped: fault points: AON_PACKS, AON_COMPANY and AON_CHANGES name the packs and the two workbooks of tools/make-sample\n");
    return 77;
  }
  static char buffer[BUFSIZ]; /* so that no fault meets what printing allocates */
  aon_error error = AON_ERROR_INIT;
  setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
  if (aon_spare_open(SPARE_BYTES, &error)) {
    fprintf(stderr, "%s\n", error.sentence);
    return 99;
  }
  allocator_names();
  world_set_up(packs, company, changes);
  uint64_t bad = explore_all(argc, argv);
  if (dead_image[0])
    unlink(dead_image);
  printf("fault points: %llu bad\n", (unsigned long long)bad);
  fflush(stdout);
  _exit(bad ? 1 : 0); /* what is left was counted; a sanitizer would add what the loader keeps for backtrace */
}
