/* A ledger that moves to another journal, and one that another moves into.
 * Invariant: what goes over is one state of the source; the target has all of it or, after any failure, is as empty as it was. */
#include <stdlib.h>
#include <string.h>

#include "journal/copy.h"
#include "journal/sqlite_ledger.h"

/* ---- out ---- */

typedef struct dump_call {
  aon_copy_put put;
  void *context;
} dump_call;

static void cell_from(sqlite3_stmt *statement, int column, char type, aon_copy_cell *cell) {
  *cell = (aon_copy_cell){0};
  if (sqlite3_column_type(statement, column) == SQLITE_NULL)
    return;
  cell->type = type == 'o' ? 'i' : type;
  if (cell->type == 'i')
    cell->number = sqlite3_column_int64(statement, column);
  else if (cell->type == 't')
    cell->bytes = sqlite3_column_text(statement, column);
  else
    cell->bytes = sqlite3_column_blob(statement, column);
  if (cell->type != 'i') {
    cell->length = (size_t)sqlite3_column_bytes(statement, column);
    cell->bytes = cell->bytes ? cell->bytes : "";
  }
}

static aon_result dump_rows(aon_ledger *ledger, const dump_call *call, aon_copy_table table, const char *sql, aon_error *error) {
  sqlite3_stmt *statement = NULL;
  const char *types = aon_copy_forms[table].types;
  aon_result result = aon_sqlite_prepare(ledger->database, sql, &statement, error);
  while (!result && !(result = aon_sqlite_step(ledger->database, statement, error))) {
    aon_copy_cell cells[AON_COPY_CELLS_MAX];
    for (int i = 0; types[i]; i++)
      cell_from(statement, i, types[i], &cells[i]);
    result = call->put(call->context, table, cells, error);
  }
  sqlite3_finalize(statement);
  return result == AON_END ? AON_OK : result;
}

static int by_place(const void *a, const void *b) {
  const aon_ledger_entry *left = a, *right = b;
  return left->at < right->at ? -1 : left->at > right->at;
}

static aon_result dump_run(const dump_call *call, int64_t bulk, int64_t first, bool shared, const aon_ledger_locks_run *run,
                           aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer list = {0};
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < run->count; i++) {
    aon_ledger_entry entry = {.hash = aon_ledger_run_hash(run, i), .at = aon_ledger_run_at(run, i)};
    result = aon_buffer_append(&list, &entry, sizeof entry, error);
  }
  aon_ledger_entry *entries = (aon_ledger_entry *)(void *)list.data;
  if (!result && run->count)
    qsort(entries, run->count, sizeof *entries, by_place);
  for (size_t i = 0; !result && i < run->count; i++) {
    int64_t sequence = entries[i].at == AON_LEDGER_CLAIM ? -1 : first + entries[i].at;
    aon_copy_cell cells[] = {
        {'i', bulk, NULL, 0}, {'i', sequence, NULL, 0}, {'i', (int64_t)entries[i].hash, NULL, 0}, {'i', shared, NULL, 0}};
    result = call->put(call->context, AON_COPY_LOCKS, cells, error);
  }
  return result;
}

/* Only of those that hold documents still: the others' only take room. */
static aon_result dump_locks(aon_ledger *ledger, const dump_call *call, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result = aon_ledger_query(
      ledger,
      "select r.bulk, r.first, r.shared, r.hashes from lock_runs r join bulk b on b.number = r.bulk where b.holds = 1 or exists"
      " (select 1 from conflicts c where c.bulk = b.number and c.watched = 0) order by r.bulk, r.shared, r.first, r.number",
      &statement, error, "");
  while (!result && !(result = aon_sqlite_step(ledger->database, statement, error))) {
    aon_ledger_locks_run run;
    result = aon_ledger_run_of(statement, 3, &run, error);
    if (!result)
      result = dump_run(call, sqlite3_column_int64(statement, 0), sqlite3_column_int64(statement, 1),
                        sqlite3_column_int64(statement, 2) != 0, &run, error);
  }
  return result == AON_END ? AON_OK : result;
}

static aon_result dump_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  const dump_call *call = arguments;
  aon_result result = AON_OK;
  for (int table = 0; !result && table < AON_COPY_TABLES; table++) {
    AON_BUFFER_CLEANUP aon_buffer sql = {0};
    const aon_copy_form *form = &aon_copy_forms[table];
    if (table == AON_COPY_LOCKS) {
      result = dump_locks(ledger, call, error);
      continue;
    }
    result = table == AON_COPY_EPOCH ? aon_buffer_text(&sql, "select epoch from lock_epoch", error)
                                     : aon_buffer_format(&sql, error, "select %s from %s order by 1, 2", form->columns, form->name);
    if (!result)
      result = dump_rows(ledger, call, (aon_copy_table)table, sql.data, error);
  }
  return result;
}

aon_result aon_ledger_dump(void *state, aon_copy_put put, void *context, aon_error *error) {
  dump_call call = {.put = put, .context = context};
  return aon_ledger_read(state, dump_work, &call, error);
}

/* ---- in ---- */

typedef struct load_call {
  aon_ledger *ledger;
  aon_copy_feed feed;
  void *feed_context;
  sqlite3_stmt *insert; /* into the table of the last row … */
  aon_copy_table table; /* … which is this one */
  aon_buffer entries;   /* locks of one segment, or claims, that are gathered … */
  int64_t bulk, first;  /* … for a run of this bulk operation, from this sequence … */
  uint32_t count;       /* … to so many after it; 0: claims */
  bool shared;
} load_call;

static aon_result open_insert(load_call *call, aon_copy_table table, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  const aon_copy_form *form = &aon_copy_forms[table];
  sqlite3_finalize(call->insert);
  call->insert = NULL;
  call->table = table;
  aon_result result = table == AON_COPY_EPOCH ? aon_buffer_text(&sql, "update lock_epoch set epoch = ?", error)
                                              : aon_buffer_format(&sql, error, "insert into %s (%s) values (?", form->name, form->columns);
  for (size_t i = 1; !result && table != AON_COPY_EPOCH && form->types[i]; i++)
    result = aon_buffer_text(&sql, ", ?", error);
  if (!result && table != AON_COPY_EPOCH)
    result = aon_buffer_text(&sql, ")", error);
  return result ? result : aon_sqlite_prepare(call->ledger->database, sql.data, &call->insert, error);
}

static aon_result put_row(load_call *call, aon_copy_table table, const aon_copy_cell *cells, aon_error *error) {
  aon_result result = call->insert && call->table == table ? AON_OK : open_insert(call, table, error);
  if (result)
    return result;
  for (int i = 0; aon_copy_forms[table].types[i]; i++) {
    const aon_copy_cell *cell = &cells[i];
    if (!cell->type)
      sqlite3_bind_null(call->insert, i + 1);
    else if (cell->type == 'i')
      sqlite3_bind_int64(call->insert, i + 1, cell->number);
    else if (cell->type == 't')
      sqlite3_bind_text64(call->insert, i + 1, cell->bytes, cell->length, SQLITE_STATIC, SQLITE_UTF8);
    else
      sqlite3_bind_blob64(call->insert, i + 1, cell->bytes, cell->length, SQLITE_STATIC);
  }
  result = aon_sqlite_run(call->ledger->database, call->insert, error);
  sqlite3_reset(call->insert);
  return result;
}

static int by_hash(const void *a, const void *b) {
  const aon_ledger_entry *left = a, *right = b;
  if (left->hash != right->hash)
    return left->hash < right->hash ? -1 : 1;
  return left->at < right->at ? -1 : left->at > right->at;
}

static aon_result end_run(load_call *call, aon_error *error) {
  size_t count = call->entries.length / sizeof(aon_ledger_entry);
  aon_ledger_entry *entries = (aon_ledger_entry *)(void *)call->entries.data;
  if (!count)
    return AON_OK;
  qsort(entries, count, sizeof *entries, by_hash);
  aon_result result =
      aon_ledger_run_keep(call->ledger, call->bulk, call->first, entries, count, 0, call->count, call->count == 0, call->shared, error);
  aon_buffer_clear(&call->entries);
  return result;
}

static aon_result begin_run(load_call *call, int64_t bulk, int64_t sequence, bool shared, aon_error *error) {
  aon_ledger_segment segment = {0};
  aon_result result = end_run(call, error);
  if (!result && sequence >= 0)
    result = aon_ledger_segment_find(call->ledger, bulk, sequence, &segment, error);
  if (result == AON_END)
    return aon_fail(error, AON_CORRUPT, "corrupt",
                    "The journal has a lock of an operation that it doesn't have. Restore it from a backup.");
  call->bulk = bulk;
  call->first = segment.first;
  call->count = segment.count;
  call->shared = shared;
  return result;
}

static aon_result put_lock(load_call *call, const aon_copy_cell *cells, aon_error *error) {
  int64_t bulk = cells[0].number, sequence = cells[1].number;
  bool claim = sequence < 0, shared = cells[3].number != 0;
  bool same = call->entries.length && call->entries.length < AON_LEDGER_SCRATCH_BYTES && call->bulk == bulk && call->shared == shared &&
              claim == (call->count == 0) && (claim || (sequence >= call->first && sequence < call->first + call->count));
  aon_result result = same ? AON_OK : begin_run(call, bulk, sequence, shared, error);
  aon_ledger_entry entry = {
      .hash = (uint64_t)cells[2].number, .at = claim ? AON_LEDGER_CLAIM : (uint32_t)(sequence - call->first), .shared = shared};
  return result ? result : aon_buffer_append(&call->entries, &entry, sizeof entry, error);
}

static aon_result load_put(void *context, aon_copy_table table, const aon_copy_cell *cells, aon_error *error) {
  load_call *call = context;
  if (table == AON_COPY_LOCKS)
    return put_lock(call, cells, error);
  aon_result result = end_run(call, error);
  return result ? result : put_row(call, table, cells, error);
}

static aon_result load_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  load_call *call = arguments;
  int64_t any = 0;
  aon_result result =
      aon_ledger_number(ledger, "select 1 where exists (select 1 from bulk) or exists (select 1 from events)", &any, error, "");
  if (!result && any)
    return aon_fail(error, AON_USAGE, "journal_not_empty", "The journal “%s” has bulk operations already. Name one that is new.",
                    ledger->location);
  if (!result)
    result = aon_ledger_run(ledger, "delete from keys", error, "");
  aon_buffer_clear(&call->entries);
  if (!result)
    result = call->feed(call->feed_context, load_put, call, error);
  if (!result)
    result = end_run(call, error);
  sqlite3_finalize(call->insert);
  call->insert = NULL;
  return result;
}

aon_result aon_ledger_load(void *state, aon_copy_feed feed, void *feed_context, aon_error *error) {
  load_call call = {.ledger = state, .feed = feed, .feed_context = feed_context};
  aon_result result = aon_ledger_write(state, true, load_work, &call, error);
  aon_buffer_release(&call.entries);
  return result;
}
