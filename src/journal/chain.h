/* Where in a log a document was last written: hash of the document -> segment, in a bounded table.
 *
 * It keeps 40 bits of a hash, so an answer must be confirmed by the segment itself; if that doesn't hold the document, the
 * answer was another document's and only the log can tell. Silence is final for what was added.
 * Invariant: its memory stays below the limit; where it has no room for a segment any more it says so, and that segment and
 * all later ones are the caller's to look through. */
#ifndef AON_JOURNAL_CHAIN_H
#define AON_JOURNAL_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AON_CHAIN_BYTES_LIMIT ((size_t)24 << 20) /* more than a million documents in segments of 500 */

typedef struct aon_chain {
  uint64_t *slots; /* upper 40 bits of the hash, lower 24 number of the segment + 1; 0: free */
  size_t slot_count, used;
  int64_t *firsts; /* of each segment */
  size_t segment_count, segment_capacity;
  size_t limit_bytes; /* 0: AON_CHAIN_BYTES_LIMIT */
} aon_chain;

/* Room for one more segment with so many documents, which aon_chain_add then adds; false: none. */
bool aon_chain_begin(aon_chain *chain, int64_t first, size_t documents);
void aon_chain_add(aon_chain *chain, uint64_t hash); /* to the last segment; takes the place of an earlier one */
bool aon_chain_find(const aon_chain *chain, uint64_t hash, int64_t *ret_first);
void aon_chain_release(aon_chain *chain); /* empty again; the limit stays */
#endif
