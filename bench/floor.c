/* The floor: the same rows written to the same SQLite files by nothing but prepared statements, one transaction a file, one thread.
 *
 *   floor ROWS FILE...
 *
 * A line of ROWS is NUMBER<tab>KIND<tab>TABLE<tab>ID<tab>DOCUMENT: the number of the FILE it goes to, i for insert or u for update. Nothing
 * is atomic across the files, nothing is logged, nothing is checked, nothing can be put back: no program that writes these rows can do
 * less. Rows are in memory before the clock starts. Files are opened as the embedded store opens its own (WAL, synchronous FULL, its size
 * of the page cache), tables are the store's document tables, and closing is measured too, since it moves the log into the file.
 *
 * Prints one JSON object: milliseconds of opening, of the transactions (with their commits), of closing, and of all three in wall and in
 * CPU time. */
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define MAX_FILES 8
#define MAX_TABLES 32
#define CACHE_KIBIBYTES "8192" /* the embedded store's */

typedef struct floor_row {
  const char *id, *document;
  int id_length, document_length;
  unsigned short table;
  bool update;
} floor_row;

typedef struct floor_table {
  const char *name;
  sqlite3_stmt *insert, *update;
} floor_table;

typedef struct floor_file {
  const char *path;
  sqlite3 *database;
  floor_row *rows;
  size_t count, capacity;
  floor_table tables[MAX_TABLES];
  unsigned short table_count;
} floor_file;

__attribute__((noreturn, format(printf, 1, 2))) static void give_up(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(1);
}

static void *grown(void *block, size_t bytes) {
  void *larger = realloc(block, bytes);
  if (!larger)
    give_up("floor: out of memory");
  return larger;
}

/* ---- rows ---- */

static char *read_all(const char *path) {
  FILE *in = fopen(path, "r");
  if (!in || fseek(in, 0, SEEK_END))
    give_up("floor: %s can't be read", path);
  long bytes = ftell(in);
  rewind(in);
  char *text = grown(NULL, (size_t)bytes + 1);
  if (fread(text, 1, (size_t)bytes, in) != (size_t)bytes)
    give_up("floor: %s can't be read", path);
  text[bytes] = 0;
  fclose(in);
  return text;
}

static unsigned short table_number(floor_file *file, const char *name) {
  for (unsigned short i = file->table_count; i > 0; i--)
    if (!strcmp(file->tables[i - 1].name, name))
      return i - 1;
  if (file->table_count == MAX_TABLES)
    give_up("floor: more than %d tables", MAX_TABLES);
  file->tables[file->table_count].name = name;
  return file->table_count++;
}

/* The field that begins at *at, ended by a NUL in place of its tab or newline. */
static const char *field(char **at, char end, int *ret_length) {
  char *start = *at, *stop = strchr(start, end);
  if (!stop)
    give_up("floor: a line of the rows has too few fields");
  *stop = 0;
  *at = stop + 1;
  *ret_length = (int)(stop - start);
  return start;
}

static void take_rows(char *text, floor_file *files, size_t file_count) {
  while (*text) {
    int length;
    size_t number = strtoul(field(&text, '\t', &length), NULL, 10);
    if (number >= file_count)
      give_up("floor: a row for file %zu, but there are %zu", number, file_count);
    floor_file *file = &files[number];
    if (file->count == file->capacity) {
      file->capacity = file->capacity ? file->capacity * 2 : 1024;
      file->rows = grown(file->rows, file->capacity * sizeof *file->rows);
    }
    floor_row *row = &file->rows[file->count++];
    row->update = *field(&text, '\t', &length) == 'u';
    row->table = table_number(file, field(&text, '\t', &length));
    row->id = field(&text, '\t', &row->id_length);
    row->document = field(&text, '\n', &row->document_length);
  }
}

/* ---- SQLite ---- */

static void run(floor_file *file, const char *sql) {
  if (sqlite3_exec(file->database, sql, NULL, NULL, NULL))
    give_up("floor: %s: %s", sql, sqlite3_errmsg(file->database));
}

static sqlite3_stmt *prepared(floor_file *file, const char *format, const char *table) {
  char sql[256];
  snprintf(sql, sizeof sql, format, table);
  sqlite3_stmt *statement;
  if (sqlite3_prepare_v3(file->database, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL))
    give_up("floor: %s: %s", sql, sqlite3_errmsg(file->database));
  return statement;
}

/* A file that no row goes to is left alone. */
static void open_file(floor_file *file) {
  if (!file->count)
    return;
  if (sqlite3_open_v2(file->path, &file->database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL))
    give_up("floor: %s can't be opened", file->path);
  run(file, "pragma journal_mode=wal; pragma synchronous=full; pragma cache_size=-" CACHE_KIBIBYTES "; begin immediate");
  for (unsigned short i = 0; i < file->table_count; i++) {
    floor_table *table = &file->tables[i];
    char sql[256];
    snprintf(sql, sizeof sql, "create table if not exists \"%s\" (id TEXT PRIMARY KEY, doc TEXT)", table->name);
    run(file, sql);
    table->insert = prepared(file, "insert into \"%s\" values (?1, ?2)", table->name);
    table->update = prepared(file, "update \"%s\" set doc = ?2 where id = ?1", table->name);
  }
}

static void write_rows(floor_file *file) {
  for (const floor_row *row = file->rows; row < file->rows + file->count; row++) {
    sqlite3_stmt *statement = row->update ? file->tables[row->table].update : file->tables[row->table].insert;
    sqlite3_bind_text(statement, 1, row->id, row->id_length, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, row->document, row->document_length, SQLITE_STATIC);
    if (sqlite3_step(statement) != SQLITE_DONE || sqlite3_changes(file->database) != 1)
      give_up("floor: %s: %s", row->id, sqlite3_errmsg(file->database));
    sqlite3_reset(statement);
  }
}

static void close_file(floor_file *file) {
  for (unsigned short i = 0; i < file->table_count; i++) {
    sqlite3_finalize(file->tables[i].insert);
    sqlite3_finalize(file->tables[i].update);
  }
  if (sqlite3_close(file->database))
    give_up("floor: %s can't be closed", file->path);
}

/* ---- clocks ---- */

static double wall_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static double cpu_ms(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

int main(int argc, char **argv) {
  if (argc < 3 || argc - 2 > MAX_FILES)
    give_up("usage: floor ROWS FILE... (at most %d files)", MAX_FILES);
  size_t file_count = (size_t)argc - 2, rows = 0;
  floor_file files[MAX_FILES] = {0};
  char *text = read_all(argv[1]);
  take_rows(text, files, file_count);
  sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); /* as ours */
  double cpu = cpu_ms(), started = wall_ms();
  for (size_t i = 0; i < file_count; i++) {
    files[i].path = argv[i + 2];
    open_file(&files[i]);
  }
  double opened = wall_ms();
  for (size_t i = 0; i < file_count; i++) {
    write_rows(&files[i]);
    rows += files[i].count;
  }
  for (size_t i = 0; i < file_count; i++)
    if (files[i].count)
      run(&files[i], "commit");
  double committed = wall_ms();
  for (size_t i = 0; i < file_count; i++)
    close_file(&files[i]);
  double closed = wall_ms();
  printf("{\"operations\":%zu,\"open_ms\":%.3f,\"write_ms\":%.3f,\"close_ms\":%.3f,\"wall_ms\":%.3f,\"cpu_ms\":%.3f}\n", rows,
         opened - started, committed - opened, closed - committed, closed - started, cpu_ms() - cpu);
  for (size_t i = 0; i < file_count; i++)
    free(files[i].rows);
  free(text);
  return 0;
}
