/* A worker dies at each of its steps; another one recovers; every store is as before, or as after. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>

/* Every class takes part, with a create, an update, a delete and a chain in each. */
static const char *const names[] = {"p", "t", "u", "b", "k", "x"};
static const aon_store_class classes[] = {1, 2, 2, 3, 4, 5};
enum { STORES = 6 };

static void all_classes(world *w) {
  for (int i = 0; i < STORES; i++)
    world_memory(w, names[i], classes[i], &(aon_memory_config){.tokens = true});
  for (int i = 0; i < STORES; i++) {
    world_put(w, names[i], "c", "edit", "{\"n\":1,\"keep\":\"k\"}");
    world_put(w, names[i], "c", "gone", "{\"n\":2}");
    world_put(w, names[i], "d", "other", "{\"n\":3}");
  }
}

static const char *plan_text(int stores) {
  static char text[8192];
  size_t at = 0;
  for (int i = 0; i < stores; i++)
    at += (size_t)snprintf(text + at, sizeof text - at,
                           "{\"store\":\"%s\",\"collection\":\"c\",\"id\":\"new\",\"operation\":\"create\",\"data\":{\"n\":10}}\n"
                           "{\"store\":\"%s\",\"collection\":\"c\",\"id\":\"edit\",\"operation\":\"update\",\"data\":{\"n\":11}}\n"
                           "{\"store\":\"%s\",\"collection\":\"c\",\"id\":\"gone\",\"operation\":\"delete\"}\n"
                           "{\"store\":\"%s\",\"collection\":\"c\",\"id\":\"new\",\"operation\":\"update\",\"data\":{\"more\":true}}\n",
                           names[i], names[i], names[i], names[i]);
  return text;
}

static char *after_of(world *w, int stores, const char *before) {
  static char text[8192];
  (void)w;
  size_t at = 0;
  (void)before;
  static const char *const sorted[] = {"b", "k", "p", "t", "u", "x"};
  for (int i = 0; i < STORES; i++) {
    bool in = false;
    for (int k = 0; k < stores; k++)
      in = in || !strcmp(names[k], sorted[i]);
    at += (size_t)snprintf(text + at, sizeof text - at,
                           in ? "%s/c/edit {\"n\":11,\"keep\":\"k\"}\n%s/c/new {\"n\":10,\"more\":true}\n%s/d/other {\"n\":3}\n" : "%s%s%s",
                           in ? sorted[i] : "", in ? sorted[i] : "", in ? sorted[i] : "");
  }
  return text;
}

static void check_whole(world *w, const char *before, const char *after) {
  char *now = world_snapshot(w);
  if (strcmp(now, before) && strcmp(now, after))
    fprintf(stderr, "neither before nor after:\n%s", now);
  CHECK(!strcmp(now, before) || !strcmp(now, after));
  uint64_t open = world_recover(w); /* nothing is left to do */
  CHECK(open == 0);
  free(now);
}

static void die_while_applying(world *w, uint64_t n) {
  all_classes(w);
  char *before = world_snapshot(w), *after = after_of(w, STORES, before);
  world_engine(w);
  w->steps = 0;
  w->crash_at = n;
  if (!setjmp(w->crashed)) {
    aon_result result = world_apply(w, plan_text(STORES));
    CHECK(!result && w->outcome.state == AON_COMMITTED);
    char *now = world_snapshot(w);
    CHECK(!strcmp(now, after));
    world_nothing_left();
  }
  world_die(w);
  CHECK(world_recover(w) == 0);
  check_whole(w, before, after);
}

static void every_step_of_all_classes(void **state) {
  (void)state;
  uint64_t tried = world_every_step(die_while_applying, 2000);
  print_message("%llu points tried\n", (unsigned long long)tried);
  assert_true(tried > 50);
}

/* The rollback dies, too; and the recovery after it. */
static void die_while_rolling_back(world *w, uint64_t n) {
  all_classes(w);
  char *before = world_snapshot(w);
  w->config.test_rollback_at = 23;
  world_engine(w);
  w->steps = 0;
  w->crash_at = n;
  if (!setjmp(w->crashed)) {
    aon_result result = world_apply(w, plan_text(STORES));
    CHECK(!result && w->outcome.state == AON_ROLLED_BACK);
    char *now = world_snapshot(w);
    CHECK(!strcmp(now, before));
    world_nothing_left();
  }
  world_die(w);
  world_engine(w);
  w->steps = 0;
  w->crash_at = 1 + n % 23;
  if (!setjmp(w->crashed)) {
    CHECK(world_recover(w) == 0);
  } else {
    world_die(w);
    CHECK(world_recover(w) == 0);
  }
  w->crash_at = 0;
  check_whole(w, before, before);
}

static void every_step_of_a_rollback(void **state) {
  (void)state;
  uint64_t tried = world_every_step(die_while_rolling_back, 2000);
  print_message("%llu points tried\n", (unsigned long long)tried);
  assert_true(tried > 50);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(every_step_of_all_classes), TEST(every_step_of_a_rollback)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
