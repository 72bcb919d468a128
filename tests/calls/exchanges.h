/* Exchanges with a server that fail, beside the calls of calls.h: what is sent, and what is waited for; with PostgreSQL, MongoDB, and the
 * services that are asked by HTTP. Linked with calls_wraps and exchanges_wraps. */
#ifndef AON_TESTS_EXCHANGES_H
#define AON_TESTS_EXCHANGES_H

#include "calls.h"

enum {
  CALL_REQUEST = CALLS,
  CALL_ANSWER,
  EXCHANGES,
  CALL_REFUSAL = EXCHANGES, /* beside them, of databases: the server answers that it won't */
  EXCHANGES_AND_REFUSALS
};

const char *exchange_name(int kind); /* of calls too */
#endif
