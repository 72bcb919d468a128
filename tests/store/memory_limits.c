/* What the memory store, which all the others are measured by, refuses: transactions that are too old, too many or not its caller's,
 * batches beyond its limits, values that it can't hold, calls that were cancelled; and what its door says of an adapter that lacks a
 * function. Opened without the asserting decorator, which would end the process at some of these callers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "model/document.h"
#include "store/memory.h"
#include "world.h"

static const aon_image absent = {0};
static const aon_collection items = {.store = "main", .name = "items"};

typedef struct subject {
  world w;
  aon_env_ops ops; /* the real ones, but for the clocks */
  const aon_env_ops *real;
  aon_memory_database *memory;
  aon_store *store, *other;
} subject;

static subject *current; /* the environment's own context belongs to the real one */
static int64_t ahead_ms;
static aon_store *cancelled_soon; /* as the clock is looked at, which is when a call begins */

static int64_t monotonic_ms(void *context) {
  (void)context;
  return 1000 + ahead_ms;
}

static int64_t now_ms(void *context) {
  aon_store *store = cancelled_soon;
  cancelled_soon = NULL;
  if (store)
    aon_store_cancel(store);
  return current->real->now_ms(context);
}

static int set_up(void **state) {
  subject *s = calloc(1, sizeof *s);
  world_open(&s->w);
  s->real = s->w.env->ops;
  s->ops = *s->real;
  s->ops.monotonic_ms = monotonic_ms;
  s->ops.now_ms = now_ms;
  s->w.env->ops = &s->ops;
  current = s;
  ahead_ms = 0;
  *state = s;
  return 0;
}

static int tear_down(void **state) {
  subject *s = *state;
  aon_store_close(s->store);
  aon_store_close(s->other);
  aon_memory_free(s->memory);
  s->w.env->ops = s->real;
  world_close(&s->w);
  free(s);
  return 0;
}

static aon_store *open_as(subject *s, const aon_store_adapter *adapter, const char *name) {
  aon_store_config config = {.name = name, .options = s->memory};
  aon_store *store = NULL;
  OK(&s->w, aon_store_open(s->w.env, adapter, &config, &store, &s->w.error));
  return store;
}

static void open_memory(subject *s, const aon_memory_config *config) {
  OK(&s->w, aon_memory_new(config, &s->memory, &s->w.error));
  s->store = open_as(s, &aon_memory_adapter, "main");
  s->other = open_as(s, &aon_memory_adapter, "main");
}

static aon_transaction *begin(subject *s, aon_store *store, uint32_t attempt) {
  aon_branch own = branch(attempt);
  aon_transaction *transaction;
  OK(&s->w, aon_store_begin(store, &own, AON_MARKER_COMMIT, &transaction, &s->w.error));
  return transaction;
}

static aon_result write_one(subject *s, aon_store *store, aon_transaction *transaction, const char *id, const char *json) {
  aon_write write = write_of(&items, id, absent, image(&s->w, json), 0);
  size_t failed;
  return aon_store_apply(store, transaction, &write, 1, NULL, &failed, &s->w.error);
}

static aon_branch_state resolved(subject *s, aon_store *store, uint32_t attempt) {
  aon_branch own = branch(attempt);
  aon_branch_state found;
  OK(&s->w, aon_store_resolve(store, &own, &found, &s->w.error));
  return found;
}

static const char *kept(subject *s, const char *id) {
  aon_image found = look(&s->w, s->other, &items, id);
  return json_of(&s->w, &found);
}

/* ---- transactions ---- */

static void a_transaction_has_its_time(void **state) {
  subject *s = *state;
  open_memory(s, &(aon_memory_config){.store_class = AON_CLASS_TRANSACTION, .transaction_ms = 50});
  aon_transaction *transaction = begin(s, s->store, 1);
  ahead_ms += 50;
  OK(&s->w, write_one(s, s->store, transaction, "a", "{\"n\":1}"));
  ahead_ms += 1;
  FAILS(&s->w, write_one(s, s->store, transaction, "b", "{\"n\":1}"), AON_TRANSIENT, "transaction_expired");
  aon_store_abort(s->store, transaction);
  transaction = begin(s, s->store, 2);
  OK(&s->w, write_one(s, s->store, transaction, "a", "{\"n\":2}"));
  ahead_ms += 51;
  FAILS(&s->w, aon_store_commit(s->store, transaction, &s->w.error), AON_TRANSIENT, "transaction_expired");
  assert_int_equal(resolved(s, s->other, 2), AON_BRANCH_ABORTED); /* it was rolled back */
  assert_string_equal(kept(s, "a"), "absent");
}

static void one_writes_at_a_time(void **state) {
  subject *s = *state;
  open_memory(s, &(aon_memory_config){.store_class = AON_CLASS_TRANSACTION, .one_writer = true});
  aon_branch second = branch(2);
  aon_transaction *transaction = begin(s, s->store, 1), *other;
  FAILS(&s->w, aon_store_begin(s->other, &second, AON_MARKER_COMMIT, &other, &s->w.error), AON_TRANSIENT, "database_locked");
  FAILS(&s->w, aon_store_begin(s->store, &second, AON_MARKER_COMMIT, &other, &s->w.error), AON_USAGE, "transaction_open");
  assert_int_equal(resolved(s, s->other, 7), AON_BRANCH_OPEN); /* nobody can write a marker now, so nothing is known */
  aon_store_abort(s->store, transaction);
  assert_int_equal(resolved(s, s->other, 7), AON_BRANCH_ABORTED);
  aon_store_abort(s->other, begin(s, s->other, 2));
}

static void a_branch_is_open_once(void **state) {
  subject *s = *state;
  open_memory(s, &(aon_memory_config){.store_class = AON_CLASS_TRANSACTION});
  aon_branch own = branch(1);
  aon_transaction *transaction = begin(s, s->store, 1), *other;
  FAILS(&s->w, aon_store_begin(s->other, &own, AON_MARKER_COMMIT, &other, &s->w.error), AON_TRANSIENT, "locked");
  OK(&s->w, aon_store_forget(s->other, INT64_MAX, &s->w.error)); /* its marker stays */
  assert_int_equal(resolved(s, s->other, 1), AON_BRANCH_OPEN);
  OK(&s->w, aon_store_commit(s->store, transaction, &s->w.error));
  FAILS(&s->w, aon_store_begin(s->other, &own, AON_MARKER_COMMIT, &other, &s->w.error), AON_FENCED, "fenced");
}

static void a_transaction_is_its_handles_own(void **state) {
  subject *s = *state;
  open_memory(s, &(aon_memory_config){.store_class = AON_CLASS_PREPARED});
  aon_transaction *transaction = begin(s, s->store, 1);
  FAILS(&s->w, write_one(s, s->other, transaction, "a", "{}"), AON_USAGE, "transaction_failed");
  FAILS(&s->w, write_one(s, s->store, NULL, "a", "{}"), AON_USAGE, "transaction_failed");
  FAILS(&s->w, aon_store_flush(s->other, transaction, &s->w.error), AON_USAGE, "transaction_failed");
  FAILS(&s->w, aon_store_commit(s->other, transaction, &s->w.error), AON_USAGE, "transaction_failed");
  FAILS(&s->w, aon_store_prepare(s->other, transaction, &s->w.error), AON_USAGE, "transaction_failed");
  aon_store_abort(s->other, transaction);
  aon_store_abort(s->other, NULL);
  OK(&s->w, write_one(s, s->store, transaction, "a", "{\"n\":1}")); /* none of it touched the one who opened it */
  OK(&s->w, aon_store_commit(s->store, transaction, &s->w.error));
  assert_string_equal(kept(s, "a"), "{\"n\":1}");
}

static void what_is_prepared_is_found_by_all_of_its_name(void **state) {
  subject *s = *state;
  open_memory(s, &(aon_memory_config){.store_class = AON_CLASS_PREPARED});
  aon_branch own = branch(1), batch = branch(1), bulk = branch(1), found;
  batch.batch = 4;
  bulk.bulk_id = "87654321-1234-4234-8234-123456789abc";
  aon_transaction *transaction = begin(s, s->store, 1), *open;
  OK(&s->w, write_one(s, s->store, transaction, "a", "{\"n\":1}"));
  OK(&s->w, aon_store_prepare(s->store, transaction, &s->w.error));
  FAILS(&s->w, aon_store_commit_prepared(s->other, &batch, &s->w.error), AON_PERMANENT, "prepared_lost");
  FAILS(&s->w, aon_store_commit_prepared(s->other, &bulk, &s->w.error), AON_PERMANENT, "prepared_lost");
  assert_false(aon_memory_prepared_at(s->memory, 1, &found));
  OK(&s->w, aon_store_begin(s->store, &bulk, AON_MARKER_COMMIT, &open, &s->w.error));
  assert_false(aon_memory_prepared_at(s->memory, 1, &found)); /* the open one is none */
  assert_true(aon_memory_prepared_at(s->memory, 0, &found));
  assert_string_equal(found.bulk_id, own.bulk_id);
  aon_store_abort(s->store, open);
  OK(&s->w, aon_store_commit_prepared(s->other, &own, &s->w.error));
  assert_string_equal(kept(s, "a"), "{\"n\":1}");
}

/* ---- limits ---- */

static void a_batch_has_its_limits(void **state) {
  subject *s = *state;
  open_memory(s, &(aon_memory_config){.store_class = AON_CLASS_BATCH, .batch_operations = 2, .batch_bytes = 60});
  aon_transaction *transaction = begin(s, s->store, 1);
  OK(&s->w, write_one(s, s->store, transaction, "a", "{\"n\":1}"));
  OK(&s->w, write_one(s, s->store, transaction, "b", "{\"n\":1}"));
  FAILS(&s->w, write_one(s, s->store, transaction, "c", "{\"n\":1}"), AON_PERMANENT, "too_many");
  aon_store_abort(s->store, transaction);
  transaction = begin(s, s->store, 2);
  FAILS(&s->w, write_one(s, s->store, transaction, "a", "{\"long\":\"a text that alone is longer than a batch may be in all\"}"),
        AON_PERMANENT, "too_many");
  aon_store_abort(s->store, transaction);
  assert_string_equal(kept(s, "a"), "absent");
}

/* A token speaks of what is committed; what the transaction wrote itself is compared as it is. */
static void a_token_is_not_of_what_is_pending(void **state) {
  subject *s = *state;
  open_memory(s, &(aon_memory_config){.store_class = AON_CLASS_TRANSACTION, .tokens = true});
  size_t failed;
  aon_transaction *transaction = begin(s, s->store, 1);
  OK(&s->w, write_one(s, s->store, transaction, "a", "{\"n\":1}"));
  OK(&s->w, aon_store_commit(s->store, transaction, &s->w.error));
  aon_image before = look(&s->w, s->store, &items, "a"), next = image(&s->w, "{\"n\":2}"), pending;
  transaction = begin(s, s->store, 2);
  aon_write first = write_of(&items, "a", before, next, 0);
  OK(&s->w, aon_store_apply(s->store, transaction, &first, 1, NULL, &failed, &s->w.error));
  pending = next;
  pending.token = before.token;
  pending.token_length = before.token_length;
  aon_write second = write_of(&items, "a", pending, image(&s->w, "{\"n\":3}"), 1);
  OK(&s->w, aon_store_apply(s->store, transaction, &second, 1, NULL, &failed, &s->w.error));
  OK(&s->w, aon_store_commit(s->store, transaction, &s->w.error));
  assert_string_equal(kept(s, "a"), "{\"n\":3}");
}

static aon_result normalised(subject *s, const bson_t *document, aon_image *made) {
  return aon_store_normalise(s->store, &items, text("a"), document, &s->w.arena, made, &s->w.error);
}

static void a_document_without_a_property_is_not_kept(void **state) {
  subject *s = *state;
  open_memory(s, &(aon_memory_config){.store_class = AON_CLASS_CONDITIONAL, .drop_empty = true});
  bson_t document = BSON_INITIALIZER;
  aon_image made;
  FAILS(&s->w, normalised(s, &document, &made), AON_REJECTED, "bad_type");
  BSON_APPEND_NULL(&document, "none");
  FAILS(&s->w, normalised(s, &document, &made), AON_REJECTED, "bad_type");
  FAILS(&s->w, aon_store_normalise(s->store, &items, text(""), &document, &s->w.arena, &made, &s->w.error), AON_REJECTED, "bad_format");
  bson_destroy(&document);
}

static void values_that_it_has_no_type_for(void **state) {
  subject *s = *state;
  open_memory(s, &(aon_memory_config){.store_class = AON_CLASS_CONDITIONAL, .types = ~0u, .max_exact_integer = 1000});
  bson_t document = BSON_INITIALIZER, list;
  aon_image made;
  BSON_APPEND_NULL(&document, "none");
  BSON_APPEND_BOOL(&document, "yes", true);
  BSON_APPEND_INT32(&document, "n", -1000);
  BSON_APPEND_INT64(&document, "m", 1000);
  BSON_APPEND_DOUBLE(&document, "d", 1e9);
  BSON_APPEND_ARRAY_BEGIN(&document, "list", &list);
  bson_append_array_end(&document, &list);
  OK(&s->w, normalised(s, &document, &made));
  assert_string_equal(json_of(&s->w, &made), "{\"none\":null,\"yes\":true,\"n\":-1000,\"m\":1000,\"d\":1000000000.0,\"list\":[]}");
  bson_reinit(&document);
  BSON_APPEND_INT32(&document, "n", -1001);
  FAILS(&s->w, normalised(s, &document, &made), AON_REJECTED, "out_of_range");
  bson_reinit(&document);
  BSON_APPEND_INT64(&document, "n", 1001);
  FAILS(&s->w, normalised(s, &document, &made), AON_REJECTED, "out_of_range");
  bson_reinit(&document);
  BSON_APPEND_REGEX(&document, "r", "a.*", "");
  FAILS(&s->w, normalised(s, &document, &made), AON_REJECTED, "bad_type");
  bson_destroy(&document);
}

static void the_smallest_integer_is_exact(void **state) {
  subject *s = *state;
  open_memory(s, &(aon_memory_config){.store_class = AON_CLASS_CONDITIONAL});
  bson_t document = BSON_INITIALIZER;
  aon_image made;
  BSON_APPEND_INT64(&document, "n", INT64_MIN);
  OK(&s->w, normalised(s, &document, &made));
  assert_string_equal(json_of(&s->w, &made), "{\"n\":-9223372036854775808}");
  bson_destroy(&document);
}

/* ---- cancelled ---- */

static void a_cancelled_call_does_nothing_more(void **state) {
  subject *s = *state;
  open_memory(s, &(aon_memory_config){.store_class = AON_CLASS_CONDITIONAL});
  aon_write write = write_of(&items, "a", absent, image(&s->w, "{}"), 0);
  aon_write_state became = AON_WRITE_APPLIED;
  aon_image found;
  aon_text id = text("a");
  size_t failed = 9;
  cancelled_soon = s->store;
  FAILS(&s->w, aon_store_apply(s->store, NULL, &write, 1, &became, &failed, &s->w.error), AON_CANCELLED, "cancelled");
  assert_int_equal(became, AON_WRITE_NOT_SENT);
  assert_int_equal(failed, 0);
  cancelled_soon = s->store;
  FAILS(&s->w, aon_store_read(s->store, &items, &id, 1, &s->w.arena, &found, &s->w.error), AON_CANCELLED, "cancelled");
  OK(&s->w, aon_store_read(s->store, &items, &id, 1, &s->w.arena, &found, &s->w.error)); /* the next call is another one */
  assert_null(found.bson);
}

static void a_cancelled_transaction_is_rolled_back(void **state) {
  subject *s = *state;
  open_memory(s, &(aon_memory_config){.store_class = AON_CLASS_TRANSACTION});
  aon_transaction *transaction = begin(s, s->store, 1);
  OK(&s->w, write_one(s, s->store, transaction, "a", "{}"));
  cancelled_soon = s->store;
  FAILS(&s->w, write_one(s, s->store, transaction, "b", "{}"), AON_CANCELLED, "cancelled");
  FAILS(&s->w, write_one(s, s->store, transaction, "c", "{}"), AON_USAGE, "transaction_failed");
  FAILS(&s->w, aon_store_flush(s->store, transaction, &s->w.error), AON_USAGE, "transaction_failed");
  FAILS(&s->w, aon_store_commit(s->store, transaction, &s->w.error), AON_USAGE, "transaction_failed");
  assert_string_equal(kept(s, "a"), "absent");
  assert_int_equal(resolved(s, s->other, 1), AON_BRANCH_ABORTED);
}

/* ---- a caller that wants no sentence ---- */

static void results_without_a_sentence(void **state) {
  subject *s = *state;
  open_memory(s, &(aon_memory_config){.store_class = AON_CLASS_CONDITIONAL});
  aon_write write = write_of(&items, "a", absent, image(&s->w, "{}"), 3);
  aon_write_state became;
  size_t failed;
  OK(&s->w, aon_store_apply(s->store, NULL, &write, 1, &became, &failed, NULL));
  assert_int_equal(aon_store_apply(s->store, NULL, &write, 1, &became, &failed, NULL), AON_PERMANENT);
  aon_memory_trouble_at(s->memory, AON_MEMORY_REFUSE, 1, 1);
  assert_int_equal(aon_store_apply(s->store, NULL, &write, 1, &became, &failed, NULL), AON_TRANSIENT);
  assert_int_equal(became, AON_WRITE_REFUSED);
  aon_memory_trouble_at(s->memory, AON_MEMORY_REFUSE, 1, 1);
  FAILS(&s->w, aon_store_apply(s->store, NULL, &write, 1, &became, &failed, &s->w.error), AON_TRANSIENT, "unavailable");
}

static void troubles_that_are_none(void **state) {
  subject *s = *state;
  open_memory(s, &(aon_memory_config){.store_class = AON_CLASS_CONDITIONAL});
  aon_write_state became;
  size_t failed;
  bool done = true;
  FAILS(&s->w, aon_memory_deliver(s->memory, &done, &s->w.error), AON_USAGE, "nothing_under_way");
  assert_false(done);
  aon_memory_trouble_at(s->memory, AON_MEMORY_REFUSE, 1, 0);
  aon_write write = write_of(&items, "a", absent, image(&s->w, "{}"), 0);
  OK(&s->w, aon_store_apply(s->store, NULL, &write, 1, &became, &failed, &s->w.error));
  assert_string_equal(kept(s, "a"), "{}");
}

/* ---- memory ---- */

static aon_result write_seventy(subject *s, const bson_t *document, aon_error *error) {
  aon_result result = AON_OK;
  for (int i = 0; !result && i < 70; i++) { /* more than the first room */
    char id[8];
    snprintf(id, sizeof id, "%d", i);
    result = aon_memory_foreign_write(s->memory, "items", id, document, error);
  }
  return result;
}

/* Documents, a transaction, and its commit, which stays under way for a while. */
static aon_result lives(subject *s, aon_store_class class, const aon_write *write, const bson_t *document, aon_error *error) {
  aon_store_config config = {.name = "main"};
  aon_branch own = branch(1);
  aon_transaction *transaction;
  aon_write_state became;
  size_t failed;
  bool done = false;
  aon_result result = aon_memory_new(&(aon_memory_config){.store_class = class}, &s->memory, error);
  config.options = s->memory;
  if (!result)
    result = aon_store_open(s->w.env, &aon_memory_adapter, &config, &s->store, error);
  if (!result)
    result = write_seventy(s, document, error);
  if (!result)
    aon_memory_trouble_at(s->memory, AON_MEMORY_DELAY, 1, 1);
  if (!result && class > AON_CLASS_BATCH) {
    result = aon_store_apply(s->store, NULL, write, 1, &became, &failed, error);
  } else if (!result) {
    result = aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &transaction, error);
    if (!result && (result = aon_store_apply(s->store, transaction, write, 1, NULL, &failed, error)))
      aon_store_abort(s->store, transaction);
    if (!result)
      result = aon_store_commit(s->store, transaction, error);
  }
  if (result != AON_UNKNOWN)
    return result;
  result = aon_memory_deliver(s->memory, &done, error);
  return result || done ? result : aon_fail(error, AON_NO_MEMORY, "no_memory", "What was under way found none.");
}

static void memory_runs_out(void **state) {
  subject *s = *state;
  aon_image made = image(&s->w, "{\"n\":1}");
  aon_write write = write_of(&items, "new", absent, made, 0);
  bson_t document;
  assert_true(aon_image_view(&made, &document));
  write.stamp = "12345678-1234-4234-8234-123456789abc";
  for (int class = AON_CLASS_PREPARED; class <= AON_CLASS_PLAIN; class ++)
    for (int nth = 1;; nth++) {
      aon_error error = AON_ERROR_INIT;
      s->memory = NULL;
      s->store = NULL;
      calls_fail(CALL_MEMORY, nth);
      aon_result result = lives(s, (aon_store_class) class, &write, &document, &error);
      bool failed = calls_end();
      size_t kept_documents = s->memory ? aon_memory_documents(s->memory) : 0;
      aon_store_close(s->store);
      aon_memory_free(s->memory);
      s->memory = NULL;
      s->store = NULL;
      if (!failed) {
        assert_int_equal(result, AON_OK);
        assert_int_equal(kept_documents, 71);
        break;
      }
      assert_int_equal(result, AON_NO_MEMORY);
      assert_string_equal(error.code, "no_memory");
      assert_true(kept_documents <= 70); /* what found no memory is not there */
    }
}

/* ---- the door ---- */

static void an_adapter_may_lack_functions(void **state) {
  subject *s = *state;
  aon_branch own = branch(1);
  aon_branch_state found;
  aon_transaction *transaction = NULL;
  aon_index index = {.state = AON_INDEX_MISSING};
  aon_pool_counts counts;
  aon_store_adapter lacking = aon_memory_adapter;
  lacking.begin = NULL;
  lacking.prepare = NULL;
  lacking.commit_prepared = NULL;
  lacking.abort_prepared = NULL;
  lacking.resolve = NULL;
  for (int class = AON_CLASS_PREPARED; class <= AON_CLASS_PLAIN; class ++) {
    OK(&s->w, aon_memory_new(&(aon_memory_config){.store_class = (aon_store_class) class}, &s->memory, &s->w.error));
    for (int whole = 0; whole < 2; whole++) { /* it lacks them, or its class does */
      s->store = open_as(s, whole ? &aon_memory_adapter : &lacking, "main");
      if (!whole || class > AON_CLASS_BATCH) {
        FAILS(&s->w, aon_store_begin(s->store, &own, AON_MARKER_COMMIT, &transaction, &s->w.error), AON_USAGE, "not_supported");
        FAILS(&s->w, aon_store_resolve(s->store, &own, &found, &s->w.error), AON_USAGE, "not_supported");
      }
      if (!whole || class > AON_CLASS_PREPARED) {
        FAILS(&s->w, aon_store_prepare(s->store, transaction, &s->w.error), AON_USAGE, "not_supported");
        FAILS(&s->w, aon_store_commit_prepared(s->store, &own, &s->w.error), AON_USAGE, "not_supported");
        FAILS(&s->w, aon_store_abort_prepared(s->store, &own, &s->w.error), AON_USAGE, "not_supported");
      }
      OK(&s->w, aon_store_look_up(s->store, &items, NULL, &index, &s->w.error)); /* nothing to search, nothing to miss */
      assert_int_equal(index.state, AON_INDEX_NO_NEED);
      assert_int_equal(index.documents, -1);
      assert_false(aon_pool_status(s->store, &counts));
      aon_store_close(s->store);
      s->store = NULL;
    }
    aon_memory_free(s->memory);
    s->memory = NULL;
  }
}

static aon_store_caps said; /* by an adapter that was built wrong */

static aon_result open_wrong(aon_env *env, const aon_store_config *config, void **ret_state, aon_store_caps *ret_caps, aon_error *error) {
  aon_result result = aon_memory_adapter.open(env, config, ret_state, ret_caps, error);
  *ret_caps = said;
  return result;
}

static void an_adapter_says_what_it_can_do(void **state) {
  subject *s = *state;
  static const aon_store_caps wrong[] = {{.store_class = 0, .batch_operations = 1, .batch_bytes = 1},
                                         {.store_class = AON_CLASS_PLAIN + 1, .batch_operations = 1, .batch_bytes = 1},
                                         {.store_class = AON_CLASS_PLAIN, .batch_bytes = 1},
                                         {.store_class = AON_CLASS_PLAIN, .batch_operations = 1}};
  aon_store_adapter adapter = aon_memory_adapter;
  adapter.open = open_wrong;
  OK(&s->w, aon_memory_new(&(aon_memory_config){.store_class = AON_CLASS_PLAIN}, &s->memory, &s->w.error));
  aon_store_config config = {.name = "main", .options = s->memory};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    said = wrong[i];
    FAILS(&s->w, aon_store_open(s->w.env, &adapter, &config, &s->store, &s->w.error), AON_USAGE, "bad_adapter");
    assert_null(s->store);
  }
  config.name = NULL;
  FAILS(&s->w, aon_store_open(s->w.env, &aon_memory_adapter, &config, &s->store, &s->w.error), AON_USAGE, "bad_name");
}

static void schemes_have_second_names(void **state) {
  (void)state;
  assert_ptr_equal(aon_store_adapter_find("postgres"), &aon_postgresql_adapter);
  assert_ptr_equal(aon_store_adapter_find("postgresql"), &aon_postgresql_adapter);
  assert_ptr_equal(aon_store_adapter_find("mongodb+srv"), &aon_mongodb_adapter);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {TEST(a_transaction_has_its_time),
                                     TEST(one_writes_at_a_time),
                                     TEST(a_branch_is_open_once),
                                     TEST(a_transaction_is_its_handles_own),
                                     TEST(what_is_prepared_is_found_by_all_of_its_name),
                                     TEST(a_batch_has_its_limits),
                                     TEST(a_token_is_not_of_what_is_pending),
                                     TEST(a_document_without_a_property_is_not_kept),
                                     TEST(values_that_it_has_no_type_for),
                                     TEST(the_smallest_integer_is_exact),
                                     TEST(a_cancelled_call_does_nothing_more),
                                     TEST(a_cancelled_transaction_is_rolled_back),
                                     TEST(results_without_a_sentence),
                                     TEST(troubles_that_are_none),
                                     TEST(memory_runs_out),
                                     TEST(an_adapter_may_lack_functions),
                                     TEST(an_adapter_says_what_it_can_do),
                                     TEST(schemes_have_second_names)};
  return cmocka_run_group_tests_name("memory store: limits", tests, NULL, NULL);
}
