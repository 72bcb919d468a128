/* The three-way merge of invariant 3: what was ours goes, what is theirs stays, and where both are one, a person is asked. */
#include "helpers.h"

static const char *const stamps[] = {"updatedAt", NULL}, *const volatiles[] = {"lastLogin", NULL}, *const sets[] = {"/ids", "/o/ids", NULL};
static const aon_comparison how = {.stamps = stamps, .volatiles = volatiles, .sets = sets};

static aon_result note_conflict(void *context, const char *path, aon_error *error) {
  aon_buffer *out = context;
  return aon_buffer_format(out, error, "%s%s", out->length ? " " : "", path);
}

static void merges(const char *before, const char *after, const char *current, const char *expected, const char *conflicts) {
  bson_t *b = document_of(before), *a = document_of(after), *c = document_of(current), result;
  aon_buffer heard = {0};
  aon_error error = AON_ERROR_INIT;
  size_t count = 99, spaces = 0;
  assert_int_equal(aon_buffer_text(&heard, "", &error), AON_OK);
  assert_int_equal(aon_document_merge(b, a, c, &how, &result, &count, note_conflict, &heard, &error), AON_OK);
  assert_document(&result, expected);
  assert_string_equal(heard.data, conflicts);
  for (const char *p = conflicts; *p; p++)
    spaces += *p == ' ';
  assert_int_equal(count, *conflicts ? spaces + 1 : 0);
  bson_destroy(&result);
  assert_int_equal(aon_document_merge(b, a, c, &how, &result, &count, NULL, NULL, &error), AON_OK);
  assert_document(&result, expected);
  bson_destroy(&result);
  aon_buffer_release(&heard);
  drop(b);
  drop(a);
  drop(c);
}

static void takes_ours_back(void **state) {
  (void)state;
  merges("{\"x\":1,\"y\":1}", "{\"x\":2,\"y\":1}", "{\"x\":2,\"y\":1}", "{\"x\":1,\"y\":1}", "");
  merges("{\"x\":1}", "{\"x\":1,\"y\":2}", "{\"x\":1,\"y\":2.0}", "{\"x\":1}", "");
  merges("{\"x\":1,\"y\":2}", "{\"x\":1}", "{\"x\":1}", "{\"x\":1,\"y\":2}", "");
  merges("{\"l\":[1,2]}", "{\"l\":[1,2,3]}", "{\"l\":[1,2,3]}", "{\"l\":[1,2]}", "");
  merges("{}", "{\"o\":{\"p\":{\"x\":1}}}", "{\"o\":{\"p\":{\"x\":1}}}", "{}", "");
  merges("{\"o\":{\"p\":{\"x\":1}}}", "{}", "{}", "{\"o\":{\"p\":{\"x\":1}}}", "");
  merges("{\"o\":{}}", "{\"o\":5}", "{\"o\":5}", "{\"o\":{}}", "");
}

static void keeps_theirs(void **state) {
  (void)state;
  merges("{\"x\":1,\"y\":1}", "{\"x\":2,\"y\":1}", "{\"x\":2,\"y\":7}", "{\"x\":1,\"y\":7}", "");
  merges("{\"x\":1}", "{\"x\":2}", "{\"x\":2,\"z\":{\"a\":1}}", "{\"x\":1,\"z\":{\"a\":1}}", "");
  merges("{\"x\":1,\"y\":1}", "{\"x\":2,\"y\":1}", "{\"x\":2}", "{\"x\":1}", "");
  merges("{\"x\":1}", "{\"x\":2}", "{\"x\":1.0,\"y\":3}", "{\"x\":1.0,\"y\":3}", "");
  merges("{\"x\":1,\"l\":[1]}", "{\"x\":2,\"l\":[1]}", "{\"x\":2,\"l\":[1,9]}", "{\"x\":1,\"l\":[1,9]}", "");
  merges("{\"x\":1,\"y\":1}", "{\"x\":2,\"y\":1}", "{\"x\":2,\"y\":{\"z\":1}}", "{\"x\":1,\"y\":{\"z\":1}}", "");
}

static void names_conflicts(void **state) {
  (void)state;
  merges("{\"x\":1}", "{\"x\":2}", "{\"x\":3}", "{\"x\":3}", "/x");
  merges("{\"x\":1}", "{\"x\":2}", "{}", "{}", "/x");
  merges("{}", "{\"x\":2}", "{\"x\":3}", "{\"x\":3}", "/x");
  merges("{\"x\":1}", "{}", "{\"x\":3}", "{\"x\":3}", "/x");
  merges("{\"l\":[1]}", "{\"l\":[1,2]}", "{\"l\":[2,1]}", "{\"l\":[2,1]}", "/l");
  merges("{\"o\":{\"a/b\":{\"c~d\":1,\"e\":1}}}", "{\"o\":{\"a/b\":{\"c~d\":2,\"e\":2}}}", "{\"o\":{\"a/b\":{\"c~d\":3,\"e\":2}}}",
         "{\"o\":{\"a/b\":{\"c~d\":3,\"e\":1}}}", "/o/a~1b/c~0d");
  merges("{\"x\":1,\"y\":1}", "{\"x\":2,\"y\":2}", "{\"y\":3,\"x\":3}", "{\"y\":3,\"x\":3}", "/y /x");
  merges("{\"o\":5}", "{\"o\":{\"x\":1}}", "{\"o\":{\"x\":1,\"y\":2}}", "{\"o\":{\"x\":1,\"y\":2}}", "/o");
}

static void tells_missing_from_null(void **state) {
  (void)state;
  merges("{\"x\":null}", "{\"x\":1}", "{\"x\":1}", "{\"x\":null}", "");
  merges("{}", "{\"x\":null}", "{\"x\":null}", "{}", "");
  merges("{\"x\":1}", "{\"x\":null}", "{}", "{}", "/x");
  merges("{\"x\":1}", "{}", "{\"x\":null}", "{\"x\":null}", "/x");
}

static void merges_objects_by_leaf(void **state) {
  (void)state;
  merges("{\"o\":{\"x\":1,\"y\":1}}", "{\"o\":{\"x\":2,\"y\":1}}", "{\"o\":{\"y\":5,\"x\":2}}", "{\"o\":{\"y\":5,\"x\":1}}", "");
  /* We made the object, they added to it. */
  merges("{}", "{\"o\":{\"x\":1}}", "{\"o\":{\"x\":1,\"y\":2}}", "{\"o\":{\"y\":2}}", "");
  merges("{}", "{\"o\":{\"p\":{\"x\":1}}}", "{\"o\":{\"p\":{\"x\":1},\"q\":1}}", "{\"o\":{\"q\":1}}", "");
  /* We made it, they emptied it: it is still our object. */
  merges("{}", "{\"o\":{\"x\":1}}", "{\"o\":{}}", "{}", "");
  /* We removed it, they made one again. */
  merges("{\"o\":{\"x\":1}}", "{}", "{\"o\":{\"y\":2}}", "{\"o\":{\"y\":2,\"x\":1}}", "");
  merges("{\"o\":{\"x\":1}}", "{}", "{\"o\":{\"x\":2}}", "{\"o\":{\"x\":2}}", "/o/x");
  /* We changed a leaf, they removed the whole. */
  merges("{\"o\":{\"x\":1,\"y\":1}}", "{\"o\":{\"x\":2,\"y\":1}}", "{}", "{}", "/o/x");
  /* We added a leaf, they removed the whole: nothing of ours is left. */
  merges("{\"o\":{\"y\":1}}", "{\"o\":{\"x\":2,\"y\":1}}", "{}", "{}", "");
  /* An object where they have none, and the other way round. */
  merges("{\"o\":{\"x\":1}}", "{\"o\":{\"x\":2}}", "{\"o\":3}", "{\"o\":3}", "/o");
  merges("{\"o\":{\"x\":1}}", "{\"o\":3}", "{\"o\":{\"x\":1,\"y\":2}}", "{\"o\":{\"x\":1,\"y\":2}}", "/o");
}

static void merges_sets_by_element(void **state) {
  (void)state;
  merges("{\"ids\":[1,2]}", "{\"ids\":[1,2,3]}", "{\"ids\":[4,3,2,1]}", "{\"ids\":[4,2,1]}", "");
  merges("{\"ids\":[1,2]}", "{\"ids\":[1]}", "{\"ids\":[1,9]}", "{\"ids\":[1,9,2]}", "");
  merges("{\"ids\":[1,2]}", "{\"ids\":[1]}", "{\"ids\":[9,2,1]}", "{\"ids\":[9,2,1]}", "");
  merges("{\"ids\":[1,2]}", "{\"ids\":[2,3]}", "{\"ids\":[3,2]}", "{\"ids\":[1,2]}", "");
  merges("{\"o\":{\"ids\":[\"a\"]}}", "{\"o\":{\"ids\":[\"a\",\"b\"]}}", "{\"o\":{\"ids\":[\"b\",\"c\"]}}", "{\"o\":{\"ids\":[\"c\"]}}",
         "");
  merges("{\"ids\":[{\"x\":1,\"y\":2}]}", "{\"ids\":[]}", "{\"ids\":[{\"y\":2,\"x\":1.0},5]}", "{\"ids\":[{\"y\":2,\"x\":1.0},5]}", "");
  /* A set that we made, that we removed, that they removed. */
  merges("{}", "{\"ids\":[1]}", "{\"ids\":[1,2]}", "{\"ids\":[2]}", "");
  merges("{}", "{\"ids\":[1]}", "{\"ids\":[]}", "{}", "");
  merges("{\"ids\":[1]}", "{}", "{\"ids\":[2]}", "{\"ids\":[2,1]}", "");
  merges("{\"ids\":[1]}", "{\"ids\":[1,2]}", "{}", "{}", "");
  merges("{\"ids\":[]}", "{\"ids\":[1]}", "{\"ids\":[]}", "{\"ids\":[]}", "");
  merges("{\"ids\":[1]}", "{\"ids\":[1,2]}", "{\"ids\":\"x\"}", "{\"ids\":\"x\"}", "/ids");
}

static void gives_stamps_back_without_conflict(void **state) {
  (void)state;
  merges("{\"x\":1,\"updatedAt\":1}", "{\"x\":2,\"updatedAt\":2}", "{\"x\":2,\"updatedAt\":2}", "{\"x\":1,\"updatedAt\":1}", "");
  merges("{\"x\":1,\"updatedAt\":1}", "{\"x\":2,\"updatedAt\":2}", "{\"x\":2,\"updatedAt\":3}", "{\"x\":1,\"updatedAt\":3}", "");
  merges("{\"x\":1}", "{\"x\":2,\"_bulkOperationId\":\"m\"}", "{\"x\":2,\"_bulkOperationId\":\"m\"}", "{\"x\":1}", "");
  merges("{\"x\":1}", "{\"x\":2,\"_bulkOperationId\":\"m\"}", "{\"x\":2,\"_bulkOperationId\":\"n\"}",
         "{\"x\":1,\"_bulkOperationId\":\"n\"}", "");
  merges("{\"updatedAt\":1}", "{\"updatedAt\":2}", "{}", "{}", "");
  merges("{\"updatedAt\":1}", "{}", "{}", "{\"updatedAt\":1}", "");
  merges("{\"o\":{\"updatedAt\":1}}", "{\"o\":{\"updatedAt\":2}}", "{\"o\":{\"updatedAt\":3}}", "{\"o\":{\"updatedAt\":3}}",
         "/o/updatedAt");
}

/* Theirs is kept as it stands or not at all: what can't be copied whole is refused, never cut. */
static void cuts_nothing(void **state) {
  (void)state;
  static const uint8_t bytes[] = "\x17\0\0\0\x0d"
                                 "a\0\4\0\0\0x\0y\0\x10n\0\1\0\0\0";
  bson_t current, merged, *before = document_of("{\"n\":0}"), *after = document_of("{\"n\":1}");
  aon_error found = AON_ERROR_INIT;
  size_t conflicts;
  assert_true(bson_init_static(&current, bytes, sizeof bytes));
  assert_int_equal(aon_document_merge(before, after, &current, NULL, &merged, &conflicts, NULL, NULL, &found), AON_REJECTED);
  assert_string_equal(found.code, "bad_type");
  assert_non_null(strstr(found.sentence, "“a”"));
  bson_destroy(&merged);
  assert_int_equal(aon_document_patch(&current, after, &merged, &found), AON_REJECTED);
  bson_destroy(&merged);
  drop(before);
  drop(after);
}

static void leaves_volatiles_alone(void **state) {
  (void)state;
  merges("{\"x\":1,\"lastLogin\":1}", "{\"x\":2,\"lastLogin\":2}", "{\"x\":2,\"lastLogin\":2}", "{\"x\":1,\"lastLogin\":2}", "");
  merges("{\"lastLogin\":1}", "{\"lastLogin\":2}", "{}", "{}", "");
  merges("{}", "{}", "{\"lastLogin\":3}", "{\"lastLogin\":3}", "");
}

static aon_result stop_listening(void *context, const char *path, aon_error *error) {
  (void)path;
  (void)error;
  ++*(int *)context;
  return AON_END;
}

static aon_result refuse_conflict(void *context, const char *path, aon_error *error) {
  (void)context;
  return aon_fail(error, AON_CANCELLED, "cancelled", "Stopped at %s.", path);
}

static void listeners_may_stop_or_fail(void **state) {
  (void)state;
  bson_t *b = document_of("{\"x\":1,\"y\":1}"), *a = document_of("{\"x\":2,\"y\":2}"), *c = document_of("{\"x\":3,\"y\":3}"), result;
  aon_error error = AON_ERROR_INIT;
  size_t conflicts = 0;
  int heard = 0;
  assert_int_equal(aon_document_merge(b, a, c, NULL, &result, &conflicts, stop_listening, &heard, &error), AON_OK);
  assert_int_equal(heard, 1);
  assert_int_equal(conflicts, 2);
  assert_document(&result, "{\"x\":3,\"y\":3}");
  bson_destroy(&result);
  assert_int_equal(aon_document_merge(b, a, c, NULL, &result, &conflicts, refuse_conflict, NULL, &error), AON_CANCELLED);
  assert_string_equal(error.sentence, "Stopped at /x.");
  bson_destroy(&result);
  drop(b);
  drop(a);
  drop(c);
}

/* Properties, over seeded documents */

static bson_t *merged(const bson_t *b, const bson_t *a, const bson_t *c, size_t *ret_conflicts) {
  bson_t result;
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(aon_document_merge(b, a, c, NULL, &result, ret_conflicts, NULL, NULL, &error), AON_OK);
  bson_t *copy = bson_copy(&result);
  bson_destroy(&result);
  return copy;
}

static bson_t *patched(const bson_t *target, const bson_t *patch) {
  bson_t result;
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(aon_document_patch(target, patch, &result, &error), AON_OK);
  bson_t *copy = bson_copy(&result);
  bson_destroy(&result);
  return copy;
}

static void expect_merge(uint64_t round, const bson_t *b, const bson_t *a, const bson_t *c, const bson_t *expected) {
  size_t conflicts;
  bson_t *result = merged(b, a, c, &conflicts);
  if (conflicts || !aon_document_equal(result, expected, NULL))
    fail_msg("round %llu: %zu conflicts: %s instead of %s", (unsigned long long)round, conflicts, text_of(result), text_of(expected));
  bson_destroy(result);
}

static void restore_undoes_apply(void **state) {
  (void)state;
  uint64_t seed = 41;
  for (uint64_t i = 0; i < 4000; i++) {
    bson_t *x = random_document(&seed, false), *change = random_document(&seed, true), *any = random_document(&seed, false);
    bson_t *after = patched(x, change);
    expect_merge(i, x, after, after, x);
    expect_merge(i, x, after, x, x);
    expect_merge(i, x, x, any, any);
    expect_merge(i, x, any, any, x);
    bson_destroy(after);
    drop(any);
    drop(change);
    drop(x);
  }
}

/* They write below "theirs", we elsewhere: taking ours back is as if we had never been there. */
static void foreign_writes_survive(void **state) {
  (void)state;
  uint64_t seed = 43;
  for (uint64_t i = 0; i < 2000; i++) {
    bson_t *x = random_document(&seed, false), *change = random_document(&seed, true), *inner = random_document(&seed, true);
    bson_t foreign = BSON_INITIALIZER;
    bson_append_document(&foreign, "theirs", -1, inner);
    bson_append_bool(&foreign, "also", -1, true);
    bson_t *after = patched(x, change), *current = patched(after, &foreign), *expected = patched(x, &foreign);
    expect_merge(i, x, after, current, expected);
    bson_destroy(expected);
    bson_destroy(current);
    bson_destroy(after);
    bson_destroy(&foreign);
    drop(inner);
    drop(change);
    drop(x);
  }
}

typedef struct leaf_check {
  const bson_t *before, *after, *current, *result;
  const char *conflicts; /* each between spaces */
  uint64_t round;
} leaf_check;

static const bson_iter_t *at(const bson_t *document, const char *path, bson_iter_t *ret) {
  return aon_document_at(document, path, ret) ? ret : NULL;
}

static bool same(const bson_iter_t *a, const bson_iter_t *b) { return a && b ? aon_value_equal(a, b) : a == b; }

/* The rule of the protocol, word for word, for one leaf. */
static void check_leaf(leaf_check *check, const char *path) {
  bson_iter_t before, after, current, result;
  const bson_iter_t *b = at(check->before, path, &before), *a = at(check->after, path, &after), *c = at(check->current, path, &current);
  bool conflict = !same(c, a) && !same(c, b) && !same(a, b);
  const bson_iter_t *expected = same(c, a) ? b : c;
  char word[128];
  snprintf(word, sizeof word, " %s ", path);
  if (!same(expected, at(check->result, path, &result)) || conflict != (strstr(check->conflicts, word) != NULL))
    fail_msg("round %llu, %s: %s, %s, %s gave %s with conflicts%s", (unsigned long long)check->round, path, text_of(check->before),
             text_of(check->after), text_of(check->current), text_of(check->result), check->conflicts);
}

static aon_result check_each(void *context, const char *path, const bson_iter_t *before, const bson_iter_t *after, aon_error *error) {
  leaf_check *check = context;
  (void)before;
  (void)error;
  if (after && bson_iter_type(after) != BSON_TYPE_DOCUMENT) /* empty objects have tests of their own */
    check_leaf(check, path);
  return AON_OK;
}

static aon_result note_spaced(void *context, const char *path, aon_error *error) { return aon_buffer_format(context, error, "%s ", path); }

static void every_leaf_obeys_the_rule(void **state) {
  (void)state;
  uint64_t seed = 47;
  aon_error error = AON_ERROR_INIT;
  for (uint64_t i = 0; i < 4000; i++) {
    bson_t *b = random_document(&seed, false), *first = random_document(&seed, true), *second = random_document(&seed, true), result;
    bson_t *a = patched(b, first), *c = patched(i % 2 ? a : b, second);
    aon_buffer conflicts = {0};
    size_t count;
    assert_int_equal(aon_buffer_text(&conflicts, " ", &error), AON_OK);
    assert_int_equal(aon_document_merge(b, a, c, NULL, &result, &count, note_spaced, &conflicts, &error), AON_OK);
    leaf_check check = {.before = b, .after = a, .current = c, .result = &result, .conflicts = conflicts.data, .round = i};
    const bson_t *const all[] = {b, a, c, &result};
    for (size_t k = 0; k < 4; k++)
      assert_int_equal(aon_document_difference(NULL, all[k], check_each, &check, &error), AON_OK);
    aon_buffer_release(&conflicts);
    bson_destroy(&result);
    bson_destroy(a);
    bson_destroy(c);
    drop(b);
    drop(first);
    drop(second);
  }
}

/* ---- bytes that are no document any more ---- */

typedef struct damage {
  uint8_t bytes[512];
  bson_t view;
} damage;

static bool damaged(damage *d, const bson_t *whole, uint64_t *seed) {
  memcpy(d->bytes, bson_get_data(whole), whole->len);
  for (uint32_t i = below(seed, 3); i < 3; i++)
    d->bytes[4 + below(seed, whole->len - 5)] = (uint8_t)(below(seed, 2) ? next_random(seed) : below(seed, 20));
  return aon_image_view(&(aon_image){.bson = d->bytes, .bson_length = whole->len}, &d->view);
}

static aon_result hear_change(void *context, const char *path, const bson_iter_t *before, const bson_iter_t *after, aon_error *error) {
  (void)path;
  (void)error;
  *(size_t *)context += before || after;
  return AON_OK;
}

/* What comes out is a document, or the damage is told: never half of one as if it were whole. */
static void is_whole_or_told(aon_result result, bson_t *made) {
  aon_buffer text = {0};
  size_t at;
  assert_true(result == AON_OK || result == AON_CORRUPT || result == AON_REJECTED);
  if (!result && bson_validate(made, BSON_VALIDATE_NONE, &at)) {
    result = aon_document_to_json(made, &text, NULL);
    assert_true(result == AON_OK || result == AON_REJECTED || result == AON_CORRUPT);
  }
  aon_buffer_release(&text);
  bson_destroy(made);
}

static bool ends_early(const bson_t *document) {
  bson_iter_t at;
  if (!bson_iter_init(&at, document))
    return true;
  while (bson_iter_next(&at)) {
  }
  return at.err_off != 0;
}

static void survives_damage(void **state) {
  (void)state;
  static const char *const texts[] = {
      "{\"a\":{\"b\":[1,\"text\",{\"c\":null}]},\"d\":2.5,\"ids\":[1,\"u\",[2],{\"x\":1}],\"o\":{\"p\":{\"q\":1},\"ids\":[3,4]}}",
      "{\"a\":{\"b\":[1,\"texts\"]},\"d\":3,\"ids\":[1,\"v\",[2]],\"o\":{\"p\":{\"q\":2,\"r\":{}},\"ids\":[4]},\"n\":{\"m\":[{}]}}",
      "{\"ids\":[\"u\",1,[2],{\"x\":1}],\"d\":2.5,\"o\":{\"ids\":[4,3],\"p\":{\"q\":1}},\"a\":{\"b\":[1,\"text\",{\"c\":null}]}}"};
  bson_t *whole[3], made;
  uint64_t seed = 11;
  size_t told = 0, count, changes = 0;
  for (int i = 0; i < 3; i++)
    whole[i] = document_of(texts[i]);
  for (int i = 0; i < 5000; i++) {
    damage d;
    uint32_t which = below(&seed, 3), place = below(&seed, 3);
    if (!damaged(&d, whole[which], &seed))
      continue;
    const bson_t *parts[3] = {whole[0], whole[1], whole[2]};
    parts[place] = &d.view;
    aon_result merged = aon_document_merge(parts[0], parts[1], parts[2], &how, &made, &count, NULL, NULL, NULL);
    told += merged == AON_CORRUPT;
    is_whole_or_told(merged, &made);
    aon_result patched = aon_document_patch(parts[0], parts[1], &made, NULL);
    is_whole_or_told(patched, &made);
    if (ends_early(&d.view)) /* what can't be seen of it must not be lost, nor given back as if it had been meant */
      assert_int_not_equal(place == 2 ? merged : patched, AON_OK);
    aon_result differing = aon_document_difference(parts[0], parts[1], hear_change, &changes, NULL);
    assert_true(differing == AON_OK || differing == AON_CORRUPT || differing == AON_REJECTED);
    bool same = aon_document_equal(&d.view, whole[(which + i) % 3], &how);
    assert_int_equal(same, aon_document_equal(whole[(which + i) % 3], &d.view, &how));
  }
  assert_true(told > 50 && changes > 50);
  for (int i = 0; i < 3; i++)
    drop(whole[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(takes_ours_back),
      cmocka_unit_test(keeps_theirs),
      cmocka_unit_test(names_conflicts),
      cmocka_unit_test(tells_missing_from_null),
      cmocka_unit_test(merges_objects_by_leaf),
      cmocka_unit_test(merges_sets_by_element),
      cmocka_unit_test(gives_stamps_back_without_conflict),
      cmocka_unit_test(cuts_nothing),
      cmocka_unit_test(leaves_volatiles_alone),
      cmocka_unit_test(listeners_may_stop_or_fail),
      cmocka_unit_test(restore_undoes_apply),
      cmocka_unit_test(foreign_writes_survive),
      cmocka_unit_test(every_leaf_obeys_the_rule),
      cmocka_unit_test(survives_damage),
  };
  return cmocka_run_group_tests_name("model merge", tests, NULL, NULL);
}
