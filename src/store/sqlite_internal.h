/* The SQLite adapter's inside, shared by sqlite*.c only.
 *
 *   sqlite.c         the adapter: connection, transactions, markers, resolving, examining
 *   sqlite_schema.c  what tables look like, and making document tables
 *   sqlite_value.c   rows to images and back: affinities, tokens, ids, normalising
 *   sqlite_read.c    read and scan
 *   sqlite_write.c   apply and the check of deferred constraints
 *
 * Invariants:
 *  - the connection is opened by the first call that needs it; only begin, resolve and forget open it for writing files;
 *  - tables (with their statements) hold for one schema version; it is looked at in every outermost transaction, and what
 *    a caller may still point at (shapes) lives until close;
 *  - no statement is left stepping when a call returns. */
#ifndef AON_STORE_SQLITE_INTERNAL_H
#define AON_STORE_SQLITE_INTERNAL_H

#include <stdatomic.h>

#include "aon/store.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "wire/sqlite.h"

#define SQLITE_TABLE_STATEMENTS 16   /* prepared statements kept for one table and kind; the oldest gives way */
#define SQLITE_TIMEOUT_MS 5000       /* where the configuration names none */
#define SQLITE_FAILED_KEYS_LIMIT 256 /* operations remembered while a foreign key is open, to name the one at fault */

typedef enum sqlite_affinity { AFFINITY_NONE, AFFINITY_TEXT, AFFINITY_NUMERIC, AFFINITY_INTEGER, AFFINITY_REAL } sqlite_affinity;

/* One value as SQLite stores it. type 0: missing (the column isn't named in the statement). Bytes are borrowed. */
typedef struct sqlite_value {
  int type; /* 0, SQLITE_INTEGER, SQLITE_FLOAT, SQLITE_TEXT, SQLITE_BLOB, SQLITE_NULL */
  int64_t integer;
  double real;
  const void *bytes;
  size_t length;
} sqlite_value;

typedef struct sqlite_column {
  const char *name;
  const char *type; /* as declared, "" if not */
  sqlite_affinity affinity;
  bool bytes;              /* declared BLOB: its text properties are base64 */
  bool generated;          /* computed by SQLite: read, never written, never compared */
  bool rowid;              /* INTEGER PRIMARY KEY: takes integers only */
  bool collated;           /* a key compared by something else than its bytes */
  uint32_t key;            /* place in the primary key from 1, 0: not in it */
  const char *default_sql; /* NULL: none */
  bool default_fixed;      /* a literal: default_value holds for ever */
  sqlite_value default_value;
} sqlite_column;

typedef struct sqlite_statement { /* prepared for one kind of write and one choice of columns */
  sqlite3_stmt *statement;
  unsigned char *key; /* choice of columns: bit 0 of columns[i] set in SET or VALUES, bit 1 in WHERE */
  uint64_t used;
} sqlite_statement;

typedef enum sqlite_kind { KIND_INSERT, KIND_UPDATE, KIND_DELETE, KIND_COUNT } sqlite_kind;

/* Statements on a table's stand-in in memory: same affinities and defaults, nothing else. */
typedef enum sqlite_scratch { SCRATCH_CLEAR, SCRATCH_INSERT, SCRATCH_DEFAULTS, SCRATCH_SELECT, SCRATCH_COUNT } sqlite_scratch;

typedef struct sqlite_table {
  struct sqlite_table *next;
  aon_arena arena;    /* all texts and arrays below */
  const char *name;   /* as the collection has it */
  const char *quoted; /* "name" */
  bool exists, strict;
  aon_shape shape;
  size_t column_count, key_count;
  sqlite_column *columns;
  size_t *keys;            /* indexes of the key's columns, in key order */
  const char *select_list; /* all columns */
  sqlite3_stmt *select_by_id;
  sqlite3_stmt *scratch[SCRATCH_COUNT]; /* of the scratch table that answers what SQLite would give back */
  sqlite_statement statements[KIND_COUNT][SQLITE_TABLE_STATEMENTS];
  sqlite_value *before, *after; /* room for one row each */
  unsigned char *choice;        /* column_count bytes */
} sqlite_table;

typedef struct sqlite_open_key { /* an operation after which a foreign key was open */
  const sqlite_table *table;
  int64_t operation;
  char *id;
  size_t id_length;
} sqlite_open_key;

typedef struct sqlite_store sqlite_store;

struct aon_transaction {
  sqlite_store *store;
  bool open, failed, made_tables;
  bool flushed; /* nothing was written since its pages went to the log */
  sqlite_open_key at_fault[SQLITE_FAILED_KEYS_LIMIT];
  size_t at_fault_count;
};

struct sqlite_store {
  aon_env *env;
  char *name, *path;
  bool create;
  int64_t timeout_ms, deadline_ms; /* of the call under way, on the monotonic clock */
  aon_sqlite *database;            /* NULL: not open */
  sqlite3 *handle;                 /* of database */
  _Atomic(sqlite3 *) interruptible;
  atomic_int cancelling, cancelled;
  uint32_t reading; /* depth of read transactions */
  aon_transaction transaction;
  sqlite_table *tables, *retired;
  int64_t schema_version;
  uint64_t uses;
  int log_pages;    /* of the write-ahead log, as the last commit left it */
  sqlite3 *scratch; /* in memory: asked what SQLite makes of a value */
  aon_buffer expected_text, wanted_text, key_text;
  aon_arena scratch_arena; /* of one document */
};

/* sqlite.c: every call starts with sqlite_enter, which sets the deadline and forgets an old cancel. */
void sqlite_enter(sqlite_store *store);
bool sqlite_cancelled(const sqlite_store *store);
aon_result sqlite_stopped(const sqlite_store *store, aon_error *error);
/* Classifies rc of the store's connection; a cancel goes before the busy or interrupted that it caused. */
aon_result sqlite_failed(sqlite_store *store, int rc, const char *doing, aon_error *error);
/* Opens for reading; *ret_there false: no file yet (only where the store may make it). */
aon_result sqlite_read_begin(sqlite_store *store, bool *ret_there, aon_error *error) AON_MUST_USE;
void sqlite_read_end(sqlite_store *store);

/* Passes on a failure that was kept apart until it was certain to be one. */
static inline aon_result sqlite_tell(aon_result result, const aon_error *failure, aon_error *error) {
  if (result && error)
    *error = *failure;
  return result;
}

/* sqlite_schema.c */
aon_result sqlite_schema_check(sqlite_store *store, aon_error *error) AON_MUST_USE; /* forgets tables if the schema is another one */
void sqlite_schema_forget(sqlite_store *store);                                     /* all tables, as after a rollback that unmade some */
void sqlite_schema_release(sqlite_store *store);
/* The table of a collection. Not there: where the store may make it, one with exists false; else AON_REJECTED unknown_collection.
 * file_there false: no file is looked at. Lives until the next sqlite_schema_check (its shape until close). */
aon_result sqlite_table_find(sqlite_store *store, const aon_collection *collection, bool file_there, sqlite_table **ret_table,
                             aon_error *error) AON_MUST_USE;
sqlite_table *sqlite_table_known(sqlite_store *store, const aon_collection *collection); /* without looking; NULL: look */
aon_result sqlite_table_make(sqlite_store *store, const aon_collection *collection, sqlite_table **ret_table,
                             aon_error *error) AON_MUST_USE;
aon_result sqlite_quote(const char *name, aon_buffer *out, aon_error *error) AON_MUST_USE;

/* sqlite_value.c */
aon_result sqlite_bind(sqlite_store *store, sqlite3_stmt *statement, int at, const sqlite_value *value, aon_error *error) AON_MUST_USE;
void sqlite_value_of(sqlite3_stmt *statement, int column, sqlite_value *ret_value); /* borrowed until the next step */
/* The id of a row as text, appended to out. */
aon_result sqlite_row_id(sqlite_store *store, const sqlite_table *table, const sqlite_value *row, aon_buffer *out,
                         aon_error *error) AON_MUST_USE;
/* The current row of a statement whose columns begin with the table's (document table: id, doc), as an image in the arena. */
aon_result sqlite_row_image(sqlite_store *store, sqlite_table *table, sqlite3_stmt *row, aon_text id, bool token, aon_arena *arena,
                            aon_image *ret_image, aon_error *error) AON_MUST_USE;
/* Binds the alternatives of an id to select_by_id; *ret_possible false: no row can have this id. */
aon_result sqlite_bind_id(sqlite_store *store, const sqlite_table *table, sqlite3_stmt *statement, aon_text id, bool *ret_possible,
                          aon_error *error) AON_MUST_USE;
/* The values that one text can stand for in a column: text, number, bytes; unused ones are NULL. */
#define SQLITE_ALTERNATIVES 3
aon_result sqlite_alternatives(sqlite_store *store, const sqlite_column *column, aon_text text,
                               sqlite_value ret_values[SQLITE_ALTERNATIVES], aon_error *error) AON_MUST_USE;
size_t sqlite_alternatives_count(const sqlite_column *column);
/* An image of a column table as values to bind, in the store's scratch arena; missing properties get type 0. */
aon_result sqlite_image_row(sqlite_store *store, const sqlite_table *table, const aon_image *image, sqlite_value *ret_row,
                            aon_error *error) AON_MUST_USE;
/* The text that an image of a document table is stored as. */
aon_result sqlite_image_text(sqlite_store *store, const aon_image *image, aon_buffer *buffer, const char **ret_text, size_t *ret_length,
                             aon_error *error) AON_MUST_USE;
aon_result sqlite_default_fix(sqlite_store *store, sqlite_table *table, aon_error *error) AON_MUST_USE; /* evaluates literal defaults */
bool sqlite_value_matches(const sqlite_value *value, aon_text text);                                    /* as aon_match compares */
const sqlite_column *sqlite_column_find(const sqlite_table *table, const char *name, size_t *ret_at);
aon_result sqlite_unknown_property(const sqlite_store *store, const sqlite_table *table, const char *name, aon_result kind,
                                   aon_error *error);

/* The adapter's calls that stand in other files. */
aon_result sqlite_describe(void *state, const aon_collection *collection, const aon_shape **ret_shape, aon_error *error);
aon_result sqlite_normalise(void *state, const aon_collection *collection, aon_text id, const bson_t *document, aon_arena *arena,
                            aon_image *ret_image, aon_error *error);
aon_result sqlite_read(void *state, const aon_collection *collection, const aon_text *ids, size_t count, aon_arena *arena,
                       aon_image *images, aon_error *error);
aon_result sqlite_scan(void *state, const aon_collection *collection, const aon_match *matches, size_t count, const char *const *properties,
                       aon_scan_each each, void *context, aon_error *error);
aon_result sqlite_look_up(void *state, const aon_collection *collection, const aon_match *match, aon_index *ret_index, aon_error *error);
aon_result sqlite_apply(void *state, aon_transaction *transaction, const aon_write *writes, size_t count, aon_write_state *states,
                        size_t *ret_failed, aon_error *error);
aon_result sqlite_flush(void *state, aon_transaction *transaction, aon_error *error);
void sqlite_open_keys_forget(aon_transaction *transaction);
#endif
