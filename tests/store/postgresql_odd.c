/* PostgreSQL where it is odd: users who may not, tables and markers that go while they are used, transactions that the server has given up,
 * results longer than a fetch, constraints whose definitions only look like columns, schemas. Needs a server (tests/servers/postgresql). */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/document.h"
#include "postgresql_world.h"

typedef struct subject {
  world w;
  pg_world pg;
  aon_store *store;
  aon_collection items;
  char role[40], limited[400]; /* a user who may hardly do anything, and the place as that one */
} subject;

static const aon_image absent = {0};

static void run(subject *s, const char *format, const char *first, const char *second) {
  char statement[600];
  snprintf(statement, sizeof statement, format, first, second);
  pg_sql(&s->pg, statement);
}

static int set_up(void **state) {
  static unsigned number;
  subject *s = calloc(1, sizeof *s);
  world_open(&s->w);
  s->w.timeout_ms = 3000;
  pg_world_open(&s->pg);
  s->store = world_store(&s->w, &aon_postgresql_adapter, NULL, "main", s->pg.location, true);
  s->items = (aon_collection){.store = "main", .name = "items"};
  snprintf(s->role, sizeof s->role, "aon_limited_%d_%u", (int)getpid(), ++number);
  snprintf(s->limited, sizeof s->limited, "%s%%20-crole%%3D%s", s->pg.location, s->role);
  run(s, "create role %s; grant usage on schema %s to public", s->role, s->pg.schema);
  *state = s;
  return 0;
}

static int tear_down(void **state) {
  subject *s = *state;
  aon_store_close(s->store);
  run(s, "drop owned by %s; drop role %s", s->role, s->role);
  pg_world_close(&s->pg);
  world_close(&s->w);
  free(s);
  return 0;
}

static aon_store *limited_store(subject *s) { return world_store(&s->w, &aon_postgresql_adapter, NULL, "main", s->limited, true); }

static aon_transaction *begin(subject *s, aon_store *store, uint32_t attempt) {
  aon_branch own = branch(attempt);
  aon_transaction *transaction = NULL;
  OK(&s->w, aon_store_begin(store, &own, AON_MARKER_COMMIT, &transaction, &s->w.error));
  return transaction;
}

static aon_result begins(subject *s, aon_store *store, uint32_t attempt) {
  aon_branch own = branch(attempt);
  aon_transaction *transaction;
  aon_result result = aon_store_begin(store, &own, AON_MARKER_COMMIT, &transaction, &s->w.error);
  if (!result)
    aon_store_abort(store, transaction);
  return result;
}

/* Refused, as a person can see, and certain to have changed nothing. */
static void is_refused(subject *s, aon_result result) {
  assert_true(result == AON_PERMANENT || result == AON_ENVIRONMENT || result == AON_REJECTED);
  assert_non_null(strstr(s->w.error.sentence, "permission denied"));
  s->w.error = (aon_error)AON_ERROR_INIT;
}

static aon_write create(subject *s, const char *id, const char *json, int64_t operation) {
  return write_of(&s->items, id, absent, normal(&s->w, s->store, &s->items, id, json), operation);
}

static const char *examined(subject *s, aon_store *store, bool *ret_healthy) {
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  OK(&s->w, aon_store_examine(store, &report, ret_healthy, &s->w.error));
  return aon_arena_text(&s->w.arena, report.data, report.length);
}

/* ---- users who may not ---- */

static void a_user_without_rights_is_told(void **state) {
  subject *s = *state;
  bool healthy;
  aon_store *limited = limited_store(s);
  pg_sql(&s->pg, "create table items(id text primary key, doc jsonb)");
  const char *report = examined(s, limited, &healthy);
  assert_false(healthy);
  assert_non_null(strstr(report, "may NOT create tables"));
  assert_non_null(strstr(report, "items: this user may not select, insert, update, delete"));
  is_refused(s, begins(s, limited, 1));
  report = examined(s, s->store, &healthy);
  assert_non_null(strstr(report, "is not there yet, the first write makes it"));
  OK(&s->w, begins(s, s->store, 2));
  report = examined(s, limited, &healthy);
  assert_false(healthy);
  assert_non_null(strstr(report, "this user needs select, insert and update"));
  is_refused(s, begins(s, limited, 3));
  run(s, "grant select, insert, update on %s.aon_markers to %s", s->pg.schema, s->role);
  assert_non_null(strstr(examined(s, limited, &healthy), "markers of bulk operations: 0"));
  OK(&s->w, begins(s, limited, 4));
  aon_store_close(limited);
}

static void a_table_that_may_not_be_made_is_refused(void **state) {
  subject *s = *state;
  size_t failed;
  OK(&s->w, begins(s, s->store, 1));
  run(s, "grant select, insert, update on %s.aon_markers to %s", s->pg.schema, s->role);
  aon_store *limited = limited_store(s);
  aon_write write = write_of(&s->items, "a", absent, image(&s->w, "{}"), 0);
  aon_transaction *transaction = begin(s, limited, 2);
  is_refused(s, aon_store_apply(limited, transaction, &write, 1, NULL, &failed, &s->w.error));
  aon_store_abort(limited, transaction);
  aon_store_close(limited);
}

static void a_strangers_prepared_transaction_stays(void **state) {
  subject *s = *state;
  aon_branch own = branch(1);
  aon_branch_state found;
  bool healthy;
  if (!pg_prepares(&s->pg))
    return;
  OK(&s->w, aon_store_prepare(s->store, begin(s, s->store, 1), &s->w.error));
  aon_store *limited = limited_store(s);
  is_refused(s, aon_store_abort_prepared(limited, &own, &s->w.error));
  is_refused(s, aon_store_commit_prepared(limited, &own, &s->w.error));
  aon_store_close(limited);
  OK(&s->w, aon_store_resolve(s->store, &own, &found, &s->w.error));
  assert_int_equal(found, AON_BRANCH_PREPARED);
  assert_non_null(strstr(examined(s, s->store, &healthy), "aon recover ends it"));
  assert_false(healthy);
  OK(&s->w, aon_store_abort_prepared(s->store, &own, &s->w.error));
}

/* ---- markers ---- */

static void markers_that_were_dropped_are_made_again(void **state) {
  subject *s = *state;
  aon_branch of = branch(9);
  aon_branch_state found;
  for (int i = 0; i < 2; i++) {
    OK(&s->w, begins(s, s->store, 1));
    pg_sql(&s->pg, "drop table aon_markers");
    aon_result result = i ? aon_store_resolve(s->store, &of, &found, &s->w.error) : begins(s, s->store, 2);
    if (result) { /* noticed, or made at once */
      assert_int_equal(result, AON_TRANSIENT);
      assert_string_equal(s->w.error.code, "schema_changed");
      s->w.error = (aon_error)AON_ERROR_INIT;
    }
  }
  OK(&s->w, aon_store_resolve(s->store, &of, &found, &s->w.error));
  assert_int_equal(found, AON_BRANCH_ABORTED);
  pg_sql(&s->pg, "update aon_markers set state = 'perhaps'");
  FAILS(&s->w, aon_store_resolve(s->store, &of, &found, &s->w.error), AON_CORRUPT, "bad_marker");
}

typedef struct preparing {
  subject *s;
  aon_store *store;
  aon_transaction *transaction;
  aon_result result;
} preparing;

/* Prepares as soon as somebody waits for the marker. */
static void *prepare_when_waited_for(void *context) {
  preparing *p = context;
  for (int i = 0; i < 2000; i++) {
    PGresult *waits = PQexec(p->s->pg.outside, "select 1 from pg_locks where not granted");
    bool waited = PQntuples(waits) > 0;
    PQclear(waits);
    if (waited)
      break;
    usleep(1000);
  }
  aon_error error = AON_ERROR_INIT;
  p->result = aon_store_prepare(p->store, p->transaction, &error);
  return NULL;
}

static void what_is_prepared_meanwhile_is_found(void **state) {
  subject *s = *state;
  aon_branch of = branch(1);
  aon_branch_state found = AON_BRANCH_OPEN;
  pthread_t thread;
  if (!pg_prepares(&s->pg))
    return;
  s->w.timeout_ms = 1000;
  aon_store *resolver = world_store(&s->w, &aon_postgresql_adapter, NULL, "main", s->pg.location, true);
  preparing p = {s, s->store, begin(s, s->store, 1), AON_OK};
  assert_int_equal(pthread_create(&thread, NULL, prepare_when_waited_for, &p), 0);
  for (int i = 0; i < 20 && found == AON_BRANCH_OPEN; i++)
    OK(&s->w, aon_store_resolve(resolver, &of, &found, &s->w.error));
  pthread_join(thread, NULL);
  OK(&s->w, p.result);
  assert_int_equal(found, AON_BRANCH_PREPARED);
  OK(&s->w, aon_store_abort_prepared(resolver, &of, &s->w.error));
  aon_store_close(resolver);
}

/* ---- transactions that the server has given up ---- */

static aon_result count_found(void *context, const aon_found *found, aon_error *error) {
  (void)error;
  *(int *)context += found->id.length > 0;
  return AON_OK;
}

/* A read that fails takes the transaction with it: it can't be committed any more, and nothing of it stays. */
static void a_failed_read_ends_the_transaction(void **state) {
  subject *s = *state;
  aon_collection other = {.store = "main", .name = "other"};
  aon_text id = text("a");
  aon_image found;
  size_t failed;
  int count = 0;
  pg_sql(&s->pg, "create table items(id text primary key, doc jsonb); create table other(id text primary key, doc jsonb)");
  s->w.timeout_ms = 400;
  aon_store *hasty = world_store(&s->w, &aon_postgresql_adapter, NULL, "main", s->pg.location, true);
  aon_write write = create(s, "a", "{}", 0);
  OK(&s->w, aon_store_read(hasty, &other, &id, 1, &s->w.arena, &found, &s->w.error));
  for (uint32_t i = 0; i < 3; i++) {
    aon_transaction *transaction = begin(s, hasty, 1 + i);
    OK(&s->w, aon_store_apply(hasty, transaction, &write, 1, NULL, &failed, &s->w.error));
    pg_sql(&s->pg, "begin; lock table other in access exclusive mode");
    assert_int_equal(i == 2 ? aon_store_scan(hasty, &other, NULL, 0, NULL, count_found, &count, &s->w.error)
                            : aon_store_read(hasty, &other, &id, 1, &s->w.arena, &found, &s->w.error),
                     AON_TRANSIENT);
    pg_sql(&s->pg, "rollback");
    s->w.error = (aon_error)AON_ERROR_INIT;
    if (i == 1 && pg_prepares(&s->pg))
      FAILS(&s->w, aon_store_prepare(hasty, transaction, &s->w.error), AON_USAGE, "transaction_failed");
    else
      FAILS(&s->w, aon_store_commit(hasty, transaction, &s->w.error), AON_USAGE, "transaction_failed");
  }
  assert_string_equal(pg_text_of(&s->w, &s->pg, "select (select count(*) from items), (select count(*) from aon_markers)"), "0|0");
  aon_store_close(hasty);
}

/* ---- long results ---- */

typedef struct hearing {
  int heard, until;
  aon_result then;
} hearing;

static aon_result hear_some(void *context, const aon_found *found, aon_error *error) {
  hearing *h = context;
  (void)found;
  if (++h->heard < h->until)
    return AON_OK;
  return h->then == AON_END ? AON_END : aon_fail(error, h->then, "enough", "Enough.");
}

static void a_scan_fetches_until_it_is_told_to_stop(void **state) {
  subject *s = *state;
  hearing all = {0, 10000, AON_END}, some = {0, 700, AON_END}, broken = {0, 700, AON_PERMANENT};
  pg_sql(&s->pg,
         "create table items(id text primary key, doc jsonb); insert into items select 'k' || n, '{}' from generate_series(1, 1100) n");
  OK(&s->w, aon_store_scan(s->store, &s->items, NULL, 0, NULL, hear_some, &all, &s->w.error));
  assert_int_equal(all.heard, 1100);
  OK(&s->w, aon_store_scan(s->store, &s->items, NULL, 0, NULL, hear_some, &some, &s->w.error));
  assert_int_equal(some.heard, 700);
  aon_transaction *transaction = begin(s, s->store, 1);
  FAILS(&s->w, aon_store_scan(s->store, &s->items, NULL, 0, NULL, hear_some, &broken, &s->w.error), AON_PERMANENT, "enough");
  assert_int_equal(broken.heard, 700);
  all.heard = 0;
  OK(&s->w, aon_store_scan(s->store, &s->items, NULL, 0, NULL, hear_some, &all, &s->w.error));
  assert_int_equal(all.heard, 1100);
  OK(&s->w, aon_store_commit(s->store, transaction, &s->w.error));
}

/* ---- searches ---- */

static int found_by(subject *s, const char *property, aon_text value) {
  aon_match match = {property, value};
  int found = 0;
  OK(&s->w, aon_store_scan(s->store, &s->items, &match, 1, NULL, count_found, &found, &s->w.error));
  return found;
}

static void values_are_found_by_their_text(void **state) {
  subject *s = *state;
  aon_match none = {"zz", text("1")};
  int found = 0;
  pg_sql(&s->pg, "create table items(id text primary key, i int4, f float8, b bool, u uuid, v varchar(5), c char(5), n numeric);"
                 "insert into items values('a', 7, 2.5, true, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'v', 'c', 1.50)");
  assert_int_equal(found_by(s, "i", text("7")), 1);
  assert_int_equal(found_by(s, "i", text("07")), 0);
  assert_int_equal(found_by(s, "i", text("x")), 0);
  assert_int_equal(found_by(s, "f", text("2.5")), 1);
  assert_int_equal(found_by(s, "f", text("2.50")), 0);
  assert_int_equal(found_by(s, "b", text("true")), 1);
  assert_int_equal(found_by(s, "u", text("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")), 1);
  assert_int_equal(found_by(s, "v", text("v")), 1);
  assert_int_equal(found_by(s, "v", (aon_text){"v\0", 2}), 0);
  assert_int_equal(found_by(s, "v", text("\xff")), 0);
  assert_int_equal(found_by(s, "v", text("")), 0);
  FAILS(&s->w, aon_store_scan(s->store, &s->items, &none, 1, NULL, count_found, &found, &s->w.error), AON_REJECTED, "unknown_property");
  pg_sql(&s->pg, "create table d(id text primary key, doc jsonb); insert into d values('a', '{\"v\":\"\",\"n\":1}')");
  s->items.name = "d";
  assert_int_equal(found_by(s, "v", text("")), 1);
  assert_int_equal(found_by(s, "v", text("\xff")), 0);
  assert_int_equal(found_by(s, "n", text("1")), 1);
  assert_int_equal(found_by(s, "n", text("1000000000000000000000000000000000000000000000000000000000000000000000")), 0);
}

static aon_index_state served(subject *s, aon_store *store, const char *property, const char *value) {
  aon_match match = {property, text(value)};
  aon_index index = {0};
  OK(&s->w, aon_store_look_up(store, &s->items, &match, &index, &s->w.error));
  return index.state;
}

static void look_ups_know_indexes(void **state) {
  subject *s = *state;
  aon_store *bare;
  aon_store_config config = {.name = "main", .location = s->pg.location, .create = true};
  OK(&s->w, aon_store_open(s->w.env, &aon_postgresql_adapter, &config, &bare, &s->w.error));
  assert_int_equal(served(s, bare, "v", "1"), AON_INDEX_NO_NEED); /* there is no such table */
  pg_sql(&s->pg, "create table items(id text primary key, i int4, v varchar(5), c char(5), f float8); create index on items(i);"
                 "create index on items(lower(v))");
  aon_store_close(bare);
  OK(&s->w, aon_store_open(s->w.env, &aon_postgresql_adapter, &config, &bare, &s->w.error));
  assert_int_equal(served(s, bare, "i", "x"), AON_INDEX_SERVES);
  assert_int_equal(served(s, bare, "i", "7"), AON_INDEX_SERVES);
  assert_int_equal(served(s, bare, "v", "x"), AON_INDEX_MISSING);
  assert_int_equal(served(s, bare, "c", "x"), AON_INDEX_MISSING);
  assert_int_equal(served(s, bare, "f", "x"), AON_INDEX_POINTLESS);
  aon_match none = {"zz", text("1")};
  aon_index index = {0};
  FAILS(&s->w, aon_store_look_up(bare, &s->items, &none, &index, &s->w.error), AON_REJECTED, "unknown_property");
  aon_store_close(bare);
}

static void two_rows_of_one_id_are_told(void **state) {
  subject *s = *state;
  aon_text id = text("a");
  aon_image found;
  pg_sql(&s->pg, "create table items(id text primary key, doc jsonb); create table heirs() inherits(items);"
                 "insert into items values('a', '{}'); insert into heirs values('a', '{}')");
  FAILS(&s->w, aon_store_read(s->store, &s->items, &id, 1, &s->w.arena, &found, &s->w.error), AON_PERMANENT, "ambiguous");
}

/* ---- what becomes of a value ---- */

static void rejects(subject *s, const char *json, const char *code) {
  bson_t document;
  aon_image made;
  OK(&s->w, aon_document_from_json(json, strlen(json), &document, &s->w.error));
  FAILS(&s->w, aon_store_normalise(s->store, &s->items, text("a"), &document, &s->w.arena, &made, &s->w.error), AON_REJECTED, code);
  bson_destroy(&document);
}

static void what_is_no_number_is_refused(void **state) {
  subject *s = *state;
  pg_sql(&s->pg, "create table items(id text primary key, i int4, b int8, f float8, o bool)");
  rejects(s, "{\"f\":\"word\"}", "bad_type");
  rejects(s, "{\"i\":\"7x\"}", NULL);
  rejects(s, "{\"i\":\"-\"}", NULL);
  rejects(s, "{\"b\":\"9223372036854775808\"}", NULL);
  rejects(s, "{\"o\":\"perhaps\"}", NULL);
  aon_image made = normal(&s->w, s->store, &s->items, "a", "{\"i\":\" 7 \",\"f\":\"0000000000000000000000000000000000000000000002.5\"}");
  assert_string_equal(json_of(&s->w, &made), "{\"id\":\"a\",\"i\":7,\"b\":null,\"f\":2.5,\"o\":null}");
}

/* Refused as a whole, and each value for itself is taken: so it is. */
static void what_is_refused_once_is_asked_again(void **state) {
  subject *s = *state;
  pg_sql(&s->pg, "create sequence calls; create function once() returns text language plpgsql as $$ begin "
                 "if nextval('calls') = 1 then raise exception 'not yet'; end if; return 'now'; end $$;"
                 "create table items(id text primary key, v text default once(), w uuid)");
  aon_image made = normal(&s->w, s->store, &s->items, "a", "{\"w\":\"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11\"}");
  assert_string_equal(json_of(&s->w, &made), "{\"id\":\"a\",\"v\":\"now\",\"w\":\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\"}");
}

static void images_that_nobody_made_to_fit_are_refused(void **state) {
  subject *s = *state;
  pg_sql(&s->pg, "create table items(id text primary key, n int4, \"_bulkOperationId\" text)");
  static const char *const images[] = {"{\"n\":1}", "{\"id\":null}", "{\"id\":\"x\",\"zz\":1}", "{\"id\":\"x\",\"n\":[1]}"};
  for (size_t i = 0; i < sizeof images / sizeof *images; i++) {
    aon_write write = write_of(&s->items, "x", absent, image(&s->w, images[i]), 5);
    FAILS(&s->w, apply_now(&s->w, s->store, &write, 1), AON_PERMANENT, NULL);
  }
  aon_write write = create(s, "x", "{\"n\":1}", 0);
  write.stamp = "12345678-1234-4234-8234-123456789abc";
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  assert_string_equal(pg_text_of(&s->w, &s->pg, "select * from items"), "x|1|12345678-1234-4234-8234-123456789abc");
  pg_sql(&s->pg, "drop table items");
  aon_image before = image(&s->w, "{\"v\":1}");
  write = write_of(&s->items, "x", before, absent, 5);
  FAILS(&s->w, apply_now(&s->w, s->store, &write, 1), AON_TRANSIENT, "schema_changed");
  FAILS(&s->w, apply_now(&s->w, s->store, &write, 1), AON_PERMANENT, "changed_meanwhile");
  aon_collection nowhere = {.store = "main", .name = "nowhere"};
  write = write_of(&nowhere, "x", before, absent, 5);
  FAILS(&s->w, apply_now(&s->w, s->store, &write, 1), AON_PERMANENT, "changed_meanwhile");
}

/* ---- schemas ---- */

static void tables_are_made_where_their_name_says(void **state) {
  subject *s = *state;
  char name[100], query[300];
  static const char *const system[] = {"pg_class", "pg_catalog.x", "information_schema.tables", "pg_toast.x", "aon_x", "public.aon_x",
                                       "x."};
  const aon_shape *shape;
  snprintf(name, sizeof name, "%s.made", s->pg.schema);
  s->items.name = name;
  aon_write write = create(s, "a", "{}", 0);
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  snprintf(query, sizeof query, "select id from %s", name);
  assert_string_equal(pg_text_of(&s->w, &s->pg, query), "a");
  s->items.name = "no_schema.made";
  write = create(s, "b", "{}", 0);
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  assert_string_equal(pg_text_of(&s->w, &s->pg, "select id from \"no_schema.made\""), "b");
  aon_store *bare;
  aon_store_config config = {.name = "main", .location = s->pg.location, .create = true};
  OK(&s->w, aon_store_open(s->w.env, &aon_postgresql_adapter, &config, &bare, &s->w.error));
  for (size_t i = 0; i < sizeof system / sizeof *system; i++) {
    aon_collection in = {.store = "main", .name = system[i]};
    FAILS(&s->w, aon_store_describe(bare, &in, &shape, &s->w.error), AON_REJECTED, "unknown_collection");
  }
  aon_store_close(bare);
}

static bool is_document_table(subject *s, const char *statement) {
  const aon_shape *shape;
  pg_sql(&s->pg, "drop table if exists items");
  pg_sql(&s->pg, statement);
  aon_store *store = world_store(&s->w, &aon_postgresql_adapter, NULL, "main", s->pg.location, true);
  OK(&s->w, aon_store_describe(store, &s->items, &shape, &s->w.error));
  bool is = shape->document_table;
  aon_store_close(store);
  return is;
}

static void document_tables_have_two_plain_columns(void **state) {
  subject *s = *state;
  assert_true(is_document_table(s, "create table items(id text primary key, doc json, bson bytea)"));
  assert_false(is_document_table(s, "create table items(id text primary key, doc json, bson text)"));
  assert_false(is_document_table(s, "create table items(id text, doc jsonb, primary key(id, doc))"));
  assert_false(is_document_table(s, "create table items(id text, doc jsonb primary key)"));
  assert_false(is_document_table(s, "create table items(id text primary key, doc jsonb generated always as ('{}'::jsonb) stored)"));
  assert_false(
      is_document_table(s, "create table items(id text primary key, doc jsonb, bson bytea generated always as ('\\x00'::bytea) stored)"));
  assert_false(is_document_table(s, "create table items(id text primary key, v text default 'a'::text || 'b', w varchar default 'x(y', "
                                    "f bool default false, n int4 default null)"));
}

/* ---- what a refusal is about ---- */

static void is_about(subject *s, const char *constraint, const char *json, const char *names) {
  pg_sql(&s->pg, "drop table if exists items");
  run(s, "create table items(id text primary key, doc jsonb%s%s)", *constraint ? ", " : "", constraint);
  pg_sql(&s->pg, "insert into items values('other', '{}')");
  aon_write write = create(s, *constraint ? "x" : "other", json, 5);
  aon_store *store = world_store(&s->w, &aon_postgresql_adapter, NULL, "main", s->pg.location, true);
  assert_int_equal(apply_now(&s->w, store, &write, 1), AON_PERMANENT);
  assert_string_equal(s->w.error.properties, names);
  s->w.error = (aon_error)AON_ERROR_INIT;
  aon_store_close(store);
}

static void constraints_name_properties_and_nothing_else(void **state) {
  subject *s = *state;
  pg_sql(&s->pg, "create function doc_x(jsonb) returns bool language sql immutable as 'select not $1 ? ''bad''';"
                 "create function \"doc$\"(jsonb) returns bool language sql immutable as 'select not $1 ? ''bad''';"
                 "create function \"docé\"(jsonb) returns bool language sql immutable as 'select not $1 ? ''bad''';"
                 "create function mydoc(text) returns bool language sql immutable as 'select $1 is null or $1 <> ''bad'''");
  is_about(s, "", "{}", "");
  s->items.id_property = "key";
  is_about(s, "", "{}", "key");
  is_about(s, "check ((doc ->> 'a') <> 'bad')", "{\"a\":\"bad\"}", "a");
  is_about(s, "check ((doc ->> 'a') <> 'bad' and (doc ->> 'a') <> 'worse')", "{\"a\":\"bad\"}", "a");
  is_about(s, "check ((doc ->> 'it''s') <> 'bad')", "{\"it's\":\"bad\"}", "it's");
  is_about(s, "check ((doc -> 'a') <> '\"bad\"'::jsonb)", "{\"a\":\"bad\"}", "a");
  is_about(s, "check ((doc #>> '{a}') <> 'bad')", "{\"a\":\"bad\"}", "");
  is_about(s, "check ((doc ->> id) <> 'bad')", "{\"x\":\"bad\"}", "");
  is_about(s, "check ((doc -> 0) is null and not doc ? 'bad')", "{\"bad\":1}", "");
  is_about(s, "check (doc_x(doc))", "{\"bad\":1}", "");
  is_about(s, "check (\"doc$\"(doc))", "{\"bad\":1}", "");
  is_about(s, "check (\"docé\"(doc))", "{\"bad\":1}", "");
  is_about(s, "check (mydoc((doc ->> 'a')))", "{\"a\":\"bad\"}", "a");
  is_about(s, "check (length(doc::text) < 10)", "{\"a\":\"long enough\"}", "");
  is_about(s, "check (id <> 'x')", "{}", "");
}

static void more_properties_than_are_named_are_none(void **state) {
  subject *s = *state;
  char make[800] = "create table items(id text primary key", unique[200] = "", json[300] = "{", values[100] = "";
  for (int i = 0; i < 17; i++) {
    snprintf(make + strlen(make), sizeof make - strlen(make), ", p%d int4", i);
    snprintf(unique + strlen(unique), sizeof unique - strlen(unique), "%sp%d", i ? ", " : "", i);
    snprintf(json + strlen(json), sizeof json - strlen(json), "%s\"p%d\":1", i ? "," : "", i);
    strcat(values, ", 1");
  }
  snprintf(make + strlen(make), sizeof make - strlen(make), ", unique(%s)); insert into items values('other'%s)", unique, values);
  pg_sql(&s->pg, make);
  aon_write write = create(s, "x", strcat(json, "}"), 5);
  assert_int_equal(apply_now(&s->w, s->store, &write, 1), AON_PERMANENT);
  assert_string_equal(s->w.error.code, "duplicate");
  assert_string_equal(s->w.error.properties, "");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {TEST(a_user_without_rights_is_told),
                                     TEST(a_table_that_may_not_be_made_is_refused),
                                     TEST(a_strangers_prepared_transaction_stays),
                                     TEST(markers_that_were_dropped_are_made_again),
                                     TEST(what_is_prepared_meanwhile_is_found),
                                     TEST(a_failed_read_ends_the_transaction),
                                     TEST(a_scan_fetches_until_it_is_told_to_stop),
                                     TEST(values_are_found_by_their_text),
                                     TEST(look_ups_know_indexes),
                                     TEST(two_rows_of_one_id_are_told),
                                     TEST(what_is_no_number_is_refused),
                                     TEST(what_is_refused_once_is_asked_again),
                                     TEST(images_that_nobody_made_to_fit_are_refused),
                                     TEST(tables_are_made_where_their_name_says),
                                     TEST(document_tables_have_two_plain_columns),
                                     TEST(constraints_name_properties_and_nothing_else),
                                     TEST(more_properties_than_are_named_are_none)};
  if (!pg_there("store postgresql odd"))
    return 77;
  return cmocka_run_group_tests_name("postgresql odd", tests, NULL, NULL);
}
