/* A worksheet while it is read: where its reader stands, and the queue of rows that are complete.
 * Shared by the cursor (xlsx_rows.c), the meaning of rows and cells (xlsx_cells.c) and the scanner of plain rows (xlsx_plain.c). */
#ifndef AON_SHEET_XLSX_ROWS_H
#define AON_SHEET_XLSX_ROWS_H

#include <locale.h>

#include "sheet/internal.h"
#include "sheet/xml_mixed.h"

#define AON_NOT_LOOKED_UP ((aon_cell_type)'S') /* in the queue only: number is the index of a shared string */

typedef enum xlsx_place { AT_TOP, AT_SHEET, AT_DATA, AT_ROW, AT_CELL, AT_VALUE, AT_INLINE, AT_INLINE_RUN, AT_TEXT, AT_RUN_TEXT } xlsx_place;

typedef enum xlsx_content {
  CONTENT_NUMBER,
  CONTENT_SHARED,
  CONTENT_TEXT,
  CONTENT_INLINE,
  CONTENT_BOOLEAN,
  CONTENT_ERROR,
  CONTENT_ISO
} xlsx_content;

typedef struct queued_row {
  uint32_t number;
  size_t first, count; /* cells */
} queued_row;

typedef struct xlsx_rows {
  aon_xml xml;
  aon_rows rows;
  locale_t c_locale;

  /* where the parser stands */
  xlsx_place place;
  int skipped; /* open elements that do not count */
  bool is_worksheet;
  uint32_t last_row, row; /* row: 0 until the open row's number is known */
  uint32_t last_column, column;
  bool unordered;
  uint64_t cell_count;
  xlsx_content content;
  aon_numfmt format;
  bool has_value;
  aon_buffer value;

  /* the queue */
  aon_cell *cells; /* malloc */
  size_t cells_used, cells_capacity;
  size_t open_first; /* first cell of the open row */
  queued_row *queue; /* malloc */
  size_t queue_count, queue_capacity, queue_next;
  aon_buffer text;
  size_t open_text; /* where the open row's text begins */

  aon_mixed bytes;
  bool plain;                     /* sheetData has no prefix, so neither have rows */
  struct plain_cell *plain_cells; /* malloc, of the row under way */
  size_t plain_capacity;

  aon_buffer scratch; /* shared strings of the row handed out */
  aon_row out;
} xlsx_rows;

typedef struct xlsx_cell_attributes {
  aon_text reference, style, type; /* data NULL: not there */
} xlsx_cell_attributes;

/* Rows and cells as they begin and end, whoever has parsed them. Failures are in reader->xml.failed. */
void aon_xlsx_row_start(xlsx_rows *reader, const aon_text *reference); /* NULL: the row has none */
void aon_xlsx_row_end(xlsx_rows *reader);
void aon_xlsx_cell_start(xlsx_rows *reader, const xlsx_cell_attributes *attributes);
void aon_xlsx_cell_text(xlsx_rows *reader, const char *text, size_t length); /* in pieces */
void aon_xlsx_cell_end(xlsx_rows *reader);
/* A cell as a whole: what stands in its v and in its is > t; data NULL: not there. */
void aon_xlsx_cell_whole(xlsx_rows *reader, const xlsx_cell_attributes *attributes, aon_text value, aon_text inline_text);

/* Takes plain rows: rows in the shape that nearly all programs write, without anything that would need a real parser. */
aon_plain aon_xlsx_plain_rows(aon_xml *xml, char *bytes, size_t length, size_t *ret_used);
/* Likewise plain shared strings, told by the function behind it, which may change the text. */
aon_plain aon_xlsx_plain_strings(aon_xml *xml, char *bytes, size_t length, size_t *ret_used);
void aon_xlsx_string_whole(aon_xml *xml, char *text, size_t length);
#endif
