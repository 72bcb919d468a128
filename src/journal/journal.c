/* The journal's public functions: each counts one step of the environment, refuses a write through a read-only handle, and
 * hands over to the backend. Nothing else is decided here, so that every backend is tested by the same suite. */
#include "journal/journal.h"

#include <stdlib.h>
#include <string.h>

#include "journal/backend.h"

struct aon_journal {
  aon_env *env;
  const aon_journal_backend *backend;
  void *state;
  bool read_only;
};

struct aon_entries {
  aon_journal *journal;
  void *cursor;
};

static const aon_journal_backend *server_of(const char *location) {
  static const struct {
    const char *scheme;
    const aon_journal_backend *backend;
  } servers[] = {{"postgresql://", &aon_journal_postgresql},
                 {"postgres://", &aon_journal_postgresql},
                 {"mongodb://", &aon_journal_mongodb},
                 {"mongodb+srv://", &aon_journal_mongodb}};
  for (size_t i = 0; i < sizeof servers / sizeof *servers; i++)
    if (!strncmp(location, servers[i].scheme, strlen(servers[i].scheme)))
      return servers[i].backend;
  return NULL;
}

bool aon_journal_on_server(const char *location) { return server_of(location) != NULL; }

const char *aon_journal_kind(const char *location) {
  const aon_journal_backend *server = server_of(location);
  return server ? server->kind : aon_journal_sqlite.kind;
}

aon_result aon_journal_backend_find(const char *location, const aon_journal_backend **ret_backend, const char **ret_rest,
                                    aon_error *error) {
  if (!location || !*location)
    return aon_fail(error, AON_USAGE, "no_journal", "No place for the journal is given. Set journal.url in the configuration.");
  const char *rest = location;
  *ret_backend = &aon_journal_sqlite;
  if (!strncmp(location, "sqlite:", 7))
    rest = location + 7;
  else if (server_of(location))
    *ret_backend = server_of(location);
  else if (strstr(location, "://"))
    return aon_fail(error, AON_USAGE, "unknown_journal",
                    "A journal can't be kept in “%.*s”. Use sqlite:PATH, postgresql://… or mongodb://….", (int)strcspn(location, ":"),
                    location);
  *ret_rest = rest;
  return AON_OK;
}

aon_result aon_journal_open(aon_env *env, const aon_journal_config *config, aon_journal **ret_journal, aon_error *error) {
  aon_step(env, "journal.open");
  aon_journal_config found = *config;
  const aon_journal_backend *backend;
  aon_result result = aon_journal_backend_find(config->location, &backend, &found.location, error);
  if (result)
    return result;
  aon_journal *journal = calloc(1, sizeof *journal);
  if (!journal)
    return aon_fail_memory(error);
  *journal = (aon_journal){.env = env, .backend = backend, .read_only = config->read_only};
  result = backend->open(env, &found, &journal->state, error);
  if (result) {
    free(journal);
    return result;
  }
  *ret_journal = journal;
  return AON_OK;
}

void aon_journal_close(aon_journal *journal) {
  if (!journal)
    return;
  journal->backend->close(journal->state);
  free(journal);
}

bool aon_journal_missing(const aon_journal *journal) { return journal->backend->missing(journal->state); }

void *aon_journal_state(aon_journal *journal) { return journal->state; }

/* The step before a call that writes. */
static aon_result writing(aon_journal *journal, const char *what, aon_error *error) {
  aon_step(journal->env, what);
  if (journal->read_only)
    return aon_fail(error, AON_USAGE, "journal_read_only", "The journal is open for reading only, so nothing can be recorded in it.");
  return AON_OK;
}

aon_result aon_journal_submit(aon_journal *journal, const aon_submission *submission, aon_arena *arena, aon_bulk *ret_bulk,
                              bool *ret_existed, aon_error *error) {
  aon_result result = writing(journal, "journal.submit", error);
  return result ? result : journal->backend->submit(journal->state, submission, arena, ret_bulk, ret_existed, error);
}

aon_result aon_journal_get(aon_journal *journal, const char *id, aon_arena *arena, aon_bulk *ret_bulk, aon_error *error) {
  aon_step(journal->env, "journal.get");
  return journal->backend->get(journal->state, id, arena, ret_bulk, error);
}

aon_result aon_journal_find(aon_journal *journal, const char *prefix, char ret_id[37], aon_error *error) {
  aon_step(journal->env, "journal.find");
  return journal->backend->find(journal->state, prefix, ret_id, error);
}

aon_result aon_journal_list(aon_journal *journal, const aon_bulk_filter *filter, aon_bulk_each each, void *context, aon_error *error) {
  aon_step(journal->env, "journal.list");
  return journal->backend->list(journal->state, filter, each, context, error);
}

aon_result aon_journal_move(aon_journal *journal, const char *id, int64_t epoch, aon_state from, aon_state to,
                            const aon_bulk_change *change, aon_error *error) {
  aon_result result = writing(journal, "journal.move", error);
  return result ? result : journal->backend->move(journal->state, id, epoch, from, to, change, error);
}

aon_result aon_journal_update(aon_journal *journal, const char *id, int64_t epoch, const aon_bulk_change *change, aon_error *error) {
  aon_result result = writing(journal, "journal.update", error);
  return result ? result : journal->backend->update(journal->state, id, epoch, change, error);
}

aon_result aon_journal_claim(aon_journal *journal, const char *id, const aon_process *worker, aon_arena *arena, aon_bulk *ret_bulk,
                             aon_error *error) {
  aon_result result = writing(journal, "journal.claim", error);
  return result ? result : journal->backend->claim(journal->state, id, worker, arena, ret_bulk, error);
}

aon_result aon_journal_renew(aon_journal *journal, const char *id, int64_t epoch, int64_t *ret_lease_until_ms, bool *ret_cancel_asked,
                             aon_error *error) {
  aon_result result = writing(journal, "journal.renew", error);
  return result ? result : journal->backend->renew(journal->state, id, epoch, ret_lease_until_ms, ret_cancel_asked, error);
}

aon_result aon_journal_ask_cancel(aon_journal *journal, const char *id, aon_error *error) {
  aon_result result = writing(journal, "journal.ask_cancel", error);
  return result ? result : journal->backend->ask_cancel(journal->state, id, error);
}

aon_result aon_journal_take(aon_journal *journal, const aon_take *what, aon_arena *arena, aon_bulk *ret_bulk, aon_error *error) {
  aon_result result = writing(journal, "journal.take", error);
  return result ? result : journal->backend->take(journal->state, what, arena, ret_bulk, error);
}

aon_result aon_journal_wait(aon_journal *journal, int64_t longest_ms, aon_error *error) {
  aon_step(journal->env, "journal.wait");
  if (journal->backend->wait)
    return journal->backend->wait(journal->state, longest_ms, error);
  aon_sleep_ms(journal->env, longest_ms);
  return AON_OK;
}

aon_result aon_journal_file_put(aon_journal *journal, const char *file, const aon_process *owner, uint32_t chunk, const void *bytes,
                                size_t length, aon_error *error) {
  aon_result result = writing(journal, "journal.file_put", error);
  if (!result && (length > AON_FILE_CHUNK_BYTES || chunk >= AON_FILE_LIMIT_BYTES / AON_FILE_CHUNK_BYTES))
    result = aon_fail(error, AON_USAGE, "file_too_large", "A file in the journal has chunks of at most %zu bytes, and %llu MiB in all.",
                      AON_FILE_CHUNK_BYTES, (unsigned long long)(AON_FILE_LIMIT_BYTES >> 20));
  return result ? result : journal->backend->file_put(journal->state, file, owner, chunk, bytes, length, error);
}

aon_result aon_journal_file_attach(aon_journal *journal, const char *id, int64_t epoch, const aon_journal_file *file, aon_error *error) {
  aon_result result = writing(journal, "journal.file_attach", error);
  return result ? result : journal->backend->file_attach(journal->state, id, epoch, file, error);
}

aon_result aon_journal_file_find(aon_journal *journal, const char *id, aon_file_role role, aon_arena *arena, aon_journal_file *ret_file,
                                 aon_error *error) {
  aon_step(journal->env, "journal.file_find");
  return journal->backend->file_find(journal->state, id, role, arena, ret_file, error);
}

aon_result aon_journal_file_get(aon_journal *journal, const char *file, uint32_t chunk, aon_buffer *out, aon_error *error) {
  aon_step(journal->env, "journal.file_get");
  return journal->backend->file_get(journal->state, file, chunk, out, error);
}

aon_result aon_journal_file_drop(aon_journal *journal, const char *file, aon_error *error) {
  aon_result result = writing(journal, "journal.file_drop", error);
  return result ? result : journal->backend->file_drop(journal->state, file, error);
}

aon_result aon_journal_sweep_files(aon_journal *journal, uint64_t *ret_freed, aon_error *error) {
  aon_result result = writing(journal, "journal.sweep_files", error);
  return result ? result : journal->backend->sweep_files(journal->state, ret_freed, error);
}

aon_result aon_journal_log(aon_journal *journal, const char *id, int64_t epoch, const aon_operation *operations, size_t count,
                           const aon_claimed *claims, size_t claim_count, bool *ret_holder_older, aon_error *error) {
  aon_result result = writing(journal, "journal.log", error);
  return result ? result
                : journal->backend->log(journal->state, id, epoch, operations, count, claims, claim_count, ret_holder_older, error);
}

aon_result aon_journal_discard(aon_journal *journal, const char *id, int64_t epoch, aon_error *error) {
  aon_result result = writing(journal, "journal.discard", error);
  return result ? result : journal->backend->discard(journal->state, id, epoch, error);
}

aon_result aon_journal_last_of(aon_journal *journal, const char *id, uint64_t document_hash, const aon_collection *collection,
                               aon_text document, int64_t *ret_sequence, aon_error *error) {
  aon_last_query query = {.hash = document_hash, .collection = collection, .document = document};
  aon_result result = aon_journal_last_of_many(journal, id, &query, 1, error);
  if (!result)
    *ret_sequence = query.sequence;
  return result;
}

aon_result aon_journal_last_of_many(aon_journal *journal, const char *id, aon_last_query *queries, size_t count, aon_error *error) {
  aon_step(journal->env, "journal.last_of");
  return journal->backend->last_of(journal->state, id, queries, count, error);
}

aon_result aon_entries_open(aon_journal *journal, const char *id, int64_t first, int64_t last, bool backward, aon_entries **ret_entries,
                            aon_error *error) {
  aon_step(journal->env, "journal.entries_open");
  aon_entries *entries = calloc(1, sizeof *entries);
  if (!entries)
    return aon_fail_memory(error);
  entries->journal = journal;
  aon_result result = journal->backend->entries_open(journal->state, id, first, last, backward, &entries->cursor, error);
  if (result) {
    free(entries);
    return result;
  }
  *ret_entries = entries;
  return AON_OK;
}

aon_result aon_entries_next(aon_entries *entries, const aon_operation **ret_operations, size_t *ret_count, bool *ret_cleared,
                            aon_error *error) {
  aon_step(entries->journal->env, "journal.entries_next");
  return entries->journal->backend->entries_next(entries->cursor, ret_operations, ret_count, ret_cleared, error);
}

void aon_entries_close(aon_entries *entries) {
  if (!entries)
    return;
  entries->journal->backend->entries_close(entries->cursor);
  free(entries);
}

aon_result aon_journal_collections(aon_journal *journal, const char *id, aon_arena *arena, const aon_collection **ret_collections,
                                   size_t *ret_count, aon_error *error) {
  aon_step(journal->env, "journal.collections");
  return journal->backend->collections(journal->state, id, arena, ret_collections, ret_count, error);
}

aon_result aon_journal_clear_images(aon_journal *journal, const char *id, aon_error *error) {
  aon_result result = writing(journal, "journal.clear_images", error);
  return result ? result : journal->backend->clear_images(journal->state, id, error);
}

aon_result aon_journal_batch(aon_journal *journal, const char *id, int64_t epoch, const aon_batch *batch, aon_error *error) {
  aon_result result = writing(journal, "journal.batch", error);
  return result ? result : journal->backend->batch(journal->state, id, epoch, batch, error);
}

aon_result aon_journal_batches(aon_journal *journal, const char *id, aon_batch_each each, void *context, aon_error *error) {
  aon_step(journal->env, "journal.batches");
  return journal->backend->batches(journal->state, id, each, context, error);
}

aon_result aon_journal_conflict_put(aon_journal *journal, const char *id, int64_t epoch, const aon_conflict *conflict, aon_error *error) {
  aon_result result = writing(journal, "journal.conflict_put", error);
  return result ? result : journal->backend->conflict_put(journal->state, id, epoch, conflict, error);
}

aon_result aon_journal_conflict_drop(aon_journal *journal, const char *id, int64_t epoch, int64_t sequence, aon_error *error) {
  aon_result result = writing(journal, "journal.conflict_drop", error);
  return result ? result : journal->backend->conflict_drop(journal->state, id, epoch, sequence, error);
}

aon_result aon_journal_conflicts(aon_journal *journal, const char *id, aon_conflict_hear each, void *context, aon_error *error) {
  aon_step(journal->env, "journal.conflicts");
  return journal->backend->conflicts(journal->state, id, each, context, error);
}

aon_result aon_journal_holder(aon_journal *journal, const aon_collection *collection, aon_text document, aon_arena *arena, bool *ret_held,
                              aon_bulk *ret_bulk, aon_operation *ret_operation, aon_error *error) {
  aon_step(journal->env, "journal.holder");
  return journal->backend->holder(journal->state, collection, document, arena, ret_held, ret_bulk, ret_operation, error);
}

aon_result aon_journal_generation(aon_journal *journal, const char *store, int64_t *ret_generation, aon_error *error) {
  aon_step(journal->env, "journal.generation");
  return journal->backend->generation(journal->state, store, ret_generation, error);
}

aon_result aon_journal_lock(aon_journal *journal, const char *name, const char *holder, bool shared, int64_t lease_ms, int64_t *ret_epoch,
                            aon_error *error) {
  aon_result result = writing(journal, "journal.lock", error);
  return result ? result : journal->backend->lock(journal->state, name, holder, shared, lease_ms, ret_epoch, error);
}

aon_result aon_journal_unlock(aon_journal *journal, const char *name, const char *holder, int64_t epoch, aon_error *error) {
  aon_result result = writing(journal, "journal.unlock", error);
  return result ? result : journal->backend->unlock(journal->state, name, holder, epoch, error);
}

aon_result aon_journal_locks(aon_journal *journal, aon_lock_each each, void *context, aon_error *error) {
  aon_step(journal->env, "journal.locks");
  return journal->backend->locks(journal->state, each, context, error);
}

aon_result aon_journal_sweep_locks(aon_journal *journal, uint64_t *ret_freed, aon_error *error) {
  aon_result result = writing(journal, "journal.sweep_locks", error);
  return result ? result : journal->backend->sweep_locks(journal->state, ret_freed, error);
}

aon_result aon_journal_event(aon_journal *journal, const aon_event *event, aon_error *error) {
  aon_result result = writing(journal, "journal.event", error);
  return result ? result : journal->backend->event(journal->state, event, error);
}

aon_result aon_journal_events(aon_journal *journal, const char *bulk_id, int64_t after_number, aon_event_each each, void *context,
                              aon_error *error) {
  aon_step(journal->env, "journal.events");
  return journal->backend->events(journal->state, bulk_id, after_number, each, context, error);
}

aon_result aon_journal_stale(aon_journal *journal, aon_stale_each each, void *context, aon_error *error) {
  aon_step(journal->env, "journal.stale");
  return journal->backend->stale(journal->state, each, context, error);
}

aon_result aon_journal_room(aon_journal *journal, uint64_t bytes, aon_error *error) {
  aon_result result = writing(journal, "journal.room", error);
  return result ? result : journal->backend->room(journal->state, bytes, error);
}

aon_result aon_journal_examine(aon_journal *journal, aon_buffer *report, bool *ret_healthy, aon_error *error) {
  aon_step(journal->env, "journal.examine");
  return journal->backend->examine(journal->state, report, ret_healthy, error);
}

aon_result aon_journal_rotate_key(aon_journal *journal, aon_error *error) {
  aon_result result = writing(journal, "journal.rotate_key", error);
  return result ? result : journal->backend->rotate_key(journal->state, error);
}

/* ---- moving ---- */

typedef struct copying {
  aon_journal *from;
  aon_copy_put put; /* of the target */
  void *context;
  aon_journal_copied counts;
} copying;

static aon_result refuse_busy(void *context, const aon_bulk *bulk, aon_error *error) {
  aon_env *env = ((const copying *)context)->from->env;
  if (!bulk->worker.boot_id[0] || env->ops->process_dead(env->context, &bulk->worker))
    return AON_OK;
  return aon_fail(
      error, AON_BUSY, "busy",
      "Bulk operation %s is %s and has a worker (process %lld). Let it end, or run aon recover when its lease has run out, then move "
      "the journal.",
      bulk->id, aon_state_name(bulk->state), (long long)bulk->worker.pid);
}

static aon_result count_and_put(void *context, aon_copy_table table, const aon_copy_cell *cells, aon_error *error) {
  copying *copy = context;
  aon_journal_copied *counts = &copy->counts;
  uint64_t *const counter[AON_COPY_TABLES] = {[AON_COPY_BULK] = &counts->bulk,
                                              [AON_COPY_SEGMENTS] = &counts->segments,
                                              [AON_COPY_CONFLICTS] = &counts->conflicts,
                                              [AON_COPY_EVENTS] = &counts->events};
  if (counter[table])
    ++*counter[table];
  return copy->put(copy->context, table, cells, error);
}

static aon_result feed_from(void *feed_context, aon_copy_put put, void *context, aon_error *error) {
  copying *copy = feed_context;
  copy->put = put;
  copy->context = context;
  copy->counts = (aon_journal_copied){0};
  return copy->from->backend->dump(copy->from->state, count_and_put, copy, error);
}

aon_result aon_journal_copy(aon_journal *from, aon_journal *to, aon_journal_copied *ret_copied, aon_error *error) {
  copying copy = {.from = from};
  aon_step(from->env, "journal.dump");
  if (aon_journal_missing(from))
    return aon_fail(error, AON_USAGE, "no_journal", "There is no journal at the place that is to be copied.");
  aon_result result = from->backend->list(from->state, NULL, refuse_busy, &copy, error);
  if (!result)
    result = writing(to, "journal.load", error);
  if (!result)
    result = to->backend->load(to->state, feed_from, &copy, error);
  if (!result)
    *ret_copied = copy.counts;
  return result;
}

/* ---- for the backends ---- */

aon_result aon_journal_held_by(const char *id, const aon_process *worker, int64_t left_ms, aon_error *error) {
  char who[80];
  snprintf(who, sizeof who, "process %lld (boot %.8s)", (long long)worker->pid, worker->boot_id);
  aon_result result =
      aon_fail(error, AON_BUSY, "busy", "Bulk operation %s is being worked on by %s, whose lease runs for %lld more seconds.", id, who,
               (long long)(left_ms + 999) / 1000);
  if (error) {
    memcpy(error->held_by, who, sizeof error->held_by);
    snprintf(error->bulk_id, sizeof error->bulk_id, "%s", id);
  }
  return result;
}
