/* The sandboxed Lua host: a state in which a pack runs and can do no harm.
 *
 * Invariants: source text only (no bytecode); no file, process, network, debug or load library; memory, instruction and time
 * limits hold inside C functions too (pattern matching and string.rep are bounded ones of ours); any failure, no memory and a
 * runaway loop included, comes back as an error with file and line. The state is deterministic: no clock, no random. */
#ifndef AON_PACK_HOST_H
#define AON_PACK_HOST_H

#include <lua.h>

#include "aon/env.h"

typedef struct aon_host aon_host;

typedef struct aon_host_limits {
  uint64_t memory_bytes, instructions; /* instructions: of one aon_host_call */
  int64_t call_ms;
} aon_host_limits;

aon_result aon_host_open(aon_env *env, const aon_host_limits *limits, aon_host **ret_host, aon_error *error) AON_MUST_USE;
void aon_host_close(aon_host *host);
lua_State *aon_host_state(aon_host *host);

/* Compiles and runs a chunk of source text named file; leaves its one result on the stack. Errors: AON_ENVIRONMENT, code bad_pack. */
aon_result aon_host_run(aon_host *host, const char *file, const char *source, size_t length, aon_error *error) AON_MUST_USE;

/* As lua_pcall(arguments, results) under fresh budgets of instructions and time; on failure the stack is as before the function was
 * pushed and *error says "packs/x.lua:12: …" with a short traceback. */
aon_result aon_host_call(aon_host *host, int arguments, int results, aon_error *error) AON_MUST_USE;

/* For C functions given to the pack: raise a failure of ours through Lua; aon_host_call returns it unchanged (kind and code kept),
 * with file and line put before the sentence only where the kind is AON_ENVIRONMENT bad_pack. Does not return. */
int aon_host_raise(lua_State *state, const aon_error *error) __attribute__((noreturn));
#endif
