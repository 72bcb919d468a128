/* What changed between two documents, leaf by leaf.
 * Invariant: an object that only one side has is told by its leaves; if it is empty it is a leaf itself. */
#include "model/members.h"

typedef struct differ {
  aon_difference_each each;
  void *context;
  aon_buffer path;
  bool stopped; /* the caller has heard enough */
  aon_error *error;
} differ;

static aon_result compare_members(differ *d, const aon_place *place, aon_members *before, aon_members *after, int depth);

static aon_result report(differ *d, const aon_place *place, const bson_iter_t *before, const bson_iter_t *after) {
  aon_buffer_clear(&d->path);
  aon_result result = aon_place_text(place, &d->path, d->error);
  if (result)
    return result;
  result = d->each(d->context, d->path.data, before, after, d->error);
  d->stopped = result == AON_END;
  return result == AON_END ? AON_OK : result;
}

static bool has_members(const bson_iter_t *value) {
  bson_iter_t at;
  return aon_iter_is_object(value) && bson_iter_recurse(value, &at) && bson_iter_next(&at);
}

static aon_result compare_values(differ *d, const aon_place *place, const bson_iter_t *before, const bson_iter_t *after, int depth) {
  bool by_leaf = before && after ? aon_iter_is_object(before) && aon_iter_is_object(after) : has_members(before ? before : after);
  if (!by_leaf || depth >= AON_DOCUMENT_DEPTH_LIMIT)
    return aon_value_equal_at(before, after, NULL, NULL, depth) ? AON_OK : report(d, place, before, after);
  AON_MEMBERS_CLEANUP aon_members old = {0};
  AON_MEMBERS_CLEANUP aon_members fresh = {0};
  aon_members_open(&old, before);
  aon_members_open(&fresh, after);
  return compare_members(d, place, &old, &fresh, depth + 1);
}

static aon_result compare_members(differ *d, const aon_place *place, aon_members *before, aon_members *after, int depth) {
  bson_iter_t at, other;
  aon_result result = AON_OK;
  if (before->data && !bson_iter_init_from_data(&at, before->data, before->length))
    return aon_document_damaged(d->error);
  while (before->data && !result && !d->stopped && bson_iter_next(&at)) {
    aon_place member = {place, bson_iter_key(&at)};
    result = compare_values(d, &member, &at, aon_members_find(after, member.key, &other) ? &other : NULL, depth);
  }
  if (result || d->stopped || !after->data)
    return result;
  if ((before->data && at.err_off) || !bson_iter_init_from_data(&at, after->data, after->length))
    return aon_document_damaged(d->error);
  while (!result && !d->stopped && bson_iter_next(&at)) {
    aon_place member = {place, bson_iter_key(&at)};
    if (!aon_members_find(before, member.key, &other))
      result = compare_values(d, &member, NULL, &at, depth);
  }
  return result ? result : at.err_off ? aon_document_damaged(d->error) : AON_OK;
}

aon_result aon_document_difference(const bson_t *before, const bson_t *after, aon_difference_each each, void *context, aon_error *error) {
  differ d = {.each = each, .context = context, .error = error};
  AON_MEMBERS_CLEANUP aon_members old = {0};
  AON_MEMBERS_CLEANUP aon_members fresh = {0};
  aon_members_open_document(&old, before);
  aon_members_open_document(&fresh, after);
  aon_result result = compare_members(&d, NULL, &old, &fresh, 1);
  aon_buffer_release(&d.path);
  return result;
}
