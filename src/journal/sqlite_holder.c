/* Who holds a document, for reads that go through the journal.
 * Invariant: all that is told comes from one state of the journal (one read transaction). */
#include <string.h>

#include "journal/sqlite_ledger.h"
#include "model/text.h"

/* ---- the bulk operation in the way ---- */

typedef struct wanted {
  const char *store, *collection;
  aon_text document;
  uint64_t hash;
  bool shared; /* the lock that is asked for */
} wanted;

/* Whether a run has an entry that excludes the wanted lock. */
static aon_result excludes(aon_ledger *ledger, const wanted *want, sqlite3_stmt *statement, bool *ret_excludes, aon_error *error) {
  aon_ledger_locks_run run;
  int64_t bulk = sqlite3_column_int64(statement, 0), first = sqlite3_column_int64(statement, 1);
  bool shared = sqlite3_column_int64(statement, 2) != 0;
  aon_result result = aon_ledger_run_of(statement, 3, &run, error);
  *ret_excludes = false;
  if (result || (shared && want->shared))
    return result;
  for (size_t at = aon_ledger_run_seek(&run, 0, want->hash); at < run.count && aon_ledger_run_hash(&run, at) == want->hash; at++) {
    uint32_t offset = aon_ledger_run_at(&run, at);
    const aon_operation *operation = NULL;
    if (offset != AON_LEDGER_CLAIM)
      result = aon_ledger_peek(ledger, bulk, first, offset, &operation, error);
    if (result)
      return result;
    if (offset == AON_LEDGER_CLAIM ? shared : operation && aon_piece_is_about(operation, want->store, want->collection, want->document))
      *ret_excludes = true;
  }
  return AON_OK;
}

static aon_result holder_by_log(aon_ledger *ledger, const wanted *want, int64_t *ret_bulk, aon_error *error) {
  int64_t any = 0;
  aon_result result = aon_ledger_number(ledger, "select 1 from bulk where holds = 1 limit 1", &any, error, "");
  if (!result && any)
    result = aon_ledger_filter(ledger, error);
  if (result || !any || !aon_filter_maybe(&ledger->filter, want->hash))
    return result;
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  result = aon_ledger_query(
      ledger,
      "select r.bulk, r.first, r.shared, r.hashes from bulk b cross join lock_runs r on r.bulk = b.number where b.holds = 1"
      " order by b.number, r.first",
      &statement, error, "");
  bool found = false;
  while (!result && !found && !(result = aon_sqlite_step(ledger->database, statement, error)))
    result = excludes(ledger, want, statement, &found, error);
  if (found)
    *ret_bulk = sqlite3_column_int64(statement, 0);
  return result == AON_END ? AON_OK : result;
}

static aon_result holder_by_conflict(aon_ledger *ledger, const wanted *want, int64_t *ret_bulk, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result = aon_ledger_query(ledger, "select bulk, store, collection, document_id from conflicts where hash = ? and watched = 0",
                                       &statement, error, "i", (int64_t)want->hash);
  while (!result && !*ret_bulk && !(result = aon_sqlite_step(ledger->database, statement, error))) {
    size_t length = (size_t)sqlite3_column_bytes(statement, 3);
    if (!strcmp(aon_ledger_text(statement, 1), want->store) && !strcmp(aon_ledger_text(statement, 2), want->collection) &&
        length == want->document.length && !memcmp(aon_ledger_text(statement, 3), want->document.data, length))
      *ret_bulk = sqlite3_column_int64(statement, 0);
  }
  return result == AON_END ? AON_OK : result;
}

aon_result aon_ledger_holder_of(aon_ledger *ledger, const char *store, const char *collection, aon_text document, bool shared,
                                int64_t *ret_bulk, aon_error *error) {
  wanted want = {.store = store,
                 .collection = collection,
                 .document = document,
                 .hash = aon_document_hash(store, collection, document),
                 .shared = shared};
  int64_t bulk = 0;
  aon_result result = holder_by_log(ledger, &want, &bulk, error);
  if (!result && !bulk)
    result = holder_by_conflict(ledger, &want, &bulk, error);
  if (!result)
    *ret_bulk = bulk;
  return result;
}

/* ---- its chain, folded ---- */

typedef struct holder_call {
  const aon_collection *collection;
  aon_text document;
  aon_arena *arena;
  int64_t number, first, last; /* sequences of the chain */
  aon_bulk bulk;
  aon_operation operation;
} holder_call;

static aon_result chain_in(aon_ledger *ledger, holder_call *call, sqlite3_stmt *statement, uint64_t hash, aon_error *error) {
  aon_ledger_locks_run run;
  int64_t first = sqlite3_column_int64(statement, 0);
  aon_result result = aon_ledger_run_of(statement, 1, &run, error);
  size_t at = result ? 0 : aon_ledger_run_seek(&run, 0, hash);
  for (; !result && at < run.count && aon_ledger_run_hash(&run, at) == hash; at++) {
    const aon_operation *operation = NULL;
    uint32_t offset = aon_ledger_run_at(&run, at);
    if (offset != AON_LEDGER_CLAIM)
      result = aon_ledger_peek(ledger, call->number, first, offset, &operation, error);
    if (!operation || !aon_piece_is_about(operation, call->collection->store, call->collection->name, call->document))
      continue;
    if (call->first == AON_NO_OPERATION)
      call->first = operation->sequence;
    call->last = operation->sequence;
  }
  return result;
}

static aon_result chain_of(aon_ledger *ledger, holder_call *call, aon_error *error) {
  uint64_t hash = aon_document_hash(call->collection->store, call->collection->name, call->document);
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result = aon_ledger_query(ledger, "select first, hashes from lock_runs where bulk = ? and shared = 0 order by first, number",
                                       &statement, error, "i", call->number);
  call->first = call->last = AON_NO_OPERATION;
  while (!result && !(result = aon_sqlite_step(ledger->database, statement, error)))
    result = chain_in(ledger, call, statement, hash, error);
  return result == AON_END ? AON_OK : result;
}

static aon_result operation_at(aon_ledger *ledger, holder_call *call, int64_t sequence, aon_operation *ret_operation, aon_error *error) {
  aon_ledger_segment segment;
  aon_operation *operations;
  aon_result result = aon_ledger_segment_find(ledger, call->number, sequence, &segment, error);
  if (result == AON_END)
    return aon_fail(error, AON_CORRUPT, "corrupt",
                    "Operation %lld of bulk operation %s is missing in the journal. Restore the journal from a backup.",
                    (long long)sequence + 1, call->bulk.id);
  if (!result)
    result = aon_ledger_names(ledger, &ledger->read, call->number, error);
  if (!result)
    result = aon_ledger_segment_read(ledger, call->bulk.id, ledger->read.dictionary, &segment, true, call->arena, &operations, NULL, error);
  if (!result)
    *ret_operation = operations[sequence - segment.first];
  return result;
}

static aon_result fold(aon_ledger *ledger, holder_call *call, aon_error *error) {
  aon_operation first, last;
  aon_result result = operation_at(ledger, call, call->first, &first, error);
  if (!result)
    result = operation_at(ledger, call, call->last, &last, error);
  if (result)
    return result;
  call->operation = aon_piece_fold(&first, &last);
  return aon_piece_own(&call->operation, call->arena, false, error); /* the dictionary may go before the arena does */
}

static aon_result holder_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  holder_call *call = arguments;
  char id[37];
  aon_result result =
      aon_ledger_holder_of(ledger, call->collection->store, call->collection->name, call->document, true, &call->number, error);
  if (result || !call->number)
    return result;
  result = aon_ledger_id_of(ledger, call->number, id, error);
  if (!result)
    result = aon_ledger_bulk(ledger, id, call->arena, &call->bulk, error);
  if (!result)
    result = chain_of(ledger, call, error);
  if (!result && call->first == AON_NO_OPERATION)
    return aon_fail(error, AON_CORRUPT, "corrupt", "The journal lacks the operation for which bulk operation %s holds a document.", id);
  return result ? result : fold(ledger, call, error);
}

aon_result aon_ledger_holder(void *state, const aon_collection *collection, aon_text document, aon_arena *arena, bool *ret_held,
                             aon_bulk *ret_bulk, aon_operation *ret_operation, aon_error *error) {
  holder_call call = {.collection = collection, .document = document, .arena = arena};
  aon_result result = aon_ledger_read(state, holder_work, &call, error);
  if (result)
    return result;
  *ret_held = call.number != 0;
  if (call.number) {
    *ret_bulk = call.bulk;
    *ret_operation = call.operation;
  }
  return AON_OK;
}
