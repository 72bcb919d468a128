/* Ids, instants, durations, sizes, folded texts and distances: what the program reads of people's spelling.
 *
 * The input is two texts, the first up to a zero byte. Properties: what is written is read back; what was read and written is written
 * the same again; durations and sizes are what a reader of our own makes of them; folding twice folds once; parts of an id come back from
 * the joined id, and no other text splits into them; the distance is that of Levenshtein, from whichever side. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fuzz.h"
#include "model/document.h"
#include "model/text.h"

static void check_instant(const char *text) {
  char written[AON_INSTANT_LENGTH + 1], again[AON_INSTANT_LENGTH + 1];
  int64_t ms, back;
  if (!aon_instant_parse(text, &ms))
    return;
  aon_instant_format(ms, written);
  FUZZ_CHECK(aon_instant_parse(written, &back), "“%s” gave “%s”", text, written);
  aon_instant_format(back, again);
  FUZZ_CHECK(!strcmp(written, again), "“%s” gave “%s”, then “%s”", text, written, again);
  /* Years of four digits are all that the text can say: an offset may lead out of them. */
  bool sayable = ms >= INT64_C(-62167219200000) && ms <= INT64_C(253402300799999);
  FUZZ_CHECK(!sayable || back == ms, "“%s” is %lld, “%s” is %lld", text, (long long)ms, written, (long long)back);
}

/* Digits and a unit; 128 bits, so that nothing overflows unseen. */
static bool quantity(const char *text, const char *const *units, const uint64_t *factors, uint64_t limit, uint64_t *ret) {
  __int128 value = 0;
  const char *at = text;
  for (; *at >= '0' && *at <= '9'; at++)
    value = value > UINT64_MAX ? value : value * 10 + (*at - '0');
  if (at == text)
    return false;
  for (int i = 0; units[i]; i++)
    if (!strcmp(at, units[i])) {
      value *= factors[i];
      *ret = (uint64_t)value;
      return value <= limit;
    }
  return false;
}

static void check_quantities(const char *text) {
  static const char *const times[] = {"ms", "s", "m", "h", "d", NULL}, *const sizes[] = {"", "KiB", "MiB", "GiB", NULL};
  static const uint64_t time_factors[] = {1, 1000, 60000, 3600000, 86400000}, size_factors[] = {1, 1 << 10, 1 << 20, 1 << 30};
  uint64_t expected = 0, bytes = 0;
  int64_t ms = 0;
  bool known = !strcmp(text, "0") || quantity(text, times, time_factors, INT64_MAX, &expected);
  FUZZ_CHECK(aon_duration_parse(text, &ms) == known && (!known || (uint64_t)ms == expected), "“%s” as a duration: %lld", text,
             (long long)ms);
  known = quantity(text, sizes, size_factors, UINT64_MAX, &expected);
  FUZZ_CHECK(aon_size_parse(text, &bytes) == known && (!known || bytes == expected), "“%s” as a size: %llu", text,
             (unsigned long long)bytes);
}

/* libbson's view, but for its two-byte NUL, which no standard knows. */
static bool is_utf8(const char *text, size_t length) {
  return bson_utf8_validate(text, length, true) && (!length || !memmem(text, length, "\xc0\x80", 2));
}

static void check_fold(const char *text, size_t length) {
  AON_BUFFER_CLEANUP aon_buffer once = {0};
  AON_BUFFER_CLEANUP aon_buffer twice = {0};
  aon_error error = AON_ERROR_INIT;
  aon_result result = aon_text_fold(text, length, &once, &error);
  bool valid = is_utf8(text, length);
  FUZZ_CHECK((result == AON_OK) == valid, "folding: %s, valid UTF-8: %d", aon_result_name(result), valid);
  if (result)
    return;
  FUZZ_CHECK(aon_text_fold(once.data, once.length, &twice, &error) == AON_OK, "%s", error.sentence);
  FUZZ_CHECK(once.length == twice.length && !memcmp(once.data, twice.data, once.length), "“%s”, then “%s”", once.data, twice.data);
}

static bool splits(aon_text id, size_t count, aon_arena *arena, aon_text *parts) {
  bool fits;
  return !aon_id_split(id, count, arena, parts, &fits, NULL) && fits;
}

static void check_join(aon_text a, aon_text b) {
  AON_BUFFER_CLEANUP aon_buffer id = {0};
  AON_ARENA_CLEANUP aon_arena arena = {0};
  const aon_text parts[] = {a, b};
  aon_text back[2];
  FUZZ_CHECK(aon_id_join(parts, 2, &id, NULL) == AON_OK, "memory");
  FUZZ_CHECK(splits((aon_text){id.data, id.length}, 2, &arena, back), "“%s”", id.data);
  for (int i = 0; i < 2; i++)
    FUZZ_CHECK(back[i].length == parts[i].length && !memcmp(back[i].data, parts[i].data, parts[i].length), "part %d of “%s”", i, id.data);
  FUZZ_CHECK(!splits((aon_text){id.data, id.length}, 1, &arena, back), "“%s” is one part too", id.data);
}

/* A text as it stands taken for an id: what it splits into makes that very text. */
static void check_split(aon_text id) {
  for (size_t count = 1; count <= 3; count++) {
    AON_BUFFER_CLEANUP aon_buffer again = {0};
    AON_ARENA_CLEANUP aon_arena arena = {0};
    aon_text parts[3];
    if (!splits(id, count, &arena, parts))
      continue;
    FUZZ_CHECK(aon_id_join(parts, count, &again, NULL) == AON_OK, "memory");
    FUZZ_CHECK(again.length == id.length && (!id.length || !memcmp(again.data, id.data, id.length)), "“%s” from “%.*s”", again.data,
               (int)id.length, id.data);
  }
}

/* The whole table, as the books have it. */
static size_t levenshtein(const char *a, const char *b) {
  static size_t table[130][130];
  size_t m = strlen(a), n = strlen(b);
  for (size_t i = 0; i <= m; i++)
    for (size_t j = 0; j <= n; j++) {
      size_t least = i + j;
      if (i && j) {
        least = table[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
        least = table[i - 1][j] + 1 < least ? table[i - 1][j] + 1 : least;
        least = table[i][j - 1] + 1 < least ? table[i][j - 1] + 1 : least;
      }
      table[i][j] = least;
    }
  return table[m][n];
}

static void check_distance(const char *a, const char *b) {
  if (strlen(a) > 128 || strlen(b) > 128)
    return;
  size_t whole = levenshtein(a, b);
  for (size_t limit = 0; limit < 8; limit++) {
    size_t expected = whole > limit ? limit + 1 : whole, found = aon_text_distance(a, b, limit);
    FUZZ_CHECK(found == expected && aon_text_distance(b, a, limit) == expected, "“%s” to “%s”, at most %zu: %zu, not %zu", a, b, limit,
               found, expected);
  }
}

static void check_quoted(const char *text, size_t length) {
  AON_BUFFER_CLEANUP aon_buffer json = {0};
  bson_t document;
  bson_iter_t value;
  uint32_t back;
  FUZZ_CHECK(aon_buffer_text(&json, "{\"a\":", NULL) == AON_OK, "memory");
  aon_result result = aon_text_to_json(text, length, &json, NULL);
  FUZZ_CHECK((result == AON_OK) == is_utf8(text, length), "%s", aon_result_name(result));
  FUZZ_CHECK(result == AON_OK || json.length == 5, "a failure left “%s”", json.data);
  if (result)
    return;
  FUZZ_CHECK(aon_buffer_text(&json, "}", NULL) == AON_OK, "memory");
  FUZZ_CHECK(aon_document_from_json(json.data, json.length, &document, NULL) == AON_OK, "%s", json.data);
  FUZZ_CHECK(bson_iter_init_find(&value, &document, "a"), "%s", json.data);
  const char *read = bson_iter_utf8(&value, &back);
  FUZZ_CHECK(back == length && !memcmp(read, text, length), "%s", json.data);
  bson_destroy(&document);
}

/* Bijective base 26, read back. */
static void check_column(uint32_t column) {
  char name[8];
  uint64_t back = 0;
  aon_column_name(column, name);
  for (const char *at = name; *at; at++) {
    FUZZ_CHECK(*at >= 'A' && *at <= 'Z', "%s", name);
    back = back * 26 + (uint64_t)(*at - 'A' + 1);
  }
  FUZZ_CHECK(back == column, "column %u is %s", column, name);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc;
  (void)argv;
  setenv("TZ", "Europe/Lisbon", 1); /* local time, with clocks that change */
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_input input = {data, data + size};
  size_t lengths[2];
  char *first = fuzz_text(&input, &lengths[0]);
  lengths[1] = fuzz_left(&input);
  char *second = fuzz_copy(input.at, lengths[1]); /* may hold zero bytes */
  uint32_t column = 0;
  memcpy(&column, data, size < 4 ? size : 4);
  check_instant(first);
  check_quantities(first);
  check_distance(first, second);
  aon_uuid_valid(first);
  check_fold(second, lengths[1]);
  check_quoted(second, lengths[1]);
  check_join((aon_text){first, lengths[0]}, (aon_text){second, lengths[1]});
  check_split((aon_text){second, lengths[1]});
  check_column(column);
  free(first);
  free(second);
  return 0;
}
