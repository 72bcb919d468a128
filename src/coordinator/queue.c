/* Queueing an upload: its file goes into the journal in chunks, then one write queues it. See worker.h.
 * Invariant: until that write nothing of it is seen, and after it the file is whole. */
#include "coordinator/queue.h"

#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "coordinator/internal.h"
#include "coordinator/submit.h"
#include "model/document.h"
#include "model/text.h"

/* ---- what the submitter means ---- */

static aon_result folder_of(aon_env *env, const char *path, aon_arena *arena, aon_file_info *ret_info, aon_error *error) {
  size_t length = (size_t)(aon_base_name(path) - path);
  const char *folder = length ? aon_arena_text(arena, path, length) : ".";
  return folder ? env->ops->file_info(env->context, folder, ret_info, error) : aon_fail_memory(error);
}

/* A SQLite file is known by the folder it lies in, since the same one has many paths and may not be there yet: that of the journal, which
 * may be moved or restored as a whole, or another one of this machine. */
static aon_result sqlite_place(aon_engine *engine, const char *location, aon_arena *arena, const char **ret_place, aon_error *error) {
  const char *name = aon_base_name(location), *journal = engine->config.journal.location;
  aon_file_info here, beside = {0};
  aon_result result = folder_of(engine->env, location, arena, &here, error);
  if (!result && !strstr(journal, "://"))
    result = folder_of(engine->env, strncmp(journal, "sqlite:", 7) ? journal : journal + 7, arena, &beside, error);
  if (result)
    return result;
  bool together = here.file_number && here.file_number == beside.file_number && here.device_number == beside.device_number;
  *ret_place = together           ? aon_arena_format(arena, "journal/%s", name)
               : here.file_number ? aon_arena_format(arena, "%llu/%s", (unsigned long long)here.file_number, name)
                                  : aon_arena_text(arena, location, strlen(location));
  return *ret_place ? AON_OK : aon_fail_memory(error);
}

/* Host and database of a URL, without who asks and how. */
static aon_result url_place(const char *location, aon_arena *arena, const char **ret_place, aon_error *error) {
  const char *from = strstr(location, "://");
  from = from ? from + 3 : location;
  size_t authority = strcspn(from, "/?");
  const char *at = memrchr(from, '@', authority);
  if (at)
    from = at + 1;
  *ret_place = aon_arena_text(arena, from, strcspn(from, "?"));
  return *ret_place ? AON_OK : aon_fail_memory(error);
}

static aon_result mean_store(aon_engine *engine, const char *name, aon_arena *arena, aon_queue_store *ret_store, aon_error *error) {
  for (size_t i = 0; i < engine->config.store_count; i++) {
    const aon_engine_store *store = &engine->stores[i];
    const char *location = store->config.location ? store->config.location : "";
    if (strcmp(store->config.name, name))
      continue;
    *ret_store = (aon_queue_store){.name = name, .kind = store->adapter->kind};
    return strcmp(store->adapter->kind, "sqlite") ? url_place(location, arena, &ret_store->place, error)
                                                  : sqlite_place(engine, location, arena, &ret_store->place, error);
  }
  return aon_fail(error, AON_REJECTED, "unknown_store",
                  "There is no store “%s” in the configuration. Name one that is, or add it under stores.", name);
}

aon_result aon_queue_mean(aon_engine *engine, const aon_pack *pack, aon_arena *arena, aon_queue_options *options, aon_error *error) {
  static const char *const none[] = {NULL};
  size_t count;
  char *digest = aon_arena_alloc(arena, 65);
  const aon_collection *const *collections = aon_pack_collections(pack, &count);
  aon_result result = digest ? aon_content_digest(engine->env, aon_pack_file(pack), none, digest, error) : aon_fail_memory(error);
  options->format = AON_QUEUE_FORMAT;
  options->pack_digest = digest;
  options->store_count = 0;
  for (size_t i = 0; !result && i < count; i++) {
    size_t at = 0;
    while (at < options->store_count && strcmp(options->stores[at].name, collections[i]->store))
      at++;
    if (at < options->store_count)
      continue;
    if (at == AON_QUEUE_STORES_LIMIT)
      return aon_fail(error, AON_USAGE, "too_many_stores", "A pack whose uploads are queued has at most %d stores.",
                      AON_QUEUE_STORES_LIMIT);
    result = mean_store(engine, collections[i]->store, arena, &options->stores[at], error);
    options->store_count += !result;
  }
  return result;
}

/* ---- as JSON ---- */

static aon_result member(aon_buffer *out, const char *before, const char *value, aon_error *error) {
  aon_result result = aon_buffer_text(out, before, error);
  return result ? result : aon_text_to_json(value, strlen(value), out, error);
}

aon_result aon_queue_write(const aon_queue_options *options, aon_buffer *out, aon_error *error) {
  aon_result result =
      aon_buffer_format(out, error, "{\"format\":%d,\"lockWaitMs\":%lld", AON_QUEUE_FORMAT, (long long)options->lock_wait_ms);
  if (!result)
    result = member(out, ",\"pack\":", options->pack, error);
  if (!result)
    result = member(out, ",\"packDigest\":", options->pack_digest, error);
  if (!result)
    result = aon_buffer_text(out, ",\"stores\":[", error);
  for (size_t i = 0; !result && i < options->store_count; i++) {
    result = member(out, i ? ",{\"name\":" : "{\"name\":", options->stores[i].name, error);
    if (!result)
      result = member(out, ",\"kind\":", options->stores[i].kind, error);
    if (!result)
      result = member(out, ",\"place\":", options->stores[i].place, error);
    if (!result)
      result = aon_buffer_text(out, "}", error);
  }
  return result ? result : aon_buffer_text(out, "]}", error);
}

static bool take_text(json_t *object, const char *name, aon_arena *arena, const char **ret_text) {
  const char *text = json_string_value(json_object_get(object, name));
  *ret_text = text ? aon_arena_text(arena, text, strlen(text)) : NULL;
  return *ret_text != NULL;
}

static bool take_all(json_t *object, aon_arena *arena, aon_queue_options *options) {
  json_t *stores = json_object_get(object, "stores"), *store;
  size_t index;
  options->lock_wait_ms = json_integer_value(json_object_get(object, "lockWaitMs"));
  if (!take_text(object, "pack", arena, &options->pack) || !take_text(object, "packDigest", arena, &options->pack_digest) ||
      !json_is_array(stores) || json_array_size(stores) > AON_QUEUE_STORES_LIMIT)
    return false;
  json_array_foreach(stores, index, store) {
    aon_queue_store *to = &options->stores[options->store_count++];
    if (!take_text(store, "name", arena, &to->name) || !take_text(store, "kind", arena, &to->kind) ||
        !take_text(store, "place", arena, &to->place))
      return false;
  }
  return true;
}

aon_result aon_queue_read(const char *json, aon_arena *arena, aon_queue_options *ret_options, aon_error *error) {
  json_t *object = json ? json_loads(json, 0, NULL) : NULL;
  *ret_options = (aon_queue_options){.format = json_integer_value(json_object_get(object, "format"))};
  bool good = ret_options->format > AON_QUEUE_FORMAT || (ret_options->format > 0 && take_all(object, arena, ret_options));
  json_decref(object);
  return good ? AON_OK
              : aon_fail(error, AON_CORRUPT, "corrupt",
                         "What was asked for with this upload can't be read in the journal. Upload it again.");
}

/* ---- files ---- */

typedef struct keeping {
  aon_journal *journal;
  aon_run *run;
  const char *file;
  aon_process self;
  uint32_t chunk;
  uint64_t bytes;
} keeping;

static aon_result keep_piece(void *context, const void *bytes, size_t length, aon_error *error) {
  keeping *k = context;
  if (k->bytes + length > AON_FILE_LIMIT_BYTES)
    return aon_fail(error, AON_USAGE, "file_too_large", "This file is too large to be kept in the journal.");
  aon_result result = k->run ? aon_run_tick(k->run, error) : AON_OK;
  if (!result)
    result = aon_journal_file_put(k->journal, k->file, &k->self, k->chunk++, bytes, length, error);
  k->bytes += result ? 0 : length;
  return result;
}

static void give_up_file(aon_engine *engine, aon_journal *journal, const char *file) {
  aon_error ignored = AON_ERROR_INIT;
  uint64_t freed;
  if (aon_journal_file_drop(journal, file, &ignored) || aon_journal_sweep_files(journal, &freed, &ignored))
    aon_log(engine->env, AON_LOG_DEBUG, "%s", ignored.sentence);
}

aon_result aon_file_keep(aon_engine *engine, aon_journal *journal, const char *path, const char *const *texts, aon_run *run,
                         char ret_file[37], uint64_t *ret_bytes, char ret_digest[65], aon_error *error) {
  aon_env *env = engine->env;
  aon_uuid_make(env, ret_file);
  keeping k = {.journal = journal, .run = run, .file = ret_file, .self = env->ops->process_self(env->context)};
  aon_result result = aon_content_read(env, path, texts, keep_piece, &k, ret_digest, error);
  *ret_bytes = k.bytes;
  if (!result && !k.chunk) /* an empty file is a file */
    result = aon_journal_file_put(journal, ret_file, &k.self, 0, "", 0, error);
  if (result && k.chunk)
    give_up_file(engine, journal, ret_file);
  return result;
}

static aon_result fetch_chunks(aon_journal *journal, const aon_journal_file *file, aon_env *env, aon_file *to, aon_run *run,
                               aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer chunk = {.limit = AON_FILE_CHUNK_BYTES + 64};
  uint64_t at = 0;
  for (uint32_t number = 0; at < file->bytes; number++) {
    aon_result result = run ? aon_run_tick(run, error) : AON_OK;
    if (!result)
      result = aon_journal_file_get(journal, file->id, number, &chunk, error);
    if (result == AON_END || (!result && !chunk.length))
      return aon_fail(error, AON_CORRUPT, "corrupt", "A part of the uploaded file is missing in the journal. Upload it again.");
    if (!result)
      result = env->ops->file_write(to, at, chunk.data, chunk.length, error);
    if (result)
      return result;
    at += chunk.length;
  }
  return AON_OK;
}

aon_result aon_file_fetch(aon_engine *engine, aon_journal *journal, const aon_journal_file *file, const char *path, aon_run *run,
                          aon_error *error) {
  aon_env *env = engine->env;
  aon_file *to;
  aon_result result = env->ops->file_open(env->context, path, AON_FILE_CREATE, &to, error);
  if (result)
    return result;
  result = fetch_chunks(journal, file, env, to, run, error);
  env->ops->file_close(to);
  return result;
}

static bool ends_in(const char *name, const char *ending) {
  size_t length = strlen(name), tail = strlen(ending);
  return length >= tail && !strcasecmp(name + length - tail, ending);
}

/* The report keeps the macros of its workbook, and Excel opens those only under their own ending. */
static aon_result fitting_name(aon_journal *journal, const char *id, const char *path, aon_arena *arena, aon_error *error) {
  aon_bulk bulk;
  aon_result result = aon_journal_get(journal, id, arena, &bulk, error);
  if (result || !bulk.source || !ends_in(bulk.source, ".xlsm") || ends_in(path, ".xlsm"))
    return result;
  return aon_fail(error, AON_USAGE, "bad_name", "The report of a workbook with macros keeps them; give a name that ends in .xlsm.");
}

aon_result aon_report_fetch(aon_engine *engine, const char *id, const char *path, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_env *env = engine->env;
  aon_journal *journal;
  aon_journal_file file;
  char *aside = aon_arena_format(&arena, "%s.new", path);
  aon_result result = aside ? aon_engine_journal(engine, false, &journal, error) : aon_fail_memory(error);
  if (!result)
    result = aon_journal_file_find(journal, id, AON_FILE_REPORT, &arena, &file, error);
  if (result == AON_END)
    return aon_fail(
        error, AON_USAGE, "no_report",
        "The journal keeps no report of bulk operation %s: it was not queued, had no errors or warnings, or its report is older than "
        "the retention.",
        id);
  if (!result)
    result = fitting_name(journal, id, path, &arena, error);
  if (!result)
    result = env->ops->file_remove(env->context, aside, error);
  if (!result)
    result = aon_file_fetch(engine, journal, &file, aside, NULL, error);
  if (!result)
    result = env->ops->file_rename(env->context, aside, path, error);
  aon_error ignored = AON_ERROR_INIT;
  if (result && aside && env->ops->file_remove(env->context, aside, &ignored))
    aon_log(env, AON_LOG_DEBUG, "%s", ignored.sentence);
  return result;
}

/* ---- queueing ---- */

static aon_result look_at_file(aon_engine *engine, aon_journal *journal, const char *file, aon_error *error) {
  aon_file_info info;
  aon_result result = aon_upload_look(engine->env, file, &info, error);
  if (result)
    return result;
  if (info.is_directory)
    return aon_fail(error, AON_USAGE, "is_folder", "A folder can't be queued. Make a zip of its .csv files and queue that.");
  if (info.size_bytes > AON_UPLOAD_LIMIT_BYTES)
    return aon_fail(error, AON_USAGE, "file_too_large", "“%s” has %llu MiB; at most %llu MiB can be queued. Import it without --queue.",
                    file, (unsigned long long)(info.size_bytes >> 20), (unsigned long long)(AON_UPLOAD_LIMIT_BYTES >> 20));
  return aon_journal_room(journal, 2 * info.size_bytes, error);
}

static aon_result submit(aon_run *run, const aon_pack *pack, const char *file, aon_queue_options *meant, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer options = {0};
  const char *texts[6];
  char id[37], digest[65];
  aon_submit_what what = {.kind = "import", .source = aon_base_name(file), .pack = aon_pack_name(pack), .state = AON_QUEUED, .file = id};
  aon_result result = aon_queue_write(meant, &options, error);
  what.options = options.data;
  aon_upload_digest_texts(what.pack, run->options, texts);
  if (!result)
    result = aon_file_keep(run->engine, run->journal, file, texts, run, id, &what.file_bytes, digest, error);
  if (result)
    return result;
  result = aon_run_submit(run, &what, digest, error);
  if (result) /* the first one has its own */
    give_up_file(run->engine, run->journal, id);
  return result;
}

aon_result aon_import_queue(aon_engine *engine, const aon_pack *pack, const char *pack_given, const char *file,
                            const aon_run_options *options, aon_outcome *outcome, aon_error *error) {
  if (!options->organization || !*options->organization)
    return aon_fail(error, AON_USAGE, "no_organization", "Say for which organization: --org NAME, or organization in the configuration.");
  aon_journal *journal;
  aon_queue_options meant = {.pack = pack_given, .lock_wait_ms = options->lock_wait_ms};
  aon_result result = aon_engine_journal(engine, true, &journal, error);
  if (!result)
    result = look_at_file(engine, journal, file, error);
  if (!result)
    result = aon_housekeep(engine, options, error);
  if (result)
    return result;
  aon_run run;
  aon_error failure = AON_ERROR_INIT;
  aon_run_begin(&run, engine, journal, options, outcome);
  result = aon_queue_mean(engine, pack, &run.arena, &meant, &failure);
  if (!result)
    result = submit(&run, pack, file, &meant, &failure);
  if (result == AON_END) {
    aon_run_end(&run);
    return AON_OK;
  }
  return aon_run_close(&run, result, &failure, error);
}
