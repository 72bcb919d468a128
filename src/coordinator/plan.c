/* Planning: a sink that takes operations in plan order, makes them exact (normalised images, chains, limits), locks their
 * documents and makes them durable, a batch at a time.
 *
 * Invariants:
 *  - memory holds what is logged at once, a few batches, whatever the number of operations;
 *  - an operation is in the journal before the next batch is begun; nothing here writes to a store;
 *  - what was read while planning was not changed by another bulk operation before the locks were held: the generations of all
 *    stores are the same before the first read and after the last lock, or it is planned again. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/internal.h"
#include "coordinator/run.h"
#include "model/document.h"
#include "model/text.h"

#define COLLECTIONS_LIMIT 1024
#define LOG_BATCHES 8          /* of the configuration's batches, which are logged as one */
#define BATCH_BYTES (8u << 20) /* a batch ends before its number of operations when its images reach this */
#define LOCK_TRIES 10          /* plans anew at least so often when only a generation has changed */

typedef struct known { /* a collection met in this plan */
  const aon_collection *collection;
  const aon_shape *shape;
  aon_store *store;
  size_t part;
  bool warned; /* of what else its writes may change */
} known;

struct aon_planner {
  aon_run *run;
  aon_plan_sink sink;
  bool chains;
  aon_arena arena; /* of the batch */
  aon_operation *operations;
  size_t count, capacity;
  uint32_t *slots; /* open addressing over the batch, for chains: index + 1 */
  size_t slot_count;
  uint64_t *hashes;            /* of the batch's documents */
  uint64_t log_calls;          /* rises when what was buffered is in the log */
  const aon_last_query *asked; /* last, by aon_planner_chain; borrowed until the operation is handed over */
  aon_claimed *claims;
  size_t claim_count, claim_capacity;
  known known[COLLECTIONS_LIMIT];
  size_t known_count;
  int64_t wait_until_ms;
  const char *group;
  int64_t group_count;
  int64_t seen_user, seen_dept, seen_site, seen_schedule; /* for the older test variables */
};

static aon_result know(aon_planner *planner, const aon_collection *collection, known **ret_known, aon_error *error) {
  for (size_t i = 0; i < planner->known_count; i++)
    if (planner->known[i].collection == collection) {
      *ret_known = &planner->known[i];
      return AON_OK;
    }
  if (planner->known_count == COLLECTIONS_LIMIT)
    return aon_fail(error, AON_REJECTED, "too_many_collections", "More than %d collections in one bulk operation.", COLLECTIONS_LIMIT);
  known *fresh = &planner->known[planner->known_count];
  aon_part *part;
  aon_result result = aon_run_part_add(planner->run, collection->store, &part, error);
  if (!result)
    result = aon_store_describe(part->store, collection, &fresh->shape, error);
  if (result)
    return result;
  fresh->collection = collection;
  fresh->store = part->store;
  fresh->part = (size_t)(part - planner->run->parts);
  planner->known_count++;
  *ret_known = fresh;
  return AON_OK;
}

static bool is_same(const aon_operation *operation, const aon_collection *collection, aon_text id) {
  return operation->id.length == id.length && !memcmp(operation->id.data, id.data, id.length) &&
         (operation->collection == collection ||
          (!strcmp(operation->collection->name, collection->name) && !strcmp(operation->collection->store, collection->store)));
}

static uint32_t *slot_of(aon_planner *planner, uint64_t hash, const aon_collection *collection, aon_text id) {
  size_t at = hash & (planner->slot_count - 1);
  while (planner->slots[at]) {
    uint32_t of = planner->slots[at] - 1;
    if (planner->hashes[of] == hash && is_same(&planner->operations[of], collection, id))
      break;
    at = (at + 1) & (planner->slot_count - 1);
  }
  return &planner->slots[at];
}

aon_result aon_image_copy(aon_arena *arena, const aon_image *from, aon_image *to, aon_error *error) {
  *to = (aon_image){0};
  if (!from->bson)
    return AON_OK;
  to->bson = aon_arena_copy(arena, from->bson, from->bson_length);
  to->bson_length = from->bson_length;
  if (from->token) {
    to->token = aon_arena_copy(arena, from->token, from->token_length);
    to->token_length = from->token_length;
  }
  return to->bson && (!from->token || to->token) ? AON_OK : aon_fail_memory(error);
}

/* What an entry names by texts that go with the cursor. */
static aon_result copy_texts(aon_arena *arena, const aon_operation *from, aon_operation *to, aon_error *error) {
  const char *const texts[] = {from->origin.sheet, from->origin.entity, from->path};
  const char **const copies[] = {&to->origin.sheet, &to->origin.entity, &to->path};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    *copies[i] = texts[i] ? aon_arena_text(arena, texts[i], strlen(texts[i])) : NULL;
    if (texts[i] && !*copies[i])
      return aon_fail_memory(error);
  }
  return AON_OK;
}

aon_result aon_run_operation(aon_run *run, int64_t sequence, aon_arena *arena, aon_operation *ret_operation, aon_error *error) {
  aon_entries *entries;
  aon_result result = aon_entries_open(run->journal, run->id, sequence, sequence, false, &entries, error);
  if (result)
    return result;
  const aon_operation *found;
  size_t count;
  bool cleared;
  result = aon_entries_next(entries, &found, &count, &cleared, error);
  if (result == AON_END || (!result && count != 1))
    result = aon_fail(error, AON_CORRUPT, "corrupt", "Operation %lld of bulk operation %s is missing in the journal.", (long long)sequence,
                      run->id);
  if (!result) {
    *ret_operation = *found;
    ret_operation->id.data = aon_arena_text(arena, found->id.data, found->id.length);
    result = ret_operation->id.data ? AON_OK : aon_fail_memory(error);
    if (!result)
      result = copy_texts(arena, found, ret_operation, error);
    if (!result)
      result = aon_image_copy(arena, &found->before, &ret_operation->before, error);
    if (!result)
      result = aon_image_copy(arena, &found->after, &ret_operation->after, error);
    if (!result) { /* the collection's settings live with the cursor: take the journal's copy */
      const aon_collection *collections;
      size_t collection_count;
      result = aon_journal_collections(run->journal, run->id, arena, &collections, &collection_count, error);
      for (size_t i = 0; !result && i < collection_count; i++)
        if (!strcmp(collections[i].name, found->collection->name) && !strcmp(collections[i].store, found->collection->store))
          ret_operation->collection = &collections[i];
    }
  }
  aon_entries_close(entries);
  return result;
}

uint64_t aon_planner_log_calls(const aon_planner *planner) { return planner->log_calls; }

aon_result aon_planner_ask(aon_planner *planner, aon_last_query *queries, size_t count, aon_error *error) {
  for (size_t i = 0; i < count; i++)
    queries[i].hash = aon_document_hash(queries[i].collection->store, queries[i].collection->name, queries[i].document);
  return aon_journal_last_of_many(planner->run->journal, planner->run->id, queries, count, error);
}

aon_result aon_planner_chain(aon_planner *planner, const aon_last_query *query, aon_arena *arena, bool *ret_found, aon_image *ret_image,
                             aon_error *error) {
  *ret_found = false;
  planner->asked = query;
  uint32_t slot = *slot_of(planner, query->hash, query->collection, query->document);
  if (slot) {
    *ret_found = true;
    return aon_image_copy(arena, &planner->operations[slot - 1].after, ret_image, error);
  }
  if (query->sequence == AON_NO_OPERATION)
    return AON_OK;
  aon_operation operation;
  aon_result result = aon_run_operation(planner->run, query->sequence, arena, &operation, error);
  if (!result) {
    *ret_found = true;
    *ret_image = operation.after;
  }
  return result;
}

/* ---- the sink ---- */

static void forced_failures(aon_planner *planner, const aon_operation *operation) {
  const aon_engine_config *config = &planner->run->engine->config;
  const struct {
    const char *collection;
    int64_t wanted, *seen;
  } older[] = {{"users", config->test_user_index, &planner->seen_user},
               {"departments", config->test_dept_index, &planner->seen_dept},
               {"sites", config->test_site_index, &planner->seen_site},
               {"sitescheduleindexes", config->test_schedule_index, &planner->seen_schedule}};
  for (size_t i = 0; i < sizeof older / sizeof *older; i++)
    if (older[i].wanted >= 0 && !strcmp(operation->collection->name, older[i].collection) && (*older[i].seen)++ == older[i].wanted &&
        (planner->run->fail_at < 0 || planner->run->fail_at > operation->sequence))
      planner->run->fail_at = operation->sequence;
  if (config->test_rollback_at == operation->sequence)
    planner->run->fail_at = operation->sequence;
}

/* The stamp by which stores without transactions recognise a late write of ours (docs/protocol.md, class 4). */
static aon_result stamp(const aon_planner *planner, const bson_t *document, bson_t *ret_stamped, aon_error *error) {
  bson_init(ret_stamped);
  bson_copy_to_excluding_noinit(document, ret_stamped, "_bulkOperationId", (char *)NULL);
  if (bson_append_utf8(ret_stamped, "_bulkOperationId", -1, planner->run->id, 36))
    return AON_OK;
  bson_destroy(ret_stamped);
  return aon_fail_memory(error);
}

/* Of what a source gives only an undo's images have tokens: of what was there. */
static aon_result keep_id(aon_planner *planner, const known *in, const aon_image *given, aon_image *image, aon_error *error) {
  if (!in->shape->token_is_id || !given->token)
    return AON_OK;
  image->token = aon_arena_copy(&planner->arena, given->token, given->token_length);
  image->token_length = given->token_length;
  return image->token ? AON_OK : aon_fail_memory(error);
}

static aon_result normalise(aon_planner *planner, const known *in, const aon_operation *given, aon_operation *operation, aon_error *error) {
  bson_t view;
  if (!aon_image_view(&given->after, &view))
    return aon_fail(error, AON_CORRUPT, "bad_document", "The document for %s/%.*s is no valid BSON.", in->collection->name,
                    (int)given->id.length, given->id.data);
  const aon_part *part = &planner->run->parts[in->part];
  bool stamped = aon_store_configuration(in->store)->stamp || part->caps->store_class == AON_CLASS_CONDITIONAL;
  if (!stamped)
    return aon_store_normalise(in->store, in->collection, operation->id, &view, &planner->arena, &operation->after, error);
  bson_t with;
  aon_result result = stamp(planner, &view, &with, error);
  if (result)
    return result;
  aon_image image;
  result = aon_image_from(&with, &planner->arena, &image, error);
  bson_destroy(&with);
  bson_t copy;
  if (!result && aon_image_view(&image, &copy))
    result = aon_store_normalise(in->store, in->collection, operation->id, &copy, &planner->arena, &operation->after, error);
  return result;
}

static aon_result check_size(aon_planner *planner, const aon_operation *operation, aon_error *error) {
  size_t bytes =
      (size_t)operation->before.bson_length + operation->before.token_length + operation->after.bson_length + operation->after.token_length;
  if (bytes > AON_ENTRY_LIMIT_BYTES)
    return aon_fail(error, AON_REJECTED, "too_long",
                    "The images of %s/%s/%.*s take %zu bytes; one operation may take %u. Split the document.", operation->collection->store,
                    operation->collection->name, (int)operation->id.length, operation->id.data, bytes, AON_ENTRY_LIMIT_BYTES);
  if (bytes <= AON_ENTRY_WARN_BYTES)
    return AON_OK;
  aon_problem problem = {.severity = AON_PROBLEM_WARNING,
                         .code = "large_document",
                         .store = operation->collection->store,
                         .collection = operation->collection->name,
                         .document_id = operation->id.data};
  char sentence[300];
  snprintf(sentence, sizeof sentence, "The images of %s/%s take %zu bytes; above %u an operation is slow.", operation->collection->store,
           operation->collection->name, bytes, AON_ENTRY_WARN_BYTES);
  problem.sentence = sentence;
  return aon_problems_add(&planner->run->outcome->problems, &problem, error);
}

static bool holds(const aon_image *image, const char *property) {
  const char *const names[] = {property, NULL};
  bson_t view;
  return image->bson && aon_image_view(image, &view) && aon_document_holds(&view, names);
}

/* What a write changes beside its document is changed by the database, so no rollback gives it back: said once for a collection. */
static aon_result warn_of_effect(aon_planner *planner, known *in, const aon_operation *operation, aon_error *error) {
  const aon_shape *shape = in->shape;
  if (in->warned || !shape->write_effect || operation->kind == AON_DELETE ||
      (shape->write_only && (operation->kind == AON_CREATE || !holds(&operation->after, shape->write_only))))
    return AON_OK;
  char sentence[700];
  aon_problem problem = {.severity = AON_PROBLEM_WARNING,
                         .code = "write_effect",
                         .store = operation->collection->store,
                         .collection = operation->collection->name,
                         .sentence = sentence};
  snprintf(sentence, sizeof sentence, "%s/%s: %s. A rollback or an undo doesn't give that back.", operation->collection->store,
           operation->collection->name, shape->write_effect);
  in->warned = true;
  return aon_problems_add(&planner->run->outcome->problems, &problem, error);
}

/* Whoever makes the plan, images that hold a sensitive property are encrypted in the journal. */
static bool holds_sensitive(const aon_operation *operation) {
  const char *const *names = operation->collection->sensitive;
  bson_t view;
  if (!names)
    return false;
  return (operation->before.bson && aon_image_view(&operation->before, &view) && aon_document_holds(&view, names)) ||
         (operation->after.bson && aon_image_view(&operation->after, &view) && aon_document_holds(&view, names));
}

/* Rows come sheet by sheet: the text that the operation before has is mostly the same. */
static const char *keep_origin(aon_planner *planner, const char *text, const char *before) {
  if (!text || (before && !strcmp(text, before)))
    return text ? before : NULL;
  return aon_arena_text(&planner->arena, text, strlen(text));
}

static aon_result copy_origin(aon_planner *planner, const aon_origin *given, aon_origin *origin, aon_error *error) {
  const aon_origin none = {0}, *before = planner->count ? &planner->operations[planner->count - 1].origin : &none;
  origin->sheet = keep_origin(planner, given->sheet, before->sheet);
  origin->entity = keep_origin(planner, given->entity, before->entity);
  return (!given->sheet || origin->sheet) && (!given->entity || origin->entity) ? AON_OK : aon_fail_memory(error);
}

static aon_result make_room(aon_planner *planner, aon_error *error) {
  if (planner->count < planner->capacity && planner->arena.used_bytes < BATCH_BYTES)
    return AON_OK;
  return aon_planner_flush(planner, error);
}

/* Whoever makes chains has asked for the document just before. */
static uint64_t hash_of(const aon_planner *planner, const aon_operation *given) {
  const aon_last_query *asked = planner->asked;
  if (asked && asked->collection == given->collection && asked->document.length == given->id.length &&
      !memcmp(asked->document.data, given->id.data, given->id.length))
    return asked->hash;
  return aon_document_hash(given->collection->store, given->collection->name, given->id);
}

static aon_result sink_operation(void *context, const aon_operation *given, aon_error *error) {
  aon_planner *planner = context;
  aon_run *run = planner->run;
  known *in = NULL;
  aon_result result = make_room(planner, error);
  if (!result)
    result = know(planner, given->collection, &in, error);
  if (result)
    return result;
  if (given->kind == AON_DELETE && in->shape->delete_effect)
    return aon_fail(error, AON_REJECTED, "delete_effect",
                    "%s/%.*s can't be deleted: %s. Delete those documents first, by operations of their own.", given->collection->name,
                    (int)given->id.length, given->id.data, in->shape->delete_effect);
  if (given->kind != AON_CREATE && !given->before.bson)
    return aon_fail(error, AON_REJECTED, "not_found", "%s/%.*s is not there, so it can't be %sd.", given->collection->name,
                    (int)given->id.length, given->id.data, aon_operation_name(given->kind));
  aon_operation *operation = &planner->operations[planner->count];
  *operation = *given;
  operation->sequence = run->operations;
  operation->hash = hash_of(planner, given);
  operation->id.data = aon_arena_text(&planner->arena, given->id.data, given->id.length);
  if (!operation->id.data)
    return aon_fail_memory(error);
  result = aon_image_copy(&planner->arena, &given->before, &operation->before, error);
  operation->after = (aon_image){0};
  if (!result && given->kind != AON_DELETE)
    result = normalise(planner, in, given, operation, error);
  if (!result)
    result = keep_id(planner, in, &given->after, &operation->after, error);
  if (!result && given->path)
    operation->path = aon_arena_text(&planner->arena, given->path, strlen(given->path));
  if (!result)
    result = copy_origin(planner, &given->origin, &operation->origin, error);
  if (!result)
    result = check_size(planner, operation, error);
  if (!result)
    result = warn_of_effect(planner, in, operation, error);
  if (result)
    return result;
  if (holds_sensitive(operation))
    operation->flags |= AON_OPERATION_SENSITIVE;
  if (planner->chains) {
    *slot_of(planner, operation->hash, operation->collection, operation->id) = (uint32_t)planner->count + 1;
    planner->hashes[planner->count] = operation->hash;
  }
  forced_failures(planner, operation);
  planner->count++;
  planner->group_count++;
  run->operations++;
  aon_part *part = &run->parts[in->part];
  part->bytes += (uint64_t)operation->before.bson_length + operation->after.bson_length;
  if (part->operations++ == 0)
    part->first = operation->sequence;
  part->last = operation->sequence;
  return AON_OK;
}

static aon_result sink_claim(void *context, aon_claim claim, const aon_collection *collection, const char *property, aon_text value,
                             aon_error *error) {
  aon_planner *planner = context;
  if (planner->claim_count == planner->claim_capacity) {
    size_t capacity = planner->claim_capacity ? planner->claim_capacity * 2 : 256;
    aon_claimed *claims = realloc(planner->claims, capacity * sizeof *claims);
    if (!claims)
      return aon_fail_memory(error);
    planner->claims = claims;
    planner->claim_capacity = capacity;
  }
  aon_claimed *claimed = &planner->claims[planner->claim_count];
  if (claim == AON_CLAIM_REFERENCE) {
    *claimed = (aon_claimed){.hash = aon_document_hash(collection->store, collection->name, value), .shared = true};
  } else {
    char name[300]; /* a value's name can't be a document's: no collection has a line break */
    snprintf(name, sizeof name, "%s\n%s", collection->name, property);
    *claimed = (aon_claimed){.hash = aon_document_hash(collection->store, name, value)};
  }
  planner->claim_count++;
  return AON_OK;
}

static aon_result sink_group(void *context, const char *name, aon_error *error) {
  (void)error;
  aon_planner *planner = context;
  if (planner->group)
    aon_log(planner->run->env, AON_LOG_INFO, "Collected %lld operations", (long long)planner->group_count);
  planner->group = name;
  planner->group_count = 0;
  if (name)
    aon_log(planner->run->env, AON_LOG_INFO, *name ? "Collecting %s operations..." : "Collecting operations...%s", name);
  return AON_OK;
}

static size_t batch_bytes(const aon_planner *planner) {
  return planner->arena.used_bytes + planner->claim_count * sizeof(aon_claimed) + 4096;
}

static aon_result log_batch(aon_planner *planner, aon_error *error) {
  aon_run *run = planner->run;
  aon_result result = aon_journal_room(run->journal, 3 * batch_bytes(planner), error);
  for (uint32_t i = 0; !result; i++) {
    bool holder_older = false;
    aon_error failure = AON_ERROR_INIT;
    result = aon_run_tick(run, error);
    if (result)
      return result;
    result = aon_journal_log(run->journal, run->id, run->epoch, planner->operations, planner->count, planner->claims, planner->claim_count,
                             &holder_older, &failure);
    if (!result)
      break;
    int64_t left = planner->wait_until_ms - aon_monotonic_ms(run->env);
    bool wait = (result == AON_BUSY && !holder_older) || aon_result_retryable(result);
    if (!wait || left <= 0) {
      if (error)
        *error = failure;
      return result;
    }
    /* Older than the holder: it may wait with its locks kept. A younger one gives them back (the caller does). */
    result = aon_run_pause(run, i, left, error);
  }
  return result;
}

aon_result aon_planner_flush(aon_planner *planner, aon_error *error) {
  aon_run *run = planner->run;
  if (!planner->count && !planner->claim_count)
    return AON_OK;
  int64_t started = aon_monotonic_ms(run->env);
  aon_result result = log_batch(planner, error);
  run->outcome->timings.log += (double)(aon_monotonic_ms(run->env) - started);
  if (result)
    return result;
  planner->count = planner->claim_count = 0;
  planner->log_calls++;
  if (planner->chains)
    memset(planner->slots, 0, planner->slot_count * sizeof *planner->slots);
  aon_arena_reset(&planner->arena);
  aon_run_progress(run, run->operations, 0);
  return AON_OK;
}

const aon_plan_sink *aon_planner_sink(aon_planner *planner) { return &planner->sink; }

aon_result aon_planner_open(aon_run *run, bool chains, aon_planner **ret_planner, aon_error *error) {
  aon_planner *planner = calloc(1, sizeof *planner);
  if (!planner)
    return aon_fail_memory(error);
  planner->run = run;
  planner->chains = chains;
  planner->capacity = LOG_BATCHES * (size_t)run->engine->config.batch;
  planner->operations = calloc(planner->capacity, sizeof *planner->operations);
  for (planner->slot_count = 64; planner->slot_count < 2 * planner->capacity;)
    planner->slot_count *= 2;
  planner->slots = calloc(planner->slot_count, sizeof *planner->slots);
  planner->hashes = calloc(planner->capacity, sizeof *planner->hashes);
  planner->sink = (aon_plan_sink){.context = planner, .operation = sink_operation, .claim = sink_claim, .group = sink_group};
  if (!planner->operations || !planner->slots || !planner->hashes) {
    aon_planner_close(planner);
    return aon_fail_memory(error);
  }
  *ret_planner = planner;
  return AON_OK;
}

void aon_planner_close(aon_planner *planner) {
  if (!planner)
    return;
  aon_arena_release(&planner->arena);
  free(planner->operations);
  free(planner->slots);
  free(planner->hashes);
  free(planner->claims);
  free(planner);
}

/* ---- planning under locks ---- */

static aon_result read_generations(aon_run *run, int64_t *of, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < run->engine->config.store_count; i++)
    result = aon_journal_generation(run->journal, run->engine->stores[i].config.name, &of[i], error);
  return result;
}

static aon_result still_current(aon_run *run, const int64_t *before, int64_t *now, bool *ret_current, aon_error *error) {
  aon_result result = read_generations(run, now, error);
  *ret_current = true;
  for (size_t i = 0; !result && i < run->engine->config.store_count; i++)
    if (before[i] != now[i])
      *ret_current = false;
  return result;
}

static aon_result plan_once(aon_run *run, bool chains, int64_t wait_until_ms, aon_plan_make make, void *context, aon_error *error) {
  aon_planner *planner;
  aon_result result = aon_planner_open(run, chains, &planner, error);
  if (result)
    return result;
  planner->wait_until_ms = wait_until_ms;
  result = make(context, run, planner, error);
  if (!result)
    result = aon_planner_flush(planner, error);
  aon_planner_close(planner);
  return result;
}

static aon_result start_again(aon_run *run, aon_error *error) {
  aon_counts_release(&run->outcome->counts);
  run->operations = 0;
  run->part_count = 0;
  run->fail_at = -1;
  return aon_journal_discard(run->journal, run->id, run->epoch, error);
}

static aon_result finish_plan(aon_run *run, aon_error *error) {
  run->outcome->operations = run->operations;
  AON_BUFFER_CLEANUP aon_buffer parts = {0}, summary = {0};
  aon_result result = aon_parts_decide(run, &parts, error);
  if (!result)
    result = aon_outcome_summary(run->outcome, &summary, error);
  if (result)
    return result;
  aon_bulk_change change = {.stores = parts.data, .operations = &run->operations, .summary = summary.data};
  if (run->outcome->dry_run)
    return aon_journal_update(run->journal, run->id, run->epoch, &change, error);
  return aon_run_move(run, AON_LOGGED, &change, error);
}

aon_result aon_plan_under_locks(aon_run *run, bool chains, aon_plan_make make, void *context, aon_error *error) {
  int64_t wait_until = aon_monotonic_ms(run->env) + run->options->lock_wait_ms;
  size_t stores = run->engine->config.store_count;
  int64_t *before = calloc(2 * stores + 1, sizeof *before);
  if (!before)
    return aon_fail_memory(error);
  aon_result result;
  for (uint32_t i = 0;; i++) {
    aon_error failure = AON_ERROR_INIT;
    bool current = true;
    result = read_generations(run, before, error);
    if (result)
      break;
    result = plan_once(run, chains, wait_until, make, context, &failure);
    if (!result)
      result = still_current(run, before, before + stores, &current, &failure);
    if (!result && current) {
      result = finish_plan(run, error);
      break;
    }
    int64_t left = wait_until - aon_monotonic_ms(run->env);
    bool again = result == AON_BUSY ? left > 0 : !result && (left > 0 || i < LOCK_TRIES);
    if (!result && !again)
      result = aon_fail(&failure, AON_BUSY, "locked",
                        "Other bulk operations kept changing the same stores while this one was planned. Try again.");
    if (!again) {
      if (error)
        *error = failure;
      break;
    }
    aon_log(run->env, AON_LOG_INFO, result ? "Waiting for bulk operation %s" : "Planning again%s", result ? failure.held_by : "");
    result = start_again(run, error);
    if (!result && left > 0)
      result = aon_run_pause(run, i, left, error);
    if (result)
      break;
  }
  free(before);
  return result;
}
