/* Sockets for libmongoc, inside wire only.
 * Invariants: never blocking, so that a wait ends at the connection's deadline or an interrupt; a stream that failed stays failed. */
#ifndef AON_WIRE_MONGODB_STREAM_H
#define AON_WIRE_MONGODB_STREAM_H

#include <mongoc/mongoc.h>

#include "aon/env.h"
#include "wire/interrupt.h"

typedef struct aon_mongodb_line { /* what all streams of a connection share */
  aon_env *env;
  aon_interrupt *interrupt;
  int64_t deadline_ms;
  int64_t connect_ms; /* of one server */
  struct aon_mongodb_stream *streams;
  bool broken; /* a wait was given up, or a server hung up */
  bool deaf;   /* an interrupt is not heard: something is being ended */
} aon_mongodb_line;

/* libmongoc's stream initiator; data is the line. */
mongoc_stream_t *aon_mongodb_stream_open(const mongoc_uri_t *uri, const mongoc_host_list_t *host, void *data, bson_error_t *error);
bool aon_mongodb_streams_alive(const aon_mongodb_line *line);
#endif
