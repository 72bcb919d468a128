/* Keys and sealing. Form and invariants stand in cipher.h. */
#include "journal/cipher.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define KEY_BYTES crypto_aead_xchacha20poly1305_ietf_KEYBYTES
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES
#define NAME_BYTES 8
#define ASSOCIATED_BYTES_LIMIT 64

_Static_assert(AON_SEAL_OVERHEAD == NAME_BYTES + NONCE_BYTES + TAG_BYTES, "the head of sealed bytes");

struct key {
  unsigned char bytes[KEY_BYTES], name_bytes[NAME_BYTES];
  char name[AON_KEY_NAME_LENGTH + 1];
};

struct aon_keys {
  size_t count;
  struct key keys[AON_KEY_LIMIT];
};

static void name_key(struct key *key) {
  static const char purpose[] = "aon-key-1";
  crypto_generichash_state state;
  unsigned char digest[16]; /* the shortest that libsodium makes; half of it is the name */
  crypto_generichash_init(&state, NULL, 0, sizeof digest);
  crypto_generichash_update(&state, (const unsigned char *)purpose, sizeof purpose);
  crypto_generichash_update(&state, key->bytes, sizeof key->bytes);
  crypto_generichash_final(&state, digest, sizeof digest);
  memcpy(key->name_bytes, digest, NAME_BYTES);
  sodium_bin2hex(key->name, sizeof key->name, key->name_bytes, NAME_BYTES);
}

static aon_keys *keys_new(void) { return sodium_malloc(sizeof(aon_keys)); }

void aon_keys_close(aon_keys *keys) { sodium_free(keys); /* wipes it */ }

size_t aon_keys_count(const aon_keys *keys) { return keys->count; }
const char *aon_keys_name(const aon_keys *keys, size_t index) { return keys->keys[index].name; }

static const struct key *key_find(const aon_keys *keys, const unsigned char name_bytes[NAME_BYTES]) {
  for (size_t i = 0; i < keys->count; i++)
    if (!memcmp(keys->keys[i].name_bytes, name_bytes, NAME_BYTES))
      return &keys->keys[i];
  return NULL;
}

bool aon_keys_has(const aon_keys *keys, const char *name) {
  for (size_t i = 0; i < keys->count; i++)
    if (!strcmp(keys->keys[i].name, name))
      return true;
  return false;
}

static aon_result missing_key(const char *path, aon_error *error) {
  return aon_fail(
      error, AON_ENVIRONMENT, "missing_key",
      "The journal's key file “%s” is missing. Put it back from a backup: without it no work starts, and sensitive images can't be read.",
      path);
}

/* Reads the whole file into text, which the caller wipes and frees. */
static aon_result read_text(aon_env *env, const char *path, char **ret_text, size_t *ret_length, aon_error *error) {
  aon_file_info info;
  aon_result result = env->ops->file_info(env->context, path, &info, error);
  if (result)
    return result;
  if (!info.exists)
    return missing_key(path, error);
  if (info.mode & 077)
    return aon_fail(error, AON_ENVIRONMENT, "key_exposed",
                    "The journal's key file “%s” can be read by other users (mode %04o). Run: chmod 600 '%s'", path, (unsigned)info.mode,
                    path);
  if (info.size_bytes > AON_KEY_FILE_BYTES_LIMIT)
    return aon_fail(error, AON_CORRUPT, "bad_key",
                    "The journal's key file “%s” is longer than any that was written here. Put it back from a backup.", path);
  aon_file *file;
  result = env->ops->file_open(env->context, path, AON_FILE_READ, &file, error);
  if (result)
    return result;
  char *text = sodium_malloc((size_t)AON_KEY_FILE_BYTES_LIMIT + 1);
  if (!text)
    result = aon_fail_memory(error);
  else
    result = env->ops->file_read(file, 0, text, (size_t)AON_KEY_FILE_BYTES_LIMIT, ret_length, error);
  env->ops->file_close(file);
  if (result) {
    sodium_free(text);
    return result;
  }
  text[*ret_length] = 0;
  *ret_text = text;
  return AON_OK;
}

static bool parse_line(const char *line, size_t length, struct key *ret_key) {
  static const char head[] = "aon-key-1 ";
  const size_t head_length = sizeof head - 1, whole = head_length + AON_KEY_NAME_LENGTH + 1 + 2 * KEY_BYTES;
  size_t bytes;
  if (length != whole || memcmp(line, head, head_length) || line[head_length + AON_KEY_NAME_LENGTH] != ' ')
    return false;
  const char *hex = line + head_length + AON_KEY_NAME_LENGTH + 1;
  if (sodium_hex2bin(ret_key->bytes, KEY_BYTES, hex, (size_t)2 * KEY_BYTES, NULL, &bytes, NULL) || bytes != KEY_BYTES)
    return false;
  name_key(ret_key);
  return !memcmp(ret_key->name, line + head_length, AON_KEY_NAME_LENGTH);
}

static aon_result parse_text(const char *path, const char *text, size_t length, aon_keys *keys, aon_error *error) {
  unsigned number = 0;
  for (size_t at = 0; at < length;) {
    const char *line = text + at, *end = memchr(line, '\n', length - at);
    size_t line_length = end ? (size_t)(end - line) : length - at;
    at += line_length + 1;
    number++;
    if (line_length == 0 || *line == '#')
      continue;
    if (keys->count == AON_KEY_LIMIT)
      return aon_fail(error, AON_CORRUPT, "bad_key", "The journal's key file “%s” has more than %d keys. Remove the oldest, at its end.",
                      path, AON_KEY_LIMIT);
    if (!parse_line(line, line_length, &keys->keys[keys->count]))
      return aon_fail(error, AON_CORRUPT, "bad_key", "Line %u of the journal's key file “%s” is damaged. Put the file back from a backup.",
                      number, path);
    keys->count++;
  }
  return keys->count ? AON_OK : missing_key(path, error);
}

aon_result aon_keys_read(aon_env *env, const char *path, aon_keys **ret_keys, aon_error *error) {
  char *text = NULL;
  size_t length = 0;
  aon_result result = read_text(env, path, &text, &length, error);
  if (result)
    return result;
  aon_keys *keys = keys_new();
  if (!keys) {
    result = aon_fail_memory(error);
  } else {
    keys->count = 0;
    result = parse_text(path, text, length, keys, error);
  }
  sodium_free(text);
  if (result) {
    aon_keys_close(keys);
    return result;
  }
  *ret_keys = keys;
  return AON_OK;
}

static aon_result write_text(aon_env *env, const char *path, const aon_keys *keys, aon_error *error) {
  enum { LINE = 10 + AON_KEY_NAME_LENGTH + 1 + 2 * KEY_BYTES + 1 };
  AON_BUFFER_CLEANUP aon_buffer aside = {0};
  aon_result result = aon_buffer_format(&aside, error, "%s.new", path);
  if (result)
    return result;
  char *text = sodium_malloc(keys->count * LINE + 1);
  if (!text)
    return aon_fail_memory(error);
  size_t length = 0;
  for (size_t i = 0; i < keys->count; i++) {
    memcpy(text + length, "aon-key-1 ", 10);
    memcpy(text + length + 10, keys->keys[i].name, AON_KEY_NAME_LENGTH);
    text[length + 10 + AON_KEY_NAME_LENGTH] = ' ';
    sodium_bin2hex(text + length + 11 + AON_KEY_NAME_LENGTH, (size_t)2 * KEY_BYTES + 1, keys->keys[i].bytes, KEY_BYTES);
    length += LINE;
    text[length - 1] = '\n';
  }
  /* Removed first: REPLACE would keep the wider mode of a file that somebody left there. */
  result = env->ops->file_remove(env->context, aside.data, error);
  aon_file *file = NULL;
  if (!result)
    result = env->ops->file_open(env->context, aside.data, AON_FILE_CREATE, &file, error);
  if (!result)
    result = env->ops->file_write(file, 0, text, length, error);
  if (!result)
    result = env->ops->file_sync(file, error);
  if (file)
    env->ops->file_close(file);
  sodium_free(text);
  return result ? result : env->ops->file_rename(env->context, aside.data, path, error);
}

aon_result aon_keys_add(aon_env *env, const char *path, const aon_keys *keys, aon_keys **ret_keys, aon_error *error) {
  if (keys && keys->count == AON_KEY_LIMIT)
    return aon_fail(error, AON_USAGE, "too_many_keys", "The journal's key file “%s” has %d keys already. Remove the oldest, at its end.",
                    path, AON_KEY_LIMIT);
  aon_keys *more = keys_new();
  if (!more)
    return aon_fail_memory(error);
  more->count = 1;
  aon_random(env, more->keys[0].bytes, KEY_BYTES);
  name_key(&more->keys[0]);
  if (keys) {
    memcpy(more->keys + 1, keys->keys, keys->count * sizeof *keys->keys);
    more->count += keys->count;
  }
  aon_result result = write_text(env, path, more, error);
  if (result) {
    aon_keys_close(more);
    return result;
  }
  *ret_keys = more;
  return AON_OK;
}

static size_t associate(const char *bulk_id, int64_t first, unsigned char bytes[ASSOCIATED_BYTES_LIMIT]) {
  size_t length = strnlen(bulk_id, ASSOCIATED_BYTES_LIMIT - 8);
  memcpy(bytes, bulk_id, length);
  for (int i = 0; i < 8; i++)
    bytes[length + (size_t)i] = (unsigned char)((uint64_t)first >> (8 * i));
  return length + 8;
}

aon_result aon_keys_seal(aon_env *env, const aon_keys *keys, const char *bulk_id, int64_t first, const void *plain, size_t length,
                         aon_buffer *out, aon_error *error) {
  aon_result result = aon_buffer_reserve(out, length + AON_SEAL_OVERHEAD, error);
  if (result)
    return result;
  const struct key *key = &keys->keys[0];
  unsigned char *head = (unsigned char *)out->data + out->length, *nonce = head + NAME_BYTES, associated[ASSOCIATED_BYTES_LIMIT];
  size_t associated_length = associate(bulk_id, first, associated);
  memcpy(head, key->name_bytes, NAME_BYTES);
  aon_random(env, nonce, NONCE_BYTES);
  crypto_aead_xchacha20poly1305_ietf_encrypt(nonce + NONCE_BYTES, NULL, plain, length, associated, associated_length, NULL, nonce,
                                             key->bytes);
  out->length += length + AON_SEAL_OVERHEAD;
  out->data[out->length] = 0;
  return AON_OK;
}

bool aon_seal_key_name(const void *sealed, size_t length, char ret_name[AON_KEY_NAME_LENGTH + 1]) {
  if (length < AON_SEAL_OVERHEAD)
    return false;
  sodium_bin2hex(ret_name, AON_KEY_NAME_LENGTH + 1, sealed, NAME_BYTES);
  return true;
}

aon_result aon_keys_unseal(const aon_keys *keys, const char *bulk_id, int64_t first, const void *sealed, size_t length, void *plain,
                           aon_error *error) {
  char name[AON_KEY_NAME_LENGTH + 1];
  if (!aon_seal_key_name(sealed, length, name))
    return aon_fail(error, AON_CORRUPT, "corrupt",
                    "Images of bulk operation %s are cut short in the journal. Restore the journal from a backup.", bulk_id);
  const struct key *key = keys ? key_find(keys, sealed) : NULL;
  if (!key)
    return aon_fail(
        error, AON_ENVIRONMENT, "missing_key",
        "Images of bulk operation %s are encrypted with key %s, which the journal's key file lacks. Put its line back from a backup of the "
        "key file.",
        bulk_id, name);
  const unsigned char *nonce = (const unsigned char *)sealed + NAME_BYTES, *box = nonce + NONCE_BYTES;
  unsigned char associated[ASSOCIATED_BYTES_LIMIT];
  size_t associated_length = associate(bulk_id, first, associated);
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain, NULL, NULL, box, length - NAME_BYTES - NONCE_BYTES, associated, associated_length,
                                                 nonce, key->bytes))
    return aon_fail(
        error, AON_CORRUPT, "corrupt",
        "Encrypted images of bulk operation %s (from operation %lld on) are damaged in the journal. Restore the journal from a backup.",
        bulk_id, (long long)first + 1);
  return AON_OK;
}
