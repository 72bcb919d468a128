/* The engine: a journal, the stores, and everything that can be asked of them. What `aon`, the server and the C library use.
 *
 * An outcome is filled whatever the result, as far as it got; it holds what `--json` prints and what a person is told. */
#ifndef AON_COORDINATOR_ENGINE_H
#define AON_COORDINATOR_ENGINE_H

#include <signal.h>

#include "journal/journal.h"
#include "model/plan.h"
#include "model/problems.h"
#include "pack/pack.h"

typedef struct aon_engine aon_engine;

typedef struct aon_engine_store {
  const aon_store_adapter *adapter;
  aon_store_config config; /* borrowed texts must outlive the engine */
} aon_engine_store;

typedef struct aon_engine_config {
  aon_journal_config journal;
  const aon_engine_store *stores; /* opened when first needed */
  size_t store_count;
  int64_t retention_ms;                /* images are kept so long after the end, for undo; default 7 d */
  int64_t hold_ms;                     /* longest expected time for which classes 1 and 2 stay open beside classes 3 to 5; default 10 s */
  int64_t hold_until_ms;               /* a held bulk operation is rolled back after so long; default 1 h */
  int64_t give_up_ms;                  /* transient errors of a rollback become a conflict after so long; default 24 h */
  uint32_t batch;                      /* operations of one batch; default 500 */
  const aon_workbook_limits *workbook; /* NULL: defaults */
  const aon_pack_limits *pack;
  /* For tests (docs/reference.md). index < 0: not set. */
  int64_t test_rollback_at, test_user_index, test_dept_index, test_site_index, test_schedule_index;
  bool test_mode; /* keep the journal's entries: DEBUG_ATOMIC_OPS=1, or any TEST_ROLLBACK_* */
} aon_engine_config;

aon_result aon_engine_open(aon_env *env, const aon_engine_config *config, aon_engine **ret_engine, aon_error *error) AON_MUST_USE;
void aon_engine_close(aon_engine *engine);
/* Opened when first asked for; for_writing false: never makes a file (a missing journal reads as an empty one). */
aon_result aon_engine_journal(aon_engine *engine, bool for_writing, aon_journal **ret_journal, aon_error *error) AON_MUST_USE;
/* A bulk operation, only to be looked at; the arena holds what it points at. */
aon_result aon_engine_bulk(aon_engine *engine, const char *id, aon_arena *arena, aon_journal **ret_journal, aon_bulk *ret_bulk,
                           aon_error *error) AON_MUST_USE;
aon_result aon_engine_store_open(aon_engine *engine, const char *name, aon_store **ret_store,
                                 aon_error *error) AON_MUST_USE; /* AON_REJECTED unknown_store */

/* What the progress display shows; called often, at most some times a second is worth drawing. */
typedef struct aon_progress {
  aon_state state;
  int64_t done, total; /* rows while parsing (total 0: unknown), operations later; going back: still to be put back */
} aon_progress;

typedef struct aon_run_options {
  const char *id, *idempotency_key; /* NULL: made, none */
  const char *organization, *user;
  bool dry_run, hold_on_failure;
  int64_t lock_wait_ms;               /* 0: refuse at once */
  volatile sig_atomic_t *interrupted; /* set by a signal handler: cancel; may be NULL */
  void (*progress)(void *context, const aon_progress *progress);
  void *progress_context;
} aon_run_options;

typedef struct aon_timings { /* milliseconds */
  double parse, validate, plan, log, execute, finish;
} aon_timings;

typedef struct aon_failure {
  bool set;
  int64_t operation; /* AON_NO_OPERATION */
  char store[64], collection[128], document_id[600], code[40], message[1200], held_by[80];
  char sheet[128];
  uint32_t row;                    /* where the operation came from; "" and 0 */
  char cell[AON_PACK_CELLS_BYTES]; /* of that row, where it is certain: "C7"; "C7, D7" where several are refused together; else "" */
} aon_failure;

typedef struct aon_outcome {
  char bulk_id[37];
  aon_state state;
  bool dry_run, repeated; /* repeated: this id or key ran before, this is its first result */
  int64_t operations;
  aon_counts counts;
  aon_problems problems;
  aon_timings timings;
  double operations_per_second;
  aon_failure failure;
  uint64_t conflicts; /* documents that need a person */
  char undoes[37];
  aon_buffer json; /* the result object of docs/reference.md, without a newline; also when repeated */
} aon_outcome;

void aon_outcome_release(aon_outcome *outcome);
/* 0 done · 1 usage or environment · 2 rejected · 3 rolled back or cancelled · 4 a person must look · 5 busy · 6 held. */
int aon_outcome_exit_status(const aon_outcome *outcome, aon_result result, const aon_error *error);

/* The calls return AON_OK where the bulk operation came to an end that is told in the outcome (committed, rejected, rolled_back, held, …);
 * a failure that left no bulk operation behind is the result and the error. */
aon_result aon_import(aon_engine *, aon_pack *pack, const char *file, const char *report /* NULL */, const aon_run_options *, aon_outcome *,
                      aon_error *) AON_MUST_USE;
/* file: a path or "-" for standard input. pack lends collections' id properties and paths; NULL: none. */
aon_result aon_apply(aon_engine *, aon_pack *pack, const char *file, const aon_run_options *, aon_outcome *, aon_error *) AON_MUST_USE;

typedef struct aon_undo_options {
  int64_t first, last;                           /* a range of operations; first < 0: all */
  const char *sheet;                             /* or one sheet; NULL */
  const char *const *keep_theirs, *const *force; /* DOC ("store/collection/id" or "all"), NULL-terminated; may be NULL */
} aon_undo_options;
aon_result aon_undo(aon_engine *, const char *id, const aon_undo_options *, const aon_run_options *, aon_outcome *,
                    aon_error *) AON_MUST_USE;
/* Ends a held one, or tries a failed rollback (or undo) again. */
aon_result aon_rollback(aon_engine *, const char *id, const aon_run_options *, aon_outcome *, aon_error *) AON_MUST_USE;
aon_result aon_resume(aon_engine *, const char *id, const aon_run_options *, aon_outcome *, aon_error *) AON_MUST_USE;
aon_result aon_cancel(aon_engine *, const char *id, const aon_run_options *, aon_outcome *, aon_error *) AON_MUST_USE;

typedef enum aon_choice { AON_KEEP_THEIRS, AON_FORCE, AON_MERGE } aon_choice;
/* doc: "STORE/COLLECTION/ID" or "all"; merged: JSON text of the document as it shall be (AON_MERGE only). */
aon_result aon_resolve(aon_engine *, const char *id, const char *doc, aon_choice choice, const char *merged, const aon_run_options *,
                       aon_outcome *, aon_error *) AON_MUST_USE;

/* Recovers all that dead or expired workers left, or one. each hears one line per bulk operation. *ret_open: how many are still not at an
 * end (unreachable store, waiting for a horizon), *ret_person: how many need a person. */
typedef void (*aon_recovered)(void *context, const char *id, aon_state before, aon_state after, const char *sentence);
aon_result aon_recover(aon_engine *, const char *id /* NULL: all */, const aon_run_options *, aon_recovered each, void *context,
                       uint64_t *ret_recovered, uint64_t *ret_open, uint64_t *ret_person, aon_error *) AON_MUST_USE;
/* What every command that writes does first: aon_recover for all, sweep of locks, images past their retention. */
aon_result aon_housekeep(aon_engine *, const aon_run_options *, aon_error *) AON_MUST_USE;
/* Late writes of bulk operations that were rolled back are taken back, as long as they are watched; nothing else is done. */
aon_result aon_take_late_back(aon_engine *, const aon_run_options *, aon_error *) AON_MUST_USE;

/* One line of JSON per changed document, sensitive values hidden ("•••"): {"sequence","store","collection","documentId","operation",
 * "changes":[{"path","before","after"}]}. */
typedef aon_result (*aon_line_each)(void *context, const char *json, size_t length, aon_error *error);
aon_result aon_diff(aon_engine *, const char *id, aon_line_each, void *context, aon_error *) AON_MUST_USE;
/* The journal's entries as docs/protocol.md names them. */
aon_result aon_entries_log(aon_engine *, const char *id, aon_line_each, void *context, aon_error *) AON_MUST_USE;
/* {"bulkOperationId","state",…}: a result object of any bulk operation, as `aon show` and `aon list` print it. */
aon_result aon_show(aon_engine *, const char *id, aon_buffer *out, aon_error *) AON_MUST_USE;

/* Its first result, as if it had just run: for its exit status. */
aon_result aon_look(aon_engine *, const char *id, aon_outcome *, aon_error *) AON_MUST_USE;

typedef enum aon_read_mode { AON_READ_LATEST, AON_READ_COMMITTED, AON_READ_LOCKED, AON_READ_PENDING } aon_read_mode;
aon_result aon_document_get(aon_engine *, const aon_collection *, aon_text id, aon_read_mode, int64_t wait_ms, aon_arena *,
                            aon_image *ret_image, aon_image *ret_pending, aon_error *) AON_MUST_USE;
#endif
