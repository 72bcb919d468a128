/* The Firebase Auth adapter's inside, shared by auth*.c only.
 *
 *   auth.c        the adapter: opening, reading, searching, writing, what aon doctor tells
 *   auth_value.c  accounts as documents and back
 *
 * Invariants: an account that is set aside (disabled, with our mark in its custom attributes) reads as absent; a password is sent, never
 * read, and stands in no sentence. */
#ifndef AON_STORE_AUTH_INTERNAL_H
#define AON_STORE_AUTH_INTERNAL_H

#include <jansson.h>

#include "store/firebase_internal.h"

#define AUTH_BATCH_OPERATIONS 100 /* single writes of one call: five rounds of 20 connections within half of its time */
#define AUTH_BATCH_BYTES (1u << 20)
#define AUTH_CREATE_AT_ONCE 100 /* accounts of one batchCreate, which takes 1,000 */
#define AUTH_READ_AT_ONCE 100   /* accounts of one lookup, as Google's SDKs have it */
#define AUTH_PAGE 500
#define AUTH_UID_BYTES 128
#define AUTH_ASIDE_SHOWN 20   /* accounts that aon doctor names */
#define AUTH_LOOKED_AT 100000 /* accounts after which it looks no further, and says so */
#define AUTH_CLAIMS_BYTES 1000
#define AUTH_MARK "aon_set_aside" /* in the custom attributes of an account that goes when all is decided */

#define AUTH_TEXTS 4 /* email, displayName, phoneNumber, photoURL */

/* What a store document of an account may hold. */
typedef struct auth_account {
  aon_text texts[AUTH_TEXTS], password, stamp; /* without data: none */
  bool email_verified, disabled;
  const char *claims; /* custom attributes as JSON, the stamp among them; NULL: none */
} auth_account;

aon_result auth_normalise(void *state, const aon_collection *collection, aon_text id, const bson_t *document, aon_arena *arena,
                          aon_image *ret_image, aon_error *error) AON_MUST_USE;
/* An account as the service gives it, as an image; absent where it is set aside (*ret_aside) or is no object. */
aon_result auth_image(const fb_store *fb, json_t *user, aon_arena *arena, aon_image *ret_image, bool *ret_aside,
                      aon_error *error) AON_MUST_USE;
/* stamp: in the place of the image's; NULL: the image's, if it has one. */
aon_result auth_account_of(const fb_store *fb, const aon_image *image, const char *stamp, aon_arena *arena, auth_account *ret_account,
                           aon_error *error) AON_MUST_USE;
aon_text auth_stamp(const aon_image *image);  /* without data: none */
bool auth_has(const json_t *user, int place); /* this text of an account as the service gives it */
/* Bodies of requests; each returns a new object, NULL: no memory. */
json_t *auth_to_create(const char *uid, const auth_account *account);
json_t *auth_to_import(const char *uid, const auth_account *account); /* of batchCreate: without a password */
json_t *auth_to_begin(const char *uid, const auth_account *account);  /* the same with AON_STAMP_BEGUN behind its stamp */
json_t *auth_to_update(const char *uid, const auth_account *account, const bool had[AUTH_TEXTS]); /* what it had and lacks is removed */
json_t *auth_to_set_aside(const char *uid, const auth_account *account);
#endif
