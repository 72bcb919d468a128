/* Checks of single texts: email, phone, country, time zone, date, time, allowed words, keys, organizations.
 * Each takes a trimmed text; what it finds wrong is said with an example of what would be right. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utf8proc.h>

#include "model/text.h"
#include "pack/tables.h"
#include "pack/types.h"

#define EMAIL_LOCAL_BYTES 64 /* RFC 5321, 4.5.3.1 */
#define EMAIL_DOMAIN_BYTES 255
#define DOMAIN_LABEL_BYTES 63
#define CHOICES_NAMED 12 /* as many allowed words stand in a sentence; of longer lists only the nearest */

/* ISO 3166-1 alpha-2, officially assigned codes, ascending. */
static const char countries[] =
    "ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZCACCCDCFCGCHCICKCLCMCNCOCRCUCVCWCXCYCZDEDJDKDM"
    "DODZECEEEGEHERESETFIFJFKFMFOFRGAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHMHNHRHTHUIDIEILIMINIOIQIRISITJEJMJOJPKEKGKHKIKMKNKP"
    "KRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMKMLMMMNMOMPMQMRMSMTMUMVMWMXMYMZNANCNENFNGNINLNONPNRNUNZOMPAPEPFPGPHPKPLPMPNPR"
    "PSPTPWPYQARERORSRURWSASBSCSDSESGSHSISJSKSLSMSNSOSRSSSTSVSXSYSZTCTDTFTGTHTJTKTLTMTNTOTRTTTVTWTZUAUGUMUSUYUZVAVCVEVGVIVNVUWF"
    "WSYEYTZAZMZW";

static bool is_ascii_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

/* ---- Email (RFC 5321 without quoted local parts and address literals, RFC 6531) ---- */

/* Letters and digits of any script; ASCII ones besides those named in extra are refused, so are spaces and invisible marks. */
static bool plain_characters(aon_text text, const char *extra) {
  utf8proc_int32_t c;
  for (size_t at = 0; at < text.length;) {
    utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)text.data + at, (utf8proc_ssize_t)(text.length - at), &c);
    if (step <= 0)
      return false;
    if (c < 0x80 ? !is_ascii_letter((char)c) && !is_ascii_digit((char)c) && !(c && strchr(extra, c))
                 : utf8proc_category(c) >= UTF8PROC_CATEGORY_ZS || utf8proc_category(c) == UTF8PROC_CATEGORY_CN)
      return false;
    at += (size_t)step;
  }
  return true;
}

static bool dots_separate(aon_text text) {
  if (!text.length || text.data[0] == '.' || text.data[text.length - 1] == '.')
    return false;
  return !memmem(text.data, text.length, "..", 2);
}

static bool is_local_part(aon_text text) {
  return text.length <= EMAIL_LOCAL_BYTES && dots_separate(text) && plain_characters(text, ".!#$%&'*+/=?^_`{|}~-");
}

static bool is_domain(aon_text text) {
  if (text.length > EMAIL_DOMAIN_BYTES || !dots_separate(text) || !memchr(text.data, '.', text.length) || !plain_characters(text, ".-"))
    return false;
  bool letters = false;
  for (size_t start = 0, i = 0; i <= text.length; i++) {
    if (i < text.length && text.data[i] != '.') {
      letters = letters || !is_ascii_digit(text.data[i]);
      continue;
    }
    if (i - start > DOMAIN_LABEL_BYTES || text.data[start] == '-' || text.data[i - 1] == '-')
      return false;
    if (i < text.length)
      letters = false; /* only the last label counts: an address of digits alone is no name */
    start = i + 1;
  }
  return letters;
}

static aon_result lower_case(aon_text text, aon_arena *arena, aon_text *ret_text, aon_error *error) {
  aon_buffer out AON_BUFFER_CLEANUP = {0};
  utf8proc_int32_t c;
  for (size_t at = 0; at < text.length;) {
    utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)text.data + at, (utf8proc_ssize_t)(text.length - at), &c);
    utf8proc_uint8_t bytes[4];
    utf8proc_ssize_t length = utf8proc_encode_char(utf8proc_tolower(c), bytes);
    aon_result result = aon_buffer_append(&out, bytes, (size_t)length, error);
    if (result)
      return result;
    at += (size_t)step;
  }
  utf8proc_uint8_t *composed = utf8proc_NFC((const utf8proc_uint8_t *)out.data);
  if (!composed)
    return aon_fail_memory(error);
  char *copy = aon_arena_text(arena, (const char *)composed, strlen((const char *)composed));
  free(composed);
  if (!copy)
    return aon_fail_memory(error);
  *ret_text = (aon_text){copy, strlen(copy)};
  return AON_OK;
}

aon_result aon_check_email(aon_text text, aon_arena *arena, aon_text *ret_text, aon_check *check, aon_error *error) {
  const char *at = memrchr(text.data, '@', text.length);
  aon_text local = {text.data, at ? (size_t)(at - text.data) : 0};
  aon_text domain = {at ? at + 1 : text.data, at ? text.length - local.length - 1 : 0};
  if (!at || !is_local_part(local) || !is_domain(domain)) {
    aon_check_fail(check, "bad_format", "Write one such as ann@example.com.", "is not an email address");
    return AON_OK;
  }
  return lower_case(text, arena, ret_text, error);
}

/* ---- Phone (E.164: + and at most 15 digits, the first not 0) ---- */

void aon_check_phone(aon_text text, aon_check *check) {
  size_t digits = 0;
  while (digits + 1 < text.length && is_ascii_digit(text.data[digits + 1]))
    digits++;
  if (!text.length || text.data[0] != '+' || digits + 1 != text.length || digits < 2 || digits > 15 || text.data[1] == '0')
    aon_check_fail(check, "bad_format", "Write + and the country code, then the digits without spaces, such as +4915112345678.",
                   "is not a phone number in international form (E.164)");
}

/* ---- Country ---- */

void aon_check_country(aon_text text, aon_text *ret_text, aon_check *check) {
  if (text.length != 2 || !is_ascii_letter(text.data[0]) || !is_ascii_letter(text.data[1])) {
    aon_check_fail(check, "bad_format", "Write the two letters of ISO 3166, such as DE, FR or US.", "is not a country code of two letters");
    return;
  }
  for (size_t i = 0; i + 1 < sizeof countries; i += 2)
    if (!strncasecmp(countries + i, text.data, 2)) {
      *ret_text = (aon_text){countries + i, 2};
      return;
    }
  const char *advice = !strncasecmp(text.data, "UK", 2)   ? "The code of the United Kingdom is GB."
                       : !strncasecmp(text.data, "EL", 2) ? "The code of Greece is GR."
                                                          : "Look up the two letters in ISO 3166-1, such as DE, FR or US.";
  aon_check_fail(check, "not_allowed", advice, "is not the code of any country (ISO 3166)");
}

/* ---- Time zone ---- */

static int compare_zone(const void *key, const void *entry) { return strcasecmp(key, *(const char *const *)entry); }

aon_result aon_check_time_zone(aon_text text, aon_text *ret_text, aon_check *check, aon_error *error) {
  aon_buffer folded AON_BUFFER_CLEANUP = {0};
  aon_result result = aon_text_fold(text.data, text.length, &folded, error);
  if (result)
    return result;
  const char *const *found = folded.length && strlen(folded.data) == folded.length
                                 ? bsearch(folded.data, aon_time_zones, aon_time_zone_count, sizeof *aon_time_zones, compare_zone)
                                 : NULL;
  if (found) {
    *ret_text = (aon_text){*found, strlen(*found)};
    return AON_OK;
  }
  const char *nearest;
  char advice[160] = "Write a name of the IANA time zone database, such as Europe/Lisbon.";
  if ((result = aon_nearest(text, aon_time_zones, aon_time_zone_count, &nearest, error)))
    return result;
  if (nearest)
    snprintf(advice, sizeof advice, "Did you mean %s?", nearest);
  aon_check_fail(check, "not_allowed", advice, "is not a time zone of the IANA database");
  return AON_OK;
}

/* ---- Date and time ---- */

static bool digits_at(aon_text text, size_t at, size_t count, int *ret_number) {
  int number = 0;
  for (size_t i = at; i < at + count; i++) {
    if (i >= text.length || !is_ascii_digit(text.data[i]))
      return false;
    number = number * 10 + (text.data[i] - '0');
  }
  *ret_number = number;
  return true;
}

static int days_of_month(int year, int month) {
  static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return month == 2 && leap ? 29 : days[month - 1];
}

void aon_check_date(aon_text text, aon_check *check) {
  static const char advice[] = "Write it as year-month-day, such as 2027-01-31, or use a date cell.";
  int year, month, day;
  if (text.length != 10 || text.data[4] != '-' || text.data[7] != '-' || !digits_at(text, 0, 4, &year) || !digits_at(text, 5, 2, &month) ||
      !digits_at(text, 8, 2, &day))
    aon_check_fail(check, "bad_format", advice, "is not a date");
  else if (!year || month < 1 || month > 12 || day < 1 || day > days_of_month(year, month))
    aon_check_fail(check, "bad_format", advice, "is not a day of the calendar");
}

void aon_check_time(aon_text text, aon_check *check) {
  int hour, minute;
  if (text.length != 5 || text.data[2] != ':' || !digits_at(text, 0, 2, &hour) || !digits_at(text, 3, 2, &minute) || hour > 23 ||
      minute > 59)
    aon_check_fail(check, "bad_format", "Write hours and minutes of the 24-hour day, such as 08:30, or use a time cell.",
                   "is not a time of day");
}

/* ---- Allowed words ---- */

static void name_choices(const char *const *choices, const char *nearest, char *advice, size_t size) {
  size_t count = 0, used = 0;
  while (choices[count])
    count++;
  if (nearest)
    used += (size_t)snprintf(advice, size, "Did you mean %s? ", nearest);
  if (count > CHOICES_NAMED) {
    if (!nearest)
      snprintf(advice, size, "Write one of the %zu allowed words, such as %s.", count, choices[0]);
    else
      advice[used - 1] = 0;
    return;
  }
  for (size_t i = 0; i < count && used < size; i++)
    used += (size_t)snprintf(advice + used, size - used, "%s%s%s",
                             i         ? ", "
                             : nearest ? "Allowed: "
                                       : "Write one of: ",
                             choices[i], i + 1 == count ? "." : "");
}

aon_result aon_check_choice(aon_text text, const char *const *choices, aon_text *ret_text, aon_check *check, aon_error *error) {
  aon_buffer folded AON_BUFFER_CLEANUP = {0}, word AON_BUFFER_CLEANUP = {0};
  aon_result result = aon_text_fold(text.data, text.length, &folded, error);
  size_t count = 0;
  for (; !result && choices[count]; count++) {
    aon_buffer_clear(&word);
    result = aon_text_fold(choices[count], strlen(choices[count]), &word, error);
    if (!result && word.length == folded.length && !memcmp(word.data, folded.data, word.length)) {
      *ret_text = (aon_text){choices[count], strlen(choices[count])};
      return AON_OK;
    }
  }
  const char *nearest = NULL;
  if (!result)
    result = aon_nearest(text, choices, count, &nearest, error);
  if (result)
    return result;
  char advice[sizeof check->advice];
  name_choices(choices, nearest, advice, sizeof advice);
  aon_check_fail(check, "not_allowed", advice, "is not one of the allowed words");
  return AON_OK;
}

/* ---- Keys ---- */

void aon_check_key(aon_text text, aon_check *check) {
  for (size_t i = 0; i < text.length; i++) {
    unsigned char c = (unsigned char)text.data[i];
    if (c < 0x20 || c == 0x7f)
      aon_check_fail(check, "forbidden_character", "Remove line breaks and control characters.", "holds a control character");
    else if (strchr(".$#[]/", c))
      aon_check_fail(check, "forbidden_character", "Use letters, digits, - and _, such as site-12.",
                     "holds the character %c, which an id can't have", c);
    else
      continue;
    return;
  }
}

void aon_check_organization(aon_text text, aon_check *check) {
  static const char advice[] = "Use letters, digits, - and _, such as org1.";
  if (!text.length)
    aon_check_fail(check, "required", advice, "is empty");
  else if (aon_text_characters(text) > AON_ID_CHARACTERS)
    aon_check_fail(check, "too_long", advice, "has more than %d characters", AON_ID_CHARACTERS);
  else if (text.length >= 4 && !memcmp(text.data, "__", 2) && !memcmp(text.data + text.length - 2, "__", 2))
    aon_check_fail(check, "not_allowed", advice, "begins and ends with __, which Firestore reserves");
  else
    aon_check_key(text, check);
}
