/* MongoDB connections: opening, commands, transactions, deadlines, interrupts, classified errors.
 *
 * Invariants: libmongoc works on sockets of ours, so every wait has a deadline and ends at an interrupt (looking up a host name is the one
 * exception, which is left to the system); a connection on which a reply was not waited for is broken and never used again; no sentence
 * holds a value, a password or a URL; a command that was sent and not answered is AON_UNKNOWN where it may have changed something.
 * One connection is one libmongoc client of its own, for one thread at a time: libmongoc's own pool can't be looked into, keeps idle
 * connections for ever, and waits without end.
 * Sources: https://mongoc.org/libmongoc/1.23.1/, the driver specifications on transactions and retryable
 * writes, MongoDB's error_codes.yml. */
#ifndef AON_WIRE_MONGODB_H
#define AON_WIRE_MONGODB_H

#include <mongoc/mongoc.h>
#include <stdbool.h>

#include "aon/env.h"
#include "wire/interrupt.h"

typedef struct aon_mongodb aon_mongodb;

typedef struct aon_mongodb_settings {
  const char *label;  /* names the store in sentences */
  const char *url;    /* mongodb://…/DATABASE or mongodb+srv://… */
  int64_t timeout_ms; /* of one reply */
} aon_mongodb_settings;

aon_result aon_mongodb_open(aon_env *env, const aon_mongodb_settings *settings, aon_interrupt *interrupt, int64_t deadline_ms,
                            aon_mongodb **ret_connection, aon_error *error) AON_MUST_USE;
void aon_mongodb_close(aon_mongodb *connection);
bool aon_mongodb_alive(aon_mongodb *connection); /* looks whether a server has hung up; no round trip */
bool aon_mongodb_broken(const aon_mongodb *connection);
void aon_mongodb_deadline(aon_mongodb *connection, int64_t deadline_ms); /* of the calls that follow */
const char *aon_mongodb_database(const aon_mongodb *connection);
const char *aon_mongodb_address(const aon_mongodb *connection); /* HOST:PORT of the first one that the URL names */
bool aon_mongodb_direct(const aon_mongodb *connection);         /* one server is named, and no replica set */
bool aon_mongodb_encrypted(const aon_mongodb *connection);

typedef enum aon_mongodb_kind {
  AON_MONGODB_READ,  /* changes nothing: unanswered is AON_TRANSIENT */
  AON_MONGODB_WRITE, /* outside a transaction: unanswered is AON_UNKNOWN */
  AON_MONGODB_INSIDE /* in the open transaction, which an unanswered command does not survive */
} aon_mongodb_kind;

/* One command; database NULL: the connection's own. ret_reply is initialised by the function, also where it fails; bson_destroy it. The
 * first write error of a reply fails it too, and so does an error of its write concern. */
aon_result aon_mongodb_run(aon_mongodb *connection, const char *database, const bson_t *command, aon_mongodb_kind kind, const char *doing,
                           bson_t *ret_reply, aon_error *error) AON_MUST_USE;
/* All documents of a query, one at a time; options as libmongoc's find has them. each may use other connections, and in a transaction this
 * one. It returns AON_OK to go on, AON_END to stop early without failure. */
typedef aon_result (*aon_mongodb_each)(void *context, const bson_t *document, aon_error *error);
aon_result aon_mongodb_find(aon_mongodb *connection, const char *collection, const bson_t *filter, const bson_t *options,
                            aon_mongodb_kind kind, const char *doing, aon_mongodb_each each, void *context, aon_error *error) AON_MUST_USE;
/* Of the last failure: the server's own number, 0 if it did not answer; for a write error also its index in the command. */
int aon_mongodb_code(const aon_mongodb *connection);
uint32_t aon_mongodb_write_index(const aon_mongodb *connection);
/* writeConcern: majority and journal; a server alone: journal. */
bool aon_mongodb_durable(bson_t *command, bool majority, int64_t timeout_ms);

/* A transaction of a session of its own: snapshot, committed by the majority and in the journal. lsid lives until its end. */
aon_result aon_mongodb_begin(aon_mongodb *connection, const bson_t **ret_lsid, aon_error *error) AON_MUST_USE;
/* Ends it. Not answered, also after it was asked again: AON_UNKNOWN. */
aon_result aon_mongodb_commit(aon_mongodb *connection, aon_error *error) AON_MUST_USE;
void aon_mongodb_abort(aon_mongodb *connection); /* also over a new connection, so that nobody waits for what this one has locked */

#define AON_MONGODB_DUPLICATE 11000
#define AON_MONGODB_WRITE_CONFLICT 112
#define AON_MONGODB_NO_SUCH_TRANSACTION 251
#define AON_MONGODB_NAMESPACE_MISSING 26
#define AON_MONGODB_NAMESPACE_EXISTS 48
#endif
