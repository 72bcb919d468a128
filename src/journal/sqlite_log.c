/* The log of one bulk operation: appending operations with their locks, taking them out again, reading them piece by piece,
 * clearing images.
 *
 * Invariants: sequences have no gaps; a call is written wholly or not at all; the same call again changes nothing and succeeds;
 * nothing is appended from `logged` on; a lock is written in the transaction that found nobody else holding it. */
#include <stdlib.h>
#include <string.h>

#include "journal/sqlite_ledger.h"
#include "model/text.h"

/* ---- appending ---- */

typedef struct log_call {
  const char *id;
  int64_t epoch;
  const aon_operation *operations;
  size_t count;
  const aon_claimed *claims;
  size_t claim_count;
  aon_ledger_entry *entries; /* sorted by hash */
  size_t entry_count;
  aon_ledger_hit hit;
} log_call;

static int entry_order(const void *a, const void *b) {
  const aon_ledger_entry *left = a, *right = b;
  if (left->hash != right->hash)
    return left->hash < right->hash ? -1 : 1;
  if (left->shared != right->shared)
    return left->shared ? 1 : -1;
  return left->at < right->at ? -1 : left->at > right->at;
}

static bool same_entry(const aon_ledger_entry *a, const aon_ledger_entry *b) {
  return a->hash == b->hash && a->at == b->at && a->shared == b->shared;
}

/* Locks of the call, sorted; a claim that comes several times is one. */
static aon_result make_entries(log_call *call, aon_error *error) {
  size_t count = 0, all = call->count + call->claim_count;
  aon_ledger_entry *entries = malloc((all ? all : 1) * sizeof *entries);
  if (!entries)
    return aon_fail_memory(error);
  for (size_t i = 0; i < call->count; i++)
    entries[count++] = (aon_ledger_entry){.hash = aon_operation_hash(&call->operations[i]), .at = (uint32_t)i};
  for (size_t i = 0; i < call->claim_count; i++)
    entries[count++] = (aon_ledger_entry){.hash = call->claims[i].hash, .at = AON_LEDGER_CLAIM, .shared = call->claims[i].shared};
  qsort(entries, count, sizeof *entries, entry_order);
  size_t kept = 0;
  for (size_t i = 0; i < count; i++)
    if (kept == 0 || !same_entry(&entries[kept - 1], &entries[i]))
      entries[kept++] = entries[i];
  call->entries = entries;
  call->entry_count = kept;
  return AON_OK;
}

static aon_result check_sequences(const log_call *call, aon_error *error) {
  for (size_t i = 1; i < call->count; i++)
    if (call->operations[i].sequence != call->operations[0].sequence + (int64_t)i)
      return aon_fail(error, AON_USAGE, "bad_sequence", "The operations of one call of the log must be numbered without a gap.");
  if (call->count >= AON_LEDGER_CLAIM)
    return aon_fail(error, AON_USAGE, "bad_sequence", "One call of the log takes at most %u operations.", AON_LEDGER_CLAIM - 1);
  return AON_OK;
}

/* Encodes operations from index from on until the segment is full; *ret_end: the first one that isn't in it. */
static aon_result encode(aon_ledger *ledger, const log_call *call, size_t from, size_t *ret_end, aon_error *error) {
  aon_segment_writer *writer = &ledger->writer;
  aon_segment_begin(writer, call->operations[from].sequence);
  aon_result result = AON_OK;
  size_t at = from;
  while (!result && at < call->count && !aon_segment_full(writer))
    result = aon_segment_add(writer, ledger->written.dictionary, &call->operations[at++], error);
  *ret_end = at;
  return result;
}

static aon_result keep_segment(aon_ledger *ledger, const log_call *call, int64_t bulk, aon_error *error) {
  const aon_segment_writer *writer = &ledger->writer;
  const aon_buffer *images = &writer->images;
  aon_result result = AON_OK;
  if (writer->sensitive) {
    aon_buffer_clear(&ledger->sealed);
    result = aon_keys_seal(ledger->env, ledger->keys, call->id, writer->first, images->data, images->length, &ledger->sealed, error);
    images = &ledger->sealed;
  }
  if (result)
    return result;
  unsigned char operations_sum[AON_SEGMENT_SUM_BYTES], images_sum[AON_SEGMENT_SUM_BYTES];
  aon_segment_sum(call->id, writer->first, AON_SEGMENT_OPERATIONS_ROLE, writer->operations.data, writer->operations.length, operations_sum);
  aon_segment_sum(call->id, writer->first, AON_SEGMENT_IMAGES_ROLE, images->data, images->length, images_sum);
  return aon_ledger_run(ledger,
                        "insert into segments (bulk, first, count, sealed, operations_sum, images_sum, operations, images)"
                        " values (?, ?, ?, ?, ?, ?, ?, ?)",
                        error, "iiiibbbb", bulk, writer->first, (int64_t)writer->count, (int64_t)writer->sensitive, operations_sum,
                        sizeof operations_sum, images_sum, sizeof images_sum, writer->operations.data, writer->operations.length,
                        images->data, images->length);
}

static aon_result keep_locks(aon_ledger *ledger, const log_call *call, int64_t bulk, int64_t first, size_t from, size_t end,
                             aon_error *error) {
  bool claims = from == 0; /* with the first segment */
  aon_result result = aon_ledger_run_keep(ledger, bulk, first, call->entries, call->entry_count, (uint32_t)from, (uint32_t)(end - from),
                                          claims, false, error);
  if (!result && claims && call->claim_count)
    result = aon_ledger_run_keep(ledger, bulk, first, call->entries, call->entry_count, 0, 0, true, true, error);
  if (!result)
    aon_ledger_chain_note(ledger, bulk, first, call->entries, call->entry_count, (uint32_t)from, (uint32_t)(end - from));
  return result;
}

static aon_result append(aon_ledger *ledger, const log_call *call, const aon_ledger_head *head, aon_error *error) {
  aon_names *names = &ledger->written;
  aon_result result = names->bulk == head->number ? AON_OK : aon_ledger_names(ledger, names, head->number, error);
  if (result)
    return result;
  size_t collections = aon_dictionary_collections(names->dictionary), texts = aon_dictionary_texts(names->dictionary);
  if (call->count == 0)
    result = keep_locks(ledger, call, head->number, head->logged, 0, 0, error);
  for (size_t from = 0, end; !result && from < call->count; from = end) {
    result = encode(ledger, call, from, &end, error);
    if (!result)
      result = keep_segment(ledger, call, head->number, error);
    if (!result)
      result = keep_locks(ledger, call, head->number, call->operations[from].sequence, from, end, error);
  }
  if (!result)
    result = aon_ledger_names_keep(ledger, names, collections, texts, error);
  return result ? result
                : aon_ledger_run(ledger, "update bulk set logged = ?, holds = 1 where number = ?", error, "ii",
                                 head->logged + (int64_t)call->count, head->number);
}

/* Whether operations that are in the log already are those of this call: then its reply was lost. */
static aon_result compare(aon_ledger *ledger, const log_call *call, const aon_ledger_head *head, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_result result = aon_ledger_names(ledger, &ledger->written, head->number, error);
  bool same = call->operations[0].sequence + (int64_t)call->count <= head->logged;
  for (size_t at = 0; !result && same && at < call->count;) {
    aon_ledger_segment segment;
    aon_operation *found;
    aon_arena_reset(&arena);
    result = aon_ledger_segment_find(ledger, head->number, call->operations[at].sequence, &segment, error);
    if (!result)
      result = aon_ledger_segment_read(ledger, call->id, ledger->written.dictionary, &segment, true, &arena, &found, NULL, error);
    for (size_t in = result ? segment.count : (size_t)(call->operations[at].sequence - segment.first);
         same && in < segment.count && at < call->count; in++, at++)
      same = aon_piece_same(&found[in], &call->operations[at]);
  }
  if (result && result != AON_END)
    return result;
  if (result == AON_OK && same)
    return AON_OK;
  return aon_fail(error, AON_USAGE, "bad_sequence", "Operation %lld of bulk operation %s is in the log already, with another content.",
                  (long long)call->operations[0].sequence + 1, call->id);
}

static aon_result refuse(const log_call *call, aon_error *error) {
  aon_result result = aon_fail(
      error, AON_BUSY, "locked", "%s that bulk operation %s needs is held by %s. Wait until that has ended, or ask its owner.",
      call->hit.sequence == AON_NO_OPERATION ? "A unique value or a referenced document" : "A document", call->id, call->hit.holder);
  if (error) {
    memcpy(error->held_by, call->hit.holder, sizeof error->held_by);
    snprintf(error->bulk_id, sizeof error->bulk_id, "%s", call->id);
    error->operation = call->hit.sequence;
  }
  return result;
}

static aon_result log_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  log_call *call = arguments;
  aon_ledger_head head;
  aon_result result = aon_ledger_fence(ledger, call->id, call->epoch, &head, error);
  if (result)
    return result;
  if (head.state >= AON_LOGGED || head.state == AON_SCHEDULED)
    return aon_fail(error, AON_USAGE, "wrong_state", "Bulk operation %s is %s; nothing can be added to its log.", call->id,
                    aon_state_name(head.state));
  if (call->count && call->operations[0].sequence < head.logged)
    return compare(ledger, call, &head, error);
  if (call->count && call->operations[0].sequence > head.logged)
    return aon_fail(error, AON_USAGE, "bad_sequence", "The log of bulk operation %s goes on with operation %lld, not %lld.", call->id,
                    (long long)head.logged + 1, (long long)call->operations[0].sequence + 1);
  result = aon_ledger_collide(ledger, call->id, &head, call->entries, call->entry_count, call->operations, &call->hit, error);
  if (result)
    return result;
  return call->hit.found ? refuse(call, error) : append(ledger, call, &head, error);
}

aon_result aon_ledger_log(void *state, const char *id, int64_t epoch, const aon_operation *operations, size_t count,
                          const aon_claimed *claims, size_t claim_count, bool *ret_holder_older, aon_error *error) {
  log_call call = {.id = id, .epoch = epoch, .operations = operations, .count = count, .claims = claims, .claim_count = claim_count};
  aon_result result = check_sequences(&call, error);
  if (!result)
    result = make_entries(&call, error);
  if (!result)
    result = aon_ledger_write(state, false, log_work, &call, error);
  free(call.entries);
  if (result == AON_BUSY && ret_holder_older)
    *ret_holder_older = call.hit.older;
  return result;
}

/* ---- taking out ---- */

typedef struct bulk_call {
  const char *id;
  int64_t epoch;
  bool more;
} bulk_call;

static aon_result discard_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  const bulk_call *call = arguments;
  aon_ledger_head head;
  aon_result result = aon_ledger_fence(ledger, call->id, call->epoch, &head, error);
  if (result)
    return result;
  if (head.state >= AON_LOGGED)
    return aon_fail(error, AON_USAGE, "wrong_state", "Bulk operation %s is %s; its log can't be taken back.", call->id,
                    aon_state_name(head.state));
  result = aon_ledger_run(ledger, "delete from segments where bulk = ?", error, "i", head.number);
  if (!result)
    result = aon_ledger_run(ledger, "delete from lock_runs where bulk = ?", error, "i", head.number);
  if (!result)
    result = aon_ledger_run(ledger, "delete from names where bulk = ?", error, "i", head.number);
  return result ? result : aon_ledger_run(ledger, "update bulk set logged = 0, holds = 0 where number = ?", error, "i", head.number);
}

aon_result aon_ledger_discard(void *state, const char *id, int64_t epoch, aon_error *error) {
  aon_ledger *ledger = state;
  bulk_call call = {.id = id, .epoch = epoch};
  aon_result result = aon_ledger_write(ledger, false, discard_work, &call, error);
  if (!result) {
    aon_ledger_names_drop(&ledger->written);
    aon_ledger_pieces_drop(ledger);
    aon_ledger_chain_drop(ledger);
    aon_filter_release(&ledger->filter); /* what was taken out would only make it say maybe */
    ledger->filter_last = 0;
  }
  return result;
}

/* ---- reading ---- */

typedef struct cursor {
  aon_ledger *ledger;
  char id[40];
  int64_t bulk;
  aon_piece_window window;
  struct {
    aon_dictionary *dictionary;
    aon_arena arena;
  } pieces[2];      /* the one last given out, and the one before it, which its reader may still be at */
  size_t turn;      /* index of the last one */
  aon_piece *piece; /* of a single operation: the ledger's, which the next one asked for is often in too */
} cursor;

/* The cursor shares the dictionary that is in memory; a log that grows meanwhile gives it a newer one. */
static aon_result share_names(cursor *from, aon_error *error) {
  aon_names *names = from->ledger->written.bulk == from->bulk ? &from->ledger->written : &from->ledger->read;
  aon_result result = aon_ledger_names(from->ledger, names, from->bulk, error);
  aon_dictionary **mine = &from->pieces[from->turn].dictionary;
  if (result || *mine == names->dictionary)
    return result;
  aon_dictionary_release(*mine);
  *mine = aon_dictionary_share(names->dictionary);
  return AON_OK;
}

aon_result aon_ledger_entries_open(void *state, const char *id, int64_t first, int64_t last, bool backward, void **ret_cursor,
                                   aon_error *error) {
  aon_ledger_head head;
  aon_result result = aon_ledger_head_of(state, id, &head, error);
  if (result)
    return result;
  cursor *made = calloc(1, sizeof *made);
  if (!made)
    return aon_fail_memory(error);
  *made = (cursor){.ledger = state, .bulk = head.number, .window = aon_piece_window_of(first, last, backward, INT64_MAX)};
  snprintf(made->id, sizeof made->id, "%s", id);
  *ret_cursor = made;
  return AON_OK;
}

void aon_ledger_entries_close(void *state) {
  cursor *from = state;
  if (!from)
    return;
  aon_piece_release(from->piece);
  for (size_t i = 0; i < 2; i++) {
    aon_dictionary_release(from->pieces[i].dictionary);
    aon_arena_release(&from->pieces[i].arena);
  }
  free(from);
}

/* Backward, the last segment of all is asked for with a sequence that it doesn't hold. */
static aon_result next_segment(cursor *from, aon_ledger_segment *ret_segment, aon_error *error) {
  if (aon_piece_window_done(&from->window))
    return AON_END;
  if (!from->window.backward)
    return aon_ledger_segment_find(from->ledger, from->bulk, from->window.at, ret_segment, error);
  int64_t logged = 0;
  aon_result result = aon_ledger_number(from->ledger, "select logged from bulk where number = ?", &logged, error, "i", from->bulk);
  if (result)
    return result;
  if (from->window.at >= logged)
    from->window.at = logged - 1;
  return from->window.at < from->window.first ? AON_END
                                              : aon_ledger_segment_find(from->ledger, from->bulk, from->window.at, ret_segment, error);
}

static aon_result next_single(cursor *from, const aon_operation **ret_operations, size_t *ret_count, bool *ret_cleared, aon_error *error) {
  aon_piece *piece;
  if (from->piece)
    return AON_END;
  aon_result result = aon_ledger_piece(from->ledger, from->bulk, from->window.first, true, &piece, error);
  if (result)
    return result;
  from->piece = aon_piece_share(piece);
  *ret_operations = piece->operations + (from->window.first - piece->first);
  *ret_count = 1;
  if (ret_cleared)
    *ret_cleared = piece->cleared;
  return AON_OK;
}

aon_result aon_ledger_entries_next(void *state, const aon_operation **ret_operations, size_t *ret_count, bool *ret_cleared,
                                   aon_error *error) {
  cursor *from = state;
  if (from->window.first == from->window.last)
    return next_single(from, ret_operations, ret_count, ret_cleared, error);
  aon_ledger_segment segment;
  aon_operation *operations;
  bool cleared;
  from->turn = !from->turn;
  aon_arena *arena = &from->pieces[from->turn].arena;
  aon_arena_reset(arena);
  aon_result result = next_segment(from, &segment, error);
  if (!result)
    result = share_names(from, error);
  if (!result)
    result = aon_ledger_segment_read(from->ledger, from->id, from->pieces[from->turn].dictionary, &segment, true, arena, &operations,
                                     &cleared, error);
  if (result)
    return result;
  int64_t low;
  aon_piece_take(&from->window, segment.first, segment.count, &low, ret_count);
  *ret_operations = operations + (low - segment.first);
  if (ret_cleared)
    *ret_cleared = cleared;
  return AON_OK;
}

/* ---- clearing ---- */

static aon_result clear_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  bulk_call *call = arguments;
  aon_ledger_head head;
  aon_result result = aon_ledger_head_of(ledger, call->id, &head, error);
  if (result)
    return result;
  if (!aon_state_terminal(head.state))
    return aon_fail(error, AON_USAGE, "wrong_state", "Bulk operation %s is %s; its images are still needed.", call->id,
                    aon_state_name(head.state));
  result = aon_ledger_run(ledger,
                          "update segments set images = null, images_sum = null where number in"
                          " (select number from segments where bulk = ? and images_sum is not null order by first limit ?)",
                          error, "ii", head.number, (int64_t)AON_LEDGER_CLEAR_SEGMENTS);
  call->more = !result && aon_ledger_changes(ledger) > 0;
  if (!result && !call->more) /* none is left, so housekeeping need not come back */
    result = aon_ledger_run(ledger, "update bulk set images_until_ms = 0 where number = ?", error, "i", head.number);
  return result;
}

aon_result aon_ledger_clear_images(void *state, const char *id, aon_error *error) {
  bulk_call call = {.id = id};
  aon_result result = aon_ledger_write(state, false, clear_work, &call, error);
  aon_ledger_pieces_drop(state);
  if (result)
    return result;
  return call.more ? AON_OK : AON_END;
}
