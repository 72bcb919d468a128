/* Language tags: well-formed by the grammar of RFC 5646, section 2.1, in the case that section 2.1.1 recommends.
 * Stricter than the grammar where it lets through what no registry holds: a primary subtag of four letters (reserved) or five to eight
 * (none was ever registered) is refused, so that "english" is not taken for a language; a variant or singleton given twice too. */
#include <string.h>
#include <strings.h>

#include "pack/types.h"

#define SUBTAGS 24 /* more than any sensible tag has */

static const char advice[] = "Write a language tag such as en, pt-BR or zh-Hant.";

typedef struct subtag {
  const char *data;
  size_t length;
} subtag;

typedef struct tag {
  subtag subtags[SUBTAGS];
  size_t count;
} tag;

/* Irregular tags of RFC 5646 that the grammar for new ones does not derive; the regular ones fit it, or are listed as well. */
static const char *const grandfathered[] = {"en-GB-oed", "i-ami",     "i-bnn",     "i-default",  "i-enochian",  "i-hak",  "i-klingon",
                                            "i-lux",     "i-mingo",   "i-navajo",  "i-pwn",      "i-tao",       "i-tay",  "i-tsu",
                                            "sgn-BE-FR", "sgn-BE-NL", "sgn-CH-DE", "art-lojban", "cel-gaulish", "no-bok", "no-nyn",
                                            "zh-guoyu",  "zh-hakka",  "zh-min",    "zh-min-nan", "zh-xiang",    NULL};

static bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool all(const subtag *s, bool letters, bool digits) {
  for (size_t i = 0; i < s->length; i++)
    if (!(letters && is_alpha(s->data[i])) && !(digits && is_digit(s->data[i])))
      return false;
  return true;
}

static bool split(aon_text text, tag *ret_tag) {
  size_t start = 0;
  ret_tag->count = 0;
  for (size_t i = 0; i <= text.length; i++) {
    if (i < text.length && text.data[i] != '-')
      continue;
    subtag s = {text.data + start, i - start};
    if (!s.length || s.length > 8 || !all(&s, true, true) || ret_tag->count == SUBTAGS)
      return false;
    ret_tag->subtags[ret_tag->count++] = s;
    start = i + 1;
  }
  return true;
}

static bool same(const subtag *a, const subtag *b) { return a->length == b->length && !strncasecmp(a->data, b->data, a->length); }

static bool repeated(const tag *t, size_t from, size_t at) {
  for (size_t i = from; i < at; i++)
    if (same(&t->subtags[i], &t->subtags[at]))
      return true;
  return false;
}

static bool is_variant(const subtag *s) { return s->length >= 5 || (s->length == 4 && is_digit(s->data[0])); }

/* language [extlang] [script] [region] *variant; *at moves behind them. */
static bool take_language(const tag *t, size_t *at) {
  const subtag *s = t->subtags;
  size_t i = 0, extended = 0;
  if (s[0].length < 2 || s[0].length > 3 || !all(&s[0], true, false))
    return false;
  for (i = 1; i < t->count && extended < 3 && s[i].length == 3 && all(&s[i], true, false); i++)
    extended++;
  if (i < t->count && s[i].length == 4 && all(&s[i], true, false))
    i++;
  if (i < t->count && ((s[i].length == 2 && all(&s[i], true, false)) || (s[i].length == 3 && all(&s[i], false, true))))
    i++;
  size_t variants = i;
  for (; i < t->count && is_variant(&s[i]); i++)
    if (repeated(t, variants, i))
      return false;
  *at = i;
  return true;
}

/* *(singleton 1*(2*8alphanum)) ["x" 1*(1*8alphanum)] to the end of the tag. */
static bool take_extensions(const tag *t, size_t at) {
  bool seen[128] = {false};
  while (at < t->count) {
    const subtag *singleton = &t->subtags[at];
    if (singleton->length != 1)
      return false;
    unsigned char name = (unsigned char)(singleton->data[0] | (is_alpha(singleton->data[0]) ? 0x20 : 0));
    if (name == 'x')
      return at + 1 < t->count;
    size_t first = ++at;
    while (at < t->count && t->subtags[at].length >= 2)
      at++;
    if (at == first || seen[name])
      return false;
    seen[name] = true;
  }
  return true;
}

static bool well_formed(const tag *t) {
  const subtag *first = &t->subtags[0];
  if (first->length == 1 && (first->data[0] | 0x20) == 'x')
    return t->count > 1;
  size_t at = 0;
  return take_language(t, &at) && take_extensions(t, at);
}

/* Section 2.1.1: lower case; two letters in capitals and four with a capital first, unless at the start or after a singleton. */
static void recommend_case(const tag *t, char *out) {
  bool plain = true;
  for (size_t i = 0; i < t->count; i++) {
    const subtag *s = &t->subtags[i];
    plain = plain && s->length > 1;
    for (size_t k = 0; k < s->length; k++) {
      bool capital = i && plain && (s->length == 2 || (s->length == 4 && k == 0));
      char c = s->data[k];
      *out++ = !is_alpha(c) ? c : capital ? (char)(c & ~0x20) : (char)(c | 0x20);
    }
    *out++ = i + 1 < t->count ? '-' : 0;
  }
}

aon_result aon_check_language(aon_text text, aon_arena *arena, aon_text *ret_text, aon_check *check, aon_error *error) {
  tag t;
  for (size_t i = 0; grandfathered[i]; i++)
    if (strlen(grandfathered[i]) == text.length && !strncasecmp(grandfathered[i], text.data, text.length)) {
      *ret_text = (aon_text){grandfathered[i], text.length};
      return AON_OK;
    }
  if (!split(text, &t) || !well_formed(&t)) {
    aon_check_fail(check, "bad_format", advice, "is not a language tag (BCP 47)");
    return AON_OK;
  }
  char *copy = aon_arena_alloc(arena, text.length + 1);
  if (!copy)
    return aon_fail_memory(error);
  recommend_case(&t, copy);
  *ret_text = (aon_text){copy, text.length};
  return AON_OK;
}
