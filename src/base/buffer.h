/* Buffer: bytes that grow up to a limit that its owner names.
 * Invariant: data[length] == 0 whenever data is not NULL, so a buffer of text is a C string. */
#ifndef AON_BASE_BUFFER_H
#define AON_BASE_BUFFER_H

#include <stdarg.h>
#include <stddef.h>

#include "aon/result.h"

typedef struct aon_buffer {
  char *data;
  size_t length, capacity;
  size_t limit; /* bytes; 0 means AON_BUFFER_LIMIT */
} aon_buffer;

#define AON_BUFFER_LIMIT ((size_t)1 << 30)

/* All return AON_OK, AON_NO_MEMORY, or AON_PERMANENT with code too_long when the limit is reached (buffer unchanged). */
aon_result aon_buffer_append(aon_buffer *buffer, const void *bytes, size_t length, aon_error *error) AON_MUST_USE;
aon_result aon_buffer_text(aon_buffer *buffer, const char *text, aon_error *error) AON_MUST_USE;
aon_result aon_buffer_format(aon_buffer *buffer, aon_error *error, const char *format, ...) AON_MUST_USE
    __attribute__((format(printf, 3, 4)));
aon_result aon_buffer_reserve(aon_buffer *buffer, size_t more, aon_error *error) AON_MUST_USE;
void aon_buffer_clear(aon_buffer *buffer);   /* length 0, memory kept */
void aon_buffer_release(aon_buffer *buffer); /* memory given back */

#define AON_BUFFER_CLEANUP __attribute__((cleanup(aon_buffer_release)))
#endif
