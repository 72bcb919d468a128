/* The simulated disk: files by name, what of them is durable, and what is not yet. The environment's files and SQLite's file system
 * ("simulated") both live on it; locks and shared memory of SQLite belong to the handle that took them, so they go with a dead process.
 *
 * Not durable until synced: bytes written, sizes, and names (made, removed, renamed). When the machine dies each of them is kept or lost by
 * itself, a write also sector by sector, whatever was written after it. */
#include "sim.h"
#include "wire/sqlite_syncs.h"

#define SECTOR 512u
#define REGION_LIMIT 16
#define NAMES_LIMIT 64
#define PATH_BYTES 48

typedef struct change { /* not durable yet; length 0 and bytes NULL: the size became at */
  uint64_t at;
  uint32_t length;
  uint8_t *bytes;
} change;

typedef struct bytes {
  uint8_t *data;
  size_t size, capacity;
} bytes;

typedef struct handle handle;

typedef struct inode {
  bytes now, kept;
  change *changes;
  size_t change_count, change_capacity;
  handle *handles;
  void *regions[REGION_LIMIT];
  uint64_t number;
} inode;

typedef struct name {
  char path[PATH_BYTES];
  inode *now, *kept; /* NULL: no such file */
} name;

struct disk {
  name names[NAMES_LIMIT];
  size_t name_count;
  uint64_t numbers;
  bool tracked;
};

struct handle { /* of SQLite */
  sqlite3_file base;
  handle *next;
  inode *file;
  int owner, level;
  bool maps, syncs_name;
  uint16_t shared, exclusive; /* locks of the shared memory, a bit each */
};

struct aon_file {
  inode *file;
};

const char *const disk_vfs_name = "simulated";

/* ---- bytes ---- */

static void reserve(bytes *b, size_t size) {
  if (size <= b->capacity)
    return;
  bool before = world_enter();
  size_t capacity = b->capacity ? 2 * b->capacity : 16384;
  while (capacity < size)
    capacity *= 2;
  b->data = realloc(b->data, capacity);
  b->capacity = capacity;
  world_leave(before);
}

static void put_bytes(bytes *b, uint64_t at, const void *data, size_t length) {
  reserve(b, at + length);
  if (at > b->size)
    memset(b->data + b->size, 0, at - b->size);
  if (length)
    memcpy(b->data + at, data, length);
  if (at + length > b->size)
    b->size = at + length;
}

static void set_size(bytes *b, uint64_t size) {
  if (size > b->size)
    put_bytes(b, size, NULL, 0), b->size = size;
  else
    b->size = size;
}

static void note_change(disk *d, inode *file, uint64_t at, const void *data, size_t length) {
  if (!d->tracked)
    return;
  bool before = world_enter();
  if (file->change_count == file->change_capacity) {
    file->change_capacity = file->change_capacity ? 2 * file->change_capacity : 32;
    file->changes = realloc(file->changes, file->change_capacity * sizeof *file->changes);
  }
  change *c = &file->changes[file->change_count++];
  *c = (change){.at = at, .length = (uint32_t)length};
  if (length) {
    c->bytes = malloc(length);
    memcpy(c->bytes, data, length);
  }
  world_leave(before);
}

static void write_file(disk *d, inode *file, uint64_t at, const void *data, size_t length) {
  put_bytes(&file->now, at, data, length);
  note_change(d, file, at, data, length);
}

static void resize_file(disk *d, inode *file, uint64_t size) {
  set_size(&file->now, size);
  note_change(d, file, size, NULL, 0);
}

static void make_durable(disk *d, inode *file) {
  if (!d->tracked)
    return;
  bool before = world_enter();
  for (size_t i = 0; i < file->change_count; i++) {
    change *c = &file->changes[i];
    if (c->bytes)
      put_bytes(&file->kept, c->at, c->bytes, c->length);
    else
      set_size(&file->kept, c->at);
    free(c->bytes);
  }
  file->change_count = 0;
  world_leave(before);
}

static void names_durable(disk *d) {
  for (size_t i = 0; i < d->name_count; i++)
    d->names[i].kept = d->names[i].now;
}

/* ---- names ---- */

static name *name_of(disk *d, const char *path) {
  for (size_t i = 0; i < d->name_count; i++)
    if (!strcmp(d->names[i].path, path))
      return &d->names[i];
  return NULL;
}

static name *name_get(disk *d, const char *path) {
  name *found = name_of(d, path);
  for (size_t i = 0; !found && i < d->name_count; i++) /* one that is free in both worlds */
    if (!d->names[i].now && !d->names[i].kept)
      found = &d->names[i];
  if (!found) {
    if (d->name_count == NAMES_LIMIT || strlen(path) >= PATH_BYTES)
      abort();
    found = &d->names[d->name_count++];
    *found = (name){0};
  }
  if (strcmp(found->path, path))
    snprintf(found->path, sizeof found->path, "%s", path);
  return found;
}

static inode *find_file(disk *d, const char *path) {
  name *found = name_of(d, path);
  return found ? found->now : NULL;
}

static inode *make_file(disk *d, const char *path) {
  bool before = world_enter();
  inode *file = calloc(1, sizeof *file);
  file->number = ++d->numbers;
  name_get(d, path)->now = file;
  world_leave(before);
  return file;
}

disk *disk_new(void) { return calloc(1, sizeof(disk)); }

disk *disk_copy(const disk *from) {
  disk *d = disk_new();
  for (size_t i = 0; i < from->name_count; i++)
    if (from->names[i].now) {
      inode *file = make_file(d, from->names[i].path);
      put_bytes(&file->now, 0, from->names[i].now->now.data, from->names[i].now->now.size);
    }
  return d;
}

void disk_track(disk *d) {
  d->tracked = true;
  names_durable(d);
  for (size_t i = 0; i < d->name_count; i++)
    if (d->names[i].now)
      put_bytes(&d->names[i].now->kept, 0, d->names[i].now->now.data, d->names[i].now->now.size);
}

void disk_write_file(disk *d, const char *path, const char *text) {
  inode *file = make_file(d, path);
  write_file(d, file, 0, text, strlen(text));
  make_durable(d, file);
  names_durable(d);
}

/* ---- crashes ---- */

static uint32_t scatter(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(*state >> 33);
}

/* What became of the changes of one file. */
static void settle_file(inode *file) {
  uint32_t how = file->change_count ? pick(4) : 0; /* kept, lost, the first ones, each sector by itself */
  size_t first = how == 2 ? pick((uint32_t)file->change_count + 1) : 0;
  uint64_t state = how == 3 ? pick(1u << 16) : 0;
  for (size_t i = 0; i < file->change_count; i++) {
    change *c = &file->changes[i];
    if (how == 1 || (how == 2 && i >= first))
      continue;
    if (!c->bytes && (how != 3 || scatter(&state) & 1))
      set_size(&file->kept, c->at);
    for (uint32_t at = 0, piece; at < c->length; at += piece) {
      piece = SECTOR - (uint32_t)((c->at + at) % SECTOR);
      if (piece > c->length - at)
        piece = c->length - at;
      if (how != 3 || scatter(&state) & 1)
        put_bytes(&file->kept, c->at + at, c->bytes + at, piece);
    }
  }
  file->change_count = 0;
  file->now.size = 0;
  put_bytes(&file->now, 0, file->kept.data, file->kept.size);
  file->handles = NULL;
  memset(file->regions, 0, sizeof file->regions);
}

void disk_machine_crash(disk *d) {
  for (size_t i = 0; i < d->name_count; i++) {
    name *n = &d->names[i];
    if (n->now != n->kept && pick(2))
      n->now = n->kept;
    n->kept = n->now;
  }
  for (size_t i = 0; i < d->name_count; i++)
    if (d->names[i].now)
      settle_file(d->names[i].now);
}

void disk_process_crash(disk *d, int owner) {
  for (size_t i = 0; i < d->name_count; i++)
    for (handle **at = d->names[i].now ? &d->names[i].now->handles : NULL; at && *at;)
      if ((*at)->owner == owner)
        *at = (*at)->next;
      else
        at = &(*at)->next;
}

/* ---- faults ---- */

static bool fails_now(const char *what) {
  if (!task_process() || !W->disk_faults.fail_in || --W->disk_faults.fail_in)
    return false;
  W->counts.disk_errors++;
  trace("the disk fails: %s", what);
  return true;
}

bool disk_fails_next(void) { return task_process() && W->disk_faults.fail_in == 1; }

static bool has_room(const inode *file, uint64_t end) {
  if (!task_process() || W->disk_faults.free_bytes < 0 || end <= file->now.size)
    return true;
  if ((int64_t)(end - file->now.size) > W->disk_faults.free_bytes) {
    W->counts.full_disks++;
    trace("the disk is full");
    return false;
  }
  W->disk_faults.free_bytes -= (int64_t)(end - file->now.size);
  return true;
}

/* ---- SQLite's files ---- */

static inode *file_of(sqlite3_file *file) { return ((handle *)file)->file; }

static int sim_close(sqlite3_file *file) {
  handle *mine = (handle *)file;
  for (handle **at = &mine->file->handles; *at; at = &(*at)->next)
    if (*at == mine) {
      *at = mine->next;
      break;
    }
  return SQLITE_OK;
}

static int sim_read(sqlite3_file *file, void *data, int length, sqlite3_int64 at) {
  sim_point("read");
  if (fails_now("read"))
    return SQLITE_IOERR_READ;
  const bytes *b = &file_of(file)->now;
  size_t there = (size_t)at >= b->size ? 0 : b->size - (size_t)at;
  if (there > (size_t)length)
    there = (size_t)length;
  if (there)
    memcpy(data, b->data + at, there);
  if (there == (size_t)length)
    return SQLITE_OK;
  memset((char *)data + there, 0, (size_t)length - there);
  return SQLITE_IOERR_SHORT_READ;
}

static int sim_write(sqlite3_file *file, const void *data, int length, sqlite3_int64 at) {
  sim_point("write");
  if (fails_now("write"))
    return SQLITE_IOERR_WRITE;
  if (!has_room(file_of(file), (uint64_t)(at + length)))
    return SQLITE_FULL;
  write_file(W->disk, file_of(file), (uint64_t)at, data, (size_t)length);
  return SQLITE_OK;
}

static int sim_truncate(sqlite3_file *file, sqlite3_int64 size) {
  sim_point("truncate");
  if (fails_now("truncate"))
    return SQLITE_IOERR_TRUNCATE;
  resize_file(W->disk, file_of(file), (uint64_t)size);
  return SQLITE_OK;
}

static int sim_sync(sqlite3_file *file, int flags) {
  (void)flags;
  sim_point("sync");
  if (fails_now("sync"))
    return SQLITE_IOERR_FSYNC;
  make_durable(W->disk, file_of(file));
  if (((handle *)file)->syncs_name) /* as the file system of SQLite for Linux does with journals that it made */
    names_durable(W->disk);
  ((handle *)file)->syncs_name = false;
  return SQLITE_OK;
}

static int sim_size(sqlite3_file *file, sqlite3_int64 *size) {
  *size = (sqlite3_int64)file_of(file)->now.size;
  return SQLITE_OK;
}

static int highest_of_others(const handle *mine) {
  int highest = SQLITE_LOCK_NONE;
  for (const handle *h = mine->file->handles; h; h = h->next)
    if (h != mine && h->level > highest)
      highest = h->level;
  return highest;
}

static int sim_lock(sqlite3_file *file, int level) {
  handle *mine = (handle *)file;
  sim_point("lock");
  int others = highest_of_others(mine);
  if (mine->level >= level)
    return SQLITE_OK;
  if (level == SQLITE_LOCK_SHARED ? others >= SQLITE_LOCK_PENDING : others >= SQLITE_LOCK_RESERVED)
    return SQLITE_BUSY;
  if (level == SQLITE_LOCK_EXCLUSIVE && others >= SQLITE_LOCK_SHARED) {
    mine->level = SQLITE_LOCK_PENDING;
    return SQLITE_BUSY;
  }
  mine->level = level;
  return SQLITE_OK;
}

static int sim_unlock(sqlite3_file *file, int level) {
  ((handle *)file)->level = level;
  return SQLITE_OK;
}

static int sim_reserved(sqlite3_file *file, int *held) {
  handle *mine = (handle *)file;
  *held = mine->level >= SQLITE_LOCK_RESERVED || highest_of_others(mine) >= SQLITE_LOCK_RESERVED;
  return SQLITE_OK;
}

static int sim_control(sqlite3_file *file, int what, void *argument) {
  if (what != DISK_WHICH_FILE)
    return SQLITE_NOTFOUND;
  *(sqlite3_file **)argument = file;
  return SQLITE_OK;
}
static int sim_sector(sqlite3_file *file) {
  (void)file;
  return 4096;
}
static int sim_traits(sqlite3_file *file) {
  (void)file;
  return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* ---- shared memory: lost when the last one lets go, as the first one of the next must make it anew ---- */

static int sim_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **at) {
  handle *mine = (handle *)file;
  inode *of = mine->file;
  sim_point("shm");
  bool mapped = false;
  for (const handle *h = of->handles; h; h = h->next)
    mapped = mapped || h->maps;
  if (!mapped)
    memset(of->regions, 0, sizeof of->regions); /* freed with the world */
  mine->maps = true;
  *at = NULL;
  if (region >= REGION_LIMIT)
    return SQLITE_FULL;
  if (!of->regions[region] && extend) {
    bool before = world_enter();
    of->regions[region] = calloc(1, (size_t)size);
    world_leave(before);
  }
  *at = of->regions[region];
  return SQLITE_OK;
}

static int sim_shm_lock(sqlite3_file *file, int offset, int n, int flags) {
  handle *mine = (handle *)file;
  uint16_t mask = (uint16_t)(((1u << n) - 1) << offset);
  sim_point("shm lock");
  if (flags & SQLITE_SHM_UNLOCK) {
    mine->shared &= (uint16_t)~mask;
    mine->exclusive &= (uint16_t)~mask;
    return SQLITE_OK;
  }
  for (const handle *h = mine->file->handles; h; h = h->next)
    if (h != mine && ((h->exclusive & mask) || ((flags & SQLITE_SHM_EXCLUSIVE) && (h->shared & mask))))
      return SQLITE_BUSY;
  if (flags & SQLITE_SHM_EXCLUSIVE)
    mine->exclusive |= mask;
  else
    mine->shared |= mask;
  return SQLITE_OK;
}

static void sim_shm_barrier(sqlite3_file *file) { (void)file; }

static int sim_shm_unmap(sqlite3_file *file, int remove) {
  (void)remove;
  handle *mine = (handle *)file;
  mine->maps = false;
  mine->shared = mine->exclusive = 0;
  return SQLITE_OK;
}

static const sqlite3_io_methods methods = {.iVersion = 2,
                                           .xClose = sim_close,
                                           .xRead = sim_read,
                                           .xWrite = sim_write,
                                           .xTruncate = sim_truncate,
                                           .xSync = sim_sync,
                                           .xFileSize = sim_size,
                                           .xLock = sim_lock,
                                           .xUnlock = sim_unlock,
                                           .xCheckReservedLock = sim_reserved,
                                           .xFileControl = sim_control,
                                           .xSectorSize = sim_sector,
                                           .xDeviceCharacteristics = sim_traits,
                                           .xShmMap = sim_shm_map,
                                           .xShmLock = sim_shm_lock,
                                           .xShmBarrier = sim_shm_barrier,
                                           .xShmUnmap = sim_shm_unmap};

/* ---- SQLite's file system ---- */

static int sim_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *ret_flags) {
  (void)vfs;
  static unsigned temporary;
  char made[24];
  handle *mine = (handle *)file;
  *mine = (handle){.owner = heap_owner_now()};
  sim_point("open");
  if (fails_now("open"))
    return SQLITE_CANTOPEN;
  if (!path) {
    snprintf(made, sizeof made, "temporary-%u", ++temporary % 8);
    path = made;
  }
  mine->file = find_file(W->disk, path);
  if (!mine->file && !(flags & SQLITE_OPEN_CREATE))
    return SQLITE_CANTOPEN;
  if (!mine->file)
    mine->file = make_file(W->disk, path);
  mine->syncs_name = (flags & SQLITE_OPEN_CREATE) && (flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL | SQLITE_OPEN_SUPER_JOURNAL));
  mine->next = mine->file->handles;
  mine->file->handles = mine;
  mine->base.pMethods = &methods;
  if (ret_flags)
    *ret_flags = flags;
  return SQLITE_OK;
}

void disk_adopt(sqlite3_file *file, const char *path) {
  handle *mine = (handle *)file;
  mine->owner = heap_owner_now();
  mine->file = find_file(W->disk, path);
  mine->next = mine->file->handles;
  mine->file->handles = mine;
}

void disk_unlog(disk *d, const char *path) { memset(find_file(d, path)->now.data + 18, 1, 2); /* SQLite's read and write version */ }

static int sim_delete(sqlite3_vfs *vfs, const char *path, int sync) {
  (void)vfs;
  sim_point("delete");
  name *found = name_of(W->disk, path);
  if (!found || !found->now)
    return SQLITE_IOERR_DELETE_NOENT;
  if (fails_now("delete"))
    return SQLITE_IOERR_DELETE;
  found->now = NULL;
  if (sync)
    names_durable(W->disk);
  return SQLITE_OK;
}

static int sim_access(sqlite3_vfs *vfs, const char *path, int flags, int *ret_is) {
  (void)vfs;
  sim_point("access");
  const inode *file = find_file(W->disk, path);
  *ret_is = file && (flags != SQLITE_ACCESS_EXISTS || file->now.size > 0);
  return SQLITE_OK;
}

static int sim_full_path(sqlite3_vfs *vfs, const char *path, int size, char *out) {
  (void)vfs;
  snprintf(out, (size_t)size, "%s", path);
  return SQLITE_OK;
}

static int sim_randomness(sqlite3_vfs *vfs, int length, char *out) {
  (void)vfs;
  for (int i = 0; i < length; i++)
    out[i] = (char)(scatter(&W->random) >> 8);
  return length;
}

static int sim_sleep_us(sqlite3_vfs *vfs, int us) {
  (void)vfs;
  sim_sleep((us + 999) / 1000);
  return us;
}

static int sim_time(sqlite3_vfs *vfs, sqlite3_int64 *ret_ms) { /* Julian milliseconds */
  (void)vfs;
  *ret_ms = 210866760000000 + SIM_EPOCH_MS + W->now_ms;
  return SQLITE_OK;
}

static int sim_last_error(sqlite3_vfs *vfs, int length, char *out) {
  (void)vfs;
  if (length > 0)
    *out = 0;
  return 0;
}

/* Which process is at work, for triggers in the journal. */
static void simulated_process(sqlite3_context *context, int count, sqlite3_value **values) {
  (void)count;
  (void)values;
  const process *p = task_process();
  sqlite3_result_int64(context, p ? p->pid : 0);
}

static int add_functions(sqlite3 *connection, char **message, const sqlite3_api_routines *api) {
  (void)message;
  (void)api;
  return sqlite3_create_function(connection, "simulated_process", 0, SQLITE_UTF8 | SQLITE_INNOCUOUS, NULL, simulated_process, NULL, NULL);
}

void disk_register(void) {
  static sqlite3_vfs vfs = {.iVersion = 2,
                            .szOsFile = sizeof(handle),
                            .mxPathname = PATH_BYTES,
                            .zName = "simulated",
                            .xOpen = sim_open,
                            .xDelete = sim_delete,
                            .xAccess = sim_access,
                            .xFullPathname = sim_full_path,
                            .xRandomness = sim_randomness,
                            .xSleep = sim_sleep_us,
                            .xGetLastError = sim_last_error,
                            .xCurrentTimeInt64 = sim_time};
  const char *over;
  if (sqlite3_vfs_register(&vfs, 1) || aon_sqlite_syncs_over(vfs.zName, &over, NULL)) /* now: what a worker allocates dies with it */
    abort();
  sqlite3_auto_extension((void (*)(void))add_functions);
}

/* ---- the environment's files ---- */

static aon_result no_such_file(const char *path, aon_error *error) {
  return aon_fail(error, AON_ENVIRONMENT, "no_such_file", "Can't open “%s”: it is not there.", path);
}

static aon_result disk_failed(const char *what, aon_error *error) {
  return aon_fail(error, AON_ENVIRONMENT, "io_error", "The simulated disk failed: %s.", what);
}

static aon_result env_open(void *context, const char *path, aon_file_mode mode, aon_file **ret_file, aon_error *error) {
  (void)context;
  sim_point("file.open");
  inode *file = find_file(W->disk, path);
  if (fails_now("open"))
    return disk_failed("open", error);
  if (mode == AON_FILE_READ && !file)
    return no_such_file(path, error);
  if (mode == AON_FILE_CREATE && file)
    return aon_fail(error, AON_ENVIRONMENT, "exists", "“%s” is there already.", path);
  aon_file *opened = malloc(sizeof *opened);
  if (!opened)
    return aon_fail_memory(error);
  if (!file)
    file = make_file(W->disk, path);
  else if (mode == AON_FILE_REPLACE)
    resize_file(W->disk, file, 0);
  opened->file = file;
  *ret_file = opened;
  return AON_OK;
}

static aon_result env_read(aon_file *file, uint64_t offset, void *data, size_t length, size_t *ret_length, aon_error *error) {
  sim_point("file.read");
  if (fails_now("read"))
    return disk_failed("read", error);
  const bytes *b = &file->file->now;
  size_t there = offset >= b->size ? 0 : b->size - offset;
  *ret_length = there < length ? there : length;
  if (*ret_length)
    memcpy(data, b->data + offset, *ret_length);
  return AON_OK;
}

static aon_result env_write(aon_file *file, uint64_t offset, const void *data, size_t length, aon_error *error) {
  sim_point("file.write");
  if (fails_now("write"))
    return disk_failed("write", error);
  if (!has_room(file->file, offset + length))
    return aon_fail(error, AON_ENVIRONMENT, "disk_full", "The simulated disk is full.");
  write_file(W->disk, file->file, offset, data, length);
  return AON_OK;
}

static aon_result env_sync(aon_file *file, aon_error *error) {
  sim_point("file.sync");
  if (fails_now("sync"))
    return disk_failed("sync", error);
  make_durable(W->disk, file->file);
  return AON_OK;
}

static void env_close(aon_file *file) { free(file); }

static aon_result env_info(void *context, const char *path, aon_file_info *ret_info, aon_error *error) {
  (void)context;
  (void)error;
  sim_point("file.info");
  const inode *file = find_file(W->disk, path);
  *ret_info =
      (aon_file_info){.exists = file != NULL, .free_bytes = W->disk_faults.free_bytes < 0 ? 1u << 30 : (uint64_t)W->disk_faults.free_bytes};
  if (file) {
    ret_info->size_bytes = file->now.size;
    ret_info->mode = 0600;
    ret_info->device_number = 1;
    ret_info->file_number = file->number;
  }
  return AON_OK;
}

static aon_result env_rename(void *context, const char *from, const char *to, aon_error *error) {
  (void)context;
  sim_point("file.rename");
  inode *file = find_file(W->disk, from);
  if (!file)
    return no_such_file(from, error);
  if (fails_now("rename"))
    return disk_failed("rename", error);
  name_get(W->disk, to)->now = file;
  name_of(W->disk, from)->now = NULL;
  sim_point("file.rename");
  names_durable(W->disk);
  return AON_OK;
}

static aon_result env_remove(void *context, const char *path, aon_error *error) {
  (void)context;
  (void)error;
  sim_point("file.remove");
  name *found = name_of(W->disk, path);
  if (found && found->now && W->disk_faults.free_bytes >= 0)
    W->disk_faults.free_bytes += (int64_t)found->now->now.size;
  W->counts.reserves += found && found->now && strstr(path, "-reserve");
  if (found)
    found->now = NULL;
  return AON_OK;
}

static aon_result env_folder_make(void *context, const char *path, aon_error *error) {
  (void)context;
  (void)path;
  (void)error;
  return AON_OK;
}

static aon_result env_folder_list(void *context, const char *path, bool (*each)(void *, const char *), void *argument, aon_error *error) {
  (void)context;
  (void)path;
  (void)error;
  for (size_t i = 0; i < W->disk->name_count; i++)
    if (W->disk->names[i].now && !each(argument, W->disk->names[i].path))
      break;
  return AON_OK;
}

void disk_env_ops(aon_env_ops *ops) {
  ops->file_open = env_open;
  ops->file_read = env_read;
  ops->file_write = env_write;
  ops->file_sync = env_sync;
  ops->file_close = env_close;
  ops->file_info = env_info;
  ops->file_rename = env_rename;
  ops->file_remove = env_remove;
  ops->folder_make = env_folder_make;
  ops->folder_list = env_folder_list;
}
