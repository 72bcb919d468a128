/* Each limit of the reader is reached by its name, and what is just below it is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "make.h"

static void just_reached_and_passed(void **state) {
  static const struct {
    const char *data, *strings;
    aon_workbook_limits below, above;
    const char *words;
  } cases[] = {
      {"<row r='7'><c><v>1</v></c></row>", NULL, {.rows = 6}, {.rows = 7}, "“rows” allows (6)"},
      {"<row><c/></row><row/><row><c><v>1</v></c></row>", NULL, {.rows = 2}, {.rows = 3}, "“rows” allows (2)"},
      {"<row><c r='C1'><v>1</v></c></row>", NULL, {.columns = 2}, {.columns = 3}, "“columns” allows (2)"},
      {"<row><c/><c/></row><row><c/></row>", NULL, {.cells = 2}, {.cells = 3}, "“cells” allows (2)"},
      {"<row><c t='str'><v>abcde</v></c></row>", NULL, {.string_bytes = 4}, {.string_bytes = 5}, "“string_bytes” allows (4)"},
      {"<row><c t='inlineStr'><is><r><t>ab</t></r><r><t>cde</t></r></is></c></row>",
       NULL,
       {.string_bytes = 4},
       {.string_bytes = 5},
       "“string_bytes” allows (4)"},
      {"<row><c t='s'><v>0</v></c></row>",
       "<si><r><t>ab</t></r><r><t>cde</t></r></si>",
       {.string_bytes = 4},
       {.string_bytes = 5},
       "“string_bytes” allows (4)"},
      {"<row><c><v>1</v></c></row>", NULL, {.entries = 3}, {.entries = 4}, "“entries” allows (3)"},
      {"<row><c><v>1</v></c></row>", NULL, {.unpacked_bytes = 1000}, {.unpacked_bytes = 3000}, "“unpacked_bytes” allows (1,000)"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    made_book book = {.data = cases[i].data, .strings = cases[i].strings};
    test_scene *scene = *state;
    assert_refused(scene, read_made(scene, &book, &cases[i].below), cases[i].words);
    aon_result result = read_made(scene, &book, &cases[i].above);
    if (result)
      fail_msg("%zu: %s", i, scene->error.sentence);
  }
}

static char *repeated(const char *before, const char *text, size_t count, const char *after) {
  size_t length = strlen(text), head = strlen(before);
  char *made = malloc(head + length * count + strlen(after) + 1), *at = made + head;
  memcpy(made, before, head);
  for (size_t i = 0; i < count; i++, at += length)
    memcpy(at, text, length);
  strcpy(at, after);
  return made;
}

static void expect_refusal(test_scene *scene, const made_book *book, const aon_workbook_limits *limits, const char *words) {
  assert_refused(scene, read_made(scene, book, limits), words);
}

/* 40 MB of blanks in some kilobytes of zip: stopped while it is inflated. */
static void bomb(void **state) {
  char *data = repeated("", "                    ", 2000000, "");
  aon_workbook_limits limits = {.unpacked_bytes = 1000000};
  expect_refusal(*state, &(made_book){.data = data}, &limits, "“unpacked_bytes” allows (1,000,000)");
  free(data);
}

static void row_bytes(void **state) {
  char *field = repeated("<c t='str'><v>", "x", 100000, "</v></c>"), *data = repeated("<row>", field, 700, "</row>");
  expect_refusal(*state, &(made_book){.data = data}, NULL, "“row_bytes” allows (67,108,864)");
  free(data);
  free(field);
  char *strings = repeated("<si><t>", "x", 100000, "</t></si>");
  data = repeated("<row>", "<c t='s'><v>0</v></c>", 700, "</row>");
  made_book book = {.data = data, .strings = strings};
  expect_refusal(*state, &book, &(aon_workbook_limits){.strings_memory_bytes = 1}, "“row_bytes” allows (67,108,864)");
  free(data);
  free(strings);
}

static void styles(void **state) {
  char *styles = repeated("<cellXfs>", "<xf/>", (1 << 20) + 1, "</cellXfs>");
  expect_refusal(*state, &(made_book){.data = "", .styles = styles}, NULL, "“styles” allows (1,048,576)");
  free(styles);
  styles = repeated("<numFmts>", "<numFmt/>", 65537, "</numFmts>");
  expect_refusal(*state, &(made_book){.data = "", .styles = styles}, NULL, "“number_formats” allows (65,536)");
  free(styles);
}

static void metadata_bytes(void **state) {
  test_scene *scene = *state;
  char *one = repeated("<Relationship Id='", "x", 5000000, "'/>"), *all = repeated("<Relationships>", one, 4, "</Relationships>");
  place_path(scene, "made.xlsx");
  make_zip(scene->path, &(made_part){"_rels/.rels", all}, 1);
  assert_refused(scene, read_book(scene, scene->path, NULL), "“metadata_bytes” allows (16,777,216)");
  free(one);
  free(all);
}

/* A sheet element needs no part of its own: many may name the same one. */
static void sheets(void **state) {
  char *workbook = malloc(3000000), *at = workbook;
  at += sprintf(at, "<workbook xmlns:r='r'><sheets>");
  for (int i = 0; i <= 10000; i++)
    at += sprintf(at, "<sheet name='sheet %d' r:id='s1'/>", i);
  sprintf(at, "</sheets></workbook>");
  expect_refusal(*state, &(made_book){.workbook = workbook}, NULL, "“entries” allows (10,000)");
  free(workbook);
}

/* What the XML library bounds itself: depth, and the length of one name or attribute. */
static void xml_bounds(void **state) {
  char *data = repeated("", "<x>", 300, "");
  expect_refusal(*state, &(made_book){.data = data}, NULL, "no proper XML");
  free(data);
  data = repeated("<row spans='", "x", 11000000, "'/>");
  expect_refusal(*state, &(made_book){.data = data}, NULL, "no proper XML");
  free(data);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(just_reached_and_passed), cmocka_unit_test(bomb),   cmocka_unit_test(row_bytes), cmocka_unit_test(styles),
      cmocka_unit_test(metadata_bytes),          cmocka_unit_test(sheets), cmocka_unit_test(xml_bounds)};
  return cmocka_run_group_tests(tests, place_open, place_close);
}
