/* Names and segments of one log: reading them back, with every sum checked; entries; locks of documents; who holds a document.
 * Invariant: bytes that are not what was written are never handed on; AON_CORRUPT names the bulk operation. */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "journal/mongodb_docket.h"
#include "model/text.h"

#define ENTRY_BYTES 12

/* ---- names ---- */

void aon_docket_names_drop(aon_docket_names *names) {
  aon_dictionary_release(names->dictionary);
  *names = (aon_docket_names){0};
}

/* A log only grows, so what is there is read once. */
aon_result aon_docket_names_load(aon_docket *d, int64_t log, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  if (!d->names.dictionary || d->names.log != log) {
    aon_docket_names_drop(&d->names);
    d->names.dictionary = aon_dictionary_new();
    if (!d->names.dictionary)
      return aon_fail_memory(error);
    d->names.log = log;
  }
  aon_result result = aon_docket_find(d, AON_DOCKET_NAMES, aon_docket_range(log, d->names.last + 1, INT64_MAX),
                                      aon_docket_sorted("_id", 1, 0), &rows, "reading names of the log", error);
  for (size_t i = 0; !result && i < rows.count; i++) {
    const aon_docket_row *row = &rows.rows[i];
    const char *name = aon_docket_text(row, "name");
    d->names.last = aon_docket_int(row, "number");
    result = aon_docket_int(row, "kind") == 0 ? aon_dictionary_restore_collection(d->names.dictionary, name ? name : "", error)
                                              : aon_dictionary_restore_text(d->names.dictionary, name ? name : "", error);
  }
  if (result)
    aon_docket_names_drop(&d->names);
  return result;
}

aon_result aon_docket_collections(void *state, const char *id, aon_arena *arena, const aon_collection **ret_collections, size_t *ret_count,
                                  aon_error *error) {
  aon_docket *d = state;
  aon_docket_head head;
  aon_result result = aon_docket_head_of(d, id, &head, error);
  if (!result)
    result = aon_docket_names_load(d, head.log, error);
  return result ? result : aon_piece_collections(d->names.dictionary, arena, ret_collections, ret_count, error);
}

/* ---- segments ---- */

aon_piece_keyring aon_docket_ring(aon_docket *d) { return (aon_piece_keyring){.env = d->env, .key_file = d->key_file, .keys = &d->keys}; }

static void part_key(char key[AON_DOCKET_KEY], int64_t log, int64_t first, size_t part) {
  aon_docket_key(key, log, first);
  snprintf(key + strlen(key), 16, ":%04zx", part);
}

aon_result aon_docket_store(aon_docket *d, int64_t log, const aon_stored *stored, aon_error *error) {
  char key[AON_DOCKET_KEY];
  const uint8_t *images = stored->images;
  size_t first = stored->images_length < AON_DOCKET_PART ? stored->images_length : AON_DOCKET_PART, parts = 0;
  aon_result result = AON_OK;
  for (size_t at = first; !result && at < stored->images_length; at += AON_DOCKET_PART) {
    size_t length = stored->images_length - at < AON_DOCKET_PART ? stored->images_length - at : AON_DOCKET_PART;
    part_key(key, log, stored->first, ++parts);
    result =
        aon_docket_insert(d, AON_DOCKET_PARTS,
                          BCON_NEW("_id", BCON_UTF8(key), "images", BCON_BIN(BSON_SUBTYPE_BINARY, images + at, (uint32_t)length)), error);
  }
  if (result)
    return result;
  aon_docket_key(key, log, stored->first);
  bson_t *document =
      BCON_NEW("_id", BCON_UTF8(key), "log", BCON_INT64(log), "first", BCON_INT64(stored->first), "count", BCON_INT64(stored->count),
               "sealed", BCON_BOOL(stored->sealed), "parts", BCON_INT64((int64_t)parts), "operations_sum",
               BCON_BIN(BSON_SUBTYPE_BINARY, stored->operations_sum, (uint32_t)stored->operations_sum_length), "operations",
               BCON_BIN(BSON_SUBTYPE_BINARY, stored->operations, (uint32_t)stored->operations_length));
  if (stored->images)
    BCON_APPEND(document, "images_sum", BCON_BIN(BSON_SUBTYPE_BINARY, stored->images_sum, (uint32_t)stored->images_sum_length), "images",
                BCON_BIN(BSON_SUBTYPE_BINARY, images, (uint32_t)first));
  return aon_docket_insert(d, AON_DOCKET_LOG, document, error);
}

static aon_result join_parts(aon_docket *d, const aon_docket_row *row, aon_arena *arena, aon_stored *stored, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  int64_t log = aon_docket_int(row, "log");
  aon_result result = aon_docket_find(d, AON_DOCKET_PARTS, aon_docket_range(log, stored->first, stored->first),
                                      aon_docket_sorted("_id", 1, 0), &rows, "reading the log", error);
  size_t all = stored->images_length, length, at = stored->images_length;
  for (size_t i = 0; i < rows.count; i++) {
    (void)aon_docket_bytes(&rows.rows[i], "images", &length);
    all += length;
  }
  uint8_t *bytes = result ? NULL : aon_arena_alloc(arena, all ? all : 1);
  if (!bytes)
    return result ? result : aon_fail_memory(error);
  memcpy(bytes, stored->images, stored->images_length);
  for (size_t i = 0; i < rows.count; i++) {
    const void *part = aon_docket_bytes(&rows.rows[i], "images", &length);
    if (length)
      memcpy(bytes + at, part, length);
    at += length;
  }
  stored->images = bytes;
  stored->images_length = all;
  return AON_OK;
}

aon_result aon_docket_stored(aon_docket *d, const aon_docket_row *row, aon_arena *arena, aon_stored *ret_stored, aon_error *error) {
  aon_stored stored = {
      .first = aon_docket_int(row, "first"), .count = (uint32_t)aon_docket_int(row, "count"), .sealed = aon_docket_int(row, "sealed") != 0};
  stored.operations = aon_docket_bytes(row, "operations", &stored.operations_length);
  stored.operations_sum = aon_docket_bytes(row, "operations_sum", &stored.operations_sum_length);
  stored.images = aon_docket_bytes(row, "images", &stored.images_length);
  stored.images_sum = aon_docket_bytes(row, "images_sum", &stored.images_sum_length);
  aon_result result = stored.images && aon_docket_int(row, "parts") ? join_parts(d, row, arena, &stored, error) : AON_OK;
  *ret_stored = stored;
  return result;
}

static aon_result piece_decode(aon_docket *d, const char *bulk_id, const aon_docket_row *row, bool images, aon_piece_loaded *piece,
                               aon_error *error) {
  aon_stored stored;
  aon_piece_keyring ring = aon_docket_ring(d);
  aon_result result = aon_docket_stored(d, row, &piece->arena, &stored, error);
  if (result)
    return result;
  piece->dictionary = aon_dictionary_share(d->names.dictionary);
  piece->cleared = images && !stored.images;
  return aon_piece_decode(&ring, bulk_id, piece->dictionary, &stored, &piece->arena, &piece->operations, error);
}

aon_result aon_docket_segment(void *state, const char *bulk_id, int64_t log, int64_t sequence, bool images, aon_piece_loaded *piece,
                              aon_error *error) {
  aon_docket *d = state;
  AON_DOCKET_ROWS rows = {0};
  aon_piece_empty(piece);
  bson_t *options = aon_docket_sorted("_id", -1, 1);
  if (!images)
    BCON_APPEND(options, "projection", "{", "images", BCON_INT32(0), "images_sum", BCON_INT32(0), "}");
  aon_result result = aon_docket_find(d, AON_DOCKET_LOG, aon_docket_range(log, 0, sequence), options, &rows, "reading the log", error);
  if (result || !rows.count)
    return result ? result : AON_END;
  piece->first = aon_docket_int(&rows.rows[0], "first");
  piece->count = (uint32_t)aon_docket_int(&rows.rows[0], "count");
  if (sequence >= piece->first + piece->count)
    return AON_END;
  result = aon_docket_names_load(d, log, error); /* after the segment: it has all that this one names */
  if (!result)
    result = piece_decode(d, bulk_id, &rows.rows[0], images, piece, error);
  if (result)
    aon_piece_empty(piece);
  else
    piece->log = log;
  return result;
}

/* ---- entries ---- */

aon_result aon_docket_entries_open(void *state, const char *id, int64_t first, int64_t last, bool backward, void **ret_cursor,
                                   aon_error *error) {
  aon_docket_head head;
  aon_result result = aon_docket_head_of(state, id, &head, error);
  return result ? result
                : aon_piece_cursor_open(aon_docket_segment, state, id, head.log, aon_piece_window_of(first, last, backward, head.logged),
                                        ret_cursor, error);
}

/* ---- locks of documents ---- */

aon_result aon_docket_run_put(aon_docket *d, int64_t log, int64_t first, const aon_docket_entry *entries, size_t count, aon_error *error) {
  char key[AON_DOCKET_KEY], token[AON_DOCKET_TOKEN + 1];
  uint8_t *bytes = malloc(count * ENTRY_BYTES);
  bson_t hashes;
  if (!bytes)
    return aon_fail_memory(error);
  aon_docket_token(d, token);
  aon_docket_key(key, log, first);
  strcat(key, ":");
  strcat(key, token);
  bson_t *document =
      BCON_NEW("_id", BCON_UTF8(key), "log", BCON_INT64(log), "first", BCON_INT64(first), "shared", BCON_BOOL(entries[0].shared));
  BSON_APPEND_ARRAY_BEGIN(document, "hashes", &hashes);
  for (size_t i = 0; i < count; i++) {
    char index[16];
    const char *at_index;
    size_t length = bson_uint32_to_string((uint32_t)i, &at_index, index, sizeof index);
    uint64_t hash = htole64(entries[i].hash);
    uint32_t at = htole32(entries[i].at);
    bson_append_int64(&hashes, at_index, (int)length, (int64_t)entries[i].hash);
    memcpy(bytes + i * ENTRY_BYTES, &hash, sizeof hash);
    memcpy(bytes + i * ENTRY_BYTES + sizeof hash, &at, sizeof at);
  }
  bson_append_array_end(document, &hashes);
  BSON_APPEND_BINARY(document, "entries", BSON_SUBTYPE_BINARY, bytes, (uint32_t)(count * ENTRY_BYTES));
  free(bytes);
  return aon_docket_insert(d, AON_DOCKET_LOCKS, document, error);
}

aon_result aon_docket_run_from(const aon_docket_row *row, aon_docket_run *ret_run, aon_error *error) {
  size_t length;
  aon_docket_run run = {
      .log = aon_docket_int(row, "log"), .first = aon_docket_int(row, "first"), .shared = aon_docket_int(row, "shared") != 0};
  run.bytes = aon_docket_bytes(row, "entries", &length);
  if (!run.bytes || length % ENTRY_BYTES)
    return aon_fail(error, AON_CORRUPT, "corrupt", "Locks of documents are damaged in the journal. Restore the journal from a backup.");
  run.count = length / ENTRY_BYTES;
  *ret_run = run;
  return AON_OK;
}

aon_docket_entry aon_docket_run_at(const aon_docket_run *run, size_t index) {
  uint64_t hash;
  uint32_t at;
  memcpy(&hash, run->bytes + index * ENTRY_BYTES, sizeof hash);
  memcpy(&at, run->bytes + index * ENTRY_BYTES + sizeof hash, sizeof at);
  return (aon_docket_entry){.hash = le64toh(hash), .at = le32toh(at), .shared = run->shared};
}

size_t aon_docket_run_seek(const aon_docket_run *run, uint64_t hash) {
  size_t low = 0, high = run->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (aon_docket_run_at(run, middle).hash < hash)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

bson_t *aon_docket_among(const int64_t *numbers, size_t count) {
  bson_t *in = bson_new(), list;
  BSON_APPEND_ARRAY_BEGIN(in, "$in", &list);
  for (size_t i = 0; i < count; i++) {
    char index[16];
    const char *at_index;
    size_t length = bson_uint32_to_string((uint32_t)i, &at_index, index, sizeof index);
    bson_append_int64(&list, at_index, (int)length, numbers[i]);
  }
  bson_append_array_end(in, &list);
  return in;
}

aon_result aon_docket_runs_with(aon_docket *d, const int64_t *logs, size_t log_count, const uint64_t *hashes, size_t hash_count,
                                aon_docket_rows *ret_rows, aon_error *error) {
  AON_DOCKET_BSON among_logs = aon_docket_among(logs, log_count);
  AON_DOCKET_BSON among_hashes = aon_docket_among((const int64_t *)hashes, hash_count);
  return aon_docket_find(d, AON_DOCKET_LOCKS, BCON_NEW("hashes", BCON_DOCUMENT(among_hashes), "log", BCON_DOCUMENT(among_logs)),
                         BCON_NEW("sort", "{", "_id", BCON_INT32(-1), "}", "projection", "{", "hashes", BCON_INT32(0), "}"), ret_rows,
                         "looking up who holds documents", error);
}

aon_result aon_docket_holding(aon_docket *d, const char *but, aon_docket_rows *ret_rows, aon_error *error) {
  bson_t *filter = BCON_NEW("holds", BCON_BOOL(true));
  if (but)
    BCON_APPEND(filter, "_id", "{", "$ne", BCON_UTF8(but), "}");
  return aon_docket_find(d, AON_DOCKET_BULK, filter, aon_docket_sorted("number", 1, 0), ret_rows, "looking up who holds documents", error);
}

/* ---- who holds a document ---- */

typedef struct holder_call {
  const aon_collection *collection;
  aon_text document;
  aon_arena *arena;
  uint64_t hash;
  bool held;
  int64_t first, last; /* sequences of the chain */
  aon_bulk bulk;
  aon_operation operation;
} holder_call;

static aon_result operation_at(aon_docket *d, holder_call *call, int64_t log, int64_t sequence, aon_operation *ret_operation,
                               aon_error *error) {
  aon_piece_loaded piece = {0};
  aon_result result = aon_docket_segment(d, call->bulk.id, log, sequence, true, &piece, error);
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

/* The chain of the document in one log: its first and last operation. AON_END: it has none. */
static aon_result chain_of(aon_docket *d, holder_call *call, int64_t log, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  aon_result result = aon_docket_runs_with(d, &log, 1, &call->hash, 1, &rows, error);
  call->first = call->last = AON_NO_OPERATION;
  for (size_t i = 0; !result && i < rows.count; i++) {
    aon_docket_run run;
    result = aon_docket_run_from(&rows.rows[i], &run, error);
    for (size_t at = result || run.shared ? SIZE_MAX : aon_docket_run_seek(&run, call->hash);
         at < (result ? 0 : run.count) && aon_docket_run_at(&run, at).hash == call->hash; at++) {
      aon_docket_entry entry = aon_docket_run_at(&run, at);
      int64_t sequence = run.first + entry.at;
      if (entry.at == AON_DOCKET_CLAIM)
        continue;
      call->first = call->first == AON_NO_OPERATION || sequence < call->first ? sequence : call->first;
      call->last = call->last == AON_NO_OPERATION || sequence > call->last ? sequence : call->last;
    }
  }
  return !result && call->first == AON_NO_OPERATION ? AON_END : result;
}

static aon_result fold(aon_docket *d, holder_call *call, const aon_docket_row *row, aon_error *error) {
  aon_operation first, last;
  int64_t log = aon_docket_int(row, "log");
  aon_result result = aon_docket_bulk_from(row, call->arena, &call->bulk, error);
  if (!result)
    result = operation_at(d, call, log, call->first, &first, error);
  if (!result)
    result = operation_at(d, call, log, call->last, &last, error);
  if (result)
    return result;
  /* Only the hashes are the same: two documents in some 2^32 would have to meet. */
  call->held = aon_piece_is_about(&first, call->collection->store, call->collection->name, call->document) &&
               aon_piece_is_about(&last, call->collection->store, call->collection->name, call->document);
  call->operation = aon_piece_fold(&first, &last);
  return AON_OK;
}

static aon_result held_by_conflict(aon_docket *d, holder_call *call, aon_error *error) {
  AON_DOCKET_ROWS conflicts = {0}, rows = {0};
  aon_result result =
      aon_docket_find(d, AON_DOCKET_CONFLICTS, BCON_NEW("hash", BCON_INT64((int64_t)call->hash), "watched", BCON_BOOL(false)),
                      aon_docket_sorted("bulk", 1, 1), &conflicts, "looking up who holds a document", error);
  if (result || !conflicts.count)
    return result;
  result = aon_docket_find(d, AON_DOCKET_BULK, BCON_NEW("number", BCON_INT64(aon_docket_int(&conflicts.rows[0], "bulk"))), NULL, &rows,
                           "looking up who holds a document", error);
  if (!result && rows.count)
    result = chain_of(d, call, aon_docket_int(&rows.rows[0], "log"), error);
  if (result == AON_END || (!result && !rows.count))
    return aon_fail(error, AON_CORRUPT, "corrupt", "The journal lacks the operation for which a bulk operation holds a document.");
  return result ? result : fold(d, call, &rows.rows[0], error);
}

static aon_result holder_work(aon_docket *d, void *arguments, aon_error *error) {
  holder_call *call = arguments;
  AON_DOCKET_ROWS rows = {0};
  call->held = false;
  aon_result result = aon_docket_holding(d, NULL, &rows, error);
  for (size_t i = 0; !result && !call->held && i < rows.count; i++) {
    result = chain_of(d, call, aon_docket_int(&rows.rows[i], "log"), error);
    if (result == AON_END)
      result = AON_OK;
    else if (!result)
      result = fold(d, call, &rows.rows[i], error);
  }
  return result || call->held ? result : held_by_conflict(d, call, error);
}

aon_result aon_docket_holder(void *state, const aon_collection *collection, aon_text document, aon_arena *arena, bool *ret_held,
                             aon_bulk *ret_bulk, aon_operation *ret_operation, aon_error *error) {
  holder_call call = {.collection = collection,
                      .document = document,
                      .arena = arena,
                      .hash = aon_document_hash(collection->store, collection->name, document)};
  aon_result result = aon_docket_read(state, true, "looking up who holds a document", holder_work, &call, error);
  if (result)
    return result;
  *ret_held = call.held;
  if (call.held) {
    *ret_bulk = call.bulk;
    *ret_operation = call.operation;
  }
  return AON_OK;
}
