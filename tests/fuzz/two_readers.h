/* The two ways of reading a worksheet beside each other: the scanner of plain rows with the XML parser behind it, and the parser alone.
 * The executable is linked with --wrap=aon_xlsx_plain_rows, so that the scanner can be kept away from the bytes. */
#ifndef AON_TESTS_FUZZ_TWO_READERS_H
#define AON_TESTS_FUZZ_TWO_READERS_H

#include "book.h"

/* Reads by both, and checks that they give the same cells or both refuse. out: what they gave. */
aon_result read_by_both(const char *path, aon_buffer *out, aon_error *error) AON_MUST_USE;
#endif
