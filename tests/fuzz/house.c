/* See house.h. */
#include "house.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aon/store.h"
#include "coordinator/internal.h"
#include "files.h"
#include "model/document.h"

#define KEY_FILE "journal.key"
#define LINES_FILE "input.ndjson"

static const char *const names[HOUSE_STORES] = {"main", "realtime"};
static void must(aon_result result, const aon_error *error) {
  FUZZ_CHECK(result == AON_OK, "%s: %s", aon_result_name(result), error->sentence);
}

char *house_journal(size_t *ret_length) {
  const uint8_t *bytes = fuzz_file(HOUSE_JOURNAL, ret_length);
  FUZZ_CHECK(bytes, "there is no journal");
  return fuzz_copy(bytes, *ret_length);
}

/* The journal's key outlives the clearing of all files: a journal that is given was written with it. */
static void clear_files(bool keep_key) {
  size_t length = 0;
  const uint8_t *there = keep_key ? fuzz_file(KEY_FILE, &length) : NULL;
  void *key = there ? fuzz_copy(there, length) : NULL;
  fuzz_world_clear();
  if (key)
    fuzz_file_put(KEY_FILE, key, length);
  free(key);
}

void house_engine(house *h) {
  aon_error error = AON_ERROR_INIT;
  aon_engine_close(h->engine);
  must(aon_engine_open(&h->env, &h->config, &h->engine, &error), &error);
}

void house_open(house *h, const void *journal, size_t length) {
  static const aon_store_class classes[HOUSE_STORES] = {AON_CLASS_TRANSACTION, AON_CLASS_BATCH};
  aon_error error = AON_ERROR_INIT;
  fuzz_files_register();
  *h = (house){.env = *fuzz_world()};
  h->env.vfs = FUZZ_FILES;
  clear_files(journal);
  fuzz_seed(journal != NULL); /* ids other than those that the journal holds */
  if (journal)
    fuzz_file_put(HOUSE_JOURNAL, journal, length);
  for (size_t i = 0; i < HOUSE_STORES; i++) {
    aon_memory_config memory = {.store_class = classes[i], .identity = names[i]};
    must(aon_memory_new(&memory, &h->databases[i], &error), &error);
    h->stores[i] = (aon_engine_store){.adapter = &aon_memory_adapter,
                                      .config = {.name = names[i],
                                                 .location = names[i],
                                                 .options = h->databases[i],
                                                 .horizon_ms = 30000,
                                                 .watch_ms = 3600000,
                                                 .timeout_ms = 5000}};
  }
  h->config = (aon_engine_config){.journal = {.location = HOUSE_JOURNAL, .key_file = KEY_FILE},
                                  .stores = h->stores,
                                  .store_count = HOUSE_STORES,
                                  .test_rollback_at = -1,
                                  .test_user_index = -1,
                                  .test_dept_index = -1,
                                  .test_site_index = -1,
                                  .test_schedule_index = -1};
  h->options = (aon_run_options){.organization = "default", .user = "ann", .lock_wait_ms = 0};
  house_engine(h);
}

void house_close(house *h) {
  aon_engine_close(h->engine);
  for (size_t i = 0; i < HOUSE_STORES; i++)
    aon_memory_free(h->databases[i]);
}

void house_check(aon_result result, const aon_outcome *outcome, const aon_error *error) {
  bson_t read;
  aon_error why = AON_ERROR_INIT;
  FUZZ_CHECK(!result || error->sentence[0], "%s without a sentence", aon_result_name(result));
  FUZZ_CHECK(bson_utf8_validate(error->sentence, strlen(error->sentence), false), "a sentence that is no UTF-8: %s", error->sentence);
  if (result)
    return;
  FUZZ_CHECK(outcome->json.length > 0, "nothing is told: %s", aon_state_name(outcome->state));
  FUZZ_CHECK(aon_document_from_json(outcome->json.data, outcome->json.length, &read, &why) == AON_OK, "%s: %s", why.sentence,
             outcome->json.data);
  bson_destroy(&read);
}

aon_result house_apply(house *h, const void *lines, size_t length, aon_outcome *ret_outcome, aon_error *error) {
  *ret_outcome = (aon_outcome){.state = AON_PARSING};
  *error = (aon_error)AON_ERROR_INIT;
  fuzz_file_put(LINES_FILE, lines, length);
  aon_result result = aon_apply(h->engine, NULL, LINES_FILE, &h->options, ret_outcome, error);
  house_check(result, ret_outcome, error);
  return result;
}

/* ---- documents ---- */

typedef struct listing {
  char *lines[256];
  size_t count;
  const char *store, *collection;
} listing;

static aon_result list_one(void *context, const aon_found *found, aon_error *error) {
  listing *list = context;
  aon_buffer line = {0};
  bson_t document;
  FUZZ_CHECK(list->count < sizeof list->lines / sizeof *list->lines, "too many documents");
  must(aon_buffer_format(&line, NULL, "%s/%s/", list->store, list->collection), error);
  must(aon_text_to_json(found->id.data, found->id.length, &line, NULL), error);
  FUZZ_CHECK(aon_image_view(&found->image, &document), "a document in %s that is no BSON", list->store);
  must(aon_buffer_append(&line, " ", 1, NULL), error);
  must(aon_document_to_json(&document, &line, NULL), error);
  list->lines[list->count++] = line.data;
  return AON_OK;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

void house_snapshot(house *h, aon_buffer *out) {
  static const char *const collections[] = {"c", "d", "e"};
  listing list = {.count = 0};
  aon_error error = AON_ERROR_INIT;
  for (size_t i = 0; i < HOUSE_STORES; i++) {
    aon_store *store;
    must(aon_store_open(&h->env, h->stores[i].adapter, &h->stores[i].config, &store, &error), &error);
    for (size_t k = 0; k < sizeof collections / sizeof *collections; k++) {
      aon_collection collection = {.store = names[i], .name = collections[k]};
      list.store = names[i];
      list.collection = collections[k];
      must(aon_store_scan(store, &collection, NULL, 0, NULL, list_one, &list, &error), &error);
    }
    aon_store_close(store);
    must(aon_buffer_format(out, NULL, "%s: %zu\n", names[i], aon_memory_documents(h->databases[i])), &error);
  }
  qsort(list.lines, list.count, sizeof *list.lines, by_text);
  for (size_t i = 0; i < list.count; i++) {
    must(aon_buffer_format(out, NULL, "%s\n", list.lines[i]), &error);
    free(list.lines[i]);
  }
}

void house_put(house *h, const char *store, const char *collection, const char *id, const char *json) {
  aon_error error = AON_ERROR_INIT;
  bson_t document;
  must(aon_document_from_json(json, strlen(json), &document, &error), &error);
  must(aon_memory_foreign_write(h->databases[!strcmp(store, names[1])], collection, id, &document, &error), &error);
  bson_destroy(&document);
}
