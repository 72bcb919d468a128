/* The marked workbook that people get back, made from arbitrary workbooks (book.h) with faults in fixed places; the part "sentence" of the
 * input is what is said about them.
 *
 * Properties: a report is always written; our own reader opens it; its first sheet lists the errors; where the upload could be read, the
 * other sheets have the same names, states and cells as before, unless its content types are no XML: then no program opens it, and the
 * list alone will do. */
#include <libxml/parser.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "book.h"
#include "sheet/report.h"

static char *sentence_of(const book *input) {
  for (size_t i = 0; i < input->count; i++)
    if (input->parts[i].name_length == 8 && !memcmp(input->parts[i].name, "sentence", 8))
      return fuzz_copy(input->parts[i].text, input->parts[i].length);
  return fuzz_copy("S!A1: “x” is wrong.", strlen("S!A1: “x” is wrong."));
}

static void write_report(const char *sentence) {
  const aon_problem errors[] = {
      {.sheet = "S", .row = 1, .column = 1, .heading = "A", .value = "x", .code = "bad_type", .sentence = sentence},
      {.sheet = "S", .row = 1, .column = 2, .code = "required", .sentence = "S!B1: needed."},
      {.sheet = "S", .row = 3, .column = 1, .heading = sentence, .value = sentence, .code = "bad_format", .sentence = sentence},
      {.sheet = "S", .row = 1000, .column = 26, .code = "too_long", .sentence = "S!Z1000: long."},
      {.sheet = "S", .code = "unknown_column", .sentence = "S: as a whole."},
      {.sheet = "Nowhere", .row = 2, .column = 2, .code = "unknown_sheet", .sentence = "Nowhere!B2: there is no such sheet."},
      {.code = "bad_file", .sentence = "The file as a whole."}};
  const aon_problem warnings[] = {
      {.severity = AON_PROBLEM_WARNING, .sheet = "S", .row = 2, .column = 1, .code = "w", .sentence = sentence}};
  aon_error error = AON_ERROR_INIT;
  aon_result result =
      aon_report_write(fuzz_world(), "in.xlsx", "report.xlsx", NULL, errors, sizeof errors / sizeof *errors, warnings, 1, 3, &error);
  FUZZ_CHECK(result == AON_OK, "%s: %s", aon_result_name(result), error.sentence);
  size_t length;
  FUZZ_CHECK(!fuzz_file("report.xlsx.part", &length), "half a report is left behind");
}

static bool types_damaged(const book *input) {
  static const char name[] = "[Content_Types].xml";
  bool damaged = false;
  for (size_t i = 0; i < input->count; i++) {
    const book_part *part = &input->parts[i];
    if (part->name_length != sizeof name - 1 || strncasecmp(part->name, name, part->name_length))
      continue;
    xmlDocPtr read = xmlReadMemory(part->text, (int)part->length, NULL, NULL, XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_NONET);
    damaged = damaged || !read;
    xmlFreeDoc(read);
  }
  return damaged;
}

/* From the second sheet on; NULL: there is none. */
static const char *others(const char *lines) {
  for (const char *at = strchr(lines, '\n'); at; at = strchr(at + 1, '\n'))
    if (!strncmp(at + 1, "sheet ", 6))
      return at + 1;
  return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  book input;
  book_parse(data, size, &input);
  char *sentence = sentence_of(&input);
  book_put("in.xlsx", &input);
  AON_BUFFER_CLEANUP aon_buffer before = {0};
  AON_BUFFER_CLEANUP aon_buffer after = {0};
  aon_error error;
  aon_result read = book_read("in.xlsx", &before, &error);
  bool report_itself = before.length && strstr(before.data, "sheet " AON_REPORT_SHEET); /* a report uploaded again: its list is made anew */
  write_report(sentence);
  aon_result result = book_read("report.xlsx", &after, &error);
  FUZZ_CHECK(!read <= !result, "a report of a workbook that could be read: %s", error.sentence);
  if (!result)
    FUZZ_CHECK(after.length && !strncmp(after.data, "sheet " AON_REPORT_SHEET, strlen("sheet " AON_REPORT_SHEET)), "%s", after.data);
  if (!read && !report_itself) {
    const char *rest = others(after.data);
    FUZZ_CHECK((!rest && types_damaged(&input)) || (rest && !strcmp(rest, before.data)), "uploaded:\n%s\nreport:\n%s", before.data,
               after.data);
  }
  free(sentence);
  fuzz_world_clear();
  return 0;
}
