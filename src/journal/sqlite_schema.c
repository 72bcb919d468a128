/* The ledger's tables, how they came about version by version, and how a ledger is opened.
 *
 * Invariants: a file that is not a journal is never written; a journal of a newer version is refused by its number, an older
 * one is brought up step by step in one transaction; the key is made inside the transaction that makes the schema, so two
 * programs that open a new journal at once agree on one key, and a journal never exists without it. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "journal/sqlite_ledger.h"

#define LABEL "the journal"
#define CREATE_TRIES 50
#define CREATE_WAIT_MS 100
#define PREPARE_TRIES 6 /* each waits AON_LEDGER_BUSY_MS: nothing is lost yet by waiting for the one that makes the schema */

static const char schema_1[] =
    "create table bulk (number integer primary key autoincrement, id text not null unique, idempotency_key text, digest text not null,"
    " organization text not null, user text, kind text, source text, pack text, undoes text, state text not null, epoch integer not null,"
    " attempt integer not null, dry_run integer not null, hold_on_failure integer not null, test_mode integer not null,"
    " cancel_asked integer not null default 0, holds integer not null default 0, logged integer not null default 0,"
    " created_ms integer not null, changed_ms integer not null, finished_ms integer not null default 0, age_ms integer not null,"
    " lease_until_ms integer not null default 0, hold_until_ms integer not null default 0, images_until_ms integer not null default 0,"
    " worker_boot text not null default '', worker_pid integer not null default 0, worker_ticks integer not null default 0,"
    " operations integer not null default 0, progress integer not null default 0, stores text, summary text, failure text) strict;"
    "create unique index bulk_key on bulk (organization, idempotency_key) where idempotency_key is not null;"
    "create index bulk_holds on bulk (number) where holds = 1;"
    "create index bulk_state on bulk (state, number);"
    "create index bulk_images on bulk (images_until_ms) where images_until_ms > 0;"
    "create index bulk_undoes on bulk (undoes, number) where undoes is not null;"
    /* Names of the log: kind 0 collections with their settings as JSON, 1 texts. Their numbers count by kind. */
    "create table names (number integer primary key autoincrement, bulk integer not null, kind integer not null, name text not null) "
    "strict;"
    "create index names_bulk on names (bulk, number);"
    "create table segments (number integer primary key autoincrement, bulk integer not null, first integer not null, count integer not "
    "null,"
    " sealed integer not null, operations_sum blob not null, images_sum blob, operations blob not null, images blob) strict;"
    "create unique index segments_bulk on segments (bulk, first);"
    "create table lock_runs (number integer primary key autoincrement, bulk integer not null, first integer not null, shared integer not "
    "null,"
    " count integer not null, hashes blob not null) strict;"
    "create index lock_runs_bulk on lock_runs (bulk, first);"
    "create table batches (number integer primary key autoincrement, bulk integer not null, store text not null, attempt integer not null,"
    " batch integer not null, first integer not null, last integer not null, status integer not null, at_ms integer not null,"
    " unanswered integer not null) strict;"
    "create unique index batches_bulk on batches (bulk, store, attempt, batch);"
    "create index batches_order on batches (bulk, number);"
    "create table conflicts (bulk integer not null, sequence integer not null, hash integer not null, store text not null,"
    " collection text not null, document_id text not null, code text, sentence text, paths text, choice text, watched integer not null,"
    " watch_until_ms integer not null, since_ms integer not null, primary key (bulk, sequence)) strict, without rowid;"
    "create index conflicts_hash on conflicts (hash) where watched = 0;"
    "create index conflicts_watched on conflicts (bulk) where watched = 1;"
    "create table generations (store text primary key, generation integer not null) strict, without rowid;"
    /* hash: of the document that a lock of a document or a property is about. */
    "create table named_locks (name text not null, holder text not null, kind text not null, hash integer, shared integer not null,"
    " epoch integer not null, since_ms integer not null, lease_until_ms integer not null, updated_ms integer not null,"
    " primary key (name, holder)) strict, without rowid;"
    "create index named_locks_hash on named_locks (hash) where hash is not null;"
    "create table lock_waits (name text not null, holder text not null, since_ms integer not null, until_ms integer not null,"
    " primary key (name, holder)) strict, without rowid;"
    "create table lock_epoch (one integer primary key check (one = 1), epoch integer not null) strict;"
    "insert into lock_epoch values (1, 0);"
    "create table events (number integer primary key autoincrement, bulk_id text, at_ms integer not null, who text, what text not null,"
    " detail text) strict;"
    "create index events_bulk on events (bulk_id, number);"
    "create table keys (number integer primary key autoincrement, name text not null unique, since_ms integer not null) strict;";

/* 2: another kind of sum. A string that its old sum belies keeps that one: it is damaged now as it was before. */
static const char schema_2[] =
    "update segments set operations_sum = new_sum((select id from bulk where number = segments.bulk), first, 0, operations, operations_sum),"
    " images_sum = new_sum((select id from bulk where number = segments.bulk), first, 1, images, images_sum)";

/* 3: a queue that workers share, and files. A file's bulk is null until it is named, doomed is 1 from when nobody may name it any more. */
static const char schema_3[] =
    "alter table bulk add column options text;"
    "create index bulk_queue on bulk (age_ms, number) where state = 'queued';"
    "create table files (number integer primary key autoincrement, id text not null unique, bulk integer, role integer not null default 0,"
    " bytes integer not null default 0, put_ms integer not null, until_ms integer not null default 0, doomed integer not null default 0,"
    " owner_boot text not null, owner_pid integer not null, owner_ticks integer not null) strict;"
    "create unique index files_bulk on files (bulk, role) where bulk is not null;"
    "create table file_chunks (number integer primary key autoincrement, file integer not null, chunk integer not null, bytes blob not null)"
    " strict;"
    "create unique index file_chunks_file on file_chunks (file, chunk);";

static const aon_ledger_step steps[] = {{1, schema_1}, {2, schema_2}, {3, schema_3}};
#define STEPS (sizeof steps / sizeof *steps)

static void new_sum(sqlite3_context *context, int count, sqlite3_value **values) {
  unsigned char sum[AON_SEGMENT_SUM_BYTES];
  const char *id = (const char *)sqlite3_value_text(values[0]);
  (void)count;
  if (!id || sqlite3_value_type(values[3]) == SQLITE_NULL || sqlite3_value_bytes(values[4]) != (int)sizeof sum) {
    sqlite3_result_value(context, values[4]);
    return;
  }
  int64_t first = sqlite3_value_int64(values[1]);
  aon_segment_role role = (aon_segment_role)sqlite3_value_int(values[2]);
  const void *bytes = sqlite3_value_blob(values[3]);
  size_t length = (size_t)sqlite3_value_bytes(values[3]);
  aon_segment_sum_1(id, first, role, bytes, length, sum);
  if (memcmp(sum, sqlite3_value_blob(values[4]), sizeof sum) == 0)
    aon_segment_sum(id, first, role, bytes, length, sum);
  else
    memcpy(sum, sqlite3_value_blob(values[4]), sizeof sum);
  sqlite3_result_blob(context, sum, sizeof sum, SQLITE_TRANSIENT);
}

int aon_ledger_version(void) { return steps[STEPS - 1].version; }

static aon_result set_version(aon_ledger *ledger, int version, aon_error *error) {
  char sql[96];
  snprintf(sql, sizeof sql, "pragma user_version=%d; pragma application_id=%d", version, AON_LEDGER_APPLICATION);
  return aon_sqlite_execute(ledger->database, sql, error);
}

static aon_result version_of(aon_ledger *ledger, int64_t *ret_version, bool *ret_empty, aon_error *error) {
  int64_t application = 0, tables = 0;
  *ret_version = 0;
  aon_result result = aon_ledger_number(ledger, "pragma application_id", &application, error, "");
  if (!result)
    result = aon_ledger_number(ledger, "pragma user_version", ret_version, error, "");
  if (!result)
    result = aon_ledger_number(ledger, "select count(*) from sqlite_schema", &tables, error, "");
  if (result)
    return result;
  *ret_empty = tables == 0 && *ret_version == 0;
  if (!*ret_empty && application != AON_LEDGER_APPLICATION)
    return aon_fail(error, AON_ENVIRONMENT, "not_a_journal", "“%s” is a database of another program, not a journal. Name another file.",
                    ledger->location);
  return AON_OK;
}

static aon_result newer(aon_ledger *ledger, int64_t version, int known, aon_error *error) {
  return aon_fail(error, AON_ENVIRONMENT, "newer_journal",
                  "The journal “%s” has schema version %lld; this program knows up to version %d. Use a newer program.", ledger->location,
                  (long long)version, known);
}

aon_result aon_ledger_migrate(aon_ledger *ledger, const aon_ledger_step *list, size_t count, bool *ret_fresh, aon_error *error) {
  int64_t version;
  bool empty;
  aon_result result = version_of(ledger, &version, &empty, error);
  if (result)
    return result;
  if (version > list[count - 1].version)
    return newer(ledger, version, list[count - 1].version, error);
  int rc = sqlite3_create_function(aon_sqlite_handle(ledger->database), "new_sum", 5, SQLITE_UTF8, NULL, new_sum, NULL, NULL);
  if (rc)
    return aon_sqlite_fail(ledger->database, rc, "bringing it up to date", error);
  for (size_t i = 0; !result && i < count; i++) {
    if (list[i].version <= version)
      continue;
    result = aon_sqlite_execute(ledger->database, list[i].sql, error);
    if (!result)
      result = set_version(ledger, list[i].version, error);
  }
  if (!result)
    *ret_fresh = empty;
  return result;
}

/* ---- keys ---- */

static aon_result keys_load(aon_ledger *ledger, bool fresh, aon_error *error) {
  aon_file_info info = {0};
  aon_result result = ledger->env->ops->file_info(ledger->env->context, ledger->key_file, &info, error);
  if (result)
    return result;
  if (!info.exists && fresh)
    return aon_keys_add(ledger->env, ledger->key_file, NULL, &ledger->keys, error);
  return aon_keys_read(ledger->env, ledger->key_file, &ledger->keys, error);
}

/* The file must have the key that was last in use here: a key file of another journal would be noticed only when images can't be
 * read any more. */
static aon_result keys_check(aon_ledger *ledger, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result = aon_ledger_query(ledger, "select name from keys order by number desc limit 1", &statement, error, "");
  if (!result)
    result = aon_sqlite_step(ledger->database, statement, error);
  if (!result && !aon_keys_has(ledger->keys, aon_ledger_text(statement, 0)))
    return aon_fail(
        error, AON_ENVIRONMENT, "missing_key",
        "The key file “%s” lacks the key %s, which the journal “%s” uses: it is an older one, or another journal's. Put the right "
        "one back from a backup.",
        ledger->key_file, aon_ledger_text(statement, 0), ledger->location);
  return result == AON_END ? AON_OK : result;
}

/* ---- opening ---- */

static aon_result prepare(aon_ledger *ledger, void *arguments, aon_error *error) {
  (void)arguments;
  bool fresh;
  aon_keys_close(ledger->keys); /* of a look or an attempt before */
  ledger->keys = NULL;
  aon_result result = aon_ledger_migrate(ledger, steps, STEPS, &fresh, error);
  if (!result)
    result = keys_load(ledger, fresh, error);
  if (!result)
    result = keys_check(ledger, error);
  return result ? result
                : aon_ledger_run(ledger, "insert into keys (name, since_ms) values (?, ?) on conflict do nothing", error, "ti",
                                 aon_keys_name(ledger->keys, 0), aon_now_ms(ledger->env));
}

/* Mostly there is nothing to prepare, and no need to wait for whoever is writing. */
static aon_result is_prepared(aon_ledger *ledger, bool *ret_prepared, aon_error *error) {
  int64_t version, known = 0;
  bool empty;
  *ret_prepared = false;
  aon_result result = version_of(ledger, &version, &empty, error);
  if (result || version != aon_ledger_version())
    return result;
  result = keys_load(ledger, false, error);
  if (!result)
    result = keys_check(ledger, error);
  if (!result)
    result = aon_ledger_number(ledger, "select 1 from keys where name = ?", &known, error, "t", aon_keys_name(ledger->keys, 0));
  *ret_prepared = known != 0;
  return result;
}

static aon_result prepare_patiently(aon_ledger *ledger, aon_error *error) {
  bool prepared;
  aon_error failure = AON_ERROR_INIT;
  aon_result result = is_prepared(ledger, &prepared, &failure);
  if (result == AON_TRANSIENT || (!result && !prepared)) {
    result = AON_TRANSIENT;
    for (int i = 0; result == AON_TRANSIENT && i < PREPARE_TRIES; i++)
      result = aon_ledger_write(ledger, true, prepare, NULL, &failure);
  }
  if (result && error)
    *error = failure;
  return result;
}

static aon_result open_database(aon_ledger *ledger, aon_sqlite_mode mode, const char *path, aon_error *error) {
  return aon_sqlite_open(ledger->env, LABEL, path, mode, AON_LEDGER_BUSY_MS, &ledger->database, error);
}

/* A file of another program or of a newer one is left as it is. */
static aon_result open_in_wal(aon_ledger *ledger, aon_error *error) {
  int64_t version;
  bool empty;
  aon_result result = open_database(ledger, AON_SQLITE_CREATE_LARGE, ledger->location, error);
  if (!result)
    result = version_of(ledger, &version, &empty, error);
  if (!result && version > aon_ledger_version())
    result = newer(ledger, version, aon_ledger_version(), error);
  /* A journal that somebody set to another mode would not be durable as sqlite_ledger.h says. */
  if (!result)
    result = aon_sqlite_execute(ledger->database, "pragma journal_mode=wal; pragma secure_delete=fast", error);
  return result;
}

/* SQLite doesn't wait where two programs change the mode of a new file at once. */
static aon_result open_patiently(aon_ledger *ledger, aon_error *error) {
  aon_error failure = AON_ERROR_INIT;
  aon_result result = AON_TRANSIENT;
  for (int i = 0; result == AON_TRANSIENT && i < CREATE_TRIES; i++) {
    if (i > 0)
      aon_sleep_ms(ledger->env, CREATE_WAIT_MS);
    aon_sqlite_close(ledger->database);
    ledger->database = NULL;
    result = open_in_wal(ledger, &failure);
  }
  if (result && error)
    *error = failure;
  return result;
}

static aon_result open_for_writing(aon_ledger *ledger, const aon_journal_config *config, aon_error *error) {
  if (!ledger->key_file)
    return aon_fail(error, AON_USAGE, "no_key_file",
                    "No key file is named for the journal “%s”. Set journal.key_file in the configuration.", ledger->location);
  aon_result result = open_patiently(ledger, error);
  ledger->syncing = true; /* as aon_sqlite_open leaves it, in each mode */
  if (!result)
    result = aon_reserve_open(&ledger->reserve, ledger->env, ledger->location, config->reserve_bytes, error);
  return result ? result : prepare_patiently(ledger, error);
}

/* A journal that isn't there reads as an empty one: an empty one in memory. */
static aon_result open_absent(aon_ledger *ledger, aon_error *error) {
  aon_sqlite_close(ledger->database);
  ledger->database = NULL;
  ledger->absent = true;
  aon_result result = open_database(ledger, AON_SQLITE_WRITE, ":memory:", error);
  if (!result)
    result = aon_sqlite_execute(ledger->database, schema_1, error);
  return result ? result : aon_sqlite_execute(ledger->database, schema_3, error); /* 2 changes no table */
}

/* A connection that may write, with writing switched off: one that may not would leave a -shm file behind, and could not see
 * what a program that is running has written. What a killed program left in the -wal file stays as it is. */
static aon_result open_for_reading(aon_ledger *ledger, aon_error *error) {
  aon_env *env = ledger->env;
  aon_file_info info, wal;
  AON_BUFFER_CLEANUP aon_buffer wal_path = {0};
  aon_result result = env->ops->file_info(env->context, ledger->location, &info, error);
  if (!result && (!info.exists || info.size_bytes == 0))
    return open_absent(ledger, error);
  if (!result)
    result = aon_buffer_format(&wal_path, error, "%s-wal", ledger->location);
  if (!result)
    result = env->ops->file_info(env->context, wal_path.data, &wal, error);
  if (!result)
    result = open_database(ledger, AON_SQLITE_WRITE, ledger->location, error);
  if (!result && wal.exists)
    sqlite3_db_config(aon_sqlite_handle(ledger->database), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
  int64_t version;
  bool empty;
  if (!result)
    result = aon_sqlite_execute(ledger->database, "pragma query_only=on", error);
  if (!result)
    result = version_of(ledger, &version, &empty, error);
  if (result)
    return result;
  if (empty) /* another program is just making it */
    return open_absent(ledger, error);
  if (version > aon_ledger_version())
    return newer(ledger, version, aon_ledger_version(), error);
  if (version < aon_ledger_version())
    return aon_fail(
        error, AON_ENVIRONMENT, "older_journal",
        "The journal “%s” has the older schema version %lld. Run a command that writes (aon recover) to bring it up to version %d.",
        ledger->location, (long long)version, aon_ledger_version());
  return AON_OK;
}

aon_result aon_ledger_open(aon_env *env, const aon_journal_config *config, void **ret_ledger, aon_error *error) {
  if (sodium_init() < 0)
    return aon_fail(error, AON_ENVIRONMENT, "no_randomness", "The machine gives no randomness (libsodium could not start).");
  aon_ledger *ledger = calloc(1, sizeof *ledger);
  if (!ledger)
    return aon_fail_memory(error);
  *ledger =
      (aon_ledger){.env = env, .read_only = config->read_only, .lease_ms = config->lease_ms > 0 ? config->lease_ms : AON_LEDGER_LEASE_MS};
  ledger->location = strdup(config->location);
  ledger->key_file = config->key_file ? strdup(config->key_file) : NULL;
  aon_result result = AON_OK;
  if (!ledger->location || (config->key_file && !ledger->key_file))
    result = aon_fail_memory(error);
  if (!result)
    result = config->read_only ? open_for_reading(ledger, error) : open_for_writing(ledger, config, error);
  if (result) {
    aon_ledger_close(ledger);
    return result;
  }
  *ret_ledger = ledger;
  return AON_OK;
}

void aon_ledger_close(void *state) {
  aon_ledger *ledger = state;
  aon_ledger_names_drop(&ledger->written);
  aon_ledger_names_drop(&ledger->read);
  aon_segment_release(&ledger->writer);
  aon_buffer_release(&ledger->sealed);
  aon_buffer_release(&ledger->run);
  aon_ledger_pieces_drop(ledger);
  aon_ledger_chain_drop(ledger);
  aon_filter_release(&ledger->filter);
  aon_reserve_close(&ledger->reserve);
  aon_keys_close(ledger->keys);
  aon_sqlite_close(ledger->database);
  for (size_t i = 0; i < AON_LEDGER_LISTINGS; i++)
    free(ledger->listings[i]);
  free(ledger->location);
  free(ledger->key_file);
  free(ledger);
}

bool aon_ledger_missing(const void *state) { return ((const aon_ledger *)state)->absent; }

const aon_journal_backend aon_journal_sqlite = {
    .kind = "sqlite",
    .interface_version = AON_JOURNAL_INTERFACE,
    .open = aon_ledger_open,
    .close = aon_ledger_close,
    .missing = aon_ledger_missing,
    .submit = aon_ledger_submit,
    .get = aon_ledger_get,
    .find = aon_ledger_find,
    .list = aon_ledger_list,
    .move = aon_ledger_move,
    .update = aon_ledger_update,
    .claim = aon_ledger_claim,
    .renew = aon_ledger_renew,
    .ask_cancel = aon_ledger_ask_cancel,
    .take = aon_ledger_take,
    .wait = aon_ledger_wait,
    .file_put = aon_ledger_file_put,
    .file_attach = aon_ledger_file_attach,
    .file_find = aon_ledger_file_find,
    .file_get = aon_ledger_file_get,
    .file_drop = aon_ledger_file_drop,
    .sweep_files = aon_ledger_sweep_files,
    .log = aon_ledger_log,
    .discard = aon_ledger_discard,
    .last_of = aon_ledger_last_of,
    .entries_open = aon_ledger_entries_open,
    .entries_next = aon_ledger_entries_next,
    .entries_close = aon_ledger_entries_close,
    .collections = aon_ledger_collections,
    .clear_images = aon_ledger_clear_images,
    .stale = aon_ledger_stale,
    .batch = aon_ledger_batch,
    .batches = aon_ledger_batches,
    .conflict_put = aon_ledger_conflict_put,
    .conflict_drop = aon_ledger_conflict_drop,
    .conflicts = aon_ledger_conflicts,
    .holder = aon_ledger_holder,
    .generation = aon_ledger_generation,
    .lock = aon_ledger_lock,
    .unlock = aon_ledger_unlock,
    .locks = aon_ledger_locks,
    .sweep_locks = aon_ledger_sweep_locks,
    .event = aon_ledger_event,
    .events = aon_ledger_events,
    .room = aon_ledger_room,
    .examine = aon_ledger_examine,
    .rotate_key = aon_ledger_rotate_key,
    .dump = aon_ledger_dump,
    .load = aon_ledger_load,
};
