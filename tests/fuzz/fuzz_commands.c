/* The command line: its words, each up to a zero byte.
 *
 * Properties: it is taken, or over with status 0 (help, version) or 1 (said on standard error); what is taken has as many arguments as its
 * command wants and only options that the command knows, none of them more often than there is room for. */
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

static void check_taken(const cli *c) {
  FUZZ_CHECK(c->argument_count >= c->command->least && c->argument_count <= c->command->most, "%zu arguments of %s", c->argument_count,
             c->command->name);
  for (int i = 0; i < OPT_COUNT; i++) {
    bool common = i == OPT_DATA || i == OPT_CONFIG || i == OPT_USER || i == OPT_JSON || i == OPT_HELP || i == OPT_VERSION;
    FUZZ_CHECK(!c->value_count[i] || common || c->command->options & OPT_BIT(i), "%s took --%s", c->command->name, cli_options[i].name);
    FUZZ_CHECK(c->value_count[i] <= CLI_VALUES && !c->values[i][c->value_count[i]], "--%s %zu times", cli_options[i].name,
               c->value_count[i]);
  }
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
  if (taken)
    check_taken(c);
  else
    FUZZ_CHECK(status == 0 || status == 1, "status %d", status);
  free(c->arguments);
  free(c);
  for (int i = 1; i < count; i++)
    free(words[i]);
  return 0;
}
