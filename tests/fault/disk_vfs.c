/* The disk as SQLite's file system: reading, writing, syncing, locks, and the shared memory of a write-ahead log. One process, so shared
 * memory is memory; locks are kept per file between connections. Sources: SQLite's documentation of sqlite3_vfs, sqlite3_io_methods and of
 * the WAL's locks (wal-locking, "The WAL-Index File Format"). */
#include <stdlib.h>
#include <string.h>

#include "disk_internal.h"
#include "wire/sqlite_syncs.h"

typedef struct vfs_file {
  sqlite3_file base;
  node *node;
  int level;
  uint8_t shm_shared, shm_exclusive; /* bits of slots */
  bool shm_open, delete_on_close;
} vfs_file;

#define OR_RETURN(name, code)                                                                                                              \
  do {                                                                                                                                     \
    if (point_here(POINT_SQLITE, name) != WAY_NONE)                                                                                        \
      return code;                                                                                                                         \
  } while (0)

static node *of(sqlite3_file *file) { return ((vfs_file *)file)->node; }

/* ---- locks ---- */

static int vfs_unlock(sqlite3_file *file, int level) {
  vfs_file *f = (vfs_file *)file;
  node *n = f->node;
  if (level >= f->level)
    return SQLITE_OK;
  if (n->exclusive == f)
    n->exclusive = NULL;
  if (n->pending == f)
    n->pending = NULL;
  if (n->reserved == f)
    n->reserved = NULL;
  if (level == SQLITE_LOCK_NONE)
    n->shared--;
  f->level = level;
  return SQLITE_OK;
}

static bool barred(const vfs_file *f, int level) {
  const node *n = f->node;
  if (n->exclusive && n->exclusive != f)
    return true;
  if (level == SQLITE_LOCK_SHARED)
    return n->pending && n->pending != f;
  return n->reserved && n->reserved != f;
}

static int vfs_lock(sqlite3_file *file, int level) {
  vfs_file *f = (vfs_file *)file;
  node *n = f->node;
  if (level <= f->level)
    return SQLITE_OK;
  OR_RETURN("lock", SQLITE_IOERR_LOCK);
  if (barred(f, level))
    return SQLITE_BUSY;
  if (level == SQLITE_LOCK_SHARED)
    n->shared++;
  if (level == SQLITE_LOCK_RESERVED)
    n->reserved = f;
  if (level == SQLITE_LOCK_EXCLUSIVE) {
    n->pending = f;
    f->level = SQLITE_LOCK_PENDING;
    if (n->shared > 1)
      return SQLITE_BUSY;
    n->exclusive = f;
  }
  f->level = level;
  return SQLITE_OK;
}

static int vfs_reserved(sqlite3_file *file, int *ret_held) {
  OR_RETURN("check_lock", SQLITE_IOERR_CHECKRESERVEDLOCK);
  *ret_held = of(file)->reserved != NULL;
  return SQLITE_OK;
}

/* ---- shared memory ---- */

static int vfs_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **ret_at) {
  vfs_file *f = (vfs_file *)file;
  node *n = f->node;
  *ret_at = NULL;
  OR_RETURN("shm_map", SQLITE_IOERR_SHMMAP);
  if (region >= SHM_REGIONS)
    return SQLITE_IOERR_SHMSIZE;
  if (!f->shm_open) {
    f->shm_open = true;
    n->shm_open++;
  }
  if (!n->shm[region] && extend) {
    points_quiet();
    n->shm[region] = calloc(1, (size_t)size);
    points_loud();
  }
  *ret_at = n->shm[region];
  return SQLITE_OK;
}

static void shm_give(vfs_file *f, unsigned bits) {
  node *n = f->node;
  for (unsigned slot = 0; slot < SHM_SLOTS; slot++) {
    if (!(bits & 1u << slot))
      continue;
    if (f->shm_shared & 1u << slot)
      n->shm_shared[slot]--;
    if (f->shm_exclusive & 1u << slot)
      n->shm_exclusive[slot] = NULL;
  }
  f->shm_shared &= (uint8_t)~bits;
  f->shm_exclusive &= (uint8_t)~bits;
}

static int vfs_shm_lock(sqlite3_file *file, int first, int count, int flags) {
  vfs_file *f = (vfs_file *)file;
  node *n = f->node;
  unsigned bits = ((1u << count) - 1) << first;
  if (flags & SQLITE_SHM_UNLOCK) {
    shm_give(f, bits);
    return SQLITE_OK;
  }
  OR_RETURN("shm_lock", SQLITE_IOERR_SHMLOCK);
  bool exclusive = flags & SQLITE_SHM_EXCLUSIVE;
  for (int slot = first; slot < first + count; slot++) {
    unsigned others = n->shm_shared[slot] - (f->shm_shared >> slot & 1u);
    if ((n->shm_exclusive[slot] && n->shm_exclusive[slot] != f) || (exclusive && others))
      return SQLITE_BUSY;
  }
  for (int slot = first; slot < first + count; slot++) {
    if (exclusive)
      n->shm_exclusive[slot] = f;
    else if (!(f->shm_shared & 1u << slot))
      n->shm_shared[slot]++;
  }
  *(exclusive ? &f->shm_exclusive : &f->shm_shared) |= (uint8_t)bits;
  return SQLITE_OK;
}

static void vfs_shm_barrier(sqlite3_file *file) { (void)file; }

static int vfs_shm_unmap(sqlite3_file *file, int remove) {
  vfs_file *f = (vfs_file *)file;
  node *n = f->node;
  if (!f->shm_open)
    return SQLITE_OK;
  shm_give(f, f->shm_shared | f->shm_exclusive);
  f->shm_open = false;
  if (--n->shm_open && !remove)
    return SQLITE_OK;
  points_quiet();
  for (size_t i = 0; i < SHM_REGIONS && !n->shm_open; i++) {
    free(n->shm[i]);
    n->shm[i] = NULL;
  }
  points_loud();
  return SQLITE_OK;
}

/* ---- bytes ---- */

static int vfs_close(sqlite3_file *file) {
  vfs_file *f = (vfs_file *)file;
  vfs_shm_unmap(file, 0);
  vfs_unlock(file, SQLITE_LOCK_NONE);
  if (f->delete_on_close && f->node->path)
    node_unlink(f->node);
  node_release(f->node);
  return SQLITE_OK;
}

static int vfs_read(sqlite3_file *file, void *to, int length, sqlite3_int64 at) {
  OR_RETURN("read", SQLITE_IOERR_READ);
  size_t had = node_read(of(file), to, (size_t)length, (uint64_t)at);
  if (had == (size_t)length)
    return SQLITE_OK;
  memset((char *)to + had, 0, (size_t)length - had);
  return SQLITE_IOERR_SHORT_READ;
}

static int vfs_write(sqlite3_file *file, const void *from, int length, sqlite3_int64 at) {
  point_way way = point_here(POINT_SQLITE, "write");
  if (way != WAY_NONE) { /* what a failed write has done of itself is anybody's guess: half, here */
    node_write(of(file), from, (size_t)length / 2, (uint64_t)at);
    return way == WAY_FULL ? SQLITE_FULL : SQLITE_IOERR_WRITE;
  }
  node_write(of(file), from, (size_t)length, (uint64_t)at);
  return SQLITE_OK;
}

static int vfs_truncate(sqlite3_file *file, sqlite3_int64 length) {
  OR_RETURN("truncate", SQLITE_IOERR_TRUNCATE);
  node_truncate(of(file), (uint64_t)length);
  return SQLITE_OK;
}

static int vfs_sync(sqlite3_file *file, int flags) {
  (void)flags;
  point_way way = point_here(POINT_SQLITE, "sync");
  if (way == WAY_LOST)
    node_sync(of(file), true);
  if (way != WAY_NONE)
    return SQLITE_IOERR_FSYNC;
  node_sync(of(file), false);
  return SQLITE_OK;
}

static int vfs_size(sqlite3_file *file, sqlite3_int64 *ret_size) {
  OR_RETURN("size", SQLITE_IOERR_FSTAT);
  *ret_size = (sqlite3_int64)of(file)->now.length;
  return SQLITE_OK;
}

static int vfs_control(sqlite3_file *file, int what, void *argument) {
  (void)file;
  (void)what;
  (void)argument;
  return SQLITE_NOTFOUND;
}

static int vfs_sector(sqlite3_file *file) {
  (void)file;
  return PAGE;
}

static int vfs_traits(sqlite3_file *file) {
  (void)file;
  return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods methods = {.iVersion = 2,
                                           .xClose = vfs_close,
                                           .xRead = vfs_read,
                                           .xWrite = vfs_write,
                                           .xTruncate = vfs_truncate,
                                           .xSync = vfs_sync,
                                           .xFileSize = vfs_size,
                                           .xLock = vfs_lock,
                                           .xUnlock = vfs_unlock,
                                           .xCheckReservedLock = vfs_reserved,
                                           .xFileControl = vfs_control,
                                           .xSectorSize = vfs_sector,
                                           .xDeviceCharacteristics = vfs_traits,
                                           .xShmMap = vfs_shm_map,
                                           .xShmLock = vfs_shm_lock,
                                           .xShmBarrier = vfs_shm_barrier,
                                           .xShmUnmap = vfs_shm_unmap};

/* ---- names ---- */

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags) {
  (void)vfs;
  vfs_file *f = (vfs_file *)file;
  *f = (vfs_file){0};
  OR_RETURN("open", SQLITE_CANTOPEN);
  node *n = name ? node_find(name) : NULL;
  if (n && n->folder)
    return SQLITE_CANTOPEN;
  if (!n && !(flags & SQLITE_OPEN_CREATE))
    return SQLITE_CANTOPEN;
  if (!n)
    n = node_make(name);
  node_opened(n);
  f->node = n;
  f->delete_on_close = flags & SQLITE_OPEN_DELETEONCLOSE;
  f->base.pMethods = &methods;
  if (ret_flags)
    *ret_flags = flags;
  return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_folder) {
  (void)vfs;
  (void)sync_folder;
  OR_RETURN("delete", SQLITE_IOERR_DELETE);
  node *n = node_find(name);
  if (!n)
    return SQLITE_IOERR_DELETE_NOENT;
  node_unlink(n);
  return SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret_can) {
  (void)vfs;
  OR_RETURN("access", SQLITE_IOERR_ACCESS);
  const node *n = node_find(name);
  *ret_can = n && (flags != SQLITE_ACCESS_EXISTS || n->now.length || n->folder); /* as SQLite's own: an empty file doesn't exist */
  return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *name, int size, char *ret_path) {
  (void)vfs;
  OR_RETURN("full_path", SQLITE_CANTOPEN_FULLPATH);
  sqlite3_snprintf(size, ret_path, "%s", name);
  return SQLITE_OK;
}

static int vfs_randomness(sqlite3_vfs *vfs, int length, char *to) {
  (void)vfs;
  disk_random(to, (size_t)length);
  return length;
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds) {
  (void)vfs;
  disk_sleep((microseconds + 999) / 1000);
  return microseconds;
}

static int vfs_now_ms(sqlite3_vfs *vfs, sqlite3_int64 *ret_ms) {
  (void)vfs;
  *ret_ms = disk_now_ms() + INT64_C(210866760000000); /* Julian day of 1970, in milliseconds */
  return SQLITE_OK;
}

static int vfs_now(sqlite3_vfs *vfs, double *ret_days) {
  sqlite3_int64 ms;
  vfs_now_ms(vfs, &ms);
  *ret_days = (double)ms / 86400000.0;
  return SQLITE_OK;
}

static int vfs_last_error(sqlite3_vfs *vfs, int size, char *ret_text) {
  (void)vfs;
  (void)size;
  (void)ret_text;
  return 0;
}

void disk_vfs_register(void) {
  static sqlite3_vfs vfs = {.iVersion = 2,
                            .szOsFile = sizeof(vfs_file),
                            .mxPathname = 512,
                            .zName = DISK_VFS,
                            .xOpen = vfs_open,
                            .xDelete = vfs_delete,
                            .xAccess = vfs_access,
                            .xFullPathname = vfs_full_path,
                            .xRandomness = vfs_randomness,
                            .xSleep = vfs_sleep,
                            .xCurrentTime = vfs_now,
                            .xCurrentTimeInt64 = vfs_now_ms,
                            .xGetLastError = vfs_last_error};
  const char *over;
  if (sqlite3_vfs_register(&vfs, 0) != SQLITE_OK ||
      aon_sqlite_syncs_over(vfs.zName, &over, NULL)) /* now, and no more in a run that counts */
    abort();
}
