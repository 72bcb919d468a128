/* BSON to canonical JSON text.
 * Invariant: the same value always gives the same bytes, whatever the locale; what comes out reads back as valid JSON. */
#include <float.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "model/document.h"
#include "model/text.h"

#define NUMBER_BYTES 40
#define INTEGRAL_LIMIT 1e15 /* whole numbers below it, of 15 digits, print without an exponent */
#define DECIMAL_MIN 1e-4    /* smaller ones have an exponent */
#define DECIMALS 8
#define INSTANT_MIN (-62167219200000) /* years 0000 to 9999, what RFC 3339 can say */
#define INSTANT_MAX 253402300799999

static aon_result write_members(bson_iter_t *members, bool array, int depth, aon_buffer *out, aon_error *error);

static size_t format_integer(int64_t value, char ret_text[NUMBER_BYTES]) {
  char digits[NUMBER_BYTES];
  size_t count = 0, length = 0;
  uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  do
    digits[count++] = (char)('0' + left % 10);
  while ((left /= 10));
  if (value < 0)
    ret_text[length++] = '-';
  while (count)
    ret_text[length++] = digits[--count];
  return length;
}

/* The decimal point of a locale may be another character, or several bytes. */
static size_t normalise_point(const char *text, char *ret_text) {
  size_t length = 0;
  bool point = false, exponent = false;
  for (; *text; text++) {
    if ((*text >= '0' && *text <= '9') || *text == '-' || *text == '+' || *text == 'e') {
      exponent |= *text == 'e';
      ret_text[length++] = *text;
    } else if (!point) {
      ret_text[length++] = '.';
      point = true;
    }
  }
  if (!point && !exponent) {
    ret_text[length++] = '.';
    ret_text[length++] = '0';
  }
  return length;
}

/* Numbers of few decimals, as people write them, without the C library: if value = digits / 10^n with both exact, that decimal reads
 * back to it, and with the least n it is the shortest. 0: not such a number. */
static size_t format_decimal(double value, char ret_text[NUMBER_BYTES]) {
  double power = 1;
  for (int decimals = 0; decimals <= DECIMALS; decimals++, power *= 10) {
    double digits = nearbyint(value * power);
    if (fabs(digits) >= INTEGRAL_LIMIT)
      return 0;
    if (digits / power != value)
      continue;
    int64_t whole = (int64_t)digits / (int64_t)power, fraction = llabs((int64_t)digits % (int64_t)power);
    size_t length = 0;
    if (value < 0 && whole == 0)
      ret_text[length++] = '-';
    length += format_integer(whole, ret_text + length);
    ret_text[length++] = '.';
    for (int i = decimals; i-- > 1; fraction %= (int64_t)power) {
      power /= 10;
      ret_text[length++] = (char)('0' + fraction / (int64_t)power);
    }
    ret_text[length++] = (char)('0' + fraction);
    return length;
  }
  return 0;
}

static size_t format_double(double value, char ret_text[NUMBER_BYTES]) {
  if ((fabs(value) >= DECIMAL_MIN || value == 0) && !(value == 0 && signbit(value))) {
    size_t length = format_decimal(value, ret_text);
    if (length)
      return length;
  }
  char text[NUMBER_BYTES];
  /* 15 digits always survive a double, so fewer need not be tried, except among subnormal numbers. */
  int digits = fabs(value) < DBL_MIN ? 1 : DBL_DIG;
  do
    snprintf(text, sizeof text, "%.*g", digits, value);
  while (++digits <= 17 && strtod(text, NULL) != value);
  return normalise_point(text, ret_text);
}

static aon_result write_escape(unsigned char c, aon_buffer *out, aon_error *error) {
  static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
  const char *found = c ? strchr(from, c) : NULL;
  char text[8];
  int length = found ? snprintf(text, sizeof text, "\\%c", to[found - from]) : snprintf(text, sizeof text, "\\u%04x", c);
  return aon_buffer_append(out, text, (size_t)length, error);
}

/* at stands on the first character that is not plain. */
static aon_result write_rest(const char *at, const char *end, aon_buffer *out, aon_error *error) {
  while (at < end) {
    size_t run = plain_length(at, (size_t)(end - at));
    while (at + run < end && (unsigned char)at[run] >= 0x80) {
      size_t character = utf8_length((const unsigned char *)at + run, (size_t)(end - at) - run);
      if (character == 0)
        return aon_fail(error, AON_REJECTED, "bad_format",
                        "A text is no valid UTF-8, so it can't be written as JSON; correct it in the store.");
      run += character;
      run += plain_length(at + run, (size_t)(end - at) - run);
    }
    aon_result result = aon_buffer_append(out, at, run, error);
    at += run;
    if (!result && at < end)
      result = write_escape((unsigned char)*at++, out, error);
    if (result)
      return result;
  }
  return AON_OK;
}

aon_result aon_text_to_json(const char *text, size_t length, aon_buffer *out, aon_error *error) {
  aon_result result = aon_buffer_reserve(out, length < SIZE_MAX - 2 ? length + 2 : length, error);
  if (result)
    return result;
  size_t plain = plain_length(text, length), start = out->length;
  char *at = out->data + start;
  *at = '"';
  if (plain)
    memcpy(at + 1, text, plain);
  out->length += plain + 1;
  if (plain < length)
    result = write_rest(text + plain, text + length, out, error);
  if (!result)
    result = aon_buffer_append(out, "\"", 1, error);
  if (result)
    out->data[out->length = start] = 0;
  return result;
}

static aon_result write_string(const char *text, aon_buffer *out, aon_error *error) {
  return aon_text_to_json(text, strlen(text), out, error);
}

static aon_result write_instant(int64_t ms, aon_buffer *out, aon_error *error) {
  char text[AON_INSTANT_LENGTH + NUMBER_BYTES];
  if (ms >= INSTANT_MIN && ms <= INSTANT_MAX)
    aon_instant_format(ms, text);
  else
    text[format_integer(ms, text)] = 0; /* no calendar text for it: its milliseconds */
  return write_string(text, out, error);
}

static aon_result write_bytes(const bson_iter_t *value, aon_buffer *out, aon_error *error) {
  bson_subtype_t subtype;
  uint32_t length;
  const uint8_t *bytes;
  bson_iter_binary(value, &subtype, &length, &bytes);
  size_t room = sodium_base64_encoded_len(length, sodium_base64_VARIANT_ORIGINAL); /* with its NUL */
  aon_result result = aon_buffer_reserve(out, room + 2, error);
  if (result || (result = aon_buffer_append(out, "\"", 1, error)))
    return result;
  sodium_bin2base64(out->data + out->length, room, bytes, length, sodium_base64_VARIANT_ORIGINAL);
  out->length += room - 1;
  return aon_buffer_append(out, "\"", 1, error);
}

static aon_result write_double(double value, aon_buffer *out, aon_error *error) {
  if (isnan(value))
    return write_string("NaN", out, error);
  if (isinf(value))
    return write_string(value < 0 ? "-Infinity" : "Infinity", out, error);
  char text[NUMBER_BYTES];
  return aon_buffer_append(out, text, format_double(value, text), error);
}

/* Types that JSON has no word for. Those that only MongoDB itself knows are for people to look at, not to read back. */
static aon_result write_foreign(const bson_iter_t *value, aon_buffer *out, aon_error *error) {
  char text[BSON_DECIMAL128_STRING + 64] = "";
  uint32_t seconds, increment, length;
  const uint8_t *scope;
  switch (bson_iter_type(value)) {
  case BSON_TYPE_OID:
    bson_oid_to_string(bson_iter_oid(value), text);
    break;
  case BSON_TYPE_DECIMAL128: {
    bson_decimal128_t decimal;
    bson_iter_decimal128(value, &decimal);
    bson_decimal128_to_string(&decimal, text);
    break;
  }
  case BSON_TYPE_TIMESTAMP:
    bson_iter_timestamp(value, &seconds, &increment);
    snprintf(text, sizeof text, "%u:%u", seconds, increment);
    break;
  case BSON_TYPE_REGEX:
    return write_string(bson_iter_regex(value, NULL), out, error);
  case BSON_TYPE_CODE:
    return write_string(bson_iter_code(value, NULL), out, error);
  case BSON_TYPE_CODEWSCOPE:
    return write_string(bson_iter_codewscope(value, NULL, &length, &scope), out, error);
  case BSON_TYPE_SYMBOL:
    return write_string(bson_iter_symbol(value, NULL), out, error);
  case BSON_TYPE_MINKEY:
    snprintf(text, sizeof text, "MinKey");
    break;
  case BSON_TYPE_MAXKEY:
    snprintf(text, sizeof text, "MaxKey");
    break;
  default:
    return aon_fail(error, AON_REJECTED, "bad_type", "A document holds a value of a kind (BSON type %d) that can't be shown as JSON.",
                    (int)bson_iter_type(value));
  }
  return write_string(text, out, error);
}

static aon_result write_value(const bson_iter_t *value, int depth, aon_buffer *out, aon_error *error) {
  char number[NUMBER_BYTES];
  uint32_t length;
  const char *text;
  bson_iter_t members;
  switch (bson_iter_type(value)) {
  case BSON_TYPE_UTF8:
    text = bson_iter_utf8(value, &length);
    return aon_text_to_json(text, length, out, error);
  case BSON_TYPE_INT64:
    return aon_buffer_append(out, number, format_integer(bson_iter_int64(value), number), error);
  case BSON_TYPE_INT32:
    return aon_buffer_append(out, number, format_integer(bson_iter_int32(value), number), error);
  case BSON_TYPE_DOUBLE:
    return write_double(bson_iter_double(value), out, error);
  case BSON_TYPE_BOOL:
    return aon_buffer_text(out, bson_iter_bool(value) ? "true" : "false", error);
  case BSON_TYPE_NULL:
  case BSON_TYPE_UNDEFINED:
    return aon_buffer_append(out, "null", 4, error);
  case BSON_TYPE_DOCUMENT:
  case BSON_TYPE_ARRAY:
    if (depth >= AON_DOCUMENT_DEPTH_LIMIT)
      return aon_fail(error, AON_REJECTED, "too_deep", "A document is nested deeper than the limit of %d.", AON_DOCUMENT_DEPTH_LIMIT);
    if (!bson_iter_recurse(value, &members))
      return aon_fail(error, AON_CORRUPT, "bad_document", "The bytes of a document are damaged.");
    return write_members(&members, bson_iter_type(value) == BSON_TYPE_ARRAY, depth + 1, out, error);
  case BSON_TYPE_DATE_TIME:
    return write_instant(bson_iter_date_time(value), out, error);
  case BSON_TYPE_BINARY:
    return write_bytes(value, out, error);
  default:
    return write_foreign(value, out, error);
  }
}

static aon_result write_members(bson_iter_t *members, bool array, int depth, aon_buffer *out, aon_error *error) {
  aon_result result = aon_buffer_append(out, array ? "[" : "{", 1, error);
  if (result)
    return result;
  bool first = true;
  while (bson_iter_next(members)) {
    if (!first && (result = aon_buffer_append(out, ",", 1, error)))
      return result;
    first = false;
    if (!array && ((result = aon_text_to_json(bson_iter_key(members), bson_iter_key_len(members), out, error)) ||
                   (result = aon_buffer_append(out, ":", 1, error))))
      return result;
    if ((result = write_value(members, depth, out, error)))
      return result;
  }
  if (members->err_off)
    return aon_fail(error, AON_CORRUPT, "bad_document", "The bytes of a document are damaged.");
  return aon_buffer_append(out, array ? "]" : "}", 1, error);
}

/* ---- documents as most are ----
 *
 * Their bytes are gone through directly, into room that is reserved once. Whatever is rare (other types, escapes, damage, deep nesting,
 * size) makes it give up, and the document is written by the functions above, which know it all. */

#define PLAIN_BYTES_LIMIT ((size_t)64 << 10)
#define PLAIN_ROOM 4 /* JSON takes at most so many times the bytes: an element of BSON's 2 (null, no key) gives 8 ("":null,) */
#define PLAIN_DEPTH 32

typedef struct plain {
  const uint8_t *at, *end;
  char *out;
} plain;

static bool put_plain(plain *p, const uint8_t *text, size_t length) {
  const char *from = (const char *)text;
  *p->out++ = '"';
  for (size_t at = 0; at < length;) {
    size_t run = plain_length(from + at, length - at);
    memcpy(p->out, from + at, run);
    p->out += run;
    at += run;
    if (at == length)
      break;
    size_t character = text[at] < 0x80 ? 0 : utf8_length(text + at, length - at);
    if (character == 0)
      return false;
    memcpy(p->out, from + at, character);
    p->out += character;
    at += character;
  }
  *p->out++ = '"';
  return true;
}

static uint32_t plain_number(const uint8_t *at) {
  uint32_t number;
  memcpy(&number, at, sizeof number);
  return BSON_UINT32_FROM_LE(number);
}

static bool plain_text(plain *p) {
  size_t left = (size_t)(p->end - p->at);
  uint32_t length = left < 5 ? 0 : plain_number(p->at);
  if (length == 0 || length > left - 4 || p->at[3 + length] != 0 || !put_plain(p, p->at + 4, length - 1))
    return false;
  p->at += 4 + (size_t)length;
  return true;
}

static bool plain_word(plain *p, const char *word, size_t length, size_t bytes) {
  if ((size_t)(p->end - p->at) < bytes)
    return false;
  memcpy(p->out, word, length);
  p->out += length;
  p->at += bytes;
  return true;
}

static bool plain_numeral(plain *p, uint8_t type) {
  uint64_t bits;
  double real;
  if ((size_t)(p->end - p->at) < sizeof bits)
    return false;
  memcpy(&bits, p->at, sizeof bits);
  bits = BSON_UINT64_FROM_LE(bits);
  memcpy(&real, &bits, sizeof real);
  if (type == BSON_TYPE_DOUBLE && !isfinite(real))
    return false;
  p->out += type == BSON_TYPE_DOUBLE ? format_double(real, p->out) : format_integer((int64_t)bits, p->out);
  p->at += sizeof bits;
  return true;
}

static bool plain_members(plain *p, bool array, int depth);

static bool plain_value(plain *p, uint8_t type, int depth) {
  switch (type) {
  case BSON_TYPE_UTF8:
    return plain_text(p);
  case BSON_TYPE_INT64:
  case BSON_TYPE_DOUBLE:
    return plain_numeral(p, type);
  case BSON_TYPE_BOOL:
    if (p->at == p->end || *p->at > 1)
      return false;
    return *p->at ? plain_word(p, "true", 4, 1) : plain_word(p, "false", 5, 1);
  case BSON_TYPE_NULL:
    return plain_word(p, "null", 4, 0);
  case BSON_TYPE_DOCUMENT:
  case BSON_TYPE_ARRAY:
    return depth < PLAIN_DEPTH && plain_members(p, type == BSON_TYPE_ARRAY, depth + 1);
  default:
    return false;
  }
}

/* A document or an array, from its length to its last NUL. */
static bool plain_members(plain *p, bool array, int depth) {
  size_t left = (size_t)(p->end - p->at);
  uint32_t length = left < 5 ? 0 : plain_number(p->at);
  if (length < 5 || length > left || p->at[length - 1] != 0)
    return false;
  const uint8_t *outer = p->end;
  p->end = p->at + length - 1;
  p->at += 4;
  *p->out++ = array ? '[' : '{';
  for (bool first = true; p->at < p->end; first = false) {
    uint8_t type = *p->at++;
    const uint8_t *key_end = memchr(p->at, 0, (size_t)(p->end - p->at));
    if (!key_end)
      return false;
    if (!first)
      *p->out++ = ',';
    if (!array) {
      if (!put_plain(p, p->at, (size_t)(key_end - p->at)))
        return false;
      *p->out++ = ':';
    }
    p->at = key_end + 1;
    if (!plain_value(p, type, depth))
      return false;
  }
  *p->out++ = array ? ']' : '}';
  p->at = p->end + 1;
  p->end = outer;
  return true;
}

/* false: nothing was written. */
static bool write_plain(const bson_t *document, aon_buffer *out) {
  if (document->len > PLAIN_BYTES_LIMIT || aon_buffer_reserve(out, PLAIN_ROOM * document->len + NUMBER_BYTES, NULL))
    return false;
  plain p = {.at = bson_get_data(document), .out = out->data + out->length};
  p.end = p.at + document->len;
  if (!plain_members(&p, false, 1))
    return false;
  out->length = (size_t)(p.out - out->data);
  out->data[out->length] = 0;
  return true;
}

/* On failure nothing of the value is left in the buffer. */
aon_result aon_value_to_json(const bson_iter_t *value, aon_buffer *out, aon_error *error) {
  size_t length = out->length;
  aon_result result = write_value(value, 0, out, error);
  if (result && out->data)
    out->data[out->length = length] = 0;
  return result;
}

aon_result aon_document_to_json(const bson_t *document, aon_buffer *out, aon_error *error) {
  bson_iter_t members;
  if (!bson_iter_init(&members, document))
    return aon_fail(error, AON_CORRUPT, "bad_document", "The bytes of a document are damaged.");
  size_t length = out->length;
  aon_result result = write_plain(document, out) ? AON_OK : write_members(&members, false, 1, out, error);
  if (result && out->data)
    out->data[out->length = length] = 0;
  return result;
}
