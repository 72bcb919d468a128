/* Sockets for libmongoc. Invariants stand in wire/mongodb_stream.h. */
#include "wire/mongodb_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "wire/libmongoc.h"

#define STREAM_TYPE 4091   /* none of libmongoc's own */
#define POLL_SLICE_MS 1000 /* a clock that jumps is noticed after that */
#define PIECES_TOGETHER 64 /* of a message, in one call */
#define STREAMS_POLLED 64  /* servers that libmongoc looks at side by side */

typedef struct aon_mongodb_stream {
  mongoc_stream_t vtable;
  aon_mongodb_line *line;
  struct aon_mongodb_stream *next;
  int fd;
  bool timed_out;
} stream;

/* ---- waiting ---- */

static int64_t until(const aon_mongodb_line *line, int64_t timeout_ms) {
  int64_t now = aon_monotonic_ms(line->env);
  return timeout_ms < 0 || timeout_ms > line->deadline_ms - now ? line->deadline_ms : now + timeout_ms;
}

static bool interrupted(const aon_mongodb_line *line) { return !line->deaf && atomic_load(&line->interrupt->raised); }

/* 0: ready; else errno. */
static int wait_for(aon_mongodb_line *line, int fd, short events, int64_t until_ms) {
  for (bool first = true;; first = false) {
    if (interrupted(line))
      return ECANCELED;
    int64_t left = until_ms - aon_monotonic_ms(line->env);
    if (left <= 0 && !first)
      return ETIMEDOUT;
    struct pollfd fds[2] = {{.fd = fd, .events = events}, {.fd = line->interrupt->wake, .events = POLLIN}};
    int ready = poll(fds, line->deaf ? 1 : 2, left > POLL_SLICE_MS ? POLL_SLICE_MS : left > 0 ? (int)left : 0);
    if (ready < 0 && errno != EINTR)
      return errno;
    if (ready > 0 && fds[0].revents)
      return 0;
    if (left <= 0)
      return ETIMEDOUT;
  }
}

/* ---- libmongoc's table ---- */

static void destroy(mongoc_stream_t *base) {
  stream *s = (stream *)base;
  for (stream **at = &s->line->streams; *at; at = &(*at)->next)
    if (*at == s) {
      *at = s->next;
      break;
    }
  if (s->fd >= 0)
    close(s->fd);
  free(s);
}

static int close_stream(mongoc_stream_t *base) {
  stream *s = (stream *)base;
  if (s->fd >= 0)
    close(s->fd);
  s->fd = -1;
  return 0;
}

static int flush(mongoc_stream_t *base) {
  (void)base;
  return 0;
}

static ssize_t failed(stream *s, int why) {
  s->timed_out = why == ETIMEDOUT;
  if (why != EAGAIN)
    s->line->broken = true;
  errno = why;
  return -1;
}

/* Only libmongoc's first look at its servers asks without waiting; it comes again. */
static int wait_or_again(stream *s, short events, int64_t until_ms, int32_t timeout_ms) {
  int why = wait_for(s->line, s->fd, events, until_ms);
  return why == ETIMEDOUT && timeout_ms == 0 ? EAGAIN : why;
}

/* One call, from where the last one stopped. A message comes in many small pieces, which are to leave together. */
static ssize_t move(stream *s, mongoc_iovec_t *iov, size_t count, size_t done, bool out) {
  struct iovec left[PIECES_TOGETHER];
  size_t pieces = 0;
  for (size_t i = 0; i < count && pieces < PIECES_TOGETHER; i++) {
    size_t gone = done < iov[i].iov_len ? done : iov[i].iov_len;
    if (gone < iov[i].iov_len)
      left[pieces++] = (struct iovec){(char *)iov[i].iov_base + gone, iov[i].iov_len - gone};
    done -= gone;
  }
  if (!pieces)
    return 0;
  struct msghdr message = {.msg_iov = left, .msg_iovlen = pieces};
  return out ? sendmsg(s->fd, &message, MSG_NOSIGNAL) : recv(s->fd, left[0].iov_base, left[0].iov_len, 0);
}

static size_t size_of(const mongoc_iovec_t *iov, size_t count) {
  size_t sum = 0;
  for (size_t i = 0; i < count; i++)
    sum += iov[i].iov_len;
  return sum;
}

static ssize_t transfer(stream *s, mongoc_iovec_t *iov, size_t count, size_t least, int32_t timeout_ms, bool out) {
  size_t all = size_of(iov, count), done = 0;
  int64_t until_ms = until(s->line, timeout_ms);
  s->timed_out = false;
  while (done < all && (!done || done < least)) {
    ssize_t moved = s->fd < 0 ? 0 : move(s, iov, count, done, out);
    if (moved > 0) {
      done += (size_t)moved;
      continue;
    }
    if (moved == 0)
      return failed(s, ECONNRESET);
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
      return failed(s, errno);
    int why = wait_or_again(s, out ? POLLOUT : POLLIN, until_ms, timeout_ms);
    if (why)
      return failed(s, why);
  }
  return (ssize_t)done;
}

static ssize_t writev_stream(mongoc_stream_t *base, mongoc_iovec_t *iov, size_t count, int32_t timeout_ms) {
  return transfer((stream *)base, iov, count, timeout_ms ? size_of(iov, count) : 0, timeout_ms, true);
}

static ssize_t readv_stream(mongoc_stream_t *base, mongoc_iovec_t *iov, size_t count, size_t least, int32_t timeout_ms) {
  return transfer((stream *)base, iov, count, least, timeout_ms, false);
}

static int set_option(mongoc_stream_t *base, int level, int name, void *value, mongoc_socklen_t length) {
  return setsockopt(((stream *)base)->fd, level, name, value, length);
}

static bool hung_up(const stream *s) {
  char byte;
  struct pollfd fd = {.fd = s->fd, .events = POLLIN};
  if (s->fd < 0)
    return true;
  if (poll(&fd, 1, 0) <= 0)
    return false;
  ssize_t got = recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT); /* TLS may have something to say unasked */
  return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

static bool check_closed(mongoc_stream_t *base) { return hung_up((stream *)base); }

static ssize_t poll_streams(mongoc_stream_poll_t *polled, size_t count, int32_t timeout_ms) {
  struct pollfd fds[STREAMS_POLLED + 1];
  if (!count || count > STREAMS_POLLED) {
    errno = EINVAL;
    return -1;
  }
  aon_mongodb_line *line = ((stream *)polled[0].stream)->line;
  for (size_t i = 0; i < count; i++)
    fds[i] = (struct pollfd){.fd = ((stream *)polled[i].stream)->fd, .events = (short)polled[i].events};
  fds[count] = (struct pollfd){.fd = line->interrupt->wake, .events = POLLIN};
  int64_t left = until(line, timeout_ms) - aon_monotonic_ms(line->env);
  int ready = poll(fds, count + !line->deaf, left > 0 ? (int)left : 0);
  if (interrupted(line)) {
    errno = ECANCELED;
    return -1;
  }
  ssize_t found = 0;
  for (size_t i = 0; i < count; i++) {
    polled[i].revents = ready > 0 ? fds[i].revents : 0;
    found += polled[i].revents != 0;
  }
  return ready < 0 ? -1 : found;
}

static bool timed_out(mongoc_stream_t *base) { return ((stream *)base)->timed_out; }

static bool should_retry(mongoc_stream_t *base) {
  (void)base;
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* ---- opening ---- */

static int connect_to(aon_mongodb_line *line, int family, const struct sockaddr *address, socklen_t length, int64_t until_ms, int *ret_fd) {
  int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), why = 0, on = 1;
  socklen_t size = sizeof why;
  if (fd < 0)
    return errno;
  if (connect(fd, address, length) && errno != EINPROGRESS)
    why = errno;
  else
    why = wait_for(line, fd, POLLOUT, until_ms);
  if (!why && getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &size))
    why = errno;
  if (why) {
    close(fd);
    return why;
  }
  if (family != AF_UNIX) { /* where it fails it is slower, but as right */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  }
  *ret_fd = fd;
  return 0;
}

static int connect_unix(aon_mongodb_line *line, const char *path, int64_t until_ms, int *ret_fd) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path)
    return ENAMETOOLONG;
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  return connect_to(line, AF_UNIX, (const struct sockaddr *)&address, sizeof address, until_ms, ret_fd);
}

/* *ret_why: what getaddrinfo says, in words. */
static int connect_host(aon_mongodb_line *line, const mongoc_host_list_t *host, int64_t until_ms, int *ret_fd, const char **ret_why) {
  char port[8];
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC}, *found = NULL;
  snprintf(port, sizeof port, "%u", host->port);
  int named = getaddrinfo(host->host, port, &hints, &found), why = EHOSTUNREACH;
  if (named) {
    *ret_why = gai_strerror(named);
    return EHOSTUNREACH;
  }
  for (const struct addrinfo *at = found; at && why; at = at->ai_next) {
    why = connect_to(line, at->ai_family, at->ai_addr, at->ai_addrlen, until_ms, ret_fd);
    if (why == ECANCELED)
      break;
  }
  freeaddrinfo(found);
  return why;
}

static mongoc_stream_t *encrypt(const mongoc_uri_t *uri, const mongoc_host_list_t *host, aon_mongodb_line *line, mongoc_stream_t *base,
                                bson_error_t *error) {
  bool insecure = mongoc_uri_get_option_as_bool(uri, MONGOC_URI_TLSINSECURE, false);
  mongoc_ssl_opt_t how = {
      .pem_file = mongoc_uri_get_option_as_utf8(uri, MONGOC_URI_TLSCERTIFICATEKEYFILE, NULL),
      .pem_pwd = mongoc_uri_get_option_as_utf8(uri, MONGOC_URI_TLSCERTIFICATEKEYFILEPASSWORD, NULL),
      .ca_file = mongoc_uri_get_option_as_utf8(uri, MONGOC_URI_TLSCAFILE, NULL),
      .weak_cert_validation = insecure || mongoc_uri_get_option_as_bool(uri, MONGOC_URI_TLSALLOWINVALIDCERTIFICATES, false),
      .allow_invalid_hostname = insecure || mongoc_uri_get_option_as_bool(uri, MONGOC_URI_TLSALLOWINVALIDHOSTNAMES, false)};
  mongoc_stream_t *encrypted = mongoc_stream_tls_new_with_hostname(base, host->host, &how, 1);
  if (!encrypted) {
    bson_set_error(error, MONGOC_ERROR_STREAM, MONGOC_ERROR_STREAM_SOCKET,
                   "TLS can't be set up; look at the certificates that the URL names");
    mongoc_stream_destroy(base);
    return NULL;
  }
  if (mongoc_stream_tls_handshake_block(encrypted, host->host, (int32_t)line->connect_ms, error))
    return encrypted;
  mongoc_stream_destroy(encrypted);
  return NULL;
}

mongoc_stream_t *aon_mongodb_stream_open(const mongoc_uri_t *uri, const mongoc_host_list_t *host, void *data, bson_error_t *error) {
  aon_mongodb_line *line = data;
  int fd = -1;
  const char *words = NULL;
  int64_t until_ms = until(line, line->connect_ms);
  int why = host->family == AF_UNIX ? connect_unix(line, host->host, until_ms, &fd) : connect_host(line, host, until_ms, &fd, &words);
  stream *s = why ? NULL : calloc(1, sizeof *s);
  if (!s) {
    bson_set_error(error, MONGOC_ERROR_STREAM, MONGOC_ERROR_STREAM_CONNECT, "%s: %s", host->host_and_port,
                   words ? words : strerror(why ? why : ENOMEM));
    if (!why)
      close(fd);
    return NULL;
  }
  *s = (stream){.vtable = {.type = STREAM_TYPE,
                           .destroy = destroy,
                           .close = close_stream,
                           .flush = flush,
                           .writev = writev_stream,
                           .readv = readv_stream,
                           .setsockopt = set_option,
                           .check_closed = check_closed,
                           .poll = poll_streams,
                           .failed = destroy,
                           .timed_out = timed_out,
                           .should_retry = should_retry},
                .line = line,
                .next = line->streams,
                .fd = fd};
  line->streams = s;
  return mongoc_uri_get_tls(uri) ? encrypt(uri, host, line, &s->vtable, error) : &s->vtable;
}

bool aon_mongodb_streams_alive(const aon_mongodb_line *line) {
  for (const stream *s = line->streams; s; s = s->next)
    if (hung_up(s))
      return false;
  return !line->broken;
}
