/* A register that moves to another journal, and one that another moves into.
 * Invariant: what goes over is one state of the source; the target has all of it or, after any failure, is as empty as it was. */
#include <stdlib.h>
#include <string.h>

#include "journal/copy.h"
#include "journal/postgresql_register.h"

#define ROWS 16 /* read or written at once; a row of the log has megabytes */

/* ---- out ---- */

/* In the order of aon_copy_forms; $1: rows to leave out at the beginning, $2: how many to read. The numbers of bulk operations name their
 * logs in the other journal. */
static const char *const selections[AON_COPY_TABLES] = {
    [AON_COPY_KEYS] = "select number, name, since_ms from aon_journal_keys where number > $1 order by number limit $2",
    [AON_COPY_NAMES] = "select n.number, b.number, n.kind, n.name from aon_journal_names n join aon_journal_bulk b on b.log = n.log"
                       " where n.number > $1 order by n.number limit $2",
    [AON_COPY_BATCHES] = "select number, bulk, store, attempt, batch, first, last, status, at_ms, unanswered from aon_journal_batches"
                         " order by number offset $1 limit $2",
    [AON_COPY_CONFLICTS] =
        "select bulk, sequence, hash, store, collection, document_id, code, sentence, paths, choice, watch_until_ms, since_ms,"
        " watched from aon_journal_conflicts order by bulk, sequence offset $1 limit $2",
    [AON_COPY_GENERATIONS] = "select store, generation from aon_journal_generations order by store offset $1 limit $2",
    [AON_COPY_EVENTS] =
        "select number, bulk_id, at_ms, who, what, detail from aon_journal_events where number > $1 order by number limit $2",
    [AON_COPY_FILES] =
        "select number, id, bulk, role, bytes, put_ms, until_ms, owner_boot, owner_pid, owner_ticks, doomed from aon_journal_files"
        " where number > $1 order by number limit $2",
    [AON_COPY_CHUNKS] = "select file, chunk, bytes from aon_journal_file_chunks order by file, chunk offset $1 limit $2",
    [AON_COPY_EPOCH] = "select last_value from aon_journal_epochs offset $1 limit $2",
};

static bool by_number(aon_copy_table table) {
  return table == AON_COPY_KEYS || table == AON_COPY_BULK || table == AON_COPY_NAMES || table == AON_COPY_EVENTS || table == AON_COPY_FILES;
}

static void cell_from(const aon_register_call *call, int row, int column, char type, aon_copy_cell *cell) {
  *cell = (aon_copy_cell){0};
  if (aon_register_null(call, 0, row, column))
    return;
  cell->type = type == 'o' ? 'i' : type;
  if (cell->type == 'i') {
    cell->number = aon_register_int(call, 0, row, column);
  } else {
    cell->bytes = aon_register_text(call, 0, row, column);
    cell->length = aon_register_length(call, 0, row, column);
  }
}

/* Hands the rows of a result over; *ret_rows: how many. */
static aon_result give(const aon_register_call *call, aon_copy_table table, aon_copy_put put, void *context, int *ret_rows,
                       aon_error *error) {
  const char *types = aon_copy_forms[table].types;
  aon_result result = AON_OK;
  *ret_rows = aon_register_rows(call, 0);
  for (int row = 0; !result && row < *ret_rows; row++) {
    aon_copy_cell cells[AON_COPY_CELLS_MAX];
    for (int i = 0; types[i]; i++)
      cell_from(call, row, i, types[i], &cells[i]);
    result = put(context, table, cells, error);
  }
  return result;
}

static aon_result dump_table(aon_register *r, aon_copy_table table, const char *sql, aon_copy_put put, void *context, aon_error *error) {
  aon_result result = AON_OK;
  int64_t at = 0;
  for (int rows = ROWS; !result && rows == ROWS;) {
    AON_REGISTER_CALL call = {0};
    result = aon_register_ask(r, &call, "copying", sql, error, "ii", at, (int64_t)ROWS);
    if (!result)
      result = give(&call, table, put, context, &rows, error);
    if (!result && rows)
      at = by_number(table) ? aon_register_int(&call, 0, rows - 1, 0) : at + rows;
  }
  return result;
}

static aon_result dump_bulk(aon_register *r, aon_copy_put put, void *context, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  aon_result result = aon_buffer_format(&sql, error, "select %s from aon_journal_bulk where number > $1 order by number limit $2",
                                        aon_copy_forms[AON_COPY_BULK].columns);
  return result ? result : dump_table(r, AON_COPY_BULK, sql.data, put, context, error);
}

/* Pieces and locks are many: each page begins behind the last row of the one before. */
static aon_result dump_segments(aon_register *r, aon_copy_put put, void *context, aon_error *error) {
  aon_result result = AON_OK;
  int64_t bulk = 0, first = -1;
  for (int rows = ROWS; !result && rows == ROWS;) {
    AON_REGISTER_CALL call = {0};
    result = aon_register_ask(
        r, &call, "copying",
        "select b.number, s.first, s.count, s.sealed, s.operations_sum, s.images_sum, s.operations, s.images from aon_journal_bulk b"
        " join aon_journal_segments s on s.log = b.log where (b.number, s.first) > ($1, $2) order by b.number, s.first limit $3",
        error, "iii", bulk, first, (int64_t)ROWS);
    if (!result)
      result = give(&call, AON_COPY_SEGMENTS, put, context, &rows, error);
    if (!result && rows) {
      bulk = aon_register_int(&call, 0, rows - 1, 0);
      first = aon_register_int(&call, 0, rows - 1, 1);
    }
  }
  return result;
}

#define LOCK_ROWS 8192

static aon_result dump_locks_of(aon_register *r, int64_t bulk, bool shared, aon_copy_put put, void *context, aon_error *error) {
  aon_result result = AON_OK;
  int64_t sequence = INT64_MIN, hash = INT64_MIN;
  for (int rows = LOCK_ROWS; !result && rows == LOCK_ROWS;) {
    AON_REGISTER_CALL call = {0};
    result =
        aon_register_ask(r, &call, "copying",
                         "select b.number, l.sequence, l.hash, l.shared from aon_journal_bulk b join aon_journal_locks l on l.log = b.log"
                         " where b.number = $1 and l.shared = $2 and (l.sequence, l.hash) > ($3, $4) order by l.sequence, l.hash limit $5",
                         error, "ioiii", bulk, (int)shared, sequence, hash, (int64_t)LOCK_ROWS);
    if (!result)
      result = give(&call, AON_COPY_LOCKS, put, context, &rows, error);
    if (!result && rows) {
      sequence = aon_register_int(&call, 0, rows - 1, 1);
      hash = aon_register_int(&call, 0, rows - 1, 2);
    }
  }
  return result;
}

/* Only of those that hold documents still: the others' only take room. */
static aon_result dump_locks(aon_register *r, aon_copy_put put, void *context, aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_result result = aon_register_ask(r, &call, "copying",
                                       "select number from aon_journal_bulk b where holds or exists (select from aon_journal_conflicts c"
                                       " where c.bulk = b.number and not c.watched) order by number",
                                       error, "");
  int rows = result ? 0 : aon_register_rows(&call, 0);
  for (int row = 0; !result && row < rows; row++)
    for (int shared = 0; !result && shared < 2; shared++)
      result = dump_locks_of(r, aon_register_int(&call, 0, row, 0), shared != 0, put, context, error);
  return result;
}

typedef struct dump_call {
  aon_copy_put put;
  void *context;
} dump_call;

static aon_result dump_work(aon_register *r, void *arguments, aon_error *error) {
  const dump_call *call = arguments;
  aon_result result = AON_OK;
  for (int table = 0; !result && table < AON_COPY_TABLES; table++)
    result = table == AON_COPY_BULK       ? dump_bulk(r, call->put, call->context, error)
             : table == AON_COPY_SEGMENTS ? dump_segments(r, call->put, call->context, error)
             : table == AON_COPY_LOCKS    ? dump_locks(r, call->put, call->context, error)
                                          : dump_table(r, (aon_copy_table)table, selections[table], call->put, call->context, error);
  return result;
}

/* Not begun again where the connection breaks: some rows have been handed over. */
aon_result aon_register_dump(void *state, aon_copy_put put, void *context, aon_error *error) {
  aon_register *r = state;
  dump_call call = {.put = put, .context = context};
  return aon_register_read(r, false, dump_work, &call, error);
}

/* ---- in ---- */

static const char *const insertions[AON_COPY_TABLES] = {
    [AON_COPY_KEYS] = "insert into aon_journal_keys (number, name, since_ms) overriding system value values ($1::bigint, $2, $3::bigint)",
    [AON_COPY_BULK] =
        "insert into aon_journal_bulk (number, id, idempotency_key, digest, organization, \"user\", kind, source, pack, undoes, state, worker_boot,"
        " stores, summary, failure, options, epoch, attempt, logged, created_ms, changed_ms, finished_ms, age_ms, lease_until_ms, hold_until_ms,"
        " images_until_ms, worker_pid, worker_ticks, operations, progress, dry_run, hold_on_failure, test_mode, cancel_asked, holds, log, token)"
        " overriding system value values ($1::bigint, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17::bigint,"
        " $18::bigint, $19::bigint, $20::bigint, $21::bigint, $22::bigint, $23::bigint, $24::bigint, $25::bigint, $26::bigint, $27::bigint,"
        " $28::bigint, $29::bigint, $30::bigint, $31::boolean, $32::boolean, $33::boolean, $34::boolean, $35::boolean, $1::bigint, '')",
    [AON_COPY_NAMES] = "insert into aon_journal_names (number, log, kind, name) overriding system value values ($1::bigint, $2::bigint,"
                       " $3::bigint, $4)",
    [AON_COPY_SEGMENTS] = "insert into aon_journal_segments (log, first, count, sealed, operations_sum, images_sum, operations, images)"
                          " values ($1::bigint, $2::bigint, $3::bigint, $4::boolean, $5::bytea, $6::bytea, $7::bytea, $8::bytea)",
    [AON_COPY_LOCKS] =
        "insert into aon_journal_locks (log, sequence, hash, shared) values ($1::bigint, $2::bigint, $3::bigint, $4::boolean)"
        " on conflict do nothing",
    [AON_COPY_BATCHES] = "insert into aon_journal_batches (number, bulk, store, attempt, batch, first, last, status, at_ms, unanswered)"
                         " overriding system value values ($1::bigint, $2::bigint, $3, $4::bigint, $5::bigint, $6::bigint, $7::bigint,"
                         " $8::bigint, $9::bigint, $10::boolean)",
    [AON_COPY_CONFLICTS] = "insert into aon_journal_conflicts (bulk, sequence, hash, store, collection, document_id, code, sentence, paths,"
                           " choice, watch_until_ms, since_ms, watched) values ($1::bigint, $2::bigint, $3::bigint, $4, $5, $6, $7, $8, $9,"
                           " $10, $11::bigint, $12::bigint, $13::boolean)",
    [AON_COPY_GENERATIONS] = "insert into aon_journal_generations (store, generation) values ($1, $2::bigint)",
    [AON_COPY_EVENTS] = "insert into aon_journal_events (number, bulk_id, at_ms, who, what, detail, token) overriding system value"
                        " values ($1::bigint, $2, $3::bigint, $4, $5, $6, 'moved ' || $1)",
    [AON_COPY_FILES] =
        "insert into aon_journal_files (number, id, bulk, role, bytes, put_ms, until_ms, owner_boot, owner_pid, owner_ticks, doomed)"
        " overriding system value values ($1::bigint, $2, $3::bigint, $4::bigint, $5::bigint, $6::bigint, $7::bigint, $8,"
        " $9::bigint, $10::bigint, $11::boolean)",
    [AON_COPY_CHUNKS] = "insert into aon_journal_file_chunks (file, chunk, bytes) values ($1::bigint, $2::bigint, $3::bytea)",
    [AON_COPY_EPOCH] = "select setval('aon_journal_epochs', greatest($1::bigint, 1))",
};

typedef struct load_call {
  aon_register *r;
  aon_copy_feed feed;
  void *feed_context;
  aon_register_call *rows; /* gathered to be sent together */
  size_t bytes;
} load_call;

#define LOAD_STATEMENTS (AON_REGISTER_STATEMENTS / 2)
#define LOAD_BYTES ((size_t)4 << 20)

static aon_result flush(load_call *call, aon_error *error) {
  aon_result result = call->rows->count ? aon_register_run(call->r, call->rows, "copying", error) : AON_OK;
  aon_register_call_end(call->rows);
  *call->rows = (aon_register_call){0};
  call->bytes = 0;
  return result;
}

/* Copies what is borrowed: the rows are sent later. */
static aon_result own_value(load_call *call, const aon_copy_cell *cell, aon_postgresql_value *ret_value, aon_error *error) {
  aon_arena *arena = &call->rows->arena;
  aon_postgresql_value value = {0};
  if (cell->type == 'i')
    value.data = aon_arena_format(arena, "%lld", (long long)cell->number);
  else if (cell->type == 't')
    value.data = aon_arena_text(arena, cell->bytes, cell->length);
  else if (cell->type == 'b') {
    value = (aon_postgresql_value){.data = aon_arena_copy(arena, cell->bytes, cell->length), .length = (int)cell->length, .binary = true};
    call->bytes += cell->length;
  }
  if (cell->type && !value.data)
    return aon_fail_memory(error);
  *ret_value = value;
  return AON_OK;
}

static aon_result load_put(void *context, aon_copy_table table, const aon_copy_cell *cells, aon_error *error) {
  load_call *call = context;
  size_t count = strlen(aon_copy_forms[table].types);
  aon_postgresql_value *values = aon_arena_alloc(&call->rows->arena, count * sizeof *values);
  aon_result result = values ? AON_OK : aon_fail_memory(error);
  for (size_t i = 0; !result && i < count; i++)
    result = own_value(call, &cells[i], &values[i], error);
  if (result)
    return result;
  call->rows->statements[call->rows->count++] =
      (aon_postgresql_statement){.sql = insertions[table], .values = values, .count = count, .binary = true};
  return call->rows->count >= LOAD_STATEMENTS || call->bytes >= LOAD_BYTES ? flush(call, error) : AON_OK;
}

/* Numbers go on behind those that came over. */
static const char *const afterwards[] = {
    "select setval(pg_get_serial_sequence('aon_journal_' || t, 'number'), greatest(n, 1)) from (values"
    " ('bulk', (select max(number) from aon_journal_bulk)), ('names', (select max(number) from aon_journal_names)),"
    " ('batches', (select max(number) from aon_journal_batches)), ('events', (select max(number) from aon_journal_events)),"
    " ('files', (select max(number) from aon_journal_files)), ('keys', (select max(number) from aon_journal_keys))) as of (t, n)",
    "select setval('aon_journal_logs', greatest((select max(log) from aon_journal_bulk), 1))",
};

static aon_result load_work(aon_register *r, void *arguments, aon_error *error) {
  load_call *call = arguments;
  AON_REGISTER_CALL look = {0}, end = {0};
  aon_result result = aon_register_ask(
      r, &look, "copying", "select exists (select from aon_journal_bulk) or exists (select from aon_journal_events)", error, "");
  if (!result && aon_register_int(&look, 0, 0, 0))
    return aon_fail(error, AON_USAGE, "journal_not_empty",
                    "The journal that is to take it all has bulk operations already. Name one that is new.");
  aon_register_call *rows = calloc(1, sizeof *rows);
  if (!rows)
    return aon_fail_memory(error);
  call->rows = rows;
  aon_register_add(rows, "delete from aon_journal_keys", "");
  if (!result)
    result = call->feed(call->feed_context, load_put, call, error);
  if (!result)
    result = flush(call, error);
  aon_register_call_end(rows);
  free(rows);
  for (size_t i = 0; i < sizeof afterwards / sizeof *afterwards; i++)
    aon_register_add(&end, afterwards[i], "");
  return result ? result : aon_register_run(r, &end, "copying", error);
}

aon_result aon_register_load(void *state, aon_copy_feed feed, void *feed_context, aon_error *error) {
  load_call call = {.r = state, .feed = feed, .feed_context = feed_context};
  return aon_register_locked(state, false, load_work, &call, error);
}
