/* Sinks: where the markup of a report goes, and how text becomes markup.
 * Invariant: the first failure stays; nothing is written after it. */
#include "sheet/report_sink.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT_BYTES 1024 /* longest formatted piece that needs no memory of its own */
#define PIECE_BYTES 4096

static aon_result buffer_write(void *context, const void *bytes, size_t length, aon_error *error) {
  return aon_buffer_append(context, bytes, length, error);
}

aon_sink aon_sink_to_buffer(aon_buffer *buffer) { return (aon_sink){.write = buffer_write, .context = buffer, .error = AON_ERROR_INIT}; }

void aon_sink_put(aon_sink *sink, const void *bytes, size_t length) {
  if (!sink->result && length)
    sink->result = sink->write(sink->context, bytes, length, &sink->error);
}

void aon_sink_text(aon_sink *sink, const char *text) { aon_sink_put(sink, text, strlen(text)); }

void aon_sink_fail(aon_sink *sink, aon_result result, const aon_error *error) {
  if (sink->result || !result)
    return;
  sink->result = result;
  sink->error = *error;
}

void aon_sink_format(aon_sink *sink, const char *format, ...) {
  char piece[FORMAT_BYTES];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(piece, sizeof piece, format, arguments);
  va_end(arguments);
  if (length >= 0 && (size_t)length < sizeof piece) {
    aon_sink_put(sink, piece, (size_t)length);
    return;
  }
  char *whole = NULL;
  va_start(arguments, format);
  length = vasprintf(&whole, format, arguments);
  va_end(arguments);
  if (length >= 0) {
    aon_sink_put(sink, whole, (size_t)length);
    free(whole);
    return;
  }
  aon_error error = AON_ERROR_INIT;
  aon_sink_fail(sink, aon_fail_memory(&error), &error);
}

/* One character of text at *at; broken UTF-8 (RFC 3629) gives U+FFFD and one byte of progress. */
static uint32_t character_next(const unsigned char **at) {
  const unsigned char *text = *at;
  uint32_t first = text[0];
  size_t more = first < 0x80                    ? 0
                : first >= 0xC2 && first < 0xE0 ? 1
                : first >= 0xE0 && first < 0xF0 ? 2
                : first >= 0xF0 && first < 0xF5 ? 3
                                                : 9;
  *at = text + 1;
  if (more == 0)
    return first;
  if (more == 9)
    return 0xFFFD;
  uint32_t value = first & (0x3Fu >> more);
  for (size_t i = 1; i <= more; i++) {
    if ((text[i] & 0xC0) != 0x80)
      return 0xFFFD;
    value = value << 6 | (text[i] & 0x3F);
  }
  static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
  if (value < least[more] || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
    return 0xFFFD;
  *at = text + more + 1;
  return value;
}

/* "_x0041_" in the text itself would be read as "A", so its underscore is escaped. */
static bool looks_escaped(const unsigned char *at) {
  if (at[0] != '_' || at[1] != 'x')
    return false;
  for (int i = 2; i < 6; i++) {
    unsigned char c = at[i];
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')))
      return false;
  }
  return at[6] == '_';
}

size_t aon_character_put(uint32_t c, char out[4]) {
  if (c < 0x80)
    return out[0] = (char)c, 1;
  if (c < 0x800)
    return out[0] = (char)(0xC0 | c >> 6), out[1] = (char)(0x80 | (c & 0x3F)), 2;
  if (c < 0x10000)
    return out[0] = (char)(0xE0 | c >> 12), out[1] = (char)(0x80 | (c >> 6 & 0x3F)), out[2] = (char)(0x80 | (c & 0x3F)), 3;
  out[0] = (char)(0xF0 | c >> 18);
  out[1] = (char)(0x80 | (c >> 12 & 0x3F));
  out[2] = (char)(0x80 | (c >> 6 & 0x3F));
  out[3] = (char)(0x80 | (c & 0x3F));
  return 4;
}

static size_t character_put(uint32_t c, bool escaped, char *out) {
  if (escaped)
    return (size_t)sprintf(out, "_x005F_");
  switch (c) {
  case '&':
    return (size_t)sprintf(out, "&amp;");
  case '<':
    return (size_t)sprintf(out, "&lt;");
  case '>':
    return (size_t)sprintf(out, "&gt;");
  case '"':
    return (size_t)sprintf(out, "&quot;");
  default:
    break;
  }
  if ((c < 0x20 && c != '\t' && c != '\n') || c == 0xFFFE || c == 0xFFFF)
    return (size_t)sprintf(out, "_x%04X_", (unsigned)c);
  return aon_character_put(c, out);
}

static void escape(aon_sink *sink, const char *text, bool line) {
  const unsigned char *at = (const unsigned char *)text;
  char piece[PIECE_BYTES];
  size_t used = 0, characters = 0;
  while (*at) {
    bool escaped = looks_escaped(at);
    uint32_t c = character_next(&at);
    size_t width = escaped ? 7 : c >= 0x10000 ? 2 : c < 0x20 && c != '\n' && c != '\t' ? 7 : 1;
    if (characters + width >= AON_SINK_CHARACTERS) {
      c = 0x2026;
      escaped = false;
      at = (const unsigned char *)"";
    }
    if (line && (c == '\n' || c == '\r' || c == '\t'))
      c = ' ';
    used += character_put(c, escaped, piece + used);
    characters += width;
    if (used > sizeof piece - 16) {
      aon_sink_put(sink, piece, used);
      used = 0;
    }
  }
  aon_sink_put(sink, piece, used);
}

void aon_sink_escape(aon_sink *sink, const char *text) { escape(sink, text, false); }

void aon_sink_escape_line(aon_sink *sink, const char *text) { escape(sink, text, true); }

aon_result aon_sink_end(aon_sink *sink, aon_error *error) {
  if (sink->result && error)
    *error = sink->error;
  return sink->result;
}
