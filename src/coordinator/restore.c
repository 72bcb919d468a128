/* What becomes of one document when its operation is taken back: the table and the merge of docs/protocol.md, invariant 3.
 * Invariant: nothing that somebody else wrote is in a target unless it stands in current too. */
#include <string.h>

#include "coordinator/run.h"
#include "model/document.h"

static size_t count_names(const char *const *names) {
  size_t count = 0;
  while (names && names[count])
    count++;
  return count;
}

/* Two lists and one name more, as one. */
static const char *const *join(aon_arena *arena, const char *const *a, const char *const *b, const char *more) {
  size_t m = count_names(a), n = count_names(b);
  const char **all = aon_arena_alloc(arena, (m + n + 2) * sizeof *all);
  if (!all)
    return NULL;
  if (m)
    memcpy(all, a, m * sizeof *all);
  if (n)
    memcpy(all + m, b, n * sizeof *all);
  all[m + n] = more;
  return all;
}

static bool same_stamp(const bson_t *a, const bson_t *b) {
  bson_iter_t at, other;
  bool in_a = bson_iter_init_find(&at, a, AON_STAMP_NAME), in_b = bson_iter_init_find(&other, b, AON_STAMP_NAME);
  return in_a == in_b && (!in_a || aon_value_equal(&at, &other));
}

bool aon_image_same(const aon_image *a, const aon_image *b, const char *const *volatiles, const char *const *more_volatiles) {
  bson_t x, y;
  if (!a->bson || !b->bson)
    return !a->bson && !b->bson;
  if (!aon_image_view(a, &x) || !aon_image_view(b, &y))
    return false;
  if (aon_document_equal(&x, &y, NULL))
    return true;
  /* Two lists: what the configuration names need not be asked again where the store names it. */
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_comparison how = {.volatiles = join(&arena, volatiles, more_volatiles, NULL)};
  return how.volatiles && how.volatiles[0] && aon_document_equal(&x, &y, &how) && same_stamp(&x, &y);
}

typedef struct path_list {
  aon_buffer json;
} path_list;

static aon_result hear_path(void *context, const char *path, aon_error *error) {
  path_list *list = context;
  aon_result result = aon_buffer_text(&list->json, list->json.length ? "," : "[", error);
  return result ? result : aon_text_to_json(path, strlen(path), &list->json, error);
}

static aon_result merge(const bson_t *before, const bson_t *after, const bson_t *current, const aon_comparison *how, aon_arena *arena,
                        aon_restore *restore, aon_error *error) {
  bson_t merged;
  size_t conflicts = 0;
  path_list list = {0};
  aon_result result = aon_document_merge(before, after, current, how, &merged, &conflicts, hear_path, &list, error);
  if (result == AON_REJECTED) { /* nothing that can be written is both theirs and ours: a person looks at the whole document */
    aon_buffer_release(&list.json);
    restore->verdict = AON_RESTORE_CONFLICT;
    return AON_OK;
  }
  if (result) {
    aon_buffer_release(&list.json);
    return result;
  }
  if (conflicts) {
    restore->verdict = AON_RESTORE_CONFLICT;
    result = aon_buffer_text(&list.json, "]", error);
    if (!result && !(restore->paths = aon_arena_text(arena, list.json.data, list.json.length)))
      result = aon_fail_memory(error);
  } else if (aon_document_equal(&merged, current, NULL)) {
    restore->verdict = AON_RESTORE_DONE;
  } else {
    restore->verdict = AON_RESTORE_WRITE;
    result = aon_image_from(&merged, arena, &restore->target, error);
  }
  bson_destroy(&merged);
  aon_buffer_release(&list.json);
  return result;
}

static aon_result judge_update(const aon_operation *operation, const bson_t *before, const bson_t *after, const bson_t *current,
                               const aon_comparison *loose, aon_arena *arena, aon_restore *restore, aon_error *error) {
  const aon_comparison strict = {.volatiles = loose->volatiles};
  if (aon_document_equal(current, after, &strict)) {
    restore->verdict = AON_RESTORE_WRITE;
    restore->target = operation->before; /* with its token: byte for byte what was there */
    return AON_OK;
  }
  if (aon_document_equal(current, before, &strict)) {
    restore->verdict = AON_RESTORE_DONE;
    return AON_OK;
  }
  if (operation->collection->merge_none) { /* stamps and volatile properties don't count here either */
    restore->verdict = aon_document_equal(current, after, loose)    ? AON_RESTORE_WRITE
                       : aon_document_equal(current, before, loose) ? AON_RESTORE_DONE
                                                                    : AON_RESTORE_CONFLICT;
    restore->target = restore->verdict == AON_RESTORE_WRITE ? operation->before : (aon_image){0};
    return AON_OK;
  }
  return merge(before, after, current, loose, arena, restore, error);
}

aon_result aon_restore_judge(const aon_operation *operation, const aon_image *current, const char *const *volatiles, aon_arena *arena,
                             aon_restore *restore, aon_error *error) {
  *restore = (aon_restore){.verdict = AON_RESTORE_DONE};
  const aon_collection *collection = operation->collection;
  aon_comparison how = {.stamps = join(arena, collection->stamps, NULL, "_bulkOperationId"),
                        .volatiles = join(arena, collection->volatiles, volatiles, NULL),
                        .sets = collection->sets};
  if (!how.stamps || !how.volatiles)
    return aon_fail_memory(error);
  bson_t before, after, now;
  if ((operation->before.bson && !aon_image_view(&operation->before, &before)) ||
      (operation->after.bson && !aon_image_view(&operation->after, &after)) || (current->bson && !aon_image_view(current, &now)))
    return aon_fail(error, AON_CORRUPT, "corrupt", "An image of %s/%s is damaged.", collection->store, collection->name);
  switch (operation->kind) {
  case AON_CREATE:
    if (!current->bson)
      return AON_OK;
    /* No after image: created and deleted again by one bulk operation; what stands there now is nobody's of ours. */
    restore->verdict = operation->after.bson && aon_document_equal(&now, &after, &how) ? AON_RESTORE_WRITE : AON_RESTORE_CONFLICT;
    return AON_OK;
  case AON_UPDATE:
    if (!current->bson)
      return AON_OK; /* their delete stands */
    return judge_update(operation, &before, &after, &now, &how, arena, restore, error);
  case AON_DELETE:
    if (!current->bson) {
      restore->verdict = AON_RESTORE_WRITE;
      restore->target = operation->before;
    } else if (!aon_document_equal(&now, &before, &how)) {
      restore->verdict = AON_RESTORE_CONFLICT;
    }
    return AON_OK;
  }
  return aon_fail(error, AON_CORRUPT, "corrupt", "An operation of an unknown kind stands in the journal.");
}
