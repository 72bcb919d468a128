/* The log: order, repeats, locks, chains, reading both ways, clearing, holders, conflicts. */
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

static void log_plan(aon_journal *journal, const char *id, const planned *plan) {
  OK(aon_journal_log(journal, id, 1, plan->operations, plan->count, NULL, 0, NULL, error));
}

/* Reads [first, last] and compares with the plan, whose index 0 is sequence 0. */
static size_t compare(aon_journal *journal, const char *id, const planned *plan, int64_t first, int64_t last, bool backward) {
  aon_entries *entries;
  const aon_operation *found;
  size_t count, all = 0;
  bool cleared;
  aon_result result;
  int64_t next = -1, lowest = INT64_MAX;
  OK(aon_entries_open(journal, id, first, last, backward, &entries, error));
  while (!(result = aon_entries_next(entries, &found, &count, &cleared, NULL))) {
    assert_false(cleared);
    assert_true(count > 0);
    if (backward)
      assert_true(found[count - 1].sequence < lowest);
    else
      assert_true(next < 0 || found[0].sequence == next);
    lowest = found[0].sequence;
    for (size_t i = 0; i < count; i++) {
      const aon_operation *a = &found[i], *b = &plan->operations[a->sequence];
      assert_int_equal(a->sequence, found[0].sequence + (int64_t)i);
      assert_int_equal(a->kind, b->kind);
      assert_int_equal(a->flags, b->flags);
      assert_int_equal(a->id.length, b->id.length);
      assert_memory_equal(a->id.data, b->id.data, b->id.length);
      assert_string_equal(a->collection->name, b->collection->name);
      assert_string_equal(a->collection->store, b->collection->store);
      assert_int_equal(a->before.bson_length, b->before.bson_length);
      assert_int_equal(a->after.bson_length, b->after.bson_length);
      if (b->before.bson)
        assert_memory_equal(a->before.bson, b->before.bson, b->before.bson_length);
      if (b->after.bson)
        assert_memory_equal(a->after.bson, b->after.bson, b->after.bson_length);
      assert_int_equal(a->before.token_length, b->before.token_length);
      assert_true(!a->before.token == !b->before.token);
      if (b->before.token_length)
        assert_memory_equal(a->before.token, b->before.token, b->before.token_length);
      assert_true(!a->path == !b->path);
      if (b->path)
        assert_string_equal(a->path, b->path);
      assert_int_equal(a->origin.row, b->origin.row);
      assert_true(!a->origin.sheet == !b->origin.sheet);
      if (b->origin.sheet)
        assert_string_equal(a->origin.sheet, b->origin.sheet);
    }
    next = found[count - 1].sequence + 1;
    all += count;
  }
  assert_int_equal(result, AON_END);
  aon_entries_close(entries);
  return all;
}

static void keeps_what_it_is_given(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char id[37];
  planned plan = {0};
  begin_bulk(w, journal, uuid(w, 1, id));
  assert_int_equal(compare(journal, id, &plan, 0, -1, false), 0); /* nothing logged */
  assert_int_equal(compare(journal, id, &plan, 0, -1, true), 0);
  plan_add(&plan, 0, 'c', &users, "u1");
  plan_add(&plan, 1, 'U', &sites, "s1");
  plan.operations[1].path = "/elsewhere/s1";
  plan.operations[1].before.token = (const uint8_t *)"etag";
  plan.operations[1].before.token_length = 4;
  plan.operations[1].origin = (aon_origin){0};
  plan_add(&plan, 2, 'd', &sites, "s2");
  plan.operations[2].before.token = (const uint8_t *)"";
  plan_add(&plan, 3, 'u', &users, "with\nodd bytes \xc3\xa9");
  plan_add(&plan, 4, 'c', &users, "");
  log_plan(journal, id, &plan);
  assert_int_equal(compare(journal, id, &plan, 0, -1, false), 5);
  aon_journal_close(journal);
  journal = world_open(w);
  assert_int_equal(compare(journal, id, &plan, 0, -1, true), 5);
  aon_entries *entries;
  const aon_operation *found;
  size_t count;
  bool cleared;
  OK(aon_entries_open(journal, id, 1, 1, false, &entries, error));
  OK(aon_entries_next(entries, &found, &count, &cleared, error));
  const aon_collection *sited = found[0].collection; /* all settings come back */
  assert_string_equal(sited->path, "/site/{siteID}");
  assert_string_equal(sited->stamps[0], "updatedAt");
  assert_null(sited->stamps[1]);
  assert_string_equal(sited->sensitive[0], "phone");
  assert_null(sited->sets);
  assert_true(sited->merge_none);
  assert_null(sited->id_property);
  aon_entries_close(entries);
  AON_ARENA_CLEANUP aon_arena arena = {0};
  const aon_collection *collections;
  OK(aon_journal_collections(journal, id, &arena, &collections, &count, error));
  assert_int_equal(count, 2);
  assert_string_equal(collections[0].name, "users");
  assert_string_equal(collections[1].stamps[0], "updatedAt");
  plan_clear(&plan);
  aon_journal_close(journal);
}

static void reads_any_range_both_ways(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char id[37];
  planned all = {0};
  begin_bulk(w, journal, uuid(w, 1, id));
  for (int64_t first = 0; first < 1000; first += 100) {
    planned part = {0};
    plan_creates(&part, first, 100, "u");
    log_plan(journal, id, &part);
    plan_clear(&part);
  }
  plan_creates(&all, 0, 1000, "u");
  static const int64_t ends[][3] = {{0, -1, 1000}, {0, 999, 1000}, {5, 5, 1},       {99, 100, 2},  {150, 849, 700},
                                    {0, 0, 1},     {999, 999, 1},  {990, 5000, 10}, {1000, -1, 0}, {7, 6, 0}};
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
    for (int backward = 0; backward < 2; backward++)
      assert_int_equal(compare(journal, id, &all, ends[i][0], ends[i][1], backward), ends[i][2]);
  plan_clear(&all);
  aon_journal_close(journal);
}

static void splits_large_calls(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char id[37];
  planned plan = {0};
  begin_bulk(w, journal, uuid(w, 1, id));
  plan_creates(&plan, 0, 12, "u");
  char *big = malloc(1 << 20);
  memset(big, 'x', 1 << 20);
  big[(1 << 20) - 1] = 0;
  for (size_t i = 0; i < plan.count; i++)
    plan.operations[i].after = image_of(&plan.arena, "big", big);
  free(big);
  log_plan(journal, id, &plan);
  assert_int_equal(compare(journal, id, &plan, 0, -1, false), 12);
  aon_entries *entries;
  const aon_operation *found;
  size_t count;
  OK(aon_entries_open(journal, id, 0, -1, false, &entries, error));
  OK(aon_entries_next(entries, &found, &count, NULL, error));
  assert_true(count < 12); /* one call, several pieces: memory stays bounded for the reader too */
  aon_entries_close(entries);
  int64_t last;
  OK(aon_journal_last_of(journal, id, aon_document_hash("main", "users", AON_TEXT("u11")), &users, AON_TEXT("u11"), &last, error));
  assert_int_equal(last, 11);
  plan_clear(&plan);
  aon_journal_close(journal);
}

static void refuses_gaps_and_late_entries(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char id[37];
  aon_error found;
  planned plan = {0}, later = {0}, other = {0};
  begin_bulk(w, journal, uuid(w, 1, id));
  plan_creates(&plan, 0, 10, "u");
  plan_creates(&later, 11, 2, "u");
  plan_creates(&other, 5, 5, "other");
  log_plan(journal, id, &plan);
  log_plan(journal, id, &plan); /* the reply was lost: the same again is harmless */
  OK(aon_journal_log(journal, id, 1, plan.operations + 3, 4, NULL, 0, NULL, error));
  FAILS(aon_journal_log(journal, id, 1, later.operations, 2, NULL, 0, NULL, error), AON_USAGE, "bad_sequence", found);
  FAILS(aon_journal_log(journal, id, 1, other.operations, 5, NULL, 0, NULL, error), AON_USAGE, "bad_sequence", found);
  FAILS(aon_journal_log(journal, id, 2, later.operations, 2, NULL, 0, NULL, error), AON_FENCED, "taken_over", found);
  later.operations[0].sequence = 10;
  FAILS(aon_journal_log(journal, id, 1, later.operations, 2, NULL, 0, NULL, error), AON_USAGE, "bad_sequence", found);
  later.operations[1].sequence = 11;
  later.operations[1].after.bson_length--;
  FAILS(aon_journal_log(journal, id, 1, later.operations, 2, NULL, 0, NULL, error), AON_USAGE, "bad_image", found);
  later.operations[1].after.bson_length++;
  log_plan(journal, id, &later);
  go(journal, id, AON_PLANNING, AON_LOGGED);
  plan_creates(&plan, 12, 1, "u");
  FAILS(aon_journal_log(journal, id, 1, plan.operations + 10, 1, NULL, 0, NULL, error), AON_USAGE, "wrong_state", found);
  FAILS(aon_journal_discard(journal, id, 1, error), AON_USAGE, "wrong_state", found);
  FAILS(aon_journal_clear_images(journal, id, error), AON_USAGE, "wrong_state", found);
  plan_clear(&plan);
  plan_clear(&later);
  plan_clear(&other);
  aon_journal_close(journal);
}

static void two_never_hold_one_document(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char a[37], b[37];
  aon_error found;
  planned first = {0}, second = {0}, free_one = {0};
  begin_bulk(w, journal, uuid(w, 1, a));
  w->skew_ms += 5;
  begin_bulk(w, journal, uuid(w, 2, b));
  plan_creates(&first, 0, 700, "u");
  log_plan(journal, a, &first);
  plan_add(&second, 0, 'c', &sites, "u3"); /* another collection: another document */
  plan_add(&second, 1, 'c', &users, "v1");
  plan_add(&second, 2, 'u', &users, "u650");
  plan_add(&second, 3, 'u', &users, "u3");
  bool older = false;
  FAILS(aon_journal_log(journal, b, 1, second.operations, 4, NULL, 0, &older, error), AON_BUSY, "locked", found);
  assert_string_equal(found.held_by, a);
  assert_string_equal(found.bulk_id, b);
  assert_int_equal(found.operation, 2); /* the first one of the call */
  assert_true(older);
  assert_int_equal(compare(journal, b, &second, 0, -1, false), 0); /* nothing was written */
  log_plan(journal, b, &(planned){.operations = second.operations, .count = 2});
  plan_add(&free_one, 700, 'c', &users, "v1");
  FAILS(aon_journal_log(journal, a, 1, free_one.operations, 1, NULL, 0, &older, error), AON_BUSY, "locked", found);
  assert_false(older);
  OK(aon_journal_discard(journal, b, 1, error)); /* gives all its locks back */
  log_plan(journal, a, &free_one);
  assert_int_equal(compare(journal, b, &second, 0, -1, false), 0);
  go(journal, a, AON_PLANNING, AON_LOGGED);
  go(journal, a, AON_LOGGED, AON_EXECUTING);
  FAILS(aon_journal_log(journal, b, 1, second.operations, 4, NULL, 0, &older, error), AON_BUSY, "locked", found);
  go(journal, a, AON_EXECUTING, AON_ROLLED_BACK); /* a terminal arrow frees all */
  log_plan(journal, b, &second);
  assert_int_equal(compare(journal, b, &second, 0, -1, false), 4);
  plan_clear(&first);
  plan_clear(&second);
  plan_clear(&free_one);
  aon_journal_close(journal);
}

static void claims_exclude(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char a[37], b[37];
  aon_error found;
  planned plan = {0};
  begin_bulk(w, journal, uuid(w, 1, a));
  begin_bulk(w, journal, uuid(w, 2, b));
  uint64_t referred = aon_document_hash("main", "users", AON_TEXT("boss"));
  aon_claimed claims[] = {{.hash = 42}, {.hash = referred, .shared = true}, {.hash = referred, .shared = true}};
  plan_add(&plan, 0, 'c', &users, "u1");
  OK(aon_journal_log(journal, a, 1, plan.operations, 1, claims, 3, NULL, error));
  OK(aon_journal_log(journal, b, 1, NULL, 0, claims + 1, 1, NULL, error));                           /* shared with shared */
  FAILS(aon_journal_log(journal, b, 1, NULL, 0, claims, 1, NULL, error), AON_BUSY, "locked", found); /* a unique value */
  assert_string_equal(found.held_by, a);
  assert_int_equal(found.operation, AON_NO_OPERATION);
  plan_clear(&plan);
  plan_add(&plan, 0, 'u', &users, "boss"); /* who is referred to can't be changed by another */
  FAILS(aon_journal_log(journal, b, 1, plan.operations, 1, NULL, 0, NULL, error), AON_BUSY, "locked", found);
  assert_int_equal(found.operation, 0);
  go(journal, a, AON_PLANNING, AON_CANCELLED_STATE);
  OK(aon_journal_log(journal, b, 1, plan.operations, 1, claims, 1, NULL, error)); /* its own reference doesn't keep it out */
  begin_bulk(w, journal, uuid(w, 3, a));
  aon_claimed boss = {.hash = referred, .shared = true};
  FAILS(aon_journal_log(journal, a, 1, NULL, 0, &boss, 1, NULL, error), AON_BUSY, "locked", found); /* nor can it be referred to */
  plan_clear(&plan);
  aon_journal_close(journal);
}

static int64_t last_of(aon_journal *journal, const char *id, const aon_collection *collection, const char *document) {
  int64_t last = -7;
  aon_text text = {document, strlen(document)};
  OK(aon_journal_last_of(journal, id, aon_document_hash(collection->store, collection->name, text), collection, text, &last, error));
  return last;
}

static void finds_the_last_of_a_chain(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char id[37];
  planned plan = {0};
  begin_bulk(w, journal, uuid(w, 1, id));
  assert_int_equal(last_of(journal, id, &users, "u1"), AON_NO_OPERATION);
  plan_creates(&plan, 0, 300, "u");
  log_plan(journal, id, &plan);
  plan_clear(&plan);
  assert_int_equal(last_of(journal, id, &users, "u299"), 299);
  assert_int_equal(last_of(journal, id, &sites, "u299"), AON_NO_OPERATION);
  plan_add(&plan, 300, 'u', &users, "u7");
  plan_add(&plan, 301, 'u', &users, "u7");
  plan_add(&plan, 302, 'c', &users, "new");
  log_plan(journal, id, &plan);
  assert_int_equal(last_of(journal, id, &users, "u7"), 301);
  assert_int_equal(last_of(journal, id, &users, "u8"), 8);
  assert_int_equal(last_of(journal, id, &users, "nobody"), AON_NO_OPERATION);
  /* A hash that is another document's says nothing. */
  int64_t last;
  OK(aon_journal_last_of(journal, id, aon_document_hash("main", "users", AON_TEXT("u7")), &users, AON_TEXT("u70000"), &last, error));
  assert_int_equal(last, AON_NO_OPERATION);
  aon_journal_close(journal);
  journal = world_open(w); /* and after a takeover, in another process */
  aon_last_query many[4] = {{.collection = &users, .document = AON_TEXT("u7")},
                            {.collection = &users, .document = AON_TEXT("u0")},
                            {.collection = &users, .document = AON_TEXT("missing")},
                            {.collection = &users, .document = AON_TEXT("new")}};
  for (size_t i = 0; i < 4; i++)
    many[i].hash = aon_document_hash("main", "users", many[i].document);
  OK(aon_journal_last_of_many(journal, id, many, 4, error));
  assert_int_equal(many[0].sequence, 301);
  assert_int_equal(many[1].sequence, 0);
  assert_int_equal(many[2].sequence, AON_NO_OPERATION);
  assert_int_equal(many[3].sequence, 302);
  OK(aon_journal_discard(journal, id, 1, error));
  assert_int_equal(last_of(journal, id, &users, "u7"), AON_NO_OPERATION);
  plan_clear(&plan);
  plan_creates(&plan, 0, 3, "w"); /* planned anew */
  log_plan(journal, id, &plan);
  planned old = {0};
  char other[37];
  begin_bulk(w, journal, uuid(w, 2, other));
  plan_add(&old, 0, 'u', &users, "u7"); /* what only the discarded plan named is free */
  log_plan(journal, other, &old);
  plan_clear(&old);
  assert_int_equal(last_of(journal, id, &users, "w2"), 2);
  assert_int_equal(compare(journal, id, &plan, 0, -1, false), 3);
  plan_clear(&plan);
  aon_journal_close(journal);
}

static void clears_images_in_pieces(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char id[37];
  begin_bulk(w, journal, uuid(w, 1, id));
  for (int64_t i = 0; i < 100; i++) {
    planned plan = {0};
    plan_creates(&plan, i, 1, "u");
    log_plan(journal, id, &plan);
    plan_clear(&plan);
  }
  go(journal, id, AON_PLANNING, AON_LOGGED);
  go(journal, id, AON_LOGGED, AON_COMMITTED);
  int calls = 0;
  aon_result result;
  while (!(result = aon_journal_clear_images(journal, id, NULL)))
    calls++;
  assert_int_equal(result, AON_END);
  assert_int_equal(calls, 2); /* 64 segments a call */
  aon_entries *entries;
  const aon_operation *found;
  size_t count;
  bool cleared = false;
  OK(aon_entries_open(journal, id, 99, 99, false, &entries, error));
  OK(aon_entries_next(entries, &found, &count, &cleared, error));
  assert_true(cleared);
  assert_int_equal(found[0].kind, AON_CREATE);
  assert_true(aon_image_absent(&found[0].after));
  assert_memory_equal(found[0].id.data, "u99", 3); /* the entry stays */
  aon_entries_close(entries);
  aon_journal_close(journal);
}

static bool holder(aon_journal *journal, const aon_collection *collection, const char *document, aon_arena *arena, aon_bulk *bulk,
                   aon_operation *operation) {
  bool held = false;
  aon_text text = {document, strlen(document)};
  OK(aon_journal_holder(journal, collection, text, arena, &held, bulk, operation, error));
  return held;
}

static void tells_who_holds(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  AON_ARENA_CLEANUP aon_arena arena = {0};
  char id[37];
  planned plan = {0};
  aon_bulk bulk;
  aon_operation operation;
  begin_bulk(w, journal, uuid(w, 1, id));
  assert_false(holder(journal, &users, "u1", &arena, &bulk, &operation));
  plan_add(&plan, 0, 'U', &users, "u1");
  plan_add(&plan, 1, 'c', &users, "new");
  log_plan(journal, id, &plan);
  plan_clear(&plan);
  plan_add(&plan, 2, 'u', &users, "u1");
  plan_add(&plan, 3, 'u', &users, "new");
  plan_add(&plan, 4, 'd', &users, "u1");
  log_plan(journal, id, &plan);
  plan_clear(&plan);
  aon_journal *reader = world_open_with(w, &(aon_journal_config){.location = w->location, .key_file = w->key, .read_only = true});
  assert_true(holder(reader, &users, "u1", &arena, &bulk, &operation));
  assert_string_equal(bulk.id, id);
  assert_int_equal(operation.kind, AON_DELETE);
  assert_int_equal(operation.sequence, 4);
  assert_true(image_holds(&operation.before, "value-0")); /* before the chain … */
  assert_true(aon_image_absent(&operation.after));        /* … and after it */
  assert_true(operation.flags & AON_OPERATION_SENSITIVE);
  assert_true(holder(reader, &users, "new", &arena, &bulk, &operation));
  assert_int_equal(operation.kind, AON_CREATE);
  assert_true(aon_image_absent(&operation.before));
  assert_true(image_holds(&operation.after, "value-3"));
  assert_false(holder(reader, &sites, "u1", &arena, &bulk, &operation));
  go(journal, id, AON_PLANNING, AON_LOGGED);
  go(journal, id, AON_LOGGED, AON_COMMITTED);
  assert_false(holder(reader, &users, "u1", &arena, &bulk, &operation));
  aon_journal_close(reader);
  aon_journal_close(journal);
}

static aon_result hear_conflict(void *context, const aon_conflict *conflict, aon_error *error) {
  (void)error;
  aon_conflict *last = context;
  last->sequence = conflict->sequence;
  last->watch_until_ms++;
  assert_string_equal(conflict->store, "main");
  assert_string_equal(conflict->document_id, "u5");
  assert_true(!conflict->choice == !last->choice);
  return AON_OK;
}

static void conflicts_outlive(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  AON_ARENA_CLEANUP aon_arena arena = {0};
  char a[37], b[37];
  aon_error found;
  aon_bulk bulk;
  aon_operation operation;
  planned plan = {0}, other = {0};
  begin_bulk(w, journal, uuid(w, 1, a));
  begin_bulk(w, journal, uuid(w, 2, b));
  plan_creates(&plan, 0, 10, "u");
  log_plan(journal, a, &plan);
  go(journal, a, AON_PLANNING, AON_LOGGED);
  go(journal, a, AON_LOGGED, AON_ROLLING_BACK);
  aon_conflict conflict = {
      .sequence = 5, .store = "main", .collection = "users", .document_id = "u5", .code = "changed", .sentence = "Somebody else."};
  aon_conflict watch = {.sequence = 6, .store = "main", .collection = "users", .document_id = "u6", .watched = true, .watch_until_ms = 99};
  OK(aon_journal_conflict_put(journal, a, 1, &conflict, error));
  OK(aon_journal_conflict_put(journal, a, 1, &watch, error));
  FAILS(aon_journal_conflict_put(journal, a, 2, &conflict, error), AON_FENCED, "taken_over", found);
  go(journal, a, AON_ROLLING_BACK, AON_ROLLBACK_FAILED);
  uint64_t freed;
  OK(aon_journal_sweep_locks(journal, &freed, error));
  plan_add(&other, 0, 'u', &users, "u6"); /* watched only: free */
  log_plan(journal, b, &other);
  plan_add(&other, 1, 'u', &users, "u5");
  FAILS(aon_journal_log(journal, b, 1, other.operations + 1, 1, NULL, 0, NULL, error), AON_BUSY, "locked", found);
  assert_string_equal(found.held_by, a);
  aon_claimed claim = {.hash = aon_document_hash("main", "users", AON_TEXT("u5")), .shared = true};
  FAILS(aon_journal_log(journal, b, 1, NULL, 0, &claim, 1, NULL, error), AON_BUSY, "locked", found);
  assert_true(holder(journal, &users, "u5", &arena, &bulk, &operation));
  assert_int_equal(bulk.state, AON_ROLLBACK_FAILED);
  assert_true(image_holds(&operation.after, "value-5"));
  /* Going back into rolling_back holds its conflict again, and nothing that others have taken since. */
  go(journal, a, AON_ROLLBACK_FAILED, AON_ROLLING_BACK);
  assert_true(holder(journal, &users, "u6", &arena, &bulk, &operation));
  assert_string_equal(bulk.id, b);
  OK(aon_journal_conflict_drop(journal, a, 1, 6, error));
  conflict.choice = "force";
  OK(aon_journal_conflict_put(journal, a, 1, &conflict, error));
  aon_conflict last = {.choice = "force"};
  OK(aon_journal_conflicts(journal, a, hear_conflict, &last, error));
  assert_int_equal(last.watch_until_ms, 1);
  assert_int_equal(last.sequence, 5);
  OK(aon_journal_conflict_drop(journal, a, 1, 5, error));
  OK(aon_journal_conflict_drop(journal, a, 1, 5, error));
  go(journal, a, AON_ROLLING_BACK, AON_ROLLED_BACK);
  OK(aon_journal_log(journal, b, 1, other.operations + 1, 1, &claim, 1, NULL, error));
  plan_clear(&plan);
  plan_clear(&other);
  aon_journal_close(journal);
}

typedef struct stale {
  aon_journal *journal;
  char images[37], watched[37];
  size_t count;
} stale;

static aon_result hear_stale(void *context, const char *id, bool images, bool watched, aon_error *error) {
  stale *found = context;
  found->count++;
  if (watched)
    strcpy(found->watched, id);
  if (!images)
    return AON_OK;
  strcpy(found->images, id);
  aon_result result = AON_OK;
  while (!result)
    result = aon_journal_clear_images(found->journal, id, error);
  return result == AON_END ? AON_OK : result;
}

static void housekeeping_finds_what_is_left(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char ids[4][37];
  for (unsigned i = 0; i < 4; i++) {
    char prefix[4] = {(char)('a' + i), 0};
    planned plan = {0};
    begin_bulk(w, journal, uuid(w, i, ids[i]));
    plan_creates(&plan, 0, 3, prefix);
    log_plan(journal, ids[i], &plan);
    plan_clear(&plan);
    go(journal, ids[i], AON_PLANNING, AON_LOGGED);
    aon_conflict watch = {
        .sequence = 1, .store = "main", .collection = "users", .document_id = "c1", .watched = i == 2, .watch_until_ms = 99};
    if (i >= 2)
      OK(aon_journal_conflict_put(journal, ids[i], 1, &watch, error));
    int64_t until = aon_now_ms(&w->env) + 600000; /* far beyond what a slow server takes for this loop */
    OK(aon_journal_move(journal, ids[i], 1, AON_LOGGED, i == 3 ? AON_ROLLBACK_FAILED : AON_ROLLED_BACK,
                        &(aon_bulk_change){.images_until_ms = i == 1 ? NULL : &until}, error));
  }
  stale found = {.journal = journal};
  OK(aon_journal_stale(journal, hear_stale, &found, error));
  assert_int_equal(found.count, 1); /* the watched one; no image is past its time */
  assert_string_equal(found.watched, ids[2]);
  w->skew_ms += 602000;
  found = (stale){.journal = journal};
  OK(aon_journal_stale(journal, hear_stale, &found, error));
  assert_int_equal(found.count, 2);
  assert_string_equal(found.images, ids[0]); /* neither the watched one nor the one in conflict */
  found = (stale){.journal = journal};
  OK(aon_journal_stale(journal, hear_stale, &found, error));
  assert_int_equal(found.count, 1); /* cleared once */
  aon_journal_close(journal);
}

/* Chains, holders and locks stay right when the filter of the locks has grown beyond its first size and is made anew. */
static void many_locks_stay_right(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char a[37], b[37];
  planned plan = {0};
  begin_bulk(w, journal, uuid(w, 1, a));
  begin_bulk(w, journal, uuid(w, 2, b));
  enum { ALL = 24000, PIECE = 4000 };
  for (int64_t first = 0; first < ALL; first += PIECE) {
    plan_creates(&plan, first, PIECE, "u");
    log_plan(journal, a, &plan);
    plan_clear(&plan);
    assert_int_equal(last_of(journal, a, &users, "u0"), 0);
  }
  assert_int_equal(last_of(journal, a, &users, "u23999"), 23999);
  assert_int_equal(last_of(journal, a, &users, "u24000"), AON_NO_OPERATION);
  plan_creates(&plan, 0, PIECE, "v");
  log_plan(journal, b, &plan);
  plan_clear(&plan);
  plan_add(&plan, PIECE, 'u', &users, "u12345");
  aon_error found;
  FAILS(aon_journal_log(journal, b, 1, plan.operations, 1, NULL, 0, NULL, error), AON_BUSY, "locked", found);
  go(journal, a, AON_PLANNING, AON_PLANNED);
  log_plan(journal, b, &plan);
  plan_clear(&plan);
  aon_journal_close(journal);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(keeps_what_it_is_given, setup, teardown),
      cmocka_unit_test_setup_teardown(reads_any_range_both_ways, setup, teardown),
      cmocka_unit_test_setup_teardown(splits_large_calls, setup, teardown),
      cmocka_unit_test_setup_teardown(refuses_gaps_and_late_entries, setup, teardown),
      cmocka_unit_test_setup_teardown(two_never_hold_one_document, setup, teardown),
      cmocka_unit_test_setup_teardown(claims_exclude, setup, teardown),
      cmocka_unit_test_setup_teardown(finds_the_last_of_a_chain, setup, teardown),
      cmocka_unit_test_setup_teardown(clears_images_in_pieces, setup, teardown),
      cmocka_unit_test_setup_teardown(tells_who_holds, setup, teardown),
      cmocka_unit_test_setup_teardown(conflicts_outlive, setup, teardown),
      cmocka_unit_test_setup_teardown(housekeeping_finds_what_is_left, setup, teardown),
      cmocka_unit_test_setup_teardown(many_locks_stay_right, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
