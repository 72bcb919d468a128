/* The ledger: the journal as it is kept in one SQLite file. What the sqlite_*.c files share.
 *
 * Tables (sqlite_schema.c): bulk, names, segments, lock_runs, batches, conflicts, generations, named_locks, lock_waits,
 * events, keys, files, file_chunks. The file is in WAL mode.
 *
 * Invariants beside those of journal.h:
 *  - each writing call is one `begin immediate` transaction through aon_ledger_write, repeated once if the disk was full and the
 *    reserve could be given free; its work therefore keeps nothing in memory that a rollback would make untrue, or drops it on failure;
 *  - `durable` writes sync the write-ahead log (synchronous FULL); the others leave that to the next durable one (NORMAL), whose
 *    sync covers the whole file, so the order on the disk is the order of the calls;
 *  - no statement stays open while a callback runs, so a callback may call the journal;
 *  - bulk.holds is 1 from its first log to its terminal arrow, and never again: documents that it still holds after that stand in
 *    conflicts. */
#ifndef AON_JOURNAL_SQLITE_LEDGER_H
#define AON_JOURNAL_SQLITE_LEDGER_H

#include "journal/backend.h"
#include "journal/chain.h"
#include "journal/filter.h"
#include "journal/lock_name.h"
#include "journal/piece.h"
#include "journal/reserve.h"
#include "wire/sqlite.h"

#define AON_LEDGER_BUSY_MS 5000
#define AON_LEDGER_PAGE 64                         /* rows that a listing holds in memory at once */
#define AON_LEDGER_CLEAR_SEGMENTS 64               /* of one call of clear_images */
#define AON_LEDGER_SWEEP_RUNS 512                  /* rows of lock_runs that one sweep takes away */
#define AON_LEDGER_SCRATCH_BYTES ((size_t)1 << 20) /* buffers that have grown beyond are given back after the call */
#define AON_LEDGER_LEASE_MS 30000                  /* default of aon_journal_config.lease_ms */
#define AON_LEDGER_LOCK_LEASE_MS 300000            /* of named locks whose holder names none */
#define AON_LEDGER_LISTINGS 8                      /* kinds of listings whose statements are kept */
#define AON_LEDGER_WAIT_MS 2000                    /* how long a writer that found a named lock taken goes before later readers */

typedef struct aon_piece { /* one segment, decoded; kept for the next call that wants the same one */
  unsigned owners;
  int64_t number, bulk; /* of their rows */
  aon_dictionary *dictionary;
  aon_arena arena;
  aon_operation *operations;
  int64_t first;
  uint32_t count;
  bool cleared;
} aon_piece;

typedef struct aon_names { /* the dictionary of one bulk operation, as last read or written */
  int64_t bulk;            /* number of its row; 0: none */
  int64_t last;            /* number of the last row of names in it */
  aon_dictionary *dictionary;
} aon_names;

typedef struct aon_ledger {
  aon_env *env;
  aon_sqlite *database;
  aon_keys *keys; /* NULL: read-only and none there */
  char *location, *key_file;
  int64_t lease_ms;
  bool read_only, absent, syncing;
  aon_reserve reserve;
  aon_names written, read;
  aon_segment_writer writer;
  aon_buffer sealed, run;
  aon_piece *heads, *whole;            /* the last ones looked into: without and with images; NULL: none */
  aon_filter filter;                   /* hashes of all exclusive and shared locks up to … */
  int64_t filter_last;                 /* … this row of lock_runs, always a committed one */
  aon_chain chain;                     /* documents of the bulk operation whose chains were last asked for … */
  int64_t chain_bulk;                  /* … number of its row, 0: none … */
  char chain_id[40];                   /* … its id … */
  int64_t chain_end;                   /* … up to this sequence, where the table was full; INT64_MAX: all of them */
  bool chain_noted;                    /* by the transaction that is open */
  char *listings[AON_LEDGER_LISTINGS]; /* texts of listings met so far, which are the keys of their statements; NULL: none yet */
} aon_ledger;

/* ---- statements ---- */

/* types: t text (NULL: null), i int64_t, p const int64_t * (NULL: null), b bytes (const void *, size_t; NULL: null). */
aon_result aon_ledger_query(aon_ledger *ledger, const char *sql, sqlite3_stmt **ret_statement, aon_error *error, const char *types,
                            ...) AON_MUST_USE;
aon_result aon_ledger_run(aon_ledger *ledger, const char *sql, aon_error *error, const char *types, ...) AON_MUST_USE;
/* First column of the first row; *ret_value stays where there is no row or it is null. */
aon_result aon_ledger_number(aon_ledger *ledger, const char *sql, int64_t *ret_value, aon_error *error, const char *types,
                             ...) AON_MUST_USE;
int64_t aon_ledger_changes(aon_ledger *ledger);                   /* rows of the last statement */
const char *aon_ledger_text(sqlite3_stmt *statement, int column); /* NULL for null; lives until the next step */
aon_result aon_ledger_copy(sqlite3_stmt *statement, int column, aon_arena *arena, const char **ret_text, aon_error *error) AON_MUST_USE;

/* ---- transactions ---- */

typedef aon_result (*aon_ledger_work)(aon_ledger *ledger, void *arguments, aon_error *error);
aon_result aon_ledger_write(aon_ledger *ledger, bool durable, aon_ledger_work work, void *arguments, aon_error *error) AON_MUST_USE;
/* All reads of work see one state of the journal. */
aon_result aon_ledger_read(aon_ledger *ledger, aon_ledger_work work, void *arguments, aon_error *error) AON_MUST_USE;
/* A failure that leaves open whether the write is there: the machine's, not a refusal. */
bool aon_ledger_doubtful(aon_result result);

/* ---- schema ---- */

typedef struct aon_ledger_step {
  int version; /* that the journal has afterwards */
  const char *sql;
} aon_ledger_step;
#define AON_LEDGER_APPLICATION 0x616f6e6a /* "aonj" */
/* Brings the schema to the last step's version, all steps in the transaction that is open. *ret_fresh: it was empty. */
aon_result aon_ledger_migrate(aon_ledger *ledger, const aon_ledger_step *steps, size_t count, bool *ret_fresh,
                              aon_error *error) AON_MUST_USE;
aon_result aon_ledger_open(aon_env *env, const aon_journal_config *config, void **ret_ledger, aon_error *error) AON_MUST_USE;
void aon_ledger_close(void *ledger);
bool aon_ledger_missing(const void *ledger);
int aon_ledger_version(void);

/* ---- bulk operations ---- */

typedef struct aon_ledger_head { /* what most calls need of a bulk operation */
  int64_t number, epoch, age_ms, logged;
  aon_state state;
  bool holds;
} aon_ledger_head;
aon_result aon_ledger_head_of(aon_ledger *ledger, const char *id, aon_ledger_head *ret_head,
                              aon_error *error) AON_MUST_USE; /* AON_USAGE not_found */
/* The same, and AON_FENCED if another worker has taken over. */
aon_result aon_ledger_fence(aon_ledger *ledger, const char *id, int64_t epoch, aon_ledger_head *ret_head, aon_error *error) AON_MUST_USE;
aon_result aon_ledger_bulk(aon_ledger *ledger, const char *id, aon_arena *arena, aon_bulk *ret_bulk, aon_error *error) AON_MUST_USE;
/* AON_OK if the lease of this one may be taken now, else AON_BUSY with a sentence. */
aon_result aon_ledger_claimable(aon_ledger *ledger, const aon_bulk *bulk, aon_error *error) AON_MUST_USE;
/* Gives the lease to a worker, with a higher epoch, in the transaction that is open. */
aon_result aon_ledger_lease(aon_ledger *ledger, const char *id, const aon_process *worker, aon_error *error) AON_MUST_USE;
/* In the transaction that is open: the file becomes that of the bulk operation. AON_USAGE incomplete_file. */
aon_result aon_ledger_file_name(aon_ledger *ledger, int64_t bulk, const aon_journal_file *file, aon_error *error) AON_MUST_USE;
/* What aon doctor says of files. */
aon_result aon_ledger_files_examine(aon_ledger *ledger, aon_buffer *report, aon_error *error) AON_MUST_USE;
aon_result aon_ledger_id_of(aon_ledger *ledger, int64_t number, char ret_id[37], aon_error *error) AON_MUST_USE;

/* ---- names, segments, locks ---- */

aon_result aon_ledger_names(aon_ledger *ledger, aon_names *names, int64_t bulk, aon_error *error) AON_MUST_USE; /* up to date afterwards */
void aon_ledger_names_drop(aon_names *names);
/* Writes what the dictionary has beyond the counts. */
aon_result aon_ledger_names_keep(aon_ledger *ledger, aon_names *names, size_t collections, size_t texts, aon_error *error) AON_MUST_USE;

/* Sees to it that the key of this name is at hand, if the key file has it. */
aon_piece_keyring aon_ledger_ring(aon_ledger *ledger);
/* Reads and decodes a segment; ret_operations lives in the arena. images false: without them. *ret_cleared may be NULL. */
typedef struct aon_ledger_segment {
  int64_t number, first;
  uint32_t count;
} aon_ledger_segment;
aon_result aon_ledger_segment_read(aon_ledger *ledger, const char *bulk_id, const aon_dictionary *dictionary,
                                   const aon_ledger_segment *segment, bool images, aon_arena *arena, aon_operation **ret_operations,
                                   bool *ret_cleared, aon_error *error) AON_MUST_USE;
/* The segment that holds a sequence; AON_END if none does. */
aon_result aon_ledger_segment_find(aon_ledger *ledger, int64_t bulk, int64_t sequence, aon_ledger_segment *ret_segment,
                                   aon_error *error) AON_MUST_USE;

#define AON_LEDGER_CLAIM UINT32_MAX /* offset of a lock that is no operation */
#define AON_LEDGER_RUN_ENTRY 12     /* bytes: all hashes of a run first, then all offsets, little-endian */
typedef struct aon_ledger_entry {
  uint64_t hash;
  uint32_t at; /* index in the call, or AON_LEDGER_CLAIM */
  bool shared;
} aon_ledger_entry;

typedef struct aon_ledger_hit {
  bool found, older;
  int64_t sequence; /* AON_NO_OPERATION for a claim */
  char holder[80];
} aon_ledger_hit;
/* Looks for others that hold one of the entries (sorted by hash). */
aon_result aon_ledger_collide(aon_ledger *ledger, const char *id, const aon_ledger_head *head, const aon_ledger_entry *entries,
                              size_t count, const aon_operation *operations, aon_ledger_hit *ret_hit, aon_error *error) AON_MUST_USE;
/* Brings the filter up to date with lock_runs. */
aon_result aon_ledger_filter(aon_ledger *ledger, aon_error *error) AON_MUST_USE;
/* Keeps the locks of one segment: entries [0, count) sorted by hash, of which those with at in [from, from + operations) and, with
 * claims, all claims; exclusive or shared ones. */
aon_result aon_ledger_run_keep(aon_ledger *ledger, int64_t bulk, int64_t first, const aon_ledger_entry *entries, size_t count,
                               uint32_t from, uint32_t operations, bool claims, bool shared, aon_error *error) AON_MUST_USE;
/* The operation at an offset of the segment of bulk that begins with first, without images; NULL: there is none. */
aon_result aon_ledger_peek(aon_ledger *ledger, int64_t bulk, int64_t first, uint32_t offset, const aon_operation **ret_operation,
                           aon_error *error) AON_MUST_USE;
/* The piece that holds a sequence, borrowed until the next call of the ledger; AON_END: there is none. */
aon_result aon_ledger_piece(aon_ledger *ledger, int64_t bulk, int64_t sequence, bool images, aon_piece **ret_piece,
                            aon_error *error) AON_MUST_USE;
aon_piece *aon_piece_share(aon_piece *piece);
void aon_piece_release(aon_piece *piece); /* one owner less; NULL is fine */
void aon_ledger_pieces_drop(aon_ledger *ledger);
/* Notes the locks of a segment that is being written; aon_ledger_chain_drop takes all back. */
void aon_ledger_chain_note(aon_ledger *ledger, int64_t bulk, int64_t first, const aon_ledger_entry *entries, size_t count, uint32_t from,
                           uint32_t operations);
void aon_ledger_chain_drop(aon_ledger *ledger);
/* The bulk operation in the way of a lock of that kind on a document; *ret_bulk 0: none. */
aon_result aon_ledger_holder_of(aon_ledger *ledger, const char *store, const char *collection, aon_text document, bool shared,
                                int64_t *ret_bulk, aon_error *error) AON_MUST_USE;

/* A sorted run of hashes in a column, which lives until the statement's next step. */
typedef struct aon_ledger_locks_run {
  const unsigned char *bytes;
  size_t count;
} aon_ledger_locks_run;
aon_result aon_ledger_run_of(sqlite3_stmt *statement, int column, aon_ledger_locks_run *ret_run, aon_error *error) AON_MUST_USE;
uint64_t aon_ledger_run_hash(const aon_ledger_locks_run *run, size_t index);
uint32_t aon_ledger_run_at(const aon_ledger_locks_run *run, size_t index);
/* The first entry with this hash or a greater one, from index on. */
size_t aon_ledger_run_seek(const aon_ledger_locks_run *run, size_t index, uint64_t hash);

/* ---- the backend's functions ---- */

aon_result aon_ledger_submit(void *, const aon_submission *, aon_arena *, aon_bulk *, bool *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_get(void *, const char *, aon_arena *, aon_bulk *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_find(void *, const char *, char[37], aon_error *) AON_MUST_USE;
aon_result aon_ledger_list(void *, const aon_bulk_filter *, aon_bulk_each, void *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_move(void *, const char *, int64_t, aon_state, aon_state, const aon_bulk_change *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_update(void *, const char *, int64_t, const aon_bulk_change *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_claim(void *, const char *, const aon_process *, aon_arena *, aon_bulk *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_renew(void *, const char *, int64_t, int64_t *, bool *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_ask_cancel(void *, const char *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_take(void *, const aon_take *, aon_arena *, aon_bulk *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_wait(void *, int64_t, aon_error *) AON_MUST_USE;
aon_result aon_ledger_file_put(void *, const char *, const aon_process *, uint32_t, const void *, size_t, aon_error *) AON_MUST_USE;
aon_result aon_ledger_file_attach(void *, const char *, int64_t, const aon_journal_file *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_file_find(void *, const char *, aon_file_role, aon_arena *, aon_journal_file *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_file_get(void *, const char *, uint32_t, aon_buffer *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_file_drop(void *, const char *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_sweep_files(void *, uint64_t *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_log(void *, const char *, int64_t, const aon_operation *, size_t, const aon_claimed *, size_t, bool *,
                          aon_error *) AON_MUST_USE;
aon_result aon_ledger_discard(void *, const char *, int64_t, aon_error *) AON_MUST_USE;
aon_result aon_ledger_last_of(void *, const char *, aon_last_query *, size_t, aon_error *) AON_MUST_USE;
aon_result aon_ledger_entries_open(void *, const char *, int64_t, int64_t, bool, void **, aon_error *) AON_MUST_USE;
aon_result aon_ledger_entries_next(void *, const aon_operation **, size_t *, bool *, aon_error *) AON_MUST_USE;
void aon_ledger_entries_close(void *);
aon_result aon_ledger_collections(void *, const char *, aon_arena *, const aon_collection **, size_t *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_clear_images(void *, const char *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_stale(void *, aon_stale_each, void *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_batch(void *, const char *, int64_t, const aon_batch *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_batches(void *, const char *, aon_batch_each, void *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_conflict_put(void *, const char *, int64_t, const aon_conflict *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_conflict_drop(void *, const char *, int64_t, int64_t, aon_error *) AON_MUST_USE;
aon_result aon_ledger_conflicts(void *, const char *, aon_conflict_hear, void *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_holder(void *, const aon_collection *, aon_text, aon_arena *, bool *, aon_bulk *, aon_operation *,
                             aon_error *) AON_MUST_USE;
aon_result aon_ledger_generation(void *, const char *, int64_t *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_lock(void *, const char *, const char *, bool, int64_t, int64_t *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_unlock(void *, const char *, const char *, int64_t, aon_error *) AON_MUST_USE;
aon_result aon_ledger_locks(void *, aon_lock_each, void *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_sweep_locks(void *, uint64_t *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_event(void *, const aon_event *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_events(void *, const char *, int64_t, aon_event_each, void *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_room(void *, uint64_t, aon_error *) AON_MUST_USE;
aon_result aon_ledger_examine(void *, aon_buffer *, bool *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_rotate_key(void *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_dump(void *, aon_copy_put, void *, aon_error *) AON_MUST_USE;
aon_result aon_ledger_load(void *, aon_copy_feed, void *, aon_error *) AON_MUST_USE;
#endif
