/* The environment: the only door to clock, randomness, sleep, files and the process table.
 *
 * A simulator or an embedding program supplies its own table. Libraries that would open their own door get it by a hook
 * (SQLite: a VFS; libzip: source functions; libsodium: its random source).
 */
#ifndef AON_ENV_H
#define AON_ENV_H

#include <stdbool.h>
#include <stdio.h>

#include "aon/result.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum aon_log_level { AON_LOG_ERROR, AON_LOG_WARNING, AON_LOG_INFO, AON_LOG_DEBUG } aon_log_level;

typedef struct aon_file aon_file; /* owned by the environment that opened it */

typedef enum aon_file_mode {
  AON_FILE_READ,   /* must exist */
  AON_FILE_CREATE, /* made with mode 0600, must not exist */
  AON_FILE_REPLACE /* made with mode 0600 or truncated */
} aon_file_mode;

typedef struct aon_file_info {
  bool exists, is_directory;
  uint64_t size_bytes;
  uint64_t free_bytes;                 /* of the file system that holds it */
  uint32_t mode;                       /* permission bits (0600); 0 where the environment has none */
  uint64_t device_number, file_number; /* alike for all names of one file; file_number 0 where the environment has none */
} aon_file_info;

typedef struct aon_process { /* identifies one run of one process on one boot of one host */
  char boot_id[40];
  int64_t pid;
  uint64_t start_ticks;
} aon_process;

typedef struct aon_env aon_env;

typedef struct aon_env_ops {
  int64_t (*now_ms)(void *context);       /* wall clock, milliseconds since 1970-01-01 UTC */
  int64_t (*monotonic_ms)(void *context); /* never jumps, runs on in suspend (CLOCK_BOOTTIME) */
  void (*sleep_ms)(void *context, int64_t ms);
  void (*random)(void *context, void *bytes, size_t length); /* cryptographic quality */

  aon_result (*file_open)(void *context, const char *path, aon_file_mode mode, aon_file **ret_file, aon_error *error);
  /* Reads up to length bytes at offset; *ret_length is less only at the end of the file. */
  aon_result (*file_read)(aon_file *file, uint64_t offset, void *bytes, size_t length, size_t *ret_length, aon_error *error);
  aon_result (*file_write)(aon_file *file, uint64_t offset, const void *bytes, size_t length, aon_error *error);
  aon_result (*file_sync)(aon_file *file, aon_error *error);
  void (*file_close)(aon_file *file);
  aon_result (*file_info)(void *context, const char *path, aon_file_info *ret_info, aon_error *error);
  aon_result (*file_rename)(void *context, const char *from, const char *to, aon_error *error); /* replaces, syncs the folder */
  aon_result (*file_remove)(void *context, const char *path, aon_error *error);                 /* absent is no error */
  aon_result (*folder_make)(void *context, const char *path, aon_error *error);                 /* 0700; there is no error */
  /* Names in a folder, without "." and "..", sorted by bytes; the callback returns false to stop. */
  aon_result (*folder_list)(void *context, const char *path, bool (*each)(void *, const char *name), void *argument, aon_error *error);

  aon_process (*process_self)(void *context);
  bool (*process_dead)(void *context, const aon_process *process); /* true only if proved: other boot of this host, or gone */

  /* A call to a journal or a store is about to be made. The real environment counts it and obeys
   * TEST_CRASH_AT_CALL and TEST_STOP_AT_CALL; a simulator switches to another task here. */
  void (*step)(void *context, const char *what);

  void (*log)(void *context, aon_log_level level, const char *line);

  /* Runs task(argument, 0) to task(argument, count - 1) and returns when all have ended. The real environment runs them side by side, on
   * threads of its own and the caller's; a simulator runs them in order, and so does the real one while TEST_CRASH_AT_CALL or
   * TEST_STOP_AT_CALL counts calls. Tasks share nothing that they write, never wait for each other and never call this again; of the
   * environment they may use everything, at the same time, but a file only one of them. NULL: in order. */
  void (*run_together)(void *context, void (*task)(void *argument, size_t index), void *argument, size_t count);

  /* Takes room on the disk for the first `bytes` of a file, which is then at least so long and reads as zeros where nothing was written.
   * AON_REJECTED: this file system promises no room without bytes being written. NULL: none does. */
  aon_result (*file_allocate)(aon_file *file, uint64_t bytes, aon_error *error);
} aon_env_ops;

struct aon_env {
  const aon_env_ops *ops;
  void *context;
  aon_log_level log_level; /* lines above it are not formatted */
  const char *vfs;         /* SQLite VFS for all databases, NULL: the default one */
};

#define AON_TOGETHER_LIMIT 8 /* tasks that the real environment runs at once; more take turns */

/* The real one. crash_at, stop_at: the value of TEST_CRASH_AT_CALL and TEST_STOP_AT_CALL, 0 for never. */
aon_result aon_env_open(aon_log_level level, uint64_t crash_at, uint64_t stop_at, aon_env **ret_env, aon_error *error) AON_MUST_USE;
void aon_env_close(aon_env *env);
uint64_t aon_env_steps(const aon_env *env); /* number of journal and store calls so far (real environment only) */

static inline int64_t aon_now_ms(aon_env *env) { return env->ops->now_ms(env->context); }
static inline int64_t aon_monotonic_ms(aon_env *env) { return env->ops->monotonic_ms(env->context); }
static inline void aon_sleep_ms(aon_env *env, int64_t ms) { env->ops->sleep_ms(env->context, ms); }
static inline void aon_random(aon_env *env, void *bytes, size_t length) { env->ops->random(env->context, bytes, length); }
static inline void aon_step(aon_env *env, const char *what) { env->ops->step(env->context, what); }

static inline void aon_run_together(aon_env *env, void (*task)(void *argument, size_t index), void *argument, size_t count) {
  if (env->ops->run_together && count > 1) {
    env->ops->run_together(env->context, task, argument, count);
    return;
  }
  for (size_t i = 0; i < count; i++)
    task(argument, i);
}

void aon_log(aon_env *env, aon_log_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));

#ifdef __cplusplus
}
#endif
#endif
