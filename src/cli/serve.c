/* aon serve --workers-only: workers that take uploads from the journal's queue, in processes of their own.
 *
 * Invariants: each line on standard output is one write, so that lines of several workers don't mix; a worker process that dies is started
 * again; the first signal lets workers finish, the second one ends them at once. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "coordinator/worker.h"
#include "model/document.h"
#include "model/text.h"

#define WORKERS_LIMIT 64
#define LOOK_EVERY_MS 100     /* at the worker processes */
#define RESTART_FIRST_MS 1000 /* pause before a dead worker is started again, doubled … */
#define RESTART_LONGEST_MS 30000
#define LIVED_WELL_MS 60000 /* … unless it lived so long */

/* ---- lines ---- */

static const char *kind_name(aon_work_kind kind) {
  static const char *const names[] = {"taken", "ended", "given_back", "left", "recovered", "trouble"};
  return names[kind];
}

static aon_result member(aon_buffer *line, const char *name, const char *text, aon_error *error) {
  aon_result result = aon_buffer_format(line, error, ",\"%s\":", name);
  if (!result)
    result = text ? aon_text_to_json(text, strlen(text), line, error) : aon_buffer_text(line, "null", error);
  return result;
}

static aon_result line_json(const aon_work_event *event, const char *instant, aon_buffer *line, aon_error *error) {
  aon_result result = aon_buffer_format(line, error, "{\"at\":\"%s\",\"event\":\"%s\",\"worker\":%lld", instant, kind_name(event->kind),
                                        (long long)getpid());
  const struct {
    const char *name, *value;
  } members[] = {{"bulkOperationId", event->id},
                 {"source", event->source},
                 {"pack", event->pack},
                 {"organization", event->organization},
                 {"message", event->why},
                 {"state", event->kind == AON_WORK_TROUBLE || event->state >= AON_STATE_COUNT ? NULL : aon_state_name(event->state)}};
  for (size_t i = 0; !result && i < sizeof members / sizeof *members; i++)
    result = member(line, members[i].name, members[i].value, error);
  if (!result)
    result = aon_buffer_format(line, error, ",\"operations\":%lld,\"errorCount\":%llu,\"ms\":%lld}\n",
                               event->outcome ? (long long)event->outcome->operations : 0LL,
                               event->outcome ? (unsigned long long)event->outcome->problems.error_count : 0ULL, (long long)event->took_ms);
  return result;
}

static aon_result line_text(const aon_work_event *event, const char *instant, aon_buffer *line, aon_error *error) {
  aon_result result = aon_buffer_format(line, error, "%s  %-10s", instant, kind_name(event->kind));
  if (!result && event->id)
    result = aon_buffer_format(line, error, "  %.8s", event->id);
  if (!result && event->source)
    result = aon_buffer_format(line, error, "  %s (%s, %s)", event->source, event->pack ? event->pack : "-",
                               event->organization ? event->organization : "-");
  if (!result && event->kind != AON_WORK_TAKEN && event->id && event->state < AON_STATE_COUNT)
    result = aon_buffer_format(line, error, "  %s", aon_state_name(event->state));
  if (!result && event->kind == AON_WORK_ENDED)
    result = aon_buffer_format(line, error, ", %lld changes, %llu errors, %lld ms", (long long)event->outcome->operations,
                               (unsigned long long)event->outcome->problems.error_count, (long long)event->took_ms);
  if (!result && event->why)
    result = aon_buffer_format(line, error, "  %s", event->why);
  for (size_t i = 0; i < line->length; i++) /* names of files come from outside: one event is one line, and none steers a terminal */
    if ((unsigned char)line->data[i] < 0x20 || line->data[i] == 0x7f)
      line->data[i] = ' ';
  return result ? result : aon_buffer_text(line, "\n", error);
}

static void hear(void *context, const aon_work_event *event) {
  cli *c = context;
  AON_BUFFER_CLEANUP aon_buffer line = {0};
  aon_error error = AON_ERROR_INIT;
  char instant[AON_INSTANT_LENGTH + 1];
  aon_instant_format(aon_now_ms(c->env), instant);
  if (cli_given(c, OPT_JSON) ? line_json(event, instant, &line, &error) : line_text(event, instant, &line, &error))
    return;
  fwrite(line.data, 1, line.length, stdout);
  fflush(stdout);
}

/* ---- one worker ---- */

static int work(cli *c) {
  aon_error error = AON_ERROR_INIT;
  aon_work_options options = {.user = c->run.user,
                              .organization = cli_value(c, OPT_ORG),
                              .folder = c->config.data,
                              .packs = c->config.packs,
                              .stop = c->run.interrupted,
                              .hear = hear,
                              .context = c};
  aon_result result = aon_work(c->engine, &options, NULL, &error);
  return result ? cli_fail(c, result, &error) : 0;
}

/* ---- several ---- */

typedef struct slot {
  pid_t pid; /* 0: none runs */
  int64_t started_ms, start_at_ms, pause_ms;
} slot;

typedef struct crew {
  cli *c;
  slot slots[WORKERS_LIMIT];
  size_t count;
  pid_t parent;
} crew;

/* In a group of its own: a Ctrl-C reaches the parent, which passes it on once. It ends with its parent, however that ends. */
static int be_worker(crew *all) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != all->parent)
    return 1;
  int status = work(all->c);
  aon_engine_close(all->c->engine);
  return status;
}

static void start(crew *all, slot *one) {
  int64_t now = aon_monotonic_ms(all->c->env);
  one->pid = fork();
  if (one->pid == 0) {
    int status = be_worker(all);
    fflush(NULL);
    _exit(status);
  }
  if (one->pid < 0) {
    fprintf(stderr, "aon: no worker could be started: %s\n", strerror(errno));
    one->pid = 0;
  }
  one->started_ms = now;
}

static void ended(crew *all, slot *one, int status) {
  int64_t now = aon_monotonic_ms(all->c->env);
  bool well = now - one->started_ms >= LIVED_WELL_MS;
  one->pause_ms = well || !one->pause_ms                   ? RESTART_FIRST_MS
                  : 2 * one->pause_ms < RESTART_LONGEST_MS ? 2 * one->pause_ms
                                                           : RESTART_LONGEST_MS;
  one->start_at_ms = now + one->pause_ms;
  if (!*all->c->run.interrupted)
    fprintf(stderr,
            WIFSIGNALED(status) ? "aon: worker %d was ended by signal %d; another one is started.\n"
                                : "aon: worker %d ended with status %d; another one is started.\n",
            (int)one->pid, WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
  one->pid = 0;
}

static size_t look_at_all(crew *all) {
  size_t alive = 0;
  for (size_t i = 0; i < all->count; i++) {
    int status;
    slot *one = &all->slots[i];
    if (one->pid && waitpid(one->pid, &status, WNOHANG) == one->pid)
      ended(all, one, status);
    if (!one->pid && !*all->c->run.interrupted && aon_monotonic_ms(all->c->env) >= one->start_at_ms)
      start(all, one);
    alive += one->pid != 0;
  }
  return alive;
}

static int lead(cli *c, size_t count) {
  crew all = {.c = c, .count = count, .parent = getpid()};
  bool passed_on = false;
  fflush(NULL);
  while (look_at_all(&all) || !*c->run.interrupted) {
    if (*c->run.interrupted && !passed_on) {
      for (size_t i = 0; i < count; i++)
        if (all.slots[i].pid)
          kill(all.slots[i].pid, SIGTERM);
      passed_on = true;
    }
    aon_sleep_ms(c->env, LOOK_EVERY_MS);
  }
  return 0;
}

static bool read_workers(cli *c, size_t *ret_count) {
  char *end;
  const char *text = cli_value(c, OPT_WORKERS);
  long count = text ? strtol(text, &end, 10) : 1;
  *ret_count = (size_t)count;
  if (!text || (!*end && end != text && count >= 1 && count <= WORKERS_LIMIT))
    return true;
  fprintf(stderr, "aon: --workers “%s”: give a number from 1 to %d.\nTry: aon serve --help\n", text, WORKERS_LIMIT);
  return false;
}

int cli_serve(cli *c) {
  int status = 1;
  size_t count;
  if (!cli_given(c, OPT_WORKERS_ONLY)) {
    fprintf(stderr, "aon: this program serves no HTTP yet: give --workers-only to work on queued uploads.\n");
    return 1;
  }
  if (!read_workers(c, &count) || !cli_prepare(c, &status) || !cli_make_data_folder(c, &status))
    return status;
  cli_second_signal_ends();
  return count == 1 ? work(c) : lead(c, count);
}
