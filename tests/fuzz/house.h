/* An engine over a journal on a file system in memory and two memory stores, for the targets that run whole bulk operations.
 *
 * All is that of world.c, so that a run is fixed by its input; SQLite's files too (files.c). */
#ifndef AON_TESTS_FUZZ_HOUSE_H
#define AON_TESTS_FUZZ_HOUSE_H

#include "coordinator/engine.h"
#include "fuzz.h"
#include "store/memory.h"

#define HOUSE_STORES 2

typedef struct house {
  aon_env env;
  aon_engine *engine;
  aon_engine_config config;
  aon_run_options options;
  aon_engine_store stores[HOUSE_STORES]; /* main (class 2) and realtime (class 3) */
  aon_memory_database *databases[HOUSE_STORES];
} house;

/* Stores empty; the journal new, or the one of these bytes. */
void house_open(house *h, const void *journal, size_t length);
void house_close(house *h);
void house_engine(house *h); /* anew, as another run of the program would */

#define HOUSE_JOURNAL "journal.db"
char *house_journal(size_t *ret_length); /* as it is now, after house_close; malloc */

/* What aon_apply says of these lines. Checks that the outcome is told whole: JSON that reads back, and a sentence for a failure. */
aon_result house_apply(house *h, const void *lines, size_t length, aon_outcome *ret_outcome, aon_error *error) AON_MUST_USE;
void house_check(aon_result result, const aon_outcome *outcome, const aon_error *error);
/* All documents of all collections that these stores were ever given by house_put or by lines into the collections c, d and e. */
void house_snapshot(house *h, aon_buffer *out);
void house_put(house *h, const char *store, const char *collection, const char *id, const char *json);
#endif
