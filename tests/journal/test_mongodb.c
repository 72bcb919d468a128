/* What only a journal on MongoDB can show: a transaction that a killed or a frozen worker left open, images that no single document can
 * hold, a copy that was broken off, documents that are damaged, a server without transactions. Run by tests/servers/mongodb. */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "journal/mongodb_docket.h"

static int setup(void **state) {
  *state = world_make();
  return 0;
}

static int teardown(void **state) {
  world_end(*state);
  return 0;
}

/* ---- who is in the way ---- */

static aon_result hold_the_turn(aon_docket *d, void *arguments, aon_error *error) {
  aon_result result = aon_docket_turn(d, error);
  if (!result && write(*(int *)arguments, "x", 1) != 1)
    _exit(98);
  for (;;)
    pause();
}

/* A process that has the turn in an open transaction, and does not end it. */
static pid_t in_the_way(world *w) {
  int ends[2];
  char byte;
  assert_int_equal(pipe(ends), 0);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    aon_journal *journal = world_open(w);
    aon_error error = AON_ERROR_INIT;
    (void)!aon_docket_write(aon_journal_state(journal), "standing in the way", hold_the_turn, &ends[1], &error);
    _exit(97);
  }
  assert_int_equal(read(ends[0], &byte, 1), 1);
  close(ends[0]);
  close(ends[1]);
  return child;
}

static void log_some(world *w, aon_journal *journal, const char *id, int64_t first) {
  (void)w;
  planned plan = {0};
  plan_creates(&plan, first, 3, "u");
  OK(aon_journal_log(journal, id, 1, plan.operations, plan.count, NULL, 0, NULL, error));
  plan_clear(&plan);
}

static void what_a_worker_left_open_is_ended(void **state) {
  world *w = *state;
  char id[37];
  aon_journal *journal = world_open(w);
  begin_bulk(w, journal, uuid(w, 1, id));
  pid_t frozen = in_the_way(w);
  log_some(w, journal, id, 0); /* within the patience of a call */
  kill(frozen, SIGKILL);
  waitpid(frozen, NULL, 0);
  pid_t killed = in_the_way(w);
  kill(killed, SIGKILL);
  waitpid(killed, NULL, 0);
  w->dead_pid = killed;
  log_some(w, journal, id, 3);
  aon_journal_close(journal);
}

/* ---- large images ---- */

static void images_of_many_megabytes_come_back(void **state) {
  world *w = *state;
  char id[37];
  size_t length = (size_t)15 << 20, count;
  char *text = malloc(length + 1);
  assert_non_null(text);
  for (size_t i = 0; i < length; i++)
    text[i] = (char)('a' + i * 7919 % 26);
  text[length] = 0;
  aon_journal *journal = world_open(w);
  begin_bulk(w, journal, uuid(w, 1, id));
  planned plan = {0};
  plan_add(&plan, 0, 'C', &users, "large");
  plan.operations[0].after = image_of(&plan.arena, "after", text);
  OK(aon_journal_log(journal, id, 1, plan.operations, 1, NULL, 0, NULL, error));
  aon_entries *entries;
  const aon_operation *operations;
  OK(aon_entries_open(journal, id, 0, -1, false, &entries, error));
  OK(aon_entries_next(entries, &operations, &count, NULL, error));
  assert_int_equal(operations[0].after.bson_length, plan.operations[0].after.bson_length);
  assert_memory_equal(operations[0].after.bson, plan.operations[0].after.bson, operations[0].after.bson_length);
  aon_entries_close(entries);
  plan_clear(&plan);
  free(text);
  aon_journal_close(journal);
}

/* ---- a copy that was broken off ---- */

static aon_result begin_copy(aon_docket *d, void *arguments, aon_error *error) {
  (void)arguments;
  return aon_docket_loading(d, d->now_ms + 60000, error);
}

static void half_a_copy_is_no_journal(void **state) {
  world *w = *state;
  char id[37];
  aon_error found;
  aon_bulk bulk;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_journal *journal = world_open(w), *other = NULL;
  aon_journal_config config = {.location = w->location, .key_file = w->key};
  begin_bulk(w, journal, uuid(w, 1, id));
  OK(aon_docket_write(aon_journal_state(journal), "copying", begin_copy, NULL, error));
  FAILS(aon_journal_open(&w->env, &config, &other, error), AON_BUSY, "journal_loading", found);
  ((aon_docket *)aon_journal_state(journal))->now_ms = 0;
  int64_t hour_ago = -3600000; /* long since */
  ((aon_docket *)aon_journal_state(journal))->ahead_ms = &hour_ago;
  OK(aon_docket_write(aon_journal_state(journal), "copying", begin_copy, NULL, error));
  aon_journal_close(journal);
  journal = world_open(w);
  FAILS(aon_journal_get(journal, id, &arena, &bulk, error), AON_USAGE, "not_found", found);
  begin_bulk(w, journal, id);
  log_some(w, journal, id, 0);
  aon_journal_close(journal);
}

/* ---- documents that are damaged ---- */

#define COLLECTIONS 17
static const char *const all_collections[COLLECTIONS] = {
    AON_DOCKET_BULK,        AON_DOCKET_LOG,   AON_DOCKET_NAMES, AON_DOCKET_LOCKS,  AON_DOCKET_BATCHES, AON_DOCKET_CONFLICTS,
    AON_DOCKET_GENERATIONS, AON_DOCKET_NAMED, AON_DOCKET_WAITS, AON_DOCKET_EVENTS, AON_DOCKET_KEYS,    AON_DOCKET_FILES,
    AON_DOCKET_CHUNKS,      AON_DOCKET_WASTE, AON_DOCKET_META,  AON_DOCKET_PARTS,  AON_DOCKET_SESSIONS};

/* Beside the journal: may fail, as a unique index may refuse it. */
static void command(aon_docket *d, bson_t *what) {
  bson_t reply;
  aon_error error = AON_ERROR_INIT;
  (void)!aon_docket_command(d, NULL, what, AON_MONGODB_WRITE, "damaging it", &reply, &error);
  bson_destroy(&reply);
}

static void set_all(aon_docket *d, const char *collection, bson_t *how) {
  command(d, BCON_NEW("update", BCON_UTF8(collection), "updates", "[", "{", "q", "{", "}", "u", BCON_DOCUMENT(how), "multi",
                      BCON_BOOL(true), "}", "]"));
  bson_destroy(how);
}

typedef struct kept {
  aon_docket_rows rows[COLLECTIONS];
} kept;

static void keep(aon_docket *d, kept *all) {
  for (size_t i = 0; i < COLLECTIONS; i++)
    OK(aon_docket_find(d, all_collections[i], bson_new(), NULL, &all->rows[i], "keeping it", error));
}

static void put_back(aon_docket *d, const kept *all) {
  for (size_t i = 0; i < COLLECTIONS; i++) {
    const aon_docket_rows *rows = &all->rows[i];
    command(d, BCON_NEW("delete", BCON_UTF8(all_collections[i]), "deletes", "[", "{", "q", "{", "}", "limit", BCON_INT32(0), "}", "]"));
    bson_t documents = BSON_INITIALIZER, document;
    char number[24];
    for (size_t r = 0; r < rows->count; r++) {
      assert_true(bson_init_static(&document, rows->rows[r].bytes, rows->rows[r].length));
      snprintf(number, sizeof number, "%zu", r);
      BSON_APPEND_DOCUMENT(&documents, number, &document);
    }
    if (rows->count)
      command(d, BCON_NEW("insert", BCON_UTF8(all_collections[i]), "documents", BCON_ARRAY(&documents)));
    bson_destroy(&documents);
  }
}

static aon_result hear_bulk(void *context, const aon_bulk *bulk, aon_error *error) {
  (void)context;
  (void)error;
  assert_non_null(bulk->id);
  return AON_OK;
}
static aon_result hear_batch(void *context, const aon_batch *batch, aon_error *error) {
  (void)context;
  (void)batch;
  (void)error;
  return AON_OK;
}
static aon_result hear_conflict(void *context, const aon_conflict *conflict, aon_error *error) {
  (void)context;
  (void)conflict;
  (void)error;
  return AON_OK;
}
static aon_result hear_lock(void *context, const aon_lock *lock, aon_error *error) {
  (void)context;
  (void)lock;
  (void)error;
  return AON_OK;
}
static aon_result hear_event(void *context, const aon_event *event, aon_error *error) {
  (void)context;
  (void)event;
  (void)error;
  return AON_OK;
}

typedef struct asked {
  char a[37], b[37], c[37], file[37];
} asked;

/* Three bulk operations: one holds documents, one would like to, one has ended with a document in conflict. */
static void begin_asked(world *w, aon_journal *journal, asked *who) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_process self = w->env.ops->process_self(w);
  aon_bulk bulk;
  bool existed;
  int64_t epoch;
  planned plan = {0};
  uuid(w, 4, who->file);
  begin_bulk(w, journal, uuid(w, 1, who->a));
  begin_bulk(w, journal, uuid(w, 2, who->b));
  const aon_submission undoing = {
      .id = uuid(w, 3, who->c), .digest = "d", .organization = "o", .undoes = who->a, .state = AON_PLANNING, .worker = &self};
  OK(aon_journal_submit(journal, &undoing, &arena, &bulk, &existed, error));
  plan_add(&plan, 0, 'C', &users, "u0");
  plan_add(&plan, 1, 'u', &sites, "s0");
  const aon_claimed claims[] = {{.hash = 7}, {.hash = 8, .shared = true}};
  OK(aon_journal_log(journal, who->a, 1, plan.operations, 2, claims, 2, NULL, error));
  plan_clear(&plan);
  plan_creates(&plan, 0, 2, "c");
  OK(aon_journal_log(journal, who->c, 1, plan.operations, 2, NULL, 0, NULL, error));
  plan_clear(&plan);
  OK(aon_journal_move(journal, who->c, 1, AON_PLANNING, AON_EXECUTING, &(aon_bulk_change){.stores = "[{\"name\":\"main\"}]"}, error));
  const aon_conflict conflict = {.sequence = 1, .store = "main", .collection = "users", .document_id = "c1", .code = "x", .sentence = "y"};
  OK(aon_journal_conflict_put(journal, who->c, 1, &conflict, error));
  OK(aon_journal_batch(journal, who->c, 1, &(aon_batch){.store = "main", .attempt = 1}, error));
  go(journal, who->c, AON_EXECUTING, AON_ROLLBACK_FAILED);
  OK(aon_journal_file_put(journal, who->file, &self, 0, "abc", 3, error));
  OK(aon_journal_file_attach(journal, who->a, 1, &(aon_journal_file){.id = who->file, .role = AON_FILE_REPORT, .bytes = 3}, error));
  OK(aon_journal_event(journal, &(aon_event){.bulk_id = who->a, .who = "ann", .what = "cancel"}, error));
  OK(aon_journal_lock(journal, "n", "ann", true, 100000000, &epoch, error));
  OK(aon_journal_lock(journal, "document:main/users/x", "ann", false, 100000000, &epoch, error));
  aon_error found;
  FAILS(aon_journal_lock(journal, "n", "bob", false, 100000000, &epoch, error), AON_BUSY, "locked", found);
}

typedef struct asking {
  char about[100];
  unsigned corrupt;
} asking;

/* Whatever is in the documents: a result, or a failure in a sentence. */
static void answered(asking *all, const char *call, aon_result result, const aon_error *error) {
  all->corrupt += result == AON_CORRUPT;
  if (result && result != AON_END && (!error->code[0] || strlen(error->sentence) < 20 || result == AON_NO_MEMORY))
    fail_msg("%s: %s: %s %s: %s", all->about, call, aon_result_name(result), error->code, error->sentence);
}
#define ASK(call)                                                                                                                          \
  do {                                                                                                                                     \
    aon_error asked_ = AON_ERROR_INIT, *error = &asked_;                                                                                   \
    answered(all, #call, (call), error);                                                                                                   \
  } while (0)

static aon_result read_all_of(aon_journal *journal, const char *id, aon_error *error) {
  aon_entries *entries;
  const aon_operation *operations;
  size_t count;
  aon_result result = aon_entries_open(journal, id, 0, -1, false, &entries, error);
  if (result)
    return result;
  while (!(result = aon_entries_next(entries, &operations, &count, NULL, error)))
    ;
  aon_entries_close(entries);
  return result;
}

static void ask_to_read(world *w, aon_journal *journal, const asked *who, asking *all) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  AON_BUFFER_CLEANUP aon_buffer report = {0}, chunk = {0};
  aon_bulk bulk;
  aon_operation operation;
  const aon_collection *collections;
  aon_journal_file file;
  char prefix[9], id[37];
  bool flag;
  int64_t number;
  size_t count;
  (void)w;
  snprintf(prefix, sizeof prefix, "%.8s", who->a);
  ASK(aon_journal_get(journal, who->a, &arena, &bulk, error));
  ASK(aon_journal_get(journal, who->c, &arena, &bulk, error));
  ASK(aon_journal_find(journal, prefix, id, error));
  ASK(aon_journal_list(journal, NULL, hear_bulk, NULL, error));
  ASK(aon_journal_holder(journal, &users, AON_TEXT("u0"), &arena, &flag, &bulk, &operation, error));
  ASK(aon_journal_holder(journal, &users, AON_TEXT("c1"), &arena, &flag, &bulk, &operation, error));
  ASK(read_all_of(journal, who->a, error));
  ASK(aon_journal_collections(journal, who->a, &arena, &collections, &count, error));
  ASK(aon_journal_last_of(journal, who->a, aon_document_hash("main", "users", AON_TEXT("u0")), &users, AON_TEXT("u0"), &number, error));
  ASK(aon_journal_batches(journal, who->c, hear_batch, NULL, error));
  ASK(aon_journal_conflicts(journal, who->c, hear_conflict, NULL, error));
  ASK(aon_journal_locks(journal, hear_lock, NULL, error));
  ASK(aon_journal_events(journal, NULL, 0, hear_event, NULL, error));
  ASK(aon_journal_generation(journal, "main", &number, error));
  ASK(aon_journal_file_find(journal, who->a, AON_FILE_REPORT, &arena, &file, error));
  ASK(aon_journal_file_get(journal, who->file, 0, &chunk, error));
  ASK(aon_journal_examine(journal, &report, &flag, error));
}

static void ask_to_write(world *w, aon_journal *journal, const asked *who, asking *all) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_bulk bulk;
  bool flag;
  int64_t number;
  uint64_t freed;
  planned plan = {0};
  aon_process self = w->env.ops->process_self(w);
  const aon_submission again = {.id = who->a, .digest = "d", .state = AON_PLANNING};
  plan_add(&plan, 0, 'u', &users, "u0");
  plan_add(&plan, 1, 'u', &users, "c1");
  ASK(aon_journal_submit(journal, &again, &arena, &bulk, &flag, error));
  ASK(aon_journal_log(journal, who->b, 1, plan.operations, 1, NULL, 0, NULL, error));
  plan.operations[1].sequence = 0;
  ASK(aon_journal_log(journal, who->b, 1, plan.operations + 1, 1, NULL, 0, NULL, error));
  ASK(aon_journal_lock(journal, "document:main/users/u0", "bob", false, 0, &number, error));
  ASK(aon_journal_lock(journal, "document:main/users/c1", "bob", false, 0, &number, error));
  ASK(aon_journal_lock(journal, "n", "bob", false, 0, &number, error));
  ASK(aon_journal_lock(journal, "n", "cid", true, 0, &number, error));
  ASK(aon_journal_lock(journal, "property:main/users/x#/p", "bob", true, 0, &number, error));
  ASK(aon_journal_claim(journal, who->a, &self, &arena, &bulk, error));
  ASK(aon_journal_move(journal, who->a, 1, AON_PLANNING, AON_LOGGED, NULL, error));
  ASK(aon_journal_sweep_files(journal, &freed, error));
  ASK(aon_journal_sweep_locks(journal, &freed, error));
  plan_clear(&plan);
}

static unsigned ask_everything(world *w, const asked *who, const char *about) {
  aon_journal *journal = NULL;
  asking what = {0}, *all = &what;
  snprintf(what.about, sizeof what.about, "%s", about);
  const aon_journal_config config = {.location = w->location, .key_file = w->key, .lease_ms = 100000000};
  ASK(aon_journal_open(&w->env, &config, &journal, error));
  if (!journal)
    return what.corrupt;
  world_clock(w, journal);
  ask_to_read(w, journal, who, all);
  ask_to_write(w, journal, who, all);
  aon_journal_close(journal);
  return what.corrupt;
}

/* Every field of every document, gone: in the short run some of them. */
static void each_field_may_be_missing(world *w, aon_docket *d, const kept *all, const asked *who) {
  const char *more = getenv("AON_CALLS_MORE"), *full = getenv("AON_FULL");
  unsigned number = 0, every = more || (full && !strcmp(full, "1")) ? 1 : 30;
  int64_t skew_ms = w->skew_ms;
  for (size_t i = 0; i < COLLECTIONS; i++) {
    bson_iter_t at;
    if (!all->rows[i].count || !bson_iter_init_from_data(&at, all->rows[i].rows[0].bytes, all->rows[i].rows[0].length))
      continue;
    while (bson_iter_next(&at)) {
      char about[100];
      if (!strcmp(bson_iter_key(&at), "_id") || number++ % every)
        continue;
      snprintf(about, sizeof about, "%s without %s", all_collections[i], bson_iter_key(&at));
      set_all(d, all_collections[i], BCON_NEW("$unset", "{", bson_iter_key(&at), BCON_INT32(1), "}"));
      ask_everything(w, who, about);
      w->skew_ms = skew_ms;
      put_back(d, all);
    }
  }
}

static void damage_is_told_in_a_sentence(void **state) {
  world *w = *state;
  asked who;
  kept all = {0};
  w->hurried = true;
  aon_journal *journal = world_open_with(w, &(aon_journal_config){.location = w->location, .key_file = w->key, .lease_ms = 100000000});
  aon_docket *d = aon_journal_state(journal);
  begin_asked(w, journal, &who);
  keep(d, &all);
  assert_int_equal(ask_everything(w, &who, "nothing"), 0);
  put_back(d, &all);
  each_field_may_be_missing(w, d, &all, &who);
  const struct {
    const char *about, *collection;
    bson_t *how;
  } spoiled[] = {
      {"a state", AON_DOCKET_BULK, BCON_NEW("$set", "{", "state", "nonsense", "}")},
      {"no state", AON_DOCKET_BULK, BCON_NEW("$unset", "{", "state", BCON_INT32(1), "}")},
      {"no digest", AON_DOCKET_BULK, BCON_NEW("$unset", "{", "digest", BCON_INT32(1), "}")},
      {"what is undone", AON_DOCKET_BULK, BCON_NEW("$set", "{", "undoes", "x", "}")},
      {"too few attempts", AON_DOCKET_BULK, BCON_NEW("$set", "{", "attempt", BCON_INT64(-1), "}")},
      {"too many attempts", AON_DOCKET_BULK, BCON_NEW("$set", "{", "attempt", BCON_INT64(AON_ATTEMPTS_MAX + 1), "}")},
      {"a sum", AON_DOCKET_LOG, BCON_NEW("$set", "{", "operations_sum", BCON_BIN(BSON_SUBTYPE_BINARY, (const uint8_t *)"x", 1), "}")},
      {"operations", AON_DOCKET_LOG, BCON_NEW("$set", "{", "operations", BCON_BIN(BSON_SUBTYPE_BINARY, (const uint8_t *)"x", 1), "}")},
      {"images", AON_DOCKET_LOG, BCON_NEW("$set", "{", "images", BCON_BIN(BSON_SUBTYPE_BINARY, (const uint8_t *)"x", 1), "}")},
      {"locks", AON_DOCKET_LOCKS, BCON_NEW("$set", "{", "entries", BCON_BIN(BSON_SUBTYPE_BINARY, (const uint8_t *)"x", 1), "}")},
      {"a version", AON_DOCKET_META, BCON_NEW("$set", "{", "version", BCON_INT64(-1), "}")}};
  for (size_t i = 0; i < sizeof spoiled / sizeof *spoiled; i++) {
    set_all(d, spoiled[i].collection, spoiled[i].how);
    if (!ask_everything(w, &who, spoiled[i].about))
      fail_msg("%s is damaged, and nobody says so", spoiled[i].about);
    put_back(d, &all);
  }
  set_all(d, AON_DOCKET_BULK, BCON_NEW("$unset", "{", "log", BCON_INT32(1), "}"));
  ask_everything(w, &who, "no number of a log"); /* reads as an empty one */
  put_back(d, &all);
  command(d, BCON_NEW("delete", BCON_UTF8(AON_DOCKET_LOG), "deletes", "[", "{", "q", "{", "}", "limit", BCON_INT32(0), "}", "]"));
  assert_true(ask_everything(w, &who, "no log") > 0);
  put_back(d, &all);
  command(d, BCON_NEW("delete", BCON_UTF8(AON_DOCKET_LOCKS), "deletes", "[", "{", "q", "{", "}", "limit", BCON_INT32(0), "}", "]"));
  assert_true(ask_everything(w, &who, "no locks") > 0); /* of the document in conflict */
  put_back(d, &all);
  assert_int_equal(ask_everything(w, &who, "what was put back"), 0);
  for (size_t i = 0; i < COLLECTIONS; i++)
    aon_docket_rows_end(&all.rows[i]);
  aon_journal_close(journal);
}

/* Several pages of them: the next page begins behind the last place of the one before. */
static void pieces_without_their_places_are_examined_to_the_end(void **state) {
  world *w = *state;
  char id[37];
  aon_journal *journal = world_open(w);
  aon_docket *d = aon_journal_state(journal);
  begin_bulk(w, journal, uuid(w, 1, id));
  log_some(w, journal, id, 0);
  AON_DOCKET_ROWS rows = {0};
  OK(aon_docket_find(d, AON_DOCKET_LOG, bson_new(), NULL, &rows, "copying it", error));
  bson_t documents = BSON_INITIALIZER, piece, copy;
  assert_true(rows.count && bson_init_static(&piece, rows.rows[0].bytes, rows.rows[0].length));
  for (int i = 0; i < 9; i++) {
    char number[2] = {(char)('0' + i), 0}, key[AON_DOCKET_KEY];
    snprintf(key, sizeof key, "%.17s%016x", aon_docket_text(&rows.rows[0], "_id"), 100 + i);
    bson_init(&copy);
    BSON_APPEND_UTF8(&copy, "_id", key);
    bson_copy_to_excluding_noinit(&piece, &copy, "_id", "first", "operations_sum", (char *)NULL);
    BSON_APPEND_DOCUMENT(&documents, number, &copy);
    bson_destroy(&copy);
  }
  command(d, BCON_NEW("insert", BCON_UTF8(AON_DOCKET_LOG), "documents", BCON_ARRAY(&documents)));
  bson_destroy(&documents);
  aon_buffer report = {0};
  bool healthy = true;
  OK(aon_journal_examine(journal, &report, &healthy, error));
  assert_false(healthy);
  assert_non_null(strstr(report.data, "are damaged"));
  aon_buffer_release(&report);
  aon_journal_close(journal);
}

/* ---- a server alone ---- */

static void without_transactions_there_is_no_journal(void **state) {
  world *w = *state;
  aon_journal *journal = NULL;
  aon_error found;
  aon_journal_config config = {.location = w->location, .key_file = w->key};
  FAILS(aon_journal_open(&w->env, &config, &journal, error), AON_ENVIRONMENT, "no_transactions", found);
  assert_false(world_has(w, "journal.key"));
}

int main(void) {
  const char *kind = getenv("AON_TEST_MONGODB_KIND");
  if (!kind) {
    printf("skipped: journal mongodb: no server; run it by tests/servers/mongodb\n");
    return 77;
  }
  setenv("AON_TEST_JOURNAL", "mongodb", 1);
  const struct CMUnitTest set[] = {
      cmocka_unit_test_setup_teardown(what_a_worker_left_open_is_ended, setup, teardown),
      cmocka_unit_test_setup_teardown(images_of_many_megabytes_come_back, setup, teardown),
      cmocka_unit_test_setup_teardown(half_a_copy_is_no_journal, setup, teardown),
      cmocka_unit_test_setup_teardown(damage_is_told_in_a_sentence, setup, teardown),
      cmocka_unit_test_setup_teardown(pieces_without_their_places_are_examined_to_the_end, setup, teardown),
  };
  const struct CMUnitTest alone[] = {cmocka_unit_test_setup_teardown(without_transactions_there_is_no_journal, setup, teardown)};
  return strcmp(kind, "set") ? cmocka_run_group_tests(alone, NULL, NULL) : cmocka_run_group_tests(set, NULL, NULL);
}
