/* SQLite where it is odd: comparisons that SQLite makes wider than ours, constraints whose names look like columns, foreign keys that many
 * operations leave open, stored forms that nobody wrote, tables that are nearly document tables, a call that is cancelled in its midst. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/document.h"
#include "world.h"

static const aon_image absent = {0};

typedef struct subject {
  world w;
  const char *path;
  aon_store *store; /* without the decorator: some of these callers break the contract */
  aon_collection t;
} subject;

static int set_up(void **state) {
  subject *s = calloc(1, sizeof *s);
  world_open(&s->w);
  s->path = world_path(&s->w, "s.db");
  aon_store_config config = {.name = "main", .location = s->path, .create = true, .timeout_ms = INT64_C(1) << 40};
  OK(&s->w, aon_store_open(s->w.env, &aon_sqlite_adapter, &config, &s->store, &s->w.error));
  s->t = (aon_collection){.store = "main", .name = "t"};
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

static aon_write create(subject *s, const char *id, const char *json, int64_t operation) {
  return write_of(&s->t, id, absent, normal(&s->w, s->store, &s->t, id, json), operation);
}

static aon_transaction *begin(subject *s, uint32_t attempt) {
  aon_branch own = branch(attempt);
  aon_transaction *transaction = NULL;
  OK(&s->w, aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &transaction, &s->w.error));
  return transaction;
}

/* ---- searches ---- */

static aon_result count_found(void *context, const aon_found *found, aon_error *error) {
  (void)error;
  *(int *)context += found->id.length > 0;
  return AON_OK;
}

static int found_by(subject *s, const char *property, const char *value) {
  aon_match match = {property, text(value)};
  int found = 0;
  OK(&s->w, aon_store_scan(s->store, &s->t, &match, 1, NULL, count_found, &found, &s->w.error));
  return found;
}

/* A value is found by its own text only, whatever collation and affinity would let SQLite take for it. */
static void values_are_found_by_their_text(void **state) {
  static const struct {
    const char *type, *value, *asked;
    int found;
  } cases[] = {{"text collate rtrim", "'a  '", "a", 0},
               {"text collate rtrim", "'a  '", "a  ", 1},
               {"text collate nocase", "'ab'", "AB", 0},
               {"text", "''", "", 1},
               {"", "''", "", 1},
               {"", "1", "1", 1},
               {"", "1", "1.0", 0},
               {"", "0.5", "0.5", 1},
               {"", "0.5", "+.5", 0},
               {"", "1", "1-", 0},
               {"", "1", "1e", 0},
               {"", "null", "", 0},
               {"", "7", "7000000000000000000000000000000000000000000000000000000000000000000", 0},
               {"blob", "x'00ff'", "AP8=", 1},
               {"blob", "x'00ff'", "AP8", 0},
               {"blob", "x''", "", 1},
               {"", "x'00ff'", "AP8=", 1},
               {"integer", "7", "7", 1},
               {"integer", "7", "07", 0},
               {"real", "2.5", "2.5", 1},
               {"real", "2.5", "2.50", 0}};
  subject *s = *state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char statement[200];
    snprintf(statement, sizeof statement,
             "drop table if exists t; create table t(id text primary key, v %s); insert into t values('a', %s)", cases[i].type,
             cases[i].value);
    sql(s->path, statement);
    if (found_by(s, "v", cases[i].asked) != cases[i].found)
      fail_msg("%s in %s, asked for %s", cases[i].value, cases[i].type, cases[i].asked);
  }
}

static void long_bytes_are_found_by_their_text(void **state) {
  subject *s = *state;
  sql(s->path, "create table t(id text primary key, v blob); insert into t values('a', zeroblob(10000)), ('b', zeroblob(9999) || x'01')");
  sql(s->path, "update t set v = cast(v as blob)");
  aon_image found = look(&s->w, s->store, &s->t, "a");
  bson_t view;
  bson_iter_t at;
  assert_true(aon_image_view(&found, &view) && bson_iter_init_find(&at, &view, "v"));
  char *all = aon_arena_text(&s->w.arena, bson_iter_utf8(&at, NULL), strlen(bson_iter_utf8(&at, NULL)));
  assert_int_equal(found_by(s, "v", all), 1);
  all[strlen(all) - 4] = 'B';
  assert_int_equal(found_by(s, "v", all), 0);
  sql(s->path, "create table u(id text primary key, v text collate nocase); insert into u values('a', x'00ff')");
  s->t.name = "u";
  assert_int_equal(found_by(s, "v", "AP8="), 0); /* bytes in a column of text: read as base64, and not looked for */
}

static void a_search_for_no_column_is_refused(void **state) {
  subject *s = *state;
  aon_match match = {"zz", text("1")}, quoted = {"a\"b", text("1")}, nul = {"n", {"a\0b", 3}};
  aon_index index = {0};
  int found = 0;
  sql(s->path, "create table t(id text primary key, v text); create table d(id text primary key, doc text);"
               "insert into d values('a', '{\"a\\\"b\":\"1\",\"n\":\"a\\u0000b\"}')");
  FAILS(&s->w, aon_store_scan(s->store, &s->t, &match, 1, NULL, count_found, &found, &s->w.error), AON_REJECTED, "unknown_property");
  FAILS(&s->w, aon_store_look_up(s->store, &s->t, &match, &index, &s->w.error), AON_REJECTED, "unknown_property");
  s->t.name = "d"; /* what SQLite can't be asked for is looked through */
  OK(&s->w, aon_store_scan(s->store, &s->t, &quoted, 1, NULL, count_found, &found, &s->w.error));
  OK(&s->w, aon_store_scan(s->store, &s->t, &nul, 1, NULL, count_found, &found, &s->w.error));
  assert_int_equal(found, 2);
  OK(&s->w, aon_store_look_up(s->store, &s->t, &quoted, &index, &s->w.error));
  assert_int_equal(index.state, AON_INDEX_POINTLESS);
  assert_non_null(strstr(index.text, "can't be asked"));
  s->t.name = "nowhere"; /* a table that is yet to be made */
  OK(&s->w, aon_store_look_up(s->store, &s->t, &match, &index, &s->w.error));
}

/* ---- tables that are nearly something else ---- */

static bool is_document_table(subject *s, const char *statement) {
  const aon_shape *shape;
  sql(s->path, "drop table if exists t");
  sql(s->path, statement);
  OK(&s->w, aon_store_describe(s->store, &s->t, &shape, &s->w.error));
  return shape->document_table;
}

static void document_tables_have_two_plain_columns(void **state) {
  subject *s = *state;
  assert_true(is_document_table(s, "create table t(ID text primary key, DOC text)"));
  assert_true(is_document_table(s, "create table t(id clob primary key, doc text default '{\"a\":1}')"));
  aon_image made = normal(&s->w, s->store, &s->t, "a", "{}");
  assert_string_equal(json_of(&s->w, &made), "{}"); /* a document is whole: no default comes in */
  assert_false(is_document_table(s, "create table t(id text primary key, other text)"));
  assert_false(is_document_table(s, "create table t(id text, doc text primary key)"));
  assert_false(is_document_table(s, "create table t(id integer primary key, doc text)"));
  assert_false(is_document_table(s, "create table t(id text primary key, doc text generated always as ('{}'))"));
  assert_false(is_document_table(s, "create table t(id text, doc text, primary key(id, doc))"));
  assert_false(is_document_table(s, "create table t(id text generated always as ('x') stored unique, doc text primary key)"));
}

static void effects_are_told_as_far_as_there_is_room(void **state) {
  subject *s = *state;
  const aon_shape *shape;
  char statement[400];
  sql(s->path, "create table t(id text primary key, v text); create table log(n);"
               "create trigger twice after insert on t begin insert into log values(1); insert into log values(2); end");
  for (int i = 0; i < 12; i++) {
    snprintf(
        statement, sizeof statement,
        "create table a_rather_long_name_for_a_table_that_refers_to_it_%d(id text primary key, t text references t(id) on delete cascade)",
        i);
    sql(s->path, statement);
  }
  OK(&s->w, aon_store_describe(s->store, &s->t, &shape, &s->w.error));
  assert_true(strlen(shape->delete_effect) < 600);
  assert_non_null(strstr(shape->delete_effect, "a_rather_long_name_for_a_table_that_refers_to_it_0"));
  assert_non_null(strstr(shape->write_effect, "twice"));
  assert_null(strstr(strstr(shape->write_effect, "twice") + 1, "twice")); /* once */
}

/* ---- refusals ---- */

/* names: the properties that the refusal is about, one a line. */
static void is_about(subject *s, const char *json, const char *names) {
  (void)look(&s->w, s->store, &s->t, "x"); /* the table is another one now */
  aon_write write = create(s, "x", json, 5);
  assert_int_equal(apply_now(&s->w, s->store, &write, 1), AON_PERMANENT);
  assert_int_equal(s->w.error.operation, 5);
  assert_string_equal(s->w.error.properties, names);
  s->w.error = (aon_error)AON_ERROR_INIT;
}

static void constraints_name_columns_and_nothing_else(void **state) {
  subject *s = *state;
  char many[1200] = "create table t(id text primary key", unique[400] = "", json[400] = "{";
  sql(s->path,
      "create table t(id text primary key, a integer, b integer, c integer, d integer, e integer, unique(a, b), constraint k check(c > 0),"
      "constraint \"t.zz\" check(d > 0), constraint tmno check(e > 0)); insert into t values('other', 1, 2, 1, 1, 1)");
  is_about(s, "{\"a\":1,\"b\":2}", "a\nb");
  is_about(s, "{\"c\":0}", "");
  is_about(s, "{\"d\":0}", "");
  is_about(s, "{\"e\":0}", "");
  for (int i = 0; i < 17; i++) {
    snprintf(many + strlen(many), sizeof many - strlen(many), ", p%d integer", i);
    snprintf(unique + strlen(unique), sizeof unique - strlen(unique), "%sp%d", i ? ", " : "", i);
    snprintf(json + strlen(json), sizeof json - strlen(json), "%s\"p%d\":1", i ? "," : "", i);
  }
  snprintf(many + strlen(many), sizeof many - strlen(many), ", unique(%s)); insert into t(id, %s) select 'other'", unique, unique);
  for (int i = 0; i < 17; i++)
    strcat(many, ", 1");
  sql(s->path, "drop table t");
  sql(s->path, many);
  is_about(s, strcat(json, "}"), ""); /* more columns than are named */
  sql(s->path, "drop table t; create table t(id text primary key, doc text unique); insert into t values('other', '{}')");
  is_about(s, "{}", "");
}

static void a_strict_table_refuses_what_was_not_made_to_fit(void **state) {
  subject *s = *state;
  sql(s->path, "create table t(id text primary key, n integer) strict");
  aon_write write = write_of(&s->t, "x", absent, image(&s->w, "{\"id\":\"x\",\"n\":\"word\"}"), 5);
  assert_int_equal(apply_now(&s->w, s->store, &write, 1), AON_PERMANENT);
  s->w.error = (aon_error)AON_ERROR_INIT;
  write = write_of(&s->t, "x", absent, image(&s->w, "{\"id\":\"x\",\"zz\":1}"), 5);
  FAILS(&s->w, apply_now(&s->w, s->store, &write, 1), AON_PERMANENT, "unknown_property");
  write = write_of(&s->t, "x", absent, image(&s->w, "{\"n\":1}"), 5);
  FAILS(&s->w, apply_now(&s->w, s->store, &write, 1), AON_PERMANENT, "bad_image");
  write = write_of(&s->t, "x", image(&s->w, "{\"n\":1}"), absent, 5);
  FAILS(&s->w, apply_now(&s->w, s->store, &write, 1), AON_PERMANENT, "bad_image");
  assert_string_equal(sql_text(&s->w, s->path, "select count(*) from t"), "i:0");
}

/* A stored form that can't be read is damage, and nothing is written. */
static void stored_forms_are_checked(void **state) {
  static const struct {
    const char *token;
    uint32_t length;
  } tokens[] = {{"\3", 1}, {"\3\x09\0v\0\0\0\0", 8}, {"\3\1\0v\x09\0\0\0x", 9}, {"\1\1\0v\1\0\0\0x", 9}, {"\3\1\0v\1\0\0\0x\3", 10}};
  subject *s = *state;
  sql(s->path, "create table t(id text primary key, v text, w text)");
  for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
    aon_image odd = image(&s->w, "{\"id\":\"x\",\"v\":\"y\"}");
    odd.token = (const uint8_t *)tokens[i].token;
    odd.token_length = tokens[i].length;
    aon_write write = write_of(&s->t, "x", absent, odd, 0);
    FAILS(&s->w, apply_now(&s->w, s->store, &write, 1), AON_CORRUPT, "bad_token");
  }
  aon_image good = image(&s->w, "{\"id\":\"x\",\"v\":\"y\"}");
  good.token = (const uint8_t *)"\4\1\0v\1\0\0\0x\3\2\0no\0\0\0\0"; /* bytes in v; a column that is gone */
  good.token_length = 18;
  aon_write write = write_of(&s->t, "x", absent, good, 0);
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  assert_string_equal(sql_text(&s->w, s->path, "select typeof(v), v from t"), "t:blob|b:x");
}

static void a_column_for_the_stamp_is_stamped(void **state) {
  subject *s = *state;
  sql(s->path, "create table t(id text primary key, v text, _bulkOperationId text); create table u(id text primary key, v text)");
  aon_write write = create(s, "x", "{\"v\":\"1\"}", 0);
  write.stamp = "12345678-1234-4234-8234-123456789abc";
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  aon_image found = look(&s->w, s->store, &s->t, "x");
  assert_string_equal(json_of(&s->w, &found), "{\"id\":\"x\",\"v\":\"1\",\"_bulkOperationId\":\"12345678-1234-4234-8234-123456789abc\"}");
  s->t.name = "u";
  write = create(s, "x", "{\"v\":\"1\"}", 0);
  write.stamp = "12345678-1234-4234-8234-123456789abc";
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  found = look(&s->w, s->store, &s->t, "x");
  assert_string_equal(json_of(&s->w, &found), "{\"id\":\"x\",\"v\":\"1\"}");
}

static void an_empty_text_stays(void **state) {
  subject *s = *state;
  sql(s->path, "create table t(a text, b text, v text, w text default '', primary key(a, b)); insert into t values('', 'x', '', '')");
  aon_image before = look(&s->w, s->store, &s->t, ":x");
  aon_write write = write_of(&s->t, ":x", before, normal(&s->w, s->store, &s->t, ":x", "{\"a\":\"\",\"v\":\"\"}"), 0);
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  assert_string_equal(sql_text(&s->w, s->path, "select * from t"), "t:|t:x|t:|t:");
}

/* ---- foreign keys ---- */

static const char *const family = "create table p(id text primary key); create table q(id text primary key);"
                                  "create table t(id text primary key, p text references p(id), q text references q(id));";

static void of_many_that_leave_a_key_open_one_is_named(void **state) {
  subject *s = *state;
  aon_write *writes = calloc(300, sizeof *writes);
  sql(s->path, family);
  for (int i = 0; i < 300; i++) {
    char *id = aon_arena_format(&s->w.arena, "c%03d", i);
    writes[i] = create(s, id, "{\"p\":\"none\"}", 100 + i);
  }
  assert_int_equal(apply_now(&s->w, s->store, writes, 300), AON_PERMANENT);
  assert_string_equal(s->w.error.code, "constraint");
  assert_int_equal(s->w.error.operation, 100);
  s->w.error = (aon_error)AON_ERROR_INIT;
  free(writes);
  assert_string_equal(sql_text(&s->w, s->path, "select count(*) from t"), "i:0");
}

/* What was broken before is not blamed on this transaction, unless there is so much of it that nothing else is seen. */
static void older_orphans_are_not_blamed(void **state) {
  subject *s = *state;
  aon_collection q = {.store = "main", .name = "q"};
  sql(s->path, family);
  sql(s->path, "pragma foreign_keys=off; insert into p values('p'); insert into q values('q');"
               "insert into t values('old', 'gone', null), ('mine', 'p', 'q')");
  aon_write writes[2] = {write_of(&q, "q", look(&s->w, s->store, &q, "q"), absent, 8), create(s, "new", "{\"p\":\"none\"}", 9)};
  assert_int_equal(apply_now(&s->w, s->store, writes, 1), AON_PERMANENT);
  assert_int_equal(s->w.error.operation, 8);
  assert_int_equal(apply_now(&s->w, s->store, writes + 1, 1), AON_PERMANENT);
  assert_int_equal(s->w.error.operation, 9);
  s->w.error = (aon_error)AON_ERROR_INIT;
  sql(s->path, "pragma foreign_keys=off; with recursive c(n) as (select 1 union all select n + 1 from c where n < 10001)"
               " insert into t select 'a' || n, 'gone', null from c");
  assert_int_equal(apply_now(&s->w, s->store, writes + 1, 1), AON_PERMANENT);
  assert_int_equal(s->w.error.operation, 9);
  s->w.error = (aon_error)AON_ERROR_INIT;
}

/* ---- calls out of their order ---- */

static aon_result begin_within(void *context, const aon_found *found, aon_error *error) {
  subject *s = context;
  aon_branch own = branch(7);
  aon_transaction *transaction;
  (void)found;
  return aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &transaction, error);
}

static void a_transaction_waits_for_the_scan_to_end(void **state) {
  subject *s = *state;
  aon_store_cancel(s->store); /* nothing is open yet: nothing to cancel */
  aon_write write = create(s, "a", "{}", 0);
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  FAILS(&s->w, aon_store_scan(s->store, &s->t, NULL, 0, NULL, begin_within, s, &s->w.error), AON_USAGE, "transaction_open");
  aon_store_abort(s->store, begin(s, 7));
}

static void a_marker_that_nobody_wrote_is_told(void **state) {
  subject *s = *state;
  aon_branch of = branch(7);
  aon_branch_state found;
  aon_store_abort(s->store, begin(s, 6));
  OK(&s->w, aon_store_resolve(s->store, &of, &found, &s->w.error));
  sql(s->path, "update aon_markers set state = 'perhaps'");
  FAILS(&s->w, aon_store_resolve(s->store, &of, &found, &s->w.error), AON_CORRUPT, "bad_marker");
}

/* A log that has grown is moved into the file before the next transaction. */
static void a_long_log_is_moved(void **state) {
  subject *s = *state;
  struct stat before, after;
  char *json = aon_arena_alloc(&s->w.arena, 6 << 20);
  memset(json, 'x', 6 << 20);
  memcpy(json, "{\"v\":\"", 6);
  strcpy(json + (6 << 20) - 3, "\"}");
  aon_write write = create(s, "a", json, 0);
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  assert_int_equal(stat(s->path, &before), 0);
  aon_store_abort(s->store, begin(s, 7));
  assert_int_equal(stat(s->path, &after), 0);
  assert_true(before.st_size < 1 << 20);
  assert_true(after.st_size > 6 << 20);
  assert_non_null(look(&s->w, s->store, &s->t, "a").bson);
}

static atomic_bool enough;

static void *cancel_all_along(void *store) {
  while (!atomic_load(&enough))
    aon_store_cancel(store);
  return NULL;
}

/* Whatever is under way ends as cancelled, and changes nothing. */
static void calls_are_cancelled_in_their_midst(void **state) {
  enum { DOCUMENTS = 400 };
  subject *s = *state;
  pthread_t thread;
  aon_write *writes = calloc(DOCUMENTS, sizeof *writes);
  aon_text ids[DOCUMENTS];
  aon_image images[DOCUMENTS];
  size_t failed;
  sql(s->path, "create table t(id text primary key, doc text)");
  for (int i = 0; i < DOCUMENTS; i++) {
    ids[i] = text(aon_arena_format(&s->w.arena, "k%d", i));
    writes[i] = create(s, ids[i].data, "{\"v\":1}", i);
  }
  aon_result read = AON_OK, applied = AON_OK;
  OK(&s->w, apply_now(&s->w, s->store, writes, DOCUMENTS));
  aon_transaction *transaction = NULL;
  for (int i = 0; i < DOCUMENTS; i++)
    writes[i].expected = writes[i].wanted;
  atomic_store(&enough, false);
  assert_int_equal(pthread_create(&thread, NULL, cancel_all_along, s->store), 0);
  for (int i = 0; i < 1000 && read != AON_CANCELLED; i++)
    read = aon_store_read(s->store, &s->t, ids, DOCUMENTS, &s->w.arena, images, &s->w.error);
  for (uint32_t i = 0; i < 1000 && applied != AON_CANCELLED; i++) {
    aon_branch own = branch(1000 + i);
    if (aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &transaction, &s->w.error))
      continue;
    applied = aon_store_apply(s->store, transaction, writes, DOCUMENTS, NULL, &failed, &s->w.error);
    aon_store_abort(s->store, transaction);
  }
  atomic_store(&enough, true);
  pthread_join(thread, NULL);
  s->w.error = (aon_error)AON_ERROR_INIT;
  assert_int_equal(read, AON_CANCELLED);
  assert_int_equal(applied, AON_CANCELLED);
  assert_string_equal(sql_text(&s->w, s->path, "select count(*) from t"), "i:400");
  free(writes);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {TEST(values_are_found_by_their_text),
                                     TEST(long_bytes_are_found_by_their_text),
                                     TEST(a_search_for_no_column_is_refused),
                                     TEST(document_tables_have_two_plain_columns),
                                     TEST(effects_are_told_as_far_as_there_is_room),
                                     TEST(constraints_name_columns_and_nothing_else),
                                     TEST(a_strict_table_refuses_what_was_not_made_to_fit),
                                     TEST(stored_forms_are_checked),
                                     TEST(a_column_for_the_stamp_is_stamped),
                                     TEST(an_empty_text_stays),
                                     TEST(of_many_that_leave_a_key_open_one_is_named),
                                     TEST(older_orphans_are_not_blamed),
                                     TEST(a_transaction_waits_for_the_scan_to_end),
                                     TEST(a_marker_that_nobody_wrote_is_told),
                                     TEST(a_long_log_is_moved),
                                     TEST(calls_are_cancelled_in_their_midst)};
  return cmocka_run_group_tests_name("sqlite odd", tests, NULL, NULL);
}
