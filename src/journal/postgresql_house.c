/* Housekeeping of the register: a look at its health, what is left to look at, a new key. */
#include <stdlib.h>
#include <string.h>

#include "journal/postgresql_register.h"
#include "model/text.h"

#define EXAMINE_SEGMENTS 4  /* read at once, to prove their sums */
#define CLOCK_APART_MS 2000 /* more than that between this host's clock and the server's is told */

/* How much room the server's disk has can't be asked for from here. A disk that is full is told by the call that finds it so, and nothing
 * rests on what could not be recorded. */
aon_result aon_register_room(void *state, uint64_t bytes, aon_error *error) {
  (void)state;
  (void)bytes;
  (void)error;
  return AON_OK;
}

/* ---- a look at its health ---- */

typedef struct health {
  aon_register *r;
  aon_buffer *report;
  bool healthy;
} health;

static aon_result examine_server(health *look, aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_result result = aon_register_ask(
      look->r, &call, "examining it",
      "select current_setting('server_version'), current_user::text, current_database()::text, current_schema()::text, pg_is_in_recovery(),"
      " current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),"
      " (extract(epoch from clock_timestamp()) * 1000)::bigint",
      error, "");
  if (result)
    return result;
  int64_t apart_ms = aon_register_int(&call, 0, 0, 8) - aon_now_ms(look->r->env);
  const char *schema = aon_register_text(&call, 0, 0, 3);
  result = aon_buffer_format(look->report, error, "PostgreSQL %s, role %s, database %s, schema %s\n", aon_register_text(&call, 0, 0, 0),
                             aon_register_text(&call, 0, 0, 1), aon_register_text(&call, 0, 0, 2), schema ? schema : "(none)");
  if (!result && llabs(apart_ms) > CLOCK_APART_MS)
    result = aon_buffer_format(look->report, error, "its clock is %lld ms apart from this host's: leases go by the journal's alone\n",
                               (long long)apart_ms);
  else if (!result)
    result = aon_buffer_format(look->report, error, "its clock agrees with this host's\n");
  if (!result && aon_register_int(&call, 0, 0, 4)) {
    look->healthy = false;
    result = aon_buffer_text(look->report, "the server is a standby: nothing can be recorded there\n", error);
  }
  for (int column = 5; !result && column <= 6; column++)
    if (strcmp(aon_register_text(&call, 0, 0, column), "on")) {
      look->healthy = false;
      result = aon_buffer_format(look->report, error, "%s is off: what is recorded does not survive a lost power\n",
                                 column == 5 ? "fsync" : "full_page_writes");
    }
  return result;
}

static aon_result examine_permissions(health *look, aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_result result = aon_register_ask(
      look->r, &call, "examining it",
      "select c.relname::text from pg_class c where c.relnamespace = current_schema()::regnamespace and c.relname like 'aon\\_journal\\_%'"
      " and c.relkind = 'r' and not (has_table_privilege(c.oid, 'select') and has_table_privilege(c.oid, 'insert')"
      " and has_table_privilege(c.oid, 'update') and has_table_privilege(c.oid, 'delete')) order by 1",
      error, "");
  int rows = result ? 0 : aon_register_rows(&call, 0);
  for (int row = 0; !result && row < rows; row++) {
    look->healthy = false;
    result = aon_buffer_format(look->report, error, "the role may not read and write table %s\n", aon_register_text(&call, 0, row, 0));
  }
  if (!result && !rows)
    result = aon_buffer_text(look->report, "the role may read and write all its tables\n", error);
  return result;
}

static aon_result examine_size(health *look, aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_result result = aon_register_ask(
      look->r, &call, "examining it",
      "select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint, (select max(version) from aon_journal_version)"
      " from pg_class c where c.relnamespace = current_schema()::regnamespace and c.relname like 'aon\\_journal\\_%' and c.relkind = 'r'",
      error, "");
  return result ? result
                : aon_buffer_format(look->report, error, "schema version %lld, %lld bytes\n", (long long)aon_register_int(&call, 0, 0, 1),
                                    (long long)aon_register_int(&call, 0, 0, 0));
}

static aon_result examine_states(health *look, aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_result result = aon_register_ask(look->r, &call, "examining it",
                                       "select state, count(*) from aon_journal_bulk group by state order by min(number)", error, "");
  int rows = result ? 0 : aon_register_rows(&call, 0);
  for (int row = 0; !result && row < rows; row++)
    result = aon_buffer_format(look->report, error, "bulk operations %s: %lld\n", aon_register_text(&call, 0, row, 0),
                               (long long)aon_register_int(&call, 0, row, 1));
  return result;
}

typedef struct proof {
  int64_t log, first; /* of the last one looked at */
  uint64_t segments, damaged;
  char damaged_id[37];
  bool more;
} proof;

static bool proved(const aon_register_call *call, int row, int column, aon_segment_role role) {
  const char *bytes = aon_register_text(call, 0, row, column), *sum = aon_register_text(call, 0, row, column + 1);
  if (!bytes)
    return !sum;
  return aon_piece_sum_right(aon_register_text(call, 0, row, 2), aon_register_int(call, 0, row, 1), role, bytes,
                             aon_register_length(call, 0, row, column), sum, aon_register_length(call, 0, row, column + 1));
}

static aon_result prove_page(health *look, proof *state, aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_result result =
      aon_register_ask(look->r, &call, "examining it",
                       "select s.log, s.first, b.id, s.operations, s.operations_sum, s.images, s.images_sum from aon_journal_segments s"
                       " join aon_journal_bulk b on b.log = s.log where (s.log, s.first) > ($1, $2) order by s.log, s.first limit $3",
                       error, "iii", state->log, state->first, (int64_t)EXAMINE_SEGMENTS);
  int rows = result ? 0 : aon_register_rows(&call, 0);
  for (int row = 0; row < rows; row++) {
    state->log = aon_register_int(&call, 0, row, 0);
    state->first = aon_register_int(&call, 0, row, 1);
    state->segments++;
    if (proved(&call, row, 3, AON_SEGMENT_OPERATIONS_ROLE) && proved(&call, row, 5, AON_SEGMENT_IMAGES_ROLE))
      continue;
    if (state->damaged++ == 0)
      snprintf(state->damaged_id, sizeof state->damaged_id, "%s", aon_register_text(&call, 0, row, 2));
  }
  state->more = rows == EXAMINE_SEGMENTS;
  return result;
}

static aon_result examine_segments(health *look, aon_error *error) {
  proof state = {.more = true, .first = -1};
  aon_result result = AON_OK;
  while (!result && state.more)
    result = prove_page(look, &state, error);
  if (result)
    return result;
  look->healthy = look->healthy && state.damaged == 0;
  if (state.damaged)
    return aon_buffer_format(look->report, error, "%llu of %llu pieces of the log are damaged, the first one of bulk operation %s\n",
                             (unsigned long long)state.damaged, (unsigned long long)state.segments, state.damaged_id);
  return aon_buffer_format(look->report, error, "all %llu pieces of the log have the right check sum\n",
                           (unsigned long long)state.segments);
}

static aon_result examine_keys(health *look, aon_error *error) {
  aon_register *r = look->r;
  if (!r->key_file)
    return aon_buffer_text(look->report, "no key file is named\n", error);
  aon_keys *keys;
  aon_error found = AON_ERROR_INIT;
  if (aon_keys_read(r->env, r->key_file, &keys, &found)) {
    look->healthy = false;
    return aon_buffer_format(look->report, error, "%s\n", found.sentence);
  }
  aon_result result = aon_buffer_format(look->report, error, "key file %s: %zu key%s, the newest is %s\n", r->key_file,
                                        aon_keys_count(keys), aon_keys_count(keys) == 1 ? "" : "s", aon_keys_name(keys, 0));
  AON_REGISTER_CALL call = {0};
  if (!result)
    result = aon_register_ask(r, &call, "examining it", "select name from aon_journal_keys order by number desc", error, "");
  int rows = result ? 0 : aon_register_rows(&call, 0);
  for (int row = 0; !result && row < rows; row++) {
    const char *name = aon_register_text(&call, 0, row, 0);
    if (aon_keys_has(keys, name))
      continue;
    look->healthy = look->healthy && row > 0; /* the one that is in use */
    result = aon_buffer_format(look->report, error, "key %s, which %s used here, is not in the key file\n", name, row ? "was" : "is");
  }
  aon_keys_close(keys);
  return result;
}

static aon_result examine_files(health *look, aon_error *error) { return aon_register_files_examine(look->r, look->report, error); }

aon_result aon_register_examine(void *state, aon_buffer *report, bool *ret_healthy, aon_error *error) {
  aon_register *r = state;
  health look = {.r = r, .report = report, .healthy = true};
  if (r->absent) {
    aon_result absent = aon_buffer_text(report, "there are no tables of a journal yet; the first command that writes makes them\n", error);
    if (!absent)
      *ret_healthy = true;
    return absent;
  }
  aon_result (*const looks[])(health *, aon_error *) = {examine_server,   examine_permissions, examine_size, examine_states,
                                                        examine_segments, examine_files,       examine_keys};
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < sizeof looks / sizeof *looks; i++)
    result = looks[i](&look, error);
  if (!result)
    *ret_healthy = look.healthy;
  return result;
}

/* ---- what is left to look at ---- */

static aon_result stale_page(aon_register *r, int64_t *last, aon_stale_each each, void *context, bool *ret_more, aon_error *error) {
  AON_REGISTER_CALL call = {0};
  aon_result result = aon_register_ask(
      r, &call, "looking for what is left to do",
      "select b.number, b.id, exists (select from aon_journal_conflicts c where c.bulk = b.number and c.watched) from aon_journal_bulk b"
      " where b.number > $1 and not b.holds and (b.number in (select i.number from aon_journal_bulk i where i.images_until_ms > 0"
      " and i.images_until_ms <= aon_journal_now() and not i.test_mode and i.finished_ms > 0 and not exists"
      " (select from aon_journal_conflicts o where o.bulk = i.number)) or b.number in"
      " (select w.bulk from aon_journal_conflicts w where w.watched)) order by b.number limit $2",
      error, "ii", *last, (int64_t)AON_REGISTER_PAGE);
  int rows = result ? 0 : aon_register_rows(&call, 0);
  for (int row = 0; !result && row < rows; row++) {
    bool watched = aon_register_int(&call, 0, row, 2) != 0;
    *last = aon_register_int(&call, 0, row, 0);
    result = each(context, aon_register_text(&call, 0, row, 1), !watched, watched, error);
  }
  *ret_more = rows == AON_REGISTER_PAGE;
  return result;
}

aon_result aon_register_stale(void *state, aon_stale_each each, void *context, aon_error *error) {
  aon_result result = AON_OK;
  int64_t last = 0;
  for (bool more = true; !result && more;)
    result = stale_page(state, &last, each, context, &more, error);
  return result == AON_END ? AON_OK : result;
}

/* ---- a new key ---- */

/* Within the lock of schema and keys, so that two rotations at once don't lose one of the keys. */
static aon_result rotate_work(aon_register *r, void *arguments, aon_error *error) {
  (void)arguments;
  aon_keys *before, *keys;
  AON_REGISTER_CALL call = {0};
  aon_result result = aon_keys_read(r->env, r->key_file, &before, error);
  if (result)
    return result;
  result = aon_keys_add(r->env, r->key_file, before, &keys, error);
  aon_keys_close(before);
  if (result)
    return result;
  aon_keys_close(r->keys); /* the new one stands in the file, also where the journal could not note it */
  r->keys = keys;
  return aon_register_ask(r, &call, "noting a new key", "insert into aon_journal_keys (name, since_ms) values ($1, aon_journal_now())",
                          error, "t", aon_keys_name(keys, 0));
}

aon_result aon_register_rotate_key(void *state, aon_error *error) { return aon_register_locked(state, true, rotate_work, NULL, error); }
