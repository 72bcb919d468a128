/* The commands that only look: sheet, list, show, log, diff, watch, locks, pool, and those of packs. None of them changes anything,
 * but for locks --release, journal rotate-key and journal migrate, which say so. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "coordinator/worker.h"
#include "model/document.h"
#include "model/text.h"
#include "sheet/rows_json.h"

#define LIST_DEFAULT 50
#define WATCH_EVERY_MS 250

/* ---- sheet ---- */

static void print_row(const aon_row *row) {
  printf("%6u", row->number);
  for (size_t i = 0; i < row->count; i++) {
    char name[8], number[AON_NUMBER_TEXT];
    const aon_cell *cell = &row->cells[i];
    aon_column_name(cell->column, name);
    printf("  %s:", name);
    if (cell->type == AON_CELL_NUMBER || cell->type == AON_CELL_DURATION) {
      aon_number_to_text(cell->number, number);
      printf("%s%s", number, cell->type == AON_CELL_DURATION ? "s" : "");
    } else if (cell->type == AON_CELL_BOOLEAN) {
      printf("%s", cell->number != 0 ? "TRUE" : "FALSE");
    } else {
      for (size_t at = 0; at < cell->text.length; at++) /* one row is one line, and no cell can steer a terminal */
        putchar((unsigned char)cell->text.data[at] < 0x20 || cell->text.data[at] == 0x7f ? ' ' : cell->text.data[at]);
    }
  }
  putchar('\n');
}

static aon_result print_sheet(cli *c, aon_workbook *workbook, size_t sheet, aon_error *error) {
  aon_rows *rows;
  const aon_row *row;
  const char *name = aon_workbook_sheet_name(workbook, sheet);
  aon_sheet_state state = aon_workbook_sheet_state(workbook, sheet);
  AON_BUFFER_CLEANUP aon_buffer line = {0};
  aon_result result = aon_rows_open(workbook, sheet, &rows, error);
  if (result)
    return result;
  if (!cli_given(c, OPT_JSON))
    printf("%s%s%s\n", sheet ? "\n" : "", name, state == AON_SHEET_VISIBLE ? "" : " (hidden)");
  while (!(result = aon_rows_next(rows, &row, error))) {
    if (!cli_given(c, OPT_JSON)) {
      print_row(row);
      continue;
    }
    aon_buffer_clear(&line);
    result = aon_row_to_json(name, state, row, &line, error);
    if (result)
      break;
    puts(line.data);
  }
  aon_rows_close(rows);
  return result == AON_END ? AON_OK : result;
}

int cli_sheet(cli *c) {
  int status = 1;
  aon_error error = AON_ERROR_INIT;
  aon_workbook *workbook;
  if (!cli_prepare(c, &status))
    return status;
  aon_result result = aon_workbook_open(c->env, c->arguments[0], &c->config.workbook, &workbook, &error);
  if (result)
    return cli_fail(c, result, &error);
  for (size_t i = 0; !result && i < aon_workbook_sheets(workbook); i++)
    result = print_sheet(c, workbook, i, &error);
  aon_workbook_close(workbook);
  return result ? cli_fail(c, result, &error) : 0;
}

/* ---- one bulk operation ---- */

static bool open_id(cli *c, char id[37], int *ret_status) {
  return cli_prepare(c, ret_status) && cli_find_id(c, c->arguments[0], id, ret_status);
}

static int show(cli *c, const char *id) {
  aon_error error = AON_ERROR_INIT;
  AON_BUFFER_CLEANUP aon_buffer json = {0};
  aon_result result = aon_show(c->engine, id, &json, &error);
  if (result)
    return cli_fail(c, result, &error);
  if (cli_given(c, OPT_JSON))
    puts(json.data);
  else
    cli_print_bulk(c, json.data, true);
  return 0;
}

static int write_report(cli *c, const char *id, bool wanted) {
  aon_error error = AON_ERROR_INIT;
  aon_result result = cli_given(c, OPT_REPORT) ? aon_report_fetch(c->engine, id, cli_value(c, OPT_REPORT), &error) : AON_OK;
  if (result && !wanted && !strcmp(error.code, "no_report"))
    return 0; /* it went well, so there is none */
  return result ? cli_fail(c, result, &error) : 0;
}

int cli_show(cli *c) {
  int status = 1;
  char id[37];
  if (!open_id(c, id, &status))
    return status;
  status = show(c, id);
  return status ? status : write_report(c, id, true);
}

typedef void (*line_printer)(cli *c, const char *json);
typedef struct line_target {
  cli *c;
  line_printer print;
} line_target;

static aon_result print_line(void *context, const char *json, size_t length, aon_error *error) {
  (void)length;
  (void)error;
  line_target *target = context;
  if (cli_given(target->c, OPT_JSON))
    puts(json);
  else
    target->print(target->c, json);
  return AON_OK;
}

int cli_diff(cli *c) {
  int status = 1;
  char id[37];
  aon_error error = AON_ERROR_INIT;
  line_target target = {c, cli_print_difference};
  if (!open_id(c, id, &status))
    return status;
  aon_result result = aon_diff(c->engine, id, print_line, &target, &error);
  return result ? cli_fail(c, result, &error) : 0;
}

int cli_log(cli *c) {
  int status = 1;
  char id[37];
  aon_error error = AON_ERROR_INIT;
  line_target target = {c, cli_print_entry};
  if (!open_id(c, id, &status))
    return status;
  aon_result result = aon_entries_log(c->engine, id, print_line, &target, &error);
  return result ? cli_fail(c, result, &error) : 0;
}

/* That of the command which would have done it here. */
static int exit_status_of(cli *c, const char *id) {
  aon_outcome outcome = {0};
  aon_error error = AON_ERROR_INIT;
  aon_result result = aon_look(c->engine, id, &outcome, &error);
  int status = result ? cli_fail(c, result, &error) : aon_outcome_exit_status(&outcome, AON_OK, NULL);
  aon_outcome_release(&outcome);
  return status;
}

int cli_watch(cli *c) {
  int status = 1;
  char id[37];
  aon_error error = AON_ERROR_INIT;
  aon_state shown = AON_STATE_COUNT;
  if (!open_id(c, id, &status))
    return status;
  for (;;) {
    AON_ARENA_CLEANUP aon_arena arena = {0};
    aon_journal *journal;
    aon_bulk bulk;
    aon_result result = aon_engine_journal(c->engine, false, &journal, &error);
    if (!result)
      result = aon_journal_get(journal, id, &arena, &bulk, &error);
    if (result)
      return cli_fail(c, result, &error);
    bool over = aon_state_terminal(bulk.state) || bulk.state == AON_HELD;
    if (bulk.state != shown && !over) {
      char instant[AON_INSTANT_LENGTH + 1];
      aon_instant_format(bulk.changed_ms, instant);
      if (cli_given(c, OPT_JSON))
        printf("{\"at\":\"%s\",\"state\":\"%s\",\"progress\":%lld,\"operations\":%lld}\n", instant, aon_state_name(bulk.state),
               (long long)bulk.progress, (long long)bulk.operations);
      else
        printf("%s  %s\n", instant, cli_state_words(bulk.state));
      fflush(stdout);
    }
    shown = bulk.state;
    aon_progress progress = {.state = bulk.state, .done = bulk.progress, .total = bulk.operations};
    cli_progress(c, &progress);
    if (over) {
      cli_progress_clear(c);
      status = show(c, id);
      if (!status)
        status = write_report(c, id, false);
      return status ? status : exit_status_of(c, id);
    }
    if (c->run.interrupted && *c->run.interrupted)
      return 0;
    aon_sleep_ms(c->env, WATCH_EVERY_MS);
  }
}

/* ---- list ---- */

static aon_result print_listed(void *context, const aon_bulk *bulk, aon_error *error) {
  cli *c = context;
  AON_BUFFER_CLEANUP aon_buffer json = {0};
  aon_result result = aon_show(c->engine, bulk->id, &json, error);
  if (result)
    return result;
  if (cli_given(c, OPT_JSON))
    puts(json.data);
  else
    cli_print_bulk(c, json.data, false);
  return AON_OK;
}

int cli_list(cli *c) {
  int status = 1;
  aon_error error = AON_ERROR_INIT;
  aon_state states[CLI_VALUES];
  aon_journal *journal;
  aon_bulk_filter filter = {
      .states = states, .limit = LIST_DEFAULT, .query = cli_value(c, OPT_QUERY), .organization = cli_value(c, OPT_ORG)};
  for (size_t i = 0; i < c->value_count[OPT_STATE]; i++)
    if (!aon_state_parse(c->values[OPT_STATE][i], &states[filter.state_count++])) {
      fprintf(stderr, "aon: “%s” is no state. States are:", c->values[OPT_STATE][i]);
      for (int s = 0; s < AON_STATE_COUNT; s++)
        fprintf(stderr, " %s", aon_state_name((aon_state)s));
      fputc('\n', stderr);
      return 1;
    }
  if (cli_given(c, OPT_LIMIT)) {
    char *end;
    long limit = strtol(cli_value(c, OPT_LIMIT), &end, 10);
    if (*end || limit < 1) {
      fprintf(stderr, "aon: --limit “%s”: give a number from 1.\n", cli_value(c, OPT_LIMIT));
      return 1;
    }
    filter.limit = (uint32_t)limit;
  }
  if (!cli_prepare(c, &status))
    return status;
  aon_result result = aon_engine_journal(c->engine, false, &journal, &error);
  if (!result)
    result = aon_journal_list(journal, &filter, print_listed, c, &error);
  return result ? cli_fail(c, result, &error) : 0;
}

/* ---- locks, pools, key ---- */

static aon_result print_lock(void *context, const aon_lock *lock, aon_error *error) {
  cli *c = context;
  char since[AON_INSTANT_LENGTH + 1], until[AON_INSTANT_LENGTH + 1];
  aon_instant_format(lock->since_ms, since);
  aon_instant_format(lock->lease_until_ms, until);
  if (!cli_given(c, OPT_JSON)) {
    printf("%-10s %-10s %s  held by %s since %s\n", lock->kind, lock->shared ? "shared" : "exclusive", lock->name, lock->holder, since);
    return AON_OK;
  }
  AON_BUFFER_CLEANUP aon_buffer line = {0};
  aon_result result = aon_buffer_format(
      &line, error, "{\"kind\":\"%s\",\"shared\":%s,\"epoch\":%lld,\"since\":\"%s\",\"leaseUntil\":\"%s\",\"name\":", lock->kind,
      lock->shared ? "true" : "false", (long long)lock->epoch, since, until);
  if (!result)
    result = aon_text_to_json(lock->name, strlen(lock->name), &line, error);
  if (!result)
    result = aon_buffer_text(&line, ",\"holder\":", error);
  if (!result)
    result = aon_text_to_json(lock->holder, strlen(lock->holder), &line, error);
  if (!result)
    printf("%s}\n", line.data);
  return result;
}

int cli_locks(cli *c) {
  int status = 1;
  aon_error error = AON_ERROR_INIT;
  aon_journal *journal;
  const char *name = cli_value(c, OPT_RELEASE);
  if (!cli_prepare(c, &status))
    return status;
  aon_result result = aon_engine_journal(c->engine, name != NULL, &journal, &error);
  if (!result)
    result = name ? aon_journal_unlock(journal, name, NULL, 0, &error) : aon_journal_locks(journal, print_lock, c, &error);
  if (!result && name) {
    aon_event event = {.who = c->config.user, .what = "lock:release", .detail = NULL};
    result = aon_journal_event(journal, &event, &error);
  }
  return result ? cli_fail(c, result, &error) : 0;
}

static int print_pool(cli *c, const char *name) {
  aon_error error = AON_ERROR_INIT;
  aon_store *store;
  aon_pool_counts counts;
  aon_result result = aon_engine_store_open(c->engine, name, &store, &error);
  if (result)
    return cli_fail(c, result, &error);
  if (!aon_pool_status(store, &counts))
    return 0;
  printf(cli_given(c, OPT_JSON) ? "{\"store\":\"%s\",\"total\":%u,\"idle\":%u,\"waiting\":%u,\"max\":%u}\n"
                                : "%-12s %u connections, %u idle, %u waiting, at most %u\n",
         name, counts.total, counts.idle, counts.waiting, counts.max);
  return 0;
}

int cli_pool(cli *c) {
  int status = 1;
  if (!cli_prepare(c, &status))
    return status;
  status = 0;
  for (size_t i = 0; i < c->config.engine.store_count; i++)
    if (c->config.engine.stores[i].adapter->pool)
      status |= print_pool(c, c->config.engine.stores[i].config.name);
  return status;
}

int cli_journal_rotate(cli *c) {
  int status = 1;
  aon_error error = AON_ERROR_INIT;
  aon_journal *journal;
  if (!cli_prepare(c, &status) || !cli_make_data_folder(c, &status))
    return status;
  aon_result result = aon_engine_journal(c->engine, true, &journal, &error);
  if (!result)
    result = aon_journal_rotate_key(journal, &error);
  if (result)
    return cli_fail(c, result, &error);
  printf("A new key encrypts what is written from now on. Keep a copy of %s in a safe place.\n", c->config.engine.journal.key_file);
  return 0;
}

/* Opens both, copies, and compares what arrived. */
static aon_result migrate(cli *c, const char *from_location, const char *to_location, aon_journal_copied *ret_copied, aon_error *error) {
  aon_journal_config from_config = c->config.engine.journal, to_config = from_config;
  aon_journal *from = NULL, *to = NULL;
  from_config.location = from_location;
  from_config.read_only = true;
  to_config.location = to_location;
  aon_result result = aon_journal_open(c->env, &from_config, &from, error);
  if (!result)
    result = aon_journal_open(c->env, &to_config, &to, error);
  if (!result)
    result = aon_journal_copy(from, to, ret_copied, error);
  if (!result)
    result = aon_journal_compare(from, to, error);
  aon_journal_close(to);
  aon_journal_close(from);
  return result;
}

int cli_journal_migrate(cli *c) {
  int status = 1;
  aon_error error = AON_ERROR_INIT;
  aon_journal_copied copied = {0};
  if (!cli_prepare(c, &status) || !cli_make_data_folder(c, &status))
    return status;
  aon_result result = migrate(c, c->arguments[0], c->arguments[1], &copied, &error);
  if (result)
    return cli_fail(c, result, &error);
  printf(cli_given(c, OPT_JSON)
             ? "{\"bulkOperations\":%llu,\"segments\":%llu,\"conflicts\":%llu,\"events\":%llu}\n"
             : "Copied %llu bulk operations, %llu pieces of their logs, %llu documents in conflict or watched, %llu events. Now set "
               "journal.url to the new place.\n",
         (unsigned long long)copied.bulk, (unsigned long long)copied.segments, (unsigned long long)copied.conflicts,
         (unsigned long long)copied.events);
  return 0;
}

/* ---- packs ---- */

typedef struct pack_listing {
  cli *c;
  const char *folder;
} pack_listing;

static bool list_pack(void *context, const char *name) {
  pack_listing *listing = context;
  cli *c = listing->c;
  size_t length = strlen(name);
  if (length < 5 || strcmp(name + length - 4, ".lua"))
    return true;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  char *path = aon_arena_format(&arena, "%s/%s", listing->folder, name);
  aon_pack *pack;
  aon_error error = AON_ERROR_INIT;
  aon_result result = path ? aon_pack_load(c->env, path, NULL, &c->config.pack, &pack, &error) : aon_fail_memory(&error);
  AON_BUFFER_CLEANUP aon_buffer line = {0};
  if (cli_given(c, OPT_JSON)) {
    aon_error ignored = AON_ERROR_INIT;
    const char *title = result ? error.sentence : aon_pack_title(pack);
    if (!aon_buffer_format(&line, &ignored, "{\"name\":\"%.*s\",\"%s\":", (int)length - 4, name, result ? "error" : "title") &&
        !aon_text_to_json(title, strlen(title), &line, &ignored) && !aon_buffer_text(&line, ",\"file\":", &ignored) &&
        !aon_text_to_json(path, strlen(path), &line, &ignored))
      printf("%s}\n", line.data);
  } else {
    printf("%-16.*s %s\n", (int)length - 4, name, result ? error.sentence : aon_pack_title(pack));
  }
  if (!result)
    aon_pack_close(pack);
  return true;
}

int cli_pack_list(cli *c) {
  int status = 1;
  if (!cli_prepare(c, &status))
    return status;
  for (const char *const *folder = c->config.packs; *folder; folder++) {
    aon_file_info info;
    aon_error error = AON_ERROR_INIT;
    pack_listing listing = {c, *folder};
    if (c->env->ops->file_info(c->env->context, *folder, &info, &error) || !info.is_directory)
      continue;
    aon_result result = c->env->ops->folder_list(c->env->context, *folder, list_pack, &listing, &error);
    if (result)
      return cli_fail(c, result, &error);
  }
  return 0;
}

int cli_pack_check(cli *c) {
  int status = 1;
  aon_pack *pack;
  if (!cli_prepare(c, &status) || !cli_load_pack(c, c->arguments[0], &pack, &status))
    return status;
  size_t collections;
  (void)aon_pack_collections(pack, &collections);
  if (cli_given(c, OPT_JSON))
    printf("{\"pack\":\"%s\",\"valid\":true,\"collections\":%zu}\n", aon_pack_name(pack), collections);
  else
    printf("%s is right: %zu collections.\n", aon_pack_file(pack), collections);
  aon_pack_close(pack);
  return 0;
}

int cli_pack_show(cli *c) {
  int status = 1;
  aon_pack *pack;
  aon_error error = AON_ERROR_INIT;
  AON_BUFFER_CLEANUP aon_buffer out = {0};
  if (!cli_prepare(c, &status) || !cli_load_pack(c, c->arguments[0], &pack, &status))
    return status;
  aon_result result = c->argument_count == 1
                          ? aon_pack_describe(pack, cli_given(c, OPT_JSON), &out, &error)
                          : aon_pack_locate(pack, c->arguments[1], c->argument_count > 2 ? c->arguments[2] : NULL, &out, &error);
  if (result)
    status = cli_fail(c, result, &error);
  else
    status = printf("%s%s", out.data, out.length && out.data[out.length - 1] == '\n' ? "" : "\n") < 0;
  aon_pack_close(pack);
  return status;
}

int cli_pack_template(cli *c) {
  int status = 1;
  aon_pack *pack;
  aon_error error = AON_ERROR_INIT;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  const aon_template_sheet *sheets;
  size_t count;
  if (!cli_given(c, OPT_OUTPUT)) {
    fprintf(stderr, "aon: say where to write the workbook: -o FILE.xlsx\n");
    return 1;
  }
  if (!cli_prepare(c, &status) || !cli_load_pack(c, c->arguments[0], &pack, &status))
    return status;
  aon_result result = aon_pack_template(pack, &arena, &sheets, &count, &error);
  if (!result)
    result = aon_template_write(c->env, cli_value(c, OPT_OUTPUT), sheets, count, &error);
  status = result ? cli_fail(c, result, &error) : 0;
  if (!result && !cli_given(c, OPT_JSON))
    printf("%s is ready: fill it in, then aon import %s --pack %s --org NAME --dry-run\n", cli_value(c, OPT_OUTPUT),
           cli_value(c, OPT_OUTPUT), c->arguments[0]);
  aon_pack_close(pack);
  return status;
}
