/* Memory and text for adapters written outside this library (aon/store.h): what read and normalise give back lives in the arena that they
 * are handed, what examine has to say is added to the buffer that it is handed. Both are made and freed by the caller of the adapter.
 *
 * Ownership: what comes from an arena is never freed by itself, and stays until the arena's owner lets go of all of it. */
#ifndef AON_MEMORY_H
#define AON_MEMORY_H

#include <stddef.h>

#include "aon/result.h"

#ifdef __cplusplus
extern "C" {
#endif

struct aon_arena;
struct aon_buffer;

/* All return NULL where there is no memory (give back aon_fail_memory then). Addresses are multiples of 16. */
void *aon_arena_alloc(struct aon_arena *arena, size_t bytes) AON_MUST_USE; /* zeroed */
void *aon_arena_copy(struct aon_arena *arena, const void *bytes, size_t length) AON_MUST_USE;
char *aon_arena_text(struct aon_arena *arena, const char *text, size_t length) AON_MUST_USE; /* NUL appended */
char *aon_arena_format(struct aon_arena *arena, const char *format, ...) AON_MUST_USE __attribute__((format(printf, 2, 3)));

/* Adds to the end. AON_OK, AON_NO_MEMORY, or AON_PERMANENT with code too_long where the owner's limit is reached (nothing
 * is added then). */
aon_result aon_buffer_append(struct aon_buffer *buffer, const void *bytes, size_t length, aon_error *error) AON_MUST_USE;
aon_result aon_buffer_text(struct aon_buffer *buffer, const char *text, aon_error *error) AON_MUST_USE;
aon_result aon_buffer_format(struct aon_buffer *buffer, aon_error *error, const char *format, ...) AON_MUST_USE
    __attribute__((format(printf, 3, 4)));

/* Puts memory by for the whole process. Without it, libbson (through which all documents pass) ends the process when memory runs out, and
 * recovery mends what that leaves; with it, the operation under way ends with AON_NO_MEMORY. `aon` puts 16 MiB by. To be called at the
 * start of a program, before libbson, jansson or libxml2 are used and before there are threads: it takes their tables of memory functions
 * (bson_mem_set_vtable, json_set_alloc_funcs, xmlMemSetup), so a program that sets one of these itself must not call it. Memory of these
 * libraries is then given back by their own functions only (bson_free, not free). Called again it does nothing. */
aon_result aon_spare_open(size_t bytes, aon_error *error) AON_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
