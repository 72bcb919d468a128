/* The tracing decorator. Invariant: it changes nothing, it only tells. */
#include "store/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES 512

typedef struct trace {
  aon_env *env;
  const aon_trace *options;
  const aon_store_adapter *inner;
  void *state;
  char name[64];
} trace;

__attribute__((format(printf, 4, 5))) static aon_result tell(const trace *t, aon_result result, const aon_error *error, const char *format,
                                                             ...) {
  char what[LINE_BYTES / 2], line[LINE_BYTES];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  const char *code = result && result != AON_END && error ? error->code : "";
  snprintf(line, sizeof line, "%s: %s: %s%s%s", t->name, what, aon_result_name(result), code[0] ? " " : "", code);
  if (t->options->line)
    t->options->line(t->options->context, line);
  else
    aon_log(t->env, AON_LOG_DEBUG, "%s", line);
  return result;
}

static const char *class_name(aon_store_class class) {
  static const char *const names[] = {"?", "prepared", "transaction", "batch", "conditional", "plain"};
  return class >= AON_CLASS_PREPARED && class <= AON_CLASS_PLAIN ? names[class] : names[0];
}

static aon_result open_store(aon_env *env, const aon_store_config *config, void **ret_state, aon_store_caps *ret_caps, aon_error *error) {
  const aon_trace *options = config->options;
  trace *t = calloc(1, sizeof *t);
  if (!t)
    return aon_fail_memory(error);
  *t = (trace){.env = env, .options = options, .inner = options->inner};
  snprintf(t->name, sizeof t->name, "%s", config->name);
  aon_store_config inner = *config;
  inner.options = options->inner_options;
  aon_result result = t->inner->open(env, &inner, &t->state, ret_caps, error);
  tell(t, result, error, "open (%s), class %s", t->inner->kind, result ? "?" : class_name(ret_caps->store_class));
  if (result)
    free(t);
  else
    *ret_state = t;
  return result;
}

static void close_store(void *state) {
  trace *t = state;
  t->inner->close(t->state);
  tell(t, AON_OK, NULL, "close");
  free(t);
}

static aon_result describe(void *state, const aon_collection *collection, const aon_shape **ret_shape, aon_error *error) {
  trace *t = state;
  aon_result result = t->inner->describe(t->state, collection, ret_shape, error);
  return tell(t, result, error, "describe %s", collection->name);
}

static aon_result normalise(void *state, const aon_collection *collection, aon_text id, const bson_t *document, struct aon_arena *arena,
                            aon_image *ret_image, aon_error *error) {
  trace *t = state;
  aon_result result = t->inner->normalise(t->state, collection, id, document, arena, ret_image, error);
  return tell(t, result, error, "normalise %s/%.*s", collection->name, id.length < 100 ? (int)id.length : 100, id.data);
}

static aon_result read_documents(void *state, const aon_collection *collection, const aon_text *ids, size_t count, struct aon_arena *arena,
                                 aon_image *images, aon_error *error) {
  trace *t = state;
  aon_result result = t->inner->read(t->state, collection, ids, count, arena, images, error);
  size_t there = 0;
  for (size_t i = 0; !result && i < count; i++)
    there += images[i].bson != NULL;
  return tell(t, result, error, "read %s, %zu ids, %zu there", collection->name, count, there);
}

typedef struct counting {
  aon_scan_each each;
  void *context;
  size_t count;
} counting;

static aon_result count_found(void *context, const aon_found *found, aon_error *error) {
  counting *c = context;
  c->count++;
  return c->each(c->context, found, error);
}

static aon_result scan(void *state, const aon_collection *collection, const aon_match *matches, size_t count, const char *const *properties,
                       aon_scan_each each, void *context, aon_error *error) {
  trace *t = state;
  counting c = {.each = each, .context = context};
  aon_result result = t->inner->scan(t->state, collection, matches, count, properties, count_found, &c, error);
  return tell(t, result, error, "scan %s, %zu conditions, %zu found", collection->name, count, c.count);
}

static aon_result begin(void *state, const aon_branch *branch, aon_marker marker, aon_transaction **ret_transaction, aon_error *error) {
  trace *t = state;
  aon_result result = t->inner->begin(t->state, branch, marker, ret_transaction, error);
  return tell(t, result, error, "begin %s %u.%u, marker %s", branch->bulk_id, branch->attempt, branch->batch,
              marker == AON_MARKER_COMMIT ? "commit" : "undone");
}

static aon_result apply(void *state, aon_transaction *transaction, const aon_write *writes, size_t count, aon_write_state *states,
                        size_t *ret_failed, aon_error *error) {
  trace *t = state;
  size_t failed = count;
  aon_result result = t->inner->apply(t->state, transaction, writes, count, states, &failed, error);
  if (!result)
    return tell(t, result, error, "apply %zu writes to %s", count, count ? writes[0].collection->name : "nothing");
  if (ret_failed)
    *ret_failed = failed;
  return tell(t, result, error, "apply %zu writes, up to write %zu (operation %lld of %s)", count, failed,
              failed < count ? (long long)writes[failed].operation : -1LL, failed < count ? writes[failed].collection->name : "nothing");
}

static aon_result flush(void *state, aon_transaction *transaction, aon_error *error) {
  trace *t = state;
  return tell(t, t->inner->flush(t->state, transaction, error), error, "flush");
}

static aon_result prepare(void *state, aon_transaction *transaction, aon_error *error) {
  trace *t = state;
  return tell(t, t->inner->prepare(t->state, transaction, error), error, "prepare");
}

static aon_result commit(void *state, aon_transaction *transaction, aon_error *error) {
  trace *t = state;
  return tell(t, t->inner->commit(t->state, transaction, error), error, "commit");
}

static void abort_transaction(void *state, aon_transaction *transaction) {
  trace *t = state;
  t->inner->abort(t->state, transaction);
  tell(t, AON_OK, NULL, "abort");
}

static aon_result commit_prepared(void *state, const aon_branch *branch, aon_error *error) {
  trace *t = state;
  return tell(t, t->inner->commit_prepared(t->state, branch, error), error, "commit prepared %s %u", branch->bulk_id, branch->attempt);
}

static aon_result abort_prepared(void *state, const aon_branch *branch, aon_error *error) {
  trace *t = state;
  return tell(t, t->inner->abort_prepared(t->state, branch, error), error, "abort prepared %s %u", branch->bulk_id, branch->attempt);
}

static aon_result resolve(void *state, const aon_branch *branch, aon_branch_state *ret_state, aon_error *error) {
  static const char *const names[] = {"aborted", "committed", "undone", "prepared", "open"};
  trace *t = state;
  aon_result result = t->inner->resolve(t->state, branch, ret_state, error);
  return tell(t, result, error, "resolve %s %u.%u, %s", branch->bulk_id, branch->attempt, branch->batch, result ? "?" : names[*ret_state]);
}

static aon_result forget(void *state, int64_t before_ms, aon_error *error) {
  trace *t = state;
  return tell(t, t->inner->forget(t->state, before_ms, error), error, "forget");
}

static aon_result examine(void *state, struct aon_buffer *report, bool *ret_healthy, aon_error *error) {
  trace *t = state;
  aon_result result = t->inner->examine(t->state, report, ret_healthy, error);
  return tell(t, result, error, "examine, %s", result ? "?" : *ret_healthy ? "healthy" : "not healthy");
}

static void cancel(void *state) { /* may come from a signal handler, where nothing can be told */
  trace *t = state;
  t->inner->cancel(t->state);
}

static aon_pool_counts pool(void *state) {
  const trace *t = state;
  return t->inner->pool ? t->inner->pool(t->state) : (aon_pool_counts){0};
}

const aon_store_adapter aon_trace_adapter = {
    .kind = "trace",
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
