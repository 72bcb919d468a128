/* What the stores of Google's Firebase share; for rtdb*.c, firestore*.c and firebase*.c only.
 *
 *   firebase.c        opening (credentials or emulator), requests, how refusals are classified
 *   firebase_path.c   from a collection's path template and an id to the segments of a document's path, and back */
#ifndef AON_STORE_FIREBASE_INTERNAL_H
#define AON_STORE_FIREBASE_INTERNAL_H

#include <jansson.h>

#include "aon/store.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "wire/google.h"

#define FB_TIMEOUT_MS 5000   /* where the configuration names none */
#define FB_ID_SHOWN 200      /* bytes of an id in a sentence */
#define FB_SEGMENTS_LIMIT 32 /* of a path */

typedef struct fb_store {
  aon_env *env;
  char *name;
  aon_interrupt interrupt;
  aon_http *http;
  aon_google *google;
  int64_t timeout_ms, deadline_ms;
  int64_t server_ms; /* the service's clock when it last answered; 0: it did not say */
} fb_store;

/* How one of the kinds is opened; an fb_store is the first member of each kind's state. */
typedef struct fb_kind {
  const aon_google_settings *google;
  size_t size;
  /* Takes what it needs from the configuration, and names the database in the capabilities. */
  aon_result (*place)(void *state, const aon_store_config *config, aon_store_caps *caps, aon_error *error);
  aon_result (*probe)(void *state, aon_error *error); /* whether the service answers, and lets us read */
  void (*close)(void *state);                         /* one whose opening failed, too */
} fb_kind;

aon_result fb_open(aon_env *env, const aon_store_config *config, const fb_kind *kind, void **ret_state, aon_store_caps *caps,
                   aon_error *error) AON_MUST_USE;
void fb_close(fb_store *fb); /* one that was not opened, too */
void fb_cancel(void *state);
aon_pool_counts fb_pool(void *state);
void fb_enter(fb_store *fb); /* each call of the adapter begins with it */

/* All requests, each until the deadline of the call. A failure of its own: no token can be had, nothing was sent. */
aon_result fb_run(fb_store *fb, aon_http_request *requests, size_t count, aon_http_go_on go_on, void *context,
                  aon_error *error) AON_MUST_USE;
/* What a request that is not answered by success says. 412 and 409 are the caller's. */
aon_result fb_refused(const fb_store *fb, const aon_http_request *request, const char *doing, aon_error *error);
/* For aon doctor: how far the service's clock is from ours, after a request. */
aon_result fb_tell_clock(const fb_store *fb, aon_buffer *report, bool *healthy, aon_error *error) AON_MUST_USE;
/* For aon doctor: reading takes keys; every search lists the whole collection. */
aon_result fb_look_up(void *state, const aon_collection *collection, const aon_match *match, aon_index *ret_index, aon_error *error);
/* The JSON of a reply. flags: jansson's, beside what each store needs (text may hold NUL). */
aon_result fb_parse(const fb_store *fb, const aon_http_request *request, size_t flags, json_t **ret_root, aon_error *error) AON_MUST_USE;
/* The JSON that a GET finds, while searching; NULL on failure. */
aon_result fb_get(fb_store *fb, const char *url, size_t flags, json_t **ret_root, aon_error *error) AON_MUST_USE;
bool fb_went_well(void *context, const aon_http_request *request); /* aon_http_go_on: answered with 2xx */

/* The failure of writes as the contract of aon/store.h has it: unknown before refused for good before transient. */
typedef struct fb_worst {
  aon_result result;
  aon_error error;
  size_t failed; /* first write that was not applied */
} fb_worst;
#define FB_WORST_INIT(count)                                                                                                               \
  { .error = AON_ERROR_INIT, .failed = (count) }
void fb_note(fb_worst *worst, size_t index, aon_result result, const aon_error *error);

/* How sentences name a document. One without an id is refused. */
typedef struct fb_name {
  char text[FB_ID_SHOWN * 3];
} fb_name;
aon_result fb_name_document(const fb_store *fb, const aon_collection *collection, aon_text id, fb_name *ret_name,
                            aon_error *error) AON_MUST_USE;

/* ---- paths ---- */

typedef struct fb_path { /* of a collection */
  size_t count, placeholders;
  const char *segments[FB_SEGMENTS_LIMIT]; /* NULL: a placeholder */
} fb_path;

/* A template like "/user/{userID}"; none: NAME/{id}. Placeholders stand for whole segments. */
aon_result fb_path_parse(const aon_collection *collection, aon_arena *arena, fb_path *ret_path, aon_error *error) AON_MUST_USE;
/* A document's own segments. *ret_fits false: no document of that id can be there (not as many parts, an empty one). */
aon_result fb_path_fill(const fb_path *path, aon_text id, aon_arena *arena, aon_text segments[FB_SEGMENTS_LIMIT], bool *ret_fits,
                        aon_error *error) AON_MUST_USE;
/* The id of a document whose placeholders have these values. */
aon_result fb_path_id(const fb_path *path, const aon_text *values, aon_arena *arena, aon_text *ret_id, aon_error *error) AON_MUST_USE;

/* A search: what is looked for, and the values of the placeholders so far. */
typedef struct fb_walk {
  fb_path path;
  const aon_match *matches;
  size_t count;
  aon_scan_each each;
  void *context;
  aon_text values[FB_SEGMENTS_LIMIT];
} fb_walk;

/* Hands the document over whose placeholders all have values, if it is there and is looked for. */
aon_result fb_walk_found(const fb_walk *walk, const aon_image *image, aon_error *error) AON_MUST_USE;

/* Appends bytes as they may stand in a path or query of a URL. */
aon_result fb_escape(const char *text, size_t length, aon_buffer *out, aon_error *error) AON_MUST_USE;
#endif
