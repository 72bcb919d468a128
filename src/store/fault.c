/* The fault-injecting decorator. Its invariants stand in fault.h. */
#include "store/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct faulty {
  aon_fault *options;
  const aon_store_adapter *inner;
  void *state;
} faulty;

static bool counted(const aon_fault *options, const char *call) {
  if (options->call)
    return !strcmp(options->call, call);
  return strcmp(call, "describe") && strcmp(call, "normalise") && strcmp(call, "examine");
}

/* Is it this call's turn? */
static bool due(const faulty *f, const char *call) {
  aon_fault *options = f->options;
  if (!counted(options, call))
    return false;
  uint64_t number = ++options->calls;
  bool now = options->nth && (number == options->nth || (options->for_ever && number > options->nth));
  options->faults += now;
  return now;
}

static bool before(const faulty *f, bool now) { return now && f->options->when == AON_FAULT_BEFORE; }

static aon_result fail(const faulty *f, const char *call, aon_error *error) {
  return aon_fail(error, f->options->kind, f->options->code ? f->options->code : "injected", "Injected failure of %s (%s).", call,
                  f->options->when == AON_FAULT_BEFORE ? "it was not sent" : "its answer was lost");
}

/* Calls that only need: not made, or made and then disowned. */
#define PASS(f, name, expression)                                                                                                          \
  do {                                                                                                                                     \
    bool now = due(f, name);                                                                                                               \
    if (before(f, now))                                                                                                                    \
      return fail(f, name, error);                                                                                                         \
    aon_result result = (expression);                                                                                                      \
    return now ? fail(f, name, error) : result;                                                                                            \
  } while (0)

static aon_result open_store(aon_env *env, const aon_store_config *config, void **ret_state, aon_store_caps *ret_caps, aon_error *error) {
  faulty *f = calloc(1, sizeof *f);
  if (!f)
    return aon_fail_memory(error);
  f->options = (aon_fault *)config->options; /* counts in it, as its header says */
  f->inner = f->options->inner;
  aon_store_config inner = *config;
  inner.options = f->options->inner_options;
  bool now = due(f, "open");
  aon_result result = now ? fail(f, "open", error) : f->inner->open(env, &inner, &f->state, ret_caps, error);
  if (result)
    free(f);
  else
    *ret_state = f;
  return result;
}

static void close_store(void *state) {
  faulty *f = state;
  f->inner->close(f->state);
  free(f);
}

static aon_result describe(void *state, const aon_collection *collection, const aon_shape **ret_shape, aon_error *error) {
  faulty *f = state;
  PASS(f, "describe", f->inner->describe(f->state, collection, ret_shape, error));
}

static aon_result normalise(void *state, const aon_collection *collection, aon_text id, const bson_t *document, struct aon_arena *arena,
                            aon_image *ret_image, aon_error *error) {
  faulty *f = state;
  PASS(f, "normalise", f->inner->normalise(f->state, collection, id, document, arena, ret_image, error));
}

static aon_result read_documents(void *state, const aon_collection *collection, const aon_text *ids, size_t count, struct aon_arena *arena,
                                 aon_image *images, aon_error *error) {
  faulty *f = state;
  PASS(f, "read", f->inner->read(f->state, collection, ids, count, arena, images, error));
}

static aon_result scan(void *state, const aon_collection *collection, const aon_match *matches, size_t count, const char *const *properties,
                       aon_scan_each each, void *context, aon_error *error) {
  faulty *f = state;
  PASS(f, "scan", f->inner->scan(f->state, collection, matches, count, properties, each, context, error));
}

static aon_result begin(void *state, const aon_branch *branch, aon_marker marker, aon_transaction **ret_transaction, aon_error *error) {
  faulty *f = state;
  aon_transaction *transaction;
  bool now = due(f, "begin");
  if (before(f, now))
    return fail(f, "begin", error);
  aon_result result = f->inner->begin(f->state, branch, marker, &transaction, error);
  if (!result && now)
    f->inner->abort(f->state, transaction); /* its owner never hears of it: a lost connection */
  if (now)
    return fail(f, "begin", error);
  if (!result)
    *ret_transaction = transaction;
  return result;
}

/* What a lost answer leaves of each write. */
static void disown(const faulty *f, aon_write_state *states, size_t count) {
  for (size_t i = 0; states && i < count; i++)
    if (states[i] == AON_WRITE_APPLIED)
      states[i] = f->options->kind == AON_UNKNOWN ? AON_WRITE_UNKNOWN : AON_WRITE_NOT_SENT;
}

static aon_result apply(void *state, aon_transaction *transaction, const aon_write *writes, size_t count, aon_write_state *states,
                        size_t *ret_failed, aon_error *error) {
  faulty *f = state;
  bool now = due(f, "apply");
  if (before(f, now)) {
    for (size_t i = 0; states && i < count; i++)
      states[i] = f->options->kind == AON_UNKNOWN ? AON_WRITE_UNKNOWN : AON_WRITE_NOT_SENT;
    if (ret_failed)
      *ret_failed = 0;
    return fail(f, "apply", error);
  }
  size_t failed = 0;
  aon_result result = f->inner->apply(f->state, transaction, writes, count, states, &failed, error);
  if (result && ret_failed)
    *ret_failed = failed;
  if (!now)
    return result;
  disown(f, states, count);
  if (ret_failed)
    *ret_failed = 0;
  return fail(f, "apply", error);
}

static aon_result flush(void *state, aon_transaction *transaction, aon_error *error) {
  faulty *f = state;
  PASS(f, "flush", f->inner->flush(f->state, transaction, error));
}

static aon_result ending(faulty *f, const char *name, aon_result (*end)(void *, aon_transaction *, aon_error *),
                         aon_transaction *transaction, aon_error *error) {
  bool now = due(f, name);
  if (before(f, now)) {
    f->inner->abort(f->state, transaction);
    return fail(f, name, error);
  }
  aon_result result = end(f->state, transaction, error);
  return now ? fail(f, name, error) : result;
}

static aon_result prepare(void *state, aon_transaction *transaction, aon_error *error) {
  faulty *f = state;
  return ending(f, "prepare", f->inner->prepare, transaction, error);
}

static aon_result commit(void *state, aon_transaction *transaction, aon_error *error) {
  faulty *f = state;
  return ending(f, "commit", f->inner->commit, transaction, error);
}

static void abort_transaction(void *state, aon_transaction *transaction) { /* never fails, as the contract says */
  faulty *f = state;
  f->inner->abort(f->state, transaction);
}

static aon_result commit_prepared(void *state, const aon_branch *branch, aon_error *error) {
  faulty *f = state;
  PASS(f, "commit_prepared", f->inner->commit_prepared(f->state, branch, error));
}

static aon_result abort_prepared(void *state, const aon_branch *branch, aon_error *error) {
  faulty *f = state;
  PASS(f, "abort_prepared", f->inner->abort_prepared(f->state, branch, error));
}

static aon_result resolve(void *state, const aon_branch *branch, aon_branch_state *ret_state, aon_error *error) {
  faulty *f = state;
  PASS(f, "resolve", f->inner->resolve(f->state, branch, ret_state, error));
}

static aon_result forget(void *state, int64_t before_ms, aon_error *error) {
  faulty *f = state;
  PASS(f, "forget", f->inner->forget(f->state, before_ms, error));
}

static aon_result examine(void *state, struct aon_buffer *report, bool *ret_healthy, aon_error *error) {
  faulty *f = state;
  PASS(f, "examine", f->inner->examine(f->state, report, ret_healthy, error));
}

static void cancel(void *state) {
  faulty *f = state;
  f->inner->cancel(f->state);
}

static aon_pool_counts pool(void *state) {
  const faulty *f = state;
  return f->inner->pool ? f->inner->pool(f->state) : (aon_pool_counts){0};
}

const aon_store_adapter aon_fault_adapter = {
    .kind = "fault",
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
