/* Undo and partial rollback: the inverse of a committed bulk operation, planned under locks and executed as a bulk operation of its own,
 * so it too is all or nothing.
 *
 * Invariants: nothing is written before every conflict is found and chosen by a person; a part is taken back only if nothing outside it
 * depends on it; what the inverse does to a document is judged by the one rule of restore.c. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/internal.h"
#include "coordinator/run.h"
#include "coordinator/submit.h"
#include "model/document.h"
#include "model/text.h"

#define LISTED_LIMIT 20  /* dependents named in one refusal */
#define TEXTS_LIMIT 1024 /* choices that count in the digest */
#define LATER_LIMIT 1000 /* later bulk operations that are searched for who changed a document */

typedef struct folded { /* one document over all its operations inside: before the first, after the last */
  uint64_t hash;
  int64_t first, last;
} folded;

typedef struct undo {
  aon_run *run;
  aon_run *original; /* a view of the bulk operation taken back: its parts and log; no lease needed to read */
  const aon_undo_options *options;
  const aon_collection *collections;
  size_t collection_count;
  folded *folds;
  size_t fold_count, fold_capacity;
  char **inside; /* ids of the documents inside, sorted (a part only) */
  size_t inside_count, inside_capacity;
  aon_arena names;
  uint64_t problems, dependents;
  bool part;
} undo;

static bool is_inside(const undo *u, const aon_operation *operation) {
  if (u->options->sheet)
    return operation->origin.sheet && !strcmp(operation->origin.sheet, u->options->sheet);
  return u->options->first < 0 || (operation->sequence >= u->options->first && operation->sequence <= u->options->last);
}

static bool chosen(const char *const *list, const aon_operation *operation) {
  char doc[1800];
  snprintf(doc, sizeof doc, "%s/%s/%.*s", operation->collection->store, operation->collection->name, (int)operation->id.length,
           operation->id.data);
  for (; list && *list; list++)
    if (!strcmp(*list, "all") || !strcmp(*list, doc))
      return true;
  return false;
}

/* ---- which documents, from which operation to which ---- */

static aon_result gather_fold(void *context, aon_part *part, const aon_operation *operations, size_t count, aon_error *error) {
  (void)part;
  undo *u = context;
  for (size_t i = 0; i < count; i++) {
    if (!is_inside(u, &operations[i]))
      continue;
    if (u->fold_count == u->fold_capacity) {
      size_t capacity = u->fold_capacity ? 2 * u->fold_capacity : 1024;
      folded *grown = realloc(u->folds, capacity * sizeof *grown);
      if (!grown)
        return aon_fail_memory(error);
      u->folds = grown;
      u->fold_capacity = capacity;
    }
    uint64_t hash = aon_document_hash(operations[i].collection->store, operations[i].collection->name, operations[i].id);
    u->folds[u->fold_count++] = (folded){.hash = hash, .first = operations[i].sequence, .last = operations[i].sequence};
    if (!u->part)
      continue;
    if (u->inside_count == u->inside_capacity) {
      size_t capacity = u->inside_capacity ? 2 * u->inside_capacity : 1024;
      char **grown = realloc(u->inside, capacity * sizeof *grown);
      if (!grown)
        return aon_fail_memory(error);
      u->inside = grown;
      u->inside_capacity = capacity;
    }
    if (!(u->inside[u->inside_count++] = aon_arena_text(&u->names, operations[i].id.data, operations[i].id.length)))
      return aon_fail_memory(error);
  }
  return AON_OK;
}

static int by_hash(const void *a, const void *b) {
  const folded *x = a, *y = b;
  if (x->hash != y->hash)
    return x->hash < y->hash ? -1 : 1;
  return x->first < y->first ? -1 : x->first > y->first;
}

static int newest_first(const void *a, const void *b) {
  const folded *x = a, *y = b;
  return x->last > y->last ? -1 : x->last < y->last;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void fold(undo *u) {
  if (!u->fold_count)
    return;
  qsort(u->folds, u->fold_count, sizeof *u->folds, by_hash);
  size_t kept = 0;
  for (size_t i = 1; i < u->fold_count; i++)
    if (u->folds[i].hash == u->folds[kept].hash)
      u->folds[kept].last = u->folds[i].last;
    else
      u->folds[++kept] = u->folds[i];
  u->fold_count = kept + 1;
  qsort(u->folds, u->fold_count, sizeof *u->folds, newest_first);
  if (u->inside_count)
    qsort(u->inside, u->inside_count, sizeof *u->inside, by_text);
}

/* ---- does anything outside a part depend on it? ---- */

static bool names_inside(const undo *u, const char *text) {
  return u->inside_count && bsearch(&text, u->inside, u->inside_count, sizeof *u->inside, by_text);
}

/* How often a document mentions a document inside: by id as a value, or as a key of a map. */
static size_t mentions(const undo *u, bson_iter_t *at) {
  size_t count = 0;
  while (bson_iter_next(at)) {
    bson_iter_t inner;
    if (BSON_ITER_HOLDS_UTF8(at))
      count += names_inside(u, bson_iter_utf8(at, NULL));
    else if ((BSON_ITER_HOLDS_DOCUMENT(at) || BSON_ITER_HOLDS_ARRAY(at)) && bson_iter_recurse(at, &inner))
      count += mentions(u, &inner);
    if (!BSON_ITER_HOLDS_ARRAY(at))
      count += names_inside(u, bson_iter_key(at));
  }
  return count;
}

static size_t image_mentions(const undo *u, const aon_image *image) {
  bson_t view;
  bson_iter_t at;
  return image->bson && aon_image_view(image, &view) && bson_iter_init(&at, &view) ? mentions(u, &at) : 0;
}

static aon_result add_problem(undo *u, const aon_operation *operation, const char *code, const char *sentence, aon_error *error) {
  char id[1600];
  snprintf(id, sizeof id, "%.*s", (int)operation->id.length, operation->id.data);
  aon_problem problem = {.severity = AON_PROBLEM_ERROR,
                         .line = 0,
                         .sheet = operation->origin.sheet,
                         .row = operation->origin.row,
                         .store = operation->collection->store,
                         .collection = operation->collection->name,
                         .document_id = id,
                         .code = code,
                         .sentence = sentence};
  u->problems++;
  return aon_problems_add(&u->run->outcome->problems, &problem, error);
}

static aon_result find_dependents(void *context, aon_part *part, const aon_operation *operations, size_t count, aon_error *error) {
  (void)part;
  undo *u = context;
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < count; i++) {
    const aon_operation *operation = &operations[i];
    if (is_inside(u, operation))
      continue;
    char id[1600];
    snprintf(id, sizeof id, "%.*s", (int)operation->id.length, operation->id.data);
    bool same = names_inside(u, id); /* the same document, or one that stands and falls with it */
    if (!same && image_mentions(u, &operation->before) == image_mentions(u, &operation->after))
      continue;
    char sentence[900];
    snprintf(sentence, sizeof sentence, "Operation %lld (%s %s/%s/%.300s) depends on this part. Take it back too, or undo the whole.",
             (long long)operation->sequence + 1, aon_operation_name(operation->kind), operation->collection->store,
             operation->collection->name, id);
    if (u->dependents++ < LISTED_LIMIT)
      result = add_problem(u, operation, "depends", sentence, error);
    else
      u->run->outcome->problems.error_count++;
  }
  return result;
}

/* ---- the inverse of one document ---- */

typedef struct later_ones { /* bulk operations after the one taken back, newest first */
  char ids[LATER_LIMIT][37];
  size_t count;
  const char *original, *self;
} later_ones;

static aon_result gather_later(void *context, const aon_bulk *bulk, aon_error *error) {
  (void)error;
  later_ones *later = context;
  if (!strcmp(bulk->id, later->original) || later->count == LATER_LIMIT)
    return AON_END;
  if (strcmp(bulk->id, later->self))
    memcpy(later->ids[later->count++], bulk->id, 37);
  return AON_OK;
}

/* The newest later bulk operation that changed the document: its undo comes first. ret_id "": none, so it was written from outside. */
static aon_result find_later(undo *u, const aon_operation *operation, char ret_id[37], aon_error *error) {
  static const aon_state changed[] = {AON_COMMITTED, AON_UNDOING, AON_UNDO_FAILED, AON_COMMIT_FAILED};
  later_ones *later = aon_arena_alloc(&u->names, sizeof *later);
  if (!later)
    return aon_fail_memory(error);
  later->original = u->original->id;
  later->self = u->run->id;
  aon_bulk_filter filter = {.states = changed, .state_count = sizeof changed / sizeof *changed};
  aon_result result = aon_journal_list(u->run->journal, &filter, gather_later, later, error);
  if (result == AON_END)
    result = AON_OK;
  ret_id[0] = 0;
  for (size_t i = 0; !result && i < later->count && !ret_id[0]; i++) {
    int64_t sequence = AON_NO_OPERATION;
    result = aon_journal_last_of(u->run->journal, later->ids[i],
                                 aon_document_hash(operation->collection->store, operation->collection->name, operation->id),
                                 operation->collection, operation->id, &sequence, error);
    if (!result && sequence != AON_NO_OPERATION)
      memcpy(ret_id, later->ids[i], 37);
  }
  return result;
}

static aon_result conflict(undo *u, const aon_operation *operation, const char *paths, aon_error *error) {
  char later[100] = "", id[37];
  aon_result result = find_later(u, operation, id, error);
  if (result)
    return result;
  if (id[0])
    snprintf(later, sizeof later, " It was bulk operation %s: undo that one first, or choose.", id);
  char sentence[1100];
  snprintf(sentence, sizeof sentence, "%s/%s/%.*s was changed by somebody else since%s%.300s.%s Choose with --keep-theirs or --force.",
           operation->collection->store, operation->collection->name, (int)(operation->id.length > 300 ? 300 : operation->id.length),
           operation->id.data, paths ? " in " : "", paths ? paths : "", later);
  return add_problem(u, operation, "foreign_change", sentence, error);
}

static aon_result invert(undo *u, aon_planner *planner, const aon_operation *operation, aon_arena *arena, aon_error *error) {
  aon_store *store;
  const aon_shape *shape;
  aon_image now;
  aon_restore restore;
  if (chosen(u->options->keep_theirs, operation))
    return AON_OK;
  aon_result result = aon_engine_store_open(u->run->engine, operation->collection->store, &store, error);
  if (!result)
    result = aon_store_describe(store, operation->collection, &shape, error);
  if (!result)
    result = aon_store_read(store, operation->collection, &operation->id, 1, arena, &now, error);
  if (!result)
    result = aon_restore_judge(operation, &now, shape->volatiles, arena, &restore, error);
  if (result)
    return result;
  if (restore.verdict == AON_RESTORE_CONFLICT && chosen(u->options->force, operation))
    restore = (aon_restore){.verdict = AON_RESTORE_WRITE, .target = operation->before};
  if (restore.verdict == AON_RESTORE_CONFLICT)
    return conflict(u, operation, restore.paths, error);
  struct aon_count *count;
  result = aon_counts_entity(&u->run->outcome->counts, operation->origin.entity ? operation->origin.entity : operation->collection->name,
                             &count, error);
  if (result)
    return result;
  if (restore.verdict == AON_RESTORE_DONE || (!now.bson && !restore.target.bson)) {
    count->unchanged++;
    return AON_OK;
  }
  aon_operation inverse = *operation;
  inverse.before = now;
  inverse.after = restore.target;
  inverse.kind = !now.bson ? AON_CREATE : restore.target.bson ? AON_UPDATE : AON_DELETE;
  *(inverse.kind == AON_CREATE ? &count->created : inverse.kind == AON_UPDATE ? &count->edited : &count->deleted) += 1;
  return aon_planner_sink(planner)->operation(aon_planner_sink(planner)->context, &inverse, error);
}

static const aon_collection *own_collection(const undo *u, const aon_collection *collection) {
  for (size_t i = 0; i < u->collection_count; i++)
    if (!strcmp(u->collections[i].name, collection->name) && !strcmp(u->collections[i].store, collection->store))
      return &u->collections[i];
  return collection;
}

static aon_result make_plan(void *context, aon_run *run, aon_planner *planner, aon_error *error) {
  undo *u = context;
  const aon_plan_sink *sink = aon_planner_sink(planner);
  aon_problems_clear(&run->outcome->problems);
  u->problems = u->dependents = 0;
  aon_result result = sink->group(sink->context, "", error);
  if (!result && u->part)
    result = aon_run_walk(u->original, 0, u->original->operations - 1, false, ~0u, NULL, find_dependents, u, error);
  AON_ARENA_CLEANUP aon_arena arena = {0};
  for (size_t i = 0; !result && i < u->fold_count && !u->dependents; i++) {
    aon_operation last, first;
    aon_arena_reset(&arena);
    result = aon_run_operation(u->original, u->folds[i].last, &arena, &last, error);
    if (!result && u->folds[i].first != u->folds[i].last)
      result = aon_run_operation(u->original, u->folds[i].first, &arena, &first, error);
    if (!result && u->folds[i].first != u->folds[i].last) {
      last.before = first.before;
      last.kind = !last.before.bson ? AON_CREATE : last.after.bson ? AON_UPDATE : AON_DELETE;
    }
    if (!result && !last.before.bson && !last.after.bson)
      continue; /* made and taken away again within it */
    if (!result) {
      last.collection = own_collection(u, last.collection);
      result = invert(u, planner, &last, &arena, error);
    }
    if (!result && i % 100 == 0)
      result = aon_run_tick(run, error);
  }
  if (!result)
    result = sink->group(sink->context, NULL, error);
  if (!result && u->problems)
    result = aon_fail(error, AON_REJECTED, "conflicts", "It can't be taken back as it stands.");
  return result;
}

/* ---- the whole ---- */

static aon_result start_undoing(undo *u, aon_error *error) {
  aon_arena arena = {0};
  aon_bulk original;
  aon_process self = u->run->env->ops->process_self(u->run->env->context);
  static const aon_bulk_change free_lease = {.free_lease = true};
  aon_result result = aon_journal_claim(u->run->journal, u->original->id, &self, &arena, &original, error);
  if (!result && original.state != AON_COMMITTED)
    result = aon_fail(error, AON_USAGE, "wrong_state", "Bulk operation %s is %s by now.", u->original->id, aon_state_name(original.state));
  if (!result)
    result = aon_journal_move(u->run->journal, original.id, original.epoch, AON_COMMITTED, AON_UNDOING, &free_lease, error);
  aon_arena_release(&arena);
  return result;
}

static aon_result run_undo(undo *u, aon_error *error) {
  aon_run *run = u->run;
  aon_error failure = AON_ERROR_INIT;
  aon_result result = aon_run_walk(u->original, 0, u->original->operations - 1, false, ~0u, NULL, gather_fold, u, error);
  if (result)
    return result;
  fold(u);
  if (u->part && !u->fold_count)
    return aon_fail(error, AON_REJECTED, "empty_range", "No operation of bulk operation %s is in that part.", u->original->id);
  result = aon_journal_collections(run->journal, u->original->id, &run->arena, &u->collections, &u->collection_count, error);
  if (!result)
    result = aon_plan_under_locks(run, false, make_plan, u, &failure);
  if (result == AON_REJECTED && u->problems) {
    run->deaf = true;
    run->outcome->state = AON_REJECTED_STATE;
    return aon_run_conclude(run, AON_REJECTED_STATE, error);
  }
  if (result) {
    if (error && failure.kind)
      *error = failure;
    return result;
  }
  aon_log(run->env, AON_LOG_INFO, "Total operations to execute: %lld", (long long)run->operations);
  if (run->outcome->dry_run)
    return aon_run_conclude(run, AON_PLANNED, error);
  result = start_undoing(u, error);
  return result ? result : aon_run_execute(run, error);
}

static aon_result check_original(const aon_bulk *bulk, const aon_undo_options *options, aon_error *error) {
  if (bulk->state != AON_COMMITTED)
    return aon_fail(error, AON_USAGE, "wrong_state", "Bulk operation %s is %s; only a committed one can be taken back.", bulk->id,
                    aon_state_name(bulk->state));
  if (options->first >= 0 && (options->last < options->first || options->last >= bulk->operations))
    return aon_fail(error, AON_USAGE, "bad_range", "The range must lie within 0-%lld.", (long long)bulk->operations - 1);
  return AON_OK;
}

/* What a person chose is content: the same key with other choices is another submission. */
static void name_choices(const char **texts, size_t count, const aon_undo_options *options) {
  const char *const *const lists[] = {options->keep_theirs, options->force};
  for (size_t l = 0; l < 2; l++) {
    if (count < TEXTS_LIMIT)
      texts[count++] = l ? "force" : "keep";
    for (const char *const *doc = lists[l]; doc && *doc && count < TEXTS_LIMIT; doc++)
      texts[count++] = *doc;
  }
  texts[count] = NULL;
}

aon_result aon_undo(aon_engine *engine, const char *id, const aon_undo_options *options, const aon_run_options *run_options,
                    aon_outcome *outcome, aon_error *error) {
  aon_journal *journal;
  aon_result result = aon_engine_journal(engine, true, &journal, error);
  if (!result)
    result = aon_housekeep(engine, run_options, error);
  if (result)
    return result;
  aon_run run, original;
  aon_bulk bulk = {0};
  aon_run_begin(&run, engine, journal, run_options, outcome);
  aon_run_begin(&original, engine, journal, NULL, NULL);
  undo u = {.run = &run, .original = &original, .options = options, .part = options->first >= 0 || options->sheet};
  run.partial_undo = u.part;
  aon_error failure = AON_ERROR_INIT;
  char range[200];
  snprintf(range, sizeof range, "%lld-%lld %.100s", (long long)options->first, (long long)options->last,
           options->sheet ? options->sheet : "");
  const char *texts[TEXTS_LIMIT + 1] = {"undo", id, range, run_options->dry_run ? "dry" : "real"};
  name_choices(texts, 4, options);
  char digest[65];
  result = aon_journal_get(journal, id, &run.arena, &bulk, &failure);
  if (!result)
    result = aon_content_digest(engine->env, NULL, texts, digest, &failure);
  bool fresh = !run_options->id && !run_options->idempotency_key;
  if (!result && fresh)
    result = check_original(&bulk, options, &failure);
  aon_submit_what what = {
      .kind = u.part ? "undo_part" : "undo", .source = bulk.source, .pack = bulk.pack, .undoes = bulk.id, .state = AON_PLANNING};
  if (!result)
    result = aon_run_submit(&run, &what, digest, &failure);
  bool repeated = result == AON_END;
  if (!result && !fresh)
    result = check_original(&bulk, options, &failure);
  if (!result) {
    aon_run_adopt(&original, &bulk);
    original.has_lease = false;
    result = aon_parts_load(&original, bulk.stores, &failure);
  }
  if (!result)
    result = run_undo(&u, &failure);
  aon_run_end(&original);
  if (repeated)
    aon_run_end(&run);
  result = repeated ? AON_OK : aon_run_close(&run, result, &failure, error);
  free(u.folds);
  free(u.inside);
  aon_arena_release(&u.names);
  return result;
}
