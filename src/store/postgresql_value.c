/* Single values of PostgreSQL: a column's text to a property and back.
 *
 * Invariant: a property that came from a text and is plain is spelled as that text again (typed columns: as one that is equal to it).
 * Source: https://www.postgresql.org/docs/15/datatype.html, arrays: section 8.15.6. */
#include <inttypes.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "model/document.h"
#include "model/text.h"
#include "store/postgresql_internal.h"

#define BASE64 sodium_base64_VARIANT_ORIGINAL
#define ARRAY_DEPTH_LIMIT 6 /* PostgreSQL's MAXDIM */
#define EXACT_DIGITS 15     /* decimals of so many digits survive a double */
#define WHOLE_LIMIT 1e19    /* beyond every int64 */

bool pg_same(const pg_text *a, const pg_text *b) {
  if (!a->data || !b->data)
    return !a->data && !b->data;
  return a->length == b->length && !memcmp(a->data, b->data, a->length);
}

static aon_result keep(aon_arena *arena, const char *text, size_t length, pg_text *ret_text, aon_error *error) {
  *ret_text = (pg_text){.data = aon_arena_text(arena, text, length), .length = length};
  return ret_text->data ? AON_OK : aon_fail_memory(error);
}

/* What is appended to a document is so, but beyond 2 GiB. */
static aon_result appended(bool done, aon_error *error) {
  return done ? AON_OK : aon_fail(error, AON_PERMANENT, "too_long", "A row is too large to be a document.");
}

static aon_result unfit(const char *why, aon_error *error) { return aon_fail(error, AON_REJECTED, "bad_type", "%s", why); }

/* ---- bytes ---- */

aon_result pg_hex_write(const void *bytes, size_t length, aon_arena *arena, pg_text *ret_text, aon_error *error) {
  char *text = aon_arena_alloc(arena, 2 * length + 3);
  if (!text)
    return aon_fail_memory(error);
  memcpy(text, "\\x", 2);
  sodium_bin2hex(text + 2, 2 * length + 1, bytes, length);
  *ret_text = (pg_text){.data = text, .length = 2 * length + 2};
  return AON_OK;
}

bool pg_hex_read(const pg_text *text, aon_arena *arena, const uint8_t **ret_bytes, size_t *ret_length) {
  size_t room = text->length / 2 + 1;
  unsigned char *bytes = aon_arena_alloc(arena, room);
  *ret_bytes = bytes;
  return bytes && text->length >= 2 && !memcmp(text->data, "\\x", 2) &&
         !sodium_hex2bin(bytes, room, text->data + 2, text->length - 2, NULL, ret_length, NULL);
}

static aon_result append_bytes(const char *key, const pg_text *text, aon_arena *arena, bson_t *document, aon_error *error) {
  const uint8_t *bytes;
  size_t length;
  if (!pg_hex_read(text, arena, &bytes, &length))
    return !bytes ? aon_fail_memory(error)
                  : aon_fail(error, AON_CORRUPT, "bad_document", "The column “%s” holds bytes that can't be read.", key);
  size_t size = sodium_base64_encoded_len(length, BASE64);
  char *base64 = aon_arena_alloc(arena, size);
  if (!base64)
    return aon_fail_memory(error);
  sodium_bin2base64(base64, size, bytes, length, BASE64);
  return appended(bson_append_utf8(document, key, -1, base64, (int)size - 1), error);
}

static aon_result spell_base64(const char *text, size_t length, aon_arena *arena, pg_text *ret_text, aon_error *error) {
  size_t room = length / 4 * 3 + 3, found = 0;
  unsigned char *bytes = aon_arena_alloc(arena, room);
  if (!bytes)
    return aon_fail_memory(error);
  if (length % 4 || sodium_base642bin(bytes, room, text, length, NULL, &found, NULL, BASE64))
    return unfit("it is declared as bytes, which are given as base64 text", error);
  return pg_hex_write(bytes, found, arena, ret_text, error);
}

/* ---- instants: "2027-01-06 08:00:00.5+00" is "2027-01-06T08:00:00.500Z" ---- */

#define SECONDS_END 19 /* of "YYYY-MM-DD hh:mm:ss" */

static bool is_instant(const char *text, size_t length, char between, const char *zone) {
  static const char shape[] = "dddd-dd-dd dd:dd:dd";
  size_t zone_length = strlen(zone);
  if (length < SECONDS_END + zone_length)
    return false;
  for (size_t i = 0; i < SECONDS_END; i++) {
    bool digit = text[i] >= '0' && text[i] <= '9';
    if (shape[i] == 'd' ? !digit : text[i] != (shape[i] == ' ' ? between : shape[i]))
      return false;
  }
  size_t fraction = length - SECONDS_END - zone_length;
  if (fraction && (fraction < 2 || fraction > 7 || text[SECONDS_END] != '.' || strspn(text + SECONDS_END + 1, "0123456789") < fraction - 1))
    return false;
  return !memcmp(text + length - zone_length, zone, zone_length);
}

static aon_result instant_shown(const pg_text *text, bool zoned, aon_arena *arena, pg_text *ret_text, aon_error *error) {
  const char *zone = zoned ? "+00" : "";
  if (!is_instant(text->data, text->length, ' ', zone)) { /* infinity, BC, years of five digits */
    *ret_text = *text;
    return AON_OK;
  }
  size_t fraction = text->length - SECONDS_END - strlen(zone);
  const char *padding = fraction == 0 ? ".000" : fraction == 2 ? "00" : fraction == 3 ? "0" : "";
  char *shown = aon_arena_format(arena, "%.10sT%.*s%s%s", text->data, (int)(8 + fraction), text->data + 11, padding, zoned ? "Z" : "");
  if (!shown)
    return aon_fail_memory(error);
  *ret_text = (pg_text){.data = shown, .length = strlen(shown)};
  return AON_OK;
}

static aon_result instant_spelled(const char *text, size_t length, bool zoned, aon_arena *arena, pg_text *ret_text, aon_error *error) {
  const char *zone = zoned ? "Z" : "";
  if (!is_instant(text, length, 'T', zone))
    return keep(arena, text, length, ret_text, error);
  size_t fraction = length - SECONDS_END - strlen(zone);
  while (fraction && (text[SECONDS_END + fraction - 1] == '0' || text[SECONDS_END + fraction - 1] == '.'))
    fraction--;
  char *spelled = aon_arena_format(arena, "%.10s %.*s%s", text, (int)(8 + fraction), text + 11, zoned ? "+00" : "");
  if (!spelled)
    return aon_fail_memory(error);
  *ret_text = (pg_text){.data = spelled, .length = strlen(spelled)};
  return AON_OK;
}

/* ---- JSON ---- */

/* Significant digits of a number's text, and whether a double's shortest text has no more to say. */
static bool exact_number(const char *text, size_t length) {
  size_t digits = 0, zeros = 0;
  const char *point = memchr(text, '.', length);
  for (size_t i = 0; i < length; i++) {
    if (text[i] == 'e' || text[i] == 'E')
      return false; /* jsonb has none; in json the text itself is kept */
    if (text[i] < '0' || text[i] > '9' || (text[i] == '0' && !digits))
      continue;
    zeros = text[i] == '0' ? zeros + 1 : 0;
    digits++;
  }
  bool whole = point && point[1] == '0' && point + 2 == text + length;
  bool trailing = point && !whole && text[length - 1] == '0';
  return !trailing && digits - zeros <= EXACT_DIGITS;
}

static bool fits_int64(const char *text, size_t length) {
  uint64_t value = 0;
  bool negative = *text == '-';
  for (size_t i = negative; i < length; i++)
    if (__builtin_mul_overflow(value, 10u, &value) || __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value))
      return false;
  return value <= (uint64_t)INT64_MAX + negative;
}

static size_t skip_string(const char *text, size_t at, size_t length) {
  for (at++; at < length && text[at] != '"'; at++)
    at += text[at] == '\\';
  return at + 1;
}

/* Copies the text with ".0" behind whole numbers that only a double can hold. */
static aon_result with_doubles(const char *text, size_t length, aon_buffer *out, bool *ret_exact, aon_error *error) {
  aon_result result = AON_OK;
  size_t from = 0;
  for (size_t at = 0; !result && at < length;) {
    if (text[at] == '"') {
      at = skip_string(text, at, length);
      continue;
    }
    size_t number = strspn(text + at, "-+.0123456789eE");
    if (!number || text[at] == 'e') { /* the e of true and false */
      at++;
      continue;
    }
    bool whole = !memchr(text + at, '.', number) && !memchr(text + at, 'e', number) && !memchr(text + at, 'E', number);
    bool integer = whole && fits_int64(text + at, number);
    *ret_exact = *ret_exact && (integer || exact_number(text + at, number));
    at += number;
    if (!whole || integer)
      continue;
    result = aon_buffer_append(out, text + from, at - from, error);
    if (!result)
      result = aon_buffer_text(out, ".0", error);
    from = at;
  }
  return result ? result : aon_buffer_append(out, text + from, length - from, error);
}

aon_result pg_json_read(const char *text, size_t length, bson_t *ret_document, bool *ret_exact, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer readable = {0};
  *ret_exact = true;
  aon_result result = with_doubles(text, length, &readable, ret_exact, error);
  return result ? result : aon_document_from_json(readable.data, readable.length, ret_document, error);
}

static bool json_value(const bson_iter_t *value, bool nul, int depth) {
  bson_iter_t inner;
  uint32_t length;
  const char *text;
  switch (bson_iter_type(value)) {
  case BSON_TYPE_NULL:
  case BSON_TYPE_BOOL:
  case BSON_TYPE_INT32:
  case BSON_TYPE_INT64:
    return true;
  case BSON_TYPE_DOUBLE:
    return isfinite(bson_iter_double(value)) && (bson_iter_double(value) != 0.0 || !signbit(bson_iter_double(value)));
  case BSON_TYPE_UTF8:
    text = bson_iter_utf8(value, &length);
    return nul || !length || !memchr(text, 0, length);
  case BSON_TYPE_DOCUMENT:
  case BSON_TYPE_ARRAY:
    if (depth > AON_DOCUMENT_DEPTH_LIMIT || !bson_iter_recurse(value, &inner))
      return false;
    while (bson_iter_next(&inner))
      if (!json_value(&inner, nul, depth + 1))
        return false;
    return true;
  default:
    return false;
  }
}

bool pg_json_holds(const bson_t *document, bool nul) {
  bson_iter_t at;
  if (!bson_iter_init(&at, document))
    return false;
  while (bson_iter_next(&at))
    if (!json_value(&at, nul, 1))
      return false;
  return true;
}

/* jsonb writes 1e15 as 1000000000000000, an integer: such doubles are given a point, so that they come back as doubles. */
static aon_result spelled_out(const char *text, size_t length, aon_buffer *out, aon_error *error) {
  char json[80];
  bson_t read;
  bson_iter_t at;
  double value = 0;
  if (length > 60 || !memchr(text, 'e', length))
    return aon_buffer_append(out, text, length, error);
  snprintf(json, sizeof json, "{\"\":%.*s}", (int)length, text);
  aon_result result = aon_document_from_json(json, strlen(json), &read, error);
  if (result)
    return result;
  if (bson_iter_init_find(&at, &read, ""))
    value = bson_iter_as_double(&at);
  bson_destroy(&read);
  if (fabs(value) >= 1e15 && fabs(value) < WHOLE_LIMIT)
    return aon_buffer_format(out, error, "%.0f.0", value);
  return aon_buffer_append(out, text, length, error);
}

static aon_result for_jsonb(const aon_buffer *json, bool replace, aon_buffer *out, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t at = 0; !result && at < json->length;) {
    const char *text = json->data + at;
    if (*text == '"') {
      size_t end = skip_string(json->data, at, json->length);
      for (; !result && at < end; at++) {
        bool nul = replace && !strncmp(json->data + at, "\\u0000", 6);
        bool escape = json->data[at] == '\\';
        result = nul ? aon_buffer_text(out, "\\ufffd", error) : aon_buffer_append(out, json->data + at, escape ? 2 : 1, error);
        at += nul ? 5 : escape;
      }
      continue;
    }
    size_t number = strspn(text, "-+.0123456789eE");
    if (*text == 'e')
      number = 0;
    result = number ? spelled_out(text, number, out, error) : aon_buffer_append(out, text, 1, error);
    at += number ? number : 1;
  }
  return result;
}

static bool has_exponent(const aon_buffer *json) { /* or a text that looks so */
  for (size_t i = 1; i < json->length; i++)
    if (json->data[i] == 'e' && json->data[i - 1] >= '0' && json->data[i - 1] <= '9')
      return true;
  return false;
}

aon_result pg_json_write(const bson_t *document, bool replace, aon_arena *arena, pg_text *ret_text, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer json = {0};
  AON_BUFFER_CLEANUP aon_buffer out = {0};
  aon_result result = aon_document_to_json(document, &json, error);
  if (!result && (has_exponent(&json) || (replace && strstr(json.data, "\\u0000"))))
    result = for_jsonb(&json, replace, &out, error);
  const aon_buffer *made = out.length ? &out : &json;
  return result ? result : keep(arena, made->data, made->length, ret_text, error);
}

/* Appends the only property of a document under another name. */
static aon_result append_copy(const char *key, const bson_t *from, bson_t *document, aon_error *error) {
  bson_iter_t at;
  return appended(bson_iter_init_find(&at, from, "") && bson_append_iter(document, key, -1, &at), error);
}

static aon_result append_json(const pg_column *column, const char *key, const pg_text *text, aon_arena *arena, bson_t *document,
                              bool *ret_plain, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer wrapped = {0};
  bson_t read;
  bool exact;
  aon_error why = AON_ERROR_INIT;
  aon_result result = aon_buffer_text(&wrapped, "{\"\":", error);
  if (!result)
    result = aon_buffer_append(&wrapped, text->data, text->length, error);
  if (!result)
    result = aon_buffer_text(&wrapped, "}", error);
  if (result)
    return result;
  result = pg_json_read(wrapped.data, wrapped.length, &read, &exact, &why);
  if (result == AON_REJECTED)
    return aon_fail(error, AON_PERMANENT, "bad_document",
                    "The column “%s” holds JSON that a document can't: a doubled key, or a number beyond double.", key);
  if (result)
    return pg_tell(result, &why, error);
  bson_iter_t at;
  bool null = bson_iter_init_find(&at, &read, "") && bson_iter_type(&at) == BSON_TYPE_NULL;
  *ret_plain = exact && !null;
  if (*ret_plain && !column->jsonb) { /* json keeps its text, so ours must be the same */
    pg_text again;
    result = pg_json_write(&read, false, arena, &again, error);
    *ret_plain = !result && again.length == wrapped.length && !memcmp(again.data, wrapped.data, wrapped.length);
  }
  if (!result)
    result = append_copy(key, &read, document, error);
  bson_destroy(&read);
  return result;
}

static aon_result spell_json(const pg_column *column, const bson_iter_t *property, aon_arena *arena, pg_text *ret_text, aon_error *error) {
  bson_t wrapped = BSON_INITIALIZER;
  pg_text text;
  aon_result result = appended(bson_append_iter(&wrapped, "", 0, property), error);
  if (!result && !pg_json_holds(&wrapped, !column->jsonb))
    result = unfit("its column holds JSON, which has no such type (or no NUL in a text, or no -0.0)", error);
  if (!result)
    result = pg_json_write(&wrapped, false, arena, &text, error);
  if (!result)
    result = keep(arena, text.data + 4, text.length - 5, ret_text, error); /* within {"": and } */
  bson_destroy(&wrapped);
  return result;
}

/* ---- arrays ---- */

typedef struct array_reading {
  const pg_column *column;
  pg_column element;
  const char *at, *end;
  aon_arena *arena;
} array_reading;

static aon_result bad_array(const array_reading *r, aon_error *error) {
  return aon_fail(error, AON_PERMANENT, "bad_document", "The column “%s” holds an array that can't be read.", r->column->name);
}

static aon_result read_element(array_reading *r, pg_text *ret_text, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer text = {0};
  bool quoted = r->at < r->end && *r->at == '"';
  aon_result result = AON_OK;
  for (r->at += quoted; !result && r->at < r->end; r->at++) {
    if (quoted ? *r->at == '"' : *r->at == r->column->delimiter || *r->at == '}')
      break;
    if (*r->at == '\\' && ++r->at == r->end)
      return bad_array(r, error);
    result = aon_buffer_append(&text, r->at, 1, error);
  }
  if (result)
    return result;
  if (quoted && (r->at == r->end || *r->at++ != '"'))
    return bad_array(r, error);
  if (!quoted && text.length == 4 && !strcasecmp(text.data, "NULL")) {
    *ret_text = (pg_text){0};
    return AON_OK;
  }
  if (r->element.form == FORM_BOOLEAN && text.length == 1)
    return *text.data == 't' ? keep(r->arena, "true", 4, ret_text, error) : keep(r->arena, "false", 5, ret_text, error);
  return keep(r->arena, text.data ? text.data : "", text.length, ret_text, error);
}

static aon_result read_array(array_reading *r, const char *key, bson_t *document, int depth, aon_error *error) {
  bson_t list;
  char number[16];
  if (depth > ARRAY_DEPTH_LIMIT || r->at == r->end || *r->at++ != '{')
    return bad_array(r, error);
  aon_result result = appended(bson_append_array_begin(document, key, -1, &list), error);
  if (result)
    return result;
  bool plain;
  pg_text text;
  for (uint32_t i = 0; !result && r->at < r->end && *r->at != '}'; i++) {
    snprintf(number, sizeof number, "%" PRIu32, i);
    if (*r->at == '{') {
      result = read_array(r, number, &list, depth + 1, error);
    } else {
      result = read_element(r, &text, error);
      if (!result)
        result = pg_append(&r->element, number, &text, r->arena, &list, &plain, error);
    }
    if (!result && r->at < r->end && *r->at == r->column->delimiter)
      r->at++;
  }
  bool ended = bson_append_array_end(document, &list);
  if (!result)
    result = appended(ended, error);
  if (!result && (r->at == r->end || *r->at++ != '}'))
    result = bad_array(r, error);
  return result;
}

static pg_column element_of(const pg_column *column) {
  return (pg_column){.name = column->name, .type = "", .base = "", .form = column->element, .jsonb = column->element == FORM_JSON};
}

static bool needs_quotes(const pg_column *column, const pg_text *text) {
  if (!text->length || (text->length == 4 && !strncasecmp(text->data, "NULL", 4)))
    return true;
  for (size_t i = 0; i < text->length; i++)
    if (strchr("\"\\{} \t\n\v\f\r", text->data[i]) || text->data[i] == column->delimiter)
      return true;
  return false;
}

static aon_result spell_element(const pg_column *column, const pg_column *element, const bson_iter_t *value, aon_arena *arena,
                                aon_buffer *out, aon_error *error) {
  pg_text text;
  aon_result result = pg_spell(element, value, arena, &text, error);
  if (result || !text.data)
    return result ? result : aon_buffer_text(out, "NULL", error);
  if (element->form == FORM_BOOLEAN && bson_iter_type(value) == BSON_TYPE_BOOL)
    return aon_buffer_text(out, bson_iter_bool(value) ? "t" : "f", error);
  if (!needs_quotes(column, &text))
    return aon_buffer_append(out, text.data, text.length, error);
  result = aon_buffer_text(out, "\"", error);
  for (size_t i = 0; !result && i < text.length; i++) {
    if (text.data[i] == '"' || text.data[i] == '\\')
      result = aon_buffer_text(out, "\\", error);
    if (!result)
      result = aon_buffer_append(out, text.data + i, 1, error);
  }
  return result ? result : aon_buffer_text(out, "\"", error);
}

static aon_result spell_array(const pg_column *column, const bson_iter_t *property, aon_arena *arena, int depth, aon_buffer *out,
                              aon_error *error) {
  const pg_column element = element_of(column);
  bson_iter_t at;
  if (depth > ARRAY_DEPTH_LIMIT || !bson_iter_recurse(property, &at))
    return unfit("its list is nested too deep", error);
  aon_result result = aon_buffer_text(out, "{", error);
  for (bool first = true; !result && bson_iter_next(&at); first = false) {
    if (!first)
      result = aon_buffer_append(out, &column->delimiter, 1, error);
    if (result)
      break;
    bool nested = bson_iter_type(&at) == BSON_TYPE_ARRAY && column->element != FORM_JSON;
    result = nested ? spell_array(column, &at, arena, depth + 1, out, error) : spell_element(column, &element, &at, arena, out, error);
  }
  return result ? result : aon_buffer_text(out, "}", error);
}

static aon_result append_array(const pg_column *column, const char *key, const pg_text *text, aon_arena *arena, bson_t *document,
                               bool *ret_plain, aon_error *error) {
  array_reading r = {.column = column, .element = element_of(column), .at = text->data, .end = text->data + text->length, .arena = arena};
  const char *bounds = *r.at == '[' ? strchr(r.at, '=') : NULL;
  if (bounds)
    r.at = bounds + 1;
  bson_t wrapped = BSON_INITIALIZER;
  bson_iter_t at;
  AON_BUFFER_CLEANUP aon_buffer again = {0};
  aon_result result = read_array(&r, key, &wrapped, 1, error);
  if (!result && r.at != r.end)
    result = bad_array(&r, error);
  if (!result)
    result = appended(bson_concat(document, &wrapped), error);
  *ret_plain = false;
  if (!result && !bounds && bson_iter_init(&at, &wrapped) && bson_iter_next(&at)) {
    aon_error ignored = AON_ERROR_INIT; /* what can't be spelled is kept as it is */
    aon_result spelled = spell_array(column, &at, arena, 1, &again, &ignored);
    *ret_plain = !spelled && again.length == text->length && !memcmp(again.data, text->data, text->length);
    if (spelled == AON_NO_MEMORY)
      result = aon_fail_memory(error);
  }
  bson_destroy(&wrapped);
  return result;
}

/* ---- text to property ---- */

static aon_result append_real(const char *key, const pg_text *text, bson_t *document, aon_error *error) {
  double value = NAN;
  bson_t read;
  bool exact;
  if (strpbrk(text->data, "nN")) {
    if (strstr(text->data, "nfinity"))
      value = *text->data == '-' ? -INFINITY : INFINITY;
    return appended(bson_append_double(document, key, -1, value), error);
  }
  char json[80];
  snprintf(json, sizeof json, "{\"\":%.60s%s}", text->data, strpbrk(text->data, ".e") ? "" : ".0");
  aon_result result = pg_json_read(json, strlen(json), &read, &exact, error);
  if (result)
    return result;
  result = append_copy(key, &read, document, error);
  bson_destroy(&read);
  return result;
}

static aon_result append_text(const char *key, const pg_text *text, bson_t *document, aon_error *error) {
  return appended(bson_append_utf8(document, key, -1, text->data, (int)text->length), error);
}

static aon_result append_instant(const pg_column *column, const char *key, const pg_text *text, aon_arena *arena, bson_t *document,
                                 bool *ret_plain, aon_error *error) {
  pg_text shown, again = {0};
  bool zoned = column->form == FORM_INSTANT;
  aon_result result = instant_shown(text, zoned, arena, &shown, error);
  if (!result)
    result = instant_spelled(shown.data, shown.length, zoned, arena, &again, error);
  *ret_plain = !result && pg_same(&again, text);
  return result ? result : append_text(key, &shown, document, error);
}

aon_result pg_append(const pg_column *column, const char *key, const pg_text *text, aon_arena *arena, bson_t *document, bool *ret_plain,
                     aon_error *error) {
  *ret_plain = true;
  if (!text->data)
    return appended(bson_append_null(document, key, -1), error);
  switch (column->form) {
  case FORM_INTEGER:
    return appended(bson_append_int64(document, key, -1, strtoll(text->data, NULL, 10)), error);
  case FORM_REAL:
    return append_real(key, text, document, error);
  case FORM_BOOLEAN:
    return appended(bson_append_bool(document, key, -1, *text->data == 't'), error);
  case FORM_BYTES:
    return append_bytes(key, text, arena, document, error);
  case FORM_TIMESTAMP:
  case FORM_INSTANT:
    return append_instant(column, key, text, arena, document, ret_plain, error);
  case FORM_JSON:
    return append_json(column, key, text, arena, document, ret_plain, error);
  case FORM_ARRAY:
    return append_array(column, key, text, arena, document, ret_plain, error);
  default:
    return append_text(key, text, document, error);
  }
}

/* ---- property to text ---- */

static aon_result spell_number(const pg_column *column, const bson_iter_t *property, aon_arena *arena, pg_text *ret_text,
                               aon_error *error) {
  char text[64];
  double real = bson_iter_type(property) == BSON_TYPE_DOUBLE ? bson_iter_double(property) : 0;
  if (bson_iter_type(property) != BSON_TYPE_DOUBLE) {
    int64_t integer = bson_iter_as_int64(property);
    if (column->form == FORM_REAL && (integer > INT64_C(1) << 53 || integer < -(INT64_C(1) << 53)) && (int64_t)(double)integer != integer)
      return aon_fail(error, AON_REJECTED, "out_of_range", "its column would round so large an integer");
    snprintf(text, sizeof text, "%" PRId64, integer);
  } else if (!isfinite(real)) {
    if (column->form == FORM_INTEGER || column->form == FORM_BOOLEAN)
      return unfit("its column holds whole numbers", error);
    snprintf(text, sizeof text, "%s", isnan(real) ? "NaN" : real < 0 ? "-Infinity" : "Infinity");
  } else if (column->form == FORM_INTEGER) {
    if (real != trunc(real) || fabs(real) >= 0x1p63)
      return unfit("its column holds whole numbers", error);
    snprintf(text, sizeof text, "%" PRId64, (int64_t)real);
  } else {
    AON_BUFFER_CLEANUP aon_buffer json = {0};
    aon_result result = aon_value_to_json(property, &json, error);
    return result ? result : keep(arena, json.data, json.length, ret_text, error);
  }
  return keep(arena, text, strlen(text), ret_text, error);
}

static aon_result spell_text(const pg_column *column, const char *text, size_t length, aon_arena *arena, pg_text *ret_text,
                             aon_error *error) {
  if (length && memchr(text, 0, length))
    return unfit("PostgreSQL keeps no NUL in a text", error);
  if (column->form == FORM_BYTES)
    return spell_base64(text, length, arena, ret_text, error);
  if (column->form == FORM_TIMESTAMP || column->form == FORM_INSTANT)
    return instant_spelled(text, length, column->form == FORM_INSTANT, arena, ret_text, error);
  if (column->padded)
    while (length && text[length - 1] == ' ')
      length--;
  return keep(arena, text, length, ret_text, error);
}

static aon_result spell_other(const pg_column *column, const bson_iter_t *property, aon_arena *arena, pg_text *ret_text, aon_error *error) {
  char text[BSON_DECIMAL128_STRING];
  bson_decimal128_t decimal;
  switch (bson_iter_type(property)) {
  case BSON_TYPE_BINARY: {
    bson_subtype_t subtype;
    uint32_t length;
    const uint8_t *bytes;
    bson_iter_binary(property, &subtype, &length, &bytes);
    if (column->form != FORM_BYTES)
      return unfit("its column holds no bytes", error);
    return pg_hex_write(bytes, length, arena, ret_text, error);
  }
  case BSON_TYPE_DATE_TIME:
    aon_instant_format(bson_iter_date_time(property), text);
    return spell_text(column, text, strlen(text), arena, ret_text, error);
  case BSON_TYPE_OID:
    bson_oid_to_string(bson_iter_oid(property), text);
    return keep(arena, text, strlen(text), ret_text, error);
  case BSON_TYPE_DECIMAL128:
    bson_iter_decimal128(property, &decimal);
    bson_decimal128_to_string(&decimal, text);
    return keep(arena, text, strlen(text), ret_text, error);
  default:
    return unfit("a column of its type holds no object and no list, and no type that JSON lacks", error);
  }
}

aon_result pg_spell(const pg_column *column, const bson_iter_t *property, aon_arena *arena, pg_text *ret_text, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer list = {0};
  uint32_t length;
  const char *text;
  aon_result result;
  bson_type_t type = bson_iter_type(property);
  *ret_text = (pg_text){0};
  if (type == BSON_TYPE_NULL)
    return AON_OK;
  if (column->form == FORM_JSON)
    return spell_json(column, property, arena, ret_text, error);
  switch (type) {
  case BSON_TYPE_ARRAY:
    if (column->form != FORM_ARRAY)
      return unfit("its column holds no list", error);
    result = spell_array(column, property, arena, 1, &list, error);
    return result ? result : keep(arena, list.data, list.length, ret_text, error);
  case BSON_TYPE_BOOL:
    return keep(arena, bson_iter_bool(property) ? "true" : "false", bson_iter_bool(property) ? 4 : 5, ret_text, error);
  case BSON_TYPE_INT32:
  case BSON_TYPE_INT64:
  case BSON_TYPE_DOUBLE:
    return spell_number(column, property, arena, ret_text, error);
  case BSON_TYPE_UTF8:
    text = bson_iter_utf8(property, &length);
    return spell_text(column, text, length, arena, ret_text, error);
  default:
    return spell_other(column, property, arena, ret_text, error);
  }
}

/* ---- ids ---- */

static bool whole_number(const char *text, size_t length, int64_t least, int64_t most) {
  char number[24], again[24];
  if (!length || length >= sizeof number)
    return false;
  memcpy(number, text, length);
  number[length] = 0;
  long long value = strtoll(number, NULL, 10);
  snprintf(again, sizeof again, "%lld", value);
  return !strcmp(number, again) && value >= least && value <= most;
}

static bool is_uuid(const char *text, size_t length) {
  for (size_t i = 0; i < length; i++)
    if (i == 8 || i == 13 || i == 18 || i == 23 ? text[i] != '-' : !strchr("0123456789abcdef", text[i]))
      return false;
  return length == AON_UUID_LENGTH;
}

bool pg_id_fits(const pg_column *column, const char *text, size_t length) {
  if (length && (memchr(text, 0, length) || !bson_utf8_validate(text, length, false)))
    return false;
  if (!strcmp(column->base, "int2"))
    return whole_number(text, length, INT16_MIN, INT16_MAX);
  if (!strcmp(column->base, "int4"))
    return whole_number(text, length, INT32_MIN, INT32_MAX);
  if (!strcmp(column->base, "int8"))
    return whole_number(text, length, INT64_MIN, INT64_MAX);
  return strcmp(column->base, "uuid") || is_uuid(text, length);
}
