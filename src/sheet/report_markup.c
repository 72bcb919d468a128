/* The tokenizer of markup that is copied through. One window over the input; a token is a piece of that window.
 * Invariant: window[start, end) are the bytes not yet given out; a token ends at start. */
#include "sheet/report_markup.h"

#include <errno.h>
#include <iconv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WINDOW_BYTES ((size_t)64 << 10)
#define SNIFF_BYTES 200 /* an XML declaration is found within */

typedef enum inside { OUTSIDE, IN_COMMENT, IN_CDATA, IN_INSTRUCTION } inside;

struct aon_markup {
  aon_markup_input input;
  char *window;
  size_t capacity, start, end;
  bool borrowed, ended, converting, declared;
  inside inside;
  iconv_t converter;
  char raw[WINDOW_BYTES / 4]; /* bytes of another encoding, not yet converted */
  size_t raw_length;
  bool raw_ended;
};

static const char declaration[] = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>";

static aon_result broken(aon_error *error, const char *why) {
  return aon_fail(error, AON_REJECTED, "bad_file",
                  "The workbook can't be read: a part of it %s. Open it in your spreadsheet program, save it again and upload that.", why);
}

static aon_result raw_fill(aon_markup *markup, aon_error *error) {
  while (!markup->raw_ended && markup->raw_length < sizeof markup->raw) {
    size_t got = 0;
    aon_result result =
        markup->input.read(markup->input.context, markup->raw + markup->raw_length, sizeof markup->raw - markup->raw_length, &got, error);
    if (result)
      return result;
    markup->raw_ended = got == 0;
    markup->raw_length += got;
  }
  return AON_OK;
}

static aon_result convert(aon_markup *markup, aon_error *error) {
  aon_result result = raw_fill(markup, error);
  if (result)
    return result;
  char *from = markup->raw, *to = markup->window + markup->end;
  size_t from_left = markup->raw_length, to_left = markup->capacity - markup->end;
  errno = 0;
  size_t converted = iconv(markup->converter, &from, &from_left, &to, &to_left);
  if (converted == (size_t)-1 && (errno == EILSEQ || (errno == EINVAL && markup->raw_ended)))
    return broken(error, "holds bytes that its encoding doesn't know");
  memmove(markup->raw, from, from_left);
  markup->raw_length = from_left;
  markup->end = (size_t)(to - markup->window);
  markup->ended = markup->raw_ended && !from_left;
  return AON_OK;
}

static aon_result room(aon_markup *markup, aon_error *error) {
  if (markup->start) {
    memmove(markup->window, markup->window + markup->start, markup->end - markup->start);
    markup->end -= markup->start;
    markup->start = 0;
  }
  if (markup->capacity - markup->end >= WINDOW_BYTES / 2)
    return AON_OK;
  if (markup->capacity > 2 * AON_MARKUP_TAG_BYTES)
    return broken(error, "holds a tag of more than a mebibyte");
  char *window = realloc(markup->window, markup->capacity * 2);
  if (!window)
    return aon_fail_memory(error);
  markup->window = window;
  markup->capacity *= 2;
  return AON_OK;
}

static aon_result fill(aon_markup *markup, aon_error *error) {
  if (markup->ended)
    return AON_OK;
  aon_result result = room(markup, error);
  if (result || markup->converting)
    return result ? result : convert(markup, error);
  size_t got = 0;
  result = markup->input.read(markup->input.context, markup->window + markup->end, markup->capacity - markup->end, &got, error);
  if (result)
    return result;
  markup->end += got;
  markup->ended = got == 0;
  return AON_OK;
}

/* The encoding that the first bytes tell (XML 1.0, appendix F), "" for UTF-8. */
static void encoding_of(const char *bytes, size_t length, char encoding[40]) {
  encoding[0] = 0;
  if (length >= 2 && (!memcmp(bytes, "\xFF\xFE", 2) || !memcmp(bytes, "\xFE\xFF", 2)))
    snprintf(encoding, 40, "UTF-16");
  else if (length >= 2 && !memcmp(bytes, "<\0", 2))
    snprintf(encoding, 40, "UTF-16LE");
  else if (length >= 2 && !memcmp(bytes, "\0<", 2))
    snprintf(encoding, 40, "UTF-16BE");
  if (encoding[0])
    return;
  char head[SNIFF_BYTES + 1];
  size_t taken = length < SNIFF_BYTES ? length : SNIFF_BYTES;
  memcpy(head, bytes, taken);
  head[taken] = 0;
  const char *text = !strncmp(head, "\xEF\xBB\xBF", 3) ? head + 3 : head;
  const char *close = strstr(text, "?>");
  const char *name = !strncmp(text, "<?xml", 5) ? strstr(text, "encoding") : NULL;
  if (!name || !close || name > close)
    return;
  name += strcspn(name, "\"'?");
  if (*name == '?')
    return;
  size_t width = strcspn(name + 1, "\"'");
  if (width < 40 && strncasecmp(name + 1, "utf-8", width) && strncasecmp(name + 1, "utf8", width))
    snprintf(encoding, 40, "%.*s", (int)width, name + 1);
}

static aon_result sniff(aon_markup *markup, aon_error *error) {
  aon_result result = raw_fill(markup, error);
  if (result)
    return result;
  char encoding[40];
  encoding_of(markup->raw, markup->raw_length, encoding);
  if (!encoding[0]) {
    memcpy(markup->window, markup->raw, markup->raw_length);
    markup->end = markup->raw_length;
    markup->ended = markup->raw_ended;
    return AON_OK;
  }
  markup->converter = iconv_open("UTF-8", encoding);
  if (markup->converter == (iconv_t)-1)
    return broken(error, "has an encoding that nobody knows");
  markup->converting = true;
  return AON_OK;
}

aon_result aon_markup_open(const aon_markup_input *input, aon_markup **ret_markup, aon_error *error) {
  AON_MARKUP_CLEANUP aon_markup *markup = calloc(1, sizeof *markup);
  if (!markup || !(markup->window = malloc(WINDOW_BYTES)))
    return aon_fail_memory(error);
  markup->input = *input;
  markup->capacity = WINDOW_BYTES;
  aon_result result = sniff(markup, error);
  if (result)
    return result;
  *ret_markup = markup;
  markup = NULL;
  return AON_OK;
}

aon_result aon_markup_open_bytes(const char *bytes, size_t length, aon_markup **ret_markup, aon_error *error) {
  aon_markup *markup = calloc(1, sizeof *markup);
  if (!markup)
    return aon_fail_memory(error);
  markup->window = (char *)bytes;
  markup->end = markup->capacity = length;
  markup->borrowed = markup->ended = true;
  *ret_markup = markup;
  return AON_OK;
}

void aon_markup_close(aon_markup *markup) {
  if (!markup)
    return;
  if (markup->converting)
    iconv_close(markup->converter);
  if (!markup->borrowed)
    free(markup->window);
  free(markup);
}

/* Makes at least length bytes available if the input has them. */
static aon_result need(aon_markup *markup, size_t length, aon_error *error) {
  aon_result result = AON_OK;
  while (!result && !markup->ended && markup->end - markup->start < length)
    result = fill(markup, error);
  return result;
}

static aon_result take(aon_markup *markup, aon_token_kind kind, size_t length, aon_token *ret_token) {
  *ret_token = (aon_token){.kind = kind, .bytes = {markup->window + markup->start, length}};
  markup->start += length;
  return AON_OK;
}

/* A piece of a comment, CDATA section or instruction: up to its end, or all but what may be the beginning of the end. */
static aon_result next_inside(aon_markup *markup, aon_token *ret_token, aon_error *error) {
  static const char *const ends[] = {[IN_COMMENT] = "-->", [IN_CDATA] = "]]>", [IN_INSTRUCTION] = "?>"};
  const char *end = ends[markup->inside];
  aon_result result = need(markup, WINDOW_BYTES / 4, error);
  if (result)
    return result;
  size_t here = markup->end - markup->start;
  const char *found = memmem(markup->window + markup->start, here, end, strlen(end));
  aon_token_kind kind = markup->inside == IN_CDATA ? AON_TOKEN_TEXT : AON_TOKEN_OTHER;
  if (found) {
    markup->inside = OUTSIDE;
    return take(markup, kind, (size_t)(found - (markup->window + markup->start)) + strlen(end), ret_token);
  }
  if (markup->ended)
    return broken(error, "ends too early");
  return take(markup, kind, here - 2, ret_token);
}

static bool starts(const aon_markup *markup, const char *text) {
  size_t length = strlen(text);
  return markup->end - markup->start >= length && !memcmp(markup->window + markup->start, text, length);
}

/* Length of the tag at start, 0 if its end isn't in the window. */
static size_t tag_length(const aon_markup *markup) {
  const char *at = markup->window + markup->start, *end = markup->window + markup->end;
  for (char quote = 0; at < end; at++) {
    if (quote)
      quote = *at == quote ? 0 : quote;
    else if (*at == '"' || *at == '\'')
      quote = *at;
    else if (*at == '>')
      return (size_t)(at - (markup->window + markup->start)) + 1;
  }
  return 0;
}

static void token_name(aon_token *token) {
  const char *at = token->bytes.data + (token->kind == AON_TOKEN_CLOSE ? 2 : 1), *end = token->bytes.data + token->bytes.length;
  const char *name = at, *local = at;
  while (at < end && *at != ' ' && *at != '/' && *at != '>' && *at != '\t' && *at != '\n' && *at != '\r') {
    if (*at++ == ':')
      local = at;
  }
  token->prefix = (aon_text){name, (size_t)(local - name)};
  token->local = (aon_text){local, (size_t)(at - local)};
}

static aon_result next_tag(aon_markup *markup, aon_token *ret_token, aon_error *error) {
  size_t length;
  while (!(length = tag_length(markup))) {
    if (markup->ended)
      return broken(error, "ends too early");
    aon_result result = fill(markup, error);
    if (result)
      return result;
  }
  const char *tag = markup->window + markup->start;
  aon_token_kind kind = tag[1] == '/' ? AON_TOKEN_CLOSE : tag[length - 2] == '/' ? AON_TOKEN_EMPTY : AON_TOKEN_START;
  aon_result result = take(markup, kind, length, ret_token);
  token_name(ret_token);
  return result;
}

static aon_result next_declaration(aon_markup *markup, aon_token *ret_token, aon_error *error) {
  aon_result result = next_tag(markup, ret_token, error);
  if (result)
    return result;
  *ret_token = (aon_token){.kind = AON_TOKEN_OTHER, .bytes = {declaration, sizeof declaration - 1}};
  return AON_OK;
}

aon_result aon_markup_next(aon_markup *markup, aon_token *ret_token, aon_error *error) {
  if (markup->inside)
    return next_inside(markup, ret_token, error);
  aon_result result = need(markup, 10, error);
  if (result)
    return result;
  if (markup->start == markup->end)
    return AON_END;
  const char *at = markup->window + markup->start;
  if (*at != '<') {
    const char *tag = memchr(at, '<', markup->end - markup->start);
    return take(markup, AON_TOKEN_TEXT, tag ? (size_t)(tag - at) : markup->end - markup->start, ret_token);
  }
  if (starts(markup, "<!DOCTYPE"))
    return broken(error, "has a DOCTYPE, which no workbook needs");
  if (markup->converting && starts(markup, "<?xml "))
    return next_declaration(markup, ret_token, error);
  markup->inside = starts(markup, "<!--")        ? IN_COMMENT
                   : starts(markup, "<![CDATA[") ? IN_CDATA
                   : starts(markup, "<?")        ? IN_INSTRUCTION
                                                 : OUTSIDE;
  return markup->inside ? next_inside(markup, ret_token, error) : next_tag(markup, ret_token, error);
}

aon_result aon_markup_collect(const aon_markup_input *input, aon_buffer *buffer, aon_error *error) {
  AON_MARKUP_CLEANUP aon_markup *markup = NULL;
  aon_result result = aon_markup_open(input, &markup, error);
  aon_token token;
  while (!result && !(result = aon_markup_next(markup, &token, error)))
    result = aon_buffer_append(buffer, token.bytes.data, token.bytes.length, error);
  return result == AON_END ? AON_OK : result;
}

bool aon_text_is(aon_text text, const char *other) { return text.length == strlen(other) && !memcmp(text.data, other, text.length); }

bool aon_text_ends(aon_text text, const char *end) {
  size_t length = strlen(end);
  return text.length >= length && !strncasecmp(text.data + text.length - length, end, length);
}

static bool blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

typedef struct attribute {
  aon_text name, value;
  const char *from;  /* the blank before the name */
  const char *after; /* behind the closing quote */
} attribute;

/* The attribute that begins at or after *at, false at the end of the tag. */
static bool attribute_next(const char **at, const char *end, attribute *ret) {
  const char *p = *at;
  while (p < end && !blank(*p))
    p++;
  const char *from = p;
  while (p < end && blank(*p))
    p++;
  const char *name = p;
  while (p < end && *p != '=' && !blank(*p))
    p++;
  const char *name_end = p;
  while (p < end && *p != '"' && *p != '\'')
    p++;
  const char *close = p < end ? memchr(p + 1, *p, (size_t)(end - p - 1)) : NULL;
  if (!close)
    return false;
  *ret = (attribute){{name, (size_t)(name_end - name)}, {p + 1, (size_t)(close - p - 1)}, from, close + 1};
  *at = close + 1;
  return true;
}

static bool attribute_find(aon_text tag, const char *name, attribute *ret) {
  const char *at = tag.data, *end = tag.data + tag.length;
  while (attribute_next(&at, end, ret)) {
    if (aon_text_is(ret->name, name))
      return true;
    if (*name == ':' && aon_text_ends(ret->name, name))
      return true;
  }
  return false;
}

bool aon_tag_attribute(aon_text tag, const char *name, aon_text *ret_value) {
  attribute found;
  if (!attribute_find(tag, name, &found))
    return false;
  *ret_value = found.value;
  return true;
}

uint32_t aon_tag_number(aon_text tag, const char *name, uint32_t otherwise) {
  aon_text value;
  if (!aon_tag_attribute(tag, name, &value) || !value.length || value.length > 10)
    return otherwise;
  uint64_t number = 0;
  for (size_t i = 0; i < value.length; i++) {
    if (value.data[i] < '0' || value.data[i] > '9')
      return otherwise;
    number = number * 10 + (uint64_t)(value.data[i] - '0');
  }
  return number < UINT32_MAX ? (uint32_t)number : otherwise;
}

bool aon_tag_flag(aon_text tag, const char *name) {
  aon_text value;
  return aon_tag_attribute(tag, name, &value) && (aon_text_is(value, "1") || aon_text_is(value, "true") || aon_text_is(value, "on"));
}

static aon_result tag_splice(aon_buffer *tag, size_t from, size_t to, const char *text, aon_error *error) {
  size_t length = strlen(text);
  aon_result result = aon_buffer_reserve(tag, length, error);
  if (result)
    return result;
  memmove(tag->data + from + length, tag->data + to, tag->length - to + 1);
  memcpy(tag->data + from, text, length);
  tag->length = tag->length - (to - from) + length;
  return AON_OK;
}

aon_result aon_tag_set(aon_buffer *tag, const char *name, const char *value, aon_error *error) {
  attribute found;
  const char *close = memchr(tag->data, '>', tag->length);
  aon_markup view = {.window = tag->data, .end = tag->length};
  size_t length = tag_length(&view);
  if (!close || !length)
    return aon_fail(error, AON_CORRUPT, "internal", "A tag without an end can't be changed.");
  if (attribute_find((aon_text){tag->data, length}, name, &found)) {
    if (!value)
      return tag_splice(tag, (size_t)(found.from - tag->data), (size_t)(found.after - tag->data), "", error);
    size_t from = (size_t)(found.value.data - tag->data);
    return tag_splice(tag, from, from + found.value.length, value, error);
  }
  if (!value)
    return AON_OK;
  size_t at = length - (tag->data[length - 2] == '/' ? 2 : 1);
  char text[256];
  int width = snprintf(text, sizeof text, "%s%s=\"%s\"", at && blank(tag->data[at - 1]) ? "" : " ", name, value);
  if (width < 0 || (size_t)width >= sizeof text)
    return aon_fail(error, AON_CORRUPT, "internal", "An attribute is too long to be set.");
  return tag_splice(tag, at, at, text, error);
}

aon_result aon_tag_set_number(aon_buffer *tag, const char *name, uint64_t value, aon_error *error) {
  char text[24];
  snprintf(text, sizeof text, "%llu", (unsigned long long)value);
  return aon_tag_set(tag, name, text, error);
}

aon_result aon_tag_unclose(aon_buffer *tag, aon_error *error) {
  if (tag->length < 3 || tag->data[tag->length - 2] != '/')
    return AON_OK;
  return tag_splice(tag, tag->length - 2, tag->length - 1, "", error);
}

/* Decodes the reference behind an ampersand; gives its length, 0 if it is none. */
static size_t reference_decode(const char *at, const char *end, char out[4], size_t *ret_width) {
  static const struct {
    const char *name;
    char value;
  } entities[] = {{"amp;", '&'}, {"lt;", '<'}, {"gt;", '>'}, {"quot;", '"'}, {"apos;", '\''}};
  for (size_t i = 0; i < sizeof entities / sizeof *entities; i++) {
    size_t length = strlen(entities[i].name);
    if ((size_t)(end - at) >= length && !memcmp(at, entities[i].name, length)) {
      *out = entities[i].value;
      *ret_width = 1;
      return length;
    }
  }
  const char *semicolon = memchr(at, ';', (size_t)(end - at));
  if (!semicolon || *at != '#' || semicolon - at > 10 || semicolon - at < 2)
    return 0;
  char digits[12] = "";
  memcpy(digits, at + 1, (size_t)(semicolon - at - 1));
  char *stop;
  unsigned long value = digits[0] == 'x' ? strtoul(digits + 1, &stop, 16) : strtoul(digits, &stop, 10);
  if (*stop || !value || value > 0x10FFFF)
    return 0;
  *ret_width = aon_character_put((uint32_t)value, out);
  return (size_t)(semicolon - at) + 1;
}

char *aon_markup_decode(aon_arena *arena, aon_text text) {
  char *out = aon_arena_alloc(arena, text.length + 1); /* a reference is never shorter than what it stands for */
  if (!out)
    return NULL;
  char *to = out;
  for (const char *at = text.data, *end = at + text.length; at < end;) {
    size_t width = 0, length = *at == '&' ? reference_decode(at + 1, end, to, &width) : 0;
    if (length) {
      to += width;
      at += length + 1;
    } else {
      *to++ = *at++;
    }
  }
  *to = 0;
  return out;
}
