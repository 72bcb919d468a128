/* An operation of a plan, and the problems that keep a plan from being made. */
#ifndef AON_OPERATION_H
#define AON_OPERATION_H

#include "aon/store.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum aon_operation_kind { AON_CREATE = 1, AON_UPDATE = 2, AON_DELETE = 3 } aon_operation_kind;

enum {
  AON_OPERATION_SENSITIVE = 1u << 0, /* an image holds a sensitive property: encrypted in the journal, hidden in print */
};

/* Where an operation comes from; sheet and heading are borrowed texts or NULL. */
typedef struct aon_origin {
  const char *sheet;  /* as the workbook has it */
  uint32_t row;       /* from 1; 0: none */
  const char *entity; /* counts go by it; NULL: by the collection's name */
} aon_origin;

typedef struct aon_operation {
  int64_t sequence; /* from 0, in plan order */
  const aon_collection *collection;
  aon_text id;
  uint64_t hash; /* of store, collection and id, by which it is locked; 0: whoever needs it computes it */
  aon_operation_kind kind;
  uint32_t flags;
  aon_image before; /* absent for create */
  aon_image after;  /* absent for delete */
  const char *path; /* overrides the collection's, NULL */
  aon_origin origin;
} aon_operation;

typedef enum aon_severity { AON_PROBLEM_ERROR, AON_PROBLEM_WARNING } aon_severity;

/* One thing wrong with the input. For workbooks sheet, row, column, heading; for lines line, store, collection, id. */
typedef struct aon_problem {
  aon_severity severity;
  const char *sheet;    /* NULL: the file as a whole */
  uint32_t row, column; /* from 1; 0: none */
  const char *heading;  /* as the file has it, NULL: none */
  const char *value;    /* as shown, NULL: empty or sensitive */
  uint64_t line;        /* from 1; 0: none */
  const char *store, *collection, *document_id;
  const char *code;     /* required, bad_type, … */
  const char *sentence; /* what is wrong and what to do; names the cell as Users!B7 */
} aon_problem;

#ifdef __cplusplus
}
#endif
#endif
