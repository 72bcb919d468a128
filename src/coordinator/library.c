/* libaon's sessions: the engine behind a small, stable face.
 * Invariants: a result is given for every bulk operation that came to an end, also where that end is a rejection or a rollback;
 * wrong usage is a sentence and leaves the session as it was. */
#include "aon/aon.h"
#include "aon/memory.h" /* beside base's own declarations, so that the compiler sees that they agree */

#include <stdlib.h>
#include <string.h>

#include "coordinator/engine.h"
#include "coordinator/internal.h"
#include "coordinator/worker.h"
#include "model/document.h"
#include "model/text.h"

#define STORES_LIMIT 64
#define READ_WAIT_MS 30000 /* for a document that others keep writing */

struct aon_session {
  aon_env *env, *own_env; /* own_env: made here, NULL where the program gave one */
  volatile sig_atomic_t interrupted;
  aon_arena arena;
  aon_engine_store stores[STORES_LIMIT];
  aon_engine_config config;
  const char *data_folder, *organization, *user;
  const char **pack_folders;
  aon_engine *engine; /* opened by the first call, when all stores are known */
};

static const char *keep(aon_session *session, const char *text) {
  return text ? aon_arena_text(&session->arena, text, strlen(text)) : NULL;
}

static aon_result embedded(aon_session *session, aon_error *error) {
  static const char *const names[] = {"main", "realtime", "settings", "identity"};
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < sizeof names / sizeof *names; i++) {
    char *path = aon_arena_format(&session->arena, "%s/%s.db", session->data_folder, names[i]);
    aon_store_config config = {
        .name = names[i], .location = path, .create = true, .horizon_ms = 30000, .watch_ms = 3600000, .timeout_ms = 5000};
    result = path ? aon_session_store(session, &aon_sqlite_adapter, &config, error) : aon_fail_memory(error);
  }
  return result;
}

/* A text that a call can't do without. what is the name of the argument. */
static aon_result need(const char *text, const char *what, aon_error *error) {
  return text && *text ? AON_OK
                       : aon_fail(error, AON_USAGE, "required", "This call needs the argument “%s”, which is NULL or empty.", what);
}

static aon_result keep_options(aon_session *session, const aon_session_options *options, aon_error *error) {
  size_t folders = 0;
  while (options->pack_folders && options->pack_folders[folders])
    folders++;
  session->data_folder = keep(session, options->data_folder);
  session->organization = keep(session, options->organization);
  session->user = keep(session, options->user ? options->user : "library");
  session->pack_folders = aon_arena_alloc(&session->arena, (folders + 1) * sizeof *session->pack_folders);
  if (!session->data_folder || !session->user || !session->pack_folders || (options->organization && !session->organization))
    return aon_fail_memory(error);
  for (size_t i = 0; i < folders; i++)
    if (!(session->pack_folders[i] = keep(session, options->pack_folders[i])))
      return aon_fail_memory(error);
  aon_engine_config *config = &session->config;
  config->journal.location = aon_arena_format(&session->arena, "%s/journal.db", session->data_folder);
  config->journal.key_file = aon_arena_format(&session->arena, "%s/journal.key", session->data_folder);
  config->journal.reserve_bytes = (uint64_t)16 << 20;
  config->test_rollback_at = config->test_user_index = config->test_dept_index = config->test_site_index = config->test_schedule_index = -1;
  return config->journal.location && config->journal.key_file ? AON_OK : aon_fail_memory(error);
}

static aon_result take_env(aon_session *session, const aon_session_options *options, aon_error *error) {
  session->env = options->env;
  if (session->env)
    return AON_OK;
  aon_result result = aon_env_open(options->log_level, 0, 0, &session->own_env, error);
  session->env = session->own_env;
  return result;
}

aon_result aon_session_open(const aon_session_options *options, aon_session **ret_session, aon_error *error) {
  if (!options || !ret_session)
    return aon_fail(error, AON_USAGE, "required", "A session needs options, and a place for the session.");
  if (!options->data_folder || !*options->data_folder)
    return aon_fail(error, AON_USAGE, "no_data_folder", "A session needs a data folder.");
  aon_session *session = calloc(1, sizeof *session);
  if (!session)
    return aon_fail_memory(error);
  aon_result result = keep_options(session, options, error);
  if (!result)
    result = take_env(session, options, error);
  if (!result)
    result = session->env->ops->folder_make(session->env->context, session->data_folder, error);
  if (!result && options->embedded_stores)
    result = embedded(session, error);
  if (result) {
    aon_session_close(session);
    return result;
  }
  *ret_session = session;
  return AON_OK;
}

void aon_session_close(aon_session *session) {
  if (!session)
    return;
  aon_engine_close(session->engine);
  aon_env_close(session->own_env);
  aon_arena_release(&session->arena);
  free(session);
}

static aon_result fitting(const aon_session *session, const aon_store_adapter *adapter, const aon_store_config *config, aon_error *error) {
  if (!session || !adapter || !config)
    return aon_fail(error, AON_USAGE, "required", "A store needs a session, an adapter and a configuration.");
  if (!config->name || !*config->name)
    return aon_fail(error, AON_USAGE, "bad_name", "A store needs a name.");
  if (session->engine)
    return aon_fail(error, AON_USAGE, "too_late", "Stores are added to a session before its first operation.");
  if (adapter->interface_version != AON_STORE_INTERFACE)
    return aon_fail(error, AON_USAGE, "interface_version",
                    "The adapter “%s” is made for version %u of the interface; this library has version %d.", adapter->kind,
                    adapter->interface_version, AON_STORE_INTERFACE);
  return AON_OK;
}

aon_result aon_session_store(aon_session *session, const aon_store_adapter *adapter, const aon_store_config *config, aon_error *error) {
  aon_result result = fitting(session, adapter, config, error);
  if (result)
    return result;
  size_t at = 0;
  while (at < session->config.store_count && strcmp(session->stores[at].config.name, config->name))
    at++;
  if (at == STORES_LIMIT)
    return aon_fail(error, AON_USAGE, "too_many_stores", "A session has at most %d stores.", STORES_LIMIT);
  aon_engine_store store = {.adapter = adapter, .config = *config};
  store.config.name = keep(session, config->name);
  store.config.location = keep(session, config->location ? config->location : "");
  if (!store.config.name || !store.config.location)
    return aon_fail_memory(error);
  session->stores[at] = store;
  if (at == session->config.store_count)
    session->config.store_count++;
  return AON_OK;
}

/* ---- calls ---- */

typedef struct call {
  aon_run_options options;
  aon_outcome outcome;
  bool going_back; /* rolled back is what was asked for */
} call;

static aon_result open_engine(aon_session *session, aon_error *error) {
  if (session->engine)
    return AON_OK;
  session->config.stores = session->stores;
  return aon_engine_open(session->env, &session->config, &session->engine, error);
}

static aon_result begin(aon_session *session, const aon_session_run *run, call *c, aon_error *error) {
  static const aon_session_run usual = AON_SESSION_RUN_INIT;
  *c = (call){0};
  if (!session)
    return aon_fail(error, AON_USAGE, "required", "This call needs an open session.");
  if (!run)
    run = &usual;
  session->interrupted = 0;
  c->options = (aon_run_options){.id = run->id,
                                 .idempotency_key = run->idempotency_key,
                                 .organization = session->organization,
                                 .user = session->user,
                                 .dry_run = run->dry_run,
                                 .hold_on_failure = run->hold_on_failure,
                                 .lock_wait_ms = run->lock_wait_ms,
                                 .interrupted = &session->interrupted};
  aon_result result = open_engine(session, error);
  if (!result) {
    session->engine->config.test_mode = run->test_mode;
    session->engine->config.test_rollback_at = run->test_mode ? run->fail_at : -1;
  }
  return result;
}

static aon_result begin_result(aon_session *session, const aon_session_run *run, call *c, char **ret_result, aon_error *error) {
  aon_result result = begin(session, run, c, error);
  return !result && !ret_result ? aon_fail(error, AON_USAGE, "required", "This call needs a place for its result.") : result;
}

static aon_result begin_known(aon_session *session, const char *id, const aon_session_run *run, call *c, char **ret_result,
                              aon_error *error) {
  aon_result result = begin_result(session, run, c, ret_result, error);
  return result ? result : need(id, "id", error);
}

static aon_result begin_file(aon_session *session, const char *file, const char *pack_name, const aon_session_run *run, call *c,
                             char **ret_result, aon_error *error) {
  aon_result result = begin_result(session, run, c, ret_result, error);
  if (!result)
    result = need(file, "file", error);
  return result ? result : need(pack_name, "pack", error);
}

/* A program may pass no error record, but the exit status goes by it: so each call has its own, copied out in the end. */
static aon_result end(call *c, aon_result result, const aon_error *failure, char **ret_result, int *ret_exit_status, aon_error *error) {
  bool as_asked = !result && c->going_back && c->outcome.state == AON_ROLLED_BACK;
  int status = as_asked ? 0 : aon_outcome_exit_status(&c->outcome, result, failure);
  char *text = result ? NULL : strdup(c->outcome.json.data ? c->outcome.json.data : "");
  aon_error told = *failure;
  if (!result && !text) {
    result = aon_fail_memory(&told);
    status = 1;
  }
  if (ret_exit_status)
    *ret_exit_status = status;
  if (!result)
    *ret_result = text;
  else if (error) {
    *error = told;
    memcpy(error->bulk_id, c->outcome.bulk_id, sizeof c->outcome.bulk_id);
  }
  aon_outcome_release(&c->outcome);
  return result;
}

aon_result aon_session_import(aon_session *session, const char *file, const char *pack_name, const char *report, const aon_session_run *run,
                              char **ret_result, int *ret_exit_status, aon_error *error) {
  call c;
  aon_error failure = AON_ERROR_INIT;
  aon_pack *pack = NULL;
  aon_result result = begin_file(session, file, pack_name, run, &c, ret_result, &failure);
  if (!result && !session->organization)
    result = aon_fail(&failure, AON_USAGE, "no_organization", "An import needs an organization: set it in the options of the session.");
  if (!result)
    result = aon_pack_load(session->env, pack_name, session->pack_folders, NULL, &pack, &failure);
  if (!result)
    result = aon_import(session->engine, pack, file, report, &c.options, &c.outcome, &failure);
  aon_pack_close(pack);
  return end(&c, result, &failure, ret_result, ret_exit_status, error);
}

aon_result aon_session_queue(aon_session *session, const char *file, const char *pack_name, const aon_session_run *run, char **ret_result,
                             int *ret_exit_status, aon_error *error) {
  call c;
  aon_error failure = AON_ERROR_INIT;
  aon_pack *pack = NULL;
  aon_result result = begin_file(session, file, pack_name, run, &c, ret_result, &failure);
  if (!result)
    result = aon_pack_load(session->env, pack_name, session->pack_folders, NULL, &pack, &failure);
  if (!result)
    result = aon_import_queue(session->engine, pack, pack_name, file, &c.options, &c.outcome, &failure);
  aon_pack_close(pack);
  return end(&c, result, &failure, ret_result, ret_exit_status, error);
}

static void hear_work(void *context, const aon_work_event *event) {
  const aon_session_worker *work = context;
  if (work->ended && event->kind == AON_WORK_ENDED && event->outcome->json.data)
    work->ended(work->context, event->outcome->json.data);
}

aon_result aon_session_work(aon_session *session, const aon_session_worker *work, uint64_t *ret_taken, aon_error *error) {
  static const aon_session_worker usual;
  aon_session_worker what = work ? *work : usual;
  call c;
  aon_result result = begin(session, NULL, &c, error);
  if (result)
    return result;
  aon_work_options options = {.user = session->user,
                              .organization = what.organization,
                              .folder = session->data_folder,
                              .packs = session->pack_folders,
                              .until_empty = what.until_empty,
                              .stop = &session->interrupted,
                              .hear = hear_work,
                              .context = &what};
  return aon_work(session->engine, &options, ret_taken, error);
}

/* Lines are kept in a file of ours: their digest is part of the submission, and a plan may have to be made again. */
static aon_result write_lines(aon_session *session, const char *lines, size_t length, aon_buffer *ret_path, aon_error *error) {
  char id[AON_UUID_LENGTH + 1];
  aon_file *file;
  aon_uuid_make(session->env, id);
  aon_result result = aon_buffer_format(ret_path, error, "%s/lines-%s", session->data_folder, id);
  if (!result)
    result = session->env->ops->file_open(session->env->context, ret_path->data, AON_FILE_CREATE, &file, error);
  if (result)
    return result;
  result = session->env->ops->file_write(file, 0, lines, length, error);
  session->env->ops->file_close(file);
  return result;
}

aon_result aon_session_apply(aon_session *session, const char *lines, size_t length, const aon_session_run *run, char **ret_result,
                             int *ret_exit_status, aon_error *error) {
  call c;
  aon_error failure = AON_ERROR_INIT;
  AON_BUFFER_CLEANUP aon_buffer path = {0};
  aon_result result = begin_result(session, run, &c, ret_result, &failure);
  if (!result && !lines && length)
    result = need(lines, "lines", &failure);
  if (!c.options.organization)
    c.options.organization = "default";
  if (!result)
    result = write_lines(session, lines, length, &path, &failure);
  if (!result)
    result = aon_apply(session->engine, NULL, path.data, &c.options, &c.outcome, &failure);
  aon_error ignored = AON_ERROR_INIT;
  if (path.length && session->env->ops->file_remove(session->env->context, path.data, &ignored))
    aon_log(session->env, AON_LOG_WARNING, "%s", ignored.sentence);
  return end(&c, result, &failure, ret_result, ret_exit_status, error);
}

aon_result aon_session_undo(aon_session *session, const char *id, const aon_session_run *run, char **ret_result, int *ret_exit_status,
                            aon_error *error) {
  call c;
  aon_error failure = AON_ERROR_INIT;
  const aon_undo_options all = {.first = -1};
  aon_result result = begin_known(session, id, run, &c, ret_result, &failure);
  if (!result)
    result = aon_undo(session->engine, id, &all, &c.options, &c.outcome, &failure);
  return end(&c, result, &failure, ret_result, ret_exit_status, error);
}

aon_result aon_session_rollback(aon_session *session, const char *id, const aon_session_run *run, char **ret_result, int *ret_exit_status,
                                aon_error *error) {
  call c;
  aon_error failure = AON_ERROR_INIT;
  aon_result result = begin_known(session, id, run, &c, ret_result, &failure);
  c.going_back = true;
  if (!result)
    result = aon_rollback(session->engine, id, &c.options, &c.outcome, &failure);
  return end(&c, result, &failure, ret_result, ret_exit_status, error);
}

aon_result aon_session_resume(aon_session *session, const char *id, const aon_session_run *run, char **ret_result, int *ret_exit_status,
                              aon_error *error) {
  call c;
  aon_error failure = AON_ERROR_INIT;
  aon_result result = begin_known(session, id, run, &c, ret_result, &failure);
  if (!result)
    result = aon_resume(session->engine, id, &c.options, &c.outcome, &failure);
  return end(&c, result, &failure, ret_result, ret_exit_status, error);
}

aon_result aon_session_resolve(aon_session *session, const char *id, const char *document, aon_session_choice choice, const char *merged,
                               const aon_session_run *run, char **ret_result, int *ret_exit_status, aon_error *error) {
  static const aon_choice choices[] = {
      [AON_CHOICE_KEEP_THEIRS] = AON_KEEP_THEIRS, [AON_CHOICE_FORCE] = AON_FORCE, [AON_CHOICE_MERGED] = AON_MERGE};
  call c;
  aon_error failure = AON_ERROR_INIT;
  aon_result result = begin_known(session, id, run, &c, ret_result, &failure);
  c.going_back = true;
  if (!result)
    result = need(document, "document", &failure);
  if (!result && (size_t)choice >= sizeof choices / sizeof *choices)
    result = aon_fail(&failure, AON_USAGE, "required", "There is no choice %d for a document.", (int)choice);
  if (!result)
    result = aon_resolve(session->engine, id, document, choices[choice], merged, &c.options, &c.outcome, &failure);
  return end(&c, result, &failure, ret_result, ret_exit_status, error);
}

aon_result aon_session_show(aon_session *session, const char *id, char **ret_result, aon_error *error) {
  call c;
  aon_error failure = AON_ERROR_INIT;
  aon_result result = begin_known(session, id, NULL, &c, ret_result, &failure);
  if (!result)
    result = aon_show(session->engine, id, &c.outcome.json, &failure);
  return end(&c, result, &failure, ret_result, NULL, error);
}

static aon_result read_document(aon_session *session, const aon_collection *collection, const char *id, aon_read_mode mode,
                                char **ret_document, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  AON_BUFFER_CLEANUP aon_buffer json = {0};
  aon_image image = {0};
  bson_t view;
  aon_result result =
      aon_document_get(session->engine, collection, (aon_text){id, strlen(id)}, mode, READ_WAIT_MS, &arena, &image, NULL, error);
  if (!result && aon_image_absent(&image)) {
    *ret_document = NULL;
    return AON_OK;
  }
  if (!result && !aon_image_view(&image, &view))
    result = aon_fail(error, AON_CORRUPT, "corrupt", "Document “%s” of %s/%s can't be read.", id, collection->store, collection->name);
  if (!result)
    result = aon_document_to_json(&view, &json, error);
  char *text = result ? NULL : strdup(json.data);
  if (!result && !text)
    result = aon_fail_memory(error);
  if (!result)
    *ret_document = text;
  return result;
}

aon_result aon_session_get(aon_session *session, const char *store, const char *collection, const char *id, const char *pack_name,
                           aon_session_isolation isolation, char **ret_document, aon_error *error) {
  static const aon_read_mode modes[] = {[AON_ISOLATION_COMMITTED] = AON_READ_COMMITTED, [AON_ISOLATION_LATEST] = AON_READ_LATEST};
  call c;
  aon_pack *pack = NULL;
  aon_result result = begin_result(session, NULL, &c, ret_document, error);
  if (!result)
    result = need(store, "store", error);
  if (!result)
    result = need(collection, "collection", error);
  if (!result)
    result = need(id, "id", error);
  if (!result && (size_t)isolation >= sizeof modes / sizeof *modes)
    result = aon_fail(error, AON_USAGE, "required", "There is no isolation %d for a read.", (int)isolation);
  if (!result && pack_name)
    result = aon_pack_load(session->env, pack_name, session->pack_folders, NULL, &pack, error);
  if (!result) {
    const aon_collection plain = {.store = store, .name = collection};
    const aon_collection *known = pack ? aon_pack_collection(pack, collection) : NULL;
    result = read_document(session, known && !strcmp(known->store, store) ? known : &plain, id, modes[isolation], ret_document, error);
  }
  aon_pack_close(pack);
  return result;
}

aon_result aon_session_recover(aon_session *session, const char *id, uint64_t *ret_recovered, uint64_t *ret_open, uint64_t *ret_person,
                               aon_error *error) {
  call c;
  uint64_t recovered = 0, open = 0, person = 0;
  aon_result result = begin(session, NULL, &c, error);
  if (!result)
    result = aon_recover(session->engine, id, &c.options, NULL, NULL, &recovered, &open, &person, error);
  aon_outcome_release(&c.outcome);
  if (!result && ret_recovered)
    *ret_recovered = recovered;
  if (!result && ret_open)
    *ret_open = open;
  if (!result && ret_person)
    *ret_person = person;
  return result;
}

aon_result aon_session_examine(aon_session *session, const char *store, char **ret_report, bool *ret_healthy, aon_error *error) {
  call c;
  aon_error failure = AON_ERROR_INIT;
  aon_store *opened;
  bool healthy = false;
  aon_result result = begin_result(session, NULL, &c, ret_report, &failure);
  if (!result)
    result = need(store, "store", &failure);
  if (!result)
    result = aon_engine_store_open(session->engine, store, &opened, &failure);
  if (!result)
    result = aon_store_examine(opened, &c.outcome.json, &healthy, &failure);
  if (!result && ret_healthy)
    *ret_healthy = healthy;
  return end(&c, result, &failure, ret_report, NULL, error);
}

void aon_session_cancel(aon_session *session) { session->interrupted = 1; }

void aon_result_text_free(char *text) { free(text); }
