/* One upload on its way through a pack: what parse.c, validate.c and collect.c share. Not for other rooms.
 *
 * Everything that grows with rows stands in the stage, a private temporary database: rows with their canonical values, values that
 * must be unique or are referred to, findings, what the stores know, and what shared documents gather.
 *
 *   parse     fills    row, id, name, finding(phase 0 and, for values that count only on create, 2)
 *   validate  empties and fills known, stored, shared, member, entry, image, finding(phase 1); sets before images in row
 *   collect   only reads the stage
 *
 * Invariant: a row's key is sheet << 32 | row number, so that rows of a sheet stand together in their order. */
#ifndef AON_PACK_JOB_H
#define AON_PACK_JOB_H

#include "model/document.h"
#include "model/text.h"
#include "pack/schema.h"
#include "wire/sqlite.h"

#include <string.h>

#define AON_JOB_BATCH 500                     /* rows, or documents, read from a store at a time */
#define AON_JOB_BATCH_BYTES ((size_t)8 << 20) /* of rows as they are staged: a batch of long cells has fewer rows */
#define AON_JOB_TICK_ROWS 1000

enum {                     /* flags of a row */
       AON_ROW_GIVEN = 1,  /* its id stands in the sheet */
       AON_ROW_EXISTS = 2, /* … and in the store: an update */
       AON_ROW_FOREIGN = 4 /* … but it is another organization's */
};

typedef struct aon_job_sheet { /* a known sheet as the workbook has it */
  bool present;                /* there, perhaps without rows */
  bool headed;                 /* has a heading row */
  size_t place;                /* in the workbook, from 1 */
  char *name;                  /* as the workbook spells it */
  uint32_t heading_row;
  uint32_t *columns; /* of each column of the schema, its number in the file, from 1; 0: missing */
  char **headings;   /* as the file has them */
  uint64_t rows;
} aon_job_sheet;

/* What the stage was asked last, in slots by the hash of the question: answers that stay true as long as they are kept. */
#define AON_RECALL_SLOTS 1024u
#define AON_RECALL_BYTES 116u /* of question and answer together; longer ones are asked again */
typedef struct aon_recall_slot {
  uint32_t kind;
  uint16_t key_length, value_length; /* 0: nothing is kept */
  char bytes[AON_RECALL_BYTES];
} aon_recall_slot;

struct aon_pack_job {
  aon_pack *pack;
  const aon_pack_input *input;
  aon_sqlite *stage;
  aon_recall_slot *recall; /* AON_RECALL_SLOTS of them; malloc */
  aon_arena arena;         /* of the job: names, headings */
  aon_arena row_arena;     /* of one row */
  aon_job_sheet *sheets;   /* by index of the schema's sheet */
  aon_text organization;
  char instant[AON_INSTANT_LENGTH + 1]; /* the instant of the bulk operation as text */
  uint64_t *named;              /* of each sheet: columns whose values are kept in name: unique ones and those that are referred to */
  int64_t touched;              /* counts what shared documents gather, so that it keeps its order */
  uint64_t rows_done;           /* for tick */
  bool has_secrets;             /* there is a key: */
  unsigned char secret_key[32]; /* of what stands sealed in the stage; in memory only */
  const aon_schema_collection *hides_collection; /* of the last answer: NULL, none yet */
  char hides_property[64];
  bool hides;
  bool waiting_findings; /* some count only if their row is a create */
  uint64_t reported;     /* how many findings stand in the input's problems; 0 when they were cleared */
  bool parsing_reported; /* those of parsing are among them */
  struct aon_box *box;   /* what the functions of `out` work for, in a userdata of the host */
  int out_reference, row_reference;
};

/* A row as it comes back from the stage; texts and documents are in the arena given. */
typedef struct aon_job_row {
  int64_t key;
  const aon_schema_sheet *sheet;
  uint32_t number;
  aon_text id;
  int flags;
  uint64_t filled, cleared, faults; /* bits of columns */
  bson_t data;                      /* canonical values by property */
  bson_t shown;                     /* by index of column, where it differs from the canonical value */
  bson_t refs;                      /* ids by property; empty before validation */
  aon_image before;
  bson_t before_view; /* where before isn't absent */
} aon_job_row;

typedef struct aon_collector aon_collector;

/* ---- stage.c ---- */
aon_result aon_stage_open(aon_pack_job *job, aon_error *error) AON_MUST_USE;
aon_result aon_stage_forget_validation(aon_pack_job *job, aon_error *error) AON_MUST_USE;
/* The next rows of a sheet after a row number, into the arena: at most AON_JOB_BATCH, none when there are no more. */
aon_result aon_stage_rows(aon_pack_job *job, const aon_schema_sheet *sheet, uint32_t after, aon_arena *arena, aon_job_row *rows,
                          size_t *ret_count, aon_error *error) AON_MUST_USE;
/* Runs a statement of the cache with parameters by letters: i int64_t, t aon_text, b bytes (const void *, size_t), n NULL. No rows. */
aon_result aon_stage_run(aon_pack_job *job, aon_error *error, const char *sql, const char *types, ...) AON_MUST_USE;
/* Likewise ready to step; give it back with aon_sqlite_done. */
aon_result aon_stage_query(aon_pack_job *job, sqlite3_stmt **ret_statement, aon_error *error, const char *sql, const char *types,
                           ...) AON_MUST_USE;
aon_text aon_stage_text(sqlite3_stmt *statement, int column); /* lives until the next step */
static inline int64_t aon_row_key(const aon_schema_sheet *sheet, uint32_t row) { return (int64_t)sheet->index << 32 | row; }
static inline uint32_t aon_key_row(int64_t key) { return (uint32_t)(key & 0xffffffff); }

/* ---- recall.c ---- */
/* kind: whom the question is for; its answers must not be empty. */
enum {
  AON_RECALL_SHARED = 0x00000,  /* + collection: id of a shared document -> its number */
  AON_RECALL_NAMED = 0x10000,   /* + sheet << 8 + column: name -> id of the row that has it */
  AON_RECALL_SCANNED = 0x20000, /* + collection: property -> "1", its values are in known */
  AON_RECALL_THERE = 0x30000    /* + collection << 8 + sheet: id -> whether a store has it ("1", "0") */
};
bool aon_recall_get(const aon_pack_job *job, uint32_t kind, aon_text key, aon_text *ret_value); /* lives until the next put */
void aon_recall_put(aon_pack_job *job, uint32_t kind, aon_text key, aon_text value);
void aon_recall_clear(aon_pack_job *job);

/* ---- findings.c ---- */
enum { AON_FOUND_PARSING = 0, AON_FOUND_VALIDATING = 1, AON_FOUND_IF_CREATED = 2 };
typedef struct aon_finding {
  int phase;
  aon_severity severity;
  size_t place;         /* of the sheet in the workbook, from 1; 0: the file as a whole */
  const char *sheet;    /* NULL: the file as a whole */
  uint32_t row, column; /* from 1; 0: none */
  uint32_t sub;         /* tells several findings of one cell apart (missing columns); 0 for cells */
  const char *heading, *value, *code, *sentence;
} aon_finding;
/* The first finding of a cell stays. *ret_added (may be NULL): whether this one was it. */
aon_result aon_finding_add(aon_pack_job *job, const aon_finding *finding, aon_error *error) AON_MUST_USE;
/* A cell of a known sheet: sentence without the place, which is put before it. value NULL: empty or sensitive. */
aon_result aon_finding_cell(aon_pack_job *job, int phase, aon_severity severity, const aon_schema_sheet *sheet,
                            const aon_schema_column *column, uint32_t row, const char *value, const char *code, const char *sentence,
                            aon_error *error) AON_MUST_USE;
/* Takes back and settles what was found in a value that counts only on create. */
aon_result aon_finding_settle(aon_pack_job *job, const aon_schema_sheet *sheet, uint32_t row, bool created, aon_error *error) AON_MUST_USE;
/* Hands all that count to the input's problems, in the order of sheets, rows, columns; what it handed over before is first taken out,
 * unless somebody else has put something in between. */
aon_result aon_findings_report(aon_pack_job *job, aon_error *error) AON_MUST_USE;
/* "Users!B7"; a column that the file lacks: its heading. */
const char *aon_cell_name(aon_pack_job *job, const aon_schema_sheet *sheet, const aon_schema_column *column, uint32_t row,
                          aon_arena *arena);

/* ---- values.c: rows as documents ---- */
/* Appends a canonical value; wrap: each entry of a list as {wrap: entry}. */
void aon_value_append(bson_t *document, const char *name, const aon_value *value, const char *wrap);
/* What the row's cells change in its document of that collection (RFC 7396), references resolved. ret_patch is initialised. */
void aon_row_patch(const aon_job_row *row, const aon_schema_collection *collection, bson_t *ret_patch);
/* Bits of the columns that are bound to the collection. */
uint64_t aon_sheet_bound(const aon_schema_sheet *sheet, const aon_schema_collection *collection);
/* The main document as it will be, without stamps. ret_after is initialised. */
aon_result aon_row_after(aon_pack_job *job, const aon_job_row *row, bson_t *ret_after, aon_error *error) AON_MUST_USE;
/* What the cell shows, in the arena; NULL: it is empty, or sensitive. */
const char *aon_row_shown(const aon_job_row *row, const aon_schema_column *column, aon_arena *arena);
/* A new document with its id, parts and organization, as far as the collection holds them; ret_document is initialised. */
void aon_document_begin(const aon_pack_job *job, const aon_schema_collection *collection, aon_text id, aon_text own, bson_t *ret_document);
/* Top-level properties of patch put into target, whole; null removes. ret_result is initialised. */
void aon_document_put(const bson_t *target, const bson_t *patch, bson_t *ret_result);
/* bson_t asks for more alignment than calloc and arenas give: arrays of what holds one (released by free), and a view of bytes in the
 * arena. NULL: no memory. */
void *aon_bson_array(size_t count, size_t size);
/* Rows of the sheet that a batch may have. */
static inline size_t aon_sheet_batch(const aon_pack_job *job, const aon_schema_sheet *sheet) {
  uint64_t rows = job->sheets[sheet->index].rows;
  return rows < AON_JOB_BATCH ? (size_t)rows : AON_JOB_BATCH;
}
const bson_t *aon_bson_view(aon_arena *arena, const uint8_t *bytes, uint32_t length);
/* Copies the document into the arena and destroys it. */
const bson_t *aon_bson_keep(aon_arena *arena, bson_t *document);
bool aon_document_foreign(const aon_pack_job *job, const aon_schema_collection *collection, const bson_t *document);
bool aon_bson_text(const bson_iter_t *value, aon_text *ret_text);
bool aon_document_text(const bson_t *document, const char *property, aon_text *ret_text);
/* Texts of a property that is one text or a list of them, in the arena; none where it isn't there. */
aon_result aon_document_texts(const bson_t *document, const char *property, aon_arena *arena, aon_text **ret_texts, size_t *ret_count,
                              aon_error *error) AON_MUST_USE;
static inline bool aon_text_same(aon_text a, aon_text b) {
  return a.length == b.length && (!a.length || !memcmp(a.data, b.data, a.length));
}

/* ---- bridge.c: documents in Lua; calls into the pack ---- */
aon_result aon_bridge_open(aon_pack_job *job, aon_error *error) AON_MUST_USE;
void aon_bridge_close(aon_pack_job *job);
/* Empties out.memo: a batch of rows begins. */
aon_result aon_bridge_batch(aon_pack_job *job, aon_error *error) AON_MUST_USE;
/* Makes {id, created, document, before, filled, cleared} for the calls that follow. */
aon_result aon_bridge_row(aon_pack_job *job, const aon_job_row *row, const bson_t *document, aon_error *error) AON_MUST_USE;
/* *ret_patch in the arena, NULL if it changes nothing. */
aon_result aon_bridge_adjust(aon_pack_job *job, int function, aon_arena *arena, const bson_t **ret_patch, aon_error *error) AON_MUST_USE;
typedef struct aon_verdict {
  const char *property, *code, *sentence; /* property NULL: nothing wrong */
} aon_verdict;
aon_result aon_bridge_check(aon_pack_job *job, int function, aon_arena *arena, aon_verdict *ret_verdict, aon_error *error) AON_MUST_USE;
aon_result aon_bridge_collect(aon_pack_job *job, int function, aon_collector *collector, aon_error *error) AON_MUST_USE;

/* ---- secret.c: values that a pack hands on and never sees ---- */
aon_result aon_secret_seal(aon_pack_job *job, aon_text value, const char *property, bson_t *data, aon_error *error) AON_MUST_USE;
/* Stands in a document for the value of the row's column. */
void aon_secret_mark(bson_t *document, const char *name, size_t column);
/* The document with values in place of marks, where the collection's store never tells them again; without them where it does. ret_document
 * is initialised on success. */
aon_result aon_secret_open(aon_pack_job *job, const aon_job_row *row, const aon_schema_collection *collection, const bson_t *document,
                           bson_t *ret_document, aon_error *error) AON_MUST_USE;
void aon_secret_forget(aon_pack_job *job);

/* ---- blame.c: which cells a refusal is about ---- */
/* A document that its store can't hold, as planning finds: becomes a problem of the row's cell, where the store names a property. Returns
 * AON_REJECTED with why. */
aon_result aon_job_refused(aon_pack_job *job, const aon_operation *operation, const aon_error *why, aon_error *error) AON_MUST_USE;

/* ---- shared.c: documents that many rows feed ---- */
/* All: own is the free part of the id. sheet: of the row that touches it. */
aon_result aon_shared_member(aon_pack_job *job, const aon_schema_collection *collection, aon_text own, const char *property, aon_text value,
                             bool joins, const aon_schema_sheet *sheet, aon_error *error) AON_MUST_USE;
aon_result aon_shared_properties(aon_pack_job *job, const aon_schema_collection *collection, aon_text own, const bson_t *properties,
                                 const aon_schema_sheet *sheet, aon_error *error) AON_MUST_USE;
aon_result aon_shared_entry(aon_pack_job *job, const aon_schema_collection *collection, aon_text own, const bson_t *entry,
                            const aon_schema_sheet *sheet, aon_error *error) AON_MUST_USE;
/* The list of such a document with the entries of this upload, in order; ret_list is initialised (an array). *ret_added: how many are new.
 */
aon_result aon_shared_list(aon_pack_job *job, const aon_schema_collection *collection, aon_text id, const aon_image *before,
                           aon_arena *arena, bson_t *ret_list, uint64_t *ret_added, aon_error *error) AON_MUST_USE;
/* Emits a step's documents. *ret_entries: entries added to lists. */
aon_result aon_shared_emit(aon_pack_job *job, const aon_schema_step *step, const aon_plan_sink *sink, uint64_t *ret_entries,
                           aon_error *error) AON_MUST_USE;

/* ---- lookup.c: what the stores know ---- */
/* A document of the organization with that value, as it will be after the upload: documents that the upload renames are left out.
 * except: an id that doesn't count. *ret_id in the arena, data NULL: none; *ret_count: 0, 1 or 2 (more than one). */
aon_result aon_lookup(aon_pack_job *job, const aon_schema_collection *collection, const char *property, aon_text folded, aon_text except,
                      aon_arena *arena, aon_text *ret_id, int *ret_count, aon_error *error) AON_MUST_USE;
/* The image of a list document through the stage, so that a document is read once. */
aon_result aon_lookup_image(aon_pack_job *job, const aon_schema_collection *collection, aon_text id, aon_arena *arena, aon_image *ret_image,
                            aon_error *error) AON_MUST_USE;
aon_result aon_lookup_prefetch(aon_pack_job *job, const aon_schema_collection *collection, const aon_text *ids, size_t count,
                               aon_error *error) AON_MUST_USE;

/* ---- collect.c ---- */
/* One operation, or none where nothing changes: before as the source gave it, after without stamps (NULL: delete). *ret_emitted may be
 * NULL. */
aon_result aon_job_emit(aon_pack_job *job, const aon_plan_sink *sink, const aon_schema_collection *collection, aon_text id,
                        const aon_image *before, const bson_t *after, const aon_origin *origin, bool *ret_emitted,
                        aon_error *error) AON_MUST_USE;
aon_result aon_source_read(aon_pack_job *job, const aon_schema_collection *collection, const aon_text *ids, size_t count, aon_arena *arena,
                           aon_image *images, aon_error *error) AON_MUST_USE;
/* What the functions of `out` do; texts and documents are in the collector's arena. */
aon_arena *aon_collector_arena(aon_collector *collector);
aon_result aon_collector_merge(aon_collector *collector, const aon_schema_collection *collection, aon_text own, const bson_t *properties,
                               const bson_t *defaults, aon_error *error) AON_MUST_USE;
aon_result aon_collector_delete(aon_collector *collector, const aon_schema_collection *collection, aon_text own,
                                aon_error *error) AON_MUST_USE;
#endif
