/* Findings wait in the stage, so that a cell has one only, the first, and they come out in the order of the sheet however the checks
 * ran. */
#include "pack/job.h"

#include <string.h>

static aon_text text_of(const char *text) { return text ? (aon_text){text, strlen(text)} : (aon_text){0}; }

aon_result aon_finding_add(aon_pack_job *job, const aon_finding *f, aon_error *error) {
  job->waiting_findings |= f->phase == AON_FOUND_IF_CREATED;
  return aon_stage_run(job, error,
                       "insert or ignore into finding(place, row, col, severity, sub, phase, sheet, heading, value, code, sentence)"
                       " values(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                       "iiiiiittttt", (int64_t)f->place, (int64_t)f->row, (int64_t)f->column, (int64_t)f->severity, (int64_t)f->sub,
                       (int64_t)f->phase, text_of(f->sheet), text_of(f->heading), text_of(f->value), text_of(f->code),
                       text_of(f->sentence));
}

const char *aon_cell_name(aon_pack_job *job, const aon_schema_sheet *sheet, const aon_schema_column *column, uint32_t row,
                          aon_arena *arena) {
  const aon_job_sheet *in_file = &job->sheets[sheet->index];
  uint32_t number = in_file->columns[column->index];
  if (!number)
    return aon_arena_format(arena, "“%s”", column->heading);
  char letters[8];
  aon_column_name(number, letters);
  return aon_arena_format(arena, "%s!%s%u", in_file->name, letters, row);
}

aon_result aon_finding_cell(aon_pack_job *job, int phase, aon_severity severity, const aon_schema_sheet *sheet,
                            const aon_schema_column *column, uint32_t row, const char *value, const char *code, const char *sentence,
                            aon_error *error) {
  const aon_job_sheet *in_file = &job->sheets[sheet->index];
  uint32_t number = in_file->columns[column->index];
  char letters[8];
  aon_column_name(number ? number : 1, letters);
  aon_buffer text AON_BUFFER_CLEANUP = {0};
  aon_result result = aon_buffer_format(&text, error, "%s!%s%u: %s", in_file->name, letters, row, sentence);
  if (result)
    return result;
  aon_finding finding = {.phase = phase,
                         .severity = severity,
                         .place = in_file->place,
                         .sub = phase == AON_FOUND_IF_CREATED,
                         .sheet = in_file->name,
                         .row = row,
                         .column = number ? number : 1,
                         .heading = number ? in_file->headings[column->index] : column->heading,
                         .value = column->field.sensitive ? NULL : value,
                         .code = code,
                         .sentence = text.data};
  return aon_finding_add(job, &finding, error);
}

aon_result aon_finding_settle(aon_pack_job *job, const aon_schema_sheet *sheet, uint32_t row, bool created, aon_error *error) {
  if (created && job->waiting_findings)
    return aon_stage_run(
        job, error,
        "insert or ignore into finding select place, row, col, severity, 0, 1, sheet, heading, value, code, sentence from finding"
        " where place = ?1 and row = ?2 and phase = 2",
        "ii", (int64_t)job->sheets[sheet->index].place, (int64_t)row);
  return AON_OK;
}

static aon_result report(aon_pack_job *job, sqlite3_stmt *statement, aon_error *error) {
  const char *texts[5];
  for (int i = 0; i < 5; i++)
    texts[i] = (const char *)sqlite3_column_text(statement, 3 + i);
  aon_problem problem = {.severity = (aon_severity)sqlite3_column_int(statement, 2),
                         .row = (uint32_t)sqlite3_column_int64(statement, 0),
                         .column = (uint32_t)sqlite3_column_int64(statement, 1),
                         .sheet = texts[0],
                         .heading = texts[1],
                         .value = texts[2],
                         .code = texts[3],
                         .sentence = texts[4]};
  return aon_problems_add(job->input->problems, &problem, error);
}

static uint64_t all_problems(const aon_problems *problems) { return problems->error_count + problems->warning_count; }

/* Validation hands over all again in one order. Where the list isn't ours alone, only what is new is added. */
static int first_phase(aon_pack_job *job) {
  uint64_t there = all_problems(job->input->problems);
  if (!job->parsing_reported || !there)
    return AON_FOUND_PARSING;
  if (there != job->reported)
    return AON_FOUND_VALIDATING;
  aon_problems_clear(job->input->problems);
  return AON_FOUND_PARSING;
}

aon_result aon_findings_report(aon_pack_job *job, aon_error *error) {
  sqlite3_stmt *statement AON_SQLITE_DONE = NULL;
  aon_result result =
      aon_stage_query(job, &statement, error,
                      "select row, col, severity, sheet, heading, value, code, sentence from finding where phase between ?1 and 1"
                      " order by place, row, col, severity, sub",
                      "i", (int64_t)first_phase(job));
  while (!result && !(result = aon_sqlite_step(job->stage, statement, error)))
    result = report(job, statement, error);
  job->reported = all_problems(job->input->problems);
  job->parsing_reported = true;
  return result == AON_END ? AON_OK : result;
}
