/* The command line: what its files share.
 *
 * One table (commands.c) says which commands there are, what they take and what their help says; parsing, --help, man pages and completions
 * are made from it. Invariant: standard output holds results only; what is for eyes alone (progress, warnings) goes to standard error. */
#ifndef AON_CLI_CLI_H
#define AON_CLI_CLI_H

#include <stdio.h>

#include "cli/config.h"
#include "coordinator/engine.h"

typedef enum cli_option {
  OPT_DATA,
  OPT_CONFIG,
  OPT_USER,
  OPT_JSON,
  OPT_HELP,
  OPT_VERSION, /* of every command */
  OPT_PACK,
  OPT_ORG,
  OPT_DRY_RUN,
  OPT_REPORT,
  OPT_ON_FAILURE,
  OPT_LOCK_WAIT,
  OPT_ID,
  OPT_IDEMPOTENCY_KEY,
  OPT_STATE,
  OPT_LIMIT,
  OPT_QUERY,
  OPT_RANGE,
  OPT_SHEET,
  OPT_KEEP_THEIRS,
  OPT_FORCE,
  OPT_MERGE,
  OPT_RELEASE,
  OPT_OUTPUT,
  OPT_QUEUE,
  OPT_WORKERS_ONLY,
  OPT_WORKERS,
  OPT_COUNT
} cli_option;

typedef struct cli_option_info {
  const char *name;     /* without -- */
  char letter;          /* 0: none */
  const char *argument; /* NULL: takes none; "[DOC]": may be left out */
  const char *help;
} cli_option_info;

struct cli;
typedef struct cli_command {
  const char *name;      /* "import", "pack list" */
  const char *arguments; /* "FILE", "ID DOC", "[ID]" */
  size_t least, most;    /* positional arguments */
  const char *summary;   /* one line */
  const char *text;      /* paragraphs for --help and the man page */
  const char *examples;  /* lines "command  # what it does" */
  uint64_t options;      /* bits of cli_option, beside those of every command */
  int (*run)(struct cli *cli);
} cli_command;

#define OPT_BIT(option) ((uint64_t)1 << (option))

extern const cli_option_info cli_options[OPT_COUNT];
extern const cli_command cli_commands[]; /* ends with name NULL */
extern const char cli_exit_statuses[];
extern const char cli_environment[];

#define CLI_VALUES 64 /* most times one option may be given */
typedef struct cli {
  aon_env *env;
  const cli_command *command;
  const char *program;
  const char **arguments; /* positional */
  size_t argument_count;
  const char *values[OPT_COUNT][CLI_VALUES + 1]; /* NULL-terminated; "" for an option without argument */
  size_t value_count[OPT_COUNT];
  aon_config config;
  aon_engine *engine;
  aon_run_options run;
  bool colour; /* standard output is a terminal that takes colours */
  int64_t drawn_ms, drawn_from_ms;
  aon_state drawn_state;
  bool drawn;
} cli;

static inline bool cli_given(const cli *c, cli_option option) { return c->value_count[option] > 0; }
static inline const char *cli_value(const cli *c, cli_option option) { return c->value_count[option] ? c->values[option][0] : NULL; }

/* parse.c */
bool cli_parse(cli *c, int argc, char **argv, int *ret_status); /* false: over, with this exit status */
/* help.c */
void cli_help_overview(FILE *out);
void cli_help_command(FILE *out, const cli_command *command);
/* main.c */
int cli_fail(cli *c, aon_result result, const aon_error *error); /* says it, gives the exit status */
bool cli_prepare(cli *c, int *ret_status);                       /* configuration and engine; false: said and over */
bool cli_make_data_folder(cli *c, int *ret_status);
bool cli_load_pack(cli *c, const char *name, aon_pack **ret_pack, int *ret_status);
bool cli_find_id(cli *c, const char *given, char ret_id[37], int *ret_status); /* a prefix is enough */
void cli_second_signal_ends(void);                                             /* the first one still asks */
/* progress.c */
void cli_progress(void *context, const aon_progress *progress);
void cli_progress_clear(cli *c);
/* human.c */
void cli_print_outcome(cli *c, const aon_outcome *outcome);
void cli_print_bulk(cli *c, const char *json, bool whole); /* a result object, in words */
void cli_print_difference(cli *c, const char *json);
void cli_print_entry(cli *c, const char *json);
const char *cli_state_words(aon_state state);
const char *cli_paint(const cli *c, const char *colour); /* "" where colours are off; colour NULL: back to normal */

/* the commands */
int cli_import(cli *c);
int cli_serve(cli *c);
int cli_apply(cli *c);
int cli_sheet(cli *c);
int cli_list(cli *c);
int cli_show(cli *c);
int cli_log(cli *c);
int cli_diff(cli *c);
int cli_watch(cli *c);
int cli_rollback(cli *c);
int cli_undo(cli *c);
int cli_resume(cli *c);
int cli_recover(cli *c);
int cli_cancel(cli *c);
int cli_resolve(cli *c);
int cli_locks(cli *c);
int cli_doctor(cli *c);
int cli_pool(cli *c);
int cli_journal_rotate(cli *c);
int cli_journal_migrate(cli *c);
int cli_pack_list(cli *c);
int cli_pack_check(cli *c);
int cli_pack_show(cli *c);
int cli_pack_template(cli *c);
#endif
