/* See failing_files.h. */
#include "failing_files.h"

static aon_env_ops sound;

#define FILE_CALL(name, parameters, arguments)                                                                                             \
  static aon_result name parameters {                                                                                                      \
    return calls_due(CALL_FILE) ? aon_fail(error, AON_ENVIRONMENT, "io_error", "A file can't be reached (" #name ").")                     \
                                : sound.name arguments;                                                                                    \
  }
FILE_CALL(file_open, (void *c, const char *path, aon_file_mode mode, aon_file **ret, aon_error *error), (c, path, mode, ret, error))
FILE_CALL(file_read, (aon_file * file, uint64_t at, void *bytes, size_t length, size_t *ret, aon_error *error),
          (file, at, bytes, length, ret, error))
FILE_CALL(file_write, (aon_file * file, uint64_t at, const void *bytes, size_t length, aon_error *error), (file, at, bytes, length, error))
FILE_CALL(file_sync, (aon_file * file, aon_error *error), (file, error))
FILE_CALL(file_info, (void *c, const char *path, aon_file_info *ret, aon_error *error), (c, path, ret, error))
FILE_CALL(file_rename, (void *c, const char *from, const char *to, aon_error *error), (c, from, to, error))
FILE_CALL(file_remove, (void *c, const char *path, aon_error *error), (c, path, error))

void files_may_fail(world *w) {
  aon_env_ops *ops = (aon_env_ops *)w->env.ops; /* the harness's own, on the heap */
  sound = *ops;
  ops->file_open = file_open;
  ops->file_read = file_read;
  ops->file_write = file_write;
  ops->file_sync = file_sync;
  ops->file_info = file_info;
  ops->file_rename = file_rename;
  ops->file_remove = file_remove;
}
