/* Packs: finding the file, running it once, keeping what it declares. */
#include "pack/schema.h"

#include <stdlib.h>
#include <string.h>

#define PACK_BYTES_LIMIT ((size_t)1 << 20)
#define PATH_BYTES_LIMIT 4096

static const aon_pack_limits defaults = {
    .memory_bytes = 64u << 20, .instructions = 10000000, .call_ms = 2000, .stage_memory_bytes = 16u << 20};

static aon_pack_limits with_defaults(const aon_pack_limits *limits) {
  aon_pack_limits all = limits ? *limits : defaults;
  all.memory_bytes = all.memory_bytes ? all.memory_bytes : defaults.memory_bytes;
  all.instructions = all.instructions ? all.instructions : defaults.instructions;
  all.call_ms = all.call_ms ? all.call_ms : defaults.call_ms;
  all.stage_memory_bytes = all.stage_memory_bytes ? all.stage_memory_bytes : defaults.stage_memory_bytes;
  return all;
}

static aon_result is_file(aon_env *env, const char *path, bool *ret_there, aon_error *error) {
  aon_file_info info;
  aon_result result = env->ops->file_info(env->context, path, &info, error);
  *ret_there = !result && info.exists && !info.is_directory;
  return result;
}

static aon_result find(aon_env *env, const char *name, const char *const *folders, char path[PATH_BYTES_LIMIT], aon_error *error) {
  size_t length = strlen(name);
  bool there, is_path = strchr(name, '/') || (length > 4 && !strcmp(name + length - 4, ".lua"));
  aon_result result;
  if (is_path) {
    if (length >= PATH_BYTES_LIMIT)
      return aon_fail(error, AON_USAGE, "unknown_pack", "The path of the pack is too long.");
    memcpy(path, name, length + 1);
    result = is_file(env, path, &there, error);
    if (!result && !there)
      result = aon_fail(error, AON_ENVIRONMENT, "unknown_pack", "There is no pack file “%s”. Check the path.", name);
    return result;
  }
  aon_buffer looked AON_BUFFER_CLEANUP = {0};
  for (; folders && *folders; folders++) {
    if (snprintf(path, PATH_BYTES_LIMIT, "%s/%s.lua", *folders, name) >= PATH_BYTES_LIMIT)
      continue;
    if ((result = is_file(env, path, &there, error)) || there)
      return result;
    if ((result = aon_buffer_format(&looked, error, "%s%s", looked.length ? ", " : "", *folders)))
      return result;
  }
  return aon_fail(error, AON_ENVIRONMENT, "unknown_pack", "There is no pack “%s” in %s. “aon pack list” shows those that are there.", name,
                  looked.length ? looked.data : "the folders of packs (there are none)");
}

static aon_result read_file(aon_env *env, const char *path, aon_buffer *out, aon_error *error) {
  aon_file *file;
  aon_result result = env->ops->file_open(env->context, path, AON_FILE_READ, &file, error);
  if (result)
    return result;
  size_t length = 1;
  while (!result && length) {
    if ((result = aon_buffer_reserve(out, 65536, error)))
      break;
    result = env->ops->file_read(file, out->length, out->data + out->length, 65536, &length, error);
    if (!result) {
      out->length += length;
      out->data[out->length] = 0;
    }
    if (!result && out->length > PACK_BYTES_LIMIT)
      result = aon_fail(error, AON_ENVIRONMENT, "bad_pack", "%s: the file is larger than %zu bytes.", path, PACK_BYTES_LIMIT);
  }
  env->ops->file_close(file);
  return result;
}

static aon_result run(aon_pack *pack, const char *path, aon_error *error) {
  aon_buffer source AON_BUFFER_CLEANUP = {0};
  aon_result result = read_file(pack->env, path, &source, error);
  if (result)
    return result;
  if (!(pack->file = aon_arena_text(&pack->arena, path, strlen(path))))
    return aon_fail_memory(error);
  aon_host_limits limits = {
      .memory_bytes = pack->limits.memory_bytes, .instructions = pack->limits.instructions, .call_ms = pack->limits.call_ms};
  result = aon_host_open(pack->env, &limits, &pack->host, error);
  if (!result)
    result = aon_host_run(pack->host, pack->file, source.data ? source.data : "", source.length, error);
  if (!result)
    result = aon_schema_read(pack->host, &pack->arena, pack->file, &pack->schema, error);
  return result;
}

aon_result aon_pack_load(aon_env *env, const char *name, const char *const *folders, const aon_pack_limits *limits, aon_pack **ret_pack,
                         aon_error *error) {
  char path[PATH_BYTES_LIMIT];
  aon_result result = find(env, name, folders, path, error);
  if (result)
    return result;
  aon_pack *pack = calloc(1, sizeof *pack);
  if (!pack)
    return aon_fail_memory(error);
  pack->env = env;
  pack->limits = with_defaults(limits);
  result = run(pack, path, error);
  if (result) {
    aon_pack_close(pack);
    return result;
  }
  *ret_pack = pack;
  return AON_OK;
}

void aon_pack_close(aon_pack *pack) {
  if (!pack)
    return;
  if (pack->host)
    aon_host_close(pack->host);
  aon_arena_release(&pack->arena);
  free(pack);
}

const char *aon_pack_name(const aon_pack *pack) { return pack->schema.name; }
const char *aon_pack_title(const aon_pack *pack) { return pack->schema.title; }
const char *aon_pack_file(const aon_pack *pack) { return pack->file; }

const aon_collection *const *aon_pack_collections(const aon_pack *pack, size_t *ret_count) {
  *ret_count = pack->schema.collection_count;
  return pack->schema.bases;
}

const aon_collection *aon_pack_collection(const aon_pack *pack, const char *name) {
  const aon_schema_collection *found = aon_schema_collection_find(&pack->schema, name);
  return found ? &found->base : NULL;
}
