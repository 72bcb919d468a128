/* .csv files, beside a reader of our own that has the whole text before it.
 *
 * Properties: as one file of a folder, as one file of a zip, and with a long first record before it (so that it lies across the border of
 * the reader's buffer), the text gives the cells that RFC 4180 and the head of src/sheet/csv.c give it, or is refused by all alike. */
#include <bson/bson.h>
#include <stdlib.h>
#include <string.h>

#include "book.h"
#include "model/document.h"

#define CHUNK_BYTES 65536 /* of src/sheet/csv.c */
#define COLUMNS_MAX 16384
#define CELL_BYTES_MAX 131072

typedef struct text_reader {
  const char *at, *end;
  char separator;
  aon_buffer field;
} text_reader;

static char separator_of(const char *at, const char *end) {
  size_t commas = 0, semicolons = 0, tabs = 0;
  bool quoted = false;
  for (; at < end && (quoted || (*at != '\n' && *at != '\r')); at++) {
    quoted ^= *at == '"';
    commas += !quoted && *at == ',';
    semicolons += !quoted && *at == ';';
    tabs += !quoted && *at == '\t';
  }
  return tabs > commas && tabs > semicolons ? '\t' : semicolons > commas ? ';' : ',';
}

static void put(aon_buffer *out, const char *bytes, size_t length) {
  FUZZ_CHECK(aon_buffer_append(out, bytes, length, NULL) == AON_OK, "memory");
}

static bool at_line_end(const text_reader *reader) { return *reader->at == '\n' || *reader->at == '\r'; }

static void skip_line_end(text_reader *reader) {
  reader->at += *reader->at == '\r' && reader->at + 1 < reader->end && reader->at[1] == '\n';
  reader->at++;
}

/* false: refused. */
static bool read_quoted(text_reader *reader) {
  for (reader->at++; reader->at < reader->end;) {
    if (at_line_end(reader)) {
      skip_line_end(reader);
      put(&reader->field, "\n", 1);
    } else if (*reader->at != '"') {
      put(&reader->field, reader->at++, 1);
    } else if (reader->at + 1 < reader->end && reader->at[1] == '"') {
      put(&reader->field, "\"", 1);
      reader->at += 2;
    } else {
      reader->at++;
      return reader->at == reader->end || at_line_end(reader) || *reader->at == reader->separator;
    }
  }
  return false;
}

static bool read_field(text_reader *reader) {
  aon_buffer_clear(&reader->field);
  if (reader->at < reader->end && *reader->at == '"') {
    if (!read_quoted(reader))
      return false;
  } else {
    const char *start = reader->at;
    while (reader->at < reader->end && !at_line_end(reader) && *reader->at != reader->separator)
      reader->at++;
    put(&reader->field, start, (size_t)(reader->at - start));
  }
  return reader->field.length <= CELL_BYTES_MAX &&
         bson_utf8_validate(reader->field.data ? reader->field.data : "", reader->field.length, false);
}

/* One record as book_read writes rows; nothing where all fields are empty. */
static bool read_record(text_reader *reader, size_t number, aon_buffer *out) {
  size_t start = out->length, column = 1, cells = 0;
  FUZZ_CHECK(aon_buffer_format(out, NULL, "{\"sheet\":\"S\",\"state\":\"visible\",\"row\":%zu,\"cells\":[", number) == AON_OK, "memory");
  for (;; column++, reader->at++) {
    if (column > COLUMNS_MAX || !read_field(reader))
      return false;
    if (reader->field.length) {
      FUZZ_CHECK(aon_buffer_format(out, NULL, "%s[%zu,\"s\",", cells++ ? "," : "", column) == AON_OK, "memory");
      FUZZ_CHECK(aon_text_to_json(reader->field.data, reader->field.length, out, NULL) == AON_OK, "memory");
      put(out, "]", 1);
    }
    if (reader->at == reader->end || *reader->at != reader->separator)
      break;
  }
  if (reader->at < reader->end)
    skip_line_end(reader);
  put(out, "]}\n", 3);
  if (!cells)
    out->data[out->length = start] = 0;
  return true;
}

/* first: the number of its first record. */
static bool read_text(const char *text, size_t length, char separator, size_t first, aon_buffer *out) {
  text_reader reader = {.at = text, .end = text + length, .separator = separator};
  bool good = true;
  for (size_t number = first; good && reader.at < reader.end; number++)
    good = read_record(&reader, number, out);
  aon_buffer_release(&reader.field);
  return good;
}

static void check(const char *path, bool expected, const char *lines, size_t length) {
  AON_BUFFER_CLEANUP aon_buffer read = {0};
  aon_error error;
  aon_result result = book_read(path, &read, &error);
  FUZZ_CHECK((result == AON_OK) == expected, "%s: %s", path, result ? error.sentence : "taken");
  if (!expected)
    return;
  FUZZ_CHECK(read.length >= length && !memcmp(read.data + read.length - length, lines, length), "%s:\n%s\nexpected:\n%s", path, read.data,
             lines);
}

/* Behind one record of one long field and one empty one. */
static void check_far(const char *text, size_t length, char separator) {
  AON_BUFFER_CLEANUP aon_buffer far = {0};
  AON_BUFFER_CLEANUP aon_buffer lines = {0};
  size_t before = CHUNK_BYTES - 2 - (length / 2 < 1024 ? length / 2 : 1024);
  char *filling = malloc(before);
  if (!filling)
    abort();
  memset(filling, 'x', before);
  put(&far, filling, before);
  put(&far, (char[]){separator, '\n'}, 2);
  put(&far, text, length);
  free(filling);
  fuzz_file_put("far/S.csv", far.data, far.length);
  bool expected = read_text(text, length, separator, 2, &lines);
  check("far", expected, lines.data ? lines.data : "", lines.length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *text = (const char *)data;
  book zip = {.parts = {{"S.csv", 5, text, size}}, .count = 1};
  AON_BUFFER_CLEANUP aon_buffer lines = {0};
  bool utf16 = size >= 2 && (!memcmp(text, "\xff\xfe", 2) || !memcmp(text, "\xfe\xff", 2));
  size_t mark = size >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0;
  char separator = separator_of(text + mark, text + size);
  put(&lines, "sheet S\n", 8);
  bool expected = !utf16 && read_text(text + mark, size - mark, separator, 1, &lines);
  fuzz_file_put("folder/S.csv", data, size);
  book_put("in.zip", &zip);
  check("folder", expected, lines.data, lines.length);
  if (!size || !memmem(text, size, "PK\5\6", 4)) /* a second end of the zip's directory: refused whatever it says */
    check("in.zip", expected, lines.data, lines.length);
  if (size % 4 == 0) /* it takes its time */
    check_far(text, size, separator);
  fuzz_world_clear();
  return 0;
}
