/* Locks of documents in the ledger, kept beside the log as sorted runs of hashes, and who else holds one of a call's.
 *
 * Invariants: a hash alone never locks an operation's document: the entry behind it is decoded and compared (a claim has
 * nothing but its hash); the filter holds every hash of every run, so its no is final; runs are only appended, and taken away
 * when their bulk operation holds nothing any more. */
#include <endian.h>
#include <string.h>

#include "journal/sqlite_ledger.h"
#include "model/text.h"

/* ---- runs ---- */

uint64_t aon_ledger_run_hash(const aon_ledger_locks_run *from, size_t index) {
  uint64_t hash;
  memcpy(&hash, from->bytes + index * 8, 8);
  return le64toh(hash);
}

uint32_t aon_ledger_run_at(const aon_ledger_locks_run *from, size_t index) {
  uint32_t at;
  memcpy(&at, from->bytes + from->count * 8 + index * 4, 4);
  return le32toh(at);
}

size_t aon_ledger_run_seek(const aon_ledger_locks_run *from, size_t index, uint64_t hash) {
  size_t low = index, high = from->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (aon_ledger_run_hash(from, middle) < hash)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

aon_result aon_ledger_run_of(sqlite3_stmt *statement, int column, aon_ledger_locks_run *ret_run, aon_error *error) {
  size_t length = (size_t)sqlite3_column_bytes(statement, column);
  aon_ledger_locks_run found = {.bytes = sqlite3_column_blob(statement, column), .count = length / AON_LEDGER_RUN_ENTRY};
  if (length % AON_LEDGER_RUN_ENTRY || (length && !found.bytes))
    return aon_fail(error, AON_CORRUPT, "corrupt", "The locks in the journal are damaged. Restore the journal from a backup.");
  *ret_run = found;
  return AON_OK;
}

aon_result aon_ledger_run_keep(aon_ledger *ledger, int64_t bulk, int64_t first, const aon_ledger_entry *entries, size_t count,
                               uint32_t from, uint32_t operations, bool claims, bool shared, aon_error *error) {
  aon_buffer *out = &ledger->run;
  aon_buffer_clear(out);
  aon_result result = aon_buffer_reserve(out, count * AON_LEDGER_RUN_ENTRY, error);
  size_t kept = 0;
  for (size_t i = 0; !result && i < count; i++)
    kept += entries[i].shared == shared && (entries[i].at == AON_LEDGER_CLAIM ? claims : entries[i].at - from < operations);
  if (result || kept == 0)
    return result;
  unsigned char *hashes = (unsigned char *)out->data, *offsets = hashes + kept * 8;
  for (size_t i = 0; i < count; i++) {
    bool claim = entries[i].at == AON_LEDGER_CLAIM;
    if (entries[i].shared != shared || !(claim ? claims : entries[i].at - from < operations))
      continue;
    uint64_t hash = htole64(entries[i].hash);
    uint32_t at = htole32(claim ? AON_LEDGER_CLAIM : entries[i].at - from);
    memcpy(hashes, &hash, 8);
    memcpy(offsets, &at, 4);
    hashes += 8;
    offsets += 4;
  }
  return aon_ledger_run(ledger, "insert into lock_runs (bulk, first, shared, count, hashes) values (?, ?, ?, ?, ?)", error, "iiiib", bulk,
                        first, (int64_t)shared, (int64_t)kept, out->data, kept * AON_LEDGER_RUN_ENTRY);
}

/* ---- filter ---- */

static aon_result filter_make(aon_ledger *ledger, aon_error *error) {
  int64_t expected = 0;
  aon_result result = aon_ledger_number(ledger, "select sum(r.count) from bulk b join lock_runs r on r.bulk = b.number where b.holds = 1",
                                        &expected, error, "");
  if (result)
    return result;
  ledger->filter_last = 0;
  return aon_filter_make(&ledger->filter, (uint64_t)expected) ? AON_OK : aon_fail_memory(error);
}

/* Runs of bulk operations that hold nothing any more are left out when it is made anew, but not noticed one by one. */
aon_result aon_ledger_filter(aon_ledger *ledger, aon_error *error) {
  aon_result result = AON_OK;
  if (!ledger->filter.words || aon_filter_crowded(&ledger->filter))
    result = filter_make(ledger, error);
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  if (!result)
    result = aon_ledger_query(ledger,
                              "select r.number, r.hashes from lock_runs r where r.number > ?"
                              " and exists (select 1 from bulk b where b.number = r.bulk and b.holds = 1) order by r.number",
                              &statement, error, "i", ledger->filter_last);
  while (!result && !(result = aon_sqlite_step(ledger->database, statement, error))) {
    aon_ledger_locks_run found;
    result = aon_ledger_run_of(statement, 1, &found, error);
    for (size_t i = 0; !result && i < found.count; i++)
      aon_filter_add(&ledger->filter, aon_ledger_run_hash(&found, i));
    if (!result)
      ledger->filter_last = sqlite3_column_int64(statement, 0);
  }
  return result == AON_END ? AON_OK : result;
}

/* ---- collisions ---- */

typedef struct collision {
  aon_ledger *ledger;
  const aon_ledger_head *head;
  const aon_operation *operations;
  const aon_ledger_entry *entries; /* those that may be held */
  size_t count;
  uint32_t at; /* of the first one found to be held */
  bool found;
  int64_t bulk; /* who holds it; 0: the holder of a named lock */
  char holder[80];
} collision;

static bool better(const collision *so_far, uint32_t at) { return !so_far->found || at < so_far->at; }

static void found_at(collision *search, uint32_t at, int64_t bulk, const char *holder) {
  search->found = true;
  search->at = at;
  search->bulk = bulk;
  snprintf(search->holder, sizeof search->holder, "%s", holder ? holder : "");
}

/* One entry of ours against one of another's run. */
static aon_result confirm(collision *search, const aon_ledger_entry *ours, int64_t bulk, int64_t first, uint32_t theirs, bool shared,
                          aon_error *error) {
  if ((shared && ours->shared) || !better(search, ours->at))
    return AON_OK;
  if (theirs != AON_LEDGER_CLAIM && ours->at != AON_LEDGER_CLAIM) {
    const aon_operation *mine = &search->operations[ours->at], *other;
    aon_result result = aon_ledger_peek(search->ledger, bulk, first, theirs, &other, error);
    if (result)
      return result;
    if (other && !aon_piece_is_about(other, mine->collection->store, mine->collection->name, mine->id))
      return AON_OK; /* only the hashes are the same */
  }
  found_at(search, ours->at, bulk, NULL);
  return AON_OK;
}

static aon_result meet_run(collision *search, sqlite3_stmt *statement, aon_error *error) {
  aon_ledger_locks_run theirs;
  int64_t bulk = sqlite3_column_int64(statement, 0), first = sqlite3_column_int64(statement, 1);
  bool shared = sqlite3_column_int64(statement, 2) != 0;
  aon_result result = aon_ledger_run_of(statement, 3, &theirs, error);
  size_t from = 0;
  for (size_t i = 0; !result && i < search->count && from < theirs.count; i++) {
    from = aon_ledger_run_seek(&theirs, from, search->entries[i].hash);
    for (size_t at = from; !result && at < theirs.count && aon_ledger_run_hash(&theirs, at) == search->entries[i].hash; at++)
      result = confirm(search, &search->entries[i], bulk, first, aon_ledger_run_at(&theirs, at), shared, error);
  }
  return result;
}

static aon_result meet_runs(collision *search, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result = aon_ledger_query(search->ledger,
                                       "select r.bulk, r.first, r.shared, r.hashes from bulk b cross join lock_runs r on r.bulk = b.number"
                                       " where b.holds = 1 and b.number <> ? order by b.number, r.first",
                                       &statement, error, "i", search->head->number);
  while (!result && !(result = aon_sqlite_step(search->ledger->database, statement, error)))
    result = meet_run(search, statement, error);
  return result == AON_END ? AON_OK : result;
}

/* Only what the filter lets through is looked for in the runs of others. */
static aon_result collide_runs(collision *search, aon_error *error) {
  int64_t others = 0;
  aon_result result = aon_ledger_number(search->ledger, "select 1 from bulk where holds = 1 and number <> ? limit 1", &others, error, "i",
                                        search->head->number);
  if (!result && others)
    result = aon_ledger_filter(search->ledger, error);
  if (result || !others)
    return result;
  AON_BUFFER_CLEANUP aon_buffer maybe = {0};
  const aon_ledger_entry *all = search->entries;
  size_t count = search->count;
  for (size_t i = 0; !result && i < count; i++)
    if (aon_filter_maybe(&search->ledger->filter, all[i].hash))
      result = aon_buffer_append(&maybe, &all[i], sizeof all[i], error);
  if (result || maybe.length == 0)
    return result;
  search->entries = (const aon_ledger_entry *)(const void *)maybe.data;
  search->count = maybe.length / sizeof *all;
  result = meet_runs(search, error);
  search->entries = all;
  search->count = count;
  return result;
}

static aon_result meet_conflict(collision *search, const aon_ledger_entry *ours, aon_error *error) {
  AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
  aon_result result = aon_ledger_query(
      search->ledger, "select bulk, store, collection, document_id from conflicts where hash = ? and watched = 0 and bulk <> ?", &statement,
      error, "ii", (int64_t)ours->hash, search->head->number);
  while (!result && !(result = aon_sqlite_step(search->ledger->database, statement, error))) {
    aon_text document = {aon_ledger_text(statement, 3), (size_t)sqlite3_column_bytes(statement, 3)};
    if (better(search, ours->at) &&
        (ours->at == AON_LEDGER_CLAIM ||
         aon_piece_is_about(&search->operations[ours->at], aon_ledger_text(statement, 1), aon_ledger_text(statement, 2), document)))
      found_at(search, ours->at, sqlite3_column_int64(statement, 0), NULL);
  }
  return result == AON_END ? AON_OK : result;
}

static aon_result collide_conflicts(collision *search, aon_error *error) {
  int64_t any = 0;
  aon_result result = aon_ledger_number(search->ledger, "select 1 from conflicts where watched = 0 and bulk <> ? limit 1", &any, error, "i",
                                        search->head->number);
  for (size_t i = 0; !result && any && i < search->count; i++)
    result = meet_conflict(search, &search->entries[i], error);
  return result;
}

static bool same_text(aon_text text, const char *other) { return text.length == strlen(other) && !memcmp(text.data, other, text.length); }

static bool names_document(const collision *search, const aon_ledger_entry *ours, const char *name) {
  if (ours->at == AON_LEDGER_CLAIM)
    return true;
  const aon_operation *mine = &search->operations[ours->at];
  aon_lock_name lock = aon_lock_name_read(name);
  return same_text(lock.store, mine->collection->store) && same_text(lock.collection, mine->collection->name) &&
         lock.document.length == mine->id.length && !memcmp(lock.document.data, mine->id.data, mine->id.length);
}

/* Locks that callers have taken on documents and properties. */
static aon_result collide_named(collision *search, const char *id, aon_error *error) {
  int64_t any = 0;
  aon_result result = aon_ledger_number(search->ledger, "select 1 from named_locks where hash is not null limit 1", &any, error, "");
  int64_t now = aon_now_ms(search->ledger->env);
  for (size_t i = 0; !result && any && i < search->count; i++) {
    const aon_ledger_entry *ours = &search->entries[i];
    AON_SQLITE_DONE sqlite3_stmt *statement = NULL;
    result = aon_ledger_query(
        search->ledger,
        "select holder, name from named_locks where hash = ? and lease_until_ms > ? and holder <> ? and (shared = 0 or ? = 0)", &statement,
        error, "iiti", (int64_t)ours->hash, now, id, (int64_t)ours->shared);
    while (!result && !(result = aon_sqlite_step(search->ledger->database, statement, error)))
      if (better(search, ours->at) && names_document(search, ours, aon_ledger_text(statement, 1)))
        found_at(search, ours->at, 0, aon_ledger_text(statement, 0));
    result = result == AON_END ? AON_OK : result;
  }
  return result;
}

static aon_result describe(const collision *search, const char *id, aon_ledger_hit *ret_hit, aon_error *error) {
  aon_ledger_hit hit = {.found = true,
                        .sequence = search->at == AON_LEDGER_CLAIM ? AON_NO_OPERATION : search->operations[search->at].sequence};
  memcpy(hit.holder, search->holder, sizeof hit.holder);
  if (search->bulk) {
    char holder[37];
    int64_t age = 0;
    aon_result result = aon_ledger_id_of(search->ledger, search->bulk, holder, error);
    if (!result)
      result = aon_ledger_number(search->ledger, "select age_ms from bulk where number = ?", &age, error, "i", search->bulk);
    if (result)
      return result;
    memcpy(hit.holder, holder, sizeof holder);
    hit.older = age < search->head->age_ms || (age == search->head->age_ms && strcmp(holder, id) < 0);
  }
  *ret_hit = hit;
  return AON_OK;
}

aon_result aon_ledger_collide(aon_ledger *ledger, const char *id, const aon_ledger_head *head, const aon_ledger_entry *entries,
                              size_t count, const aon_operation *operations, aon_ledger_hit *ret_hit, aon_error *error) {
  collision search = {.ledger = ledger, .head = head, .operations = operations, .entries = entries, .count = count};
  aon_result result = collide_runs(&search, error);
  if (!result)
    result = collide_conflicts(&search, error);
  if (!result)
    result = collide_named(&search, id, error);
  if (result)
    return result;
  *ret_hit = (aon_ledger_hit){0};
  return search.found ? describe(&search, id, ret_hit, error) : AON_OK;
}
