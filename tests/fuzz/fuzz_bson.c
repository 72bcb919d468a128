/* Bytes that are said to be BSON: images as a store or a damaged journal might give them. Up to three documents lie one after the other.
 *
 * Properties: everything that reads images refuses damage with a failure of its own and never reads beyond it; what is whole and of JSON's
 * types is written as JSON that our reader reads back equal; two such documents are equal, and differ nowhere, exactly if jansson finds
 * their JSON equal; what merges or patches to something gives BSON that libbson holds valid. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "model/document.h"
#include "written.h"

#define DOCUMENTS 3

typedef struct given {
  uint8_t *bytes; /* of exactly its size */
  aon_image image;
  bson_t view;
  bool whole, plain; /* valid BSON; and of JSON's types, without doubled keys */
} given;

static aon_result hear_difference(void *context, const char *path, const bson_iter_t *before, const bson_iter_t *after, aon_error *error) {
  (void)context;
  (void)before;
  (void)after;
  (void)error;
  return path[0] == '/' ? AON_OK : AON_END;
}

static aon_result hear_conflict(void *context, const char *path, aon_error *error) {
  (void)context;
  (void)error;
  return path[0] == '/' ? AON_OK : AON_END;
}

static bool is_plain(const bson_t *document, int depth);

static bool plain_members(bson_iter_t at, int depth) {
  while (bson_iter_next(&at)) {
    bson_t inner;
    uint32_t length;
    const uint8_t *bytes;
    switch (bson_iter_type(&at)) {
    case BSON_TYPE_DOUBLE:
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
    case BSON_TYPE_BOOL:
    case BSON_TYPE_NULL:
    case BSON_TYPE_UTF8:
      break;
    case BSON_TYPE_ARRAY:
      return false; /* its keys may be anything, which JSON does not keep */
    case BSON_TYPE_DOCUMENT:
      bson_iter_document(&at, &length, &bytes);
      if (!bson_init_static(&inner, bytes, length) || !is_plain(&inner, depth + 1))
        return false;
      break;
    default:
      return false;
    }
    if (BSON_ITER_HOLDS_DOUBLE(&at) && !(bson_iter_double(&at) - bson_iter_double(&at) == 0))
      return false; /* NaN and infinities become texts */
  }
  return at.err_off == 0;
}

static bool is_plain(const bson_t *document, int depth) {
  bson_iter_t at, other;
  if (depth > 50 || !bson_iter_init(&at, document))
    return false;
  for (bson_iter_t one = at; bson_iter_next(&one);) {
    size_t same = 0;
    for (other = at; bson_iter_next(&other);)
      same += !strcmp(bson_iter_key(&one), bson_iter_key(&other));
    if (same != 1)
      return false;
  }
  return plain_members(at, depth);
}

/* bson_validate ends with "valid" at a key, code or symbol that is no UTF-8, and looks at nothing after it. */
static bool texts_hold(const uint8_t *bytes, uint32_t length, int depth) {
  bson_t document;
  bson_iter_t at;
  if (depth > 100 || !bson_init_static(&document, bytes, length) || !bson_iter_init(&at, &document))
    return false;
  while (bson_iter_next(&at)) {
    uint32_t text_length = 0, inner_length = 0;
    const uint8_t *inner = NULL;
    const char *text = NULL;
    if (BSON_ITER_HOLDS_UTF8(&at))
      text = bson_iter_utf8(&at, &text_length);
    else if (BSON_ITER_HOLDS_CODE(&at))
      text = bson_iter_code(&at, &text_length);
    else if (BSON_ITER_HOLDS_CODEWSCOPE(&at))
      text = bson_iter_codewscope(&at, &text_length, &inner_length, &inner);
    else if (BSON_ITER_HOLDS_SYMBOL(&at))
      text = bson_iter_symbol(&at, &text_length);
    else if (BSON_ITER_HOLDS_DOCUMENT(&at))
      bson_iter_document(&at, &inner_length, &inner);
    else if (BSON_ITER_HOLDS_ARRAY(&at))
      bson_iter_array(&at, &inner_length, &inner);
    if (!bson_utf8_validate(bson_iter_key(&at), bson_iter_key_len(&at), false))
      return false;
    if ((text && !bson_utf8_validate(text, text_length, true)) || (inner && !texts_hold(inner, inner_length, depth + 1)))
      return false;
  }
  return at.err_off == 0;
}

static bool is_whole(const bson_t *document) {
  return bson_validate(document, BSON_VALIDATE_UTF8 | BSON_VALIDATE_UTF8_ALLOW_NULL, NULL) &&
         texts_hold(bson_get_data(document), document->len, 0);
}

static size_t take(const uint8_t *data, size_t size, given *ret) {
  uint32_t length = 0;
  if (size >= 4)
    memcpy(&length, data, 4);
  length = BSON_UINT32_FROM_LE(length);
  if (length > size || length < 5)
    length = (uint32_t)size;
  ret->bytes = malloc(length ? length : 1);
  if (!ret->bytes)
    abort();
  memcpy(ret->bytes, data, length);
  ret->image = (aon_image){.bson = ret->bytes, .bson_length = length};
  if (!aon_image_view(&ret->image, &ret->view))
    bson_init(&ret->view);
  ret->whole = is_whole(&ret->view);
  ret->plain = ret->whole && is_plain(&ret->view, 0);
  return length;
}

static void check_text(const given *one) {
  AON_BUFFER_CLEANUP aon_buffer text = {0};
  aon_error error = AON_ERROR_INIT;
  bson_t again;
  check_written(&one->view);
  aon_result result = aon_document_to_json(&one->view, &text, &error);
  FUZZ_CHECK(!one->plain || result == AON_OK, "%s", error.sentence);
  FUZZ_CHECK(result == AON_OK || error.sentence[0], "a failure without a sentence");
  if (result)
    return;
  result = aon_document_from_json(text.data, text.length, &again, &error);
  FUZZ_CHECK(!one->plain || result == AON_OK, "%s: %s", error.sentence, text.data);
  FUZZ_CHECK(!one->plain || aon_document_equal(&one->view, &again, NULL), "%s", text.data);
  bson_destroy(&again);
}

static aon_result count_difference(void *context, const char *path, const bson_iter_t *before, const bson_iter_t *after, aon_error *error) {
  (void)path;
  (void)before;
  (void)after;
  (void)error;
  ++*(size_t *)context;
  return AON_OK;
}

static json_t *by_jansson(const given *one) {
  AON_BUFFER_CLEANUP aon_buffer text = {0};
  FUZZ_CHECK(aon_document_to_json(&one->view, &text, NULL) == AON_OK, "a plain document is not written");
  return json_loadb(text.data, text.length, JSON_ALLOW_NUL, NULL);
}

/* NULL of jansson: a number beyond its own. */
static void check_equality(const given *a, const given *b) {
  size_t differences = 0;
  aon_error error = AON_ERROR_INIT;
  if (!a->plain || !b->plain)
    return;
  json_t *left = by_jansson(a), *right = by_jansson(b);
  bool equal = aon_document_equal(&a->view, &b->view, NULL);
  FUZZ_CHECK(!left || !right || equal == same_json(left, right), "%s, says jansson: %s\n  %s", equal ? "they differ" : "they are equal",
             json_dumps(left, JSON_COMPACT), json_dumps(right, JSON_COMPACT));
  FUZZ_CHECK(aon_document_difference(&a->view, &b->view, count_difference, &differences, &error) == AON_OK, "%s", error.sentence);
  FUZZ_CHECK(equal == !differences, "%zu differences of documents that %s", differences, equal ? "are equal" : "differ");
  json_decref(left);
  json_decref(right);
}

static void check_together(const given *before, const given *after, const given *current) {
  static const char *const stamps[] = {"stamp", NULL}, *const volatiles[] = {"v", NULL}, *const sets[] = {"/s", "/d/s", NULL};
  static const aon_comparison how = {stamps, volatiles, sets};
  bson_t out;
  size_t conflicts;
  bool whole = before->whole && after->whole && current->whole;
  aon_error error = AON_ERROR_INIT;
  FUZZ_CHECK(!before->plain || aon_document_equal(&before->view, &before->view, &how), "a document differs from itself");
  FUZZ_CHECK(aon_document_equal(&before->view, &after->view, NULL) == aon_document_equal(&after->view, &before->view, NULL) || !whole ||
                 !before->plain || !after->plain,
             "equal one way only");
  aon_result ignored = aon_document_difference(&before->view, &after->view, hear_difference, NULL, &error);
  (void)ignored;
  if (!aon_document_merge(&before->view, &after->view, &current->view, &how, &out, &conflicts, hear_conflict, NULL, &error))
    FUZZ_CHECK(!whole || is_whole(&out), "merging made bad BSON");
  bson_destroy(&out);
  if (!aon_document_patch(&before->view, &after->view, &out, &error))
    FUZZ_CHECK(!whole || is_whole(&out), "patching made bad BSON");
  bson_destroy(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  given all[DOCUMENTS];
  bson_iter_t found;
  for (size_t i = 0; i < DOCUMENTS; i++) {
    size_t taken = take(data, size, &all[i]);
    data += taken;
    size -= taken;
  }
  for (size_t i = 0; i < DOCUMENTS; i++) {
    check_text(&all[i]);
    aon_document_at(&all[i].view, "/d/s/0", &found);
    aon_document_holds(&all[i].view, (const char *const[]){"s", "v", NULL});
  }
  check_equality(&all[0], &all[1]);
  check_equality(&all[1], &all[2]);
  check_together(&all[0], &all[1], &all[2]);
  check_together(&all[2], &all[0], &all[1]);
  for (size_t i = 0; i < DOCUMENTS; i++)
    free(all[i].bytes);
  return 0;
}
