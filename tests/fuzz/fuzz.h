/* What the fuzzing targets share: the one entry that each has, files in memory, and words for a property that does not hold.
 *
 * A target is a function of bytes alone: no clock, no randomness, no files but those here, so that a saved input tells the same story
 * in every build. It returns 0 for every input, judges what came out with FUZZ_CHECK, and frees all it took (a leak is a finding). */
#ifndef AON_TESTS_FUZZ_FUZZ_H
#define AON_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "aon/env.h"
#include "base/buffer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Once, before all inputs; a target need not have it. What is done here does not count as reached by an input. */
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

/* A property that a user would miss: says which, with its figures, and aborts. */
#define FUZZ_CHECK(holds, ...)                                                                                                             \
  do {                                                                                                                                     \
    if (!(holds))                                                                                                                          \
      fuzz_report(__FILE__, __LINE__, #holds, __VA_ARGS__);                                                                                \
  } while (0)
void fuzz_report(const char *file, int line, const char *what, const char *format, ...) __attribute__((noreturn, format(printf, 4, 5)));

/* An environment whose files live in memory, whose clock stands still but for sleeps, and whose randomness is counted up from nothing.
 * It is one for the process; fuzz_world_clear begins it anew. Whatever is still open then is a property broken. */
aon_env *fuzz_world(void);
void fuzz_world_clear(void);
void fuzz_seed(uint64_t seed); /* of the randomness that follows */
void fuzz_file_put(const char *path, const void *bytes, size_t length);
const uint8_t *fuzz_file(const char *path, size_t *ret_length); /* NULL: there is none; lives until the file changes */
size_t fuzz_files(void);                                        /* how many there are */
size_t fuzz_file_length(const aon_file *file);
void fuzz_file_cut(aon_file *file, size_t length);

/* The input cut up: each takes from the front and gives zeros, or nothing, once it is used up. */
typedef struct fuzz_input {
  const uint8_t *at, *end;
} fuzz_input;
uint8_t fuzz_byte(fuzz_input *input);
/* Up to the next zero byte, which is taken too, or to the end; NUL-terminated in memory of its own (free). */
char *fuzz_text(fuzz_input *input, size_t *ret_length);
static inline size_t fuzz_left(const fuzz_input *input) { return (size_t)(input->end - input->at); }

/* A name with zeros, so that an overrun is seen; exits where memory ends. */
void *fuzz_copy(const void *bytes, size_t length);
#endif
