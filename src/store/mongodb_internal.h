/* The MongoDB adapter's inside, shared by mongodb*.c only.
 *
 *   mongodb.c          the adapter: pool, what the server can do, transactions, markers, resolving
 *   mongodb_image.c    ids, documents to images and back, normalising
 *   mongodb_read.c     collections, read and scan
 *   mongodb_write.c    apply, in a transaction and one by one
 *   mongodb_examine.c  for aon doctor
 *
 * Invariants:
 *  - a document is read and written whole, as its bytes; the image leaves out _id, which is the id as text, or else stands in the token;
 *  - every write names its document by the _id that was just read, or that it makes;
 *  - outside a transaction each call takes a connection of the pool and gives it back; the open transaction has one of its own;
 *  - what is known of a collection, and its shape, lives until close.
 *
 * Whether libbson could append is not asked: it ends the process where memory runs out, and refuses only what makes a document larger than
 * 2 GiB, while no document, batch or list of ids of ours comes near. */
#ifndef AON_STORE_MONGODB_INTERNAL_H
#define AON_STORE_MONGODB_INTERNAL_H

#include <string.h>

#include "aon/store.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "wire/mongodb.h"
#include "wire/pool.h"

#define MDB_TIMEOUT_MS 5000       /* where the configuration names none */
#define MDB_BATCH_OPERATIONS 1000 /* writes of one apply */
#define MDB_BATCH_BYTES (8u << 20)
#define MDB_COMMAND_BYTES (8u << 20)      /* of documents in one command, unless one alone is larger */
#define MDB_READ_IDS 100                  /* of one query; there are servers that compare each document found with each id of the list */
#define MDB_LIFE_MS 60000                 /* of a transaction, where the server does not say (transactionLifetimeLimitSeconds) */
#define MDB_TRANSACTION_BYTES (64u << 20) /* the server keeps all of it in its cache */
#define MDB_DEPTH_LIMIT 100               /* MongoDB's own, of nested objects */
#define MDB_DOCUMENT_BYTES (16u << 20)    /* MongoDB's own */
#define MDB_NUMBER_BYTES 24
#define MDB_SMALL 1000   /* documents up to which a look through all of them is no matter */
#define MDB_ID_SHOWN 200 /* bytes of an id in a sentence */
#define MDB_MARKERS "aon_markers"

#define MDB_KEY_SHOWN 200 /* bytes of the names of a key's properties in a sentence */

typedef struct mdb_key { /* the properties that name a collection's documents: _id, one of their own, or several */
  const char *const *names;
  size_t count;
} mdb_key;

typedef struct mdb_lookup { /* properties by which documents were looked for, whose index was looked at */
  struct mdb_lookup *next;
  char *shown;
} mdb_lookup;

typedef struct mdb_collection {
  struct mdb_collection *next;
  mdb_lookup *lookups;
  char *name;
  aon_shape shape;
  bool collated;    /* has a collation of its own, so comparisons name the simple one */
  bool validated;   /* the server may refuse documents */
  bool keeps_order; /* an index demands unique values; as the transaction looked_by has found it */
  uint64_t looked_by;
} mdb_collection;

typedef struct mdb_facts { /* what the server can do, found when the store is opened */
  bool transactions;
  bool compares_whole; /* a condition may compare the whole document ($expr with $$ROOT) */
  bool ferretdb;       /* lacks types and commands, and hangs up when it meets one */
  int64_t life_ms;
  char version[32], set_name[64];
  char why[200]; /* it has no transactions; "" if it has */
} mdb_facts;

typedef struct mdb_store mdb_store;

struct aon_transaction {
  mdb_store *store;
  aon_mongodb *connection;
  aon_branch branch;
  aon_marker marker;
  char bulk_id[40];
  bool open, failed;
};

struct mdb_store {
  aon_env *env;
  char *name, *url;
  const aon_store_key *keys; /* the configuration's */
  bool create, markers_there;
  int64_t timeout_ms, deadline_ms;
  mdb_facts facts;
  aon_interrupt interrupt;
  aon_pool *pool;
  aon_transaction transaction;
  uint64_t transactions; /* so far */
  mdb_collection *collections;
};

/* mongodb.c */
void mdb_enter(mdb_store *store);
/* The open transaction's connection, or one of the pool. Give it back in any case. */
aon_result mdb_acquire(mdb_store *store, bool apart, aon_mongodb **ret_connection, aon_error *error) AON_MUST_USE;
void mdb_release(mdb_store *store, aon_mongodb *connection);
/* On a connection apart from the transaction's. bson_destroy ret_reply in any case. *ret_code may be NULL: the server's own number. */
aon_result mdb_command(mdb_store *store, const char *database, const bson_t *command, aon_mongodb_kind kind, const char *doing,
                       bson_t *ret_reply, int *ret_code, aon_error *error) AON_MUST_USE;
static inline aon_mongodb_kind mdb_read_kind(const mdb_store *store) {
  return store->transaction.open ? AON_MONGODB_INSIDE : AON_MONGODB_READ;
}

/* "cursor.firstBatch.0.name" of an answer. */
bool mdb_find(const bson_t *answer, const char *path, bson_iter_t *ret_found);

/* mongodb_image.c */
mdb_key mdb_key_of(const mdb_store *store, const aon_collection *collection);
static inline bool mdb_keyed_by_id(mdb_key key) { return key.count == 1 && !strcmp(key.names[0], "_id"); }
/* "region, number"; with between and after: "region: 1, number: 1". */
const char *mdb_key_shown(mdb_key key, const char *after, char ret_shown[MDB_KEY_SHOWN]);
bool mdb_plain_name(const char *name); /* means itself in a query: no dot within, no dollar before */
/* Appends to an array all values that are spelled as this id. *index counts. */
void mdb_append_candidates(bson_t *array, aon_text id, uint32_t *index);
/* The id's parts, one for each property of the key. *ret_fits false: not that many, so it names nothing. */
aon_result mdb_id_parts(mdb_key key, aon_text id, aon_arena *arena, aon_text ret_parts[AON_STORE_KEY_PARTS], bool *ret_fits,
                        aon_error *error) AON_MUST_USE;
/* AON_PERMANENT not_supported: no text can name that value. */
aon_result mdb_id_text(const mdb_store *store, const aon_collection *collection, const bson_t *document, aon_arena *arena, aon_text *ret_id,
                       aon_error *error) AON_MUST_USE;
aon_result mdb_image_of(const aon_collection *collection, aon_text id, const bson_t *document, aon_arena *arena, aon_image *ret_image,
                        aon_error *error) AON_MUST_USE;
/* The document that an image stands for. own_id: holds the _id that it has now, NULL: as the image has it. stamp NULL: none. The caller
 * destroys it. */
aon_result mdb_document_of(const mdb_store *store, const aon_collection *collection, aon_text id, const aon_image *image,
                           const bson_t *own_id, const char *stamp, bson_t *ret_document, aon_error *error) AON_MUST_USE;

/* mongodb_read.c */
aon_result mdb_collection_find(mdb_store *store, const aon_collection *collection, mdb_collection **ret_found,
                               aon_error *error) AON_MUST_USE;
aon_result mdb_collection_make(mdb_store *store, const char *name, aon_error *error) AON_MUST_USE;
typedef aon_result (*mdb_each)(void *context, const bson_t *document, aon_error *error);
/* All documents that a filter lets through, one at a time. AON_END of each ends it without failure. */
aon_result mdb_query(mdb_store *store, const char *collection, const bson_t *filter, const bson_t *options, const char *doing,
                     mdb_each each, void *context, aon_error *error) AON_MUST_USE;
/* The documents of these ids as they stand in the store, whole; NULL where there is none. */
aon_result mdb_fetch(mdb_store *store, const aon_collection *collection, const aon_text *ids, size_t count, aon_arena *arena,
                     bson_t **documents, aon_error *error) AON_MUST_USE;
/* What finds the documents of ids by several properties: one branch of an $or for all that stand beside each other and differ in their last
 * part only, so a whole batch of one organization is one look into an index. Ids that name nothing are left out. */
aon_result mdb_append_branches(mdb_key key, const aon_text *ids, size_t count, aon_arena *arena, bson_t *array, uint32_t *ret_branches,
                               aon_error *error) AON_MUST_USE;
void mdb_collections_release(mdb_store *store);
/* Whether an index serves a look by a key: it begins with a property of it; where none does, how many documents there are. */
aon_result mdb_indexed(mdb_store *store, const char *collection, mdb_key key, bool *ret_indexed, int64_t *ret_documents,
                       aon_error *error) AON_MUST_USE;
/* Whether an index keeps two documents from having one key; *ret_there false: there is no such collection yet. */
aon_result mdb_key_unique(mdb_store *store, const char *collection, mdb_key key, bool *ret_unique, bool *ret_there,
                          aon_error *error) AON_MUST_USE;
/* May the order show in which a transaction writes different documents of it? */
bool mdb_keeps_order(mdb_store *store, mdb_collection *collection);

/* Sentences. */
static inline int mdb_shown(aon_text id) { return id.length < MDB_ID_SHOWN ? (int)id.length : MDB_ID_SHOWN; }

/* The adapter's calls that stand in other files. */
aon_result mdb_describe(void *state, const aon_collection *collection, const aon_shape **ret_shape, aon_error *error);
aon_result mdb_normalise(void *state, const aon_collection *collection, aon_text id, const bson_t *document, aon_arena *arena,
                         aon_image *ret_image, aon_error *error);
aon_result mdb_read(void *state, const aon_collection *collection, const aon_text *ids, size_t count, aon_arena *arena, aon_image *images,
                    aon_error *error);
aon_result mdb_scan(void *state, const aon_collection *collection, const aon_match *matches, size_t count, const char *const *properties,
                    aon_scan_each each, void *context, aon_error *error);
aon_result mdb_apply(void *state, aon_transaction *transaction, const aon_write *writes, size_t count, aon_write_state *states,
                     size_t *ret_failed, aon_error *error);
aon_result mdb_look_up(void *state, const aon_collection *collection, const aon_match *match, aon_index *ret_index, aon_error *error);
aon_result mdb_examine(void *state, aon_buffer *report, bool *ret_healthy, aon_error *error);
#endif
