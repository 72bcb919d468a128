/* The log of one bulk operation in the register: appending operations with their locks, taking them out again, the last operation on a
 * document, clearing images.
 *
 * Invariants: sequences have no gaps; a call is written wholly or not at all; the same call again changes nothing and succeeds; nothing is
 * appended from `logged` on; a lock is written in the transaction that found nobody else holding it, which had the turn meanwhile. */
#include <stdlib.h>
#include <string.h>

#include "journal/postgresql_register.h"
#include "model/text.h"

#define CLAIM_AT INT32_MAX /* place of a lock that is no operation's: behind all that are */

typedef struct entry {
  uint64_t hash;
  int32_t at; /* index in the call, or CLAIM_AT */
  bool shared;
} entry;

typedef struct log_call {
  const char *id;
  int64_t epoch, first; /* first: the next sequence where there are only claims */
  const aon_operation *operations;
  size_t count;
  const aon_claimed *claims;
  size_t claim_count;
  aon_arena arena;
  aon_stored *segments;
  size_t segment_count, collections, texts;                    /* of the dictionary before */
  aon_buffer hashes, shareds, places, sequences, kinds, names; /* arrays for the server */
  bool older;
} log_call;

/* ---- what is sent ---- */

static int entry_order(const void *a, const void *b) {
  const entry *left = a, *right = b;
  if (left->hash != right->hash)
    return left->hash < right->hash ? -1 : 1;
  if (left->shared != right->shared)
    return left->shared ? 1 : -1;
  return left->at < right->at ? -1 : left->at > right->at;
}

static aon_result add_number(aon_buffer *list, int64_t number, aon_error *error) {
  return aon_buffer_format(list, error, list->length ? ",%lld" : "{%lld", (long long)number);
}

static aon_result end_list(aon_buffer *list, aon_error *error) { return aon_buffer_text(list, list->length ? "}" : "{}", error); }

/* Locks of the call as arrays, sorted by hash as the server's index is; a claim that comes several times is one. */
static aon_result send_entries(log_call *call, aon_error *error) {
  size_t all = call->count + call->claim_count;
  entry *entries = aon_arena_alloc(&call->arena, (all ? all : 1) * sizeof *entries);
  if (!entries)
    return aon_fail_memory(error);
  for (size_t i = 0; i < call->count; i++)
    entries[i] = (entry){.hash = aon_operation_hash(&call->operations[i]), .at = (int32_t)i};
  for (size_t i = 0; i < call->claim_count; i++)
    entries[call->count + i] = (entry){.hash = call->claims[i].hash, .at = CLAIM_AT, .shared = call->claims[i].shared};
  qsort(entries, all, sizeof *entries, entry_order);
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < all; i++) {
    if (i && !entry_order(&entries[i - 1], &entries[i]))
      continue;
    result = add_number(&call->hashes, (int64_t)entries[i].hash, error);
    if (!result)
      result = aon_buffer_text(&call->shareds,
                               call->shareds.length ? entries[i].shared ? ",t" : ",f"
                               : entries[i].shared  ? "{t"
                                                    : "{f",
                               error);
    if (!result)
      result = add_number(&call->places, entries[i].at, error);
    if (!result)
      result = add_number(&call->sequences, entries[i].at == CLAIM_AT ? -1 : call->first + entries[i].at, error);
  }
  aon_buffer *const lists[] = {&call->hashes, &call->shareds, &call->places, &call->sequences};
  for (size_t i = 0; !result && i < sizeof lists / sizeof *lists; i++)
    result = end_list(lists[i], error);
  return result;
}

/* What the dictionary has now beyond what it had, as two arrays: kinds and names. */
static aon_result send_names(const aon_register *r, log_call *call, aon_error *error) {
  const aon_dictionary *dictionary = r->names.dictionary;
  size_t collections = aon_dictionary_collections(dictionary), texts = aon_dictionary_texts(dictionary), count = 0;
  aon_result result = aon_postgresql_texts_start(&call->names, error);
  for (size_t i = call->collections; !result && i < collections; i++, count++) {
    const char *name = aon_dictionary_settings_at(dictionary, i);
    result = aon_postgresql_texts_add(&call->names, name, strlen(name), error);
    if (!result)
      result = add_number(&call->kinds, 0, error);
  }
  for (size_t i = call->texts; !result && i < texts; i++, count++) {
    const char *name = aon_dictionary_text_at(dictionary, i);
    result = aon_postgresql_texts_add(&call->names, name, strlen(name), error);
    if (!result)
      result = add_number(&call->kinds, 1, error);
  }
  if (result)
    return result;
  aon_postgresql_texts_end(&call->names, count);
  return end_list(&call->kinds, error);
}

/* ---- the transaction ---- */

/* Whether this call may log, and into which log: '' if it may not. Kept for the statements behind it. */
#define MAY_LOG                                                                                                                            \
  "select set_config('aon.log', coalesce((select log::text from aon_journal_bulk where id = $1 and epoch = $2::bigint"                     \
  " and state in ('queued', 'parsing', 'validating', 'planning') and logged = $3::bigint), ''), true)"
#define LOG "nullif(current_setting('aon.log'), '')::bigint"
#define FREE " where current_setting('aon.log') <> '' and current_setting('aon.held') = ''"

/* The first entry, in the order of the operations, that somebody else holds; null: none. */
#define HELD                                                                                                                               \
  "select h.at, h.bulk, h.holder, o.id, o.age_ms, set_config('aon.held', coalesce(h.at::text, ''), true) from (values (1)) one left join"  \
  " (select e.at, x.bulk, x.holder from unnest($2::bigint[], $3::boolean[], $4::bigint[]) as e (hash, shared, at) cross join lateral"      \
  " (select b.number as bulk, null::text as holder from aon_journal_locks l join aon_journal_bulk b on b.log = l.log and b.holds"          \
  " where l.hash = e.hash and b.id <> $1 and not (l.shared and e.shared)"                                                                  \
  " union all select c.bulk, null from aon_journal_conflicts c join aon_journal_bulk b on b.number = c.bulk"                               \
  " where c.hash = e.hash and not c.watched and b.id <> $1"                                                                                \
  " union all select null, n.holder from aon_journal_named n where n.hash = e.hash and n.lease_until_ms > aon_journal_now()"               \
  " and n.holder <> $1 and not (n.shared and e.shared)) x order by e.at limit 1) h on true left join aon_journal_bulk o on o.number = h.bulk"

#define AT_HEAD 2
#define AT_MAY 3

static size_t add_statements(aon_register_call *out, const log_call *call) {
  aon_register_begin(out, false);
  aon_register_head_add(out, call->id, true);
  aon_register_add(out, MAY_LOG, "tii", call->id, call->epoch, call->first);
  /* Before the turn is taken: what is large must not be waited for by others. */
  for (size_t i = 0; i < call->segment_count; i++) {
    const aon_stored *segment = &call->segments[i];
    aon_register_add(
        out,
        "insert into aon_journal_segments (log, first, count, sealed, operations_sum, images_sum, operations, images) select " LOG
        ", $1::bigint, $2::bigint, $3::boolean, $4::bytea, $5::bytea, $6::bytea, $7::bytea where current_setting('aon.log') <> ''",
        "iiobbbb", segment->first, (int64_t)segment->count, (int)segment->sealed, segment->operations_sum, segment->operations_sum_length,
        segment->images_sum, segment->images_sum_length, segment->operations, segment->operations_length, segment->images,
        segment->images_length);
  }
  aon_register_add(out, "lock table aon_journal_turn in exclusive mode", "");
  size_t at_held = out->count;
  aon_register_add(out, HELD, "tttt", call->id, call->hashes.data, call->shareds.data, call->places.data);
  aon_register_add(out,
                   "insert into aon_journal_locks (hash, log, sequence, shared) select e.hash, " LOG ", e.sequence, e.shared"
                   " from unnest($1::bigint[], $2::boolean[], $3::bigint[]) as e (hash, shared, sequence)" FREE " on conflict do nothing",
                   "ttt", call->hashes.data, call->shareds.data, call->sequences.data);
  aon_register_add(out,
                   "delete from aon_journal_segments where log = " LOG " and first >= $1::bigint and current_setting('aon.held') <> ''",
                   "i", call->first);
  aon_register_add(out,
                   "insert into aon_journal_names (log, kind, name) select " LOG ", e.kind, e.name from unnest($1::bigint[], $2::text[])"
                   " with ordinality as e (kind, name, at)" FREE " order by e.at",
                   "tb", call->kinds.data, call->names.data, call->names.length);
  aon_register_add(out, "update aon_journal_bulk set logged = logged + $1::bigint, holds = true" FREE " and log = " LOG, "i",
                   (int64_t)call->count);
  aon_register_add(out, "select coalesce(max(number), 0) from aon_journal_names where log = " LOG, "");
  return at_held;
}

/* ---- its outcome ---- */

static void note_logged(aon_register *r, const log_call *call) {
  snprintf(r->logged_id, sizeof r->logged_id, "%s", call->id);
  r->logged_log = r->names.log;
  r->logged = call->first + (int64_t)call->count;
}

static aon_result refuse(log_call *call, const aon_register_call *done, size_t held, const aon_register_head *head, aon_error *error) {
  int64_t at = aon_register_int(done, held, 0, 0);
  const char *id = aon_register_text(done, held, 0, 3), *holder = id ? id : aon_register_text(done, held, 0, 2);
  int64_t age_ms = aon_register_int(done, held, 0, 4);
  call->older = id && (age_ms < head->age_ms || (age_ms == head->age_ms && strcmp(id, call->id) < 0));
  aon_result result =
      aon_fail(error, AON_BUSY, "locked", "%s that bulk operation %s needs is held by %s. Wait until that has ended, or ask its owner.",
               at == CLAIM_AT ? "A unique value or a referenced document" : "A document", call->id, holder ? holder : "somebody");
  if (error) {
    snprintf(error->held_by, sizeof error->held_by, "%s", holder ? holder : "");
    snprintf(error->bulk_id, sizeof error->bulk_id, "%s", call->id);
    error->operation = at == CLAIM_AT ? AON_NO_OPERATION : call->first + at;
  }
  return result;
}

static aon_result outcome(aon_register *r, log_call *call, const aon_register_call *done, size_t held, aon_error *error) {
  aon_register_head head;
  const char *log = aon_register_text(done, AT_MAY, 0, 0);
  aon_result result = aon_register_fence(r, done, AT_HEAD, call->id, call->epoch, &head, error);
  if (result)
    return result;
  if (log && *log && aon_register_null(done, held, 0, 0)) {
    r->names.last = aon_register_int(done, done->count - 2, 0, 0); /* before the commit */
    note_logged(r, call);
    return AON_OK;
  }
  aon_register_names_drop(&r->names); /* it has names that were not kept */
  if (log && *log)
    return refuse(call, done, held, &head, error);
  if (head.state >= AON_LOGGED || head.state == AON_SCHEDULED)
    return aon_fail(error, AON_USAGE, "wrong_state", "Bulk operation %s is %s; nothing can be added to its log.", call->id,
                    aon_state_name(head.state));
  if (call->first < head.logged) {
    result = aon_piece_logged(aon_register_segment_read, r, call->id, head.log, head.logged, call->operations, call->count, error);
    if (!result && call->count) /* its names have been read */
      note_logged(r, call);
    return result;
  }
  return aon_fail(error, AON_USAGE, "bad_sequence", "The log of bulk operation %s goes on with operation %lld, not %lld.", call->id,
                  (long long)head.logged + 1, (long long)call->first + 1);
}

static aon_result check_sequences(const log_call *call, aon_error *error) {
  for (size_t i = 1; i < call->count; i++)
    if (call->operations[i].sequence != call->operations[0].sequence + (int64_t)i)
      return aon_fail(error, AON_USAGE, "bad_sequence", "The operations of one call of the log must be numbered without a gap.");
  if (call->count >= CLAIM_AT)
    return aon_fail(error, AON_USAGE, "bad_sequence", "One call of the log takes at most %d operations.", CLAIM_AT - 1);
  return AON_OK;
}

/* The names of its log, and where it goes on; known already where this handle logged for it before. */
static aon_result log_begin(aon_register *r, log_call *call, aon_error *error) {
  aon_register_head head = {.log = r->logged_log, .logged = r->logged};
  aon_result result = AON_OK;
  if (strcmp(r->logged_id, call->id) || r->names.log != r->logged_log)
    result = aon_register_head_of(r, call->id, &head, error);
  if (!result && r->names.log != head.log)
    result = aon_register_names_load(r, head.log, error);
  call->first = call->count ? call->operations[0].sequence : head.logged;
  return result;
}

static aon_result log_call_run(aon_register *r, log_call *call, aon_error *error) {
  AON_REGISTER_CALL out = {0};
  aon_result result = log_begin(r, call, error);
  if (result)
    return result;
  call->collections = aon_dictionary_collections(r->names.dictionary);
  call->texts = aon_dictionary_texts(r->names.dictionary);
  result = aon_piece_encode(r->env, r->keys, &r->writer, r->names.dictionary, call->id, call->operations, call->count,
                            AON_REGISTER_STATEMENTS, &call->arena, &call->segments, &call->segment_count, error);
  if (!result)
    result = send_entries(call, error);
  if (!result)
    result = send_names(r, call, error);
  size_t held = result ? 0 : add_statements(&out, call);
  if (!result)
    result = aon_register_run(r, &out, "logging", error);
  if (result) {
    aon_register_names_drop(&r->names);
    return result;
  }
  return outcome(r, call, &out, held, error);
}

aon_result aon_register_log(void *state, const char *id, int64_t epoch, const aon_operation *operations, size_t count,
                            const aon_claimed *claims, size_t claim_count, bool *ret_holder_older, aon_error *error) {
  log_call call = {.id = id, .epoch = epoch, .operations = operations, .count = count, .claims = claims, .claim_count = claim_count};
  aon_result result = check_sequences(&call, error);
  if (!result)
    result = log_call_run(state, &call, error);
  aon_buffer *const lists[] = {&call.hashes, &call.shareds, &call.places, &call.sequences, &call.kinds, &call.names};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
    aon_buffer_release(lists[i]);
  aon_arena_release(&call.arena);
  if (result == AON_BUSY && ret_holder_older)
    *ret_holder_older = call.older;
  return result;
}

/* ---- taking out ---- */

/* Durable: a server that falls must not bring back a plan that was given up, which another of the same length would be taken for. */
aon_result aon_register_discard(void *state, const char *id, int64_t epoch, aon_error *error) {
  aon_register *r = state;
  AON_REGISTER_CALL call = {0};
  aon_register_begin(&call, true);
  aon_register_head_add(&call, id, true);
  aon_register_add(&call,
                   "with given_up as (update aon_journal_bulk n set log = nextval('aon_journal_logs'), logged = 0, holds = false"
                   " from aon_journal_bulk o where o.number = n.number and n.id = $1 and n.epoch = $2::bigint"
                   " and n.state in ('scheduled', 'queued', 'parsing', 'validating', 'planning') returning o.log)"
                   " insert into aon_journal_waste select log from given_up on conflict do nothing",
                   "ti", id, epoch);
  aon_register_head head;
  aon_result result = aon_register_run(r, &call, "giving up a plan", error);
  if (!strcmp(r->logged_id, id))
    r->logged_id[0] = 0;
  aon_piece_drop(&r->piece);
  if (!result)
    result = aon_register_fence(r, &call, 1, id, epoch, &head, error);
  if (result || head.state < AON_LOGGED)
    return result;
  return aon_fail(error, AON_USAGE, "wrong_state", "Bulk operation %s is %s; its log can't be taken back.", id, aon_state_name(head.state));
}

/* ---- chains ---- */

typedef struct last_call {
  aon_register *r;
  const char *id;
  int64_t log;
  aon_last_query *queries;
  size_t count;
} last_call;

/* A hash says only where to look: the document there must be the one that is asked for. */
static aon_result confirm(last_call *call, aon_last_query *query, int64_t sequence, aon_error *error) {
  aon_piece_loaded *piece = &call->r->piece;
  aon_result result = AON_OK;
  if (piece->log != call->log || sequence < piece->first || sequence >= piece->first + piece->count)
    result = aon_register_segment_read(call->r, call->id, call->log, sequence, false, piece, error);
  if (result)
    return result == AON_END ? AON_OK : result;
  if (aon_piece_is_about(&piece->operations[sequence - piece->first], query->collection->store, query->collection->name, query->document))
    query->sequence = sequence;
  return AON_OK;
}

/* Rows come in the order of the queries, newest first. */
static aon_result confirm_all(last_call *call, const aon_register_call *found, aon_error *error) {
  aon_result result = AON_OK;
  int rows = aon_register_rows(found, 1);
  for (int row = 0; !result && row < rows; row++) {
    aon_last_query *query = &call->queries[aon_register_int(found, 1, row, 0)];
    if (query->sequence == AON_NO_OPERATION)
      result = confirm(call, query, aon_register_int(found, 1, row, 1), error);
  }
  return result;
}

aon_result aon_register_last_of(void *state, const char *id, aon_last_query *queries, size_t count, aon_error *error) {
  last_call call = {.r = state, .id = id, .queries = queries, .count = count};
  AON_BUFFER_CLEANUP aon_buffer hashes = {0};
  AON_REGISTER_CALL ask = {0};
  aon_register_head head;
  aon_result result = AON_OK;
  for (size_t i = 0; i < count; i++) {
    queries[i].sequence = AON_NO_OPERATION;
    if (!result)
      result = add_number(&hashes, (int64_t)queries[i].hash, error);
  }
  if (!result)
    result = end_list(&hashes, error);
  if (result)
    return result;
  aon_register_head_add(&ask, id, false);
  aon_register_add(
      &ask,
      "select e.at - 1, l.sequence from unnest($2::bigint[]) with ordinality as e (hash, at), aon_journal_locks l"
      " where l.hash = e.hash and l.log = (select log from aon_journal_bulk where id = $1) and l.sequence >= 0 and not l.shared"
      " order by e.at, l.sequence desc",
      "tt", id, hashes.data);
  result = aon_register_run(state, &ask, "looking for chains", error);
  if (!result)
    result = aon_register_head_read(&ask, 0, id, &head, error);
  call.log = head.log;
  return result ? result : confirm_all(&call, &ask, error);
}

/* ---- clearing ---- */

aon_result aon_register_clear_images(void *state, const char *id, aon_error *error) {
  aon_register *r = state;
  AON_REGISTER_CALL call = {0};
  aon_register_begin(&call, false);
  aon_register_head_add(&call, id, true);
  aon_register_add(&call,
                   "with cleared as (update aon_journal_segments set images = null, images_sum = null where (log, first) in"
                   " (select s.log, s.first from aon_journal_bulk b join aon_journal_segments s on s.log = b.log where b.id = $1"
                   " and b.finished_ms > 0 and s.images_sum is not null order by s.first limit $2) returning first)"
                   " select count(*) from cleared",
                   "ti", id, (int64_t)AON_REGISTER_CLEAR_SEGMENTS);
  /* None is left, so housekeeping need not come back. */
  aon_register_add(
      &call,
      "update aon_journal_bulk b set images_until_ms = 0 where id = $1 and finished_ms > 0 and images_until_ms <> 0 and not exists"
      " (select from aon_journal_segments s where s.log = b.log and s.images_sum is not null)",
      "t", id);
  aon_register_head head;
  aon_result result = aon_register_run(r, &call, "clearing images", error);
  aon_piece_drop(&r->piece);
  if (!result)
    result = aon_register_head_read(&call, 2, id, &head, error);
  if (result)
    return result;
  if (!aon_state_terminal(head.state))
    return aon_fail(error, AON_USAGE, "wrong_state", "Bulk operation %s is %s; its images are still needed.", id,
                    aon_state_name(head.state));
  return aon_register_int(&call, 3, 0, 0) ? AON_OK : AON_END;
}
