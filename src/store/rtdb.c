/* Firebase Realtime Database as a store of class 4: single writes, each under the ETag of what was read; no transactions, no markers.
 *
 * Why not stronger: the service's REST interface checks a condition for one path at a time (`if-match` with PUT and DELETE); its write of
 * many paths at once (PATCH) is atomic, but takes no condition. Design: docs/firebase.md. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/rtdb_internal.h"
#include "store/singly.h"

#define PROBE "aon_probe" /* a key that nobody has; reading it tells whether the server gives ETags */

static const aon_google_settings google_settings = {
    .emulator = "FIREBASE_DATABASE_EMULATOR_HOST",
    .scopes = "https://www.googleapis.com/auth/firebase.database https://www.googleapis.com/auth/userinfo.email"};

static void close_store(void *state) {
  rtdb_store *store = state;
  fb_close(&store->fb);
  free(store->base);
  free(store->query);
  free(store);
}

/* location: //HOST/?ns=NAME */
static aon_result place(void *state, const aon_store_config *config, aon_store_caps *caps, aon_error *error) {
  rtdb_store *store = state;
  const char *location = config->location;
  store->exclusive = config->exclusive;
  const char *host = !strncmp(location, "//", 2) ? location + 2 : "";
  size_t length = strcspn(host, "/?");
  const char *rest = length ? host + length + (host[length] == '/') : "";
  const char *name = !strncmp(rest, "?ns=", 4) ? rest + 4 : "";
  bool odd = (*rest && !*name) || strpbrk(name, "/?#&= ") || strcspn(host, "@# ") < length;
  if (!length || odd)
    return aon_fail(
        error, AON_USAGE, "bad_location",
        "%s names no database: write firebase-rtdb://HOST/ or firebase-rtdb://HOST/?ns=NAME, with the host of the database's own URL.",
        store->fb.name);
  const char *emulator = aon_google_emulator(store->fb.google);
  size_t label = *name ? strlen(name) : strcspn(host, ".:/?");
  const char *namespace = *name ? name : host;
  bool fine = asprintf(&store->base, "%s://%.*s/", emulator ? "http" : "https", emulator ? (int)strlen(emulator) : (int)length,
                       emulator ? emulator : host) >= 0;
  if (!fine)
    store->base = NULL;
  if (fine && (emulator || *name))
    fine = asprintf(&store->query, "ns=%.*s", (int)label, namespace) >= 0;
  else if (fine)
    fine = (store->query = strdup("")) != NULL;
  if (!fine)
    return aon_fail_memory(error);
  snprintf(caps->database, sizeof caps->database, "firebase-rtdb:%.120s%.*s", store->base + (emulator ? 7 : 8),
           (int)(label > 100 ? 100 : label), namespace);
  return AON_OK;
}

/* Reads one place where nothing stands. */
static aon_result ask_nothing(rtdb_store *store, aon_http_request *request, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  *request = (aon_http_request){.method = "GET", .headers = {"X-Firebase-ETag: true"}};
  aon_result result = rtdb_url(store, PROBE, "", &scratch, &request->url, error);
  fb_enter(&store->fb);
  if (!result)
    result = fb_run(&store->fb, request, 1, NULL, NULL, error);
  if (!result && !fb_went_well(NULL, request))
    result = fb_refused(&store->fb, request, "connecting", error);
  if (!result && !request->etag[0])
    result = aon_fail(error, AON_ENVIRONMENT, "not_supported",
                      "%s is no Realtime Database: it gives no ETag, so no write could have a condition.", store->fb.name);
  aon_http_release(request, 1);
  return result;
}

static aon_result probe(void *state, aon_error *error) {
  aon_http_request request;
  return ask_nothing(state, &request, error);
}

static aon_result open_store(aon_env *env, const aon_store_config *config, void **ret_state, aon_store_caps *ret_caps, aon_error *error) {
  static const fb_kind kind = {
      .google = &google_settings, .size = sizeof(rtdb_store), .place = place, .probe = probe, .close = close_store};
  aon_store_caps caps = {.store_class = AON_CLASS_CONDITIONAL,
                         .batch_operations = config->exclusive ? RTDB_BATCH_EXCLUSIVE : RTDB_BATCH_OPERATIONS,
                         .batch_bytes = RTDB_BATCH_BYTES,
                         .max_exact_integer = RTDB_MAX_INTEGER,
                         .any_thread = true,
                         .can_undo = true};
  aon_result result = fb_open(env, config, &kind, ret_state, &caps, error);
  if (!result)
    *ret_caps = caps;
  return result;
}

static aon_result describe(void *state, const aon_collection *collection, const aon_shape **ret_shape, aon_error *error) {
  static const aon_shape shape = {.exists = true, .document_table = true};
  (void)state;
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  fb_path path;
  *ret_shape = &shape;
  return fb_path_parse(collection, &scratch, &path, error);
}

/* ---- aon doctor ---- */

static aon_result examine(void *state, struct aon_buffer *report, bool *ret_healthy, aon_error *error) {
  rtdb_store *store = state;
  aon_http_request request;
  const char *emulator = aon_google_emulator(store->fb.google);
  aon_result result = ask_nothing(store, &request, error);
  if (result)
    return result;
  *ret_healthy = true;
  result = emulator ? aon_buffer_format(report, error, "Firebase Realtime Database, emulator at %s\n", emulator)
                    : aon_buffer_format(report, error, "Firebase Realtime Database, as %s\n", aon_google_account(store->fb.google));
  if (!result)
    result = aon_buffer_text(
        report,
        store->exclusive ? "class 4: documents are compared, then written together by one PATCH, because it is declared exclusive\n"
                         : "class 4: each write under the ETag of what was read; no transactions, so changes show before the decision\n",
        error);
  return result ? result : fb_tell_clock(&store->fb, report, ret_healthy, error);
}

const aon_store_adapter aon_rtdb_adapter = {
    .kind = "firebase-rtdb",
    .interface_version = AON_STORE_INTERFACE,
    .open = open_store,
    .close = close_store,
    .describe = describe,
    .normalise = rtdb_normalise,
    .read = rtdb_read,
    .scan = rtdb_scan,
    .apply = rtdb_apply,
    AON_SINGLY,
    .examine = examine,
    .cancel = fb_cancel,
    .pool = fb_pool,
    .look_up = fb_look_up,
};
