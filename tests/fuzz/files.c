/* See files.h. Locks are kept by file, as the kernel keeps them for other programs; memory that connections share is a file's too, and
 * goes with the last of them. Syncing is nothing: no machine dies here. */
#include "files.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define PLACES_MAX 16
#define PATH_BYTES 128
#define REGIONS_MAX 4

typedef struct place { /* a file that is open */
  char path[PATH_BYTES];
  int opened;
  int shared;                                 /* connections with any lock */
  const void *reserved, *pending, *exclusive; /* the handle that has it, NULL */
  void *regions[REGIONS_MAX];
  int mappers;
  int shared_slots[SQLITE_SHM_NLOCK];
  const void *exclusive_slots[SQLITE_SHM_NLOCK];
} place;

typedef struct handle {
  sqlite3_file base;
  aon_file *file;
  place *at;
  char path[PATH_BYTES];
  int level; /* SQLITE_LOCK_… */
  bool goes; /* with the handle */
  bool mapped;
  unsigned slots; /* of those held shared */
} handle;

static place places[PLACES_MAX];

static place *place_of(const char *path) {
  place *free_one = NULL;
  for (int i = 0; i < PLACES_MAX; i++) {
    if (places[i].opened && !strcmp(places[i].path, path))
      return &places[i];
    if (!places[i].opened)
      free_one = &places[i];
  }
  FUZZ_CHECK(free_one, "%d files of SQLite are open at once", PLACES_MAX);
  *free_one = (place){.opened = 0};
  snprintf(free_one->path, sizeof free_one->path, "%s", path);
  return free_one;
}

/* ---- a file ---- */

static int close_file(sqlite3_file *file) {
  handle *mine = (handle *)file;
  const aon_env *world = fuzz_world();
  world->ops->file_close(mine->file);
  if (mine->goes)
    FUZZ_CHECK(world->ops->file_remove(NULL, mine->path, NULL) == AON_OK, "%s", mine->path);
  mine->at->opened--;
  return SQLITE_OK;
}

static int read_file(sqlite3_file *file, void *bytes, int length, sqlite3_int64 offset) {
  size_t got = 0;
  handle *mine = (handle *)file;
  if (fuzz_world()->ops->file_read(mine->file, (uint64_t)offset, bytes, (size_t)length, &got, NULL))
    return SQLITE_IOERR_READ;
  memset((char *)bytes + got, 0, (size_t)length - got);
  return got == (size_t)length ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int write_file(sqlite3_file *file, const void *bytes, int length, sqlite3_int64 offset) {
  handle *mine = (handle *)file;
  return fuzz_world()->ops->file_write(mine->file, (uint64_t)offset, bytes, (size_t)length, NULL) ? SQLITE_IOERR_WRITE : SQLITE_OK;
}

static int cut_file(sqlite3_file *file, sqlite3_int64 length) {
  fuzz_file_cut(((handle *)file)->file, (size_t)length);
  return SQLITE_OK;
}

static int sync_file(sqlite3_file *file, int flags) {
  (void)file;
  (void)flags;
  return SQLITE_OK;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *ret_length) {
  *ret_length = (sqlite3_int64)fuzz_file_length(((handle *)file)->file);
  return SQLITE_OK;
}

static int lock_file(sqlite3_file *file, int level) {
  handle *mine = (handle *)file;
  place *at = mine->at;
  if (level <= mine->level)
    return SQLITE_OK;
  bool others = (at->exclusive && at->exclusive != mine) || (at->pending && at->pending != mine);
  if (others || (level >= SQLITE_LOCK_RESERVED && at->reserved && at->reserved != mine))
    return SQLITE_BUSY;
  if (mine->level == SQLITE_LOCK_NONE)
    at->shared++;
  if (level >= SQLITE_LOCK_RESERVED)
    at->reserved = mine;
  mine->level = level == SQLITE_LOCK_EXCLUSIVE ? SQLITE_LOCK_PENDING : level;
  if (level == SQLITE_LOCK_EXCLUSIVE) {
    at->pending = mine;
    if (at->shared > 1)
      return SQLITE_BUSY;
    at->exclusive = mine;
    mine->level = level;
  }
  return SQLITE_OK;
}

static int unlock_file(sqlite3_file *file, int level) {
  handle *mine = (handle *)file;
  place *at = mine->at;
  if (mine->level <= level)
    return SQLITE_OK;
  if (at->exclusive == mine)
    at->exclusive = NULL;
  if (at->pending == mine)
    at->pending = NULL;
  if (at->reserved == mine)
    at->reserved = NULL;
  if (level == SQLITE_LOCK_NONE)
    at->shared--;
  mine->level = level;
  return SQLITE_OK;
}

static int check_reserved(sqlite3_file *file, int *ret_is) {
  *ret_is = ((handle *)file)->at->reserved != NULL;
  return SQLITE_OK;
}

static int control(sqlite3_file *file, int what, void *argument) {
  (void)file;
  (void)what;
  (void)argument;
  return SQLITE_NOTFOUND;
}

static int sector(sqlite3_file *file) {
  (void)file;
  return 4096;
}

static int traits(sqlite3_file *file) {
  (void)file;
  return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* ---- memory that connections share ---- */

static int map(sqlite3_file *file, int region, int size, int extend, void volatile **ret_memory) {
  handle *mine = (handle *)file;
  place *at = mine->at;
  *ret_memory = NULL;
  FUZZ_CHECK(region < REGIONS_MAX, "a log with %d regions of its index", region + 1);
  at->mappers += !mine->mapped;
  mine->mapped = true;
  if (!at->regions[region] && extend && !(at->regions[region] = calloc(1, (size_t)size)))
    return SQLITE_NOMEM;
  *ret_memory = at->regions[region];
  return SQLITE_OK;
}

static int slot_take(handle *mine, int slot, bool exclusive) {
  place *at = mine->at;
  const void *owner = at->exclusive_slots[slot];
  bool held = mine->slots >> slot & 1;
  if ((owner && owner != mine) || (exclusive && at->shared_slots[slot] > held))
    return SQLITE_BUSY;
  if (exclusive)
    at->exclusive_slots[slot] = mine;
  else if (!held) {
    at->shared_slots[slot]++;
    mine->slots |= 1u << slot;
  }
  return SQLITE_OK;
}

static void slot_leave(handle *mine, int slot) {
  if (mine->at->exclusive_slots[slot] == mine)
    mine->at->exclusive_slots[slot] = NULL;
  else if (mine->slots >> slot & 1) {
    mine->at->shared_slots[slot]--;
    mine->slots &= ~(1u << slot);
  }
}

static int lock_memory(sqlite3_file *file, int first, int count, int flags) {
  handle *mine = (handle *)file;
  for (int i = first; i < first + count; i++) {
    if (flags & SQLITE_SHM_UNLOCK) {
      slot_leave(mine, i);
    } else if (slot_take(mine, i, flags & SQLITE_SHM_EXCLUSIVE)) {
      while (i-- > first)
        slot_leave(mine, i);
      return SQLITE_BUSY;
    }
  }
  return SQLITE_OK;
}

static void barrier(sqlite3_file *file) { (void)file; }

static int unmap(sqlite3_file *file, int goes) {
  handle *mine = (handle *)file;
  place *at = mine->at;
  (void)goes;
  for (int i = 0; i < SQLITE_SHM_NLOCK; i++)
    slot_leave(mine, i);
  if (!mine->mapped)
    return SQLITE_OK;
  mine->mapped = false;
  if (--at->mappers)
    return SQLITE_OK;
  for (int i = 0; i < REGIONS_MAX; i++) {
    free(at->regions[i]);
    at->regions[i] = NULL;
  }
  return SQLITE_OK;
}

/* ---- the file system ---- */

static aon_file_info info_of(const char *path) {
  aon_file_info info = {.exists = false};
  FUZZ_CHECK(fuzz_world()->ops->file_info(NULL, path, &info, NULL) == AON_OK, "%s", path);
  return info;
}

static int open_file(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *ret_flags) {
  static const sqlite3_io_methods methods = {.iVersion = 2,
                                             .xClose = close_file,
                                             .xRead = read_file,
                                             .xWrite = write_file,
                                             .xTruncate = cut_file,
                                             .xSync = sync_file,
                                             .xFileSize = file_size,
                                             .xLock = lock_file,
                                             .xUnlock = unlock_file,
                                             .xCheckReservedLock = check_reserved,
                                             .xFileControl = control,
                                             .xSectorSize = sector,
                                             .xDeviceCharacteristics = traits,
                                             .xShmMap = map,
                                             .xShmLock = lock_memory,
                                             .xShmBarrier = barrier,
                                             .xShmUnmap = unmap};
  static unsigned temporary;
  const aon_env *world = fuzz_world();
  handle *mine = (handle *)file;
  (void)vfs;
  *mine = (handle){.goes = flags & SQLITE_OPEN_DELETEONCLOSE};
  if (path)
    snprintf(mine->path, sizeof mine->path, "%s", path);
  else
    snprintf(mine->path, sizeof mine->path, "temporary-%u", ++temporary);
  bool there = info_of(mine->path).exists;
  if (!there && !(flags & SQLITE_OPEN_CREATE))
    return SQLITE_CANTOPEN;
  if (world->ops->file_open(NULL, mine->path, there ? AON_FILE_READ : AON_FILE_CREATE, &mine->file, NULL))
    return SQLITE_CANTOPEN;
  mine->at = place_of(mine->path);
  mine->at->opened++;
  mine->base.pMethods = &methods;
  if (ret_flags)
    *ret_flags = flags;
  return SQLITE_OK;
}

static int delete_file(sqlite3_vfs *vfs, const char *path, int sync) {
  (void)vfs;
  (void)sync;
  if (!info_of(path).exists)
    return SQLITE_IOERR_DELETE_NOENT;
  return fuzz_world()->ops->file_remove(NULL, path, NULL) ? SQLITE_IOERR_DELETE : SQLITE_OK;
}

static int access_file(sqlite3_vfs *vfs, const char *path, int flags, int *ret_is) {
  (void)vfs;
  *ret_is = info_of(path).exists && (flags != SQLITE_ACCESS_EXISTS || info_of(path).size_bytes);
  return SQLITE_OK;
}

static int full_path(sqlite3_vfs *vfs, const char *path, int size, char *out) {
  (void)vfs;
  sqlite3_snprintf(size, out, "%s", path);
  return SQLITE_OK;
}

static int randomness(sqlite3_vfs *vfs, int length, char *out) {
  (void)vfs;
  aon_random(fuzz_world(), out, (size_t)length);
  return length;
}

static int sleep_us(sqlite3_vfs *vfs, int us) {
  (void)vfs;
  aon_sleep_ms(fuzz_world(), (us + 999) / 1000);
  return us;
}

static int now(sqlite3_vfs *vfs, sqlite3_int64 *ret_ms) { /* Julian milliseconds */
  (void)vfs;
  *ret_ms = 210866760000000 + aon_now_ms(fuzz_world());
  return SQLITE_OK;
}

static int last_error(sqlite3_vfs *vfs, int size, char *out) {
  (void)vfs;
  if (size > 0)
    *out = 0;
  return 0;
}

void fuzz_files_register(void) {
  static sqlite3_vfs vfs = {.iVersion = 2,
                            .szOsFile = sizeof(handle),
                            .mxPathname = PATH_BYTES - 1,
                            .zName = FUZZ_FILES,
                            .xOpen = open_file,
                            .xDelete = delete_file,
                            .xAccess = access_file,
                            .xFullPathname = full_path,
                            .xRandomness = randomness,
                            .xSleep = sleep_us,
                            .xGetLastError = last_error,
                            .xCurrentTimeInt64 = now};
  FUZZ_CHECK(sqlite3_vfs_register(&vfs, 1) == SQLITE_OK, "SQLite's files");
}
