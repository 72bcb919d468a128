/* Connections to the journal that are there already. Reading a schema and preparing statements was half of what a world costs, and comes
 * out the same each time. So some connections are opened once, on a journal as it was just made, with its schema read and the statements
 * prepared that worlds were seen to use; all their memory lies in a still (heap.c). Who opens the journal gets one of them as it was then,
 * with nothing of the file in its cache and its file handle in this world's disk. What SQLite does from there on is its own, real work: a
 * schema that is another one by its number is read anew.
 *
 * Invariants: what is lent depends on the world alone, never on worlds before it; a still is used by one connection at a time; one world in
 * sixteen opens all its connections the long way (W->cold). */
#include "sim.h"
#include "wire/sqlite_syncs.h"

#define STATEMENTS_LIMIT 240
#define PLACES 1024u

int __real_sqlite3_open_v2(const char *path, sqlite3 **ret_handle, int flags, const char *vfs);
int __wrap_sqlite3_open_v2(const char *path, sqlite3 **ret_handle, int flags, const char *vfs);
int __real_sqlite3_close_v2(sqlite3 *handle);
int __wrap_sqlite3_close_v2(sqlite3 *handle);
int __real_sqlite3_close(sqlite3 *handle);
int __wrap_sqlite3_close(sqlite3 *handle);
int __real_sqlite3_prepare_v2(sqlite3 *handle, const char *sql, int length, sqlite3_stmt **ret_statement, const char **ret_tail);
int __wrap_sqlite3_prepare_v2(sqlite3 *handle, const char *sql, int length, sqlite3_stmt **ret_statement, const char **ret_tail);
int __real_sqlite3_prepare_v3(sqlite3 *handle, const char *sql, int length, unsigned flags, sqlite3_stmt **ret_statement,
                              const char **ret_tail);
int __wrap_sqlite3_prepare_v3(sqlite3 *handle, const char *sql, int length, unsigned flags, sqlite3_stmt **ret_statement,
                              const char **ret_tail);
int __real_sqlite3_finalize(sqlite3_stmt *statement);
int __wrap_sqlite3_finalize(sqlite3_stmt *statement);

static struct {
  bool made;
  char *noted; /* texts with their flags before them, each ended by a zero */
  size_t noted_size, noted_used;
  const char *texts[STATEMENTS_LIMIT];
  uint8_t flags[STATEMENTS_LIMIT];
  uint16_t places[PLACES]; /* of a text by its sum; 0: none, else its number + 1 */
  struct still {
    sqlite3 *handle;
    sqlite3_file *file;
    bool used, list_known;
    int owner;
    sqlite3_stmt *statements[STATEMENTS_LIMIT];
    bool lent[STATEMENTS_LIMIT];
  } stills[HEAP_STILLS];
  size_t count;
} warm;

/* ---- which statements ---- */

static bool of_journal(sqlite3 *handle) {
  const char *path = sqlite3_db_filename(handle, "main");
  return path && !strcmp(path, SIM_JOURNAL);
}

static void note(sqlite3 *handle, const char *sql, unsigned flags) {
  size_t length = strlen(sql) + 1;
  if (!warm.noted || !strncmp(sql, "pragma", 6) || !of_journal(handle) || warm.noted_used + length + 2 > warm.noted_size)
    return; /* some pragmas act when they are prepared */
  for (const char *at = warm.noted; *at; at += strlen(at) + 1)
    if (*at == (char)('0' + flags) && !strcmp(at + 1, sql))
      return;
  warm.noted[warm.noted_used] = (char)('0' + flags);
  memcpy(warm.noted + warm.noted_used + 1, sql, length);
  warm.noted_used += length + 1;
}

void warm_listen(char *texts, size_t size) {
  warm.noted = texts;
  warm.noted_size = size;
}

static uint32_t place_of(const char *sql, unsigned flags) {
  uint32_t sum = 2166136261u + flags;
  for (; *sql; sql++)
    sum = (sum ^ (uint8_t)*sql) * 16777619u;
  return (sum ^ sum >> 15) % PLACES;
}

static int number_of(const char *sql, unsigned flags) {
  for (uint32_t place = place_of(sql, flags); warm.places[place]; place = (place + 1) % PLACES) {
    int number = warm.places[place] - 1;
    if (warm.flags[number] == flags && !strcmp(warm.texts[number], sql))
      return number;
  }
  return -1;
}

/* ---- making ---- */

/* One that can't be prepared here, since it is about a store in the journal's file, is left out in all alike. */
static void make_still(int which) {
  struct still *s = &warm.stills[which];
  const char *layer; /* as the program opens it */
  if (aon_sqlite_syncs_over(disk_vfs_name, &layer, NULL))
    abort();
  heap_still_begin(which);
  int rc = __real_sqlite3_open_v2(SIM_JOURNAL, &s->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, layer);
  if (!rc)
    rc = sqlite3_db_config(s->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0,
                           NULL); /* as wire/sqlite.c does: a change of it would cost all statements */
  for (size_t i = 0; !rc && i < warm.count; i++)
    rc = __real_sqlite3_prepare_v3(s->handle, warm.texts[i], -1, warm.flags[i], &s->statements[i], NULL) == SQLITE_NOMEM ? SQLITE_NOMEM : 0;
  if (rc || sqlite3_db_release_memory(s->handle) || sqlite3_file_control(s->handle, "main", DISK_WHICH_FILE, &s->file))
    abort();
  s->list_known = warm.count && ((void **)(void *)s->handle)[1] == (void *)sqlite3_next_stmt(s->handle, NULL);
  heap_still_end();
}

void warm_make(disk *journal, const char *texts) {
  disk_unlog(journal, SIM_JOURNAL);
  for (const char *at = texts; *at && warm.count < STATEMENTS_LIMIT; at += strlen(at) + 1) {
    uint32_t place = place_of(at + 1, (unsigned)(*at - '0'));
    while (warm.places[place])
      place = (place + 1) % PLACES;
    warm.flags[warm.count] = (uint8_t)(*at - '0');
    warm.texts[warm.count] = at + 1;
    warm.places[place] = (uint16_t)++warm.count;
  }
  for (int i = 0; i < HEAP_STILLS; i++)
    make_still(i);
  warm.made = true;
}

void warm_drop(int owner) {
  for (int i = 0; i < HEAP_STILLS; i++)
    if (owner < 0 || warm.stills[i].owner == owner)
      warm.stills[i].used = false;
}

/* ---- lending ---- */

static struct still *adopt(void) {
  for (int i = 0; i < HEAP_STILLS; i++) {
    struct still *s = &warm.stills[i];
    if (s->used)
      continue;
    s->used = true;
    s->owner = heap_owner_now();
    memset(s->lent, 0, sizeof s->lent);
    heap_still_restore(i);
    disk_adopt(s->file, SIM_JOURNAL);
    return s;
  }
  return NULL;
}

int __wrap_sqlite3_open_v2(const char *path, sqlite3 **ret_handle, int flags, const char *vfs) {
  struct still *s = NULL;
  if (warm.made && W && !W->cold && !W->fresh && !strcmp(path, SIM_JOURNAL) && !(flags & (SQLITE_OPEN_READONLY | SQLITE_OPEN_CREATE))) {
    sim_point("open");
    s = disk_fails_next() || heap_fails_soon() ? NULL : adopt();
  }
  if (!s)
    return __real_sqlite3_open_v2(path, ret_handle, flags, vfs);
  *ret_handle = s->handle;
  sqlite3_extended_result_codes(s->handle, (flags & SQLITE_OPEN_EXRESCODE) != 0);
  return SQLITE_OK;
}

static struct still *still_of(const void *block) {
  int which = heap_still_of(block);
  return which < 0 || !warm.made ? NULL : &warm.stills[which];
}

static bool lend(sqlite3 *handle, const char *sql, unsigned flags, sqlite3_stmt **ret_statement) {
  struct still *s = still_of(handle);
  int number = s ? number_of(sql, flags) : -1;
  if (number < 0 || !s->statements[number] || s->lent[number] || heap_fails_soon())
    return false;
  s->lent[number] = true;
  *ret_statement = s->statements[number];
  return true;
}

int __wrap_sqlite3_prepare_v3(sqlite3 *handle, const char *sql, int length, unsigned flags, sqlite3_stmt **ret_statement,
                              const char **ret_tail) {
  if (length < 0 && !ret_tail && lend(handle, sql, flags, ret_statement))
    return SQLITE_OK;
  int rc = __real_sqlite3_prepare_v3(handle, sql, length, flags, ret_statement, ret_tail);
  if (!rc && length < 0)
    note(handle, sql, flags);
  return rc;
}

int __wrap_sqlite3_prepare_v2(sqlite3 *handle, const char *sql, int length, sqlite3_stmt **ret_statement, const char **ret_tail) {
  return __wrap_sqlite3_prepare_v3(handle, sql, length, 0, ret_statement, ret_tail);
}

int __wrap_sqlite3_finalize(sqlite3_stmt *statement) {
  struct still *s = still_of(statement);
  for (size_t i = 0; s && i < warm.count; i++)
    if (s->statements[i] == statement) {
      sqlite3_clear_bindings(statement);
      s->lent[i] = false;
      return sqlite3_reset(statement);
    }
  return __real_sqlite3_finalize(statement);
}

/* A connection with statements left would not close. They go with their still, so mostly it is enough that SQLite does not find them: the
 * list of them is the second field of a connection (make_still looks whether it is). */
static void give_back(sqlite3 *handle) {
  struct still *s = still_of(handle);
  if (!s)
    return;
  bool own = false;
  for (sqlite3_stmt *one = sqlite3_next_stmt(handle, NULL); one && !own; one = sqlite3_next_stmt(handle, one))
    own = heap_still_of(one) < 0;
  if (s->list_known && !own) {
    ((void **)(void *)handle)[1] = NULL;
    return;
  }
  for (size_t i = 0; i < warm.count; i++)
    if (s->statements[i])
      __real_sqlite3_finalize(s->statements[i]);
}

static void free_again(const sqlite3 *handle) {
  struct still *s = still_of(handle);
  if (s)
    s->used = false;
}

int __wrap_sqlite3_close_v2(sqlite3 *handle) {
  give_back(handle);
  int rc = __real_sqlite3_close_v2(handle);
  free_again(handle);
  return rc;
}

int __wrap_sqlite3_close(sqlite3 *handle) {
  give_back(handle);
  int rc = __real_sqlite3_close(handle);
  free_again(handle);
  return rc;
}
