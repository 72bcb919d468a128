/* Workbooks for tests. */
#include "make.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

#include <cmocka.h>

#include "sheet/rows_json.h"

#define MAIN "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
#define OFFICE "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
#define PACKAGE "http://schemas.openxmlformats.org/package/2006/relationships"

int place_open(void **state) {
  test_scene *made = calloc(1, sizeof *made);
  const char *folder = getenv("TMPDIR");
  aon_error error = AON_ERROR_INIT;
  snprintf(made->folder, sizeof made->folder, "%s/aon-sheet-XXXXXX", folder && *folder ? folder : "/tmp");
  *state = made;
  return !mkdtemp(made->folder) || aon_env_open(AON_LOG_WARNING, 0, 0, &made->env, &error);
}

static void remove_all(const char *folder) {
  DIR *open = opendir(folder);
  for (struct dirent *entry; open && (entry = readdir(open));) {
    char path[1024];
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
      continue;
    snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    if (unlink(path))
      remove_all(path);
  }
  closedir(open);
  rmdir(folder);
}

int place_close(void **state) {
  test_scene *made = *state;
  remove_all(made->folder);
  aon_env_close(made->env);
  free(made->lines);
  free(made);
  return 0;
}

const char *place_path(test_scene *place, const char *name) {
  snprintf(place->path, sizeof place->path, "%s/%s", place->folder, name);
  return place->path;
}

void make_file(const char *path, const void *bytes, size_t length) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, length, file), length);
  assert_int_equal(fclose(file), 0);
}

char *load_file(const char *path, size_t *ret_length) {
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  fseek(file, 0, SEEK_END);
  *ret_length = (size_t)ftell(file);
  rewind(file);
  char *bytes = malloc(*ret_length + 1);
  assert_int_equal(fread(bytes, 1, *ret_length, file), *ret_length);
  fclose(file);
  return bytes;
}

void make_zip(const char *path, const made_part *parts, size_t count) {
  zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, NULL);
  assert_non_null(zip);
  for (size_t i = 0; i < count; i++) {
    size_t length = parts[i].length ? parts[i].length : strlen(parts[i].text);
    zip_source_t *source = zip_source_buffer(zip, parts[i].text, length, 0);
    assert_true(source && zip_file_add(zip, parts[i].name, source, ZIP_FL_ENC_UTF_8) >= 0);
  }
  assert_int_equal(zip_close(zip), 0);
}

static char *wrap(const char *before, const char *inside, const char *after) {
  char *text = NULL;
  if (inside)
    assert_true(asprintf(&text, "%s%s%s", before, inside, after) > 0);
  return text;
}

void make_book(const char *path, const made_book *book) {
  char *sheet = book->sheet ? strdup(book->sheet)
                            : wrap("<worksheet xmlns=\"" MAIN "\"><sheetData>", book->data ? book->data : "", "</sheetData></worksheet>");
  char *strings = book->sst ? strdup(book->sst) : wrap("<sst xmlns=\"" MAIN "\">", book->strings, "</sst>");
  char *styles = wrap("<styleSheet xmlns=\"" MAIN "\">", book->styles, "</styleSheet>");
  made_part parts[6] = {{"_rels/.rels", "<Relationships xmlns=\"" PACKAGE "\"><Relationship Id=\"r\" Type=\"" OFFICE
                                        "/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>"},
                        {"xl/_rels/workbook.xml.rels",
                         "<Relationships xmlns=\"" PACKAGE "\"><Relationship Id=\"s1\" Type=\"" OFFICE "/worksheet\" Target=\"sheet.xml\"/>"
                         "<Relationship Id=\"s2\" Type=\"" OFFICE "/styles\" Target=\"styles.xml\"/>"
                         "<Relationship Id=\"s3\" Type=\"" OFFICE "/sharedStrings\" Target=\"/xl/sharedStrings.xml\"/></Relationships>"},
                        {"xl/workbook.xml", book->workbook
                                                ? book->workbook
                                                : "<workbook xmlns=\"" MAIN "\" xmlns:r=\"" OFFICE
                                                  "\"><sheets><sheet name=\"S\" sheetId=\"1\" r:id=\"s1\"/></sheets></workbook>"},
                        {"xl/sheet.xml", sheet}};
  size_t count = 4;
  if (strings)
    parts[count++] = (made_part){"xl/sharedStrings.xml", strings};
  if (styles)
    parts[count++] = (made_part){"xl/styles.xml", styles};
  make_zip(path, parts, count);
  free(sheet);
  free(strings);
  free(styles);
}

static aon_result read_sheet(aon_workbook *workbook, size_t sheet, aon_buffer *lines, aon_error *error) {
  aon_rows *rows;
  const aon_row *row;
  aon_result result = aon_rows_open(workbook, sheet, &rows, error);
  if (result)
    return result;
  while (!(result = aon_rows_next(rows, &row, error))) {
    result = aon_row_to_json(aon_workbook_sheet_name(workbook, sheet), aon_workbook_sheet_state(workbook, sheet), row, lines, error);
    if (!result)
      result = aon_buffer_append(lines, "\n", 1, error);
    if (result)
      break;
  }
  aon_rows_close(rows);
  return result == AON_END ? AON_OK : result;
}

aon_result read_book(test_scene *place, const char *path, const aon_workbook_limits *limits) {
  aon_workbook *workbook = NULL;
  aon_buffer lines = {0};
  place->error = (aon_error)AON_ERROR_INIT;
  aon_result result = aon_workbook_open(place->env, path, limits, &workbook, &place->error);
  for (size_t i = 0; !result && i < aon_workbook_sheets(workbook); i++)
    result = read_sheet(workbook, i, &lines, &place->error);
  aon_workbook_close(workbook);
  free(place->lines);
  place->lines = lines.data ? lines.data : strdup("");
  return result;
}

aon_result read_made(test_scene *place, const made_book *book, const aon_workbook_limits *limits) {
  place_path(place, "made.xlsx");
  make_book(place->path, book);
  return read_book(place, place->path, limits);
}

void assert_refused(test_scene *place, aon_result result, const char *words) {
  if (result != AON_REJECTED || strcmp(place->error.code, "bad_file") || !strstr(place->error.sentence, words))
    fail_msg("expected a refusal with “%s”, got %s %s: %s", words, aon_result_name(result), place->error.code, place->error.sentence);
}
