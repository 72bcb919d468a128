/* The configuration: a YAML file, then variables of the environment (NAME=VALUE), each after a zero byte.
 *
 * Properties: it is taken, or refused as bad_configuration in a sentence that says where; what is taken has every text and every store that
 * the engine needs; reading it again gives the same. */
#include <stdlib.h>
#include <string.h>

#include "cli/config.h"
#include "fuzz.h"

#define VARIABLES_MAX 8
#define FILE_NAME "aon.yaml"

static void check_taken(const aon_config *config) {
  FUZZ_CHECK(config->data && config->user && config->packs, "a text is missing");
  FUZZ_CHECK(config->engine.journal.location && config->engine.journal.key_file, "the journal has no place");
  FUZZ_CHECK(config->engine.store_count >= 4, "%zu stores", config->engine.store_count);
  FUZZ_CHECK(config->engine.workbook == &config->workbook && config->engine.pack == &config->pack, "limits of another configuration");
  for (size_t i = 0; i < config->engine.store_count; i++) {
    const aon_engine_store *store = &config->engine.stores[i];
    FUZZ_CHECK(store->adapter && store->config.name && *store->config.name && store->config.location, "store %zu is not whole", i);
    for (size_t j = 0; j < i; j++)
      FUZZ_CHECK(strcmp(store->config.name, config->engine.stores[j].config.name) != 0, "two stores “%s”", store->config.name);
  }
  size_t packs = 0;
  while (config->packs[packs])
    packs++;
  FUZZ_CHECK(packs > 0, "nowhere to look for packs");
}

static void check_refused(const aon_error *error) {
  FUZZ_CHECK(error->kind == AON_USAGE && !strcmp(error->code, "bad_configuration"), "%s %s", aon_result_name(error->kind), error->code);
  FUZZ_CHECK(strchr(error->sentence, ':') != NULL, "it does not say where: %s", error->sentence);
}

static bool same_text(const char *a, const char *b) { return a == b || (a && b && !strcmp(a, b)); }

static void check_same(const aon_config *a, const aon_config *b) {
  FUZZ_CHECK(same_text(a->data, b->data) && same_text(a->user, b->user) && same_text(a->organization, b->organization), "texts differ");
  FUZZ_CHECK(a->engine.store_count == b->engine.store_count && a->engine.retention_ms == b->engine.retention_ms, "the engine differs");
  FUZZ_CHECK(!memcmp(&a->workbook, &b->workbook, sizeof a->workbook) && !memcmp(&a->pack, &b->pack, sizeof a->pack), "limits differ");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_input input = {data, data + size};
  char *environment[VARIABLES_MAX + 1] = {NULL};
  const aon_config_options options = {.program = "aon"};
  size_t length, count = 0;
  char *file = fuzz_text(&input, &length);
  while (fuzz_left(&input) && count < VARIABLES_MAX)
    environment[count++] = fuzz_text(&input, NULL);
  fuzz_file_put(FILE_NAME, file, length);
  aon_config first, second;
  aon_config_early early;
  aon_error error = AON_ERROR_INIT, again = AON_ERROR_INIT, early_error = AON_ERROR_INIT;
  aon_result result = aon_config_load(fuzz_world(), &options, environment, &first, &error);
  aon_result repeated = aon_config_load(fuzz_world(), &options, environment, &second, &again);
  FUZZ_CHECK(result == repeated && !strcmp(error.sentence, again.sentence), "%s\n  %s", error.sentence, again.sentence);
  if (result) {
    check_refused(&error);
  } else {
    check_taken(&first);
    check_same(&first, &second);
  }
  if (aon_config_early_read(environment, &early, &early_error))
    check_refused(&early_error);
  aon_config_release(&first);
  aon_config_release(&second);
  for (size_t i = 0; i < count; i++)
    free(environment[i]);
  free(file);
  fuzz_world_clear();
  return 0;
}
