/* Uploads without stores: documents in memory as a source, a sink that notes operations and can carry them out, sheets from text. */
#ifndef AON_TEST_PACK_HARNESS_H
#define AON_TEST_PACK_HARNESS_H

#include "model/document.h"
#include "model/text.h"
#include "pack/pack.h"

typedef struct held {
  char *collection, *id;
  bson_t *document; /* NULL: removed */
  uint8_t *token;   /* what the source gives as a token: checks that it comes back with the operation */
} held;

typedef struct noted {
  char *collection, *id, *sheet, *entity;
  aon_operation_kind kind;
  uint32_t row, flags;
  char *before, *after; /* JSON; NULL: absent */
} noted;

typedef struct harness {
  aon_env *env;
  aon_pack *pack;
  held *documents;
  size_t document_count, document_capacity;
  size_t *index; /* hash of collection and id -> position + 1 */
  size_t index_size;
  noted *operations;
  size_t operation_count, operation_capacity;
  char **claims; /* "value collection property text", "reference collection id" */
  size_t claim_count, claim_capacity;
  char **groups;
  size_t group_count, group_capacity;
  size_t reads, scans; /* calls of the source */
  aon_problems problems;
  aon_counts counts;
  char folder[64]; /* of the sheets being written */
  int uploads;
  const char *hides; /* a property that the stores take and never tell again; NULL: none */
  bool again;        /* validate and collect a second time, as when documents were taken meanwhile; the second outcome counts */
} harness;

void harness_open(harness *h, const char *pack);
void harness_close(harness *h);
void harness_put(harness *h, const char *collection, const char *id, const char *json);
const bson_t *harness_document(const harness *h, const char *collection, const char *id); /* NULL: not there */

/* Sheets as csv: begin, any number of sheets, then upload. */
void harness_begin(harness *h);
void harness_sheet(harness *h, const char *name, const char *csv);
/* Parses, validates, and, where there are no errors, collects and carries out. Returns the number of errors. */
uint64_t harness_upload(harness *h);
uint64_t harness_upload_file(harness *h, const char *path);
uint64_t harness_upload_as(harness *h, const char *path, const char *organization, aon_error *error);

/* "Users!B3 bad_format" is among the errors (or warnings). */
bool harness_error(const harness *h, const char *place, const char *code);
bool harness_warning(const harness *h, const char *place, const char *code);
const char *harness_sentence(const harness *h, const char *place);
void harness_print(const harness *h);
const struct aon_count *harness_count(const harness *h, const char *entity);
/* Value at a pointer of a document as JSON in a static buffer; "" where nothing is. */
const char *harness_at(const harness *h, const char *collection, const char *id, const char *pointer);
/* Id of the first document of the collection whose property has that text; NULL: none. */
const char *harness_find(const harness *h, const char *collection, const char *property, const char *text);
size_t harness_documents(const harness *h, const char *collection);
const noted *harness_operation(const harness *h, const char *collection, const char *id); /* NULL: none */
const char *harness_shared(void);                                                         /* folder of the shared data */
#endif
