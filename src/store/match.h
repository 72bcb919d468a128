/* Does a document match, as aon_match says (aon/store.h)? Shared by the adapters that look through documents themselves. */
#ifndef AON_STORE_MATCH_H
#define AON_STORE_MATCH_H

#include "aon/store.h"

bool aon_match_holds(const bson_t *document, const aon_match *match);
bool aon_match_all(const bson_t *document, const aon_match *matches, size_t count);
#endif
