/* See exchanges.h. A request that fails never left; of one whose answer fails the server has done what was asked. */
#include "exchanges.h"

#include <stdio.h>
#include <string.h>

#include <curl/curl.h>
#include <libpq-fe.h>
#include <mongoc/mongoc.h>

const char *exchange_name(int kind) {
  static const char *const names[] = {"request", "answer", "refusal"};
  return kind < CALLS ? calls_name(kind) : names[kind - CALLS];
}

/* ---- PostgreSQL ---- */

#define REFUSED "planted: no SQL" /* refused by its parser, within a pipeline too */

static int failing_send_query_params(PGconn *c, const char *sql, int count, const Oid *types, const char *const *values, const int *lengths,
                                     const int *formats, int format) {
  if (calls_due(CALL_REFUSAL))
    return PQsendQueryParams(c, REFUSED, 0, NULL, NULL, NULL, NULL, format);
  return calls_due(CALL_REQUEST) ? 0 : PQsendQueryParams(c, sql, count, types, values, lengths, formats, format);
}
static int failing_send_prepare(PGconn *c, const char *name, const char *sql, int count, const Oid *types) {
  return calls_due(CALL_REQUEST) ? 0 : PQsendPrepare(c, name, sql, count, types);
}
static int failing_send_query_prepared(PGconn *c, const char *name, int count, const char *const *values, const int *lengths,
                                       const int *formats, int format) {
  if (calls_due(CALL_REFUSAL))
    return PQsendQueryParams(c, REFUSED, 0, NULL, NULL, NULL, NULL, format);
  return calls_due(CALL_REQUEST) ? 0 : PQsendQueryPrepared(c, name, count, values, lengths, formats, format);
}
static int failing_send_query(PGconn *c, const char *sql) { return calls_due(CALL_REQUEST) ? 0 : PQsendQuery(c, sql); }
static int failing_pipeline_sync(PGconn *c) { return calls_due(CALL_REQUEST) ? 0 : PQpipelineSync(c); }
static int failing_flush(PGconn *c) { return calls_due(CALL_REQUEST) ? -1 : PQflush(c); }
static int failing_consume_input(PGconn *c) { return calls_due(CALL_ANSWER) ? 0 : PQconsumeInput(c); }
static PGconn *failing_connect_start_params(const char *const *keywords, const char *const *values, int expand) {
  return calls_due(CALL_REQUEST) ? NULL : PQconnectStartParams(keywords, values, expand);
}
static PostgresPollingStatusType failing_connect_poll(PGconn *c) {
  return calls_due(CALL_ANSWER) ? PGRES_POLLING_FAILED : PQconnectPoll(c);
}

/* ---- MongoDB ---- */

static struct {
  mongoc_cursor_t *cursor; /* whose answer was lost, or which was refused */
  void (*why)(bson_error_t *error);
} cut_off;

static bool not_sent(bson_error_t *error) {
  bson_set_error(error, MONGOC_ERROR_SERVER_SELECTION, MONGOC_ERROR_SERVER_SELECTION_FAILURE, "planted: no server to be found");
  return false;
}

static void lost(bson_error_t *error) {
  bson_set_error(error, MONGOC_ERROR_STREAM, MONGOC_ERROR_STREAM_SOCKET, "planted: the answer is lost");
}

static bool not_answered(bson_error_t *error) {
  lost(error);
  return false;
}

static void refused(bson_error_t *error) { bson_set_error(error, MONGOC_ERROR_SERVER, 13, "planted: not authorized"); }

static bool failing_command(mongoc_client_t *c, const char *database, const bson_t *command, const mongoc_read_prefs_t *how,
                            const bson_t *options, bson_t *reply, bson_error_t *error) {
  if (calls_due(CALL_REQUEST)) {
    bson_init(reply);
    return not_sent(error);
  }
  if (calls_due(CALL_REFUSAL)) {
    bson_init(reply);
    refused(error);
    return false;
  }
  bool done = mongoc_client_command_with_opts(c, database, command, how, options, reply, error);
  return calls_due(CALL_ANSWER) ? not_answered(error) : done;
}

static bool failing_commit(mongoc_client_session_t *session, bson_t *reply, bson_error_t *error) {
  bool done = mongoc_client_session_commit_transaction(session, reply, error);
  if (!calls_due(CALL_ANSWER))
    return done;
  bson_destroy(reply);
  bson_init(reply);
  bson_t labels;
  BSON_APPEND_ARRAY_BEGIN(reply, "errorLabels", &labels);
  BSON_APPEND_UTF8(&labels, "0", "UnknownTransactionCommitResult");
  bson_append_array_end(reply, &labels);
  return not_answered(error);
}

static bool failing_cursor_next(mongoc_cursor_t *cursor, const bson_t **document) {
  bool more = mongoc_cursor_next(cursor, document);
  void (*why)(bson_error_t *) = calls_due(CALL_ANSWER) ? lost : calls_due(CALL_REFUSAL) ? refused : NULL;
  if (!why)
    return more;
  cut_off.cursor = cursor;
  cut_off.why = why;
  return false;
}

static bool failing_cursor_error(mongoc_cursor_t *cursor, bson_error_t *error, const bson_t **reply) {
  if (cursor != cut_off.cursor)
    return mongoc_cursor_error_document(cursor, error, reply);
  cut_off.cursor = NULL;
  cut_off.why(error);
  return true;
}

/* ---- HTTP ---- */

static CURLMcode failing_add(CURLM *multi, CURL *easy) {
  return calls_due(CALL_REQUEST) ? CURLM_OUT_OF_MEMORY : curl_multi_add_handle(multi, easy);
}

static CURLMsg *failing_info(CURLM *multi, int *left) {
  CURLMsg *message = curl_multi_info_read(multi, left);
  if (message && calls_due(CALL_ANSWER))
    message->data.result = CURLE_RECV_ERROR;
  return message;
}

/* Functions of these libraries are looked up by name (base/library.h). */
void *__real_dlsym(void *library, const char *name);
void *__wrap_dlsym(void *library, const char *name);

void *__wrap_dlsym(void *library, const char *name) {
  static const struct {
    const char *name;
    void *function;
  } failing[] = {{"PQsendQueryParams", failing_send_query_params},
                 {"PQsendPrepare", failing_send_prepare},
                 {"PQsendQueryPrepared", failing_send_query_prepared},
                 {"PQsendQuery", failing_send_query},
                 {"PQpipelineSync", failing_pipeline_sync},
                 {"PQflush", failing_flush},
                 {"PQconsumeInput", failing_consume_input},
                 {"PQconnectStartParams", failing_connect_start_params},
                 {"PQconnectPoll", failing_connect_poll},
                 {"mongoc_client_command_with_opts", failing_command},
                 {"mongoc_client_session_commit_transaction", failing_commit},
                 {"mongoc_cursor_next", failing_cursor_next},
                 {"mongoc_cursor_error_document", failing_cursor_error},
                 {"curl_multi_add_handle", failing_add},
                 {"curl_multi_info_read", failing_info}};
  for (size_t i = 0; i < sizeof failing / sizeof *failing; i++)
    if (!strcmp(failing[i].name, name))
      return failing[i].function;
  return __real_dlsym(library, name);
}
