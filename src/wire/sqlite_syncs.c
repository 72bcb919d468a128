/* Leaves out syncs of write-ahead logs. Invariants stand in wire/sqlite_syncs.h. */
#include "wire/sqlite_syncs.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_HEADER_BYTES 48 /* SQLite's walformat.html, "the WAL-index header": the first of its two copies */
#define WRITE_LOCK 0          /* the same, "WAL locks" */

typedef struct layer {
  sqlite3_vfs vfs;
  sqlite3_vfs *below;
  char name[];
} layer;

typedef struct layer_file {
  sqlite3_file file;
  sqlite3_io_methods methods; /* of this file: with the version of the one below */
  bool log;
  /* of a log */
  struct layer_file *database; /* NULL: unknown */
  bool written, shortened;     /* since the last sync */
  bool header_only;            /* all that was written since is the header of a log that was empty */
  /* of a database */
  volatile const unsigned char *index; /* its first page; NULL: not mapped */
  bool ours;
  unsigned char noted[INDEX_HEADER_BYTES];
  _Alignas(sqlite3_int64) unsigned char below[];
} layer_file;

static layer_file *of(sqlite3_file *file) { return (layer_file *)file; }

static sqlite3_file *below(sqlite3_file *file) { return (sqlite3_file *)of(file)->below; }

/* ---- what is known of the log ---- */

static bool index_as_noted(const layer_file *database) {
  if (!database->index)
    return false;
  for (size_t i = 0; i < INDEX_HEADER_BYTES; i++)
    if (database->index[i] != database->noted[i])
      return false;
  return true;
}

static void note_index(layer_file *database) {
  for (size_t i = 0; database->index && i < INDEX_HEADER_BYTES; i++)
    database->noted[i] = database->index[i];
}

static void note_write(sqlite3_file *file, sqlite3_int64 at) {
  layer_file *log = of(file);
  sqlite3_int64 size = -1;
  bool header = at == 0;
  if (header && log->database)
    log->database->ours = true;
  if (header && !log->written && !log->shortened && below(file)->pMethods->xFileSize(below(file), &size))
    size = -1;
  log->header_only = header && size == 0;
  log->written = true;
}

/* ---- calls of files ---- */

static int file_close(sqlite3_file *file) {
  layer_file *mine = of(file);
  if (mine->database)
    mine->database->ours = false;
  int rc = below(file)->pMethods->xClose(below(file));
  file->pMethods = NULL;
  return rc;
}

static int file_read(sqlite3_file *file, void *bytes, int length, sqlite3_int64 at) {
  return below(file)->pMethods->xRead(below(file), bytes, length, at);
}

static int file_write(sqlite3_file *file, const void *bytes, int length, sqlite3_int64 at) {
  if (of(file)->log)
    note_write(file, at);
  return below(file)->pMethods->xWrite(below(file), bytes, length, at);
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size) {
  of(file)->shortened = true;
  of(file)->header_only = false;
  return below(file)->pMethods->xTruncate(below(file), size);
}

static bool needless(const layer_file *mine) {
  if (!mine->log || mine->shortened)
    return false;
  if (mine->written)
    return mine->header_only;
  return mine->database && mine->database->ours && index_as_noted(mine->database);
}

static int file_sync(sqlite3_file *file, int flags) {
  layer_file *mine = of(file);
  if (needless(mine))
    return SQLITE_OK;
  int rc = below(file)->pMethods->xSync(below(file), flags);
  if (rc == SQLITE_OK)
    mine->written = mine->shortened = mine->header_only = false;
  return rc;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *ret_size) { return below(file)->pMethods->xFileSize(below(file), ret_size); }

static int file_lock(sqlite3_file *file, int level) { return below(file)->pMethods->xLock(below(file), level); }

static int file_unlock(sqlite3_file *file, int level) { return below(file)->pMethods->xUnlock(below(file), level); }

static int file_reserved(sqlite3_file *file, int *ret_reserved) {
  return below(file)->pMethods->xCheckReservedLock(below(file), ret_reserved);
}

static int file_control(sqlite3_file *file, int what, void *argument) {
  return below(file)->pMethods->xFileControl(below(file), what, argument);
}

static int file_sector(sqlite3_file *file) { return below(file)->pMethods->xSectorSize(below(file)); }

static int file_traits(sqlite3_file *file) { return below(file)->pMethods->xDeviceCharacteristics(below(file)); }

static int index_map(sqlite3_file *file, int region, int size, int extend, void volatile **ret_at) {
  int rc = below(file)->pMethods->xShmMap(below(file), region, size, extend, ret_at);
  if (rc == SQLITE_OK && region == 0)
    of(file)->index = *ret_at;
  return rc;
}

static int index_lock(sqlite3_file *file, int first, int count, int flags) {
  layer_file *mine = of(file);
  bool writing = first == WRITE_LOCK && (flags & SQLITE_SHM_EXCLUSIVE);
  if (writing && (flags & SQLITE_SHM_UNLOCK))
    note_index(mine);
  int rc = below(file)->pMethods->xShmLock(below(file), first, count, flags);
  if (rc == SQLITE_OK && writing && (flags & SQLITE_SHM_LOCK))
    mine->ours = mine->ours && index_as_noted(mine);
  return rc;
}

static void index_barrier(sqlite3_file *file) { below(file)->pMethods->xShmBarrier(below(file)); }

static int index_unmap(sqlite3_file *file, int remove) {
  of(file)->index = NULL;
  of(file)->ours = false;
  return below(file)->pMethods->xShmUnmap(below(file), remove);
}

static int page_fetch(sqlite3_file *file, sqlite3_int64 at, int length, void **ret_page) {
  return below(file)->pMethods->xFetch(below(file), at, length, ret_page);
}

static int page_give(sqlite3_file *file, sqlite3_int64 at, void *page) { return below(file)->pMethods->xUnfetch(below(file), at, page); }

static const sqlite3_io_methods methods = {.xClose = file_close,
                                           .xRead = file_read,
                                           .xWrite = file_write,
                                           .xTruncate = file_truncate,
                                           .xSync = file_sync,
                                           .xFileSize = file_size,
                                           .xLock = file_lock,
                                           .xUnlock = file_unlock,
                                           .xCheckReservedLock = file_reserved,
                                           .xFileControl = file_control,
                                           .xSectorSize = file_sector,
                                           .xDeviceCharacteristics = file_traits,
                                           .xShmMap = index_map,
                                           .xShmLock = index_lock,
                                           .xShmBarrier = index_barrier,
                                           .xShmUnmap = index_unmap,
                                           .xFetch = page_fetch,
                                           .xUnfetch = page_give};

/* ---- calls of the layer ---- */

static sqlite3_vfs *under(sqlite3_vfs *vfs) { return ((layer *)vfs)->below; }

static int layer_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *ret_flags) {
  layer_file *mine = of(file);
  *mine = (layer_file){.log = (flags & SQLITE_OPEN_WAL) != 0};
  memset(mine->below, 0, (size_t)under(vfs)->szOsFile);
  int rc = under(vfs)->xOpen(under(vfs), path, below(file), flags, ret_flags);
  if (!below(file)->pMethods)
    return rc; /* what has no methods is not closed */
  mine->methods = methods;
  mine->methods.iVersion = below(file)->pMethods->iVersion;
  file->pMethods = &mine->methods;
  if (mine->log && path) {
    mine->database = of(sqlite3_database_file_object(path));
    mine->database->ours = false;
  }
  return rc;
}

static int layer_delete(sqlite3_vfs *vfs, const char *path, int sync) { return under(vfs)->xDelete(under(vfs), path, sync); }

static int layer_access(sqlite3_vfs *vfs, const char *path, int flags, int *ret_is) {
  return under(vfs)->xAccess(under(vfs), path, flags, ret_is);
}

static int layer_path(sqlite3_vfs *vfs, const char *path, int size, char *out) {
  return under(vfs)->xFullPathname(under(vfs), path, size, out);
}

static int layer_randomness(sqlite3_vfs *vfs, int length, char *out) { return under(vfs)->xRandomness(under(vfs), length, out); }

static int layer_sleep(sqlite3_vfs *vfs, int microseconds) { return under(vfs)->xSleep(under(vfs), microseconds); }

static int layer_day(sqlite3_vfs *vfs, double *ret_day) { return under(vfs)->xCurrentTime(under(vfs), ret_day); }

static int layer_time(sqlite3_vfs *vfs, sqlite3_int64 *ret_ms) { return under(vfs)->xCurrentTimeInt64(under(vfs), ret_ms); }

static int layer_last_error(sqlite3_vfs *vfs, int length, char *out) { return under(vfs)->xGetLastError(under(vfs), length, out); }

static layer *layer_new(sqlite3_vfs *below_it, const char *name) {
  size_t length = strlen(name) + 1;
  layer *made = calloc(1, sizeof *made + length);
  if (!made)
    return NULL;
  memcpy(made->name, name, length);
  made->below = below_it;
  made->vfs = (sqlite3_vfs){.iVersion = below_it->iVersion < 2 ? below_it->iVersion : 2, /* 3: hooks for SQLite's own tests */
                            .szOsFile = (int)sizeof(layer_file) + below_it->szOsFile,
                            .mxPathname = below_it->mxPathname,
                            .zName = made->name,
                            .xOpen = layer_open,
                            .xDelete = layer_delete,
                            .xAccess = layer_access,
                            .xFullPathname = layer_path,
                            .xRandomness = layer_randomness,
                            .xSleep = layer_sleep,
                            .xCurrentTime = layer_day,
                            .xGetLastError = layer_last_error,
                            .xCurrentTimeInt64 = layer_time};
  return made;
}

static aon_result find_or_make(sqlite3_vfs *below_it, const char **ret_name, aon_error *error) {
  char name[96];
  snprintf(name, sizeof name, "aon over %.60s at %p", below_it->zName, (void *)below_it);
  sqlite3_vfs *found = sqlite3_vfs_find(name);
  if (!found) {
    layer *made = layer_new(below_it, name);
    if (!made)
      return aon_fail_memory(error);
    int rc = sqlite3_vfs_register(&made->vfs, 0);
    if (rc) {
      free(made);
      return rc == SQLITE_NOMEM
                 ? aon_fail_memory(error)
                 : aon_fail_native(error, AON_ENVIRONMENT, "sqlite_missing", rc, "SQLite could not be started (%s).", sqlite3_errstr(rc));
    }
    found = &made->vfs;
  }
  *ret_name = found->zName;
  return AON_OK;
}

aon_result aon_sqlite_syncs_over(const char *below_name, const char **ret_name, aon_error *error) {
  sqlite3_vfs *below_it = sqlite3_vfs_find(below_name);
  if (!below_it)
    return aon_fail(error, AON_ENVIRONMENT, "sqlite_missing", "SQLite has no file system layer named “%s”.",
                    below_name ? below_name : "default");
  sqlite3_mutex *mutex = sqlite3_mutex_alloc(SQLITE_MUTEX_STATIC_APP1);
  sqlite3_mutex_enter(mutex); /* two threads would make two of it */
  aon_result result = find_or_make(below_it, ret_name, error);
  sqlite3_mutex_leave(mutex);
  return result;
}
