/* The store adapter: how one database is read and written.
 *
 * A store is opened once per process and used by one thread at a time, except cancel. It executes by its class, which is
 * *measured* when it is opened, never assumed from its kind. The coordinator, not the adapter, knows about plans,
 * rollback and merging: to an adapter, compensation is an ordinary batch of writes under the condition "still this image".
 *
 * Invariants of every adapter (tests/store/conformance.c proves them for each):
 *  - a write whose expectation does not hold is refused with AON_PERMANENT, code changed_meanwhile (create: duplicate),
 *    and changes nothing; in classes 1-3 the store itself checks it together with the write;
 *  - AON_TRANSIENT means proven not applied, AON_PERMANENT proven refused, AON_UNKNOWN anything else; every other failure
 *    (environment, corrupt, cancelled, no memory, …) is proven not applied too, so AON_UNKNOWN is the only one to resolve;
 *  - begin writes the marker first; a transaction whose marker is refused ends as AON_FENCED and changes nothing;
 *  - reading never makes a file, a table or anything else.
 *
 * Two stores with the same caps.database are one participant: one transaction, begun through either of them, takes the
 * writes of both (an adapter looks at aon_collection.name, never at .store). A second transaction would wait for the first
 * until its time limit, and would be fenced by the first one's marker.
 */
#ifndef AON_STORE_H
#define AON_STORE_H

#include "aon/document.h"
#include "aon/env.h"
#include "aon/pool.h"

#ifdef __cplusplus
extern "C" {
#endif

#define AON_STORE_INTERFACE 1

struct aon_arena;  /* base/arena.h */
struct aon_buffer; /* base/buffer.h */

/* Strongest means, in the words of docs/protocol.md; lower is stronger. */
typedef enum aon_store_class {
  AON_CLASS_PREPARED = 1,    /* transactions with PREPARE */
  AON_CLASS_TRANSACTION = 2, /* transactions with a marker */
  AON_CLASS_BATCH = 3,       /* atomic batches with preconditions and a marker */
  AON_CLASS_CONDITIONAL = 4, /* single conditional writes */
  AON_CLASS_PLAIN = 5        /* read, compare, write */
} aon_store_class;

enum { /* BSON types beyond JSON's that a store can hold */
       AON_TYPE_TIMESTAMP = 1u << 0,
       AON_TYPE_OBJECT_ID = 1u << 1,
       AON_TYPE_BYTES = 1u << 2,
       AON_TYPE_DECIMAL = 1u << 3,
       AON_TYPE_GEOPOINT = 1u << 4,
       AON_TYPE_REFERENCE = 1u << 5
};

typedef struct aon_store_caps {
  aon_store_class store_class;
  uint32_t types;            /* AON_TYPE_… that it can hold */
  uint32_t batch_operations; /* most writes that one apply or one atomic batch takes, > 0 */
  uint32_t batch_bytes;      /* likewise in bytes of images */
  int64_t transaction_ms;    /* longest life of a transaction, 0: no limit */
  int64_t max_exact_integer; /* integers beyond +- this are refused while planning; INT64_MAX: all 64 bits */
  bool paths;                /* documents have paths that an operation may override */
  bool one_writer;           /* an open write transaction keeps every other writer out (SQLite) */
  bool any_thread;           /* its calls, one at a time as ever, may come from any thread; else all come from the one that opened it */
  bool finishes;             /* class 5: what it deletes is only set aside until the decision; see aon_write.finishes */
  uint32_t transaction_operations; /* a transaction takes no more than these; 0: no limit */
  uint64_t transaction_bytes;      /* likewise in bytes of images */
  bool splits;                     /* what is more is executed as class 3, batch by batch; else refused while it is planned */
  bool can_undo;                   /* false: writes can't be taken back at all, so they wait for the decision */
  char database[256];              /* identity of the database: two stores with the same one share its transaction space */
} aon_store_caps;

typedef struct aon_collection { /* what configuration and pack say of a collection; borrowed, immutable */
  const char *store;            /* name of the store */
  const char *name;             /* "users", "firebase:user" */
  const char *id_property;      /* property that repeats the id inside the document, NULL: none */
  const char *path;             /* template such as "/user/{userID}", NULL: none */
  const char *const *stamps;    /* NULL-terminated names whose differences do not count (updatedAt, …); may be NULL */
  const char *const *sets;      /* properties (JSON Pointers) whose arrays are sets */
  const char *const *volatiles; /* properties the store makes itself: never compared, never restored */
  const char *const *sensitive; /* properties whose values are never shown and are encrypted in the journal */
  bool merge_none;              /* rollback never merges: any foreign change is a conflict */
} aon_collection;

typedef struct aon_shape {      /* what describe finds in the store */
  bool exists;                  /* false: reads as empty; made by the first write if the store is set to create */
  bool document_table;          /* documents stand there whole; false: properties are columns */
  const char *const *key;       /* document_table false: names of the key's columns, in order, NULL-terminated */
  const char *const *volatiles; /* generated columns and the like, NULL-terminated; may be NULL */
  const char *delete_effect;    /* NULL, or why a delete would change other documents too (ON DELETE CASCADE …) */
  const char
      *write_effect;      /* NULL, or what else a create or an update may change (triggers, ON UPDATE CASCADE): the plan warns of it once */
  const char *write_only; /* NULL, or a property that is written and never read (a password): write_effect is of its replacement only */
  bool token_is_id;       /* the token of an image says how the id lies there (MongoDB's _id), and no version: an undo puts it back, too */
} aon_shape;

/* One bulk operation's part in one store, in one attempt. batch counts from 0 in class 3, else 0. */
typedef struct aon_branch {
  const char *bulk_id; /* UUID, lower case */
  uint32_t attempt, batch;
} aon_branch;

typedef enum aon_branch_state {
  AON_BRANCH_ABORTED,   /* the abort marker is there, and was made by us if nothing was: a late commit must fail */
  AON_BRANCH_COMMITTED, /* the commit marker is there */
  AON_BRANCH_UNDONE,    /* committed, and taken back since */
  AON_BRANCH_PREPARED,
  AON_BRANCH_OPEN /* a transaction that may still commit keeps us from telling: ask again */
} aon_branch_state;

typedef enum aon_marker { AON_MARKER_COMMIT, AON_MARKER_UNDONE } aon_marker;

typedef struct aon_transaction aon_transaction; /* the adapter's; at most one open per store */

typedef struct aon_write {
  const aon_collection *collection;
  aon_text id;
  aon_image expected; /* absent: create, refused as duplicate if there. Else the state that must be there now */
  aon_image wanted;   /* absent: delete */
  const char *path;   /* overrides the collection's, NULL: does not */
  const char *stamp;  /* value of _bulkOperationId to add to the document (class 4 recognises its late writes by it), NULL: none */
  int64_t operation;  /* sequence, for errors */
  bool compensates;   /* takes operation back: expected is its after image or what came of it, wanted its before image. Only
                         class 5 minds: a callback store calls its undo instead of its do */
  bool finishes; /* after the decision, where caps.finishes: the document that this delete has set aside goes for good. May be repeated, and
                       changes nothing where it was made anew, or is gone */
} aon_write;

typedef enum aon_write_state { AON_WRITE_NOT_SENT, AON_WRITE_APPLIED, AON_WRITE_REFUSED, AON_WRITE_UNKNOWN } aon_write_state;

/* property = value, both non-NULL; several: all must hold. The value is compared as text: a string as it is, a number or a boolean
 * in its canonical JSON form. A null, missing, object or array property matches nothing. property is a top-level name. */
typedef struct aon_match {
  const char *property;
  aon_text value;
} aon_match;

typedef struct aon_found {
  aon_text id;
  aon_image image; /* only the asked properties are promised to be in it */
} aon_found;

/* For aon doctor: what serves a look-up. */
typedef enum aon_index_state {
  AON_INDEX_NO_NEED,  /* found by its key, or there is nothing to look through yet */
  AON_INDEX_SERVES,   /* an index narrows it down */
  AON_INDEX_MISSING,  /* one could: aon_index.text is the statement that makes it */
  AON_INDEX_POINTLESS /* none would, all is read: aon_index.text says why */
} aon_index_state;

typedef struct aon_index {
  aon_index_state state;
  int64_t documents; /* about as many are looked through; -1: not known */
  char text[1000];
} aon_index;

/* Return AON_OK to go on, AON_END to stop early without failure. */
typedef aon_result (*aon_scan_each)(void *context, const aon_found *found, aon_error *error);

#define AON_STORE_KEY_PARTS 8u /* most properties of a key */

/* The properties by which the documents of a collection are known, where the database itself doesn't say so (MongoDB). */
typedef struct aon_store_key {
  const char *collection;
  const char *const *properties; /* in the order of the id's parts, NULL-terminated */
} aon_store_key;

/* Why it can't be a key, as the end of a sentence; NULL: it can. */
const char *aon_store_key_problem(const aon_store_key *key);

typedef struct aon_store_config {
  const char *name;     /* logical name: main */
  const char *location; /* the URL behind its scheme; SQLite: path of the file */
  bool create;          /* make missing document tables */
  bool stamp; /* add _bulkOperationId to documents; class 4 has it anyway, and Firebase Auth should: late writes are known by it */
  bool exclusive, void_stamp;
  int64_t horizon_ms, watch_ms, timeout_ms; /* timeout: bound of one call, 0: 5 s */
  uint32_t pool_max;                        /* connections, 0: 20 */
  int64_t pool_idle_ms, pool_connect_ms;    /* 0: 30 s, 2 s */
  uint32_t transaction_operations;          /* 0: what the adapter thinks right */
  uint64_t transaction_bytes;
  bool transaction_refuse; /* a plan beyond them is refused, not split */
  const void *options; /* what an adapter needs beyond this, as its own header says (callbacks, decorators); borrowed until close; NULL */
  const aon_store_key *keys; /* MongoDB: ends with a collection that is NULL; borrowed until close; NULL: none */
} aon_store_config;

#define AON_STORE_READ_LIMIT 65536u /* most ids of one read */

typedef struct aon_store_adapter {
  const char *kind; /* "sqlite" */
  uint32_t interface_version;

  aon_result (*open)(aon_env *env, const aon_store_config *config, void **ret_state, aon_store_caps *ret_caps, aon_error *error);
  void (*close)(void *state);

  /* The shape lives as long as the store is open and nothing of ours is made in it. No such table and not create:
   * AON_REJECTED unknown_collection. */
  aon_result (*describe)(void *state, const aon_collection *collection, const aon_shape **ret_shape, aon_error *error);

  /* Turns a document into what the store will give back for it (column affinity, dropped nulls). A property that it
   * cannot hold: AON_REJECTED, code unknown_property, bad_type, too_long, …. *ret_image is in the arena (may be the input).
   * Where properties are columns, a missing one takes the column's default, as a value fixed here and now, or null; those
   * that the store computes itself (shape.volatiles) are left out. */
  aon_result (*normalise)(void *state, const aon_collection *collection, aon_text id, const bson_t *document, struct aon_arena *arena,
                          aon_image *ret_image, aon_error *error);

  /* Set-based. images[i] belongs to ids[i], absent if not there. Inside an open transaction it sees that transaction. */
  aon_result (*read)(void *state, const aon_collection *collection, const aon_text *ids, size_t count, struct aon_arena *arena,
                     aon_image *images, aon_error *error);

  /* All documents that match, in no order, with at least the named properties (NULL: all); streams, memory bounded.
   * No matches: all documents. each may read the same store, but must not write to it. */
  aon_result (*scan)(void *state, const aon_collection *collection, const aon_match *matches, size_t count, const char *const *properties,
                     aon_scan_each each, void *context, aon_error *error);

  /* Classes 1-3. COMMIT refused because a marker is there: AON_FENCED. UNDONE: turns the commit marker into undone;
   * none there: AON_FENCED. Files and tables that must be made are made within. A failure leaves no transaction open. */
  aon_result (*begin)(void *state, const aon_branch *branch, aon_marker marker, aon_transaction **ret_transaction, aon_error *error);

  /* Applies writes in order, all under their expectation. Classes 1-3: in the transaction; at the first refusal
   * *ret_failed is its index and the transaction can only be aborted. Classes 4-5: transaction is NULL, writes are sent one by one or
   * together, states[i] says what became of each, *ret_failed is the first one that was not applied, the result that of the worst
   * one; once a write has failed, those not sent yet may stay AON_WRITE_NOT_SENT (states may be NULL in classes 1-3). */
  aon_result (*apply)(void *state, aon_transaction *transaction, const aon_write *writes, size_t count, aon_write_state *states,
                      size_t *ret_failed, aon_error *error);

  aon_result (*flush)(void *state, aon_transaction *transaction, aon_error *error); /* forces deferred constraints */
  /* Class 1 only, else NULL. Ends it, whatever the result: a failure other than AON_UNKNOWN has rolled it back. */
  aon_result (*prepare)(void *state, aon_transaction *transaction, aon_error *error);
  /* Ends it, whatever the result: a failure other than AON_UNKNOWN has rolled it back. AON_UNKNOWN: resolve. */
  aon_result (*commit)(void *state, aon_transaction *transaction, aon_error *error);
  void (*abort)(void *state, aon_transaction *transaction); /* ends it; never fails: a lost connection aborts too */
  /* Class 1 only. Both may be repeated. No such prepared transaction: the marker decides. commit_prepared: AON_OK if the commit marker is
   * there, else AON_PERMANENT prepared_lost; abort_prepared: AON_PERMANENT already_committed if the commit marker is there, else
   * AON_OK (that writes no abort marker: resolve does). */
  aon_result (*commit_prepared)(void *state, const aon_branch *branch, aon_error *error);
  aon_result (*abort_prepared)(void *state, const aon_branch *branch, aon_error *error);

  /* Classes 1-3: tries to write the abort marker; the marker that is there afterwards is the truth, and is durable. So it makes
   * what the marker needs, also a missing file if the store is set to create. A prepared transaction is reported, not touched.
   * Never while this store has a transaction open. */
  aon_result (*resolve)(void *state, const aon_branch *branch, aon_branch_state *ret_state, aon_error *error);

  /* Forgets markers older than before_ms (wall clock); never younger than 30 days. */
  aon_result (*forget)(void *state, int64_t before_ms, aon_error *error);

  /* For aon doctor: lines of text, one finding each; *ret_healthy false if a person must look. */
  aon_result (*examine)(void *state, struct aon_buffer *report, bool *ret_healthy, aon_error *error);

  void (*cancel)(void *state);          /* from any thread or a signal handler: a call under way ends soon with AON_CANCELLED */
  aon_pool_counts (*pool)(void *state); /* NULL: a store without a pool. From any thread */

  /* For aon doctor: whether an index serves scan with that match, or, match NULL, read. Found out from the store, never by a measurement.
   * No such collection: AON_INDEX_NO_NEED. NULL: this adapter doesn't know, which is told as no need. */
  aon_result (*look_up)(void *state, const aon_collection *collection, const aon_match *match, aon_index *ret_index, aon_error *error);
} aon_store_adapter;

/* An open store. Every call goes through it, so that it is counted as a step of the environment. */
typedef struct aon_store aon_store;

aon_result aon_store_open(aon_env *env, const aon_store_adapter *adapter, const aon_store_config *config, aon_store **ret_store,
                          aon_error *error) AON_MUST_USE;
void aon_store_close(aon_store *store);
const aon_store_caps *aon_store_capabilities(const aon_store *store);
const aon_store_config *aon_store_configuration(const aon_store *store);

aon_result aon_store_describe(aon_store *, const aon_collection *, const aon_shape **, aon_error *) AON_MUST_USE;
aon_result aon_store_normalise(aon_store *, const aon_collection *, aon_text id, const bson_t *, struct aon_arena *, aon_image *,
                               aon_error *) AON_MUST_USE;
aon_result aon_store_read(aon_store *, const aon_collection *, const aon_text *ids, size_t count, struct aon_arena *, aon_image *images,
                          aon_error *) AON_MUST_USE;
aon_result aon_store_scan(aon_store *, const aon_collection *, const aon_match *, size_t count, const char *const *properties,
                          aon_scan_each, void *context, aon_error *) AON_MUST_USE;
aon_result aon_store_begin(aon_store *, const aon_branch *, aon_marker, aon_transaction **, aon_error *) AON_MUST_USE;
aon_result aon_store_apply(aon_store *, aon_transaction *, const aon_write *, size_t count, aon_write_state *, size_t *ret_failed,
                           aon_error *) AON_MUST_USE;
aon_result aon_store_flush(aon_store *, aon_transaction *, aon_error *) AON_MUST_USE;
aon_result aon_store_prepare(aon_store *, aon_transaction *, aon_error *) AON_MUST_USE;
aon_result aon_store_commit(aon_store *, aon_transaction *, aon_error *) AON_MUST_USE;
void aon_store_abort(aon_store *, aon_transaction *);
aon_result aon_store_commit_prepared(aon_store *, const aon_branch *, aon_error *) AON_MUST_USE;
aon_result aon_store_abort_prepared(aon_store *, const aon_branch *, aon_error *) AON_MUST_USE;
aon_result aon_store_resolve(aon_store *, const aon_branch *, aon_branch_state *, aon_error *) AON_MUST_USE;
aon_result aon_store_forget(aon_store *, int64_t before_ms, aon_error *) AON_MUST_USE;
aon_result aon_store_examine(aon_store *, struct aon_buffer *, bool *ret_healthy, aon_error *) AON_MUST_USE;
aon_result aon_store_look_up(aon_store *, const aon_collection *, const aon_match *, aon_index *ret_index, aon_error *) AON_MUST_USE;
void aon_store_cancel(aon_store *);
/* From any thread. false: this store has no pool of connections. */
bool aon_pool_status(const aon_store *store, aon_pool_counts *ret_counts);

/* The adapters of this library. */
extern const aon_store_adapter aon_sqlite_adapter;     /* location: path of the file */
extern const aon_store_adapter aon_postgresql_adapter; /* location: //USER@HOST:PORT/DATABASE?… */
extern const aon_store_adapter aon_rtdb_adapter;       /* Firebase Realtime Database; location: //HOST/?ns=NAME */
extern const aon_store_adapter aon_firestore_adapter;  /* location: //PROJECT/DATABASE */
extern const aon_store_adapter aon_auth_adapter;       /* Firebase Auth; location: //PROJECT */
extern const aon_store_adapter aon_mongodb_adapter;    /* location: //HOST:PORT/DATABASE?…, or +srv://… */

/* The adapter for a URL's scheme ("sqlite"), NULL if none. */
const aon_store_adapter *aon_store_adapter_find(const char *scheme);

#ifdef __cplusplus
}
#endif
#endif
