/* What taking a write back rests on: comparison, difference, patch and three-way merge of documents.
 *
 * The input builds three documents (before our write, after it, and as they are now), the later two mostly from the one before. Properties:
 *  - documents are equal exactly where their difference is empty; equality does not depend on who is asked;
 *  - restore(apply(x)) is x: merging where nobody else wrote gives the document before our write, without conflicts;
 *  - where we changed nothing, or ours is taken back already, what is there stays;
 *  - what others changed is in the result as they have it (docs/protocol.md, invariant 3);
 *  - merging commutes: taking ours back from theirs, or theirs upon ours, gives the same, and the same number of conflicts;
 *  - a patch does what RFC 7396 says (beside a merge of our own over jansson), and done twice it does it once. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "model/document.h"

#define KEYS 6
#define DEPTH 5
#define MEMBERS 24 /* of all objects of a document */

static const char *const keys[KEYS] = {"a", "b", "list", "set", "stamp", "a/b~c"};
static const char *const sets[] = {"/set", "/a/set", NULL};

static void append_value(bson_t *out, const char *key, fuzz_input *input, const bson_iter_t *from, int depth, int *left);

static void append_members(bson_t *out, fuzz_input *input, const bson_iter_t *from, int depth, int *left) {
  unsigned present = fuzz_byte(input), fresh = fuzz_byte(input);
  for (size_t i = 0; i<KEYS && * left> 0; i++) {
    bson_iter_t old = {0};
    bool had = from && bson_iter_recurse(from, &old) && bson_iter_find(&old, keys[i]);
    if (from && !(fresh >> i & 1)) { /* as it was */
      if (had)
        bson_append_iter(out, keys[i], -1, &old);
    } else if (present >> i & 1) {
      append_value(out, keys[i], input, had ? &old : NULL, depth, left);
    }
  }
}

/* Arrays: up to four small values, each once, so that an array that is a set is one. */
static void append_array(bson_t *out, const char *key, fuzz_input *input) {
  bson_t array;
  unsigned which = fuzz_byte(input);
  int count = 0;
  BSON_APPEND_ARRAY_BEGIN(out, key, &array);
  for (int i = 0; i < 6; i++) {
    char index[16];
    if (!(which >> i & 1))
      continue;
    snprintf(index, sizeof index, "%d", count++);
    if (i < 4)
      BSON_APPEND_INT64(&array, index, i);
    else
      BSON_APPEND_UTF8(&array, index, i == 4 ? "x" : "y");
  }
  bson_append_array_end(out, &array);
}

static void append_value(bson_t *out, const char *key, fuzz_input *input, const bson_iter_t *from, int depth, int *left) {
  static const char *const texts[] = {"", "x", "y", "\xc3\xa4"};
  unsigned what = fuzz_byte(input);
  bson_t inner;
  (*left)--;
  if (!strcmp(key, "set")) {
    append_array(out, key, input);
    return;
  }
  switch (what % 8) {
  case 0:
    BSON_APPEND_NULL(out, key);
    break;
  case 1:
    BSON_APPEND_BOOL(out, key, what >> 3 & 1);
    break;
  case 2:
    BSON_APPEND_INT64(out, key, (int64_t)(what >> 3 & 3));
    break;
  case 3:
    BSON_APPEND_DOUBLE(out, key, (double)(what >> 3 & 7) / 2);
    break;
  case 4:
    BSON_APPEND_UTF8(out, key, texts[what >> 3 & 3]);
    break;
  case 5:
    append_array(out, key, input);
    break;
  default:
    BSON_APPEND_DOCUMENT_BEGIN(out, key, &inner);
    if (depth < DEPTH)
      append_members(&inner, input, what & 8 && from && BSON_ITER_HOLDS_DOCUMENT(from) ? from : NULL, depth + 1, left);
    bson_append_document_end(out, &inner);
  }
}

static bson_t *build(fuzz_input *input, const bson_t *from) {
  bson_t *out = bson_new(), whole = BSON_INITIALIZER;
  bson_iter_t root;
  int left = MEMBERS;
  if (from)
    BSON_APPEND_DOCUMENT(&whole, "", from);
  bool has = from && bson_iter_init(&root, &whole) && bson_iter_next(&root);
  append_members(out, input, has ? &root : NULL, 0, &left);
  bson_destroy(&whole);
  return out;
}

static char *text_of(const bson_t *document) { return bson_as_relaxed_extended_json(document, NULL); }

/* For sentences; they are leaked with the process. */
#define SHOW(b, a, c, ...)                                                                                                                 \
  "before %s\n  after %s\n  current %s" __VA_OPT__("\n  at %s"), text_of(b), text_of(a), text_of(c) __VA_OPT__(, ) __VA_ARGS__

/* ---- difference ---- */

static aon_result count_one(void *context, const char *path, const bson_iter_t *before, const bson_iter_t *after, aon_error *error) {
  (void)path;
  (void)error;
  FUZZ_CHECK(before || after, "a leaf that is missing on both sides");
  ++*(size_t *)context;
  return AON_OK;
}

static void check_equality(const bson_t *a, const bson_t *b) {
  size_t forth = 0, back = 0;
  bool equal = aon_document_equal(a, b, NULL);
  FUZZ_CHECK(aon_document_equal(a, a, NULL), "%s", text_of(a));
  FUZZ_CHECK(aon_document_equal(b, a, NULL) == equal, "%s\n  %s", text_of(a), text_of(b));
  FUZZ_CHECK(aon_document_difference(a, b, count_one, &forth, NULL) == AON_OK, "%s", text_of(a));
  FUZZ_CHECK(aon_document_difference(b, a, count_one, &back, NULL) == AON_OK, "%s", text_of(a));
  FUZZ_CHECK((forth == 0) == equal && (back == 0) == equal, "%zu and %zu leaves differ:\n  %s\n  %s", forth, back, text_of(a), text_of(b));
}

/* ---- merge ---- */

typedef struct merged {
  bson_t document;
  size_t conflicts, told;
} merged;

static aon_result hear(void *context, const char *path, aon_error *error) {
  (void)error;
  FUZZ_CHECK(path[0] == '/', "a conflict at “%s”", path);
  ((merged *)context)->told++;
  return AON_OK;
}

static void merge(const bson_t *before, const bson_t *after, const bson_t *current, const aon_comparison *how, merged *ret) {
  aon_error error = AON_ERROR_INIT;
  ret->conflicts = ret->told = 0;
  FUZZ_CHECK(aon_document_merge(before, after, current, how, &ret->document, &ret->conflicts, hear, ret, &error) == AON_OK, "%s",
             error.sentence);
  FUZZ_CHECK(ret->conflicts == ret->told, "%zu conflicts, %zu told", ret->conflicts, ret->told);
  FUZZ_CHECK(bson_validate(&ret->document, BSON_VALIDATE_UTF8, NULL), SHOW(before, after, current));
}

static void expect(const bson_t *before, const bson_t *after, const bson_t *current, const aon_comparison *how, const bson_t *wanted) {
  merged m;
  merge(before, after, current, how, &m);
  FUZZ_CHECK(m.conflicts == 0, SHOW(before, after, current));
  FUZZ_CHECK(aon_document_equal(&m.document, wanted, how), "not so: " SHOW(before, after, current));
  bson_destroy(&m.document);
}

typedef struct kept {
  const bson_t *before, *after, *current, *result;
} kept;

static bool is_object(const bson_iter_t *value) { return value && BSON_ITER_HOLDS_DOCUMENT(value); }

/* Each leaf that others changed stands in the result as they have it. An object that is a leaf because it is empty may have got back
 * members that we had taken out: it is there or not as a leaf is, and its members are leaves of their own. */
static aon_result check_kept(void *context, const char *path, const bson_iter_t *ours, const bson_iter_t *theirs, aon_error *error) {
  const kept *all = context;
  bson_iter_t value;
  (void)error;
  bool there = aon_document_at(all->result, path, &value);
  if (theirs)
    FUZZ_CHECK(there && (aon_value_equal(&value, theirs) || (is_object(theirs) && is_object(&value))),
               SHOW(all->before, all->after, all->current, path));
  else
    FUZZ_CHECK(!there || (is_object(ours) && is_object(&value)), SHOW(all->before, all->after, all->current, path));
  return AON_OK;
}

static void check_merge(const bson_t *before, const bson_t *after, const bson_t *current) {
  static const aon_comparison as_sets = {.sets = sets};
  const aon_comparison *const hows[] = {NULL, &as_sets};
  for (size_t i = 0; i < 2; i++) {
    merged forth, back;
    expect(before, after, after, hows[i], before);
    expect(before, before, current, hows[i], current);
    expect(before, after, before, hows[i], before);
    merge(before, after, current, hows[i], &forth);
    merge(current, after, before, hows[i], &back);
    FUZZ_CHECK(forth.conflicts == back.conflicts, "%zu and %zu conflicts, %s and %s", forth.conflicts, back.conflicts,
               text_of(&forth.document), text_of(&back.document));
    FUZZ_CHECK(forth.conflicts || aon_document_equal(&forth.document, &back.document, hows[i]), "not alike: " SHOW(before, after, current));
    kept all = {before, after, current, &forth.document};
    if (!hows[i])
      FUZZ_CHECK(aon_document_difference(after, current, check_kept, &all, NULL) == AON_OK, "memory");
    bson_destroy(&forth.document);
    bson_destroy(&back.document);
  }
}

/* ---- patch ---- */

static json_t *json_of(const bson_t *document) {
  AON_BUFFER_CLEANUP aon_buffer text = {0};
  FUZZ_CHECK(aon_document_to_json(document, &text, NULL) == AON_OK, "memory");
  json_t *json = json_loadb(text.data, text.length, 0, NULL);
  FUZZ_CHECK(json != NULL, "%s", text.data);
  return json;
}

/* RFC 7396, section 2, as it stands there. Takes target. */
static json_t *patched_by_rfc(json_t *target, const json_t *patch) {
  const char *name;
  json_t *value, *old;
  if (!json_is_object(patch)) {
    json_decref(target);
    return json_deep_copy(patch);
  }
  if (!json_is_object(target)) {
    json_decref(target);
    target = json_object();
  }
  json_object_foreach((json_t *)(uintptr_t)patch, name, value) {
    old = json_incref(json_object_get(target, name));
    if (json_is_null(value))
      json_object_del(target, name);
    else
      json_object_set_new(target, name, patched_by_rfc(json_incref(old), value));
    json_decref(old);
  }
  return target;
}

static void check_patch(const bson_t *target, const bson_t *patch) {
  bson_t once, twice, reference;
  json_t *change = json_of(patch), *expected = patched_by_rfc(json_of(target), change);
  char *dumped = json_dumps(expected, JSON_COMPACT);
  FUZZ_CHECK(aon_document_patch(target, patch, &once, NULL) == AON_OK, "memory");
  FUZZ_CHECK(aon_document_patch(&once, patch, &twice, NULL) == AON_OK, "memory");
  FUZZ_CHECK(aon_document_from_json(dumped, strlen(dumped), &reference, NULL) == AON_OK, "%s", dumped);
  FUZZ_CHECK(aon_document_equal(&once, &reference, NULL), "%s\n  patched by %s: %s\n  expected %s", text_of(target), text_of(patch),
             text_of(&once), dumped);
  FUZZ_CHECK(aon_document_equal(&once, &twice, NULL), "%s\n  patched by %s twice", text_of(target), text_of(patch));
  free(dumped);
  json_decref(change);
  json_decref(expected);
  bson_destroy(&once);
  bson_destroy(&twice);
  bson_destroy(&reference);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_input input = {data, data + size};
  bson_t *before = build(&input, NULL);
  bson_t *after = build(&input, before);
  bson_t *current = build(&input, after);
  check_equality(before, after);
  check_equality(after, current);
  check_merge(before, after, current);
  check_patch(before, after);
  check_patch(after, current);
  bson_destroy(before);
  bson_destroy(after);
  bson_destroy(current);
  return 0;
}
