/* The host itself: memory, budgets, calls and their failures.
 *
 * Invariants:
 *  - every byte of the Lua state is charged; while a call runs, growth beyond the limit is refused (between calls it is our own code
 *    that pushes arguments, outside any protection, so it is charged but not refused);
 *  - a budget that is used up, and a failure of ours (aon_host_raise), is kept in the host, not in a Lua value: pcall of the pack raises
 *    it again (host_library.c), and the hook fires at every instruction until the call has ended;
 *  - the hook never runs inside a message handler of the pack: an error raised by the hook switches hooks off until it is caught, so such
 *    handlers aren't called then (host_library.c);
 *  - there are no finalizers (setmetatable refuses __gc), because hooks don't fire inside them, and no threads;
 *  - sentences are written without allocating, so that they can tell of exhausted memory.
 * Source: Lua 5.4 Reference Manual, chapter 4. */
#include "pack/host.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/spare.h"
#include "pack/host_internal.h"

#define WORK_BYTES 64          /* allocating so many bytes counts as one instruction */
#define CLOCK_BYTES (4u << 20) /* after so many allocated bytes the clock is looked at */
#define CALL_STACK_SLOTS 8

aon_host *aon_host_of(lua_State *state) {
  aon_host *host;
  memcpy(&host, lua_getextraspace(state), sizeof host);
  return host;
}

lua_State *aon_host_state(aon_host *host) { return host->state; }

/* ---- Places ---- */

static bool place_of(lua_State *state, int level, char *ret_place, size_t size) {
  lua_Debug info;
  if (!lua_getstack(state, level, &info) || !lua_getinfo(state, "Sl", &info) || info.currentline < 1)
    return false;
  snprintf(ret_place, size, "%s:%d", info.source[0] == '@' ? info.source + 1 : info.source, info.currentline);
  return true;
}

bool aon_host_place(lua_State *state, char *ret_place, size_t size) {
  lua_Debug info;
  for (int level = 0; lua_getstack(state, level, &info); level++)
    if (place_of(state, level, ret_place, size))
      return true;
  return false;
}

/* "; called from a.lua:3, a.lua:9": the callers above the innermost Lua function. */
static void trace(lua_State *state, char *out, size_t size) {
  char place[AON_HOST_PLACE_BYTES];
  lua_Debug info;
  int found = 0;
  size_t used = 0;
  out[0] = 0;
  for (int level = 0; found <= AON_HOST_TRACE_LEVELS && lua_getstack(state, level, &info); level++) {
    if (!place_of(state, level, place, sizeof place) || !found++)
      continue;
    int written = snprintf(out + used, size - used, "%s%s", found == 2 ? " (called from " : ", ", place);
    if (written < 0 || used + (size_t)written + 2 >= size) {
      out[used] = 0;
      break;
    }
    used += (size_t)written;
  }
  if (used)
    strcpy(out + used, ")");
}

/* ---- Failures ---- */

static void keep_place(aon_host *host) {
  if (!aon_host_place(host->state, host->place, sizeof host->place) && !host->place[0])
    snprintf(host->place, sizeof host->place, "the pack");
}

/* From now on the call ends with this, whatever the pack does. */
static void fail_call(aon_host *host, const char *what) {
  char callers[AON_HOST_PLACE_BYTES * 2];
  if (host->failed)
    return;
  keep_place(host);
  trace(host->state, callers, sizeof callers);
  host->failed = true;
  host->failure = (aon_error)AON_ERROR_INIT;
  (void)aon_fail(&host->failure, AON_ENVIRONMENT, "bad_pack", "%s: %s%s.", host->place, what, callers);
}

static void fail_instructions(aon_host *host) {
  char what[160];
  snprintf(what, sizeof what, "the pack did more than %" PRIu64 " steps in one call; look for a loop that does not end",
           host->limits.instructions);
  host->exhausted = true;
  fail_call(host, what);
}

static void fail_time(aon_host *host) {
  char what[160];
  snprintf(what, sizeof what, "the pack took longer than %" PRId64 " ms in one call; look for a loop that does not end",
           host->limits.call_ms);
  host->exhausted = true;
  fail_call(host, what);
}

static bool late(aon_host *host) {
  host->unclocked_bytes = 0;
  return aon_monotonic_ms(host->env) > host->deadline_ms;
}

/* ---- Budgets ---- */

static void hook(lua_State *state, lua_Debug *info);

static void arm(aon_host *host) {
  lua_sethook(host->state, host->depth ? hook : NULL, host->depth ? LUA_MASKCOUNT : 0, host->failed ? 1 : AON_HOST_HOOK_INSTRUCTIONS);
}

static _Noreturn void raise_failure(lua_State *state) {
  arm(aon_host_of(state));
  lua_pushlightuserdata(state, aon_host_of(state));
  lua_error(state);
  __builtin_unreachable();
}

void aon_host_charge(lua_State *state, uint64_t work) {
  aon_host *host = aon_host_of(state);
  if (!host->depth)
    return;
  if (work > host->left)
    fail_instructions(host);
  else
    host->left -= work;
  if (!host->failed && late(host))
    fail_time(host);
  if (host->failed)
    raise_failure(state);
}

static void hook(lua_State *state, lua_Debug *info) {
  (void)info;
  aon_host_charge(state, AON_HOST_HOOK_INSTRUCTIONS);
}

/* ---- Memory ---- */

static bool may_grow(aon_host *host, size_t more, bool text) {
  if (!host->depth)
    return true;
  uint64_t work = more / WORK_BYTES;
  host->left -= work < host->left ? work : host->left;
  host->unclocked_bytes += more;
  bool too_long = text && more > AON_HOST_STRING_BYTES, too_much = host->memory_used + more > host->limits.memory_bytes;
  if (!host->failed && (too_long || too_much || host->unclocked_bytes > CLOCK_BYTES) && late(host))
    fail_time(host);
  if (!too_long && !too_much && !host->exhausted)
    return true;
  host->memory_refused = true;
  host->string_refused = too_long;
  keep_place(host);
  return false;
}

/* For a new block old_size says what it is for (LUA_TSTRING, …). */
static void *allocate(void *context, void *block, size_t old_size, size_t size) {
  aon_host *host = context;
  size_t old = block ? old_size : 0;
  if (!size) {
    aon_spare_free(block);
    host->memory_used -= old;
    return NULL;
  }
  if (size > old && !may_grow(host, size - old, !block && old_size == LUA_TSTRING))
    return NULL;
  /* Between calls nobody would catch Lua's error: then spare memory serves. */
  void *moved = host->depth && !aon_spare_holds(block) ? realloc(block, size) : aon_spare_realloc(block, old, size);
  if (!moved)
    return size <= old ? block : NULL; /* Lua relies on shrinking never to fail */
  host->memory_used += size;
  host->memory_used -= old;
  return moved;
}

/* ---- Messages of the pack ---- */

/* Copies text as one line of valid UTF-8; cut at a character's border. */
static void one_line(const char *text, size_t length, char *out, size_t size) {
  size_t used = 0;
  for (size_t i = 0; i < length;) {
    unsigned char c = (unsigned char)text[i];
    size_t step = c < 0x80 ? 1 : c >= 0xf0 && c < 0xf5 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 0;
    bool valid = step && step <= length - i && c < 0xf5;
    for (size_t k = 1; valid && k < step; k++)
      valid = ((unsigned char)text[i + k] & 0xc0) == 0x80;
    if (!valid)
      step = 1;
    if (used + step >= size)
      break;
    if (!valid || c < 0x20 || c == 0x7f)
      out[used] = valid ? ' ' : '?';
    else
      memcpy(out + used, text + i, step);
    used += step;
    i += step;
  }
  out[used] = 0;
}

/* What an error value says; no metamethod is called, nothing is allocated. */
static void value_text(lua_State *state, int index, char *out, size_t size) {
  if (lua_type(state, index) == LUA_TSTRING) {
    size_t length;
    const char *text = lua_tolstring(state, index, &length);
    one_line(text, length, out, size);
  } else if (lua_isinteger(state, index)) {
    snprintf(out, size, "%lld", (long long)lua_tointeger(state, index));
  } else if (lua_type(state, index) == LUA_TNUMBER) {
    snprintf(out, size, "%.14g", lua_tonumber(state, index));
  } else if (lua_type(state, index) == LUA_TBOOLEAN) {
    snprintf(out, size, "%s", lua_toboolean(state, index) ? "true" : "false");
  } else {
    snprintf(out, size, "an error that is a %s value, not a text", luaL_typename(state, index));
  }
}

/* Lua puts "short_source:line: " before its messages; the short source of a long path is cut. Moves *message behind that and gives
 * the line, 0 if there is none. */
static int take_line(const char *short_source, const char **message) {
  size_t length = strlen(short_source);
  if (!length || strncmp(*message, short_source, length) || (*message)[length] != ':')
    return 0;
  char *end;
  long line = strtol(*message + length + 1, &end, 10);
  if (end == *message + length + 1 || end[0] != ':' || end[1] != ' ' || line < 1)
    return 0;
  *message = end + 2;
  return (int)line;
}

/* The file of the innermost Lua function: long name and as Lua shortens it. */
static bool source_of(lua_State *state, lua_Debug *ret_info) {
  for (int level = 0; lua_getstack(state, level, ret_info); level++)
    if (lua_getinfo(state, "Sl", ret_info) && ret_info->currentline > 0)
      return true;
  return false;
}

/* Runs where the error was raised, with the stack still there. Writes the failure; the value stays what it is. */
static int handle(lua_State *state) {
  aon_host *host = aon_host_of(state);
  char text[AON_HOST_MESSAGE_BYTES], callers[AON_HOST_PLACE_BYTES * 2];
  if (host->failed)
    return 1;
  keep_place(host);
  value_text(state, 1, text, sizeof text);
  const char *message = text;
  lua_Debug info;
  if (source_of(state, &info)) {
    int line = take_line(info.short_src, &message);
    if (line)
      snprintf(host->place, sizeof host->place, "%s:%d", info.source[0] == '@' ? info.source + 1 : info.source, line);
  }
  trace(state, callers, sizeof callers);
  host->failure = (aon_error)AON_ERROR_INIT;
  (void)aon_fail(&host->failure, AON_ENVIRONMENT, "bad_pack", "%s: %s%s.", host->place, message[0] ? message : "an error without a text",
                 callers);
  return 1;
}

static void memory_failure(aon_host *host) {
  char what[200];
  if (host->string_refused)
    snprintf(what, sizeof what, "a text became longer than the limit of %u bytes", AON_HOST_STRING_BYTES);
  else
    snprintf(what, sizeof what, "the pack needs more memory than its limit of %" PRIu64 " bytes", host->limits.memory_bytes);
  host->failure = (aon_error)AON_ERROR_INIT;
  (void)aon_fail(&host->failure, AON_ENVIRONMENT, "bad_pack", "%s: %s.", host->place[0] ? host->place : "the pack", what);
}

int aon_host_raise(lua_State *state, const aon_error *error) {
  aon_host *host = aon_host_of(state);
  if (!host->failed) {
    keep_place(host);
    host->failed = true;
    host->failure = *error;
    if (error->kind == AON_ENVIRONMENT && !strcmp(error->code, "bad_pack"))
      aon_error_prefix(&host->failure, "%s: ", host->place);
  }
  raise_failure(state);
}

/* ---- Calls ---- */

static void begin_call(aon_host *host) {
  if (!host->depth++) {
    host->left = host->limits.instructions;
    host->deadline_ms = aon_monotonic_ms(host->env) + host->limits.call_ms;
    host->unclocked_bytes = 0;
    host->failed = host->exhausted = false;
    arm(host);
  }
  host->memory_refused = host->string_refused = false;
  host->place[0] = 0;
}

/* A failure of ours that ended an inner call is that call's result; one that was there before, and a budget that is used up, stay for
 * the calls around it. */
static void end_call(aon_host *host, bool failed_before) {
  host->depth--;
  if (!host->depth || (!failed_before && !host->exhausted))
    host->failed = host->exhausted = false;
  arm(host);
}

static aon_result take_failure(aon_host *host, int status, aon_error *error) {
  if (!host->failed && status == LUA_ERRMEM) {
    if (!host->memory_refused)
      return aon_fail_memory(error); /* the machine's memory, not the pack's */
    memory_failure(host);
  } else if (!host->failed && status == LUA_ERRERR) {
    (void)aon_fail(&host->failure, AON_ENVIRONMENT, "bad_pack", "%s: an error inside the handling of an error.",
                   host->place[0] ? host->place : "the pack");
  }
  if (error)
    *error = host->failure;
  return host->failure.kind;
}

aon_result aon_host_call(aon_host *host, int arguments, int results, aon_error *error) {
  lua_State *state = host->state;
  int base = lua_gettop(state) - arguments - 1; /* what stays below the function */
  if (!lua_checkstack(state, CALL_STACK_SLOTS)) {
    lua_settop(state, base);
    return aon_fail_memory(error);
  }
  lua_pushcfunction(state, handle);
  lua_insert(state, base + 1);
  bool failed_before = host->depth && host->failed;
  begin_call(host);
  int status = lua_pcall(state, arguments, results, base + 1);
  aon_result result = status || host->failed ? take_failure(host, status, error) : AON_OK;
  end_call(host, failed_before);
  if (result)
    lua_settop(state, base);
  else
    lua_remove(state, base + 1);
  return result;
}

/* ---- The chunk ---- */

typedef struct chunk {
  const char *file, *source;
  size_t length;
} chunk;

/* Compiles under protection; a syntax error is raised as Lua words it. Leaves the function, its globals being the pack's. */
static int compile(lua_State *state) {
  const chunk *c = lua_touserdata(state, 1);
  const char *name = lua_pushfstring(state, "@%s", c->file);
  if (luaL_loadbufferx(state, c->source, c->length, name, "t") != LUA_OK)
    return lua_error(state);
  lua_getfield(state, LUA_REGISTRYINDEX, "aon.globals");
  if (!lua_setupvalue(state, -2, 1))
    lua_pop(state, 1);
  return 1;
}

/* Errors of the compiler come without a Lua function on the stack: "FILE:LINE: …" in them is all there is. */
static void name_file(const char *file, aon_error *error) {
  char text[sizeof error->sentence], short_source[LUA_IDSIZE + 4];
  const char *message = text;
  size_t length = strlen(file);
  if (length < LUA_IDSIZE)
    snprintf(short_source, sizeof short_source, "%s", file);
  else
    snprintf(short_source, sizeof short_source, "...%s", file + length - (LUA_IDSIZE - 4));
  snprintf(text, sizeof text, "%s", error->sentence);
  if (!strncmp(message, "the pack: ", 10))
    message += 10;
  int line = take_line(short_source, &message);
  if (line || message != text)
    snprintf(error->sentence, sizeof error->sentence, "%s:%d: %.*s", file, line ? line : 1, AON_HOST_MESSAGE_BYTES, message);
}

aon_result aon_host_run(aon_host *host, const char *file, const char *source, size_t length, aon_error *error) {
  static const char mark[] = "\xef\xbb\xbf"; /* some editors begin a file with it */
  chunk c = {file, source, length};
  aon_error failure = AON_ERROR_INIT;
  if (length >= 3 && !memcmp(source, mark, 3)) {
    c.source += 3;
    c.length -= 3;
  }
  if (c.length > AON_HOST_SOURCE_BYTES)
    return aon_fail(error, AON_ENVIRONMENT, "bad_pack", "%s:1: the file is longer than the limit of %u bytes.", file,
                    AON_HOST_SOURCE_BYTES);
  if (c.length && c.source[0] == LUA_SIGNATURE[0])
    return aon_fail(error, AON_ENVIRONMENT, "bad_pack", "%s:1: a pack is Lua source text; this is compiled Lua.", file);
  lua_pushcfunction(host->state, compile);
  lua_pushlightuserdata(host->state, &c);
  aon_result result = aon_host_call(host, 1, 1, &failure);
  if (!result)
    result = aon_host_call(host, 0, 1, &failure);
  else
    name_file(file, &failure);
  if (result && error)
    *error = failure;
  host->sealed = host->sealed || !result;
  return result;
}

/* ---- Opening and closing ---- */

static int open_library(lua_State *state) {
  aon_host_library_open(state);
  lua_setfield(state, LUA_REGISTRYINDEX, "aon.globals");
  return 0;
}

aon_result aon_host_open(aon_env *env, const aon_host_limits *limits, aon_host **ret_host, aon_error *error) {
  aon_host *host = calloc(1, sizeof *host);
  if (!host)
    return aon_fail_memory(error);
  host->env = env;
  host->limits = *limits;
  host->state = lua_newstate(allocate, host);
  if (!host->state) {
    free(host);
    return aon_fail_memory(error);
  }
  memcpy(lua_getextraspace(host->state), &host, sizeof host);
  lua_pushcfunction(host->state, open_library);
  aon_result result = aon_host_call(host, 0, 0, error);
  if (result)
    aon_host_close(host);
  else
    *ret_host = host;
  return result;
}

void aon_host_close(aon_host *host) {
  if (!host)
    return;
  lua_close(host->state);
  free(host);
}
