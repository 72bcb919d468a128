/* A row as one line of JSON: {"sheet", "state", "row", "cells": [[column, type, value], …]}.
 * Types: n number, s text, b boolean, e error, d date or date and time, t time, dur seconds. */
#ifndef AON_SHEET_ROWS_JSON_H
#define AON_SHEET_ROWS_JSON_H

#include "base/buffer.h"
#include "sheet/workbook.h"

/* Appends the object, without a line end. */
aon_result aon_row_to_json(const char *sheet, aon_sheet_state state, const aon_row *row, aon_buffer *out, aon_error *error) AON_MUST_USE;
const char *aon_sheet_state_name(aon_sheet_state state); /* visible, hidden, veryHidden */
const char *aon_cell_type_name(aon_cell_type type);      /* n, s, …, dur */
/* A number as a person writes it: the shortest decimal that reads back to it, without .0. */
#define AON_NUMBER_TEXT 32
void aon_number_to_text(double number, char ret_text[AON_NUMBER_TEXT]);
#endif
