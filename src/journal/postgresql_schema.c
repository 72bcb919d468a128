/* The register's tables, how they came about version by version, and how a register is opened.
 *
 * Invariants: schema and keys change in one transaction under one advisory lock, so programs that open a new journal at once agree on one
 * key, and a journal never exists without it; tables of a newer version are refused by its number; without the key that is in use here no
 * journal opens for writing. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "journal/postgresql_register.h"

#define LOCKED_TRIES 3

/* ---- tables ---- */

/* log names what belongs together of one plan: a plan that is discarded leaves its old one to the sweep and gets a new one. */
static const char *const schema_1[] = {
    "create sequence aon_journal_logs",
    "create sequence aon_journal_epochs", /* of named locks: never given twice */
    /* The clock of leases and of all times here; nothing else asks for the time. */
    "create function aon_journal_now() returns bigint language sql volatile as"
    " 'select (extract(epoch from clock_timestamp()) * 1000)::bigint'",
    "create table aon_journal_bulk (number bigint generated always as identity primary key, id text not null unique, idempotency_key text,"
    " digest text not null, organization text not null, \"user\" text, kind text, source text, pack text, undoes text, state text not null,"
    " epoch bigint not null, attempt bigint not null, dry_run boolean not null, hold_on_failure boolean not null,"
    " test_mode boolean not null, cancel_asked boolean not null default false, holds boolean not null default false,"
    " log bigint not null default nextval('aon_journal_logs'), logged bigint not null default 0, created_ms bigint not null,"
    " changed_ms bigint not null, finished_ms bigint not null default 0, age_ms bigint not null, lease_until_ms bigint not null default 0,"
    " hold_until_ms bigint not null default 0, images_until_ms bigint not null default 0, worker_boot text not null default '',"
    " worker_pid bigint not null default 0, worker_ticks bigint not null default 0, operations bigint not null default 0,"
    " progress bigint not null default 0, stores text, summary text, failure text, options text, token text not null, claim_token text not null default '')"
    " with (fillfactor = 70)",
    "create unique index aon_journal_bulk_key on aon_journal_bulk (organization, idempotency_key) where idempotency_key is not null",
    "create unique index aon_journal_bulk_log on aon_journal_bulk (log)",
    "create index aon_journal_bulk_holds on aon_journal_bulk (number) where holds",
    "create index aon_journal_bulk_state on aon_journal_bulk (state, number)",
    "create index aon_journal_bulk_images on aon_journal_bulk (images_until_ms) where images_until_ms > 0",
    "create index aon_journal_bulk_queue on aon_journal_bulk (age_ms, number) where state = 'queued'",
    "create index aon_journal_bulk_undoes on aon_journal_bulk (undoes, number) where undoes is not null",
    /* Names of the log: kind 0 collections with their settings as JSON, 1 texts. Their numbers count by kind. */
    "create table aon_journal_names (number bigint generated always as identity primary key, log bigint not null, kind bigint not null,"
    " name text not null)",
    "create index aon_journal_names_log on aon_journal_names (log, number)",
    "create table aon_journal_segments (log bigint not null, first bigint not null, count bigint not null, sealed boolean not null,"
    " operations_sum bytea not null, images_sum bytea, operations bytea not null, images bytea, primary key (log, first))",
    /* What is compressed or sealed already is not compressed again. */
    "alter table aon_journal_segments alter column operations set storage external, alter column images set storage external",
    /* One row for each operation's document (exclusive), unique value or document referred to (sequence -1). */
    "create table aon_journal_locks (hash bigint not null, log bigint not null, sequence bigint not null, shared boolean not null,"
    " primary key (hash, log, sequence, shared))",
    "create index aon_journal_locks_log on aon_journal_locks using brin (log) with (pages_per_range = 16, autosummarize = on)",
    "create table aon_journal_batches (number bigint generated always as identity, bulk bigint not null, store text not null,"
    " attempt bigint not null, batch bigint not null, first bigint not null, last bigint not null, status bigint not null,"
    " at_ms bigint not null, unanswered boolean not null, primary key (bulk, store, attempt, batch))",
    "create index aon_journal_batches_order on aon_journal_batches (bulk, number)",
    "create table aon_journal_conflicts (bulk bigint not null, sequence bigint not null, hash bigint not null, store text not null,"
    " collection text not null, document_id text not null, code text, sentence text, paths text, choice text, watched boolean not null,"
    " watch_until_ms bigint not null, since_ms bigint not null, primary key (bulk, sequence))",
    "create index aon_journal_conflicts_hash on aon_journal_conflicts (hash) where not watched",
    "create index aon_journal_conflicts_watched on aon_journal_conflicts (bulk) where watched",
    "create table aon_journal_generations (store text primary key, generation bigint not null)",
    /* hash: of the document that a lock of a document or a property is about. */
    "create table aon_journal_named (name text not null, holder text not null, kind text not null, hash bigint, shared boolean not null,"
    " epoch bigint not null, since_ms bigint not null, lease_until_ms bigint not null, updated_ms bigint not null,"
    " primary key (name, holder))",
    "create index aon_journal_named_hash on aon_journal_named (hash) where hash is not null",
    "create table aon_journal_waits (name text not null, holder text not null, since_ms bigint not null, until_ms bigint not null,"
    " primary key (name, holder))",
    "create table aon_journal_events (number bigint generated always as identity primary key, bulk_id text, at_ms bigint not null, who text,"
    " what text not null, detail text, token text not null unique)",
    "create index aon_journal_events_bulk on aon_journal_events (bulk_id, number)",
    "create table aon_journal_keys (number bigint generated always as identity primary key, name text not null unique,"
    " since_ms bigint not null)",
    /* A file's bulk is null until it is named; once it is doomed nobody may name it any more. */
    "create table aon_journal_files (number bigint generated always as identity primary key, id text not null unique, bulk bigint,"
    " role bigint not null default 0, bytes bigint not null default 0, put_ms bigint not null, until_ms bigint not null default 0,"
    " doomed boolean not null default false, owner_boot text not null, owner_pid bigint not null, owner_ticks bigint not null)",
    "create unique index aon_journal_files_bulk on aon_journal_files (bulk, role) where bulk is not null",
    "create table aon_journal_file_chunks (file bigint not null, chunk bigint not null, bytes bytea not null, primary key (file, chunk))",
    "alter table aon_journal_file_chunks alter column bytes set storage external",
    "create table aon_journal_waste (log bigint primary key)", /* logs whose locks bind nobody any more, for the sweep */
    "create table aon_journal_turn ()",                        /* locked by whoever asks who holds a document, and takes it */
    "create table aon_journal_tail ()",                        /* locked by whoever adds an event, so that their numbers appear in order */
    "create table aon_journal_version (version bigint not null)",
    "insert into aon_journal_version values (1)",
};

typedef struct schema_step {
  int version; /* that the journal has afterwards */
  const char *const *statements;
  size_t count;
} schema_step;

static const schema_step steps[] = {{1, schema_1, sizeof schema_1 / sizeof *schema_1}};
#define STEPS (sizeof steps / sizeof *steps)

int aon_register_version(void) { return steps[STEPS - 1].version; }

/* *ret_version 0: there are no tables yet. */
static aon_result version_of(aon_register *r, int64_t *ret_version, aon_error *error) {
  AON_REGISTER_CALL there = {0}, call = {0};
  *ret_version = 0;
  /* Asked of the catalogue's table: a look-up by name could be answered from what this connection knew before another made them. */
  aon_result result = aon_register_ask(
      r, &there, "looking for its tables",
      "select exists (select from pg_class where relname = 'aon_journal_version' and relkind = 'r' and pg_table_is_visible(oid))", error,
      "");
  if (result || !aon_register_int(&there, 0, 0, 0))
    return result;
  result = aon_register_ask(r, &call, "looking for its version", "select max(version) from aon_journal_version", error, "");
  if (!result)
    *ret_version = aon_register_int(&call, 0, 0, 0);
  if (!result && *ret_version <= 0)
    result = aon_fail(error, AON_CORRUPT, "corrupt", "The journal has tables but no version of them. Restore it from a backup.");
  return result;
}

static aon_result newer(int64_t version, aon_error *error) {
  return aon_fail(error, AON_ENVIRONMENT, "newer_journal",
                  "The journal has schema version %lld; this program knows up to version %d. Use a newer program.", (long long)version,
                  aon_register_version());
}

static aon_result migrate(aon_register *r, int64_t version, aon_error *error) {
  for (size_t i = 0; i < STEPS; i++) {
    AON_REGISTER_CALL call = {0};
    if (steps[i].version <= version)
      continue;
    for (size_t s = 0; s < steps[i].count; s++)
      aon_register_add(&call, steps[i].statements[s], "");
    aon_result result = aon_register_run(r, &call, "making its tables", error);
    if (result)
      return result;
  }
  return AON_OK;
}

/* ---- keys ---- */

static aon_result keys_load(aon_register *r, bool fresh, aon_error *error) {
  aon_file_info info = {0};
  aon_keys_close(r->keys); /* of a look or an attempt before */
  r->keys = NULL;
  aon_result result = r->env->ops->file_info(r->env->context, r->key_file, &info, error);
  if (result)
    return result;
  if (!info.exists && fresh)
    return aon_keys_add(r->env, r->key_file, NULL, &r->keys, error);
  if (!info.exists)
    return aon_fail(
        error, AON_ENVIRONMENT, "missing_key",
        "The journal's key file “%s” is missing. Every machine that works with this journal needs the same one: copy it from one "
        "that has it, with mode 0600, or from a backup.",
        r->key_file);
  return aon_keys_read(r->env, r->key_file, &r->keys, error);
}

/* The file must have the key that was last in use here: another journal's would be noticed only when images can't be read any more. */
static aon_result keys_check(aon_register *r, bool *ret_known, aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_result result = aon_register_ask(
      r, &call, "looking for its keys",
      "select name, exists (select from aon_journal_keys where name = $1) from aon_journal_keys order by number desc limit 1", error, "t",
      aon_keys_name(r->keys, 0));
  *ret_known = false;
  if (result || aon_register_rows(&call, 0) == 0)
    return result;
  *ret_known = aon_register_int(&call, 0, 0, 1) != 0;
  const char *last = aon_register_text(&call, 0, 0, 0);
  if (aon_keys_has(r->keys, last))
    return AON_OK;
  return aon_fail(
      error, AON_ENVIRONMENT, "missing_key",
      "The key file “%s” lacks the key %s, which the journal uses: it is an older one, or another journal's. Every machine that "
      "works with this journal needs the same file: copy it from one that has it, or from a backup.",
      r->key_file, last);
}

/* ---- opening ---- */

/* Within the transaction that holds the advisory lock. */
static aon_result prepare_work(aon_register *r, void *arguments, aon_error *error) {
  (void)arguments;
  int64_t version;
  bool known = false;
  aon_result result = version_of(r, &version, error);
  if (!result && version > aon_register_version())
    return newer(version, error);
  if (!result)
    result = migrate(r, version, error);
  if (!result)
    result = keys_load(r, version == 0, error);
  if (!result)
    result = keys_check(r, &known, error);
  AON_REGISTER_CALL call = {0};
  if (!result && !known)
    result = aon_register_ask(r, &call, "noting its key",
                              "insert into aon_journal_keys (name, since_ms) values ($1, aon_journal_now()) on conflict do nothing", error,
                              "t", aon_keys_name(r->keys, 0));
  return result;
}

/* One try; what it does is done again from its start if the connection broke, so it must bear that. */
static aon_result locked_once(aon_register *r, aon_register_work work, void *arguments, aon_error *error) {
  AON_REGISTER_CALL opening = {0}, closing = {0};
  aon_register_add(&opening, "begin", "");
  aon_register_add(&opening, "select pg_advisory_xact_lock($1)", "i", AON_REGISTER_ADVISORY);
  aon_result result = aon_register_run(r, &opening, "waiting for others who prepare it", error);
  if (result)
    return result;
  r->inside = true;
  result = work(r, arguments, error);
  if (!result)
    result = aon_register_ask(r, &closing, "preparing it", "commit", error, "");
  r->inside = false;
  aon_register_abandon(r);
  return result;
}

aon_result aon_register_locked(aon_register *r, bool again, aon_register_work work, void *arguments, aon_error *error) {
  aon_error failure = AON_ERROR_INIT;
  aon_result result = AON_TRANSIENT;
  for (int i = 0; result == AON_TRANSIENT && i < (again ? LOCKED_TRIES : 1); i++)
    result = locked_once(r, work, arguments, &failure);
  if (result && error)
    *error = failure;
  return result;
}

/* Mostly there is nothing to prepare, and no need to wait for anybody. */
static aon_result open_for_writing(aon_register *r, aon_error *error) {
  int64_t version;
  bool known = false;
  if (!r->key_file)
    return aon_fail(error, AON_USAGE, "no_key_file", "No key file is named for the journal. Set journal.key_file in the configuration.");
  aon_result result = version_of(r, &version, error);
  if (!result && version > aon_register_version())
    return newer(version, error);
  if (!result && version == aon_register_version()) {
    result = keys_load(r, false, error);
    if (!result)
      result = keys_check(r, &known, error);
  }
  return result || known ? result : aon_register_locked(r, true, prepare_work, NULL, error);
}

static aon_result open_for_reading(aon_register *r, aon_error *error) {
  int64_t version;
  aon_result result = version_of(r, &version, error);
  if (result)
    return result;
  if (version > aon_register_version())
    return newer(version, error);
  r->absent = version == 0;
  if (!r->absent && version < aon_register_version())
    return aon_fail(error, AON_ENVIRONMENT, "older_journal",
                    "The journal has the older schema version %lld. Run a command that writes (aon recover) to bring it up to version %d.",
                    (long long)version, aon_register_version());
  return AON_OK;
}

aon_result aon_register_open(aon_env *env, const aon_journal_config *config, void **ret_register, aon_error *error) {
  if (sodium_init() < 0)
    return aon_fail(error, AON_ENVIRONMENT, "no_randomness", "The machine gives no randomness (libsodium could not start).");
  aon_register *r = calloc(1, sizeof *r);
  if (!r)
    return aon_fail_memory(error);
  *r = (aon_register){
      .env = env, .read_only = config->read_only, .lease_ms = config->lease_ms > 0 ? config->lease_ms : AON_REGISTER_LEASE_MS};
  r->interrupt.wake = -1;
  r->url = strdup(config->location);
  r->key_file = config->key_file ? strdup(config->key_file) : NULL;
  aon_result result = !r->url || (config->key_file && !r->key_file) ? aon_fail_memory(error) : aon_interrupt_open(&r->interrupt, error);
  if (!result)
    result = config->read_only ? open_for_reading(r, error) : open_for_writing(r, error);
  if (result) {
    aon_register_close(r);
    return result;
  }
  *ret_register = r;
  return AON_OK;
}

void aon_register_close(void *state) {
  aon_register *r = state;
  aon_register_names_drop(&r->names);
  aon_piece_drop(&r->piece);
  aon_segment_release(&r->writer);
  aon_keys_close(r->keys);
  aon_postgresql_close(r->connection);
  aon_interrupt_close(&r->interrupt);
  free(r->url);
  free(r->key_file);
  free(r);
}

bool aon_register_missing(const void *state) { return ((const aon_register *)state)->absent; }

const aon_journal_backend aon_journal_postgresql = {
    .kind = "postgresql",
    .interface_version = AON_JOURNAL_INTERFACE,
    .open = aon_register_open,
    .close = aon_register_close,
    .missing = aon_register_missing,
    .submit = aon_register_submit,
    .get = aon_register_get,
    .find = aon_register_find,
    .list = aon_register_list,
    .move = aon_register_move,
    .update = aon_register_update,
    .claim = aon_register_claim,
    .renew = aon_register_renew,
    .ask_cancel = aon_register_ask_cancel,
    .take = aon_register_take,
    .wait = aon_register_wait,
    .file_put = aon_register_file_put,
    .file_attach = aon_register_file_attach,
    .file_find = aon_register_file_find,
    .file_get = aon_register_file_get,
    .file_drop = aon_register_file_drop,
    .sweep_files = aon_register_sweep_files,
    .log = aon_register_log,
    .discard = aon_register_discard,
    .last_of = aon_register_last_of,
    .entries_open = aon_register_entries_open,
    .entries_next = aon_piece_cursor_next,
    .entries_close = aon_piece_cursor_close,
    .collections = aon_register_collections,
    .clear_images = aon_register_clear_images,
    .stale = aon_register_stale,
    .batch = aon_register_batch,
    .batches = aon_register_batches,
    .conflict_put = aon_register_conflict_put,
    .conflict_drop = aon_register_conflict_drop,
    .conflicts = aon_register_conflicts,
    .holder = aon_register_holder,
    .generation = aon_register_generation,
    .lock = aon_register_lock,
    .unlock = aon_register_unlock,
    .locks = aon_register_locks,
    .sweep_locks = aon_register_sweep_locks,
    .event = aon_register_event,
    .events = aon_register_events,
    .room = aon_register_room,
    .examine = aon_register_examine,
    .rotate_key = aon_register_rotate_key,
    .dump = aon_register_dump,
    .load = aon_register_load,
};
