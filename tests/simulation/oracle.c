/* The oracle: was what happened legal? It knows what was asked for, every change that a store took and by whom, what callers were told and
 * readers saw, and the rows of the journal in the end. It shares no code with the coordinator and encodes docs/protocol.md anew.
 *
 * The one idea: for each document, the changes of those bulk operations that are *in*, and of everybody else, are played again in the order
 * in which the store took them, property by property; the changes of those that are *out* are left away. What comes out must be what stands
 * there. A document that the journal names as in conflict is held only to this: nobody else's value is lost. */
#include "sim.h"

typedef struct row { /* of the journal, for each bulk operation */
  bool there;
  char state[24];
  int64_t number;
  bool holds;
} row;

#define CONFLICTS "select b.id, c.store, c.document_id, c.code from conflicts c join bulk b on b.number = c.bulk where c.watched = 0"

static row rows[SIM_BULKS];
static bool named[SIM_BULKS][SIM_STORES][SIM_DOCS];
static char named_code[SIM_BULKS][SIM_STORES][SIM_DOCS][32];

/* ---- the journal's rows ---- */

typedef void (*row_do)(sqlite3_stmt *statement);

static void journal_rows(const char *sql, row_do each) {
  sqlite3 *journal = journal_eye();
  sqlite3_stmt *statement;
  int rc = sqlite3_prepare_v2(journal, sql, -1, &statement, NULL);
  if (!rc) {
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW)
      each(statement);
    sqlite3_finalize(statement);
  }
  if (rc != SQLITE_DONE)
    violation("the journal can't be read: %s", sqlite3_errmsg(journal));
}

static const char *text_at(sqlite3_stmt *statement, int column) {
  const char *text = (const char *)sqlite3_column_text(statement, column);
  return text ? text : "";
}

static void take_bulk(sqlite3_stmt *statement) {
  int b = bulk_of(text_at(statement, 0));
  if (b < 0) {
    violation("the journal has a bulk operation %s that nobody asked for", text_at(statement, 0));
    return;
  }
  rows[b] = (row){.there = true, .number = sqlite3_column_int64(statement, 2), .holds = sqlite3_column_int64(statement, 3) != 0};
  snprintf(rows[b].state, sizeof rows[b].state, "%s", text_at(statement, 1));
}

static int store_of(const char *name) {
  for (size_t i = 0; i < W->store_count; i++)
    if (!strcmp(W->stores[i].name, name) || (W->stores[i].other_name[0] && !strcmp(W->stores[i].other_name, name)))
      return (int)i;
  return -1;
}

static void take_conflict(sqlite3_stmt *statement) {
  int b = bulk_of(text_at(statement, 0)), s = store_of(text_at(statement, 1));
  for (size_t d = 0; b >= 0 && s >= 0 && d < W->stores[s].doc_count; d++)
    if (!strcmp(W->stores[s].docs[d].id, text_at(statement, 2))) {
      named[b][s][d] = true;
      snprintf(named_code[b][s][d], sizeof named_code[b][s][d], "%s", text_at(statement, 3));
      W->counts.conflicts++;
      W->counts.gave_up += !strcmp(named_code[b][s][d], "gave_up");
      return;
    }
  violation("the journal names a conflict %s/%s of %s that can't be", text_at(statement, 1), text_at(statement, 2), text_at(statement, 0));
}

bool oracle_in_conflict(int s, int d) {
  memset(named, 0, sizeof named);
  uint64_t before = W->counts.conflicts, gave_up = W->counts.gave_up;
  journal_rows(CONFLICTS, take_conflict);
  W->counts.conflicts = before;
  W->counts.gave_up = gave_up;
  for (size_t b = 0; b < W->bulk_count; b++)
    if (named[b][s][d])
      return true;
  return false;
}

/* ---- arrows, as docs/protocol.md draws them ---- */

static const char *const arrows[][2] = {{"", "parsing"},
                                        {"", "planning"},
                                        {"", "queued"},
                                        {"parsing", "validating"},
                                        {"validating", "planning"},
                                        {"planning", "logged"},
                                        {"logged", "executing"},
                                        {"executing", "preparing"},
                                        {"preparing", "committing"},
                                        {"committing", "committed"},
                                        {"planning", "planned"},
                                        {"planning", "validating"},
                                        {"parsing", "rejected"},
                                        {"validating", "rejected"},
                                        {"planning", "rejected"},
                                        {"parsing", "cancelled"},
                                        {"validating", "cancelled"},
                                        {"planning", "cancelled"},
                                        {"logged", "cancelled"},
                                        {"parsing", "rolled_back"},
                                        {"validating", "rolled_back"},
                                        {"planning", "rolled_back"},
                                        {"logged", "rolled_back"},
                                        {"executing", "rolling_back"},
                                        {"preparing", "rolling_back"},
                                        {"rolling_back", "rolled_back"},
                                        {"rolling_back", "rollback_failed"},
                                        {"executing", "held"},
                                        {"held", "executing"},
                                        {"held", "rolling_back"},
                                        {"committed", "undoing"},
                                        {"undoing", "undone"},
                                        {"undoing", "undo_failed"},
                                        {"undoing", "committed"},
                                        {"committing", "commit_failed"},
                                        {"rollback_failed", "rolling_back"},
                                        {"rollback_failed", "rolled_back"},
                                        {"commit_failed", "committing"},
                                        {"commit_failed", "committed"},
                                        {"undo_failed", "undoing"},
                                        {"undo_failed", "undone"},
                                        {"undo_failed", "committed"}};

static char last_state[SIM_BULKS][24];
static int64_t leased_to[SIM_BULKS]; /* number of the process that has the lease, as the journal's rows tell */
static bool named_once[SIM_BULKS];   /* some of its documents were in conflict, so readers saw what the store had */

static void take_arrow(sqlite3_stmt *statement) {
  int b = bulk_of(text_at(statement, 0));
  const char *what = text_at(statement, 1);
  int64_t by = sqlite3_column_int64(statement, 2);
  bool legal = false;
  if (b < 0)
    return;
  if (!*what || !last_state[b][0]) /* a claim, or the first state */
    leased_to[b] = by;
  if (!*what)
    return;
  if (leased_to[b] != by)
    violation("bulk %d went from %s to %s by process %lld, after process %lld had taken it over", b, last_state[b], what, (long long)by,
              (long long)leased_to[b]);
  for (size_t i = 0; i < sizeof arrows / sizeof *arrows; i++)
    legal = legal || (!strcmp(arrows[i][0], last_state[b]) && !strcmp(arrows[i][1], what));
  if (!legal)
    violation("bulk %d went from “%s” to %s, which is no arrow of the protocol", b, last_state[b], what);
  named_once[b] = named_once[b] || strstr(what, "_failed");
  W->counts.held += !strcmp(what, "held");
  W->counts.resumed += !strcmp(what, "executing") && !strcmp(last_state[b], "held");
  snprintf(last_state[b], sizeof last_state[b], "%s", what);
}

/* ---- in or out ---- */

static bool is(int b, const char *state) { return !strcmp(rows[b].state, state); }

/* An undone one was in; what took it back is a bulk operation of its own, which is in too. */
static bool is_in(int b) {
  return is(b, "committed") || is(b, "undone") || is(b, "undo_failed") || is(b, "undoing") || is(b, "commit_failed");
}

static bool is_named(int s, int d) {
  for (size_t b = 0; b < W->bulk_count; b++)
    if (named[b][s][d])
      return true;
  return false;
}

static void set_diff(value *to, const value *old, const value *now) {
  if (!now->there) {
    *to = (value){0};
    return;
  }
  if (!old->there) {
    *to = *now;
    return;
  }
  for (int i = 0; i < SIM_PROPERTIES; i++)
    if (strcmp(old->p[i], now->p[i])) {
      to->odd = to->odd || !to->there;
      to->there = true;
      memcpy(to->p[i], now->p[i], sizeof to->p[i]);
    }
}

/* A document that somebody only gave properties, while it was there by one that is out, is there for them alone. */
static void drop_empty(value *want) {
  if (want->odd && !want->p[0][0] && !want->p[1][0] && !want->p[2][0])
    *want = (value){0};
  want->odd = false;
}

static bool stays(const entry *e) { return e->hand == BY_FOREIGN || (e->hand == BY_FORWARD && e->bulk >= 0 && is_in(e->bulk)); }

/* Whose value stands in a property, going by what counts. */
static void judge_document(int s, int d) {
  simstore *store = &W->stores[s];
  doc *it = &store->docs[d];
  value want = it->first ? it->first->old : it->now;
  bool theirs[SIM_PROPERTIES] = {false}, their_state = false;
  for (const entry *e = it->first; e; e = e->next) {
    if (!stays(e)) {
      for (int i = 0; e->hand == BY_FORWARD && i < SIM_PROPERTIES; i++) /* it knew what it replaced */
        theirs[i] = theirs[i] && !strcmp(e->old.p[i], e->now.p[i]);
      their_state = their_state && e->old.there == e->now.there;
      continue;
    }
    for (int i = 0; i < SIM_PROPERTIES; i++)
      if (strcmp(e->old.p[i], e->now.p[i]))
        theirs[i] = e->hand == BY_FOREIGN;
    if (e->old.there != e->now.there)
      their_state = e->hand == BY_FOREIGN;
    set_diff(&want, &e->old, &e->now);
  }
  drop_empty(&want);
  char is_text[128], want_text[128];
  value_print(&it->now, is_text);
  value_print(&want, want_text);
  if (it->excused || it->decided || value_equal(&it->now, &want))
    return;
  if (!is_named(s, d)) {
    violation("%s/%s is %s and should be %s", store->name, it->id, is_text, want_text);
    return;
  }
  bool lost = their_state && it->now.there != want.there;
  for (int i = 0; i < SIM_PROPERTIES; i++)
    lost = lost || (theirs[i] && it->now.there && want.there && strcmp(it->now.p[i], want.p[i]));
  if (lost)
    violation("%s/%s is in conflict, and somebody else's write got lost: it is %s and should show what they wrote in %s", store->name,
              it->id, is_text, want_text);
}

/* ---- all of it, once ---- */

/* What the lines of a bulk operation make of a document; false: they don't fit. */
static bool play(const bulk *b, int s, int d, value *v, bool *ret_touched) {
  for (int i = 0; i < b->line_count; i++) {
    const line *l = &b->lines[i];
    if (l->store != s || l->doc != d)
      continue;
    *ret_touched = true;
    if (l->verb == V_CREATE ? v->there : l->verb != V_UPSERT && !v->there)
      return false;
    if (l->verb == V_DELETE || l->verb == V_REPLACE || !v->there)
      *v = (value){.there = l->verb != V_DELETE};
    if (l->verb != V_DELETE)
      snprintf(v->p[l->property], sizeof v->p[0], "%s", l->tag);
  }
  return true;
}

/* Its first and its last change of a document; those of a doubled request that came later don't count. */
static const entry *first_by(const doc *it, int b) {
  for (const entry *e = it->first; e; e = e->next)
    if (e->hand == BY_FORWARD && e->bulk == b)
      return e;
  return NULL;
}

static const entry *last_by(const doc *it, int b) {
  const entry *last = NULL;
  for (const entry *e = it->first; e; e = e->next)
    if (e->hand == BY_FORWARD && e->bulk == b)
      last = e;
  return last;
}

static void judge_in(int b, int s, int d) {
  const doc *it = &W->stores[s].docs[d];
  const entry *first = first_by(it, b), *last = last_by(it, b);
  bool touched = false;
  value v = first ? first->old : it->now;
  bool fits = play(&W->bulks[b], s, d, &v, &touched);
  if (!touched || it->excused || it->decided || named[b][s][d])
    return;
  if (!first) { /* a chain that ends as it began is no change of the store */
    for (const entry *e = it->first; e; e = e->next) {
      value again = e->old;
      if (play(&W->bulks[b], s, d, &again, &touched) && value_equal(&again, &e->old))
        return;
    }
    if (!fits || !value_equal(&v, &it->now))
      violation("bulk %d is %s, but %s/%s never took its change", b, rows[b].state, W->stores[s].name, it->id);
    return;
  }
  if (!fits || !value_equal(&v, &last->now)) {
    char want[128], got[128];
    value_print(&v, want);
    value_print(&last->now, got);
    violation("bulk %d is %s, but it made %s of %s/%s where %s was asked for", b, rows[b].state, got, W->stores[s].name, it->id, want);
  }
}

/* Another one has the same lines, so their values don't tell which of the two it was. */
static bool has_twin(int b) {
  bool twin = W->bulks[b].same_as >= 0;
  for (size_t other = 0; other < W->bulk_count; other++)
    twin = twin || W->bulks[other].same_as == b;
  return twin;
}

static bool has_tag_of(const value *v, int b) {
  char head[16];
  int length = snprintf(head, sizeof head, "B%d.", b);
  for (int i = 0; i < SIM_PROPERTIES; i++)
    if (!strncmp(v->p[i], head, (size_t)length))
      return true;
  return false;
}

static void judge_out(int b, int s, int d) {
  const doc *it = &W->stores[s].docs[d];
  bool before_write = is(b, "rejected") || is(b, "planned") || is(b, "cancelled") || !rows[b].there;
  const entry *first = first_by(it, b);
  if (before_write && first && !it->excused && !is(b, "cancelled"))
    violation("bulk %d is %s, but it changed %s/%s", b, rows[b].there ? rows[b].state : "unknown", W->stores[s].name, it->id);
  if (!it->excused && !it->decided && !named[b][s][d] && !has_twin(b) && has_tag_of(&it->now, b))
    violation("bulk %d is %s, but %s/%s still has its value", b, rows[b].state, W->stores[s].name, it->id);
  if (named[b][s][d] && !it->excused && !it->decided) {
    bool somebody = false;
    /* Classes 4 and 5 can't tell whether a request that was never answered had arrived before somebody else wrote; and of a chain that ends
     * as it began the store shows no change. */
    for (const entry *e = W->stores[s].memory.store_class >= AON_CLASS_CONDITIONAL || !first ? it->first : first; e; e = e->next)
      somebody = somebody || e->hand == BY_FOREIGN || (e->late && e->at_ms > e->sent_ms + W->stores[s].config.horizon_ms) || e->expired ||
                 (e->bulk != b && e->late);            /* a stray, not yet taken back when it was looked at */
    for (int i = 0; i < W->bulks[b].line_count; i++) { /* nor whether it made what was there before */
      const line *l = &W->bulks[b].lines[i];
      somebody =
          somebody || (l->store == s && l->doc == d && l->verb == V_CREATE && W->stores[s].memory.store_class >= AON_CLASS_CONDITIONAL);
    }
    if (!somebody && strcmp(named_code[b][s][d], "gave_up"))
      violation("bulk %d names %s/%s (%s), which nobody else has written since", b, W->stores[s].name, it->id, named_code[b][s][d]);
  }
}

/* ---- words ---- */

static void judge_words(int b) {
  static const char *const ends[] = {"committed", "planned",         "rejected",    "cancelled",    "rolled_back",
                                     "undone",    "rollback_failed", "undo_failed", "commit_failed"};
  const bulk *asked = &W->bulks[b];
  bool ended = false, failed = is(b, "rollback_failed") || is(b, "commit_failed");
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
    ended = ended || is(b, ends[i]);
  if (rows[b].there && !ended)
    violation("bulk %d is still %s", b, rows[b].state);
  if (rows[b].there && rows[b].holds)
    violation("bulk %d is %s and still holds its locks", b, rows[b].state);
  if (rows[b].there && last_state[b][0] && strcmp(last_state[b], rows[b].state))
    violation("bulk %d is %s, but its last event says %s", b, rows[b].state, last_state[b]);
  bool any = false;
  for (size_t s = 0; s < W->store_count; s++)
    for (size_t d = 0; d < W->stores[s].doc_count; d++)
      any = any || named[b][s][d];
  if (any != failed)
    violation("bulk %d is %s and names %s document", b, rows[b].there ? rows[b].state : "unknown", any ? "a" : "no");
  if (asked->told == AON_STATE_COUNT)
    return;
  const char *told = aon_state_name(asked->told);
  bool same = !strcmp(told, rows[b].state) || (asked->told == AON_COMMITTED && is_in(b)) ||
              (asked->told == AON_COMMIT_FAILED && is_in(b)) || (asked->told == AON_ROLLBACK_FAILED && is(b, "rolled_back")) ||
              (asked->told == AON_UNDO_FAILED && is_in(b)) || (asked->told == AON_UNDONE && is(b, "undone"));
  if (!same)
    violation("bulk %d: a caller was told %s, and it is %s", b, told, rows[b].there ? rows[b].state : "unknown");
}

/* The same key runs once. */
static void judge_keys(void) {
  for (size_t b = 0; b < W->bulk_count; b++) {
    const bulk *second = &W->bulks[b];
    if (second->same_as >= 0 && rows[b].there && rows[second->same_as].there)
      violation("bulk %zu ran beside bulk %d, which has its key", b, second->same_as);
  }
}

/* ---- committed reads ---- */

/* Shows what was read the document before this bulk operation, or after it? 0: can't be told. */
static int shows(const sight *seen, int b) {
  const doc *it = &W->stores[seen->store].docs[seen->doc];
  const bulk *asked = &W->bulks[b];
  if (it->excused || it->decided)
    return 0;
  for (size_t other = 0; other < W->bulk_count; other++)
    if (named[other][seen->store][seen->doc])
      return 0;
  for (int i = asked->line_count; i-- > 0;) {
    const line *l = &asked->lines[i];
    if (l->store != seen->store || l->doc != seen->doc)
      continue;
    if (l->verb == V_DELETE)
      return 0;
    const entry *first = first_by(it, b);
    const char *now = seen->seen.p[l->property];
    if (!strcmp(now, l->tag))
      return 1;
    for (const entry *e = first; e; e = e->next)
      if (e->hand == BY_FOREIGN)
        return 0; /* it may be theirs */
    return first && first->old.there && value_equal(&first->old, &seen->seen) ? -1 : 0;
  }
  return 0;
}

static bool is_undone_by_somebody(int b) {
  for (size_t u = 0; u < W->bulk_count; u++)
    if (W->bulks[u].undoes == b)
      return true;
  return false;
}

/* One instant parts all reads that saw it before from all that saw it after; where it is out, none saw it after. */
static void judge_reads(int b) {
  uint64_t latest_before = 0, earliest_after = UINT64_MAX;
  const sight *before = NULL, *after = NULL;
  for (const sight *seen = W->sights; seen; seen = seen->next) {
    int what = shows(seen, b);
    if (what < 0 && seen->began > latest_before) {
      latest_before = seen->began;
      before = seen;
    }
    if (what > 0 && seen->ended < earliest_after) {
      earliest_after = seen->ended;
      after = seen;
    }
  }
  if (after && !is_in(b) && !has_twin(b) && !named_once[b])
    violation("bulk %d is %s, but a committed read of %s/%s saw its value", b, rows[b].state, W->stores[after->store].name,
              W->stores[after->store].docs[after->doc].id);
  if (before && after && latest_before > earliest_after && !is_undone_by_somebody(b) && !has_twin(b) && !named_once[b])
    violation("bulk %d: a committed read saw %s/%s after it, and a later one saw %s/%s before it", b, W->stores[after->store].name,
              W->stores[after->store].docs[after->doc].id, W->stores[before->store].name, W->stores[before->store].docs[before->doc].id);
}

/* ---- nothing left behind ---- */

static void judge_left(void) {
  static const author nobody = {.hand = BY_NOBODY, .bulk = -1, .process = -1};
  for (size_t s = 0; s < W->store_count; s++) {
    simstore *store = &W->stores[s];
    if (!store->sqlite && aon_memory_prepared(store->database))
      violation("%s still has %zu prepared transactions", store->name, aon_memory_prepared(store->database));
    witness_observe(store, &nobody);
    for (size_t d = 0; d < store->doc_count; d++) {
      if (store->docs[d].last && store->docs[d].last->hand == BY_NOBODY)
        violation("%s/%s was changed by nobody", store->name, store->docs[d].id);
      if (store->docs[d].now.odd)
        violation("%s/%s holds what nobody wrote", store->name, store->docs[d].id);
    }
  }
}

static void count_ends(int b) {
  W->counts.commits += is(b, "committed") || is(b, "undone") || is(b, "commit_failed") || is(b, "undo_failed");
  W->counts.rollbacks += is(b, "rolled_back") || is(b, "rollback_failed");
  W->counts.undone += is(b, "undone");
  W->counts.planned += is(b, "planned");
  W->counts.parts_undone += W->bulks[b].undoes >= 0 && W->bulks[b].first >= 0 && is(b, "committed");
}

void oracle_judge(void) {
  memset(rows, 0, sizeof rows);
  memset(named, 0, sizeof named);
  memset(last_state, 0, sizeof last_state);
  memset(named_once, 0, sizeof named_once);
  journal_rows("select id, state, number, holds from bulk", take_bulk);
  journal_rows(CONFLICTS, take_conflict);
  if (!W->fresh)
    journal_rows("select id, state, by from simulated_arrows order by number", take_arrow);
  judge_left();
  for (size_t b = 0; b < W->bulk_count; b++) {
    named_once[b] = named_once[b] || W->bulks[b].told_failed; /* where no arrows were noted */
    judge_words((int)b);
    judge_reads((int)b);
    count_ends((int)b);
    for (size_t s = 0; s < W->store_count; s++)
      for (size_t d = 0; d < W->stores[s].doc_count; d++)
        if (is_in((int)b) && W->bulks[b].undoes < 0)
          judge_in((int)b, (int)s, (int)d);
        else if (!is_in((int)b))
          judge_out((int)b, (int)s, (int)d);
  }
  judge_keys();
  for (size_t s = 0; s < W->store_count; s++)
    for (size_t d = 0; d < W->stores[s].doc_count; d++)
      judge_document((int)s, (int)d);
}
