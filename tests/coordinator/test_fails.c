/* The n-th allocation of ours, the n-th step and the n-th statement of SQLite fails, once, in each thing that can be asked of a journal.
 *
 * What only reads says so and reads the same afterwards. What writes is brought to an end by the next recovery: the stores are wholly as
 * before or wholly as after. No failure of the machine is told as a fault of the caller. (tests/fault fails every call of whole runs of
 * imports; here are the commands a person gives beside them.) */
#include "harness.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *block, size_t bytes);
char *__real_strdup(const char *text);
int __real_sqlite3_step(sqlite3_stmt *statement);
int __real_sqlite3_prepare_v3(sqlite3 *database, const char *sql, int length, unsigned flags, sqlite3_stmt **ret, const char **tail);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *block, size_t bytes);
char *__wrap_strdup(const char *text);
int __wrap_sqlite3_step(sqlite3_stmt *statement);
int __wrap_sqlite3_prepare_v3(sqlite3 *database, const char *sql, int length, unsigned flags, sqlite3_stmt **ret, const char **tail);

enum { OF_MEMORY, OF_STEPS, OF_STATEMENTS, KINDS };
static const char *const kind_names[] = {"allocation", "step", "statement"};
static struct {
  int kind;
  atomic_int left; /* 0: none fails */
  atomic_bool failed;
} fault;

static bool fails(int kind) {
  if (kind != fault.kind || atomic_load(&fault.left) <= 0 || atomic_fetch_sub(&fault.left, 1) != 1)
    return false;
  atomic_store(&fault.failed, true);
  return true;
}

void *__wrap_malloc(size_t bytes) { return fails(OF_MEMORY) ? NULL : __real_malloc(bytes); }
void *__wrap_calloc(size_t count, size_t bytes) { return fails(OF_MEMORY) ? NULL : __real_calloc(count, bytes); }
void *__wrap_realloc(void *block, size_t bytes) { return fails(OF_MEMORY) ? NULL : __real_realloc(block, bytes); }
char *__wrap_strdup(const char *text) { return fails(OF_MEMORY) ? NULL : __real_strdup(text); }
int __wrap_sqlite3_step(sqlite3_stmt *statement) { return fails(OF_STEPS) ? SQLITE_IOERR : __real_sqlite3_step(statement); }

int __wrap_sqlite3_prepare_v3(sqlite3 *database, const char *sql, int length, unsigned flags, sqlite3_stmt **ret, const char **tail) {
  *ret = NULL;
  return fails(OF_STATEMENTS) ? SQLITE_IOERR : __real_sqlite3_prepare_v3(database, sql, length, flags, ret, tail);
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

static char id[37];

static world *stores(void) {
  world *w = world_new();
  world_sqlite(w, "s");
  world_memory(w, "b", AON_CLASS_BATCH, NULL);
  world_memory(w, "k", AON_CLASS_CONDITIONAL, &(aon_memory_config){.tokens = true});
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  static const char *const names[] = {"s", "b", "k", "t"};
  for (size_t i = 0; i < 4; i++) {
    world_put(w, names[i], "c", "edit", "{\"n\":1,\"m\":[1,{\"deep\":\"ü\"}]}");
    world_put(w, names[i], "c", "gone", "{\"n\":1}");
  }
  return w;
}

static world *done(void) {
  world *w = stores();
  world_engine(w);
  APPLY_OK(w, ALL);
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
  OK(world_apply(w, ALL));
  assert_int_equal(w->outcome.state, AON_HELD);
  memcpy(id, w->outcome.bulk_id, 37);
  return w;
}

/* ---- what is asked ---- */

static aon_result add_line(void *context, const char *json, size_t length, aon_error *error) {
  return aon_buffer_append(context, json, length, error);
}

static aon_result show(world *w, aon_buffer *out, aon_error *error) { return aon_show(w->engine, id, out, error); }
static aon_result diff(world *w, aon_buffer *out, aon_error *error) { return aon_diff(w->engine, id, add_line, out, error); }
static aon_result entries(world *w, aon_buffer *out, aon_error *error) { return aon_entries_log(w->engine, id, add_line, out, error); }

static aon_result get(world *w, aon_buffer *out, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t mode = AON_READ_LATEST; !result && mode <= AON_READ_PENDING; mode++) {
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

typedef aon_result (*deed)(world *w, aon_buffer *out, aon_error *error);

/* ---- judging ---- */

static aon_result asked(world *w, deed what, aon_buffer *out, int kind, int nth, aon_error *error) {
  *error = (aon_error)AON_ERROR_INIT;
  fault.kind = kind;
  atomic_store(&fault.failed, false);
  atomic_store(&fault.left, nth);
  aon_result result = what(w, out, error);
  atomic_store(&fault.left, 0);
  return result;
}

static void says_why(const char *name, int kind, int nth, aon_result result, const aon_error *error) {
  if (!result)
    return;
  if (!error->code[0] || !error->sentence[0] || result == AON_USAGE || result == AON_REJECTED)
    fail_msg("%s, %s %d: %s %s: %s", name, kind_names[kind], nth, aon_result_name(result), error->code, error->sentence);
}

static void reads(const char *name, deed what) {
  world *w = done();
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
        bool failed = atomic_load(&fault.failed);
        if (asked(w, what, &out, kind, 0, &error) || strcmp(out.data, whole.data))
          fail_msg("%s, after %s %d: %s\n%s\n%s", name, kind_names[kind], nth, error.sentence, out.data, whole.data);
        if (!failed)
          break;
      }
  world_free(w);
}

static void every_reader(void **state) {
  (void)state;
  reads("show", show);
  reads("diff", diff);
  reads("log", entries);
  reads("get", get);
  reads("list", list);
  reads("doctor", examine);
}

static char *nothing_done(void) {
  world *w = stores();
  char *snapshot = world_snapshot(w);
  world_engine(w);
  world_free(w);
  return snapshot;
}

/* Wholly in, wholly out, or, where the world began on hold, as it was held. */
static void is_whole(const char *what, world *w, const char *const *allowed) {
  char *now = world_snapshot(w);
  bool fine = false;
  for (size_t i = 0; i < 3; i++)
    fine = fine || (allowed[i] && !strcmp(now, allowed[i]));
  if (!fine)
    fail_msg("%s: half done\n%s\nbefore\n%s\nafter\n%s", what, now, allowed[0], allowed[1] ? allowed[1] : "");
  free(now);
}

/* In a world of its own each time, so only some of many: every one at first, then fewer and fewer. */
static void writes(const char *name, world *(*start)(void), deed what) {
  char *out = nothing_done(), *in = NULL, *began = NULL;
  for (int kind = 0; kind < KINDS; kind++)
    for (int nth = 0;; nth += 1 + nth / 12) { /* the 0th: without a fault */
      world *w = start();
      aon_error error = AON_ERROR_INIT;
      char about[100];
      snprintf(about, sizeof about, "%s, %s %d", name, kind_names[kind], nth);
      write_input(w, ALL);
      if (!began)
        began = world_snapshot(w);
      world_new_outcome(w);
      aon_result result = asked(w, what, NULL, kind, nth, &error);
      bool failed = atomic_load(&fault.failed);
      says_why(name, kind, nth, result, &error);
      world_die(w);
      for (int i = 0; i < 5; i++) {
        world_advance(w, 120000);
        world_recover(w);
      }
      if (!in)
        in = world_snapshot(w);
      is_whole(about, w, (const char *const[]){out, in, began});
      world_free(w);
      if (nth && !failed)
        break;
    }
  free(out);
  free(in);
  free(began);
}

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

int main(void) {
  const struct CMUnitTest tests[] = {TEST(every_reader), TEST(apply_in_whole), TEST(undo_in_whole), TEST(held_in_whole),
                                     TEST(resume_in_whole)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
