/* Files in the register: uploads that wait for a worker, and reports about them, in chunks.
 *
 * Invariants: a chunk is sealed with the id of its file and its number, so none can be moved; what a bulk operation names was whole in the
 * write that named it; nothing is added to a file that is named or doomed; a doomed file is never named, so its chunks may go in pieces. */
#include <string.h>

#include "journal/postgresql_register.h"

#define SWEEP_CHUNKS 32 /* that one transaction takes away */

/* ---- putting ---- */

/* The next chunk, or the last one again. $1 file, $2 bytes before it. */
#define TAKES_IT                                                                                                                           \
  " f.id = $1 and f.bulk is null and not f.doomed and (f.bytes = $2::bigint or (f.bytes > $2::bigint and f.bytes <= $2::bigint + 262144))"
_Static_assert(AON_FILE_CHUNK_BYTES == 262144, "the statement above names it");

static bool takes(const aon_register_call *call, size_t at, int64_t before) {
  int64_t bytes = aon_register_int(call, at, 0, 0);
  return !aon_register_int(call, at, 0, 1) && !aon_register_int(call, at, 0, 2) &&
         (bytes == before || (bytes > before && bytes <= before + (int64_t)AON_FILE_CHUNK_BYTES));
}

aon_result aon_register_file_put(void *state, const char *file, const aon_process *owner, uint32_t chunk, const void *bytes, size_t length,
                                 aon_error *error) {
  aon_register *r = state;
  AON_BUFFER_CLEANUP aon_buffer sealed = {0};
  AON_REGISTER_CALL call = {0};
  int64_t before = (int64_t)chunk * (int64_t)AON_FILE_CHUNK_BYTES;
  aon_result result = aon_keys_seal(r->env, r->keys, file, chunk, bytes, length, &sealed, error);
  if (result)
    return result;
  aon_register_begin(&call, false);
  aon_register_add(&call,
                   "insert into aon_journal_files (id, put_ms, owner_boot, owner_pid, owner_ticks)"
                   " values ($1, aon_journal_now(), $2, $3::bigint, $4::bigint) on conflict (id) do nothing",
                   "ttii", file, owner->boot_id, owner->pid, (int64_t)owner->start_ticks);
  size_t at = call.count;
  aon_register_add(&call, "select bytes, bulk is not null, doomed from aon_journal_files where id = $1 for update", "t", file);
  aon_register_add(
      &call,
      "insert into aon_journal_file_chunks (file, chunk, bytes) select f.number, $3::bigint, $4::bytea from aon_journal_files f where" TAKES_IT
      " on conflict (file, chunk) do update set bytes = excluded.bytes",
      "tiib", file, before, (int64_t)chunk, sealed.data, sealed.length);
  aon_register_add(&call, "update aon_journal_files f set bytes = $2::bigint + $3::bigint, put_ms = aon_journal_now() where" TAKES_IT,
                   "tii", file, before, (int64_t)length);
  result = aon_register_run(r, &call, "keeping a file", error);
  if (result || takes(&call, at, before))
    return result;
  return aon_fail(error, AON_USAGE, "wrong_chunk", "Chunk %u of a file in the journal came out of its order, or too late.", chunk);
}

/* ---- naming ---- */

aon_result aon_register_file_incomplete(int64_t there, uint64_t wanted, aon_error *error) {
  return aon_fail(error, AON_USAGE, "incomplete_file",
                  "Of the file that was uploaded %lld bytes are in the journal, not %llu. Upload it again; nothing was queued.",
                  (long long)there, (unsigned long long)wanted);
}

void aon_register_file_look(aon_register_call *call, const char *file, uint64_t bytes) {
  aon_register_add(call, "select 1 from aon_journal_files where id = $1 for update", "t", file);
  aon_register_add(call,
                   "select case when f.doomed then 0 else coalesce(f.bytes, 0) end, f.bulk, set_config('aon.file', case when f.bulk is null"
                   " and not f.doomed and f.bytes = $2::bigint then 'whole' else '' end, true) from (values (1)) one"
                   " left join aon_journal_files f on f.id = $1",
                   "ti", file, (int64_t)bytes);
}

aon_result aon_register_file_attach(void *state, const char *id, int64_t epoch, const aon_journal_file *file, aon_error *error) {
  aon_register *r = state;
  AON_REGISTER_CALL call = {0};
  aon_register_begin(&call, true);
  aon_register_head_add(&call, id, true);
  aon_register_file_look(&call, file->id, file->bytes);
  aon_register_add(
      &call,
      "update aon_journal_files set bulk = null, doomed = true where role = $3::bigint and current_setting('aon.file') = 'whole'"
      " and bulk = (select number from aon_journal_bulk where id = $1 and epoch = $2::bigint)",
      "tii", id, epoch, (int64_t)file->role);
  aon_register_add(&call,
                   "update aon_journal_files f set bulk = b.number, role = $3::bigint, until_ms = $4::bigint from aon_journal_bulk b"
                   " where b.id = $1 and b.epoch = $2::bigint and f.id = $5 and current_setting('aon.file') = 'whole'",
                   "tiiit", id, epoch, (int64_t)file->role, file->until_ms, file->id);
  aon_register_head head;
  aon_result result = aon_register_run(r, &call, "naming a file", error);
  if (!result)
    result = aon_register_fence(r, &call, 1, id, epoch, &head, error);
  if (result)
    return result;
  const char *whole = aon_register_text(&call, 3, 0, 2);
  bool named_before = call.tries > 1 && aon_register_int(&call, 3, 0, 1) == head.number; /* by a try whose reply was lost */
  if ((whole && *whole) || named_before)
    return AON_OK;
  return aon_register_file_incomplete(aon_register_int(&call, 3, 0, 0), file->bytes, error);
}

/* ---- reading ---- */

aon_result aon_register_file_find(void *state, const char *id, aon_file_role role, aon_arena *arena, aon_journal_file *ret_file,
                                  aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_register_head head;
  aon_register_head_add(&call, id, false);
  aon_register_add(&call,
                   "select f.id, f.bytes, f.until_ms from aon_journal_files f join aon_journal_bulk b on b.number = f.bulk where b.id = $1"
                   " and f.role = $2",
                   "ti", id, (int64_t)role);
  aon_journal_file file = {.role = role};
  aon_result result = aon_register_run(state, &call, "looking for a file", error);
  if (!result)
    result = aon_register_head_read(&call, 0, id, &head, error);
  if (result)
    return result;
  if (!aon_register_rows(&call, 1))
    return AON_END;
  file.bytes = (uint64_t)aon_register_int(&call, 1, 0, 1);
  file.until_ms = aon_register_int(&call, 1, 0, 2);
  result = aon_register_copy(&call, 1, 0, 0, arena, &file.id, error);
  if (!result)
    *ret_file = file;
  return result;
}

aon_result aon_register_file_get(void *state, const char *file, uint32_t chunk, aon_buffer *out, aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_result result =
      aon_register_ask(state, &call, "reading a file",
                       "select c.bytes from aon_journal_file_chunks c join aon_journal_files f on f.number = c.file where f.id = $1"
                       " and not f.doomed and c.chunk = $2",
                       error, "ti", file, (int64_t)chunk);
  if (result || !aon_register_rows(&call, 0))
    return result ? result : AON_END;
  aon_piece_keyring ring = aon_register_ring(state);
  return aon_piece_chunk(&ring, file, chunk, aon_register_text(&call, 0, 0, 0), aon_register_length(&call, 0, 0, 0), out, error);
}

/* ---- taking away ---- */

aon_result aon_register_file_drop(void *state, const char *file, aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_register_begin(&call, false);
  aon_register_add(&call, "update aon_journal_files set doomed = true where id = $1 and bulk is null", "t", file);
  return aon_register_run(state, &call, "giving up a file", error);
}

static aon_result doom_ended(aon_register *r, aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_register_begin(&call, false);
  aon_register_add(&call,
                   "update aon_journal_files f set doomed = true, bulk = null where bulk is not null and ((until_ms > 0 and until_ms <="
                   " aon_journal_now()) or (role = 0 and (select state from aon_journal_bulk b where b.number = f.bulk) not in"
                   " ('scheduled', 'queued', 'parsing', 'validating', 'planning', 'logged')))",
                   "");
  aon_register_add(
      &call, "update aon_journal_files set doomed = true where bulk is null and not doomed and put_ms <= aon_journal_now() - $1::bigint",
      "i", (int64_t)AON_FILE_ORPHAN_MS);
  return aon_register_run(r, &call, "sweeping files", error);
}

static aon_result doom_page(aon_register *r, int64_t *last, bool *ret_more, aon_error *error) {
  AON_REGISTER_CALL ask = {0};
  aon_result result =
      aon_register_ask(r, &ask, "sweeping files",
                       "select number, owner_boot, owner_pid, owner_ticks from aon_journal_files where bulk is null and not doomed"
                       " and number > $1 order by number limit $2",
                       error, "ii", *last, (int64_t)AON_REGISTER_PAGE);
  int rows = result ? 0 : aon_register_rows(&ask, 0);
  for (int row = 0; !result && row < rows; row++) {
    aon_process owner = {.pid = aon_register_int(&ask, 0, row, 2), .start_ticks = (uint64_t)aon_register_int(&ask, 0, row, 3)};
    snprintf(owner.boot_id, sizeof owner.boot_id, "%s", aon_register_text(&ask, 0, row, 1));
    *last = aon_register_int(&ask, 0, row, 0);
    if (!r->env->ops->process_dead(r->env->context, &owner))
      continue;
    AON_REGISTER_CALL doom = {0};
    aon_register_begin(&doom, false);
    aon_register_add(&doom, "update aon_journal_files set doomed = true where number = $1 and bulk is null", "i", *last);
    result = aon_register_run(r, &doom, "sweeping files", error);
  }
  *ret_more = rows == AON_REGISTER_PAGE;
  return result;
}

/* One piece of what is doomed; a file goes with its last chunk. */
static aon_result clear_piece(aon_register *r, uint64_t *freed, bool *ret_more, aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_register_begin(&call, false);
  aon_register_add(
      &call,
      "with gone as (delete from aon_journal_file_chunks where (file, chunk) in (select c.file, c.chunk from aon_journal_files f"
      " join aon_journal_file_chunks c on c.file = f.number where f.doomed limit $1) returning 1) select count(*) from gone",
      "i", (int64_t)SWEEP_CHUNKS);
  aon_register_add(&call,
                   "with gone as (delete from aon_journal_files f where f.doomed and not exists (select from aon_journal_file_chunks c"
                   " where c.file = f.number) returning 1) select count(*) from gone",
                   "");
  aon_result result = aon_register_run(r, &call, "sweeping files", error);
  *ret_more = !result && aon_register_int(&call, 2, 0, 0) == SWEEP_CHUNKS;
  *freed += result ? 0 : (uint64_t)aon_register_int(&call, 3, 0, 0);
  return result;
}

/* Mostly there is nothing to do, and then nothing is written. */
aon_result aon_register_sweep_files(void *state, uint64_t *ret_freed, aon_error *error) {
  aon_register *r = state;
  AON_REGISTER_CALL look = {0};
  int64_t last = 0;
  *ret_freed = 0;
  aon_result result = aon_register_ask(r, &look, "sweeping files", "select exists (select from aon_journal_files)", error, "");
  if (result || !aon_register_rows(&look, 0) || !aon_register_int(&look, 0, 0, 0))
    return result;
  result = doom_ended(r, error);
  for (bool more = true; !result && more;)
    result = doom_page(r, &last, &more, error);
  for (bool more = true; !result && more;)
    result = clear_piece(r, ret_freed, &more, error);
  return result;
}

aon_result aon_register_files_examine(aon_register *r, aon_buffer *report, aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_result result =
      aon_register_ask(r, &call, "examining it",
                       "select count(*) filter (where bulk is not null and role = 0), count(*) filter (where bulk is not null"
                       " and role = 1), coalesce(sum(bytes), 0)::bigint from aon_journal_files",
                       error, "");
  return result ? result
                : aon_buffer_format(report, error, "files: %lld uploads that wait, %lld reports, %lld bytes\n",
                                    (long long)aon_register_int(&call, 0, 0, 0), (long long)aon_register_int(&call, 0, 0, 1),
                                    (long long)aon_register_int(&call, 0, 0, 2));
}
