/* The configuration: a YAML file, then variables of the environment (NAME=VALUE), each after a zero byte.
 *
 * Properties: it is taken, or refused as bad_configuration in a sentence that says where; what is taken has every text and every store that
 * the engine needs; reading it again gives the same. A reader of its own for files of nothing but plain numbers, by line, says what each
 * setting must be, and that none may stand twice. */
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
    FUZZ_CHECK(!store->config.keys || store->adapter == &aon_mongodb_adapter, "keys of “%s”", store->config.name);
    for (const aon_store_key *key = store->config.keys; key && key->collection; key++)
      FUZZ_CHECK(!aon_store_key_problem(key), "the key of “%s”", key->collection);
    for (size_t j = 0; j < i; j++)
      FUZZ_CHECK(strcmp(store->config.name, config->engine.stores[j].config.name) != 0, "two stores “%s”", store->config.name);
  }
  size_t packs = 0;
  while (config->packs[packs])
    packs++;
  FUZZ_CHECK(packs > 0, "nowhere to look for packs");
}

static bool names_a_file(char *const *environment) {
  const char *name = "AON_CONFIG=";
  while (*environment && strncmp(*environment, name, strlen(name)) != 0)
    environment++;
  return *environment && (*environment)[strlen(name)];
}

static void check_refused(const aon_error *error, bool named) {
  if (named && error->kind == AON_ENVIRONMENT) { /* a file that is not there says nothing of what would stand in it */
    FUZZ_CHECK(!strcmp(error->code, "no_such_file"), "%s: %s", error->code, error->sentence);
    return;
  }
  FUZZ_CHECK(error->kind == AON_USAGE && !strcmp(error->code, "bad_configuration"), "%s %s", aon_result_name(error->kind), error->code);
  FUZZ_CHECK(strchr(error->sentence, ':') != NULL, "it does not say where: %s", error->sentence);
}

static bool same_text(const char *a, const char *b) { return a == b || (a && b && !strcmp(a, b)); }

static void check_same(const aon_config *a, const aon_config *b) {
  FUZZ_CHECK(same_text(a->data, b->data) && same_text(a->user, b->user) && same_text(a->organization, b->organization), "texts differ");
  FUZZ_CHECK(a->engine.store_count == b->engine.store_count && a->engine.retention_ms == b->engine.retention_ms, "the engine differs");
  FUZZ_CHECK(!memcmp(&a->workbook, &b->workbook, sizeof a->workbook) && !memcmp(&a->pack, &b->pack, sizeof a->pack), "limits differ");
}

/* ---- the plain reader ---- */

typedef struct expected {
  const char *key; /* with its section */
  char kind;       /* duration, size, count */
  size_t offset;   /* in aon_config */
} expected;

#define AT(member) offsetof(aon_config, member)
static const expected plain[] = {{"hold_ms", 'd', AT(engine.hold_ms)},
                                 {"hold_until", 'd', AT(engine.hold_until_ms)},
                                 {"give_up", 'd', AT(engine.give_up_ms)},
                                 {"batch", 'c', AT(engine.batch)},
                                 {"journal.retention", 'd', AT(engine.retention_ms)},
                                 {"journal.reserve", 's', AT(engine.journal.reserve_bytes)},
                                 {"journal.lease", 'd', AT(engine.journal.lease_ms)},
                                 {"limits.entries", 'c', AT(workbook.entries)},
                                 {"limits.unpacked_bytes", 's', AT(workbook.unpacked_bytes)},
                                 {"limits.rows", 'c', AT(workbook.rows)},
                                 {"limits.columns", 'c', AT(workbook.columns)},
                                 {"limits.cells", 's', AT(workbook.cells)},
                                 {"limits.string_bytes", 'c', AT(workbook.string_bytes)},
                                 {"limits.strings_memory_bytes", 's', AT(workbook.strings_memory_bytes)},
                                 {"limits.stage_memory_bytes", 's', AT(pack.stage_memory_bytes)},
                                 {"limits.pack_memory_bytes", 's', AT(pack.memory_bytes)},
                                 {"limits.pack_instructions", 's', AT(pack.instructions)},
                                 {"limits.pack_call", 'd', AT(pack.call_ms)}};
#define PLAIN (sizeof plain / sizeof *plain)

typedef struct plain_file {
  bool sure, twice;
  bool given[PLAIN];
  uint64_t values[PLAIN];
} plain_file;

/* "30s", "16MiB", "7": at most six digits, the first one no zero. */
static bool quantity(char kind, const char *text, uint64_t *ret_value) {
  static const struct {
    char kind;
    const char *name;
    uint64_t times;
  } units[] = {{'d', "ms", 1}, {'d', "s", 1000},   {'d', "m", 60 * 1000}, {'d', "h", 3600 * 1000},       {'d', "d", 24 * 3600 * 1000},
               {'s', "", 1},   {'s', "KiB", 1024}, {'s', "MiB", 1048576}, {'s', "GiB", 1024 * 1048576u}, {'c', "", 1}};
  size_t digits = strspn(text, "0123456789");
  if (!digits || digits > 6 || *text == '0')
    return false;
  for (size_t i = 0; i < sizeof units / sizeof *units; i++)
    if (units[i].kind == kind && !strcmp(units[i].name, text + digits)) {
      *ret_value = strtoull(text, NULL, 10) * units[i].times;
      return true;
    }
  return false;
}

static void plain_line(plain_file *file, const char *section, const char *key, const char *value) {
  char path[100];
  snprintf(path, sizeof path, "%s%s%s", section, *section ? "." : "", key);
  for (size_t i = 0; i < PLAIN; i++)
    if (!strcmp(plain[i].key, path)) {
      file->twice = file->twice || file->given[i];
      file->given[i] = true;
      file->sure = quantity(plain[i].kind, value, &file->values[i]);
      return;
    }
  file->sure = false;
}

static plain_file read_plainly(const char *text, size_t length) {
  plain_file file = {.sure = length && text[length - 1] == '\n' && !memchr(text, 0, length)};
  char section[16] = "", key[32], value[16], end;
  bool sections[2] = {false, false};
  for (const char *at = text; file.sure && *at; at = strchr(at, '\n') + 1) {
    size_t line = strcspn(at, "\n");
    char copy[64];
    if (line >= sizeof copy)
      return (plain_file){.sure = false};
    snprintf(copy, sizeof copy, "%.*s", (int)line, at);
    bool deeper = !strncmp(copy, "  ", 2) && copy[2] != ' ';
    if (!strcmp(copy, "journal:") || !strcmp(copy, "limits:")) {
      bool *seen = &sections[*copy == 'l'];
      file.sure = !*seen && (at + line + 1)[0] == ' '; /* an empty one is another matter */
      *seen = true;
      snprintf(section, sizeof section, "%.*s", (int)line - 1, copy);
    } else if (sscanf(copy + (deeper ? 2 : 0), "%31[a-z_]: %15[A-Za-z0-9]%c", key, value, &end) == 2 && strchr(copy, ':')[1] == ' ' &&
               strlen(copy) == (deeper ? 2 : 0) + strlen(key) + 2 + strlen(value)) {
      if (!deeper)
        *section = 0;
      plain_line(&file, section, key, value);
      file.sure = file.sure && (!deeper || *section);
    } else {
      file.sure = false;
    }
  }
  return file;
}

static void check_plain(const plain_file *file, aon_result result, const aon_config *config) {
  FUZZ_CHECK(!file->twice || result, "a setting that stands twice was taken");
  for (size_t i = 0; !result && i < PLAIN; i++) {
    uint64_t found = 0;
    memcpy(&found, (const char *)config + plain[i].offset, plain[i].kind == 'c' ? sizeof(uint32_t) : sizeof found);
    FUZZ_CHECK(!file->given[i] || found == file->values[i], "%s is %llu, not %llu", plain[i].key, (unsigned long long)found,
               (unsigned long long)file->values[i]);
  }
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
    check_refused(&error, names_a_file(environment));
  } else {
    check_taken(&first);
    check_same(&first, &second);
  }
  plain_file numbers = read_plainly(file, length);
  if (numbers.sure && !count)
    check_plain(&numbers, result, &first);
  if (aon_config_early_read(environment, &early, &early_error))
    check_refused(&early_error, false);
  aon_config_release(&first);
  aon_config_release(&second);
  for (size_t i = 0; i < count; i++)
    free(environment[i]);
  free(file);
  fuzz_world_clear();
  return 0;
}
