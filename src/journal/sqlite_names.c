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
  if (result)
    return result;
  const aon_dictionary *dictionary = ledger->read.dictionary;
  size_t count = aon_dictionary_collections(dictionary);
  aon_collection *collections = aon_arena_alloc(arena, count * sizeof *collections);
  if (!collections)
    return aon_fail_memory(error);
  for (size_t i = 0; !result && i < count; i++)
    result = aon_collection_copy(aon_dictionary_collection_at(dictionary, i), arena, &collections[i], error);
  if (result)
    return result;
  *ret_collections = collections;
  *ret_count = count;
  return AON_OK;
}

/* ---- segments ---- */

static aon_result damaged(const char *bulk_id, int64_t first, aon_error *error) {
  aon_result result =
      aon_fail(error, AON_CORRUPT, "corrupt",
               "The journal's entries of bulk operation %s from operation %lld on are damaged: their check sum is wrong. Restore the "
               "journal from a backup.",
               bulk_id, (long long)first + 1);
  if (error)
    snprintf(error->bulk_id, sizeof error->bulk_id, "%s", bulk_id);
  return result;
}

typedef struct bytes {
  const void *data;
  size_t length;
} bytes;

/* The bytes of one column, in the arena, proved by the sum in another. *ret_bytes.data NULL: the column is null. */
static aon_result fetch(sqlite3_stmt *statement, int column, int sum_column, const char *bulk_id, int64_t first, aon_segment_role role,
                        aon_arena *arena, bytes *ret_bytes, aon_error *error) {
  bytes found = {0};
  if (sqlite3_column_type(statement, column) == SQLITE_NULL) {
    *ret_bytes = found;
    return AON_OK;
  }
  const void *stored = sqlite3_column_blob(statement, column);
  found.length = (size_t)sqlite3_column_bytes(statement, column);
  if (!stored && found.length)
    return aon_fail_memory(error);
  const void *sum = sqlite3_column_blob(statement, sum_column);
  unsigned char proof[AON_SEGMENT_SUM_BYTES];
  aon_segment_sum(bulk_id, first, role, stored, found.length, proof);
  if (!sum || sqlite3_column_bytes(statement, sum_column) != sizeof proof || memcmp(sum, proof, sizeof proof))
    return damaged(bulk_id, first, error);
  found.data = aon_arena_copy(arena, stored, found.length);
  if (!found.data)
    return aon_fail_memory(error);
  *ret_bytes = found;
  return AON_OK;
}

/* Keys are read when first needed (read-only), and again if one is missing: another program may have added it. */
aon_result aon_ledger_keys_with(aon_ledger *ledger, const char *name, aon_error *error) {
  aon_keys *keys;
  if ((ledger->keys && aon_keys_has(ledger->keys, name)) || !ledger->key_file)
    return AON_OK;
  aon_result result = aon_keys_read(ledger->env, ledger->key_file, &keys, error);
  if (result)
    return result;
  aon_keys_close(ledger->keys);
  ledger->keys = keys;
  return AON_OK;
}

static aon_result unseal(aon_ledger *ledger, const char *bulk_id, int64_t first, aon_arena *arena, bytes *images, aon_error *error) {
  char name[AON_KEY_NAME_LENGTH + 1];
  if (!aon_seal_key_name(images->data, images->length, name))
    return damaged(bulk_id, first, error);
  aon_result result = aon_ledger_keys_with(ledger, name, error);
  if (result)
    return result;
  bytes plain = {.data = aon_arena_alloc(arena, images->length), .length = images->length - AON_SEAL_OVERHEAD};
  if (!plain.data)
    return aon_fail_memory(error);
  result = aon_keys_unseal(ledger->keys, bulk_id, first, images->data, images->length, (void *)plain.data, error);
  if (!result)
    *images = plain;
  return result;
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
    return damaged(bulk_id, segment->first, error);
  bytes heads = {0}, pictures = {0};
  if (!result)
    result = fetch(statement, 1, 0, bulk_id, segment->first, AON_SEGMENT_OPERATIONS_ROLE, arena, &heads, error);
  if (!result && images)
    result = fetch(statement, 3, 2, bulk_id, segment->first, AON_SEGMENT_IMAGES_ROLE, arena, &pictures, error);
  if (!result && pictures.data && sqlite3_column_int64(statement, 4))
    result = unseal(ledger, bulk_id, segment->first, arena, &pictures, error);
  if (!result)
    result = aon_segment_decode(dictionary, segment->first, segment->count, heads.data, heads.length, pictures.data, pictures.length, arena,
                                ret_operations, error);
  if (!result && ret_cleared)
    *ret_cleared = images && !pictures.data;
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
