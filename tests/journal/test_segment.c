/* The encoding by itself: what goes in comes out, damaged bytes never crash and sums tell every change; sealing binds to its
 * place; the filter never says no to what it has. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>

#include "journal/chain.h"
#include "journal/cipher.h"
#include "journal/filter.h"
#include "journal/segment.h"

static uint64_t seed;

static uint64_t next(void) { /* xorshift64*: the same run every time */
  seed ^= seed >> 12;
  seed ^= seed << 25;
  seed ^= seed >> 27;
  return seed * 2685821657736338717u;
}

static const char *const sheet_names[] = {NULL, "Users", "Sites", "Übersicht"};

static void random_operation(planned *plan, int64_t sequence) {
  char id[40];
  snprintf(id, sizeof id, "%020llu", (unsigned long long)next());
  id[next() % 20] = 0;
  static const char kinds[] = "cudCUD";
  plan_add(plan, sequence, kinds[next() % 6], next() % 3 ? &users : &sites, id);
  aon_operation *operation = &plan->operations[plan->count - 1];
  operation->origin = (aon_origin){
      .sheet = sheet_names[next() % 4], .row = next() % 2 ? (uint32_t)sequence : (uint32_t)next(), .entity = next() % 2 ? "user" : NULL};
  if (next() % 4 == 0)
    operation->path = "/some/path";
  if (next() % 4 == 0) {
    operation->before.token = (const uint8_t *)"token";
    operation->before.token_length = (uint32_t)(next() % 6);
  }
  operation->flags |= next() % 8 ? 0 : 0x7ffffffe;
}

static void encode(aon_segment_writer *writer, aon_dictionary *dictionary, const planned *plan) {
  aon_segment_begin(writer, plan->operations[0].sequence);
  for (size_t i = 0; i < plan->count; i++)
    OK(aon_segment_add(writer, dictionary, &plan->operations[i], error));
}

static bool same_text(const char *a, const char *b) { return a == b || (a && b && !strcmp(a, b)); }

static bool same_image(const aon_image *a, const aon_image *b) {
  return !a->bson == !b->bson && a->bson_length == b->bson_length && (!a->bson || !memcmp(a->bson, b->bson, a->bson_length)) &&
         !a->token == !b->token && a->token_length == b->token_length && (!a->token_length || !memcmp(a->token, b->token, a->token_length));
}

static bool same_operation(const aon_operation *a, const aon_operation *b) {
  return a->sequence == b->sequence && a->kind == b->kind && a->flags == b->flags && same_text(a->path, b->path) &&
         same_text(a->origin.sheet, b->origin.sheet) && same_text(a->origin.entity, b->origin.entity) && a->origin.row == b->origin.row &&
         a->id.length == b->id.length && !memcmp(a->id.data, b->id.data, a->id.length) &&
         !strcmp(a->collection->name, b->collection->name) && same_image(&a->before, &b->before) && same_image(&a->after, &b->after);
}

static void comes_back_as_it_was(void **state) {
  (void)state;
  seed = 20270106;
  aon_segment_writer writer = {0};
  for (int round = 0; round < 200; round++) {
    aon_dictionary *dictionary = aon_dictionary_new();
    planned plan = {0};
    AON_ARENA_CLEANUP aon_arena arena = {0};
    int64_t first = (int64_t)(next() % 1000000);
    for (uint64_t i = 0, count = 1 + next() % 40; i < count; i++)
      random_operation(&plan, first + (int64_t)i);
    encode(&writer, dictionary, &plan);
    aon_operation *found;
    OK(aon_segment_decode(dictionary, first, writer.count, writer.operations.data, writer.operations.length, writer.images.data,
                          writer.images.length, &arena, &found, error));
    for (size_t i = 0; i < plan.count; i++)
      assert_true(same_operation(&found[i], &plan.operations[i]));
    OK(aon_segment_decode(dictionary, first, writer.count, writer.operations.data, writer.operations.length, NULL, 0, &arena, &found,
                          error));
    assert_true(aon_image_absent(&found[0].after));
    aon_dictionary_release(dictionary);
    plan_clear(&plan);
  }
  aon_segment_release(&writer);
}

/* In a buffer of its own of just that size, so that a read beyond it is found. */
static aon_result decode_copy(const aon_dictionary *dictionary, uint32_t count, const void *heads, size_t heads_length, const void *images,
                              size_t images_length) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_operation *found;
  aon_error error = AON_ERROR_INIT;
  void *a = malloc(heads_length ? heads_length : 1), *b = malloc(images_length ? images_length : 1);
  memcpy(a, heads, heads_length);
  memcpy(b, images, images_length);
  aon_result result = aon_segment_decode(dictionary, 0, count, a, heads_length, b, images_length, &arena, &found, &error);
  assert_true(result == AON_OK || (result == AON_CORRUPT && *error.sentence));
  free(a);
  free(b);
  return result;
}

static void damaged_bytes_never_crash(void **state) {
  (void)state;
  seed = 7;
  aon_dictionary *dictionary = aon_dictionary_new();
  aon_segment_writer writer = {0};
  planned plan = {0};
  for (int64_t i = 0; i < 12; i++)
    random_operation(&plan, i);
  encode(&writer, dictionary, &plan);
  size_t heads = writer.operations.length, images = writer.images.length;
  for (size_t cut = 0; cut < heads; cut++)
    assert_int_equal(decode_copy(dictionary, writer.count, writer.operations.data, cut, writer.images.data, images), AON_CORRUPT);
  for (size_t cut = 0; cut < images; cut++)
    assert_int_equal(decode_copy(dictionary, writer.count, writer.operations.data, heads, writer.images.data, cut), AON_CORRUPT);
  for (uint32_t count = 0; count < 40; count++)
    if (count != writer.count)
      assert_int_equal(decode_copy(dictionary, count, writer.operations.data, heads, writer.images.data, images), AON_CORRUPT);
  assert_int_equal(decode_copy(dictionary, UINT32_MAX, writer.operations.data, heads, writer.images.data, images), AON_CORRUPT);
  for (int i = 0; i < 20000; i++) {
    char *bytes = next() % 2 ? writer.operations.data : writer.images.data;
    size_t at = next() % (bytes == writer.images.data ? images : heads);
    char was = bytes[at];
    bytes[at] = (char)next();
    (void)decode_copy(dictionary, writer.count, writer.operations.data, heads, writer.images.data, images);
    bytes[at] = was;
  }
  assert_int_equal(decode_copy(dictionary, writer.count, writer.operations.data, heads, writer.images.data, images), AON_OK);
  aon_segment_release(&writer);
  aon_dictionary_release(dictionary);
  plan_clear(&plan);
}

static void sums_bind_to_their_place(void **state) {
  (void)state;
  unsigned char sum[AON_SEGMENT_SUM_BYTES], other[AON_SEGMENT_SUM_BYTES];
  aon_segment_sum("a", 0, AON_SEGMENT_IMAGES_ROLE, "bytes", 5, sum);
  aon_segment_sum("a", 0, AON_SEGMENT_IMAGES_ROLE, "bytes", 5, other);
  assert_memory_equal(sum, other, sizeof sum);
  aon_segment_sum("b", 0, AON_SEGMENT_IMAGES_ROLE, "bytes", 5, other);
  assert_memory_not_equal(sum, other, sizeof sum);
  aon_segment_sum("a", 1, AON_SEGMENT_IMAGES_ROLE, "bytes", 5, other);
  assert_memory_not_equal(sum, other, sizeof sum);
  aon_segment_sum("a", 0, AON_SEGMENT_OPERATIONS_ROLE, "bytes", 5, other);
  assert_memory_not_equal(sum, other, sizeof sum);
  aon_segment_sum("a", 0, AON_SEGMENT_IMAGES_ROLE, "byteS", 5, other);
  assert_memory_not_equal(sum, other, sizeof sum);
}

static void sealed_bytes_stay_in_their_place(void **state) {
  (void)state;
  world *w = world_make();
  aon_keys *keys;
  AON_BUFFER_CLEANUP aon_buffer sealed = {0}, again = {0};
  char plain[16] = "";
  aon_error found;
  OK(aon_keys_add(&w->env, w->key, NULL, &keys, error));
  OK(aon_keys_seal(&w->env, keys, "bulk", 5, "a secret", 8, &sealed, error));
  OK(aon_keys_seal(&w->env, keys, "bulk", 5, "a secret", 8, &again, error));
  assert_int_equal(sealed.length, 8 + AON_SEAL_OVERHEAD);
  assert_memory_not_equal(sealed.data, again.data, sealed.length); /* a fresh nonce */
  OK(aon_keys_unseal(keys, "bulk", 5, sealed.data, sealed.length, plain, error));
  assert_memory_equal(plain, "a secret", 8);
  FAILS(aon_keys_unseal(keys, "bulk", 6, sealed.data, sealed.length, plain, error), AON_CORRUPT, "corrupt", found);
  FAILS(aon_keys_unseal(keys, "bulK", 5, sealed.data, sealed.length, plain, error), AON_CORRUPT, "corrupt", found);
  FAILS(aon_keys_unseal(keys, "bulk", 5, sealed.data, 20, plain, error), AON_CORRUPT, "corrupt", found);
  sealed.data[sealed.length - 1] ^= 1;
  FAILS(aon_keys_unseal(keys, "bulk", 5, sealed.data, sealed.length, plain, error), AON_CORRUPT, "corrupt", found);
  sealed.data[0] ^= 1;
  FAILS(aon_keys_unseal(keys, "bulk", 5, sealed.data, sealed.length, plain, error), AON_ENVIRONMENT, "missing_key", found);
  for (size_t count = 1; count < AON_KEY_LIMIT; count++) {
    aon_keys *more;
    OK(aon_keys_add(&w->env, w->key, keys, &more, error));
    aon_keys_close(keys);
    keys = more;
  }
  aon_keys *more;
  FAILS(aon_keys_add(&w->env, w->key, keys, &more, error), AON_USAGE, "too_many_keys", found);
  aon_keys_close(keys);
  OK(aon_keys_read(&w->env, w->key, &keys, error));
  assert_int_equal(aon_keys_count(keys), AON_KEY_LIMIT);
  aon_keys_close(keys);
  world_end(w);
}

static void names_have_limits(void **state) {
  (void)state;
  aon_dictionary *dictionary = aon_dictionary_new();
  char name[32];
  uint32_t number;
  aon_error found;
  for (uint32_t i = 0; i < AON_DICTIONARY_TEXTS_LIMIT; i++) {
    snprintf(name, sizeof name, "sheet %u", i);
    OK(aon_dictionary_text(dictionary, name, &number, error));
    assert_int_equal(number, i);
  }
  OK(aon_dictionary_text(dictionary, "sheet 77", &number, error));
  assert_int_equal(number, 77);
  FAILS(aon_dictionary_text(dictionary, "one more", &number, error), AON_PERMANENT, "too_many_names", found);
  aon_collection collection = {.store = "main", .name = "users"}, same = {.store = "main", .name = "users"};
  OK(aon_dictionary_collection(dictionary, &collection, &number, error));
  OK(aon_dictionary_collection(dictionary, &same, &number, error));
  assert_int_equal(number, 0); /* the settings count, not the address */
  same.merge_none = true;
  OK(aon_dictionary_collection(dictionary, &same, &number, error));
  assert_int_equal(number, 1);
  collection.name = name;
  for (uint32_t i = 2; i < AON_DICTIONARY_COLLECTIONS_LIMIT; i++) {
    snprintf(name, sizeof name, "c%u", i);
    OK(aon_dictionary_collection(dictionary, &collection, &number, error));
  }
  collection.name = "too many";
  FAILS(aon_dictionary_collection(dictionary, &collection, &number, error), AON_PERMANENT, "too_many_names", found);
  FAILS(aon_dictionary_restore_collection(dictionary, "{\"store\":1}", error), AON_CORRUPT, "corrupt", found);
  FAILS(aon_dictionary_restore_collection(dictionary, "{", error), AON_CORRUPT, "corrupt", found);
  FAILS(aon_dictionary_restore_text(dictionary, "sheet 3", error), AON_CORRUPT, "corrupt", found);
  aon_dictionary_release(dictionary);
}

static void the_filter_never_forgets(void **state) {
  (void)state;
  aon_filter filter = {0};
  assert_true(aon_filter_maybe(&filter, 1)); /* not made yet: it can't say no */
  assert_true(aon_filter_make(&filter, 0));
  seed = 99;
  for (int i = 0; i < 20000; i++)
    aon_filter_add(&filter, next());
  assert_true(aon_filter_crowded(&filter));
  seed = 99;
  for (int i = 0; i < 20000; i++)
    assert_true(aon_filter_maybe(&filter, next()));
  int mistakes = 0;
  for (int i = 0; i < 20000; i++)
    mistakes += aon_filter_maybe(&filter, next());
  assert_true(mistakes < 200);
  assert_true(aon_filter_make(&filter, (uint64_t)1 << 40)); /* its memory has a limit */
  assert_int_equal(filter.bytes, AON_FILTER_BYTES_LIMIT);
  assert_false(aon_filter_crowded(&filter));
  aon_filter_release(&filter);
}

static void the_chain_table_keeps_the_last_place(void **state) {
  (void)state;
  aon_chain chain = {.limit_bytes = 200000};
  int64_t first = -1, segments = 0;
  assert_false(aon_chain_find(&chain, 5, &first));
  seed = 5;
  while (aon_chain_begin(&chain, segments * 10, 10)) {
    for (int i = 0; i < 10; i++)
      aon_chain_add(&chain, next());
    segments++;
  }
  assert_true(segments > 500);
  seed = 5;
  for (int64_t at = 0; at < segments; at++)
    for (int i = 0; i < 10; i++) {
      assert_true(aon_chain_find(&chain, next(), &first));
      assert_int_equal(first, at * 10);
    }
  for (int i = 0; i < 1000; i++)
    assert_false(aon_chain_find(&chain, next(), &first));
  aon_chain_release(&chain);
  assert_true(aon_chain_begin(&chain, 0, 1));
  aon_chain_add(&chain, UINT64_MAX);
  assert_true(aon_chain_begin(&chain, 1, 1));
  aon_chain_add(&chain, UINT64_MAX);
  assert_true(aon_chain_find(&chain, UINT64_MAX, &first));
  assert_int_equal(first, 1);
  aon_chain_release(&chain);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(comes_back_as_it_was),
      cmocka_unit_test(damaged_bytes_never_crash),
      cmocka_unit_test(sums_bind_to_their_place),
      cmocka_unit_test(sealed_bytes_stay_in_their_place),
      cmocka_unit_test(names_have_limits),
      cmocka_unit_test(the_filter_never_forgets),
      cmocka_unit_test(the_chain_table_keeps_the_last_place),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
