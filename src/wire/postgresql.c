/* PostgreSQL connections. Invariants stand in wire/postgresql.h. */
#include "wire/postgresql.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buffer.h"
#include "wire/libpq.h"

#define CANCEL_WAIT_MS 1000          /* how long a cancelled statement may take to say so */
#define IDLE_TRANSACTION_MS "300000" /* a worker frozen in its transaction gives its locks back after that */
#define APPLICATION "allornone"
#define READS_LIMIT 64 /* of what an idle server says unasked */
#define TEXT_OID 25
#define KEPT_LIMIT 64 /* statements that a connection keeps prepared; more are parsed each time */
#define KEPT_NAME_BYTES 16
#define NOT_SUPPORTED "0A000" /* also: a prepared statement's rows would have other types now */

typedef struct kept { /* sql NULL: free */
  char *sql;
  bool there; /* the server has said so; else its answer is still to come */
} kept;

struct aon_postgresql {
  aon_env *env;
  aon_interrupt *interrupt;
  PGconn *handle;
  char label[64];
  int64_t deadline_ms;
  bool broken, refused;
  bool outdated; /* it keeps what was prepared for another form of a table: no further call of its holder should use it */
  char sqlstate[6];
  aon_postgresql_blame blame;
  kept kept[KEPT_LIMIT];
};

/* ---- failures ---- */

typedef struct known_state {
  const char *state; /* a whole SQLSTATE, or its class */
  aon_result kind;
  const char *code;
  const char *sentence; /* after "STORE "; NULL: what the server says, which names columns and constraints but no values */
} known_state;

static const known_state known_states[] = {
    {"23505", AON_PERMANENT, "duplicate", NULL},
    {"23", AON_PERMANENT, "constraint", NULL},
    {"40002", AON_PERMANENT, "constraint", NULL},
    {"40", AON_TRANSIENT, "database_locked", "was too busy: another transaction got in the way (serialization failure or deadlock)"},
    {"55P03", AON_TRANSIENT, "database_locked", "holds what is needed locked by another transaction. End that one, or wait"},
    {"55006", AON_TRANSIENT, "database_locked", "holds what is needed in use by another transaction. Wait"},
    {"57014", AON_TRANSIENT, "unavailable", "did not finish within the time limit. Try again, or raise timeout of the store"},
    {"57", AON_TRANSIENT, "unavailable", "is being shut down or started"},
    {"25P03", AON_TRANSIENT, "transaction_expired", "has ended a transaction that waited too long"},
    {"25006", AON_ENVIRONMENT, "read_only", "can't be written: it is read-only (a standby, or default_transaction_read_only)"},
    {"25", AON_USAGE, "transaction_failed", "has a transaction that has failed and can only be rolled back"},
    {"53100", AON_ENVIRONMENT, "disk_full", "has no room left on its disk"},
    {"53200", AON_TRANSIENT, "no_slot", "is out of memory or of places for prepared transactions (max_prepared_transactions)"},
    {"53300", AON_TRANSIENT, "unavailable", "takes no more connections (max_connections)"},
    {"53", AON_TRANSIENT, "unavailable", "is short of resources"},
    {"58", AON_ENVIRONMENT, "io_error", "had a failure of its disk or system"},
    {"08", AON_TRANSIENT, "unavailable", "could not be reached"},
    {"28", AON_ENVIRONMENT, "no_permission", "refused the user or password"},
    {"3D000", AON_ENVIRONMENT, "no_such_file", "names a database that isn't there"},
    {"42501", AON_PERMANENT, "no_permission", NULL},
    {"42P01", AON_TRANSIENT, "schema_changed", "was altered meanwhile: a table is gone"},
    {"42703", AON_TRANSIENT, "schema_changed", "was altered meanwhile: a column is gone"},
    {"42804", AON_TRANSIENT, "schema_changed", "was altered meanwhile: a column has another type"},
    {"22001", AON_PERMANENT, "too_long", "refused a value that is too long for its column"},
    {"22003", AON_PERMANENT, "out_of_range", "refused a number that is out of its column's range"},
    {"22", AON_PERMANENT, "bad_type", "refused a value that its column can't hold"},
    {NOT_SUPPORTED, AON_PERMANENT, "not_supported", NULL},
    {"P0001", AON_PERMANENT, "constraint", "has a trigger or function that refused it"},
    {"XX001", AON_CORRUPT, "corrupt", "is damaged. Restore it from a backup"},
    {"XX002", AON_CORRUPT, "corrupt", "is damaged. Rebuild its indexes, or restore it from a backup"},
    {"42", AON_PERMANENT, "sql_error", NULL},
};

static const known_state *find_state(const char *sqlstate) {
  for (size_t i = 0; i < sizeof known_states / sizeof *known_states; i++)
    if (!strncmp(known_states[i].state, sqlstate, strlen(known_states[i].state)))
      return &known_states[i];
  return NULL;
}

static aon_result lost(aon_postgresql *c, const char *doing, const char *why, aon_error *error) {
  c->broken = true;
  c->refused = false;
  c->sqlstate[0] = 0;
  return aon_fail(error, AON_TRANSIENT, "unavailable", "%s %s while %s. Nothing of it was kept; try again.", c->label, why, doing);
}

static aon_result interrupted(aon_postgresql *c, const char *doing, aon_error *error) {
  return aon_fail(error, AON_CANCELLED, "cancelled", "The call to %s was cancelled while %s.", c->label, doing);
}

static void take_name(const PGresult *result, int field, char name[AON_POSTGRESQL_NAME_BYTES]) {
  const char *said = PQresultErrorField(result, field);
  snprintf(name, AON_POSTGRESQL_NAME_BYTES, "%s", said && strlen(said) < AON_POSTGRESQL_NAME_BYTES ? said : "");
}

static void take_blame(aon_postgresql *c, const PGresult *result) {
  take_name(result, PG_DIAG_SCHEMA_NAME, c->blame.schema);
  take_name(result, PG_DIAG_TABLE_NAME, c->blame.table);
  take_name(result, PG_DIAG_COLUMN_NAME, c->blame.column);
  take_name(result, PG_DIAG_CONSTRAINT_NAME, c->blame.constraint);
}

static aon_result failed(aon_postgresql *c, const PGresult *result, const char *doing, aon_error *error) {
  const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE), *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  const char *said = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  if (!state)
    return lost(c, doing, "hung up", error);
  snprintf(c->sqlstate, sizeof c->sqlstate, "%s", state);
  take_blame(c, result);
  bool fatal = severity && strcmp(severity, "ERROR");
  c->broken = c->broken || fatal;
  c->refused = !fatal && strncmp(state, "08", 2) && strcmp(state, "40003");
  if (!strcmp(state, "57014") && atomic_load(&c->interrupt->raised))
    return interrupted(c, doing, error);
  const known_state *known = find_state(state);
  if (!known)
    return aon_fail(error, AON_PERMANENT, "sql_error", "%s refused it while %s (SQLSTATE %s).", c->label, doing, state);
  if (known->sentence)
    return aon_fail(error, known->kind, known->code, "%s %s (while %s, SQLSTATE %s).", c->label, known->sentence, doing, state);
  return aon_fail(error, known->kind, known->code, "%s refused it while %s: %s.", c->label, doing, said ? said : state);
}

/* ---- waiting ---- */

/* AON_OK: the socket is ready (or libpq should look again). */
static aon_result wait_socket(aon_postgresql *c, short events, int64_t deadline_ms, bool interruptible, const char *doing,
                              aon_error *error) {
  for (;;) {
    if (interruptible && atomic_load(&c->interrupt->raised))
      return interrupted(c, doing, error);
    int64_t left = deadline_ms - aon_monotonic_ms(c->env);
    if (left <= 0)
      return lost(c, doing, "did not answer in time", error);
    struct pollfd fds[2] = {{.fd = PQsocket(c->handle), .events = events}, {.fd = c->interrupt->wake, .events = POLLIN}};
    int ready = poll(fds, interruptible ? 2 : 1, left > 1000 ? 1000 : (int)left);
    if (ready < 0 && errno != EINTR)
      return lost(c, doing, "can't be waited for", error);
    if (ready > 0 && fds[0].revents)
      return AON_OK;
  }
}

static void send_cancel(aon_postgresql *c) {
  char why[256];
  PGcancel *cancel = PQgetCancel(c->handle);
  if (cancel)
    PQcancel(cancel, why, sizeof why);
  PQfreeCancel(cancel);
}

/* Until a result can be taken without blocking. An interrupt cancels the statement and waits a little for its end. */
static aon_result wait_result(aon_postgresql *c, const char *doing, aon_error *error) {
  bool cancelled = false;
  int64_t deadline_ms = c->deadline_ms;
  for (;;) {
    int pending = PQflush(c->handle);
    if (pending < 0 || !PQconsumeInput(c->handle))
      return lost(c, doing, "hung up", error);
    if (!PQisBusy(c->handle))
      return AON_OK;
    aon_result result = wait_socket(c, (short)(POLLIN | (pending ? POLLOUT : 0)), deadline_ms, !cancelled, doing, error);
    if (result == AON_CANCELLED) {
      cancelled = true;
      send_cancel(c);
      deadline_ms = aon_monotonic_ms(c->env) + CANCEL_WAIT_MS;
      result = AON_OK;
    }
    if (result)
      return cancelled ? interrupted(c, doing, error) : result;
  }
}

/* The next result; NULL: the statement is over. */
static aon_result next_result(aon_postgresql *c, const char *doing, PGresult **ret_result, aon_error *error) {
  aon_result result = wait_result(c, doing, error);
  if (!result)
    *ret_result = PQgetResult(c->handle);
  return result;
}

/* ---- opening ---- */

/* Plans that don't look at the values: what we ask for is found by keys, and knowing how many there are the server would go through all of
 * a table that has no statistics, once for each batch. */
#define SESSION                                                                                                                            \
  "set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres'; set timezone = 'UTC'; set bytea_output = 'hex'; "                           \
  "set extra_float_digits = 1; set lc_monetary = 'C'; set standard_conforming_strings = on; set xmloption = 'content'; "                   \
  "set default_transaction_isolation = 'read committed'; set jit = off; set row_security = off; "                                          \
  "set plan_cache_mode = force_generic_plan; "                                                                                             \
  "set idle_in_transaction_session_timeout = " IDLE_TRANSACTION_MS "; "                                                                    \
  "select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') in ('off', 'local'); "                 \
  "set lock_timeout = %lld; set statement_timeout = %lld"

static aon_result simple(aon_postgresql *c, const char *sql, const char *doing, aon_error *error) {
  if (!PQsendQuery(c->handle, sql))
    return lost(c, doing, "hung up", error);
  aon_result result = AON_OK;
  for (;;) {
    AON_POSTGRESQL_RESULT PGresult *got = NULL;
    aon_result waited = next_result(c, doing, &got, result ? NULL : error);
    if (waited || !got)
      return result ? result : waited;
    ExecStatusType status = PQresultStatus(got);
    if (!result && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
      result = failed(c, got, doing, error);
  }
}

static aon_result session(aon_postgresql *c, int64_t timeout_ms, aon_error *error) {
  char sql[sizeof SESSION + 64];
  snprintf(sql, sizeof sql, SESSION, (long long)(timeout_ms * 6 / 10 + 1), (long long)(timeout_ms * 8 / 10 + 1));
  return simple(c, sql, "connecting", error);
}

/* TLS that came to nothing: what was wrong, in the line that says so (a name may stand for several addresses, each with a line), and what
 * to do. */
static aon_result not_trusted(const aon_postgresql *c, const char *said, aon_error *error) {
  static const struct {
    const char *word, *advice;
  } known[] = {
      {"does not match host name", "Write the host as its certificate has it"},
      {"certificate verify failed",
       "Name the file with the certificate of the authority that signed the server's by sslrootcert in the URL, or in PGSSLROOTCERT"},
      {"root certificate file",
       "Name the file with the certificate of the authority that signed the server's by sslrootcert in the URL, or in PGSSLROOTCERT"},
      {"does not support SSL", "Turn TLS on in the server (ssl = on), or ask for less by sslmode"}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    const char *at = strstr(said, known[i].word);
    if (!at)
      continue;
    while (at > said && at[-1] != '\n')
      at--;
    return aon_fail(error, AON_ENVIRONMENT, "untrusted_certificate", "%s was not asked: %.*s. %s.", c->label, (int)strcspn(at, "\n"), at,
                    known[i].advice);
  }
  return AON_OK;
}

/* libpq gives no SQLSTATE for a failing start-up, and its text may hold the user's name and host: both may be shown, passwords never are in
 * it. Only the first line, so that a sentence stays one. */
static aon_result not_connected(aon_postgresql *c, aon_error *error) {
  const char *said = PQerrorMessage(c->handle);
  bool refused = strstr(said, "authentication") || strstr(said, "password") || strstr(said, "role \"") || strstr(said, "pg_hba") ||
                 strstr(said, "permission denied");
  int length = (int)strcspn(said, "\n");
  aon_result untrusted = not_trusted(c, said, error);
  if (untrusted)
    return untrusted;
  if (strstr(said, "too many connections"))
    return aon_fail(error, AON_TRANSIENT, "unavailable", "%s takes no more connections: %.*s.", c->label, length, said);
  if (strstr(said, "does not exist") && strstr(said, "database \""))
    return aon_fail(error, AON_ENVIRONMENT, "no_such_file", "%s can't be opened: %.*s.", c->label, length, said);
  if (refused)
    return aon_fail(error, AON_ENVIRONMENT, "no_permission", "%s refused the connection: %.*s.", c->label, length, said);
  return aon_fail(error, AON_TRANSIENT, "unavailable", "%s can't be reached: %.*s.", c->label, length, said);
}

static aon_result start(aon_postgresql *c, const char *url, aon_error *error) {
  const char *const names[] = {"dbname", "fallback_application_name", "client_encoding", NULL};
  const char *const values[] = {url, APPLICATION, "UTF8", NULL};
  c->handle = PQconnectStartParams(names, values, 1);
  if (!c->handle)
    return aon_fail_memory(error);
  if (PQsocket(c->handle) < 0) {
    const char *said = PQerrorMessage(c->handle);
    bool location = strstr(said, "URI") || strstr(said, "connection option") || strstr(said, "missing \"=\"") || strstr(said, "invalid");
    if (location)
      return aon_fail(error, AON_USAGE, "bad_location",
                      "The URL of %s can't be read. Write postgresql://USER@HOST:PORT/DATABASE, with %%XX for odd characters.", c->label);
    return not_connected(c, error);
  }
  return AON_OK;
}

static aon_result connect_until(aon_postgresql *c, int64_t deadline_ms, aon_error *error) {
  for (PostgresPollingStatusType status = PGRES_POLLING_WRITING; status != PGRES_POLLING_OK; status = PQconnectPoll(c->handle)) {
    if (status == PGRES_POLLING_FAILED)
      return not_connected(c, error);
    short events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT;
    aon_result result = wait_socket(c, events, deadline_ms, true, "connecting", error);
    if (result)
      return result;
  }
  return AON_OK;
}

static void hear_nothing(void *context, const PGresult *notice) {
  (void)context;
  (void)notice;
}

aon_result aon_postgresql_open(aon_env *env, const aon_postgresql_settings *settings, aon_interrupt *interrupt, int64_t deadline_ms,
                               aon_postgresql **ret_connection, aon_error *error) {
  aon_result result = aon_libpq_load(settings->label, error);
  if (result)
    return result;
  aon_postgresql *c = calloc(1, sizeof *c);
  if (!c)
    return aon_fail_memory(error);
  c->env = env;
  c->interrupt = interrupt;
  c->deadline_ms = deadline_ms;
  snprintf(c->label, sizeof c->label, "%s", settings->label);
  result = start(c, settings->url, error);
  if (!result)
    result = connect_until(c, deadline_ms, error);
  if (!result) {
    PQsetNoticeReceiver(c->handle, hear_nothing, NULL);
    result = PQsetnonblocking(c->handle, 1) ? aon_fail_memory(error) : session(c, settings->timeout_ms, error);
  }
  if (result) {
    aon_postgresql_close(c);
    return result;
  }
  *ret_connection = c;
  return AON_OK;
}

void aon_postgresql_close(aon_postgresql *connection) {
  if (!connection)
    return;
  PQfinish(connection->handle);
  for (size_t i = 0; i < KEPT_LIMIT; i++)
    free(connection->kept[i].sql);
  free(connection);
}

/* A server that hung up has said why before: what it said is read first, its end only when asked again. */
bool aon_postgresql_alive(aon_postgresql *c) {
  for (int i = 0; !c->broken && !c->outdated && i < READS_LIMIT; i++) {
    struct pollfd fd = {.fd = PQsocket(c->handle), .events = POLLIN};
    if (PQstatus(c->handle) != CONNECTION_OK || PQisBusy(c->handle) || PQtransactionStatus(c->handle) != PQTRANS_IDLE)
      return false;
    if (poll(&fd, 1, 0) <= 0)
      return true;
    if (!PQconsumeInput(c->handle))
      return false;
  }
  return false;
}

PGconn *aon_postgresql_handle(aon_postgresql *connection) { return connection->handle; }
void aon_postgresql_deadline(aon_postgresql *connection, int64_t deadline_ms) { connection->deadline_ms = deadline_ms; }
bool aon_postgresql_refused(const aon_postgresql *connection) { return connection->refused; }
aon_postgresql_blame aon_postgresql_blamed(const aon_postgresql *connection) {
  return *connection->sqlstate ? connection->blame : (aon_postgresql_blame){0};
}

const char *aon_postgresql_sqlstate(const aon_postgresql *connection) { return connection->sqlstate; }
bool aon_postgresql_broken(const aon_postgresql *connection) { return connection->broken; }

/* ---- statements ---- */

static kept *kept_find(aon_postgresql *c, const char *sql) {
  for (size_t i = 0; i < KEPT_LIMIT; i++)
    if (c->kept[i].sql && !strcmp(c->kept[i].sql, sql))
      return &c->kept[i];
  return NULL;
}

static void kept_forget(kept *k) {
  free(k->sql);
  *k = (kept){0};
}

/* Prepares it, unless it is. *ret_kept NULL: there is no more room. */
static aon_result keep(aon_postgresql *c, const aon_postgresql_statement *statement, kept **ret_kept, aon_error *error) {
  char name[KEPT_NAME_BYTES];
  kept *k = kept_find(c, statement->sql);
  *ret_kept = k;
  for (size_t i = 0; !k && i < KEPT_LIMIT; i++)
    if (!c->kept[i].sql)
      k = &c->kept[i];
  if (!k || *ret_kept)
    return AON_OK;
  k->sql = strdup(statement->sql);
  if (!k->sql)
    return aon_fail_memory(error);
  snprintf(name, sizeof name, "aon%zu", (size_t)(k - c->kept));
  *ret_kept = k;
  return PQsendPrepare(c->handle, name, statement->sql, (int)statement->count, NULL) ? AON_OK : lost(c, statement->doing, "hung up", error);
}

static aon_result queue(aon_postgresql *c, const aon_postgresql_statement *statement, bool pipelined, aon_error *error) {
  const char *texts[AON_POSTGRESQL_VALUES_LIMIT];
  int lengths[AON_POSTGRESQL_VALUES_LIMIT], formats[AON_POSTGRESQL_VALUES_LIMIT], count = (int)statement->count, sent;
  kept *k = NULL;
  if (statement->count > AON_POSTGRESQL_VALUES_LIMIT)
    return aon_fail(error, AON_PERMANENT, "too_many", "A statement to %s would have more than %d values.", c->label,
                    AON_POSTGRESQL_VALUES_LIMIT);
  for (size_t i = 0; i < statement->count; i++) {
    texts[i] = statement->values[i].data;
    lengths[i] = statement->values[i].length;
    formats[i] = statement->values[i].binary;
  }
  aon_result result = pipelined && statement->keep ? keep(c, statement, &k, error) : AON_OK;
  if (result)
    return result;
  if (k) {
    char name[KEPT_NAME_BYTES];
    snprintf(name, sizeof name, "aon%zu", (size_t)(k - c->kept));
    sent = PQsendQueryPrepared(c->handle, name, count, texts, lengths, formats, statement->binary);
  } else {
    sent = PQsendQueryParams(c->handle, statement->sql, count, NULL, texts, lengths, formats, statement->binary);
  }
  return sent ? AON_OK : lost(c, statement->doing, "hung up", error);
}

/* The result of one queued statement, and the NULL behind it. */
static aon_result collect(aon_postgresql *c, const char *doing, PGresult **ret_result, aon_error *error) {
  PGresult *got = NULL, *end = NULL;
  aon_result result = next_result(c, doing, &got, error);
  if (!result && !got)
    result = lost(c, doing, "hung up", error);
  if (!result) {
    ExecStatusType status = PQresultStatus(got);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
      result = failed(c, got, doing, error);
  }
  if (!c->broken && next_result(c, doing, &end, result ? NULL : error) && !result)
    result = AON_TRANSIENT;
  if (end) /* a FATAL that came behind its statement */
    c->broken = true;
  PQclear(end);
  if (result) {
    PQclear(got);
    got = NULL;
  }
  *ret_result = got;
  return result;
}

static aon_result may_call(aon_postgresql *c, const char *doing, aon_error *error) {
  c->refused = false;
  c->sqlstate[0] = 0;
  if (c->broken)
    return lost(c, doing, "hung up before", error);
  if (atomic_load(&c->interrupt->raised)) {
    c->refused = true; /* nothing was sent */
    return interrupted(c, doing, error);
  }
  return AON_OK;
}

aon_result aon_postgresql_run(aon_postgresql *connection, const char *sql, const aon_postgresql_value *values, size_t count,
                              const char *doing, PGresult **ret_result, aon_error *error) {
  aon_postgresql_statement statement = {.sql = sql, .values = values, .count = count, .doing = doing};
  PGresult *got = NULL;
  aon_result result = may_call(connection, doing, error);
  if (!result)
    result = queue(connection, &statement, false, error);
  if (!result)
    result = collect(connection, doing, &got, error);
  if (result || !ret_result)
    PQclear(got);
  else
    *ret_result = got;
  return result;
}

/* Behind the last statement's results. */
static aon_result end_pipeline(aon_postgresql *c, aon_error *error) {
  PGresult *sync = NULL;
  aon_result result = next_result(c, "ending a pipeline", &sync, error);
  bool right = !result && PQresultStatus(sync) == PGRES_PIPELINE_SYNC;
  PQclear(sync);
  if (right && PQexitPipelineMode(c->handle))
    return AON_OK;
  return result ? result : lost(c, "ending a pipeline", "answered out of order", error);
}

/* An answer behind a failure, which the server has skipped, has still to be taken. */
static void skip(aon_postgresql *c) {
  PGresult *skipped = NULL, *end = NULL;
  if (!c->broken && !next_result(c, "ending a pipeline", &skipped, NULL) && next_result(c, "ending a pipeline", &end, NULL))
    c->broken = true;
  PQclear(skipped);
  PQclear(end);
}

/* That a statement is prepared is answered before its first use, and to be known again only if it was. */
static aon_result collect_kept(aon_postgresql *c, kept *k, const char *doing, bool skipped, aon_error *error) {
  PGresult *prepared = NULL;
  aon_result result = AON_OK;
  if (skipped)
    skip(c);
  else
    result = collect(c, doing, &prepared, error);
  PQclear(prepared);
  if (result || skipped)
    kept_forget(k);
  else
    k->there = true;
  return result;
}

/* The server keeps to the types of the rows that a statement had when it was prepared. */
static aon_result outdated(aon_postgresql *c, const char *doing, aon_error *error) {
  c->outdated = true;
  return aon_fail(error, AON_TRANSIENT, "schema_changed", "%s was altered meanwhile: a column has another type (while %s).", c->label,
                  doing);
}

static aon_result collect_all(aon_postgresql *c, const aon_postgresql_statement *statements, size_t count, PGresult **results,
                              size_t *ret_failed, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; i < count; i++) {
    bool skipped = result;
    kept *k = statements[i].keep ? kept_find(c, statements[i].sql) : NULL;
    bool earlier = k && k->there;
    if (k && !earlier) {
      aon_result kept_result = collect_kept(c, k, statements[i].doing, skipped, error);
      result = skipped ? result : kept_result;
    }
    if (result)
      skip(c);
    else
      result = collect(c, statements[i].doing, &results[i], error);
    if (result && !skipped && earlier && !strcmp(c->sqlstate, NOT_SUPPORTED))
      result = outdated(c, statements[i].doing, error);
    if (result && !skipped)
      *ret_failed = i;
  }
  return result;
}

aon_result aon_postgresql_pipeline(aon_postgresql *connection, const aon_postgresql_statement *statements, size_t count, PGresult **results,
                                   size_t *ret_failed, aon_error *error) {
  memset(results, 0, count * sizeof *results);
  *ret_failed = 0;
  aon_result result = may_call(connection, statements[0].doing, error);
  if (result)
    return result;
  if (!PQenterPipelineMode(connection->handle))
    return lost(connection, statements[0].doing, "can't be asked", error);
  for (size_t i = 0; !result && i < count; i++)
    result = queue(connection, &statements[i], true, error);
  if (!result && !PQpipelineSync(connection->handle))
    result = lost(connection, statements[0].doing, "hung up", error);
  if (result) {
    connection->broken = true; /* half a pipeline was sent */
    return result;
  }
  result = collect_all(connection, statements, count, results, ret_failed, error);
  bool refused = connection->refused;
  if (!connection->broken) {
    aon_result ended = end_pipeline(connection, result ? NULL : error);
    connection->refused = refused && !connection->broken;
    result = result ? result : ended;
  }
  return result;
}

/* ---- results and values ---- */

void aon_postgresql_clear(PGresult **result) {
  PQclear(*result);
  *result = NULL;
}

static void put_number(char *at, uint32_t number) {
  for (int i = 0; i < 4; i++)
    at[i] = (char)(number >> (24 - 8 * i));
}

/* Dimensions, flags, type of elements; size and lower bound of the only dimension. */
aon_result aon_postgresql_texts_start(aon_buffer *out, aon_error *error) {
  char head[20];
  put_number(head, 1);
  put_number(head + 4, 1);
  put_number(head + 8, TEXT_OID);
  put_number(head + 12, 0);
  put_number(head + 16, 1);
  return aon_buffer_append(out, head, sizeof head, error);
}

aon_result aon_postgresql_texts_add(aon_buffer *out, const char *data, size_t length, aon_error *error) {
  char head[4];
  put_number(head, data ? (uint32_t)length : UINT32_MAX);
  aon_result result = aon_buffer_append(out, head, sizeof head, error);
  return result || !data || !length ? result : aon_buffer_append(out, data, length, error);
}

void aon_postgresql_texts_end(aon_buffer *out, size_t count) { put_number(out->data + 12, (uint32_t)count); }

static aon_result quoted(const char *text, char quote, aon_buffer *out, aon_error *error) {
  aon_result result = aon_buffer_append(out, &quote, 1, error);
  for (; !result && *text; text++) {
    if (*text == quote)
      result = aon_buffer_append(out, &quote, 1, error);
    if (!result)
      result = aon_buffer_append(out, text, 1, error);
  }
  return result ? result : aon_buffer_append(out, &quote, 1, error);
}

aon_result aon_postgresql_name(const char *name, aon_buffer *out, aon_error *error) { return quoted(name, '"', out, error); }
aon_result aon_postgresql_literal(const char *text, aon_buffer *out, aon_error *error) { return quoted(text, '\'', out, error); }
