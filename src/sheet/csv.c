/* Workbooks of .csv files: a folder or a zip of them, each a sheet named after its file.
 *
 * RFC 4180, and what people's programs make of it: UTF-8 with or without byte order mark; comma, semicolon or tab, found in the
 * header line of each file; CR LF, LF or CR. Cells are text, and a row's number is the number of its record. A quote inside an unquoted
 * field is a letter like any other; after a closing quote only a separator or the end of the line may stand. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sheet/internal.h"

#define CHUNK_BYTES 65536 /* also how far the header line is looked at for its separator */
#define END_OF_FILE (-1)

typedef struct csv_rows {
  aon_rows rows;
  aon_part *part;
  char chunk[CHUNK_BYTES];
  size_t used, length;
  bool at_end;
  char separator;
  uint64_t line; /* of the next byte, from 1 */
  uint32_t record;
  uint64_t cell_count;
  aon_result failed;
  aon_error *error; /* of the call under way */

  aon_cell *cells; /* malloc; text.data is an offset while the record is read */
  size_t count, capacity;
  uint32_t column;
  size_t field; /* where the open field begins in text */
  aon_buffer text;
  aon_row out;
} csv_rows;

/* ---- the list of sheets ---- */

static bool is_csv(const char *name) {
  const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
  size_t length = strlen(base);
  return *base != '.' && length > 4 && !strcasecmp(base + length - 4, ".csv") && strncmp(name, "__MACOSX/", 9);
}

static aon_result add_file(aon_workbook *workbook, const char *name, size_t part, const char *path, aon_error *error) {
  const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
  size_t length = strlen(base) - 4;
  char *copy;
  if (!bson_utf8_validate(base, length, false))
    return aon_refuse(error, "The name of a .csv file is not UTF-8. Rename it and try again.");
  aon_result result = aon_workbook_keep(workbook, base, length, &copy, error);
  if (result)
    return result;
  aon_sheet_entry entry = {.name = copy, .state = AON_SHEET_VISIBLE, .part = part, .path = path};
  return aon_workbook_add_sheet(workbook, &entry, error);
}

typedef struct folder_reader {
  aon_workbook *workbook;
  const char *path;
  const char *other; /* a workbook that is there instead, NULL */
  size_t files;
  aon_result result;
  aon_error *error;
} folder_reader;

static bool each_file(void *context, const char *name) {
  folder_reader *reader = context;
  aon_workbook *workbook = reader->workbook;
  size_t length = strlen(name);
  char *path;
  aon_file_info info;
  if (++reader->files > workbook->limits.entries) {
    reader->result = aon_refuse_limit(reader->error, "This folder holds more files", "entries", workbook->limits.entries);
    return false;
  }
  if (length > 5 && (!strcasecmp(name + length - 5, ".xlsx") || !strcasecmp(name + length - 5, ".xlsm")) && !reader->other)
    reader->other = aon_arena_text(&workbook->arena, name, length);
  if (!is_csv(name))
    return true;
  reader->result = aon_workbook_keep(workbook, NULL, strlen(reader->path) + 1 + length, &path, reader->error);
  if (reader->result)
    return false;
  snprintf(path, strlen(reader->path) + length + 2, "%s/%s", reader->path, name);
  reader->result = workbook->env->ops->file_info(workbook->env->context, path, &info, reader->error);
  if (!reader->result && !info.is_directory)
    reader->result = add_file(workbook, name, 0, path, reader->error);
  return !reader->result;
}

aon_result aon_csv_open_folder(aon_workbook *workbook, const char *path, aon_error *error) {
  folder_reader reader = {.workbook = workbook, .path = path, .error = error};
  aon_result result = workbook->env->ops->folder_list(workbook->env->context, path, each_file, &reader, error);
  if (!result)
    result = reader.result;
  if (result || workbook->sheet_count)
    return result;
  if (reader.other)
    return aon_refuse(error, "This folder holds the workbook “%s” and no .csv files. Give the workbook itself.", reader.other);
  return aon_refuse(error, "This folder holds no .csv files. Give an .xlsx file, or a folder or zip of .csv files.");
}

static int sheet_order(const void *a, const void *b) {
  return strcmp(((const aon_sheet_entry *)a)->name, ((const aon_sheet_entry *)b)->name);
}

aon_result aon_csv_open_zip(aon_workbook *workbook, aon_error *error) {
  for (size_t i = 0; i < aon_package_count(workbook->package); i++) {
    const char *name = aon_package_name(workbook->package, i);
    aon_result result = is_csv(name) ? add_file(workbook, name, i, NULL, error) : AON_OK;
    if (result)
      return result;
  }
  if (workbook->sheet_count)
    qsort(workbook->sheets, workbook->sheet_count, sizeof *workbook->sheets, sheet_order);
  return AON_OK;
}

/* ---- bytes ---- */

static aon_result fail(csv_rows *reader, aon_result result) {
  if (!reader->failed)
    reader->failed = result;
  return reader->failed;
}

static aon_result refuse_line(csv_rows *reader, uint64_t line, const char *why) {
  return fail(reader, aon_refuse(reader->error, "%s.csv, line %llu: %s", reader->rows.sheet->name, (unsigned long long)line, why));
}

static aon_result refuse_limit(csv_rows *reader, const char *what, const char *name, uint64_t limit) {
  fail(reader, aon_refuse_limit(reader->error, what, name, limit));
  aon_error_prefix(reader->error, "%s.csv, line %llu: ", reader->rows.sheet->name, (unsigned long long)reader->line);
  return reader->failed;
}

static void refill(csv_rows *reader) {
  reader->used = reader->length = 0;
  while (!reader->at_end && !reader->failed && reader->length < CHUNK_BYTES) {
    size_t got = 0;
    fail(reader, aon_part_read(reader->part, reader->chunk + reader->length, CHUNK_BYTES - reader->length, &got, reader->error));
    reader->length += got;
    reader->at_end = got == 0;
  }
}

static int peek(csv_rows *reader) {
  if (reader->used == reader->length)
    refill(reader);
  return reader->used == reader->length ? END_OF_FILE : (unsigned char)reader->chunk[reader->used];
}

/* The separator that stands most often in the first line, outside quotes; comma where none does. */
static char find_separator(const char *text, size_t length) {
  static const char separators[] = ",;\t";
  size_t counts[3] = {0};
  bool quoted = false;
  for (size_t i = 0; i < length && (quoted || (text[i] != '\n' && text[i] != '\r')); i++) {
    if (text[i] == '"')
      quoted = !quoted;
    const char *found = quoted || !text[i] ? NULL : strchr(separators, text[i]);
    if (found)
      counts[found - separators]++;
  }
  int best = 0;
  for (int i = 1; i < 3; i++) {
    if (counts[i] > counts[best])
      best = i;
  }
  return separators[best];
}

static aon_result read_head(csv_rows *reader) {
  refill(reader);
  if (reader->failed)
    return reader->failed;
  const char *at = reader->chunk;
  size_t length = reader->length;
  if (length >= 2 && (!memcmp(at, "\xff\xfe", 2) || !memcmp(at, "\xfe\xff", 2)))
    return fail(reader,
                aon_refuse(reader->error, "%s.csv is UTF-16 text. Save it as “CSV UTF-8” and try again.", reader->rows.sheet->name));
  if (length >= 3 && !memcmp(at, "\xef\xbb\xbf", 3))
    reader->used = 3;
  at += reader->used;
  length -= reader->used;
  reader->separator = find_separator(at, length);
  return AON_OK;
}

/* ---- records ---- */

static bool put_byte(csv_rows *reader, char byte) {
  uint32_t limit = reader->rows.workbook->limits.string_bytes;
  if (reader->text.length - reader->field >= limit) {
    refuse_limit(reader, "A cell has more bytes of text", "string_bytes", limit);
    return false;
  }
  if (reader->text.length >= AON_LIMIT_ROW_BYTES) {
    refuse_limit(reader, "A row has more bytes of text", "row_bytes", AON_LIMIT_ROW_BYTES);
    return false;
  }
  return !fail(reader, aon_buffer_append(&reader->text, &byte, 1, reader->error));
}

/* Bytes up to the next one that means something, at once. */
static bool put_run(csv_rows *reader, bool quoted) {
  size_t start = reader->used;
  uint32_t limit = reader->rows.workbook->limits.string_bytes;
  for (; reader->used < reader->length; reader->used++) {
    char c = reader->chunk[reader->used];
    if (c == '\n' || c == '\r' || (quoted ? c == '"' : c == reader->separator))
      break;
  }
  size_t length = reader->used - start;
  if (reader->text.length - reader->field + length > limit) {
    refuse_limit(reader, "A cell has more bytes of text", "string_bytes", limit);
    return false;
  }
  if (reader->text.length + length > AON_LIMIT_ROW_BYTES) {
    refuse_limit(reader, "A row has more bytes of text", "row_bytes", AON_LIMIT_ROW_BYTES);
    return false;
  }
  return !fail(reader, aon_buffer_append(&reader->text, reader->chunk + start, length, reader->error));
}

/* Takes CR, LF or CR LF, which is ahead. */
static void take_line_end(csv_rows *reader) {
  int c = peek(reader);
  reader->used++;
  if (c == '\r' && peek(reader) == '\n')
    reader->used++;
  reader->line++;
}

/* The opening quote has been taken. Line breaks inside come out as LF. */
static void read_quoted(csv_rows *reader) {
  uint64_t line = reader->line;
  while (!reader->failed) {
    int c = peek(reader);
    if (c == END_OF_FILE) {
      refuse_line(reader, line, "A quote is opened here and never closed. Close it and try again.");
    } else if (c == '"') {
      reader->used++;
      if (peek(reader) != '"')
        return;
      reader->used++;
      put_byte(reader, '"');
    } else if (c == '\n' || c == '\r') {
      take_line_end(reader);
      put_byte(reader, '\n');
    } else {
      put_run(reader, true);
    }
  }
}

static bool ends_field(const csv_rows *reader, int c) { return c == END_OF_FILE || c == '\n' || c == '\r' || c == reader->separator; }

static void put_cell(csv_rows *reader, uint64_t line) {
  size_t length = reader->text.length - reader->field;
  const aon_workbook_limits *limits = &reader->rows.workbook->limits;
  if (reader->column > limits->columns) {
    refuse_limit(reader, "The record has more fields", "columns", limits->columns);
    return;
  }
  if (++reader->cell_count > limits->cells) {
    refuse_limit(reader, "The file has more fields", "cells", limits->cells);
    return;
  }
  if (!length)
    return;
  if (!bson_utf8_validate(reader->text.data + reader->field, length, false)) {
    refuse_line(reader, line, "This is not UTF-8 text. Save the file as “CSV UTF-8” and try again.");
    return;
  }
  if (reader->count == reader->capacity) {
    size_t capacity = reader->capacity ? reader->capacity * 2 : 64;
    aon_cell *grown = realloc(reader->cells, capacity * sizeof *grown);
    if (!grown) {
      fail(reader, aon_fail_memory(reader->error));
      return;
    }
    reader->cells = grown;
    reader->capacity = capacity;
  }
  reader->cells[reader->count++] =
      (aon_cell){.column = reader->column, .type = AON_CELL_TEXT, .text = {(const char *)(uintptr_t)reader->field, length}};
  fail(reader, aon_buffer_append(&reader->text, "", 1, reader->error));
}

static void read_field(csv_rows *reader) {
  uint64_t line = reader->line;
  reader->field = reader->text.length;
  reader->column++;
  if (peek(reader) == '"') {
    reader->used++;
    read_quoted(reader);
    if (!reader->failed && !ends_field(reader, peek(reader)))
      refuse_line(reader, reader->line, "Something stands after a closing quote. Double the quotes inside a field and try again.");
  } else {
    while (!reader->failed && !ends_field(reader, peek(reader)))
      put_run(reader, false);
  }
  if (!reader->failed)
    put_cell(reader, line);
}

static void read_record(csv_rows *reader) {
  reader->count = 0;
  reader->column = 0;
  aon_buffer_clear(&reader->text);
  if (reader->record >= reader->rows.workbook->limits.rows) {
    refuse_limit(reader, "The file has more records", "rows", reader->rows.workbook->limits.rows);
    return;
  }
  reader->record++;
  read_field(reader);
  while (!reader->failed && peek(reader) == reader->separator) {
    reader->used++;
    read_field(reader);
  }
  if (!reader->failed && peek(reader) != END_OF_FILE)
    take_line_end(reader);
}

static aon_result next(aon_rows *rows, const aon_row **ret_row, aon_error *error) {
  csv_rows *reader = (csv_rows *)rows;
  if (reader->failed)
    return aon_fail(error, AON_USAGE, "wrong_state", "The file “%s.csv” has failed before.", rows->sheet->name);
  reader->error = error;
  do {
    if (peek(reader) == END_OF_FILE)
      return reader->failed ? reader->failed : AON_END;
    read_record(reader);
  } while (!reader->failed && !reader->count);
  if (reader->failed)
    return reader->failed;
  for (size_t i = 0; i < reader->count; i++)
    reader->cells[i].text.data = reader->text.data + (uintptr_t)reader->cells[i].text.data;
  reader->out = (aon_row){reader->record, reader->cells, reader->count};
  *ret_row = &reader->out;
  return AON_OK;
}

static void close_rows(aon_rows *rows) {
  csv_rows *reader = (csv_rows *)rows;
  aon_part_close(reader->part);
  free(reader->cells);
  aon_buffer_release(&reader->text);
  free(reader);
}

static const aon_rows_ops csv_ops = {next, close_rows};

aon_result aon_csv_rows_open(aon_workbook *workbook, size_t sheet, aon_rows **ret_rows, aon_error *error) {
  csv_rows *reader = calloc(1, sizeof *reader);
  if (!reader)
    return aon_fail_memory(error);
  aon_sheet_entry *entry = &workbook->sheets[sheet];
  reader->rows = (aon_rows){&csv_ops, workbook, entry};
  reader->line = 1;
  reader->error = error;
  aon_result result =
      entry->path ? aon_part_open_file(workbook->env, entry->path, &entry->seen_bytes, &workbook->folder_budget, &reader->part, error)
                  : aon_part_open(workbook->package, entry->part, &reader->part, error);
  if (!result)
    result = read_head(reader);
  if (result) {
    close_rows(&reader->rows);
    return result;
  }
  *ret_rows = &reader->rows;
  return AON_OK;
}
