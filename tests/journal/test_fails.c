/* The n-th allocation, piece of memory, step or statement of SQLite, or exchange with PostgreSQL fails, once, in the life of a journal: it
 * is opened, and everything that can be asked of it is asked, from an upload in its queue to the end of its images.
 *
 * A failing call has a kind, a code and a sentence, none of them the caller's fault, and never calls the journal damaged; the next worker
 * leads the same life to its end; and the journal is healthy then. AON_FULL=1: each n, else all of the first and some of the rest. */
#include "exchanges.h"
#include "harness.h"

#include <stdio.h>

typedef struct life {
  world *w;
  unsigned number; /* names of its own for each: what a life that failed holds is in nobody's way */
  char id[37], file[37], report[37], dropped[37], document[3][16], organization[16];
  planned plan;
  aon_claimed claims[2];
  aon_process self;
  aon_journal *journal;
} life;

/* Made without a fault. */
static void be_born(life *l, world *w, unsigned number) {
  *l = (life){.w = w, .number = number, .self = w->env.ops->process_self(w)};
  uuid(w, 4 * number, l->id);
  uuid(w, 4 * number + 1, l->file);
  uuid(w, 4 * number + 2, l->report);
  uuid(w, 4 * number + 3, l->dropped);
  snprintf(l->organization, sizeof l->organization, "o%u", number);
  for (int i = 0; i < 3; i++) {
    snprintf(l->document[i], sizeof l->document[i], "d%u.%d", number, i);
    plan_add(&l->plan, i, "cUd"[i], i == 1 ? &sites : &users, l->document[i]);
  }
  l->claims[0] = (aon_claimed){.hash = 3 * (uint64_t)number};
  l->claims[1] = (aon_claimed){.hash = 3 * (uint64_t)number + 1, .shared = true};
}

static aon_result hear_bulk(void *context, const aon_bulk *bulk, aon_error *error) {
  (void)error;
  *(unsigned *)context += bulk->id != NULL;
  return AON_OK;
}
static aon_result hear_batch(void *context, const aon_batch *batch, aon_error *error) {
  (void)error;
  *(unsigned *)context += batch->store != NULL;
  return AON_OK;
}
static aon_result hear_conflict(void *context, const aon_conflict *conflict, aon_error *error) {
  (void)error;
  *(unsigned *)context += conflict->code != NULL;
  return AON_OK;
}
static aon_result hear_lock(void *context, const aon_lock *lock, aon_error *error) {
  (void)error;
  *(unsigned *)context += lock->name != NULL;
  return AON_OK;
}
static aon_result hear_event(void *context, const aon_event *event, aon_error *error) {
  (void)error;
  *(unsigned *)context += event->what != NULL;
  return AON_OK;
}
static aon_result hear_stale(void *context, const char *id, bool images, bool watched, aon_error *error) {
  (void)images;
  (void)watched;
  (void)error;
  *(unsigned *)context += id != NULL;
  return AON_OK;
}

#define TRY(call)                                                                                                                          \
  do {                                                                                                                                     \
    aon_result tried = (call);                                                                                                             \
    if (tried)                                                                                                                             \
      return tried;                                                                                                                        \
  } while (0)

static aon_result wait_in_the_queue(life *l, aon_arena *arena, aon_error *error) {
  aon_submission submission = {.id = l->id,
                               .idempotency_key = "k",
                               .digest = "d",
                               .organization = l->organization,
                               .user = "ann",
                               .kind = "import",
                               .source = "book.xlsx",
                               .state = AON_QUEUED,
                               .options = "{}",
                               .file = l->file,
                               .file_bytes = 3};
  aon_take what = {.worker = &l->self, .organization = l->organization};
  aon_bulk bulk;
  bool existed;
  uint64_t freed;
  AON_BUFFER_CLEANUP aon_buffer chunk = {0};
  aon_journal_file found;
  TRY(aon_journal_file_put(l->journal, l->dropped, &l->self, 0, "xyz", 3, error));
  TRY(aon_journal_file_drop(l->journal, l->dropped, error));
  TRY(aon_journal_file_put(l->journal, l->file, &l->self, 0, "abc", 3, error));
  TRY(aon_journal_submit(l->journal, &submission, arena, &bulk, &existed, error));
  assert_false(existed && !calls_failed());
  TRY(aon_journal_submit(l->journal, &submission, arena, &bulk, &existed, error));
  assert_true(existed || calls_failed());
  TRY(aon_journal_sweep_files(l->journal, &freed, error));
  TRY(aon_journal_wait(l->journal, 0, error));
  aon_result taken = aon_journal_take(l->journal, &what, arena, &bulk, error);
  if (taken)
    return taken;
  assert_string_equal(bulk.id, l->id);
  TRY(aon_journal_file_find(l->journal, l->id, AON_FILE_UPLOAD, arena, &found, error));
  TRY(aon_journal_file_get(l->journal, found.id, 0, &chunk, error));
  assert_memory_equal(chunk.data, "abc", 3);
  TRY(aon_journal_move(l->journal, l->id, 1, AON_QUEUED, AON_PARSING, NULL, error));
  TRY(aon_journal_move(l->journal, l->id, 1, AON_PARSING, AON_VALIDATING, NULL, error));
  return aon_journal_move(l->journal, l->id, 1, AON_VALIDATING, AON_PLANNING, NULL, error);
}

static aon_result log_it(life *l, aon_error *error) {
  bool older;
  return aon_journal_log(l->journal, l->id, 1, l->plan.operations, l->plan.count, l->claims, 2, &older, error);
}

static aon_result read_log(life *l, aon_arena *arena, aon_error *error) {
  for (int backward = 0; backward < 2; backward++) {
    aon_entries *entries;
    const aon_operation *operations;
    size_t count = 0;
    bool cleared;
    TRY(aon_entries_open(l->journal, l->id, 0, -1, backward, &entries, error));
    aon_result result = aon_entries_next(entries, &operations, &count, &cleared, error);
    bool right = !result && count == 3 && image_holds(&operations[1].after, "value-1");
    aon_entries_close(entries);
    if (result)
      return result;
    assert_true(right);
  }
  const aon_collection *collections;
  size_t count;
  aon_last_query query = {.hash = aon_document_hash(users.store, users.name, l->plan.operations[0].id),
                          .collection = &users,
                          .document = l->plan.operations[0].id};
  int64_t sequence;
  TRY(aon_journal_collections(l->journal, l->id, arena, &collections, &count, error));
  assert_int_equal(count, 2);
  TRY(aon_journal_last_of(l->journal, l->id, query.hash, &users, query.document, &sequence, error));
  assert_int_equal(sequence, 0);
  TRY(aon_journal_last_of_many(l->journal, l->id, &query, 1, error));
  assert_int_equal(query.sequence, 0);
  return AON_OK;
}

static aon_result plan_it(life *l, aon_arena *arena, aon_error *error) {
  const int64_t operations = 3;
  aon_bulk_change planned_as = {
      .stores = "[{\"name\":\"main\",\"class\":2},{\"name\":\"realtime\",\"class\":3}]", .summary = "{}", .operations = &operations};
  TRY(aon_journal_room(l->journal, 1000, error));
  TRY(log_it(l, error));
  TRY(aon_journal_discard(l->journal, l->id, 1, error));
  TRY(log_it(l, error));
  TRY(log_it(l, error)); /* as after a reply that was lost */
  TRY(read_log(l, arena, error));
  return aon_journal_move(l->journal, l->id, 1, AON_PLANNING, AON_LOGGED, &planned_as, error);
}

static aon_result look_around(life *l, aon_arena *arena, aon_error *error) {
  aon_bulk bulk;
  aon_operation operation;
  char found[37], prefix[9];
  bool held, healthy;
  int64_t generation;
  unsigned heard = 0;
  aon_bulk_filter filter = {.organization = l->organization, .query = "book", .limit = 5};
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  snprintf(prefix, sizeof prefix, "%.8s", l->id);
  TRY(aon_journal_get(l->journal, l->id, arena, &bulk, error));
  assert_int_equal(bulk.operations, 3);
  TRY(aon_journal_find(l->journal, prefix, found, error));
  TRY(aon_journal_list(l->journal, &filter, hear_bulk, &heard, error));
  TRY(aon_journal_holder(l->journal, &users, l->plan.operations[0].id, arena, &held, &bulk, &operation, error));
  assert_true(held && heard == 1);
  TRY(aon_journal_generation(l->journal, "main", &generation, error));
  TRY(aon_journal_batches(l->journal, l->id, hear_batch, &heard, error));
  TRY(aon_journal_locks(l->journal, hear_lock, &heard, error));
  TRY(aon_journal_events(l->journal, l->id, 0, hear_event, &heard, error));
  assert_true(heard >= 4);
  return aon_journal_examine(l->journal, &report, &healthy, error);
}

static aon_result execute_it(life *l, aon_arena *arena, aon_error *error) {
  aon_batch batch = {.store = "realtime", .attempt = 1, .first = 1, .last = 1, .unanswered = true};
  const int64_t progress = 1;
  aon_bulk_change change = {.progress = &progress, .failure = "{}"};
  aon_event event = {.bulk_id = l->id, .who = "ann", .what = "cancel", .detail = "{}"};
  int64_t until, epoch;
  bool asked;
  char name[60];
  TRY(aon_journal_move(l->journal, l->id, 1, AON_LOGGED, AON_EXECUTING, NULL, error));
  TRY(aon_journal_batch(l->journal, l->id, 1, &batch, error));
  batch.status = AON_BATCH_APPLIED;
  TRY(aon_journal_batch(l->journal, l->id, 1, &batch, error));
  TRY(aon_journal_update(l->journal, l->id, 1, &change, error));
  TRY(aon_journal_ask_cancel(l->journal, l->id, error));
  TRY(aon_journal_renew(l->journal, l->id, 1, &until, &asked, error));
  assert_true(asked);
  TRY(aon_journal_event(l->journal, &event, error));
  snprintf(name, sizeof name, "property:main/users/x%u#/name", l->number);
  TRY(aon_journal_lock(l->journal, name, "bob", false, 60000, &epoch, error));
  TRY(look_around(l, arena, error));
  return aon_journal_unlock(l->journal, name, "bob", epoch, error);
}

static aon_result end_it(life *l, aon_arena *arena, aon_error *error) {
  aon_conflict conflict = {.sequence = 1,
                           .store = "realtime",
                           .collection = "sites",
                           .document_id = l->document[1],
                           .code = "foreign_change",
                           .sentence = "Somebody else changed it.",
                           .paths = "[\"/n\"]"};
  aon_journal_file report = {.id = l->report, .role = AON_FILE_REPORT, .bytes = 2, .until_ms = 1};
  const int64_t gone_ms = 1;
  aon_bulk_change end = {.images_until_ms = &gone_ms};
  aon_bulk bulk;
  unsigned heard = 0;
  uint64_t freed;
  TRY(aon_journal_move(l->journal, l->id, 1, AON_EXECUTING, AON_ROLLING_BACK, NULL, error));
  TRY(aon_journal_conflict_put(l->journal, l->id, 1, &conflict, error));
  TRY(aon_journal_conflicts(l->journal, l->id, hear_conflict, &heard, error));
  assert_int_equal(heard, 1);
  TRY(aon_journal_file_put(l->journal, l->report, &l->self, 0, "ok", 2, error));
  TRY(aon_journal_file_attach(l->journal, l->id, 1, &report, error));
  TRY(aon_journal_move(l->journal, l->id, 1, AON_ROLLING_BACK, AON_ROLLBACK_FAILED, &end, error));
  TRY(aon_journal_claim(l->journal, l->id, &l->self, arena, &bulk, error));
  TRY(aon_journal_conflict_drop(l->journal, l->id, bulk.epoch, 1, error));
  TRY(aon_journal_move(l->journal, l->id, bulk.epoch, AON_ROLLBACK_FAILED, AON_ROLLED_BACK, NULL, error));
  heard = 0;
  TRY(aon_journal_stale(l->journal, hear_stale, &heard, error));
  assert_true(heard >= 1);
  aon_result cleared = AON_OK;
  while (!cleared)
    cleared = aon_journal_clear_images(l->journal, l->id, error);
  if (cleared != AON_END)
    return cleared;
  TRY(aon_journal_sweep_locks(l->journal, &freed, error));
  return aon_journal_sweep_files(l->journal, &freed, error);
}

static aon_result lead(life *l, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_journal_config config = {.location = l->w->location, .key_file = l->w->key};
  aon_result result = aon_journal_open(&l->w->env, &config, &l->journal, error);
  if (!result)
    result = wait_in_the_queue(l, &arena, error);
  if (!result)
    result = plan_it(l, &arena, error);
  if (!result)
    result = execute_it(l, &arena, error);
  if (!result)
    result = end_it(l, &arena, error);
  return result;
}

static void die(life *l) {
  aon_journal_close(l->journal);
  plan_clear(&l->plan);
}

static void lead_well(world *w, unsigned number, const char *about) {
  life l;
  aon_error found = AON_ERROR_INIT;
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  bool healthy = false;
  be_born(&l, w, number);
  if (lead(&l, &found))
    fail_msg("after %s: %s %s", about, found.code, found.sentence);
  OK(aon_journal_examine(l.journal, &report, &healthy, error));
  if (w->server ? !strstr(report.data, "right check sum") : !healthy) /* a server that doesn't sync is told of, too */
    fail_msg("after %s: %s", about, report.data);
  die(&l);
}

static void each_fault(void **state) {
  (void)state;
  world *w = world_make();
  unsigned number = 0;
  aon_journal_close(world_open(w));
  lead_well(w, ++number, "nothing");
  for (int kind = 0; kind < (w->server ? EXCHANGES : CALLS); kind++)
    for (int nth = 1;; nth = calls_next(nth, w->server ? 4 : 8)) {
      life l;
      aon_error error = AON_ERROR_INIT;
      char about[60];
      snprintf(about, sizeof about, "%s %d", exchange_name(kind), nth);
      be_born(&l, w, ++number);
      calls_fail(kind, nth);
      aon_result result = lead(&l, &error);
      bool failed = calls_end();
      die(&l);
      if (result && (!error.code[0] || !error.sentence[0] || result == AON_USAGE || result == AON_REJECTED || result == AON_CORRUPT ||
                     result == AON_FENCED || result == AON_END))
        fail_msg("%s: %s %s: %s", about, aon_result_name(result), error.code, error.sentence);
      if (!failed) {
        assert_int_equal(result, AON_OK);
        break;
      }
      lead_well(w, ++number, about);
    }
  world_end(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(each_fault)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
