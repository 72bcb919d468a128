/* Text, ids, instants, states. */
#include <time.h>

#include "base/arena.h"
#include "helpers.h"
#include "model/state.h"
#include "model/text.h"

static void makes_uuids(void **state) {
  (void)state;
  aon_env *env;
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(aon_env_open(AON_LOG_ERROR, 0, 0, &env, &error), AON_OK);
  char one[AON_UUID_LENGTH + 1], two[AON_UUID_LENGTH + 1];
  for (int i = 0; i < 100; i++) {
    aon_uuid_make(env, one);
    aon_uuid_make(env, two);
    assert_true(aon_uuid_valid(one));
    assert_string_not_equal(one, two);
    assert_int_equal(one[14], '4');
    assert_non_null(strchr("89ab", one[19]));
  }
  aon_env_close(env);
}

static void knows_uuids(void **state) {
  (void)state;
  assert_true(aon_uuid_valid("0b5e4f3a-1c2d-4e5f-8a9b-0c1d2e3f4a5b"));
  assert_false(aon_uuid_valid("0B5E4F3A-1C2D-4E5F-8A9B-0C1D2E3F4A5B"));
  assert_false(aon_uuid_valid("0b5e4f3a-1c2d-4e5f-8a9b-0c1d2e3f4a5"));
  assert_false(aon_uuid_valid("0b5e4f3a-1c2d-4e5f-8a9b-0c1d2e3f4a5bc"));
  assert_false(aon_uuid_valid("0b5e4f3a01c2d-4e5f-8a9b-0c1d2e3f4a5b"));
  assert_false(aon_uuid_valid("0b5e4f3a-1c2d-4e5f-8a9b-0c1d2e3f4a5g"));
  assert_false(aon_uuid_valid(""));
}

static void formats_instants(void **state) {
  (void)state;
  static const struct {
    int64_t ms;
    const char *text;
  } cases[] = {{0, "1970-01-01T00:00:00.000Z"},
               {1799222400000, "2027-01-06T08:00:00.000Z"},
               {-1, "1969-12-31T23:59:59.999Z"},
               {951782400000, "2000-02-29T00:00:00.000Z"},
               {-62167219200000, "0000-01-01T00:00:00.000Z"},
               {253402300799999, "9999-12-31T23:59:59.999Z"},
               {INT64_MAX, "9999-12-31T23:59:59.999Z"},
               {INT64_MIN, "0000-01-01T00:00:00.000Z"}};
  char text[AON_INSTANT_LENGTH + 1];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    aon_instant_format(cases[i].ms, text);
    assert_string_equal(text, cases[i].text);
  }
  uint64_t seed = 3;
  for (int i = 0; i < 20000; i++) {
    int64_t ms = (int64_t)(next_random(&seed) % 315569520000000) - 62167219200000, back;
    aon_instant_format(ms, text);
    assert_true(aon_instant_parse(text, &back));
    assert_true(back == ms);
  }
}

static void parses_instants(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t ms;
  } cases[] = {{"2027-01-06T08:00:00Z", 1799222400000},
               {"2027-01-06t08:00:00z", 1799222400000},
               {"2027-01-06 08:00:00.1Z", 1799222400100},
               {"2027-01-06T08:00:00.1239999Z", 1799222400123},
               {"2027-01-06T10:30:00+02:30", 1799222400000},
               {"2027-01-06T00:00:00.000-08:00", 1799222400000},
               {"1969-12-31T23:59:59Z", -1000},
               {"2016-12-31T23:59:60Z", 1483228800000}};
  static const char *const bad[] = {"",
                                    "2027-01-06",
                                    "2027-1-6T08:00:00Z",
                                    "2027-02-29T08:00:00Z",
                                    "2027-13-01T08:00:00Z",
                                    "2027-01-06T24:00:00Z",
                                    "2027-01-06T08:60:00Z",
                                    "2027-01-06T08:00:61Z",
                                    "2027-01-06T08:00:00.Z",
                                    "2027-01-06T08:00:00Zx",
                                    "2027-01-06T08:00:00+24:00",
                                    "2027-01-06T08:00:00+0200",
                                    "2027-00-06T08:00:00Z",
                                    "2027-01-00T08:00:00Z",
                                    "27-01-06T08:00:00Z",
                                    "tomorrow",
                                    "2027-01-06T08:00:00 Z",
                                    "1900-02-29T00:00:00Z"};
  int64_t ms;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_true(aon_instant_parse(cases[i].text, &ms));
    assert_true(ms == cases[i].ms);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (aon_instant_parse(bad[i], &ms))
      fail_msg("parsed: %s", bad[i]);
}

static void reads_local_time(void **state) {
  (void)state;
  int64_t ms;
  setenv("TZ", "EST5EDT,M3.2.0,M11.1.0", 1);
  tzset();
  assert_true(aon_instant_parse("2027-01-06T03:00:00", &ms));
  assert_true(ms == 1799222400000);
  assert_true(aon_instant_parse("2027-01-06 03:00", &ms));
  assert_true(ms == 1799222400000);
  assert_true(aon_instant_parse("2027-07-06T04:00:00.5", &ms));
  assert_true(ms == 1814860800500);
  assert_true(aon_instant_parse("1969-12-31T18:59:59", &ms));
  assert_true(ms == -1000);
  setenv("TZ", "UTC0", 1);
  tzset();
}

static void parses_durations_and_sizes(void **state) {
  (void)state;
  int64_t ms;
  uint64_t bytes;
  assert_true(aon_duration_parse("0", &ms) && ms == 0);
  assert_true(aon_duration_parse("500ms", &ms) && ms == 500);
  assert_true(aon_duration_parse("30s", &ms) && ms == 30000);
  assert_true(aon_duration_parse("5m", &ms) && ms == 300000);
  assert_true(aon_duration_parse("24h", &ms) && ms == 86400000);
  assert_true(aon_duration_parse("7d", &ms) && ms == 604800000);
  static const char *const durations[] = {"", "5", "s", "-1s", "1.5s", "1 s", "1S", "5min", "106751991168d", "99999999999999999999s"};
  for (size_t i = 0; i < sizeof durations / sizeof *durations; i++)
    assert_false(aon_duration_parse(durations[i], &ms));
  assert_true(aon_size_parse("0", &bytes) && bytes == 0);
  assert_true(aon_size_parse("512", &bytes) && bytes == 512);
  assert_true(aon_size_parse("64KiB", &bytes) && bytes == 65536);
  assert_true(aon_size_parse("16MiB", &bytes) && bytes == 16777216);
  assert_true(aon_size_parse("2GiB", &bytes) && bytes == 2147483648);
  static const char *const sizes[] = {"", "KiB", "1KB", "1 KiB", "1kib", "-1", "17179869184GiB", "18446744073709551616"};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    assert_false(aon_size_parse(sizes[i], &bytes));
}

static void folds(const char *text, const char *expected) {
  aon_buffer out = {0};
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(aon_buffer_text(&out, "<", &error), AON_OK);
  assert_int_equal(aon_text_fold(text, strlen(text), &out, &error), AON_OK);
  assert_string_equal(out.data + 1, expected);
  aon_buffer again = {0};
  assert_int_equal(aon_text_fold(out.data + 1, out.length - 1, &again, &error), AON_OK);
  assert_string_equal(again.data, expected);
  aon_buffer_release(&again);
  aon_buffer_release(&out);
}

static void folds_what_a_person_calls_the_same(void **state) {
  (void)state;
  folds("", "");
  folds("Ann@Example.COM 1_[", "ann@example.com 1_[");
  folds("STRASSE", "strasse");
  folds("Straße", "strasse");
  folds("STRA\u1E9EE", "strasse");
  folds("\u0130", "i\u0307");
  folds("i\u0307", "i\u0307");
  folds("\u00C5", "\u00E5");
  folds("A\u030A", "\u00E5");
  folds("\u212B", "\u00E5");
  folds("ΣΊΣΥΦΟΣ", "σίσυφοσ");
  folds("Σίσυφος", "σίσυφοσ");
  folds("\uFB01n", "fin");
  folds("Д", "д");
  folds("\u0390", "\u0390"); /* folding takes it apart, NFC puts it together again */
  folds("日本", "日本");
  folds("\U00010400", "\U00010428");
  folds("\U0001F600", "\U0001F600");
}

static void refuses_to_fold_what_is_no_text(void **state) {
  (void)state;
  aon_buffer out = {0};
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(aon_buffer_text(&out, "kept", &error), AON_OK);
  assert_int_equal(aon_text_fold("ab\xff", 3, &out, &error), AON_REJECTED);
  assert_string_equal(error.code, "bad_format");
  assert_string_equal(out.data, "kept");
  assert_int_equal(aon_text_fold("\xed\xa0\x80", 3, &out, &error), AON_REJECTED);
  assert_int_equal(aon_text_fold("A\0B", 3, &out, &error), AON_OK);
  assert_memory_equal(out.data, "kepta\0b", 8);
  assert_int_equal(aon_text_fold("\xc3\x84\0B", 4, &out, &error), AON_OK);
  assert_memory_equal(out.data + 7, "\xc3\xa4\0b", 5);
  aon_buffer_release(&out);
}

static bool splits(aon_text id, size_t count, aon_arena *arena, aon_text *parts) {
  aon_error error = AON_ERROR_INIT;
  bool fits;
  assert_int_equal(aon_id_split(id, count, arena, parts, &fits, &error), AON_OK);
  return fits;
}

static void joins_and_splits_ids(void **state) {
  (void)state;
  const aon_text parts[] = {AON_TEXT("dept:1"), AON_TEXT(""), AON_TEXT("50%"), AON_TEXT("é")};
  aon_buffer id = {0};
  aon_arena arena = {0};
  aon_text split[4];
  aon_error error;
  assert_int_equal(aon_id_join(parts, 4, &id, &error), AON_OK);
  assert_string_equal(id.data, "dept%3A1::50%25:é");
  aon_text whole = {id.data, id.length};
  assert_true(splits(whole, 4, &arena, split));
  for (size_t i = 0; i < 4; i++) {
    assert_int_equal(split[i].length, parts[i].length);
    assert_string_equal(split[i].data, parts[i].data);
  }
  assert_false(splits(whole, 3, &arena, split));
  assert_false(splits(whole, 5, &arena, split));
  static const char *const bad[] = {"a%", "a%2", "a%41", "%3a", "%%", "%25%"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_false(splits((aon_text){bad[i], strlen(bad[i])}, 1, &arena, split));
  assert_true(splits((aon_text){NULL, 0}, 1, &arena, split));
  assert_int_equal(split[0].length, 0);
  aon_arena_release(&arena);
  aon_buffer_release(&id);
}

/* The values are stored in journals: they may never change. */
static void hashes_are_fixed(void **state) {
  (void)state;
  assert_true(aon_document_hash("main", "users", AON_TEXT("u1")) == UINT64_C(0x99cb8b92973f72e1));
  assert_true(aon_document_hash("", "", AON_TEXT("")) == UINT64_C(0x8847872c500c1e94));
  char *longer = malloc(4096);
  assert_non_null(longer);
  memset(longer, 'x', 4096);
  assert_true(aon_document_hash("main", "users", (aon_text){longer, 4096}) == UINT64_C(0x9747ba745c256de1));
  /* A short one is hashed whole, a long one in pieces: across the edge they are as any other BLAKE2b tells. */
  uint64_t all = 0;
  for (size_t length = 960; length < 1010; length++)
    all ^= aon_document_hash("main", "users", (aon_text){longer, length});
  assert_true(all == UINT64_C(0x530279a376144c0b));
  free(longer);
  assert_true(aon_document_hash("ab", "c", AON_TEXT("")) != aon_document_hash("a", "bc", AON_TEXT("")));
}

static void measures_distance(void **state) {
  (void)state;
  assert_int_equal(aon_text_distance("users", "users", 2), 0);
  assert_int_equal(aon_text_distance("users", "user", 2), 1);
  assert_int_equal(aon_text_distance("users", "suers", 2), 2);
  assert_int_equal(aon_text_distance("kitten", "sitting", 5), 3);
  assert_int_equal(aon_text_distance("kitten", "sitting", 2), 3);
  assert_int_equal(aon_text_distance("", "abc", 5), 3);
  assert_int_equal(aon_text_distance("a", "abcdefgh", 3), 4);
  char text[400], other[400];
  memset(text, 'a', sizeof text - 1);
  text[sizeof text - 1] = 0;
  memcpy(other, text, sizeof text);
  assert_int_equal(aon_text_distance(text, other, 3), 0);
  other[7] = 'b';
  assert_int_equal(aon_text_distance(text, other, 3), 4); /* too long to be looked at */
}

static void names_columns(void **state) {
  (void)state;
  static const struct {
    uint32_t column;
    const char *name;
  } cases[] = {{0, ""},    {1, "A"},    {26, "Z"},    {27, "AA"},     {52, "AZ"},
               {53, "BA"}, {702, "ZZ"}, {703, "AAA"}, {16384, "XFD"}, {UINT32_MAX, "MWLQKWU"}};
  char name[8];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    aon_column_name(cases[i].column, name);
    assert_string_equal(name, cases[i].name);
  }
}

static void names_states(void **context) {
  (void)context;
  int terminal = 0;
  for (int i = 0; i < AON_STATE_COUNT; i++) {
    aon_state state;
    assert_true(aon_state_parse(aon_state_name((aon_state)i), &state));
    assert_int_equal(state, i);
    terminal += aon_state_terminal(state);
  }
  assert_int_equal(terminal, 9);
  assert_string_equal(aon_state_name(AON_REJECTED_STATE), "rejected");
  assert_string_equal(aon_state_name(AON_CANCELLED_STATE), "cancelled");
  assert_string_equal(aon_state_name(AON_ROLLED_BACK), "rolled_back");
  assert_true(aon_state_terminal(AON_ROLLBACK_FAILED) && aon_state_terminal(AON_COMMIT_FAILED) && aon_state_terminal(AON_UNDO_FAILED));
  assert_false(aon_state_terminal(AON_HELD));
  aon_state none;
  assert_false(aon_state_parse("finished", &none));
  assert_false(aon_state_parse("", &none));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(makes_uuids),
      cmocka_unit_test(knows_uuids),
      cmocka_unit_test(formats_instants),
      cmocka_unit_test(parses_instants),
      cmocka_unit_test(reads_local_time),
      cmocka_unit_test(parses_durations_and_sizes),
      cmocka_unit_test(folds_what_a_person_calls_the_same),
      cmocka_unit_test(refuses_to_fold_what_is_no_text),
      cmocka_unit_test(joins_and_splits_ids),
      cmocka_unit_test(hashes_are_fixed),
      cmocka_unit_test(measures_distance),
      cmocka_unit_test(names_columns),
      cmocka_unit_test(names_states),
  };
  return cmocka_run_group_tests_name("model text", tests, NULL, NULL);
}
