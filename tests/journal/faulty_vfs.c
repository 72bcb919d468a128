/* See faulty_vfs.h. */
#include "faulty_vfs.h"

#include <sqlite3.h>
#include <stddef.h>

faulty_disk the_disk;

typedef struct faulty_file {
  sqlite3_file base;
  sqlite3_int64 end;
  _Alignas(8) unsigned char real_bytes[];
} faulty_file;

static sqlite3_vfs *base_vfs(void) { return sqlite3_vfs_find(NULL); }
static sqlite3_file *real(sqlite3_file *file) { return (sqlite3_file *)((faulty_file *)file)->real_bytes; }
#define REAL(method, ...) real(file)->pMethods->method(real(file), ##__VA_ARGS__)

static int faulty_close(sqlite3_file *file) { return REAL(xClose); }
static int faulty_read(sqlite3_file *file, void *bytes, int length, sqlite3_int64 at) { return REAL(xRead, bytes, length, at); }
static int faulty_write(sqlite3_file *file, const void *bytes, int length, sqlite3_int64 at) {
  faulty_file *mine = (faulty_file *)file;
  if (the_disk.fail_write_in && --the_disk.fail_write_in == 0)
    return SQLITE_IOERR_WRITE;
  sqlite3_int64 growth = at + length - mine->end;
  if (growth > 0 && the_disk.quota_bytes && *the_disk.quota_bytes >= 0) {
    if (growth > *the_disk.quota_bytes)
      return SQLITE_FULL;
    *the_disk.quota_bytes -= growth;
  }
  if (growth > 0)
    mine->end += growth;
  return REAL(xWrite, bytes, length, at);
}
static int faulty_truncate(sqlite3_file *file, sqlite3_int64 size) {
  ((faulty_file *)file)->end = size;
  return REAL(xTruncate, size);
}
static int faulty_sync(sqlite3_file *file, int flags) {
  the_disk.syncs++;
  if (the_disk.fail_sync_in && --the_disk.fail_sync_in == 0)
    return SQLITE_IOERR_FSYNC;
  return REAL(xSync, flags);
}
static int faulty_size(sqlite3_file *file, sqlite3_int64 *size) { return REAL(xFileSize, size); }
static int faulty_lock(sqlite3_file *file, int level) { return REAL(xLock, level); }
static int faulty_unlock(sqlite3_file *file, int level) { return REAL(xUnlock, level); }
static int faulty_reserved(sqlite3_file *file, int *held) { return REAL(xCheckReservedLock, held); }
static int faulty_control(sqlite3_file *file, int what, void *argument) {
  if (what == SQLITE_FCNTL_SIZE_HINT)
    return SQLITE_OK; /* growing ahead would hide from the quota */
  return REAL(xFileControl, what, argument);
}
static int faulty_sector(sqlite3_file *file) { return REAL(xSectorSize); }
static int faulty_traits(sqlite3_file *file) { return REAL(xDeviceCharacteristics); }
static int faulty_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **at) {
  return REAL(xShmMap, page, size, extend, at);
}
static int faulty_shm_lock(sqlite3_file *file, int offset, int n, int flags) { return REAL(xShmLock, offset, n, flags); }
static void faulty_shm_barrier(sqlite3_file *file) { REAL(xShmBarrier); }
static int faulty_shm_unmap(sqlite3_file *file, int remove) { return REAL(xShmUnmap, remove); }

static const sqlite3_io_methods methods = {.iVersion = 2,
                                           .xClose = faulty_close,
                                           .xRead = faulty_read,
                                           .xWrite = faulty_write,
                                           .xTruncate = faulty_truncate,
                                           .xSync = faulty_sync,
                                           .xFileSize = faulty_size,
                                           .xLock = faulty_lock,
                                           .xUnlock = faulty_unlock,
                                           .xCheckReservedLock = faulty_reserved,
                                           .xFileControl = faulty_control,
                                           .xSectorSize = faulty_sector,
                                           .xDeviceCharacteristics = faulty_traits,
                                           .xShmMap = faulty_shm_map,
                                           .xShmLock = faulty_shm_lock,
                                           .xShmBarrier = faulty_shm_barrier,
                                           .xShmUnmap = faulty_shm_unmap};

static int faulty_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags) {
  (void)vfs;
  faulty_file *mine = (faulty_file *)file;
  int rc = base_vfs()->xOpen(base_vfs(), name, real(file), flags, ret_flags);
  file->pMethods = real(file)->pMethods ? &methods : NULL;
  if (!rc)
    rc = REAL(xFileSize, &mine->end);
  return rc;
}

const char *faulty_vfs_name(void) {
  static sqlite3_vfs vfs;
  if (!vfs.zName) {
    vfs = *base_vfs();
    vfs.zName = "aon-faulty";
    vfs.szOsFile += (int)offsetof(faulty_file, real_bytes);
    vfs.xOpen = faulty_open;
    vfs.pNext = NULL;
    sqlite3_vfs_register(&vfs, 0);
  }
  return vfs.zName;
}
