/* Makes the man pages and the shell completions from the table of commands: aon-manual FOLDER writes aon.1, aon-COMMAND.1,
 * aon.bash, _aon (zsh) and aon.fish there. It is run by the build and not installed. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static FILE *create(const char *folder, const char *name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *out = fopen(path, "we");
  if (!out) {
    perror(path);
    exit(1);
  }
  return out;
}

static void close_checked(FILE *out) {
  if (fclose(out)) {
    perror("aon-manual");
    exit(1);
  }
}

/* Text for roff: a backslash, a dash and a leading dot mean something there. */
static void roff(FILE *out, const char *text, size_t length) {
  bool at_start = true;
  for (size_t i = 0; i < length; i++) {
    if (at_start && (text[i] == '.' || text[i] == '\''))
      fputs("\\&", out);
    if (text[i] == '\\')
      fputs("\\e", out);
    else if (text[i] == '-')
      fputs("\\-", out);
    else
      fputc(text[i], out);
    at_start = text[i] == '\n';
  }
}

static void roff_text(FILE *out, const char *text) { roff(out, text, strlen(text)); }

static void paragraphs(FILE *out, const char *text) {
  while (*text) {
    size_t length = strcspn(text, "\n");
    if (length) {
      fputs(".PP\n", out);
      roff(out, text, length);
      fputc('\n', out);
    }
    text += length + (text[length] == '\n');
  }
}

static void page_name(const cli_command *command, char name[64]) {
  snprintf(name, 64, "aon-%s", command->name);
  for (char *c = name; *c; c++)
    if (*c == ' ')
      *c = '-';
}

static void head(FILE *out, const char *name, const char *summary) {
  fprintf(out, ".TH \"%s\" 1 \"\" \"Allornone %s\" \"Allornone\"\n.SH NAME\n", name, AON_VERSION);
  roff_text(out, name);
  fputs(" \\- ", out);
  roff_text(out, summary);
  fputc('\n', out);
}

static void option_entry(FILE *out, int option) {
  const cli_option_info *info = &cli_options[option];
  fputs(".TP\n", out);
  if (info->letter)
    fprintf(out, "\\fB\\-%c\\fR, ", info->letter);
  fputs("\\fB\\-\\-", out);
  roff_text(out, info->name);
  fputs("\\fR", out);
  if (info->argument) {
    fputs(" \\fI", out);
    roff_text(out, info->argument);
    fputs("\\fR", out);
  }
  fputc('\n', out);
  roff_text(out, info->help);
  fputc('\n', out);
}

static void lines_as_text(FILE *out, const char *title, const char *text) {
  fprintf(out, ".SH %s\n.nf\n", title);
  roff_text(out, text);
  fputs(".fi\n", out);
}

static void command_page(const char *folder, const cli_command *command) {
  char name[64], file[80];
  page_name(command, name);
  snprintf(file, sizeof file, "%s.1", name);
  FILE *out = create(folder, file);
  head(out, name, command->summary);
  fputs(".SH SYNOPSIS\n\\fBaon ", out);
  roff_text(out, command->name);
  fputs("\\fR [\\fIOPTION\\fR]... ", out);
  roff_text(out, command->arguments);
  fputs("\n.SH DESCRIPTION\n", out);
  roff_text(out, command->summary);
  fputs(".\n", out);
  paragraphs(out, command->text);
  fputs(".SH OPTIONS\n", out);
  for (int i = OPT_VERSION + 1; i < OPT_COUNT; i++)
    if ((command->options >> i) & 1)
      option_entry(out, i);
  for (int i = 0; i < OPT_VERSION; i++)
    option_entry(out, i);
  lines_as_text(out, "EXAMPLES", command->examples);
  lines_as_text(out, "EXIT STATUS", cli_exit_statuses);
  fputs(".SH SEE ALSO\n\\fBaon\\fR(1)\n", out);
  close_checked(out);
}

static void main_page(const char *folder) {
  FILE *out = create(folder, "aon.1");
  head(out, "aon", "bulk changes across several databases that happen wholly or not at all");
  fputs(".SH SYNOPSIS\n\\fBaon\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]...\n.SH COMMANDS\n", out);
  for (const cli_command *command = cli_commands; command->name; command++) {
    char name[64];
    page_name(command, name);
    fputs(".TP\n\\fB", out);
    roff_text(out, name);
    fputs("\\fR(1)\n", out);
    roff_text(out, command->summary);
    fputc('\n', out);
  }
  lines_as_text(out, "EXIT STATUS", cli_exit_statuses);
  lines_as_text(out, "ENVIRONMENT", cli_environment);
  fputs(
      ".SH FILES\n.TP\n\\fIaon.yaml\\fR\nThe configuration, in the working directory.\n.TP\n\\fIaon\\-data/\\fR\nThe data folder: journal.db, journal.key and the "
      "embedded stores.\n",
      out);
  close_checked(out);
}

static void bash(const char *folder) {
  FILE *out = create(folder, "aon.bash");
  fputs(
      "_aon() {\n  local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} words=\n  case $command in pack|journal) command=\"$command "
      "${COMP_WORDS[2]}\";; esac\n  case $command in\n",
      out);
  for (const cli_command *command = cli_commands; command->name; command++) {
    fprintf(out, "    '%s') words='", command->name);
    for (int i = 0; i < OPT_COUNT; i++)
      if (i <= OPT_HELP || ((command->options >> i) & 1))
        fprintf(out, "--%s ", cli_options[i].name);
    fputs("';;\n", out);
  }
  fputs("  esac\n  if [ \"$COMP_CWORD\" = 1 ]; then words='", out);
  char last[64] = "";
  for (const cli_command *command = cli_commands; command->name; command++) {
    char first[64];
    snprintf(first, sizeof first, "%.*s", (int)strcspn(command->name, " "), command->name);
    if (strcmp(first, last))
      fprintf(out, "%s ", first);
    memcpy(last, first, sizeof last);
  }
  fputs("'; fi\n  if [ \"$COMP_CWORD\" = 2 ] && [ \"${COMP_WORDS[1]}\" = pack ]; then words='list check show template'; fi\n"
        "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\ncomplete -o default -F _aon aon\n",
        out);
  close_checked(out);
}

static void quoted(FILE *out, const char *text) {
  for (; *text; text++)
    if (*text == '\'')
      fputs("'\\''", out);
    else if (*text == '[' || *text == ']' || *text == ':')
      fprintf(out, "\\%c", *text);
    else
      fputc(*text, out);
}

static void zsh(const char *folder) {
  FILE *out = create(folder, "_aon");
  fputs("#compdef aon\nlocal -a commands\ncommands=(\n", out);
  for (const cli_command *command = cli_commands; command->name; command++) {
    if (strchr(command->name, ' '))
      continue;
    fprintf(out, "  '%s:", command->name);
    quoted(out, command->summary);
    fputs("'\n", out);
  }
  fputs(
      "  'pack:Packs\\: list, check, show, template'\n  'journal:The journal\\: rotate-key'\n)\nif (( CURRENT == 2 )); then _describe command commands; return; fi\ncase "
      "$words[2] in\n",
      out);
  for (const cli_command *command = cli_commands; command->name; command++) {
    if (strchr(command->name, ' '))
      continue;
    fprintf(out, "  %s) _arguments ", command->name);
    for (int i = 0; i < OPT_COUNT; i++)
      if (i <= OPT_HELP || ((command->options >> i) & 1)) {
        fprintf(out, "'--%s[", cli_options[i].name);
        quoted(out, cli_options[i].help);
        fprintf(out, "]%s' ", cli_options[i].argument ? ":value:_files" : "");
      }
    fputs("'*:file:_files';;\n", out);
  }
  fputs("  pack) (( CURRENT == 3 )) && _values command list check show template || _files;;\nesac\n", out);
  close_checked(out);
}

static void fish_text(FILE *out, const char *text) {
  for (; *text; text++) {
    if (*text == '\'' || *text == '\\')
      fputc('\\', out);
    fputc(*text, out);
  }
}

static void fish(const char *folder) {
  FILE *out = create(folder, "aon.fish");
  for (const cli_command *command = cli_commands; command->name; command++) {
    char first[64];
    snprintf(first, sizeof first, "%.*s", (int)strcspn(command->name, " "), command->name);
    const char *second = strchr(command->name, ' ');
    if (second)
      fprintf(out, "complete -c aon -n '__fish_seen_subcommand_from %s' -a '%s' -d '", first, second + 1);
    else
      fprintf(out, "complete -c aon -n __fish_use_subcommand -a '%s' -d '", first);
    fish_text(out, command->summary);
    fputs("'\n", out);
    for (int i = 0; i < OPT_COUNT; i++)
      if (i <= OPT_HELP || ((command->options >> i) & 1)) {
        fprintf(out, "complete -c aon -n '__fish_seen_subcommand_from %s' -l %s%s -d '", first, cli_options[i].name,
                cli_options[i].argument ? " -r" : "");
        fish_text(out, cli_options[i].help);
        fputs("'\n", out);
      }
  }
  close_checked(out);
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "Usage: aon-manual FOLDER\n");
    return 1;
  }
  main_page(argv[1]);
  for (const cli_command *command = cli_commands; command->name; command++)
    command_page(argv[1], command);
  bash(argv[1]);
  zsh(argv[1]);
  fish(argv[1]);
  return 0;
}
