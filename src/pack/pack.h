/* Packs: what the sheets of a workbook mean. A pack is a Lua file in a sandbox; docs/packs.md is its reference.
 *
 * The way of one upload: aon_pack_job_open reads all rows once into a temporary database (memory bounded), checking each
 * cell; _validate looks at what needs other rows and the stores; _collect hands the operations to a sink in plan order. When
 * documents were taken by somebody else meanwhile, _validate and _collect are simply run again.
 * A pack that misbehaves gives an error with file and line (AON_ENVIRONMENT, code bad_pack), never a crash. */
#ifndef AON_PACK_PACK_H
#define AON_PACK_PACK_H

#include "model/plan.h"
#include "model/problems.h"
#include "sheet/template.h"
#include "sheet/workbook.h"

typedef struct aon_pack aon_pack;
typedef struct aon_pack_job aon_pack_job;

typedef struct aon_pack_limits { /* 0: the default */
  uint64_t memory_bytes;         /* of the Lua state: 64 MiB */
  uint64_t instructions;         /* of one call into the pack: 10,000,000 */
  int64_t call_ms;               /* time of one call into the pack: 2 s */
  uint64_t stage_memory_bytes;   /* of the temporary database before it goes to a file: 16 MiB */
} aon_pack_limits;

/* name: a path if it has a '/' or ends in .lua, else NAME.lua looked up in folders (NULL-terminated, in order). */
aon_result aon_pack_load(aon_env *env, const char *name, const char *const *folders, const aon_pack_limits *limits, aon_pack **ret_pack,
                         aon_error *error) AON_MUST_USE;
void aon_pack_close(aon_pack *pack);
const char *aon_pack_name(const aon_pack *pack);
const char *aon_pack_title(const aon_pack *pack);
const char *aon_pack_file(const aon_pack *pack);

/* Its collections; they live as long as the pack. */
const aon_collection *const *aon_pack_collections(const aon_pack *pack, size_t *ret_count);
const aon_collection *aon_pack_collection(const aon_pack *pack, const char *name); /* NULL: none of that name */
/* What validation looks up in stores: documents by their ids, in each collection, and values of these properties, whose documents it finds
 * by the property that names the organization (within; NULL: it reads all). The pack's tables say all of them: its functions look nothing up.
 * Each once; in the arena. */
typedef struct aon_pack_lookup {
  const aon_collection *collection;
  const char *property, *within;
} aon_pack_lookup;
aon_result aon_pack_lookups(const aon_pack *pack, aon_arena *arena, const aon_pack_lookup **ret_lookups, size_t *ret_count,
                            aon_error *error) AON_MUST_USE;
/* {"store":…,"collection":…,"documentId":…,"query":{…},"path":…} as `aon pack show` prints it. A collection with paths has no query, one
 * without them no path (null). id NULL: of the collection as a whole: documentId and query null, path the template. */
aon_result aon_pack_locate(const aon_pack *pack, const char *collection, const char *id, aon_buffer *out, aon_error *error) AON_MUST_USE;
/* What `aon pack show P` prints: stores, collections, sheets, columns with their rules; as JSON or for people. */
aon_result aon_pack_describe(const aon_pack *pack, bool json, aon_buffer *out, aon_error *error) AON_MUST_USE;
/* The sheets of its template; all memory in the arena. */
aon_result aon_pack_template(const aon_pack *pack, aon_arena *arena, const aon_template_sheet **ret_sheets, size_t *ret_count,
                             aon_error *error) AON_MUST_USE;

typedef struct aon_pack_input {
  aon_workbook *workbook;
  const char *file_name; /* for sentences */
  const char *organization, *user, *bulk_id;
  int64_t instant_ms; /* one for the whole bulk operation */
  const aon_document_source *source;
  aon_problems *problems;                                                  /* errors and warnings are added here, in a steady order */
  aon_result (*tick)(void *context, uint64_t rows_done, aon_error *error); /* now and then; a failure stops the job; may be NULL */
  void *tick_context;
} aon_pack_input;

/* Parses. Problems of the content do not make it fail: they are in input->problems. The input must outlive the job. An organization
 * that a collection's store cannot hold is AON_USAGE. */
aon_result aon_pack_job_open(aon_pack *pack, const aon_pack_input *input, aon_pack_job **ret_job, aon_error *error) AON_MUST_USE;
/* May be called again: problems found by it before are first taken out of input->problems by the caller (aon_problems_clear and
 * the job adds those of parsing again). */
aon_result aon_pack_job_validate(aon_pack_job *job, aon_error *error) AON_MUST_USE;
/* Only when there are no errors. counts: rows per entity. */
aon_result aon_pack_job_collect(aon_pack_job *job, const aon_plan_sink *sink, aon_counts *counts, aon_error *error) AON_MUST_USE;
/* What a store's refusal of one of its operations is about, where that is certain: "C7", or "C7, D7" where it is about what several cells say
 * together; else "". cells: room of AON_PACK_CELLS_BYTES or more. */
#define AON_PACK_CELLS_BYTES 64
void aon_pack_job_cells(aon_pack_job *job, const aon_operation *operation, const aon_error *why, char *cells, size_t room);
void aon_pack_job_close(aon_pack_job *job);
#endif
