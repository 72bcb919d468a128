/* The real environment: Linux's clocks, files, randomness and process table.
 * Invariant: a step is counted before the call that it announces, so TEST_CRASH_AT_CALL=n dies before the n-th. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "aon/env.h"
#include "base/together.h"

struct aon_file {
  int descriptor;
  char path[];
};

typedef struct real_env {
  aon_env env;
  _Atomic uint64_t steps;
  uint64_t crash_at, stop_at;
  aon_together *together; /* NULL: everything in order */
} real_env;

static int64_t clock_ms(clockid_t id) {
  struct timespec now;
  clock_gettime(id, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t real_now_ms(void *context) {
  (void)context;
  return clock_ms(CLOCK_REALTIME);
}

static int64_t real_monotonic_ms(void *context) {
  (void)context;
  return clock_ms(CLOCK_BOOTTIME);
}

static void real_sleep_ms(void *context, int64_t ms) {
  (void)context;
  if (ms <= 0)
    return;
  struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};
  nanosleep(&left, NULL); /* a signal ends it early: whoever sleeps looks at its condition again anyway */
}

static void real_random(void *context, void *bytes, size_t length) {
  (void)context;
  randombytes_buf(bytes, length);
}

static aon_result fail_errno(const char *doing, const char *path, aon_error *error) {
  int number = errno;
  const char *code = "io_error";
  const char *advice = "";
  switch (number) {
  case ENOENT:
    code = "no_such_file";
    advice = " Check the name.";
    break;
  case EACCES:
  case EPERM:
    code = "no_permission";
    advice = " Change its permissions or run as a user that may.";
    break;
  case EROFS:
    code = "read_only";
    advice = " The file system is read-only.";
    break;
  case ENOSPC:
  case EDQUOT:
    code = "disk_full";
    advice = " Free some space and try again.";
    break;
  case EEXIST:
    code = "exists";
    break;
  case ENOMEM:
    return aon_fail_memory(error);
  default:
    break;
  }
  char text[128];
  return aon_fail_native(error, AON_ENVIRONMENT, code, number, "%s “%s”: %s.%s", doing, path, strerror_r(number, text, sizeof text),
                         advice);
}

static aon_result real_file_open(void *context, const char *path, aon_file_mode mode, aon_file **ret_file, aon_error *error) {
  (void)context;
  static const int flags[] = {
      [AON_FILE_READ] = O_RDONLY, [AON_FILE_CREATE] = O_RDWR | O_CREAT | O_EXCL, [AON_FILE_REPLACE] = O_RDWR | O_CREAT | O_TRUNC};
  size_t length = strlen(path);
  aon_file *file = malloc(sizeof *file + length + 1);
  if (!file)
    return aon_fail_memory(error);
  memcpy(file->path, path, length + 1);
  file->descriptor = open(path, flags[mode] | O_CLOEXEC, 0600);
  if (file->descriptor < 0) {
    aon_result result = fail_errno(mode == AON_FILE_READ ? "Can't open" : "Can't write", path, error);
    free(file);
    return result;
  }
  *ret_file = file;
  return AON_OK;
}

static aon_result real_file_read(aon_file *file, uint64_t offset, void *bytes, size_t length, size_t *ret_length, aon_error *error) {
  size_t done = 0;
  while (done < length) {
    ssize_t n = pread(file->descriptor, (char *)bytes + done, length - done, (off_t)(offset + done));
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return fail_errno("Can't read", file->path, error);
    if (n == 0)
      break;
    done += (size_t)n;
  }
  *ret_length = done;
  return AON_OK;
}

static aon_result real_file_write(aon_file *file, uint64_t offset, const void *bytes, size_t length, aon_error *error) {
  size_t done = 0;
  while (done < length) {
    ssize_t n = pwrite(file->descriptor, (const char *)bytes + done, length - done, (off_t)(offset + done));
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return fail_errno("Can't write", file->path, error);
    done += (size_t)n;
  }
  return AON_OK;
}

static aon_result real_file_allocate(aon_file *file, uint64_t bytes, aon_error *error) {
  int failed;
  do
    failed = fallocate(file->descriptor, 0, 0, (off_t)bytes);
  while (failed && errno == EINTR);
  if (failed && (errno == EOPNOTSUPP || errno == ENOSYS))
    return aon_fail(error, AON_REJECTED, "not_supported", "The file system of “%s” takes no room ahead.", file->path);
  return failed ? fail_errno("Can't write", file->path, error) : AON_OK;
}

static aon_result real_file_sync(aon_file *file, aon_error *error) {
  return fsync(file->descriptor) ? fail_errno("Can't sync", file->path, error) : AON_OK;
}

static void real_file_close(aon_file *file) {
  if (!file)
    return;
  close(file->descriptor);
  free(file);
}

static void parent_of(const char *path, char parent[PATH_MAX]) {
  snprintf(parent, PATH_MAX, "%s", path);
  char *slash = strrchr(parent, '/');
  if (!slash)
    strcpy(parent, ".");
  else if (slash == parent)
    parent[1] = 0;
  else
    *slash = 0;
}

static aon_result real_file_info(void *context, const char *path, aon_file_info *ret_info, aon_error *error) {
  (void)context;
  aon_file_info info = {0};
  struct stat found;
  if (stat(path, &found) == 0) {
    info.exists = true;
    info.is_directory = S_ISDIR(found.st_mode);
    info.size_bytes = (uint64_t)found.st_size;
    info.device_number = (uint64_t)found.st_dev;
    info.file_number = (uint64_t)found.st_ino;
    info.mode = (uint32_t)found.st_mode & 07777;
  } else if (errno != ENOENT && errno != ENOTDIR) {
    return fail_errno("Can't look at", path, error);
  }
  struct statvfs system;
  char parent[PATH_MAX];
  parent_of(path, parent);
  if (statvfs(info.exists ? path : parent, &system) == 0)
    info.free_bytes = (uint64_t)system.f_bavail * system.f_frsize;
  *ret_info = info;
  return AON_OK;
}

static aon_result sync_folder(const char *path, aon_error *error) {
  char parent[PATH_MAX];
  parent_of(path, parent);
  int descriptor = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0)
    return fail_errno("Can't open the folder", parent, error);
  aon_result result = AON_OK;
  if (fsync(descriptor) && errno != EINVAL)
    result = fail_errno("Can't sync the folder", parent, error);
  close(descriptor);
  return result;
}

static aon_result real_file_rename(void *context, const char *from, const char *to, aon_error *error) {
  (void)context;
  if (rename(from, to))
    return fail_errno("Can't write", to, error);
  return sync_folder(to, error);
}

static aon_result real_file_remove(void *context, const char *path, aon_error *error) {
  (void)context;
  if (unlink(path) && errno != ENOENT)
    return fail_errno("Can't remove", path, error);
  return AON_OK;
}

static aon_result real_folder_make(void *context, const char *path, aon_error *error) {
  (void)context;
  struct stat found;
  if (mkdir(path, 0700) == 0)
    return sync_folder(path, error);
  if (errno == EEXIST && stat(path, &found) == 0 && S_ISDIR(found.st_mode))
    return AON_OK;
  if (errno == EEXIST)
    errno = ENOTDIR;
  return fail_errno("Can't make the folder", path, error);
}

static int name_order(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static aon_result real_folder_list(void *context, const char *path, bool (*each)(void *, const char *), void *argument, aon_error *error) {
  (void)context;
  DIR *folder = opendir(path);
  if (!folder)
    return fail_errno("Can't read the folder", path, error);
  aon_result result = AON_OK;
  char **names = NULL;
  size_t count = 0, capacity = 0;
  struct dirent *entry;
  while ((entry = readdir(folder))) {
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
      continue;
    if (count == capacity) {
      size_t more = capacity ? capacity * 2 : 32;
      char **grown = realloc(names, more * sizeof *names);
      if (!grown) {
        result = aon_fail_memory(error);
        break;
      }
      names = grown;
      capacity = more;
    }
    if (!(names[count] = strdup(entry->d_name))) {
      result = aon_fail_memory(error);
      break;
    }
    count++;
  }
  closedir(folder);
  if (!result && count)
    qsort(names, count, sizeof *names, name_order);
  bool going = result == AON_OK;
  for (size_t i = 0; i < count; i++) {
    going = going && each(argument, names[i]);
    free(names[i]);
  }
  free(names);
  return result;
}

static bool read_small(const char *path, char *text, size_t size) {
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    return false;
  ssize_t length = read(descriptor, text, size - 1);
  close(descriptor);
  if (length <= 0)
    return false;
  text[length] = 0;
  return true;
}

/* Field 22 of /proc/PID/stat (proc(5)); the second field may hold blanks and parentheses, so count from the last ')'. */
static bool start_ticks_of(int64_t pid, uint64_t *ret_ticks) {
  char path[64], text[2048];
  snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
  if (!read_small(path, text, sizeof text))
    return false;
  char *at = strrchr(text, ')');
  for (int field = 2; at && field < 22; field++) {
    at = strchr(at + 1, ' ');
  }
  if (!at)
    return false;
  *ret_ticks = strtoull(at + 1, NULL, 10);
  return true;
}

static void boot_id_of(char boot_id[40]) {
  char text[64] = "";
  read_small("/proc/sys/kernel/random/boot_id", text, sizeof text);
  text[strcspn(text, "\n")] = 0;
  /* Two containers on one kernel have each their own process numbers: which ones they are, replaces the end of the boot id. */
  char link[64];
  ssize_t length = readlink("/proc/self/ns/pid", link, sizeof link - 1);
  unsigned numbers = 0;
  link[length > 0 ? length : 0] = 0;
  if (text[0] && sscanf(link, "pid:[%u]", &numbers) == 1)
    snprintf(boot_id, 40, "%.27s-%08x", text, numbers);
  else
    snprintf(boot_id, 40, "%.36s", text);
}

static aon_process real_process_self(void *context) {
  (void)context;
  aon_process self = {.pid = getpid()};
  boot_id_of(self.boot_id);
  start_ticks_of(self.pid, &self.start_ticks);
  return self;
}

static bool real_process_dead(void *context, const aon_process *process) {
  (void)context;
  char boot_id[40];
  boot_id_of(boot_id);
  if (!process->boot_id[0] || !boot_id[0] || strcmp(boot_id, process->boot_id))
    return false; /* another host, or another boot of this one: nobody can tell which, so the lease decides */
  uint64_t ticks;
  if (kill((pid_t)process->pid, 0) && errno == ESRCH)
    return true;
  if (!start_ticks_of(process->pid, &ticks))
    return false;
  if (ticks != process->start_ticks)
    return true;
  char path[64], text[2048];
  snprintf(path, sizeof path, "/proc/%lld/stat", (long long)process->pid);
  char *at = read_small(path, text, sizeof text) ? strrchr(text, ')') : NULL;
  return at && at[1] && (at[2] == 'Z' || at[2] == 'X'); /* a killed process that its parent hasn't waited for */
}

static void real_step(void *context, const char *what) {
  real_env *real = context;
  uint64_t step = ++real->steps;
  if (real->env.log_level >= AON_LOG_DEBUG)
    aon_log(&real->env, AON_LOG_DEBUG, "call %llu: %s", (unsigned long long)step, what);
  if (step == real->crash_at)
    kill(getpid(), SIGKILL);
  if (step == real->stop_at)
    kill(getpid(), SIGSTOP);
}

static void real_log(void *context, aon_log_level level, const char *line) {
  (void)context;
  static const char *const names[] = {"ERROR", "WARNING", "INFO", "DEBUG"};
  flockfile(stderr);
  fprintf(stderr, "[%s] %s\n", names[level], line);
  funlockfile(stderr);
}

static void real_run_together(void *context, void (*task)(void *argument, size_t index), void *argument, size_t count) {
  real_env *real = context;
  aon_together_run(real->together, task, argument, count);
}

static const aon_env_ops real_ops = {
    .now_ms = real_now_ms,
    .monotonic_ms = real_monotonic_ms,
    .sleep_ms = real_sleep_ms,
    .random = real_random,
    .file_open = real_file_open,
    .file_read = real_file_read,
    .file_write = real_file_write,
    .file_sync = real_file_sync,
    .file_close = real_file_close,
    .file_info = real_file_info,
    .file_rename = real_file_rename,
    .file_remove = real_file_remove,
    .folder_make = real_folder_make,
    .folder_list = real_folder_list,
    .process_self = real_process_self,
    .process_dead = real_process_dead,
    .step = real_step,
    .log = real_log,
    .run_together = real_run_together,
    .file_allocate = real_file_allocate,
};

aon_result aon_env_open(aon_log_level level, uint64_t crash_at, uint64_t stop_at, aon_env **ret_env, aon_error *error) {
  if (sodium_init() < 0)
    return aon_fail(error, AON_ENVIRONMENT, "no_randomness", "The machine gives no randomness (libsodium could not start).");
  real_env *real = calloc(1, sizeof *real);
  if (!real)
    return aon_fail_memory(error);
  real->env = (aon_env){.ops = &real_ops, .context = real, .log_level = level};
  real->crash_at = crash_at;
  real->stop_at = stop_at;
  if (!crash_at && !stop_at && sysconf(_SC_NPROCESSORS_ONLN) > 1)
    real->together = aon_together_new();
  *ret_env = &real->env;
  return AON_OK;
}

void aon_env_close(aon_env *env) {
  if (!env)
    return;
  real_env *real = env->context;
  aon_together_free(real->together);
  free(real);
}

uint64_t aon_env_steps(const aon_env *env) {
  const real_env *real = env->context;
  return real->steps;
}

void aon_log(aon_env *env, aon_log_level level, const char *format, ...) {
  if (level > env->log_level)
    return;
  char line[2048];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  env->ops->log(env->context, level, line);
}
