/* Bulk operations in the docket: submitting, looking up, listing.
 * Invariant: an id, and a key within its organization, stand for one bulk operation for ever; the first one wins. */
#include <ctype.h>
#include <string.h>

#include "journal/mongodb_docket.h"
#include "model/text.h"

static aon_result state_of(const char *id, const char *text, aon_state *ret_state, aon_error *error) {
  if (text && aon_state_parse(text, ret_state))
    return AON_OK;
  return aon_fail(error, AON_CORRUPT, "corrupt",
                  "Bulk operation %s has a state in the journal that there isn't. Restore the journal from a backup.", id);
}

static aon_result worker_and_times(const aon_docket_row *row, aon_bulk *bulk, aon_error *error) {
  const char *boot = aon_docket_text(row, "worker_boot");
  snprintf(bulk->worker.boot_id, sizeof bulk->worker.boot_id, "%s", boot ? boot : "");
  bulk->worker.pid = aon_docket_int(row, "worker_pid");
  bulk->worker.start_ticks = (uint64_t)aon_docket_int(row, "worker_ticks");
  struct {
    int64_t *number;
    const char *name;
  } numbers[] = {{&bulk->epoch, "epoch"},
                 {&bulk->created_ms, "created_ms"},
                 {&bulk->changed_ms, "changed_ms"},
                 {&bulk->finished_ms, "finished_ms"},
                 {&bulk->age_ms, "age_ms"},
                 {&bulk->lease_until_ms, "lease_until_ms"},
                 {&bulk->hold_until_ms, "hold_until_ms"},
                 {&bulk->images_until_ms, "images_until_ms"},
                 {&bulk->operations, "operations"},
                 {&bulk->progress, "progress"}};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    *numbers[i].number = aon_docket_int(row, numbers[i].name);
  int64_t attempt = aon_docket_int(row, "attempt");
  if (attempt < 0 || attempt > AON_ATTEMPTS_MAX)
    return aon_fail(error, AON_CORRUPT, "corrupt",
                    "Bulk operation %s was tried %lld times, says the journal; there can be %d. Restore the journal from a backup.",
                    bulk->id, (long long)attempt, AON_ATTEMPTS_MAX);
  bulk->attempt = (uint32_t)attempt;
  return AON_OK;
}

aon_result aon_docket_bulk_from(const aon_docket_row *row, aon_arena *arena, aon_bulk *ret_bulk, aon_error *error) {
  aon_bulk bulk = {0};
  struct {
    const char **text, *name;
  } texts[] = {{&bulk.id, "_id"},          {&bulk.idempotency_key, "idempotency_key"},
               {&bulk.digest, "digest"},   {&bulk.organization, "organization"},
               {&bulk.user, "user"},       {&bulk.kind, "kind"},
               {&bulk.source, "source"},   {&bulk.pack, "pack"},
               {&bulk.undoes, "undoes"},   {&bulk.stores, "stores"},
               {&bulk.summary, "summary"}, {&bulk.failure, "failure"},
               {&bulk.options, "options"}};
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < sizeof texts / sizeof *texts; i++)
    result = aon_docket_copy(row, texts[i].name, arena, texts[i].text, error);
  if (result)
    return result;
  if (!bulk.id || !bulk.digest || !aon_uuid_valid(bulk.id) || (bulk.undoes && !aon_uuid_valid(bulk.undoes)))
    return aon_fail(error, AON_CORRUPT, "corrupt",
                    "A bulk operation has an id in the journal that is none, or no digest. Restore the journal from a backup.");
  bulk.dry_run = aon_docket_int(row, "dry_run") != 0;
  bulk.hold_on_failure = aon_docket_int(row, "hold_on_failure") != 0;
  bulk.test_mode = aon_docket_int(row, "test_mode") != 0;
  bulk.cancel_asked = aon_docket_int(row, "cancel_asked") != 0;
  result = state_of(bulk.id, aon_docket_text(row, "state"), &bulk.state, error);
  if (!result)
    result = worker_and_times(row, &bulk, error);
  if (!result)
    *ret_bulk = bulk;
  return result;
}

aon_result aon_docket_not_found(const char *id, aon_error *error) {
  return aon_fail(error, AON_USAGE, "not_found", "There is no bulk operation “%.64s” in the journal. `aon list` shows those that are.", id);
}

static aon_result look_up(aon_docket *d, const char *id, aon_docket_rows *ret_rows, aon_error *error) {
  aon_result result =
      aon_docket_find(d, AON_DOCKET_BULK, BCON_NEW("_id", BCON_UTF8(id)), NULL, ret_rows, "looking up a bulk operation", error);
  return result || ret_rows->count ? result : aon_docket_not_found(id, error);
}

aon_result aon_docket_get(void *state, const char *id, aon_arena *arena, aon_bulk *ret_bulk, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  aon_result result = look_up(state, id, &rows, error);
  return result ? result : aon_docket_bulk_from(&rows.rows[0], arena, ret_bulk, error);
}

/* ---- heads ---- */

aon_result aon_docket_head_from(const aon_docket_row *row, const char *id, aon_docket_head *ret_head, aon_error *error) {
  const char *boot = aon_docket_text(row, "worker_boot");
  aon_docket_head head = {.number = aon_docket_int(row, "number"),
                          .log = aon_docket_int(row, "log"),
                          .epoch = aon_docket_int(row, "epoch"),
                          .age_ms = aon_docket_int(row, "age_ms"),
                          .logged = aon_docket_int(row, "logged"),
                          .names = aon_docket_int(row, "names"),
                          .holds = aon_docket_int(row, "holds") != 0,
                          .worked_on = boot && *boot};
  aon_result result = state_of(id, aon_docket_text(row, "state"), &head.state, error);
  if (!result)
    *ret_head = head;
  return result;
}

aon_result aon_docket_head_of(aon_docket *d, const char *id, aon_docket_head *ret_head, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  aon_result result = look_up(d, id, &rows, error);
  return result ? result : aon_docket_head_from(&rows.rows[0], id, ret_head, error);
}

static aon_result of_bulk(aon_result result, const char *id, aon_error *error) {
  if (error)
    snprintf(error->bulk_id, sizeof error->bulk_id, "%s", id);
  return result;
}

aon_result aon_docket_fence(aon_docket *d, const char *id, int64_t epoch, aon_docket_head *ret_head, aon_error *error) {
  aon_result result = aon_docket_head_of(d, id, ret_head, error);
  if (result)
    return result;
  if (ret_head->epoch != epoch)
    return of_bulk(aon_fail(error, AON_FENCED, "taken_over", "Another worker has taken over bulk operation %s; this one must stop.", id),
                   id, error);
  if (!strcmp(d->logged_id, id) && ret_head->logged < d->logged)
    return of_bulk(
        aon_fail(error, AON_ENVIRONMENT, "journal_set_back",
                 "The journal lost the end of the plan of bulk operation %s: it was set back to a backup, or its servers to a state "
                 "that they had before. What rests on the plan was not begun; run aon recover, then try again.",
                 id),
        id, error);
  return AON_OK;
}

aon_result aon_docket_touch(aon_docket *d, const char *id, int64_t epoch, bson_t *set, int64_t *ret_writes, aon_error *error) {
  bson_t *change = BCON_NEW("$inc", "{", "writes", BCON_INT64(1), "}");
  int64_t writes = 0;
  if (set && !bson_empty(set))
    BSON_APPEND_DOCUMENT(change, "$set", set);
  aon_docket_end(&set);
  aon_result result = aon_docket_raise(d, AON_DOCKET_BULK, BCON_NEW("_id", BCON_UTF8(id), "epoch", BCON_INT64(epoch)), change, false,
                                       "writes", &writes, error);
  if (ret_writes)
    *ret_writes = writes;
  return result;
}

/* ---- submitting ---- */

typedef struct submit_call {
  const aon_submission *submission;
  char token[AON_DOCKET_TOKEN + 1];
  aon_arena *arena;
  aon_bulk bulk;
  bool existed;
} submit_call;

static const char *organization_of(const aon_submission *s) { return s->organization ? s->organization : ""; }

static bson_t *document_of(aon_docket *d, const submit_call *call, int64_t number, int64_t log) {
  static const aon_process nobody;
  const aon_submission *s = call->submission;
  const aon_process *worker = s->worker ? s->worker : &nobody;
  int64_t now = d->now_ms;
  return BCON_NEW("_id", BCON_UTF8(s->id), "number", BCON_INT64(number), "idempotency_key", BCON_UTF8(s->idempotency_key), "digest",
                  BCON_UTF8(s->digest), "organization", BCON_UTF8(organization_of(s)), "user", BCON_UTF8(s->user), "kind",
                  BCON_UTF8(s->kind), "source", BCON_UTF8(s->source), "pack", BCON_UTF8(s->pack), "undoes", BCON_UTF8(s->undoes), "state",
                  BCON_UTF8(aon_state_name(s->state)), "epoch", BCON_INT64(s->worker ? 1 : 0), "attempt", BCON_INT64(1), "dry_run",
                  BCON_BOOL(s->dry_run), "hold_on_failure", BCON_BOOL(s->hold_on_failure), "test_mode", BCON_BOOL(s->test_mode),
                  "cancel_asked", BCON_BOOL(false), "holds", BCON_BOOL(false), "log", BCON_INT64(log), "logged", BCON_INT64(0), "names",
                  BCON_INT64(0), "created_ms", BCON_INT64(now), "changed_ms", BCON_INT64(now), "finished_ms", BCON_INT64(0), "age_ms",
                  BCON_INT64(s->age_ms ? s->age_ms : now), "lease_until_ms", BCON_INT64(s->worker ? now + d->lease_ms : 0), "hold_until_ms",
                  BCON_INT64(0), "images_until_ms", BCON_INT64(0), "worker_boot", BCON_UTF8(worker->boot_id), "worker_pid",
                  BCON_INT64(worker->pid), "worker_ticks", BCON_INT64((int64_t)worker->start_ticks), "operations", BCON_INT64(0),
                  "progress", BCON_INT64(0), "token", BCON_UTF8(call->token), "options", BCON_UTF8(s->options), "writes", BCON_INT64(0));
}

/* The one that has the id, or else the key. */
static aon_result there_already(aon_docket *d, const aon_submission *s, aon_docket_rows *rows, aon_error *error) {
  aon_result result =
      aon_docket_find(d, AON_DOCKET_BULK, BCON_NEW("_id", BCON_UTF8(s->id)), NULL, rows, "submitting a bulk operation", error);
  if (result || rows->count || !s->idempotency_key)
    return result;
  return aon_docket_find(d, AON_DOCKET_BULK,
                         BCON_NEW("organization", BCON_UTF8(organization_of(s)), "idempotency_key", BCON_UTF8(s->idempotency_key)), NULL,
                         rows, "submitting a bulk operation", error);
}

static aon_result submit_new(aon_docket *d, submit_call *call, aon_error *error) {
  const aon_submission *s = call->submission;
  int64_t number = 0, log = 0, there = 0, owner = 0;
  bool whole = true;
  aon_result result = s->file ? aon_docket_file_look(d, s->file, s->file_bytes, &whole, &there, &owner, error) : AON_OK;
  if (!result && !whole)
    return aon_docket_file_incomplete(there, s->file_bytes, error);
  if (!result)
    result = aon_docket_next(d, "bulk", &number, error);
  if (!result)
    result = aon_docket_next(d, "logs", &log, error);
  if (!result)
    result = aon_docket_insert(d, AON_DOCKET_BULK, document_of(d, call, number, log), error);
  if (!result && s->file)
    result = aon_docket_update(
        d, AON_DOCKET_FILES, BCON_NEW("_id", BCON_UTF8(s->file)),
        BCON_NEW("$set", "{", "bulk", BCON_INT64(number), "role", BCON_INT64(AON_FILE_UPLOAD), "until_ms", BCON_INT64(0), "}"), false, NULL,
        error);
  return result;
}

static aon_result submit_work(aon_docket *d, void *arguments, aon_error *error) {
  submit_call *call = arguments;
  AON_DOCKET_ROWS rows = {0};
  aon_result result = there_already(d, call->submission, &rows, error);
  if (!result && !rows.count) {
    result = submit_new(d, call, error);
    if (!result)
      result = there_already(d, call->submission, &rows, error);
  }
  if (!result)
    result = aon_docket_bulk_from(&rows.rows[0], call->arena, &call->bulk, error);
  if (result)
    return result;
  const char *token = aon_docket_text(&rows.rows[0], "token");
  /* After a reply that was lost: is it what we made, and nobody's since? */
  call->existed = !token || strcmp(token, call->token) || call->bulk.epoch != (call->submission->worker ? 1 : 0);
  return AON_OK;
}

aon_result aon_docket_submit(void *state, const aon_submission *submission, aon_arena *arena, aon_bulk *ret_bulk, bool *ret_existed,
                             aon_error *error) {
  submit_call call = {.submission = submission, .arena = arena};
  if (!submission->id || !submission->digest || !*submission->id || strlen(submission->id) > 36)
    return aon_fail(error, AON_USAGE, "bad_id", "A bulk operation needs an id (a UUID in lower case) and a digest of its content.");
  aon_docket_token(state, call.token);
  aon_result result = aon_docket_write(state, "submitting a bulk operation", submit_work, &call, error);
  if (!result && strcmp(call.bulk.digest, submission->digest)) {
    result =
        aon_fail(error, AON_USAGE, "idempotency_mismatch",
                 "This id or idempotency key was used before, for bulk operation %s, with other content. Use a new one.", call.bulk.id);
    if (error)
      snprintf(error->held_by, sizeof error->held_by, "%s", call.bulk.id);
  }
  if (result)
    return result;
  *ret_existed = call.existed;
  *ret_bulk = call.bulk;
  return AON_OK;
}

/* ---- looking up ---- */

aon_result aon_docket_by_prefix(void *state, const char *prefix, char ret_id[37], aon_error *error) {
  char low[38] = "", high[40];
  size_t length = strlen(prefix);
  AON_DOCKET_ROWS rows = {0};
  if (length < 4 || length > 36)
    return aon_fail(error, AON_USAGE, "not_found", "“%.64s” is no id of a bulk operation: give at least its first 4 characters.", prefix);
  for (size_t i = 0; i < length; i++) {
    low[i] = (char)tolower((unsigned char)prefix[i]);
    if (!isxdigit((unsigned char)low[i]) && low[i] != '-')
      return aon_docket_not_found(prefix, error);
  }
  snprintf(high, sizeof high, "%sg", low); /* after every UUID that begins so */
  aon_result result = aon_docket_find(state, AON_DOCKET_BULK, BCON_NEW("_id", "{", "$gte", BCON_UTF8(low), "$lt", BCON_UTF8(high), "}"),
                                      aon_docket_sorted("_id", 1, 2), &rows, "looking up a bulk operation", error);
  if (result)
    return result;
  const char *id = rows.count ? aon_docket_text(&rows.rows[0], "_id") : NULL;
  if (!id)
    return aon_docket_not_found(prefix, error);
  if (rows.count > 1 && strcmp(id, low))
    return aon_fail(error, AON_USAGE, "ambiguous", "“%s” begins more than one id: %s, %s, …. Give more of it.", prefix, id,
                    aon_docket_text(&rows.rows[1], "_id"));
  snprintf(ret_id, 37, "%s", id);
  return AON_OK;
}

/* ---- listing ---- */

/* A pattern that is only the text itself. */
static aon_result literal(const char *text, aon_buffer *out, aon_error *error) {
  aon_result result = AON_OK;
  for (; !result && *text; text++) {
    if ((unsigned char)*text < 0x80 && !isalnum((unsigned char)*text))
      result = aon_buffer_append(out, "\\", 1, error);
    if (!result)
      result = aon_buffer_append(out, text, 1, error);
  }
  return result;
}

static aon_result list_filter(const aon_bulk_filter *filter, int64_t before, bson_t **ret_filter, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer pattern = {0};
  bson_t *with = BCON_NEW("number", "{", "$lt", BCON_INT64(before), "}"), list;
  if (filter->organization)
    BSON_APPEND_UTF8(with, "organization", filter->organization);
  if (filter->undoes)
    BSON_APPEND_UTF8(with, "undoes", filter->undoes);
  if (filter->state_count) {
    bson_t in = BSON_INITIALIZER;
    BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
    for (size_t i = 0; i < filter->state_count; i++) {
      char index[24];
      snprintf(index, sizeof index, "%zu", i);
      BSON_APPEND_UTF8(&list, index, aon_state_name(filter->states[i]));
    }
    bson_append_array_end(&in, &list);
    BSON_APPEND_DOCUMENT(with, "state", &in);
    bson_destroy(&in);
  }
  aon_result result = filter->query ? literal(filter->query, &pattern, error) : AON_OK;
  if (!result && pattern.length) {
    AON_BUFFER_CLEANUP aon_buffer start = {0};
    result = aon_buffer_format(&start, error, "^%s", pattern.data);
    if (!result)
      BCON_APPEND(with, "$or", "[", "{", "source", BCON_REGEX(pattern.data, "i"), "}", "{", "user", BCON_REGEX(pattern.data, "i"), "}", "{",
                  "_id", BCON_REGEX(start.data, "i"), "}", "]");
  }
  *ret_filter = with;
  return result;
}

static aon_result list_page(aon_docket *d, const aon_bulk_filter *filter, int64_t *before, uint32_t want, aon_bulk_each each, void *context,
                            bool *ret_more, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  AON_DOCKET_ROWS rows = {0};
  bson_t *with;
  aon_result result = list_filter(filter, *before, &with, error);
  if (result)
    bson_destroy(with);
  else
    result = aon_docket_find(d, AON_DOCKET_BULK, with, aon_docket_sorted("number", -1, want), &rows, "listing bulk operations", error);
  for (size_t i = 0; !result && i < rows.count; i++) {
    aon_bulk bulk;
    *before = aon_docket_int(&rows.rows[i], "number");
    result = aon_docket_bulk_from(&rows.rows[i], &arena, &bulk, error);
    if (!result)
      result = each(context, &bulk, error);
  }
  *ret_more = rows.count == want;
  return result;
}

aon_result aon_docket_list(void *state, const aon_bulk_filter *filter, aon_bulk_each each, void *context, aon_error *error) {
  static const aon_bulk_filter everything;
  aon_docket *d = state;
  if (!filter)
    filter = &everything;
  int64_t before = INT64_MAX;
  if (filter->before_id) {
    aon_docket_head head;
    aon_result found = aon_docket_head_of(d, filter->before_id, &head, error);
    if (found)
      return found;
    before = head.number;
  }
  aon_result result = AON_OK;
  bool more = true;
  for (uint32_t left = filter->limit ? filter->limit : UINT32_MAX; !result && more && left;) {
    uint32_t want = left < AON_DOCKET_PAGE ? left : AON_DOCKET_PAGE;
    result = list_page(d, filter, &before, want, each, context, &more, error);
    left -= filter->limit ? want : 0;
  }
  return result == AON_END ? AON_OK : result;
}
