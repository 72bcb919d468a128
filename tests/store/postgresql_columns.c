/* PostgreSQL's tables as they are: every type there and back, keys, defaults, constraints, effects; and documents with types beyond JSON.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/document.h"
#include "postgresql_world.h"

typedef struct subject {
  world w;
  pg_world pg;
  aon_store *store, *other;
  aon_collection items;
} subject;

static int set_up(void **state) {
  subject *s = calloc(1, sizeof *s);
  world_open(&s->w);
  s->w.timeout_ms = 3000;
  pg_world_open(&s->pg);
  s->store = world_store(&s->w, &aon_postgresql_adapter, NULL, "main", s->pg.location, false);
  s->other = world_store(&s->w, &aon_postgresql_adapter, NULL, "main", s->pg.location, true);
  s->items = (aon_collection){.store = "main", .name = "items"};
  *state = s;
  return 0;
}

static int tear_down(void **state) {
  subject *s = *state;
  aon_store_close(s->store);
  aon_store_close(s->other);
  pg_world_close(&s->pg);
  world_close(&s->w);
  free(s);
  return 0;
}

static const aon_image absent = {0};

static void apply_ok(subject *s, const char *id, aon_image expected, aon_image wanted) {
  aon_write write = write_of(&s->items, id, expected, wanted, 0);
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
}

/* ---- every type ---- */

static const struct {
  const char *type, *values; /* as SQL */
} types[] = {
    {"int2", "'-32768'"},
    {"int4", "'2147483647'"},
    {"int8", "'-9223372036854775808'|'9007199254740993'"},
    {"numeric", "'1.50'|'12345678901234567890.12345678901234567890'|'NaN'|'-0.000'|'1e200'"},
    {"numeric(10,2)", "'1.5'"},
    {"float4", "'0.1'|'NaN'|'-Infinity'|'-0'|'1e-40'|'16777217'"},
    {"float8", "'0.1'|0.1::float8+0.2::float8|'NaN'|'Infinity'|'-0'|'1e22'|'1e15'|'5'|'-1.7976931348623157e308'|'5e-324'"},
    {"bool", "true|false"},
    {"text", "''|E'é \" \\\\ \\n\\t'|'NULL'|' padded '"},
    {"varchar(5)", "'abc  '"},
    {"char(5)", "'ab'"},
    {"\"char\"", "'x'"},
    {"name", "'n'"},
    {"uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"},
    {"date", "'2027-01-06'|'infinity'|'0044-03-15 BC'|'12027-01-06'"},
    {"time", "'23:59:59.999999'|'24:00'"},
    {"timetz", "'12:00:00.5+05:30'"},
    {"timestamp", "'2027-01-06 08:00'|'2027-01-06 08:00:00.5'|'2027-01-06 08:00:00.123456'|'-infinity'|'0044-03-15 12:00 BC'"},
    {"timestamptz",
     "'2027-01-06 08:00+01'|'2027-01-06 08:00:00.12+00'|'2027-01-06 08:00:00.123456+00'|'infinity'|'0044-03-15 12:00+00 BC'"},
    {"timestamp(0)", "'2027-01-06 08:00:00.5'"},
    {"interval", "'1 mon'|'30 days'|'-1 year 2 mons 3 days 04:05:06.789'"},
    {"bytea", "'\\x'|'\\x00ff10'"},
    {"json", "'{ \"a\" : 1.50 }'|'null'|'[1,2]'|'\"x\"'|'{\"a\":1}'"},
    {"jsonb", "'{\"b\": 1.50, \"a\": [null, true, "
              "-0.0]}'|'null'|'\"x\"'|'12345678901234567890.123'|'0.1'|'[]'|'{\"n\":1e22}'|'18446744073709551615'"},
    {"int4[]", "'{}'|'{1,NULL,3}'|'{{1,2},{3,4}}'|'[0:1]={1,2}'"},
    {"text[]", "array['', 'NULL', 'a,b', 'a\"b', E'a\\\\b', '{x}', ' y ', null]"},
    {"bool[]", "'{t,f,NULL}'"},
    {"float8[]", "'{0.1,NaN,-0,5}'"},
    {"numeric[]", "'{1.50,2}'"},
    {"timestamptz[]", "'{2027-01-06 08:00:00+00,infinity}'"},
    {"bytea[]", "array['\\x00ff'::bytea]"},
    {"jsonb[]", "array['{\"a\": 1}'::jsonb, 'null'::jsonb, '[1,2]'::jsonb]"},
    {"mood", "'so so'"},
    {"mood[]", "array['so so', 'ok']::mood[]"},
    {"positive", "'3'"},
    {"pair", "row(1, 'a,\"b')"},
    {"int4range", "'[1,5)'|'empty'"},
    {"tstzrange", "'[2027-01-06 08:00+00,)'"},
    {"int4multirange", "'{[1,3),[5,7)}'"},
    {"inet", "'10.0.0.1'|'10.0.0.1/8'|'::1'"},
    {"cidr", "'10.0.0.0/8'"},
    {"macaddr", "'08:00:2b:01:02:03'"},
    {"bit(3)", "B'101'"},
    {"varbit", "B'10101'"},
    {"money", "'12.34'"},
    {"point", "'(1.5,-2)'"},
    {"box", "'(3,4),(1,2)'"},
    {"tsvector", "to_tsvector('simple', 'a b a')"},
    {"xml", "'<a>x</a>'"},
    {"oid", "'4294967295'"},
    {"pg_lsn", "'16/B374D848'"},
};

static void make_types(subject *s) {
  pg_sql(&s->pg,
         "create type mood as enum('ok', 'so so'); create domain positive as int4 check (value > 0); create type pair as (a int4, b text)");
}

static void remake(subject *s, const char *type) {
  char sql[600];
  snprintf(sql, sizeof sql, "drop table if exists items; create table items(id text primary key, v %s, note text)", type);
  pg_sql(&s->pg, sql);
}

/* A stranger's row is deleted, put back, changed beside it, and refused when it differs: each by its image alone. */
static void try_value(subject *s, const char *type, const char *value) {
  char sql[900];
  const char *stored = "select id, v::text, note from items";
  snprintf(sql, sizeof sql, "delete from items; insert into items select 'a', (%s)::%s, 'n'", value, type);
  pg_sql(&s->pg, sql);
  char *before = pg_text_of(&s->w, &s->pg, stored);
  aon_image image = look(&s->w, s->store, &s->items, "a");
  apply_ok(s, "a", image, absent);
  assert_string_equal(pg_text_of(&s->w, &s->pg, stored), "");
  apply_ok(s, "a", absent, image);
  assert_string_equal(pg_text_of(&s->w, &s->pg, stored), before);
  bson_t document, changed = BSON_INITIALIZER;
  assert_true(aon_image_view(&image, &document));
  bson_copy_to_excluding_noinit(&document, &changed, "note", NULL);
  BSON_APPEND_UTF8(&changed, "note", "m");
  aon_image with_note, normalised;
  OK(&s->w, aon_image_from(&changed, &s->w.arena, &with_note, &s->w.error));
  with_note.token = image.token;
  with_note.token_length = image.token_length;
  apply_ok(s, "a", image, with_note);
  aon_image now = look(&s->w, s->store, &s->items, "a");
  assert_same(&s->w, &now, &with_note);
  if (!image.token) { /* what is read can be given back as a property */
    OK(&s->w, aon_store_normalise(s->store, &s->items, text("a"), &changed, &s->w.arena, &normalised, &s->w.error));
    assert_same(&s->w, &normalised, &with_note);
    apply_ok(s, "a", now, normalised);
  }
  bson_destroy(&changed);
  pg_sql(&s->pg, "update items set v = null where v is not null");
  aon_write late = write_of(&s->items, "a", now, absent, 5);
  FAILS(&s->w, apply_now(&s->w, s->store, &late, 1), AON_PERMANENT, "changed_meanwhile");
}

static void keeps_every_type(void **state) {
  subject *s = *state;
  make_types(s);
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    char values[700];
    snprintf(values, sizeof values, "%s", types[i].values);
    remake(s, types[i].type);
    for (char *rest = values, *value; (value = strsep(&rest, "|"));) {
      print_message("  %s %s\n", types[i].type, value);
      try_value(s, types[i].type, value);
    }
  }
}

static void names_what_it_cant_hold(void **state) {
  subject *s = *state;
  remake(s, "json");
  aon_text id = text("a");
  aon_image found;
  static const char *const values[] = {"1e400", "{\"a\":1,\"a\":2}"};
  for (size_t i = 0; i < 2; i++) {
    char sql[200];
    snprintf(sql, sizeof sql, "delete from items; insert into items values('a', '%s')", values[i]);
    pg_sql(&s->pg, sql);
    FAILS(&s->w, aon_store_read(s->store, &s->items, &id, 1, &s->w.arena, &found, &s->w.error), AON_PERMANENT, "bad_document");
  }
}

/* ---- normalising ---- */

static void refuses(subject *s, const char *json, const char *code) {
  bson_t document;
  aon_image made;
  OK(&s->w, aon_document_from_json(json, strlen(json), &document, &s->w.error));
  FAILS(&s->w, aon_store_normalise(s->store, &s->items, text("a"), &document, &s->w.arena, &made, &s->w.error), AON_REJECTED, code);
  bson_destroy(&document);
}

static void normalises(subject *s, const char *json, const char *property, const char *wanted) {
  aon_image made = normal(&s->w, s->store, &s->items, "a", json);
  bson_t view;
  bson_iter_t at;
  aon_buffer out = {0};
  assert_true(aon_image_view(&made, &view) && bson_iter_init_find(&at, &view, property));
  OK(&s->w, aon_value_to_json(&at, &out, &s->w.error));
  assert_string_equal(out.data, wanted);
  aon_buffer_release(&out);
  pg_sql(&s->pg, "delete from items");
  apply_ok(s, "a", absent, made); /* and so it is given back */
  aon_image now = look(&s->w, s->other, &s->items, "a");
  assert_same(&s->w, &now, &made);
}

static void says_what_it_would_keep(void **state) {
  subject *s = *state;
  pg_sql(&s->pg, "create table items(id text primary key, amount numeric(10,2), at timestamptz, day date, small int2, short varchar(3), "
                 "fixed char(4), "
                 "yes bool, ratio float4, uid uuid, tags text[], more jsonb, raw bytea, whole int8)");
  normalises(s, "{\"amount\":1.005}", "amount", "\"1.01\"");
  normalises(s, "{\"amount\":\"7\"}", "amount", "\"7.00\"");
  normalises(s, "{\"at\":\"2027-01-06T09:00:00+01:00\"}", "at", "\"2027-01-06T08:00:00.000Z\"");
  normalises(s, "{\"at\":\"2027-01-06T08:00:00.000Z\"}", "at", "\"2027-01-06T08:00:00.000Z\"");
  normalises(s, "{\"at\":\"2027-01-06T08:00:00.1234567Z\"}", "at", "\"2027-01-06T08:00:00.123457Z\"");
  normalises(s, "{\"day\":\"20270106\"}", "day", "\"2027-01-06\"");
  normalises(s, "{\"small\":5.0}", "small", "5");
  normalises(s, "{\"fixed\":\"ab  \"}", "fixed", "\"ab\"");
  normalises(s, "{\"yes\":\"on\"}", "yes", "true");
  normalises(s, "{\"ratio\":0.1}", "ratio", "0.1");
  normalises(s, "{\"uid\":\"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11\"}", "uid", "\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\"");
  normalises(s, "{\"tags\":[\"a,b\",null,\"\"]}", "tags", "[\"a,b\",null,\"\"]");
  normalises(s, "{\"more\":{\"z\":1.0,\"a\":[1e300,12]}}", "more", "{\"a\":[1e+300,12],\"z\":1.0}");
  normalises(s, "{\"raw\":\"AP8=\"}", "raw", "\"AP8=\"");
  normalises(s, "{\"whole\":9007199254740993}", "whole", "9007199254740993");
  refuses(s, "{\"amount\":123456789}", "out_of_range");
  refuses(s, "{\"amount\":\"x\"}", "bad_type");
  refuses(s, "{\"small\":40000}", "out_of_range");
  refuses(s, "{\"small\":1.5}", "bad_type");
  refuses(s, "{\"short\":\"abcd\"}", "too_long");
  refuses(s, "{\"short\":\"a\\u0000\"}", "bad_type");
  refuses(s, "{\"day\":\"2027-02-30\"}", "bad_type");
  refuses(s, "{\"uid\":\"x\"}", "bad_type");
  refuses(s, "{\"tags\":\"{a\"}", "bad_type");
  refuses(s, "{\"amount\":[1]}", "bad_type");
  refuses(s, "{\"more\":{\"a\":\"\\u0000\"}}", "bad_type");
  refuses(s, "{\"raw\":\"!\"}", "bad_type");
  refuses(s, "{\"Short\":\"a\"}", "unknown_property");
  assert_null(strstr(s->w.error.sentence, "abcd"));
}

static void fixes_defaults(void **state) {
  subject *s = *state;
  pg_sql(&s->pg,
         "create table items(id text primary key, n int generated always as identity, u uuid default gen_random_uuid(), at timestamptz "
         "default now(), word text default 'it''s', serial serial, twice int generated always as (n * 2) stored, none text)");
  const aon_shape *shape;
  OK(&s->w, aon_store_describe(s->store, &s->items, &shape, &s->w.error));
  assert_string_equal(shape->volatiles[0], "twice");
  assert_null(shape->volatiles[1]);
  aon_image first = normal(&s->w, s->store, &s->items, "a", "{}"), second = normal(&s->w, s->store, &s->items, "b", "{\"word\":null}");
  apply_ok(s, "a", absent, first);
  aon_image now = look(&s->w, s->store, &s->items, "a");
  bson_t view, made;
  assert_true(aon_image_view(&now, &view) && aon_image_view(&first, &made));
  const aon_comparison how = {.volatiles = shape->volatiles};
  assert_true(aon_document_equal(&view, &made, &how)); /* all of it was fixed when it was planned */
  apply_ok(s, "b", absent, second);
  assert_string_equal(pg_text_of(&s->w, &s->pg, "select id, n, word, serial, twice, none from items order by 1"),
                      "a|1|it's|1|2|\\N\nb|2|\\N|2|4|\\N");
  apply_ok(s, "a", now, absent);
  apply_ok(s, "a", absent, now); /* an identity that is always generated is restored all the same */
  assert_string_equal(pg_text_of(&s->w, &s->pg, "select n, twice from items where id = 'a'"), "1|2");
}

/* ---- keys and names ---- */

static void takes_keys_of_any_kind(void **state) {
  subject *s = *state;
  pg_sql(&s->pg, "create table items(\"Odd \"\"name\" int, day date, part text, v text, primary key(day, part, \"Odd \"\"name\"))");
  static const char id[] = "2027-01-06:a%3Ab:7";
  aon_image made = normal(&s->w, s->store, &s->items, id, "{\"v\":\"x\"}");
  apply_ok(s, id, absent, made);
  aon_image now = look(&s->w, s->store, &s->items, id);
  assert_string_equal(json_of(&s->w, &now), "{\"Odd \\\"name\":7,\"day\":\"2027-01-06\",\"part\":\"a:b\",\"v\":\"x\"}");
  static const char *const others[] = {
      "2027-01-06:a%3Ab:07", "2027-1-6:a%3Ab:7", "2027-01-06:a%3Ab", "x:a:7", "2027-01-06:a%3Ab:99999999999", ""};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    aon_image other = look(&s->w, s->store, &s->items, others[i]);
    assert_null(other.bson);
  }
  apply_ok(s, id, now, normal(&s->w, s->store, &s->items, id, "{\"v\":\"y\"}"));
  aon_write wrong = write_of(&s->items, id, now, absent, 1);
  FAILS(&s->w, apply_now(&s->w, s->store, &wrong, 1), AON_PERMANENT, "changed_meanwhile");
  bson_t document = BSON_INITIALIZER;
  aon_image ignored;
  FAILS(&s->w, aon_store_normalise(s->store, &s->items, text("2027-1-6:a:7"), &document, &s->w.arena, &ignored, &s->w.error), AON_REJECTED,
        "bad_format");
  BSON_APPEND_INT32(&document, "Odd \"name", 8);
  FAILS(&s->w, aon_store_normalise(s->store, &s->items, text(id), &document, &s->w.arena, &ignored, &s->w.error), AON_REJECTED,
        "inconsistent");
  bson_destroy(&document);
}

static void finds_tables_by_schema(void **state) {
  subject *s = *state;
  char sql[300], name[80];
  const aon_shape *shape;
  snprintf(sql, sizeof sql,
           "create table items(id int primary key, v text); create table keyless(v text); create view seen as select * from items; "
           "create table \"a.b\"(id text primary key, v text)");
  pg_sql(&s->pg, sql);
  snprintf(name, sizeof name, "%s.items", s->pg.schema);
  aon_collection there = {.store = "main", .name = name}, dotted = {.store = "main", .name = "a.b"};
  OK(&s->w, aon_store_describe(s->store, &there, &shape, &s->w.error));
  assert_string_equal(shape->key[0], "id");
  OK(&s->w, aon_store_describe(s->store, &dotted, &shape, &s->w.error));
  static const char *const none[] = {"keyless", "seen", "nowhere", "nowhere.items", "aon_markers", "pg_catalog.pg_class", "Items"};
  for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
    aon_collection missing = {.store = "main", .name = none[i]};
    FAILS(&s->w, aon_store_describe(s->store, &missing, &shape, &s->w.error), AON_REJECTED, "unknown_collection");
  }
}

/* ---- constraints and effects ---- */

static void refused(subject *s, const aon_write *writes, size_t count, const char *code, int64_t operation, const char *named) {
  assert_int_equal(apply_now(&s->w, s->store, writes, count), AON_PERMANENT);
  assert_string_equal(s->w.error.code, code);
  assert_int_equal(s->w.error.operation, operation);
  if (!strstr(s->w.error.sentence, named))
    fail_msg("“%s” does not name %s", s->w.error.sentence, named);
  assert_null(strstr(s->w.error.sentence, "geheim"));
  s->w.error = (aon_error)AON_ERROR_INIT;
  assert_string_equal(pg_text_of(&s->w, &s->pg, "select count(*) from items where id like 'n%'"), "0");
}

#define MANY 40

static void names_the_operation_that_a_constraint_refused(void **state) {
  subject *s = *state;
  pg_sql(
      &s->pg,
      "create table parents(id text primary key); insert into parents values('p'); create table items(id text primary key, n int not null "
      "check (n < 1000), email text unique, parent text references parents deferrable initially deferred); insert into items values('old', "
      "1, 'geheim', 'p')");
  aon_write writes[MANY];
  static const struct {
    const char *json, *code, *named;
  } tries[] = {{"{\"n\":1000,\"email\":\"geheim2\"}", "constraint", "items_n_check"},
               {"{\"n\":2,\"email\":\"geheim\"}", "duplicate", "items_email_key"},
               {"{\"n\":null}", "constraint", "“n”"},
               {"{\"n\":2,\"parent\":\"geheim\"}", "constraint", "items_parent_fkey"}};
  for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
    for (int j = 0; j < MANY; j++) {
      char *id = aon_arena_format(&s->w.arena, "n%d", j);
      writes[j] = write_of(&s->items, id, absent, normal(&s->w, s->store, &s->items, id, j == 23 ? tries[i].json : "{\"n\":5}"), 100 + j);
    }
    const char *named = strstr(tries[i].named, "“") ? "column" : tries[i].named;
    refused(s, writes, MANY, tries[i].code, i == 3 ? AON_NO_OPERATION : 123, named);
    if (i < 3)
      continue;
    pg_sql(&s->pg, "alter table items alter constraint items_parent_fkey not deferrable");
    aon_store_close(s->store);
    s->store = world_store(&s->w, &aon_postgresql_adapter, NULL, "main", s->pg.location, false);
    refused(s, writes, MANY, tries[i].code, 123, named);
  }
  aon_collection parents = {.store = "main", .name = "parents"};
  aon_write delete = write_of(&parents, "p", look(&s->w, s->store, &parents, "p"), absent, 7);
  refused(s, &delete, 1, "constraint", 7, "items_parent_fkey");
}

static void make_accounts(subject *s) {
  pg_sql(&s->pg, "create table items(id text primary key, email text unique); insert into items select 'o' || n, 'o' || n from "
                 "generate_series(0, 19) n");
}

/* Even ones are inserts (n0, n2, …), odd ones updates (o1, o3, …). */
static void alternating(subject *s, aon_write *writes) {
  for (int i = 0; i < MANY / 2; i++) {
    char *id = aon_arena_format(&s->w.arena, "%c%d", i % 2 ? 'o' : 'n', i);
    aon_image before = i % 2 ? look(&s->w, s->store, &s->items, id) : absent;
    char *json = aon_arena_format(&s->w.arena, "{\"email\":\"new%d\"}", i);
    writes[i] = write_of(&s->items, id, before, normal(&s->w, s->store, &s->items, id, json), 100 + i);
  }
}

static const char *statements(subject *s) {
  return pg_text_of(&s->w, &s->pg, "select count(distinct cmin::text) from items where email like 'new%'");
}

/* PostgreSQL numbers the statements of a transaction in each row. */
static void gathers_writes_that_alternate(void **state) {
  subject *s = *state;
  aon_write writes[MANY / 2];
  make_accounts(s);
  alternating(s, writes);
  OK(&s->w, apply_now(&s->w, s->store, writes, MANY / 2));
  assert_string_equal(statements(s), "2");
  assert_string_equal(pg_text_of(&s->w, &s->pg, "select count(*) from items where email = 'new' || substr(id, 2)"), "20");
}

/* n4 takes what o3 gives up just before it, so inserts can't go first. */
static void keeps_an_order_that_matters(void **state) {
  subject *s = *state;
  aon_write writes[MANY / 2];
  make_accounts(s);
  alternating(s, writes);
  writes[4] = write_of(&s->items, "n4", absent, normal(&s->w, s->store, &s->items, "n4", "{\"email\":\"o3\"}"), 104);
  OK(&s->w, apply_now(&s->w, s->store, writes, MANY / 2));
  assert_string_equal(pg_text_of(&s->w, &s->pg, "select email from items where id = 'n4'"), "o3");
  assert_string_equal(pg_text_of(&s->w, &s->pg, "select count(*) from items where email = 'new' || substr(id, 2)"), "19");
}

/* Of two that are refused the first in the order of operations is named, though its statement comes second. */
static void names_the_first_of_those_gathered(void **state) {
  subject *s = *state;
  aon_write writes[MANY / 2];
  make_accounts(s);
  alternating(s, writes);
  pg_sql(&s->pg, "update items set email = 'geheim' where id = 'o5'");
  writes[8] = write_of(&s->items, "n8", absent, normal(&s->w, s->store, &s->items, "n8", "{\"email\":\"geheim\"}"), 108);
  refused(s, writes, MANY / 2, "changed_meanwhile", 105, "changed by somebody else");
}

/* A trigger sees each row as its operation finds the table, so nothing is gathered. */
static void a_trigger_sees_the_order_of_operations(void **state) {
  subject *s = *state;
  aon_write writes[MANY / 2];
  make_accounts(s);
  pg_sql(&s->pg,
         "create table seen(n serial, id text); create function f() returns trigger language plpgsql as 'begin insert into seen(id) "
         "values(new.id); return null; end'; create trigger t after insert or update on items for each row execute function f()");
  alternating(s, writes);
  OK(&s->w, apply_now(&s->w, s->store, writes, MANY / 2));
  assert_string_equal(pg_text_of(&s->w, &s->pg, "select string_agg(substr(id, 2), ',' order by n) from seen"),
                      "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19");
}

static void tells_effects(void **state) {
  subject *s = *state;
  pg_sql(&s->pg,
         "create table items(id text primary key); create table lines(id text primary key references items on delete cascade, other text "
         "references items on update set null); create function f() returns trigger language plpgsql as 'begin return new; end'; create "
         "trigger note after insert on items for each row execute function f()");
  const aon_shape *shape;
  OK(&s->w, aon_store_describe(s->store, &s->items, &shape, &s->w.error));
  assert_non_null(strstr(shape->delete_effect, "lines refer to it with ON DELETE CASCADE"));
  assert_non_null(strstr(shape->write_effect, "lines refer to it with ON UPDATE SET NULL"));
  assert_non_null(strstr(shape->write_effect, "trigger note"));
  aon_collection lines = {.store = "main", .name = "lines"};
  OK(&s->w, aon_store_describe(s->store, &lines, &shape, &s->w.error));
  assert_null(shape->delete_effect);
  assert_null(shape->write_effect);
}

static void a_trigger_that_swallows_a_row_is_a_refusal(void **state) {
  subject *s = *state;
  pg_sql(
      &s->pg,
      "create table items(id text primary key, v text); create function f() returns trigger language plpgsql as 'begin if new.v = ''bad'' "
      "then return null; end if; return new; end'; create trigger t before insert on items for each row execute function f()");
  aon_write writes[2] = {write_of(&s->items, "n1", absent, normal(&s->w, s->store, &s->items, "n1", "{\"v\":\"good\"}"), 4),
                         write_of(&s->items, "n2", absent, normal(&s->w, s->store, &s->items, "n2", "{\"v\":\"bad\"}"), 5)};
  refused(s, writes, 2, "constraint", 5, "left it out");
}

static void an_altered_table_is_planned_again(void **state) {
  subject *s = *state;
  pg_sql(&s->pg, "create table items(id text primary key, v text); insert into items values('a', 'x')");
  aon_image before = look(&s->w, s->store, &s->items, "a");
  pg_sql(&s->pg, "alter table items add w text default 'theirs'");
  aon_write delete = write_of(&s->items, "a", before, absent, 3);
  FAILS(&s->w, apply_now(&s->w, s->store, &delete, 1), AON_TRANSIENT, "schema_changed");
  before = look(&s->w, s->store, &s->items, "a");
  assert_string_equal(json_of(&s->w, &before), "{\"id\":\"a\",\"v\":\"x\",\"w\":\"theirs\"}");
  delete.expected = before;
  OK(&s->w, apply_now(&s->w, s->store, &delete, 1));
}

/* ---- documents ---- */

static aon_image of_every_type(subject *s) {
  bson_t document = BSON_INITIALIZER, inner;
  bson_oid_t oid;
  bson_decimal128_t decimal;
  aon_image made;
  bson_oid_init_from_string(&oid, "0123456789abcdef01234567");
  assert_true(bson_decimal128_from_string("1.50", &decimal));
  BSON_APPEND_DATE_TIME(&document, "at", 1736150400123);
  BSON_APPEND_OID(&document, "oid", &oid);
  BSON_APPEND_DECIMAL128(&document, "price", &decimal);
  BSON_APPEND_BINARY(&document, "raw", BSON_SUBTYPE_MD5, (const uint8_t *)"\0\xff", 2);
  BSON_APPEND_INT32(&document, "small", 7);
  BSON_APPEND_DOUBLE(&document, "zero", -0.0);
  BSON_APPEND_DOUBLE(&document, "none", NAN);
  bson_append_utf8(&document, "nul", 3, "a\0b", 3);
  BSON_APPEND_DOCUMENT_BEGIN(&document, "inner", &inner);
  BSON_APPEND_TIMESTAMP(&inner, "ts", 1, 2);
  BSON_APPEND_REGEX(&inner, "re", "a.*", "i");
  bson_append_document_end(&document, &inner);
  OK(&s->w, aon_store_normalise(s->other, &s->items, text("a"), &document, &s->w.arena, &made, &s->w.error));
  bson_destroy(&document);
  return made;
}

static void keeps_documents_bit_for_bit(void **state) {
  subject *s = *state;
  aon_image made = of_every_type(s);
  aon_write create = write_of(&s->items, "a", absent, made, 0);
  OK(&s->w, apply_now(&s->w, s->other, &create, 1));
  aon_image now = look(&s->w, s->other, &s->items, "a");
  assert_int_equal(now.bson_length, made.bson_length);
  assert_memory_equal(now.bson, made.bson, made.bson_length);
  assert_string_equal(pg_text_of(&s->w, &s->pg, "select doc ->> 'oid', doc ->> 'small', bson is null from items"),
                      "0123456789abcdef01234567|7|f");
  pg_sql(&s->pg, "update items set doc = doc || '{\"small\": 8}'"); /* a stranger knows nothing of bson: theirs counts */
  aon_image theirs = look(&s->w, s->other, &s->items, "a");
  assert_non_null(strstr(json_of(&s->w, &theirs), "\"small\":8"));
  char *stored = pg_text_of(&s->w, &s->pg, "select doc, bson from items");
  aon_write delete = write_of(&s->items, "a", now, absent, 1), back;
  FAILS(&s->w, apply_now(&s->w, s->other, &delete, 1), AON_PERMANENT, "changed_meanwhile");
  delete.expected = theirs;
  OK(&s->w, apply_now(&s->w, s->other, &delete, 1));
  back = write_of(&s->items, "a", absent, theirs, 2);
  OK(&s->w, apply_now(&s->w, s->other, &back, 1));
  assert_string_equal(pg_text_of(&s->w, &s->pg, "select doc, bson from items"), stored);
}

static void keeps_what_strangers_write_into_documents(void **state) {
  subject *s = *state;
  static const char *const docs[] = {"{\"a\": 1.50, \"b\": 12345678901234567890123}", "{\"a\": 0.1000000000000000055511151231257827}",
                                     "{\"n\": 1e300}", "{}"};
  pg_sql(&s->pg, "create table items(id text primary key, doc jsonb)");
  for (size_t i = 0; i < sizeof docs / sizeof *docs; i++) {
    char sql[300];
    snprintf(sql, sizeof sql, "delete from items; insert into items values('a', '%s')", docs[i]);
    pg_sql(&s->pg, sql);
    char *stored = pg_text_of(&s->w, &s->pg, "select doc from items");
    aon_image theirs = look(&s->w, s->store, &s->items, "a");
    apply_ok(s, "a", theirs, normal(&s->w, s->store, &s->items, "a", "{\"ours\":true}"));
    apply_ok(s, "a", look(&s->w, s->store, &s->items, "a"), theirs);
    assert_string_equal(pg_text_of(&s->w, &s->pg, "select doc from items"), stored);
  }
  refuses(s, "{\"a\":\"\\u0000\"}", "bad_type");
}

#define TEST(function)                                                                                                                     \
  { #function, function, set_up, tear_down, NULL }

int main(void) {
  const struct CMUnitTest suite[] = {TEST(keeps_every_type),
                                     TEST(names_what_it_cant_hold),
                                     TEST(says_what_it_would_keep),
                                     TEST(fixes_defaults),
                                     TEST(takes_keys_of_any_kind),
                                     TEST(finds_tables_by_schema),
                                     TEST(names_the_operation_that_a_constraint_refused),
                                     TEST(gathers_writes_that_alternate),
                                     TEST(keeps_an_order_that_matters),
                                     TEST(names_the_first_of_those_gathered),
                                     TEST(a_trigger_sees_the_order_of_operations),
                                     TEST(tells_effects),
                                     TEST(a_trigger_that_swallows_a_row_is_a_refusal),
                                     TEST(an_altered_table_is_planned_again),
                                     TEST(keeps_documents_bit_for_bit),
                                     TEST(keeps_what_strangers_write_into_documents)};
  return pg_there("store postgresql columns") ? cmocka_run_group_tests_name("postgresql columns", suite, NULL, NULL) : 77;
}
