#include "mongodb_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool mdb_there(const char *name) {
  if (getenv("AON_TEST_MONGODB"))
    return true;
  printf("skipped: %s: no server; run it by tests/servers/mongodb\n", name);
  return false;
}

bson_t *mdb_run(mdb_world *m, const char *command) {
  char json[4096];
  bson_error_t failure;
  bson_t reply;
  snprintf(json, sizeof json, "%s", command);
  for (char *c = json; *c; c++)
    if (*c == '\'')
      *c = '"';
  bson_t *what = bson_new_from_json((const uint8_t *)json, -1, &failure);
  assert_non_null(what);
  if (!mongoc_database_command_with_opts(m->database, what, NULL, NULL, &reply, &failure)) {
    print_error("%s: %s\n", json, failure.message);
    fail();
  }
  bson_t *kept = bson_copy(&reply);
  bson_destroy(&reply);
  bson_destroy(what);
  return kept;
}

/* AON_TEST_MONGODB: mongodb://HOST:PORT/?OPTIONS */
void mdb_world_open(mdb_world *m) {
  static unsigned number;
  const char *base = getenv("AON_TEST_MONGODB"), *options = strchr(base, '?');
  snprintf(m->name, sizeof m->name, "s%d_%u", (int)getpid(), ++number);
  snprintf(m->url, sizeof m->url, "%.*s%s%s", (int)(options ? options - base : (long)strlen(base)), base, m->name, options ? options : "");
  snprintf(m->location, sizeof m->location, "%s", strchr(m->url, ':') + 1);
  mongoc_init();
  m->outside = mongoc_client_new(m->url);
  assert_non_null(m->outside);
  mongoc_client_set_error_api(m->outside, MONGOC_ERROR_API_VERSION_2);
  m->database = mongoc_client_get_database(m->outside, m->name);
  bson_destroy(mdb_run(m, "{'ping': 1}"));
}

bool mdb_is_set(mdb_world *m) {
  bson_t *reply = mdb_run(m, "{'hello': 1}");
  bool set = bson_has_field(reply, "setName");
  bson_destroy(reply);
  return set;
}

void mdb_world_close(mdb_world *m) {
  bson_destroy(mdb_run(m, "{'dropDatabase': 1}"));
  mongoc_database_destroy(m->database);
  mongoc_client_destroy(m->outside);
}
