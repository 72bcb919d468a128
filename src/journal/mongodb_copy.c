/* A docket that moves to another journal, and one that another moves into.
 * Invariant: what goes over is one state of the source, or it is said that it was not; the target has all of it or, after any failure, is
 * as empty as it was: until all is there it says of itself that it is none, since no transaction could hold a whole journal. */
#include <stdlib.h>
#include <string.h>

#include "journal/copy.h"
#include "journal/mongodb_docket.h"

#define ROWS 16 /* read at once; a piece of the log has megabytes */
#define LOAD_ROWS 256
#define LOAD_BYTES ((size_t)4 << 20)
#define LOADING_MS 120000 /* without a sign of life a copy counts as broken off */
#define COLUMN_BYTES 32

typedef struct table_form {
  const char *collection, *by, *key; /* key: the column that is _id */
} table_form;

static const table_form tables[AON_COPY_TABLES] = {
    [AON_COPY_KEYS] = {AON_DOCKET_KEYS, "number", "name"},
    [AON_COPY_BULK] = {AON_DOCKET_BULK, "number", "id"},
    [AON_COPY_BATCHES] = {AON_DOCKET_BATCHES, "_id", NULL},
    [AON_COPY_CONFLICTS] = {AON_DOCKET_CONFLICTS, "_id", NULL},
    [AON_COPY_GENERATIONS] = {AON_DOCKET_GENERATIONS, "_id", "store"},
    [AON_COPY_EVENTS] = {AON_DOCKET_EVENTS, "number", NULL},
    [AON_COPY_FILES] = {AON_DOCKET_FILES, "number", "id"},
};

/* The next name of a list of columns; false: there is none. */
static bool next_column(const char **columns, char ret_name[COLUMN_BYTES]) {
  const char *from = *columns + strspn(*columns, ", \"");
  size_t length = strcspn(from, ",\"");
  if (!length)
    return false;
  snprintf(ret_name, COLUMN_BYTES, "%.*s", (int)length, from);
  *columns = from + length;
  return true;
}

/* ---- out ---- */

typedef struct dump_call {
  aon_docket *d;
  aon_copy_put put;
  void *context;
  int64_t running; /* numbers that count through the whole table there, and only within a bulk operation here */
} dump_call;

static aon_copy_cell number_cell(int64_t number) { return (aon_copy_cell){.type = 'i', .number = number}; }

static void cell_from(const aon_docket_row *row, const char *name, char type, aon_copy_cell *cell) {
  *cell = (aon_copy_cell){0};
  if (type == 'i' || type == 'o') {
    if (aon_docket_there(row, name))
      *cell = number_cell(aon_docket_int(row, name));
  } else if (type == 't') {
    cell->bytes = aon_docket_text(row, name);
    cell->type = cell->bytes ? 't' : 0;
    cell->length = cell->bytes ? strlen(cell->bytes) : 0;
  } else {
    cell->bytes = aon_docket_bytes(row, name, &cell->length);
    cell->type = cell->bytes ? 'b' : 0;
  }
}

static aon_result give(dump_call *call, aon_copy_table table, const aon_docket_row *row, aon_error *error) {
  const aon_copy_form *form = &aon_copy_forms[table];
  const char *columns = form->columns;
  aon_copy_cell cells[AON_COPY_CELLS_MAX];
  char name[COLUMN_BYTES];
  for (size_t i = 0; next_column(&columns, name); i++) {
    bool key = tables[table].key && !strcmp(name, tables[table].key);
    cell_from(row, key ? "_id" : name, form->types[i], &cells[i]);
  }
  if (table == AON_COPY_BATCHES)
    cells[0] = number_cell(++call->running);
  return call->put(call->context, table, cells, error);
}

static aon_result dump_table(dump_call *call, aon_copy_table table, aon_error *error) {
  const table_form *form = &tables[table];
  aon_result result = AON_OK;
  call->running = 0;
  int64_t skip = 0;
  for (bool more = true; !result && more; skip += ROWS) {
    AON_DOCKET_ROWS rows = {0};
    bson_t *options = table == AON_COPY_BATCHES
                          ? BCON_NEW("sort", "{", "bulk", BCON_INT32(1), "number", BCON_INT32(1), "}", "limit", BCON_INT64(ROWS))
                          : aon_docket_sorted(form->by, 1, ROWS);
    BSON_APPEND_INT64(options, "skip", skip);
    result = aon_docket_find(call->d, form->collection, bson_new(), options, &rows, "copying", error);
    for (size_t i = 0; !result && i < rows.count; i++)
      result = give(call, table, &rows.rows[i], error);
    more = rows.count == ROWS;
  }
  return result;
}

static aon_result dump_names(dump_call *call, const aon_docket_row *bulk, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  aon_result result = aon_docket_find(call->d, AON_DOCKET_NAMES, aon_docket_range(aon_docket_int(bulk, "log"), 0, INT64_MAX),
                                      aon_docket_sorted("_id", 1, 0), &rows, "copying", error);
  for (size_t i = 0; !result && i < rows.count; i++) {
    aon_copy_cell cells[4] = {number_cell(++call->running), number_cell(aon_docket_int(bulk, "number")),
                              number_cell(aon_docket_int(&rows.rows[i], "kind"))};
    cell_from(&rows.rows[i], "name", 't', &cells[3]);
    result = call->put(call->context, AON_COPY_NAMES, cells, error);
  }
  return result;
}

static aon_copy_cell bytes_cell(const void *bytes, size_t length) {
  return (aon_copy_cell){.type = bytes ? 'b' : 0, .bytes = bytes, .length = length};
}

static aon_result dump_segment(dump_call *call, int64_t bulk, const aon_docket_row *row, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_stored s;
  aon_result result = aon_docket_stored(call->d, row, &arena, &s, error);
  if (result)
    return result;
  aon_copy_cell cells[8] = {number_cell(bulk),
                            number_cell(s.first),
                            number_cell(s.count),
                            number_cell(s.sealed),
                            bytes_cell(s.operations_sum, s.operations_sum_length),
                            bytes_cell(s.images_sum, s.images_sum_length),
                            bytes_cell(s.operations, s.operations_length),
                            bytes_cell(s.images, s.images_length)};
  return call->put(call->context, AON_COPY_SEGMENTS, cells, error);
}

static aon_result dump_segments(dump_call *call, const aon_docket_row *bulk, aon_error *error) {
  int64_t log = aon_docket_int(bulk, "log"), next = 0;
  aon_result result = AON_OK;
  for (bool more = true; !result && more;) {
    AON_DOCKET_ROWS rows = {0};
    result = aon_docket_find(call->d, AON_DOCKET_LOG, aon_docket_range(log, next, INT64_MAX), aon_docket_sorted("_id", 1, ROWS), &rows,
                             "copying", error);
    for (size_t i = 0; !result && i < rows.count; i++) {
      next = aon_docket_int(&rows.rows[i], "first") + 1;
      result = dump_segment(call, aon_docket_int(bulk, "number"), &rows.rows[i], error);
    }
    more = rows.count == ROWS;
  }
  return result;
}

static int by_place(const void *a, const void *b) {
  uint32_t left = ((const aon_docket_entry *)a)->at, right = ((const aon_docket_entry *)b)->at;
  return left < right ? -1 : left > right;
}

static aon_result dump_run(dump_call *call, int64_t bulk, const aon_docket_row *row, bool claims, aon_error *error) {
  aon_docket_run run;
  aon_result result = aon_docket_run_from(row, &run, error);
  aon_docket_entry *entries = result ? NULL : malloc((run.count ? run.count : 1) * sizeof *entries);
  if (!entries)
    return result ? result : aon_fail_memory(error);
  for (size_t i = 0; i < run.count; i++)
    entries[i] = aon_docket_run_at(&run, i);
  qsort(entries, run.count, sizeof *entries, by_place);
  for (size_t i = 0; !result && i < run.count; i++) {
    bool claim = entries[i].at == AON_DOCKET_CLAIM;
    if (claim != claims)
      continue;
    aon_copy_cell cells[4] = {number_cell(bulk), number_cell(claim ? -1 : run.first + entries[i].at), number_cell((int64_t)entries[i].hash),
                              number_cell(run.shared)};
    result = call->put(call->context, AON_COPY_LOCKS, cells, error);
  }
  free(entries);
  return result;
}

/* By shared, then claims first, then by sequence. */
static aon_result dump_locks_of(dump_call *call, const aon_docket_row *bulk, bool shared, bool claims, aon_error *error) {
  int64_t log = aon_docket_int(bulk, "log"), skip = 0;
  aon_result result = AON_OK;
  for (bool more = true; !result && more; skip += ROWS) {
    AON_DOCKET_ROWS rows = {0};
    bson_t *filter = aon_docket_range(log, 0, INT64_MAX), *options = aon_docket_sorted("_id", 1, ROWS);
    BSON_APPEND_BOOL(filter, "shared", shared);
    BSON_APPEND_INT64(options, "skip", skip);
    BCON_APPEND(options, "projection", "{", "hashes", BCON_INT32(0), "}");
    result = aon_docket_find(call->d, AON_DOCKET_LOCKS, filter, options, &rows, "copying", error);
    for (size_t i = 0; !result && i < rows.count; i++)
      result = dump_run(call, aon_docket_int(bulk, "number"), &rows.rows[i], claims, error);
    more = rows.count == ROWS;
  }
  return result;
}

/* Only of those that hold documents still: the others' only take room. */
static aon_result dump_locks(dump_call *call, const aon_docket_row *bulk, aon_error *error) {
  AON_DOCKET_ROWS conflicts = {0};
  aon_result result = aon_docket_find(call->d, AON_DOCKET_CONFLICTS,
                                      BCON_NEW("bulk", BCON_INT64(aon_docket_int(bulk, "number")), "watched", BCON_BOOL(false)),
                                      BCON_NEW("limit", BCON_INT64(1)), &conflicts, "copying", error);
  if (result || (!conflicts.count && !aon_docket_int(bulk, "holds")))
    return result;
  for (int i = 0; !result && i < 4; i++)
    result = dump_locks_of(call, bulk, i >= 2, i % 2 == 0, error);
  return result;
}

typedef aon_result (*dump_of_bulk)(dump_call *call, const aon_docket_row *bulk, aon_error *error);

static aon_result for_each_bulk(dump_call *call, dump_of_bulk each, aon_error *error) {
  aon_result result = AON_OK;
  int64_t last = 0;
  call->running = 0;
  for (bool more = true; !result && more;) {
    AON_DOCKET_ROWS rows = {0};
    result = aon_docket_find(call->d, AON_DOCKET_BULK, BCON_NEW("number", "{", "$gt", BCON_INT64(last), "}"),
                             aon_docket_sorted("number", 1, AON_DOCKET_PAGE), &rows, "copying", error);
    for (size_t i = 0; !result && i < rows.count; i++) {
      last = aon_docket_int(&rows.rows[i], "number");
      result = each(call, &rows.rows[i], error);
    }
    more = rows.count == AON_DOCKET_PAGE;
  }
  return result;
}

static aon_result dump_chunks_of(dump_call *call, const aon_docket_row *file, aon_error *error) {
  aon_result result = AON_OK;
  int64_t next = 0;
  for (bool more = true; !result && more;) {
    AON_DOCKET_ROWS rows = {0};
    result = aon_docket_find(call->d, AON_DOCKET_CHUNKS,
                             BCON_NEW("file", BCON_UTF8(aon_docket_text(file, "_id")), "chunk", "{", "$gte", BCON_INT64(next), "}"),
                             aon_docket_sorted("chunk", 1, ROWS), &rows, "copying", error);
    for (size_t i = 0; !result && i < rows.count; i++) {
      aon_copy_cell cells[3] = {number_cell(aon_docket_int(file, "number")), number_cell(aon_docket_int(&rows.rows[i], "chunk"))};
      next = cells[1].number + 1;
      cell_from(&rows.rows[i], "bytes", 'b', &cells[2]);
      result = call->put(call->context, AON_COPY_CHUNKS, cells, error);
    }
    more = rows.count == ROWS;
  }
  return result;
}

static aon_result dump_chunks(dump_call *call, aon_error *error) {
  aon_result result = AON_OK;
  int64_t last = 0;
  for (bool more = true; !result && more;) {
    AON_DOCKET_ROWS rows = {0};
    result = aon_docket_find(call->d, AON_DOCKET_FILES, BCON_NEW("number", "{", "$gt", BCON_INT64(last), "}"),
                             aon_docket_sorted("number", 1, AON_DOCKET_PAGE), &rows, "copying", error);
    for (size_t i = 0; !result && i < rows.count; i++) {
      last = aon_docket_int(&rows.rows[i], "number");
      result = dump_chunks_of(call, &rows.rows[i], error);
    }
    more = rows.count == AON_DOCKET_PAGE;
  }
  return result;
}

static aon_result dump_epoch(dump_call *call, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  aon_result result = aon_docket_find(call->d, AON_DOCKET_META, BCON_NEW("_id", "epochs"), NULL, &rows, "copying", error);
  aon_copy_cell cell = number_cell(rows.count ? aon_docket_int(&rows.rows[0], "last") : 0);
  return result ? result : call->put(call->context, AON_COPY_EPOCH, &cell, error);
}

static aon_result dump_one(dump_call *call, aon_copy_table table, aon_error *error) {
  switch (table) {
  case AON_COPY_NAMES:
    return for_each_bulk(call, dump_names, error);
  case AON_COPY_SEGMENTS:
    return for_each_bulk(call, dump_segments, error);
  case AON_COPY_LOCKS:
    return for_each_bulk(call, dump_locks, error);
  case AON_COPY_CHUNKS:
    return dump_chunks(call, error);
  case AON_COPY_EPOCH:
    return dump_epoch(call, error);
  default:
    return dump_table(call, table, error);
  }
}

/* Every writing call changes it. */
static aon_result mark_of(aon_docket *d, uint64_t *ret_mark, aon_error *error) {
  static const struct {
    const char *collection, *first, *second;
  } parts[] = {{AON_DOCKET_META, "last", "version"}, {AON_DOCKET_BULK, "number", "writes"}, {AON_DOCKET_FILES, "bytes", "put_ms"}};
  uint64_t mark = 0;
  aon_result result = AON_OK;
  for (size_t p = 0; !result && p < sizeof parts / sizeof *parts; p++) {
    AON_DOCKET_ROWS rows = {0};
    result = aon_docket_find(d, parts[p].collection, bson_new(),
                             BCON_NEW("sort", "{", "_id", BCON_INT32(1), "}", "projection", "{", parts[p].first, BCON_INT32(1),
                                      parts[p].second, BCON_INT32(1), "}"),
                             &rows, "copying", error);
    for (size_t i = 0; i < rows.count; i++)
      mark = (mark * 31 + (uint64_t)aon_docket_int(&rows.rows[i], parts[p].first)) * 31 +
             (uint64_t)aon_docket_int(&rows.rows[i], parts[p].second);
  }
  *ret_mark = mark;
  return result;
}

aon_result aon_docket_dump(void *state, aon_copy_put put, void *context, aon_error *error) {
  dump_call call = {.d = state, .put = put, .context = context};
  uint64_t before, after;
  aon_result result = mark_of(state, &before, error);
  for (int table = 0; !result && table < AON_COPY_TABLES; table++)
    result = dump_one(&call, (aon_copy_table)table, error);
  if (!result)
    result = mark_of(state, &after, error);
  if (!result && before != after)
    result = aon_fail(error, AON_BUSY, "busy",
                      "Somebody wrote to the journal while it was copied. Stop its workers, then move it; nothing was kept.");
  return result;
}

/* ---- in ---- */

typedef struct pending {
  const char *collection;
  bson_t *document;
} pending;

typedef struct load_call {
  aon_docket *d;
  pending documents[LOAD_ROWS]; /* gathered to be written together */
  size_t count, bytes;
  aon_docket_entry entries[AON_DOCKET_RUN]; /* of one document of locks */
  size_t entry_count;
  int64_t log, first;
  bool shared;
  aon_stored segment; /* to be written alone */
  int64_t segment_log;
  int64_t numbers, batches, names, events, files, epochs; /* the highest ones that came */
  int64_t file_number;
  char file[40];
} load_call;

static aon_result flush_work(aon_docket *d, void *arguments, aon_error *error) {
  const load_call *call = arguments;
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < call->count; i++) {
    bson_iter_t at;
    if (bson_iter_init_find(&at, call->documents[i].document, "_id")) {
      bson_t *filter = bson_new();
      bson_append_iter(filter, "_id", -1, &at);
      result = aon_docket_update(d, call->documents[i].collection, filter, bson_copy(call->documents[i].document), true, NULL, error);
    }
  }
  return result ? result : aon_docket_loading(d, d->now_ms + LOADING_MS, error);
}

static void forget_pending(load_call *call) {
  for (size_t i = 0; i < call->count; i++)
    bson_destroy(call->documents[i].document);
  call->count = call->bytes = 0;
}

static aon_result flush(load_call *call, aon_error *error) {
  aon_result result = call->count ? aon_docket_write(call->d, "copying", flush_work, call, error) : AON_OK;
  forget_pending(call);
  return result;
}

static aon_result run_work(aon_docket *d, void *arguments, aon_error *error) {
  const load_call *call = arguments;
  aon_result result = aon_docket_run_put(d, call->log, call->first, call->entries, call->entry_count, error);
  return result ? result : aon_docket_loading(d, d->now_ms + LOADING_MS, error);
}

static int by_hash(const void *a, const void *b) {
  const aon_docket_entry *left = a, *right = b;
  if (left->hash != right->hash)
    return left->hash < right->hash ? -1 : 1;
  return left->at < right->at ? -1 : left->at > right->at;
}

static aon_result flush_run(load_call *call, aon_error *error) {
  if (!call->entry_count)
    return AON_OK;
  qsort(call->entries, call->entry_count, sizeof *call->entries, by_hash);
  aon_result result = aon_docket_write(call->d, "copying", run_work, call, error);
  call->entry_count = 0;
  return result;
}

static aon_result load_lock(load_call *call, const aon_copy_cell *cells, aon_error *error) {
  int64_t log = cells[0].number, sequence = cells[1].number;
  bool shared = cells[3].number != 0, claim = sequence < 0;
  bool same = call->entry_count && call->log == log && call->shared == shared && call->entry_count < AON_DOCKET_RUN &&
              (claim || (sequence >= call->first && sequence - call->first < AON_DOCKET_CLAIM &&
                         call->entries[call->entry_count - 1].at != AON_DOCKET_CLAIM));
  aon_result result = same ? AON_OK : flush_run(call, error);
  if (!same) {
    call->log = log;
    call->shared = shared;
    call->first = claim ? 0 : sequence;
  }
  call->entries[call->entry_count++] = (aon_docket_entry){
      .hash = (uint64_t)cells[2].number, .at = claim ? AON_DOCKET_CLAIM : (uint32_t)(sequence - call->first), .shared = shared};
  return result;
}

static aon_result segment_work(aon_docket *d, void *arguments, aon_error *error) {
  const load_call *call = arguments;
  int64_t log = call->segment_log, first = call->segment.first;
  aon_result result = aon_docket_delete(d, AON_DOCKET_LOG, aon_docket_range(log, first, first), NULL, error);
  if (!result)
    result = aon_docket_delete(d, AON_DOCKET_PARTS, aon_docket_range(log, first, first), NULL, error);
  if (!result)
    result = aon_docket_store(d, log, &call->segment, error);
  return result ? result : aon_docket_loading(d, d->now_ms + LOADING_MS, error);
}

static aon_result load_segment(load_call *call, const aon_copy_cell *cells, aon_error *error) {
  call->segment_log = cells[0].number;
  call->segment = (aon_stored){.first = cells[1].number,
                               .count = (uint32_t)cells[2].number,
                               .sealed = cells[3].number != 0,
                               .operations_sum = cells[4].bytes,
                               .operations_sum_length = cells[4].length,
                               .images_sum = cells[5].type ? cells[5].bytes : NULL,
                               .images_sum_length = cells[5].length,
                               .operations = cells[6].bytes,
                               .operations_length = cells[6].length,
                               .images = cells[7].type ? cells[7].bytes : NULL,
                               .images_length = cells[7].length};
  return aon_docket_write(call->d, "copying", segment_work, call, error);
}

static void append_cell(bson_t *document, const char *name, char type, const aon_copy_cell *cell) {
  if (!cell->type)
    BSON_APPEND_NULL(document, name);
  else if (type == 'o')
    BSON_APPEND_BOOL(document, name, cell->number != 0);
  else if (type == 'i')
    BSON_APPEND_INT64(document, name, cell->number);
  else if (type == 't')
    bson_append_utf8(document, name, -1, cell->bytes, (int)cell->length);
  else
    BSON_APPEND_BINARY(document, name, BSON_SUBTYPE_BINARY, cell->bytes, (uint32_t)cell->length);
}

/* The document's key, where no column is it. */
static aon_result key_of(load_call *call, aon_copy_table table, const aon_copy_cell *cells, aon_buffer *key, aon_error *error) {
  char two[AON_DOCKET_KEY];
  switch (table) {
  case AON_COPY_NAMES:
    aon_docket_key(two, cells[1].number, cells[0].number);
    return aon_buffer_text(key, two, error);
  case AON_COPY_BATCHES:
    return aon_buffer_format(key, error, "%016llx:%.*s:%u:%u", (unsigned long long)cells[1].number, (int)cells[2].length,
                             (const char *)cells[2].bytes, (unsigned)cells[3].number, (unsigned)cells[4].number);
  case AON_COPY_CONFLICTS:
    aon_docket_key(two, cells[0].number, cells[1].number);
    return aon_buffer_text(key, two, error);
  case AON_COPY_CHUNKS:
    return aon_buffer_format(key, error, "%s:%08x", call->file, (unsigned)cells[1].number);
  case AON_COPY_EVENTS:
    return aon_buffer_format(key, error, "moved %lld", (long long)cells[0].number);
  default:
    return AON_OK;
  }
}

/* What the columns don't have. */
static void append_own(load_call *call, aon_copy_table table, const aon_copy_cell *cells, bson_t *document) {
  if (table == AON_COPY_BULK)
    BCON_APPEND(document, "log", BCON_INT64(cells[0].number), "token", "", "names", BCON_INT64(0), "writes", BCON_INT64(0));
  else if (table == AON_COPY_NAMES)
    BSON_APPEND_INT64(document, "log", cells[1].number);
  else if (table == AON_COPY_CHUNKS)
    BSON_APPEND_UTF8(document, "file", call->file);
}

static void note_highest(load_call *call, aon_copy_table table, int64_t number) {
  int64_t *const highest[AON_COPY_TABLES] = {
      [AON_COPY_BULK] = &call->numbers,  [AON_COPY_BATCHES] = &call->batches, [AON_COPY_NAMES] = &call->names,
      [AON_COPY_EVENTS] = &call->events, [AON_COPY_FILES] = &call->files,     [AON_COPY_EPOCH] = &call->epochs};
  if (highest[table] && number > *highest[table])
    *highest[table] = number;
}

/* Chunks name their file by its number there, by its id here. */
static aon_result find_file(load_call *call, int64_t number, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  if (call->file_number == number)
    return AON_OK;
  aon_result result = flush(call, error);
  if (!result)
    result = aon_docket_find(call->d, AON_DOCKET_FILES, BCON_NEW("number", BCON_INT64(number)), NULL, &rows, "copying", error);
  const char *id = !result && rows.count ? aon_docket_text(&rows.rows[0], "_id") : NULL;
  if (!result && !id)
    return aon_fail(error, AON_CORRUPT, "corrupt", "The journal that is copied has a piece of a file that it doesn't have.");
  if (!result)
    snprintf(call->file, sizeof call->file, "%s", id);
  call->file_number = result ? 0 : number;
  return result;
}

static aon_result load_row(load_call *call, aon_copy_table table, const aon_copy_cell *cells, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer key = {0};
  const aon_copy_form *form = &aon_copy_forms[table];
  const char *columns = form->columns;
  char name[COLUMN_BYTES];
  aon_result result = table == AON_COPY_CHUNKS ? find_file(call, cells[0].number, error) : AON_OK;
  if (!result)
    result = key_of(call, table, cells, &key, error);
  if (result)
    return result;
  bson_t *document = bson_new();
  if (key.length)
    BSON_APPEND_UTF8(document, "_id", key.data);
  for (size_t i = 0; next_column(&columns, name); i++) {
    bool is_key = tables[table].key && !strcmp(name, tables[table].key);
    bool other = (table == AON_COPY_NAMES && i == 1) || (table == AON_COPY_CHUNKS && i == 0);
    if (!other)
      append_cell(document, is_key ? "_id" : name, form->types[i], &cells[i]);
  }
  append_own(call, table, cells, document);
  const char *collection = table == AON_COPY_NAMES    ? AON_DOCKET_NAMES
                           : table == AON_COPY_CHUNKS ? AON_DOCKET_CHUNKS
                                                      : tables[table].collection;
  call->documents[call->count++] = (pending){.collection = collection, .document = document};
  call->bytes += document->len;
  return call->count == LOAD_ROWS || call->bytes >= LOAD_BYTES ? flush(call, error) : AON_OK;
}

static aon_result load_put(void *context, aon_copy_table table, const aon_copy_cell *cells, aon_error *error) {
  load_call *call = context;
  if (table != AON_COPY_GENERATIONS)
    note_highest(call, table, cells[0].number);
  aon_result result = table != AON_COPY_LOCKS ? flush_run(call, error) : AON_OK;
  if (result || table == AON_COPY_EPOCH)
    return result;
  if (table == AON_COPY_LOCKS)
    return load_lock(call, cells, error);
  return table == AON_COPY_SEGMENTS ? load_segment(call, cells, error) : load_row(call, table, cells, error);
}

static aon_result start_work(aon_docket *d, void *arguments, aon_error *error) {
  (void)arguments;
  AON_DOCKET_ROWS bulk = {0}, events = {0};
  aon_result result = aon_docket_find(d, AON_DOCKET_BULK, bson_new(), BCON_NEW("limit", BCON_INT64(1)), &bulk, "copying", error);
  if (!result)
    result = aon_docket_find(d, AON_DOCKET_EVENTS, bson_new(), BCON_NEW("limit", BCON_INT64(1)), &events, "copying", error);
  if (!result && bulk.count + events.count)
    return aon_fail(error, AON_USAGE, "journal_not_empty",
                    "The journal that is to take it all has bulk operations already. Name one that is new.");
  if (!result)
    result = aon_docket_loading(d, d->now_ms + LOADING_MS, error);
  return result ? result : aon_docket_delete(d, AON_DOCKET_KEYS, bson_new(), NULL, error);
}

static aon_result set_counter(aon_docket *d, const char *name, int64_t last, aon_error *error) {
  return aon_docket_update(d, AON_DOCKET_META, BCON_NEW("_id", BCON_UTF8(name)), BCON_NEW("$set", "{", "last", BCON_INT64(last), "}"), true,
                           NULL, error);
}

/* Numbers go on behind those that came over; then it is a journal. */
static aon_result end_work(aon_docket *d, void *arguments, aon_error *error) {
  const load_call *call = arguments;
  struct {
    const char *name;
    int64_t last;
  } counters[] = {
      {"bulk", call->numbers}, {"logs", call->numbers}, {"events", call->events}, {"files", call->files}, {"epochs", call->epochs}};
  aon_result result =
      aon_docket_update_all(d, AON_DOCKET_BULK, bson_new(),
                            BCON_NEW("$set", "{", "names", BCON_INT64(call->names), "writes", BCON_INT64(call->batches), "}"), NULL, error);
  for (size_t i = 0; !result && i < sizeof counters / sizeof *counters; i++)
    result = set_counter(d, counters[i].name, counters[i].last, error);
  return result ? result : aon_docket_loading(d, 0, error);
}

aon_result aon_docket_load(void *state, aon_copy_feed feed, void *feed_context, aon_error *error) {
  aon_docket *d = state;
  aon_error ignored = AON_ERROR_INIT;
  load_call *call = calloc(1, sizeof *call);
  if (!call)
    return aon_fail_memory(error);
  call->d = d;
  aon_result result = aon_docket_write(d, "copying", start_work, call, error);
  bool begun = !result;
  if (!result)
    result = feed(feed_context, load_put, call, error);
  if (!result)
    result = flush_run(call, error);
  if (!result)
    result = flush(call, error);
  if (!result)
    result = aon_docket_write(d, "copying", end_work, call, error);
  forget_pending(call);
  free(call);
  if (result && begun && aon_docket_wipe(d, &ignored)) /* else whoever opens it next does so */
    aon_log(d->env, AON_LOG_WARNING, "%s", ignored.sentence);
  return result;
}
