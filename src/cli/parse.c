/* Parsing by the table: GNU style, options anywhere, -- ends them. A command of two words is tried before one of one. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "model/text.h"

#define COMMON (OPT_BIT(OPT_DATA) | OPT_BIT(OPT_CONFIG) | OPT_BIT(OPT_USER) | OPT_BIT(OPT_JSON) | OPT_BIT(OPT_HELP) | OPT_BIT(OPT_VERSION))

static bool usage(const cli *c, int *ret_status, const char *format, const char *text) {
  fprintf(stderr, "aon: ");
  fprintf(stderr, format, text);
  fprintf(stderr, "\nTry: aon%s%s --help\n", c->command ? " " : "", c->command ? c->command->name : "");
  *ret_status = 1;
  return false;
}

static const cli_command *find_command(int argc, char **argv, int *ret_words) {
  const cli_command *found = NULL;
  for (const cli_command *command = cli_commands; command->name; command++) {
    const char *space = strchr(command->name, ' ');
    size_t first = space ? (size_t)(space - command->name) : strlen(command->name);
    if (argc < 1 || strlen(argv[0]) != first || strncmp(argv[0], command->name, first))
      continue;
    if (!space) {
      *ret_words = 1;
      found = command;
    } else if (argc > 1 && !strcmp(argv[1], space + 1)) {
      *ret_words = 2;
      return command;
    }
  }
  return found;
}

static bool unknown_command(int *ret_status, const char *name) {
  const char *nearest = NULL;
  size_t best = 4;
  for (const cli_command *command = cli_commands; command->name; command++) {
    size_t distance = aon_text_distance(name, command->name, 3);
    if (distance < best) {
      best = distance;
      nearest = command->name;
    }
  }
  fprintf(stderr, "aon: “%s” is no command%s%s%s\nTry: aon --help\n", name, nearest ? "; did you mean “" : ".", nearest ? nearest : "",
          nearest ? "”?" : "");
  *ret_status = 1;
  return false;
}

static int find_option(const cli *c, const char *name, size_t length, char letter) {
  for (int i = 0; i < OPT_COUNT; i++) {
    bool allowed = ((c->command->options | COMMON) >> i) & 1;
    if (!allowed)
      continue;
    if (letter ? cli_options[i].letter == letter : strlen(cli_options[i].name) == length && !strncmp(cli_options[i].name, name, length))
      return i;
  }
  return -1;
}

static bool keep(cli *c, int option, const char *value, int *ret_status) {
  if (c->value_count[option] == CLI_VALUES)
    return usage(c, ret_status, "--%s is given too often.", cli_options[option].name);
  bool many = option == OPT_STATE || option == OPT_KEEP_THEIRS || option == OPT_FORCE;
  if (c->value_count[option] && !many && cli_options[option].argument)
    return usage(c, ret_status, "--%s is given twice.", cli_options[option].name);
  c->values[option][c->value_count[option]++] = value;
  return true;
}

/* `resolve` names its document by an argument; elsewhere --keep-theirs and --force take it. */
static bool takes_argument(const cli *c, int option) {
  if (!cli_options[option].argument)
    return false;
  return cli_options[option].argument[0] != '[' || strcmp(c->command->name, "resolve") != 0;
}

static bool one_option(cli *c, int argc, char **argv, int *at, int *ret_status) {
  const char *text = argv[*at];
  bool is_long = text[1] == '-';
  const char *name = text + (is_long ? 2 : 1), *equals = is_long ? strchr(name, '=') : NULL;
  size_t length = equals ? (size_t)(equals - name) : strlen(name);
  int option = find_option(c, name, length, is_long ? 0 : *name);
  if (option < 0)
    return usage(c, ret_status, "“%s” is no option of this command.", text);
  if (!takes_argument(c, option)) {
    if (equals || (!is_long && name[1]))
      return usage(c, ret_status, "“%s” takes no value.", text);
    return keep(c, option, "", ret_status);
  }
  if (equals)
    return keep(c, option, equals + 1, ret_status);
  if (!is_long && name[1])
    return keep(c, option, name + 1, ret_status);
  if (*at + 1 >= argc)
    return usage(c, ret_status, "“%s” needs a value.", text);
  return keep(c, option, argv[++*at], ret_status);
}

static bool help_or_version(cli *c, int argc, char **argv, int *ret_status) {
  const char *first = argc > 1 ? argv[1] : "--help";
  *ret_status = 0;
  if (!strcmp(first, "--version") || !strcmp(first, "version")) {
    printf("aon %s\n", AON_VERSION);
    return true;
  }
  if (strcmp(first, "--help") && strcmp(first, "-h") && strcmp(first, "help"))
    return false;
  int words = 0;
  c->command = argc > 2 ? find_command(argc - 2, argv + 2, &words) : NULL;
  if (c->command)
    cli_help_command(stdout, c->command);
  else
    cli_help_overview(argc > 1 ? stdout : stderr);
  *ret_status = argc > 1 ? 0 : 1;
  return true;
}

bool cli_parse(cli *c, int argc, char **argv, int *ret_status) {
  if (help_or_version(c, argc, argv, ret_status))
    return false;
  int words = 0;
  c->program = argv[0];
  c->command = find_command(argc - 1, argv + 1, &words);
  if (!c->command)
    return unknown_command(ret_status, argv[1]);
  c->arguments = calloc((size_t)argc + 1, sizeof *c->arguments);
  if (!c->arguments)
    return usage(c, ret_status, "no memory%s", "");
  bool only_arguments = false;
  for (int i = 1 + words; i < argc; i++) {
    if (!only_arguments && !strcmp(argv[i], "--")) {
      only_arguments = true;
    } else if (!only_arguments && argv[i][0] == '-' && argv[i][1]) {
      if (!one_option(c, argc, argv, &i, ret_status))
        return false;
    } else {
      c->arguments[c->argument_count++] = argv[i];
    }
  }
  if (cli_given(c, OPT_HELP)) {
    cli_help_command(stdout, c->command);
    *ret_status = 0;
    return false;
  }
  if (cli_given(c, OPT_VERSION)) {
    printf("aon %s\n", AON_VERSION);
    *ret_status = 0;
    return false;
  }
  if (c->argument_count < c->command->least)
    return usage(c, ret_status, "it needs %s.", c->command->arguments);
  if (c->argument_count > c->command->most)
    return usage(c, ret_status, "“%s” is one argument too many.", c->arguments[c->command->most]);
  return true;
}
