/* The drive order: what is sent to whom, when. */
#include "harness.h"

static void first(void **state) {
  (void)state;
  world *w = world_new();
  world_memory(w, "p", AON_CLASS_PREPARED, NULL);
  world_engine(w);
  APPLY_OK(w, "{\"store\":\"p\",\"collection\":\"c\",\"id\":\"1\",\"operation\":\"create\",\"data\":{\"n\":1}}\n");
  assert_string_equal(world_get(w, "p", "c", "1"), "{\"n\":1}");
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(first)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
