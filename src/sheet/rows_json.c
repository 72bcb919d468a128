/* Rows as JSON lines. */
#include "sheet/rows_json.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/document.h"

const char *aon_sheet_state_name(aon_sheet_state state) {
  static const char *const names[] = {"visible", "hidden", "veryHidden"};
  return names[state];
}

const char *aon_cell_type_name(aon_cell_type type) {
  switch (type) {
  case AON_CELL_NUMBER:
    return "n";
  case AON_CELL_BOOLEAN:
    return "b";
  case AON_CELL_ERROR:
    return "e";
  case AON_CELL_DATE:
    return "d";
  case AON_CELL_TIME:
    return "t";
  case AON_CELL_DURATION:
    return "dur";
  default:
    return "s";
  }
}

void aon_number_to_text(double number, char ret_text[AON_NUMBER_TEXT]) {
  if (number == 0 || (fabs(number) < 1e15 && number == floor(number))) {
    snprintf(ret_text, AON_NUMBER_TEXT, "%lld", (long long)number);
    return;
  }
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(ret_text, AON_NUMBER_TEXT, "%.*g", digits, number);
    if (strtod(ret_text, NULL) == number)
      break;
  }
  for (char *at = ret_text; *at; at++) { /* the decimal point of another locale */
    if (!strchr("+-0123456789e", *at))
      *at = '.';
  }
}

static aon_result put_cell(const aon_cell *cell, aon_buffer *out, aon_error *error) {
  char number[AON_NUMBER_TEXT];
  aon_result result = aon_buffer_format(out, error, "[%u,\"%s\",", cell->column, aon_cell_type_name(cell->type));
  if (result)
    return result;
  if (cell->type == AON_CELL_NUMBER || cell->type == AON_CELL_DURATION) {
    aon_number_to_text(cell->number, number);
    result = aon_buffer_text(out, number, error);
  } else if (cell->type == AON_CELL_BOOLEAN) {
    result = aon_buffer_text(out, cell->number != 0 ? "true" : "false", error);
  } else {
    result = aon_text_to_json(cell->text.data, cell->text.length, out, error);
  }
  return result ? result : aon_buffer_append(out, "]", 1, error);
}

aon_result aon_row_to_json(const char *sheet, aon_sheet_state state, const aon_row *row, aon_buffer *out, aon_error *error) {
  aon_result result = aon_buffer_text(out, "{\"sheet\":", error);
  if (!result)
    result = aon_text_to_json(sheet, strlen(sheet), out, error);
  if (!result)
    result = aon_buffer_format(out, error, ",\"state\":\"%s\",\"row\":%u,\"cells\":[", aon_sheet_state_name(state), row->number);
  for (size_t i = 0; !result && i < row->count; i++) {
    if (i)
      result = aon_buffer_append(out, ",", 1, error);
    if (!result)
      result = put_cell(&row->cells[i], out, error);
  }
  return result ? result : aon_buffer_text(out, "]}", error);
}
