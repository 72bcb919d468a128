/* libaon: bulk changes across several databases that happen wholly or not at all.
 *
 * A session holds a journal, its stores and an organization. Every call that begins or ends a bulk operation gives a result: the JSON object
 * that `aon --json` prints (docs/reference.md), whatever became of it. Stores of the program's own are adapters (aon/store.h) or callbacks
 * (aon/callback.h), registered before the first operation.
 *
 * Ownership: texts given are borrowed for the call; results are the caller's, freed with aon_result_text_free. A session belongs to one thread
 * at a time; several sessions, in one process or in many, may share a data folder.
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
  const char *data_folder;  /* journal.db, journal.key and the embedded stores; made with mode 0700 */
  const char *organization; /* needed by imports */
  const char *user;         /* stands in the audit trail; NULL: "library" */
  const char *const *pack_folders; /* where packs are looked for by name, NULL-terminated; NULL: nowhere */
  aon_log_level log_level;  /* lines on standard error */
  bool embedded_stores;     /* main, realtime, settings and identity as SQLite files in the folder */
} aon_session_options;

aon_result aon_session_open(const aon_session_options *options, aon_session **ret_session, aon_error *error) AON_MUST_USE;
void aon_session_close(aon_session *session);

/* Adds a store, or replaces the one of that name. Only before the first call below (AON_USAGE afterwards). The texts of config are copied,
 * adapter and what config->location points to must outlive the session. */
aon_result aon_session_store(aon_session *session, const aon_store_adapter *adapter, const aon_store_config *config, aon_error *error) AON_MUST_USE;

typedef struct aon_session_run {
  const char *id, *idempotency_key; /* NULL: made, none */
  bool dry_run, hold_on_failure;
  int64_t lock_wait_ms;
  int64_t fail_at; /* for tests: this operation (from 0) fails; < 0: none. Any forced failure keeps the journal's entries */
} aon_session_run;
#define AON_SESSION_RUN_INIT {.lock_wait_ms = 30000, .fail_at = -1}

/* A workbook, by a pack (a name in pack_folders, or a path). report: where to write the marked workbook, NULL: nowhere. */
aon_result aon_session_import(aon_session *session, const char *file, const char *pack, const char *report, const aon_session_run *run,
                              char **ret_result, int *ret_exit_status, aon_error *error) AON_MUST_USE;
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
/* What dead workers left is brought to an end; id NULL: all of it. */
aon_result aon_session_recover(aon_session *session, const char *id, uint64_t *ret_recovered, uint64_t *ret_open, uint64_t *ret_person,
                               aon_error *error) AON_MUST_USE;
void aon_result_text_free(char *text);

#ifdef __cplusplus
}
#endif
#endif
