/* The command line: its words, each up to a zero byte.
 *
 * Properties: it is taken, or over with status 0 (help, version) or 1 (said on standard error); what is taken has as many arguments as its
 * command wants and only options that the command knows, none of them more often than there is room for. A walk over the words, done anew,
 * finds each argument and each value where it was put: nothing is lost, doubled or cut. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "fuzz.h"

#define WORDS_MAX 100

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc;
  (void)argv;
  FILE *out = freopen("/dev/null", "w", stdout); /* help goes there; findings go to standard error, which is left as it is */
  return out == NULL;
}

static bool knows(const cli *c, int option) {
  bool common =
      option == OPT_DATA || option == OPT_CONFIG || option == OPT_USER || option == OPT_JSON || option == OPT_HELP || option == OPT_VERSION;
  return common || c->command->options & OPT_BIT(option);
}

static void check_taken(const cli *c) {
  FUZZ_CHECK(c->argument_count >= c->command->least && c->argument_count <= c->command->most, "%zu arguments of %s", c->argument_count,
             c->command->name);
  for (int i = 0; i < OPT_COUNT; i++) {
    FUZZ_CHECK(!c->value_count[i] || knows(c, i), "%s took --%s", c->command->name, cli_options[i].name);
    FUZZ_CHECK(c->value_count[i] <= CLI_VALUES && !c->values[i][c->value_count[i]], "--%s %zu times", cli_options[i].name,
               c->value_count[i]);
  }
}

static int option_of(const cli *c, const char *word, size_t length) {
  for (int i = 0; i < OPT_COUNT; i++)
    if (knows(c, i) && (word[1] == '-' ? strlen(cli_options[i].name) == length - 2 && !strncmp(word + 2, cli_options[i].name, length - 2)
                                       : cli_options[i].letter && cli_options[i].letter == word[1]))
      return i;
  FUZZ_CHECK(false, "“%s” was taken", word);
}

/* Of words[at] and what follows: the value that it gives its option; how many words it takes. */
static int value_of(const cli *c, char **words, int at, size_t *taken) {
  const char *word = words[at], *equals = word[1] == '-' ? strchr(word, '=') : NULL;
  int option = option_of(c, word, equals ? (size_t)(equals - word) : strlen(word));
  const char *argument = cli_options[option].argument, *kept = c->values[option][taken[option]++], *inside = NULL;
  FUZZ_CHECK(kept, "--%s was given once more", cli_options[option].name);
  if (!argument || (*argument == '[' && !strcmp(c->command->name, "resolve"))) {
    FUZZ_CHECK(!*kept && !equals, "--%s has a value: %s", cli_options[option].name, kept);
    return 1;
  }
  inside = equals ? equals + 1 : word[1] != '-' && word[2] ? word + 2 : NULL;
  FUZZ_CHECK(kept == (inside ? inside : words[at + 1]), "--%s is “%s”", cli_options[option].name, kept);
  return inside ? 1 : 2;
}

static void check_words(const cli *c, int count, char **words) {
  size_t arguments = 0, taken[OPT_COUNT] = {0};
  bool ended = false;
  for (int at = 1 + (strchr(c->command->name, ' ') ? 2 : 1); at < count;) {
    if (!ended && !strcmp(words[at], "--")) {
      ended = true;
      at++;
    } else if (!ended && words[at][0] == '-' && words[at][1]) {
      at += value_of(c, words, at, taken);
    } else {
      FUZZ_CHECK(arguments < c->argument_count && c->arguments[arguments] == words[at], "argument %zu is not “%s”", arguments, words[at]);
      arguments++;
      at++;
    }
  }
  FUZZ_CHECK(arguments == c->argument_count, "%zu arguments, not %zu", c->argument_count, arguments);
  for (int i = 0; i < OPT_COUNT; i++)
    FUZZ_CHECK(taken[i] == c->value_count[i], "--%s %zu times, not %zu", cli_options[i].name, c->value_count[i], taken[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_input input = {data, data + size};
  char *words[WORDS_MAX + 2] = {(char[]){"aon"}};
  int count = 1, status = -1;
  while (fuzz_left(&input) && count < WORDS_MAX)
    words[count++] = fuzz_text(&input, NULL);
  FILE *error = stderr, *nowhere = fopen("/dev/null", "w"); /* sentences are not for the log of a fuzzer */
  cli *c = calloc(1, sizeof *c);
  if (!nowhere || !c)
    abort();
  stderr = nowhere;
  bool taken = cli_parse(c, count, words, &status);
  stderr = error;
  fclose(nowhere);
  if (taken) {
    check_taken(c);
    check_words(c, count, words);
  } else {
    FUZZ_CHECK(status == 0 || status == 1, "status %d", status);
  }
  free(c->arguments);
  free(c);
  for (int i = 1; i < count; i++)
    free(words[i]);
  return 0;
}
