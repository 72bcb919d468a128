/* What the MongoDB store makes of a server that refuses, loses its answers, or answers what nobody expects. The answer to one command after
 * the other is put in the place of the server's (the driver's functions are looked up by name, base/library.h); all else is asked of the
 * server (tests/servers/mongodb, set). Said to be alone, the same server shows the store's single writes and their conditions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/document.h"
#include "mongodb_world.h"

#define PASS (-1) /* the server's own */
#define LOST (-2) /* nobody answers */
#define MISSING 26
#define EXISTS 48
#define CONFLICT 112
#define NO_TRANSACTION 251
#define REFUSED 13
#define UNABLE 20

typedef struct answer {
  const char *command;
  int code;          /* 0: it succeeds */
  const char *reply; /* relaxed extended JSON, ' for "; NULL: {'ok': 1} */
} answer;

/* ---- answers ---- */

static struct {
  answer answers[12];
  size_t count, next;
} plan;

static bson_t *read_json(const char *text) {
  char json[2000];
  bson_error_t why;
  snprintf(json, sizeof json, "%s", text);
  for (char *c = json; *c; c++)
    if (*c == '\'')
      *c = '"';
  bson_t *document = bson_new_from_json((const uint8_t *)json, -1, &why);
  if (!document)
    fail_msg("%s: %s", text, why.message);
  return document;
}

static const answer *due(const char *command) {
  if (plan.next == plan.count || strcmp(plan.answers[plan.next].command, command))
    return NULL;
  const answer *found = &plan.answers[plan.next++];
  return found->code == PASS ? NULL : found;
}

static bool give(const answer *planned, bson_t *reply, bson_error_t *error) {
  bson_t *made = read_json(planned->reply ? planned->reply : "{'ok': 1}");
  bson_copy_to(made, reply);
  bson_destroy(made);
  if (planned->code == LOST)
    bson_set_error(error, MONGOC_ERROR_STREAM, MONGOC_ERROR_STREAM_SOCKET, "the answer is lost");
  else if (planned->code)
    bson_set_error(error, MONGOC_ERROR_SERVER, (uint32_t)planned->code, "refused");
  return !planned->code;
}

static bool answering(mongoc_client_t *client, const char *database, const bson_t *command, const mongoc_read_prefs_t *how,
                      const bson_t *options, bson_t *reply, bson_error_t *error) {
  bson_iter_t at;
  const answer *planned = bson_iter_init(&at, command) && bson_iter_next(&at) ? due(bson_iter_key(&at)) : NULL;
  return planned ? give(planned, reply, error) : mongoc_client_command_with_opts(client, database, command, how, options, reply, error);
}

/* What is refused was not committed. */
static bool committing(mongoc_client_session_t *session, bson_t *reply, bson_error_t *error) {
  const answer *planned = due("commit");
  return planned ? give(planned, reply, error) : mongoc_client_session_commit_transaction(session, reply, error);
}

void *__real_dlsym(void *library, const char *name);
void *__wrap_dlsym(void *library, const char *name);
void *__wrap_dlsym(void *library, const char *name) {
  return !strcmp(name, "mongoc_client_command_with_opts")            ? (void *)answering
         : !strcmp(name, "mongoc_client_session_commit_transaction") ? (void *)committing
                                                                     : __real_dlsym(library, name);
}

static void plan_(const answer *answers, size_t count) {
  assert_true(count <= sizeof plan.answers / sizeof *plan.answers);
  memcpy(plan.answers, answers, count * sizeof *answers);
  plan.count = count;
  plan.next = 0;
}
#define PLAN(...) plan_((const answer[]){__VA_ARGS__}, sizeof((const answer[]){__VA_ARGS__}) / sizeof(answer))
#define ALL_ASKED() assert_int_equal(plan.next, plan.count)

/* ---- a store ---- */

typedef struct subject {
  world w;
  mdb_world mdb;
  aon_store *store;
  aon_transaction *transaction;
  aon_collection items;
} subject;

#define CONNECTING                                                                                                                         \
  { "hello", PASS, NULL }
#define AS_ALONE                                                                                                                           \
  CONNECTING, { "hello", 0, "{'ok': 1, 'isWritablePrimary': true}" }

static int set_up(void **state) {
  subject *s = calloc(1, sizeof *s);
  plan.count = plan.next = 0;
  world_open(&s->w);
  mdb_world_open(&s->mdb);
  s->w.timeout_ms = 8000;
  s->items = (aon_collection){.store = "main", .name = "items"};
  *state = s;
  return 0;
}

static int tear_down(void **state) {
  subject *s = *state;
  ALL_ASKED();
  plan.count = plan.next = 0;
  if (s->store)
    aon_store_close(s->store);
  mdb_world_close(&s->mdb);
  world_close(&s->w);
  free(s);
  return 0;
}

static void open_it(subject *s) { s->store = world_store(&s->w, &aon_mongodb_adapter, NULL, "main", s->mdb.location, true); }

/* Without the decorator. */
static aon_result try_opening(subject *s, const char *location, aon_store **ret_store) {
  aon_store_config config = {.name = "main", .location = location, .create = true, .timeout_ms = 8000, .transaction_bytes = 5000};
  return aon_store_open(s->w.env, &aon_mongodb_adapter, &config, ret_store, &s->w.error);
}

/* ---- what it can do ---- */

static void what_it_says_of_itself_is_taken(void **state) {
  subject *s = *state;
  static const struct {
    answer answers[4];
    const char *database, *line;
    aon_store_class is;
  } cases[] = {
      {{CONNECTING, {"hello", 0, "{'ok': 1, 'setName': 5, 'msg': 'isdbgrid'}"}}, "mongodb::127.0.0.1", "replica set behind mongos", 2},
      {{CONNECTING, {"hello", 0, "{'ok': 1, 'setName': 's', 'hosts': ['h:1', 'h:2']}"}}, "mongodb:s:h:1/", "replica set s", 2},
      {{CONNECTING, {"hello", 0, "{'ok': 1, 'setName': 's', 'hosts': []}"}}, "mongodb:s:127.0.0.1", "replica set s", 2},
      {{CONNECTING, {"hello", 0, "{'ok': 1, 'setName': 's', 'hosts': [5]}"}}, "mongodb:s:127.0.0.1", "replica set s", 2},
      {{CONNECTING, {"hello", 0, "{'ok': 1, 'msg': 'another'}"}}, "mongodb::127.0.0.1", "MongoDB", 4},
      {{CONNECTING, {"hello", 0, "{'ok': 1, 'msg': 5}"}, {"buildInfo", 0, "{'ok': 1, 'version': '7.0', 'ferretdb': {}}"}},
       "mongodb::127.0.0.1",
       "FerretDB as MongoDB 7.0, conditional writes",
       4},
      {{AS_ALONE, {"find", 0, NULL}}, "mongodb::", "conditions: the whole document", 4},
      {{AS_ALONE, {"find", UNABLE, NULL}}, "mongodb::", "conditions: property by property", 4},
      {{CONNECTING, {"getParameter", 0, "{'ok': 1, 'transactionLifetimeLimitSeconds': 5}"}}, "mongodb:", "at most 5 s long", 2},
      {{CONNECTING, {"getParameter", 0, "{'ok': 1, 'transactionLifetimeLimitSeconds': 0}"}}, "mongodb:", "at most 60 s long", 2},
      {{CONNECTING, {"getParameter", REFUSED, NULL}}, "mongodb:", "at most 60 s long", 2},
      {{CONNECTING, {"getParameter", 0, "{'ok': 1, 'transactionLifetimeLimitSeconds': 9000000000}"}},
       "mongodb:",
       "at most 9000000000 s",
       2}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    AON_BUFFER_CLEANUP aon_buffer report = {0};
    bool healthy;
    size_t count = 0;
    while (count < 4 && cases[i].answers[count].command)
      count++;
    plan_(cases[i].answers, count);
    OK(&s->w, try_opening(s, s->mdb.location, &s->store));
    ALL_ASKED();
    const aon_store_caps *caps = aon_store_capabilities(s->store);
    assert_int_equal(caps->store_class, cases[i].is);
    assert_int_equal(caps->transaction_bytes, 5000);
    if (strncmp(caps->database, cases[i].database, strlen(cases[i].database)))
      fail_msg("%zu: %s", i, caps->database);
    OK(&s->w, aon_store_examine(s->store, &report, &healthy, &s->w.error));
    if (!strstr(report.data, cases[i].line))
      fail_msg("%zu: no “%s” in\n%s", i, cases[i].line, report.data);
    aon_store_close(s->store);
  }
  s->store = NULL;
}

static void what_can_not_do_it_is_not_opened(void **state) {
  subject *s = *state;
  static const struct {
    answer answers[4];
    const char *code;
    aon_result kind;
  } cases[] = {{{CONNECTING, {"hello", LOST, NULL}}, "unavailable", AON_TRANSIENT},
               {{CONNECTING, {"buildInfo", 0, "{'ok': 1, 'version': '3.6.0'}"}}, "not_supported", AON_ENVIRONMENT},
               {{CONNECTING, {"buildInfo", 0, "{'ok': 1, 'version': 5}"}}, "not_supported", AON_ENVIRONMENT},
               {{CONNECTING, {"buildInfo", LOST, NULL}}, "unavailable", AON_TRANSIENT},
               {{CONNECTING, {"find", UNABLE, NULL}}, "not_supported", AON_ENVIRONMENT},
               {{CONNECTING, {"find", REFUSED, NULL}}, "no_permission", AON_PERMANENT},
               {{CONNECTING, {"find", LOST, NULL}}, "unavailable", AON_TRANSIENT},
               {{AS_ALONE, {"find", LOST, NULL}}, "unavailable", AON_TRANSIENT}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    aon_store *none;
    size_t count = 0;
    while (count < 4 && cases[i].answers[count].command)
      count++;
    plan_(cases[i].answers, count);
    FAILS(&s->w, try_opening(s, s->mdb.location, &none), cases[i].kind, cases[i].code);
    ALL_ASKED();
  }
}

static void one_member_is_named_only(void **state) {
  subject *s = *state;
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  bool healthy;
  char location[200];
  snprintf(location, sizeof location, "%.*s", (int)strcspn(s->mdb.location, "?"), s->mdb.location);
  OK(&s->w, try_opening(s, location, &s->store));
  OK(&s->w, aon_store_examine(s->store, &report, &healthy, &s->w.error));
  assert_non_null(strstr(report.data, "one member is named only"));
}

/* ---- transactions ---- */

static aon_result begins(subject *s, uint32_t attempt, aon_marker marker) {
  aon_branch own = branch(attempt);
  return aon_store_begin(s->store, &own, marker, &s->transaction, &s->w.error);
}

/* Whose transaction keeps ours from its marker is ended by the session that was noted, if one that can be read was. */
static void a_marker_in_the_way_is_made_free(void **state) {
  subject *s = *state;
  open_it(s);
  static const char *const noted[] = {
      "{'ok': 1, 'value': {'lsid': {'id': {'$binary': {'base64': 'AAAAAAAAAAAAAAAAAAAAAA==', 'subType': '04'}}}}}",
      "{'ok': 1, 'value': {'lsid': 5}}",
      "{'ok': 1, 'value': {'lsid': {'id': '0123456789012345678901234567890123456789012345678901234567890123456789"
      "01234567890123456789012345678901234567890123456789012345678901234567890123456789'}}}",
      "{'ok': 1, 'value': null}"};
  for (uint32_t i = 0; i < 4; i++) {
    PLAN({"findAndModify", 0, noted[i]}, {"insert", CONFLICT, NULL}, {"killSessions", i ? PASS : REFUSED, NULL});
    plan.count -= i > 0; /* whom, nobody can say */
    FAILS(&s->w, begins(s, 1 + i, AON_MARKER_COMMIT), AON_TRANSIENT, NULL);
    ALL_ASKED();
  }
  PLAN({"findAndModify", LOST, NULL});
  FAILS(&s->w, begins(s, 9, AON_MARKER_COMMIT), AON_TRANSIENT, "unavailable");
  PLAN({"findAndModify", PASS, NULL}, {"insert", 0, NULL}); /* it does not say that it has written any */
  FAILS(&s->w, begins(s, 10, AON_MARKER_COMMIT), AON_FENCED, "fenced");
  OK(&s->w, begins(s, 11, AON_MARKER_COMMIT));
  PLAN({"commit", CONFLICT, NULL});
  FAILS(&s->w, aon_store_commit(s->store, s->transaction, &s->w.error), AON_TRANSIENT, NULL);
}

static void the_collection_of_markers_is_made_once(void **state) {
  subject *s = *state;
  open_it(s);
  PLAN({"listCollections", LOST, NULL});
  FAILS(&s->w, begins(s, 1, AON_MARKER_COMMIT), AON_TRANSIENT, "unavailable");
  aon_branch own = branch(1);
  aon_branch_state is;
  PLAN({"create", REFUSED, NULL});
  FAILS(&s->w, aon_store_resolve(s->store, &own, &is, &s->w.error), AON_PERMANENT, "no_permission");
  PLAN({"create", EXISTS, NULL});
  OK(&s->w, begins(s, 1, AON_MARKER_COMMIT));
  aon_store_abort(s->store, s->transaction);
}

/* The server has ended the transaction: the marker says who, and where that can't be read it is to be tried again. */
static void a_transaction_that_is_gone_tells_why(void **state) {
  subject *s = *state;
  static const struct {
    answer find;
    const char *code;
    aon_result kind;
  } cases[] = {{{"find", PASS, NULL}, "transaction_expired", AON_TRANSIENT},
               {{"find", 0, "{'ok': 1, 'cursor': {'firstBatch': [{'state': 'abort'}]}}"}, "fenced", AON_FENCED},
               {{"find", 0, "{'ok': 1, 'cursor': {'firstBatch': [{'state': 'commit'}]}}"}, "transaction_expired", AON_TRANSIENT},
               {{"find", 0, "{'ok': 1, 'cursor': {'firstBatch': [{'state': 5}]}}"}, "transaction_expired", AON_TRANSIENT},
               {{"find", REFUSED, NULL}, "transaction_expired", AON_TRANSIENT},
               {{"find", LOST, NULL}, "transaction_expired", AON_TRANSIENT}};
  open_it(s);
  for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    OK(&s->w, begins(s, 1 + i, AON_MARKER_COMMIT));
    PLAN({"commit", NO_TRANSACTION, NULL}, cases[i].find);
    FAILS(&s->w, aon_store_commit(s->store, s->transaction, &s->w.error), cases[i].kind, cases[i].code);
    ALL_ASKED();
  }
  OK(&s->w, begins(s, 20, AON_MARKER_COMMIT));
  PLAN({"commit", LOST, "{'errorLabels': ['UnknownTransactionCommitResult']}"}, {"commit", PASS, NULL}); /* asked again, it was done */
  OK(&s->w, aon_store_commit(s->store, s->transaction, &s->w.error));
  aon_branch own = branch(20);
  aon_branch_state is;
  OK(&s->w, aon_store_resolve(s->store, &own, &is, &s->w.error));
  assert_int_equal(is, AON_BRANCH_COMMITTED);
  OK(&s->w, begins(s, 21, AON_MARKER_COMMIT));
  PLAN({"commit", LOST, NULL});
  FAILS(&s->w, aon_store_commit(s->store, s->transaction, &s->w.error), AON_UNKNOWN, "commit_lost");
}

/* ---- resolving ---- */

static void resolves(subject *s, aon_result wanted, const char *code, aon_branch_state is) {
  static uint32_t attempt = 100;
  aon_branch own = branch(++attempt);
  aon_branch_state found = AON_BRANCH_PREPARED;
  aon_result result = aon_store_resolve(s->store, &own, &found, &s->w.error);
  ALL_ASKED();
  if (wanted) {
    FAILS(&s->w, result, wanted, code);
    return;
  }
  OK(&s->w, result);
  assert_int_equal(found, is);
}

#define MARKED(state) "{'ok': 1, 'value': {'state': " state "}}"
#define NOTED(lsid) "{'ok': 1, 'cursor': {'firstBatch': [{'lsid': " lsid "}]}}"

static void what_keeps_the_marker_is_ended_or_told(void **state) {
  subject *s = *state;
  open_it(s);
  resolves(s, AON_OK, NULL, AON_BRANCH_ABORTED);
  PLAN({"findAndModify", 0, MARKED("'commit'")});
  resolves(s, AON_OK, NULL, AON_BRANCH_COMMITTED);
  PLAN({"findAndModify", 0, MARKED("'undone'")});
  resolves(s, AON_OK, NULL, AON_BRANCH_UNDONE);
  PLAN({"findAndModify", 0, MARKED("'maybe'")});
  resolves(s, AON_CORRUPT, "bad_marker", 0);
  PLAN({"findAndModify", 0, MARKED("5")});
  resolves(s, AON_CORRUPT, "bad_marker", 0);
  PLAN({"findAndModify", 0, NULL});
  resolves(s, AON_CORRUPT, "bad_marker", 0);
  PLAN({"findAndModify", CONFLICT, NULL}, {"find", PASS, NULL});
  resolves(s, AON_OK, NULL, AON_BRANCH_ABORTED);
  PLAN({"findAndModify", CONFLICT, NULL}, {"find", 0, NOTED("5")}, {"findAndModify", CONFLICT, NULL});
  resolves(s, AON_OK, NULL, AON_BRANCH_OPEN);
  PLAN({"findAndModify", CONFLICT, NULL}, {"find", 0, NOTED("{'id': 1}")}, {"killSessions", REFUSED, NULL}, {"findAndModify", LOST, NULL});
  resolves(s, AON_TRANSIENT, "unavailable", 0);
  PLAN({"findAndModify", CONFLICT, NULL}, {"find", LOST, NULL});
  resolves(s, AON_OK, NULL, AON_BRANCH_OPEN);
  PLAN({"findAndModify", REFUSED, NULL});
  resolves(s, AON_PERMANENT, "no_permission", 0);
  PLAN({"findAndModify", PASS, NULL}, {"commit", LOST, NULL});
  resolves(s, AON_TRANSIENT, "unavailable", 0);
}

/* ---- collections and indexes ---- */

static void what_is_no_collection_is_refused(void **state) {
  subject *s = *state;
  static const char *const names[] = {"a$b", "system.views", "aon_markers",
                                      "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
                                      "012345678901234567890"};
  const aon_shape *shape;
  open_it(s);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    aon_collection in = {.store = "main", .name = names[i]};
    FAILS(&s->w, aon_store_describe(s->store, &in, &shape, &s->w.error), AON_REJECTED, "unknown_collection");
  }
  aon_collection odd = {.store = "main", .name = "odd"};
  PLAN({"listCollections", 0, "{'ok': 1, 'cursor': {'firstBatch': [{'name': 'odd', 'type': 'view'}]}}"});
  FAILS(&s->w, aon_store_describe(s->store, &odd, &shape, &s->w.error), AON_REJECTED, "unknown_collection");
  PLAN({"listCollections", 0, "{'ok': 1, 'cursor': {'firstBatch': [{'name': 'odd', 'type': 5}]}}"});
  OK(&s->w, aon_store_describe(s->store, &odd, &shape, &s->w.error));
  assert_true(shape->exists);
  PLAN({"listCollections", REFUSED, NULL}); /* who may not look is taken at his word */
  OK(&s->w, aon_store_describe(s->store, &s->items, &shape, &s->w.error));
  assert_true(shape->exists);
}

static void an_index_serves_or_does_not(void **state) {
  subject *s = *state;
  static const struct {
    const char *index;
    bool serves;
  } cases[] = {{"{'key': {'n': 1}}", true},
               {"{'key': {'$**': 1}}", true},
               {"{'key': {'n': 1}}, {'key': {'m': 1}}", true},
               {"{'key': {'n': 1}, 'hidden': false}", true},
               {"{'key': {'n': 1}, 'hidden': true}", false},
               {"{'key': {'n': 1}, 'partialFilterExpression': {}}", false},
               {"{'key': {'n': 1}, 'collation': {}}", false},
               {"{'key': {'m': 1, 'n': 1}}", false},
               {"{'key': {}}", false},
               {"{'key': 5}", false},
               {"{}", false},
               {"5", false}};
  aon_match by = {"n", text("1")}, unaskable = {"a.b", text("1")};
  const aon_shape *shape;
  char reply[200];
  OK(&s->w, try_opening(s, s->mdb.location, &s->store)); /* the decorator looks nothing up */
  PLAN({"listCollections", REFUSED, NULL});
  OK(&s->w, aon_store_describe(s->store, &s->items, &shape, &s->w.error));
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    aon_index index = {0};
    snprintf(reply, sizeof reply, "{'ok': 1, 'cursor': {'firstBatch': [%s]}}", cases[i].index);
    PLAN({"listIndexes", 0, reply}, {"count", 0, "{'ok': 1, 'n': 7}"});
    plan.count -= cases[i].serves;
    OK(&s->w, aon_store_look_up(s->store, &s->items, &by, &index, &s->w.error));
    ALL_ASKED();
    if (index.state != (cases[i].serves ? AON_INDEX_SERVES : AON_INDEX_MISSING))
      fail_msg("%s: %d", cases[i].index, (int)index.state);
    assert_int_equal(index.documents, cases[i].serves ? 0 : 7);
  }
  aon_index index = {0};
  OK(&s->w, aon_store_look_up(s->store, &s->items, &unaskable, &index, &s->w.error));
  assert_int_equal(index.state, AON_INDEX_POINTLESS);
  PLAN({"listIndexes", 0, NULL}, {"count", 0, NULL});
  OK(&s->w, aon_store_look_up(s->store, &s->items, &by, &index, &s->w.error));
  assert_int_equal(index.documents, 0);
  PLAN({"listIndexes", LOST, NULL});
  FAILS(&s->w, aon_store_look_up(s->store, &s->items, &by, &index, &s->w.error), AON_TRANSIENT, "unavailable");
  PLAN({"listIndexes", 0, NULL}, {"count", LOST, NULL});
  FAILS(&s->w, aon_store_look_up(s->store, &s->items, &by, &index, &s->w.error), AON_TRANSIENT, "unavailable");
}

static void the_index_of_a_key_is_looked_at(void **state) {
  subject *s = *state;
  static const char *const properties[] = {"region", "number", NULL};
  static const aon_store_key keys[] = {{"orders", properties}, {0}};
  static const struct {
    const char *index;
    bool unique;
  } cases[] = {{"{'unique': true, 'key': {'region': 1, 'number': 1}}", true},
               {"{'unique': true, 'key': {'number': 1}}", true},
               {"{'unique': true, 'key': {'number': 1, 'more': 1}}", false},
               {"{'unique': true, 'key': {'number': 1}, 'partialFilterExpression': {}}", false},
               {"{'unique': true, 'key': 5}", false},
               {"{'unique': true}", false},
               {"{'unique': false, 'key': {'number': 1}}", false},
               {"{'key': {'number': 1}}", false}};
  char reply[200];
  s->w.keys = keys;
  open_it(s);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    AON_BUFFER_CLEANUP aon_buffer report = {0};
    bool healthy;
    snprintf(reply, sizeof reply, "{'ok': 1, 'cursor': {'firstBatch': [%s]}}", cases[i].index);
    PLAN({"listIndexes", 0, reply});
    OK(&s->w, aon_store_examine(s->store, &report, &healthy, &s->w.error));
    if (healthy != cases[i].unique || !strstr(report.data, "no unique index") != cases[i].unique)
      fail_msg("%s: %s", cases[i].index, report.data);
  }
  static const struct {
    int code;
    bool healthy;
    const char *line;
  } failing[] = {
      {MISSING, true, "pool:"}, {REFUSED, false, "problem: main does not allow"}, {LOST, false, "problem: main could not be reached"}};
  for (size_t i = 0; i < 3; i++) {
    AON_BUFFER_CLEANUP aon_buffer report = {0};
    bool healthy;
    PLAN({"listIndexes", failing[i].code, NULL});
    OK(&s->w, aon_store_examine(s->store, &report, &healthy, &s->w.error));
    assert_int_equal(healthy, failing[i].healthy);
    assert_non_null(strstr(report.data, failing[i].line));
  }
}

/* A warning is told once, of a key that no index serves in a large collection; documents are found all the same. */
static void a_key_without_an_index_serves_slowly(void **state) {
  subject *s = *state;
  static const char *const properties[] = {"region", "number", NULL};
  static const aon_store_key keys[] = {{"orders", properties}, {0}};
  aon_collection orders = {.store = "main", .name = "orders"};
  bson_destroy(mdb_run(&s->mdb, "{'insert': 'orders', 'documents': [{'_id': 'a', 'region': 'north', 'number': 5}]}"));
  s->w.keys = keys;
  open_it(s);
  for (int i = 0; i < 2; i++) {
    PLAN({"listIndexes", 0, NULL}, {"count", 0, "{'ok': 1, 'n': 5000}"});
    aon_image found = look(&s->w, s->store, &orders, "north:5");
    assert_string_equal(json_of(&s->w, &found), "{\"region\":\"north\",\"number\":5}");
    assert_int_equal(plan.next, i ? 0 : 2);
    plan.count = plan.next = 0;
  }
  assert_null(look(&s->w, s->store, &orders, "north").bson); /* no document has one part */
}

/* ---- searching ---- */

static aon_result hear(void *context, const aon_found *found, aon_error *error) {
  char *heard = context;
  (void)error;
  strncat(heard, found->id.data, found->id.length);
  return AON_OK;
}

static void finds(subject *s, const aon_match *matches, size_t count, const char *const *properties, const char *wanted) {
  char heard[100] = "";
  OK(&s->w, aon_store_scan(s->store, &s->items, matches, count, properties, hear, heard, &s->w.error));
  assert_string_equal(heard, wanted);
}

static void searches_find_what_is_equal(void **state) {
  subject *s = *state;
  static const char *const odd[] = {"a.b", NULL}, *const some[] = {"_id", "n", "n", NULL};
  char long_value[80] = "";
  memset(long_value, 'x', sizeof long_value - 1);
  bson_destroy(mdb_run(&s->mdb, "{'insert': 'items', 'documents': [{'_id': 'a', 'n': 5, 't': true}, {'_id': 'b', 'n': '5', 't': 'true'}, "
                                "{'_id': 'c', 'n': 5.5, 't': false}]}"));
  open_it(s);
  PLAN({"listIndexes", 0, NULL}, {"count", 0, "{'ok': 1, 'n': 5000}"}); /* a warning, once */
  finds(s, &(aon_match){"n", text("5")}, 1, some, "ab");
  ALL_ASKED();
  finds(s, &(aon_match){"n", text("5")}, 1, NULL, "ab");
  finds(s, &(aon_match){"n", text("5.0")}, 1, NULL, ""); /* the server is asked for the number, which is not spelled so */
  finds(s, &(aon_match){"t", text("true")}, 1, NULL, "ab");
  finds(s, &(aon_match){"t", text("false")}, 1, odd, "c");
  finds(s, &(aon_match){"n", text(long_value)}, 1, some, "");
  finds(s, &(aon_match){"n", text("")}, 1, some, "");
  finds(s, &(aon_match){"a.b", text("1")}, 1, some, "");
  finds(s, &(aon_match){"$n", text("1")}, 1, some, "");
  finds(s, &(aon_match){"_id", text("a")}, 1, some, "a");
  aon_match twice[] = {{"n", text("5")}, {"n", text("6")}}, both[] = {{"n", text("5")}, {"t", text("true")}};
  finds(s, twice, 2, some, "");
  finds(s, both, 2, some, "ab");
}

/* ---- writing ---- */

static void a_write_that_meets_nothing_was_changed_meanwhile(void **state) {
  subject *s = *state;
  size_t failed = 9;
  open_it(s);
  aon_write create = write_of(&s->items, "a", (aon_image){0}, normal(&s->w, s->store, &s->items, "a", "{\"n\":1}"), 7);
  OK(&s->w, apply_now(&s->w, s->store, &create, 1));
  aon_write change =
      write_of(&s->items, "a", look(&s->w, s->store, &s->items, "a"), normal(&s->w, s->store, &s->items, "a", "{\"n\":2}"), 8);
  static const char *const replies[] = {"{'ok': 1, 'n': 0}", "{'ok': 1}", "{'ok': 1, 'n': 0, 'writeErrors': [{'index': 99, 'code': 121}]}",
                                        "{'ok': 1, 'n': 0, 'writeErrors': [{'code': 121}]}"};
  for (uint32_t i = 0; i < 4; i++) {
    OK(&s->w, begins(s, 1 + i, AON_MARKER_COMMIT));
    PLAN({"update", 0, replies[i]});
    aon_result result = aon_store_apply(s->store, s->transaction, &change, 1, NULL, &failed, &s->w.error);
    assert_int_equal(s->w.error.operation, 8);
    FAILS(&s->w, result, AON_PERMANENT, i < 2 ? "changed_meanwhile" : NULL);
    assert_int_equal(failed, 0);
    aon_store_abort(s->store, s->transaction);
  }
  assert_string_equal(
      json_of(&s->w, &(aon_image){.bson = look(&s->w, s->store, &s->items, "a").bson, .bson_length = change.expected.bson_length}),
      "{\"n\":1}");
}

static void what_can_not_be_written_is_refused(void **state) {
  subject *s = *state;
  aon_collection system = {.store = "main", .name = "system.x"}, none = {.store = "main", .name = "none"};
  size_t failed;
  open_it(s);
  aon_image one = normal(&s->w, s->store, &s->items, "a", "{\"n\":1}");
  aon_write writes[] = {write_of(&system, "a", (aon_image){0}, one, 3), write_of(&none, "a", one, (aon_image){0}, 4)};
  static const char *const codes[] = {"unknown_collection", "changed_meanwhile"};
  for (uint32_t i = 0; i < 2; i++) {
    OK(&s->w, begins(s, 1 + i, AON_MARKER_COMMIT));
    aon_result result = aon_store_apply(s->store, s->transaction, &writes[i], 1, NULL, &failed, &s->w.error);
    assert_int_equal(s->w.error.operation, 3 + i);
    FAILS(&s->w, result, AON_PERMANENT, codes[i]);
    aon_store_abort(s->store, s->transaction);
  }
}

/* More collections than are gathered: in their own order, all the same. */
static void many_collections_are_written(void **state) {
  subject *s = *state;
  enum { MANY = 34 };
  static char names[MANY][8];
  static aon_collection in[MANY];
  aon_write writes[MANY];
  open_it(s);
  for (int i = 0; i < MANY; i++) {
    snprintf(names[i], sizeof names[i], "c%d", i);
    in[i] = (aon_collection){.store = "main", .name = names[i]};
    writes[i] = write_of(&in[i], "a", (aon_image){0}, normal(&s->w, s->store, &in[i], "a", "{\"n\":1}"), i);
  }
  OK(&s->w, apply_now(&s->w, s->store, writes, MANY));
  for (int i = 0; i < MANY; i++)
    assert_non_null(look(&s->w, s->store, &in[i], "a").bson);
}

/* An empty timestamp is what was asked for, and not the server's time. */
static void an_empty_timestamp_stays(void **state) {
  subject *s = *state;
  bson_t document = BSON_INITIALIZER;
  aon_image wanted;
  open_it(s);
  aon_write create = write_of(&s->items, "a", (aon_image){0}, normal(&s->w, s->store, &s->items, "a", "{\"n\":1}"), 7);
  OK(&s->w, apply_now(&s->w, s->store, &create, 1));
  BSON_APPEND_TIMESTAMP(&document, "s", 1, 0);
  BSON_APPEND_TIMESTAMP(&document, "u", 0, 1);
  BSON_APPEND_TIMESTAMP(&document, "t", 0, 0);
  OK(&s->w, aon_store_normalise(s->store, &s->items, text("a"), &document, &s->w.arena, &wanted, &s->w.error));
  bson_destroy(&document);
  aon_write change = write_of(&s->items, "a", look(&s->w, s->store, &s->items, "a"), wanted, 8);
  OK(&s->w, apply_now(&s->w, s->store, &change, 1));
  aon_image now = look(&s->w, s->store, &s->items, "a");
  assert_same(&s->w, &now, &wanted);
}

/* A store that goes with its transaction open leaves nothing, and nobody waiting. */
static void closed_in_a_transaction_nothing_is_kept(void **state) {
  subject *s = *state;
  aon_store *bare;
  aon_transaction *open;
  size_t failed;
  aon_branch own = branch(50);
  open_it(s);
  OK(&s->w, try_opening(s, s->mdb.location, &bare));
  aon_write create = write_of(&s->items, "a", (aon_image){0}, normal(&s->w, s->store, &s->items, "a", "{\"n\":1}"), 7);
  OK(&s->w, aon_store_begin(bare, &own, AON_MARKER_COMMIT, &open, &s->w.error));
  OK(&s->w, aon_store_apply(bare, open, &create, 1, NULL, &failed, &s->w.error));
  FAILS(&s->w, aon_store_forget(bare, 0, &s->w.error), AON_USAGE, "transaction_open");
  aon_store_close(bare);
  assert_null(look(&s->w, s->store, &s->items, "a").bson);
  OK(&s->w, apply_now(&s->w, s->store, &create, 1));
}

/* Without the decorator, which would end the test: what is over stays over, and who wants no sentence gets none. */
static void a_transaction_that_is_over_is_over(void **state) {
  subject *s = *state;
  aon_store *bare;
  aon_transaction *over;
  size_t failed;
  aon_branch own = branch(50);
  const aon_shape *shape;
  aon_collection nameless = {.store = "main", .name = ""};
  OK(&s->w, try_opening(s, s->mdb.location, &bare));
  aon_write create = write_of(&s->items, "a", (aon_image){0}, normal(&s->w, bare, &s->items, "a", "{\"n\":1}"), 7);
  OK(&s->w, aon_store_begin(bare, &own, AON_MARKER_COMMIT, &over, &s->w.error));
  OK(&s->w, aon_store_commit(bare, over, &s->w.error));
  FAILS(&s->w, aon_store_flush(bare, over, &s->w.error), AON_USAGE, "transaction_failed");
  FAILS(&s->w, aon_store_commit(bare, over, &s->w.error), AON_USAGE, "transaction_failed");
  FAILS(&s->w, aon_store_apply(bare, over, &create, 1, NULL, &failed, &s->w.error), AON_USAGE, "transaction_failed");
  aon_store_abort(bare, over);
  aon_store_abort(bare, NULL);
  own = branch(51);
  create.expected = create.wanted;
  OK(&s->w, aon_store_begin(bare, &own, AON_MARKER_COMMIT, &over, &s->w.error));
  assert_int_equal(aon_store_apply(bare, over, &create, 1, NULL, &failed, NULL), AON_PERMANENT);
  aon_store_abort(bare, over);
  FAILS(&s->w, aon_store_describe(bare, &nameless, &shape, &s->w.error), AON_REJECTED, "unknown_collection");
  aon_store_close(bare);
}

/* How many commands say whether writes of one kind were gathered: not where an index demands unique values of something else than the key. */
static void an_index_that_shows_the_order_keeps_it(void **state) {
  subject *s = *state;
  static const struct {
    const char *index;
    bool gathers;
  } cases[] = {{"{'key': {'_id': 1}}", true},
               {"", true},
               {"{'unique': true, 'key': {'_id': 1}}", true},
               {"{'unique': true, 'key': {'n': 1, '_id': 1}}", true},
               {"{'unique': true, 'key': {'n': 1, '_id': 1}, 'collation': {}}", false},
               {"{'unique': true, 'key': {'n': 1}}, {'key': {'_id': 1}}", false},
               {"{'unique': true, 'key': 5}", false}};
  aon_collection other = {.store = "main", .name = "other"}, again = {.store = "main", .name = "items"};
  char reply[200], ids[4][8];
  open_it(s);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    aon_write writes[4];
    for (size_t j = 0; j < 4; j++) {
      const aon_collection *in = j == 0 ? &s->items : j == 2 ? &again : &other;
      snprintf(ids[j], sizeof ids[j], "%zu-%zu", i, j);
      writes[j] = write_of(in, ids[j], (aon_image){0}, normal(&s->w, s->store, in, ids[j], "{\"n\":1}"), (int64_t)j);
    }
    snprintf(reply, sizeof reply, *cases[i].index ? "{'ok': 1, 'cursor': {'firstBatch': [%s]}}" : "{'ok': 1}%s", cases[i].index);
    aon_branch own = branch((uint32_t)(60 + i));
    size_t failed;
    OK(&s->w, aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &s->transaction, &s->w.error));
    PLAN({"listIndexes", 0, reply}, {"insert", PASS, NULL}, {"insert", PASS, NULL}, {"insert", PASS, NULL}, {"insert", PASS, NULL});
    OK(&s->w, aon_store_apply(s->store, s->transaction, writes, 4, NULL, &failed, &s->w.error));
    if (plan.next != (cases[i].gathers ? 3 : 5))
      fail_msg("%s: %zu commands", cases[i].index, plan.next);
    plan.count = plan.next = 0;
    for (size_t j = 0; j < 4; j++)
      strcat(ids[j], "b");
    for (size_t j = 0; j < 4; j++)
      writes[j].id = text(ids[j]);
    PLAN({"listIndexes", 0, NULL}); /* what is known is asked once in a transaction */
    OK(&s->w, aon_store_apply(s->store, s->transaction, writes, 4, NULL, &failed, &s->w.error));
    assert_int_equal(plan.next, 0);
    plan.count = 0;
    OK(&s->w, aon_store_commit(s->store, s->transaction, &s->w.error));
  }
}

/* What may refuse a document shows the order, too. */
static void a_validator_keeps_the_order(void **state) {
  subject *s = *state;
  aon_collection other = {.store = "main", .name = "other"};
  const aon_shape *shape;
  static const char *const ids[] = {"a", "b", "c", "d"};
  aon_write writes[4];
  size_t failed;
  open_it(s);
  PLAN({"listCollections", 0, "{'ok': 1, 'cursor': {'firstBatch': [{'name': 'items', 'options': {'validator': {}}}]}}"});
  OK(&s->w, aon_store_describe(s->store, &s->items, &shape, &s->w.error));
  for (size_t i = 0; i < 4; i++)
    writes[i] =
        write_of(i % 2 ? &other : &s->items, ids[i], (aon_image){0}, normal(&s->w, s->store, &s->items, ids[i], "{\"n\":1}"), (int64_t)i);
  OK(&s->w, begins(s, 90, AON_MARKER_COMMIT));
  PLAN({"insert", PASS, NULL}, {"insert", PASS, NULL}, {"insert", PASS, NULL}, {"insert", PASS, NULL});
  OK(&s->w, aon_store_apply(s->store, s->transaction, writes, 4, NULL, &failed, &s->w.error));
  ALL_ASKED();
  OK(&s->w, aon_store_commit(s->store, s->transaction, &s->w.error));
}

/* ---- a server alone ---- */

static aon_result apply_alone(subject *s, const aon_write *writes, size_t count, aon_write_state *states, size_t *ret_failed) {
  *ret_failed = 99;
  return aon_store_apply(s->store, NULL, writes, count, states, ret_failed, &s->w.error);
}

static void write_alone(subject *s) {
  static const char *const before = "{\"n\":1,\"a.b\":1,\"z\":null,\"l\":[1,2],\"o\":{\"x\":1},\"t\":\"x\"}";
  aon_write_state states[3];
  size_t failed;
  aon_write writes[3];
  static const char *const ids[] = {"a", "b", "c"};
  for (int i = 0; i < 3; i++)
    writes[i] = write_of(&s->items, ids[i], (aon_image){0}, normal(&s->w, s->store, &s->items, ids[i], before), i);
  OK(&s->w, apply_alone(s, writes, 3, states, &failed));
  for (int i = 0; i < 3; i++)
    writes[i] = write_of(&s->items, ids[i], look(&s->w, s->store, &s->items, ids[i]),
                         normal(&s->w, s->store, &s->items, ids[i], "{\"n\":2}"), 10 + i);
  /* Somebody writes the second one: those before it go out. */
  bson_destroy(mdb_run(&s->mdb, "{'update': 'items', 'updates': [{'q': {'_id': 'b'}, 'u': {'$set': {'n': 9}}}]}"));
  FAILS(&s->w, apply_alone(s, writes, 3, states, &failed), AON_PERMANENT, "changed_meanwhile");
  assert_int_equal(failed, 1);
  assert_int_equal(states[0], AON_WRITE_APPLIED);
  assert_int_equal(states[1], AON_WRITE_REFUSED);
  assert_int_equal(states[2], AON_WRITE_NOT_SENT);
  PLAN({"update", 0, "{'ok': 1, 'n': 0}"}); /* between our look and the write */
  FAILS(&s->w, apply_alone(s, &writes[2], 1, states, &failed), AON_PERMANENT, "changed_meanwhile");
  PLAN({"update", LOST, NULL});
  FAILS(&s->w, apply_alone(s, &writes[2], 1, states, &failed), AON_UNKNOWN, "no_reply");
  assert_int_equal(states[0], AON_WRITE_UNKNOWN);
  aon_write drop = write_of(&s->items, "c", writes[2].expected, (aon_image){0}, 20);
  OK(&s->w, apply_alone(s, &drop, 1, states, &failed));
  assert_null(look(&s->w, s->store, &s->items, "c").bson);
  assert_string_equal(json_of(&s->w, &(aon_image){.bson = look(&s->w, s->store, &s->items, "a").bson,
                                                  .bson_length = look(&s->w, s->store, &s->items, "a").bson_length}),
                      "{\"n\":2}");
}

static void conditions_compare_the_whole_document(void **state) {
  subject *s = *state;
  PLAN(AS_ALONE, {"find", 0, NULL});
  open_it(s);
  ALL_ASKED();
  write_alone(s);
  OK(&s->w, aon_store_forget(s->store, INT64_MAX, &s->w.error)); /* no markers */
}

static void conditions_compare_property_by_property(void **state) {
  subject *s = *state;
  const aon_shape *shape;
  PLAN(AS_ALONE, {"find", UNABLE, NULL});
  open_it(s);
  ALL_ASKED();
  PLAN({"listCollections", 0, "{'ok': 1, 'cursor': {'firstBatch': [{'name': 'items', 'options': {'collation': {'locale': 'en'}}}]}}"});
  OK(&s->w, aon_store_describe(s->store, &s->items, &shape, &s->w.error));
  write_alone(s);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  if (!mdb_there("store mongodb answers"))
    return 77;
  const struct CMUnitTest tests[] = {CASE(what_it_says_of_itself_is_taken),
                                     CASE(what_can_not_do_it_is_not_opened),
                                     CASE(one_member_is_named_only),
                                     CASE(a_marker_in_the_way_is_made_free),
                                     CASE(the_collection_of_markers_is_made_once),
                                     CASE(a_transaction_that_is_gone_tells_why),
                                     CASE(what_keeps_the_marker_is_ended_or_told),
                                     CASE(what_is_no_collection_is_refused),
                                     CASE(an_index_serves_or_does_not),
                                     CASE(the_index_of_a_key_is_looked_at),
                                     CASE(a_key_without_an_index_serves_slowly),
                                     CASE(searches_find_what_is_equal),
                                     CASE(a_write_that_meets_nothing_was_changed_meanwhile),
                                     CASE(what_can_not_be_written_is_refused),
                                     CASE(many_collections_are_written),
                                     CASE(an_empty_timestamp_stays),
                                     CASE(closed_in_a_transaction_nothing_is_kept),
                                     CASE(a_transaction_that_is_over_is_over),
                                     CASE(an_index_that_shows_the_order_keeps_it),
                                     CASE(a_validator_keeps_the_order),
                                     CASE(conditions_compare_the_whole_document),
                                     CASE(conditions_compare_property_by_property)};
  return cmocka_run_group_tests_name("store mongodb answers", tests, NULL, NULL);
}
