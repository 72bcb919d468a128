/* Uploads that wait, and the worker that takes them, where the n-th allocation of ours, step or statement of SQLite, or call to a file fails.
 *
 * An upload is queued or not, never in part: queued again after a failure it is there once. A worker says why it could not; the next one
 * finds the upload where it is, and brings it to an end that is true: committed with all of its rows, or another end with none and the
 * reason. A report is fetched whole or not at all. AON_FULL=1: each n, else all of the first and some of the rest. */
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "coordinator/worker.h"
#include "failing_files.h"

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

static void each_fault_while_it_is_queued(void **state) {
  (void)state;
  for (int kind = 0; kind < KINDS; kind++)
    for (int nth = 1;; nth = calls_next(nth, 3)) {
      place p;
      aon_error error = AON_ERROR_INIT;
      place_make(&p, good);
      tries("queueing", kind, nth);
      calls_fail(kind, nth);
      aon_result result = queue(&p, &error);
      bool failed = calls_end();
      says_why(result, &error);
      assert_int_equal(rows(&p), 0);
      queue_well(&p);
      assert_int_equal(worked_off(&p), AON_COMMITTED);
      assert_int_equal(rows(&p), 2);
      place_end(&p);
      if (!failed)
        break;
    }
}

/* ---- working ---- */

static void worked_with_faults(const char *csv, bool right) {
  for (int kind = 0; kind < KINDS; kind++)
    for (int nth = 1;; nth = calls_next(nth, 3)) {
      place p;
      aon_error error = AON_ERROR_INIT;
      uint64_t taken = 0;
      place_make(&p, csv);
      queue_well(&p);
      tries(right ? "working" : "rejecting", kind, nth);
      calls_fail(kind, nth);
      aon_result result = work(&p, &taken, &error);
      bool failed = calls_end();
      says_why(result, &error);
      ends_true(&p, right);
      place_end(&p);
      if (!failed)
        break;
    }
}

static void each_fault_while_it_is_worked_on(void **state) {
  (void)state;
  worked_with_faults(good, true);
}

static void each_fault_while_it_is_rejected(void **state) {
  (void)state;
  worked_with_faults(wrong, false);
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

int main(void) {
  if (!getenv("AON_PACKS")) {
    printf("skipped: coordinator work: AON_PACKS does not name the folder of packs\n");
    return 77;
  }
  const struct CMUnitTest tests[] = {TEST(each_fault_while_it_is_queued), TEST(each_fault_while_it_is_worked_on),
                                     TEST(each_fault_while_it_is_rejected), TEST(a_report_is_fetched_whole_or_not_at_all)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
