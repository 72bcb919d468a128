/* `aon apply`: operations by line (docs/reference.md). Lines are read, checked and turned into operations in batches; all errors are
 * collected and reject the file as a whole.
 *
 * Two batches of lines are at work: while one is planned, the next one is read and parsed, which touches nothing but the file and that
 * batch.
 *
 * Invariants: memory holds two batches of lines; errors are told in the order of the lines; a document's before image is read once, and
 * from the plan where the plan touches it already; a create is not read: the store refuses one that is there. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/internal.h"
#include "coordinator/run.h"
#include "coordinator/submit.h"
#include "coordinator/typed.h"
#include "model/document.h"
#include "model/text.h"

#define LINE_BYTES_LIMIT (16u << 20)
#define LINE_BATCH 1000
#define ID_BYTES_LIMIT 1500
#define LINE_BATCH_BYTES (8u << 20) /* a batch ends before its number of lines when their texts reach this */
#define LINE_COLLECTIONS 512

typedef enum verb { VERB_CREATE, VERB_UPDATE, VERB_UPSERT, VERB_REPLACE, VERB_DELETE } verb;

typedef struct members { /* of a line, as they stand */
  const char *store, *collection, *id, *operation, *path;
  bool data_object, has_data, has_expect, expect_null, expect_object, has_types;
  bson_iter_t data, expect, types;
} members;

/* What is wrong with a line, as code and sentence; sentence empty: nothing. */
typedef struct fault {
  char code[40], sentence[400];
} fault;

typedef struct input_line {
  uint64_t number;
  bool has_object;
  bson_t object; /* the whole line, initialised where has_object; id, path, data and expected point into it */
  members members;
  const fault *wrong; /* NULL: nothing so far */
  const aon_collection *collection;
  aon_text id;
  verb verb;
  bool has_data, expects, expects_absent;
  bson_t data, expected; /* initialised where has_data, expects && !expects_absent */
  const char *path;
} input_line;

typedef struct line_batch {
  aon_arena arena;
  input_line *lines; /* LINE_BATCH */
  size_t count;
  aon_result read; /* AON_OK: there may be more; AON_END; or why reading stopped */
  aon_error failure;
} line_batch;

typedef struct apply {
  aon_run *run;
  aon_pack *pack;
  aon_env *env;
  aon_file *file;  /* a named file, read through the environment */
  FILE *stream;    /* standard input */
  aon_file *spool; /* standard input goes to a file first, so that a plan can be made again */
  uint64_t offset;
  aon_buffer buffer;
  size_t taken; /* bytes of buffer already given out */
  bool at_end;
  uint64_t number;
  line_batch batches[2];
  line_batch *planned, *filled; /* of them, in this round */
  aon_planner *planner;
  aon_result plan_result;
  aon_error plan_failure;
  aon_collection collections[LINE_COLLECTIONS]; /* of stores without a pack */
  size_t collection_count;
  aon_arena names;
  uint64_t errors;
  int64_t lap_ms;  /* when the last piece of planning ended, for the timings */
  int64_t plan_ms; /* of planning, in this round */
} apply;

static void lap(apply *a, double *phase) {
  int64_t now = aon_monotonic_ms(a->env);
  *phase += (double)(now - a->lap_ms);
  a->lap_ms = now;
}

/* ---- bytes to lines ---- */

static aon_result read_more(apply *a, aon_error *error) {
  enum { PIECE = 1 << 18 };
  if (a->taken) {
    memmove(a->buffer.data, a->buffer.data + a->taken, a->buffer.length - a->taken);
    a->buffer.length -= a->taken;
    a->taken = 0;
  }
  aon_result result = aon_buffer_reserve(&a->buffer, PIECE, error);
  size_t length = 0;
  if (!result)
    result = a->env->ops->file_read(a->file, a->offset, a->buffer.data + a->buffer.length, PIECE, &length, error);
  if (result)
    return result;
  a->offset += length;
  a->buffer.length += length;
  a->buffer.data[a->buffer.length] = 0;
  a->at_end = length < PIECE;
  return AON_OK;
}

static aon_result next_line(apply *a, const char **ret_text, size_t *ret_length, aon_error *error) {
  size_t searched = a->taken;
  for (;;) {
    char *from = a->buffer.data ? a->buffer.data + searched : NULL;
    char *end = from ? memchr(from, '\n', a->buffer.length - searched) : NULL;
    if (end || (a->at_end && a->buffer.length > a->taken)) {
      char *start = a->buffer.data + a->taken;
      size_t length = (size_t)((end ? end : a->buffer.data + a->buffer.length) - start);
      a->taken += length + (end ? 1 : 0);
      a->number++;
      if (a->number == 1 && length >= 3 && !memcmp(start, "\xef\xbb\xbf", 3)) {
        start += 3;
        length -= 3;
      }
      *ret_text = start;
      *ret_length = length;
      return AON_OK;
    }
    if (a->at_end)
      return AON_END;
    size_t pending = a->buffer.length - a->taken;
    if (pending > LINE_BYTES_LIMIT)
      return aon_fail(error, AON_REJECTED, "too_long", "Line %llu is longer than %u bytes. Write one operation a line.",
                      (unsigned long long)a->number + 1, LINE_BYTES_LIMIT);
    aon_result result = read_more(a, error);
    if (result)
      return result;
    searched = a->taken + pending;
  }
}

/* ---- a line to an operation ---- */

static aon_result problem(apply *a, uint64_t number, const char *store, const char *collection, const char *id, const char *code,
                          const char *sentence, aon_error *error) {
  aon_problem found = {.severity = AON_PROBLEM_ERROR,
                       .line = number,
                       .store = store,
                       .collection = collection,
                       .document_id = id,
                       .code = code,
                       .sentence = sentence};
  a->errors++;
  return aon_problems_add(&a->run->outcome->problems, &found, error);
}

static const char *line_id(apply *a, const input_line *line) { return aon_arena_text(&a->planned->arena, line->id.data, line->id.length); }

static aon_result line_problem(apply *a, const input_line *line, const char *code, const char *format, const char *detail,
                               aon_error *error) {
  char text[1200], sentence[1300];
  snprintf(text, sizeof text, format, detail);
  snprintf(sentence, sizeof sentence, "Line %llu: %s", (unsigned long long)line->number, text);
  return problem(a, line->number, line->collection ? line->collection->store : NULL, line->collection ? line->collection->name : NULL,
                 line_id(a, line), code, sentence, error);
}

static const aon_collection *find_collection(apply *a, const char *store, const char *name) {
  size_t count = 0;
  const aon_collection *const *known = a->pack ? aon_pack_collections(a->pack, &count) : NULL;
  for (size_t i = 0; i < count; i++)
    if (!strcmp(known[i]->name, name) && !strcmp(known[i]->store, store))
      return known[i];
  for (size_t i = 0; i < a->collection_count; i++)
    if (!strcmp(a->collections[i].name, name) && !strcmp(a->collections[i].store, store))
      return &a->collections[i];
  if (a->collection_count == LINE_COLLECTIONS)
    return NULL;
  aon_collection *fresh = &a->collections[a->collection_count];
  *fresh =
      (aon_collection){.store = aon_arena_text(&a->names, store, strlen(store)), .name = aon_arena_text(&a->names, name, strlen(name))};
  if (!fresh->store || !fresh->name)
    return NULL;
  a->collection_count++;
  return fresh;
}

static bool verb_parse(const char *name, verb *ret_verb) {
  static const char *const names[] = {"create", "update", "upsert", "replace", "delete"};
  for (size_t i = 0; name && i < sizeof names / sizeof *names; i++)
    if (!strcmp(name, names[i])) {
      *ret_verb = (verb)i;
      return true;
    }
  return false;
}

/* NULL: fine; else what is wrong, for a sentence. */
static const char *take_member(members *m, bson_iter_t *at) {
  const char *key = bson_iter_key(at);
  const struct {
    const char *name;
    const char **text;
  } texts[] = {{"store", &m->store}, {"collection", &m->collection}, {"id", &m->id}, {"operation", &m->operation}, {"path", &m->path}};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    if (!strcmp(key, texts[i].name)) {
      if (!BSON_ITER_HOLDS_UTF8(at))
        return "must be a text";
      uint32_t length;
      *texts[i].text = bson_iter_utf8(at, &length);
      if (strlen(*texts[i].text) != length)
        return "must not hold the character NUL"; /* what stands before it would be another document */
      return length ? NULL : "must not be empty";
    }
  if (!strcmp(key, "data")) {
    m->has_data = true;
    m->data = *at;
    return BSON_ITER_HOLDS_DOCUMENT(at) ? NULL : "must be an object";
  }
  if (!strcmp(key, "expect")) {
    m->has_expect = true;
    m->expect = *at;
    m->expect_null = BSON_ITER_HOLDS_NULL(at);
    return m->expect_null || BSON_ITER_HOLDS_DOCUMENT(at) ? NULL : "must be null or an object";
  }
  if (!strcmp(key, "types")) {
    m->has_types = true;
    m->types = *at;
    return BSON_ITER_HOLDS_DOCUMENT(at) ? NULL : "must be an object of JSON Pointers";
  }
  return "is not known; known are store, collection, id, operation, data, expect, path and types";
}

/* own: a copy, to be changed; else a view. */
static bool take_object(const bson_iter_t *at, bool own, bson_t *ret_object) {
  uint32_t length;
  const uint8_t *bytes;
  bson_t view;
  bson_iter_document(at, &length, &bytes);
  if (!own)
    return bson_init_static(ret_object, bytes, length);
  if (!bson_init_static(&view, bytes, length))
    return false;
  bson_copy_to(&view, ret_object);
  return true;
}

static void find_members(const bson_t *object, members *m, fault *f) {
  bson_iter_t at;
  for (bool more = bson_iter_init(&at, object) && bson_iter_next(&at); more && !*f->sentence; more = bson_iter_next(&at)) {
    const char *wrong = take_member(m, &at);
    if (wrong)
      snprintf(f->sentence, sizeof f->sentence, "“%.150s” %s.", bson_iter_key(&at), wrong);
  }
}

static void check_members(const members *m, input_line *line, fault *f) {
  if (*f->sentence)
    return;
  if (!m->store || !m->collection)
    snprintf(f->sentence, sizeof f->sentence, "“%s” is missing.", m->store ? "collection" : "store");
  else if (!verb_parse(m->operation, &line->verb))
    snprintf(f->sentence, sizeof f->sentence, "“operation” must be create, update, upsert, replace or delete.");
  else if (line->verb == VERB_DELETE ? m->has_data : !m->has_data)
    snprintf(f->sentence, sizeof f->sentence, line->verb == VERB_DELETE ? "A delete takes no “data”." : "“data” is missing.");
  else if (!m->id && line->verb != VERB_CREATE)
    snprintf(f->sentence, sizeof f->sentence, "“id” is missing; only a create may leave it out.");
  else if (m->id && strlen(m->id) > ID_BYTES_LIMIT)
    snprintf(f->sentence, sizeof f->sentence, "“id” is longer than %d bytes.", ID_BYTES_LIMIT);
  else if (m->has_types && !m->has_data)
    snprintf(f->sentence, sizeof f->sentence, "“types” says how to read “data”, which is not there.");
}

/* What the store must have for it. A failure is the machine's, not the line's. */
static aon_result check_store(apply *a, const members *m, fault *f, const aon_store_caps **ret_caps, aon_error *error) {
  aon_store *store;
  aon_error failure = AON_ERROR_INIT;
  aon_result result = *f->sentence ? AON_OK : aon_engine_store_open(a->run->engine, m->store, &store, &failure);
  if (result == AON_REJECTED) {
    snprintf(f->code, sizeof f->code, "%s", failure.code);
    snprintf(f->sentence, sizeof f->sentence, "%.380s", failure.sentence);
    return AON_OK;
  }
  if (result && error)
    *error = failure;
  if (result || *f->sentence)
    return result;
  *ret_caps = aon_store_capabilities(store);
  if (m->path && !(*ret_caps)->paths) {
    snprintf(f->sentence, sizeof f->sentence, "Store “%.100s” has no paths; leave “path” out.", m->store);
  } else if (m->has_types && !(*ret_caps)->types) {
    snprintf(f->code, sizeof f->code, "bad_type");
    snprintf(f->sentence, sizeof f->sentence, "Store “%.100s” holds only the types of JSON; leave “types” out.", m->store);
  }
  return AON_OK;
}

/* The line as it is planned. */
static aon_result keep_line(apply *a, input_line *line, const aon_store_caps *caps, aon_error *error) {
  const members *m = &line->members;
  line->path = m->path;
  line->has_data = m->has_data && take_object(&m->data, m->has_types, &line->data);
  line->expects = m->has_expect && (m->expect_null || take_object(&m->expect, false, &line->expected));
  line->expects_absent = m->expect_null;
  line->collection = find_collection(a, m->store, m->collection);
  if (!line->collection && a->collection_count == LINE_COLLECTIONS)
    return aon_fail(error, AON_REJECTED, "too_many_collections", "More than %d collections in one file.", LINE_COLLECTIONS);
  if (!line->collection || line->has_data != m->has_data || line->expects != m->has_expect)
    return aon_fail_memory(error);
  aon_error failure = AON_ERROR_INIT;
  if (!m->has_types || !aon_types_apply(&line->data, &m->types, caps->types, &failure))
    return AON_OK;
  return line_problem(a, line, failure.code, "%s", failure.sentence, error);
}

static aon_result wrong_line(apply *a, const input_line *line, const fault *f, aon_error *error) {
  char sentence[500];
  snprintf(sentence, sizeof sentence, "Line %llu: %s", (unsigned long long)line->number, f->sentence);
  const members *m = &line->members;
  return problem(a, line->number, m->store, m->collection, m->id, f->code, sentence, error);
}

static void forget_line(input_line *line);

/* What a line asks for is held against the stores, when it is its turn to be planned. A line that is wrong is reported, and left out. */
static aon_result settle_line(apply *a, input_line *line, aon_error *error) {
  members *m = &line->members;
  fault f = {.code = "bad_line"};
  const aon_store_caps *caps = NULL;
  char made[AON_UUID_LENGTH + 1];
  if (line->wrong)
    f = *line->wrong;
  aon_result result = check_store(a, m, &f, &caps, error);
  if (result)
    return result;
  if (!*f.sentence && !m->id) {
    aon_uuid_make(a->env, made);
    m->id = aon_arena_text(&a->planned->arena, made, AON_UUID_LENGTH);
    if (!m->id)
      return aon_fail_memory(error);
  }
  if (m->id)
    line->id = (aon_text){m->id, strlen(m->id)};
  uint64_t errors = a->errors;
  result = *f.sentence ? wrong_line(a, line, &f, error) : keep_line(a, line, caps, error);
  if (!result && a->errors > errors)
    forget_line(line);
  return result;
}

static aon_result note_fault(line_batch *batch, input_line *line, const char *code, const char *sentence, aon_error *error) {
  fault *f = aon_arena_alloc(&batch->arena, sizeof *f);
  if (!f)
    return aon_fail_memory(error);
  snprintf(f->code, sizeof f->code, "%s", code);
  snprintf(f->sentence, sizeof f->sentence, "%.390s", sentence);
  line->wrong = f;
  return AON_OK;
}

/* Fills the line; what is wrong with it is said when it is its turn. */
static aon_result read_line(line_batch *batch, input_line *line, const char *text, size_t length, aon_error *error) {
  aon_error failure = AON_ERROR_INIT;
  aon_result result = aon_document_from_json(text, length, &line->object, &failure);
  if (result == AON_NO_MEMORY)
    return aon_fail_memory(error);
  if (result)
    return note_fault(batch, line, failure.code, failure.sentence, error);
  line->has_object = true;
  fault f = {.code = "bad_line"};
  find_members(&line->object, &line->members, &f);
  check_members(&line->members, line, &f);
  return *f.sentence ? note_fault(batch, line, f.code, f.sentence, error) : AON_OK;
}

static void forget_line(input_line *line) {
  if (line->has_data)
    bson_destroy(&line->data);
  if (line->expects && !line->expects_absent)
    bson_destroy(&line->expected);
  if (line->has_object)
    bson_destroy(&line->object);
  line->has_data = line->expects = line->has_object = false;
  line->collection = NULL;
}

static void forget_lines(line_batch *batch) {
  for (size_t i = 0; i < batch->count; i++)
    forget_line(&batch->lines[i]);
  batch->count = 0;
  aon_arena_reset(&batch->arena);
}

/* ---- planning a batch ---- */

/* Which properties expect names and what they must be: every one of its members equals the document's. */
static bool fulfils(const bson_t *document, const bson_t *expected) {
  bson_iter_t at, found;
  for (bool more = bson_iter_init(&at, expected) && bson_iter_next(&at); more; more = bson_iter_next(&at))
    if (!bson_iter_init_find(&found, document, bson_iter_key(&at)) || !aon_value_equal(&at, &found))
      return false;
  return true;
}

static aon_result hand_over(aon_planner *planner, const input_line *line, const aon_image *before, struct aon_count *count,
                            aon_error *error) {
  aon_operation operation = {.collection = line->collection, .id = line->id, .before = *before, .path = line->path};
  operation.origin.row = line->number > UINT32_MAX ? 0 : (uint32_t)line->number;
  bson_t after, now;
  bool have_after = false;
  aon_result result = AON_OK;
  if (line->verb == VERB_DELETE) {
    operation.kind = AON_DELETE;
  } else {
    bool merges = before->bson && (line->verb == VERB_UPDATE || line->verb == VERB_UPSERT);
    operation.kind = before->bson ? AON_UPDATE : AON_CREATE;
    if (merges) {
      if (!aon_image_view(before, &now))
        return aon_fail(error, AON_CORRUPT, "corrupt", "A document read from %s is no valid BSON.", line->collection->store);
      result = aon_document_patch(&now, &line->data, &after, error);
      if (result)
        return result;
      have_after = true;
    }
    const bson_t *document = have_after ? &after : &line->data;
    operation.after.bson = bson_get_data(document);
    operation.after.bson_length = document->len;
    static const aon_comparison but_stamp = {0}; /* a replace does not name the stamp that an earlier one left */
    if (before->bson && aon_image_view(before, &now) &&
        (aon_document_equal(&now, document, NULL) || (line->verb == VERB_REPLACE && aon_document_equal(&now, document, &but_stamp)))) {
      count->unchanged++;
      if (have_after)
        bson_destroy(&after);
      return AON_OK;
    }
  }
  result = aon_planner_sink(planner)->operation(aon_planner_sink(planner)->context, &operation, error);
  if (have_after)
    bson_destroy(&after);
  if (!result)
    *(operation.kind == AON_CREATE ? &count->created : operation.kind == AON_UPDATE ? &count->edited : &count->deleted) += 1;
  return result;
}

static aon_result plan_line(apply *a, aon_planner *planner, input_line *line, const aon_last_query *query, const aon_image *read,
                            aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_image before = *read;
  bool chained = false;
  struct aon_count *count;
  aon_result result = aon_planner_chain(planner, query, &arena, &chained, &before, error);
  if (!result)
    result = aon_counts_entity(&a->run->outcome->counts, line->collection->name, &count, error);
  if (result)
    return result;
  if (!chained)
    before = *read;
  bson_t now;
  if (line->expects &&
      (line->expects_absent ? before.bson != NULL : !before.bson || !aon_image_view(&before, &now) || !fulfils(&now, &line->expected)))
    return line_problem(a, line, "changed_meanwhile", "the document is not as “expect” says%s.", "", error);
  if (line->verb == VERB_CREATE && before.bson)
    return line_problem(a, line, "duplicate", "a document with this id is there already%s.", chained ? " (an earlier line makes it)" : "",
                        error);
  if ((line->verb == VERB_UPDATE || line->verb == VERB_REPLACE || line->verb == VERB_DELETE) && !before.bson)
    return line_problem(a, line, "not_found", "there is no such document%s.", "", error);
  aon_error failure = AON_ERROR_INIT;
  result = hand_over(planner, line, &before, count, &failure);
  if (result == AON_REJECTED)
    return line_problem(a, line, failure.code, "%s", failure.sentence, error);
  if (result && error)
    *error = failure;
  return result;
}

static bool needs_reading(const input_line *line) { return line->verb != VERB_CREATE || line->expects; }

/* Reads the batch's documents set by set: lines of one collection in one read. */
static aon_result read_batch(apply *a, aon_image *images, aon_error *error) {
  aon_text *ids = aon_arena_alloc(&a->planned->arena, LINE_BATCH * sizeof *ids);
  aon_image *some = aon_arena_alloc(&a->planned->arena, LINE_BATCH * sizeof *some);
  uint32_t *of = aon_arena_alloc(&a->planned->arena, LINE_BATCH * sizeof *of);
  bool *done = aon_arena_alloc(&a->planned->arena, LINE_BATCH * sizeof *done);
  if (!ids || !some || !of || !done)
    return aon_fail_memory(error);
  for (size_t i = 0; i < a->planned->count; i++) {
    if (done[i] || !a->planned->lines[i].collection || !needs_reading(&a->planned->lines[i]))
      continue;
    size_t n = 0;
    for (size_t j = i; j < a->planned->count; j++)
      if (a->planned->lines[j].collection == a->planned->lines[i].collection && needs_reading(&a->planned->lines[j])) {
        ids[n] = a->planned->lines[j].id;
        of[n++] = (uint32_t)j;
        done[j] = true;
      }
    aon_store *store;
    aon_error failure = AON_ERROR_INIT;
    aon_result result = aon_engine_store_open(a->run->engine, a->planned->lines[i].collection->store, &store, error);
    if (!result)
      result = aon_store_read(store, a->planned->lines[i].collection, ids, n, &a->planned->arena, some, &failure);
    if (result == AON_REJECTED) { /* the collection itself is wrong: said once for each of its lines */
      for (size_t k = 0; k < n; k++) {
        result = line_problem(a, &a->planned->lines[of[k]], failure.code, "%s", failure.sentence, error);
        if (result)
          return result;
        forget_line(&a->planned->lines[of[k]]);
      }
      continue;
    }
    if (result) {
      if (error && failure.kind)
        *error = failure;
      return result;
    }
    for (size_t k = 0; k < n; k++)
      images[of[k]] = some[k];
  }
  return AON_OK;
}

/* Which documents of the lines from one on are in the log already. */
static aon_result ask_chains(apply *a, aon_planner *planner, size_t from, aon_last_query *queries, aon_error *error) {
  size_t count = 0;
  for (size_t i = from; i < a->planned->count; i++)
    if (a->planned->lines[i].collection)
      queries[count++] = (aon_last_query){.collection = a->planned->lines[i].collection, .document = a->planned->lines[i].id};
  return aon_planner_ask(planner, queries, count, error);
}

/* Whenever a part of the batch has gone to the log, the rest of it is asked for anew. */
static aon_result plan_lines(apply *a, aon_planner *planner, const aon_image *images, aon_error *error) {
  aon_last_query *queries = aon_arena_alloc(&a->planned->arena, LINE_BATCH * sizeof *queries), *query = queries;
  aon_result result = queries ? ask_chains(a, planner, 0, queries, error) : aon_fail_memory(error);
  uint64_t log_calls = aon_planner_log_calls(planner);
  for (size_t i = 0; !result && i < a->planned->count; i++) {
    if (!a->planned->lines[i].collection)
      continue;
    if (aon_planner_log_calls(planner) != log_calls) {
      result = ask_chains(a, planner, i, query = queries, error);
      log_calls = aon_planner_log_calls(planner);
    }
    if (!result)
      result = plan_line(a, planner, &a->planned->lines[i], query++, &images[i], error);
  }
  return result;
}

static aon_result plan_batch(apply *a, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < a->planned->count; i++)
    result = settle_line(a, &a->planned->lines[i], error);
  aon_image *images = aon_arena_alloc(&a->planned->arena, LINE_BATCH * sizeof *images);
  if (!result)
    result = images ? read_batch(a, images, error) : aon_fail_memory(error);
  lap(a, &a->run->outcome->timings.validate);
  if (!result)
    result = plan_lines(a, a->planner, images, error);
  return result;
}

/* ---- two batches at a time ---- */

static void fill_batch(apply *a, line_batch *batch) {
  for (size_t bytes = 0; !batch->read && batch->count < LINE_BATCH && bytes < LINE_BATCH_BYTES;) {
    const char *text = NULL;
    size_t length = 0;
    batch->read = next_line(a, &text, &length, &batch->failure);
    while (!batch->read && length && (text[length - 1] == '\r' || text[length - 1] == ' ' || text[length - 1] == '\t'))
      length--;
    if (batch->read || !length)
      continue;
    input_line *line = &batch->lines[batch->count++];
    *line = (input_line){.number = a->number};
    batch->read = read_line(batch, line, text, length, &batch->failure);
    bytes += length;
    if (batch->read) {
      forget_line(line);
      batch->count--;
    }
  }
}

static void half_round(void *argument, size_t index) {
  apply *a = argument;
  if (index == 1) {
    fill_batch(a, a->filled);
    return;
  }
  int64_t started = a->lap_ms = aon_monotonic_ms(a->env);
  a->plan_result = a->planned->count ? plan_batch(a, &a->plan_failure) : AON_OK;
  a->plan_ms = aon_monotonic_ms(a->env) - started;
}

static aon_result each_line(apply *a, aon_error *error) {
  for (size_t turn = 0;; turn = !turn) {
    a->planned = &a->batches[turn];
    a->filled = &a->batches[!turn];
    a->filled->read = a->planned->read; /* nothing comes after the end, or after a failure */
    int64_t started = aon_monotonic_ms(a->env);
    aon_run_together(a->env, half_round, a, 2);
    a->run->outcome->timings.parse += (double)(aon_monotonic_ms(a->env) - started - a->plan_ms); /* that planning waited for it */
    forget_lines(a->planned);
    if (a->plan_result) {
      if (error)
        *error = a->plan_failure;
      return a->plan_result;
    }
    if (a->planned->read == AON_END)
      return AON_OK;
    if (a->planned->read) {
      if (error)
        *error = a->planned->failure;
      return a->planned->read;
    }
    aon_result result = aon_run_tick(a->run, error);
    if (result)
      return result;
  }
}

static aon_result make_plan(void *context, aon_run *run, aon_planner *planner, aon_error *error) {
  apply *a = context;
  const aon_plan_sink *sink = aon_planner_sink(planner);
  aon_problems_clear(&run->outcome->problems);
  a->offset = a->number = a->errors = 0;
  a->taken = 0;
  a->at_end = false;
  a->planner = planner;
  a->plan_failure = (aon_error)AON_ERROR_INIT;
  for (size_t i = 0; i < 2; i++) {
    a->batches[i].read = AON_OK;
    a->batches[i].failure = (aon_error)AON_ERROR_INIT;
  }
  aon_buffer_clear(&a->buffer);
  aon_result result = run->state == AON_PLANNING ? aon_run_move(run, AON_VALIDATING, NULL, error) : AON_OK;
  if (!result)
    result = aon_run_move(run, AON_PLANNING, NULL, error);
  if (!result)
    result = sink->group(sink->context, "", error);
  if (!result)
    result = each_line(a, error);
  for (size_t i = 0; i < 2; i++)
    forget_lines(&a->batches[i]);
  if (!result)
    result = sink->group(sink->context, NULL, error);
  if (!result && a->errors)
    result = aon_fail(error, AON_REJECTED, "rejected", "The file has errors.");
  return result;
}

/* ---- the whole ---- */

/* Standard input is kept in a file of ours first: its digest is part of the submission, and a plan may have to be made again. */
static aon_result spool_input(aon_env *env, const char *beside, aon_buffer *ret_path, aon_error *error) {
  char id[AON_UUID_LENGTH + 1];
  aon_uuid_make(env, id);
  aon_result result = aon_buffer_format(ret_path, error, "%s.input-%s", beside, id);
  aon_file *file;
  if (!result)
    result = env->ops->file_open(env->context, ret_path->data, AON_FILE_CREATE, &file, error);
  if (result)
    return result;
  char *piece = malloc(1 << 16);
  uint64_t offset = 0;
  result = piece ? AON_OK : aon_fail_memory(error);
  for (size_t length; !result && (length = fread(piece, 1, 1 << 16, stdin)) > 0; offset += length)
    result = env->ops->file_write(file, offset, piece, length, error);
  if (!result && ferror(stdin))
    result = aon_fail_native(error, AON_ENVIRONMENT, "io_error", errno, "Standard input can't be read.");
  free(piece);
  env->ops->file_close(file);
  return result;
}

static aon_result run_lines(apply *a, aon_error *error) {
  aon_run *run = a->run;
  int64_t started = aon_monotonic_ms(run->env);
  aon_result result = aon_run_move(run, AON_VALIDATING, NULL, error);
  aon_error failure = AON_ERROR_INIT;
  if (!result)
    result = aon_plan_under_locks(run, true, make_plan, a, &failure);
  aon_timings *timings = &run->outcome->timings; /* these phases take turns, batch by batch; planning is what the others leave */
  timings->plan = (double)(aon_monotonic_ms(run->env) - started) - timings->parse - timings->validate - timings->log;
  if (result == AON_REJECTED && a->errors) {
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
  return run->outcome->dry_run ? aon_run_conclude(run, AON_PLANNED, error) : aon_run_execute(run, error);
}

static aon_result make_room(apply *a, aon_error *error) {
  for (size_t i = 0; i < 2; i++) { /* libbson's types want more than malloc's alignment */
    a->batches[i].lines = aligned_alloc(_Alignof(input_line), LINE_BATCH * sizeof *a->batches[i].lines);
    if (!a->batches[i].lines)
      return aon_fail_memory(error);
  }
  return AON_OK;
}

static void give_back(apply *a) {
  for (size_t i = 0; i < 2; i++) {
    aon_arena_release(&a->batches[i].arena);
    free(a->batches[i].lines);
  }
  aon_buffer_release(&a->buffer);
  aon_arena_release(&a->names);
  free(a);
}

static aon_result apply_file(aon_engine *engine, aon_journal *journal, aon_pack *pack, const char *path, const char *source,
                             const aon_run_options *options, aon_outcome *outcome, aon_error *error) {
  char digest[65];
  const char *texts[] = {"apply",
                         pack ? aon_pack_name(pack) : "",
                         options->organization ? options->organization : "default",
                         options->dry_run ? "dry" : "real",
                         options->hold_on_failure ? "hold" : "rollback",
                         NULL};
  aon_result result = aon_content_digest(engine->env, path, texts, digest, error);
  if (result)
    return result;
  aon_log(engine->env, AON_LOG_INFO, "Starting bulk upload process...");
  apply *a = calloc(1, sizeof *a);
  if (!a)
    return aon_fail_memory(error);
  aon_run run;
  aon_run_begin(&run, engine, journal, options, outcome);
  a->run = &run;
  a->pack = pack;
  a->env = engine->env;
  aon_submit_what what = {.kind = "apply", .source = source, .pack = pack ? aon_pack_name(pack) : NULL, .state = AON_PARSING};
  aon_error failure = AON_ERROR_INIT;
  result = make_room(a, &failure);
  if (!result)
    result = engine->env->ops->file_open(engine->env->context, path, AON_FILE_READ, &a->file, &failure);
  if (!result)
    result = aon_run_submit(&run, &what, digest, &failure);
  bool repeated = result == AON_END;
  if (!result)
    result = run_lines(a, &failure);
  if (repeated)
    aon_run_end(&run);
  result = repeated ? AON_OK : aon_run_close(&run, result, &failure, error);
  engine->env->ops->file_close(a->file);
  give_back(a);
  return result;
}

aon_result aon_apply(aon_engine *engine, aon_pack *pack, const char *file, const aon_run_options *options, aon_outcome *outcome,
                     aon_error *error) {
  aon_journal *journal;
  aon_file_info info = {.exists = true};
  bool from_input = !strcmp(file, "-");
  aon_result result = from_input ? AON_OK : engine->env->ops->file_info(engine->env->context, file, &info, error);
  if (!result && (!info.exists || info.is_directory))
    result = aon_fail(error, AON_ENVIRONMENT, "no_such_file", "There is no file “%s”. Check the name.", file);
  if (!result)
    result = aon_engine_journal(engine, true, &journal, error);
  if (!result)
    result = aon_housekeep(engine, options, error);
  AON_BUFFER_CLEANUP aon_buffer spool = {0};
  if (!result && from_input)
    result = spool_input(engine->env, engine->config.journal.key_file, &spool, error);
  if (!result)
    result =
        apply_file(engine, journal, pack, from_input ? spool.data : file, from_input ? "standard input" : file, options, outcome, error);
  aon_error ignored = AON_ERROR_INIT;
  if (spool.length && engine->env->ops->file_remove(engine->env->context, spool.data, &ignored))
    aon_log(engine->env, AON_LOG_WARNING, "%s", ignored.sentence);
  return result;
}
