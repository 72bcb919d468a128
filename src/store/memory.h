/* The memory store: every class of docs/protocol.md in one, with its troubles on demand. The oracle for the other adapters, and the
 * stores of the simulator.
 *
 * Several handles (two workers, a recovering one) share one database object; it is locked inside, so handles may live on different
 * threads. What a class means here:
 *   1, 2  writes are kept aside under row locks until commit; another transaction's lock is AON_TRANSIENT
 *   3     writes are gathered and sent as one request at commit, which checks the marker and every condition
 *   4     each write is checked and written at once    5   each write is compared first and then written, blindly
 *
 * Invariant: an error of kind AON_UNKNOWN comes only from aon_memory_trouble_at, so a run without troubles is exact. */
#ifndef AON_STORE_MEMORY_H
#define AON_STORE_MEMORY_H

#include "aon/store.h"
#include "base/arena.h"

typedef struct aon_memory_database aon_memory_database;

typedef struct aon_memory_config {
  aon_store_class store_class;
  const char *identity;      /* caps.database; NULL: a name of its own */
  uint32_t types;            /* AON_TYPE_… */
  uint32_t batch_operations; /* 0: AON_MEMORY_BATCH in class 3, else no limit */
  uint32_t batch_bytes;      /* 0: no limit */
  uint32_t prepare_slots;    /* class 1; 0: AON_MEMORY_SLOTS */
  int64_t transaction_ms;    /* 0: no limit */
  int64_t max_exact_integer; /* 0: INT64_MAX */
  bool one_writer;           /* one transaction at a time, as SQLite */
  bool drop_empty;           /* null, {} and [] are not kept, as in RTDB */
  bool tokens;               /* images read carry one: a version in class 3 (never comes again), a hash of the content in 4 (does) */
  bool paths;
  bool cannot_undo;
} aon_memory_config;

#define AON_MEMORY_BATCH 499u
#define AON_MEMORY_SLOTS 16u

aon_result aon_memory_new(const aon_memory_config *config, aon_memory_database **ret_database, aon_error *error) AON_MUST_USE;
void aon_memory_free(aon_memory_database *database); /* when all its stores are closed */

/* aon_store_config.options is the aon_memory_database. */
extern const aon_store_adapter aon_memory_adapter;

/* ---- what tests do to it ---- */

/* A write by somebody else, through no store. document NULL: deletes. A row lock makes it AON_TRANSIENT. */
aon_result aon_memory_foreign_write(aon_memory_database *database, const char *collection, const char *id, const bson_t *document,
                                    aon_error *error) AON_MUST_USE;
/* What is committed, without a store; a copy in the arena, absent if not there. */
aon_result aon_memory_look(aon_memory_database *database, const char *collection, const char *id, aon_arena *arena, aon_image *ret_image,
                           aon_error *error) AON_MUST_USE;
size_t aon_memory_documents(aon_memory_database *database); /* committed ones, in all collections */

/* Requests that change something are counted: each write of class 4 and 5; commit, prepare, commit_prepared, abort_prepared. */
typedef enum aon_memory_trouble {
  AON_MEMORY_NONE,
  AON_MEMORY_LOSE_REPLY, /* done, but answered AON_UNKNOWN */
  AON_MEMORY_DELAY,      /* answered AON_UNKNOWN, and still under way: see aon_memory_deliver */
  AON_MEMORY_REFUSE      /* not done, AON_TRANSIENT */
} aon_memory_trouble;
/* Befalls the nth request from now (1: the next one) and the times - 1 after it. */
void aon_memory_trouble_at(aon_memory_database *database, aon_memory_trouble trouble, uint64_t nth, uint64_t times);
size_t aon_memory_under_way(aon_memory_database *database);
/* The oldest delayed request arrives now. *ret_done: it took effect. */
aon_result aon_memory_deliver(aon_memory_database *database, bool *ret_done, aon_error *error) AON_MUST_USE;
/* Delayed requests are lost on the way; open transactions among them are rolled back. */
void aon_memory_drop(aon_memory_database *database);

size_t aon_memory_prepared(aon_memory_database *database);
/* The at-th prepared transaction; *ret_branch borrows until it ends. */
bool aon_memory_prepared_at(aon_memory_database *database, size_t at, aon_branch *ret_branch);
/* A person's ROLLBACK PREPARED of all of them. */
void aon_memory_prepared_drop(aon_memory_database *database);

/* Called in class 5 between comparing and writing, where a foreign write is lost; it may use the functions above. NULL: none. */
void aon_memory_between(aon_memory_database *database, void (*between)(void *context), void *context);
#endif
