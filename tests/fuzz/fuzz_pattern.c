/* The sandbox's pattern matcher beside Lua's own: subject, pattern and replacement, each up to a zero byte; the first byte says where to
 * begin.
 *
 * Properties: find, match, gmatch and gsub give the same values, or both fail, in the C locale; ours alone may end for want of budget, and
 * always ends. Lua's own is asked only where its effort is bounded (few items that repeat, short subjects), and not about %z, which its
 * manual no longer has: Lua's own still takes it for the character NUL, ours for the letter, as tests/pack has it. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "pack/host.h"

#define SUBJECT_BYTES 64
#define REPEATS 4 /* of *, + and - in one pattern: beyond, Lua's own may run for minutes */

/* One table of texts: what each of the functions gave, or that it failed. */
static const char chunk[] =
    "return function(find, match, gmatch, gsub, s, p, r, init)\n"
    "  local out = {}\n"
    "  local function put(...)\n"
    "    local t = {...}\n"
    "    out[#out + 1] = 'n' .. select('#', ...)\n"
    "    for i = 1, select('#', ...) do out[#out + 1] = type(t[i]) .. ':' .. tostring(t[i]) end\n"
    "  end\n"
    "  local function try(f, ...)\n"
    "    local t = {...}\n"
    "    local good, why = pcall(function() put(f(table.unpack(t))) end)\n"
    "    if not good then out[#out + 1] = 'failed' end\n"
    "  end\n"
    "  try(find, s, p, init)\n"
    "  try(find, s, p, init, true)\n"
    "  try(match, s, p, init)\n"
    "  try(function() local n = 0 for a, b in gmatch(s, p, init) do put(a, b) n = n + 1 if n > 100 then break end end end)\n"
    "  try(gsub, s, p, r)\n"
    "  try(gsub, s, p, r, 2)\n"
    "  try(gsub, s, p, function(a, b) if a == 'x' then return false end return b or a end)\n"
    "  try(gsub, s, p, {a = 'A', x = false, ['1'] = 1})\n"
    "  return table.concat(out, '\\n')\n"
    "end";

static lua_State *reference;
static aon_host *host;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc;
  (void)argv;
  static const aon_host_limits limits = {.memory_bytes = (uint64_t)32 << 20, .instructions = 2000000, .call_ms = 10000};
  aon_error error = AON_ERROR_INIT;
  reference = luaL_newstate();
  if (!reference)
    abort();
  luaL_openlibs(reference);
  FUZZ_CHECK(luaL_dostring(reference, chunk) == LUA_OK, "%s", lua_tostring(reference, -1));
  FUZZ_CHECK(aon_host_open(fuzz_world(), &limits, &host, &error) == AON_OK, "%s", error.sentence);
  static const char ours[] =
      "return function(s, p, r, init) return compare(string.find, string.match, string.gmatch, string.gsub, s, p, r, init) end";
  char source[sizeof chunk + sizeof ours + 64];
  snprintf(source, sizeof source, "local compare = (function() %s end)() %s", chunk, ours);
  FUZZ_CHECK(aon_host_run(host, "compare.lua", source, strlen(source), &error) == AON_OK, "%s", error.sentence);
  return 0;
}

static size_t repeats(const char *pattern, size_t length) {
  size_t count = 0;
  for (size_t i = 0; i < length; i++)
    count += pattern[i] == '*' || pattern[i] == '+' || pattern[i] == '-';
  return count;
}

static bool in_the_manual(const char *pattern, size_t length) {
  return !memmem(pattern, length, "%z", 2) && !memmem(pattern, length, "%Z", 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_input input = {data, data + size};
  lua_State *state = aon_host_state(host);
  lua_Integer init = (int8_t)fuzz_byte(&input) % 16;
  size_t lengths[3];
  char *texts[3];
  for (int i = 0; i < 3; i++)
    texts[i] = fuzz_text(&input, &lengths[i]);
  aon_error error = AON_ERROR_INIT;
  lua_pushvalue(state, 1);
  for (int i = 0; i < 3; i++)
    lua_pushlstring(state, texts[i], lengths[i]);
  lua_pushinteger(state, init);
  aon_result result = aon_host_call(host, 4, 1, &error);
  FUZZ_CHECK(result == AON_OK || result == AON_ENVIRONMENT, "%s: %s", aon_result_name(result), error.sentence);
  FUZZ_CHECK(lua_gettop(state) == (result ? 1 : 2), "%d values on the stack", lua_gettop(state));
  if (!result && lengths[0] <= SUBJECT_BYTES && repeats(texts[1], lengths[1]) <= REPEATS && in_the_manual(texts[1], lengths[1])) {
    static const char *const names[] = {"find", "match", "gmatch", "gsub"};
    lua_pushvalue(reference, 1);
    lua_getglobal(reference, "string");
    for (int i = 0; i < 4; i++)
      lua_getfield(reference, 3 + i, names[i]), lua_insert(reference, 3 + i);
    lua_pop(reference, 1);
    for (int i = 0; i < 3; i++)
      lua_pushlstring(reference, texts[i], lengths[i]);
    lua_pushinteger(reference, init);
    FUZZ_CHECK(lua_pcall(reference, 8, 1, 0) == LUA_OK, "%s", lua_tostring(reference, -1));
    const char *ours = lua_tostring(state, -1), *theirs = lua_tostring(reference, -1);
    FUZZ_CHECK(!strcmp(ours, theirs), "string “%s”, pattern “%s”, replacement “%s”, from %d\nours:\n%s\nLua's:\n%s", texts[0], texts[1],
               texts[2], (int)init, ours, theirs);
    lua_settop(reference, 1);
  }
  lua_settop(state, 1);
  for (int i = 0; i < 3; i++)
    free(texts[i]);
  return 0;
}
