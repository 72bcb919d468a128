/* Writing a report: beside the output first, then renamed, so that a reader never sees half of one.
 *
 * An upload that can't be read has no cells to mark: its report is the sheet of errors alone. So is that of one whose content types are
 * damaged, since no program would open it. Damage to a sheet's relationships, comments or drawing costs these and no marks. The input is
 * never the output, under whatever name. */
#include "sheet/report.h"

#include <string.h>

#include "base/buffer.h"
#include "sheet/report_workbook.h"

static aon_result refuse_same(aon_env *env, const char *input, const char *output, aon_error *error) {
  aon_file_info in, out;
  aon_result result = env->ops->file_info(env->context, input, &in, error);
  if (!result)
    result = env->ops->file_info(env->context, output, &out, error);
  if (result)
    return result;
  bool same = in.exists && out.exists && in.file_number && in.file_number == out.file_number && in.device_number == out.device_number;
  if (same || !strcmp(input, output))
    return aon_fail(error, AON_USAGE, "same_file", "The report can't be written to “%s”: that is the input itself. Give another name.",
                    output);
  return AON_OK;
}

static aon_result write_content(const aon_report *report, aon_workbook *workbook, const char *input, aon_archive *archive,
                                aon_error *error) {
  aon_result result = workbook && aon_workbook_is_xlsx(workbook) ? aon_report_mark(report, input, archive, error)
                                                                 : aon_report_make(report, workbook, archive, error);
  return result ? result : aon_archive_finish(archive, error);
}

static aon_result write_aside(const aon_report *report, aon_workbook *workbook, const char *input, const char *aside, aon_error *error) {
  aon_archive *archive = NULL;
  aon_result result = aon_archive_open(report->env, aside, &archive, error);
  if (!result)
    result = write_content(report, workbook, input, archive, error);
  aon_archive_close(archive);
  return result;
}

/* With its rows where they can be read, else without. */
static aon_result write_any(const aon_report *report, const char *input, const char *aside, aon_error *error) {
  aon_workbook *workbook = NULL;
  aon_result result = aon_workbook_open(report->env, input, report->limits, &workbook, error);
  if (!result)
    result = write_aside(report, workbook, input, aside, error);
  aon_workbook_close(workbook);
  return result == AON_REJECTED ? write_aside(report, NULL, input, aside, error) : result;
}

aon_result aon_report_write(aon_env *env, const char *input, const char *output, const aon_workbook_limits *limits,
                            const aon_problem *errors, size_t error_count, const aon_problem *warnings, size_t warning_count, uint64_t more,
                            aon_error *error) {
  aon_report report = {.env = env,
                       .limits = limits,
                       .errors = errors,
                       .error_count = error_count,
                       .warnings = warnings,
                       .warning_count = warning_count,
                       .more = more};
  AON_BUFFER_CLEANUP aon_buffer aside = {0};
  aon_result result = aon_buffer_format(&aside, error, "%s.part", output);
  if (!result)
    result = refuse_same(env, input, output, error);
  if (!result)
    result = refuse_same(env, input, aside.data, error);
  if (result)
    return result;
  result = write_any(&report, input, aside.data, error);
  if (!result)
    result = env->ops->file_rename(env->context, aside.data, output, error);
  if (result && env->ops->file_remove(env->context, aside.data, NULL))
    aon_log(env, AON_LOG_WARNING, "“%s” is left behind: it can't be removed.", aside.data);
  return result;
}
