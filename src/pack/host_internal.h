/* Between the files of the host: its state, its budgets, and the functions that it gives to a pack. */
#ifndef AON_PACK_HOST_INTERNAL_H
#define AON_PACK_HOST_INTERNAL_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdbool.h>

#include "pack/host.h"

#define AON_HOST_SOURCE_BYTES (4u << 20) /* of one pack file */
#define AON_HOST_STRING_BYTES (1u << 20) /* of one text: what is linear in it inside a C function stays short */
#define AON_HOST_HOOK_INSTRUCTIONS 250   /* between two looks at the clock */
#define AON_HOST_UNPACK_VALUES 10000     /* of one table.unpack */
#define AON_HOST_PATTERN_DEPTH 200       /* nested matches inside one pattern */
#define AON_HOST_TRACE_LEVELS 5          /* callers named in an error */
#define AON_HOST_MESSAGE_BYTES 600       /* of the pack's own message in an error */
#define AON_HOST_PLACE_BYTES 320

struct aon_host {
  aon_env *env;
  aon_host_limits limits;
  lua_State *state;
  int depth;   /* of aon_host_call under way; the limits hold while it is not 0 */
  bool sealed; /* the chunk has run: globals are read-only */

  uint64_t memory_used;
  uint64_t unclocked_bytes; /* allocated since the last look at the clock */
  bool memory_refused;      /* in this call; place says where */
  bool string_refused;      /* … because one text was too long */

  uint64_t left; /* of the budget of this call: instructions, or as much work inside C functions */
  int64_t deadline_ms;

  bool failed;    /* failure holds what the call ends with, whatever the pack does; pcall can't stop it */
  bool exhausted; /* … because a budget is used up: also the calls around this one end */
  aon_error failure;
  char place[AON_HOST_PLACE_BYTES]; /* "packs/x.lua:12" of the last refusal or failure */
};

aon_host *aon_host_of(lua_State *state);

/* Takes work off the budget and looks at the clock; raises when either is used up. For C functions whose time depends on what the
 * pack gave them: call it before, or every some hundred steps. */
void aon_host_charge(lua_State *state, uint64_t work);

/* The chain of callers as "FILE:LINE" of the innermost Lua function; false: none is running. Allocates nothing. */
bool aon_host_place(lua_State *state, char *ret_place, size_t size);

/* Leaves on the stack the table that a chunk sees as its globals. Runs in protected mode. */
void aon_host_library_open(lua_State *state);

/* string.find, match, gmatch, gsub. */
int aon_host_find(lua_State *state);
int aon_host_match(lua_State *state);
int aon_host_gmatch(lua_State *state);
int aon_host_gsub(lua_State *state);
#endif
