/* --help, from the table. */
#include <string.h>

#include "cli/cli.h"

static void wrapped(FILE *out, const char *text, size_t indent, size_t width) {
  size_t column = indent;
  for (const char *at = text; *at;) {
    if (*at == '\n') {
      fprintf(out, "\n%*s", (int)indent, "");
      column = indent;
      at++;
      continue;
    }
    size_t length = strcspn(at, " \n");
    if (column > indent && column + 1 + length > width) {
      fprintf(out, "\n%*s", (int)indent, "");
      column = indent;
    } else if (column > indent) {
      fputc(' ', out);
      column++;
    }
    fprintf(out, "%.*s", (int)length, at);
    column += length;
    at += length;
    if (*at == ' ')
      at++;
  }
  fputc('\n', out);
}

/* One line of a text, and where the next one starts. */
static const char *print_line(FILE *out, const char *line) {
  size_t length = strcspn(line, "\n");
  fputs("  ", out);
  fwrite(line, 1, length, out);
  fputc('\n', out);
  return line + length + (line[length] == '\n');
}

static void print_option(FILE *out, int option) {
  const cli_option_info *info = &cli_options[option];
  char left[80];
  if (info->letter)
    snprintf(left, sizeof left, "-%c, --%s", info->letter, info->name);
  else
    snprintf(left, sizeof left, "    --%s", info->name);
  if (info->argument) {
    strncat(left, " ", sizeof left - strlen(left) - 1);
    strncat(left, info->argument, sizeof left - strlen(left) - 1);
  }
  fprintf(out, "  %-30s", left);
  if (strlen(left) > 29)
    fprintf(out, "\n%32s", "");
  wrapped(out, info->help, 32, 100);
}

void cli_help_command(FILE *out, const cli_command *command) {
  fprintf(out, "Usage: aon %s [OPTION]...%s%s\n\n", command->name, *command->arguments ? " " : "", command->arguments);
  fprintf(out, "%s.\n", command->summary);
  if (*command->text) {
    fputc('\n', out);
    wrapped(out, command->text, 0, 100);
  }
  fprintf(out, "\nOptions:\n");
  for (int i = OPT_VERSION + 1; i < OPT_COUNT; i++)
    if ((command->options >> i) & 1)
      print_option(out, i);
  for (int i = 0; i < OPT_VERSION; i++)
    print_option(out, i);
  fprintf(out, "\nExamples:\n");
  for (const char *line = command->examples; *line;)
    line = print_line(out, line);
}

void cli_help_overview(FILE *out) {
  fprintf(
      out,
      "aon %s: bulk changes across several databases that happen wholly or not at all.\n\nUsage: aon COMMAND [OPTION]... [ARGUMENT]...\n\nCommands:\n",
      AON_VERSION);
  for (const cli_command *command = cli_commands; command->name; command++)
    fprintf(out, "  %-18s  %s\n", command->name, command->summary);
  fprintf(out, "\naon COMMAND --help explains one, with examples.\n\nExit status:\n");
  for (const char *line = cli_exit_statuses; *line;)
    line = print_line(out, line);
  fprintf(out, "\nEnvironment:\n");
  for (const char *line = cli_environment; *line;)
    line = print_line(out, line);
}
