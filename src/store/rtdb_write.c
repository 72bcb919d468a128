/* Writing: PUT and DELETE under `if-match` with the ETag that was read, in parallel; in an exclusive database one PATCH of many paths.
 *
 * Invariants:
 *  - no request goes out without a condition, but the PATCH of a store that is declared exclusive, whose documents were compared just
 *    before;
 *  - two writes of one document are never under way together: a call is cut into rounds;
 *  - once a write has failed, no further one is started; after half of the call's time neither. */
#include <stdlib.h>
#include <string.h>

#include "model/document.h"
#include "store/rtdb_internal.h"

typedef struct one { /* a write of a round */
  const aon_write *write;
  const char *path, *url;
  char etag[AON_HTTP_ETAG + 16]; /* "if-match: …", "" where it must be read first */
  aon_buffer body;
} one;

typedef struct round_state {
  rtdb_store *store;
  const aon_write *writes; /* of the whole call */
  aon_write_state *states;
  one *ones;
  aon_http_request *requests;
  size_t first, count; /* the round within the call */
  fb_worst *worst;
  int64_t start_until_ms;
  aon_arena arena;
} round_state;

static aon_result name_write(const rtdb_store *store, const aon_write *write, aon_result kind, const char *code, const char *what,
                             aon_error *error) {
  size_t shown = write->id.length > FB_ID_SHOWN ? FB_ID_SHOWN : write->id.length;
  return aon_fail(error, kind, code, "%s/%s/%.*s %s. Nothing was written.", store->fb.name, write->collection->name, (int)shown,
                  write->id.data, what);
}

static aon_result not_as_expected(const rtdb_store *store, const aon_write *write, aon_error *error) {
  return write->expected.bson
             ? name_write(store, write, AON_PERMANENT, "changed_meanwhile", "was changed by somebody else meanwhile", error)
             : name_write(store, write, AON_PERMANENT, "duplicate", "is there already", error);
}

static void note(round_state *r, size_t at, aon_result result, aon_error *error) {
  error->operation = r->ones[at].write->operation;
  fb_note(r->worst, r->first + at, result, error);
}

/* ---- preparing ---- */

static aon_result body_of(const aon_write *write, aon_buffer *out, aon_error *error) {
  bson_t view, stamped;
  if (!write->wanted.bson)
    return aon_buffer_text(out, "null", error);
  if (!aon_image_view(&write->wanted, &view))
    return aon_fail(error, AON_CORRUPT, "bad_document", "An image of %s/%.*s is damaged.", write->collection->name, (int)write->id.length,
                    write->id.data);
  if (!write->stamp)
    return aon_document_to_json(&view, out, error);
  bson_init(&stamped);
  bson_copy_to_excluding_noinit(&view, &stamped, AON_STAMP_NAME, (char *)NULL);
  aon_result result = bson_append_utf8(&stamped, AON_STAMP_NAME, -1, write->stamp, -1) ? aon_document_to_json(&stamped, out, error)
                                                                                       : aon_fail_memory(error);
  bson_destroy(&stamped);
  return result;
}

static aon_result prepare(round_state *r, size_t at, aon_error *error) {
  one *o = &r->ones[at];
  const aon_write *write = o->write;
  aon_result result = rtdb_document_path(write->collection, write->id, &r->arena, &o->path, error);
  if (!result && !o->path)
    result = name_write(r->store, write, AON_PERMANENT, "forbidden_character", "has an id that can't be a key", error);
  if (!result)
    result = rtdb_url(r->store, o->path, "print=silent", &r->arena, &o->url, error);
  if (!result)
    result = body_of(write, &o->body, error);
  o->etag[0] = 0;
  if (!write->expected.bson)
    snprintf(o->etag, sizeof o->etag, "if-match: %s", RTDB_NULL_ETAG);
  else if (write->expected.token_length && write->expected.token_length < AON_HTTP_ETAG)
    snprintf(o->etag, sizeof o->etag, "if-match: %.*s", (int)write->expected.token_length, (const char *)write->expected.token);
  return result;
}

/* ---- comparing, where no ETag is known or the write itself has no condition ---- */

static aon_result compare(round_state *r, size_t at, const aon_http_request *request, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  one *o = &r->ones[at];
  aon_image now;
  bson_t current, expected;
  if (!fb_went_well(NULL, request))
    return fb_refused(&r->store->fb, request, "reading", error);
  aon_result result = rtdb_image(r->store, request->reply.data, request->reply.length, request->etag, &scratch, &now, error);
  if (result == AON_PERMANENT && !o->write->expected.bson)
    result = not_as_expected(r->store, o->write, error);
  if (result)
    return result;
  bool same = now.bson && o->write->expected.bson ? aon_image_view(&now, &current) && aon_image_view(&o->write->expected, &expected) &&
                                                        aon_document_equal(&current, &expected, NULL)
                                                  : now.bson == o->write->expected.bson;
  if (!same)
    return not_as_expected(r->store, o->write, error);
  snprintf(o->etag, sizeof o->etag, "if-match: %s", now.bson ? request->etag : RTDB_NULL_ETAG);
  return AON_OK;
}

static aon_result look(round_state *r, bool all, aon_error *error) {
  size_t asked = 0;
  aon_result result = AON_OK;
  size_t *of = calloc(r->count, sizeof *of);
  if (!of)
    return aon_fail_memory(error);
  for (size_t i = 0; !result && i < r->count; i++) {
    if (r->ones[i].etag[0] && !all)
      continue;
    of[asked] = i;
    r->requests[asked] = (aon_http_request){.method = "GET", .headers = {"X-Firebase-ETag: true"}};
    result = rtdb_url(r->store, r->ones[i].path, "", &r->arena, &r->requests[asked++].url, error);
  }
  if (!result && asked)
    result = fb_run(&r->store->fb, r->requests, asked, NULL, NULL, error);
  size_t left = r->count;
  for (size_t i = 0; !result && i < asked; i++) {
    aon_error failure = AON_ERROR_INIT;
    aon_result refused = of[i] < left ? compare(r, of[i], &r->requests[i], &failure) : AON_OK;
    if (!refused)
      continue;
    r->states[r->first + of[i]] = AON_WRITE_REFUSED;
    note(r, of[i], refused, &failure);
    left = of[i];
  }
  if (asked)
    aon_http_release(r->requests, asked);
  r->count = result ? r->count : left; /* what stands before the first one that does not hold is sent all the same */
  free(of);
  return result;
}

/* ---- sending ---- */

static bool goes_on(void *context, const aon_http_request *request) {
  round_state *r = context;
  return fb_went_well(NULL, request) && aon_monotonic_ms(r->store->fb.env) < r->start_until_ms;
}

static void judge(round_state *r, size_t at, const aon_http_request *request, const aon_write *only) {
  aon_error failure = AON_ERROR_INIT;
  aon_write_state *state = &r->states[r->first + at];
  aon_result result = AON_OK;
  if (fb_went_well(NULL, request)) {
    *state = AON_WRITE_APPLIED;
    return;
  }
  if (!request->result && request->status == 412)
    result = not_as_expected(r->store, only, &failure);
  else
    result = fb_refused(&r->store->fb, request, "writing", &failure);
  *state = result == AON_UNKNOWN ? AON_WRITE_UNKNOWN : request->tries ? AON_WRITE_REFUSED : AON_WRITE_NOT_SENT;
  note(r, at, result, &failure);
}

static aon_result send_each(round_state *r, aon_error *error) {
  for (size_t i = 0; i < r->count; i++) {
    one *o = &r->ones[i];
    bool deletes = !o->write->wanted.bson;
    r->requests[i] = (aon_http_request){.method = deletes ? "DELETE" : "PUT",
                                        .url = o->url,
                                        .headers = {o->etag, deletes ? NULL : "Content-Type: application/json"},
                                        .body = deletes ? (aon_text){0} : (aon_text){o->body.data, o->body.length},
                                        .changes = true};
  }
  aon_result result = r->count ? fb_run(&r->store->fb, r->requests, r->count, goes_on, r, error) : AON_OK;
  for (size_t i = 0; !result && i < r->count; i++)
    judge(r, i, &r->requests[i], r->ones[i].write);
  if (!result)
    aon_http_release(r->requests, r->count);
  return result;
}

/* All or nothing, but without a condition: nobody else writes here, as the configuration promises. */
static aon_result send_patch(round_state *r, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer body = {0};
  aon_result result = aon_buffer_text(&body, "{", error);
  for (size_t i = 0; !result && i < r->count; i++) {
    result = i ? aon_buffer_text(&body, ",", error) : AON_OK;
    if (!result)
      result = aon_text_to_json(r->ones[i].path, strlen(r->ones[i].path), &body, error);
    if (!result)
      result = aon_buffer_text(&body, ":", error);
    if (!result)
      result = aon_buffer_append(&body, r->ones[i].body.data, r->ones[i].body.length, error);
  }
  if (!result)
    result = aon_buffer_text(&body, "}", error);
  aon_http_request request = {
      .method = "PATCH", .headers = {"Content-Type: application/json"}, .body = {body.data, body.length}, .changes = true};
  if (!result)
    result = rtdb_url(r->store, "", "print=silent", &r->arena, &request.url, error);
  if (!result && r->count)
    result = fb_run(&r->store->fb, &request, 1, NULL, NULL, error);
  for (size_t i = 0; !result && i < r->count; i++)
    judge(r, i, &request, r->ones[i].write);
  if (!result && r->count)
    aon_http_release(&request, 1);
  return result;
}

/* ---- rounds ---- */

static bool same_document(const aon_write *a, const aon_write *b) {
  return a->id.length == b->id.length && !memcmp(a->id.data, b->id.data, a->id.length) && !strcmp(a->collection->name, b->collection->name);
}

static size_t round_length(const aon_write *writes, size_t count) {
  for (size_t i = 1; i < count; i++)
    for (size_t j = 0; j < i; j++)
      if (same_document(&writes[i], &writes[j]))
        return i;
  return count;
}

static aon_result send_round(round_state *r, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < r->count; i++) {
    r->ones[i] = (one){.write = &r->writes[r->first + i]};
    result = prepare(r, i, error);
    if (result && error)
      error->operation = r->writes[r->first + i].operation;
  }
  size_t prepared = r->count;
  if (!result)
    result = look(r, r->store->exclusive, error);
  if (!result)
    result = r->store->exclusive ? send_patch(r, error) : send_each(r, error);
  for (size_t i = 0; i < prepared; i++)
    aon_buffer_release(&r->ones[i].body);
  return result;
}

aon_result rtdb_apply(void *state, aon_transaction *transaction, const aon_write *writes, size_t count, aon_write_state *states,
                      size_t *ret_failed, aon_error *error) {
  rtdb_store *store = state;
  (void)transaction;
  fb_enter(&store->fb);
  memset(states, 0, count * sizeof *states);
  fb_worst worst = FB_WORST_INIT(count);
  round_state r = {.store = store,
                   .writes = writes,
                   .states = states,
                   .ones = calloc(count, sizeof *r.ones),
                   .requests = calloc(count, sizeof *r.requests),
                   .worst = &worst,
                   .start_until_ms = store->fb.deadline_ms - store->fb.timeout_ms / 2};
  aon_error failure = AON_ERROR_INIT;
  aon_result result = r.ones && r.requests ? AON_OK : aon_fail_memory(&failure);
  while (!result && !worst.result && r.first < count) {
    size_t length = round_length(writes + r.first, count - r.first);
    r.count = length;
    result = send_round(&r, &failure);
    if (!result)
      r.first += length;
  }
  if (result) /* of a round in which nothing was sent */
    fb_note(&worst, r.first, result, &failure);
  free(r.ones);
  free(r.requests);
  aon_arena_release(&r.arena);
  if (worst.result) {
    *ret_failed = worst.failed;
    if (error)
      *error = worst.error;
  }
  return worst.result;
}
