/* What can be done with documents: JSON both ways, comparison, patch, difference, three-way merge.
 *
 * Numbers: 1 and 1.0 are equal (int32, int64, double, by value, exactly); NaN equals NaN. Order of keys does not count
 * in objects. Missing and null differ. Integers of 64 bits stay exact. */
#ifndef AON_MODEL_DOCUMENT_H
#define AON_MODEL_DOCUMENT_H

#include "aon/document.h"
#include "base/arena.h"
#include "base/buffer.h"

/* Limits with names; each has a test that reaches it. */
#define AON_DOCUMENT_DEPTH_LIMIT 100
#define AON_DOCUMENT_BYTES_LIMIT (16u << 20)

/* Strict RFC 8259 text of one object. Refused (AON_REJECTED, code bad_json, sentence with position): doubled keys, integers
 * beyond 64 bits, numbers beyond double, bad UTF-8, NUL in keys, trailing bytes, too deep. A number without point and
 * exponent is an int64, else a double. ret_document is initialised by the function; the caller destroys it. */
aon_result aon_document_from_json(const char *text, size_t length, bson_t *ret_document, aon_error *error) AON_MUST_USE;

/* Canonical text: keys in their order, no spaces, shortest decimals that read back to the same double (with .0 where they
 * would read back as an integer), non-ASCII as UTF-8. Types beyond JSON as text: timestamp RFC 3339 with ms, objectId hex,
 * bytes base64, decimal128 its digits, NaN and infinities their names. from_json(to_json(x)) equals x for documents of JSON types.
 * A failure (bytes that are no UTF-8, nested too deep) leaves the buffer as it was. */
aon_result aon_document_to_json(const bson_t *document, aon_buffer *out, aon_error *error) AON_MUST_USE;
aon_result aon_value_to_json(const bson_iter_t *value, aon_buffer *out, aon_error *error) AON_MUST_USE;
aon_result aon_text_to_json(const char *text, size_t length, aon_buffer *out, aon_error *error) AON_MUST_USE; /* quoted string */

bool aon_value_equal(const bson_iter_t *a, const bson_iter_t *b);
/* Top-level names in stamps and volatiles (NULL-terminated arrays, may be NULL) do not count; AON_STAMP_NAME is a stamp in every
 * comparison. Arrays named in sets (JSON Pointers; without a slash in front a top-level name) are compared as sets. how NULL: all
 * counts, in its order. */
#define AON_STAMP_NAME "_bulkOperationId"
/* Behind the id in the stamp of a document that its store can't make in one step: what made it goes on, or takes it back. */
#define AON_STAMP_BEGUN ":new"
typedef struct aon_comparison {
  const char *const *stamps, *const *volatiles, *const *sets;
} aon_comparison;
bool aon_document_equal(const bson_t *a, const bson_t *b, const aon_comparison *how);

/* RFC 7396: objects by key, arrays whole, null removes. ret_result is initialised by the function. */
aon_result aon_document_patch(const bson_t *target, const bson_t *patch, bson_t *ret_result, aon_error *error) AON_MUST_USE;

/* One changed leaf; path is a JSON Pointer. before or after is NULL where the property is missing there. Returns AON_OK to go on,
 * AON_END to stop early without failure. */
typedef aon_result (*aon_difference_each)(void *context, const char *path, const bson_iter_t *before, const bson_iter_t *after,
                                          aon_error *error);
/* Either document may be NULL (absent: every leaf of the other is named). Objects by leaf (an empty one is a leaf), arrays as one
 * value. */
aon_result aon_document_difference(const bson_t *before, const bson_t *after, aon_difference_each each, void *context,
                                   aon_error *error) AON_MUST_USE;

/* Three-way merge for taking back our write (docs/protocol.md, invariant 3): before, after (ours), current (theirs).
 * Per leaf: c = a -> b; c = b or a = b -> c; else conflict, whose path is reported and where current stays. Sets: what we put in is
 * taken out, what we took out put back. Stamps: c = a -> b, else c; never a conflict. Volatile: c.
 * *ret_conflicts counts conflicts; each (may be NULL) hears every one. ret_result is initialised by the function. */
typedef aon_result (*aon_conflict_each)(void *context, const char *path, aon_error *error);
aon_result aon_document_merge(const bson_t *before, const bson_t *after, const bson_t *current, const aon_comparison *how,
                              bson_t *ret_result, size_t *ret_conflicts, aon_conflict_each each, void *context,
                              aon_error *error) AON_MUST_USE;

/* Value at a JSON Pointer; false: nothing there. */
bool aon_document_at(const bson_t *document, const char *pointer, bson_iter_t *ret_value);

/* Copies a document into the arena as an image without token. */
aon_result aon_image_from(const bson_t *document, aon_arena *arena, aon_image *ret_image, aon_error *error) AON_MUST_USE;

/* True if any of the collection's sensitive properties (top-level names) stands in the document. */
bool aon_document_holds(const bson_t *document, const char *const *names);
#endif
