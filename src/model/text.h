/* Text, ids and instants as the whole program spells them. */
#ifndef AON_MODEL_TEXT_H
#define AON_MODEL_TEXT_H

#include "aon/document.h"
#include "aon/env.h"
#include "base/buffer.h"

#define AON_UUID_LENGTH 36
#define AON_INSTANT_LENGTH 24

void aon_uuid_make(aon_env *env, char ret_uuid[AON_UUID_LENGTH + 1]); /* random (version 4), lower case */
bool aon_uuid_valid(const char *text);                                /* lower case only */

/* "2027-01-06T08:00:00.000Z". */
void aon_instant_format(int64_t ms, char ret_text[AON_INSTANT_LENGTH + 1]);
/* RFC 3339; without an offset: local time. false: does not read as one. */
bool aon_instant_parse(const char *text, int64_t *ret_ms);

/* "500ms" "30s" "5m" "24h" "7d", "0"; false: does not read as one. */
bool aon_duration_parse(const char *text, int64_t *ret_ms);
/* "512" "64KiB" "16MiB" "2GiB". */
bool aon_size_parse(const char *text, uint64_t *ret_bytes);

/* NFC, then full case folding, then NFC: two texts that a person calls the same give the same bytes.
 * Bad UTF-8 is AON_REJECTED bad_format. Appends to out. */
aon_result aon_text_fold(const char *text, size_t length, aon_buffer *out, aon_error *error) AON_MUST_USE;

/* Composite ids: parts joined with ':'; ':' and '%' inside a part percent-encoded. */
aon_result aon_id_join(const aon_text *parts, size_t count, aon_buffer *out, aon_error *error) AON_MUST_USE;
/* Splits into exactly count parts, decoded, in the arena; *ret_fits false: not that many, or a bad escape. Fails only for
 * lack of memory. */
struct aon_arena;
aon_result aon_id_split(aon_text id, size_t count, struct aon_arena *arena, aon_text *ret_parts, bool *ret_fits,
                        aon_error *error) AON_MUST_USE;

/* 64-bit hash that names a document in lock tables: SipHash-free, fixed for ever (it is stored): BLAKE2b-64 of
 * store, collection and id, each with its length before it. */
uint64_t aon_document_hash(const char *store, const char *collection, aon_text id);
struct aon_operation;
uint64_t aon_operation_hash(const struct aon_operation *operation); /* its document's, computed only where it has none */

/* Edit distance of two folded ASCII-ish texts, for "did you mean"; capped at limit + 1. */
size_t aon_text_distance(const char *a, const char *b, size_t limit);

/* Spreadsheet names: 1 -> A, 27 -> AA. */
void aon_column_name(uint32_t column, char ret_name[8]);
#endif
