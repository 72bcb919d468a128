/* What only the MongoDB store does: every BSON type put back byte for byte, ids of every kind, documents found by a property of their own,
 * conditions, refusals, lost and ended transactions. tests/servers/mongodb starts the server, a set or one alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/document.h"
#include "mongodb_world.h"

typedef struct subject {
  world w;
  mdb_world mdb;
  aon_store *store, *other;
  aon_collection items, keyed, orders;
  bool set;
} subject;

static const char *const of_orders[] = {"region", "number", NULL};
static const aon_store_key keys[] = {{"orders", of_orders}, {0}};

static int set_up(void **state) {
  subject *s = calloc(1, sizeof *s);
  world_open(&s->w);
  s->w.timeout_ms = 4000;
  s->w.keys = keys;
  mdb_world_open(&s->mdb);
  s->set = mdb_is_set(&s->mdb);
  s->items = (aon_collection){.store = "main", .name = "items"};
  s->keyed = (aon_collection){.store = "main", .name = "users", .id_property = "userID"};
  s->orders = (aon_collection){.store = "main", .name = "orders"};
  s->store = world_store(&s->w, &aon_mongodb_adapter, NULL, "main", s->mdb.location, true);
  s->other = world_store(&s->w, &aon_mongodb_adapter, NULL, "main", s->mdb.location, true);
  *state = s;
  return 0;
}

static int tear_down(void **state) {
  subject *s = *state;
  aon_store_close(s->store);
  aon_store_close(s->other);
  mdb_world_close(&s->mdb);
  world_close(&s->w);
  free(s);
  return 0;
}

#define NEEDS_SET(s)                                                                                                                       \
  do {                                                                                                                                     \
    if (!(s)->set)                                                                                                                         \
      skip();                                                                                                                              \
  } while (0)

static void insert_raw(subject *s, const char *collection, const bson_t *document) {
  bson_error_t failure = {0};
  bson_t reply, *insert = BCON_NEW("insert", BCON_UTF8(collection), "documents", "[", BCON_DOCUMENT(document), "]");
  if (!mongoc_database_command_with_opts(s->mdb.database, insert, NULL, NULL, &reply, &failure) || bson_has_field(&reply, "writeErrors")) {
    char *said = bson_as_relaxed_extended_json(&reply, NULL);
    print_error("%s %s\n", failure.message, said);
    bson_free(said);
    fail();
  }
  bson_destroy(&reply);
  bson_destroy(insert);
}

/* The only document of a collection, as its bytes; NULL: none. */
static bson_t *only(subject *s, const char *collection) {
  bson_t filter = BSON_INITIALIZER, *found = NULL;
  const bson_t *document;
  mongoc_collection_t *from = mongoc_database_get_collection(s->mdb.database, collection);
  mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(from, &filter, NULL, NULL);
  while (mongoc_cursor_next(cursor, &document)) {
    assert_null(found);
    found = bson_copy(document);
  }
  mongoc_cursor_destroy(cursor);
  mongoc_collection_destroy(from);
  return found;
}

static void assert_bytes(const bson_t *found, const bson_t *wanted) {
  assert_non_null(found);
  if (found->len != wanted->len || memcmp(bson_get_data(found), bson_get_data(wanted), wanted->len) != 0) {
    char *a = bson_as_canonical_extended_json(found, NULL), *b = bson_as_canonical_extended_json(wanted, NULL);
    print_error("found  %s\nwanted %s\n", a, b);
    bson_free(a);
    bson_free(b);
    fail();
  }
}

/* What a rollback does to a document that was changed, and to one that was deleted. json: with one change. */
static void changed_and_back(subject *s, const aon_collection *collection, const char *id, const char *json, const bson_t *stored) {
  aon_image before = look(&s->w, s->store, collection, id);
  assert_non_null(before.bson);
  aon_write update = write_of(collection, id, before, normal(&s->w, s->store, collection, id, json), 0);
  OK(&s->w, apply_now(&s->w, s->store, &update, 1));
  aon_write back = write_of(collection, id, look(&s->w, s->store, collection, id), before, 0);
  OK(&s->w, apply_now(&s->w, s->store, &back, 1));
  bson_t *found = only(s, collection->name);
  assert_bytes(found, stored);
  bson_destroy(found);
  aon_write delete = write_of(collection, id, before, (aon_image){0}, 0);
  OK(&s->w, apply_now(&s->w, s->store, &delete, 1));
  assert_null(only(s, collection->name));
  aon_write again = write_of(collection, id, (aon_image){0}, before, 0);
  OK(&s->w, apply_now(&s->w, s->store, &again, 1));
  found = only(s, collection->name);
  assert_bytes(found, stored);
  bson_destroy(found);
}

static void there_and_back(subject *s, const aon_collection *collection, const char *id, const bson_t *stored) {
  changed_and_back(s, collection, id, collection->id_property ? "{\"userID\":\"u1\",\"changed\":true}" : "{\"changed\":true}", stored);
}

static void append_all_types(bson_t *d) {
  bson_t inner, array;
  bson_decimal128_t decimal;
  bson_t scope = BSON_INITIALIZER;
  bson_oid_t oid;
  bson_oid_init_from_string(&oid, "0123456789abcdef01234567");
  bson_decimal128_from_string("-1.2300E+5", &decimal);
  BSON_APPEND_DOUBLE(d, "zz", -0.0);
  BSON_APPEND_DOUBLE(d, "nan", 0.0 / 0.0);
  BSON_APPEND_DOUBLE(d, "infinite", -1.0 / 0.0);
  BSON_APPEND_UTF8(d, "text", "é");
  bson_append_utf8(d, "nul", -1, "a\0b", 3);
  BSON_APPEND_DECIMAL128(d, "decimal", &decimal);
  BSON_APPEND_REGEX(d, "regex", "^a.*", "imx");
  BSON_APPEND_CODE(d, "code", "return 1");
  BSON_APPEND_CODE_WITH_SCOPE(d, "scoped", "return x", &scope);
  BSON_APPEND_SYMBOL(d, "symbol", "old");
  BSON_APPEND_UNDEFINED(d, "undefined");
  BSON_APPEND_DATE_TIME(d, "date", -1);
  BSON_APPEND_TIMESTAMP(d, "timestamp", 7, 9);
  for (int i = 0; i < 7; i++)
    bson_append_binary(d, &"b0\0b1\0b2\0b3\0b4\0b5\0b6"[3 * i], 2, (bson_subtype_t)(i == 2 ? 0x80 : i), (const uint8_t *)"0123456789abcdef",
                       16);
  BSON_APPEND_OID(d, "oid", &oid);
  BSON_APPEND_BOOL(d, "bool", false);
  BSON_APPEND_INT32(d, "i32", 5);
  BSON_APPEND_INT64(d, "i64", 5);
  BSON_APPEND_MINKEY(d, "min");
  BSON_APPEND_MAXKEY(d, "max");
  BSON_APPEND_NULL(d, "null");
  BSON_APPEND_DOCUMENT_BEGIN(d, "object", &inner);
  BSON_APPEND_INT32(&inner, "b", 1);
  BSON_APPEND_NULL(&inner, "a");
  BSON_APPEND_ARRAY_BEGIN(&inner, "list", &array);
  BSON_APPEND_NULL(&array, "0");
  BSON_APPEND_TIMESTAMP(&array, "1", 0, 0);
  bson_append_array_end(&inner, &array);
  bson_append_document_end(d, &inner);
  BSON_APPEND_ARRAY_BEGIN(d, "empty", &array);
  bson_append_array_end(d, &array);
  BSON_APPEND_INT32(d, "", 1);
}

static void puts_every_type_back(void **state) {
  subject *s = *state;
  NEEDS_SET(s);
  bson_t document = BSON_INITIALIZER;
  BSON_APPEND_UTF8(&document, "_id", "d");
  append_all_types(&document);
  insert_raw(s, "items", &document);
  bson_t *stored = only(s, "items"); /* as the server keeps it: it may turn the deprecated types into others */
  there_and_back(s, &s->items, "d", stored);
  bson_destroy(stored);
  bson_destroy(&document);
}

/* Names that a replacement would take for operators, and a timestamp that the server would fill in. */
static void puts_odd_names_back(void **state) {
  subject *s = *state;
  NEEDS_SET(s);
  bson_t document = BSON_INITIALIZER;
  BSON_APPEND_UTF8(&document, "_id", "d");
  BSON_APPEND_INT32(&document, "$odd", 1);
  BSON_APPEND_INT32(&document, "a.b", 2);
  BSON_APPEND_TIMESTAMP(&document, "when", 0, 0);
  insert_raw(s, "items", &document);
  bson_t *stored = only(s, "items");
  there_and_back(s, &s->items, "d", stored);
  bson_destroy(stored);
  bson_destroy(&document);
}

static void finds_ids_of_every_kind(void **state) {
  subject *s = *state;
  bson_oid_t oid;
  bson_oid_init_from_string(&oid, "0123456789abcdef01234567");
  static const uint8_t uuid[16] = {0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x12, 0x34, 0x12, 0x34, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc};
  static const char *const ids[] = {"0123456789abcdef01234567", "-7", "4294967296", "12", "12345678-1234-1234-1234-123456789abc"};
  for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
    bson_t document = BSON_INITIALIZER;
    if (i == 0)
      BSON_APPEND_OID(&document, "_id", &oid);
    else if (i == 1)
      BSON_APPEND_INT32(&document, "_id", -7);
    else if (i == 2)
      BSON_APPEND_INT64(&document, "_id", INT64_C(4294967296));
    else if (i == 3)
      BSON_APPEND_DOUBLE(&document, "_id", 12.0);
    else
      BSON_APPEND_BINARY(&document, "_id", BSON_SUBTYPE_UUID, uuid, sizeof uuid);
    BSON_APPEND_INT32(&document, "n", (int32_t)i);
    insert_raw(s, "items", &document);
    there_and_back(s, &s->items, ids[i], &document);
    aon_write gone = write_of(&s->items, ids[i], look(&s->w, s->store, &s->items, ids[i]), (aon_image){0}, 0);
    OK(&s->w, apply_now(&s->w, s->store, &gone, 1));
    bson_destroy(&document);
  }
}

static void refuses_an_id_of_two_documents(void **state) {
  subject *s = *state;
  bson_t number = BSON_INITIALIZER, text_ = BSON_INITIALIZER;
  BSON_APPEND_INT32(&number, "_id", 5);
  BSON_APPEND_UTF8(&text_, "_id", "5");
  insert_raw(s, "items", &number);
  insert_raw(s, "items", &text_);
  aon_text id = text("5");
  aon_image found;
  FAILS(&s->w, aon_store_read(s->store, &s->items, &id, 1, &s->w.arena, &found, &s->w.error), AON_PERMANENT, "ambiguous");
  bson_destroy(&number);
  bson_destroy(&text_);
}

/* A collection that others made: _id is an ObjectId, and the documents are known by a property. */
static void finds_by_a_property_of_their_own(void **state) {
  subject *s = *state;
  bson_t document = BSON_INITIALIZER;
  bson_oid_t oid;
  bson_oid_init_from_string(&oid, "0123456789abcdef01234567");
  BSON_APPEND_OID(&document, "_id", &oid);
  BSON_APPEND_UTF8(&document, "userID", "u1");
  BSON_APPEND_UTF8(&document, "name", "Ann");
  insert_raw(s, "users", &document);
  there_and_back(s, &s->keyed, "u1", &document);
  aon_image second = normal(&s->w, s->store, &s->keyed, "u1", "{\"userID\":\"u1\"}");
  aon_write create = write_of(&s->keyed, "u1", (aon_image){0}, second, 3);
  FAILS(&s->w, apply_now(&s->w, s->store, &create, 1), AON_PERMANENT, "duplicate");
  bson_t wrong = BSON_INITIALIZER;
  aon_image ignored;
  BSON_APPEND_UTF8(&wrong, "userID", "other");
  FAILS(&s->w, aon_store_normalise(s->store, &s->keyed, text("u1"), &wrong, &s->w.arena, &ignored, &s->w.error), AON_REJECTED,
        "inconsistent");
  bson_destroy(&wrong);
  bson_destroy(&document);
}

/* A collection that others made, whose documents are known by several properties together. */
static void finds_by_several_properties(void **state) {
  subject *s = *state;
  bson_t document = BSON_INITIALIZER;
  bson_oid_t oid;
  bson_oid_init_from_string(&oid, "0123456789abcdef01234567");
  BSON_APPEND_OID(&document, "_id", &oid);
  BSON_APPEND_INT32(&document, "number", 5);
  BSON_APPEND_UTF8(&document, "region", "no:rth");
  BSON_APPEND_UTF8(&document, "title", "Chairs");
  insert_raw(s, "orders", &document);
  changed_and_back(s, &s->orders, "no%3Arth:5", "{\"region\":\"no:rth\",\"number\":5,\"changed\":true}", &document);
  aon_image second = normal(&s->w, s->store, &s->orders, "no%3Arth:5", "{\"region\":\"no:rth\",\"number\":\"5\"}");
  aon_write create = write_of(&s->orders, "no%3Arth:5", (aon_image){0}, second, 3);
  FAILS(&s->w, apply_now(&s->w, s->store, &create, 1), AON_PERMANENT, "duplicate");
  assert_null(look(&s->w, s->store, &s->orders, "no%3Arth:6").bson);
  assert_null(look(&s->w, s->store, &s->orders, "no%3Arth").bson);
  aon_image before = look(&s->w, s->store, &s->orders, "no%3Arth:5");
  bson_destroy(mdb_run(&s->mdb, "{'update': 'orders', 'updates': [{'q': {'number': 5}, 'u': {'$set': {'title': 'Tables'}}}]}"));
  aon_write late = write_of(&s->orders, "no%3Arth:5", before, (aon_image){0}, 0);
  FAILS(&s->w, apply_now(&s->w, s->store, &late, 1), AON_PERMANENT, "changed_meanwhile");
  bson_destroy(&document);
}

#define ORDERS 230 /* beyond two queries */

static void put_orders(subject *s) {
  bson_t list, order, reply, insert = BSON_INITIALIZER;
  BSON_APPEND_UTF8(&insert, "insert", "orders");
  BSON_APPEND_ARRAY_BEGIN(&insert, "documents", &list);
  for (int i = 0; i < ORDERS; i++) {
    char number[16];
    snprintf(number, sizeof number, "%d", i);
    BSON_APPEND_DOCUMENT_BEGIN(&list, number, &order);
    BSON_APPEND_UTF8(&order, "region", i % 3 ? i % 3 == 1 ? "north" : "south" : "a:b%");
    if (i % 2)
      BSON_APPEND_INT64(&order, "number", i / 3);
    else
      bson_append_utf8(&order, "number", -1, number, snprintf(number, sizeof number, "%d", i / 3));
    BSON_APPEND_INT32(&order, "n", i);
    bson_append_document_end(&list, &order);
  }
  bson_append_array_end(&insert, &list);
  bson_error_t failure;
  assert_true(mongoc_database_command_with_opts(s->mdb.database, &insert, NULL, NULL, &reply, &failure));
  bson_destroy(&reply);
  bson_destroy(&insert);
}

static const char *id_of_order(subject *s, int i) {
  return aon_arena_format(&s->w.arena, "%s:%d", i % 3 ? i % 3 == 1 ? "north" : "south" : "a%3Ab%25", i / 3);
}

static int32_t number_of(const aon_image *found) {
  bson_t view;
  bson_iter_t at;
  assert_true(found->bson && aon_image_view(found, &view) && bson_iter_init_find(&at, &view, "n"));
  return bson_iter_int32(&at);
}

typedef struct scanned {
  subject *s;
  size_t count;
} scanned;

static aon_result count_order(void *context, const aon_found *found, aon_error *error) {
  (void)error;
  scanned *seen = context;
  const char *id = id_of_order(seen->s, number_of(&found->image));
  assert_int_equal(found->id.length, strlen(id));
  assert_memory_equal(found->id.data, id, found->id.length);
  seen->count++;
  return AON_OK;
}

static void reads_many_by_several_properties(void **state) {
  subject *s = *state;
  aon_text ids[ORDERS + 4];
  aon_image images[ORDERS + 4];
  put_orders(s);
  for (int i = 0; i < ORDERS; i++)
    ids[i] = text(id_of_order(s, ORDERS - 1 - i));
  ids[ORDERS] = text("north:9999");
  ids[ORDERS + 1] = text("north");
  ids[ORDERS + 2] = text("north:7:8");
  ids[ORDERS + 3] = text(id_of_order(s, 100)); /* once more */
  OK(&s->w, aon_store_read(s->store, &s->orders, ids, ORDERS + 4, &s->w.arena, images, &s->w.error));
  for (int i = 0; i < ORDERS; i++)
    assert_int_equal(number_of(&images[i]), ORDERS - 1 - i);
  assert_null(images[ORDERS].bson);
  assert_null(images[ORDERS + 1].bson);
  assert_null(images[ORDERS + 2].bson);
  assert_int_equal(number_of(&images[ORDERS + 3]), 100);
  scanned seen = {.s = s};
  static const char *const wanted[] = {"n", NULL};
  OK(&s->w, aon_store_scan(s->store, &s->orders, NULL, 0, wanted, count_order, &seen, &s->w.error));
  assert_int_equal(seen.count, ORDERS);
}

static void writes_many_by_several_properties(void **state) {
  subject *s = *state;
  aon_write writes[30];
  put_orders(s);
  for (int i = 0; i < 30; i++) { /* an update, a delete and a create in turns */
    const char *id = id_of_order(s, i % 3 == 2 ? i + 3 * ORDERS : i);
    aon_image before = look(&s->w, s->store, &s->orders, id), after = {0};
    const char *json = aon_arena_format(&s->w.arena, "{\"region\":\"%s\",\"number\":%d,\"n\":1}", i % 3 ? "south" : "a:b%",
                                        i % 3 == 2 ? (i + 3 * ORDERS) / 3 : i / 3);
    if (i % 3 != 1)
      after = normal(&s->w, s->store, &s->orders, id, json);
    writes[i] = write_of(&s->orders, id, before, after, i);
  }
  OK(&s->w, apply_now(&s->w, s->store, writes, 30));
  for (int i = 0; i < 30; i++) {
    aon_image found = look(&s->w, s->store, &s->orders, writes[i].id.data);
    assert_same(&s->w, &found, &writes[i].wanted);
  }
}

/* The index that a key should have leaves writes in any order; one of a part of it doesn't: a document that gives up what another takes comes
 * first. */
static void keeps_the_order_that_a_part_of_a_key_demands(void **state) {
  subject *s = *state;
  NEEDS_SET(s);
  bson_destroy(mdb_run(&s->mdb, "{'insert': 'orders', 'documents': [{'region': 'north', 'number': 1}, {'region': 'west', 'number': 1}]}"));
  static const char *const indexes[] = {"{'key': {'number': 1, 'region': 1}, 'name': 'key', 'unique': true}",
                                        "{'key': {'region': 1}, 'name': 'part', 'unique': true}"};
  static const char *const gone[] = {"west:1", "north:1"}, *const taken[] = {"west:2", "north:2"}, *const made[] = {"east:1", "south:1"};
  static const char *const first[] = {"{\"region\":\"east\",\"number\":1}", "{\"region\":\"south\",\"number\":1}"},
                           *const second[] = {"{\"region\":\"west\",\"number\":2}", "{\"region\":\"north\",\"number\":2}"};
  for (size_t i = 0; i < 2; i++) {
    bson_destroy(mdb_run(&s->mdb, aon_arena_format(&s->w.arena, "{'createIndexes': 'orders', 'indexes': [%s]}", indexes[i])));
    aon_write writes[3] = {write_of(&s->orders, made[i], (aon_image){0}, normal(&s->w, s->store, &s->orders, made[i], first[i]), 0),
                           write_of(&s->orders, gone[i], look(&s->w, s->store, &s->orders, gone[i]), (aon_image){0}, 1),
                           write_of(&s->orders, taken[i], (aon_image){0}, normal(&s->w, s->store, &s->orders, taken[i], second[i]), 2)};
    OK(&s->w, apply_now(&s->w, s->store, writes, 3));
    assert_non_null(look(&s->w, s->store, &s->orders, taken[i]).bson);
  }
}

static void refuses_a_key_of_two_documents(void **state) {
  subject *s = *state;
  bson_destroy(
      mdb_run(&s->mdb, "{'insert': 'orders', 'documents': [{'region': 'north', 'number': 5}, {'region': 'north', 'number': '5'}]}"));
  aon_text id = text("north:5");
  aon_image found;
  assert_int_equal(aon_store_read(s->store, &s->orders, &id, 1, &s->w.arena, &found, &s->w.error), AON_PERMANENT);
  assert_string_equal(s->w.error.code, "ambiguous");
  assert_non_null(strstr(s->w.error.sentence, "region, number"));
}

static bool examined(subject *s, const char *line, bool *ret_told) {
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  bool healthy;
  OK(&s->w, aon_store_examine(s->store, &report, &healthy, &s->w.error));
  *ret_told = strstr(report.data, line) != NULL;
  return healthy;
}

static void tells_the_index_that_a_key_lacks(void **state) {
  subject *s = *state;
  static const char line[] = "db.orders.createIndex({region: 1, number: 1}, {unique: true})";
  static const char *const others[] = {"{'key': {'region': 1, 'number': 1}, 'name': 'plain'}",
                                       "{'key': {'region': 1, 'title': 1}, 'name': 'wider', 'unique': true}"};
  bool told, healthy = examined(s, line, &told);
  assert_false(told); /* there is no such collection yet */
  assert_true(healthy);
  bson_destroy(mdb_run(&s->mdb, "{'insert': 'orders', 'documents': [{'region': 'north', 'number': 5}]}"));
  for (size_t i = 0; i <= sizeof others / sizeof *others; i++) {
    assert_false(examined(s, line, &told));
    assert_true(told);
    if (i < sizeof others / sizeof *others)
      bson_destroy(mdb_run(&s->mdb, aon_arena_format(&s->w.arena, "{'createIndexes': 'orders', 'indexes': [%s]}", others[i])));
  }
  bson_destroy(
      mdb_run(&s->mdb, "{'createIndexes': 'orders', 'indexes': [{'key': {'number': -1, 'region': 1}, 'name': 'ours', 'unique': true}]}"));
  assert_true(examined(s, line, &told));
  assert_false(told);
}

static void refuses_keys_that_can_not_serve(void **state) {
  subject *s = *state;
  static const char *const own[] = {"region", "_id", NULL};
  static const aon_store_key bad[] = {{"orders", own}, {0}};
  aon_store_config config = {.name = "main", .location = s->mdb.location, .keys = bad};
  aon_store *store;
  FAILS(&s->w, aon_store_open(s->w.env, &aon_mongodb_adapter, &config, &store, &s->w.error), AON_USAGE, "bad_configuration");
}

static void names_what_a_unique_index_refuses(void **state) {
  subject *s = *state;
  bson_destroy(mdb_run(&s->mdb, "{'createIndexes': 'items', 'indexes': [{'key': {'email': 1}, 'name': 'email_1', 'unique': true}]}"));
  aon_write one = write_of(&s->items, "a", (aon_image){0}, normal(&s->w, s->store, &s->items, "a", "{\"email\":\"x@example.com\"}"), 0);
  OK(&s->w, apply_now(&s->w, s->store, &one, 1));
  aon_write two[2] = {
      write_of(&s->items, "b", (aon_image){0}, normal(&s->w, s->store, &s->items, "b", "{\"email\":\"y@example.com\"}"), 7),
      write_of(&s->items, "c", (aon_image){0}, normal(&s->w, s->store, &s->items, "c", "{\"email\":\"x@example.com\"}"), 8)};
  aon_result result = apply_now(&s->w, s->store, two, 2);
  assert_int_equal(result, AON_PERMANENT);
  assert_string_equal(s->w.error.code, "duplicate");
  assert_int_equal(s->w.error.operation, 8);
  assert_null(strstr(s->w.error.sentence, "x@example.com"));
}

#define ALTERNATING 9

/* A create, an update and a delete in turns; what the latter two expect is there. */
static void alternating(subject *s, aon_write *writes) {
  for (int64_t i = 0; i < ALTERNATING; i++) {
    char *id = aon_arena_format(&s->w.arena, "w%lld", (long long)i);
    aon_image before = {0}, after = {0};
    if (i % 3 != 2)
      after = normal(&s->w, s->store, &s->items, id, "{\"n\":2}");
    if (i % 3) {
      aon_write first = write_of(&s->items, id, (aon_image){0}, normal(&s->w, s->store, &s->items, id, "{\"n\":1}"), 0);
      OK(&s->w, apply_now(&s->w, s->store, &first, 1));
      before = look(&s->w, s->store, &s->items, id);
    }
    writes[i] = write_of(&s->items, id, before, after, i);
  }
}

static void gathers_writes_that_alternate(void **state) {
  subject *s = *state;
  NEEDS_SET(s);
  aon_write writes[ALTERNATING + 1];
  alternating(s, writes);
  writes[ALTERNATING] = write_of(&s->items, "w0", writes[0].wanted, (aon_image){0}, ALTERNATING); /* of the same document once more */
  OK(&s->w, apply_now(&s->w, s->store, writes, ALTERNATING + 1));
  for (size_t i = 1; i < ALTERNATING; i++) {
    aon_image found = look(&s->w, s->store, &s->items, writes[i].id.data);
    assert_same(&s->w, &found, &writes[i].wanted);
  }
  assert_null(look(&s->w, s->store, &s->items, "w0").bson);
}

static void refused_at(subject *s, const aon_write *writes, size_t count, int64_t operation, const char *code) {
  assert_int_equal(apply_now(&s->w, s->store, writes, count), AON_PERMANENT);
  assert_string_equal(s->w.error.code, code);
  assert_int_equal(s->w.error.operation, operation);
  s->w.error = (aon_error)AON_ERROR_INIT;
}

static void names_the_first_of_those_gathered(void **state) {
  subject *s = *state;
  NEEDS_SET(s);
  aon_write writes[ALTERNATING];
  alternating(s, writes);
  bson_destroy(mdb_run(&s->mdb, "{'insert': 'items', 'documents': [{'_id': 'w6'}]}"));
  refused_at(s, writes, ALTERNATING, 6, "duplicate");
  bson_destroy(mdb_run(
      &s->mdb,
      "{'update': 'items', 'updates': [{'q': {'_id': 'w5'}, 'u': {'$set': {'n': 3}}}, {'q': {'_id': 'w7'}, 'u': {'$set': {'n': 3}}}]}"));
  refused_at(s, writes, ALTERNATING, 5, "changed_meanwhile");
  bson_destroy(mdb_run(&s->mdb, "{'insert': 'items', 'documents': [{'_id': 'w3'}]}"));
  refused_at(s, writes, ALTERNATING, 3, "duplicate");
  assert_null(look(&s->w, s->store, &s->items, "w0").bson);
}

/* The server would name the first of one collection; it is the first of all. */
static void names_the_first_of_several_collections(void **state) {
  subject *s = *state;
  NEEDS_SET(s);
  aon_collection others = {.store = "main", .name = "others"};
  aon_write writes[6];
  for (int64_t i = 0; i < 6; i++) {
    const aon_collection *in = i % 2 ? &others : &s->items;
    char *id = aon_arena_format(&s->w.arena, "w%lld", (long long)i);
    writes[i] = write_of(in, id, (aon_image){0}, normal(&s->w, s->store, in, id, "{\"n\":2}"), i);
  }
  bson_destroy(mdb_run(&s->mdb, "{'insert': 'items', 'documents': [{'_id': 'w4'}]}"));
  bson_destroy(mdb_run(&s->mdb, "{'insert': 'others', 'documents': [{'_id': 'w3'}]}"));
  refused_at(s, writes, 6, 3, "duplicate");
  bson_destroy(mdb_run(&s->mdb, "{'delete': 'others', 'deletes': [{'q': {}, 'limit': 0}]}"));
  refused_at(s, writes, 6, 4, "duplicate");
  bson_destroy(mdb_run(&s->mdb, "{'delete': 'items', 'deletes': [{'q': {}, 'limit': 0}]}"));
  OK(&s->w, apply_now(&s->w, s->store, writes, 6));
  for (size_t i = 0; i < 6; i++) {
    aon_image found = look(&s->w, s->store, writes[i].collection, writes[i].id.data);
    assert_same(&s->w, &found, &writes[i].wanted);
  }
}

/* One document gives up a value that must be unique, the next one takes it. */
static void keeps_the_order_that_an_index_demands(void **state) {
  subject *s = *state;
  NEEDS_SET(s);
  bson_destroy(mdb_run(&s->mdb, "{'createIndexes': 'items', 'indexes': [{'key': {'email': 1}, 'name': 'email_1', 'unique': true}]}"));
  aon_image x = normal(&s->w, s->store, &s->items, "a", "{\"email\":\"x@example.com\"}");
  aon_write one = write_of(&s->items, "a", (aon_image){0}, x, 0);
  OK(&s->w, apply_now(&s->w, s->store, &one, 1));
  aon_write two[2] = {
      write_of(&s->items, "a", look(&s->w, s->store, &s->items, "a"),
               normal(&s->w, s->store, &s->items, "a", "{\"email\":\"y@example.com\"}"), 0),
      write_of(&s->items, "b", (aon_image){0}, normal(&s->w, s->store, &s->items, "b", "{\"email\":\"x@example.com\"}"), 1)};
  OK(&s->w, apply_now(&s->w, s->store, two, 2));
}

/* null is not missing, a value is not a list that holds it, one more property is a change. */
static void sees_every_foreign_change(void **state) {
  subject *s = *state;
  static const char *const changes[] = {"{'$unset': {'nothing': 1}}", "{'$set': {'n': [1]}}", "{'$set': {'more': 1}}",
                                        "{'$set': {'n': 1.5}}", "{'$set': {'list': [1, 2, 3]}}"};
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    char id[8], command[300];
    snprintf(id, sizeof id, "d%zu", i);
    aon_write create =
        write_of(&s->items, id, (aon_image){0}, normal(&s->w, s->store, &s->items, id, "{\"n\":1,\"nothing\":null,\"list\":[1,2]}"), 0);
    OK(&s->w, apply_now(&s->w, s->store, &create, 1));
    aon_image before = look(&s->w, s->store, &s->items, id);
    snprintf(command, sizeof command, "{'update': 'items', 'updates': [{'q': {'_id': '%s'}, 'u': %s}]}", id, changes[i]);
    bson_destroy(mdb_run(&s->mdb, command));
    aon_write update = write_of(&s->items, id, before, normal(&s->w, s->store, &s->items, id, "{\"n\":2}"), 1);
    FAILS(&s->w, apply_now(&s->w, s->store, &update, 1), AON_PERMANENT, "changed_meanwhile");
  }
}

static void refuses_what_the_server_can_not_hold(void **state) {
  subject *s = *state;
  bson_t document = BSON_INITIALIZER;
  aon_image ignored;
  BSON_APPEND_MINKEY(&document, "min");
  if (s->set)
    OK(&s->w, aon_store_normalise(s->store, &s->items, text("a"), &document, &s->w.arena, &ignored, &s->w.error));
  else
    FAILS(&s->w, aon_store_normalise(s->store, &s->items, text("a"), &document, &s->w.arena, &ignored, &s->w.error), AON_REJECTED,
          "bad_type");
  aon_text nul = {"a\0b", 3};
  FAILS(&s->w, aon_store_normalise(s->store, &s->items, nul, &document, &s->w.arena, &ignored, &s->w.error), AON_REJECTED, "bad_format");
  bson_destroy(&document);
  bson_t deep = BSON_INITIALIZER;
  for (int i = 0; i < 120; i++) {
    bson_t outer = BSON_INITIALIZER;
    BSON_APPEND_DOCUMENT(&outer, "d", &deep);
    bson_destroy(&deep);
    bson_copy_to(&outer, &deep);
    bson_destroy(&outer);
  }
  FAILS(&s->w, aon_store_normalise(s->store, &s->items, text("a"), &deep, &s->w.arena, &ignored, &s->w.error), AON_REJECTED, "too_deep");
  bson_destroy(&deep);
}

static void refuses_collections_that_are_not_there(void **state) {
  subject *s = *state;
  aon_store *strict = world_store(&s->w, &aon_mongodb_adapter, NULL, "strict", s->mdb.location, false);
  const aon_shape *shape;
  aon_collection missing = {.store = "strict", .name = "missing"}, ours = {.store = "strict", .name = "aon_markers"};
  FAILS(&s->w, aon_store_describe(strict, &missing, &shape, &s->w.error), AON_REJECTED, "unknown_collection");
  FAILS(&s->w, aon_store_describe(strict, &ours, &shape, &s->w.error), AON_REJECTED, "unknown_collection");
  aon_store_close(strict);
}

/* A worker that died in its transaction keeps nobody waiting: its session is ended by whoever resolves it. */
static void ends_the_transaction_of_a_dead_worker(void **state) {
  subject *s = *state;
  NEEDS_SET(s);
  aon_branch own = branch(1);
  aon_transaction *zombie;
  aon_branch_state found;
  size_t failed;
  OK(&s->w, aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &zombie, &s->w.error));
  aon_write write = write_of(&s->items, "a", (aon_image){0}, normal(&s->w, s->store, &s->items, "a", "{\"n\":1}"), 0);
  OK(&s->w, aon_store_apply(s->store, zombie, &write, 1, NULL, &failed, &s->w.error));
  OK(&s->w, aon_store_resolve(s->other, &own, &found, &s->w.error));
  assert_int_equal(found, AON_BRANCH_ABORTED);
  FAILS(&s->w, aon_store_commit(s->store, zombie, &s->w.error), AON_FENCED, "fenced");
  assert_null(only(s, "items"));
}

/* Somebody changes a document after our snapshot: our write is refused for now, and for good when it is tried anew. */
static void meets_a_write_after_its_snapshot(void **state) {
  subject *s = *state;
  NEEDS_SET(s);
  aon_write create = write_of(&s->items, "a", (aon_image){0}, normal(&s->w, s->store, &s->items, "a", "{\"n\":1}"), 0);
  OK(&s->w, apply_now(&s->w, s->store, &create, 1));
  aon_image before = look(&s->w, s->store, &s->items, "a");
  aon_write update = write_of(&s->items, "a", before, normal(&s->w, s->store, &s->items, "a", "{\"n\":2}"), 0);
  aon_branch own = branch(1);
  aon_transaction *transaction;
  size_t failed;
  OK(&s->w, aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &transaction, &s->w.error));
  bson_destroy(mdb_run(&s->mdb, "{'update': 'items', 'updates': [{'q': {'_id': 'a'}, 'u': {'$set': {'n': 3}}}]}"));
  FAILS(&s->w, aon_store_apply(s->store, transaction, &update, 1, NULL, &failed, &s->w.error), AON_TRANSIENT, "database_locked");
  aon_store_abort(s->store, transaction);
  FAILS(&s->w, apply_now(&s->w, s->store, &update, 1), AON_PERMANENT, "changed_meanwhile");
}

static void has_a_pool(void **state) {
  subject *s = *state;
  aon_pool_counts pool;
  aon_store_config config = {.name = "main", .location = s->mdb.location, .create = true};
  aon_store *store;
  OK(&s->w, aon_store_open(s->w.env, &aon_mongodb_adapter, &config, &store, &s->w.error));
  look(&s->w, store, &s->items, "a");
  assert_true(aon_pool_status(store, &pool));
  assert_int_equal(pool.total, 1);
  assert_int_equal(pool.idle, 1);
  assert_int_equal(pool.max, 20);
  aon_store_cancel(store); /* between two calls it has no effect */
  look(&s->w, store, &s->items, "a");
  aon_store_close(store);
}

static void tells_who_can_not_be_reached(void **state) {
  subject *s = *state;
  aon_store_config config = {.name = "main", .location = "//u:secret@127.0.0.1:1/x", .timeout_ms = 500, .pool_connect_ms = 300};
  aon_store *store = NULL;
  aon_result result = aon_store_open(s->w.env, &aon_mongodb_adapter, &config, &store, &s->w.error);
  assert_int_equal(result, AON_TRANSIENT);
  assert_string_equal(s->w.error.code, "unavailable");
  assert_null(strstr(s->w.error.sentence, "secret"));
  static const char *const bad[] = {"//127.0.0.1:1", "127.0.0.1/x", ""};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    config.location = bad[i];
    FAILS(&s->w, aon_store_open(s->w.env, &aon_mongodb_adapter, &config, &store, &s->w.error), AON_USAGE, "bad_location");
  }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
  const struct CMUnitTest suite[] = {TEST(puts_every_type_back),
                                     TEST(puts_odd_names_back),
                                     TEST(finds_ids_of_every_kind),
                                     TEST(refuses_an_id_of_two_documents),
                                     TEST(finds_by_a_property_of_their_own),
                                     TEST(finds_by_several_properties),
                                     TEST(reads_many_by_several_properties),
                                     TEST(writes_many_by_several_properties),
                                     TEST(keeps_the_order_that_a_part_of_a_key_demands),
                                     TEST(refuses_a_key_of_two_documents),
                                     TEST(tells_the_index_that_a_key_lacks),
                                     TEST(refuses_keys_that_can_not_serve),
                                     TEST(names_what_a_unique_index_refuses),
                                     TEST(gathers_writes_that_alternate),
                                     TEST(names_the_first_of_those_gathered),
                                     TEST(names_the_first_of_several_collections),
                                     TEST(keeps_the_order_that_an_index_demands),
                                     TEST(sees_every_foreign_change),
                                     TEST(refuses_what_the_server_can_not_hold),
                                     TEST(refuses_collections_that_are_not_there),
                                     TEST(ends_the_transaction_of_a_dead_worker),
                                     TEST(meets_a_write_after_its_snapshot),
                                     TEST(has_a_pool),
                                     TEST(tells_who_can_not_be_reached)};
  if (!mdb_there("store mongodb values"))
    return 77;
  return cmocka_run_group_tests_name("mongodb", suite, NULL, NULL);
}
