/* The floor: the same rows written to the same stores by nothing but what their makers' libraries offer for many rows, one transaction a
 * store, one thread.
 *
 *   floor [--rollback] ROWS TARGET...
 *
 * A line of ROWS is NUMBER<tab>KIND<tab>TABLE<tab>ID<tab>DOCUMENT: the number of the TARGET it goes to, i for insert or u for update. A
 * target is the path of an SQLite file, or a URL of PostgreSQL (postgresql://) or MongoDB (mongodb://). Nothing is atomic across the
 * targets, nothing is logged, nothing is checked, nothing can be put back: no program that writes these rows can do less. Rows are in
 * memory before the clock starts, as the library of their target takes them. Opening and closing are measured too: closing moves SQLite's
 * log into the file. --rollback: each store takes its own transaction back once everything is written.
 *
 * Prints one JSON object: milliseconds of opening, of the transactions (with their commits), of closing, and of all three in wall and in
 * CPU time of this process. */
#include "floor.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define MAX_TARGETS 8

void floor_give_up(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(1);
}

void *floor_grown(void *block, size_t bytes) {
  void *larger = realloc(block, bytes);
  if (!larger)
    floor_give_up("floor: out of memory");
  return larger;
}

/* ---- rows ---- */

static char *read_all(const char *path) {
  FILE *in = fopen(path, "r");
  if (!in || fseek(in, 0, SEEK_END))
    floor_give_up("floor: %s can't be read", path);
  long bytes = ftell(in);
  rewind(in);
  char *text = floor_grown(NULL, (size_t)bytes + 1);
  if (fread(text, 1, (size_t)bytes, in) != (size_t)bytes)
    floor_give_up("floor: %s can't be read", path);
  text[bytes] = 0;
  fclose(in);
  return text;
}

static unsigned short table_number(floor_target *target, const char *name) {
  for (unsigned short i = target->table_count; i > 0; i--)
    if (!strcmp(target->tables[i - 1], name))
      return i - 1;
  if (target->table_count == FLOOR_MAX_TABLES)
    floor_give_up("floor: more than %d tables", FLOOR_MAX_TABLES);
  target->tables[target->table_count] = name;
  return target->table_count++;
}

/* The field that begins at *at, ended by a NUL in place of its tab or newline. */
static const char *field(char **at, char end, int *ret_length) {
  char *start = *at, *stop = strchr(start, end);
  if (!stop)
    floor_give_up("floor: a line of the rows has too few fields");
  *stop = 0;
  *at = stop + 1;
  *ret_length = (int)(stop - start);
  return start;
}

static void take_rows(char *text, floor_target *targets, size_t target_count) {
  while (*text) {
    int length;
    size_t number = strtoul(field(&text, '\t', &length), NULL, 10);
    if (number >= target_count)
      floor_give_up("floor: a row for target %zu, but there are %zu", number, target_count);
    floor_target *target = &targets[number];
    if (target->count == target->capacity) {
      target->capacity = target->capacity ? target->capacity * 2 : 1024;
      target->rows = floor_grown(target->rows, target->capacity * sizeof *target->rows);
    }
    floor_row *row = &target->rows[target->count++];
    row->update = *field(&text, '\t', &length) == 'u';
    row->table = table_number(target, field(&text, '\t', &length));
    row->id = field(&text, '\t', &row->id_length);
    row->document = field(&text, '\n', &row->document_length);
  }
}

static const floor_kind *kind_of(const char *where) {
  if (!strncmp(where, "postgresql://", 13))
    return &floor_postgresql;
  return strncmp(where, "mongodb://", 10) ? &floor_sqlite : &floor_mongodb;
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

/* A target that no row goes to is left alone. */
static size_t run(floor_target *targets, size_t target_count, bool commit) {
  size_t rows = 0;
  double cpu = cpu_ms(), started = wall_ms();
  for (size_t i = 0; i < target_count; i++)
    if (targets[i].count)
      targets[i].kind->open(&targets[i]);
  double opened = wall_ms();
  for (size_t i = 0; i < target_count; i++)
    if (targets[i].count)
      targets[i].kind->write(&targets[i]);
  for (size_t i = 0; i < target_count; i++)
    if (targets[i].count)
      targets[i].kind->end(&targets[i], commit);
  double ended = wall_ms();
  for (size_t i = 0; i < target_count; i++)
    if (targets[i].count)
      targets[i].kind->close(&targets[i]);
  double closed = wall_ms();
  for (size_t i = 0; i < target_count; i++)
    rows += targets[i].count;
  printf("{\"operations\":%zu,\"open_ms\":%.3f,\"write_ms\":%.3f,\"close_ms\":%.3f,\"wall_ms\":%.3f,\"cpu_ms\":%.3f}\n", rows,
         opened - started, ended - opened, closed - ended, closed - started, cpu_ms() - cpu);
  return rows;
}

int main(int argc, char **argv) {
  bool commit = argc < 2 || strcmp(argv[1], "--rollback") != 0;
  int first = commit ? 1 : 2;
  if (argc < first + 2 || argc - first - 1 > MAX_TARGETS)
    floor_give_up("usage: floor [--rollback] ROWS TARGET... (at most %d targets)", MAX_TARGETS);
  size_t target_count = (size_t)(argc - first) - 1;
  floor_target targets[MAX_TARGETS] = {0};
  char *text = read_all(argv[first]);
  take_rows(text, targets, target_count);
  for (size_t i = 0; i < target_count; i++) {
    targets[i].where = argv[first + 1 + (int)i];
    targets[i].kind = kind_of(targets[i].where);
    if (targets[i].count && targets[i].kind->load)
      targets[i].kind->load(&targets[i]);
  }
  sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); /* as ours */
  run(targets, target_count, commit);
  for (size_t i = 0; i < target_count; i++)
    free(targets[i].rows);
  free(text);
  return 0;
}
