/* Reads the first sheet of a workbook by the reader that uploads go through, touches every cell, and prints what it saw as one JSON object:
 * the other readers print the same, so that nobody is fast by leaving something out. */
#include <stdio.h>

#include "sheet/workbook.h"

typedef struct seen {
  unsigned long long cells, numbers, texts, letters, dates, booleans;
  double sum;
} seen;

static void touch(const aon_cell *cell, seen *all) {
  all->cells++;
  switch (cell->type) {
  case AON_CELL_NUMBER:
    all->numbers++;
    all->sum += cell->number;
    break;
  case AON_CELL_TEXT:
    all->texts++;
    for (size_t i = 0; i < cell->text.length; i++)
      all->letters += (cell->text.data[i] & 0xc0) != 0x80; /* not inside a character of UTF-8 */
    break;
  case AON_CELL_DATE:
    all->dates++;
    break;
  case AON_CELL_BOOLEAN:
    all->booleans++;
    break;
  default:
    break;
  }
}

static aon_result read_first(aon_env *env, const char *path, seen *all, aon_error *error) {
  aon_workbook *workbook;
  aon_rows *rows;
  aon_result result = aon_workbook_open(env, path, NULL, &workbook, error);
  if (result)
    return result;
  result = aon_rows_open(workbook, 0, &rows, error);
  if (!result) {
    const aon_row *row;
    while (!(result = aon_rows_next(rows, &row, error)))
      for (size_t i = 0; i < row->count; i++)
        touch(&row->cells[i], all);
    aon_rows_close(rows);
  }
  aon_workbook_close(workbook);
  return result == AON_END ? AON_OK : result;
}

int main(int argc, char **argv) {
  aon_error error = AON_ERROR_INIT;
  aon_env *env;
  if (argc != 2 || aon_env_open(AON_LOG_WARNING, 0, 0, &env, &error)) {
    fprintf(stderr, "usage: read_sheet WORKBOOK\n");
    return 1;
  }
  seen all = {0};
  aon_result result = read_first(env, argv[1], &all, &error);
  aon_env_close(env);
  if (result) {
    fprintf(stderr, "read_sheet: %s\n", error.sentence);
    return 1;
  }
  printf("{\"cells\":%llu,\"numbers\":%llu,\"sum\":%.6f,\"texts\":%llu,\"letters\":%llu,\"dates\":%llu,\"booleans\":%llu}\n", all.cells,
         all.numbers, all.sum, all.texts, all.letters, all.dates, all.booleans);
  return 0;
}
