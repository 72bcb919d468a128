/* Uploads that wait, and the worker that takes them, where the n-th allocation of ours, step or statement of SQLite, or call to a file fails.
 *
 * An upload is queued or not, never in part: queued again after a failure it is there once. A worker says why it could not; the next one
 * finds the upload where it is, and brings it to an end that is true: committed with all of its rows, or another end with none and the
 * reason. A report is fetched whole or not at all. AON_FULL=1: each n, else all of the first and some of the rest. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "coordinator/worker.h"
#include "failing_files.h"
#include "store/fault.h"

#define KINDS (CALL_FILE + 1)

static const char good[] = "Contact ID,Name,Email,Newsletter\nc1,Ann,ann@example.com,yes\nc2,Bob,,no\n";
static const char wrong[] = "Contact ID,Name,Email,Newsletter\nc1,,ann@example.com,yes\nc2,Bob,not an address,maybe\n";
static const char id[] = "0b7f6a52-3c1e-4d0a-9f55-8f4f6f1f2a11";

static char about[80]; /* what is tried, for people */

static void tries(const char *what, int kind, int nth) {
  snprintf(about, sizeof about, "%s, %s %d", what, kind == CALL_FILE ? "file" : calls_name(kind), nth);
}

static void says_why(aon_result result, const aon_error *error) {
  if (result && (!error->code[0] || !error->sentence[0] || result == AON_USAGE || result == AON_REJECTED || result == AON_CORRUPT))
    fail_msg("%s: %s %s: %s", about, aon_result_name(result), error->code, error->sentence);
}

/* ---- an upload ---- */

static void put(FILE *file, uint32_t number, int bytes) {
  for (int i = 0; i < bytes; i++)
    fputc((int)(number >> (8 * i) & 0xff), file);
}

/* A zip with one stored file (APPNOTE.TXT 4.3.7, 4.3.12, 4.3.16). */
static void zip_it(const char *path, const char *csv) {
  static const char entry[] = "Contacts.csv";
  uint32_t length = (uint32_t)strlen(csv), sum = (uint32_t)crc32(0, (const unsigned char *)csv, length), name_length = sizeof entry - 1;
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  for (int central = 0; central < 2; central++) {
    put(file, central ? 0x02014b50 : 0x04034b50, 4);
    if (central)
      put(file, 20, 2);
    put(file, 20, 2), put(file, 0, 2), put(file, 0, 2), put(file, 0x21 << 16, 4), put(file, sum, 4), put(file, length, 4),
        put(file, length, 4);
    put(file, name_length, 2), put(file, 0, 2);
    if (central)
      put(file, 0, 2), put(file, 0, 2), put(file, 0, 2), put(file, 0, 4), put(file, 0, 4);
    fwrite(entry, 1, name_length, file);
    if (!central)
      fwrite(csv, 1, length, file);
  }
  put(file, 0x06054b50, 4), put(file, 0, 4), put(file, 1, 2), put(file, 1, 2), put(file, 46 + name_length, 4),
      put(file, 30 + name_length + length, 4);
  put(file, 0, 2);
  fclose(file);
}

/* ---- a world with a store for it ---- */

typedef struct place {
  world *w;
  aon_pack *pack;
  const char *packs[2];
  char upload[96], report[96];
  unsigned events; /* that the worker told */
} place;

static void place_make(place *p, const char *csv) {
  *p = (place){.w = world_new(), .packs = {getenv("AON_PACKS"), NULL}};
  world_memory(p->w, "crm", AON_CLASS_TRANSACTION, NULL);
  p->w->options.id = id;
  p->w->options.organization = "org1";
  snprintf(p->upload, sizeof p->upload, "%s/contacts.zip", p->w->folder);
  snprintf(p->report, sizeof p->report, "%s/told.zip", p->w->folder);
  zip_it(p->upload, csv);
  files_may_fail(p->w);
  OK(aon_pack_load(&p->w->env, "contacts", (const char *const *)p->packs, NULL, &p->pack, error));
  world_engine(p->w);
}

static void place_end(place *p) {
  aon_pack_close(p->pack);
  remove(p->upload);
  remove(p->report);
  world_free(p->w);
}

static aon_result queue(place *p, aon_error *error) {
  world_new_outcome(p->w);
  return aon_import_queue(p->w->engine, p->pack, "contacts", p->upload, &p->w->options, &p->w->outcome, error);
}

static void queue_well(place *p) {
  OK(queue(p, error));
  assert_int_equal(p->w->outcome.state, AON_QUEUED);
  assert_string_equal(p->w->outcome.bulk_id, id);
}

static void hear(void *context, const aon_work_event *event) {
  place *p = context;
  p->events++;
  if (event->kind == AON_WORK_TROUBLE || event->kind == AON_WORK_GIVEN_BACK || event->kind == AON_WORK_RECOVERED)
    assert_true(event->why && event->why[0]);
}

static aon_result work(place *p, uint64_t *ret_taken, aon_error *error) {
  aon_work_options options = {
      .user = "worker", .folder = p->w->folder, .packs = (const char *const *)p->packs, .until_empty = true, .hear = hear, .context = p};
  return aon_work(p->w->engine, &options, ret_taken, error);
}

/* Other workers, as long as it takes. */
static aon_state worked_off(place *p) {
  for (int i = 0; i < 10; i++) {
    world_die(p->w);
    world_engine(p->w);
    world_advance(p->w, 120000);
    OK(work(p, NULL, error));
    if (aon_state_terminal(world_state(p->w, id)))
      break;
  }
  return world_state(p->w, id);
}

static int rows(place *p) {
  return (world_get(p->w, "crm", "contacts", "c1")[0] != 0) + (world_get(p->w, "crm", "contacts", "c2")[0] != 0);
}

/* The end that the journal tells is so. */
static void ends_true(place *p, bool right) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_state state = worked_off(p);
  aon_bulk bulk;
  world_bulk(p->w, id, &arena, &bulk);
  bool judged = state == AON_COMMITTED || state == AON_REJECTED_STATE;
  if (!aon_state_terminal(state) || (judged && (state == AON_COMMITTED) != right) || rows(p) != (state == AON_COMMITTED ? 2 : 0))
    fail_msg("%s: %s, with %d rows", about, aon_state_name(state), rows(p));
  if (!judged)
    assert_true(bulk.failure && strstr(bulk.failure, "\"code\""));
}

/* ---- queueing ---- */

/* The nth call fails (the 0th: none); whether it came to that. */
typedef bool (*trial)(int kind, int nth);

static void fault_begin(int kind, int nth) {
  if (nth)
    calls_fail(kind, nth);
  else
    calls_watch(kind, 8);
}

/* With AON_CALLS_MORE also one call from each way in which such calls come about. */
static void each_fault(trial once) {
  bool more = calls_full() || getenv("AON_CALLS_MORE");
  for (int kind = 0; kind < KINDS; kind++) {
    const int *nths = NULL;
    if (more)
      once(kind, 0);
    for (int nth = 1; once(kind, nth);)
      nth = calls_next(nth, 3);
    for (size_t i = 0, count = more ? calls_ways(&nths) : 0; i < count; i++)
      once(kind, nths[i]);
  }
}

static bool queued_once(int kind, int nth) {
  place p;
  aon_error error = AON_ERROR_INIT;
  place_make(&p, good);
  tries("queueing", kind, nth);
  fault_begin(kind, nth);
  aon_result result = queue(&p, &error);
  bool failed = calls_end();
  says_why(result, &error);
  assert_int_equal(rows(&p), 0);
  queue_well(&p);
  assert_int_equal(worked_off(&p), AON_COMMITTED);
  assert_int_equal(rows(&p), 2);
  place_end(&p);
  return failed;
}

static void each_fault_while_it_is_queued(void **state) {
  (void)state;
  each_fault(queued_once);
}

/* ---- working ---- */

static bool worked_once(const char *csv, bool right, int kind, int nth) {
  place p;
  aon_error error = AON_ERROR_INIT;
  uint64_t taken = 0;
  place_make(&p, csv);
  queue_well(&p);
  tries(right ? "working" : "rejecting", kind, nth);
  fault_begin(kind, nth);
  aon_result result = work(&p, &taken, &error);
  bool failed = calls_end();
  says_why(result, &error);
  ends_true(&p, right);
  place_end(&p);
  return failed;
}

static bool worked_well_once(int kind, int nth) { return worked_once(good, true, kind, nth); }
static bool worked_wrong_once(int kind, int nth) { return worked_once(wrong, false, kind, nth); }

static void each_fault_while_it_is_worked_on(void **state) {
  (void)state;
  each_fault(worked_well_once);
}

static void each_fault_while_it_is_rejected(void **state) {
  (void)state;
  each_fault(worked_wrong_once);
}

/* ---- the report ---- */

static long bytes_of(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file)
    return -1;
  fseek(file, 0, SEEK_END);
  long bytes = ftell(file);
  fclose(file);
  return bytes;
}

static void a_report_is_fetched_whole_or_not_at_all(void **state) {
  (void)state;
  place p;
  char aside[104];
  uint64_t taken = 0;
  place_make(&p, wrong);
  queue_well(&p);
  OK(work(&p, &taken, error));
  assert_int_equal(taken, 1);
  assert_int_equal(world_state(p.w, id), AON_REJECTED_STATE);
  OK(aon_report_fetch(p.w->engine, id, p.report, error));
  long whole = bytes_of(p.report);
  assert_true(whole > 0);
  snprintf(aside, sizeof aside, "%s.new", p.report);
  for (int kind = 0; kind < KINDS; kind++)
    for (int nth = 1;; nth++) {
      aon_error error = AON_ERROR_INIT;
      tries("fetching its report", kind, nth);
      remove(p.report);
      world_close(p.w);
      world_engine(p.w);
      calls_fail(kind, nth);
      aon_result result = aon_report_fetch(p.w->engine, id, p.report, &error);
      bool failed = calls_end();
      says_why(result, &error);
      assert_int_equal(bytes_of(p.report), result ? -1 : whole);
      remove(aside); /* the one that could not be removed */
      if (!failed)
        break;
    }
  place_end(&p);
}

/* ---- a worker that is no different, but whose world is ---- */

static volatile sig_atomic_t stop;
static unsigned given_back, troubles, ended, back_after; /* the journal is there again after so many troubles */
static char last_why[400];

static void hear_and_stop(void *context, const aon_work_event *event) {
  place *p = context;
  hear(p, event);
  given_back += event->kind == AON_WORK_GIVEN_BACK;
  troubles += event->kind == AON_WORK_TROUBLE;
  if (back_after && troubles == back_after)
    calls_end();
  ended += event->kind == AON_WORK_ENDED;
  if (event->why)
    snprintf(last_why, sizeof last_why, "%s", event->why);
  bool recovered = event->kind == AON_WORK_RECOVERED && aon_state_terminal(event->state); /* by itself, of what it had to leave */
  ended += recovered;
  stop = ended || given_back == 2 || troubles > 30;
}

/* Nothing takes an hour. */
static void sleep_or_stop(void *context, int64_t ms) {
  world *w = context;
  w->ahead_ms += ms;
  w->slept_ms += ms;
  if (w->ahead_ms > 3600000)
    stop = 1;
}

/* As the program runs it: it goes on until it is stopped, which is when the upload ended, or was given back twice. */
static aon_result works_on(place *p, aon_error *error) {
  aon_work_options options = {
      .user = "worker", .folder = p->w->folder, .packs = (const char *const *)p->packs, .stop = &stop, .hear = hear_and_stop, .context = p};
  ((aon_env_ops *)p->w->env.ops)->sleep_ms = sleep_or_stop; /* the harness's own, on the heap */
  stop = 0;
  given_back = troubles = ended = 0;
  last_why[0] = 0;
  return aon_work(p->w->engine, &options, NULL, error);
}

/* A journal that fails is told, and tried again: the same worker brings the upload to its end. */
static void each_trouble_is_borne(void **state) {
  (void)state;
  for (int kind = CALL_STEP; kind <= CALL_STATEMENT; kind++)
    for (int nth = 1;; nth = calls_next(nth, 2)) {
      place p;
      place_make(&p, good);
      queue_well(&p);
      tries("bearing", kind, nth);
      world_close(p.w);
      world_engine(p.w);
      calls_fail(kind, nth);
      aon_error error = AON_ERROR_INIT;
      aon_result result = works_on(&p, &error);
      bool failed = calls_end();
      says_why(result, &error);
      if (result ? !failed : ended + given_back == 0) /* a start may fail; what has begun ends */
        fail_msg("%s: %s, %u ended, %u troubles: %s", about, aon_result_name(result), ended, troubles, last_why);
      ends_true(&p, true);
      place_end(&p);
      if (!failed)
        break;
    }
}

/* The journal is away for a while: each try waits longer, up to a limit, and the first that finds it goes on. */
static void troubles_are_waited_out(void **state) {
  (void)state;
  place p;
  place_make(&p, good);
  queue_well(&p);
  int64_t slept = p.w->slept_ms;
  back_after = 8;
  calls_fail_for_ever(1, NULL);
  OK(works_on(&p, error));
  calls_end();
  back_after = 0;
  assert_int_equal(troubles, 8);
  assert_true(p.w->slept_ms - slept >= 1000 + 2000 + 4000 + 8000 + 16000 + 3 * 30000);
  assert_int_equal(world_state(p.w, id), AON_COMMITTED);
  assert_int_equal(rows(&p), 2);
  place_end(&p);
}

/* Its store is another one than the submitter meant: it waits, untouched, and is looked at again after a while. */
static void another_store_of_that_name(void **state) {
  (void)state;
  place p;
  place_make(&p, good);
  world_config(p.w, "crm")->location = "memory://ann:secret@there/contacts?wait=1";
  world_close(p.w);
  world_engine(p.w);
  queue_well(&p);
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_bulk bulk;
  world_bulk(p.w, id, &arena, &bulk);
  assert_non_null(strstr(bulk.options, "\"place\":\"there/contacts\""));
  assert_null(strstr(bulk.options, "secret"));
  world_config(p.w, "crm")->location = "memory://there/others";
  world_close(p.w);
  world_engine(p.w);
  int64_t before = p.w->ahead_ms;
  OK(works_on(&p, error));
  assert_int_equal(given_back, 2);
  assert_true(p.w->ahead_ms - before >= 60000);
  assert_non_null(strstr(last_why, "is another one"));
  assert_int_equal(world_state(p.w, id), AON_QUEUED);
  assert_int_equal(rows(&p), 0);
  world_config(p.w, "crm")->location = "there/contacts"; /* how it is reached, and as whom, makes no other store of it */
  world_close(p.w);
  world_engine(p.w);
  assert_int_equal(worked_off(&p), AON_COMMITTED);
  assert_int_equal(rows(&p), 2);
  place_end(&p);
}

/* A pack that the submitter named by a path of its own is looked for by its name, too. */
static void a_pack_by_another_path(void **state) {
  (void)state;
  place p;
  place_make(&p, good);
  world_new_outcome(p.w);
  OK(aon_import_queue(p.w->engine, p.pack, "/nowhere/contacts.lua", p.upload, &p.w->options, &p.w->outcome, error));
  OK(work(&p, NULL, error));
  assert_int_equal(world_state(p.w, id), AON_COMMITTED);
  assert_int_equal(rows(&p), 2);
  place_end(&p);
}

static void give_up_soon(place *p) {
  p->w->config.give_up_ms = 600000;
  world_close(p->w);
  world_engine(p->w);
}

static void ends_failed(place *p, const char *code) {
  for (int i = 0; i < 40 && !aon_state_terminal(world_state(p->w, id)); i++) {
    world_advance(p->w, 60000);
    OK(work(p, NULL, error));
  }
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_bulk bulk;
  world_bulk(p->w, id, &arena, &bulk);
  if (!aon_state_terminal(bulk.state) || bulk.state == AON_COMMITTED || !bulk.failure || !strstr(bulk.failure, code))
    fail_msg("%s: %s", aon_state_name(bulk.state), bulk.failure ? bulk.failure : "no failure");
  assert_int_equal(rows(p), 0);
}

/* Which documents it needs others hold: it goes back again and again, but not for ever. */
static void locks_are_not_waited_for_for_ever(void **state) {
  (void)state;
  static const char line[] = "{\"store\":\"crm\",\"collection\":\"contacts\",\"id\":\"c1\",\"operation\":\"create\",\"data\":{\"n\":1}}\n";
  place p;
  place_make(&p, good);
  p.w->config.test_rollback_at = 0;
  p.w->options.hold_on_failure = true;
  p.w->options.id = NULL;
  give_up_soon(&p);
  OK(world_apply(p.w, line));
  assert_int_equal(p.w->outcome.state, AON_HELD);
  p.w->config.test_rollback_at = -1;
  p.w->options.hold_on_failure = false;
  p.w->options.id = id;
  p.w->options.lock_wait_ms = 100;
  give_up_soon(&p);
  queue_well(&p);
  uint64_t taken = 0;
  OK(work(&p, &taken, error));
  assert_int_equal(taken, 1);
  assert_int_equal(world_state(p.w, id), AON_QUEUED);
  ends_failed(&p, "locked");
  place_end(&p);
}

/* A store that can't be read: an upload goes back so many times, each time later, then it ends. */
static void a_store_away_ends_an_upload(void **state) {
  (void)state;
  place p;
  place_make(&p, good);
  world_close(p.w);
  aon_fault fault = {.inner = p.w->stores[0].adapter, .inner_options = p.w->stores[0].config.options, .kind = AON_TRANSIENT};
  p.w->stores[0].adapter = &aon_fault_adapter;
  p.w->stores[0].config.options = &fault;
  world_engine(p.w);
  fault.call = "read";
  fault.nth = 1;
  fault.for_ever = true;
  queue_well(&p);
  ends_failed(&p, "injected");
  fault.nth = 0;
  place_end(&p);
}

/* Files of killed workers go; what only looks like one stays. */
static void only_what_workers_left_is_removed(void **state) {
  (void)state;
  static const char *const names[] = {"upload-short", "upload-zzzzzzzz-3c1e-4d0a-9f55-8f4f6f1f2a11-1",
                                      "report-00000000-0000-4000-8000-000000000001-1", "report-0b7f6a52-3c1e-4d0a-9f55-8f4f6f1f2a11x1",
                                      "upload-0b7f6a52-3c1e-4d0a-9f55-8f4f6f1f2a11-7"};
  place p;
  char path[200];
  place_make(&p, good);
  queue_well(&p);
  for (size_t i = 0; i < 5; i++) {
    snprintf(path, sizeof path, "%s/%s", p.w->folder, names[i]);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fclose(file);
  }
  OK(work(&p, NULL, error));
  for (size_t i = 0; i < 5; i++) {
    snprintf(path, sizeof path, "%s/%s", p.w->folder, names[i]);
    assert_int_equal(bytes_of(path), i < 4 ? 0 : -1); /* the last was of this upload, in an epoch that is over */
  }
  assert_int_equal(world_state(p.w, id), AON_COMMITTED);
  place_end(&p);
}

static void an_upload_needs_an_organization(void **state) {
  (void)state;
  place p;
  place_make(&p, good);
  for (int empty = 0; empty < 2; empty++) {
    aon_error error = AON_ERROR_INIT;
    p.w->options.organization = empty ? "" : NULL;
    assert_int_equal(queue(&p, &error), AON_USAGE);
    assert_string_equal(error.code, "no_organization");
    error = (aon_error)AON_ERROR_INIT;
    assert_int_equal(aon_import(p.w->engine, p.pack, p.upload, NULL, &p.w->options, &p.w->outcome, &error), AON_USAGE);
    assert_string_equal(error.code, "no_organization");
  }
  assert_int_equal(rows(&p), 0);
  place_end(&p);
}

/* An empty file is kept, fetched and rejected as what it is. */
static void an_empty_file_is_a_file(void **state) {
  (void)state;
  place p;
  place_make(&p, good);
  FILE *file = fopen(p.upload, "wb");
  assert_non_null(file);
  fclose(file);
  queue_well(&p);
  OK(work(&p, NULL, error));
  assert_int_equal(world_state(p.w, id), AON_REJECTED_STATE);
  assert_int_equal(rows(&p), 0);
  place_end(&p);
}

/* What was queued by a newer program waits for a newer worker. */
static void a_newer_upload_waits(void **state) {
  (void)state;
  place p;
  place_make(&p, good);
  queue_well(&p);
  world_close(p.w);
  sqlite3 *journal;
  assert_int_equal(sqlite3_open(p.w->journal, &journal), SQLITE_OK);
  assert_int_equal(sqlite3_exec(journal, "update bulk set options = replace(options, '\"format\":1', '\"format\":2')", NULL, NULL, NULL),
                   SQLITE_OK);
  assert_int_equal(sqlite3_changes(journal), 1);
  sqlite3_close(journal);
  world_engine(p.w);
  OK(works_on(&p, error));
  assert_int_equal(given_back, 2);
  assert_non_null(strstr(last_why, "newer program"));
  assert_int_equal(world_state(p.w, id), AON_QUEUED);
  assert_int_equal(rows(&p), 0);
  place_end(&p);
}

int main(void) {
  if (!getenv("AON_PACKS")) {
    printf("skipped: coordinator work: AON_PACKS does not name the folder of packs\n");
    return 77;
  }
  const struct CMUnitTest tests[] = {TEST(each_fault_while_it_is_queued),
                                     TEST(each_fault_while_it_is_worked_on),
                                     TEST(each_fault_while_it_is_rejected),
                                     TEST(a_report_is_fetched_whole_or_not_at_all),
                                     TEST(each_trouble_is_borne),
                                     TEST(troubles_are_waited_out),
                                     TEST(another_store_of_that_name),
                                     TEST(a_pack_by_another_path),
                                     TEST(locks_are_not_waited_for_for_ever),
                                     TEST(a_store_away_ends_an_upload),
                                     TEST(only_what_workers_left_is_removed),
                                     TEST(an_upload_needs_an_organization),
                                     TEST(an_empty_file_is_a_file),
                                     TEST(a_newer_upload_waits)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
