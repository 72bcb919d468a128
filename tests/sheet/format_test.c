/* Number formats, serial numbers, escapes, shared strings above their limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "make.h"
#include "sheet/numfmt.h"
#include "sheet/shared_strings.h"

static void formats(void **state) {
  (void)state;
  static const struct {
    const char *code;
    aon_numfmt kind;
  } cases[] = {
      {"General", AON_NUMFMT_PLAIN},
      {"GENERAL", AON_NUMFMT_PLAIN},
      {"0.00E+00", AON_NUMFMT_PLAIN},
      {"#,##0;[Red]-#,##0", AON_NUMFMT_PLAIN},
      {"0.0\" days\"", AON_NUMFMT_PLAIN},
      {"0\\d", AON_NUMFMT_PLAIN},
      {"_d0_m", AON_NUMFMT_PLAIN},
      {"*y0", AON_NUMFMT_PLAIN},
      {"[$USD] #,##0.00", AON_NUMFMT_PLAIN},
      {"0;yyyy", AON_NUMFMT_PLAIN},
      {"@", AON_NUMFMT_PLAIN},
      {"", AON_NUMFMT_PLAIN},
      {"\"unclosed d", AON_NUMFMT_PLAIN},
      {"[unclosed", AON_NUMFMT_PLAIN},
      {"\\", AON_NUMFMT_PLAIN},
      {"yyyy-mm-dd", AON_NUMFMT_DATE},
      {"[$-409]d-mmm-yy;@", AON_NUMFMT_DATE},
      {"h:mm AM/PM", AON_NUMFMT_DATE},
      {"[Red]hh:mm", AON_NUMFMT_DATE},
      {"mm:ss.0", AON_NUMFMT_DATE},
      {"[$-F400]h:mm:ss", AON_NUMFMT_DATE},
      {"[h]:mm:ss", AON_NUMFMT_DURATION},
      {"[HH]:MM", AON_NUMFMT_DURATION},
      {"[mm]:ss", AON_NUMFMT_DURATION},
      {"[ss].00", AON_NUMFMT_DURATION},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    if (aon_numfmt_of_code(cases[i].code, strlen(cases[i].code)) != cases[i].kind)
      fail_msg("%s", cases[i].code);
  }
  assert_int_equal(aon_numfmt_of_id(0), AON_NUMFMT_PLAIN);
  assert_int_equal(aon_numfmt_of_id(14), AON_NUMFMT_DATE);
  assert_int_equal(aon_numfmt_of_id(22), AON_NUMFMT_DATE);
  assert_int_equal(aon_numfmt_of_id(23), AON_NUMFMT_PLAIN);
  assert_int_equal(aon_numfmt_of_id(46), AON_NUMFMT_DURATION);
  assert_int_equal(aon_numfmt_of_id(49), AON_NUMFMT_PLAIN);
}

/* Every day of the 1900 system is the day after the one before it, the day that never was between 59 and 61. */
static void every_day(void **state) {
  (void)state;
  static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  int year = 1900, month = 1, day = 1;
  aon_serial serial;
  char expected[64];
  for (int number = 1; number <= 2958465; number++) {
    bool leap = (year % 4 == 0 && year % 100) || year % 400 == 0 || year == 1900;
    if (number % 97 == 0 || number < 1000) {
      snprintf(expected, sizeof expected, "%04d-%02d-%02d", year, month, day);
      assert_true(aon_serial_format(number, false, &serial));
      assert_string_equal(serial.text, expected);
    }
    if (++day > days[month - 1] + (month == 2 && leap)) {
      day = 1;
      month = month == 12 ? 1 : month + 1;
      year += month == 1;
    }
  }
  assert_int_equal(year, 10000);
  assert_false(aon_serial_format(2958466, false, &serial));
  assert_false(aon_serial_format(2958465.9999999999, false, &serial)); /* rounds up to the year 10000 */
  assert_true(aon_serial_format(2957003, true, &serial));
  assert_string_equal(serial.text, "9999-12-31");
  assert_false(aon_serial_format(2957004, true, &serial));
  assert_false(aon_serial_format(-0.5, false, &serial));
}

static void iso_texts(void **state) {
  (void)state;
  static const char *const bad[] = {"",
                                    "2021",
                                    "2021-13-01",
                                    "2021-00-01",
                                    "2021-02-29",
                                    "2021-01-01T",
                                    "2021-01-01T25:00",
                                    "24:00:00",
                                    "2021-01-01T10:00:00+5",
                                    "12:60",
                                    "2021-01-01x",
                                    "2021-1-1",
                                    "10:00:00zz",
                                    "20210101"};
  aon_serial serial;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    if (aon_serial_from_iso(bad[i], strlen(bad[i]), &serial))
      fail_msg("%s", bad[i]);
  }
  assert_true(aon_serial_from_iso("2020-02-29T23:59:59.1234567+01:00", 33, &serial));
  assert_string_equal(serial.text, "2020-02-29T23:59:59.123");
  assert_true(aon_serial_from_iso("08:30", 5, &serial) && serial.is_time);
  assert_string_equal(serial.text, "08:30:00");
}

static void strings_in_a_file(void **state) {
  test_scene *scene = *state;
  aon_strings *strings;
  aon_error error = AON_ERROR_INIT;
  aon_buffer scratch = {0};
  char text[9000];
  const size_t count = 4000;
  assert_int_equal(aon_strings_new(scene->env, 20000, &strings, &error), AON_OK);
  for (size_t i = 0; i < count; i++) {
    size_t length = i % 1000 == 999 ? 8999 : i % 37;
    memset(text, (int)('a' + i % 26), length);
    assert_int_equal(aon_strings_add(strings, text, length, &error), AON_OK);
  }
  assert_true(aon_strings_spilled(strings));
  assert_int_equal(aon_strings_count(strings), count);
  for (size_t k = 0; k < 3 * count; k++) {
    size_t i = k * 7919 % count, length = i % 1000 == 999 ? 8999 : i % 37, offset = 0;
    aon_text got;
    memset(text, (int)('a' + i % 26), length);
    aon_buffer_clear(&scratch);
    assert_int_equal(aon_strings_get(strings, i, &scratch, &got, &offset, &error), AON_OK);
    const char *bytes = got.data ? got.data : scratch.data + offset;
    assert_int_equal(got.length, length);
    assert_memory_equal(bytes, text, length);
    assert_int_equal(bytes[length], 0);
  }
  aon_buffer_release(&scratch);
  aon_strings_free(strings);
}

/* The reader with all shared strings in the file, one row naming many; the temporary files are gone by name at once. */
static void workbook_with_spilled_strings(void **state) {
  test_scene *scene = *state;
  aon_workbook_limits limits = {.strings_memory_bytes = 1};
  made_book book = {.data = "<row><c t='s'><v>2</v></c><c t='s'><v>0</v></c><c t='s'><v>1</v></c><c t='s'><v>2</v></c></row>",
                    .strings = "<si><t>first</t></si><si><t/></si><si><t>third</t></si>"};
  setenv("TMPDIR", "/no such folder", 1); /* falls back on another one, and says nothing of it */
  aon_result result = read_made(scene, &book, &limits);
  assert_int_equal(result, AON_OK);
  assert_string_equal(scene->error.sentence, "");
  setenv("TMPDIR", scene->folder, 1);
  result = read_made(scene, &book, &limits);
  unsetenv("TMPDIR");
  assert_int_equal(result, AON_OK);
  assert_string_equal(scene->lines, "{\"sheet\":\"S\",\"state\":\"visible\",\"row\":1,\"cells\":[[1,\"s\",\"third\"],[2,\"s\",\"first\"],"
                                    "[4,\"s\",\"third\"]]}\n");
  char command[512];
  snprintf(command, sizeof command, "ls %s | grep -q aon-strings", scene->folder);
  assert_int_not_equal(system(command), 0);
}

static void escapes(void **state) {
  (void)state;
  static const char *const cases[][2] = {{"plain", "plain"},
                                         {"_x0041_", "A"},
                                         {"_x005F_x0041_", "_x0041_"},
                                         {"_x00e4__x20AC_", "ä€"},
                                         {"_xD83D__xDE00_", "😀"},
                                         {"_xD83D_a", "\xef\xbf\xbd"
                                                      "a"},
                                         {"_x0000_", "\xef\xbf\xbd"},
                                         {"_x004_", "_x004_"},
                                         {"_X0041_", "_X0041_"},
                                         {"__x0041__", "_A_"},
                                         {"_x0041", "_x0041"},
                                         {"_x00g1_", "_x00g1_"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[64];
    strcpy(text, cases[i][0]);
    text[aon_text_unescape(text, strlen(text))] = 0;
    assert_string_equal(text, cases[i][1]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(formats),   cmocka_unit_test(every_day),
                                     cmocka_unit_test(iso_texts), cmocka_unit_test(strings_in_a_file),
                                     cmocka_unit_test(escapes),   cmocka_unit_test(workbook_with_spilled_strings)};
  return cmocka_run_group_tests(tests, place_open, place_close);
}
