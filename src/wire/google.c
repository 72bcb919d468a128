/* Requests to Google's services. Invariants stand in wire/google.h. */
#include "wire/google.h"

#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/libcrypto.h"

#define KEY_FILE_LIMIT ((size_t)64 << 10)
#define EMULATOR_TOKEN "owner"
#define TOKEN_LIFE_S 3600                          /* what Google gives at most */
#define REFRESH_BEFORE_MS ((int64_t)5 * 60 * 1000) /* or half of its life, if that is less */
#define SKEW_S 30                                  /* our clock may be so far ahead */
#define SKEW_ASK_MS 10000                          /* differs more: the server's clock is taken */

struct aon_google {
  aon_env *env;
  aon_http *http;
  char label[64];
  char emulator[256];
  char *scopes, *account, *key_id, *token_url;
  EVP_PKEY *key;
  char *header;            /* "Authorization: Bearer …", NULL: none yet */
  int64_t refresh_at_ms;   /* monotonic */
  int64_t clock_offset_ms; /* the token server's clock minus ours, where they differ much */
};

static void forget_token(aon_google *google) {
  if (google->header)
    sodium_memzero(google->header, strlen(google->header));
  free(google->header);
  google->header = NULL;
}

void aon_google_free(aon_google *google) {
  if (!google)
    return;
  forget_token(google);
  if (google->key)
    EVP_PKEY_free(google->key);
  free(google->scopes);
  free(google->account);
  free(google->key_id);
  free(google->token_url);
  free(google);
}

const char *aon_google_emulator(const aon_google *google) { return google->emulator[0] ? google->emulator : NULL; }
const char *aon_google_account(const aon_google *google) { return google->account ? google->account : ""; }

/* ---- credentials ---- */

static aon_result bad_key(const aon_google *google, const char *what, aon_error *error) {
  return aon_fail(
      error, AON_ENVIRONMENT, "no_credentials",
      "The file that GOOGLE_APPLICATION_CREDENTIALS names can't be used for %s: %s. Point it to the key of a service account (JSON).",
      google->label, what);
}

static aon_result read_key_file(const aon_google *google, const char *path, char **ret_text, size_t *ret_length, aon_error *error) {
  aon_file *file;
  aon_error why = AON_ERROR_INIT;
  const aon_env_ops *ops = google->env->ops;
  if (ops->file_open(google->env->context, path, AON_FILE_READ, &file, &why))
    return bad_key(google, "it can't be read", error);
  char *text = malloc(KEY_FILE_LIMIT + 1);
  aon_result result = text ? ops->file_read(file, 0, text, KEY_FILE_LIMIT + 1, ret_length, &why) : aon_fail_memory(error);
  ops->file_close(file);
  if (!result && *ret_length <= KEY_FILE_LIMIT) {
    *ret_text = text;
    return AON_OK;
  }
  free(text);
  return result == AON_NO_MEMORY ? result : bad_key(google, "it can't be read, or is no key", error);
}

static bool good_token_url(const char *url) {
  return !strncmp(url, "https://", 8) || !strncmp(url, "http://127.0.0.1:", 17) || !strncmp(url, "http://localhost:", 17);
}

static aon_result take_key(aon_google *google, json_t *root, aon_error *error) {
  const char *type = json_string_value(json_object_get(root, "type")), *account = json_string_value(json_object_get(root, "client_email"));
  const char *pem = json_string_value(json_object_get(root, "private_key")),
             *id = json_string_value(json_object_get(root, "private_key_id"));
  const char *url = json_string_value(json_object_get(root, "token_uri"));
  if (!type || strcmp(type, "service_account"))
    return bad_key(google, "it is not of the type service_account", error);
  if (!account || !pem || !url || !good_token_url(url))
    return bad_key(google, "client_email, private_key or a token_uri with https is missing", error);
  aon_result result = aon_libcrypto_load(google->label, error);
  if (result)
    return result;
  BIO *bytes = BIO_new_mem_buf(pem, -1);
  google->key = bytes ? PEM_read_bio_PrivateKey(bytes, NULL, NULL, NULL) : NULL;
  BIO_free(bytes);
  if (!google->key || EVP_PKEY_get_base_id(google->key) != EVP_PKEY_RSA)
    return bad_key(google, "its private_key is no RSA key", error);
  google->account = strdup(account);
  google->key_id = strdup(id ? id : "");
  google->token_url = strdup(url);
  return google->account && google->key_id && google->token_url ? AON_OK : aon_fail_memory(error);
}

static aon_result find_credentials(aon_google *google, aon_error *error) {
  const char *path = getenv("GOOGLE_APPLICATION_CREDENTIALS");
  char *text = NULL;
  size_t length = 0;
  if (!path || !*path)
    return aon_fail(error, AON_ENVIRONMENT, "no_credentials",
                    "%s needs credentials: set GOOGLE_APPLICATION_CREDENTIALS to the file with the key of a service account.",
                    google->label);
  aon_result result = read_key_file(google, path, &text, &length, error);
  if (result)
    return result;
  json_error_t ignored;
  json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &ignored);
  sodium_memzero(text, length);
  free(text);
  result = root ? take_key(google, root, error) : bad_key(google, "it is no JSON", error);
  json_decref(root);
  return result;
}

aon_result aon_google_new(aon_env *env, const aon_google_settings *settings, aon_http *http, aon_google **ret_google, aon_error *error) {
  aon_google *google = calloc(1, sizeof *google);
  if (!google)
    return aon_fail_memory(error);
  google->env = env;
  google->http = http;
  snprintf(google->label, sizeof google->label, "%s", settings->label);
  google->scopes = strdup(settings->scopes);
  const char *emulator = getenv(settings->emulator);
  aon_result result = google->scopes ? AON_OK : aon_fail_memory(error);
  if (!result && emulator && *emulator) {
    bool scheme = strstr(emulator, "://") != NULL;
    if (scheme || strpbrk(emulator, "/?#@ ") || strlen(emulator) >= sizeof google->emulator)
      result = aon_fail(error, AON_USAGE, "bad_location", "%s must be HOST:PORT, without http://.", settings->emulator);
    else
      snprintf(google->emulator, sizeof google->emulator, "%s", emulator);
  } else if (!result) {
    result = find_credentials(google, error);
  }
  if (result) {
    aon_google_free(google);
    return result;
  }
  *ret_google = google;
  return AON_OK;
}

/* ---- tokens ---- */

static aon_result append_base64(aon_buffer *out, const void *bytes, size_t length, aon_error *error) {
  size_t size = sodium_base64_encoded_len(length, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  char *text = malloc(size);
  if (!text)
    return aon_fail_memory(error);
  sodium_bin2base64(text, size, bytes, length, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  aon_result result = aon_buffer_text(out, text, error);
  sodium_memzero(text, size);
  free(text);
  return result;
}

static aon_result append_json(aon_buffer *out, json_t *made, aon_error *error) {
  char *text = made ? json_dumps(made, JSON_COMPACT) : NULL;
  json_decref(made);
  aon_result result = text ? append_base64(out, text, strlen(text), error) : aon_fail_memory(error);
  free(text);
  return result;
}

static aon_result sign(aon_google *google, aon_buffer *jwt, aon_error *error) {
  EVP_MD_CTX *digest = EVP_MD_CTX_new();
  size_t length = 0;
  unsigned char *signature = NULL;
  bool fine = digest && EVP_DigestSignInit(digest, NULL, EVP_sha256(), NULL, google->key) == 1 &&
              EVP_DigestSign(digest, NULL, &length, (const unsigned char *)jwt->data, jwt->length) == 1 && (signature = malloc(length)) &&
              EVP_DigestSign(digest, signature, &length, (const unsigned char *)jwt->data, jwt->length) == 1;
  aon_result result = fine ? aon_buffer_text(jwt, ".", error) : bad_key(google, "its key does not sign", error);
  if (!result)
    result = append_base64(jwt, signature, length, error);
  free(signature);
  EVP_MD_CTX_free(digest);
  return result;
}

static aon_result make_assertion(aon_google *google, aon_buffer *out, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer jwt = {0};
  json_int_t now = (aon_now_ms(google->env) + google->clock_offset_ms) / 1000 - SKEW_S;
  aon_result result = append_json(&jwt, json_pack("{s:s,s:s,s:s}", "alg", "RS256", "typ", "JWT", "kid", google->key_id), error);
  if (!result)
    result = aon_buffer_text(&jwt, ".", error);
  if (!result)
    result = append_json(&jwt,
                         json_pack("{s:s,s:s,s:s,s:I,s:I}", "iss", google->account, "scope", google->scopes, "aud", google->token_url,
                                   "iat", now, "exp", now + TOKEN_LIFE_S),
                         error);
  if (!result)
    result = sign(google, &jwt, error);
  if (!result)
    result = aon_buffer_format(out, error, "grant_type=urn%%3Aietf%%3Aparams%%3Aoauth%%3Agrant-type%%3Ajwt-bearer&assertion=%s", jwt.data);
  return result;
}

static aon_result keep_token(aon_google *google, const aon_http_request *answer, aon_error *error) {
  json_error_t ignored;
  json_t *root = json_loadb(answer->reply.data ? answer->reply.data : "", answer->reply.length, 0, &ignored);
  const char *token = json_string_value(json_object_get(root, "access_token"));
  int64_t life_ms = json_integer_value(json_object_get(root, "expires_in")) * 1000;
  aon_result result = AON_OK;
  if (!token || !*token || strpbrk(token, "\r\n")) {
    result = aon_fail(error, AON_ENVIRONMENT, "no_credentials", "The token server gave no token for %s.", google->label);
  } else {
    forget_token(google);
    if (asprintf(&google->header, "Authorization: Bearer %s", token) < 0) {
      google->header = NULL;
      result = aon_fail_memory(error);
    }
    google->refresh_at_ms = aon_monotonic_ms(google->env) + life_ms - (life_ms / 2 < REFRESH_BEFORE_MS ? life_ms / 2 : REFRESH_BEFORE_MS);
  }
  json_decref(root);
  return result;
}

static aon_result ask_token(aon_google *google, int64_t deadline_ms, bool *ret_skewed, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer body = {0};
  *ret_skewed = false;
  aon_result result = make_assertion(google, &body, error);
  if (result)
    return result;
  aon_http_request ask = {.method = "POST",
                          .url = google->token_url,
                          .headers = {"Content-Type: application/x-www-form-urlencoded"},
                          .body = {body.data, body.length}};
  aon_http_run(google->http, &ask, 1, deadline_ms, NULL, NULL);
  sodium_memzero(body.data, body.length);
  if (ask.result) {
    result = aon_http_fail(google->http, &ask, "asking for a token", error);
  } else if (ask.status == 200) {
    result = keep_token(google, &ask, error);
  } else {
    int64_t differs = ask.server_ms ? ask.server_ms - aon_now_ms(google->env) - google->clock_offset_ms : 0;
    *ret_skewed = differs > SKEW_ASK_MS || differs < -SKEW_ASK_MS;
    google->clock_offset_ms += *ret_skewed ? differs : 0;
    result = aon_fail_native(
        error, AON_ENVIRONMENT, "no_credentials", ask.status,
        "The token server refused the key of the service account that %s uses (HTTP %d). Make a new key, or look at the clock.",
        google->label, ask.status);
  }
  if (ask.reply.data)
    sodium_memzero(ask.reply.data, ask.reply.length);
  aon_http_release(&ask, 1);
  return result;
}

static aon_result need_token(aon_google *google, int64_t deadline_ms, aon_error *error) {
  if (google->emulator[0] && !google->header) {
    google->header = strdup("Authorization: Bearer " EMULATOR_TOKEN);
    google->refresh_at_ms = INT64_MAX;
    return google->header ? AON_OK : aon_fail_memory(error);
  }
  if (google->header && aon_monotonic_ms(google->env) < google->refresh_at_ms)
    return AON_OK;
  bool skewed;
  aon_error failure = AON_ERROR_INIT;
  aon_result result = ask_token(google, deadline_ms, &skewed, &failure);
  if (result && skewed)
    result = ask_token(google, deadline_ms, &skewed, &failure);
  if (result && error)
    *error = failure;
  return result;
}

aon_result aon_google_run(aon_google *google, aon_http_request *requests, size_t count, int64_t deadline_ms, aon_http_go_on go_on,
                          void *context, aon_error *error) {
  aon_result result = need_token(google, deadline_ms, error);
  if (result)
    return result;
  for (size_t i = 0; i < count; i++)
    requests[i].authorization = google->header;
  aon_http_run(google->http, requests, count, deadline_ms, go_on, context);
  bool renewed = false;
  for (size_t i = 0; i < count && !google->emulator[0]; i++) {
    if (requests[i].result || requests[i].status != 401)
      continue;
    if (!renewed) { /* proven not done, so it may be sent again */
      forget_token(google);
      result = need_token(google, deadline_ms, NULL);
      renewed = true;
    }
    if (result)
      return AON_OK; /* they were sent, and refused: that is what is told */
    requests[i].authorization = google->header;
    aon_http_run(google->http, &requests[i], 1, deadline_ms, go_on, context);
  }
  return AON_OK;
}
