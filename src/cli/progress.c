/* Progress on standard error, on a terminal only: what it is doing, how far, how fast, how much longer.
 * Invariant: drawn at most eight times a second, and wiped before anything else is printed. */
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

#define DRAW_EVERY_MS 125
#define BAR_CELLS 24

static const char *doing(aon_state state) {
  switch (state) {
  case AON_PARSING:
    return "Reading";
  case AON_VALIDATING:
    return "Checking";
  case AON_PLANNING:
    return "Planning";
  case AON_EXECUTING:
    return "Writing";
  case AON_PREPARING:
  case AON_COMMITTING:
    return "Finishing";
  case AON_ROLLING_BACK:
    return "Putting back";
  case AON_UNDOING:
    return "Taking back";
  default:
    return "Working";
  }
}

static void draw_bar(int64_t done, int64_t total) {
  int full = total > 0 ? (int)(done * BAR_CELLS / total) : 0;
  fputc('[', stderr);
  for (int i = 0; i < BAR_CELLS; i++)
    fputc(i < full ? '#' : '.', stderr);
  fputc(']', stderr);
}

void cli_progress(void *context, const aon_progress *progress) {
  cli *c = context;
  if (!isatty(STDERR_FILENO) || c->env->log_level >= AON_LOG_INFO)
    return;
  int64_t now = aon_monotonic_ms(c->env);
  if (progress->state != c->drawn_state || !c->drawn_from_ms) {
    c->drawn_state = progress->state;
    c->drawn_from_ms = now;
  } else if (now - c->drawn_ms < DRAW_EVERY_MS) {
    return;
  }
  c->drawn_ms = now;
  c->drawn = true;
  double seconds = (double)(now - c->drawn_from_ms) / 1000;
  double rate = seconds > 0.2 ? (double)progress->done / seconds : 0;
  fprintf(stderr, "\r\033[K%s ", doing(progress->state));
  if (progress->total > 0)
    draw_bar(progress->done, progress->total);
  if (progress->done > 0)
    fprintf(stderr, " %lld", (long long)progress->done);
  if (progress->total > 0)
    fprintf(stderr, " of %lld", (long long)progress->total);
  if (rate > 0)
    fprintf(stderr, ", %.0f a second", rate);
  if (rate > 0 && progress->total > progress->done)
    fprintf(stderr, ", %.0f s left", (double)(progress->total - progress->done) / rate);
  fflush(stderr);
}

void cli_progress_clear(cli *c) {
  if (c->drawn)
    fprintf(stderr, "\r\033[K");
  c->drawn = false;
}
