/* The rules of a column in words, for descriptions and for the notes of templates. */
#ifndef AON_PACK_DESCRIBE_H
#define AON_PACK_DESCRIBE_H

#include "pack/schema.h"

/* "email address, required, unique"; "one of admin, manager; default staff". No period at the end. */
aon_result aon_schema_column_words(const aon_schema_column *column, aon_buffer *out, aon_error *error) AON_MUST_USE;
#endif
