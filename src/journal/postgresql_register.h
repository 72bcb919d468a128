/* The register: the journal as it is kept in a PostgreSQL database, so that several machines share the work. What the postgresql_*.c
 * files share; docs/journals.md says why it is made so.
 *
 * Tables (postgresql_schema.c), in the schema that search_path names first: aon_journal_bulk, _names, _segments, _locks, _batches,
 * _conflicts, _generations, _named, _waits, _events, _keys, _files, _file_chunks, _waste, _turn, _tail, _version.
 *
 * Invariants beside those of journal.h:
 *  - a writing call is one transaction, sent as one pipeline: no lock of the server waits for this process between two statements;
 *  - each write locks the row of its bulk operation and names the epoch in its WHERE; whoever reads what others may be writing (who holds a
 *    document) has locked aon_journal_turn first, always before any other lock but that row;
 *  - a call whose reply was lost is sent again on another connection: every call is made so that doing it twice is doing it once, by its
 *    conditions or by a random token that is kept with the row;
 *  - what is not durable (synchronous_commit off) is lost only where the server falls, and with it this handle's connection: then the log
 *    is shorter than this handle knows, which is refused (`journal_set_back`) before anything rests on it;
 *  - times are the server's clock (aon_journal_now), never this host's;
 *  - no statement stays open while a callback runs, so a callback may call the journal. */
#ifndef AON_JOURNAL_POSTGRESQL_REGISTER_H
#define AON_JOURNAL_POSTGRESQL_REGISTER_H

#include "journal/backend.h"
#include "journal/piece.h"
#include "wire/postgresql.h"

#define AON_REGISTER_PAGE 64              /* rows that a listing holds in memory at once */
#define AON_REGISTER_CLEAR_SEGMENTS 64    /* of one call of clear_images */
#define AON_REGISTER_SWEEP_ROWS 50000     /* rows of the locks that one sweep takes away */
#define AON_REGISTER_LEASE_MS 30000       /* default of aon_journal_config.lease_ms */
#define AON_REGISTER_LOCK_LEASE_MS 300000 /* of named locks whose holder names none */
#define AON_REGISTER_WAIT_MS 2000         /* how long a writer that found a named lock taken goes before later readers */
#define AON_REGISTER_CALL_MS 10000        /* time limit of one try of a call; the server's own limits are shorter */
#define AON_REGISTER_PATIENCE_MS 12000    /* no try begins later: with the last one, less than a lease */
#define AON_REGISTER_CONNECT_MS 3000
#define AON_REGISTER_TOKEN 16 /* characters of the token that tells a call of ours from others */

typedef struct aon_register_names { /* the dictionary of one log, as far as it was read or written */
  int64_t log;                      /* 0: none */
  int64_t last;                     /* number of its last row of names */
  aon_dictionary *dictionary;
} aon_register_names;

typedef struct aon_register {
  aon_env *env;
  char *url, *key_file;
  aon_interrupt interrupt; /* never raised: a journal's call is not cancelled, it has its time limit */
  aon_postgresql *connection;
  aon_keys *keys; /* NULL: read-only and none there */
  int64_t lease_ms;
  bool read_only, absent, inside; /* inside: of aon_register_read, so nothing is sent twice */
  aon_register_names names;
  aon_segment_writer writer;
  aon_piece_loaded piece;     /* the last one that a single operation was looked for in */
  char logged_id[40];         /* the bulk operation that this handle logged for last, … */
  int64_t logged_log, logged; /* … its log, and how far */
} aon_register;

/* ---- statements ---- */

#define AON_REGISTER_STATEMENTS 64 /* of one call; a log of more segments is refused by its bytes long before */

typedef struct aon_register_call {
  aon_arena arena;
  aon_postgresql_statement statements[AON_REGISTER_STATEMENTS];
  PGresult *results[AON_REGISTER_STATEMENTS];
  size_t count;
  bool writes;
  unsigned tries; /* how often it was sent */
} aon_register_call;

void aon_register_call_end(aon_register_call *call);
#define AON_REGISTER_CALL __attribute__((cleanup(aon_register_call_end))) aon_register_call

/* Adds a statement. types: t text (NULL: null), i int64_t, p const int64_t * (NULL: null), o bool, b bytes (const void *, size_t; NULL:
 * null). Texts and bytes are borrowed until the call has ended. A failure is told by the call that runs it. */
void aon_register_add(aon_register_call *call, const char *sql, const char *types, ...);
/* The first statements of a call that writes: begin and, where it need not be durable, synchronous_commit off. */
void aon_register_begin(aon_register_call *call, bool durable);
/* Sends it, for writing ones with a commit behind it, and again where no answer came; AON_UNKNOWN journal_unknown where none ever did. */
aon_result aon_register_run(aon_register *r, aon_register_call *call, const char *doing, aon_error *error) AON_MUST_USE;
/* One statement that reads. */
aon_result aon_register_ask(aon_register *r, aon_register_call *call, const char *doing, const char *sql, aon_error *error,
                            const char *types, ...) AON_MUST_USE;
/* Results are binary; row and column must be there. */
int aon_register_rows(const aon_register_call *call, size_t statement);
int64_t aon_register_int(const aon_register_call *call, size_t statement, int row, int column); /* 0 for null */
bool aon_register_null(const aon_register_call *call, size_t statement, int row, int column);
const char *aon_register_text(const aon_register_call *call, size_t statement, int row, int column); /* NULL for null */
size_t aon_register_length(const aon_register_call *call, size_t statement, int row, int column);
aon_result aon_register_copy(const aon_register_call *call, size_t statement, int row, int column, aon_arena *arena, const char **ret_text,
                             aon_error *error) AON_MUST_USE;

typedef aon_result (*aon_register_work)(aon_register *r, void *arguments, aon_error *error);
/* All reads of work see one state of the journal; again: work is done again where the connection broke. */
aon_result aon_register_read(aon_register *r, bool again, aon_register_work work, void *arguments, aon_error *error) AON_MUST_USE;
void aon_register_abandon(aon_register *r); /* ends a transaction that is still open: a statement of it was refused, or it only read */
void aon_register_token(aon_register *r, char ret_token[AON_REGISTER_TOKEN + 1]);

/* ---- schema ---- */

/* Runs work in a transaction that holds the advisory lock: schema and keys change by one at a time. again: work may be done again from its
 * start where the connection broke. */
aon_result aon_register_locked(aon_register *r, bool again, aon_register_work work, void *arguments, aon_error *error) AON_MUST_USE;
aon_result aon_register_open(aon_env *env, const aon_journal_config *config, void **ret_register, aon_error *error) AON_MUST_USE;
void aon_register_close(void *r);
bool aon_register_missing(const void *r);
int aon_register_version(void);
#define AON_REGISTER_ADVISORY INT64_C(0x616f6e6a6f75726e) /* "aonjourn": who changes schema or keys holds it */

/* ---- bulk operations ---- */

/* In the order that aon_register_bulk_from reads; b: the alias of the table. */
#define AON_REGISTER_COLUMNS                                                                                                               \
  "b.id, b.idempotency_key, b.digest, b.organization, b.\"user\", b.kind, b.source, b.pack, b.undoes, b.stores, b.summary, b.failure,"     \
  " b.options,"                                                                                                                            \
  " b.worker_boot, b.state, b.epoch, b.attempt, b.dry_run, b.hold_on_failure, b.test_mode, b.cancel_asked, b.created_ms, b.changed_ms,"    \
  " b.finished_ms, b.age_ms, b.lease_until_ms, b.hold_until_ms, b.images_until_ms, b.worker_pid, b.worker_ticks, b.operations,"            \
  " b.progress, b.number, b.token, b.claim_token, aon_journal_now()"
#define AON_REGISTER_COLUMN_NUMBER 32
#define AON_REGISTER_COLUMN_TOKEN 33
#define AON_REGISTER_COLUMN_NOW 35
aon_result aon_register_bulk_from(const aon_register_call *call, size_t statement, int row, aon_arena *arena, aon_bulk *ret_bulk,
                                  aon_error *error) AON_MUST_USE;
aon_result aon_register_not_found(const char *id, aon_error *error) AON_MUST_USE;

typedef struct aon_register_head { /* what most calls need of a bulk operation */
  int64_t number, log, epoch, age_ms, logged;
  aon_state state;
  bool holds, worked_on;
} aon_register_head;
/* Adds the statement that locks the row of the bulk operation and gives its head; _read takes it from the result. */
void aon_register_head_add(aon_register_call *call, const char *id, bool lock);
aon_result aon_register_head_read(const aon_register_call *call, size_t statement, const char *id, aon_register_head *ret_head,
                                  aon_error *error) AON_MUST_USE; /* AON_USAGE not_found */
/* The same, and AON_FENCED if another worker has taken over, AON_ENVIRONMENT if the server has lost what this handle logged. */
aon_result aon_register_fence(aon_register *r, const aon_register_call *call, size_t statement, const char *id, int64_t epoch,
                              aon_register_head *ret_head, aon_error *error) AON_MUST_USE;
aon_result aon_register_head_of(aon_register *r, const char *id, aon_register_head *ret_head, aon_error *error) AON_MUST_USE;

/* ---- names, segments ---- */

void aon_register_names_drop(aon_register_names *names);
/* The dictionary of a log, up to date. */
aon_result aon_register_names_load(aon_register *r, int64_t log, aon_error *error) AON_MUST_USE;
/* Reads and decodes the last segment that begins at or before a sequence, whole, into a piece that is empty or was used before; AON_END: it
 * doesn't hold the sequence, or there is none. */
aon_result aon_register_segment_read(void *state, const char *bulk_id, int64_t log, int64_t sequence, bool images, aon_piece_loaded *piece,
                                     aon_error *error) AON_MUST_USE;
aon_piece_keyring aon_register_ring(aon_register *r);

/* ---- files ---- */

/* Adds two statements: the file's row is locked; then its bytes, its bulk, and aon.file, 'whole' if it is there with so many bytes and
 * nobody's. */
void aon_register_file_look(aon_register_call *call, const char *file, uint64_t bytes);
aon_result aon_register_file_incomplete(int64_t there, uint64_t wanted, aon_error *error) AON_MUST_USE;
aon_result aon_register_files_examine(aon_register *r, aon_buffer *report, aon_error *error) AON_MUST_USE;

/* ---- the backend's functions ---- */

aon_result aon_register_submit(void *, const aon_submission *, aon_arena *, aon_bulk *, bool *, aon_error *) AON_MUST_USE;
aon_result aon_register_get(void *, const char *, aon_arena *, aon_bulk *, aon_error *) AON_MUST_USE;
aon_result aon_register_find(void *, const char *, char[37], aon_error *) AON_MUST_USE;
aon_result aon_register_list(void *, const aon_bulk_filter *, aon_bulk_each, void *, aon_error *) AON_MUST_USE;
aon_result aon_register_move(void *, const char *, int64_t, aon_state, aon_state, const aon_bulk_change *, aon_error *) AON_MUST_USE;
aon_result aon_register_update(void *, const char *, int64_t, const aon_bulk_change *, aon_error *) AON_MUST_USE;
aon_result aon_register_claim(void *, const char *, const aon_process *, aon_arena *, aon_bulk *, aon_error *) AON_MUST_USE;
aon_result aon_register_renew(void *, const char *, int64_t, int64_t *, bool *, aon_error *) AON_MUST_USE;
aon_result aon_register_ask_cancel(void *, const char *, aon_error *) AON_MUST_USE;
aon_result aon_register_take(void *, const aon_take *, aon_arena *, aon_bulk *, aon_error *) AON_MUST_USE;
aon_result aon_register_wait(void *, int64_t, aon_error *) AON_MUST_USE;
aon_result aon_register_file_put(void *, const char *, const aon_process *, uint32_t, const void *, size_t, aon_error *) AON_MUST_USE;
aon_result aon_register_file_attach(void *, const char *, int64_t, const aon_journal_file *, aon_error *) AON_MUST_USE;
aon_result aon_register_file_find(void *, const char *, aon_file_role, aon_arena *, aon_journal_file *, aon_error *) AON_MUST_USE;
aon_result aon_register_file_get(void *, const char *, uint32_t, aon_buffer *, aon_error *) AON_MUST_USE;
aon_result aon_register_file_drop(void *, const char *, aon_error *) AON_MUST_USE;
aon_result aon_register_sweep_files(void *, uint64_t *, aon_error *) AON_MUST_USE;
aon_result aon_register_log(void *, const char *, int64_t, const aon_operation *, size_t, const aon_claimed *, size_t, bool *,
                            aon_error *) AON_MUST_USE;
aon_result aon_register_discard(void *, const char *, int64_t, aon_error *) AON_MUST_USE;
aon_result aon_register_last_of(void *, const char *, aon_last_query *, size_t, aon_error *) AON_MUST_USE;
aon_result aon_register_entries_open(void *, const char *, int64_t, int64_t, bool, void **, aon_error *) AON_MUST_USE;
aon_result aon_register_collections(void *, const char *, aon_arena *, const aon_collection **, size_t *, aon_error *) AON_MUST_USE;
aon_result aon_register_clear_images(void *, const char *, aon_error *) AON_MUST_USE;
aon_result aon_register_stale(void *, aon_stale_each, void *, aon_error *) AON_MUST_USE;
aon_result aon_register_batch(void *, const char *, int64_t, const aon_batch *, aon_error *) AON_MUST_USE;
aon_result aon_register_batches(void *, const char *, aon_batch_each, void *, aon_error *) AON_MUST_USE;
aon_result aon_register_conflict_put(void *, const char *, int64_t, const aon_conflict *, aon_error *) AON_MUST_USE;
aon_result aon_register_conflict_drop(void *, const char *, int64_t, int64_t, aon_error *) AON_MUST_USE;
aon_result aon_register_conflicts(void *, const char *, aon_conflict_hear, void *, aon_error *) AON_MUST_USE;
aon_result aon_register_holder(void *, const aon_collection *, aon_text, aon_arena *, bool *, aon_bulk *, aon_operation *,
                               aon_error *) AON_MUST_USE;
aon_result aon_register_generation(void *, const char *, int64_t *, aon_error *) AON_MUST_USE;
aon_result aon_register_lock(void *, const char *, const char *, bool, int64_t, int64_t *, aon_error *) AON_MUST_USE;
aon_result aon_register_unlock(void *, const char *, const char *, int64_t, aon_error *) AON_MUST_USE;
aon_result aon_register_locks(void *, aon_lock_each, void *, aon_error *) AON_MUST_USE;
aon_result aon_register_sweep_locks(void *, uint64_t *, aon_error *) AON_MUST_USE;
aon_result aon_register_event(void *, const aon_event *, aon_error *) AON_MUST_USE;
aon_result aon_register_events(void *, const char *, int64_t, aon_event_each, void *, aon_error *) AON_MUST_USE;
aon_result aon_register_room(void *, uint64_t, aon_error *) AON_MUST_USE;
aon_result aon_register_examine(void *, aon_buffer *, bool *, aon_error *) AON_MUST_USE;
aon_result aon_register_rotate_key(void *, aon_error *) AON_MUST_USE;
aon_result aon_register_dump(void *, aon_copy_put, void *, aon_error *) AON_MUST_USE;
aon_result aon_register_load(void *, aon_copy_feed, void *, aon_error *) AON_MUST_USE;
#endif
