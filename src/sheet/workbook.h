/* A workbook as a stream of rows: .xlsx, .xlsm, or a zip or folder of .csv files.
 *
 * Memory does not grow with the number of rows: shared strings above a limit go to a temporary file. Nothing is ever
 * allocated by a dimension, a range or a count that the file claims. What cannot be read as what it claims to be is refused with
 * AON_REJECTED, code bad_file, in a sentence that a person can act on. */
#ifndef AON_SHEET_WORKBOOK_H
#define AON_SHEET_WORKBOOK_H

#include "aon/env.h"
#include "aon/document.h"

typedef struct aon_workbook_limits { /* 0: the default */
  uint32_t entries;                  /* files in the package: 10,000 */
  uint64_t unpacked_bytes;           /* of all parts read: 2 GiB */
  uint32_t rows;                     /* highest row number: 1,048,576 */
  uint32_t columns;                  /* highest column number: 16,384 */
  uint64_t cells;                    /* of one sheet: 50,000,000 */
  uint32_t string_bytes;             /* of one cell: 131,072 (32,767 characters of up to 4 bytes) */
  uint64_t strings_memory_bytes;     /* shared strings kept in memory: 5 MiB, the rest in a temporary file */
} aon_workbook_limits;

typedef enum aon_cell_type {
  AON_CELL_EMPTY = 0, /* a cell with style only, or a blank string; readers may leave these out */
  AON_CELL_NUMBER = 'n',
  AON_CELL_TEXT = 's',
  AON_CELL_BOOLEAN = 'b',
  AON_CELL_ERROR = 'e',   /* text: "#N/A" */
  AON_CELL_DATE = 'd',    /* text: "2027-01-06" or "2027-01-06T08:00:00[.mmm]" */
  AON_CELL_TIME = 't',    /* text: "08:00:00[.mmm]" */
  AON_CELL_DURATION = 'u' /* number: seconds; printed as type "dur" */
} aon_cell_type;

typedef struct aon_cell {
  uint32_t column; /* from 1 */
  aon_cell_type type;
  double number; /* NUMBER, DURATION; BOOLEAN 0 or 1 */
  aon_text text; /* TEXT (as it stands, untrimmed), ERROR, DATE, TIME; UTF-8, NUL-terminated as well */
} aon_cell;

typedef struct aon_row {
  uint32_t number;       /* from 1 */
  const aon_cell *cells; /* ascending by column, empty ones left out */
  size_t count;
} aon_row;

typedef enum aon_sheet_state { AON_SHEET_VISIBLE, AON_SHEET_HIDDEN, AON_SHEET_VERY_HIDDEN } aon_sheet_state;

typedef struct aon_workbook aon_workbook;
typedef struct aon_rows aon_rows;

aon_result aon_workbook_open(aon_env *env, const char *path, const aon_workbook_limits *limits, aon_workbook **ret_workbook,
                             aon_error *error) AON_MUST_USE;
void aon_workbook_close(aon_workbook *workbook);
size_t aon_workbook_sheets(const aon_workbook *workbook); /* worksheets, in the order of the workbook */
const char *aon_workbook_sheet_name(const aon_workbook *workbook, size_t sheet);
aon_sheet_state aon_workbook_sheet_state(const aon_workbook *workbook, size_t sheet);
bool aon_workbook_is_xlsx(const aon_workbook *workbook); /* false: csv */

/* Rows that have at least one cell that isn't empty, in ascending order; one cursor at a time. */
aon_result aon_rows_open(aon_workbook *workbook, size_t sheet, aon_rows **ret_rows, aon_error *error) AON_MUST_USE;
aon_result aon_rows_next(aon_rows *rows, const aon_row **ret_row,
                         aon_error *error) AON_MUST_USE; /* AON_END; the row lives until the next call */
void aon_rows_close(aon_rows *rows);
#endif
