/* Faulty cells, sorted once, then handed out sheet by sheet.
 * Invariant: sorted holds only problems that stand on a cell that a spreadsheet can have. */
#include "sheet/report_faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct aon_fault_book {
  const aon_problem **sorted;
  size_t count;
};

bool aon_problem_on_cell(const aon_problem *problem) {
  return problem->sheet && problem->row && problem->column && problem->row <= AON_FAULT_ROWS && problem->column <= AON_FAULT_COLUMNS;
}

static int problem_order(const void *left, const void *right) {
  const aon_problem *a = *(const aon_problem *const *)left, *b = *(const aon_problem *const *)right;
  int names = strcmp(a->sheet, b->sheet);
  if (names)
    return names;
  if (a->row != b->row)
    return a->row < b->row ? -1 : 1;
  if (a->column != b->column)
    return a->column < b->column ? -1 : 1;
  return a < b ? -1 : a > b; /* several of one cell keep their order: they stand in one array */
}

aon_result aon_fault_book_make(aon_arena *arena, const aon_problem *problems, size_t count, aon_fault_book **ret_book, aon_error *error) {
  aon_fault_book *book = aon_arena_alloc(arena, sizeof *book);
  const aon_problem **sorted = aon_arena_alloc(arena, count * sizeof *sorted);
  if (!book || !sorted)
    return aon_fail_memory(error);
  *book = (aon_fault_book){.sorted = sorted};
  for (size_t i = 0; i < count; i++) {
    if (aon_problem_on_cell(&problems[i]))
      sorted[book->count++] = &problems[i];
  }
  qsort(sorted, book->count, sizeof *sorted, problem_order);
  *ret_book = book;
  return AON_OK;
}

/* The first problem whose sheet's name isn't less. */
static size_t first_of(const aon_fault_book *book, const char *sheet) {
  size_t low = 0, high = book->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (strcmp(book->sorted[middle]->sheet, sheet) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

aon_result aon_fault_book_sheet(aon_fault_book *book, aon_arena *arena, const char *sheet, aon_faults *ret_faults, aon_error *error) {
  size_t from = first_of(book, sheet), to = from;
  while (to < book->count && !strcmp(book->sorted[to]->sheet, sheet))
    to++;
  aon_faults faults = {.items = aon_arena_alloc(arena, (to - from) * sizeof *faults.items)};
  if (!faults.items)
    return aon_fail_memory(error);
  for (size_t i = from; i < to; i++) {
    const aon_problem *problem = book->sorted[i];
    aon_fault *last = faults.count ? &faults.items[faults.count - 1] : NULL;
    if (last && last->row == problem->row && last->column == problem->column)
      last->count++;
    else
      faults.items[faults.count++] = (aon_fault){.row = problem->row, .column = problem->column, .problems = &book->sorted[i], .count = 1};
  }
  *ret_faults = faults;
  return AON_OK;
}

size_t aon_faults_from(const aon_faults *faults, uint32_t row, uint32_t column) {
  size_t low = 0, high = faults->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    const aon_fault *fault = &faults->items[middle];
    if (fault->row < row || (fault->row == row && fault->column < column))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

void aon_cell_reference(uint32_t row, uint32_t column, char text[AON_FAULT_REFERENCE]) {
  char letters[4];
  size_t at = sizeof letters;
  for (uint32_t left = column; left && at; left = (left - 1) / 26)
    letters[--at] = (char)('A' + (left - 1) % 26);
  snprintf(text, AON_FAULT_REFERENCE, "%.*s%u", (int)(sizeof letters - at), letters + at, row);
}

bool aon_cell_parse(aon_text text, uint32_t *ret_row, uint32_t *ret_column) {
  uint32_t row = 0, column = 0;
  size_t i = 0;
  for (; i < text.length; i++) {
    char c = text.data[i];
    if (c == '$')
      continue;
    if (c >= 'a' && c <= 'z')
      c = (char)(c - 'a' + 'A');
    if (c < 'A' || c > 'Z')
      break;
    column = column * 26 + (uint32_t)(c - 'A') + 1;
    if (column > AON_FAULT_COLUMNS)
      return false;
  }
  for (; i < text.length; i++) {
    char c = text.data[i];
    if (c == '$')
      continue;
    if (c < '0' || c > '9' || row > AON_FAULT_ROWS)
      return false;
    row = row * 10 + (uint32_t)(c - '0');
  }
  *ret_row = row;
  *ret_column = column;
  return row || column;
}
