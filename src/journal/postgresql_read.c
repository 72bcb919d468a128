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
    result = aon_register_int(call, statement, row, 1) == KIND_COLLECTION ? aon_dictionary_restore_collection(r->names.dictionary, name, error)
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
  if (result)
    return result;
  const aon_dictionary *dictionary = r->names.dictionary;
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

bool aon_register_sum_right(const char *bulk_id, int64_t first, aon_segment_role role, const void *bytes, size_t length, const void *sum,
                            size_t sum_length) {
  unsigned char proof[AON_SEGMENT_SUM_BYTES];
  aon_segment_sum(bulk_id, first, role, bytes, length, proof);
  return sum && sum_length == sizeof proof && !memcmp(sum, proof, sizeof proof);
}

typedef struct bytes {
  const void *data;
  size_t length;
} bytes;

/* The bytes of one column, in the arena, proved by the sum in another. *ret_bytes.data NULL: the column is null. */
static aon_result fetch(const aon_register_call *call, size_t statement, int column, int sum_column, const char *bulk_id, int64_t first,
                        aon_segment_role role, aon_arena *arena, bytes *ret_bytes, aon_error *error) {
  bytes found = {.data = aon_register_text(call, statement, 0, column), .length = aon_register_length(call, statement, 0, column)};
  if (found.data) {
    if (!aon_register_sum_right(bulk_id, first, role, found.data, found.length, aon_register_text(call, statement, 0, sum_column),
                                aon_register_length(call, statement, 0, sum_column)))
      return damaged(bulk_id, first, error);
    found.data = aon_arena_copy(arena, found.data, found.length);
    if (!found.data)
      return aon_fail_memory(error);
  }
  *ret_bytes = found;
  return AON_OK;
}

aon_result aon_register_keys_with(aon_register *r, const char *name, aon_error *error) {
  aon_keys *keys;
  if ((r->keys && aon_keys_has(r->keys, name)) || !r->key_file)
    return AON_OK;
  aon_result result = aon_keys_read(r->env, r->key_file, &keys, error);
  if (result)
    return result;
  aon_keys_close(r->keys);
  r->keys = keys;
  return AON_OK;
}

static aon_result unseal(aon_register *r, const char *bulk_id, int64_t first, aon_arena *arena, bytes *images, aon_error *error) {
  char name[AON_KEY_NAME_LENGTH + 1];
  if (!aon_seal_key_name(images->data, images->length, name))
    return damaged(bulk_id, first, error);
  aon_result result = aon_register_keys_with(r, name, error);
  if (result)
    return result;
  bytes plain = {.data = aon_arena_alloc(arena, images->length), .length = images->length - AON_SEAL_OVERHEAD};
  if (!plain.data)
    return aon_fail_memory(error);
  result = aon_keys_unseal(r->keys, bulk_id, first, images->data, images->length, (void *)plain.data, error);
  if (!result)
    *images = plain;
  return result;
}

void aon_register_piece_drop(aon_register_piece *piece) {
  aon_dictionary_release(piece->dictionary);
  aon_arena_release(&piece->arena);
  *piece = (aon_register_piece){0};
}

static void piece_empty(aon_register_piece *piece) {
  aon_dictionary_release(piece->dictionary);
  aon_arena_reset(&piece->arena);
  *piece = (aon_register_piece){.arena = piece->arena};
}

static aon_result piece_decode(aon_register *r, const aon_register_call *call, const char *bulk_id, aon_register_piece *piece,
                               aon_error *error) {
  bytes heads = {0}, pictures = {0};
  aon_result result = fetch(call, 1, 2, 3, bulk_id, piece->first, AON_SEGMENT_OPERATIONS_ROLE, &piece->arena, &heads, error);
  if (!result && piece->images)
    result = fetch(call, 1, 4, 5, bulk_id, piece->first, AON_SEGMENT_IMAGES_ROLE, &piece->arena, &pictures, error);
  if (!result && pictures.data && aon_register_int(call, 1, 0, 6))
    result = unseal(r, bulk_id, piece->first, &piece->arena, &pictures, error);
  piece->dictionary = aon_dictionary_share(r->names.dictionary);
  piece->cleared = piece->images && !pictures.data;
  return result ? result
                : aon_segment_decode(piece->dictionary, piece->first, piece->count, heads.data, heads.length, pictures.data, pictures.length,
                                     &piece->arena, &piece->operations, error);
}

#define SEGMENT " from aon_journal_segments where log = $1 and first <= $2 order by first desc limit 1"

aon_result aon_register_segment_read(aon_register *r, const char *bulk_id, int64_t log, int64_t sequence, bool images,
                                     aon_register_piece *piece, aon_error *error) {
  AON_REGISTER_CALL call = {0};
  piece_empty(piece);
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
  piece->images = images;
  if (sequence >= piece->first + piece->count)
    return AON_END;
  result = piece_decode(r, &call, bulk_id, piece, error);
  if (result)
    piece_empty(piece);
  else
    piece->log = log;
  return result;
}

bool aon_register_same_document(const aon_operation *operation, const aon_collection *collection, aon_text document) {
  return operation->id.length == document.length && !memcmp(operation->id.data, document.data, document.length) &&
         !strcmp(operation->collection->name, collection->name) && !strcmp(operation->collection->store, collection->store);
}

/* ---- entries ---- */

typedef struct cursor {
  aon_register *r;
  char id[40];
  int64_t log, logged, first, last, at; /* at: forward the next sequence, backward the last one still to come */
  bool backward;
  aon_register_piece pieces[2]; /* the one last given out, and the one before it, which its reader may still be at */
  size_t turn;                  /* index of the last one */
} cursor;

aon_result aon_register_entries_open(void *state, const char *id, int64_t first, int64_t last, bool backward, void **ret_cursor,
                                     aon_error *error) {
  aon_register_head head;
  aon_result result = aon_register_head_of(state, id, &head, error);
  if (result)
    return result;
  cursor *made = calloc(1, sizeof *made);
  if (!made)
    return aon_fail_memory(error);
  *made = (cursor){.r = state,
                   .log = head.log,
                   .logged = head.logged,
                   .first = first < 0 ? 0 : first,
                   .last = last < 0 ? INT64_MAX : last,
                   .backward = backward};
  snprintf(made->id, sizeof made->id, "%s", id);
  made->at = backward ? made->last : made->first;
  if (backward && made->at >= made->logged)
    made->at = made->logged - 1;
  *ret_cursor = made;
  return AON_OK;
}

void aon_register_entries_close(void *state) {
  cursor *from = state;
  if (!from)
    return;
  for (size_t i = 0; i < 2; i++)
    aon_register_piece_drop(&from->pieces[i]);
  free(from);
}

aon_result aon_register_entries_next(void *state, const aon_operation **ret_operations, size_t *ret_count, bool *ret_cleared,
                                     aon_error *error) {
  cursor *from = state;
  if (from->at < from->first || from->at > from->last)
    return AON_END;
  from->turn = !from->turn;
  aon_register_piece *piece = &from->pieces[from->turn];
  aon_result result = aon_register_segment_read(from->r, from->id, from->log, from->at, true, piece, error);
  if (result)
    return result;
  int64_t low = piece->first > from->first ? piece->first : from->first, high = piece->first + piece->count - 1;
  if (from->backward ? high > from->at : high > from->last)
    high = from->backward ? from->at : from->last;
  if (!from->backward)
    low = from->at > low ? from->at : low;
  from->at = from->backward ? low - 1 : high + 1;
  *ret_operations = piece->operations + (low - piece->first);
  *ret_count = (size_t)(high - low + 1);
  if (ret_cleared)
    *ret_cleared = piece->cleared;
  return AON_OK;
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

/* The dictionary and the piece go before the arena does. */
static aon_result own_bytes(aon_arena *arena, const void **data, size_t length, aon_error *error) {
  if (*data && !(*data = aon_arena_copy(arena, *data, length)))
    return aon_fail_memory(error);
  return AON_OK;
}

static aon_result own_image(aon_arena *arena, aon_image *image, aon_error *error) {
  aon_result result = own_bytes(arena, (const void **)&image->bson, image->bson_length, error);
  return result ? result : own_bytes(arena, (const void **)&image->token, image->token_length, error);
}

static aon_result own(holder_call *call, aon_operation *operation, aon_error *error) {
  aon_collection *collection = aon_arena_alloc(call->arena, sizeof *collection);
  if (!collection)
    return aon_fail_memory(error);
  aon_result result = aon_collection_copy(operation->collection, call->arena, collection, error);
  operation->collection = collection;
  const char **const texts[] = {&operation->origin.sheet, &operation->origin.entity, &operation->path};
  for (size_t i = 0; !result && i < sizeof texts / sizeof *texts; i++)
    if (*texts[i] && !(*texts[i] = aon_arena_text(call->arena, *texts[i], strlen(*texts[i]))))
      result = aon_fail_memory(error);
  if (!result)
    result = own_bytes(call->arena, (const void **)&operation->id.data, operation->id.length, error);
  if (!result)
    result = own_image(call->arena, &operation->before, error);
  return result ? result : own_image(call->arena, &operation->after, error);
}

static aon_result operation_at(aon_register *r, holder_call *call, int64_t sequence, aon_operation *ret_operation, aon_error *error) {
  aon_register_piece piece = {0};
  aon_result result = aon_register_segment_read(r, call->bulk.id, call->log, sequence, true, &piece, error);
  if (result == AON_END)
    result = aon_fail(error, AON_CORRUPT, "corrupt",
                      "Operation %lld of bulk operation %s is missing in the journal. Restore the journal from a backup.",
                      (long long)sequence + 1, call->bulk.id);
  if (!result) {
    *ret_operation = piece.operations[sequence - piece.first];
    result = own(call, ret_operation, error);
  }
  aon_register_piece_drop(&piece);
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
  call->held = aon_register_same_document(&first, call->collection, call->document) &&
               aon_register_same_document(&last, call->collection, call->document);
  last.before = first.before;
  last.flags |= first.flags;
  if (first.kind == AON_CREATE && last.kind == AON_UPDATE)
    last.kind = AON_CREATE;
  else if (first.kind != AON_CREATE && last.kind == AON_CREATE)
    last.kind = AON_UPDATE;
  call->operation = last;
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
