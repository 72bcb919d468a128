/* Pieces: single segments, decoded, that are looked into again and again (who holds this, what was planned for that document).
 * Invariant: a piece is known by the number of its row, which is never given twice, and was committed when it was read. */
#include <stdlib.h>
#include <string.h>

#include "journal/sqlite_ledger.h"

aon_piece *aon_piece_share(aon_piece *piece) {
  piece->owners++;
  return piece;
}

void aon_piece_release(aon_piece *piece) {
  if (!piece || --piece->owners)
    return;
  aon_dictionary_release(piece->dictionary);
  aon_arena_release(&piece->arena);
  free(piece);
}

void aon_ledger_pieces_drop(aon_ledger *ledger) {
  aon_piece_release(ledger->heads);
  aon_piece_release(ledger->whole);
  ledger->heads = ledger->whole = NULL;
}

/* An empty piece in *kept: the one that is there, if nobody else has it, so that its memory is used again. */
static aon_result piece_empty(aon_piece **kept, aon_error *error) {
  aon_piece *piece = *kept;
  if (piece && piece->owners == 1) {
    aon_dictionary_release(piece->dictionary);
    aon_arena_reset(&piece->arena);
    *piece = (aon_piece){.owners = 1, .arena = piece->arena};
    return AON_OK;
  }
  aon_piece_release(piece);
  *kept = piece = calloc(1, sizeof *piece);
  if (!piece)
    return aon_fail_memory(error);
  piece->owners = 1;
  return AON_OK;
}

static aon_result piece_read(aon_ledger *ledger, int64_t bulk, const aon_ledger_segment *segment, bool images, aon_piece *piece,
                             aon_error *error) {
  char id[37];
  aon_names *names = ledger->written.bulk == bulk ? &ledger->written : &ledger->read;
  aon_result result = aon_ledger_names(ledger, names, bulk, error);
  if (!result)
    result = aon_ledger_id_of(ledger, bulk, id, error);
  if (result)
    return result;
  piece->dictionary = aon_dictionary_share(names->dictionary);
  result =
      aon_ledger_segment_read(ledger, id, piece->dictionary, segment, images, &piece->arena, &piece->operations, &piece->cleared, error);
  if (result)
    return result;
  piece->number = segment->number;
  piece->bulk = bulk;
  piece->first = segment->first;
  piece->count = segment->count;
  return AON_OK;
}

aon_result aon_ledger_piece(aon_ledger *ledger, int64_t bulk, int64_t sequence, bool images, aon_piece **ret_piece, aon_error *error) {
  aon_piece **kept = images ? &ledger->whole : &ledger->heads;
  if (*kept && (*kept)->bulk == bulk && bulk == ledger->chain_bulk && sequence >= (*kept)->first &&
      sequence - (*kept)->first < (*kept)->count) {
    *ret_piece = *kept; /* only this handle logs there, and it drops its pieces when it discards */
    return AON_OK;
  }
  aon_ledger_segment segment;
  aon_result result = aon_ledger_segment_find(ledger, bulk, sequence, &segment, error);
  if (result)
    return result;
  if (!*kept || (*kept)->number != segment.number) {
    result = piece_empty(kept, error);
    if (!result)
      result = piece_read(ledger, bulk, &segment, images, *kept, error);
    if (result) {
      aon_piece_release(*kept);
      *kept = NULL;
      return result;
    }
  }
  *ret_piece = *kept;
  return AON_OK;
}

aon_result aon_ledger_peek(aon_ledger *ledger, int64_t bulk, int64_t first, uint32_t offset, const aon_operation **ret_operation,
                           aon_error *error) {
  aon_piece *piece;
  *ret_operation = NULL;
  aon_result result = aon_ledger_piece(ledger, bulk, first, false, &piece, error);
  if (result)
    return result == AON_END ? AON_OK : result;
  *ret_operation = offset < piece->count ? &piece->operations[offset] : NULL;
  return AON_OK;
}
