/* The relationships of one part of the upload (ECMA-376 part 2, 8): read, looked up, added to, written.
 * Invariant: a relationship that isn't taken out comes out byte for byte. */
#ifndef AON_SHEET_REPORT_RELATIONS_H
#define AON_SHEET_REPORT_RELATIONS_H

#include "sheet/report_archive.h"

#define AON_PART_NONE SIZE_MAX
#define AON_PART_MEMORY_BYTES ((size_t)64 << 20) /* longest part that is held in memory: workbook, relationships, formats */

typedef struct aon_relation {
  const char *id, *type, *target;
  bool external, removed;
  size_t from, to; /* its bytes */
} aon_relation;

typedef struct aon_relations {
  aon_arena *arena;
  const char *source; /* name of the part they belong to, "" for the package */
  const char *name;   /* of the part that holds them, spelt as the source is: some programs mind the case */
  size_t part;        /* AON_PART_NONE: there was none */
  bool strict;        /* types of ours are written in the strict dialect */
  aon_buffer bytes, added;
  size_t close; /* offset of the root's end tag, 0 if it has none */
  char prefix[64];
  aon_relation *items; /* malloc */
  size_t count, capacity;
  uint32_t last_number; /* of our ids */
  bool changed;
} aon_relations;

/* The whole part as UTF-8; longer than AON_PART_MEMORY_BYTES: AON_REJECTED, bad_file. */
aon_result aon_part_load(aon_package *package, size_t part, aon_buffer *buffer, aon_error *error) AON_MUST_USE;
aon_markup_input aon_part_input(aon_part *part);

aon_result aon_relations_load(aon_relations *relations, aon_package *package, aon_arena *arena, const char *source,
                              aon_error *error) AON_MUST_USE;
void aon_relations_forget(aon_relations *relations); /* after a load that failed: none, as if the part held nothing */
void aon_relations_release(aon_relations *relations);
aon_relation *aon_relations_by_type(aon_relations *relations, const char *ending,
                                    const aon_relation *after); /* after NULL: the first; NULL: no more */
aon_relation *aon_relations_by_id(aon_relations *relations, const char *id);
/* The part that one points to; *ret_part AON_PART_NONE if the package lacks it (the name is then as the relationship has it). */
aon_result aon_relations_target(const aon_relations *relations, const aon_package *package, const aon_relation *relation, size_t *ret_part,
                                const char **ret_name, aon_error *error) AON_MUST_USE;
aon_result aon_relations_fresh_id(aon_relations *relations, const char **ret_id, aon_error *error) AON_MUST_USE;
/* kind: "/comments". Target: name of a part. */
aon_result aon_relations_add(aon_relations *relations, const char *id, const char *kind, const char *target, aon_error *error) AON_MUST_USE;
void aon_relations_remove(aon_relations *relations, aon_relation *relation);
void aon_relations_write(const aon_relations *relations, aon_sink *sink);
#endif
