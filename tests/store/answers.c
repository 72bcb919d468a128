/* See answers.h. */
#include "answers.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h> /* needs those before it */

#include "base/buffer.h"

#define PLANNED 32
#define REQUEST_BYTES ((size_t)1 << 20)

struct service {
  int listener, port;
  pthread_t thread;
  pthread_mutex_t lock;
  answer planned[PLANNED];
  size_t count, next;
  aon_buffer heard;
  char request[REQUEST_BYTES];
};

static void say(aon_buffer *out, const char *text) { assert_int_equal(aon_buffer_text(out, text, NULL), AON_OK); }

/* The names that a batchGet asks for. */
static void none_of_them(const char *body, aon_buffer *out) {
  const char *at = strstr(body, ":[");
  say(out, "[");
  for (at = at ? at + 2 : ""; *at == '"'; at += *at == ',') {
    size_t length = strcspn(at + 1, "\"") + 2;
    say(out, "{\"missing\":");
    assert_int_equal(aon_buffer_append(out, at, length, NULL), AON_OK);
    at += length;
    say(out, *at == ',' ? "}," : "}");
  }
  say(out, "]");
}

static void make_body(const answer *planned, const char *request, aon_buffer *out) {
  const char *asked = strstr(request, "\r\n\r\n"), *body = planned ? planned->body : NULL;
  asked = asked ? asked + 4 : "";
  if (!body && strstr(request, ":batchGet")) {
    none_of_them(asked, out);
    return;
  }
  const char *name = strchr(asked, '[');
  name = name ? name + 2 : "";
  for (body = body ? body : !strncmp(request, "GET ", 4) && strstr(request, ".json") ? "null" : "{}"; *body; body++) {
    if (*body == '@')
      assert_int_equal(aon_buffer_append(out, name, strcspn(name, "\""), NULL), AON_OK);
    else
      assert_int_equal(aon_buffer_append(out, body, 1, NULL), AON_OK);
  }
}

static const answer *find_planned(service *s, const char *request) {
  const answer *found = s->next < s->count && strstr(request, s->planned[s->next].to) ? &s->planned[s->next] : NULL;
  s->next += found != NULL;
  return found;
}

static void reply(service *s, int peer) {
  AON_BUFFER_CLEANUP aon_buffer body = {0}, out = {0};
  pthread_mutex_lock(&s->lock);
  const answer *planned = find_planned(s, s->request);
  say(&s->heard, s->request);
  pthread_mutex_unlock(&s->lock);
  if (planned && !planned->status)
    return;
  make_body(planned, s->request, &body);
  assert_int_equal(
      aon_buffer_format(&out, NULL, "HTTP/1.1 %d X\r\n%sContent-Type: application/json\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
                        planned ? planned->status : 200, planned && planned->headers ? planned->headers : "ETag: null_etag\r\n",
                        body.length),
      AON_OK);
  if (body.length)
    assert_int_equal(aon_buffer_append(&out, body.data, body.length, NULL), AON_OK);
  for (size_t sent = 0; sent < out.length;) {
    ssize_t more = send(peer, out.data + sent, out.length - sent, MSG_NOSIGNAL);
    if (more <= 0)
      break;
    sent += (size_t)more;
  }
}

/* One connection after the other, a request each: what is kept open would keep the next one waiting. */
static void *serve(void *argument) {
  service *s = argument;
  for (int peer; (peer = accept(s->listener, NULL, NULL)) >= 0; close(peer)) {
    size_t length = 0, wanted = 0;
    s->request[0] = 0;
    while (!wanted || length < wanted) {
      ssize_t more = recv(peer, s->request + length, sizeof s->request - 1 - length, 0);
      if (more <= 0)
        break;
      s->request[length += (size_t)more] = 0;
      const char *body = strstr(s->request, "\r\n\r\n"), *announced = strcasestr(s->request, "content-length:");
      if (body)
        wanted = (size_t)(body + 4 - s->request) + (announced && announced < body ? strtoul(announced + 15, NULL, 10) : 0);
    }
    if (wanted && length >= wanted)
      reply(s, peer);
  }
  return NULL;
}

service *service_start(const char *variable) {
  char address[40];
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof here;
  service *s = calloc(1, sizeof *s);
  assert_non_null(s);
  pthread_mutex_init(&s->lock, NULL);
  s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(s->listener, (struct sockaddr *)&here, sizeof here), 0);
  assert_int_equal(listen(s->listener, 64), 0);
  assert_int_equal(getsockname(s->listener, (struct sockaddr *)&here, &length), 0);
  assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
  s->port = ntohs(here.sin_port);
  snprintf(address, sizeof address, "127.0.0.1:%d", s->port);
  setenv(variable, address, 1);
  return s;
}

int service_port(const service *s) { return s->port; }

void service_stop(service *s) {
  shutdown(s->listener, SHUT_RDWR);
  pthread_join(s->thread, NULL);
  close(s->listener);
  pthread_mutex_destroy(&s->lock);
  aon_buffer_release(&s->heard);
  free(s);
}

void service_plan(service *s, const answer *answers, size_t count) {
  assert_true(count <= PLANNED);
  pthread_mutex_lock(&s->lock);
  for (size_t i = 0; i < count; i++)
    s->planned[i] = answers[i];
  s->count = count;
  s->next = 0;
  aon_buffer_clear(&s->heard);
  pthread_mutex_unlock(&s->lock);
}

size_t service_left(service *s) {
  pthread_mutex_lock(&s->lock);
  size_t left = s->count - s->next;
  pthread_mutex_unlock(&s->lock);
  return left;
}

int service_heard(service *s, const char *text) {
  pthread_mutex_lock(&s->lock);
  int heard = s->heard.length && strstr(s->heard.data, text);
  pthread_mutex_unlock(&s->lock);
  return heard;
}
