/* See harness.h. */
#include "harness.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "journal/mongodb_docket.h"

const aon_collection users = {.store = "main", .name = "users", .id_property = "userID"};
static const char *const stamps[] = {"updatedAt", NULL}, *const sensitive[] = {"phone", NULL};
const aon_collection sites = {
    .store = "realtime", .name = "sites", .path = "/site/{siteID}", .stamps = stamps, .sensitive = sensitive, .merge_none = true};

/* ---- a journal on a server ---- */

struct world_server {
  PGconn *connection; /* beside the journal's */
  pid_t owner;        /* a child opens one of its own */
  char schema[48];
  int64_t skew_ms; /* that the server has been told */
  bool clock_ours;
};

void world_sql(world *w, const char *sql) {
  if (w->server->owner != getpid()) {
    w->server->connection = PQconnectdb(w->location);
    w->server->owner = getpid();
  }
  PGresult *result = PQexec(w->server->connection, sql);
  if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
    fail_msg("%s: %s", sql, PQresultErrorMessage(result));
  PQclear(result);
}

static void hear_nothing(void *context, const PGresult *notice) {
  (void)context;
  (void)notice;
}

static void server_make(world *w) {
  static unsigned number;
  const char *url = getenv("AON_TEST_POSTGRESQL");
  char sql[200];
  assert_non_null(url);
  w->server = calloc(1, sizeof *w->server);
  assert_non_null(w->server);
  snprintf(w->server->schema, sizeof w->server->schema, "j%d_%u", (int)getpid(), ++number);
  snprintf(w->location, sizeof w->location, "%s?options=-csearch_path%%3D%s", url, w->server->schema);
  w->server->connection = PQconnectdb(w->location);
  w->server->owner = getpid();
  assert_int_equal(PQstatus(w->server->connection), CONNECTION_OK);
  PQsetNoticeReceiver(w->server->connection, hear_nothing, NULL);
  snprintf(sql, sizeof sql, "create schema %s; create table test_skew as select 0::bigint as ms", w->server->schema);
  world_sql(w, sql);
}

/* Once the journal's tables are there. */
static void server_clock(world *w) {
  if (w->server && !w->server->clock_ours)
    world_sql(w, "create or replace function aon_journal_now() returns bigint language sql volatile as"
                 " 'select (extract(epoch from clock_timestamp()) * 1000)::bigint + (select ms from test_skew)'");
  if (w->server)
    w->server->clock_ours = true;
}

static void server_skew(world *w) {
  char sql[80];
  if (!w->server || w->server->skew_ms == w->skew_ms)
    return;
  snprintf(sql, sizeof sql, "update test_skew set ms = %lld", (long long)w->skew_ms);
  world_sql(w, sql);
  w->server->skew_ms = w->skew_ms;
}

static void server_end(world *w) {
  char sql[80];
  if (!w->server)
    return;
  snprintf(sql, sizeof sql, "drop schema %s cascade", w->server->schema);
  world_sql(w, sql);
  PQfinish(w->server->connection);
  free(w->server);
}

/* A database of its own on MongoDB, which goes away with the server. */
static void mongodb_make(world *w) {
  static unsigned number;
  const char *url = getenv("AON_TEST_MONGODB");
  assert_non_null(url);
  const char *options = strchr(url, '?') ? strchr(url, '?') : url + strlen(url);
  snprintf(w->location, sizeof w->location, "%.*sj%d_%u%s", (int)(options - url), url, (int)getpid(), ++number, options);
  w->on_mongodb = true;
}

/* ---- the environment: the real one, but for what a test sets ---- */

static aon_env *real(void *context) { return ((world *)context)->real; }
static int64_t now_ms(void *c) { return real(c)->ops->now_ms(real(c)->context) + ((world *)c)->skew_ms; }
static int64_t monotonic_ms(void *c) { return real(c)->ops->monotonic_ms(real(c)->context) + ((world *)c)->skew_ms; }
static void sleep_ms(void *c, int64_t ms) {
  world *w = c;
  if (w->hurried)
    w->skew_ms += ms;
  else
    w->real->ops->sleep_ms(w->real->context, ms);
}
static void random_bytes(void *c, void *bytes, size_t length) { real(c)->ops->random(real(c)->context, bytes, length); }
static aon_result file_open(void *c, const char *path, aon_file_mode mode, aon_file **ret, aon_error *error) {
  return real(c)->ops->file_open(real(c)->context, path, mode, ret, error);
}
static aon_result file_info(void *c, const char *path, aon_file_info *ret, aon_error *error) {
  aon_result result = real(c)->ops->file_info(real(c)->context, path, ret, error);
  if (!result && ((world *)c)->no_room)
    ret->free_bytes = 0;
  return result;
}
static aon_result file_rename(void *c, const char *from, const char *to, aon_error *error) {
  return real(c)->ops->file_rename(real(c)->context, from, to, error);
}
static aon_result file_remove(void *c, const char *path, aon_error *error) {
  world *w = c;
  aon_file_info info;
  if (w->quota_bytes >= 0 && !real(c)->ops->file_info(real(c)->context, path, &info, error) && info.exists)
    w->quota_bytes += (int64_t)info.size_bytes;
  return real(c)->ops->file_remove(real(c)->context, path, error);
}
static aon_result folder_make(void *c, const char *path, aon_error *error) {
  return real(c)->ops->folder_make(real(c)->context, path, error);
}
static aon_result folder_list(void *c, const char *path, bool (*each)(void *, const char *), void *argument, aon_error *error) {
  return real(c)->ops->folder_list(real(c)->context, path, each, argument, error);
}
static aon_process process_self(void *c) { return real(c)->ops->process_self(real(c)->context); }
static bool process_dead(void *c, const aon_process *process) {
  return process->pid == ((world *)c)->dead_pid; /* the tests make processes up */
}
static void step(void *c, const char *what) {
  assert_true(!strncmp(what, "journal.", 8));
  ((world *)c)->steps++;
  server_skew(c);
}
static void log_line(void *c, aon_log_level level, const char *line) {
  (void)level;
  (void)line;
  ((world *)c)->log_lines++;
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

world *world_make(void) {
  world *w = calloc(1, sizeof *w);
  assert_non_null(w);
  w->quota_bytes = -1;
  OK(aon_env_open(AON_LOG_WARNING, 0, 0, &w->real, error));
  w->env = (aon_env){.ops = test_ops(w->real), .context = w, .log_level = AON_LOG_WARNING};
  strcpy(w->folder, "/tmp/aon-journal-XXXXXX");
  assert_non_null(mkdtemp(w->folder));
  snprintf(w->path, sizeof w->path, "%s/journal.db", w->folder);
  snprintf(w->key, sizeof w->key, "%s/journal.key", w->folder);
  const char *kind = getenv("AON_TEST_JOURNAL");
  if (kind && !strcmp(kind, "postgresql"))
    server_make(w);
  else if (kind && !strcmp(kind, "mongodb"))
    mongodb_make(w);
  else
    snprintf(w->location, sizeof w->location, "%s", w->path);
  return w;
}

static bool remove_one(void *argument, const char *name) {
  world *w = argument;
  char path[400];
  snprintf(path, sizeof path, "%s/%s", w->folder, name);
  return remove(path) == 0;
}

void world_end(world *w) {
  w->quota_bytes = -1;
  server_end(w);
  OK(w->env.ops->folder_list(w, w->folder, remove_one, w, error));
  remove(w->folder);
  free((void *)w->env.ops);
  aon_env_close(w->real);
  free(w);
}

void world_clock(world *w, aon_journal *journal) {
  if (w->on_mongodb && !strcmp(aon_journal_kind(w->location), "mongodb"))
    ((aon_docket *)aon_journal_state(journal))->ahead_ms = &w->skew_ms;
}

aon_journal *world_open_with(world *w, const aon_journal_config *config) {
  aon_journal *journal = NULL;
  OK(aon_journal_open(&w->env, config, &journal, error));
  if (!config->read_only)
    server_clock(w);
  world_clock(w, journal);
  return journal;
}

aon_journal *world_open(world *w) {
  aon_journal_config config = {.location = w->server || w->on_mongodb ? w->location : w->path, /* which a test may have changed */
                               .key_file = w->key};
  return world_open_with(w, &config);
}

typedef struct search {
  world *w;
  const char *text;
  bool found;
} search;

static bool search_one(void *argument, const char *name) {
  search *s = argument;
  char path[400];
  snprintf(path, sizeof path, "%s/%s", s->w->folder, name);
  if (strstr(name, ".key"))
    return true;
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  fseek(file, 0, SEEK_END);
  size_t size = (size_t)ftell(file);
  rewind(file);
  char *bytes = malloc(size + 1);
  assert_non_null(bytes);
  size = fread(bytes, 1, size, file);
  fclose(file);
  s->found = s->found || memmem(bytes, size, s->text, strlen(s->text));
  free(bytes);
  return true;
}

bool world_contains(world *w, const char *text) {
  search s = {.w = w, .text = text};
  OK(w->env.ops->folder_list(w, w->folder, search_one, &s, error));
  return s.found;
}

bool world_has(world *w, const char *name) {
  char path[400];
  aon_file_info info;
  snprintf(path, sizeof path, "%s/%s", w->folder, name);
  OK(w->env.ops->file_info(w, path, &info, error));
  return info.exists;
}

/* ---- bulk operations and plans ---- */

const char *uuid(world *w, unsigned n, char text[37]) {
  (void)w;
  snprintf(text, 37, "%08x-aaaa-4bbb-8ccc-%012x", n * 2654435761u, n);
  return text;
}

void begin_bulk(world *w, aon_journal *journal, const char *id) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_process self = w->env.ops->process_self(w);
  aon_submission submission = {
      .id = id, .digest = "d", .organization = "org1", .user = "ann", .kind = "apply", .state = AON_PLANNING, .worker = &self};
  aon_bulk bulk;
  bool existed;
  OK(aon_journal_submit(journal, &submission, &arena, &bulk, &existed, error));
  assert_false(existed);
  assert_int_equal(bulk.epoch, 1);
}

void go(aon_journal *journal, const char *id, aon_state from, aon_state to) { OK(aon_journal_move(journal, id, 1, from, to, NULL, error)); }

aon_image image_of(aon_arena *arena, const char *key, const char *value) {
  bson_t document = BSON_INITIALIZER;
  BSON_APPEND_UTF8(&document, key, value);
  aon_image image = {.bson = aon_arena_copy(arena, bson_get_data(&document), document.len), .bson_length = document.len};
  bson_destroy(&document);
  assert_non_null(image.bson);
  return image;
}

bool image_holds(const aon_image *image, const char *value) {
  return image->bson && memmem(image->bson, image->bson_length, value, strlen(value) + 1);
}

void plan_add(planned *plan, int64_t sequence, char kind, const aon_collection *collection, const char *document) {
  if (plan->count == plan->capacity) {
    plan->capacity = plan->capacity ? plan->capacity * 2 : 16;
    plan->operations = realloc(plan->operations, plan->capacity * sizeof *plan->operations);
    assert_non_null(plan->operations);
  }
  char value[40];
  snprintf(value, sizeof value, "value-%lld", (long long)sequence);
  aon_operation operation = {
      .sequence = sequence, .collection = collection, .origin = {.sheet = "Users", .row = (uint32_t)sequence + 2, .entity = "user"}};
  operation.id.data = aon_arena_text(&plan->arena, document, strlen(document));
  operation.id.length = strlen(document);
  operation.flags = kind < 'a' ? AON_OPERATION_SENSITIVE : 0;
  kind = (char)(kind | 32);
  operation.kind = kind == 'c' ? AON_CREATE : kind == 'u' ? AON_UPDATE : AON_DELETE;
  if (kind != 'c')
    operation.before = image_of(&plan->arena, "before", value);
  if (kind != 'd')
    operation.after = image_of(&plan->arena, "after", value);
  plan->operations[plan->count++] = operation;
}

void plan_creates(planned *plan, int64_t first, size_t count, const char *prefix) {
  char id[80];
  for (size_t i = 0; i < count; i++) {
    snprintf(id, sizeof id, "%s%lld", prefix, (long long)first + (long long)i);
    plan_add(plan, first + (int64_t)i, 'c', &users, id);
  }
}

void plan_clear(planned *plan) {
  aon_arena_release(&plan->arena);
  free(plan->operations);
  *plan = (planned){0};
}
