/* The callback store: read, compare, call.
 *
 * Invariants:
 *  - a function that reads is asked before each call, so an operation done twice is refused the second time rather than done again;
 *  - what a function says decides what the write counts as, nothing is guessed: AON_UNKNOWN stays unknown;
 *  - without read there is nothing to compare: an update or a delete is refused, a create is done. */
#include "store/callback.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "model/document.h"
#include "store/match.h"
#include "store/singly.h"

typedef struct callback_store {
  const aon_callbacks *callbacks;
  char *name;
  atomic_int cancelled;
} callback_store;

static aon_result open_store(aon_env *env, const aon_store_config *config, void **ret_state, aon_store_caps *ret_caps, aon_error *error) {
  (void)env;
  const aon_callbacks *callbacks = config->options;
  if (!callbacks || callbacks->version != AON_CALLBACKS_VERSION || !callbacks->perform)
    return aon_fail(error, AON_USAGE, "no_options",
                    "The callback store %s needs an aon_callbacks of version %d with a function that performs.", config->name,
                    AON_CALLBACKS_VERSION);
  callback_store *store = calloc(1, sizeof *store);
  char *name = strdup(config->name);
  if (!store || !name) {
    free(store);
    free(name);
    return aon_fail_memory(error);
  }
  store->callbacks = callbacks;
  store->name = name;
  *ret_caps = (aon_store_caps){.store_class = AON_CLASS_PLAIN,
                               .types = AON_TYPE_TIMESTAMP | AON_TYPE_OBJECT_ID | AON_TYPE_BYTES | AON_TYPE_DECIMAL,
                               .batch_operations = UINT32_MAX,
                               .batch_bytes = UINT32_MAX,
                               .max_exact_integer = INT64_MAX,
                               .can_undo = callbacks->undo != NULL};
  *ret_state = store;
  return AON_OK;
}

static void close_store(void *state) {
  callback_store *store = state;
  free(store->name);
  free(store);
}

static void cancel(void *state) {
  callback_store *store = state;
  atomic_store(&store->cancelled, 1);
  if (store->callbacks->cancel)
    store->callbacks->cancel(store->callbacks->context);
}

static aon_result check_cancel(const callback_store *store, aon_error *error) {
  return atomic_load(&store->cancelled) ? aon_fail(error, AON_CANCELLED, "cancelled", "The call to %s was cancelled.", store->name)
                                        : AON_OK;
}

static aon_result describe(void *state, const aon_collection *collection, const aon_shape **ret_shape, aon_error *error) {
  static const aon_shape shape = {.exists = true, .document_table = true};
  (void)state;
  (void)collection;
  (void)error;
  *ret_shape = &shape;
  return AON_OK;
}

static aon_result normalise(void *state, const aon_collection *collection, aon_text id, const bson_t *document, aon_arena *arena,
                            aon_image *ret_image, aon_error *error) {
  callback_store *store = state;
  if (!id.length)
    return aon_fail(error, AON_REJECTED, "bad_format", "A document of %s/%s needs an id.", store->name, collection->name);
  return aon_image_from(document, arena, ret_image, error);
}

/* ---- reading ---- */

static aon_result read_one(callback_store *store, const char *collection, aon_text id, aon_arena *arena, aon_image *ret_image,
                           aon_error *error) {
  *ret_image = (aon_image){0};
  if (!store->callbacks->read)
    return AON_OK;
  bson_t document = BSON_INITIALIZER;
  bool exists = false;
  aon_result result = store->callbacks->read(store->callbacks->context, collection, id, &document, &exists, error);
  if (!result && exists)
    result = aon_image_from(&document, arena, ret_image, error);
  bson_destroy(&document);
  return result;
}

static aon_result read_documents(void *state, const aon_collection *collection, const aon_text *ids, size_t count, aon_arena *arena,
                                 aon_image *images, aon_error *error) {
  callback_store *store = state;
  atomic_store(&store->cancelled, 0);
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < count; i++) {
    result = check_cancel(store, error);
    if (!result)
      result = read_one(store, collection->name, ids[i], arena, &images[i], error);
  }
  return result;
}

typedef struct searching {
  callback_store *store;
  const aon_match *matches;
  size_t count;
  aon_scan_each each;
  void *context;
} searching;

static aon_result found(void *context, aon_text id, const bson_t *document, aon_error *error) {
  searching *s = context;
  aon_result result = check_cancel(s->store, error);
  if (result || !aon_match_all(document, s->matches, s->count))
    return result;
  aon_found here = {.id = id, .image = {.bson = bson_get_data(document), .bson_length = document->len}};
  return s->each(s->context, &here, error);
}

static aon_result scan(void *state, const aon_collection *collection, const aon_match *wanted, size_t count, const char *const *properties,
                       aon_scan_each each, void *context, aon_error *error) {
  callback_store *store = state;
  (void)properties;
  atomic_store(&store->cancelled, 0);
  if (!store->callbacks->scan)
    return aon_fail(error, AON_USAGE, "not_supported", "The store %s can't be searched: its program gives no function for it.",
                    store->name);
  searching s = {.store = store, .matches = wanted, .count = count, .each = each, .context = context};
  aon_result result = store->callbacks->scan(store->callbacks->context, collection->name, found, &s, error);
  return result == AON_END ? AON_OK : result;
}

/* ---- writing ---- */

static aon_result differs(const callback_store *store, const aon_write *write, bool duplicate, aon_error *error) {
  return duplicate ? aon_fail(error, AON_PERMANENT, "duplicate", "%s/%s/%.*s is there already. Nothing was written.", store->name,
                              write->collection->name, (int)write->id.length, write->id.data)
                   : aon_fail(error, AON_PERMANENT, "changed_meanwhile",
                              "%s/%s/%.*s was changed by somebody else meanwhile. Nothing was written.", store->name,
                              write->collection->name, (int)write->id.length, write->id.data);
}

static aon_result compare(callback_store *store, const aon_write *write, aon_error *error) {
  if (!store->callbacks->read)
    return write->expected.bson && !write->compensates
               ? aon_fail(error, AON_PERMANENT, "not_supported", "%s can't be read, so only new documents can be planned in it.",
                          store->name)
               : AON_OK;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_image now;
  aon_result result = read_one(store, write->collection->name, write->id, &arena, &now, error);
  if (result)
    return result == AON_UNKNOWN ? aon_fail(error, AON_TRANSIENT, "no_reply", "%s could not be read.", store->name) : result;
  bson_t current, expected;
  if (!write->expected.bson)
    return now.bson ? differs(store, write, true, error) : AON_OK;
  aon_comparison how = {.volatiles = write->collection->volatiles, .sets = write->collection->sets};
  bool same = now.bson && aon_image_view(&now, &current) && aon_image_view(&write->expected, &expected) &&
              aon_document_equal(&current, &expected, &how);
  return same ? AON_OK : differs(store, write, false, error);
}

/* NULL: none; a delete has no document that could bear one. */
static const char *stamp_of(const aon_image *image) {
  bson_t view;
  bson_iter_t at;
  bool there = image->bson && aon_image_view(image, &view) && bson_iter_init_find(&at, &view, AON_STAMP_NAME) && BSON_ITER_HOLDS_UTF8(&at);
  return there ? bson_iter_utf8(&at, NULL) : NULL;
}

/* A write that takes one back is the operation that it takes back, with its images in their old places. */
static aon_result call(callback_store *store, const aon_write *write, aon_error *error) {
  const aon_callbacks *callbacks = store->callbacks;
  bool back = write->compensates && callbacks->undo;
  const aon_image *before = back ? &write->wanted : &write->expected, *after = back ? &write->expected : &write->wanted;
  bson_t views[2];
  aon_callback_operation operation = {.collection = write->collection->name,
                                      .id = write->id,
                                      .kind = !before->bson ? AON_CREATE
                                              : after->bson ? AON_UPDATE
                                                            : AON_DELETE,
                                      .bulk_id = write->stamp ? write->stamp : stamp_of(after),
                                      .sequence = write->operation};
  if (before->bson && aon_image_view(before, &views[0]))
    operation.before = &views[0];
  if (after->bson && aon_image_view(after, &views[1]))
    operation.after = &views[1];
  return back ? callbacks->undo(callbacks->context, &operation, error) : callbacks->perform(callbacks->context, &operation, error);
}

static aon_result apply_one(callback_store *store, const aon_write *write, aon_write_state *state, aon_error *error) {
  aon_result result = check_cancel(store, error);
  if (result)
    return result;
  *state = AON_WRITE_REFUSED;
  result = compare(store, write, error);
  if (!result)
    result = call(store, write, error);
  if (result == AON_UNKNOWN)
    *state = AON_WRITE_UNKNOWN;
  else if (!result)
    *state = AON_WRITE_APPLIED;
  return result;
}

static aon_result apply(void *state, aon_transaction *transaction, const aon_write *writes, size_t count, aon_write_state *states,
                        size_t *ret_failed, aon_error *error) {
  callback_store *store = state;
  (void)transaction;
  atomic_store(&store->cancelled, 0);
  memset(states, 0, count * sizeof *states);
  for (size_t i = 0; i < count; i++) {
    aon_result result = apply_one(store, &writes[i], &states[i], error);
    if (!result)
      continue;
    if (error && error->operation == AON_NO_OPERATION)
      error->operation = writes[i].operation;
    *ret_failed = i;
    return result;
  }
  return AON_OK;
}

static aon_result examine(void *state, struct aon_buffer *report, bool *ret_healthy, aon_error *error) {
  const callback_store *store = state;
  *ret_healthy = true;
  return aon_buffer_format(report, error, "functions of the embedding program (class 5): %s, %s\n",
                           store->callbacks->undo ? "can be taken back" : "can't be taken back, so they wait for the decision",
                           store->callbacks->read ? "compared before each call" : "can't be read");
}

const aon_store_adapter aon_callback_adapter = {
    .kind = "callback",
    .interface_version = AON_STORE_INTERFACE,
    .open = open_store,
    .close = close_store,
    .describe = describe,
    .normalise = normalise,
    .read = read_documents,
    .scan = scan,
    .apply = apply,
    AON_SINGLY,
    .examine = examine,
    .cancel = cancel,
};
