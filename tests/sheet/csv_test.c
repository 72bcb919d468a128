/* Workbooks of .csv files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "make.h"

#define ROW(number, cells) "{\"sheet\":\"S\",\"state\":\"visible\",\"row\":" #number ",\"cells\":[" cells "]}\n"

static aon_result read_csv(test_scene *scene, const char *text, size_t length, const aon_workbook_limits *limits) {
  place_path(scene, "made.zip");
  make_zip(scene->path, &(made_part){"S.csv", text, length}, 1);
  return read_book(scene, scene->path, limits);
}

static void texts(void **state) {
  static const struct {
    const char *text, *lines;
  } cases[] = {
      {"a,b\n1,2\n", ROW(1, "[1,\"s\",\"a\"],[2,\"s\",\"b\"]") ROW(2, "[1,\"s\",\"1\"],[2,\"s\",\"2\"]")},
      {"\xef\xbb\xbf"
       "a;b,c\r\n1;2",
       ROW(1, "[1,\"s\",\"a;b\"],[2,\"s\",\"c\"]") ROW(2, "[1,\"s\",\"1;2\"]")}, /* as many of each: comma */
      {"a;b;c,d\r1;;2\r", ROW(1, "[1,\"s\",\"a\"],[2,\"s\",\"b\"],[3,\"s\",\"c,d\"]") ROW(2, "[1,\"s\",\"1\"],[3,\"s\",\"2\"]")},
      {"a\tb\tc;\n\n\t\t x \n", ROW(1, "[1,\"s\",\"a\"],[2,\"s\",\"b\"],[3,\"s\",\"c;\"]") ROW(3, "[3,\"s\",\" x \"]")},
      {"\"a;;;;\",b\n", ROW(1, "[1,\"s\",\"a;;;;\"],[2,\"s\",\"b\"]")},
      {"\"a \"\"q\"\"\",\"two\r\nlines\",\"\"\nx", ROW(1, "[1,\"s\",\"a \\\"q\\\"\"],[2,\"s\",\"two\\nlines\"]") ROW(2, "[1,\"s\",\"x\"]")},
      {"5\" pipe,b\"\"\n", ROW(1, "[1,\"s\",\"5\\\" pipe\"],[2,\"s\",\"b\\\"\\\"\"]")},
      {"\xc3\xa4\xf0\x9f\x98\x80", ROW(1, "[1,\"s\",\"\xc3\xa4\xf0\x9f\x98\x80\"]")},
      {"\n\n\n", ""},
      {",,\n", ""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    aon_result result = read_csv(*state, cases[i].text, 0, NULL);
    if (result)
      fail_msg("%zu: %s", i, ((test_scene *)*state)->error.sentence);
    assert_string_equal(((test_scene *)*state)->lines, cases[i].lines);
  }
}

static void refusals(void **state) {
  static const struct {
    const char *text;
    size_t length;
    const char *words;
  } cases[] = {
      {"a,b\n\"x\n\ny", 0, "S.csv, line 2: A quote is opened here and never closed"},
      {"a,b\n\"x\ny\"z,1\n", 0, "S.csv, line 3: Something stands after a closing quote"},
      {"a,b\n1,\xe4\n", 0, "S.csv, line 2: This is not UTF-8 text"},
      {"a,b\n1,\xed\xa0\x80\n", 0, "S.csv, line 2: This is not UTF-8 text"},
      {"a,b\n1,x\0y\n", 9, "S.csv, line 2: This is not UTF-8 text"},
      {"\xff\xfe"
       "a\0,\0b\0\n\0",
       10, "S.csv is UTF-16 text"},
      {"\xfe\xff\0a\0,\0b\0\n", 10, "S.csv is UTF-16 text"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_refused(*state, read_csv(*state, cases[i].text, cases[i].length, NULL), cases[i].words);
}

static void limits(void **state) {
  static const struct {
    aon_workbook_limits limits;
    const char *words;
  } cases[] = {
      {{.rows = 2}, "“rows” allows (2)"},
      {{.columns = 2}, "“columns” allows (2)"},
      {{.cells = 6}, "“cells” allows (6)"},
      {{.string_bytes = 4}, "“string_bytes” allows (4)"},
      {{.unpacked_bytes = 20}, "“unpacked_bytes” allows (20)"},
  };
  static const char text[] = "a,b,c\nd,\"e\"\"fgh\",\ni,j,k\n";
  assert_int_equal(read_csv(*state, text, 0, NULL), AON_OK);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_refused(*state, read_csv(*state, text, 0, &cases[i].limits), cases[i].words);
  aon_workbook_limits enough = {.rows = 3, .columns = 3, .cells = 9, .string_bytes = 5, .unpacked_bytes = sizeof text - 1};
  assert_int_equal(read_csv(*state, text, 0, &enough), AON_OK);
}

/* One record with more text than AON_LIMIT_ROW_BYTES, in fields that are each short enough. */
static void row_bytes(void **state) {
  const size_t field = 100000, count = 700;
  char *text = malloc((field + 1) * count);
  memset(text, 'x', (field + 1) * count);
  for (size_t i = 1; i <= count; i++)
    text[i * (field + 1) - 1] = ',';
  assert_refused(*state, read_csv(*state, text, (field + 1) * count, NULL), "“row_bytes” allows (67,108,864)");
  free(text);
}

/* Quotes, line ends and separators on both sides of the reader's chunks. */
static void long_files(void **state) {
  test_scene *scene = *state;
  char *text = malloc(2000000), *at = text;
  for (int i = 1; i <= 20000; i++)
    at += sprintf(at, "%d,\"q \"\"%d\"\"\r\nsecond\",%.*s\r\n", i, i, i % 50, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
  assert_int_equal(read_csv(scene, text, (size_t)(at - text), NULL), AON_OK);
  char *line = scene->lines, expected[256];
  for (int i = 1; i <= 20000; i++) {
    int length =
        snprintf(expected, sizeof expected,
                 "{\"sheet\":\"S\",\"state\":\"visible\",\"row\":%d,\"cells\":[[1,\"s\",\"%d\"],[2,\"s\",\"q \\\"%d\\\"\\nsecond\"]%s", i,
                 i, i, i % 50 ? ",[3" : "]}\n");
    assert_memory_equal(line, expected, (size_t)length);
    line = strchr(line, '\n') + 1;
  }
  assert_string_equal(line, "");
  free(text);
}

static void folders_and_zips(void **state) {
  test_scene *scene = *state;
  static const char both[] = "{\"sheet\":\"Sites\",\"state\":\"visible\",\"row\":1,\"cells\":[[1,\"s\",\"s\"]]}\n"
                             "{\"sheet\":\"Users\",\"state\":\"visible\",\"row\":1,\"cells\":[[1,\"s\",\"u\"]]}\n";
  char folder[600], path[700];
  snprintf(folder, sizeof folder, "%s/folder", scene->folder);
  assert_int_equal(mkdir(folder, 0700), 0);
  assert_refused(scene, read_book(scene, folder, NULL), "no .csv files");
  snprintf(path, sizeof path, "%s/a.xlsx", folder);
  make_file(path, "x", 1);
  assert_refused(scene, read_book(scene, folder, NULL), "holds the workbook “a.xlsx”");
  snprintf(path, sizeof path, "%s/Users.csv", folder);
  make_file(path, "u", 1);
  snprintf(path, sizeof path, "%s/Sites.CSV", folder);
  make_file(path, "s", 1);
  snprintf(path, sizeof path, "%s/.hidden.csv", folder);
  make_file(path, "h", 1);
  assert_int_equal(read_book(scene, folder, NULL), AON_OK);
  assert_string_equal(scene->lines, both);
  assert_refused(scene, read_book(scene, path, NULL), "single .csv file");
  assert_refused(scene, read_book(scene, folder, &(aon_workbook_limits){.entries = 3}), "“entries” allows (3)");
  assert_refused(scene, read_book(scene, folder, &(aon_workbook_limits){.unpacked_bytes = 1}), "“unpacked_bytes” allows (1)");
  made_part parts[] = {{"data/Users.csv", "u"}, {"__MACOSX/data/._Users.csv", "x"}, {"data\\Sites.csv", "s"}, {"readme.txt", "r"}};
  place_path(scene, "made.zip");
  make_zip(scene->path, parts, 4);
  assert_int_equal(read_book(scene, scene->path, NULL), AON_OK);
  assert_string_equal(scene->lines, both);
  made_part doubled[] = {{"a/Users.csv", "u"}, {"b/users.csv", "u"}};
  make_zip(scene->path, doubled, 2);
  assert_int_equal(read_book(scene, scene->path, NULL), AON_OK); /* what it means is for a pack to say */
}

static void reads_twice(void **state) {
  test_scene *scene = *state;
  aon_workbook *workbook;
  aon_error error = AON_ERROR_INIT;
  aon_workbook_limits tight = {.unpacked_bytes = 4};
  place_path(scene, "made.zip");
  make_zip(scene->path, &(made_part){"S.csv", "a,b\n"}, 1);
  assert_int_equal(aon_workbook_open(scene->env, scene->path, &tight, &workbook, &error), AON_OK);
  assert_false(aon_workbook_is_xlsx(workbook));
  for (int again = 0; again < 3; again++) {
    aon_rows *rows;
    const aon_row *row;
    assert_int_equal(aon_rows_open(workbook, 0, &rows, &error), AON_OK);
    assert_int_equal(aon_rows_next(rows, &row, &error), AON_OK);
    assert_string_equal(row->cells[1].text.data, "b");
    assert_int_equal(aon_rows_next(rows, &row, &error), AON_END);
    aon_rows_close(rows);
  }
  aon_workbook_close(workbook);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(texts),      cmocka_unit_test(refusals),   cmocka_unit_test(limits),
                                     cmocka_unit_test(row_bytes),  cmocka_unit_test(long_files), cmocka_unit_test(folders_and_zips),
                                     cmocka_unit_test(reads_twice)};
  return cmocka_run_group_tests(tests, place_open, place_close);
}
