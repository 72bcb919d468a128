/* The corpus of other projects' workbooks: every file that two readers agree on must come out cell for cell, every file that both
 * refuse must be refused in a sentence, and the rest must not bring the reader down. */
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "sheet/rows_json.h"

#define DATE_TOLERANCE_MS 2.1

typedef struct corpus_state {
  aon_env *env;
  char folder[4096];
  json_t *names; /* of the expectation files */
  unsigned read, refused, either, cells;
} corpus_state;

/* ---- one cell ---- */

/* Milliseconds of "YYYY-MM-DD[Thh:mm:ss[.mmm]]" or "hh:mm:ss[.mmm]", NAN if it is neither. */
static double instant_of(const char *text) {
  int year = 1970, month = 1, day = 1, hour = 0, minute = 0;
  double second = 0;
  if (text[2] == ':')
    return sscanf(text, "%d:%d:%lf", &hour, &minute, &second) == 3 ? ((hour * 60 + minute) * 60 + second) * 1000 : NAN;
  int got = sscanf(text, "%d-%d-%dT%d:%d:%lf", &year, &month, &day, &hour, &minute, &second);
  if (got != 3 && got != 6)
    return NAN;
  struct tm parts = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = hour, .tm_min = minute};
  return (double)timegm(&parts) * 1000 + second * 1000;
}

/* CR LF compared as LF, on both sides. */
static bool same_text(aon_text ours, const char *theirs, size_t length) {
  size_t i = 0, k = 0;
  while (i < ours.length || k < length) {
    if (i + 1 < ours.length && ours.data[i] == '\r' && ours.data[i + 1] == '\n')
      i++;
    if (k + 1 < length && theirs[k] == '\r' && theirs[k + 1] == '\n')
      k++;
    if (i >= ours.length || k >= length || ours.data[i++] != theirs[k++])
      return false;
  }
  return true;
}

static bool same_number(double ours, double theirs) { return fabs(ours - theirs) <= 1e-9 * fmax(1, fabs(theirs)); }

static bool same_cell(const aon_cell *cell, const char *type, const json_t *value) {
  if (strcmp(aon_cell_type_name(cell->type), type))
    return false;
  switch (cell->type) {
  case AON_CELL_NUMBER:
    return same_number(cell->number, json_number_value(value));
  case AON_CELL_DURATION:
    return fabs(cell->number - json_number_value(value)) < 0.0021;
  case AON_CELL_BOOLEAN:
    return (cell->number != 0) == json_is_true(value);
  case AON_CELL_DATE:
    return fabs(instant_of(cell->text.data) - instant_of(json_string_value(value))) <= DATE_TOLERANCE_MS;
  case AON_CELL_TIME:
    return fabs(instant_of(cell->text.data) - instant_of(json_string_value(value))) < 1;
  default:
    return same_text(cell->text, json_string_value(value), json_string_length(value));
  }
}

static bool is_blank(const aon_cell *cell) {
  if (cell->type != AON_CELL_TEXT)
    return false;
  for (size_t i = 0; i < cell->text.length; i++) {
    if (!strchr(" \t\r\n", cell->text.data[i]))
      return false;
  }
  return true;
}

static bool is_disputed(const json_t *sheet, uint32_t row, uint32_t column) {
  size_t index;
  json_t *place;
  json_array_foreach(json_object_get(sheet, "disputed_cells"), index, place) {
    if (json_integer_value(json_array_get(place, 0)) == row && json_integer_value(json_array_get(place, 1)) == column)
      return true;
  }
  return false;
}

/* ---- one sheet ---- */

/* The expected cells of a row by column; blank ones do not count. */
static json_t *expected_row(const json_t *sheet, uint32_t row) {
  size_t index;
  json_t *entry;
  json_array_foreach(json_object_get(sheet, "rows"), index, entry) {
    if (json_integer_value(json_array_get(entry, 0)) == row)
      return json_array_get(entry, 1);
  }
  return NULL;
}

static size_t solid_cells(const json_t *cells) {
  size_t index, solid = 0;
  json_t *cell;
  json_array_foreach(cells, index, cell) {
    const char *text = json_string_value(json_array_get(cell, 2));
    solid += !text || text[strspn(text, " \t\r\n")] != 0;
  }
  return solid;
}

static json_t *expected_cell(json_t *cells, uint32_t column) {
  size_t index;
  json_t *cell;
  json_array_foreach(cells, index, cell) {
    if (json_integer_value(json_array_get(cell, 0)) == column)
      return cell;
  }
  return NULL;
}

static unsigned check_row(const char *file, const json_t *sheet, const aon_row *row, size_t *ret_matched) {
  json_t *expected = expected_row(sheet, row->number);
  unsigned wrong = 0;
  uint32_t last = 0;
  for (size_t i = 0; i < row->count; i++) {
    const aon_cell *cell = &row->cells[i];
    json_t *wanted = expected_cell(expected, cell->column);
    assert_true(cell->column > last);
    last = cell->column;
    if (is_blank(cell) || is_disputed(sheet, row->number, cell->column))
      continue;
    ++*ret_matched;
    if (wanted && same_cell(cell, json_string_value(json_array_get(wanted, 1)), json_array_get(wanted, 2)))
      continue;
    wrong++;
    char *text = wanted ? json_dumps(wanted, JSON_ENCODE_ANY) : NULL;
    print_error("%s %s row %u column %u: %s “%.60s” %.17g, expected %s\n", file, json_string_value(json_object_get(sheet, "name")),
                row->number, cell->column, aon_cell_type_name(cell->type), cell->text.data ? cell->text.data : "", cell->number,
                text ? text : "nothing");
    free(text);
  }
  return wrong;
}

static unsigned check_sheet(corpus_state *corpus, const char *file, aon_workbook *workbook, size_t number, const json_t *sheet) {
  aon_error error = AON_ERROR_INIT;
  aon_rows *rows;
  const aon_row *row;
  size_t matched = 0, wanted = 0, index;
  unsigned wrong = 0;
  uint32_t last = 0;
  json_t *entry;
  if (strcmp(aon_workbook_sheet_name(workbook, number), json_string_value(json_object_get(sheet, "name"))) ||
      strcmp(aon_sheet_state_name(aon_workbook_sheet_state(workbook, number)), json_string_value(json_object_get(sheet, "state")))) {
    print_error("%s: sheet %zu is %s\n", file, number, aon_workbook_sheet_name(workbook, number));
    return 1;
  }
  aon_result result = aon_rows_open(workbook, number, &rows, &error);
  if (!result) {
    while (!(result = aon_rows_next(rows, &row, &error))) {
      assert_true(row->number > last && row->count > 0);
      last = row->number;
      wrong += check_row(file, sheet, row, &matched);
    }
    aon_rows_close(rows);
  }
  if (result != AON_END)
    print_error("%s: %s\n", file, error.sentence);
  json_array_foreach(json_object_get(sheet, "rows"), index, entry) { wanted += solid_cells(json_array_get(entry, 1)); }
  if (wanted != matched)
    print_error("%s %s: %zu cells, expected %zu\n", file, json_string_value(json_object_get(sheet, "name")), matched, wanted);
  corpus->cells += (unsigned)matched;
  return wrong + (wanted != matched) + (result != AON_END);
}

/* ---- one file ---- */

static unsigned check_sheets(corpus_state *corpus, const char *file, aon_workbook *workbook, const json_t *expected) {
  size_t index, number = 0;
  unsigned wrong = 0;
  json_t *sheet;
  json_array_foreach(json_object_get(expected, "sheets"), index, sheet) {
    if (strcmp(json_string_value(json_object_get(sheet, "kind")), "ws"))
      continue;
    if (number >= aon_workbook_sheets(workbook)) {
      print_error("%s: sheets are missing\n", file);
      return wrong + 1;
    }
    wrong += check_sheet(corpus, file, workbook, number++, sheet);
  }
  if (number != aon_workbook_sheets(workbook))
    print_error("%s: too many sheets\n", file);
  return wrong + (number != aon_workbook_sheets(workbook));
}

static aon_result read_all(aon_workbook *workbook, aon_error *error) {
  for (size_t i = 0; i < aon_workbook_sheets(workbook); i++) {
    aon_rows *rows;
    const aon_row *row;
    aon_result result = aon_rows_open(workbook, i, &rows, error);
    if (result)
      return result;
    while (!(result = aon_rows_next(rows, &row, error))) {
    }
    aon_rows_close(rows);
    if (result != AON_END)
      return result;
  }
  return AON_OK;
}

/* A sentence for a person: begins with a capital, ends with a full stop. */
static bool is_refusal(aon_result result, const aon_error *error) {
  size_t length = strlen(error->sentence);
  return result == AON_REJECTED && error->kind == AON_REJECTED && !strcmp(error->code, "bad_file") && length > 20 &&
         error->sentence[length - 1] == '.';
}

static unsigned check_file(corpus_state *corpus, const json_t *expected) {
  const char *file = json_string_value(json_object_get(expected, "file"));
  const char *verdict = json_string_value(json_object_get(expected, "verdict"));
  char path[8192];
  aon_workbook *workbook = NULL;
  aon_error error = AON_ERROR_INIT;
  unsigned wrong = 0;
  snprintf(path, sizeof path, "%s/files/%s", corpus->folder, file);
  aon_result result = aon_workbook_open(corpus->env, path, NULL, &workbook, &error);
  if (!strncmp(verdict, "ok", 2)) {
    corpus->read++;
    if (result)
      print_error("%s: %s\n", file, error.sentence);
    wrong = result ? 1 : check_sheets(corpus, file, workbook, expected);
  } else {
    bool either = !strcmp(verdict, "one-reader-only");
    if (!result)
      result = read_all(workbook, &error);
    wrong = !(is_refusal(result, &error) || (either && !result));
    if (wrong)
      print_error("%s: %s: %s\n", file, aon_result_name(result), error.sentence);
    corpus->either += either;
    corpus->refused += !either;
  }
  aon_workbook_close(workbook);
  return wrong;
}

/* What a refusal must name, for some files whose nature is known. */
static void refusals_name_the_cause(void **state) {
  static const char *const cases[][2] = {
      {"tafia_calamine__tests__xls_cross_sheet_chart.xls", ".xls"},
      {"tafia_calamine__tests__date.xlsb", ".xlsb"},
      {"SheetJS_test_files__minimal_112.numbers", ".numbers"},
      {"SheetJS_test_files__issue2717__issue2717.slk", ".slk"},
      {"qax-os_excelize__test__encryptAES.xlsx", "protected by a password"},
      {"apache_poi__test-data__spreadsheet__poc-xmlbomb-empty.xlsx", "DOCTYPE"},
      {"ExcelDataReader_ExcelDataReader__src__TestData__csv__cp1252.csv", "folder or a zip"},
      {"exceljs_exceljs__spec__integration__data__test-row-styles.xlsx", "visible"},
  };
  corpus_state *corpus = *state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char path[8192];
    aon_workbook *workbook = NULL;
    aon_error error = AON_ERROR_INIT;
    snprintf(path, sizeof path, "%s/files/%s", corpus->folder, cases[i][0]);
    assert_int_equal(aon_workbook_open(corpus->env, path, NULL, &workbook, &error), AON_REJECTED);
    if (!strstr(error.sentence, cases[i][1]))
      fail_msg("%s: %s", cases[i][0], error.sentence);
  }
}

static void every_file_as_expected(void **state) {
  corpus_state *corpus = *state;
  size_t index;
  json_t *name;
  unsigned wrong = 0;
  json_array_foreach(corpus->names, index, name) {
    char path[8192];
    json_error_t why;
    snprintf(path, sizeof path, "%s/expected/%s", corpus->folder, json_string_value(name));
    json_t *expected = json_load_file(path, JSON_ALLOW_NUL, &why);
    assert_non_null(expected);
    wrong += check_file(corpus, expected);
    json_decref(expected);
  }
  print_message("%u files read (%u cells), %u refused, %u either way\n", corpus->read, corpus->cells, corpus->refused, corpus->either);
  assert_int_equal(wrong, 0);
  assert_true(corpus->read > 100 && corpus->refused > 30 && corpus->cells > 40000);
}

static bool add_name(void *context, const char *name) { return json_array_append_new(context, json_string(name)) == 0; }

int main(void) {
  corpus_state corpus = {.names = json_array()};
  const char *shared = getenv("AON_SHARED"), *root = getenv("SOURCE_ROOT");
  char path[8192];
  aon_error error = AON_ERROR_INIT;
  if (shared)
    snprintf(corpus.folder, sizeof corpus.folder, "%s/xlsx-corpus", shared);
  else
    snprintf(corpus.folder, sizeof corpus.folder, "%s/../shared/data/xlsx-corpus", root ? root : ".");
  if (aon_env_open(AON_LOG_WARNING, 0, 0, &corpus.env, &error))
    return 1;
  snprintf(path, sizeof path, "%s/expected", corpus.folder);
  aon_result listed = corpus.env->ops->folder_list(corpus.env->context, path, add_name, corpus.names, &error);
  int failed = 77;
  if (listed) {
    printf("skipped: sheet corpus: %s\n", error.sentence);
  } else {
    const struct CMUnitTest tests[] = {cmocka_unit_test_prestate(every_file_as_expected, &corpus),
                                       cmocka_unit_test_prestate(refusals_name_the_cause, &corpus)};
    failed = cmocka_run_group_tests(tests, NULL, NULL);
  }
  json_decref(corpus.names);
  aon_env_close(corpus.env);
  return failed;
}
