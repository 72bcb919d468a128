/* The sandbox: what a hostile or careless pack does ends with a sentence that names file and line, within its budgets, and leaves a
 * host that works; what an ordinary pack does works as the manual of Lua says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "pack/host.h"
#include <lauxlib.h>

#define FILE_NAME "packs/hostile.lua"

static const aon_host_limits limits = {.memory_bytes = 4u << 20, .instructions = 500000, .call_ms = 20000};

typedef struct fixture {
  aon_env *env;
  aon_host *host;
} fixture;

static int open_env(void **state) {
  fixture *f = calloc(1, sizeof *f);
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(aon_env_open(AON_LOG_ERROR, 0, 0, &f->env, &error), AON_OK);
  *state = f;
  return 0;
}

static int close_env(void **state) {
  fixture *f = *state;
  aon_env_close(f->env);
  free(f);
  return 0;
}

static void open_host(fixture *f, const aon_host_limits *of) {
  aon_error error = AON_ERROR_INIT;
  if (aon_host_open(f->env, of, &f->host, &error))
    fail_msg("%s", error.sentence);
}

static aon_result run(fixture *f, const char *source, aon_error *error) {
  return aon_host_run(f->host, FILE_NAME, source, strlen(source), error);
}

/* Runs a chunk that returns a function, then calls it. */
static aon_result run_call(fixture *f, const char *source, aon_error *error) {
  aon_result result = run(f, source, error);
  return result ? result : aon_host_call(f->host, 0, 1, error);
}

/* An ordinary call: the host still works. */
static void assert_works(fixture *f) {
  aon_error error = AON_ERROR_INIT;
  if (run_call(f, "return function() local t = {} for i = 1, 100 do t[i] = ('x'):rep(i) end return #table.concat(t, ',') end", &error))
    fail_msg("after that an ordinary call failed: %s", error.sentence);
  assert_int_equal(lua_tointeger(aon_host_state(f->host), -1), 5149);
  lua_pop(aon_host_state(f->host), 1);
}

typedef struct hostile {
  const char *name;
  const char *source;   /* a chunk */
  const char *expected; /* in the sentence */
  int line;             /* 0: any */
} hostile;

static const hostile chunks[] = {
    {"endless loop", "local x = 0\nwhile true do x = x + 1 end", "steps", 2},
    {"goto loop", "::top::\ngoto top", "steps", 0},
    {"repeat", "repeat until false", "steps", 1},
    {"pcall around a loop", "while true do\n pcall(function() while true do end end)\nend", "steps", 2},
    {"pcall in pcall", "local function f() pcall(f) while true do end end\nwhile true do pcall(f) end", "steps", 1},
    {"xpcall with an endless handler", "xpcall(function() while true do end end, function() while true do end end)", "steps", 1},
    {"handler that loops on an ordinary error", "xpcall(function() error('x') end,\nfunction() while true do end end)", "steps", 2},
    {"error in the handler of errors", "local ok, e = xpcall(error, error)\nerror(e, 0)", "", 0},
    {"handler that raises for ever", "local function h(e) error(e) end\nassert(xpcall(function() error('a') end, h))", "", 2},
    {"pattern that backtracks", "return string.find(('a'):rep(300), '.-.-.-.-.-b')", "steps", 1},
    {"the same as a method in pcall", "while true do pcall(('a').find, ('a'):rep(300), '.-.-.-.-.-b') end", "steps", 1},
    {"match", "return string.match(('a'):rep(3000), '(.-)(.-)(.-)(.-)%1%2%3b')", "steps", 1},
    {"gmatch", "for _ in ('a'):rep(3000):gmatch('.-.-.-.-b') do end", "steps", 1},
    {"gsub", "return (('a'):rep(3000):gsub('.-.-.-.-b', 'x'))", "steps", 1},
    {"gsub with C functions", "while true do ('a'):rep(1000):gsub('', string.upper) end", "steps", 1},
    {"balanced", "local s = ('('):rep(100000)\nreturn s:find('%b()')\n", "steps", 2},
    {"back references", "return ('a'):rep(100000):find('(.*)(.*)%1%2b')", "", 1},
    {"pattern too complex", "return ('x'):rep(1000):find(('x?'):rep(1000) .. 'y')", "pattern too complex", 1},
    {"malformed set", "return ('x'):find('[a')", "missing ']'", 1},
    {"malformed escape", "return ('x'):find('%')", "ends with '%'", 1},
    {"unfinished capture", "return ('x'):find('(x')", "unfinished capture", 1},
    {"invalid capture", "return ('x'):match('x)')", "invalid pattern capture", 1},
    {"invalid capture index", "return ('x'):find('%1')", "invalid capture index", 1},
    {"missing frontier set", "return ('x'):find('%f')", "missing '['", 1},
    {"bad replacement", "return ('x'):gsub('x', '%z')", "invalid use of '%'", 1},
    {"gigabytes by rep", "return ('x'):rep(1 << 33)", "longer than the limit", 1},
    {"rep of nothing", "local s = (''):rep(1 << 60)\nerror('length ' .. #s)", "length 0", 2},
    {"rep with a separator", "return (''):rep(1 << 33, 'ab')", "longer than the limit", 1},
    {"gigabytes by doubling", "local s = 'x'\nwhile true do s = s .. s end", "longer than the limit", 2},
    {"gigabytes by concat", "local t = {}\nfor i = 1, 100000 do t[i] = ('x'):rep(1000) end\nreturn table.concat(t)", "", 0},
    {"memory by a table", "local t = {}\nfor i = 1, 1e9 do t[i] = i end", "memory", 2},
    {"memory by texts", "local t = {}\nfor i = 1, 1e9 do t[i] = ('%099d%099d%099d'):format(i, i, i) end", "memory", 2},
    {"memory in pcall", "local t = {}\nwhile true do pcall(function() while true do t[#t + 1] = ('x'):rep(100000) .. #t end end) end", "",
     2},
    {"memory by closures", "local f = print\nfor i = 1, 1e9 do local g = f f = function() return g end end", "memory", 2},
    {"deep recursion", "local function f() return 1 + f() end\nreturn f()", "", 1},
    {"endless tail call", "local function f() return f() end\nreturn f()", "steps", 1},
    {"recursion by __index", "local t = setmetatable({}, {__index = function(t, k) return t[k] end})\nreturn t.x", "overflow", 1},
    {"recursion by __tostring", "local t\nt = setmetatable({}, {__tostring = function() return tostring(t) end})\nreturn tostring(t)",
     "overflow", 0},
    {"recursion by gsub", "local function f() return (('x'):gsub('x', f)) end\nreturn f()", "overflow", 1},
    {"recursion by sort", "local function f() table.sort({1, 2}, f) end\nreturn f()", "overflow", 1},
    {"recursion by pcall", "local function f() return pcall(f) end\nwhile true do f() end", "steps", 0},
    {"deep nesting of source",
     "return ((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((("
     "((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((1",
     "", 1},
    {"sort with a bad comparator",
     "local t = {}\nfor i = 1, 300 do t[i] = i % 7 end\ntable.sort(t, function() return true end)\nerror('sorted ' .. #t)", "sorted 300",
     4},
    {"sort of a claimed length", "table.sort(setmetatable({}, {__len = function() return 1 << 40 end}))", "too big", 1},
    {"sort of what can't be compared", "table.sort({1, 'a', {}})", "attempt to compare", 1},
    {"sort with an endless comparator", "table.sort({3, 2, 1}, function() while true do end end)", "steps", 1},
    {"insert of a claimed length", "table.insert(setmetatable({}, {__len = function() return 1 << 53 end}), 1, 'x')", "steps", 1},
    {"remove of a claimed length", "table.remove(setmetatable({}, {__len = function() return 1 << 53 end}), 1)", "steps", 1},
    {"move over everything", "table.move({}, 1, math.maxinteger - 1, 2)", "steps", 1},
    {"concat over everything", "table.concat(setmetatable({}, {__index = type}), '', 1, math.maxinteger)", "steps", 1},
    {"huge unpack", "return table.unpack({}, 1, 1 << 31)", "too many values", 1},
    {"unpack of all integers", "return table.unpack({}, math.mininteger, math.maxinteger)", "too many values", 1},
    {"wide format", "return string.format('%99999d', 1)", "invalid", 1},
    {"addresses by format", "return string.format('%-20p', {})", "not available", 1},
    {"addresses behind a NUL", "return string.format('\\0%p', {})", "not available", 1},
    {"finalizer", "setmetatable({}, {__gc = function() while true do end end})", "__gc", 1},
    {"closing that loops", "local x <close> = setmetatable({}, {__close = function() while true do end end})\nwhile true do end", "steps",
     0},
    {"closing that swallows",
     "while true do pcall(function()\nlocal x <close> = setmetatable({}, {__close = function() pcall(function() while true do end end) "
     "end})\nwhile true do end end) end",
     "steps", 0},
    {"text metatable", "getmetatable('').__index = nil", "attempt to index a boolean", 1},
    {"text metatable by set", "setmetatable('', {})", "table expected", 1},
    {"library is read-only", "string.rep = nil", "string is read-only", 1},
    {"library by rawset", "rawset(table, 'insert', 1)", "read-only", 1},
    {"library metatable", "setmetatable(math, {})", "protected metatable", 1},
    {"globals by rawset", "rawset(_G, 'x', 1)", "read-only", 1},
    {"load", "return load('return 1')()", "a nil value (global 'load')", 1},
    {"dofile", "dofile('/etc/passwd')", "'dofile'", 1},
    {"loadfile", "loadfile('/etc/passwd')", "'loadfile'", 1},
    {"require", "require('os')", "'require'", 1},
    {"package", "return package.loaded", "'package'", 1},
    {"io", "io.open('/etc/passwd')", "'io'", 1},
    {"os", "os.exit(1)", "'os'", 1},
    {"debug", "debug.sethook()", "'debug'", 1},
    {"coroutine", "coroutine.wrap(function() while true do end end)()", "'coroutine'", 1},
    {"collectgarbage", "collectgarbage('stop')", "'collectgarbage'", 1},
    {"dump", "string.dump(function() end)", "'dump'", 1},
    {"random", "math.random()", "'random'", 1},
    {"next from a key", "next({1, 2}, 1)", "pairs", 1},
    {"keys without order", "for k in pairs({[{}] = 1}) do end", "steady order", 1},
    {"error with a table", "error({code = 7})", "is a table value", 1},
    {"error with nil", "error()", "nil value", 1},
    {"error with a boolean", "error(false)", "false", 1},
    {"error with a number", "error(42.5, 0)", "42.5", 1},
    {"error with a function", "error(print)", "function value", 1},
    {"error with __tostring", "error(setmetatable({}, {__tostring = function() while true do end end}))", "is a table value", 1},
    {"error with __name", "error(setmetatable({}, {__name = 'x', __index = error}))", "is a table value", 1},
    {"error without a text", "error('')", "without a text", 1},
    {"error with control characters", "error('a\\0b\\nc\\255d', 0)", "a b c?d", 1},
    {"long error", "error(('é'):rep(100000))", "éé", 1},
    {"syntax", "local x =\n\n= 3", "unexpected symbol", 3},
    {"unfinished text", "local x = 'abc\nlocal y", "unfinished string", 1},
    {"arithmetic on nil", "local function f(a)\n return a + 1\nend\nlocal function g() local r = f(nil) return r end\ng()",
     "called from packs/hostile.lua:4", 2},
    {"bad argument", "('x'):rep({})", "number expected", 1},
    {"nan key", "local t = {}\nt[0/0] = 1", "NaN", 2},
    {"integer division", "return 1 // 0 == 1 // 0", "divide by zero", 1},
    {"for with step 0", "for i = 1, 2, 0 do end", "step is zero", 1},
    {"utf8", "return utf8.codepoint('\\255')", "invalid UTF-8", 1},
};

static void assert_place(const aon_error *error, const hostile *h) {
  char place[80];
  snprintf(place, sizeof place, h->line ? FILE_NAME ":%d: " : FILE_NAME ":", h->line);
  if (strncmp(error->sentence, place, strlen(place)) || !strstr(error->sentence, h->expected))
    fail_msg("%s: expected \"%s…%s\", got \"%s\"", h->name, place, h->expected, error->sentence);
  assert_int_equal(error->kind, AON_ENVIRONMENT);
  assert_string_equal(error->code, "bad_pack");
  assert_true(strlen(error->sentence) < sizeof error->sentence - 1);
  assert_int_equal(error->sentence[strlen(error->sentence) - 1], '.');
}

static void hostile_chunks_end_with_a_sentence(void **state) {
  fixture *f = *state;
  for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
    aon_error error = AON_ERROR_INIT;
    open_host(f, &limits);
    int top = lua_gettop(aon_host_state(f->host));
    if (run(f, chunks[i].source, &error) == AON_OK)
      fail_msg("%s: nothing was wrong", chunks[i].name);
    assert_place(&error, &chunks[i]);
    assert_int_equal(lua_gettop(aon_host_state(f->host)), top);
    assert_works(f);
    aon_host_close(f->host);
  }
}

/* The same inside a function that the pack returned, called again and again in one host. */
static void hostile_calls_leave_a_working_host(void **state) {
  fixture *f = *state;
  open_host(f, &limits);
  assert_works(f);
  for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
    char source[2000];
    aon_error error = AON_ERROR_INIT;
    snprintf(source, sizeof source, "return function() do %s\nend end", chunks[i].source);
    if (run_call(f, source, &error) == AON_OK)
      fail_msg("%s: nothing was wrong", chunks[i].name);
    if (strcmp(chunks[i].name, "rep of nothing"))
      assert_non_null(strstr(error.sentence, FILE_NAME ":"));
    assert_works(f);
    assert_int_equal(lua_gettop(aon_host_state(f->host)), 0);
  }
  aon_host_close(f->host);
}

/* Each line is a chunk that raises if Lua's manual is not kept. */
static const char *const ordinary[] = {
    "local a, b, c = ('hello world'):find('o (w)') assert(a == 5 and b == 7 and c == 'w')",
    "assert(('a.b'):find('.', 1, true) == 2) assert(('abc'):find('', 10) == nil) local a, b = ('abc'):find('', 4) assert(a == 4 and b == "
    "3)",
    "assert(('abc'):find('b', -2) == 2) assert(('abc'):find('a', -2) == nil) assert(('abc'):find('a', -10) == 1)",
    "assert(('key = value'):match('^(%w+)%s*=%s*(%w+)$') == 'key')",
    "local y, m, d = ('2027-01-06'):match('^(%d%d%d%d)-(%d%d)-(%d%d)$') assert(y == '2027' and m == '01' and d == '06')",
    "assert(('abc'):match('()b()') == 2) assert(('x'):match('y') == nil) assert(('aXb'):match('%u') == 'X') assert(('aXb'):match('%U+') == "
    "'a')",
    "assert(('THE (quick) fox'):find('%((%a+)%)') == 5) assert(('f(a(b)c)d'):match('%b()') == '(a(b)c)')",
    "assert(('THE (quick) fox'):gsub('%f[%a]%a+', string.lower) == 'the (quick) fox')",
    "assert(('abab'):match('(ab)%1') == 'ab') assert(('a]b'):match('[]]') == ']') assert(('a^b'):match('[%^]') == '^') "
    "assert(('a-b'):match('[a-]+') == 'a-')",
    "assert(('x=1,y=2'):gsub('(%w)=(%w)', '%2=%1') == '1=x,2=y') assert(('abc'):gsub('', '-') == '-a-b-c-')",
    "local s, n = ('aaa'):gsub('a', 'b', 2) assert(s == 'bba' and n == 2) assert(('abc'):gsub('%w', '%0%0') == 'aabbcc')",
    "assert(('$a $b'):gsub('%$(%w)', {a = 'x'}) == 'x $b') assert(('ab'):gsub('.', function(c) if c == 'a' then return 1 end end) == '1b')",
    "assert(('hello'):gsub('^h', 'j') == 'jello') assert(('hh'):gsub('^h', 'j') == 'jh') assert(('a b'):gsub(' ', '%%') == 'a%b')",
    "local t = {} for w in ('one two  three'):gmatch('%a+') do t[#t + 1] = w end assert(table.concat(t, ',') == 'one,two,three')",
    "local t = {} for k, v in ('a=1, b=2'):gmatch('(%w+)=(%w+)') do t[k] = v end assert(t.a == '1' and t.b == '2')",
    "local n = 0 for _ in ('abc'):gmatch('') do n = n + 1 end assert(n == 4) for p in ('abc'):gmatch('()', 3) do n = n + p end assert(n == "
    "11)",
    "assert(('  x '):match('^%s*(.-)%s*$') == 'x') assert(('a.b-c'):gsub('[.-]', '') == 'abc') assert((' \\t'):match('%S') == nil)",
    "assert(('aaa'):match('a-') == '' and ('aaa'):match('a-$') == 'aaa' and ('aaa'):match('a?a?a?a?$') == 'aaa' and ('b'):match('a*b+') == "
    "'b')",
    "assert(('a\\0b'):find('%z') == nil and ('a\\0b'):find('\\0') == 2 and #('a\\0b'):match('a.b') == 3)",
    "assert(('ab12'):match('%a%a%d%d') and ('0xFf'):match('^0x%x+$') and ('\\1'):match('%c') and ('!'):match('%p') and ('a '):match('%g') "
    "== 'a')",
    "local t = {5, 3, 1, 4, 2} table.sort(t) assert(table.concat(t) == '12345') table.sort(t, function(a, b) return a > b end) "
    "assert(table.concat(t) == '54321')",
    "local t = {} for i = 1, 1000 do t[i] = {k = i % 3, i = i} end table.sort(t, function(a, b) return a.k < b.k end)"
    " for i = 2, 1000 do assert(t[i - 1].k < t[i].k or t[i - 1].i < t[i].i) end",
    "local s = '' for k, v in pairs({b = 1, a = 2, 'x', 'y', [true] = 3, [1.5] = 4}) do s = s .. tostring(k) .. ' ' end assert(s == '1 1.5 "
    "2 a b true ', s)",
    "local t = {a = 1, b = 2, c = 3} local n = 0 for k in pairs(t) do t.c = nil n = n + 1 end assert(n == 2) assert(next({}) == nil and "
    "next({b = 1, a = 2}) == 'a')",
    "local t = setmetatable({}, {__pairs = function(t) return function(_, k) if not k then return 1, 2 end end, t end}) for k, v in "
    "pairs(t) do assert(v == 2) end",
    "local ok, e = pcall(error, {x = 1}) assert(not ok and e.x == 1) assert(select('#', pcall(function() return 1, nil, nil end)) == 4)",
    "local ok, e = xpcall(function(a, b) error(a + b, 0) end, function(e) return 'h' .. e end, 1, 2) assert(not ok and e == 'h3', e)",
    "assert(select(3, xpcall(function(...) return ... end, print, 'a', 'b')) == 'b') assert(pcall(string.rep, 'x', -1))",
    "assert(not pcall(string.rep, 'x', 1 << 40)) assert(not pcall(function() local t = nil; t.x = 1 end))",
    "assert(tostring({}) == 'table' and tostring(print) == 'function' and tostring(nil) == 'nil' and tostring(1.0) == '1.0')",
    "assert(tostring(setmetatable({}, {__tostring = function() return 'me' end})) == 'me') assert(('%s %5.2f %q %d'):format({}, 1.5, 'a', "
    "3) == 'table  1.50 \"a\" 3')",
    "assert(string.format('%s', setmetatable({}, {__tostring = function() return 'me' end})) == 'me') assert(('%%p'):format() == '%p')",
    "assert(('ab'):rep(3, '-') == 'ab-ab-ab' and ('x'):rep(0) == '' and #('x'):rep(1000000) == 1000000)",
    "local t = {1, 2, 3} table.insert(t, 1, 0) table.insert(t, 4) assert(table.concat(t, ',') == '0,1,2,3,4') assert(table.remove(t, 1) == "
    "0 and table.remove(t) == 4)",
    "local a, b = table.unpack({1, 2}) assert(a + b == 3) assert(#table.pack(1, 2) == 2) assert(#table.move({1, 2, 3}, 2, 3, 1) == 3)",
    "x = 1 assert(_G.x == 1 and rawget(_G, 'x') == nil) y = x + 1 assert(y == 2) assert(_G._G == _G) assert(getmetatable('') == false)",
    "local t = setmetatable({}, {__index = {a = 1}}) assert(t.a == 1) setmetatable(t, nil) assert(t.a == nil) rawset(t, 'a', 2) "
    "assert(rawequal(t.a, 2))",
    "assert(utf8.len('żółw') == 4) for p, c in utf8.codes('é') do assert(c == 233) end assert(math.floor(2.5) == 2 and math.type(1) == "
    "'integer')",
    "assert('10' + 1 == 11 and 10 .. '' == '10' and #'abc' == 3 and 'a' < 'b')",
    "local log = {} do local x <close> = setmetatable({}, {__close = function() log[1] = 'closed' end}) end assert(log[1] == 'closed')",
    "print('a', {}, nil) assert(select('#', 1, 2, 3) == 3) assert(tonumber('0x10') == 16) assert(string.pack('<i4', 1) == '\\1\\0\\0\\0')",
};

static void ordinary_lua_works(void **state) {
  fixture *f = *state;
  for (size_t i = 0; i < sizeof ordinary / sizeof *ordinary; i++) {
    aon_error error = AON_ERROR_INIT;
    open_host(f, &limits);
    if (run(f, ordinary[i], &error))
      fail_msg("%s\n%s", ordinary[i], error.sentence);
    aon_host_close(f->host);
  }
}

/* ---- Failures of ours ---- */

static int fail_busy(lua_State *state) {
  aon_error error = AON_ERROR_INIT;
  (void)aon_fail_native(&error, AON_TRANSIENT, "busy_store", 7, "The store main is busy.");
  strcpy(error.held_by, "somebody");
  error.operation = 12;
  return aon_host_raise(state, &error);
}

static int fail_pack(lua_State *state) {
  aon_error error = AON_ERROR_INIT;
  (void)aon_fail(&error, AON_ENVIRONMENT, "bad_pack", "the property x is unknown.");
  return aon_host_raise(state, &error);
}

static void give(fixture *f) {
  lua_State *lua = aon_host_state(f->host);
  lua_pushcfunction(lua, fail_busy);
  lua_setglobal(lua, "busy");
  lua_pushcfunction(lua, fail_pack);
  lua_setglobal(lua, "wrong");
}

static void our_failures_pass_unchanged(void **state) {
  fixture *f = *state;
  static const char *const sources[] = {"busy()",
                                        "pcall(busy)",
                                        "xpcall(busy, print) return 1",
                                        "pcall(pcall, busy) while true do end",
                                        "local x <close> = setmetatable({}, {__close = function() error('other') end}) busy()",
                                        "table.sort({1, 2}, busy)",
                                        "('x'):gsub('x', busy)",
                                        "return setmetatable({}, {__index = busy}).x"};
  for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
    aon_error error = AON_ERROR_INIT;
    open_host(f, &limits);
    give(f);
    assert_int_equal(run(f, sources[i], &error), AON_TRANSIENT);
    assert_string_equal(error.code, "busy_store");
    assert_string_equal(error.sentence, "The store main is busy.");
    assert_string_equal(error.held_by, "somebody");
    assert_int_equal(error.native_code, 7);
    assert_int_equal(error.operation, 12);
    assert_works(f);
    aon_host_close(f->host);
  }
}

static void mistakes_of_the_pack_get_a_place(void **state) {
  fixture *f = *state;
  aon_error error = AON_ERROR_INIT;
  open_host(f, &limits);
  give(f);
  assert_int_equal(run(f, "\n\npcall(wrong)", &error), AON_ENVIRONMENT);
  assert_string_equal(error.sentence, FILE_NAME ":3: the property x is unknown.");
  aon_host_close(f->host);
}

static int call_back(lua_State *state) {
  aon_host *host = *(aon_host **)lua_touserdata(state, lua_upvalueindex(1));
  aon_error error = AON_ERROR_INIT;
  lua_settop(state, 1);
  lua_pushboolean(state, aon_host_call(host, 0, 0, &error) == AON_OK);
  return 1;
}

static void calls_may_be_nested(void **state) {
  fixture *f = *state;
  aon_error error = AON_ERROR_INIT;
  open_host(f, &limits);
  give(f);
  lua_State *lua = aon_host_state(f->host);
  *(aon_host **)lua_newuserdatauv(lua, sizeof f->host, 0) = f->host;
  lua_pushcclosure(lua, call_back, 1);
  lua_setglobal(lua, "call");
  assert_int_equal(run(f, "return function() return call(busy), call(function() end), call(error) end", &error), AON_OK);
  assert_int_equal(aon_host_call(f->host, 0, 3, &error), AON_OK);
  assert_false(lua_toboolean(lua, -3));
  assert_true(lua_toboolean(lua, -2));
  assert_false(lua_toboolean(lua, -1));
  lua_settop(lua, 0);
  /* A budget used up inside is used up outside too. */
  assert_int_equal(run(f, "return function() while true do call(function() while true do end end) end end", &error), AON_OK);
  assert_int_equal(aon_host_call(f->host, 0, 0, &error), AON_ENVIRONMENT);
  assert_non_null(strstr(error.sentence, "steps"));
  assert_works(f);
  aon_host_close(f->host);
}

/* ---- Limits ---- */

typedef struct late_clock {
  aon_env env;
  aon_env_ops ops;
  int64_t now;
} late_clock;

static int64_t tick(void *context) { return ((late_clock *)context)->now += 1; }

/* A clock that runs by one millisecond per look: time ends before instructions do. */
static void time_is_limited(void **state) {
  static const char *const sources[] = {"\nwhile true do end", "\nwhile true do pcall(string.rep, 'x', 1000000) end",
                                        "\nreturn string.find(('a'):rep(300), '.-.-.-.-.-b')",
                                        "\nlocal t = {} for i = 1, 200000 do t[i] = -i end table.sort(t)"};
  fixture *f = *state;
  late_clock clock = {.ops = *f->env->ops};
  clock.env = *f->env;
  clock.ops.monotonic_ms = tick;
  clock.env.ops = &clock.ops;
  clock.env.context = &clock;
  aon_host_limits of = {.memory_bytes = 64u << 20, .instructions = 1ull << 60, .call_ms = 100};
  for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
    aon_error error = AON_ERROR_INIT;
    aon_host *host;
    assert_int_equal(aon_host_open(&clock.env, &of, &host, &error), AON_OK);
    assert_int_equal(aon_host_run(host, FILE_NAME, sources[i], strlen(sources[i]), &error), AON_ENVIRONMENT);
    assert_non_null(strstr(error.sentence, FILE_NAME ":2: the pack took longer than 100 ms"));
    aon_host_close(host);
  }
}

/* An endless call whose every instruction copies more arguments: few instructions, much time. */
static void instructions_that_take_long_end_in_time(void **state) {
  fixture *f = *state;
  aon_error error = AON_ERROR_INIT;
  aon_host_limits of = limits;
  of.call_ms = 200;
  of.instructions = 1ull << 60;
  open_host(f, &of);
  assert_int_equal(
      run(f, "local t = {}\nfor i = 1, 9000 do t[i] = i end\nlocal function f(...) return f(1, ...) end\nf(table.unpack(t))", &error),
      AON_ENVIRONMENT);
  assert_non_null(strstr(error.sentence, FILE_NAME ":3: the pack took longer than 200 ms"));
  assert_works(f);
  aon_host_close(f->host);
}

static void budgets_are_fresh_in_every_call(void **state) {
  fixture *f = *state;
  aon_error error = AON_ERROR_INIT;
  open_host(f, &limits);
  assert_int_equal(run(f, "return function() for i = 1, 300000 do end end", &error), AON_OK);
  for (int i = 0; i < 5; i++) {
    lua_pushvalue(aon_host_state(f->host), 1);
    assert_int_equal(aon_host_call(f->host, 0, 0, &error), AON_OK);
  }
  aon_host_close(f->host);
}

/* Arguments that our own code pushes between calls are never refused: there is nothing that could catch it. */
static void pushing_between_calls_is_not_refused(void **state) {
  fixture *f = *state;
  aon_error error = AON_ERROR_INIT;
  char *big = calloc(1, 1u << 20);
  open_host(f, &limits);
  assert_int_equal(run(f, "return function(t) return #t end", &error), AON_OK);
  lua_State *lua = aon_host_state(f->host);
  lua_pushvalue(lua, 1);
  for (int i = 0; i < 8; i++)
    lua_pushlstring(lua, big, 1u << 20);
  lua_settop(lua, 3);
  assert_int_equal(aon_host_call(f->host, 1, 1, &error), AON_OK);
  assert_int_equal(lua_tointeger(lua, -1), 1 << 20);
  free(big);
  lua_settop(lua, 0);
  assert_works(f);
  aon_host_close(f->host);
}

static void globals_are_read_only_after_loading(void **state) {
  fixture *f = *state;
  aon_error error = AON_ERROR_INIT;
  open_host(f, &limits);
  assert_int_equal(run(f, "count = 0 return function() count = count + 1 end", &error), AON_OK);
  assert_int_equal(aon_host_call(f->host, 0, 0, &error), AON_ENVIRONMENT);
  assert_non_null(strstr(error.sentence, "can't set the global 'count'"));
  aon_host_close(f->host);
}

static void compiled_lua_is_refused(void **state) {
  fixture *f = *state;
  aon_error error = AON_ERROR_INIT;
  open_host(f, &limits);
  assert_int_equal(run(f, "\x1bLua\x54", &error), AON_ENVIRONMENT);
  assert_non_null(strstr(error.sentence, "compiled"));
  char *big = malloc((4u << 20) + 1);
  memset(big, ' ', (4u << 20) + 1);
  assert_int_equal(aon_host_run(f->host, FILE_NAME, big, (4u << 20) + 1, &error), AON_ENVIRONMENT);
  assert_non_null(strstr(error.sentence, "longer than the limit"));
  free(big);
  assert_int_equal(run(f, "\xef\xbb\xbfreturn 1", &error), AON_OK);
  aon_host_close(f->host);
}

static void long_file_names_stay_whole(void **state) {
  fixture *f = *state;
  static const char file[] = "/home/somebody/a/rather/long/folder/name/that/lua/would/cut/packs/contacts.lua";
  static const char *const sources[] = {"\nerror('x')", "\n\n = 1"};
  for (int i = 0; i < 2; i++) {
    aon_error error = AON_ERROR_INIT;
    char place[200];
    open_host(f, &limits);
    assert_int_equal(aon_host_run(f->host, file, sources[i], strlen(sources[i]), &error), AON_ENVIRONMENT);
    snprintf(place, sizeof place, "%s:%d: ", file, i + 2);
    assert_memory_equal(error.sentence, place, strlen(place));
    aon_host_close(f->host);
  }
}

static void too_little_memory_to_open(void **state) {
  fixture *f = *state;
  aon_error error = AON_ERROR_INIT;
  aon_host_limits of = limits;
  for (of.memory_bytes = 0; of.memory_bytes < 64000; of.memory_bytes += 997) {
    aon_result result = aon_host_open(f->env, &of, &f->host, &error);
    if (result == AON_OK) {
      aon_host_close(f->host);
      return;
    }
    assert_string_equal(error.code, "bad_pack");
  }
  fail_msg("64 kB are too little to open a host");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(hostile_chunks_end_with_a_sentence),
      cmocka_unit_test(hostile_calls_leave_a_working_host),
      cmocka_unit_test(ordinary_lua_works),
      cmocka_unit_test(our_failures_pass_unchanged),
      cmocka_unit_test(mistakes_of_the_pack_get_a_place),
      cmocka_unit_test(calls_may_be_nested),
      cmocka_unit_test(time_is_limited),
      cmocka_unit_test(instructions_that_take_long_end_in_time),
      cmocka_unit_test(budgets_are_fresh_in_every_call),
      cmocka_unit_test(pushing_between_calls_is_not_refused),
      cmocka_unit_test(globals_are_read_only_after_loading),
      cmocka_unit_test(compiled_lua_is_refused),
      cmocka_unit_test(long_file_names_stay_whole),
      cmocka_unit_test(too_little_memory_to_open),
  };
  return cmocka_run_group_tests(tests, open_env, close_env);
}
