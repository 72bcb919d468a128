/* Reading: documents by id, in parallel, each with its ETag; collections page by page in the order of keys.
 *
 * Invariant: memory holds the replies of one round, or one page for each level of the path. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "model/document.h"
#include "store/match.h"
#include "store/rtdb_internal.h"

static aon_result read_round(rtdb_store *store, const aon_collection *collection, const aon_text *ids, size_t count, aon_arena *arena,
                             aon_image *images, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  aon_http_request requests[RTDB_READ_AT_ONCE];
  size_t of[RTDB_READ_AT_ONCE], asked = 0;
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < count; i++) {
    const char *path, *url = NULL;
    images[i] = (aon_image){0};
    result = rtdb_document_path(collection, ids[i], &scratch, &path, error);
    if (result || !path)
      continue;
    result = rtdb_url(store, path, "", &scratch, &url, error);
    of[asked] = i;
    requests[asked++] = (aon_http_request){.method = "GET", .url = url, .headers = {"X-Firebase-ETag: true"}};
  }
  fb_enter(&store->fb);
  if (!result)
    result = fb_run(&store->fb, requests, asked, fb_went_well, NULL, error);
  bool ran = !result;
  for (size_t i = 0; !result && i < asked; i++) { /* the first real failure is told, not what was left out because of it */
    if (!fb_went_well(NULL, &requests[i]) && (requests[i].tries || requests[i].result == AON_CANCELLED))
      result = fb_refused(&store->fb, &requests[i], "reading", error);
  }
  for (size_t i = 0; !result && i < asked; i++)
    result = fb_went_well(NULL, &requests[i])
                 ? rtdb_image(store, requests[i].reply.data, requests[i].reply.length, requests[i].etag, arena, &images[of[i]], error)
                 : fb_refused(&store->fb, &requests[i], "reading", error);
  if (ran)
    aon_http_release(requests, asked);
  return result;
}

aon_result rtdb_read(void *state, const aon_collection *collection, const aon_text *ids, size_t count, aon_arena *arena, aon_image *images,
                     aon_error *error) {
  aon_result result = AON_OK;
  for (size_t from = 0; !result && from < count; from += RTDB_READ_AT_ONCE)
    result = read_round(state, collection, ids + from, count - from < RTDB_READ_AT_ONCE ? count - from : RTDB_READ_AT_ONCE, arena,
                        images + from, error);
  return result;
}

/* ---- scan ---- */

typedef struct walk {
  rtdb_store *store;
  fb_walk at;
} walk;

static aon_result get(rtdb_store *store, const char *path, const char *options, json_t **ret_root, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  const char *url = NULL;
  *ret_root = NULL;
  aon_result result = rtdb_url(store, path, options, &scratch, &url, error);
  fb_enter(&store->fb);
  return result ? result : fb_get(&store->fb, url, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, ret_root, error);
}

/* ---- the order of keys: numbers of 32 bits first, by value; then texts by UTF-16 (Google's SDK: nameCompare) ---- */

static bool number_of(const char *key, int64_t *ret_number) {
  const char *at = key + (*key == '-');
  size_t zeros = strspn(at, "0"), digits = strspn(at + zeros, "0123456789");
  if (at[zeros + digits] || zeros + digits == 0 || digits > 10)
    return false;
  *ret_number = strtoll(key, NULL, 10);
  return *ret_number >= INT32_MIN && *ret_number <= INT32_MAX;
}

/* UTF-8 orders as UTF-16 does, but for characters beyond U+FFFF, which UTF-16 puts before U+E000. */
static int compare_texts(const char *a, const char *b) {
  while (*a && *a == *b)
    a++, b++;
  unsigned char x = (unsigned char)*a, y = (unsigned char)*b;
  if ((x >= 0xf0) != (y >= 0xf0) && x >= 0xee && y >= 0xee)
    return x >= 0xf0 ? -1 : 1;
  return (int)x - (int)y;
}

static int compare_keys(const char *a, const char *b) {
  int64_t x, y;
  bool a_is = number_of(a, &x), b_is = number_of(b, &y);
  if (a_is && b_is)
    return x != y ? (x < y ? -1 : 1) : (int)strlen(a) - (int)strlen(b);
  return a_is ? -1 : b_is ? 1 : compare_texts(a, b);
}

/* ---- pages ---- */

static aon_result found(walk *w, const char *key, json_t *value, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  aon_image image;
  w->at.values[w->at.path.placeholders - 1] = (aon_text){key, strlen(key)};
  char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
  aon_result result = text ? rtdb_image(w->store, text, strlen(text), NULL, &scratch, &image, error) : aon_fail_memory(error);
  free(text);
  return result ? result : fb_walk_found(&w->at, &image, error);
}

/* Hands a page's entries to `found` and tells the last key of it. A page with numbers as keys may come as a list. */
static aon_result hear_page(walk *w, json_t *page, const char *after, size_t *ret_count, char last[RTDB_KEY_BYTES + 1], aon_error *error) {
  char place[24];
  const char *key;
  json_t *value;
  size_t index;
  aon_result result = AON_OK;
  bool list = json_is_array(page);
  json_t *entries = list ? json_object() : json_incref(page);
  json_array_foreach(page, index, value) {
    snprintf(place, sizeof place, "%zu", index);
    json_object_set(entries, place, value);
  }
  *ret_count = 0;
  json_object_foreach(entries, key, value) {
    if (result || json_is_null(value) || (after && !strcmp(after, key)))
      continue;
    if (!*ret_count || compare_keys(key, last) > 0)
      snprintf(last, RTDB_KEY_BYTES + 1, "%s", key);
    ++*ret_count;
    result = found(w, key, value, error);
  }
  json_decref(entries);
  return result;
}

static aon_result page_options(const char *after, aon_buffer *out, aon_error *error) {
  aon_buffer_clear(out);
  aon_result result = aon_buffer_format(out, error, "orderBy=%%22%%24key%%22&limitToFirst=%d", RTDB_PAGE + (after != NULL));
  if (result || !after)
    return result;
  AON_BUFFER_CLEANUP aon_buffer quoted = {0};
  result = aon_text_to_json(after, strlen(after), &quoted, error);
  if (!result)
    result = aon_buffer_text(out, "&startAt=", error);
  return result ? result : fb_escape(quoted.data, quoted.length, out, error);
}

static aon_result scan_pages(walk *w, const char *path, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer options = {0};
  char last[RTDB_KEY_BYTES + 1], before[RTDB_KEY_BYTES + 1];
  const char *after = NULL;
  for (size_t count = RTDB_PAGE; count >= RTDB_PAGE;) {
    json_t *page = NULL;
    aon_result result = page_options(after, &options, error);
    if (!result)
      result = get(w->store, path, options.data, &page, error);
    if (result)
      return result;
    if (json_is_object(page) || json_is_array(page))
      result = hear_page(w, page, after, &count, last, error);
    else
      count = 0;
    json_decref(page);
    if (result)
      return result;
    memcpy(before, last, sizeof before);
    after = before;
  }
  return AON_OK;
}

/* One level of the path after the other: fixed segments, then the keys that stand in for a placeholder. */
static aon_result scan_level(walk *w, size_t level, size_t placeholder, const char *path, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer deeper = {0};
  for (; w->at.path.segments[level]; level++) { /* the last one is a placeholder */
    aon_result result = aon_buffer_format(&deeper, error, "%s%s", deeper.length || *path ? "/" : "", w->at.path.segments[level]);
    if (result)
      return result;
  }
  AON_BUFFER_CLEANUP aon_buffer here = {0};
  aon_result result = aon_buffer_format(&here, error, "%s%s", path, deeper.data ? deeper.data : "");
  if (result || (level == w->at.path.count - 1 && placeholder == w->at.path.placeholders - 1))
    return result ? result : scan_pages(w, here.data, error);
  json_t *keys = NULL, *ignored;
  const char *key;
  result = get(w->store, here.data, "shallow=true", &keys, error);
  json_object_foreach(keys, key, ignored) {
    if (result)
      break;
    AON_BUFFER_CLEANUP aon_buffer below = {0};
    w->at.values[placeholder] = (aon_text){key, strlen(key)};
    result = aon_buffer_format(&below, error, "%s%s%s", here.data, here.length ? "/" : "", key);
    if (!result)
      result = scan_level(w, level + 1, placeholder + 1, below.data, error);
  }
  json_decref(keys);
  return result;
}

aon_result rtdb_scan(void *state, const aon_collection *collection, const aon_match *matches, size_t count, const char *const *properties,
                     aon_scan_each each, void *context, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  walk w = {.store = state, .at = {.matches = matches, .count = count, .each = each, .context = context}};
  (void)properties; /* all of them come with the document */
  aon_result result = fb_path_parse(collection, &scratch, &w.at.path, error);
  if (!result && w.at.path.segments[w.at.path.count - 1])
    return aon_fail(error, AON_USAGE, "not_supported",
                    "The collection “%s” can't be searched: its path must end with a placeholder for that.", collection->name);
  if (!result)
    result = scan_level(&w, 0, 0, "", error);
  return result == AON_END ? AON_OK : result;
}
