/* Bulk operations: submitting once, finding, listing, arrows, leases, cancelling, generations. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>

static int setup(void **state) {
  *state = world_make();
  return 0;
}

static int teardown(void **state) {
  world_end(*state);
  return 0;
}

static aon_submission submission_of(const char *id) {
  return (aon_submission){
      .id = id, .digest = "d1", .organization = "org1", .user = "ann", .kind = "import", .source = "a.xlsx", .state = AON_QUEUED};
}

static void submits_once(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  AON_ARENA_CLEANUP aon_arena arena = {0};
  char a[37], b[37];
  aon_submission one = submission_of(uuid(w, 1, a)), two = submission_of(uuid(w, 2, b));
  aon_bulk bulk;
  aon_error found;
  bool existed = true;
  one.idempotency_key = two.idempotency_key = "key";
  OK(aon_journal_submit(journal, &one, &arena, &bulk, &existed, error));
  assert_false(existed);
  assert_string_equal(bulk.id, a);
  assert_string_equal(bulk.source, "a.xlsx");
  assert_null(bulk.pack);
  assert_int_equal(bulk.epoch, 0);
  assert_string_equal(bulk.worker.boot_id, "");
  OK(aon_journal_submit(journal, &one, &arena, &bulk, &existed, error));
  assert_true(existed);
  OK(aon_journal_submit(journal, &two, &arena, &bulk, &existed, error)); /* the key wins over a new id */
  assert_true(existed);
  assert_string_equal(bulk.id, a);
  two.digest = "d2";
  FAILS(aon_journal_submit(journal, &two, &arena, &bulk, &existed, error), AON_USAGE, "idempotency_mismatch", found);
  assert_string_equal(found.held_by, a);
  one.digest = "d2";
  FAILS(aon_journal_submit(journal, &one, &arena, &bulk, &existed, error), AON_USAGE, "idempotency_mismatch", found);
  two.organization = "org2"; /* a key belongs to its organization */
  OK(aon_journal_submit(journal, &two, &arena, &bulk, &existed, error));
  assert_false(existed);
  FAILS(aon_journal_get(journal, "00000000-0000-4000-8000-000000000000", &arena, &bulk, error), AON_USAGE, "not_found", found);
  aon_journal_close(journal);
  journal = world_open(w); /* all of it is on the disk */
  OK(aon_journal_get(journal, b, &arena, &bulk, error));
  assert_string_equal(bulk.organization, "org2");
  assert_string_equal(bulk.idempotency_key, "key");
  aon_journal_close(journal);
}

static void finds_by_prefix(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  begin_bulk(w, journal, "abcd1111-0000-4000-8000-000000000001");
  begin_bulk(w, journal, "abcd2222-0000-4000-8000-000000000002");
  char id[37];
  aon_error found;
  OK(aon_journal_find(journal, "ABCD1", id, error));
  assert_string_equal(id, "abcd1111-0000-4000-8000-000000000001");
  OK(aon_journal_find(journal, "abcd2222-0000-4000-8000-000000000002", id, error));
  assert_string_equal(id, "abcd2222-0000-4000-8000-000000000002");
  FAILS(aon_journal_find(journal, "abcd", id, error), AON_USAGE, "ambiguous", found);
  assert_non_null(strstr(found.sentence, "abcd2222"));
  FAILS(aon_journal_find(journal, "abc", id, error), AON_USAGE, "not_found", found);
  FAILS(aon_journal_find(journal, "ffff", id, error), AON_USAGE, "not_found", found);
  FAILS(aon_journal_find(journal, "ab%_", id, error), AON_USAGE, "not_found", found);
  aon_journal_close(journal);
}

typedef struct listed {
  aon_journal *journal;
  size_t count, stop;
  char ids[300][37];
} listed;

static aon_result hear_bulk(void *context, const aon_bulk *bulk, aon_error *error) {
  listed *list = context;
  assert_true(list->count < 300);
  strcpy(list->ids[list->count++], bulk->id);
  if (list->journal) { /* a listener may write into what it lists */
    aon_result result = aon_journal_ask_cancel(list->journal, bulk->id, error);
    if (result)
      return result;
  }
  return list->stop && list->count == list->stop ? AON_END : AON_OK;
}

static void lists_newest_first_in_pages(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  enum { ALL = 150 }; /* more than two pages in memory */
  char id[37];
  for (unsigned i = 0; i < ALL; i++) {
    AON_ARENA_CLEANUP aon_arena arena = {0};
    aon_submission one = submission_of(uuid(w, i, id));
    char source[20];
    snprintf(source, sizeof source, "File %u.xlsx", i);
    one.source = source;
    one.organization = i % 2 ? "odd" : "even";
    one.state = i % 3 ? AON_QUEUED : AON_SCHEDULED;
    one.undoes = i == 7 ? uuid(w, 6, (char[37]){0}) : NULL;
    aon_bulk bulk;
    bool existed;
    OK(aon_journal_submit(journal, &one, &arena, &bulk, &existed, error));
  }
  listed *list = calloc(1, sizeof *list);
  list->journal = journal;
  OK(aon_journal_list(journal, NULL, hear_bulk, list, error));
  assert_int_equal(list->count, ALL);
  for (unsigned i = 0; i < ALL; i++)
    assert_string_equal(list->ids[i], uuid(w, ALL - 1 - i, id));
  list->journal = NULL;
  char last[37] = "";
  size_t seen = 0;
  do { /* pages by key */
    aon_bulk_filter page = {.limit = 40, .before_id = *last ? last : NULL};
    list->count = 0;
    OK(aon_journal_list(journal, &page, hear_bulk, list, error));
    for (size_t i = 0; i < list->count; i++)
      assert_string_equal(list->ids[i], uuid(w, (unsigned)(ALL - 1 - seen - i), id));
    seen += list->count;
    if (list->count)
      strcpy(last, list->ids[list->count - 1]);
  } while (list->count);
  assert_int_equal(seen, ALL);
  aon_state wanted[] = {AON_SCHEDULED, AON_HELD};
  aon_bulk_filter states = {.states = wanted, .state_count = 2, .organization = "odd"};
  list->count = 0;
  OK(aon_journal_list(journal, &states, hear_bulk, list, error));
  assert_int_equal(list->count, 25);
  aon_bulk_filter query = {.query = "FILE 14"};
  list->count = 0;
  OK(aon_journal_list(journal, &query, hear_bulk, list, error));
  assert_int_equal(list->count, 11);
  aon_bulk_filter undoes = {.undoes = uuid(w, 6, (char[37]){0})};
  list->count = 0;
  OK(aon_journal_list(journal, &undoes, hear_bulk, list, error));
  assert_int_equal(list->count, 1);
  list->count = 0;
  list->stop = 3;
  OK(aon_journal_list(journal, NULL, hear_bulk, list, error));
  assert_int_equal(list->count, 3);
  free(list);
  aon_journal_close(journal);
}

static int64_t generation(aon_journal *journal, const char *store) {
  int64_t value = -1;
  OK(aon_journal_generation(journal, store, &value, error));
  return value;
}

static void arrows_are_conditional(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  AON_ARENA_CLEANUP aon_arena arena = {0};
  char id[37];
  begin_bulk(w, journal, uuid(w, 1, id));
  aon_error found;
  FAILS(aon_journal_move(journal, id, 1, AON_LOGGED, AON_EXECUTING, NULL, error), AON_USAGE, "wrong_state", found);
  FAILS(aon_journal_move(journal, id, 2, AON_PLANNING, AON_LOGGED, NULL, error), AON_FENCED, "taken_over", found);
  assert_string_equal(found.bulk_id, id);
  int64_t operations = 7, progress = 3, until = 99;
  uint32_t attempt = 4;
  aon_bulk_change change = {.stores = "[{\"name\":\"main\",\"class\":2},{\"name\":\"realtime\",\"class\":2}]",
                            .summary = "{\"a\":1}",
                            .operations = &operations,
                            .images_until_ms = &until,
                            .attempt = &attempt};
  OK(aon_journal_move(journal, id, 1, AON_PLANNING, AON_LOGGED, &change, error));
  OK(aon_journal_move(journal, id, 1, AON_PLANNING, AON_LOGGED, &change, error)); /* doubled */
  OK(aon_journal_update(journal, id, 1, &(aon_bulk_change){.progress = &progress, .failure = "{\"b\":2}"}, error));
  FAILS(aon_journal_update(journal, id, 3, &(aon_bulk_change){.progress = &progress}, error), AON_FENCED, "taken_over", found);
  aon_bulk bulk;
  OK(aon_journal_get(journal, id, &arena, &bulk, error));
  assert_int_equal(bulk.state, AON_LOGGED);
  assert_int_equal(bulk.operations, 7);
  assert_int_equal(bulk.progress, 3);
  assert_int_equal(bulk.attempt, 4);
  assert_int_equal(bulk.images_until_ms, 99);
  assert_string_equal(bulk.summary, "{\"a\":1}");
  assert_string_equal(bulk.failure, "{\"b\":2}");
  assert_true(bulk.lease_until_ms > 0);
  assert_int_equal(bulk.finished_ms, 0);
  assert_int_equal(generation(journal, "main"), 0);
  int64_t lease = bulk.lease_until_ms;
  w->skew_ms += 5000;
  go(journal, id, AON_LOGGED, AON_EXECUTING);
  OK(aon_journal_get(journal, id, &arena, &bulk, error));
  assert_true(bulk.lease_until_ms >= lease + 5000); /* an arrow renews the lease */
  assert_int_equal(generation(journal, "main"), 1);
  lease = bulk.lease_until_ms;
  w->skew_ms += 5000;
  go(journal, id, AON_LOGGED, AON_EXECUTING); /* doubled: not raised again, … */
  OK(aon_journal_get(journal, id, &arena, &bulk, error));
  assert_true(bulk.lease_until_ms >= lease + 5000); /* … but the lease is */
  assert_int_equal(generation(journal, "realtime"), 1);
  go(journal, id, AON_EXECUTING, AON_COMMITTING);
  assert_int_equal(generation(journal, "main"), 1);
  go(journal, id, AON_COMMITTING, AON_COMMITTED);
  assert_int_equal(generation(journal, "main"), 2);
  assert_int_equal(generation(journal, "elsewhere"), 0);
  OK(aon_journal_get(journal, id, &arena, &bulk, error));
  assert_true(bulk.finished_ms > 0);
  assert_int_equal(bulk.lease_until_ms, 0); /* the terminal arrow frees the lease */
  assert_string_equal(bulk.worker.boot_id, "");
  aon_journal_close(journal);
}

static void leases_fence(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  AON_ARENA_CLEANUP aon_arena arena = {0};
  char id[37];
  begin_bulk(w, journal, uuid(w, 1, id));
  aon_process self = w->env.ops->process_self(w), other = self;
  other.pid = 1;
  aon_bulk bulk;
  aon_error found;
  int64_t until, before;
  bool cancel = true;
  FAILS(aon_journal_claim(journal, id, &other, &arena, &bulk, error), AON_BUSY, "busy", found);
  assert_non_null(strstr(found.held_by, "process"));
  OK(aon_journal_renew(journal, id, 1, &before, &cancel, error));
  assert_false(cancel);
  w->skew_ms += 20000;
  OK(aon_journal_renew(journal, id, 1, &until, &cancel, error));
  assert_true(until >= before + 20000);
  w->skew_ms += 20000; /* past the first lease, within the renewed one */
  FAILS(aon_journal_claim(journal, id, &other, &arena, &bulk, error), AON_BUSY, "busy", found);
  w->skew_ms += 11000;
  OK(aon_journal_claim(journal, id, &other, &arena, &bulk, error));
  assert_int_equal(bulk.epoch, 2);
  assert_int_equal(bulk.worker.pid, 1);
  assert_int_equal(bulk.state, AON_PLANNING);
  FAILS(aon_journal_renew(journal, id, 1, &until, &cancel, error), AON_FENCED, "taken_over", found);
  FAILS(aon_journal_move(journal, id, 1, AON_PLANNING, AON_LOGGED, NULL, error), AON_FENCED, "taken_over", found);
  FAILS(aon_journal_claim(journal, id, &self, &arena, &bulk, error), AON_BUSY, "busy", found);
  w->dead_pid = 1; /* a worker that is proved dead has no lease */
  OK(aon_journal_claim(journal, id, &self, &arena, &bulk, error));
  assert_int_equal(bulk.epoch, 3);
  OK(aon_journal_ask_cancel(journal, id, error));
  OK(aon_journal_renew(journal, id, 3, &until, &cancel, error));
  assert_true(cancel);
  OK(aon_journal_update(journal, id, 3, &(aon_bulk_change){.free_lease = true}, error));
  FAILS(aon_journal_renew(journal, id, 3, &until, &cancel, error), AON_FENCED, "lease_free", found);
  OK(aon_journal_claim(journal, id, &other, &arena, &bulk, error)); /* nobody had it */
  assert_int_equal(bulk.epoch, 4);
  OK(aon_journal_move(journal, id, 4, AON_PLANNING, AON_ROLLED_BACK, NULL, error));
  OK(aon_journal_ask_cancel(journal, id, error)); /* too late: nothing to do */
  OK(aon_journal_get(journal, id, &arena, &bulk, error));
  assert_false(bulk.cancel_asked);
  FAILS(aon_journal_ask_cancel(journal, "nobody", error), AON_USAGE, "not_found", found);
  aon_journal_close(journal);
}

static void counts_every_call(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  uint64_t before = w->steps;
  char id[37];
  begin_bulk(w, journal, uuid(w, 1, id));
  go(journal, id, AON_PLANNING, AON_LOGGED);
  assert_int_equal(w->steps, before + 2);
  aon_journal_close(journal);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(submits_once, setup, teardown),
      cmocka_unit_test_setup_teardown(finds_by_prefix, setup, teardown),
      cmocka_unit_test_setup_teardown(lists_newest_first_in_pages, setup, teardown),
      cmocka_unit_test_setup_teardown(arrows_are_conditional, setup, teardown),
      cmocka_unit_test_setup_teardown(leases_fence, setup, teardown),
      cmocka_unit_test_setup_teardown(counts_every_call, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
