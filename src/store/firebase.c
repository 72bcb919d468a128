/* Opening, requests and refusals of the Firebase stores. Their shared parts are named in firebase_internal.h. */
#include "store/firebase_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLOCK_TOLERANCE_MS 2000 /* the service tells whole seconds */

static aon_result connect_to(aon_env *env, const aon_store_config *config, const aon_google_settings *settings, fb_store *fb,
                             aon_error *error) {
  aon_http_settings http = {config->name, config->pool_max, config->pool_idle_ms, config->pool_connect_ms};
  *fb = (fb_store){.env = env, .interrupt.wake = -1, .timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : FB_TIMEOUT_MS};
  fb->name = strdup(config->name);
  aon_result result = fb->name ? aon_interrupt_open(&fb->interrupt, error) : aon_fail_memory(error);
  if (!result)
    result = aon_http_new(env, &http, &fb->interrupt, &fb->http, error);
  if (!result)
    result = aon_google_new(env, settings, fb->http, &fb->google, error);
  if (result)
    fb_close(fb);
  return result;
}

aon_result fb_open(aon_env *env, const aon_store_config *config, const fb_kind *kind, void **ret_state, aon_store_caps *caps,
                   aon_error *error) {
  aon_google_settings settings = *kind->google;
  settings.label = config->name;
  fb_store *fb = calloc(1, kind->size);
  if (!fb)
    return aon_fail_memory(error);
  aon_result result = connect_to(env, config, &settings, fb, error);
  if (!result)
    result = kind->place(fb, config, caps, error);
  if (!result)
    result = kind->probe(fb, error);
  if (result)
    kind->close(fb);
  else
    *ret_state = fb;
  return result;
}

void fb_cancel(void *state) { aon_interrupt_raise(&((fb_store *)state)->interrupt); }
aon_pool_counts fb_pool(void *state) { return aon_http_look(((fb_store *)state)->http); }

void fb_close(fb_store *fb) {
  if (!fb->name)
    return;
  aon_google_free(fb->google);
  aon_http_free(fb->http);
  aon_interrupt_close(&fb->interrupt);
  free(fb->name);
  *fb = (fb_store){.interrupt.wake = -1};
}

void fb_enter(fb_store *fb) {
  aon_interrupt_clear(&fb->interrupt);
  fb->deadline_ms = aon_monotonic_ms(fb->env) + fb->timeout_ms;
}

aon_result fb_run(fb_store *fb, aon_http_request *requests, size_t count, aon_http_go_on go_on, void *context, aon_error *error) {
  aon_result result = aon_google_run(fb->google, requests, count, fb->deadline_ms, go_on, context, error);
  fb->server_ms = count && !result ? requests[count - 1].server_ms : 0;
  return result;
}

aon_result fb_tell_clock(const fb_store *fb, aon_buffer *report, bool *healthy, aon_error *error) {
  if (!fb->server_ms)
    return aon_buffer_text(report, "clock: the service did not tell its own\n", error);
  int64_t differs = fb->server_ms - aon_now_ms(fb->env);
  bool right = llabs(differs) < CLOCK_TOLERANCE_MS;
  *healthy = *healthy && right;
  return aon_buffer_format(report, error, "clock: %lld ms %s ours%s\n", llabs(differs), differs > 0 ? "before" : "behind",
                           right ? "" : ", which is MUCH; set one of them right");
}

bool fb_went_well(void *context, const aon_http_request *request) {
  (void)context;
  return !request->result && request->status / 100 == 2;
}

aon_result fb_parse(const fb_store *fb, const aon_http_request *request, size_t flags, json_t **ret_root, aon_error *error) {
  json_error_t why;
  *ret_root = json_loadb(request->reply.data ? request->reply.data : "", request->reply.length, flags | JSON_ALLOW_NUL, &why);
  if (*ret_root)
    return AON_OK;
  return json_error_code(&why) == json_error_out_of_memory
             ? aon_fail_memory(error)
             : aon_fail(error, AON_CORRUPT, "corrupt", "%s gave a reply that is no JSON.", fb->name);
}

aon_result fb_get(fb_store *fb, const char *url, size_t flags, json_t **ret_root, aon_error *error) {
  aon_http_request request = {.method = "GET", .url = url};
  *ret_root = NULL;
  aon_result result = fb_run(fb, &request, 1, NULL, NULL, error);
  if (!result)
    result = fb_went_well(NULL, &request) ? fb_parse(fb, &request, flags, ret_root, error) : fb_refused(fb, &request, "searching", error);
  aon_http_release(&request, 1);
  return result;
}

aon_result fb_refused(const fb_store *fb, const aon_http_request *request, const char *doing, aon_error *error) {
  if (request->result)
    return aon_http_fail(fb->http, request, doing, error);
  int status = request->status;
  if (status == 401)
    return aon_fail_native(error, AON_ENVIRONMENT, "no_permission", status, "%s does not take these credentials (HTTP 401, while %s).",
                           fb->name, doing);
  if (status == 403) /* rules and roles are asked before anything is done */
    return aon_fail_native(error, request->changes ? AON_PERMANENT : AON_ENVIRONMENT, "no_permission", status,
                           "%s forbids it (HTTP 403, while %s). Give the service account the role that docs/firebase.md names.", fb->name,
                           doing);
  if (status == 404)
    return aon_fail_native(error, AON_ENVIRONMENT, "no_such_file", status,
                           "%s names a database or project that isn't there (HTTP 404, while %s).", fb->name, doing);
  if (status == 423)
    return aon_fail_native(error, AON_ENVIRONMENT, "read_only", status, "%s is locked or disabled (HTTP 423, while %s).", fb->name, doing);
  if (status / 100 == 4)
    return aon_fail_native(error, AON_PERMANENT, "refused", status, "%s refused it (HTTP %d, while %s).", fb->name, status, doing);
  return aon_fail_native(error, request->changes ? AON_UNKNOWN : AON_TRANSIENT, "unavailable", status,
                         "%s gave an answer that makes no sense (HTTP %d, while %s).", fb->name, status, doing);
}

static int weight(aon_result result) { return result == AON_OK ? 0 : result == AON_TRANSIENT ? 1 : result == AON_UNKNOWN ? 3 : 2; }

void fb_note(fb_worst *worst, size_t index, aon_result result, const aon_error *error) {
  if (index < worst->failed)
    worst->failed = index;
  if (weight(result) <= weight(worst->result))
    return;
  worst->result = result;
  worst->error = *error;
}

aon_result fb_name_document(const fb_store *fb, const aon_collection *collection, aon_text id, fb_name *ret_name, aon_error *error) {
  snprintf(ret_name->text, sizeof ret_name->text, "%.60s/%.200s/%.*s", fb->name, collection->name,
           (int)(id.length > FB_ID_SHOWN ? FB_ID_SHOWN : id.length), id.length ? id.data : "");
  return id.length ? AON_OK : aon_fail(error, AON_REJECTED, "bad_format", "A document of %s/%s needs an id.", fb->name, collection->name);
}

aon_result fb_look_up(void *state, const aon_collection *collection, const aon_match *match, aon_index *ret_index, aon_error *error) {
  (void)state;
  (void)collection;
  (void)error;
  if (!match)
    return AON_OK;
  ret_index->state = AON_INDEX_POINTLESS;
  snprintf(ret_index->text, sizeof ret_index->text, "it is listed in the order of its keys, which takes no index and no rule .indexOn");
  return AON_OK;
}
