/* What a pack finds in its globals: the harmless part of Lua's own library, with replacements for what could run long inside one C
 * call, tell of the machine (addresses, hash order, clock) or swallow a failure of the host.
 *
 * Invariants: no function here runs longer than its charge to the budget allows; pairs walks keys in ascending order and table.sort is
 * stable, so the same workbook always gives the same plan; library tables and, once the chunk has run, globals are read-only. */
#include <string.h>

#include "pack/host_internal.h"

#define REPEAT_WORK 8 /* copies of a text by string.rep that count as one instruction */
#define PRINT_BYTES 1000
#define KEY_LIMIT (1 << 22) /* of one table that is walked or sorted; memory ends before */

/* ---- Sorting ---- */

/* Is the value at a less than the one at b? Absolute indices. */
typedef bool (*less_than)(lua_State *state, int a, int b);

/* Merges from[low..middle) and from[middle..high) (from 1) into to; equal values stay in order. */
static void merge(lua_State *state, int from, int to, lua_Integer low, lua_Integer middle, lua_Integer high, less_than less) {
  lua_Integer left = low, right = middle;
  int top = lua_gettop(state);
  for (lua_Integer out = low; out < high; out++) {
    bool take_right = left >= middle;
    if (left < middle && right < high) {
      aon_host_charge(state, 1);
      lua_rawgeti(state, from, right);
      lua_rawgeti(state, from, left);
      take_right = less(state, top + 1, top + 2);
      lua_settop(state, top);
    }
    lua_rawgeti(state, from, take_right ? right++ : left++);
    lua_rawseti(state, to, out);
  }
}

/* Sorts the array at index array, of count values; scratch is a table of its own. Returns the index of the one that holds the result. */
static int merge_sort(lua_State *state, int array, int scratch, lua_Integer count, less_than less) {
  for (lua_Integer width = 1; width < count; width *= 2) {
    for (lua_Integer low = 1; low <= count; low += 2 * width) {
      lua_Integer middle = low + width <= count ? low + width : count + 1;
      lua_Integer high = middle + width <= count + 1 ? middle + width : count + 1;
      merge(state, array, scratch, low, middle, high, less);
    }
    int swap = array;
    array = scratch;
    scratch = swap;
  }
  return array;
}

static bool less_by_lua(lua_State *state, int a, int b) { return lua_compare(state, a, b, LUA_OPLT); }

/* The comparator of table.sort stands at index 2. */
static bool less_by_function(lua_State *state, int a, int b) {
  lua_pushvalue(state, 2);
  lua_pushvalue(state, a);
  lua_pushvalue(state, b);
  lua_call(state, 2, 1);
  return lua_toboolean(state, -1);
}

static int key_rank(lua_State *state, int index) {
  switch (lua_type(state, index)) {
  case LUA_TNUMBER:
    return 0;
  case LUA_TSTRING:
    return 1;
  case LUA_TBOOLEAN:
    return 2;
  default:
    return luaL_error(state, "keys that are a %s have no steady order to walk them in", luaL_typename(state, index));
  }
}

/* Order of keys: numbers, texts by their bytes, false, true. */
static bool less_key(lua_State *state, int a, int b) {
  int rank_a = key_rank(state, a), rank_b = key_rank(state, b);
  if (rank_a != rank_b)
    return rank_a < rank_b;
  if (rank_a == 0)
    return lua_compare(state, a, b, LUA_OPLT);
  if (rank_a == 2)
    return !lua_toboolean(state, a) && lua_toboolean(state, b);
  size_t length_a, length_b;
  const char *text_a = lua_tolstring(state, a, &length_a), *text_b = lua_tolstring(state, b, &length_b);
  int order = memcmp(text_a, text_b, length_a < length_b ? length_a : length_b);
  return order ? order < 0 : length_a < length_b;
}

/* ---- Walking tables ---- */

/* Pushes an array of the table's keys in order. */
static lua_Integer push_keys(lua_State *state, int table) {
  luaL_checkstack(state, 8, NULL);
  lua_newtable(state);
  int keys = lua_gettop(state);
  lua_Integer count = 0;
  for (lua_pushnil(state); lua_next(state, table);) {
    if (count == KEY_LIMIT)
      return luaL_error(state, "the table has too many keys");
    lua_pop(state, 1);
    key_rank(state, keys + 1);
    lua_pushvalue(state, -1);
    lua_rawseti(state, keys, ++count);
  }
  aon_host_charge(state, (uint64_t)count);
  lua_newtable(state);
  int sorted = merge_sort(state, keys, keys + 1, count, less_key);
  lua_settop(state, sorted == keys ? keys : keys + 1);
  if (sorted != keys)
    lua_remove(state, keys);
  return count;
}

/* Upvalues: keys, how many, how many are done, the table. Keys that were removed meanwhile are left out. */
static int next_of_keys(lua_State *state) {
  lua_Integer count = lua_tointeger(state, lua_upvalueindex(2));
  for (lua_Integer i = lua_tointeger(state, lua_upvalueindex(3)) + 1; i <= count; i++) {
    lua_rawgeti(state, lua_upvalueindex(1), i);
    lua_pushvalue(state, -1);
    if (lua_rawget(state, lua_upvalueindex(4)) != LUA_TNIL) {
      lua_pushinteger(state, i);
      lua_replace(state, lua_upvalueindex(3));
      return 2;
    }
    lua_pop(state, 2);
    aon_host_charge(state, 1);
  }
  lua_pushnil(state);
  return 1;
}

static int base_pairs(lua_State *state) {
  luaL_checkany(state, 1);
  if (luaL_getmetafield(state, 1, "__pairs") != LUA_TNIL) {
    lua_pushvalue(state, 1);
    lua_call(state, 1, 3);
    return 3;
  }
  luaL_checktype(state, 1, LUA_TTABLE);
  lua_settop(state, 1);
  lua_Integer count = push_keys(state, 1);
  lua_pushinteger(state, count);
  lua_pushinteger(state, 0);
  lua_pushvalue(state, 1);
  lua_pushcclosure(state, next_of_keys, 4);
  lua_pushvalue(state, 1);
  lua_pushnil(state);
  return 3;
}

/* The first key in order and its value, nil for an empty table. Walking on from a key would depend on the order of hashing. */
static int base_next(lua_State *state) {
  luaL_checktype(state, 1, LUA_TTABLE);
  if (!lua_isnoneornil(state, 2))
    return luaL_error(state, "next takes only a table here; walk it with pairs");
  lua_settop(state, 1);
  uint64_t count = 0;
  lua_pushnil(state); /* 2: the least key so far */
  for (lua_pushnil(state); lua_next(state, 1); count++) {
    lua_pop(state, 1);
    key_rank(state, 3);
    if (!count || less_key(state, 3, 2)) {
      lua_pushvalue(state, 3);
      lua_replace(state, 2);
    }
  }
  aon_host_charge(state, count);
  if (!count)
    return 1; /* the nil */
  lua_pushvalue(state, 2);
  lua_rawget(state, 1);
  return 2;
}

/* ---- Protected calls: they end where the host has failed ---- */

/* The results stand above index 1, which is kept for true; or an error stands on top. */
static int finish_protected(lua_State *state, int status) {
  if (aon_host_of(state)->failed)
    aon_host_charge(state, 0); /* raises it again */
  if (status != LUA_OK) {
    lua_pushboolean(state, false);
    lua_pushvalue(state, -2);
    return 2;
  }
  lua_pushboolean(state, true);
  lua_replace(state, 1);
  return lua_gettop(state);
}

static int base_pcall(lua_State *state) {
  luaL_checkany(state, 1);
  lua_pushnil(state); /* the place of true */
  lua_insert(state, 1);
  int status = lua_pcall(state, lua_gettop(state) - 2, LUA_MULTRET, 0);
  return finish_protected(state, status);
}

/* Hands an error to the pack's handler (the upvalue), unless the host has failed: then hooks are off and it could run for ever. */
static int guarded_handler(lua_State *state) {
  if (aon_host_of(state)->failed)
    return 1;
  lua_settop(state, 1);
  lua_pushvalue(state, lua_upvalueindex(1));
  lua_insert(state, 1);
  lua_call(state, 1, 1);
  return 1;
}

static int base_xpcall(lua_State *state) {
  luaL_checktype(state, 2, LUA_TFUNCTION);
  lua_pushvalue(state, 2);
  lua_pushcclosure(state, guarded_handler, 1);
  lua_replace(state, 2); /* handler */
  lua_pushvalue(state, 1);
  lua_pushnil(state);
  lua_replace(state, 1); /* the place of true */
  lua_insert(state, 3);  /* function, then its arguments */
  int status = lua_pcall(state, lua_gettop(state) - 3, LUA_MULTRET, 2);
  if (status == LUA_OK)
    lua_remove(state, 2);
  return finish_protected(state, status);
}

/* ---- Metatables and raw access ---- */

static bool is_protected(lua_State *state, int index) {
  if (luaL_getmetafield(state, index, "__metatable") == LUA_TNIL)
    return false;
  lua_pop(state, 1);
  return true;
}

static int base_setmetatable(lua_State *state) {
  int type = lua_type(state, 2);
  luaL_checktype(state, 1, LUA_TTABLE);
  luaL_argexpected(state, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
  if (is_protected(state, 1))
    return luaL_error(state, "cannot change a protected metatable");
  if (type == LUA_TTABLE) {
    lua_pushliteral(state, "__gc");
    if (lua_rawget(state, 2) != LUA_TNIL)
      return luaL_error(state, "finalizers (__gc) are not available in a pack");
  }
  lua_settop(state, 2);
  lua_setmetatable(state, 1);
  return 1;
}

static int base_rawset(lua_State *state) {
  luaL_checktype(state, 1, LUA_TTABLE);
  luaL_checkany(state, 2);
  luaL_checkany(state, 3);
  if (is_protected(state, 1))
    return luaL_error(state, "this table is read-only");
  lua_settop(state, 3);
  lua_rawset(state, 1);
  return 1;
}

/* ---- Texts of values: without addresses, which differ from run to run ---- */

static void push_text(lua_State *state, int index) {
  int type = lua_type(state, index);
  bool addressed = type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA || type == LUA_TLIGHTUSERDATA;
  if (addressed && luaL_getmetafield(state, index, "__tostring") == LUA_TNIL) {
    lua_pushstring(state, lua_typename(state, type));
    return;
  }
  if (addressed)
    lua_pop(state, 1);
  luaL_tolstring(state, index, NULL);
}

static int base_tostring(lua_State *state) {
  luaL_checkany(state, 1);
  push_text(state, 1);
  return 1;
}

/* To the log, at level debug. */
static int base_print(lua_State *state) {
  aon_host *host = aon_host_of(state);
  char line[PRINT_BYTES], place[AON_HOST_PLACE_BYTES] = "the pack";
  size_t used = 0;
  int count = lua_gettop(state);
  line[0] = 0;
  for (int i = 1; i <= count; i++) {
    push_text(state, i);
    int written = snprintf(line + used, sizeof line - used, "%s%s", i > 1 ? " " : "", lua_tostring(state, -1));
    used = written < 0 || (size_t)written >= sizeof line - used ? sizeof line - 1 : used + (size_t)written;
    lua_pop(state, 1);
  }
  for (char *p = line; *p; p++)
    if ((unsigned char)*p < 0x20)
      *p = ' ';
  aon_host_charge(state, PRINT_BYTES / 10);
  aon_host_place(state, place, sizeof place);
  aon_log(host->env, AON_LOG_DEBUG, "%s: %s", place, line);
  return 0;
}

/* Upvalue 1: Lua's own string.format. */
static int string_format(lua_State *state) {
  size_t length;
  const char *p = luaL_checklstring(state, 1, &length), *end = p + length;
  int count = lua_gettop(state);
  while (p < end && (p = memchr(p, '%', (size_t)(end - p)))) {
    p += 1 + strspn(p + 1, "-+#0 123456789.");
    if (*p++ == 'p')
      return luaL_error(state, "%%p is not available in a pack");
  }
  for (int i = 2; i <= count; i++)
    if (lua_type(state, i) != LUA_TNUMBER && lua_type(state, i) != LUA_TSTRING && lua_type(state, i) > LUA_TBOOLEAN) {
      push_text(state, i);
      lua_replace(state, i);
    }
  return lua_tocfunction(state, lua_upvalueindex(1))(state);
}

/* Upvalue 1: Lua's own string.rep, which counts to n even where there is nothing to copy. */
static int string_rep(lua_State *state) {
  size_t length, separator;
  luaL_checklstring(state, 1, &length);
  lua_Integer count = luaL_checkinteger(state, 2);
  luaL_optlstring(state, 3, "", &separator);
  if (count <= 0 || length + separator == 0) {
    lua_pushliteral(state, "");
    return 1;
  }
  if ((uint64_t)count > AON_HOST_STRING_BYTES / (length + separator) + 1)
    return luaL_error(state, "resulting text would be longer than the limit of %d bytes", (int)AON_HOST_STRING_BYTES);
  aon_host_charge(state, (uint64_t)count / REPEAT_WORK + 1);
  return lua_tocfunction(state, lua_upvalueindex(1))(state);
}

/* ---- Table functions: their work depends on ranges that a pack can claim ---- */

static uint64_t span(lua_Integer from, lua_Integer to) { return from > to ? 0 : (uint64_t)to - (uint64_t)from + 1; }

/* The upvalue of each is Lua's own function. */
static int call_own(lua_State *state, uint64_t work) {
  aon_host_charge(state, work);
  return lua_tocfunction(state, lua_upvalueindex(1))(state);
}

static int table_insert(lua_State *state) {
  luaL_checkany(state, 1);
  lua_Integer position = lua_gettop(state) == 3 ? luaL_checkinteger(state, 2) : LUA_MAXINTEGER;
  return call_own(state, lua_gettop(state) == 3 ? span(position, luaL_len(state, 1)) : 1);
}

static int table_remove(lua_State *state) {
  luaL_checkany(state, 1);
  return call_own(state, lua_gettop(state) > 1 ? span(luaL_checkinteger(state, 2), luaL_len(state, 1)) : 1);
}

static int table_move(lua_State *state) { return call_own(state, span(luaL_checkinteger(state, 2), luaL_checkinteger(state, 3))); }

static int table_concat(lua_State *state) {
  luaL_checkany(state, 1);
  lua_Integer from = luaL_optinteger(state, 3, 1), to = lua_isnoneornil(state, 4) ? luaL_len(state, 1) : luaL_checkinteger(state, 4);
  return call_own(state, span(from, to));
}

static int table_unpack(lua_State *state) {
  luaL_checkany(state, 1);
  lua_Integer from = luaL_optinteger(state, 2, 1), to = lua_isnoneornil(state, 3) ? luaL_len(state, 1) : luaL_checkinteger(state, 3);
  uint64_t count = span(from, to);
  if (count > AON_HOST_UNPACK_VALUES || (count == 0 && from <= to))
    return luaL_error(state, "too many values to unpack (the limit is %d)", AON_HOST_UNPACK_VALUES);
  return call_own(state, count);
}

static int table_sort(lua_State *state) {
  luaL_checkany(state, 1);
  bool compare = !lua_isnoneornil(state, 2);
  if (compare)
    luaL_checktype(state, 2, LUA_TFUNCTION);
  lua_settop(state, 2);
  lua_Integer count = luaL_len(state, 1);
  luaL_argcheck(state, count <= KEY_LIMIT, 1, "array too big");
  if (count < 2)
    return 0;
  aon_host_charge(state, 2 * (uint64_t)count);
  lua_createtable(state, (int)count, 0);
  lua_createtable(state, (int)count, 0);
  for (lua_Integer i = 1; i <= count; i++) {
    lua_geti(state, 1, i);
    lua_rawseti(state, 3, i);
  }
  int sorted = merge_sort(state, 3, 4, count, compare ? less_by_function : less_by_lua);
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(state, sorted, i);
    lua_seti(state, 1, i);
  }
  return 0;
}

/* ---- Read-only tables ---- */

static int refuse_write(lua_State *state) { return luaL_error(state, "%s is read-only", lua_tostring(state, lua_upvalueindex(1))); }

/* Globals may be set while the chunk runs; what it leaves is the pack. */
static int set_global(lua_State *state) {
  if (aon_host_of(state)->sealed) {
    const char *name = lua_type(state, 2) == LUA_TSTRING ? lua_tostring(state, 2) : luaL_typename(state, 2);
    return luaL_error(state, "a pack can't set the global '%s' while it works; use a local", name);
  }
  lua_settop(state, 3);
  lua_rawset(state, lua_upvalueindex(1));
  return 0;
}

/* Replaces the table on top by an empty one through which it is read; writes go to the function on top of that. */
static void make_view(lua_State *state) {
  lua_newtable(state); /* the table, the function, the view */
  lua_createtable(state, 0, 3);
  lua_pushvalue(state, -4);
  lua_setfield(state, -2, "__index");
  lua_pushvalue(state, -3);
  lua_setfield(state, -2, "__newindex");
  lua_pushboolean(state, false);
  lua_setfield(state, -2, "__metatable");
  lua_setmetatable(state, -2);
  lua_replace(state, -3);
  lua_pop(state, 1);
}

/* ---- Putting it together ---- */

typedef struct library {
  const char *name;
  lua_CFunction open;
  const char *const *kept;      /* Lua's own, NULL-terminated */
  const luaL_Reg *replacements; /* with Lua's own of that name as upvalue */
} library;

static const char *const base_kept[] = {"assert", "error",  "getmetatable", "ipairs", "rawequal", "rawget",
                                        "rawlen", "select", "tonumber",     "type",   "_VERSION", NULL};
static const luaL_Reg base_replaced[] = {{"next", base_next},         {"pairs", base_pairs},   {"pcall", base_pcall},
                                         {"print", base_print},       {"rawset", base_rawset}, {"setmetatable", base_setmetatable},
                                         {"tostring", base_tostring}, {"xpcall", base_xpcall}, {NULL, NULL}};
static const char *const string_kept[] = {"byte", "char", "len", "lower", "pack", "packsize", "reverse", "sub", "unpack", "upper", NULL};
static const luaL_Reg string_replaced[] = {{"find", aon_host_find},
                                           {"format", string_format},
                                           {"gmatch", aon_host_gmatch},
                                           {"gsub", aon_host_gsub},
                                           {"match", aon_host_match},
                                           {"rep", string_rep},
                                           {NULL, NULL}};
static const char *const table_kept[] = {"pack", NULL};
static const luaL_Reg table_replaced[] = {
    {"concat", table_concat}, {"insert", table_insert}, {"move", table_move}, {"remove", table_remove},
    {"sort", table_sort},     {"unpack", table_unpack}, {NULL, NULL}};
static const char *const math_kept[] = {"abs",  "acos", "asin", "atan", "ceil",       "cos",  "deg",        "exp",  "floor",
                                        "fmod", "huge", "log",  "max",  "maxinteger", "min",  "mininteger", "modf", "pi",
                                        "rad",  "sin",  "sqrt", "tan",  "tointeger",  "type", "ult",        NULL};
static const char *const utf8_kept[] = {"char", "charpattern", "codepoint", "codes", "len", "offset", NULL};
static const luaL_Reg nothing[] = {{NULL, NULL}};

static const library libraries[] = {{LUA_GNAME, luaopen_base, base_kept, base_replaced},
                                    {LUA_STRLIBNAME, luaopen_string, string_kept, string_replaced},
                                    {LUA_TABLIBNAME, luaopen_table, table_kept, table_replaced},
                                    {LUA_MATHLIBNAME, luaopen_math, math_kept, nothing},
                                    {LUA_UTF8LIBNAME, luaopen_utf8, utf8_kept, nothing}};

/* Pushes a table with what is kept of the library. Lua's base library puts itself into the globals, so the caller replaces those. */
static void push_library(lua_State *state, const library *lib) {
  lua_pushcfunction(state, lib->open);
  lua_pushstring(state, lib->name);
  lua_call(state, 1, 1);
  lua_newtable(state);
  for (const char *const *name = lib->kept; *name; name++) {
    lua_getfield(state, -2, *name);
    lua_setfield(state, -2, *name);
  }
  for (const luaL_Reg *entry = lib->replacements; entry->name; entry++) {
    lua_getfield(state, -2, entry->name);
    lua_pushcclosure(state, entry->func, 1);
    lua_setfield(state, -2, entry->name);
  }
  lua_remove(state, -2);
}

/* Methods of texts are those of our string table; the metatable itself is out of reach. */
static void guard_text_metatable(lua_State *state, int string_table) {
  lua_pushliteral(state, "");
  lua_getmetatable(state, -1);
  lua_pushvalue(state, string_table);
  lua_setfield(state, -2, "__index");
  lua_pushboolean(state, false);
  lua_setfield(state, -2, "__metatable");
  lua_pop(state, 2);
}

void aon_host_library_open(lua_State *state) {
  lua_newtable(state); /* names for messages ("string.rep"), where Lua looks for them */
  int names = lua_gettop(state);
  push_library(state, &libraries[0]);
  int globals = lua_gettop(state);
  lua_pushvalue(state, globals);
  lua_setfield(state, names, LUA_GNAME);
  for (size_t i = 1; i < sizeof libraries / sizeof *libraries; i++) {
    push_library(state, &libraries[i]);
    lua_pushvalue(state, -1);
    lua_setfield(state, names, libraries[i].name);
    if (!strcmp(libraries[i].name, LUA_STRLIBNAME))
      guard_text_metatable(state, lua_gettop(state));
    lua_pushstring(state, libraries[i].name);
    lua_pushcclosure(state, refuse_write, 1);
    make_view(state);
    lua_setfield(state, globals, libraries[i].name);
  }
  lua_pushvalue(state, globals);
  lua_rawseti(state, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  lua_pushvalue(state, names);
  lua_setfield(state, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_pushvalue(state, globals);
  lua_pushcclosure(state, set_global, 1);
  make_view(state); /* replaces the globals on the stack */
  lua_getfield(state, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(state, -1, LUA_GNAME);
  lua_pushvalue(state, -3);
  lua_setfield(state, -2, LUA_GNAME); /* _G is the view, too */
  lua_pop(state, 2);
}
