/* Firebase Auth as a store of class 5: accounts are read, compared, then written; the service has no conditions.
 *
 *     there --delete--> set aside (disabled, marked; reads as absent) --after the decision--> gone
 *       ^                   |
 *       +----taken back-----+
 *
 * Invariants:
 *  - an account that was there before is deleted only after the decision (aon_write.finishes): until then it is set aside, and can be given
 *    back whole, password and all; what we created ourselves is deleted again at once;
 *  - accounts are created in batches that never overwrite (allowOverwrite false); a password follows one by one, and without stamps such an
 *    account is created by itself;
 *  - where the store is set to stamp, an account that we made or changed bears _bulkOperationId among its custom attributes, from its first
 *    instant on;
 *  - a password is sent once, over TLS; it is never read and never compared.
 * Why not stronger: no write takes a condition, and there are no transactions. Design: docs/firebase.md. */
#include <stdlib.h>
#include <string.h>

#include "model/document.h"
#include "store/auth_internal.h"
#include "store/match.h"
#include "store/singly.h"

#define SERVICE "https://identitytoolkit.googleapis.com/v1/projects/"

typedef struct auth_store {
  fb_store fb; /* the first member, as in rtdb_store */
  char *base;  /* "https://identitytoolkit.googleapis.com/v1/projects/P/accounts" */
  bool stamps;
} auth_store;

static const aon_google_settings google_settings = {
    .emulator = "FIREBASE_AUTH_EMULATOR_HOST",
    .scopes = "https://www.googleapis.com/auth/identitytoolkit https://www.googleapis.com/auth/cloud-platform"};

static const char *const volatiles[] = {"password", NULL};

/* ---- requests ---- */

/* The word that stands first in what the service says: it names no values. */
static void word_of(const char *message, char word[48]) {
  size_t length = message ? strspn(message, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") : 0;
  snprintf(word, 48, "%.*s", (int)(length < 47 ? length : 47), message ? message : "");
}

static aon_result say(const auth_store *store, const aon_write *write, aon_result kind, const char *code, const char *what,
                      aon_error *error) {
  size_t shown = write->id.length > FB_ID_SHOWN ? FB_ID_SHOWN : write->id.length;
  return aon_fail(error, kind, code, "%s/%s/%.*s %s. Nothing was written.", store->fb.name, write->collection->name, (int)shown,
                  write->id.data, what);
}

static aon_result not_as_expected(const auth_store *store, const aon_write *write, aon_error *error) {
  return write->expected.bson ? say(store, write, AON_PERMANENT, "changed_meanwhile", "was changed by somebody else meanwhile", error)
                              : say(store, write, AON_PERMANENT, "duplicate", "is there already", error);
}

/* message: of the error, in one of the service's two forms (a word, or in a batch a sentence). */
static aon_result refused_for(const auth_store *store, const aon_write *write, const char *message, aon_error *error) {
  char word[48], what[120];
  word_of(message, word);
  bool taken = message && (!strncmp(message, "EMAIL_EXISTS", 12) || !strncmp(message, "PHONE_NUMBER_EXISTS", 19) ||
                           strstr(message, "email exists") || strstr(message, "phone number exists"));
  bool there = message && (!strncmp(message, "DUPLICATE_LOCAL_ID", 18) || strstr(message, "existing account"));
  if (there)
    return not_as_expected(store, write, error);
  if (taken)
    return say(store, write, AON_PERMANENT, "duplicate", "has an email or phone that another account has", error);
  if (!strcmp(word, "USER_NOT_FOUND"))
    return say(store, write, AON_PERMANENT, "changed_meanwhile", "was deleted by somebody else meanwhile", error);
  snprintf(what, sizeof what, "was refused by Firebase Auth (%s)", word[0] ? word : "no reason given");
  return say(store, write, AON_PERMANENT, "refused", what, error);
}

/* ---- opening ---- */

static void close_store(void *state) {
  auth_store *store = state;
  fb_close(&store->fb);
  free(store->base);
  free(store);
}

static aon_result place(void *state, const aon_store_config *config, aon_store_caps *caps, aon_error *error) {
  auth_store *store = state;
  const char *location = config->location;
  const char *project = location && !strncmp(location, "//", 2) ? location + 2 : "", *emulator = aon_google_emulator(store->fb.google);
  size_t length = strcspn(project, "/");
  store->stamps = config->stamp;
  if (!length || strpbrk(project, "?#@ ") || (project[length] && project[length + 1]))
    return aon_fail(error, AON_USAGE, "bad_location", "%s names no project: write firebase-auth://PROJECT.", store->fb.name);
  if (asprintf(&store->base, "%s%s%s%.*s/accounts", emulator ? "http://" : "", emulator ? emulator : "",
               emulator ? "/identitytoolkit.googleapis.com/v1/projects/" : SERVICE, (int)length, project) < 0) {
    store->base = NULL;
    return aon_fail_memory(error);
  }
  snprintf(caps->database, sizeof caps->database, "firebase-auth:%.100s/%.*s", emulator ? emulator : "", (int)(length > 100 ? 100 : length),
           project);
  return AON_OK;
}

/* ---- reading ---- */

typedef struct account { /* as it is now */
  aon_image image;
  bool aside, has[AUTH_TEXTS];
} account;

static aon_result ask_lookup(const aon_text *ids, size_t count, char **ret_body, aon_error *error) {
  json_t *list = json_array();
  bool fine = true;
  for (size_t i = 0; fine && i < count; i++) /* one that is missing would read as absent */
    fine = !json_array_append_new(list, json_stringn(ids[i].data, ids[i].length));
  json_t *body = fine ? json_pack("{s:O}", "localId", list) : NULL;
  *ret_body = body ? json_dumps(body, JSON_COMPACT) : NULL;
  json_decref(body);
  json_decref(list);
  return *ret_body ? AON_OK : aon_fail_memory(error);
}

static aon_result take_account(const auth_store *store, json_t *user, aon_arena *arena, account *ret_account, aon_error *error) {
  for (int i = 0; i < AUTH_TEXTS; i++)
    ret_account->has[i] = auth_has(user, i);
  return auth_image(&store->fb, user, arena, &ret_account->image, &ret_account->aside, error);
}

static aon_result look_up_some(auth_store *store, const aon_text *ids, size_t count, aon_arena *arena, account *accounts,
                               aon_error *error) {
  char *body = NULL;
  json_t *root = NULL, *user;
  size_t index;
  aon_http_request request = {.method = "POST", .headers = {"Content-Type: application/json"}};
  AON_BUFFER_CLEANUP aon_buffer url = {0};
  aon_result result = aon_buffer_format(&url, error, "%s:lookup", store->base);
  if (!result)
    result = ask_lookup(ids, count, &body, error);
  request.url = url.data;
  request.body = (aon_text){body, body ? strlen(body) : 0};
  if (!result)
    result = fb_run(&store->fb, &request, 1, NULL, NULL, error);
  if (!result)
    result =
        fb_went_well(NULL, &request) ? fb_parse(&store->fb, &request, 0, &root, error) : fb_refused(&store->fb, &request, "reading", error);
  memset(accounts, 0, count * sizeof *accounts);
  json_array_foreach(json_object_get(root, "users"), index, user) {
    const char *uid = json_string_value(json_object_get(user, "localId"));
    for (size_t i = 0; uid && !result && i < count; i++)
      if (strlen(uid) == ids[i].length && !memcmp(uid, ids[i].data, ids[i].length))
        result = take_account(store, user, arena, &accounts[i], error);
  }
  json_decref(root);
  aon_http_release(&request, 1);
  free(body);
  return result;
}

static aon_result read_documents(void *state, const aon_collection *collection, const aon_text *ids, size_t count, aon_arena *arena,
                                 aon_image *images, aon_error *error) {
  auth_store *store = state;
  account found[AUTH_READ_AT_ONCE];
  aon_result result = AON_OK;
  (void)collection;
  for (size_t from = 0; !result && from < count; from += AUTH_READ_AT_ONCE) {
    size_t some = count - from < AUTH_READ_AT_ONCE ? count - from : AUTH_READ_AT_ONCE;
    fb_enter(&store->fb);
    result = look_up_some(store, ids + from, some, arena, found, error);
    for (size_t i = 0; !result && i < some; i++)
      images[from + i] = found[i].image;
  }
  return result;
}

static aon_result probe(void *state, aon_error *error) {
  auth_store *store = state;
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  account ignored;
  fb_enter(&store->fb);
  return look_up_some(store, &AON_TEXT("aon-probe"), 1, &scratch, &ignored, error);
}

static aon_result open_store(aon_env *env, const aon_store_config *config, void **ret_state, aon_store_caps *ret_caps, aon_error *error) {
  static const fb_kind kind = {
      .google = &google_settings, .size = sizeof(auth_store), .place = place, .probe = probe, .close = close_store};
  aon_store_caps caps = {.store_class = AON_CLASS_PLAIN,
                         .batch_operations = AUTH_BATCH_OPERATIONS,
                         .batch_bytes = AUTH_BATCH_BYTES,
                         .max_exact_integer = INT64_MAX,
                         .any_thread = true,
                         .finishes = true,
                         .can_undo = true};
  aon_result result = fb_open(env, config, &kind, ret_state, &caps, error);
  if (!result)
    *ret_caps = caps;
  return result;
}

static aon_result describe(void *state, const aon_collection *collection, const aon_shape **ret_shape, aon_error *error) {
  static const aon_shape shape = {.exists = true,
                                  .document_table = true,
                                  .volatiles = volatiles,
                                  .write_effect = "a password that is set replaces one that Firebase Auth never tells",
                                  .write_only = "password"};
  (void)state;
  (void)collection;
  (void)error;
  *ret_shape = &shape;
  return AON_OK;
}

/* ---- scan ---- */

static aon_result hear_page(auth_store *store, json_t *root, const aon_match *matches, size_t count, aon_scan_each each, void *context,
                            aon_error *error) {
  size_t index;
  json_t *user;
  aon_result result = AON_OK;
  json_array_foreach(json_object_get(root, "users"), index, user) {
    AON_ARENA_CLEANUP aon_arena scratch = {0};
    aon_found found;
    bson_t view;
    bool aside;
    if (result)
      break;
    result = auth_image(&store->fb, user, &scratch, &found.image, &aside, error);
    if (result || aside || !aon_image_view(&found.image, &view) || !aon_match_all(&view, matches, count))
      continue;
    const char *uid = json_string_value(json_object_get(user, "localId"));
    found.id = (aon_text){uid, strlen(uid)};
    result = each(context, &found, error);
  }
  return result;
}

/* page: NULL is the first. *ret_next NULL: there are no more. Both are the caller's. */
static aon_result get_page(auth_store *store, const char *page, json_t **ret_root, char **ret_next, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer url = {0};
  *ret_root = NULL;
  *ret_next = NULL;
  aon_result result = aon_buffer_format(&url, error, "%s:batchGet?maxResults=%d%s", store->base, AUTH_PAGE, page ? "&nextPageToken=" : "");
  if (!result && page)
    result = fb_escape(page, strlen(page), &url, error);
  fb_enter(&store->fb);
  if (!result)
    result = fb_get(&store->fb, url.data, 0, ret_root, error);
  const char *next = json_string_value(json_object_get(*ret_root, "nextPageToken"));
  bool more = !result && next && *next && json_array_size(json_object_get(*ret_root, "users"));
  *ret_next = more ? strdup(next) : NULL;
  return more && !*ret_next ? aon_fail_memory(error) : result;
}

static aon_result scan(void *state, const aon_collection *collection, const aon_match *matches, size_t count, const char *const *properties,
                       aon_scan_each each, void *context, aon_error *error) {
  auth_store *store = state;
  char *page = NULL;
  aon_result result = AON_OK;
  (void)collection;
  (void)properties;
  do {
    json_t *root;
    char *next;
    result = get_page(store, page, &root, &next, error);
    free(page);
    page = next;
    if (!result)
      result = hear_page(store, root, matches, count, each, context, error);
    json_decref(root);
  } while (!result && page);
  free(page);
  return result == AON_END ? AON_OK : result;
}

/* ---- writing ---- */

typedef enum step { STEP_NOTHING, STEP_IMPORT, STEP_BEGIN, STEP_CREATE, STEP_UPDATE, STEP_SET_ASIDE, STEP_DELETE } step;

typedef struct one {
  const aon_write *write;
  step step;
  bool begun; /* there, without its password yet */
  char *body, *uid;
} one;

typedef struct round_state {
  auth_store *store;
  const aon_write *writes;
  aon_write_state *states;
  one ones[AUTH_BATCH_OPERATIONS];
  account accounts[AUTH_BATCH_OPERATIONS];
  aon_http_request requests[AUTH_BATCH_OPERATIONS];
  size_t first, count;
  fb_worst *worst;
  int64_t start_until_ms;
  aon_arena arena;
} round_state;

static void note(round_state *r, size_t at, aon_result result, aon_error *error) {
  error->operation = r->writes[r->first + at].operation;
  fb_note(r->worst, r->first + at, result, error);
}

static bool same(const aon_image *now, const aon_image *expected) {
  bson_t one_view, other;
  aon_comparison how = {.volatiles = volatiles};
  if (!now->bson || !expected->bson)
    return now->bson == expected->bson;
  return aon_image_view(now, &one_view) && aon_image_view(expected, &other) && aon_document_equal(&one_view, &other, &how);
}

/* Begun by this very write when it was sent before. */
static bool is_begun(const account *now, const aon_write *write, aon_text stamp) {
  aon_text bears = auth_stamp(&now->image);
  return !write->expected.bson && stamp.data && bears.length == stamp.length + strlen(AON_STAMP_BEGUN) &&
         !memcmp(bears.data, stamp.data, stamp.length) && !strcmp(bears.data + stamp.length, AON_STAMP_BEGUN);
}

/* The service gives no account that it makes a password and custom attributes at once. One that is stamped is made without its password
 * first: it never stands there without a stamp. */
static step to_make(const auth_account *wanted) {
  return !wanted->password.data ? STEP_IMPORT : wanted->stamp.data ? STEP_BEGIN : STEP_CREATE;
}

static aon_result body_of(one *o, const auth_account *wanted, const bool *had, aon_error *error) {
  json_t *body = NULL;
  switch (o->step) {
  case STEP_NOTHING:
    return AON_OK;
  case STEP_IMPORT:
    body = auth_to_import(o->uid, wanted);
    break;
  case STEP_BEGIN:
    body = auth_to_begin(o->uid, wanted);
    break;
  case STEP_CREATE:
    body = auth_to_create(o->uid, wanted);
    break;
  case STEP_UPDATE:
    body = auth_to_update(o->uid, wanted, had);
    break;
  case STEP_SET_ASIDE:
    body = auth_to_set_aside(o->uid, wanted);
    break;
  case STEP_DELETE:
    body = json_pack("{s:s}", "localId", o->uid);
    break;
  }
  free(o->body);
  o->body = body ? json_dumps(body, JSON_COMPACT) : NULL;
  json_decref(body);
  return o->body ? AON_OK : aon_fail_memory(error);
}

/* What is to be done, by what stands there now. */
static aon_result choose(round_state *r, size_t at, aon_error *error) {
  one *o = &r->ones[at];
  const account *now = &r->accounts[at];
  const aon_write *write = &r->writes[r->first + at];
  aon_text stamp = write->stamp ? (aon_text){write->stamp, strlen(write->stamp)} : auth_stamp(&write->wanted);
  o->write = write;
  o->begun = is_begun(now, write, stamp);
  o->uid = aon_arena_text(&r->arena, write->id.data, write->id.length);
  if (!o->uid)
    return aon_fail_memory(error);
  if (write->finishes) {
    o->step = now->aside ? STEP_DELETE : STEP_NOTHING; /* somebody made it anew meanwhile, or it is gone already */
  } else if (!o->begun && !same(&now->image, &write->expected)) {
    return not_as_expected(r->store, write, error);
  } else if (!write->wanted.bson) {
    o->step = write->compensates ? STEP_DELETE : STEP_SET_ASIDE;
  }
  auth_account wanted = {0};
  const aon_image *image = write->wanted.bson ? &write->wanted : &now->image;
  aon_result result =
      image->bson ? auth_account_of(&r->store->fb, image, write->wanted.bson ? write->stamp : NULL, &r->arena, &wanted, error) : AON_OK;
  if (result)
    return result;
  if (write->wanted.bson)
    o->step = write->expected.bson || now->aside || o->begun ? STEP_UPDATE : to_make(&wanted);
  return body_of(o, &wanted, now->has, error);
}

static bool goes_on(void *context, const aon_http_request *request) {
  round_state *r = context;
  return fb_went_well(NULL, request) && aon_monotonic_ms(r->store->fb.env) < r->start_until_ms;
}

static aon_result refusal(round_state *r, size_t at, const aon_http_request *request, aon_error *error) {
  json_t *root = NULL;
  if (request->result || request->status != 400 || fb_parse(&r->store->fb, request, 0, &root, NULL))
    return fb_refused(&r->store->fb, request, "writing", error);
  aon_result result =
      refused_for(r->store, r->ones[at].write, json_string_value(json_object_get(json_object_get(root, "error"), "message")), error);
  json_decref(root);
  return result;
}

static void judge(round_state *r, size_t at, const aon_http_request *request) {
  aon_error failure = AON_ERROR_INIT;
  aon_write_state *state = &r->states[r->first + at];
  if (fb_went_well(NULL, request)) {
    *state = AON_WRITE_APPLIED;
    return;
  }
  aon_result result = refusal(r, at, request, &failure);
  *state = result == AON_UNKNOWN ? AON_WRITE_UNKNOWN : request->tries ? AON_WRITE_REFUSED : AON_WRITE_NOT_SENT;
  note(r, at, result, &failure);
}

static void doubt_all(round_state *r, const size_t *of, size_t count, const aon_http_request *request) {
  for (size_t i = 0; i < count; i++) {
    aon_error failure = AON_ERROR_INIT;
    r->states[r->first + of[i]] = AON_WRITE_UNKNOWN;
    note(r, of[i], fb_refused(&r->store->fb, request, "creating accounts", &failure), &failure);
  }
}

/* Which of them are refused stands in the answer. One that can't be read tells of none of them. */
static void judge_all(round_state *r, const size_t *of, size_t count, const aon_http_request *request) {
  json_t *root = NULL, *item;
  size_t index;
  bool readable = !fb_went_well(NULL, request) || !fb_parse(&r->store->fb, request, 0, &root, NULL);
  for (size_t i = 0; readable && i < count; i++)
    judge(r, of[i], request);
  if (!readable)
    doubt_all(r, of, count, request);
  json_array_foreach(json_object_get(root, "error"), index, item) {
    size_t place = (size_t)json_integer_value(json_object_get(item, "index"));
    aon_error failure = AON_ERROR_INIT;
    if (place >= count) { /* somebody is refused, and nobody can say who */
      doubt_all(r, of, count, request);
      break;
    }
    r->states[r->first + of[place]] = AON_WRITE_REFUSED;
    aon_result why = refused_for(r->store, r->ones[of[place]].write, json_string_value(json_object_get(item, "message")), &failure);
    note(r, of[place], why, &failure);
  }
  json_decref(root);
}

/* New accounts, without their passwords: together, each refused by itself. */
static aon_result import_all(round_state *r, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer url = {0}, body = {0};
  size_t of[AUTH_CREATE_AT_ONCE], count = 0;
  aon_result result = aon_buffer_format(&url, error, "%s:batchCreate", r->store->base);
  if (!result)
    result = aon_buffer_text(&body, "{\"allowOverwrite\":false,\"sanityCheck\":true,\"users\":[", error);
  for (size_t i = 0; !result && i < r->count; i++) {
    if (r->ones[i].step != STEP_IMPORT && r->ones[i].step != STEP_BEGIN)
      continue;
    result = aon_buffer_format(&body, error, "%s%s", count ? "," : "", r->ones[i].body);
    of[count++] = i;
  }
  if (!result)
    result = aon_buffer_text(&body, "]}", error);
  if (result || !count)
    return result;
  aon_http_request request = {
      .method = "POST", .url = url.data, .headers = {"Content-Type: application/json"}, .body = {body.data, body.length}, .changes = true};
  result = fb_run(&r->store->fb, &request, 1, NULL, NULL, error);
  if (!result)
    judge_all(r, of, count, &request);
  aon_http_release(&request, 1);
  return result;
}

/* Those that have been begun get their passwords with the single writes. None of them counts as applied from here on, whatever happens. */
static aon_result go_on(round_state *r, aon_error *error) {
  static const bool had[AUTH_TEXTS] = {false};
  aon_result result = AON_OK;
  for (size_t i = 0; i < r->count; i++) {
    one *o = &r->ones[i];
    if (o->step != STEP_BEGIN || r->states[r->first + i] != AON_WRITE_APPLIED)
      continue;
    auth_account wanted;
    r->states[r->first + i] = AON_WRITE_NOT_SENT;
    o->begun = true;
    o->step = STEP_UPDATE;
    if (!result)
      result = auth_account_of(&r->store->fb, &o->write->wanted, o->write->stamp, &r->arena, &wanted, error);
    if (!result)
      result = body_of(o, &wanted, had, error);
  }
  return result;
}

static aon_http_request single_request(const char *url, const char *body) {
  return (aon_http_request){.method = "POST",
                            .url = url,
                            .headers = {"Content-Type: application/json"},
                            .body = {body, body ? strlen(body) : 0},
                            .changes = true};
}

static aon_result send_singly(round_state *r, aon_error *error) {
  static const char *const methods[] = {
      [STEP_CREATE] = "", [STEP_UPDATE] = ":update", [STEP_SET_ASIDE] = ":update", [STEP_DELETE] = ":delete"};
  size_t of[AUTH_BATCH_OPERATIONS], count = 0;
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < r->count; i++) {
    one *o = &r->ones[i];
    if (o->step == STEP_NOTHING)
      r->states[r->first + i] = AON_WRITE_APPLIED;
    if (o->step == STEP_NOTHING || o->step == STEP_IMPORT || o->step == STEP_BEGIN)
      continue;
    const char *url = aon_arena_format(&r->arena, "%s%s", r->store->base, methods[o->step]);
    result = url ? AON_OK : aon_fail_memory(error);
    of[count] = i;
    r->requests[count++] = single_request(url, o->body);
  }
  if (!result && count)
    result = fb_run(&r->store->fb, r->requests, count, goes_on, r, error);
  for (size_t i = 0; !result && i < count; i++)
    judge(r, of[i], &r->requests[i]);
  if (!result)
    aon_http_release(r->requests, count);
  return result;
}

static void note_left(round_state *r, size_t at) {
  aon_error failure = AON_ERROR_INIT;
  r->states[r->first + at] = AON_WRITE_UNKNOWN;
  note(r, at,
       aon_fail(&failure, AON_UNKNOWN, "no_reply", "%s/%s/%s was begun, and could neither be made to its end nor be taken back.",
                r->store->fb.name, r->ones[at].write->collection->name, r->ones[at].uid),
       &failure);
}

static aon_result ask_to_go(round_state *r, const size_t *of, size_t count, aon_error *error) {
  const char *url = aon_arena_format(&r->arena, "%s:delete", r->store->base);
  aon_result result = url ? AON_OK : aon_fail_memory(error);
  for (size_t i = 0; !result && i < count; i++) {
    one *o = &r->ones[of[i]];
    o->step = STEP_DELETE;
    result = body_of(o, NULL, NULL, error);
    r->requests[i] = single_request(url, o->body);
  }
  return result ? result : fb_run(&r->store->fb, r->requests, count, NULL, NULL, error);
}

/* Begun, and refused its password or not come to: nobody looks at what was refused or not sent, so it goes at once. Where that fails it is
 * unknown what there is of it. */
static void take_begun_back(round_state *r) {
  size_t of[AUTH_BATCH_OPERATIONS], count = 0;
  aon_error failure = AON_ERROR_INIT;
  for (size_t i = 0; i < r->count; i++) {
    aon_write_state state = r->states[r->first + i];
    if (r->ones[i].begun && (state == AON_WRITE_REFUSED || state == AON_WRITE_NOT_SENT))
      of[count++] = i;
  }
  if (!count)
    return;
  aon_result result = ask_to_go(r, of, count, &failure);
  for (size_t i = 0; i < count; i++) {
    if (!result && fb_went_well(NULL, &r->requests[i]))
      continue;
    note_left(r, of[i]);
  }
  if (!result)
    aon_http_release(r->requests, count);
}

static aon_result send_round(round_state *r, aon_error *error) {
  aon_text ids[AUTH_BATCH_OPERATIONS];
  memset(r->ones, 0, sizeof r->ones);
  for (size_t i = 0; i < r->count; i++)
    ids[i] = r->writes[r->first + i].id;
  aon_result result = look_up_some(r->store, ids, r->count, &r->arena, r->accounts, error);
  size_t all = r->count;
  for (size_t i = 0; !result && i < r->count; i++) {
    aon_error failure = AON_ERROR_INIT;
    aon_result refused = choose(r, i, &failure);
    if (!refused)
      continue;
    r->states[r->first + i] = AON_WRITE_REFUSED;
    note(r, i, refused, &failure);
    if (r->ones[i].begun)
      note_left(r, i);
    r->count = i; /* what stands before it is sent all the same */
  }
  if (!result)
    result = import_all(r, error);
  if (!result)
    result = go_on(r, error);
  if (!result)
    result = send_singly(r, error);
  take_begun_back(r);
  for (size_t i = 0; i < all; i++)
    free(r->ones[i].body);
  return result;
}

static size_t round_length(const aon_write *writes, size_t count) {
  for (size_t i = 1; i < count; i++)
    for (size_t j = 0; j < i; j++)
      if (writes[i].id.length == writes[j].id.length && !memcmp(writes[i].id.data, writes[j].id.data, writes[i].id.length))
        return i;
  return count;
}

static aon_result apply(void *state, aon_transaction *transaction, const aon_write *writes, size_t count, aon_write_state *states,
                        size_t *ret_failed, aon_error *error) {
  auth_store *store = state;
  (void)transaction;
  fb_enter(&store->fb);
  memset(states, 0, count * sizeof *states);
  fb_worst worst = FB_WORST_INIT(count);
  aon_error failure = AON_ERROR_INIT;
  round_state *r = calloc(1, sizeof *r);
  aon_result result = r ? AON_OK : aon_fail_memory(&failure);
  size_t first = 0;
  while (!result && !worst.result && first < count) {
    size_t length = round_length(writes + first, count - first);
    *r = (round_state){.store = store,
                       .writes = writes,
                       .states = states,
                       .first = first,
                       .count = length,
                       .worst = &worst,
                       .start_until_ms = store->fb.deadline_ms - store->fb.timeout_ms / 2,
                       .arena = r->arena};
    result = send_round(r, &failure);
    first += result ? 0 : length;
  }
  if (result)
    fb_note(&worst, first, result, &failure);
  if (r)
    aon_arena_release(&r->arena);
  free(r);
  if (worst.result) {
    *ret_failed = worst.failed;
    if (error)
      *error = worst.error;
  }
  return worst.result;
}

/* ---- aon doctor ---- */

typedef struct aside {
  size_t looked_at, found;
} aside;

static aon_result tell_page(const auth_store *store, const json_t *users, aside *all, aon_buffer *report, aon_error *error) {
  size_t index;
  json_t *user;
  aon_result result = AON_OK;
  json_array_foreach(users, index, user) {
    AON_ARENA_CLEANUP aon_arena scratch = {0};
    aon_image ignored;
    bool set_aside;
    const char *uid = json_string_value(json_object_get(user, "localId"));
    if (!result)
      result = auth_image(&store->fb, user, &scratch, &ignored, &set_aside, error);
    if (result)
      break;
    all->looked_at++;
    if (set_aside && all->found++ < AUTH_ASIDE_SHOWN)
      result = aon_buffer_format(report, error,
                                 "account %.128s is set aside (disabled, with " AUTH_MARK
                                 "): it waits for its bulk operation to be finished or taken "
                                 "back; aon recover does it if the journal knows it\n",
                                 uid ? uid : "");
  }
  return result;
}

/* Accounts that a bulk operation meant to delete and did not come to. */
static aon_result tell_aside(auth_store *store, aon_buffer *report, bool *healthy, aon_error *error) {
  aside all = {0};
  char *page = NULL;
  aon_result result = AON_OK;
  do {
    json_t *root;
    char *next;
    result = get_page(store, page, &root, &next, error);
    free(page);
    page = next;
    if (!result)
      result = tell_page(store, json_object_get(root, "users"), &all, report, error);
    json_decref(root);
  } while (!result && page && all.looked_at < AUTH_LOOKED_AT);
  *healthy = *healthy && !all.found;
  if (!result)
    result = aon_buffer_format(report, error, "accounts set aside: %zu of %s%zu\n", all.found, page ? "the first " : "", all.looked_at);
  free(page);
  return result;
}

static aon_result examine(void *state, struct aon_buffer *report, bool *ret_healthy, aon_error *error) {
  auth_store *store = state;
  const char *emulator = aon_google_emulator(store->fb.google);
  *ret_healthy = true;
  aon_result result = probe(store, error);
  if (!result)
    result = emulator ? aon_buffer_format(report, error, "Firebase Auth, emulator at %s\n", emulator)
                      : aon_buffer_format(report, error, "Firebase Auth, as %s\n", aon_google_account(store->fb.google));
  if (!result)
    result = aon_buffer_text(
        report,
        "class 5: accounts are read, compared, then written, for the service takes no conditions; deleted ones are set aside until "
        "the decision; passwords can't be given back\n",
        error);
  if (!result)
    result = aon_buffer_text(report,
                             store->stamps ? "stamps: _bulkOperationId among the custom claims; a write that comes late is taken back\n"
                                           : "stamps: none (stamp: false), so a write that comes after its rollback stays\n",
                             error);
  if (!result)
    result = fb_tell_clock(&store->fb, report, ret_healthy, error);
  return result ? result : tell_aside(store, report, ret_healthy, error);
}

const aon_store_adapter aon_auth_adapter = {
    .kind = "firebase-auth",
    .interface_version = AON_STORE_INTERFACE,
    .open = open_store,
    .close = close_store,
    .describe = describe,
    .normalise = auth_normalise,
    .read = read_documents,
    .scan = scan,
    .apply = apply,
    AON_SINGLY,
    .examine = examine,
    .cancel = fb_cancel,
    .pool = fb_pool,
    .look_up = fb_look_up,
};
