/* The n-th allocation, piece of memory, step or statement of SQLite, or exchange with a server fails, once, in the life of a journal: it
 * is opened, and everything that can be asked of it is asked, from an upload in its queue to the end of its images, and to its copy in
 * another journal. Either the life ends there and the next worker leads another; or (each_call_again) in each call of the life the n-th
 * fails, and whoever asks asks again.
 *
 * A failing call has a kind, a code and a sentence, none of them the caller's fault, and never calls the journal damaged; asked again it
 * does what it was to do, whether it had done so before or not; the next worker leads the same life to its end; a copy is as empty as
 * before or whole; and the journal is healthy then. AON_FULL=1: each n, else all of the first and some of the rest. */
#include "exchanges.h"
#include "harness.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define LIVES_OF_EXCHANGES 10
#define LIVES_OF_MEMORY 4

typedef struct life {
  world *w;
  unsigned number; /* names of its own for each: what a life that failed holds is in nobody's way */
  char id[37], file[37], report[37], dropped[37], document[3][16], organization[16];
  planned plan;
  aon_claimed claims[2];
  aon_process self;
  aon_journal *journal;
  int kind, nth; /* of each call the nth of the kind fails; nth 0: of the whole life, or none */
  bool lasting;  /* and all after it, until that call has ended */
  unsigned met;  /* calls that met it */
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

static bool on_server(const world *w) { return w->server || w->on_mongodb; }

static void says_why(const char *about, aon_result result, const aon_error *error) {
  if (result && (!error->code[0] || !error->sentence[0] || result == AON_USAGE || result == AON_REJECTED || result == AON_CORRUPT ||
                 result == AON_FENCED || result == AON_END))
    fail_msg("%s: %s %s: %s", about, aon_result_name(result), error->code, error->sentence);
}

static void plant(const life *l) {
  if (l->nth && l->lasting)
    calls_fail_from(l->kind, l->nth);
  else if (l->nth)
    calls_fail(l->kind, l->nth);
}

/* Whether it is to be asked again, without a fault. */
static bool failed_by_it(life *l, aon_result result, aon_error *error, const char *call) {
  char about[300];
  if (!l->nth)
    return false;
  bool met = calls_end();
  l->met += met;
  if (!result || !met)
    return false;
  snprintf(about, sizeof about, "%s %d%s of %s", exchange_name(l->kind), l->nth, l->lasting ? " and all after it" : "", call);
  says_why(about, result, error);
  *error = (aon_error)AON_ERROR_INIT;
  return true;
}

#define GO(call)                                                                                                                           \
  do {                                                                                                                                     \
    aon_result went = (call);                                                                                                              \
    if (went)                                                                                                                              \
      return went;                                                                                                                         \
  } while (0)

#define TRY(call)                                                                                                                          \
  do {                                                                                                                                     \
    plant(l);                                                                                                                              \
    aon_result tried = (call);                                                                                                             \
    if (failed_by_it(l, tried, error, #call))                                                                                              \
      tried = (call);                                                                                                                      \
    if (tried)                                                                                                                             \
      return tried;                                                                                                                        \
  } while (0)

/* A worker that did not hear that it has one finds it by its lease. */
static aon_result take(life *l, const aon_take *what, aon_arena *arena, aon_bulk *ret_bulk, aon_error *error) {
  aon_result result = aon_journal_take(l->journal, what, arena, ret_bulk, error);
  if (result != AON_END || !l->nth)
    return result;
  GO(aon_journal_get(l->journal, l->id, arena, ret_bulk, error));
  assert_true(ret_bulk->epoch == 1 && ret_bulk->worker.pid == l->self.pid);
  return AON_OK;
}

/* The same. */
static aon_result claim(life *l, aon_arena *arena, aon_bulk *ret_bulk, aon_error *error) {
  aon_result result = aon_journal_claim(l->journal, l->id, &l->self, arena, ret_bulk, error);
  if (result != AON_BUSY || !l->nth)
    return result;
  *error = (aon_error)AON_ERROR_INIT;
  GO(aon_journal_get(l->journal, l->id, arena, ret_bulk, error));
  assert_true(ret_bulk->epoch == 2 && ret_bulk->worker.pid == l->self.pid);
  return AON_OK;
}

/* The same of a report. */
static aon_result attach(life *l, int64_t epoch, const aon_journal_file *report, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_journal_file found;
  aon_result result = aon_journal_file_attach(l->journal, l->id, epoch, report, error);
  if (result != AON_USAGE || !l->nth)
    return result;
  *error = (aon_error)AON_ERROR_INIT;
  GO(aon_journal_file_find(l->journal, l->id, report->role, &arena, &found, error));
  assert_string_equal(found.id, report->id);
  return AON_OK;
}

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
  TRY(take(l, &what, arena, &bulk, error));
  assert_string_equal(bulk.id, l->id);
  TRY(aon_journal_file_find(l->journal, l->id, AON_FILE_UPLOAD, arena, &found, error));
  TRY(aon_journal_file_get(l->journal, found.id, 0, &chunk, error));
  assert_memory_equal(chunk.data, "abc", 3);
  TRY(aon_journal_move(l->journal, l->id, 1, AON_QUEUED, AON_PARSING, NULL, error));
  TRY(aon_journal_move(l->journal, l->id, 1, AON_PARSING, AON_VALIDATING, NULL, error));
  TRY(aon_journal_move(l->journal, l->id, 1, AON_VALIDATING, AON_PLANNING, NULL, error));
  return AON_OK;
}

static aon_result log_it(life *l, aon_error *error) {
  bool older;
  return aon_journal_log(l->journal, l->id, 1, l->plan.operations, l->plan.count, l->claims, 2, &older, error);
}

static aon_result read_entries(life *l, bool backward, aon_error *error) {
  aon_entries *entries;
  const aon_operation *operations;
  size_t count = 0;
  bool cleared;
  GO(aon_entries_open(l->journal, l->id, 0, -1, backward, &entries, error));
  aon_result result = aon_entries_next(entries, &operations, &count, &cleared, error);
  assert_true(result || (count == 3 && image_holds(&operations[1].after, "value-1")));
  aon_entries_close(entries);
  return result;
}

static aon_result read_log(life *l, aon_arena *arena, aon_error *error) {
  TRY(read_entries(l, false, error));
  TRY(read_entries(l, true, error));
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
  GO(read_log(l, arena, error));
  TRY(aon_journal_move(l->journal, l->id, 1, AON_PLANNING, AON_LOGGED, &planned_as, error));
  return AON_OK;
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
  assert_true(held && heard >= 1);
  TRY(aon_journal_generation(l->journal, "main", &generation, error));
  TRY(aon_journal_batches(l->journal, l->id, hear_batch, &heard, error));
  TRY(aon_journal_locks(l->journal, hear_lock, &heard, error));
  TRY(aon_journal_events(l->journal, l->id, 0, hear_event, &heard, error));
  assert_true(heard >= 4);
  TRY(aon_journal_examine(l->journal, &report, &healthy, error));
  return AON_OK;
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
  TRY(aon_journal_lock(l->journal, name, "bob", false, 3600000, &epoch, error));
  GO(look_around(l, arena, error));
  TRY(aon_journal_unlock(l->journal, name, "bob", epoch, error));
  return AON_OK;
}

static aon_result clear_images(life *l, aon_error *error) {
  aon_result result = AON_OK;
  while (!result)
    result = aon_journal_clear_images(l->journal, l->id, error);
  return result == AON_END ? AON_OK : result;
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
  assert_true(heard == 1 || l->nth);
  TRY(aon_journal_file_put(l->journal, l->report, &l->self, 0, "ok", 2, error));
  TRY(attach(l, 1, &report, error));
  TRY(aon_journal_move(l->journal, l->id, 1, AON_ROLLING_BACK, AON_ROLLBACK_FAILED, &end, error));
  TRY(claim(l, arena, &bulk, error));
  TRY(aon_journal_conflict_drop(l->journal, l->id, bulk.epoch, 1, error));
  TRY(aon_journal_move(l->journal, l->id, bulk.epoch, AON_ROLLBACK_FAILED, AON_ROLLED_BACK, NULL, error));
  heard = 0;
  TRY(aon_journal_stale(l->journal, hear_stale, &heard, error));
  assert_true(heard >= 1);
  TRY(clear_images(l, error));
  TRY(aon_journal_sweep_locks(l->journal, &freed, error));
  TRY(aon_journal_sweep_files(l->journal, &freed, error));
  return AON_OK;
}

static aon_result open_it(life *l, aon_error *error) {
  aon_journal_config config = {.location = l->w->location, .key_file = l->w->key};
  TRY(aon_journal_open(&l->w->env, &config, &l->journal, error));
  return AON_OK;
}

static aon_result lead(life *l, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  GO(open_it(l, error));
  GO(wait_in_the_queue(l, &arena, error));
  GO(plan_it(l, &arena, error));
  GO(execute_it(l, &arena, error));
  return end_it(l, &arena, error);
}

static void die(life *l) {
  aon_journal_close(l->journal);
  plan_clear(&l->plan);
}

static void is_healthy(world *w, aon_journal *journal, const char *about) {
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  bool healthy = false;
  OK(aon_journal_examine(journal, &report, &healthy, error));
  if (on_server(w) ? !strstr(report.data, "right check sum") : !healthy) /* a server that doesn't sync is told of, too */
    fail_msg("after %s: %s", about, report.data);
}

static void lead_well(world *w, unsigned number, const char *about) {
  life l;
  aon_error found = AON_ERROR_INIT;
  be_born(&l, w, number);
  if (lead(&l, &found))
    fail_msg("after %s: %s %s", about, found.code, found.sentence);
  is_healthy(w, l.journal, about);
  die(&l);
}

static int kinds(const world *w) { return on_server(w) ? EXCHANGES : CALLS; }
static bool more_of_them(void) { return calls_full() || getenv("AON_CALLS_MORE"); }
static bool of_sqlite(int kind) { return kind == CALL_STEP || kind == CALL_STATEMENT; }

/* A server takes its time for each transaction: then only some lives, evenly, over all the calls of one. */
static int next_of(const world *w, int kind, int nth, int all) {
  if (!on_server(w) || calls_full())
    return calls_next(nth, 3);
  int lives = (kind >= CALLS ? LIVES_OF_EXCHANGES : LIVES_OF_MEMORY) / (w->on_mongodb ? 4 : 1);
  return nth + (all > lives ? all / lives : 1);
}

/* In whose world nobody waits. */
static world *hurried_world(void) {
  world *w = world_make();
  w->hurried = true;
  return w;
}

static void each_fault(void **state) {
  (void)state;
  world *w = hurried_world();
  unsigned number = 0;
  if (w->on_mongodb && !calls_full()) { /* the test's server takes seconds for a life: each of its calls fails in the other case */
    world_end(w);
    return;
  }
  aon_journal_close(world_open(w));
  lead_well(w, ++number, "nothing");
  for (int kind = 0; kind < kinds(w); kind++) {
    if (on_server(w) && of_sqlite(kind))
      continue;
    calls_fail(kind, INT_MAX);
    lead_well(w, ++number, "counting");
    int all = calls_seen();
    for (int nth = 1;; nth = next_of(w, kind, nth, all)) {
      life l;
      aon_error error = AON_ERROR_INIT;
      char about[60];
      snprintf(about, sizeof about, "%s %d", exchange_name(kind), nth);
      be_born(&l, w, ++number);
      calls_fail(kind, nth);
      aon_result result = lead(&l, &error);
      bool failed = calls_end();
      die(&l);
      says_why(about, result, &error);
      if (!failed) {
        assert_int_equal(result, AON_OK);
        break;
      }
      lead_well(w, ++number, about);
    }
  }
  world_end(w);
}

#define EACH_REFUSAL 12 /* which are quick, as nobody tries again what a server refuses; after these only some */

/* Calls of the journal are short: after the first ones only few have more. */
static int next_again(const world *w, int kind, int nth) {
  return kind == CALL_REFUSAL && more_of_them() && nth < EACH_REFUSAL ? nth + 1 : calls_next(nth, on_server(w) ? 1 : 8);
}

/* Whether any call of the life met the fault. */
static bool asked_again(world *w, unsigned number, int kind, int nth, bool lasting) {
  life l;
  aon_error found = AON_ERROR_INIT;
  char about[80];
  snprintf(about, sizeof about, "%s %d%s of each call", exchange_name(kind), nth, lasting ? " and all after it" : "");
  be_born(&l, w, number);
  l.kind = kind;
  l.nth = nth;
  l.lasting = lasting;
  if (lead(&l, &found))
    fail_msg("%s: %s %s", about, found.code, found.sentence);
  is_healthy(w, l.journal, about);
  die(&l);
  return l.met > 0;
}

static void each_call_again(void **state) {
  (void)state;
  world *w = hurried_world();
  unsigned number = 100000;
  aon_journal_close(world_open(w));
  int all_kinds = w->on_mongodb && !more_of_them() ? EXCHANGES : on_server(w) ? EXCHANGES_AND_REFUSALS : CALLS;
  for (int kind = 0; kind < all_kinds; kind++) {
    if (on_server(w) && of_sqlite(kind))
      continue;
    if (w->server && kind != CALL_REFUSAL && !more_of_them()) /* whole lives on PostgreSQL are short enough to be led in the other case */
      continue;
    for (int nth = 1; asked_again(w, ++number, kind, nth, false); nth = next_again(w, kind, nth))
      ;
  }
  world_end(w);
}

/* A server that is gone for longer than a call is patient. */
static void each_call_given_up(void **state) {
  (void)state;
  world *w = hurried_world();
  unsigned number = 200000;
  aon_journal_close(world_open(w));
  int most = more_of_them() ? 7 : w->on_mongodb ? 0 : 1; /* its test's server takes seconds for a life */
  for (int kind = CALLS; on_server(w) && kind < EXCHANGES; kind++)
    for (int nth = 1; nth <= most && asked_again(w, ++number, kind, nth, true); nth = next_again(w, kind, nth))
      ;
  world_end(w);
}

/* ---- making one, and its keys ---- */

/* Whether the fault was met. What was begun is ended by whoever opens it next, or asks for a new key again. */
static bool made_with(int kind, int nth) {
  world *w = hurried_world();
  aon_journal *journal = NULL;
  aon_error found = AON_ERROR_INIT;
  char about[60];
  snprintf(about, sizeof about, "%s %d of making one", exchange_name(kind), nth);
  const aon_journal_config config = {.location = w->location, .key_file = w->key};
  calls_fail(kind, nth);
  aon_result result = aon_journal_open(&w->env, &config, &journal, &found);
  bool met = calls_end();
  says_why(about, result, &found);
  if (!result)
    aon_journal_close(journal);
  journal = world_open(w);
  found = (aon_error)AON_ERROR_INIT;
  calls_fail(kind, nth);
  result = aon_journal_rotate_key(journal, &found);
  met = calls_end() || met;
  says_why(about, result, &found);
  OK(aon_journal_rotate_key(journal, error));
  aon_journal_close(journal);
  journal = world_open(w);
  is_healthy(w, journal, about);
  aon_journal_close(journal);
  world_end(w);
  return met;
}

static void each_making(void **state) {
  (void)state;
  world *w = hurried_world(); /* what kind of journal it is */
  int first = more_of_them() || !on_server(w) ? 0 : w->on_mongodb ? EXCHANGES_AND_REFUSALS : CALL_REFUSAL;
  for (int kind = first; kind < (on_server(w) ? EXCHANGES_AND_REFUSALS : CALLS); kind++)
    for (int nth = 1; !(on_server(w) && of_sqlite(kind)) && made_with(kind, nth);)
      nth = calls_next(nth, on_server(w) && !more_of_them() ? 1 : 4);
  world_end(w);
}

/* ---- copies ---- */

/* What an upload leaves that waits, and one that is held with a document in conflict. */
static void leave_open(world *w, unsigned number) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  life l;
  aon_bulk bulk;
  bool existed;
  char id[37], file[37];
  aon_error found = AON_ERROR_INIT;
  be_born(&l, w, number);
  assert_int_equal(open_it(&l, &found), AON_OK);
  assert_int_equal(wait_in_the_queue(&l, &arena, &found), AON_OK);
  assert_int_equal(plan_it(&l, &arena, &found), AON_OK);
  aon_conflict conflict = {
      .sequence = 1, .store = "realtime", .collection = "sites", .document_id = l.document[1], .code = "foreign_change", .sentence = "So."};
  aon_bulk_change let_go = {.free_lease = true};
  OK(aon_journal_move(l.journal, l.id, 1, AON_LOGGED, AON_EXECUTING, NULL, error));
  OK(aon_journal_conflict_put(l.journal, l.id, 1, &conflict, error));
  OK(aon_journal_move(l.journal, l.id, 1, AON_EXECUTING, AON_HELD, &let_go, error));
  aon_submission waiting = {.id = uuid(w, 4 * number + 400000, id),
                            .digest = "e",
                            .organization = "others",
                            .user = "bob",
                            .kind = "import",
                            .state = AON_QUEUED,
                            .file = uuid(w, 4 * number + 400001, file),
                            .file_bytes = 3};
  OK(aon_journal_file_put(l.journal, file, &l.self, 0, "abc", 3, error));
  OK(aon_journal_submit(l.journal, &waiting, &arena, &bulk, &existed, error));
  die(&l);
}

/* A journal that is new, on the same server or in a file, with the keys of the other. */
static world *empty_one(const world *with_keys, bool in_file) {
  world *t = hurried_world();
  memcpy(t->key, with_keys->key, sizeof t->key);
  if (in_file)
    snprintf(t->location, sizeof t->location, "%s", t->path);
  return t;
}

#define HELD_NUMBER 2 /* of the life that leave_open leaves held */

/* What compare doesn't look at: who holds a document, and what is in conflict. */
static void is_whole(aon_journal *copy, world *w, const char *about) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_bulk bulk;
  aon_operation operation;
  char id[37];
  bool held = false;
  unsigned heard = 0;
  OK(aon_journal_holder(copy, &users, (aon_text){"d2.0", 4}, &arena, &held, &bulk, &operation, error));
  OK(aon_journal_conflicts(copy, uuid(w, 4 * HELD_NUMBER, id), hear_conflict, &heard, error));
  if (!held || strcmp(bulk.id, id) != 0 || !image_holds(&operation.after, "value-0") || heard != 1)
    fail_msg("after %s: the copy lacks a lock, an image or a conflict", about);
}

/* Copies with a fault, and again without where it failed; the copy is whole then, and whoever compares with a fault is told no lie. */
static bool copied_with(world *w, aon_journal *from, bool in_file, int kind, int nth) {
  aon_error found = AON_ERROR_INIT;
  aon_journal_copied counts = {0};
  char about[80];
  snprintf(about, sizeof about, "%s %d of a copy %s", exchange_name(kind), nth, in_file ? "out" : "in");
  world *t = empty_one(w, in_file);
  aon_journal *to = world_open(t);
  calls_fail(kind, nth);
  aon_result result = aon_journal_copy(from, to, &counts, &found);
  bool met = calls_end();
  says_why(about, result, &found);
  if (result && aon_journal_copy(from, to, &counts, &found) && strcmp(found.code, "journal_not_empty") != 0)
    fail_msg("after %s: %s %s", about, found.code, found.sentence);
  calls_fail(kind, nth);
  result = aon_journal_compare(from, to, &found);
  met = calls_end() || met;
  says_why(about, result, &found);
  OK(aon_journal_compare(from, to, error));
  is_whole(to, w, about);
  is_healthy(t, to, about);
  aon_journal_close(to);
  world_end(t);
  return met;
}

static void copies(world *w, const char *location, bool in_file) {
  aon_journal *from;
  aon_journal_config config = {.location = location, .key_file = w->key, .read_only = true};
  OK(aon_journal_open(&w->env, &config, &from, error));
  int all_kinds = on_server(w) && more_of_them() ? EXCHANGES_AND_REFUSALS : kinds(w);
  for (int kind = 0; kind < all_kinds; kind++) {
    int all = kind >= CALLS ? 60 : 600;
    for (int nth = 1; copied_with(w, from, in_file, kind, nth);)
      nth = kind == CALL_REFUSAL ? calls_next(nth, 6) : next_of(w, kind, nth, all);
  }
  aon_journal_close(from);
}

static void each_copy(void **state) {
  (void)state;
  world *w = hurried_world();
  aon_journal *from, *moved;
  aon_journal_copied counts;
  aon_journal_close(world_open(w));
  lead_well(w, 1, "nothing");
  leave_open(w, HELD_NUMBER);
  copies(w, w->location, true);
  world *t = empty_one(w, true);
  aon_journal_config config = {.location = w->location, .key_file = w->key, .read_only = true};
  OK(aon_journal_open(&w->env, &config, &from, error));
  moved = world_open(t);
  OK(aon_journal_copy(from, moved, &counts, error));
  assert_true(counts.bulk == 3 && counts.segments && counts.conflicts == 1 && counts.events);
  aon_journal_close(from);
  aon_journal_close(moved);
  if (on_server(w))
    copies(w, t->location, false);
  world_end(t);
  world_end(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(each_making), cmocka_unit_test(each_fault), cmocka_unit_test(each_call_again),
                                     cmocka_unit_test(each_call_given_up), cmocka_unit_test(each_copy)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
