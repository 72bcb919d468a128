/* SQLite tables used column by column: what SQLite gives back, what goes back exactly, keys, defaults, constraints. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/document.h"
#include "world.h"

static const aon_image absent = {0};

typedef struct subject {
  world w;
  const char *path;
  aon_store *store;
  aon_collection t;
} subject;

static int set_up(void **state) {
  subject *s = calloc(1, sizeof *s);
  world_open(&s->w);
  s->path = world_path(&s->w, "s.db");
  sql(s->path, "create table unrelated(id text primary key)");
  s->store = world_store(&s->w, &aon_sqlite_adapter, NULL, "main", s->path, false);
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

static aon_result normalise(subject *s, const char *id, const char *json, aon_image *ret_image) {
  bson_t document;
  OK(&s->w, aon_document_from_json(json, strlen(json), &document, &s->w.error));
  aon_result result = aon_store_normalise(s->store, &s->t, text(id), &document, &s->w.arena, ret_image, &s->w.error);
  bson_destroy(&document);
  return result;
}

static aon_result create(subject *s, const char *id, const char *json, int64_t operation) {
  aon_write write = write_of(&s->t, id, absent, normal(&s->w, s->store, &s->t, id, json), operation);
  return apply_now(&s->w, s->store, &write, 1);
}

static const char *read_json(subject *s, const char *id) {
  aon_image found = look(&s->w, s->store, &s->t, id);
  return json_of(&s->w, &found);
}

static void rejects(subject *s, const char *id, const char *json, const char *code) {
  aon_image ignored;
  FAILS(&s->w, normalise(s, id, json, &ignored), AON_REJECTED, code);
}

/* ---- values ---- */

static const char *const loose = "create table t(id text primary key, i integer, r real, n decimal(20,2), x text, b blob, y, v "
                                 "varchar(10), f float, d datetime, o boolean)";
static const char *const strict = "create table t(id text primary key, i integer, r real, x text, b blob, y any) strict";

static uint64_t next_random(uint64_t *seed) { /* xorshift: the same run each time */
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return *seed;
}

static const char *random_value(subject *s, uint64_t *seed) {
  static const char *const values[] = {"null",
                                       "true",
                                       "false",
                                       "0",
                                       "-1",
                                       "\"\"",
                                       "\"abc\"",
                                       "\"12\"",
                                       "\" 12 \"",
                                       "\"012\"",
                                       "\"1.5\"",
                                       "\"1.50\"",
                                       "\"1e3\"",
                                       "\"0x10\"",
                                       "1.5",
                                       "5.0",
                                       "-0.0",
                                       "1e300",
                                       "0.1",
                                       "\"0.1\"",
                                       "\"AAE=\"",
                                       "\"QUJD\"",
                                       "\"nan\"",
                                       "\"+5\"",
                                       "\"5.\"",
                                       "\".5\"",
                                       "1e-7",
                                       "123456789012345680000.0",
                                       "9223372036854775807",
                                       "-9223372036854775808",
                                       "9007199254740993",
                                       "\"9223372036854775808\"",
                                       "\"12345678901234567.89\"",
                                       "\"1e400\"",
                                       "\"é\\u0000x\"",
                                       "0.30000000000000004",
                                       "\"0.30000000000000004\"",
                                       "\"-\"",
                                       "\"1 2\"",
                                       "4503599627370497.5",
                                       "\"99999999999999999999\"",
                                       "\"1_000\"",
                                       "\"1e\"",
                                       "\"e5\""};
  uint64_t kind = next_random(seed) % (sizeof values / sizeof *values + 6);
  if (kind < sizeof values / sizeof *values)
    return values[kind];
  int64_t number = (int64_t)next_random(seed) >> (next_random(seed) % 60);
  switch (kind % 3) {
  case 0:
    return aon_arena_format(&s->w.arena, "%lld", (long long)number);
  case 1:
    return aon_arena_format(&s->w.arena, "%.17e", (double)number / 1000.0);
  default:
    return aon_arena_format(&s->w.arena, "\"%lld.%02u\"", (long long)number, (unsigned)(next_random(seed) % 100));
  }
}

/* Whatever is written: normalise says exactly what is read, and says it again of what is read. What it can't say it refuses. */
static void random_values(subject *s, const char *table, const char *const *columns) {
  enum { ROUNDS = 3000 };
  uint64_t seed = 88172645463325252u;
  size_t refused = 0;
  sql(s->path, table);
  aon_branch own = branch(1);
  aon_transaction *transaction;
  size_t failed;
  OK(&s->w, aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &transaction, &s->w.error));
  for (int round = 0; round < ROUNDS; round++) {
    aon_buffer json = {0};
    const char *id = aon_arena_format(&s->w.arena, "k%d", round);
    OK(&s->w, aon_buffer_text(&json, "{", &s->w.error));
    for (size_t i = 0; columns[i]; i++)
      OK(&s->w, aon_buffer_format(&json, &s->w.error, "%s\"%s\":%s", i ? "," : "", columns[i], random_value(s, &seed)));
    OK(&s->w, aon_buffer_text(&json, "}", &s->w.error));
    aon_image wanted, again;
    aon_result result = normalise(s, id, json.data, &wanted);
    if (result) {
      assert_int_equal(result, AON_REJECTED);
      s->w.error = (aon_error)AON_ERROR_INIT;
      refused++;
    } else {
      aon_write write = write_of(&s->t, id, absent, wanted, 0);
      OK(&s->w, aon_store_apply(s->store, transaction, &write, 1, NULL, &failed, &s->w.error));
      aon_image found = look(&s->w, s->store, &s->t, id);
      assert_string_equal(json_of(&s->w, &found), json_of(&s->w, &wanted));
      OK(&s->w, normalise(s, id, json_of(&s->w, &found), &again));
      assert_string_equal(json_of(&s->w, &again), json_of(&s->w, &found));
    }
    aon_buffer_release(&json);
  }
  OK(&s->w, aon_store_commit(s->store, transaction, &s->w.error));
  assert_true(refused < ROUNDS - 200); /* and enough of it was taken */
}

static void random_values_loose(void **state) {
  static const char *const most[] = {"x", "y", "v", "i", NULL};
  random_values(*state, loose, most);
}

static void random_values_numbers(void **state) {
  static const char *const most[] = {"r", "n", NULL};
  random_values(*state, loose, most);
}

static void random_values_others(void **state) {
  static const char *const most[] = {"f", "o", "d", NULL};
  random_values(*state, loose, most);
}

static void random_values_bytes(void **state) {
  static const char *const most[] = {"b", NULL};
  random_values(*state, loose, most);
}

static void random_values_strict(void **state) {
  static const char *const most[] = {"i", NULL};
  random_values(*state, strict, most);
}

static void random_values_strict_reals(void **state) {
  static const char *const most[] = {"r", "y", NULL};
  random_values(*state, strict, most);
}

static void random_values_strict_texts(void **state) {
  static const char *const most[] = {"x", NULL};
  random_values(*state, strict, most);
}

/* Every storage class in every column that takes it, changed and put back: the same classes, the same bytes. */
static void gives_rows_back_exactly(void **state) {
  static const char *const values[] = {"null",
                                       "0",
                                       "1",
                                       "1.0",
                                       "-7.25",
                                       "1e300",
                                       "'1'",
                                       "'01'",
                                       "''",
                                       "x''",
                                       "x'00ff'",
                                       "'é'",
                                       "cast(x'ff00' as text)",
                                       "'AAE='",
                                       "x'41414532'",
                                       "9223372036854775807",
                                       "-9223372036854775808",
                                       "9e999",
                                       "0.30000000000000004",
                                       "'a' || char(0) || 'b'"};
  enum { VALUES = sizeof values / sizeof *values };
  subject *s = *state;
  sql(s->path, "create table t(id text primary key, i integer, r real, n numeric, x text, b blob, y, c text collate nocase)");
  for (size_t i = 0; i < VALUES; i++)
    sql(s->path, aon_arena_format(&s->w.arena, "insert into t values('k%zu', %s, %s, %s, %s, %s, %s, %s)", i, values[i], values[i],
                                  values[(i + 3) % VALUES], values[i], values[i], values[i], values[(i + 5) % VALUES]));
  const char *dump = "select *, hex(x), hex(b), hex(y) from t order by id", *before = sql_text(&s->w, s->path, dump);
  aon_write away[VALUES], back[2 * VALUES];
  aon_image after = {0};
  for (size_t i = 0; i < VALUES; i++) {
    const char *id = aon_arena_format(&s->w.arena, "k%zu", i);
    aon_image image_before = look(&s->w, s->store, &s->t, id);
    after = normal(&s->w, s->store, &s->t, id, "{\"i\":99,\"r\":0.5,\"x\":\"other\",\"b\":\"QQ==\",\"y\":\"z\"}");
    away[i] = write_of(&s->t, id, image_before, after, (int64_t)i);
    back[i] = write_of(&s->t, id, i % 2 ? after : absent, image_before, (int64_t)i);
  }
  OK(&s->w, apply_now(&s->w, s->store, away, VALUES));
  assert_string_not_equal(sql_text(&s->w, s->path, dump), before);
  sql(s->path, "delete from t where cast(substr(id, 2) as integer) % 2 = 0");
  OK(&s->w, apply_now(&s->w, s->store, back, VALUES));
  assert_string_equal(sql_text(&s->w, s->path, dump), before);
}

static void sees_every_foreign_change(void **state) {
  static const char *const pairs[][2] = {
      {"'1'", "1"}, {"x'31'", "'1'"}, {"'a'", "'A'"}, {"null", "''"}, {"'AAE='", "x'0001'"}, {"1", "2"}, {"0.1", "0.30000000000000004"}};
  subject *s = *state;
  sql(s->path, "create table t(id text primary key, y collate nocase)");
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    sql(s->path, aon_arena_format(&s->w.arena, "replace into t values('a', %s)", pairs[i][0]));
    aon_image before = look(&s->w, s->store, &s->t, "a");
    sql(s->path, aon_arena_format(&s->w.arena, "update t set y = %s", pairs[i][1]));
    aon_write write = write_of(&s->t, "a", before, normal(&s->w, s->store, &s->t, "a", "{\"y\":\"mine\"}"), 5);
    FAILS(&s->w, apply_now(&s->w, s->store, &write, 1), AON_PERMANENT, "changed_meanwhile");
    write.wanted = absent;
    FAILS(&s->w, apply_now(&s->w, s->store, &write, 1), AON_PERMANENT, "changed_meanwhile");
  }
}

static void keeps_every_digit_or_refuses(void **state) {
  subject *s = *state;
  sql(s->path, loose);
  rejects(s, "a", "{\"n\":\"12345678901234567.89\"}", "out_of_range");
  rejects(s, "a", "{\"r\":9007199254740993}", "out_of_range");
  rejects(s, "a", "{\"n\":\"99999999999999999999\"}", "out_of_range");
  OK(&s->w, create(s, "a", "{\"n\":\"1234567890.25\",\"x\":\"12345678901234567890.123456789\",\"i\":9223372036854775807}", 0));
  assert_non_null(strstr(read_json(s, "a"), "\"n\":1234567890.25"));
  assert_non_null(strstr(read_json(s, "a"), "\"x\":\"12345678901234567890.123456789\""));
  assert_non_null(strstr(read_json(s, "a"), "\"i\":9223372036854775807"));
}

static void refuses_what_no_column_holds(void **state) {
  subject *s = *state;
  sql(s->path, strict);
  rejects(s, "a", "{\"nope\":1}", "unknown_property");
  rejects(s, "a", "{\"X\":\"case\"}", "unknown_property");
  rejects(s, "a", "{\"i\":\"text\"}", "bad_type");
  rejects(s, "a", "{\"b\":\"not base64!\"}", "bad_type");
  rejects(s, "a", "{\"b\":5}", "bad_type");
  rejects(s, "a", "{\"x\":[1]}", "bad_type");
  rejects(s, "a", "{\"x\":{}}", "bad_type");
  rejects(s, "a", "{\"id\":\"b\"}", "inconsistent");
}

/* ---- keys ---- */

static void integer_keys(void **state) {
  subject *s = *state;
  sql(s->path, "create table t(id integer primary key, name text)");
  OK(&s->w, create(s, "12", "{\"name\":\"x\"}", 0));
  assert_string_equal(read_json(s, "12"), "{\"id\":12,\"name\":\"x\"}");
  assert_string_equal(read_json(s, "012"), "absent");
  assert_string_equal(read_json(s, "12.0"), "absent");
  assert_string_equal(read_json(s, "x"), "absent");
  rejects(s, "012", "{}", "bad_format");
  rejects(s, "x", "{}", "bad_format");
  rejects(s, "1.5", "{}", "bad_format");
  rejects(s, "9223372036854775808", "{}", NULL);
  OK(&s->w, create(s, "-9223372036854775808", "{\"id\":-9223372036854775808}", 0));
}

static void composite_keys(void **state) {
  subject *s = *state;
  sql(s->path, "create table t(v text, b integer, a text, primary key(a, b)) without rowid");
  OK(&s->w, create(s, "x%3Ay%25:7", "{\"v\":\"one\"}", 0));
  assert_string_equal(sql_text(&s->w, s->path, "select * from t"), "t:one|i:7|t:x:y%");
  assert_string_equal(read_json(s, "x%3Ay%25:7"), "{\"v\":\"one\",\"b\":7,\"a\":\"x:y%\"}");
  assert_string_equal(read_json(s, "x"), "absent");
  assert_string_equal(read_json(s, "x:y%:7"), "absent");
  rejects(s, "x", "{}", "bad_format");
  rejects(s, "x:07", "{}", "bad_format");
  rejects(s, "x:7", "{\"b\":8}", "inconsistent");
  const aon_shape *shape;
  OK(&s->w, aon_store_describe(s->store, &s->t, &shape, &s->w.error));
  assert_string_equal(shape->key[0], "a");
  assert_string_equal(shape->key[1], "b");
  assert_null(shape->key[2]);
  aon_image before = look(&s->w, s->store, &s->t, "x%3Ay%25:7");
  aon_write write = write_of(&s->t, "x%3Ay%25:7", before, absent, 0);
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
}

static void keys_of_any_kind(void **state) {
  subject *s = *state;
  sql(s->path, "create table t(k primary key, v); insert into t values('1', 'text'), (2, 'number'), (x'0001', 'bytes'), (2.5, 'real')");
  assert_string_equal(read_json(s, "1"), "{\"k\":\"1\",\"v\":\"text\"}");
  assert_string_equal(read_json(s, "2"), "{\"k\":2,\"v\":\"number\"}");
  assert_string_equal(read_json(s, "AAE="), "{\"k\":\"AAE=\",\"v\":\"bytes\"}");
  assert_string_equal(read_json(s, "2.5"), "{\"k\":2.5,\"v\":\"real\"}");
  aon_image bytes = look(&s->w, s->store, &s->t, "AAE=");
  aon_write writes[2] = {write_of(&s->t, "AAE=", bytes, absent, 0), write_of(&s->t, "AAE=", absent, bytes, 1)};
  OK(&s->w, apply_now(&s->w, s->store, writes, 2));
  assert_string_equal(sql_text(&s->w, s->path, "select hex(k) from t where typeof(k)='blob'"), "t:0001");
  sql(s->path, "insert into t values('2', 'again')");
  aon_text two = text("2");
  aon_image ignored;
  FAILS(&s->w, aon_store_read(s->store, &s->t, &two, 1, &s->w.arena, &ignored, &s->w.error), AON_PERMANENT, "ambiguous");
}

static void needs_a_key(void **state) {
  subject *s = *state;
  const aon_shape *shape;
  sql(s->path, "create table t(a text, b text); create view v as select * from t");
  FAILS(&s->w, aon_store_describe(s->store, &s->t, &shape, &s->w.error), AON_REJECTED, "unknown_collection");
  s->t.name = "v";
  FAILS(&s->w, aon_store_describe(s->store, &s->t, &shape, &s->w.error), AON_REJECTED, "unknown_collection");
}

static aon_result never(void *context, const aon_found *found, aon_error *error) {
  (void)context;
  (void)found;
  return aon_fail(error, AON_USAGE, "found", "Nothing should be found.");
}

static void null_keys_are_named(void **state) {
  subject *s = *state;
  sql(s->path, "create table t(k text primary key, v text); insert into t values(null, 'x')");
  assert_string_equal(read_json(s, "x"), "absent");
  FAILS(&s->w, aon_store_scan(s->store, &s->t, NULL, 0, NULL, never, NULL, &s->w.error), AON_PERMANENT, "bad_document");
}

/* ---- what SQLite makes ---- */

static void fills_defaults(void **state) {
  subject *s = *state;
  sql(s->path, "create table t(id text primary key, a text default 'x''y', b integer default '12', c real default 5, d default null, e "
               "text default (upper('q')),"
               " f text default current_timestamp, g blob default x'0001', h text, j integer default -3, k text default \"word\")");
  aon_image wanted = normal(&s->w, s->store, &s->t, "a", "{\"h\":null}");
  aon_write write = write_of(&s->t, "a", absent, wanted, 0);
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  aon_image found = look(&s->w, s->store, &s->t, "a");
  assert_string_equal(json_of(&s->w, &found), json_of(&s->w, &wanted));
  const char *json = json_of(&s->w, &found);
  assert_non_null(strstr(json, "\"a\":\"x'y\",\"b\":12,\"c\":5.0,\"d\":null,\"e\":\"Q\",\"f\":\"20"));
  assert_non_null(strstr(json, "\"g\":\"AAE=\",\"h\":null,\"j\":-3,\"k\":\"word\""));
  sql(s->path, "insert into t(id, f) values('b', 'x')");
  assert_string_equal(sql_text(&s->w, s->path, "select a,b,c,d,e,g,h,j,k from t where id='a'"),
                      sql_text(&s->w, s->path, "select a,b,c,d,e,g,h,j,k from t where id='b'"));
}

static void leaves_generated_columns_alone(void **state) {
  subject *s = *state;
  sql(s->path, "create table t(id text primary key, a integer, twice integer as (a * 2) stored, thrice as (a * 3))");
  OK(&s->w, create(s, "x", "{\"a\":1,\"twice\":77}", 0));
  assert_string_equal(read_json(s, "x"), "{\"id\":\"x\",\"a\":1,\"twice\":2,\"thrice\":3}");
  const aon_shape *shape;
  OK(&s->w, aon_store_describe(s->store, &s->t, &shape, &s->w.error));
  assert_string_equal(shape->volatiles[0], "twice");
  assert_string_equal(shape->volatiles[1], "thrice");
  assert_null(shape->volatiles[2]);
  aon_image before = look(&s->w, s->store, &s->t, "x");
  aon_write writes[2] = {write_of(&s->t, "x", before, normal(&s->w, s->store, &s->t, "x", "{\"a\":5}"), 0)};
  OK(&s->w, apply_now(&s->w, s->store, writes, 1));
  assert_string_equal(read_json(s, "x"), "{\"id\":\"x\",\"a\":5,\"twice\":10,\"thrice\":15}");
  writes[0] = write_of(&s->t, "x", look(&s->w, s->store, &s->t, "x"), before, 0);
  OK(&s->w, apply_now(&s->w, s->store, writes, 1));
  assert_string_equal(read_json(s, "x"), "{\"id\":\"x\",\"a\":1,\"twice\":2,\"thrice\":3}");
}

static void writes_only_what_differs(void **state) { /* triggers OF a column fire for columns that change */
  subject *s = *state;
  sql(s->path, "create table t(id text primary key, a text, b text); create table log(n integer primary key, x text);"
               "create trigger touched after update of b on t begin insert into log(x) values(new.b); end");
  OK(&s->w, create(s, "x", "{\"a\":\"1\",\"b\":\"1\"}", 0));
  aon_image before = look(&s->w, s->store, &s->t, "x"), after = normal(&s->w, s->store, &s->t, "x", "{\"a\":\"2\",\"b\":\"1\"}");
  aon_write writes[2] = {write_of(&s->t, "x", before, after, 0), write_of(&s->t, "x", after, after, 1)};
  OK(&s->w, apply_now(&s->w, s->store, writes, 2));
  assert_string_equal(sql_text(&s->w, s->path, "select count(*) from log"), "i:0");
}

static void says_what_else_a_write_changes(void **state) {
  subject *s = *state;
  const aon_shape *shape;
  sql(s->path,
      "create table t(id text primary key, a text unique); create table plain(id text primary key, v text);"
      "create table child(id text primary key, t text references T(id) on delete cascade, a text references t(a) on update set null);"
      "create table log(n integer primary key); create trigger gone after delete on t begin insert into log values(null); end;"
      "create trigger same after update of a on t begin update plain set v = new.a; end");
  OK(&s->w, aon_store_describe(s->store, &s->t, &shape, &s->w.error));
  assert_non_null(strstr(shape->delete_effect, "child"));
  assert_non_null(strstr(shape->delete_effect, "CASCADE"));
  assert_non_null(strstr(shape->delete_effect, "gone"));
  assert_null(strstr(shape->delete_effect, "same"));
  assert_non_null(strstr(shape->write_effect, "same"));
  assert_non_null(strstr(shape->write_effect, "SET NULL"));
  s->t.name = "plain";
  OK(&s->w, aon_store_describe(s->store, &s->t, &shape, &s->w.error));
  assert_null(shape->delete_effect);
  assert_null(shape->write_effect);
}

/* ---- constraints ---- */

static void refused(subject *s, const char *json, const char *code) {
  aon_error error = AON_ERROR_INIT;
  aon_result result = create(s, "x", json, 23);
  error = s->w.error;
  s->w.error = (aon_error)AON_ERROR_INIT;
  assert_int_equal(result, AON_PERMANENT);
  assert_string_equal(error.code, code);
  assert_int_equal(error.operation, 23);
  assert_non_null(strstr(error.sentence, "main/t/x"));
  assert_string_equal(read_json(s, "x"), "absent");
}

static void respects_constraints(void **state) {
  subject *s = *state;
  sql(s->path, "create table t(id text primary key, a text not null, b integer check(b > 0), c text unique on conflict replace, d text "
               "unique on conflict ignore);"
               "create trigger no before insert on t when new.a = 'no' begin select raise(abort, 'not today'); end;"
               "create trigger skip before insert on t when new.a = 'skip' begin select raise(ignore); end");
  OK(&s->w, create(s, "other", "{\"a\":\"1\",\"c\":\"c\",\"d\":\"d\"}", 0));
  refused(s, "{\"b\":1}", "constraint");
  refused(s, "{\"a\":\"1\",\"b\":0}", "constraint");
  refused(s, "{\"a\":\"1\",\"c\":\"c\"}", "duplicate");
  refused(s, "{\"a\":\"1\",\"d\":\"d\"}", "duplicate");
  refused(s, "{\"a\":\"no\"}", "constraint");
  refused(s, "{\"a\":\"skip\"}", "constraint");
  assert_string_equal(sql_text(&s->w, s->path, "select id from t"), "t:other"); /* ON CONFLICT REPLACE took nobody's row */
}

static const char *const family = "create table parent(id integer primary key, v text);"
                                  "create table t(id text primary key, parent integer references parent(id))";

static void checks_foreign_keys_at_the_end(void **state) {
  subject *s = *state;
  sql(s->path, family);
  aon_collection parent = {.store = "main", .name = "parent"};
  aon_write writes[3] = {write_of(&s->t, "a", absent, normal(&s->w, s->store, &s->t, "a", "{\"parent\":1}"), 0),
                         write_of(&parent, "1", absent, normal(&s->w, s->store, &parent, "1", "{}"), 1)};
  OK(&s->w, apply_now(&s->w, s->store, writes, 2)); /* the child first: only the end counts */
  writes[0] = write_of(&s->t, "b", absent, normal(&s->w, s->store, &s->t, "b", "{\"parent\":2}"), 7);
  writes[1] = write_of(&s->t, "c", absent, normal(&s->w, s->store, &s->t, "c", "{\"parent\":3}"), 8);
  writes[2] = write_of(&parent, "2", absent, normal(&s->w, s->store, &parent, "2", "{}"), 9);
  assert_int_equal(apply_now(&s->w, s->store, writes, 3), AON_PERMANENT);
  assert_string_equal(s->w.error.code, "constraint");
  assert_int_equal(s->w.error.operation, 8); /* b was healed by 9, c was not */
  s->w.error = (aon_error)AON_ERROR_INIT;
  writes[0] = write_of(&parent, "1", look(&s->w, s->store, &parent, "1"), absent, 4);
  assert_int_equal(apply_now(&s->w, s->store, writes, 1), AON_PERMANENT);
  assert_string_equal(s->w.error.code, "constraint");
  assert_int_equal(s->w.error.operation, 4);
  s->w.error = (aon_error)AON_ERROR_INIT;
  assert_string_equal(sql_text(&s->w, s->path, "select (select count(*) from t), (select count(*) from parent)"), "i:1|i:1");
}

static void follows_a_changed_schema(void **state) {
  subject *s = *state;
  sql(s->path, "create table t(id text primary key, a text)");
  OK(&s->w, create(s, "x", "{\"a\":\"1\"}", 0));
  sql(s->path, "alter table t add column b integer default 4");
  assert_string_equal(read_json(s, "x"), "{\"id\":\"x\",\"a\":\"1\",\"b\":4}");
  OK(&s->w, create(s, "y", "{\"b\":5}", 0));
  sql(s->path, "drop table t; create table t(id text primary key, doc text)");
  assert_string_equal(read_json(s, "x"), "absent");
  aon_write write = write_of(&s->t, "x", absent, image(&s->w, "{\"z\":1}"), 0);
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  assert_string_equal(read_json(s, "x"), "{\"z\":1}");
}

static void many_choices_of_columns(void **state) { /* more than there are statements kept */
  subject *s = *state;
  sql(s->path, "create table t(id text primary key, a, b, c, d, e, f)");
  OK(&s->w, create(s, "x", "{}", 0));
  aon_image before = look(&s->w, s->store, &s->t, "x");
  for (unsigned mask = 1; mask < 64; mask++) {
    char json[128];
    snprintf(json, sizeof json, "{\"a\":%u,\"b\":%u,\"c\":%u,\"d\":%u,\"e\":%u,\"f\":%u}", mask & 1, mask >> 1 & 1, mask >> 2 & 1,
             mask >> 3 & 1, mask >> 4 & 1, mask >> 5);
    aon_image after = normal(&s->w, s->store, &s->t, "x", json);
    aon_write write = write_of(&s->t, "x", before, after, 0);
    OK(&s->w, apply_now(&s->w, s->store, &write, 1));
    aon_image found = look(&s->w, s->store, &s->t, "x");
    assert_same(&s->w, &found, &after);
    write = write_of(&s->t, "x", found, before, 0);
    OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {TEST(random_values_loose),
                                     TEST(random_values_numbers),
                                     TEST(random_values_others),
                                     TEST(random_values_bytes),
                                     TEST(random_values_strict),
                                     TEST(random_values_strict_reals),
                                     TEST(random_values_strict_texts),
                                     TEST(gives_rows_back_exactly),
                                     TEST(sees_every_foreign_change),
                                     TEST(keeps_every_digit_or_refuses),
                                     TEST(refuses_what_no_column_holds),
                                     TEST(integer_keys),
                                     TEST(composite_keys),
                                     TEST(keys_of_any_kind),
                                     TEST(needs_a_key),
                                     TEST(null_keys_are_named),
                                     TEST(fills_defaults),
                                     TEST(leaves_generated_columns_alone),
                                     TEST(writes_only_what_differs),
                                     TEST(says_what_else_a_write_changes),
                                     TEST(respects_constraints),
                                     TEST(checks_foreign_keys_at_the_end),
                                     TEST(follows_a_changed_schema),
                                     TEST(many_choices_of_columns)};
  return cmocka_run_group_tests_name("sqlite column tables", tests, NULL, NULL);
}
