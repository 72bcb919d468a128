/* Named locks in the docket: leases with a fencing epoch, shared or exclusive, for names, documents and properties.
 *
 * Invariants: an epoch is never given twice in one journal; an expired lease binds nobody; a writer that was refused goes before later
 * readers for AON_DOCKET_WAIT_MS after it last asked; a document that a bulk operation holds can't be locked, and one that is locked can't
 * be logged by a bulk operation (mongodb_log.c): both ask and take while they have the turn. */
#include <string.h>

#include "journal/lock_name.h"
#include "journal/mongodb_docket.h"
#include "model/text.h"

#define SWEEP_RUNS 256 /* documents of locks that one sweep takes away */

/* ---- taking ---- */

typedef struct lock_call {
  const char *name, *holder;
  bool shared;
  int64_t lease_ms, epoch;
  aon_lock_about about;
  bool blocked; /* by whom, and since when: */
  char by[320];
  int64_t since_ms;
} lock_call;

static aon_result key_of(const char *name, const char *holder, aon_buffer *key, aon_error *error) {
  return aon_buffer_format(key, error, "%zu:%s:%s", strlen(name), name, holder);
}

static void blocked(lock_call *call, const char *by, int64_t since_ms) {
  call->blocked = true;
  call->since_ms = since_ms;
  snprintf(call->by, sizeof call->by, "%s", by ? by : "somebody");
}

/* Two properties of one document exclude each other only if they are the same one. */
static aon_result blocked_by_named(aon_docket *d, lock_call *call, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  bson_t *filter = call->about.of_document ? BCON_NEW("$or", "[", "{", "name", BCON_UTF8(call->name), "}", "{", "of_document",
                                                      BCON_BOOL(true), "hash", BCON_INT64(call->about.hash), "}", "]")
                                           : BCON_NEW("name", BCON_UTF8(call->name));
  bool property = !strcmp(call->about.name.kind, "property");
  aon_result result = aon_docket_find(d, AON_DOCKET_NAMED, filter, NULL, &rows, "taking a lock", error);
  for (size_t i = 0; !result && !call->blocked && i < rows.count; i++) {
    const aon_docket_row *row = &rows.rows[i];
    const char *name = aon_docket_text(row, "name"), *holder = aon_docket_text(row, "holder"), *kind = aon_docket_text(row, "kind");
    bool same_name = name && !strcmp(name, call->name);
    if (!holder || !strcmp(holder, call->holder) || aon_docket_int(row, "lease_until_ms") <= d->now_ms ||
        (call->shared && aon_docket_int(row, "shared")) || (!same_name && property && kind && !strcmp(kind, "property")))
      continue;
    blocked(call, holder, aon_docket_int(row, "since_ms"));
  }
  return result;
}

/* A reader that has the lock already goes on having it. own: its document, where it is still good. */
static aon_result blocked_by_waiting(aon_docket *d, lock_call *call, bool has_it, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  if (!call->shared || has_it)
    return AON_OK;
  aon_result result = aon_docket_find(d, AON_DOCKET_WAITS,
                                      BCON_NEW("name", BCON_UTF8(call->name), "holder", "{", "$ne", BCON_UTF8(call->holder), "}",
                                               "until_ms", "{", "$gt", BCON_INT64(d->now_ms), "}"),
                                      BCON_NEW("limit", BCON_INT64(1)), &rows, "taking a lock", error);
  if (!result && rows.count)
    blocked(call, aon_docket_text(&rows.rows[0], "holder"), aon_docket_int(&rows.rows[0], "since_ms"));
  return result;
}

/* Of bulk operations, each document that they change excludes any lock, one that they only refer to excludes a writer's. */
static aon_result blocked_by_bulk(aon_docket *d, lock_call *call, aon_error *error) {
  AON_DOCKET_ROWS holding = {0};
  aon_result result = aon_docket_holding(d, call->holder, &holding, error);
  for (size_t i = 0; !result && !call->blocked && i < holding.count; i++) {
    AON_DOCKET_ROWS rows = {0};
    int64_t log = aon_docket_int(&holding.rows[i], "log");
    result = aon_docket_runs_with(d, &log, 1, &(uint64_t){(uint64_t)call->about.hash}, 1, &rows, error);
    for (size_t r = 0; !result && !call->blocked && r < rows.count; r++) {
      aon_docket_run run;
      result = aon_docket_run_from(&rows.rows[r], &run, error);
      if (result || (run.shared && call->shared))
        continue;
      for (size_t at = aon_docket_run_seek(&run, (uint64_t)call->about.hash);
           at < run.count && aon_docket_run_at(&run, at).hash == (uint64_t)call->about.hash; at++)
        if (run.shared || aon_docket_run_at(&run, at).at != AON_DOCKET_CLAIM)
          blocked(call, aon_docket_text(&holding.rows[i], "_id"), aon_docket_int(&holding.rows[i], "created_ms"));
    }
  }
  return result;
}

static aon_result blocked_by_conflict(aon_docket *d, lock_call *call, aon_error *error) {
  AON_DOCKET_ROWS conflicts = {0}, rows = {0};
  aon_result result = aon_docket_find(d, AON_DOCKET_CONFLICTS, BCON_NEW("hash", BCON_INT64(call->about.hash), "watched", BCON_BOOL(false)),
                                      NULL, &conflicts, "taking a lock", error);
  for (size_t i = 0; !result && !call->blocked && i < conflicts.count; i++) {
    result = aon_docket_find(d, AON_DOCKET_BULK, BCON_NEW("number", BCON_INT64(aon_docket_int(&conflicts.rows[i], "bulk"))), NULL, &rows,
                             "taking a lock", error);
    const char *id = !result && rows.count ? aon_docket_text(&rows.rows[0], "_id") : NULL;
    if (id && strcmp(id, call->holder))
      blocked(call, id, aon_docket_int(&rows.rows[0], "created_ms"));
  }
  return result;
}

/* A renewal keeps its epoch; taken anew, or of the other kind, it gets a new one. */
static aon_result take(aon_docket *d, lock_call *call, const char *key, const aon_docket_row *own, bool has_it, aon_error *error) {
  bool renewed = has_it && (aon_docket_int(own, "shared") != 0) == call->shared;
  int64_t now = d->now_ms, since_ms = renewed ? aon_docket_int(own, "since_ms") : now;
  aon_result result = AON_OK;
  if (renewed)
    call->epoch = aon_docket_int(own, "epoch");
  else
    result = aon_docket_next(d, "epochs", &call->epoch, error);
  if (!result)
    result = aon_docket_update(d, AON_DOCKET_NAMED, BCON_NEW("_id", BCON_UTF8(key)),
                               BCON_NEW("$set", "{", "name", BCON_UTF8(call->name), "holder", BCON_UTF8(call->holder), "kind",
                                        BCON_UTF8(call->about.name.kind), "of_document", BCON_BOOL(call->about.of_document), "hash",
                                        BCON_INT64(call->about.hash), "shared", BCON_BOOL(call->shared), "epoch", BCON_INT64(call->epoch),
                                        "since_ms", BCON_INT64(since_ms), "lease_until_ms", BCON_INT64(now + call->lease_ms), "updated_ms",
                                        BCON_INT64(now), "}"),
                               true, NULL, error);
  return result ? result : aon_docket_delete(d, AON_DOCKET_WAITS, BCON_NEW("_id", BCON_UTF8(key)), NULL, error);
}

/* A writer that has to wait gets its place in the line. */
static aon_result wait_in_line(aon_docket *d, const lock_call *call, const char *key, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  if (call->shared)
    return AON_OK;
  aon_result result = aon_docket_find(d, AON_DOCKET_WAITS, BCON_NEW("_id", BCON_UTF8(key)), NULL, &rows, "taking a lock", error);
  bool waits = !result && rows.count && aon_docket_int(&rows.rows[0], "until_ms") > d->now_ms;
  int64_t since_ms = waits ? aon_docket_int(&rows.rows[0], "since_ms") : d->now_ms;
  return result ? result
                : aon_docket_update(d, AON_DOCKET_WAITS, BCON_NEW("_id", BCON_UTF8(key)),
                                    BCON_NEW("$set", "{", "name", BCON_UTF8(call->name), "holder", BCON_UTF8(call->holder), "since_ms",
                                             BCON_INT64(since_ms), "until_ms", BCON_INT64(d->now_ms + AON_DOCKET_WAIT_MS), "}"),
                                    true, NULL, error);
}

static aon_result lock_work(aon_docket *d, void *arguments, aon_error *error) {
  lock_call *call = arguments;
  AON_DOCKET_ROWS own = {0};
  AON_BUFFER_CLEANUP aon_buffer key = {0};
  call->blocked = false;
  aon_result result = key_of(call->name, call->holder, &key, error);
  if (!result)
    result = aon_docket_turn(d, error);
  if (!result)
    result = aon_docket_find(d, AON_DOCKET_NAMED, BCON_NEW("_id", BCON_UTF8(key.data)), NULL, &own, "taking a lock", error);
  bool has_it = !result && own.count && aon_docket_int(&own.rows[0], "lease_until_ms") > d->now_ms;
  if (!result)
    result = blocked_by_named(d, call, error);
  if (!result && !call->blocked)
    result = blocked_by_waiting(d, call, has_it, error);
  if (!result && !call->blocked && call->about.of_document)
    result = blocked_by_bulk(d, call, error);
  if (!result && !call->blocked && call->about.of_document)
    result = blocked_by_conflict(d, call, error);
  if (result)
    return result;
  return call->blocked ? wait_in_line(d, call, key.data, error) : take(d, call, key.data, own.count ? &own.rows[0] : NULL, has_it, error);
}

static aon_result locked_by(const lock_call *call, aon_error *error) {
  char since[AON_INSTANT_LENGTH + 1];
  aon_instant_format(call->since_ms, since);
  aon_result result = aon_fail(error, AON_BUSY, "locked", "“%.200s” is locked by %s since %s. Wait, or ask its holder to release it.",
                               call->name, call->by, since);
  if (error)
    snprintf(error->held_by, sizeof error->held_by, "%.*s", (int)sizeof error->held_by - 1, call->by);
  return result;
}

aon_result aon_docket_lock(void *state, const char *name, const char *holder, bool shared, int64_t lease_ms, int64_t *ret_epoch,
                           aon_error *error) {
  if (!name || !*name || !holder || !*holder)
    return aon_fail(error, AON_USAGE, "bad_name", "A lock needs a name and a holder.");
  lock_call call = {.name = name, .holder = holder, .shared = shared, .lease_ms = lease_ms > 0 ? lease_ms : AON_DOCKET_LOCK_LEASE_MS};
  aon_result result = aon_lock_about_read(call.name, &call.about, error);
  if (!result)
    result = aon_docket_write(state, "taking a lock", lock_work, &call, error);
  if (!result && call.blocked)
    result = locked_by(&call, error);
  if (!result)
    *ret_epoch = call.epoch;
  return result;
}

/* ---- giving back ---- */

typedef struct unlock_call {
  const char *name, *holder;
  int64_t epoch;
  int tries;
} unlock_call;

static aon_result release_all(aon_docket *d, const unlock_call *call, aon_error *error) {
  int64_t gone = 0;
  aon_result result = aon_docket_delete(d, AON_DOCKET_NAMED, BCON_NEW("name", BCON_UTF8(call->name)), &gone, error);
  if (!result)
    result = aon_docket_delete(d, AON_DOCKET_WAITS, BCON_NEW("name", BCON_UTF8(call->name)), NULL, error);
  if (result || gone || call->tries > 1) /* a try before may have released it */
    return result;
  return aon_fail(error, AON_USAGE, "not_found", "There is no lock “%.200s” that could be released. `aon locks` shows those that are.",
                  call->name);
}

static aon_result unlock_work(aon_docket *d, void *arguments, aon_error *error) {
  unlock_call *call = arguments;
  AON_BUFFER_CLEANUP aon_buffer key = {0};
  AON_DOCKET_ROWS left = {0};
  call->tries++;
  if (!call->holder)
    return release_all(d, call, error);
  aon_result result = key_of(call->name, call->holder, &key, error);
  if (!result)
    result = aon_docket_delete(d, AON_DOCKET_NAMED, BCON_NEW("_id", BCON_UTF8(key.data), "epoch", BCON_INT64(call->epoch)), NULL, error);
  if (!result)
    result = aon_docket_find(d, AON_DOCKET_NAMED, BCON_NEW("_id", BCON_UTF8(key.data)), NULL, &left, "giving a lock back", error);
  if (!result && left.count)
    return aon_fail(error, AON_FENCED, "lock_lost", "The lock “%.200s” had expired and was taken anew since; it is not given back.",
                    call->name);
  return result ? result : aon_docket_delete(d, AON_DOCKET_WAITS, BCON_NEW("_id", BCON_UTF8(key.data)), NULL, error);
}

aon_result aon_docket_unlock(void *state, const char *name, const char *holder, int64_t epoch, aon_error *error) {
  unlock_call call = {.name = name, .holder = holder, .epoch = epoch};
  return aon_docket_write(state, "giving a lock back", unlock_work, &call, error);
}

/* ---- listing ---- */

typedef struct listing {
  aon_docket *d;
  int64_t now_ms;
  aon_lock_each each;
  void *context;
} listing;

static aon_result tell_named(const listing *list, const aon_docket_row *row, aon_error *error) {
  aon_lock lock = {.name = aon_docket_text(row, "name"),
                   .holder = aon_docket_text(row, "holder"),
                   .kind = aon_docket_text(row, "kind"),
                   .shared = aon_docket_int(row, "shared") != 0,
                   .epoch = aon_docket_int(row, "epoch"),
                   .since_ms = aon_docket_int(row, "since_ms"),
                   .lease_until_ms = aon_docket_int(row, "lease_until_ms"),
                   .updated_ms = aon_docket_int(row, "updated_ms")};
  return lock.lease_until_ms > list->now_ms ? list->each(list->context, &lock, error) : AON_OK;
}

static aon_result tell_bulk(const listing *list, const aon_docket_row *row, aon_error *error) {
  const char *id = aon_docket_text(row, "_id"), *state = aon_docket_text(row, "state");
  bool held = state && !strcmp(state, aon_state_name(AON_HELD));
  aon_lock lock = {.name = id,
                   .holder = id,
                   .kind = "documents",
                   .epoch = aon_docket_int(row, "epoch"),
                   .since_ms = aon_docket_int(row, "created_ms"),
                   .lease_until_ms = aon_docket_int(row, held ? "hold_until_ms" : "lease_until_ms"),
                   .updated_ms = aon_docket_int(row, "changed_ms")};
  return list->each(list->context, &lock, error);
}

static aon_result tell_conflict(const listing *list, const aon_docket_row *row, aon_error *error) {
  AON_DOCKET_ROWS bulk = {0};
  AON_BUFFER_CLEANUP aon_buffer name = {0};
  const char *store = aon_docket_text(row, "store"), *collection = aon_docket_text(row, "collection"),
             *id = aon_docket_text(row, "document_id");
  aon_result result = aon_docket_find(list->d, AON_DOCKET_BULK, BCON_NEW("number", BCON_INT64(aon_docket_int(row, "bulk"))), NULL, &bulk,
                                      "listing locks", error);
  if (!result)
    result = aon_buffer_format(&name, error, "%s/%s/%s", store ? store : "", collection ? collection : "", id ? id : "");
  if (result || !bulk.count)
    return result;
  int64_t since_ms = aon_docket_int(row, "since_ms");
  aon_lock lock = {.name = name.data,
                   .holder = aon_docket_text(&bulk.rows[0], "_id"),
                   .kind = "conflict",
                   .epoch = aon_docket_int(&bulk.rows[0], "epoch"),
                   .since_ms = since_ms,
                   .updated_ms = since_ms};
  return list->each(list->context, &lock, error);
}

typedef struct listed {
  const char *collection, *by, *only; /* only: a flag that must be `is` */
  bool is;
  aon_result (*tell)(const listing *list, const aon_docket_row *row, aon_error *error);
} listed;

static const listed listings[] = {{AON_DOCKET_NAMED, "_id", NULL, false, tell_named},
                                  {AON_DOCKET_BULK, "number", "holds", true, tell_bulk},
                                  {AON_DOCKET_CONFLICTS, "_id", "watched", false, tell_conflict}};

/* Pages by their place: locks are few, and one that comes or goes meanwhile may be missed in any case. */
aon_result aon_docket_locks(void *state, aon_lock_each each, void *context, aon_error *error) {
  listing list = {.d = state, .each = each, .context = context};
  aon_result result = aon_docket_now(state, &list.now_ms, error);
  for (size_t i = 0; !result && i < sizeof listings / sizeof *listings; i++) {
    bool more = true;
    for (int64_t skip = 0; !result && more; skip += AON_DOCKET_PAGE) {
      AON_DOCKET_ROWS rows = {0};
      bson_t *options = aon_docket_sorted(listings[i].by, 1, AON_DOCKET_PAGE);
      BSON_APPEND_INT64(options, "skip", skip);
      result = aon_docket_find(state, listings[i].collection,
                               listings[i].only ? BCON_NEW(listings[i].only, BCON_BOOL(listings[i].is)) : bson_new(), options, &rows,
                               "listing locks", error);
      for (size_t r = 0; !result && r < rows.count; r++)
        result = listings[i].tell(&list, &rows.rows[r], error);
      more = rows.count == AON_DOCKET_PAGE;
    }
  }
  return result == AON_END ? AON_OK : result;
}

/* ---- sweeping ---- */

static aon_result expired_work(aon_docket *d, void *arguments, aon_error *error) {
  int64_t *freed = arguments;
  aon_result result =
      aon_docket_delete(d, AON_DOCKET_NAMED, BCON_NEW("lease_until_ms", "{", "$lte", BCON_INT64(d->now_ms), "}"), freed, error);
  return result ? result
                : aon_docket_delete(d, AON_DOCKET_WAITS, BCON_NEW("until_ms", "{", "$lte", BCON_INT64(d->now_ms), "}"), NULL, error);
}

typedef struct waste_call {
  int64_t log;
  bool given_up; /* no bulk operation has that log any more */
} waste_call;

/* The first ones of a collection that belong to a log; *ret_any: there were some. */
static aon_result waste_of(aon_docket *d, const char *collection, int64_t log, bool *ret_any, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  bson_t *options = aon_docket_sorted("_id", 1, SWEEP_RUNS);
  BCON_APPEND(options, "projection", "{", "_id", BCON_INT32(1), "}");
  aon_result result = aon_docket_find(d, collection, aon_docket_range(log, 0, INT64_MAX), options, &rows, "sweeping locks", error);
  *ret_any = rows.count > 0;
  if (result || !rows.count)
    return result;
  return aon_docket_delete(d, collection,
                           BCON_NEW("_id", "{", "$gte", BCON_UTF8(aon_docket_text(&rows.rows[0], "_id")), "$lte",
                                    BCON_UTF8(aon_docket_text(&rows.rows[rows.count - 1], "_id")), "}"),
                           NULL, error);
}

/* Segments and names go only with a plan that was given up: those of what has ended are its history. */
static aon_result waste_work(aon_docket *d, void *arguments, aon_error *error) {
  const waste_call *call = arguments;
  static const char *const collections[] = {AON_DOCKET_LOCKS, AON_DOCKET_LOG, AON_DOCKET_PARTS, AON_DOCKET_NAMES};
  bool any = false;
  aon_result result = AON_OK;
  for (size_t i = 0; !result && !any && i < (call->given_up ? sizeof collections / sizeof *collections : 1); i++)
    result = waste_of(d, collections[i], call->log, &any, error);
  return result || any ? result : aon_docket_delete(d, AON_DOCKET_WASTE, BCON_NEW("_id", BCON_INT64(call->log)), NULL, error);
}

/* Those by which the chain of a document in conflict is found stay. */
static aon_result still_needed(aon_docket *d, const aon_docket_rows *bulk, bool *ret_needed, aon_error *error) {
  AON_DOCKET_ROWS rows = {0};
  *ret_needed = false;
  if (!bulk->count)
    return AON_OK;
  aon_result result = aon_docket_find(d, AON_DOCKET_CONFLICTS,
                                      BCON_NEW("bulk", BCON_INT64(aon_docket_int(&bulk->rows[0], "number")), "watched", BCON_BOOL(false)),
                                      BCON_NEW("limit", BCON_INT64(1)), &rows, "sweeping locks", error);
  *ret_needed = rows.count > 0;
  return result;
}

/* What has ended, or was given up, binds nobody any more: it only takes room. */
static aon_result sweep_waste(aon_docket *d, aon_error *error) {
  AON_DOCKET_ROWS waste = {0};
  aon_result result =
      aon_docket_find(d, AON_DOCKET_WASTE, bson_new(), aon_docket_sorted("_id", 1, AON_DOCKET_PAGE), &waste, "sweeping locks", error);
  for (size_t i = 0; !result && i < waste.count; i++) {
    AON_DOCKET_ROWS bulk = {0};
    bool needed = false;
    waste_call call = {.log = aon_docket_int(&waste.rows[i], "_id")};
    result = aon_docket_find(d, AON_DOCKET_BULK, BCON_NEW("log", BCON_INT64(call.log)), NULL, &bulk, "sweeping locks", error);
    call.given_up = !bulk.count;
    if (!result)
      result = still_needed(d, &bulk, &needed, error);
    if (!result && !needed)
      result = aon_docket_write(d, "sweeping locks", waste_work, &call, error);
  }
  return result;
}

aon_result aon_docket_sweep_locks(void *state, uint64_t *ret_freed, aon_error *error) {
  int64_t freed = 0;
  aon_result result = aon_docket_write(state, "sweeping locks", expired_work, &freed, error);
  if (!result)
    result = sweep_waste(state, error);
  if (!result && ret_freed)
    *ret_freed = (uint64_t)freed;
  return result;
}
