/* Housekeeping of the ledger: room on the disk, a look at its health, a new key. */
#include <string.h>

#include "journal/sqlite_ledger.h"

/* ---- room ---- */

aon_result aon_ledger_room(void *state, uint64_t bytes, aon_error *error) {
  aon_ledger *ledger = state;
  aon_file_info info;
  aon_reserve_fill(&ledger->reserve);
  aon_result result = ledger->env->ops->file_info(ledger->env->context, ledger->location, &info, error);
  if (result)
    return result;
  uint64_t reserve = ledger->reserve.path && !ledger->reserve.there ? ledger->reserve.bytes : 0;
  uint64_t needed = bytes > UINT64_MAX - reserve ? UINT64_MAX : bytes + reserve;
  if (info.free_bytes >= needed)
    return AON_OK;
  return aon_fail(
      error, AON_ENVIRONMENT, "disk_full",
      "The disk of the journal (“%s”) has %llu MiB free, and %llu MiB are needed. Free some space; nothing was changed in any store.",
      ledger->location, (unsigned long long)(info.free_bytes >> 20), (unsigned long long)((needed >> 20) + 1));
}

/* ---- a look at its health ---- */

typedef struct health {
  aon_ledger *ledger;
  aon_buffer *report;
  bool healthy;
} health;

/* A finding that a person must look at. */
static aon_result bad(health *look, const aon_error *found, aon_error *error) {
  look->healthy = false;
  return aon_buffer_format(look->report, error, "%s\n", found->sentence);
}

static aon_result examine_size(health *look, aon_error *error) {
  aon_env *env = look->ledger->env;
  aon_file_info file, wal;
  AON_BUFFER_CLEANUP aon_buffer path = {0};
  aon_result result = aon_buffer_format(&path, error, "%s-wal", look->ledger->location);
  if (!result)
    result = env->ops->file_info(env->context, look->ledger->location, &file, error);
  if (!result)
    result = env->ops->file_info(env->context, path.data, &wal, error);
  if (!result)
    result =
        aon_buffer_format(look->report, error, "journal %s, schema version %d, %llu bytes, write-ahead log %llu bytes, %llu MiB free\n",
                          look->ledger->location, aon_ledger_version(), (unsigned long long)file.size_bytes,
                          (unsigned long long)(wal.exists ? wal.size_bytes : 0), (unsigned long long)(file.free_bytes >> 20));
  return result;
}

static aon_result examine_states(health *look, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result =
      aon_ledger_query(look->ledger, "select state, count(*) from bulk group by state order by min(number)", &statement, error, "");
  while (!result && !(result = aon_sqlite_step(look->ledger->database, statement, error)))
    result = aon_buffer_format(look->report, error, "bulk operations %s: %lld\n", aon_ledger_text(statement, 0),
                               (long long)sqlite3_column_int64(statement, 1));
  return result == AON_END ? AON_OK : result;
}

static aon_result examine_pages(health *look, aon_error *error) {
  sqlite3_stmt *statement = NULL;
  aon_error found = AON_ERROR_INIT;
  aon_result result = aon_sqlite_prepare(look->ledger->database, "pragma quick_check(5)", &statement, &found), wrote = AON_OK;
  while (!wrote && !result && !(result = aon_sqlite_step(look->ledger->database, statement, &found))) {
    const char *line = aon_ledger_text(statement, 0);
    bool whole = line && !strcmp(line, "ok");
    look->healthy = look->healthy && whole;
    wrote = aon_buffer_format(look->report, error, whole ? "its pages are whole\n" : "its pages are damaged: %s\n", line ? line : "");
  }
  sqlite3_finalize(statement);
  if (!wrote && result != AON_END)
    wrote = bad(look, &found, error);
  return wrote;
}

static bool proved(sqlite3_stmt *statement, int column, aon_segment_role role) {
  unsigned char sum[AON_SEGMENT_SUM_BYTES];
  if (sqlite3_column_type(statement, column) == SQLITE_NULL)
    return sqlite3_column_type(statement, column + 1) == SQLITE_NULL;
  const void *bytes = sqlite3_column_blob(statement, column);
  aon_segment_sum(aon_ledger_text(statement, 0), sqlite3_column_int64(statement, 1), role, bytes,
                  (size_t)sqlite3_column_bytes(statement, column), sum);
  const void *stored = sqlite3_column_blob(statement, column + 1);
  return stored && sqlite3_column_bytes(statement, column + 1) == sizeof sum && !memcmp(stored, sum, sizeof sum);
}

static aon_result examine_segments(health *look, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_error found = AON_ERROR_INIT;
  uint64_t segments = 0, damaged = 0;
  char first_damaged[37] = "";
  aon_result result = aon_ledger_query(look->ledger,
                                       "select b.id, s.first, s.operations, s.operations_sum, s.images, s.images_sum from segments s"
                                       " join bulk b on b.number = s.bulk order by s.number",
                                       &statement, &found, "");
  while (!result && !(result = aon_sqlite_step(look->ledger->database, statement, &found))) {
    segments++;
    if (proved(statement, 2, AON_SEGMENT_OPERATIONS_ROLE) && proved(statement, 4, AON_SEGMENT_IMAGES_ROLE))
      continue;
    if (damaged++ == 0)
      snprintf(first_damaged, sizeof first_damaged, "%s", aon_ledger_text(statement, 0));
  }
  if (result != AON_END)
    return bad(look, &found, error);
  look->healthy = look->healthy && damaged == 0;
  if (damaged)
    return aon_buffer_format(look->report, error, "%llu of %llu pieces of the log are damaged, the first one of bulk operation %s\n",
                             (unsigned long long)damaged, (unsigned long long)segments, first_damaged);
  return aon_buffer_format(look->report, error, "all %llu pieces of the log have the right check sum\n", (unsigned long long)segments);
}

static aon_result examine_keys(health *look, aon_error *error) {
  aon_ledger *ledger = look->ledger;
  if (!ledger->key_file)
    return aon_buffer_text(look->report, "no key file is named\n", error);
  aon_keys *keys;
  aon_error found = AON_ERROR_INIT;
  if (aon_keys_read(ledger->env, ledger->key_file, &keys, &found))
    return bad(look, &found, error);
  aon_result result = aon_buffer_format(look->report, error, "key file %s: %zu key%s, the newest is %s\n", ledger->key_file,
                                        aon_keys_count(keys), aon_keys_count(keys) == 1 ? "" : "s", aon_keys_name(keys, 0));
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  if (!result)
    result = aon_ledger_query(ledger, "select name from keys order by number", &statement, error, "");
  while (!result && !(result = aon_sqlite_step(ledger->database, statement, error))) {
    if (aon_keys_has(keys, aon_ledger_text(statement, 0)))
      continue;
    result = aon_buffer_format(look->report, error, "key %s, which was used here, is no longer in the key file\n",
                               aon_ledger_text(statement, 0));
  }
  aon_keys_close(keys);
  return result == AON_END ? AON_OK : result;
}

static aon_result examine_reserve(health *look, aon_error *error) {
  aon_env *env = look->ledger->env;
  aon_file_info info;
  AON_BUFFER_CLEANUP aon_buffer path = {0};
  aon_result result = aon_buffer_format(&path, error, "%s-reserve", look->ledger->location);
  if (!result)
    result = env->ops->file_info(env->context, path.data, &info, error);
  if (result)
    return result;
  return info.exists ? aon_buffer_format(look->report, error, "reserve for a full disk: %llu bytes\n", (unsigned long long)info.size_bytes)
                     : aon_buffer_text(look->report, "reserve for a full disk: none\n", error);
}

static aon_result examine_files(health *look, aon_error *error) { return aon_ledger_files_examine(look->ledger, look->report, error); }

aon_result aon_ledger_examine(void *state, aon_buffer *report, bool *ret_healthy, aon_error *error) {
  aon_ledger *ledger = state;
  health look = {.ledger = ledger, .report = report, .healthy = true};
  if (ledger->absent) {
    aon_result absent = aon_buffer_format(report, error, "journal %s: there is none yet\n", ledger->location);
    if (!absent)
      *ret_healthy = true;
    return absent;
  }
  aon_result (*const looks[])(health *, aon_error *) = {examine_size,  examine_pages, examine_states, examine_segments,
                                                        examine_files, examine_keys,  examine_reserve};
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < sizeof looks / sizeof *looks; i++)
    result = looks[i](&look, error);
  if (!result)
    *ret_healthy = look.healthy;
  return result;
}

/* ---- what is left to look at ---- */

typedef struct stale_page {
  char ids[AON_LEDGER_PAGE][37];
  bool watched[AON_LEDGER_PAGE];
  size_t count;
  int64_t last;
} stale_page;

static aon_result stale_rows(aon_ledger *ledger, stale_page *page, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result =
      aon_ledger_query(ledger,
                       "select b.number, b.id, exists (select 1 from conflicts c where c.bulk = b.number and c.watched = 1)"
                       " from bulk b where b.number > ? and b.holds = 0 and (b.number in"
                       " (select i.number from bulk i where i.images_until_ms > 0 and i.images_until_ms <= ? and i.test_mode = 0"
                       " and i.finished_ms > 0 and not exists (select 1 from conflicts o where o.bulk = i.number))"
                       " or b.number in (select w.bulk from conflicts w where w.watched = 1)) order by b.number limit ?",
                       &statement, error, "iii", page->last, aon_now_ms(ledger->env), (int64_t)AON_LEDGER_PAGE);
  page->count = 0;
  while (!result && !(result = aon_sqlite_step(ledger->database, statement, error))) {
    page->last = sqlite3_column_int64(statement, 0);
    snprintf(page->ids[page->count], sizeof page->ids[0], "%s", aon_ledger_text(statement, 1));
    page->watched[page->count++] = sqlite3_column_int64(statement, 2) != 0;
  }
  return result == AON_END ? AON_OK : result;
}

aon_result aon_ledger_stale(void *state, aon_stale_each each, void *context, aon_error *error) {
  aon_ledger *ledger = state;
  stale_page page = {.count = AON_LEDGER_PAGE};
  aon_result result = AON_OK;
  while (!result && !ledger->absent && page.count == AON_LEDGER_PAGE) {
    result = stale_rows(ledger, &page, error);
    for (size_t i = 0; !result && i < page.count; i++)
      result = each(context, page.ids[i], !page.watched[i], page.watched[i], error);
  }
  return result == AON_END ? AON_OK : result;
}

/* ---- a new key ---- */

/* Within the journal's write lock, so that two rotations at once don't lose one of the keys. */
static aon_result rotate_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  aon_keys **ret_keys = arguments, *before, *keys;
  aon_result result = aon_keys_read(ledger->env, ledger->key_file, &before, error);
  if (result)
    return result;
  result = aon_keys_add(ledger->env, ledger->key_file, before, &keys, error);
  aon_keys_close(before);
  if (result)
    return result;
  aon_keys_close(*ret_keys); /* of an attempt before that found the disk full */
  *ret_keys = keys;
  return aon_ledger_run(ledger, "insert into keys (name, since_ms) values (?, ?)", error, "ti", aon_keys_name(keys, 0),
                        aon_now_ms(ledger->env));
}

aon_result aon_ledger_rotate_key(void *state, aon_error *error) {
  aon_ledger *ledger = state;
  aon_keys *keys = NULL;
  aon_result result = aon_ledger_write(ledger, true, rotate_work, &keys, error);
  if (keys) { /* it stands in the file, also where the journal could not note it */
    aon_keys_close(ledger->keys);
    ledger->keys = keys;
  }
  return result;
}
