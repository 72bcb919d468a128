/* Number formats, and serial numbers as dates.
 *
 * Only the first section of a format counts: it is the one for positive numbers, and serial numbers are positive.
 * Serial numbers: ECMA-376 part 1, 18.17.4 (dates and times). The 1900 system has a 29 February 1900 that never was, as number 60. */
#include "sheet/numfmt.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#define DAY_MS INT64_C(86400000)
#define LAST_SERIAL_1900 2958465 /* 9999-12-31 */
#define LAST_SERIAL_1904 2957003

/* [h], [mm], [ss]: time that does not stop at midnight. */
static bool is_elapsed(const char *inside, size_t length) {
  if (!length)
    return false;
  char first = inside[0] | 0x20;
  if (first != 'h' && first != 'm' && first != 's')
    return false;
  for (size_t i = 1; i < length; i++) {
    if ((inside[i] | 0x20) != first)
      return false;
  }
  return true;
}

static bool starts_with(const char *at, const char *end, const char *word) {
  size_t length = strlen(word);
  return (size_t)(end - at) >= length && !strncasecmp(at, word, length);
}

aon_numfmt aon_numfmt_of_code(const char *code, size_t length) {
  const char *end = code + length;
  aon_numfmt kind = AON_NUMFMT_PLAIN;
  for (const char *at = code; at < end && *at != ';'; at++) {
    const char *close;
    switch (*at) {
    case '\\':
    case '_':
    case '*':
      at++;
      break;
    case '"':
      close = memchr(at + 1, '"', (size_t)(end - at - 1));
      at = close ? close : end - 1;
      break;
    case '[':
      close = memchr(at, ']', (size_t)(end - at));
      if (!close)
        return kind;
      if (is_elapsed(at + 1, (size_t)(close - at - 1)))
        return AON_NUMFMT_DURATION;
      at = close;
      break;
    case 'G':
    case 'g':
      if (starts_with(at, end, "general"))
        at += 6;
      break;
    case 'A':
    case 'a':
      if (starts_with(at, end, "am/pm") || starts_with(at, end, "a/p") || starts_with(at, end, "aaa"))
        kind = AON_NUMFMT_DATE;
      break;
    case 'd':
    case 'D':
    case 'm':
    case 'M':
    case 'y':
    case 'Y':
    case 'h':
    case 'H':
    case 's':
    case 'S':
      kind = AON_NUMFMT_DATE;
      break;
    default:
      break;
    }
  }
  return kind;
}

/* 14-22 and 45-47 everywhere; 27-36 and 50-58 are dates in Chinese, Japanese and Korean versions, 71-81 in Thai ones. */
aon_numfmt aon_numfmt_of_id(uint32_t id) {
  if (id == 46)
    return AON_NUMFMT_DURATION;
  bool date = (id >= 14 && id <= 22) || id == 45 || id == 47 || (id >= 27 && id <= 36) || (id >= 50 && id <= 58) || (id >= 71 && id <= 81);
  return date ? AON_NUMFMT_DATE : AON_NUMFMT_PLAIN;
}

/* Days since 1970-01-01 of the proleptic Gregorian calendar to year, month, day. Source: Hinnant, "chrono-Compatible Low-Level
 * Date Algorithms", civil_from_days. */
static void civil_from_days(int64_t days, int *ret_year, int *ret_month, int *ret_day) {
  days += 719468;
  int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  int64_t of_era = days - era * 146097;
  int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  int64_t month = (5 * of_year + 2) / 153;
  *ret_day = (int)(of_year - (153 * month + 2) / 5 + 1);
  *ret_month = (int)(month < 10 ? month + 3 : month - 9);
  *ret_year = (int)(year_of_era + era * 400 + (*ret_month <= 2));
}

/* By hand, because there may be one in every other cell and printf takes longer than all the rest. */
static void put_digits(aon_serial *serial, int number, int count) {
  for (int i = count; i--; number /= 10)
    serial->text[serial->length + (size_t)i] = (char)('0' + number % 10);
  serial->length += (size_t)count;
}

static void put_sign(aon_serial *serial, char sign) { serial->text[serial->length++] = sign; }

static void put_time(aon_serial *serial, int64_t ms) {
  put_digits(serial, (int)(ms / 3600000), 2);
  put_sign(serial, ':');
  put_digits(serial, (int)(ms / 60000 % 60), 2);
  put_sign(serial, ':');
  put_digits(serial, (int)(ms / 1000 % 60), 2);
  if (ms % 1000) {
    put_sign(serial, '.');
    put_digits(serial, (int)(ms % 1000), 3);
  }
}

static void put_date(aon_serial *serial, int year, int month, int day, int64_t ms) {
  put_digits(serial, year, 4);
  put_sign(serial, '-');
  put_digits(serial, month, 2);
  put_sign(serial, '-');
  put_digits(serial, day, 2);
  if (ms) {
    put_sign(serial, 'T');
    put_time(serial, ms);
  }
}

bool aon_serial_format(double serial, bool date1904, aon_serial *ret_serial) {
  if (!(serial >= 0) || serial >= (date1904 ? LAST_SERIAL_1904 : LAST_SERIAL_1900) + 1)
    return false;
  int64_t day = (int64_t)serial;
  int64_t ms = llround((serial - (double)day) * (double)DAY_MS);
  if (ms == DAY_MS) {
    day++;
    ms = 0;
  }
  aon_serial made = {.is_time = day == 0};
  int year = 1900, month = 2, day_of_month = 29;
  if (day == 0)
    put_time(&made, ms);
  else {
    if (date1904)
      civil_from_days(day - 24107, &year, &month, &day_of_month);
    else if (day != 60)
      civil_from_days(day - (day < 60 ? 25568 : 25569), &year, &month, &day_of_month);
    if (year > 9999)
      return false;
    put_date(&made, year, month, day_of_month, ms);
  }
  *ret_serial = made;
  return true;
}

static bool take_digits(const char **at, const char *end, int count, int *ret_value) {
  int value = 0;
  if (end - *at < count)
    return false;
  for (int i = 0; i < count; i++) {
    if ((*at)[i] < '0' || (*at)[i] > '9')
      return false;
    value = value * 10 + ((*at)[i] - '0');
  }
  *at += count;
  *ret_value = value;
  return true;
}

static bool take_sign(const char **at, const char *end, char sign) {
  if (*at == end || **at != sign)
    return false;
  ++*at;
  return true;
}

/* hh:mm[:ss[.fff…]] with an offset that is dropped: a cell has no time zone. */
static bool take_time(const char **at, const char *end, int64_t *ret_ms) {
  int hour, minute, second = 0, scale = 100, ms = 0;
  if (!take_digits(at, end, 2, &hour) || !take_sign(at, end, ':') || !take_digits(at, end, 2, &minute))
    return false;
  if (take_sign(at, end, ':') && !take_digits(at, end, 2, &second))
    return false;
  if (take_sign(at, end, '.')) {
    for (int digit; take_digits(at, end, 1, &digit); scale /= 10)
      ms += digit * scale;
  }
  int skipped;
  if (!take_sign(at, end, 'Z') && (take_sign(at, end, '+') || take_sign(at, end, '-')) &&
      !(take_digits(at, end, 2, &skipped) && take_sign(at, end, ':') && take_digits(at, end, 2, &skipped)))
    return false;
  if (hour > 23 || minute > 59 || second > 59)
    return false;
  *ret_ms = ((hour * 60 + minute) * 60 + second) * INT64_C(1000) + ms;
  return *at == end;
}

static int days_in(int year, int month) {
  static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = (year % 4 == 0 && year % 100) || year % 400 == 0 || year == 1900; /* the day that never was is let through */
  return month == 2 && leap ? 29 : days[month - 1];
}

bool aon_serial_from_iso(const char *text, size_t length, aon_serial *ret_serial) {
  const char *at = text, *end = text + length;
  aon_serial made = {0};
  int64_t ms = 0;
  int year, month, day;
  if (length >= 3 && text[2] == ':') {
    if (!take_time(&at, end, &ms))
      return false;
    made.is_time = true;
    put_time(&made, ms);
  } else {
    if (!take_digits(&at, end, 4, &year) || !take_sign(&at, end, '-') || !take_digits(&at, end, 2, &month) || !take_sign(&at, end, '-') ||
        !take_digits(&at, end, 2, &day))
      return false;
    if (month < 1 || month > 12 || day < 1 || day > days_in(year, month))
      return false;
    if (at != end && !((take_sign(&at, end, 'T') || take_sign(&at, end, ' ')) && take_time(&at, end, &ms)))
      return false;
    put_date(&made, year, month, day, ms);
  }
  *ret_serial = made;
  return true;
}
