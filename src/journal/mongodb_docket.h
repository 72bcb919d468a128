/* The docket: the journal as it is kept in a MongoDB database that has transactions. What the mongodb_*.c files share; docs/journals.md
 * says why it is made so.
 *
 * Collections (mongodb_schema.c): aon_journal_bulk, atomicwritelogs (the plans, in pieces), aon_journal_parts, _names, _locks, _batches,
 * _conflicts, _generations, _named, _waits, _events, _keys, _files, _file_chunks, _waste, _sessions, _meta (version, counters, the turn).
 *
 * Invariants beside those of journal.h:
 *  - a writing call is one transaction (snapshot, majority, journal); it writes to the document of its bulk operation, so a claim and it
 *    can't both be kept; whoever reads what others may be writing (who holds a document) has written to the turn first;
 *  - nothing that a transaction may be holding is written outside of one: such a write would wait for as long as that transaction stays
 *    open;
 *  - a call whose outcome was lost is done again: every call is made so that doing it twice is doing it once, by its conditions or by a
 *    random token that is kept with the document;
 *  - the session of each transaction is noted before the first of them, so that what a dead or frozen worker left open is ended by whoever
 *    is kept waiting by it;
 *  - times are the server's clock, carried on between two looks by this host's monotonic one;
 *  - no cursor stays open while a callback runs, so a callback may call the journal. */
#ifndef AON_JOURNAL_MONGODB_DOCKET_H
#define AON_JOURNAL_MONGODB_DOCKET_H

#include "journal/backend.h"
#include "journal/piece.h"
#include "wire/mongodb.h"

#define AON_DOCKET_PAGE 64              /* documents that a listing holds in memory at once */
#define AON_DOCKET_CLEAR_SEGMENTS 64    /* of one call of clear_images */
#define AON_DOCKET_RUN 4096             /* locks in one document of them */
#define AON_DOCKET_LEASE_MS 30000       /* default of aon_journal_config.lease_ms */
#define AON_DOCKET_LOCK_LEASE_MS 300000 /* of named locks whose holder names none */
#define AON_DOCKET_WAIT_MS 2000         /* how long a writer that found a named lock taken goes before later readers */
#define AON_DOCKET_CALL_MS 10000        /* time limit of one command */
#define AON_DOCKET_PATIENCE_MS 12000    /* no try begins later: with the last one, less than a lease */
#define AON_DOCKET_CONNECT_MS 3000
#define AON_DOCKET_CLOCK_MS 1000          /* after that long the server is asked for the time again */
#define AON_DOCKET_PART ((size_t)8 << 20) /* bytes of images in one document */
#define AON_DOCKET_HASHES 1000            /* that are looked for at once */
#define AON_DOCKET_PIECES 64              /* of one call of the log */
#define AON_DOCKET_TOKEN 16
#define AON_DOCKET_KEY 128 /* bytes of a key made of numbers and an id */

#define AON_DOCKET_BULK "aon_journal_bulk"
#define AON_DOCKET_LOG "atomicwritelogs"
#define AON_DOCKET_PARTS "aon_journal_parts" /* of images that no single document can hold */
#define AON_DOCKET_NAMES "aon_journal_names"
#define AON_DOCKET_LOCKS "aon_journal_locks"
#define AON_DOCKET_BATCHES "aon_journal_batches"
#define AON_DOCKET_CONFLICTS "aon_journal_conflicts"
#define AON_DOCKET_GENERATIONS "aon_journal_generations"
#define AON_DOCKET_NAMED "aon_journal_named"
#define AON_DOCKET_WAITS "aon_journal_waits"
#define AON_DOCKET_EVENTS "aon_journal_events"
#define AON_DOCKET_KEYS "aon_journal_keys"
#define AON_DOCKET_FILES "aon_journal_files"
#define AON_DOCKET_CHUNKS "aon_journal_file_chunks"
#define AON_DOCKET_WASTE "aon_journal_waste"
#define AON_DOCKET_SESSIONS "aon_journal_sessions"
#define AON_DOCKET_META "aon_journal_meta"

typedef struct aon_docket_names { /* the dictionary of one log, as far as it was read or written */
  int64_t log, last;              /* log 0: none; last: number of its last document of names */
  aon_dictionary *dictionary;
} aon_docket_names;

typedef struct aon_docket {
  aon_env *env;
  char *url, *key_file;
  aon_interrupt interrupt; /* never raised: a journal's call is not cancelled, it has its time limit */
  aon_mongodb *connection;
  aon_keys *keys; /* NULL: read-only and none there */
  int64_t lease_ms;
  bool read_only, absent;
  bool inside, wrote, failed;            /* a transaction is open; it wrote; the server, not the work, ended it */
  const int64_t *ahead_ms;               /* added to the server's time; NULL, but where a test sets its clock */
  int64_t server_ms, read_at_ms, now_ms; /* the server's time when it was read, this host's monotonic one then; the time of this call */
  bson_t *session;                       /* that was noted last, NULL: none */
  int64_t noted_at_ms;                   /* monotonic */
  aon_docket_names names;
  aon_segment_writer writer;
  aon_piece_loaded piece; /* the last one that a single operation was looked for in */
  char logged_id[40];     /* the bulk operation that this handle logged for last, … */
  int64_t logged;         /* … and how far */
} aon_docket;

/* ---- documents ---- */

void aon_docket_end(bson_t **document);
#define AON_DOCKET_BSON __attribute__((cleanup(aon_docket_end))) bson_t *

typedef struct aon_docket_row {
  const uint8_t *bytes;
  size_t length;
} aon_docket_row;
typedef struct aon_docket_rows {
  aon_arena arena;
  aon_docket_row *rows;
  size_t count, capacity;
} aon_docket_rows;
void aon_docket_rows_end(aon_docket_rows *rows);
#define AON_DOCKET_ROWS __attribute__((cleanup(aon_docket_rows_end))) aon_docket_rows

int64_t aon_docket_int(const aon_docket_row *row, const char *name);      /* also of booleans; 0 where there is none */
const char *aon_docket_text(const aon_docket_row *row, const char *name); /* NULL where there is none */
const void *aon_docket_bytes(const aon_docket_row *row, const char *name, size_t *ret_length);
bool aon_docket_there(const aon_docket_row *row, const char *name); /* and not null */
aon_result aon_docket_copy(const aon_docket_row *row, const char *name, aon_arena *arena, const char **ret_text,
                           aon_error *error) AON_MUST_USE;

/* ---- calls ---- */

/* The functions below take documents over, and destroy them. In a transaction where one is open; else a find is asked again where no answer
 * came. options NULL: none; as libmongoc's find has them. */
aon_result aon_docket_find(aon_docket *d, const char *collection, bson_t *filter, bson_t *options, aon_docket_rows *ret_rows,
                           const char *doing, aon_error *error) AON_MUST_USE;
aon_result aon_docket_count(aon_docket *d, const char *collection, bson_t *filter, int64_t *ret_count, aon_error *error) AON_MUST_USE;
/* In a transaction only. */
aon_result aon_docket_insert(aon_docket *d, const char *collection, bson_t *document, aon_error *error) AON_MUST_USE;
aon_result aon_docket_update(aon_docket *d, const char *collection, bson_t *filter, bson_t *update, bool upsert, int64_t *ret_matched,
                             aon_error *error) AON_MUST_USE;
aon_result aon_docket_update_all(aon_docket *d, const char *collection, bson_t *filter, bson_t *update, int64_t *ret_matched,
                                 aon_error *error) AON_MUST_USE;
aon_result aon_docket_delete(aon_docket *d, const char *collection, bson_t *filter, int64_t *ret_deleted, aon_error *error) AON_MUST_USE;
/* Changes one document, and gives a number of what it is afterwards; AON_TRANSIENT where there is none and upsert is false. */
aon_result aon_docket_raise(aon_docket *d, const char *collection, bson_t *filter, bson_t *how, bool upsert, const char *name,
                            int64_t *ret_number, aon_error *error) AON_MUST_USE;
aon_result aon_docket_next(aon_docket *d, const char *counter, int64_t *ret_number,
                           aon_error *error) AON_MUST_USE; /* of a counter; from 1 */
aon_result aon_docket_turn(aon_docket *d,
                           aon_error *error) AON_MUST_USE; /* nobody else asks who holds a document until this transaction ends */
/* Any other command, outside of a transaction. */
aon_result aon_docket_command(aon_docket *d, const char *database, bson_t *command, aon_mongodb_kind kind, const char *doing,
                              bson_t *ret_reply, aon_error *error) AON_MUST_USE;

/* One that only reads, asked again where no answer came. */
aon_result aon_docket_ask(aon_docket *d, const char *database, bson_t *command, const char *doing, bson_t *ret_reply,
                          aon_error *error) AON_MUST_USE;

typedef aon_result (*aon_docket_work)(aon_docket *d, void *arguments, aon_error *error);
/* work in one transaction, done again from its start where it was lost or another got in its way; AON_UNKNOWN journal_unknown where its
 * commit was never answered. What work returns besides AON_OK ends the transaction without a trace. */
aon_result aon_docket_write(aon_docket *d, const char *doing, aon_docket_work work, void *arguments, aon_error *error) AON_MUST_USE;
/* All reads of work see one state of the journal; again: work is done again where the connection broke. */
aon_result aon_docket_read(aon_docket *d, bool again, const char *doing, aon_docket_work work, void *arguments,
                           aon_error *error) AON_MUST_USE;
aon_result aon_docket_now(aon_docket *d, int64_t *ret_now_ms, aon_error *error) AON_MUST_USE; /* in work it is d->now_ms */
void aon_docket_token(aon_docket *d, char ret_token[AON_DOCKET_TOKEN + 1]);
aon_result aon_docket_connect(aon_docket *d, aon_error *error) AON_MUST_USE;
void aon_docket_hang_up(aon_docket *d);
void aon_docket_forget(aon_docket *d); /* the session that was noted */

/* Keys of documents that stand in the order of two numbers, and the filter for those from one to another (both ends). */
void aon_docket_key(char ret_key[AON_DOCKET_KEY], int64_t number, int64_t second);
bson_t *aon_docket_range(int64_t number, int64_t first, int64_t last);
bson_t *aon_docket_sorted(const char *by, int direction, int64_t limit); /* options of a find; limit 0: all */

/* ---- schema ---- */

aon_result aon_docket_open(aon_env *env, const aon_journal_config *config, void **ret_docket, aon_error *error) AON_MUST_USE;
void aon_docket_close(void *docket);
bool aon_docket_missing(const void *docket);
int aon_docket_version(void);
/* Another journal is being copied into this one until then, and it is none yet; 0: it is whole. In a transaction. */
aon_result aon_docket_loading(aon_docket *d, int64_t until_ms, aon_error *error) AON_MUST_USE;
aon_result aon_docket_wipe(aon_docket *d, aon_error *error) AON_MUST_USE; /* empty again, and whole; but for its keys */

/* ---- bulk operations ---- */

aon_result aon_docket_bulk_from(const aon_docket_row *row, aon_arena *arena, aon_bulk *ret_bulk, aon_error *error) AON_MUST_USE;
aon_result aon_docket_not_found(const char *id, aon_error *error) AON_MUST_USE;

typedef struct aon_docket_head {
  int64_t number, log, epoch, age_ms, logged, names;
  aon_state state;
  bool holds, worked_on;
} aon_docket_head;
aon_result aon_docket_head_from(const aon_docket_row *row, const char *id, aon_docket_head *ret_head, aon_error *error) AON_MUST_USE;
aon_result aon_docket_head_of(aon_docket *d, const char *id, aon_docket_head *ret_head,
                              aon_error *error) AON_MUST_USE; /* AON_USAGE not_found */
/* The same, and AON_FENCED if another worker has taken over, AON_ENVIRONMENT if the journal has lost what this handle logged. */
aon_result aon_docket_fence(aon_docket *d, const char *id, int64_t epoch, aon_docket_head *ret_head, aon_error *error) AON_MUST_USE;
/* Writes to the document of the bulk operation, if it has that epoch still: set may be NULL. *ret_writes: how often this was done. */
aon_result aon_docket_touch(aon_docket *d, const char *id, int64_t epoch, bson_t *set, int64_t *ret_writes, aon_error *error) AON_MUST_USE;

/* ---- names, segments ---- */

void aon_docket_names_drop(aon_docket_names *names);
aon_result aon_docket_names_load(aon_docket *d, int64_t log, aon_error *error) AON_MUST_USE;
/* The segment that holds a sequence, decoded; AON_END: there is none. */
aon_result aon_docket_segment(void *state, const char *bulk_id, int64_t log, int64_t sequence, bool images, aon_piece_loaded *piece,
                              aon_error *error) AON_MUST_USE;
/* What a document of the log stands for; images of more than one document come together in the arena. */
aon_result aon_docket_stored(aon_docket *d, const aon_docket_row *row, aon_arena *arena, aon_stored *ret_stored,
                             aon_error *error) AON_MUST_USE;
aon_result aon_docket_store(aon_docket *d, int64_t log, const aon_stored *stored, aon_error *error) AON_MUST_USE;
aon_piece_keyring aon_docket_ring(aon_docket *d);

/* ---- locks of documents ---- */

#define AON_DOCKET_CLAIM UINT32_MAX /* place of a lock that is no operation's */
typedef struct aon_docket_entry {
  uint64_t hash;
  uint32_t at; /* behind the first sequence of its document, or AON_DOCKET_CLAIM */
  bool shared;
} aon_docket_entry;
/* Entries are sorted by hash; all of one kind, at most AON_DOCKET_RUN. */
aon_result aon_docket_run_put(aon_docket *d, int64_t log, int64_t first, const aon_docket_entry *entries, size_t count,
                              aon_error *error) AON_MUST_USE;
typedef struct aon_docket_run {
  int64_t log, first;
  bool shared;
  const uint8_t *bytes; /* 12 of each entry: hash, place */
  size_t count;
} aon_docket_run;
aon_result aon_docket_run_from(const aon_docket_row *row, aon_docket_run *ret_run, aon_error *error) AON_MUST_USE;
aon_docket_entry aon_docket_run_at(const aon_docket_run *run, size_t index);
size_t aon_docket_run_seek(const aon_docket_run *run, uint64_t hash); /* the first one with that hash or a higher one */
/* The runs of these logs that hold one of the hashes (at most AON_DOCKET_HASHES), newest first. */
aon_result aon_docket_runs_with(aon_docket *d, const int64_t *logs, size_t log_count, const uint64_t *hashes, size_t hash_count,
                                aon_docket_rows *ret_rows, aon_error *error) AON_MUST_USE;
/* The bulk operations that hold documents, oldest first, but not the one of this id (NULL: all). */
aon_result aon_docket_holding(aon_docket *d, const char *but, aon_docket_rows *ret_rows, aon_error *error) AON_MUST_USE;
bson_t *aon_docket_among(const int64_t *numbers, size_t count); /* {$in: […]} */

/* ---- the backend's functions ---- */

aon_result aon_docket_submit(void *, const aon_submission *, aon_arena *, aon_bulk *, bool *, aon_error *) AON_MUST_USE;
aon_result aon_docket_get(void *, const char *, aon_arena *, aon_bulk *, aon_error *) AON_MUST_USE;
aon_result aon_docket_by_prefix(void *, const char *, char[37], aon_error *) AON_MUST_USE;
aon_result aon_docket_list(void *, const aon_bulk_filter *, aon_bulk_each, void *, aon_error *) AON_MUST_USE;
aon_result aon_docket_move(void *, const char *, int64_t, aon_state, aon_state, const aon_bulk_change *, aon_error *) AON_MUST_USE;
aon_result aon_docket_change(void *, const char *, int64_t, const aon_bulk_change *, aon_error *) AON_MUST_USE;
aon_result aon_docket_claim(void *, const char *, const aon_process *, aon_arena *, aon_bulk *, aon_error *) AON_MUST_USE;
aon_result aon_docket_renew(void *, const char *, int64_t, int64_t *, bool *, aon_error *) AON_MUST_USE;
aon_result aon_docket_ask_cancel(void *, const char *, aon_error *) AON_MUST_USE;
aon_result aon_docket_take(void *, const aon_take *, aon_arena *, aon_bulk *, aon_error *) AON_MUST_USE;
aon_result aon_docket_wait(void *, int64_t, aon_error *) AON_MUST_USE;
aon_result aon_docket_file_put(void *, const char *, const aon_process *, uint32_t, const void *, size_t, aon_error *) AON_MUST_USE;
aon_result aon_docket_file_attach(void *, const char *, int64_t, const aon_journal_file *, aon_error *) AON_MUST_USE;
aon_result aon_docket_file_find(void *, const char *, aon_file_role, aon_arena *, aon_journal_file *, aon_error *) AON_MUST_USE;
aon_result aon_docket_file_get(void *, const char *, uint32_t, aon_buffer *, aon_error *) AON_MUST_USE;
aon_result aon_docket_file_drop(void *, const char *, aon_error *) AON_MUST_USE;
aon_result aon_docket_sweep_files(void *, uint64_t *, aon_error *) AON_MUST_USE;
/* In a transaction: is the file there, with so many bytes and nobody's? *ret_there: its bytes; *ret_owner: number of its bulk operation, 0:
 * none. */
aon_result aon_docket_file_look(aon_docket *d, const char *file, uint64_t bytes, bool *ret_whole, int64_t *ret_there, int64_t *ret_owner,
                                aon_error *error) AON_MUST_USE;
aon_result aon_docket_file_incomplete(int64_t there, uint64_t wanted, aon_error *error) AON_MUST_USE;
aon_result aon_docket_files_examine(aon_docket *d, aon_buffer *report, aon_error *error) AON_MUST_USE;
aon_result aon_docket_log(void *, const char *, int64_t, const aon_operation *, size_t, const aon_claimed *, size_t, bool *,
                          aon_error *) AON_MUST_USE;
aon_result aon_docket_discard(void *, const char *, int64_t, aon_error *) AON_MUST_USE;
aon_result aon_docket_last_of(void *, const char *, aon_last_query *, size_t, aon_error *) AON_MUST_USE;
aon_result aon_docket_entries_open(void *, const char *, int64_t, int64_t, bool, void **, aon_error *) AON_MUST_USE;
aon_result aon_docket_collections(void *, const char *, aon_arena *, const aon_collection **, size_t *, aon_error *) AON_MUST_USE;
aon_result aon_docket_clear_images(void *, const char *, aon_error *) AON_MUST_USE;
aon_result aon_docket_stale(void *, aon_stale_each, void *, aon_error *) AON_MUST_USE;
aon_result aon_docket_batch(void *, const char *, int64_t, const aon_batch *, aon_error *) AON_MUST_USE;
aon_result aon_docket_batches(void *, const char *, aon_batch_each, void *, aon_error *) AON_MUST_USE;
aon_result aon_docket_conflict_put(void *, const char *, int64_t, const aon_conflict *, aon_error *) AON_MUST_USE;
aon_result aon_docket_conflict_drop(void *, const char *, int64_t, int64_t, aon_error *) AON_MUST_USE;
aon_result aon_docket_conflicts(void *, const char *, aon_conflict_hear, void *, aon_error *) AON_MUST_USE;
aon_result aon_docket_holder(void *, const aon_collection *, aon_text, aon_arena *, bool *, aon_bulk *, aon_operation *,
                             aon_error *) AON_MUST_USE;
aon_result aon_docket_generation(void *, const char *, int64_t *, aon_error *) AON_MUST_USE;
aon_result aon_docket_lock(void *, const char *, const char *, bool, int64_t, int64_t *, aon_error *) AON_MUST_USE;
aon_result aon_docket_unlock(void *, const char *, const char *, int64_t, aon_error *) AON_MUST_USE;
aon_result aon_docket_locks(void *, aon_lock_each, void *, aon_error *) AON_MUST_USE;
aon_result aon_docket_sweep_locks(void *, uint64_t *, aon_error *) AON_MUST_USE;
aon_result aon_docket_event(void *, const aon_event *, aon_error *) AON_MUST_USE;
aon_result aon_docket_events(void *, const char *, int64_t, aon_event_each, void *, aon_error *) AON_MUST_USE;
aon_result aon_docket_room(void *, uint64_t, aon_error *) AON_MUST_USE;
aon_result aon_docket_examine(void *, aon_buffer *, bool *, aon_error *) AON_MUST_USE;
aon_result aon_docket_rotate_key(void *, aon_error *) AON_MUST_USE;
aon_result aon_docket_dump(void *, aon_copy_put, void *, aon_error *) AON_MUST_USE;
aon_result aon_docket_load(void *, aon_copy_feed, void *, aon_error *) AON_MUST_USE;
#endif
