/* The journal read back when its rows are not what was written: values of any column changed, cut, or taken away, and sums made right
 * again, so that what lies behind them is read.
 *
 * The journal at the start holds a committed bulk operation, one that was rolled back, one that is held, one whose worker died while it
 * executed, and one that waits for a person to decide about a document. The input is a list of changes: table, row, column, way, and bytes.
 * Then everything that reads the journal is asked: list, show, diff, log, locks, events, doctor; then what acts on it: recovery, rollback,
 * undo, resolve. Properties: each ends, with a result or with a failure in a sentence; what is told is JSON; without any change all go
 * well. */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "house.h"
#include "journal/segment.h"
#include "model/document.h"

#define CHANGES_MAX 8
#define BULKS 5

static char *journal;
static size_t journal_length;
static char ids[BULKS][37]; /* committed, rolled back, held, left alone, a person's */

/* ---- the journal at the start ---- */

static void put_documents(house *h) {
  house_put(h, "main", "c", "a", "{\"n\":1,\"o\":{\"x\":1}}");
  house_put(h, "realtime", "c", "a", "{\"n\":1}");
}

static void run(house *h, const char *lines, aon_state expected, char id[37]) {
  aon_outcome outcome;
  aon_error error;
  FUZZ_CHECK(house_apply(h, lines, strlen(lines), &outcome, &error) == AON_OK, "%s", error.sentence);
  FUZZ_CHECK(outcome.state == expected, "%s, not %s: %s", aon_state_name(outcome.state), aon_state_name(expected), outcome.json.data);
  memcpy(id, outcome.bulk_id, 37);
  aon_outcome_release(&outcome);
}

#define CREATE(id) "{\"store\":\"main\",\"collection\":\"c\",\"id\":\"" id "\",\"operation\":\"create\",\"data\":{\"n\":\"\xc3\xa4\"}}\n"
#define UPDATE(store, n) "{\"store\":\"" store "\",\"collection\":\"c\",\"id\":\"a\",\"operation\":\"update\",\"data\":{\"n\":" n "}}\n"

static house *home; /* of the journal that is being made */

/* Somebody else changes a document that was written already, when the store is asked what became of it. */
static void meddle(void *context, const char *what) {
  (void)context;
  if (!strcmp(what, "store.realtime.resolve"))
    house_put(home, "realtime", "c", "a", "{\"n\":\"theirs\"}");
}

static void leave_to_a_person(house *h) {
  aon_env_ops ops = *h->env.ops;
  const aon_env_ops *usual = h->env.ops;
  ops.step = meddle;
  home = h;
  h->env.ops = &ops;
  h->options.hold_on_failure = false;
  h->config.test_rollback_at = 2;
  house_engine(h);
  run(h, UPDATE("realtime", "4") UPDATE("main", "4") CREATE("j"), AON_ROLLBACK_FAILED, ids[4]);
  h->env.ops = usual;
}

static void execute(sqlite3 *database, const char *sql) {
  char *why = NULL;
  FUZZ_CHECK(sqlite3_exec(database, sql, NULL, NULL, &why) == SQLITE_OK, "%s: %s", sql, why);
}

static sqlite3 *open_file(void) {
  sqlite3 *database;
  FUZZ_CHECK(sqlite3_open_v2(HOUSE_JOURNAL, &database, SQLITE_OPEN_READWRITE, FUZZ_FILES) == SQLITE_OK, "the journal");
  return database;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc;
  (void)argv;
  house h;
  char sql[200];
  house_open(&h, NULL, 0);
  put_documents(&h);
  run(&h, CREATE("b") UPDATE("main", "2") UPDATE("realtime", "2"), AON_COMMITTED, ids[0]);
  h.config.test_rollback_at = 1;
  house_engine(&h);
  run(&h, CREATE("d") CREATE("e") UPDATE("realtime", "3"), AON_ROLLED_BACK, ids[1]);
  h.options.hold_on_failure = true;
  run(&h, CREATE("f") CREATE("g"), AON_HELD, ids[2]);
  run(&h, CREATE("h") CREATE("i"), AON_HELD, ids[3]);
  leave_to_a_person(&h);
  house_close(&h);
  sqlite3 *database = open_file();
  snprintf(sql, sizeof sql, "update bulk set state='executing', worker_pid=7, worker_boot='b', lease_until_ms=1 where id='%s'", ids[3]);
  execute(database, sql);
  execute(database, "pragma journal_mode=delete; vacuum; pragma journal_mode=wal");
  sqlite3_close(database);
  journal = house_journal(&journal_length);
  return 0;
}

/* ---- changes ---- */

typedef struct column {
  const char *table, *name;
} column;

static const column columns[] = {{"bulk", "id"},
                                 {"bulk", "idempotency_key"},
                                 {"bulk", "digest"},
                                 {"bulk", "organization"},
                                 {"bulk", "user"},
                                 {"bulk", "kind"},
                                 {"bulk", "source"},
                                 {"bulk", "pack"},
                                 {"bulk", "undoes"},
                                 {"bulk", "state"},
                                 {"bulk", "epoch"},
                                 {"bulk", "attempt"},
                                 {"bulk", "created_ms"},
                                 {"bulk", "lease_until_ms"},
                                 {"bulk", "hold_until_ms"},
                                 {"bulk", "images_until_ms"},
                                 {"bulk", "worker_boot"},
                                 {"bulk", "worker_pid"},
                                 {"bulk", "operations"},
                                 {"bulk", "progress"},
                                 {"bulk", "stores"},
                                 {"bulk", "summary"},
                                 {"bulk", "failure"},
                                 {"names", "name"},
                                 {"names", "kind"},
                                 {"names", "bulk"},
                                 {"segments", "first"},
                                 {"segments", "count"},
                                 {"segments", "sealed"},
                                 {"segments", "operations"},
                                 {"segments", "images"},
                                 {"segments", "operations_sum"},
                                 {"segments", "images_sum"},
                                 {"lock_runs", "hashes"},
                                 {"lock_runs", "count"},
                                 {"lock_runs", "first"},
                                 {"batches", "store"},
                                 {"batches", "attempt"},
                                 {"batches", "batch"},
                                 {"batches", "first"},
                                 {"batches", "last"},
                                 {"batches", "status"},
                                 {"batches", "at_ms"},
                                 {"generations", "generation"},
                                 {"events", "detail"},
                                 {"events", "what"},
                                 {"events", "bulk_id"},
                                 {"keys", "name"},
                                 {"conflicts", "store"},
                                 {"conflicts", "collection"},
                                 {"conflicts", "document_id"},
                                 {"conflicts", "code"},
                                 {"conflicts", "sentence"},
                                 {"conflicts", "paths"},
                                 {"conflicts", "choice"},
                                 {"conflicts", "watched"},
                                 {"conflicts", "sequence"}};
#define COLUMNS (sizeof columns / sizeof *columns)

typedef enum way { WHOLE, PATCH, CUT, NUMBER, NOTHING, INSERT, WAYS } way;

/* The value as it is, in memory of its own. */
static bool value_of(sqlite3 *database, const column *c, int64_t row, char **ret_bytes, size_t *ret_length, bool *ret_blob) {
  char sql[200];
  sqlite3_stmt *statement;
  snprintf(sql, sizeof sql, "select %s from %s order by 1 limit 1 offset ?", c->name, c->table);
  if (sqlite3_prepare_v2(database, sql, -1, &statement, NULL))
    return false;
  sqlite3_bind_int64(statement, 1, row);
  bool found = sqlite3_step(statement) == SQLITE_ROW;
  if (found) {
    *ret_blob = sqlite3_column_type(statement, 0) == SQLITE_BLOB;
    const void *bytes = sqlite3_column_blob(statement, 0);
    *ret_length = (size_t)sqlite3_column_bytes(statement, 0);
    *ret_bytes = fuzz_copy(bytes ? bytes : "", *ret_length);
  }
  sqlite3_finalize(statement);
  return found;
}

/* The bytes between, put in place of those from at on (PATCH), or pushed in before them (INSERT). */
static char *changed(const char *old, size_t length, size_t at, const uint8_t *bytes, size_t count, way how, size_t *ret_length) {
  at = length ? at % (length + 1) : 0;
  size_t kept = how == PATCH ? (at + count < length ? at + count : length) : at;
  char *whole = malloc(at + count + (length - kept) + 1);
  if (!whole)
    abort();
  memcpy(whole, old, at);
  if (count)
    memcpy(whole + at, bytes, count);
  memcpy(whole + at + count, old + kept, length - kept);
  *ret_length = at + count + (length - kept);
  return whole;
}

static void write_value(sqlite3 *database, const column *c, int64_t row, way how, const void *bytes, size_t length, bool blob) {
  char sql[300];
  sqlite3_stmt *statement;
  int64_t number = 0;
  snprintf(sql, sizeof sql, "update %s set %s = ? where %s is (select %s from %s order by 1 limit 1 offset ?)", c->table, c->name, c->name,
           c->name, c->table);
  if (sqlite3_prepare_v2(database, sql, -1, &statement, NULL))
    return;
  memcpy(&number, bytes, length < sizeof number ? length : sizeof number);
  if (how == NUMBER)
    sqlite3_bind_int64(statement, 1, number);
  else if (how == NOTHING)
    sqlite3_bind_null(statement, 1);
  else if (blob)
    sqlite3_bind_blob(statement, 1, bytes, (int)length, SQLITE_TRANSIENT);
  else
    sqlite3_bind_text(statement, 1, bytes, (int)length, SQLITE_TRANSIENT);
  sqlite3_bind_int64(statement, 2, row);
  sqlite3_step(statement); /* what the schema refuses stays as it was */
  sqlite3_finalize(statement);
}

static void change(sqlite3 *database, fuzz_input *input) {
  const column *c = &columns[fuzz_byte(input) % COLUMNS];
  int64_t row = fuzz_byte(input) % 8;
  way how = (way)(fuzz_byte(input) % WAYS);
  size_t at = fuzz_byte(input), count = fuzz_byte(input), length = 0;
  count = count < fuzz_left(input) ? count : fuzz_left(input);
  char *old = NULL, *fresh = NULL;
  bool blob = false;
  if (value_of(database, c, row, &old, &length, &blob)) {
    if (how == PATCH || how == INSERT)
      fresh = changed(old, length, at, input->at, count, how, &length);
    else if (how == CUT)
      fresh = changed(old, length < at ? length : at, length < at ? length : at, input->at, 0, INSERT, &length);
    else
      fresh = fuzz_copy(input->at, length = count);
    write_value(database, c, row, how, fresh, length, blob);
  }
  free(old);
  free(fresh);
  input->at += count;
}

static void right_sum(sqlite3_context *context, int count, sqlite3_value **values) {
  unsigned char sum[AON_SEGMENT_SUM_BYTES];
  const char *id = (const char *)sqlite3_value_text(values[0]);
  (void)count;
  if (sqlite3_value_type(values[3]) == SQLITE_NULL || !id) {
    sqlite3_result_null(context);
    return;
  }
  const void *bytes = sqlite3_value_blob(values[3]);
  aon_segment_sum(id, sqlite3_value_int64(values[1]), (aon_segment_role)sqlite3_value_int(values[2]), bytes,
                  (size_t)sqlite3_value_bytes(values[3]), sum);
  sqlite3_result_blob(context, sum, sizeof sum, SQLITE_TRANSIENT);
}

/* Half of the inputs have their sums as they should be: a journal that is damaged on purpose, or by ourselves. */
static void right_sums(sqlite3 *database) {
  sqlite3_create_function(database, "right_sum", 4, SQLITE_UTF8, NULL, right_sum, NULL, NULL);
  sqlite3_exec(database,
               "update segments set operations_sum = right_sum((select id from bulk where number = segments.bulk), first, 0, operations),"
               " images_sum = right_sum((select id from bulk where number = segments.bulk), first, 1, images)",
               NULL, NULL, NULL);
}

static bool damage(fuzz_input *input, bool sums) {
  if (!fuzz_left(input))
    return false;
  sqlite3 *database = open_file();
  execute(database, "pragma synchronous=off; pragma foreign_keys=off; begin");
  for (int i = 0; i < CHANGES_MAX && fuzz_left(input); i++)
    change(database, input);
  if (sums)
    right_sums(database);
  execute(database, "commit");
  sqlite3_close(database);
  return true;
}

/* ---- questions ---- */

typedef struct asked {
  bool damaged;
  size_t heard;
} asked;

static void ended(const asked *a, const char *what, aon_result result, const aon_error *error) {
  FUZZ_CHECK(!result || error->sentence[0], "%s: %s without a sentence", what, aon_result_name(result));
  FUZZ_CHECK(bson_utf8_validate(error->sentence, strlen(error->sentence), false), "%s: a sentence that is no UTF-8: %s", what,
             error->sentence);
  FUZZ_CHECK(a->damaged || !result, "%s of a whole journal: %s", what, error->sentence);
}

static void check_json(const char *what, const char *json, size_t length) {
  bson_t read;
  aon_error error = AON_ERROR_INIT;
  FUZZ_CHECK(aon_document_from_json(json, length, &read, &error) == AON_OK, "%s: %s: %s", what, error.sentence, json);
  bson_destroy(&read);
}

static aon_result hear_line(void *context, const char *json, size_t length, aon_error *error) {
  (void)error;
  check_json("a line", json, length);
  ((asked *)context)->heard++;
  return AON_OK;
}

static aon_result hear_bulk(void *context, const aon_bulk *bulk, aon_error *error) {
  (void)error;
  FUZZ_CHECK(bulk->id && bulk->state < AON_STATE_COUNT, "a bulk operation without id or state");
  ((asked *)context)->heard++;
  return AON_OK;
}

static aon_result hear_lock(void *context, const aon_lock *lock, aon_error *error) {
  (void)error;
  FUZZ_CHECK(lock->name && lock->holder && lock->kind, "a lock without a name");
  ((asked *)context)->heard++;
  return AON_OK;
}

static aon_result hear_event(void *context, const aon_event *event, aon_error *error) {
  (void)error;
  FUZZ_CHECK(event->what, "an event without a name");
  ((asked *)context)->heard++;
  return AON_OK;
}

static void ask_all(house *h, asked *a) {
  aon_journal *opened;
  aon_error error = AON_ERROR_INIT;
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  bool healthy;
  aon_result result = aon_engine_journal(h->engine, true, &opened, &error);
  ended(a, "opening", result, &error);
  if (result)
    return;
  ended(a, "list", aon_journal_list(opened, &(aon_bulk_filter){.limit = 0}, hear_bulk, a, &error), &error);
  ended(a, "locks", aon_journal_locks(opened, hear_lock, a, &error), &error);
  ended(a, "events", aon_journal_events(opened, NULL, 0, hear_event, a, &error), &error);
  ended(a, "doctor", aon_journal_examine(opened, &report, &healthy, &error), &error);
}

static void ask_one(house *h, asked *a, const char *id) {
  AON_BUFFER_CLEANUP aon_buffer out = {0};
  aon_error error = AON_ERROR_INIT;
  aon_result result = aon_show(h->engine, id, &out, &error);
  ended(a, "show", result, &error);
  if (!result)
    check_json("show", out.data, out.length);
  ended(a, "diff", aon_diff(h->engine, id, hear_line, a, &error), &error);
  ended(a, "log", aon_entries_log(h->engine, id, hear_line, a, &error), &error);
}

static void act(house *h, asked *a) {
  uint64_t recovered = 0, open = 0, person = 0;
  aon_error error = AON_ERROR_INIT;
  aon_outcome outcome = {.state = AON_PARSING};
  ended(a, "recovery", aon_recover(h->engine, NULL, &h->options, NULL, NULL, &recovered, &open, &person, &error), &error);
  error = (aon_error)AON_ERROR_INIT;
  aon_result result = aon_rollback(h->engine, ids[2], &h->options, &outcome, &error);
  ended(a, "rollback", result, &error);
  house_check(result, &outcome, &error);
  aon_outcome_release(&outcome);
  outcome = (aon_outcome){.state = AON_PARSING};
  error = (aon_error)AON_ERROR_INIT;
  result = aon_undo(h->engine, ids[0], &(aon_undo_options){.first = -1, .last = -1}, &h->options, &outcome, &error);
  ended(a, "undo", result, &error);
  house_check(result, &outcome, &error);
  aon_outcome_release(&outcome);
}

/* What a person can do about the last one. */
static void decide(house *h, asked *a, bool again) {
  aon_outcome outcome = {.state = AON_PARSING};
  aon_error error = AON_ERROR_INIT;
  aon_result result = again ? aon_rollback(h->engine, ids[4], &h->options, &outcome, &error)
                            : aon_resolve(h->engine, ids[4], "all", AON_KEEP_THEIRS, NULL, &h->options, &outcome, &error);
  ended(a, again ? "rolling back again" : "resolve", result, &error);
  house_check(result, &outcome, &error);
  aon_outcome_release(&outcome);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_input input = {data, data + size};
  house h;
  asked a = {.damaged = false};
  uint8_t how = fuzz_byte(&input);
  house_open(&h, journal, journal_length);
  a.damaged = damage(&input, how % 2 == 0);
  put_documents(&h);
  ask_all(&h, &a);
  for (size_t i = 0; i < BULKS; i++)
    ask_one(&h, &a, ids[i]);
  act(&h, &a);
  decide(&h, &a, how & 2);
  house_close(&h);
  return 0;
}
