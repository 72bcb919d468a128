/* The sheet of errors: a sentence with their number, then one line each, with a link to the cell; warnings below. */
#ifndef AON_SHEET_REPORT_LIST_H
#define AON_SHEET_REPORT_LIST_H

#include "aon/operation.h"
#include "sheet/report_styles.h"

#define AON_LIST_LINKS 65530u  /* hyperlinks of a sheet: Excel's limit */
#define AON_LIST_ROWS 1048000u /* errors and warnings that have room in a sheet; more are only counted */

typedef struct aon_list {
  const aon_problem *errors, *warnings;
  size_t error_count, warning_count;
  uint64_t more;         /* errors that were not kept */
  bool strict, selected; /* selected: the workbook opens on it */
  /* The name of a sheet as this workbook has it, NULL if it has no such sheet (then there is no link). */
  const char *(*sheet_name)(void *context, const char *sheet);
  void *context;
} aon_list;

aon_result aon_list_write(const aon_list *list, aon_styles *styles, aon_sink *sink, aon_error *error) AON_MUST_USE;
#endif
