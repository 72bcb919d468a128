/* See piece.h. */
#include "journal/piece.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

aon_result aon_piece_keys(aon_env *env, const char *key_file, const char *name, aon_keys **keys, aon_error *error) {
  aon_keys *found;
  if ((*keys && aon_keys_has(*keys, name)) || !key_file)
    return AON_OK;
  aon_result result = aon_keys_read(env, key_file, &found, error);
  if (result)
    return result;
  aon_keys_close(*keys);
  *keys = found;
  return AON_OK;
}

/* ---- segments ---- */

aon_result aon_piece_damaged(const char *bulk_id, int64_t first, aon_error *error) {
  aon_result result =
      aon_fail(error, AON_CORRUPT, "corrupt",
               "The journal's entries of bulk operation %s from operation %lld on are damaged: their check sum is wrong. Restore the "
               "journal from a backup.",
               bulk_id, (long long)first + 1);
  if (error)
    snprintf(error->bulk_id, sizeof error->bulk_id, "%s", bulk_id);
  return result;
}

bool aon_piece_sum_right(const char *bulk_id, int64_t first, aon_segment_role role, const void *bytes, size_t length, const void *sum,
                         size_t sum_length) {
  unsigned char proof[AON_SEGMENT_SUM_BYTES];
  aon_segment_sum(bulk_id, first, role, bytes, length, proof);
  return sum && sum_length == sizeof proof && !memcmp(sum, proof, sizeof proof);
}

static aon_result unseal(const aon_piece_keyring *ring, const char *bulk_id, const aon_stored *stored, aon_arena *arena,
                         const void **ret_plain, size_t *ret_length, aon_error *error) {
  char name[AON_KEY_NAME_LENGTH + 1];
  if (!aon_seal_key_name(stored->images, stored->images_length, name))
    return aon_piece_damaged(bulk_id, stored->first, error);
  aon_result result = aon_piece_keys(ring->env, ring->key_file, name, ring->keys, error);
  if (result)
    return result;
  void *plain = aon_arena_alloc(arena, stored->images_length);
  if (!plain)
    return aon_fail_memory(error);
  *ret_plain = plain;
  *ret_length = stored->images_length - AON_SEAL_OVERHEAD;
  return aon_keys_unseal(*ring->keys, bulk_id, stored->first, stored->images, stored->images_length, plain, error);
}

aon_result aon_piece_decode(const aon_piece_keyring *ring, const char *bulk_id, const aon_dictionary *dictionary, const aon_stored *stored,
                            aon_arena *arena, aon_operation **ret_operations, aon_error *error) {
  if (!stored->operations ||
      !aon_piece_sum_right(bulk_id, stored->first, AON_SEGMENT_OPERATIONS_ROLE, stored->operations, stored->operations_length,
                           stored->operations_sum, stored->operations_sum_length) ||
      (stored->images && !aon_piece_sum_right(bulk_id, stored->first, AON_SEGMENT_IMAGES_ROLE, stored->images, stored->images_length,
                                              stored->images_sum, stored->images_sum_length)))
    return aon_piece_damaged(bulk_id, stored->first, error);
  const void *heads = aon_arena_copy(arena, stored->operations, stored->operations_length), *images = NULL;
  size_t images_length = stored->images_length;
  aon_result result = heads ? AON_OK : aon_fail_memory(error);
  if (!result && stored->images && stored->sealed)
    result = unseal(ring, bulk_id, stored, arena, &images, &images_length, error);
  else if (!result && stored->images && !(images = aon_arena_copy(arena, stored->images, images_length)))
    result = aon_fail_memory(error);
  return result ? result
                : aon_segment_decode(dictionary, stored->first, stored->count, heads, stored->operations_length, images, images_length,
                                     arena, ret_operations, error);
}

static aon_result keep(aon_env *env, const aon_keys *keys, const aon_segment_writer *writer, const char *bulk_id, aon_arena *arena,
                       aon_stored *ret_stored, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer box = {0};
  const aon_buffer *images = &writer->images;
  if (writer->sensitive) {
    aon_result result = aon_keys_seal(env, keys, bulk_id, writer->first, images->data, images->length, &box, error);
    if (result)
      return result;
    images = &box;
  }
  unsigned char *sums = aon_arena_alloc(arena, 2 * AON_SEGMENT_SUM_BYTES);
  aon_stored stored = {.first = writer->first,
                       .count = writer->count,
                       .sealed = writer->sensitive,
                       .operations = aon_arena_copy(arena, writer->operations.data, writer->operations.length),
                       .operations_length = writer->operations.length,
                       .images = aon_arena_copy(arena, images->data, images->length),
                       .images_length = images->length,
                       .operations_sum = sums,
                       .images_sum = sums + AON_SEGMENT_SUM_BYTES,
                       .operations_sum_length = AON_SEGMENT_SUM_BYTES,
                       .images_sum_length = AON_SEGMENT_SUM_BYTES};
  if (!sums || !stored.operations || !stored.images)
    return aon_fail_memory(error);
  aon_segment_sum(bulk_id, stored.first, AON_SEGMENT_OPERATIONS_ROLE, stored.operations, stored.operations_length, sums);
  aon_segment_sum(bulk_id, stored.first, AON_SEGMENT_IMAGES_ROLE, stored.images, stored.images_length, sums + AON_SEGMENT_SUM_BYTES);
  *ret_stored = stored;
  return AON_OK;
}

aon_result aon_piece_encode(aon_env *env, const aon_keys *keys, aon_segment_writer *writer, aon_dictionary *dictionary, const char *bulk_id,
                            const aon_operation *operations, size_t count, size_t limit, aon_arena *arena, aon_stored **ret_stored,
                            size_t *ret_count, aon_error *error) {
  aon_stored *stored = aon_arena_alloc(arena, limit * sizeof *stored);
  aon_result result = stored ? AON_OK : aon_fail_memory(error);
  size_t made = 0;
  for (size_t at = 0; !result && at < count;) {
    if (made == limit)
      return aon_fail(error, AON_PERMANENT, "too_many", "One call of the log takes at most %zu pieces. Log less at once.", limit);
    aon_segment_begin(writer, operations[at].sequence);
    while (!result && at < count && !aon_segment_full(writer))
      result = aon_segment_add(writer, dictionary, &operations[at++], error);
    if (!result)
      result = keep(env, keys, writer, bulk_id, arena, &stored[made++], error);
  }
  *ret_stored = stored;
  *ret_count = made;
  return result;
}

aon_piece_window aon_piece_window_of(int64_t first, int64_t last, bool backward, int64_t logged) {
  aon_piece_window window = {.first = first < 0 ? 0 : first, .last = last < 0 ? INT64_MAX : last, .backward = backward};
  window.at = backward ? window.last : window.first;
  if (backward && window.at >= logged)
    window.at = logged - 1;
  return window;
}

bool aon_piece_window_done(const aon_piece_window *window) { return window->at < window->first || window->at > window->last; }

void aon_piece_take(aon_piece_window *window, int64_t first, uint32_t count, int64_t *ret_low, size_t *ret_count) {
  int64_t low = first > window->first ? first : window->first, high = first + count - 1;
  if (window->backward ? high > window->at : high > window->last)
    high = window->backward ? window->at : window->last;
  if (!window->backward)
    low = window->at > low ? window->at : low;
  window->at = window->backward ? low - 1 : high + 1;
  *ret_low = low;
  *ret_count = (size_t)(high - low + 1);
}

/* ---- cursors ---- */

void aon_piece_drop(aon_piece_loaded *piece) {
  aon_dictionary_release(piece->dictionary);
  aon_arena_release(&piece->arena);
  *piece = (aon_piece_loaded){0};
}

void aon_piece_empty(aon_piece_loaded *piece) {
  aon_dictionary_release(piece->dictionary);
  aon_arena_reset(&piece->arena);
  *piece = (aon_piece_loaded){.arena = piece->arena};
}

aon_result aon_piece_logged(aon_piece_load load, void *state, const char *bulk_id, int64_t log, int64_t logged,
                            const aon_operation *operations, size_t count, aon_error *error) {
  aon_piece_loaded piece = {0};
  aon_result result = AON_OK;
  bool same = !count || operations[0].sequence + (int64_t)count <= logged;
  for (size_t at = 0; !result && same && at < count;) {
    result = load(state, bulk_id, log, operations[at].sequence, true, &piece, error);
    for (size_t in = result ? piece.count : (size_t)(operations[at].sequence - piece.first); same && in < piece.count && at < count;
         in++, at++)
      same = aon_piece_same(&piece.operations[in], &operations[at]);
  }
  aon_piece_drop(&piece);
  if (result && result != AON_END)
    return result;
  return !result && same ? AON_OK
                         : aon_fail(error, AON_USAGE, "bad_sequence",
                                    "Operation %lld of bulk operation %s is in the log already, with another content.",
                                    (long long)operations[0].sequence + 1, bulk_id);
}

typedef struct cursor {
  aon_piece_load load;
  void *state;
  char id[40];
  int64_t log;
  aon_piece_window window;
  aon_piece_loaded pieces[2]; /* the one last given out, and the one before it, which its reader may still be at */
  size_t turn;                /* index of the last one */
} cursor;

aon_result aon_piece_cursor_open(aon_piece_load load, void *state, const char *bulk_id, int64_t log, aon_piece_window window,
                                 void **ret_cursor, aon_error *error) {
  cursor *made = calloc(1, sizeof *made);
  if (!made)
    return aon_fail_memory(error);
  *made = (cursor){.load = load, .state = state, .log = log, .window = window};
  snprintf(made->id, sizeof made->id, "%s", bulk_id);
  *ret_cursor = made;
  return AON_OK;
}

aon_result aon_piece_cursor_next(void *state, const aon_operation **ret_operations, size_t *ret_count, bool *ret_cleared,
                                 aon_error *error) {
  cursor *from = state;
  int64_t low;
  if (aon_piece_window_done(&from->window))
    return AON_END;
  from->turn = !from->turn;
  aon_piece_loaded *piece = &from->pieces[from->turn];
  aon_result result = from->load(from->state, from->id, from->log, from->window.at, true, piece, error);
  if (result)
    return result;
  aon_piece_take(&from->window, piece->first, piece->count, &low, ret_count);
  *ret_operations = piece->operations + (low - piece->first);
  if (ret_cleared)
    *ret_cleared = piece->cleared;
  return AON_OK;
}

void aon_piece_cursor_close(void *state) {
  cursor *from = state;
  if (!from)
    return;
  for (size_t i = 0; i < 2; i++)
    aon_piece_drop(&from->pieces[i]);
  free(from);
}

/* ---- operations ---- */

bool aon_piece_is_about(const aon_operation *operation, const char *store, const char *collection, aon_text document) {
  return operation->id.length == document.length && !memcmp(operation->id.data, document.data, document.length) &&
         !strcmp(operation->collection->name, collection) && !strcmp(operation->collection->store, store);
}

static bool same_image(const aon_image *a, const aon_image *b) {
  if (!a->bson != !b->bson || a->bson_length != b->bson_length || !a->token != !b->token || a->token_length != b->token_length)
    return false;
  return (!a->bson || !memcmp(a->bson, b->bson, a->bson_length)) && (!a->token_length || !memcmp(a->token, b->token, a->token_length));
}

bool aon_piece_same(const aon_operation *a, const aon_operation *b) {
  return a->sequence == b->sequence && a->kind == b->kind && a->flags == b->flags &&
         aon_piece_is_about(a, b->collection->store, b->collection->name, b->id) && same_image(&a->before, &b->before) &&
         same_image(&a->after, &b->after);
}

aon_operation aon_piece_fold(const aon_operation *first, const aon_operation *last) {
  aon_operation folded = *last;
  folded.before = first->before;
  folded.flags |= first->flags;
  if (first->kind == AON_CREATE && last->kind == AON_UPDATE)
    folded.kind = AON_CREATE;
  else if (first->kind != AON_CREATE && last->kind == AON_CREATE)
    folded.kind = AON_UPDATE;
  return folded;
}

aon_result aon_piece_collections(const aon_dictionary *dictionary, aon_arena *arena, const aon_collection **ret_collections,
                                 size_t *ret_count, aon_error *error) {
  size_t count = aon_dictionary_collections(dictionary);
  aon_collection *collections = aon_arena_alloc(arena, count * sizeof *collections);
  aon_result result = collections ? AON_OK : aon_fail_memory(error);
  for (size_t i = 0; !result && i < count; i++)
    result = aon_collection_copy(aon_dictionary_collection_at(dictionary, i), arena, &collections[i], error);
  if (result)
    return result;
  *ret_collections = collections;
  *ret_count = count;
  return AON_OK;
}

static aon_result own_bytes(aon_arena *arena, const void **data, size_t length, aon_error *error) {
  if (*data && !(*data = aon_arena_copy(arena, *data, length)))
    return aon_fail_memory(error);
  return AON_OK;
}

static aon_result own_all_bytes(aon_operation *operation, aon_arena *arena, aon_error *error) {
  aon_result result = own_bytes(arena, (const void **)&operation->id.data, operation->id.length, error);
  if (!result && operation->path)
    result = own_bytes(arena, (const void **)&operation->path, strlen(operation->path) + 1, error);
  aon_image *const images[] = {&operation->before, &operation->after};
  for (size_t i = 0; !result && i < sizeof images / sizeof *images; i++) {
    result = own_bytes(arena, (const void **)&images[i]->bson, images[i]->bson_length, error);
    if (!result)
      result = own_bytes(arena, (const void **)&images[i]->token, images[i]->token_length, error);
  }
  return result;
}

aon_result aon_piece_own(aon_operation *operation, aon_arena *arena, bool bytes, aon_error *error) {
  aon_collection *collection = aon_arena_alloc(arena, sizeof *collection);
  if (!collection)
    return aon_fail_memory(error);
  aon_result result = aon_collection_copy(operation->collection, arena, collection, error);
  operation->collection = collection;
  const char **const texts[] = {&operation->origin.sheet, &operation->origin.entity};
  for (size_t i = 0; !result && i < sizeof texts / sizeof *texts; i++)
    if (*texts[i] && !(*texts[i] = aon_arena_text(arena, *texts[i], strlen(*texts[i]))))
      result = aon_fail_memory(error);
  return result || !bytes ? result : own_all_bytes(operation, arena, error);
}

/* ---- files ---- */

aon_result aon_piece_chunk(const aon_piece_keyring *ring, const char *file, uint32_t chunk, const void *sealed, size_t length,
                           aon_buffer *out, aon_error *error) {
  aon_error found = AON_ERROR_INIT; /* what the cipher says is about images; here it is about a file */
  char name[AON_KEY_NAME_LENGTH + 1];
  bool whole = aon_seal_key_name(sealed, length, name);
  aon_buffer_clear(out);
  aon_result result = whole ? aon_piece_keys(ring->env, ring->key_file, name, ring->keys, error) : AON_OK;
  if (!result && whole)
    result = aon_buffer_reserve(out, length - AON_SEAL_OVERHEAD, error);
  if (result)
    return result;
  result = whole ? aon_keys_unseal(*ring->keys, file, chunk, sealed, length, out->data, &found) : AON_CORRUPT;
  if (!result) {
    out->length = length - AON_SEAL_OVERHEAD;
    out->data[out->length] = 0;
    return AON_OK;
  }
  if (result == AON_CORRUPT)
    return aon_fail(error, AON_CORRUPT, "corrupt", "Chunk %u of the uploaded file %s is damaged in the journal. Upload the file again.",
                    chunk, file);
  return aon_fail(
      error, AON_ENVIRONMENT, "missing_key",
      "The uploaded file %s is encrypted with a key that the journal's key file lacks. Put its line back from a backup of the key file.",
      file);
}
