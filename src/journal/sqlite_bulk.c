/* Bulk operations in the ledger: submitting, looking up, listing.
 * Invariant: an id, and a key within its organization, stand for one bulk operation for ever; the first one wins. */
#include <ctype.h>
#include <string.h>

#include "journal/sqlite_ledger.h"
#include "model/text.h"

/* In the order that bulk_from reads. */
#define COLUMNS                                                                                                                            \
  "id, idempotency_key, digest, organization, user, kind, source, pack, undoes, stores, summary, failure, options, worker_boot, state, "   \
  "epoch, attempt,"                                                                                                                        \
  " dry_run, hold_on_failure, test_mode, cancel_asked, created_ms, changed_ms, finished_ms, age_ms, lease_until_ms, hold_until_ms,"        \
  " images_until_ms, worker_pid, worker_ticks, operations, progress, number"
#define COLUMN_NUMBER 32
#define TEXTS 13

static aon_result bulk_from(sqlite3_stmt *statement, aon_arena *arena, aon_bulk *ret_bulk, aon_error *error) {
  aon_bulk bulk = {0};
  const char **const texts[TEXTS] = {&bulk.id,      &bulk.idempotency_key, &bulk.digest, &bulk.organization, &bulk.user,
                                     &bulk.kind,    &bulk.source,          &bulk.pack,   &bulk.undoes,       &bulk.stores,
                                     &bulk.summary, &bulk.failure,         &bulk.options};
  aon_result result = AON_OK;
  int column = 0;
  for (; !result && column < TEXTS; column++)
    result = aon_ledger_copy(statement, column, arena, texts[column], error);
  if (result)
    return result;
  snprintf(bulk.worker.boot_id, sizeof bulk.worker.boot_id, "%s", aon_ledger_text(statement, column++));
  const char *state = aon_ledger_text(statement, column++);
  if (!aon_uuid_valid(bulk.id) || (bulk.undoes && !aon_uuid_valid(bulk.undoes)))
    return aon_fail(error, AON_CORRUPT, "corrupt",
                    "A bulk operation has an id in the journal that is none. Restore the journal from a backup.");
  if (!state || !aon_state_parse(state, &bulk.state))
    return aon_fail(error, AON_CORRUPT, "corrupt",
                    "Bulk operation %s has a state in the journal that there isn't. Restore the journal from a backup.", bulk.id);
  bulk.epoch = sqlite3_column_int64(statement, column++);
  int64_t attempt = sqlite3_column_int64(statement, column++);
  if (attempt < 0 || attempt > AON_ATTEMPTS_MAX)
    return aon_fail(error, AON_CORRUPT, "corrupt",
                    "Bulk operation %s was tried %lld times, says the journal; there can be %d. Restore the journal from a backup.",
                    bulk.id, (long long)attempt, AON_ATTEMPTS_MAX);
  bulk.attempt = (uint32_t)attempt;
  bool *const flags[] = {&bulk.dry_run, &bulk.hold_on_failure, &bulk.test_mode, &bulk.cancel_asked};
  for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
    *flags[i] = sqlite3_column_int64(statement, column++) != 0;
  int64_t *const times[] = {&bulk.created_ms,     &bulk.changed_ms,    &bulk.finished_ms,    &bulk.age_ms,
                            &bulk.lease_until_ms, &bulk.hold_until_ms, &bulk.images_until_ms};
  for (size_t i = 0; i < sizeof times / sizeof *times; i++)
    *times[i] = sqlite3_column_int64(statement, column++);
  bulk.worker.pid = sqlite3_column_int64(statement, column++);
  bulk.worker.start_ticks = (uint64_t)sqlite3_column_int64(statement, column++);
  bulk.operations = sqlite3_column_int64(statement, column++);
  bulk.progress = sqlite3_column_int64(statement, column++);
  *ret_bulk = bulk;
  return AON_OK;
}

static aon_result not_found(const char *id, aon_error *error) {
  return aon_fail(error, AON_USAGE, "not_found", "There is no bulk operation “%.64s” in the journal. `aon list` shows those that are.", id);
}

aon_result aon_ledger_bulk(aon_ledger *ledger, const char *id, aon_arena *arena, aon_bulk *ret_bulk, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result = aon_ledger_query(ledger, "select " COLUMNS " from bulk where id = ?", &statement, error, "t", id);
  if (!result)
    result = aon_sqlite_step(ledger->database, statement, error);
  if (result == AON_END)
    return not_found(id, error);
  return result ? result : bulk_from(statement, arena, ret_bulk, error);
}

aon_result aon_ledger_get(void *state, const char *id, aon_arena *arena, aon_bulk *ret_bulk, aon_error *error) {
  return aon_ledger_bulk(state, id, arena, ret_bulk, error);
}

aon_result aon_ledger_head_of(aon_ledger *ledger, const char *id, aon_ledger_head *ret_head, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result =
      aon_ledger_query(ledger, "select number, epoch, age_ms, logged, holds, state from bulk where id = ?", &statement, error, "t", id);
  if (!result)
    result = aon_sqlite_step(ledger->database, statement, error);
  if (result == AON_END)
    return not_found(id, error);
  if (result)
    return result;
  aon_ledger_head head = {.number = sqlite3_column_int64(statement, 0),
                          .epoch = sqlite3_column_int64(statement, 1),
                          .age_ms = sqlite3_column_int64(statement, 2),
                          .logged = sqlite3_column_int64(statement, 3),
                          .holds = sqlite3_column_int64(statement, 4) != 0};
  if (!aon_state_parse(aon_ledger_text(statement, 5), &head.state))
    return aon_fail(error, AON_CORRUPT, "corrupt",
                    "Bulk operation %s has a state in the journal that there isn't. Restore the journal from a backup.", id);
  *ret_head = head;
  return AON_OK;
}

aon_result aon_ledger_fence(aon_ledger *ledger, const char *id, int64_t epoch, aon_ledger_head *ret_head, aon_error *error) {
  aon_ledger_head head;
  aon_result result = aon_ledger_head_of(ledger, id, &head, error);
  if (result)
    return result;
  if (head.epoch != epoch) {
    if (ledger->chain_bulk == head.number)
      aon_ledger_chain_drop(ledger); /* its log is another's now */
    result = aon_fail(error, AON_FENCED, "taken_over", "Another worker has taken over bulk operation %s; this one must stop.", id);
    if (error)
      snprintf(error->bulk_id, sizeof error->bulk_id, "%s", id);
    return result;
  }
  *ret_head = head;
  return AON_OK;
}

aon_result aon_ledger_id_of(aon_ledger *ledger, int64_t number, char ret_id[37], aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result = aon_ledger_query(ledger, "select id from bulk where number = ?", &statement, error, "i", number);
  if (!result)
    result = aon_sqlite_step(ledger->database, statement, error);
  if (result == AON_END)
    return aon_fail(error, AON_CORRUPT, "corrupt",
                    "The journal names a bulk operation that it doesn't have. Restore the journal from a backup.");
  if (!result)
    snprintf(ret_id, 37, "%s", aon_ledger_text(statement, 0));
  return result;
}

/* ---- submitting ---- */

typedef struct submit_call {
  const aon_submission *submission;
  aon_arena *arena;
  bool existed;
  char id[64];   /* of the one that there is now */
  aon_bulk bulk; /* read in the same transaction, or it could show the epoch of who claims it next */
} submit_call;

static aon_result look_for(aon_ledger *ledger, const char *sql, const char *a, const char *b, submit_call *call, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result = aon_ledger_query(ledger, sql, &statement, error, b ? "tt" : "t", a, b);
  if (!result)
    result = aon_sqlite_step(ledger->database, statement, error);
  if (result)
    return result == AON_END ? AON_OK : result;
  call->existed = true;
  snprintf(call->id, sizeof call->id, "%s", aon_ledger_text(statement, 0));
  if (!strcmp(aon_ledger_text(statement, 1), call->submission->digest))
    return AON_OK;
  result = aon_fail(error, AON_USAGE, "idempotency_mismatch",
                    "This id or idempotency key was used before, for bulk operation %s, with other content. Use a new one.", call->id);
  if (error)
    snprintf(error->held_by, sizeof error->held_by, "%s", call->id);
  return result;
}

static aon_result insert(aon_ledger *ledger, const aon_submission *submission, aon_error *error) {
  static const aon_process nobody;
  const aon_process *worker = submission->worker ? submission->worker : &nobody;
  int64_t now = aon_now_ms(ledger->env);
  return aon_ledger_run(
      ledger,
      "insert into bulk (id, idempotency_key, digest, organization, user, kind, source, pack, undoes, state, epoch, attempt, dry_run,"
      " hold_on_failure, test_mode, created_ms, changed_ms, age_ms, lease_until_ms, worker_boot, worker_pid, worker_ticks, options)"
      " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      error, "ttttttttttiiiiiiiitiit", submission->id, submission->idempotency_key, submission->digest,
      submission->organization ? submission->organization : "", submission->user, submission->kind, submission->source, submission->pack,
      submission->undoes, aon_state_name(submission->state), (int64_t)(submission->worker ? 1 : 0), (int64_t)submission->dry_run,
      (int64_t)submission->hold_on_failure, (int64_t)submission->test_mode, now, now, submission->age_ms ? submission->age_ms : now,
      submission->worker ? now + ledger->lease_ms : (int64_t)0, worker->boot_id, worker->pid, (int64_t)worker->start_ticks,
      submission->options);
}

static aon_result insert_with_file(aon_ledger *ledger, const aon_submission *submission, aon_error *error) {
  aon_journal_file file = {.id = submission->file, .role = AON_FILE_UPLOAD, .bytes = submission->file_bytes};
  aon_result result = insert(ledger, submission, error);
  return result || !submission->file
             ? result
             : aon_ledger_file_name(ledger, sqlite3_last_insert_rowid(aon_sqlite_handle(ledger->database)), &file, error);
}

static aon_result submit_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  submit_call *call = arguments;
  const aon_submission *submission = call->submission;
  call->existed = false;
  snprintf(call->id, sizeof call->id, "%s", submission->id);
  aon_result result = look_for(ledger, "select id, digest from bulk where id = ?", submission->id, NULL, call, error);
  if (!result && !call->existed && submission->idempotency_key)
    result = look_for(ledger, "select id, digest from bulk where organization = ? and idempotency_key = ?",
                      submission->organization ? submission->organization : "", submission->idempotency_key, call, error);
  if (!result && !call->existed)
    result = insert_with_file(ledger, submission, error);
  return result ? result : aon_ledger_bulk(ledger, call->id, call->arena, &call->bulk, error);
}

/* After a reply that was lost: is it the row that we made, and nobody's since? */
static bool still_ours(const aon_submission *submission, const aon_bulk *bulk) {
  const aon_process *worker = submission->worker;
  if (!worker)
    return bulk->epoch == 0;
  return bulk->epoch == 1 && bulk->worker.pid == worker->pid && bulk->worker.start_ticks == worker->start_ticks &&
         !strcmp(bulk->worker.boot_id, worker->boot_id);
}

aon_result aon_ledger_submit(void *state, const aon_submission *submission, aon_arena *arena, aon_bulk *ret_bulk, bool *ret_existed,
                             aon_error *error) {
  aon_ledger *ledger = state;
  if (!submission->id || !submission->digest || !*submission->id || strlen(submission->id) > 36)
    return aon_fail(error, AON_USAGE, "bad_id", "A bulk operation needs an id (a UUID in lower case) and a digest of its content.");
  submit_call call = {.submission = submission, .arena = arena};
  aon_error failure = AON_ERROR_INIT;
  aon_result result = aon_ledger_write(ledger, true, submit_work, &call, &failure);
  aon_error second = AON_ERROR_INIT;
  if (aon_ledger_doubtful(result) && !aon_ledger_bulk(ledger, call.id, arena, &call.bulk, &second)) { /* its reply was lost */
    call.existed = call.existed || !still_ours(submission, &call.bulk);
    result = AON_OK;
  }
  if (result) {
    if (error)
      *error = failure;
    return result;
  }
  *ret_bulk = call.bulk;
  *ret_existed = call.existed;
  return AON_OK;
}

/* ---- looking up ---- */

aon_result aon_ledger_find(void *state, const char *prefix, char ret_id[37], aon_error *error) {
  aon_ledger *ledger = state;
  char low[38] = "", high[40];
  size_t length = strlen(prefix);
  if (length < 4 || length > 36)
    return aon_fail(error, AON_USAGE, "not_found", "“%.64s” is no id of a bulk operation: give at least its first 4 characters.", prefix);
  for (size_t i = 0; i < length; i++) {
    low[i] = (char)tolower((unsigned char)prefix[i]);
    if (!isxdigit((unsigned char)low[i]) && low[i] != '-')
      return not_found(prefix, error);
  }
  snprintf(high, sizeof high, "%sg", low); /* after every UUID that begins so */
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result =
      aon_ledger_query(ledger, "select id from bulk where id >= ? and id < ? order by id limit 2", &statement, error, "tt", low, high);
  if (!result)
    result = aon_sqlite_step(ledger->database, statement, error);
  if (result)
    return result == AON_END ? not_found(prefix, error) : result;
  char id[37];
  snprintf(id, sizeof id, "%s", aon_ledger_text(statement, 0));
  if (strcmp(id, low)) {
    result = aon_sqlite_step(ledger->database, statement, error);
    if (!result)
      return aon_fail(error, AON_USAGE, "ambiguous", "“%s” begins more than one id: %s, %s, …. Give more of it.", prefix, id,
                      aon_ledger_text(statement, 0));
    if (result != AON_END)
      return result;
  }
  memcpy(ret_id, id, sizeof id);
  return AON_OK;
}

/* ---- listing ---- */

static aon_result list_sql(const aon_bulk_filter *filter, aon_buffer *sql, aon_error *error) {
  aon_result result = aon_buffer_text(sql, "select " COLUMNS " from bulk where number < ?", error);
  if (!result && filter->organization)
    result = aon_buffer_text(sql, " and organization = ?", error);
  if (!result && filter->undoes)
    result = aon_buffer_text(sql, " and undoes = ?", error);
  if (!result && filter->query)
    result = aon_buffer_text(sql,
                             " and (instr(lower(coalesce(source, '')), lower(?)) or instr(lower(coalesce(user, '')), lower(?))"
                             " or instr(id, lower(?)) = 1)",
                             error);
  for (size_t i = 0; !result && i < filter->state_count; i++)
    result = aon_buffer_text(sql, i ? ", ?" : " and state in (?", error);
  if (!result && filter->state_count)
    result = aon_buffer_text(sql, ")", error);
  return result ? result : aon_buffer_text(sql, " order by number desc limit ?", error);
}

static void list_bind(sqlite3_stmt *statement, const aon_bulk_filter *filter, int64_t before, uint32_t limit) {
  int at = 1;
  sqlite3_bind_int64(statement, at++, before);
  if (filter->organization)
    sqlite3_bind_text(statement, at++, filter->organization, -1, SQLITE_STATIC);
  if (filter->undoes)
    sqlite3_bind_text(statement, at++, filter->undoes, -1, SQLITE_STATIC);
  for (int i = 0; filter->query && i < 3; i++)
    sqlite3_bind_text(statement, at++, filter->query, -1, SQLITE_STATIC);
  for (size_t i = 0; i < filter->state_count; i++)
    sqlite3_bind_text(statement, at++, aon_state_name(filter->states[i]), -1, SQLITE_STATIC);
  sqlite3_bind_int64(statement, at, limit);
}

static aon_result list_page(aon_ledger *ledger, sqlite3_stmt *statement, aon_arena *arena, aon_bulk *bulks, size_t *ret_count,
                            int64_t *ret_last, aon_error *error) {
  aon_result result;
  size_t count = 0;
  while (!(result = aon_sqlite_step(ledger->database, statement, error))) {
    result = bulk_from(statement, arena, &bulks[count++], error);
    if (result)
      break;
    *ret_last = sqlite3_column_int64(statement, COLUMN_NUMBER);
  }
  sqlite3_reset(statement);
  *ret_count = count;
  return result == AON_END ? AON_OK : result;
}

static aon_result list_all(aon_ledger *ledger, sqlite3_stmt *statement, const aon_bulk_filter *filter, int64_t before, aon_bulk_each each,
                           void *context, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_bulk bulks[AON_LEDGER_PAGE];
  uint32_t left = filter->limit ? filter->limit : UINT32_MAX;
  while (left) {
    uint32_t want = left < AON_LEDGER_PAGE ? left : AON_LEDGER_PAGE;
    size_t count;
    list_bind(statement, filter, before, want);
    aon_result result = list_page(ledger, statement, &arena, bulks, &count, &before, error);
    for (size_t i = 0; !result && i < count; i++)
      result = each(context, &bulks[i], error);
    if (result)
      return result == AON_END ? AON_OK : result;
    if (count < want)
      break;
    left -= filter->limit ? want : 0;
    aon_arena_reset(&arena);
  }
  return AON_OK;
}

/* Sweeps and servers ask the same few things again and again: such a text is kept, and with it its statement. *ret_text: NULL if there is
 * no place for another one. */
static aon_result keep_listing(aon_ledger *ledger, const char *sql, const char **ret_text, aon_error *error) {
  *ret_text = NULL;
  for (size_t i = 0; !*ret_text && i < AON_LEDGER_LISTINGS; i++) {
    if (!ledger->listings[i] && !(ledger->listings[i] = strdup(sql)))
      return aon_fail_memory(error);
    if (!strcmp(ledger->listings[i], sql))
      *ret_text = ledger->listings[i];
  }
  return AON_OK;
}

aon_result aon_ledger_list(void *state, const aon_bulk_filter *filter, aon_bulk_each each, void *context, aon_error *error) {
  static const aon_bulk_filter everything;
  aon_ledger *ledger = state;
  if (!filter)
    filter = &everything;
  int64_t before = INT64_MAX;
  if (filter->before_id) {
    aon_ledger_head head;
    aon_result found = aon_ledger_head_of(ledger, filter->before_id, &head, error);
    if (found)
      return found;
    before = head.number;
  }
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  sqlite3_stmt *statement = NULL;
  const char *kept = NULL;
  aon_result result = list_sql(filter, &sql, error);
  if (!result)
    result = keep_listing(ledger, sql.data, &kept, error);
  if (!result)
    result = kept ? aon_sqlite_statement(ledger->database, kept, &statement, error)
                  : aon_sqlite_prepare(ledger->database, sql.data, &statement, error);
  if (!result)
    result = list_all(ledger, statement, filter, before, each, context, error);
  if (kept)
    aon_sqlite_done(&statement);
  else
    sqlite3_finalize(statement);
  return result;
}
