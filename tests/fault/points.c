/* See points.h. */
#include "points.h"

#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "allocator.h"

#define JOBS_LIMIT 16
#define ENDS_LIMIT 64
#define SEEN_SLOTS (1u << 16)
#define STACK_FRAMES 14
#define STACK_SKIPPED 2
#define COMPLAINTS_SHOWN 12
#define NAMES_LIMIT 64

typedef struct verdict {
  bool said;
  char end[120], complaint[3000];
} verdict;

typedef struct child {
  pid_t pid;
  uint64_t point;
  point_way way;
  char name[64];
  verdict *verdict;
  void *stack[STACK_FRAMES + STACK_SKIPPED];
  int frames;
} child;

typedef struct end_count {
  char end[120];
  uint64_t ways[WAYS];
} end_count;

static struct {
  points_options options;
  bool exploring, is_child, failing, power_fails;
  point_way way;
  const char *failed_name;
  uint64_t number, candidates;
  int quiet;
  child children[JOBS_LIMIT];
  end_count ends[ENDS_LIMIT];
  size_t end_count;
  uint64_t *seen; /* hashes of stacks, open addressing; 0: free */
  struct {
    const char *name;
    uint64_t points, tried;
  } names[NAMES_LIMIT];
  points_total total;
} the;

void points_quiet(void) { the.quiet++; }
void points_loud(void) { the.quiet--; }
bool points_is_quiet(void) { return the.quiet > 0; }
bool points_is_child(void) { return the.is_child; }
bool points_power_fails(void) { return the.power_fails; }

const char *point_way_name(point_way way) {
  static const char *const names[] = {"none", "once", "for ever", "this for ever", "disk full", "lost sync"};
  return names[way];
}

const char *point_kind_name(point_kind kind) {
  static const char *const names[] = {"allocation", "environment", "SQLite"};
  return names[kind];
}

static void *shared(size_t bytes) {
  void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED)
    abort();
  return at;
}

void points_begin(const points_options *options) {
  if (!the.seen)
    the.seen = mmap(NULL, SEEN_SLOTS * sizeof *the.seen, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (the.seen == MAP_FAILED)
    abort();
  memset(the.seen, 0, SEEN_SLOTS * sizeof *the.seen);
  for (unsigned i = 0; i < JOBS_LIMIT; i++) {
    if (!the.children[i].verdict)
      the.children[i].verdict = shared(sizeof(verdict));
    the.children[i].pid = 0;
  }
  void *warm[4];
  points_quiet();
  backtrace(warm, 4); /* loads what it needs now */
  points_loud();
  the.options = *options;
  memset(the.ends, 0, sizeof the.ends);
  memset(the.names, 0, sizeof the.names);
  the.end_count = 0;
  the.total = (points_total){0};
  the.number = the.candidates = 0;
  the.failing = the.power_fails = false;
  the.exploring = true;
}

/* ---- what the children said ---- */

static void count_end(const char *end, point_way way) {
  size_t at = 0;
  while (at < the.end_count && strcmp(the.ends[at].end, end))
    at++;
  if (at == ENDS_LIMIT)
    at--;
  if (at == the.end_count)
    snprintf(the.ends[the.end_count++].end, sizeof the.ends[0].end, "%s", end);
  the.ends[at].ways[way]++;
}

static void complain(const child *c, const char *complaint) {
  the.total.bad++;
  if (the.total.bad > COMPLAINTS_SHOWN && !the.options.only)
    return;
  printf("FAILED: %s, %s %llu (%s) %s: %s\n", the.options.scenario, point_kind_name(the.options.kind), (unsigned long long)c->point,
         c->name, point_way_name(c->way), complaint);
  fflush(stdout);
  if (the.options.only)
    backtrace_symbols_fd(c->stack, c->frames, STDOUT_FILENO);
}

static void heard(child *c, int status) {
  char text[120];
  c->pid = 0;
  if (c->verdict->said) {
    count_end(c->verdict->end, c->way);
    if (c->verdict->complaint[0])
      complain(c, c->verdict->complaint);
    return;
  }
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
    snprintf(text, sizeof text, "it hangs");
  else if (WIFSIGNALED(status))
    snprintf(text, sizeof text, "it crashes: %s", strsignal(WTERMSIG(status)));
  else
    snprintf(text, sizeof text, "it ends the process with %d", WEXITSTATUS(status));
  count_end(text, c->way);
  complain(c, text);
}

static void wait_for_one(void) {
  int status;
  pid_t pid = wait(&status);
  if (pid < 0)
    abort();
  for (unsigned i = 0; i < JOBS_LIMIT; i++)
    if (the.children[i].pid == pid)
      heard(&the.children[i], status);
}

static child *free_child(void) {
  for (;;) {
    for (unsigned i = 0; i < the.options.jobs && i < JOBS_LIMIT; i++)
      if (!the.children[i].pid)
        return &the.children[i];
    wait_for_one();
  }
}

static void wait_for_all(void) {
  for (unsigned i = 0; i < JOBS_LIMIT; i++)
    while (the.children[i].pid)
      wait_for_one();
}

/* ---- the walk ---- */

static bool unseen(void *const *stack, int frames) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (int i = STACK_SKIPPED; i < frames; i++)
    hash = (hash ^ (uint64_t)(uintptr_t)stack[i]) * 0x100000001b3u;
  hash |= 1;
  for (size_t at = hash % SEEN_SLOTS;; at = (at + 1) % SEEN_SLOTS) {
    if (the.seen[at] == hash)
      return false;
    if (!the.seen[at]) {
      the.seen[at] = hash;
      return true;
    }
  }
}

/* Fails in a child; the explorer goes on. True in the child. */
static bool fork_here(point_way way, const char *name, void *const *stack, int frames) {
  child *c = free_child();
  fflush(stdout);
  fflush(stderr);
  c->verdict->said = false;
  c->point = the.number;
  c->way = way;
  c->frames = frames;
  memcpy(c->stack, stack, (size_t)frames * sizeof *stack);
  snprintf(c->name, sizeof c->name, "%s", name);
  the.total.tried++;
  c->pid = fork();
  if (c->pid < 0)
    abort();
  if (c->pid)
    return false;
  the.exploring = false;
  the.is_child = the.failing = true;
  the.way = way;
  the.failed_name = name;
  the.power_fails = way == WAY_LOST || (way == WAY_ONCE && the.number % 2);
  the.children[0].verdict = c->verdict;
  alarm((unsigned)the.options.seconds);
  return true;
}

static unsigned ways_of(point_kind kind, const char *name) {
  unsigned ways = 1u << WAY_ONCE | 1u << WAY_EVER;
  if (kind == POINT_ALLOCATION)
    return ways;
  ways |= 1u << WAY_SAME_EVER;
  if (strstr(name, "write"))
    ways |= 1u << WAY_FULL;
  if (strstr(name, "sync"))
    ways |= 1u << WAY_LOST;
  return ways;
}

static bool chosen(const char *name, void *const *stack, int frames) {
  if (the.options.only)
    return the.number == the.options.only && !the.options.only_counts;
  if (the.options.of && strcmp(name, the.options.of))
    return false;
  if (the.options.stacks && !unseen(stack, frames))
    return false;
  uint64_t at = the.candidates++, all = the.options.candidates, some = the.options.budget;
  if (the.options.only_counts)
    return false;
  return !some || some >= all || at * some / all != (at + 1) * some / all;
}

uint64_t points_candidates(void) { return the.candidates; }

static size_t name_slot(const char *name) {
  size_t at = 0;
  while (at < NAMES_LIMIT - 1 && the.names[at].name && the.names[at].name != name)
    at++;
  the.names[at].name = name;
  return at;
}

static point_way explore(const char *name) {
  void *stack[STACK_FRAMES + STACK_SKIPPED];
  size_t slot = name_slot(name);
  the.number++;
  the.total.points++;
  the.names[slot].points++;
  points_quiet();
  int frames = the.options.stacks || the.options.only ? backtrace(stack, STACK_FRAMES + STACK_SKIPPED) : 0;
  if (chosen(name, stack, frames)) {
    unsigned ways = ways_of(the.options.kind, name);
    if (!frames)
      frames = backtrace(stack, STACK_FRAMES + STACK_SKIPPED);
    the.names[slot].tried++;
    for (point_way way = WAY_ONCE; way < WAYS; way++) {
      if (!(ways & 1u << way) || (the.options.only && the.options.only_way && the.options.only_way != way))
        continue;
      if (fork_here(way, name, stack, frames)) {
        points_loud();
        return way;
      }
    }
  }
  points_loud();
  return WAY_NONE;
}

point_way point_here(point_kind kind, const char *name) {
  if (the.quiet || kind != the.options.kind)
    return WAY_NONE;
  if (the.exploring)
    return explore(name);
  if (!the.failing)
    return WAY_NONE;
  if (the.way == WAY_EVER)
    return WAY_EVER;
  if (the.way == WAY_SAME_EVER)
    return name == the.failed_name ? WAY_SAME_EVER : WAY_NONE;
  return the.way == WAY_FULL && strstr(name, "write") ? WAY_FULL : WAY_NONE;
}

bool points_end(void) {
  if (the.exploring)
    wait_for_all();
  the.exploring = the.failing = false;
  return the.is_child;
}

void points_verdict(const char *end, const char *complaint) {
  verdict *v = the.children[0].verdict;
  snprintf(v->end, sizeof v->end, "%s", end);
  snprintf(v->complaint, sizeof v->complaint, "%s", complaint ? complaint : "");
  v->said = true;
  fflush(stdout);
  _exit(0);
}

/* ---- the table ---- */

points_total points_print(void) {
  printf("%s, %s: %llu points, %llu runs with a fault, %llu bad\n", the.options.scenario, point_kind_name(the.options.kind),
         (unsigned long long)the.total.points, (unsigned long long)the.total.tried, (unsigned long long)the.total.bad);
  for (size_t i = 0; i < NAMES_LIMIT && the.names[i].name; i++)
    printf("%s%s %llu/%llu", i ? ", " : "    tried of: ", the.names[i].name, (unsigned long long)the.names[i].tried,
           (unsigned long long)the.names[i].points);
  printf("\n");
  for (size_t i = 0; i < the.end_count; i++) {
    printf("    %s:", the.ends[i].end);
    for (int way = WAY_ONCE; way < WAYS; way++)
      if (the.ends[i].ways[way])
        printf(" %llu %s", (unsigned long long)the.ends[i].ways[way], point_way_name((point_way)way));
    printf("\n");
  }
  fflush(stdout);
  return the.total;
}
