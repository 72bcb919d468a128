/* Merge patch (RFC 7396), and the three-way merge by which rollback keeps what others wrote (docs/protocol.md, invariant 3).
 *
 * Invariants of the merge: what current has differently from after is in the result as current has it; a value is touched
 * only where current still is what we wrote. An object that is missing on a side counts as one without members, and its own
 * being there is merged as a leaf is. */
#include <string.h>

#include "model/members.h"

typedef struct merger {
  const aon_comparison *how;
  aon_conflict_each each; /* NULL: nobody listens, or no longer */
  void *context;
  size_t conflicts;
  aon_buffer path;
  aon_error *error;
} merger;

typedef struct versions { /* of one value; NULL: missing */
  const bson_iter_t *before, *after, *current;
} versions;

static aon_result merge_value(merger *m, const aon_place *place, const versions *v, bson_t *out, int depth);

static aon_result put(bson_t *out, const char *key, const bson_iter_t *value, aon_error *error) {
  return value ? aon_iter_append(out, key, -1, value, error) : AON_OK;
}

static aon_result report_conflict(merger *m, const aon_place *place) {
  m->conflicts++;
  if (!m->each)
    return AON_OK;
  aon_buffer_clear(&m->path);
  aon_result result = aon_place_text(place, &m->path, m->error);
  if (result)
    return result;
  result = m->each(m->context, m->path.data, m->error);
  if (result == AON_END)
    m->each = NULL;
  return result == AON_END ? AON_OK : result;
}

static aon_result merge_missing(merger *m, const aon_place *place, aon_members *before, aon_members *after, aon_members *current,
                                bson_t *out, int depth) {
  bson_iter_t b, a, c;
  if (!before->data)
    return AON_OK;
  if (!bson_iter_init_from_data(&b, before->data, before->length))
    return aon_document_damaged(m->error);
  aon_result result = AON_OK;
  while (!result && bson_iter_next(&b)) {
    aon_place member = {place, bson_iter_key(&b)};
    if (aon_members_find(current, member.key, &c))
      continue;
    versions v = {.before = &b, .after = aon_members_find(after, member.key, &a) ? &a : NULL};
    result = merge_value(m, &member, &v, out, depth);
  }
  return result ? result : b.err_off ? aon_document_damaged(m->error) : AON_OK;
}

/* Current's members in their order, then those that come back. What only after has was taken away by somebody: it stays away. */
static aon_result merge_members(merger *m, const aon_place *place, aon_members *before, aon_members *after, aon_members *current,
                                bson_t *out, int depth) {
  bson_iter_t b, a, c;
  aon_result result = AON_OK;
  if (current->data) {
    if (!bson_iter_init_from_data(&c, current->data, current->length))
      return aon_document_damaged(m->error);
    while (!result && bson_iter_next(&c)) {
      aon_place member = {place, bson_iter_key(&c)};
      versions v = {.before = aon_members_find(before, member.key, &b) ? &b : NULL,
                    .after = aon_members_find(after, member.key, &a) ? &a : NULL,
                    .current = &c};
      result = merge_value(m, &member, &v, out, depth);
    }
    if (!result && c.err_off)
      result = aon_document_damaged(m->error);
  }
  return result ? result : merge_missing(m, place, before, after, current, out, depth);
}

/* Whether an object or set that turned out empty is there: c = a gives b, else c. */
static bool empty_stays(const versions *v) { return (v->current != NULL) == (v->after != NULL) ? v->before != NULL : v->current != NULL; }

static aon_result merge_object(merger *m, const aon_place *place, const versions *v, bson_t *out, int depth) {
  AON_MEMBERS_CLEANUP aon_members before = {0};
  AON_MEMBERS_CLEANUP aon_members after = {0};
  AON_MEMBERS_CLEANUP aon_members current = {0};
  aon_members_open(&before, v->before);
  aon_members_open(&after, v->after);
  aon_members_open(&current, v->current);
  bson_t merged = BSON_INITIALIZER;
  aon_result result = merge_members(m, place, &before, &after, &current, &merged, depth + 1);
  if (!result && (!bson_empty(&merged) || empty_stays(v)) && !bson_append_document(out, place->key, -1, &merged))
    result = aon_document_too_large(m->error);
  bson_destroy(&merged);
  return result;
}

typedef struct bags { /* elements of the three versions of a set */
  aon_bag before, after, current;
} bags;

static bool not_ours(const bags *sets, const bson_iter_t *element) {
  return !aon_bag_holds(&sets->after, element) || aon_bag_holds(&sets->before, element);
}

static bool comes_back(const bags *sets, const bson_iter_t *element) {
  return !aon_bag_holds(&sets->after, element) && !aon_bag_holds(&sets->current, element);
}

static aon_result append_where(const bson_iter_t *array, bool (*where)(const bags *, const bson_iter_t *), const bags *sets, bson_t *out,
                               uint32_t *index, aon_error *error) {
  bson_iter_t at;
  if (!array)
    return AON_OK;
  if (!bson_iter_recurse(array, &at))
    return aon_document_damaged(error);
  aon_result result = AON_OK;
  while (!result && bson_iter_next(&at)) {
    if (!where(sets, &at))
      continue;
    char buffer[16];
    const char *key;
    size_t length = bson_uint32_to_string((*index)++, &key, buffer, sizeof buffer);
    result = aon_iter_append(out, key, (int)length, &at, error);
  }
  return result ? result : at.err_off ? aon_document_damaged(error) : AON_OK;
}

/* Theirs without what we put in, then what we took out. */
static aon_result merge_set(merger *m, const aon_place *place, const versions *v, bson_t *out) {
  bags sets;
  aon_bag_open(&sets.before, v->before);
  aon_bag_open(&sets.after, v->after);
  aon_bag_open(&sets.current, v->current);
  bson_t merged = BSON_INITIALIZER;
  uint32_t index = 0;
  aon_result result = append_where(v->current, not_ours, &sets, &merged, &index, m->error);
  if (!result)
    result = append_where(v->before, comes_back, &sets, &merged, &index, m->error);
  if (!result && (index > 0 || empty_stays(v)) && !bson_append_array(out, place->key, -1, &merged))
    result = aon_document_too_large(m->error);
  bson_destroy(&merged);
  aon_bag_close(&sets.before);
  aon_bag_close(&sets.after);
  aon_bag_close(&sets.current);
  return result;
}

static bool all_present(const versions *v, bool (*is)(const bson_iter_t *)) {
  return (!v->before || is(v->before)) && (!v->after || is(v->after)) && (!v->current || is(v->current));
}

static aon_result merge_value(merger *m, const aon_place *place, const versions *v, bson_t *out, int depth) {
  const bson_iter_t *before = v->before, *after = v->after, *current = v->current;
  if (aon_place_is_volatile(place, m->how))
    return put(out, place->key, current, m->error);
  if (aon_value_equal_at(current, after, place, m->how, depth))
    return put(out, place->key, before, m->error);
  if (aon_place_is_stamp(place, m->how) || aon_value_equal_at(current, before, place, m->how, depth) ||
      aon_value_equal_at(after, before, place, m->how, depth))
    return put(out, place->key, current, m->error);
  if (depth < AON_DOCUMENT_DEPTH_LIMIT && all_present(v, aon_iter_is_object))
    return merge_object(m, place, v, out, depth);
  if (aon_place_is_set(place, m->how) && all_present(v, aon_iter_is_array))
    return merge_set(m, place, v, out);
  aon_result result = report_conflict(m, place);
  return result ? result : put(out, place->key, current, m->error);
}

static aon_result finish(aon_result result, bson_t *out, aon_error *error) {
  if (!result && out->len > AON_DOCUMENT_BYTES_LIMIT)
    result = aon_document_too_large(error);
  if (result) {
    bson_destroy(out);
    bson_init(out);
  }
  return result;
}

aon_result aon_document_merge(const bson_t *before, const bson_t *after, const bson_t *current, const aon_comparison *how,
                              bson_t *ret_result, size_t *ret_conflicts, aon_conflict_each each, void *context, aon_error *error) {
  merger m = {.how = how, .each = each, .context = context, .error = error};
  AON_MEMBERS_CLEANUP aon_members b = {0};
  AON_MEMBERS_CLEANUP aon_members a = {0};
  AON_MEMBERS_CLEANUP aon_members c = {0};
  aon_members_open_document(&b, before);
  aon_members_open_document(&a, after);
  aon_members_open_document(&c, current);
  bson_init(ret_result);
  aon_result result = finish(merge_members(&m, NULL, &b, &a, &c, ret_result, 1), ret_result, error);
  aon_buffer_release(&m.path);
  if (!result)
    *ret_conflicts = m.conflicts;
  return result;
}

/* Merge patch */

static aon_result patch_members(aon_members *target, aon_members *patch, bson_t *out, int depth, aon_error *error);

static aon_result patch_value(const bson_iter_t *target, const bson_iter_t *patch, bson_t *out, int depth, aon_error *error) {
  const char *key = bson_iter_key(patch);
  if (bson_iter_type(patch) == BSON_TYPE_NULL)
    return AON_OK;
  if (!aon_iter_is_object(patch))
    return put(out, key, patch, error);
  if (depth >= AON_DOCUMENT_DEPTH_LIMIT)
    return aon_fail(error, AON_REJECTED, "too_deep", "A document is nested deeper than the limit of %d.", AON_DOCUMENT_DEPTH_LIMIT);
  AON_MEMBERS_CLEANUP aon_members old = {0};
  AON_MEMBERS_CLEANUP aon_members fresh = {0};
  aon_members_open(&old, target);
  aon_members_open(&fresh, patch);
  bson_t child;
  if (!bson_append_document_begin(out, key, -1, &child))
    return aon_document_too_large(error);
  aon_result result = patch_members(&old, &fresh, &child, depth + 1, error);
  return bson_append_document_end(out, &child) || result ? result : aon_document_too_large(error);
}

static aon_result patch_members(aon_members *target, aon_members *patch, bson_t *out, int depth, aon_error *error) {
  bson_iter_t at, other;
  aon_result result = AON_OK;
  if (target->data && !bson_iter_init_from_data(&at, target->data, target->length))
    return aon_document_damaged(error);
  while (target->data && !result && bson_iter_next(&at))
    result = aon_members_find(patch, bson_iter_key(&at), &other) ? patch_value(&at, &other, out, depth, error)
                                                                 : put(out, bson_iter_key(&at), &at, error);
  if (result)
    return result;
  if ((target->data && at.err_off) || !bson_iter_init_from_data(&at, patch->data, patch->length))
    return aon_document_damaged(error);
  while (!result && bson_iter_next(&at))
    if (!aon_members_find(target, bson_iter_key(&at), &other))
      result = patch_value(NULL, &at, out, depth, error);
  return result ? result : at.err_off ? aon_document_damaged(error) : AON_OK;
}

aon_result aon_document_patch(const bson_t *target, const bson_t *patch, bson_t *ret_result, aon_error *error) {
  AON_MEMBERS_CLEANUP aon_members old = {0};
  AON_MEMBERS_CLEANUP aon_members fresh = {0};
  aon_members_open_document(&old, target);
  aon_members_open_document(&fresh, patch);
  bson_init(ret_result);
  return finish(patch_members(&old, &fresh, ret_result, 1, error), ret_result, error);
}
