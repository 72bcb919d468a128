/* Workbooks from the text of their parts (book.h), mostly one worksheet.
 *
 * Properties: the scanner of plain rows and the XML parser give the same cells or both refuse; a comment before the rows, so long
 * that they lie across the border of the reader's buffer, changes nothing; the reader's promises hold for each cell. */
#include <stdlib.h>
#include <string.h>

#include "sheet/xlsx_rows.h"
#include "two_readers.h"

static const char beginning[] = "<sheetData>";

/* The first worksheet with a long comment before <sheetData>, so that half of what follows lies before the end of the reader's first
 * buffer. */
static char *stretch(const book_part *part, size_t *ret_length) {
  static const char opening[] = "<!--", closing[] = "-->";
  const char *found = part->length ? memmem(part->text, part->length, beginning, sizeof beginning - 1) : NULL;
  if (!found)
    return NULL;
  size_t before = (size_t)(found - part->text), rest = part->length - before;
  size_t shown = before + sizeof opening + sizeof closing + sizeof beginning + (rest - sizeof beginning) / 2;
  if (shown >= AON_MIXED_BYTES)
    return NULL;
  size_t filling = AON_MIXED_BYTES - shown;
  char *text = malloc(part->length + filling + sizeof opening + sizeof closing), *at = text;
  if (!text)
    abort();
  at = (char *)mempcpy(at, part->text, before);
  at = (char *)mempcpy(at, opening, sizeof opening - 1);
  memset(at, 'x', filling);
  at = (char *)mempcpy(at + filling, closing, sizeof closing - 1);
  at = (char *)mempcpy(at, found, rest);
  *ret_length = (size_t)(at - text);
  return text;
}

static void read_stretched(const book *narrow, aon_result expected, const aon_buffer *lines) {
  book wide = *narrow;
  char *text = NULL;
  size_t length = 0;
  for (size_t i = 0; !text && i < wide.count; i++) {
    text = stretch(&wide.parts[i], &length);
    if (text) {
      wide.parts[i].text = text;
      wide.parts[i].length = length;
    }
  }
  if (!text)
    return;
  book_put("wide.xlsx", &wide);
  AON_BUFFER_CLEANUP aon_buffer again = {0};
  aon_error error;
  aon_result result = read_by_both("wide.xlsx", &again, &error);
  FUZZ_CHECK(result == expected, "behind a comment: %s", result ? error.sentence : "taken");
  FUZZ_CHECK(result || (again.length == lines->length && (!again.length || !memcmp(again.data, lines->data, again.length))),
             "behind a comment:\n%s\nwithout:\n%s", again.data, lines->data);
  free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  book input;
  book_parse(data, size, &input);
  book_put("in.xlsx", &input);
  AON_BUFFER_CLEANUP aon_buffer lines = {0};
  aon_error error;
  aon_result result = read_by_both("in.xlsx", &lines, &error);
  if (size % 4 == 0) /* it takes its time */
    read_stretched(&input, result, &lines);
  fuzz_world_clear();
  return 0;
}
