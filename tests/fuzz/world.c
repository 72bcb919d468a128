/* Files in memory, and the rest of fuzz.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define FILES_MAX 64

struct aon_file {
  int node;
};

typedef struct node {
  char *path; /* NULL: unlinked, but perhaps still open somewhere */
  uint8_t *bytes;
  size_t length, capacity;
  int opened;
} node;

static node nodes[FILES_MAX];
static int64_t clock_ms;
static uint64_t counter;

void fuzz_report(const char *file, int line, const char *what, const char *format, ...) {
  va_list arguments;
  fprintf(stderr, "%s:%d: does not hold: %s\n  ", file, line, what);
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  abort();
}

void *fuzz_copy(const void *bytes, size_t length) {
  char *copy = malloc(length + 1);
  if (!copy)
    abort();
  if (length)
    memcpy(copy, bytes, length);
  copy[length] = 0;
  return copy;
}

uint8_t fuzz_byte(fuzz_input *input) { return input->at < input->end ? *input->at++ : 0; }

char *fuzz_text(fuzz_input *input, size_t *ret_length) {
  size_t left = fuzz_left(input);
  const uint8_t *stop = left ? memchr(input->at, 0, left) : NULL;
  size_t length = stop ? (size_t)(stop - input->at) : left;
  char *text = fuzz_copy(input->at, length);
  input->at += length + (stop ? 1 : 0);
  if (ret_length)
    *ret_length = length;
  return text;
}

/* ---- files ---- */

static int find(const char *path) {
  for (int i = 0; i < FILES_MAX; i++)
    if (nodes[i].path && !strcmp(nodes[i].path, path))
      return i;
  return -1;
}

/* Its bytes are kept for the next file in this place: fresh memory for each file of each input would cost more than the reading. */
static void drop(int i) {
  if (nodes[i].path || nodes[i].opened)
    return;
  nodes[i].length = 0;
}

static void unlink_node(int i) {
  free(nodes[i].path);
  nodes[i].path = NULL;
  drop(i);
}

static int make(const char *path) {
  for (int i = 0; i < FILES_MAX; i++)
    if (!nodes[i].path && !nodes[i].opened) {
      nodes[i].path = fuzz_copy(path, strlen(path));
      return i;
    }
  fuzz_report(__FILE__, __LINE__, "a free place for a file", "%d files are there at once", FILES_MAX);
}

static void put_bytes(node *to, uint64_t offset, const void *bytes, size_t length) {
  size_t end = (size_t)offset + length;
  if (end > to->capacity) {
    to->capacity = end * 2;
    to->bytes = realloc(to->bytes, to->capacity);
    if (!to->bytes)
      abort();
  }
  if (offset > to->length)
    memset(to->bytes + to->length, 0, (size_t)offset - to->length);
  if (length)
    memcpy(to->bytes + offset, bytes, length);
  to->length = end > to->length ? end : to->length;
}

void fuzz_file_put(const char *path, const void *bytes, size_t length) {
  int i = find(path);
  if (i < 0)
    i = make(path);
  nodes[i].length = 0;
  put_bytes(&nodes[i], 0, bytes, length);
}

const uint8_t *fuzz_file(const char *path, size_t *ret_length) {
  int i = find(path);
  if (i < 0)
    return NULL;
  *ret_length = nodes[i].length;
  return nodes[i].bytes;
}

size_t fuzz_file_length(const aon_file *file) { return nodes[file->node].length; }

void fuzz_file_cut(aon_file *file, size_t length) {
  node *of = &nodes[file->node];
  of->length = length < of->length ? length : of->length;
}

size_t fuzz_files(void) {
  size_t count = 0;
  for (int i = 0; i < FILES_MAX; i++)
    count += nodes[i].path != NULL;
  return count;
}

void fuzz_world_clear(void) {
  for (int i = 0; i < FILES_MAX; i++) {
    FUZZ_CHECK(nodes[i].opened == 0, "“%s” was not closed", nodes[i].path ? nodes[i].path : "a removed file");
    if (nodes[i].path)
      unlink_node(i);
  }
  clock_ms = 0;
  counter = 0;
}

void fuzz_seed(uint64_t seed) { counter = seed; }

static aon_result file_open(void *context, const char *path, aon_file_mode mode, aon_file **ret_file, aon_error *error) {
  (void)context;
  int i = find(path);
  if (mode == AON_FILE_READ && i < 0)
    return aon_fail(error, AON_ENVIRONMENT, "no_such_file", "Can't open “%s”.", path);
  if (mode == AON_FILE_CREATE && i >= 0)
    return aon_fail(error, AON_ENVIRONMENT, "exists", "Can't write “%s”.", path);
  if (i < 0)
    i = make(path);
  if (mode == AON_FILE_REPLACE)
    nodes[i].length = 0;
  aon_file *file = malloc(sizeof *file);
  if (!file)
    abort();
  file->node = i;
  nodes[i].opened++;
  *ret_file = file;
  return AON_OK;
}

static aon_result file_read(aon_file *file, uint64_t offset, void *bytes, size_t length, size_t *ret_length, aon_error *error) {
  (void)error;
  const node *from = &nodes[file->node];
  size_t there = offset < from->length ? from->length - (size_t)offset : 0;
  *ret_length = there < length ? there : length;
  if (*ret_length)
    memcpy(bytes, from->bytes + offset, *ret_length);
  return AON_OK;
}

static aon_result file_write(aon_file *file, uint64_t offset, const void *bytes, size_t length, aon_error *error) {
  (void)error;
  put_bytes(&nodes[file->node], offset, bytes, length);
  return AON_OK;
}

static aon_result file_sync(aon_file *file, aon_error *error) {
  (void)file;
  (void)error;
  return AON_OK;
}

static void file_close(aon_file *file) {
  if (!file)
    return;
  nodes[file->node].opened--;
  drop(file->node);
  free(file);
}

static bool is_folder(const char *path) {
  size_t length = strlen(path);
  for (int i = 0; i < FILES_MAX; i++)
    if (nodes[i].path && !strncmp(nodes[i].path, path, length) && nodes[i].path[length] == '/')
      return true;
  return false;
}

static aon_result file_info(void *context, const char *path, aon_file_info *ret_info, aon_error *error) {
  (void)context;
  (void)error;
  int i = find(path);
  bool folder = i < 0 && is_folder(path);
  *ret_info = (aon_file_info){.exists = i >= 0 || folder,
                              .is_directory = folder,
                              .size_bytes = i >= 0 ? nodes[i].length : 0,
                              .free_bytes = UINT64_C(1) << 40,
                              .mode = 0600,
                              .file_number = (uint64_t)(i + 1)};
  return AON_OK;
}

static aon_result file_rename(void *context, const char *from, const char *to, aon_error *error) {
  (void)context;
  int i = find(from), old = find(to);
  if (i < 0)
    return aon_fail(error, AON_ENVIRONMENT, "no_such_file", "Can't rename “%s”.", from);
  if (old >= 0 && old != i)
    unlink_node(old);
  free(nodes[i].path);
  nodes[i].path = fuzz_copy(to, strlen(to));
  return AON_OK;
}

static aon_result file_remove(void *context, const char *path, aon_error *error) {
  (void)context;
  (void)error;
  int i = find(path);
  if (i >= 0)
    unlink_node(i);
  return AON_OK;
}

static aon_result folder_make(void *context, const char *path, aon_error *error) {
  (void)context;
  (void)path;
  (void)error;
  return AON_OK;
}

static int name_order(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static aon_result folder_list(void *context, const char *path, bool (*each)(void *, const char *), void *argument, aon_error *error) {
  (void)context;
  (void)error;
  char *names[FILES_MAX];
  size_t count = 0, length = strlen(path);
  for (int i = 0; i < FILES_MAX; i++)
    if (nodes[i].path && !strncmp(nodes[i].path, path, length) && nodes[i].path[length] == '/')
      names[count++] = fuzz_copy(nodes[i].path + length + 1, strlen(nodes[i].path + length + 1));
  qsort(names, count, sizeof *names, name_order);
  bool going = true;
  for (size_t i = 0; i < count; i++) {
    going = going && each(argument, names[i]);
    free(names[i]);
  }
  return AON_OK;
}

/* ---- all else ---- */

static int64_t now_ms(void *context) {
  (void)context;
  return INT64_C(1799222400000) + clock_ms;
}

static int64_t monotonic_ms(void *context) {
  (void)context;
  return clock_ms;
}

static void sleep_ms(void *context, int64_t ms) {
  (void)context;
  clock_ms += ms;
}

static void random_bytes(void *context, void *bytes, size_t length) {
  (void)context;
  for (size_t i = 0; i < length; i++) {
    counter = counter * UINT64_C(6364136223846793005) + 1442695040888963407;
    ((uint8_t *)bytes)[i] = (uint8_t)(counter >> 56);
  }
}

static aon_process process_self(void *context) {
  (void)context;
  return (aon_process){.boot_id = "00000000-0000-4000-8000-000000000000", .pid = 1, .start_ticks = 1};
}

static bool process_dead(void *context, const aon_process *process) {
  (void)context;
  return process->pid != 1;
}

static void step(void *context, const char *what) {
  (void)context;
  (void)what;
}

/* The last one first: whoever shares something all the same is found. */
static void run_together(void *context, void (*task)(void *argument, size_t index), void *argument, size_t count) {
  (void)context;
  while (count)
    task(argument, --count);
}

static void log_line(void *context, aon_log_level level, const char *line) {
  (void)context;
  (void)level;
  (void)line;
}

aon_env *fuzz_world(void) {
  static const aon_env_ops ops = {.now_ms = now_ms,
                                  .monotonic_ms = monotonic_ms,
                                  .sleep_ms = sleep_ms,
                                  .random = random_bytes,
                                  .file_open = file_open,
                                  .file_read = file_read,
                                  .file_write = file_write,
                                  .file_sync = file_sync,
                                  .file_close = file_close,
                                  .file_info = file_info,
                                  .file_rename = file_rename,
                                  .file_remove = file_remove,
                                  .folder_make = folder_make,
                                  .folder_list = folder_list,
                                  .process_self = process_self,
                                  .process_dead = process_dead,
                                  .step = step,
                                  .run_together = run_together,
                                  .log = log_line};
  static aon_env env = {.ops = &ops, .log_level = AON_LOG_ERROR};
  return &env;
}
