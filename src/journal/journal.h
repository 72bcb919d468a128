/* The journal: the durable record of bulk operations, their operations, locks and audit events.
 *
 * Invariants (docs/protocol.md):
 *  - every change of a bulk operation is conditional on its epoch (AON_FENCED if another worker has taken over);
 *  - a lost or doubled reply is harmless: moving to where it already is, with the same epoch, succeeds;
 *  - operations do not change after `logged`; progress is kept by batch;
 *  - a document, a unique value and a reference are held by the bulk operation whose log names them, until its terminal arrow;
 *    documents in conflict stay held after it;
 *  - sensitive images never reach the disk in clear; without the key no journal opens for writing;
 *  - expiry is judged by this journal's clock alone.
 *  - what submit, claim and cancel say, each arrow from `logged` on, each announced batch and each conflict are on the disk when the call
 *    returns; all other writes survive a killed process at once and a lost power with the next such call: a plan that is not yet `logged`
 *    explains nothing outside the journal, so logging a million operations needs one sync, by the arrow. `executing` is such a write too:
 *    what is sent after it lasts only by a later record that is on the disk.
 * One thread per handle. All calls count as steps of the environment. Times are milliseconds since 1970 UTC. */
#ifndef AON_JOURNAL_JOURNAL_H
#define AON_JOURNAL_JOURNAL_H

#include "aon/operation.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "model/state.h"

typedef struct aon_journal aon_journal;

typedef struct aon_journal_config {
  const char *location;   /* path of a SQLite file, or postgresql://… (docs/journals.md) */
  const char *key_file;   /* made with 0600 together with the journal; keys newest first, older ones still read */
  uint64_t reserve_bytes; /* SQLite: kept in a file beside, given free when the disk is full; 0: none */
  bool read_only;         /* a missing journal is then an empty one */
  int64_t lease_ms;       /* default 30 s */
} aon_journal_config;

const char *aon_journal_kind(const char *location); /* "sqlite", "postgresql" */
bool aon_journal_on_server(const char *location);   /* a URL of a server, not a file; it may hold a password */
aon_result aon_journal_open(aon_env *env, const aon_journal_config *config, aon_journal **ret_journal, aon_error *error) AON_MUST_USE;
void aon_journal_close(aon_journal *journal);
/* Opened for reading where there was none: an empty stand-in, which never sees one that is made later. Open it again. */
bool aon_journal_missing(const aon_journal *journal);

/* ---- bulk operations ---- */

/* What is asked for; texts borrowed. digest: of content and options, so that the same id or key with other content is told apart. */
typedef struct aon_submission {
  const char *id;              /* UUID, lower case */
  const char *idempotency_key; /* NULL: none; unique per organization */
  const char *digest;
  const char *organization, *user;
  const char *kind;   /* "import", "apply", "undo", "call" */
  const char *source; /* file name or description, for people */
  const char *pack;   /* NULL */
  const char *undoes; /* id, NULL */
  aon_state state;    /* first state: queued, parsing, planning, … */
  bool dry_run, hold_on_failure, test_mode;
  const char *options;       /* JSON object for whoever takes it from the queue; NULL */
  const char *file;          /* id of a file that was put (below), which becomes its upload in the same write; NULL */
  uint64_t file_bytes;       /* … and all that must be there of it */
  int64_t age_ms;            /* its place among others when they wait for each other; usually now */
  const aon_process *worker; /* takes the lease at once (epoch 1); NULL: nobody does (epoch 0) */
} aon_submission;

#define AON_ATTEMPTS_MAX 10000 /* of a bulk operation: recovery asks the stores about each of them */

typedef struct aon_bulk { /* texts owned by the arena given to the call; NULL where there is none */
  const char *id, *idempotency_key, *digest, *organization, *user, *kind, *source, *pack, *undoes;
  aon_state state;
  int64_t epoch;
  uint32_t attempt; /* rises with each resume and with each rehearsal's real run, to AON_ATTEMPTS_MAX */
  bool dry_run, hold_on_failure, test_mode, cancel_asked;
  int64_t created_ms, changed_ms, finished_ms, age_ms, lease_until_ms, hold_until_ms, images_until_ms;
  aon_process worker;  /* boot_id "" if none */
  int64_t operations;  /* of the plan */
  int64_t progress;    /* operations executed (or, going back, still to be put back), for people */
  const char *stores;  /* JSON array of {name, class, operations, lastResource}: who takes part, in drive order; NULL before logged */
  const char *summary; /* JSON object: counts, warnings, timings, … as the result prints them */
  const char *failure; /* JSON object, NULL */
  const char *options; /* as submitted */
} aon_bulk;

/* One write. If the id, or the key within the organization, is there with the same digest: *ret_existed true and the
 * first one returned. With another digest: AON_USAGE, code idempotency_mismatch, held_by the first one's id. */
aon_result aon_journal_submit(aon_journal *, const aon_submission *, aon_arena *, aon_bulk *ret_bulk, bool *ret_existed,
                              aon_error *) AON_MUST_USE;

aon_result aon_journal_get(aon_journal *, const char *id, aon_arena *, aon_bulk *ret_bulk,
                           aon_error *) AON_MUST_USE; /* unknown: AON_USAGE not_found */
/* A unique prefix of an id (at least 4 characters) gives the whole one. */
aon_result aon_journal_find(aon_journal *, const char *prefix, char ret_id[37], aon_error *) AON_MUST_USE;

typedef aon_result (*aon_bulk_each)(void *context, const aon_bulk *bulk, aon_error *error); /* AON_END stops */
typedef struct aon_bulk_filter {
  const aon_state *states;
  size_t state_count;       /* none: all */
  const char *organization; /* NULL: all */
  const char *query;        /* in source, user or id prefix; NULL: all */
  const char *undoes;       /* NULL: all */
  const char *before_id;    /* keyset page: only those older than this one; NULL */
  uint32_t limit;           /* 0: no limit */
} aon_bulk_filter;
aon_result aon_journal_list(aon_journal *, const aon_bulk_filter *, aon_bulk_each, void *context,
                            aon_error *) AON_MUST_USE; /* newest first */

/* One conditional write: state from -> to. Fields of change that are set are written with it. Arrows into executing and to a
 * terminal state raise the generation of the bulk operation's stores in the same write; a terminal arrow frees its locks and
 * its lease, any other arrow renews its worker's lease. A lost reply is read back before the function returns. */
typedef struct aon_bulk_change {
  const char *stores, *summary, *failure; /* NULL: as it is; failure "": none any more */
  const int64_t *operations, *hold_until_ms, *images_until_ms, *progress;
  const uint32_t *attempt;
  bool free_lease; /* held: nobody works on it */
} aon_bulk_change;
aon_result aon_journal_move(aon_journal *, const char *id, int64_t epoch, aon_state from, aon_state to, const aon_bulk_change *,
                            aon_error *) AON_MUST_USE;
/* The same without an arrow (progress, failure, attempt). */
aon_result aon_journal_update(aon_journal *, const char *id, int64_t epoch, const aon_bulk_change *, aon_error *) AON_MUST_USE;

/* Takes the lease with a higher epoch if nobody has it, it has expired, or its worker is proved dead; AON_BUSY otherwise
 * (held_by: the worker as text). */
aon_result aon_journal_claim(aon_journal *, const char *id, const aon_process *worker, aon_arena *, aon_bulk *ret_bulk,
                             aon_error *) AON_MUST_USE;
/* The same for the oldest (age_ms, then order of submission) that is queued, whose hold_until_ms has passed and that nobody works on. Its
 * state stays queued: the worker looks at it, and either moves it on or gives its lease free again. AON_END: there is none. */
typedef struct aon_take {
  const aon_process *worker;
  const char *organization; /* NULL: of any */
  const char *after;        /* id: only those behind this one in the queue; NULL: from its front */
} aon_take;
aon_result aon_journal_take(aon_journal *, const aon_take *, aon_arena *, aon_bulk *ret_bulk, aon_error *) AON_MUST_USE;
/* Returns when something may have come into the queue, or after longest_ms. */
aon_result aon_journal_wait(aon_journal *, int64_t longest_ms, aon_error *) AON_MUST_USE;
aon_result aon_journal_renew(aon_journal *, const char *id, int64_t epoch, int64_t *ret_lease_until_ms, bool *ret_cancel_asked,
                             aon_error *) AON_MUST_USE;
/* Anybody may ask; the worker hears it when it renews. */
aon_result aon_journal_ask_cancel(aon_journal *, const char *id, aon_error *) AON_MUST_USE;

/* ---- files: what was uploaded to be worked on later, and the report about it ----
 *
 * A file comes in chunks, each encrypted like images, under an id of its own (a UUID that whoever puts it has made). It belongs to nobody
 * until aon_journal_submit or aon_journal_file_attach names it, whole, in their one write; until then no worker sees anything of it. The
 * sweep takes away those that nobody named: whose process is proved dead, or to which nothing was added for AON_FILE_ORPHAN_MS. An upload
 * is kept as long as its bulk operation may still be queued again (up to `logged`), a report until its time. */

#define AON_FILE_CHUNK_BYTES ((size_t)256 << 10) /* all chunks but the last one are full */
#define AON_FILE_LIMIT_BYTES ((uint64_t)4 << 30)
#define AON_FILE_ORPHAN_MS 600000

typedef enum aon_file_role { AON_FILE_UPLOAD, AON_FILE_REPORT } aon_file_role;
typedef struct aon_journal_file {
  const char *id;
  aon_file_role role;
  uint64_t bytes;
  int64_t until_ms; /* a report is kept so long; 0: as long as its bulk operation */
} aon_journal_file;

/* Chunks in order from 0; the last one may be put again. Not durable by itself: the write that names the file is. */
aon_result aon_journal_file_put(aon_journal *, const char *file, const aon_process *owner, uint32_t chunk, const void *bytes, size_t length,
                                aon_error *) AON_MUST_USE;
/* Names a file that is whole (bytes of it are there, else AON_USAGE incomplete_file) as that of a bulk operation, in place of an earlier
 * one of its role. Conditional on the epoch. */
aon_result aon_journal_file_attach(aon_journal *, const char *id, int64_t epoch, const aon_journal_file *, aon_error *) AON_MUST_USE;
aon_result aon_journal_file_find(aon_journal *, const char *id, aon_file_role, aon_arena *, aon_journal_file *ret_file,
                                 aon_error *) AON_MUST_USE; /* AON_END: it has none */
/* Replaces out by one chunk. AON_END behind the last one, or if the file is gone; AON_CORRUPT. */
aon_result aon_journal_file_get(aon_journal *, const char *file, uint32_t chunk, aon_buffer *out, aon_error *) AON_MUST_USE;
/* Gives up a file that was not named; one that was, or that is not there, stays as it is. */
aon_result aon_journal_file_drop(aon_journal *, const char *file, aon_error *) AON_MUST_USE;
aon_result aon_journal_sweep_files(aon_journal *, uint64_t *ret_freed, aon_error *) AON_MUST_USE;

/* ---- the log ---- */

typedef struct aon_claimed { /* beside the documents, which the operations themselves name */
  uint64_t hash;             /* of a unique value, or of a document referred to */
  bool shared;
} aon_claimed;

/* Appends operations with consecutive sequences and their locks in one transaction. Another bulk operation that is not
 * terminal, or a conflict, holds one of them: AON_BUSY, nothing written, held_by its id, operation the first such sequence (or
 * AON_NO_OPERATION for a claim); *ret_holder_older whether the holder is older (age_ms, then id) than this one. */
aon_result aon_journal_log(aon_journal *, const char *id, int64_t epoch, const aon_operation *operations, size_t count,
                           const aon_claimed *claims, size_t claim_count, bool *ret_holder_older, aon_error *) AON_MUST_USE;
/* Takes all its operations and locks out again (before `logged` only), to plan anew. */
aon_result aon_journal_discard(aon_journal *, const char *id, int64_t epoch, aon_error *) AON_MUST_USE;
/* Is this document already in the log of this bulk operation (for chains)? ret_sequence: the last one; AON_NO_OPERATION: no.
 * Memory is bounded whatever the number of operations. */
aon_result aon_journal_last_of(aon_journal *, const char *id, uint64_t document_hash, const aon_collection *, aon_text document,
                               int64_t *ret_sequence, aon_error *) AON_MUST_USE;

/* The same for many documents at once: the log is searched once for all of them. */
typedef struct aon_last_query {
  uint64_t hash; /* aon_document_hash of the document */
  const aon_collection *collection;
  aon_text document;
  int64_t sequence; /* set by the call */
} aon_last_query;
aon_result aon_journal_last_of_many(aon_journal *, const char *id, aon_last_query *queries, size_t count, aon_error *) AON_MUST_USE;

typedef struct aon_entries aon_entries; /* a cursor over the operations of one bulk operation; a piece at a time */
aon_result aon_entries_open(aon_journal *, const char *id, int64_t first, int64_t last, bool backward, aon_entries **ret_entries,
                            aon_error *) AON_MUST_USE;
/* The next operations (in ascending order within a piece, also backward: the pieces come newest first), until AON_END. They
 * and their collections live until the next call but one, or close, so that a piece can be worked on while the next one is read. With
 * cleared images before and after are absent and *ret_cleared true. */
aon_result aon_entries_next(aon_entries *, const aon_operation **ret_operations, size_t *ret_count, bool *ret_cleared,
                            aon_error *) AON_MUST_USE;
void aon_entries_close(aon_entries *);

/* Collections that the log names, with all their settings, kept with the bulk operation so that recovery needs no pack. */
aon_result aon_journal_collections(aon_journal *, const char *id, aon_arena *, const aon_collection **ret_collections, size_t *ret_count,
                                   aon_error *) AON_MUST_USE;

/* Removes images, a piece (at most 64 segments) a call; AON_END when nothing is left to clear. */
aon_result aon_journal_clear_images(aon_journal *, const char *id, aon_error *) AON_MUST_USE;

/* ---- progress by batch ---- */

typedef enum aon_batch_status { AON_BATCH_ANNOUNCED, AON_BATCH_APPLIED, AON_BATCH_UNDONE, AON_BATCH_REFUSED } aon_batch_status;
typedef struct aon_batch {
  const char *store;
  uint32_t attempt, batch;
  int64_t first, last; /* sequences, both ends; in between only those of this store count */
  aon_batch_status status;
  int64_t at_ms;   /* of the last change of status, by the journal's clock */
  bool unanswered; /* a request of it never got its reply (classes 4, 5) */
  bool durable;    /* not kept: this change is on the disk when the call returns, as an announcement always is */
} aon_batch;
aon_result aon_journal_batch(aon_journal *, const char *id, int64_t epoch, const aon_batch *,
                             aon_error *) AON_MUST_USE; /* insert or change; at_ms is set here */
typedef aon_result (*aon_batch_each)(void *context, const aon_batch *, aon_error *);
aon_result aon_journal_batches(aon_journal *, const char *id, aon_batch_each, void *context,
                               aon_error *) AON_MUST_USE; /* in order of announcement */

/* ---- documents that need a person, or still a look ---- */

typedef struct aon_conflict {
  int64_t sequence;
  const char *store, *collection, *document_id;
  const char *code, *sentence;
  const char *paths;  /* JSON array of JSON Pointers in conflict; NULL: the whole document */
  const char *choice; /* NULL: open; keep_theirs, force, merge once a person has chosen */
  bool watched;       /* not a conflict: only looked at again until watch_until_ms */
  int64_t watch_until_ms;
} aon_conflict;
aon_result aon_journal_conflict_put(aon_journal *, const char *id, int64_t epoch, const aon_conflict *, aon_error *) AON_MUST_USE;
aon_result aon_journal_conflict_drop(aon_journal *, const char *id, int64_t epoch, int64_t sequence, aon_error *) AON_MUST_USE;
typedef aon_result (*aon_conflict_hear)(void *context, const aon_conflict *, aon_error *);
aon_result aon_journal_conflicts(aon_journal *, const char *id, aon_conflict_hear, void *context, aon_error *) AON_MUST_USE;

/* ---- who holds a document (reads) ---- */

/* The bulk operation that holds the document, not terminal or in conflict: *ret_held false if none. Operation and images in the arena:
 * first and last one of its chain are folded (before of the first, after of the last). */
aon_result aon_journal_holder(aon_journal *, const aon_collection *, aon_text document, aon_arena *, bool *ret_held, aon_bulk *ret_bulk,
                              aon_operation *ret_operation, aon_error *) AON_MUST_USE;
/* Raised by each arrow into executing and to a terminal state of a bulk operation that touches the store; 0 for an unknown one. */
aon_result aon_journal_generation(aon_journal *, const char *store, int64_t *ret_generation, aon_error *) AON_MUST_USE;

/* ---- named locks, and what is locked ---- */

typedef struct aon_lock {
  const char *name, *holder, *kind; /* kind: "named", "property", "documents" (a bulk operation's, as one), "conflict" */
  bool shared;
  int64_t epoch, since_ms, lease_until_ms, updated_ms;
} aon_lock;
/* A name of the form document:STORE/COLLECTION/ID or property:STORE/COLLECTION/ID#/POINTER locks that document, or a part of it, against
 * bulk operations and other such locks; any other name is only itself. lease_ms 0: 5 minutes. */
/* Taken or renewed: *ret_epoch. Held by another: AON_BUSY with held_by. A waiting writer (wait_since_ms > 0) goes before later readers. */
aon_result aon_journal_lock(aon_journal *, const char *name, const char *holder, bool shared, int64_t lease_ms, int64_t *ret_epoch,
                            aon_error *) AON_MUST_USE;
aon_result aon_journal_unlock(aon_journal *, const char *name, const char *holder, int64_t epoch,
                              aon_error *) AON_MUST_USE; /* holder NULL: a person releases it */
typedef aon_result (*aon_lock_each)(void *context, const aon_lock *, aon_error *);
aon_result aon_journal_locks(aon_journal *, aon_lock_each, void *context, aon_error *) AON_MUST_USE;
aon_result aon_journal_sweep_locks(aon_journal *, uint64_t *ret_freed, aon_error *) AON_MUST_USE;

/* ---- audit events, numbered per journal; the tail is what `aon watch` follows ---- */

typedef struct aon_event {
  int64_t number, at_ms;
  const char *bulk_id, *who, *what; /* what: "state:executing", "cancel", "resolve", … */
  const char *detail;               /* JSON object or NULL */
} aon_event;
aon_result aon_journal_event(aon_journal *, const aon_event *, aon_error *) AON_MUST_USE; /* number and at_ms are set here */
typedef aon_result (*aon_event_each)(void *context, const aon_event *, aon_error *);
aon_result aon_journal_events(aon_journal *, const char *bulk_id, int64_t after_number, aon_event_each, void *context,
                              aon_error *) AON_MUST_USE;

/* ---- housekeeping ---- */

/* Bulk operations at their end that housekeeping must look at: images past their time (never of test mode, nor where a document is in
 * conflict or watched), or documents that are watched. Oldest first; costs no more than what it finds. each may change the journal. */
typedef aon_result (*aon_stale_each)(void *context, const char *id, bool images, bool watched, aon_error *error);
aon_result aon_journal_stale(aon_journal *, aon_stale_each, void *context, aon_error *) AON_MUST_USE;

/* AON_ENVIRONMENT disk_full if the journal's disk cannot hold that much more and its reserve. */
aon_result aon_journal_room(aon_journal *, uint64_t bytes, aon_error *) AON_MUST_USE;
/* Lines for aon doctor: schema, version, size, integrity, key. */
aon_result aon_journal_examine(aon_journal *, aon_buffer *report, bool *ret_healthy, aon_error *) AON_MUST_USE;
aon_result aon_journal_rotate_key(aon_journal *, aon_error *) AON_MUST_USE;

/* Copies all of one journal but its named locks into another, which must be empty, in one transaction of it; both must have the same keys.
 * Where a living worker is at a bulk operation of the source: AON_BUSY. What is written to the source afterwards is not in the copy. */
typedef struct aon_journal_copied {
  uint64_t bulk, segments, conflicts, events;
} aon_journal_copied;
aon_result aon_journal_copy(aon_journal *from, aon_journal *to, aon_journal_copied *ret_copied, aon_error *) AON_MUST_USE;
/* Reads both: each bulk operation of the source must be in the copy, in the same state and epoch, with as many operations in its log and
 * the same digest of all of them, and the copy must have no other; else AON_CORRUPT copy_differs, which names the first one. */
aon_result aon_journal_compare(aon_journal *from, aon_journal *to, aon_error *) AON_MUST_USE;
#endif
