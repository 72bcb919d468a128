/* The list of problems. Invariant: see problems.h. */
#include "model/problems.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "model/document.h"
#include "model/text.h"

/* Texts that repeat from problem to problem (sheet, heading, store) are shared with the one before. */
static bool keep_text(aon_problems *problems, const char *text, const char *last, const char **ret_text) {
  *ret_text = text && last && strcmp(text, last) == 0 ? last : text ? aon_arena_text(&problems->arena, text, strlen(text)) : NULL;
  return !text || *ret_text;
}

/* A sentence quotes what is wrong, cut where it is long; it goes out as JSON. */
static bool keep_sentence(aon_problems *problems, const char *text, const char **ret_text) {
  char *copy = text ? aon_arena_text(&problems->arena, text, strlen(text)) : NULL;
  if (copy)
    utf8_mend(copy, true);
  *ret_text = copy;
  return !text || copy;
}

static bool keep_problem(aon_problems *problems, const aon_problem *problem, const aon_problem *last, aon_problem *ret_kept) {
  static const aon_problem none = {0};
  if (!last)
    last = &none;
  *ret_kept = *problem;
  return keep_text(problems, problem->sheet, last->sheet, &ret_kept->sheet) &&
         keep_text(problems, problem->heading, last->heading, &ret_kept->heading) &&
         keep_text(problems, problem->value, last->value, &ret_kept->value) &&
         keep_text(problems, problem->store, last->store, &ret_kept->store) &&
         keep_text(problems, problem->collection, last->collection, &ret_kept->collection) &&
         keep_text(problems, problem->document_id, last->document_id, &ret_kept->document_id) &&
         keep_text(problems, problem->code, last->code, &ret_kept->code) && keep_sentence(problems, problem->sentence, &ret_kept->sentence);
}

static bool grow(aon_problem **list, size_t *capacity, size_t kept) {
  if (kept < *capacity)
    return true;
  size_t more = *capacity ? *capacity * 2 : 32;
  aon_problem *grown = realloc(*list, more * sizeof **list);
  if (!grown)
    return false;
  *list = grown;
  *capacity = more;
  return true;
}

aon_result aon_problems_add(aon_problems *problems, const aon_problem *problem, aon_error *error) {
  bool warning = problem->severity == AON_PROBLEM_WARNING;
  aon_problem **list = warning ? &problems->warnings : &problems->errors;
  size_t *kept = warning ? &problems->warnings_kept : &problems->errors_kept;
  size_t *capacity = warning ? &problems->warnings_capacity : &problems->errors_capacity;
  if (*kept < (problems->limit ? problems->limit : AON_PROBLEMS_KEPT)) {
    if (!grow(list, capacity, *kept) || !keep_problem(problems, problem, *kept ? &(*list)[*kept - 1] : NULL, &(*list)[*kept]))
      return aon_fail_memory(error);
    ++*kept;
  }
  ++*(warning ? &problems->warning_count : &problems->error_count);
  return AON_OK;
}

typedef struct ranked { /* rank: number of the first error of the same sheet */
  aon_problem problem;
  size_t index, rank;
} ranked;

static int compare_sheets(const void *left, const void *right) {
  const ranked *a = left, *b = right;
  const char *x = a->problem.sheet, *y = b->problem.sheet;
  int order = x && y ? strcmp(x, y) : (x != NULL) - (y != NULL);
  return order ? order : a->index < b->index ? -1 : a->index > b->index;
}

static int compare_numbers(uint64_t a, uint64_t b) { return a < b ? -1 : a > b; }

static int compare_ranked(const void *left, const void *right) {
  const ranked *a = left, *b = right;
  int order = compare_numbers(a->rank, b->rank);
  if (!order)
    order = compare_numbers(a->problem.line, b->problem.line);
  if (!order)
    order = compare_numbers(a->problem.row, b->problem.row);
  if (!order)
    order = compare_numbers(a->problem.column, b->problem.column);
  return order ? order : compare_numbers(a->index, b->index);
}

/* Without memory for it they stay in the order they came, which is no failure. */
void aon_problems_sort(aon_problems *problems) {
  size_t count = problems->errors_kept;
  ranked *all = count > 1 ? malloc(count * sizeof *all) : NULL;
  if (!all)
    return;
  for (size_t i = 0; i < count; i++)
    all[i] = (ranked){.problem = problems->errors[i], .index = i};
  qsort(all, count, sizeof *all, compare_sheets);
  for (size_t i = 0; i < count; i++) {
    const char *sheet = all[i].problem.sheet, *last = i ? all[i - 1].problem.sheet : NULL;
    bool same = i && (sheet && last ? strcmp(sheet, last) == 0 : sheet == last);
    all[i].rank = same ? all[i - 1].rank : all[i].index;
  }
  qsort(all, count, sizeof *all, compare_ranked);
  for (size_t i = 0; i < count; i++)
    problems->errors[i] = all[i].problem;
  free(all);
}

void aon_problems_clear(aon_problems *problems) {
  aon_arena_reset(&problems->arena);
  problems->errors_kept = problems->warnings_kept = 0;
  problems->error_count = problems->warning_count = 0;
}

void aon_problems_release(aon_problems *problems) {
  aon_arena_release(&problems->arena);
  free(problems->errors);
  free(problems->warnings);
  *problems = (aon_problems){.limit = problems->limit};
}

static aon_result write_member(const char *key, const char *text, aon_buffer *out, aon_error *error) {
  aon_result result = aon_buffer_format(out, error, "%s\"%s\":", out->data[out->length - 1] == '{' ? "" : ",", key);
  if (result)
    return result;
  return text ? aon_text_to_json(text, strlen(text), out, error) : aon_buffer_append(out, "null", 4, error);
}

static aon_result write_of_line(const aon_problem *problem, aon_buffer *out, aon_error *error) {
  aon_result result = aon_buffer_format(out, error, "\"line\":%llu", (unsigned long long)problem->line);
  if (result || (result = write_member("store", problem->store, out, error)) ||
      (result = write_member("collection", problem->collection, out, error)))
    return result;
  return write_member("documentId", problem->document_id, out, error);
}

static aon_result write_of_cell(const aon_problem *problem, aon_buffer *out, aon_error *error) {
  char column[8], cell[24];
  aon_column_name(problem->column, column);
  snprintf(cell, sizeof cell, "%s%u", column, problem->row);
  aon_result result = write_member("sheet", problem->sheet, out, error);
  if (result || (result = write_member("cell", problem->row && problem->column ? cell : NULL, out, error)) ||
      (result = write_member("heading", problem->heading, out, error)))
    return result;
  if ((result = write_member("value", problem->value, out, error)) || !problem->document_id)
    return result;
  if ((result = write_member("store", problem->store, out, error)) ||
      (result = write_member("collection", problem->collection, out, error)))
    return result;
  return write_member("documentId", problem->document_id, out, error);
}

aon_result aon_problem_to_json(const aon_problem *problem, aon_buffer *out, aon_error *error) {
  aon_result result = aon_buffer_append(out, "{", 1, error);
  if (!result)
    result = problem->line ? write_of_line(problem, out, error) : write_of_cell(problem, out, error);
  if (result || (result = write_member("code", problem->code, out, error)) ||
      (result = write_member("message", problem->sentence, out, error)))
    return result;
  return aon_buffer_append(out, "}", 1, error);
}
