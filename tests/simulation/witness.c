/* Between the coordinator and each store stands a witness: it makes calls fail in the ways that a store may, and notes every change that
 * the store took, by whom. It also hears what the journal is asked (--wrap), to know on whose behalf a process is at work.
 *
 * What a store answers stays within its contract (aon/store.h): a request whose reply is lost is AON_UNKNOWN, all else is proven. */
#include "model/document.h"
#include "sim.h"

typedef struct witness {
  struct witness *next;
  process *owner; /* NULL: dead, its connection is not yet known to be broken */
  simstore *store;
  void *inner;
  aon_transaction *transaction;
  author who; /* of the open transaction */
  uint32_t attempt, batch;
  uint64_t began; /* number of the event */
  int64_t breaks_ms;
} witness;

static witness *orphans;

void witness_begin(void) { orphans = NULL; }

static const aon_store_adapter *inner_of(const simstore *store) { return store->sqlite ? &aon_sqlite_adapter : &aon_memory_adapter; }

/* A memory store belongs to the world, as a server does; a file is worked on by the process itself. */
static bool enter(const witness *w) { return w->store->sqlite ? true : world_enter(); }
static void leave(const witness *w, bool before) {
  if (!w->store->sqlite)
    world_leave(before);
}

/* ---- values ---- */

value value_from(const bson_t *document) {
  value v = {.there = true};
  bson_iter_t at;
  for (bool more = bson_iter_init(&at, document) && bson_iter_next(&at); more; more = bson_iter_next(&at)) {
    const char *key = bson_iter_key(&at), *text = BSON_ITER_HOLDS_UTF8(&at) ? bson_iter_utf8(&at, NULL) : NULL;
    if (text && key[0] == 'p' && key[1] >= '0' && key[1] < '0' + SIM_PROPERTIES && !key[2])
      snprintf(v.p[key[1] - '0'], sizeof v.p[0], "%s", text);
    else if (text && !strcmp(key, AON_STAMP_NAME))
      snprintf(v.stamp, sizeof v.stamp, "%s", text);
    else
      v.odd = true;
  }
  return v;
}

bson_t *value_document(const value *v) {
  bson_t *document = bson_new();
  for (int i = 0; i < SIM_PROPERTIES; i++) {
    char key[3] = {'p', (char)('0' + i), 0};
    if (v->p[i][0])
      BSON_APPEND_UTF8(document, key, v->p[i]);
  }
  if (v->stamp[0])
    BSON_APPEND_UTF8(document, AON_STAMP_NAME, v->stamp);
  return document;
}

bool value_equal(const value *a, const value *b) {
  if (a->there != b->there || a->odd != b->odd)
    return false;
  for (int i = 0; a->there && i < SIM_PROPERTIES; i++)
    if (strcmp(a->p[i], b->p[i]))
      return false;
  return true;
}

void value_print(const value *v, char text[128]) {
  if (!v->there)
    snprintf(text, 128, "nothing");
  else
    snprintf(text, 128, "{%s %s %s%s%s%.8s%s}", v->p[0][0] ? v->p[0] : "-", v->p[1][0] ? v->p[1] : "-", v->p[2][0] ? v->p[2] : "-",
             v->odd ? " odd" : "", v->stamp[0] ? " ~" : "", v->stamp, strlen(v->stamp) > 36 ? ":void" : "");
}

/* ---- looking into a store from outside ---- */

static sqlite3 *eye_of(simstore *store) {
  if (store->eye)
    return store->eye;
  if (sqlite3_open_v2(store->path, &store->eye, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, disk_vfs_name))
    abort();
  sqlite3_exec(store->eye, "pragma synchronous=extra", NULL, NULL, NULL); /* what somebody else wrote is durable too */
  return store->eye;
}

static bool look_sqlite(simstore *store, const char *id, value *ret_value) {
  sqlite3_stmt *statement;
  if (sqlite3_prepare_v2(eye_of(store), "select doc from c where id = ?", -1, &statement, NULL))
    return false;
  sqlite3_bind_text(statement, 1, id, -1, SQLITE_STATIC);
  int rc = sqlite3_step(statement);
  *ret_value = (value){0};
  if (rc == SQLITE_ROW) {
    bson_t document;
    const char *text = (const char *)sqlite3_column_text(statement, 0);
    aon_error error = AON_ERROR_INIT;
    if (aon_document_from_json(text, strlen(text), &document, &error)) {
      *ret_value = (value){.there = true, .odd = true};
    } else {
      *ret_value = value_from(&document);
      bson_destroy(&document);
    }
  }
  sqlite3_finalize(statement);
  return rc == SQLITE_ROW || rc == SQLITE_DONE;
}

static bool look(simstore *store, const doc *d, value *ret_value) {
  if (store->sqlite)
    return look_sqlite(store, d->id, ret_value);
  aon_arena arena = {0};
  aon_image image;
  bson_t view;
  aon_error error = AON_ERROR_INIT;
  *ret_value = (value){0};
  if (aon_memory_look(store->database, "c", d->id, &arena, &image, &error))
    abort();
  if (image.bson && aon_image_view(&image, &view))
    *ret_value = value_from(&view);
  aon_arena_release(&arena);
  return true;
}

static const char *hand_name(hand by) {
  static const char *const names[] = {"somebody else", "forward", "back", "nobody"};
  return names[by];
}

static void note_change(simstore *store, doc *d, const value *now, const author *who) {
  entry *e = calloc(1, sizeof *e);
  *e = (entry){.at_ms = W->now_ms,
               .sent_ms = who->sent_ms,
               .number = ++W->number,
               .hand = who->hand,
               .bulk = who->bulk,
               .process = who->process,
               .late = who->late,
               .expired = who->expired,
               .old = d->now,
               .now = *now};
  if (d->last)
    d->last->next = e;
  else
    d->first = e;
  d->last = e;
  d->changes++;
  d->now = *now;
  if (who->hand == BY_FORWARD && !who->late && !who->expired && d->locked_by_name && W->now_ms < d->lock_until_ms)
    violation("bulk %d changed %s/%s, which was locked by name", who->bulk, store->name, d->id);
  W->counts.changes++;
  if (W->tracing) {
    char old[128], fresh[128];
    value_print(&e->old, old);
    value_print(&e->now, fresh);
    trace("  => %s/%s: %s -> %s  (%s%s%s, bulk %d)", store->name, d->id, old, fresh, hand_name(who->hand), who->late ? ", late" : "",
          who->expired ? ", by an expired worker" : "", who->bulk);
  }
}

/* Whatever differs from what was there is who's doing; or the doing of whoever it was when a file could not be looked into last time. */
void witness_observe(simstore *store, const author *who) {
  bool before = world_enter();
  if (store->ends)
    who = &store->ending;
  else if (store->unseen && who->hand == BY_NOBODY)
    who = &store->unseen_author;
  author was = *who;
  who = &was;
  store->unseen = false;
  for (size_t i = 0; i < store->doc_count; i++) {
    value now;
    doc *d = &store->docs[i];
    if (!look(store, d, &now)) {
      store->unseen = true;
      store->unseen_author = was;
      trace("  (%s can't be looked into: %s)", store->name, store->sqlite ? sqlite3_errmsg(eye_of(store)) : "");
    } else if (!value_equal(&now, &d->now) || strcmp(now.stamp, d->now.stamp)) {
      note_change(store, d, &now, who);
    }
  }
  world_leave(before);
}

/* ---- somebody else ---- */

static bool put_sqlite(simstore *store, const char *id, const value *wanted) {
  sqlite3_stmt *statement;
  AON_BUFFER_CLEANUP aon_buffer json = {0};
  aon_error error = AON_ERROR_INIT;
  if (wanted->there) {
    bson_t *document = value_document(wanted);
    if (aon_document_to_json(document, &json, &error))
      abort();
    bson_destroy(document);
  }
  if (sqlite3_prepare_v2(eye_of(store), wanted->there ? "insert or replace into c (id, doc) values (?, ?)" : "delete from c where id = ?",
                         -1, &statement, NULL))
    return false;
  sqlite3_bind_text(statement, 1, id, -1, SQLITE_STATIC);
  if (wanted->there)
    sqlite3_bind_text(statement, 2, json.data, -1, SQLITE_STATIC);
  int rc = sqlite3_step(statement);
  sqlite3_finalize(statement);
  return rc == SQLITE_DONE;
}

bool foreign_put(simstore *store, doc *d, const value *wanted) {
  bool before = world_enter(), done;
  if (store->sqlite) {
    done = put_sqlite(store, d->id, wanted);
  } else {
    aon_error error = AON_ERROR_INIT;
    bson_t *document = wanted->there ? value_document(wanted) : NULL;
    done = aon_memory_foreign_write(store->database, "c", d->id, document, &error) == AON_OK;
    if (document)
      bson_destroy(document);
  }
  world_leave(before);
  return done;
}

/* Would it make a change that a bulk operation made too? Then no rollback can tell whose it is. */
static bool repeats_ours(const doc *d, const value *wanted) {
  for (const entry *e = d->first; e; e = e->next) {
    if (e->hand != BY_FORWARD)
      continue;
    if (e->old.there != e->now.there && wanted->there == e->now.there && d->now.there != wanted->there && !wanted->there)
      return true;
    for (int i = 0; i < SIM_PROPERTIES; i++)
      if (strcmp(wanted->p[i], d->now.p[i]) && strcmp(e->old.p[i], e->now.p[i]) && !strcmp(wanted->p[i], e->now.p[i]))
        return true;
  }
  return false;
}

/* In classes 4 and 5 also a change that a request would make which was never answered: it can't be told whether it did. */
static bool repeats_doubtful(const simstore *store, const doc *d, const value *wanted) {
  if (store->memory.store_class < AON_CLASS_CONDITIONAL)
    return false;
  bool takes = !wanted->there, returns = false;
  for (int i = 0; i < SIM_PROPERTIES; i++) {
    takes = takes || (d->now.p[i][0] && !wanted->p[i][0]);
    returns = returns || (strcmp(d->now.p[i], wanted->p[i]) && wanted->p[i][0] != 'F');
  }
  for (size_t b = 0; b < W->bulk_count; b++)
    for (int i = 0; i < W->bulks[b].line_count; i++) {
      const line *l = &W->bulks[b].lines[i];
      if (&W->stores[l->store].docs[l->doc] != d)
        continue;
      if (takes && (l->verb == V_DELETE || l->verb == V_REPLACE))
        return true;
      for (size_t u = 0; (takes || returns) && u < W->bulk_count; u++)
        if (W->bulks[u].undoes == (int)b)
          return true;
    }
  return false;
}

/* A delete of what a bulk operation had deleted and made anew: going back it finds nothing where its create was, and gives back what its
 * own delete took (README, found and not mended). */
static bool deletes_remade(const simstore *store, const doc *d, const value *wanted) {
  for (size_t b = 0; !wanted->there && b < W->bulk_count; b++) {
    bool deleted = false;
    for (int i = 0; i < W->bulks[b].line_count; i++) {
      const line *l = &W->bulks[b].lines[i];
      if (l->store != (int)(store - W->stores) || &store->docs[l->doc] != d)
        continue;
      if (deleted && l->verb != V_DELETE)
        return true;
      deleted = deleted || l->verb == V_DELETE;
    }
  }
  return false;
}

static void new_value(value *v, int property) { snprintf(v->p[property], sizeof v->p[0], "F%u", (unsigned)W->foreign_left); }

void foreign_write(void) {
  if (!W->foreign_left)
    return;
  W->foreign_left--;
  simstore *store = &W->stores[pick((uint32_t)W->store_count)];
  doc *d = &store->docs[pick((uint32_t)store->doc_count)];
  value wanted = d->now;
  int property = (int)pick(SIM_PROPERTIES);
  wanted.there = true;
  switch (pick(6)) {
  case 0:
    new_value(&wanted, property);
    break;
  case 1:
    wanted = (value){0};
    break;
  case 2: /* what is there, once more */
    wanted = d->now;
    break;
  case 3:
    wanted = (value){.there = true};
    for (int i = 0; i < SIM_PROPERTIES; i++)
      new_value(&wanted, i);
    break;
  case 4: /* what was there once */
    if (d->last)
      wanted = pick(2) ? d->first->old : d->last->old;
    break;
  default:
    wanted.p[property][0] = 0;
    break;
  }
  if (wanted.there && !wanted.p[0][0] && !wanted.p[1][0] && !wanted.p[2][0])
    new_value(&wanted, property); /* an empty document is none in some stores */
  bool tells_apart = !repeats_ours(d, &wanted) && !repeats_doubtful(store, d, &wanted) && !deletes_remade(store, d, &wanted);
  if (store->ends)
    witness_observe(store, &store->ending);
  bool ends = store->ends;
  store->ends = false;
  bool done = foreign_put(store, d, &wanted);
  if (!done) {
    store->ends = ends;
    return;
  }
  W->counts.foreign_writes++;
  if (!tells_apart) {
    d->excused = true;
    W->counts.excused++;
    trace("  (somebody else wrote what a bulk operation wrote too: %s/%s can't be judged)", store->name, d->id);
  }
  author who = {.hand = BY_FOREIGN, .bulk = -1, .process = -1, .sent_ms = W->now_ms};
  witness_observe(store, &who);
  store->ends = ends;
}

/* ---- faults ---- */

static aon_result unavailable(const witness *w, aon_error *error) {
  return aon_fail(error, AON_TRANSIENT, "unavailable", "The store %s is unavailable. Try again later.", w->store->name);
}

static aon_result no_reply(const witness *w, aon_error *error) {
  return aon_fail(error, AON_UNKNOWN, "no_reply", "The store %s did not answer in time.", w->store->name);
}

static bool strikes(fault kind) { return !W->quiet && W->enabled[kind] && task_process() && chance(W->rate[kind]); }

/* The way to the store: it takes time, and may be closed. What fails here was never sent. */
static aon_result reach(witness *w, aon_error *error) {
  sim_point("store");
  if (strikes(F_SLOW))
    sim_sleep(1 + pick((uint32_t)w->store->config.timeout_ms - 1));
  if (task_process() && W->now_ms < w->store->away_until_ms)
    return unavailable(w, error);
  if (strikes(F_REFUSE)) {
    W->counts.refusals++;
    trace("  %s: unavailable", w->store->name);
    return unavailable(w, error);
  }
  return AON_OK;
}

static bool lost_with_restart(const witness *w) { return w->transaction && w->began < w->store->open_since; }

/* What becomes of the next request that changes something. */
static aon_memory_trouble trouble(const witness *w, bool may_delay) {
  if (strikes(F_LOSE_REPLY)) {
    W->counts.lost_replies++;
    trace("  %s: the reply is lost", w->store->name);
    return AON_MEMORY_LOSE_REPLY;
  }
  w->store->loses = may_delay && !w->store->sqlite && strikes(F_LOSE);
  if (w->store->loses) {
    trace("  %s: the request is lost", w->store->name);
    return AON_MEMORY_DELAY;
  }
  if (may_delay && !w->store->sqlite && strikes(F_DELAY)) {
    trace("  %s: the request is delayed", w->store->name);
    return AON_MEMORY_DELAY;
  }
  return AON_MEMORY_NONE;
}

/* Requests arrive in the order in which they were sent, at most the horizon later, unless this world is one where they may. */
static void note_flight(simstore *store, const author *who, doc *single) {
  struct flight *f = calloc(1, sizeof *f), **last = &store->flights;
  uint32_t longest = (uint32_t)store->config.horizon_ms * (W->beyond_horizon ? 4 : 1), how_long = store->loses ? 0 : pick(longest - 1);
  int64_t due = W->now_ms + 1 + how_long;
  while (*last)
    last = &(*last)->next;
  if (due < store->deliver_at_ms)
    due = store->deliver_at_ms;
  store->deliver_at_ms = due;
  *f = (struct flight){.hand = who->hand,
                       .bulk = who->bulk,
                       .process = who->process,
                       .sent_ms = W->now_ms,
                       .due_ms = due,
                       .lost = store->loses || how_long % 5 == 4,
                       .single = single,
                       .changes = single ? single->changes : 0};
  *last = f;
}

static bool is_expired(int b, int who) { return b >= 0 && W->bulks[b].owner != who; }

/* ---- guarantees: where a store can't keep its documents from a request that should not count any more (README) ---- */

static void excuse(simstore *store, doc *d, const char *why) {
  if (d->excused)
    return;
  d->excused = true;
  W->counts.excused++;
  trace("  (%s/%s can't be judged: %s)", store->name, d->id, why);
}

static void judge_single(simstore *store, doc *d, const author *who, size_t changes_before) {
  bool changed = d->changes != changes_before && d->last->hand == who->hand && d->last->bulk == who->bulk;
  if (!changed)
    return;
  if (store->memory.store_class == AON_CLASS_PLAIN) {
    if (d->changes != changes_before + 1)
      excuse(store, d, "class 5 overwrote what came between its look and its write");
    else if (who->late || who->expired)
      excuse(store, d, "class 5 wrote late");
  } else if (who->late || who->expired) {
    bool beyond = W->now_ms > who->sent_ms + store->config.horizon_ms || who->expired;
    bool leaves_stamp = d->now.there && d->now.stamp[0] && strlen(d->now.stamp) == 36;
    int64_t lost_ms = who->bulk >= 0 ? W->bulks[who->bulk].lost_ms : 0;
    if (beyond && !leaves_stamp)
      excuse(store, d, "a late delete leaves no stamp");
    else if (who->expired && lost_ms && (W->enabled[F_CLOCK] || W->now_ms - lost_ms > store->config.watch_ms))
      excuse(store, d, "nobody watches any more for what comes that late");
  }
}

/* ---- deliveries and broken connections ---- */

/* A connection breaks, and with it goes all that is under way on it. */
static void lose(simstore *store) {
  trace("%s: what was under way is lost for good", store->name);
  for (; store->flights; store->flights = store->flights->next)
    W->counts.lost_requests++;
  aon_memory_drop(store->database);
}

static void deliver(simstore *store) {
  if (store->flights->lost) {
    lose(store);
    return;
  }
  struct flight *f = store->flights;
  author who = {.hand = f->hand, .bulk = f->bulk, .process = f->process, .late = true, .sent_ms = f->sent_ms};
  who.expired = is_expired(f->bulk, f->process);
  bool done;
  aon_error error = AON_ERROR_INIT;
  store->flights = f->next;
  size_t before = f->single ? f->single->changes : 0;
  W->counts.late_deliveries++;
  if (aon_memory_deliver(store->database, &done, &error))
    abort();
  trace("%s: a request of bulk %d arrives late, %s", store->name, f->bulk, done ? "and takes effect" : "without effect");
  witness_observe(store, &who);
  if (!f->single)
    return;
  judge_single(store, f->single, &who, store->memory.store_class == AON_CLASS_PLAIN ? f->changes : before);
  if (f->single->changes != before && f->single->last->hand == BY_FORWARD && f->single->changes > f->changes + 1)
    excuse(store, f->single, "the same content had come back before a doubled request arrived");
}

static void broken(witness *w) {
  if (!w->store->sqlite)
    inner_of(w->store)->close(w->inner);
  author who = w->who;
  who.expired = is_expired(who.bulk, who.process);
  witness_observe(w->store, &who);
  w->store->ends = w->store->ends && w->store->ending.process != who.process;
}

void witness_process_crash(process *p) {
  for (witness *w = p->stores, *next; w; w = next) {
    next = w->next;
    if (!w->store->sqlite && !W->quiet && pick(4) == 3) { /* the server notices later */
      w->owner = NULL;
      w->breaks_ms = W->now_ms + 1 + pick(15000);
      w->next = orphans;
      orphans = w;
    } else {
      broken(w);
    }
  }
  p->stores = NULL;
}

void witness_machine_crash(void) {
  static const author nobody = {.hand = BY_NOBODY, .bulk = -1, .process = -1};
  for (size_t i = 0; i < W->store_count; i++)
    if (W->stores[i].sqlite)
      witness_observe(&W->stores[i], &nobody);
}

void witness_events(void) {
  for (witness **at = &orphans; *at;) {
    witness *w = *at;
    if (w->breaks_ms > W->now_ms && !W->quiet) {
      at = &w->next;
      continue;
    }
    *at = w->next;
    trace("%s: the connection of a dead process is found broken", w->store->name);
    broken(w);
  }
  for (size_t i = 0; i < W->store_count; i++)
    while (W->stores[i].flights && W->stores[i].flights->due_ms <= W->now_ms)
      deliver(&W->stores[i]);
}

int64_t witness_next_event_ms(void) {
  int64_t next = INT64_MAX;
  for (const witness *w = orphans; w; w = w->next)
    next = w->breaks_ms < next ? w->breaks_ms : next;
  for (size_t i = 0; i < W->store_count; i++)
    if (W->stores[i].flights && W->stores[i].flights->due_ms < next)
      next = W->stores[i].flights->due_ms;
  return next;
}

void witness_restart_store(simstore *store) {
  W->counts.store_restarts++;
  store->open_since = ++W->number;
  bool empty_handed = store->memory.store_class == AON_CLASS_PREPARED && pick(3) == 2;
  trace("%s restarts%s", store->name, empty_handed ? " and has lost its prepared transactions" : "");
  if (empty_handed)
    aon_memory_prepared_drop(store->database);
}

/* ---- the adapter ---- */

static aon_result w_open(aon_env *env, const aon_store_config *config, void **ret_state, aon_store_caps *ret_caps, aon_error *error) {
  simstore *store = (simstore *)config->options;
  aon_store_config inner = *config;
  inner.options = store->database;
  bool before = world_enter();
  witness *w = calloc(1, sizeof *w);
  world_leave(before);
  w->store = store;
  w->owner = task_process();
  aon_result result = reach(w, error);
  before = enter(w);
  if (!result)
    result = inner_of(store)->open(env, &inner, &w->inner, ret_caps, error);
  leave(w, before);
  if (result)
    return result; /* freed with the world */
  if (w->owner) {
    w->next = w->owner->stores;
    w->owner->stores = w;
  }
  *ret_state = w;
  return AON_OK;
}

static void w_close(void *state) {
  witness *w = state;
  for (witness **at = w->owner ? &w->owner->stores : NULL; at && *at; at = &(*at)->next)
    if (*at == w) {
      *at = w->next;
      break;
    }
  bool before = enter(w);
  inner_of(w->store)->close(w->inner);
  leave(w, before);
}

static aon_result w_describe(void *state, const aon_collection *collection, const aon_shape **ret_shape, aon_error *error) {
  witness *w = state;
  bool before = enter(w);
  aon_result result = inner_of(w->store)->describe(w->inner, collection, ret_shape, error);
  leave(w, before);
  return result;
}

static aon_result w_normalise(void *state, const aon_collection *collection, aon_text id, const bson_t *document, struct aon_arena *arena,
                              aon_image *ret_image, aon_error *error) {
  witness *w = state;
  bool before = enter(w);
  aon_result result = inner_of(w->store)->normalise(w->inner, collection, id, document, arena, ret_image, error);
  leave(w, before);
  return result;
}

static aon_result w_read(void *state, const aon_collection *collection, const aon_text *ids, size_t count, struct aon_arena *arena,
                         aon_image *images, aon_error *error) {
  witness *w = state;
  aon_result result = reach(w, error);
  if (!result && lost_with_restart(w))
    result = unavailable(w, error);
  if (result)
    return result;
  bool before = enter(w);
  result = inner_of(w->store)->read(w->inner, collection, ids, count, arena, images, error);
  leave(w, before);
  return result;
}

static aon_result w_scan(void *state, const aon_collection *collection, const aon_match *matches, size_t count,
                         const char *const *properties, aon_scan_each each, void *context, aon_error *error) {
  witness *w = state;
  aon_result result = reach(w, error);
  return result ? result : inner_of(w->store)->scan(w->inner, collection, matches, count, properties, each, context, error);
}

static author author_of(const witness *w, const aon_branch *branch, hand by) {
  return (author){.hand = by, .bulk = bulk_of(branch->bulk_id), .process = w->owner ? w->owner->number : -1, .sent_ms = W->now_ms};
}

static aon_result w_begin(void *state, const aon_branch *branch, aon_marker marker, aon_transaction **ret_transaction, aon_error *error) {
  witness *w = state;
  aon_result result = reach(w, error);
  if (result)
    return result;
  bool before = enter(w);
  result = inner_of(w->store)->begin(w->inner, branch, marker, ret_transaction, error);
  leave(w, before);
  trace("  %s: begin %u.%u %s: %s", w->store->name, branch->attempt, branch->batch, marker == AON_MARKER_COMMIT ? "commit" : "undone",
        aon_result_name(result));
  if (result)
    return result;
  w->transaction = *ret_transaction;
  w->began = ++W->number;
  w->attempt = branch->attempt;
  w->batch = branch->batch;
  w->who = author_of(w, branch, marker == AON_MARKER_UNDONE || branch->attempt >= 1000000 ? BY_BACK : BY_FORWARD);
  return AON_OK;
}

static doc *doc_of(simstore *store, aon_text id) {
  for (size_t i = 0; i < store->doc_count; i++)
    if (strlen(store->docs[i].id) == id.length && !memcmp(store->docs[i].id, id.data, id.length))
      return &store->docs[i];
  abort();
}

/* Class 5, between comparing and writing. */
static void between(void *context) {
  (void)context;
  world_leave(false);
  sim_point("between");
  world_enter();
}

static aon_result single(witness *w, const aon_write *write, aon_write_state *state, aon_error *error) {
  simstore *store = w->store;
  doc *d = doc_of(store, write->id);
  size_t failed = 0;
  aon_result result = reach(w, error);
  *state = AON_WRITE_NOT_SENT;
  if (result)
    return result;
  process *p = task_process();
  author who = {.hand = write->compensates ? BY_BACK : BY_FORWARD, .bulk = p ? p->bulk : -1, .process = p ? p->number : -1};
  who.sent_ms = W->now_ms;
  aon_memory_trouble what = trouble(w, true);
  size_t changes = d->changes;
  bool before = world_enter();
  aon_memory_between(store->database, p ? between : NULL, NULL);
  aon_memory_trouble_at(store->database, what, 1, 1);
  size_t under_way = aon_memory_under_way(store->database);
  result = inner_of(store)->apply(w->inner, NULL, write, 1, state, &failed, error);
  aon_memory_trouble_at(store->database, AON_MEMORY_NONE, 0, 0);
  who.expired = is_expired(who.bulk, who.process);
  witness_observe(store, &who);
  judge_single(store, d, &who, changes);
  if (aon_memory_under_way(store->database) > under_way)
    note_flight(store, &who, d);
  world_leave(before);
  trace("  %s: write %s/%s %s: %s", store->name, write->collection->name, d->id, write->compensates ? "back" : "forward",
        aon_result_name(result));
  return result;
}

static aon_result w_apply(void *state, aon_transaction *transaction, const aon_write *writes, size_t count, aon_write_state *states,
                          size_t *ret_failed, aon_error *error) {
  witness *w = state;
  aon_result result = AON_OK;
  *ret_failed = 0;
  if (!transaction) {
    memset(states, 0, count * sizeof *states);
    for (size_t i = 0; !result && i < count; i++) {
      *ret_failed = i;
      result = single(w, &writes[i], &states[i], error);
    }
    return result;
  }
  result = reach(w, error);
  if (!result && lost_with_restart(w))
    result = unavailable(w, error);
  if (result)
    return result;
  bool before = enter(w);
  result = inner_of(w->store)->apply(w->inner, transaction, writes, count, states, ret_failed, error);
  leave(w, before);
  trace("  %s: apply %zu writes: %s", w->store->name, count, aon_result_name(result));
  return result;
}

static aon_result w_flush(void *state, aon_transaction *transaction, aon_error *error) {
  witness *w = state;
  if (lost_with_restart(w))
    return unavailable(w, error);
  bool before = enter(w);
  aon_result result = inner_of(w->store)->flush(w->inner, transaction, error);
  leave(w, before);
  return result;
}

static void abort_inner(witness *w, aon_transaction *transaction) {
  bool before = enter(w);
  inner_of(w->store)->abort(w->inner, transaction);
  leave(w, before);
  w->transaction = NULL;
}

static void w_abort(void *state, aon_transaction *transaction) {
  sim_point("store");
  trace("  %s: abort", ((witness *)state)->store->name);
  abort_inner(state, transaction);
}

static void not_after_abort(const witness *w, aon_result result) {
  if (result || w->who.hand != BY_FORWARD || w->attempt >= 1000000)
    return;
  for (const struct aborted *a = w->store->aborted; a; a = a->next)
    if (a->bulk == w->who.bulk && a->attempt == w->attempt && a->batch == w->batch)
      violation("%s took a commit of bulk %d, branch %u.%u, after somebody was shown its abort marker", w->store->name, a->bulk, a->attempt,
                a->batch);
}

/* The request that ends a transaction: its commit, or its prepare. */
static aon_result ends(witness *w, aon_transaction *transaction, bool commits, aon_error *error) {
  simstore *store = w->store;
  aon_result result = reach(w, error);
  if (!result && lost_with_restart(w))
    result = unavailable(w, error);
  if (result) {
    abort_inner(w, transaction);
    return result;
  }
  aon_memory_trouble what = trouble(w, true);
  w->who.sent_ms = W->now_ms;
  author who = w->who;
  size_t under_way = 0;
  bool before = enter(w);
  if (!store->sqlite) {
    aon_memory_trouble_at(store->database, what, 1, 1);
    under_way = aon_memory_under_way(store->database);
  } else {
    static const author nobody = {.hand = BY_NOBODY, .bulk = -1, .process = -1};
    if (store->unseen) /* whose that was can't be told any more once somebody else has written */
      witness_observe(store, &nobody);
    who.expired = is_expired(who.bulk, who.process);
    store->ending = who;
    store->ends = true;
  }
  result = commits ? inner_of(store)->commit(w->inner, transaction, error) : inner_of(store)->prepare(w->inner, transaction, error);
  if (!store->sqlite)
    aon_memory_trouble_at(store->database, AON_MEMORY_NONE, 0, 0);
  leave(w, before);
  w->transaction = NULL;
  who.expired = is_expired(who.bulk, who.process);
  bool outer = world_enter();
  witness_observe(store, &who);
  store->ends = false;
  if (commits && what != AON_MEMORY_DELAY)
    not_after_abort(w, result);
  if (!store->sqlite && aon_memory_under_way(store->database) > under_way)
    note_flight(store, &who, NULL);
  world_leave(outer);
  if (store->sqlite && !result && what == AON_MEMORY_LOSE_REPLY)
    result = no_reply(w, error);
  trace("  %s: %s: %s", store->name, commits ? "commit" : "prepare", aon_result_name(result));
  return result;
}

static aon_result w_prepare(void *state, aon_transaction *transaction, aon_error *error) { return ends(state, transaction, false, error); }
static aon_result w_commit(void *state, aon_transaction *transaction, aon_error *error) { return ends(state, transaction, true, error); }

static aon_result ends_prepared(witness *w, const aon_branch *branch, bool commits, aon_error *error) {
  aon_result result = reach(w, error);
  if (result)
    return result;
  aon_memory_trouble what = trouble(w, true);
  author who = author_of(w, branch, BY_FORWARD);
  bool before = world_enter();
  aon_memory_trouble_at(w->store->database, what, 1, 1);
  size_t under_way = aon_memory_under_way(w->store->database);
  result =
      commits ? aon_memory_adapter.commit_prepared(w->inner, branch, error) : aon_memory_adapter.abort_prepared(w->inner, branch, error);
  aon_memory_trouble_at(w->store->database, AON_MEMORY_NONE, 0, 0);
  witness_observe(w->store, &who);
  if (aon_memory_under_way(w->store->database) > under_way)
    note_flight(w->store, &who, NULL);
  world_leave(before);
  trace("  %s: %s prepared: %s", w->store->name, commits ? "commit" : "abort", aon_result_name(result));
  return result;
}

static aon_result w_commit_prepared(void *state, const aon_branch *branch, aon_error *error) {
  return ends_prepared(state, branch, true, error);
}
static aon_result w_abort_prepared(void *state, const aon_branch *branch, aon_error *error) {
  return ends_prepared(state, branch, false, error);
}

static aon_result w_resolve(void *state, const aon_branch *branch, aon_branch_state *ret_state, aon_error *error) {
  static const char *const names[] = {"aborted", "committed", "undone", "prepared", "open"};
  witness *w = state;
  aon_result result = reach(w, error);
  if (result)
    return result;
  bool before = enter(w);
  result = inner_of(w->store)->resolve(w->inner, branch, ret_state, error);
  leave(w, before);
  trace("  %s: resolve %u.%u: %s %s", w->store->name, branch->attempt, branch->batch, aon_result_name(result),
        result ? "" : names[*ret_state]);
  if (!result && *ret_state == AON_BRANCH_ABORTED) {
    bool outer = world_enter();
    struct aborted *a = calloc(1, sizeof *a);
    *a = (struct aborted){.next = w->store->aborted, .bulk = bulk_of(branch->bulk_id), .attempt = branch->attempt, .batch = branch->batch};
    w->store->aborted = a;
    world_leave(outer);
  }
  if (!result && strikes(F_LOSE_REPLY)) {
    W->counts.lost_replies++;
    trace("  %s: the reply is lost", w->store->name);
    return no_reply(w, error);
  }
  return result;
}

static aon_result w_forget(void *state, int64_t before_ms, aon_error *error) {
  witness *w = state;
  bool before = enter(w);
  aon_result result = inner_of(w->store)->forget(w->inner, before_ms, error);
  leave(w, before);
  return result;
}

static aon_result w_examine(void *state, struct aon_buffer *report, bool *ret_healthy, aon_error *error) {
  witness *w = state;
  return inner_of(w->store)->examine(w->inner, report, ret_healthy, error);
}

static void w_cancel(void *state) {
  witness *w = state;
  inner_of(w->store)->cancel(w->inner);
}

const aon_store_adapter witness_adapter = {.kind = "witness",
                                           .interface_version = AON_STORE_INTERFACE,
                                           .open = w_open,
                                           .close = w_close,
                                           .describe = w_describe,
                                           .normalise = w_normalise,
                                           .read = w_read,
                                           .scan = w_scan,
                                           .begin = w_begin,
                                           .apply = w_apply,
                                           .flush = w_flush,
                                           .prepare = w_prepare,
                                           .commit = w_commit,
                                           .abort = w_abort,
                                           .commit_prepared = w_commit_prepared,
                                           .abort_prepared = w_abort_prepared,
                                           .resolve = w_resolve,
                                           .forget = w_forget,
                                           .examine = w_examine,
                                           .cancel = w_cancel};

void witness_make_store(simstore *store) {
  if (store->sqlite) {
    const char *mode = pick(2) ? "pragma page_size=1024; pragma journal_mode=wal" : "pragma page_size=1024; pragma journal_mode=delete";
    sqlite3_exec(eye_of(store), mode, NULL, NULL, NULL);
    if (sqlite3_exec(eye_of(store), "create table if not exists c (id text primary key, doc text)", NULL, NULL, NULL))
      abort();
  } else {
    aon_error error = AON_ERROR_INIT;
    if (aon_memory_new(&store->memory, &store->database, &error))
      abort();
  }
  for (size_t i = 0; i < store->doc_count; i++)
    if (store->docs[i].now.there && !foreign_put(store, &store->docs[i], &store->docs[i].now))
      abort();
}

/* ---- what the journal is asked ---- */

aon_result __real_aon_journal_submit(aon_journal *journal, const aon_submission *submission, aon_arena *arena, aon_bulk *ret_bulk,
                                     bool *ret_existed, aon_error *error);
aon_result __wrap_aon_journal_submit(aon_journal *journal, const aon_submission *submission, aon_arena *arena, aon_bulk *ret_bulk,
                                     bool *ret_existed, aon_error *error);
aon_result __real_aon_journal_claim(aon_journal *journal, const char *id, const aon_process *worker, aon_arena *arena, aon_bulk *ret_bulk,
                                    aon_error *error);
aon_result __wrap_aon_journal_claim(aon_journal *journal, const char *id, const aon_process *worker, aon_arena *arena, aon_bulk *ret_bulk,
                                    aon_error *error);
aon_result __real_aon_journal_move(aon_journal *journal, const char *id, int64_t epoch, aon_state from, aon_state to,
                                   const aon_bulk_change *change, aon_error *error);
aon_result __wrap_aon_journal_move(aon_journal *journal, const char *id, int64_t epoch, aon_state from, aon_state to,
                                   const aon_bulk_change *change, aon_error *error);
aon_result __real_aon_journal_batch(aon_journal *journal, const char *id, int64_t epoch, const aon_batch *batch, aon_error *error);
aon_result __wrap_aon_journal_batch(aon_journal *journal, const char *id, int64_t epoch, const aon_batch *batch, aon_error *error);

static void works_on(const char *id) {
  process *p = task_process();
  if (p)
    p->bulk = bulk_of(id);
}

static void leased(const char *id) {
  process *p = task_process();
  int b = bulk_of(id);
  if (!p || b < 0)
    return;
  if (W->bulks[b].owner >= 0 && W->bulks[b].owner != p->number)
    W->counts.takeovers++;
  if (W->bulks[b].owner >= 0 && W->bulks[b].owner != p->number && !W->bulks[b].lost_ms)
    W->bulks[b].lost_ms = W->now_ms;
  W->bulks[b].owner = p->number;
}

aon_result __wrap_aon_journal_submit(aon_journal *journal, const aon_submission *submission, aon_arena *arena, aon_bulk *ret_bulk,
                                     bool *ret_existed, aon_error *error) {
  aon_result result = __real_aon_journal_submit(journal, submission, arena, ret_bulk, ret_existed, error);
  if (!result && !*ret_existed) {
    works_on(submission->id);
    leased(submission->id);
  }
  trace("  journal: submit bulk %d: %s%s", bulk_of(submission->id), aon_result_name(result), !result && *ret_existed ? ", was there" : "");
  return result;
}

aon_result __wrap_aon_journal_claim(aon_journal *journal, const char *id, const aon_process *worker, aon_arena *arena, aon_bulk *ret_bulk,
                                    aon_error *error) {
  aon_result result = __real_aon_journal_claim(journal, id, worker, arena, ret_bulk, error);
  if (!result) {
    works_on(id);
    leased(id);
  }
  trace("  journal: claim bulk %d: %s", bulk_of(id), aon_result_name(result));
  return result;
}

aon_result __wrap_aon_journal_move(aon_journal *journal, const char *id, int64_t epoch, aon_state from, aon_state to,
                                   const aon_bulk_change *change, aon_error *error) {
  works_on(id);
  aon_result result = __real_aon_journal_move(journal, id, epoch, from, to, change, error);
  trace("  journal: bulk %d %s -> %s: %s", bulk_of(id), aon_state_name(from), aon_state_name(to), aon_result_name(result));
  return result;
}

aon_result __wrap_aon_journal_batch(aon_journal *journal, const char *id, int64_t epoch, const aon_batch *batch, aon_error *error) {
  static const char *const names[] = {"announced", "applied", "undone", "refused"};
  works_on(id);
  aon_result result = __real_aon_journal_batch(journal, id, epoch, batch, error);
  trace("  journal: bulk %d batch %s %u.%u %s%s: %s", bulk_of(id), batch->store, batch->attempt, batch->batch, names[batch->status],
        batch->unanswered ? ", unanswered" : "", aon_result_name(result));
  return result;
}
