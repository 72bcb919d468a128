/* SQLite document tables: texts that go back byte for byte, texts that are no documents, files and tables that are not there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/document.h"
#include "world.h"

static const aon_image absent = {0};
static const aon_collection users = {.store = "main", .name = "users"};

typedef struct subject {
  world w;
  const char *path;
  aon_store *store;
} subject;

static int set_up(void **state) {
  subject *s = calloc(1, sizeof *s);
  world_open(&s->w);
  s->path = world_path(&s->w, "s.db");
  s->store = world_store(&s->w, &aon_sqlite_adapter, NULL, "main", s->path, true);
  *state = s;
  return 0;
}

static int tear_down(void **state) {
  subject *s = *state;
  aon_store_close(s->store);
  world_close(&s->w);
  free(s);
  return 0;
}

static bool there(const char *path) { return access(path, F_OK) == 0; }

static aon_result ignore(void *context, const aon_found *found, aon_error *error) {
  (void)found;
  (void)error;
  ++*(int *)context;
  return AON_OK;
}

static void reading_makes_nothing(void **state) {
  subject *s = *state;
  const aon_shape *shape;
  aon_buffer report = {0};
  bool healthy;
  int count = 0;
  for (int round = 0; round < 2; round++) {
    aon_image none = look(&s->w, s->store, &users, "a");
    assert_null(none.bson);
    OK(&s->w, aon_store_describe(s->store, &users, &shape, &s->w.error));
    assert_false(shape->exists);
    assert_true(shape->document_table);
    normal(&s->w, s->store, &users, "a", "{}");
    OK(&s->w, aon_store_scan(s->store, &users, NULL, 0, NULL, ignore, &count, &s->w.error));
    OK(&s->w, aon_store_examine(s->store, &report, &healthy, &s->w.error));
    OK(&s->w, aon_store_forget(s->store, 0, &s->w.error));
    if (round == 0) {
      assert_false(there(s->path));
      sql(s->path, "create table other(id text primary key, doc text)");
    }
  }
  assert_int_equal(count, 0);
  assert_string_equal(sql_text(&s->w, s->path, "select name from sqlite_schema where type='table'"), "t:other");
  assert_non_null(strstr(report.data, "not there yet"));
  aon_buffer_release(&report);
}

static void makes_a_private_file_with_wal(void **state) {
  subject *s = *state;
  struct stat info;
  aon_write write = write_of(&users, "a", absent, image(&s->w, "{\"n\":1}"), 0);
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  assert_int_equal(stat(s->path, &info), 0);
  assert_int_equal(info.st_mode & 0777, 0600);
  assert_string_equal(sql_text(&s->w, s->path, "pragma journal_mode"), "t:wal");
  assert_string_equal(sql_text(&s->w, s->path, "select id, doc from users"), "t:a|t:{\"n\":1}");
  assert_string_equal(sql_text(&s->w, s->path, "select sql from sqlite_schema where name='users'"),
                      "t:CREATE TABLE \"users\" (id TEXT PRIMARY KEY, doc TEXT)");
}

static void gives_wal_to_an_empty_file(void **state) { /* what a crash leaves between making the file and its first page */
  subject *s = *state;
  fclose(fopen(s->path, "w"));
  assert_null(look(&s->w, s->store, &users, "a").bson);
  aon_write write = write_of(&users, "a", absent, image(&s->w, "{\"n\":1}"), 0);
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  assert_string_equal(sql_text(&s->w, s->path, "pragma journal_mode"), "t:wal");
}

static void keeps_the_journal_mode_that_was_there(void **state) {
  subject *s = *state;
  sql(s->path, "create table users(id text primary key, doc text)");
  aon_write write = write_of(&users, "a", absent, image(&s->w, "{\"n\":1}"), 0);
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  assert_string_equal(sql_text(&s->w, s->path, "pragma journal_mode"), "t:delete");
}

static void a_rollback_unmakes_tables(void **state) {
  subject *s = *state;
  size_t failed;
  aon_transaction *transaction;
  aon_branch own = branch(1);
  aon_write write = write_of(&users, "a", absent, image(&s->w, "{}"), 0);
  for (int i = 0; i < 3; i++) {
    OK(&s->w, aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &transaction, &s->w.error));
    OK(&s->w, aon_store_apply(s->store, transaction, &write, 1, NULL, &failed, &s->w.error));
    assert_non_null(look(&s->w, s->store, &users, "a").bson);
    aon_store_abort(s->store, transaction);
    if (i == 1) /* aon_markers and users went; now the schema's number comes again with another schema */
      sql(s->path, "create table other(id text primary key, doc text); create table another(id text primary key, doc text)");
    assert_null(look(&s->w, s->store, &users, "a").bson);
  }
  assert_string_equal(sql_text(&s->w, s->path, "select name from sqlite_schema where type='table'"), "t:other\nt:another");
}

/* ---- byte for byte ---- */

static void gives_texts_back_byte_for_byte(void **state) {
  static const char *const docs[] = {"{\"n\":1}",
                                     " { \"n\" : 1 , \"a\":[1, 2 ] }\n",
                                     "{\"n\":1.0}",
                                     "{\"n\":1e2,\"m\":1E+2,\"k\":-0}",
                                     "{\"s\":\"\\u00e9\\/\\ud83d\\ude00\"}",
                                     "{}",
                                     "{ }",
                                     "{\"n\":0.1000}",
                                     "{\"n\":9223372036854775807,\"d\":12345678901234567.25}",
                                     "{\"$oid\":\"x\",\"\":null}",
                                     "{\"b\":1,\"a\":{\"z\":[],\"y\":{}}}"};
  subject *s = *state;
  sql(s->path, "create table users(id text primary key, doc text)");
  for (size_t i = 0; i < sizeof docs / sizeof *docs; i++) {
    char *statement = aon_arena_format(&s->w.arena, "replace into users values('a', '%s')", docs[i]);
    sql(s->path, statement);
    aon_image before = look(&s->w, s->store, &users, "a"), after = image(&s->w, "{\"other\":true}");
    aon_write there_and_back[4] = {write_of(&users, "a", before, after, 0), write_of(&users, "a", after, before, 1),
                                   write_of(&users, "a", before, absent, 2), write_of(&users, "a", absent, before, 3)};
    OK(&s->w, apply_now(&s->w, s->store, there_and_back, 4));
    assert_string_equal(sql_text(&s->w, s->path, "select doc from users"), aon_arena_format(&s->w.arena, "t:%s", docs[i]));
  }
}

static void a_changed_text_is_a_change(void **state) { /* the same document in other words: somebody has written it */
  subject *s = *state;
  sql(s->path, "create table users(id text primary key, doc text); insert into users values('a', '{\"n\":1}')");
  aon_image before = look(&s->w, s->store, &users, "a");
  sql(s->path, "update users set doc = '{\"n\": 1}'");
  aon_write write = write_of(&users, "a", before, image(&s->w, "{\"n\":2}"), 5);
  FAILS(&s->w, apply_now(&s->w, s->store, &write, 1), AON_PERMANENT, "changed_meanwhile");
}

static void works_in_utf16(void **state) {
  subject *s = *state;
  sql(s->path,
      "pragma encoding='UTF-16le'; create table users(id text primary key, doc text); insert into users values('é', '{\"s\": \"ü😀\"}')");
  aon_image before = look(&s->w, s->store, &users, "é");
  aon_write writes[2] = {write_of(&users, "é", before, image(&s->w, "{\"s\":1}"), 0),
                         write_of(&users, "é", image(&s->w, "{\"s\":1}"), before, 1)};
  OK(&s->w, apply_now(&s->w, s->store, writes, 2));
  assert_string_equal(sql_text(&s->w, s->path, "select doc from users"), "t:{\"s\": \"ü😀\"}");
}

/* ---- what is no document ---- */

static void names_what_is_no_document(void **state) {
  static const char *const values[] = {"null", "''", "'[1]'", "'{\"a\":1,\"a\":2}'", "'{'", "x'7b7d'", "12", "'{}x'", "'{\"n\":1e999}'"};
  subject *s = *state;
  sql(s->path, "create table users(id text primary key, doc text); insert into users values('good', '{}')");
  int count = 0;
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    sql(s->path, aon_arena_format(&s->w.arena, "replace into users values('bad', %s)", values[i]));
    assert_non_null(look(&s->w, s->store, &users, "good").bson);
    aon_text bad = text("bad");
    aon_image found;
    aon_error error = AON_ERROR_INIT;
    assert_int_equal(aon_store_read(s->store, &users, &bad, 1, &s->w.arena, &found, &error), AON_PERMANENT);
    assert_string_equal(error.code, "bad_document");
    assert_non_null(strstr(error.sentence, "main/users/bad"));
    FAILS(&s->w, aon_store_scan(s->store, &users, NULL, 0, NULL, ignore, &count, &s->w.error), AON_PERMANENT, "bad_document");
    aon_match match = {"x", text("y")};
    bool object = values[i][1] == '{' && strlen(values[i]) > 4 && !strchr(values[i], 'x'); /* SQLite takes it for one that does not match */
    if (!object)
      FAILS(&s->w, aon_store_scan(s->store, &users, &match, 1, NULL, ignore, &count, &s->w.error), AON_PERMANENT, "bad_document");
  }
}

static void finds_keys_with_escapes(void **state) {
  subject *s = *state;
  sql(s->path, "create table users(id text primary key, doc text); insert into users values('a', '{\"\\u006eame\": \"\\u0041nna\"}'), "
               "('b', '{\"n\\\"x\": true}'),"
               "('c', '{\"name\":null}'), ('d', '{\"name\":{\"name\":\"Anna\"}}')");
  int count = 0;
  aon_match match = {"name", text("Anna")};
  OK(&s->w, aon_store_scan(s->store, &users, &match, 1, NULL, ignore, &count, &s->w.error));
  assert_int_equal(count, 1);
  match = (aon_match){"n\"x", text("true")};
  OK(&s->w, aon_store_scan(s->store, &users, &match, 1, NULL, ignore, &count, &s->w.error));
  assert_int_equal(count, 2);
}

static void refuses_what_json_lacks(void **state) {
  subject *s = *state;
  bson_t document = BSON_INITIALIZER, inner;
  aon_image ignored;
  BSON_APPEND_DOCUMENT_BEGIN(&document, "a", &inner);
  BSON_APPEND_DATE_TIME(&inner, "at", 1);
  bson_append_document_end(&document, &inner);
  FAILS(&s->w, aon_store_normalise(s->store, &users, text("a"), &document, &s->w.arena, &ignored, &s->w.error), AON_REJECTED, "bad_type");
  bson_reinit(&document);
  BSON_APPEND_DOUBLE(&document, "x", 1.0 / 0.0);
  FAILS(&s->w, aon_store_normalise(s->store, &users, text("a"), &document, &s->w.arena, &ignored, &s->w.error), AON_REJECTED, "bad_type");
  bson_destroy(&document);
}

/* ---- names ---- */

static void keeps_its_own_names(void **state) {
  static const char *const names[] = {"aon_markers", "AON_x", "sqlite_schema", ""};
  subject *s = *state;
  const aon_shape *shape;
  sql(s->path, "create table aon_markers(id text primary key, doc text)");
  aon_store *bare = NULL;
  aon_store_config config = {.name = "main", .location = s->path, .create = true};
  OK(&s->w, aon_store_open(s->w.env, &aon_sqlite_adapter, &config, &bare, &s->w.error));
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    aon_collection collection = {.store = "main", .name = names[i]};
    FAILS(&s->w, aon_store_describe(bare, &collection, &shape, &s->w.error), AON_REJECTED, "unknown_collection");
  }
  aon_store_close(bare);
}

static void odd_collection_names(void **state) {
  static const char *const names[] = {"firebase:user", "a \"b\" c", "select", "über", "x'; drop table users; --"};
  subject *s = *state;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    aon_collection collection = {.store = "main", .name = names[i]};
    aon_write write = write_of(&collection, "a", absent, image(&s->w, "{\"n\":1}"), 0);
    OK(&s->w, apply_now(&s->w, s->store, &write, 1));
    aon_image found = look(&s->w, s->store, &collection, "a");
    assert_same(&s->w, &found, &write.wanted);
  }
}

static void without_create_nothing_is_made(void **state) {
  subject *s = *state;
  const char *path = world_path(&s->w, "other.db");
  aon_store *strict = world_store(&s->w, &aon_sqlite_adapter, NULL, "main", path, false);
  const aon_shape *shape;
  aon_branch own = branch(1);
  aon_transaction *transaction;
  aon_branch_state found;
  FAILS(&s->w, aon_store_describe(strict, &users, &shape, &s->w.error), AON_ENVIRONMENT, "no_such_file");
  FAILS(&s->w, aon_store_begin(strict, &own, AON_MARKER_COMMIT, &transaction, &s->w.error), AON_ENVIRONMENT, "no_such_file");
  FAILS(&s->w, aon_store_resolve(strict, &own, &found, &s->w.error), AON_ENVIRONMENT, "no_such_file");
  assert_false(there(path));
  sql(path, "create table other(id text primary key, doc text)");
  FAILS(&s->w, aon_store_describe(strict, &users, &shape, &s->w.error), AON_REJECTED, "unknown_collection");
  aon_write write = write_of(&users, "a", absent, image(&s->w, "{}"), 0);
  FAILS(&s->w, apply_now(&s->w, strict, &write, 1), AON_PERMANENT, "unknown_collection");
  aon_store_close(strict);
}

/* A worker asleep before its begin must not be able to make the file later and commit. */
static void resolving_makes_the_file(void **state) {
  subject *s = *state;
  aon_branch own = branch(1);
  aon_branch_state found;
  aon_transaction *transaction;
  OK(&s->w, aon_store_resolve(s->store, &own, &found, &s->w.error));
  assert_int_equal(found, AON_BRANCH_ABORTED);
  assert_true(there(s->path));
  FAILS(&s->w, aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &transaction, &s->w.error), AON_FENCED, "fenced");
  own = branch(2);
  FAILS(&s->w, aon_store_begin(s->store, &own, AON_MARKER_UNDONE, &transaction, &s->w.error), AON_FENCED, "fenced");
}

static void forgets_old_markers(void **state) {
  subject *s = *state;
  aon_write write = write_of(&users, "a", absent, image(&s->w, "{}"), 0);
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  OK(&s->w, aon_store_forget(s->store, INT64_MAX, &s->w.error));
  assert_string_equal(sql_text(&s->w, s->path, "select count(*) from aon_markers"), "i:1");
  sql(s->path, "update aon_markers set at_ms = at_ms - 2678400000");
  OK(&s->w, aon_store_forget(s->store, 1000, &s->w.error));
  assert_string_equal(sql_text(&s->w, s->path, "select count(*) from aon_markers"), "i:1");
  OK(&s->w, aon_store_forget(s->store, INT64_MAX, &s->w.error));
  assert_string_equal(sql_text(&s->w, s->path, "select count(*) from aon_markers"), "i:0");
}

static void case_folding_keys_are_not_folded(void **state) {
  subject *s = *state;
  sql(s->path, "create table users(id text primary key collate nocase, doc text); insert into users values('Anna', '{}')");
  assert_null(look(&s->w, s->store, &users, "anna").bson);
  assert_non_null(look(&s->w, s->store, &users, "Anna").bson);
  aon_write write = write_of(&users, "anna", image(&s->w, "{}"), image(&s->w, "{\"n\":1}"), 0);
  FAILS(&s->w, apply_now(&s->w, s->store, &write, 1), AON_PERMANENT, "changed_meanwhile");
  write.expected = absent;
  FAILS(&s->w, apply_now(&s->w, s->store, &write, 1), AON_PERMANENT, "duplicate");
}

static void many_tables_in_one_transaction(void **state) {
  subject *s = *state;
  enum { TABLES = 40 };
  aon_collection collections[TABLES];
  aon_write writes[2 * TABLES];
  for (size_t i = 0; i < 2 * TABLES; i++) {
    if (i < TABLES)
      collections[i] = (aon_collection){.store = "main", .name = aon_arena_format(&s->w.arena, "t%zu", i)};
    writes[i] = write_of(&collections[i % TABLES], i < TABLES ? "a" : "b", absent, image(&s->w, "{\"n\":1}"), (int64_t)i);
  }
  OK(&s->w, apply_now(&s->w, s->store, writes, 2 * TABLES));
  assert_string_equal(sql_text(&s->w, s->path, "select count(*) from t39"), "i:2");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {TEST(reading_makes_nothing),
                                     TEST(makes_a_private_file_with_wal),
                                     TEST(gives_wal_to_an_empty_file),
                                     TEST(keeps_the_journal_mode_that_was_there),
                                     TEST(a_rollback_unmakes_tables),
                                     TEST(gives_texts_back_byte_for_byte),
                                     TEST(a_changed_text_is_a_change),
                                     TEST(works_in_utf16),
                                     TEST(names_what_is_no_document),
                                     TEST(finds_keys_with_escapes),
                                     TEST(refuses_what_json_lacks),
                                     TEST(keeps_its_own_names),
                                     TEST(odd_collection_names),
                                     TEST(without_create_nothing_is_made),
                                     TEST(resolving_makes_the_file),
                                     TEST(forgets_old_markers),
                                     TEST(case_folding_keys_are_not_folded),
                                     TEST(many_tables_in_one_transaction)};
  return cmocka_run_group_tests_name("sqlite document tables", tests, NULL, NULL);
}
