/* Writing PostgreSQL: one statement for each run of writes of one kind to one table, all of an apply in one pipeline behind a savepoint.
 * Writes of the same kind are gathered first, however they alternate, since a statement costs more than a row.
 *
 * Invariants:
 *  - a statement compares every column that the expected image has, so that nobody's write is overwritten; as many rows as writes is the
 *    proof that all were as expected;
 *  - a run holds no document twice, so the order within it does not show; writes are gathered only where the apply holds none twice and no
 *    trigger or rule could see what stands in between;
 *  - what fails, or changes fewer rows, is taken back to the savepoint and done again one by one in order, which names the first write at
 *    fault and is the truth if it differs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/text.h"
#include "store/postgresql_internal.h"

#define CHOSEN_SET 1    /* in SET or VALUES */
#define CHOSEN_WHERE 2  /* in WHERE */
#define GROUPS_LIMIT 16 /* of writes that are gathered; beyond it their own order is kept */

typedef enum kind { KIND_INSERT, KIND_UPDATE, KIND_DELETE } kind;

typedef struct line { /* one write as rows of its table */
  pg_table *table;
  kind kind;
  pg_text *before, *after;
} line;

typedef struct run { /* the lines order[from] to order[to - 1] as one statement */
  size_t from, to;
  aon_buffer sql;
  aon_buffer *arrays;
  aon_postgresql_value *values;
  size_t count;
} run;

typedef struct applying {
  pg_store *store;
  aon_transaction *transaction;
  const aon_write *writes;
  size_t count;
  line *lines;   /* as the writes */
  size_t *order; /* in which the lines are written */
  aon_arena arena;
} applying;

static const line *line_at(const applying *a, size_t place) { return &a->lines[a->order[place]]; }

/* ---- writes to rows ---- */

static aon_result find_table(applying *a, const aon_write *write, pg_table **table, aon_error *error) {
  if (*table && !strcmp((*table)->name, write->collection->name))
    return AON_OK;
  aon_result result = pg_table_find(a->store, write->collection, table, error);
  if (!result && !(*table)->shape.exists) {
    if (write->expected.bson)
      return aon_fail(error, AON_PERMANENT, "changed_meanwhile", "its table isn't there any more. Nothing was written.");
    result = pg_table_make(a->store, write->collection, table, error);
  }
  return result ? result : pg_table_pin(a->store, a->transaction->connection, *table, error);
}

static aon_result load_line(applying *a, size_t at, pg_table *table, aon_error *error) {
  const aon_write *write = &a->writes[at];
  line *l = &a->lines[at];
  l->table = table;
  l->kind = !write->expected.bson ? KIND_INSERT : write->wanted.bson ? KIND_UPDATE : KIND_DELETE;
  l->before = aon_arena_alloc(&a->arena, table->column_count * sizeof *l->before);
  l->after = aon_arena_alloc(&a->arena, table->column_count * sizeof *l->after);
  if (!l->before || !l->after)
    return aon_fail_memory(error);
  aon_result result = AON_OK;
  if (write->expected.bson)
    result = pg_image_row(a->store, table, write->id, &write->expected, NULL, &a->arena, l->before, error);
  if (!result && write->wanted.bson)
    result = pg_image_row(a->store, table, write->id, &write->wanted, write->stamp, &a->arena, l->after, error);
  const pg_text *row = write->expected.bson ? l->before : l->after;
  for (size_t i = 0; !result && i < table->key_count; i++)
    if (row[table->keys[i]].absent || !row[table->keys[i]].data)
      result = aon_fail(error, AON_PERMANENT, "bad_image", "The image lacks its key “%s”.", table->columns[table->keys[i]].name);
  return result;
}

static aon_result load_lines(applying *a, size_t *ret_failed, aon_error *error) {
  pg_table *table = NULL;
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < a->count; i++) {
    *ret_failed = i;
    if (!a->writes[i].expected.bson && !a->writes[i].wanted.bson)
      return aon_fail(error, AON_USAGE, "empty_write", "it has neither an expected nor a wanted image.");
    result = find_table(a, &a->writes[i], &table, error);
    if (!result)
      result = load_line(a, i, table, error);
  }
  return result;
}

/* ---- runs ---- */

static bool same_choice(const line *a, const line *b) {
  for (size_t i = 0; i < a->table->column_count; i++)
    if ((a->kind != KIND_INSERT && a->before[i].absent != b->before[i].absent) ||
        (a->kind != KIND_DELETE && a->after[i].absent != b->after[i].absent))
      return false;
  return true;
}

/* Open addressing over the hashes of the ids of a run; two of one hash only make the run shorter. */
typedef struct met {
  uint64_t *slots;
  size_t size; /* a power of two, more than twice the writes */
} met;

static bool meet(met *m, const char *collection, aon_text id) {
  uint64_t hash = aon_document_hash("", collection, id) | 1;
  size_t at = hash & (m->size - 1);
  for (; m->slots[at]; at = (at + 1) & (m->size - 1))
    if (m->slots[at] == hash)
      return false;
  m->slots[at] = hash;
  return true;
}

static void forget(met *m) { memset(m->slots, 0, m->size * sizeof *m->slots); }

static bool together(const line *a, const line *b) { return a->table == b->table && a->kind == b->kind && same_choice(a, b); }

static size_t run_end(const applying *a, size_t from, met *m) {
  forget(m);
  size_t to = from;
  while (to < a->count && together(line_at(a, to), line_at(a, from)) && meet(m, "", a->writes[a->order[to]].id))
    to++;
  return to;
}

static void in_their_order(applying *a) {
  for (size_t i = 0; i < a->count; i++)
    a->order[i] = i;
}

/* The group of each line, numbered as they are first met; 0 groups: the order is to be kept. */
static size_t find_groups(const applying *a, unsigned char *groups, met *m) {
  const line *firsts[GROUPS_LIMIT];
  size_t count = 0;
  forget(m);
  for (size_t i = 0; i < a->count; i++) {
    const line *l = &a->lines[i];
    size_t group = 0;
    if (l->table->shape.write_effect || l->table->shape.delete_effect || !meet(m, l->table->name, a->writes[i].id))
      return 0;
    while (group < count && !together(firsts[group], l))
      group++;
    if (group == GROUPS_LIMIT)
      return 0;
    if (group == count)
      firsts[count++] = l;
    groups[i] = (unsigned char)group;
  }
  return count;
}

/* Brings writes of one kind to one table together. What depends on another order (a unique value that one document gives up and another
 * takes) is refused by the server, and done again in their own. */
static aon_result gather(applying *a, met *m, aon_error *error) {
  unsigned char *groups = aon_arena_alloc(&a->arena, a->count);
  if (!groups)
    return aon_fail_memory(error);
  size_t count = find_groups(a, groups, m), at = 0;
  for (size_t group = 0; group < count; group++)
    for (size_t i = 0; i < a->count; i++)
      if (groups[i] == group)
        a->order[at++] = i;
  return AON_OK;
}

static void choose(const applying *a, const run *r, unsigned char *choice) {
  const line *first = line_at(a, r->from);
  const pg_table *table = first->table;
  for (size_t i = 0; i < table->column_count; i++) {
    const pg_column *column = &table->columns[i];
    bool set = first->kind == KIND_INSERT && !first->after[i].absent;
    bool where = first->kind != KIND_INSERT && !first->before[i].absent && !column->key;
    for (size_t j = r->from; first->kind == KIND_UPDATE && !set && !column->key && j < r->to; j++)
      set = !first->after[i].absent && (first->before[i].absent || !pg_same(&line_at(a, j)->before[i], &line_at(a, j)->after[i]));
    choice[i] = column->generated ? 0 : (unsigned char)((set ? CHOSEN_SET : 0) | (where ? CHOSEN_WHERE : 0));
  }
}

/* One array of a column's texts, as the next parameter. */
static aon_result add_array(const applying *a, run *r, size_t column, bool after, aon_error *error) {
  aon_buffer *array = &r->arrays[r->count];
  aon_result result = aon_postgresql_texts_start(array, error);
  for (size_t i = r->from; !result && i < r->to; i++) {
    const pg_text *text = after ? &line_at(a, i)->after[column] : &line_at(a, i)->before[column];
    result = aon_postgresql_texts_add(array, text->data, text->length, error);
  }
  if (result)
    return result;
  aon_postgresql_texts_end(array, r->to - r->from);
  r->values[r->count++] = (aon_postgresql_value){.data = array->data, .length = (int)array->length, .binary = true};
  return AON_OK;
}

static aon_result add_arrays(const applying *a, run *r, const unsigned char *choice, aon_error *error) {
  const line *first = line_at(a, r->from);
  const pg_table *table = first->table;
  aon_result result = AON_OK;
  for (size_t i = 0; first->kind != KIND_INSERT && !result && i < table->key_count; i++)
    result = add_array(a, r, table->keys[i], false, error);
  for (size_t i = 0; !result && i < table->column_count; i++)
    if (choice[i] & CHOSEN_WHERE)
      result = add_array(a, r, i, false, error);
  for (size_t i = 0; !result && i < table->column_count; i++)
    if (choice[i] & CHOSEN_SET)
      result = add_array(a, r, i, true, error);
  return result;
}

/* unnest($1::text[], …) … as a(p0, …): the parameters in the order of add_arrays. */
static aon_result source_sql(const run *r, bool numbered, aon_buffer *sql, aon_error *error) {
  aon_result result = aon_buffer_text(sql, "unnest(", error);
  for (size_t i = 0; !result && i < r->count; i++)
    result = aon_buffer_format(sql, error, "%s$%zu::text[]", i ? ", " : "", i + 1);
  if (!result)
    result = aon_buffer_text(sql, numbered ? ") with ordinality as a(" : ") as a(", error);
  for (size_t i = 0; !result && i < r->count; i++)
    result = aon_buffer_format(sql, error, "%sp%zu", i ? ", " : "", i);
  return result ? result : aon_buffer_text(sql, numbered ? ", n)" : ")", error);
}

static aon_result insert_sql(const pg_table *table, const unsigned char *choice, run *r, aon_error *error) {
  aon_buffer *sql = &r->sql;
  bool first = true;
  aon_result result = aon_buffer_format(sql, error, "insert into %s(", table->quoted);
  for (size_t i = 0; !result && i < table->column_count; i++)
    if (choice[i] & CHOSEN_SET) {
      result = aon_buffer_text(sql, first ? "" : ", ", error);
      first = false;
      if (!result)
        result = aon_postgresql_name(table->columns[i].name, sql, error);
    }
  if (!result)
    result = aon_buffer_text(sql, ") overriding system value select ", error);
  size_t parameter = 0;
  for (size_t i = 0; !result && i < table->column_count; i++)
    if (choice[i] & CHOSEN_SET) {
      result = aon_buffer_format(sql, error, "%sa.p%zu::%s", parameter ? ", " : "", parameter, table->columns[i].cast);
      parameter++;
    }
  if (!result)
    result = aon_buffer_text(sql, " from ", error);
  if (!result)
    result = source_sql(r, true, sql, error);
  return result ? result : aon_buffer_text(sql, " order by a.n", error);
}

/* The condition: the key, then all columns that are expected. *parameter is the next one. */
static aon_result where_sql(const pg_table *table, const unsigned char *choice, size_t *parameter, aon_buffer *sql, aon_error *error) {
  char name[24];
  aon_result result = aon_buffer_text(sql, " where true", error);
  for (size_t i = 0; !result && i < table->key_count; i++) {
    snprintf(name, sizeof name, "a.p%zu", (*parameter)++);
    result = pg_key_condition(table, i, name, sql, error);
  }
  for (size_t i = 0; !result && i < table->column_count; i++) {
    const pg_column *column = &table->columns[i];
    if (!(choice[i] & CHOSEN_WHERE))
      continue;
    result = aon_buffer_text(sql, " and t.", error);
    if (!result)
      result = aon_postgresql_name(column->name, sql, error);
    if (!result)
      result = column->typed ? aon_buffer_format(sql, error, " is not distinct from a.p%zu::%s", *parameter, column->type)
                             : aon_buffer_format(sql, error, "::text collate \"C\" is not distinct from a.p%zu", *parameter);
    (*parameter)++;
  }
  return result;
}

static aon_result set_sql(const pg_table *table, const unsigned char *choice, size_t parameter, aon_buffer *sql, aon_error *error) {
  bool first = true;
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < table->column_count; i++)
    if (choice[i] & CHOSEN_SET) {
      result = aon_buffer_text(sql, first ? " set " : ", ", error);
      first = false;
      if (!result)
        result = aon_postgresql_name(table->columns[i].name, sql, error);
      if (!result)
        result = aon_buffer_format(sql, error, " = a.p%zu::%s", parameter++, table->columns[i].cast);
    }
  if (result || !first)
    return result;
  const char *key = table->columns[table->keys[0]].name; /* nothing differs, but the condition has still to be asked */
  result = aon_buffer_text(sql, " set ", error);
  if (!result)
    result = aon_postgresql_name(key, sql, error);
  if (!result)
    result = aon_buffer_text(sql, " = t.", error);
  return result ? result : aon_postgresql_name(key, sql, error);
}

static aon_result change_sql(const pg_table *table, bool update, const unsigned char *choice, run *r, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer where = {0};
  size_t parameter = 0;
  aon_result result = where_sql(table, choice, &parameter, &where, error);
  if (!result)
    result = aon_buffer_format(&r->sql, error, update ? "update %s t" : "delete from %s t", table->quoted);
  if (!result && update)
    result = set_sql(table, choice, parameter, &r->sql, error);
  if (!result)
    result = aon_buffer_text(&r->sql, update ? " from " : " using ", error);
  if (!result)
    result = source_sql(r, false, &r->sql, error);
  return result ? result : aon_buffer_append(&r->sql, where.data, where.length, error);
}

static void run_release(run *r) {
  for (size_t i = 0; r->arrays && i < r->count + 1; i++)
    aon_buffer_release(&r->arrays[i]);
  aon_buffer_release(&r->sql);
}

static aon_result run_build(applying *a, run *r, aon_error *error) {
  const line *first = line_at(a, r->from);
  size_t most = 2 * first->table->column_count + first->table->key_count + 1;
  unsigned char *choice = aon_arena_alloc(&a->arena, first->table->column_count);
  r->arrays = aon_arena_alloc(&a->arena, most * sizeof *r->arrays);
  r->values = aon_arena_alloc(&a->arena, most * sizeof *r->values);
  if (!choice || !r->arrays || !r->values)
    return aon_fail_memory(error);
  choose(a, r, choice);
  aon_result result = add_arrays(a, r, choice, error);
  if (result)
    return result;
  return first->kind == KIND_INSERT ? insert_sql(first->table, choice, r, error)
                                    : change_sql(first->table, first->kind == KIND_UPDATE, choice, r, error);
}

/* ---- refusals ---- */

static aon_result about(const applying *a, size_t at, aon_result result, aon_error *error) {
  const aon_write *write = &a->writes[at];
  if (result == AON_REJECTED) /* an image that was never normalised: refused like by a constraint */
    result = AON_PERMANENT;
  if (!error)
    return result;
  error->kind = result;
  error->operation = write->operation;
  aon_error_prefix(error, "%s/%s/%.*s: ", a->store->name, write->collection->name, pg_shown(write->id), write->id.data);
  return result;
}

static aon_result too_few(const applying *a, size_t at, aon_error *error) {
  const aon_write *write = &a->writes[at];
  aon_arena arena = {0};
  aon_image now = {0};
  aon_error ignored = AON_ERROR_INIT; /* the document can't be read: then it was changed as well */
  if (a->lines[at].kind == KIND_INSERT)
    return aon_fail(error, AON_PERMANENT, "constraint", "a trigger or rule of the table left it out. Nothing was written.");
  bool gone = !pg_read(a->store, write->collection, &write->id, 1, &arena, &now, &ignored) && !now.bson;
  aon_arena_release(&arena);
  return aon_fail(error, AON_PERMANENT, "changed_meanwhile", "%s",
                  gone ? "it was deleted by somebody else meanwhile. Nothing was written; try again with what is there now."
                       : "it was changed by somebody else meanwhile. Nothing was written; try again with what is there now.");
}

/* ---- apply ---- */

static aon_result replay(applying *a, size_t *ret_failed, aon_error *error) {
  aon_postgresql *connection = a->transaction->connection;
  aon_result result = aon_postgresql_run(connection, "rollback to savepoint aon", NULL, 0, "starting a batch anew", NULL, error);
  in_their_order(a);
  *ret_failed = 0;
  for (size_t i = 0; !result && i < a->count; i++) {
    AON_POSTGRESQL_RESULT PGresult *row = NULL;
    run one = {.from = i, .to = i + 1};
    *ret_failed = i;
    aon_postgresql_deadline(connection, aon_monotonic_ms(a->store->env) + a->store->timeout_ms);
    result = run_build(a, &one, error);
    if (!result)
      result = aon_postgresql_run(connection, one.sql.data, one.values, one.count, "writing", &row, error);
    if (!result && strcmp(PQcmdTuples(row), "1"))
      result = too_few(a, i, error);
    run_release(&one);
  }
  return result;
}

typedef struct batch {
  run *runs;
  size_t count;
  aon_postgresql_statement *statements; /* of the savepoint, then of the runs */
  PGresult **results;
} batch;

static aon_result build(applying *a, batch *b, aon_error *error) {
  met m = {.size = 16};
  while (m.size < 2 * a->count + 2)
    m.size *= 2;
  m.slots = aon_arena_alloc(&a->arena, m.size * sizeof *m.slots);
  b->runs = aon_arena_alloc(&a->arena, a->count * sizeof *b->runs);
  b->statements = aon_arena_alloc(&a->arena, (a->count + 2) * sizeof *b->statements);
  b->results = aon_arena_alloc(&a->arena, (a->count + 2) * sizeof(PGresult *));
  if (!m.slots || !b->runs || !b->statements || !b->results)
    return aon_fail_memory(error);
  aon_result result = gather(a, &m, error);
  for (size_t from = 0; !result && from < a->count;) {
    run *r = &b->runs[b->count++];
    r->from = from;
    r->to = from = run_end(a, from, &m);
    result = run_build(a, r, error);
  }
  return result;
}

/* *ret_all false: a statement changed fewer rows than it should. */
static aon_result send(applying *a, batch *b, bool *ret_all, size_t *ret_failed, aon_error *error) {
  size_t at = 0, failed = 0;
  if (a->transaction->savepoint)
    b->statements[at++] = (aon_postgresql_statement){"release savepoint aon", NULL, 0, "starting a batch"};
  b->statements[at++] = (aon_postgresql_statement){"savepoint aon", NULL, 0, "starting a batch"};
  size_t head = at;
  for (size_t i = 0; i < b->count; i++)
    b->statements[at++] = (aon_postgresql_statement){
        .sql = b->runs[i].sql.data, .values = b->runs[i].values, .count = b->runs[i].count, .doing = "writing", .keep = true};
  aon_result result = aon_postgresql_pipeline(a->transaction->connection, b->statements, at, b->results, &failed, error);
  *ret_all = true;
  *ret_failed = failed >= head ? a->order[b->runs[failed - head].from] : 0;
  if (failed >= head || !result)
    a->transaction->savepoint = true;
  for (size_t i = 0; !result && i < b->count; i++)
    *ret_all = *ret_all && strtoul(PQcmdTuples(b->results[head + i]), NULL, 10) == b->runs[i].to - b->runs[i].from;
  for (size_t i = 0; i < at; i++)
    PQclear(b->results[i]);
  return result;
}

static aon_result apply_lines(applying *a, size_t *ret_failed, aon_error *error) {
  batch b = {0};
  bool all = false;
  aon_error failure = AON_ERROR_INIT;
  aon_result result = build(a, &b, &failure);
  if (!result)
    result = send(a, &b, &all, ret_failed, &failure);
  for (size_t i = 0; i < b.count; i++)
    run_release(&b.runs[i]);
  bool again = result ? result == AON_PERMANENT && a->transaction->savepoint && aon_postgresql_refused(a->transaction->connection) : !all;
  if (again) {
    failure = (aon_error)AON_ERROR_INIT;
    result = replay(a, ret_failed, &failure);
    if (result == AON_PERMANENT)
      pg_blame(a->store, a->lines[*ret_failed].table, a->writes[*ret_failed].collection, &failure);
  }
  if (result && error)
    *error = failure;
  return result;
}

aon_result pg_apply(void *state, aon_transaction *transaction, const aon_write *writes, size_t count, aon_write_state *states,
                    size_t *ret_failed, aon_error *error) {
  pg_store *store = state;
  pg_enter(store);
  if (!transaction || !transaction->open || transaction->failed)
    return aon_fail(error, AON_USAGE, "transaction_failed", "Writes to %s need an open transaction that has not failed.", store->name);
  if (!count)
    return AON_OK;
  applying a = {.store = store, .transaction = transaction, .writes = writes, .count = count};
  size_t failed = 0;
  aon_postgresql_deadline(transaction->connection, store->deadline_ms);
  a.lines = aon_arena_alloc(&a.arena, count * sizeof *a.lines);
  a.order = aon_arena_alloc(&a.arena, count * sizeof *a.order);
  aon_result result = a.lines && a.order ? load_lines(&a, &failed, error) : aon_fail_memory(error);
  if (!result) {
    in_their_order(&a);
    result = apply_lines(&a, &failed, error);
  }
  aon_arena_release(&a.arena);
  for (size_t i = 0; states && i < count; i++)
    states[i] = !result ? AON_WRITE_APPLIED : i < failed ? AON_WRITE_APPLIED : i == failed ? AON_WRITE_REFUSED : AON_WRITE_NOT_SENT;
  if (!result)
    return AON_OK;
  transaction->failed = true;
  if (ret_failed)
    *ret_failed = failed;
  return about(&a, failed, result, error);
}
