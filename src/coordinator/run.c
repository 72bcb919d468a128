/* The life of a run: lease, arrows, pauses, failures. Invariants stand in coordinator/run.h. */
#include "coordinator/run.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/spare.h"
#include "base/utf8.h"
#include "coordinator/internal.h"
#include "coordinator/transitions.h"
#include "model/text.h"

const char *aon_operation_name(aon_operation_kind kind) { return kind == AON_CREATE ? "create" : kind == AON_UPDATE ? "update" : "delete"; }

bool aon_result_retryable(aon_result result) { return result == AON_TRANSIENT; }

void aon_run_begin(aon_run *run, aon_engine *engine, aon_journal *journal, const aon_run_options *options, aon_outcome *outcome) {
  *run = (aon_run){.engine = engine, .env = engine->env, .journal = journal, .options = options, .outcome = outcome, .fail_at = -1};
  run->instant_ms = aon_now_ms(run->env);
  run->spare_given = aon_spare_given();
}

void aon_run_end(aon_run *run) {
  for (size_t i = 0; i < run->part_count; i++) {
    aon_part *part = &run->parts[i];
    if (part->transaction && part->shares_with == i)
      aon_store_abort(part->store, part->transaction);
    part->transaction = NULL;
  }
  aon_arena_release(&run->arena);
}

static void lease_from(aon_run *run, int64_t asked_ms) {
  run->lease_deadline_ms = asked_ms + run->engine->config.journal.lease_ms;
  run->renew_at_ms = asked_ms + run->engine->config.journal.lease_ms / 3;
}

void aon_run_adopt(aon_run *run, const aon_bulk *bulk) {
  memcpy(run->id, bulk->id, 37);
  run->epoch = bulk->epoch;
  run->state = bulk->state;
  run->attempt = bulk->attempt;
  run->operations = bulk->operations;
  run->has_lease = bulk->worker.boot_id[0] != 0;
  if (bulk->undoes)
    memcpy(run->undoes, bulk->undoes, 37);
  /* The journal counted from its own clock a moment ago; we count from before the call that brought us here. */
  lease_from(run, run->adopting_ms ? run->adopting_ms : aon_monotonic_ms(run->env));
  if (run->outcome) {
    memcpy(run->outcome->bulk_id, run->id, 37);
    memcpy(run->outcome->undoes, run->undoes, 37);
    run->outcome->state = run->state;
    run->outcome->dry_run = bulk->dry_run;
    run->outcome->operations = bulk->operations;
  }
}

void aon_run_progress(aon_run *run, int64_t done, int64_t total) {
  if (!run->options || !run->options->progress)
    return;
  aon_progress progress = {.state = run->state, .done = done, .total = total};
  run->options->progress(run->options->progress_context, &progress);
}

aon_result aon_run_event(aon_run *run, const char *what, const char *detail, aon_error *error) {
  aon_event event = {.bulk_id = run->id, .what = what, .detail = detail};
  event.who = run->options && run->options->user ? run->options->user : "aon";
  return aon_journal_event(run->journal, &event, error);
}

aon_result aon_run_move(aon_run *run, aon_state to, const aon_bulk_change *change, aon_error *error) {
  if (!aon_transition_find(run->state, to))
    return aon_fail(error, AON_USAGE, "bad_transition", "A bulk operation that is %s can't become %s.", aon_state_name(run->state),
                    aon_state_name(to));
  aon_bulk_change with = change ? *change : (aon_bulk_change){0};
  int64_t until = aon_now_ms(run->env) + run->engine->config.give_up_ms;
  if (to == AON_ROLLING_BACK || to == AON_COMMITTING) /* how long transient failures are borne */
    with.hold_until_ms = &until;
  /* An arrow does not renew the lease: only aon_journal_renew does. */
  aon_result result = aon_journal_move(run->journal, run->id, run->epoch, run->state, to, &with, error);
  if (result)
    return result;
  run->state = to;
  if (run->outcome)
    run->outcome->state = to;
  aon_log(run->env, AON_LOG_DEBUG, "bulk operation %s is %s", run->id, aon_state_name(to));
  aon_run_progress(run, 0, run->operations);
  return AON_OK;
}

static aon_result renew(aon_run *run, aon_error *error) {
  int64_t asked = aon_monotonic_ms(run->env), until;
  bool cancel = false;
  aon_result result = aon_journal_renew(run->journal, run->id, run->epoch, &until, &cancel, error);
  if (result)
    return result;
  lease_from(run, asked);
  if (cancel && !run->deaf)
    return aon_fail(error, AON_CANCELLED, "cancelled", "It was cancelled by a person.");
  return AON_OK;
}

aon_result aon_run_tick(aon_run *run, aon_error *error) {
  /* A worker that shall stop finishes what has begun to execute. */
  bool asked = run->options && run->options->interrupted && *run->options->interrupted;
  if (!run->deaf && asked && !(run->queued && run->state >= AON_EXECUTING))
    return aon_fail(error, AON_CANCELLED, "cancelled", "It was interrupted.");
  if (!run->deaf && run->spare_given != aon_spare_given()) /* it goes on spare memory: stop while that lasts */
    return aon_fail_memory(error);
  if (!run->has_lease || aon_monotonic_ms(run->env) < run->renew_at_ms)
    return AON_OK;
  return renew(run, error);
}

aon_result aon_run_guard(aon_run *run, const aon_part *part, aon_error *error) {
  aon_result result = aon_run_tick(run, error);
  if (result)
    return result;
  int64_t timeout = aon_store_configuration(part->store)->timeout_ms;
  if (!run->has_lease)
    return AON_OK; /* a log that is only read: nobody is to be kept from writing */
  if (timeout <= 0)
    timeout = AON_REQUEST_MS;
  if (aon_monotonic_ms(run->env) + timeout < run->lease_deadline_ms)
    return AON_OK;
  result = renew(run, error);
  if (result)
    return result;
  if (aon_monotonic_ms(run->env) + timeout < run->lease_deadline_ms)
    return AON_OK;
  return aon_fail(error, AON_FENCED, "lease_too_short", "The lease of this worker does not outlive a request of %s; nothing more is sent.",
                  part->name);
}

aon_result aon_run_pause(aon_run *run, uint32_t n, int64_t longest_ms, aon_error *error) {
  int64_t pause = AON_RETRY_FIRST_MS;
  for (uint32_t i = 0; i < n && pause < AON_RETRY_LONGEST_MS; i++)
    pause *= 2;
  if (pause > AON_RETRY_LONGEST_MS)
    pause = AON_RETRY_LONGEST_MS;
  uint32_t random;
  aon_random(run->env, &random, sizeof random);
  pause = pause / 2 + (int64_t)(random % (uint32_t)(pause / 2 + 1)); /* half fixed, half jitter */
  if (pause > longest_ms)
    pause = longest_ms;
  for (int64_t end = aon_monotonic_ms(run->env) + pause, left = pause; left > 0; left = end - aon_monotonic_ms(run->env)) {
    aon_result result = aon_run_tick(run, error);
    if (result)
      return result;
    aon_sleep_ms(run->env, left < 100 ? left : 100); /* short naps, so that a cancellation is heard soon */
  }
  return aon_run_tick(run, error);
}

/* As much of a name as there is room for. It goes out as JSON, so no character is cut in two. */
static void quote(char *to, size_t room, aon_text text) {
  snprintf(to, room, "%.*s", (int)text.length, text.data);
  utf8_mend(to, true);
}

void aon_run_fail(aon_run *run, const aon_error *error, const aon_operation *operation) {
  aon_failure *failure = &run->outcome->failure;
  if (failure->set)
    return;
  failure->set = true;
  failure->operation = operation ? operation->sequence : error->operation;
  memcpy(failure->code, error->code, sizeof failure->code);
  snprintf(failure->message, sizeof failure->message, "%s", error->sentence);
  memcpy(failure->held_by, error->held_by, sizeof failure->held_by);
  if (!operation)
    return;
  aon_text sheet = {operation->origin.sheet ? operation->origin.sheet : "", 0};
  sheet.length = strlen(sheet.data);
  quote(failure->store, sizeof failure->store, (aon_text){operation->collection->store, strlen(operation->collection->store)});
  quote(failure->collection, sizeof failure->collection, (aon_text){operation->collection->name, strlen(operation->collection->name)});
  quote(failure->document_id, sizeof failure->document_id, operation->id);
  quote(failure->sheet, sizeof failure->sheet, sheet);
  failure->row = operation->origin.row;
  if (run->cells)
    run->cells(run->cells_context, operation, error, failure->cell, sizeof failure->cell);
}

static aon_result read_pieces(aon_env *env, aon_file *file, crypto_generichash_state *state, aon_content_each each, void *context,
                              aon_error *error) {
  unsigned char *piece = malloc(AON_FILE_CHUNK_BYTES);
  size_t length = AON_FILE_CHUNK_BYTES;
  aon_result result = piece ? AON_OK : aon_fail_memory(error);
  for (uint64_t offset = 0; !result && length == AON_FILE_CHUNK_BYTES; offset += length) {
    result = env->ops->file_read(file, offset, piece, AON_FILE_CHUNK_BYTES, &length, error);
    if (result || !length)
      break;
    crypto_generichash_update(state, piece, length);
    if (each)
      result = each(context, piece, length, error);
  }
  free(piece);
  return result;
}

aon_result aon_content_read(aon_env *env, const char *path, const char *const *options, aon_content_each each, void *context,
                            char ret_hex[65], aon_error *error) {
  crypto_generichash_state state;
  unsigned char hash[32];
  aon_result result = AON_OK;
  crypto_generichash_init(&state, NULL, 0, 32);
  for (; *options; options++)
    crypto_generichash_update(&state, (const unsigned char *)*options, strlen(*options) + 1);
  if (path) {
    aon_file *file;
    result = env->ops->file_open(env->context, path, AON_FILE_READ, &file, error);
    if (result)
      return result;
    result = read_pieces(env, file, &state, each, context, error);
    env->ops->file_close(file);
  }
  crypto_generichash_final(&state, hash, sizeof hash);
  sodium_bin2hex(ret_hex, 65, hash, sizeof hash);
  return result;
}

aon_result aon_content_digest(aon_env *env, const char *path, const char *const *options, char ret_hex[65], aon_error *error) {
  return aon_content_read(env, path, options, NULL, NULL, ret_hex, error);
}
