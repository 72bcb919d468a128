/* Batches, documents that need a person, and audit events in the ledger.
 * Invariant: a listing holds one page in memory and no open statement while the caller hears it. */
#include <string.h>

#include "journal/sqlite_ledger.h"
#include "model/text.h"

/* ---- batches ---- */

typedef struct batch_call {
  const char *id;
  int64_t epoch;
  const aon_batch *batch;
} batch_call;

static aon_result batch_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  const batch_call *call = arguments;
  const aon_batch *batch = call->batch;
  aon_ledger_head head;
  aon_result result = aon_ledger_fence(ledger, call->id, call->epoch, &head, error);
  return result
             ? result
             : aon_ledger_run(ledger,
                              "insert into batches (bulk, store, attempt, batch, first, last, status, at_ms, unanswered)"
                              " values (?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do update set first = excluded.first, last = excluded.last,"
                              " status = excluded.status, at_ms = excluded.at_ms, unanswered = excluded.unanswered",
                              error, "itiiiiiii", head.number, batch->store, (int64_t)batch->attempt, (int64_t)batch->batch, batch->first,
                              batch->last, (int64_t)batch->status, aon_now_ms(ledger->env), (int64_t)batch->unanswered);
}

/* Announced is on the disk before anything is sent. Its outcome may be lost with the power: then it counts as announced and is
 * compared once more, which is harmless but for one that was put back before older ones of the same documents are: that one is durable. */
aon_result aon_ledger_batch(void *state, const char *id, int64_t epoch, const aon_batch *batch, aon_error *error) {
  batch_call call = {.id = id, .epoch = epoch, .batch = batch};
  return aon_ledger_write(state, batch->status == AON_BATCH_ANNOUNCED || batch->unanswered || batch->durable, batch_work, &call, error);
}

typedef struct batch_page {
  aon_arena arena;
  aon_batch batches[AON_LEDGER_PAGE];
  size_t count;
} batch_page;

static aon_result batches_page(aon_ledger *ledger, int64_t bulk, int64_t *last, batch_page *page, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result = aon_ledger_query(ledger,
                                       "select number, store, attempt, batch, first, last, status, at_ms, unanswered from batches"
                                       " where bulk = ? and number > ? order by number limit ?",
                                       &statement, error, "iii", bulk, *last, (int64_t)AON_LEDGER_PAGE);
  page->count = 0;
  while (!result && !(result = aon_sqlite_step(ledger->database, statement, error))) {
    aon_batch *batch = &page->batches[page->count++];
    *last = sqlite3_column_int64(statement, 0);
    *batch = (aon_batch){.attempt = (uint32_t)sqlite3_column_int64(statement, 2),
                         .batch = (uint32_t)sqlite3_column_int64(statement, 3),
                         .first = sqlite3_column_int64(statement, 4),
                         .last = sqlite3_column_int64(statement, 5),
                         .status = (aon_batch_status)sqlite3_column_int64(statement, 6),
                         .at_ms = sqlite3_column_int64(statement, 7),
                         .unanswered = sqlite3_column_int64(statement, 8) != 0};
    result = aon_ledger_copy(statement, 1, &page->arena, &batch->store, error);
  }
  return result == AON_END ? AON_OK : result;
}

aon_result aon_ledger_batches(void *state, const char *id, aon_batch_each each, void *context, aon_error *error) {
  aon_ledger_head head;
  aon_result result = aon_ledger_head_of(state, id, &head, error);
  batch_page page = {.count = AON_LEDGER_PAGE};
  int64_t last = 0;
  while (!result && page.count == AON_LEDGER_PAGE) {
    aon_arena_reset(&page.arena);
    result = batches_page(state, head.number, &last, &page, error);
    for (size_t i = 0; !result && i < page.count; i++)
      result = each(context, &page.batches[i], error);
  }
  aon_arena_release(&page.arena);
  return result == AON_END ? AON_OK : result;
}

/* ---- conflicts ---- */

typedef struct conflict_call {
  const char *id;
  int64_t epoch, sequence;
  const aon_conflict *conflict; /* NULL: drop */
} conflict_call;

static aon_result conflict_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  const conflict_call *call = arguments;
  const aon_conflict *conflict = call->conflict;
  aon_ledger_head head;
  aon_result result = aon_ledger_fence(ledger, call->id, call->epoch, &head, error);
  if (result)
    return result;
  if (!conflict)
    return aon_ledger_run(ledger, "delete from conflicts where bulk = ? and sequence = ?", error, "ii", head.number, call->sequence);
  aon_text document = {conflict->document_id, strlen(conflict->document_id)};
  uint64_t hash = aon_document_hash(conflict->store, conflict->collection, document);
  return aon_ledger_run(
      ledger,
      "insert into conflicts values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do update set hash = excluded.hash,"
      " store = excluded.store, collection = excluded.collection, document_id = excluded.document_id, code = excluded.code,"
      " sentence = excluded.sentence, paths = excluded.paths, choice = excluded.choice, watched = excluded.watched,"
      " watch_until_ms = excluded.watch_until_ms",
      error, "iiitttttttiii", head.number, conflict->sequence, (int64_t)hash, conflict->store, conflict->collection, conflict->document_id,
      conflict->code, conflict->sentence, conflict->paths, conflict->choice, (int64_t)conflict->watched, conflict->watch_until_ms,
      aon_now_ms(ledger->env));
}

aon_result aon_ledger_conflict_put(void *state, const char *id, int64_t epoch, const aon_conflict *conflict, aon_error *error) {
  /* On the disk before it returns: a store that leaves the document out commits next. */
  conflict_call call = {.id = id, .epoch = epoch, .conflict = conflict};
  return aon_ledger_write(state, true, conflict_work, &call, error);
}

aon_result aon_ledger_conflict_drop(void *state, const char *id, int64_t epoch, int64_t sequence, aon_error *error) {
  conflict_call call = {.id = id, .epoch = epoch, .sequence = sequence};
  return aon_ledger_write(state, false, conflict_work, &call, error);
}

typedef struct conflict_page {
  aon_arena arena;
  aon_conflict conflicts[AON_LEDGER_PAGE];
  size_t count;
} conflict_page;

static aon_result conflicts_page(aon_ledger *ledger, int64_t bulk, int64_t *last, conflict_page *page, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result =
      aon_ledger_query(ledger,
                       "select sequence, watched, watch_until_ms, store, collection, document_id, code, sentence, paths, choice"
                       " from conflicts where bulk = ? and sequence > ? order by sequence limit ?",
                       &statement, error, "iii", bulk, *last, (int64_t)AON_LEDGER_PAGE);
  page->count = 0;
  while (!result && !(result = aon_sqlite_step(ledger->database, statement, error))) {
    aon_conflict *conflict = &page->conflicts[page->count++];
    *last = sqlite3_column_int64(statement, 0);
    *conflict = (aon_conflict){
        .sequence = *last, .watched = sqlite3_column_int64(statement, 1) != 0, .watch_until_ms = sqlite3_column_int64(statement, 2)};
    const char **const texts[] = {&conflict->store,    &conflict->collection, &conflict->document_id, &conflict->code,
                                  &conflict->sentence, &conflict->paths,      &conflict->choice};
    for (int i = 0; !result && i < (int)(sizeof texts / sizeof *texts); i++)
      result = aon_ledger_copy(statement, 3 + i, &page->arena, texts[i], error);
  }
  return result == AON_END ? AON_OK : result;
}

aon_result aon_ledger_conflicts(void *state, const char *id, aon_conflict_hear each, void *context, aon_error *error) {
  aon_ledger_head head;
  aon_result result = aon_ledger_head_of(state, id, &head, error);
  conflict_page page = {.count = AON_LEDGER_PAGE};
  int64_t last = -1;
  while (!result && page.count == AON_LEDGER_PAGE) {
    aon_arena_reset(&page.arena);
    result = conflicts_page(state, head.number, &last, &page, error);
    for (size_t i = 0; !result && i < page.count; i++)
      result = each(context, &page.conflicts[i], error);
  }
  aon_arena_release(&page.arena);
  return result == AON_END ? AON_OK : result;
}

/* ---- events ---- */

static aon_result event_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  const aon_event *event = arguments;
  return aon_ledger_run(ledger, "insert into events (bulk_id, at_ms, who, what, detail) values (?, ?, ?, ?, ?)", error, "tittt",
                        event->bulk_id, aon_now_ms(ledger->env), event->who, event->what, event->detail);
}

aon_result aon_ledger_event(void *state, const aon_event *event, aon_error *error) {
  aon_event copy = *event;
  return aon_ledger_write(state, false, event_work, &copy, error);
}

typedef struct event_page {
  aon_arena arena;
  aon_event events[AON_LEDGER_PAGE];
  size_t count;
} event_page;

static aon_result events_page(aon_ledger *ledger, const char *bulk_id, int64_t *last, event_page *page, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result;
  if (bulk_id)
    result = aon_ledger_query(
        ledger, "select number, at_ms, bulk_id, who, what, detail from events where number > ? and bulk_id = ? order by number limit ?",
        &statement, error, "iti", *last, bulk_id, (int64_t)AON_LEDGER_PAGE);
  else
    result =
        aon_ledger_query(ledger, "select number, at_ms, bulk_id, who, what, detail from events where number > ? order by number limit ?",
                         &statement, error, "ii", *last, (int64_t)AON_LEDGER_PAGE);
  page->count = 0;
  while (!result && !(result = aon_sqlite_step(ledger->database, statement, error))) {
    aon_event *event = &page->events[page->count++];
    *last = sqlite3_column_int64(statement, 0);
    *event = (aon_event){.number = *last, .at_ms = sqlite3_column_int64(statement, 1)};
    const char **const texts[] = {&event->bulk_id, &event->who, &event->what, &event->detail};
    for (int i = 0; !result && i < (int)(sizeof texts / sizeof *texts); i++)
      result = aon_ledger_copy(statement, 2 + i, &page->arena, texts[i], error);
  }
  return result == AON_END ? AON_OK : result;
}

aon_result aon_ledger_events(void *state, const char *bulk_id, int64_t after_number, aon_event_each each, void *context, aon_error *error) {
  aon_result result = AON_OK;
  event_page page = {.count = AON_LEDGER_PAGE};
  while (!result && page.count == AON_LEDGER_PAGE) {
    aon_arena_reset(&page.arena);
    result = events_page(state, bulk_id, &after_number, &page, error);
    for (size_t i = 0; !result && i < page.count; i++)
      result = each(context, &page.events[i], error);
  }
  aon_arena_release(&page.arena);
  return result == AON_END ? AON_OK : result;
}
