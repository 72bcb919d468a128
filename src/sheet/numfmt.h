/* What a number format makes of a number: is it a date or time, a duration, or a plain number?
 * Source: ECMA-376 part 1, 18.8.30 (numFmt) and 18.8.31 (numFmts). */
#ifndef AON_SHEET_NUMFMT_H
#define AON_SHEET_NUMFMT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum aon_numfmt { AON_NUMFMT_PLAIN = 0, AON_NUMFMT_DATE, AON_NUMFMT_DURATION } aon_numfmt;

aon_numfmt aon_numfmt_of_code(const char *code, size_t length);
aon_numfmt aon_numfmt_of_id(uint32_t id); /* the built-in ones */

/* A serial number as text. false: it is before the epoch's first day or after 9999, so it stays a number. */
#define AON_SERIAL_TEXT 32
typedef struct aon_serial {
  char text[AON_SERIAL_TEXT]; /* date, date and time, or time; NUL-terminated */
  size_t length;
  bool is_time;
} aon_serial;
bool aon_serial_format(double serial, bool date1904, aon_serial *ret_serial);
/* ISO 8601 as cells of type d have it, made into the same spelling. */
bool aon_serial_from_iso(const char *text, size_t length, aon_serial *ret_serial);
#endif
