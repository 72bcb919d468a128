/* libaon: bulk changes across several databases that happen wholly or not at all.
 *
 * A session holds a journal, its stores and an organization. Every call that begins or ends a bulk operation gives a result: the JSON
 * object that `aon --json` prints (docs/reference.md), whatever became of it. Stores of the program's own are adapters (aon/store.h) or
 * callbacks (aon/callback.h), registered before the first operation.
 *
 * Ownership: texts given are borrowed for the call; results and reports are the caller's, freed with aon_result_text_free. A session
 * belongs to one thread at a time; several sessions, in one process or in many, may share a data folder.
 * Link with `pkg-config --libs libaon`. */
#ifndef AON_AON_H
#define AON_AON_H

#include "aon/result.h"
#include "aon/store.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct aon_session aon_session;

typedef struct aon_session_options {
  const char *data_folder;         /* journal.db, journal.key and the embedded stores; made with mode 0700 */
  const char *organization;        /* needed by imports */
  const char *user;                /* stands in the audit trail; NULL: "library" */
  const char *const *pack_folders; /* where packs are looked for by name, NULL-terminated; NULL: nowhere */
  aon_log_level log_level;         /* lines on standard error */
  bool embedded_stores;            /* main, realtime, settings and identity as SQLite files in the folder */
  aon_env *env; /* clock, files and so on of the program's own (aon/env.h), which outlives the session; NULL: the real ones */
} aon_session_options;

aon_result aon_session_open(const aon_session_options *options, aon_session **ret_session, aon_error *error) AON_MUST_USE;
void aon_session_close(aon_session *session);

/* Adds a store, or replaces the one of that name. Only before the first call below (AON_USAGE afterwards). The texts of config are copied;
 * adapter and what config->options points to must outlive the session. A store is opened when an operation first names it, so a wrong
 * location or wrong options are told then. Undo and recovery need the stores that the bulk operation had. */
aon_result aon_session_store(aon_session *session, const aon_store_adapter *adapter, const aon_store_config *config,
                             aon_error *error) AON_MUST_USE;

/* How to run a bulk operation. Start from AON_SESSION_RUN_INIT, which is also what NULL stands for. */
typedef struct aon_session_run {
  const char *id, *idempotency_key; /* NULL: made, none */
  bool dry_run, hold_on_failure;
  bool test_mode;       /* for tests: fail_at counts, and the journal keeps its entries */
  int64_t lock_wait_ms; /* 0: refused at once where another bulk operation holds a document */
  int64_t fail_at;      /* in test mode: this operation (from 0) fails; < 0: none */
} aon_session_run;
#define AON_SESSION_RUN_INIT                                                                                                               \
  {                                                                                                                                        \
    .id = NULL, .idempotency_key = NULL, .dry_run = false, .hold_on_failure = false, .test_mode = false, .lock_wait_ms = 30000,            \
    .fail_at = -1                                                                                                                          \
  }

/* The calls return AON_OK where the bulk operation came to an end, and *ret_result tells which: committed, rejected, rolled_back, held, ….
 * Another result means that none was begun, or that its end could not be reached (error->bulk_id names it then; recover goes on with it).
 * *ret_exit_status, which may be NULL, is what the program `aon` would exit with: 0 done, 1 usage or environment, 2 rejected, 3 rolled back
 * or cancelled, 4 a person must look, 5 busy, 6 held. */

/* A workbook, by a pack (a name in pack_folders, or a path). report: where to write the marked workbook, NULL: nowhere. */
aon_result aon_session_import(aon_session *session, const char *file, const char *pack, const char *report, const aon_session_run *run,
                              char **ret_result, int *ret_exit_status, aon_error *error) AON_MUST_USE;
/* Leaves a workbook in the journal for a worker: any session, here or elsewhere, that calls aon_session_work, or `aon serve
 * --workers-only`. The result has state queued; aon_session_show tells later what became of it. At most 100 MiB. */
aon_result aon_session_queue(aon_session *session, const char *file, const char *pack, const aon_session_run *run, char **ret_result,
                             int *ret_exit_status, aon_error *error) AON_MUST_USE;

/* Works on what is queued, the oldest first, one at a time, and recovers what dead workers left, until aon_session_cancel: what has not
 * begun to execute then goes back into the queue. Needs the stores and packs of whoever queued; an upload for which they differ is left to
 * others. Several sessions on threads of their own are several workers. work NULL: all organizations, for ever. */
typedef struct aon_session_worker {
  const char *organization;                         /* only its uploads; NULL: all */
  bool until_empty;                                 /* returns when nothing is left that it can take now, or the journal fails */
  void (*ended)(void *context, const char *result); /* each one's result, borrowed for the call; NULL */
  void *context;
} aon_session_worker;
aon_result aon_session_work(aon_session *session, const aon_session_worker *work, uint64_t *ret_taken /* NULL is allowed */,
                            aon_error *error) AON_MUST_USE;
/* Operations by line (docs/reference.md), as text. */
aon_result aon_session_apply(aon_session *session, const char *lines, size_t length, const aon_session_run *run, char **ret_result,
                             int *ret_exit_status, aon_error *error) AON_MUST_USE;
aon_result aon_session_undo(aon_session *session, const char *id, const aon_session_run *run, char **ret_result, int *ret_exit_status,
                            aon_error *error) AON_MUST_USE;
aon_result aon_session_rollback(aon_session *session, const char *id, const aon_session_run *run, char **ret_result, int *ret_exit_status,
                                aon_error *error) AON_MUST_USE;
aon_result aon_session_resume(aon_session *session, const char *id, const aon_session_run *run, char **ret_result, int *ret_exit_status,
                              aon_error *error) AON_MUST_USE;
aon_result aon_session_show(aon_session *session, const char *id, char **ret_result, aon_error *error) AON_MUST_USE;

/* One document as JSON, also while a bulk operation has it; *ret_document NULL: there is none.
 * Committed: until that bulk operation is decided the document as it was before it, from then on as it is after it, in all stores at one
 * instant; a document that waits for a person is shown as the store has it. Latest: what the store has, decided or not.
 * pack: as for an import, where the collection has a path or an id property of that pack; else NULL. The text is the caller's
 * (aon_result_text_free), untouched on failure; values that a pack calls sensitive are in it. Nothing is written, nothing recovered, and
 * aon_session_cancel does not stop it. AON_REJECTED: unknown_store, unknown_collection; AON_BUSY: others kept writing for 30 s. */
typedef enum aon_session_isolation { AON_ISOLATION_COMMITTED, AON_ISOLATION_LATEST } aon_session_isolation;
aon_result aon_session_get(aon_session *session, const char *store, const char *collection, const char *id, const char *pack,
                           aon_session_isolation isolation, char **ret_document, aon_error *error) AON_MUST_USE;

/* Decides on a document that a rollback could not put back: what aon_session_show lists under conflicts. document: STORE/COLLECTION/ID, or
 * "all". merged: the document to write, as JSON, for AON_CHOICE_MERGED; else NULL. */
typedef enum aon_session_choice { AON_CHOICE_KEEP_THEIRS, AON_CHOICE_FORCE, AON_CHOICE_MERGED } aon_session_choice;
aon_result aon_session_resolve(aon_session *session, const char *id, const char *document, aon_session_choice choice, const char *merged,
                               const aon_session_run *run, char **ret_result, int *ret_exit_status, aon_error *error) AON_MUST_USE;

/* What dead workers left is brought to an end; id NULL: all of it. The counts may be NULL: brought to an end, still open, waiting for a
 * person. */
aon_result aon_session_recover(aon_session *session, const char *id, uint64_t *ret_recovered, uint64_t *ret_open, uint64_t *ret_person,
                               aon_error *error) AON_MUST_USE;

/* What a store says of itself, a finding a line, as `aon doctor` prints it; *ret_healthy false: a person must look. ret_healthy may be
 * NULL. */
aon_result aon_session_examine(aon_session *session, const char *store, char **ret_report, bool *ret_healthy,
                               aon_error *error) AON_MUST_USE;

/* Asks the call under way to stop: it rolls back, unless everything is decided already. From any thread and from signal handlers; without a
 * call under way it does nothing. */
void aon_session_cancel(aon_session *session);

void aon_result_text_free(char *text); /* NULL is allowed */

#ifdef __cplusplus
}
#endif
#endif
