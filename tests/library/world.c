/* Folders, sessions and rows for the tests of the library. */
#include "world.h"

#include <dirent.h>
#include <ftw.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES 512

void world_make(world *w) {
  const char *base = getenv("TMPDIR");
  *w = (world){0};
  snprintf(w->folder, sizeof w->folder, "%s/aon-library-XXXXXX", base ? base : "/tmp");
  assert_non_null(mkdtemp(w->folder));
}

void world_open(world *w) {
  aon_error error = AON_ERROR_INIT;
  aon_session_options options = {.data_folder = w->folder, .organization = "org1", .user = "tester", .embedded_stores = true};
  aon_result result = aon_session_open(&options, &w->session, &error);
  if (result)
    fail_msg("%s", error.sentence);
}

void world_reopen(world *w) {
  aon_session_close(w->session);
  world_open(w);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place) {
  (void)info;
  (void)kind;
  (void)place;
  return remove(path);
}

void world_drop(world *w) {
  aon_session_close(w->session);
  nftw(w->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

char *world_path(const world *w, const char *name) {
  char *path = malloc(PATH_BYTES);
  assert_non_null(path);
  snprintf(path, PATH_BYTES, "%s/%s", w->folder, name);
  return path;
}

void world_write(const world *w, const char *name, const char *text) {
  char *path = world_path(w, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  assert_int_equal(fclose(file), 0);
  free(path);
}

/* ---- rows ---- */

static sqlite3 *database(const world *w, const char *name, int flags) {
  char *path = world_path(w, name);
  sqlite3 *found = NULL;
  assert_int_equal(sqlite3_open_v2(path, &found, flags, NULL), SQLITE_OK);
  free(path);
  return found;
}

static sqlite3_stmt *statement(sqlite3 *in, const char *sql) {
  sqlite3_stmt *made = NULL;
  if (sqlite3_prepare_v2(in, sql, -1, &made, NULL) != SQLITE_OK)
    fail_msg("%s: %s", sql, sqlite3_errmsg(in));
  return made;
}

static void add_table(FILE *out, sqlite3 *in, const char *name, const char *table) {
  char *sql = sqlite3_mprintf("select * from \"%w\" order by 1", table);
  sqlite3_stmt *rows = statement(in, sql);
  while (sqlite3_step(rows) == SQLITE_ROW) {
    fprintf(out, "%s %s", name, table);
    for (int i = 0; i < sqlite3_column_count(rows); i++)
      fprintf(out, " | %s", (const char *)sqlite3_column_text(rows, i) ? (const char *)sqlite3_column_text(rows, i) : "null");
    fputc('\n', out);
  }
  sqlite3_finalize(rows);
  sqlite3_free(sql);
}

static void add_database(FILE *out, const world *w, const char *name) {
  sqlite3 *in = database(w, name, SQLITE_OPEN_READWRITE);
  sqlite3_stmt *tables =
      statement(in, "select name from sqlite_master where type = 'table' and name not like 'aon\\_%' escape '\\' and name not like "
                    "'sqlite\\_%' escape '\\' order by name");
  while (sqlite3_step(tables) == SQLITE_ROW)
    add_table(out, in, name, (const char *)sqlite3_column_text(tables, 0));
  sqlite3_finalize(tables);
  sqlite3_close(in);
}

static int databases_only(const struct dirent *entry) {
  size_t length = strlen(entry->d_name);
  return length > 3 && !strcmp(entry->d_name + length - 3, ".db") && strcmp(entry->d_name, "journal.db") != 0;
}

char *world_rows(const world *w) {
  char *text = NULL;
  size_t length = 0;
  FILE *out = open_memstream(&text, &length);
  struct dirent **entries;
  int count = scandir(w->folder, &entries, databases_only, alphasort);
  assert_true(out && count >= 0);
  for (int i = 0; i < count; i++) {
    add_database(out, w, entries[i]->d_name);
    free(entries[i]);
  }
  free(entries);
  fclose(out);
  return text;
}

char *world_document(const world *w, const char *store, const char *collection, const char *id) {
  char name[80], *found = NULL;
  snprintf(name, sizeof name, "%s.db", store);
  sqlite3 *in = database(w, name, SQLITE_OPEN_READWRITE);
  char *sql = sqlite3_mprintf("select doc from \"%w\" where id = %Q", collection, id);
  sqlite3_stmt *row = statement(in, sql);
  if (sqlite3_step(row) == SQLITE_ROW)
    found = strdup((const char *)sqlite3_column_text(row, 0));
  sqlite3_finalize(row);
  sqlite3_free(sql);
  sqlite3_close(in);
  return found;
}

void world_sql(const world *w, const char *name, const char *sql) {
  sqlite3 *in = database(w, name, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  char *message = NULL;
  if (sqlite3_exec(in, sql, NULL, NULL, &message) != SQLITE_OK)
    fail_msg("%s: %s", sql, message);
  sqlite3_close(in);
}

/* ---- results ---- */

json_t *world_result(aon_result result, char **text, const aon_error *error) {
  if (result)
    fail_msg("%s: %s", aon_result_name(result), error->sentence);
  json_t *object = json_loads(*text, 0, NULL);
  assert_true(json_is_object(object));
  aon_result_text_free(*text);
  *text = NULL;
  return object;
}

json_t *world_apply(world *w, const char *lines, const aon_session_run *run, int expected_exit_status) {
  aon_error error = AON_ERROR_INIT;
  char *text = NULL;
  int status = -1;
  aon_result result = aon_session_apply(w->session, lines, strlen(lines), run, &text, &status, &error);
  if (!result && status != expected_exit_status)
    print_message("%s\n", text);
  json_t *object = world_result(result, &text, &error);
  assert_int_equal(status, expected_exit_status);
  return object;
}

const char *text_of(const json_t *object, const char *member) {
  const json_t *value = json_object_get(object, member);
  assert_true(json_is_string(value));
  return json_string_value(value);
}
