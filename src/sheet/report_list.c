/* The sheet of errors as a worksheet part, texts inline, so that it needs no other part. Source: ECMA-376 part 1, 18.3.1. */
#include "sheet/report_list.h"

#include <stdio.h>
#include <string.h>

#include "sheet/report_faults.h"

#define HEAD_ROW 4u /* behind the sentence, what to do, and an empty row */
#define TRANSITIONAL "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
#define STRICT "http://purl.oclc.org/ooxml/spreadsheetml/main"

typedef struct list_writer {
  const aon_list *list;
  aon_sink *sink;
  uint32_t styles[AON_STYLE_KINDS];
  uint32_t row;
  size_t errors, warnings; /* that are listed */
} list_writer;

static const char *const headings[] = {"Sheet", "Cell", "Heading", "Value", "Code", "What to do"};
static const unsigned widths[] = {20, 10, 24, 32, 18, 90};
#define COLUMNS (sizeof headings / sizeof *headings)

static void cell(list_writer *writer, uint32_t column, aon_style_kind style, const char *text) {
  char reference[AON_FAULT_REFERENCE];
  if (!text || !*text)
    return;
  aon_cell_reference(writer->row, column, reference);
  aon_sink_format(writer->sink, "<c r=\"%s\" s=\"%u\" t=\"inlineStr\"><is><t xml:space=\"preserve\">", reference, writer->styles[style]);
  aon_sink_escape(writer->sink, text);
  aon_sink_text(writer->sink, "</t></is></c>");
}

static void row_begin(list_writer *writer) { aon_sink_format(writer->sink, "<row r=\"%u\">", ++writer->row); }

static void row_end(list_writer *writer) { aon_sink_text(writer->sink, "</row>"); }

static void line(list_writer *writer, aon_style_kind style, const char *text) {
  row_begin(writer);
  cell(writer, 1, style, text);
  row_end(writer);
}

static void heading(list_writer *writer) {
  row_begin(writer);
  for (uint32_t i = 0; i < COLUMNS; i++)
    cell(writer, i + 1, AON_STYLE_HEAD, headings[i]);
  row_end(writer);
}

static const char *link_of(const list_writer *writer, const aon_problem *problem) {
  return aon_problem_on_cell(problem) ? writer->list->sheet_name(writer->list->context, problem->sheet) : NULL;
}

static void problem_line(list_writer *writer, const aon_problem *problem, bool linked) {
  char reference[AON_FAULT_REFERENCE] = "";
  if (problem->row && problem->column)
    aon_cell_reference(problem->row, problem->column, reference);
  row_begin(writer);
  cell(writer, 1, AON_STYLE_TEXT, problem->sheet);
  cell(writer, 2, linked ? AON_STYLE_LINK : AON_STYLE_TEXT, reference);
  cell(writer, 3, AON_STYLE_TEXT, problem->heading);
  cell(writer, 4, AON_STYLE_TEXT, problem->value);
  cell(writer, 5, AON_STYLE_TEXT, problem->code);
  cell(writer, 6, AON_STYLE_WRAP, problem->sentence);
  row_end(writer);
}

/* All errors stand on cells: then it is cells that need correction. */
static bool all_on_cells(const aon_list *list) {
  for (size_t i = 0; i < list->error_count; i++) {
    if (!list->errors[i].row || !list->errors[i].column)
      return false;
  }
  return true;
}

static void digits_grouped(uint64_t number, char text[32]) {
  char plain[24];
  int length = snprintf(plain, sizeof plain, "%llu", (unsigned long long)number), out = 0;
  for (int i = 0; i < length; i++) {
    text[out++] = plain[i];
    if ((length - i) % 3 == 1 && i + 1 < length)
      text[out++] = ',';
  }
  text[out] = 0;
}

static void summary(list_writer *writer) {
  const aon_list *list = writer->list;
  uint64_t total = list->error_count + list->more, hidden = total - writer->errors;
  char number[32], text[256];
  if (!total) {
    line(writer, AON_STYLE_TITLE,
         list->warning_count ? "No cell needs correction. The warnings are listed below." : "No cell needs correction.");
    line(writer, AON_STYLE_PLAIN, "");
  } else {
    digits_grouped(total, number);
    snprintf(text, sizeof text, "%s %s correction. Nothing was changed.", number,
             all_on_cells(list) ? (total == 1 ? "cell needs" : "cells need") : (total == 1 ? "error needs" : "errors need"));
    line(writer, AON_STYLE_TITLE, text);
    digits_grouped(hidden, number);
    snprintf(text, sizeof text, "%s%s%s",
             hidden ? "Only the first are listed; "
                    : "Correct the red cells in this workbook and upload it again. This sheet is ignored then.",
             hidden ? number : "", hidden ? " more were not kept. Correct these, upload the workbook again, and the rest will show." : "");
    line(writer, AON_STYLE_PLAIN, text);
  }
  line(writer, AON_STYLE_PLAIN, "");
}

static void rows(list_writer *writer) {
  const aon_list *list = writer->list;
  size_t links = 0;
  for (size_t i = 0; i < writer->errors; i++) {
    bool linked = links < AON_LIST_LINKS && link_of(writer, &list->errors[i]);
    links += linked;
    problem_line(writer, &list->errors[i], linked);
  }
  if (!writer->warnings)
    return;
  line(writer, AON_STYLE_PLAIN, "");
  char number[32], text[128];
  digits_grouped(list->warning_count, number);
  snprintf(text, sizeof text, "%s %s, which changed nothing about the result", number, list->warning_count == 1 ? "warning" : "warnings");
  line(writer, AON_STYLE_TITLE, text);
  heading(writer);
  for (size_t i = 0; i < writer->warnings; i++) {
    bool linked = links < AON_LIST_LINKS && link_of(writer, &list->warnings[i]);
    links += linked;
    problem_line(writer, &list->warnings[i], linked);
  }
}

/* location: 'It''s a sheet'!B7 */
static void link_write(list_writer *writer, uint32_t row, const aon_problem *problem, const char *sheet) {
  char reference[AON_FAULT_REFERENCE];
  aon_cell_reference(problem->row, problem->column, reference);
  aon_sink_format(writer->sink, "<hyperlink ref=\"B%u\" location=\"'", row);
  for (const char *at = sheet; *at;) {
    char piece[64];
    size_t length = strcspn(at, "'");
    length = length < sizeof piece ? length : sizeof piece - 1;
    while (length && at[length] && ((unsigned char)at[length] & 0xC0) == 0x80)
      length--; /* not within a character */
    memcpy(piece, at, length);
    piece[length] = 0;
    aon_sink_escape(writer->sink, piece);
    at += length;
    if (*at == '\'') {
      aon_sink_text(writer->sink, "''");
      at++;
    }
  }
  aon_sink_format(writer->sink, "'!%s\" display=\"%s\"/>", reference, reference);
}

static size_t links_write(list_writer *writer, const aon_problem *problems, size_t count, uint32_t first_row, size_t written) {
  for (size_t i = 0; i < count && written < AON_LIST_LINKS; i++) {
    const char *sheet = link_of(writer, &problems[i]);
    if (!sheet)
      continue;
    if (!written++)
      aon_sink_text(writer->sink, "<hyperlinks>");
    link_write(writer, first_row + (uint32_t)i, &problems[i], sheet);
  }
  return written;
}

static void top(list_writer *writer) {
  aon_sink_format(writer->sink,
                  "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<worksheet xmlns=\"%s\"><sheetViews><sheetView%s "
                  "workbookViewId=\"0\">"
                  "<pane ySplit=\"%u\" topLeftCell=\"A%u\" activePane=\"bottomLeft\" state=\"frozen\"/><selection pane=\"bottomLeft\" "
                  "activeCell=\"A%u\" sqref=\"A%u\"/></sheetView></sheetViews><sheetFormatPr defaultRowHeight=\"15\"/><cols>",
                  writer->list->strict ? STRICT : TRANSITIONAL, writer->list->selected ? " tabSelected=\"1\"" : "", HEAD_ROW, HEAD_ROW + 1,
                  HEAD_ROW + 1, HEAD_ROW + 1);
  for (size_t i = 0; i < COLUMNS; i++)
    aon_sink_format(writer->sink, "<col min=\"%zu\" max=\"%zu\" width=\"%u\" customWidth=\"1\"/>", i + 1, i + 1, widths[i]);
  aon_sink_text(writer->sink, "</cols><sheetData>");
}

aon_result aon_list_write(const aon_list *list, aon_styles *styles, aon_sink *sink, aon_error *error) {
  list_writer writer = {.list = list, .sink = sink};
  for (int i = 0; i < AON_STYLE_KINDS; i++) {
    aon_result result = aon_styles_own(styles, (aon_style_kind)i, &writer.styles[i], error);
    if (result)
      return result;
  }
  writer.errors = list->error_count < AON_LIST_ROWS ? list->error_count : AON_LIST_ROWS;
  writer.warnings = list->warning_count < AON_LIST_ROWS - writer.errors ? list->warning_count : AON_LIST_ROWS - writer.errors;
  top(&writer);
  summary(&writer);
  heading(&writer);
  rows(&writer);
  aon_sink_text(sink, "</sheetData>");
  if (writer.errors)
    aon_sink_format(sink, "<autoFilter ref=\"A%u:F%zu\"/>", HEAD_ROW, HEAD_ROW + writer.errors);
  size_t links = links_write(&writer, list->errors, writer.errors, HEAD_ROW + 1, 0);
  links = links_write(&writer, list->warnings, writer.warnings, HEAD_ROW + 4 + (uint32_t)writer.errors, links);
  aon_sink_text(sink, links ? "</hyperlinks></worksheet>" : "</worksheet>");
  return AON_OK;
}
