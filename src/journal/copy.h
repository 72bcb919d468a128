/* Moving a journal: what one backend hands to another, row by row, in an order in which it can be put.
 *
 * Cells are numbers, texts and bytes as the tables have them; pieces of the log go over as they are, sealed and with their sums. Locks of
 * documents go one by one (each backend keeps them in a form of its own). Named locks don't move: they are leases of those
 * who hold them. */
#ifndef AON_JOURNAL_COPY_H
#define AON_JOURNAL_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aon/result.h"

typedef enum aon_copy_table {
  AON_COPY_KEYS,
  AON_COPY_BULK,
  AON_COPY_NAMES,
  AON_COPY_SEGMENTS,
  AON_COPY_LOCKS, /* bulk, sequence (-1: a claim), hash, shared; by bulk, shared and sequence */
  AON_COPY_BATCHES,
  AON_COPY_CONFLICTS,
  AON_COPY_GENERATIONS,
  AON_COPY_EVENTS,
  AON_COPY_FILES,
  AON_COPY_CHUNKS,
  AON_COPY_EPOCH, /* of named locks: the last one given */
  AON_COPY_TABLES
} aon_copy_table;

typedef struct aon_copy_cell {
  char type; /* 'i' number, 't' text, 'b' bytes, 0: null */
  int64_t number;
  const void *bytes; /* borrowed until put returns */
  size_t length;
} aon_copy_cell;

typedef struct aon_copy_form {
  const char *name, *columns; /* names of the columns, with commas */
  const char *types;          /* i, t, b, and o: a number that is 0 or 1 */
} aon_copy_form;

#define AON_COPY_CELLS_MAX 40
extern const aon_copy_form aon_copy_forms[AON_COPY_TABLES];

typedef aon_result (*aon_copy_put)(void *context, aon_copy_table table, const aon_copy_cell *cells, aon_error *error);
/* Gives every row of the source to put. */
typedef aon_result (*aon_copy_feed)(void *feed_context, aon_copy_put put, void *context, aon_error *error);
#endif
