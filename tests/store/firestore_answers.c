/* What the Firestore store makes of a service that refuses, answers nonsense, or does as it is told without saying so: a service of the
 * test's own (answers.h), since Google's emulator does none of that. Each answer gives the kind of failure that the contract names, and what
 * is said of a commit is true: refused, unknown, or found out afterwards. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answers.h"
#include "model/document.h"
#include "store/firestore_internal.h"
#include "world.h"

#define ROOT "projects/demo-x/databases/(default)/documents/"
#define BUSY "{\"error\":{\"status\":\"ABORTED\"}}"
#define THERE "{\"error\":{\"status\":\"ALREADY_EXISTS\"}}"
#define STALE "{\"error\":{\"status\":\"FAILED_PRECONDITION\"}}"
#define GONE "{\"error\":{\"status\":\"NOT_FOUND\"}}"
#define MARKER(state) "[{\"found\":{\"name\":\"@\",\"fields\":{\"state\":" state "},\"updateTime\":\"t1\"}}]"
#define STATE(word) MARKER("{\"stringValue\":\"" word "\"}")
#define DOCUMENT(id, value, time)                                                                                                          \
  "{\"found\":{\"name\":\"" ROOT "items/" id "\",\"fields\":{\"n\":{\"integerValue\":\"" value "\"}},\"updateTime\":\"" time "\"}}"
#define AS_EMPTY                                                                                                                           \
  { ":batchGet", 200, NULL, NULL }

static service *firestore;
static const aon_collection items = {.store = "main", .name = "items"};

typedef struct subject {
  world w;
  aon_store *store;
  aon_transaction *transaction;
} subject;

static int set_up(void **state) {
  subject *s = calloc(1, sizeof *s);
  service_plan(firestore, NULL, 0);
  world_open(&s->w);
  s->w.timeout_ms = 5000;
  s->store = world_store(&s->w, &aon_firestore_adapter, NULL, "main", "//demo-x", false);
  *state = s;
  return 0;
}

static int tear_down(void **state) {
  subject *s = *state;
  assert_int_equal(service_left(firestore), 0);
  aon_store_close(s->store);
  world_close(&s->w);
  free(s);
  return 0;
}

/* ---- resolving ---- */

/* wanted: what it fails by, or AON_OK and the state. */
static void resolves(subject *s, aon_result wanted, const char *code, aon_branch_state is) {
  aon_branch own = branch(1);
  aon_branch_state found = AON_BRANCH_OPEN;
  aon_result result = aon_store_resolve(s->store, &own, &found, &s->w.error);
  assert_int_equal(service_left(firestore), 0);
  if (wanted) {
    FAILS(&s->w, result, wanted, code);
    return;
  }
  OK(&s->w, result);
  assert_int_equal(found, is);
}

/* The abort marker may be there though nobody said so, and another one may have been first. */
static void what_stands_there_is_the_truth(void **state) {
  subject *s = *state;
  PLAN(firestore, AS_EMPTY, {":commit", 0, NULL, NULL}, {":batchGet", 200, STATE("abort"), NULL});
  resolves(s, AON_OK, NULL, AON_BRANCH_ABORTED);
  PLAN(firestore, AS_EMPTY, {":commit", 0, NULL, NULL}, {":batchGet", 200, STATE("commit"), NULL});
  resolves(s, AON_OK, NULL, AON_BRANCH_COMMITTED);
  PLAN(firestore, AS_EMPTY, {":commit", 200, "so be it", NULL}, {":batchGet", 200, STATE("abort"), NULL});
  resolves(s, AON_OK, NULL, AON_BRANCH_ABORTED);
  PLAN(firestore, AS_EMPTY, {":commit", 409, THERE, NULL}, {":batchGet", 200, STATE("undone"), NULL});
  resolves(s, AON_OK, NULL, AON_BRANCH_UNDONE);
  PLAN(firestore, AS_EMPTY, {":commit", 0, NULL, NULL}, AS_EMPTY);
  resolves(s, AON_TRANSIENT, "no_reply", 0);
  PLAN(firestore, AS_EMPTY, {":commit", 0, NULL, NULL}, {":batchGet", 403, "{}", NULL});
  resolves(s, AON_ENVIRONMENT, "no_permission", 0);
}

static void a_resolving_that_is_refused_tells_why(void **state) {
  subject *s = *state;
  static const struct {
    int status;
    const char *body, *code;
    aon_result kind;
  } cases[] = {{409, BUSY, "database_locked", AON_TRANSIENT}, {400, GONE, "refused", AON_PERMANENT},
               {400, "no JSON", "refused", AON_PERMANENT},    {401, "{}", "no_permission", AON_ENVIRONMENT},
               {403, "{}", "no_permission", AON_ENVIRONMENT}, {404, "{}", "no_such_file", AON_ENVIRONMENT},
               {423, "[]", "read_only", AON_ENVIRONMENT},     {302, "{}", "unavailable", AON_TRANSIENT}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    PLAN(firestore, AS_EMPTY, {":commit", cases[i].status, cases[i].body, NULL});
    resolves(s, cases[i].kind, cases[i].code, 0);
  }
}

static void a_marker_of_nobody_is_told(void **state) {
  subject *s = *state;
  static const char *const bodies[] = {STATE("maybe"), MARKER("{\"integerValue\":\"1\"}"),
                                       "[{\"found\":{\"name\":\"@\",\"fields\":{},\"updateTime\":\"t1\"}}]",
                                       "[{\"found\":{\"name\":\"@\",\"fields\":{\"state\":{\"stringValue\":\"abort\"}},\"updateTime\":"
                                       "\"2027-01-06T08:00:00.123456789123456789123456789Z\"}}]",
                                       "nothing"};
  for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
    PLAN(firestore, {":batchGet", 200, bodies[i], NULL});
    resolves(s, AON_CORRUPT, "corrupt", 0);
  }
}

/* ---- writing ---- */

static void begin(subject *s, uint32_t attempt, aon_marker marker) {
  aon_branch own = branch(attempt);
  OK(&s->w, aon_store_begin(s->store, &own, marker, &s->transaction, &s->w.error));
}

static aon_image with_token(aon_image of, const char *token) {
  of.token = (const uint8_t *)token;
  of.token_length = (uint32_t)strlen(token);
  return of;
}

static aon_result apply(subject *s, const aon_write *write, size_t *ret_failed) {
  return aon_store_apply(s->store, s->transaction, write, 1, NULL, ret_failed, &s->w.error);
}

static aon_image is_n(subject *s, const char *n) {
  char json[40];
  snprintf(json, sizeof json, "{\"n\":%s}", n);
  return normal(&s->w, s->store, &items, "a", json);
}

/* An update of a, which was read at t1, and a create of b; committed. */
static void commits(subject *s, aon_result wanted, const char *code, int64_t operation) {
  size_t failed;
  aon_write update = write_of(&items, "a", with_token(is_n(s, "1"), "t1"), is_n(s, "2"), 7),
            create = write_of(&items, "b", (aon_image){0}, is_n(s, "1"), 8);
  begin(s, 1, AON_MARKER_COMMIT);
  OK(&s->w, apply(s, &update, &failed));
  OK(&s->w, apply(s, &create, &failed));
  aon_result result = aon_store_commit(s->store, s->transaction, &s->w.error);
  assert_int_equal(service_left(firestore), 0);
  assert_int_equal(s->w.error.operation, operation);
  FAILS(&s->w, result, wanted, code);
}

static void a_commit_that_is_not_confirmed_is_unknown(void **state) {
  subject *s = *state;
  PLAN(firestore, AS_EMPTY, {":commit", 0, NULL, NULL});
  commits(s, AON_UNKNOWN, "no_reply", AON_NO_OPERATION);
  PLAN(firestore, AS_EMPTY, {":commit", 200, "so be it", NULL});
  commits(s, AON_UNKNOWN, "corrupt", AON_NO_OPERATION);
  PLAN(firestore, AS_EMPTY, {":commit", 302, "{}", NULL});
  commits(s, AON_UNKNOWN, "unavailable", AON_NO_OPERATION);
}

static void a_commit_that_is_refused_tells_why(void **state) {
  subject *s = *state;
  PLAN(firestore, AS_EMPTY, {":commit", 409, BUSY, NULL});
  commits(s, AON_TRANSIENT, "database_locked", AON_NO_OPERATION);
  PLAN(firestore, AS_EMPTY, {":commit", 403, "{}", NULL});
  commits(s, AON_PERMANENT, "no_permission", AON_NO_OPERATION);
  PLAN(firestore, AS_EMPTY, {":commit", 400, "{\"error\":{}}", NULL});
  commits(s, AON_PERMANENT, "refused", AON_NO_OPERATION);
  PLAN(firestore, AS_EMPTY, {":commit", 400, STALE, NULL}, {":batchGet", 200, STATE("abort"), NULL});
  commits(s, AON_FENCED, "fenced", AON_NO_OPERATION);
  PLAN(firestore, AS_EMPTY, {":commit", 400, STALE, NULL}, {":batchGet", 403, "{}", NULL});
  commits(s, AON_ENVIRONMENT, "no_permission", AON_NO_OPERATION);
  PLAN(firestore, AS_EMPTY, {":commit", 400, STALE, NULL}, AS_EMPTY, {":batchGet", 403, "{}", NULL});
  commits(s, AON_ENVIRONMENT, "no_permission", AON_NO_OPERATION);
}

/* Which condition did not hold is found by reading. */
static void a_refusal_is_explained(void **state) {
  subject *s = *state;
  static const struct {
    const char *documents, *code;
    aon_result kind;
    int64_t operation;
  } cases[] = {{"[" DOCUMENT("a", "1", "t1") ",{\"missing\":\"" ROOT "items/b\"}]", "database_locked", AON_TRANSIENT, AON_NO_OPERATION},
               {"[" DOCUMENT("a", "1", "t1") "," DOCUMENT("b", "1", "t1") "]", "duplicate", AON_PERMANENT, 8},
               {"[" DOCUMENT("a", "1", "t2") "," DOCUMENT("b", "1", "t1") "]", "changed_meanwhile", AON_PERMANENT, 7},
               {"[" DOCUMENT("a", "1", "t11") ",{\"missing\":\"" ROOT "items/b\"}]", "changed_meanwhile", AON_PERMANENT, 7},
               {"[{\"missing\":\"" ROOT "items/a\"},{\"missing\":\"" ROOT "items/b\"}]", "changed_meanwhile", AON_PERMANENT, 7}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    PLAN(firestore, AS_EMPTY, {":commit", 404, GONE, NULL}, AS_EMPTY, {":batchGet", 200, cases[i].documents, NULL});
    commits(s, cases[i].kind, cases[i].code, cases[i].operation);
  }
}

static void a_marker_in_the_way_fences(void **state) {
  subject *s = *state;
  aon_branch own = branch(1);
  PLAN(firestore, {":batchGet", 200, STATE("abort"), NULL});
  FAILS(&s->w, aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &s->transaction, &s->w.error), AON_FENCED, "fenced");
  PLAN(firestore, AS_EMPTY);
  FAILS(&s->w, aon_store_begin(s->store, &own, AON_MARKER_UNDONE, &s->transaction, &s->w.error), AON_FENCED, "fenced");
  PLAN(firestore, {":batchGet", 404, "{}", NULL});
  FAILS(&s->w, aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &s->transaction, &s->w.error), AON_ENVIRONMENT, "no_such_file");
}

/* The write is refused before anything is sent, and the transaction is over. */
static void refuses(subject *s, const aon_write *writes, size_t count, aon_result kind, const char *code) {
  size_t failed = 99;
  aon_result result = aon_store_apply(s->store, s->transaction, writes, count, NULL, &failed, &s->w.error);
  assert_int_equal(failed, count - 1);
  assert_int_equal(s->w.error.operation, writes[count - 1].operation);
  FAILS(&s->w, result, kind, code);
  aon_store_abort(s->store, s->transaction);
  assert_false(service_heard(firestore, ":commit"));
  assert_int_equal(service_left(firestore), 0);
}

static void a_write_that_can_not_be_is_refused(void **state) {
  subject *s = *state;
  aon_image one = is_n(s, "1"), two = is_n(s, "2");
  aon_write slash = write_of(&items, "a/b", (aon_image){0}, one, 3);
  aon_write chained[] = {write_of(&items, "a", (aon_image){0}, one, 4), write_of(&items, "a", two, one, 5)},
            twice[] = {chained[0], write_of(&items, "a", (aon_image){0}, one, 6)};
  begin(s, 1, AON_MARKER_COMMIT);
  size_t failed;
  aon_result result = aon_store_apply(s->store, s->transaction, &slash, 1, NULL, &failed, NULL);
  assert_int_equal(result, AON_PERMANENT);
  aon_store_abort(s->store, s->transaction);
  begin(s, 1, AON_MARKER_COMMIT);
  refuses(s, &slash, 1, AON_PERMANENT, "forbidden_character");
  begin(s, 1, AON_MARKER_COMMIT);
  refuses(s, chained, 2, AON_PERMANENT, "changed_meanwhile");
  begin(s, 1, AON_MARKER_COMMIT);
  refuses(s, twice, 2, AON_PERMANENT, "duplicate");
}

/* By a store without the decorator, which would end the test before. */
static void a_damaged_image_is_refused(void **state) {
  subject *s = *state;
  static uint8_t damaged[] = {9, 0, 0, 0, 0};
  aon_image broken = {.bson = damaged, .bson_length = sizeof damaged};
  aon_write torn[] = {write_of(&items, "a", (aon_image){0}, is_n(s, "1"), 6), write_of(&items, "b", (aon_image){0}, broken, 7)};
  aon_write_state states[2];
  aon_branch own = branch(1);
  size_t failed;
  aon_store *bare;
  aon_store_config config = {.name = "main", .location = "//demo-x/d"};
  OK(&s->w, aon_store_open(s->w.env, &aon_firestore_adapter, &config, &bare, &s->w.error));
  OK(&s->w, aon_store_begin(bare, &own, AON_MARKER_COMMIT, &s->transaction, &s->w.error));
  FAILS(&s->w, aon_store_apply(bare, s->transaction, torn, 2, states, &failed, &s->w.error), AON_CORRUPT, "bad_document");
  assert_int_equal(states[0], AON_WRITE_APPLIED);
  assert_int_equal(states[1], AON_WRITE_REFUSED);
  assert_int_equal(failed, 1);
  FAILS(&s->w, aon_store_apply(bare, s->transaction, torn, 1, NULL, &failed, &s->w.error), AON_USAGE, "transaction_failed");
  FAILS(&s->w, aon_store_flush(bare, s->transaction, &s->w.error), AON_USAGE, "transaction_failed");
  FAILS(&s->w, aon_store_commit(bare, s->transaction, &s->w.error), AON_USAGE, "transaction_failed");
  FAILS(&s->w, aon_store_flush(bare, s->transaction, &s->w.error), AON_USAGE, "transaction_failed"); /* it is over */
  FAILS(&s->w, aon_store_flush(bare, NULL, &s->w.error), AON_USAGE, "transaction_failed");
  FAILS(&s->w, aon_store_apply(bare, s->transaction, torn, 1, NULL, &failed, &s->w.error), AON_USAGE, "transaction_failed");
  assert_false(service_heard(firestore, ":commit"));
  aon_store_close(bare);
}

/* An image that does not say which version it was: the document is read and compared. */
static void an_image_without_a_version_is_compared(void **state) {
  subject *s = *state;
  static const char long_token[] = "2027-01-06T08:00:00.123456789123456789123456789Z";
  size_t failed;
  aon_write update = write_of(&items, "a", is_n(s, "1"), is_n(s, "2"), 7);
  PLAN(firestore, AS_EMPTY, {":batchGet", 200, "[" DOCUMENT("a", "1", "t9") "]", NULL}, {":commit", 200, "{}", NULL});
  begin(s, 1, AON_MARKER_COMMIT);
  OK(&s->w, apply(s, &update, &failed));
  OK(&s->w, aon_store_commit(s->store, s->transaction, &s->w.error));
  assert_true(service_heard(firestore, "\"currentDocument\":{\"updateTime\":\"t9\"}"));
  update.expected = with_token(update.expected, long_token);
  PLAN(firestore, AS_EMPTY, {":batchGet", 200, "[" DOCUMENT("a", "5", "t9") "]", NULL});
  begin(s, 1, AON_MARKER_COMMIT);
  refuses(s, &update, 1, AON_PERMANENT, "changed_meanwhile");
  PLAN(firestore, AS_EMPTY, AS_EMPTY);
  begin(s, 1, AON_MARKER_COMMIT);
  refuses(s, &update, 1, AON_PERMANENT, "changed_meanwhile");
  PLAN(firestore, AS_EMPTY, {":batchGet", 403, "{}", NULL});
  begin(s, 1, AON_MARKER_COMMIT);
  refuses(s, &update, 1, AON_ENVIRONMENT, "no_permission");
}

static void a_batch_has_a_limit(void **state) {
  subject *s = *state;
  static char ids[FS_BATCH_OPERATIONS + 1][8];
  static aon_write writes[FS_BATCH_OPERATIONS + 1];
  aon_image one = is_n(s, "1");
  size_t failed;
  for (size_t i = 0; i <= FS_BATCH_OPERATIONS; i++) {
    snprintf(ids[i], sizeof ids[i], "%zu", i);
    writes[i] = write_of(&items, ids[i], (aon_image){0}, one, (int64_t)i);
  }
  begin(s, 1, AON_MARKER_COMMIT);
  OK(&s->w, aon_store_apply(s->store, s->transaction, writes, FS_BATCH_OPERATIONS, NULL, &failed, &s->w.error));
  refuses(s, &writes[FS_BATCH_OPERATIONS], 1, AON_PERMANENT, "too_many");
}

/* ---- reading ---- */

static void an_open_transaction_is_read(void **state) {
  subject *s = *state;
  size_t failed;
  aon_image found[3];
  const aon_text ids[] = {text("a"), text("b"), text("c/d")};
  aon_write create = write_of(&items, "a", (aon_image){0}, is_n(s, "1"), 7),
            drop = write_of(&items, "b", with_token(is_n(s, "1"), "t1"), (aon_image){0}, 8);
  begin(s, 1, AON_MARKER_COMMIT);
  OK(&s->w, apply(s, &drop, &failed));
  OK(&s->w, apply(s, &create, &failed));
  OK(&s->w, aon_store_read(s->store, &items, ids, 3, &s->w.arena, found, &s->w.error));
  assert_string_equal(json_of(&s->w, &found[0]), "{\"n\":1}");
  assert_null(found[1].bson);
  assert_null(found[2].bson);
  OK(&s->w, aon_store_read(s->store, &items, ids, 0, &s->w.arena, found, &s->w.error));
  aon_store_abort(s->store, s->transaction);
  assert_null(look(&s->w, s->store, &items, "a").bson);
}

static void an_answer_that_lacks_documents_is_none(void **state) {
  subject *s = *state;
  aon_text a = text("a");
  aon_image found;
  static const struct {
    int status;
    const char *body, *code;
    aon_result kind;
  } cases[] = {{200, "[]", "unavailable", AON_TRANSIENT},
               {200, "{}", "unavailable", AON_TRANSIENT},
               {200, "[{\"found\":{}},{\"missing\":5},{}]", "unavailable", AON_TRANSIENT},
               {200, "[" DOCUMENT("b", "1", "t1") "]", "unavailable", AON_TRANSIENT},
               {200, "[", "corrupt", AON_CORRUPT},
               {200, "", "corrupt", AON_CORRUPT},
               {302, "[]", "unavailable", AON_TRANSIENT},
               {200, "[{\"found\":{\"name\":\"@\",\"fields\":{\"x\":{\"vectorValue\":1}}}}]", "bad_type", AON_PERMANENT}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    PLAN(firestore, {":batchGet", cases[i].status, cases[i].body, NULL});
    FAILS(&s->w, aon_store_read(s->store, &items, &a, 1, &s->w.arena, &found, &s->w.error), cases[i].kind, cases[i].code);
  }
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
  assert_int_equal(service_left(firestore), 0);
}

#define LISTED(path) "{\"name\":\"" ROOT path "\",\"fields\":{\"n\":{\"integerValue\":\"1\"}}}"

static void pages_follow_each_other(void **state) {
  subject *s = *state;
  PLAN(firestore, {"GET ", 200, "{\"documents\":[" LISTED("items/a") ",{},{\"name\":\"b\"}],\"nextPageToken\":\"p&2\"}", NULL},
       {"pageToken=p%262", 200, "{\"documents\":[" LISTED("items/c") "],\"nextPageToken\":\"\"}", NULL});
  finds(s, &items, "a c ");
  heard h = {.most = 1};
  PLAN(firestore, {"GET ", 200, "{\"documents\":[" LISTED("items/a") "," LISTED("items/b") "],\"nextPageToken\":\"p2\"}", NULL});
  OK(&s->w, aon_store_scan(s->store, &items, NULL, 0, NULL, hear, &h, &s->w.error));
  assert_string_equal(h.ids, "a ");
  PLAN(firestore, {"GET ", 200, "[]", NULL});
  finds(s, &items, "");
}

static void collections_within_documents_are_searched(void **state) {
  subject *s = *state;
  static const aon_collection deep = {.store = "main", .name = "deep", .path = "/a/{x}/b/{y}"},
                              fixed = {.store = "main", .name = "fixed", .path = "/c/{x}/d/one"},
                              odd = {.store = "main", .name = "odd", .path = "/c/{x}/{y}/one"};
  heard none = {0};
  PLAN(firestore, {"/a?", 200, "{\"documents\":[{\"name\":\"" ROOT "a/k\"},{\"name\":\"" ROOT "a/l\"}]}", NULL},
       {"/a/k/b?", 200, "{\"documents\":[" LISTED("a/k/b/1") "]}", NULL},
       {"/a/l/b?", 200, "{\"documents\":[" LISTED("a/l/b/2") "]}", NULL});
  finds(s, &deep, "k:1 l:2 ");
  assert_true(service_heard(firestore, "showMissing=true"));
  PLAN(firestore, {"/c?", 200, "{\"documents\":[{\"name\":\"" ROOT "c/k\"},{\"name\":\"" ROOT "c/l\"}]}", NULL},
       {":batchGet", 200, "[{\"found\":" LISTED("c/k/d/one") "}]", NULL}, AS_EMPTY);
  finds(s, &fixed, "k ");
  PLAN(firestore, {"/c?", 200, "{\"documents\":[{\"name\":\"" ROOT "c/k\"},{\"name\":\"" ROOT "c/l\"}]}", NULL},
       {":batchGet", 403, "{}", NULL});
  FAILS(&s->w, aon_store_scan(s->store, &fixed, NULL, 0, NULL, hear, &none, &s->w.error), AON_ENVIRONMENT, "no_permission");
  PLAN(firestore, {"/c?", 200, "{\"documents\":[{\"name\":\"" ROOT "c/k\"}]}", NULL});
  FAILS(&s->w, aon_store_scan(s->store, &odd, NULL, 0, NULL, hear, &none, &s->w.error), AON_USAGE, "not_supported");
  assert_string_equal(none.ids, "");
}

static void a_search_that_is_refused_fails(void **state) {
  subject *s = *state;
  heard h = {0};
  static const struct {
    int status;
    const char *body, *code;
    aon_result kind;
  } cases[] = {{403, "{}", "no_permission", AON_ENVIRONMENT},
               {404, "{}", "no_such_file", AON_ENVIRONMENT},
               {200, "{", "corrupt", AON_CORRUPT},
               {200, "{\"documents\":[{\"name\":\"" ROOT "items/a\",\"fields\":{\"x\":{\"y\":1}}}," LISTED("items/b") "]}", "bad_type",
                AON_PERMANENT}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    PLAN(firestore, {"GET ", cases[i].status, cases[i].body, NULL});
    FAILS(&s->w, aon_store_scan(s->store, &items, NULL, 0, NULL, hear, &h, &s->w.error), cases[i].kind, cases[i].code);
  }
  assert_string_equal(h.ids, "");
}

/* ---- housekeeping ---- */

static void old_markers_are_forgotten(void **state) {
  subject *s = *state;
  AON_BUFFER_CLEANUP aon_buffer many = {0};
  for (int i = 0; i < 400; i++)
    OK(&s->w, aon_buffer_format(&many, &s->w.error, "%s{\"document\":{\"name\":\"m%d\"}}", i ? "," : "[", i));
  OK(&s->w, aon_buffer_text(&many, "]", &s->w.error));
  PLAN(firestore, {":runQuery", 200, many.data, NULL}, {":commit", 200, "{}", NULL},
       {":runQuery", 200, "[{\"readTime\":\"t\"},{\"document\":{\"name\":\"last\"}}]", NULL}, {":commit", 200, "{}", NULL});
  OK(&s->w, aon_store_forget(s->store, INT64_MAX, &s->w.error));
  assert_true(service_heard(firestore, "{\"writes\":[{\"delete\":\"m0\"},{\"delete\":\"m1\"},"));
  assert_true(service_heard(firestore, "{\"writes\":[{\"delete\":\"last\"}]}"));
  assert_int_equal(service_left(firestore), 0);
  PLAN(firestore, {":runQuery", 200, "[{\"readTime\":\"t\"}]", NULL});
  OK(&s->w, aon_store_forget(s->store, 0, &s->w.error));
  assert_false(service_heard(firestore, ":commit"));
  PLAN(firestore, {":runQuery", 403, "{}", NULL});
  FAILS(&s->w, aon_store_forget(s->store, 0, &s->w.error), AON_ENVIRONMENT, "no_permission");
  PLAN(firestore, {":runQuery", 200, "[{\"document\":{\"name\":\"last\"}}]", NULL}, {":commit", 403, "{}", NULL});
  FAILS(&s->w, aon_store_forget(s->store, 0, &s->w.error), AON_PERMANENT, "no_permission");
}

static void tells(subject *s, const char *body, const char *headers, const char *wanted, bool healthy) {
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  bool is_healthy = !healthy;
  PLAN(firestore, {":runAggregationQuery", 200, body, headers});
  OK(&s->w, aon_store_examine(s->store, &report, &is_healthy, &s->w.error));
  assert_int_equal(is_healthy, healthy);
  if (!strstr(report.data, wanted))
    fail_msg("no “%s” in\n%s", wanted, report.data);
}

static void its_clock_and_markers_are_told(void **state) {
  subject *s = *state;
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  bool healthy;
  tells(s, "[{\"result\":{\"aggregateFields\":{\"n\":{\"integerValue\":\"7\"}}}}]", "", "markers of bulk operations: 7\n", true);
  tells(s, "{}", "", "clock: the service did not tell its own", true);
  tells(s, "[]", "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "behind ours, which is MUCH", false);
  tells(s, "[]", "Date: Wed, 06 Nov 2097 08:49:37 GMT\r\n", "before ours, which is MUCH", false);
  PLAN(firestore, {":runAggregationQuery", 423, "{}", NULL});
  FAILS(&s->w, aon_store_examine(s->store, &report, &healthy, &s->w.error), AON_ENVIRONMENT, "read_only");
}

static void what_can_not_be_asked_is_not_opened(void **state) {
  subject *s = *state;
  aon_store *none;
  static const char long_name[] = "//a-project-whose-name-is-longer-than-any-that-google-would-ever-give-away/"
                                  "and-a-database-whose-name-is-longer-than-what-is-kept-of-it-to-tell-it";
  for (size_t i = 0; i < 2; i++) {
    aon_store_config config = {.name = "main", .location = i ? long_name : "//demo-x/"};
    PLAN(firestore, {":batchGet", 401, "{}", NULL});
    FAILS(&s->w, aon_store_open(s->w.env, &aon_firestore_adapter, &config, &none, &s->w.error), AON_ENVIRONMENT, "no_permission");
  }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {CASE(what_stands_there_is_the_truth),
                                     CASE(a_resolving_that_is_refused_tells_why),
                                     CASE(a_marker_of_nobody_is_told),
                                     CASE(a_commit_that_is_not_confirmed_is_unknown),
                                     CASE(a_commit_that_is_refused_tells_why),
                                     CASE(a_refusal_is_explained),
                                     CASE(a_marker_in_the_way_fences),
                                     CASE(a_write_that_can_not_be_is_refused),
                                     CASE(a_damaged_image_is_refused),
                                     CASE(an_image_without_a_version_is_compared),
                                     CASE(a_batch_has_a_limit),
                                     CASE(an_open_transaction_is_read),
                                     CASE(an_answer_that_lacks_documents_is_none),
                                     CASE(pages_follow_each_other),
                                     CASE(collections_within_documents_are_searched),
                                     CASE(a_search_that_is_refused_fails),
                                     CASE(old_markers_are_forgotten),
                                     CASE(its_clock_and_markers_are_told),
                                     CASE(what_can_not_be_asked_is_not_opened)};
  firestore = service_start("FIRESTORE_EMULATOR_HOST");
  int failures = cmocka_run_group_tests_name("store firestore_answers", tests, NULL, NULL);
  service_stop(firestore);
  return failures;
}
