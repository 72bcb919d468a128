/* Text, ids and instants. Invariant: each of them has one spelling that we write; what we read is that, or refused. */
#include "model/text.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utf8proc.h>

#include "aon/operation.h"
#include "base/arena.h"

#define DAY_MS INT64_C(86400000)
#define INSTANT_MIN INT64_C(-62167219200000) /* 0000-01-01T00:00:00.000Z */
#define INSTANT_MAX INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */
#define HASH_STACK_BYTES 1024
#define DISTANCE_LENGTH 128 /* longer texts are no misspelt names */

void aon_uuid_make(aon_env *env, char ret_uuid[AON_UUID_LENGTH + 1]) {
  static const char digits[] = "0123456789abcdef";
  unsigned char bytes[16];
  aon_random(env, bytes, sizeof bytes);
  bytes[6] = (unsigned char)((bytes[6] & 0x0f) | 0x40); /* RFC 9562: version 4, its variant */
  bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
  char *at = ret_uuid;
  for (size_t i = 0; i < sizeof bytes; i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10)
      *at++ = '-';
    *at++ = digits[bytes[i] >> 4];
    *at++ = digits[bytes[i] & 15];
  }
  *at = 0;
}

bool aon_uuid_valid(const char *text) {
  for (size_t i = 0; i < AON_UUID_LENGTH; i++) {
    char c = text[i];
    bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? c != '-' : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
      return false;
  }
  return text[AON_UUID_LENGTH] == 0;
}

/* Days since 1970-01-01 and back, for the Gregorian calendar (H. Hinnant, chrono-compatible low-level date algorithms). */
static int64_t days_of_date(int64_t year, int month, int day) {
  year -= month <= 2;
  int64_t era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
  int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void date_of_days(int64_t days, int *ret_year, int *ret_month, int *ret_day) {
  days += 719468;
  int64_t era = (days >= 0 ? days : days - 146096) / 146097, of_era = days - era * 146097;
  int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  int64_t of_year = of_era - (365 * year + year / 4 - year / 100), shifted = (5 * of_year + 2) / 153;
  *ret_day = (int)(of_year - (153 * shifted + 2) / 5 + 1);
  *ret_month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
  *ret_year = (int)(year + era * 400 + (*ret_month <= 2));
}

/* Instants beyond the years 0000 to 9999, which the text can't say, give the nearest that it can. */
void aon_instant_format(int64_t ms, char ret_text[AON_INSTANT_LENGTH + 1]) {
  ms = ms < INSTANT_MIN ? INSTANT_MIN : ms > INSTANT_MAX ? INSTANT_MAX : ms;
  int64_t days = ms / DAY_MS - (ms % DAY_MS < 0), of_day = ms - days * DAY_MS;
  int year, month, day;
  date_of_days(days, &year, &month, &day);
  char text[128];
  snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", year, month, day, (int)(of_day / 3600000), (int)(of_day / 60000 % 60),
           (int)(of_day / 1000 % 60), (int)(of_day % 1000));
  memcpy(ret_text, text, AON_INSTANT_LENGTH);
  ret_text[AON_INSTANT_LENGTH] = 0;
}

static bool take_digits(const char **text, int count, int *ret_value) {
  int value = 0;
  for (int i = 0; i < count; i++, ++*text) {
    if (**text < '0' || **text > '9')
      return false;
    value = value * 10 + (**text - '0');
  }
  *ret_value = value;
  return true;
}

static bool take(const char **text, char c) {
  bool there = **text == c;
  *text += there;
  return there;
}

typedef struct calendar {
  int year, month, day, hour, minute, second, ms;
} calendar;

static bool calendar_valid(const calendar *c) {
  static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (c->month < 1 || c->month > 12 || c->hour > 23 || c->minute > 59 || c->second > 60)
    return false;
  bool leap = (c->year % 4 == 0 && c->year % 100 != 0) || c->year % 400 == 0;
  return c->day >= 1 && c->day <= days[c->month - 1] + (leap && c->month == 2);
}

static bool take_calendar(const char **text, calendar *ret) {
  *ret = (calendar){0};
  if (!take_digits(text, 4, &ret->year) || !take(text, '-') || !take_digits(text, 2, &ret->month) || !take(text, '-') ||
      !take_digits(text, 2, &ret->day) || !(take(text, 'T') || take(text, 't') || take(text, ' ')) || !take_digits(text, 2, &ret->hour) ||
      !take(text, ':') || !take_digits(text, 2, &ret->minute))
    return false;
  if (take(text, ':') && !take_digits(text, 2, &ret->second))
    return false;
  if (take(text, '.')) {
    int place = 100;
    if (**text < '0' || **text > '9')
      return false;
    for (; **text >= '0' && **text <= '9'; ++*text, place /= 10)
      ret->ms += place * (**text - '0');
  }
  return calendar_valid(ret);
}

static bool local_instant(const calendar *c, int64_t *ret_ms) {
  struct tm local = {.tm_year = c->year - 1900,
                     .tm_mon = c->month - 1,
                     .tm_mday = c->day,
                     .tm_hour = c->hour,
                     .tm_min = c->minute,
                     .tm_sec = c->second,
                     .tm_isdst = -1,
                     .tm_wday = -1};
  time_t seconds = mktime(&local);
  if (local.tm_wday == -1) /* -1 is also a second of 1969, so this tells failure */
    return false;
  *ret_ms = (int64_t)seconds * 1000 + c->ms;
  return true;
}

bool aon_instant_parse(const char *text, int64_t *ret_ms) {
  calendar c;
  if (!take_calendar(&text, &c))
    return false;
  if (!*text)
    return local_instant(&c, ret_ms);
  int hours = 0, minutes = 0;
  bool minus = *text == '-';
  if (take(&text, 'Z') || take(&text, 'z'))
    hours = 0;
  else if (!(take(&text, '+') || take(&text, '-')) || !take_digits(&text, 2, &hours) || !take(&text, ':') ||
           !take_digits(&text, 2, &minutes) || hours > 23 || minutes > 59)
    return false;
  if (*text)
    return false;
  int64_t offset_ms = (hours * 60 + minutes) * INT64_C(60000);
  *ret_ms = days_of_date(c.year, c.month, c.day) * DAY_MS + c.hour * INT64_C(3600000) + c.minute * INT64_C(60000) +
            c.second * INT64_C(1000) + c.ms - (minus ? -offset_ms : offset_ms);
  return true;
}

typedef struct unit {
  const char *name;
  uint64_t factor;
} unit;

/* A whole number and a unit; units ends with a name of NULL. */
static bool parse_quantity(const char *text, const unit *units, uint64_t limit, uint64_t *ret_value) {
  uint64_t value = 0;
  const char *at = text;
  for (; *at >= '0' && *at <= '9'; at++)
    if (__builtin_mul_overflow(value, 10u, &value) || __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
      return false;
  if (at == text)
    return false;
  for (; units->name; units++)
    if (strcmp(at, units->name) == 0)
      break;
  if (!units->name || __builtin_mul_overflow(value, units->factor, &value) || value > limit)
    return false;
  *ret_value = value;
  return true;
}

bool aon_duration_parse(const char *text, int64_t *ret_ms) {
  static const unit units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
  uint64_t value = 0;
  if (strcmp(text, "0") != 0 && !parse_quantity(text, units, INT64_MAX, &value))
    return false;
  *ret_ms = (int64_t)value;
  return true;
}

bool aon_size_parse(const char *text, uint64_t *ret_bytes) {
  static const unit units[] = {{"", 1}, {"KiB", 1u << 10}, {"MiB", 1u << 20}, {"GiB", 1u << 30}, {NULL, 0}};
  return parse_quantity(text, units, UINT64_MAX, ret_bytes);
}

static bool fold_ascii(const char *text, size_t length, char *out) {
  for (size_t i = 0; i < length; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c >= 0x80)
      return false;
    out[i] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
  }
  return true;
}

/* Takes over *text; NULL stays NULL. */
static utf8proc_ssize_t map_text(utf8proc_uint8_t **text, utf8proc_ssize_t length, int options) {
  utf8proc_uint8_t *mapped = NULL;
  length = utf8proc_map(*text, length, &mapped, (utf8proc_option_t)options);
  free(*text);
  *text = mapped;
  return length;
}

static utf8proc_ssize_t fold_unicode(const char *text, size_t length, utf8proc_uint8_t **ret_folded) {
  const int compose = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
  utf8proc_uint8_t *folded = NULL;
  utf8proc_ssize_t folded_length =
      utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)length, &folded, (utf8proc_option_t)compose);
  if (folded_length >= 0)
    folded_length = map_text(&folded, folded_length, UTF8PROC_CASEFOLD);
  if (folded_length >= 0)
    folded_length = map_text(&folded, folded_length, compose);
  *ret_folded = folded;
  return folded_length;
}

aon_result aon_text_fold(const char *text, size_t length, aon_buffer *out, aon_error *error) {
  aon_result result = aon_buffer_reserve(out, length, error);
  if (result)
    return result;
  if (fold_ascii(text, length, out->data + out->length)) {
    out->data[out->length += length] = 0;
    return AON_OK;
  }
  out->data[out->length] = 0;
  utf8proc_uint8_t *folded;
  utf8proc_ssize_t folded_length = fold_unicode(text, length, &folded);
  if (folded_length == UTF8PROC_ERROR_NOMEM)
    return aon_fail_memory(error);
  if (folded_length < 0)
    return aon_fail(error, AON_REJECTED, "bad_format", "The text is no valid UTF-8; save it as UTF-8 and try again.");
  result = aon_buffer_append(out, folded, (size_t)folded_length, error);
  free(folded);
  return result;
}

static aon_result join_part(aon_text part, aon_buffer *out, aon_error *error) {
  size_t start = 0;
  aon_result result = AON_OK;
  for (size_t i = 0; i < part.length && !result; i++) {
    if (part.data[i] != ':' && part.data[i] != '%')
      continue;
    result = aon_buffer_append(out, part.data + start, i - start, error);
    if (!result)
      result = aon_buffer_append(out, part.data[i] == ':' ? "%3A" : "%25", 3, error);
    start = i + 1;
  }
  return result ? result : aon_buffer_append(out, part.data + start, part.length - start, error);
}

aon_result aon_id_join(const aon_text *parts, size_t count, aon_buffer *out, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; i < count && !result; i++) {
    if (i > 0)
      result = aon_buffer_append(out, ":", 1, error);
    if (!result)
      result = join_part(parts[i], out, error);
  }
  return result;
}

/* Only the two escapes that joining makes: else one document would have two ids. */
static bool decode_part(const char *at, size_t length, char *out, size_t *ret_length) {
  size_t count = 0;
  for (size_t i = 0; i < length; i++) {
    char c = at[i];
    if (c == '%') {
      if (length - i < 3)
        return false;
      c = memcmp(at + i, "%3A", 3) == 0 ? ':' : memcmp(at + i, "%25", 3) == 0 ? '%' : 0;
      if (!c)
        return false;
      i += 2;
    }
    out[count++] = c;
  }
  *ret_length = count;
  return true;
}

aon_result aon_id_split(aon_text id, size_t count, struct aon_arena *arena, aon_text *ret_parts, bool *ret_fits, aon_error *error) {
  size_t colons = 0;
  for (size_t i = 0; i < id.length; i++)
    colons += id.data[i] == ':';
  *ret_fits = count > 0 && colons == count - 1;
  const char *at = id.data, *end = id.data + id.length;
  for (size_t i = 0; *ret_fits && i < count; i++) {
    const char *colon = at < end ? memchr(at, ':', (size_t)(end - at)) : NULL;
    size_t length = (size_t)((colon ? colon : end) - at);
    char *part = aon_arena_alloc(arena, length + 1); /* NUL behind it, for those who need one */
    if (!part)
      return aon_fail_memory(error);
    *ret_fits = decode_part(at, length, part, &ret_parts[i].length);
    ret_parts[i].data = part;
    at += length + (colon != NULL);
  }
  return AON_OK;
}

static void pack_length(size_t length, unsigned char out[8]) {
  for (size_t i = 0; i < 8; i++)
    out[i] = (unsigned char)((uint64_t)length >> 8 * i);
}

/* The same bytes as below, in one call: the hash of every document is taken. */
static bool hash_short(const aon_text parts[3], unsigned char ret_hash[crypto_generichash_BYTES_MIN]) {
  unsigned char bytes[HASH_STACK_BYTES];
  size_t length = 0;
  for (size_t i = 0; i < 3; i++) {
    if (parts[i].length > sizeof bytes - 8 - length)
      return false;
    pack_length(parts[i].length, bytes + length);
    if (parts[i].length)
      memcpy(bytes + length + 8, parts[i].data, parts[i].length);
    length += 8 + parts[i].length;
    if (length > sizeof bytes - 8)
      return false;
  }
  crypto_generichash(ret_hash, crypto_generichash_BYTES_MIN, bytes, length, NULL, 0);
  return true;
}

static void hash_any(const aon_text parts[3], unsigned char ret_hash[crypto_generichash_BYTES_MIN]) {
  crypto_generichash_state state;
  crypto_generichash_init(&state, NULL, 0, crypto_generichash_BYTES_MIN);
  for (size_t i = 0; i < 3; i++) {
    unsigned char length[8];
    pack_length(parts[i].length, length);
    crypto_generichash_update(&state, length, sizeof length);
    crypto_generichash_update(&state, (const unsigned char *)parts[i].data, parts[i].length);
  }
  crypto_generichash_final(&state, ret_hash, crypto_generichash_BYTES_MIN);
}

/* libsodium has no BLAKE2b shorter than 128 bits: these are its first 64, little-endian. */
uint64_t aon_document_hash(const char *store, const char *collection, aon_text id) {
  const aon_text parts[3] = {{store, strlen(store)}, {collection, strlen(collection)}, id};
  unsigned char hash[crypto_generichash_BYTES_MIN];
  if (!hash_short(parts, hash))
    hash_any(parts, hash);
  uint64_t value = 0;
  for (size_t i = 8; i-- > 0;)
    value = value << 8 | hash[i];
  return value;
}

uint64_t aon_operation_hash(const aon_operation *operation) {
  return operation->hash ? operation->hash : aon_document_hash(operation->collection->store, operation->collection->name, operation->id);
}

size_t aon_text_distance(const char *a, const char *b, size_t limit) {
  size_t a_length = strlen(a), b_length = strlen(b);
  size_t apart = a_length > b_length ? a_length - b_length : b_length - a_length;
  if (apart > limit || a_length > DISTANCE_LENGTH || b_length > DISTANCE_LENGTH)
    return strcmp(a, b) == 0 ? 0 : limit + 1;
  size_t row[DISTANCE_LENGTH + 1]; /* V. I. Levenshtein, 1966; one row at a time */
  for (size_t j = 0; j <= b_length; j++)
    row[j] = j;
  for (size_t i = 1; i <= a_length; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b_length; j++) {
      size_t least = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      if (row[j] + 1 < least)
        least = row[j] + 1;
      if (row[j - 1] + 1 < least)
        least = row[j - 1] + 1;
      row[j] = least;
    }
  }
  return row[b_length] > limit ? limit + 1 : row[b_length];
}

void aon_column_name(uint32_t column, char ret_name[8]) {
  char letters[8];
  size_t count = 0, length = 0;
  for (; column > 0; column = (column - 1) / 26)
    letters[count++] = (char)('A' + (column - 1) % 26);
  while (count)
    ret_name[length++] = letters[--count];
  ret_name[length] = 0;
}
