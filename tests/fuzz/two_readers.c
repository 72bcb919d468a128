/* See two_readers.h. */
#include "two_readers.h"

#include <string.h>

#include "sheet/xlsx_rows.h"

static bool careful;
static uint64_t taken, taken_strings; /* calls of the scanners that took something */

aon_plain __real_aon_xlsx_plain_rows(aon_xml *xml, char *bytes, size_t length, size_t *ret_used);
aon_plain __wrap_aon_xlsx_plain_rows(aon_xml *xml, char *bytes, size_t length, size_t *ret_used);
aon_plain __real_aon_xlsx_plain_strings(aon_xml *xml, char *bytes, size_t length, size_t *ret_used);
aon_plain __wrap_aon_xlsx_plain_strings(aon_xml *xml, char *bytes, size_t length, size_t *ret_used);

aon_plain __wrap_aon_xlsx_plain_rows(aon_xml *xml, char *bytes, size_t length, size_t *ret_used) {
  *ret_used = 0;
  if (careful)
    return AON_PLAIN_UNUSUAL;
  aon_plain result = __real_aon_xlsx_plain_rows(xml, bytes, length, ret_used);
  taken += *ret_used > 0;
  return result;
}

aon_plain __wrap_aon_xlsx_plain_strings(aon_xml *xml, char *bytes, size_t length, size_t *ret_used) {
  *ret_used = 0;
  if (careful)
    return AON_PLAIN_UNUSUAL;
  aon_plain result = __real_aon_xlsx_plain_strings(xml, bytes, length, ret_used);
  taken_strings += *ret_used > 0;
  return result;
}

/* Plain rows and strings must go through the scanners, or comparing would compare the parser with itself. */
int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc;
  (void)argv;
  book usual;
  book_parse((const uint8_t *)"", 0, &usual);
  book_put("check.xlsx", &usual);
  AON_BUFFER_CLEANUP aon_buffer lines = {0};
  aon_error error;
  FUZZ_CHECK(book_read("check.xlsx", &lines, &error) == AON_OK, "%s", error.sentence);
  FUZZ_CHECK(taken > 0, "the scanner of plain rows took nothing of %s", lines.data);
  FUZZ_CHECK(taken_strings > 0, "the scanner of plain strings took nothing of %s", lines.data);
  fuzz_world_clear();
  return 0;
}

static aon_result read_by(bool carefully, const char *path, aon_buffer *out, aon_error *error) {
  careful = carefully;
  aon_result result = book_read(path, out, error);
  careful = false;
  return result;
}

aon_result read_by_both(const char *path, aon_buffer *out, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer other = {0};
  aon_error why;
  aon_result first = read_by(false, path, out, error), second = read_by(true, path, &other, &why);
  FUZZ_CHECK(first == second, "scanner: %s; parser: %s", first ? error->sentence : "taken", second ? why.sentence : "taken");
  FUZZ_CHECK(first || (out->length == other.length && !memcmp(out->data ? out->data : "", other.data ? other.data : "", out->length)),
             "scanner:\n%s\nparser:\n%s", out->data, other.data);
  return first;
}
