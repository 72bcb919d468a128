/* Results and error records of the whole library.
 *
 * Every function that can fail returns an aon_result, which the compiler does not let a caller drop, and takes an
 * aon_error as its last argument. The record is untouched on success; on failure it holds everything a person needs.
 * It is of fixed size, so reporting "no memory" needs no memory. Passing NULL is allowed everywhere.
 */
#ifndef AON_RESULT_H
#define AON_RESULT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define AON_MUST_USE __attribute__((warn_unused_result))

/* What kind of failure it is decides what the coordinator does next, so an adapter classifies its own errors. */
typedef enum aon_result {
  AON_OK = 0,
  AON_END,         /* an iteration is over; not a failure, the error record stays untouched */
  AON_USAGE,       /* the caller asked for something that cannot be asked (unknown option, wrong state) */
  AON_REJECTED,    /* the content of an input is wrong; nothing was changed */
  AON_ENVIRONMENT, /* the machine refuses: no such file, no permission, disk full, missing key */
  AON_TRANSIENT,   /* proven not applied, may work later: busy, rate limit, serialization failure */
  AON_PERMANENT,   /* proven not applied, will never work: constraint, validation, changed_meanwhile */
  AON_UNKNOWN,     /* may or may not have been applied: must be resolved by asking the store */
  AON_BUSY,        /* another bulk operation holds what is needed (aon_error.held_by) */
  AON_FENCED,      /* this worker's lease, epoch or marker is no longer valid: it must stop */
  AON_CANCELLED,   /* a person or a signal asked to stop */
  AON_NO_MEMORY,
  AON_CORRUPT /* stored bytes do not have the form that we wrote */
} aon_result;

#define AON_NO_OPERATION (-1)

typedef struct aon_error {
  aon_result kind;
  int64_t native_code;  /* the store's own number (SQLite extended result code, errno), 0 if none */
  int64_t operation;    /* sequence of the operation, from 0, or AON_NO_OPERATION */
  char code[40];        /* stable, snake_case: duplicate, changed_meanwhile, disk_full, … (docs/troubleshooting.md) */
  char sentence[1200];  /* for a person: what is wrong, where, and what to do; never holds a sensitive value */
  char bulk_id[40];     /* "" if none */
  char held_by[80];     /* id of the bulk operation (or holder of a named lock) in the way, "" if none */
  char properties[256]; /* of the document that a store names as what it refuses, one per line: all of them, or "" */
} aon_error;

#define AON_ERROR_INIT                                                                                                                     \
  { .kind = AON_OK, .operation = AON_NO_OPERATION }

/* Fills *error (if not NULL) and returns kind, so that a failure is one statement. */
aon_result aon_fail(aon_error *error, aon_result kind, const char *code, const char *format, ...) __attribute__((format(printf, 4, 5)));
aon_result aon_fail_native(aon_error *error, aon_result kind, const char *code, int64_t native, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
aon_result aon_fail_memory(aon_error *error);

/* Puts text before the sentence that is there ("Users!B7: …"), keeping kind and code. */
void aon_error_prefix(aon_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Names the properties that the failure is about. Without room for all of them none is named: half would be taken for all. */
void aon_error_properties(aon_error *error, const char *const *names, size_t count);

const char *aon_result_name(aon_result result); /* "transient", … */

#ifdef __cplusplus
}
#endif
#endif
