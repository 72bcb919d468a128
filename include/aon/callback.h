/* A store of the embedding program's own: documents, or effects such as an e-mail, behind functions (class 5 of docs/protocol.md).
 *
 * Register one by giving aon_callback_adapter and a filled aon_callbacks as aon_store_config.options when a store is opened.
 * The library reads, compares and then calls; it can't keep somebody else from writing in between (docs/guarantees.md).
 *
 * All functions return AON_OK, or fill the error (aon_fail) and return its kind:
 *   AON_TRANSIENT  not done, may work later: is called again     AON_PERMANENT  not done, never will be: rolls back
 *   AON_UNKNOWN    may have been done: the document is read and compared before anything else happens
 * They are called from the thread that uses the store, one at a time. They must be ready to be called again for something
 * that is done already, after a crash or a lost reply. */
#ifndef AON_CALLBACK_H
#define AON_CALLBACK_H

#include "aon/operation.h"

#ifdef __cplusplus
extern "C" {
#endif

#define AON_CALLBACKS_VERSION 1

/* One operation of a plan. For undo too it is the operation as it was planned: kind AON_CREATE is to be taken back by deleting. */
typedef struct aon_callback_operation {
  const char *collection;
  aon_text id;
  aon_operation_kind kind;
  const bson_t *before; /* NULL for create. For undo: the state to give back */
  const bson_t *after;  /* NULL for delete. For undo: the state that is there now */
  const char *bulk_id;  /* where the store is set to stamp, of what makes or changes a document; else NULL */
  int64_t sequence;
} aon_callback_operation;

typedef aon_result (*aon_callback_found)(void *found_context, aon_text id, const bson_t *document, aon_error *error);

typedef struct aon_callbacks {
  uint32_t version; /* AON_CALLBACKS_VERSION */
  void *context;    /* first argument of all */

  /* Carries an operation out. Needed. */
  aon_result (*perform)(void *context, const aon_callback_operation *operation, aon_error *error);

  /* Takes an operation back that was performed by a bulk operation which then failed. (An undo of a committed one is a bulk operation of
   * its own: it is performed, as the opposite operation.) NULL: effects can't be taken back, so they wait until everything
   * else is decided. */
  aon_result (*undo)(void *context, const aon_callback_operation *operation, aon_error *error);

  /* The document as it is now: appended to document (empty when called) and *ret_exists true, or *ret_exists false. NULL: the store has
   * effects only, every document reads as absent, so only creates can be planned. */
  aon_result (*read)(void *context, const char *collection, aon_text id, bson_t *document, bool *ret_exists, aon_error *error);

  /* Calls found for all documents of a collection, handing on its failures and AON_END. NULL: can't be searched. */
  aon_result (*scan)(void *context, const char *collection, aon_callback_found found, void *found_context, aon_error *error);

  /* From any thread or a signal handler: a call under way should return AON_CANCELLED soon. May be NULL. */
  void (*cancel)(void *context);
} aon_callbacks;

extern const aon_store_adapter aon_callback_adapter; /* aon_store_config.options: an aon_callbacks that lives until close */

#ifdef __cplusplus
}
#endif
#endif
