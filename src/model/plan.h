/* The two interfaces between what makes a plan (packs, operations by line, units of work) and what keeps it (the
 * coordinator, over stores and journal). A pack reads documents by the one and hands over operations by the other;
 * it never sees a store or the journal. */
#ifndef AON_MODEL_PLAN_H
#define AON_MODEL_PLAN_H

#include "aon/operation.h"
#include "base/arena.h"

typedef struct aon_document_source {
  void *context;
  /* As aon_store_read: images[i] for ids[i]; the collection's store is found by its name. */
  aon_result (*read)(void *context, const aon_collection *collection, const aon_text *ids, size_t count, aon_arena *arena,
                     aon_image *images, aon_error *error);
  aon_result (*scan)(void *context, const aon_collection *collection, const aon_match *matches, size_t count, const char *const *properties,
                     aon_scan_each each, void *each_context, aon_error *error);
  /* Whether the collection's store takes this property and never tells it again (write_only of its shape). NULL: none does. */
  aon_result (*hides)(void *context, const aon_collection *collection, const char *property, bool *ret_hidden, aon_error *error);
} aon_document_source;

typedef enum aon_claim {
  AON_CLAIM_VALUE,    /* a unique value (collection, property, folded text): exclusive */
  AON_CLAIM_REFERENCE /* a document that is referred to: shared; several claims of the same one are one */
} aon_claim;

typedef struct aon_plan_sink {
  void *context;
  /* Operations arrive in plan order; sequence is set by the sink. collection must outlive the sink; texts and images
   * are copied. before comes from the source (with its token); after is the document as it shall be. An update whose
   * after image equals the before image is the caller's to leave out. */
  aon_result (*operation)(void *context, const aon_operation *operation, aon_error *error);
  aon_result (*claim)(void *context, aon_claim claim, const aon_collection *collection, const char *property, aon_text value,
                      aon_error *error);
  /* A group of entities begins ("user/dept/site") or, with NULL, the current one ends. For progress and the log. */
  aon_result (*group)(void *context, const char *name, aon_error *error);
} aon_plan_sink;

/* Counts of rows (packs) or operations (lines) per entity, in the order of first use. */
#define AON_COUNTS_LIMIT 256
typedef struct aon_counts {
  struct aon_count {
    char entity[64];
    uint64_t created, edited, deleted, unchanged;
  } * entries;
  size_t count, capacity;
} aon_counts;
aon_result aon_counts_entity(aon_counts *counts, const char *entity, struct aon_count **ret_count, aon_error *error) AON_MUST_USE;
void aon_counts_release(aon_counts *counts);
#endif
