/* What comes in numbers, or is longer than usual: documents in conflict beyond the first room for them, many bulk operations on hold, ids
 * longer than a sentence shows; and what happens between a look and a write. */
#include "harness.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/submit.h"

enum { MANY = 150 };

static aon_result hear_conflict(void *context, const aon_conflict *found, aon_error *error) {
  (void)error;
  *(uint64_t *)context += !found->watched;
  return AON_OK;
}

static uint64_t conflicts_of(world *w, const char *id) {
  uint64_t count = 0;
  aon_journal *journal;
  OK(aon_engine_journal(w->engine, false, &journal, error));
  OK(aon_journal_conflicts(journal, id, hear_conflict, &count, error));
  return count;
}

static void update_lines(const char *store, aon_buffer *out) {
  for (int i = 0; i < MANY; i++)
    OK(aon_buffer_format(out, error, "{\"store\":\"%s\",\"collection\":\"c\",\"id\":\"%d\",\"operation\":\"update\",\"data\":{\"n\":2}}\n",
                         store, i));
}

/* Somebody writes all of them while they go back. */
static void write_all(world *w) {
  char id[8];
  for (int i = 0; i < MANY; i++) {
    snprintf(id, sizeof id, "%d", i);
    world_put(w, "b", "c", id, "{\"n\":9}");
  }
}

static void every_one_in_conflict_is_named_and_settled(void **state) {
  (void)state;
  for (int force = 0; force < 2; force++) {
    world *w = world_new();
    world_memory(w, "b", AON_CLASS_BATCH, NULL);
    w->config.test_rollback_at = MANY;
    AON_BUFFER_CLEANUP aon_buffer lines = {0};
    char id[37], key[8];
    for (int i = 0; i < MANY; i++) {
      snprintf(key, sizeof key, "%d", i);
      world_put(w, "b", "c", key, "{\"n\":1}");
    }
    world_engine(w);
    update_lines("b", &lines);
    OK(aon_buffer_text(&lines, "{\"store\":\"b\",\"collection\":\"d\",\"id\":\"last\",\"operation\":\"create\",\"data\":{}}\n", error));
    w->call = write_all;
    w->call_name = "store.b.resolve";
    OK(world_apply(w, lines.data));
    memcpy(id, w->outcome.bulk_id, 37);
    assert_int_equal(w->outcome.state, AON_ROLLBACK_FAILED);
    assert_int_equal(w->outcome.conflicts, MANY);
    assert_int_equal(conflicts_of(w, id), MANY);
    world_new_outcome(w);
    OK(aon_resolve(w->engine, id, "all", force ? AON_FORCE : AON_KEEP_THEIRS, NULL, &w->options, &w->outcome, error));
    assert_int_equal(w->outcome.state, AON_ROLLED_BACK);
    assert_int_equal(conflicts_of(w, id), 0);
    for (int i = 0; i < MANY; i += 37) {
      snprintf(key, sizeof key, "%d", i);
      assert_string_equal(world_get(w, "b", "c", key), force ? "{\"n\":1}" : "{\"n\":9}");
    }
    world_free(w);
  }
}

/* Each waits for a person, and recovery passes them all by; but not for ever. */
static void many_on_hold(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  w->config.test_rollback_at = 0;
  w->config.hold_until_ms = 3600000;
  w->options.hold_on_failure = true;
  world_engine(w);
  char line[200], ids[70][37];
  for (int i = 0; i < 70; i++) {
    snprintf(line, sizeof line, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"%d\",\"operation\":\"create\",\"data\":{}}\n", i);
    OK(world_apply(w, line));
    memcpy(ids[i], w->outcome.bulk_id, 37);
    assert_int_equal(w->outcome.state, AON_HELD);
  }
  for (int later = 0; later < 2; later++) {
    world_recover(w);
    for (int i = 0; i < 70; i++)
      assert_int_equal(world_state(w, ids[i]), later ? AON_ROLLED_BACK : AON_HELD);
    world_advance(w, 3700000);
  }
  assert_int_equal(aon_memory_documents(world_database(w, "t")), 0);
  world_free(w);
}

/* ---- long ids ---- */

static char long_id[500];
static void write_long(world *w) { world_put(w, "b", "c", long_id, "{\"n\":9}"); }

static aon_result hear_sentence(void *context, const aon_conflict *found, aon_error *error) {
  return aon_buffer_format(context, error, "%s\n", found->sentence);
}

static void a_sentence_shows_the_beginning_of_an_id(void **state) {
  (void)state;
  memset(long_id, 'x', sizeof long_id - 1);
  memcpy(long_id, "first", 5);
  world *w = world_new();
  world_memory(w, "b", AON_CLASS_BATCH, NULL);
  world_put(w, "b", "c", long_id, "{\"n\":1}");
  w->config.test_rollback_at = 1;
  world_engine(w);
  AON_BUFFER_CLEANUP aon_buffer lines = {0}, said = {0};
  OK(aon_buffer_format(&lines, error,
                       "{\"store\":\"b\",\"collection\":\"c\",\"id\":\"%s\",\"operation\":\"update\",\"data\":{\"n\":2}}\n"
                       "{\"store\":\"b\",\"collection\":\"d\",\"id\":\"last\",\"operation\":\"create\",\"data\":{}}\n",
                       long_id));
  w->call = write_long;
  w->call_name = "store.b.resolve";
  OK(world_apply(w, lines.data));
  assert_int_equal(w->outcome.state, AON_ROLLBACK_FAILED);
  aon_journal *journal;
  OK(aon_engine_journal(w->engine, false, &journal, error));
  OK(aon_journal_conflicts(journal, w->outcome.bulk_id, hear_sentence, &said, error));
  char shown[301];
  snprintf(shown, sizeof shown, "%.300s", long_id);
  assert_non_null(strstr(said.data, shown));
  assert_non_null(strstr(said.data, "x has properties that both"));
  assert_null(strstr(said.data, long_id));
  world_free(w);
}

/* ---- between a look and a write ---- */

static void write_theirs(world *w) { world_put(w, "u", "c", "1", "{\"n\":9}"); }

static void refuse_the_last(world *w) {
  aon_memory_trouble_at(world_database(w, "t"), AON_MEMORY_REFUSE, 1, 1000);
  w->call = write_theirs;
  w->call_name = "store.u.apply"; /* now that of going back: it has looked already */
}

/* One of two transactions has committed, the last one can't: what it wrote goes back. Somebody is faster than that write:
 * it is looked at anew, and found to be theirs. */
static void somebody_is_faster_than_going_back(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "u", AON_CLASS_TRANSACTION, NULL);
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_put(w, "u", "c", "1", "{\"n\":1}");
  world_engine(w);
  w->call = refuse_the_last;
  w->call_name = "store.t.commit";
  aon_result result = world_apply(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"create\",\"data\":{\"n\":2}}\n"
                                     "{\"store\":\"u\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"update\",\"data\":{\"n\":2}}\n");
  (void)result;
  aon_memory_trouble_at(world_database(w, "t"), AON_MEMORY_NONE, 1, 1);
  if (w->outcome.state != AON_ROLLBACK_FAILED)
    fail_msg("%s\n%s", aon_state_name(w->outcome.state), w->steps_log);
  assert_int_equal(conflicts_of(w, w->outcome.bulk_id), 1);
  assert_string_equal(world_get(w, "u", "c", "1"), "{\"n\":9}");
  assert_string_equal(world_get(w, "t", "c", "1"), "");
  world_free(w);
}

/* ---- what is refused while it is planned ---- */

static void run_sql(const world *w, const char *statement) {
  sqlite3 *database;
  char path[160];
  snprintf(path, sizeof path, "%s/s.db", w->folder);
  assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
  assert_int_equal(sqlite3_exec(database, statement, NULL, NULL, NULL), SQLITE_OK);
  sqlite3_close(database);
}

/* A delete that the database would answer by deleting more is none that can be taken back. */
static void a_delete_that_deletes_more(void **state) {
  (void)state;
  world *w = world_new();
  world_sqlite(w, "s");
  run_sql(w, "create table parent (id text primary key, n int);"
             "create table child (id text primary key, parent text references parent (id) on delete cascade);"
             "insert into parent values ('1', 1); insert into child values ('2', '1')");
  world_engine(w);
  OK(world_apply(w, "{\"store\":\"s\",\"collection\":\"child\",\"id\":\"2\",\"operation\":\"update\",\"data\":{}}\n"
                    "{\"store\":\"s\",\"collection\":\"parent\",\"id\":\"1\",\"operation\":\"delete\"}\n"));
  assert_int_equal(w->outcome.state, AON_REJECTED_STATE);
  assert_int_equal(w->outcome.problems.error_count, 1);
  assert_string_equal(w->outcome.problems.errors[0].code, "delete_effect");
  assert_int_equal(w->outcome.problems.errors[0].line, 2);
  assert_non_null(strstr(w->outcome.problems.errors[0].sentence, "child"));
  world_free(w);
}

/* A folder is known by its files; a folder in it is none of them, and a file that can't be read makes it unknown. */
static aon_result (*sound_info)(void *context, const char *path, aon_file_info *ret_info, aon_error *error);
static aon_result no_info(void *context, const char *path, aon_file_info *ret_info, aon_error *error) {
  return strstr(path, ".csv") ? aon_fail(error, AON_ENVIRONMENT, "io_error", "“%s” can't be looked at.", path)
                              : sound_info(context, path, ret_info, error);
}
static aon_result (*sound_open)(void *context, const char *path, aon_file_mode mode, aon_file **ret_file, aon_error *error);
static aon_result no_open(void *context, const char *path, aon_file_mode mode, aon_file **ret_file, aon_error *error) {
  return strstr(path, ".csv") ? aon_fail(error, AON_ENVIRONMENT, "io_error", "“%s” can't be read.", path)
                              : sound_open(context, path, mode, ret_file, error);
}

static void a_folder_is_known_by_its_files(void **state) {
  (void)state;
  static const char *const none[] = {NULL};
  world *w = world_new();
  char folder[100], inner[120], file[120], digests[2][65];
  aon_error failure = AON_ERROR_INIT;
  aon_env_ops *ops = (aon_env_ops *)w->env.ops; /* the harness's own, on the heap */
  snprintf(folder, sizeof folder, "%s/sheets", w->folder);
  snprintf(inner, sizeof inner, "%s/inner", folder);
  snprintf(file, sizeof file, "%s/Users.csv", folder);
  assert_int_equal(mkdir(folder, 0700), 0);
  FILE *out = fopen(file, "wb");
  assert_non_null(out);
  fputs("Name\nAnn\n", out);
  fclose(out);
  OK(aon_folder_digest(&w->env, folder, none, digests[0], error));
  assert_int_equal(mkdir(inner, 0700), 0);
  OK(aon_folder_digest(&w->env, folder, none, digests[1], error));
  assert_string_equal(digests[0], digests[1]);
  sound_info = ops->file_info;
  ops->file_info = no_info;
  assert_int_equal(aon_folder_digest(&w->env, folder, none, digests[1], &failure), AON_ENVIRONMENT);
  assert_non_null(strstr(failure.sentence, "looked at"));
  ops->file_info = sound_info;
  sound_open = ops->file_open;
  ops->file_open = no_open;
  assert_int_equal(aon_folder_digest(&w->env, folder, none, digests[1], &failure), AON_ENVIRONMENT);
  assert_non_null(strstr(failure.sentence, "Users.csv"));
  ops->file_open = sound_open;
  rmdir(inner);
  remove(file);
  rmdir(folder);
  world_free(w);
}

/* A name goes into places of one size. */
static void a_store_of_a_very_long_name(void **state) {
  (void)state;
  static const char name[] = "a_store_whose_name_is_as_long_as_nobody_would_ever_want_to_write_it_down";
  world *w = world_new();
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_config(w, "t")->name = name;
  world_engine(w);
  char line[200];
  snprintf(line, sizeof line, "{\"store\":\"%s\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"create\",\"data\":{}}\n", name);
  OK(world_apply(w, line));
  assert_int_equal(w->outcome.state, AON_REJECTED_STATE);
  assert_string_equal(w->outcome.problems.errors[0].code, "too_long");
  assert_int_equal(aon_memory_documents(world_database(w, "t")), 0);
  world_free(w);
}

/* A request that may take longer than this worker's lease is not sent. */
static void a_request_that_outlives_the_lease(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_config(w, "t")->timeout_ms = (int64_t)24 * 3600 * 1000;
  world_engine(w);
  aon_result result = world_apply(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"create\",\"data\":{}}\n");
  assert_int_equal(result, AON_FENCED);
  assert_string_equal(w->error.code, "lease_too_short");
  assert_null(strstr(w->steps_log, "t.begin\n"));
  assert_int_equal(aon_memory_documents(world_database(w, "t")), 0);
  world_config(w, "t")->timeout_ms = 1000;
  world_die(w);
  world_engine(w);
  assert_int_equal(world_recover(w), 0);
  assert_int_equal(aon_memory_documents(world_database(w, "t")), 0);
  world_free(w);
}

/* What can't be meant is said before anything is written; what can is done, however much of it there is. */
static void odd_wishes(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  char location[120], id[37], keys[1100][16];
  const char *many[1101];
  snprintf(location, sizeof location, "sqlite:%s", w->journal); /* by its scheme */
  w->config.journal.location = location;
  world_engine(w);
  APPLY_OK(w, "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"create\",\"data\":{\"n\":1}}\n"
              "{\"store\":\"t\",\"collection\":\"c\",\"id\":\"2\",\"operation\":\"create\",\"data\":{\"n\":1}}\n");
  memcpy(id, w->outcome.bulk_id, 37);
  assert_int_equal(world_undo(w, id, &(aon_undo_options){.first = 1, .last = 0}), AON_USAGE);
  assert_string_equal(w->error.code, "bad_range");
  assert_int_equal(world_undo(w, id, &(aon_undo_options){.first = 0, .last = 2}), AON_USAGE);
  for (int all = 0; all < 2; all++) {
    world_new_outcome(w);
    assert_int_equal(aon_resolve(w->engine, id, all ? "all" : "t/c/1", AON_MERGE, all ? "{}" : NULL, &w->options, &w->outcome, &w->error),
                     AON_USAGE);
    assert_string_equal(w->error.code, "bad_merge");
  }
  world_put(w, "t", "c", "1", "{\"n\":7}"); /* theirs as a whole: it was created by what is taken back */
  aon_result result = world_undo(w, id, NULL);
  assert_int_equal(result, AON_OK);
  assert_int_equal(w->outcome.state, AON_REJECTED_STATE);
  assert_string_equal(w->outcome.problems.errors[0].code, "foreign_change");
  assert_null(strstr(w->outcome.problems.errors[0].sentence, " in "));
  for (int i = 0; i < 1100; i++) {
    snprintf(keys[i], sizeof keys[i], "t/c/%d", i + 1);
    many[i] = keys[i];
  }
  many[1100] = NULL;
  w->options.idempotency_key = "once";
  for (int again = 0; again < 2; again++) { /* the second time it is told what became of the first */
    OK(world_undo(w, id, &(aon_undo_options){.first = -1, .last = -1, .keep_theirs = many}));
    assert_int_equal(w->outcome.state, AON_COMMITTED);
    assert_int_equal(w->outcome.repeated, again);
  }
  assert_string_equal(world_get(w, "t", "c", "1"), "{\"n\":7}");
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(every_one_in_conflict_is_named_and_settled),
                                     TEST(many_on_hold),
                                     TEST(a_sentence_shows_the_beginning_of_an_id),
                                     TEST(somebody_is_faster_than_going_back),
                                     TEST(a_delete_that_deletes_more),
                                     TEST(a_folder_is_known_by_its_files),
                                     TEST(a_store_of_a_very_long_name),
                                     TEST(odd_wishes),
                                     TEST(a_request_that_outlives_the_lease)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
