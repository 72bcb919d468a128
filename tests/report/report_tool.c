/* Writes a report of problems that a file of lines names: what the scripts of this folder check with other programs.
 * report_tool INPUT OUTPUT PROBLEMS [MORE]; a line: E or W, sheet, row, column, heading, value, code, sentence, by tabs; "-" is none;
 * \n, \t and \xHH stand for themselves. Prints the error's code and sentence, ends with the result.
 * report_tool --template OUTPUT writes a small template. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "sheet/report.h"
#include "sheet/template.h"

#define FIELDS 8

typedef struct problems {
  aon_problem *items;
  size_t count;
} problems;

static char *unescape(char *text) {
  char *to = text;
  for (char *at = text; *at; to++) {
    if (*at != '\\') {
      *to = *at++;
    } else if (at[1] == 'x') {
      char hex[3] = {at[2], at[3], 0};
      *to = (char)strtoul(hex, NULL, 16);
      at += 4;
    } else {
      *to = at[1] == 'n' ? '\n' : '\t';
      at += 2;
    }
  }
  *to = 0;
  return text;
}

static void line_read(char *line, aon_arena *arena, problems kinds[2]) {
  char *fields[FIELDS] = {0};
  line[strcspn(line, "\n")] = 0;
  for (int i = 0; i < FIELDS; i++) {
    char *field = strsep(&line, "\t");
    if (!field)
      return;
    fields[i] = strcmp(field, "-") ? unescape(aon_arena_text(arena, field, strlen(field))) : NULL;
  }
  problems *into = &kinds[fields[0][0] == 'W'];
  into->items = realloc(into->items, (into->count + 1) * sizeof *into->items);
  into->items[into->count++] = (aon_problem){.severity = fields[0][0] == 'W' ? AON_PROBLEM_WARNING : AON_PROBLEM_ERROR,
                                             .sheet = fields[1],
                                             .row = fields[2] ? (uint32_t)atoi(fields[2]) : 0,
                                             .column = fields[3] ? (uint32_t)atoi(fields[3]) : 0,
                                             .heading = fields[4],
                                             .value = fields[5],
                                             .code = fields[6],
                                             .sentence = fields[7]};
}

static aon_result template_make(aon_env *env, const char *output, aon_error *error) {
  static const char *const words[] = {"once", "daily", NULL}, *const commas[] = {"a, b", "c", NULL};
  static const aon_template_column columns[] = {{"Name*", "What it is called.", "Ann", 's', NULL, false},
                                                {"Type", NULL, "once", 's', words, false},
                                                {"Other", NULL, "c", 's', commas, false},
                                                {"Phone", NULL, "007", 's', NULL, true},
                                                {"Start Date*", NULL, "2028-02-29", 'd', NULL, false}};
  static const aon_template_sheet sheet = {"Users", "One row is one user.", columns, sizeof columns / sizeof *columns};
  return aon_template_write(env, output, &sheet, 1, error);
}

int main(int count, char **arguments) {
  if (count < 3 || (count < 4 && strcmp(arguments[1], "--template")))
    return 99;
  aon_env *env = NULL;
  aon_error error = AON_ERROR_INIT;
  if (aon_env_open(AON_LOG_WARNING, 0, 0, &env, &error))
    return 98;
  if (!strcmp(arguments[1], "--template")) {
    aon_result made = template_make(env, arguments[2], &error);
    aon_env_close(env);
    return (int)made;
  }
  FILE *file = fopen(arguments[3], "r");
  if (!file)
    return 97;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  problems kinds[2] = {0};
  char *line = NULL;
  size_t size = 0;
  while (getline(&line, &size, file) > 0)
    line_read(line, &arena, kinds);
  fclose(file);
  free(line);
  uint64_t more = count > 4 ? strtoull(arguments[4], NULL, 10) : 0;
  aon_result result =
      aon_report_write(env, arguments[1], arguments[2], NULL, kinds[0].items, kinds[0].count, kinds[1].items, kinds[1].count, more, &error);
  if (result)
    printf("%s: %s\n", error.code, error.sentence);
  free(kinds[0].items);
  free(kinds[1].items);
  aon_env_close(env);
  return (int)result;
}
