/* The PostgreSQL adapter's inside, shared by postgresql*.c only.
 *
 *   postgresql.c          the adapter: pool, transactions, markers, resolving
 *   postgresql_schema.c   what tables look like, and making document tables
 *   postgresql_value.c    single values: a column's text to a property and back
 *   postgresql_image.c    rows to images and back, normalising
 *   postgresql_read.c     read and scan
 *   postgresql_write.c    apply
 *   postgresql_blame.c    what a constraint that refused is about
 *   postgresql_examine.c  for aon doctor
 *
 * Invariants:
 *  - all values are texts, spelled by `column::text` in the session that wire/postgresql.c sets; a row is one text (or null) per column;
 *  - outside a transaction each call takes a connection of the pool and gives it back; the open transaction has one of its own;
 *  - a table description holds until a transaction finds the catalogue changed; shapes handed out live until close. */
#ifndef AON_STORE_POSTGRESQL_INTERNAL_H
#define AON_STORE_POSTGRESQL_INTERNAL_H

#include "aon/store.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "wire/libpq.h"
#include "wire/pool.h"
#include "wire/postgresql.h"

#define PG_TIMEOUT_MS 5000       /* where the configuration names none */
#define PG_BATCH_OPERATIONS 2000 /* writes of one apply */
#define PG_BATCH_BYTES (8u << 20)
#define PG_FETCH_ROWS "500"   /* of a cursor at once */
#define PG_COLUMNS_LIMIT 1600 /* PostgreSQL's own */
#define PG_ID_SHOWN 200       /* bytes of an id in a sentence */

typedef enum pg_form { /* how a column's text becomes a property */
                       FORM_TEXT,
                       FORM_INTEGER,
                       FORM_REAL,
                       FORM_BOOLEAN,
                       FORM_BYTES,
                       FORM_TIMESTAMP, /* without time zone */
                       FORM_INSTANT,   /* timestamptz */
                       FORM_JSON,
                       FORM_ARRAY
} pg_form;

typedef struct pg_column {
  const char *name;
  const char *type;      /* as in a cast: "numeric(10,2)", "public.mood" */
  const char *cast;      /* type of a value to be assigned: without the length that a cast would cut to */
  const char *base;      /* domain resolved: "int4", "text", … */
  pg_form form, element; /* element: of an array */
  char delimiter;        /* between elements of an array */
  bool jsonb, generated, padded /* char(n) */, limited /* has a length that casts would cut to */;
  bool typed;              /* compared by the type's own equality, else by text */
  bool exact;              /* its collation, if it has one, tells all texts apart */
  bool certain;            /* what we spell is what the server keeps: need not be asked */
  uint32_t key;            /* place in the primary key from 1, 0: not in it */
  const char *default_sql; /* NULL: none */
  bool default_fixed;      /* a literal: default_text holds for ever */
  const char *default_text;
} pg_column;

typedef struct pg_text { /* one value; data NULL: null. absent: the image does not have it */
  const char *data;
  size_t length;
  bool absent;
} pg_text;

typedef struct pg_table {
  struct pg_table *next;
  aon_arena arena;
  const char *name;   /* as the collection has it */
  const char *quoted; /* "schema"."name" */
  const char *oid, *fingerprint;
  aon_shape shape;
  bool documents, has_bson;
  size_t column_count, key_count;
  pg_column *columns;
  size_t *keys;            /* indexes of the key's columns */
  const char *select_list; /* t."a"::text, … */
  uint64_t pinned;         /* number of the transaction that has looked at it */
} pg_table;

typedef struct pg_store pg_store;

struct aon_transaction {
  pg_store *store;
  aon_postgresql *connection;
  aon_branch branch;
  char bulk_id[40];
  uint64_t number;
  bool open, failed, savepoint;
};

struct pg_store {
  aon_env *env;
  char *name, *url;
  char *markers; /* "schema".aon_markers */
  bool create, prepares, markers_there;
  int64_t timeout_ms, deadline_ms;
  aon_interrupt interrupt;
  aon_pool *pool;
  aon_transaction transaction;
  uint64_t transactions, cursors;
  pg_table *tables, *retired;
  aon_arena scratch; /* of one call */
};

/* postgresql.c */
void pg_enter(pg_store *store);
/* The open transaction's connection, or one of the pool. Give it back in any case. */
aon_result pg_acquire(pg_store *store, bool apart, aon_postgresql **ret_connection, aon_error *error) AON_MUST_USE;
void pg_release(pg_store *store, aon_postgresql *connection);
aon_result pg_query(pg_store *store, const char *sql, const aon_postgresql_value *values, size_t count, const char *doing,
                    PGresult **ret_result, aon_error *error) AON_MUST_USE; /* on a connection apart from the transaction's */

/* postgresql_schema.c */
/* Not there: where the store may make it, one whose shape.exists is false; else AON_REJECTED unknown_collection. */
aon_result pg_table_find(pg_store *store, const aon_collection *collection, pg_table **ret_table, aon_error *error) AON_MUST_USE;
pg_table *pg_table_known(pg_store *store, const aon_collection *collection); /* without looking; NULL: look */
aon_result pg_table_make(pg_store *store, const aon_collection *collection, pg_table **ret_table, aon_error *error) AON_MUST_USE;
/* Statement whose only row says whether a table is still as described: ask it together with what reads the table. */
aon_postgresql_statement pg_table_look(const pg_table *table, aon_postgresql_value *oid);
bool pg_table_same(const pg_table *table, const PGresult *looked);
aon_result pg_table_altered(pg_store *store, const pg_table *table, aon_error *error) AON_MUST_USE; /* forgets, fails */
/* Is it still as described? Holds it so until the transaction ends. */
aon_result pg_table_pin(pg_store *store, aon_postgresql *connection, pg_table *table, aon_error *error) AON_MUST_USE;
void pg_schema_forget(pg_store *store);
void pg_schema_release(pg_store *store);
const pg_column *pg_column_find(const pg_table *table, const char *name, size_t hint, size_t *ret_at);

/* postgresql_value.c: in arenas. */
/* Appends the property that a text stands for. *ret_plain false: it would not be spelled as this text again. */
aon_result pg_append(const pg_column *column, const char *key, const pg_text *text, aon_arena *arena, bson_t *document, bool *ret_plain,
                     aon_error *error) AON_MUST_USE;
/* The text of a property. AON_REJECTED: no such value fits the column (the sentence says why, behind the property's name). */
aon_result pg_spell(const pg_column *column, const bson_iter_t *property, aon_arena *arena, pg_text *ret_text,
                    aon_error *error) AON_MUST_USE;
/* A document from the text of json or jsonb, whatever its numbers. *ret_exact false: the document can't say all that the text says.
 * AON_REJECTED: it is none. The caller destroys it. */
aon_result pg_json_read(const char *text, size_t length, bson_t *ret_document, bool *ret_exact, aon_error *error) AON_MUST_USE;
bool pg_json_holds(const bson_t *document, bool nul); /* JSON says it all; nul: also a NUL in a text */
/* JSON of any document: other types as text. replace: a NUL in a text becomes U+FFFD, as jsonb has none. */
aon_result pg_json_write(const bson_t *document, bool replace, aon_arena *arena, pg_text *ret_text, aon_error *error) AON_MUST_USE;
bool pg_id_fits(const pg_column *column, const char *text, size_t length); /* false: no row can have it (and the server would choke) */
bool pg_same(const pg_text *a, const pg_text *b);
aon_result pg_hex_write(const void *bytes, size_t length, aon_arena *arena, pg_text *ret_text, aon_error *error) AON_MUST_USE;
/* False: no such bytes, or, *ret_bytes NULL, no memory. */
bool pg_hex_read(const pg_text *text, aon_arena *arena, const uint8_t **ret_bytes, size_t *ret_length);

/* postgresql_image.c */
/* A row of the table's columns as an image. */
aon_result pg_row_image(pg_store *store, const pg_table *table, const pg_text *row, bool token, aon_arena *arena, aon_image *ret_image,
                        aon_error *error) AON_MUST_USE;
aon_result pg_row_id(const pg_table *table, const pg_text *row, aon_arena *arena, aon_text *ret_id, aon_error *error) AON_MUST_USE;
/* The row that an image stands for. stamp NULL: none. */
aon_result pg_image_row(pg_store *store, const pg_table *table, aon_text id, const aon_image *image, const char *stamp, aon_arena *arena,
                        pg_text *ret_row, aon_error *error) AON_MUST_USE;
void pg_result_row(const PGresult *result, int line, int from, size_t columns, pg_text *ret_row);

/* postgresql_read.c */
/* " and t.key = parameter" for the place-th column of the key, exactly as its text. */
aon_result pg_key_condition(const pg_table *table, size_t place, const char *parameter, aon_buffer *sql, aon_error *error) AON_MUST_USE;

/* postgresql_blame.c */
/* Adds to the refusal of a write, before which a savepoint stands, the properties that it is about. */
void pg_blame(pg_store *store, const pg_table *table, const aon_collection *collection, aon_error *error);

/* Passes on a failure that was kept apart until it was certain to be one. */
static inline aon_result pg_tell(aon_result result, const aon_error *failure, aon_error *error) {
  if (result && error)
    *error = *failure;
  return result;
}

/* Sentences. */
static inline int pg_shown(aon_text id) { return id.length < PG_ID_SHOWN ? (int)id.length : PG_ID_SHOWN; }

/* The adapter's calls that stand in other files. */
aon_result pg_describe(void *state, const aon_collection *collection, const aon_shape **ret_shape, aon_error *error);
aon_result pg_normalise(void *state, const aon_collection *collection, aon_text id, const bson_t *document, aon_arena *arena,
                        aon_image *ret_image, aon_error *error);
aon_result pg_read(void *state, const aon_collection *collection, const aon_text *ids, size_t count, aon_arena *arena, aon_image *images,
                   aon_error *error);
aon_result pg_scan(void *state, const aon_collection *collection, const aon_match *matches, size_t count, const char *const *properties,
                   aon_scan_each each, void *context, aon_error *error);
aon_result pg_apply(void *state, aon_transaction *transaction, const aon_write *writes, size_t count, aon_write_state *states,
                    size_t *ret_failed, aon_error *error);
aon_result pg_look_up(void *state, const aon_collection *collection, const aon_match *match, aon_index *ret_index, aon_error *error);
aon_result pg_examine(void *state, aon_buffer *report, bool *ret_healthy, aon_error *error);
#endif
