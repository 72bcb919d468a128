/* Names and segments of one bulk operation: reading them back, with every sum checked.
 * Invariant: bytes that are not what was written are never handed on; AON_CORRUPT names the bulk operation. */
#include <string.h>

#include "journal/sqlite_ledger.h"

enum { KIND_COLLECTION = 0, KIND_TEXT = 1 };

/* ---- names ---- */

void aon_ledger_names_drop(aon_names *names) {
  aon_dictionary_release(names->dictionary);
  *names = (aon_names){0};
}

static aon_result load(aon_ledger *ledger, aon_names *names, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result = aon_ledger_query(ledger, "select number, kind, name from names where bulk = ? and number > ? order by number",
                                       &statement, error, "ii", names->bulk, names->last);
  while (!result && !(result = aon_sqlite_step(ledger->database, statement, error))) {
    const char *name = aon_ledger_text(statement, 2);
    if (!name)
      return aon_fail_memory(error);
    result = sqlite3_column_int64(statement, 1) == KIND_COLLECTION ? aon_dictionary_restore_collection(names->dictionary, name, error)
                                                                   : aon_dictionary_restore_text(names->dictionary, name, error);
    names->last = sqlite3_column_int64(statement, 0);
  }
  return result == AON_END ? AON_OK : result;
}

aon_result aon_ledger_names(aon_ledger *ledger, aon_names *names, int64_t bulk, aon_error *error) {
  int64_t last = 0;
  aon_result result = aon_ledger_number(ledger, "select max(number) from names where bulk = ?", &last, error, "i", bulk);
  if (result)
    return result;
  if (names->bulk == bulk && names->last == last)
    return AON_OK;
  aon_ledger_names_drop(names); /* of another one, or discarded and logged anew since */
  names->dictionary = aon_dictionary_new();
  if (!names->dictionary)
    return aon_fail_memory(error);
  names->bulk = bulk;
  result = load(ledger, names, error);
  if (result)
    aon_ledger_names_drop(names);
  return result;
}

static aon_result keep(aon_ledger *ledger, aon_names *names, int64_t kind, const char *name, aon_error *error) {
  aon_result result =
      aon_ledger_run(ledger, "insert into names (bulk, kind, name) values (?, ?, ?)", error, "iit", names->bulk, kind, name);
  if (!result)
    names->last = sqlite3_last_insert_rowid(aon_sqlite_handle(ledger->database));
  return result;
}

aon_result aon_ledger_names_keep(aon_ledger *ledger, aon_names *names, size_t collections, size_t texts, aon_error *error) {
  aon_result result = AON_OK;
  const aon_dictionary *dictionary = names->dictionary;
  for (; !result && collections < aon_dictionary_collections(dictionary); collections++)
    result = keep(ledger, names, KIND_COLLECTION, aon_dictionary_settings_at(dictionary, collections), error);
  for (; !result && texts < aon_dictionary_texts(dictionary); texts++)
    result = keep(ledger, names, KIND_TEXT, aon_dictionary_text_at(dictionary, texts), error);
  return result;
}

aon_result aon_ledger_collections(void *state, const char *id, aon_arena *arena, const aon_collection **ret_collections, size_t *ret_count,
                                  aon_error *error) {
  aon_ledger *ledger = state;
  aon_ledger_head head;
  aon_result result = aon_ledger_head_of(ledger, id, &head, error);
  if (!result)
    result = aon_ledger_names(ledger, &ledger->read, head.number, error);
  return result ? result : aon_piece_collections(ledger->read.dictionary, arena, ret_collections, ret_count, error);
}

/* ---- segments ---- */

aon_piece_keyring aon_ledger_ring(aon_ledger *ledger) {
  return (aon_piece_keyring){.env = ledger->env, .key_file = ledger->key_file, .keys = &ledger->keys};
}

/* One column's bytes, borrowed until the next step. NULL: the column is null. */
static aon_result column_of(sqlite3_stmt *statement, int column, const void **ret_bytes, size_t *ret_length, aon_error *error) {
  *ret_bytes = sqlite3_column_blob(statement, column);
  *ret_length = (size_t)sqlite3_column_bytes(statement, column);
  return !*ret_bytes && *ret_length ? aon_fail_memory(error) : AON_OK;
}

aon_result aon_ledger_segment_read(aon_ledger *ledger, const char *bulk_id, const aon_dictionary *dictionary,
                                   const aon_ledger_segment *segment, bool images, aon_arena *arena, aon_operation **ret_operations,
                                   bool *ret_cleared, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result =
      aon_ledger_query(ledger,
                       images ? "select operations_sum, operations, images_sum, images, sealed from segments where number = ?"
                              : "select operations_sum, operations from segments where number = ?",
                       &statement, error, "i", segment->number);
  if (!result)
    result = aon_sqlite_step(ledger->database, statement, error);
  if (result == AON_END)
    return aon_piece_damaged(bulk_id, segment->first, error);
  aon_piece_keyring ring = aon_ledger_ring(ledger);
  aon_stored stored = {.first = segment->first, .count = segment->count};
  if (!result)
    result = column_of(statement, 0, &stored.operations_sum, &stored.operations_sum_length, error);
  if (!result)
    result = column_of(statement, 1, &stored.operations, &stored.operations_length, error);
  if (!result && images)
    result = column_of(statement, 2, &stored.images_sum, &stored.images_sum_length, error);
  if (!result && images)
    result = column_of(statement, 3, &stored.images, &stored.images_length, error);
  stored.sealed = !result && images && sqlite3_column_int64(statement, 4) != 0;
  if (!result)
    result = aon_piece_decode(&ring, bulk_id, dictionary, &stored, arena, ret_operations, error);
  if (!result && ret_cleared)
    *ret_cleared = images && !stored.images;
  return result;
}

aon_result aon_ledger_segment_find(aon_ledger *ledger, int64_t bulk, int64_t sequence, aon_ledger_segment *ret_segment, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result =
      aon_ledger_query(ledger, "select number, first, count from segments where bulk = ? and first <= ? order by first desc limit 1",
                       &statement, error, "ii", bulk, sequence);
  if (!result)
    result = aon_sqlite_step(ledger->database, statement, error);
  if (result)
    return result;
  aon_ledger_segment segment = {.number = sqlite3_column_int64(statement, 0),
                                .first = sqlite3_column_int64(statement, 1),
                                .count = (uint32_t)sqlite3_column_int64(statement, 2)};
  if (sequence >= segment.first + segment.count)
    return AON_END;
  *ret_segment = segment;
  return AON_OK;
}
