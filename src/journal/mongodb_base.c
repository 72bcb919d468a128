/* Connection, calls, transactions and documents of the docket. Invariants stand in mongodb_docket.h. */
#include <stdlib.h>
#include <string.h>

#include "journal/mongodb_docket.h"

#define PAUSE_FIRST_MS 4 /* before a call is done again; doubled each time up to … */
#define PAUSE_LAST_MS 500
#define IN_THE_WAY_MS 3000          /* after that long every other noted session is ended, once a call */
#define NOTED_MS (12 * 3600 * 1000) /* a session is noted anew after that long, … */
#define SESSION_KEY 48

/* ---- documents ---- */

void aon_docket_end(bson_t **document) {
  if (*document)
    bson_destroy(*document);
  *document = NULL;
}

void aon_docket_rows_end(aon_docket_rows *rows) {
  free(rows->rows);
  aon_arena_release(&rows->arena);
  *rows = (aon_docket_rows){0};
}

static bool at_field(const aon_docket_row *row, const char *name, bson_iter_t *ret_at) {
  return bson_iter_init_from_data(ret_at, row->bytes, row->length) && bson_iter_find(ret_at, name);
}

int64_t aon_docket_int(const aon_docket_row *row, const char *name) {
  bson_iter_t at;
  return at_field(row, name, &at) ? bson_iter_as_int64(&at) : 0;
}

const char *aon_docket_text(const aon_docket_row *row, const char *name) {
  bson_iter_t at;
  return at_field(row, name, &at) && BSON_ITER_HOLDS_UTF8(&at) ? bson_iter_utf8(&at, NULL) : NULL;
}

const void *aon_docket_bytes(const aon_docket_row *row, const char *name, size_t *ret_length) {
  bson_iter_t at;
  bson_subtype_t kind;
  uint32_t length = 0;
  const uint8_t *bytes = NULL;
  if (at_field(row, name, &at) && BSON_ITER_HOLDS_BINARY(&at))
    bson_iter_binary(&at, &kind, &length, &bytes);
  *ret_length = length;
  return bytes;
}

bool aon_docket_there(const aon_docket_row *row, const char *name) {
  bson_iter_t at;
  return at_field(row, name, &at) && !BSON_ITER_HOLDS_NULL(&at);
}

aon_result aon_docket_copy(const aon_docket_row *row, const char *name, aon_arena *arena, const char **ret_text, aon_error *error) {
  const char *text = aon_docket_text(row, name);
  *ret_text = text ? aon_arena_text(arena, text, strlen(text)) : NULL;
  return text && !*ret_text ? aon_fail_memory(error) : AON_OK;
}

void aon_docket_key(char ret_key[AON_DOCKET_KEY], int64_t number, int64_t second) {
  snprintf(ret_key, AON_DOCKET_KEY, "%016llx:%016llx", (unsigned long long)number, (unsigned long long)second);
}

bson_t *aon_docket_range(int64_t number, int64_t first, int64_t last) {
  char low[AON_DOCKET_KEY], high[AON_DOCKET_KEY];
  aon_docket_key(low, number, first);
  aon_docket_key(high, number, last);
  strcat(high, "~"); /* behind what a key has after its numbers */
  return BCON_NEW("_id", "{", "$gte", BCON_UTF8(low), "$lte", BCON_UTF8(high), "}");
}

bson_t *aon_docket_sorted(const char *by, int direction, int64_t limit) {
  bson_t *options = BCON_NEW("sort", "{", by, BCON_INT32(direction), "}");
  if (limit)
    BSON_APPEND_INT64(options, "limit", limit);
  return options;
}

void aon_docket_token(aon_docket *d, char ret_token[AON_DOCKET_TOKEN + 1]) {
  uint64_t number;
  aon_random(d->env, &number, sizeof number);
  snprintf(ret_token, AON_DOCKET_TOKEN + 1, "%016llx", (unsigned long long)number);
}

/* ---- connection ---- */

void aon_docket_hang_up(aon_docket *d) {
  aon_mongodb_close(d->connection);
  d->connection = NULL;
  d->server_ms = 0;
}

aon_result aon_docket_connect(aon_docket *d, aon_error *error) {
  if (d->connection && !aon_mongodb_broken(d->connection) && (d->inside || aon_mongodb_alive(d->connection)))
    return AON_OK;
  aon_docket_hang_up(d);
  aon_mongodb_settings settings = {.label = "the journal", .url = d->url, .timeout_ms = AON_DOCKET_CALL_MS};
  return aon_mongodb_open(d->env, &settings, &d->interrupt, aon_monotonic_ms(d->env) + AON_DOCKET_CONNECT_MS, &d->connection, error);
}

static aon_result run(aon_docket *d, const char *database, bson_t *command, aon_mongodb_kind kind, const char *doing, bson_t *ret_reply,
                      aon_error *error) {
  aon_mongodb_deadline(d->connection, aon_monotonic_ms(d->env) + AON_DOCKET_CALL_MS);
  aon_result result = aon_mongodb_run(d->connection, database, command, kind, doing, ret_reply, error);
  bson_destroy(command);
  d->failed = d->failed || result;
  return result;
}

aon_result aon_docket_command(aon_docket *d, const char *database, bson_t *command, aon_mongodb_kind kind, const char *doing,
                              bson_t *ret_reply, aon_error *error) {
  aon_result result = aon_docket_connect(d, error);
  if (!result)
    return run(d, database, command, kind, doing, ret_reply, error);
  bson_destroy(command);
  bson_init(ret_reply);
  return result;
}

/* Whether what only reads is asked again, after a pause; *until_ms 0: this was the first time. */
static bool again(aon_docket *d, aon_result result, int64_t *until_ms, int64_t *pause_ms) {
  int64_t here = aon_monotonic_ms(d->env);
  if (!*until_ms) {
    *until_ms = here + AON_DOCKET_PATIENCE_MS;
    *pause_ms = PAUSE_FIRST_MS;
  }
  if (result != AON_TRANSIENT || d->inside || here + *pause_ms >= *until_ms)
    return false;
  aon_sleep_ms(d->env, *pause_ms);
  *pause_ms = *pause_ms * 2 < PAUSE_LAST_MS ? *pause_ms * 2 : PAUSE_LAST_MS;
  return true;
}

aon_result aon_docket_ask(aon_docket *d, const char *database, bson_t *command, const char *doing, bson_t *ret_reply, aon_error *error) {
  aon_error failure = AON_ERROR_INIT;
  int64_t until_ms = 0, pause_ms = 0;
  aon_result result;
  do {
    failure = (aon_error)AON_ERROR_INIT;
    if (until_ms)
      bson_destroy(ret_reply);
    result = aon_docket_command(d, database, bson_copy(command), AON_MONGODB_READ, doing, ret_reply, &failure);
  } while (again(d, result, &until_ms, &pause_ms));
  bson_destroy(command);
  if (result && error)
    *error = failure;
  return result;
}

/* ---- the time ---- */

static aon_result read_clock(aon_docket *d, aon_error *error) {
  int64_t here = aon_monotonic_ms(d->env);
  bson_iter_t at;
  bson_t reply;
  if (!d->server_ms || here - d->read_at_ms > AON_DOCKET_CLOCK_MS || here < d->read_at_ms) {
    aon_result result = run(d, "admin", BCON_NEW("hello", BCON_INT32(1)), AON_MONGODB_READ, "asking for the time", &reply, error);
    if (!result && (!bson_iter_init_find(&at, &reply, "localTime") || !BSON_ITER_HOLDS_DATE_TIME(&at)))
      result = aon_fail(error, AON_ENVIRONMENT, "not_supported", "The journal's server does not tell its time.");
    else if (!result)
      d->server_ms = bson_iter_date_time(&at);
    bson_destroy(&reply);
    d->read_at_ms = here;
    if (result) {
      d->server_ms = 0;
      return result;
    }
  }
  d->now_ms = d->server_ms + (here - d->read_at_ms) + (d->ahead_ms ? *d->ahead_ms : 0);
  return AON_OK;
}

aon_result aon_docket_now(aon_docket *d, int64_t *ret_now_ms, aon_error *error) {
  aon_error failure = AON_ERROR_INIT;
  int64_t until_ms = 0, pause_ms = 0;
  aon_result result = AON_OK;
  if (!d->absent && !d->inside)
    do {
      failure = (aon_error)AON_ERROR_INIT;
      result = aon_docket_connect(d, &failure);
      if (!result)
        result = read_clock(d, &failure);
    } while (again(d, result, &until_ms, &pause_ms));
  *ret_now_ms = d->now_ms;
  if (result && error)
    *error = failure;
  return result;
}

/* ---- reading ---- */

typedef struct gathering {
  aon_docket_rows *rows;
} gathering;

static aon_result gather(void *context, const bson_t *document, aon_error *error) {
  aon_docket_rows *rows = ((gathering *)context)->rows;
  if (rows->count == rows->capacity) {
    size_t capacity = rows->capacity ? rows->capacity * 2 : 16;
    aon_docket_row *more = realloc(rows->rows, capacity * sizeof *more);
    if (!more)
      return aon_fail_memory(error);
    rows->rows = more;
    rows->capacity = capacity;
  }
  uint8_t *bytes = aon_arena_copy(&rows->arena, bson_get_data(document), document->len);
  if (!bytes)
    return aon_fail_memory(error);
  rows->rows[rows->count++] = (aon_docket_row){.bytes = bytes, .length = document->len};
  return AON_OK;
}

static aon_result find_once(aon_docket *d, const char *collection, const bson_t *filter, const bson_t *options, aon_docket_rows *rows,
                            const char *doing, aon_error *error) {
  gathering all = {rows};
  aon_docket_rows_end(rows);
  aon_result result = aon_docket_connect(d, error);
  if (result)
    return result;
  aon_mongodb_deadline(d->connection, aon_monotonic_ms(d->env) + AON_DOCKET_CALL_MS);
  result = aon_mongodb_find(d->connection, collection, filter, options, d->inside ? AON_MONGODB_INSIDE : AON_MONGODB_READ, doing, gather,
                            &all, error);
  d->failed = d->failed || result;
  return result;
}

aon_result aon_docket_find(aon_docket *d, const char *collection, bson_t *filter, bson_t *options, aon_docket_rows *ret_rows,
                           const char *doing, aon_error *error) {
  static const uint8_t nothing[] = {5, 0, 0, 0, 0};
  aon_error failure = AON_ERROR_INIT;
  bson_t none;
  bson_init_static(&none, nothing, sizeof nothing);
  int64_t until_ms = 0, pause_ms = 0;
  aon_result result = AON_OK;
  aon_docket_rows_end(ret_rows);
  if (!d->absent) /* a journal that isn't there has no rows */
    do {
      failure = (aon_error)AON_ERROR_INIT;
      result = find_once(d, collection, filter, options ? options : &none, ret_rows, doing, &failure);
    } while (again(d, result, &until_ms, &pause_ms));
  bson_destroy(filter);
  if (options)
    bson_destroy(options);
  if (result && error)
    *error = failure;
  return result;
}

aon_result aon_docket_count(aon_docket *d, const char *collection, bson_t *filter, int64_t *ret_count, aon_error *error) {
  bson_iter_t at;
  bson_t reply;
  aon_result result =
      aon_docket_ask(d, NULL, BCON_NEW("count", BCON_UTF8(collection), "query", BCON_DOCUMENT(filter)), "counting", &reply, error);
  *ret_count = !result && bson_iter_init_find(&at, &reply, "n") ? bson_iter_as_int64(&at) : 0;
  bson_destroy(&reply);
  bson_destroy(filter);
  return result;
}

/* ---- writing ---- */

static aon_result change(aon_docket *d, bson_t *command, const char *doing, int64_t *ret_count, aon_error *error) {
  bson_iter_t at;
  bson_t reply;
  d->wrote = true;
  aon_result result = run(d, NULL, command, AON_MONGODB_INSIDE, doing, &reply, error);
  /* Somebody else made it since this transaction began: seen when it is done again. */
  if (result == AON_PERMANENT && aon_mongodb_code(d->connection) == AON_MONGODB_DUPLICATE)
    result = AON_TRANSIENT;
  if (!result && ret_count)
    *ret_count = bson_iter_init_find(&at, &reply, "n") ? bson_iter_as_int64(&at) : 0;
  bson_destroy(&reply);
  return result;
}

aon_result aon_docket_insert(aon_docket *d, const char *collection, bson_t *document, aon_error *error) {
  bson_t *command = BCON_NEW("insert", BCON_UTF8(collection), "documents", "[", BCON_DOCUMENT(document), "]");
  bson_destroy(document);
  return change(d, command, "recording", NULL, error);
}

static aon_result update(aon_docket *d, const char *collection, bson_t *filter, bson_t *how, bool upsert, bool all, int64_t *ret_matched,
                         aon_error *error) {
  bson_t *command = BCON_NEW("update", BCON_UTF8(collection), "updates", "[", "{", "q", BCON_DOCUMENT(filter), "u", BCON_DOCUMENT(how),
                             "upsert", BCON_BOOL(upsert), "multi", BCON_BOOL(all), "}", "]");
  bson_destroy(filter);
  bson_destroy(how);
  return change(d, command, "recording", ret_matched, error);
}

aon_result aon_docket_update(aon_docket *d, const char *collection, bson_t *filter, bson_t *how, bool upsert, int64_t *ret_matched,
                             aon_error *error) {
  return update(d, collection, filter, how, upsert, false, ret_matched, error);
}

aon_result aon_docket_update_all(aon_docket *d, const char *collection, bson_t *filter, bson_t *how, int64_t *ret_matched,
                                 aon_error *error) {
  return update(d, collection, filter, how, false, true, ret_matched, error);
}

aon_result aon_docket_delete(aon_docket *d, const char *collection, bson_t *filter, int64_t *ret_deleted, aon_error *error) {
  bson_t *command =
      BCON_NEW("delete", BCON_UTF8(collection), "deletes", "[", "{", "q", BCON_DOCUMENT(filter), "limit", BCON_INT32(0), "}", "]");
  bson_destroy(filter);
  return change(d, command, "taking away", ret_deleted, error);
}

aon_result aon_docket_raise(aon_docket *d, const char *collection, bson_t *filter, bson_t *how, bool upsert, const char *name,
                            int64_t *ret_number, aon_error *error) {
  bson_iter_t at;
  bson_t reply;
  bson_t *command = BCON_NEW("findAndModify", BCON_UTF8(collection), "query", BCON_DOCUMENT(filter), "update", BCON_DOCUMENT(how), "upsert",
                             BCON_BOOL(upsert), "new", BCON_BOOL(true), "fields", "{", name, BCON_INT32(1), "}");
  bson_destroy(filter);
  bson_destroy(how);
  d->wrote = true;
  aon_result result = run(d, NULL, command, AON_MONGODB_INSIDE, "recording", &reply, error);
  if (result == AON_PERMANENT && aon_mongodb_code(d->connection) == AON_MONGODB_DUPLICATE)
    result = AON_TRANSIENT;
  if (!result && (!bson_iter_init_find(&at, &reply, "value") || !BSON_ITER_HOLDS_DOCUMENT(&at)))
    result = AON_TRANSIENT; /* what was read said otherwise, so somebody has just changed it */
  bson_iter_t found;
  if (!result && bson_iter_recurse(&at, &found) && bson_iter_find(&found, name))
    *ret_number = bson_iter_as_int64(&found);
  bson_destroy(&reply);
  return result;
}

aon_result aon_docket_next(aon_docket *d, const char *counter, int64_t *ret_number, aon_error *error) {
  return aon_docket_raise(d, AON_DOCKET_META, BCON_NEW("_id", BCON_UTF8(counter)), BCON_NEW("$inc", "{", "last", BCON_INT64(1), "}"), true,
                          "last", ret_number, error);
}

aon_result aon_docket_turn(aon_docket *d, aon_error *error) {
  int64_t ignored;
  return aon_docket_next(d, "turn", &ignored, error);
}

/* ---- sessions, and who is in the way ---- */

static void session_key(const bson_t *lsid, char ret_key[SESSION_KEY]) {
  bson_iter_t at;
  bson_subtype_t kind;
  uint32_t length = 0;
  const uint8_t *bytes = NULL;
  ret_key[0] = 0;
  if (bson_iter_init_find(&at, lsid, "id") && BSON_ITER_HOLDS_BINARY(&at))
    bson_iter_binary(&at, &kind, &length, &bytes);
  for (uint32_t i = 0; i < length && 2 * i + 2 < SESSION_KEY; i++)
    snprintf(ret_key + 2 * (size_t)i, 3, "%02x", bytes[i]);
}

/* Before its first transaction writes anything. Only this handle writes that document, so it waits for nobody. */
static aon_result note_session(aon_docket *d, const bson_t *lsid, aon_error *error) {
  char key[SESSION_KEY];
  bson_t reply;
  int64_t here = aon_monotonic_ms(d->env);
  if (d->session && bson_equal(d->session, lsid) && here - d->noted_at_ms < NOTED_MS)
    return AON_OK;
  aon_process self = d->env->ops->process_self(d->env->context);
  session_key(lsid, key);
  aon_result result =
      run(d, NULL,
          BCON_NEW("update", BCON_UTF8(AON_DOCKET_SESSIONS), "updates", "[", "{", "q", "{", "_id", BCON_UTF8(key), "}", "u", "{", "$set",
                   "{", "lsid", BCON_DOCUMENT(lsid), "boot", BCON_UTF8(self.boot_id), "pid", BCON_INT64(self.pid), "ticks",
                   BCON_INT64((int64_t)self.start_ticks), "at_ms", BCON_INT64(d->now_ms), "}", "}", "upsert", BCON_BOOL(true), "}", "]"),
          AON_MONGODB_WRITE, "noting a session", &reply, error);
  bson_destroy(&reply);
  if (result)
    return result == AON_UNKNOWN ? AON_TRANSIENT : result;
  aon_docket_end(&d->session);
  d->session = bson_copy(lsid);
  d->noted_at_ms = here;
  return AON_OK;
}

static void forget_session(aon_docket *d, const char *key) {
  aon_error ignored = AON_ERROR_INIT;
  bson_t reply;
  aon_result result = aon_docket_command(d, NULL,
                                         BCON_NEW("delete", BCON_UTF8(AON_DOCKET_SESSIONS), "deletes", "[", "{", "q", "{", "_id",
                                                  BCON_UTF8(key), "}", "limit", BCON_INT32(1), "}", "]"),
                                         AON_MONGODB_WRITE, "forgetting a session", &reply, &ignored);
  bson_destroy(&reply);
  if (result)
    aon_log(d->env, AON_LOG_DEBUG, "%s", ignored.sentence);
}

void aon_docket_forget(aon_docket *d) {
  char key[SESSION_KEY];
  if (!d->session || !d->connection || aon_mongodb_broken(d->connection))
    return;
  session_key(d->session, key);
  forget_session(d, key);
}

/* Its open transaction, if it has one, is undone: nothing else can be lost, as a living worker does its call again. */
static void end_session(aon_docket *d, const aon_docket_row *row, bool forget) {
  aon_error ignored = AON_ERROR_INIT;
  bson_iter_t at;
  bson_t lsid, reply;
  uint32_t length;
  const uint8_t *bytes;
  if (!bson_iter_init_from_data(&at, row->bytes, row->length) || !bson_iter_find(&at, "lsid") || !BSON_ITER_HOLDS_DOCUMENT(&at))
    return;
  bson_iter_document(&at, &length, &bytes);
  if (!bson_init_static(&lsid, bytes, length))
    return;
  aon_result result = aon_docket_command(d, "admin", BCON_NEW("killSessions", "[", BCON_DOCUMENT(&lsid), "]"), AON_MONGODB_READ,
                                         "ending a session", &reply, &ignored);
  bson_destroy(&reply);
  if (result)
    aon_log(d->env, AON_LOG_DEBUG, "%s", ignored.sentence);
  else if (forget)
    forget_session(d, aon_docket_text(row, "_id"));
}

/* Sessions of dead workers are ended at once; everybody's, where the way has not been free for long: a frozen one may hold it. */
static void clear_the_way(aon_docket *d, bool everybody) {
  AON_DOCKET_ROWS rows = {0};
  aon_error ignored = AON_ERROR_INIT;
  if (aon_docket_find(d, AON_DOCKET_SESSIONS, bson_new(), NULL, &rows, "looking who is in the way", &ignored))
    return;
  char own[SESSION_KEY] = "";
  if (d->session)
    session_key(d->session, own);
  for (size_t i = 0; i < rows.count; i++) {
    const aon_docket_row *row = &rows.rows[i];
    const char *boot = aon_docket_text(row, "boot"), *key = aon_docket_text(row, "_id");
    aon_process worker = {.pid = aon_docket_int(row, "pid"), .start_ticks = (uint64_t)aon_docket_int(row, "ticks")};
    snprintf(worker.boot_id, sizeof worker.boot_id, "%s", boot ? boot : "");
    bool dead = d->env->ops->process_dead(d->env->context, &worker);
    if (key && strcmp(key, own) && (dead || everybody))
      end_session(d, row, dead);
  }
}

/* ---- transactions ---- */

static aon_result begin(aon_docket *d, aon_error *error) {
  const bson_t *lsid;
  aon_mongodb_deadline(d->connection, aon_monotonic_ms(d->env) + AON_DOCKET_CALL_MS);
  aon_result result = aon_mongodb_begin(d->connection, &lsid, error);
  if (result)
    return result;
  result = d->read_only ? AON_OK : note_session(d, lsid, error);
  if (result)
    aon_mongodb_abort(d->connection);
  return result;
}

/* *ret_doubt: it may have been committed. */
static aon_result attempt(aon_docket *d, aon_docket_work work, void *arguments, bool *ret_doubt, aon_error *error) {
  d->wrote = d->failed = false;
  aon_result result = aon_docket_connect(d, error);
  if (!result)
    result = read_clock(d, error);
  if (!result)
    result = begin(d, error);
  if (result) {
    d->failed = true;
    return result;
  }
  d->inside = true;
  result = work(d, arguments, error);
  d->inside = false;
  if (result || !d->wrote) {
    aon_mongodb_abort(d->connection);
    return result;
  }
  aon_mongodb_deadline(d->connection, aon_monotonic_ms(d->env) + AON_DOCKET_CALL_MS);
  result = aon_mongodb_commit(d->connection, error);
  d->failed = d->failed || result;
  *ret_doubt = *ret_doubt || result == AON_UNKNOWN;
  return result == AON_UNKNOWN ? AON_TRANSIENT : result;
}

static int64_t about(aon_docket *d, int64_t pause_ms) {
  uint32_t number;
  aon_random(d->env, &number, sizeof number);
  return pause_ms / 2 + number % (uint32_t)(pause_ms + 1);
}

static aon_result patiently(aon_docket *d, aon_docket_work work, void *arguments, bool *ret_doubt, aon_error *error) {
  int64_t begun_ms = aon_monotonic_ms(d->env), pause_ms = PAUSE_FIRST_MS;
  bool all_ended = false;
  for (int tries = 1;; tries++) {
    *error = (aon_error)AON_ERROR_INIT;
    aon_result result = attempt(d, work, arguments, ret_doubt, error);
    int64_t passed_ms = aon_monotonic_ms(d->env) - begun_ms;
    if (result != AON_TRANSIENT || passed_ms + pause_ms >= AON_DOCKET_PATIENCE_MS)
      return result;
    bool everybody = passed_ms > IN_THE_WAY_MS && !all_ended;
    if (tries == 2 || everybody)
      clear_the_way(d, everybody);
    all_ended = all_ended || everybody;
    aon_sleep_ms(d->env, about(d, pause_ms));
    pause_ms = pause_ms * 2 < PAUSE_LAST_MS ? pause_ms * 2 : PAUSE_LAST_MS;
  }
}

aon_result aon_docket_write(aon_docket *d, const char *doing, aon_docket_work work, void *arguments, aon_error *error) {
  aon_error failure = AON_ERROR_INIT;
  bool doubt = false;
  aon_result result = patiently(d, work, arguments, &doubt, &failure);
  if (result && doubt && d->failed)
    result = aon_fail(&failure, AON_UNKNOWN, "journal_unknown",
                      "The journal did not answer while %s, and could not be asked again since; whether it is recorded will be read back. "
                      "Look after the server, then run aon recover.",
                      doing);
  if (result && error)
    *error = failure;
  return result;
}

aon_result aon_docket_read(aon_docket *d, bool again, const char *doing, aon_docket_work work, void *arguments, aon_error *error) {
  (void)doing;
  aon_error failure = AON_ERROR_INIT;
  bool ignored = false;
  if (d->absent)
    return work(d, arguments, error);
  aon_result result = again ? patiently(d, work, arguments, &ignored, &failure) : attempt(d, work, arguments, &ignored, &failure);
  if (result && error)
    *error = failure;
  return result;
}
