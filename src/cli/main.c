/* aon: from arguments to exit status. Invariant: an interrupt asks for a cancellation; nothing here ends the process in the middle. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "aon/memory.h"
#include "cli/cli.h"
#include "wire/sqlite.h"

#define SPARE_BYTES ((size_t)16 << 20) /* not touched, so not taken from the machine, until memory runs out */

#define KEPT_FREE_BYTES (32 << 20) /* memory that was used is kept for the next batch: the system clears each page that it gives again */

extern char **environ;

static volatile sig_atomic_t interrupted, second_ends; /* a handler can be given no context: the two variables of the program */

static void interrupt(int signal_number) {
  if (interrupted && second_ends) { /* as it would without a handler */
    signal(signal_number, SIG_DFL);
    raise(signal_number);
  }
  interrupted = 1;
}

void cli_second_signal_ends(void) { second_ends = 1; }

static void catch_signals(void) {
  struct sigaction action = {.sa_handler = interrupt};
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
}

/* Images and passwords pass through this memory: it is not for core files. */
static void keep_private(void) {
  struct rlimit none = {0};
  setrlimit(RLIMIT_CORE, &none);
}

static void keep_memory(void) {
  mallopt(M_TRIM_THRESHOLD, KEPT_FREE_BYTES);
  mallopt(M_MMAP_THRESHOLD, KEPT_FREE_BYTES);
}

const char *cli_paint(const cli *c, const char *colour) { return !c->colour ? "" : colour ? colour : "\033[0m"; }

int cli_fail(cli *c, aon_result result, const aon_error *error) {
  cli_progress_clear(c);
  fprintf(stderr, "aon: %s\n", error->sentence[0] ? error->sentence : aon_result_name(result));
  if (error->held_by[0] && !strstr(error->sentence, error->held_by))
    fprintf(stderr, "Held by %s\n", error->held_by);
  aon_outcome none = {0};
  return aon_outcome_exit_status(&none, result, error);
}

bool cli_prepare(cli *c, int *ret_status) {
  aon_error error = AON_ERROR_INIT;
  aon_config_options options = {.config = cli_value(c, OPT_CONFIG),
                                .data = cli_value(c, OPT_DATA),
                                .organization = cli_value(c, OPT_ORG),
                                .user = cli_value(c, OPT_USER),
                                .program = c->program};
  aon_result result = aon_config_load(c->env, &options, environ, &c->config, &error);
  if (!result)
    result = aon_engine_open(c->env, &c->config.engine, &c->engine, &error);
  if (result) {
    *ret_status = cli_fail(c, result, &error);
    return false;
  }
  c->run = (aon_run_options){.organization = c->config.organization,
                             .user = c->config.user,
                             .interrupted = &interrupted,
                             .lock_wait_ms = 30000,
                             .progress = cli_progress,
                             .progress_context = c};
  return true;
}

bool cli_make_data_folder(cli *c, int *ret_status) {
  aon_error error = AON_ERROR_INIT;
  aon_result result = c->env->ops->folder_make(c->env->context, c->config.data, &error);
  if (result)
    *ret_status = cli_fail(c, result, &error);
  return result == AON_OK;
}

bool cli_load_pack(cli *c, const char *name, aon_pack **ret_pack, int *ret_status) {
  aon_error error = AON_ERROR_INIT;
  aon_result result = aon_pack_load(c->env, name, c->config.packs, &c->config.pack, ret_pack, &error);
  if (result)
    *ret_status = cli_fail(c, result, &error);
  return result == AON_OK;
}

bool cli_find_id(cli *c, const char *given, char ret_id[37], int *ret_status) {
  aon_error error = AON_ERROR_INIT;
  aon_journal *journal;
  aon_result result = aon_engine_journal(c->engine, false, &journal, &error);
  if (!result)
    result = aon_journal_find(journal, given, ret_id, &error);
  if (result)
    *ret_status = cli_fail(c, result, &error);
  return result == AON_OK;
}

int main(int argc, char **argv) {
  cli c = {0};
  int status = 1;
  aon_error error = AON_ERROR_INIT;
  aon_config_early early;
  keep_private();
  keep_memory();
  aon_sqlite_tune_process();
  catch_signals();
  if (!cli_parse(&c, argc, argv, &status)) {
    free(c.arguments);
    return status;
  }
  c.colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR") && getenv("TERM") && strcmp(getenv("TERM"), "dumb") != 0;
  aon_result result = aon_config_early_read(environ, &early, &error);
  if (!result)
    result = aon_spare_open(SPARE_BYTES, &error);
  if (!result)
    result = aon_env_open(early.log_level, early.crash_at, early.stop_at, &c.env, &error);
  if (result) {
    fprintf(stderr, "aon: %s\n", error.sentence);
    free(c.arguments);
    return 1;
  }
  status = c.command->run(&c);
  cli_progress_clear(&c);
  aon_engine_close(c.engine);
  aon_config_release(&c.config);
  aon_log(c.env, AON_LOG_DEBUG, "%llu calls to journal and stores", (unsigned long long)aon_env_steps(c.env));
  aon_env_close(c.env);
  free(c.arguments);
  if (fflush(stdout) || ferror(stdout)) {
    fprintf(stderr, "aon: standard output can't be written: %s\n", strerror(errno));
    return status ? status : 1;
  }
  return status;
}
