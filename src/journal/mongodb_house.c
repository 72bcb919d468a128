/* Housekeeping of the docket: a look at its health, what is left to look at, a new key. */
#include <stdlib.h>
#include <string.h>

#include "journal/mongodb_docket.h"

#define EXAMINE_SEGMENTS 4  /* read at once, to prove their sums */
#define CLOCK_APART_MS 2000 /* more than that between this host's clock and the server's is told */

/* How much room the server's disk has can't be asked for from here. A disk that is full is told by the call that finds it so, and nothing
 * rests on what could not be recorded. */
aon_result aon_docket_room(void *state, uint64_t bytes, aon_error *error) {
  (void)state;
  (void)bytes;
  (void)error;
  return AON_OK;
}

/* ---- a look at its health ---- */

typedef struct health {
  aon_docket *d;
  aon_buffer *report;
  bool healthy;
} health;

static const char *text_at(const bson_t *reply, const char *path) {
  bson_iter_t at, found;
  return bson_iter_init(&at, reply) && bson_iter_find_descendant(&at, path, &found) && BSON_ITER_HOLDS_UTF8(&found)
             ? bson_iter_utf8(&found, NULL)
             : NULL;
}

static aon_result examine_server(health *look, aon_error *error) {
  bson_t built = BSON_INITIALIZER, hello = BSON_INITIALIZER, who = BSON_INITIALIZER;
  int64_t now_ms;
  aon_docket *d = look->d;
  aon_result result = aon_docket_now(d, &now_ms, error);
  int64_t apart_ms = now_ms - aon_now_ms(d->env);
  if (!result)
    result = aon_docket_ask(d, "admin", BCON_NEW("buildInfo", BCON_INT32(1)), "examining it", &built, error);
  if (!result)
    result = aon_docket_ask(d, "admin", BCON_NEW("hello", BCON_INT32(1)), "examining it", &hello, error);
  if (!result)
    result = aon_docket_ask(d, NULL, BCON_NEW("connectionStatus", BCON_INT32(1)), "examining it", &who, error);
  const char *version = text_at(&built, "version"), *set = text_at(&hello, "setName"),
             *user = text_at(&who, "authInfo.authenticatedUsers.0.user");
  if (!result)
    result = aon_buffer_format(look->report, error, "MongoDB %s, user %s, database %s, %s%s\n", version ? version : "?",
                               user ? user : "(none: the server asks for no password)", aon_mongodb_database(d->connection),
                               set ? "replica set " : "sharded cluster", set ? set : "");
  if (!result && llabs(apart_ms) > CLOCK_APART_MS)
    result = aon_buffer_format(look->report, error, "its clock is %lld ms apart from this host's: leases go by the journal's alone\n",
                               (long long)apart_ms);
  else if (!result)
    result = aon_buffer_format(look->report, error, "its clock agrees with this host's\n");
  bson_destroy(&built);
  bson_destroy(&hello);
  bson_destroy(&who);
  return result;
}

static aon_result examine_states(health *look, aon_error *error) {
  aon_result result = aon_buffer_format(look->report, error, "schema version %d\n", aon_docket_version());
  for (int state = AON_SCHEDULED; !result && state < AON_STATE_COUNT; state++) {
    int64_t count;
    const char *name = aon_state_name((aon_state)state);
    result = aon_docket_count(look->d, AON_DOCKET_BULK, BCON_NEW("state", BCON_UTF8(name)), &count, error);
    if (!result && count)
      result = aon_buffer_format(look->report, error, "bulk operations %s: %lld\n", name, (long long)count);
  }
  return result;
}

typedef struct proof {
  uint64_t segments, damaged;
  char damaged_id[37];
} proof;

static aon_result prove(health *look, proof *state, const aon_docket_row *row, const char *bulk_id, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_stored stored;
  aon_result result = aon_docket_stored(look->d, row, &arena, &stored, error);
  if (result)
    return result;
  bool right = stored.operations && aon_piece_sum_right(bulk_id, stored.first, AON_SEGMENT_OPERATIONS_ROLE, stored.operations,
                                                        stored.operations_length, stored.operations_sum, stored.operations_sum_length);
  right = right && (stored.images ? aon_piece_sum_right(bulk_id, stored.first, AON_SEGMENT_IMAGES_ROLE, stored.images, stored.images_length,
                                                        stored.images_sum, stored.images_sum_length)
                                  : !stored.images_sum);
  state->segments++;
  if (!right && state->damaged++ == 0)
    snprintf(state->damaged_id, sizeof state->damaged_id, "%s", bulk_id);
  return AON_OK;
}

static aon_result prove_log(health *look, proof *state, const aon_docket_row *bulk, aon_error *error) {
  const char *id = aon_docket_text(bulk, "_id");
  int64_t log = aon_docket_int(bulk, "log"), next = 0;
  aon_result result = AON_OK;
  for (bool more = true; !result && more;) {
    AON_DOCKET_ROWS rows = {0};
    result = aon_docket_find(look->d, AON_DOCKET_LOG, aon_docket_range(log, next, INT64_MAX), aon_docket_sorted("_id", 1, EXAMINE_SEGMENTS),
                             &rows, "examining it", error);
    for (size_t i = 0; !result && i < rows.count; i++) {
      int64_t first = aon_docket_int(&rows.rows[i], "first");
      next = (first < next ? next : first) + 1; /* one that lacks its place stands at none that was asked for before */
      result = prove(look, state, &rows.rows[i], id ? id : "", error);
    }
    more = rows.count == EXAMINE_SEGMENTS;
  }
  return result;
}

static aon_result examine_segments(health *look, aon_error *error) {
  proof state = {0};
  aon_result result = AON_OK;
  int64_t last = 0;
  for (bool more = true; !result && more;) {
    AON_DOCKET_ROWS rows = {0};
    result = aon_docket_find(look->d, AON_DOCKET_BULK, BCON_NEW("number", "{", "$gt", BCON_INT64(last), "}"),
                             aon_docket_sorted("number", 1, AON_DOCKET_PAGE), &rows, "examining it", error);
    for (size_t i = 0; !result && i < rows.count; i++) {
      last = aon_docket_int(&rows.rows[i], "number");
      result = prove_log(look, &state, &rows.rows[i], error);
    }
    more = rows.count == AON_DOCKET_PAGE;
  }
  if (result)
    return result;
  look->healthy = look->healthy && state.damaged == 0;
  if (state.damaged)
    return aon_buffer_format(look->report, error, "%llu of %llu pieces of the log are damaged, the first one of bulk operation %s\n",
                             (unsigned long long)state.damaged, (unsigned long long)state.segments, state.damaged_id);
  return aon_buffer_format(look->report, error, "all %llu pieces of the log have the right check sum\n",
                           (unsigned long long)state.segments);
}

/* Whether the user may write, by a transaction that writes and is undone. */
static aon_result write_nothing(aon_docket *d, void *arguments, aon_error *error) {
  (void)arguments;
  static const char *const collections[] = {AON_DOCKET_META, AON_DOCKET_BULK, AON_DOCKET_LOG, AON_DOCKET_LOCKS};
  char token[AON_DOCKET_TOKEN + 1];
  aon_result result = AON_OK;
  aon_docket_token(d, token);
  for (size_t i = 0; !result && i < sizeof collections / sizeof *collections; i++)
    result = aon_docket_insert(d, collections[i], BCON_NEW("_id", BCON_UTF8(token)), error);
  return result ? result : AON_END;
}

static aon_result examine_permissions(health *look, aon_error *error) {
  aon_error found = AON_ERROR_INIT;
  aon_result result = aon_docket_read(look->d, false, "examining it", write_nothing, NULL, &found);
  if (result == AON_END)
    return aon_buffer_text(look->report, "the user may read and write all its collections\n", error);
  look->healthy = false;
  return aon_buffer_format(look->report, error, "the user may not read and write its collections: %s\n", found.sentence);
}

static aon_result examine_keys(health *look, aon_error *error) {
  aon_docket *d = look->d;
  AON_DOCKET_ROWS rows = {0};
  if (!d->key_file)
    return aon_buffer_text(look->report, "no key file is named\n", error);
  aon_keys *keys;
  aon_error found = AON_ERROR_INIT;
  if (aon_keys_read(d->env, d->key_file, &keys, &found)) {
    look->healthy = false;
    return aon_buffer_format(look->report, error, "%s\n", found.sentence);
  }
  aon_result result = aon_buffer_format(look->report, error, "key file %s: %zu key%s, the newest is %s\n", d->key_file,
                                        aon_keys_count(keys), aon_keys_count(keys) == 1 ? "" : "s", aon_keys_name(keys, 0));
  if (!result)
    result = aon_docket_find(d, AON_DOCKET_KEYS, bson_new(), aon_docket_sorted("number", -1, 0), &rows, "examining it", error);
  for (size_t i = 0; !result && i < rows.count; i++) {
    const char *name = aon_docket_text(&rows.rows[i], "_id");
    if (!name || aon_keys_has(keys, name))
      continue;
    look->healthy = look->healthy && i > 0; /* the one that is in use */
    result = aon_buffer_format(look->report, error, "key %s, which %s used here, is not in the key file\n", name, i ? "was" : "is");
  }
  aon_keys_close(keys);
  return result;
}

static aon_result examine_files(health *look, aon_error *error) { return aon_docket_files_examine(look->d, look->report, error); }

aon_result aon_docket_examine(void *state, aon_buffer *report, bool *ret_healthy, aon_error *error) {
  aon_docket *d = state;
  health look = {.d = d, .report = report, .healthy = true};
  if (d->absent) {
    aon_result absent =
        aon_buffer_text(report, "there are no collections of a journal yet; the first command that writes makes them\n", error);
    if (!absent)
      *ret_healthy = true;
    return absent;
  }
  aon_result (*const looks[])(health *, aon_error *) = {examine_server,   examine_permissions, examine_states,
                                                        examine_segments, examine_files,       examine_keys};
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < sizeof looks / sizeof *looks; i++)
    result = looks[i](&look, error);
  if (!result)
    *ret_healthy = look.healthy;
  return result;
}

/* ---- what is left to look at ---- */

static aon_result conflicts_of(aon_docket *d, int64_t bulk, bool *ret_any, bool *ret_watched, aon_error *error) {
  AON_DOCKET_ROWS any = {0}, watched = {0};
  aon_result result = aon_docket_find(d, AON_DOCKET_CONFLICTS, BCON_NEW("bulk", BCON_INT64(bulk)), BCON_NEW("limit", BCON_INT64(1)), &any,
                                      "looking for what is left to do", error);
  if (!result && any.count)
    result = aon_docket_find(d, AON_DOCKET_CONFLICTS, BCON_NEW("bulk", BCON_INT64(bulk), "watched", BCON_BOOL(true)),
                             BCON_NEW("limit", BCON_INT64(1)), &watched, "looking for what is left to do", error);
  *ret_any = any.count > 0;
  *ret_watched = watched.count > 0;
  return result;
}

/* The next bulk operation of which a document is watched; INT64_MAX: none. */
static aon_result next_watched(aon_docket *d, int64_t last, int64_t *ret_number, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  aon_result result =
      aon_docket_find(d, AON_DOCKET_CONFLICTS, BCON_NEW("watched", BCON_BOOL(true), "bulk", "{", "$gt", BCON_INT64(last), "}"),
                      aon_docket_sorted("bulk", 1, 1), &rows, "looking for what is left to do", error);
  *ret_number = !result && rows.count ? aon_docket_int(&rows.rows[0], "bulk") : INT64_MAX;
  return result;
}

static aon_result next_with_images(aon_docket *d, int64_t last, int64_t now_ms, int64_t *ret_number, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  aon_result result =
      aon_docket_find(d, AON_DOCKET_BULK,
                      BCON_NEW("number", "{", "$gt", BCON_INT64(last), "}", "images_until_ms", "{", "$gt", BCON_INT64(0), "$lte",
                               BCON_INT64(now_ms), "}", "test_mode", BCON_BOOL(false), "finished_ms", "{", "$gt", BCON_INT64(0), "}"),
                      aon_docket_sorted("number", 1, 1), &rows, "looking for what is left to do", error);
  *ret_number = !result && rows.count ? aon_docket_int(&rows.rows[0], "number") : INT64_MAX;
  return result;
}

static aon_result tell_stale(aon_docket *d, int64_t number, aon_stale_each each, void *context, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  bool any, watched;
  aon_result result = conflicts_of(d, number, &any, &watched, error);
  if (!result)
    result = aon_docket_find(d, AON_DOCKET_BULK, BCON_NEW("number", BCON_INT64(number), "holds", BCON_BOOL(false)), NULL, &rows,
                             "looking for what is left to do", error);
  if (result || !rows.count || (any && !watched))
    return result;
  return each(context, aon_docket_text(&rows.rows[0], "_id"), !watched, watched, error);
}

aon_result aon_docket_stale(void *state, aon_stale_each each, void *context, aon_error *error) {
  aon_docket *d = state;
  int64_t now_ms, watched = 0, images = 0, last = 0;
  aon_result result = aon_docket_now(d, &now_ms, error);
  while (!result) {
    if (watched <= last)
      result = next_watched(d, last, &watched, error);
    if (!result && images <= last)
      result = next_with_images(d, last, now_ms, &images, error);
    last = watched < images ? watched : images;
    if (result || last == INT64_MAX)
      break;
    result = tell_stale(d, last, each, context, error);
  }
  return result == AON_END ? AON_OK : result;
}
