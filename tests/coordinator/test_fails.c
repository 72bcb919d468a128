/* The n-th allocation of ours, step and statement of SQLite, call to a file and call to a store fails, once, in each thing that can be
 * asked of a journal; a call to a store in three ways: it was not sent, its answer was lost, it was refused for good.
 *
 * What only reads says so and reads the same afterwards. What writes is brought to an end by the next recovery: the stores are wholly as
 * before or wholly as after. No failure of the machine is told as a fault of the caller. (tests/fault fails every call of whole runs of
 * imports; here are the commands a person gives beside them.) AON_FULL=1: every one of them, else all of the first and some of the rest. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>

#include "calls.h"
#include "failing_files.h"
#include "store/fault.h"

enum { OF_STORES = CALL_FILE + 1 };
enum { STORES = 4, WAYS = 3, KINDS = OF_STORES + WAYS * STORES };
static const char *const usual_names[STORES] = {"s", "b", "k", "t"},
                         *const odd_names[STORES] = {"p", "q", "e", "f"}; /* prepared twice; effects; deletes that are finished later */
static const char *const *store_names = usual_names;
static const struct {
  const char *name;
  aon_fault_when when;
  aon_result kind;
} ways[WAYS] = {
    {"unsent", AON_FAULT_BEFORE, AON_TRANSIENT}, {"lost", AON_FAULT_AFTER, AON_UNKNOWN}, {"refused", AON_FAULT_BEFORE, AON_PERMANENT}};

static aon_fault stores_fail[STORES];
static const char *kind_name(int kind) {
  static char text[40];
  if (kind < CALL_FILE)
    return calls_name(kind);
  if (kind == CALL_FILE)
    return "file";
  snprintf(text, sizeof text, "%s call of store %s", ways[(kind - OF_STORES) / STORES].name, store_names[(kind - OF_STORES) % STORES]);
  return text;
}

static void all_stores_fail(void) {
  for (size_t i = 0; i < STORES; i++) {
    stores_fail[i].nth = 1;
    stores_fail[i].for_ever = true;
    stores_fail[i].when = AON_FAULT_BEFORE;
    stores_fail[i].kind = AON_TRANSIENT;
  }
}

static void no_store_fails(void) {
  for (size_t i = 0; i < STORES; i++) {
    stores_fail[i].nth = 0;
    stores_fail[i].for_ever = false;
    stores_fail[i].calls = stores_fail[i].faults = 0;
  }
}

static void fault_set(int kind, int nth) {
  no_store_fails();
  calls_fail(kind, kind < OF_STORES ? nth : 0);
  if (kind < OF_STORES)
    return;
  aon_fault *one = &stores_fail[(kind - OF_STORES) % STORES];
  one->when = ways[(kind - OF_STORES) / STORES].when;
  one->kind = ways[(kind - OF_STORES) / STORES].kind;
  one->nth = (uint64_t)nth;
}

/* Whether it failed. */
static bool fault_end(void) {
  bool failed = calls_end();
  for (size_t i = 0; i < STORES; i++) {
    failed = failed || stores_fail[i].faults;
    stores_fail[i].nth = 0;
  }
  return failed;
}

/* ---- the world ---- */

static void write_input(world *w, const char *lines) {
  FILE *file = fopen(w->input, "wb");
  assert_non_null(file);
  fputs(lines, file);
  fclose(file);
}

#define LINE(store, id, operation, data)                                                                                                   \
  "{\"store\":\"" store "\",\"collection\":\"c\",\"id\":\"" id "\",\"operation\":\"" operation "\",\"data\":" data "}\n"
#define DELETE(store, id) "{\"store\":\"" store "\",\"collection\":\"c\",\"id\":\"" id "\",\"operation\":\"delete\"}\n"
#define PART(s) LINE(s, "new", "create", "{\"n\":5}") LINE(s, "edit", "update", "{\"n\":2}") DELETE(s, "gone")
#define ALL PART("s") PART("b") PART("k") PART("t")
#define ALL_ODD PART("p") PART("q") PART("e") PART("f")
static const char *all_lines(void) { return store_names == odd_names ? ALL_ODD : ALL; }

static char id[37];

/* A memory store that sets aside what it deletes, as Firebase Auth does with accounts. */
static aon_store_adapter finishing;
static aon_result open_finishing(aon_env *env, const aon_store_config *config, void **ret_state, aon_store_caps *ret_caps,
                                 aon_error *error) {
  aon_result result = aon_memory_adapter.open(env, config, ret_state, ret_caps, error);
  ret_caps->finishes = true;
  return result;
}

static aon_result apply_finishing(void *state, aon_transaction *transaction, const aon_write *writes, size_t count, aon_write_state *states,
                                  size_t *ret_failed, aon_error *error) {
  if (!writes->finishes)
    return aon_memory_adapter.apply(state, transaction, writes, count, states, ret_failed, error);
  for (size_t i = 0; i < count; i++)
    states[i] = AON_WRITE_APPLIED;
  return AON_OK;
}

static void usual_stores(world *w) {
  world_sqlite(w, "s");
  world_memory(w, "b", AON_CLASS_BATCH, NULL);
  world_memory(w, "k", AON_CLASS_CONDITIONAL, &(aon_memory_config){.tokens = true});
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
}

static void odd_stores(world *w) {
  world_memory(w, "p", AON_CLASS_PREPARED, NULL);
  world_memory(w, "q", AON_CLASS_PREPARED, NULL);
  world_memory(w, "e", AON_CLASS_PLAIN, &(aon_memory_config){.cannot_undo = true});
  world_memory(w, "f", AON_CLASS_PLAIN, NULL);
  finishing = aon_memory_adapter;
  finishing.open = open_finishing;
  finishing.apply = apply_finishing;
  w->stores[3].trace.inner = &finishing;
}

static world *stores(void) {
  world *w = world_new();
  (store_names == odd_names ? odd_stores : usual_stores)(w);
  for (size_t i = 0; i < STORES; i++) {
    world_put(w, store_names[i], "c", "edit", "{\"n\":1,\"m\":[1,{\"deep\":\"ü\"}]}");
    world_put(w, store_names[i], "c", "gone", "{\"n\":1}");
    stores_fail[i] = (aon_fault){.inner = w->stores[i].adapter, .inner_options = w->stores[i].config.options};
    w->stores[i].adapter = &aon_fault_adapter;
    w->stores[i].config.options = &stores_fail[i];
  }
  files_may_fail(w);
  return w;
}

static world *done(void) {
  world *w = stores();
  world_engine(w);
  APPLY_OK(w, all_lines());
  memcpy(id, w->outcome.bulk_id, 37);
  return w;
}

static world *ready(void) {
  world *w = stores();
  world_engine(w);
  snprintf(id, sizeof id, "%s", "0b7f6a52-3c1e-4d0a-9f55-8f4f6f1f2a11");
  w->options.id = id;
  return w;
}

static world *held(void) {
  world *w = stores();
  w->config.test_rollback_at = 10;
  w->options.hold_on_failure = true;
  world_engine(w);
  OK(world_apply(w, all_lines()));
  assert_int_equal(w->outcome.state, AON_HELD);
  memcpy(id, w->outcome.bulk_id, 37);
  return w;
}

/* Somebody else changed another property since: an undo merges. */
static world *changed_beside(void) {
  world *w = done();
  for (size_t i = 0; i < STORES; i++)
    world_put(w, store_names[i], "c", "edit", "{\"n\":2,\"m\":[1,{\"deep\":\"ü\"}],\"theirs\":{\"a\":1}}");
  return w;
}

/* And the same property. */
static world *changed_over(void) {
  world *w = done();
  world_put(w, "b", "c", "edit", "{\"n\":77}");
  return w;
}

static void foreign(world *w) { world_put(w, "b", "c", "edit", "{\"n\":9}"); }

/* A rollback named one document. */
static world *in_conflict(void) {
  world *w = stores();
  w->config.test_rollback_at = 11;
  world_engine(w);
  w->call = foreign;
  w->call_name = "store.b.resolve";
  OK(world_apply(w, PART("k") PART("b") PART("s") PART("t")));
  assert_int_equal(w->outcome.state, AON_ROLLBACK_FAILED);
  memcpy(id, w->outcome.bulk_id, 37);
  return w;
}

static world *same_again(void) {
  world *w = done();
  w->options.id = id;
  return w;
}

/* A worker that was there no more from a step of SQLite on. */
static int dies_at;
static bool died_later; /* than it was known by its id */
static world *dead(void) {
  world *w = ready();
  write_input(w, all_lines());
  no_store_fails();
  calls_fail_for_ever(dies_at, all_stores_fail); /* as a process that is no longer there */
  world_new_outcome(w);
  bool done = !aon_apply(w->engine, NULL, w->input, &w->options, &w->outcome, &w->error);
  if (!calls_end() && done)
    dies_at = 0;
  no_store_fails();
  world_die(w);
  world_engine(w);
  aon_journal *journal;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_bulk bulk;
  OK(aon_engine_journal(w->engine, true, &journal, error));
  died_later = !aon_journal_get(journal, id, &arena, &bulk, &w->error);
  return w;
}

/* ---- what is asked ---- */

static aon_result add_line(void *context, const char *json, size_t length, aon_error *error) {
  return aon_buffer_append(context, json, length, error);
}

static aon_result show(world *w, aon_buffer *out, aon_error *error) { return aon_show(w->engine, id, out, error); }
static aon_result diff(world *w, aon_buffer *out, aon_error *error) { return aon_diff(w->engine, id, add_line, out, error); }
static aon_result entries(world *w, aon_buffer *out, aon_error *error) { return aon_entries_log(w->engine, id, add_line, out, error); }

static aon_result get_by(world *w, bool locked_too, aon_buffer *out, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t mode = AON_READ_LATEST; !result && mode <= AON_READ_PENDING; mode++) {
    if (mode == AON_READ_LOCKED && !locked_too)
      continue;
    AON_ARENA_CLEANUP aon_arena arena = {0};
    aon_collection in = {.store = "s", .name = "c"};
    aon_image image, pending;
    bson_t view;
    result = aon_document_get(w->engine, &in, (aon_text){"edit", 4}, (aon_read_mode)mode, 0, &arena, &image, &pending, error);
    if (!result && image.bson && aon_image_view(&image, &view))
      result = aon_document_to_json(&view, out, error);
  }
  return result;
}

static aon_result get(world *w, aon_buffer *out, aon_error *error) { return get_by(w, true, out, error); }
static aon_result get_held(world *w, aon_buffer *out, aon_error *error) { return get_by(w, false, out, error); }

static aon_result add_bulk(void *context, const aon_bulk *bulk, aon_error *error) {
  return aon_buffer_format(context, error, "%s %d %s\n", bulk->id, (int)bulk->state, bulk->kind);
}
static aon_result add_event(void *context, const aon_event *event, aon_error *error) {
  return aon_buffer_format(context, error, "%s %s\n", event->what, event->detail ? event->detail : "");
}

static aon_result list(world *w, aon_buffer *out, aon_error *error) {
  aon_journal *journal;
  aon_bulk_filter all = {0};
  char found[37], prefix[9];
  snprintf(prefix, sizeof prefix, "%.8s", id);
  aon_result result = aon_engine_journal(w->engine, false, &journal, error);
  if (!result)
    result = aon_journal_find(journal, prefix, found, error);
  if (!result)
    result = aon_journal_list(journal, &all, add_bulk, out, error);
  return result ? result : aon_journal_events(journal, id, 0, add_event, out, error);
}

static aon_result examine(world *w, aon_buffer *out, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer report = {0}; /* tells sizes, which change */
  aon_journal *journal;
  bool healthy;
  aon_result result = aon_engine_journal(w->engine, true, &journal, error);
  if (!result)
    result = aon_journal_examine(journal, &report, &healthy, error);
  return result ? result : aon_buffer_text(out, healthy ? "healthy" : "not healthy", error);
}

static aon_result apply(world *w, aon_buffer *out, aon_error *error) {
  (void)out;
  return aon_apply(w->engine, NULL, w->input, &w->options, &w->outcome, error);
}
static aon_result undo(world *w, aon_buffer *out, aon_error *error) {
  static const aon_undo_options whole = {.first = -1, .last = -1};
  (void)out;
  return aon_undo(w->engine, id, &whole, &w->options, &w->outcome, error);
}
static aon_result undo_part(world *w, aon_buffer *out, aon_error *error) {
  static const aon_undo_options some = {.first = 0, .last = 11};
  (void)out;
  return aon_undo(w->engine, id, &some, &w->options, &w->outcome, error);
}
static aon_result roll_back(world *w, aon_buffer *out, aon_error *error) {
  (void)out;
  return aon_rollback(w->engine, id, &w->options, &w->outcome, error);
}
static aon_result resume(world *w, aon_buffer *out, aon_error *error) {
  (void)out;
  return aon_resume(w->engine, id, &w->options, &w->outcome, error);
}
static aon_result cancel(world *w, aon_buffer *out, aon_error *error) {
  (void)out;
  return aon_cancel(w->engine, id, &w->options, &w->outcome, error);
}
static aon_result undo_with(world *w, const aon_undo_options *how, aon_error *error) {
  return aon_undo(w->engine, id, how, &w->options, &w->outcome, error);
}
static const char *const everything[] = {"all", NULL};
static aon_result undo_keeping(world *w, aon_buffer *out, aon_error *error) {
  (void)out;
  return undo_with(w, &(aon_undo_options){.first = -1, .last = -1, .keep_theirs = everything}, error);
}
static aon_result undo_forcing(world *w, aon_buffer *out, aon_error *error) {
  (void)out;
  return undo_with(w, &(aon_undo_options){.first = -1, .last = -1, .force = everything}, error);
}
static aon_result keep_theirs(world *w, aon_buffer *out, aon_error *error) {
  (void)out;
  return aon_resolve(w->engine, id, "all", AON_KEEP_THEIRS, NULL, &w->options, &w->outcome, error);
}
static aon_result force_ours(world *w, aon_buffer *out, aon_error *error) {
  (void)out;
  return aon_resolve(w->engine, id, "all", AON_FORCE, NULL, &w->options, &w->outcome, error);
}
static aon_result merge_both(world *w, aon_buffer *out, aon_error *error) {
  (void)out;
  return aon_resolve(w->engine, id, "b/c/edit", AON_MERGE, "{\"n\":[9,1]}", &w->options, &w->outcome, error);
}
static void hear_recovered(void *context, const char *bulk_id, aon_state before, aon_state after, const char *sentence) {
  (void)context;
  assert_int_equal(strlen(bulk_id), 36);
  assert_true(sentence[0] && before <= AON_STATE_COUNT && after <= AON_STATE_COUNT);
}
static aon_result recover(world *w, aon_buffer *out, aon_error *error) {
  uint64_t recovered, open, person;
  (void)out;
  return aon_recover(w->engine, NULL, &w->options, hear_recovered, NULL, &recovered, &open, &person, error);
}
static aon_result recover_it(world *w, aon_buffer *out, aon_error *error) {
  uint64_t recovered, open, person;
  (void)out;
  return aon_recover(w->engine, id, &w->options, hear_recovered, NULL, &recovered, &open, &person, error);
}
static aon_result housekeep(world *w, aon_buffer *out, aon_error *error) {
  (void)out;
  return aon_housekeep(w->engine, &w->options, error);
}

typedef aon_result (*deed)(world *w, aon_buffer *out, aon_error *error);

/* ---- judging ---- */

static bool has_failed;

/* How many callers make a way of calls; 0: ways are not looked at. */
static int ways_depth(void) { return calls_full() ? 16 : getenv("AON_CALLS_MORE") ? 8 : 0; }

static aon_result asked(world *w, deed what, aon_buffer *out, int kind, int nth, aon_error *error) {
  if (error)
    *error = (aon_error)AON_ERROR_INIT;
  fault_set(kind, nth);
  if (!nth && kind < OF_STORES && ways_depth())
    calls_watch(kind, ways_depth());
  aon_result result = what(w, out, error);
  has_failed = fault_end();
  return result;
}

static void says_why(const char *name, int kind, int nth, aon_result result, const aon_error *error) {
  if (!result || !error)
    return;
  if (!error->code[0] || !error->sentence[0] || result == AON_USAGE || result == AON_REJECTED)
    fail_msg("%s, %s %d: %s %s: %s", name, kind_name(kind), nth, aon_result_name(result), error->code, error->sentence);
}

static void reads(const char *name, world *(*start)(void), deed what) {
  world *w = start();
  aon_error error = AON_ERROR_INIT;
  AON_BUFFER_CLEANUP aon_buffer whole = {0};
  for (int fresh = 0; fresh < 2; fresh++) /* with what is kept, and opened anew */
    for (int kind = 0; kind < KINDS; kind++)
      for (int nth = 1;; nth++) {
        AON_BUFFER_CLEANUP aon_buffer out = {0};
        if (fresh) {
          world_close(w);
          world_engine(w);
        }
        if (!whole.data && what(w, &whole, &error))
          fail_msg("%s: %s", name, error.sentence);
        aon_result result = asked(w, what, &out, kind, nth, &error);
        says_why(name, kind, nth, result, &error);
        aon_buffer_clear(&out);
        bool failed = has_failed;
        if (asked(w, what, &out, kind, 0, &error) || strcmp(out.data, whole.data))
          fail_msg("%s, after %s %d: %s\n%s\n%s", name, kind_name(kind), nth, error.sentence, out.data, whole.data);
        if (!failed)
          break;
      }
  world_free(w);
}

static void every_reader(void **state) {
  (void)state;
  reads("show", done, show);
  reads("diff", done, diff);
  reads("log", done, entries);
  reads("get", done, get);
  reads("list", done, list);
  reads("doctor", done, examine);
}

static void every_reader_of_what_is_held(void **state) {
  (void)state;
  reads("show", held, show);
  reads("diff", held, diff);
  reads("log", held, entries);
  reads("get", held, get_held);
}

static char *nothing_done(void) {
  world *w = stores();
  char *snapshot = world_snapshot(w);
  world_engine(w);
  world_free(w);
  return snapshot;
}

/* The line of one document; "" if it is not there. */
static const char *line_of(const char *snapshot, const char *document, size_t *ret_length) {
  size_t length = strlen(document);
  for (const char *at = snapshot; *at; at = strchr(at, '\n') + 1)
    if (!strncmp(at, document, length)) {
      *ret_length = (size_t)(strchr(at, '\n') - at);
      return at;
    }
  *ret_length = 0;
  return "";
}

static aon_result add_named(void *context, const aon_conflict *found, aon_error *error) {
  return found->watched ? AON_OK : aon_buffer_format(context, error, "%s/%s/%s \n", found->store, found->collection, found->document_id);
}

static aon_result add_id(void *context, const aon_bulk *bulk, aon_error *error) { return aon_buffer_text(context, bulk->id, error); }

/* Each document that is not as it was stands in the journal by its name, for a person. */
static bool is_named(world *w, const char *now, const char *before) {
  static const char *const ids[] = {"new", "edit", "gone"};
  AON_BUFFER_CLEANUP aon_buffer bulks = {0}, named = {0};
  aon_bulk_filter all = {0};
  aon_journal *journal;
  OK(aon_buffer_text(&named, "", error));
  OK(aon_engine_journal(w->engine, false, &journal, error));
  OK(aon_journal_list(journal, &all, add_id, &bulks, error));
  for (size_t at = 0; at + 36 <= bulks.length; at += 36) {
    char bulk[37] = "";
    memcpy(bulk, bulks.data + at, 36);
    OK(aon_journal_conflicts(journal, bulk, add_named, &named, error));
  }
  for (size_t i = 0; i < STORES * 3; i++) {
    char document[40];
    size_t length, other;
    snprintf(document, sizeof document, "%s/c/%s ", store_names[i / 3], ids[i % 3]);
    const char *found = line_of(now, document, &length), *wanted = line_of(before, document, &other);
    if ((length != other || memcmp(found, wanted, length)) && !strstr(named.data, document))
      return false;
  }
  return true;
}

/* Wholly in, wholly out, or, where the world began on hold, as it was held. Where a store refuses for good to take something back, its
 * document stands as it is and is named. */
static void is_whole(const char *what, world *w, bool refused, const char *const *allowed) {
  char *now = world_snapshot(w);
  bool fine = false;
  for (size_t i = 0; i < 3; i++)
    fine = fine || (allowed[i] && !strcmp(now, allowed[i])) || (refused && allowed[i] && is_named(w, now, allowed[i]));
  if (!fine)
    fail_msg("%s: half done\n%s\nbefore\n%s\nafter\n%s", what, now, allowed[0], allowed[1] ? allowed[1] : "");
  free(now);
}

typedef struct trial {
  const char *name;
  world *(*start)(void);
  deed what;
  char *out, *in, *began; /* the stores before it, after it, and where the world began */
} trial;

/* The nth call fails (the 0th: none); whether it came to that. */
static bool writes_once(trial *t, int kind, int nth, bool tells) {
  world *w = t->start();
  aon_error told, *error = tells ? &told : NULL;
  char about[100];
  snprintf(about, sizeof about, "%s, %s %d", t->name, kind_name(kind), nth);
  write_input(w, all_lines());
  if (!t->began)
    t->began = world_snapshot(w);
  world_new_outcome(w);
  aon_result result = asked(w, t->what, NULL, kind, nth, error);
  bool failed = has_failed;
  says_why(t->name, kind, nth, result, error);
  world_die(w);
  for (int i = 0; i < 5; i++) {
    world_advance(w, 120000);
    world_recover(w);
  }
  if (t->start == held && store_names == odd_names && world_state(w, id) == AON_HELD) { /* again, and further on: it goes back in the end */
    world_advance(w, w->config.hold_until_ms + 3600000);
    world_recover(w);
  }
  if (!t->in)
    t->in = world_snapshot(w);
  is_whole(about, w, kind >= OF_STORES + 2 * STORES, (const char *const[]){t->out, t->in, t->began});
  world_free(w);
  return failed;
}

/* It goes back while nobody knows what became of some of its writes. */
static world *doubtful(void) {
  world *w = ready();
  w->engine->config.test_rollback_at = 11;
  aon_memory_trouble_at(w->stores[2].database, AON_MEMORY_LOSE_REPLY, 2, 3);
  return w;
}

/* In a world of its own each time, so only some of many; with AON_CALLS_MORE, and one from each way in which such a call comes about. Every
 * other caller wants no sentence. */
static void writes_some(const char *name, world *(*start)(void), deed what, int fewer) {
  trial t = {.name = name, .start = start, .what = what, .out = nothing_done()};
  bool few = !ways_depth() && (store_names == odd_names || start == doubtful);
  for (int kind = few ? OF_STORES : 0; kind < KINDS; kind++) {
    bool tells = true;
    writes_once(&t, kind, 0, tells);
    for (int nth = 1; writes_once(&t, kind, nth, tells); nth = calls_next(nth, fewer))
      tells = !tells;
    const int *nths;
    for (size_t i = 0, count = kind < OF_STORES ? calls_ways(&nths) : 0; i < count; i++, tells = !tells)
      writes_once(&t, kind, nths[i], tells);
  }
  free(t.out);
  free(t.in);
  free(t.began);
}

static void writes(const char *name, world *(*start)(void), deed what) { writes_some(name, start, what, 6); }

static void apply_in_whole(void **state) {
  (void)state;
  writes("apply", ready, apply);
}
static void undo_in_whole(void **state) {
  (void)state;
  writes("undo", done, undo);
  writes("undo of a range", done, undo_part);
}
static void held_in_whole(void **state) {
  (void)state;
  writes("rollback", held, roll_back);
  writes("cancel", held, cancel);
}
static void resume_in_whole(void **state) {
  (void)state;
  writes("resume", held, resume);
}

static void go_back_in_whole(void **state) {
  (void)state;
  writes_some("apply that goes back", doubtful, apply, 2);
}

static void apply_again_in_whole(void **state) {
  (void)state;
  writes_some("the same again", same_again, apply, 2);
}
static void undo_beside_others_in_whole(void **state) {
  (void)state;
  writes("undo beside their changes", changed_beside, undo);
  writes_some("undo that keeps theirs", changed_over, undo_keeping, 4);
  writes_some("undo that forces ours", changed_over, undo_forcing, 4);
}
static void resolve_in_whole(void **state) {
  (void)state;
  writes_some("keep theirs", in_conflict, keep_theirs, 3);
  writes_some("force ours", in_conflict, force_ours, 4);
  writes_some("merge", in_conflict, merge_both, 4);
  writes_some("rollback again", in_conflict, roll_back, 4);
}
/* A worker dies anywhere, and the one that recovers meets a fault. */
static void recovery_in_whole(void **state) {
  (void)state;
  static const deed ways_to[] = {recover, housekeep, recover_it};
  dies_at = 1;
  for (int i = 0;; i++) {
    int at = dies_at;
    world_free(dead());
    if (!dies_at)
      break;
    writes_some("recovery", dead, died_later ? ways_to[i % 3] : recover, 1);
    dies_at = at + 1 + (calls_full() ? at / 6 : 3 * at); /* each death is followed by some hundred recoveries */
  }
}

/* The same with stores that prepare, that can't take back, and that set aside what they delete. */
static void with_odd_stores(void (*test)(void **state)) {
  void *nothing = NULL;
  store_names = odd_names;
  test(&nothing);
  store_names = usual_names;
}
static void odd_stores_apply(void **state) {
  (void)state;
  with_odd_stores(apply_in_whole);
}
static void odd_stores_undo(void **state) {
  (void)state;
  if (ways_depth())
    with_odd_stores(undo_in_whole);
}
static void odd_stores_hold(void **state) {
  (void)state;
  if (ways_depth())
    with_odd_stores(held_in_whole);
  with_odd_stores(resume_in_whole);
}
static void odd_stores_recover(void **state) {
  (void)state;
  if (ways_depth())
    with_odd_stores(recovery_in_whole);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(every_reader),
                                     TEST(every_reader_of_what_is_held),
                                     TEST(apply_in_whole),
                                     TEST(undo_in_whole),
                                     TEST(held_in_whole),
                                     TEST(resume_in_whole),
                                     TEST(go_back_in_whole),
                                     TEST(apply_again_in_whole),
                                     TEST(undo_beside_others_in_whole),
                                     TEST(resolve_in_whole),
                                     TEST(recovery_in_whole),
                                     TEST(odd_stores_apply),
                                     TEST(odd_stores_undo),
                                     TEST(odd_stores_hold),
                                     TEST(odd_stores_recover)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
