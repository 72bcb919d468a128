/* The engine's life: journal and stores are opened when first needed, closed with it.
 * Invariant: opening for reading never makes a file. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/internal.h"
#include "coordinator/run.h"

static void set_defaults(aon_engine_config *config) {
  if (!config->retention_ms)
    config->retention_ms = (int64_t)7 * 24 * 3600 * 1000;
  if (!config->hold_ms)
    config->hold_ms = 10000;
  if (!config->hold_until_ms)
    config->hold_until_ms = 3600000;
  if (!config->give_up_ms)
    config->give_up_ms = (int64_t)24 * 3600 * 1000;
  if (!config->batch)
    config->batch = 500;
  if (!config->journal.lease_ms)
    config->journal.lease_ms = 30000;
}

aon_result aon_engine_open(aon_env *env, const aon_engine_config *config, aon_engine **ret_engine, aon_error *error) {
  aon_engine *engine = calloc(1, sizeof *engine);
  if (!engine)
    return aon_fail_memory(error);
  engine->env = env;
  engine->config = *config;
  set_defaults(&engine->config);
  engine->stores = calloc(config->store_count + 1, sizeof *engine->stores);
  engine->open = calloc(config->store_count + 1, sizeof *engine->open);
  if (!engine->stores || !engine->open) {
    aon_engine_close(engine);
    return aon_fail_memory(error);
  }
  for (size_t i = 0; i < config->store_count; i++)
    engine->stores[i] = config->stores[i];
  engine->config.stores = engine->stores;
  *ret_engine = engine;
  return AON_OK;
}

/* The journal, then the stores whose calls may come from any thread: SQLite moves its write-ahead logs into the files now. */
static void close_one(void *argument, size_t index) {
  aon_engine *engine = argument;
  if (index == 0)
    aon_journal_close(engine->journal);
  else
    aon_store_close(engine->open[index - 1]);
}

void aon_engine_close(aon_engine *engine) {
  if (!engine)
    return;
  for (size_t i = 0; engine->open && i < engine->config.store_count; i++)
    if (engine->open[i] && !aon_store_capabilities(engine->open[i])->any_thread) {
      aon_store_close(engine->open[i]);
      engine->open[i] = NULL;
    }
  aon_run_together(engine->env, close_one, engine, engine->open ? 1 + engine->config.store_count : 1);
  free(engine->open);
  free(engine->stores);
  free(engine);
}

aon_result aon_engine_journal(aon_engine *engine, bool for_writing, aon_journal **ret_journal, aon_error *error) {
  /* One that was missing may be there by now. */
  if (engine->journal && ((for_writing && !engine->journal_writable) || aon_journal_missing(engine->journal))) {
    aon_journal_close(engine->journal);
    engine->journal = NULL;
  }
  if (!engine->journal) {
    aon_journal_config config = engine->config.journal;
    config.read_only = !for_writing;
    aon_result result = aon_journal_open(engine->env, &config, &engine->journal, error);
    if (result)
      return result;
    engine->journal_writable = for_writing;
  }
  *ret_journal = engine->journal;
  return AON_OK;
}

aon_result aon_engine_bulk(aon_engine *engine, const char *id, aon_arena *arena, aon_journal **ret_journal, aon_bulk *ret_bulk,
                           aon_error *error) {
  aon_result result = aon_engine_journal(engine, false, ret_journal, error);
  return result ? result : aon_journal_get(*ret_journal, id, arena, ret_bulk, error);
}

aon_result aon_engine_store_open(aon_engine *engine, const char *name, aon_store **ret_store, aon_error *error) {
  for (size_t i = 0; i < engine->config.store_count; i++) {
    const aon_engine_store *wanted = &engine->stores[i];
    if (strcmp(wanted->config.name, name))
      continue;
    if (!engine->open[i]) {
      aon_result result = aon_store_open(engine->env, wanted->adapter, &wanted->config, &engine->open[i], error);
      if (result)
        return result;
    }
    *ret_store = engine->open[i];
    return AON_OK;
  }
  return aon_fail(error, AON_REJECTED, "unknown_store",
                  "There is no store “%s” in the configuration. Name one that is, or add it under stores.", name);
}

/* ---- the source through which plans read ---- */

static aon_result source_read(void *context, const aon_collection *collection, const aon_text *ids, size_t count, aon_arena *arena,
                              aon_image *images, aon_error *error) {
  aon_store *store;
  aon_result result = aon_engine_store_open(context, collection->store, &store, error);
  return result ? result : aon_store_read(store, collection, ids, count, arena, images, error);
}

static aon_result source_scan(void *context, const aon_collection *collection, const aon_match *matches, size_t count,
                              const char *const *properties, aon_scan_each each, void *each_context, aon_error *error) {
  aon_store *store;
  aon_result result = aon_engine_store_open(context, collection->store, &store, error);
  return result ? result : aon_store_scan(store, collection, matches, count, properties, each, each_context, error);
}

static aon_result source_hides(void *context, const aon_collection *collection, const char *property, bool *ret_hidden, aon_error *error) {
  aon_store *store;
  const aon_shape *shape;
  aon_result result = aon_engine_store_open(context, collection->store, &store, error);
  if (!result)
    result = aon_store_describe(store, collection, &shape, error);
  if (!result)
    *ret_hidden = shape->write_only && !strcmp(shape->write_only, property);
  return result;
}

aon_document_source aon_engine_source(aon_engine *engine) {
  return (aon_document_source){.context = engine, .read = source_read, .scan = source_scan, .hides = source_hides};
}
