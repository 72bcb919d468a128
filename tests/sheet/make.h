/* Small workbooks made for tests, and the reader's view of them as JSON lines. */
#ifndef AON_TESTS_SHEET_MAKE_H
#define AON_TESTS_SHEET_MAKE_H

#include "sheet/workbook.h"

typedef struct made_part {
  const char *name, *text;
  size_t length; /* 0: strlen(text) */
} made_part;

typedef struct made_book { /* NULL: the usual one, or (strings, styles) no such part */
  const char *data;        /* what stands inside sheetData */
  const char *sheet;       /* the whole part instead */
  const char *strings;     /* what stands inside sst */
  const char *sst;         /* the whole part instead */
  const char *styles;      /* what stands inside styleSheet */
  const char *workbook;    /* the whole part */
} made_book;

typedef struct test_scene { /* a temporary folder and the real environment */
  aon_env *env;
  char folder[256], path[512];
  char *lines;     /* of the last reading */
  aon_error error; /* of the last reading */
} test_scene;

int place_open(void **state);
int place_close(void **state);
const char *place_path(test_scene *place, const char *name); /* in the folder */

void make_file(const char *path, const void *bytes, size_t length);
void make_zip(const char *path, const made_part *parts, size_t count);
void make_book(const char *path, const made_book *book);
char *load_file(const char *path, size_t *ret_length); /* malloc */

/* Reads all of it; place->lines holds the rows of all sheets, one JSON object a line, place->error the refusal. */
aon_result read_book(test_scene *place, const char *path, const aon_workbook_limits *limits);
/* Makes path in the folder and reads it. */
aon_result read_made(test_scene *place, const made_book *book, const aon_workbook_limits *limits);
/* Fails the test unless it was refused as a bad file with these words. */
void assert_refused(test_scene *place, aon_result result, const char *words);
#endif
