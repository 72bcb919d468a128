/* HTTP requests, many at once, over libcurl's multi interface: HTTP/2 where a server offers it (over TLS), connections kept and reused.
 *
 * Invariants:
 *  - a request that changes something is sent once: where no whole reply comes back, or one that says nothing about what was done (5xx),
 *    its result is AON_UNKNOWN. libcurl's own repetition on a stale connection is stopped for it;
 *  - AON_TRANSIENT is proven not applied: never sent, or refused by 429. Reads are repeated freely;
 *  - every wait ends at the deadline (monotonic clock of the environment) or at an interrupt;
 *  - no sentence holds a URL, a header or a body. Redirects are not followed.
 * Sources: RFC 9110 (15.5.30 is 429's RFC 6585), https://curl.se/libcurl/c/libcurl-multi.html, CURLOPT_PREREQFUNCTION(3). */
#ifndef AON_WIRE_HTTP_H
#define AON_WIRE_HTTP_H

#include <stdbool.h>

#include "aon/document.h"
#include "aon/env.h"
#include "aon/pool.h"
#include "base/buffer.h"
#include "wire/interrupt.h"

#define AON_HTTP_HEADERS 6                       /* of one request */
#define AON_HTTP_REPLY_LIMIT ((size_t)256 << 20) /* bytes of one reply: Realtime Database's own limit */
#define AON_HTTP_TRIES 6                         /* sendings of what was refused by 429 or, for reads, not answered */
#define AON_HTTP_RETRY_FIRST_MS 100
#define AON_HTTP_RETRY_LONGEST_MS 2000
#define AON_HTTP_ETAG 160 /* bytes of an ETag that is kept; a longer one counts as none */

typedef struct aon_http aon_http;

typedef struct aon_http_settings { /* 0: the default of wire/pool.h */
  const char *label;               /* names the store in sentences */
  uint32_t parallel;               /* requests under way at once, and connections */
  int64_t idle_ms, connect_ms;
} aon_http_settings;

typedef struct aon_http_request {
  const char *method, *url;                  /* borrowed until the call returns, like all that is asked */
  const char *headers[AON_HTTP_HEADERS + 1]; /* "Name: value", NULL-terminated */
  const char *authorization;                 /* another one, of wire/google.h; NULL: none */
  aon_text body;                             /* data NULL: none */
  bool changes;                              /* it writes: see the invariants */

  /* What became of it. AON_OK: answered, with this status (never 429, nor for a read 500, 502, 503 or 504). */
  aon_result result;
  const char *code, *why; /* of a failure: for aon_http_fail */
  int status;
  aon_buffer reply; /* to be released by the caller */
  char etag[AON_HTTP_ETAG];
  int64_t server_ms; /* the server's clock by its Date header, 0: none */

  uint32_t tries; /* sendings so far; for http.c */
  int64_t not_before_ms;
} aon_http_request;

aon_result aon_http_new(aon_env *env, const aon_http_settings *settings, aon_interrupt *interrupt, aon_http **ret_http,
                        aon_error *error) AON_MUST_USE;
void aon_http_free(aon_http *http);

/* Sends them all, up to `parallel` at a time, in order, until the deadline. go_on (may be NULL) hears each end; once it says false no
 * further one is started. Those never started end as AON_TRANSIENT with status 0 and tries 0. */
typedef bool (*aon_http_go_on)(void *context, const aon_http_request *request);
void aon_http_run(aon_http *http, aon_http_request *requests, size_t count, int64_t deadline_ms, aon_http_go_on go_on, void *context);

/* The failure of a request that has no reply, as an error. */
aon_result aon_http_fail(const aon_http *http, const aon_http_request *request, const char *doing, aon_error *error);
void aon_http_release(aon_http_request *requests, size_t count); /* replies are given back; the requests may be sent again */
aon_pool_counts aon_http_look(const aon_http *http);
#endif
