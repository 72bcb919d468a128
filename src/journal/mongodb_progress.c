/* Batches, documents that need a person, and audit events in the docket.
 * Invariant: a listing holds one page in memory and no open cursor while the caller hears it. */
#include <string.h>

#include "journal/mongodb_docket.h"
#include "model/text.h"

/* ---- batches ---- */

typedef struct batch_call {
  const char *id;
  int64_t epoch;
  const aon_batch *batch;
} batch_call;

static aon_result batch_work(aon_docket *d, void *arguments, aon_error *error) {
  const batch_call *call = arguments;
  const aon_batch *batch = call->batch;
  AON_BUFFER_CLEANUP aon_buffer key = {0};
  aon_docket_head head;
  int64_t writes;
  aon_result result = aon_docket_fence(d, call->id, call->epoch, &head, error);
  if (!result)
    result = aon_docket_touch(d, call->id, call->epoch, NULL, &writes, error);
  if (!result)
    result =
        aon_buffer_format(&key, error, "%016llx:%s:%u:%u", (unsigned long long)head.number, batch->store, batch->attempt, batch->batch);
  return result ? result
                : aon_docket_update(d, AON_DOCKET_BATCHES, BCON_NEW("_id", BCON_UTF8(key.data)),
                                    BCON_NEW("$set", "{", "bulk", BCON_INT64(head.number), "store", BCON_UTF8(batch->store), "attempt",
                                             BCON_INT64(batch->attempt), "batch", BCON_INT64(batch->batch), "first",
                                             BCON_INT64(batch->first), "last", BCON_INT64(batch->last), "status", BCON_INT64(batch->status),
                                             "at_ms", BCON_INT64(d->now_ms), "unanswered", BCON_BOOL(batch->unanswered), "}",
                                             "$setOnInsert", "{", "number", BCON_INT64(writes), "}"),
                                    true, NULL, error);
}

aon_result aon_docket_batch(void *state, const char *id, int64_t epoch, const aon_batch *batch, aon_error *error) {
  batch_call call = {.id = id, .epoch = epoch, .batch = batch};
  return aon_docket_write(state, "recording a batch", batch_work, &call, error);
}

/* One page of what belongs to a bulk operation, by a number of it that is higher than *last. */
static aon_result page_of(aon_docket *d, const char *collection, int64_t bulk, const char *by, int64_t last, aon_docket_rows *rows,
                          const char *doing, aon_error *error) {
  return aon_docket_find(d, collection, BCON_NEW("bulk", BCON_INT64(bulk), by, "{", "$gt", BCON_INT64(last), "}"),
                         aon_docket_sorted(by, 1, AON_DOCKET_PAGE), rows, doing, error);
}

aon_result aon_docket_batches(void *state, const char *id, aon_batch_each each, void *context, aon_error *error) {
  aon_docket_head head;
  int64_t last = 0;
  aon_result result = aon_docket_head_of(state, id, &head, error);
  for (bool more = true; !result && more;) {
    AON_DOCKET_ROWS rows = {0};
    result = page_of(state, AON_DOCKET_BATCHES, head.number, "number", last, &rows, "reading batches", error);
    for (size_t i = 0; !result && i < rows.count; i++) {
      const aon_docket_row *row = &rows.rows[i];
      last = aon_docket_int(row, "number");
      aon_batch batch = {.store = aon_docket_text(row, "store"),
                         .attempt = (uint32_t)aon_docket_int(row, "attempt"),
                         .batch = (uint32_t)aon_docket_int(row, "batch"),
                         .first = aon_docket_int(row, "first"),
                         .last = aon_docket_int(row, "last"),
                         .status = (aon_batch_status)aon_docket_int(row, "status"),
                         .at_ms = aon_docket_int(row, "at_ms"),
                         .unanswered = aon_docket_int(row, "unanswered") != 0};
      result = each(context, &batch, error);
    }
    more = rows.count == AON_DOCKET_PAGE;
  }
  return result == AON_END ? AON_OK : result;
}

/* ---- conflicts ---- */

typedef struct conflict_call {
  const char *id;
  int64_t epoch, sequence;
  const aon_conflict *conflict; /* NULL: it is dropped */
} conflict_call;

static bson_t *conflict_set(const aon_docket *d, const conflict_call *call, int64_t bulk) {
  const aon_conflict *c = call->conflict;
  aon_text document = {c->document_id, strlen(c->document_id)};
  return BCON_NEW("$set", "{", "bulk", BCON_INT64(bulk), "sequence", BCON_INT64(c->sequence), "hash",
                  BCON_INT64((int64_t)aon_document_hash(c->store, c->collection, document)), "store", BCON_UTF8(c->store), "collection",
                  BCON_UTF8(c->collection), "document_id", BCON_UTF8(c->document_id), "code", BCON_UTF8(c->code), "sentence",
                  BCON_UTF8(c->sentence), "paths", BCON_UTF8(c->paths), "choice", BCON_UTF8(c->choice), "watched", BCON_BOOL(c->watched),
                  "watch_until_ms", BCON_INT64(c->watch_until_ms), "}", "$setOnInsert", "{", "since_ms", BCON_INT64(d->now_ms), "}");
}

static aon_result conflict_work(aon_docket *d, void *arguments, aon_error *error) {
  const conflict_call *call = arguments;
  char key[AON_DOCKET_KEY];
  aon_docket_head head;
  aon_result result = aon_docket_fence(d, call->id, call->epoch, &head, error);
  if (!result)
    result = aon_docket_touch(d, call->id, call->epoch, NULL, NULL, error);
  if (result)
    return result;
  aon_docket_key(key, head.number, call->sequence);
  return call->conflict ? aon_docket_update(d, AON_DOCKET_CONFLICTS, BCON_NEW("_id", BCON_UTF8(key)), conflict_set(d, call, head.number),
                                            true, NULL, error)
                        : aon_docket_delete(d, AON_DOCKET_CONFLICTS, BCON_NEW("_id", BCON_UTF8(key)), NULL, error);
}

aon_result aon_docket_conflict_put(void *state, const char *id, int64_t epoch, const aon_conflict *conflict, aon_error *error) {
  conflict_call call = {.id = id, .epoch = epoch, .sequence = conflict->sequence, .conflict = conflict};
  return aon_docket_write(state, "naming a document in conflict", conflict_work, &call, error);
}

aon_result aon_docket_conflict_drop(void *state, const char *id, int64_t epoch, int64_t sequence, aon_error *error) {
  conflict_call call = {.id = id, .epoch = epoch, .sequence = sequence};
  return aon_docket_write(state, "dropping a conflict", conflict_work, &call, error);
}

aon_result aon_docket_conflicts(void *state, const char *id, aon_conflict_hear each, void *context, aon_error *error) {
  aon_docket_head head;
  int64_t last = -1;
  aon_result result = aon_docket_head_of(state, id, &head, error);
  for (bool more = true; !result && more;) {
    AON_DOCKET_ROWS rows = {0};
    result = page_of(state, AON_DOCKET_CONFLICTS, head.number, "sequence", last, &rows, "reading conflicts", error);
    for (size_t i = 0; !result && i < rows.count; i++) {
      const aon_docket_row *row = &rows.rows[i];
      last = aon_docket_int(row, "sequence");
      aon_conflict conflict = {.sequence = last,
                               .store = aon_docket_text(row, "store"),
                               .collection = aon_docket_text(row, "collection"),
                               .document_id = aon_docket_text(row, "document_id"),
                               .code = aon_docket_text(row, "code"),
                               .sentence = aon_docket_text(row, "sentence"),
                               .paths = aon_docket_text(row, "paths"),
                               .choice = aon_docket_text(row, "choice"),
                               .watched = aon_docket_int(row, "watched") != 0,
                               .watch_until_ms = aon_docket_int(row, "watch_until_ms")};
      result = each(context, &conflict, error);
    }
    more = rows.count == AON_DOCKET_PAGE;
  }
  return result == AON_END ? AON_OK : result;
}

/* ---- events ---- */

typedef struct event_call {
  const aon_event *event;
  char token[AON_DOCKET_TOKEN + 1];
} event_call;

/* The counter is written in the same transaction, so whoever follows never sees a number before a lower one. */
static aon_result event_work(aon_docket *d, void *arguments, aon_error *error) {
  const event_call *call = arguments;
  const aon_event *event = call->event;
  AON_DOCKET_ROWS rows = {0};
  int64_t number = 0;
  aon_result result = aon_docket_find(d, AON_DOCKET_EVENTS, BCON_NEW("_id", BCON_UTF8(call->token)), NULL, &rows, "noting an event", error);
  if (result || rows.count) /* by a try whose reply was lost */
    return result;
  result = aon_docket_next(d, "events", &number, error);
  return result ? result
                : aon_docket_insert(d, AON_DOCKET_EVENTS,
                                    BCON_NEW("_id", BCON_UTF8(call->token), "number", BCON_INT64(number), "bulk_id",
                                             BCON_UTF8(event->bulk_id), "at_ms", BCON_INT64(d->now_ms), "who", BCON_UTF8(event->who),
                                             "what", BCON_UTF8(event->what), "detail", BCON_UTF8(event->detail)),
                                    error);
}

aon_result aon_docket_event(void *state, const aon_event *event, aon_error *error) {
  event_call call = {.event = event};
  aon_docket_token(state, call.token);
  return aon_docket_write(state, "noting an event", event_work, &call, error);
}

aon_result aon_docket_events(void *state, const char *bulk_id, int64_t after_number, aon_event_each each, void *context, aon_error *error) {
  aon_result result = AON_OK;
  for (bool more = true; !result && more;) {
    AON_DOCKET_ROWS rows = {0};
    bson_t *filter = BCON_NEW("number", "{", "$gt", BCON_INT64(after_number), "}");
    if (bulk_id)
      BSON_APPEND_UTF8(filter, "bulk_id", bulk_id);
    result =
        aon_docket_find(state, AON_DOCKET_EVENTS, filter, aon_docket_sorted("number", 1, AON_DOCKET_PAGE), &rows, "reading events", error);
    for (size_t i = 0; !result && i < rows.count; i++) {
      const aon_docket_row *row = &rows.rows[i];
      after_number = aon_docket_int(row, "number");
      aon_event event = {.number = after_number,
                         .at_ms = aon_docket_int(row, "at_ms"),
                         .bulk_id = aon_docket_text(row, "bulk_id"),
                         .who = aon_docket_text(row, "who"),
                         .what = aon_docket_text(row, "what"),
                         .detail = aon_docket_text(row, "detail")};
      result = each(context, &event, error);
    }
    more = rows.count == AON_DOCKET_PAGE;
  }
  return result == AON_END ? AON_OK : result;
}
