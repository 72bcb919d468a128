/* What tests of PostgreSQL share: a schema of its own for each test on the server that tests/servers/postgresql started. */
#ifndef AON_TESTS_STORE_POSTGRESQL_WORLD_H
#define AON_TESTS_STORE_POSTGRESQL_WORLD_H

#include <libpq-fe.h>

#include "world.h"

typedef struct pg_world {
  char schema[32], url[256], location[256]; /* location: of a store in that schema */
  PGconn *outside;                          /* a stranger's connection */
} pg_world;

bool pg_there(const char *name); /* false: no server, and it was said that NAME is skipped */
void pg_world_open(pg_world *p);
void pg_world_close(pg_world *p); /* drops the schema and prepared transactions that were left */
void pg_sql(pg_world *p, const char *statement);
char *pg_text_of(world *w, pg_world *p, const char *query); /* rows by \n, columns by |; null is \N */
bool pg_prepares(pg_world *p);
#endif
