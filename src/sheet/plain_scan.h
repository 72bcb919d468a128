/* Runs of plain bytes, the ground under the scanners of plain rows and plain shared strings.
 *
 * Plain is what stands for itself in XML: printable ASCII but for markup, and in texts also tabs, line feeds and well-formed UTF-8. Runs
 * are found 16 bytes at a time where the machine has SSE2, else by a table. Both look at AON_PLAIN_PADDING bytes behind the last one, which
 * their owner has set to zero: zero is never plain, so that no run needs to know where the bytes end. */
#ifndef AON_SHEET_PLAIN_SCAN_H
#define AON_SHEET_PLAIN_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#define AON_PLAIN_PADDING ((size_t)32)

static inline bool aon_plain_byte(unsigned char c, bool quotes) {
  return c >= 0x20 && c < 0x7f && c != '<' && c != '&' && c != '>' && (quotes || (c != '"' && c != '\''));
}

#ifdef __SSE2__
#include <emmintrin.h>

static inline size_t aon_plain_ascii(const char *at, bool quotes) {
  for (size_t run = 0;; run += 16) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(at + run));
    __m128i other = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20)); /* signed: beyond ASCII too */
    other = _mm_or_si128(other, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('<')));
    other = _mm_or_si128(other, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('>')));
    other = _mm_or_si128(other, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('&')));
    other = _mm_or_si128(other, _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f)));
    if (!quotes) {
      other = _mm_or_si128(other, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')));
      other = _mm_or_si128(other, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\'')));
    }
    int mask = _mm_movemask_epi8(other);
    if (mask)
      return run + (size_t)__builtin_ctz((unsigned)mask);
  }
}
#else
static inline size_t aon_plain_ascii(const char *at, bool quotes) {
  size_t run = 0;
  while (aon_plain_byte((unsigned char)at[run], quotes))
    run++;
  return run;
}
#endif

/* How many bytes the character at at has, which is none of ASCII; 0: it is no UTF-8, or none that XML allows (Unicode 3.9, table 3-7;
 * XML 1.0, 2.2). */
static inline size_t aon_plain_wide(const char *text) {
  const unsigned char *at = (const unsigned char *)text;
  if (at[0] < 0xc2 || at[0] > 0xf4 || (at[1] & 0xc0) != 0x80)
    return 0;
  if (at[0] < 0xe0)
    return 2;
  if ((at[2] & 0xc0) != 0x80 || (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f))
    return 0;
  if (at[0] < 0xf0)
    return at[0] == 0xef && at[1] == 0xbf && at[2] > 0xbd ? 0 : 3;
  return (at[3] & 0xc0) != 0x80 || (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f) ? 0 : 4;
}

/* Bytes that may stand in a plain text. */
static inline size_t aon_plain_text(const char *at) {
  for (size_t run = 0, more;; run += more) {
    run += aon_plain_ascii(at + run, true);
    more = at[run] == '\n' || at[run] == '\t' ? 1 : aon_plain_wide(at + run);
    if (!more)
      return run;
  }
}

/* Bytes that may stand in a plain value of an attribute, whichever its quotes. */
static inline size_t aon_plain_attribute(const char *at) { return aon_plain_ascii(at, false); }
#endif
