/* The Firestore adapter's inside, shared by firestore*.c only.
 *
 *   firestore.c        the adapter: opening, batches, markers, resolving, what aon doctor tells
 *   firestore_value.c  documents to Firestore's JSON and back, normalising
 *   firestore_read.c   read and scan
 *
 * Invariants: an image that was read carries the document's updateTime as token; it never comes again. A value comes back exactly as it
 * was, types and all. */
#ifndef AON_STORE_FIRESTORE_INTERNAL_H
#define AON_STORE_FIRESTORE_INTERNAL_H

#include <jansson.h>

#include "store/firebase_internal.h"

#define FS_BATCH_OPERATIONS 499             /* and the marker */
#define FS_BATCH_BYTES (2u << 20)           /* of images: as JSON some four times as much, where a request takes 10 MiB */
#define FS_DOCUMENT_BYTES ((size_t)1 << 20) /* less 4 bytes, by Firestore's own way of counting */
#define FS_NAME_BYTES 1500                  /* of an id, or a field's name */
#define FS_DEPTH 20
#define FS_READ_AT_ONCE 250 /* documents of one batchGet */
#define FS_PAGE 300         /* documents of one page of a list */
#define FS_MARKERS "aon_markers"
#define FS_TIME_BYTES 48 /* of an updateTime */

typedef struct fs_pending { /* a write that waits for the commit */
  const aon_collection *collection;
  const char *name; /* of the document: projects/…/documents/… */
  aon_text id;
  aon_image wanted;
  const char *version; /* updateTime that it must have; NULL: it must not be there */
  int64_t operation;
} fs_pending;

struct aon_transaction {
  struct fs_store *store;
  bool open, failed;
  char bulk_id[40];
  uint32_t attempt, batch;
  aon_marker marker;
  char marker_version[FS_TIME_BYTES]; /* of the commit marker that turns into undone */
  aon_arena arena;
  fs_pending pending[FS_BATCH_OPERATIONS];
  size_t count, bytes;
};

typedef struct fs_store {
  fb_store fb; /* the first member, as in rtdb_store */
  char *base;  /* "https://firestore.googleapis.com/v1/" */
  char *root;  /* "projects/P/databases/D/documents" */
  struct aon_transaction transaction;
} fs_store;

/* Name of a document; *ret_name NULL: nothing of that id can be there. */
aon_result fs_document_name(const fs_store *store, const aon_collection *collection, aon_text id, aon_arena *arena, const char **ret_name,
                            aon_error *error) AON_MUST_USE;
aon_result fs_normalise(void *state, const aon_collection *collection, aon_text id, const bson_t *document, aon_arena *arena,
                        aon_image *ret_image, aon_error *error) AON_MUST_USE;
/* Appends {"name": …, "fields": {…}}. stamp as in aon_write. */
aon_result fs_put_document(const fs_store *store, const char *name, const aon_image *image, const char *stamp, aon_buffer *out,
                           aon_error *error) AON_MUST_USE;
/* A Document of Firestore's as an image. */
aon_result fs_image(const fs_store *store, json_t *document, aon_arena *arena, aon_image *ret_image, aon_error *error) AON_MUST_USE;

#define FS_JSON JSON_DECODE_INT_AS_REAL /* its integers are texts */

/* POST to the database's own address (":commit"), answered by JSON. *ret_status says how; *ret_root is to be given back where it is set,
 * and holds whatever JSON came. changes: see aon_http_request. A failure: no answer that can be used. */
aon_result fs_post(fs_store *store, const char *method, const aon_buffer *body, bool changes, const char *doing, int *ret_status,
                   json_t **ret_root, aon_error *error) AON_MUST_USE;
const char *fs_status(json_t *root); /* "ALREADY_EXISTS"; "" if it is no error */
aon_result fs_bad_status(const fs_store *store, int status, bool changes, const char *doing, aon_error *error);

/* Documents by name, as images; absent where there is none. */
aon_result fs_get(fs_store *store, const char *const *names, size_t count, aon_arena *arena, aon_image *images,
                  aon_error *error) AON_MUST_USE;
aon_result fs_read(void *state, const aon_collection *collection, const aon_text *ids, size_t count, aon_arena *arena, aon_image *images,
                   aon_error *error) AON_MUST_USE;
aon_result fs_scan(void *state, const aon_collection *collection, const aon_match *matches, size_t count, const char *const *properties,
                   aon_scan_each each, void *context, aon_error *error) AON_MUST_USE;
#endif
