/* JSON text to BSON in one pass, without a tree between: hundreds of thousands of documents a minute come through here.
 *
 * Invariants: what is accepted is RFC 8259 and nothing else; nothing of the content but names of keys gets into a sentence;
 * the BSON never grows beyond the limit, however the text is made; on failure the document is an empty one that needs no release.
 * Layout of an element (BSON 1.1): type, key, NUL, value. The type is filled in when the value is known. */
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "model/document.h"

#define EXACT_DIGITS 15 /* a decimal of so many digits, and a power of ten up to 22, are doubles without rounding */
#define EXACT_POWER 22
#define FEW_KEYS 16        /* up to here comparing all pairs beats sorting */
#define SHOWN_KEY_BYTES 64 /* of a key in a sentence */
#define STACK_BYTES 2048   /* BSON of most documents fits, so that only one block is allocated for them */

typedef struct seen_key { /* offset: in the BSON; position: in the text */
  uint32_t hash, offset, length;
  size_t position;
} seen_key;

typedef struct reader {
  const char *text, *at, *end;
  aon_buffer scratch;
  seen_key *keys; /* of all objects that are open, the innermost one's last */
  size_t key_count, key_capacity;
  uint8_t *bson, *stack; /* bson is stack until that is too small */
  size_t length, capacity;
  int depth;
  aon_error *error;
} reader;

static aon_result read_value(reader *r, size_t type_at);

static aon_result refuse(const reader *r, const char *where, const char *what) {
  size_t line = 1, column = 1;
  for (const char *p = r->text; p < where; p++) {
    if (*p == '\n') {
      line++;
      column = 1;
    } else if (((unsigned char)*p & 0xc0) != 0x80) {
      column++;
    }
  }
  if (line == 1)
    return aon_fail(r->error, AON_REJECTED, "bad_json", "The JSON text can't be read at column %zu: %s.", column, what);
  return aon_fail(r->error, AON_REJECTED, "bad_json", "The JSON text can't be read at line %zu, column %zu: %s.", line, column, what);
}

static aon_result too_large(const reader *r) {
  return aon_fail(r->error, AON_REJECTED, "too_long", "The document is larger than the limit of %u MiB; split it.",
                  AON_DOCUMENT_BYTES_LIMIT >> 20);
}

static aon_result grow(reader *r, size_t more) {
  if (more > AON_DOCUMENT_BYTES_LIMIT || r->length + more > AON_DOCUMENT_BYTES_LIMIT)
    return too_large(r);
  size_t capacity = r->capacity;
  while (capacity < r->length + more)
    capacity *= 2;
  uint8_t *bson = realloc(r->bson == r->stack ? NULL : r->bson, capacity);
  if (!bson)
    return aon_fail_memory(r->error);
  if (r->bson == r->stack)
    memcpy(bson, r->stack, r->length);
  r->bson = bson;
  r->capacity = capacity;
  return AON_OK;
}

/* Room for so many bytes more at the end. */
static inline aon_result reserve(reader *r, size_t more) { return more <= r->capacity - r->length ? AON_OK : grow(r, more); }

static aon_result put_bytes(reader *r, const void *bytes, size_t length) {
  aon_result result = reserve(r, length);
  if (!result) {
    memcpy(r->bson + r->length, bytes, length);
    r->length += length;
  }
  return result;
}

static void set_length(reader *r, size_t at, size_t length) {
  uint32_t little = BSON_UINT32_TO_LE((uint32_t)length);
  memcpy(r->bson + at, &little, sizeof little);
}

static aon_result put_number(reader *r, size_t type_at, bson_type_t type, uint64_t bits) {
  r->bson[type_at] = (uint8_t)type;
  bits = BSON_UINT64_TO_LE(bits);
  return put_bytes(r, &bits, sizeof bits);
}

static aon_result put_text(reader *r, size_t type_at, const char *text, size_t length) {
  aon_result result = length < AON_DOCUMENT_BYTES_LIMIT ? reserve(r, length + 5) : too_large(r);
  if (result)
    return result;
  r->bson[type_at] = BSON_TYPE_UTF8;
  set_length(r, r->length, length + 1);
  memcpy(r->bson + r->length + 4, text, length);
  r->length += length + 5;
  r->bson[r->length - 1] = 0;
  return AON_OK;
}

/* Type (yet unknown), key, NUL. */
static aon_result put_key(reader *r, const char *key, size_t length, size_t *ret_type_at) {
  aon_result result = length < AON_DOCUMENT_BYTES_LIMIT ? reserve(r, length + 2) : too_large(r);
  if (result)
    return result;
  *ret_type_at = r->length;
  memcpy(r->bson + r->length + 1, key, length);
  r->length += length + 2;
  r->bson[r->length - 1] = 0;
  return AON_OK;
}

static void skip_space(reader *r) {
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
    r->at++;
}

static aon_result read_unicode_escape(reader *r) { /* at stands on the u */
  const char *start = r->at - 1;
  uint32_t character, low;
  if (r->end - r->at < 5 || !hex4(r->at + 1, &character))
    return refuse(r, start, "\\u needs four hexadecimal digits");
  r->at += 5;
  if (character >= 0xd800 && character <= 0xdfff) {
    if (character >= 0xdc00 || r->end - r->at < 6 || r->at[0] != '\\' || r->at[1] != 'u' || !hex4(r->at + 2, &low) || low < 0xdc00 ||
        low > 0xdfff)
      return refuse(r, start, "half of a surrogate pair stands alone");
    character = 0x10000 + ((character - 0xd800) << 10) + (low - 0xdc00);
    r->at += 6;
  }
  char bytes[4];
  return aon_buffer_append(&r->scratch, bytes, utf8_encode(character, bytes), r->error);
}

static aon_result read_escape(reader *r) { /* at stands behind the backslash */
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  if (r->at == r->end)
    return refuse(r, r->at, "the text ends within a string");
  if (*r->at == 'u')
    return read_unicode_escape(r);
  const char *found = *r->at ? strchr(from, *r->at) : NULL;
  if (!found)
    return refuse(r, r->at - 1, "there is no such escape");
  r->at++;
  return aon_buffer_append(&r->scratch, &to[found - from], 1, r->error);
}

/* Moves over plain characters; stops at a quote, a backslash, or what may not stand in a string. */
static void skip_plain(reader *r) {
  for (;;) {
    r->at += plain_length(r->at, (size_t)(r->end - r->at));
    if (r->at == r->end || (unsigned char)*r->at < 0x80)
      return;
    size_t length = utf8_length((const unsigned char *)r->at, (size_t)(r->end - r->at));
    if (length == 0)
      return;
    r->at += length;
  }
}

/* at stands behind the opening quote. The result points into the text, or into scratch until the next string. */
static aon_result read_string(reader *r, const char **ret_text, size_t *ret_length) {
  const char *run = r->at;
  bool escaped = false;
  for (;;) {
    skip_plain(r);
    if (r->at == r->end)
      return refuse(r, r->at, "the text ends within a string");
    char c = *r->at;
    if (c != '"' && c != '\\')
      return refuse(r, r->at, (unsigned char)c < 0x20 ? "a control character in a string must be escaped" : "these bytes are no UTF-8");
    if (c == '"' && !escaped) {
      *ret_text = run;
      *ret_length = (size_t)(r->at++ - run);
      return AON_OK;
    }
    if (!escaped)
      aon_buffer_clear(&r->scratch);
    escaped = true;
    aon_result result = aon_buffer_append(&r->scratch, run, (size_t)(r->at - run), r->error);
    if (result)
      return result;
    r->at++;
    if (c == '"') {
      *ret_text = r->scratch.data;
      *ret_length = r->scratch.length;
      return AON_OK;
    }
    if ((result = read_escape(r)))
      return result;
    run = r->at;
  }
}

static const char *skip_digits(const char *at, const char *end) {
  while (at < end && *at >= '0' && *at <= '9')
    at++;
  return at;
}

/* Exact where the digits and the power of ten are both doubles (W. D. Clinger, How to read floating point numbers accurately, 1990). */
static bool double_simple(const char *at, const char *end, double *ret) {
  static const double powers[EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                                 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  bool negative = *at == '-', point = false;
  int64_t digits = 0;
  int count = 0, power = 0;
  for (at += negative; at < end && *at != 'e' && *at != 'E'; at++) {
    if (*at == '.') {
      point = true;
      continue;
    }
    if (++count > EXACT_DIGITS)
      return false;
    digits = digits * 10 + (*at - '0');
    power -= point;
  }
  if (at < end) {
    at++;
    bool minus = *at == '-';
    at += *at == '-' || *at == '+';
    int exponent = 0;
    for (; at < end; at++)
      if ((exponent = exponent * 10 + (*at - '0')) > 1000)
        return false;
    power += minus ? -exponent : exponent;
  }
  if (power < -EXACT_POWER || power > EXACT_POWER)
    return false;
  double value = power < 0 ? (double)digits / powers[-power] : (double)digits * powers[power];
  *ret = negative ? -value : value;
  return true;
}

/* strtod reads the decimal point of the program's locale, so it gets that one. */
static aon_result double_any(reader *r, const char *start, const char *end, double *ret) {
  aon_buffer_clear(&r->scratch);
  const char *point = memchr(start, '.', (size_t)(end - start));
  aon_result result = AON_OK;
  if (point) {
    if ((result = aon_buffer_append(&r->scratch, start, (size_t)(point - start), r->error)) ||
        (result = aon_buffer_text(&r->scratch, localeconv()->decimal_point, r->error)))
      return result;
    start = point + 1;
  }
  if ((result = aon_buffer_append(&r->scratch, start, (size_t)(end - start), r->error)))
    return result;
  *ret = strtod(r->scratch.data, NULL);
  return AON_OK;
}

static aon_result read_integer(reader *r, size_t type_at, const char *start, const char *end) {
  bool negative = *start == '-';
  uint64_t value = 0;
  for (const char *p = start + negative; p < end; p++)
    if (__builtin_mul_overflow(value, 10u, &value) || __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
      return refuse(r, start, "the integer is beyond 64 bits");
  if (value > (uint64_t)INT64_MAX + negative)
    return refuse(r, start, "the integer is beyond 64 bits");
  return put_number(r, type_at, BSON_TYPE_INT64, negative ? 0 - value : value);
}

static aon_result read_number(reader *r, size_t type_at) {
  const char *start = r->at, *at = start + (*start == '-'), *digits = at;
  at = skip_digits(at, r->end);
  if (at == digits)
    return refuse(r, at, "a digit is missing");
  if (*digits == '0' && at - digits > 1)
    return refuse(r, digits, "a number may not begin with 0");
  const char *whole = at;
  if (at < r->end && *at == '.') {
    const char *fraction = ++at;
    if ((at = skip_digits(at, r->end)) == fraction)
      return refuse(r, at, "a digit is missing");
  }
  if (at < r->end && (*at == 'e' || *at == 'E')) {
    at++;
    at += at < r->end && (*at == '+' || *at == '-');
    const char *exponent = at;
    if ((at = skip_digits(at, r->end)) == exponent)
      return refuse(r, at, "a digit is missing");
  }
  r->at = at;
  if (at == whole)
    return read_integer(r, type_at, start, at);
  double value;
  aon_result result = double_simple(start, at, &value) ? AON_OK : double_any(r, start, at, &value);
  if (result)
    return result;
  if (!isfinite(value))
    return refuse(r, start, "the number is too large");
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return put_number(r, type_at, BSON_TYPE_DOUBLE, bits);
}

static bool take_word(reader *r, const char *word, size_t length) {
  if ((size_t)(r->end - r->at) < length || memcmp(r->at, word, length) != 0)
    return false;
  r->at += length;
  return true;
}

static aon_result read_word(reader *r, size_t type_at) {
  if (take_word(r, "null", 4)) {
    r->bson[type_at] = BSON_TYPE_NULL;
    return AON_OK;
  }
  bool value = take_word(r, "true", 4);
  if (!value && !take_word(r, "false", 5))
    return refuse(r, r->at, "a value is expected here");
  r->bson[type_at] = BSON_TYPE_BOOL;
  return put_bytes(r, &(uint8_t){value}, 1);
}

static uint32_t key_hash(const char *key, size_t length) {
  uint32_t hash = 2166136261u; /* FNV-1a; keys of equal hash are compared by their bytes, so it need not be strong */
  for (size_t i = 0; i < length; i++)
    hash = (hash ^ (unsigned char)key[i]) * 16777619u;
  return hash;
}

static aon_result note_key(reader *r, const char *key, size_t length, size_t position) {
  if (memchr(key, 0, length))
    return refuse(r, r->text + position, "a key may not hold the character NUL");
  if (r->key_count == r->key_capacity) {
    size_t capacity = r->key_capacity ? r->key_capacity * 2 : 64;
    seen_key *keys = realloc(r->keys, capacity * sizeof *keys);
    if (!keys)
      return aon_fail_memory(r->error);
    r->keys = keys;
    r->key_capacity = capacity;
  }
  r->keys[r->key_count++] =
      (seen_key){.hash = key_hash(key, length), .offset = (uint32_t)r->length + 1, .length = (uint32_t)length, .position = position};
  return AON_OK;
}

static int compare_keys(const void *left, const void *right, void *bson) {
  const seen_key *a = left, *b = right;
  if (a->hash != b->hash)
    return a->hash < b->hash ? -1 : 1;
  if (a->length != b->length)
    return a->length < b->length ? -1 : 1;
  const uint8_t *bytes = bson;
  return memcmp(bytes + a->offset, bytes + b->offset, a->length);
}

static aon_result refuse_doubled(const reader *r, const seen_key *a, const seen_key *b) {
  const char *bytes = (const char *)r->bson;
  const seen_key *second = a->position > b->position ? a : b;
  size_t shown = second->length > SHOWN_KEY_BYTES ? SHOWN_KEY_BYTES : second->length;
  while (shown < second->length && shown > 0 && ((unsigned char)bytes[second->offset + shown] & 0xc0) == 0x80)
    shown--;
  char what[SHOWN_KEY_BYTES + 64];
  snprintf(what, sizeof what, "the key \"%.*s\" stands twice in one object", (int)shown, bytes + second->offset);
  return refuse(r, r->text + second->position, what);
}

/* Looks at the keys of one object once it is read whole: their bytes stand in it. */
static aon_result check_doubled(reader *r, size_t first) {
  size_t count = r->key_count - first;
  if (count < 2)
    return AON_OK;
  seen_key *keys = r->keys + first;
  if (count <= FEW_KEYS) {
    for (size_t i = 1; i < count; i++)
      for (size_t j = 0; j < i; j++)
        if (keys[i].hash == keys[j].hash && compare_keys(&keys[i], &keys[j], r->bson) == 0)
          return refuse_doubled(r, &keys[i], &keys[j]);
    return AON_OK;
  }
  qsort_r(keys, count, sizeof *keys, compare_keys, r->bson);
  for (size_t i = 1; i < count; i++)
    if (compare_keys(&keys[i - 1], &keys[i], r->bson) == 0)
      return refuse_doubled(r, &keys[i - 1], &keys[i]);
  return AON_OK;
}

static aon_result read_member(reader *r) {
  if (r->at == r->end || *r->at != '"')
    return refuse(r, r->at, "a key in quotes is expected here");
  size_t position = (size_t)(r->at++ - r->text), length, type_at;
  const char *key;
  aon_result result = read_string(r, &key, &length);
  if (result || (result = note_key(r, key, length, position)) || (result = put_key(r, key, length, &type_at)))
    return result;
  skip_space(r);
  if (r->at == r->end || *r->at != ':')
    return refuse(r, r->at, "a colon is expected here");
  r->at++;
  skip_space(r);
  return read_value(r, type_at);
}

static aon_result read_element(reader *r, uint32_t index) {
  char buffer[16];
  const char *key;
  size_t length = bson_uint32_to_string(index, &key, buffer, sizeof buffer), type_at;
  aon_result result = put_key(r, key, length, &type_at);
  return result ? result : read_value(r, type_at);
}

/* at stands behind the opening bracket; moves behind the closing one. */
static aon_result read_members(reader *r, bool object) {
  char closing = object ? '}' : ']';
  skip_space(r);
  if (r->at < r->end && *r->at == closing) {
    r->at++;
    return AON_OK;
  }
  for (uint32_t index = 0;; index++) {
    aon_result result = object ? read_member(r) : read_element(r, index);
    if (result)
      return result;
    skip_space(r);
    if (r->at == r->end || (*r->at != ',' && *r->at != closing))
      return refuse(r, r->at, object ? "a comma or } is expected here" : "a comma or ] is expected here");
    if (*r->at++ == closing)
      return AON_OK;
    skip_space(r);
  }
}

/* An object or array; at stands on its opening bracket. */
static aon_result read_nested(reader *r) {
  if (++r->depth > AON_DOCUMENT_DEPTH_LIMIT)
    return refuse(r, r->at, "objects and arrays are nested too deep");
  bool object = *r->at++ == '{';
  size_t start = r->length, first = r->key_count;
  aon_result result = put_bytes(r, "\0\0\0", 4);
  if (result || (result = read_members(r, object)) || (result = put_bytes(r, "", 1)))
    return result;
  set_length(r, start, r->length - start);
  if (object)
    result = check_doubled(r, first);
  r->key_count = first;
  r->depth--;
  return result;
}

static aon_result read_value(reader *r, size_t type_at) {
  if (r->at == r->end)
    return refuse(r, r->at, "the text ends too early");
  char c = *r->at;
  if (c == '{' || c == '[') {
    r->bson[type_at] = c == '{' ? BSON_TYPE_DOCUMENT : BSON_TYPE_ARRAY;
    return read_nested(r);
  }
  if (c == '-' || (c >= '0' && c <= '9'))
    return read_number(r, type_at);
  if (c != '"')
    return read_word(r, type_at);
  r->at++;
  const char *text;
  size_t length;
  aon_result result = read_string(r, &text, &length);
  return result ? result : put_text(r, type_at, text, length);
}

static aon_result read_document(reader *r) {
  skip_space(r);
  if (r->at == r->end || *r->at != '{')
    return refuse(r, r->at, "an object is expected here");
  aon_result result = read_nested(r);
  if (result)
    return result;
  skip_space(r);
  return r->at == r->end ? AON_OK : refuse(r, r->at, "nothing may follow the object");
}

aon_result aon_document_from_json(const char *text, size_t length, bson_t *ret_document, aon_error *error) {
  uint8_t stack[STACK_BYTES];
  reader r = {.text = text, .at = text, .end = text + length, .bson = stack, .stack = stack, .capacity = sizeof stack, .error = error};
  bson_init(ret_document);
  aon_result result = read_document(&r);
  if (!result) {
    uint8_t *bytes = bson_reserve_buffer(ret_document, (uint32_t)r.length);
    if (bytes)
      memcpy(bytes, r.bson, r.length);
    else
      result = aon_fail_memory(error);
  }
  if (r.bson != stack)
    free(r.bson);
  aon_buffer_release(&r.scratch);
  free(r.keys);
  return result;
}
