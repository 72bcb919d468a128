/* Keys of a journal, and images sealed with them.
 *
 * The key file is text, one key a line, newest first: "aon-key-1 ID KEY", both hexadecimal; ID is a BLAKE2b-64 of KEY, so a
 * damaged line is found when it is read. Blank lines and lines that begin with # are skipped. It must be 0600.
 * Sealing is XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03, as libsodium has it) with a fresh random nonce; associated data: id
 * of the bulk operation and first sequence, so that a sealed piece can't be moved. Form: key id (8 bytes), nonce (24), ciphertext.
 *
 * Invariants: key bytes are wiped before their memory is given back; the file is written aside, synced and renamed. */
#ifndef AON_JOURNAL_CIPHER_H
#define AON_JOURNAL_CIPHER_H

#include <stdbool.h>

#include "aon/env.h"
#include "base/buffer.h"

#define AON_KEY_LIMIT 256 /* keys in one file */
#define AON_KEY_FILE_BYTES_LIMIT ((uint64_t)AON_KEY_LIMIT * 128)
#define AON_KEY_NAME_LENGTH 16
#define AON_SEAL_OVERHEAD (8 + 24 + 16)

typedef struct aon_keys aon_keys;

/* AON_ENVIRONMENT missing_key (no such file, or no key in it), key_exposed (mode wider than 0600); AON_CORRUPT bad_key. */
aon_result aon_keys_read(aon_env *env, const char *path, aon_keys **ret_keys, aon_error *error) AON_MUST_USE;
/* Puts a new key in front of those of keys (NULL: none are there) and writes the file; keys stay the caller's. */
aon_result aon_keys_add(aon_env *env, const char *path, const aon_keys *keys, aon_keys **ret_keys, aon_error *error) AON_MUST_USE;
void aon_keys_close(aon_keys *keys);
size_t aon_keys_count(const aon_keys *keys);
const char *aon_keys_name(const aon_keys *keys, size_t index); /* 0: the newest, which seals */
bool aon_keys_has(const aon_keys *keys, const char *name);

/* Appends the sealed bytes to out. */
aon_result aon_keys_seal(aon_env *env, const aon_keys *keys, const char *bulk_id, int64_t first, const void *plain, size_t length,
                         aon_buffer *out, aon_error *error) AON_MUST_USE;
/* Name of the key that sealed these bytes; false: too short to have one. */
bool aon_seal_key_name(const void *sealed, size_t length, char ret_name[AON_KEY_NAME_LENGTH + 1]);
/* plain has room for length - AON_SEAL_OVERHEAD bytes. AON_ENVIRONMENT missing_key if the file lacks that key; AON_CORRUPT if the
 * bytes are not what was sealed. */
aon_result aon_keys_unseal(const aon_keys *keys, const char *bulk_id, int64_t first, const void *sealed, size_t length, void *plain,
                           aon_error *error) AON_MUST_USE;
#endif
