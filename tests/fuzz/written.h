/* A document written as JSON in one go, beside its members written one by one: two ways through src/model/json_write.c. */
#ifndef AON_TESTS_FUZZ_WRITTEN_H
#define AON_TESTS_FUZZ_WRITTEN_H

#include <bson/bson.h>
#include <jansson.h>

/* Both give the same bytes, or both fail; a failure leaves the buffer as it was. */
void check_written(const bson_t *document);

/* By jansson: numbers by their values, members in any order. */
bool same_json(const json_t *a, const json_t *b);
#endif
