#include "postgresql_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool pg_there(const char *name) {
  if (getenv("AON_TEST_POSTGRESQL"))
    return true;
  printf("skipped: %s: no server; run it by tests/servers/postgresql\n", name);
  return false;
}

void pg_sql(pg_world *p, const char *statement) {
  PGresult *result = PQexec(p->outside, statement);
  ExecStatusType status = PQresultStatus(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    print_error("%s: %s\n", statement, PQresultErrorMessage(result));
    PQclear(result);
    fail();
  }
  PQclear(result);
}

char *pg_text_of(world *w, pg_world *p, const char *query) {
  aon_buffer out = {0};
  PGresult *result = PQexec(p->outside, query);
  if (PQresultStatus(result) != PGRES_TUPLES_OK) {
    print_error("%s: %s\n", query, PQresultErrorMessage(result));
    fail();
  }
  for (int i = 0; i < PQntuples(result); i++)
    for (int j = 0; j < PQnfields(result); j++)
      assert_int_equal(aon_buffer_format(&out, NULL, "%s%s",
                                         j   ? "|"
                                         : i ? "\n"
                                             : "",
                                         PQgetisnull(result, i, j) ? "\\N" : PQgetvalue(result, i, j)),
                       AON_OK);
  PQclear(result);
  char *kept = aon_arena_text(&w->arena, out.data ? out.data : "", out.length);
  aon_buffer_release(&out);
  return kept;
}

static void ignore(void *context, const PGresult *notice) {
  (void)context;
  (void)notice;
}

void pg_world_open(pg_world *p) {
  static unsigned number;
  const char *base = getenv("AON_TEST_POSTGRESQL");
  snprintf(p->schema, sizeof p->schema, "s%d_%u", (int)getpid(), ++number);
  snprintf(p->url, sizeof p->url, "%s?options=-csearch_path%%3D%s", base, p->schema);
  snprintf(p->location, sizeof p->location, "%s", strchr(p->url, ':') + 1);
  p->outside = PQconnectdb(p->url);
  assert_int_equal(PQstatus(p->outside), CONNECTION_OK);
  PQsetNoticeReceiver(p->outside, ignore, NULL);
  char sql[128];
  snprintf(sql, sizeof sql, "create schema %s", p->schema);
  pg_sql(p, sql);
}

bool pg_prepares(pg_world *p) {
  PGresult *result = PQexec(p->outside, "select current_setting('max_prepared_transactions')::int > 0");
  bool can = PQntuples(result) == 1 && *PQgetvalue(result, 0, 0) == 't';
  PQclear(result);
  return can;
}

void pg_world_close(pg_world *p) {
  PGresult *left = PQexec(p->outside, "select 'rollback prepared ' || quote_literal(gid) from pg_prepared_xacts where gid like 'aon:%'");
  for (int i = 0; i < PQntuples(left); i++)
    pg_sql(p, PQgetvalue(left, i, 0));
  PQclear(left);
  char sql[128];
  snprintf(sql, sizeof sql, "drop schema %s cascade", p->schema);
  pg_sql(p, sql);
  PQfinish(p->outside);
}
