/* Operations by line (NDJSON): what people and programs hand to aon_apply. The first byte says where the run is made to fail (0: nowhere).
 *
 * An oracle over jansson says what each line means. Properties: a dry run writes nothing; the lines are taken or rejected as the oracle
 * says; what was taken leaves the stores as the oracle has them; a run that fails leaves them as they were; undo gives back what was there;
 * the outcome is always told in JSON. Where a line uses what the oracle doesn't know (types, path), only that the stores are as before or
 * the run committed. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "house.h"
#include "model/document.h"
#include "written.h"

#define ID_BYTES_MAX 1500

static void *fresh_journal;
static size_t fresh_length;

/* ---- the oracle ---- */

typedef struct oracle {
  json_t *documents; /* "store\ncollection\nid": document */
  bool bad, unsure;  /* unsure: it does not know what a line means */
  size_t made;       /* documents whose id the program makes up */
} oracle;

/* RFC 7396, section 2. Takes target. */
static json_t *patched(json_t *target, const json_t *patch) {
  const char *name;
  json_t *value;
  if (!json_is_object(patch)) {
    json_decref(target);
    return json_deep_copy(patch);
  }
  if (!json_is_object(target)) {
    json_decref(target);
    target = json_object();
  }
  json_object_foreach((json_t *)(uintptr_t)patch, name, value) {
    json_t *old = json_incref(json_object_get(target, name));
    if (json_is_null(value))
      json_object_del(target, name);
    else
      json_object_set_new(target, name, patched(json_incref(old), value));
    json_decref(old);
  }
  return target;
}

static const char *text_of(const json_t *line, const char *name, bool *bad) {
  const json_t *value = json_object_get(line, name);
  if (!value)
    return NULL;
  if (!json_is_string(value) || !json_string_length(value) || strlen(json_string_value(value)) != json_string_length(value))
    *bad = true;
  return json_string_value(value);
}

static bool members_known(const json_t *line) {
  static const char *const known[] = {"store", "collection", "id", "operation", "path", "data", "expect", "types"};
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)line, key, value) {
    size_t i = 0;
    while (i < sizeof known / sizeof *known && strcmp(known[i], key) != 0)
      i++;
    if (i == sizeof known / sizeof *known)
      return false;
  }
  return true;
}

static bool as_expected(const json_t *now, const json_t *expect) {
  const char *key;
  json_t *value;
  if (!expect)
    return true;
  if (json_is_null(expect) || !now)
    return json_is_null(expect) && !now;
  json_object_foreach((json_t *)(uintptr_t)expect, key, value) {
    const json_t *other = json_object_get(now, key);
    if (!other || !same_json(value, other))
      return false;
  }
  return true;
}

static void carry_out(oracle *o, const char *key, const char *verb, const json_t *data, const json_t *expect) {
  const json_t *now = json_object_get(o->documents, key);
  bool create = !strcmp(verb, "create"), upsert = !strcmp(verb, "upsert"), needs = !create && !upsert;
  if (!as_expected(now, expect) || (create && now) || (needs && !now))
    o->bad = true;
  else if (!strcmp(verb, "delete"))
    json_object_del(o->documents, key);
  else if (now && (upsert || !strcmp(verb, "update")))
    json_object_set_new(o->documents, key, patched(json_deep_copy(now), data));
  else
    json_object_set_new(o->documents, key, json_deep_copy(data));
}

static void one_line(oracle *o, const json_t *line) {
  static const char verbs[] = "|create|update|upsert|replace|delete|";
  char key[ID_BYTES_MAX * 3], verb[16];
  bool bad = !members_known(line);
  const char *store = text_of(line, "store", &bad), *collection = text_of(line, "collection", &bad), *id = text_of(line, "id", &bad),
             *operation = text_of(line, "operation", &bad);
  const json_t *data = json_object_get(line, "data"), *expect = json_object_get(line, "expect");
  text_of(line, "path", &bad);
  bad = bad || (data && !json_is_object(data)) || (expect && !json_is_object(expect) && !json_is_null(expect));
  bad = bad || !store || !collection || !operation || (strcmp(store, "main") != 0 && strcmp(store, "realtime") != 0);
  bad = bad || snprintf(verb, sizeof verb, "|%s|", operation) >= (int)sizeof verb || strchr(operation, '|') || !strstr(verbs, verb);
  if (bad) {
    o->bad = true;
    return;
  }
  bool delete = !strcmp(operation, "delete"), create = !strcmp(operation, "create");
  if (delete == (data != NULL) || (!id && !create) || (id && strlen(id) > ID_BYTES_MAX))
    o->bad = true;
  if (json_object_get(line, "types") || json_object_get(line, "path") || strlen(collection) > ID_BYTES_MAX)
    o->unsure = true;
  if (o->bad || o->unsure)
    return;
  if (!id) {
    o->made++;
    o->bad = expect && !json_is_null(expect);
    return;
  }
  snprintf(key, sizeof key, "%s\n%s\n%s", store, collection, id);
  carry_out(o, key, operation, data, expect);
}

static void read_lines(oracle *o, const char *at, const char *end) {
  for (const char *stop; at < end && !o->bad; at = stop + (stop < end)) {
    stop = memchr(at, '\n', (size_t)(end - at));
    stop = stop ? stop : end;
    size_t length = (size_t)(stop - at), depth = 0;
    while (length && strchr("\r \t", at[length - 1]) && at[length - 1])
      length--;
    for (size_t i = 0; i < length; i++)
      depth += at[i] == '[' || at[i] == '{';
    if (!length)
      continue;
    json_t *line = memchr(at, 0, length) ? NULL : json_loadb(at, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (!json_is_object(line))
      o->bad = true;
    else
      one_line(o, line);
    o->unsure = o->unsure || depth > 90; /* our limit of nesting */
    json_decref(line);
  }
}

/* ---- the program beside it ---- */

static void prepare(house *h, oracle *o) {
  static const struct {
    const char *store, *collection, *id, *json;
  } given[] = {{"main", "c", "a", "{\"n\":1,\"o\":{\"x\":1,\"y\":[1,2]},\"t\":\"text\"}"},
               {"main", "d", "a", "{}"},
               {"realtime", "c", "a", "{\"n\":1.5,\"b\":true,\"z\":null}"},
               {"realtime", "e", "b", "{\"n\":9007199254740993}"}};
  *o = (oracle){.documents = json_object()};
  for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
    char key[64];
    snprintf(key, sizeof key, "%s\n%s\n%s", given[i].store, given[i].collection, given[i].id);
    json_object_set_new(o->documents, key, json_loads(given[i].json, 0, NULL));
    house_put(h, given[i].store, given[i].collection, given[i].id, given[i].json);
  }
}

static void check_stores(house *h, const oracle *o) {
  const char *key;
  json_t *expected;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  json_object_foreach(o->documents, key, expected) {
    AON_BUFFER_CLEANUP aon_buffer text = {0};
    const char *first = strchr(key, '\n'), *second = strchr(first + 1, '\n');
    char *collection = fuzz_copy(first + 1, (size_t)(second - first) - 1);
    aon_image image = {0};
    bson_t document;
    FUZZ_CHECK(aon_memory_look(h->databases[key[0] == 'r'], collection, second + 1, &arena, &image, NULL) == AON_OK, "memory");
    FUZZ_CHECK(aon_image_view(&image, &document), "%s is not there", key);
    FUZZ_CHECK(aon_document_to_json(&document, &text, NULL) == AON_OK, "%s", key);
    json_t *found = json_loadb(text.data, text.length, JSON_ALLOW_NUL, NULL);
    FUZZ_CHECK(found && same_json(found, expected), "%s is %s, expected %s", key, text.data, json_dumps(expected, JSON_COMPACT));
    json_decref(found);
    free(collection);
  }
  size_t there = aon_memory_documents(h->databases[0]) + aon_memory_documents(h->databases[1]);
  FUZZ_CHECK(there == json_object_size(o->documents) + o->made, "%zu documents, expected %zu and %zu", there,
             json_object_size(o->documents), o->made);
}

static void check_as_before(house *h, const aon_buffer *before, const char *when) {
  AON_BUFFER_CLEANUP aon_buffer now = {0};
  house_snapshot(h, &now);
  FUZZ_CHECK(!strcmp(before->data, now.data), "%s:\n%sbefore:\n%s", when, now.data, before->data);
}

static void check_undo(house *h, const char *id, const aon_buffer *before) {
  aon_outcome outcome = {.state = AON_PARSING};
  aon_error error = AON_ERROR_INIT;
  aon_result result = aon_undo(h->engine, id, &(aon_undo_options){.first = -1, .last = -1}, &h->options, &outcome, &error);
  house_check(result, &outcome, &error);
  FUZZ_CHECK(result == AON_OK && outcome.state == AON_COMMITTED, "undo: %s %s %s", aon_state_name(outcome.state), error.sentence,
             outcome.failure.message);
  check_as_before(h, before, "undone");
  aon_outcome_release(&outcome);
}

static void check_run(house *h, const oracle *o, const void *lines, size_t length, bool failing, const aon_buffer *before) {
  aon_outcome outcome;
  aon_error error;
  char id[37];
  h->options.dry_run = true;
  aon_result result = house_apply(h, lines, length, &outcome, &error);
  FUZZ_CHECK(result == AON_OK, "%s", error.sentence);
  bool planned = outcome.state == AON_PLANNED;
  FUZZ_CHECK(planned || outcome.state == AON_REJECTED_STATE, "a dry run: %s", aon_state_name(outcome.state));
  FUZZ_CHECK(o->unsure || planned != o->bad, "%s, expected to be %s: %s", aon_state_name(outcome.state), o->bad ? "rejected" : "taken",
             outcome.json.data);
  FUZZ_CHECK(planned == (outcome.problems.error_count == 0), "%s with %llu errors", aon_state_name(outcome.state),
             (unsigned long long)outcome.problems.error_count);
  check_as_before(h, before, "a dry run");
  aon_outcome_release(&outcome);
  h->options.dry_run = false;
  result = house_apply(h, lines, length, &outcome, &error);
  FUZZ_CHECK(result == AON_OK, "%s", error.sentence);
  bool committed = outcome.state == AON_COMMITTED;
  FUZZ_CHECK(committed == planned || (failing && outcome.state == AON_ROLLED_BACK), "planned: %d, then %s %s", planned,
             aon_state_name(outcome.state), outcome.failure.message);
  memcpy(id, outcome.bulk_id, sizeof id);
  aon_outcome_release(&outcome);
  if (!committed) {
    check_as_before(h, before, "not committed");
    return;
  }
  if (!o->unsure)
    check_stores(h, o);
  check_undo(h, id, before);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc;
  (void)argv;
  house h;
  aon_outcome outcome;
  aon_error error;
  house_open(&h, NULL, 0);
  FUZZ_CHECK(house_apply(&h, "", 0, &outcome, &error) == AON_OK, "%s", error.sentence);
  aon_outcome_release(&outcome);
  house_close(&h);
  fresh_journal = house_journal(&fresh_length);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_input input = {data, data + size};
  int64_t fail_at = (int64_t)(fuzz_byte(&input) % 8) - 1;
  oracle o;
  house h;
  AON_BUFFER_CLEANUP aon_buffer before = {0};
  house_open(&h, fresh_journal, fresh_length);
  h.config.test_rollback_at = fail_at;
  h.config.test_mode = fail_at >= 0;
  house_engine(&h);
  prepare(&h, &o);
  house_snapshot(&h, &before);
  read_lines(&o, (const char *)input.at, (const char *)input.end);
  check_run(&h, &o, input.at, fuzz_left(&input), fail_at >= 0, &before);
  json_decref(o.documents);
  house_close(&h);
  return 0;
}
