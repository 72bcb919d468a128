/* PostgreSQL's client library, loaded on first need. Invariants stand in base/library.h. */
#ifndef AON_WIRE_LIBPQ_H
#define AON_WIRE_LIBPQ_H

#include <libpq-fe.h>

#include "base/library.h"

/* clang-format off */
#define AON_LIBPQ(X)                                                                                                                     \
  X(PQcancel) X(PQclear) X(PQcmdStatus) X(PQcmdTuples) X(PQconnectPoll) X(PQconnectStartParams) X(PQconsumeInput) X(PQenterPipelineMode) \
  X(PQerrorMessage) X(PQexitPipelineMode) X(PQfinish) X(PQflush) X(PQfreeCancel) X(PQgetCancel) X(PQgetResult) X(PQgetisnull)            \
  X(PQgetlength) X(PQgetvalue) X(PQhost) X(PQisBusy) X(PQntuples) X(PQpipelineSync) X(PQport) X(PQresultErrorField) X(PQresultStatus)    \
  X(PQsendPrepare) X(PQsendQuery) X(PQsendQueryParams) X(PQsendQueryPrepared) X(PQsetNoticeReceiver) X(PQsetnonblocking)                  \
  X(PQsocket) X(PQstatus) X(PQtransactionStatus)
/* clang-format on */

typedef struct aon_libpq_table {
  AON_LIBPQ(AON_LIBRARY_FIELD)
} aon_libpq_table;

aon_result aon_libpq_load(const char *needed_by, aon_error *error) AON_MUST_USE;
const aon_libpq_table *aon_libpq(void);

/* No result, as where nothing was sent, is cleared without the library. */
static inline void aon_libpq_clear(PGresult *result) {
  if (result)
    aon_libpq()->PQclear(result);
}

#define PQcancel aon_libpq()->PQcancel
#define PQclear aon_libpq_clear
#define PQcmdStatus aon_libpq()->PQcmdStatus
#define PQcmdTuples aon_libpq()->PQcmdTuples
#define PQconnectPoll aon_libpq()->PQconnectPoll
#define PQconnectStartParams aon_libpq()->PQconnectStartParams
#define PQconsumeInput aon_libpq()->PQconsumeInput
#define PQenterPipelineMode aon_libpq()->PQenterPipelineMode
#define PQerrorMessage aon_libpq()->PQerrorMessage
#define PQexitPipelineMode aon_libpq()->PQexitPipelineMode
#define PQfinish aon_libpq()->PQfinish
#define PQflush aon_libpq()->PQflush
#define PQfreeCancel aon_libpq()->PQfreeCancel
#define PQgetCancel aon_libpq()->PQgetCancel
#define PQgetResult aon_libpq()->PQgetResult
#define PQgetisnull aon_libpq()->PQgetisnull
#define PQgetlength aon_libpq()->PQgetlength
#define PQgetvalue aon_libpq()->PQgetvalue
#define PQhost aon_libpq()->PQhost
#define PQisBusy aon_libpq()->PQisBusy
#define PQntuples aon_libpq()->PQntuples
#define PQpipelineSync aon_libpq()->PQpipelineSync
#define PQport aon_libpq()->PQport
#define PQresultErrorField aon_libpq()->PQresultErrorField
#define PQresultStatus aon_libpq()->PQresultStatus
#define PQsendPrepare aon_libpq()->PQsendPrepare
#define PQsendQuery aon_libpq()->PQsendQuery
#define PQsendQueryParams aon_libpq()->PQsendQueryParams
#define PQsendQueryPrepared aon_libpq()->PQsendQueryPrepared
#define PQsetNoticeReceiver aon_libpq()->PQsetNoticeReceiver
#define PQsetnonblocking aon_libpq()->PQsetnonblocking
#define PQsocket aon_libpq()->PQsocket
#define PQstatus aon_libpq()->PQstatus
#define PQtransactionStatus aon_libpq()->PQtransactionStatus
#endif
