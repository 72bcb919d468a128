/* Single values: what is accepted, in which form it is stored, and which code and sentence answer the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pack/types.h"

static int open_arena(void **state) {
  *state = calloc(1, sizeof(aon_arena));
  return *state ? 0 : -1;
}

static int close_arena(void **state) {
  aon_arena_release(*state);
  free(*state);
  return 0;
}

static aon_text text_of(const char *text) { return (aon_text){text, strlen(text)}; }
static aon_cell text_cell(const char *text) { return (aon_cell){.type = AON_CELL_TEXT, .text = text_of(text)}; }

static aon_value read_cell(void **state, const aon_field *field, const aon_cell *cell, aon_check *check) {
  aon_error error = AON_ERROR_INIT;
  aon_value value;
  *check = (aon_check){0};
  assert_int_equal(aon_field_read(field, cell, *state, &value, check, &error), AON_OK);
  if (check->code)
    assert_int_equal(value.kind, AON_VALUE_EMPTY);
  return value;
}

static void assert_text(const aon_value *value, const char *expected) {
  assert_int_equal(value->kind, AON_VALUE_TEXT);
  if (value->text.length != strlen(expected) || memcmp(value->text.data, expected, value->text.length))
    fail_msg("expected %s, got %.*s", expected, (int)value->text.length, value->text.data);
}

static const char *const sizes[] = {"small", "LARGE", "Straße", NULL};
static const char *const days[] = {"last", NULL};

static const struct example {
  aon_field field;
  const char *cell, *expected, *code; /* one of the two */
} examples[] = {
    {{.type = AON_FIELD_TEXT}, "  Noor  Nguyen\t", "Noor  Nguyen", NULL},
    {{.type = AON_FIELD_TEXT}, "\xc2\xa0\xe3\x80\x80\xe2\x80\xa8x\xef\xbb\xbf\xe2\x80\x8b\xc2\x85", "x", NULL},
    {{.type = AON_FIELD_TEXT}, "e\xcc\x81\xe2\x80\x8d", "e\xcc\x81\xe2\x80\x8d", NULL},
    {{.type = AON_FIELD_TEXT}, "a\xff", NULL, "bad_format"},
    {{.type = AON_FIELD_TEXT, .max_characters = 3}, "żół", "żół", NULL},
    {{.type = AON_FIELD_TEXT, .max_characters = 3}, "żółw", NULL, "too_long"},
    {{.type = AON_FIELD_TEXT, .min_characters = 8}, "żółwżółw", "żółwżółw", NULL},
    {{.type = AON_FIELD_TEXT, .min_characters = 8}, "1234567", NULL, "out_of_range"},
    {{.type = AON_FIELD_ID, .key = true}, "site-1:é", "site-1:é", NULL},
    {{.type = AON_FIELD_ID, .key = true}, "a.b", NULL, "forbidden_character"},
    {{.type = AON_FIELD_ID, .key = true}, "a$", NULL, "forbidden_character"},
    {{.type = AON_FIELD_ID, .key = true}, "#a", NULL, "forbidden_character"},
    {{.type = AON_FIELD_ID, .key = true}, "a[", NULL, "forbidden_character"},
    {{.type = AON_FIELD_ID, .key = true}, "]a", NULL, "forbidden_character"},
    {{.type = AON_FIELD_ID, .key = true}, "a/b", NULL, "forbidden_character"},
    {{.type = AON_FIELD_ID, .key = true}, "a\nb", NULL, "forbidden_character"},
    {{.type = AON_FIELD_ID, .key = true}, "a\x7f", NULL, "forbidden_character"},
    {{.type = AON_FIELD_ID}, "a.b/c", "a.b/c", NULL},
    {{.type = AON_FIELD_EMAIL}, " Ann.O'Neil+x@Example.COM ", "ann.o'neil+x@example.com", NULL},
    {{.type = AON_FIELD_EMAIL}, "ÅSA@EXAMPLE.SE", "åsa@example.se", NULL},
    {{.type = AON_FIELD_EMAIL}, "a@b-c.d1.museum", "a@b-c.d1.museum", NULL},
    {{.type = AON_FIELD_EMAIL}, "not-an-address", NULL, "bad_format"},
    {{.type = AON_FIELD_EMAIL}, "a@b", NULL, "bad_format"},
    {{.type = AON_FIELD_EMAIL}, "@b.de", NULL, "bad_format"},
    {{.type = AON_FIELD_EMAIL}, "a@", NULL, "bad_format"},
    {{.type = AON_FIELD_EMAIL}, "a@.de", NULL, "bad_format"},
    {{.type = AON_FIELD_EMAIL}, "a@b.", NULL, "bad_format"},
    {{.type = AON_FIELD_EMAIL}, "a@b..de", NULL, "bad_format"},
    {{.type = AON_FIELD_EMAIL}, ".a@b.de", NULL, "bad_format"},
    {{.type = AON_FIELD_EMAIL}, "a..b@c.de", NULL, "bad_format"},
    {{.type = AON_FIELD_EMAIL}, "a b@c.de", NULL, "bad_format"},
    {{.type = AON_FIELD_EMAIL}, "a@b@c.de", NULL, "bad_format"},
    {{.type = AON_FIELD_EMAIL}, "a,b@c.de", NULL, "bad_format"},
    {{.type = AON_FIELD_EMAIL}, "<a@c.de>", NULL, "bad_format"},
    {{.type = AON_FIELD_EMAIL}, "a@1.2.3.4", NULL, "bad_format"},
    {{.type = AON_FIELD_EMAIL}, "a@-b.de", NULL, "bad_format"},
    {{.type = AON_FIELD_EMAIL}, "a@b-.de", NULL, "bad_format"},
    {{.type = AON_FIELD_EMAIL}, "a@b_c.de", NULL, "bad_format"},
    {{.type = AON_FIELD_EMAIL}, "a\xe2\x80\x8b@b.de", NULL, "bad_format"},
    {{.type = AON_FIELD_PHONE}, "+351912901684", "+351912901684", NULL},
    {{.type = AON_FIELD_PHONE}, "+123456789012345", "+123456789012345", NULL},
    {{.type = AON_FIELD_PHONE}, "+1234567890123456", NULL, "bad_format"},
    {{.type = AON_FIELD_PHONE}, "12 34", NULL, "bad_format"},
    {{.type = AON_FIELD_PHONE}, "+49 30 1234", NULL, "bad_format"},
    {{.type = AON_FIELD_PHONE}, "+049301234", NULL, "bad_format"},
    {{.type = AON_FIELD_PHONE}, "4930123456", NULL, "bad_format"},
    {{.type = AON_FIELD_PHONE}, "+", NULL, "bad_format"},
    {{.type = AON_FIELD_PHONE}, "+1", NULL, "bad_format"},
    {{.type = AON_FIELD_LANGUAGE}, "EN", "en", NULL},
    {{.type = AON_FIELD_LANGUAGE}, "pt-pt", "pt-PT", NULL},
    {{.type = AON_FIELD_LANGUAGE}, "MN-cYRL-mn", "mn-Cyrl-MN", NULL},
    {{.type = AON_FIELD_LANGUAGE}, "EN-ca-X-CA", "en-CA-x-ca", NULL},
    {{.type = AON_FIELD_LANGUAGE}, "SGN-be-fr", "sgn-BE-FR", NULL},
    {{.type = AON_FIELD_LANGUAGE}, "AZ-LATN-x-LATN", "az-Latn-x-latn", NULL},
    {{.type = AON_FIELD_LANGUAGE}, "zh-cmn-hans-cn", "zh-cmn-Hans-CN", NULL},
    {{.type = AON_FIELD_LANGUAGE}, "de-1996-DE", NULL, "bad_format"},
    {{.type = AON_FIELD_LANGUAGE}, "de-CH-1901-variant", "de-CH-1901-variant", NULL},
    {{.type = AON_FIELD_LANGUAGE}, "es-419", "es-419", NULL},
    {{.type = AON_FIELD_LANGUAGE}, "en-U-CA-gregory-t-AA-bb", "en-u-ca-gregory-t-aa-bb", NULL},
    {{.type = AON_FIELD_LANGUAGE}, "i-KLINGON", "i-klingon", NULL},
    {{.type = AON_FIELD_LANGUAGE}, "EN-gb-OED", "en-GB-oed", NULL},
    {{.type = AON_FIELD_LANGUAGE}, "x-Whatever", "x-whatever", NULL},
    {{.type = AON_FIELD_LANGUAGE}, "en_US", NULL, "bad_format"},
    {{.type = AON_FIELD_LANGUAGE}, "English", NULL, "bad_format"},
    {{.type = AON_FIELD_LANGUAGE}, "e", NULL, "bad_format"},
    {{.type = AON_FIELD_LANGUAGE}, "en-", NULL, "bad_format"},
    {{.type = AON_FIELD_LANGUAGE}, "-en", NULL, "bad_format"},
    {{.type = AON_FIELD_LANGUAGE}, "en--US", NULL, "bad_format"},
    {{.type = AON_FIELD_LANGUAGE}, "en-x", NULL, "bad_format"},
    {{.type = AON_FIELD_LANGUAGE}, "en-u", NULL, "bad_format"},
    {{.type = AON_FIELD_LANGUAGE}, "en-u-ab-u-cd", NULL, "bad_format"},
    {{.type = AON_FIELD_LANGUAGE}, "de-1996-1996", NULL, "bad_format"},
    {{.type = AON_FIELD_LANGUAGE}, "en-toolongsub", NULL, "bad_format"},
    {{.type = AON_FIELD_LANGUAGE}, "42", NULL, "bad_format"},
    {{.type = AON_FIELD_LANGUAGE}, "日本語", NULL, "bad_format"},
    {{.type = AON_FIELD_COUNTRY}, "pt", "PT", NULL},
    {{.type = AON_FIELD_COUNTRY}, "ZW", "ZW", NULL},
    {{.type = AON_FIELD_COUNTRY}, "Ad", "AD", NULL},
    {{.type = AON_FIELD_COUNTRY}, "Portugal", NULL, "bad_format"},
    {{.type = AON_FIELD_COUNTRY}, "P", NULL, "bad_format"},
    {{.type = AON_FIELD_COUNTRY}, "P1", NULL, "bad_format"},
    {{.type = AON_FIELD_COUNTRY}, "é", NULL, "bad_format"},
    {{.type = AON_FIELD_COUNTRY}, "UK", NULL, "not_allowed"},
    {{.type = AON_FIELD_COUNTRY}, "XX", NULL, "not_allowed"},
    {{.type = AON_FIELD_COUNTRY}, "DA", NULL, "not_allowed"},
    {{.type = AON_FIELD_TIME_ZONE}, "europe/LISBON", "Europe/Lisbon", NULL},
    {{.type = AON_FIELD_TIME_ZONE}, "asia/calcutta", "Asia/Calcutta", NULL},
    {{.type = AON_FIELD_TIME_ZONE}, "utc", "UTC", NULL},
    {{.type = AON_FIELD_TIME_ZONE}, "america/argentina/buenos_aires", "America/Argentina/Buenos_Aires", NULL},
    {{.type = AON_FIELD_TIME_ZONE}, "etc/gmt+1", "Etc/GMT+1", NULL},
    {{.type = AON_FIELD_TIME_ZONE}, "Mars/Olympus", NULL, "not_allowed"},
    {{.type = AON_FIELD_TIME_ZONE}, "Europe", NULL, "not_allowed"},
    {{.type = AON_FIELD_TIME_ZONE}, "+01:00", NULL, "not_allowed"},
    {{.type = AON_FIELD_DATE}, "2027-01-31", "2027-01-31", NULL},
    {{.type = AON_FIELD_DATE}, "2028-02-29", "2028-02-29", NULL},
    {{.type = AON_FIELD_DATE}, "2000-02-29", "2000-02-29", NULL},
    {{.type = AON_FIELD_DATE}, "2027-02-29", NULL, "bad_format"},
    {{.type = AON_FIELD_DATE}, "2100-02-29", NULL, "bad_format"},
    {{.type = AON_FIELD_DATE}, "2027-04-31", NULL, "bad_format"},
    {{.type = AON_FIELD_DATE}, "2027-13-01", NULL, "bad_format"},
    {{.type = AON_FIELD_DATE}, "2027-00-01", NULL, "bad_format"},
    {{.type = AON_FIELD_DATE}, "2027-01-00", NULL, "bad_format"},
    {{.type = AON_FIELD_DATE}, "0000-01-01", NULL, "bad_format"},
    {{.type = AON_FIELD_DATE}, "2027-1-1", NULL, "bad_format"},
    {{.type = AON_FIELD_DATE}, "01.02.2027", NULL, "bad_format"},
    {{.type = AON_FIELD_DATE}, "2027/01/01", NULL, "bad_format"},
    {{.type = AON_FIELD_DATE}, "2027-01-01T00:00:00", NULL, "bad_format"},
    {{.type = AON_FIELD_TIME}, "08:30", "08:30", NULL},
    {{.type = AON_FIELD_TIME}, "23:59", "23:59", NULL},
    {{.type = AON_FIELD_TIME}, "24:00", NULL, "bad_format"},
    {{.type = AON_FIELD_TIME}, "08:60", NULL, "bad_format"},
    {{.type = AON_FIELD_TIME}, "8:30", NULL, "bad_format"},
    {{.type = AON_FIELD_TIME}, "08:30:00", NULL, "bad_format"},
    {{.type = AON_FIELD_TIME}, "8 am", NULL, "bad_format"},
    {{.type = AON_FIELD_TIME}, "-1:30", NULL, "bad_format"},
    {{.type = AON_FIELD_CHOICE, .choices = sizes}, "SMALL", "small", NULL},
    {{.type = AON_FIELD_CHOICE, .choices = sizes}, "large", "LARGE", NULL},
    {{.type = AON_FIELD_CHOICE, .choices = sizes}, "STRASSE", "Straße", NULL},
    {{.type = AON_FIELD_CHOICE, .choices = sizes}, "medium", NULL, "not_allowed"},
};

static void texts_have_one_form_or_one_code(void **state) {
  for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
    aon_check check;
    aon_cell cell = text_cell(examples[i].cell);
    aon_value value = read_cell(state, &examples[i].field, &cell, &check);
    if (examples[i].code ? !check.code || strcmp(check.code, examples[i].code) : check.code != NULL)
      fail_msg("\"%s\" as %s: expected %s, got %s (%s)", examples[i].cell, aon_field_type_name(examples[i].field.type),
               examples[i].code ? examples[i].code : "a value", check.code ? check.code : "a value", check.problem);
    if (examples[i].expected)
      assert_text(&value, examples[i].expected);
    else
      assert_true(check.problem[0] && check.advice[0]);
  }
}

static void lengths_count_characters(void **state) {
  static const struct {
    aon_field_type type;
    size_t most;
  } cases[] = {{AON_FIELD_TEXT, 200}, {AON_FIELD_ID, 128}};
  char text[1000];
  for (size_t i = 0; i < 2; i++) {
    aon_field field = {.type = cases[i].type};
    aon_check check;
    size_t length = 0;
    for (size_t k = 0; k < cases[i].most; k++, length += 2)
      memcpy(text + length, "é", 3);
    aon_cell cell = text_cell(text);
    assert_int_equal(read_cell(state, &field, &cell, &check).kind, AON_VALUE_TEXT);
    strcpy(text + length, "x");
    cell = text_cell(text);
    read_cell(state, &field, &cell, &check);
    assert_string_equal(check.code, "too_long");
  }
  aon_field email = {.type = AON_FIELD_EMAIL};
  aon_check check;
  memset(text, 'a', 300);
  strcpy(text + 300, "@example.com");
  aon_cell cell = text_cell(text);
  read_cell(state, &email, &cell, &check);
  assert_string_equal(check.code, "too_long");
}

static void cells_become_text(void **state) {
  static const struct {
    aon_cell cell;
    const char *text;
  } cases[] = {
      {{.type = AON_CELL_NUMBER, .number = 42}, "42"},
      {{.type = AON_CELL_NUMBER, .number = -0.0}, "0"},
      {{.type = AON_CELL_NUMBER, .number = 0.1 + 0.2}, "0.30000000000000004"},
      {{.type = AON_CELL_NUMBER, .number = 123.4}, "123.4"},
      {{.type = AON_CELL_NUMBER, .number = -9.1393}, "-9.1393"},
      {{.type = AON_CELL_NUMBER, .number = 491701234567.0}, "491701234567"},
      {{.type = AON_CELL_NUMBER, .number = 1e20}, "100000000000000000000"},
      {{.type = AON_CELL_NUMBER, .number = 1e21}, "1e+21"},
      {{.type = AON_CELL_NUMBER, .number = 0.0000001}, "0.0000001"},
      {{.type = AON_CELL_NUMBER, .number = 1.5e-9}, "1.5e-9"},
      {{.type = AON_CELL_NUMBER, .number = 9007199254740993.0}, "9007199254740992"},
      {{.type = AON_CELL_NUMBER, .number = 1.7976931348623157e308}, "1.7976931348623157e+308"},
      {{.type = AON_CELL_NUMBER, .number = 5e-324}, "5e-324"},
      {{.type = AON_CELL_BOOLEAN, .number = 1}, "TRUE"},
      {{.type = AON_CELL_BOOLEAN, .number = 0}, "FALSE"},
      {{.type = AON_CELL_DATE, .text = {"2027-01-06", 10}}, "2027-01-06"},
      {{.type = AON_CELL_DATE, .text = {"2027-01-06T00:00:00", 19}}, "2027-01-06"},
      {{.type = AON_CELL_DATE, .text = {"2027-01-06T08:00:00", 19}}, "2027-01-06T08:00:00"},
      {{.type = AON_CELL_TIME, .text = {"08:00:00", 8}}, "08:00:00"},
      {{.type = AON_CELL_DURATION, .number = 95400}, "26:30:00"},
      {{.type = AON_CELL_DURATION, .number = -1.5}, "-0:00:01.500"},
      {{.type = AON_CELL_TEXT, .text = {" \n", 2}}, ""},
      {{.type = AON_CELL_EMPTY}, ""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    aon_error error = AON_ERROR_INIT;
    aon_check check = {0};
    aon_text text;
    assert_int_equal(aon_cell_text(&cases[i].cell, *state, &text, &check, &error), AON_OK);
    assert_null(check.code);
    assert_string_equal(text.data, cases[i].text);
    assert_int_equal(text.length, strlen(cases[i].text));
  }
}

static void numbers_do_not_depend_on_the_locale(void **state) {
  (void)state;
  char text[AON_NUMBER_TEXT];
  double number = 0;
  static const char *const names[] = {"C", "de_DE.UTF-8", "fr_FR.UTF-8"};
  for (size_t i = 0; i < 3; i++) {
    setlocale(LC_ALL, names[i]); /* where the machine has it */
    aon_number_text(-1234.5678, text);
    assert_string_equal(text, "-1234.5678");
    assert_true(aon_number_parse(text_of("-1234.5678"), &number) && number == -1234.5678);
  }
  setlocale(LC_ALL, "C");
}

static void error_cells_are_of_the_wrong_type(void **state) {
  aon_cell cell = {.type = AON_CELL_ERROR, .text = text_of("#N/A")};
  for (int type = 0; type < AON_FIELD_TYPE_COUNT; type++)
    for (int shape = AON_FIELD_ONE; shape <= AON_FIELD_LINES; shape++) {
      aon_field field = {.type = (aon_field_type)type, .shape = (aon_field_shape)shape, .choices = type == AON_FIELD_CHOICE ? sizes : NULL};
      aon_check check;
      read_cell(state, &field, &cell, &check);
      assert_string_equal(check.code, "bad_type");
    }
  aon_error error = AON_ERROR_INIT;
  const char *shown;
  assert_int_equal(aon_cell_shown(&cell, *state, &shown, &error), AON_OK);
  assert_string_equal(shown, "#N/A");
}

static void numbers_come_from_cells_and_text(void **state) {
  static const struct {
    const char *text;
    double number;
  } good[] = {{"12", 12}, {" -12.5 ", -12.5}, {"+.5", .5}, {"5.", 5}, {"1e3", 1000}, {"1E-2", .01}, {"007", 7}};
  static const char *const bad[] = {"1,5", "1 000", "1.000.0", "0x10",  "12a", "e5",  "1e", "-",
                                    ".",   "inf",   "NaN",     "1e999", "١٢",  "12%", "--1"};
  aon_field field = {.type = AON_FIELD_NUMBER, .has_minimum = true, .minimum = -90, .has_maximum = true, .maximum = 1000};
  aon_check check;
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    aon_cell cell = text_cell(good[i].text);
    aon_value value = read_cell(state, &field, &cell, &check);
    assert_int_equal(value.kind, AON_VALUE_NUMBER);
    assert_true(value.number == good[i].number);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    aon_cell cell = text_cell(bad[i]);
    read_cell(state, &field, &cell, &check);
    assert_string_equal(check.code, "bad_type");
  }
  static const aon_cell others[] = {{.type = AON_CELL_BOOLEAN, .number = 1},
                                    {.type = AON_CELL_DATE, .text = {"2027-01-06", 10}},
                                    {.type = AON_CELL_TIME, .text = {"08:00:00", 8}},
                                    {.type = AON_CELL_DURATION, .number = 5}};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    read_cell(state, &field, &others[i], &check);
    assert_string_equal(check.code, "bad_type");
  }
  static const double outside[] = {-90.0001, 1000.0001, 1e300};
  for (size_t i = 0; i < 3; i++) {
    aon_cell cell = {.type = AON_CELL_NUMBER, .number = outside[i]};
    read_cell(state, &field, &cell, &check);
    assert_string_equal(check.code, "out_of_range");
    assert_string_equal(check.advice, "Write a number from -90 to 1000.");
  }
  aon_cell edge = {.type = AON_CELL_NUMBER, .number = -90};
  assert_int_equal(read_cell(state, &field, &edge, &check).kind, AON_VALUE_NUMBER);
}

static void integers_are_whole(void **state) {
  aon_field field = {.type = AON_FIELD_INTEGER};
  aon_check check;
  aon_cell cell = text_cell("9223372036854775807");
  assert_true(read_cell(state, &field, &cell, &check).integer == INT64_MAX);
  cell = text_cell("-9223372036854775808");
  assert_true(read_cell(state, &field, &cell, &check).integer == INT64_MIN);
  cell = text_cell("1e3");
  assert_int_equal(read_cell(state, &field, &cell, &check).integer, 1000);
  cell = text_cell("12.0");
  assert_int_equal(read_cell(state, &field, &cell, &check).integer, 12);
  cell = (aon_cell){.type = AON_CELL_NUMBER, .number = 31};
  assert_int_equal(read_cell(state, &field, &cell, &check).integer, 31);
  static const char *const bad[] = {"9223372036854775808", "1.5", "x", "1e300"};
  for (size_t i = 0; i < 4; i++) {
    cell = text_cell(bad[i]);
    read_cell(state, &field, &cell, &check);
    assert_string_equal(check.code, "bad_type");
  }
  cell = (aon_cell){.type = AON_CELL_NUMBER, .number = 1.5};
  read_cell(state, &field, &cell, &check);
  assert_string_equal(check.code, "bad_type");
}

static void integers_beside_words(void **state) {
  aon_field field = {.type = AON_FIELD_INTEGER,
                     .shape = AON_FIELD_LIST,
                     .choices = days,
                     .has_minimum = true,
                     .minimum = 1,
                     .has_maximum = true,
                     .maximum = 31};
  aon_check check;
  aon_cell cell = text_cell("1; 15, LAST,01,1");
  aon_value value = read_cell(state, &field, &cell, &check);
  assert_int_equal(value.kind, AON_VALUE_LIST);
  assert_int_equal(value.entry_count, 3);
  assert_int_equal(value.entries[0].integer, 1);
  assert_int_equal(value.entries[1].integer, 15);
  assert_text(&value.entries[2], "last");
  cell = text_cell("32, first");
  read_cell(state, &field, &cell, &check);
  assert_string_equal(check.code, "out_of_range");
  assert_non_null(strstr(check.problem, "“32” is more than 31; “first” is not one of the allowed words"));
  cell = (aon_cell){.type = AON_CELL_NUMBER, .number = 7};
  assert_int_equal(read_cell(state, &field, &cell, &check).entries[0].integer, 7);
}

static void booleans(void **state) {
  aon_field field = {.type = AON_FIELD_BOOLEAN};
  static const struct {
    aon_cell cell;
    int value; /* -1: bad_type */
  } cases[] = {{{.type = AON_CELL_BOOLEAN, .number = 1}, 1},         {{.type = AON_CELL_BOOLEAN, .number = 0}, 0},
               {{.type = AON_CELL_NUMBER, .number = 1}, 1},          {{.type = AON_CELL_NUMBER, .number = 2}, -1},
               {{.type = AON_CELL_TEXT, .text = {"true", 4}}, 1},    {{.type = AON_CELL_TEXT, .text = {"No", 2}}, 0},
               {{.type = AON_CELL_TEXT, .text = {"perhaps", 7}}, -1}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    aon_check check;
    aon_value value = read_cell(state, &field, &cases[i].cell, &check);
    assert_int_equal(check.code ? -1 : (int)value.boolean, cases[i].value);
  }
}

static void date_and_time_cells(void **state) {
  static const struct {
    aon_field_type type;
    aon_cell cell;
    const char *expected; /* NULL: bad_format */
  } cases[] = {
      {AON_FIELD_DATE, {.type = AON_CELL_DATE, .text = {"2027-01-06", 10}}, "2027-01-06"},
      {AON_FIELD_DATE, {.type = AON_CELL_DATE, .text = {"2027-01-06T00:00:00.000", 23}}, "2027-01-06"},
      {AON_FIELD_DATE, {.type = AON_CELL_DATE, .text = {"2027-01-06T08:00:00", 19}}, NULL},
      {AON_FIELD_DATE, {.type = AON_CELL_DATE, .text = {"1900-02-29", 10}}, NULL},
      {AON_FIELD_DATE, {.type = AON_CELL_NUMBER, .number = 46028}, NULL},
      {AON_FIELD_DATE, {.type = AON_CELL_TIME, .text = {"08:00:00", 8}}, NULL},
      {AON_FIELD_DATE, {.type = AON_CELL_BOOLEAN, .number = 1}, NULL},
      {AON_FIELD_TIME, {.type = AON_CELL_TIME, .text = {"08:00:00", 8}}, "08:00"},
      {AON_FIELD_TIME, {.type = AON_CELL_TIME, .text = {"17:30:00.000", 12}}, "17:30"},
      {AON_FIELD_TIME, {.type = AON_CELL_TIME, .text = {"17:30:01", 8}}, NULL},
      {AON_FIELD_TIME, {.type = AON_CELL_TIME, .text = {"17:30:00.500", 12}}, NULL},
      {AON_FIELD_TIME, {.type = AON_CELL_DURATION, .number = 30600}, "08:30"},
      {AON_FIELD_TIME, {.type = AON_CELL_DURATION, .number = 30601}, NULL},
      {AON_FIELD_TIME, {.type = AON_CELL_DURATION, .number = 86400}, NULL},
      {AON_FIELD_TIME, {.type = AON_CELL_DURATION, .number = -60}, NULL},
      {AON_FIELD_TIME, {.type = AON_CELL_NUMBER, .number = 0.5}, NULL},
      {AON_FIELD_TIME, {.type = AON_CELL_DATE, .text = {"2027-01-06T08:00:00", 19}}, NULL},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    aon_field field = {.type = cases[i].type};
    aon_check check;
    aon_value value = read_cell(state, &field, &cases[i].cell, &check);
    if (cases[i].expected)
      assert_text(&value, cases[i].expected);
    else
      assert_string_equal(check.code, "bad_format");
  }
}

static void lists_keep_order_and_drop_doubles(void **state) {
  aon_field field = {.type = AON_FIELD_TEXT, .shape = AON_FIELD_LIST};
  static const char *const expected[] = {"Oslo 1", "São Paulo 1", "Lagos 1"};
  aon_check check;
  aon_cell cell = text_cell(" Oslo 1, São Paulo 1;;Lagos 1 ,OSLO 1, sa\xcc\x83o paulo 1,");
  aon_value value = read_cell(state, &field, &cell, &check);
  assert_int_equal(value.entry_count, 3);
  for (size_t i = 0; i < 3; i++)
    assert_text(&value.entries[i], expected[i]);
  cell = text_cell(" ,; ,");
  assert_int_equal(read_cell(state, &field, &cell, &check).kind, AON_VALUE_EMPTY);
  assert_null(check.code);
  cell = (aon_cell){.type = AON_CELL_NUMBER, .number = 1.5};
  value = read_cell(state, &field, &cell, &check);
  assert_int_equal(value.entry_count, 1);
  assert_text(&value.entries[0], "1.5");
}

static void lines_are_kept(void **state) {
  aon_field field = {.type = AON_FIELD_TEXT, .shape = AON_FIELD_LINES, .max_characters = AON_LONG_TEXT_CHARACTERS};
  aon_check check;
  aon_cell cell = text_cell("Clean, or not?\r\n\n  Safe; sound? \rClean, or not?\n");
  aon_value value = read_cell(state, &field, &cell, &check);
  assert_int_equal(value.entry_count, 3);
  assert_text(&value.entries[0], "Clean, or not?");
  assert_text(&value.entries[1], "Safe; sound?");
  assert_text(&value.entries[2], "Clean, or not?");
}

static void lists_have_a_limit(void **state) {
  size_t length = 0;
  char *text = malloc((AON_LIST_ENTRIES + 1) * 7);
  for (int i = 0; i <= AON_LIST_ENTRIES; i++)
    length += (size_t)sprintf(text + length, "%d,", i);
  aon_field field = {.type = AON_FIELD_TEXT, .shape = AON_FIELD_LIST};
  aon_check check;
  aon_cell cell = text_cell(text);
  read_cell(state, &field, &cell, &check);
  assert_string_equal(check.code, "too_long");
  *strrchr(text, ',') = 0;
  *strrchr(text, ',') = 0;
  cell = text_cell(text);
  assert_int_equal(read_cell(state, &field, &cell, &check).entry_count, AON_LIST_ENTRIES);
  free(text);
}

static void all_bad_entries_are_named(void **state) {
  static const char *const names[] = {"mon", "tue", "wed", NULL};
  aon_field field = {.type = AON_FIELD_CHOICE, .shape = AON_FIELD_LIST, .choices = names};
  aon_check check;
  aon_error error = AON_ERROR_INIT;
  aon_buffer out AON_BUFFER_CLEANUP = {0};
  aon_cell cell = text_cell("mon, funday, TUE, moonlight");
  read_cell(state, &field, &cell, &check);
  assert_int_equal(aon_check_sentence(&check, "Schedules", 5, 4, "mon, funday, TUE, moonlight", &out, &error), AON_OK);
  assert_string_equal(out.data,
                      "Schedules!E4: In this list “funday” is not one of the allowed words; “moonlight” is not one of the allowed words. "
                      "Write one of: mon, tue, wed.");
  char many[8000];
  size_t length = 0;
  for (int i = 0; i < 300; i++)
    length += (size_t)sprintf(many + length, "someday%d,", i);
  cell = text_cell(many);
  read_cell(state, &field, &cell, &check);
  aon_buffer_clear(&out);
  assert_int_equal(aon_check_sentence(&check, "Schedules", 5, 4, NULL, &out, &error), AON_OK);
  assert_non_null(strstr(out.data, " more. Write one of"));
}

static void sentences_say_what_to_do(void **state) {
  static const char *const words[] = {"once", "daily", "weekly", "monthly", NULL};
  static const struct {
    aon_field field;
    const char *cell, *sentence;
  } cases[] = {
      {{.type = AON_FIELD_EMAIL}, "bob", "Users!B7: “bob” is not an email address. Write one such as ann@example.com."},
      {{.type = AON_FIELD_CHOICE, .choices = words},
       "weakly",
       "Users!B7: “weakly” is not one of the allowed words. Did you mean weekly? Allowed: once, daily, weekly, monthly."},
      {{.type = AON_FIELD_TIME_ZONE},
       "America/New York",
       "Users!B7: “America/New York” is not a time zone of the IANA database. Did you mean America/New_York?"},
      {{.type = AON_FIELD_COUNTRY},
       "UK",
       "Users!B7: “UK” is not the code of any country (ISO 3166). The code of the United Kingdom is GB."},
      {{.type = AON_FIELD_ID, .key = true},
       "a/b",
       "Users!B7: “a/b” holds the character /, which an id can't have. Use letters, digits, - and _, such as site-12."},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    aon_check check;
    aon_error error = AON_ERROR_INIT;
    aon_buffer out AON_BUFFER_CLEANUP = {0};
    aon_cell cell = text_cell(cases[i].cell);
    read_cell(state, &cases[i].field, &cell, &check);
    assert_int_equal(aon_check_sentence(&check, "Users", 2, 7, cases[i].cell, &out, &error), AON_OK);
    assert_string_equal(out.data, cases[i].sentence);
  }
}

static void sensitive_values_are_never_quoted(void **state) {
  aon_field field = {.type = AON_FIELD_TEXT, .min_characters = 8, .sensitive = true};
  aon_check check;
  aon_error error = AON_ERROR_INIT;
  aon_buffer out AON_BUFFER_CLEANUP = {0};
  aon_cell cell = text_cell("s3cret");
  read_cell(state, &field, &cell, &check);
  assert_int_equal(aon_check_sentence(&check, "Users", 13, 9, NULL, &out, &error), AON_OK);
  assert_string_equal(out.data, "Users!M9: The value is too short. Write at least 8 characters.");
  field.shape = AON_FIELD_LIST;
  read_cell(state, &field, &cell, &check);
  assert_null(strstr(check.problem, "s3cret"));
  assert_non_null(check.code);
}

static void long_values_are_cut_in_sentences(void **state) {
  (void)state;
  aon_check check = {0};
  aon_error error = AON_ERROR_INIT;
  aon_buffer out AON_BUFFER_CLEANUP = {0};
  char shown[500] = "";
  for (int i = 0; i < 100; i++)
    strcat(shown, "é");
  aon_check_fail(&check, "not_found", "", "is nowhere");
  assert_int_equal(aon_check_sentence(&check, "S", 1, 1, shown, &out, &error), AON_OK);
  assert_int_equal(out.length, strlen("S!A1: “") + 2 * AON_SHOWN_CHARACTERS + strlen("…” is nowhere."));
}

static void clear_and_empty(void **state) {
  aon_field field = {.type = AON_FIELD_NUMBER};
  aon_check check;
  aon_cell cell = text_cell(" CLEAR ");
  assert_int_equal(read_cell(state, &field, &cell, &check).kind, AON_VALUE_CLEAR);
  cell = text_cell("Clear");
  read_cell(state, &field, &cell, &check);
  assert_string_equal(check.code, "bad_type");
  cell = text_cell(" \xe2\x80\x8b\xc2\xa0");
  assert_true(aon_cell_blank(&cell));
  assert_int_equal(read_cell(state, &field, &cell, &check).kind, AON_VALUE_EMPTY);
  assert_int_equal(read_cell(state, &field, NULL, &check).kind, AON_VALUE_EMPTY);
  assert_null(check.code);
}

static void a_nul_is_forbidden(void **state) {
  aon_field field = {.type = AON_FIELD_TEXT};
  aon_check check;
  aon_cell cell = {.type = AON_CELL_TEXT, .text = {"a\0b", 3}};
  read_cell(state, &field, &cell, &check);
  assert_string_equal(check.code, "forbidden_character");
}

static void organizations(void **state) {
  (void)state;
  static const struct {
    const char *name, *code;
  } cases[] = {{"org1", NULL},
               {"ACME GmbH & Co", NULL},
               {"", "required"},
               {".", "forbidden_character"},
               {"..", "forbidden_character"},
               {"a/b", "forbidden_character"},
               {"__x__", "not_allowed"},
               {"____", "not_allowed"},
               {"__x", NULL},
               {"a\nb", "forbidden_character"},
               {"a$b", "forbidden_character"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    aon_check check = {0};
    aon_check_organization(text_of(cases[i].name), &check);
    if (cases[i].code)
      assert_string_equal(check.code, cases[i].code);
    else
      assert_null(check.code);
  }
}

static void names_of_types(void **state) {
  (void)state;
  aon_field_type type;
  for (int i = 0; i < AON_FIELD_TYPE_COUNT; i++) {
    assert_true(aon_field_type_parse(aon_field_type_name((aon_field_type)i), &type));
    assert_int_equal(type, i);
  }
  assert_false(aon_field_type_parse("string", &type));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(texts_have_one_form_or_one_code),
      cmocka_unit_test(lengths_count_characters),
      cmocka_unit_test(cells_become_text),
      cmocka_unit_test(numbers_do_not_depend_on_the_locale),
      cmocka_unit_test(error_cells_are_of_the_wrong_type),
      cmocka_unit_test(numbers_come_from_cells_and_text),
      cmocka_unit_test(integers_are_whole),
      cmocka_unit_test(integers_beside_words),
      cmocka_unit_test(booleans),
      cmocka_unit_test(date_and_time_cells),
      cmocka_unit_test(lists_keep_order_and_drop_doubles),
      cmocka_unit_test(lines_are_kept),
      cmocka_unit_test(lists_have_a_limit),
      cmocka_unit_test(all_bad_entries_are_named),
      cmocka_unit_test(sentences_say_what_to_do),
      cmocka_unit_test(sensitive_values_are_never_quoted),
      cmocka_unit_test(long_values_are_cut_in_sentences),
      cmocka_unit_test(clear_and_empty),
      cmocka_unit_test(a_nul_is_forbidden),
      cmocka_unit_test(organizations),
      cmocka_unit_test(names_of_types),
  };
  return cmocka_run_group_tests(tests, open_arena, close_arena);
}
