/* The asserting decorator. What it asserts stands in assert.h. */
#include "store/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/text.h"

typedef struct asserting {
  const aon_store_adapter *inner;
  void *state;
  aon_store_caps caps;
  char name[64];
  aon_transaction *open; /* NULL: idle */
  bool failed;
  aon_error untouched; /* what an error looks like that nobody has filled */
} asserting;

__attribute__((format(printf, 3, 4), noreturn)) static void breach(const asserting *a, const char *call, const char *format, ...) {
  char sentence[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(sentence, sizeof sentence, format, arguments);
  va_end(arguments);
  fprintf(stderr, "store protocol broken: %s.%s: %s\n", a->name, call, sentence);
  abort();
}

#define ASSERT(a, call, condition, ...)                                                                                                    \
  do {                                                                                                                                     \
    if (!(condition))                                                                                                                      \
      breach(a, call, __VA_ARGS__);                                                                                                        \
  } while (0)

/* The adapter fills a record of ours, so that what it does to it can be seen whether the caller gave one or not. */
static aon_result settle(asserting *a, const char *call, aon_result result, const aon_error *filled, aon_error *error) {
  if (result == AON_OK) {
    ASSERT(a, call, !memcmp(filled, &a->untouched, sizeof *filled), "it succeeded and still filled the error (%s)", filled->code);
    return result;
  }
  ASSERT(a, call, result != AON_END, "it returned AON_END, which is not its to return");
  ASSERT(a, call, filled->kind == result, "it returned %s but the error says %s", aon_result_name(result), aon_result_name(filled->kind));
  ASSERT(a, call, filled->code[0] && filled->sentence[0], "it failed (%s) without a code or a sentence", aon_result_name(result));
  if (error)
    *error = *filled;
  return result;
}

#define CALL(a, name, function, ...)                                                                                                       \
  ({                                                                                                                                       \
    aon_error filled_ = (a)->untouched;                                                                                                    \
    aon_result result_ = (a)->inner->function((a)->state, __VA_ARGS__, &filled_);                                                          \
    settle(a, name, result_, &filled_, error);                                                                                             \
  })

static void check_document(const asserting *a, const char *call, const aon_image *image) {
  bson_t view;
  if (image->bson)
    ASSERT(a, call, bson_init_static(&view, image->bson, image->bson_length) && bson_validate(&view, BSON_VALIDATE_NONE, NULL),
           "an image is no BSON");
  else
    ASSERT(a, call, !image->token && !image->token_length, "an absent image has a token");
}

static void check_collection(const asserting *a, const char *call, const aon_collection *collection) {
  ASSERT(a, call, collection && collection->name && collection->name[0], "the collection has no name");
}

static aon_result open_store(aon_env *env, const aon_store_config *config, void **ret_state, aon_store_caps *ret_caps, aon_error *error) {
  const aon_assert *options = config->options;
  asserting *a = calloc(1, sizeof *a);
  if (!a)
    return aon_fail_memory(error);
  memset(&a->untouched, 0, sizeof a->untouched);
  a->untouched.operation = AON_NO_OPERATION;
  a->inner = options->inner;
  snprintf(a->name, sizeof a->name, "%s", config->name);
  aon_store_config inner = *config;
  inner.options = options->inner_options;
  aon_error filled = a->untouched;
  aon_result result = settle(a, "open", a->inner->open(env, &inner, &a->state, &a->caps, &filled), &filled, error);
  if (result) {
    free(a);
    return result;
  }
  ASSERT(a, "open", a->caps.store_class >= AON_CLASS_PREPARED && a->caps.store_class <= AON_CLASS_PLAIN, "the class is %d",
         (int)a->caps.store_class);
  ASSERT(a, "open", a->caps.batch_operations && a->caps.batch_bytes, "the limits of a batch are 0");
  ASSERT(a, "open",
         a->caps.store_class != AON_CLASS_PREPARED || (a->inner->prepare && a->inner->commit_prepared && a->inner->abort_prepared),
         "class 1 without prepare");
  *ret_caps = a->caps;
  *ret_state = a;
  return AON_OK;
}

static void close_store(void *state) {
  asserting *a = state;
  ASSERT(a, "close", !a->open, "a transaction is still open: commit or abort it first");
  a->inner->close(a->state);
  free(a);
}

static aon_result describe(void *state, const aon_collection *collection, const aon_shape **ret_shape, aon_error *error) {
  asserting *a = state;
  check_collection(a, "describe", collection);
  const aon_shape *shape = NULL;
  aon_result result = CALL(a, "describe", describe, collection, &shape);
  if (result)
    return result;
  ASSERT(a, "describe", shape, "it gave no shape");
  ASSERT(a, "describe", shape->document_table || (shape->key && shape->key[0]), "a table of columns has no key");
  *ret_shape = shape;
  return result;
}

static aon_result normalise(void *state, const aon_collection *collection, aon_text id, const bson_t *document, struct aon_arena *arena,
                            aon_image *ret_image, aon_error *error) {
  asserting *a = state;
  check_collection(a, "normalise", collection);
  ASSERT(a, "normalise", document && arena, "it needs a document and an arena");
  aon_image image = {0};
  aon_result result = CALL(a, "normalise", normalise, collection, id, document, arena, &image);
  if (result)
    return result;
  ASSERT(a, "normalise", image.bson, "it gave no image");
  check_document(a, "normalise", &image);
  *ret_image = image;
  return result;
}

static aon_result read_documents(void *state, const aon_collection *collection, const aon_text *ids, size_t count, struct aon_arena *arena,
                                 aon_image *images, aon_error *error) {
  asserting *a = state;
  check_collection(a, "read", collection);
  ASSERT(a, "read", !count || (ids && images && arena), "it needs ids, room for images and an arena");
  ASSERT(a, "read", count <= AON_STORE_READ_LIMIT, "%zu documents at once are more than %u", count, AON_STORE_READ_LIMIT);
  aon_result result = CALL(a, "read", read, collection, ids, count, arena, images);
  for (size_t i = 0; !result && i < count; i++)
    check_document(a, "read", &images[i]);
  return result;
}

typedef struct hearing {
  asserting *a;
  aon_scan_each each;
  void *context;
  aon_result last;
  bool failing;
} hearing;

static aon_result hear(void *context, const aon_found *found, aon_error *error) {
  hearing *h = context;
  ASSERT(h->a, "scan", !h->failing, "it went on after the callback had ended it");
  ASSERT(h->a, "scan", found->id.data && found->id.length, "it found a document without an id");
  ASSERT(h->a, "scan", found->image.bson, "it found a document that is not there");
  check_document(h->a, "scan", &found->image);
  h->last = h->each(h->context, found, error);
  h->failing = h->last != AON_OK;
  return h->last;
}

static aon_result scan(void *state, const aon_collection *collection, const aon_match *matches, size_t count, const char *const *properties,
                       aon_scan_each each, void *context, aon_error *error) {
  asserting *a = state;
  check_collection(a, "scan", collection);
  ASSERT(a, "scan", each && (!count || matches), "it needs a callback and its conditions");
  for (size_t i = 0; i < count; i++)
    ASSERT(a, "scan", matches[i].property && matches[i].value.data, "condition %zu lacks its property or its value", i);
  hearing h = {.a = a, .each = each, .context = context};
  aon_error filled = a->untouched;
  aon_result result = a->inner->scan(a->state, collection, matches, count, properties, hear, &h, &filled);
  if (h.failing && h.last != AON_END) { /* the caller's own failure, in the caller's own words */
    ASSERT(a, "scan", result == h.last, "the callback failed with %s and it returned %s", aon_result_name(h.last), aon_result_name(result));
    if (error)
      *error = filled;
    return result;
  }
  return settle(a, "scan", result, &filled, error);
}

static void check_branch(const asserting *a, const char *call, const aon_branch *branch) {
  ASSERT(a, call, branch && branch->bulk_id && aon_uuid_valid(branch->bulk_id), "the branch has no UUID in lower case");
  ASSERT(a, call, a->caps.store_class == AON_CLASS_BATCH || branch->batch == 0, "only class 3 counts batches, and this is batch %u",
         branch->batch);
}

static aon_result begin(void *state, const aon_branch *branch, aon_marker marker, aon_transaction **ret_transaction, aon_error *error) {
  asserting *a = state;
  ASSERT(a, "begin", a->caps.store_class <= AON_CLASS_BATCH, "class %d has no transactions", (int)a->caps.store_class);
  ASSERT(a, "begin", !a->open, "a transaction is open already");
  check_branch(a, "begin", branch);
  aon_transaction *transaction = NULL;
  aon_result result = CALL(a, "begin", begin, branch, marker, &transaction);
  if (result)
    return result;
  ASSERT(a, "begin", transaction, "it gave no transaction");
  a->open = transaction;
  a->failed = false;
  *ret_transaction = transaction;
  return result;
}

static void check_writes(const asserting *a, const aon_write *writes, size_t count) {
  ASSERT(a, "apply", count && writes, "it needs at least one write");
  ASSERT(a, "apply", count <= a->caps.batch_operations, "%zu writes are more than the limit of %u", count, a->caps.batch_operations);
  for (size_t i = 0; i < count; i++) {
    const aon_write *write = &writes[i];
    check_collection(a, "apply", write->collection);
    ASSERT(a, "apply", write->id.data && write->id.length, "write %zu names no document", i);
    ASSERT(a, "apply", write->expected.bson || write->wanted.bson, "write %zu neither expects nor wants anything", i);
    ASSERT(a, "apply", write->operation >= 0, "write %zu belongs to no operation", i);
    ASSERT(a, "apply", !write->path || a->caps.paths, "write %zu has a path, which this store has not", i);
    check_document(a, "apply", &write->expected);
    check_document(a, "apply", &write->wanted);
  }
}

static void check_states(const asserting *a, const aon_write_state *states, size_t count, aon_result result, size_t failed) {
  bool unknown = false, applied = true;
  for (size_t i = 0; i < count; i++) {
    unknown = unknown || states[i] == AON_WRITE_UNKNOWN;
    applied = applied && states[i] == AON_WRITE_APPLIED;
    ASSERT(a, "apply", result == AON_OK || i >= failed || states[i] == AON_WRITE_APPLIED,
           "write %zu, before the one that failed, was not applied", i);
  }
  ASSERT(a, "apply", applied == (result == AON_OK), "the result is %s and %s writes were applied", aon_result_name(result),
         applied ? "all" : "not all");
  ASSERT(a, "apply", !unknown || result == AON_UNKNOWN, "a write is unknown and the result is %s", aon_result_name(result));
}

static aon_result apply(void *state, aon_transaction *transaction, const aon_write *writes, size_t count, aon_write_state *states,
                        size_t *ret_failed, aon_error *error) {
  asserting *a = state;
  bool transactions = a->caps.store_class <= AON_CLASS_BATCH;
  ASSERT(a, "apply", !transactions || (transaction && transaction == a->open), "it is not in the open transaction");
  ASSERT(a, "apply", !transactions || !a->failed, "after a failure the transaction can only be aborted");
  ASSERT(a, "apply", transactions || (!transaction && states), "classes 4 and 5 have no transaction, and need room for states");
  check_writes(a, writes, count);
  size_t failed = SIZE_MAX;
  aon_result result = CALL(a, "apply", apply, transaction, writes, count, states, &failed);
  if (result) {
    a->failed = true;
    ASSERT(a, "apply", failed < count, "it failed without naming the write");
    if (ret_failed)
      *ret_failed = failed;
  }
  if (!transactions)
    check_states(a, states, count, result, failed);
  ASSERT(a, "apply", !transactions || result != AON_UNKNOWN, "a write in an open transaction can't be unknown: only its commit can");
  return result;
}

static aon_result flush(void *state, aon_transaction *transaction, aon_error *error) {
  asserting *a = state;
  ASSERT(a, "flush", a->open && transaction == a->open && !a->failed, "no transaction is open that has not failed");
  aon_result result = CALL(a, "flush", flush, transaction);
  a->failed = result != AON_OK;
  return result;
}

static void check_end(asserting *a, const char *call, const aon_transaction *transaction) {
  ASSERT(a, call, a->open && transaction == a->open, "no transaction is open");
  ASSERT(a, call, !a->failed, "after a failure the transaction can only be aborted");
  a->open = NULL;
}

static aon_result prepare(void *state, aon_transaction *transaction, aon_error *error) {
  asserting *a = state;
  ASSERT(a, "prepare", a->caps.store_class == AON_CLASS_PREPARED, "class %d can't prepare", (int)a->caps.store_class);
  check_end(a, "prepare", transaction);
  return CALL(a, "prepare", prepare, transaction);
}

static aon_result commit(void *state, aon_transaction *transaction, aon_error *error) {
  asserting *a = state;
  check_end(a, "commit", transaction);
  return CALL(a, "commit", commit, transaction);
}

static void abort_transaction(void *state, aon_transaction *transaction) {
  asserting *a = state;
  ASSERT(a, "abort", a->open && transaction == a->open, "no transaction is open");
  a->open = NULL;
  a->inner->abort(a->state, transaction);
}

static void check_idle(const asserting *a, const char *call, const aon_branch *branch) {
  ASSERT(a, call, !a->open, "a transaction is open here: end it first");
  check_branch(a, call, branch);
}

static aon_result commit_prepared(void *state, const aon_branch *branch, aon_error *error) {
  asserting *a = state;
  check_idle(a, "commit_prepared", branch);
  return CALL(a, "commit_prepared", commit_prepared, branch);
}

static aon_result abort_prepared(void *state, const aon_branch *branch, aon_error *error) {
  asserting *a = state;
  check_idle(a, "abort_prepared", branch);
  return CALL(a, "abort_prepared", abort_prepared, branch);
}

static aon_result resolve(void *state, const aon_branch *branch, aon_branch_state *ret_state, aon_error *error) {
  asserting *a = state;
  ASSERT(a, "resolve", a->caps.store_class <= AON_CLASS_BATCH, "class %d keeps no markers", (int)a->caps.store_class);
  check_idle(a, "resolve", branch);
  aon_branch_state found = (aon_branch_state)-1;
  aon_result result = CALL(a, "resolve", resolve, branch, &found);
  if (result)
    return result;
  ASSERT(a, "resolve", found <= AON_BRANCH_OPEN, "it did not say what it found");
  ASSERT(a, "resolve", found != AON_BRANCH_PREPARED || a->caps.store_class == AON_CLASS_PREPARED, "only class 1 can be prepared");
  *ret_state = found;
  return result;
}

static aon_result forget(void *state, int64_t before_ms, aon_error *error) {
  asserting *a = state;
  ASSERT(a, "forget", !a->open, "a transaction is open here: end it first");
  return CALL(a, "forget", forget, before_ms);
}

static aon_result examine(void *state, struct aon_buffer *report, bool *ret_healthy, aon_error *error) {
  asserting *a = state;
  ASSERT(a, "examine", report && ret_healthy, "it needs a buffer and room for its verdict");
  return CALL(a, "examine", examine, report, ret_healthy);
}

static void cancel(void *state) {
  asserting *a = state;
  a->inner->cancel(a->state);
}

static aon_pool_counts pool(void *state) {
  const asserting *a = state;
  return a->inner->pool ? a->inner->pool(a->state) : (aon_pool_counts){0};
}

const aon_store_adapter aon_assert_adapter = {
    .kind = "assert",
    .interface_version = AON_STORE_INTERFACE,
    .open = open_store,
    .close = close_store,
    .describe = describe,
    .normalise = normalise,
    .read = read_documents,
    .scan = scan,
    .begin = begin,
    .apply = apply,
    .flush = flush,
    .prepare = prepare,
    .commit = commit,
    .abort = abort_transaction,
    .commit_prepared = commit_prepared,
    .abort_prepared = abort_prepared,
    .resolve = resolve,
    .forget = forget,
    .examine = examine,
    .cancel = cancel,
    .pool = pool,
};
