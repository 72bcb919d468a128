/* Segments: the compact bytes in which the journal keeps operations. A segment is two strings: `operations`, all but the
 * images, always in clear; `images`, before and after of each operation in the same order, sealed as a whole if one of them is
 * sensitive, dropped as a whole when images are cleared.
 *
 * operations: one version byte, then per operation
 *   control byte: bits 0-1 kind · 2 collection, sheet and entity as in the operation before · 3 row is the row before + 1 ·
 *   4 has a path · 5 flags follow
 *   [flags] [collection, sheet + 1, entity + 1] [row] length of id, id [length of path, path, NUL]
 * images: per operation before, after; an image is its length (0: absent), the BSON, length of token + 1 (0: none), the token.
 * Numbers are varints (LEB128, unsigned).
 *
 * Invariants: decoding never reads beyond what it was given and accepts only what encoding makes; sums (XXH3-128, seeded by the
 * place) bind each string to its bulk operation, its place and its role. They have to find damage, not forgery, and are taken
 * of every byte when it is written and when it is read. */
#ifndef AON_JOURNAL_SEGMENT_H
#define AON_JOURNAL_SEGMENT_H

#include "base/buffer.h"
#include "journal/dictionary.h"

#define AON_SEGMENT_SUM_BYTES 16
#define AON_SEGMENT_IMAGES_BYTES ((size_t)4 << 20)   /* a segment is full beyond that many bytes of images … */
#define AON_SEGMENT_OPERATIONS 8192                  /* … or with so many operations */
#define AON_SEGMENT_ID_BYTES_LIMIT ((size_t)1 << 20) /* of one document's id, and of one path */

#define AON_SEGMENT_SEEN 32

typedef struct aon_segment_writer {
  aon_buffer operations, images; /* kept from segment to segment */
  int64_t first;
  uint32_t count;
  bool sensitive;
  const aon_operation *previous;      /* borrowed until the segment is complete */
  uint32_t collection, sheet, entity; /* numbers of the previous one; sheet and entity + 1, 0: none */
  struct {
    const aon_collection *collection;
    uint32_t number;
  } seen[AON_SEGMENT_SEEN]; /* collections by their address, which tells them apart as long as the segment is written */
  size_t seen_count;
} aon_segment_writer;

void aon_segment_begin(aon_segment_writer *writer, int64_t first);
/* AON_USAGE bad_image where an image is no BSON document of its length; AON_PERMANENT too_long. */
aon_result aon_segment_add(aon_segment_writer *writer, aon_dictionary *dictionary, const aon_operation *operation,
                           aon_error *error) AON_MUST_USE;
bool aon_segment_full(const aon_segment_writer *writer);
void aon_segment_release(aon_segment_writer *writer);

typedef enum aon_segment_role { AON_SEGMENT_OPERATIONS_ROLE, AON_SEGMENT_IMAGES_ROLE } aon_segment_role;
void aon_segment_sum(const char *bulk_id, int64_t first, aon_segment_role role, const void *bytes, size_t length,
                     unsigned char ret_sum[AON_SEGMENT_SUM_BYTES]);
/* The sum of journals of schema version 1 (BLAKE2b-128), for bringing them up to date. */
void aon_segment_sum_1(const char *bulk_id, int64_t first, aon_segment_role role, const void *bytes, size_t length,
                       unsigned char ret_sum[AON_SEGMENT_SUM_BYTES]);

/* ret_operations is in the arena; ids, paths and images point into operations and images, which must outlive it. images NULL:
 * cleared, all images absent. AON_CORRUPT where the bytes are not what encoding makes. */
aon_result aon_segment_decode(const aon_dictionary *dictionary, int64_t first, uint32_t count, const void *operations,
                              size_t operations_length, const void *images, size_t images_length, aon_arena *arena,
                              aon_operation **ret_operations, aon_error *error) AON_MUST_USE;
#endif
