/* The way of an uploaded workbook, and what all submissions share: submit, run, end.
 *
 *   bytes -> rows -> pack (errors, or operations) -> journal -> stores
 *
 * Invariant: whatever happens, the bulk operation ends in a state of the journal, or its lease runs out and recovery ends it. */
#include <string.h>

#include "coordinator/internal.h"
#include "coordinator/run.h"
#include "coordinator/submit.h"
#include "model/text.h"
#include "sheet/report.h"

/* ---- what all submissions share ---- */

/* The same again gets the first one's result, so it waits for it, as long as it would wait for a lock. */
static aon_result wait_for_first(aon_run *run, aon_bulk *bulk, aon_error *error) {
  int64_t until = aon_monotonic_ms(run->env) + run->options->lock_wait_ms;
  aon_result result = AON_OK;
  while (!result && !aon_state_terminal(bulk->state) && bulk->state != AON_HELD && bulk->state > AON_QUEUED) {
    if (aon_monotonic_ms(run->env) >= until) {
      result =
          aon_fail(error, AON_BUSY, "still_running", "Bulk operation %s is %s; its result is not there yet. Look again with: aon show %s",
                   bulk->id, aon_state_name(bulk->state), bulk->id);
      if (error)
        snprintf(error->held_by, sizeof error->held_by, "%s", bulk->id);
      return result;
    }
    aon_sleep_ms(run->env, 100);
    result = aon_journal_get(run->journal, bulk->id, &run->arena, bulk, error);
  }
  return result;
}

aon_result aon_run_submit(aon_run *run, const aon_submit_what *what, const char *digest, aon_error *error) {
  char id[AON_UUID_LENGTH + 1];
  aon_process self = run->env->ops->process_self(run->env->context);
  if (run->options->id && !aon_uuid_valid(run->options->id))
    return aon_fail(error, AON_USAGE, "bad_id", "“%s” is no id: give a UUID in lower case, such as 0b7f6a52-3c1e-4d0a-9f55-8f4f6f1f2a10.",
                    run->options->id);
  aon_uuid_make(run->env, id);
  aon_submission submission = {.id = run->options->id ? run->options->id : id,
                               .idempotency_key = run->options->idempotency_key,
                               .digest = digest,
                               .organization = run->options->organization,
                               .user = run->options->user,
                               .kind = what->kind,
                               .source = what->source,
                               .pack = what->pack,
                               .undoes = what->undoes,
                               .state = what->state,
                               .options = what->options,
                               .file = what->file,
                               .file_bytes = what->file_bytes,
                               .dry_run = run->options->dry_run,
                               .hold_on_failure = run->options->hold_on_failure,
                               .test_mode = run->engine->config.test_mode,
                               .age_ms = run->instant_ms,
                               .worker = what->state == AON_QUEUED ? NULL : &self};
  aon_bulk bulk;
  bool existed;
  run->adopting_ms = aon_monotonic_ms(run->env);
  aon_result result = aon_journal_submit(run->journal, &submission, &run->arena, &bulk, &existed, error);
  if (result)
    return result;
  if (existed) {
    result = what->state == AON_QUEUED ? AON_OK : wait_for_first(run, &bulk, error);
    if (!result)
      result = aon_outcome_repeat(run->engine, run->journal, &bulk, run->outcome, error);
    return result ? result : AON_END;
  }
  aon_run_adopt(run, &bulk);
  return AON_OK;
}

aon_result aon_run_give_up(aon_run *run, aon_result result, const aon_error *failure, aon_error *error) {
  if (result == AON_FENCED || aon_state_terminal(run->state) || run->state == AON_HELD || run->state >= AON_EXECUTING) {
    if (error)
      *error = *failure;
    return result; /* the journal has its state; recovery goes on with what is open */
  }
  if (run->queued && aon_run_requeue(run, result, failure))
    return AON_OK;
  run->deaf = true;
  if (!run->outcome->failure.set && result != AON_REJECTED)
    aon_run_fail(run, failure, NULL);
  if (result == AON_BUSY)
    snprintf(run->outcome->failure.code, sizeof run->outcome->failure.code, "locked");
  aon_error second = AON_ERROR_INIT;
  aon_state to = result == AON_CANCELLED ? AON_CANCELLED_STATE : result == AON_REJECTED ? AON_REJECTED_STATE : AON_ROLLED_BACK;
  if (result == AON_REJECTED) {
    aon_problem problem = {.severity = AON_PROBLEM_ERROR, .code = failure->code, .sentence = failure->sentence};
    if (aon_problems_add(&run->outcome->problems, &problem, &second))
      aon_log(run->env, AON_LOG_DEBUG, "an error could not be kept: %s", second.sentence);
    run->outcome->state = AON_REJECTED_STATE;
  }
  bool discard = run->state <= AON_PLANNING && !aon_journal_discard(run->journal, run->id, run->epoch, &second);
  if (discard)
    run->operations = run->outcome->operations = 0;
  aon_result ended = aon_run_conclude(run, to, &second);
  if (ended) { /* the journal itself fails: the first failure is what a person must know */
    if (error)
      *error = *failure;
    return result;
  }
  bool told = result == AON_CANCELLED || result == AON_REJECTED || result == AON_BUSY || result == AON_PERMANENT || result == AON_TRANSIENT;
  if (!told && error)
    *error = *failure;
  return told ? AON_OK : result;
}

aon_result aon_run_close(aon_run *run, aon_result result, const aon_error *failure, aon_error *error) {
  if (result && run->id[0])
    result = aon_run_give_up(run, result, failure, error);
  else if (result && error)
    *error = *failure;
  aon_error second = AON_ERROR_INIT;
  aon_result told = run->id[0] ? aon_outcome_finish(run, &second) : AON_OK;
  if (told)
    aon_buffer_clear(&run->outcome->json); /* half a result is none */
  if (told && !result) {
    result = told;
    aon_error_prefix(&second, "Bulk operation %s is %s, but its result can't be shown: ", run->id, aon_state_name(run->state));
    if (error)
      *error = second;
  }
  aon_run_end(run);
  return result;
}

/* ---- import ---- */

typedef struct upload {
  aon_run *run;
  aon_pack *pack;
  aon_pack_job *job;
  aon_problems *problems;
  const aon_upload_what *what;
  aon_document_source source;
  bool validated;
} upload;

static void name_cells(void *context, const aon_operation *operation, const aon_error *why, char *cells, size_t room) {
  aon_pack_job_cells(context, operation, why, cells, room);
}

static aon_result parse_tick(void *context, uint64_t rows, aon_error *error) {
  aon_run *run = context;
  aon_run_progress(run, (int64_t)rows, 0);
  return aon_run_tick(run, error);
}

static aon_result reject(upload *up, aon_error *error) {
  aon_run *run = up->run;
  run->deaf = true;
  aon_problems_sort(up->problems);
  aon_result result = up->what->rejecting ? up->what->rejecting(up->what->context, error) : AON_OK;
  run->outcome->state = AON_REJECTED_STATE;
  return result ? result : aon_run_conclude(run, AON_REJECTED_STATE, error);
}

static aon_result validate(upload *up, aon_error *error) {
  aon_run *run = up->run;
  int64_t started = aon_monotonic_ms(run->env);
  aon_problems_clear(up->problems);
  aon_result result = run->state == AON_VALIDATING ? AON_OK : aon_run_move(run, AON_VALIDATING, NULL, error);
  if (!result)
    result = aon_pack_job_validate(up->job, error);
  run->outcome->timings.validate = (double)(aon_monotonic_ms(run->env) - started);
  return result;
}

/* Called anew for each try: what was read may have been changed by whom we waited for. */
static aon_result make_plan(void *context, aon_run *run, aon_planner *planner, aon_error *error) {
  upload *up = context;
  aon_result result = AON_OK;
  if (up->validated)
    result = validate(up, error);
  up->validated = true;
  if (!result && up->problems->error_count)
    return aon_fail(error, AON_REJECTED, "rejected", "The workbook has errors.");
  int64_t started = aon_monotonic_ms(run->env);
  if (!result)
    result = aon_run_move(run, AON_PLANNING, NULL, error);
  if (!result)
    result = aon_pack_job_collect(up->job, aon_planner_sink(planner), &run->outcome->counts, error);
  run->outcome->timings.plan = (double)(aon_monotonic_ms(run->env) - started) - run->outcome->timings.log;
  return result;
}

static aon_result plan_and_execute(upload *up, aon_error *error) {
  aon_run *run = up->run;
  aon_result result = validate(up, error);
  if (result)
    return result;
  up->validated = false; /* the first plan uses this validation */
  if (up->problems->error_count)
    return reject(up, error);
  aon_error failure = AON_ERROR_INIT;
  result = aon_plan_under_locks(run, false, make_plan, up, &failure);
  if (result == AON_REJECTED && up->problems->error_count)
    return reject(up, error);
  if (result) {
    if (error)
      *error = failure;
    return result;
  }
  aon_problems_sort(up->problems);
  aon_log(run->env, AON_LOG_INFO, "Total operations to execute: %lld", (long long)run->operations);
  if (run->outcome->dry_run)
    return aon_run_conclude(run, AON_PLANNED, error);
  result = aon_run_tick(run, error); /* the last moment at which stopping costs nothing */
  return result ? result : aon_run_execute(run, error);
}

const char *aon_base_name(const char *path) {
  size_t length = strlen(path);
  while (length > 1 && path[length - 1] == '/')
    length--;
  const char *at = path + length;
  while (at > path && at[-1] != '/')
    at--;
  return at;
}

aon_result aon_run_upload(aon_run *run, const aon_upload_what *what, aon_error *error) {
  aon_workbook *workbook;
  upload up = {.run = run, .pack = what->pack, .problems = &run->outcome->problems, .what = what, .source = aon_engine_source(run->engine)};
  int64_t started = aon_monotonic_ms(run->env);
  aon_result result = aon_workbook_open(run->env, what->path, run->engine->config.workbook, &workbook, error);
  if (result)
    return result;
  aon_pack_input input = {.workbook = workbook,
                          .file_name = what->name,
                          .organization = run->options->organization,
                          .user = run->options->user,
                          .bulk_id = run->id,
                          .instant_ms = run->instant_ms,
                          .source = &up.source,
                          .problems = up.problems,
                          .tick = parse_tick,
                          .tick_context = run};
  result = aon_pack_job_open(up.pack, &input, &up.job, error);
  run->outcome->timings.parse = (double)(aon_monotonic_ms(run->env) - started);
  if (!result) {
    run->cells = name_cells;
    run->cells_context = up.job;
    result = plan_and_execute(&up, error);
    run->cells = NULL;
  }
  aon_pack_job_close(up.job);
  aon_workbook_close(workbook);
  return result;
}

aon_result aon_upload_report(aon_engine *engine, const char *file, const char *report, const aon_outcome *outcome, aon_error *error) {
  const aon_problems *problems = &outcome->problems;
  return aon_report_write(engine->env, file, report, engine->config.workbook, problems->errors, problems->errors_kept, problems->warnings,
                          problems->warnings_kept, problems->error_count - problems->errors_kept, error);
}

void aon_upload_digest_texts(const char *pack, const aon_run_options *options, const char *texts[6]) {
  texts[0] = "import";
  texts[1] = pack;
  texts[2] = options->organization;
  texts[3] = options->dry_run ? "dry" : "real";
  texts[4] = options->hold_on_failure ? "hold" : "rollback";
  texts[5] = NULL;
}

aon_result aon_upload_look(aon_env *env, const char *file, aon_file_info *ret_info, aon_error *error) {
  aon_result result = env->ops->file_info(env->context, file, ret_info, error);
  return result || ret_info->exists ? result
                                    : aon_fail(error, AON_ENVIRONMENT, "no_such_file", "There is no file “%s”. Check the name.", file);
}

static aon_result digest_upload(aon_engine *engine, const char *file, const char *pack, const aon_run_options *options, char ret_digest[65],
                                aon_error *error) {
  const char *texts[6];
  aon_file_info info;
  aon_result result = aon_upload_look(engine->env, file, &info, error);
  if (result)
    return result;
  aon_upload_digest_texts(pack, options, texts);
  return info.is_directory ? aon_folder_digest(engine->env, file, texts, ret_digest, error)
                           : aon_content_digest(engine->env, file, texts, ret_digest, error);
}

aon_result aon_import(aon_engine *engine, aon_pack *pack, const char *file, const char *report, const aon_run_options *options,
                      aon_outcome *outcome, aon_error *error) {
  if (!options->organization || !*options->organization)
    return aon_fail(error, AON_USAGE, "no_organization", "Say for which organization: --org NAME, or organization in the configuration.");
  char digest[65];
  aon_journal *journal;
  aon_result result = digest_upload(engine, file, aon_pack_name(pack), options, digest, error);
  if (!result)
    result = aon_engine_journal(engine, true, &journal, error);
  if (!result)
    result = aon_housekeep(engine, options, error);
  if (result)
    return result;
  aon_log(engine->env, AON_LOG_INFO, "Starting bulk upload process...");
  aon_run run;
  aon_run_begin(&run, engine, journal, options, outcome);
  aon_submit_what what = {.kind = "import", .source = aon_base_name(file), .pack = aon_pack_name(pack), .state = AON_PARSING};
  aon_error failure = AON_ERROR_INIT;
  result = aon_run_submit(&run, &what, digest, &failure);
  if (result == AON_END) {
    aon_run_end(&run);
    return AON_OK;
  }
  aon_upload_what whole = {.pack = pack, .path = file, .name = what.source};
  if (!result)
    result = aon_run_upload(&run, &whole, &failure);
  result = aon_run_close(&run, result, &failure, error);
  if (report) { /* whatever the outcome; the first failure is the one to tell */
    aon_error second = AON_ERROR_INIT;
    aon_result written = aon_upload_report(engine, file, report, outcome, result ? &second : error);
    if (written && result)
      aon_log(engine->env, AON_LOG_WARNING, "No report was written: %s", second.sentence);
    result = result ? result : written;
  }
  return result;
}
