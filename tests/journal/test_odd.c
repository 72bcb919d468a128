/* What nobody asks for who means well, and what is there only once in a while: values that are none, a journal open for reading only,
 * listeners that stop, callers that want no sentence, keys that are gone, plans logged again that differ, copies that differ. Run against
 * every backend, like the other suites of the journal. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "journal/cipher.h"

#define NO_ID "ffffffff-aaaa-4bbb-8ccc-000000000000"

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

/* ---- values that are none ---- */

static void ids_and_names_must_be_some(void **state) {
  world *w = *state;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  char id[37], long_id[60], name[600];
  aon_bulk bulk;
  bool existed;
  int64_t epoch;
  aon_error found;
  aon_journal *journal = world_open(w);
  snprintf(long_id, sizeof long_id, "%s0", uuid(w, 1, id));
  const aon_submission bad[] = {{.digest = "d"}, {.id = id}, {.id = "", .digest = "d"}, {.id = long_id, .digest = "d"}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    FAILS(aon_journal_submit(journal, &bad[i], &arena, &bulk, &existed, error), AON_USAGE, "bad_id", found);
  FAILS(aon_journal_find(journal, "abc", id, error), AON_USAGE, "not_found", found);
  FAILS(aon_journal_find(journal, long_id, id, error), AON_USAGE, "not_found", found);
  const char *const pairs[][2] = {{NULL, "ann"}, {"", "ann"}, {"n", NULL}, {"n", ""}};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
    FAILS(aon_journal_lock(journal, pairs[i][0], pairs[i][1], false, 0, &epoch, error), AON_USAGE, "bad_name", found);
  for (int i = 0; i < 2; i++) {
    memset(name, 0, sizeof name);
    strcpy(name, i ? "document:" : "document:main/");
    memset(name + strlen(name), 'x', 400);
    strcat(name, i ? "/users/u1" : "/u1");
    FAILS(aon_journal_lock(journal, name, "ann", false, 0, &epoch, error), AON_USAGE, "bad_name", found);
  }
  OK(aon_journal_lock(journal, "property:main/users/u1", "ann", false, 0, &epoch, error)); /* of no property: only a name */
  FAILS(aon_journal_claim(journal, NO_ID, &(aon_process){.pid = 7, .boot_id = "b"}, &arena, &bulk, error), AON_USAGE, "not_found", found);
  FAILS(aon_journal_open(&w->env, &(aon_journal_config){.location = ""}, &(aon_journal *){0}, error), AON_USAGE, "no_journal", found);
  FAILS(aon_journal_open(&w->env, &(aon_journal_config){0}, &(aon_journal *){0}, error), AON_USAGE, "no_journal", found);
  FAILS(aon_journal_open(&w->env, &(aon_journal_config){.location = w->location}, &(aon_journal *){0}, error), AON_USAGE, "no_key_file",
        found);
  aon_journal_close(journal);
}

static int64_t generation(aon_journal *journal, const char *store) {
  int64_t number = -1;
  OK(aon_journal_generation(journal, store, &number, error));
  return number;
}

static void stores_are_a_list_of_objects(void **state) {
  world *w = *state;
  char id[37];
  aon_error found;
  aon_journal *journal = world_open(w);
  begin_bulk(w, journal, uuid(w, 1, id));
  const char *const none[] = {"{}", "7", "[1,", ""};
  for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
    const aon_bulk_change change = {.stores = none[i]};
    FAILS(aon_journal_move(journal, id, 1, AON_PLANNING, AON_EXECUTING, &change, error), AON_USAGE, "bad_stores", found);
  }
  OK(aon_journal_move(journal, id, 1, AON_PLANNING, AON_LOGGED,
                      &(aon_bulk_change){.stores = "[7,{},{\"name\":8},{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"a\"}]"}, error));
  assert_int_equal(generation(journal, "a"), 0);
  go(journal, id, AON_LOGGED, AON_EXECUTING);
  assert_true(generation(journal, "a") >= 1);
  assert_int_equal(generation(journal, "b"), 1);
  aon_journal_close(journal);
}

static aon_bulk bulk_of(aon_journal *journal, const char *id, aon_arena *arena) {
  aon_bulk bulk;
  OK(aon_journal_get(journal, id, arena, &bulk, error));
  return bulk;
}

/* Each field is kept when it comes alone, and leaves the others as they are. */
static void each_change_comes_alone(void **state) {
  world *w = *state;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  char id[37];
  aon_journal *journal = world_open(w);
  begin_bulk(w, journal, uuid(w, 1, id));
  const int64_t operations = 7, hold = 8, images = 9, progress = 10;
  const uint32_t attempt = 11;
  const aon_bulk_change changes[] = {{.stores = "[]"},        {.summary = "{}"},           {.failure = "{\"a\":1}"},
                                     {.attempt = &attempt},   {.hold_until_ms = &hold},    {.images_until_ms = &images},
                                     {.progress = &progress}, {.operations = &operations}, {0},
                                     {.free_lease = true}};
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
    OK(aon_journal_update(journal, id, 1, &changes[i], error));
  aon_bulk bulk = bulk_of(journal, id, &arena);
  assert_string_equal(bulk.stores, "[]");
  assert_string_equal(bulk.summary, "{}");
  assert_string_equal(bulk.failure, "{\"a\":1}");
  assert_int_equal(bulk.attempt, 11);
  assert_int_equal(bulk.hold_until_ms, 8);
  assert_int_equal(bulk.images_until_ms, 9);
  assert_int_equal(bulk.progress, 10);
  assert_int_equal(bulk.operations, 7);
  assert_int_equal(bulk.worker.boot_id[0], 0);
  OK(aon_journal_update(journal, id, 1, &(aon_bulk_change){.failure = ""}, error));
  assert_null(bulk_of(journal, id, &arena).failure);
  aon_error found;
  FAILS(aon_journal_update(journal, id, 2, &changes[0], error), AON_FENCED, "taken_over", found);
  FAILS(aon_journal_move(journal, id, 1, AON_LOGGED, AON_EXECUTING, NULL, error), AON_USAGE, "wrong_state", found);
  aon_journal_close(journal);
}

/* ---- who may, and who wants no sentence ---- */

static void a_reader_records_nothing(void **state) {
  world *w = *state;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_journal_close(world_open(w));
  aon_journal *j = world_open_with(w, &(aon_journal_config){.location = w->location, .key_file = w->key, .read_only = true});
  aon_process self = w->env.ops->process_self(w);
  aon_bulk bulk;
  bool flag;
  int64_t number;
  uint64_t freed;
  aon_error found;
#define READS_ONLY(call) FAILS(call, AON_USAGE, "journal_read_only", found)
  READS_ONLY(aon_journal_submit(j, &(aon_submission){.id = NO_ID, .digest = "d"}, &arena, &bulk, &flag, error));
  READS_ONLY(aon_journal_move(j, NO_ID, 1, AON_PLANNING, AON_LOGGED, NULL, error));
  READS_ONLY(aon_journal_update(j, NO_ID, 1, &(aon_bulk_change){0}, error));
  READS_ONLY(aon_journal_claim(j, NO_ID, &self, &arena, &bulk, error));
  READS_ONLY(aon_journal_renew(j, NO_ID, 1, &number, &flag, error));
  READS_ONLY(aon_journal_ask_cancel(j, NO_ID, error));
  READS_ONLY(aon_journal_take(j, &(aon_take){.worker = &self}, &arena, &bulk, error));
  READS_ONLY(aon_journal_file_put(j, NO_ID, &self, 0, "a", 1, error));
  READS_ONLY(aon_journal_file_attach(j, NO_ID, 1, &(aon_journal_file){.id = NO_ID}, error));
  READS_ONLY(aon_journal_file_drop(j, NO_ID, error));
  READS_ONLY(aon_journal_sweep_files(j, &freed, error));
  READS_ONLY(aon_journal_log(j, NO_ID, 1, NULL, 0, NULL, 0, NULL, error));
  READS_ONLY(aon_journal_discard(j, NO_ID, 1, error));
  READS_ONLY(aon_journal_clear_images(j, NO_ID, error));
  READS_ONLY(aon_journal_batch(j, NO_ID, 1, &(aon_batch){.store = "main"}, error));
  READS_ONLY(aon_journal_conflict_put(j, NO_ID, 1, &(aon_conflict){.store = "main"}, error));
  READS_ONLY(aon_journal_conflict_drop(j, NO_ID, 1, 0, error));
  READS_ONLY(aon_journal_lock(j, "n", "ann", false, 0, &number, error));
  READS_ONLY(aon_journal_unlock(j, "n", "ann", 1, error));
  READS_ONLY(aon_journal_sweep_locks(j, &freed, error));
  READS_ONLY(aon_journal_event(j, &(aon_event){.what = "cancel"}, error));
  READS_ONLY(aon_journal_room(j, 1, error));
  READS_ONLY(aon_journal_rotate_key(j, error));
#undef READS_ONLY
  aon_entries_close(NULL);
  aon_journal_close(j);
}

static aon_result hear_none(void *context, const aon_bulk *bulk, aon_error *error) {
  (void)context;
  (void)error;
  fail_msg("bulk operation %s of a journal that isn't there", bulk->id);
  return AON_OK;
}
static aon_result hear_no_lock(void *context, const aon_lock *lock, aon_error *error) {
  (void)context;
  (void)error;
  fail_msg("lock %s of a journal that isn't there", lock->name);
  return AON_OK;
}
static aon_result hear_no_event(void *context, const aon_event *event, aon_error *error) {
  (void)context;
  (void)error;
  fail_msg("event %s of a journal that isn't there", event->what);
  return AON_OK;
}
static aon_result hear_nothing_stale(void *context, const char *id, bool images, bool watched, aon_error *error) {
  (void)context;
  (void)images;
  (void)watched;
  (void)error;
  fail_msg("bulk operation %s of a journal that isn't there", id);
  return AON_OK;
}

static void a_missing_journal_reads_as_empty(void **state) {
  world *w = *state;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  aon_journal *j = world_open_with(w, &(aon_journal_config){.location = w->location, .read_only = true});
  aon_bulk bulk;
  aon_operation operation;
  aon_entries *entries;
  aon_journal_file file;
  char id[37];
  bool held = true, healthy = false;
  int64_t number = 7;
  aon_error found;
  assert_true(aon_journal_missing(j));
  OK(aon_journal_list(j, NULL, hear_none, NULL, error));
  OK(aon_journal_locks(j, hear_no_lock, NULL, error));
  OK(aon_journal_events(j, NULL, 0, hear_no_event, NULL, error));
  OK(aon_journal_stale(j, hear_nothing_stale, NULL, error));
  OK(aon_journal_holder(j, &users, AON_TEXT("u1"), &arena, &held, &bulk, &operation, error));
  OK(aon_journal_generation(j, "main", &number, error));
  assert_true(!held && number == 0);
  FAILS(aon_journal_get(j, NO_ID, &arena, &bulk, error), AON_USAGE, "not_found", found);
  FAILS(aon_journal_find(j, "ffffffff", id, error), AON_USAGE, "not_found", found);
  FAILS(aon_entries_open(j, NO_ID, 0, -1, false, &entries, error), AON_USAGE, "not_found", found);
  FAILS(aon_journal_file_find(j, NO_ID, AON_FILE_REPORT, &arena, &file, error), AON_USAGE, "not_found", found);
  OK(aon_journal_examine(j, &report, &healthy, error));
  assert_true(healthy);
  aon_journal_close(j);
  assert_false(world_has(w, "journal.key")); /* looking makes nothing */
}

static void without_a_sentence_it_is_the_same(void **state) {
  world *w = *state;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  char id[37], other[37];
  aon_journal *journal = world_open(w), *again = NULL;
  aon_process self = w->env.ops->process_self(w);
  aon_bulk bulk;
  bool flag;
  int64_t number;
  planned plan = {0};
  begin_bulk(w, journal, uuid(w, 1, id));
  begin_bulk(w, journal, uuid(w, 2, other));
  plan_creates(&plan, 0, 2, "u");
  log_plan(journal, id, &plan);
  assert_int_equal(aon_journal_log(journal, other, 1, plan.operations, 2, NULL, 0, NULL, NULL), AON_BUSY);
  assert_int_equal(aon_journal_log(journal, other, 1, plan.operations + 1, 1, NULL, 0, NULL, NULL), AON_USAGE);
  assert_int_equal(aon_journal_log(journal, id, 2, plan.operations, 2, NULL, 0, NULL, NULL), AON_FENCED);
  assert_int_equal(aon_journal_move(journal, id, 2, AON_PLANNING, AON_LOGGED, NULL, NULL), AON_FENCED);
  assert_int_equal(aon_journal_move(journal, id, 1, AON_LOGGED, AON_EXECUTING, NULL, NULL), AON_USAGE);
  assert_int_equal(aon_journal_update(journal, id, 2, &(aon_bulk_change){.summary = "{}"}, NULL), AON_FENCED);
  assert_int_equal(aon_journal_claim(journal, id, &self, &arena, &bulk, NULL), AON_BUSY);
  assert_int_equal(aon_journal_get(journal, NO_ID, &arena, &bulk, NULL), AON_USAGE);
  assert_int_equal(aon_journal_submit(journal, &(aon_submission){.id = id, .digest = "x"}, &arena, &bulk, &flag, NULL), AON_USAGE);
  assert_int_equal(aon_journal_file_attach(journal, id, 1, &(aon_journal_file){.id = NO_ID, .bytes = 1}, NULL), AON_USAGE);
  assert_int_equal(aon_journal_lock(journal, "n", "ann", false, 0, &number, NULL), AON_OK);
  assert_int_equal(aon_journal_lock(journal, "n", "bob", false, 0, &number, NULL), AON_BUSY);
  assert_int_equal(aon_journal_unlock(journal, "n", "ann", number + 7, NULL), AON_FENCED);
  assert_int_equal(aon_journal_holder(journal, &users, AON_TEXT("nobody"), &arena, &flag, &bulk, &(aon_operation){0}, NULL), AON_OK);
  assert_false(flag);
  assert_int_equal(aon_journal_sweep_locks(journal, NULL, NULL), AON_OK);
  aon_journal_close(journal);
  assert_int_equal(remove(w->key), 0);
  assert_int_equal(aon_journal_open(&w->env, &(aon_journal_config){.location = w->location, .key_file = w->key}, &again, NULL),
                   AON_ENVIRONMENT);
  plan_clear(&plan);
}

/* ---- listeners that stop ---- */

typedef struct listener {
  aon_result answer;
  unsigned heard;
} listener;

static aon_result answer(void *context, aon_error *error) {
  listener *l = context;
  l->heard++;
  return l->answer == AON_PERMANENT ? aon_fail(error, AON_PERMANENT, "enough", "Whoever listens wants no more of it.") : l->answer;
}
static aon_result hear_bulk(void *context, const aon_bulk *bulk, aon_error *error) {
  assert_non_null(bulk->id);
  return answer(context, error);
}
static aon_result hear_batch(void *context, const aon_batch *batch, aon_error *error) {
  assert_non_null(batch->store);
  return answer(context, error);
}
static aon_result hear_conflict(void *context, const aon_conflict *conflict, aon_error *error) {
  assert_non_null(conflict->store);
  return answer(context, error);
}
static aon_result hear_lock(void *context, const aon_lock *lock, aon_error *error) {
  assert_non_null(lock->name);
  return answer(context, error);
}
static aon_result hear_event(void *context, const aon_event *event, aon_error *error) {
  assert_non_null(event->what);
  return answer(context, error);
}
static aon_result hear_stale(void *context, const char *id, bool images, bool watched, aon_error *error) {
  assert_true(id && (images || watched));
  return answer(context, error);
}

/* Two of everything that is listed. */
static void fill(world *w, aon_journal *journal, char ids[2][37]) {
  int64_t epoch;
  for (unsigned i = 0; i < 2; i++) {
    planned plan = {0};
    begin_bulk(w, journal, uuid(w, i + 1, ids[i]));
    plan_creates(&plan, 0, 3, i ? "v" : "u");
    log_plan(journal, ids[i], &plan);
    plan_clear(&plan);
    for (uint32_t batch = 0; batch < 2; batch++) {
      const aon_batch one = {.store = "main", .attempt = 1, .batch = batch, .first = batch, .last = batch};
      OK(aon_journal_batch(journal, ids[i], 1, &one, error));
      const aon_conflict conflict = {.sequence = batch,
                                     .store = "main",
                                     .collection = "users",
                                     .document_id = i ? (batch ? "v1" : "v0") : (batch ? "u1" : "u0"),
                                     .code = "changed",
                                     .sentence = "Somebody else changed it.",
                                     .watched = true,
                                     .watch_until_ms = 99};
      OK(aon_journal_conflict_put(journal, ids[i], 1, &conflict, error));
    }
    OK(aon_journal_event(journal, &(aon_event){.bulk_id = ids[i], .who = "ann", .what = "cancel"}, error));
    OK(aon_journal_lock(journal, i ? "b" : "a", "ann", false, 0, &epoch, error));
    go(journal, ids[i], AON_PLANNING, AON_LOGGED);
    go(journal, ids[i], AON_LOGGED, AON_ROLLED_BACK);
  }
}

static void listen(aon_journal *journal, const char *id, aon_result told) {
  aon_result expected = told == AON_END ? AON_OK : told;
#define HEARS(call)                                                                                                                        \
  do {                                                                                                                                     \
    listener l = {.answer = told};                                                                                                         \
    aon_error found = AON_ERROR_INIT, *error = &found;                                                                                     \
    aon_result went = (call);                                                                                                              \
    if (went != expected || l.heard != 1 || (told == AON_PERMANENT && strcmp(found.code, "enough")))                                       \
      fail_msg("%s: %s, heard %u: %s", #call, aon_result_name(went), l.heard, found.sentence);                                             \
  } while (0)
  HEARS(aon_journal_list(journal, NULL, hear_bulk, &l, error));
  HEARS(aon_journal_batches(journal, id, hear_batch, &l, error));
  HEARS(aon_journal_conflicts(journal, id, hear_conflict, &l, error));
  HEARS(aon_journal_locks(journal, hear_lock, &l, error));
  HEARS(aon_journal_events(journal, NULL, 0, hear_event, &l, error));
  HEARS(aon_journal_stale(journal, hear_stale, &l, error));
#undef HEARS
}

static void listeners_stop(void **state) {
  world *w = *state;
  char ids[2][37];
  aon_journal *journal = world_open(w);
  fill(w, journal, ids);
  listen(journal, ids[0], AON_END);
  listen(journal, ids[0], AON_PERMANENT);
  aon_journal_close(journal);
}

/* ---- plans that are logged again ---- */

static aon_image with_token(aon_image image, const char *token) {
  image.token = token;
  image.token_length = token ? strlen(token) : 0;
  return image;
}

/* After a lost reply a worker logs what it logged: as it was it is right, in any part different it is refused. */
static void logged_again_it_must_be_the_same(void **state) {
  world *w = *state;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  char id[37];
  aon_error found;
  planned plan = {0};
  aon_journal *journal = world_open(w);
  begin_bulk(w, journal, uuid(w, 1, id));
  plan_add(&plan, 0, 'u', &users, "u0");
  plan_add(&plan, 1, 'u', &users, "u1");
  aon_operation *first = &plan.operations[0];
  first->path = "/people/u0";
  first->before = with_token(first->before, "etag-1");
  log_plan(journal, id, &plan);
  log_plan(journal, id, &plan);
  OK(aon_journal_log(journal, id, 1, NULL, 0, NULL, 0, NULL, error)); /* nothing, again */
  const aon_operation as_it_was = *first;
  aon_operation others[9];
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    others[i] = as_it_was;
  others[0].kind = AON_DELETE;
  others[1].flags = AON_OPERATION_SENSITIVE;
  others[2].id = AON_TEXT("u9");
  others[3].collection = &sites;
  others[4].before = with_token(as_it_was.before, "etag-2");
  others[5].before = with_token(as_it_was.before, NULL);
  others[6].before = (aon_image){0};
  others[7].after = image_of(&arena, "after", "another");
  others[8].after = image_of(&arena, "after", "value-9");
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    *first = others[i];
    aon_error *error = &found;
    *error = (aon_error)AON_ERROR_INIT;
    if (aon_journal_log(journal, id, 1, plan.operations, 2, NULL, 0, NULL, error) != AON_USAGE || strcmp(found.code, "bad_sequence"))
      fail_msg("difference %zu: %s: %s", i, found.code, found.sentence);
  }
  *first = as_it_was;
  plan_add(&plan, 2, 'u', &users, "u2"); /* half of it is in the log */
  FAILS(aon_journal_log(journal, id, 1, plan.operations, 3, NULL, 0, NULL, error), AON_USAGE, "bad_sequence", found);
  aon_entries *entries;
  const aon_operation *operations;
  size_t count;
  OK(aon_entries_open(journal, id, 0, -1, false, &entries, error));
  OK(aon_entries_next(entries, &operations, &count, NULL, error));
  assert_int_equal(count, 2);
  assert_string_equal(operations[0].path, "/people/u0");
  assert_memory_equal(operations[0].before.token, "etag-1", 6);
  aon_entries_close(entries);
  aon_bulk bulk;
  aon_operation held;
  bool is_held = false;
  OK(aon_journal_holder(journal, &users, AON_TEXT("u0"), &arena, &is_held, &bulk, &held, error));
  assert_true(is_held);
  assert_string_equal(held.path, "/people/u0");
  go(journal, id, AON_PLANNING, AON_LOGGED);
  FAILS(aon_journal_log(journal, id, 1, plan.operations, 2, NULL, 0, NULL, error), AON_USAGE, "wrong_state", found);
  plan_clear(&plan);
  aon_journal_close(journal);
}

static void an_id_has_its_length(void **state) {
  world *w = *state;
  char id[37];
  aon_error found;
  planned plan = {0};
  aon_journal *journal = world_open(w);
  begin_bulk(w, journal, uuid(w, 1, id));
  size_t length = (size_t)2 << 20;
  char *text = malloc(length + 1);
  assert_non_null(text);
  memset(text, 'x', length);
  text[length] = 0;
  plan_add(&plan, 0, 'c', &users, "u0");
  plan.operations[0].id = (aon_text){text, length};
  FAILS(aon_journal_log(journal, id, 1, plan.operations, 1, NULL, 0, NULL, error), AON_PERMANENT, "too_long", found);
  plan.operations[0].id = AON_TEXT("u0");
  plan.operations[0].path = text;
  FAILS(aon_journal_log(journal, id, 1, plan.operations, 1, NULL, 0, NULL, error), AON_PERMANENT, "too_long", found);
  plan.operations[0].path = NULL;
  log_plan(journal, id, &plan);
  free(text);
  plan_clear(&plan);
  aon_journal_close(journal);
}

/* ---- locks of documents in conflict ---- */

static void a_conflict_excludes_a_named_lock(void **state) {
  world *w = *state;
  char id[37];
  int64_t epoch;
  aon_error found;
  planned plan = {0};
  aon_journal *journal = world_open(w);
  begin_bulk(w, journal, uuid(w, 1, id));
  plan_creates(&plan, 0, 2, "u");
  log_plan(journal, id, &plan);
  go(journal, id, AON_PLANNING, AON_LOGGED);
  const aon_conflict conflict = {
      .sequence = 1, .store = "main", .collection = "users", .document_id = "u1", .code = "changed", .sentence = "Somebody else."};
  OK(aon_journal_conflict_put(journal, id, 1, &conflict, error));
  go(journal, id, AON_LOGGED, AON_ROLLBACK_FAILED);
  FAILS(aon_journal_lock(journal, "document:main/users/u1", "ann", false, 0, &epoch, error), AON_BUSY, "locked", found);
  assert_string_equal(found.held_by, id);
  FAILS(aon_journal_lock(journal, "property:main/users/u1#/n", "ann", true, 0, &epoch, error), AON_BUSY, "locked", found);
  OK(aon_journal_lock(journal, "document:main/users/u1", id, false, 0, &epoch, error)); /* its own */
  OK(aon_journal_lock(journal, "document:main/users/u0", "ann", false, 0, &epoch, error));
  plan_clear(&plan);
  aon_journal_close(journal);
}

static void claims_and_named_locks(void **state) {
  world *w = *state;
  char a[37], b[37];
  int64_t epoch;
  aon_error found;
  aon_journal *journal = world_open(w);
  begin_bulk(w, journal, uuid(w, 1, a));
  begin_bulk(w, journal, uuid(w, 2, b));
  const uint64_t hash = aon_document_hash("main", "users", AON_TEXT("u1"));
  const aon_claimed writes = {.hash = hash}, reads = {.hash = hash, .shared = true};
  OK(aon_journal_lock(journal, "document:main/users/u1", "ann", true, 0, &epoch, error));
  FAILS(aon_journal_log(journal, a, 1, NULL, 0, &writes, 1, NULL, error), AON_BUSY, "locked", found);
  assert_int_equal(found.operation, AON_NO_OPERATION);
  assert_string_equal(found.held_by, "ann");
  OK(aon_journal_log(journal, a, 1, NULL, 0, &reads, 1, NULL, error));
  OK(aon_journal_log(journal, b, 1, NULL, 0, &reads, 1, NULL, error));
  FAILS(aon_journal_log(journal, b, 1, NULL, 0, &writes, 1, NULL, error), AON_BUSY, "locked", found);
  OK(aon_journal_discard(journal, b, 1, error));
  OK(aon_journal_discard(journal, b, 1, error)); /* doubled */
  aon_journal_close(journal);
}

/* ---- keys that are gone ---- */

static bool examined(aon_journal *journal, const char *words) {
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  bool healthy = false;
  OK(aon_journal_examine(journal, &report, &healthy, error));
  if (!strstr(report.data, words))
    fail_msg("“%s” is not in: %s", words, report.data);
  return healthy;
}

static char *read_key(world *w, size_t *ret_length) {
  FILE *file = fopen(w->key, "rb");
  assert_non_null(file);
  char *text = calloc(1, 100000);
  assert_non_null(text);
  *ret_length = fread(text, 1, 99999, file);
  fclose(file);
  return text;
}

static void write_key(world *w, const char *text) {
  FILE *file = fopen(w->key, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
  fclose(file);
  assert_int_equal(chmod(w->key, 0600), 0);
}

static void keys_that_are_gone_are_told(void **state) {
  world *w = *state;
  size_t length;
  aon_journal *journal = world_open(w);
  char *first = read_key(w, &length);
  OK(aon_journal_rotate_key(journal, error));
  examined(journal, "2 keys, the newest");
  char *both = read_key(w, &length);
  char *newest = strndup(both, strcspn(both, "\n") + 1);
  assert_non_null(newest);
  write_key(w, newest); /* what was sealed by the first can't be read any more */
  examined(journal, "which was used here");
  examined(journal, "1 key, the newest");
  if (strcmp(aon_journal_kind(w->location), "sqlite")) {
    write_key(w, first);
    assert_false(examined(journal, "which is used here, is not in the key file"));
  }
  write_key(w, both);
  aon_journal *reader = world_open_with(w, &(aon_journal_config){.location = w->location, .read_only = true});
  examined(reader, "no key file is named");
  aon_journal_close(reader);
  assert_int_equal(remove(w->key), 0);
  assert_false(examined(journal, w->key));
  free(first);
  free(both);
  free(newest);
  aon_journal_close(journal);
}

static void refuses_key(world *w, const char *text, aon_result kind, const char *code) {
  aon_error found;
  aon_keys *keys = NULL;
  write_key(w, text);
  FAILS(aon_keys_read(&w->env, w->key, &keys, error), kind, code, found);
}

static void a_key_file_has_its_form(void **state) {
  world *w = *state;
  size_t length;
  aon_keys *keys = NULL;
  aon_error found;
  char text[1000];
  aon_journal_close(world_open(w));
  char *good = read_key(w, &length);
  size_t line = strcspn(good, "\n");
  snprintf(text, sizeof text, "# moved here\n\n%.*s", (int)line, good); /* a comment, an empty line, no end of the last one */
  write_key(w, text);
  OK(aon_keys_read(&w->env, w->key, &keys, error));
  assert_int_equal(aon_keys_count(keys), 1);
  aon_keys_close(keys);
  const size_t spoiled[] = {0, strlen("aon-key-1 "), strlen("aon-key-1 ") + AON_KEY_NAME_LENGTH, line - 1};
  for (size_t i = 0; i < sizeof spoiled / sizeof *spoiled; i++) {
    snprintf(text, sizeof text, "%s", good);
    text[spoiled[i]] = 'x';
    refuses_key(w, text, AON_CORRUPT, "bad_key");
  }
  snprintf(text, sizeof text, "%.*s\n", (int)line - 2, good);
  refuses_key(w, text, AON_CORRUPT, "bad_key");
  refuses_key(w, "# nothing else\n", AON_ENVIRONMENT, "missing_key");
  char *many = calloc(AON_KEY_LIMIT + 2, line + 1);
  assert_non_null(many);
  for (size_t i = 0; i <= AON_KEY_LIMIT; i++)
    strncat(many, good, line + 1);
  refuses_key(w, many, AON_CORRUPT, "bad_key");
  char *endless = malloc(AON_KEY_FILE_BYTES_LIMIT + 2);
  assert_non_null(endless);
  memset(endless, '#', AON_KEY_FILE_BYTES_LIMIT + 1);
  endless[AON_KEY_FILE_BYTES_LIMIT + 1] = 0;
  refuses_key(w, endless, AON_CORRUPT, "bad_key");
  write_key(w, good);
  assert_int_equal(chmod(w->key, 0644), 0);
  FAILS(aon_keys_read(&w->env, w->key, &keys, error), AON_ENVIRONMENT, "key_exposed", found);
  free(good);
  free(many);
  free(endless);
}

/* ---- copies ---- */

/* A journal that is new, on the same server or in a file, with the keys of the other. */
static world *empty_one(const world *with_keys, bool in_file) {
  world *t = world_make();
  memcpy(t->key, with_keys->key, sizeof t->key);
  if (in_file)
    snprintf(t->location, sizeof t->location, "%s", t->path);
  return t;
}

static aon_journal *to_of(world *t) { return world_open_with(t, &(aon_journal_config){.location = t->location, .key_file = t->key}); }

static void put_report(world *w, aon_journal *journal, const char *id, unsigned number) {
  char file[37];
  aon_process self = w->env.ops->process_self(w);
  size_t bytes = AON_FILE_CHUNK_BYTES + 7; /* two chunks */
  char *report = malloc(bytes);
  assert_non_null(report);
  memset(report, 'r', bytes);
  uuid(w, number, file);
  OK(aon_journal_file_put(journal, file, &self, 0, report, AON_FILE_CHUNK_BYTES, error));
  OK(aon_journal_file_put(journal, file, &self, 1, report, 7, error));
  OK(aon_journal_file_attach(journal, id, 1, &(aon_journal_file){.id = file, .role = AON_FILE_REPORT, .bytes = bytes}, error));
  free(report);
}

static void copies_that_differ_are_told(void **state) {
  world *w = *state;
  char id[37], other[37];
  aon_error found;
  planned plan = {0};
  aon_journal_copied counts;
  aon_journal *from = world_open(w);
  begin_bulk(w, from, uuid(w, 1, id));
  plan_add(&plan, 0, 'u', &users, "u0");
  plan_add(&plan, 1, 'u', &sites, "s1");
  plan.operations[0].before = with_token(plan.operations[0].before, "etag-1");
  const aon_claimed claims[] = {{.hash = 5}, {.hash = 4}, {.hash = 6, .shared = true}, {.hash = 5, .shared = true}};
  OK(aon_journal_log(from, id, 1, plan.operations, 2, claims, 4, NULL, error));
  go(from, id, AON_PLANNING, AON_LOGGED);
  put_report(w, from, id, 2);
  world *t = empty_one(w, false);
  aon_journal *to = to_of(t);
  FAILS(aon_journal_copy(from, to, &counts, error), AON_BUSY, "busy", found); /* its worker lives */
  w->dead_pid = w->env.ops->process_self(w).pid;
  OK(aon_journal_copy(from, to, &counts, error));
  assert_true(counts.bulk == 1 && counts.segments >= 1);
  OK(aon_journal_compare(from, to, error));
  FAILS(aon_journal_copy(from, to, &counts, error), AON_USAGE, "journal_not_empty", found);
  go(to, id, AON_LOGGED, AON_EXECUTING);
  FAILS(aon_journal_compare(from, to, error), AON_CORRUPT, "copy_differs", found);
  assert_string_equal(found.bulk_id, id);
  assert_int_equal(aon_journal_compare(from, to, NULL), AON_CORRUPT);
  go(from, id, AON_LOGGED, AON_EXECUTING);
  OK(aon_journal_compare(from, to, error));
  begin_bulk(t, to, uuid(w, 3, other));
  FAILS(aon_journal_compare(from, to, error), AON_CORRUPT, "copy_differs", found);
  assert_non_null(strstr(found.sentence, "Of 1 bulk operations 2 arrived"));
  begin_bulk(w, from, other);
  OK(aon_journal_compare(from, to, error));
  plan_clear(&plan);
  plan_creates(&plan, 0, 1, "x");
  log_plan(to, other, &plan); /* as many bulk operations, in the same states, but more in a log */
  FAILS(aon_journal_compare(from, to, error), AON_CORRUPT, "copy_differs", found);
  assert_string_equal(found.bulk_id, other);
  plan.operations[0].after = (aon_image){0};
  plan.operations[0].kind = AON_DELETE;
  plan.operations[0].before = image_of(&plan.arena, "before", "x");
  log_plan(from, other, &plan); /* as many, but others */
  FAILS(aon_journal_compare(from, to, error), AON_CORRUPT, "copy_differs", found);
  plan_clear(&plan);
  aon_journal_close(from);
  aon_journal_close(to);
  world_end(t);
}

static void what_is_not_there_is_not_copied(void **state) {
  world *w = *state;
  aon_error found;
  aon_journal_copied counts;
  aon_journal *from = world_open_with(w, &(aon_journal_config){.location = w->location, .key_file = w->key, .read_only = true});
  assert_true(aon_journal_missing(from));
  world *t = empty_one(w, true);
  aon_journal *to = to_of(t);
  FAILS(aon_journal_copy(from, to, &counts, error), AON_USAGE, "no_journal", found);
  aon_journal_close(from);
  aon_journal_close(to);
  world_end(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(ids_and_names_must_be_some, setup, teardown),
      cmocka_unit_test_setup_teardown(stores_are_a_list_of_objects, setup, teardown),
      cmocka_unit_test_setup_teardown(each_change_comes_alone, setup, teardown),
      cmocka_unit_test_setup_teardown(a_reader_records_nothing, setup, teardown),
      cmocka_unit_test_setup_teardown(a_missing_journal_reads_as_empty, setup, teardown),
      cmocka_unit_test_setup_teardown(without_a_sentence_it_is_the_same, setup, teardown),
      cmocka_unit_test_setup_teardown(listeners_stop, setup, teardown),
      cmocka_unit_test_setup_teardown(logged_again_it_must_be_the_same, setup, teardown),
      cmocka_unit_test_setup_teardown(an_id_has_its_length, setup, teardown),
      cmocka_unit_test_setup_teardown(a_conflict_excludes_a_named_lock, setup, teardown),
      cmocka_unit_test_setup_teardown(claims_and_named_locks, setup, teardown),
      cmocka_unit_test_setup_teardown(keys_that_are_gone_are_told, setup, teardown),
      cmocka_unit_test_setup_teardown(a_key_file_has_its_form, setup, teardown),
      cmocka_unit_test_setup_teardown(copies_that_differ_are_told, setup, teardown),
      cmocka_unit_test_setup_teardown(what_is_not_there_is_not_copied, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
