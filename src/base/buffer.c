/* Buffer: grows by doubling, never beyond its limit. */
#include "base/buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

aon_result aon_buffer_reserve(aon_buffer *buffer, size_t more, aon_error *error) {
  size_t limit = buffer->limit ? buffer->limit : AON_BUFFER_LIMIT;
  if (more > limit || buffer->length > limit - more)
    return aon_fail(error, AON_PERMANENT, "too_long", "A value is longer than the limit of %zu bytes.", limit);
  size_t need = buffer->length + more + 1;
  if (need <= buffer->capacity)
    return AON_OK;
  size_t capacity = buffer->capacity ? buffer->capacity : 64;
  while (capacity < need)
    capacity *= 2;
  char *data = realloc(buffer->data, capacity);
  if (!data)
    return aon_fail_memory(error);
  buffer->data = data;
  buffer->capacity = capacity;
  data[buffer->length] = 0;
  return AON_OK;
}

aon_result aon_buffer_append(aon_buffer *buffer, const void *bytes, size_t length, aon_error *error) {
  aon_result result = aon_buffer_reserve(buffer, length, error);
  if (result)
    return result;
  if (length)
    memcpy(buffer->data + buffer->length, bytes, length);
  buffer->length += length;
  buffer->data[buffer->length] = 0;
  return AON_OK;
}

aon_result aon_buffer_text(aon_buffer *buffer, const char *text, aon_error *error) {
  return aon_buffer_append(buffer, text, strlen(text), error);
}

aon_result aon_buffer_format(aon_buffer *buffer, aon_error *error, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  if (length < 0)
    return aon_fail(error, AON_USAGE, "bad_format", "A text could not be formatted.");
  aon_result result = aon_buffer_reserve(buffer, (size_t)length, error);
  if (result)
    return result;
  va_start(arguments, format);
  vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, arguments);
  va_end(arguments);
  buffer->length += (size_t)length;
  return AON_OK;
}

void aon_buffer_clear(aon_buffer *buffer) {
  buffer->length = 0;
  if (buffer->data)
    buffer->data[0] = 0;
}

void aon_buffer_release(aon_buffer *buffer) {
  free(buffer->data);
  *buffer = (aon_buffer){.limit = buffer->limit};
}
