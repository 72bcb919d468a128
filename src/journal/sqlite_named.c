/* Named locks in the ledger: leases with a fencing epoch, shared or exclusive, for names, documents and properties.
 *
 * Invariants: an epoch is never given twice in one journal; an expired lease binds nobody; a writer that was refused goes before
 * later readers for AON_LEDGER_WAIT_MS after it last asked; a document that a bulk operation holds can't be locked, and one that
 * is locked can't be logged by a bulk operation (sqlite_locks.c). */
#include <string.h>

#include "journal/sqlite_ledger.h"
#include "model/text.h"

typedef struct lock_call {
  const char *name, *holder;
  bool shared;
  int64_t lease_ms, epoch, now;
  aon_lock_about about;
  char in_the_way[80]; /* "" none */
  int64_t since_ms;
} lock_call;

/* ---- taking ---- */

static void in_the_way(lock_call *call, const char *holder, int64_t since_ms) {
  snprintf(call->in_the_way, sizeof call->in_the_way, "%s", holder);
  call->since_ms = since_ms;
}

/* Two properties of one document exclude each other only if they are the same one. */
static bool excludes(const lock_call *call, const char *name) {
  if (!call->about.of_document || !strcmp(name, call->name))
    return !strcmp(name, call->name);
  aon_lock_name other = aon_lock_name_read(name);
  bool same =
      other.store.length == call->about.name.store.length && other.collection.length == call->about.name.collection.length &&
      other.document.length == call->about.name.document.length &&
      !memcmp(other.store.data, call->about.name.store.data, other.store.length + 1 + other.collection.length + 1 + other.document.length);
  return same && (strcmp(other.kind, "property") || strcmp(call->about.name.kind, "property"));
}

static aon_result other_holders(aon_ledger *ledger, lock_call *call, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result;
  if (call->about.of_document)
    result = aon_ledger_query(ledger,
                              "select name, holder, since_ms from named_locks where hash = ? and holder <> ? and lease_until_ms > ?"
                              " and (shared = 0 or ? = 0)",
                              &statement, error, "itii", call->about.hash, call->holder, call->now, (int64_t)call->shared);
  else
    result = aon_ledger_query(ledger,
                              "select name, holder, since_ms from named_locks where name = ? and holder <> ? and lease_until_ms > ?"
                              " and (shared = 0 or ? = 0)",
                              &statement, error, "ttii", call->name, call->holder, call->now, (int64_t)call->shared);
  while (!result && !call->in_the_way[0] && !(result = aon_sqlite_step(ledger->database, statement, error)))
    if (excludes(call, aon_ledger_text(statement, 0)))
      in_the_way(call, aon_ledger_text(statement, 1), sqlite3_column_int64(statement, 2));
  return result == AON_END ? AON_OK : result;
}

static aon_result waiting_writer(aon_ledger *ledger, lock_call *call, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result =
      aon_ledger_query(ledger, "select holder, since_ms from lock_waits where name = ? and holder <> ? and until_ms > ? limit 1",
                       &statement, error, "tti", call->name, call->holder, call->now);
  if (!result)
    result = aon_sqlite_step(ledger->database, statement, error);
  if (!result)
    in_the_way(call, aon_ledger_text(statement, 0), sqlite3_column_int64(statement, 1));
  return result == AON_END ? AON_OK : result;
}

static aon_result bulk_holder(aon_ledger *ledger, lock_call *call, aon_error *error) {
  int64_t bulk = 0;
  char id[37];
  aon_result result =
      aon_ledger_holder_of(ledger, call->about.store, call->about.collection, call->about.name.document, call->shared, &bulk, error);
  if (result || !bulk)
    return result;
  result = aon_ledger_id_of(ledger, bulk, id, error);
  int64_t since = 0;
  if (!result)
    result = aon_ledger_number(ledger, "select created_ms from bulk where number = ?", &since, error, "i", bulk);
  if (!result && strcmp(id, call->holder))
    in_the_way(call, id, since);
  return result;
}

static aon_result wait_in_line(aon_ledger *ledger, const lock_call *call, aon_error *error) {
  return aon_ledger_run(ledger,
                        "insert into lock_waits values (?, ?, ?, ?) on conflict do update set since_ms ="
                        " case when until_ms > excluded.since_ms then since_ms else excluded.since_ms end, until_ms = excluded.until_ms",
                        error, "ttii", call->name, call->holder, call->now, call->now + AON_LEDGER_WAIT_MS);
}

static aon_result take(aon_ledger *ledger, lock_call *call, bool renewal, int64_t epoch, aon_error *error) {
  call->epoch = epoch;
  if (renewal)
    return aon_ledger_run(ledger, "update named_locks set lease_until_ms = ?, updated_ms = ? where name = ? and holder = ?", error, "iitt",
                          call->now + call->lease_ms, call->now, call->name, call->holder);
  aon_result result = aon_ledger_number(ledger, "update lock_epoch set epoch = epoch + 1 returning epoch", &call->epoch, error, "");
  if (!result)
    result = aon_ledger_run(ledger, "insert or replace into named_locks values (?, ?, ?, ?, ?, ?, ?, ?, ?)", error, "tttpiiiii", call->name,
                            call->holder, call->about.name.kind, call->about.of_document ? &call->about.hash : NULL, (int64_t)call->shared,
                            call->epoch, call->now, call->now + call->lease_ms, call->now);
  return result ? result
                : aon_ledger_run(ledger, "delete from lock_waits where name = ? and holder = ?", error, "tt", call->name, call->holder);
}

/* Refused: *in_the_way is set and the writer's place in the line is written. */
static aon_result lock_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  lock_call *call = arguments;
  call->in_the_way[0] = 0;
  call->now = aon_now_ms(ledger->env);
  int64_t shared = -1, epoch = 0;
  aon_result result = aon_ledger_number(ledger, "select shared from named_locks where name = ? and holder = ? and lease_until_ms > ?",
                                        &shared, error, "tti", call->name, call->holder, call->now);
  if (!result)
    result = aon_ledger_number(ledger, "select epoch from named_locks where name = ? and holder = ?", &epoch, error, "tt", call->name,
                               call->holder);
  if (!result)
    result = other_holders(ledger, call, error);
  if (!result && !call->in_the_way[0] && call->shared && shared < 0)
    result = waiting_writer(ledger, call, error);
  if (!result && !call->in_the_way[0] && call->about.of_document)
    result = bulk_holder(ledger, call, error);
  if (result)
    return result;
  if (call->in_the_way[0])
    return call->shared ? AON_OK : wait_in_line(ledger, call, error);
  return take(ledger, call, shared == (int64_t)call->shared, epoch, error);
}

aon_result aon_ledger_lock(void *state, const char *name, const char *holder, bool shared, int64_t lease_ms, int64_t *ret_epoch,
                           aon_error *error) {
  if (!name || !*name || !holder || !*holder)
    return aon_fail(error, AON_USAGE, "bad_name", "A lock needs a name and a holder.");
  lock_call call = {.name = name, .holder = holder, .shared = shared, .lease_ms = lease_ms > 0 ? lease_ms : AON_LEDGER_LOCK_LEASE_MS};
  aon_result result = aon_lock_about_read(call.name, &call.about, error);
  if (!result)
    result = aon_ledger_write(state, true, lock_work, &call, error);
  if (result)
    return result;
  if (call.in_the_way[0]) {
    char since[AON_INSTANT_LENGTH + 1];
    aon_instant_format(call.since_ms, since);
    result = aon_fail(error, AON_BUSY, "locked", "“%.200s” is locked by %s since %s. Wait, or ask its holder to release it.", name,
                      call.in_the_way, since);
    if (error)
      memcpy(error->held_by, call.in_the_way, sizeof error->held_by);
    return result;
  }
  *ret_epoch = call.epoch;
  return AON_OK;
}

/* ---- giving back ---- */

static aon_result release_all(aon_ledger *ledger, const char *name, aon_error *error) {
  aon_result result = aon_ledger_run(ledger, "delete from named_locks where name = ?", error, "t", name);
  if (result)
    return result;
  if (aon_ledger_changes(ledger) == 0)
    return aon_fail(error, AON_USAGE, "not_found", "There is no lock “%.200s” that could be released. `aon locks` shows those that are.",
                    name);
  return aon_ledger_run(ledger, "delete from lock_waits where name = ?", error, "t", name);
}

static aon_result unlock_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  const lock_call *call = arguments;
  if (!call->holder)
    return release_all(ledger, call->name, error);
  int64_t epoch = call->epoch;
  aon_result result = aon_ledger_number(ledger, "select epoch from named_locks where name = ? and holder = ?", &epoch, error, "tt",
                                        call->name, call->holder);
  if (!result && epoch != call->epoch)
    return aon_fail(error, AON_FENCED, "lock_lost", "The lock “%.200s” had expired and was taken anew since; it is not given back.",
                    call->name);
  if (!result)
    result = aon_ledger_run(ledger, "delete from named_locks where name = ? and holder = ?", error, "tt", call->name, call->holder);
  return result ? result
                : aon_ledger_run(ledger, "delete from lock_waits where name = ? and holder = ?", error, "tt", call->name, call->holder);
}

aon_result aon_ledger_unlock(void *state, const char *name, const char *holder, int64_t epoch, aon_error *error) {
  lock_call call = {.name = name, .holder = holder, .epoch = epoch};
  return aon_ledger_write(state, false, unlock_work, &call, error);
}

/* ---- listing ---- */

typedef struct lock_page {
  aon_arena arena;
  aon_lock locks[AON_LEDGER_PAGE];
  size_t count;
} lock_page;

/* Columns: name, holder, kind, shared, epoch, since, lease until, updated. */
static aon_result read_page(aon_ledger *ledger, sqlite3_stmt *statement, lock_page *page, aon_error *error) {
  aon_result result = AON_OK;
  page->count = 0;
  while (!result && !(result = aon_sqlite_step(ledger->database, statement, error))) {
    aon_lock *lock = &page->locks[page->count++];
    *lock = (aon_lock){.shared = sqlite3_column_int64(statement, 3) != 0,
                       .epoch = sqlite3_column_int64(statement, 4),
                       .since_ms = sqlite3_column_int64(statement, 5),
                       .lease_until_ms = sqlite3_column_int64(statement, 6),
                       .updated_ms = sqlite3_column_int64(statement, 7)};
    const char **const texts[] = {&lock->name, &lock->holder, &lock->kind};
    for (int i = 0; !result && i < 3; i++)
      result = aon_ledger_copy(statement, i, &page->arena, texts[i], error);
  }
  return result == AON_END ? AON_OK : result;
}

/* Pages by offset: locks are few, and one that comes or goes meanwhile may be missed in any case. */
static aon_result list_locks(aon_ledger *ledger, const char *sql, aon_lock_each each, void *context, aon_error *error) {
  lock_page page = {.count = AON_LEDGER_PAGE};
  aon_result result = AON_OK;
  for (int64_t offset = 0; !result && page.count == AON_LEDGER_PAGE; offset += AON_LEDGER_PAGE) {
    AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
    aon_arena_reset(&page.arena);
    result = aon_ledger_query(ledger, sql, &statement, error, "iii", aon_now_ms(ledger->env), (int64_t)AON_LEDGER_PAGE, offset);
    if (!result)
      result = read_page(ledger, statement, &page, error);
    aon_sqlite_done(&statement);
    for (size_t i = 0; !result && i < page.count; i++)
      result = each(context, &page.locks[i], error);
  }
  aon_arena_release(&page.arena);
  return result;
}

aon_result aon_ledger_locks(void *state, aon_lock_each each, void *context, aon_error *error) {
  aon_result result = list_locks(state,
                                 "select name, holder, kind, shared, epoch, since_ms, lease_until_ms, updated_ms from named_locks"
                                 " where lease_until_ms > ? order by name, holder limit ? offset ?",
                                 each, context, error);
  if (!result)
    result =
        list_locks(state,
                   "select id, id, 'documents', 0, epoch, created_ms, case state when 'held' then hold_until_ms else lease_until_ms end,"
                   " changed_ms from bulk where holds = 1 and ? > 0 order by number limit ? offset ?",
                   each, context, error);
  if (!result)
    result =
        list_locks(state,
                   "select c.store || '/' || c.collection || '/' || c.document_id, b.id, 'conflict', 0, b.epoch, c.since_ms, 0, c.since_ms"
                   " from conflicts c join bulk b on b.number = c.bulk where c.watched = 0 and ? > 0 order by c.bulk, c.sequence"
                   " limit ? offset ?",
                   each, context, error);
  return result == AON_END ? AON_OK : result;
}

/* ---- sweeping ---- */

static aon_result sweep_work(aon_ledger *ledger, void *arguments, aon_error *error) {
  uint64_t *freed = arguments;
  int64_t now = aon_now_ms(ledger->env);
  aon_result result = aon_ledger_run(ledger, "delete from named_locks where lease_until_ms <= ?", error, "i", now);
  *freed = result ? 0 : (uint64_t)aon_ledger_changes(ledger);
  if (!result)
    result = aon_ledger_run(ledger, "delete from lock_waits where until_ms <= ?", error, "i", now);
  /* Runs of what has ended free nobody any more: they only take room. Those that conflicts are found by stay. */
  return result ? result
                : aon_ledger_run(
                      ledger,
                      "delete from lock_runs where number in (select r.number from lock_runs r join bulk b on b.number = r.bulk"
                      " where b.holds = 0 and not exists (select 1 from conflicts c where c.bulk = r.bulk and c.watched = 0) limit ?)",
                      error, "i", (int64_t)AON_LEDGER_SWEEP_RUNS);
}

aon_result aon_ledger_sweep_locks(void *state, uint64_t *ret_freed, aon_error *error) {
  uint64_t freed = 0;
  aon_result result = aon_ledger_write(state, false, sweep_work, &freed, error);
  if (!result && ret_freed)
    *ret_freed = freed;
  return result;
}
