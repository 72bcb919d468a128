/* Between Lua and documents: rows pushed as tables, tables read back, the functions that a pack calls.
 *
 * Invariants: all that touches Lua runs inside aon_host_call, so its budgets hold and a raise is a result; a function that may raise owns
 * nothing on the heap while it calls Lua; `out` works only while its collect runs (the box is emptied after), so a pack that keeps it
 * gets a sentence, not a crash. */
#include "pack/job.h"

#include <lauxlib.h>
#include <stdlib.h>

#define BRIDGE_DEPTH 20
#define SECRETS_HERE -1 /* the depth of a document at whose top tokens of secrets may stand */

typedef struct aon_box {
  aon_pack_job *job;
  aon_collector *collector;
} aon_box;

static aon_result host(aon_pack_job *job, lua_CFunction function, void *argument, aon_error *error) {
  lua_State *state = aon_host_state(job->pack->host);
  lua_pushcfunction(state, function);
  lua_pushlightuserdata(state, argument);
  return aon_host_call(job->pack->host, 1, 0, error);
}

/* ---- Documents into Lua ---- */

static void push_iter(lua_State *state, bson_iter_t *at, bool array);

static void push_value(lua_State *state, const bson_iter_t *value) {
  bson_iter_t inner;
  aon_text text;
  luaL_checkstack(state, 6, "document too deep");
  if (aon_bson_text(value, &text))
    lua_pushlstring(state, text.data, text.length);
  else if (BSON_ITER_HOLDS_BOOL(value))
    lua_pushboolean(state, bson_iter_bool(value));
  else if (BSON_ITER_HOLDS_INT32(value) || BSON_ITER_HOLDS_INT64(value))
    lua_pushinteger(state, bson_iter_as_int64(value));
  else if (BSON_ITER_HOLDS_DOUBLE(value))
    lua_pushnumber(state, bson_iter_double(value));
  else if ((BSON_ITER_HOLDS_DOCUMENT(value) || BSON_ITER_HOLDS_ARRAY(value)) && bson_iter_recurse(value, &inner))
    push_iter(state, &inner, BSON_ITER_HOLDS_ARRAY(value));
  else
    lua_pushlightuserdata(state, NULL); /* null, and types that Lua doesn't know */
}

static int count_from(bson_iter_t at) {
  int count = 0;
  while (bson_iter_next(&at))
    count++;
  return count;
}

static void push_iter(lua_State *state, bson_iter_t *at, bool array) {
  int count = count_from(*at);
  lua_createtable(state, array ? count : 0, array ? 0 : count);
  for (lua_Integer i = 1; bson_iter_next(at); i++) {
    push_value(state, at);
    if (array)
      lua_rawseti(state, -2, i);
    else
      lua_setfield(state, -2, bson_iter_key(at));
  }
}

static void push_document(lua_State *state, const bson_t *document, bool array) {
  bson_iter_t at;
  if (bson_iter_init(&at, document))
    push_iter(state, &at, array);
  else
    lua_newtable(state);
}

/* ---- Tables into documents: returns what is wrong, NULL if nothing ---- */

static const char *append_table(lua_State *state, int index, aon_arena *arena, int depth, bool array, bson_t *document);

static const char *append_value(lua_State *state, const char *name, aon_arena *arena, int depth, bson_t *document) {
  size_t length;
  const char *text, *wrong;
  bson_t inner;
  switch (lua_type(state, -1)) {
  case LUA_TSTRING:
    text = lua_tolstring(state, -1, &length);
    return bson_utf8_validate(text, length, false) && bson_append_utf8(document, name, -1, text, (int)length)
               ? NULL
               : "holds a text that is not UTF-8";
  case LUA_TBOOLEAN:
    bson_append_bool(document, name, -1, lua_toboolean(state, -1));
    return NULL;
  case LUA_TNUMBER:
    if (lua_isinteger(state, -1))
      bson_append_int64(document, name, -1, lua_tointeger(state, -1));
    else
      bson_append_double(document, name, -1, lua_tonumber(state, -1));
    return NULL;
  case LUA_TLIGHTUSERDATA:
    if (!lua_touserdata(state, -1))
      bson_append_null(document, name, -1);
    else if (depth == SECRETS_HERE)
      aon_secret_mark(document, name, (size_t)(uintptr_t)lua_touserdata(state, -1) - 1);
    else
      return "holds a secret, which may only stand at the top of the defaults of merge";
    return NULL;
  case LUA_TTABLE:
    if (depth >= BRIDGE_DEPTH || !lua_checkstack(state, 8))
      return "is nested too deep";
    lua_pushnil(state);
    bool empty = !lua_next(state, -2);
    if (!empty)
      lua_pop(state, 2);
    if (empty || lua_rawlen(state, -1)) {
      bson_append_array_begin(document, name, -1, &inner);
      wrong = append_table(state, lua_gettop(state), arena, depth + 1, true, &inner);
      bson_append_array_end(document, &inner);
    } else {
      bson_append_document_begin(document, name, -1, &inner);
      wrong = append_table(state, lua_gettop(state), arena, depth + 1, false, &inner);
      bson_append_document_end(document, &inner);
    }
    return wrong;
  default:
    return "holds a value that a document can't hold";
  }
}

static int compare_keys(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* Keys sorted: the order of a Lua table is not steady, and plans must be. */
static const char *sorted_keys(lua_State *state, int index, aon_arena *arena, const char ***ret_keys, size_t *ret_count) {
  size_t count = 0;
  lua_pushnil(state);
  while (lua_next(state, index)) {
    lua_pop(state, 1);
    if (lua_type(state, -1) != LUA_TSTRING) {
      lua_pop(state, 1);
      return "mixes names and numbers as keys";
    }
    if (strlen(lua_tostring(state, -1)) != lua_rawlen(state, -1)) {
      lua_pop(state, 1);
      return "has a key with the character NUL";
    }
    count++;
  }
  const char **keys = aon_arena_alloc(arena, (count + 1) * sizeof *keys);
  if (!keys)
    return "takes too much memory";
  size_t at = 0;
  lua_pushnil(state);
  while (lua_next(state, index)) {
    lua_pop(state, 1);
    keys[at++] = lua_tostring(state, -1);
  }
  qsort(keys, count, sizeof *keys, compare_keys);
  *ret_keys = keys;
  *ret_count = count;
  return NULL;
}

static const char *append_list(lua_State *state, int index, aon_arena *arena, int depth, bson_t *document) {
  lua_Unsigned length = lua_rawlen(state, index);
  const char *wrong = NULL;
  for (lua_Unsigned i = 1; i <= length && !wrong; i++) {
    char buffer[16];
    const char *key;
    bson_uint32_to_string((uint32_t)(i - 1), &key, buffer, sizeof buffer);
    lua_rawgeti(state, index, (lua_Integer)i);
    wrong = append_value(state, key, arena, depth, document);
    lua_pop(state, 1);
  }
  return wrong;
}

static const char *append_table(lua_State *state, int index, aon_arena *arena, int depth, bool array, bson_t *document) {
  if (array)
    return append_list(state, index, arena, depth, document);
  const char **keys = NULL;
  size_t count = 0;
  const char *wrong = sorted_keys(state, index, arena, &keys, &count);
  for (size_t i = 0; i < count && !wrong; i++) {
    lua_pushstring(state, keys[i]); /* interned: it is the key that is there */
    lua_rawget(state, index);
    wrong = append_value(state, keys[i], arena, depth, document);
    lua_pop(state, 1);
  }
  return wrong;
}

static __attribute__((noreturn)) void refuse(lua_State *state, const char *what, const char *wrong) {
  luaL_error(state, "%s %s", what, wrong);
  abort();
}

static const bson_t *read_at_depth(lua_State *state, int index, const char *what, int depth, aon_arena *arena) {
  luaL_checkstack(state, 8, NULL);
  bson_t document;
  bson_init(&document);
  const char *wrong = append_table(state, index, arena, depth, false, &document);
  const bson_t *copy = aon_bson_keep(arena, &document);
  if (!wrong && !copy)
    wrong = "takes too much memory";
  if (wrong)
    refuse(state, what, wrong);
  return copy;
}

static const bson_t *read_document(lua_State *state, int index, const char *what, aon_arena *arena) {
  return read_at_depth(state, index, what, 0, arena);
}

/* ---- Functions of `out` ---- */

static aon_box *box_of(lua_State *state) {
  aon_box *box = lua_touserdata(state, lua_upvalueindex(1));
  if (!box->collector)
    luaL_error(state, "out may only be used while collect runs");
  return box;
}

static const aon_schema_collection *collection_argument(lua_State *state, const aon_box *box) {
  const char *name = luaL_checkstring(state, 1);
  const aon_schema_collection *collection = aon_schema_collection_find(&box->job->pack->schema, name);
  if (!collection)
    luaL_error(state, "there is no collection “%s”", name);
  return collection;
}

static aon_text own_argument(lua_State *state, const aon_schema_collection *collection) {
  aon_text own = {"", 0};
  if (collection->own_part >= 0)
    own.data = luaL_checklstring(state, 2, &own.length);
  return own;
}

static const aon_schema_collection *single(lua_State *state, const aon_schema_collection *collection) {
  if (collection->shared)
    luaL_error(state, "“%s” is shared: declare members, indexes or entries instead", collection->base.name);
  return collection;
}

static int out_merge(lua_State *state) {
  aon_box *box = box_of(state);
  const aon_schema_collection *collection = single(state, collection_argument(state, box));
  aon_text own = own_argument(state, collection);
  luaL_checktype(state, 3, LUA_TTABLE);
  aon_arena *arena = aon_collector_arena(box->collector);
  const bson_t *properties = read_document(state, 3, "the third argument of merge", arena), *defaults = NULL;
  if (!lua_isnoneornil(state, 4)) {
    luaL_checktype(state, 4, LUA_TTABLE);
    defaults = read_at_depth(state, 4, "the fourth argument of merge", SECRETS_HERE, arena);
  }
  aon_error error = AON_ERROR_INIT;
  if (aon_collector_merge(box->collector, collection, own, properties, defaults, &error))
    aon_host_raise(state, &error);
  return 0;
}

static int out_delete(lua_State *state) {
  aon_box *box = box_of(state);
  const aon_schema_collection *collection = single(state, collection_argument(state, box));
  aon_error error = AON_ERROR_INIT;
  if (aon_collector_delete(box->collector, collection, own_argument(state, collection), &error))
    aon_host_raise(state, &error);
  return 0;
}

/* The list is first put into the arena, then pushed: nothing on the heap when Lua may raise. */
static aon_result list_of(aon_box *box, const aon_schema_collection *collection, aon_text own, bson_t *ret_view, aon_error *error) {
  aon_arena *arena = aon_collector_arena(box->collector);
  aon_buffer id AON_BUFFER_CLEANUP = {0};
  aon_image before;
  bson_t list;
  aon_result result = aon_schema_id(collection, box->job->organization, own, &id, error);
  if (!result)
    result = aon_lookup_image(box->job, collection, (aon_text){id.data, id.length}, arena, &before, error);
  if (!result)
    result = aon_shared_list(box->job, collection, (aon_text){id.data, id.length}, &before, arena, &list, NULL, error);
  if (result)
    return result;
  const uint8_t *bytes = aon_arena_copy(arena, bson_get_data(&list), list.len);
  uint32_t length = list.len;
  bson_destroy(&list);
  return bytes && bson_init_static(ret_view, bytes, length) ? AON_OK : aon_fail_memory(error);
}

static int out_list(lua_State *state) {
  aon_box *box = box_of(state);
  const aon_schema_collection *collection = collection_argument(state, box);
  if (!collection->list)
    luaL_error(state, "“%s” has no list", collection->base.name);
  aon_text own = own_argument(state, collection);
  aon_error error = AON_ERROR_INIT;
  bson_t view;
  if (list_of(box, collection, own, &view, &error))
    aon_host_raise(state, &error);
  push_document(state, &view, true);
  return 1;
}

static void set_function(lua_State *state, const char *name, lua_CFunction function) {
  lua_pushvalue(state, 2); /* the box */
  lua_pushcclosure(state, function, 1);
  lua_setfield(state, 3, name);
}

static int open_protected(lua_State *state) {
  aon_pack_job *job = lua_touserdata(state, 1);
  aon_box *box = lua_newuserdatauv(state, sizeof *box, 0); /* 2 */
  *box = (aon_box){.job = job};
  lua_newtable(state); /* 3 */
  set_function(state, "merge", out_merge);
  set_function(state, "delete", out_delete);
  set_function(state, "list", out_list);
  lua_pushlightuserdata(state, NULL);
  lua_setfield(state, 3, "null");
  lua_pushlstring(state, job->organization.data, job->organization.length);
  lua_setfield(state, 3, "organization");
  job->out_reference = luaL_ref(state, LUA_REGISTRYINDEX);
  job->box = box;
  lua_pushboolean(state, 0);
  job->row_reference = luaL_ref(state, LUA_REGISTRYINDEX);
  return 0;
}

static int batch_protected(lua_State *state) {
  const aon_pack_job *job = lua_touserdata(state, 1);
  lua_rawgeti(state, LUA_REGISTRYINDEX, job->out_reference);
  lua_newtable(state);
  lua_setfield(state, -2, "memo");
  return 0;
}

aon_result aon_bridge_batch(aon_pack_job *job, aon_error *error) { return host(job, batch_protected, job, error); }

aon_result aon_bridge_open(aon_pack_job *job, aon_error *error) {
  job->out_reference = job->row_reference = LUA_NOREF;
  return host(job, open_protected, job, error);
}

void aon_bridge_close(aon_pack_job *job) {
  if (!job->box)
    return;
  job->box->job = NULL;
  job->box->collector = NULL;
  job->box = NULL;
  lua_State *state = aon_host_state(job->pack->host);
  luaL_unref(state, LUA_REGISTRYINDEX, job->out_reference);
  luaL_unref(state, LUA_REGISTRYINDEX, job->row_reference);
}

/* ---- Rows and calls ---- */

typedef struct row_call {
  aon_pack_job *job;
  const aon_job_row *row;
  const bson_t *document;
} row_call;

static void push_bits(lua_State *state, const aon_schema_sheet *sheet, uint64_t bits, const char *name) {
  lua_createtable(state, 0, __builtin_popcountll(bits));
  for (size_t i = 0; i < sheet->column_count; i++)
    if (bits >> i & 1) {
      lua_pushboolean(state, 1);
      lua_setfield(state, -2, sheet->columns[i].property);
    }
  lua_setfield(state, -2, name);
}

/* Tokens of the values that the row may hand on: numbers in disguise, so that they are the same in every run. */
static void push_secrets(lua_State *state, const aon_job_row *row) {
  lua_newtable(state);
  for (size_t i = 0; i < row->sheet->column_count; i++)
    if ((row->filled >> i & 1) && row->sheet->columns[i].field.sensitive && !row->sheet->columns[i].collection) {
      lua_pushlightuserdata(state, (void *)(uintptr_t)(i + 1));
      lua_setfield(state, -2, row->sheet->columns[i].property);
    }
  lua_setfield(state, -2, "secrets");
}

static int row_protected(lua_State *state) {
  const row_call *call = lua_touserdata(state, 1);
  lua_createtable(state, 0, 7);
  lua_pushlstring(state, call->row->id.data, call->row->id.length);
  lua_setfield(state, -2, "id");
  lua_pushboolean(state, !(call->row->flags & AON_ROW_EXISTS));
  lua_setfield(state, -2, "created");
  push_document(state, call->document, false);
  lua_setfield(state, -2, "document");
  if (call->row->before.bson) {
    push_document(state, &call->row->before_view, false);
    lua_setfield(state, -2, "before");
  }
  push_bits(state, call->row->sheet, call->row->filled, "filled");
  push_bits(state, call->row->sheet, call->row->cleared, "cleared");
  push_secrets(state, call->row);
  lua_rawseti(state, LUA_REGISTRYINDEX, call->job->row_reference);
  return 0;
}

aon_result aon_bridge_row(aon_pack_job *job, const aon_job_row *row, const bson_t *document, aon_error *error) {
  row_call call = {.job = job, .row = row, .document = document};
  return host(job, row_protected, &call, error);
}

typedef struct pack_call {
  aon_pack_job *job;
  int function;
  aon_arena *arena;
  const bson_t *patch;
  aon_verdict verdict;
} pack_call;

static void push_call(lua_State *state, const pack_call *call) {
  lua_rawgeti(state, LUA_REGISTRYINDEX, call->function);
  lua_rawgeti(state, LUA_REGISTRYINDEX, call->job->row_reference);
}

static int adjust_protected(lua_State *state) {
  pack_call *call = lua_touserdata(state, 1);
  push_call(state, call);
  lua_call(state, 1, 1);
  if (lua_isnil(state, -1))
    return 0;
  if (!lua_istable(state, -1))
    luaL_error(state, "adjust must return a table or nil");
  call->patch = read_document(state, lua_gettop(state), "what adjust returns", call->arena);
  return 0;
}

aon_result aon_bridge_adjust(aon_pack_job *job, int function, aon_arena *arena, const bson_t **ret_patch, aon_error *error) {
  pack_call call = {.job = job, .function = function, .arena = arena};
  aon_result result = host(job, adjust_protected, &call, error);
  if (!result)
    *ret_patch = call.patch;
  return result;
}

static const char *result_text(lua_State *state, int index, aon_arena *arena, const char *what) {
  size_t length;
  if (lua_type(state, index) != LUA_TSTRING)
    luaL_error(state, "a check returns nothing, or a property, a code and a sentence: %s is missing", what);
  const char *text = lua_tolstring(state, index, &length);
  const char *copy = aon_arena_text(arena, text, length);
  if (!copy)
    luaL_error(state, "not enough memory");
  return copy;
}

static int check_protected(lua_State *state) {
  pack_call *call = lua_touserdata(state, 1);
  push_call(state, call);
  lua_call(state, 1, 3);
  if (lua_isnil(state, -3))
    return 0;
  call->verdict = (aon_verdict){.property = result_text(state, -3, call->arena, "the property"),
                                .code = result_text(state, -2, call->arena, "the code"),
                                .sentence = result_text(state, -1, call->arena, "the sentence")};
  return 0;
}

aon_result aon_bridge_check(aon_pack_job *job, int function, aon_arena *arena, aon_verdict *ret_verdict, aon_error *error) {
  pack_call call = {.job = job, .function = function, .arena = arena};
  aon_result result = host(job, check_protected, &call, error);
  if (!result)
    *ret_verdict = call.verdict;
  return result;
}

static int collect_protected(lua_State *state) {
  const pack_call *call = lua_touserdata(state, 1);
  push_call(state, call);
  lua_rawgeti(state, LUA_REGISTRYINDEX, call->job->out_reference);
  lua_call(state, 2, 0);
  return 0;
}

aon_result aon_bridge_collect(aon_pack_job *job, int function, aon_collector *collector, aon_error *error) {
  pack_call call = {.job = job, .function = function};
  job->box->collector = collector;
  aon_result result = host(job, collect_protected, &call, error);
  job->box->collector = NULL;
  return result;
}
