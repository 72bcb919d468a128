/* What comparison, difference, patch and merge share: members of an object by key, elements of an array by value, and the
 * place of a value in its document. For src/model only.
 *
 * Costs stay near linear for documents with very many members: an object that has the same order as its partner is walked
 * in step; else, beyond a few members, a sorted index is made once. */
#ifndef AON_MODEL_MEMBERS_H
#define AON_MODEL_MEMBERS_H

#include "model/document.h"

typedef struct aon_members {
  const uint8_t *data; /* NULL: nothing there, nothing is found */
  uint32_t length;
  bson_iter_t next; /* the member that a look-up in step would ask for */
  bool in_step, counted;
  struct aon_member *sorted;
  size_t count;
} aon_members;

/* object may be NULL, or no object: then it has no members. */
void aon_members_open(aon_members *members, const bson_iter_t *object);
void aon_members_open_document(aon_members *members, const bson_t *document);
bool aon_members_find(aon_members *members, const char *key, bson_iter_t *ret_value);
void aon_members_close(aon_members *members);
#define AON_MEMBERS_CLEANUP __attribute__((cleanup(aon_members_close)))

/* Elements of an array, found by value. */
typedef struct aon_bag {
  const uint8_t *data;
  uint32_t length;
  struct aon_element *sorted;
  size_t count;
} aon_bag;
void aon_bag_open(aon_bag *bag, const bson_iter_t *array); /* NULL or no array: empty */
bool aon_bag_holds(const aon_bag *bag, const bson_iter_t *value);
bool aon_bag_equal(const aon_bag *a, const aon_bag *b); /* as multisets */
void aon_bag_close(aon_bag *bag);
#define AON_BAG_CLEANUP __attribute__((cleanup(aon_bag_close)))

typedef struct aon_place { /* a key and what it stands in; NULL is the document itself */
  const struct aon_place *up;
  const char *key;
} aon_place;
bool aon_place_is(const aon_place *place, const char *pointer); /* a JSON Pointer, or without its slash a top-level name */
bool aon_place_is_set(const aon_place *place, const aon_comparison *how);
bool aon_place_is_stamp(const aon_place *place, const aon_comparison *how);
bool aon_place_is_volatile(const aon_place *place, const aon_comparison *how);
aon_result aon_place_text(const aon_place *place, aon_buffer *out, aon_error *error) AON_MUST_USE; /* appends the pointer */

/* Equal at that place, arrays that are sets as sets; NULL is missing. place NULL: no sets. */
bool aon_value_equal_at(const bson_iter_t *a, const bson_iter_t *b, const aon_place *place, const aon_comparison *how, int depth);

/* Compares one segment of a pointer, still escaped, with a key. */
bool aon_segment_is(const char *segment, size_t length, const char *key);

bool aon_iter_is_object(const bson_iter_t *value); /* NULL: no */
bool aon_iter_is_array(const bson_iter_t *value);
/* A value as it stands in its document. */
void aon_iter_bytes(const bson_iter_t *value, const uint8_t **ret_bytes, size_t *ret_length);
/* Appends it under a key (of length bytes, -1: up to its NUL), whole or not at all: AON_REJECTED too_long, or bad_type for what
 * libbson would cut (code with a NUL in it). After a failure out is to be thrown away. */
aon_result aon_iter_append(bson_t *out, const char *key, int length, const bson_iter_t *value, aon_error *error) AON_MUST_USE;
aon_result aon_document_damaged(aon_error *error) AON_MUST_USE;
aon_result aon_document_too_large(aon_error *error) AON_MUST_USE;
#endif
