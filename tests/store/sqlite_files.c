/* SQLite files among others: readers beside a writer, other processes, kills, locks, damage, read-only folders, disks that are full or
 * fail. */
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wire/sqlite.h"
#include "world.h"

static const aon_image absent = {0};
static const aon_collection users = {.store = "main", .name = "users"};

typedef struct subject {
  world w;
  const char *path;
  aon_store *store, *other;
} subject;

static int set_up(void **state) {
  subject *s = calloc(1, sizeof *s);
  world_open(&s->w);
  s->path = world_path(&s->w, "s.db");
  s->store = world_store(&s->w, &aon_sqlite_adapter, NULL, "main", s->path, true);
  s->other = world_store(&s->w, &aon_sqlite_adapter, NULL, "main", s->path, true);
  *state = s;
  return 0;
}

static int tear_down(void **state) {
  subject *s = *state;
  aon_store_close(s->store);
  aon_store_close(s->other);
  world_close(&s->w);
  free(s);
  return 0;
}

static aon_write create_of(subject *s, const char *id, int n) {
  return write_of(&users, id, absent, image(&s->w, aon_arena_format(&s->w.arena, "{\"n\":%d}", n)), 0);
}

static void put(subject *s, const char *id) {
  aon_write write = create_of(s, id, 1);
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
}

static aon_transaction *open_with(subject *s, uint32_t attempt, const char *id) {
  aon_branch own = branch(attempt);
  aon_transaction *transaction;
  aon_write write = create_of(s, id, 1);
  size_t failed;
  OK(&s->w, aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &transaction, &s->w.error));
  OK(&s->w, aon_store_apply(s->store, transaction, &write, 1, NULL, &failed, &s->w.error));
  return transaction;
}

static aon_branch_state resolved(subject *s, aon_store *store, uint32_t attempt) {
  aon_branch own = branch(attempt);
  aon_branch_state found;
  OK(&s->w, aon_store_resolve(store, &own, &found, &s->w.error));
  return found;
}

/* ---- others at work ---- */

static void readers_go_on_beside_a_writer(void **state) {
  subject *s = *state;
  put(s, "a");
  aon_transaction *transaction = open_with(s, 1, "b");
  assert_non_null(look(&s->w, s->other, &users, "a").bson);
  assert_null(look(&s->w, s->other, &users, "b").bson);
  assert_string_equal(sql_text(&s->w, s->path, "select id from users"), "t:a");
  OK(&s->w, aon_store_commit(s->store, transaction, &s->w.error));
  assert_non_null(look(&s->w, s->other, &users, "b").bson);
}

static void a_second_writer_waits_and_is_told(void **state) {
  subject *s = *state;
  aon_transaction *transaction = open_with(s, 1, "a");
  aon_branch own = branch(2);
  aon_transaction *second;
  FAILS(&s->w, aon_store_begin(s->other, &own, AON_MARKER_COMMIT, &second, &s->w.error), AON_TRANSIENT, "database_locked");
  assert_int_equal(resolved(s, s->other, 1), AON_BRANCH_OPEN);
  aon_store_abort(s->store, transaction);
  assert_int_equal(resolved(s, s->other, 1), AON_BRANCH_ABORTED);
}

static void two_names_of_one_file_are_told(void **state) {
  subject *s = *state;
  char here[1024];
  const char *link = world_path(&s->w, "link.db");
  assert_int_equal(symlink("s.db", link), 0);
  aon_store *linked = world_store(&s->w, &aon_sqlite_adapter, NULL, "second", link, true);
  const char *dotted = world_path(&s->w, "./../");
  snprintf(here, sizeof here, "%s%s/s.db", dotted, strrchr(s->w.folder, '/') + 1);
  aon_store *around = world_store(&s->w, &aon_sqlite_adapter, NULL, "third", here, true);
  assert_string_equal(aon_store_capabilities(linked)->database, aon_store_capabilities(s->store)->database);
  assert_string_equal(aon_store_capabilities(around)->database, aon_store_capabilities(s->store)->database);
  char identity[AON_SQLITE_IDENTITY];
  OK(&s->w, aon_sqlite_identity(s->w.env, s->path, identity, &s->w.error));
  assert_string_equal(identity, aon_store_capabilities(s->store)->database);
  aon_transaction *transaction = open_with(s, 1, "a"); /* writes of both names in one transaction */
  aon_collection theirs = {.store = "second", .name = "theirs"};
  aon_write write = write_of(&theirs, "x", absent, image(&s->w, "{}"), 1);
  size_t failed;
  OK(&s->w, aon_store_apply(s->store, transaction, &write, 1, NULL, &failed, &s->w.error));
  OK(&s->w, aon_store_commit(s->store, transaction, &s->w.error));
  assert_non_null(look(&s->w, linked, &theirs, "x").bson);
  aon_store_close(linked);
  aon_store_close(around);
}

/* In a process of its own, which ends as told. 0: killed within the transaction; 1: killed after the commit; 2: lives. */
static void in_a_child(subject *s, uint32_t attempt, const char *id, int how) {
  pid_t child = fork();
  assert_true(child >= 0);
  if (!child) {
    aon_store *own = world_store(&s->w, &aon_sqlite_adapter, NULL, "main", s->path, true);
    s->store = own;
    aon_transaction *transaction = open_with(s, attempt, id);
    if (how == 0)
      kill(getpid(), SIGKILL);
    OK(&s->w, aon_store_commit(own, transaction, &s->w.error));
    if (how == 1)
      kill(getpid(), SIGKILL);
    aon_store_close(own);
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  assert_int_equal(how == 2 ? WIFEXITED(status) && WEXITSTATUS(status) == 0 : WIFSIGNALED(status), 1);
}

static void a_killed_worker_leaves_all_or_nothing(void **state) {
  subject *s = *state;
  for (int journal = 0; journal < 2; journal++) {
    uint32_t attempt = 10 * (uint32_t)journal;
    const char *ids[3] = {journal ? "d" : "a", journal ? "e" : "b", journal ? "f" : "c"};
    if (journal)
      sql(s->path, "pragma journal_mode=delete");
    in_a_child(s, attempt + 1, ids[0], 0);
    assert_int_equal(resolved(s, s->store, attempt + 1), AON_BRANCH_ABORTED);
    assert_null(look(&s->w, s->store, &users, ids[0]).bson);
    in_a_child(s, attempt + 2, ids[1], 1);
    assert_int_equal(resolved(s, s->store, attempt + 2), AON_BRANCH_COMMITTED);
    assert_non_null(look(&s->w, s->store, &users, ids[1]).bson);
    in_a_child(s, attempt + 3, ids[2], 2);
    assert_int_equal(resolved(s, s->other, attempt + 3), AON_BRANCH_COMMITTED);
    aon_store_close(s->store);
    aon_store_close(s->other);
    s->store = world_store(&s->w, &aon_sqlite_adapter, NULL, "main", s->path, true);
    s->other = world_store(&s->w, &aon_sqlite_adapter, NULL, "main", s->path, true);
  }
}

static void a_commit_refused_by_readers_is_rolled_back(void **state) { /* a rollback journal: the writer needs the file alone */
  subject *s = *state;
  sql(s->path, "create table users(id text primary key, doc text); insert into users values('z', '{}')");
  sqlite3 *reader;
  assert_int_equal(sqlite3_open(s->path, &reader), SQLITE_OK);
  assert_int_equal(sqlite3_exec(reader, "begin; select * from users", NULL, NULL, NULL), SQLITE_OK);
  aon_transaction *transaction = open_with(s, 1, "a");
  FAILS(&s->w, aon_store_commit(s->store, transaction, &s->w.error), AON_TRANSIENT, "database_locked");
  sqlite3_exec(reader, "rollback", NULL, NULL, NULL);
  sqlite3_close(reader);
  assert_int_equal(resolved(s, s->other, 1), AON_BRANCH_ABORTED);
  assert_null(look(&s->w, s->other, &users, "a").bson);
  put(s, "a");
}

static void a_replaced_file_is_noticed(void **state) {
  subject *s = *state;
  put(s, "a");
  aon_transaction *transaction = open_with(s, 1, "b");
  for (size_t i = 0; i < 3; i++)
    unlink(aon_arena_format(&s->w.arena, "%s%s", s->path, (const char *[]){"", "-wal", "-shm"}[i]));
  FAILS(&s->w, aon_store_commit(s->store, transaction, &s->w.error), AON_ENVIRONMENT, "file_replaced");
  assert_null(look(&s->w, s->store, &users, "a").bson); /* gone with its file */
  put(s, "b");
  assert_string_equal(sql_text(&s->w, s->path, "select id from users"), "t:b");
}

/* ---- cancel ---- */

static void *cancel_soon(void *context) {
  subject *s = context;
  usleep(150000);
  aon_store_cancel(s->other);
  return NULL;
}

static void cancel_ends_a_wait(void **state) {
  subject *s = *state;
  aon_store_close(s->other);
  aon_store_config config = {.name = "main", .location = s->path, .create = true, .timeout_ms = 60000};
  OK(&s->w, aon_store_open(s->w.env, &aon_sqlite_adapter, &config, &s->other, &s->w.error));
  aon_transaction *transaction = open_with(s, 1, "a");
  aon_transaction *second;
  aon_branch own = branch(2);
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, cancel_soon, s), 0);
  FAILS(&s->w, aon_store_begin(s->other, &own, AON_MARKER_COMMIT, &second, &s->w.error), AON_CANCELLED, "cancelled");
  pthread_join(thread, NULL);
  aon_store_abort(s->store, transaction);
  OK(&s->w, aon_store_begin(s->other, &own, AON_MARKER_COMMIT, &second, &s->w.error)); /* an old cancel is forgotten */
  aon_store_abort(s->other, second);
}

static aon_result cancel_within(void *context, const aon_found *found, aon_error *error) {
  (void)found;
  (void)error;
  aon_store_cancel(context);
  return AON_OK;
}

static void cancel_ends_a_scan(void **state) {
  subject *s = *state;
  put(s, "a");
  put(s, "b");
  FAILS(&s->w, aon_store_scan(s->store, &users, NULL, 0, NULL, cancel_within, s->store, &s->w.error), AON_CANCELLED, "cancelled");
  assert_non_null(look(&s->w, s->store, &users, "a").bson);
}

/* ---- what a person must look at ---- */

static const char *examined(subject *s, aon_store *store, bool *ret_healthy) {
  aon_buffer report = {0};
  OK(&s->w, aon_store_examine(store, &report, ret_healthy, &s->w.error));
  const char *kept = aon_arena_text(&s->w.arena, report.data, report.length);
  aon_buffer_release(&report);
  return kept;
}

static void examines_a_sound_file(void **state) {
  subject *s = *state;
  bool healthy;
  put(s, "a");
  const char *report = examined(s, s->store, &healthy);
  assert_true(healthy);
  assert_non_null(strstr(report, "journal mode: wal"));
  assert_non_null(strstr(report, "integrity: ok"));
  assert_non_null(strstr(report, "markers of bulk operations: 1"));
  assert_non_null(strstr(report, "writable: yes"));
}

static void a_file_that_is_no_database(void **state) {
  subject *s = *state;
  bool healthy;
  FILE *file = fopen(s->path, "w");
  for (int i = 0; i < 1000; i++)
    fputs("this is not a database ", file);
  fclose(file);
  aon_text id = text("a");
  aon_image found;
  aon_branch own = branch(1);
  aon_transaction *transaction;
  FAILS(&s->w, aon_store_read(s->store, &users, &id, 1, &s->w.arena, &found, &s->w.error), AON_CORRUPT, "corrupt");
  FAILS(&s->w, aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &transaction, &s->w.error), AON_CORRUPT, "corrupt");
  assert_non_null(strstr(examined(s, s->store, &healthy), "problem:"));
  assert_false(healthy);
}

static void a_damaged_page(void **state) {
  subject *s = *state;
  bool healthy;
  sql(s->path,
      "create table users(id text primary key, doc text); with recursive c(n) as (select 1 union all select n + 1 from c where n < 3000)"
      " insert into users select 'k' || n, '{\"n\":' || n || '}' from c");
  aon_store_close(s->store);
  s->store = world_store(&s->w, &aon_sqlite_adapter, NULL, "main", s->path, true);
  struct stat info;
  assert_int_equal(stat(s->path, &info), 0);
  FILE *file = fopen(s->path, "r+");
  for (long at = 2 * 4096; at < info.st_size; at += 4096) { /* all pages but the schema's */
    fseek(file, at, SEEK_SET);
    fputs("garbage in the head of a page", file);
  }
  fclose(file);
  aon_text id = text("k7");
  aon_image found;
  assert_int_equal(aon_store_read(s->store, &users, &id, 1, &s->w.arena, &found, &s->w.error), AON_CORRUPT);
  s->w.error = (aon_error)AON_ERROR_INIT;
  assert_non_null(strstr(examined(s, s->store, &healthy), "DAMAGED"));
  assert_false(healthy);
}

/* As somebody who may only read: root may always write, so a child becomes nobody. */
static void a_read_only_folder(void **state) {
  subject *s = *state;
  sql(s->path, "create table users(id text primary key, doc text); insert into users values('a', '{}')");
  aon_store_close(s->store);
  aon_store_close(s->other);
  s->store = s->other = NULL;
  assert_int_equal(chmod(s->path, 0444), 0);
  assert_int_equal(chmod(s->w.folder, 0555), 0);
  pid_t child = fork();
  if (!child) {
    if (getuid() == 0 && setuid(65534))
      _exit(3);
    aon_store *own = world_store(&s->w, &aon_sqlite_adapter, NULL, "main", s->path, true);
    bool healthy = true;
    aon_branch mine = branch(1);
    aon_transaction *transaction;
    assert_non_null(look(&s->w, own, &users, "a").bson);
    FAILS(&s->w, aon_store_begin(own, &mine, AON_MARKER_COMMIT, &transaction, &s->w.error), AON_ENVIRONMENT, "read_only");
    assert_non_null(strstr(examined(s, own, &healthy), "writable: NO"));
    aon_store_close(own);
    own = world_store(&s->w, &aon_sqlite_adapter, NULL, "main", world_path(&s->w, "new.db"), true);
    FAILS(&s->w, aon_store_begin(own, &mine, AON_MARKER_COMMIT, &transaction, &s->w.error), AON_ENVIRONMENT, "no_permission");
    aon_store_close(own);
    _exit(healthy ? 4 : 0);
  }
  int status;
  waitpid(child, &status, 0);
  chmod(s->w.folder, 0700);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
  s->store = world_store(&s->w, &aon_sqlite_adapter, NULL, "main", s->path, true);
  s->other = world_store(&s->w, &aon_sqlite_adapter, NULL, "main", s->path, true);
}

static void paths_that_are_none(void **state) {
  subject *s = *state;
  aon_store *store;
  aon_store_config config = {.name = "main", .location = ""};
  FAILS(&s->w, aon_store_open(s->w.env, &aon_sqlite_adapter, &config, &store, &s->w.error), AON_USAGE, "bad_location");
  config.location = ":memory:";
  FAILS(&s->w, aon_store_open(s->w.env, &aon_sqlite_adapter, &config, &store, &s->w.error), AON_USAGE, "bad_location");
  config.location = s->w.folder;
  OK(&s->w, aon_store_open(s->w.env, &aon_sqlite_adapter, &config, &store, &s->w.error));
  const aon_shape *shape;
  FAILS(&s->w, aon_store_describe(store, &users, &shape, &s->w.error), AON_ENVIRONMENT, "no_such_file");
  aon_store_close(store);
}

/* ---- a disk that fails: a VFS around the real one ---- */

typedef struct bad_file {
  sqlite3_file base;
  sqlite3_file *real;
} bad_file;

static struct bad_disk { /* the VFS has no other place for it */
  sqlite3_vfs vfs, *real;
  sqlite3_io_methods methods;
  int changes, fail_at, code;
  bool for_ever;
  int syncs_until_failure;
} bad;

static int change(void) {
  return ++bad.changes == bad.fail_at || (bad.for_ever && bad.fail_at && bad.changes > bad.fail_at) ? bad.code : SQLITE_OK;
}

#define REAL(file) (((bad_file *)(file))->real)

static int bad_close(sqlite3_file *f) { return REAL(f)->pMethods ? REAL(f)->pMethods->xClose(REAL(f)) : SQLITE_OK; }
static int bad_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at) { return REAL(f)->pMethods->xRead(REAL(f), to, n, at); }
static int bad_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at) {
  int rc = change();
  return rc ? rc : REAL(f)->pMethods->xWrite(REAL(f), from, n, at);
}
static int bad_truncate(sqlite3_file *f, sqlite3_int64 size) { return REAL(f)->pMethods->xTruncate(REAL(f), size); }
static int bad_sync(sqlite3_file *f, int flags) {
  bool fails = bad.syncs_until_failure && !--bad.syncs_until_failure;
  int rc = fails ? SQLITE_IOERR_FSYNC : change();
  return !rc ? REAL(f)->pMethods->xSync(REAL(f), flags) : rc == SQLITE_FULL ? SQLITE_IOERR_FSYNC : rc;
}
static int bad_size(sqlite3_file *f, sqlite3_int64 *size) { return REAL(f)->pMethods->xFileSize(REAL(f), size); }
static int bad_lock(sqlite3_file *f, int level) { return REAL(f)->pMethods->xLock(REAL(f), level); }
static int bad_unlock(sqlite3_file *f, int level) { return REAL(f)->pMethods->xUnlock(REAL(f), level); }
static int bad_reserved(sqlite3_file *f, int *is) { return REAL(f)->pMethods->xCheckReservedLock(REAL(f), is); }
static int bad_control(sqlite3_file *f, int op, void *argument) { return REAL(f)->pMethods->xFileControl(REAL(f), op, argument); }
static int bad_sector(sqlite3_file *f) { return REAL(f)->pMethods->xSectorSize(REAL(f)); }
static int bad_traits(sqlite3_file *f) { return REAL(f)->pMethods->xDeviceCharacteristics(REAL(f)); }
static int bad_map(sqlite3_file *f, int page, int size, int extend, void volatile **at) {
  return REAL(f)->pMethods->xShmMap(REAL(f), page, size, extend, at);
}
static int bad_shm_lock(sqlite3_file *f, int offset, int n, int flags) { return REAL(f)->pMethods->xShmLock(REAL(f), offset, n, flags); }
static void bad_barrier(sqlite3_file *f) { REAL(f)->pMethods->xShmBarrier(REAL(f)); }
static int bad_unmap(sqlite3_file *f, int delete) { return REAL(f)->pMethods->xShmUnmap(REAL(f), delete); }

static int bad_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out) {
  (void)vfs;
  bad_file *made = (bad_file *)file;
  made->real = (sqlite3_file *)(made + 1);
  memset(made->real, 0, (size_t)bad.real->szOsFile);
  int rc = bad.real->xOpen(bad.real, name, made->real, flags, out);
  file->pMethods = rc ? NULL : &bad.methods;
  return rc;
}

static void bad_disk_register(void) {
  if (sqlite3_vfs_find("bad"))
    return;
  bad.real = sqlite3_vfs_find(NULL);
  bad.vfs = *bad.real;
  bad.vfs.zName = "bad";
  bad.vfs.pNext = NULL;
  bad.vfs.szOsFile = (int)sizeof(bad_file) + bad.real->szOsFile;
  bad.vfs.xOpen = bad_open;
  bad.methods = (sqlite3_io_methods){2,          bad_close,    bad_read,    bad_write,  bad_truncate, bad_sync, bad_size,     bad_lock,
                                     bad_unlock, bad_reserved, bad_control, bad_sector, bad_traits,   bad_map,  bad_shm_lock, bad_barrier,
                                     bad_unmap,  NULL,         NULL};
  sqlite3_vfs_register(&bad.vfs, 0);
}

/* A transaction of some pages over documents that are there. */
static aon_result whole_transaction(subject *s, uint32_t attempt) {
  enum { WRITES = 200 };
  aon_write writes[WRITES];
  char padding[600];
  memset(padding, 'x', sizeof padding);
  for (int i = 0; i < WRITES; i++) {
    writes[i] = write_of(&users, aon_arena_format(&s->w.arena, "k%u-%d", attempt, i), absent,
                         image(&s->w, aon_arena_format(&s->w.arena, "{\"x\":\"%.*s\"}", (int)sizeof padding, padding)), i);
  }
  aon_branch own = branch(attempt);
  aon_transaction *transaction;
  size_t failed;
  aon_result result = aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &transaction, &s->w.error);
  if (result)
    return result;
  result = aon_store_apply(s->store, transaction, writes, WRITES, NULL, &failed, &s->w.error);
  if (!result)
    return aon_store_commit(s->store, transaction, &s->w.error);
  aon_store_abort(s->store, transaction);
  return result;
}

/* Fails the 1st, 2nd, … change of the disk until a run has no fault; each time what the failure said must be true. */
static void fail_each_change(subject *s, const char *journal, int code, bool for_ever) {
  bad_disk_register();
  s->w.env->vfs = "bad";
  size_t unknown = 0, proven = 0;
  uint32_t attempt = 0;
  for (bool faulty = true; faulty; attempt++) {
    assert_true(attempt < 2000);
    aon_store_close(s->store);
    bad.fail_at = 0;
    s->store = world_store(&s->w, &aon_sqlite_adapter, NULL, "main", s->path, true);
    assert_null(look(&s->w, s->store, &users, "none").bson);
    bad = (struct bad_disk){bad.vfs, bad.real, bad.methods, 0, (int)attempt * (for_ever ? 5 : 3) + 1, code, for_ever, 0};
    aon_result result = whole_transaction(s, attempt);
    faulty = bad.changes >= bad.fail_at;
    bad.fail_at = 0;
    assert_true(result == AON_OK || result == AON_UNKNOWN || result == AON_ENVIRONMENT);
    s->w.error = (aon_error)AON_ERROR_INIT;
    aon_branch_state state = resolved(s, s->store, attempt);
    aon_image first = look(&s->w, s->store, &users, aon_arena_format(&s->w.arena, "k%u-0", attempt));
    aon_image last = look(&s->w, s->store, &users, aon_arena_format(&s->w.arena, "k%u-199", attempt));
    assert_int_equal(state, first.bson ? AON_BRANCH_COMMITTED : AON_BRANCH_ABORTED);
    assert_int_equal(first.bson != NULL, last.bson != NULL);
    if (result != AON_UNKNOWN)
      assert_int_equal(first.bson != NULL, result == AON_OK);
    unknown += result == AON_UNKNOWN;
    proven += result == AON_ENVIRONMENT;
  }
  s->w.env->vfs = NULL;
  print_message("%s, code %d: %u runs, %zu proven, %zu unknown\n", journal, code, attempt, proven, unknown);
  assert_true(proven + unknown > 3);
}

static void a_full_disk_with_wal(void **state) {
  put(*state, "seed");
  fail_each_change(*state, "wal", SQLITE_FULL, true);
}

static void a_full_disk_with_rollback_journal(void **state) {
  subject *s = *state;
  sql(s->path, "create table users(id text primary key, doc text)");
  fail_each_change(s, "delete", SQLITE_FULL, true);
}

static void a_failing_disk_with_wal(void **state) {
  put(*state, "seed");
  fail_each_change(*state, "wal", SQLITE_IOERR_WRITE, false);
}

static void a_failing_disk_with_rollback_journal(void **state) {
  subject *s = *state;
  sql(s->path, "create table users(id text primary key, doc text)");
  fail_each_change(s, "delete", SQLITE_IOERR_WRITE, false);
}

/* The frames of a commit are in the log, only their sync failed; then the worker dies. Whoever opens the file next finds the commit
 * there, so nothing but "unknown" was true. */
static void a_commit_that_was_not_synced_is_unknown(void **state) {
  subject *s = *state;
  int pipes[2];
  put(s, "seed");
  aon_store_close(s->store);
  aon_store_close(s->other);
  s->store = s->other = NULL;
  assert_int_equal(pipe(pipes), 0);
  pid_t child = fork();
  if (!child) {
    bad_disk_register();
    s->w.env->vfs = "bad";
    s->store = world_store(&s->w, &aon_sqlite_adapter, NULL, "main", s->path, true);
    aon_transaction *transaction = open_with(s, 1, "a");
    bad.syncs_until_failure = 1; /* the head of a new log has none of its own */
    unsigned char result = (unsigned char)aon_store_commit(s->store, transaction, &s->w.error);
    if (write(pipes[1], &result, 1) == 1)
      kill(getpid(), SIGKILL);
    _exit(1);
  }
  int status;
  unsigned char result = 0;
  assert_int_equal(read(pipes[0], &result, 1), 1);
  waitpid(child, &status, 0);
  close(pipes[0]);
  close(pipes[1]);
  assert_int_equal(result, AON_UNKNOWN);
  s->store = world_store(&s->w, &aon_sqlite_adapter, NULL, "main", s->path, true);
  assert_int_equal(resolved(s, s->store, 1), AON_BRANCH_COMMITTED);
  assert_non_null(look(&s->w, s->store, &users, "a").bson);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {TEST(readers_go_on_beside_a_writer),
                                     TEST(a_second_writer_waits_and_is_told),
                                     TEST(two_names_of_one_file_are_told),
                                     TEST(a_killed_worker_leaves_all_or_nothing),
                                     TEST(a_commit_refused_by_readers_is_rolled_back),
                                     TEST(a_replaced_file_is_noticed),
                                     TEST(cancel_ends_a_wait),
                                     TEST(cancel_ends_a_scan),
                                     TEST(examines_a_sound_file),
                                     TEST(a_file_that_is_no_database),
                                     TEST(a_damaged_page),
                                     TEST(a_read_only_folder),
                                     TEST(paths_that_are_none),
                                     TEST(a_full_disk_with_wal),
                                     TEST(a_full_disk_with_rollback_journal),
                                     TEST(a_failing_disk_with_wal),
                                     TEST(a_failing_disk_with_rollback_journal),
                                     TEST(a_commit_that_was_not_synced_is_unknown)};
  return cmocka_run_group_tests_name("sqlite files", tests, NULL, NULL);
}
