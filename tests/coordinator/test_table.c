/* The two tables of docs/protocol.md: which state may follow which, and what becomes of a document that is taken back. */
#include "harness.h"

#include <stdlib.h>

/* As docs/protocol.md draws them, spelled out. */
static const char *const arrows[] = {
    "scheduled>queued",
    "scheduled>cancelled",
    "queued>parsing",
    "queued>cancelled",
    "queued>rolled_back",
    "parsing>validating",
    "parsing>rejected",
    "parsing>cancelled",
    "parsing>rolled_back",
    "parsing>queued",
    "validating>planning",
    "validating>rejected",
    "validating>cancelled",
    "validating>rolled_back",
    "validating>queued",
    "planning>validating",
    "planning>rejected",
    "planning>planned",
    "planning>logged",
    "planning>cancelled",
    "planning>rolled_back",
    "planning>queued",
    "logged>executing",
    "logged>cancelled",
    "logged>rolled_back",
    "logged>queued",
    "executing>preparing",
    "executing>rolling_back",
    "executing>held",
    "preparing>rolling_back",
    "preparing>committing",
    "held>executing",
    "held>rolling_back",
    "rolling_back>rolled_back",
    "rolling_back>rollback_failed",
    "rollback_failed>rolling_back",
    "rollback_failed>rolled_back",
    "committing>committed",
    "committing>commit_failed",
    "commit_failed>committing",
    "commit_failed>committed",
    "committed>undoing",
    "undoing>undone",
    "undoing>undo_failed",
    "undoing>committed",
    "undo_failed>undoing",
    "undo_failed>undone",
    "undo_failed>committed",
};

static void the_arrows_are_those_of_the_page(void **state) {
  (void)state;
  size_t expected = sizeof arrows / sizeof *arrows, found = 0;
  for (int from = 0; from < AON_STATE_COUNT; from++)
    for (int to = 0; to < AON_STATE_COUNT; to++) {
      char name[80];
      snprintf(name, sizeof name, "%s>%s", aon_state_name((aon_state)from), aon_state_name((aon_state)to));
      bool wanted = false;
      for (size_t i = 0; i < expected; i++)
        wanted = wanted || !strcmp(name, arrows[i]);
      if (wanted != (aon_transition_find((aon_state)from, (aon_state)to) != NULL))
        fail_msg("%s", name);
      found += wanted;
    }
  assert_int_equal(found, expected);
  /* After the decision there is no way back. */
  assert_null(aon_transition_find(AON_COMMITTING, AON_ROLLING_BACK));
  assert_null(aon_transition_find(AON_COMMIT_FAILED, AON_ROLLING_BACK));
}

typedef struct row {
  const char *before, *after, *current; /* NULL: not there */
  aon_restore_verdict verdict;
  const char *target; /* of a write; NULL: delete */
  const char *paths;  /* of a conflict */
} row;

#define DONE AON_RESTORE_DONE, NULL, NULL
#define WRITE AON_RESTORE_WRITE
#define CONFLICT AON_RESTORE_CONFLICT, NULL

static const row rows[] = {
    /* ours, current -> then */
    {NULL, "{\"n\":1}", NULL, DONE},
    {NULL, "{\"n\":1}", "{\"n\":1}", WRITE, NULL},
    {NULL, "{\"n\":1}", "{\"n\":1.0,\"touched\":7}", WRITE, NULL}, /* only a stamp differs */
    {NULL, "{\"n\":1}", "{\"n\":2}", CONFLICT},
    {NULL, "{\"n\":1}", "{\"n\":1,\"x\":1}", CONFLICT},
    {NULL, NULL, NULL, DONE}, /* created and deleted again by one bulk operation */
    {NULL, NULL, "{\"n\":1}", CONFLICT},
    {"{\"n\":1}", "{\"n\":2}", NULL, DONE}, /* their delete stands */
    {"{\"n\":1}", NULL, NULL, WRITE, "{\"n\":1}"},
    {"{\"n\":1}", NULL, "{\"n\":1}", DONE},
    {"{\"n\":1}", NULL, "{\"n\":5}", CONFLICT},
    {"{\"n\":1}", "{\"n\":2}", "{\"n\":2}", WRITE, "{\"n\":1}"},
    {"{\"n\":1}", "{\"n\":2}", "{\"n\":1}", DONE},
    /* per property: c = a -> b; c = b or a = b -> c; else conflict */
    {"{\"n\":1,\"m\":1}", "{\"n\":2,\"m\":1}", "{\"n\":2,\"m\":9}", WRITE, "{\"n\":1,\"m\":9}"},
    {"{\"n\":1,\"m\":1}", "{\"n\":2,\"m\":2}", "{\"n\":1,\"m\":2}", WRITE, "{\"n\":1,\"m\":1}"},
    {"{\"n\":1}", "{\"n\":2}", "{\"n\":3}", CONFLICT, "[\"/n\"]"},
    {"{\"n\":1}", "{\"n\":2}", "{}", CONFLICT, "[\"/n\"]"},
    {"{\"n\":null}", "{\"n\":2}", "{\"n\":2,\"x\":0}", WRITE, "{\"n\":null,\"x\":0}"}, /* missing and null differ */
    {"{}", "{\"n\":2}", "{\"n\":2,\"x\":0}", WRITE, "{\"x\":0}"},
    {"{\"n\":1}", "{\"n\":2}", "{\"n\":2.0,\"x\":0}", WRITE, "{\"n\":1,\"x\":0}"},
    /* objects by leaf, arrays as one value, sets element by element */
    {"{\"o\":{\"a\":1,\"b\":1}}", "{\"o\":{\"a\":2,\"b\":1}}", "{\"o\":{\"a\":2,\"b\":7}}", WRITE, "{\"o\":{\"a\":1,\"b\":7}}"},
    {"{\"l\":[1]}", "{\"l\":[1,2]}", "{\"l\":[1,2,3]}", CONFLICT, "[\"/l\"]"},
    {"{\"tags\":[\"a\",\"b\"]}", "{\"tags\":[\"b\",\"c\"]}", "{\"tags\":[\"b\",\"c\",\"d\"]}", WRITE, "{\"tags\":[\"b\",\"d\",\"a\"]}"},
    /* stamps and volatile properties don't count */
    {"{\"n\":1,\"touched\":1}", "{\"n\":2,\"touched\":2}", "{\"n\":2,\"touched\":3}", WRITE, "{\"n\":1,\"touched\":3}"},
    {"{\"n\":1,\"seen\":1}", "{\"n\":2,\"seen\":1}", "{\"n\":2,\"seen\":8}", WRITE, "{\"n\":1,\"seen\":1}"},
};

static aon_image image_of(const char *json, aon_arena *arena) {
  aon_image image = {0};
  bson_t document;
  if (!json)
    return image;
  OK(aon_document_from_json(json, strlen(json), &document, error));
  OK(aon_image_from(&document, arena, &image, error));
  bson_destroy(&document);
  return image;
}

static bool is_json(const aon_image *image, const char *json, const char *const *volatiles) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_image wanted = image_of(json, &arena);
  bson_t a, b;
  if (!json || !image->bson)
    return !json && !image->bson;
  aon_comparison how = {.volatiles = volatiles, .sets = (const char *const[]){"/tags", NULL}};
  return aon_image_view(image, &a) && aon_image_view(&wanted, &b) && aon_document_equal(&a, &b, &how);
}

static aon_restore judge(const row *r, bool merge_none, aon_arena *arena) {
  static const char *const stamps[] = {"touched", NULL}, *const sets[] = {"/tags", NULL}, *const volatiles[] = {"seen", NULL};
  static aon_collection collection;
  collection =
      (aon_collection){.store = "s", .name = "c", .stamps = stamps, .sets = sets, .volatiles = volatiles, .merge_none = merge_none};
  aon_operation operation = {
      .collection = &collection, .id = AON_TEXT("1"), .before = image_of(r->before, arena), .after = image_of(r->after, arena)};
  operation.kind = !r->before ? AON_CREATE : r->after ? AON_UPDATE : AON_DELETE;
  aon_image current = image_of(r->current, arena);
  aon_restore restore;
  OK(aon_restore_judge(&operation, &current, NULL, arena, &restore, error));
  return restore;
}

static void every_row_of_the_table(void **state) {
  (void)state;
  static const char *const volatiles[] = {"seen", NULL};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    AON_ARENA_CLEANUP aon_arena arena = {0};
    aon_restore restore = judge(&rows[i], false, &arena);
    if (restore.verdict != rows[i].verdict)
      fail_msg("row %zu (%s -> %s, now %s): verdict %d", i, rows[i].before, rows[i].after, rows[i].current, (int)restore.verdict);
    if (restore.verdict == AON_RESTORE_WRITE && !is_json(&restore.target, rows[i].target, volatiles))
      fail_msg("row %zu: another target", i);
    if (rows[i].paths)
      assert_string_equal(restore.paths, rows[i].paths);
  }
}

static void a_collection_that_is_never_merged(void **state) {
  (void)state;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  const row other_property = {"{\"n\":1}", "{\"n\":2}", "{\"n\":2,\"x\":1}", CONFLICT};
  assert_int_equal(judge(&other_property, true, &arena).verdict, AON_RESTORE_CONFLICT);
  const row only_a_stamp = {"{\"n\":1}", "{\"n\":2}", "{\"n\":2,\"touched\":1}", WRITE, "{\"n\":1}"};
  assert_int_equal(judge(&only_a_stamp, true, &arena).verdict, AON_RESTORE_WRITE);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(the_arrows_are_those_of_the_page), TEST(every_row_of_the_table),
                                     TEST(a_collection_that_is_never_merged)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
