/* The two ways of reading a worksheet beside each other: the scanners of plain rows and strings with the XML parser behind them, and the
 * parser alone. The executable is linked with --wrap for both scanners, so that they can be kept away from the bytes. */
#ifndef AON_TESTS_FUZZ_TWO_READERS_H
#define AON_TESTS_FUZZ_TWO_READERS_H

#include "book.h"

/* Reads by both, and checks that they give the same cells or both refuse. out: what they gave. */
aon_result read_by_both(const char *path, aon_buffer *out, aon_error *error) AON_MUST_USE;
#endif
