/* HTTP requests, many at once. Invariants stand in wire/http.h. */
#include "wire/http.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/libcurl.h"
#include "wire/pool.h"

#define POLL_LONGEST_MS 1000
#define UNTRUSTED "untrusted_certificate"
#define RETRY_AFTER_LIMIT_MS ((int64_t)3600 * 1000) /* a server that asks for more is taken at this */

typedef struct exchange { /* a request under way */
  aon_http *http;
  CURL *easy;
  aon_http_request *request; /* NULL: free */
  struct curl_slist *headers;
  int64_t started_ms, retry_after_ms;
  bool sent, no_memory, too_long;
} exchange;

struct aon_http {
  aon_env *env;
  aon_interrupt *interrupt;
  char label[64];
  uint32_t parallel;
  int64_t idle_ms, connect_ms;
  char *ca_file, *ca_folder; /* authorities besides libcurl's own, NULL: none */
  CURLM *multi;
  exchange *exchanges;
  uint32_t under_way;
  int64_t quiet_until_ms; /* a server asked for that much patience */
  atomic_uint sockets;
  atomic_uint busy, waiting;
};

/* ---- life ---- */

static bool copy_variable(const char *name, char **ret_value) {
  const char *value = getenv(name);
  *ret_value = value && *value ? strdup(value) : NULL;
  return *ret_value || !value || !*value;
}

/* The variables that curl itself reads, in its order; the library doesn't. */
static bool find_authorities(aon_http *http) {
  if (!copy_variable("CURL_CA_BUNDLE", &http->ca_file) || http->ca_file)
    return http->ca_file;
  return copy_variable("SSL_CERT_DIR", &http->ca_folder) && copy_variable("SSL_CERT_FILE", &http->ca_file);
}

aon_result aon_http_new(aon_env *env, const aon_http_settings *settings, aon_interrupt *interrupt, aon_http **ret_http, aon_error *error) {
  aon_result result = aon_libcurl_load(settings->label, error);
  if (result)
    return result;
  if (curl_global_init(CURL_GLOBAL_DEFAULT))
    return aon_fail_memory(error);
  aon_http *http = calloc(1, sizeof *http);
  if (!http) {
    curl_global_cleanup();
    return aon_fail_memory(error);
  }
  http->env = env;
  http->interrupt = interrupt;
  snprintf(http->label, sizeof http->label, "%s", settings->label);
  http->parallel = settings->parallel ? settings->parallel : AON_POOL_MAX;
  http->idle_ms = settings->idle_ms ? settings->idle_ms : AON_POOL_IDLE_MS;
  http->connect_ms = settings->connect_ms ? settings->connect_ms : AON_POOL_CONNECT_MS;
  http->multi = curl_multi_init();
  http->exchanges = calloc(http->parallel, sizeof *http->exchanges);
  if (!http->multi || !http->exchanges || !find_authorities(http)) {
    aon_http_free(http);
    return aon_fail_memory(error);
  }
  curl_multi_setopt(http->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)http->parallel);
  curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long)http->parallel);
  *ret_http = http;
  return AON_OK;
}

void aon_http_free(aon_http *http) {
  if (!http)
    return;
  for (uint32_t i = 0; http->exchanges && i < http->parallel; i++)
    curl_easy_cleanup(http->exchanges[i].easy);
  curl_multi_cleanup(http->multi);
  free(http->exchanges);
  free(http->ca_file);
  free(http->ca_folder);
  free(http);
  curl_global_cleanup();
}

aon_pool_counts aon_http_look(const aon_http *http) {
  uint32_t total = atomic_load(&http->sockets), busy = atomic_load(&http->busy);
  return (aon_pool_counts){
      .total = total, .idle = total > busy ? total - busy : 0, .waiting = atomic_load(&http->waiting), .max = http->parallel};
}

void aon_http_release(aon_http_request *requests, size_t count) {
  for (size_t i = 0; i < count; i++)
    aon_buffer_release(&requests[i].reply);
}

/* ---- what libcurl calls ---- */

static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address) {
  (void)purpose;
  int made = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  if (made < 0)
    return CURL_SOCKET_BAD;
  atomic_fetch_add(&((aon_http *)context)->sockets, 1);
  return made;
}

static int close_socket(void *context, curl_socket_t socket) {
  atomic_fetch_sub(&((aon_http *)context)->sockets, 1);
  return close(socket);
}

/* The last moment before bytes of the request go out. libcurl repeats by itself what a stale connection swallowed: not what may have been
 * done. */
static int about_to_send(void *context, char *to, char *from, int to_port, int from_port) {
  (void)to;
  (void)from;
  (void)to_port;
  (void)from_port;
  exchange *x = context;
  if (x->sent && x->request->changes)
    return CURL_PREREQFUNC_ABORT;
  x->sent = true;
  return CURL_PREREQFUNC_OK;
}

static size_t take_body(char *bytes, size_t size, size_t count, void *context) {
  exchange *x = context;
  aon_result result = aon_buffer_append(&x->request->reply, bytes, size * count, NULL);
  x->no_memory = result == AON_NO_MEMORY;
  x->too_long = result && !x->no_memory;
  return result ? 0 : size * count;
}

/* The value of a header line, if it is this header. */
static bool header_is(const char *line, size_t length, const char *name, char *ret_value, size_t size) {
  size_t head = strlen(name);
  if (length <= head || strncasecmp(line, name, head) || line[head] != ':')
    return false;
  for (line += head + 1, length -= head + 1; length && (*line == ' ' || *line == '\t');)
    line++, length--;
  while (length && (line[length - 1] == '\r' || line[length - 1] == '\n' || line[length - 1] == ' '))
    length--;
  if (length >= size)
    return false;
  memcpy(ret_value, line, length);
  ret_value[length] = 0;
  return true;
}

static int64_t retry_after(const exchange *x, const char *value) {
  char *end;
  long seconds = strtol(value, &end, 10);
  int64_t ms = end != value && !*end ? (int64_t)seconds * 1000 : -1;
  if (ms < 0) {
    int64_t at = (int64_t)curl_getdate(value, NULL);
    ms = at > 0 ? at * 1000 - (x->request->server_ms ? x->request->server_ms : aon_now_ms(x->http->env)) : 0;
  }
  return ms < 0 ? 0 : ms > RETRY_AFTER_LIMIT_MS ? RETRY_AFTER_LIMIT_MS : ms;
}

static size_t take_header(char *line, size_t size, size_t count, void *context) {
  exchange *x = context;
  char value[AON_HTTP_ETAG];
  size_t length = size * count;
  if (length > 5 && !strncmp(line, "HTTP/", 5)) { /* another one begins: what came before was provisional */
    x->request->etag[0] = 0;
    x->retry_after_ms = 0;
  } else if (header_is(line, length, "etag", value, sizeof value)) {
    snprintf(x->request->etag, sizeof x->request->etag, "%s", value);
  } else if (header_is(line, length, "date", value, sizeof value)) {
    int64_t at = (int64_t)curl_getdate(value, NULL);
    x->request->server_ms = at > 0 ? at * 1000 : 0;
  } else if (header_is(line, length, "retry-after", value, sizeof value)) {
    x->retry_after_ms = retry_after(x, value);
  }
  return length;
}

/* ---- one request ---- */

static bool set_headers(exchange *x) {
  struct curl_slist *list = NULL, *longer;
  const char *const *header = x->request->headers, *authorization = x->request->authorization;
  for (int i = 0; i < 2 || *header; i++) {
    const char *next = i == 0 ? "Expect:" : i > 1 ? *header++ : authorization; /* no round trip for leave to send */
    if (!next)
      continue;
    longer = curl_slist_append(list, next);
    if (!longer) {
      curl_slist_free_all(list);
      return false;
    }
    list = longer;
  }
  x->headers = list;
  return true;
}

static bool set_options(exchange *x) {
  aon_http *http = x->http;
  aon_http_request *request = x->request;
  CURL *easy = x->easy;
  CURLcode bad = CURLE_OK;
#define SET(option, value) bad = bad ? bad : curl_easy_setopt(easy, option, value)
  SET(CURLOPT_URL, request->url);
  SET(CURLOPT_PROTOCOLS_STR, "http,https");
  SET(CURLOPT_NOSIGNAL, 1L);
  SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
  SET(CURLOPT_PIPEWAIT, 1L);
  SET(CURLOPT_TCP_KEEPALIVE, 1L);
  SET(CURLOPT_CONNECTTIMEOUT_MS, (long)http->connect_ms);
  SET(CURLOPT_MAXAGE_CONN, (long)((http->idle_ms + 999) / 1000));
  SET(CURLOPT_HTTPHEADER, x->headers);
  SET(CURLOPT_USERAGENT, "allornone");
  if (!strncmp(request->url, "http:", 5)) /* an emulator on this machine */
    SET(CURLOPT_NOPROXY, "*");
  if (http->ca_file)
    SET(CURLOPT_CAINFO, http->ca_file);
  if (http->ca_folder)
    SET(CURLOPT_CAPATH, http->ca_folder);
  if (request->body.data) {
    SET(CURLOPT_POSTFIELDS, request->body.data);
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.length);
  }
  SET(CURLOPT_CUSTOMREQUEST, request->method);
  SET(CURLOPT_WRITEFUNCTION, take_body);
  SET(CURLOPT_WRITEDATA, x);
  SET(CURLOPT_HEADERFUNCTION, take_header);
  SET(CURLOPT_HEADERDATA, x);
  SET(CURLOPT_PREREQFUNCTION, about_to_send);
  SET(CURLOPT_PREREQDATA, x);
  SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
  SET(CURLOPT_OPENSOCKETDATA, http);
  SET(CURLOPT_CLOSESOCKETFUNCTION, close_socket);
  SET(CURLOPT_CLOSESOCKETDATA, http);
  SET(CURLOPT_PRIVATE, x);
#undef SET
  return bad == CURLE_OK;
}

static void end_exchange(exchange *x) {
  aon_http *http = x->http;
  curl_multi_remove_handle(http->multi, x->easy);
  curl_easy_reset(x->easy);
  curl_slist_free_all(x->headers);
  *x = (exchange){.http = http, .easy = x->easy};
  http->under_way--;
  atomic_fetch_sub(&http->busy, 1);
}

static void fail_with(aon_http_request *request, aon_result result, const char *code, const char *why) {
  request->result = result;
  request->code = code;
  request->why = why;
  request->status = 0;
}

static void start(aon_http *http, aon_http_request *request) {
  exchange *x = http->exchanges;
  while (x->request)
    x++;
  *x =
      (exchange){.http = http, .easy = x->easy ? x->easy : curl_easy_init(), .request = request, .started_ms = aon_monotonic_ms(http->env)};
  aon_buffer_clear(&request->reply);
  request->reply.limit = AON_HTTP_REPLY_LIMIT;
  request->etag[0] = 0;
  request->tries++;
  http->under_way++;
  atomic_fetch_add(&http->busy, 1);
  if (x->easy && set_headers(x) && set_options(x) && !curl_multi_add_handle(http->multi, x->easy))
    return;
  fail_with(request, AON_NO_MEMORY, "no_memory", "");
  http->under_way--;
  atomic_fetch_sub(&http->busy, 1);
  curl_slist_free_all(x->headers);
  curl_easy_cleanup(x->easy);
  *x = (exchange){.http = http};
}

/* ---- how it ended ---- */

typedef enum ending { ENDED, AGAIN } ending;

static int64_t back_off(aon_http *http, uint32_t tries) {
  int64_t pause = AON_HTTP_RETRY_FIRST_MS;
  uint16_t random;
  for (uint32_t i = 1; i < tries && pause < AON_HTTP_RETRY_LONGEST_MS; i++)
    pause *= 2;
  aon_random(http->env, &random, sizeof random);
  return pause / 2 + pause * random / UINT16_MAX;
}

/* Wanted again: not before its back-off, nor before the time that the server asked for. Whatever it asks for, the deadline stays. */
static ending again(exchange *x, aon_result result, const char *code, const char *why) {
  aon_http *http = x->http;
  aon_http_request *request = x->request;
  int64_t now = aon_monotonic_ms(http->env);
  fail_with(request, result, code, why);
  if (x->retry_after_ms > 0 && now + x->retry_after_ms > http->quiet_until_ms)
    http->quiet_until_ms = now + x->retry_after_ms;
  request->not_before_ms = now + back_off(http, request->tries);
  return request->tries < AON_HTTP_TRIES ? AGAIN : ENDED;
}

static ending answered(exchange *x) {
  aon_http_request *request = x->request;
  long status = 0;
  curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
  if (status == 429)
    return again(x, AON_TRANSIENT, "rate_limited", "takes no more requests at this rate");
  bool unclear = status == 500 || status == 502 || status == 503 || status == 504 || status == 408;
  if (unclear && !request->changes)
    return again(x, AON_TRANSIENT, "unavailable", "answers that it is not available");
  if (unclear) { /* a proxy may say so of what the server behind it has done */
    again(x, AON_UNKNOWN, "no_reply", "answered that it is not available, which does not say whether it was done");
    return ENDED;
  }
  request->result = AON_OK;
  request->status = (int)status;
  return ENDED;
}

/* X509_V_ERR_… of OpenSSL's x509_vfy.h. libcurl begins with 1, and looks at the name before it asks what became of the chain. */
static const char *why_untrusted(exchange *x) {
  long verified = 0;
  curl_easy_getinfo(x->easy, CURLINFO_SSL_VERIFYRESULT, &verified);
  switch (verified) {
  case 0:
  case 1:
    return "is for another name. Use the name that stands in it";
  case 9:
  case 10:
    return "has expired, or is not valid yet. Look at the clock of this machine, or have it renewed";
  default:
    return "is signed by no authority that is known here. If it is one of yours, name the file with its certificate in SSL_CERT_FILE";
  }
}

static ending broken(exchange *x, CURLcode why) {
  aon_http_request *request = x->request;
  if (x->no_memory || why == CURLE_OUT_OF_MEMORY)
    fail_with(request, request->changes && x->sent ? AON_UNKNOWN : AON_NO_MEMORY, "no_memory", "gave a reply that memory has no room for");
  else if (x->sent && request->changes)
    fail_with(request, AON_UNKNOWN, "no_reply", "did not answer");
  else if (x->too_long)
    fail_with(request, AON_PERMANENT, "too_long", "gave a reply that is longer than 256 MiB");
  else if (why == CURLE_PEER_FAILED_VERIFICATION)
    fail_with(request, AON_ENVIRONMENT, UNTRUSTED, why_untrusted(x));
  else if (why == CURLE_SSL_CACERT_BADFILE)
    fail_with(request, AON_ENVIRONMENT, UNTRUSTED,
              "can't be judged: the file of authorities can't be read. Look at what CURL_CA_BUNDLE, SSL_CERT_FILE or SSL_CERT_DIR name");
  else if (why == CURLE_URL_MALFORMAT || why == CURLE_UNSUPPORTED_PROTOCOL)
    fail_with(request, AON_USAGE, "bad_location", "has an address that can't be read");
  else if (x->sent)
    return again(x, AON_TRANSIENT, "unavailable", "did not answer");
  else
    return again(x, AON_TRANSIENT, "unavailable", why == CURLE_COULDNT_RESOLVE_HOST ? "has an unknown host name" : "can't be reached");
  return ENDED;
}

static void give_up(exchange *x, bool cancelled) {
  aon_http_request *request = x->request;
  if (x->sent && request->changes)
    fail_with(request, AON_UNKNOWN, "no_reply", "did not answer in time");
  else if (cancelled)
    fail_with(request, AON_CANCELLED, "cancelled", "was no longer wanted");
  else
    fail_with(request, AON_TRANSIENT, "unavailable", x->sent ? "did not answer in time" : "can't be reached in time");
}

/* ---- many ---- */

typedef struct running {
  aon_http *http;
  aon_http_request *requests;
  size_t count, next, ended;
  int64_t deadline_ms;
  aon_http_go_on go_on;
  void *context;
  aon_http_request **again; /* at most `parallel` of them */
  uint32_t again_count;
  bool stopping;
} running;

static void ended(running *r, aon_http_request *request) {
  r->ended++;
  if (r->go_on && !r->go_on(r->context, request))
    r->stopping = true;
}

/* Those that wait for another sending end with the failure that they had. */
static void drop_again(running *r) {
  while (r->again_count)
    ended(r, r->again[--r->again_count]);
}

static void start_some(running *r) {
  aon_http *http = r->http;
  int64_t now = aon_monotonic_ms(http->env);
  if (r->stopping)
    drop_again(r);
  for (uint32_t i = 0; i < r->again_count && now >= http->quiet_until_ms;) {
    if (r->again[i]->not_before_ms > now || http->under_way == http->parallel) {
      i++;
      continue;
    }
    aon_http_request *request = r->again[i];
    r->again[i] = r->again[--r->again_count];
    start(http, request);
    if (request->result == AON_NO_MEMORY)
      ended(r, request);
  }
  while (!r->stopping && r->next < r->count && http->under_way + r->again_count < http->parallel && now >= http->quiet_until_ms) {
    aon_http_request *request = &r->requests[r->next++];
    start(http, request);
    if (request->result == AON_NO_MEMORY)
      ended(r, request);
  }
  atomic_store(&http->waiting, (unsigned)(r->count - r->next));
}

static void hear(running *r) {
  CURLMsg *message;
  int left;
  while ((message = curl_multi_info_read(r->http->multi, &left))) {
    exchange *x;
    if (message->msg != CURLMSG_DONE || curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&x))
      continue;
    aon_http_request *request = x->request;
    ending how = message->data.result ? broken(x, message->data.result) : answered(x);
    end_exchange(x);
    if (how == AGAIN && !r->stopping)
      r->again[r->again_count++] = request;
    else
      ended(r, request);
  }
}

static void abandon(running *r, bool cancelled) {
  for (uint32_t i = 0; i < r->http->parallel; i++) {
    exchange *x = &r->http->exchanges[i];
    if (!x->request)
      continue;
    aon_http_request *request = x->request;
    give_up(x, cancelled);
    end_exchange(x);
    ended(r, request);
  }
  drop_again(r);
  r->stopping = true;
}

/* Those that could not be connected within their own time, while others of this call go on. */
static void give_up_connecting(running *r) {
  int64_t now = aon_monotonic_ms(r->http->env);
  for (uint32_t i = 0; i < r->http->parallel; i++) {
    exchange *x = &r->http->exchanges[i];
    if (!x->request || x->sent || now - x->started_ms < 2 * r->http->connect_ms)
      continue;
    aon_http_request *request = x->request;
    give_up(x, false);
    end_exchange(x);
    ended(r, request);
  }
}

static void wait_a_little(running *r) {
  aon_http *http = r->http;
  int64_t now = aon_monotonic_ms(http->env), until = r->deadline_ms;
  for (uint32_t i = 0; i < r->again_count; i++)
    until = r->again[i]->not_before_ms < until ? r->again[i]->not_before_ms : until;
  if (now < http->quiet_until_ms && (r->again_count || r->next < r->count))
    until = http->quiet_until_ms < r->deadline_ms ? http->quiet_until_ms : r->deadline_ms;
  int64_t left = until - now;
  struct curl_waitfd wake = {.fd = http->interrupt->wake, .events = CURL_WAIT_POLLIN};
  curl_multi_poll(http->multi, &wake, 1, left < 0 ? 0 : left > POLL_LONGEST_MS ? POLL_LONGEST_MS : (int)left, NULL);
}

static void begin_all(aon_http_request *requests, size_t count, aon_result result, const char *code, const char *why) {
  for (size_t i = 0; i < count; i++) {
    fail_with(&requests[i], result, code, why);
    requests[i].tries = 0;
    requests[i].not_before_ms = 0;
  }
}

void aon_http_run(aon_http *http, aon_http_request *requests, size_t count, int64_t deadline_ms, aon_http_go_on go_on, void *context) {
  running r = {.http = http, .requests = requests, .count = count, .deadline_ms = deadline_ms, .go_on = go_on, .context = context};
  r.again = calloc(http->parallel, sizeof *r.again);
  begin_all(requests, count, r.again ? AON_TRANSIENT : AON_NO_MEMORY, r.again ? "unavailable" : "no_memory", "was not asked any more");
  while (r.again) {
    int at_work = 0;
    start_some(&r);
    if (r.ended == r.count || (r.stopping && !http->under_way))
      break;
    curl_multi_perform(http->multi, &at_work);
    hear(&r);
    give_up_connecting(&r);
    bool cancelled = atomic_load(&http->interrupt->raised);
    if (cancelled || aon_monotonic_ms(http->env) >= deadline_ms) {
      abandon(&r, cancelled);
      for (size_t i = r.next; cancelled && i < count; i++)
        fail_with(&requests[i], AON_CANCELLED, "cancelled", "was no longer wanted");
    } else if (r.ended < r.count && (http->under_way || r.again_count || http->quiet_until_ms > aon_monotonic_ms(http->env))) {
      wait_a_little(&r);
    }
  }
  atomic_store(&http->waiting, 0);
  free(r.again);
}

aon_result aon_http_fail(const aon_http *http, const aon_http_request *request, const char *doing, aon_error *error) {
  switch (request->result) {
  case AON_NO_MEMORY:
    return aon_fail_memory(error);
  case AON_CANCELLED:
    return aon_fail(error, AON_CANCELLED, "cancelled", "The call to %s was cancelled while %s.", http->label, doing);
  case AON_UNKNOWN:
    return aon_fail(error, AON_UNKNOWN, request->code, "%s %s while %s. It may have been done, or not.", http->label, request->why, doing);
  case AON_TRANSIENT:
    return aon_fail(error, AON_TRANSIENT, request->code, "%s %s while %s. Nothing of it was kept; try again.", http->label, request->why,
                    doing);
  default:
    if (!strcmp(request->code, UNTRUSTED)) {
      const char *host = strstr(request->url, "://") ? strstr(request->url, "://") + 3 : request->url;
      return aon_fail(error, request->result, UNTRUSTED, "%s was not asked: the certificate of %.*s %s (while %s).", http->label,
                      (int)strcspn(host, "/?"), host, request->why, doing);
    }
    return aon_fail(error, request->result, request->code, "%s %s (while %s).", http->label, request->why, doing);
  }
}
