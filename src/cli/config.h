/* Configuration: one YAML file, environment variables, options; every error names file and line (docs/reference.md).
 *
 * Precedence: option before environment before file before default. Unknown keys are errors. Secrets come from the environment or
 * from files, never from options. All texts live as long as the configuration. */
#ifndef AON_CLI_CONFIG_H
#define AON_CLI_CONFIG_H

#include "base/arena.h"
#include "coordinator/engine.h"

typedef struct aon_config {
  aon_arena arena;
  aon_engine_config engine; /* stores, journal, times; ready for aon_engine_open */
  const char *data;         /* data folder */
  const char *organization; /* NULL: none */
  const char *user;         /* never NULL: --user, AON_USER, the login name, or uid:N */
  const char *const *packs; /* folders to look for packs in, in order, NULL-terminated */
  aon_workbook_limits workbook;
  aon_pack_limits pack;
} aon_config;

typedef struct aon_config_options { /* from the command line; NULL: not given */
  const char *config, *data, *organization, *user;
  const char *program; /* argv[0], to find packs beside a program run from its build folder */
} aon_config_options;

/* environment: a NULL-terminated list NAME=VALUE. Errors are AON_USAGE with "aon.yaml:12: …" (or the name of the variable). Makes no
 * folder. */
aon_result aon_config_load(aon_env *env, const aon_config_options *options, char *const *environment, aon_config *ret_config,
                           aon_error *error) AON_MUST_USE;
void aon_config_release(aon_config *config);

/* LOG_LEVEL, TEST_CRASH_AT_CALL, TEST_STOP_AT_CALL are needed before there is an environment. */
typedef struct aon_config_early {
  aon_log_level log_level;
  uint64_t crash_at, stop_at;
} aon_config_early;
aon_result aon_config_early_read(char *const *environment, aon_config_early *ret_early, aon_error *error) AON_MUST_USE;
#endif
