/* What one cell may hold: checks of single values and the form in which they are stored. Knows nothing of Lua, of other cells, of
 * documents or of stores.
 *
 * Two layers: aon_field_read judges a cell by the rules of its column; the aon_check_* functions judge one text.
 * A bad value is no failure: the result is AON_OK and check->code says what is wrong; the result fails only for want of memory.
 * Invariants: a text that passed is valid UTF-8, trimmed, without NUL, and in the arena or one of the tables of this file; a check of a
 * sensitive field never holds the value or a part of it.
 *
 * Sources: RFC 5321 and 6531 (email addresses), ITU-T E.164, RFC 5646 (language tags), ISO 3166-1, IANA time zone database, ISO 8601. */
#ifndef AON_PACK_TYPES_H
#define AON_PACK_TYPES_H

#include "base/arena.h"
#include "base/buffer.h"
#include "sheet/workbook.h"

/* Limits in characters (Unicode code points). */
#define AON_TEXT_CHARACTERS 200 /* of a text, or of one entry of a list, unless the field says otherwise */
#define AON_LONG_TEXT_CHARACTERS 1000
#define AON_ID_CHARACTERS 128
#define AON_LIST_ENTRIES 10000  /* of one cell */
#define AON_SHOWN_CHARACTERS 60 /* of a value inside a sentence */
#define AON_CLEAR_WORD "CLEAR"

/* What is wrong with a value, in two pieces: `problem` has the value as its subject ("is not an email address"), `advice` is a sentence
 * that says what to do, with an example. code NULL: nothing is wrong. */
typedef struct aon_check {
  const char *code; /* bad_type, bad_format, not_allowed, out_of_range, too_long, forbidden_character; required by the caller */
  char problem[2400];
  char advice[320];
  bool list;        /* problem names the bad entries of a list, each with what is wrong with it */
  uint32_t unnamed; /* further bad entries for which problem had no room */
} aon_check;

/* Fills a check that is still good; the first finding stays. advice may be "". */
void aon_check_fail(aon_check *check, const char *code, const char *advice, const char *problem, ...) __attribute__((format(printf, 4, 5)));

/* `Users!B7: “bob” is not an email address. Write one such as ann@example.com.`; shown NULL (empty or sensitive): `Users!B7: The value is
 * …`. */
aon_result aon_check_sentence(const aon_check *check, const char *sheet, uint32_t column, uint32_t row, const char *shown, aon_buffer *out,
                              aon_error *error) AON_MUST_USE;

/* ---- Cells ---- */

/* Text form, trimmed: a number as its shortest decimal, a date as ISO, a boolean TRUE or FALSE, a duration as H:MM:SS. An error cell is
 * bad_type. An empty or blank cell is the empty text (length 0). */
aon_result aon_cell_text(const aon_cell *cell, aon_arena *arena, aon_text *ret_text, aon_check *check, aon_error *error) AON_MUST_USE;
/* As shown in reports: the same, with the text of an error cell ("#N/A"); NUL-terminated; NULL for an empty one. */
aon_result aon_cell_shown(const aon_cell *cell, aon_arena *arena, const char **ret_text, aon_error *error) AON_MUST_USE;
bool aon_cell_blank(const aon_cell *cell);  /* empty, or white space only; NULL counts as empty */
bool aon_cell_clears(const aon_cell *cell); /* holds the word CLEAR and nothing else */

/* Without Unicode white space and zero-width marks (U+200B, U+2060, U+FEFF) at both ends; points into text. */
aon_text aon_text_trim(aon_text text);
size_t aon_text_characters(aon_text text);
/* Shortest decimal that reads back to the same double; point, never a group separator; exponent below 1e-7 and from 1e21. */
#define AON_NUMBER_TEXT 48
void aon_number_text(double number, char ret_text[AON_NUMBER_TEXT]);
/* The whole text as a number: sign, digits, point, exponent. */
bool aon_number_parse(aon_text text, double *ret_number);

/* ---- Fields: the rules of a column ---- */

typedef enum aon_field_type {
  AON_FIELD_TEXT,
  AON_FIELD_ID,        /* text of at most 128 characters */
  AON_FIELD_EMAIL,     /* lower-cased */
  AON_FIELD_PHONE,     /* E.164 */
  AON_FIELD_LANGUAGE,  /* BCP 47, in recommended case */
  AON_FIELD_COUNTRY,   /* ISO 3166-1 alpha-2, in capitals */
  AON_FIELD_TIME_ZONE, /* IANA, as the database spells it */
  AON_FIELD_DATE,      /* YYYY-MM-DD */
  AON_FIELD_TIME,      /* HH:MM */
  AON_FIELD_CHOICE,    /* one of field->choices, as written there */
  AON_FIELD_INTEGER,
  AON_FIELD_NUMBER,
  AON_FIELD_BOOLEAN,
  AON_FIELD_TYPE_COUNT
} aon_field_type;

/* Names as packs write them: text id email phone language country timezone date time choice integer number boolean. */
bool aon_field_type_parse(const char *name, aon_field_type *ret_type);
const char *aon_field_type_name(aon_field_type type);

typedef enum aon_field_shape {
  AON_FIELD_ONE,
  AON_FIELD_LIST, /* entries separated by , or ; in order, each once (compared folded; the first spelling stays) */
  AON_FIELD_LINES /* one entry per line, empty lines skipped, all kept */
} aon_field_shape;

typedef struct aon_field {
  aon_field_type type;
  aon_field_shape shape;
  uint32_t max_characters; /* of the text or of one entry; 0: 128 for ids, else 200 */
  uint32_t min_characters; /* fewer: out_of_range */
  bool has_minimum, has_maximum;
  double minimum, maximum;    /* INTEGER, NUMBER; both ends allowed */
  const char *const *choices; /* CHOICE: NULL-terminated; with integers too: words allowed beside numbers, as "last" among 1..31 */
  bool key;                   /* will be a key of a realtime database: . $ # [ ] / and control characters are forbidden */
  bool sensitive;             /* the check never quotes the value */
} aon_field;

typedef enum aon_value_kind {
  AON_VALUE_EMPTY,
  AON_VALUE_CLEAR,
  AON_VALUE_TEXT,
  AON_VALUE_INTEGER,
  AON_VALUE_NUMBER,
  AON_VALUE_BOOLEAN,
  AON_VALUE_LIST
} aon_value_kind;

typedef struct aon_value {
  aon_value_kind kind;
  aon_text text; /* TEXT; NUL-terminated as well */
  int64_t integer;
  double number;
  bool boolean;
  const struct aon_value *entries; /* LIST */
  size_t entry_count;
} aon_value;

/* Judges the cell (NULL: empty) and gives its canonical value; on a finding *ret_value is EMPTY. A list is judged entry by entry, and the
 * check names all its bad ones. Order of findings: form, then range. Memory in the arena. */
aon_result aon_field_read(const aon_field *field, const aon_cell *cell, aon_arena *arena, aon_value *ret_value, aon_check *check,
                          aon_error *error) AON_MUST_USE;
/* A value of a pack itself (a default): the same for a text. */
aon_result aon_field_read_text(const aon_field *field, aon_text text, aon_arena *arena, aon_value *ret_value, aon_check *check,
                               aon_error *error) AON_MUST_USE;

/* ---- Single texts; all trimmed before; *ret_text is the canonical form ---- */

aon_result aon_check_email(aon_text text, aon_arena *arena, aon_text *ret_text, aon_check *check, aon_error *error) AON_MUST_USE;
aon_result aon_check_language(aon_text text, aon_arena *arena, aon_text *ret_text, aon_check *check, aon_error *error) AON_MUST_USE;
void aon_check_phone(aon_text text, aon_check *check);
void aon_check_country(aon_text text, aon_text *ret_text, aon_check *check);
aon_result aon_check_time_zone(aon_text text, aon_text *ret_text, aon_check *check, aon_error *error) AON_MUST_USE;
void aon_check_date(aon_text text, aon_check *check); /* YYYY-MM-DD, a day of the calendar */
void aon_check_time(aon_text text, aon_check *check); /* HH:MM */
aon_result aon_check_choice(aon_text text, const char *const *choices, aon_text *ret_text, aon_check *check, aon_error *error) AON_MUST_USE;
/* Characters forbidden in keys of a realtime database. */
void aon_check_key(aon_text text, aon_check *check);
/* An organization that a realtime database or Firestore can hold: a key, neither "." nor "..", nor "__x__", at most 128 characters. */
void aon_check_organization(aon_text text, aon_check *check);

/* ---- Lists ---- */

/* Splits at , and ; (or at line ends); entries trimmed, empty ones dropped. LIST: entries that fold to the same are one. Points into text.
 */
aon_result aon_list_split(aon_text text, aon_field_shape shape, aon_arena *arena, aon_text **ret_entries, size_t *ret_count,
                          aon_error *error) AON_MUST_USE;
/* Adds the finding of one entry to that of its list: the code of the first, all bad entries named. */
void aon_check_entry(aon_check *list, aon_text entry, const aon_check *one, bool sensitive);
/* The nearest of candidates (compared folded), NULL: none is near. For "did you mean". */
aon_result aon_nearest(aon_text text, const char *const *candidates, size_t count, const char **ret_nearest, aon_error *error) AON_MUST_USE;
#endif
