/* What the tests of the store room share: a temporary folder, stores opened through the asserting decorator, documents from JSON. */
#ifndef AON_TESTS_STORE_WORLD_H
#define AON_TESTS_STORE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* needs those before it */

#include "aon/store.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "store/assert.h"

typedef struct world {
  aon_env *env;
  char folder[64];
  aon_arena arena;
  aon_error error;
  int64_t timeout_ms; /* of the stores opened; 0: 300 ms, so that what waits for a lock is soon told */
  bool exclusive;     /* of the stores opened */
  const aon_store_key *keys;
} world;

void world_open(world *w);
void world_close(world *w); /* removes the folder */
const char *world_path(world *w, const char *name);

/* Opened under assert. wrap lives in the world's arena. */
aon_store *world_store(world *w, const aon_store_adapter *adapter, const void *options, const char *name, const char *location,
                       bool create);

#define OK(w, call) ok_(w, call, #call, __FILE__, __LINE__)
void ok_(world *w, aon_result result, const char *what, const char *file, int line);
/* The call fails so, with this code. */
#define FAILS(w, call, kind, with) fails_(w, call, kind, with, #call, __FILE__, __LINE__)
void fails_(world *w, aon_result result, aon_result kind, const char *code, const char *what, const char *file, int line);

aon_text text(const char *literal);
aon_image image(world *w, const char *json); /* plain BSON of a text of JSON */
aon_image normal(world *w, aon_store *store, const aon_collection *collection, const char *id,
                 const char *json); /* as the store will give it back */
aon_image look(world *w, aon_store *store, const aon_collection *collection, const char *id);
const char *json_of(world *w, const aon_image *image); /* "absent" if absent */
void assert_same(world *w, const aon_image *a, const aon_image *b);

aon_write write_of(const aon_collection *collection, const char *id, aon_image expected, aon_image wanted, int64_t operation);
/* In a transaction of its own (classes 1-3, next attempt of a bulk operation of its own) or directly. */
aon_result apply_now(world *w, aon_store *store, const aon_write *writes, size_t count);
aon_branch branch(uint32_t attempt);

void sql(const char *path, const char *statement);             /* by a connection of its own */
char *sql_text(world *w, const char *path, const char *query); /* rows by \n, columns by |, typed: i:1 t:abc n: */
#endif
