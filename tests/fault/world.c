/* See world.h. */
#include "world.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>
#include <sqlite3.h>

#include "points.h"

#define CONTACTS                                                                                                                           \
  "create table contacts (id text primary key, name text not null, email text unique, phone text);"                                        \
  "insert into contacts values ('c1', 'Ada', 'ada@example.com', null), ('c2', 'Bob', null, '1'), ('c3', 'Cyd', null, null);"               \
  "create table visits (contact text not null, day integer not null, note text, primary key (contact, day)) without rowid;"                \
  "insert into visits values ('c1', 1, 'one'), ('c1', 2, null);"

static aon_env env;

static const char lines[] =
    "{\"store\":\"crm\",\"collection\":\"contacts\",\"id\":\"c1\",\"operation\":\"update\",\"data\":{\"email\":\"one@example.com\"}}\n"
    "{\"store\":\"crm\",\"collection\":\"contacts\",\"id\":\"c2\",\"operation\":\"delete\"}\n"
    "{\"store\":\"crm\",\"collection\":\"contacts\",\"id\":\"c4\",\"operation\":\"create\",\"data\":{\"id\":\"c4\",\"name\":\"Dee\"}}\n"
    "{\"store\":\"crm\",\"collection\":\"visits\",\"id\":\"c1:2\",\"operation\":\"update\",\"data\":{\"note\":\"two\"}}\n"
    "{\"store\":\"main\",\"collection\":\"users\",\"id\":\"ana\",\"operation\":\"update\",\"data\":{\"title\":\"Owner\"}}\n"
    "{\"store\":\"main\",\"collection\":\"pets\",\"id\":\"p1\",\"operation\":\"upsert\",\"data\":{\"name\":\"Rex\",\"age\":3.5}}\n"
    "{\"store\":\"settings\",\"collection\":\"flags\",\"id\":\"f\",\"operation\":\"create\",\"data\":{\"on\":true}}\n";

/* ---- set-up ---- */

static void take_folder(const char *from, const char *to) {
  DIR *folder = opendir(from);
  if (!folder) {
    perror(from);
    _exit(99);
  }
  for (struct dirent *entry; (entry = readdir(folder));) {
    char real[512], name[512];
    if (entry->d_name[0] == '.')
      continue;
    snprintf(real, sizeof real, "%s/%s", from, entry->d_name);
    snprintf(name, sizeof name, "%s/%s", to, entry->d_name);
    disk_get_real(real, name);
  }
  closedir(folder);
}

static sqlite3 *database(const char *path, int flags) {
  sqlite3 *opened;
  if (sqlite3_open_v2(path, &opened, flags, DISK_VFS) != SQLITE_OK) {
    sqlite3_close(opened);
    return NULL;
  }
  return opened;
}

static void make_contacts(void) {
  sqlite3 *crm = database("/d/crm.db", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  if (!crm || sqlite3_exec(crm, CONTACTS, NULL, NULL, NULL) != SQLITE_OK)
    abort();
  sqlite3_close(crm);
}

static void must_be(const told *t, aon_state state, const char *what) {
  if (!t->result && t->has_state && t->state == state)
    return;
  fprintf(stderr, "%s: %s %s %s\n", what, aon_result_name(t->result), t->has_state ? aon_state_name(t->state) : "", t->error.sentence);
  _exit(99);
}

static disk_image *empty, *prepared, *imported;

void world_set_up(const char *packs, const char *company, const char *changes) {
  told t;
  points_quiet();
  disk_open(&env);
  take_folder(packs, "/packs");
  disk_get_real(company, "/company.xlsx");
  disk_get_real(changes, "/changes.xlsx");
  disk_put("/lines.ndjson", lines, sizeof lines - 1);
  empty = disk_keep();
  run_company("00000000-0000-4000-8000-000000000001", &t);
  must_be(&t, AON_COMMITTED, "the company");
  make_contacts();
  disk_new_process();
  prepared = disk_keep();
  run_changes(FIRST_ID, &t);
  must_be(&t, AON_COMMITTED, "the changes");
  imported = disk_keep();
  points_loud();
}

void world_empty(void) { disk_restore(empty); }
void world_prepared(void) { disk_restore(prepared); }
void world_imported(void) { disk_restore(imported); }

/* ---- runs ---- */

static const aon_engine_store stores[] = {
    {.adapter = &aon_sqlite_adapter, .config = {.name = "main", .location = "/d/main.db", .create = true, .timeout_ms = 5000}},
    {.adapter = &aon_sqlite_adapter, .config = {.name = "realtime", .location = "/d/realtime.db", .create = true, .timeout_ms = 5000}},
    {.adapter = &aon_sqlite_adapter, .config = {.name = "settings", .location = "/d/settings.db", .create = true, .timeout_ms = 5000}},
    {.adapter = &aon_sqlite_adapter, .config = {.name = "identity", .location = "/d/identity.db", .create = true, .timeout_ms = 5000}},
    {.adapter = &aon_sqlite_adapter, .config = {.name = "crm", .location = "/d/crm.db", .timeout_ms = 5000}},
};

typedef struct call {
  aon_engine *engine;
  aon_run_options options;
  aon_outcome outcome;
  told *told;
} call;

static bool begin(call *c, const char *id, int64_t fail_at, told *ret) {
  aon_engine_config config = {.journal = {.location = "/d/journal.db", .key_file = "/d/journal.key", .reserve_bytes = 1 << 16},
                              .stores = stores,
                              .store_count = sizeof stores / sizeof *stores,
                              .batch = 16,
                              .test_rollback_at = fail_at,
                              .test_user_index = -1,
                              .test_dept_index = -1,
                              .test_site_index = -1,
                              .test_schedule_index = -1,
                              .test_mode = fail_at >= 0};
  *ret = (told){.error = AON_ERROR_INIT};
  *c = (call){.told = ret, .options = {.id = id, .organization = "org1", .user = "ann", .lock_wait_ms = 30000}};
  ret->result = env.ops->folder_make(env.context, "/d", &ret->error);
  if (!ret->result)
    ret->result = aon_engine_open(&env, &config, &c->engine, &ret->error);
  return ret->result == AON_OK;
}

/* Not a point: this is the test looking at the result, not the program. */
static void look_at_problems(const aon_outcome *outcome, told *t) {
  points_quiet();
  json_t *object = outcome->json.length ? json_loadb(outcome->json.data, outcome->json.length, 0, NULL) : NULL;
  const json_t *first = json_array_get(json_object_get(object, "errors"), 0);
  const char *code = json_string_value(json_object_get(first, "code")), *sentence = json_string_value(json_object_get(first, "message"));
  snprintf(t->problem_code, sizeof t->problem_code, "%s", code ? code : "");
  snprintf(t->problem_sentence, sizeof t->problem_sentence, "%s", sentence ? sentence : "");
  json_decref(object);
  points_loud();
}

static void end(call *c) {
  told *t = c->told;
  t->exit_status = aon_outcome_exit_status(&c->outcome, t->result, &t->error);
  t->state = c->outcome.state;
  t->has_state = c->outcome.bulk_id[0] != 0;
  look_at_problems(&c->outcome, t);
  aon_outcome_release(&c->outcome);
  aon_engine_close(c->engine);
}

static void import(const char *id, const char *book, const char *report, int64_t fail_at, told *ret) {
  static const char *const folders[] = {"/packs", NULL};
  call c;
  aon_pack *pack = NULL;
  if (begin(&c, id, fail_at, ret)) {
    ret->result = aon_pack_load(&env, "workforce", folders, NULL, &pack, &ret->error);
    if (!ret->result)
      ret->result = aon_import(c.engine, pack, book, report, &c.options, &c.outcome, &ret->error);
    aon_pack_close(pack);
  }
  end(&c);
}

void run_company(const char *id, told *ret) { import(id, "/company.xlsx", NULL, -1, ret); }
void run_changes(const char *id, told *ret) { import(id, "/changes.xlsx", NULL, -1, ret); }
void run_changes_refused(const char *id, told *ret) { import(id, "/changes.xlsx", "/report.xlsx", -1, ret); }
void run_forced(const char *id, told *ret) { import(id, "/changes.xlsx", NULL, 9, ret); }

void run_lines(const char *id, told *ret) {
  call c;
  if (begin(&c, id, -1, ret))
    ret->result = aon_apply(c.engine, NULL, "/lines.ndjson", &c.options, &c.outcome, &ret->error);
  end(&c);
}

void run_undo(const char *id, told *ret) {
  const aon_undo_options whole = {.first = -1};
  call c;
  if (begin(&c, id, -1, ret))
    ret->result = aon_undo(c.engine, FIRST_ID, &whole, &c.options, &c.outcome, &ret->error);
  end(&c);
}

void run_recovery(const char *id, told *ret) {
  uint64_t recovered, open, person;
  call c;
  if (begin(&c, NULL, -1, ret))
    ret->result = aon_recover(c.engine, NULL, &c.options, NULL, NULL, &recovered, &open, &person, &ret->error);
  (void)id;
  end(&c);
}

/* ---- looking ---- */

typedef struct rows {
  char *text;
  size_t length, capacity;
} rows;

static void add(rows *r, const char *text) {
  size_t more = strlen(text);
  if (r->length + more + 1 > r->capacity) {
    r->capacity = (r->length + more + 1) * 2;
    r->text = realloc(r->text, r->capacity);
    if (!r->text)
      _exit(99);
  }
  memcpy(r->text + r->length, text, more + 1);
  r->length += more;
}

static void add_table(rows *r, sqlite3 *in, const char *name, const char *table) {
  sqlite3_stmt *row = NULL;
  char *sql = sqlite3_mprintf("select * from \"%w\" order by 1, 2", table);
  int rc = sqlite3_prepare_v2(in, sql, -1, &row, NULL);
  while (!rc && sqlite3_step(row) == SQLITE_ROW) {
    add(r, name);
    add(r, " ");
    add(r, table);
    for (int i = 0; i < sqlite3_column_count(row); i++) {
      const char *text = (const char *)sqlite3_column_text(row, i);
      add(r, " | ");
      add(r, text ? text : "null");
    }
    add(r, "\n");
  }
  if (sqlite3_finalize(row) != SQLITE_OK || rc)
    add(r, "a table can't be read\n");
  sqlite3_free(sql);
}

static void add_database(rows *r, const char *name) {
  char path[64];
  snprintf(path, sizeof path, "/d/%s.db", name);
  if (!disk_has(path))
    return;
  sqlite3 *in = database(path, SQLITE_OPEN_READWRITE);
  sqlite3_stmt *tables = NULL;
  if (!in ||
      sqlite3_prepare_v2(
          in,
          "select name from sqlite_master where type = 'table' and name not like 'aon\\_%' escape '\\' and name not like 'sqlite\\_%' "
          "escape '\\' order by name",
          -1, &tables, NULL) != SQLITE_OK)
    add(r, "a database can't be read\n");
  while (tables && sqlite3_step(tables) == SQLITE_ROW)
    add_table(r, in, name, (const char *)sqlite3_column_text(tables, 0));
  sqlite3_finalize(tables);
  sqlite3_close(in);
}

char *world_rows(void) {
  rows r = {0};
  points_quiet();
  add(&r, "");
  for (size_t i = 0; i < sizeof stores / sizeof *stores; i++)
    add_database(&r, stores[i].config.name);
  points_loud();
  return r.text;
}

aon_state world_state(const char *id, aon_error *ret_error) {
  aon_state state = AON_STATE_COUNT;
  AON_BUFFER_CLEANUP aon_buffer json = {0};
  told t;
  call c;
  *ret_error = (aon_error)AON_ERROR_INIT;
  if (!disk_has("/d/journal.db"))
    return state;
  points_quiet();
  if (begin(&c, NULL, -1, &t) && !aon_show(c.engine, id, &json, ret_error)) {
    json_t *object = json_loadb(json.data, json.length, 0, NULL);
    const char *name = json_string_value(json_object_get(object, "state"));
    for (int s = 0; name && s < AON_STATE_COUNT; s++)
      if (!strcmp(name, aon_state_name((aon_state)s)))
        state = (aon_state)s;
    json_decref(object);
  }
  end(&c);
  if (ret_error->kind && !strcmp(ret_error->code, "not_found"))
    *ret_error = (aon_error)AON_ERROR_INIT;
  points_loud();
  return state;
}

/* A lock is free by the end of whom it belongs to; its row goes later. */
#define HELD                                                                                                                               \
  "select (select count(*) from lock_runs join bulk on bulk.number = lock_runs.bulk where bulk.state not in ('committed', 'rejected', "    \
  "'cancelled', 'planned', 'rolled_back', 'undone')) + (select count(*) from named_locks) + (select count(*) from conflicts)"

int world_held(void) {
  int held = -1;
  points_quiet();
  sqlite3 *in = disk_has("/d/journal.db") ? database("/d/journal.db", SQLITE_OPEN_READWRITE) : NULL;
  sqlite3_stmt *count = NULL;
  if (!disk_has("/d/journal.db"))
    held = 0;
  else if (in && sqlite3_prepare_v2(in, HELD, -1, &count, NULL) == SQLITE_OK && sqlite3_step(count) == SQLITE_ROW)
    held = sqlite3_column_int(count, 0);
  sqlite3_finalize(count);
  sqlite3_close(in);
  points_loud();
  return held;
}

static bool skips(const char **at, const char *pattern) {
  const char *c = *at;
  for (; *pattern; pattern++, c++)
    if (*pattern == '0' ? !isxdigit((unsigned char)*c) : *c != *pattern)
      return false;
  *at = c;
  return true;
}

static int line_order(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Rows whose ids are made stand in another order each time. */
static void sort_lines(char *text) {
  size_t length = strlen(text), count = 0, ends = 0;
  for (const char *c = text; *c; c++)
    ends += *c == '\n';
  char *copy = strdup(text), **starts = calloc(ends + 1, sizeof *starts);
  if (!copy || !starts)
    _exit(99);
  for (char *line = strtok(copy, "\n"); line; line = strtok(NULL, "\n"))
    starts[count++] = line;
  qsort(starts, count, sizeof *starts, line_order);
  char *to = text;
  for (size_t i = 0; i < count; i++)
    to += snprintf(to, length + 1 - (size_t)(to - text), "%s\n", starts[i]);
  free(starts);
  free(copy);
}

void world_outline(char *text) {
  char *to = text;
  for (const char *at = text; *at;) {
    if (skips(&at, "00000000-0000-0000-0000-000000000000"))
      *to++ = 'U';
    else if (!strncmp(at, "2030-03-1", 9) && skips(&at, "0000-00-00T00:00:00.000Z"))
      *to++ = 'T';
    else if (!strncmp(at, "19000", 5) && skips(&at, "0000000000000"))
      *to++ = 'T';
    else
      *to++ = *at++;
  }
  *to = 0;
  sort_lines(text);
}
