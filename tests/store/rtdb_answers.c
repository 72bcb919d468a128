/* What the store of a Realtime Database makes of a service that refuses, answers nonsense, or does as it is told without saying so: a service
 * of the test's own (answers.h). What is said of each write is true: applied, refused, not sent, or not known. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answers.h"
#include "store/rtdb_internal.h"
#include "world.h"

#define VARIABLE "FIREBASE_DATABASE_EMULATOR_HOST"
#define TAG(etag) "ETag: " etag "\r\n"
#define NO_TAG "X-No: etag\r\n"

static service *rtdb;
static const aon_collection items = {.store = "main", .name = "items"};

typedef struct subject {
  world w;
  aon_store *store;
} subject;

static int set_up(void **state) {
  subject *s = calloc(1, sizeof *s);
  service_plan(rtdb, NULL, 0);
  world_open(&s->w);
  s->w.timeout_ms = 5000;
  s->store = world_store(&s->w, &aon_rtdb_adapter, NULL, "main", "//127.0.0.1/?ns=n", false);
  *state = s;
  return 0;
}

static int set_up_exclusive(void **state) {
  subject *s = calloc(1, sizeof *s);
  service_plan(rtdb, NULL, 0);
  world_open(&s->w);
  s->w.timeout_ms = 5000;
  s->w.exclusive = true;
  s->store = world_store(&s->w, &aon_rtdb_adapter, NULL, "main", "//127.0.0.1/?ns=n", false);
  *state = s;
  return 0;
}

static int tear_down(void **state) {
  subject *s = *state;
  assert_int_equal(service_left(rtdb), 0);
  aon_store_close(s->store);
  world_close(&s->w);
  free(s);
  return 0;
}

/* ---- opening ---- */

static aon_result try_opening(subject *s, const char *location, aon_store **ret_store) {
  aon_store_config config = {.name = "main", .location = location, .timeout_ms = 5000};
  s->w.error = (aon_error)AON_ERROR_INIT;
  return aon_store_open(s->w.env, &aon_rtdb_adapter, &config, ret_store, &s->w.error);
}

static void what_is_no_database_is_not_opened(void **state) {
  subject *s = *state;
  static const struct {
    answer answer;
    const char *code;
    aon_result kind;
  } cases[] = {{{"aon_probe", 200, "null", NO_TAG}, "not_supported", AON_ENVIRONMENT},
               {{"aon_probe", 401, "{}", NULL}, "no_permission", AON_ENVIRONMENT},
               {{"aon_probe", 403, "{}", NULL}, "no_permission", AON_ENVIRONMENT},
               {{"aon_probe", 404, "{}", NULL}, "no_such_file", AON_ENVIRONMENT},
               {{"aon_probe", 423, "{}", NULL}, "read_only", AON_ENVIRONMENT},
               {{"aon_probe", 418, "{}", NULL}, "refused", AON_PERMANENT},
               {{"aon_probe", 302, "{}", NULL}, "unavailable", AON_TRANSIENT}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    aon_store *none;
    service_plan(rtdb, &cases[i].answer, 1);
    FAILS(&s->w, try_opening(s, "//demo/?ns=n", &none), cases[i].kind, cases[i].code);
  }
}

static void a_database_is_known_by_its_name(void **state) {
  subject *s = *state;
  char long_name[160] = "//", begins[200];
  aon_store *store;
  memset(long_name + 2, 'd', 120);
  static const char *const places[] = {"//demo.firebaseio.com/", "//demo:99/", "//other.example/?ns=demo"};
  for (size_t i = 0; i < 3; i++) {
    OK(&s->w, try_opening(s, places[i], &store));
    snprintf(begins, sizeof begins, "firebase-rtdb:127.0.0.1:%d/demo", service_port(rtdb));
    assert_string_equal(aon_store_capabilities(store)->database, begins);
    aon_store_close(store);
  }
  assert_true(service_heard(rtdb, "?ns=demo"));
  OK(&s->w, try_opening(s, long_name, &store));
  aon_store_close(store);
}

/* With a key of a service account that the token server refuses: nothing is asked of the service itself. */
static void without_a_token_nothing_is_asked(void **state) {
  subject *s = *state;
  char command[300], *address = strdup(getenv(VARIABLE));
  const char *pem = world_path(&s->w, "key.pem"), *key = world_path(&s->w, "key.json");
  aon_store *none;
  static const char *const places[] = {"//demo.example/", "//other.example/?ns=demo"};
  snprintf(command, sizeof command, "openssl genrsa -out %s 2048 2>/dev/null", pem);
  if (system(command)) {
    free(address);
    skip();
  }
  FILE *from = fopen(pem, "r"), *to = fopen(key, "w");
  fprintf(to, "{\"type\":\"service_account\",\"client_email\":\"a@b\",\"token_uri\":\"http://127.0.0.1:%d/token\",\"private_key\":\"",
          service_port(rtdb));
  for (int c; (c = fgetc(from)) != EOF;)
    fprintf(to, c == '\n' ? "\\n" : "%c", c);
  fprintf(to, "\"}");
  fclose(from);
  fclose(to);
  unsetenv(VARIABLE);
  setenv("GOOGLE_APPLICATION_CREDENTIALS", key, 1);
  for (size_t i = 0; i < 2; i++) {
    PLAN(rtdb, {"/token", 400, "{}", NULL});
    FAILS(&s->w, try_opening(s, places[i], &none), AON_ENVIRONMENT, "no_credentials");
    assert_false(service_heard(rtdb, "aon_probe"));
  }
  unsetenv("GOOGLE_APPLICATION_CREDENTIALS");
  setenv(VARIABLE, address, 1);
  free(address);
}

static void its_clock_is_told(void **state) {
  subject *s = *state;
  static const struct {
    const char *headers, *line;
    bool healthy;
  } cases[] = {{TAG("x"), "clock: the service did not tell its own", true},
               {TAG("x") "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "behind ours, which is MUCH", false}};
  for (size_t i = 0; i < 2; i++) {
    AON_BUFFER_CLEANUP aon_buffer report = {0};
    bool healthy = !cases[i].healthy;
    PLAN(rtdb, {"aon_probe", 200, "null", cases[i].headers});
    OK(&s->w, aon_store_examine(s->store, &report, &healthy, &s->w.error));
    assert_int_equal(healthy, cases[i].healthy);
    assert_non_null(strstr(report.data, cases[i].line));
  }
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  bool healthy;
  PLAN(rtdb, {"aon_probe", 403, "{}", NULL});
  FAILS(&s->w, aon_store_examine(s->store, &report, &healthy, &s->w.error), AON_ENVIRONMENT, "no_permission");
}

/* ---- reading ---- */

static void what_is_no_document_is_told(void **state) {
  subject *s = *state;
  static const struct {
    int status;
    const char *body, *code;
    aon_result kind;
  } cases[] = {{403, "{}", "no_permission", AON_ENVIRONMENT},
               {200, "5", "bad_type", AON_PERMANENT},
               {200, "\"x\"", "bad_type", AON_PERMANENT},
               {200, "{", "corrupt", AON_CORRUPT},
               {200, "", "corrupt", AON_CORRUPT}};
  const aon_text ids[] = {text("a"), text("b.c"), text("d")};
  aon_image found[3];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    PLAN(rtdb, {"items/", cases[i].status, cases[i].body, NULL});
    FAILS(&s->w, aon_store_read(s->store, &items, ids, 3, &s->w.arena, found, &s->w.error), cases[i].kind, cases[i].code);
  }
  PLAN(rtdb, {"items/a", 200, "{\"n\":1}", NO_TAG});
  OK(&s->w, aon_store_read(s->store, &items, ids, 2, &s->w.arena, found, &s->w.error));
  assert_string_equal(json_of(&s->w, &found[0]), "{\"n\":1}");
  assert_int_equal(found[0].token_length, 0);
  assert_null(found[1].bson); /* no key can be spelled so */
  assert_null(look(&s->w, s->store, &items, "b.c").bson);
  PLAN(rtdb, {"items/a", 200, "[{\"n\":[1]}]", TAG("t1")});
  aon_image list = look(&s->w, s->store, &items, "a");
  assert_string_equal(json_of(&s->w, &list), "{\"0\":{\"n\":[1]}}");
  assert_int_equal(list.token_length, 2);
}

/* ---- searching ---- */

typedef struct heard {
  char ids[200];
  int most; /* ends it then; 0: never */
} heard;

static aon_result hear(void *context, const aon_found *found, aon_error *error) {
  heard *h = context;
  (void)error;
  snprintf(h->ids + strlen(h->ids), sizeof h->ids - strlen(h->ids), "%.*s ", (int)found->id.length, found->id.data);
  return h->most && !--h->most ? AON_END : AON_OK;
}

static void finds(subject *s, const aon_collection *in, const char *wanted) {
  heard h = {0};
  OK(&s->w, aon_store_scan(s->store, in, NULL, 0, NULL, hear, &h, &s->w.error));
  assert_string_equal(h.ids, wanted);
  assert_int_equal(service_left(rtdb), 0);
}

static void pages_come_as_objects_or_lists(void **state) {
  subject *s = *state;
  static const struct {
    const char *page, *found;
  } cases[] = {{"{\"a\":{\"n\":1},\"b\":null,\"c\":{\"n\":1}}", "a c "},
               {"[null,{\"n\":1},{\"n\":2}]", "1 2 "},
               {"[]", ""},
               {"{}", ""},
               {"null", ""},
               {"5", ""}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    PLAN(rtdb, {"orderBy", 200, cases[i].page, NULL});
    finds(s, &items, cases[i].found);
  }
  heard h = {.most = 1};
  PLAN(rtdb, {"orderBy", 200, "{\"a\":{\"n\":1},\"b\":{\"n\":1}}", NULL});
  OK(&s->w, aon_store_scan(s->store, &items, NULL, 0, NULL, hear, &h, &s->w.error));
  assert_string_equal(h.ids, "a ");
  static const struct {
    int status;
    const char *page, *code;
    aon_result kind;
  } failing[] = {{403, "{}", "no_permission", AON_ENVIRONMENT},
                 {200, "{", "corrupt", AON_CORRUPT},
                 {200, "{\"a\":7,\"b\":{\"n\":1}}", "bad_type", AON_PERMANENT}};
  for (size_t i = 0; i < 3; i++) {
    PLAN(rtdb, {"orderBy", failing[i].status, failing[i].page, NULL});
    FAILS(&s->w, aon_store_scan(s->store, &items, NULL, 0, NULL, hear, &h, &s->w.error), failing[i].kind, failing[i].code);
  }
  assert_string_equal(h.ids, "a ");
}

static void collections_within_documents_are_searched(void **state) {
  subject *s = *state;
  static const aon_collection below = {.store = "main", .name = "below", .path = "/a/b/{x}"};
  PLAN(rtdb, {"GET /a/b.json", 200, "{\"k\":{\"n\":1}}", NULL});
  finds(s, &below, "k ");
  static const aon_collection deep = {.store = "main", .name = "deep", .path = "/{x}/b/{y}"};
  heard h = {0};
  PLAN(rtdb, {"shallow", 200, "{\"k\":true,\"l\":true}", NULL}, {"GET /k/b", 200, "{\"1\":{\"n\":1}}", NULL},
       {"GET /l/b", 200, "{\"2\":{\"n\":1}}", NULL});
  finds(s, &deep, "k:1 l:2 ");
  PLAN(rtdb, {"shallow", 200, "{\"k\":true,\"l\":true}", NULL}, {"GET /k/b", 403, "{}", NULL});
  FAILS(&s->w, aon_store_scan(s->store, &deep, NULL, 0, NULL, hear, &h, &s->w.error), AON_ENVIRONMENT, "no_permission");
  PLAN(rtdb, {"shallow", 200, "null", NULL});
  finds(s, &deep, "");
  assert_string_equal(h.ids, "");
}

/* A full page with these keys at its end; the next one begins with the last key in the service's own order. */
static void goes_on_after(subject *s, const char *const *keys, size_t count, const char *start) {
  AON_BUFFER_CLEANUP aon_buffer page = {0};
  heard h = {0};
  OK(&s->w, aon_buffer_text(&page, "{", &s->w.error));
  for (size_t i = 0; i < count; i++)
    OK(&s->w, aon_buffer_format(&page, &s->w.error, "%s\"%s\":{\"n\":1}", i ? "," : "", keys[i]));
  for (size_t i = count; i < RTDB_PAGE; i++)
    OK(&s->w, aon_buffer_format(&page, &s->w.error, ",\"-%zu\":{\"n\":1}", i + 7));
  OK(&s->w, aon_buffer_text(&page, "}", &s->w.error));
  PLAN(rtdb, {"limitToFirst", 200, page.data, NULL}, {"startAt", 200, "{}", NULL});
  OK(&s->w, aon_store_scan(s->store, &items, NULL, 0, NULL, hear, &h, &s->w.error));
  assert_int_equal(service_left(rtdb), 0);
  char wanted[100];
  snprintf(wanted, sizeof wanted, "startAt=%%22%s%%22 ", start);
  if (!service_heard(rtdb, wanted))
    fail_msg("the second page does not begin with %s", start);
}

static void pages_follow_in_the_order_of_keys(void **state) {
  subject *s = *state;
  static const char *const numbers[] = {"5", "3", "05", "4"}, *const wide[] = {"\xf0\x9f\x98\x80", "\xee\x80\x80"},
                           *const narrow[] = {"\xee\x80\x80", "\xf0\x9f\x98\x80", "z"},
                           *const high[] = {"z", "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x81"},
                           *const mixed[] = {"a", "7", "2147483648", "-2147483649"}, *const low[] = {"\xf0\x9f\x98\x80", "z"},
                           *const prefix[] = {"ab", "a", "abc", "-", "1x"};
  goes_on_after(s, numbers, 4, "05");
  goes_on_after(s, wide, 2, "%EE%80%80");
  goes_on_after(s, narrow, 3, "%EE%80%80");
  goes_on_after(s, high, 3, "%F0%9F%98%81");
  goes_on_after(s, mixed, 4, "a");
  goes_on_after(s, low, 2, "%F0%9F%98%80");
  goes_on_after(s, prefix, 5, "abc");
}

/* ---- writing ---- */

static aon_image is_n(subject *s, const char *n) {
  char json[40];
  snprintf(json, sizeof json, "{\"n\":%s}", n);
  return normal(&s->w, s->store, &items, "a", json);
}

static aon_image with_token(aon_image of, const char *token) {
  of.token = (const uint8_t *)token;
  of.token_length = (uint32_t)strlen(token);
  return of;
}

/* wanted: of each write A applied, R refused, U unknown, - not sent */
static void applies(subject *s, const aon_write *writes, size_t count, aon_result kind, const char *code, const char *wanted) {
  static const char letters[] = {
      [AON_WRITE_NOT_SENT] = '-', [AON_WRITE_APPLIED] = 'A', [AON_WRITE_REFUSED] = 'R', [AON_WRITE_UNKNOWN] = 'U'};
  aon_write_state states[8];
  char said[9] = "";
  size_t failed = 99;
  aon_result result = aon_store_apply(s->store, NULL, writes, count, states, &failed, &s->w.error);
  for (size_t i = 0; i < count; i++)
    said[i] = letters[states[i]];
  assert_string_equal(said, wanted);
  assert_int_equal(service_left(rtdb), 0);
  if (!kind) {
    OK(&s->w, result);
    return;
  }
  assert_int_equal(failed, strcspn(wanted, "RU-"));
  assert_true(s->w.error.operation >= 10 && s->w.error.operation < 20);
  FAILS(&s->w, result, kind, code);
}

static void what_is_said_of_writes_is_true(void **state) {
  subject *s = *state;
  aon_image one = is_n(s, "1");
  aon_write writes[] = {write_of(&items, "a", with_token(one, "t1"), is_n(s, "2"), 10), write_of(&items, "a", (aon_image){0}, one, 11)};
  writes[1].stamp = "stamp";
  PLAN(rtdb, {"PUT ", 204, "", NULL});
  applies(s, writes, 1, AON_OK, NULL, "A");
  assert_true(service_heard(rtdb, "if-match: t1"));
  PLAN(rtdb, {"PUT ", 412, "{}", NULL});
  applies(s, writes, 1, AON_PERMANENT, "changed_meanwhile", "R");
  PLAN(rtdb, {"PUT ", 412, "{}", NULL});
  applies(s, writes + 1, 1, AON_PERMANENT, "duplicate", "R");
  assert_true(service_heard(rtdb, "\"_bulkOperationId\":\"stamp\""));
  PLAN(rtdb, {"PUT ", 0, NULL, NULL});
  applies(s, writes, 1, AON_UNKNOWN, "no_reply", "U");
  PLAN(rtdb, {"PUT ", 302, "{}", NULL});
  applies(s, writes, 1, AON_UNKNOWN, "unavailable", "U");
  PLAN(rtdb, {"PUT ", 403, "{}", NULL});
  applies(s, writes, 1, AON_PERMANENT, "no_permission", "R");
  PLAN(rtdb, {"PUT ", 0, NULL, NULL}); /* of one document again: not before the first is answered */
  applies(s, writes, 2, AON_UNKNOWN, "no_reply", "U-");
  aon_write drop = write_of(&items, "a", with_token(one, "t1"), (aon_image){0}, 12);
  PLAN(rtdb, {"DELETE ", 200, "null", NULL});
  applies(s, &drop, 1, AON_OK, NULL, "A");
  aon_write odd = write_of(&items, "b.c", (aon_image){0}, one, 13);
  applies(s, &odd, 1, AON_PERMANENT, "forbidden_character", "-");
}

/* Without the decorator, which would end the test; nobody asks why. */
static void a_damaged_image_is_refused(void **state) {
  subject *s = *state;
  static uint8_t damaged[] = {9, 0, 0, 0, 0};
  aon_image broken = {.bson = damaged, .bson_length = sizeof damaged};
  aon_write torn = write_of(&items, "a", (aon_image){0}, broken, 7);
  aon_write_state states[1];
  size_t failed;
  aon_store *bare;
  OK(&s->w, try_opening(s, "//127.0.0.1/?ns=n", &bare));
  FAILS(&s->w, aon_store_apply(bare, NULL, &torn, 1, states, &failed, &s->w.error), AON_CORRUPT, "bad_document");
  assert_int_equal(aon_store_apply(bare, NULL, &torn, 1, states, &failed, NULL), AON_CORRUPT);
  assert_int_equal(states[0], AON_WRITE_NOT_SENT);
  assert_false(service_heard(rtdb, "PUT "));
  aon_store_close(bare);
}

static void an_image_without_an_etag_is_compared(void **state) {
  subject *s = *state;
  static char long_tag[AON_HTTP_ETAG + 20];
  memset(long_tag, 't', sizeof long_tag - 1);
  aon_image one = is_n(s, "1"), two = is_n(s, "2");
  aon_write writes[] = {write_of(&items, "a", one, two, 10), write_of(&items, "b", with_token(one, long_tag), two, 11),
                        write_of(&items, "c", one, (aon_image){0}, 12)};
  PLAN(rtdb, {"GET ", 200, "{\"n\":1}", TAG("t9")}, {"PUT ", 204, "", NULL});
  applies(s, writes, 1, AON_OK, NULL, "A");
  assert_true(service_heard(rtdb, "if-match: t9"));
  PLAN(rtdb, {"GET ", 200, "{\"n\":5}", TAG("t9")});
  applies(s, writes + 1, 1, AON_PERMANENT, "changed_meanwhile", "R");
  PLAN(rtdb, {"GET ", 200, "null", NULL});
  applies(s, writes + 2, 1, AON_PERMANENT, "changed_meanwhile", "R");
  PLAN(rtdb, {"GET ", 403, "{}", NULL});
  applies(s, writes, 1, AON_ENVIRONMENT, "no_permission", "R");
  PLAN(rtdb, {"GET ", 200, "{", TAG("t9")});
  applies(s, writes, 1, AON_CORRUPT, "corrupt", "R");
  PLAN(rtdb, {"GET ", 200, "5", TAG("t9")});
  applies(s, writes, 1, AON_PERMANENT, "bad_type", "R");
  assert_false(service_heard(rtdb, "PUT "));
}

/* In a database that is declared exclusive all is compared, then written together. */
static void one_patch_is_sent(void **state) {
  subject *s = *state;
  aon_image one = is_n(s, "1");
  aon_write writes[] = {write_of(&items, "a", (aon_image){0}, one, 10), write_of(&items, "b", (aon_image){0}, is_n(s, "2"), 11)};
  PLAN(rtdb, {"GET ", 200, "null", NULL}, {"GET ", 200, "null", NULL}, {"PATCH ", 204, "", NULL});
  applies(s, writes, 2, AON_OK, NULL, "AA");
  assert_true(service_heard(rtdb, "{\"items/a\":{\"n\":1},\"items/b\":{\"n\":2}}"));
  PLAN(rtdb, {"GET ", 200, "null", NULL}, {"GET ", 200, "null", NULL}, {"PATCH ", 0, NULL, NULL});
  applies(s, writes, 2, AON_UNKNOWN, "no_reply", "UU");
  PLAN(rtdb, {"GET ", 200, "null", NULL}, {"GET ", 200, "null", NULL}, {"PATCH ", 403, "{}", NULL});
  applies(s, writes, 2, AON_PERMANENT, "no_permission", "RR");
  PLAN(rtdb, {"items/a", 200, "5", NULL}); /* something stands there, if no document */
  applies(s, writes, 1, AON_PERMANENT, "duplicate", "R");
  PLAN(rtdb, {"items/a", 200, "{\"n\":1}", NULL});
  applies(s, writes, 1, AON_PERMANENT, "duplicate", "R");
  assert_false(service_heard(rtdb, "PATCH "));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {CASE(what_is_no_database_is_not_opened),
                                     CASE(a_database_is_known_by_its_name),
                                     CASE(without_a_token_nothing_is_asked),
                                     CASE(its_clock_is_told),
                                     CASE(what_is_no_document_is_told),
                                     CASE(pages_come_as_objects_or_lists),
                                     CASE(collections_within_documents_are_searched),
                                     CASE(pages_follow_in_the_order_of_keys),
                                     CASE(what_is_said_of_writes_is_true),
                                     CASE(a_damaged_image_is_refused),
                                     CASE(an_image_without_an_etag_is_compared),
                                     cmocka_unit_test_setup_teardown(one_patch_is_sent, set_up_exclusive, tear_down)};
  rtdb = service_start(VARIABLE);
  int failures = cmocka_run_group_tests_name("store rtdb_answers", tests, NULL, NULL);
  service_stop(rtdb);
  return failures;
}
