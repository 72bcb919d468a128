/* The report: the uploaded workbook as it was, with every faulty cell marked and a first sheet that lists the errors.
 *
 * It adds to the parts of the original package and rewrites only those it must; everything else is copied as bytes. For csv input it
 * makes a workbook of its own from the rows. It never writes to the input; the output is written aside and renamed. */
#ifndef AON_SHEET_REPORT_H
#define AON_SHEET_REPORT_H

#include "aon/operation.h"
#include "sheet/workbook.h"

#define AON_REPORT_SHEET "Allornone errors"

/* problems: errors and warnings, sorted or not; more: how many errors were not kept. */
aon_result aon_report_write(aon_env *env, const char *input, const char *output, const aon_workbook_limits *limits,
                            const aon_problem *errors, size_t error_count, const aon_problem *warnings, size_t warning_count, uint64_t more,
                            aon_error *error) AON_MUST_USE;
#endif
