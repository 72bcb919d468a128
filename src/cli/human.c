/* Results in words. Each says what state it is in, whether the data is changed right now, and what to do. The words for states are those
 * of the admin pages. */
#include <jansson.h>
#include <string.h>

#include "base/spare.h"
#include "cli/cli.h"

#define ERRORS_SHOWN 50
#define VALUE_SHOWN 60

#define RED "\033[31m"
#define GREEN "\033[32m"
#define TEAL "\033[36m"
#define AMBER "\033[33m"
#define BOLD "\033[1m"
#define FAINT "\033[2m"

const char *cli_state_words(aon_state state) {
  static const char *const words[AON_STATE_COUNT] = {
      [AON_SCHEDULED] = "Scheduled.",
      [AON_QUEUED] = "Waiting for a worker.",
      [AON_PARSING] = "Reading the file.",
      [AON_VALIDATING] = "Checking.",
      [AON_PLANNING] = "Planning. Nothing has been written yet.",
      [AON_LOGGED] = "Planned and logged. Nothing has been written yet.",
      [AON_EXECUTING] = "Writing. All of it, or nothing.",
      [AON_PREPARING] = "Writing. All of it, or nothing.",
      [AON_COMMITTING] = "Decided. Finishing in all stores.",
      [AON_COMMITTED] = "Done. All changes are in.",
      [AON_REJECTED_STATE] = "Rejected. Nothing was changed.",
      [AON_CANCELLED_STATE] = "Cancelled. Nothing was changed.",
      [AON_PLANNED] = "This is what would change. Nothing has been written yet.",
      [AON_HELD] = "On hold: waiting for you",
      [AON_ROLLING_BACK] = "Putting everything back",
      [AON_ROLLED_BACK] = "Everything was put back",
      [AON_ROLLBACK_FAILED] = "Rollback failed: documents need a person",
      [AON_UNDOING] = "Taking it back",
      [AON_UNDONE] = "Taken back. The stores are as they were before.",
      [AON_UNDO_FAILED] = "Undo failed: documents need a person",
      [AON_COMMIT_FAILED] = "Commit failed: documents need a person",
  };
  return words[state];
}

static const char *state_colour(const cli *c, aon_state state) {
  switch (state) {
  case AON_COMMITTED:
    return cli_paint(c, GREEN);
  case AON_ROLLED_BACK:
  case AON_UNDONE:
    return cli_paint(c, TEAL);
  case AON_ROLLBACK_FAILED:
  case AON_UNDO_FAILED:
  case AON_COMMIT_FAILED:
  case AON_REJECTED_STATE:
    return cli_paint(c, RED);
  case AON_HELD:
  case AON_ROLLING_BACK:
    return cli_paint(c, AMBER);
  default:
    return cli_paint(c, BOLD);
  }
}

static const char *text_of(const json_t *object, const char *name) {
  const char *text = json_string_value(json_object_get(object, name));
  return text ? text : "";
}

static long long number_of(const json_t *object, const char *name) { return (long long)json_integer_value(json_object_get(object, name)); }

static void print_problem(const cli *c, const json_t *problem, const char *colour) {
  const char *sheet = text_of(problem, "sheet"), *cell = text_of(problem, "cell");
  printf("  %s", cli_paint(c, colour));
  if (*sheet && *cell)
    printf("%s!%s", sheet, cell);
  else if (json_is_integer(json_object_get(problem, "line")))
    printf("line %lld", number_of(problem, "line"));
  else if (*sheet)
    printf("%s", sheet);
  const char *message = text_of(problem, "message");
  size_t length = strlen(sheet), cell_length = strlen(cell);
  if (length && cell_length && !strncmp(message, sheet, length) && message[length] == '!' &&
      !strncmp(message + length + 1, cell, cell_length) && !strncmp(message + length + 1 + cell_length, ": ", 2))
    message += length + 1 + cell_length + 2; /* the sentence names the cell, too */
  printf("%s  %s\n", cli_paint(c, NULL), message);
}

static void print_problems(const cli *c, const json_t *result, const char *name, const char *colour, long long count) {
  const json_t *list = json_object_get(result, name);
  size_t index;
  json_t *problem;
  json_array_foreach(list, index, problem) {
    if (index == ERRORS_SHOWN) {
      printf("  … and %lld more (--json lists all that were kept)\n", count - ERRORS_SHOWN);
      break;
    }
    print_problem(c, problem, colour);
  }
}

static void print_counts(const json_t *result) {
  const char *entity;
  json_t *count;
  json_object_foreach(json_object_get((json_t *)result, "counts"), entity, count) {
    printf("  %-16s", entity);
    const char *const names[] = {"create", "edit", "delete", "unchanged"};
    const char *const words[] = {"created", "changed", "deleted", "as it was"};
    bool any = false;
    for (size_t i = 0; i < 4; i++)
      if (number_of(count, names[i])) {
        printf("%s%lld %s", any ? ", " : "", number_of(count, names[i]), words[i]);
        any = true;
      }
    printf("%s\n", any ? "" : "nothing");
  }
}

static void print_conflicts(const cli *c, const json_t *result, const char *id) {
  size_t index;
  json_t *conflict;
  json_array_foreach(json_object_get(result, "conflicts"), index, conflict) {
    if (index == ERRORS_SHOWN) {
      printf("  … and %zu more\n", json_array_size(json_object_get(result, "conflicts")) - ERRORS_SHOWN);
      break;
    }
    printf("  %s%s/%s/%s%s\n    %s\n", cli_paint(c, RED), text_of(conflict, "store"), text_of(conflict, "collection"),
           text_of(conflict, "documentId"), cli_paint(c, NULL), text_of(conflict, "message"));
  }
  if (index)
    printf("Decide:  aon resolve %s STORE/COLLECTION/ID --keep-theirs | --force | --merge FILE\n", id);
}

/* Where the person who made the file finds what failed. */
static void print_origin(const json_t *failure) {
  const char *sheet = text_of(failure, "sheet");
  const char *cell = text_of(failure, "cell");
  if (*sheet && *cell)
    printf(" (%s!%s)", sheet, cell);
  else if (*sheet && number_of(failure, "row"))
    printf(" (%s, row %lld)", sheet, number_of(failure, "row"));
  else if (*sheet)
    printf(" (%s)", sheet);
  else if (number_of(failure, "row"))
    printf(" (line %lld)", number_of(failure, "row"));
}

static void print_reason(const json_t *result) {
  const json_t *failure = json_object_get(result, "failure");
  if (!json_is_object(failure))
    return;
  if (json_is_integer(json_object_get(failure, "operation"))) {
    printf("Change %lld failed", number_of(failure, "operation") + 1);
    print_origin(failure);
    printf(": %s\n", text_of(failure, "message"));
  } else
    printf("Reason: %s\n", text_of(failure, "message"));
  if (*text_of(failure, "heldBy"))
    printf("Held by bulk operation %s\n", text_of(failure, "heldBy"));
}

static void print_state(const cli *c, const json_t *result, aon_state state) {
  long long operations = number_of(result, "operations"), errors = number_of(result, "errorCount");
  size_t conflicts = json_array_size(json_object_get(result, "conflicts"));
  printf("%s", state_colour(c, state));
  if (state == AON_COMMITTED && *text_of(result, "undoes"))
    printf("Taken back: %lld change%s. What other people changed since then was kept.", operations, operations == 1 ? "" : "s");
  else if (state == AON_COMMITTED && operations == 1)
    printf("Done. The change is in.");
  else if (state == AON_COMMITTED && operations)
    printf("Done. All %lld changes are in.", operations);
  else if (state == AON_COMMITTED)
    printf("Done. There was nothing to change.");
  else if (state == AON_REJECTED_STATE && errors == 1)
    printf("1 place needs correction. Nothing was changed.");
  else if (state == AON_REJECTED_STATE)
    printf("%lld places need correction. Nothing was changed.", errors);
  else if (state == AON_ROLLBACK_FAILED)
    printf("Rollback failed: %zu document%s need%s a person", conflicts, conflicts == 1 ? "" : "s", conflicts == 1 ? "s" : "");
  else if (state == AON_ROLLED_BACK && !json_array_size(json_object_get(result, "conflicts")) && !operations)
    printf("Stopped before the first write. Nothing was changed.");
  else
    printf("%s", cli_state_words(state));
  printf("%s\n", cli_paint(c, NULL));
}

static void print_next(const cli *c, const json_t *result, aon_state state) {
  const char *id = text_of(result, "bulkOperationId");
  printf("%sBulk Operation ID %s%s\n", cli_paint(c, FAINT), id, cli_paint(c, NULL));
  if (state == AON_COMMITTED && number_of(result, "operations") && !*text_of(result, "undoes"))
    printf("See it:  aon diff %.8s     Take it back:  aon undo %.8s\n", id, id);
  if (state == AON_PLANNED)
    printf("See it document by document:  aon diff %.8s\n", id);
  if (state == AON_HELD)
    printf("Go on:  aon resume %.8s     Put everything back:  aon rollback %.8s\n", id, id);
  if (state == AON_ROLLBACK_FAILED || state == AON_COMMIT_FAILED || state == AON_UNDO_FAILED)
    printf("If you need help, contact support with Bulk Operation ID %s.\n", id);
}

void cli_print_bulk(cli *c, const char *text, bool whole) {
  json_t *result = json_loads(text, 0, NULL);
  aon_state state = AON_STATE_COUNT;
  if (!result || !aon_state_parse(text_of(result, "state"), &state)) {
    json_decref(result);
    return;
  }
  if (!whole) {
    printf("%.8s  %s%-15s%s %-24.24s  %7lld changes  %.40s\n", text_of(result, "bulkOperationId"), state_colour(c, state),
           aon_state_name(state), cli_paint(c, NULL), text_of(result, "createdAt"), number_of(result, "operations"),
           text_of(result, "source"));
    json_decref(result);
    return;
  }
  print_state(c, result, state);
  print_reason(result);
  if (state != AON_ROLLED_BACK && state != AON_ROLLBACK_FAILED && state != AON_CANCELLED_STATE &&
      state != AON_UNDONE) /* what isn't there isn't counted */
    print_counts(result);
  print_problems(c, result, "errors", RED, number_of(result, "errorCount"));
  size_t warnings = json_array_size(json_object_get(result, "warnings"));
  if (warnings)
    printf("%zu warning%s:\n", warnings, warnings == 1 ? "" : "s");
  print_problems(c, result, "warnings", AMBER, (long long)warnings);
  print_conflicts(c, result, text_of(result, "bulkOperationId"));
  print_next(c, result, state);
  json_decref(result);
}

void cli_print_outcome(cli *c, const aon_outcome *outcome) {
  cli_progress_clear(c);
  if (cli_given(c, OPT_JSON))
    printf("%s\n", outcome->json.data ? outcome->json.data : "{}");
  else if (outcome->json.data)
    cli_print_bulk(c, outcome->json.data, true);
}

static void print_value(const json_t *value) {
  char *text = value && !json_is_null(value) ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
  if (!text)
    printf("–");
  else if (strlen(text) > VALUE_SHOWN)
    printf("%.*s…", VALUE_SHOWN, text);
  else
    printf("%s", text);
  aon_spare_free(text);
}

void cli_print_difference(cli *c, const char *text) {
  json_t *line = json_loads(text, 0, NULL);
  if (!line)
    return;
  const char *operation = text_of(line, "operation");
  const char *colour = !strcmp(operation, "create") ? GREEN : !strcmp(operation, "delete") ? RED : AMBER;
  printf("%s%s%s %s/%s/%s\n", cli_paint(c, colour), operation, cli_paint(c, NULL), text_of(line, "store"), text_of(line, "collection"),
         text_of(line, "documentId"));
  size_t index;
  json_t *change;
  json_array_foreach(json_object_get(line, "changes"), index, change) {
    printf("    %-28s ", text_of(change, "path"));
    if (strcmp(operation, "create")) {
      print_value(json_object_get(change, "before"));
      printf("  ->  ");
    }
    print_value(json_object_get(change, "after"));
    printf("\n");
  }
  json_decref(line);
}

void cli_print_entry(cli *c, const char *text) {
  json_t *line = json_loads(text, 0, NULL);
  if (!line)
    return;
  (void)c;
  printf("%7lld  %-10s  %-6s  %s/%s/%s\n", number_of(line, "sequence") + 1, text_of(line, "status"), text_of(line, "operation"),
         text_of(line, "dataSource"), text_of(line, "collectionName"), text_of(line, "documentId"));
  json_decref(line);
}
