/* A worker: takes the oldest upload from the queue, compares, runs it, tells what became of it; recovers between. See worker.h,
 * docs/workers.md.
 *
 *   take (leased, still queued) -> able? -> file into the folder -> parsing … -> its end
 *                                   |no                              |a failure before `executing` that may pass
 *                                   `-- given back, passed over      `-- queued again, at most AON_REQUEUE_LIMIT times
 *
 * Invariant: whatever happens, the upload is at an end, queued, or left to recovery with its lease free or running out. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/internal.h"
#include "coordinator/queue.h"
#include "coordinator/submit.h"
#include "model/text.h"

#define HOUSEKEEP_EVERY_MS 20000
#define POLL_EVERY_MS 2000    /* where the journal can't say that something came */
#define WAIT_SLICE_MS 250     /* how soon a stop is heard */
#define LOOK_AGAIN_MS 60000   /* at uploads that were passed over */
#define TROUBLE_FIRST_MS 1000 /* pause after a failure of the journal, doubled … */
#define TROUBLE_LONGEST_MS 30000
#define AGAIN_FIRST_MS 5000 /* an upload given back after a failure waits so long, doubled each time */

typedef struct worker {
  aon_engine *engine;
  aon_env *env;
  aon_journal *journal;
  const aon_work_options *options;
  aon_run_options self;                       /* of recovery */
  int64_t housekept_ms, front_ms, trouble_ms; /* monotonic; 0: not yet */
  char passed[37]; /* the last one that this worker can't do: those before it are not looked at again until front_ms; "" */
  uint64_t taken;
} worker;

typedef struct job { /* one upload in this worker's hands */
  worker *w;
  aon_run run;
  aon_run_options options;
  aon_outcome outcome;
  aon_pack *pack;
  const aon_bulk *bulk;
  char *path, *report; /* in the run's arena */
  bool refused;        /* this worker can't do it, another may */
  int64_t started_ms;
} job;

static bool stopping(const worker *w) { return w->options->stop && *w->options->stop; }

static void tell(const worker *w, const aon_work_event *event) {
  if (w->options->hear)
    w->options->hear(w->options->context, event);
}

static void ignore(const worker *w, aon_result result, const aon_error *error) {
  if (result)
    aon_log(w->env, AON_LOG_DEBUG, "%s", error->sentence);
}

static void remove_file(const worker *w, const char *path) {
  aon_error error = AON_ERROR_INIT;
  ignore(w, path ? w->env->ops->file_remove(w->env->context, path, &error) : AON_OK, &error);
}

/* ---- back into the queue ---- */

/* Not for ever: give_up after its submission it ends. */
static bool too_late(const aon_run *run, const aon_bulk *bulk) {
  return aon_now_ms(run->env) - bulk->created_ms >= run->engine->config.give_up_ms;
}

/* state -> queued. What is logged already is taken out before, or where the state does not allow that, at once after; who takes it next
 * does it again. */
static aon_result move_back(aon_run *run, const char *failure, uint32_t attempt, int64_t not_before_ms, aon_error *error) {
  static const int64_t none = 0; /* operations: those of the plan go, and the next one counts from 0 again */
  aon_bulk_change change = {
      .failure = failure, .free_lease = true, .hold_until_ms = &not_before_ms, .attempt = &attempt, .operations = &none};
  bool logged = run->state == AON_LOGGED;
  aon_result result = logged ? AON_OK : aon_journal_discard(run->journal, run->id, run->epoch, error);
  if (!result)
    result = run->state == AON_QUEUED ? aon_journal_update(run->journal, run->id, run->epoch, &change, error)
                                      : aon_run_move(run, AON_QUEUED, &change, error);
  aon_error ignored = AON_ERROR_INIT;
  if (!result && logged && aon_journal_discard(run->journal, run->id, run->epoch, &ignored))
    aon_log(run->env, AON_LOG_DEBUG, "%s", ignored.sentence);
  return result;
}

static aon_result move_back_because(aon_run *run, const aon_error *why, uint32_t attempt, int64_t not_before_ms, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer failure = {0};
  aon_run_fail(run, why, NULL);
  if (why->kind == AON_BUSY)
    snprintf(run->outcome->failure.code, sizeof run->outcome->failure.code, "locked");
  aon_result result = aon_failure_to_json(&run->outcome->failure, &failure, error);
  return result ? result : move_back(run, failure.data, attempt, not_before_ms, error);
}

/* What may pass by itself, proved to have written nothing. */
static bool may_pass(aon_result result) {
  return result == AON_TRANSIENT || result == AON_ENVIRONMENT || result == AON_NO_MEMORY || result == AON_UNKNOWN;
}

bool aon_run_requeue(aon_run *run, aon_result result, const aon_error *failure) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_bulk bulk;
  aon_error error = AON_ERROR_INIT;
  bool stopped = result == AON_CANCELLED && run->options->interrupted && *run->options->interrupted;
  if (aon_journal_get(run->journal, run->id, &arena, &bulk, &error))
    return false;
  int64_t wait_ms = AGAIN_FIRST_MS << (bulk.attempt < 4 ? bulk.attempt - 1 : 3);
  aon_result moved = AON_END;
  if (stopped)
    moved = move_back(run, NULL, bulk.attempt, 0, &error);
  else if (result == AON_BUSY && !too_late(run, &bulk))
    moved = move_back_because(run, failure, bulk.attempt, aon_now_ms(run->env) + AGAIN_FIRST_MS, &error);
  else if (may_pass(result) && bulk.attempt <= AON_REQUEUE_LIMIT && !too_late(run, &bulk))
    moved = move_back_because(run, failure, bulk.attempt + 1, aon_now_ms(run->env) + wait_ms, &error);
  return moved == AON_OK;
}

aon_result aon_run_requeue_lost(aon_run *run, const aon_bulk *bulk, bool *ret_done, aon_error *error) {
  *ret_done = bulk->options && !bulk->cancel_asked && bulk->attempt <= AON_REQUEUE_LIMIT;
  return *ret_done ? move_back(run, NULL, bulk->attempt + 1, 0, error) : AON_OK;
}

/* ---- is it for this worker? ---- */

static aon_result other_store(const aon_queue_store *wanted, const aon_queue_options *here, aon_error *error) {
  for (size_t i = 0; i < here->store_count; i++) {
    const aon_queue_store *mine = &here->stores[i];
    if (strcmp(mine->name, wanted->name))
      continue;
    if (!strcmp(mine->kind, wanted->kind) && !strcmp(mine->place, wanted->place))
      return AON_OK;
    return aon_fail(
        error, AON_USAGE, "other_store",
        "A worker's store “%s” is another one (%s) than the submitter's (%s). Give both the same configuration; meanwhile it waits for "
        "another worker.",
        wanted->name, mine->kind, wanted->kind);
  }
  return aon_fail(
      error, AON_USAGE, "other_store",
      "A worker has no store “%s” where the submitter has one. Give both the same configuration; meanwhile it waits for another worker.",
      wanted->name);
}

/* The pack under the name or path that was given, else under its own name. */
static aon_result load_pack(job *j, const aon_queue_options *meant, aon_error *error) {
  const worker *w = j->w;
  aon_result result = aon_pack_load(w->env, meant->pack, w->options->packs, w->engine->config.pack, &j->pack, error);
  if (result == AON_ENVIRONMENT && strcmp(meant->pack, j->bulk->pack))
    result = aon_pack_load(w->env, j->bulk->pack, w->options->packs, w->engine->config.pack, &j->pack, error);
  if (result)
    aon_error_prefix(error, "A worker can't use the pack “%s”, so it waits for another worker: ", j->bulk->pack);
  return result;
}

static aon_result able(job *j, aon_queue_options *meant, aon_error *error) {
  aon_queue_options here = {0};
  aon_result result = aon_queue_read(j->bulk->options, &j->run.arena, meant, error);
  if (result)
    return result;
  j->refused = true;
  if (meant->format > AON_QUEUE_FORMAT)
    return aon_fail(error, AON_USAGE, "newer_upload",
                    "It was queued by a newer program than that of a worker. It waits for a newer worker.");
  result = load_pack(j, meant, error);
  if (!result)
    result = aon_queue_mean(j->w->engine, j->pack, &j->run.arena, &here, error);
  if (!result && strcmp(here.pack_digest, meant->pack_digest))
    result =
        aon_fail(error, AON_USAGE, "other_pack",
                 "A worker's pack “%s” is not the submitter's: its text is another one. Give both the same; meanwhile it waits for another "
                 "worker.",
                 j->bulk->pack);
  for (size_t i = 0; !result && i < meant->store_count; i++)
    result = other_store(&meant->stores[i], &here, error);
  j->refused = result != AON_OK;
  return result;
}

/* ---- its file ---- */

static aon_result fetch(job *j, aon_error *error) {
  const worker *w = j->w;
  aon_journal_file file;
  j->path = aon_arena_format(&j->run.arena, "%s/upload-%s-%lld", w->options->folder, j->run.id, (long long)j->run.epoch);
  j->report = aon_arena_format(&j->run.arena, "%s/report-%s-%lld", w->options->folder, j->run.id, (long long)j->run.epoch);
  if (!j->path || !j->report)
    return aon_fail_memory(error);
  aon_result result = aon_journal_file_find(w->journal, j->run.id, AON_FILE_UPLOAD, &j->run.arena, &file, error);
  if (result == AON_END)
    return aon_fail(error, AON_CORRUPT, "corrupt", "The uploaded file is not in the journal any more. Upload it again.");
  if (!result)
    result = w->env->ops->file_remove(w->env->context, j->path, error);
  return result ? result : aon_file_fetch(w->engine, w->journal, &file, j->path, &j->run, error);
}

static aon_result keep_report(job *j, aon_error *error) {
  static const char *const none[] = {NULL};
  worker *w = j->w;
  char file[37], digest[65];
  aon_journal_file report = {.id = file, .role = AON_FILE_REPORT, .until_ms = aon_now_ms(w->env) + w->engine->config.retention_ms};
  aon_result result = aon_upload_report(w->engine, j->path, j->report, &j->outcome, error);
  if (!result)
    result = aon_file_keep(w->engine, w->journal, j->report, none, &j->run, file, &report.bytes, digest, error);
  if (!result)
    result = aon_journal_file_attach(w->journal, j->run.id, j->run.epoch, &report, error);
  remove_file(w, j->report);
  return result;
}

/* A report that can't be made keeps nobody from being told what is wrong. */
static aon_result keep_report_if_possible(void *context, aon_error *error) {
  job *j = context;
  aon_error failure = AON_ERROR_INIT;
  aon_result result = keep_report(j, &failure);
  if (result == AON_FENCED) {
    if (error)
      *error = failure;
    return result;
  }
  if (result)
    aon_log(j->w->env, AON_LOG_WARNING, "No report of bulk operation %s is kept: %s", j->run.id, failure.sentence);
  return AON_OK;
}

/* ---- one upload ---- */

static aon_result begin_work(job *j, aon_error *error) {
  aon_queue_options meant;
  aon_run *run = &j->run;
  if (j->bulk->cancel_asked)
    return aon_fail(error, AON_CANCELLED, "cancelled", "It was cancelled by a person.");
  aon_result result = able(j, &meant, error);
  if (!result && run->epoch > 1) /* what an earlier worker may have left of its log */
    result = aon_journal_discard(run->journal, run->id, run->epoch, error);
  if (!result)
    result = fetch(j, error);
  if (result)
    return result;
  j->options.lock_wait_ms = meant.lock_wait_ms;
  static const aon_bulk_change no_failure = {.failure = ""};
  return aon_run_move(run, AON_PARSING, &no_failure, error);
}

static aon_result run_upload(job *j, aon_error *error) {
  aon_result result = begin_work(j, error);
  if (result)
    return result;
  aon_work_event event = {.kind = AON_WORK_TAKEN,
                          .id = j->run.id,
                          .source = j->bulk->source,
                          .pack = j->bulk->pack,
                          .organization = j->bulk->organization,
                          .state = j->run.state};
  tell(j->w, &event);
  j->w->taken++;
  aon_upload_what what = {.pack = j->pack, .path = j->path, .name = j->bulk->source, .rejecting = keep_report_if_possible, .context = j};
  result = aon_run_upload(&j->run, &what, error);
  if (!result && j->outcome.problems.warning_count && !j->outcome.problems.error_count)
    result = keep_report_if_possible(j, error);
  return result;
}

/* Left where it is, for another worker. */
static aon_result refuse(job *j, const aon_error *why, aon_error *error) {
  memcpy(j->w->passed, j->run.id, 37);
  aon_result result = move_back_because(&j->run, why, j->bulk->attempt, 0, error);
  aon_run_end(&j->run);
  return result;
}

/* The worker lives on, so nobody would find its lease free before it runs out. */
static void free_lease(job *j) {
  static const aon_bulk_change free_again = {.free_lease = true};
  aon_error error = AON_ERROR_INIT;
  if (!aon_state_terminal(j->run.state) && j->run.state != AON_QUEUED)
    ignore(j->w, aon_journal_update(j->w->journal, j->run.id, j->run.epoch, &free_again, &error), &error);
}

static void tell_end(job *j, aon_result result, const aon_error *failure) {
  const aon_failure *kept = &j->outcome.failure;
  bool back = j->run.state == AON_QUEUED, ended = aon_state_terminal(j->run.state) || j->run.state == AON_HELD;
  const char *why = result ? failure->sentence : kept->set ? kept->message : back && stopping(j->w) ? "This worker is stopping." : NULL;
  aon_work_event event = {.kind = result == AON_FENCED ? AON_WORK_LEFT
                                  : ended              ? AON_WORK_ENDED
                                  : back               ? AON_WORK_GIVEN_BACK
                                                       : AON_WORK_LEFT,
                          .id = j->run.id,
                          .source = j->bulk->source,
                          .pack = j->bulk->pack,
                          .organization = j->bulk->organization,
                          .state = j->run.state,
                          .outcome = &j->outcome,
                          .took_ms = aon_monotonic_ms(j->w->env) - j->started_ms,
                          .why = why};
  tell(j->w, &event);
}

static void work_on(worker *w, const aon_bulk *bulk, int64_t asked_ms) {
  aon_error failure = AON_ERROR_INIT, told = AON_ERROR_INIT;
  uint64_t freed;
  job j = {.w = w, .bulk = bulk, .started_ms = asked_ms};
  j.options = (aon_run_options){.organization = bulk->organization,
                                .user = bulk->user,
                                .dry_run = bulk->dry_run,
                                .hold_on_failure = bulk->hold_on_failure,
                                .interrupted = w->options->stop};
  aon_run_begin(&j.run, w->engine, w->journal, &j.options, &j.outcome);
  j.run.adopting_ms = asked_ms;
  j.run.queued = true;
  aon_run_adopt(&j.run, bulk);
  aon_result result = run_upload(&j, &failure);
  bool late = j.refused && too_late(&j.run, bulk);
  remove_file(w, j.path);
  if (j.refused && !late)
    result = refuse(&j, &failure, &told);
  else
    result = aon_run_close(&j.run, late ? AON_PERMANENT : result, &failure, &told);
  if (result != AON_FENCED)
    free_lease(&j);
  tell_end(&j, result, &told);
  aon_pack_close(j.pack);
  aon_outcome_release(&j.outcome);
  ignore(w, aon_journal_sweep_files(w->journal, &freed, &told), &told);
}

/* ---- between uploads ---- */

static void hear_recovered(void *context, const char *id, aon_state before, aon_state after, const char *sentence) {
  (void)before;
  aon_work_event event = {.kind = AON_WORK_RECOVERED, .id = id, .state = after, .why = sentence};
  tell(context, &event);
}

/* Files of killed workers: upload-ID-EPOCH and report-ID-EPOCH, whose lease in that epoch is over. */
static bool left_behind(const worker *w, const char *name) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_error error = AON_ERROR_INIT;
  aon_bulk bulk;
  char id[37];
  if ((strncmp(name, "upload-", 7) && strncmp(name, "report-", 7)) || strlen(name) < 7 + 36 + 2 || name[7 + 36] != '-')
    return false;
  snprintf(id, sizeof id, "%.36s", name + 7);
  if (!aon_uuid_valid(id) || aon_journal_get(w->journal, id, &arena, &bulk, &error))
    return false;
  return bulk.epoch != strtoll(name + 7 + 36 + 1, NULL, 10) || !bulk.worker.boot_id[0] ||
         w->env->ops->process_dead(w->env->context, &bulk.worker);
}

static bool look_at_name(void *context, const char *name) {
  const worker *w = context;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  if (left_behind(w, name))
    remove_file(w, aon_arena_format(&arena, "%s/%s", w->options->folder, name));
  return true;
}

static aon_result housekeep(worker *w, aon_error *error) {
  aon_result result = aon_housekeep_heard(w->engine, &w->self, hear_recovered, w, error);
  if (!result)
    result = w->env->ops->folder_list(w->env->context, w->options->folder, look_at_name, w, error);
  w->housekept_ms = aon_monotonic_ms(w->env);
  return result;
}

/* AON_END: nothing to take. */
static aon_result take_one(worker *w, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_process self = w->env->ops->process_self(w->env->context);
  int64_t now = aon_monotonic_ms(w->env);
  if (w->passed[0] && now - w->front_ms >= LOOK_AGAIN_MS && !w->options->until_empty)
    w->passed[0] = 0;
  if (!w->passed[0])
    w->front_ms = now;
  aon_take what = {.worker = &self, .organization = w->options->organization, .after = w->passed[0] ? w->passed : NULL};
  aon_bulk bulk;
  aon_result result = aon_journal_take(w->journal, &what, &arena, &bulk, error);
  if (result)
    return result;
  work_on(w, &bulk, now);
  return AON_OK;
}

static aon_result wait_for_more(worker *w, int64_t longest_ms, aon_error *error) {
  aon_result result = AON_OK;
  for (int64_t until = aon_monotonic_ms(w->env) + longest_ms, left = longest_ms; !result && left > 0 && !stopping(w);
       left = until - aon_monotonic_ms(w->env)) {
    int64_t slice = left < WAIT_SLICE_MS ? left : WAIT_SLICE_MS, before = aon_monotonic_ms(w->env);
    result = aon_journal_wait(w->journal, slice, error);
    if (aon_monotonic_ms(w->env) - before < slice)
      break; /* something was written */
  }
  return result;
}

/* The journal can't be reached, or its disk is full: told, and tried again. */
static void bear(worker *w, const aon_error *error) {
  aon_work_event event = {.kind = AON_WORK_TROUBLE, .why = error->sentence};
  tell(w, &event);
  aon_journal_close(w->engine->journal); /* perhaps a new connection helps */
  w->engine->journal = NULL;
  w->trouble_ms = !w->trouble_ms ? TROUBLE_FIRST_MS : 2 * w->trouble_ms < TROUBLE_LONGEST_MS ? 2 * w->trouble_ms : TROUBLE_LONGEST_MS;
  for (int64_t until = aon_monotonic_ms(w->env) + w->trouble_ms; !stopping(w) && aon_monotonic_ms(w->env) < until;)
    aon_sleep_ms(w->env, WAIT_SLICE_MS);
}

static aon_result round_once(worker *w, aon_error *error) {
  aon_result result = aon_engine_journal(w->engine, true, &w->journal, error);
  if (!result && (!w->housekept_ms || aon_monotonic_ms(w->env) - w->housekept_ms >= HOUSEKEEP_EVERY_MS))
    result = housekeep(w, error);
  if (!result && !stopping(w))
    result = take_one(w, error);
  if (result != AON_END || w->options->until_empty)
    return result;
  return wait_for_more(w, POLL_EVERY_MS, error);
}

aon_result aon_work(aon_engine *engine, const aon_work_options *options, uint64_t *ret_taken, aon_error *error) {
  worker w = {.engine = engine, .env = engine->env, .options = options, .self = {.user = options->user}};
  aon_result result = aon_engine_journal(engine, true, &w.journal, error);
  if (result)
    return result;
  while (!stopping(&w) && result != AON_END) {
    aon_error failure = AON_ERROR_INIT;
    result = round_once(&w, &failure);
    if (result && result != AON_END && options->until_empty) {
      if (error)
        *error = failure;
      return result;
    }
    if (result && result != AON_END)
      bear(&w, &failure);
    else
      w.trouble_ms = 0;
  }
  if (ret_taken)
    *ret_taken = w.taken;
  return AON_OK;
}
