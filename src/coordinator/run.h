/* One bulk operation in the hands of this worker: what all files of the coordinator share. Internal to the room.
 *
 * Invariants:
 *  - state, epoch and attempt are those of the last journal write that succeeded;
 *  - nothing is sent to a store unless aon_run_guard has just said that the lease outlives the request;
 *  - an open transaction of a part is ended (committed or aborted) before the run is closed. */
#ifndef AON_COORDINATOR_RUN_H
#define AON_COORDINATOR_RUN_H

#include "coordinator/engine.h"

#define AON_PARTS_LIMIT 64     /* stores in one bulk operation */
#define AON_RESTORE_TRIES 5    /* writes of a restored document under the version just read */
#define AON_RETRY_FIRST_MS 250 /* exponential back-off with jitter: first pause, longest pause */
#define AON_RETRY_LONGEST_MS 5000
#define AON_REQUEST_MS 5000   /* longest request of a store that is not told another bound */
#define AON_RETRY_TRIES 6     /* of a transient failure before the decision */
#define AON_GAVE_UP "gave_up" /* code of a document that nobody could be asked about for too long */
#define AON_ENTRY_WARN_BYTES (1u << 20)
#define AON_ENTRY_LIMIT_BYTES (16u << 20)

typedef struct aon_part { /* one store's share in a bulk operation */
  char name[64];
  aon_store *store;
  const aon_store_caps *caps; /* the store's, or batched */
  aon_store_caps batched;     /* the store's as class 3, for a plan that is larger than its transaction */
  int64_t operations;
  uint64_t bytes;      /* of all its images, known while planning */
  int64_t first, last; /* all its operations lie between them; wider where they are not known */
  bool last_resource;
  bool rehearse; /* applied, rolled back, and applied again before its commit */
  aon_transaction *transaction;
  bool prepared, committed; /* PREPARE or COMMIT was asked for: what became of it must be resolved */
  uint32_t next_batch;
  int64_t applied_below;  /* operations below it were applied by an earlier attempt or worker (classes 3 to 5) */
  int64_t doubtful_below; /* those below it were announced, and each is looked at before it is sent (classes 4 and 5) */
  size_t shares_with;     /* index of the part whose transaction it uses (same database), or its own */
} aon_part;

typedef struct aon_run {
  aon_engine *engine;
  aon_env *env;
  aon_journal *journal;
  aon_arena arena; /* lives as long as the run */
  const aon_run_options *options;
  aon_outcome *outcome;

  char id[37];
  int64_t epoch;
  aon_state state;
  uint32_t attempt;
  bool has_lease;
  bool queued;                            /* it came from the queue, and may go back there before it executes (worker.c) */
  int64_t adopting_ms;                    /* monotonic, before the submit or claim was asked; 0: not known */
  int64_t taken_up_ms;                    /* monotonic, when a rollback that another worker had begun was claimed; 0: it is our own */
  int64_t lease_deadline_ms, renew_at_ms; /* monotonic */
  bool recovering;                        /* another worker began it: every branch is resolved, nothing is taken as known */
  bool deaf;                              /* past the point where a cancellation is heard: a rollback or a decision is being finished */

  uint64_t spare_given; /* what aon_spare_given said when it began */
  int64_t instant_ms;   /* of the whole bulk operation */
  int64_t operations;
  int64_t fail_at; /* forced failure, < 0: none */
  aon_part parts[AON_PARTS_LIMIT];
  size_t part_count;
  bool partial_undo;
  bool keep_summary; /* its result's counts were written when it was logged */
  uint64_t conflicts, watched;
  int64_t ending_since_ms; /* when execution ended and finishing or going back began; 0: not yet */
  int64_t reached;         /* operations that were applied before a failure, for the log */
  char undoes[37];
  /* Names the cells that the refusal of an operation is about, as long as the workbook that it came from is at hand; NULL: it isn't. */
  void (*cells)(void *context, const aon_operation *operation, const aon_error *why, char *cells, size_t room);
  void *cells_context;
} aon_run;

/* ---- life (run.c) ---- */
void aon_run_begin(aon_run *run, aon_engine *engine, aon_journal *journal, const aon_run_options *options, aon_outcome *outcome);
void aon_run_end(aon_run *run);                         /* aborts what is open, gives memory back; the journal is not touched */
void aon_run_adopt(aon_run *run, const aon_bulk *bulk); /* after submit or claim: id, epoch, state, lease */
/* An arrow of the table, with its audit event and progress. */
aon_result aon_run_move(aon_run *run, aon_state to, const aon_bulk_change *change, aon_error *error) AON_MUST_USE;
/* Renews the lease when a third has passed, hears cancellation; called between batches and while waiting. */
aon_result aon_run_tick(aon_run *run, aon_error *error) AON_MUST_USE;
/* The same, and the lease outlives a request of this store. */
aon_result aon_run_guard(aon_run *run, const aon_part *part, aon_error *error) AON_MUST_USE;
void aon_run_progress(aon_run *run, int64_t done, int64_t total);
/* Pause number n (from 0) of a back-off with jitter; hears cancellation. AON_OK or what aon_run_tick said. */
aon_result aon_run_pause(aon_run *run, uint32_t n, int64_t longest_ms, aon_error *error) AON_MUST_USE;
void aon_run_fail(aon_run *run, const aon_error *error, const aon_operation *operation); /* keeps the first failure for the outcome */
aon_result aon_run_event(aon_run *run, const char *what, const char *detail, aon_error *error) AON_MUST_USE;

/* ---- parts (parts.c) ---- */
aon_part *aon_run_part(aon_run *run, const char *store); /* NULL: takes no part */
aon_result aon_run_part_add(aon_run *run, const char *store, aon_part **ret_part, aon_error *error) AON_MUST_USE;
/* Chooses the last resource and what is rehearsed, writes who takes part as JSON. */
aon_result aon_parts_decide(aon_run *run, aon_buffer *out, aon_error *error) AON_MUST_USE;
aon_result aon_parts_load(aon_run *run, const char *json, aon_error *error) AON_MUST_USE; /* for recovery */
aon_branch aon_part_branch(const aon_run *run, uint32_t batch);
/* Numbers of batches count by database: a marker's key knows no names of stores. took: one that the journal names already. */
uint32_t aon_part_take_batch(aon_run *run, aon_part *part);
void aon_part_took_batch(aon_run *run, aon_part *part, uint32_t batch);
static inline bool aon_part_transactional(const aon_part *part) { return part->caps->store_class <= AON_CLASS_TRANSACTION; }

/* ---- planning (plan.c): a sink that normalises, locks and logs ---- */
typedef struct aon_planner aon_planner;
aon_result aon_planner_open(aon_run *run, bool chains, aon_planner **ret_planner, aon_error *error) AON_MUST_USE;
void aon_planner_close(aon_planner *planner);
const aon_plan_sink *aon_planner_sink(aon_planner *planner);
/* Logs what is buffered. AON_BUSY: somebody else holds a document; give the locks back and plan again. */
aon_result aon_planner_flush(aon_planner *planner, aon_error *error) AON_MUST_USE;
/* Chains: documents that this plan touches already. Asked for many at once, since each asking goes to the journal; hash and sequence are
 * set by the call. What is logged afterwards is not in the answers: aon_planner_log_calls tells when that happens. */
aon_result aon_planner_ask(aon_planner *planner, aon_last_query *queries, size_t count, aon_error *error) AON_MUST_USE;
uint64_t aon_planner_log_calls(const aon_planner *planner);
/* The last image that this plan gives the document of an answered query, which lives until its operation is handed over: *ret_found false
 * if the plan does not touch it. */
aon_result aon_planner_chain(aon_planner *planner, const aon_last_query *query, aon_arena *arena, bool *ret_found, aon_image *ret_image,
                             aon_error *error) AON_MUST_USE;
aon_document_source aon_engine_source(aon_engine *engine);

typedef aon_result (*aon_plan_make)(void *context, aon_run *run, aon_planner *planner, aon_error *error);
/* Plans under locks, again and again while others hold documents, up to the time limit; ends in `logged`, or in `planned` for a dry run. */
aon_result aon_plan_under_locks(aon_run *run, bool chains, aon_plan_make make, void *context, aon_error *error) AON_MUST_USE;

/* ---- execution (execute.c, finish.c), going back (rollback.c, restore.c) ---- */
/* The entries of a store's part in batches: consecutive operations that go by one part; see execute.c. */
typedef aon_result (*aon_batch_do)(void *context, aon_part *part, const aon_operation *operations, size_t count, aon_error *error);
/* Calls each with the operations first..last, split where the part (or the leader of its shared transaction) changes and by the
 * store's limits; wanted: a bit for each class. backward: newest first, also inside a call. */
aon_result aon_run_walk(aon_run *run, int64_t first, int64_t last, bool backward, unsigned wanted, const aon_part *only, aon_batch_do each,
                        void *context, aon_error *error) AON_MUST_USE;

/* The same walk with the operations given, a piece at a time. With a leader: only what goes by its transaction, and the lease is the
 * caller's to look after, so that it may run beside the walks of other leaders. */
typedef struct aon_walk aon_walk;
typedef struct aon_walk_what {
  const aon_part *only, *leader; /* NULL: all */
  unsigned wanted;               /* bits of classes */
  bool backward;
} aon_walk_what;
aon_result aon_walk_open(aon_run *run, const aon_walk_what *what, aon_batch_do each, void *context, aon_walk **ret_walk,
                         aon_error *error) AON_MUST_USE;
aon_result aon_walk_piece(aon_walk *walk, const aon_operation *operations, size_t count, aon_error *error) AON_MUST_USE;
void aon_walk_close(aon_walk *walk);
aon_result aon_walk_cleared(const aon_run *run, aon_error *error); /* says that the images of a piece are no longer kept */

#define AON_CLASS_BIT(store_class) (1u << (store_class))
static inline aon_part *aon_part_leader(aon_run *run, aon_part *part) { return &run->parts[part->shares_with]; }
/* Ends every open transaction without its effect. */
void aon_parts_abort(aon_run *run);

/* Reads what earlier attempts or workers sent: numbers of batches, what was applied, what is in doubt. In class 3 the markers are asked. */
aon_result aon_run_note_batches(aon_run *run, aon_error *error) AON_MUST_USE;
/* What classes 3 to 5 wrote before a hold must still stand as written: AON_PERMANENT changed_meanwhile otherwise. */
aon_result aon_run_compare_written(aon_run *run, aon_error *error) AON_MUST_USE;
/* The same state, stamps included, volatile properties aside (two lists of them; may be NULL). */
aon_result aon_image_copy(aon_arena *arena, const aon_image *from, aon_image *to, aon_error *error) AON_MUST_USE;
bool aon_image_same(const aon_image *a, const aon_image *b, const char *const *volatiles, const char *const *more_volatiles);
/* Names a document whose change got lost after the decision. */
aon_result aon_commit_conflict(aon_run *run, const aon_operation *operation, const aon_error *why, aon_error *error) AON_MUST_USE;

/* Classes 1 and 2 in their open transactions, stores side by side (lanes.c). *ret_operation: the one at fault, or NULL; it lives until the
 * lanes are closed. */
typedef struct aon_lanes aon_lanes;
bool aon_lanes_possible(aon_run *run);
aon_result aon_lanes_open(aon_run *run, int64_t last, aon_lanes **ret_lanes, aon_error *error) AON_MUST_USE;
aon_result aon_lanes_apply(aon_lanes *lanes, const aon_operation **ret_operation, aon_error *error) AON_MUST_USE;
void aon_lanes_close(aon_lanes *lanes);
void aon_to_writes(const aon_operation *operations, size_t count, aon_write *writes);

/* From `logged` (or resumed) to the end: committed, rolled_back, rollback_failed, commit_failed or held. */
aon_result aon_run_execute(aon_run *run, aon_error *error) AON_MUST_USE;
/* Sends what could not be taken back and so waited for the decision; an effect that was applied already counts as sent. */
aon_result aon_run_effects(aon_run *run, aon_error *error) AON_MUST_USE;
aon_result aon_run_finish(aon_run *run, aon_error *error) AON_MUST_USE;   /* from `committing` */
aon_result aon_run_rollback(aon_run *run, aon_error *error) AON_MUST_USE; /* from `rolling_back` */
/* What is still prepared is ended, whatever a person chooses for its documents. */
aon_result aon_run_commit_prepared(aon_run *run, aon_error *error) AON_MUST_USE;
aon_result aon_run_abort_prepared(aon_run *run, aon_error *error) AON_MUST_USE;
aon_result aon_run_conclude(aon_run *run, aon_state terminal,
                            aon_error *error) AON_MUST_USE; /* the terminal arrow, with the result; settles an undone one */
aon_result aon_part_resolve(aon_run *run, aon_part *part, uint32_t attempt, uint32_t batch, aon_branch_state *ret_state,
                            aon_error *error) AON_MUST_USE;

/* What becomes of one document when an operation is taken back (docs/protocol.md, invariant 3). */
typedef enum aon_restore_verdict {
  AON_RESTORE_DONE,    /* nothing to write: never written, or their delete stands */
  AON_RESTORE_WRITE,   /* write *ret_target (absent: delete) over current */
  AON_RESTORE_CONFLICT /* a person must choose; paths (JSON array) say which properties */
} aon_restore_verdict;
typedef struct aon_restore {
  aon_restore_verdict verdict;
  aon_image target;
  char *paths; /* in the arena, NULL: the whole document */
} aon_restore;
aon_result aon_restore_judge(const aon_operation *operation, const aon_image *current, const char *const *volatiles, aon_arena *arena,
                             aon_restore *ret_restore, aon_error *error) AON_MUST_USE;
/* Tries again to put one document of a conflict back. choice NULL: by the rule; "keep_theirs", "force", "merge" with the image to write.
 * *ret_settled. */
aon_result aon_conflict_settle(aon_run *run, const aon_conflict *conflict, const char *choice, const bson_t *merged, bool *ret_settled,
                               aon_error *error) AON_MUST_USE;
/* The operation behind a conflict, in the arena. */
aon_result aon_run_operation(aon_run *run, int64_t sequence, aon_arena *arena, aon_operation *ret_operation, aon_error *error) AON_MUST_USE;

/* Looks again at what a rolled back bulk operation left in doubt (watch.c). */
aon_result aon_strays_sweep(aon_engine *engine, aon_journal *journal, const char *id, const aon_run_options *options,
                            aon_error *error) AON_MUST_USE;
/* The bulk operation whose stamp the document bears; false: none. ret_begun: it is only begun (AON_STAMP_BEGUN). */
bool aon_image_stamped(const aon_image *image, char ret_id[37], bool *ret_begun);

/* Takes the lease of one that is there (recover.c). */
aon_result aon_run_claim(aon_run *run, const char *id, aon_bulk *ret_bulk, aon_error *error) AON_MUST_USE;

/* What a bulk operation becomes by all its undos; but: the id of one whose state the caller knows better; NULL. */
aon_result aon_undone_becomes(aon_run *run, const char *id, const char *but, aon_state but_state, const char *but_kind,
                              aon_state *ret_state, aon_error *error) AON_MUST_USE;

/* ---- results (outcome.c) ---- */
aon_result aon_outcome_summary(const aon_outcome *outcome, aon_buffer *out, aon_error *error) AON_MUST_USE; /* what the journal keeps */
aon_result aon_failure_to_json(const aon_failure *failure, aon_buffer *out, aon_error *error) AON_MUST_USE;
aon_result aon_outcome_finish(aon_run *run, aon_error *error) AON_MUST_USE; /* fills outcome->json from the journal */
aon_result aon_outcome_repeat(aon_engine *engine, aon_journal *journal, const aon_bulk *bulk, aon_outcome *outcome,
                              aon_error *error) AON_MUST_USE;
aon_result aon_result_json(aon_journal *journal, const aon_bulk *bulk, aon_buffer *out, aon_error *error) AON_MUST_USE;

/* ---- small helpers (run.c) ---- */
aon_result aon_content_digest(aon_env *env, const char *path, const char *const *options, char ret_hex[65], aon_error *error) AON_MUST_USE;
/* The same, and each piece that was read (AON_FILE_CHUNK_BYTES, the last one less) is handed on. */
typedef aon_result (*aon_content_each)(void *context, const void *bytes, size_t length, aon_error *error);
aon_result aon_content_read(aon_env *env, const char *path, const char *const *options, aon_content_each each, void *context,
                            char ret_hex[65], aon_error *error) AON_MUST_USE;
const char *aon_operation_name(aon_operation_kind kind); /* "create" */
bool aon_result_retryable(aon_result result);
#endif
