/* Characters as JSON has them, and hexadecimal digits of either case. UTF-8, strictly (RFC 3629): no overlong forms, no surrogates, nothing
 * beyond U+10FFFF. */
#ifndef AON_BASE_UTF8_H
#define AON_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* How many bytes from text on are ASCII that stands in a JSON string as it is. Eight at a time: most of what we read and write
 * is that. A byte's high bit is set by the subtractions only if it, or one before it in the word, is below what is subtracted. */
static inline size_t plain_length(const char *text, size_t length) {
  const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
  size_t at = 0;
  for (uint64_t word; length - at >= 8; at += 8) {
    memcpy(&word, text + at, 8);
    uint64_t quotes = word ^ ones * '"', backslashes = word ^ ones * '\\';
    if ((word | (word - ones * 0x20) | (quotes - ones) | (backslashes - ones)) & highs)
      break;
  }
  for (; at < length; at++) {
    unsigned char c = (unsigned char)text[at];
    if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
      break;
  }
  return at;
}

/* Bytes of the character that begins at text, 0 if none does. */
static inline size_t utf8_length(const unsigned char *text, size_t left) {
  unsigned char head = text[0];
  if (head < 0x80)
    return 1;
  size_t length = head >= 0xc2 && head <= 0xdf ? 2 : (head & 0xf0) == 0xe0 ? 3 : head >= 0xf0 && head <= 0xf4 ? 4 : 0;
  if (length == 0 || length > left)
    return 0;
  for (size_t i = 1; i < length; i++)
    if ((text[i] & 0xc0) != 0x80)
      return 0;
  if ((head == 0xe0 && text[1] < 0xa0) || (head == 0xed && text[1] > 0x9f) || (head == 0xf0 && text[1] < 0x90) ||
      (head == 0xf4 && text[1] > 0x8f))
    return 0;
  return length;
}

static inline size_t utf8_encode(uint32_t character, char ret_bytes[4]) {
  if (character < 0x80) {
    ret_bytes[0] = (char)character;
    return 1;
  }
  if (character < 0x800) {
    ret_bytes[0] = (char)(0xc0 | character >> 6);
    ret_bytes[1] = (char)(0x80 | (character & 0x3f));
    return 2;
  }
  if (character < 0x10000) {
    ret_bytes[0] = (char)(0xe0 | character >> 12);
    ret_bytes[1] = (char)(0x80 | (character >> 6 & 0x3f));
    ret_bytes[2] = (char)(0x80 | (character & 0x3f));
    return 3;
  }
  ret_bytes[0] = (char)(0xf0 | character >> 18);
  ret_bytes[1] = (char)(0x80 | (character >> 12 & 0x3f));
  ret_bytes[2] = (char)(0x80 | (character >> 6 & 0x3f));
  ret_bytes[3] = (char)(0x80 | (character & 0x3f));
  return 4;
}

/* -1: not a digit. */
static inline int hex_digit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  c = (char)(c | 0x20);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four digits, of which one is missing if it returns false. */
static inline bool hex4(const char *at, uint32_t *ret) {
  uint32_t value = 0;
  for (int i = 0; i < 4; i++) {
    int digit = hex_digit(at[i]);
    if (digit < 0)
      return false;
    value = value << 4 | (uint32_t)digit;
  }
  *ret = value;
  return true;
}

/* Makes a text UTF-8, in place. cut: its end may have been cut off for want of room, and then what is left of a character goes. Any other
 * byte that belongs to no character becomes a question mark. */
static inline void utf8_mend(char *text, bool cut) {
  size_t left = strlen(text);
  for (size_t taken; left; text += taken, left -= taken) {
    taken = utf8_length((const unsigned char *)text, left);
    if (taken)
      continue;
    if (cut && left < 4 && (unsigned char)*text >= 0xc2) {
      *text = 0;
      return;
    }
    *text = '?';
    taken = 1;
  }
}
#endif
