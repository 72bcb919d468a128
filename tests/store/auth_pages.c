/* Accounts of Firebase Auth come in pages: a search tells all of them or fails, whichever allocation on its way fails; and what becomes of
 * new ones stands in the answer: one that can't be read leaves them in doubt. The service is a thread of this process with canned replies,
 * since an emulator has no pages that small and no answers that bad. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "calls.h"
#include "world.h"

#define REQUEST_BYTES 8192

typedef struct service {
  int listener;
  pthread_t thread;
  const char *looked_up, *created, *listed; /* replies; NULL: nobody there, one cut off, two pages */
} service;

static const char *reply_to(const service *s, const char *request) {
  if (strstr(request, ":batchCreate"))
    return s->created ? s->created : "{\"error\":[{\"index\":0,\"message\":\"localId belongs to an exis";
  if (!strstr(request, ":batchGet"))
    return s->looked_up ? s->looked_up : "{}";
  if (s->listed)
    return s->listed;
  return strstr(request, "nextPageToken=second") ? "{\"users\":[{\"localId\":\"b\"}]}"
                                                 : "{\"users\":[{\"localId\":\"a\"}],\"nextPageToken\":\"second\"}";
}

/* One connection after the other, a request each: what the store keeps open would keep the next one waiting. */
static void *serve(void *argument) {
  const service *s = argument;
  for (int peer; (peer = accept(s->listener, NULL, NULL)) >= 0; close(peer)) {
    char request[REQUEST_BYTES] = "", reply[400];
    size_t length = 0, wanted = 0;
    while (!wanted || length < wanted) {
      ssize_t more = recv(peer, request + length, sizeof request - 1 - length, 0);
      if (more <= 0)
        break;
      request[length += (size_t)more] = 0;
      const char *body = strstr(request, "\r\n\r\n"), *announced = strcasestr(request, "content-length:");
      if (body)
        wanted = (size_t)(body + 4 - request) + (announced && announced < body ? strtoul(announced + 15, NULL, 10) : 0);
    }
    const char *body = reply_to(s, request);
    snprintf(reply, sizeof reply, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    (void)!send(peer, reply, strlen(reply), MSG_NOSIGNAL);
  }
  return NULL;
}

static void start(service *s) {
  *s = (service){0};
  char address[40];
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof here;
  s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(s->listener, (struct sockaddr *)&here, sizeof here), 0);
  assert_int_equal(listen(s->listener, 16), 0);
  assert_int_equal(getsockname(s->listener, (struct sockaddr *)&here, &length), 0);
  assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
  snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(here.sin_port));
  setenv("FIREBASE_AUTH_EMULATOR_HOST", address, 1);
}

static void stop(service *s) {
  shutdown(s->listener, SHUT_RDWR);
  pthread_join(s->thread, NULL);
  close(s->listener);
}

static aon_result hear(void *context, const aon_found *found, aon_error *error) {
  char *heard = context;
  (void)error;
  strncat(heard, found->id.data, found->id.length);
  return AON_OK;
}

static void told_whole_or_failed(void **unused) {
  (void)unused;
  world w;
  service s;
  aon_collection accounts = {.store = "identity", .name = "accounts"};
  start(&s);
  world_open(&w);
  w.timeout_ms = 5000;
  aon_store *store = world_store(&w, &aon_auth_adapter, NULL, "identity", "//demo-x", false);
  for (int kind = CALL_MEMORY; kind <= CALL_PIECE; kind++)
    for (int nth = 1, failed = 1, failures = 0; failed; nth++) {
      char heard[64] = "";
      aon_error error = AON_ERROR_INIT;
      calls_fail(kind, nth);
      aon_result result = aon_store_scan(store, &accounts, NULL, 0, NULL, hear, heard, &error);
      failed = calls_end();
      if (result) {
        assert_true(failed);
        assert_int_equal(result, AON_NO_MEMORY);
        failures++;
      } else if (strcmp(heard, "ab")) {
        fail_msg("%s %d failed: the search went well, but it told “%s”", calls_name(kind), nth, heard);
      }
      assert_true(failed || failures);
    }
  aon_store_close(store);
  world_close(&w);
  stop(&s);
}

static void in_doubt(const char *answer) {
  world w;
  service s;
  aon_collection accounts = {.store = "identity", .name = "accounts"};
  size_t failed = 9;
  start(&s);
  s.created = answer;
  world_open(&w);
  w.timeout_ms = 5000;
  aon_store *store = world_store(&w, &aon_auth_adapter, NULL, "identity", "//demo-x", false);
  aon_write writes[2];
  aon_write_state states[2];
  for (int i = 0; i < 2; i++) {
    const char *id = i ? "b" : "a";
    writes[i] = write_of(&accounts, id, (aon_image){0}, normal(&w, store, &accounts, id, "{}"), 7 + i);
  }
  FAILS(&w, aon_store_apply(store, NULL, writes, 2, states, &failed, &w.error), AON_UNKNOWN, "unavailable");
  assert_int_equal(states[0], AON_WRITE_UNKNOWN);
  assert_int_equal(states[1], AON_WRITE_UNKNOWN);
  assert_int_equal(failed, 0);
  aon_store_close(store);
  world_close(&w);
  stop(&s);
}

static void in_doubt_where_the_answer_is_cut_off(void **unused) {
  (void)unused;
  in_doubt(NULL);
}

static void in_doubt_where_it_refuses_one_that_was_not_sent(void **unused) {
  (void)unused;
  in_doubt("{\"error\":[{\"index\":2,\"message\":\"who?\"}]}");
}

/* Rather than read as absent, or as an account without what could not be read, which the next update would take away. */
static void an_account_that_makes_no_sense_is_refused(void **unused) {
  (void)unused;
  world w;
  service s;
  aon_collection accounts = {.store = "identity", .name = "accounts"};
  aon_text id = text("a");
  aon_image found;
  char heard[64] = "";
  start(&s);
  world_open(&w);
  w.timeout_ms = 5000;
  aon_store *store = world_store(&w, &aon_auth_adapter, NULL, "identity", "//demo-x", false);
  s.looked_up = "{\"users\":[{\"localId\":\"a\",\"customAttributes\":\"{\\\"role\\\":\"}]}";
  FAILS(&w, aon_store_read(store, &accounts, &id, 1, &w.arena, &found, &w.error), AON_CORRUPT, "corrupt");
  s.listed = "{\"users\":[{\"displayName\":\"no id\"}]}";
  FAILS(&w, aon_store_scan(store, &accounts, NULL, 0, NULL, hear, heard, &w.error), AON_CORRUPT, "corrupt");
  assert_string_equal(heard, "");
  aon_store_close(store);
  world_close(&w);
  stop(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(told_whole_or_failed), cmocka_unit_test(in_doubt_where_the_answer_is_cut_off),
                                     cmocka_unit_test(in_doubt_where_it_refuses_one_that_was_not_sent),
                                     cmocka_unit_test(an_account_that_makes_no_sense_is_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
