/* What the tests of the library share: temporary folders, sessions over them, what the stores hold, and results by their members.
 * Only names of installed headers are used; the databases are looked at by SQLite itself, from outside. */
#ifndef TESTS_LIBRARY_WORLD_H
#define TESTS_LIBRARY_WORLD_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>

#include "aon/aon.h"

typedef struct world {
  char folder[256];
  aon_session *session;
} world;

void world_make(world *w); /* the folder, without a session */
void world_open(world *w); /* a session with embedded stores and organization org1, in the world's folder */
void world_reopen(world *w);
void world_drop(world *w); /* closes the session, removes the folder */

char *world_path(const world *w, const char *name); /* to be freed */
void world_write(const world *w, const char *name, const char *text);

/* Every row of every table of ours in every database of the folder but the journal, as one text; to be freed. */
char *world_rows(const world *w);
/* One document of an embedded store as the text that stands there; NULL: not there. To be freed. */
char *world_document(const world *w, const char *store, const char *collection, const char *id);
void world_sql(const world *w, const char *database, const char *sql);

/* A call's result, which must have been AON_OK, as JSON; to be given back by json_decref. text is freed and NULL then: its address is
 * taken, so that the call may stand among the arguments. */
json_t *world_result(aon_result result, char **text, const aon_error *error);
json_t *world_apply(world *w, const char *lines, const aon_session_run *run, int expected_exit_status);
const char *text_of(const json_t *object, const char *member);

/* One line for aon_session_apply; all are literals, data as JSON. */
#define LINE(store, collection, id, operation, data)                                                                                       \
  "{\"store\":\"" store "\",\"collection\":\"" collection "\",\"id\":\"" id "\",\"operation\":\"" operation "\",\"data\":" data "}\n"
#define DELETE_LINE(store, collection, id)                                                                                                 \
  "{\"store\":\"" store "\",\"collection\":\"" collection "\",\"id\":\"" id "\",\"operation\":\"delete\"}\n"

#endif
