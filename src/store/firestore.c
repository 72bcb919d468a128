/* Firestore as a store of class 3: batches of writes that take effect together, each under its condition, with a marker among them.
 *
 *     idle --begin--> open --apply, commit refused--> failed
 *      ^               |                               |
 *      +----commit-----+------------abort--------------+
 *
 * Invariants:
 *  - nothing is written before commit, which is one request: marker first, then every write under updateTime or "must not be there";
 *  - a commit without a clear answer is AON_UNKNOWN; whoever resolves it writes the abort marker, under which the late commit must fail;
 *  - a refused commit is explained by reading: a marker in the way is AON_FENCED, else the first write that does not hold is named.
 * Why not stronger: Firestore's own transactions hold locks on a server for a minute at most and end with the same commit; nothing survives
 * between it and a decision elsewhere. Design: docs/firebase.md. */
#include "store/firestore_internal.h"

#include <stdlib.h>
#include <string.h>

#include "model/document.h"
#include "model/text.h"

#define MARKER_DAYS_MS ((int64_t)30 * 24 * 3600 * 1000) /* docs/protocol.md: markers stay 30 days at least */
#define CLOCK_TOLERANCE_MS 2000
#define SERVICE "https://firestore.googleapis.com/v1/"
#define FORGET_AT_ONCE 400
#define FORGET_ROUNDS 1000

static const aon_google_settings google_settings = {.emulator = "FIRESTORE_EMULATOR_HOST",
                                                    .scopes = "https://www.googleapis.com/auth/datastore"};

/* ---- requests ---- */

const char *fs_status(json_t *root) {
  const char *status = json_string_value(json_object_get(json_object_get(root, "error"), "status"));
  return status ? status : "";
}

aon_result fs_bad_status(const fs_store *store, int status, bool changes, const char *doing, aon_error *error) {
  aon_http_request request = {.status = status, .changes = changes};
  return fb_refused(&store->fb, &request, doing, error);
}

aon_result fs_post(fs_store *store, const char *method, const aon_buffer *body, bool changes, const char *doing, int *ret_status,
                   json_t **ret_root, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer url = {0};
  *ret_root = NULL;
  aon_result result = aon_buffer_format(&url, error, "%s%s%s", store->base, store->root, method);
  aon_http_request request = {.method = "POST",
                              .url = url.data,
                              .headers = {"Content-Type: application/json"},
                              .body = {body->data, body->length},
                              .changes = changes};
  if (!result)
    result = fb_run(&store->fb, &request, 1, NULL, NULL, error);
  if (result)
    return result;
  if (request.result)
    result = aon_http_fail(store->fb.http, &request, doing, error);
  else if (fb_parse(&store->fb, &request, FS_JSON, ret_root, NULL) && request.status / 100 == 2)
    result = aon_fail(error, changes ? AON_UNKNOWN : AON_CORRUPT, "corrupt", "%s gave a reply that is no JSON.", store->fb.name);
  *ret_status = request.status;
  aon_http_release(&request, 1);
  return result;
}

/* ---- opening and closing ---- */

static void drop(struct aon_transaction *t) {
  aon_arena_release(&t->arena);
  t->open = t->failed = false;
  t->count = t->bytes = 0;
}

static void close_store(void *state) {
  fs_store *store = state;
  drop(&store->transaction);
  fb_close(&store->fb);
  free(store->base);
  free(store->root);
  free(store);
}

/* location: //PROJECT/DATABASE, the second one "(default)" where it is left out */
static aon_result place(void *state, const aon_store_config *config, aon_store_caps *caps, aon_error *error) {
  fs_store *store = state;
  const char *location = config->location;
  store->transaction.store = store;
  const char *project = !strncmp(location, "//", 2) ? location + 2 : "", *slash = strchr(project, '/');
  size_t length = strcspn(project, "/");
  const char *database = slash && slash[1] ? slash + 1 : "(default)";
  if (!length || strpbrk(project, "?#@ ") || strchr(database, '/'))
    return aon_fail(error, AON_USAGE, "bad_location", "%s names no database: write firestore://PROJECT/ or firestore://PROJECT/DATABASE.",
                    store->fb.name);
  const char *emulator = aon_google_emulator(store->fb.google);
  if (asprintf(&store->root, "projects/%.*s/databases/%s/documents", (int)length, project, database) < 0)
    store->root = NULL;
  if ((emulator ? asprintf(&store->base, "http://%s/v1/", emulator) : asprintf(&store->base, "%s", SERVICE)) < 0)
    store->base = NULL;
  if (!store->root || !store->base)
    return aon_fail_memory(error);
  snprintf(caps->database, sizeof caps->database, "firestore:%.100s/%.*s/%.60s", emulator ? emulator : "", (int)(length > 60 ? 60 : length),
           project, database);
  return AON_OK;
}

static const char *marker_name(const fs_store *store, const char *bulk_id, uint32_t attempt, uint32_t batch, aon_arena *arena) {
  return aon_arena_format(arena, "%s/" FS_MARKERS "/%.40s_%u_%u", store->root, bulk_id, (unsigned)attempt, (unsigned)batch);
}

/* Reads a place where nothing stands: whether the service answers, and lets us read. */
static aon_result probe(void *state, aon_error *error) {
  fs_store *store = state;
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  const char *name = marker_name(store, "probe", 0, 0, &scratch);
  aon_image ignored;
  return name ? fs_get(store, &name, 1, &scratch, &ignored, error) : aon_fail_memory(error);
}

static aon_result open_store(aon_env *env, const aon_store_config *config, void **ret_state, aon_store_caps *ret_caps, aon_error *error) {
  static const fb_kind kind = {.google = &google_settings, .size = sizeof(fs_store), .place = place, .probe = probe, .close = close_store};
  aon_store_caps caps = {.store_class = AON_CLASS_BATCH,
                         .types = AON_TYPE_TIMESTAMP | AON_TYPE_BYTES | AON_TYPE_GEOPOINT | AON_TYPE_REFERENCE,
                         .batch_operations = FS_BATCH_OPERATIONS,
                         .batch_bytes = FS_BATCH_BYTES,
                         .max_exact_integer = INT64_MAX,
                         .any_thread = true,
                         .can_undo = true};
  aon_result result = fb_open(env, config, &kind, ret_state, &caps, error);
  if (!result)
    *ret_caps = caps;
  return result;
}

static aon_result describe(void *state, const aon_collection *collection, const aon_shape **ret_shape, aon_error *error) {
  static const aon_shape shape = {.exists = true, .document_table = true};
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  const char *ignored;
  *ret_shape = &shape;
  return fs_document_name(state, collection, AON_TEXT("x"), &scratch, &ignored, error);
}

/* ---- markers ---- */

typedef enum marker_state { MARKER_NONE, MARKER_COMMIT, MARKER_ABORT, MARKER_UNDONE } marker_state;
static const char *const marker_words[] = {"", "commit", "abort", "undone"};

static aon_result read_marker(fs_store *store, const char *bulk_id, uint32_t attempt, uint32_t batch, marker_state *ret_state,
                              char ret_version[FS_TIME_BYTES], aon_error *error) {
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  const char *name = marker_name(store, bulk_id, attempt, batch, &scratch);
  aon_image image;
  bson_t view;
  bson_iter_t at;
  *ret_state = MARKER_NONE;
  aon_result result = name ? fs_get(store, &name, 1, &scratch, &image, error) : aon_fail_memory(error);
  if (result || !image.bson)
    return result;
  if (image.token_length >= FS_TIME_BYTES || !aon_image_view(&image, &view) || !bson_iter_init_find(&at, &view, "state") ||
      !BSON_ITER_HOLDS_UTF8(&at))
    return aon_fail(error, AON_CORRUPT, "corrupt", "A marker in %s can't be read.", store->fb.name);
  for (marker_state i = MARKER_COMMIT; i <= MARKER_UNDONE; i++)
    if (!strcmp(marker_words[i], bson_iter_utf8(&at, NULL)))
      *ret_state = i;
  snprintf(ret_version, FS_TIME_BYTES, "%.*s", (int)image.token_length, (const char *)image.token);
  return *ret_state ? AON_OK : aon_fail(error, AON_CORRUPT, "corrupt", "A marker in %s can't be read.", store->fb.name);
}

/* version NULL: it must not be there. */
static aon_result put_marker(fs_store *store, const char *bulk_id, uint32_t attempt, uint32_t batch, marker_state state,
                             const char *version, aon_buffer *out, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  char now[AON_INSTANT_LENGTH + 1];
  const char *name = marker_name(store, bulk_id, attempt, batch, &scratch);
  if (!name)
    return aon_fail_memory(error);
  aon_instant_format(aon_now_ms(store->fb.env), now);
  aon_result result = aon_buffer_text(out, "{\"update\":{\"name\":", error);
  if (!result)
    result = aon_text_to_json(name, strlen(name), out, error);
  if (!result)
    result = aon_buffer_format(
        out, error,
        ",\"fields\":{\"bulk\":{\"stringValue\":\"%s\"},\"attempt\":{\"integerValue\":\"%u\"},\"batch\":{\"integerValue\":"
        "\"%u\"},\"state\":{\"stringValue\":\"%s\"},\"at\":{\"timestampValue\":\"%s\"}}},\"currentDocument\":",
        bulk_id, (unsigned)attempt, (unsigned)batch, marker_words[state], now);
  if (result)
    return result;
  return version ? aon_buffer_format(out, error, "{\"updateTime\":\"%s\"}}", version) : aon_buffer_text(out, "{\"exists\":false}}", error);
}

static aon_result fenced(const fs_store *store, const char *bulk_id, uint32_t attempt, aon_marker marker, aon_error *error) {
  return aon_fail(
      error, AON_FENCED, "fenced",
      marker == AON_MARKER_COMMIT
          ? "%s holds a marker of bulk operation %s, attempt %u, already: another worker has taken it over. Nothing was written."
          : "%s holds no commit marker of bulk operation %s, attempt %u: there is nothing to take back, or it was taken back already.",
      store->fb.name, bulk_id, (unsigned)attempt);
}

static bool allows(marker_state state, aon_marker marker) {
  return marker == AON_MARKER_COMMIT ? state == MARKER_NONE : state == MARKER_COMMIT;
}

/* ---- transactions ---- */

static aon_result begin(void *state, const aon_branch *branch, aon_marker marker, aon_transaction **ret_transaction, aon_error *error) {
  fs_store *store = state;
  struct aon_transaction *t = &store->transaction;
  marker_state found;
  if (t->open)
    return aon_fail(error, AON_USAGE, "transaction_open", "%s already has a transaction open.", store->fb.name);
  aon_result result = read_marker(store, branch->bulk_id, branch->attempt, branch->batch, &found, t->marker_version, error);
  if (!result && !allows(found, marker))
    result = fenced(store, branch->bulk_id, branch->attempt, marker, error);
  if (result)
    return result;
  t->open = true;
  t->attempt = branch->attempt;
  t->batch = branch->batch;
  t->marker = marker;
  snprintf(t->bulk_id, sizeof t->bulk_id, "%s", branch->bulk_id);
  *ret_transaction = t;
  return AON_OK;
}

static aon_result differs(const fs_store *store, const fs_pending *pending, bool duplicate, aon_error *error) {
  size_t shown = pending->id.length > FB_ID_SHOWN ? FB_ID_SHOWN : pending->id.length;
  aon_result result = duplicate ? aon_fail(error, AON_PERMANENT, "duplicate", "%s/%s/%.*s is there already. Nothing was written.",
                                           store->fb.name, pending->collection->name, (int)shown, pending->id.data)
                                : aon_fail(error, AON_PERMANENT, "changed_meanwhile",
                                           "%s/%s/%.*s was changed by somebody else meanwhile. Nothing was written.", store->fb.name,
                                           pending->collection->name, (int)shown, pending->id.data);
  if (error)
    error->operation = pending->operation;
  return result;
}

static bool equal(const aon_image *a, const aon_image *b) {
  bson_t one, other;
  if (!a->bson || !b->bson)
    return a->bson == b->bson;
  return aon_image_view(a, &one) && aon_image_view(b, &other) && aon_document_equal(&one, &other, NULL);
}

static aon_result keep_wanted(struct aon_transaction *t, fs_pending *pending, const aon_write *write, aon_error *error) {
  bson_t view, stamped;
  pending->wanted = (aon_image){0};
  pending->operation = write->operation;
  if (!write->wanted.bson)
    return AON_OK;
  if (!aon_image_view(&write->wanted, &view))
    return aon_fail(error, AON_CORRUPT, "bad_document", "An image of %s is damaged.", write->collection->name);
  if (!write->stamp)
    return aon_image_from(&view, &t->arena, &pending->wanted, error);
  bson_init(&stamped);
  bson_copy_to_excluding_noinit(&view, &stamped, AON_STAMP_NAME, (char *)NULL);
  aon_result result = bson_append_utf8(&stamped, AON_STAMP_NAME, -1, write->stamp, -1)
                          ? aon_image_from(&stamped, &t->arena, &pending->wanted, error)
                          : aon_fail_memory(error);
  bson_destroy(&stamped);
  return result;
}

static fs_pending *same_name(struct aon_transaction *t, const char *name) {
  for (size_t i = 0; i < t->count; i++)
    if (!strcmp(t->pending[i].name, name))
      return &t->pending[i];
  return NULL;
}

/* A write whose expected image has no version: it is read, and its version is the condition. Chains within a transaction
 * become one write. */
static aon_result compare(fs_store *store, fs_pending *pending, const aon_write *write, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  aon_image now;
  aon_result result = fs_get(store, &pending->name, 1, &scratch, &now, error);
  if (!result && !equal(&now, &write->expected))
    result = differs(store, pending, false, error);
  if (!result && !(pending->version = aon_arena_text(&store->transaction.arena, (const char *)now.token, now.token_length)))
    result = aon_fail_memory(error);
  return result;
}

static aon_result gather(fs_store *store, const aon_write *write, aon_error *error) {
  struct aon_transaction *t = &store->transaction;
  const char *name;
  aon_result result = fs_document_name(store, write->collection, write->id, &t->arena, &name, error);
  if (!result && !name)
    result = aon_fail(error, AON_PERMANENT, "forbidden_character", "%s/%s has an id that Firestore can't keep.", store->fb.name,
                      write->collection->name);
  if (result)
    return result;
  fs_pending *earlier = same_name(t, name);
  if (earlier && !equal(&earlier->wanted, &write->expected)) {
    fs_pending of = {.collection = write->collection, .id = write->id, .operation = write->operation};
    return differs(store, &of, !write->expected.bson, error);
  }
  t->bytes += (size_t)write->expected.bson_length + write->wanted.bson_length;
  if (earlier)
    return keep_wanted(t, earlier, write, error);
  if (t->count == FS_BATCH_OPERATIONS)
    return aon_fail(error, AON_PERMANENT, "too_many", "A batch of %s takes at most %d writes.", store->fb.name, FS_BATCH_OPERATIONS);
  fs_pending *pending = &t->pending[t->count];
  *pending = (fs_pending){.collection = write->collection, .name = name, .operation = write->operation};
  pending->id = (aon_text){aon_arena_text(&t->arena, write->id.data, write->id.length), write->id.length};
  if (!pending->id.data)
    return aon_fail_memory(error);
  if (write->expected.token_length && write->expected.token_length < FS_TIME_BYTES)
    pending->version = aon_arena_text(&t->arena, (const char *)write->expected.token, write->expected.token_length);
  else if (write->expected.bson)
    result = compare(store, pending, write, error);
  if (!result && write->expected.bson && !pending->version)
    result = aon_fail_memory(error);
  if (!result)
    result = keep_wanted(t, pending, write, error);
  t->count += !result;
  return result;
}

static aon_result apply(void *state, aon_transaction *t, const aon_write *writes, size_t count, aon_write_state *states, size_t *ret_failed,
                        aon_error *error) {
  fs_store *store = state;
  if (t != &store->transaction || !t->open || t->failed)
    return aon_fail(error, AON_USAGE, "transaction_failed", "Writes to %s need an open transaction that has not failed.", store->fb.name);
  for (size_t i = 0; i < count; i++) {
    aon_result result = gather(store, &writes[i], error);
    if (states)
      states[i] = result ? AON_WRITE_REFUSED : AON_WRITE_APPLIED;
    if (!result)
      continue;
    t->failed = true;
    *ret_failed = i;
    if (error)
      error->operation = writes[i].operation;
    return result;
  }
  return AON_OK;
}

static aon_result flush(void *state, aon_transaction *t, aon_error *error) {
  fs_store *store = state;
  if (t != &store->transaction || !t->open || t->failed)
    return aon_fail(error, AON_USAGE, "transaction_failed", "A transaction of %s that has failed can only be rolled back.", store->fb.name);
  return AON_OK;
}

static void abort_transaction(void *state, aon_transaction *t) {
  (void)state;
  drop(t);
}

/* ---- commit ---- */

static aon_result put_write(const fs_store *store, const fs_pending *pending, aon_buffer *out, aon_error *error) {
  aon_result result = aon_buffer_text(out, pending->wanted.bson ? ",{\"update\":" : ",{\"delete\":", error);
  if (!result)
    result = pending->wanted.bson ? fs_put_document(store, pending->name, &pending->wanted, NULL, out, error)
                                  : aon_text_to_json(pending->name, strlen(pending->name), out, error);
  if (result)
    return result;
  return pending->version ? aon_buffer_format(out, error, ",\"currentDocument\":{\"updateTime\":\"%s\"}}", pending->version)
                          : aon_buffer_text(out, ",\"currentDocument\":{\"exists\":false}}", error);
}

static aon_result put_commit(fs_store *store, aon_buffer *out, aon_error *error) {
  struct aon_transaction *t = &store->transaction;
  bool undoes = t->marker == AON_MARKER_UNDONE;
  aon_result result = aon_buffer_text(out, "{\"writes\":[", error);
  if (!result)
    result = put_marker(store, t->bulk_id, t->attempt, t->batch, undoes ? MARKER_UNDONE : MARKER_COMMIT, undoes ? t->marker_version : NULL,
                        out, error);
  for (size_t i = 0; !result && i < t->count; i++)
    result = put_write(store, &t->pending[i], out, error);
  return result ? result : aon_buffer_text(out, "]}", error);
}

/* Firestore says that a condition did not hold, not always which: the marker and the documents are looked at. */
static aon_result explain(fs_store *store, aon_error *error) {
  struct aon_transaction *t = &store->transaction;
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  const char *names[FS_BATCH_OPERATIONS];
  aon_image images[FS_BATCH_OPERATIONS];
  marker_state found;
  char version[FS_TIME_BYTES];
  aon_result result = read_marker(store, t->bulk_id, t->attempt, t->batch, &found, version, error);
  if (!result && !allows(found, t->marker))
    result = fenced(store, t->bulk_id, t->attempt, t->marker, error);
  for (size_t i = 0; i < t->count; i++)
    names[i] = t->pending[i].name;
  if (!result)
    result = fs_get(store, names, t->count, &scratch, images, error);
  for (size_t i = 0; !result && i < t->count; i++) {
    const char *wanted = t->pending[i].version;
    bool holds =
        wanted ? images[i].token_length == strlen(wanted) && !memcmp(images[i].token, wanted, images[i].token_length) : !images[i].bson;
    if (!holds)
      result = differs(store, &t->pending[i], !wanted, error);
  }
  return result ? result
                : aon_fail(error, AON_TRANSIENT, "database_locked",
                           "%s refused a batch whose conditions hold again by now. Nothing was written.", store->fb.name);
}

static aon_result refused(fs_store *store, int status, json_t *root, aon_error *error) {
  const char *why = fs_status(root);
  if (!strcmp(why, "ABORTED"))
    return aon_fail_native(error, AON_TRANSIENT, "database_locked", status,
                           "%s was too busy with these documents. Nothing was written; try again.", store->fb.name);
  if (!strcmp(why, "ALREADY_EXISTS") || !strcmp(why, "FAILED_PRECONDITION") || !strcmp(why, "NOT_FOUND"))
    return explain(store, error);
  return fs_bad_status(store, status, true, "committing", error);
}

static aon_result commit(void *state, aon_transaction *t, aon_error *error) {
  fs_store *store = state;
  AON_BUFFER_CLEANUP aon_buffer body = {0};
  json_t *root = NULL;
  int status = 0;
  aon_result result = flush(state, t, error);
  if (!result)
    result = put_commit(store, &body, error);
  fb_enter(&store->fb);
  if (!result)
    result = fs_post(store, ":commit", &body, true, "committing", &status, &root, error);
  if (!result && status / 100 != 2)
    result = refused(store, status, root, error);
  json_decref(root);
  drop(t);
  return result;
}

/* ---- resolving ---- */

/* *ret_found NONE: nobody can tell yet. An answer that is lost, or says that another marker was first: what stands there now is the truth. */
static aon_result write_abort_marker(fs_store *store, const aon_branch *branch, marker_state *ret_found, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer body = {0};
  json_t *root = NULL;
  int status = 0;
  char version[FS_TIME_BYTES];
  aon_error failure = AON_ERROR_INIT;
  aon_result result = aon_buffer_text(&body, "{\"writes\":[", &failure);
  if (!result)
    result = put_marker(store, branch->bulk_id, branch->attempt, branch->batch, MARKER_ABORT, NULL, &body, &failure);
  if (!result)
    result = aon_buffer_text(&body, "]}", &failure);
  fb_enter(&store->fb);
  if (!result)
    result = fs_post(store, ":commit", &body, true, "resolving", &status, &root, &failure);
  if (result == AON_UNKNOWN || (!result && !strcmp(fs_status(root), "ALREADY_EXISTS"))) {
    failure = (aon_error)AON_ERROR_INIT;
    result = read_marker(store, branch->bulk_id, branch->attempt, branch->batch, ret_found, version, &failure);
  } else if (!result && status / 100 == 2) {
    *ret_found = MARKER_ABORT;
  } else if (!result && !strcmp(fs_status(root), "ABORTED")) {
    result = aon_fail(&failure, AON_TRANSIENT, "database_locked", "%s was too busy to tell. Try again.", store->fb.name);
  } else if (!result) {
    result = fs_bad_status(store, status, false, "resolving", &failure);
  }
  json_decref(root);
  if (result && error)
    *error = failure;
  return result;
}

static aon_result resolve(void *state, const aon_branch *branch, aon_branch_state *ret_state, aon_error *error) {
  static const aon_branch_state states[] = {
      [MARKER_COMMIT] = AON_BRANCH_COMMITTED, [MARKER_ABORT] = AON_BRANCH_ABORTED, [MARKER_UNDONE] = AON_BRANCH_UNDONE};
  fs_store *store = state;
  marker_state found;
  char version[FS_TIME_BYTES];
  aon_result result = read_marker(store, branch->bulk_id, branch->attempt, branch->batch, &found, version, error);
  if (!result && found == MARKER_NONE)
    result = write_abort_marker(store, branch, &found, error);
  if (!result && found == MARKER_NONE)
    result = aon_fail(error, AON_TRANSIENT, "no_reply", "%s did not answer; nobody can tell yet. Try again.", store->fb.name);
  if (!result)
    *ret_state = states[found];
  return result;
}

/* ---- housekeeping ---- */

static aon_result find_old(fs_store *store, int64_t before_ms, json_t **ret_root, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer body = {0};
  char instant[AON_INSTANT_LENGTH + 1];
  int status;
  aon_instant_format(before_ms, instant);
  aon_result result =
      aon_buffer_format(&body, error,
                        "{\"structuredQuery\":{\"from\":[{\"collectionId\":\"" FS_MARKERS "\"}],\"select\":{\"fields\":[{\"fieldPath\":"
                        "\"__name__\"}]},\"where\":{\"fieldFilter\":{\"field\":{\"fieldPath\":\"at\"},\"op\":\"LESS_THAN\",\"value\":{"
                        "\"timestampValue\":\"%s\"}}},\"limit\":%d}}",
                        instant, FORGET_AT_ONCE);
  fb_enter(&store->fb);
  if (!result)
    result = fs_post(store, ":runQuery", &body, false, "looking for old markers", &status, ret_root, error);
  if (!result && status / 100 != 2)
    result = fs_bad_status(store, status, false, "looking for old markers", error);
  return result;
}

static aon_result delete_found(fs_store *store, json_t *found, size_t *ret_count, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer body = {0};
  size_t index;
  json_t *item, *root = NULL;
  int status = 200;
  aon_result result = aon_buffer_text(&body, "{\"writes\":[", error);
  *ret_count = 0;
  json_array_foreach(found, index, item) {
    const char *name = json_string_value(json_object_get(json_object_get(item, "document"), "name"));
    if (result || !name)
      continue;
    result = aon_buffer_text(&body, (*ret_count)++ ? ",{\"delete\":" : "{\"delete\":", error);
    if (!result)
      result = aon_text_to_json(name, strlen(name), &body, error);
    if (!result)
      result = aon_buffer_text(&body, "}", error);
  }
  if (!result)
    result = aon_buffer_text(&body, "]}", error);
  fb_enter(&store->fb);
  if (!result && *ret_count)
    result = fs_post(store, ":commit", &body, true, "forgetting markers", &status, &root, error);
  if (!result && status / 100 != 2)
    result = fs_bad_status(store, status, true, "forgetting markers", error);
  json_decref(root);
  return result;
}

static aon_result forget(void *state, int64_t before_ms, aon_error *error) {
  fs_store *store = state;
  int64_t youngest = aon_now_ms(store->fb.env) - MARKER_DAYS_MS;
  aon_result result = AON_OK;
  size_t count = FORGET_AT_ONCE;
  for (int i = 0; !result && count == FORGET_AT_ONCE && i < FORGET_ROUNDS; i++) {
    json_t *found = NULL;
    result = find_old(store, before_ms < youngest ? before_ms : youngest, &found, error);
    if (!result)
      result = delete_found(store, found, &count, error);
    json_decref(found);
  }
  return result;
}

static aon_result count_markers(fs_store *store, int64_t *ret_count, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer body = {0};
  json_t *root = NULL;
  int status;
  aon_result result =
      aon_buffer_text(&body,
                      "{\"structuredAggregationQuery\":{\"aggregations\":[{\"alias\":\"n\",\"count\":{}}],\"structuredQuery\":{\"from\":"
                      "[{\"collectionId\":\"" FS_MARKERS "\"}]}}}",
                      error);
  fb_enter(&store->fb);
  if (!result)
    result = fs_post(store, ":runAggregationQuery", &body, false, "counting markers", &status, &root, error);
  if (!result && status / 100 != 2)
    result = fs_bad_status(store, status, false, "counting markers", error);
  json_t *fields = json_object_get(json_object_get(json_array_get(root, 0), "result"), "aggregateFields");
  const char *text = json_string_value(json_object_get(json_object_get(fields, "n"), "integerValue"));
  *ret_count = text ? strtoll(text, NULL, 10) : 0;
  json_decref(root);
  return result;
}

static aon_result examine(void *state, struct aon_buffer *report, bool *ret_healthy, aon_error *error) {
  fs_store *store = state;
  const char *emulator = aon_google_emulator(store->fb.google);
  int64_t markers;
  *ret_healthy = true;
  aon_result result = count_markers(store, &markers, error);
  if (!result)
    result = emulator ? aon_buffer_format(report, error, "Firestore, emulator at %s\n", emulator)
                      : aon_buffer_format(report, error, "Firestore, as %s\n", aon_google_account(store->fb.google));
  if (!result)
    result = aon_buffer_format(
        report, error,
        "class 3: batches of %d writes that take effect together, with a marker; no prepared transactions, so they show before the "
        "decision\nmarkers of bulk operations: %lld\n",
        FS_BATCH_OPERATIONS, (long long)markers);
  return result ? result : fb_tell_clock(&store->fb, report, ret_healthy, error);
}

const aon_store_adapter aon_firestore_adapter = {
    .kind = "firestore",
    .interface_version = AON_STORE_INTERFACE,
    .open = open_store,
    .close = close_store,
    .describe = describe,
    .normalise = fs_normalise,
    .read = fs_read,
    .scan = fs_scan,
    .begin = begin,
    .apply = apply,
    .flush = flush,
    .commit = commit,
    .abort = abort_transaction,
    .resolve = resolve,
    .forget = forget,
    .examine = examine,
    .cancel = fb_cancel,
    .pool = fb_pool,
    .look_up = fb_look_up,
};
