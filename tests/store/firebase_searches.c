/* Searches through a Realtime Database (argument rtdb) or Firestore (firestore) that tests/servers starts: more documents than a page, under
 * ids of every kind, so that pages follow each other in the service's own order; and collections within documents. Each document is found
 * once, with what it holds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "world.h"

#define DOCUMENTS 620           /* more than a page of a Realtime Database, and than documents read at once */
#define FIRESTORE_DOCUMENTS 320 /* more than a page; its emulator is slow */
#define TOGETHER 100

static const aon_store_adapter *adapter;

typedef struct subject {
  world w;
  char location[64];
  aon_store *store;
} subject;

static int set_up(void **state) {
  static unsigned number;
  subject *s = calloc(1, sizeof *s);
  world_open(&s->w);
  s->w.timeout_ms = 20000;
  snprintf(s->location, sizeof s->location, adapter == &aon_rtdb_adapter ? "//127.0.0.1/?ns=q%d-%u" : "//demo-q%d-%u/", (int)getpid(),
           ++number);
  s->store = world_store(&s->w, adapter, NULL, "main", s->location, true);
  *state = s;
  return 0;
}

static int tear_down(void **state) {
  subject *s = *state;
  aon_store_close(s->store);
  world_close(&s->w);
  free(s);
  return 0;
}

/* Numbers, some of which make a list of a page; numbers that are none to the service; texts beyond U+FFFF and just below. */
static void id_of(int i, char id[40]) {
  static const char *const odd[] = {"-7",           "-0", "007", "2147483647", "2147483648",   "-2147483648",
                                    "12345678901",  "+5", "1e3", "\xc3\xa9",   "\xef\xbf\xbd", "\xf0\x9f\x98\x80",
                                    "\xee\x80\x80", "Z",  "a",   "aa"};
  int odds = (int)(sizeof odd / sizeof *odd);
  if (i < odds)
    snprintf(id, 40, "%s", odd[i]);
  else if (i < 400)
    snprintf(id, 40, "%d", i - odds);
  else
    snprintf(id, 40, "k%d", i);
}

static void put(subject *s, const aon_collection *in, const char *const *ids, size_t count) {
  aon_write writes[TOGETHER];
  for (size_t i = 0; i < count; i++) {
    char json[80];
    snprintf(json, sizeof json, "{\"is\":\"%s\",\"n\":1}", ids[i]);
    writes[i] = write_of(in, ids[i], (aon_image){0}, normal(&s->w, s->store, in, ids[i], json), (int64_t)i);
  }
  OK(&s->w, apply_now(&s->w, s->store, writes, count));
}

typedef struct heard {
  world *w;
  const char *const *ids;
  size_t count;
  unsigned char times[DOCUMENTS];
} heard;

static aon_result hear(void *context, const aon_found *found, aon_error *error) {
  heard *h = context;
  char wanted[80], id[40];
  (void)error;
  snprintf(id, sizeof id, "%.*s", (int)found->id.length, found->id.data);
  snprintf(wanted, sizeof wanted, "\"is\":\"%s\"", id);
  if (!strstr(json_of(h->w, &found->image), wanted))
    fail_msg("%s holds %s", id, json_of(h->w, &found->image));
  for (size_t i = 0; i < h->count; i++)
    h->times[i] = (unsigned char)(h->times[i] + !strcmp(h->ids[i], id));
  return AON_OK;
}

static void each_is_found_once(subject *s, const aon_collection *in, const char *const *ids, size_t count) {
  aon_match match = {"n", text("1")}, other = {"n", text("2")};
  for (int how = 0; how < 3; how++) { /* all, those that match, none that does */
    heard h = {.w = &s->w, .ids = ids, .count = count};
    OK(&s->w, aon_store_scan(s->store, in, how == 2 ? &other : &match, how > 0, NULL, hear, &h, &s->w.error));
    for (size_t i = 0; i < count; i++)
      if (h.times[i] != (how < 2))
        fail_msg("%s was found %d times", ids[i], h.times[i]);
  }
}

static void pages_hold_each_document_once(void **state) {
  subject *s = *state;
  aon_collection items = {.store = "main", .name = "items"};
  static char texts[DOCUMENTS][40];
  const char *ids[DOCUMENTS];
  size_t count = adapter == &aon_firestore_adapter ? FIRESTORE_DOCUMENTS : DOCUMENTS;
  for (int i = 0; i < (int)count; i++) {
    id_of(i, texts[i]);
    ids[i] = texts[i];
  }
  for (size_t at = 0; at < count; at += TOGETHER)
    put(s, &items, ids + at, count - at < TOGETHER ? count - at : TOGETHER);
  each_is_found_once(s, &items, ids, count);
}

static aon_result stop(void *context, const aon_found *found, aon_error *error) {
  (void)error;
  return found->id.length && ++*(int *)context == 2 ? AON_END : AON_OK;
}

static void collections_in_documents_are_searched(void **state) {
  subject *s = *state;
  static const char *const ids[] = {"x:1", "x:2", "y:1", "0:0", "1:0"}, *const one[] = {"x", "y"};
  aon_collection deep = {.store = "main", .name = "deep", .path = "/a/{x}/b/{y}"};
  int found = 0;
  put(s, &deep, ids, 5);
  each_is_found_once(s, &deep, ids, 5);
  OK(&s->w, aon_store_scan(s->store, &deep, NULL, 0, NULL, stop, &found, &s->w.error));
  assert_int_equal(found, 2);
  if (adapter != &aon_firestore_adapter)
    return;
  aon_collection fixed = {.store = "main", .name = "fixed", .path = "/c/{x}/d/one"};
  put(s, &fixed, one, 2);
  OK(&s->w, aon_store_scan(s->store, &fixed, NULL, 0, NULL, stop, &found, &s->w.error)); /* what stands at no document of its own */
  aon_collection odd = {.store = "main", .name = "odd", .path = "/c/{x}/{y}/one"};
  FAILS(&s->w, aon_store_scan(s->store, &odd, NULL, 0, NULL, stop, &found, &s->w.error), AON_USAGE, "not_supported");
}

int main(int count, char **arguments) {
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(pages_hold_each_document_once, set_up, tear_down),
                                     cmocka_unit_test_setup_teardown(collections_in_documents_are_searched, set_up, tear_down)};
  if (count < 2) {
    printf("skipped: store searches: no server; run it by tests/servers/rtdb or firestore\n");
    return 77;
  }
  bool more = getenv("AON_CALLS_MORE") || (getenv("AON_FULL") && !strcmp(getenv("AON_FULL"), "1"));
  if (!strcmp(arguments[1], "firestore") && !more) {
    printf("skipped: store searches firestore: the emulator takes half a minute for it; AON_FULL=1 or AON_CALLS_MORE=1 runs it\n");
    return 77;
  }
  adapter = strcmp(arguments[1], "rtdb") ? &aon_firestore_adapter : &aon_rtdb_adapter;
  return cmocka_run_group_tests_name("store searches", tests, NULL, NULL);
}
