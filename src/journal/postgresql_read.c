/* Names and segments of one log: reading them back, with every sum checked; entries; who holds a document.
 * Invariant: bytes that are not what was written are never handed on; AON_CORRUPT names the bulk operation. */
#include <stdlib.h>
#include <string.h>

#include "journal/postgresql_register.h"
#include "model/text.h"

enum { KIND_COLLECTION = 0, KIND_TEXT = 1 };

/* ---- names ---- */

void aon_register_names_drop(aon_register_names *names) {
  aon_dictionary_release(names->dictionary);
  *names = (aon_register_names){0};
}

static aon_result names_of(aon_register *r, int64_t log, aon_error *error) {
  if (r->names.log == log)
    return AON_OK;
  aon_register_names_drop(&r->names);
  r->names.dictionary = aon_dictionary_new();
  if (!r->names.dictionary)
    return aon_fail_memory(error);
  r->names.log = log;
  return AON_OK;
}

static void names_add(aon_register *r, aon_register_call *call) {
  aon_register_add(call, "select number, kind, name from aon_journal_names where log = $1 and number > $2 order by number", "ii",
                   r->names.log, r->names.last);
}

/* A log only grows, so what is there is read once. The rows of a statement that names_add has added. */
static aon_result names_take(aon_register *r, const aon_register_call *call, size_t statement, aon_error *error) {
  aon_result result = AON_OK;
  int rows = aon_register_rows(call, statement);
  for (int row = 0; !result && row < rows; row++) {
    const char *name = aon_register_text(call, statement, row, 2);
    result = aon_register_int(call, statement, row, 1) == KIND_COLLECTION
                 ? aon_dictionary_restore_collection(r->names.dictionary, name, error)
                 : aon_dictionary_restore_text(r->names.dictionary, name, error);
    r->names.last = aon_register_int(call, statement, row, 0);
  }
  if (result)
    aon_register_names_drop(&r->names);
  return result;
}

aon_result aon_register_names_load(aon_register *r, int64_t log, aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_result result = names_of(r, log, error);
  if (result)
    return result;
  names_add(r, &call);
  result = aon_register_run(r, &call, "reading names of the log", error);
  return result ? result : names_take(r, &call, 0, error);
}

aon_result aon_register_collections(void *state, const char *id, aon_arena *arena, const aon_collection **ret_collections,
                                    size_t *ret_count, aon_error *error) {
  aon_register *r = state;
  aon_register_head head;
  aon_result result = aon_register_head_of(r, id, &head, error);
  if (!result)
    result = aon_register_names_load(r, head.log, error);
  return result ? result : aon_piece_collections(r->names.dictionary, arena, ret_collections, ret_count, error);
}

/* ---- segments ---- */

aon_piece_keyring aon_register_ring(aon_register *r) {
  return (aon_piece_keyring){.env = r->env, .key_file = r->key_file, .keys = &r->keys};
}

static aon_result piece_decode(aon_register *r, const aon_register_call *call, const char *bulk_id, bool images, aon_piece_loaded *piece,
                               aon_error *error) {
  aon_piece_keyring ring = aon_register_ring(r);
  aon_stored stored = {.first = piece->first,
                       .count = piece->count,
                       .operations = aon_register_text(call, 1, 0, 2),
                       .operations_length = aon_register_length(call, 1, 0, 2),
                       .operations_sum = aon_register_text(call, 1, 0, 3),
                       .operations_sum_length = aon_register_length(call, 1, 0, 3)};
  if (images) {
    stored.images = aon_register_text(call, 1, 0, 4);
    stored.images_length = aon_register_length(call, 1, 0, 4);
    stored.images_sum = aon_register_text(call, 1, 0, 5);
    stored.images_sum_length = aon_register_length(call, 1, 0, 5);
    stored.sealed = aon_register_int(call, 1, 0, 6) != 0;
  }
  piece->dictionary = aon_dictionary_share(r->names.dictionary);
  piece->cleared = images && !stored.images;
  return aon_piece_decode(&ring, bulk_id, piece->dictionary, &stored, &piece->arena, &piece->operations, error);
}

#define SEGMENT " from aon_journal_segments where log = $1 and first <= $2 order by first desc limit 1"

aon_result aon_register_segment_read(void *state, const char *bulk_id, int64_t log, int64_t sequence, bool images, aon_piece_loaded *piece,
                                     aon_error *error) {
  aon_register *r = state;
  AON_REGISTER_CALL call = {0};
  aon_piece_empty(piece);
  aon_result result = names_of(r, log, error);
  if (result)
    return result;
  names_add(r, &call);
  aon_register_add(&call,
                   images ? "select first, count, operations, operations_sum, images, images_sum, sealed" SEGMENT
                          : "select first, count, operations, operations_sum" SEGMENT,
                   "ii", log, sequence);
  result = aon_register_run(r, &call, "reading the log", error);
  if (!result)
    result = names_take(r, &call, 0, error);
  if (result)
    return result;
  if (!aon_register_rows(&call, 1))
    return AON_END;
  piece->first = aon_register_int(&call, 1, 0, 0);
  piece->count = (uint32_t)aon_register_int(&call, 1, 0, 1);
  if (sequence >= piece->first + piece->count)
    return AON_END;
  result = piece_decode(r, &call, bulk_id, images, piece, error);
  if (result)
    aon_piece_empty(piece);
  else
    piece->log = log;
  return result;
}

/* ---- entries ---- */

aon_result aon_register_entries_open(void *state, const char *id, int64_t first, int64_t last, bool backward, void **ret_cursor,
                                     aon_error *error) {
  aon_register_head head;
  aon_result result = aon_register_head_of(state, id, &head, error);
  return result ? result
                : aon_piece_cursor_open(aon_register_segment_read, state, id, head.log,
                                        aon_piece_window_of(first, last, backward, head.logged), ret_cursor, error);
}

/* ---- who holds a document ---- */

typedef struct holder_call {
  const aon_collection *collection;
  aon_text document;
  aon_arena *arena;
  bool held;
  int64_t log, first, last; /* sequences of the chain */
  aon_bulk bulk;
  aon_operation operation;
} holder_call;

static aon_result operation_at(aon_register *r, holder_call *call, int64_t sequence, aon_operation *ret_operation, aon_error *error) {
  aon_piece_loaded piece = {0};
  aon_result result = aon_register_segment_read(r, call->bulk.id, call->log, sequence, true, &piece, error);
  if (result == AON_END)
    result = aon_fail(error, AON_CORRUPT, "corrupt",
                      "Operation %lld of bulk operation %s is missing in the journal. Restore the journal from a backup.",
                      (long long)sequence + 1, call->bulk.id);
  if (!result) {
    *ret_operation = piece.operations[sequence - piece.first];
    result = aon_piece_own(ret_operation, call->arena, true, error);
  }
  aon_piece_drop(&piece);
  return result;
}

static aon_result fold(aon_register *r, holder_call *call, aon_error *error) {
  aon_operation first, last;
  aon_result result = operation_at(r, call, call->first, &first, error);
  if (!result)
    result = operation_at(r, call, call->last, &last, error);
  if (result)
    return result;
  /* Only the hashes are the same: two documents in some 2^32 would have to meet. */
  call->held = aon_piece_is_about(&first, call->collection->store, call->collection->name, call->document) &&
               aon_piece_is_about(&last, call->collection->store, call->collection->name, call->document);
  call->operation = aon_piece_fold(&first, &last);
  return AON_OK;
}

static aon_result holder_work(aon_register *r, void *arguments, aon_error *error) {
  holder_call *wanted = arguments;
  AON_REGISTER_CALL call = {0};
  const aon_collection *collection = wanted->collection;
  int64_t hash = (int64_t)aon_document_hash(collection->store, collection->name, wanted->document);
  wanted->held = false;
  aon_result result = aon_register_ask(
      r, &call, "looking up who holds a document",
      "select " AON_REGISTER_COLUMNS ", b.log,"
      " (select min(l.sequence) from aon_journal_locks l where l.hash = $1 and l.log = b.log and l.sequence >= 0),"
      " (select max(l.sequence) from aon_journal_locks l where l.hash = $1 and l.log = b.log and l.sequence >= 0)"
      " from aon_journal_bulk b where b.number in"
      " (select h.number from aon_journal_locks l join aon_journal_bulk h on h.log = l.log and h.holds where l.hash = $1 and l.sequence >= 0"
      " union all select c.bulk from aon_journal_conflicts c where c.hash = $1 and not c.watched) order by b.holds desc, b.number limit 1",
      error, "i", hash);
  if (result || !aon_register_rows(&call, 0))
    return result;
  result = aon_register_bulk_from(&call, 0, 0, wanted->arena, &wanted->bulk, error);
  wanted->log = aon_register_int(&call, 0, 0, AON_REGISTER_COLUMN_NOW + 1);
  if (!result && aon_register_null(&call, 0, 0, AON_REGISTER_COLUMN_NOW + 2))
    return aon_fail(error, AON_CORRUPT, "corrupt", "The journal lacks the operation for which bulk operation %s holds a document.",
                    wanted->bulk.id);
  wanted->first = aon_register_int(&call, 0, 0, AON_REGISTER_COLUMN_NOW + 2);
  wanted->last = aon_register_int(&call, 0, 0, AON_REGISTER_COLUMN_NOW + 3);
  return result ? result : fold(r, wanted, error);
}

aon_result aon_register_holder(void *state, const aon_collection *collection, aon_text document, aon_arena *arena, bool *ret_held,
                               aon_bulk *ret_bulk, aon_operation *ret_operation, aon_error *error) {
  holder_call call = {.collection = collection, .document = document, .arena = arena};
  aon_result result = aon_register_read(state, true, holder_work, &call, error);
  if (result)
    return result;
  *ret_held = call.held;
  if (call.held) {
    *ret_bulk = call.bulk;
    *ret_operation = call.operation;
  }
  return AON_OK;
}
