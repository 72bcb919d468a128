/* What a database must do to be a journal. One constant table per kind; journal.c counts the step, refuses writes of
 * read-only handles and calls through it. The conformance suite (tests/journal) runs against the public functions, so it
 * is the same for every backend. Meanings, errors and invariants stand in journal.h. */
#ifndef AON_JOURNAL_BACKEND_H
#define AON_JOURNAL_BACKEND_H

#include "journal/copy.h"
#include "journal/journal.h"

#define AON_JOURNAL_INTERFACE 2

typedef struct aon_journal_backend {
  const char *kind; /* "sqlite", "postgresql", "mongodb" */
  uint32_t interface_version;

  aon_result (*open)(aon_env *env, const aon_journal_config *config, void **ret_state, aon_error *error);
  void (*close)(void *state);
  bool (*missing)(const void *state);

  aon_result (*submit)(void *state, const aon_submission *submission, aon_arena *arena, aon_bulk *ret_bulk, bool *ret_existed,
                       aon_error *error);
  aon_result (*get)(void *state, const char *id, aon_arena *arena, aon_bulk *ret_bulk, aon_error *error);
  aon_result (*find)(void *state, const char *prefix, char ret_id[37], aon_error *error);
  aon_result (*list)(void *state, const aon_bulk_filter *filter, aon_bulk_each each, void *context, aon_error *error);
  aon_result (*move)(void *state, const char *id, int64_t epoch, aon_state from, aon_state to, const aon_bulk_change *change,
                     aon_error *error);
  aon_result (*update)(void *state, const char *id, int64_t epoch, const aon_bulk_change *change, aon_error *error);
  aon_result (*claim)(void *state, const char *id, const aon_process *worker, aon_arena *arena, aon_bulk *ret_bulk, aon_error *error);
  aon_result (*renew)(void *state, const char *id, int64_t epoch, int64_t *ret_lease_until_ms, bool *ret_cancel_asked, aon_error *error);
  aon_result (*ask_cancel)(void *state, const char *id, aon_error *error);
  aon_result (*take)(void *state, const aon_take *what, aon_arena *arena, aon_bulk *ret_bulk, aon_error *error);
  aon_result (*wait)(void *state, int64_t longest_ms, aon_error *error); /* NULL: it sleeps */

  aon_result (*file_put)(void *state, const char *file, const aon_process *owner, uint32_t chunk, const void *bytes, size_t length,
                         aon_error *error);
  aon_result (*file_attach)(void *state, const char *id, int64_t epoch, const aon_journal_file *file, aon_error *error);
  aon_result (*file_find)(void *state, const char *id, aon_file_role role, aon_arena *arena, aon_journal_file *ret_file, aon_error *error);
  aon_result (*file_get)(void *state, const char *file, uint32_t chunk, aon_buffer *out, aon_error *error);
  aon_result (*file_drop)(void *state, const char *file, aon_error *error);
  aon_result (*sweep_files)(void *state, uint64_t *ret_freed, aon_error *error);

  aon_result (*log)(void *state, const char *id, int64_t epoch, const aon_operation *operations, size_t count, const aon_claimed *claims,
                    size_t claim_count, bool *ret_holder_older, aon_error *error);
  aon_result (*discard)(void *state, const char *id, int64_t epoch, aon_error *error);
  aon_result (*last_of)(void *state, const char *id, aon_last_query *queries, size_t count, aon_error *error);
  aon_result (*entries_open)(void *state, const char *id, int64_t first, int64_t last, bool backward, void **ret_cursor, aon_error *error);
  aon_result (*entries_next)(void *cursor, const aon_operation **ret_operations, size_t *ret_count, bool *ret_cleared, aon_error *error);
  void (*entries_close)(void *cursor);
  aon_result (*collections)(void *state, const char *id, aon_arena *arena, const aon_collection **ret_collections, size_t *ret_count,
                            aon_error *error);
  aon_result (*clear_images)(void *state, const char *id, aon_error *error);

  aon_result (*batch)(void *state, const char *id, int64_t epoch, const aon_batch *batch, aon_error *error);
  aon_result (*batches)(void *state, const char *id, aon_batch_each each, void *context, aon_error *error);
  aon_result (*conflict_put)(void *state, const char *id, int64_t epoch, const aon_conflict *conflict, aon_error *error);
  aon_result (*conflict_drop)(void *state, const char *id, int64_t epoch, int64_t sequence, aon_error *error);
  aon_result (*conflicts)(void *state, const char *id, aon_conflict_hear each, void *context, aon_error *error);

  aon_result (*holder)(void *state, const aon_collection *collection, aon_text document, aon_arena *arena, bool *ret_held,
                       aon_bulk *ret_bulk, aon_operation *ret_operation, aon_error *error);
  aon_result (*generation)(void *state, const char *store, int64_t *ret_generation, aon_error *error);

  aon_result (*lock)(void *state, const char *name, const char *holder, bool shared, int64_t lease_ms, int64_t *ret_epoch,
                     aon_error *error);
  aon_result (*unlock)(void *state, const char *name, const char *holder, int64_t epoch, aon_error *error);
  aon_result (*locks)(void *state, aon_lock_each each, void *context, aon_error *error);
  aon_result (*sweep_locks)(void *state, uint64_t *ret_freed, aon_error *error);

  aon_result (*event)(void *state, const aon_event *event, aon_error *error);
  aon_result (*events)(void *state, const char *bulk_id, int64_t after_number, aon_event_each each, void *context, aon_error *error);

  aon_result (*stale)(void *state, aon_stale_each each, void *context, aon_error *error);
  aon_result (*room)(void *state, uint64_t bytes, aon_error *error);
  aon_result (*examine)(void *state, aon_buffer *report, bool *ret_healthy, aon_error *error);
  aon_result (*rotate_key)(void *state, aon_error *error);

  aon_result (*dump)(void *state, aon_copy_put put, void *context, aon_error *error); /* one state of it, row by row */
  /* Takes in what feed gives, in one transaction: AON_USAGE journal_not_empty where there is something already. */
  aon_result (*load)(void *state, aon_copy_feed feed, void *feed_context, aon_error *error);
} aon_journal_backend;

extern const aon_journal_backend aon_journal_sqlite;     /* location: path of the file */
extern const aon_journal_backend aon_journal_postgresql; /* location: postgresql://… */
extern const aon_journal_backend aon_journal_mongodb;    /* location: mongodb://… */

/* The backend for a location: a path, "sqlite:PATH", "postgresql://…". AON_USAGE unknown_journal for other schemes. */
aon_result aon_journal_backend_find(const char *location, const aon_journal_backend **ret_backend, const char **ret_rest,
                                    aon_error *error) AON_MUST_USE;

/* For tests and diagnosis: the backend's own state behind a handle. */
void *aon_journal_state(aon_journal *journal);

/* What a claim says that another living worker is in the way of: AON_BUSY busy. */
aon_result aon_journal_held_by(const char *id, const aon_process *worker, int64_t left_ms, aon_error *error) AON_MUST_USE;
#endif
