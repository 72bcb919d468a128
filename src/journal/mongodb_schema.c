/* The docket's collections and indexes, how a docket is opened, and its keys.
 *
 * Invariants: version and first key come in one transaction, which has the turn of the keys, so programs that open a new journal at once
 * agree on one key; a newer version than the program's is refused by its number; without the key that is in use here no journal opens for
 * writing; one into which another was not copied to its end is never taken for a journal. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "journal/mongodb_docket.h"

#define VERSION 1
#define MAKE_TRIES 5 /* against others who make the same collections */

int aon_docket_version(void) { return VERSION; }

/* ---- collections ---- */

typedef struct index_form {
  const char *collection, *name, *first, *second;
} index_form;

static const char *const collections[] = {
    AON_DOCKET_BULK,      AON_DOCKET_LOG,         AON_DOCKET_PARTS, AON_DOCKET_NAMES, AON_DOCKET_LOCKS,   AON_DOCKET_BATCHES,
    AON_DOCKET_CONFLICTS, AON_DOCKET_GENERATIONS, AON_DOCKET_NAMED, AON_DOCKET_WAITS, AON_DOCKET_EVENTS,  AON_DOCKET_FILES,
    AON_DOCKET_CHUNKS,    AON_DOCKET_WASTE,       AON_DOCKET_KEYS,  AON_DOCKET_META,  AON_DOCKET_SESSIONS};
#define OF_ITS_OWN 14 /* those before the keys: empty in an empty journal */

static const index_form indexes[] = {
    {AON_DOCKET_BULK, "number", "number", NULL},
    {AON_DOCKET_BULK, "log", "log", NULL},
    {AON_DOCKET_BULK, "key", "organization", "idempotency_key"},
    {AON_DOCKET_BULK, "state", "state", "number"},
    {AON_DOCKET_BULK, "holds", "holds", "number"},
    {AON_DOCKET_BULK, "undoes", "undoes", NULL},
    {AON_DOCKET_BULK, "images", "images_until_ms", NULL},
    {AON_DOCKET_LOCKS, "hashes", "hashes", NULL},
    {AON_DOCKET_BATCHES, "bulk", "bulk", "number"},
    {AON_DOCKET_CONFLICTS, "bulk", "bulk", "sequence"},
    {AON_DOCKET_CONFLICTS, "hash", "hash", NULL},
    {AON_DOCKET_CONFLICTS, "watched", "watched", "bulk"},
    {AON_DOCKET_NAMED, "name", "name", NULL},
    {AON_DOCKET_NAMED, "hash", "hash", NULL},
    {AON_DOCKET_WAITS, "name", "name", NULL},
    {AON_DOCKET_EVENTS, "number", "number", NULL},
    {AON_DOCKET_EVENTS, "bulk", "bulk_id", "number"},
    {AON_DOCKET_FILES, "bulk", "bulk", "role"},
    {AON_DOCKET_CHUNKS, "file", "file", NULL},
};

/* A command that may be given twice. *code: the server's own number. */
static aon_result make(aon_docket *d, bson_t *command, int fine, aon_error *error) {
  aon_error found = AON_ERROR_INIT;
  bson_t reply;
  aon_result result = AON_TRANSIENT;
  for (int i = 0; i < MAKE_TRIES && (result == AON_TRANSIENT || result == AON_UNKNOWN); i++) {
    if (i)
      aon_sleep_ms(d->env, 50 * i);
    found = (aon_error)AON_ERROR_INIT;
    result = aon_docket_command(d, NULL, bson_copy(command), AON_MONGODB_WRITE, "making its collections", &reply, &found);
    bson_destroy(&reply);
    if (result && fine && d->connection && aon_mongodb_code(d->connection) == fine)
      result = AON_OK;
  }
  bson_destroy(command);
  if (result && error)
    *error = found;
  return result;
}

static aon_result make_collections(aon_docket *d, size_t count, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < count; i++)
    result = make(d, BCON_NEW("create", BCON_UTF8(collections[i])), AON_MONGODB_NAMESPACE_EXISTS, error);
  for (size_t i = 0; !result && i < sizeof indexes / sizeof *indexes; i++) {
    const index_form *index = &indexes[i];
    bson_t *key = BCON_NEW(index->first, BCON_INT32(1));
    if (index->second)
      BSON_APPEND_INT32(key, index->second, 1);
    result = make(d,
                  BCON_NEW("createIndexes", BCON_UTF8(index->collection), "indexes", "[", "{", "key", BCON_DOCUMENT(key), "name",
                           BCON_UTF8(index->name), "}", "]"),
                  0, error);
    bson_destroy(key);
  }
  return result;
}

/* ---- version ---- */

typedef struct status {
  int64_t version, loading_until_ms; /* version 0: there is no journal yet */
} status;

static aon_result status_of(aon_docket *d, status *ret_status, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  *ret_status = (status){0};
  aon_result result = aon_docket_find(d, AON_DOCKET_META, BCON_NEW("_id", "version"), NULL, &rows, "looking for its version", error);
  if (result || !rows.count)
    return result;
  *ret_status =
      (status){.version = aon_docket_int(&rows.rows[0], "version"), .loading_until_ms = aon_docket_int(&rows.rows[0], "loading_until_ms")};
  if (ret_status->version <= 0)
    return aon_fail(error, AON_CORRUPT, "corrupt", "The journal has collections but no version of them. Restore it from a backup.");
  if (ret_status->version > VERSION)
    return aon_fail(error, AON_ENVIRONMENT, "newer_journal",
                    "The journal has schema version %lld; this program knows up to version %d. Use a newer program.",
                    (long long)ret_status->version, VERSION);
  return AON_OK;
}

aon_result aon_docket_loading(aon_docket *d, int64_t until_ms, aon_error *error) {
  return aon_docket_update(d, AON_DOCKET_META, BCON_NEW("_id", "version"),
                           BCON_NEW("$set", "{", "loading_until_ms", BCON_INT64(until_ms), "}"), false, NULL, error);
}

static aon_result whole_work(aon_docket *d, void *arguments, aon_error *error) {
  (void)arguments;
  aon_result result = aon_docket_delete(d, AON_DOCKET_META, BCON_NEW("_id", "{", "$ne", "version", "}"), NULL, error);
  return result ? result : aon_docket_loading(d, 0, error);
}

aon_result aon_docket_wipe(aon_docket *d, aon_error *error) {
  enum { NAMESPACE_NOT_FOUND = 26 };
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < OF_ITS_OWN; i++)
    result = make(d, BCON_NEW("drop", BCON_UTF8(collections[i])), NAMESPACE_NOT_FOUND, error);
  if (!result)
    result = make_collections(d, OF_ITS_OWN, error);
  return result ? result : aon_docket_write(d, "emptying it", whole_work, NULL, error);
}

/* ---- keys ---- */

static aon_result keys_load(aon_docket *d, bool fresh, aon_error *error) {
  aon_file_info info = {0};
  aon_keys_close(d->keys); /* of a look or an attempt before */
  d->keys = NULL;
  aon_result result = d->env->ops->file_info(d->env->context, d->key_file, &info, error);
  if (result)
    return result;
  if (!info.exists && fresh)
    return aon_keys_add(d->env, d->key_file, NULL, &d->keys, error);
  if (!info.exists)
    return aon_fail(
        error, AON_ENVIRONMENT, "missing_key",
        "The journal's key file “%s” is missing. Every machine that works with this journal needs the same one: copy it from one "
        "that has it, with mode 0600, or from a backup.",
        d->key_file);
  return aon_keys_read(d->env, d->key_file, &d->keys, error);
}

/* The file must have the key that was last in use here: another journal's would be noticed only when images can't be read any more. */
static aon_result keys_check(aon_docket *d, bool *ret_known, int64_t *ret_last, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  aon_result result =
      aon_docket_find(d, AON_DOCKET_KEYS, bson_new(), aon_docket_sorted("number", -1, 0), &rows, "looking for its keys", error);
  *ret_known = false;
  *ret_last = !result && rows.count ? aon_docket_int(&rows.rows[0], "number") : 0;
  for (size_t i = 0; !result && i < rows.count; i++) {
    const char *name = aon_docket_text(&rows.rows[i], "_id");
    if (name && !strcmp(name, aon_keys_name(d->keys, 0)))
      *ret_known = true;
  }
  const char *last = !result && rows.count ? aon_docket_text(&rows.rows[0], "_id") : NULL;
  if (!last || aon_keys_has(d->keys, last))
    return result;
  return aon_fail(
      error, AON_ENVIRONMENT, "missing_key",
      "The key file “%s” lacks the key %s, which the journal uses: it is an older one, or another journal's. Every machine that "
      "works with this journal needs the same file: copy it from one that has it, or from a backup.",
      d->key_file, last);
}

static aon_result note_key(aon_docket *d, int64_t number, aon_error *error) {
  return aon_docket_insert(
      d, AON_DOCKET_KEYS,
      BCON_NEW("_id", BCON_UTF8(aon_keys_name(d->keys, 0)), "number", BCON_INT64(number), "since_ms", BCON_INT64(d->now_ms)), error);
}

/* Nobody else makes or adds a key until this transaction ends. */
static aon_result keys_turn(aon_docket *d, aon_error *error) {
  int64_t ignored;
  return aon_docket_next(d, "keys", &ignored, error);
}

static aon_result prepare_work(aon_docket *d, void *arguments, aon_error *error) {
  (void)arguments;
  status is;
  bool known = false;
  int64_t last = 0;
  aon_result result = keys_turn(d, error);
  if (!result)
    result = status_of(d, &is, error);
  if (!result)
    result = keys_load(d, is.version == 0, error);
  if (!result)
    result = keys_check(d, &known, &last, error);
  if (!result && is.version == 0)
    result = aon_docket_insert(d, AON_DOCKET_META,
                               BCON_NEW("_id", "version", "version", BCON_INT64(VERSION), "loading_until_ms", BCON_INT64(0)), error);
  return result || known ? result : note_key(d, last + 1, error);
}

/* What a try before has put into the file is not added again. */
static aon_result rotate_work(aon_docket *d, void *arguments, aon_error *error) {
  (void)arguments;
  aon_keys *before, *keys;
  bool known = false;
  int64_t last = 0;
  aon_result result = keys_turn(d, error);
  if (!result)
    result = keys_load(d, false, error);
  if (!result)
    result = keys_check(d, &known, &last, error);
  if (!result && known) {
    before = d->keys;
    result = aon_keys_add(d->env, d->key_file, before, &keys, error);
    if (result)
      return result;
    aon_keys_close(before);
    d->keys = keys;
  }
  return result ? result : note_key(d, last + 1, error);
}

aon_result aon_docket_rotate_key(void *state, aon_error *error) {
  return aon_docket_write(state, "noting a new key", rotate_work, NULL, error);
}

/* ---- opening ---- */

/* Half of what a journal promises is that several documents change together. */
static aon_result has_transactions(aon_docket *d, aon_error *error) {
  bson_iter_t at;
  bson_t reply;
  aon_result result = aon_docket_ask(d, "admin", BCON_NEW("hello", BCON_INT32(1)), "connecting", &reply, error);
  bool able = !result && (bson_has_field(&reply, "setName") || (bson_iter_init_find(&at, &reply, "msg") && BSON_ITER_HOLDS_UTF8(&at)));
  bson_destroy(&reply);
  if (result || able)
    return result;
  return aon_fail(
      error, AON_ENVIRONMENT, "no_transactions",
      "The journal can't be kept in this MongoDB: a server alone has no transactions, without which a plan and its locks can't be "
      "recorded wholly or not at all. Make it a replica set (of one member, if need be), or keep the journal in PostgreSQL or SQLite.");
}

static aon_result refuse_loading(aon_error *error) {
  return aon_fail(
      error, AON_BUSY, "journal_loading",
      "Another journal is being copied into this one, or was not copied to its end. Wait for aon journal migrate, or run it again in "
      "two minutes: it begins anew.");
}

/* Mostly there is nothing to prepare, and no need to wait for anybody. */
static aon_result open_for_writing(aon_docket *d, aon_error *error) {
  status is;
  bool known = false;
  int64_t last, now_ms = 0;
  if (!d->key_file)
    return aon_fail(error, AON_USAGE, "no_key_file", "No key file is named for the journal. Set journal.key_file in the configuration.");
  aon_result result = status_of(d, &is, error);
  if (!result && is.loading_until_ms)
    result = aon_docket_now(d, &now_ms, error);
  if (!result && is.loading_until_ms > now_ms)
    return refuse_loading(error);
  if (!result && is.loading_until_ms)
    result = aon_docket_wipe(d, error);
  if (!result && is.version == VERSION) {
    result = keys_load(d, false, error);
    if (!result)
      result = keys_check(d, &known, &last, error);
  }
  if (!result && is.version == 0)
    result = make_collections(d, sizeof collections / sizeof *collections, error);
  return result || known ? result : aon_docket_write(d, "preparing it", prepare_work, NULL, error);
}

static aon_result open_for_reading(aon_docket *d, aon_error *error) {
  status is;
  aon_result result = status_of(d, &is, error);
  if (!result && is.loading_until_ms)
    return refuse_loading(error);
  d->absent = !result && is.version == 0;
  return result;
}

aon_result aon_docket_open(aon_env *env, const aon_journal_config *config, void **ret_docket, aon_error *error) {
  if (sodium_init() < 0)
    return aon_fail(error, AON_ENVIRONMENT, "no_randomness", "The machine gives no randomness (libsodium could not start).");
  aon_docket *d = calloc(1, sizeof *d);
  if (!d)
    return aon_fail_memory(error);
  *d = (aon_docket){.env = env, .read_only = config->read_only, .lease_ms = config->lease_ms > 0 ? config->lease_ms : AON_DOCKET_LEASE_MS};
  d->interrupt.wake = -1;
  d->url = strdup(config->location);
  d->key_file = config->key_file ? strdup(config->key_file) : NULL;
  aon_result result = !d->url || (config->key_file && !d->key_file) ? aon_fail_memory(error) : aon_interrupt_open(&d->interrupt, error);
  if (!result)
    result = has_transactions(d, error);
  if (!result)
    result = config->read_only ? open_for_reading(d, error) : open_for_writing(d, error);
  if (result) {
    aon_docket_close(d);
    return result;
  }
  *ret_docket = d;
  return AON_OK;
}

bool aon_docket_missing(const void *state) { return ((const aon_docket *)state)->absent; }

void aon_docket_close(void *state) {
  aon_docket *d = state;
  aon_docket_forget(d);
  aon_docket_names_drop(&d->names);
  aon_piece_drop(&d->piece);
  aon_segment_release(&d->writer);
  aon_keys_close(d->keys);
  aon_docket_hang_up(d);
  aon_docket_end(&d->session);
  aon_interrupt_close(&d->interrupt);
  free(d->url);
  free(d->key_file);
  free(d);
}

const aon_journal_backend aon_journal_mongodb = {
    .kind = "mongodb",
    .interface_version = AON_JOURNAL_INTERFACE,
    .open = aon_docket_open,
    .close = aon_docket_close,
    .missing = aon_docket_missing,
    .submit = aon_docket_submit,
    .get = aon_docket_get,
    .find = aon_docket_by_prefix,
    .list = aon_docket_list,
    .move = aon_docket_move,
    .update = aon_docket_change,
    .claim = aon_docket_claim,
    .renew = aon_docket_renew,
    .ask_cancel = aon_docket_ask_cancel,
    .take = aon_docket_take,
    .wait = aon_docket_wait,
    .file_put = aon_docket_file_put,
    .file_attach = aon_docket_file_attach,
    .file_find = aon_docket_file_find,
    .file_get = aon_docket_file_get,
    .file_drop = aon_docket_file_drop,
    .sweep_files = aon_docket_sweep_files,
    .log = aon_docket_log,
    .discard = aon_docket_discard,
    .last_of = aon_docket_last_of,
    .entries_open = aon_docket_entries_open,
    .entries_next = aon_piece_cursor_next,
    .entries_close = aon_piece_cursor_close,
    .collections = aon_docket_collections,
    .clear_images = aon_docket_clear_images,
    .stale = aon_docket_stale,
    .batch = aon_docket_batch,
    .batches = aon_docket_batches,
    .conflict_put = aon_docket_conflict_put,
    .conflict_drop = aon_docket_conflict_drop,
    .conflicts = aon_docket_conflicts,
    .holder = aon_docket_holder,
    .generation = aon_docket_generation,
    .lock = aon_docket_lock,
    .unlock = aon_docket_unlock,
    .locks = aon_docket_locks,
    .sweep_locks = aon_docket_sweep_locks,
    .event = aon_docket_event,
    .events = aon_docket_events,
    .room = aon_docket_room,
    .examine = aon_docket_examine,
    .rotate_key = aon_docket_rotate_key,
    .dump = aon_docket_dump,
    .load = aon_docket_load,
};
