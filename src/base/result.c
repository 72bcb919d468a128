/* Error records. Invariants: a record is filled whole or not at all; a sentence is UTF-8, whatever it quotes, since it goes out as JSON. */
#include "aon/result.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

static void fill(aon_error *error, aon_result kind, const char *code, int64_t native, const char *format, va_list arguments) {
  if (!error)
    return;
  /* The sentence may quote the old one, so it is formatted aside. */
  char sentence[sizeof error->sentence];
  utf8_mend(sentence, vsnprintf(sentence, sizeof sentence, format, arguments) >= (int)sizeof sentence);
  *error = (aon_error)AON_ERROR_INIT;
  error->kind = kind;
  error->native_code = native;
  snprintf(error->code, sizeof error->code, "%s", code);
  memcpy(error->sentence, sentence, sizeof sentence);
}

aon_result aon_fail(aon_error *error, aon_result kind, const char *code, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fill(error, kind, code, 0, format, arguments);
  va_end(arguments);
  return kind;
}

aon_result aon_fail_native(aon_error *error, aon_result kind, const char *code, int64_t native, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fill(error, kind, code, native, format, arguments);
  va_end(arguments);
  return kind;
}

aon_result aon_fail_memory(aon_error *error) {
  return aon_fail(error, AON_NO_MEMORY, "no_memory", "The machine has no memory left for this; nothing more was done.");
}

void aon_error_prefix(aon_error *error, const char *format, ...) {
  if (!error)
    return;
  char sentence[2 * sizeof error->sentence];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(sentence, sizeof error->sentence, format, arguments);
  va_end(arguments);
  if (length < 0)
    return;
  if ((size_t)length >= sizeof error->sentence)
    length = sizeof error->sentence - 1;
  length += snprintf(sentence + length, sizeof sentence - (size_t)length, "%s", error->sentence);
  snprintf(error->sentence, sizeof error->sentence, "%.*s", (int)sizeof error->sentence - 1, sentence);
  utf8_mend(error->sentence, length >= (int)sizeof error->sentence);
}

void aon_error_properties(aon_error *error, const char *const *names, size_t count) {
  size_t length = 0;
  if (!error)
    return;
  for (size_t i = 0; i < count; i++) {
    size_t more = strlen(names[i]);
    bool fits = more && !strchr(names[i], '\n') && length + more + 2 < sizeof error->properties;
    if (fits)
      length += (size_t)snprintf(error->properties + length, sizeof error->properties - length, "%s%s", i ? "\n" : "", names[i]);
    else
      count = length = 0;
  }
  error->properties[length] = 0;
}

const char *aon_result_name(aon_result result) {
  static const char *const names[] = {[AON_OK] = "ok",
                                      [AON_END] = "end",
                                      [AON_USAGE] = "usage",
                                      [AON_REJECTED] = "rejected",
                                      [AON_ENVIRONMENT] = "environment",
                                      [AON_TRANSIENT] = "transient",
                                      [AON_PERMANENT] = "permanent",
                                      [AON_UNKNOWN] = "unknown",
                                      [AON_BUSY] = "busy",
                                      [AON_FENCED] = "fenced",
                                      [AON_CANCELLED] = "cancelled",
                                      [AON_NO_MEMORY] = "no_memory",
                                      [AON_CORRUPT] = "corrupt"};
  return (size_t)result < sizeof names / sizeof *names ? names[result] : "invalid";
}
