/* Opening a workbook: what kind it is, its list of sheets, and the one cursor at a time. */
#include "sheet/workbook.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sheet/internal.h"

static void group_digits(uint64_t number, char text[32]) {
  char digits[24];
  int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number), to = 0;
  for (int i = 0; i < length; i++) {
    if (i && (length - i) % 3 == 0)
      text[to++] = ',';
    text[to++] = digits[i];
  }
  text[to] = 0;
}

aon_result aon_refuse_limit(aon_error *error, const char *what, const char *name, uint64_t limit) {
  char number[32];
  group_digits(limit, number);
  return aon_refuse(error, "%s than the limit “%s” allows (%s). Split it into smaller ones or raise the limit.", what, name, number);
}

aon_result aon_workbook_keep(aon_workbook *workbook, const char *text, size_t length, char **ret_text, aon_error *error) {
  if (length > AON_LIMIT_METADATA_BYTES || workbook->arena.used_bytes > AON_LIMIT_METADATA_BYTES - length)
    return aon_refuse_limit(error, "The names and relationships in this file have more bytes", "metadata_bytes", AON_LIMIT_METADATA_BYTES);
  char *copy = aon_arena_alloc(&workbook->arena, length + 1);
  if (!copy)
    return aon_fail_memory(error);
  if (text)
    memcpy(copy, text, length);
  *ret_text = copy;
  return AON_OK;
}

aon_result aon_workbook_add_sheet(aon_workbook *workbook, const aon_sheet_entry *entry, aon_error *error) {
  if (workbook->sheet_count >= workbook->limits.entries)
    return aon_refuse_limit(error, "This workbook has more sheets", "entries", workbook->limits.entries);
  if (workbook->sheet_count == workbook->sheet_capacity) {
    size_t capacity = workbook->sheet_capacity ? workbook->sheet_capacity * 2 : 16;
    aon_sheet_entry *grown = realloc(workbook->sheets, capacity * sizeof *grown);
    if (!grown)
      return aon_fail_memory(error);
    workbook->sheets = grown;
    workbook->sheet_capacity = capacity;
  }
  workbook->sheets[workbook->sheet_count++] = *entry;
  return AON_OK;
}

static int name_order(const void *a, const void *b) { return strcasecmp(*(const char *const *)a, *(const char *const *)b); }

static aon_result refuse_doubled_names(aon_workbook *workbook, aon_error *error) {
  const char **names = malloc((workbook->sheet_count + 1) * sizeof *names);
  if (!names)
    return aon_fail_memory(error);
  for (size_t i = 0; i < workbook->sheet_count; i++)
    names[i] = workbook->sheets[i].name;
  qsort(names, workbook->sheet_count, sizeof *names, name_order);
  aon_result result = AON_OK;
  for (size_t i = 1; !result && i < workbook->sheet_count; i++) {
    if (!strcasecmp(names[i - 1], names[i]))
      result = aon_refuse(error, "This workbook has two sheets named “%s”. Rename one of them and try again.", names[i]);
  }
  free(names);
  return result;
}

static bool has_ending(const char *name, const char *ending) {
  size_t length = strlen(name), wanted = strlen(ending);
  return length > wanted && !strcasecmp(name + length - wanted, ending);
}

/* OpenDocument (its part 3): the first entry, "mimetype", holds the type as it is. */
static aon_result refuse_opendocument(aon_package *package, size_t index, aon_error *error) {
  static const char spreadsheet[] = "application/vnd.oasis.opendocument.spreadsheet";
  char type[128];
  size_t got;
  aon_part *part;
  aon_result result = aon_part_open(package, index, &part, error);
  if (result)
    return result;
  result = aon_part_read(part, type, sizeof type, &got, error);
  aon_part_close(part);
  if (result)
    return result;
  if (got >= sizeof spreadsheet - 1 && !memcmp(type, spreadsheet, sizeof spreadsheet - 1))
    return aon_refuse(error, "This is an OpenDocument spreadsheet (.ods). Save it as .xlsx and try again.");
  return aon_refuse(error, "This is an OpenDocument file, but not a workbook. Give an .xlsx file.");
}

/* A zip that is neither a package of Office nor one of .csv files. */
static aon_result refuse_other_zip(aon_package *package, aon_error *error) {
  size_t index;
  if (aon_package_find(package, "mimetype", &index))
    return refuse_opendocument(package, index, error);
  for (size_t i = 0; i < aon_package_count(package); i++) {
    const char *name = aon_package_name(package, i);
    if (has_ending(name, ".iwa") || !strcasecmp(name, "Index.zip"))
      return aon_refuse(error, "This is a file of Apple's Numbers (.numbers). Export it as Excel (.xlsx) and try again.");
    if (has_ending(name, ".xlsx") || has_ending(name, ".xlsm"))
      return aon_refuse(error, "This zip holds the workbook “%s”. Unpack it and give the workbook itself.", name);
  }
  return aon_refuse(error, "This zip holds neither a workbook nor .csv files. Give an .xlsx file, or a folder or zip of .csv files.");
}

static bool has_csv(const aon_package *package) {
  for (size_t i = 0; i < aon_package_count(package); i++) {
    if (has_ending(aon_package_name(package, i), ".csv"))
      return true;
  }
  return false;
}

static aon_result open_zip(aon_workbook *workbook, const char *path, aon_error *error) {
  size_t index;
  aon_result result = aon_package_open(workbook->env, path, &workbook->limits, &workbook->package, error);
  if (result)
    return result;
  if (aon_package_find(workbook->package, "_rels/.rels", &index)) {
    workbook->xlsx = true;
    return aon_xlsx_open(workbook, error);
  }
  if (aon_package_find(workbook->package, "[Content_Types].xml", &index))
    return aon_refuse(error, "This file is damaged: it has no list of its parts (_rels/.rels). " AON_SAVE_AGAIN);
  return has_csv(workbook->package) ? aon_csv_open_zip(workbook, error) : refuse_other_zip(workbook->package, error);
}

static aon_result open_any(aon_workbook *workbook, const char *path, aon_error *error) {
  aon_file_info info;
  aon_result result = workbook->env->ops->file_info(workbook->env->context, path, &info, error);
  if (result)
    return result;
  result = info.is_directory ? aon_csv_open_folder(workbook, path, error) : open_zip(workbook, path, error);
  if (result)
    return result;
  if (workbook->sheet_count == 0)
    return aon_refuse(error, "This workbook has no sheet with cells. Give one that has.");
  /* Two .csv files may differ in case or folder only: a person's mistake, which a pack names at the second one's A1. */
  return workbook->xlsx ? refuse_doubled_names(workbook, error) : AON_OK;
}

aon_result aon_workbook_open(aon_env *env, const char *path, const aon_workbook_limits *limits, aon_workbook **ret_workbook,
                             aon_error *error) {
  aon_workbook *workbook = calloc(1, sizeof *workbook);
  if (!workbook)
    return aon_fail_memory(error);
  workbook->env = env;
  workbook->limits = aon_workbook_limits_or_default(limits);
  workbook->folder_budget.limit_bytes = workbook->limits.unpacked_bytes;
  aon_result result = open_any(workbook, path, error);
  if (result) {
    aon_workbook_close(workbook);
    return result;
  }
  *ret_workbook = workbook;
  return AON_OK;
}

void aon_workbook_close(aon_workbook *workbook) {
  if (!workbook)
    return;
  aon_strings_free(workbook->strings);
  aon_package_close(workbook->package);
  aon_arena_release(&workbook->arena);
  free(workbook->sheets);
  free(workbook->styles);
  free(workbook);
}

size_t aon_workbook_sheets(const aon_workbook *workbook) { return workbook->sheet_count; }

const char *aon_workbook_sheet_name(const aon_workbook *workbook, size_t sheet) { return workbook->sheets[sheet].name; }

aon_sheet_state aon_workbook_sheet_state(const aon_workbook *workbook, size_t sheet) { return workbook->sheets[sheet].state; }

bool aon_workbook_is_xlsx(const aon_workbook *workbook) { return workbook->xlsx; }

aon_result aon_rows_open(aon_workbook *workbook, size_t sheet, aon_rows **ret_rows, aon_error *error) {
  if (workbook->reading)
    return aon_fail(error, AON_USAGE, "wrong_state", "Another sheet of this workbook is being read.");
  if (sheet >= workbook->sheet_count)
    return aon_fail(error, AON_USAGE, "wrong_state", "This workbook has no sheet number %zu.", sheet + 1);
  aon_result result =
      workbook->xlsx ? aon_xlsx_rows_open(workbook, sheet, ret_rows, error) : aon_csv_rows_open(workbook, sheet, ret_rows, error);
  workbook->reading = result == AON_OK;
  return result;
}

aon_result aon_rows_next(aon_rows *rows, const aon_row **ret_row, aon_error *error) { return rows->ops->next(rows, ret_row, error); }

void aon_rows_close(aon_rows *rows) {
  if (!rows)
    return;
  rows->workbook->reading = false;
  rows->ops->close(rows);
}
