/* A sink takes the bytes of one part of a report and remembers the first failure.
 *
 * Invariant: after a failure nothing more is written, and aon_sink_end tells it. So whoever writes markup writes it line by line and
 * asks once at the end. */
#ifndef AON_SHEET_REPORT_SINK_H
#define AON_SHEET_REPORT_SINK_H

#include <stdint.h>

#include "aon/document.h"
#include "base/buffer.h"

#define AON_SINK_CHARACTERS ((size_t)32767) /* most that Excel takes in a cell or a note, in UTF-16 units */

typedef struct aon_sink {
  aon_result (*write)(void *context, const void *bytes, size_t length, aon_error *error);
  void *context;
  aon_result result;
  aon_error error;
} aon_sink;

aon_sink aon_sink_to_buffer(aon_buffer *buffer);
void aon_sink_put(aon_sink *sink, const void *bytes, size_t length);
void aon_sink_text(aon_sink *sink, const char *text);
void aon_sink_format(aon_sink *sink, const char *format, ...) __attribute__((format(printf, 2, 3)));
void aon_sink_fail(aon_sink *sink, aon_result result, const aon_error *error);

/* Text as element content or attribute value: markup escaped, what XML can't hold as _xHHHH_ (ECMA-376 part 1, 22.9.2.19), broken
 * UTF-8 as U+FFFD, cut after AON_SINK_CHARACTERS with an ellipsis. */
void aon_sink_escape(aon_sink *sink, const char *text);
/* The same with every line break as one blank. */
void aon_sink_escape_line(aon_sink *sink, const char *text);

size_t aon_character_put(uint32_t character, char out[4]); /* as UTF-8; gives its length */

aon_result aon_sink_end(aon_sink *sink, aon_error *error) AON_MUST_USE;
#endif
