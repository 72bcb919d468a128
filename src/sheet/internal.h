/* What the reader's files share: the open workbook, a cursor's shape, words for refusals. */
#ifndef AON_SHEET_INTERNAL_H
#define AON_SHEET_INTERNAL_H

#include "base/arena.h"
#include "base/buffer.h"
#include "sheet/numfmt.h"
#include "sheet/package.h"
#include "sheet/shared_strings.h"
#include "sheet/workbook.h"

#define AON_LIMIT_STYLES (1u << 20)                 /* cell formats of a workbook; Excel's own limit is 65,490 */
#define AON_LIMIT_NUMBER_FORMATS 65536u             /* number formats of its own */
#define AON_LIMIT_METADATA_BYTES ((size_t)16 << 20) /* names and relationships of a workbook */
#define AON_LIMIT_ROW_BYTES ((size_t)64 << 20)      /* text of one row */

#define AON_SAVE_AGAIN "Open it in Excel or LibreOffice, save it again and try again."

typedef struct aon_sheet_entry {
  const char *name;
  aon_sheet_state state;
  size_t part;         /* index in the package */
  const char *path;    /* of a .csv in a folder; NULL: in the package */
  uint64_t seen_bytes; /* of path */
} aon_sheet_entry;

struct aon_workbook {
  aon_env *env;
  aon_workbook_limits limits;
  bool xlsx, date1904, reading;
  aon_package *package; /* NULL: a folder */
  aon_budget folder_budget;
  aon_arena arena;
  aon_sheet_entry *sheets; /* malloc */
  size_t sheet_count, sheet_capacity;
  uint8_t *styles; /* aon_numfmt of each cell format; malloc */
  size_t style_count;
  aon_strings *strings; /* NULL: the workbook has none */
};

typedef struct aon_rows_ops {
  aon_result (*next)(aon_rows *rows, const aon_row **ret_row, aon_error *error);
  void (*close)(aon_rows *rows);
} aon_rows_ops;

struct aon_rows { /* first member of each reader's own cursor */
  const aon_rows_ops *ops;
  aon_workbook *workbook;
  const aon_sheet_entry *sheet;
};

/* AON_REJECTED, bad_file. */
#define aon_refuse(error, ...) aon_fail((error), AON_REJECTED, "bad_file", __VA_ARGS__)
/* "… more NOUN than the limit “NAME” (1,000) allows" */
aon_result aon_refuse_limit(aon_error *error, const char *what, const char *name, uint64_t limit);

/* Copies a name into the workbook's arena, within AON_LIMIT_METADATA_BYTES; NULL: as many zeros. */
aon_result aon_workbook_keep(aon_workbook *workbook, const char *text, size_t length, char **ret_text, aon_error *error) AON_MUST_USE;
/* The entry's name is in the arena. */
aon_result aon_workbook_add_sheet(aon_workbook *workbook, const aon_sheet_entry *entry, aon_error *error) AON_MUST_USE;

/* Not a zip: refuses in a sentence that says what it is. A zip: AON_OK. */
aon_result aon_file_recognise(aon_env *env, aon_file *file, uint64_t size_bytes, const char *path, aon_error *error) AON_MUST_USE;

aon_result aon_xlsx_open(aon_workbook *workbook, aon_error *error) AON_MUST_USE;
aon_result aon_xlsx_rows_open(aon_workbook *workbook, size_t sheet, aon_rows **ret_rows, aon_error *error) AON_MUST_USE;
/* Fills workbook->strings. */
aon_result aon_xlsx_strings_read(aon_workbook *workbook, size_t part, aon_error *error) AON_MUST_USE;
aon_result aon_csv_open_folder(aon_workbook *workbook, const char *path, aon_error *error) AON_MUST_USE;
aon_result aon_csv_open_zip(aon_workbook *workbook, aon_error *error) AON_MUST_USE;
aon_result aon_csv_rows_open(aon_workbook *workbook, size_t sheet, aon_rows **ret_rows, aon_error *error) AON_MUST_USE;
#endif
