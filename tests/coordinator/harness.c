/* See harness.h. */
#include "harness.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the environment: the real one, but for clock, sleep, processes and steps ---- */

static aon_env *real(void *c) { return ((world *)c)->real; }
static int64_t now_ms(void *c) { return 1900000000000 + ((world *)c)->ahead_ms; }
static int64_t monotonic_ms(void *c) { return 1000000 + ((world *)c)->ahead_ms; }
static void sleep_ms(void *c, int64_t ms) {
  ((world *)c)->ahead_ms += ms;
  ((world *)c)->slept_ms += ms;
}
static void random_bytes(void *c, void *bytes, size_t length) { real(c)->ops->random(real(c)->context, bytes, length); }
static aon_result file_open(void *c, const char *path, aon_file_mode mode, aon_file **ret, aon_error *error) {
  return real(c)->ops->file_open(real(c)->context, path, mode, ret, error);
}
static aon_result file_info(void *c, const char *path, aon_file_info *ret, aon_error *error) {
  return real(c)->ops->file_info(real(c)->context, path, ret, error);
}
static aon_result file_rename(void *c, const char *from, const char *to, aon_error *error) {
  return real(c)->ops->file_rename(real(c)->context, from, to, error);
}
static aon_result file_remove(void *c, const char *path, aon_error *error) {
  return real(c)->ops->file_remove(real(c)->context, path, error);
}
static aon_result folder_make(void *c, const char *path, aon_error *error) {
  return real(c)->ops->folder_make(real(c)->context, path, error);
}
static aon_result folder_list(void *c, const char *path, bool (*each)(void *, const char *), void *argument, aon_error *error) {
  return real(c)->ops->folder_list(real(c)->context, path, each, argument, error);
}
static aon_process process_self(void *c) {
  aon_process self = {.boot_id = "00000000-0000-4000-8000-000000000000", .pid = ((world *)c)->pid, .start_ticks = 1};
  return self;
}
static bool process_dead(void *c, const aon_process *process) { return process->pid <= ((world *)c)->dead_pid; }

static void note(char *text, size_t *length, size_t capacity, const char *line) {
  size_t more = strlen(line);
  if (*length + more + 2 > capacity)
    return;
  memcpy(text + *length, line, more);
  *length += more;
  text[(*length)++] = '\n';
  text[*length] = 0;
}

static void step(void *c, const char *what) {
  world *w = c;
  note(w->steps_log, &w->steps_length, sizeof w->steps_log, what);
  w->steps++;
  if (w->steps == w->crash_at)
    longjmp(w->crashed, 1);
  if (w->call && (w->steps == w->call_at || (w->call_name && !strcmp(what, w->call_name)))) {
    void (*call)(world *) = w->call;
    w->call = NULL;
    call(w);
  }
}
static void log_line(void *c, aon_log_level level, const char *line) {
  (void)level;
  world *w = c;
  note(w->log, &w->log_length, sizeof w->log, line);
}

static void store_line(void *c, const char *line) {
  world *w = c;
  note(w->steps_log, &w->steps_length, sizeof w->steps_log, line);
}

static aon_env_ops *test_ops(aon_env *base) {
  aon_env_ops *ops = malloc(sizeof *ops);
  assert_non_null(ops);
  *ops = (aon_env_ops){.now_ms = now_ms,
                       .monotonic_ms = monotonic_ms,
                       .sleep_ms = sleep_ms,
                       .random = random_bytes,
                       .file_open = file_open,
                       .file_read = base->ops->file_read,
                       .file_write = base->ops->file_write,
                       .file_sync = base->ops->file_sync,
                       .file_close = base->ops->file_close,
                       .file_info = file_info,
                       .file_rename = file_rename,
                       .file_remove = file_remove,
                       .folder_make = folder_make,
                       .folder_list = folder_list,
                       .process_self = process_self,
                       .process_dead = process_dead,
                       .step = step,
                       .log = log_line};
  return ops;
}

world *world_new(void) {
  world *w = calloc(1, sizeof *w);
  assert_non_null(w);
  OK(aon_env_open(AON_LOG_INFO, 0, 0, &w->real, error));
  w->env = (aon_env){.ops = test_ops(w->real), .context = w, .log_level = AON_LOG_INFO};
  strcpy(w->folder,
         access("/dev/shm", W_OK) ? "/tmp/aon-coordinator-XXXXXX" : "/dev/shm/aon-coordinator-XXXXXX"); /* no disk: syncs cost nothing */
  assert_non_null(mkdtemp(w->folder));
  snprintf(w->journal, sizeof w->journal, "%s/journal.db", w->folder);
  snprintf(w->key, sizeof w->key, "%s/journal.key", w->folder);
  snprintf(w->input, sizeof w->input, "%s/input.ndjson", w->folder);
  w->config = (aon_engine_config){.journal = {.location = w->journal, .key_file = w->key},
                                  .batch = 2,
                                  .test_rollback_at = -1,
                                  .test_user_index = -1,
                                  .test_dept_index = -1,
                                  .test_site_index = -1,
                                  .test_schedule_index = -1};
  w->options = (aon_run_options){.organization = "default", .user = "ann", .lock_wait_ms = 2000};
  w->pid = 100;
  w->dead_pid = 1;
  w->steps_log[0] = 0;
  return w;
}

static bool remove_one(void *argument, const char *name) {
  world *w = argument;
  char path[400];
  snprintf(path, sizeof path, "%s/%s", w->folder, name);
  return remove(path) == 0;
}

void world_new_outcome(world *w) {
  aon_outcome_release(&w->outcome);
  w->error = (aon_error)AON_ERROR_INIT;
}

void world_free(world *w) {
  world_close(w);
  aon_outcome_release(&w->outcome);
  for (size_t i = 0; i < w->store_count; i++)
    if (w->stores[i].database && !w->stores[i].alias)
      aon_memory_free(w->stores[i].database);
  OK(w->env.ops->folder_list(w, w->folder, remove_one, w, error));
  remove(w->folder);
  free((void *)w->env.ops);
  aon_env_close(w->real);
  free(w);
}

static world_store *add_store(world *w, const char *name, const aon_store_adapter *inner, const void *inner_options) {
  assert_true(w->store_count < WORLD_STORES);
  world_store *store = &w->stores[w->store_count++];
  snprintf(store->name, sizeof store->name, "%s", name);
  store->trace = (aon_trace){.inner = inner, .inner_options = inner_options, .line = store_line, .context = w};
  store->adapter = &aon_trace_adapter;
  store->config = (aon_store_config){.name = store->name,
                                     .location = store->location,
                                     .create = true,
                                     .horizon_ms = 3000,
                                     .watch_ms = 60000,
                                     .timeout_ms = 1000,
                                     .options = &store->trace};
  return store;
}

aon_memory_database *world_memory(world *w, const char *name, aon_store_class store_class, const aon_memory_config *config) {
  aon_memory_config made = config ? *config : (aon_memory_config){0};
  made.store_class = store_class;
  aon_memory_database *database;
  OK(aon_memory_new(&made, &database, error));
  world_store *store = add_store(w, name, &aon_memory_adapter, database);
  store->database = database;
  return database;
}

void world_sqlite(world *w, const char *name) {
  world_store *store = add_store(w, name, &aon_sqlite_adapter, NULL);
  snprintf(store->location, sizeof store->location, "%s/%s.db", w->folder, name);
}

void world_callbacks(world *w, const char *name, const aon_callbacks *functions) { add_store(w, name, &aon_callback_adapter, functions); }

static world_store *store_of(world *w, const char *name) {
  for (size_t i = 0; i < w->store_count; i++)
    if (!strcmp(w->stores[i].name, name))
      return &w->stores[i];
  abort();
}

void world_alias(world *w, const char *name, const char *of) {
  aon_memory_database *database = world_database(w, of);
  world_store *store = add_store(w, name, &aon_memory_adapter, database);
  store->database = database;
  store->alias = true;
}

aon_store_config *world_config(world *w, const char *name) { return &store_of(w, name)->config; }
aon_memory_database *world_database(world *w, const char *name) { return store_of(w, name)->database; }

aon_engine *world_engine(world *w) {
  static aon_engine_store stores[WORLD_STORES];
  for (size_t i = 0; i < w->store_count; i++)
    stores[i] = (aon_engine_store){.adapter = w->stores[i].adapter, .config = w->stores[i].config};
  w->config.stores = stores;
  w->config.store_count = w->store_count;
  OK(aon_engine_open(&w->env, &w->config, &w->engine, error));
  return w->engine;
}

void world_close(world *w) {
  aon_engine_close(w->engine);
  w->engine = NULL;
}

void world_die(world *w) {
  w->crash_at = 0;
  world_close(w);
  w->dead_pid = w->pid++;
}

/* ---- commands ---- */

static void write_input(world *w, const char *lines) {
  FILE *file = fopen(w->input, "wb");
  assert_non_null(file);
  fputs(lines, file);
  fclose(file);
}

aon_result world_apply_file(world *w, const char *path) {
  world_new_outcome(w);
  return aon_apply(w->engine, NULL, path, &w->options, &w->outcome, &w->error);
}

aon_result world_apply(world *w, const char *lines) {
  write_input(w, lines);
  return world_apply_file(w, w->input);
}

aon_result world_undo(world *w, const char *id, const aon_undo_options *options) {
  static const aon_undo_options whole = {.first = -1, .last = -1};
  char kept[37];
  snprintf(kept, sizeof kept, "%s", id);
  world_new_outcome(w);
  return aon_undo(w->engine, kept, options ? options : &whole, &w->options, &w->outcome, &w->error);
}

int world_status(world *w, aon_result result) { return aon_outcome_exit_status(&w->outcome, result, &w->error); }

uint64_t world_recover(world *w) {
  uint64_t recovered, open, person;
  if (!w->engine)
    world_engine(w);
  OK(aon_recover(w->engine, NULL, &w->options, NULL, NULL, &recovered, &open, &person, error));
  return open;
}

void world_advance(world *w, int64_t ms) { w->ahead_ms += ms; }

/* ---- what stands in the stores ---- */

static void put_sqlite(world_store *store, const char *collection, const char *id, const char *json) {
  sqlite3 *database;
  char sql[600];
  assert_int_equal(sqlite3_open(store->location, &database), SQLITE_OK);
  sqlite3_busy_timeout(database, 1000);
  snprintf(sql, sizeof sql, "create table if not exists \"%s\" (id text primary key, doc text)", collection);
  assert_int_equal(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
  snprintf(sql, sizeof sql, json ? "insert or replace into \"%s\" values ('%s', '%s')" : "delete from \"%s\" where id = '%s'", collection,
           id, json);
  int rc = sqlite3_exec(database, sql, NULL, NULL, NULL);
  sqlite3_close(database);
  assert_int_equal(rc, SQLITE_OK);
}

void world_put(world *w, const char *name, const char *collection, const char *id, const char *json) {
  world_store *store = store_of(w, name);
  if (!store->database) {
    put_sqlite(store, collection, id, json);
    return;
  }
  bson_t document;
  if (json)
    OK(aon_document_from_json(json, strlen(json), &document, error));
  OK(aon_memory_foreign_write(store->database, collection, id, json ? &document : NULL, error));
  if (json)
    bson_destroy(&document);
}

static void image_text(const aon_image *image, aon_buffer *out) {
  bson_t view, plain;
  if (!image->bson)
    return;
  assert_true(aon_image_view(image, &view));
  bson_init(&plain);
  bson_copy_to_excluding_noinit(&view, &plain, AON_STAMP_NAME, (char *)NULL);
  OK(aon_document_to_json(&plain, out, error));
  bson_destroy(&plain);
}

typedef struct listing {
  char *lines[512];
  size_t count;
  const char *store, *collection;
} listing;

static aon_result list_one(void *context, const aon_found *found, aon_error *unused) {
  (void)unused;
  listing *list = context;
  aon_buffer line = {0};
  OK(aon_buffer_format(&line, error, "%s/%s/%.*s ", list->store, list->collection, (int)found->id.length, found->id.data));
  image_text(&found->image, &line);
  assert_true(list->count < 512);
  list->lines[list->count++] = line.data;
  return AON_OK;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static aon_store *look_in(world *w, world_store *store) {
  aon_store *opened;
  const aon_store_adapter *adapter = store->trace.inner;
  aon_store_config config = store->config;
  config.options = store->trace.inner_options;
  OK(aon_store_open(w->real, adapter, &config, &opened, error));
  return opened;
}

char *world_snapshot(world *w) {
  static const char *const collections[] = {"c", "d", "e"};
  listing list = {.count = 0};
  for (size_t i = 0; i < w->store_count; i++) {
    aon_store *store = look_in(w, &w->stores[i]);
    for (size_t k = 0; k < 3; k++) {
      aon_collection collection = {.store = w->stores[i].name, .name = collections[k]};
      list.store = collection.store;
      list.collection = collection.name;
      OK(aon_store_scan(store, &collection, NULL, 0, NULL, list_one, &list, error));
    }
    aon_store_close(store);
  }
  qsort(list.lines, list.count, sizeof *list.lines, by_text);
  aon_buffer text = {0};
  OK(aon_buffer_text(&text, "", error));
  for (size_t i = 0; i < list.count; i++) {
    OK(aon_buffer_format(&text, error, "%s\n", list.lines[i]));
    free(list.lines[i]);
  }
  return text.data;
}

const char *world_get(world *w, const char *name, const char *collection, const char *id) {
  static char text[2048];
  AON_ARENA_CLEANUP aon_arena arena = {0};
  world_store *store = store_of(w, name);
  aon_collection in = {.store = store->name, .name = collection};
  aon_text key = {id, strlen(id)};
  aon_image image;
  aon_store *opened = look_in(w, store);
  OK(aon_store_read(opened, &in, &key, 1, &arena, &image, error));
  aon_buffer out = {0};
  image_text(&image, &out);
  snprintf(text, sizeof text, "%s", out.data ? out.data : "");
  aon_buffer_release(&out);
  aon_store_close(opened);
  return text;
}

bool world_steps_in_order(world *w, const char *const *names) {
  const char *at = w->steps_log;
  for (; *names; names++) {
    const char *found = strstr(at, *names);
    if (!found) {
      print_error("not found in its place: %s\n", *names);
      return false;
    }
    at = found + strlen(*names);
  }
  return true;
}

void world_bulk(world *w, const char *id, aon_arena *arena, aon_bulk *ret_bulk) {
  aon_journal *journal;
  OK(aon_engine_journal(w->engine, false, &journal, error));
  OK(aon_journal_get(journal, id, arena, ret_bulk, error));
}

aon_state world_state(world *w, const char *id) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_bulk bulk;
  world_bulk(w, id, &arena, &bulk);
  return bulk.state;
}

/* ---- children ---- */

static void remove_folder(world *w) {
  aon_error error;
  if (w->env.ops->folder_list(w, w->folder, remove_one, w, &error) == AON_OK)
    remove(w->folder);
}

void world_failed(const char *file, int line, const char *what, world *w) {
  fprintf(stderr, "%s:%d: %s\n  state %s, error %s: %s\n  failure: %s\n  log:\n%s\n", file, line, what, aon_state_name(w->outcome.state),
          w->error.code, w->error.sentence, w->outcome.failure.message, w->log_length > 3000 ? w->log + w->log_length - 3000 : w->log);
  remove_folder(w);
  _exit(1);
}

static world *current; /* of this child */

void world_nothing_left(void) {
  remove_folder(current);
  _exit(77);
}

int world_child(void (*test)(world *w, uint64_t n), uint64_t n) {
  fflush(NULL);
  pid_t child = fork();
  assert_true(child >= 0);
  if (!child) {
    current = world_new();
    test(current, n);
    remove_folder(current);
    _exit(0);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

uint64_t world_every_step(void (*test)(world *w, uint64_t n), uint64_t most) {
  for (uint64_t n = 1; n <= most; n++) {
    int status = world_child(test, n);
    if (status == 77)
      return n - 1;
    if (status)
      fail_msg("step %llu: status %d", (unsigned long long)n, status);
  }
  fail_msg("more than %llu steps", (unsigned long long)most);
  return most;
}
