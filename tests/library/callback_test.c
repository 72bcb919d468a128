/* Stores of the program's own, given as functions, beside SQLite files: what is done is taken back where another store refuses, and what
 * can't be taken back waits until nothing can refuse any more. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "aon/callback.h"
#include "world.h"

#define DOCUMENTS 16

/* A store in memory: "calendar" in the tests. */
typedef struct calendar {
  const world *w;
  struct {
    char id[40];
    bson_t *document;
  } documents[DOCUMENTS];
  char bulk[37];       /* of the last call */
  char calls[1024];    /* what was asked for, in order */
  const char *refuse;  /* perform of this id is refused */
  const char *lose;    /* perform of this id is done, and the reply lost, once */
  const char *stumble; /* perform of this id fails once, and may be tried again */
  const char *cancel;  /* the session is asked to stop while this id is performed */
  const char *die;     /* the process is killed while this id is performed */
} calendar;

static int place_of(calendar *c, aon_text id) {
  for (int i = 0; i < DOCUMENTS; i++)
    if (c->documents[i].document && strlen(c->documents[i].id) == id.length && !memcmp(c->documents[i].id, id.data, id.length))
      return i;
  return -1;
}

static void put(calendar *c, aon_text id, const bson_t *document) {
  int at = place_of(c, id);
  if (at >= 0) {
    bson_destroy(c->documents[at].document);
    c->documents[at].document = NULL;
  }
  for (at = 0; document && c->documents[at].document; at++)
    assert_true(at + 1 < DOCUMENTS);
  if (!document)
    return;
  snprintf(c->documents[at].id, sizeof c->documents[at].id, "%.*s", (int)id.length, id.data);
  c->documents[at].document = bson_copy(document);
}

static void note(calendar *c, const char *what, const aon_callback_operation *operation) {
  snprintf(c->bulk, sizeof c->bulk, "%s", operation->bulk_id ? operation->bulk_id : "none");
  static const char *const kinds[] = {"", "create", "update", "delete"};
  size_t used = strlen(c->calls);
  snprintf(c->calls + used, sizeof c->calls - used, "%s %s %s/%.*s; ", what, kinds[operation->kind], operation->collection,
           (int)operation->id.length, operation->id.data);
}

static bool once(const char **which, aon_text id) {
  bool hit = *which && strlen(*which) == id.length && !memcmp(*which, id.data, id.length);
  if (hit)
    *which = NULL;
  return hit;
}

static aon_result perform(void *context, const aon_callback_operation *operation, aon_error *error) {
  calendar *c = context;
  note(c, "do", operation);
  if (once(&c->die, operation->id))
    raise(SIGKILL);
  if (once(&c->cancel, operation->id))
    aon_session_cancel(c->w->session);
  if (once(&c->refuse, operation->id))
    return aon_fail(error, AON_PERMANENT, "full", "The calendar is full.");
  if (once(&c->stumble, operation->id))
    return aon_fail(error, AON_TRANSIENT, "unavailable", "The calendar does not answer.");
  put(c, operation->id, operation->after);
  return once(&c->lose, operation->id) ? aon_fail(error, AON_UNKNOWN, "no_reply", "The calendar hung up.") : AON_OK;
}

static aon_result undo(void *context, const aon_callback_operation *operation, aon_error *error) {
  (void)error;
  note(context, "undo", operation);
  put(context, operation->id, operation->before);
  return AON_OK;
}

static aon_result look_up(void *context, const char *collection, aon_text id, bson_t *document, bool *ret_exists, aon_error *error) {
  (void)collection;
  (void)error;
  calendar *c = context;
  int at = place_of(c, id);
  *ret_exists = at >= 0;
  return at < 0 || bson_concat(document, c->documents[at].document) ? AON_OK : aon_fail_memory(error);
}

/* A store of effects: "mail". It looks whether all that it tells about is there for everybody. */
typedef struct mail {
  const world *w;
  int sent, early;
  int refuse_times;
  bool die;            /* the process is killed while it posts */
  aon_session *reader; /* another session, which looks for the letter while it is posted; NULL */
  char *committed, *latest;
} mail;

static char *document_of(aon_session *session, const char *store, const char *collection, const char *id, aon_session_isolation isolation) {
  aon_error error = AON_ERROR_INIT;
  char *document = NULL;
  if (aon_session_get(session, store, collection, id, NULL, isolation, &document, &error))
    fail_msg("%s/%s/%s: %s", store, collection, id, error.sentence);
  return document;
}

static aon_result post(void *context, const aon_callback_operation *operation, aon_error *error) {
  mail *m = context;
  if (m->die)
    raise(SIGKILL);
  assert_true(operation->kind == AON_CREATE && !operation->before && operation->after);
  if (m->refuse_times) {
    m->refuse_times--;
    return aon_fail(error, AON_PERMANENT, "no_such_address", "Nobody has that address.");
  }
  if (m->reader) {
    m->committed = document_of(m->reader, "mail", "letters", "l1", AON_ISOLATION_COMMITTED);
    m->latest = document_of(m->reader, "mail", "letters", "l1", AON_ISOLATION_LATEST);
  }
  char *order = world_document(m->w, "main", "orders", "o1"), *theme = world_document(m->w, "settings", "themes", "t1");
  m->early += !order || !theme;
  m->sent++;
  free(order);
  free(theme);
  return AON_OK;
}

typedef struct office {
  world w;
  calendar days, rooms;
  mail mail;
  aon_callbacks days_callbacks, rooms_callbacks, mail_callbacks;
} office;

static void register_one(office *o, const char *name, bool stamp, const aon_callbacks *callbacks) {
  aon_error error = AON_ERROR_INIT;
  aon_store_config config = {.name = name, .stamp = stamp, .options = callbacks};
  if (aon_session_store(o->w.session, &aon_callback_adapter, &config, &error))
    fail_msg("%s", error.sentence);
}

static void open_office(office *o) {
  world_open(&o->w);
  register_one(o, "days", false, &o->days_callbacks);
  register_one(o, "rooms", true, &o->rooms_callbacks);
  register_one(o, "mail", false, &o->mail_callbacks);
}

static int set_up(void **state) {
  office *o = calloc(1, sizeof *o);
  world_make(&o->w);
  o->mail.w = o->days.w = o->rooms.w = &o->w;
  o->days_callbacks =
      (aon_callbacks){.version = AON_CALLBACKS_VERSION, .context = &o->days, .perform = perform, .undo = undo, .read = look_up};
  o->rooms_callbacks = o->days_callbacks;
  o->rooms_callbacks.context = &o->rooms;
  o->mail_callbacks = (aon_callbacks){.version = AON_CALLBACKS_VERSION, .context = &o->mail, .perform = post};
  open_office(o);
  json_decref(world_apply(&o->w,
                          LINE("settings", "themes", "t1", "create", "{\"colour\":\"red\"}") LINE(
                              "days", "meetings", "m0", "create", "{\"at\":9}") LINE("days", "meetings", "m1", "create", "{\"at\":10}"),
                          NULL, 0));
  o->days.calls[0] = 0;
  *state = o;
  return 0;
}

static int tear_down(void **state) {
  office *o = *state;
  calendar *both[] = {&o->days, &o->rooms};
  world_drop(&o->w);
  for (size_t c = 0; c < 2; c++)
    for (int i = 0; i < DOCUMENTS; i++)
      if (both[c]->documents[i].document)
        bson_destroy(both[c]->documents[i].document);
  free(o);
  return 0;
}

static int32_t hour_of(calendar *c, const char *id) {
  bson_iter_t at;
  int place = place_of(c, (aon_text){id, strlen(id)});
  return place >= 0 && bson_iter_init_find(&at, c->documents[place].document, "at") ? (int32_t)bson_iter_as_int64(&at) : -1;
}

static const char lines[] = LINE("days", "meetings", "m1", "update", "{\"at\":11}")
    LINE("main", "orders", "o1", "create", "{\"item\":\"bolt\"}") LINE("days", "meetings", "m2", "create", "{\"at\":12}")
        DELETE_LINE("days", "meetings", "m0") LINE("mail", "letters", "l1", "create", "{\"to\":\"ann@example.com\"}")
            LINE("settings", "themes", "t1", "update", "{\"colour\":\"blue\"}") LINE("rooms", "bookings", "r1", "create", "{\"at\":11}");
#define OPERATIONS 7
#define LETTER 4

static void expect_before(office *o, const char *rows) {
  char *now = world_rows(&o->w);
  assert_string_equal(now, rows);
  assert_int_equal(hour_of(&o->days, "m0"), 9);
  assert_int_equal(hour_of(&o->days, "m1"), 10);
  assert_int_equal(hour_of(&o->days, "m2"), -1);
  assert_int_equal(hour_of(&o->rooms, "r1"), -1);
  assert_int_equal(o->mail.sent, 0);
  free(now);
}

static void expect_after(office *o) {
  assert_int_equal(hour_of(&o->days, "m0"), -1);
  assert_int_equal(hour_of(&o->days, "m1"), 11);
  assert_int_equal(hour_of(&o->days, "m2"), 12);
  assert_int_equal(hour_of(&o->rooms, "r1"), 11);
  assert_int_equal(o->mail.sent, 1);
  assert_int_equal(o->mail.early, 0);
}

static void all_of_them_do_their_part(void **state) {
  office *o = *state;
  json_t *ended = world_apply(&o->w, lines, NULL, 0);
  expect_after(o);
  assert_string_equal(o->rooms.bulk, text_of(ended, "bulkOperationId")); /* the one that is set to stamp */
  assert_string_equal(o->days.bulk, "none");
  json_decref(ended);
  assert_string_equal(o->days.calls, "do update meetings/m1; do create meetings/m2; do delete meetings/m0; ");
}

static void taken_back_where_another_store_refuses(void **state) {
  office *o = *state;
  char *rows = world_rows(&o->w);
  o->rooms.refuse = "r1";
  json_t *back = world_apply(&o->w, lines, NULL, 3);
  assert_string_equal(text_of(back, "state"), "rolled_back");
  assert_string_equal(text_of(json_object_get(back, "failure"), "code"), "full");
  expect_before(o, rows);
  assert_string_equal(o->days.calls, "do update meetings/m1; do create meetings/m2; do delete meetings/m0; "
                                     "undo delete meetings/m0; undo create meetings/m2; undo update meetings/m1; ");
  json_decref(back);
  free(rows);
}

static void taken_back_where_sqlite_refuses(void **state) {
  office *o = *state;
  world_sql(&o->w, "settings.db", "create trigger no before update on themes begin select raise(abort, 'not now'); end");
  char *rows = world_rows(&o->w);
  json_decref(world_apply(&o->w, lines, NULL, 3));
  expect_before(o, rows);
  free(rows);
}

static void every_forced_failure_leaves_all_as_before(void **state) {
  office *o = *state;
  char *rows = world_rows(&o->w);
  for (int64_t k = 0; k < OPERATIONS; k++) {
    aon_session_run run = AON_SESSION_RUN_INIT;
    run.test_mode = true;
    run.fail_at = k;
    json_t *back = world_apply(&o->w, lines, &run, 3);
    assert_string_equal(text_of(back, "state"), "rolled_back");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(back, "failure"), "operation")), k);
    expect_before(o, rows);
    json_decref(back);
  }
  free(rows);
}

static void an_effect_that_fails_after_the_decision_needs_a_person(void **state) {
  office *o = *state;
  o->mail.refuse_times = 1;
  json_t *result = world_apply(&o->w, lines, NULL, 4);
  assert_string_equal(text_of(result, "state"), "commit_failed");
  const json_t *conflict = json_array_get(json_object_get(result, "conflicts"), 0);
  assert_string_equal(text_of(conflict, "store"), "mail");
  assert_string_equal(text_of(conflict, "documentId"), "l1");
  char *order = world_document(&o->w, "main", "orders", "o1");
  assert_non_null(order);
  aon_error error = AON_ERROR_INIT;
  char *text = NULL;
  int status = -1;
  json_t *settled = world_result(aon_session_resolve(o->w.session, text_of(result, "bulkOperationId"), "mail/letters/l1",
                                                     AON_CHOICE_KEEP_THEIRS, NULL, NULL, &text, &status, &error),
                                 &text, &error);
  assert_string_equal(text_of(settled, "state"), "committed");
  assert_int_equal(status, 0);
  json_decref(settled);
  json_decref(result);
  free(order);
}

static void asked_to_stop_it_puts_everything_back(void **state) {
  office *o = *state;
  char *rows = world_rows(&o->w);
  o->days.cancel = "m2";
  json_t *back = world_apply(&o->w, lines, NULL, 3);
  assert_string_equal(text_of(json_object_get(back, "failure"), "code"), "cancelled");
  expect_before(o, rows);
  json_decref(back);
  json_decref(world_apply(&o->w, lines, NULL, 0)); /* it was for that call only */
  expect_after(o);
  free(rows);
}

/* Another process with the same stores applies the lines, and is killed on the way. The session of ours is opened anew afterwards. */
static void apply_and_die(office *o, const char *these) {
  aon_session_close(o->w.session);
  o->w.session = NULL;
  pid_t child = fork();
  assert_true(child >= 0);
  if (!child) {
    char *text = NULL;
    open_office(o);
    aon_result result = aon_session_apply(o->w.session, these, strlen(these), NULL, &text, NULL, NULL);
    _exit(result ? 1 : 0); /* not reached where it dies as it should */
  }
  int how;
  assert_int_equal(waitpid(child, &how, 0), child);
  assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
  open_office(o);
}

static void expect_recovered(office *o) {
  aon_error error = AON_ERROR_INIT;
  uint64_t recovered = 0, open = 9, person = 9;
  if (aon_session_recover(o->w.session, NULL, &recovered, &open, &person, &error))
    fail_msg("%s", error.sentence);
  assert_true(recovered == 1 && open == 0 && person == 0);
}

static void killed_before_the_decision_all_is_as_before(void **state) {
  office *o = *state;
  char *rows = world_rows(&o->w);
  o->days.die = "m1";
  apply_and_die(o, lines);
  expect_recovered(o);
  expect_before(o, rows);
  free(rows);
}

static void killed_after_the_decision_the_letter_still_goes_out(void **state) {
  office *o = *state;
  o->mail.die = true;
  apply_and_die(o, LINE("mail", "letters", "l1", "create", "{}") LINE("main", "orders", "o1", "create", "{}"));
  o->mail.die = false;
  expect_recovered(o);
  assert_int_equal(o->mail.sent, 1);
  assert_int_equal(o->mail.early, 0);
}

static void a_store_that_stumbles_is_asked_again(void **state) {
  office *o = *state;
  o->days.stumble = "m2";
  json_decref(world_apply(&o->w, lines, NULL, 0));
  expect_after(o);
}

static void a_lost_reply_is_looked_at_and_not_done_twice(void **state) {
  office *o = *state;
  o->days.lose = "m2";
  json_decref(world_apply(&o->w, lines, NULL, 0));
  expect_after(o);
  assert_string_equal(o->days.calls, "do update meetings/m1; do create meetings/m2; do delete meetings/m0; ");
}

/* An undo is a bulk operation of its own, so the opposite is performed; a letter that went out stays out. */
static void an_undo_of_the_whole_performs_the_opposite(void **state) {
  office *o = *state;
  char *rows = world_rows(&o->w);
  json_t *done = world_apply(&o->w, lines, NULL, 0);
  o->days.calls[0] = 0;
  aon_error error = AON_ERROR_INIT;
  char *text = NULL;
  int status = -1;
  json_decref(world_result(aon_session_undo(o->w.session, text_of(done, "bulkOperationId"), NULL, &text, &status, &error), &text, &error));
  assert_int_equal(status, 0);
  assert_int_equal(o->mail.sent, 1);
  o->mail.sent = 0;
  expect_before(o, rows);
  assert_null(strstr(o->days.calls, "undo"));
  json_decref(done);
  free(rows);
}

static void a_held_one_goes_on_where_it_stopped(void **state) {
  office *o = *state;
  o->rooms.refuse = "r1";
  aon_session_run run = AON_SESSION_RUN_INIT;
  run.hold_on_failure = true;
  json_t *waiting = world_apply(&o->w, lines, &run, 6);
  assert_int_equal(o->mail.sent, 0);
  aon_session_close(o->w.session);
  open_office(o);
  aon_error error = AON_ERROR_INIT;
  char *text = NULL;
  int status = -1;
  json_decref(
      world_result(aon_session_resume(o->w.session, text_of(waiting, "bulkOperationId"), NULL, &text, &status, &error), &text, &error));
  assert_int_equal(status, 0);
  expect_after(o);
  json_decref(waiting);
}

typedef struct seen {
  const char *store, *collection, *id, *before, *meanwhile, *after; /* NULL: not there */
} seen;

static const seen all_seen[] = {{"days", "meetings", "m1", "{\"at\":10}", "{\"at\":11}", "{\"at\":11}"},
                                {"days", "meetings", "m0", "{\"at\":9}", NULL, NULL},
                                {"days", "meetings", "m2", NULL, "{\"at\":12}", "{\"at\":12}"},
                                {"days", "meetings", "m3", NULL, NULL, NULL},
                                {"main", "orders", "o1", NULL, NULL, "{\"item\":\"bolt\"}"},
                                {"settings", "themes", "t1", "{\"colour\":\"red\"}", "{\"colour\":\"red\"}", "{\"colour\":\"blue\"}"}};

static void expect_seen(aon_session *reader, const seen *what, aon_session_isolation isolation, const char *wanted) {
  char *document = document_of(reader, what->store, what->collection, what->id, isolation);
  if (document && wanted ? strcmp(document, wanted) != 0 : document != wanted)
    fail_msg("%s/%s/%s: %s, not %s", what->store, what->collection, what->id, document ? document : "nothing", wanted ? wanted : "nothing");
  aon_result_text_free(document);
}

/* Held with a part of it in: another session reads what was there before, until all of it is in. */
static void a_reader_sees_all_of_it_or_nothing(void **state) {
  office *o = *state, other = *o;
  open_office(&other);
  o->rooms.refuse = "r1";
  aon_session_run run = AON_SESSION_RUN_INIT;
  run.hold_on_failure = true;
  json_t *waiting = world_apply(&o->w, lines, &run, 6);
  for (size_t i = 0; i < sizeof all_seen / sizeof *all_seen; i++) {
    expect_seen(other.w.session, &all_seen[i], AON_ISOLATION_COMMITTED, all_seen[i].before);
    expect_seen(other.w.session, &all_seen[i], AON_ISOLATION_LATEST, all_seen[i].meanwhile);
  }
  o->mail.reader = other.w.session;
  aon_error error = AON_ERROR_INIT;
  char *text = NULL;
  json_decref(
      world_result(aon_session_resume(o->w.session, text_of(waiting, "bulkOperationId"), NULL, &text, NULL, &error), &text, &error));
  for (size_t i = 0; i < sizeof all_seen / sizeof *all_seen; i++) {
    expect_seen(other.w.session, &all_seen[i], AON_ISOLATION_COMMITTED, all_seen[i].after);
    expect_seen(other.w.session, &all_seen[i], AON_ISOLATION_LATEST, all_seen[i].after);
  }
  assert_string_equal(o->mail.committed, "{\"to\":\"ann@example.com\"}"); /* decided, though it was not posted yet */
  assert_null(o->mail.latest);
  aon_result_text_free(o->mail.committed);
  aon_session_close(other.w.session);
  json_decref(waiting);
}

static void what_the_program_changed_by_itself_is_refused(void **state) {
  office *o = *state;
  bson_t *moved = BCON_NEW("at", BCON_INT32(7));
  json_t *done = world_apply(&o->w, LINE("days", "meetings", "m1", "update", "{\"at\":11}"), NULL, 0);
  put(&o->days, AON_TEXT("m1"), moved);
  aon_error error = AON_ERROR_INIT;
  char *text = NULL;
  int status = -1;
  json_decref(world_result(aon_session_undo(o->w.session, text_of(done, "bulkOperationId"), NULL, &text, &status, &error), &text, &error));
  assert_int_equal(status, 2);
  assert_int_equal(hour_of(&o->days, "m1"), 7);
  json_decref(done);
  bson_destroy(moved);
}

static void effects_can_only_be_created(void **state) {
  office *o = *state;
  json_t *rejected = world_apply(&o->w, LINE("mail", "letters", "l1", "update", "{\"to\":\"x\"}"), NULL, 2);
  assert_string_equal(text_of(json_array_get(json_object_get(rejected, "errors"), 0), "code"), "not_found");
  assert_int_equal(o->mail.sent, 0);
  json_decref(rejected);
}

static void stores_tell_of_themselves(void **state) {
  office *o = *state;
  aon_error error = AON_ERROR_INIT;
  char *report = NULL;
  bool healthy = false;
  assert_int_equal(aon_session_examine(o->w.session, "mail", &report, &healthy, &error), AON_OK);
  assert_true(healthy);
  assert_non_null(strstr(report, "wait for the decision"));
  aon_result_text_free(report);
}

static aon_result nothing(void *context, const aon_callback_operation *operation, aon_error *error) {
  (void)context;
  (void)operation;
  (void)error;
  return AON_OK;
}

static void wrong_options_are_told(void **state) {
  office *o = *state;
  const aon_callbacks without = {.version = AON_CALLBACKS_VERSION}, future = {.version = AON_CALLBACKS_VERSION + 1, .perform = nothing};
  const aon_callbacks *wrong[] = {NULL, &without, &future};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    aon_error error = AON_ERROR_INIT;
    char *text = NULL;
    aon_session_close(o->w.session);
    world_open(&o->w);
    register_one(o, "days", false, wrong[i]);
    json_t *result = NULL;
    int status = -1;
    aon_result called = aon_session_apply(o->w.session, lines, strlen(lines), NULL, &text, &status, &error);
    if (!called)
      result = world_result(called, &text, &error);
    assert_true(status == 1 || status == 2);
    assert_true(called ? error.sentence[0] != 0 : json_integer_value(json_object_get(result, "errorCount")) > 0);
    json_decref(result);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(all_of_them_do_their_part, set_up, tear_down),
      cmocka_unit_test_setup_teardown(taken_back_where_another_store_refuses, set_up, tear_down),
      cmocka_unit_test_setup_teardown(taken_back_where_sqlite_refuses, set_up, tear_down),
      cmocka_unit_test_setup_teardown(every_forced_failure_leaves_all_as_before, set_up, tear_down),
      cmocka_unit_test_setup_teardown(an_effect_that_fails_after_the_decision_needs_a_person, set_up, tear_down),
      cmocka_unit_test_setup_teardown(asked_to_stop_it_puts_everything_back, set_up, tear_down),
      cmocka_unit_test_setup_teardown(killed_before_the_decision_all_is_as_before, set_up, tear_down),
      cmocka_unit_test_setup_teardown(killed_after_the_decision_the_letter_still_goes_out, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_store_that_stumbles_is_asked_again, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_lost_reply_is_looked_at_and_not_done_twice, set_up, tear_down),
      cmocka_unit_test_setup_teardown(an_undo_of_the_whole_performs_the_opposite, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_held_one_goes_on_where_it_stopped, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_reader_sees_all_of_it_or_nothing, set_up, tear_down),
      cmocka_unit_test_setup_teardown(what_the_program_changed_by_itself_is_refused, set_up, tear_down),
      cmocka_unit_test_setup_teardown(effects_can_only_be_created, set_up, tear_down),
      cmocka_unit_test_setup_teardown(stores_tell_of_themselves, set_up, tear_down),
      cmocka_unit_test_setup_teardown(wrong_options_are_told, set_up, tear_down),
  };
  return cmocka_run_group_tests_name("library callbacks", tests, NULL, NULL);
}
