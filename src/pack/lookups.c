/* Which values a pack's validation looks up in stores: those that must be unique, and those by which documents are referred to.
 *
 * Invariant: what lookup.c is asked for while a workbook is validated is among them (tests/pack/job_test.c holds validation against it). */
#include <string.h>

#include "pack/schema.h"

typedef struct looking {
  aon_pack_lookup *lookups;
  size_t count;
} looking;

static void add(looking *l, const aon_schema_collection *collection, const char *property) {
  for (size_t i = 0; i < l->count; i++)
    if (l->lookups[i].collection == &collection->base && !strcmp(l->lookups[i].property, property))
      return;
  l->lookups[l->count++] =
      (aon_pack_lookup){.collection = &collection->base, .property = property, .within = collection->organization_property};
}

static void add_column(looking *l, const aon_schema_sheet *sheet, const aon_schema_column *column) {
  if (column->unique && sheet->main)
    add(l, sheet->main, column->property);
  if (column->unique && sheet->main && column->unique_in)
    add(l, column->unique_in, column->unique_in_property);
  for (size_t i = 0; i < column->reference_count; i++)
    add(l, column->references[i].collection, column->references[i].by);
}

aon_result aon_pack_lookups(const aon_pack *pack, aon_arena *arena, const aon_pack_lookup **ret_lookups, size_t *ret_count,
                            aon_error *error) {
  const aon_schema *schema = &pack->schema;
  looking l = {0};
  size_t most = 0;
  for (size_t i = 0; i < schema->sheet_count; i++)
    for (size_t k = 0; k < schema->sheets[i].column_count; k++)
      most += 2 + schema->sheets[i].columns[k].reference_count;
  l.lookups = aon_arena_alloc(arena, (most + 1) * sizeof *l.lookups);
  if (!l.lookups)
    return aon_fail_memory(error);
  for (size_t i = 0; i < schema->sheet_count; i++)
    for (size_t k = 0; k < schema->sheets[i].column_count; k++)
      add_column(&l, &schema->sheets[i], &schema->sheets[i].columns[k]);
  *ret_lookups = l.lookups;
  *ret_count = l.count;
  return AON_OK;
}
