/* Chains: the last operation on a document in the log of one bulk operation.
 *
 * Invariants: what the table in memory says is confirmed by the segment; what it can't say (it is full, or two documents look
 * alike in it) is looked for in the runs of locks, newest first; only the worker that logs asks, so what this handle has logged
 * or found when it first asked is all there is. */
#include <stdlib.h>
#include <string.h>

#include "journal/sqlite_ledger.h"

/* ---- the table ---- */

void aon_ledger_chain_drop(aon_ledger *ledger) {
  aon_chain_release(&ledger->chain);
  ledger->chain_bulk = 0;
  ledger->chain_id[0] = 0;
  ledger->chain_noted = false;
}

void aon_ledger_chain_note(aon_ledger *ledger, int64_t bulk, int64_t first, const aon_ledger_entry *entries, size_t count, uint32_t from,
                           uint32_t operations) {
  if (ledger->chain_bulk != bulk || operations == 0 || ledger->chain_end != INT64_MAX)
    return;
  ledger->chain_noted = true;
  if (!aon_chain_begin(&ledger->chain, first, operations)) {
    ledger->chain_end = first;
    return;
  }
  for (size_t i = 0; i < count; i++)
    if (entries[i].at != AON_LEDGER_CLAIM && entries[i].at - from < operations)
      aon_chain_add(&ledger->chain, entries[i].hash);
}

static void add_run(aon_ledger *ledger, int64_t first, const aon_ledger_locks_run *run) {
  size_t documents = 0;
  for (size_t i = 0; i < run->count; i++)
    documents += aon_ledger_run_at(run, i) != AON_LEDGER_CLAIM;
  if (documents == 0)
    return;
  if (!aon_chain_begin(&ledger->chain, first, documents)) {
    ledger->chain_end = first;
    return;
  }
  for (size_t i = 0; i < run->count; i++)
    if (aon_ledger_run_at(run, i) != AON_LEDGER_CLAIM)
      aon_chain_add(&ledger->chain, aon_ledger_run_hash(run, i));
}

static aon_result build(aon_ledger *ledger, const char *id, aon_error *error) {
  aon_ledger_head head;
  aon_ledger_chain_drop(ledger);
  aon_result result = aon_ledger_head_of(ledger, id, &head, error);
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  if (!result)
    result = aon_ledger_query(ledger, "select first, hashes from lock_runs where bulk = ? and shared = 0 order by first, number",
                              &statement, error, "i", head.number);
  if (result)
    return result;
  ledger->chain_end = INT64_MAX;
  while (ledger->chain_end == INT64_MAX && !(result = aon_sqlite_step(ledger->database, statement, error))) {
    aon_ledger_locks_run run;
    result = aon_ledger_run_of(statement, 1, &run, error);
    if (result)
      break;
    add_run(ledger, sqlite3_column_int64(statement, 0), &run);
  }
  if (result && result != AON_END)
    return result;
  ledger->chain_bulk = head.number;
  snprintf(ledger->chain_id, sizeof ledger->chain_id, "%s", id);
  return AON_OK;
}

/* ---- the runs ---- */

typedef struct sought {
  uint64_t hash;
  aon_last_query *query;
} sought;

static int sought_order(const void *a, const void *b) {
  const sought *left = a, *right = b;
  return left->hash < right->hash ? -1 : left->hash > right->hash;
}

/* The last operation of one run on the document. */
static aon_result last_in(aon_ledger *ledger, int64_t first, const aon_ledger_locks_run *run, size_t index, sought *one, aon_error *error) {
  size_t end = index;
  while (end < run->count && aon_ledger_run_hash(run, end) == one->hash)
    end++;
  while (end-- > index) { /* offsets ascend within a hash */
    const aon_operation *operation;
    uint32_t at = aon_ledger_run_at(run, end);
    if (at == AON_LEDGER_CLAIM)
      continue;
    aon_result result = aon_ledger_peek(ledger, ledger->chain_bulk, first, at, &operation, error);
    if (result)
      return result;
    const aon_collection *collection = one->query->collection;
    if (operation && aon_piece_is_about(operation, collection->store, collection->name, one->query->document)) {
      one->query->sequence = operation->sequence;
      return AON_OK;
    }
  }
  return AON_OK;
}

static aon_result search_run(aon_ledger *ledger, sqlite3_stmt *statement, sought *wanted, size_t *count, aon_error *error) {
  aon_ledger_locks_run run;
  int64_t first = sqlite3_column_int64(statement, 0);
  aon_result result = aon_ledger_run_of(statement, 1, &run, error);
  size_t left = 0, from = 0;
  for (size_t i = 0; !result && i < *count; i++) {
    from = aon_ledger_run_seek(&run, from, wanted[i].hash);
    if (from < run.count && aon_ledger_run_hash(&run, from) == wanted[i].hash)
      result = last_in(ledger, first, &run, from, &wanted[i], error);
    if (wanted[i].query->sequence == AON_NO_OPERATION)
      wanted[left++] = wanted[i];
  }
  *count = left;
  return result;
}

/* Newest run first: a document found there needs no older one. */
static aon_result search_runs(aon_ledger *ledger, int64_t since, aon_buffer *found_maybe, aon_error *error) {
  sought *wanted = (sought *)(void *)found_maybe->data;
  size_t count = found_maybe->length / sizeof *wanted;
  if (count == 0)
    return AON_OK;
  qsort(wanted, count, sizeof *wanted, sought_order);
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result = aon_ledger_query(ledger,
                                       "select first, hashes from lock_runs where bulk = ? and first >= ? and shared = 0"
                                       " order by first desc, number desc",
                                       &statement, error, "ii", ledger->chain_bulk, since);
  while (!result && count && !(result = aon_sqlite_step(ledger->database, statement, error)))
    result = search_run(ledger, statement, wanted, &count, error);
  return result == AON_END ? AON_OK : result;
}

static aon_result want(aon_buffer *list, aon_last_query *query, aon_error *error) {
  sought one = {.hash = query->hash, .query = query};
  return aon_buffer_append(list, &one, sizeof one, error);
}

/* ---- both ---- */

/* What was logged since the table is full. */
static aon_result search_beyond(aon_ledger *ledger, aon_last_query *queries, size_t count, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer maybe = {0};
  aon_result result = aon_ledger_filter(ledger, error);
  for (size_t i = 0; !result && i < count; i++)
    if (aon_filter_maybe(&ledger->filter, queries[i].hash))
      result = want(&maybe, &queries[i], error);
  return result ? result : search_runs(ledger, ledger->chain_end, &maybe, error);
}

static aon_result confirm(aon_ledger *ledger, int64_t first, aon_last_query *query, aon_error *error) {
  aon_piece *piece;
  aon_result result = aon_ledger_piece(ledger, ledger->chain_bulk, first, false, &piece, error);
  if (result)
    return result == AON_END ? AON_OK : result;
  for (uint32_t i = piece->count; i-- > 0;)
    if (aon_piece_is_about(&piece->operations[i], query->collection->store, query->collection->name, query->document)) {
      query->sequence = piece->operations[i].sequence;
      return AON_OK;
    }
  return AON_OK;
}

aon_result aon_ledger_last_of(void *state, const char *id, aon_last_query *queries, size_t count, aon_error *error) {
  aon_ledger *ledger = state;
  aon_result result = AON_OK;
  for (size_t i = 0; i < count; i++)
    queries[i].sequence = AON_NO_OPERATION;
  if (strcmp(ledger->chain_id, id))
    result = build(ledger, id, error);
  if (!result && ledger->chain_end != INT64_MAX)
    result = search_beyond(ledger, queries, count, error);
  AON_BUFFER_CLEANUP aon_buffer alike = {0};
  for (size_t i = 0; !result && i < count; i++) {
    int64_t first;
    if (queries[i].sequence != AON_NO_OPERATION || !aon_chain_find(&ledger->chain, queries[i].hash, &first))
      continue;
    result = confirm(ledger, first, &queries[i], error);
    if (!result && queries[i].sequence == AON_NO_OPERATION)
      result = want(&alike, &queries[i], error);
  }
  return result ? result : search_runs(ledger, 0, &alike, error);
}
