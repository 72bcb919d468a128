/* Equality of values and documents.
 * Invariant: what is equal here has the same hash in members.c; bytes that are no BSON are equal to nothing but themselves. */
#include <math.h>
#include <string.h>

#include "model/members.h"

static bool is_integer(const bson_iter_t *value) {
  return bson_iter_type(value) == BSON_TYPE_INT32 || bson_iter_type(value) == BSON_TYPE_INT64;
}

static bool is_number(const bson_iter_t *value) { return is_integer(value) || bson_iter_type(value) == BSON_TYPE_DOUBLE; }

/* By value and exactly: 2^53 + 1 is no double, so it equals none. */
static bool numbers_equal(const bson_iter_t *a, const bson_iter_t *b) {
  if (is_integer(a) && is_integer(b))
    return bson_iter_as_int64(a) == bson_iter_as_int64(b);
  if (!is_integer(a) && !is_integer(b)) {
    double left = bson_iter_double(a), right = bson_iter_double(b);
    return left == right || (isnan(left) && isnan(right));
  }
  int64_t integer = bson_iter_as_int64(is_integer(a) ? a : b);
  double real = bson_iter_double(is_integer(a) ? b : a);
  return real >= -0x1p63 && real < 0x1p63 && real == trunc(real) && (int64_t)real == integer;
}

static bool bytes_equal(const void *a, uint32_t a_length, const void *b, uint32_t b_length) {
  return a_length == b_length && memcmp(a, b, a_length) == 0;
}

static bool texts_equal(const bson_iter_t *a, const bson_iter_t *b) {
  uint32_t a_length, b_length;
  const char *left = bson_iter_utf8(a, &a_length), *right = bson_iter_utf8(b, &b_length);
  return bytes_equal(left, a_length, right, b_length);
}

/* The bytes of an object, or of an array. */
static const uint8_t *nested(const bson_iter_t *value, uint32_t *ret_length) {
  const uint8_t *data = NULL;
  if (bson_iter_type(value) == BSON_TYPE_ARRAY)
    bson_iter_array(value, ret_length, &data);
  else
    bson_iter_document(value, ret_length, &data);
  return data;
}

static bool is_ignored(const aon_place *member, const aon_comparison *how) {
  return aon_place_is_stamp(member, how) || aon_place_is_volatile(member, how);
}

static size_t count_of(const uint8_t *data, uint32_t length, const aon_comparison *how, const aon_place *place, bool *ret_whole) {
  bson_iter_t at;
  size_t count = 0;
  *ret_whole = bson_iter_init_from_data(&at, data, length);
  while (*ret_whole && bson_iter_next(&at)) {
    aon_place member = {place, bson_iter_key(&at)};
    count += !is_ignored(&member, how);
  }
  *ret_whole = *ret_whole && at.err_off == 0;
  return count;
}

/* Equal if there are as many members that count in both, and each of a is found in b. */
static bool unordered_equal(const uint8_t *a, uint32_t a_length, const uint8_t *b, uint32_t b_length, const aon_place *place,
                            const aon_comparison *how, int depth) {
  bool a_whole, b_whole;
  if (count_of(a, a_length, how, place, &a_whole) != count_of(b, b_length, how, place, &b_whole) || !a_whole || !b_whole)
    return false;
  bson_iter_t at, other;
  AON_MEMBERS_CLEANUP aon_members others = {0};
  bson_t view;
  if (!bson_iter_init_from_data(&at, a, a_length) || !bson_init_static(&view, b, b_length))
    return false;
  aon_members_open_document(&others, &view);
  while (bson_iter_next(&at)) {
    aon_place member = {place, bson_iter_key(&at)};
    if (is_ignored(&member, how))
      continue;
    if (!aon_members_find(&others, member.key, &other) || !aon_value_equal_at(&at, &other, &member, how, depth))
      return false;
  }
  return true;
}

static bool next_counting(bson_iter_t *at, const aon_place *place, const aon_comparison *how) {
  while (bson_iter_next(at)) {
    aon_place member = {place, bson_iter_key(at)};
    if (!is_ignored(&member, how))
      return true;
  }
  return false;
}

/* Most often both have the same order, so they are walked in step as long as that holds. */
static bool members_equal(const uint8_t *a, uint32_t a_length, const uint8_t *b, uint32_t b_length, const aon_place *place,
                          const aon_comparison *how, int depth) {
  bson_iter_t left, right;
  if (bytes_equal(a, a_length, b, b_length))
    return true;
  if (!bson_iter_init_from_data(&left, a, a_length) || !bson_iter_init_from_data(&right, b, b_length))
    return false;
  for (;;) {
    bool more = next_counting(&left, place, how), more_right = next_counting(&right, place, how);
    if (left.err_off || right.err_off || more != more_right)
      return false;
    if (!more)
      return true;
    aon_place member = {place, bson_iter_key(&left)};
    if (strcmp(member.key, bson_iter_key(&right)) != 0)
      return unordered_equal(a, a_length, b, b_length, place, how, depth);
    if (!aon_value_equal_at(&left, &right, &member, how, depth))
      return false;
  }
}

static bool elements_equal(const bson_iter_t *a, const bson_iter_t *b, int depth) {
  bson_iter_t left, right;
  if (!bson_iter_recurse(a, &left) || !bson_iter_recurse(b, &right))
    return false;
  for (;;) {
    bool more = bson_iter_next(&left), more_right = bson_iter_next(&right);
    if (more != more_right || left.err_off || right.err_off)
      return false;
    if (!more)
      return true;
    if (!aon_value_equal_at(&left, &right, NULL, NULL, depth))
      return false;
  }
}

static bool sets_equal(const bson_iter_t *a, const bson_iter_t *b) {
  AON_BAG_CLEANUP aon_bag left = {0};
  AON_BAG_CLEANUP aon_bag right = {0};
  aon_bag_open(&left, a);
  aon_bag_open(&right, b);
  return aon_bag_equal(&left, &right);
}

static bool nested_equal(const bson_iter_t *a, const bson_iter_t *b, const aon_place *place, const aon_comparison *how, int depth) {
  uint32_t a_length, b_length;
  const uint8_t *left = nested(a, &a_length), *right = nested(b, &b_length);
  if (!left || !right)
    return false;
  if (bytes_equal(left, a_length, right, b_length))
    return true;
  if (depth >= AON_DOCUMENT_DEPTH_LIMIT)
    return false;
  if (bson_iter_type(a) == BSON_TYPE_DOCUMENT)
    return members_equal(left, a_length, right, b_length, place, place ? how : NULL, depth + 1);
  return aon_place_is_set(place, how) ? sets_equal(a, b) : elements_equal(a, b, depth + 1);
}

static bool binaries_equal(const bson_iter_t *a, const bson_iter_t *b) {
  bson_subtype_t a_kind, b_kind;
  uint32_t a_length, b_length;
  const uint8_t *left, *right;
  bson_iter_binary(a, &a_kind, &a_length, &left);
  bson_iter_binary(b, &b_kind, &b_length, &right);
  return a_kind == b_kind && bytes_equal(left, a_length, right, b_length);
}

/* Kinds that only MongoDB has are compared by their bytes. */
static bool foreign_equal(const bson_iter_t *a, const bson_iter_t *b) {
  const uint8_t *left, *right;
  size_t left_length, right_length;
  aon_iter_bytes(a, &left, &left_length);
  aon_iter_bytes(b, &right, &right_length);
  return left_length == right_length && memcmp(left, right, left_length) == 0;
}

bool aon_value_equal_at(const bson_iter_t *a, const bson_iter_t *b, const aon_place *place, const aon_comparison *how, int depth) {
  if (!a || !b)
    return a == b;
  if (is_number(a) && is_number(b))
    return numbers_equal(a, b);
  if (bson_iter_type(a) != bson_iter_type(b))
    return false;
  switch (bson_iter_type(a)) {
  case BSON_TYPE_UTF8:
    return texts_equal(a, b);
  case BSON_TYPE_BOOL:
    return bson_iter_bool(a) == bson_iter_bool(b);
  case BSON_TYPE_NULL:
    return true;
  case BSON_TYPE_DATE_TIME:
    return bson_iter_date_time(a) == bson_iter_date_time(b);
  case BSON_TYPE_OID:
    return bson_oid_equal(bson_iter_oid(a), bson_iter_oid(b));
  case BSON_TYPE_BINARY:
    return binaries_equal(a, b);
  case BSON_TYPE_DOCUMENT:
  case BSON_TYPE_ARRAY:
    return nested_equal(a, b, place, how, depth);
  default:
    return foreign_equal(a, b);
  }
}

bool aon_value_equal(const bson_iter_t *a, const bson_iter_t *b) { return aon_value_equal_at(a, b, NULL, NULL, 0); }

bool aon_document_equal(const bson_t *a, const bson_t *b, const aon_comparison *how) {
  return members_equal(bson_get_data(a), a->len, bson_get_data(b), b->len, NULL, how, 1);
}
