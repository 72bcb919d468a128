/* Accounts of Firebase Auth as documents: uid, email, displayName, phoneNumber, photoURL, emailVerified, disabled, customClaims, the stamp
 * (_bulkOperationId, which the service keeps among the custom attributes), and a password that is written only. Properties at their default
 * are left out, but `disabled`, which always stands there. An address that is not there is not verified: Auth forgets that with it.
 * Source: https://cloud.google.com/identity-platform/docs/reference/rest/v1/UserInfo. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/document.h"
#include "store/auth_internal.h"

static const char *const text_names[AUTH_TEXTS] = {"email", "displayName", "phoneNumber", "photoURL"};
static const char *const service_names[AUTH_TEXTS] = {"email", "displayName", "phoneNumber", "photoUrl"};

static aon_result bad(const fb_store *fb, aon_text id, aon_error *error, const char *code, const char *why) {
  return aon_fail(error, AON_REJECTED, code, "The account %s/%.*s %s.", fb->name, (int)(id.length > FB_ID_SHOWN ? FB_ID_SHOWN : id.length),
                  id.data, why);
}

/* ---- documents ---- */

static int text_place(const char *key) {
  for (int i = 0; i < AUTH_TEXTS; i++)
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

static aon_text text_at(const bson_iter_t *at) {
  uint32_t length = 0;
  const char *text = BSON_ITER_HOLDS_UTF8(at) ? bson_iter_utf8(at, &length) : NULL;
  return (aon_text){text, length};
}

typedef struct kept {
  bson_t document;
  bool disabled, verified, email;
} kept;

/* Auth keeps addresses in lower case. */
static aon_result take_text(const char *key, aon_text text, kept *out, aon_error *error) {
  bool address = !strcmp(key, "email");
  char *copy = malloc(text.length + 1);
  if (!copy)
    return aon_fail_memory(error);
  for (size_t i = 0; i < text.length; i++)
    copy[i] = address && text.data[i] >= 'A' && text.data[i] <= 'Z' ? (char)(text.data[i] + 32) : text.data[i];
  bson_append_utf8(&out->document, key, -1, copy, (int)text.length);
  out->email = out->email || address;
  free(copy);
  return AON_OK;
}

static aon_result take_given_claims(const fb_store *fb, aon_text id, const bson_iter_t *at, kept *out, aon_error *error) {
  bson_iter_t inside;
  if (!BSON_ITER_HOLDS_DOCUMENT(at))
    return bad(fb, id, error, "bad_type", "needs an object for customClaims");
  for (int i = 0; i < 2; i++)
    if (bson_iter_recurse(at, &inside) && bson_iter_find(&inside, i ? AUTH_MARK : AON_STAMP_NAME))
      return bad(fb, id, error, "reserved",
                 "has " AON_STAMP_NAME " or " AUTH_MARK " among its customClaims, which Allornone writes itself");
  bson_append_iter(&out->document, "customClaims", -1, at);
  return AON_OK;
}

static aon_result take_property(const fb_store *fb, const aon_collection *collection, aon_text id, const bson_iter_t *at, kept *out,
                                aon_error *error) {
  const char *key = bson_iter_key(at);
  aon_text text = text_at(at);
  int place = text_place(key);
  bool empty = BSON_ITER_HOLDS_NULL(at) || (text.data && !text.length);
  if (!strcmp(key, "uid"))
    return text.data && text.length == id.length && !memcmp(text.data, id.data, id.length)
               ? AON_OK
               : bad(fb, id, error, "inconsistent", "has another uid than its id");
  if (!strcmp(key, "hasPassword")) /* Auth knows by itself */
    return AON_OK;
  if (!strcmp(key, "disabled") || !strcmp(key, "emailVerified")) {
    if (!BSON_ITER_HOLDS_BOOL(at) && !empty)
      return bad(fb, id, error, "bad_type", "needs true or false for disabled and emailVerified");
    *(strcmp(key, "disabled") ? &out->verified : &out->disabled) = !empty && bson_iter_bool(at);
    return AON_OK;
  }
  if (empty)
    return AON_OK;
  if (!strcmp(key, "customClaims"))
    return take_given_claims(fb, id, at, out, error);
  if (!strcmp(key, AON_STAMP_NAME) && text.data) {
    bson_append_iter(&out->document, key, -1, at);
    return AON_OK;
  }
  if (place < 0 && strcmp(key, "password"))
    return bad(fb, id, error, "unknown_property",
               "can hold uid, email, displayName, phoneNumber, photoURL, emailVerified, disabled, customClaims and password only");
  if (!text.data)
    return bad(fb, id, error, "bad_type", "needs texts for email, displayName, phoneNumber, photoURL and password");
  if (place < 0 && !listed(collection->sensitive, "password"))
    return bad(fb, id, error, "not_supported",
               "has a password, which needs a pack that calls it sensitive (--pack): else the journal would hold it in clear");
  return take_text(key, text, out, error);
}

aon_result auth_normalise(void *state, const aon_collection *collection, aon_text id, const bson_t *document, aon_arena *arena,
                          aon_image *ret_image, aon_error *error) {
  const fb_store *fb = state;
  bson_iter_t at;
  kept out = {.document = BSON_INITIALIZER};
  aon_result result = AON_OK;
  if (!id.length || id.length > AUTH_UID_BYTES)
    result = aon_fail(error, AON_REJECTED, "bad_format", "An account of %s needs an id of 1 to %d bytes.", fb->name, AUTH_UID_BYTES);
  else if (memchr(id.data, 0, id.length))
    result = aon_fail(error, AON_REJECTED, "forbidden_character", "The id of an account of %s holds a NUL byte.", fb->name);
  if (result)
    return result;
  bson_append_utf8(&out.document, "uid", -1, id.data, (int)id.length);
  if (!bson_iter_init(&at, document))
    result = bad(fb, id, error, "bad_document", "is damaged");
  while (!result && bson_iter_next(&at))
    result = take_property(fb, collection, id, &at, &out, error);
  if (out.verified && out.email)
    BSON_APPEND_BOOL(&out.document, "emailVerified", true);
  BSON_APPEND_BOOL(&out.document, "disabled", out.disabled);
  auth_account account;
  if (!result)
    result = aon_image_from(&out.document, arena, ret_image, error);
  bson_destroy(&out.document);
  if (!result)
    result = auth_account_of(fb, ret_image, NULL, arena, &account, error);
  if (!result && account.claims && account.password.data && !account.stamp.data)
    result = bad(fb, id, error, "inconsistent",
                 "has both a password and customClaims, which Firebase Auth takes in two steps: give them one after the other");
  if (!result && account.claims && strlen(account.claims) > AUTH_CLAIMS_BYTES - sizeof AUTH_MARK - 8)
    result =
        bad(fb, id, error, "too_long",
            account.stamp.data ? "has customClaims of more than 900 bytes: Firebase Auth takes 1,000, and _bulkOperationId and what else "
                                 "Allornone notes needs the others (stamp: false leaves the first out)"
                               : "has customClaims of more than 1,000 bytes");
  return result;
}

/* What stands in the custom attributes: the claims, and the stamp. */
static aon_result attributes_of(const bson_t *claims, aon_text stamp, aon_arena *arena, const char **ret_text, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer json = {0};
  bson_t all;
  bson_copy_to(claims, &all);
  if (stamp.data)
    bson_append_utf8(&all, AON_STAMP_NAME, -1, stamp.data, (int)stamp.length);
  aon_result result = aon_document_to_json(&all, &json, error);
  bson_destroy(&all);
  if (result)
    return result;
  *ret_text = aon_arena_text(arena, json.data, json.length);
  return *ret_text ? AON_OK : aon_fail_memory(error);
}

aon_result auth_account_of(const fb_store *fb, const aon_image *image, const char *stamp, aon_arena *arena, auth_account *ret_account,
                           aon_error *error) {
  bson_t view, claims = BSON_INITIALIZER;
  bson_iter_t at;
  aon_text stamped = {stamp, stamp ? strlen(stamp) : 0};
  *ret_account = (auth_account){.disabled = false};
  if (!aon_image_view(image, &view) || !bson_iter_init(&at, &view))
    return aon_fail(error, AON_CORRUPT, "bad_document", "An image of an account in %s is damaged.", fb->name);
  while (bson_iter_next(&at)) {
    const char *key = bson_iter_key(&at);
    aon_text text = text_at(&at);
    int place = text_place(key);
    if (place >= 0)
      ret_account->texts[place] = text;
    else if (!strcmp(key, "password"))
      ret_account->password = text;
    else if (!strcmp(key, "disabled"))
      ret_account->disabled = BSON_ITER_HOLDS_BOOL(&at) && bson_iter_bool(&at);
    else if (!strcmp(key, "emailVerified"))
      ret_account->email_verified = BSON_ITER_HOLDS_BOOL(&at) && bson_iter_bool(&at);
    else if (!strcmp(key, AON_STAMP_NAME) && !stamp)
      stamped = text;
    if (strcmp(key, "customClaims") || !BSON_ITER_HOLDS_DOCUMENT(&at))
      continue;
    uint32_t length;
    const uint8_t *bytes;
    bson_iter_document(&at, &length, &bytes);
    if (!bson_init_static(&claims, bytes, length))
      return aon_fail(error, AON_CORRUPT, "bad_document", "The claims of an account in %s are damaged.", fb->name);
  }
  ret_account->stamp = stamped;
  return bson_empty(&claims) && !stamped.data ? AON_OK : attributes_of(&claims, stamped, arena, &ret_account->claims, error);
}

aon_text auth_stamp(const aon_image *image) {
  bson_t view;
  bson_iter_t at;
  bool there = image->bson && aon_image_view(image, &view) && bson_iter_init_find(&at, &view, AON_STAMP_NAME);
  return there ? text_at(&at) : (aon_text){0};
}

/* ---- from the service ---- */

static aon_result unreadable(const fb_store *fb, aon_error *error) {
  return aon_fail(error, AON_CORRUPT, "corrupt", "%s gave an account that can't be read.", fb->name);
}

/* Claims that can't be read would be lost with the next update, so such an account is refused. */
static aon_result take_claims(const fb_store *fb, json_t *user, bson_t *out, bool *ret_aside, aon_error *error) {
  json_t *given = json_object_get(user, "customAttributes");
  size_t length = json_string_length(given);
  bson_iter_t at;
  bson_t claims;
  *ret_aside = false;
  if (!length)
    return AON_OK;
  aon_result result = aon_document_from_json(json_string_value(given), length, &claims, error);
  if (result)
    return result == AON_NO_MEMORY ? result : unreadable(fb, error);
  *ret_aside = bson_iter_init_find(&at, &claims, AUTH_MARK) && BSON_ITER_HOLDS_BOOL(&at) && bson_iter_bool(&at);
  bool stamped = bson_iter_init_find(&at, &claims, AON_STAMP_NAME) && BSON_ITER_HOLDS_UTF8(&at);
  if (stamped) {
    bson_t others = BSON_INITIALIZER;
    bson_append_iter(out, AON_STAMP_NAME, -1, &at);
    bson_copy_to_excluding_noinit(&claims, &others, AON_STAMP_NAME, (char *)NULL);
    bson_destroy(&claims);
    bson_steal(&claims, &others);
  }
  if (!bson_empty(&claims))
    BSON_APPEND_DOCUMENT(out, "customClaims", &claims);
  bson_destroy(&claims);
  return AON_OK;
}

static void append_text(bson_t *to, const char *name, const json_t *text) {
  bson_append_utf8(to, name, -1, json_string_value(text), (int)json_string_length(text));
}

aon_result auth_image(const fb_store *fb, json_t *user, aon_arena *arena, aon_image *ret_image, bool *ret_aside, aon_error *error) {
  json_t *uid = json_object_get(user, "localId");
  *ret_image = (aon_image){0};
  *ret_aside = false;
  if (!json_string_length(uid))
    return unreadable(fb, error);
  bson_t made = BSON_INITIALIZER;
  append_text(&made, "uid", uid);
  for (int i = 0; i < AUTH_TEXTS; i++)
    if (auth_has(user, i))
      append_text(&made, text_names[i], json_object_get(user, service_names[i]));
  if (json_is_true(json_object_get(user, "emailVerified")))
    BSON_APPEND_BOOL(&made, "emailVerified", true);
  BSON_APPEND_BOOL(&made, "disabled", json_is_true(json_object_get(user, "disabled")));
  aon_result result = take_claims(fb, user, &made, ret_aside, error);
  if (!result && !*ret_aside)
    result = aon_image_from(&made, arena, ret_image, error);
  bson_destroy(&made);
  return result;
}

bool auth_has(const json_t *user, int place) { return json_string_length(json_object_get(user, service_names[place])) > 0; }

/* ---- to the service ---- */

static json_t *json_of(aon_text text) { return json_stringn(text.data, text.length); }

/* *body NULL: there was no memory for it, or for a value. Takes the value. */
static void put(json_t **body, const char *name, json_t *value) {
  if (!*body) {
    json_decref(value);
  } else if (json_object_set_new(*body, name, value)) {
    json_decref(*body);
    *body = NULL;
  }
}

/* disabled: the word that the request has for it. */
static json_t *basic(const char *uid, const auth_account *account, const char *disabled) {
  json_t *body = json_object();
  put(&body, "localId", json_string(uid));
  for (int i = 0; i < AUTH_TEXTS; i++)
    if (account->texts[i].data)
      put(&body, service_names[i], json_of(account->texts[i]));
  put(&body, "emailVerified", json_boolean(account->email_verified));
  put(&body, disabled, json_boolean(account->disabled));
  return body;
}

json_t *auth_to_create(const char *uid, const auth_account *account) {
  json_t *body = basic(uid, account, "disabled");
  put(&body, "password", json_of(account->password));
  return body;
}

/* The custom attributes with one more, as the text that they are sent as. Takes the value. */
static json_t *with_attribute(const auth_account *account, const char *name, json_t *value) {
  json_error_t ignored;
  json_t *all = account->claims ? json_loads(account->claims, JSON_ALLOW_NUL, &ignored) : json_object();
  put(&all, name, value);
  char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;
  json_t *sent = text ? json_string(text) : NULL;
  free(text);
  json_decref(all);
  return sent;
}

json_t *auth_to_import(const char *uid, const auth_account *account) {
  json_t *body = basic(uid, account, "disabled");
  if (account->claims)
    put(&body, "customAttributes", json_string(account->claims));
  return body;
}

json_t *auth_to_begin(const char *uid, const auth_account *account) {
  json_t *body = auth_to_import(uid, account),
         *begun = json_sprintf("%.*s" AON_STAMP_BEGUN, (int)account->stamp.length, account->stamp.data);
  put(&body, "customAttributes", with_attribute(account, AON_STAMP_NAME, begun));
  return body;
}

json_t *auth_to_update(const char *uid, const auth_account *account, const bool had[AUTH_TEXTS]) {
  static const char *const attributes[AUTH_TEXTS] = {"EMAIL", "DISPLAY_NAME", NULL, "PHOTO_URL"};
  json_t *body = basic(uid, account, "disableUser"), *gone = json_array();
  put(&body, "customAttributes", json_string(account->claims ? account->claims : "{}"));
  if (account->password.data)
    put(&body, "password", json_of(account->password));
  for (int i = 0; i < AUTH_TEXTS; i++)
    if (attributes[i] && had[i] && !account->texts[i].data && json_array_append_new(gone, json_string(attributes[i])))
      put(&body, "deleteAttribute", NULL); /* one that is missing would stay */
  if (json_array_size(gone))
    put(&body, "deleteAttribute", json_incref(gone));
  json_decref(gone);
  if (had[2] && !account->texts[2].data)
    put(&body, "deleteProvider", json_pack("[s]", "phone"));
  return body;
}

json_t *auth_to_set_aside(const char *uid, const auth_account *account) {
  json_t *body = json_pack("{s:s,s:b}", "localId", uid, "disableUser", 1);
  put(&body, "customAttributes", with_attribute(account, AUTH_MARK, json_true()));
  return body;
}
