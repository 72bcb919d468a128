/* Reading: documents by name with batchGet, several at a time; collections page by page.
 *
 * Invariants: memory holds the replies of one round, or one page for each level of the path; inside an open transaction its own writes are
 * seen. */
#include <stdlib.h>
#include <string.h>

#include "model/document.h"
#include "store/firestore_internal.h"
#include "store/match.h"

#define REQUESTS_AT_ONCE 4

/* ---- by name ---- */

static aon_result put_names(const char *const *names, size_t count, aon_buffer *out, aon_error *error) {
  aon_result result = aon_buffer_text(out, "{\"documents\":[", error);
  for (size_t i = 0; !result && i < count; i++) {
    result = i ? aon_buffer_text(out, ",", error) : AON_OK;
    if (!result)
      result = aon_text_to_json(names[i], strlen(names[i]), out, error);
  }
  return result ? result : aon_buffer_text(out, "]}", error);
}

/* The answers come in any order, one for each name. */
static aon_result take_found(const fs_store *store, json_t *root, const char *const *names, size_t count, aon_arena *arena,
                             aon_image *images, aon_error *error) {
  aon_result result = AON_OK;
  size_t index, answered = 0;
  json_t *item, *by_name = json_object();
  json_array_foreach(root, index, item) {
    json_t *found = json_object_get(item, "found"), *missing = json_object_get(item, "missing");
    const char *name = json_string_value(found ? json_object_get(found, "name") : missing);
    if (name)
      json_object_set(by_name, name, found ? found : json_null());
  }
  for (size_t i = 0; !result && i < count; i++) {
    json_t *found = json_object_get(by_name, names[i]);
    images[i] = (aon_image){0};
    answered += found != NULL;
    if (json_is_object(found))
      result = fs_image(store, found, arena, &images[i], error);
  }
  json_decref(by_name);
  if (!result && answered != count)
    result = aon_fail(error, AON_TRANSIENT, "unavailable", "%s did not answer for all documents that it was asked for.", store->fb.name);
  return result;
}

static aon_result get_round(fs_store *store, const char *const *names, size_t count, aon_arena *arena, aon_image *images,
                            aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer url = {0};
  aon_buffer bodies[REQUESTS_AT_ONCE] = {0};
  aon_http_request requests[REQUESTS_AT_ONCE] = {0};
  size_t asked = 0;
  aon_result result = aon_buffer_format(&url, error, "%s%s:batchGet", store->base, store->root);
  for (size_t from = 0; !result && from < count; from += FS_READ_AT_ONCE, asked++) {
    size_t some = count - from < FS_READ_AT_ONCE ? count - from : FS_READ_AT_ONCE;
    result = put_names(names + from, some, &bodies[asked], error);
    requests[asked] = (aon_http_request){.method = "POST",
                                         .url = url.data,
                                         .headers = {"Content-Type: application/json"},
                                         .body = {bodies[asked].data, bodies[asked].length}};
  }
  fb_enter(&store->fb);
  if (!result)
    result = fb_run(&store->fb, requests, asked, NULL, NULL, error);
  for (size_t i = 0; !result && i < asked; i++) {
    size_t from = i * FS_READ_AT_ONCE, some = count - from < FS_READ_AT_ONCE ? count - from : FS_READ_AT_ONCE;
    json_t *root = NULL;
    if (!fb_went_well(NULL, &requests[i]))
      result = fb_refused(&store->fb, &requests[i], "reading", error);
    else
      result = fb_parse(&store->fb, &requests[i], FS_JSON, &root, error);
    if (!result)
      result = take_found(store, root, names + from, some, arena, images + from, error);
    json_decref(root);
  }
  aon_http_release(requests, REQUESTS_AT_ONCE);
  for (size_t i = 0; i < REQUESTS_AT_ONCE; i++)
    aon_buffer_release(&bodies[i]);
  return result;
}

aon_result fs_get(fs_store *store, const char *const *names, size_t count, aon_arena *arena, aon_image *images, aon_error *error) {
  aon_result result = AON_OK;
  size_t most = (size_t)REQUESTS_AT_ONCE * FS_READ_AT_ONCE;
  for (size_t from = 0; !result && from < count; from += most)
    result = get_round(store, names + from, count - from < most ? count - from : most, arena, images + from, error);
  return result;
}

static const fs_pending *pending_of(const fs_store *store, const char *name) {
  const struct aon_transaction *t = &store->transaction;
  for (size_t i = 0; t->open && i < t->count; i++)
    if (!strcmp(t->pending[i].name, name))
      return &t->pending[i];
  return NULL;
}

aon_result fs_read(void *state, const aon_collection *collection, const aon_text *ids, size_t count, aon_arena *arena, aon_image *images,
                   aon_error *error) {
  fs_store *store = state;
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  const char **names = calloc(count ? count : 1, sizeof *names);
  size_t *of = calloc(count ? count : 1, sizeof *of), asked = 0;
  aon_image *found = calloc(count ? count : 1, sizeof *found);
  aon_result result = names && of && found ? AON_OK : aon_fail_memory(error);
  for (size_t i = 0; !result && i < count; i++) {
    const char *name;
    images[i] = (aon_image){0};
    result = fs_document_name(store, collection, ids[i], &scratch, &name, error);
    const fs_pending *pending = !result && name ? pending_of(store, name) : NULL;
    if (pending && pending->wanted.bson) {
      images[i] = (aon_image){.bson = aon_arena_copy(arena, pending->wanted.bson, pending->wanted.bson_length),
                              .bson_length = pending->wanted.bson_length};
      result = images[i].bson ? AON_OK : aon_fail_memory(error);
    } else if (!result && name && !pending) {
      of[asked] = i;
      names[asked++] = name;
    }
  }
  if (!result)
    result = fs_get(store, names, asked, arena, found, error);
  for (size_t i = 0; !result && i < asked; i++)
    images[of[i]] = found[i];
  free(names);
  free(of);
  free(found);
  return result;
}

/* ---- scan ---- */

typedef struct walk {
  fs_store *store;
  fb_walk at;
} walk;

/* One page of a collection. bare: names only, and also of documents that are not there but have others below them. */
static aon_result list_page(fs_store *store, const char *path, bool bare, const char *page, json_t **ret_root, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer url = {0};
  aon_result result = aon_buffer_format(&url, error, "%s%s", store->base, store->root);
  for (const char *at = path; !result && *at;) {
    size_t length = strcspn(at, "/");
    result = aon_buffer_text(&url, "/", error);
    if (!result)
      result = fb_escape(at, length, &url, error);
    at += length + (at[length] == '/');
  }
  if (!result)
    result = aon_buffer_format(&url, error, "?pageSize=%d%s", FS_PAGE, bare ? "&showMissing=true&mask.fieldPaths=__name__" : "");
  if (!result && page)
    result = aon_buffer_text(&url, "&pageToken=", error);
  if (!result && page)
    result = fb_escape(page, strlen(page), &url, error);
  fb_enter(&store->fb);
  return result ? result : fb_get(&store->fb, url.data, FS_JSON, ret_root, error);
}

static aon_result found(walk *w, json_t *document, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  aon_image image;
  aon_result result = fs_image(w->store, document, &scratch, &image, error);
  return result ? result : fb_walk_found(&w->at, &image, error);
}

/* The path ends with a name: the one document there. */
static aon_result found_at(walk *w, const char *path, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  const char *name = aon_arena_format(&scratch, "%s/%s", w->store->root, path);
  aon_image image;
  aon_result result = name ? fs_get(w->store, &name, 1, &scratch, &image, error) : aon_fail_memory(error);
  return result ? result : fb_walk_found(&w->at, &image, error);
}

static aon_result scan_level(walk *w, size_t level, size_t placeholder, const char *path, aon_error *error);

static aon_result hear_page(walk *w, json_t *page, size_t level, size_t placeholder, const char *path, aon_error *error) {
  size_t index;
  json_t *document;
  aon_result result = AON_OK;
  json_array_foreach(json_object_get(page, "documents"), index, document) {
    const char *name = json_string_value(json_object_get(document, "name")), *slash = name ? strrchr(name, '/') : NULL;
    if (result || !slash)
      continue;
    w->at.values[placeholder] = (aon_text){slash + 1, strlen(slash + 1)};
    if (level + 1 == w->at.path.count) {
      result = found(w, document, error);
      continue;
    }
    AON_BUFFER_CLEANUP aon_buffer below = {0};
    result = aon_buffer_format(&below, error, "%s/%s", path, slash + 1);
    if (!result)
      result = scan_level(w, level + 1, placeholder + 1, below.data, error);
  }
  return result;
}

/* Fixed segments first, then all documents of the collection that stand in for a placeholder. */
static aon_result scan_level(walk *w, size_t level, size_t placeholder, const char *path, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer here = {0};
  aon_result result = aon_buffer_text(&here, path, error);
  for (; !result && level < w->at.path.count && w->at.path.segments[level]; level++)
    result = aon_buffer_format(&here, error, "%s%s", here.length ? "/" : "", w->at.path.segments[level]);
  if (result || level == w->at.path.count)
    return result ? result : found_at(w, here.data, error);
  if (level % 2 == 0)
    return aon_fail(error, AON_USAGE, "not_supported", "A collection whose path has a placeholder for a collection can't be searched.");
  char *page = NULL;
  do {
    json_t *root = NULL;
    result = list_page(w->store, here.data, level + 1 < w->at.path.count, page, &root, error);
    free(page);
    page = NULL;
    const char *next = json_string_value(json_object_get(root, "nextPageToken"));
    if (!result && next && *next && !(page = strdup(next)))
      result = aon_fail_memory(error);
    if (!result)
      result = hear_page(w, root, level, placeholder, here.data, error);
    json_decref(root);
  } while (!result && page);
  free(page);
  return result;
}

aon_result fs_scan(void *state, const aon_collection *collection, const aon_match *matches, size_t count, const char *const *properties,
                   aon_scan_each each, void *context, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  walk w = {.store = state, .at = {.matches = matches, .count = count, .each = each, .context = context}};
  (void)properties; /* all of them come with the document */
  aon_result result = fb_path_parse(collection, &scratch, &w.at.path, error);
  if (!result)
    result = scan_level(&w, 0, 0, "", error);
  return result == AON_END ? AON_OK : result;
}
