/* What the journal's tests share: a folder that goes away, an environment whose clock, dead processes and full disk a test
 * sets, journals opened in it, and operations made in one line. */
#ifndef AON_TESTS_JOURNAL_HARNESS_H
#define AON_TESTS_JOURNAL_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "journal/backend.h"
#include "model/text.h"

typedef struct world {
  aon_env env, *real;
  char folder[64], path[96], key[96];
  char location[400]; /* of the journal: the path, or a URL (below) */
  int64_t skew_ms;    /* added to the wall clock */
  int64_t dead_pid;   /* this process counts as proved dead */
  uint64_t steps;
  uint64_t log_lines;
  bool no_room;                /* free_bytes reads as 0 */
  int64_t quota_bytes;         /* what test_disk still lets be written; < 0: no limit */
  struct world_server *server; /* NULL: the journal is not on PostgreSQL */
  bool on_mongodb;
  bool hurried; /* who sleeps moves the clock instead */
} world;

/* With AON_TEST_JOURNAL=postgresql (and AON_TEST_POSTGRESQL, from tests/servers/postgresql) journals are kept on that server, each world's
 * in a schema of its own, whose clock is the server's and skew_ms; with mongodb (and AON_TEST_MONGODB) each in a database of its own: the
 * same suite runs against every backend. */

world *world_make(void);
void world_end(world *w);
aon_journal *world_open(world *w);
aon_journal *world_open_with(world *w, const aon_journal_config *config);
void world_clock(world *w, aon_journal *journal); /* skew_ms counts for a journal that was opened otherwise */
bool world_contains(world *w, const char *text);  /* in any file of the folder but the key */
bool world_has(world *w, const char *name);       /* a file in the folder */
void world_sql(world *w, const char *sql);        /* on the journal's server, beside the journal */

/* Asserts with the sentence of the error. */
#define OK(call)                                                                                                                           \
  do {                                                                                                                                     \
    aon_error error_ = AON_ERROR_INIT, *error = &error_;                                                                                   \
    aon_result got_ = (call);                                                                                                              \
    if (got_)                                                                                                                              \
      fail_msg("%s: %s: %s", #call, aon_result_name(got_), error_.sentence);                                                               \
  } while (0)
#define FAILS(call, kind_, code_, found)                                                                                                   \
  do {                                                                                                                                     \
    aon_error *error = &(found);                                                                                                           \
    *error = (aon_error)AON_ERROR_INIT;                                                                                                    \
    aon_result got_ = (call);                                                                                                              \
    if (got_ != (kind_) || strcmp(error->code, code_))                                                                                     \
      fail_msg("%s: %s %s: %s", #call, aon_result_name(got_), error->code, error->sentence);                                               \
    assert_true(strlen(error->sentence) > 20);                                                                                             \
  } while (0)

extern const aon_collection users, sites;

/* The n-th UUID of a test. */
const char *uuid(world *w, unsigned n, char text[37]);
/* Submits, claims in epoch 1 for this process and goes to planning. */
void begin_bulk(world *w, aon_journal *journal, const char *id);
void go(aon_journal *journal, const char *id, aon_state from, aon_state to);

typedef struct planned {
  aon_arena arena;
  aon_operation *operations;
  size_t count, capacity;
} planned;
/* kind: 'c' create, 'u' update, 'd' delete, upper case: sensitive. The images hold "value-N" with the sequence. */
void plan_add(planned *plan, int64_t sequence, char kind, const aon_collection *collection, const char *document);
void plan_creates(planned *plan, int64_t first, size_t count, const char *prefix);
void plan_clear(planned *plan);
aon_image image_of(aon_arena *arena, const char *key, const char *value);
bool image_holds(const aon_image *image, const char *value);
#endif
