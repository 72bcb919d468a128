/* Shared strings: numbered texts, in memory up to a limit, the rest in temporary files that are removed as soon as they are open. */
#ifndef AON_SHEET_SHARED_STRINGS_H
#define AON_SHEET_SHARED_STRINGS_H

#include "aon/document.h"
#include "aon/env.h"
#include "base/buffer.h"

typedef struct aon_strings aon_strings;

aon_result aon_strings_new(aon_env *env, uint64_t memory_bytes, aon_strings **ret_strings, aon_error *error) AON_MUST_USE;
void aon_strings_free(aon_strings *strings);
aon_result aon_strings_add(aon_strings *strings, const char *text, size_t length, aon_error *error) AON_MUST_USE;
uint64_t aon_strings_count(const aon_strings *strings);
bool aon_strings_spilled(const aon_strings *strings);
/* In memory: *ret_text points to it. In a file: it is appended to scratch with a NUL, *ret_text.data is NULL and *ret_offset says where. */
aon_result aon_strings_get(aon_strings *strings, uint64_t index, aon_buffer *scratch, aon_text *ret_text, size_t *ret_offset,
                           aon_error *error) AON_MUST_USE;

/* Decodes _xHHHH_ in place (ECMA-376 part 1, 22.9.2.19): UTF-16 pairs joined, NUL and lone halves made U+FFFD. Returns the new length. */
size_t aon_text_unescape(char *text, size_t length);
#endif
