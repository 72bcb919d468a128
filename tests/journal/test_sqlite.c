/* What is the SQLite journal's own: its files, keys, versions, damage, full and failing disks, reading without writing. */
#include "harness.h"

#include <endian.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "faulty_vfs.h"
#include "journal/sqlite_ledger.h"

static int setup(void **state) {
  the_disk = (faulty_disk){0};
  *state = world_make();
  return 0;
}

static int teardown(void **state) {
  the_disk = (faulty_disk){0};
  world_end(*state);
  return 0;
}

/* ---- helpers ---- */

static void sql(world *w, const char *text) {
  sqlite3 *database;
  char *message = NULL;
  assert_int_equal(sqlite3_open(w->path, &database), SQLITE_OK);
  if (sqlite3_exec(database, text, NULL, NULL, &message))
    fail_msg("%s: %s", text, message);
  sqlite3_close(database);
}

static void refuse_open(world *w, bool read_only, aon_result kind, const char *code, const char *words) {
  aon_journal *journal;
  aon_error found;
  aon_journal_config config = {.location = w->path, .key_file = w->key, .read_only = read_only};
  FAILS(aon_journal_open(&w->env, &config, &journal, error), kind, code, found);
  if (!strstr(found.sentence, words))
    fail_msg("“%s” does not say “%s”", found.sentence, words);
}

static void path_in(world *w, const char *name, char path[400]) { snprintf(path, 400, "%s/%s", w->folder, name); }

static unsigned mode_of(world *w, const char *name) {
  char path[400];
  struct stat found;
  path_in(w, name, path);
  assert_int_equal(stat(path, &found), 0);
  return found.st_mode & 0777;
}

static char *read_all(const char *path, size_t *ret_length) {
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  fseek(file, 0, SEEK_END);
  *ret_length = (size_t)ftell(file);
  rewind(file);
  char *bytes = calloc(1, *ret_length + 1);
  assert_int_equal(fread(bytes, 1, *ret_length, file), *ret_length);
  fclose(file);
  return bytes;
}

static void write_all(const char *path, const void *bytes, size_t length) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, length, file), length);
  fclose(file);
  chmod(path, 0600);
}

static void copy(world *w, const char *from, const char *to) {
  char a[400], b[400];
  size_t length;
  path_in(w, from, a);
  path_in(w, to, b);
  char *bytes = read_all(a, &length);
  write_all(b, bytes, length);
  free(bytes);
}

static void log_creates(world *w, aon_journal *journal, const char *id, bool sensitive) {
  planned plan = {0};
  begin_bulk(w, journal, id);
  plan_creates(&plan, 0, 20, "u");
  if (sensitive)
    plan.operations[7].flags = AON_OPERATION_SENSITIVE;
  plan.operations[7].after = image_of(&plan.arena, "phone", sensitive ? "planted-secret" : "planted-open");
  OK(aon_journal_log(journal, id, 1, plan.operations, plan.count, NULL, 0, NULL, error));
  plan_clear(&plan);
}

static aon_result read_log(aon_journal *journal, const char *id, size_t *ret_count, aon_error *ret_error) {
  aon_entries *entries;
  const aon_operation *found;
  size_t count;
  bool cleared;
  *ret_count = 0;
  OK(aon_entries_open(journal, id, 0, -1, false, &entries, error));
  aon_result result;
  while (!(result = aon_entries_next(entries, &found, &count, &cleared, ret_error)))
    *ret_count += count;
  aon_entries_close(entries);
  return result == AON_END ? AON_OK : result;
}

static aon_result count_bulk(void *context, const aon_bulk *bulk, aon_error *error) {
  (void)bulk;
  (void)error;
  ++*(size_t *)context;
  return AON_OK;
}

/* ---- files ---- */

static void makes_private_files(void **state) {
  world *w = *state;
  aon_journal_config config = {.location = w->path, .key_file = w->key, .reserve_bytes = 3000000};
  aon_journal *journal = world_open_with(w, &config);
  char id[37];
  begin_bulk(w, journal, uuid(w, 1, id));
  assert_int_equal(mode_of(w, "journal.db"), 0600);
  assert_int_equal(mode_of(w, "journal.key"), 0600);
  assert_int_equal(mode_of(w, "journal.db-wal"), 0600);
  assert_int_equal(mode_of(w, "journal.db-reserve"), 0600);
  aon_journal_close(journal);
  assert_false(world_has(w, "journal.db-wal"));
  size_t length;
  char *key = read_all(w->key, &length);
  assert_int_equal(length, 10 + 16 + 1 + 64 + 1);
  assert_memory_equal(key, "aon-key-1 ", 10);
  assert_int_equal(key[length - 1], '\n');
  free(key);
  char reserve[400];
  path_in(w, "journal.db-reserve", reserve);
  free(read_all(reserve, &length));
  assert_int_equal(length, 3000000);
}

static void reads_a_missing_journal_as_empty(void **state) {
  world *w = *state;
  aon_journal_config config = {.location = w->path, .key_file = w->key, .read_only = true, .reserve_bytes = 1000};
  aon_journal *journal = world_open_with(w, &config);
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  aon_error found;
  aon_bulk bulk;
  aon_arena arena = {0};
  bool held = true, healthy = false;
  aon_operation operation;
  size_t count = 0;
  int64_t epoch;
  OK(aon_journal_list(journal, NULL, count_bulk, &count, error));
  assert_int_equal(count, 0);
  FAILS(aon_journal_get(journal, "x", &arena, &bulk, error), AON_USAGE, "not_found", found);
  OK(aon_journal_holder(journal, &users, AON_TEXT("u"), &arena, &held, &bulk, &operation, error));
  assert_false(held);
  OK(aon_journal_examine(journal, &report, &healthy, error));
  assert_true(healthy);
  FAILS(aon_journal_lock(journal, "a", "b", false, 0, &epoch, error), AON_USAGE, "journal_read_only", found);
  FAILS(aon_journal_rotate_key(journal, error), AON_USAGE, "journal_read_only", found);
  aon_journal_close(journal);
  assert_false(world_has(w, "journal.db"));
  assert_false(world_has(w, "journal.key"));
  assert_false(world_has(w, "journal.db-reserve"));
}

static void reading_changes_no_file(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char id[37], wal[400], shadow[400];
  log_creates(w, journal, uuid(w, 1, id), true);
  /* What a killed program leaves: the files as they are while it runs. */
  copy(w, "journal.db", "killed.db");
  copy(w, "journal.db-wal", "killed.db-wal");
  aon_journal_close(journal);
  size_t before_length, after_length, wal_before, wal_after, count;
  char *before = read_all(w->path, &before_length);
  journal = world_open_with(w, &(aon_journal_config){.location = w->path, .key_file = w->key, .read_only = true});
  OK(read_log(journal, id, &count, error));
  assert_int_equal(count, 20);
  aon_journal_close(journal);
  assert_false(world_has(w, "journal.db-wal"));
  assert_false(world_has(w, "journal.db-shm"));
  char *after = read_all(w->path, &after_length);
  assert_int_equal(before_length, after_length);
  assert_memory_equal(before, after, after_length);
  free(before);
  free(after);
  path_in(w, "killed.db", shadow);
  path_in(w, "killed.db-wal", wal);
  before = read_all(wal, &wal_before);
  journal = world_open_with(w, &(aon_journal_config){.location = shadow, .key_file = w->key, .read_only = true});
  OK(read_log(journal, id, &count, error)); /* committed before the kill, seen */
  assert_int_equal(count, 20);
  aon_journal_close(journal);
  after = read_all(wal, &wal_after);
  assert_int_equal(wal_before, wal_after);
  assert_memory_equal(before, after, wal_after);
  free(before);
  free(after);
}

/* ---- keys ---- */

static void no_journal_without_its_key(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char id[37], open_id[37], kept[400];
  size_t count;
  aon_error found;
  log_creates(w, journal, uuid(w, 1, id), true);
  go(journal, id, AON_PLANNING, AON_PLANNED);
  log_creates(w, journal, uuid(w, 2, open_id), false);
  aon_journal_close(journal);
  copy(w, "journal.key", "kept.key");
  path_in(w, "kept.key", kept);
  remove(w->key);
  refuse_open(w, false, AON_ENVIRONMENT, "missing_key", w->key);
  journal = world_open_with(w, &(aon_journal_config){.location = w->path, .key_file = w->key, .read_only = true});
  OK(read_log(journal, open_id, &count, error)); /* what isn't sealed can be read */
  FAILS(read_log(journal, id, &count, error), AON_ENVIRONMENT, "missing_key", found);
  aon_journal_close(journal);
  w->path[strlen(w->path) - 3] = 0; /* another journal makes a key of its own … */
  aon_journal_close(world_open(w));
  strcat(w->path, ".db");
  refuse_open(w, false, AON_ENVIRONMENT, "missing_key", "another journal"); /* … that is not this one's */
  copy(w, "kept.key", "journal.key");
  chmod(w->key, 0640);
  refuse_open(w, false, AON_ENVIRONMENT, "key_exposed", "chmod 600");
  size_t length;
  char *text = read_all(kept, &length);
  text[40] = text[40] == 'a' ? 'b' : 'a';
  write_all(w->key, text, length);
  refuse_open(w, false, AON_CORRUPT, "bad_key", "Line 1");
  write_all(w->key, "", 0);
  refuse_open(w, false, AON_ENVIRONMENT, "missing_key", "missing");
  free(text);
  copy(w, "kept.key", "journal.key");
  journal = world_open(w);
  OK(read_log(journal, id, &count, error));
  aon_journal_close(journal);
}

static void secrets_never_reach_the_disk(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char id[37], other[37];
  size_t count;
  log_creates(w, journal, uuid(w, 1, id), true);
  assert_true(world_has(w, "journal.db-wal"));
  assert_false(world_contains(w, "planted-secret")); /* the write-ahead log too */
  assert_false(world_contains(w, "value-3"));        /* its neighbours are sealed with it */
  OK(read_log(journal, id, &count, error));
  assert_int_equal(count, 20);
  go(journal, id, AON_PLANNING, AON_LOGGED);
  go(journal, id, AON_LOGGED, AON_ROLLED_BACK);
  log_creates(w, journal, uuid(w, 2, other), false);
  assert_true(world_contains(w, "planted-open")); /* the search would find it */
  aon_journal_close(journal);
  assert_false(world_contains(w, "planted-secret"));
}

static void keys_rotate(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w), *other = world_open(w);
  char a[37], b[37];
  size_t count, length;
  aon_error found;
  log_creates(w, journal, uuid(w, 1, a), true);
  go(journal, a, AON_PLANNING, AON_CANCELLED_STATE);
  OK(aon_journal_rotate_key(journal, error));
  OK(aon_journal_rotate_key(journal, error));
  log_creates(w, journal, uuid(w, 2, b), true);
  OK(read_log(journal, a, &count, error));
  OK(read_log(other, b, &count, error)); /* opened before there was that key */
  assert_int_equal(count, 20);
  aon_journal_close(other);
  aon_journal_close(journal);
  char *text = read_all(w->key, &length);
  assert_int_equal(length, 3 * 92);
  assert_int_equal(mode_of(w, "journal.key"), 0600);
  assert_false(world_has(w, "journal.key.new"));
  write_all(w->key, text, 2 * 92); /* somebody takes the oldest away */
  journal = world_open(w);
  FAILS(read_log(journal, a, &count, error), AON_ENVIRONMENT, "missing_key", found);
  OK(read_log(journal, b, &count, error));
  aon_journal_close(journal);
  write_all(w->key, text + 92, 2 * 92); /* an old copy of the key file */
  refuse_open(w, false, AON_ENVIRONMENT, "missing_key", "older");
  write_all(w->key, text, 3 * 92);
  free(text);
  aon_journal_close(world_open(w));
}

/* ---- versions ---- */

static void refuses_what_it_does_not_know(void **state) {
  world *w = *state;
  aon_journal_close(world_open(w));
  sql(w, "pragma user_version=99");
  refuse_open(w, false, AON_ENVIRONMENT, "newer_journal", "version 99");
  refuse_open(w, true, AON_ENVIRONMENT, "newer_journal", "version 99");
  remove(w->path);
  sql(w, "create table shop (a); insert into shop values (1)");
  size_t before, after;
  char *bytes = read_all(w->path, &before), *later;
  refuse_open(w, false, AON_ENVIRONMENT, "not_a_journal", "another program");
  refuse_open(w, true, AON_ENVIRONMENT, "not_a_journal", "another program");
  later = read_all(w->path, &after);
  assert_int_equal(before, after);
  assert_memory_equal(bytes, later, after);
  free(bytes);
  free(later);
  aon_journal_config config = {.location = "mysql://localhost/journal", .key_file = w->key};
  aon_journal *journal;
  aon_error found;
  FAILS(aon_journal_open(&w->env, &config, &journal, error), AON_USAGE, "unknown_journal", found);
}

static aon_result migrate_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  const aon_ledger_step *list = arguments;
  bool fresh = true;
  size_t count = 1;
  while (list[count].version)
    count++;
  aon_result result = aon_ledger_migrate(ledger, list, count, &fresh, error);
  assert_true(result || !fresh);
  return result;
}

static void migrates_step_by_step(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  aon_ledger *ledger = aon_journal_state(journal);
  aon_error found;
  int64_t number = 0;
  int now = aon_ledger_version();
  aon_ledger_step broken[] = {{now, "create table never (a)"},
                              {now + 1, "create table two (a)"},
                              {now + 2, "insert into two values ('x'); create table two (a)"},
                              {0}};
  aon_ledger_step right[] = {
      {now, "create table never (a)"}, {now + 1, "create table two (a)"}, {now + 2, "insert into two values (2)"}, {0}};
  FAILS(aon_ledger_write(ledger, true, migrate_work, broken, error), AON_PERMANENT, "sql_error", found);
  OK(aon_ledger_number(ledger, "pragma user_version", &number, error, ""));
  assert_int_equal(number, aon_ledger_version()); /* all steps or none */
  OK(aon_ledger_write(ledger, true, migrate_work, right, error));
  OK(aon_ledger_write(ledger, true, migrate_work, right, error)); /* and once only */
  OK(aon_ledger_number(ledger, "pragma user_version", &number, error, ""));
  assert_int_equal(number, now + 2);
  OK(aon_ledger_number(ledger, "select sum(a) from two", &number, error, ""));
  assert_int_equal(number, 2);
  aon_journal_close(journal);
  refuse_open(w, false, AON_ENVIRONMENT, "newer_journal", "has schema version");
}

static void sum_of_version_1(sqlite3_context *context, int count, sqlite3_value **values) {
  unsigned char sum[AON_SEGMENT_SUM_BYTES];
  (void)count;
  aon_segment_sum_1((const char *)sqlite3_value_text(values[0]), sqlite3_value_int64(values[1]),
                    (aon_segment_role)sqlite3_value_int(values[2]), sqlite3_value_blob(values[3]), (size_t)sqlite3_value_bytes(values[3]),
                    sum);
  sqlite3_result_blob(context, sum, sizeof sum, SQLITE_TRANSIENT);
}

/* Makes the journal one of schema version 1, whose sums were others. */
static void make_it_version_1(world *w) {
  sqlite3 *database;
  assert_int_equal(sqlite3_open(w->path, &database), SQLITE_OK);
  sqlite3_create_function(database, "sum_1", 4, SQLITE_UTF8, NULL, sum_of_version_1, NULL, NULL);
  assert_int_equal(
      sqlite3_exec(database,
                   "update segments set operations_sum = sum_1((select id from bulk where number = segments.bulk), first, 0, operations),"
                   " images_sum = sum_1((select id from bulk where number = segments.bulk), first, 1, images);"
                   "drop table files; drop table file_chunks; drop index bulk_queue; alter table bulk drop column options;"
                   "pragma user_version=1",
                   NULL, NULL, NULL),
      SQLITE_OK);
  sqlite3_close(database);
}

static void an_older_journal_is_brought_up_to_date(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char id[37];
  size_t count = 0;
  aon_error found;
  log_creates(w, journal, uuid(w, 1, id), false);
  aon_journal_close(journal);
  make_it_version_1(w);
  copy(w, "journal.db", "older.db");
  refuse_open(w, true, AON_ENVIRONMENT, "older_journal", "aon recover");
  journal = world_open(w);
  OK(read_log(journal, id, &count, error));
  assert_int_equal(count, 20);
  aon_journal_close(journal);
  copy(w, "older.db", "journal.db"); /* what was damaged before stays so */
  sql(w, "update segments set images = zeroblob(length(images))");
  journal = world_open(w);
  FAILS(read_log(journal, id, &count, error), AON_CORRUPT, "corrupt", found);
  aon_journal_close(journal);
}

/* ---- damage ---- */

static void damage_is_found(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char id[37], other[37];
  size_t count;
  aon_error found;
  planned plan = {0};
  log_creates(w, journal, uuid(w, 1, id), false);
  plan_creates(&plan, 20, 20, "v");
  OK(aon_journal_log(journal, id, 1, plan.operations, plan.count, NULL, 0, NULL, error));
  plan_clear(&plan);
  aon_journal_close(journal);
  static const char *const hurts[] = {
      "update segments set operations = zeroblob(length(operations)) where first = 20",
      "update segments set images = substr(images, 1, length(images) - 1) where first = 0",
      "update segments set images = (select images from segments where first = 0), images_sum = (select images_sum from segments where "
      "first = 0)"
      " where first = 20",
      "update segments set images_sum = null where first = 20",
      "delete from names where kind = 0",
      "update segments set count = 21 where first = 0",
      "update segments set sealed = 1 where first = 0",
  };
  copy(w, "journal.db", "whole.db");
  for (size_t i = 0; i < sizeof hurts / sizeof *hurts; i++) {
    copy(w, "whole.db", "journal.db");
    sql(w, hurts[i]);
    journal = world_open(w);
    aon_result result = read_log(journal, id, &count, &found);
    if (i == 6) /* claims to be sealed: by a key that isn't there, or no key at all */
      assert_true(result == AON_ENVIRONMENT || result == AON_CORRUPT);
    else if (result != AON_CORRUPT)
      fail_msg("%s: %s", hurts[i], aon_result_name(result));
    assert_true(strlen(found.sentence) > 20);
    if (i < 4) {
      AON_BUFFER_CLEANUP aon_buffer report = {0};
      bool healthy = true;
      OK(aon_journal_examine(journal, &report, &healthy, error));
      assert_false(healthy);
    }
    aon_journal_close(journal);
  }
  copy(w, "whole.db", "journal.db");
  sql(w, "update lock_runs set hashes = substr(hashes, 2)");
  journal = world_open(w);
  begin_bulk(w, journal, uuid(w, 2, other));
  plan_creates(&plan, 0, 1, "u");
  FAILS(aon_journal_log(journal, other, 1, plan.operations, 1, NULL, 0, NULL, error), AON_CORRUPT, "corrupt", found);
  plan_clear(&plan);
  aon_journal_close(journal);
  sql(w, "update bulk set state = 'nonsense'");
  journal = world_open(w);
  aon_bulk bulk;
  aon_arena arena = {0};
  FAILS(aon_journal_get(journal, id, &arena, &bulk, error), AON_CORRUPT, "corrupt", found);
  aon_arena_release(&arena);
  aon_journal_close(journal);
}

static void a_damaged_file_is_told(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char id[37];
  log_creates(w, journal, uuid(w, 1, id), false);
  aon_journal_close(journal);
  size_t length;
  char *bytes = read_all(w->path, &length);
  write_all(w->path, "This is not a database, whatever its name says. It is long enough to look at. ...............................", 110);
  refuse_open(w, false, AON_CORRUPT, "corrupt", "backup");
  refuse_open(w, true, AON_CORRUPT, "corrupt", "backup");
  for (size_t at = 4096; at < length; at += 4096) /* pages of nonsense behind a good head: nothing may crash */
    memset(bytes + at, 0x5a, 2048);
  write_all(w->path, bytes, length);
  aon_error found = AON_ERROR_INIT;
  aon_result result = aon_journal_open(&w->env, &(aon_journal_config){.location = w->path, .key_file = w->key}, &journal, &found);
  if (!result) {
    AON_BUFFER_CLEANUP aon_buffer report = {0};
    bool healthy = true;
    OK(aon_journal_examine(journal, &report, &healthy, error));
    assert_false(healthy);
    aon_journal_close(journal);
  } else {
    assert_int_equal(result, AON_CORRUPT);
  }
  free(bytes);
}

static void examines_a_healthy_one(void **state) {
  world *w = *state;
  aon_journal_config config = {.location = w->path, .key_file = w->key, .reserve_bytes = 2000000};
  aon_journal *journal = world_open_with(w, &config);
  char id[37];
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  bool healthy = false;
  log_creates(w, journal, uuid(w, 1, id), true);
  OK(aon_journal_examine(journal, &report, &healthy, error));
  assert_true(healthy);
  assert_non_null(strstr(report.data, "schema version 3"));
  assert_non_null(strstr(report.data, "planning: 1"));
  assert_non_null(strstr(report.data, "all 1 pieces"));
  assert_non_null(strstr(report.data, "files: 0 uploads that wait, 0 reports, 0 bytes"));
  assert_non_null(strstr(report.data, "1 key,"));
  assert_non_null(strstr(report.data, "reserve for a full disk: 2000000"));
  remove(w->key);
  aon_buffer_clear(&report);
  OK(aon_journal_examine(journal, &report, &healthy, error));
  assert_false(healthy);
  aon_journal_close(journal);
}

/* ---- locks ---- */

/* Two documents of one hash can't be made, so a hash in the journal is changed into another document's. */
static void a_hash_alone_locks_nothing(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  aon_ledger *ledger = aon_journal_state(journal);
  AON_ARENA_CLEANUP aon_arena arena = {0};
  char a[37], b[37];
  planned plan = {0};
  aon_bulk bulk;
  aon_operation operation;
  bool held = true;
  int64_t last;
  uint64_t theirs = htole64(aon_document_hash("main", "users", AON_TEXT("u2")));
  unsigned char run[12] = {0};
  memcpy(run, &theirs, 8);
  begin_bulk(w, journal, uuid(w, 1, a));
  begin_bulk(w, journal, uuid(w, 2, b));
  plan_add(&plan, 0, 'c', &users, "u1");
  OK(aon_journal_log(journal, a, 1, plan.operations, 1, NULL, 0, NULL, error));
  plan_clear(&plan);
  OK(aon_ledger_run(ledger, "update lock_runs set hashes = ?", error, "b", run, sizeof run));
  OK(aon_journal_holder(journal, &users, AON_TEXT("u2"), &arena, &held, &bulk, &operation, error));
  assert_false(held);
  OK(aon_journal_last_of(journal, a, le64toh(theirs), &users, AON_TEXT("u2"), &last, error));
  assert_int_equal(last, AON_NO_OPERATION);
  plan_add(&plan, 0, 'c', &users, "u2");
  OK(aon_journal_log(journal, b, 1, plan.operations, 1, NULL, 0, NULL, error));
  plan_clear(&plan);
  aon_journal_close(journal);
}

/* Chains beyond what the table in memory holds are found all the same. */
static void chains_outgrow_memory(void **state) {
  world *w = *state;
  char id[37], document[20];
  uuid(w, 1, id);
  for (int reopened = 0; reopened < 2; reopened++) {
    aon_journal *journal = world_open(w);
    aon_ledger *ledger = aon_journal_state(journal);
    ledger->chain.limit_bytes = 40000; /* some 3,000 documents */
    int64_t last;
    if (!reopened)
      begin_bulk(w, journal, id);
    for (int64_t first = 0; !reopened && first < 9000; first += 900) {
      OK(aon_journal_last_of(journal, id, aon_document_hash("main", "users", AON_TEXT("u0")), &users, AON_TEXT("u0"), &last, error));
      assert_int_equal(last, first ? 0 : AON_NO_OPERATION);
      planned plan = {0};
      plan_creates(&plan, first, 900, "u");
      OK(aon_journal_log(journal, id, 1, plan.operations, plan.count, NULL, 0, NULL, error));
      plan_clear(&plan);
    }
    if (!reopened) { /* in the table first, then beyond it */
      planned plan = {0};
      plan_add(&plan, 9000, 'u', &users, "u17");
      plan_add(&plan, 9001, 'u', &users, "u17"); /* twice in one piece: the later one counts */
      OK(aon_journal_log(journal, id, 1, plan.operations, plan.count, NULL, 0, NULL, error));
      plan_clear(&plan);
    }
    for (int64_t n = 0; n < 9300; n += 100) {
      snprintf(document, sizeof document, "u%lld", (long long)n);
      aon_text text = {document, strlen(document)};
      OK(aon_journal_last_of(journal, id, aon_document_hash("main", "users", text), &users, text, &last, error));
      assert_int_equal(last, n < 9000 ? n : AON_NO_OPERATION);
    }
    OK(aon_journal_last_of(journal, id, aon_document_hash("main", "users", AON_TEXT("u17")), &users, AON_TEXT("u17"), &last, error));
    assert_int_equal(last, 9001);
    assert_true(ledger->chain_end < 9000);
    /* Another document that looks alike has taken its place in the table. */
    ledger->chain.limit_bytes = 0;
    assert_true(aon_chain_begin(&ledger->chain, 1800, 1));
    aon_chain_add(&ledger->chain, aon_document_hash("main", "users", AON_TEXT("u18")));
    OK(aon_journal_last_of(journal, id, aon_document_hash("main", "users", AON_TEXT("u18")), &users, AON_TEXT("u18"), &last, error));
    assert_int_equal(last, 18);
    ledger->chain.limit_bytes = 40000;
    assert_true(ledger->chain.slot_count * 8 + ledger->chain.segment_capacity * 8 <= 40000);
    aon_journal_close(journal);
  }
}

/* ---- full and failing disks ---- */

static void a_reserve_for_a_full_disk(void **state) {
  world *w = *state;
  enum { RESERVE = 2000000 };
  w->env.vfs = faulty_vfs_name();
  aon_journal_config config = {.location = w->path, .key_file = w->key, .reserve_bytes = RESERVE};
  aon_journal *journal = world_open_with(w, &config);
  char id[37];
  planned plan = {0};
  aon_error found = AON_ERROR_INIT;
  begin_bulk(w, journal, uuid(w, 1, id));
  the_disk.quota_bytes = &w->quota_bytes;
  w->quota_bytes = 100000;
  int64_t next = 0;
  while (world_has(w, "journal.db-reserve")) { /* fills the disk; the call that finds it full succeeds */
    plan_creates(&plan, next, 200, "u");
    OK(aon_journal_log(journal, id, 1, plan.operations, plan.count, NULL, 0, NULL, error));
    plan_clear(&plan);
    next += 200;
    assert_true(next < 100000);
  }
  assert_true(w->log_lines > 0); /* a person is told */
  go(journal, id, AON_PLANNING, AON_LOGGED);
  w->no_room = true;
  FAILS(aon_journal_room(journal, 1, error), AON_ENVIRONMENT, "disk_full", found);
  /* Now nothing is left: refused in a sentence, and nothing half written. */
  w->quota_bytes = 0;
  int64_t operations = next;
  bool full = false;
  for (int i = 0; i < 10000 && !full; i++) { /* the write-ahead log first fills what it has grown to */
    aon_result result = aon_journal_update(journal, id, 1, &(aon_bulk_change){.operations = &operations, .summary = "{}"}, &found);
    full = result == AON_ENVIRONMENT && !strcmp(found.code, "disk_full");
    assert_true(full || result == AON_OK);
  }
  assert_true(full);
  assert_non_null(strstr(found.sentence, "full"));
  w->quota_bytes = -1; /* a person makes room */
  w->no_room = false;
  go(journal, id, AON_LOGGED, AON_ROLLED_BACK);
  size_t count;
  OK(read_log(journal, id, &count, error));
  assert_int_equal(count, next);
  w->skew_ms += 60000;
  OK(aon_journal_room(journal, 1, error));
  assert_true(world_has(w, "journal.db-reserve")); /* and it is there again */
  aon_journal_close(journal);
}

static void nothing_half_done_on_a_failing_disk(void **state) {
  world *w = *state;
  w->env.vfs = faulty_vfs_name();
  aon_journal *journal = world_open(w);
  char id[37];
  aon_error found;
  size_t count;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_bulk bulk;
  log_creates(w, journal, uuid(w, 1, id), false);
  the_disk.fail_sync_in = 1;
  FAILS(aon_journal_move(journal, id, 1, AON_PLANNING, AON_LOGGED, NULL, error), AON_ENVIRONMENT, "io_error", found);
  OK(aon_journal_get(journal, id, &arena, &bulk, error));
  assert_int_equal(bulk.state, AON_PLANNING);
  go(journal, id, AON_PLANNING, AON_LOGGED);
  for (int n = 1; n < 6; n++) {
    the_disk.fail_write_in = n;
    aon_result result = aon_journal_move(journal, id, 1, AON_LOGGED, AON_EXECUTING, NULL, &found);
    OK(aon_journal_get(journal, id, &arena, &bulk, error));
    assert_int_equal(bulk.state, result ? AON_LOGGED : AON_EXECUTING);
    the_disk.fail_write_in = 0;
    if (!result)
      break;
  }
  OK(read_log(journal, id, &count, error));
  assert_int_equal(count, 20);
  aon_journal_close(journal);
}

/* What is said in journal.h: logging needs no sync of its own, the arrow to logged does, and so on. */
static void syncs_where_it_must(void **state) {
  world *w = *state;
  w->env.vfs = faulty_vfs_name();
  aon_journal *journal = world_open(w);
  char id[37];
  uint64_t before = the_disk.syncs;
  begin_bulk(w, journal, uuid(w, 1, id));
  assert_true(the_disk.syncs > before); /* submitted: id and key are durable */
  before = the_disk.syncs;
  planned plan = {0};
  plan_creates(&plan, 0, 20, "u");
  OK(aon_journal_log(journal, id, 1, plan.operations, plan.count, NULL, 0, NULL, error));
  OK(aon_journal_event(journal, &(aon_event){.what = "x"}, error));
  assert_int_equal(the_disk.syncs, before);
  static const aon_state way[] = {AON_PLANNING, AON_LOGGED, AON_EXECUTING, AON_PREPARING, AON_COMMITTING, AON_COMMITTED};
  for (size_t i = 1; i < sizeof way / sizeof *way; i++) {
    before = the_disk.syncs;
    go(journal, id, way[i - 1], way[i]);
    assert_int_equal(the_disk.syncs, before + (way[i] != AON_EXECUTING));
  }
  before = the_disk.syncs;
  aon_batch batch = {.store = "main", .attempt = 1, .status = AON_BATCH_ANNOUNCED};
  OK(aon_journal_batch(journal, id, 1, &batch, error));
  assert_int_equal(the_disk.syncs, before + 1);
  plan_clear(&plan);
  aon_journal_close(journal);
}

static uint64_t syncs_of_checkpoint(aon_sqlite *database) {
  uint64_t before = the_disk.syncs;
  assert_int_equal(sqlite3_wal_checkpoint_v2(aon_sqlite_handle(database), NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL), SQLITE_OK);
  return the_disk.syncs - before;
}

/* wire/sqlite_syncs.h: only what this connection wrote and synced is moved without another sync of the log. */
static void a_log_is_synced_before_it_is_moved(void **state) {
  world *w = *state;
  w->env.vfs = faulty_vfs_name();
  char path[600];
  snprintf(path, sizeof path, "%s.syncs", w->path);
  aon_sqlite *ours, *theirs;
  OK(aon_sqlite_open(&w->env, "ours", path, AON_SQLITE_CREATE, 1000, &ours, error));
  uint64_t before = the_disk.syncs;
  OK(aon_sqlite_execute(ours, "create table t(x); insert into t values (1)", error));
  assert_int_equal(the_disk.syncs, before + 2);   /* one a commit: a new log's header has none of its own */
  assert_int_equal(syncs_of_checkpoint(ours), 1); /* the database's */
  OK(aon_sqlite_open(&w->env, "theirs", path, AON_SQLITE_WRITE, 1000, &theirs, error));
  OK(aon_sqlite_execute(theirs, "pragma synchronous=normal; insert into t values (2)",
                        error));                  /* begins the log anew, and syncs its header */
  assert_int_equal(syncs_of_checkpoint(ours), 2); /* their commit was not synced by anybody */
  OK(aon_sqlite_execute(ours, "insert into t values (3)", error));
  assert_int_equal(syncs_of_checkpoint(ours), 1); /* a log begun by us */
  OK(aon_sqlite_execute(ours, "insert into t values (4)", error));
  OK(aon_sqlite_execute(theirs, "insert into t values (5)", error));
  assert_int_equal(syncs_of_checkpoint(ours), 2); /* ours and theirs in one log */
  OK(aon_sqlite_execute(ours, "insert into t values (6)", error));
  OK(aon_sqlite_execute(theirs, "insert into t values (7)", error));
  OK(aon_sqlite_execute(ours, "insert into t values (8)", error));
  assert_int_equal(syncs_of_checkpoint(ours), 2); /* theirs between ours */
  OK(aon_sqlite_execute(ours, "pragma synchronous=normal; insert into t values (9)", error));
  assert_int_equal(syncs_of_checkpoint(ours), 2); /* ours, not synced */
  aon_sqlite_close(theirs);
  aon_sqlite_close(ours);
}

/* ---- frozen right behind its commit ---- */

/* Another worker, that takes a bulk operation over at the very instant in which the first one's commit is made and its lease is out. */
static struct {
  world *w;
  aon_journal *journal;
  const char *id;
  int64_t epoch; /* that it got */
} taker;

static int behind_a_commit(unsigned what, void *context, void *statement, void *unused) {
  (void)what;
  (void)context;
  (void)unused;
  if (!taker.id || strcmp(sqlite3_sql(statement), "commit"))
    return 0;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  const aon_process other = {.boot_id = "11111111-0000-4000-8000-000000000000", .pid = 777, .start_ticks = 7};
  const char *id = taker.id;
  aon_bulk bulk;
  taker.id = NULL;
  taker.w->skew_ms += 31000;
  OK(aon_journal_claim(taker.journal, id, &other, &arena, &bulk, error));
  taker.epoch = bulk.epoch;
  return 0;
}

static int listen_to_commits(sqlite3 *database, char **message, const struct sqlite3_api_routines *unused) {
  (void)message;
  (void)unused;
  return sqlite3_trace_v2(database, SQLITE_TRACE_PROFILE, behind_a_commit, NULL);
}

/* Who was taken over right behind the commit learns the epoch that it was given, never the other one's: the epoch is what parts the two. */
static void each_worker_learns_its_own_epoch(void **state) {
  world *w = *state;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  char id[37];
  assert_int_equal(sqlite3_auto_extension((void (*)(void))listen_to_commits), SQLITE_OK);
  aon_journal *journal = world_open(w), *others = world_open(w);
  sqlite3_cancel_auto_extension((void (*)(void))listen_to_commits);
  aon_process self = w->env.ops->process_self(w);
  aon_submission submission = {.id = uuid(w, 1, id), .digest = "d", .organization = "o", .state = AON_PLANNING, .worker = &self};
  aon_bulk bulk;
  aon_error failure;
  bool existed;
  taker.w = w;
  taker.journal = others;
  taker.id = id;
  OK(aon_journal_submit(journal, &submission, &arena, &bulk, &existed, error));
  assert_int_equal(taker.epoch, 2);
  assert_false(existed);
  assert_int_equal(bulk.epoch, 1);
  assert_int_equal(bulk.worker.pid, self.pid);
  FAILS(aon_journal_move(journal, id, bulk.epoch, AON_PLANNING, AON_LOGGED, NULL, error), AON_FENCED, "taken_over", failure);
  w->skew_ms += 31000;
  taker.id = id;
  OK(aon_journal_claim(journal, id, &self, &arena, &bulk, error));
  assert_int_equal(taker.epoch, 4);
  assert_int_equal(bulk.epoch, 3);
  FAILS(aon_journal_move(journal, id, bulk.epoch, AON_PLANNING, AON_LOGGED, NULL, error), AON_FENCED, "taken_over", failure);
  OK(aon_journal_move(others, id, taker.epoch, AON_PLANNING, AON_LOGGED, NULL, error));
  aon_journal_close(others);
  aon_journal_close(journal);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(makes_private_files, setup, teardown),
      cmocka_unit_test_setup_teardown(reads_a_missing_journal_as_empty, setup, teardown),
      cmocka_unit_test_setup_teardown(reading_changes_no_file, setup, teardown),
      cmocka_unit_test_setup_teardown(no_journal_without_its_key, setup, teardown),
      cmocka_unit_test_setup_teardown(secrets_never_reach_the_disk, setup, teardown),
      cmocka_unit_test_setup_teardown(keys_rotate, setup, teardown),
      cmocka_unit_test_setup_teardown(refuses_what_it_does_not_know, setup, teardown),
      cmocka_unit_test_setup_teardown(migrates_step_by_step, setup, teardown),
      cmocka_unit_test_setup_teardown(an_older_journal_is_brought_up_to_date, setup, teardown),
      cmocka_unit_test_setup_teardown(damage_is_found, setup, teardown),
      cmocka_unit_test_setup_teardown(a_damaged_file_is_told, setup, teardown),
      cmocka_unit_test_setup_teardown(examines_a_healthy_one, setup, teardown),
      cmocka_unit_test_setup_teardown(a_hash_alone_locks_nothing, setup, teardown),
      cmocka_unit_test_setup_teardown(chains_outgrow_memory, setup, teardown),
      cmocka_unit_test_setup_teardown(a_reserve_for_a_full_disk, setup, teardown),
      cmocka_unit_test_setup_teardown(nothing_half_done_on_a_failing_disk, setup, teardown),
      cmocka_unit_test_setup_teardown(syncs_where_it_must, setup, teardown),
      cmocka_unit_test_setup_teardown(a_log_is_synced_before_it_is_moved, setup, teardown),
      cmocka_unit_test_setup_teardown(each_worker_learns_its_own_epoch, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
