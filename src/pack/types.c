/* Fields: the rules of one column applied to one cell, single values and lists of them; and how findings become sentences. */
#include "pack/types.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/text.h"

#define EXACT_INTEGER 9007199254740992.0 /* 2^53: beyond it a number cell no longer tells whole numbers apart */
#define NEAREST_BYTES 64                 /* longer texts have no nearest one */

/* ---- Findings ---- */

/* Takes away an incomplete character at the end of a text that was cut. */
static void end_at_character(char *text, size_t size) {
  size_t length = strlen(text);
  if (length + 1 < size)
    return;
  while (length && ((unsigned char)text[length - 1] & 0xc0) == 0x80)
    length--;
  if (length && (unsigned char)text[length - 1] >= 0xc0)
    length--;
  text[length] = 0;
}

void aon_check_fail(aon_check *check, const char *code, const char *advice, const char *problem, ...) {
  if (check->code)
    return;
  va_list arguments;
  va_start(arguments, problem);
  vsnprintf(check->problem, sizeof check->problem, problem, arguments);
  va_end(arguments);
  end_at_character(check->problem, sizeof check->problem);
  snprintf(check->advice, sizeof check->advice, "%s", advice);
  end_at_character(check->advice, sizeof check->advice);
  check->code = code;
}

/* Length of the first characters of a text, as many as a sentence shows. */
static size_t shown_length(aon_text text) {
  size_t characters = 0;
  for (size_t i = 0; i < text.length; i++)
    if (((unsigned char)text.data[i] & 0xc0) != 0x80 && ++characters > AON_SHOWN_CHARACTERS)
      return i;
  return text.length;
}

void aon_check_entry(aon_check *list, aon_text entry, const aon_check *one, bool sensitive) {
  char piece[sizeof one->problem + AON_SHOWN_CHARACTERS * 4 + 16];
  size_t shown = shown_length(entry), used = strlen(list->problem);
  if (!one->code)
    return;
  if (sensitive)
    snprintf(piece, sizeof piece, "%san entry %s", list->code ? "; " : "", one->problem);
  else
    snprintf(piece, sizeof piece, "%s“%.*s%s” %s", list->code ? "; " : "", (int)shown, entry.data, shown < entry.length ? "…" : "",
             one->problem);
  if (!list->code) {
    list->code = one->code;
    list->list = true;
    memcpy(list->advice, one->advice, sizeof list->advice);
  }
  if (list->unnamed || used + strlen(piece) >= sizeof list->problem)
    list->unnamed++;
  else
    strcpy(list->problem + used, piece);
}

aon_result aon_check_sentence(const aon_check *check, const char *sheet, uint32_t column, uint32_t row, const char *shown, aon_buffer *out,
                              aon_error *error) {
  char name[8];
  aon_column_name(column, name);
  aon_result result = aon_buffer_format(out, error, "%s!%s%u: ", sheet, name, row);
  if (!result && check->list) {
    result = aon_buffer_format(out, error, "In this list %s", check->problem);
    if (!result && check->unnamed)
      result = aon_buffer_format(out, error, "; and %u more", check->unnamed);
  } else if (!result && shown) {
    aon_text value = {shown, strlen(shown)};
    size_t length = shown_length(value);
    result = aon_buffer_format(out, error, "“%.*s%s” %s", (int)length, shown, length < value.length ? "…" : "", check->problem);
  } else if (!result) {
    result = aon_buffer_format(out, error, "The value %s", check->problem);
  }
  if (!result)
    result = aon_buffer_format(out, error, ".%s%s", check->advice[0] ? " " : "", check->advice);
  return result;
}

/* Most candidates are ASCII, and a column of unknown words asks for all of them in every row. */
static aon_result fold(const char *text, size_t length, aon_buffer *out, aon_error *error) {
  char lower[NEAREST_BYTES];
  for (size_t i = 0; i < length; i++) {
    if ((unsigned char)text[i] >= 0x80)
      return aon_text_fold(text, length, out, error);
    lower[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] + 32) : text[i];
  }
  return aon_buffer_append(out, lower, length, error);
}

aon_result aon_nearest(aon_text text, const char *const *candidates, size_t count, const char **ret_nearest, aon_error *error) {
  aon_buffer folded AON_BUFFER_CLEANUP = {0}, candidate AON_BUFFER_CLEANUP = {0};
  *ret_nearest = NULL;
  if (!text.length || text.length > NEAREST_BYTES)
    return AON_OK;
  aon_result result = aon_text_fold(text.data, text.length, &folded, error);
  size_t best = 1 + text.length / 4; /* one slip in a short word, one more for every four characters */
  for (size_t i = 0; !result && i < count && best; i++) {
    size_t length = strlen(candidates[i]);
    if (length > NEAREST_BYTES || length > folded.length + 3 * best || folded.length > length + 3 * best)
      continue; /* folding makes at most three bytes of one */
    aon_buffer_clear(&candidate);
    result = fold(candidates[i], length, &candidate, error);
    size_t distance = result ? best : aon_text_distance(folded.data, candidate.data, best);
    if (!result && distance <= best && distance < folded.length) {
      *ret_nearest = candidates[i];
      best = distance ? distance - 1 : 0;
    }
  }
  return result;
}

/* ---- Names of types ---- */

static const char *const type_names[AON_FIELD_TYPE_COUNT] = {
    [AON_FIELD_TEXT] = "text",         [AON_FIELD_ID] = "id",           [AON_FIELD_EMAIL] = "email",        [AON_FIELD_PHONE] = "phone",
    [AON_FIELD_LANGUAGE] = "language", [AON_FIELD_COUNTRY] = "country", [AON_FIELD_TIME_ZONE] = "timezone", [AON_FIELD_DATE] = "date",
    [AON_FIELD_TIME] = "time",         [AON_FIELD_CHOICE] = "choice",   [AON_FIELD_INTEGER] = "integer",    [AON_FIELD_NUMBER] = "number",
    [AON_FIELD_BOOLEAN] = "boolean"};

bool aon_field_type_parse(const char *name, aon_field_type *ret_type) {
  for (int i = 0; i < AON_FIELD_TYPE_COUNT; i++)
    if (!strcmp(type_names[i], name)) {
      *ret_type = (aon_field_type)i;
      return true;
    }
  return false;
}

const char *aon_field_type_name(aon_field_type type) { return type_names[type]; }

/* ---- Numbers, booleans, dates and times from cells ---- */

static void check_range(const aon_field *field, double number, aon_check *check) {
  char low[AON_NUMBER_TEXT], high[AON_NUMBER_TEXT], advice[120];
  aon_number_text(field->minimum, low);
  aon_number_text(field->maximum, high);
  if (field->has_minimum && field->has_maximum)
    snprintf(advice, sizeof advice, "Write a number from %s to %s.", low, high);
  else
    snprintf(advice, sizeof advice, field->has_minimum ? "Write %s or more." : "Write %s or less.", field->has_minimum ? low : high);
  if (field->has_minimum && number < field->minimum)
    aon_check_fail(check, "out_of_range", advice, "is less than %s", low);
  else if (field->has_maximum && number > field->maximum)
    aon_check_fail(check, "out_of_range", advice, "is more than %s", high);
}

static void read_number(const aon_field *field, const aon_cell *cell, aon_value *value, aon_check *check) {
  double number = cell->number;
  if (cell->type != AON_CELL_NUMBER && !(cell->type == AON_CELL_TEXT && aon_number_parse(aon_text_trim(cell->text), &number))) {
    aon_check_fail(check, "bad_type", "Write a number with a point and without spaces, such as 12.5.", "is not a number");
    return;
  }
  check_range(field, number, check);
  *value = (aon_value){.kind = AON_VALUE_NUMBER, .number = number};
}

/* Text of digits is exact up to 64 bits; anything else goes through a double. */
static bool whole_number(const aon_cell *cell, int64_t *ret_integer) {
  double number = cell->number;
  if (cell->type == AON_CELL_TEXT) {
    aon_text text = aon_text_trim(cell->text);
    char copy[32], *end;
    if (!aon_number_parse(text, &number))
      return false;
    snprintf(copy, sizeof copy, "%.*s", (int)(text.length < sizeof copy ? text.length : sizeof copy - 1), text.data);
    errno = 0;
    *ret_integer = strtoll(copy, &end, 10);
    if (text.length < sizeof copy && !*end && !errno)
      return true;
  } else if (cell->type != AON_CELL_NUMBER) {
    return false;
  }
  *ret_integer = fabs(number) <= EXACT_INTEGER ? (int64_t)number : 0;
  return fabs(number) <= EXACT_INTEGER && number == floor(number);
}

static aon_result read_integer(const aon_field *field, const aon_cell *cell, aon_value *value, aon_check *check, aon_error *error) {
  int64_t integer;
  if (whole_number(cell, &integer)) {
    check_range(field, (double)integer, check);
    *value = (aon_value){.kind = AON_VALUE_INTEGER, .integer = integer};
    return AON_OK;
  }
  double number;
  if (field->choices && cell->type == AON_CELL_TEXT && !aon_number_parse(aon_text_trim(cell->text), &number)) {
    value->kind = AON_VALUE_TEXT;
    return aon_check_choice(aon_text_trim(cell->text), field->choices, &value->text, check, error);
  }
  aon_check_fail(check, "bad_type", "Write a number without a fraction, such as 12.", "is not a whole number");
  return AON_OK;
}

static aon_result read_boolean(const aon_cell *cell, aon_value *value, aon_check *check, aon_error *error) {
  static const char *const words[] = {"TRUE", "FALSE", "yes", "no", NULL};
  bool known = cell->type == AON_CELL_BOOLEAN || (cell->type == AON_CELL_NUMBER && (cell->number == 0 || cell->number == 1));
  *value = (aon_value){.kind = AON_VALUE_BOOLEAN, .boolean = cell->number != 0};
  if (cell->type == AON_CELL_TEXT) {
    aon_text word = {0};
    aon_check unused = {0};
    aon_result result = aon_check_choice(aon_text_trim(cell->text), words, &word, &unused, error);
    if (result)
      return result;
    known = word.data != NULL;
    value->boolean = word.data == words[0] || word.data == words[2];
  }
  if (!known)
    aon_check_fail(check, "bad_type", "Write TRUE or FALSE.", "is neither true nor false");
  return AON_OK;
}

static void read_date(const aon_cell *cell, aon_text text, aon_check *check) {
  if (cell->type == AON_CELL_DATE && text.length > 10)
    aon_check_fail(check, "bad_format", "Write the date alone, such as 2027-01-31.", "has a time of day besides the date");
  else if (cell->type == AON_CELL_DATE || cell->type == AON_CELL_TEXT)
    aon_check_date(text, check);
  else
    aon_check_fail(check, "bad_format", "Write it as year-month-day, such as 2027-01-31, or use a date cell.", "is not a date");
}

/* A time cell has seconds, a time has none; a duration under a day with the look of a time is what a person typed as one. */
static void read_time(const aon_cell *cell, aon_text *text, aon_check *check) {
  char scratch[32];
  if (cell->type == AON_CELL_TEXT) {
    aon_check_time(*text, check);
    return;
  }
  if (cell->type == AON_CELL_DURATION && cell->number >= 0 && cell->number < 86400) {
    int minutes = (int)(cell->number / 60);
    snprintf(scratch, sizeof scratch, "%02d:%02d:%s", minutes / 60, minutes % 60, cell->number == minutes * 60.0 ? "00" : "01");
  } else if (cell->type == AON_CELL_TIME) {
    snprintf(scratch, sizeof scratch, "%.*s", (int)(text->length < sizeof scratch ? text->length : sizeof scratch - 1), text->data);
  } else {
    aon_check_fail(check, "bad_format", "Write hours and minutes of the 24-hour day, such as 08:30, or use a time cell.",
                   "is not a time of day");
    return;
  }
  aon_text minutes = {scratch, strlen(scratch) < 5 ? strlen(scratch) : 5};
  aon_check_time(minutes, check);
  if (strspn(scratch + minutes.length, ":.0") != strlen(scratch + minutes.length))
    aon_check_fail(check, "bad_format", "Write hours and minutes only, such as 08:30.", "has seconds");
  if (!check->code)
    memcpy((char *)text->data, scratch, text->length = 5); /* the text is our own copy, and has at least five bytes */
}

/* ---- One text ---- */

static void check_lengths(const aon_field *field, aon_text text, aon_check *check) {
  size_t most = field->max_characters ? field->max_characters : field->type == AON_FIELD_ID ? AON_ID_CHARACTERS : AON_TEXT_CHARACTERS;
  size_t characters = aon_text_characters(text);
  char advice[80];
  if (characters > most) {
    snprintf(advice, sizeof advice, "Shorten it to at most %zu characters.", most);
    aon_check_fail(check, "too_long", advice, "has %zu characters", characters);
  } else if (characters < field->min_characters) {
    snprintf(advice, sizeof advice, "Write at least %u characters.", field->min_characters);
    aon_check_fail(check, "out_of_range", advice, "is too short");
  }
}

static aon_result read_text(const aon_field *field, const aon_cell *cell, aon_text text, aon_arena *arena, aon_text *ret_text,
                            aon_check *check, aon_error *error) {
  aon_result result = AON_OK;
  *ret_text = text;
  switch (field->type) {
  case AON_FIELD_EMAIL:
    check_lengths(field, text, check); /* a far too long text is told so before its form is blamed */
    if (!check->code)
      result = aon_check_email(text, arena, ret_text, check, error);
    break;
  case AON_FIELD_PHONE:
    aon_check_phone(text, check);
    break;
  case AON_FIELD_LANGUAGE:
    result = aon_check_language(text, arena, ret_text, check, error);
    break;
  case AON_FIELD_COUNTRY:
    aon_check_country(text, ret_text, check);
    break;
  case AON_FIELD_TIME_ZONE:
    result = aon_check_time_zone(text, ret_text, check, error);
    break;
  case AON_FIELD_DATE:
    read_date(cell, text, check);
    break;
  case AON_FIELD_TIME:
    read_time(cell, ret_text, check);
    break;
  case AON_FIELD_CHOICE:
    result = aon_check_choice(text, field->choices, ret_text, check, error);
    break;
  default:
    break;
  }
  if (!result && field->key)
    aon_check_key(*ret_text, check);
  if (!result)
    check_lengths(field, *ret_text, check);
  return result;
}

/* One value, not blank. */
static aon_result read_one(const aon_field *field, const aon_cell *cell, aon_arena *arena, aon_value *value, aon_check *check,
                           aon_error *error) {
  aon_text text;
  aon_result result = aon_cell_text(cell, arena, &text, check, error);
  if (result || check->code)
    return result;
  switch (field->type) {
  case AON_FIELD_NUMBER:
    read_number(field, cell, value, check);
    break;
  case AON_FIELD_INTEGER:
    result = read_integer(field, cell, value, check, error);
    break;
  case AON_FIELD_BOOLEAN:
    result = read_boolean(cell, value, check, error);
    break;
  default:
    value->kind = AON_VALUE_TEXT;
    result = read_text(field, cell, text, arena, &value->text, check, error);
  }
  return result;
}

/* ---- Lists ---- */

static bool is_separator(char c, aon_field_shape shape) { return shape == AON_FIELD_LINES ? c == '\n' || c == '\r' : c == ',' || c == ';'; }

static size_t count_entries(aon_text text, aon_field_shape shape) {
  size_t count = 1;
  for (size_t i = 0; i < text.length; i++)
    count += is_separator(text.data[i], shape);
  return count;
}

/* Folded texts seen so far, as a table of hashed slots. */
typedef struct seen {
  aon_text *slots;
  size_t mask;
} seen;

static aon_result remember(seen *table, aon_text entry, aon_arena *arena, bool *ret_new, aon_error *error) {
  aon_buffer folded AON_BUFFER_CLEANUP = {0};
  aon_result result = aon_text_fold(entry.data, entry.length, &folded, error);
  if (result)
    return result;
  uint64_t hash = 1469598103934665603u; /* FNV-1a */
  for (size_t i = 0; i < folded.length; i++)
    hash = (hash ^ (unsigned char)folded.data[i]) * 1099511628211u;
  size_t slot = hash & table->mask;
  for (; table->slots[slot].data; slot = (slot + 1) & table->mask)
    if (table->slots[slot].length == folded.length && !memcmp(table->slots[slot].data, folded.data, folded.length)) {
      *ret_new = false;
      return AON_OK;
    }
  char *copy = aon_arena_text(arena, folded.data, folded.length);
  if (!copy)
    return aon_fail_memory(error);
  table->slots[slot] = (aon_text){copy, folded.length};
  *ret_new = true;
  return AON_OK;
}

aon_result aon_list_split(aon_text text, aon_field_shape shape, aon_arena *arena, aon_text **ret_entries, size_t *ret_count,
                          aon_error *error) {
  size_t most = count_entries(text, shape), count = 0, size = 4;
  while (size < most * 2)
    size *= 2;
  aon_text *entries = aon_arena_alloc(arena, most * sizeof *entries);
  seen table = {aon_arena_alloc(arena, shape == AON_FIELD_LINES ? sizeof(aon_text) : size * sizeof(aon_text)), size - 1};
  if (!entries || !table.slots)
    return aon_fail_memory(error);
  for (size_t start = 0, i = 0; i <= text.length; i++) {
    if (i < text.length && !is_separator(text.data[i], shape))
      continue;
    aon_text entry = aon_text_trim((aon_text){text.data + start, i - start});
    bool is_new = entry.length > 0;
    start = i + 1;
    if (is_new && shape != AON_FIELD_LINES) {
      aon_result result = remember(&table, entry, arena, &is_new, error);
      if (result)
        return result;
    }
    if (is_new)
      entries[count++] = entry;
  }
  *ret_entries = entries;
  *ret_count = count;
  return AON_OK;
}

static bool same_value(const aon_value *a, const aon_value *b) {
  if (a->kind != b->kind)
    return false;
  switch (a->kind) {
  case AON_VALUE_TEXT:
    return a->text.length == b->text.length && !memcmp(a->text.data, b->text.data, a->text.length);
  case AON_VALUE_INTEGER:
    return a->integer == b->integer;
  case AON_VALUE_NUMBER:
    return a->number == b->number;
  default:
    return a->boolean == b->boolean;
  }
}

/* Entries that are spelled differently may still be the same value (1 and 01). Only values of few kinds come here, so a walk will do. */
static bool already_in(const aon_value *entries, size_t count, const aon_value *value) {
  for (size_t i = 0; i < count; i++)
    if (same_value(&entries[i], value))
      return true;
  return false;
}

static bool spelling_varies(aon_field_type type) { return type != AON_FIELD_TEXT && type != AON_FIELD_ID && type != AON_FIELD_EMAIL; }

static aon_result read_list(const aon_field *field, const aon_cell *cell, aon_arena *arena, aon_value *value, aon_check *check,
                            aon_error *error) {
  aon_text text, *entries;
  size_t count, kept = 0;
  aon_field one = *field;
  one.shape = AON_FIELD_ONE;
  aon_result result = aon_cell_text(cell, arena, &text, check, error);
  if (result || check->code || (result = aon_list_split(text, field->shape, arena, &entries, &count, error)))
    return result;
  if (count > AON_LIST_ENTRIES) {
    aon_check_fail(check, "too_long", "Split it over several rows.", "has more than %d entries", AON_LIST_ENTRIES);
    return AON_OK;
  }
  aon_value *values = aon_arena_alloc(arena, (count ? count : 1) * sizeof *values);
  if (!values)
    return aon_fail_memory(error);
  for (size_t i = 0; !result && i < count; i++) {
    aon_check of_entry = {0};
    aon_cell entry = {.type = AON_CELL_TEXT, .text = entries[i]};
    result = read_one(&one, &entry, arena, &values[kept], &of_entry, error);
    aon_check_entry(check, entries[i], &of_entry, field->sensitive);
    if (!(field->shape == AON_FIELD_LIST && spelling_varies(field->type) && already_in(values, kept, &values[kept])))
      kept++;
  }
  if (kept) /* separators alone are an empty cell */
    *value = (aon_value){.kind = AON_VALUE_LIST, .entries = values, .entry_count = kept};
  return result;
}

/* ---- The whole field ---- */

aon_result aon_field_read(const aon_field *field, const aon_cell *cell, aon_arena *arena, aon_value *ret_value, aon_check *check,
                          aon_error *error) {
  aon_value value = {.kind = AON_VALUE_EMPTY};
  aon_result result = AON_OK;
  *ret_value = value;
  if (aon_cell_blank(cell))
    return AON_OK;
  if (aon_cell_clears(cell)) {
    ret_value->kind = AON_VALUE_CLEAR;
    return AON_OK;
  }
  result = field->shape == AON_FIELD_ONE ? read_one(field, cell, arena, &value, check, error)
                                         : read_list(field, cell, arena, &value, check, error);
  if (!result && !check->code)
    *ret_value = value;
  return result;
}

aon_result aon_field_read_text(const aon_field *field, aon_text text, aon_arena *arena, aon_value *ret_value, aon_check *check,
                               aon_error *error) {
  aon_cell cell = {.type = AON_CELL_TEXT, .text = text};
  return aon_field_read(field, &cell, arena, ret_value, check, error);
}
