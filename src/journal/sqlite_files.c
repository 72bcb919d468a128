/* Files in the ledger: uploads that wait for a worker, and reports about them, in chunks.
 *
 * Invariants: a chunk is sealed with the id of its file and its number, so none can be moved; what a bulk operation names was whole in the
 * write that named it; nothing is added to a file that is named or doomed; a doomed file is never named, so its chunks may go in pieces. */
#include <string.h>

#include "journal/sqlite_ledger.h"

#define SWEEP_CHUNKS 32 /* that one transaction takes away: others wait for it */

typedef struct file_row {
  int64_t number, bytes;
  bool there, named, doomed;
} file_row;

static aon_result row_of(aon_ledger *ledger, const char *file, file_row *ret_row, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  *ret_row = (file_row){0};
  aon_result result =
      aon_ledger_query(ledger, "select number, bytes, bulk is not null, doomed from files where id = ?", &statement, error, "t", file);
  if (!result)
    result = aon_sqlite_step(ledger->database, statement, error);
  if (result)
    return result == AON_END ? AON_OK : result;
  *ret_row = (file_row){.number = sqlite3_column_int64(statement, 0),
                        .bytes = sqlite3_column_int64(statement, 1),
                        .there = true,
                        .named = sqlite3_column_int64(statement, 2) != 0,
                        .doomed = sqlite3_column_int64(statement, 3) != 0};
  return AON_OK;
}

/* ---- putting ---- */

typedef struct put_call {
  const char *file;
  const aon_process *owner;
  uint32_t chunk;
  size_t length;
  const aon_buffer *sealed;
} put_call;

static aon_result put_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  const put_call *call = arguments;
  file_row row;
  int64_t before = (int64_t)call->chunk * (int64_t)AON_FILE_CHUNK_BYTES, now = aon_now_ms(ledger->env);
  aon_result result =
      aon_ledger_run(ledger,
                     "insert into files (id, put_ms, owner_boot, owner_pid, owner_ticks) values (?, ?, ?, ?, ?)"
                     " on conflict do nothing",
                     error, "titii", call->file, now, call->owner->boot_id, call->owner->pid, (int64_t)call->owner->start_ticks);
  if (!result)
    result = row_of(ledger, call->file, &row, error);
  if (result)
    return result;
  bool next = row.bytes == before, again = row.bytes > before && row.bytes <= before + (int64_t)AON_FILE_CHUNK_BYTES;
  if (row.named || row.doomed || (!next && !again))
    return aon_fail(error, AON_USAGE, "wrong_chunk", "Chunk %u of a file in the journal came out of its order, or too late.", call->chunk);
  result = aon_ledger_run(ledger,
                          "insert into file_chunks (file, chunk, bytes) values (?, ?, ?)"
                          " on conflict (file, chunk) do update set bytes = excluded.bytes",
                          error, "iib", row.number, (int64_t)call->chunk, (const void *)call->sealed->data, call->sealed->length);
  return result ? result
                : aon_ledger_run(ledger, "update files set bytes = ?, put_ms = ? where number = ?", error, "iii",
                                 before + (int64_t)call->length, now, row.number);
}

aon_result aon_ledger_file_put(void *state, const char *file, const aon_process *owner, uint32_t chunk, const void *bytes, size_t length,
                               aon_error *error) {
  aon_ledger *ledger = state;
  aon_buffer_clear(&ledger->sealed);
  aon_result result = aon_keys_seal(ledger->env, ledger->keys, file, chunk, bytes, length, &ledger->sealed, error);
  put_call call = {.file = file, .owner = owner, .chunk = chunk, .length = length, .sealed = &ledger->sealed};
  return result ? result : aon_ledger_write(ledger, false, put_work, &call, error);
}

/* ---- naming ---- */

aon_result aon_ledger_file_name(aon_ledger *ledger, int64_t bulk, const aon_journal_file *file, aon_error *error) {
  file_row row;
  aon_result result = row_of(ledger, file->id, &row, error);
  if (result)
    return result;
  if (!row.there || row.named || row.doomed || row.bytes != (int64_t)file->bytes)
    return aon_fail(error, AON_USAGE, "incomplete_file",
                    "Of the file that was uploaded %lld bytes are in the journal, not %llu. Upload it again; nothing was queued.",
                    row.there && !row.doomed ? (long long)row.bytes : 0LL, (unsigned long long)file->bytes);
  result = aon_ledger_run(ledger, "update files set bulk = null, doomed = 1 where bulk = ? and role = ?", error, "ii", bulk,
                          (int64_t)file->role);
  return result ? result
                : aon_ledger_run(ledger, "update files set bulk = ?, role = ?, until_ms = ? where number = ?", error, "iiii", bulk,
                                 (int64_t)file->role, file->until_ms, row.number);
}

typedef struct attach_call {
  const char *id;
  int64_t epoch;
  const aon_journal_file *file;
} attach_call;

static aon_result attach_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  const attach_call *call = arguments;
  aon_ledger_head head;
  aon_result result = aon_ledger_fence(ledger, call->id, call->epoch, &head, error);
  return result ? result : aon_ledger_file_name(ledger, head.number, call->file, error);
}

aon_result aon_ledger_file_attach(void *state, const char *id, int64_t epoch, const aon_journal_file *file, aon_error *error) {
  attach_call call = {.id = id, .epoch = epoch, .file = file};
  return aon_ledger_write(state, true, attach_work, &call, error);
}

/* ---- reading ---- */

aon_result aon_ledger_file_find(void *state, const char *id, aon_file_role role, aon_arena *arena, aon_journal_file *ret_file,
                                aon_error *error) {
  aon_ledger *ledger = state;
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_journal_file file = {.role = role};
  aon_ledger_head head;
  aon_result result = aon_ledger_head_of(ledger, id, &head, error);
  if (!result)
    result = aon_ledger_query(ledger, "select id, bytes, until_ms from files where bulk = ? and role = ?", &statement, error, "ii",
                              head.number, (int64_t)role);
  if (!result)
    result = aon_sqlite_step(ledger->database, statement, error);
  if (!result)
    result = aon_ledger_copy(statement, 0, arena, &file.id, error);
  if (result)
    return result;
  file.bytes = (uint64_t)sqlite3_column_int64(statement, 1);
  file.until_ms = sqlite3_column_int64(statement, 2);
  *ret_file = file;
  return AON_OK;
}

aon_result aon_ledger_file_get(void *state, const char *file, uint32_t chunk, aon_buffer *out, aon_error *error) {
  aon_ledger *ledger = state;
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result = aon_ledger_query(ledger,
                                       "select c.bytes from file_chunks c join files f on f.number = c.file where f.id = ? and f.doomed = 0"
                                       " and c.chunk = ?",
                                       &statement, error, "ti", file, (int64_t)chunk);
  if (!result)
    result = aon_sqlite_step(ledger->database, statement, error);
  aon_piece_keyring ring = aon_ledger_ring(ledger);
  return result ? result
                : aon_piece_chunk(&ring, file, chunk, sqlite3_column_blob(statement, 0), (size_t)sqlite3_column_bytes(statement, 0), out,
                                  error);
}

/* ---- taking away ---- */

static aon_result drop_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  return aon_ledger_run(ledger, "update files set doomed = 1 where id = ? and bulk is null", error, "t", arguments);
}

static aon_result doom_ended(aon_ledger *ledger, int64_t now, aon_error *error) {
  aon_result result = aon_ledger_run(ledger,
                                     "update files set doomed = 1, bulk = null where bulk is not null and ((until_ms > 0 and until_ms <= ?)"
                                     " or (role = ? and (select state from bulk where number = files.bulk) not in"
                                     " ('scheduled', 'queued', 'parsing', 'validating', 'planning', 'logged')))",
                                     error, "ii", now, (int64_t)AON_FILE_UPLOAD);
  return result ? result
                : aon_ledger_run(ledger, "update files set doomed = 1 where bulk is null and doomed = 0 and put_ms <= ?", error, "i",
                                 now - AON_FILE_ORPHAN_MS);
}

typedef struct orphan_page {
  int64_t numbers[AON_LEDGER_PAGE], last;
  aon_process owners[AON_LEDGER_PAGE];
  size_t count;
} orphan_page;

static aon_result orphans(aon_ledger *ledger, orphan_page *page, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result = aon_ledger_query(ledger,
                                       "select number, owner_boot, owner_pid, owner_ticks from files where bulk is null and doomed = 0"
                                       " and number > ? order by number limit ?",
                                       &statement, error, "ii", page->last, (int64_t)AON_LEDGER_PAGE);
  page->count = 0;
  while (!result && !(result = aon_sqlite_step(ledger->database, statement, error))) {
    aon_process *owner = &page->owners[page->count];
    *owner = (aon_process){.pid = sqlite3_column_int64(statement, 2), .start_ticks = (uint64_t)sqlite3_column_int64(statement, 3)};
    snprintf(owner->boot_id, sizeof owner->boot_id, "%s", aon_ledger_text(statement, 1));
    page->last = page->numbers[page->count++] = sqlite3_column_int64(statement, 0);
  }
  return result == AON_END ? AON_OK : result;
}

static aon_result doom_orphans(aon_ledger *ledger, aon_error *error) {
  orphan_page page = {.count = AON_LEDGER_PAGE};
  aon_result result = AON_OK;
  while (!result && page.count == AON_LEDGER_PAGE) {
    result = orphans(ledger, &page, error);
    for (size_t i = 0; !result && i < page.count; i++)
      if (ledger->env->ops->process_dead(ledger->env->context, &page.owners[i]))
        result = aon_ledger_run(ledger, "update files set doomed = 1 where number = ?", error, "i", page.numbers[i]);
  }
  return result;
}

static aon_result doom_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  (void)arguments;
  aon_result result = doom_ended(ledger, aon_now_ms(ledger->env), error);
  return result ? result : doom_orphans(ledger, error);
}

typedef struct clear_call {
  int64_t chunks, files;
} clear_call;

static aon_result clear_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  clear_call *call = arguments;
  aon_result result = aon_ledger_run(ledger,
                                     "delete from file_chunks where number in (select c.number from file_chunks c"
                                     " where c.file in (select number from files where doomed = 1) limit ?)",
                                     error, "i", (int64_t)SWEEP_CHUNKS);
  call->chunks = aon_ledger_changes(ledger);
  if (!result && call->chunks < SWEEP_CHUNKS)
    result = aon_ledger_run(ledger, "delete from files where doomed = 1", error, "");
  call->files = result || call->chunks == SWEEP_CHUNKS ? 0 : aon_ledger_changes(ledger);
  return result;
}

aon_result aon_ledger_file_drop(void *state, const char *file, aon_error *error) {
  char copy[64];
  snprintf(copy, sizeof copy, "%s", file);
  return aon_ledger_write(state, false, drop_work, copy, error);
}

/* Mostly there is nothing to do, and then nobody has to wait for it. */
aon_result aon_ledger_sweep_files(void *state, uint64_t *ret_freed, aon_error *error) {
  aon_ledger *ledger = state;
  int64_t there = 0;
  clear_call call = {.chunks = SWEEP_CHUNKS};
  *ret_freed = 0;
  aon_result result = aon_ledger_number(ledger, "select 1 from files limit 1", &there, error, "");
  if (result || !there)
    return result;
  result = aon_ledger_write(ledger, false, doom_work, NULL, error);
  while (!result && call.chunks == SWEEP_CHUNKS) {
    result = aon_ledger_write(ledger, false, clear_work, &call, error);
    *ret_freed += result ? 0 : (uint64_t)call.files;
  }
  return result;
}

aon_result aon_ledger_files_examine(aon_ledger *ledger, aon_buffer *report, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result = aon_ledger_query(ledger,
                                       "select count(case when bulk is not null and role = 0 then 1 end),"
                                       " count(case when bulk is not null and role = 1 then 1 end), coalesce(sum(bytes), 0) from files",
                                       &statement, error, "");
  if (!result)
    result = aon_sqlite_step(ledger->database, statement, error);
  return result ? result
                : aon_buffer_format(report, error, "files: %lld uploads that wait, %lld reports, %lld bytes\n",
                                    (long long)sqlite3_column_int64(statement, 0), (long long)sqlite3_column_int64(statement, 1),
                                    (long long)sqlite3_column_int64(statement, 2));
}
