/* See exchanges.h. */
#include "exchanges.h"

#include <string.h>

#include <libpq-fe.h>

const char *exchange_name(int kind) { return kind == CALL_REQUEST ? "request" : kind == CALL_ANSWER ? "answer" : calls_name(kind); }

static int failing_send_query_params(PGconn *c, const char *sql, int count, const Oid *types, const char *const *values, const int *lengths,
                                     const int *formats, int format) {
  return calls_due(CALL_REQUEST) ? 0 : PQsendQueryParams(c, sql, count, types, values, lengths, formats, format);
}
static int failing_send_query(PGconn *c, const char *sql) { return calls_due(CALL_REQUEST) ? 0 : PQsendQuery(c, sql); }
static int failing_pipeline_sync(PGconn *c) { return calls_due(CALL_REQUEST) ? 0 : PQpipelineSync(c); }
static int failing_flush(PGconn *c) { return calls_due(CALL_REQUEST) ? -1 : PQflush(c); }
static int failing_consume_input(PGconn *c) { return calls_due(CALL_ANSWER) ? 0 : PQconsumeInput(c); }
static PGconn *failing_connect_start_params(const char *const *keywords, const char *const *values, int expand) {
  return calls_due(CALL_REQUEST) ? NULL : PQconnectStartParams(keywords, values, expand);
}
static PostgresPollingStatusType failing_connect_poll(PGconn *c) { return calls_due(CALL_ANSWER) ? PGRES_POLLING_FAILED : PQconnectPoll(c); }

/* Functions of libpq are looked up by name (base/library.h). */
void *__real_dlsym(void *library, const char *name);
void *__wrap_dlsym(void *library, const char *name);

void *__wrap_dlsym(void *library, const char *name) {
  static const struct {
    const char *name;
    void *function;
  } failing[] = {{"PQsendQueryParams", failing_send_query_params},
                 {"PQsendQuery", failing_send_query},
                 {"PQpipelineSync", failing_pipeline_sync},
                 {"PQflush", failing_flush},
                 {"PQconsumeInput", failing_consume_input},
                 {"PQconnectStartParams", failing_connect_start_params},
                 {"PQconnectPoll", failing_connect_poll}};
  for (size_t i = 0; i < sizeof failing / sizeof *failing; i++)
    if (!strcmp(failing[i].name, name))
      return failing[i].function;
  return __real_dlsym(library, name);
}
