/* Problems and counts. */
#include "helpers.h"
#include "model/plan.h"
#include "model/problems.h"

static aon_problem cell_error(const char *sheet, uint32_t row, uint32_t column, const char *sentence) {
  return (aon_problem){.severity = AON_PROBLEM_ERROR,
                       .sheet = sheet,
                       .row = row,
                       .column = column,
                       .heading = "Name",
                       .code = "required",
                       .sentence = sentence};
}

static void add(aon_problems *problems, aon_problem problem) {
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(aon_problems_add(problems, &problem, &error), AON_OK);
}

static void keeps_whole_copies(void **state) {
  (void)state;
  aon_problems problems = {0};
  for (int i = 0; i < 100; i++) {
    char sheet[16], sentence[32], value[16];
    snprintf(sheet, sizeof sheet, "Sheet%d", i / 10);
    snprintf(sentence, sizeof sentence, "Row %d", i);
    snprintf(value, sizeof value, "v%d", i);
    aon_problem problem = cell_error(sheet, (uint32_t)i, 1, sentence);
    problem.value = i % 2 ? value : NULL;
    problem.severity = i % 4 ? AON_PROBLEM_ERROR : AON_PROBLEM_WARNING;
    add(&problems, problem);
    memset(sheet, '?', sizeof sheet);
    memset(sentence, '?', sizeof sentence);
    memset(value, '?', sizeof value);
  }
  assert_int_equal(problems.error_count, 75);
  assert_int_equal(problems.warning_count, 25);
  assert_int_equal(problems.errors_kept, 75);
  assert_string_equal(problems.errors[74].sheet, "Sheet9");
  assert_string_equal(problems.errors[74].sentence, "Row 99");
  assert_string_equal(problems.errors[74].value, "v99");
  assert_null(problems.errors[1].value);
  assert_string_equal(problems.warnings[24].sentence, "Row 96");
  assert_null(problems.errors[0].store);
  aon_problems_release(&problems);
  assert_int_equal(problems.error_count, 0);
}

static void counts_beyond_the_limit(void **state) {
  (void)state;
  aon_problems problems = {.limit = 3};
  for (uint32_t i = 1; i <= 10; i++)
    add(&problems, cell_error("S", i, 1, "x"));
  assert_int_equal(problems.errors_kept, 3);
  assert_int_equal(problems.error_count, 10);
  aon_problem warning = cell_error("S", 1, 1, "w");
  warning.severity = AON_PROBLEM_WARNING;
  add(&problems, warning);
  assert_int_equal(problems.warnings_kept, 1);
  aon_problems_clear(&problems);
  assert_int_equal(problems.errors_kept + problems.warnings_kept + problems.error_count + problems.warning_count, 0);
  add(&problems, cell_error("T", 1, 1, "again"));
  assert_string_equal(problems.errors[0].sentence, "again");
  aon_problems_release(&problems);
  assert_int_equal(problems.limit, 3);
}

static void keeps_ten_thousand_by_default(void **state) {
  (void)state;
  aon_problems problems = {0};
  for (uint32_t i = 0; i < AON_PROBLEMS_KEPT + 5; i++)
    add(&problems, cell_error("S", i, 1, "x"));
  assert_int_equal(problems.errors_kept, AON_PROBLEMS_KEPT);
  assert_int_equal(problems.error_count, AON_PROBLEMS_KEPT + 5);
  aon_problems_release(&problems);
}

static void sorts_for_people(void **state) {
  (void)state;
  aon_problems problems = {0};
  aon_problems_sort(&problems);
  add(&problems, cell_error("Users", 9, 2, "d"));
  add(&problems, cell_error("Sites", 3, 1, "f"));
  add(&problems, cell_error("Users", 9, 1, "b"));
  add(&problems, cell_error("Users", 9, 1, "c"));
  add(&problems, cell_error(NULL, 0, 0, "g"));
  add(&problems, cell_error("Sites", 2, 7, "e"));
  add(&problems, cell_error("Users", 2, 5, "a"));
  aon_problems_sort(&problems);
  for (size_t i = 0; i < problems.errors_kept; i++) {
    const char expected[2] = {(char)('a' + i), 0};
    assert_string_equal(problems.errors[i].sentence, expected);
  }
  aon_problems_release(&problems);
}

static void written(const aon_problem *problem, const char *expected) {
  aon_buffer out = {0};
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(aon_problem_to_json(problem, &out, &error), AON_OK);
  assert_string_equal(out.data, expected);
  aon_buffer_release(&out);
}

static void writes_json(void **state) {
  (void)state;
  aon_problem cell = cell_error("Users", 7, 28, "Users!AB7: say \"x\".");
  cell.value = "é\n";
  written(&cell, "{\"sheet\":\"Users\",\"cell\":\"AB7\",\"heading\":\"Name\",\"value\":\"é\\n\",\"code\":\"required\",\"message\":\"Users!"
                 "AB7: say \\\"x\\\".\"}");
  written(&(aon_problem){.code = "bad_file", .sentence = "No."},
          "{\"sheet\":null,\"cell\":null,\"heading\":null,\"value\":null,\"code\":\"bad_file\",\"message\":\"No.\"}");
  written(&(aon_problem){.line = 12, .store = "main", .collection = "users", .document_id = "a:b", .code = "not_found", .sentence = "No."},
          "{\"line\":12,\"store\":\"main\",\"collection\":\"users\",\"documentId\":\"a:b\",\"code\":\"not_found\",\"message\":\"No.\"}");
  written(&(aon_problem){.line = 1, .code = "bad_json", .sentence = "No."},
          "{\"line\":1,\"store\":null,\"collection\":null,\"documentId\":null,\"code\":\"bad_json\",\"message\":\"No.\"}");
}

static void counts_by_entity(void **state) {
  (void)state;
  aon_counts counts = {0};
  struct aon_count *count;
  aon_error error = AON_ERROR_INIT;
  for (int round = 0; round < 2; round++)
    for (int i = 0; i < AON_COUNTS_LIMIT; i++) {
      char entity[16];
      snprintf(entity, sizeof entity, "e%d", i);
      assert_int_equal(aon_counts_entity(&counts, entity, &count, &error), AON_OK);
      count->created++;
    }
  assert_int_equal(counts.count, AON_COUNTS_LIMIT);
  assert_string_equal(counts.entries[0].entity, "e0");
  assert_int_equal(counts.entries[255].created, 2);
  assert_int_equal(aon_counts_entity(&counts, "one more", &count, &error), AON_REJECTED);
  assert_string_equal(error.code, "too_many");
  aon_counts_release(&counts);
  char entity[65];
  memset(entity, 'x', 64);
  entity[64] = 0;
  assert_int_equal(aon_counts_entity(&counts, entity, &count, &error), AON_REJECTED);
  assert_string_equal(error.code, "too_long");
  assert_int_equal(aon_counts_entity(&counts, entity + 1, &count, &error), AON_OK);
  aon_counts_release(&counts);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(keeps_whole_copies),
      cmocka_unit_test(counts_beyond_the_limit),
      cmocka_unit_test(keeps_ten_thousand_by_default),
      cmocka_unit_test(sorts_for_people),
      cmocka_unit_test(writes_json),
      cmocka_unit_test(counts_by_entity),
  };
  return cmocka_run_group_tests_name("model problems", tests, NULL, NULL);
}
