/* An adapter written by an outsider, with nothing but the installed headers: a shelf of documents in memory, class 5.
 * It shows that aon/store.h and aon/memory.h are enough to write one. Two threads use sessions of their own at the same time. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aon/memory.h"
#include "world.h"

#define SLOTS 64

typedef struct shelf {
  struct {
    char name[96];
    bson_t *document;
  } slots[SLOTS];
} shelf;

static aon_result open_shelf(aon_env *env, const aon_store_config *config, void **ret_state, aon_store_caps *ret_caps, aon_error *error) {
  if (!config->options)
    return aon_fail(error, AON_USAGE, "no_options", "The store %s needs a shelf.", config->name);
  aon_log(env, AON_LOG_DEBUG, "shelf %s is open", config->name);
  *ret_caps = (aon_store_caps){
      .store_class = AON_CLASS_PLAIN, .batch_operations = 10, .batch_bytes = 1 << 20, .max_exact_integer = INT64_MAX, .can_undo = true};
  *ret_state = (void *)config->options;
  return AON_OK;
}

static void close_shelf(void *state) { (void)state; }

static aon_result describe(void *state, const aon_collection *collection, const aon_shape **ret_shape, aon_error *error) {
  static const aon_shape shape = {.exists = true, .document_table = true};
  (void)state;
  (void)collection;
  (void)error;
  *ret_shape = &shape;
  return AON_OK;
}

static aon_result to_image(const bson_t *document, struct aon_arena *arena, aon_image *ret_image, aon_error *error) {
  uint8_t *bytes = aon_arena_copy(arena, bson_get_data(document), document->len);
  if (!bytes)
    return aon_fail_memory(error);
  *ret_image = (aon_image){.bson = bytes, .bson_length = document->len};
  return AON_OK;
}

static aon_result normalise(void *state, const aon_collection *collection, aon_text id, const bson_t *document, struct aon_arena *arena,
                            aon_image *ret_image, aon_error *error) {
  (void)state;
  (void)collection;
  (void)id;
  return to_image(document, arena, ret_image, error);
}

/* The slot of a document; where it has none, a free one, or NULL. */
static bson_t **slot(shelf *s, const char *name) {
  int unused = -1;
  for (int i = 0; i < SLOTS; i++) {
    if (s->slots[i].document && !strcmp(s->slots[i].name, name))
      return &s->slots[i].document;
    if (!s->slots[i].document)
      unused = i;
  }
  if (unused < 0)
    return NULL;
  snprintf(s->slots[unused].name, sizeof s->slots[unused].name, "%s", name);
  return &s->slots[unused].document;
}

static aon_result find(shelf *s, const aon_collection *collection, aon_text id, struct aon_arena *arena, bson_t ***ret_slot,
                       aon_error *error) {
  char *name = aon_arena_format(arena, "%s/%.*s", collection->name, (int)id.length, id.data);
  if (!name)
    return aon_fail_memory(error);
  *ret_slot = slot(s, name);
  return *ret_slot ? AON_OK : aon_fail(error, AON_PERMANENT, "full", "The shelf is full.");
}

static aon_result read_documents(void *state, const aon_collection *collection, const aon_text *ids, size_t count, struct aon_arena *arena,
                                 aon_image *images, aon_error *error) {
  for (size_t i = 0; i < count; i++) {
    bson_t **at;
    aon_result result = find(state, collection, ids[i], arena, &at, error);
    images[i] = (aon_image){0};
    if (!result && *at)
      result = to_image(*at, arena, &images[i], error);
    if (result)
      return result;
  }
  return AON_OK;
}

static aon_result scan(void *state, const aon_collection *collection, const aon_match *matches, size_t count, const char *const *properties,
                       aon_scan_each each, void *context, aon_error *error) {
  (void)state, (void)collection, (void)matches, (void)count, (void)properties, (void)each, (void)context;
  return aon_fail(error, AON_USAGE, "not_supported", "A shelf can't be searched.");
}

static bool as_expected(const bson_t *now, const aon_image *expected) {
  bson_t view;
  return now ? expected->bson && aon_image_view(expected, &view) && bson_equal(now, &view) : !expected->bson;
}

static aon_result write_one(bson_t **at, const aon_write *write, aon_error *error) {
  bson_t view;
  if (!as_expected(*at, &write->expected))
    return aon_fail(error, AON_PERMANENT, "changed_meanwhile", "It is not as it was.");
  bson_t *made = write->wanted.bson && aon_image_view(&write->wanted, &view) ? bson_copy(&view) : NULL;
  if (*at)
    bson_destroy(*at);
  *at = made;
  return AON_OK;
}

/* No arena comes with writes: the names are short. */
static aon_result apply(void *state, aon_transaction *transaction, const aon_write *writes, size_t count, aon_write_state *states,
                        size_t *ret_failed, aon_error *error) {
  (void)transaction;
  for (size_t i = 0; i < count; i++) {
    char name[96];
    snprintf(name, sizeof name, "%s/%.*s", writes[i].collection->name, (int)writes[i].id.length, writes[i].id.data);
    bson_t **at = slot(state, name);
    aon_result result = at ? write_one(at, &writes[i], error) : aon_fail(error, AON_PERMANENT, "full", "The shelf is full.");
    states[i] = result ? AON_WRITE_REFUSED : AON_WRITE_APPLIED;
    if (result) {
      *ret_failed = i;
      return result;
    }
  }
  return AON_OK;
}

static aon_result forget(void *state, int64_t before_ms, aon_error *error) {
  (void)state, (void)before_ms, (void)error;
  return AON_OK;
}

static aon_result examine(void *state, struct aon_buffer *report, bool *ret_healthy, aon_error *error) {
  const shelf *s = state;
  int used = 0;
  for (int i = 0; i < SLOTS; i++)
    used += s->slots[i].document != NULL;
  *ret_healthy = used < SLOTS;
  aon_result result = aon_buffer_text(report, "a shelf\n", error);
  return result ? result : aon_buffer_format(report, error, "%d of %d slots used\n", used, SLOTS);
}

static void cancel(void *state) { (void)state; }

static const aon_store_adapter shelf_adapter = {.kind = "shelf",
                                                .interface_version = AON_STORE_INTERFACE,
                                                .open = open_shelf,
                                                .close = close_shelf,
                                                .describe = describe,
                                                .normalise = normalise,
                                                .read = read_documents,
                                                .scan = scan,
                                                .apply = apply,
                                                .forget = forget,
                                                .examine = examine,
                                                .cancel = cancel};

typedef struct shop {
  world w;
  shelf shelf;
} shop;

static void open_shop(shop *s) {
  aon_error error = AON_ERROR_INIT;
  aon_store_config config = {.name = "shelf", .options = &s->shelf};
  world_make(&s->w);
  world_open(&s->w);
  assert_int_equal(aon_session_store(s->w.session, &shelf_adapter, &config, &error), AON_OK);
}

static void close_shop(shop *s) {
  world_drop(&s->w);
  for (int i = 0; i < SLOTS; i++)
    if (s->shelf.slots[i].document)
      bson_destroy(s->shelf.slots[i].document);
}

static const char first[] = LINE("main", "users", "u1", "create", "{\"a\":1}") LINE("shelf", "boxes", "b1", "create", "{\"in\":[1,2]}")
    LINE("shelf", "boxes", "b2", "create", "{}");
static const char second[] = LINE("shelf", "boxes", "b1", "update", "{\"in\":[3]}") LINE("main", "users", "u1", "update", "{\"a\":2}")
    DELETE_LINE("shelf", "boxes", "b2") LINE("shelf", "boxes", "b3", "create", "{}");

static bool holds(shop *s, const char *name, const char *json) {
  bson_t **at = slot(&s->shelf, name);
  if (!at || !*at)
    return !json;
  char *text = bson_as_relaxed_extended_json(*at, NULL);
  bool same = json && !strcmp(text, json);
  bson_free(text);
  return same;
}

static void an_adapter_of_an_outsider(void **state) {
  (void)state;
  shop *s = calloc(1, sizeof *s);
  open_shop(s);
  json_decref(world_apply(&s->w, first, NULL, 0));
  for (int64_t k = 0; k < 4; k++) {
    aon_session_run run = AON_SESSION_RUN_INIT;
    run.test_mode = true;
    run.fail_at = k;
    json_decref(world_apply(&s->w, second, &run, 3));
    assert_true(holds(s, "boxes/b1", "{ \"in\" : [ 1, 2 ] }") && holds(s, "boxes/b2", "{ }") && holds(s, "boxes/b3", NULL));
  }
  json_decref(world_apply(&s->w, second, NULL, 0));
  assert_true(holds(s, "boxes/b1", "{ \"in\" : [ 3 ] }") && holds(s, "boxes/b2", NULL) && holds(s, "boxes/b3", "{ }"));
  aon_error error = AON_ERROR_INIT;
  char *report = NULL;
  bool healthy = false;
  assert_int_equal(aon_session_examine(s->w.session, "shelf", &report, &healthy, &error), AON_OK);
  assert_string_equal(report, "a shelf\n2 of 64 slots used\n");
  assert_true(healthy);
  aon_result_text_free(report);
  close_shop(s);
  free(s);
}

/* ---- threads ---- */

#define ROUNDS 12

/* What cmocka asserts ends the thread's process in the wrong place: a thread counts what went right instead. */
static void *work(void *context) {
  shop *s = context;
  intptr_t right = 0;
  for (int i = 0; i < ROUNDS; i++) {
    char lines[400], *text = NULL;
    aon_error error = AON_ERROR_INIT;
    int status = -1;
    snprintf(lines, sizeof lines,
             LINE("main", "users", "u%d", "create", "{\"n\":%d}") LINE("shelf", "boxes", "b%d", "create", "{\"n\":%d}"), i, i, i, i);
    aon_session_run run = AON_SESSION_RUN_INIT;
    run.test_mode = i % 3 == 2;
    run.fail_at = 1;
    aon_result result = aon_session_apply(s->w.session, lines, strlen(lines), &run, &text, &status, &error);
    right += !result && status == (run.test_mode ? 3 : 0);
    aon_result_text_free(text);
  }
  return (void *)right;
}

static void two_sessions_in_two_threads(void **state) {
  (void)state;
  shop *shops = calloc(2, sizeof *shops);
  pthread_t threads[2];
  void *right;
  for (int i = 0; i < 2; i++)
    open_shop(&shops[i]);
  for (int i = 0; i < 2; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, work, &shops[i]), 0);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(pthread_join(threads[i], &right), 0);
    assert_int_equal((intptr_t)right, ROUNDS);
  }
  char *rows[] = {world_rows(&shops[0].w), world_rows(&shops[1].w)};
  assert_string_equal(rows[0], rows[1]);
  for (int i = 0; i < 2; i++) {
    free(rows[i]);
    close_shop(&shops[i]);
  }
  free(shops);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_adapter_of_an_outsider),
      cmocka_unit_test(two_sessions_in_two_threads),
  };
  return cmocka_run_group_tests_name("library adapter", tests, NULL, NULL);
}
