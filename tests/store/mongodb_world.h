/* What the tests of the MongoDB store share: a database of its own for each test, and a client outside the store. */
#ifndef AON_TESTS_STORE_MONGODB_WORLD_H
#define AON_TESTS_STORE_MONGODB_WORLD_H

#include <mongoc/mongoc.h>

#include "world.h"

typedef struct mdb_world {
  mongoc_client_t *outside;
  mongoc_database_t *database;
  char name[40], url[200], location[200];
} mdb_world;

bool mdb_there(const char *name); /* false: says that it is skipped */
void mdb_world_open(mdb_world *m);
void mdb_world_close(mdb_world *m); /* drops the database */
bool mdb_is_set(mdb_world *m);      /* a replica set */
/* A command on the test's database, from relaxed extended JSON with ' for ". The caller destroys the reply. */
bson_t *mdb_run(mdb_world *m, const char *command);
#endif
