/* An empty workbook for a person to fill in: headings with notes, drop-down lists, an example row.
 * The sheet writer knows nothing of packs: it gets plain columns. */
#ifndef AON_SHEET_TEMPLATE_H
#define AON_SHEET_TEMPLATE_H

#include "aon/env.h"

typedef struct aon_template_column {
  const char *heading;        /* with its trailing * if required */
  const char *note;           /* comment on the heading, NULL: none */
  const char *example;        /* shown in the example row; NULL: empty */
  char example_type;          /* 's' text, 'n' number, 'd' date (YYYY-MM-DD), 't' time (HH:MM) */
  const char *const *choices; /* NULL-terminated: a drop-down list; NULL: none */
  bool text_format;           /* cells are text (phones, codes), so that Excel keeps leading zeros and + */
} aon_template_column;

typedef struct aon_template_sheet {
  const char *name;
  const char *note; /* one sentence above nothing: put on the first heading's comment; NULL */
  const aon_template_column *columns;
  size_t column_count;
} aon_template_sheet;

/* Sheets in order. The example row stands in row 2; a first line of the heading's note says to replace it. Written aside and renamed. */
aon_result aon_template_write(aon_env *env, const char *output, const aon_template_sheet *sheets, size_t count,
                              aon_error *error) AON_MUST_USE;
#endif
