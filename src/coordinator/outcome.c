/* Results as people and programs get them: one object with all its keys, always.
 * Invariant: the journal's summary holds what cannot be read from its row; the rest is read from the row, so a result shown
 * later never says another state than the journal. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/internal.h"
#include "coordinator/run.h"
#include "model/document.h"
#include "model/text.h"

void aon_outcome_release(aon_outcome *outcome) {
  aon_counts_release(&outcome->counts);
  aon_problems_release(&outcome->problems);
  aon_buffer_release(&outcome->json);
  *outcome = (aon_outcome){0};
}

int aon_outcome_exit_status(const aon_outcome *outcome, aon_result result, const aon_error *error) {
  /* Begun and not at its end: whatever stopped this command, recovery goes on with it, and a person should look. */
  bool begun =
      outcome->bulk_id[0] && (outcome->state == AON_ROLLING_BACK || (outcome->state >= AON_EXECUTING && outcome->state <= AON_COMMITTING));
  if (result && result != AON_BUSY && result != AON_USAGE && begun)
    return 4;
  if (result == AON_BUSY || (error && result && !strcmp(error->code, "database_locked")))
    return 5;
  if (result == AON_REJECTED)
    return 2;
  if (result == AON_CANCELLED)
    return 3;
  if (result)
    return 1;
  switch (outcome->state) {
  case AON_REJECTED_STATE:
    return 2;
  case AON_CANCELLED_STATE:
  case AON_ROLLED_BACK:
    return !strcmp(outcome->failure.code, "locked") || !strcmp(outcome->failure.code, "database_locked") ? 5 : 3;
  case AON_ROLLBACK_FAILED:
  case AON_UNDO_FAILED:
  case AON_COMMIT_FAILED:
    return 4;
  case AON_HELD:
    return 6;
  case AON_ROLLING_BACK:
    return 4;
  default:
    return 0;
  }
}

static aon_result member_text(aon_buffer *out, const char *name, const char *value, aon_error *error) {
  aon_result result = aon_buffer_format(out, error, ",\"%s\":", name);
  if (!result)
    result = value && *value ? aon_text_to_json(value, strlen(value), out, error) : aon_buffer_text(out, "null", error);
  return result;
}

aon_result aon_failure_to_json(const aon_failure *failure, aon_buffer *out, aon_error *error) {
  aon_result result = failure->operation >= 0 ? aon_buffer_format(out, error, "{\"operation\":%lld", (long long)failure->operation)
                                              : aon_buffer_text(out, "{\"operation\":null", error);
  const struct {
    const char *name, *value;
  } members[] = {{"store", failure->store},
                 {"collection", failure->collection},
                 {"documentId", failure->document_id},
                 {"code", failure->code},
                 {"message", failure->message},
                 {"heldBy", failure->held_by},
                 {"sheet", failure->sheet},
                 {"cell", failure->cell}};
  for (size_t i = 0; !result && i < sizeof members / sizeof *members; i++)
    result = member_text(out, members[i].name, members[i].value, error);
  if (!result)
    result = failure->row ? aon_buffer_format(out, error, ",\"row\":%u}", failure->row) : aon_buffer_text(out, ",\"row\":null}", error);
  return result;
}

static aon_result problems_json(const char *name, const aon_problem *problems, size_t count, aon_buffer *out, aon_error *error) {
  aon_result result = aon_buffer_format(out, error, ",\"%s\":[", name);
  for (size_t i = 0; !result && i < count; i++) {
    if (i)
      result = aon_buffer_text(out, ",", error);
    if (!result)
      result = aon_problem_to_json(&problems[i], out, error);
  }
  return result ? result : aon_buffer_text(out, "]", error);
}

static aon_result counts_json(const aon_counts *counts, aon_buffer *out, aon_error *error) {
  aon_result result = aon_buffer_text(out, "\"counts\":{", error);
  for (size_t i = 0; !result && i < counts->count; i++) {
    const struct aon_count *count = &counts->entries[i];
    result = aon_text_to_json(count->entity, strlen(count->entity), out, error);
    if (!result)
      result = aon_buffer_format(out, error, ":{\"create\":%llu,\"edit\":%llu,\"delete\":%llu,\"unchanged\":%llu}%s",
                                 (unsigned long long)count->created, (unsigned long long)count->edited, (unsigned long long)count->deleted,
                                 (unsigned long long)count->unchanged, i + 1 < counts->count ? "," : "");
  }
  return result ? result : aon_buffer_text(out, "}", error);
}

aon_result aon_outcome_summary(const aon_outcome *outcome, aon_buffer *out, aon_error *error) {
  const aon_problems *problems = &outcome->problems;
  const aon_timings *t = &outcome->timings;
  static const aon_counts none;
  bool rejected = outcome->state == AON_REJECTED_STATE || problems->error_count;
  aon_result result = aon_buffer_text(out, "{", error);
  if (!result)
    result = counts_json(rejected ? &none : &outcome->counts, out, error);
  if (!result)
    result = problems_json("errors", problems->errors, problems->errors_kept, out, error);
  if (!result)
    result = aon_buffer_format(out, error, ",\"errorCount\":%llu", (unsigned long long)problems->error_count);
  if (!result)
    result = problems_json("warnings", problems->warnings, problems->warnings_kept, out, error);
  if (!result)
    result = aon_buffer_format(
        out, error, ",\"timings\":{\"parse\":%.0f,\"validate\":%.0f,\"plan\":%.0f,\"log\":%.0f,\"execute\":%.0f,\"finish\":%.0f}", t->parse,
        t->validate, t->plan, t->log, t->execute, t->finish);
  if (!result)
    result = aon_buffer_format(out, error, ",\"operationsPerSecond\":%.0f", outcome->operations_per_second);
  return result ? result : aon_buffer_text(out, "}", error);
}

static const char empty_summary[] =
    "{\"counts\":{},\"errors\":[],\"errorCount\":0,\"warnings\":[],\"timings\":{\"parse\":0,\"validate\":0,\"plan\":0,"
    "\"log\":0,\"execute\":0,\"finish\":0},\"operationsPerSecond\":0}";

static aon_result instant_member(aon_buffer *out, const char *name, int64_t ms, aon_error *error) {
  char text[AON_INSTANT_LENGTH + 1] = "";
  if (ms > 0)
    aon_instant_format(ms, text);
  return member_text(out, name, text, error);
}

typedef struct id_list {
  const char *bulk_id;
  aon_buffer *out;
  bool any;
} id_list;

static aon_result hear_undo(void *context, const aon_bulk *bulk, aon_error *error) {
  id_list *list = context;
  bool told =
      bulk->state == AON_COMMITTED || bulk->state == AON_UNDONE || bulk->state == AON_ROLLBACK_FAILED || bulk->state == AON_COMMIT_FAILED;
  if (!told)
    return AON_OK;
  aon_result result = aon_buffer_format(list->out, error, "%s\"%s\"", list->any ? "," : "", bulk->id);
  list->any = true;
  return result;
}

static aon_result unreadable(const char *bulk_id, aon_error *error) {
  return aon_fail(error, AON_CORRUPT, "corrupt",
                  "What became of bulk operation %s can't be read in the journal. Restore the journal from a backup.", bulk_id);
}

/* They go out as they stand, so they must be what was written: an array of texts. */
static aon_result check_paths(const char *bulk_id, const char *paths, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer object = {0};
  bson_t read;
  bson_iter_t at, inner;
  aon_error why = AON_ERROR_INIT;
  aon_result result = aon_buffer_format(&object, error, "{\"paths\":%s}", paths);
  if (!result && (result = aon_document_from_json(object.data, object.length, &read, &why)))
    result = result == AON_NO_MEMORY ? aon_fail_memory(error) : unreadable(bulk_id, error);
  else if (!result) {
    bool texts = bson_count_keys(&read) == 1 && bson_iter_init_find(&at, &read, "paths") && BSON_ITER_HOLDS_ARRAY(&at) &&
                 bson_iter_recurse(&at, &inner);
    while (texts && bson_iter_next(&inner))
      texts = BSON_ITER_HOLDS_UTF8(&inner);
    result = texts ? AON_OK : unreadable(bulk_id, error);
    bson_destroy(&read);
  }
  return result;
}

static aon_result hear_conflict(void *context, const aon_conflict *found, aon_error *error) {
  id_list *list = context;
  if (found->watched)
    return AON_OK;
  aon_result result = found->paths ? check_paths(list->bulk_id, found->paths, error) : AON_OK;
  if (!result)
    result = aon_buffer_format(list->out, error, "%s{\"sequence\":%lld", list->any ? "," : "", (long long)found->sequence);
  list->any = true;
  const struct {
    const char *name, *value;
  } members[] = {{"store", found->store},
                 {"collection", found->collection},
                 {"documentId", found->document_id},
                 {"code", found->code},
                 {"message", found->sentence}};
  for (size_t i = 0; !result && i < sizeof members / sizeof *members; i++)
    result = member_text(list->out, members[i].name, members[i].value, error);
  return result ? result : aon_buffer_format(list->out, error, ",\"paths\":%s}", found->paths ? found->paths : "[]");
}

static aon_result head_members(const aon_bulk *bulk, aon_buffer *out, aon_error *error) {
  aon_result result = aon_buffer_format(out, error, "{\"bulkOperationId\":\"%s\",\"state\":\"%s\",\"dryRun\":%s,\"operations\":%lld",
                                        bulk->id, aon_state_name(bulk->state), bulk->dry_run ? "true" : "false",
                                        bulk->state == AON_REJECTED_STATE ? 0 : (long long)bulk->operations);
  const struct {
    const char *name, *value;
  } members[] = {
      {"kind", bulk->kind}, {"source", bulk->source}, {"pack", bulk->pack}, {"organization", bulk->organization}, {"user", bulk->user}};
  for (size_t i = 0; !result && i < sizeof members / sizeof *members; i++)
    result = member_text(out, members[i].name, members[i].value, error);
  if (!result)
    result = instant_member(out, "createdAt", bulk->created_ms, error);
  if (!result)
    result = instant_member(out, "finishedAt", bulk->finished_ms, error);
  if (!result)
    result = instant_member(out, "undoUntil", bulk->state == AON_COMMITTED ? bulk->images_until_ms : 0, error);
  return result;
}

/* What the journal keeps as JSON goes out as it stands, so it must be that. */
static aon_result check_kept(const aon_bulk *bulk, const char *text, aon_error *error) {
  bson_t object;
  aon_error why = AON_ERROR_INIT;
  aon_result result = text ? aon_document_from_json(text, strlen(text), &object, &why) : AON_OK;
  if (text)
    bson_destroy(&object);
  if (result == AON_NO_MEMORY)
    return aon_fail_memory(error);
  bool bare = !text || (text[0] == '{' && text[strlen(text) - 1] == '}'); /* its members are taken out of the braces */
  if ((result && !strcmp(why.code, "bad_json")) || (!result && !bare))
    return unreadable(bulk->id, error);
  return AON_OK;
}

aon_result aon_result_json(aon_journal *journal, const aon_bulk *bulk, aon_buffer *out, aon_error *error) {
  const char *summary = bulk->summary ? bulk->summary : empty_summary;
  aon_result result = check_kept(bulk, bulk->summary, error);
  if (!result)
    result = check_kept(bulk, bulk->failure, error);
  if (!result)
    result = head_members(bulk, out, error);
  if (!result)
    result = aon_buffer_text(out, ",", error);
  if (!result)
    result = aon_buffer_append(out, summary + 1, strlen(summary) - 2, error); /* its members, without the braces */
  if (!result)
    result = aon_buffer_format(out, error, ",\"failure\":%s", bulk->failure ? bulk->failure : "null");
  if (!result)
    result = aon_buffer_text(out, ",\"conflicts\":[", error);
  id_list list = {.bulk_id = bulk->id, .out = out};
  if (!result)
    result = aon_journal_conflicts(journal, bulk->id, hear_conflict, &list, error);
  if (!result)
    result = aon_buffer_text(out, "]", error);
  if (!result)
    result = member_text(out, "undoes", bulk->undoes, error);
  if (!result)
    result = aon_buffer_text(out, ",\"undoneBy\":[", error);
  list = (id_list){.bulk_id = bulk->id, .out = out};
  aon_bulk_filter filter = {.undoes = bulk->id};
  if (!result)
    result = aon_journal_list(journal, &filter, hear_undo, &list, error);
  return result ? result : aon_buffer_text(out, "]}", error);
}

aon_result aon_outcome_finish(aon_run *run, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_bulk bulk;
  aon_result result = aon_journal_get(run->journal, run->id, &arena, &bulk, error);
  if (!result)
    result = aon_result_json(run->journal, &bulk, &run->outcome->json, error);
  if (!result)
    run->outcome->state = bulk.state;
  return result;
}

static void copy_text(char *to, size_t size, json_t *from) {
  snprintf(to, size, "%s", json_string_value(from) ? json_string_value(from) : "");
}

static aon_result read_counts(json_t *object, aon_counts *counts, aon_error *error) {
  const char *entity;
  json_t *item;
  json_object_foreach(object, entity, item) {
    struct aon_count *count;
    aon_result result = aon_counts_entity(counts, entity, &count, error);
    if (result)
      return result;
    count->created = (uint64_t)json_integer_value(json_object_get(item, "create"));
    count->edited = (uint64_t)json_integer_value(json_object_get(item, "edit"));
    count->deleted = (uint64_t)json_integer_value(json_object_get(item, "delete"));
    count->unchanged = (uint64_t)json_integer_value(json_object_get(item, "unchanged"));
  }
  return AON_OK;
}

static aon_result count_conflict(void *context, const aon_conflict *found, aon_error *error) {
  (void)error;
  *(uint64_t *)context += !found->watched;
  return AON_OK;
}

/* The first result of a bulk operation, as if it had just run. */
aon_result aon_outcome_repeat(aon_engine *engine, aon_journal *journal, const aon_bulk *bulk, aon_outcome *outcome, aon_error *error) {
  (void)engine;
  snprintf(outcome->bulk_id, sizeof outcome->bulk_id, "%s", bulk->id);
  outcome->state = bulk->state;
  outcome->dry_run = bulk->dry_run;
  outcome->repeated = true;
  outcome->operations = bulk->operations;
  snprintf(outcome->undoes, sizeof outcome->undoes, "%s", bulk->undoes ? bulk->undoes : "");
  json_t *summary = json_loads(bulk->summary ? bulk->summary : empty_summary, 0, NULL);
  json_t *failure = bulk->failure ? json_loads(bulk->failure, 0, NULL) : NULL;
  aon_result result = read_counts(json_object_get(summary, "counts"), &outcome->counts, error);
  outcome->problems.error_count = (uint64_t)json_integer_value(json_object_get(summary, "errorCount"));
  if (json_is_object(failure)) {
    aon_failure *f = &outcome->failure;
    f->set = true;
    json_t *operation = json_object_get(failure, "operation");
    f->operation = json_is_integer(operation) ? json_integer_value(operation) : AON_NO_OPERATION;
    copy_text(f->store, sizeof f->store, json_object_get(failure, "store"));
    copy_text(f->collection, sizeof f->collection, json_object_get(failure, "collection"));
    copy_text(f->document_id, sizeof f->document_id, json_object_get(failure, "documentId"));
    copy_text(f->code, sizeof f->code, json_object_get(failure, "code"));
    copy_text(f->message, sizeof f->message, json_object_get(failure, "message"));
    copy_text(f->held_by, sizeof f->held_by, json_object_get(failure, "heldBy"));
    copy_text(f->sheet, sizeof f->sheet, json_object_get(failure, "sheet"));
    copy_text(f->cell, sizeof f->cell, json_object_get(failure, "cell"));
    f->row = (uint32_t)json_integer_value(json_object_get(failure, "row"));
  }
  json_decref(summary);
  json_decref(failure);
  outcome->conflicts = 0;
  if (!result)
    result = aon_journal_conflicts(journal, bulk->id, count_conflict, &outcome->conflicts, error);
  return result ? result : aon_result_json(journal, bulk, &outcome->json, error);
}

aon_result aon_show(aon_engine *engine, const char *id, aon_buffer *out, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_journal *journal;
  aon_bulk bulk;
  aon_result result = aon_engine_bulk(engine, id, &arena, &journal, &bulk, error);
  return result ? result : aon_result_json(journal, &bulk, out, error);
}

aon_result aon_look(aon_engine *engine, const char *id, aon_outcome *outcome, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_journal *journal;
  aon_bulk bulk;
  aon_result result = aon_engine_bulk(engine, id, &arena, &journal, &bulk, error);
  return result ? result : aon_outcome_repeat(engine, journal, &bulk, outcome, error);
}
