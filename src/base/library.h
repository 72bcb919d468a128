/* Libraries of others that only some runs need, loaded by the first who does: a run over SQLite pays for no client of PostgreSQL, MongoDB
 * or HTTP, neither their time to start nor what their constructors do (libmongoc makes a shared file).
 *
 * A header of its own for each (wire/libpq.h …) lists the functions that are called, once as a table and once as names that go through it,
 * so callers look as if they were linked; one that is missing in the list does not link.
 *
 * Invariants: a table is filled wholly or not at all, never changed after that, and the library stays until the process ends (it keeps
 * state of its threads). The state is one for the process, as a loaded library is. A name that nobody has loaded must not be called: who
 * opens a connection loads first. */
#ifndef AON_BASE_LIBRARY_H
#define AON_BASE_LIBRARY_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "aon/result.h"

typedef struct aon_library {
  const char *file;    /* as the loader looks for it, with the version of its interface */
  const char *package; /* Debian's, for the sentence */
  const char *names;   /* of the functions, in the order of the table, each ended by NUL */
  void *table;         /* pointers to functions, nothing else */
  bool (*fits)(void);  /* may be NULL; asked with the table filled: is the library new enough? */
  pthread_mutex_t lock;
  bool loaded;
} aon_library;

#define AON_LIBRARY_FIELD(name) typeof(&(name)) name;
#define AON_LIBRARY_NAME(name) #name "\0"

/* needed_by: what asks for it, as a sentence names it ("the store hr"). AON_ENVIRONMENT where it is not there or too old. */
aon_result aon_library_load(aon_library *library, const char *needed_by, aon_error *error) AON_MUST_USE;
#endif
