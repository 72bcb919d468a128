/* Cells as text: trimming, lengths, numbers, and the text form of each kind of cell.
 * Invariant: nothing here depends on the locale of the process. */
#include <float.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "pack/types.h"

#define NUMBER_INPUT_BYTES 400 /* longer texts are no number that a person writes */

/* The characters with the Unicode property White_Space, and the zero-width marks that are pasted along unseen. */
static bool is_space(utf8proc_int32_t c) {
  return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200b) || c == 0x2028 ||
         c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x2060 || c == 0x3000 || c == 0xfeff;
}

/* Length of the white-space character that the text begins with, 0: none. */
static size_t space_at(const char *data, size_t length) {
  utf8proc_int32_t c;
  utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)data, (utf8proc_ssize_t)length, &c);
  return step > 0 && is_space(c) ? (size_t)step : 0;
}

aon_text aon_text_trim(aon_text text) {
  size_t step;
  while (text.length && (step = space_at(text.data, text.length))) {
    text.data += step;
    text.length -= step;
  }
  while (text.length) {
    size_t start = text.length - 1;
    while (start && ((unsigned char)text.data[start] & 0xc0) == 0x80)
      start--;
    if (space_at(text.data + start, text.length - start) != text.length - start)
      break;
    text.length = start;
  }
  return text;
}

size_t aon_text_characters(aon_text text) {
  size_t count = 0;
  for (size_t i = 0; i < text.length; i++)
    count += ((unsigned char)text.data[i] & 0xc0) != 0x80;
  return count;
}

/* Digits of the shortest decimal that reads back to the same double, and the power of ten of the first one. A decimal of up to
 * 15 digits survives the way through a double, so 15 digits without their trailing zeros are the shortest if they read back at all.
 * Subnormal numbers have fewer. */
static int shortest_digits(double number, char ret_digits[20], int *ret_exponent) {
  char text[40];
  for (int precision = number < DBL_MIN ? 1 : 15; precision <= 17; precision++) {
    snprintf(text, sizeof text, "%.*e", precision - 1, number);
    if (strtod(text, NULL) == number)
      break;
  }
  int count = 0;
  const char *p = text;
  for (; *p != 'e'; p++)
    if (*p >= '0' && *p <= '9')
      ret_digits[count++] = *p;
  *ret_exponent = atoi(p + 1);
  while (count > 1 && ret_digits[count - 1] == '0')
    count--;
  ret_digits[count] = 0;
  return count;
}

void aon_number_text(double number, char ret_text[AON_NUMBER_TEXT]) {
  char digits[20];
  int exponent;
  if (number == 0 || !isfinite(number)) {
    strcpy(ret_text, "0");
    return;
  }
  int count = shortest_digits(fabs(number), digits, &exponent);
  char *out = ret_text;
  if (number < 0)
    *out++ = '-';
  if (exponent < -7 || exponent >= 21) {
    *out++ = digits[0];
    if (count > 1)
      out += sprintf(out, ".%s", digits + 1);
    sprintf(out, "e%+d", exponent);
  } else if (exponent < 0) {
    sprintf(out, "0.%.*s%s", -exponent - 1, "0000000", digits);
  } else if (count <= exponent + 1) {
    sprintf(out, "%s%.*s", digits, exponent + 1 - count, "000000000000000000000");
  } else {
    sprintf(out, "%.*s.%s", exponent + 1, digits, digits + exponent + 1);
  }
}

static size_t skip_digits(aon_text text, size_t at) {
  while (at < text.length && text.data[at] >= '0' && text.data[at] <= '9')
    at++;
  return at;
}

static bool is_number(aon_text text) {
  size_t at = text.length && (text.data[0] == '+' || text.data[0] == '-');
  size_t start = at;
  at = skip_digits(text, at);
  size_t digits = at - start;
  if (at < text.length && text.data[at] == '.') {
    start = at + 1;
    at = skip_digits(text, start);
    digits += at - start;
  }
  if (!digits)
    return false;
  if (at < text.length && (text.data[at] == 'e' || text.data[at] == 'E')) {
    at++;
    at += at < text.length && (text.data[at] == '+' || text.data[at] == '-');
    start = at;
    at = skip_digits(text, at);
    if (at == start)
      return false;
  }
  return at == text.length;
}

bool aon_number_parse(aon_text text, double *ret_number) {
  char copy[NUMBER_INPUT_BYTES + 16];
  if (text.length > NUMBER_INPUT_BYTES || !is_number(text))
    return false;
  const char *local_point = localeconv()->decimal_point;
  size_t point_length = strnlen(local_point, 15), length = 0;
  for (size_t i = 0; i < text.length; i++) {
    if (text.data[i] == '.') {
      memcpy(copy + length, local_point, point_length);
      length += point_length;
    } else {
      copy[length++] = text.data[i];
    }
  }
  copy[length] = 0;
  double number = strtod(copy, NULL);
  if (!isfinite(number))
    return false;
  *ret_number = number;
  return true;
}

static void duration_text(double seconds, char *ret_text, size_t size) {
  int64_t ms = fabs(seconds) < 1e12 ? llround(fabs(seconds) * 1000) : 0;
  int written = snprintf(ret_text, size, "%s%" PRId64 ":%02d:%02d", seconds < 0 ? "-" : "", ms / 3600000, (int)(ms / 60000 % 60),
                         (int)(ms / 1000 % 60));
  if (ms % 1000)
    snprintf(ret_text + written, size - (size_t)written, ".%03d", (int)(ms % 1000));
}

/* A date that carries midnight as its time of day is a date without one. */
static aon_text date_part(aon_text text) {
  static const char midnight[] = "T00:00:00";
  if (text.length >= 19 && !memcmp(text.data + 10, midnight, 9) && strspn(text.data + 19, ".0") == text.length - 19)
    text.length = 10;
  return text;
}

static aon_text raw_text(const aon_cell *cell, char scratch[64]) {
  switch (cell->type) {
  case AON_CELL_NUMBER:
    aon_number_text(cell->number, scratch);
    return (aon_text){scratch, strlen(scratch)};
  case AON_CELL_DURATION:
    duration_text(cell->number, scratch, 64);
    return (aon_text){scratch, strlen(scratch)};
  case AON_CELL_BOOLEAN:
    return cell->number != 0 ? AON_TEXT("TRUE") : AON_TEXT("FALSE");
  case AON_CELL_DATE:
    return date_part(cell->text);
  case AON_CELL_TEXT:
  case AON_CELL_ERROR:
  case AON_CELL_TIME:
    return cell->text;
  case AON_CELL_EMPTY:
    break;
  }
  return (aon_text){"", 0};
}

bool aon_cell_blank(const aon_cell *cell) {
  return !cell || cell->type == AON_CELL_EMPTY || (cell->type == AON_CELL_TEXT && !aon_text_trim(cell->text).length);
}

bool aon_cell_clears(const aon_cell *cell) {
  if (!cell || cell->type != AON_CELL_TEXT)
    return false;
  aon_text text = aon_text_trim(cell->text);
  return text.length == sizeof AON_CLEAR_WORD - 1 && !memcmp(text.data, AON_CLEAR_WORD, text.length);
}

static void check_characters(aon_text text, aon_check *check) {
  utf8proc_int32_t c;
  for (size_t at = 0; at < text.length;) {
    utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)text.data + at, (utf8proc_ssize_t)(text.length - at), &c);
    if (step <= 0) {
      aon_check_fail(check, "bad_format", "Type it anew, or save the file as UTF-8.", "holds bytes that are no text");
      return;
    }
    if (!c) {
      aon_check_fail(check, "forbidden_character", "Type it anew.", "holds an invisible NUL character");
      return;
    }
    at += (size_t)step;
  }
}

aon_result aon_cell_text(const aon_cell *cell, aon_arena *arena, aon_text *ret_text, aon_check *check, aon_error *error) {
  char scratch[64];
  aon_text text = {"", 0};
  if (cell && cell->type == AON_CELL_ERROR) {
    aon_check_fail(check, "bad_type", "Correct the formula, or type the value itself.", "is an error of the spreadsheet, not a value");
  } else if (cell) {
    text = aon_text_trim(raw_text(cell, scratch));
    check_characters(text, check);
    if (check->code)
      text.length = 0;
  }
  char *copy = aon_arena_text(arena, text.data, text.length);
  if (!copy)
    return aon_fail_memory(error);
  *ret_text = (aon_text){copy, text.length};
  return AON_OK;
}

aon_result aon_cell_shown(const aon_cell *cell, aon_arena *arena, const char **ret_text, aon_error *error) {
  char scratch[64];
  *ret_text = NULL;
  if (aon_cell_blank(cell))
    return AON_OK;
  aon_text text = aon_text_trim(raw_text(cell, scratch));
  *ret_text = aon_arena_text(arena, text.data, text.length);
  return *ret_text ? AON_OK : aon_fail_memory(error);
}
