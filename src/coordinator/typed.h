/* Types that JSON lacks, named beside the data of an operation by line: {"/dueAt": "timestamp"}. Internal to the room. */
#ifndef AON_COORDINATOR_TYPED_H
#define AON_COORDINATOR_TYPED_H

#include "aon/store.h"

/* Replaces the values that types names (JSON Pointers) by values of their BSON type; allowed: the store's AON_TYPE_… bits.
 * AON_REJECTED: bad_type (a value that does not read as its type, a type that the store lacks, a pointer to nothing). */
aon_result aon_types_apply(bson_t *document, const bson_iter_t *types, uint32_t allowed, aon_error *error) AON_MUST_USE;
#endif
