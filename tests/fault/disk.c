/* See disk.h. */
#include "disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk_internal.h"

#define BEGINNING_MS INT64_C(1900000000000)
#define ROOM_BYTES ((uint64_t)1 << 30)

struct aon_file {
  node *node;
  bool writable;
};

static struct {
  node *first;
  int64_t slept_ms;
  uint64_t random;
  int64_t pid;
  uint64_t steps, die_at;
  const char *image_path;
  size_t open;
} disk;

struct disk_image {
  node *first;
};

/* ---- nodes ---- */

static void *must(void *at) {
  if (!at) {
    fprintf(stderr, "the test itself has no memory\n");
    _exit(99);
  }
  return at;
}

static void reserve(bytes *b, uint64_t length) {
  if (length <= b->capacity)
    return;
  uint64_t capacity = b->capacity ? b->capacity : PAGE;
  while (capacity < length)
    capacity *= 2;
  b->at = must(realloc(b->at, capacity));
  b->capacity = capacity;
}

static void resize(bytes *b, uint64_t length) {
  reserve(b, length);
  if (length > b->length)
    memset(b->at + b->length, 0, length - b->length);
  b->length = length;
}

node *node_find(const char *path) {
  for (node *n = disk.first; n; n = n->next)
    if (n->path && !strcmp(n->path, path))
      return n;
  return NULL;
}

node *node_make(const char *path) {
  points_quiet();
  node *n = must(calloc(1, sizeof *n));
  n->path = path ? must(strdup(path)) : NULL;
  n->next = disk.first;
  disk.first = n;
  points_loud();
  return n;
}

static void node_free(node *n) {
  free(n->path);
  free(n->now.at);
  free(n->durable.at);
  free(n->dirty);
  for (size_t i = 0; i < SHM_REGIONS; i++)
    free(n->shm[i]);
  free(n);
}

static void drop_if_gone(node *n) {
  if (n->path || n->open)
    return;
  node **at = &disk.first;
  while (*at != n)
    at = &(*at)->next;
  *at = n->next;
  node_free(n);
}

void node_unlink(node *n) {
  points_quiet();
  free(n->path);
  n->path = NULL;
  drop_if_gone(n);
  points_loud();
}

void node_release(node *n) {
  points_quiet();
  n->open--;
  disk.open--;
  drop_if_gone(n);
  points_loud();
}

void node_opened(node *n) {
  n->open++;
  disk.open++;
}

static void mark_dirty(node *n, uint64_t from, uint64_t to) {
  uint64_t pages = (n->now.capacity + PAGE - 1) / PAGE;
  if (pages > n->dirty_pages) {
    n->dirty = must(realloc(n->dirty, pages));
    memset(n->dirty + n->dirty_pages, 0, pages - n->dirty_pages);
    n->dirty_pages = pages;
  }
  for (uint64_t page = from / PAGE; page * PAGE < to; page++)
    n->dirty[page] = 1;
}

void node_write(node *n, const void *from, size_t length, uint64_t at) {
  points_quiet();
  uint64_t was = n->now.length;
  if (at + length > was)
    resize(&n->now, at + length);
  memcpy(n->now.at + at, from, length);
  mark_dirty(n, at < was ? at : was, at + length);
  points_loud();
}

size_t node_read(const node *n, void *to, size_t length, uint64_t at) {
  if (at >= n->now.length)
    return 0;
  size_t left = n->now.length - at < length ? (size_t)(n->now.length - at) : length;
  memcpy(to, n->now.at + at, left);
  return left;
}

void node_truncate(node *n, uint64_t length) {
  points_quiet();
  uint64_t was = n->now.length;
  resize(&n->now, length);
  if (length > was)
    mark_dirty(n, was, length);
  points_loud();
}

void node_sync(node *n, bool lost) {
  points_quiet();
  if (!lost)
    resize(&n->durable, n->now.length);
  for (uint64_t page = 0; page < n->dirty_pages; page++) {
    if (!n->dirty[page])
      continue;
    n->dirty[page] = 0;
    uint64_t at = page * PAGE, end = at + PAGE < n->now.length ? at + PAGE : n->now.length;
    if (!lost && at < end)
      memcpy(n->durable.at + at, n->now.at + at, end - at);
  }
  points_loud();
}

/* ---- the whole disk ---- */

static void copy_bytes(bytes *to, const bytes *from) {
  *to = (bytes){0};
  resize(to, from->length);
  if (from->length)
    memcpy(to->at, from->at, from->length);
}

static node *copy_node(const node *n) {
  node *copy = must(calloc(1, sizeof *copy));
  copy->path = must(strdup(n->path));
  copy->folder = n->folder;
  copy_bytes(&copy->now, &n->now);
  copy_bytes(&copy->durable, &n->now); /* what a run finds was there long ago */
  return copy;
}

static node *copy_all(const node *from) {
  node *first = NULL, **end = &first;
  for (; from; from = from->next)
    if (from->path) {
      *end = copy_node(from);
      end = &(*end)->next;
    }
  return first;
}

static void forget_all(void) {
  while (disk.first) {
    node *next = disk.first->next;
    node_free(disk.first);
    disk.first = next;
  }
}

disk_image *disk_keep(void) {
  points_quiet();
  disk_image *image = must(calloc(1, sizeof *image));
  image->first = copy_all(disk.first);
  points_loud();
  return image;
}

static void begin_anew(void) {
  disk.slept_ms = 0;
  disk.random = 88172645463325252u;
  disk.pid = 1000;
  disk.steps = disk.die_at = 0;
}

void disk_restore(const disk_image *image) {
  points_quiet();
  if (disk.open) {
    fprintf(stderr, "%zu files are still open\n", disk.open);
    abort();
  }
  forget_all();
  disk.first = copy_all(image->first);
  begin_anew();
  points_loud();
}

void disk_put(const char *path, const void *from, size_t length) {
  node *n = node_find(path);
  if (!n)
    n = node_make(path);
  node_truncate(n, 0);
  node_write(n, from, length, 0);
  node_sync(n, false);
}

void disk_get_real(const char *from, const char *to) {
  points_quiet();
  FILE *file = fopen(from, "rb");
  if (!file) {
    perror(from);
    _exit(99);
  }
  node *n = node_find(to) ? node_find(to) : node_make(to);
  char piece[1 << 14];
  for (size_t length; (length = fread(piece, 1, sizeof piece, file)) > 0;)
    node_write(n, piece, length, n->now.length);
  fclose(file);
  node_sync(n, false);
  points_loud();
}

bool disk_has(const char *path) { return node_find(path) != NULL; }

void disk_each(void (*each)(void *context, const char *path), void *context) {
  for (node *n = disk.first; n; n = n->next)
    if (n->path && !n->folder)
      each(context, n->path);
}

void disk_power_fails(void) {
  points_quiet();
  for (node *n = disk.first; n; n = n->next) {
    free(n->now.at);
    copy_bytes(&n->now, &n->durable);
    if (n->dirty)
      memset(n->dirty, 0, n->dirty_pages);
  }
  points_loud();
}

void disk_new_process(void) { disk.pid++; }
size_t disk_open_files(void) { return disk.open; }
int64_t disk_slept_ms(void) { return disk.slept_ms; }
void disk_sleep(int64_t ms) { disk.slept_ms += ms > 0 ? ms : 0; }
int64_t disk_now_ms(void) { return BEGINNING_MS + disk.slept_ms; }
uint64_t disk_steps(void) { return disk.steps; }

void disk_random(void *to, size_t length) {
  for (size_t i = 0; i < length; i++) {
    disk.random ^= disk.random << 13;
    disk.random ^= disk.random >> 7;
    disk.random ^= disk.random << 17;
    ((unsigned char *)to)[i] = (unsigned char)(disk.random >> 32);
  }
}

/* ---- dying ---- */

void disk_die_at(uint64_t step, const char *image_path) {
  disk.steps = 0;
  disk.die_at = step;
  disk.image_path = image_path;
}

static void die(void) {
  points_quiet();
  FILE *out = must(fopen(disk.image_path, "wb"));
  for (node *n = disk.first; n; n = n->next)
    if (n->path) {
      fprintf(out, "%s\n%d %llu\n", n->path, n->folder, (unsigned long long)n->now.length);
      if (n->now.length)
        fwrite(n->now.at, 1, n->now.length, out);
    }
  fclose(out);
  _exit(0);
}

void disk_load(const char *image_path) {
  points_quiet();
  FILE *in = must(fopen(image_path, "rb"));
  char path[512];
  int folder;
  unsigned long long length;
  forget_all();
  while (fscanf(in, "%511[^\n]\n%d %llu", path, &folder, &length) == 3) {
    fgetc(in);
    node *n = node_make(path);
    n->folder = folder != 0;
    resize(&n->now, length);
    if (length && fread(n->now.at, 1, length, in) != length)
      abort();
    copy_bytes(&n->durable, &n->now);
  }
  fclose(in);
  points_loud();
}

/* ---- the environment ---- */

static aon_result broken(point_way way, const char *doing, const char *path, aon_error *error) {
  if (way == WAY_FULL)
    return aon_fail(error, AON_ENVIRONMENT, "disk_full", "%s “%s”: the disk is full.", doing, path);
  return aon_fail(error, AON_ENVIRONMENT, "io_error", "%s “%s”: the disk failed.", doing, path);
}

#define OR_FAIL(name, doing, path)                                                                                                         \
  do {                                                                                                                                     \
    point_way way = point_here(POINT_ENV, name);                                                                                           \
    if (way != WAY_NONE)                                                                                                                   \
      return broken(way, doing, path, error);                                                                                              \
  } while (0)

static int64_t env_now_ms(void *context) {
  (void)context;
  return disk_now_ms();
}

static int64_t env_monotonic_ms(void *context) {
  (void)context;
  return 1000000 + disk.slept_ms;
}

static void env_sleep_ms(void *context, int64_t ms) {
  (void)context;
  disk_sleep(ms);
}

static void env_random(void *context, void *to, size_t length) {
  (void)context;
  disk_random(to, length);
}

static aon_result env_open(void *context, const char *path, aon_file_mode mode, aon_file **ret_file, aon_error *error) {
  (void)context;
  OR_FAIL("open", "Can't open", path);
  node *n = node_find(path);
  if ((mode == AON_FILE_READ && !n) || (n && n->folder))
    return aon_fail(error, AON_ENVIRONMENT, "no_such_file", "There is no file “%s”.", path);
  if (mode == AON_FILE_CREATE && n)
    return aon_fail(error, AON_ENVIRONMENT, "exists", "“%s” is there already.", path);
  points_quiet();
  aon_file *file = must(calloc(1, sizeof *file));
  points_loud();
  file->node = n ? n : node_make(path);
  file->writable = mode != AON_FILE_READ;
  if (mode == AON_FILE_REPLACE)
    node_truncate(file->node, 0);
  node_opened(file->node);
  *ret_file = file;
  return AON_OK;
}

static const char *path_of(const aon_file *file) { return file->node->path ? file->node->path : "a file without a name"; }

static aon_result env_read(aon_file *file, uint64_t at, void *to, size_t length, size_t *ret_length, aon_error *error) {
  OR_FAIL("read", "Can't read", path_of(file));
  *ret_length = node_read(file->node, to, length, at);
  return AON_OK;
}

static aon_result env_write(aon_file *file, uint64_t at, const void *from, size_t length, aon_error *error) {
  OR_FAIL("write", "Can't write", path_of(file));
  if (!file->writable)
    abort();
  node_write(file->node, from, length, at);
  return AON_OK;
}

static aon_result env_sync(aon_file *file, aon_error *error) {
  point_way way = point_here(POINT_ENV, "sync");
  if (way == WAY_LOST)
    node_sync(file->node, true);
  if (way != WAY_NONE)
    return broken(way, "Can't sync", path_of(file), error);
  node_sync(file->node, false);
  return AON_OK;
}

static void env_close(aon_file *file) {
  if (!file)
    return;
  node_release(file->node);
  points_quiet();
  free(file);
  points_loud();
}

static aon_result env_info(void *context, const char *path, aon_file_info *ret_info, aon_error *error) {
  (void)context;
  OR_FAIL("info", "Can't look at", path);
  const node *n = node_find(path);
  *ret_info = (aon_file_info){.exists = n != NULL,
                              .is_directory = n && n->folder,
                              .size_bytes = n ? n->now.length : 0,
                              .free_bytes = ROOM_BYTES,
                              .mode = 0600,
                              .device_number = 1,
                              .file_number = (uint64_t)(uintptr_t)n};
  return AON_OK;
}

static aon_result env_rename(void *context, const char *from, const char *to, aon_error *error) {
  (void)context;
  OR_FAIL("rename", "Can't write", to);
  node *n = node_find(from), *old = node_find(to);
  if (!n)
    return aon_fail(error, AON_ENVIRONMENT, "no_such_file", "There is no file “%s”.", from);
  if (old)
    node_unlink(old);
  points_quiet();
  free(n->path);
  n->path = must(strdup(to));
  points_loud();
  return AON_OK;
}

static aon_result env_remove(void *context, const char *path, aon_error *error) {
  (void)context;
  OR_FAIL("remove", "Can't remove", path);
  node *n = node_find(path);
  if (n)
    node_unlink(n);
  return AON_OK;
}

static aon_result env_folder_make(void *context, const char *path, aon_error *error) {
  (void)context;
  OR_FAIL("folder_make", "Can't make the folder", path);
  node *n = node_find(path);
  if (!n)
    node_make(path)->folder = true;
  else if (!n->folder)
    return aon_fail(error, AON_ENVIRONMENT, "io_error", "“%s” is a file.", path);
  return AON_OK;
}

static int name_order(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static aon_result env_folder_list(void *context, const char *path, bool (*each)(void *, const char *), void *argument, aon_error *error) {
  (void)context;
  OR_FAIL("folder_list", "Can't read the folder", path);
  const char *names[256];
  size_t count = 0, length = strlen(path);
  for (node *n = disk.first; n && count < 256; n = n->next)
    if (n->path && !strncmp(n->path, path, length) && n->path[length] == '/' && !strchr(n->path + length + 1, '/'))
      names[count++] = n->path + length + 1;
  qsort(names, count, sizeof *names, name_order);
  for (size_t i = 0; i < count && each(argument, names[i]); i++)
    continue;
  return AON_OK;
}

static aon_process env_self(void *context) {
  (void)context;
  return (aon_process){.boot_id = "00000000-0000-4000-8000-000000000000", .pid = disk.pid, .start_ticks = 1};
}

static bool env_dead(void *context, const aon_process *process) {
  (void)context;
  return process->pid < disk.pid;
}

static void env_step(void *context, const char *what) {
  (void)context;
  (void)what;
  if (++disk.steps == disk.die_at)
    die();
}

static void env_log(void *context, aon_log_level level, const char *line) {
  (void)context;
  (void)level;
  (void)line;
}

static const aon_env_ops ops = {.now_ms = env_now_ms,
                                .monotonic_ms = env_monotonic_ms,
                                .sleep_ms = env_sleep_ms,
                                .random = env_random,
                                .file_open = env_open,
                                .file_read = env_read,
                                .file_write = env_write,
                                .file_sync = env_sync,
                                .file_close = env_close,
                                .file_info = env_info,
                                .file_rename = env_rename,
                                .file_remove = env_remove,
                                .folder_make = env_folder_make,
                                .folder_list = env_folder_list,
                                .process_self = env_self,
                                .process_dead = env_dead,
                                .step = env_step,
                                .log = env_log};

void disk_open(aon_env *ret_env) {
  begin_anew();
  disk_vfs_register();
  *ret_env = (aon_env){.ops = &ops, .log_level = AON_LOG_INFO, .vfs = DISK_VFS};
}
