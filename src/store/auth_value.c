/* Accounts of Firebase Auth as documents: uid, email, displayName, phoneNumber, photoURL, emailVerified, disabled, customClaims, and a
 * password that is written only. Properties at their default are left out, but `disabled`, which always stands there.
 * Source: https://cloud.google.com/identity-platform/docs/reference/rest/v1/UserInfo. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/document.h"
#include "store/auth_internal.h"

static const char *const text_names[4] = {"email", "displayName", "phoneNumber", "photoURL"};
static const char *const service_names[4] = {"email", "displayName", "phoneNumber", "photoUrl"};

static aon_result bad(const fb_store *fb, aon_text id, aon_error *error, const char *code, const char *why) {
  return aon_fail(error, AON_REJECTED, code, "The account %s/%.*s %s.", fb->name, (int)(id.length > FB_ID_SHOWN ? FB_ID_SHOWN : id.length),
                  id.data, why);
}

/* ---- documents ---- */

static int text_place(const char *key) {
  for (int i = 0; i < 4; i++)
    if (!strcmp(text_names[i], key))
      return i;
  return -1;
}

static bool listed(const char *const *names, const char *name) {
  for (; names && *names; names++)
    if (!strcmp(*names, name))
      return true;
  return false;
}

static aon_result take_property(const fb_store *fb, const aon_collection *collection, aon_text id, const bson_iter_t *at, bson_t *out,
                                bool *disabled, aon_error *error) {
  const char *key = bson_iter_key(at), *text = BSON_ITER_HOLDS_UTF8(at) ? bson_iter_utf8(at, NULL) : NULL;
  int place = text_place(key);
  bool empty = BSON_ITER_HOLDS_NULL(at) || (text && !*text);
  if (!strcmp(key, "uid"))
    return text && strlen(text) == id.length && !memcmp(text, id.data, id.length)
               ? AON_OK
               : bad(fb, id, error, "inconsistent", "has another uid than its id");
  if (!strcmp(key, "hasPassword")) /* Auth knows by itself */
    return AON_OK;
  if (!strcmp(key, "disabled") || !strcmp(key, "emailVerified")) {
    if (!BSON_ITER_HOLDS_BOOL(at) && !empty)
      return bad(fb, id, error, "bad_type", "needs true or false for disabled and emailVerified");
    bool value = !empty && bson_iter_bool(at);
    *disabled = strcmp(key, "disabled") ? *disabled : value;
    return !strcmp(key, "disabled") || !value || bson_append_bool(out, key, -1, true) ? AON_OK : aon_fail_memory(error);
  }
  if (empty)
    return AON_OK;
  if (!strcmp(key, "customClaims"))
    return !BSON_ITER_HOLDS_DOCUMENT(at)        ? bad(fb, id, error, "bad_type", "needs an object for customClaims")
           : bson_append_iter(out, key, -1, at) ? AON_OK
                                                : aon_fail_memory(error);
  if (place < 0 && strcmp(key, "password"))
    return bad(fb, id, error, "unknown_property",
               "can hold uid, email, displayName, phoneNumber, photoURL, emailVerified, disabled, customClaims and password only");
  if (!text)
    return bad(fb, id, error, "bad_type", "needs texts for email, displayName, phoneNumber, photoURL and password");
  if (place < 0 && !listed(collection->sensitive, "password"))
    return bad(fb, id, error, "not_supported",
               "has a password, which needs a pack that calls it sensitive (--pack): else the journal would hold it in clear");
  char lower[320];
  if (place == 0) { /* Auth keeps addresses in lower case */
    snprintf(lower, sizeof lower, "%s", text);
    for (char *c = lower; *c; c++)
      *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
  }
  return bson_append_utf8(out, key, -1, place == 0 ? lower : text, -1) ? AON_OK : aon_fail_memory(error);
}

aon_result auth_normalise(void *state, const aon_collection *collection, aon_text id, const bson_t *document, aon_arena *arena,
                          aon_image *ret_image, aon_error *error) {
  const fb_store *fb = state;
  bson_iter_t at;
  bson_t kept = BSON_INITIALIZER;
  bool disabled = false;
  aon_result result = AON_OK;
  if (!id.length || id.length > AUTH_UID_BYTES)
    result = aon_fail(error, AON_REJECTED, "bad_format", "An account of %s needs an id of 1 to %d bytes.", fb->name, AUTH_UID_BYTES);
  else if (!bson_append_utf8(&kept, "uid", 3, id.data, (int)id.length))
    result = aon_fail_memory(error);
  if (!result && !bson_iter_init(&at, document))
    result = bad(fb, id, error, "bad_document", "is damaged");
  while (!result && bson_iter_next(&at))
    result = take_property(fb, collection, id, &at, &kept, &disabled, error);
  if (!result && !bson_append_bool(&kept, "disabled", -1, disabled))
    result = aon_fail_memory(error);
  auth_account account;
  if (!result)
    result = aon_image_from(&kept, arena, ret_image, error);
  bson_destroy(&kept);
  if (!result)
    result = auth_account_of(fb, ret_image, arena, &account, error);
  if (!result && account.claims && account.password)
    result = bad(fb, id, error, "inconsistent",
                 "has both a password and customClaims, which Firebase Auth takes in two steps: give them one after the other");
  if (!result && account.claims && strlen(account.claims) > AUTH_CLAIMS_BYTES - sizeof AUTH_MARK - 8)
    result = bad(fb, id, error, "too_long", "has customClaims of more than 1,000 bytes");
  return result;
}

aon_result auth_account_of(const fb_store *fb, const aon_image *image, aon_arena *arena, auth_account *ret_account, aon_error *error) {
  bson_t view, claims;
  bson_iter_t at;
  *ret_account = (auth_account){.disabled = false};
  if (!aon_image_view(image, &view) || !bson_iter_init(&at, &view))
    return aon_fail(error, AON_CORRUPT, "bad_document", "An image of an account in %s is damaged.", fb->name);
  while (bson_iter_next(&at)) {
    const char *key = bson_iter_key(&at), *text = BSON_ITER_HOLDS_UTF8(&at) ? bson_iter_utf8(&at, NULL) : NULL;
    int place = text_place(key);
    if (place >= 0)
      ret_account->texts[place] = text;
    else if (!strcmp(key, "password"))
      ret_account->password = text;
    else if (!strcmp(key, "disabled"))
      ret_account->disabled = BSON_ITER_HOLDS_BOOL(&at) && bson_iter_bool(&at);
    else if (!strcmp(key, "emailVerified"))
      ret_account->email_verified = BSON_ITER_HOLDS_BOOL(&at) && bson_iter_bool(&at);
    if (strcmp(key, "customClaims") || !BSON_ITER_HOLDS_DOCUMENT(&at))
      continue;
    uint32_t length;
    const uint8_t *bytes;
    AON_BUFFER_CLEANUP aon_buffer json = {0};
    bson_iter_document(&at, &length, &bytes);
    aon_result result = bson_init_static(&claims, bytes, length) ? aon_document_to_json(&claims, &json, error) : AON_CORRUPT;
    if (result)
      return result;
    ret_account->claims = aon_arena_text(arena, json.data, json.length);
    if (!ret_account->claims)
      return aon_fail_memory(error);
  }
  return AON_OK;
}

/* ---- from the service ---- */

static bool take_claims(json_t *user, bson_t *out, bool *ret_aside) {
  const char *text = json_string_value(json_object_get(user, "customAttributes"));
  json_error_t ignored;
  json_t *claims = text ? json_loads(text, 0, &ignored) : NULL;
  bson_t below;
  bool fine = true;
  *ret_aside = json_is_true(json_object_get(claims, AUTH_MARK));
  if (json_is_object(claims) && json_object_size(claims) && !*ret_aside) {
    fine = !aon_document_from_json(text, strlen(text), &below, NULL);
    if (fine) {
      fine = bson_append_document(out, "customClaims", -1, &below);
      bson_destroy(&below);
    }
  }
  json_decref(claims);
  return fine;
}

aon_result auth_image(const fb_store *fb, json_t *user, aon_arena *arena, aon_image *ret_image, bool *ret_aside, aon_error *error) {
  bson_t made = BSON_INITIALIZER;
  const char *uid = json_string_value(json_object_get(user, "localId"));
  *ret_image = (aon_image){0};
  *ret_aside = false;
  bool fine = uid && bson_append_utf8(&made, "uid", 3, uid, -1);
  for (int i = 0; fine && i < 4; i++) {
    const char *text = json_string_value(json_object_get(user, service_names[i]));
    fine = !text || !*text || bson_append_utf8(&made, text_names[i], -1, text, -1);
  }
  if (fine && json_is_true(json_object_get(user, "emailVerified")))
    fine = bson_append_bool(&made, "emailVerified", -1, true);
  fine = fine && bson_append_bool(&made, "disabled", -1, json_is_true(json_object_get(user, "disabled"))) &&
         take_claims(user, &made, ret_aside);
  aon_result result = !fine        ? aon_fail(error, AON_CORRUPT, "corrupt", "%s gave an account that can't be read.", fb->name)
                      : *ret_aside ? AON_OK
                                   : aon_image_from(&made, arena, ret_image, error);
  bson_destroy(&made);
  return result;
}

/* ---- to the service ---- */

static json_t *basic(const char *uid, const auth_account *account) {
  json_t *body = json_object();
  bool fine = body && !json_object_set_new(body, "localId", json_string(uid));
  for (int i = 0; fine && i < 4; i++)
    fine = !account->texts[i] || !json_object_set_new(body, service_names[i], json_string(account->texts[i]));
  fine = fine && !json_object_set_new(body, "emailVerified", json_boolean(account->email_verified));
  if (fine)
    return body;
  json_decref(body);
  return NULL;
}

json_t *auth_to_create(const char *uid, const auth_account *account) {
  json_t *body = basic(uid, account);
  bool fine = body && !json_object_set_new(body, "disabled", json_boolean(account->disabled)) &&
              (!account->password || !json_object_set_new(body, "password", json_string(account->password)));
  if (fine)
    return body;
  json_decref(body);
  return NULL;
}

json_t *auth_to_import(const char *uid, const auth_account *account) {
  json_t *body = basic(uid, account);
  bool fine = body && !json_object_set_new(body, "disabled", json_boolean(account->disabled)) &&
              (!account->claims || !json_object_set_new(body, "customAttributes", json_string(account->claims)));
  if (fine)
    return body;
  json_decref(body);
  return NULL;
}

json_t *auth_to_update(const char *uid, const auth_account *account) {
  static const char *const attributes[4] = {"EMAIL", "DISPLAY_NAME", NULL, "PHOTO_URL"};
  json_t *body = basic(uid, account), *gone = json_array();
  bool fine = body && gone && !json_object_set_new(body, "disableUser", json_boolean(account->disabled)) &&
              !json_object_set_new(body, "customAttributes", json_string(account->claims ? account->claims : "{}")) &&
              (!account->password || !json_object_set_new(body, "password", json_string(account->password)));
  for (int i = 0; fine && i < 4; i++)
    if (attributes[i] && !account->texts[i])
      fine = !json_array_append_new(gone, json_string(attributes[i]));
  if (fine && json_array_size(gone))
    fine = !json_object_set(body, "deleteAttribute", gone);
  if (fine && !account->texts[2])
    fine = !json_object_set_new(body, "deleteProvider", json_pack("[s]", "phone"));
  json_decref(gone);
  if (fine)
    return body;
  json_decref(body);
  return NULL;
}

json_t *auth_to_set_aside(const char *uid, const auth_account *account) {
  json_error_t ignored;
  json_t *claims = account->claims ? json_loads(account->claims, 0, &ignored) : json_object(), *body = NULL;
  char *text = NULL;
  if (claims && !json_object_set_new(claims, AUTH_MARK, json_true()))
    text = json_dumps(claims, JSON_COMPACT);
  if (text)
    body = json_pack("{s:s,s:b,s:s}", "localId", uid, "disableUser", 1, "customAttributes", text);
  free(text);
  json_decref(claims);
  return body;
}
