/* Prints what the reader sees in a workbook, one JSON object a line, or the refusal. For people who develop the reader, and for measuring:
 * with -q it only counts. */
#include <stdio.h>
#include <string.h>

#include "sheet/rows_json.h"

static aon_result dump_sheet(aon_workbook *workbook, size_t sheet, bool quiet, aon_buffer *line, uint64_t *cells, aon_error *error) {
  aon_rows *rows;
  const aon_row *row;
  aon_result result = aon_rows_open(workbook, sheet, &rows, error);
  if (result)
    return result;
  while (!(result = aon_rows_next(rows, &row, error))) {
    *cells += row->count;
    if (quiet)
      continue;
    aon_buffer_clear(line);
    result = aon_row_to_json(aon_workbook_sheet_name(workbook, sheet), aon_workbook_sheet_state(workbook, sheet), row, line, error);
    if (result)
      break;
    puts(line->data);
  }
  aon_rows_close(rows);
  return result == AON_END ? AON_OK : result;
}

int main(int argc, char **argv) {
  bool quiet = argc == 3 && !strcmp(argv[1], "-q");
  if (argc != 2 + quiet) {
    fprintf(stderr, "usage: sheet_dump [-q] FILE\n");
    return 1;
  }
  aon_env *env = NULL;
  aon_workbook *workbook = NULL;
  aon_error error = AON_ERROR_INIT;
  AON_BUFFER_CLEANUP aon_buffer line = {0};
  uint64_t cells = 0;
  aon_result result = aon_env_open(AON_LOG_WARNING, 0, 0, &env, &error);
  if (!result)
    result = aon_workbook_open(env, argv[argc - 1], NULL, &workbook, &error);
  for (size_t i = 0; !result && i < aon_workbook_sheets(workbook); i++)
    result = dump_sheet(workbook, i, quiet, &line, &cells, &error);
  if (quiet && !result)
    printf("%llu cells\n", (unsigned long long)cells);
  if (result)
    fprintf(stderr, "%s %s: %s\n", aon_result_name(result), error.code, error.sentence);
  aon_workbook_close(workbook);
  aon_env_close(env);
  return result ? 2 : 0;
}
