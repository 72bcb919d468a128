/* Bulk operations in the register: submitting, looking up, listing.
 * Invariant: an id, and a key within its organization, stand for one bulk operation for ever; the first one wins. */
#include <ctype.h>
#include <string.h>

#include "journal/postgresql_register.h"
#include "model/text.h"

#define TEXTS 13

static aon_result state_of(const char *id, const char *text, aon_state *ret_state, aon_error *error) {
  if (text && aon_state_parse(text, ret_state))
    return AON_OK;
  return aon_fail(error, AON_CORRUPT, "corrupt",
                  "Bulk operation %s has a state in the journal that there isn't. Restore the journal from a backup.", id);
}

aon_result aon_register_bulk_from(const aon_register_call *call, size_t statement, int row, aon_arena *arena, aon_bulk *ret_bulk,
                                  aon_error *error) {
  aon_bulk bulk = {0};
  const char **const texts[TEXTS] = {&bulk.id,      &bulk.idempotency_key, &bulk.digest, &bulk.organization, &bulk.user,
                                     &bulk.kind,    &bulk.source,          &bulk.pack,   &bulk.undoes,       &bulk.stores,
                                     &bulk.summary, &bulk.failure,         &bulk.options};
  aon_result result = AON_OK;
  int column = 0;
  for (; !result && column < TEXTS; column++)
    result = aon_register_copy(call, statement, row, column, arena, texts[column], error);
  if (result)
    return result;
  if (!aon_uuid_valid(bulk.id) || (bulk.undoes && !aon_uuid_valid(bulk.undoes)))
    return aon_fail(error, AON_CORRUPT, "corrupt",
                    "A bulk operation has an id in the journal that is none. Restore the journal from a backup.");
  snprintf(bulk.worker.boot_id, sizeof bulk.worker.boot_id, "%s", aon_register_text(call, statement, row, column++));
  result = state_of(bulk.id, aon_register_text(call, statement, row, column++), &bulk.state, error);
  bulk.epoch = aon_register_int(call, statement, row, column++);
  int64_t attempt = aon_register_int(call, statement, row, column++);
  if (attempt < 0 || attempt > AON_ATTEMPTS_MAX)
    return aon_fail(error, AON_CORRUPT, "corrupt",
                    "Bulk operation %s was tried %lld times, says the journal; there can be %d. Restore the journal from a backup.",
                    bulk.id, (long long)attempt, AON_ATTEMPTS_MAX);
  bulk.attempt = (uint32_t)attempt;
  bool *const flags[] = {&bulk.dry_run, &bulk.hold_on_failure, &bulk.test_mode, &bulk.cancel_asked};
  for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
    *flags[i] = aon_register_int(call, statement, row, column++) != 0;
  int64_t *const times[] = {&bulk.created_ms,     &bulk.changed_ms,    &bulk.finished_ms,    &bulk.age_ms,
                            &bulk.lease_until_ms, &bulk.hold_until_ms, &bulk.images_until_ms};
  for (size_t i = 0; i < sizeof times / sizeof *times; i++)
    *times[i] = aon_register_int(call, statement, row, column++);
  bulk.worker.pid = aon_register_int(call, statement, row, column++);
  bulk.worker.start_ticks = (uint64_t)aon_register_int(call, statement, row, column++);
  bulk.operations = aon_register_int(call, statement, row, column++);
  bulk.progress = aon_register_int(call, statement, row, column++);
  if (!result)
    *ret_bulk = bulk;
  return result;
}

aon_result aon_register_not_found(const char *id, aon_error *error) {
  return aon_fail(error, AON_USAGE, "not_found", "There is no bulk operation “%.64s” in the journal. `aon list` shows those that are.", id);
}

aon_result aon_register_get(void *state, const char *id, aon_arena *arena, aon_bulk *ret_bulk, aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_result result = aon_register_ask(state, &call, "looking up a bulk operation",
                                       "select " AON_REGISTER_COLUMNS " from aon_journal_bulk b where b.id = $1", error, "t", id);
  if (result)
    return result;
  return aon_register_rows(&call, 0) ? aon_register_bulk_from(&call, 0, 0, arena, ret_bulk, error) : aon_register_not_found(id, error);
}

/* ---- heads ---- */

#define HEAD "select number, log, epoch, age_ms, logged, holds, worker_boot <> '', state from aon_journal_bulk where id = $1"

void aon_register_head_add(aon_register_call *call, const char *id, bool lock) {
  aon_register_add(call, lock ? HEAD " for no key update" : HEAD, "t", id);
}

aon_result aon_register_head_read(const aon_register_call *call, size_t statement, const char *id, aon_register_head *ret_head,
                                  aon_error *error) {
  if (!aon_register_rows(call, statement))
    return aon_register_not_found(id, error);
  aon_register_head head = {.number = aon_register_int(call, statement, 0, 0),
                            .log = aon_register_int(call, statement, 0, 1),
                            .epoch = aon_register_int(call, statement, 0, 2),
                            .age_ms = aon_register_int(call, statement, 0, 3),
                            .logged = aon_register_int(call, statement, 0, 4),
                            .holds = aon_register_int(call, statement, 0, 5) != 0,
                            .worked_on = aon_register_int(call, statement, 0, 6) != 0};
  aon_result result = state_of(id, aon_register_text(call, statement, 0, 7), &head.state, error);
  if (!result)
    *ret_head = head;
  return result;
}

static aon_result of_bulk(aon_result result, const char *id, aon_error *error) {
  if (error)
    snprintf(error->bulk_id, sizeof error->bulk_id, "%s", id);
  return result;
}

aon_result aon_register_fence(aon_register *r, const aon_register_call *call, size_t statement, const char *id, int64_t epoch,
                              aon_register_head *ret_head, aon_error *error) {
  aon_register_head head;
  aon_result result = aon_register_head_read(call, statement, id, &head, error);
  if (result)
    return result;
  if (head.epoch != epoch)
    return of_bulk(aon_fail(error, AON_FENCED, "taken_over", "Another worker has taken over bulk operation %s; this one must stop.", id),
                   id, error);
  if (!strcmp(r->logged_id, id) && head.logged < r->logged)
    return of_bulk(
        aon_fail(error, AON_ENVIRONMENT, "journal_set_back",
                 "The journal's server went down and lost the end of the plan of bulk operation %s, or was set back to a backup. "
                 "What rests on the plan was not begun; run aon recover, then try again.",
                 id),
        id, error);
  *ret_head = head;
  return AON_OK;
}

aon_result aon_register_head_of(aon_register *r, const char *id, aon_register_head *ret_head, aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_register_head_add(&call, id, false);
  aon_result result = aon_register_run(r, &call, "looking up a bulk operation", error);
  return result ? result : aon_register_head_read(&call, 0, id, ret_head, error);
}

/* ---- submitting ---- */

static void add_insert(aon_register *r, aon_register_call *call, const aon_submission *submission, const char *token) {
  static const aon_process nobody;
  const aon_process *worker = submission->worker ? submission->worker : &nobody;
  aon_register_add(
      call,
      "insert into aon_journal_bulk (id, idempotency_key, digest, organization, \"user\", kind, source, pack, undoes, state, epoch, attempt,"
      " dry_run, hold_on_failure, test_mode, created_ms, changed_ms, age_ms, lease_until_ms, worker_boot, worker_pid, worker_ticks, token,"
      " options)"
      " select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::bigint, 1, $12::boolean, $13::boolean, $14::boolean, now, now,"
      " coalesce(nullif($15::bigint, 0), now), case when $11::bigint > 0 then now + $16::bigint else 0 end, $17, $18::bigint, $19::bigint, $20,"
      " $21 from aon_journal_now() as now where $22 = '' or current_setting('aon.file', true) = 'whole' on conflict do nothing",
      "ttttttttttiooo"
      "iitiittt",
      submission->id, submission->idempotency_key, submission->digest, submission->organization ? submission->organization : "",
      submission->user, submission->kind, submission->source, submission->pack, submission->undoes, aon_state_name(submission->state),
      (int64_t)(submission->worker ? 1 : 0), (int)submission->dry_run, (int)submission->hold_on_failure, (int)submission->test_mode,
      submission->age_ms, r->lease_ms, worker->boot_id, worker->pid, (int64_t)worker->start_ticks, token, submission->options,
      submission->file ? submission->file : "");
}

aon_result aon_register_submit(void *state, const aon_submission *submission, aon_arena *arena, aon_bulk *ret_bulk, bool *ret_existed,
                               aon_error *error) {
  aon_register *r = state;
  char token[AON_REGISTER_TOKEN + 1];
  if (!submission->id || !submission->digest || !*submission->id || strlen(submission->id) > 36)
    return aon_fail(error, AON_USAGE, "bad_id", "A bulk operation needs an id (a UUID in lower case) and a digest of its content.");
  AON_REGISTER_CALL call = {0};
  aon_register_token(r, token);
  aon_register_begin(&call, true);
  if (submission->file)
    aon_register_file_look(&call, submission->file, submission->file_bytes);
  add_insert(r, &call, submission, token);
  if (submission->file)
    aon_register_add(&call,
                     "update aon_journal_files f set bulk = b.number, role = 0, until_ms = 0 from aon_journal_bulk b where f.id = $1"
                     " and current_setting('aon.file') = 'whole' and b.id = $2 and b.token = $3",
                     "ttt", submission->file, submission->id, token);
  size_t at = call.count;
  aon_register_add(&call,
                   "select " AON_REGISTER_COLUMNS
                   " from aon_journal_bulk b where b.id = $1 or (b.organization = $2 and b.idempotency_key = $3)"
                   " order by b.id = $1 desc limit 1",
                   "ttt", submission->id, submission->organization ? submission->organization : "", submission->idempotency_key);
  aon_result result = aon_register_run(r, &call, "submitting a bulk operation", error);
  if (result)
    return result;
  aon_bulk bulk;
  if (!aon_register_rows(&call, at) && submission->file)
    return aon_register_file_incomplete(aon_register_int(&call, 2, 0, 0), submission->file_bytes, error);
  if (!aon_register_rows(&call, at))
    return aon_fail(error, AON_CORRUPT, "corrupt", "The journal did not keep a bulk operation that was submitted.");
  result = aon_register_bulk_from(&call, at, 0, arena, &bulk, error);
  if (!result && strcmp(bulk.digest, submission->digest)) {
    result = aon_fail(error, AON_USAGE, "idempotency_mismatch",
                      "This id or idempotency key was used before, for bulk operation %s, with other content. Use a new one.", bulk.id);
    if (error)
      snprintf(error->held_by, sizeof error->held_by, "%s", bulk.id);
  }
  if (result)
    return result;
  /* After a reply that was lost: is it the row that we made, and nobody's since? */
  *ret_existed = strcmp(aon_register_text(&call, at, 0, AON_REGISTER_COLUMN_TOKEN), token) || bulk.epoch != (submission->worker ? 1 : 0);
  *ret_bulk = bulk;
  return AON_OK;
}

/* ---- looking up ---- */

aon_result aon_register_find(void *state, const char *prefix, char ret_id[37], aon_error *error) {
  char low[38] = "", high[40];
  size_t length = strlen(prefix);
  if (length < 4 || length > 36)
    return aon_fail(error, AON_USAGE, "not_found", "“%.64s” is no id of a bulk operation: give at least its first 4 characters.", prefix);
  for (size_t i = 0; i < length; i++) {
    low[i] = (char)tolower((unsigned char)prefix[i]);
    if (!isxdigit((unsigned char)low[i]) && low[i] != '-')
      return aon_register_not_found(prefix, error);
  }
  snprintf(high, sizeof high, "%sg", low); /* after every UUID that begins so */
  AON_REGISTER_CALL call = {0};
  aon_result result = aon_register_ask(
      state, &call, "looking up a bulk operation",
      "select id from aon_journal_bulk where id collate \"C\" >= $1 and id collate \"C\" < $2 order by id collate \"C\" limit 2", error,
      "tt", low, high);
  if (result)
    return result;
  int rows = aon_register_rows(&call, 0);
  const char *id = rows ? aon_register_text(&call, 0, 0, 0) : NULL;
  if (!id)
    return aon_register_not_found(prefix, error);
  if (rows > 1 && strcmp(id, low))
    return aon_fail(error, AON_USAGE, "ambiguous", "“%s” begins more than one id: %s, %s, …. Give more of it.", prefix, id,
                    aon_register_text(&call, 0, 1, 0));
  snprintf(ret_id, 37, "%s", id);
  return AON_OK;
}

/* ---- listing ---- */

static aon_result list_sql(const aon_bulk_filter *filter, aon_buffer *sql, aon_error *error) {
  int at = 3; /* $1 before, $2 limit */
  aon_result result = aon_buffer_text(sql, "select " AON_REGISTER_COLUMNS " from aon_journal_bulk b where b.number < $1", error);
  if (!result && filter->organization)
    result = aon_buffer_format(sql, error, " and b.organization = $%d", at++);
  if (!result && filter->undoes)
    result = aon_buffer_format(sql, error, " and b.undoes = $%d", at++);
  if (!result && filter->query) {
    result = aon_buffer_format(sql, error,
                               " and (strpos(lower(coalesce(b.source, '')), lower($%d)) > 0 or"
                               " strpos(lower(coalesce(b.\"user\", '')), lower($%d)) > 0 or strpos(b.id, lower($%d)) = 1)",
                               at, at, at);
    at++;
  }
  for (size_t i = 0; !result && i < filter->state_count; i++)
    result = aon_buffer_format(sql, error, i ? ", '%s'" : " and b.state in ('%s'", aon_state_name(filter->states[i]));
  if (!result && filter->state_count)
    result = aon_buffer_text(sql, ")", error);
  return result ? result : aon_buffer_text(sql, " order by b.number desc limit $2", error);
}

/* One more value after those that every listing has. */
static void add_listing(aon_register_call *call, const char *sql, const aon_bulk_filter *filter, int64_t before, int64_t limit) {
  const char *more[3];
  size_t count = 0;
  if (filter->organization)
    more[count++] = filter->organization;
  if (filter->undoes)
    more[count++] = filter->undoes;
  if (filter->query)
    more[count++] = filter->query;
  static const char *const types[] = {"ii", "iit", "iitt", "iittt"};
  aon_register_add(call, sql, types[count], before, limit, count > 0 ? more[0] : NULL, count > 1 ? more[1] : NULL,
                   count > 2 ? more[2] : NULL);
}

static aon_result list_page(aon_register *r, const char *sql, const aon_bulk_filter *filter, int64_t *before, uint32_t want,
                            aon_bulk_each each, void *context, bool *ret_more, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  AON_REGISTER_CALL call = {0};
  add_listing(&call, sql, filter, *before, want);
  aon_result result = aon_register_run(r, &call, "listing bulk operations", error);
  int rows = result ? 0 : aon_register_rows(&call, 0);
  for (int row = 0; !result && row < rows; row++) {
    aon_bulk bulk;
    *before = aon_register_int(&call, 0, row, AON_REGISTER_COLUMN_NUMBER);
    result = aon_register_bulk_from(&call, 0, row, &arena, &bulk, error);
    if (!result)
      result = each(context, &bulk, error);
  }
  *ret_more = (uint32_t)rows == want;
  return result;
}

aon_result aon_register_list(void *state, const aon_bulk_filter *filter, aon_bulk_each each, void *context, aon_error *error) {
  static const aon_bulk_filter everything;
  aon_register *r = state;
  if (!filter)
    filter = &everything;
  int64_t before = INT64_MAX;
  if (filter->before_id) {
    aon_register_head head;
    aon_result found = aon_register_head_of(r, filter->before_id, &head, error);
    if (found)
      return found;
    before = head.number;
  }
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  aon_result result = list_sql(filter, &sql, error);
  bool more = true;
  for (uint32_t left = filter->limit ? filter->limit : UINT32_MAX; !result && more && left;) {
    uint32_t want = left < AON_REGISTER_PAGE ? left : AON_REGISTER_PAGE;
    result = list_page(r, sql.data, filter, &before, want, each, context, &more, error);
    left -= filter->limit ? want : 0;
  }
  return result == AON_END ? AON_OK : result;
}
