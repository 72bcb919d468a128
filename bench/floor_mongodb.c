/* The floor on a server that speaks MongoDB's protocol: the driver's bulk writes, in one transaction with majority and journal where the
 * rows fit into one (TRANSACTION_ROWS, as many as we put into one by default), else in several, one after the other. */
#include <mongoc/mongoc.h>
#include <stdlib.h>
#include <string.h>

#include "floor.h"

#define TRANSACTION_ROWS 30000

typedef struct server {
  mongoc_client_t *client;
  mongoc_database_t *database;
  mongoc_client_session_t *session;
  bson_t **documents; /* of the rows, with their ids */
  bson_t in_session;
  size_t written; /* in the transaction that is open */
} server;

/* JSON to BSON, whole numbers as 64 bits as our store keeps them. */
static void append_value(bson_t *to, const char *key, const bson_iter_t *at) {
  if (BSON_ITER_HOLDS_INT32(at))
    BSON_APPEND_INT64(to, key, bson_iter_int32(at));
  else
    bson_append_iter(to, key, -1, at);
}

static void load(floor_target *target) {
  server *s = target->state = floor_grown(NULL, sizeof *s);
  memset(s, 0, sizeof *s);
  s->documents = floor_grown(NULL, target->count * sizeof(bson_t *));
  for (size_t i = 0; i < target->count; i++) {
    const floor_row *row = &target->rows[i];
    bson_error_t error;
    bson_iter_t at;
    bson_t *plain = bson_new_from_json((const uint8_t *)row->document, row->document_length, &error);
    if (!plain || !bson_iter_init(&at, plain))
      floor_give_up("floor: %s: %s", row->id, error.message);
    s->documents[i] = bson_new();
    bson_append_utf8(s->documents[i], "_id", 3, row->id, row->id_length);
    while (bson_iter_next(&at))
      append_value(s->documents[i], bson_iter_key(&at), &at);
    bson_destroy(plain);
  }
}

static void begin(server *s) {
  bson_error_t error;
  if (!mongoc_client_session_start_transaction(s->session, NULL, &error))
    floor_give_up("floor: %s", error.message);
  s->written = 0;
}

static void open_server(floor_target *target) {
  server *s = target->state;
  bson_error_t error;
  mongoc_init();
  mongoc_uri_t *uri = mongoc_uri_new_with_error(target->where, &error);
  if (!uri || !(s->client = mongoc_client_new_from_uri(uri)))
    floor_give_up("floor: %s", target->where);
  s->database = mongoc_client_get_default_database(s->client);
  mongoc_uri_destroy(uri);
  mongoc_transaction_opt_t *options = mongoc_transaction_opts_new();
  mongoc_write_concern_t *concern = mongoc_write_concern_new();
  mongoc_write_concern_set_wmajority(concern, 0);
  mongoc_write_concern_set_journal(concern, true);
  mongoc_transaction_opts_set_write_concern(options, concern);
  mongoc_session_opt_t *session = mongoc_session_opts_new();
  mongoc_session_opts_set_default_transaction_opts(session, options);
  s->session = mongoc_client_start_session(s->client, session, &error);
  if (!s->session)
    floor_give_up("floor: %s", error.message);
  mongoc_session_opts_destroy(session);
  mongoc_write_concern_destroy(concern);
  mongoc_transaction_opts_destroy(options);
  bson_init(&s->in_session);
  if (!mongoc_client_session_append(s->session, &s->in_session, &error))
    floor_give_up("floor: %s", error.message);
  begin(s);
}

static void commit_now(server *s) {
  bson_error_t error;
  if (!mongoc_client_session_commit_transaction(s->session, NULL, &error))
    floor_give_up("floor: commit: %s", error.message);
}

/* The driver cuts what it is given into commands as large as the server takes. */
static void execute(mongoc_bulk_operation_t *bulk) {
  bson_error_t error;
  if (!mongoc_bulk_operation_execute(bulk, NULL, &error))
    floor_give_up("floor: %s", error.message);
  mongoc_bulk_operation_destroy(bulk);
}

static void add(mongoc_bulk_operation_t *bulk, const floor_row *row, const bson_t *document) {
  bson_error_t error;
  bool fits;
  if (row->update) {
    bson_t selector = BSON_INITIALIZER;
    bson_append_utf8(&selector, "_id", 3, row->id, row->id_length);
    fits = mongoc_bulk_operation_replace_one_with_opts(bulk, &selector, document, NULL, &error);
    bson_destroy(&selector);
  } else {
    fits = mongoc_bulk_operation_insert_with_opts(bulk, document, NULL, &error);
  }
  if (!fits)
    floor_give_up("floor: %s: %s", row->id, error.message);
}

static void write_kind(floor_target *target, unsigned short table, bool update) {
  server *s = target->state;
  mongoc_collection_t *collection = mongoc_database_get_collection(s->database, target->tables[table]);
  mongoc_bulk_operation_t *bulk = NULL;
  for (size_t i = 0; i < target->count; i++) {
    const floor_row *row = &target->rows[i];
    if (row->table != table || row->update != update)
      continue;
    if (s->written == TRANSACTION_ROWS) {
      if (bulk)
        execute(bulk);
      bulk = NULL;
      commit_now(s);
      begin(s);
    }
    if (!bulk)
      bulk = mongoc_collection_create_bulk_operation_with_opts(collection, &s->in_session);
    add(bulk, row, s->documents[i]);
    s->written++;
  }
  if (bulk)
    execute(bulk);
  mongoc_collection_destroy(collection);
}

static void write_rows(floor_target *target) {
  for (unsigned short i = 0; i < target->table_count; i++) {
    write_kind(target, i, false);
    write_kind(target, i, true);
  }
}

static void end(floor_target *target, bool commit) {
  server *s = target->state;
  bson_error_t error;
  if (commit)
    commit_now(s);
  else if (!mongoc_client_session_abort_transaction(s->session, &error))
    floor_give_up("floor: rollback: %s", error.message);
}

static void close_server(floor_target *target) {
  server *s = target->state;
  bson_destroy(&s->in_session);
  mongoc_client_session_destroy(s->session);
  mongoc_database_destroy(s->database);
  mongoc_client_destroy(s->client);
  mongoc_cleanup();
  for (size_t i = 0; i < target->count; i++)
    bson_destroy(s->documents[i]);
  free(s->documents);
  free(s);
}

const floor_kind floor_mongodb = {.load = load, .open = open_server, .write = write_rows, .end = end, .close = close_server};
