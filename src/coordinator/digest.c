/* The digest of a folder of .csv files: it names the upload whatever folder it stands in. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "coordinator/submit.h"

typedef struct folder {
  aon_env *env;
  const char *path;
  crypto_generichash_state state;
  aon_result result;
  aon_error *error;
} folder;

static bool add_file(void *context, const char *name) {
  folder *f = context;
  static const char *const none[] = {NULL};
  AON_ARENA_CLEANUP aon_arena arena = {0};
  char *path = aon_arena_format(&arena, "%s/%s", f->path, name), digest[65];
  aon_file_info info;
  f->result = path ? f->env->ops->file_info(f->env->context, path, &info, f->error) : aon_fail_memory(f->error);
  if (f->result || info.is_directory)
    return f->result == AON_OK;
  f->result = aon_content_digest(f->env, path, none, digest, f->error);
  if (f->result)
    return false;
  crypto_generichash_update(&f->state, (const unsigned char *)name, strlen(name) + 1);
  crypto_generichash_update(&f->state, (const unsigned char *)digest, 64);
  return true;
}

aon_result aon_folder_digest(aon_env *env, const char *path, const char *const *options, char ret_hex[65], aon_error *error) {
  folder f = {.env = env, .path = path, .error = error};
  crypto_generichash_init(&f.state, NULL, 0, 32);
  for (; *options; options++)
    crypto_generichash_update(&f.state, (const unsigned char *)*options, strlen(*options) + 1);
  aon_result result = env->ops->folder_list(env->context, path, add_file, &f, error);
  if (!result)
    result = f.result;
  unsigned char hash[32];
  crypto_generichash_final(&f.state, hash, sizeof hash);
  sodium_bin2hex(ret_hex, 65, hash, sizeof hash);
  return result;
}
