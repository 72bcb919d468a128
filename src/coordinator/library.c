/* libaon's sessions: the engine behind a small, stable face.
 * Invariant: a result is given for every bulk operation that came to an end, also where that end is a rejection or a rollback. */
#include "aon/aon.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/engine.h"
#include "coordinator/internal.h"
#include "model/text.h"

#define STORES_LIMIT 64

struct aon_session {
  aon_env *env;
  aon_arena arena;
  aon_engine_store stores[STORES_LIMIT];
  aon_engine_config config;
  const char *data_folder, *organization, *user;
  const char **pack_folders;
  aon_engine *engine; /* opened by the first call, when all stores are known */
};

static const char *keep(aon_session *session, const char *text) { return text ? aon_arena_text(&session->arena, text, strlen(text)) : NULL; }

static aon_result embedded(aon_session *session, aon_error *error) {
  static const char *const names[] = {"main", "realtime", "settings", "identity"};
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < sizeof names / sizeof *names; i++) {
    char *path = aon_arena_format(&session->arena, "%s/%s.db", session->data_folder, names[i]);
    aon_store_config config = {.name = names[i], .location = path, .create = true, .horizon_ms = 30000, .watch_ms = 3600000, .timeout_ms = 5000};
    result = path ? aon_session_store(session, &aon_sqlite_adapter, &config, error) : aon_fail_memory(error);
  }
  return result;
}

static aon_result keep_options(aon_session *session, const aon_session_options *options, aon_error *error) {
  size_t folders = 0;
  while (options->pack_folders && options->pack_folders[folders])
    folders++;
  session->data_folder = keep(session, options->data_folder);
  session->organization = keep(session, options->organization);
  session->user = keep(session, options->user ? options->user : "library");
  session->pack_folders = aon_arena_alloc(&session->arena, (folders + 1) * sizeof *session->pack_folders);
  if (!session->data_folder || !session->user || !session->pack_folders)
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

aon_result aon_session_open(const aon_session_options *options, aon_session **ret_session, aon_error *error) {
  if (!options->data_folder || !*options->data_folder)
    return aon_fail(error, AON_USAGE, "no_data_folder", "A session needs a data folder.");
  aon_session *session = calloc(1, sizeof *session);
  if (!session)
    return aon_fail_memory(error);
  aon_result result = keep_options(session, options, error);
  if (!result)
    result = aon_env_open(options->log_level, 0, 0, &session->env, error);
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
  aon_env_close(session->env);
  aon_arena_release(&session->arena);
  free(session);
}

aon_result aon_session_store(aon_session *session, const aon_store_adapter *adapter, const aon_store_config *config, aon_error *error) {
  if (session->engine)
    return aon_fail(error, AON_USAGE, "too_late", "Stores are added to a session before its first operation.");
  if (adapter->interface_version != AON_STORE_INTERFACE)
    return aon_fail(error, AON_USAGE, "interface_version", "The adapter “%s” is made for version %u of the interface; this library has version %d.",
                    adapter->kind, adapter->interface_version, AON_STORE_INTERFACE);
  size_t at = 0;
  while (at < session->config.store_count && strcmp(session->stores[at].config.name, config->name))
    at++;
  if (at == STORES_LIMIT)
    return aon_fail(error, AON_USAGE, "too_many_stores", "A session has at most %d stores.", STORES_LIMIT);
  aon_engine_store *store = &session->stores[at];
  *store = (aon_engine_store){.adapter = adapter, .config = *config};
  store->config.name = keep(session, config->name);
  if (!store->config.name)
    return aon_fail_memory(error);
  if (at == session->config.store_count)
    session->config.store_count++;
  return AON_OK;
}

/* ---- calls ---- */

typedef struct call {
  aon_run_options options;
  aon_outcome outcome;
} call;

static aon_result begin(aon_session *session, const aon_session_run *run, call *c, aon_error *error) {
  *c = (call){0};
  c->options = (aon_run_options){.organization = session->organization, .user = session->user, .lock_wait_ms = 30000};
  if (run) {
    c->options.id = run->id;
    c->options.idempotency_key = run->idempotency_key;
    c->options.dry_run = run->dry_run;
    c->options.hold_on_failure = run->hold_on_failure;
    c->options.lock_wait_ms = run->lock_wait_ms;
  }
  session->config.stores = session->stores;
  aon_result result = AON_OK;
  if (!session->engine)
    result = aon_engine_open(session->env, &session->config, &session->engine, error);
  if (!result) {
    session->engine->config.test_rollback_at = run ? run->fail_at : -1;
    session->engine->config.test_mode = run && run->fail_at >= 0;
  }
  return result;
}

static aon_result end(call *c, aon_result result, char **ret_result, int *ret_exit_status, aon_error *error) {
  if (ret_exit_status)
    *ret_exit_status = aon_outcome_exit_status(&c->outcome, result, error);
  if (!result) {
    *ret_result = strdup(c->outcome.json.data ? c->outcome.json.data : "{}");
    if (!*ret_result)
      result = aon_fail_memory(error);
  } else if (error) {
    memcpy(error->bulk_id, c->outcome.bulk_id, sizeof c->outcome.bulk_id);
  }
  aon_outcome_release(&c->outcome);
  return result;
}

aon_result aon_session_import(aon_session *session, const char *file, const char *pack_name, const char *report, const aon_session_run *run,
                              char **ret_result, int *ret_exit_status, aon_error *error) {
  call c;
  aon_pack *pack = NULL;
  aon_result result = begin(session, run, &c, error);
  if (!result)
    result = aon_pack_load(session->env, pack_name, session->pack_folders, NULL, &pack, error);
  if (!result)
    result = aon_import(session->engine, pack, file, report, &c.options, &c.outcome, error);
  aon_pack_close(pack);
  return end(&c, result, ret_result, ret_exit_status, error);
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
  AON_BUFFER_CLEANUP aon_buffer path = {0};
  aon_result result = begin(session, run, &c, error);
  if (!c.options.organization)
    c.options.organization = "default";
  if (!result)
    result = write_lines(session, lines, length, &path, error);
  if (!result)
    result = aon_apply(session->engine, NULL, path.data, &c.options, &c.outcome, error);
  aon_error ignored = AON_ERROR_INIT;
  if (path.length && session->env->ops->file_remove(session->env->context, path.data, &ignored))
    aon_log(session->env, AON_LOG_WARNING, "%s", ignored.sentence);
  return end(&c, result, ret_result, ret_exit_status, error);
}

aon_result aon_session_undo(aon_session *session, const char *id, const aon_session_run *run, char **ret_result, int *ret_exit_status,
                            aon_error *error) {
  call c;
  const aon_undo_options all = {.first = -1};
  aon_result result = begin(session, run, &c, error);
  if (!result)
    result = aon_undo(session->engine, id, &all, &c.options, &c.outcome, error);
  return end(&c, result, ret_result, ret_exit_status, error);
}

aon_result aon_session_rollback(aon_session *session, const char *id, const aon_session_run *run, char **ret_result, int *ret_exit_status,
                                aon_error *error) {
  call c;
  aon_result result = begin(session, run, &c, error);
  if (!result)
    result = aon_rollback(session->engine, id, &c.options, &c.outcome, error);
  return end(&c, result, ret_result, ret_exit_status, error);
}

aon_result aon_session_resume(aon_session *session, const char *id, const aon_session_run *run, char **ret_result, int *ret_exit_status,
                              aon_error *error) {
  call c;
  aon_result result = begin(session, run, &c, error);
  if (!result)
    result = aon_resume(session->engine, id, &c.options, &c.outcome, error);
  return end(&c, result, ret_result, ret_exit_status, error);
}

aon_result aon_session_show(aon_session *session, const char *id, char **ret_result, aon_error *error) {
  call c;
  aon_result result = begin(session, NULL, &c, error);
  if (!result)
    result = aon_show(session->engine, id, &c.outcome.json, error);
  return end(&c, result, ret_result, NULL, error);
}

aon_result aon_session_recover(aon_session *session, const char *id, uint64_t *ret_recovered, uint64_t *ret_open, uint64_t *ret_person,
                               aon_error *error) {
  call c;
  aon_result result = begin(session, NULL, &c, error);
  if (!result)
    result = aon_recover(session->engine, id, &c.options, NULL, NULL, ret_recovered, ret_open, ret_person, error);
  aon_outcome_release(&c.outcome);
  return result;
}

void aon_result_text_free(char *text) { free(text); }
