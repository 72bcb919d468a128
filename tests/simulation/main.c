/* simulate: runs seeds, shows a run step by step, shrinks one that fails. README.md beside it.
 *
 *   simulate --seeds N [--from M] [--jobs J]     simulate --seed N [--trace]     simulate --replay FILE [--trace]
 *
 * Seeds run in children, a chunk each: what a world leaves behind in libraries goes with the child, and one that crashes the program is
 * found and named like any other. */
#include <fcntl.h>
#include <malloc.h>
#include <sodium.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

#define CHUNK 250u
#define JOBS_LIMIT 64
#define SHRINK_TRIES 3000u
#define SHRINK_SECONDS 60
#define FAILURES_SHOWN 3

#define NOTED_SEEDS 24u /* worlds that are watched to see which statements are worth having ready */
#define NOTED_BYTES ((size_t)256 << 10)

static disk *journal; /* as it was just made */

/* ---- one world ---- */

/* What W is afterwards stays until the next one. */
static void run(bool tracing) {
  static world one;
  memset(&one, 0, sizeof one);
  one.tracing = tracing;
  W = &one;
  world_run(journal);
  heap_drop_all();
  task_pool_release();
}

/* In a child: one of these worlds may bring the program down. */
static void prepare_warm(void) {
  static world still;
  char *texts = mmap(NULL, NOTED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pid_t child = texts == MAP_FAILED ? -1 : fork();
  if (child < 0)
    abort();
  if (!child) {
    if (freopen("/dev/null", "w", stderr) == NULL)
      _exit(1);
    warm_listen(texts, NOTED_BYTES);
    for (uint64_t seed = 1; seed <= NOTED_SEEDS; seed++) {
      choice_seed(seed);
      run(false);
    }
    _exit(0);
  }
  waitpid(child, NULL, 0);
  W = &still;
  W->disk = disk_copy(journal);
  warm_make(W->disk, texts);
  W = NULL;
}

static void prepare(void) {
  if (heap_sqlite_config() || sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) || sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0) ||
      sqlite3_config(SQLITE_CONFIG_SINGLETHREAD) || sqlite3_initialize() || sodium_init() < 0)
    abort();
  mallopt(M_MMAP_THRESHOLD, 64 << 20); /* nothing goes back to the machine between two worlds */
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
  mallopt(M_TOP_PAD, 1 << 20);
  disk_register();
  static world first;
  choice_replay(NULL, 0);
  W = &first;
  disk *made = world_journal();
  W = NULL;
  journal = disk_copy(made);
  heap_drop_all();
  task_pool_release();
  prepare_warm();
}

static void add_counts(counts *to, const counts *from) {
  for (size_t i = 0; i < sizeof *to / sizeof(uint64_t); i++)
    ((uint64_t *)to)[i] += ((const uint64_t *)from)[i];
}

/* ---- chunks ---- */

typedef struct chunk { /* shared with the child */
  counts counts;
  uint64_t at; /* seed under way */
  uint64_t failed_seed;
  bool failed;
  char failure[2000];
} chunk;

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static chunk *share(size_t count) {
  chunk *made = mmap(NULL, count * sizeof *made, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (made == MAP_FAILED)
    abort();
  return made;
}

static void child_runs(chunk *c, uint64_t first, uint64_t last) {
  for (uint64_t seed = first; seed < last && !c->failed; seed++) {
    c->at = seed;
    choice_seed(seed);
    run(false);
    W->counts.seeds = 1;
    add_counts(&c->counts, &W->counts);
    if (W->failure[0]) {
      c->failed = true;
      c->failed_seed = seed;
      memcpy(c->failure, W->failure, sizeof c->failure);
    }
    W = NULL;
  }
}

static pid_t start_chunk(chunk *c, uint64_t first, uint64_t last) {
  *c = (chunk){.at = first};
  fflush(NULL);
  pid_t child = fork();
  if (child < 0)
    abort();
  if (!child) {
    child_runs(c, first, last);
    fflush(NULL);
    _exit(0);
  }
  return child;
}

/* ---- shrinking ---- */

typedef struct shared_run {
  bool failed;
  size_t count;
  char failure[2000];
  uint32_t made[400000];
} shared_run;

static shared_run *last_run;

/* Runs a stream in a child; a child that dies by a signal or a sanitizer has failed too. */
static bool fails(const uint32_t *values, size_t count, uint64_t seed, bool tracing) {
  fflush(NULL);
  last_run->failed = true;
  last_run->count = 0;
  snprintf(last_run->failure, sizeof last_run->failure, "the program died\n");
  pid_t child = fork();
  if (!child) {
    if (!tracing && freopen("/dev/null", "w", stderr) == NULL)
      _exit(1);
    alarm(60);
    if (values)
      choice_replay(values, count);
    else
      choice_seed(seed);
    run(tracing);
    size_t made;
    const uint32_t *stream = choice_made(&made);
    memcpy(last_run->made, stream, made * sizeof *stream);
    last_run->count = made;
    last_run->failed = W->failure[0] != 0;
    memcpy(last_run->failure, W->failure, sizeof last_run->failure);
    fflush(NULL);
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  return last_run->failed || !WIFEXITED(status) || WEXITSTATUS(status);
}

typedef struct shrinking {
  uint32_t *best, *trial;
  size_t count;
  char kind[40]; /* the head of the violation: another one is another finding */
  unsigned tries;
  double until;
} shrinking;

static bool out_of_patience(const shrinking *s) { return s->tries >= SHRINK_TRIES || seconds() > s->until; }

static void kind_of(const char *failure, char kind[40]) { /* its words without numbers and names */
  size_t n = 0;
  for (const char *at = failure; *at && *at != '\n' && n + 1 < 40; at++)
    if ((*at >= 'a' && *at <= 'z') || *at == ' ')
      kind[n++] = *at;
  kind[n] = 0;
}

static bool still_fails(shrinking *s, size_t count) {
  char kind[40];
  s->tries++;
  if (!fails(s->trial, count, 0, false))
    return false;
  kind_of(last_run->failure, kind);
  return !strncmp(kind, s->kind, 12);
}

static void keep(shrinking *s, size_t count) {
  size_t used = last_run->count && last_run->count < count ? last_run->count : count;
  memcpy(s->best, s->trial, used * sizeof *s->best);
  s->count = used;
  while (s->count && !s->best[s->count - 1])
    s->count--; /* beyond the end all are 0 */
}

/* Takes a block out, or makes it tame. */
static bool without(shrinking *s, size_t at, size_t length, bool zero) {
  size_t count = s->count;
  memcpy(s->trial, s->best, count * sizeof *s->best);
  if (zero) {
    bool any = false;
    for (size_t i = at; i < at + length; i++) {
      any = any || s->trial[i];
      s->trial[i] = 0;
    }
    if (!any)
      return false;
  } else {
    memmove(s->trial + at, s->trial + at + length, (count - at - length) * sizeof *s->trial);
    count -= length;
  }
  if (!still_fails(s, count))
    return false;
  keep(s, count);
  return true;
}

static bool pass(shrinking *s, size_t length, bool zero) {
  bool any = false;
  for (size_t at = s->count > length ? s->count - length : 0; !out_of_patience(s); at = at > length ? at - length : 0) {
    if (at + length <= s->count)
      any = without(s, at, length, zero) || any;
    if (at == 0)
      break;
  }
  return any;
}

static bool lower(shrinking *s) {
  bool any = false;
  for (size_t at = 0; at < s->count && !out_of_patience(s); at++)
    for (uint32_t less = s->best[at] / 2; at < s->count && s->best[at] > 1; less = (less + s->best[at]) / 2) {
      memcpy(s->trial, s->best, s->count * sizeof *s->best);
      s->trial[at] = less;
      if (less >= s->best[at] || !still_fails(s, s->count))
        break;
      keep(s, s->count);
      any = true;
    }
  return any;
}

static void shrink(shrinking *s) {
  for (bool any = true; any && !out_of_patience(s);) {
    any = false;
    for (size_t length = s->count / 2; length > 0 && !out_of_patience(s); length /= 2) {
      any = pass(s, length, true) || any;
      any = pass(s, length, false) || any;
    }
    any = lower(s) || any;
  }
}

static void save(const shrinking *s, const char *path, const char *failure) {
  FILE *file = fopen(path, "w");
  if (!file)
    return;
  fprintf(file, "# %.*s\n", (int)strcspn(failure, "\n"), failure);
  for (size_t i = 0; i < s->count; i++)
    fprintf(file, "%u%c", s->best[i], i % 24 == 23 ? '\n' : ' ');
  fprintf(file, "\n");
  fclose(file);
}

static void show_failure(uint64_t seed, bool quick) {
  shrinking s = {.until = seconds() + (quick ? 5 : SHRINK_SECONDS)};
  char path[64];
  if (!fails(NULL, 0, seed, false)) {
    printf("seed %llu failed in its chunk and does not fail alone\n", (unsigned long long)seed);
    return;
  }
  printf("\nFAILED: seed %llu (tools/simulate --seed %llu --trace): %s", (unsigned long long)seed, (unsigned long long)seed,
         last_run->failure);
  s.best = calloc(400000, sizeof *s.best);
  s.trial = calloc(400000, sizeof *s.trial);
  s.count = last_run->count;
  kind_of(last_run->failure, s.kind);
  if (!s.count) {
    printf("it died before it could say what it had chosen; there is nothing to shrink\n");
  } else {
    memcpy(s.best, last_run->made, s.count * sizeof *s.best);
    shrink(&s);
    bool tells = fails(s.best, s.count, 0, true);
    snprintf(path, sizeof path, "failed-%llu.choices", (unsigned long long)seed);
    save(&s, path, last_run->failure);
    printf("shrunk to %zu choices in %u tries%s: tools/simulate --replay %s --trace\n", s.count, s.tries, tells ? "" : " (fails no more)",
           path);
  }
  free(s.best);
  free(s.trial);
}

/* ---- many seeds ---- */

static void summary(const counts *c, double took) {
  printf(
      "%llu seeds, %.0f a second: %llu crashes, %llu machine crashes, %llu freezes, %llu lost replies, %llu lost requests, %llu late deliveries, "
      "%llu refusals, %llu restarts of stores, %llu foreign writes, %llu clock jumps, %llu failed allocations, %llu disk errors, "
      "%llu full disks; %llu takeovers, %llu commits, %llu rollbacks, %llu undone, %llu held, %llu resumed, %llu conflicts named, %llu committed reads, "
      "%llu changes of stores, %llu documents not judged, %llu dry runs, %llu parts undone, %llu choices of persons, %llu named locks, "
      "%llu new keys, %llu given up, %llu reserves given free, %llu switches\n",
      (unsigned long long)c->seeds, (double)c->seeds / took, (unsigned long long)c->crashes, (unsigned long long)c->machine_crashes,
      (unsigned long long)c->freezes, (unsigned long long)c->lost_replies, (unsigned long long)c->lost_requests,
      (unsigned long long)c->late_deliveries, (unsigned long long)c->refusals, (unsigned long long)c->store_restarts,
      (unsigned long long)c->foreign_writes, (unsigned long long)c->clock_jumps, (unsigned long long)c->failed_allocations,
      (unsigned long long)c->disk_errors, (unsigned long long)c->full_disks, (unsigned long long)c->takeovers,
      (unsigned long long)c->commits, (unsigned long long)c->rollbacks, (unsigned long long)c->undone, (unsigned long long)c->held,
      (unsigned long long)c->resumed, (unsigned long long)c->conflicts, (unsigned long long)c->committed_reads,
      (unsigned long long)c->changes, (unsigned long long)c->excused, (unsigned long long)c->planned, (unsigned long long)c->parts_undone,
      (unsigned long long)c->resolved, (unsigned long long)c->locks, (unsigned long long)c->rotations, (unsigned long long)c->gave_up,
      (unsigned long long)c->reserves, (unsigned long long)c->switches);
}

typedef struct campaign {
  uint64_t next, end, failures;
  counts total;
  uint64_t failed[FAILURES_SHOWN];
} campaign;

static void note_failure(campaign *all, uint64_t seed, const char *failure) {
  printf("seed %llu: %s", (unsigned long long)seed, failure);
  fflush(stdout);
  if (all->failures < FAILURES_SHOWN)
    all->failed[all->failures] = seed;
  all->failures++;
}

static int many(uint64_t from, uint64_t count, unsigned jobs, unsigned most_failures, bool shrinks) {
  campaign all = {.next = from, .end = from + count};
  chunk *chunks = share(jobs);
  pid_t children[JOBS_LIMIT] = {0};
  uint64_t ends[JOBS_LIMIT] = {0};
  double began = seconds();
  for (unsigned running = 0;;) {
    for (unsigned j = 0; j < jobs; j++) {
      if (children[j] || all.next >= all.end || all.failures >= most_failures)
        continue;
      ends[j] = all.next + CHUNK < all.end ? all.next + CHUNK : all.end;
      children[j] = start_chunk(&chunks[j], all.next, ends[j]);
      all.next = ends[j];
      running++;
    }
    if (!running)
      break;
    int status;
    pid_t child = wait(&status);
    for (unsigned j = 0; j < jobs; j++) {
      if (children[j] != child)
        continue;
      chunk *c = &chunks[j];
      add_counts(&all.total, &c->counts);
      children[j] = 0;
      running--;
      bool died = !WIFEXITED(status) || WEXITSTATUS(status);
      if (died)
        note_failure(&all, c->at, "the program died\n");
      else if (c->failed)
        note_failure(&all, c->failed_seed, c->failure);
      if ((died || c->failed) && c->at + 1 < ends[j] && all.failures < most_failures) { /* the rest of its chunk */
        children[j] = start_chunk(c, c->at + 1, ends[j]);
        running++;
      }
    }
  }
  all.total.failed = all.failures;
  for (uint64_t i = 0; shrinks && i < all.failures && i < FAILURES_SHOWN; i++)
    show_failure(all.failed[i], false);
  summary(&all.total, seconds() - began);
  printf("%llu violations\n", (unsigned long long)all.failures);
  return all.failures ? 1 : 0;
}

/* ---- files of choices ---- */

static int replay(const char *path, bool tracing) {
  FILE *file = fopen(path, "r");
  uint32_t *values = calloc(400000, sizeof *values);
  size_t count = 0;
  char text[4096];
  if (!file || !values) {
    fprintf(stderr, "simulate: %s can't be read\n", path);
    return 2;
  }
  while (fgets(text, sizeof text, file))
    for (char *at = text, *end; *text != '#' && count < 400000; at = end) {
      unsigned long number = strtoul(at, &end, 10);
      if (end == at)
        break;
      values[count++] = (uint32_t)number;
    }
  fclose(file);
  bool failed = fails(values, count, 0, tracing);
  printf("%s: %s", path, failed ? last_run->failure : "no violation\n");
  free(values);
  return failed ? 1 : 0;
}

static int usage(void) {
  fprintf(stderr, "simulate --seeds N [--from M] [--jobs J] [--failures F] [--no-shrink]\n"
                  "simulate --seed N [--trace]\nsimulate --replay FILE… [--trace]\n");
  return 2;
}

int main(int argc, char **argv) {
  uint64_t seeds = 0, from = 1, seed = 0;
  unsigned jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN), failures = 1;
  bool tracing = false, one = false, shrinks = true;
  const char *files[256];
  size_t file_count = 0;
  for (int i = 1; i < argc; i++) {
    const char *word = i + 1 < argc ? argv[i + 1] : "0";
    if (!strcmp(argv[i], "--trace"))
      tracing = true;
    else if (!strcmp(argv[i], "--no-shrink"))
      shrinks = false;
    else if (!strcmp(argv[i], "--seeds"))
      seeds = strtoull(word, NULL, 10), i++;
    else if (!strcmp(argv[i], "--from"))
      from = strtoull(word, NULL, 10), i++;
    else if (!strcmp(argv[i], "--jobs"))
      jobs = (unsigned)strtoul(word, NULL, 10), i++;
    else if (!strcmp(argv[i], "--failures"))
      failures = (unsigned)strtoul(word, NULL, 10), i++;
    else if (!strcmp(argv[i], "--seed"))
      seed = strtoull(word, NULL, 10), one = true, i++;
    else if (!strcmp(argv[i], "--replay")) {
      while (i + 1 < argc && argv[i + 1][0] != '-' && file_count < 256)
        files[file_count++] = argv[++i];
    } else
      return usage();
  }
  if (!jobs || jobs > JOBS_LIMIT)
    jobs = 1;
  last_run = mmap(NULL, sizeof *last_run, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  prepare();
  int status = 0;
  for (size_t i = 0; i < file_count; i++)
    status = replay(files[i], tracing) ? 1 : status;
  if (one && tracing)
    return fails(NULL, 0, seed, true) ? 1 : 0;
  if (one)
    return many(seed, 1, 1, 1, shrinks);
  if (seeds)
    return many(from, seeds, jobs, failures, shrinks) ? 1 : status;
  return file_count ? status : usage();
}
