/* The log of one bulk operation in the docket: appending operations with their locks, taking them out again, the last operation on a
 * document, clearing images.
 *
 * Invariants: sequences have no gaps; a call is written wholly or not at all; the same call again changes nothing and succeeds; nothing is
 * appended from `logged` on; a lock is written in the transaction that found nobody else holding it, which has the turn. */
#include <stdlib.h>
#include <string.h>

#include "journal/mongodb_docket.h"
#include "model/text.h"

typedef struct log_call {
  const char *id;
  int64_t epoch, first; /* first: the next sequence where there are only claims */
  const aon_operation *operations;
  size_t count;
  const aon_claimed *claims;
  size_t claim_count;
  aon_arena arena;
  aon_stored *segments;
  aon_dictionary *dictionary;               /* with the names of this call, which are not kept yet */
  size_t segment_count, collections, texts; /* of the dictionary before */
  aon_docket_entry *entries;                /* sorted: shared ones last, then by hash */
  size_t entry_count;
  uint32_t held_at; /* the first entry that somebody else holds, … */
  char holder[64];  /* … and who */
  bool held, older, repeated;
} log_call;

/* ---- what is written ---- */

static int entry_order(const void *a, const void *b) {
  const aon_docket_entry *left = a, *right = b;
  if (left->shared != right->shared)
    return left->shared ? 1 : -1;
  if (left->hash != right->hash)
    return left->hash < right->hash ? -1 : 1;
  return left->at < right->at ? -1 : left->at > right->at;
}

/* Locks of the call; a claim that comes several times is one. */
static aon_result make_entries(log_call *call, aon_error *error) {
  size_t all = call->count + call->claim_count, kept = 0;
  aon_docket_entry *entries = aon_arena_alloc(&call->arena, (all ? all : 1) * sizeof *entries);
  if (!entries)
    return aon_fail_memory(error);
  for (size_t i = 0; i < call->count; i++) {
    const aon_operation *operation = &call->operations[i];
    entries[i] = (aon_docket_entry){.hash = aon_document_hash(operation->collection->store, operation->collection->name, operation->id),
                                    .at = (uint32_t)i};
  }
  for (size_t i = 0; i < call->claim_count; i++)
    entries[call->count + i] = (aon_docket_entry){.hash = call->claims[i].hash, .at = AON_DOCKET_CLAIM, .shared = call->claims[i].shared};
  qsort(entries, all, sizeof *entries, entry_order);
  for (size_t i = 0; i < all; i++)
    if (!kept || entry_order(&entries[kept - 1], &entries[i]))
      entries[kept++] = entries[i];
  call->entries = entries;
  call->entry_count = kept;
  return AON_OK;
}

/* ---- who is in the way ---- */

static void hit(log_call *call, uint32_t at, const char *holder, bool older) {
  if (call->held && call->held_at <= at)
    return;
  call->held = true;
  call->held_at = at;
  call->older = older;
  snprintf(call->holder, sizeof call->holder, "%s", holder ? holder : "somebody");
}

static bool is_older(const log_call *call, const aon_docket_head *head, const aon_docket_row *other) {
  int64_t age_ms = aon_docket_int(other, "age_ms");
  const char *id = aon_docket_text(other, "_id");
  return age_ms < head->age_ms || (age_ms == head->age_ms && id && strcmp(id, call->id) < 0);
}

static const aon_docket_row *row_with(const aon_docket_rows *rows, const char *name, int64_t number) {
  for (size_t i = 0; i < rows->count; i++)
    if (aon_docket_int(&rows->rows[i], name) == number)
      return &rows->rows[i];
  return NULL;
}

/* Hashes of a part of the entries. */
static size_t some_hashes(const log_call *call, size_t *at, uint64_t hashes[AON_DOCKET_HASHES]) {
  size_t count = 0;
  for (; *at < call->entry_count && count < AON_DOCKET_HASHES; ++*at)
    hashes[count++] = call->entries[*at].hash;
  return count;
}

static aon_result held_in_runs(aon_docket *d, log_call *call, const aon_docket_head *head, const aon_docket_rows *holding,
                               const int64_t *logs, aon_error *error) {
  uint64_t hashes[AON_DOCKET_HASHES];
  aon_result result = AON_OK;
  for (size_t at = 0; !result && at < call->entry_count;) {
    AON_DOCKET_ROWS rows = {0};
    size_t from = at, count = some_hashes(call, &at, hashes);
    result = aon_docket_runs_with(d, logs, holding->count, hashes, count, &rows, error);
    for (size_t i = 0; !result && i < rows.count; i++) {
      aon_docket_run run;
      result = aon_docket_run_from(&rows.rows[i], &run, error);
      const aon_docket_row *owner = result ? NULL : row_with(holding, "log", run.log);
      for (size_t e = from; owner && e < at; e++) {
        const aon_docket_entry *entry = &call->entries[e];
        size_t place = aon_docket_run_seek(&run, entry->hash);
        if (place < run.count && aon_docket_run_at(&run, place).hash == entry->hash && !(run.shared && entry->shared))
          hit(call, entry->at, aon_docket_text(owner, "_id"), is_older(call, head, owner));
      }
    }
  }
  return result;
}

static aon_result held_by_others(aon_docket *d, log_call *call, const aon_docket_head *head, aon_error *error) {
  AON_DOCKET_ROWS holding = {0};
  aon_result result = aon_docket_holding(d, call->id, &holding, error);
  if (result || !holding.count)
    return result;
  int64_t *logs = malloc(holding.count * sizeof *logs);
  if (!logs)
    return aon_fail_memory(error);
  for (size_t i = 0; i < holding.count; i++)
    logs[i] = aon_docket_int(&holding.rows[i], "log");
  result = held_in_runs(d, call, head, &holding, logs, error);
  free(logs);
  return result;
}

static aon_result hit_by_conflict(aon_docket *d, log_call *call, const aon_docket_head *head, const aon_docket_row *conflict, uint32_t at,
                                  aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  aon_result result = aon_docket_find(d, AON_DOCKET_BULK, BCON_NEW("number", BCON_INT64(aon_docket_int(conflict, "bulk"))), NULL, &rows,
                                      "looking up who holds documents", error);
  if (!result && rows.count)
    hit(call, at, aon_docket_text(&rows.rows[0], "_id"), is_older(call, head, &rows.rows[0]));
  return result;
}

/* What is in conflict, or locked by its name: mostly nothing, and then one look is all. */
static aon_result held_in(aon_docket *d, log_call *call, const aon_docket_head *head, const char *collection, const bson_t *filter,
                          aon_error *error) {
  AON_DOCKET_ROWS any = {0};
  uint64_t hashes[AON_DOCKET_HASHES];
  bool conflicts = !strcmp(collection, AON_DOCKET_CONFLICTS);
  aon_result result =
      aon_docket_find(d, collection, bson_copy(filter), BCON_NEW("limit", BCON_INT64(1)), &any, "looking up who holds documents", error);
  for (size_t at = 0; !result && any.count && at < call->entry_count;) {
    AON_DOCKET_ROWS rows = {0};
    size_t from = at, count = some_hashes(call, &at, hashes);
    AON_DOCKET_BSON among = aon_docket_among((const int64_t *)hashes, count);
    bson_t *with = bson_copy(filter);
    BSON_APPEND_DOCUMENT(with, "hash", among);
    result = aon_docket_find(d, collection, with, NULL, &rows, "looking up who holds documents", error);
    for (size_t i = 0; !result && i < rows.count; i++)
      for (size_t e = from; !result && e < at; e++) {
        const aon_docket_entry *entry = &call->entries[e];
        if ((uint64_t)aon_docket_int(&rows.rows[i], "hash") != entry->hash)
          continue;
        if (conflicts)
          result = hit_by_conflict(d, call, head, &rows.rows[i], entry->at, error);
        else if (!(entry->shared && aon_docket_int(&rows.rows[i], "shared")))
          hit(call, entry->at, aon_docket_text(&rows.rows[i], "holder"), false);
      }
  }
  return result;
}

static aon_result find_holder(aon_docket *d, log_call *call, const aon_docket_head *head, aon_error *error) {
  AON_DOCKET_BSON conflicts = BCON_NEW("watched", BCON_BOOL(false), "bulk", "{", "$ne", BCON_INT64(head->number), "}");
  AON_DOCKET_BSON named = BCON_NEW("of_document", BCON_BOOL(true), "lease_until_ms", "{", "$gt", BCON_INT64(d->now_ms), "}", "holder", "{",
                                   "$ne", BCON_UTF8(call->id), "}");
  call->held = false;
  aon_result result = held_by_others(d, call, head, error);
  if (!result)
    result = held_in(d, call, head, AON_DOCKET_CONFLICTS, conflicts, error);
  return result ? result : held_in(d, call, head, AON_DOCKET_NAMED, named, error);
}

static aon_result refuse(const log_call *call, aon_error *error) {
  aon_result result =
      aon_fail(error, AON_BUSY, "locked", "%s that bulk operation %s needs is held by %s. Wait until that has ended, or ask its owner.",
               call->held_at == AON_DOCKET_CLAIM ? "A unique value or a referenced document" : "A document", call->id, call->holder);
  if (error) {
    snprintf(error->held_by, sizeof error->held_by, "%s", call->holder);
    snprintf(error->bulk_id, sizeof error->bulk_id, "%s", call->id);
    error->operation = call->held_at == AON_DOCKET_CLAIM ? AON_NO_OPERATION : call->first + call->held_at;
  }
  return result;
}

/* ---- the transaction ---- */

static aon_result put_name(aon_docket *d, int64_t log, int64_t *number, int64_t kind, const char *name, aon_error *error) {
  char key[AON_DOCKET_KEY];
  aon_docket_key(key, log, ++*number);
  return aon_docket_insert(d, AON_DOCKET_NAMES,
                           BCON_NEW("_id", BCON_UTF8(key), "log", BCON_INT64(log), "number", BCON_INT64(*number), "kind", BCON_INT64(kind),
                                    "name", BCON_UTF8(name)),
                           error);
}

/* What the dictionary has now beyond what it had. *number: of the last one that is kept. */
static aon_result put_names(aon_docket *d, const log_call *call, int64_t log, int64_t *number, aon_error *error) {
  const aon_dictionary *dictionary = call->dictionary;
  aon_result result = AON_OK;
  for (size_t i = call->collections; !result && i < aon_dictionary_collections(dictionary); i++)
    result = put_name(d, log, number, 0, aon_dictionary_settings_at(dictionary, i), error);
  for (size_t i = call->texts; !result && i < aon_dictionary_texts(dictionary); i++)
    result = put_name(d, log, number, 1, aon_dictionary_text_at(dictionary, i), error);
  return result;
}

static aon_result put_locks(aon_docket *d, const log_call *call, int64_t log, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t at = 0; !result && at < call->entry_count;) {
    size_t end = at;
    while (end < call->entry_count && end - at < AON_DOCKET_RUN && call->entries[end].shared == call->entries[at].shared)
      end++;
    result = aon_docket_run_put(d, log, call->first, &call->entries[at], end - at, error);
    at = end;
  }
  return result;
}

static aon_result put_all(aon_docket *d, log_call *call, const aon_docket_head *head, aon_error *error) {
  int64_t last = head->names;
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < call->segment_count; i++)
    result = aon_docket_store(d, head->log, &call->segments[i], error);
  if (!result)
    result = put_names(d, call, head->log, &last, error);
  if (!result)
    result = put_locks(d, call, head->log, error);
  return result ? result
                : aon_docket_touch(d, call->id, call->epoch,
                                   BCON_NEW("logged", BCON_INT64(head->logged + (int64_t)call->count), "holds", BCON_BOOL(true), "names",
                                            BCON_INT64(last)),
                                   NULL, error);
}

static aon_result log_work(aon_docket *d, void *arguments, aon_error *error) {
  log_call *call = arguments;
  aon_docket_head head;
  call->repeated = call->held = false;
  aon_result result = aon_docket_turn(d, error); /* the first one here: who has to wait has sent nothing large yet */
  if (!result)
    result = aon_docket_fence(d, call->id, call->epoch, &head, error);
  if (result)
    return result;
  if (head.state >= AON_LOGGED || head.state == AON_SCHEDULED)
    return aon_fail(error, AON_USAGE, "wrong_state", "Bulk operation %s is %s; nothing can be added to its log.", call->id,
                    aon_state_name(head.state));
  if (call->first < head.logged) {
    result = aon_piece_logged(aon_docket_segment, d, call->id, head.log, head.logged, call->operations, call->count, error);
    call->repeated = !result;
    return result;
  }
  if (call->first > head.logged)
    return aon_fail(error, AON_USAGE, "bad_sequence", "The log of bulk operation %s goes on with operation %lld, not %lld.", call->id,
                    (long long)head.logged + 1, (long long)call->first + 1);
  result = find_holder(d, call, &head, error);
  if (!result && call->held)
    return refuse(call, error);
  return result ? result : put_all(d, call, &head, error);
}

static aon_result check_sequences(const log_call *call, aon_error *error) {
  for (size_t i = 1; i < call->count; i++)
    if (call->operations[i].sequence != call->operations[0].sequence + (int64_t)i)
      return aon_fail(error, AON_USAGE, "bad_sequence", "The operations of one call of the log must be numbered without a gap.");
  if (call->count >= AON_DOCKET_CLAIM)
    return aon_fail(error, AON_USAGE, "bad_sequence", "One call of the log takes at most %u operations.", AON_DOCKET_CLAIM - 1);
  return AON_OK;
}

static aon_result log_prepare(aon_docket *d, log_call *call, aon_error *error) {
  aon_docket_head head;
  aon_result result = aon_docket_head_of(d, call->id, &head, error);
  if (!result)
    result = aon_docket_names_load(d, head.log, error);
  if (result)
    return result;
  call->first = call->count ? call->operations[0].sequence : head.logged;
  call->dictionary = d->names.dictionary;
  d->names = (aon_docket_names){0};
  call->collections = aon_dictionary_collections(call->dictionary);
  call->texts = aon_dictionary_texts(call->dictionary);
  result = aon_piece_encode(d->env, d->keys, &d->writer, call->dictionary, call->id, call->operations, call->count, AON_DOCKET_PIECES,
                            &call->arena, &call->segments, &call->segment_count, error);
  return result ? result : make_entries(call, error);
}

aon_result aon_docket_log(void *state, const char *id, int64_t epoch, const aon_operation *operations, size_t count,
                          const aon_claimed *claims, size_t claim_count, bool *ret_holder_older, aon_error *error) {
  aon_docket *d = state;
  log_call call = {.id = id, .epoch = epoch, .operations = operations, .count = count, .claims = claims, .claim_count = claim_count};
  aon_result result = check_sequences(&call, error);
  if (!result)
    result = log_prepare(d, &call, error);
  if (!result)
    result = aon_docket_write(d, "logging", log_work, &call, error);
  aon_dictionary_release(call.dictionary);
  if (!result) {
    snprintf(d->logged_id, sizeof d->logged_id, "%s", id);
    d->logged = call.first + (int64_t)count;
  }
  aon_arena_release(&call.arena);
  if (result == AON_BUSY && ret_holder_older)
    *ret_holder_older = call.older;
  return result;
}

/* ---- taking out ---- */

typedef struct bulk_call {
  const char *id;
  int64_t epoch;
  bool more;
} bulk_call;

static aon_result discard_work(aon_docket *d, void *arguments, aon_error *error) {
  const bulk_call *call = arguments;
  aon_docket_head head;
  int64_t log;
  aon_result result = aon_docket_fence(d, call->id, call->epoch, &head, error);
  if (result)
    return result;
  if (head.state >= AON_LOGGED)
    return aon_fail(error, AON_USAGE, "wrong_state", "Bulk operation %s is %s; its log can't be taken back.", call->id,
                    aon_state_name(head.state));
  if (!head.holds && !head.logged)
    return AON_OK;
  result = aon_docket_next(d, "logs", &log, error);
  if (!result)
    result = aon_docket_update(d, AON_DOCKET_WASTE, BCON_NEW("_id", BCON_INT64(head.log)),
                               BCON_NEW("$set", "{", "at_ms", BCON_INT64(d->now_ms), "}"), true, NULL, error);
  return result ? result
                : aon_docket_touch(
                      d, call->id, call->epoch,
                      BCON_NEW("log", BCON_INT64(log), "logged", BCON_INT64(0), "names", BCON_INT64(0), "holds", BCON_BOOL(false)), NULL,
                      error);
}

aon_result aon_docket_discard(void *state, const char *id, int64_t epoch, aon_error *error) {
  aon_docket *d = state;
  bulk_call call = {.id = id, .epoch = epoch};
  if (!strcmp(d->logged_id, id))
    d->logged_id[0] = 0;
  aon_result result = aon_docket_write(d, "giving up a plan", discard_work, &call, error);
  aon_piece_drop(&d->piece);
  return result;
}

/* ---- chains ---- */

/* A hash says only where to look: the document there must be the one that is asked for. */
static aon_result confirm(aon_docket *d, const char *id, int64_t log, aon_last_query *query, int64_t sequence, aon_error *error) {
  aon_piece_loaded *piece = &d->piece;
  aon_result result = AON_OK;
  if (piece->log != log || sequence < piece->first || sequence >= piece->first + piece->count)
    result = aon_docket_segment(d, id, log, sequence, false, piece, error);
  if (result)
    return result == AON_END ? AON_OK : result;
  if (aon_piece_is_about(&piece->operations[sequence - piece->first], query->collection->store, query->collection->name, query->document))
    query->sequence = sequence;
  return AON_OK;
}

/* The newest of a run's operations with that hash which is about that document. */
static aon_result last_in(aon_docket *d, const char *id, const aon_docket_run *run, aon_last_query *query, aon_error *error) {
  size_t first = aon_docket_run_seek(run, query->hash), end = first;
  aon_result result = AON_OK;
  while (end < run->count && aon_docket_run_at(run, end).hash == query->hash)
    end++;
  while (!result && end > first && query->sequence == AON_NO_OPERATION) {
    aon_docket_entry entry = aon_docket_run_at(run, --end);
    if (entry.at != AON_DOCKET_CLAIM)
      result = confirm(d, id, run->log, query, run->first + entry.at, error);
  }
  return result;
}

static aon_result last_of_some(aon_docket *d, const char *id, int64_t log, aon_last_query *queries, size_t count, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  uint64_t hashes[AON_DOCKET_HASHES];
  for (size_t i = 0; i < count; i++)
    hashes[i] = queries[i].hash;
  aon_result result = aon_docket_runs_with(d, &log, 1, hashes, count, &rows, error);
  for (size_t r = 0; !result && r < rows.count; r++) {
    aon_docket_run run;
    result = aon_docket_run_from(&rows.rows[r], &run, error);
    for (size_t i = 0; !result && !run.shared && i < count; i++)
      if (queries[i].sequence == AON_NO_OPERATION)
        result = last_in(d, id, &run, &queries[i], error);
  }
  return result;
}

aon_result aon_docket_last_of(void *state, const char *id, aon_last_query *queries, size_t count, aon_error *error) {
  aon_docket_head head;
  aon_result result = aon_docket_head_of(state, id, &head, error);
  for (size_t i = 0; i < count; i++)
    queries[i].sequence = AON_NO_OPERATION;
  for (size_t at = 0; !result && head.logged && at < count; at += AON_DOCKET_HASHES)
    result = last_of_some(state, id, head.log, queries + at, count - at < AON_DOCKET_HASHES ? count - at : AON_DOCKET_HASHES, error);
  return result;
}

/* ---- clearing ---- */

static aon_result clear_some(aon_docket *d, int64_t log, const aon_docket_rows *rows, aon_error *error) {
  int64_t first = aon_docket_int(&rows->rows[0], "first"), last = aon_docket_int(&rows->rows[rows->count - 1], "first");
  aon_result result =
      aon_docket_update_all(d, AON_DOCKET_LOG, aon_docket_range(log, first, last),
                            BCON_NEW("$unset", "{", "images", BCON_INT32(1), "images_sum", BCON_INT32(1), "}"), NULL, error);
  return result ? result : aon_docket_delete(d, AON_DOCKET_PARTS, aon_docket_range(log, first, last), NULL, error);
}

static aon_result clear_work(aon_docket *d, void *arguments, aon_error *error) {
  bulk_call *call = arguments;
  AON_DOCKET_ROWS rows = {0};
  aon_docket_head head;
  aon_result result = aon_docket_head_of(d, call->id, &head, error);
  if (result)
    return result;
  if (!aon_state_terminal(head.state))
    return aon_fail(error, AON_USAGE, "wrong_state", "Bulk operation %s is %s; its images are still needed.", call->id,
                    aon_state_name(head.state));
  bson_t *filter = aon_docket_range(head.log, 0, INT64_MAX), *options = aon_docket_sorted("_id", 1, AON_DOCKET_CLEAR_SEGMENTS);
  BCON_APPEND(filter, "images_sum", "{", "$exists", BCON_BOOL(true), "}");
  BCON_APPEND(options, "projection", "{", "first", BCON_INT32(1), "}");
  result = aon_docket_find(d, AON_DOCKET_LOG, filter, options, &rows, "clearing images", error);
  call->more = rows.count > 0;
  if (!result && call->more)
    result = clear_some(d, head.log, &rows, error);
  else if (!result) /* none is left, so housekeeping need not come back */
    result = aon_docket_touch(d, call->id, head.epoch, BCON_NEW("images_until_ms", BCON_INT64(0)), NULL, error);
  return result;
}

aon_result aon_docket_clear_images(void *state, const char *id, aon_error *error) {
  aon_docket *d = state;
  bulk_call call = {.id = id};
  aon_result result = aon_docket_write(d, "clearing images", clear_work, &call, error);
  aon_piece_drop(&d->piece);
  if (result)
    return result;
  return call.more ? AON_OK : AON_END;
}
