/* Workbooks for the targets: made from the text of their parts, and read as lines of JSON.
 *
 * The text of a workbook, so that a fuzzer changes XML and not checksums: parts, each after a line "=== NAME". What stands before the first
 * such line is xl/worksheets/sheet1.xml. Parts that every workbook has and that are not given are the usual ones. */
#ifndef AON_TESTS_FUZZ_BOOK_H
#define AON_TESTS_FUZZ_BOOK_H

#include "fuzz.h"
#include "sheet/workbook.h"

#define BOOK_PARTS_MAX 24

typedef struct book_part {
  const char *name;
  size_t name_length;
  const char *text;
  size_t length;
} book_part;

typedef struct book {
  book_part parts[BOOK_PARTS_MAX];
  size_t count;
} book;

void book_parse(const uint8_t *data, size_t size, book *ret_book);
/* Puts the package into the world's files: entries stored, checksums right. */
void book_put(const char *path, const book *from);

/* Reads all sheets. AON_OK: out holds a line for each sheet and each row. Checks what the reader promises of rows and cells. */
aon_result book_read(const char *path, aon_buffer *out, aon_error *error) AON_MUST_USE;
#endif
