/* The reserve file. Invariants stand in reserve.h. */
#include "journal/reserve.h"

#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES ((size_t)1 << 20)

aon_result aon_reserve_open(aon_reserve *reserve, aon_env *env, const char *journal_path, uint64_t bytes, aon_error *error) {
  *reserve = (aon_reserve){.env = env, .bytes = bytes};
  if (bytes == 0)
    return AON_OK;
  static const char suffix[] = "-reserve";
  size_t length = strlen(journal_path);
  reserve->path = malloc(length + sizeof suffix);
  if (!reserve->path)
    return aon_fail_memory(error);
  memcpy(reserve->path, journal_path, length);
  memcpy(reserve->path + length, suffix, sizeof suffix);
  reserve->tried_ms = aon_monotonic_ms(env) - AON_RESERVE_RETRY_MS;
  aon_reserve_fill(reserve);
  return AON_OK;
}

void aon_reserve_close(aon_reserve *reserve) {
  free(reserve->path);
  *reserve = (aon_reserve){0};
}

/* One random piece again and again: no file system compresses over so long a distance. */
static aon_result write_pieces(const aon_reserve *reserve, aon_file *file, aon_error *error) {
  aon_env *env = reserve->env;
  unsigned char *piece = malloc(PIECE_BYTES);
  if (!piece)
    return aon_fail_memory(error);
  aon_random(env, piece, PIECE_BYTES);
  aon_result result = AON_OK;
  for (uint64_t at = 0; !result && at < reserve->bytes; at += PIECE_BYTES) {
    uint64_t left = reserve->bytes - at;
    result = env->ops->file_write(file, at, piece, left < PIECE_BYTES ? (size_t)left : PIECE_BYTES, error);
  }
  free(piece);
  return result;
}

static aon_result write_file(const aon_reserve *reserve, aon_error *error) {
  aon_env *env = reserve->env;
  aon_file *file;
  aon_result result = env->ops->file_open(env->context, reserve->path, AON_FILE_REPLACE, &file, error);
  if (result)
    return result;
  aon_error refusal = AON_ERROR_INIT;
  result = env->ops->file_allocate ? env->ops->file_allocate(file, reserve->bytes, &refusal) : AON_REJECTED;
  if (result == AON_REJECTED)
    result = write_pieces(reserve, file, error);
  else if (result && error)
    *error = refusal;
  env->ops->file_close(file);
  return result;
}

void aon_reserve_fill(aon_reserve *reserve) {
  if (!reserve->path || reserve->there)
    return;
  aon_env *env = reserve->env;
  int64_t now = aon_monotonic_ms(env);
  if (now - reserve->tried_ms < AON_RESERVE_RETRY_MS)
    return;
  reserve->tried_ms = now;
  aon_file_info info;
  aon_error failure = AON_ERROR_INIT;
  if (env->ops->file_info(env->context, reserve->path, &info, &failure))
    return;
  if (info.exists && info.size_bytes >= reserve->bytes) {
    reserve->there = true;
    return;
  }
  if (info.free_bytes < 2 * reserve->bytes) {
    aon_log(env, AON_LOG_WARNING,
            "The disk has no room for the journal's reserve (%llu bytes); a full disk may then keep a rollback waiting.",
            (unsigned long long)reserve->bytes);
    return;
  }
  if (write_file(reserve, &failure)) {
    aon_log(env, AON_LOG_WARNING, "The journal's reserve could not be made: %s", failure.sentence);
    if (env->ops->file_remove(env->context, reserve->path, &failure))
      aon_log(env, AON_LOG_WARNING, "What was written of it could not be removed: %s", failure.sentence);
    return;
  }
  reserve->there = true;
}

bool aon_reserve_spend(aon_reserve *reserve) {
  if (!reserve->path)
    return false;
  aon_env *env = reserve->env;
  aon_file_info info;
  aon_error failure = AON_ERROR_INIT;
  if (env->ops->file_info(env->context, reserve->path, &info, &failure))
    return false;
  if (!info.exists) {
    bool spent_by_another = reserve->there; /* what another process gave free is there for all */
    reserve->there = false;
    return spent_by_another;
  }
  if (env->ops->file_remove(env->context, reserve->path, &failure))
    return false;
  reserve->there = false;
  reserve->tried_ms = aon_monotonic_ms(env);
  aon_log(env, AON_LOG_WARNING, "The journal's disk is full: its reserve was given free. Free some space.");
  return true;
}
