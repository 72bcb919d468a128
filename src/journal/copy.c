/* The tables that move, and the proof that a whole journal has. */
#include "journal/copy.h"

#include <string.h>
#include <xxhash.h>

#include "journal/journal.h"

const aon_copy_form aon_copy_forms[AON_COPY_TABLES] = {
    [AON_COPY_KEYS] = {"keys", "number, name, since_ms", "iti"},
    [AON_COPY_BULK] =
        {"bulk",
         "number, id, idempotency_key, digest, organization, \"user\", kind, source, pack, undoes, state, worker_boot, stores,"
         " summary, failure, options, epoch, attempt, logged, created_ms, changed_ms, finished_ms, age_ms, lease_until_ms, hold_until_ms,"
         " images_until_ms, worker_pid, worker_ticks, operations, progress, dry_run, hold_on_failure, test_mode, cancel_asked,"
         " holds",
         "ittttttttttttttt"
         "iiiiiiiiiiiiii"
         "ooooo"},
    [AON_COPY_NAMES] = {"names", "number, bulk, kind, name", "iiit"},
    [AON_COPY_SEGMENTS] = {"segments", "bulk, first, count, sealed, operations_sum, images_sum, operations, images", "iiiobbbb"},
    [AON_COPY_LOCKS] = {"locks", "bulk, sequence, hash, shared", "iiio"},
    [AON_COPY_BATCHES] = {"batches", "number, bulk, store, attempt, batch, first, last, status, at_ms, unanswered", "iitiiiiiio"},
    [AON_COPY_CONFLICTS] = {"conflicts",
                            "bulk, sequence, hash, store, collection, document_id, code, sentence, paths, choice, watch_until_ms, since_ms,"
                            " watched",
                            "iiitttttttiio"},
    [AON_COPY_GENERATIONS] = {"generations", "store, generation", "ti"},
    [AON_COPY_EVENTS] = {"events", "number, bulk_id, at_ms, who, what, detail", "itittt"},
    [AON_COPY_FILES] = {"files", "number, id, bulk, role, bytes, put_ms, until_ms, owner_boot, owner_pid, owner_ticks, doomed",
                        "itiiiiitiio"},
    [AON_COPY_CHUNKS] = {"file_chunks", "file, chunk, bytes", "iib"},
    [AON_COPY_EPOCH] = {"epoch", "epoch", "i"},
};

/* ---- what arrived ---- */

typedef struct log_sum {
  uint64_t operations, digest;
} log_sum;

static void add_bytes(log_sum *sum, const void *bytes, size_t length) {
  uint64_t size = length; /* so that no two texts can change places with one */
  sum->digest = XXH3_64bits_withSeed(&size, sizeof size, sum->digest);
  if (length)
    sum->digest = XXH3_64bits_withSeed(bytes, length, sum->digest);
}

static void add_operation(log_sum *sum, const aon_operation *operation) {
  int64_t numbers[] = {operation->sequence, operation->kind, (int64_t)operation->flags, operation->origin.row};
  const char *const texts[] = {operation->collection->store, operation->collection->name, operation->path, operation->origin.sheet,
                               operation->origin.entity};
  const aon_image *const images[] = {&operation->before, &operation->after};
  sum->operations++;
  add_bytes(sum, numbers, sizeof numbers);
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    add_bytes(sum, texts[i], texts[i] ? strlen(texts[i]) : 0);
  add_bytes(sum, operation->id.data, operation->id.length);
  for (size_t i = 0; i < sizeof images / sizeof *images; i++) {
    add_bytes(sum, images[i]->bson, images[i]->bson ? images[i]->bson_length : 0);
    add_bytes(sum, images[i]->token, images[i]->token ? images[i]->token_length : 0);
  }
}

static aon_result sum_of(aon_journal *journal, const char *id, log_sum *ret_sum, aon_error *error) {
  aon_entries *entries;
  const aon_operation *operations;
  size_t count;
  log_sum sum = {0};
  aon_result result = aon_entries_open(journal, id, 0, -1, false, &entries, error);
  if (result)
    return result;
  while (!(result = aon_entries_next(entries, &operations, &count, NULL, error)))
    for (size_t i = 0; i < count; i++)
      add_operation(&sum, &operations[i]);
  aon_entries_close(entries);
  *ret_sum = sum;
  return result == AON_END ? AON_OK : result;
}

typedef struct comparing {
  aon_journal *from, *to;
  uint64_t there, arrived;
} comparing;

static aon_result compare_one(void *context, const aon_bulk *bulk, aon_error *error) {
  comparing *all = context;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_bulk copy;
  log_sum before, after;
  all->there++;
  aon_result result = aon_journal_get(all->to, bulk->id, &arena, &copy, error);
  if (!result)
    result = sum_of(all->from, bulk->id, &before, error);
  if (!result)
    result = sum_of(all->to, bulk->id, &after, error);
  if (result)
    return result;
  if (copy.state == bulk->state && copy.epoch == bulk->epoch && before.operations == after.operations && before.digest == after.digest)
    return AON_OK;
  result = aon_fail(
      error, AON_CORRUPT, "copy_differs",
      "Bulk operation %s did not arrive as it was (%s, %llu operations; now %s, %llu). Keep the old journal, and report this.", bulk->id,
      aon_state_name(bulk->state), (unsigned long long)before.operations, aon_state_name(copy.state), (unsigned long long)after.operations);
  if (error)
    snprintf(error->bulk_id, sizeof error->bulk_id, "%s", bulk->id);
  return result;
}

static aon_result count_one(void *context, const aon_bulk *bulk, aon_error *error) {
  (void)bulk;
  (void)error;
  ((comparing *)context)->arrived++;
  return AON_OK;
}

aon_result aon_journal_compare(aon_journal *from, aon_journal *to, aon_error *error) {
  comparing all = {.from = from, .to = to};
  aon_result result = aon_journal_list(from, NULL, compare_one, &all, error);
  if (!result)
    result = aon_journal_list(to, NULL, count_one, &all, error);
  if (result || all.there == all.arrived)
    return result;
  return aon_fail(error, AON_CORRUPT, "copy_differs", "Of %llu bulk operations %llu arrived. Keep the old journal, and report this.",
                  (unsigned long long)all.there, (unsigned long long)all.arrived);
}
