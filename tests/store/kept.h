/* What becomes of a document in a service: what each of them keeps, changes and refuses, asked without a server. Each case is tried again
 * with memory that runs out at its n-th piece: no other answer comes of that. Linked with calls_wraps. */
#ifndef AON_TESTS_STORE_KEPT_H
#define AON_TESTS_STORE_KEPT_H

#include "world.h"

typedef aon_result (*kept_normaliser)(void *state, const aon_collection *collection, aon_text id, const bson_t *document, aon_arena *arena,
                                      aon_image *ret_image, aon_error *error);

/* kept: the document as text, or !CODE. NULL: as given. */
typedef struct kept_case {
  const char *id, *json, *kept;
} kept_case;

/* The answer as text (of JSON, or !CODE), to be freed. A failure: of memory. */
aon_result kept_answer(kept_normaliser normalise, void *state, const aon_collection *in, aon_text id, const bson_t *document,
                       char **ret_text, aon_error *error);
void kept_is(kept_normaliser normalise, void *state, const aon_collection *in, aon_text id, const bson_t *document, const char *wanted);
void kept_are(kept_normaliser normalise, void *state, const aon_collection *in, const kept_case *cases, size_t count);
/* The letter so many times, and NUL. */
void kept_repeat(char *out, char what, size_t times);
/* An object in an object, and so on. */
bson_t *kept_nested(int levels);
/* "kept" or !CODE. */
const char *kept_of_levels(kept_normaliser normalise, void *state, const aon_collection *in, int levels);

#define KEEPS(normalise, state, in, cases) kept_are(normalise, state, in, cases, sizeof cases / sizeof *cases)
#endif
