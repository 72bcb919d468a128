/* What every journal does alike with the pieces of a plan and with files, whatever database keeps their bytes: keys read again where one is
 * missing, sums, seals, decoding, comparing, and the folding of a chain.
 *
 * Invariants: bytes that are not what was written are never handed on, AON_CORRUPT names the bulk operation or the file; what is handed on
 * points into the arena or the dictionary that were given. */
#ifndef AON_JOURNAL_PIECE_H
#define AON_JOURNAL_PIECE_H

#include "journal/cipher.h"
#include "journal/journal.h"
#include "journal/segment.h"

/* ---- keys ---- */

/* Reads the key file again where *keys lacks a key: another program may have added it. key_file NULL: as it is. */
aon_result aon_piece_keys(aon_env *env, const char *key_file, const char *name, aon_keys **keys, aon_error *error) AON_MUST_USE;

/* ---- segments ---- */

typedef struct aon_stored { /* one segment as a database has it; bytes borrowed. images NULL: cleared, or not asked for */
  int64_t first;
  uint32_t count;
  bool sealed;
  const void *operations, *images;
  size_t operations_length, images_length;
  const void *operations_sum, *images_sum;
  size_t operations_sum_length, images_sum_length;
} aon_stored;

typedef struct aon_piece_keyring { /* whose keys unseal; keys may be replaced */
  aon_env *env;
  const char *key_file;
  aon_keys **keys;
} aon_piece_keyring;

aon_result aon_piece_damaged(const char *bulk_id, int64_t first, aon_error *error) AON_MUST_USE;
bool aon_piece_sum_right(const char *bulk_id, int64_t first, aon_segment_role role, const void *bytes, size_t length, const void *sum,
                         size_t sum_length);
/* Its operations, in the arena, which also gets all bytes that they point into. */
aon_result aon_piece_decode(const aon_piece_keyring *ring, const char *bulk_id, const aon_dictionary *dictionary, const aon_stored *stored,
                            aon_arena *arena, aon_operation **ret_operations, aon_error *error) AON_MUST_USE;

/* Operations as segments, in the arena. The dictionary gets what names they have beyond its own. AON_PERMANENT too_many beyond limit. */
aon_result aon_piece_encode(aon_env *env, const aon_keys *keys, aon_segment_writer *writer, aon_dictionary *dictionary, const char *bulk_id,
                            const aon_operation *operations, size_t count, size_t limit, aon_arena *arena, aon_stored **ret_stored,
                            size_t *ret_count, aon_error *error) AON_MUST_USE;

/* What of a piece (first, count) a cursor from first to last gives out, which stands at the next sequence, or backward at the last one
 * still to come; moves it on. */
typedef struct aon_piece_window {
  int64_t first, last, at;
  bool backward;
} aon_piece_window;
aon_piece_window aon_piece_window_of(int64_t first, int64_t last, bool backward,
                                     int64_t logged); /* first, last: as aon_entries_open has them */
bool aon_piece_window_done(const aon_piece_window *window);
void aon_piece_take(aon_piece_window *window, int64_t first, uint32_t count, int64_t *ret_low, size_t *ret_count);

/* ---- cursors ---- */

typedef struct aon_piece_loaded { /* one segment, decoded */
  int64_t log, first;             /* log 0: none */
  uint32_t count;
  bool cleared;
  aon_dictionary *dictionary;
  aon_arena arena;
  aon_operation *operations;
} aon_piece_loaded;

void aon_piece_empty(aon_piece_loaded *piece); /* its memory stays for the next one */
void aon_piece_drop(aon_piece_loaded *piece);

/* Loads the segment that holds the sequence, in place of what the piece held: AON_END if none does. */
typedef aon_result (*aon_piece_load)(void *state, const char *bulk_id, int64_t log, int64_t sequence, bool images, aon_piece_loaded *piece,
                                     aon_error *error);
/* Whether the log has these operations already, with this content: then the reply of their call was lost. Else AON_USAGE bad_sequence. */
aon_result aon_piece_logged(aon_piece_load load, void *state, const char *bulk_id, int64_t log, int64_t logged,
                            const aon_operation *operations, size_t count, aon_error *error) AON_MUST_USE;
/* What aon_journal_backend asks of its cursors, for who can load a segment. */
aon_result aon_piece_cursor_open(aon_piece_load load, void *state, const char *bulk_id, int64_t log, aon_piece_window window,
                                 void **ret_cursor, aon_error *error) AON_MUST_USE;
aon_result aon_piece_cursor_next(void *cursor, const aon_operation **ret_operations, size_t *ret_count, bool *ret_cleared,
                                 aon_error *error) AON_MUST_USE;
void aon_piece_cursor_close(void *cursor);

/* ---- operations ---- */

bool aon_piece_is_about(const aon_operation *operation, const char *store, const char *collection, aon_text document);
bool aon_piece_same(const aon_operation *a, const aon_operation *b); /* place, document and images */
/* A chain's first and last operation as one: before of the first, after of the last. */
aon_operation aon_piece_fold(const aon_operation *first, const aon_operation *last);
/* The collections of a dictionary, copied. */
aon_result aon_piece_collections(const aon_dictionary *dictionary, aon_arena *arena, const aon_collection **ret_collections,
                                 size_t *ret_count, aon_error *error) AON_MUST_USE;
/* Copies the collection and the texts that a dictionary holds; bytes: also id, path and images, which point into an arena
 * that goes away. */
aon_result aon_piece_own(aon_operation *operation, aon_arena *arena, bool bytes, aon_error *error) AON_MUST_USE;

/* ---- files ---- */

/* Replaces out by the chunk that was sealed. */
aon_result aon_piece_chunk(const aon_piece_keyring *ring, const char *file, uint32_t chunk, const void *sealed, size_t length,
                           aon_buffer *out, aon_error *error) AON_MUST_USE;
#endif
