/* Several workers and readers at once: who waits, who is refused, who plans anew; what a reader sees in between. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>

#define LINE(store, id, operation, data)                                                                                                   \
  "{\"store\":\"" store "\",\"collection\":\"c\",\"id\":\"" id "\",\"operation\":\"" operation "\",\"data\":" data "}\n"

typedef struct other { /* a worker of its own, at work inside a step of the first one */
  aon_engine *engine;
  aon_result result;
  aon_outcome outcome;
  aon_error error;
  const char *lines, *key;
  int64_t wait_ms, age_ms;
  int64_t slept_ms;
} other;

static aon_engine *open_other(world *w) {
  aon_engine *first = w->engine, *opened = world_engine(w);
  w->engine = first;
  return opened;
}

static void work(world *w) {
  other *o = w->call_context;
  char path[160];
  snprintf(path, sizeof path, "%s/other.ndjson", w->folder);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  fputs(o->lines, file);
  fclose(file);
  aon_run_options options = {.organization = "default", .user = "bob", .lock_wait_ms = o->wait_ms, .idempotency_key = o->key};
  int64_t pid = w->pid, slept = w->slept_ms;
  w->pid = 500;
  w->ahead_ms += o->age_ms;
  aon_outcome_release(&o->outcome);
  o->error = (aon_error)AON_ERROR_INIT;
  o->result = aon_apply(o->engine, NULL, path, &options, &o->outcome, &o->error);
  w->pid = pid;
  o->slept_ms = w->slept_ms - slept;
}

static world *two_stores(other *o) {
  world *w = world_new();
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_memory(w, "b", AON_CLASS_BATCH, NULL);
  world_put(w, "t", "c", "1", "{\"n\":1}");
  world_put(w, "b", "c", "1", "{\"n\":1}");
  world_put(w, "b", "c", "2", "{\"n\":1}");
  world_engine(w);
  *o = (other){.engine = open_other(w)};
  w->call = work;
  w->call_context = o;
  return w;
}

static void finish(world *w, other *o) {
  aon_outcome_release(&o->outcome);
  aon_engine_close(o->engine);
  world_free(w);
}

static void waits_up_to_its_limit(void **state) {
  (void)state;
  other o;
  world *w = two_stores(&o);
  o.lines = LINE("b", "1", "update", "{\"n\":3}");
  o.wait_ms = 5000;
  w->call_name = "store.b.begin";
  APPLY_OK(w, LINE("t", "1", "update", "{\"n\":2}") LINE("b", "1", "update", "{\"n\":2}"));
  assert_int_equal(o.outcome.state, AON_ROLLED_BACK); /* the first one does not move while it waits here */
  assert_string_equal(o.outcome.failure.code, "locked");
  assert_true(o.slept_ms >= 4500 && o.slept_ms < 8000);
  w->call = work;
  w->call_name = "store.b.begin";
  o.lines = LINE("b", "2", "update", "{\"n\":7}");
  APPLY_OK(w, LINE("t", "1", "update", "{\"n\":3}") LINE("b", "1", "update", "{\"n\":4}"));
  assert_int_equal(o.outcome.state, AON_COMMITTED); /* what shares no document goes through */
  finish(w, &o);
}

/* Planned before, logged after another one changed what was read: planned anew, never a stale before image. */
static void plans_anew_when_another_one_was_faster(void **state) {
  (void)state;
  other o;
  world *w = two_stores(&o);
  o.lines = LINE("b", "1", "update", "{\"m\":9}");
  w->call_name = "journal.log"; /* all is read, nothing is locked yet */
  APPLY_OK(w, LINE("t", "1", "update", "{\"n\":2}") LINE("b", "1", "update", "{\"n\":2}"));
  assert_int_equal(o.outcome.state, AON_COMMITTED);
  assert_non_null(strstr(w->log, "Planning again"));
  assert_string_equal(world_get(w, "b", "c", "1"), "{\"n\":2,\"m\":9}");
  AON_BUFFER_CLEANUP aon_buffer json = {0};
  assert_non_null(strstr(w->outcome.json.data, "\"counts\":{\"c\":{\"create\":0,\"edit\":2,\"delete\":0,\"unchanged\":0}}"));
  finish(w, &o);
}

/* The younger one that meets an older one gives all its locks back, so the older one, which wants one of them, goes on. */
static void at_the_second_log(world *w) {
  other *o = w->call_context;
  if (o->wait_ms == 0) { /* the first batch is about to be locked: come again at the next one */
    o->wait_ms = 2000;
    w->call = at_the_second_log;
    return;
  }
  work(w);
}
/* As many operations as are logged at once with batches of one. */
/* clang-format off */
#define ONE_LOG(letter)                                                                                                                    \
  LINE("b", letter "1", "create", "{}") LINE("b", letter "2", "create", "{}") LINE("b", letter "3", "create", "{}")                      \
  LINE("b", letter "4", "create", "{}") LINE("b", letter "5", "create", "{}") LINE("b", letter "6", "create", "{}")                      \
  LINE("b", letter "7", "create", "{}") LINE("b", letter "8", "create", "{}")
/* clang-format on */

static void the_younger_one_gives_way(void **state) {
  (void)state;
  other o;
  world *w = two_stores(&o);
  aon_engine_close(o.engine);
  w->config.batch = 1;
  world_close(w);
  world_engine(w);
  o.engine = open_other(w);
  o.lines = LINE("b", "2", "update", "{\"m\":5}") ONE_LOG("o") LINE("b", "1", "update", "{\"m\":5}");
  o.age_ms = 10;
  w->call = at_the_second_log;
  w->call_name = "journal.log";
  w->options.lock_wait_ms = 0; /* the older one would be refused if the younger one kept b/c/2 */
  APPLY_OK(w, LINE("b", "1", "update", "{\"n\":2}") ONE_LOG("w") LINE("b", "2", "update", "{\"n\":2}"));
  assert_int_equal(o.outcome.state, AON_ROLLED_BACK);
  assert_string_equal(o.outcome.failure.held_by, w->outcome.bulk_id);
  assert_string_equal(world_get(w, "b", "c", "1"), "{\"n\":2}");
  assert_string_equal(world_get(w, "b", "c", "2"), "{\"n\":2}");
  work(w); /* later it gets both */
  assert_int_equal(o.outcome.state, AON_COMMITTED);
  assert_string_equal(world_get(w, "b", "c", "2"), "{\"n\":2,\"m\":5}");
  finish(w, &o);
}

static void same_key_while_the_first_one_runs(void **state) {
  (void)state;
  other o;
  world *w = two_stores(&o);
  o.lines = LINE("t", "1", "update", "{\"n\":2}");
  o.key = "k";
  w->options.idempotency_key = "k";
  w->call_name = "store.t.begin";
  o.wait_ms = 300;
  APPLY_OK(w, LINE("t", "1", "update", "{\"n\":2}"));
  assert_int_equal(o.result, AON_BUSY); /* its result is not there yet */
  assert_string_equal(o.error.held_by, w->outcome.bulk_id);
  work((w->call_context = &o, w));
  assert_int_equal(o.result, AON_OK);
  assert_true(o.outcome.repeated && o.outcome.state == AON_COMMITTED);
  finish(w, &o);
}

/* ---- readers ---- */

typedef struct reading {
  aon_engine *engine;
  aon_read_mode mode;
  const char *store;
  aon_result result;
  aon_error error;
  int64_t n, pending;
} reading;

static int64_t n_of(const aon_image *image) {
  bson_t view;
  bson_iter_t at;
  return image->bson && aon_image_view(image, &view) && bson_iter_init_find(&at, &view, "n") ? bson_iter_as_int64(&at) : -1;
}

static void read_now(world *w) {
  reading *r = w->call_context;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_collection c = {.store = r->store, .name = "c"};
  aon_image image = {0}, pending = {0};
  r->error = (aon_error)AON_ERROR_INIT;
  r->result = aon_document_get(r->engine, &c, AON_TEXT("1"), r->mode, 200, &arena, &image, &pending, &r->error);
  r->n = n_of(&image);
  r->pending = n_of(&pending);
}

static void what_a_reader_sees(void **state) {
  (void)state;
  static const struct {
    const char *step, *store;
    aon_read_mode mode;
    int64_t n;
  } cases[] = {
      {"store.t.commit", "b", AON_READ_LATEST, 2},    /* what the store has */
      {"store.t.commit", "b", AON_READ_COMMITTED, 1}, /* no decision: before, though b shows it already */
      {"store.t.commit", "t", AON_READ_COMMITTED, 1},
      {"store.p.commit_prepared", "p", AON_READ_COMMITTED, 2}, /* decided: after, though p does not show it yet */
      {"store.p.commit_prepared", "b", AON_READ_COMMITTED, 2},
      {"store.b.begin", "b", AON_READ_PENDING, 1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    world *w = world_new();
    world_memory(w, "p", AON_CLASS_PREPARED, NULL);
    world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
    world_memory(w, "b", AON_CLASS_BATCH, NULL);
    world_put(w, "p", "c", "1", "{\"n\":1}");
    world_put(w, "t", "c", "1", "{\"n\":1}");
    world_put(w, "b", "c", "1", "{\"n\":1}");
    world_engine(w);
    reading r = {.engine = open_other(w), .mode = cases[i].mode, .store = cases[i].store};
    w->call = read_now;
    w->call_context = &r;
    w->call_name = cases[i].step;
    APPLY_OK(w, LINE("p", "1", "update", "{\"n\":2}") LINE("t", "1", "update", "{\"n\":2}") LINE("b", "1", "update", "{\"n\":2}"));
    if (r.result || r.n != cases[i].n)
      fail_msg("case %zu: %s, n %d", i, r.error.sentence, (int)r.n);
    if (cases[i].mode == AON_READ_PENDING)
      assert_int_equal(r.pending, 2);
    r.mode = AON_READ_COMMITTED;
    read_now((w->call_context = &r, w));
    assert_int_equal(r.n, 2);
    aon_engine_close(r.engine);
    world_free(w);
  }
}

/* A create of what is there already is found out only by the store. */
static void a_create_hides_nothing_before_it_is_sent(void **state) {
  (void)state;
  static const struct {
    const char *step, *store;
    bool there;
    int64_t n;
  } cases[] = {{"store.t.apply", "t", true, 1},    /* in a transaction that nobody sees */
               {"store.t.begin", "b", true, 1},    /* not sent yet */
               {"store.t.commit", "b", false, -1}, /* in, and not decided */
               {"store.t.commit", "t", false, -1}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    world *w = world_new();
    world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
    world_memory(w, "b", AON_CLASS_BATCH, NULL);
    if (cases[i].there)
      world_put(w, cases[i].store, "c", "1", "{\"n\":1}");
    world_engine(w);
    reading r = {.engine = open_other(w), .mode = AON_READ_COMMITTED, .store = cases[i].store};
    w->call = read_now;
    w->call_context = &r;
    w->call_name = cases[i].step;
    OK(world_apply(w, LINE("t", "1", "create", "{\"n\":2}") LINE("b", "1", "create", "{\"n\":2}")));
    if (w->call || r.result || r.n != cases[i].n)
      fail_msg("case %zu: %s, n %d", i, w->call ? "never came to that step" : r.error.sentence, (int)r.n);
    read_now((w->call_context = &r, w));
    assert_int_equal(r.n, cases[i].there ? 1 : 2);
    aon_engine_close(r.engine);
    world_free(w);
  }
}

/* A reader that was there before the journal: it must not go on with the empty one that stood for it. */
static void a_reader_older_than_the_journal(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_memory(w, "b", AON_CLASS_BATCH, NULL);
  world_put(w, "t", "c", "1", "{\"n\":1}");
  world_put(w, "b", "c", "1", "{\"n\":1}");
  world_engine(w);
  reading r = {.engine = open_other(w), .mode = AON_READ_COMMITTED, .store = "b"};
  read_now((w->call_context = &r, w));
  assert_int_equal(r.n, 1);
  w->call = read_now;
  w->call_name = "store.t.commit"; /* b shows it already, and nothing is decided */
  APPLY_OK(w, LINE("t", "1", "update", "{\"n\":2}") LINE("b", "1", "update", "{\"n\":2}"));
  assert_int_equal(r.n, 1);
  read_now(w);
  assert_int_equal(r.n, 2);
  aon_engine_close(r.engine);
  world_free(w);
}

/* Its images are logged with its locks, and only then it sees that somebody came in between: until it gives the locks back, what it read is
 * stale. */
typedef struct between {
  other writer;
  reading reader;
} between;

static void read_before_it_gives_back(world *w) {
  between *b = w->call_context;
  w->call_context = &b->reader;
  read_now(w);
}

static void write_before_it_logs(world *w) {
  between *b = w->call_context;
  w->call_context = &b->writer;
  work(w);
  w->call_context = b;
  w->call = read_before_it_gives_back;
  w->call_name = "journal.discard";
}

static void a_stale_plan_is_read_by_nobody(void **state) {
  (void)state;
  between b;
  world *w = two_stores(&b.writer);
  b.writer.lines = LINE("b", "1", "update", "{\"n\":7}");
  b.reader = (reading){.engine = b.writer.engine, .mode = AON_READ_COMMITTED, .store = "b", .n = -2};
  w->call = write_before_it_logs;
  w->call_context = &b;
  w->call_name = "journal.log";
  APPLY_OK(w, LINE("t", "1", "update", "{\"n\":2}") LINE("b", "1", "update", "{\"m\":2}"));
  assert_int_equal(b.writer.outcome.state, AON_COMMITTED);
  assert_int_equal(b.reader.result, AON_OK);
  assert_int_equal(b.reader.n, 7); /* committed before the read began */
  assert_string_equal(world_get(w, "b", "c", "1"), "{\"n\":7,\"m\":2}");
  finish(w, &b.writer);
}

static void a_locked_read_waits_and_names_the_holder(void **state) {
  (void)state;
  other o;
  world *w = two_stores(&o);
  reading r = {.engine = o.engine, .mode = AON_READ_LOCKED, .store = "b"};
  w->call = read_now;
  w->call_context = &r;
  w->call_name = "store.b.begin";
  APPLY_OK(w, LINE("b", "1", "update", "{\"n\":2}"));
  assert_int_equal(r.result, AON_BUSY);
  assert_string_equal(r.error.held_by, w->outcome.bulk_id);
  read_now(w);
  assert_int_equal(r.result, AON_OK);
  assert_int_equal(r.n, 2);
  finish(w, &o);
}

/* A worker that died before its first write, with a store that can't be opened any more: nothing was written, and that is said. */
static void lost_before_its_first_write(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "t", AON_CLASS_TRANSACTION, NULL);
  world_engine(w);
  aon_journal *journal;
  OK(aon_engine_journal(w->engine, true, &journal, error));
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_process self = w->env.ops->process_self(w);
  aon_submission submission = {.id = "0b7f6a52-3c1e-4d0a-9f55-8f4f6f1f2a12",
                               .digest = "d",
                               .organization = "default",
                               .user = "ann",
                               .kind = "apply",
                               .source = "x",
                               .state = AON_PLANNING,
                               .worker = &self};
  aon_bulk bulk;
  bool existed;
  OK(aon_journal_submit(journal, &submission, &arena, &bulk, &existed, error));
  aon_bulk_change change = {.stores = "[{\"name\":\"gone\",\"class\":2,\"operations\":1,\"lastResource\":true,\"rehearse\":false}]"};
  OK(aon_journal_move(journal, bulk.id, bulk.epoch, AON_PLANNING, AON_LOGGED, &change, error));
  world_die(w);
  assert_int_equal(world_recover(w), 0);
  assert_int_equal(world_state(w, submission.id), AON_ROLLED_BACK);
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(waits_up_to_its_limit),
                                     TEST(plans_anew_when_another_one_was_faster),
                                     TEST(the_younger_one_gives_way),
                                     TEST(same_key_while_the_first_one_runs),
                                     TEST(what_a_reader_sees),
                                     TEST(a_create_hides_nothing_before_it_is_sent),
                                     TEST(a_reader_older_than_the_journal),
                                     TEST(a_locked_read_waits_and_names_the_holder),
                                     TEST(lost_before_its_first_write),
                                     TEST(a_stale_plan_is_read_by_nobody)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
