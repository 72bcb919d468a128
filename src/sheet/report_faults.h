/* The faulty cells of a workbook: problems sorted by sheet, row and column, those of one cell together. */
#ifndef AON_SHEET_REPORT_FAULTS_H
#define AON_SHEET_REPORT_FAULTS_H

#include "aon/operation.h"
#include "base/arena.h"

#define AON_FAULT_ROWS 1048576u /* a cell beyond is listed, but no spreadsheet has a place for it */
#define AON_FAULT_COLUMNS 16384u
#define AON_FAULT_REFERENCE 16 /* "XFD1048576" and its end */

typedef struct aon_fault { /* one faulty cell */
  uint32_t row, column;    /* from 1 */
  const aon_problem *const *problems;
  size_t count;
  bool placed; /* its mark is written */
  bool noted;  /* somebody else's comment stands on the cell, and ours is added to it */
} aon_fault;

typedef struct aon_faults { /* of one sheet, ascending by row and column */
  aon_fault *items;
  size_t count;
} aon_faults;

typedef struct aon_fault_book aon_fault_book;

/* The problems are borrowed; the book lives as long as the arena. */
aon_result aon_fault_book_make(aon_arena *arena, const aon_problem *problems, size_t count, aon_fault_book **ret_book,
                               aon_error *error) AON_MUST_USE;
/* Once for each sheet, with the name that the reader gives it. */
aon_result aon_fault_book_sheet(aon_fault_book *book, aon_arena *arena, const char *sheet, aon_faults *ret_faults,
                                aon_error *error) AON_MUST_USE;

size_t aon_faults_from(const aon_faults *faults, uint32_t row, uint32_t column); /* index of the first at or behind that cell */
bool aon_problem_on_cell(const aon_problem *problem);
void aon_cell_reference(uint32_t row, uint32_t column, char text[AON_FAULT_REFERENCE]);
/* "B7" to row and column; a missing half is 0; false if it is neither. Dollars are allowed. */
bool aon_cell_parse(aon_text text, uint32_t *ret_row, uint32_t *ret_column);
#endif
