/* The two kinds of report: an uploaded workbook with marks, and a workbook of our own. */
#ifndef AON_SHEET_REPORT_WORKBOOK_H
#define AON_SHEET_REPORT_WORKBOOK_H

#include "aon/operation.h"
#include "sheet/report_archive.h"

typedef struct aon_report { /* what a report tells */
  aon_env *env;
  const aon_workbook_limits *limits;
  const aon_problem *errors, *warnings;
  size_t error_count, warning_count;
  uint64_t more;
} aon_report;

/* The upload, an .xlsx, with its faulty cells marked and the sheet of errors before the others. */
aon_result aon_report_mark(const aon_report *report, const char *input, aon_archive *archive, aon_error *error) AON_MUST_USE;
/* The sheet of errors and the rows of a workbook of .csv; NULL: the sheet of errors alone. */
aon_result aon_report_make(const aon_report *report, aon_workbook *workbook, aon_archive *archive, aon_error *error) AON_MUST_USE;
#endif
