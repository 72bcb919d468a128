/* Who takes part in a bulk operation, and as what: the order of driving, the last resource, rehearsals.
 * Invariant: the parts of a run that is `logged` or later are those that its journal row names. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/internal.h"
#include "coordinator/run.h"
#include "model/document.h"
#include "wire/sqlite.h"

aon_branch aon_part_branch(const aon_run *run, uint32_t batch) {
  return (aon_branch){.bulk_id = run->id, .attempt = run->attempt, .batch = batch};
}

aon_part *aon_run_part(aon_run *run, const char *store) {
  for (size_t i = 0; i < run->part_count; i++)
    if (!strcmp(run->parts[i].name, store))
      return &run->parts[i];
  return NULL;
}

aon_result aon_run_part_add(aon_run *run, const char *store, aon_part **ret_part, aon_error *error) {
  aon_part *part = aon_run_part(run, store);
  if (part) {
    *ret_part = part;
    return AON_OK;
  }
  if (run->part_count == AON_PARTS_LIMIT)
    return aon_fail(error, AON_REJECTED, "too_many_stores", "More than %d stores in one bulk operation.", AON_PARTS_LIMIT);
  if (strlen(store) >= sizeof part->name)
    return aon_fail(error, AON_REJECTED, "too_long", "The name of store “%.64s…” is longer than %zu bytes.", store, sizeof part->name - 1);
  aon_store *opened;
  aon_result result = aon_engine_store_open(run->engine, store, &opened, error);
  if (result)
    return result;
  part = &run->parts[run->part_count];
  *part = (aon_part){.store = opened, .caps = aon_store_capabilities(opened), .shares_with = run->part_count, .last = INT64_MAX};
  snprintf(part->name, sizeof part->name, "%s", store);
  /* Two names for one database share its one transaction: it has one writer, and would wait for itself. */
  for (size_t i = 0; i < run->part_count; i++)
    if (aon_part_transactional(part) && part->caps->database[0] && !strcmp(run->parts[i].caps->database, part->caps->database) &&
        run->parts[i].shares_with == i)
      part->shares_with = i;
  run->part_count++;
  *ret_part = part;
  return AON_OK;
}

uint32_t aon_part_take_batch(aon_run *run, aon_part *part) {
  for (size_t i = 0; part->caps->database[0] && i < run->part_count; i++)
    if (!strcmp(run->parts[i].caps->database, part->caps->database))
      return run->parts[i].next_batch++;
  return part->next_batch++;
}

void aon_part_took_batch(aon_run *run, aon_part *part, uint32_t batch) {
  for (size_t i = 0; part->caps->database[0] && i < run->part_count; i++)
    if (!strcmp(run->parts[i].caps->database, part->caps->database)) {
      part = &run->parts[i];
      break;
    }
  if (batch >= part->next_batch)
    part->next_batch = batch + 1;
}

/* From now on it goes batch by batch, each batch a transaction of its own; so do the other names of its database. */
static void split(aon_run *run, size_t leader) {
  for (size_t i = 0; i < run->part_count; i++) {
    aon_part *part = &run->parts[i];
    if (part->shares_with != leader)
      continue;
    part->batched = *part->caps;
    part->batched.store_class = AON_CLASS_BATCH;
    part->caps = &part->batched;
    part->shares_with = i;
  }
}

static aon_result tell_split(aon_run *run, const aon_part *part, int64_t operations, uint64_t bytes, aon_error *error) {
  char sentence[400];
  aon_problem problem = {.severity = AON_PROBLEM_WARNING, .code = "plan_split", .store = part->name, .sentence = sentence};
  snprintf(
      sentence, sizeof sentence,
      "%lld operations (%llu bytes) are more than one transaction of %s takes (%u operations, %llu bytes): they are split into batches, "
      "which others see before the decision, and which a failure takes back.",
      (long long)operations, (unsigned long long)bytes, part->name, (unsigned)part->caps->transaction_operations,
      (unsigned long long)part->caps->transaction_bytes);
  return aon_problems_add(&run->outcome->problems, &problem, error);
}

/* Plans that are larger than their store's transaction. */
static aon_result fit(aon_run *run, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < run->part_count; i++) {
    aon_part *part = &run->parts[i];
    const aon_store_caps *caps = part->caps;
    int64_t operations = 0;
    uint64_t bytes = 0;
    for (size_t j = 0; j < run->part_count; j++)
      if (run->parts[j].shares_with == i) {
        operations += run->parts[j].operations;
        bytes += run->parts[j].bytes;
      }
    bool fits = !aon_part_transactional(part) || part->shares_with != i || !caps->transaction_operations ||
                (operations <= caps->transaction_operations && bytes <= caps->transaction_bytes);
    if (fits)
      continue;
    if (!caps->splits)
      return aon_fail(
          error, AON_REJECTED, "plan_too_large",
          "%lld operations (%llu bytes) are more than one transaction of %s takes (%u operations, %llu bytes), and the store is set "
          "to refuse that. Split the upload, or set transaction: {beyond: split}.",
          (long long)operations, (unsigned long long)bytes, part->name, (unsigned)caps->transaction_operations,
          (unsigned long long)caps->transaction_bytes);
    result = tell_split(run, part, operations, bytes, error);
    if (!result)
      split(run, i);
  }
  return result;
}

/* Operations of all names of its database. */
static int64_t shared_operations(const aon_run *run, size_t leader) {
  int64_t sum = 0;
  for (size_t i = 0; i < run->part_count; i++)
    sum += run->parts[i].shares_with == leader ? run->parts[i].operations : 0;
  return sum;
}

/* The last resource is a class 2 store: the one that holds the journal, else the one with most operations. */
static void choose(aon_run *run, const char *journal) {
  aon_part *last = NULL;
  int64_t slow = 0, most = 0;
  for (size_t i = 0; i < run->part_count; i++) {
    aon_part *part = &run->parts[i];
    part->last_resource = false;
    if (part->caps->store_class > AON_CLASS_TRANSACTION)
      slow += part->operations;
    if (part->shares_with != i || part->caps->store_class != AON_CLASS_TRANSACTION)
      continue;
    int64_t operations = !strcmp(part->caps->database, journal) ? INT64_MAX : shared_operations(run, i);
    if (!last || operations > most) {
      last = part;
      most = operations;
    }
  }
  if (last)
    last->last_resource = true;
  for (size_t i = 0; i < run->part_count; i++) {
    aon_part *part = &run->parts[i];
    if (!aon_part_transactional(part) || part->shares_with != i)
      continue;
    /* A request of the slower classes is counted as 20 ms a batch: only the order of magnitude matters here. */
    int64_t expected_ms = slow * 20 / (int64_t)run->engine->config.batch;
    int64_t limit_ms = run->engine->config.hold_ms;
    if (part->caps->transaction_ms && part->caps->transaction_ms / 2 < limit_ms)
      limit_ms = part->caps->transaction_ms / 2;
    part->rehearse = expected_ms > limit_ms || !strcmp(part->caps->database, journal);
  }
}

static aon_result part_to_json(const aon_part *part, aon_buffer *out, aon_error *error) {
  aon_result result = aon_buffer_text(out, out->length > 1 ? ",{\"name\":" : "{\"name\":", error);
  if (!result)
    result = aon_text_to_json(part->name, strlen(part->name), out, error);
  return result ? result
                : aon_buffer_format(out, error, ",\"class\":%d,\"operations\":%lld,\"lastResource\":%s,\"rehearse\":%s}",
                                    (int)part->caps->store_class, (long long)part->operations, part->last_resource ? "true" : "false",
                                    part->rehearse ? "true" : "false");
}

aon_result aon_parts_decide(aon_run *run, aon_buffer *out, aon_error *error) {
  char journal[AON_SQLITE_IDENTITY] = "a server, which no transaction of a store locks out";
  const char *location = run->engine->config.journal.location;
  if (!strncmp(location, "sqlite:", 7))
    location += 7;
  aon_result result = aon_journal_on_server(location) ? AON_OK : aon_sqlite_identity(run->env, location, journal, error);
  if (!result)
    result = fit(run, error);
  if (result)
    return result;
  choose(run, journal);
  result = aon_buffer_text(out, "[", error);
  for (int class = AON_CLASS_PREPARED; class <= AON_CLASS_PLAIN; class ++) /* the order of driving */
    for (size_t i = 0; !result && i < run->part_count; i++)
      if ((int)run->parts[i].caps->store_class == class)
        result = part_to_json(&run->parts[i], out, error);
  return result ? result : aon_buffer_text(out, "]", error);
}

aon_result aon_parts_load(aon_run *run, const char *json, aon_error *error) {
  run->part_count = 0;
  json_t *array = json ? json_loads(json, 0, NULL) : json_array();
  if (!json_is_array(array)) {
    json_decref(array);
    return aon_fail(error, AON_CORRUPT, "corrupt", "The journal's list of stores of bulk operation %s can't be read.", run->id);
  }
  aon_result result = AON_OK;
  size_t index;
  json_t *item;
  json_array_foreach(array, index, item) {
    aon_part *part;
    const char *name = json_string_value(json_object_get(item, "name"));
    result = name ? aon_run_part_add(run, name, &part, error)
                  : aon_fail(error, AON_CORRUPT, "corrupt",
                             "The journal's list of stores of bulk operation %s has an entry without a name.", run->id);
    if (result)
      break;
    part->operations = json_integer_value(json_object_get(item, "operations"));
    part->last_resource = json_is_true(json_object_get(item, "lastResource"));
    part->rehearse = json_is_true(json_object_get(item, "rehearse"));
    /* What it could do when it was logged decides how it is recovered; a store that can do less now is another store. */
    int class = (int)json_integer_value(json_object_get(item, "class"));
    if (class == AON_CLASS_BATCH && part->caps->store_class == AON_CLASS_TRANSACTION && part->caps->transaction_operations)
      split(run, part->shares_with);
    if ((int)part->caps->store_class != class) {
      result = aon_fail(
          error, AON_ENVIRONMENT, "store_changed",
          "Store “%s” now works by class %d, but bulk operation %s was executed by class %lld. Restore its former set-up, then recover.",
          name, (int)part->caps->store_class, run->id, (long long)json_integer_value(json_object_get(item, "class")));
      break;
    }
  }
  json_decref(array);
  return result;
}
