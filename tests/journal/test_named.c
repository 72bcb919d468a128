/* Named locks with leases and fencing epochs, batches, audit events. */
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

static int64_t take(aon_journal *journal, const char *name, const char *holder, bool shared) {
  int64_t epoch = 0;
  OK(aon_journal_lock(journal, name, holder, shared, 30000, &epoch, error));
  return epoch;
}

static void refused(aon_journal *journal, const char *name, const char *holder, bool shared, const char *by) {
  int64_t epoch;
  aon_error found;
  FAILS(aon_journal_lock(journal, name, holder, shared, 30000, &epoch, error), AON_BUSY, "locked", found);
  assert_string_equal(found.held_by, by);
  assert_non_null(strstr(found.sentence, "since 2"));
}

static void exclusive_and_shared(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  int64_t first = take(journal, "report", "ann", false);
  assert_int_equal(take(journal, "report", "ann", false), first); /* renewed */
  refused(journal, "report", "bob", false, "ann");
  refused(journal, "report", "bob", true, "ann");
  take(journal, "other", "bob", false);
  OK(aon_journal_unlock(journal, "report", "ann", first, error));
  OK(aon_journal_unlock(journal, "report", "ann", first, error)); /* doubled */
  w->skew_ms += 3000;                                             /* bob no longer waits for it */
  int64_t second = take(journal, "report", "cid", true);
  assert_true(second > first); /* fencing: never the same again */
  take(journal, "report", "dot", true);
  refused(journal, "report", "ann", false, "cid");
  refused(journal, "report", "cid", false, "dot"); /* no upgrade while others read */
  aon_error found;
  FAILS(aon_journal_unlock(journal, "report", "cid", first, error), AON_FENCED, "lock_lost", found);
  aon_journal_close(journal);
}

static void waiting_writers_go_first(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  int64_t reader = take(journal, "doc", "r1", true);
  refused(journal, "doc", "writer", false, "r1");
  refused(journal, "doc", "r2", true, "writer"); /* a later reader */
  take(journal, "doc", "r1", true);              /* who reads already may go on */
  OK(aon_journal_unlock(journal, "doc", "r1", reader, error));
  refused(journal, "doc", "r2", true, "writer");
  int64_t epoch = take(journal, "doc", "writer", false);
  OK(aon_journal_unlock(journal, "doc", "writer", epoch, error));
  take(journal, "doc", "r2", true);
  refused(journal, "doc", "writer", false, "r2");
  w->skew_ms += 2500; /* a writer that has given up doesn't keep readers out */
  take(journal, "doc", "r3", true);
  aon_journal_close(journal);
}

static void leases_expire_and_are_swept(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  int64_t mine = take(journal, "a", "ann", false), epoch;
  OK(aon_journal_lock(journal, "b", "ann", false, 0, &epoch, error)); /* 5 minutes */
  w->skew_ms += 31000;
  uint64_t freed;
  OK(aon_journal_sweep_locks(journal, &freed, error));
  assert_int_equal(freed, 1);
  refused(journal, "b", "bob", false, "ann");
  int64_t theirs = take(journal, "a", "bob", false);
  assert_true(theirs > mine);
  OK(aon_journal_unlock(journal, "a", "ann", mine, error)); /* what was lost can't be given back … */
  refused(journal, "a", "cid", false, "bob");               /* … and takes nothing from its new holder */
  w->skew_ms += 31000;
  assert_true(take(journal, "a", "bob", false) > theirs); /* after its lease it is a new lock */
  w->skew_ms += 300000;
  OK(aon_journal_sweep_locks(journal, &freed, error));
  assert_int_equal(freed, 2);
  aon_journal_close(journal);
}

static void a_person_releases(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  aon_error found;
  take(journal, "a", "ann", true);
  take(journal, "a", "bob", true);
  OK(aon_journal_unlock(journal, "a", NULL, 0, error));
  take(journal, "a", "cid", false);
  FAILS(aon_journal_unlock(journal, "nothing", NULL, 0, error), AON_USAGE, "not_found", found);
  aon_journal_close(journal);
}

static void documents_and_bulk_operations_exclude_each_other(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char id[37];
  planned plan = {0};
  aon_error found;
  begin_bulk(w, journal, uuid(w, 1, id));
  int64_t name = take(journal, "property:main/users/u1#/name", "ann", false);
  take(journal, "property:main/users/u1#/phone", "bob", false); /* another property */
  refused(journal, "property:main/users/u1#/name", "bob", false, "ann");
  refused(journal, "document:main/users/u1", "cid", false, "ann");
  take(journal, "document:main/users/u2", "cid", true);
  plan_add(&plan, 0, 'c', &users, "u0");
  plan_add(&plan, 1, 'u', &users, "u1");
  FAILS(aon_journal_log(journal, id, 1, plan.operations, 2, NULL, 0, NULL, error), AON_BUSY, "locked", found);
  assert_int_equal(found.operation, 1);
  aon_claimed refers = {.hash = aon_document_hash("main", "users", AON_TEXT("u2")), .shared = true};
  OK(aon_journal_log(journal, id, 1, plan.operations, 1, &refers, 1, NULL, error)); /* both only read u2 */
  plan.operations[1].id = AON_TEXT("u2");
  FAILS(aon_journal_log(journal, id, 1, plan.operations + 1, 1, NULL, 0, NULL, error), AON_BUSY, "locked", found);
  assert_string_equal(found.held_by, "cid");
  OK(aon_journal_unlock(journal, "property:main/users/u1#/name", "ann", name, error));
  w->skew_ms += 31000; /* bob's and cid's run out */
  plan.operations[1].id = AON_TEXT("u1");
  OK(aon_journal_log(journal, id, 1, plan.operations + 1, 1, NULL, 0, NULL, error));
  refused(journal, "document:main/users/u1", "cid", true, id);
  refused(journal, "property:main/users/u1#/x", "cid", true, id);
  refused(journal, "document:main/users/u2", "cid", false, id); /* it refers to it */
  take(journal, "document:main/users/u2", "cid", true);
  take(journal, "document:main/users/u1", id, false); /* its own document */
  take(journal, "document:main/users/u3", "cid", false);
  take(journal, "document:what", "cid", false); /* names no document: only a name */
  plan_clear(&plan);
  aon_journal_close(journal);
}

typedef struct heard {
  size_t named, document, property, documents, conflict;
} heard;

static aon_result hear_lock(void *context, const aon_lock *lock, aon_error *error) {
  (void)error;
  heard *count = context;
  count->named += !strcmp(lock->kind, "named");
  count->document += !strcmp(lock->kind, "document");
  count->property += !strcmp(lock->kind, "property");
  count->documents += !strcmp(lock->kind, "documents");
  count->conflict += !strcmp(lock->kind, "conflict");
  assert_true(lock->since_ms > 0);
  assert_true(*lock->holder && *lock->name);
  return AON_OK;
}

static void lists_all_that_is_locked(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char id[37], name[40];
  planned plan = {0};
  begin_bulk(w, journal, uuid(w, 1, id));
  plan_creates(&plan, 0, 3, "u");
  OK(aon_journal_log(journal, id, 1, plan.operations, 3, NULL, 0, NULL, error));
  for (int i = 0; i < 130; i++) {
    snprintf(name, sizeof name, "n%d", i);
    take(journal, name, "ann", false);
  }
  take(journal, "document:main/users/x", "ann", false);
  take(journal, "property:main/users/y#/p", "ann", false);
  heard count = {0};
  OK(aon_journal_locks(journal, hear_lock, &count, error));
  assert_int_equal(count.named, 130);
  assert_int_equal(count.document, 1);
  assert_int_equal(count.property, 1);
  assert_int_equal(count.documents, 1);
  assert_int_equal(count.conflict, 0);
  aon_conflict conflict = {.sequence = 1, .store = "main", .collection = "users", .document_id = "u1", .code = "changed", .sentence = "x"};
  OK(aon_journal_conflict_put(journal, id, 1, &conflict, error));
  go(journal, id, AON_PLANNING, AON_ROLLBACK_FAILED);
  w->skew_ms += 31000; /* an expired lock is none */
  count = (heard){0};
  OK(aon_journal_locks(journal, hear_lock, &count, error));
  assert_int_equal(count.named, 0);
  assert_int_equal(count.documents, 0);
  assert_int_equal(count.conflict, 1);
  plan_clear(&plan);
  aon_journal_close(journal);
}

typedef struct batches {
  size_t count;
  aon_batch list[200];
} batches;

static aon_result hear_batch(void *context, const aon_batch *batch, aon_error *error) {
  (void)error;
  batches *all = context;
  assert_string_equal(batch->store, batch->batch % 2 ? "main" : "realtime");
  all->list[all->count++] = *batch;
  return AON_OK;
}

static void batches_in_order_of_announcement(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char id[37];
  aon_error found;
  begin_bulk(w, journal, uuid(w, 1, id));
  for (uint32_t i = 0; i < 150; i++) {
    aon_batch batch = {.store = i % 2 ? "main" : "realtime", .attempt = 1, .batch = i, .first = i * 10, .last = i * 10 + 9};
    OK(aon_journal_batch(journal, id, 1, &batch, error));
  }
  aon_batch batch = {.store = "main", .attempt = 1, .batch = 3, .first = 30, .last = 39, .status = AON_BATCH_APPLIED, .unanswered = true};
  w->skew_ms += 1000;
  OK(aon_journal_batch(journal, id, 1, &batch, error));
  OK(aon_journal_batch(journal, id, 1, &batch, error));
  FAILS(aon_journal_batch(journal, id, 2, &batch, error), AON_FENCED, "taken_over", found);
  batches *all = calloc(1, sizeof *all);
  OK(aon_journal_batches(journal, id, hear_batch, all, error));
  assert_int_equal(all->count, 150);
  for (uint32_t i = 0; i < 150; i++) {
    assert_int_equal(all->list[i].batch, i);
    assert_int_equal(all->list[i].last, i * 10 + 9);
    assert_int_equal(all->list[i].status, i == 3 ? AON_BATCH_APPLIED : AON_BATCH_ANNOUNCED);
    assert_true(all->list[i].unanswered == (i == 3));
  }
  assert_true(all->list[3].at_ms >= all->list[0].at_ms + 1000);
  free(all);
  aon_journal_close(journal);
}

typedef struct tail {
  aon_journal *journal;
  int64_t last;
  size_t count;
} tail;

static aon_result hear_event(void *context, const aon_event *event, aon_error *error) {
  tail *t = context;
  assert_true(event->number > t->last);
  assert_true(event->at_ms > 0);
  t->last = event->number;
  t->count++;
  if (!strcmp(event->what, "first")) {
    assert_string_equal(event->who, "ann");
    assert_string_equal(event->detail, "{\"a\":1}");
    if (t->journal) /* one that comes while another is told is told too */
      return aon_journal_event(t->journal, &(aon_event){.what = "meanwhile"}, error);
  }
  return AON_OK;
}

static void events_are_numbered(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char id[37];
  uuid(w, 1, id);
  OK(aon_journal_event(journal, &(aon_event){.bulk_id = id, .who = "ann", .what = "first", .detail = "{\"a\":1}"}, error));
  for (int i = 0; i < 140; i++)
    OK(aon_journal_event(journal, &(aon_event){.bulk_id = i % 2 ? id : NULL, .what = "more"}, error));
  tail all = {.journal = journal}, one = {0};
  OK(aon_journal_events(journal, NULL, 0, hear_event, &all, error));
  assert_int_equal(all.count, 142);
  OK(aon_journal_events(journal, id, 0, hear_event, &one, error));
  assert_int_equal(one.count, 71);
  int64_t seen = all.last;
  aon_journal_close(journal);
  journal = world_open(w);
  OK(aon_journal_event(journal, &(aon_event){.what = "new"}, error));
  tail rest = {.last = seen};
  OK(aon_journal_events(journal, NULL, seen, hear_event, &rest, error));
  assert_int_equal(rest.count, 1);
  aon_journal_close(journal);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(exclusive_and_shared, setup, teardown),
      cmocka_unit_test_setup_teardown(waiting_writers_go_first, setup, teardown),
      cmocka_unit_test_setup_teardown(leases_expire_and_are_swept, setup, teardown),
      cmocka_unit_test_setup_teardown(a_person_releases, setup, teardown),
      cmocka_unit_test_setup_teardown(documents_and_bulk_operations_exclude_each_other, setup, teardown),
      cmocka_unit_test_setup_teardown(lists_all_that_is_locked, setup, teardown),
      cmocka_unit_test_setup_teardown(batches_in_order_of_announcement, setup, teardown),
      cmocka_unit_test_setup_teardown(events_are_numbered, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
