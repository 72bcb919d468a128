/* The floor on PostgreSQL: one statement for up to BATCH rows of one table and kind, their ids and documents as two arrays of texts,
 * prepared once, all in one transaction. Arrays are sent in the binary form, which needs no quoting. */
#include <arpa/inet.h>
#include <libpq-fe.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "floor.h"

#define BATCH 2000
#define TEXT_OID 25

typedef struct array {
  char *bytes;
  size_t length, capacity;
} array;

typedef struct server {
  PGconn *connection;
  array ids, documents;
} server;

static void run(const server *s, const char *sql) {
  PGresult *result = PQexec(s->connection, sql);
  if (PQresultStatus(result) != PGRES_COMMAND_OK)
    floor_give_up("floor: %s: %s", sql, PQerrorMessage(s->connection));
  PQclear(result);
}

static void prepare(const server *s, const char *format, unsigned short number, const char *table, bool update) {
  char sql[512], name[16];
  snprintf(sql, sizeof sql, format, table);
  snprintf(name, sizeof name, "%c%u", update ? 'u' : 'i', number);
  PGresult *result = PQprepare(s->connection, name, sql, 2, NULL);
  if (PQresultStatus(result) != PGRES_COMMAND_OK)
    floor_give_up("floor: %s: %s", sql, PQerrorMessage(s->connection));
  PQclear(result);
}

static void open_server(floor_target *target) {
  server *s = target->state = floor_grown(NULL, sizeof *s);
  memset(s, 0, sizeof *s);
  s->connection = PQconnectdb(target->where);
  if (PQstatus(s->connection) != CONNECTION_OK)
    floor_give_up("floor: %s", PQerrorMessage(s->connection));
  run(s, "set client_min_messages to warning");
  run(s, "begin");
  for (unsigned short i = 0; i < target->table_count; i++) {
    char sql[256];
    snprintf(sql, sizeof sql, "create table if not exists \"%s\" (id text primary key, doc jsonb not null, bson bytea)", target->tables[i]);
    run(s, sql);
    prepare(s, "insert into \"%s\" (id, doc) select a.id, a.doc::jsonb from unnest($1::text[], $2::text[]) as a(id, doc)", i,
            target->tables[i], false);
    prepare(s, "update \"%s\" t set doc = a.doc::jsonb from unnest($1::text[], $2::text[]) as a(id, doc) where t.id = a.id", i,
            target->tables[i], true);
  }
}

static void put(array *a, const void *bytes, size_t count) {
  if (a->length + count > a->capacity) {
    a->capacity = (a->length + count) * 2;
    a->bytes = floor_grown(a->bytes, a->capacity);
  }
  memcpy(a->bytes + a->length, bytes, count);
  a->length += count;
}

static void put_number(array *a, uint32_t number) {
  number = htonl(number);
  put(a, &number, sizeof number);
}

static void put_text(array *a, const char *text, int length) {
  put_number(a, (uint32_t)length);
  put(a, text, (size_t)length);
}

/* One dimension, no nulls, of texts, its length (filled in later), the first index 1. */
static void start(array *a) {
  a->length = 0;
  put_number(a, 1);
  put_number(a, 0);
  put_number(a, TEXT_OID);
  put_number(a, 0);
  put_number(a, 1);
}

static void send_batch(server *s, unsigned short table, bool update, uint32_t count) {
  char name[16], wanted[16];
  uint32_t length = htonl(count);
  memcpy(s->ids.bytes + 12, &length, sizeof length);
  memcpy(s->documents.bytes + 12, &length, sizeof length);
  snprintf(name, sizeof name, "%c%u", update ? 'u' : 'i', table);
  PGresult *result = PQexecPrepared(s->connection, name, 2, (const char *const[]){s->ids.bytes, s->documents.bytes},
                                    (const int[]){(int)s->ids.length, (int)s->documents.length}, (const int[]){1, 1}, 0);
  snprintf(wanted, sizeof wanted, "%u", count);
  if (PQresultStatus(result) != PGRES_COMMAND_OK || strcmp(PQcmdTuples(result), wanted) != 0)
    floor_give_up("floor: %s of %u rows: %s", update ? "update" : "insert", count, PQerrorMessage(s->connection));
  PQclear(result);
}

static void write_kind(floor_target *target, unsigned short table, bool update) {
  server *s = target->state;
  uint32_t count = 0;
  for (size_t i = 0; i < target->count; i++) {
    const floor_row *row = &target->rows[i];
    if (row->table != table || row->update != update)
      continue;
    if (count++ == 0) {
      start(&s->ids);
      start(&s->documents);
    }
    put_text(&s->ids, row->id, row->id_length);
    put_text(&s->documents, row->document, row->document_length);
    if (count == BATCH) {
      send_batch(s, table, update, count);
      count = 0;
    }
  }
  if (count)
    send_batch(s, table, update, count);
}

static void write_rows(floor_target *target) {
  for (unsigned short i = 0; i < target->table_count; i++) {
    write_kind(target, i, false);
    write_kind(target, i, true);
  }
}

static void end(floor_target *target, bool commit) { run(target->state, commit ? "commit" : "rollback"); }

static void close_server(floor_target *target) {
  server *s = target->state;
  PQfinish(s->connection);
  free(s->ids.bytes);
  free(s->documents.bytes);
  free(s);
}

const floor_kind floor_postgresql = {.open = open_server, .write = write_rows, .end = end, .close = close_server};
