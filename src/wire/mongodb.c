/* MongoDB connections. Invariants stand in wire/mongodb.h. */
#include "wire/mongodb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/libmongoc.h"
#include "wire/mongodb_stream.h"

#define APPLICATION "allornone"
#define ENDING_MS 1000 /* to end sessions and transactions of a connection that is given up */
#define COMMIT_TRIES 3 /* of a commit whose answer was lost; libmongoc asks each time once more */
#define NAME_BYTES 64
#define WAIT_SHARE 8 /* tenths of the time limit after which the server gives up waiting for its majority */

struct aon_mongodb {
  aon_mongodb_line line;
  mongoc_uri_t *uri;
  mongoc_client_t *client;
  mongoc_client_session_t *session; /* of the open transaction, else NULL */
  char label[NAME_BYTES];
  int64_t timeout_ms;
  int code;
  uint32_t write_index;
  bool unanswered;
  bool majority; /* the servers know one: they are a set or a cluster */
};

#define BLAMED_LIMIT 16 /* properties of an index that are named */

/* ---- failures ---- */

typedef struct known_code {
  int code;
  aon_result kind;
  const char *name;
  const char *sentence; /* after "STORE " */
} known_code;

static const known_code known_codes[] = {
    {AON_MONGODB_DUPLICATE, AON_PERMANENT, "duplicate", "refused it: an id, or a value of a unique index, is there already"},
    {11001, AON_PERMANENT, "duplicate", "refused it: a value of a unique index is there already"},
    {121, AON_PERMANENT, "constraint", "refused it: the document does not pass the collection's validation"},
    {66, AON_PERMANENT, "constraint", "refused it: a property that can't be changed (_id or a shard key) would be"},
    {52, AON_PERMANENT, "bad_type", "refused a property whose name begins with $"},
    {57, AON_PERMANENT, "bad_type", "refused a property whose name holds a dot"},
    {2, AON_PERMANENT, "bad_type", "refused a value that it can't hold"},
    {9, AON_PERMANENT, "not_supported", "does not know what it was asked"},
    {10334, AON_PERMANENT, "too_long", "refused a document that is too large"},
    {17419, AON_PERMANENT, "too_long", "refused a document that is too large"},
    {17420, AON_PERMANENT, "too_long", "refused a document that is too large"},
    {17280, AON_PERMANENT, "too_long", "refused a value that is too large for an index"},
    {257, AON_PERMANENT, "too_long", "refused a transaction that is too large. Lower transaction.operations of the store"},
    {AON_MONGODB_WRITE_CONFLICT, AON_TRANSIENT, "database_locked", "was too busy: another transaction got in the way (write conflict)"},
    {24, AON_TRANSIENT, "database_locked", "holds what is needed locked"},
    {46, AON_TRANSIENT, "database_locked", "holds what is needed locked"},
    {117, AON_TRANSIENT, "database_locked", "is busy with something that excludes it"},
    {50, AON_TRANSIENT, "unavailable", "did not finish within the time limit. Try again, or raise timeout of the store"},
    {262, AON_TRANSIENT, "unavailable", "did not finish within the time limit. Try again, or raise timeout of the store"},
    {AON_MONGODB_NO_SUCH_TRANSACTION, AON_TRANSIENT, "transaction_expired",
     "has ended the transaction: it took too long, or the server was changed"},
    {290, AON_TRANSIENT, "transaction_expired", "has ended the transaction: it took too long"},
    {239, AON_TRANSIENT, "transaction_expired", "no longer has the state that the transaction began with"},
    {246, AON_TRANSIENT, "transaction_expired", "does not have the state that the transaction needs yet"},
    {10107, AON_TRANSIENT, "unavailable", "has another primary now"},
    {13435, AON_TRANSIENT, "unavailable", "has another primary now"},
    {13436, AON_TRANSIENT, "unavailable", "is recovering"},
    {13, AON_PERMANENT, "no_permission", "does not allow this user to do it. Grant the role readWrite on the database"},
    {18, AON_ENVIRONMENT, "no_permission", "refused the user or password"},
    {8000, AON_ENVIRONMENT, "no_permission", "refused the user or password"},
    {14031, AON_ENVIRONMENT, "disk_full", "has no room left on its disk"},
    {20, AON_PERMANENT, "not_supported", "can't do that"},
    {59, AON_PERMANENT, "not_supported", "does not know the command"},
    {115, AON_PERMANENT, "not_supported", "can't do that"},
    {238, AON_PERMANENT, "not_supported", "has not implemented that"},
    {263, AON_PERMANENT, "not_supported", "can't do that in a transaction"},
};

/* Errors after which a write may have been done all the same: the server was ending, or could not reach its majority. */
static const int doubtful_codes[] = {64, 91, 100, 189, 11600, 11601, 11602, 6, 7, 89, 9001};

static bool is_doubtful(int code) {
  for (size_t i = 0; i < sizeof doubtful_codes / sizeof *doubtful_codes; i++)
    if (doubtful_codes[i] == code)
      return true;
  return false;
}

static const known_code *find_code(int code) {
  for (size_t i = 0; i < sizeof known_codes / sizeof *known_codes; i++)
    if (known_codes[i].code == code)
      return &known_codes[i];
  return NULL;
}

static aon_result not_known(aon_mongodb *c, const char *doing, aon_error *error) {
  return aon_fail(error, AON_UNKNOWN, "no_reply", "%s did not answer while %s; whether it was done is not known yet.", c->label, doing);
}

/* No reply came. sent false: the command did not leave either. */
static aon_result unanswered(aon_mongodb *c, aon_mongodb_kind kind, const char *doing, const char *why, bool sent, aon_error *error) {
  c->line.broken = c->unanswered = true;
  c->code = 0;
  if (kind == AON_MONGODB_WRITE && sent)
    return not_known(c, doing, error);
  if (atomic_load(&c->line.interrupt->raised) && !c->line.deaf)
    return aon_fail(error, AON_CANCELLED, "cancelled", "The call to %s was cancelled while %s.", c->label, doing);
  return aon_fail(error, AON_TRANSIENT, "unavailable", "%s could not be reached while %s (%.300s). Nothing of it was kept; try again.",
                  c->label, doing, why);
}

/* The server's own refusal. What it says besides its number may hold values, and is left out. */
static aon_result refused(aon_mongodb *c, int code, bool passing, aon_mongodb_kind kind, const char *doing, aon_error *error) {
  c->code = code;
  if (is_doubtful(code)) {
    if (kind == AON_MONGODB_WRITE)
      return not_known(c, doing, error);
    return aon_fail_native(error, AON_TRANSIENT, "unavailable", code, "%s is ending or changing its primary (while %s, error %d).",
                           c->label, doing, code);
  }
  const known_code *known = find_code(code);
  if (passing && (!known || known->kind != AON_TRANSIENT))
    return aon_fail_native(error, AON_TRANSIENT, "unavailable", code, "%s could not go on with the transaction (while %s, error %d).",
                           c->label, doing, code);
  if (!known)
    return aon_fail_native(error, AON_PERMANENT, "constraint", code, "%s refused it while %s (error %d).", c->label, doing, code);
  return aon_fail_native(error, known->kind, known->name, code, "%s %s (while %s, error %d).", c->label, known->sentence, doing, code);
}

/* The properties of a unique index, by its pattern. */
static void blame(const bson_iter_t *pattern, aon_error *error) {
  const char *names[BLAMED_LIMIT];
  size_t count = 0;
  bson_iter_t at;
  if (!BSON_ITER_HOLDS_DOCUMENT(pattern) || !bson_iter_recurse(pattern, &at))
    return;
  while (bson_iter_next(&at)) {
    if (count == BLAMED_LIMIT)
      return;
    names[count++] = bson_iter_key(&at);
  }
  aon_error_properties(error, names, count);
}

static bool labelled(const bson_t *reply, const char *label) { return mongoc_error_has_label(reply, label); }

static aon_result classify(aon_mongodb *c, const bson_error_t *failure, const bson_t *reply, aon_mongodb_kind kind, const char *doing,
                           aon_error *error) {
  switch (failure->domain) {
  case MONGOC_ERROR_SERVER:
  case MONGOC_ERROR_WRITE_CONCERN:
    return refused(c, (int)failure->code, labelled(reply, "TransientTransactionError"), kind, doing, error);
  case MONGOC_ERROR_SERVER_SELECTION:
    if (strstr(failure->message, "uthentication"))
      return refused(c, 18, false, kind, doing, error);
    return unanswered(c, kind, doing, failure->message, false, error);
  case MONGOC_ERROR_STREAM:
    return unanswered(c, kind, doing, failure->message, true, error);
  case MONGOC_ERROR_CLIENT:
    if (failure->code == MONGOC_ERROR_CLIENT_AUTHENTICATE)
      return refused(c, 18, false, kind, doing, error);
    return aon_fail(error, AON_USAGE, "not_supported", "%s: libmongoc refused what was asked while %s: %.200s.", c->label, doing,
                    failure->message);
  case MONGOC_ERROR_BSON:
  case MONGOC_ERROR_COMMAND:
    if (failure->code == MONGOC_ERROR_COMMAND_INVALID_ARG && kind == AON_MONGODB_READ)
      return aon_fail(error, AON_PERMANENT, "not_supported", "%s can't do that while %s: %.200s.", c->label, doing, failure->message);
    return aon_fail(error, AON_PERMANENT, "bad_document", "%s: a document can't be sent while %s: %.200s.", c->label, doing,
                    failure->message);
  default:
    return unanswered(c, kind, doing, failure->message, true, error);
  }
}

/* ok: 1, and still a write was refused, or not confirmed by the majority. */
static aon_result look_at(aon_mongodb *c, const bson_t *reply, aon_mongodb_kind kind, const char *doing, aon_error *error) {
  bson_iter_t errors, first, at;
  if (bson_iter_init_find(&errors, reply, "writeErrors") && bson_iter_recurse(&errors, &first) && bson_iter_next(&first)) {
    c->write_index = bson_iter_recurse(&first, &at) && bson_iter_find(&at, "index") ? (uint32_t)bson_iter_as_int64(&at) : 0;
    int code = bson_iter_recurse(&first, &at) && bson_iter_find(&at, "code") ? (int)bson_iter_as_int64(&at) : 0;
    aon_result result = refused(c, code, labelled(reply, "TransientTransactionError"), kind, doing, error);
    if (code == AON_MONGODB_DUPLICATE && result == AON_PERMANENT && bson_iter_recurse(&first, &at) && bson_iter_find(&at, "keyPattern"))
      blame(&at, error);
    return result;
  }
  if (bson_iter_init_find(&errors, reply, "writeConcernError")) {
    c->unanswered = true;
    return not_known(c, doing, error);
  }
  return AON_OK;
}

/* ---- opening ---- */

static aon_result bad_url(aon_mongodb *c, aon_error *error) {
  return aon_fail(
      error, AON_USAGE, "bad_location",
      "The URL of %s can't be read. Write mongodb://USER:PASSWORD@HOST:PORT/DATABASE?replicaSet=NAME, with %%XX for odd characters.",
      c->label);
}

/* What we must be sure of is set whatever the URL says. */
static aon_result read_url(aon_mongodb *c, const char *url, int64_t connect_ms, aon_error *error) {
  bson_error_t failure;
  c->uri = mongoc_uri_new_with_error(url, &failure);
  if (!c->uri)
    return bad_url(c, error);
  const char *database = mongoc_uri_get_database(c->uri);
  if (!database || !*database)
    return aon_fail(error, AON_USAGE, "bad_location",
                    "The URL of %s names no database: write it behind the last host, as in mongodb://HOST/DATABASE.", c->label);
  bool set = mongoc_uri_set_option_as_int32(c->uri, MONGOC_URI_CONNECTTIMEOUTMS, (int32_t)connect_ms) &&
             mongoc_uri_set_option_as_int32(c->uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, (int32_t)connect_ms) &&
             mongoc_uri_set_option_as_int32(c->uri, MONGOC_URI_SOCKETTIMEOUTMS, (int32_t)c->timeout_ms) &&
             mongoc_uri_set_option_as_bool(c->uri, MONGOC_URI_SERVERSELECTIONTRYONCE, true) &&
             mongoc_uri_set_option_as_bool(c->uri, MONGOC_URI_RETRYWRITES, false);
  return set ? AON_OK : bad_url(c, error);
}

static bool knows_majority(const bson_t *hello) {
  bson_iter_t at;
  return bson_has_field(hello, "setName") || (bson_iter_init_find(&at, hello, "msg") && BSON_ITER_HOLDS_UTF8(&at));
}

static aon_result make_client(aon_mongodb *c, aon_error *error) {
  bson_error_t failure = {0};
  c->client = mongoc_client_new_from_uri_with_error(c->uri, &failure);
  if (!c->client)
    return aon_fail(error, AON_TRANSIENT, "unavailable", "%s can't be reached: %.300s.", c->label, failure.message);
  mongoc_client_set_error_api(c->client, MONGOC_ERROR_API_VERSION_2);
  mongoc_client_set_stream_initiator(c->client, aon_mongodb_stream_open, &c->line);
  if (!mongoc_uri_get_appname(c->uri) && !mongoc_client_set_appname(c->client, APPLICATION))
    return aon_fail_memory(error);
  bson_t hello = BSON_INITIALIZER, reply;
  BSON_APPEND_INT32(&hello, "hello", 1);
  aon_result result = aon_mongodb_run(c, "admin", &hello, AON_MONGODB_READ, "connecting", &reply, error);
  c->majority = !result && knows_majority(&reply);
  bson_destroy(&reply);
  bson_destroy(&hello);
  return result;
}

aon_result aon_mongodb_open(aon_env *env, const aon_mongodb_settings *settings, aon_interrupt *interrupt, int64_t deadline_ms,
                            aon_mongodb **ret_connection, aon_error *error) {
  aon_result result = aon_libmongoc_load(settings->label, error);
  if (result)
    return result;
  mongoc_init();
  mongoc_log_set_handler(NULL, NULL); /* it would write to standard error what we tell in sentences */
  aon_mongodb *c = calloc(1, sizeof *c);
  if (!c)
    return aon_fail_memory(error);
  int64_t left = deadline_ms - aon_monotonic_ms(env);
  left = left < 1 ? 1 : left > INT32_MAX ? INT32_MAX : left;
  c->line = (aon_mongodb_line){.env = env, .interrupt = interrupt, .deadline_ms = deadline_ms, .connect_ms = left};
  c->timeout_ms = settings->timeout_ms < INT32_MAX ? settings->timeout_ms : INT32_MAX;
  snprintf(c->label, sizeof c->label, "%s", settings->label);
  result = read_url(c, settings->url, left, error);
  if (!result)
    result = make_client(c, error);
  if (result) {
    aon_mongodb_close(c);
    return result;
  }
  *ret_connection = c;
  return AON_OK;
}

void aon_mongodb_close(aon_mongodb *c) {
  if (!c)
    return;
  c->line.deaf = true;
  c->line.deadline_ms = c->line.broken ? 0 : aon_monotonic_ms(c->line.env) + ENDING_MS; /* libmongoc says goodbye to the server */
  if (c->session)
    mongoc_client_session_destroy(c->session);
  if (c->client)
    mongoc_client_destroy(c->client);
  mongoc_uri_destroy(c->uri);
  free(c);
}

bool aon_mongodb_alive(aon_mongodb *c) { return !c->session && aon_mongodb_streams_alive(&c->line); }
bool aon_mongodb_broken(const aon_mongodb *c) { return c->line.broken; }
void aon_mongodb_deadline(aon_mongodb *c, int64_t deadline_ms) { c->line.deadline_ms = deadline_ms; }
const char *aon_mongodb_database(const aon_mongodb *c) { return mongoc_uri_get_database(c->uri); }
int aon_mongodb_code(const aon_mongodb *c) { return c->code; }
uint32_t aon_mongodb_write_index(const aon_mongodb *c) { return c->write_index; }
bool aon_mongodb_encrypted(const aon_mongodb *c) { return mongoc_uri_get_tls(c->uri); }

const char *aon_mongodb_address(const aon_mongodb *c) {
  const mongoc_host_list_t *first = mongoc_uri_get_hosts(c->uri);
  return first ? first->host_and_port : mongoc_uri_get_srv_hostname(c->uri);
}

bool aon_mongodb_direct(const aon_mongodb *c) {
  const mongoc_host_list_t *first = mongoc_uri_get_hosts(c->uri);
  return first && !first->next && !mongoc_uri_get_replica_set(c->uri) && !mongoc_uri_get_srv_hostname(c->uri);
}

/* ---- commands ---- */

bool aon_mongodb_durable(bson_t *command, bool majority, int64_t timeout_ms) {
  bson_t concern;
  bool fits = bson_append_document_begin(command, "writeConcern", -1, &concern);
  if (majority)
    fits = fits && BSON_APPEND_UTF8(&concern, "w", "majority") && BSON_APPEND_INT64(&concern, "wtimeout", timeout_ms * WAIT_SHARE / 10 + 1);
  else
    fits = fits && BSON_APPEND_INT32(&concern, "w", 1);
  return fits && BSON_APPEND_BOOL(&concern, "j", true) && bson_append_document_end(command, &concern);
}

aon_result aon_mongodb_run(aon_mongodb *c, const char *database, const bson_t *command, aon_mongodb_kind kind, const char *doing,
                           bson_t *ret_reply, aon_error *error) {
  bson_error_t failure = {0};
  bson_t options = BSON_INITIALIZER;
  c->code = 0;
  c->unanswered = false;
  bson_init(ret_reply);
  if (atomic_load(&c->line.interrupt->raised) && !c->line.deaf)
    return aon_fail(error, AON_CANCELLED, "cancelled", "The call to %s was cancelled while %s.", c->label, doing);
  if (kind == AON_MONGODB_INSIDE && !mongoc_client_session_append(c->session, &options, &failure)) {
    bson_destroy(&options);
    return aon_fail(error, AON_USAGE, "transaction_failed", "%s has no transaction open while %s.", c->label, doing);
  }
  bson_destroy(ret_reply);
  bool done = mongoc_client_command_with_opts(c->client, database ? database : aon_mongodb_database(c), command, NULL, &options, ret_reply,
                                              &failure);
  bson_destroy(&options);
  return done ? look_at(c, ret_reply, kind, doing, error) : classify(c, &failure, ret_reply, kind, doing, error);
}

static aon_result walk(aon_mongodb *c, mongoc_cursor_t *cursor, aon_mongodb_kind kind, const char *doing, aon_mongodb_each each,
                       void *context, aon_error *error) {
  const bson_t *document, *reply = NULL;
  bson_error_t failure = {0};
  aon_result result = AON_OK;
  while (!result && mongoc_cursor_next(cursor, &document)) {
    result = each(context, document, error);
    c->line.deadline_ms = aon_monotonic_ms(c->line.env) + c->timeout_ms; /* of the next piece */
  }
  if (!result && mongoc_cursor_error_document(cursor, &failure, &reply)) {
    bson_t none = BSON_INITIALIZER;
    result = classify(c, &failure, reply ? reply : &none, kind, doing, error);
    bson_destroy(&none);
  }
  return result == AON_END ? AON_OK : result;
}

aon_result aon_mongodb_find(aon_mongodb *c, const char *collection, const bson_t *filter, const bson_t *options, aon_mongodb_kind kind,
                            const char *doing, aon_mongodb_each each, void *context, aon_error *error) {
  bson_error_t failure = {0};
  bson_t with;
  bool fits = true;
  c->code = 0;
  c->unanswered = false;
  if (atomic_load(&c->line.interrupt->raised) && !c->line.deaf)
    return aon_fail(error, AON_CANCELLED, "cancelled", "The call to %s was cancelled while %s.", c->label, doing);
  bson_copy_to(options, &with);
  if (kind == AON_MONGODB_INSIDE)
    fits = mongoc_client_session_append(c->session, &with, &failure);
  else if (c->majority)
    BCON_APPEND(&with, "readConcern", "{", "level", BCON_UTF8("majority"), "}");
  if (!fits) {
    bson_destroy(&with);
    return aon_fail(error, AON_USAGE, "transaction_failed", "%s has no transaction open while %s.", c->label, doing);
  }
  mongoc_collection_t *from = mongoc_client_get_collection(c->client, aon_mongodb_database(c), collection);
  mongoc_read_prefs_t *primary = mongoc_read_prefs_new(MONGOC_READ_PRIMARY);
  mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(from, filter, &with, primary);
  aon_result result = walk(c, cursor, kind, doing, each, context, error);
  mongoc_cursor_destroy(cursor);
  mongoc_read_prefs_destroy(primary);
  mongoc_collection_destroy(from);
  bson_destroy(&with);
  return result;
}

/* ---- transactions ---- */

static aon_result start(aon_mongodb *c, bson_error_t *failure) {
  mongoc_transaction_opt_t *how = mongoc_transaction_opts_new();
  mongoc_read_concern_t *read = mongoc_read_concern_new();
  mongoc_write_concern_t *write = mongoc_write_concern_new();
  mongoc_read_concern_set_level(read, MONGOC_READ_CONCERN_LEVEL_SNAPSHOT);
  mongoc_write_concern_set_w(write, MONGOC_WRITE_CONCERN_W_MAJORITY);
  mongoc_write_concern_set_journal(write, true);
  mongoc_write_concern_set_wtimeout_int64(write, c->timeout_ms * WAIT_SHARE / 10 + 1);
  mongoc_transaction_opts_set_read_concern(how, read);
  mongoc_transaction_opts_set_write_concern(how, write);
  bool begun = mongoc_client_session_start_transaction(c->session, how, failure);
  mongoc_write_concern_destroy(write);
  mongoc_read_concern_destroy(read);
  mongoc_transaction_opts_destroy(how);
  return begun ? AON_OK : AON_PERMANENT;
}

static void drop_session(aon_mongodb *c) {
  if (c->session)
    mongoc_client_session_destroy(c->session);
  c->session = NULL;
}

aon_result aon_mongodb_begin(aon_mongodb *c, const bson_t **ret_lsid, aon_error *error) {
  bson_error_t failure = {0};
  mongoc_session_opt_t *how = mongoc_session_opts_new();
  mongoc_session_opts_set_causal_consistency(how, false);
  c->session = mongoc_client_start_session(c->client, how, &failure);
  mongoc_session_opts_destroy(how);
  if (!c->session || start(c, &failure)) {
    drop_session(c);
    if (failure.domain == MONGOC_ERROR_SERVER_SELECTION || failure.domain == MONGOC_ERROR_STREAM)
      return unanswered(c, AON_MONGODB_READ, "opening a transaction", failure.message, false, error);
    return aon_fail(error, AON_PERMANENT, "not_supported", "%s can't open a transaction: %.200s.", c->label, failure.message);
  }
  *ret_lsid = mongoc_client_session_get_lsid(c->session);
  return AON_OK;
}

static bool commit_once(aon_mongodb *c, bson_t *reply, bson_error_t *failure) {
  *failure = (bson_error_t){0};
  return mongoc_client_session_commit_transaction(c->session, reply, failure);
}

/* The server's answer counts only if no earlier one was lost: what was done then is not known by what is said now. */
aon_result aon_mongodb_commit(aon_mongodb *c, aon_error *error) {
  bson_error_t failure;
  bson_t reply;
  bool lost = false;
  aon_result result = AON_OK;
  for (int i = 0;; i++) {
    bool done = commit_once(c, &reply, &failure);
    bool again = !done && labelled(&reply, "UnknownTransactionCommitResult");
    if (!done && !again)
      result = classify(c, &failure, &reply, AON_MONGODB_INSIDE, "committing", error);
    bson_destroy(&reply);
    if (done)
      break;
    lost = lost || again || c->unanswered;
    if (!again || i + 1 >= COMMIT_TRIES || aon_monotonic_ms(c->line.env) >= c->line.deadline_ms)
      break;
  }
  drop_session(c);
  if (!lost || (!result && !failure.domain))
    return result;
  c->line.broken = true;
  return aon_fail(error, AON_UNKNOWN, "commit_lost",
                  "The connection to %s was lost while committing; whether it was done is not known yet.", c->label);
}

void aon_mongodb_abort(aon_mongodb *c) {
  bson_error_t failure;
  c->line.deaf = true;
  c->line.deadline_ms = aon_monotonic_ms(c->line.env) + ENDING_MS;
  if (c->session && mongoc_client_session_in_transaction(c->session) && !mongoc_client_session_abort_transaction(c->session, &failure))
    c->line.broken = true;
  drop_session(c);
  c->line.deaf = false;
}
