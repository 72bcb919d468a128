/* Batches, documents that need a person, and audit events in the register.
 * Invariant: a listing holds one page in memory and no open statement while the caller hears it. */
#include <string.h>

#include "journal/postgresql_register.h"
#include "model/text.h"

/* ---- batches ---- */

/* Announced is on the disk before anything is sent. Its outcome may be lost where the server falls: then it counts as announced and is
 * compared once more, which is harmless but for one that was put back before older ones of the same documents are: that one is durable. */
aon_result aon_register_batch(void *state, const char *id, int64_t epoch, const aon_batch *batch, aon_error *error) {
  aon_register *r = state;
  AON_REGISTER_CALL call = {0};
  aon_register_begin(&call, batch->status == AON_BATCH_ANNOUNCED || batch->unanswered || batch->durable);
  size_t at = call.count;
  aon_register_head_add(&call, id, true);
  aon_register_add(&call,
                   "insert into aon_journal_batches (bulk, store, attempt, batch, first, last, status, at_ms, unanswered)"
                   " select number, $3, $4::bigint, $5::bigint, $6::bigint, $7::bigint, $8::bigint, aon_journal_now(), $9::boolean"
                   " from aon_journal_bulk where id = $1 and epoch = $2::bigint on conflict (bulk, store, attempt, batch) do update set"
                   " first = excluded.first, last = excluded.last, status = excluded.status, at_ms = excluded.at_ms,"
                   " unanswered = excluded.unanswered",
                   "titiiiiio", id, epoch, batch->store, (int64_t)batch->attempt, (int64_t)batch->batch, batch->first, batch->last,
                   (int64_t)batch->status, (int)batch->unanswered);
  aon_register_head head;
  aon_result result = aon_register_run(r, &call, "recording a batch", error);
  return result ? result : aon_register_fence(r, &call, at, id, epoch, &head, error);
}

/* One page of a listing. *last is where the next one begins; *ret_more: there may be one. */
static aon_result batches_page(aon_register *r, int64_t bulk, int64_t *last, aon_batch_each each, void *context, bool *ret_more,
                               aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_result result =
      aon_register_ask(r, &call, "reading batches",
                       "select number, store, attempt, batch, first, last, status, at_ms, unanswered from aon_journal_batches"
                       " where bulk = $1 and number > $2 order by number limit $3",
                       error, "iii", bulk, *last, (int64_t)AON_REGISTER_PAGE);
  int rows = result ? 0 : aon_register_rows(&call, 0);
  for (int row = 0; !result && row < rows; row++) {
    *last = aon_register_int(&call, 0, row, 0);
    aon_batch batch = {.store = aon_register_text(&call, 0, row, 1),
                       .attempt = (uint32_t)aon_register_int(&call, 0, row, 2),
                       .batch = (uint32_t)aon_register_int(&call, 0, row, 3),
                       .first = aon_register_int(&call, 0, row, 4),
                       .last = aon_register_int(&call, 0, row, 5),
                       .status = (aon_batch_status)aon_register_int(&call, 0, row, 6),
                       .at_ms = aon_register_int(&call, 0, row, 7),
                       .unanswered = aon_register_int(&call, 0, row, 8) != 0};
    result = each(context, &batch, error);
  }
  *ret_more = rows == AON_REGISTER_PAGE;
  return result;
}

aon_result aon_register_batches(void *state, const char *id, aon_batch_each each, void *context, aon_error *error) {
  aon_register_head head;
  aon_result result = aon_register_head_of(state, id, &head, error);
  int64_t last = 0;
  for (bool more = true; !result && more;)
    result = batches_page(state, head.number, &last, each, context, &more, error);
  return result == AON_END ? AON_OK : result;
}

/* ---- conflicts ---- */

aon_result aon_register_conflict_put(void *state, const char *id, int64_t epoch, const aon_conflict *conflict, aon_error *error) {
  aon_register *r = state;
  aon_text document = {conflict->document_id, strlen(conflict->document_id)};
  uint64_t hash = aon_document_hash(conflict->store, conflict->collection, document);
  AON_REGISTER_CALL call = {0};
  aon_register_begin(&call, true); /* on the disk before it returns: a store that leaves the document out commits next */
  aon_register_head_add(&call, id, true);
  aon_register_add(
      &call,
      "insert into aon_journal_conflicts (bulk, sequence, hash, store, collection, document_id, code, sentence, paths, choice,"
      " watched, watch_until_ms, since_ms) select number, $3::bigint, $4::bigint, $5, $6, $7, $8, $9, $10, $11, $12::boolean,"
      " $13::bigint, aon_journal_now() from aon_journal_bulk where id = $1 and epoch = $2::bigint"
      " on conflict (bulk, sequence) do update set hash = excluded.hash, store = excluded.store, collection = excluded.collection,"
      " document_id = excluded.document_id, code = excluded.code, sentence = excluded.sentence, paths = excluded.paths,"
      " choice = excluded.choice, watched = excluded.watched, watch_until_ms = excluded.watch_until_ms",
      "tiiittttttt"
      "oi",
      id, epoch, conflict->sequence, (int64_t)hash, conflict->store, conflict->collection, conflict->document_id, conflict->code,
      conflict->sentence, conflict->paths, conflict->choice, (int)conflict->watched, conflict->watch_until_ms);
  aon_register_head head;
  aon_result result = aon_register_run(r, &call, "naming a document in conflict", error);
  return result ? result : aon_register_fence(r, &call, 1, id, epoch, &head, error);
}

aon_result aon_register_conflict_drop(void *state, const char *id, int64_t epoch, int64_t sequence, aon_error *error) {
  aon_register *r = state;
  AON_REGISTER_CALL call = {0};
  aon_register_begin(&call, false);
  aon_register_head_add(&call, id, true);
  aon_register_add(&call,
                   "delete from aon_journal_conflicts where sequence = $3::bigint and bulk ="
                   " (select number from aon_journal_bulk where id = $1 and epoch = $2::bigint)",
                   "tii", id, epoch, sequence);
  aon_register_head head;
  aon_result result = aon_register_run(r, &call, "dropping a conflict", error);
  return result ? result : aon_register_fence(r, &call, 2, id, epoch, &head, error);
}

static aon_result conflicts_page(aon_register *r, int64_t bulk, int64_t *last, aon_conflict_hear each, void *context, bool *ret_more,
                                 aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_result result = aon_register_ask(
      r, &call, "reading conflicts",
      "select sequence, watched, watch_until_ms, store, collection, document_id, code, sentence, paths, choice from aon_journal_conflicts"
      " where bulk = $1 and sequence > $2 order by sequence limit $3",
      error, "iii", bulk, *last, (int64_t)AON_REGISTER_PAGE);
  int rows = result ? 0 : aon_register_rows(&call, 0);
  for (int row = 0; !result && row < rows; row++) {
    *last = aon_register_int(&call, 0, row, 0);
    aon_conflict conflict = {
        .sequence = *last, .watched = aon_register_int(&call, 0, row, 1) != 0, .watch_until_ms = aon_register_int(&call, 0, row, 2)};
    const char **const texts[] = {&conflict.store,    &conflict.collection, &conflict.document_id, &conflict.code,
                                  &conflict.sentence, &conflict.paths,      &conflict.choice};
    for (int i = 0; i < (int)(sizeof texts / sizeof *texts); i++)
      *texts[i] = aon_register_text(&call, 0, row, 3 + i);
    result = each(context, &conflict, error);
  }
  *ret_more = rows == AON_REGISTER_PAGE;
  return result;
}

aon_result aon_register_conflicts(void *state, const char *id, aon_conflict_hear each, void *context, aon_error *error) {
  aon_register_head head;
  aon_result result = aon_register_head_of(state, id, &head, error);
  int64_t last = -1;
  for (bool more = true; !result && more;)
    result = conflicts_page(state, head.number, &last, each, context, &more, error);
  return result == AON_END ? AON_OK : result;
}

/* ---- events ---- */

/* The tail is locked, so that whoever follows it never sees a number before a lower one. */
aon_result aon_register_event(void *state, const aon_event *event, aon_error *error) {
  aon_register *r = state;
  char token[AON_REGISTER_TOKEN + 1];
  AON_REGISTER_CALL call = {0};
  aon_register_token(r, token);
  aon_register_begin(&call, false);
  aon_register_add(&call, "lock table aon_journal_tail in exclusive mode", "");
  aon_register_add(
      &call,
      "insert into aon_journal_events (bulk_id, at_ms, who, what, detail, token) values ($1, aon_journal_now(), $2, $3, $4, $5)"
      " on conflict (token) do nothing",
      "ttttt", event->bulk_id, event->who, event->what, event->detail, token);
  return aon_register_run(r, &call, "noting an event", error);
}

static aon_result events_page(aon_register *r, const char *bulk_id, int64_t *last, aon_event_each each, void *context, bool *ret_more,
                              aon_error *error) {
  AON_REGISTER_CALL call = {0};
  if (bulk_id)
    aon_register_add(&call,
                     "select number, at_ms, bulk_id, who, what, detail from aon_journal_events where bulk_id = $3 and number > $1"
                     " order by number limit $2",
                     "iit", *last, (int64_t)AON_REGISTER_PAGE, bulk_id);
  else
    aon_register_add(&call,
                     "select number, at_ms, bulk_id, who, what, detail from aon_journal_events where number > $1 order by number limit $2",
                     "ii", *last, (int64_t)AON_REGISTER_PAGE);
  aon_result result = aon_register_run(r, &call, "reading events", error);
  int rows = result ? 0 : aon_register_rows(&call, 0);
  for (int row = 0; !result && row < rows; row++) {
    *last = aon_register_int(&call, 0, row, 0);
    aon_event event = {.number = *last,
                       .at_ms = aon_register_int(&call, 0, row, 1),
                       .bulk_id = aon_register_text(&call, 0, row, 2),
                       .who = aon_register_text(&call, 0, row, 3),
                       .what = aon_register_text(&call, 0, row, 4),
                       .detail = aon_register_text(&call, 0, row, 5)};
    result = each(context, &event, error);
  }
  *ret_more = rows == AON_REGISTER_PAGE;
  return result;
}

aon_result aon_register_events(void *state, const char *bulk_id, int64_t after_number, aon_event_each each, void *context,
                               aon_error *error) {
  aon_result result = AON_OK;
  for (bool more = true; !result && more;)
    result = events_page(state, bulk_id, &after_number, each, context, &more, error);
  return result == AON_END ? AON_OK : result;
}
