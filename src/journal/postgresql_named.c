/* Named locks in the register: leases with a fencing epoch, shared or exclusive, for names, documents and properties.
 *
 * Invariants: an epoch is never given twice in one journal; an expired lease binds nobody; a writer that was refused goes before later
 * readers for AON_REGISTER_WAIT_MS after it last asked; a document that a bulk operation holds can't be locked, and one that is locked
 * can't be logged by a bulk operation (postgresql_log.c): both ask and take while they have the turn. */
#include <string.h>

#include "journal/lock_name.h"
#include "journal/postgresql_register.h"
#include "model/text.h"

/* ---- taking ---- */

typedef struct lock_call {
  const char *name, *holder;
  bool shared;
  int64_t lease_ms;
  aon_lock_about about;
} lock_call;

/* Who is in the way, and since when, and what follows from it: 'take', 'wait' (a writer gets its place in the line) or 'no'.
 * $1 name, $2 holder, $3 shared, $4 hash (null: only a name), $5 kind. Two properties of one document exclude each other only if they are
 * the same one. Of bulk operations, each document that they change excludes any lock, one that they only refer to excludes a writer's. */
#define LOOK                                                                                                                               \
  "select w.holder, w.since_ms, set_config('aon.lock', case when w.holder is null then 'take' when $3::boolean then 'no' else 'wait' end," \
  " true) from (values (1)) one left join (select holder, since_ms from ("                                                                 \
  " select 1 as rank, n.holder, n.since_ms from aon_journal_named n where n.holder <> $2 and n.lease_until_ms > aon_journal_now()"         \
  " and not (n.shared and $3::boolean) and (n.name = $1 or (n.hash = $4::bigint and (n.kind <> 'property' or $5 <> 'property')))"          \
  " union all select 2, q.holder, q.since_ms from aon_journal_waits q where $3::boolean and q.name = $1 and q.holder <> $2"                \
  " and q.until_ms > aon_journal_now() and not exists (select from aon_journal_named m where m.name = $1 and m.holder = $2"                \
  " and m.lease_until_ms > aon_journal_now())"                                                                                             \
  " union all select 3, b.id, b.created_ms from aon_journal_locks l join aon_journal_bulk b on b.log = l.log and b.holds"                  \
  " where l.hash = $4::bigint and b.id <> $2 and not (l.shared and $3::boolean) and (l.sequence >= 0 or l.shared)"                         \
  " union all select 4, b.id, b.created_ms from aon_journal_conflicts c join aon_journal_bulk b on b.number = c.bulk"                      \
  " where c.hash = $4::bigint and not c.watched and b.id <> $2) all_of_them order by rank limit 1) w on true"

/* A renewal keeps its epoch; taken anew, or of the other kind, it gets a new one. */
#define TAKE                                                                                                                               \
  "insert into aon_journal_named as n (name, holder, kind, hash, shared, epoch, since_ms, lease_until_ms, updated_ms)"                     \
  " select $1, $2, $5, $4::bigint, $3::boolean, nextval('aon_journal_epochs'), now, now + $6::bigint, now from aon_journal_now() as now"   \
  " where current_setting('aon.lock') = 'take' on conflict (name, holder) do update set lease_until_ms = excluded.lease_until_ms,"         \
  " updated_ms = excluded.updated_ms, shared = excluded.shared,"                                                                           \
  " epoch = case when n.lease_until_ms > excluded.updated_ms and n.shared = excluded.shared then n.epoch else excluded.epoch end,"         \
  " since_ms = case when n.lease_until_ms > excluded.updated_ms and n.shared = excluded.shared then n.since_ms else excluded.since_ms end" \
  " returning epoch"

static aon_result locked_by(const lock_call *call, const char *holder, int64_t since_ms, aon_error *error) {
  char since[AON_INSTANT_LENGTH + 1];
  aon_instant_format(since_ms, since);
  aon_result result = aon_fail(error, AON_BUSY, "locked", "“%.200s” is locked by %s since %s. Wait, or ask its holder to release it.",
                               call->name, holder, since);
  if (error)
    snprintf(error->held_by, sizeof error->held_by, "%s", holder);
  return result;
}

aon_result aon_register_lock(void *state, const char *name, const char *holder, bool shared, int64_t lease_ms, int64_t *ret_epoch,
                             aon_error *error) {
  if (!name || !*name || !holder || !*holder)
    return aon_fail(error, AON_USAGE, "bad_name", "A lock needs a name and a holder.");
  lock_call lock = {.name = name, .holder = holder, .shared = shared, .lease_ms = lease_ms > 0 ? lease_ms : AON_REGISTER_LOCK_LEASE_MS};
  AON_REGISTER_CALL call = {0};
  aon_result result = aon_lock_about_read(lock.name, &lock.about, error);
  if (result)
    return result;
  const int64_t *hash = lock.about.of_document ? &lock.about.hash : NULL;
  aon_register_begin(&call, true);
  aon_register_add(&call, "lock table aon_journal_turn in exclusive mode", "");
  aon_register_add(&call, LOOK, "ttopt", name, holder, (int)shared, hash, lock.about.name.kind);
  aon_register_add(&call, TAKE, "ttopti", name, holder, (int)shared, hash, lock.about.name.kind, lock.lease_ms);
  aon_register_add(
      &call,
      "insert into aon_journal_waits as q (name, holder, since_ms, until_ms) select $1, $2, now, now + $3::bigint"
      " from aon_journal_now() as now where current_setting('aon.lock') = 'wait' on conflict (name, holder) do update set since_ms ="
      " case when q.until_ms > excluded.since_ms then q.since_ms else excluded.since_ms end, until_ms = excluded.until_ms",
      "tti", name, holder, (int64_t)AON_REGISTER_WAIT_MS);
  aon_register_add(&call, "delete from aon_journal_waits where name = $1 and holder = $2 and current_setting('aon.lock') = 'take'", "tt",
                   name, holder);
  result = aon_register_run(state, &call, "taking a lock", error);
  if (result)
    return result;
  if (!aon_register_null(&call, 2, 0, 0))
    return locked_by(&lock, aon_register_text(&call, 2, 0, 0), aon_register_int(&call, 2, 0, 1), error);
  *ret_epoch = aon_register_int(&call, 3, 0, 0);
  return AON_OK;
}

/* ---- giving back ---- */

static aon_result release_all(aon_register *r, const char *name, aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_register_begin(&call, false);
  aon_register_add(&call, "delete from aon_journal_named where name = $1 returning 1", "t", name);
  aon_register_add(&call, "delete from aon_journal_waits where name = $1", "t", name);
  aon_result result = aon_register_run(r, &call, "releasing a lock", error);
  if (result || aon_register_rows(&call, 2) || call.tries > 1) /* a try before may have released it */
    return result;
  return aon_fail(error, AON_USAGE, "not_found", "There is no lock “%.200s” that could be released. `aon locks` shows those that are.",
                  name);
}

aon_result aon_register_unlock(void *state, const char *name, const char *holder, int64_t epoch, aon_error *error) {
  aon_register *r = state;
  if (!holder)
    return release_all(r, name, error);
  AON_REGISTER_CALL call = {0};
  aon_register_begin(&call, false);
  aon_register_add(&call, "delete from aon_journal_named where name = $1 and holder = $2 and epoch = $3::bigint", "tti", name, holder,
                   epoch);
  aon_register_add(&call, "select epoch from aon_journal_named where name = $1 and holder = $2", "tt", name, holder);
  aon_register_add(&call,
                   "delete from aon_journal_waits where name = $1 and holder = $2 and not exists"
                   " (select from aon_journal_named where name = $1 and holder = $2)",
                   "tt", name, holder);
  aon_result result = aon_register_run(r, &call, "giving a lock back", error);
  if (result || !aon_register_rows(&call, 3))
    return result;
  return aon_fail(error, AON_FENCED, "lock_lost", "The lock “%.200s” had expired and was taken anew since; it is not given back.", name);
}

/* ---- listing ---- */

/* Columns: name, holder, kind, shared, epoch, since, lease until, updated. */
static aon_result locks_page(aon_register *r, const char *sql, int64_t offset, aon_lock_each each, void *context, bool *ret_more,
                             aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_result result = aon_register_ask(r, &call, "listing locks", sql, error, "ii", (int64_t)AON_REGISTER_PAGE, offset);
  int rows = result ? 0 : aon_register_rows(&call, 0);
  for (int row = 0; !result && row < rows; row++) {
    aon_lock lock = {.name = aon_register_text(&call, 0, row, 0),
                     .holder = aon_register_text(&call, 0, row, 1),
                     .kind = aon_register_text(&call, 0, row, 2),
                     .shared = aon_register_int(&call, 0, row, 3) != 0,
                     .epoch = aon_register_int(&call, 0, row, 4),
                     .since_ms = aon_register_int(&call, 0, row, 5),
                     .lease_until_ms = aon_register_int(&call, 0, row, 6),
                     .updated_ms = aon_register_int(&call, 0, row, 7)};
    result = each(context, &lock, error);
  }
  *ret_more = rows == AON_REGISTER_PAGE;
  return result;
}

/* Pages by offset: locks are few, and one that comes or goes meanwhile may be missed in any case. */
static const char *const listings[] = {
    "select name, holder, kind, shared, epoch, since_ms, lease_until_ms, updated_ms from aon_journal_named"
    " where lease_until_ms > aon_journal_now() order by name, holder limit $1 offset $2",
    "select id, id, 'documents', false, epoch, created_ms, case state when 'held' then hold_until_ms else lease_until_ms end, changed_ms"
    " from aon_journal_bulk where holds order by number limit $1 offset $2",
    "select c.store || '/' || c.collection || '/' || c.document_id, b.id, 'conflict', false, b.epoch, c.since_ms, 0::bigint, c.since_ms"
    " from aon_journal_conflicts c join aon_journal_bulk b on b.number = c.bulk where not c.watched order by c.bulk, c.sequence"
    " limit $1 offset $2",
};

aon_result aon_register_locks(void *state, aon_lock_each each, void *context, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < sizeof listings / sizeof *listings; i++) {
    int64_t offset = 0;
    for (bool more = true; !result && more; offset += AON_REGISTER_PAGE)
      result = locks_page(state, listings[i], offset, each, context, &more, error);
  }
  return result == AON_END ? AON_OK : result;
}

/* ---- sweeping ---- */

/* Rows of what has ended, or of a plan that was given up, free nobody any more: they only take room. Those by which the chain of a document
 * in conflict is found stay. */
#define WASTED                                                                                                                                \
  "(select w.log from aon_journal_waste w where not exists (select from aon_journal_bulk b join aon_journal_conflicts c on c.bulk = b.number" \
  " where b.log = w.log and not c.watched) order by w.log limit 1)"

aon_result aon_register_sweep_locks(void *state, uint64_t *ret_freed, aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_register_begin(&call, false);
  aon_register_add(&call,
                   "with freed as (delete from aon_journal_named where lease_until_ms <= aon_journal_now() returning 1)"
                   " select count(*) from freed",
                   "");
  aon_register_add(&call, "delete from aon_journal_waits where until_ms <= aon_journal_now()", "");
  aon_register_add(
      &call, "delete from aon_journal_locks where ctid = any (array(select ctid from aon_journal_locks where log = " WASTED " limit $1))",
      "i", (int64_t)AON_REGISTER_SWEEP_ROWS);
  /* Segments and names go only with a plan that was given up: those of what has ended are its history. */
  aon_register_add(&call,
                   "delete from aon_journal_segments s where s.log = " WASTED
                   " and not exists (select from aon_journal_bulk b where b.log = s.log)",
                   "");
  aon_register_add(
      &call, "delete from aon_journal_names n where n.log = " WASTED " and not exists (select from aon_journal_bulk b where b.log = n.log)",
      "");
  aon_register_add(&call,
                   "delete from aon_journal_waste where log = " WASTED
                   " and not exists (select from aon_journal_locks l where l.log = aon_journal_waste.log)",
                   "");
  aon_result result = aon_register_run(state, &call, "sweeping locks", error);
  if (!result && ret_freed)
    *ret_freed = (uint64_t)aon_register_int(&call, 2, 0, 0);
  return result;
}
