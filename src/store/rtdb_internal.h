/* The Realtime Database adapter's inside, shared by rtdb*.c only.
 *
 *   rtdb.c         the adapter: opening, what it has no means for, what aon doctor tells
 *   rtdb_value.c   documents as the database gives them back; keys and limits
 *   rtdb_read.c    read and scan
 *   rtdb_write.c   apply
 *
 * Invariants: an image that was read carries the ETag of its document as token; a document is all that stands below its path. */
#ifndef AON_STORE_RTDB_INTERNAL_H
#define AON_STORE_RTDB_INTERNAL_H

#include "store/firebase_internal.h"

#define RTDB_BATCH_OPERATIONS 200   /* conditional writes of one call: ten rounds of 20 connections within half of its time */
#define RTDB_BATCH_EXCLUSIVE 500    /* paths of one PATCH */
#define RTDB_BATCH_BYTES (8u << 20) /* the service takes 16 MiB in one write */
#define RTDB_MAX_INTEGER (INT64_C(1) << 53)
#define RTDB_KEY_BYTES 768
#define RTDB_DEPTH 32
#define RTDB_STRING_BYTES (10u << 20)
#define RTDB_READ_AT_ONCE 256 /* documents whose replies are in memory together */
#define RTDB_PAGE 500         /* documents of one page of a scan */
#define RTDB_NULL_ETAG "null_etag"

typedef struct rtdb_store {
  fb_store fb; /* the first member: an fb_store of a Firebase adapter is its state */
  char *base;  /* "https://HOST/" */
  char *query; /* "ns=NAME", "" where the host says it all */
  bool exclusive;
} rtdb_store;

/* The path of a document, "user/u1", unescaped. *ret_path NULL: nothing of that id can be there. */
aon_result rtdb_document_path(const aon_collection *collection, aon_text id, aon_arena *arena, const char **ret_path,
                              aon_error *error) AON_MUST_USE;
/* Its URL; options are further parts of the query ("print=silent"), "" none. */
aon_result rtdb_url(const rtdb_store *store, const char *path, const char *options, aon_arena *arena, const char **ret_url,
                    aon_error *error) AON_MUST_USE;
bool rtdb_key_fits(const char *key, size_t length);

aon_result rtdb_normalise(void *state, const aon_collection *collection, aon_text id, const bson_t *document, aon_arena *arena,
                          aon_image *ret_image, aon_error *error) AON_MUST_USE;
/* A reply's JSON as an image (null: absent), in the form that rtdb_normalise gives. */
aon_result rtdb_image(const rtdb_store *store, const char *json, size_t length, const char *etag, aon_arena *arena, aon_image *ret_image,
                      aon_error *error) AON_MUST_USE;

aon_result rtdb_read(void *state, const aon_collection *collection, const aon_text *ids, size_t count, aon_arena *arena, aon_image *images,
                     aon_error *error) AON_MUST_USE;
aon_result rtdb_scan(void *state, const aon_collection *collection, const aon_match *matches, size_t count, const char *const *properties,
                     aon_scan_each each, void *context, aon_error *error) AON_MUST_USE;
aon_result rtdb_apply(void *state, aon_transaction *transaction, const aon_write *writes, size_t count, aon_write_state *states,
                      size_t *ret_failed, aon_error *error) AON_MUST_USE;
#endif
