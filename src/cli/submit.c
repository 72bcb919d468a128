/* The commands that begin a bulk operation or end one: import, apply, undo, rollback, resume, cancel, resolve, recover. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/cli.h"
#include "coordinator/worker.h"
#include "model/document.h"
#include "model/text.h"

#define LOCK_WAIT_LIMIT_S 86400

static int bad_option(cli *c, const char *option, const char *value, const char *wanted) {
  fprintf(stderr, "aon: --%s “%s”: %s\nTry: aon %s --help\n", option, value, wanted, c->command->name);
  return 1;
}

static bool read_lock_wait(cli *c, int *ret_status) {
  const char *text = cli_value(c, OPT_LOCK_WAIT);
  if (!text)
    return true;
  char *end;
  double seconds = strtod(text, &end);
  if (end == text || *end || seconds < 0 || seconds > LOCK_WAIT_LIMIT_S) {
    *ret_status = bad_option(c, "lock-wait", text, "give a number of seconds, 0 to refuse at once.");
    return false;
  }
  c->run.lock_wait_ms = (int64_t)(seconds * 1000);
  return true;
}

/* Configuration, data folder, and the options that all of them share. */
static bool begin(cli *c, bool make_folder, int *ret_status) {
  const char *failure = cli_value(c, OPT_ON_FAILURE);
  if (failure && strcmp(failure, "rollback") && strcmp(failure, "hold")) {
    *ret_status = bad_option(c, "on-failure", failure, "give rollback or hold.");
    return false;
  }
  if (cli_given(c, OPT_ID) && !aon_uuid_valid(cli_value(c, OPT_ID))) {
    *ret_status = bad_option(c, "id", cli_value(c, OPT_ID), "give a UUID in lower case.");
    return false;
  }
  if (!cli_prepare(c, ret_status) || !read_lock_wait(c, ret_status) || (make_folder && !cli_make_data_folder(c, ret_status)))
    return false;
  c->run.hold_on_failure = failure && !strcmp(failure, "hold");
  c->run.dry_run = cli_given(c, OPT_DRY_RUN);
  c->run.id = cli_value(c, OPT_ID);
  c->run.idempotency_key = cli_value(c, OPT_IDEMPOTENCY_KEY);
  return true;
}

static aon_result print_difference(void *context, const char *json, size_t length, aon_error *error) {
  (void)length;
  (void)error;
  cli_print_difference(context, json);
  return AON_OK;
}

static int end(cli *c, aon_outcome *outcome, aon_result result, const aon_error *error) {
  int status = aon_outcome_exit_status(outcome, result, error);
  if (outcome->json.length) {
    if (!result && outcome->state == AON_PLANNED && !cli_given(c, OPT_JSON)) {
      aon_error ignored = AON_ERROR_INIT;
      cli_progress_clear(c);
      if (aon_diff(c->engine, outcome->bulk_id, print_difference, c, &ignored))
        fprintf(stderr, "aon: %s\n", ignored.sentence);
    }
    cli_print_outcome(c, outcome);
  }
  if (result)
    status = cli_fail(c, result, error);
  aon_outcome_release(outcome);
  return status;
}

/* What was asked for was done: 0, whatever such a state would mean after an import. */
static int end_asked(cli *c, aon_outcome *outcome, aon_result result, const aon_error *error, aon_state wanted) {
  bool done = !result && (outcome->state == wanted || outcome->state == AON_ROLLED_BACK || outcome->state == AON_CANCELLED_STATE);
  int status = end(c, outcome, result, error);
  return done ? 0 : status;
}

static bool wanted_pack(cli *c, bool needed, aon_pack **ret_pack, int *ret_status) {
  *ret_pack = NULL;
  if (!cli_given(c, OPT_PACK) && needed) {
    *ret_status = 1;
    fprintf(stderr, "aon: say what the sheets mean: --pack NAME. aon pack list shows which there are.\n");
    return false;
  }
  return !cli_given(c, OPT_PACK) || cli_load_pack(c, cli_value(c, OPT_PACK), ret_pack, ret_status);
}

static bool ends_in(const char *name, const char *ending) {
  size_t length = strlen(name), tail = strlen(ending);
  return length >= tail && !strcasecmp(name + length - tail, ending);
}

/* The report keeps the macros of its workbook, and Excel opens those only under their own ending. */
static bool fitting_report(cli *c, const char *file, int *ret_status) {
  const char *report = cli_value(c, OPT_REPORT);
  if (!report || !ends_in(file, ".xlsm") || ends_in(report, ".xlsm"))
    return true;
  *ret_status = bad_option(c, "report", report, "a workbook with macros keeps them; give a name that ends in .xlsm.");
  return false;
}

/* Standard output is the id alone, for a script to keep. */
static int end_queued(cli *c, aon_outcome *outcome, aon_result result, const aon_error *error) {
  int status = result ? cli_fail(c, result, error) : aon_outcome_exit_status(outcome, AON_OK, NULL);
  cli_progress_clear(c);
  if (!result && cli_given(c, OPT_JSON))
    printf("%s\n", outcome->json.data);
  else if (!result)
    printf("%s\n", outcome->bulk_id);
  aon_outcome_release(outcome);
  return status;
}

int cli_import(cli *c) {
  int status = 1;
  aon_pack *pack;
  aon_error error = AON_ERROR_INIT;
  aon_outcome outcome = {0};
  const char *file = c->arguments[0];
  aon_file_info info;
  aon_result result = c->env->ops->file_info(c->env->context, file, &info, &error);
  if (!result && !info.exists)
    result = aon_fail(&error, AON_ENVIRONMENT, "no_such_file", "There is no file “%s”. Check the name.", file);
  if (result)
    return cli_fail(c, result, &error);
  if (cli_given(c, OPT_QUEUE) && cli_given(c, OPT_REPORT)) {
    fprintf(stderr, "aon: --queue: the worker keeps the report in the journal. Get it with: aon show ID --report FILE\n");
    return 1;
  }
  if (!fitting_report(c, file, &status) || !begin(c, false, &status) || !wanted_pack(c, true, &pack, &status))
    return status;
  if (!c->run.organization) {
    fprintf(stderr, "aon: say for which organization: --org NAME, or organization in the configuration.\n");
    aon_pack_close(pack);
    return 1;
  }
  if (cli_given(c, OPT_QUEUE) && cli_make_data_folder(c, &status)) {
    result = aon_import_queue(c->engine, pack, cli_value(c, OPT_PACK), file, &c->run, &outcome, &error);
    status = end_queued(c, &outcome, result, &error);
  } else if (!cli_given(c, OPT_QUEUE) && cli_make_data_folder(c, &status)) {
    result = aon_import(c->engine, pack, file, cli_value(c, OPT_REPORT), &c->run, &outcome, &error);
    status = end(c, &outcome, result, &error);
  }
  aon_pack_close(pack);
  return status;
}

int cli_apply(cli *c) {
  int status = 1;
  aon_pack *pack;
  aon_error error = AON_ERROR_INIT;
  aon_outcome outcome = {0};
  if (!begin(c, true, &status) || !wanted_pack(c, false, &pack, &status))
    return status;
  if (!c->run.organization)
    c->run.organization = "default";
  aon_result result = aon_apply(c->engine, pack, c->arguments[0], &c->run, &outcome, &error);
  aon_pack_close(pack);
  return end(c, &outcome, result, &error);
}

static bool read_range(cli *c, aon_undo_options *options, int *ret_status) {
  const char *text = cli_value(c, OPT_RANGE);
  options->first = -1;
  if (!text)
    return true;
  char *dash, *last;
  options->first = strtoll(text, &dash, 10);
  options->last = *dash == '-' ? strtoll(dash + 1, &last, 10) : -1;
  if (dash == text || *dash != '-' || last == dash + 1 || *last || options->first < 0 || options->last < options->first) {
    *ret_status = bad_option(c, "range", text, "give two operations counted from 0, such as 10-19.");
    return false;
  }
  return true;
}

static int take_back(cli *c, const char *id, aon_undo_options *options) {
  aon_error error = AON_ERROR_INIT;
  aon_outcome outcome = {0};
  options->sheet = cli_value(c, OPT_SHEET);
  options->keep_theirs = (const char *const *)c->values[OPT_KEEP_THEIRS];
  options->force = (const char *const *)c->values[OPT_FORCE];
  aon_result result = aon_undo(c->engine, id, options, &c->run, &outcome, &error);
  return end(c, &outcome, result, &error);
}

int cli_undo(cli *c) {
  int status = 1;
  char id[37];
  aon_undo_options whole = {.first = -1};
  if (!begin(c, false, &status) || !cli_find_id(c, c->arguments[0], id, &status))
    return status;
  return take_back(c, id, &whole);
}

int cli_rollback(cli *c) {
  int status = 1;
  char id[37];
  aon_error error = AON_ERROR_INIT;
  aon_outcome outcome = {0};
  aon_undo_options part;
  if (!read_range(c, &part, &status) || !begin(c, false, &status) || !cli_find_id(c, c->arguments[0], id, &status))
    return status;
  if (cli_given(c, OPT_RANGE) || cli_given(c, OPT_SHEET))
    return take_back(c, id, &part);
  aon_result result = aon_rollback(c->engine, id, &c->run, &outcome, &error);
  return end_asked(c, &outcome, result, &error, outcome.undoes[0] ? AON_COMMITTED : AON_ROLLED_BACK);
}

int cli_resume(cli *c) {
  int status = 1;
  char id[37];
  aon_error error = AON_ERROR_INIT;
  aon_outcome outcome = {0};
  if (!begin(c, false, &status) || !cli_find_id(c, c->arguments[0], id, &status))
    return status;
  aon_result result = aon_resume(c->engine, id, &c->run, &outcome, &error);
  return end(c, &outcome, result, &error);
}

int cli_cancel(cli *c) {
  int status = 1;
  char id[37];
  aon_error error = AON_ERROR_INIT;
  aon_outcome outcome = {0};
  if (!begin(c, false, &status) || !cli_find_id(c, c->arguments[0], id, &status))
    return status;
  aon_result result = aon_cancel(c->engine, id, &c->run, &outcome, &error);
  return end_asked(c, &outcome, result, &error, AON_CANCELLED_STATE);
}

/* "-": standard input, else a file; whole, up to the limit of a document. */
static aon_result read_whole(cli *c, const char *path, aon_buffer *text, aon_error *error) {
  char piece[4096];
  aon_file *file;
  size_t length;
  aon_result result = AON_OK;
  if (!strcmp(path, "-")) {
    while (!result && (length = fread(piece, 1, sizeof piece, stdin)) > 0)
      result = aon_buffer_append(text, piece, length, error);
    return result;
  }
  result = c->env->ops->file_open(c->env->context, path, AON_FILE_READ, &file, error);
  if (result)
    return result;
  do {
    result = c->env->ops->file_read(file, text->length, piece, sizeof piece, &length, error);
    if (!result)
      result = aon_buffer_append(text, piece, length, error);
  } while (!result && length == sizeof piece);
  c->env->ops->file_close(file);
  return result;
}

static bool read_merged(cli *c, const char *path, aon_buffer *text, int *ret_status) {
  aon_error error = AON_ERROR_INIT;
  text->limit = AON_DOCUMENT_BYTES_LIMIT;
  aon_result result = read_whole(c, path, text, &error);
  if (result)
    *ret_status = cli_fail(c, result, &error);
  return result == AON_OK;
}

int cli_resolve(cli *c) {
  int status = 1;
  char id[37];
  aon_error error = AON_ERROR_INIT;
  aon_outcome outcome = {0};
  AON_BUFFER_CLEANUP aon_buffer merged = {0};
  if (cli_given(c, OPT_KEEP_THEIRS) + cli_given(c, OPT_FORCE) + cli_given(c, OPT_MERGE) != 1) {
    fprintf(stderr, "aon: say what to do with the document: --keep-theirs, --force or --merge FILE.\n");
    return 1;
  }
  if (!begin(c, false, &status) || !cli_find_id(c, c->arguments[0], id, &status) ||
      (cli_given(c, OPT_MERGE) && !read_merged(c, cli_value(c, OPT_MERGE), &merged, &status)))
    return status;
  aon_choice choice = cli_given(c, OPT_MERGE) ? AON_MERGE : cli_given(c, OPT_FORCE) ? AON_FORCE : AON_KEEP_THEIRS;
  aon_result result = aon_resolve(c->engine, id, c->arguments[1], choice, merged.data, &c->run, &outcome, &error);
  bool settled = outcome.state == AON_ROLLED_BACK || outcome.state == AON_COMMITTED || outcome.state == AON_UNDONE;
  status = end(c, &outcome, result, &error);
  return !result && settled ? 0 : status;
}

static void print_recovered(void *context, const char *id, aon_state before, aon_state after, const char *sentence) {
  const cli *c = context;
  if (cli_given(c, OPT_JSON))
    return;
  printf("%.8s  %s -> %s  %s\n", id, before == AON_STATE_COUNT ? "?" : aon_state_name(before),
         after == AON_STATE_COUNT ? "?" : aon_state_name(after), sentence);
}

/* Recovery makes no journal: where there is none, somebody is at the wrong place. */
static aon_result journal_there(cli *c, aon_error *error) {
  const char *location = c->config.engine.journal.location;
  aon_file_info info = {0};
  aon_journal *journal;
  if (!aon_journal_on_server(location)) {
    aon_result result = c->env->ops->file_info(c->env->context, location, &info, error);
    if (result || info.exists)
      return result;
    return aon_fail(error, AON_ENVIRONMENT, "no_journal", "There is no journal “%s”: nothing to recover. Is --data right?", location);
  }
  aon_result result = aon_engine_journal(c->engine, false, &journal, error);
  if (!result && aon_journal_missing(journal))
    result = aon_fail(error, AON_ENVIRONMENT, "no_journal",
                      "There is no journal in the database of journal.url: nothing to recover. Is the URL right, and its search_path?");
  return result;
}

int cli_recover(cli *c) {
  int status = 1;
  char id[37];
  aon_error error = AON_ERROR_INIT;
  uint64_t recovered, open, person;
  if (!begin(c, false, &status))
    return status;
  aon_result result = journal_there(c, &error);
  if (result)
    return cli_fail(c, result, &error);
  if (c->argument_count && !cli_find_id(c, c->arguments[0], id, &status))
    return status;
  result = aon_recover(c->engine, c->argument_count ? id : NULL, &c->run, print_recovered, c, &recovered, &open, &person, &error);
  if (!result && !c->argument_count && !open)
    result = aon_take_late_back(c->engine, &c->run, &error);
  if (result)
    return cli_fail(c, result, &error);
  if (cli_given(c, OPT_JSON))
    printf("{\"recovered\":%llu,\"open\":%llu,\"needPerson\":%llu}\n", (unsigned long long)recovered, (unsigned long long)open,
           (unsigned long long)person);
  else if (!recovered && !open && !person)
    printf("Nothing to recover: every bulk operation is at its end.\n");
  return person ? 4 : open ? 5 : 0;
}
