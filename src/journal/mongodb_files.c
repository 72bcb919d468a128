/* Files in the docket: uploads that wait for a worker, and reports about them, in chunks.
 *
 * Invariants: a chunk is sealed with the id of its file and its number, so none can be moved; what a bulk operation names was whole in the
 * write that named it; nothing is added to a file that is named or doomed; a doomed file is never named, so its chunks may go in pieces. */
#include <string.h>

#include "journal/mongodb_docket.h"

#define SWEEP_CHUNKS 32 /* that one transaction takes away */

static aon_result file_row(aon_docket *d, const char *file, aon_docket_rows *rows, aon_error *error) {
  return aon_docket_find(d, AON_DOCKET_FILES, BCON_NEW("_id", BCON_UTF8(file)), NULL, rows, "looking for a file", error);
}

static aon_result chunk_key(aon_buffer *key, const char *file, uint32_t chunk, aon_error *error) {
  return aon_buffer_format(key, error, "%s:%08x", file, chunk);
}

/* ---- putting ---- */

typedef struct put_call {
  const char *file;
  const aon_process *owner;
  uint32_t chunk;
  const aon_buffer *sealed;
  size_t length;
} put_call;

static aon_result file_make(aon_docket *d, const put_call *call, aon_error *error) {
  int64_t number = 0;
  aon_result result = aon_docket_next(d, "files", &number, error);
  return result
             ? result
             : aon_docket_insert(d, AON_DOCKET_FILES,
                                 BCON_NEW("_id", BCON_UTF8(call->file), "number", BCON_INT64(number), "bulk", BCON_NULL, "role",
                                          BCON_INT64(0), "bytes", BCON_INT64(0), "put_ms", BCON_INT64(d->now_ms), "until_ms", BCON_INT64(0),
                                          "doomed", BCON_BOOL(false), "owner_boot", BCON_UTF8(call->owner->boot_id), "owner_pid",
                                          BCON_INT64(call->owner->pid), "owner_ticks", BCON_INT64((int64_t)call->owner->start_ticks)),
                                 error);
}

static aon_result put_work(aon_docket *d, void *arguments, aon_error *error) {
  const put_call *call = arguments;
  AON_DOCKET_ROWS rows = {0};
  AON_BUFFER_CLEANUP aon_buffer key = {0};
  int64_t before = (int64_t)call->chunk * (int64_t)AON_FILE_CHUNK_BYTES;
  aon_result result = file_row(d, call->file, &rows, error);
  int64_t bytes = !result && rows.count ? aon_docket_int(&rows.rows[0], "bytes") : 0;
  bool taken = !result && rows.count && (aon_docket_there(&rows.rows[0], "bulk") || aon_docket_int(&rows.rows[0], "doomed"));
  if (!result && (taken || bytes < before || bytes > before + (int64_t)AON_FILE_CHUNK_BYTES))
    return aon_fail(error, AON_USAGE, "wrong_chunk", "Chunk %u of a file in the journal came out of its order, or too late.", call->chunk);
  if (!result && !rows.count)
    result = file_make(d, call, error);
  if (!result)
    result = chunk_key(&key, call->file, call->chunk, error);
  if (!result)
    result =
        aon_docket_update(d, AON_DOCKET_CHUNKS, BCON_NEW("_id", BCON_UTF8(key.data)),
                          BCON_NEW("$set", "{", "file", BCON_UTF8(call->file), "chunk", BCON_INT64(call->chunk), "bytes",
                                   BCON_BIN(BSON_SUBTYPE_BINARY, (const uint8_t *)call->sealed->data, (uint32_t)call->sealed->length), "}"),
                          true, NULL, error);
  return result ? result
                : aon_docket_update(
                      d, AON_DOCKET_FILES, BCON_NEW("_id", BCON_UTF8(call->file)),
                      BCON_NEW("$set", "{", "bytes", BCON_INT64(before + (int64_t)call->length), "put_ms", BCON_INT64(d->now_ms), "}"),
                      false, NULL, error);
}

aon_result aon_docket_file_put(void *state, const char *file, const aon_process *owner, uint32_t chunk, const void *bytes, size_t length,
                               aon_error *error) {
  aon_docket *d = state;
  AON_BUFFER_CLEANUP aon_buffer sealed = {0};
  aon_result result = aon_keys_seal(d->env, d->keys, file, chunk, bytes, length, &sealed, error);
  put_call call = {.file = file, .owner = owner, .chunk = chunk, .sealed = &sealed, .length = length};
  return result ? result : aon_docket_write(d, "keeping a file", put_work, &call, error);
}

/* ---- naming ---- */

aon_result aon_docket_file_incomplete(int64_t there, uint64_t wanted, aon_error *error) {
  return aon_fail(error, AON_USAGE, "incomplete_file",
                  "Of the file that was uploaded %lld bytes are in the journal, not %llu. Upload it again; nothing was queued.",
                  (long long)there, (unsigned long long)wanted);
}

aon_result aon_docket_file_look(aon_docket *d, const char *file, uint64_t bytes, bool *ret_whole, int64_t *ret_there, int64_t *ret_owner,
                                aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  aon_result result = file_row(d, file, &rows, error);
  *ret_there = *ret_owner = 0;
  if (!result && rows.count && !aon_docket_int(&rows.rows[0], "doomed")) {
    *ret_there = aon_docket_int(&rows.rows[0], "bytes");
    *ret_owner = aon_docket_int(&rows.rows[0], "bulk");
  }
  *ret_whole = !result && rows.count && !*ret_owner && !aon_docket_int(&rows.rows[0], "doomed") && *ret_there == (int64_t)bytes;
  return result;
}

typedef struct attach_call {
  const char *id;
  int64_t epoch;
  const aon_journal_file *file;
  int tries;
} attach_call;

static aon_result attach_work(aon_docket *d, void *arguments, aon_error *error) {
  attach_call *call = arguments;
  const aon_journal_file *file = call->file;
  aon_docket_head head;
  bool whole;
  int64_t there, owner;
  call->tries++;
  aon_result result = aon_docket_fence(d, call->id, call->epoch, &head, error);
  if (!result)
    result = aon_docket_file_look(d, file->id, file->bytes, &whole, &there, &owner, error);
  if (result)
    return result;
  if (call->tries > 1 && owner == head.number) /* by a try whose reply was lost */
    return AON_OK;
  if (!whole)
    return aon_docket_file_incomplete(there, file->bytes, error);
  result = aon_docket_touch(d, call->id, call->epoch, NULL, NULL, error);
  if (!result)
    result = aon_docket_update_all(d, AON_DOCKET_FILES, BCON_NEW("bulk", BCON_INT64(head.number), "role", BCON_INT64(file->role)),
                                   BCON_NEW("$set", "{", "bulk", BCON_NULL, "doomed", BCON_BOOL(true), "}"), NULL, error);
  return result ? result
                : aon_docket_update(d, AON_DOCKET_FILES, BCON_NEW("_id", BCON_UTF8(file->id)),
                                    BCON_NEW("$set", "{", "bulk", BCON_INT64(head.number), "role", BCON_INT64(file->role), "until_ms",
                                             BCON_INT64(file->until_ms), "}"),
                                    false, NULL, error);
}

aon_result aon_docket_file_attach(void *state, const char *id, int64_t epoch, const aon_journal_file *file, aon_error *error) {
  attach_call call = {.id = id, .epoch = epoch, .file = file};
  return aon_docket_write(state, "naming a file", attach_work, &call, error);
}

/* ---- reading ---- */

aon_result aon_docket_file_find(void *state, const char *id, aon_file_role role, aon_arena *arena, aon_journal_file *ret_file,
                                aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  aon_docket_head head;
  aon_journal_file file = {.role = role};
  aon_result result = aon_docket_head_of(state, id, &head, error);
  if (!result)
    result = aon_docket_find(state, AON_DOCKET_FILES, BCON_NEW("bulk", BCON_INT64(head.number), "role", BCON_INT64(role)), NULL, &rows,
                             "looking for a file", error);
  if (result || !rows.count)
    return result ? result : AON_END;
  file.bytes = (uint64_t)aon_docket_int(&rows.rows[0], "bytes");
  file.until_ms = aon_docket_int(&rows.rows[0], "until_ms");
  result = aon_docket_copy(&rows.rows[0], "_id", arena, &file.id, error);
  if (!result)
    *ret_file = file;
  return result;
}

aon_result aon_docket_file_get(void *state, const char *file, uint32_t chunk, aon_buffer *out, aon_error *error) {
  AON_DOCKET_ROWS files = {0}, chunks = {0};
  AON_BUFFER_CLEANUP aon_buffer key = {0};
  aon_piece_keyring ring = aon_docket_ring(state);
  aon_result result = file_row(state, file, &files, error);
  if (!result && (!files.count || aon_docket_int(&files.rows[0], "doomed")))
    return AON_END;
  if (!result)
    result = chunk_key(&key, file, chunk, error);
  if (!result)
    result = aon_docket_find(state, AON_DOCKET_CHUNKS, BCON_NEW("_id", BCON_UTF8(key.data)), NULL, &chunks, "reading a file", error);
  if (result || !chunks.count)
    return result ? result : AON_END;
  size_t length;
  const void *sealed = aon_docket_bytes(&chunks.rows[0], "bytes", &length);
  return aon_piece_chunk(&ring, file, chunk, sealed, length, out, error);
}

/* ---- taking away ---- */

typedef struct doom_call {
  bson_t *filter; /* of files; those that are still so are doomed */
} doom_call;

static aon_result doom_work(aon_docket *d, void *arguments, aon_error *error) {
  const doom_call *call = arguments;
  return aon_docket_update_all(d, AON_DOCKET_FILES, bson_copy(call->filter),
                               BCON_NEW("$set", "{", "bulk", BCON_NULL, "doomed", BCON_BOOL(true), "}"), NULL, error);
}

static aon_result doom(aon_docket *d, bson_t *filter, aon_error *error) {
  doom_call call = {filter};
  aon_result result = aon_docket_write(d, "giving up a file", doom_work, &call, error);
  bson_destroy(filter);
  return result;
}

aon_result aon_docket_file_drop(void *state, const char *file, aon_error *error) {
  return doom(state, BCON_NEW("_id", BCON_UTF8(file), "bulk", BCON_NULL, "doomed", BCON_BOOL(false)), error);
}

/* Whether a file has lost what it was kept for. */
static aon_result ended(aon_docket *d, const aon_docket_row *row, int64_t now_ms, bool *ret_ended, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  const char *boot = aon_docket_text(row, "owner_boot");
  aon_process owner = {.pid = aon_docket_int(row, "owner_pid"), .start_ticks = (uint64_t)aon_docket_int(row, "owner_ticks")};
  snprintf(owner.boot_id, sizeof owner.boot_id, "%s", boot ? boot : "");
  int64_t until_ms = aon_docket_int(row, "until_ms");
  *ret_ended = until_ms > 0 && until_ms <= now_ms;
  if (!aon_docket_there(row, "bulk")) {
    *ret_ended = aon_docket_int(row, "put_ms") <= now_ms - AON_FILE_ORPHAN_MS || d->env->ops->process_dead(d->env->context, &owner);
    return AON_OK;
  }
  if (*ret_ended || aon_docket_int(row, "role") != AON_FILE_UPLOAD)
    return AON_OK;
  aon_state state;
  aon_result result = aon_docket_find(d, AON_DOCKET_BULK, BCON_NEW("number", BCON_INT64(aon_docket_int(row, "bulk"))), NULL, &rows,
                                      "sweeping files", error);
  const char *name = !result && rows.count ? aon_docket_text(&rows.rows[0], "state") : NULL;
  *ret_ended = name && aon_state_parse(name, &state) && state > AON_LOGGED;
  return result;
}

static aon_result doom_page(aon_docket *d, int64_t now_ms, int64_t *last, bool *ret_more, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  aon_result result =
      aon_docket_find(d, AON_DOCKET_FILES, BCON_NEW("number", "{", "$gt", BCON_INT64(*last), "}", "doomed", BCON_BOOL(false)),
                      aon_docket_sorted("number", 1, AON_DOCKET_PAGE), &rows, "sweeping files", error);
  for (size_t i = 0; !result && i < rows.count; i++) {
    const aon_docket_row *row = &rows.rows[i];
    bool over;
    *last = aon_docket_int(row, "number");
    result = ended(d, row, now_ms, &over, error);
    if (!result && over && aon_docket_there(row, "bulk"))
      result = doom(d, BCON_NEW("_id", BCON_UTF8(aon_docket_text(row, "_id")), "bulk", BCON_INT64(aon_docket_int(row, "bulk"))), error);
    else if (!result && over)
      result = doom(
          d,
          BCON_NEW("_id", BCON_UTF8(aon_docket_text(row, "_id")), "bulk", BCON_NULL, "put_ms", BCON_INT64(aon_docket_int(row, "put_ms"))),
          error);
  }
  *ret_more = rows.count == AON_DOCKET_PAGE;
  return result;
}

typedef struct clear_call {
  bool more;
  uint64_t freed;
} clear_call;

/* One piece of what is doomed; a file goes with its last chunk. */
static aon_result clear_work(aon_docket *d, void *arguments, aon_error *error) {
  clear_call *call = arguments;
  AON_DOCKET_ROWS files = {0}, chunks = {0};
  *call = (clear_call){0};
  aon_result result = aon_docket_find(d, AON_DOCKET_FILES, BCON_NEW("doomed", BCON_BOOL(true)), BCON_NEW("limit", BCON_INT64(1)), &files,
                                      "sweeping files", error);
  if (result || !files.count)
    return result;
  const char *file = aon_docket_text(&files.rows[0], "_id");
  bson_t *options = aon_docket_sorted("_id", 1, SWEEP_CHUNKS);
  BCON_APPEND(options, "projection", "{", "_id", BCON_INT32(1), "}");
  result = aon_docket_find(d, AON_DOCKET_CHUNKS, BCON_NEW("file", BCON_UTF8(file)), options, &chunks, "sweeping files", error);
  call->more = true;
  if (!result && chunks.count)
    return aon_docket_delete(d, AON_DOCKET_CHUNKS,
                             BCON_NEW("_id", "{", "$gte", BCON_UTF8(aon_docket_text(&chunks.rows[0], "_id")), "$lte",
                                      BCON_UTF8(aon_docket_text(&chunks.rows[chunks.count - 1], "_id")), "}"),
                             NULL, error);
  call->freed = 1;
  return result ? result : aon_docket_delete(d, AON_DOCKET_FILES, BCON_NEW("_id", BCON_UTF8(file)), NULL, error);
}

/* Mostly there is nothing to do, and then nothing is written. */
aon_result aon_docket_sweep_files(void *state, uint64_t *ret_freed, aon_error *error) {
  aon_docket *d = state;
  AON_DOCKET_ROWS any = {0};
  int64_t last = 0, now_ms;
  *ret_freed = 0;
  aon_result result = aon_docket_find(d, AON_DOCKET_FILES, bson_new(), BCON_NEW("limit", BCON_INT64(1)), &any, "sweeping files", error);
  if (result || !any.count)
    return result;
  result = aon_docket_now(d, &now_ms, error);
  for (bool more = true; !result && more;)
    result = doom_page(d, now_ms, &last, &more, error);
  for (clear_call call = {.more = true}; !result && call.more;) {
    result = aon_docket_write(d, "sweeping files", clear_work, &call, error);
    *ret_freed += result ? 0 : call.freed;
  }
  return result;
}

aon_result aon_docket_files_examine(aon_docket *d, aon_buffer *report, aon_error *error) {
  long long uploads = 0, reports = 0, bytes = 0, last = 0;
  aon_result result = AON_OK;
  for (bool more = true; !result && more;) {
    AON_DOCKET_ROWS rows = {0};
    result = aon_docket_find(d, AON_DOCKET_FILES, BCON_NEW("number", "{", "$gt", BCON_INT64(last), "}"),
                             aon_docket_sorted("number", 1, AON_DOCKET_PAGE), &rows, "examining it", error);
    for (size_t i = 0; i < rows.count; i++) {
      bool named = aon_docket_there(&rows.rows[i], "bulk"), report_of = aon_docket_int(&rows.rows[i], "role") == AON_FILE_REPORT;
      last = aon_docket_int(&rows.rows[i], "number");
      uploads += named && !report_of;
      reports += named && report_of;
      bytes += aon_docket_int(&rows.rows[i], "bytes");
    }
    more = rows.count == AON_DOCKET_PAGE;
  }
  return result ? result
                : aon_buffer_format(report, error, "files: %lld uploads that wait, %lld reports, %lld bytes\n", uploads, reports, bytes);
}
