/* The decorators, what the memory store can be made to do, the callback store's undo, and the door to all stores. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "aon/callback.h"
#include "store/fault.h"
#include "store/memory.h"
#include "store/trace.h"
#include "world.h"

static const aon_image absent = {0};
static const aon_collection items = {.store = "main", .name = "items"};

typedef struct subject {
  world w;
  aon_memory_database *memory;
  aon_store *store, *other;
  size_t heard; /* documents of a scan */
} subject;

static int set_up(void **state) {
  subject *s = calloc(1, sizeof *s);
  world_open(&s->w);
  *state = s;
  return 0;
}

static int tear_down(void **state) {
  subject *s = *state;
  aon_store_close(s->store);
  aon_store_close(s->other);
  aon_memory_free(s->memory);
  world_close(&s->w);
  free(s);
  return 0;
}

static void open_memory(subject *s, aon_store_class class) {
  OK(&s->w, aon_memory_new(&(aon_memory_config){.store_class = class, .tokens = true}, &s->memory, &s->w.error));
  s->store = world_store(&s->w, &aon_memory_adapter, s->memory, "main", "", true);
  s->other = world_store(&s->w, &aon_memory_adapter, s->memory, "main", "", true);
}

static aon_image put(subject *s, const char *id, const char *json) {
  aon_write write = write_of(&items, id, absent, image(&s->w, json), 0);
  OK(&s->w, apply_now(&s->w, s->store, &write, 1));
  return look(&s->w, s->store, &items, id);
}

static aon_result apply_one(subject *s, aon_write write, aon_write_state *state) {
  size_t failed;
  return aon_store_apply(s->store, NULL, &write, 1, state, &failed, &s->w.error);
}

static aon_branch_state resolved(subject *s, aon_store *store, uint32_t attempt) {
  aon_branch own = branch(attempt);
  aon_branch_state found;
  OK(&s->w, aon_store_resolve(store, &own, &found, &s->w.error));
  return found;
}

static aon_transaction *open_with(subject *s, aon_store *store, uint32_t attempt, const char *id) {
  aon_branch own = branch(attempt);
  aon_transaction *transaction;
  aon_write write = write_of(&items, id, absent, image(&s->w, "{\"n\":1}"), 0);
  size_t failed;
  OK(&s->w, aon_store_begin(store, &own, AON_MARKER_COMMIT, &transaction, &s->w.error));
  OK(&s->w, aon_store_apply(store, transaction, &write, 1, NULL, &failed, &s->w.error));
  return transaction;
}

/* ---- what the memory store can be made to do ---- */

static void a_lost_reply_was_applied(void **state) {
  subject *s = *state;
  aon_write_state became;
  open_memory(s, AON_CLASS_CONDITIONAL);
  aon_memory_trouble_at(s->memory, AON_MEMORY_LOSE_REPLY, 1, 1);
  aon_write write = write_of(&items, "a", absent, image(&s->w, "{\"n\":1}"), 0);
  FAILS(&s->w, apply_one(s, write, &became), AON_UNKNOWN, "no_reply");
  assert_int_equal(became, AON_WRITE_UNKNOWN);
  FAILS(&s->w, apply_one(s, write, &became), AON_PERMANENT, "duplicate"); /* sent again under the same condition */
  assert_non_null(look(&s->w, s->other, &items, "a").bson);
}

/* docs/protocol.md, "Resolving, fencing, and late writes": an ETag is a hash, so after a restore a late request still matches. */
static void a_late_write_matches_what_was_restored(void **state) {
  subject *s = *state;
  aon_write_state became;
  bool done;
  open_memory(s, AON_CLASS_CONDITIONAL);
  aon_image before = put(s, "a", "{\"n\":1}");
  aon_memory_trouble_at(s->memory, AON_MEMORY_DELAY, 1, 1);
  FAILS(&s->w, apply_one(s, write_of(&items, "a", before, image(&s->w, "{\"n\":2}"), 0), &became), AON_UNKNOWN, "no_reply");
  aon_image now = look(&s->w, s->store, &items, "a");
  assert_same(&s->w, &now, &before); /* it was never written: rollback has nothing to do */
  assert_int_equal(aon_memory_under_way(s->memory), 1);
  OK(&s->w, aon_memory_deliver(s->memory, &done, &s->w.error));
  assert_true(done);
  now = look(&s->w, s->store, &items, "a");
  assert_string_equal(json_of(&s->w, &now), "{\"n\":2}"); /* a stray */
}

static void a_late_write_misses_a_voided_stamp(void **state) {
  subject *s = *state;
  aon_write_state became;
  bool done;
  open_memory(s, AON_CLASS_CONDITIONAL);
  aon_image before = put(s, "a", "{\"n\":1}");
  aon_memory_trouble_at(s->memory, AON_MEMORY_DELAY, 1, 1);
  FAILS(&s->w, apply_one(s, write_of(&items, "a", before, image(&s->w, "{\"n\":2}"), 0), &became), AON_UNKNOWN, NULL);
  aon_write voided = write_of(&items, "a", before, before, 0);
  voided.stamp = "id:void";
  OK(&s->w, apply_one(s, voided, &became));
  OK(&s->w, aon_memory_deliver(s->memory, &done, &s->w.error));
  assert_false(done);
}

static void a_late_commit_is_fenced(void **state) {
  subject *s = *state;
  bool done;
  open_memory(s, AON_CLASS_BATCH);
  aon_memory_trouble_at(s->memory, AON_MEMORY_DELAY, 1, 1);
  FAILS(&s->w, aon_store_commit(s->store, open_with(s, s->store, 1, "a"), &s->w.error), AON_UNKNOWN, NULL);
  assert_int_equal(resolved(s, s->other, 1), AON_BRANCH_ABORTED);
  OK(&s->w, aon_memory_deliver(s->memory, &done, &s->w.error));
  assert_false(done);
  assert_null(look(&s->w, s->other, &items, "a").bson);
}

static void an_open_commit_keeps_its_secret(void **state) {
  subject *s = *state;
  bool done;
  open_memory(s, AON_CLASS_TRANSACTION);
  aon_memory_trouble_at(s->memory, AON_MEMORY_DELAY, 1, 2);
  FAILS(&s->w, aon_store_commit(s->store, open_with(s, s->store, 1, "a"), &s->w.error), AON_UNKNOWN, NULL);
  assert_int_equal(resolved(s, s->other, 1), AON_BRANCH_OPEN);
  OK(&s->w, aon_memory_deliver(s->memory, &done, &s->w.error));
  assert_true(done);
  assert_int_equal(resolved(s, s->other, 1), AON_BRANCH_COMMITTED);
  FAILS(&s->w, aon_store_commit(s->store, open_with(s, s->store, 2, "b"), &s->w.error), AON_UNKNOWN, NULL);
  aon_memory_drop(s->memory);
  assert_int_equal(resolved(s, s->other, 2), AON_BRANCH_ABORTED);
}

static void row_locks_keep_others_out(void **state) {
  subject *s = *state;
  open_memory(s, AON_CLASS_PREPARED);
  aon_transaction *transaction = open_with(s, s->store, 1, "a");
  aon_write write = write_of(&items, "a", absent, image(&s->w, "{\"n\":2}"), 0);
  FAILS(&s->w, apply_now(&s->w, s->other, &write, 1), AON_TRANSIENT, "locked");
  bson_t document = BSON_INITIALIZER;
  FAILS(&s->w, aon_memory_foreign_write(s->memory, "items", "a", &document, &s->w.error), AON_TRANSIENT, "locked");
  OK(&s->w, aon_store_prepare(s->store, transaction, &s->w.error));
  aon_branch found;
  assert_int_equal(aon_memory_prepared(s->memory), 1);
  assert_true(aon_memory_prepared_at(s->memory, 0, &found));
  assert_int_equal(found.attempt, 1);
  FAILS(&s->w, apply_now(&s->w, s->other, &write, 1), AON_TRANSIENT, "locked");
  aon_memory_prepared_drop(s->memory); /* a person's ROLLBACK PREPARED */
  aon_branch own = branch(1);
  FAILS(&s->w, aon_store_commit_prepared(s->other, &own, &s->w.error), AON_PERMANENT, "prepared_lost");
  bson_destroy(&document);
}

static void prepare_has_slots(void **state) {
  subject *s = *state;
  OK(&s->w, aon_memory_new(&(aon_memory_config){.store_class = AON_CLASS_PREPARED, .prepare_slots = 1}, &s->memory, &s->w.error));
  s->store = world_store(&s->w, &aon_memory_adapter, s->memory, "main", "", true);
  OK(&s->w, aon_store_prepare(s->store, open_with(s, s->store, 1, "a"), &s->w.error));
  FAILS(&s->w, aon_store_prepare(s->store, open_with(s, s->store, 2, "b"), &s->w.error), AON_TRANSIENT, "no_slot");
  assert_int_equal(resolved(s, s->store, 2), AON_BRANCH_ABORTED);
}

static void a_version_never_comes_again(void **state) { /* class 3, unlike an ETag */
  subject *s = *state;
  open_memory(s, AON_CLASS_BATCH);
  aon_image before = put(s, "a", "{\"n\":1}");
  bson_t document;
  assert_true(aon_image_view(&before, &document));
  OK(&s->w, aon_memory_foreign_write(s->memory, "items", "a", &document, &s->w.error));
  aon_write write = write_of(&items, "a", before, image(&s->w, "{\"n\":2}"), 0);
  FAILS(&s->w, apply_now(&s->w, s->store, &write, 1), AON_PERMANENT, "changed_meanwhile");
}

static void write_in_between(void *context) {
  subject *s = context;
  bson_t document = BSON_INITIALIZER;
  BSON_APPEND_INT64(&document, "theirs", 1);
  OK(&s->w, aon_memory_foreign_write(s->memory, "items", "a", &document, &s->w.error));
  bson_destroy(&document);
}

static void class_5_can_lose_a_foreign_write(void **state) { /* docs/guarantees.md says so */
  subject *s = *state;
  aon_write_state became;
  open_memory(s, AON_CLASS_PLAIN);
  aon_image before = put(s, "a", "{\"n\":1}");
  aon_memory_between(s->memory, write_in_between, s);
  OK(&s->w, apply_one(s, write_of(&items, "a", before, image(&s->w, "{\"n\":2}"), 0), &became));
  aon_image now = look(&s->w, s->store, &items, "a");
  assert_string_equal(json_of(&s->w, &now), "{\"n\":2}");
}

static void limits_and_types(void **state) {
  subject *s = *state;
  OK(&s->w, aon_memory_new(&(aon_memory_config){.store_class = AON_CLASS_BATCH,
                                                .batch_operations = 2,
                                                .max_exact_integer = 1 << 20,
                                                .types = AON_TYPE_TIMESTAMP,
                                                .drop_empty = true},
                           &s->memory, &s->w.error));
  s->store = world_store(&s->w, &aon_memory_adapter, s->memory, "main", "", true);
  bson_t document = BSON_INITIALIZER;
  aon_image made;
  BSON_APPEND_DATE_TIME(&document, "at", 1);
  BSON_APPEND_NULL(&document, "none");
  OK(&s->w, aon_store_normalise(s->store, &items, text("a"), &document, &s->w.arena, &made, &s->w.error));
  bson_t view;
  assert_true(aon_image_view(&made, &view));
  assert_int_equal(bson_count_keys(&view), 1);
  BSON_APPEND_INT64(&document, "n", (1 << 20) + 1);
  FAILS(&s->w, aon_store_normalise(s->store, &items, text("a"), &document, &s->w.arena, &made, &s->w.error), AON_REJECTED, "out_of_range");
  bson_reinit(&document);
  bson_oid_t oid = {{0}};
  BSON_APPEND_OID(&document, "o", &oid);
  FAILS(&s->w, aon_store_normalise(s->store, &items, text("a"), &document, &s->w.arena, &made, &s->w.error), AON_REJECTED, "bad_type");
  bson_destroy(&document);
  made = image(&s->w, "{\"a\":[1,null,[],{\"b\":{}}],\"c\":{}}");
  assert_true(aon_image_view(&made, &document));
  OK(&s->w, aon_store_normalise(s->store, &items, text("a"), &document, &s->w.arena, &made, &s->w.error));
  assert_string_equal(json_of(&s->w, &made), "{\"a\":[1]}");
}

/* ---- callbacks ---- */

typedef struct effects {
  char calls[400];
  aon_result answer;
} effects;

static aon_result told(effects *e, const char *what, const aon_callback_operation *operation, aon_error *error) {
  static const char *const kinds[] = {"?", "create", "update", "delete"};
  size_t length = strlen(e->calls);
  snprintf(e->calls + length, sizeof e->calls - length, "%s %s %.*s %s>%s;", what, kinds[operation->kind], (int)operation->id.length,
           operation->id.data, operation->before ? "b" : "-", operation->after ? "a" : "-");
  return e->answer ? aon_fail(error, e->answer, "effect", "The effect could not be had.") : AON_OK;
}

static aon_result perform(void *context, const aon_callback_operation *operation, aon_error *error) {
  return told(context, "do", operation, error);
}
static aon_result undo(void *context, const aon_callback_operation *operation, aon_error *error) {
  return told(context, "undo", operation, error);
}

static void effects_are_done_and_undone(void **state) {
  subject *s = *state;
  effects e = {.calls = ""};
  aon_callbacks callbacks = {.version = AON_CALLBACKS_VERSION, .context = &e, .perform = perform, .undo = undo};
  s->store = world_store(&s->w, &aon_callback_adapter, &callbacks, "mail", "", true);
  assert_true(aon_store_capabilities(s->store)->can_undo);
  aon_image letter = image(&s->w, "{\"to\":\"x\"}");
  aon_write_state became;
  OK(&s->w, apply_one(s, write_of(&items, "m", absent, letter, 0), &became));
  aon_write back = write_of(&items, "m", letter, absent, 0);
  back.compensates = true;
  OK(&s->w, apply_one(s, back, &became));
  assert_string_equal(e.calls, "do create m ->a;undo create m ->a;");
  FAILS(&s->w, apply_one(s, write_of(&items, "m", letter, absent, 4), &became), AON_PERMANENT,
        "not_supported"); /* nothing to compare with */
  e.answer = AON_UNKNOWN;
  FAILS(&s->w, apply_one(s, write_of(&items, "n", absent, letter, 0), &became), AON_UNKNOWN, "effect");
  assert_int_equal(became, AON_WRITE_UNKNOWN);
}

static void effects_without_undo_wait(void **state) {
  subject *s = *state;
  effects e = {.calls = ""};
  aon_callbacks callbacks = {.version = AON_CALLBACKS_VERSION, .context = &e, .perform = perform};
  s->store = world_store(&s->w, &aon_callback_adapter, &callbacks, "mail", "", true);
  assert_false(aon_store_capabilities(s->store)->can_undo);
  callbacks.version = 99;
  aon_store_config config = {.name = "mail", .options = &callbacks};
  FAILS(&s->w, aon_store_open(s->w.env, &aon_callback_adapter, &config, &s->other, &s->w.error), AON_USAGE, "no_options");
}

/* A program's own documents: one, unless its reading fails. */
typedef struct shelf {
  aon_result read; /* the result of its reading */
  bool there, cancelled;
  aon_store *cancel; /* cancelled while it reads */
  unsigned reads, performed;
} shelf;

static aon_result shelf_perform(void *context, const aon_callback_operation *operation, aon_error *error) {
  shelf *on = context;
  (void)operation;
  (void)error;
  on->performed++;
  return AON_OK;
}

static aon_result shelf_read(void *context, const char *collection, aon_text id, bson_t *document, bool *ret_exists, aon_error *error) {
  shelf *on = context;
  (void)collection;
  (void)id;
  on->reads++;
  if (on->cancel)
    aon_store_cancel(on->cancel);
  if (on->read)
    return aon_fail(error, on->read, "shelf", "The shelf can't be reached.");
  BSON_APPEND_INT64(document, "n", 1);
  *ret_exists = on->there;
  return AON_OK;
}

static aon_result shelf_scan(void *context, const char *collection, aon_callback_found found, void *found_context, aon_error *error) {
  bson_t document = BSON_INITIALIZER;
  (void)context;
  (void)collection;
  BSON_APPEND_INT64(&document, "n", 1);
  aon_result result = AON_OK;
  for (int i = 0; !result && i < 3; i++)
    result = found(found_context, text((char[]){(char)('a' + i), 0}), &document, error);
  bson_destroy(&document);
  return result;
}

static void shelf_cancel(void *context) {
  shelf *on = context;
  on->cancelled = true;
}

static aon_callbacks shelf_functions(shelf *on) {
  return (aon_callbacks){.version = AON_CALLBACKS_VERSION,
                         .context = on,
                         .perform = shelf_perform,
                         .read = shelf_read,
                         .scan = shelf_scan,
                         .cancel = shelf_cancel};
}

static aon_result cancel_at_the_first(void *context, const aon_found *found, aon_error *error);

static void a_program_hears_that_its_call_is_cancelled(void **state) {
  subject *s = *state;
  shelf on = {.there = true};
  aon_callbacks callbacks = shelf_functions(&on);
  s->store = world_store(&s->w, &aon_callback_adapter, &callbacks, "shelf", "", true);
  aon_text ids[] = {text("a"), text("b"), text("c")};
  aon_image images[3];
  on.cancel = s->store;
  FAILS(&s->w, aon_store_read(s->store, &items, ids, 3, &s->w.arena, images, &s->w.error), AON_CANCELLED, "cancelled");
  assert_int_equal(on.reads, 1); /* the one under way; no more */
  assert_true(on.cancelled);
  aon_write writes[] = {write_of(&items, "a", image(&s->w, "{\"n\":1}"), image(&s->w, "{\"n\":2}"), 0),
                        write_of(&items, "b", image(&s->w, "{\"n\":1}"), image(&s->w, "{\"n\":2}"), 1)};
  aon_write_state states[2];
  size_t failed;
  FAILS(&s->w, aon_store_apply(s->store, NULL, writes, 2, states, &failed, &s->w.error), AON_CANCELLED, "cancelled");
  assert_int_equal(failed, 1);
  assert_int_equal(states[0], AON_WRITE_APPLIED);
  assert_int_equal(states[1], AON_WRITE_NOT_SENT);
  assert_int_equal(on.performed, 1);
  on.cancel = NULL;
  FAILS(&s->w, aon_store_scan(s->store, &items, NULL, 0, NULL, cancel_at_the_first, s, &s->w.error), AON_CANCELLED, "cancelled");
  assert_int_equal(s->heard, 1);
  callbacks.cancel = NULL; /* who gives no such function is not asked, and the next call of his ends all the same */
  on.cancelled = false;
  s->heard = 0;
  FAILS(&s->w, aon_store_scan(s->store, &items, NULL, 0, NULL, cancel_at_the_first, s, &s->w.error), AON_CANCELLED, "cancelled");
  assert_int_equal(s->heard, 1);
  assert_false(on.cancelled);
}

static void what_a_program_can_not_read(void **state) {
  subject *s = *state;
  shelf on = {.read = AON_UNKNOWN};
  aon_callbacks callbacks = shelf_functions(&on);
  s->store = world_store(&s->w, &aon_callback_adapter, &callbacks, "shelf", "", true);
  aon_write_state became;
  aon_image one = image(&s->w, "{\"n\":1}");
  aon_write write = write_of(&items, "a", one, image(&s->w, "{\"n\":2}"), 0);
  FAILS(&s->w, apply_one(s, write, &became), AON_TRANSIENT, "no_reply"); /* it was not performed: nothing is in doubt */
  assert_int_equal(became, AON_WRITE_REFUSED);
  on.read = AON_ENVIRONMENT;
  FAILS(&s->w, apply_one(s, write, &became), AON_ENVIRONMENT, "shelf");
  on.read = AON_OK; /* not there */
  FAILS(&s->w, apply_one(s, write, &became), AON_PERMANENT, "changed_meanwhile");
  on.there = true;
  write.compensates = true; /* but there is no function that undoes: performed as the opposite one */
  OK(&s->w, apply_one(s, write, &became));
  assert_int_equal(on.performed, 1);
  callbacks.scan = NULL;
  FAILS(&s->w, aon_store_scan(s->store, &items, NULL, 0, NULL, cancel_at_the_first, s, &s->w.error), AON_USAGE, "not_supported");
}

static void a_caller_may_want_no_sentence(void **state) {
  subject *s = *state;
  shelf on = {.read = AON_UNKNOWN};
  aon_callbacks callbacks = shelf_functions(&on);
  aon_store_config config = {.name = "shelf", .options = &callbacks};
  OK(&s->w, aon_store_open(s->w.env, &aon_callback_adapter, &config, &s->store, &s->w.error));
  aon_write write = write_of(&items, "a", absent, image(&s->w, "{\"n\":2}"), 0);
  aon_write_state became;
  size_t failed;
  assert_int_equal(aon_store_apply(s->store, NULL, &write, 1, &became, &failed, NULL), AON_TRANSIENT);
  assert_int_equal(failed, 0);
}

/* ---- trace ---- */

static void keep_line(void *context, const char *line) {
  char *lines = context;
  strcat(strcat(lines, line), "\n");
}

static void traces_every_call(void **state) {
  subject *s = *state;
  char lines[4000] = "";
  OK(&s->w, aon_memory_new(&(aon_memory_config){.store_class = AON_CLASS_TRANSACTION}, &s->memory, &s->w.error));
  aon_trace trace = {.inner = &aon_memory_adapter, .inner_options = s->memory, .line = keep_line, .context = lines};
  s->store = world_store(&s->w, &aon_trace_adapter, &trace, "main", "", true);
  OK(&s->w, aon_store_commit(s->store, open_with(s, s->store, 1, "a"), &s->w.error));
  aon_transaction *transaction = open_with(s, s->store, 2, "b");
  aon_write bad = write_of(&items, "a", absent, image(&s->w, "{\"secret\":\"hunter2\"}"), 17);
  size_t failed;
  FAILS(&s->w, aon_store_apply(s->store, transaction, &bad, 1, NULL, &failed, &s->w.error), AON_PERMANENT, "duplicate");
  aon_store_abort(s->store, transaction);
  look(&s->w, s->store, &items, "a");
  resolved(s, s->store, 1);
  assert_string_equal(lines, "main: open (memory), class transaction: ok\n"
                             "main: begin 12345678-1234-4234-8234-123456789abc 1.0, marker commit: ok\n"
                             "main: apply 1 writes to items: ok\n"
                             "main: commit: ok\n"
                             "main: begin 12345678-1234-4234-8234-123456789abc 2.0, marker commit: ok\n"
                             "main: apply 1 writes to items: ok\n"
                             "main: apply 1 writes, up to write 0 (operation 17 of items): permanent duplicate\n"
                             "main: abort: ok\n"
                             "main: read items, 1 ids, 1 there: ok\n"
                             "main: resolve 12345678-1234-4234-8234-123456789abc 1.0, committed: ok\n");
  aon_store_close(s->store); /* lines is on this stack */
  s->store = NULL;
}

static aon_result examine_sick(void *state, struct aon_buffer *report, bool *ret_healthy, aon_error *error) {
  (void)state;
  *ret_healthy = false;
  return aon_buffer_text(report, "sick\n", error);
}

static aon_result examine_not(void *state, struct aon_buffer *report, bool *ret_healthy, aon_error *error) {
  (void)state;
  (void)report;
  (void)ret_healthy;
  return aon_fail(error, AON_ENVIRONMENT, "io_error", "It can't be read.");
}

static aon_pool_counts pool_of_three(void *state) {
  (void)state;
  return (aon_pool_counts){.max = 3};
}

static void open_traced(subject *s, aon_trace *trace) {
  aon_store_config config = {.name = "main", .options = trace};
  aon_store_close(s->store);
  s->store = NULL;
  OK(&s->w, aon_store_open(s->w.env, &aon_trace_adapter, &config, &s->store, &s->w.error));
}

static void traces_what_is_odd(void **state) {
  subject *s = *state;
  char lines[4000] = "", report_text[] = "sick\n", long_id[150];
  OK(&s->w, aon_memory_new(&(aon_memory_config){.store_class = AON_CLASS_CONDITIONAL}, &s->memory, &s->w.error));
  aon_store_adapter inner = aon_memory_adapter;
  inner.examine = examine_sick;
  inner.pool = pool_of_three;
  aon_trace trace = {.inner = &inner, .inner_options = s->memory, .line = keep_line, .context = lines};
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  aon_pool_counts counts = {.max = 0};
  aon_image made;
  bson_t document = BSON_INITIALIZER;
  bool healthy = true;
  size_t failed = 7;
  open_traced(s, &trace);
  assert_true(aon_pool_status(s->store, &counts));
  assert_int_equal(counts.max, 3);
  OK(&s->w, aon_store_examine(s->store, &report, &healthy, &s->w.error));
  assert_false(healthy);
  assert_string_equal(report.data, report_text);
  inner.examine = examine_not;
  FAILS(&s->w, aon_store_examine(s->store, &report, &healthy, &s->w.error), AON_ENVIRONMENT, "io_error");
  assert_int_equal(aon_store_examine(s->store, &report, &healthy, NULL), AON_ENVIRONMENT); /* nobody wants the code */
  aon_write_state none[1];
  OK(&s->w, aon_store_apply(s->store, NULL, NULL, 0, none, &failed, &s->w.error));
  memset(long_id, 'x', sizeof long_id - 1);
  long_id[sizeof long_id - 1] = 0;
  OK(&s->w, aon_store_normalise(s->store, &items, text(long_id), &document, &s->w.arena, &made, &s->w.error));
  bson_destroy(&document);
  long_id[100] = 0; /* as much of it as a line shows */
  char wanted[1000];
  snprintf(wanted, sizeof wanted,
           "main: open (memory), class conditional: ok\nmain: examine, not healthy: ok\nmain: examine, ?: environment io_error\n"
           "main: examine, ?: environment\nmain: apply 0 writes to nothing: ok\nmain: normalise items/%s: ok\n",
           long_id);
  assert_string_equal(lines, wanted);
  inner.pool = NULL;
  assert_false(aon_pool_status(s->store, &counts));
  aon_store_close(s->store);
  s->store = NULL;
}

/* An inner store that fails before it looks at a write says of none which. */
static void traces_a_failure_of_no_write(void **state) {
  subject *s = *state;
  char lines[1000] = "";
  OK(&s->w, aon_memory_new(&(aon_memory_config){.store_class = AON_CLASS_TRANSACTION}, &s->memory, &s->w.error));
  aon_trace trace = {.inner = &aon_memory_adapter, .inner_options = s->memory, .line = keep_line, .context = lines};
  open_traced(s, &trace);
  lines[0] = 0;
  aon_write write = write_of(&items, "a", absent, image(&s->w, "{}"), 5);
  size_t failed = 0;
  FAILS(&s->w, aon_store_apply(s->store, NULL, &write, 1, NULL, &failed, &s->w.error), AON_USAGE, "transaction_failed");
  assert_int_equal(failed, 1);
  assert_int_equal(aon_store_apply(s->store, NULL, &write, 1, NULL, NULL, NULL), AON_USAGE); /* nor does who asks need to know */
  *(strchr(lines, '\n') + 1) = 0;
  assert_string_equal(lines, "main: apply 1 writes, up to write 1 (operation -1 of nothing): usage transaction_failed\n");
  aon_store_close(s->store);
  s->store = NULL;
}

/* ---- fault ---- */

static void faulty_store(subject *s, aon_fault *fault, aon_store_class class) {
  OK(&s->w, aon_memory_new(&(aon_memory_config){.store_class = class}, &s->memory, &s->w.error));
  fault->inner = &aon_memory_adapter;
  fault->inner_options = s->memory;
  s->store = world_store(&s->w, &aon_fault_adapter, fault, "main", "", true);
  s->other = world_store(&s->w, &aon_memory_adapter, s->memory, "main", "", true);
}

static void close_both(subject *s) {
  aon_store_close(s->store);
  aon_store_close(s->other);
  s->store = s->other = NULL;
}

static void a_fault_says_the_truth(void **state) {
  subject *s = *state;
  for (int after = 0; after < 2; after++) {
    aon_fault fault = {
        .call = "commit", .nth = 1, .when = after ? AON_FAULT_AFTER : AON_FAULT_BEFORE, .kind = after ? AON_UNKNOWN : AON_TRANSIENT};
    faulty_store(s, &fault, AON_CLASS_TRANSACTION);
    FAILS(&s->w, aon_store_commit(s->store, open_with(s, s->store, 1, "a"), &s->w.error), fault.kind, "injected");
    assert_int_equal(resolved(s, s->other, 1), after ? AON_BRANCH_COMMITTED : AON_BRANCH_ABORTED);
    OK(&s->w, aon_store_commit(s->store, open_with(s, s->store, 2, "b"), &s->w.error)); /* once only */
    assert_int_equal(fault.faults, 1);
    close_both(s);
    aon_memory_free(s->memory);
    s->memory = NULL;
  }
}

static void a_failing_begin_leaves_nothing_open(void **state) {
  subject *s = *state;
  aon_fault fault = {.call = "begin", .nth = 1, .when = AON_FAULT_AFTER, .kind = AON_TRANSIENT, .for_ever = true};
  faulty_store(s, &fault, AON_CLASS_TRANSACTION);
  aon_branch own = branch(1);
  aon_transaction *transaction;
  for (int i = 0; i < 3; i++)
    FAILS(&s->w, aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &transaction, &s->w.error), AON_TRANSIENT, "injected");
  OK(&s->w, aon_store_commit(s->other, open_with(s, s->other, 1, "a"), &s->w.error));
  assert_int_equal(fault.faults, 3);
  close_both(s);
}

static aon_result cancel_at_the_first(void *context, const aon_found *found, aon_error *error) {
  subject *s = context;
  (void)found;
  (void)error;
  s->heard++;
  aon_store_cancel(s->store);
  return AON_OK;
}

/* What a signal handler asks of a store reaches it through every decorator: the call under way ends soon, the next one is not touched. */
static void cancel_reaches_the_store(void **state) {
  subject *s = *state;
  aon_fault fault = {.inner = &aon_memory_adapter};
  char lines[4000] = "";
  aon_trace trace = {.inner = &aon_fault_adapter, .inner_options = &fault, .line = keep_line, .context = lines};
  OK(&s->w, aon_memory_new(&(aon_memory_config){.store_class = AON_CLASS_CONDITIONAL}, &s->memory, &s->w.error));
  fault.inner_options = s->memory;
  s->store = world_store(&s->w, &aon_trace_adapter, &trace, "main", "", true);
  s->other = world_store(&s->w, &aon_memory_adapter, s->memory, "main", "", true);
  aon_write_state became;
  OK(&s->w, apply_one(s, write_of(&items, "a", absent, image(&s->w, "{}"), 0), &became));
  OK(&s->w, apply_one(s, write_of(&items, "b", absent, image(&s->w, "{}"), 0), &became));
  FAILS(&s->w, aon_store_scan(s->store, &items, NULL, 0, NULL, cancel_at_the_first, s, &s->w.error), AON_CANCELLED, "cancelled");
  assert_int_equal(s->heard, 1);
  assert_non_null(look(&s->w, s->store, &items, "b").bson);
  close_both(s); /* lines is on this stack */
}

/* Before the call: it was never made, and each write says what its owner may believe. */
static void a_fault_before_a_write(void **state) {
  subject *s = *state;
  for (int unknown = 0; unknown < 2; unknown++) {
    aon_fault fault = {.call = "apply", .nth = 1, .when = AON_FAULT_BEFORE, .kind = unknown ? AON_UNKNOWN : AON_TRANSIENT, .code = "gone"};
    faulty_store(s, &fault, AON_CLASS_CONDITIONAL);
    aon_write_state became = AON_WRITE_APPLIED;
    FAILS(&s->w, apply_one(s, write_of(&items, "a", absent, image(&s->w, "{}"), 0), &became), fault.kind, "gone");
    assert_int_equal(became, unknown ? AON_WRITE_UNKNOWN : AON_WRITE_NOT_SENT);
    assert_null(look(&s->w, s->other, &items, "a").bson);
    close_both(s);
    aon_memory_free(s->memory);
    s->memory = NULL;
  }
}

static void faults_until_none_is_left(void **state) { /* how other rooms use it */
  subject *s = *state;
  uint64_t nth = 0, faults;
  do {
    aon_fault fault = {.nth = ++nth, .kind = AON_UNKNOWN, .when = AON_FAULT_AFTER, .call = "apply"};
    faulty_store(s, &fault, AON_CLASS_CONDITIONAL);
    aon_write_state became;
    for (int i = 0; i < 3; i++) {
      const char *id = (char[]){(char)('a' + i), 0};
      aon_result result = apply_one(s, write_of(&items, id, absent, image(&s->w, "{}"), 0), &became);
      assert_int_equal(result, (uint64_t)i + 1 == nth ? AON_UNKNOWN : AON_OK);
      assert_non_null(look(&s->w, s->other, &items, id).bson);
      s->w.error = (aon_error)AON_ERROR_INIT;
    }
    faults = fault.faults;
    close_both(s);
    aon_memory_free(s->memory);
    s->memory = NULL;
  } while (faults);
  assert_int_equal(nth, 4);
}

/* Each call by its name: not made, or made and its answer lost. */
static aon_result call_named(subject *s, const char *name) {
  aon_branch own = branch(1);
  aon_branch_state found;
  const aon_shape *shape;
  aon_image made;
  bson_t document = BSON_INITIALIZER; /* empty, nothing to free */
  aon_text id = text("a");
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  bool healthy;
  if (!strcmp(name, "describe"))
    return aon_store_describe(s->store, &items, &shape, &s->w.error);
  if (!strcmp(name, "normalise"))
    return aon_store_normalise(s->store, &items, id, &document, &s->w.arena, &made, &s->w.error);
  if (!strcmp(name, "read"))
    return aon_store_read(s->store, &items, &id, 1, &s->w.arena, &made, &s->w.error);
  if (!strcmp(name, "scan"))
    return aon_store_scan(s->store, &items, NULL, 0, NULL, cancel_at_the_first, s, &s->w.error);
  if (!strcmp(name, "commit_prepared"))
    return aon_store_commit_prepared(s->store, &own, &s->w.error);
  if (!strcmp(name, "abort_prepared"))
    return aon_store_abort_prepared(s->store, &own, &s->w.error);
  if (!strcmp(name, "resolve"))
    return aon_store_resolve(s->store, &own, &found, &s->w.error);
  if (!strcmp(name, "forget"))
    return aon_store_forget(s->store, 0, &s->w.error);
  return aon_store_examine(s->store, &report, &healthy, &s->w.error);
}

static void every_call_can_fail(void **state) {
  subject *s = *state;
  static const char *const names[] = {"describe",       "normalise", "read",   "scan",   "commit_prepared",
                                      "abort_prepared", "resolve",   "forget", "examine"};
  for (size_t i = 0; i < 2 * sizeof names / sizeof *names; i++) {
    const char *name = names[i / 2];
    bool after = i % 2;
    aon_fault fault = {.call = name, .nth = 2, .for_ever = true, .when = after ? AON_FAULT_AFTER : AON_FAULT_BEFORE, .kind = AON_TRANSIENT};
    faulty_store(s, &fault, AON_CLASS_PREPARED);
    OK(&s->w, aon_store_prepare(s->store, open_with(s, s->store, 1, "a"), &s->w.error));
    if (!strcmp(name, "scan"))
      OK(&s->w,
         aon_store_scan(s->store, &(aon_collection){.store = "main", .name = "none"}, NULL, 0, NULL, cancel_at_the_first, s, &s->w.error));
    else if (strcmp(name, "commit_prepared") && strcmp(name, "abort_prepared"))
      OK(&s->w, call_named(s, name));
    else
      fault.nth = 1;
    for (int again = 0; again < 2; again++)
      FAILS(&s->w, call_named(s, name), AON_TRANSIENT, "injected");
    assert_int_equal(fault.faults, 2);
    aon_branch_state became = !after                             ? AON_BRANCH_PREPARED
                              : !strcmp(name, "commit_prepared") ? AON_BRANCH_COMMITTED
                              : !strcmp(name, "abort_prepared")  ? AON_BRANCH_ABORTED
                                                                 : AON_BRANCH_PREPARED;
    assert_int_equal(resolved(s, s->other, 1), became);
    close_both(s);
    aon_memory_free(s->memory);
    s->memory = NULL;
  }
}

/* A lie that only a test of somebody's own checks wants: a write that was done is said not to have been sent, or refused. */
static void a_fault_after_a_write(void **state) {
  subject *s = *state;
  for (int unknown = 0; unknown < 2; unknown++) {
    aon_fault fault = {.call = "apply", .nth = 1, .when = AON_FAULT_AFTER, .kind = unknown ? AON_UNKNOWN : AON_TRANSIENT};
    faulty_store(s, &fault, AON_CLASS_CONDITIONAL);
    aon_write writes[] = {write_of(&items, "a", absent, image(&s->w, "{}"), 0), write_of(&items, "a", absent, image(&s->w, "{}"), 1)};
    aon_write_state states[2];
    size_t failed = 9;
    aon_store_config config = {.name = "main", .options = &fault}; /* the asserting decorator would not let the lie pass */
    aon_store *bare;
    OK(&s->w, aon_store_open(s->w.env, &aon_fault_adapter, &config, &bare, &s->w.error));
    FAILS(&s->w, aon_store_apply(bare, NULL, writes, 2, states, &failed, &s->w.error), fault.kind, "injected");
    assert_int_equal(states[0], unknown ? AON_WRITE_UNKNOWN : AON_WRITE_NOT_SENT);
    assert_int_equal(states[1], AON_WRITE_REFUSED); /* that one's own answer came */
    assert_int_equal(failed, 0);
    fault.nth = 2;
    assert_int_equal(aon_store_apply(bare, NULL, writes, 1, states, NULL, NULL), fault.kind);
    fault.when = AON_FAULT_BEFORE;
    fault.nth = 3;
    assert_int_equal(aon_store_apply(bare, NULL, writes, 1, states, NULL, NULL), fault.kind);
    assert_non_null(look(&s->w, s->other, &items, "a").bson);
    aon_store_close(bare);
    close_both(s);
    aon_memory_free(s->memory);
    s->memory = NULL;
  }
}

/* ---- assert ---- */

typedef void (*breaking)(subject *s, aon_transaction *open);

static void apply_after_commit(subject *s, aon_transaction *open) {
  OK(&s->w, aon_store_commit(s->store, open, &s->w.error));
  aon_write write = write_of(&items, "z", absent, image(&s->w, "{}"), 0);
  size_t failed;
  (void)!aon_store_apply(s->store, open, &write, 1, NULL, &failed, NULL);
}

static void commit_twice(subject *s, aon_transaction *open) {
  OK(&s->w, aon_store_commit(s->store, open, &s->w.error));
  (void)!aon_store_commit(s->store, open, NULL);
}

static void commit_after_failure(subject *s, aon_transaction *open) {
  aon_write write = write_of(&items, "a", absent, image(&s->w, "{}"), 0);
  size_t failed;
  (void)!aon_store_apply(s->store, open, &write, 1, NULL, &failed, NULL);
  (void)!aon_store_commit(s->store, open, NULL);
}

static void begin_twice(subject *s, aon_transaction *open) {
  (void)open;
  aon_branch own = branch(2);
  aon_transaction *second;
  (void)!aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &second, NULL);
}

static void write_nothing(subject *s, aon_transaction *open) {
  aon_write write = write_of(&items, "a", absent, absent, 0);
  size_t failed;
  (void)!aon_store_apply(s->store, open, &write, 1, NULL, &failed, NULL);
}

static void resolve_within(subject *s, aon_transaction *open) {
  (void)open;
  resolved(s, s->store, 3);
}

static void close_within(subject *s, aon_transaction *open) {
  (void)open;
  aon_store_close(s->store);
}

static void bad_bulk_id(subject *s, aon_transaction *open) {
  aon_store_abort(s->store, open);
  aon_branch own = {.bulk_id = "not a uuid"};
  (void)!aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &open, NULL);
}

static void a_batch_in_class_2(subject *s, aon_transaction *open) {
  aon_store_abort(s->store, open);
  aon_branch own = branch(1);
  own.batch = 3;
  (void)!aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &open, NULL);
}

static void breaks(subject *s, breaking how, const char *sentence) {
  int pipes[2];
  assert_int_equal(pipe(pipes), 0);
  fflush(NULL);
  pid_t child = fork();
  if (!child) {
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    signal(SIGABRT, SIG_DFL);
    dup2(pipes[1], 2);
    how(s, open_with(s, s->store, 1, "a"));
    _exit(0);
  }
  close(pipes[1]);
  char said[1000] = "";
  size_t length = 0;
  ssize_t more;
  while (length < sizeof said - 1 && (more = read(pipes[0], said + length, sizeof said - 1 - length)) > 0)
    length += (size_t)more;
  close(pipes[0]);
  int status;
  waitpid(child, &status, 0);
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || !strstr(said, sentence)) {
    print_error("wanted “%s”, status %d, got %s\n", sentence, status, said);
    fail();
  }
}

static void breaches_end_the_process(void **state) {
  subject *s = *state;
  open_memory(s, AON_CLASS_TRANSACTION);
  breaks(s, apply_after_commit, "main.apply: it is not in the open transaction");
  breaks(s, commit_twice, "main.commit: no transaction is open");
  breaks(s, commit_after_failure, "main.commit: after a failure");
  breaks(s, begin_twice, "main.begin: a transaction is open already");
  breaks(s, write_nothing, "neither expects nor wants");
  breaks(s, resolve_within, "main.resolve: a transaction is open here");
  breaks(s, close_within, "main.close: a transaction is still open");
  breaks(s, bad_bulk_id, "no UUID");
  breaks(s, a_batch_in_class_2, "only class 3 counts batches");
}

/* ---- the door ---- */

typedef struct steps {
  aon_env_ops ops;
  const aon_env_ops *real;
  char seen[2000];
} steps;

static steps *counting; /* the environment's own context belongs to the real one */

static void count_step(void *context, const char *what) {
  (void)context;
  strcat(strcat(counting->seen, what), " ");
}

static void announces_every_call(void **state) {
  subject *s = *state;
  steps own = {.real = s->w.env->ops};
  own.ops = *own.real;
  own.ops.step = count_step;
  counting = &own;
  s->w.env->ops = &own.ops;
  open_memory(s, AON_CLASS_PREPARED);
  own.seen[0] = 0;
  const aon_shape *shape;
  OK(&s->w, aon_store_describe(s->store, &items, &shape, &s->w.error));
  normal(&s->w, s->store, &items, "a", "{}");
  look(&s->w, s->store, &items, "a");
  aon_transaction *transaction = open_with(s, s->store, 1, "a");
  OK(&s->w, aon_store_flush(s->store, transaction, &s->w.error));
  OK(&s->w, aon_store_prepare(s->store, transaction, &s->w.error));
  aon_branch own_branch = branch(1);
  OK(&s->w, aon_store_commit_prepared(s->store, &own_branch, &s->w.error));
  OK(&s->w, aon_store_commit(s->store, open_with(s, s->store, 2, "b"), &s->w.error));
  aon_store_abort(s->store, open_with(s, s->store, 3, "c"));
  OK(&s->w, aon_store_forget(s->store, 0, &s->w.error));
  resolved(s, s->store, 1);
  assert_string_equal(
      own.seen,
      "store.main.describe store.main.normalise store.main.read store.main.begin store.main.apply store.main.flush store.main.prepare "
      "store.main.commit_prepared store.main.begin store.main.apply store.main.commit store.main.begin store.main.apply "
      "store.main.abort store.main.forget store.main.resolve ");
  s->w.env->ops = own.real;
}

static void finds_adapters(void **state) {
  subject *s = *state;
  assert_ptr_equal(aon_store_adapter_find("sqlite"), &aon_sqlite_adapter);
  assert_null(aon_store_adapter_find("nosql"));
  aon_store_adapter old = aon_memory_adapter;
  old.interface_version = 0;
  aon_store_config config = {.name = "main"};
  FAILS(&s->w, aon_store_open(s->w.env, &old, &config, &s->store, &s->w.error), AON_USAGE, "interface_version");
  FAILS(&s->w, aon_store_open(s->w.env, &aon_memory_adapter, &config, &s->store, &s->w.error), AON_USAGE, "no_options");
  config.name = "";
  FAILS(&s->w, aon_store_open(s->w.env, &aon_memory_adapter, &config, &s->store, &s->w.error), AON_USAGE, "bad_name");
}

static void reads_have_a_limit(void **state) {
  subject *s = *state;
  open_memory(s, AON_CLASS_TRANSACTION);
  size_t count = AON_STORE_READ_LIMIT + 1;
  aon_text *ids = calloc(count, sizeof *ids);
  aon_image *images = calloc(count, sizeof *images);
  FAILS(&s->w, aon_store_read(s->store, &items, ids, count, &s->w.arena, images, &s->w.error), AON_USAGE, "too_many");
  for (size_t i = 0; i < count; i++)
    ids[i] = text("a");
  OK(&s->w, aon_store_read(s->store, &items, ids, count - 1, &s->w.arena, images, &s->w.error));
  free(ids);
  free(images);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {TEST(a_lost_reply_was_applied),
                                     TEST(a_late_write_matches_what_was_restored),
                                     TEST(a_late_write_misses_a_voided_stamp),
                                     TEST(a_late_commit_is_fenced),
                                     TEST(an_open_commit_keeps_its_secret),
                                     TEST(row_locks_keep_others_out),
                                     TEST(prepare_has_slots),
                                     TEST(a_version_never_comes_again),
                                     TEST(class_5_can_lose_a_foreign_write),
                                     TEST(limits_and_types),
                                     TEST(effects_are_done_and_undone),
                                     TEST(effects_without_undo_wait),
                                     TEST(a_program_hears_that_its_call_is_cancelled),
                                     TEST(what_a_program_can_not_read),
                                     TEST(a_caller_may_want_no_sentence),
                                     TEST(traces_every_call),
                                     TEST(traces_what_is_odd),
                                     TEST(traces_a_failure_of_no_write),
                                     TEST(a_fault_says_the_truth),
                                     TEST(a_failing_begin_leaves_nothing_open),
                                     TEST(cancel_reaches_the_store),
                                     TEST(a_fault_before_a_write),
                                     TEST(faults_until_none_is_left),
                                     TEST(every_call_can_fail),
                                     TEST(a_fault_after_a_write),
                                     TEST(breaches_end_the_process),
                                     TEST(announces_every_call),
                                     TEST(finds_adapters),
                                     TEST(reads_have_a_limit)};
  return cmocka_run_group_tests_name("stores and decorators", tests, NULL, NULL);
}
