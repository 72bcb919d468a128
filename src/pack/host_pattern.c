/* Lua patterns (Reference Manual, 6.4.1) with every step charged to the pack's budget: Lua's own matcher backtracks for minutes inside
 * one C call, where no hook fires. Classes are those of ASCII, whatever the locale.
 *
 * Invariant: the subject and the pattern stand on the Lua stack (or in upvalues) as long as a match runs; a step raises when the budget
 * is used up, and nothing here owns memory that a raise would lose. */
#include <string.h>

#include "pack/host_internal.h"

#define CAPTURES 32
#define CHARGE_STEPS 512

enum { CAPTURE_OPEN = -1, CAPTURE_POSITION = -2 };

typedef unsigned char byte;

typedef struct match {
  lua_State *state;
  const byte *begin, *end; /* of the subject */
  const byte *pattern_end;
  int depth;
  unsigned steps; /* not charged yet */
  int captures;
  struct {
    const byte *at;
    ptrdiff_t length; /* or CAPTURE_… */
  } capture[CAPTURES];
} match;

static const byte *run(match *m, const byte *s, const byte *p);

static void step(match *m) {
  if (++m->steps < CHARGE_STEPS)
    return;
  aon_host_charge(m->state, m->steps);
  m->steps = 0;
}

/* ---- Classes and sets ---- */

static bool is_between(byte c, byte low, byte high) { return c >= low && c <= high; }
static bool is_digit(byte c) { return is_between(c, '0', '9'); }
static bool is_lower(byte c) { return is_between(c, 'a', 'z'); }
static bool is_upper(byte c) { return is_between(c, 'A', 'Z'); }
static bool is_letter(byte c) { return is_lower(c) || is_upper(c); }

static bool in_class(byte c, byte name) {
  bool in;
  switch (name | 0x20) {
  case 'a':
    in = is_letter(c);
    break;
  case 'c':
    in = c < 0x20 || c == 0x7f;
    break;
  case 'd':
    in = is_digit(c);
    break;
  case 'g':
    in = is_between(c, 0x21, 0x7e);
    break;
  case 'l':
    in = is_lower(c);
    break;
  case 'p':
    in = is_between(c, 0x21, 0x7e) && !is_letter(c) && !is_digit(c);
    break;
  case 's':
    in = c == ' ' || is_between(c, 0x09, 0x0d);
    break;
  case 'u':
    in = is_upper(c);
    break;
  case 'w':
    in = is_letter(c) || is_digit(c);
    break;
  case 'x':
    in = is_digit(c) || is_between(c | 0x20, 'a', 'f');
    break;
  default:
    return c == name;
  }
  return is_upper(name) ? !in : in;
}

/* Behind the single-character item that begins at p. */
static const byte *item_end(match *m, const byte *p) {
  byte first = *p++;
  if (first == '%') {
    if (p == m->pattern_end)
      luaL_error(m->state, "malformed pattern (ends with '%%')");
    return p + 1;
  }
  if (first != '[')
    return p;
  if (p < m->pattern_end && *p == '^')
    p++;
  do { /* a ] that stands first is a member */
    if (p == m->pattern_end)
      luaL_error(m->state, "malformed pattern (missing ']')");
    byte c = *p++;
    if (c == '%') {
      if (p == m->pattern_end)
        luaL_error(m->state, "malformed pattern (missing ']')");
      p++;
    }
  } while (p == m->pattern_end || *p != ']');
  return p + 1;
}

/* p is at '[', last at its ']'. */
static bool in_set(byte c, const byte *p, const byte *last) {
  bool wanted = true;
  p++;
  if (*p == '^') {
    wanted = false;
    p++;
  }
  while (p < last) {
    if (*p == '%') {
      if (in_class(c, p[1]))
        return wanted;
      p += 2;
    } else if (p + 2 < last && p[1] == '-') {
      if (is_between(c, p[0], p[2]))
        return wanted;
      p += 3;
    } else if (*p++ == c) {
      return wanted;
    }
  }
  return !wanted;
}

/* Does the character at s fit the item p..end? */
static bool fits(match *m, const byte *s, const byte *p, const byte *end) {
  step(m);
  if (s >= m->end)
    return false;
  switch (*p) {
  case '.':
    return true;
  case '%':
    return in_class(*s, p[1]);
  case '[':
    return in_set(*s, p, end - 1);
  default:
    return *p == *s;
  }
}

/* ---- Captures ---- */

static const byte *open_capture(match *m, const byte *s, const byte *p, ptrdiff_t kind) {
  if (m->captures == CAPTURES)
    luaL_error(m->state, "too many captures");
  m->capture[m->captures].at = s;
  m->capture[m->captures].length = kind;
  m->captures++;
  const byte *end = run(m, s, p);
  if (!end)
    m->captures--;
  return end;
}

static const byte *close_capture(match *m, const byte *s, const byte *p) {
  int open = m->captures - 1;
  while (open >= 0 && m->capture[open].length != CAPTURE_OPEN)
    open--;
  if (open < 0)
    luaL_error(m->state, "invalid pattern capture");
  m->capture[open].length = s - m->capture[open].at;
  const byte *end = run(m, s, p);
  if (!end)
    m->capture[open].length = CAPTURE_OPEN;
  return end;
}

/* The text captured before, once more. */
static const byte *back_reference(match *m, const byte *s, byte digit) {
  int index = digit - '1';
  if (index < 0 || index >= m->captures || m->capture[index].length == CAPTURE_OPEN)
    luaL_error(m->state, "invalid capture index %%%d", index + 1);
  if (m->capture[index].length == CAPTURE_POSITION)
    return NULL; /* as Lua's own has it: a position is no text */
  size_t length = (size_t)m->capture[index].length;
  m->steps += (unsigned)(length / 16);
  step(m);
  if ((size_t)(m->end - s) < length || memcmp(m->capture[index].at, s, length))
    return NULL;
  return s + length;
}

static void push_capture(match *m, int index, const byte *whole, const byte *whole_end) {
  if (index >= m->captures) {
    if (index > 0)
      luaL_error(m->state, "invalid capture index %%%d", index + 1);
    lua_pushlstring(m->state, (const char *)whole, (size_t)(whole_end - whole));
    return;
  }
  if (m->capture[index].length == CAPTURE_OPEN)
    luaL_error(m->state, "unfinished capture");
  if (m->capture[index].length == CAPTURE_POSITION)
    lua_pushinteger(m->state, m->capture[index].at - m->begin + 1);
  else
    lua_pushlstring(m->state, (const char *)m->capture[index].at, (size_t)m->capture[index].length);
}

/* All captures; without any the whole match, unless whole is NULL. */
static int push_captures(match *m, const byte *whole, const byte *whole_end) {
  int count = m->captures == 0 && whole ? 1 : m->captures;
  luaL_checkstack(m->state, count, "too many captures");
  for (int i = 0; i < count; i++)
    push_capture(m, i, whole, whole_end);
  return count;
}

/* ---- Matching ---- */

/* %bxy; p is behind the b. */
static const byte *balanced(match *m, const byte *s, const byte *p) {
  if (m->pattern_end - p < 2)
    luaL_error(m->state, "malformed pattern (missing arguments to '%%b')");
  if (s >= m->end || *s != p[0])
    return NULL;
  size_t open = 1;
  for (s++; s < m->end; s++) {
    step(m);
    if (*s == p[1]) {
      if (--open == 0)
        return s + 1;
    } else if (*s == p[0]) {
      open++;
    }
  }
  return NULL;
}

/* %f[set]: p is behind the f; the border between a character outside the set and one inside. *ret_p moves behind the set. */
static bool frontier(match *m, const byte *s, const byte *p, const byte **ret_p) {
  if (p == m->pattern_end || *p != '[')
    luaL_error(m->state, "missing '[' after '%%f' in pattern");
  const byte *end = item_end(m, p);
  byte before = s == m->begin ? 0 : s[-1], here = s == m->end ? 0 : *s;
  step(m);
  *ret_p = end;
  return !in_set(before, p, end - 1) && in_set(here, p, end - 1);
}

/* item* or item+ from s, longest first; rest is behind the * or +. */
static const byte *longest(match *m, const byte *s, const byte *item, const byte *end, const byte *rest, ptrdiff_t least) {
  ptrdiff_t count = 0;
  while (fits(m, s + count, item, end))
    count++;
  for (; count >= least; count--) {
    const byte *found = run(m, s + count, rest);
    if (found)
      return found;
  }
  return NULL;
}

/* item- from s, shortest first. */
static const byte *shortest(match *m, const byte *s, const byte *item, const byte *end, const byte *rest) {
  for (;;) {
    const byte *found = run(m, s, rest);
    if (found)
      return found;
    if (!fits(m, s, item, end))
      return NULL;
    s++;
  }
}

/* One item that stands for a single character, with what follows it. *ret_s and *ret_p: where to go on; NULL: *ret_end is the result. */
static bool single(match *m, const byte **s, const byte **p, const byte **ret_end) {
  const byte *end = item_end(m, *p), *found;
  switch (end < m->pattern_end ? *end : 0) {
  case '*':
  case '+':
    *ret_end = longest(m, *s, *p, end, end + 1, *end == '+');
    return false;
  case '-':
    *ret_end = shortest(m, *s, *p, end, end + 1);
    return false;
  case '?':
    if (fits(m, *s, *p, end) && (found = run(m, *s + 1, end + 1))) {
      *ret_end = found;
      return false;
    }
    *p = end + 1;
    return true;
  default:
    *ret_end = NULL;
    if (!fits(m, *s, *p, end))
      return false;
    (*s)++;
    *p = end;
    return true;
  }
}

/* An item of % that is more than a class: %b, %f, %1. 1: goes on at *s and *p; 0: no match; -1: it is none of these. */
static int special(match *m, const byte **s, const byte **p) {
  const byte *next = *p + 1;
  if (next == m->pattern_end || (*next != 'b' && *next != 'f' && !is_digit(*next)))
    return -1;
  if (*next == 'f')
    return frontier(m, *s, next + 1, p);
  const byte *after = *next == 'b' ? balanced(m, *s, next + 1) : back_reference(m, *s, *next);
  if (!after)
    return 0;
  *s = after;
  *p = next + (*next == 'b' ? 3 : 1);
  return 1;
}

static const byte *run_items(match *m, const byte *s, const byte *p) {
  for (;;) {
    const byte *end = NULL;
    int known = -1;
    step(m);
    if (p == m->pattern_end)
      return s;
    if (*p == '(')
      return p + 1 < m->pattern_end && p[1] == ')' ? open_capture(m, s, p + 2, CAPTURE_POSITION) : open_capture(m, s, p + 1, CAPTURE_OPEN);
    if (*p == ')')
      return close_capture(m, s, p + 1);
    if (*p == '$' && p + 1 == m->pattern_end)
      return s == m->end ? s : NULL;
    if (*p == '%')
      known = special(m, &s, &p);
    if (known == 0)
      return NULL;
    if (known < 0 && !single(m, &s, &p, &end))
      return end;
  }
}

static const byte *run(match *m, const byte *s, const byte *p) {
  if (++m->depth > AON_HOST_PATTERN_DEPTH)
    luaL_error(m->state, "pattern too complex");
  const byte *end = run_items(m, s, p);
  m->depth--;
  return end;
}

/* One try at s. */
static const byte *try_at(match *m, const byte *s, const byte *pattern) {
  m->captures = 0;
  m->depth = 0;
  return run(m, s, pattern);
}

static void prepare(match *m, lua_State *state, const char *subject, size_t subject_length, const char *pattern, size_t pattern_length) {
  m->state = state;
  m->begin = (const byte *)subject;
  m->end = m->begin + subject_length;
  m->pattern_end = (const byte *)pattern + pattern_length;
  m->steps = 0;
  aon_host_charge(state, 1);
}

/* ---- find and match ---- */

/* Where to begin, from 0: init of the manual, which may count from the end. */
static size_t start_of(lua_Integer init, size_t length) {
  if (init > 0)
    return (size_t)init - 1;
  if (init == 0 || (lua_Unsigned)0 - (lua_Unsigned)init > length)
    return 0;
  return length - (size_t)(0 - (lua_Unsigned)init);
}

static bool has_specials(const char *pattern, size_t length) {
  for (size_t i = 0; i < length; i++)
    if (pattern[i] && strchr("^$*+?.([%-", pattern[i]))
      return true;
  return false;
}

static int find_plain(lua_State *state, const char *subject, size_t length, size_t start, const char *pattern, size_t pattern_length) {
  aon_host_charge(state, 1 + (length - start) / 16);
  const char *found = memmem(subject + start, length - start, pattern, pattern_length);
  if (!found) {
    lua_pushnil(state);
    return 1;
  }
  lua_pushinteger(state, found - subject + 1);
  lua_pushinteger(state, found - subject + (lua_Integer)pattern_length);
  return 2;
}

static int search(lua_State *state, bool find) {
  size_t length, pattern_length;
  const char *subject = luaL_checklstring(state, 1, &length), *pattern = luaL_checklstring(state, 2, &pattern_length);
  size_t start = start_of(luaL_optinteger(state, 3, 1), length);
  if (start > length) {
    lua_pushnil(state);
    return 1;
  }
  if (find && (lua_toboolean(state, 4) || !has_specials(pattern, pattern_length)))
    return find_plain(state, subject, length, start, pattern, pattern_length);
  match m;
  prepare(&m, state, subject, length, pattern, pattern_length);
  bool anchored = pattern_length && pattern[0] == '^';
  const byte *p = (const byte *)pattern + anchored, *s = m.begin + start;
  do {
    const byte *end = try_at(&m, s, p);
    if (end && find) {
      lua_pushinteger(state, s - m.begin + 1);
      lua_pushinteger(state, end - m.begin);
      return push_captures(&m, NULL, NULL) + 2;
    }
    if (end)
      return push_captures(&m, s, end);
  } while (s++ < m.end && !anchored);
  lua_pushnil(state);
  return 1;
}

int aon_host_find(lua_State *state) { return search(state, true); }
int aon_host_match(lua_State *state) { return search(state, false); }

/* ---- gmatch ---- */

/* Upvalues: subject, pattern, where to go on (from 0), end of the last match (-1: none), so that an empty one isn't found twice. */
static int next_match(lua_State *state) {
  size_t length, pattern_length;
  const char *subject = lua_tolstring(state, lua_upvalueindex(1), &length),
             *pattern = lua_tolstring(state, lua_upvalueindex(2), &pattern_length);
  match m;
  prepare(&m, state, subject, length, pattern, pattern_length);
  lua_Integer last = lua_tointeger(state, lua_upvalueindex(4));
  for (size_t at = (size_t)lua_tointeger(state, lua_upvalueindex(3)); at <= length; at++) {
    const byte *s = m.begin + at, *end = try_at(&m, s, (const byte *)pattern);
    if (!end || end - m.begin == last)
      continue;
    lua_pushinteger(state, end - m.begin);
    lua_pushvalue(state, -1);
    lua_replace(state, lua_upvalueindex(3));
    lua_replace(state, lua_upvalueindex(4));
    return push_captures(&m, s, end);
  }
  lua_pushinteger(state, (lua_Integer)length + 1);
  lua_replace(state, lua_upvalueindex(3));
  return 0;
}

int aon_host_gmatch(lua_State *state) {
  size_t length;
  luaL_checklstring(state, 1, &length);
  luaL_checkstring(state, 2);
  size_t start = start_of(luaL_optinteger(state, 3, 1), length);
  lua_settop(state, 2);
  lua_pushinteger(state, (lua_Integer)(start > length ? length + 1 : start));
  lua_pushinteger(state, -1);
  lua_pushcclosure(state, next_match, 4);
  return 1;
}

/* ---- gsub ---- */

/* The replacement text with %0 to %9 and %% filled in. */
static void add_text(match *m, luaL_Buffer *out, const byte *s, const byte *end) {
  size_t length;
  const char *text = lua_tolstring(m->state, 3, &length);
  for (size_t i = 0; i < length; i++) {
    step(m);
    if (text[i] != '%') {
      luaL_addchar(out, text[i]);
      continue;
    }
    char c = i + 1 < length ? text[++i] : 0;
    if (c == '%') {
      luaL_addchar(out, '%');
    } else if (c == '0') {
      luaL_addlstring(out, (const char *)s, (size_t)(end - s));
    } else if (is_digit((byte)c)) {
      push_capture(m, c - '1', s, end);
      luaL_tolstring(m->state, -1, NULL);
      lua_remove(m->state, -2);
      luaL_addvalue(out);
    } else {
      luaL_error(m->state, "invalid use of '%%' in replacement string");
    }
  }
}

/* Adds what stands for the match s..end; false: the match itself was kept. */
static void add_replacement(match *m, luaL_Buffer *out, const byte *s, const byte *end, int type) {
  lua_State *state = m->state;
  if (type == LUA_TFUNCTION) {
    lua_pushvalue(state, 3);
    lua_call(state, push_captures(m, s, end), 1);
  } else if (type == LUA_TTABLE) {
    push_capture(m, 0, s, end);
    lua_gettable(state, 3);
  } else {
    add_text(m, out, s, end);
    return;
  }
  if (!lua_toboolean(state, -1)) {
    lua_pop(state, 1);
    luaL_addlstring(out, (const char *)s, (size_t)(end - s));
  } else if (!lua_isstring(state, -1)) {
    luaL_error(state, "invalid replacement value (a %s)", luaL_typename(state, -1));
  } else {
    luaL_addvalue(out);
  }
}

int aon_host_gsub(lua_State *state) {
  size_t length, pattern_length;
  const char *subject = luaL_checklstring(state, 1, &length), *pattern = luaL_checklstring(state, 2, &pattern_length);
  int type = lua_type(state, 3);
  luaL_argexpected(state, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
                   "string/function/table");
  lua_Integer most = luaL_optinteger(state, 4, (lua_Integer)length + 1), count = 0;
  bool anchored = pattern_length && pattern[0] == '^';
  match m;
  prepare(&m, state, subject, length, pattern, pattern_length);
  const byte *s = m.begin, *p = (const byte *)pattern + anchored, *last = NULL;
  if (type == LUA_TNUMBER)
    lua_tolstring(state, 3, NULL); /* a text from now on */
  luaL_Buffer out;
  luaL_buffinit(state, &out);
  while (count < most) {
    const byte *end = try_at(&m, s, p);
    if (end && end != last) {
      count++;
      add_replacement(&m, &out, s, end, type);
      s = last = end;
    } else if (s < m.end) {
      luaL_addchar(&out, (char)*s);
      s++;
    } else {
      break;
    }
    if (anchored)
      break;
  }
  luaL_addlstring(&out, (const char *)s, (size_t)(m.end - s));
  luaL_pushresult(&out);
  lua_pushinteger(state, count);
  return 2;
}
