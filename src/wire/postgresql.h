/* PostgreSQL connections: opening, statements in pipelines, deadlines, interrupts, classified errors.
 *
 * Invariants: libpq is only used without blocking, so every wait has a deadline and ends at an interrupt (looking up a host name is the
 * one exception, which libpq leaves to the system); a connection whose answer was not waited for is broken and never used again; no
 * sentence holds a value, a password or a URL; values and their texts read the same on every connection (see SESSION in the source).
 * Source: https://www.postgresql.org/docs/15/libpq.html and errcodes-appendix.html. */
#ifndef AON_WIRE_POSTGRESQL_H
#define AON_WIRE_POSTGRESQL_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "aon/env.h"
#include "wire/interrupt.h"

typedef struct aon_postgresql aon_postgresql;

typedef struct aon_postgresql_settings {
  const char *label;  /* names the store in sentences */
  const char *url;    /* postgresql://…, also key=value pairs; the rest comes from PG* variables and files as libpq has it */
  int64_t timeout_ms; /* statement_timeout; lock_timeout is a little less */
} aon_postgresql_settings;

aon_result aon_postgresql_open(aon_env *env, const aon_postgresql_settings *settings, aon_interrupt *interrupt, int64_t deadline_ms,
                               aon_postgresql **ret_connection, aon_error *error) AON_MUST_USE;
void aon_postgresql_close(aon_postgresql *connection);
bool aon_postgresql_alive(aon_postgresql *connection); /* looks whether the server has hung up; no round trip */
PGconn *aon_postgresql_handle(aon_postgresql *connection);
void aon_postgresql_deadline(aon_postgresql *connection, int64_t deadline_ms); /* of the calls that follow */

typedef struct aon_postgresql_value { /* data NULL: null. Texts end with NUL; binary ones are arrays made by _texts */
  const char *data;
  int length;
  bool binary;
} aon_postgresql_value;

#define AON_POSTGRESQL_VALUES_LIMIT 4096 /* of one statement */

typedef struct aon_postgresql_statement {
  const char *sql;
  const aon_postgresql_value *values;
  size_t count;
  const char *doing; /* "reading", for sentences */
  bool binary;       /* how its rows come: false: as texts */
  bool keep;         /* in a pipeline: it comes again, so the connection keeps it prepared */
} aon_postgresql_statement;

/* One statement. ret_result may be NULL; else PQclear it. */
aon_result aon_postgresql_run(aon_postgresql *connection, const char *sql, const aon_postgresql_value *values, size_t count,
                              const char *doing, PGresult **ret_result, aon_error *error) AON_MUST_USE;
/* Several in one round trip; the first one that fails ends it, *ret_failed is its index. results: count of them, each to be PQcleared
 * (those behind a failure are NULL). */
aon_result aon_postgresql_pipeline(aon_postgresql *connection, const aon_postgresql_statement *statements, size_t count, PGresult **results,
                                   size_t *ret_failed, aon_error *error) AON_MUST_USE;

/* Of the last failure on this connection: the server's own refusal (an ERROR), so certainly not applied. false: no answer came. */
bool aon_postgresql_refused(const aon_postgresql *connection);
const char *aon_postgresql_sqlstate(const aon_postgresql *connection); /* of the last failure, "" if the server did not answer */
/* Likewise what the server blames, each "" where it names none. */
#define AON_POSTGRESQL_NAME_BYTES 64 /* a server that was built for longer names has its longer ones left out */
typedef struct aon_postgresql_blame {
  char schema[AON_POSTGRESQL_NAME_BYTES], table[AON_POSTGRESQL_NAME_BYTES], column[AON_POSTGRESQL_NAME_BYTES],
      constraint[AON_POSTGRESQL_NAME_BYTES];
} aon_postgresql_blame;
aon_postgresql_blame aon_postgresql_blamed(const aon_postgresql *connection);
bool aon_postgresql_broken(const aon_postgresql *connection);

/* A text[] in binary form: the head, then each element (data NULL: null), then its number. */
struct aon_buffer;
aon_result aon_postgresql_texts_start(struct aon_buffer *out, aon_error *error) AON_MUST_USE;
aon_result aon_postgresql_texts_add(struct aon_buffer *out, const char *data, size_t length, aon_error *error) AON_MUST_USE;
void aon_postgresql_texts_end(struct aon_buffer *out, size_t count);

/* Appends an identifier, or a text, quoted. */
aon_result aon_postgresql_name(const char *name, struct aon_buffer *out, aon_error *error) AON_MUST_USE;
aon_result aon_postgresql_literal(const char *text, struct aon_buffer *out, aon_error *error) AON_MUST_USE;

void aon_postgresql_clear(PGresult **result);
#define AON_POSTGRESQL_RESULT __attribute__((cleanup(aon_postgresql_clear)))
#endif
