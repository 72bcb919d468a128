/* Templates, written part by part like reports: through the environment, so that a disk that is full or a folder that isn't ours says so
 * as everywhere, and the same pack gives the same file.
 *
 * Lists that a cell's rule can't hold stand on a hidden sheet, a column each. The notes' author isn't that of a report's comments: a
 * report of a filled-in template keeps them. Source: ECMA-376 part 1, 18.3.1 and 18.8. */
#include "sheet/template.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "sheet/report_archive.h"
#include "sheet/report_book.h"
#include "sheet/report_notes.h"

#define LIST_SHEET "Allornone lists"
#define NOTE_AUTHOR "Allornone template"
#define LIST_CHARACTERS 255 /* of a list within a cell's rule: Excel's limit */
#define NAME_CHARACTERS 31  /* of a sheet's name, likewise */
#define LAST_ROW 1048576u
#define WIDTH_LEAST 10u
#define WIDTH_MOST 40u
#define RELATIONS "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
#define PACKAGE "http://schemas.openxmlformats.org/package/2006"
#define MAIN "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
#define DECLARATION "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n"

typedef enum format { FORMAT_NONE, FORMAT_HEADING, FORMAT_TEXT, FORMAT_DATE, FORMAT_TIME, FORMAT_WRAPPED } format;

static const char styles[] = DECLARATION
    "<styleSheet xmlns=\"" MAIN "\"><numFmts count=\"2\"><numFmt numFmtId=\"164\" formatCode=\"yyyy\\-mm\\-dd\"/><numFmt numFmtId=\"165\" "
    "formatCode=\"hh:mm\"/></numFmts><fonts count=\"2\"><font><sz val=\"11\"/><name val=\"Calibri\"/><family "
    "val=\"2\"/></font><font><b/><sz val=\"11\"/>"
    "<name val=\"Calibri\"/><family val=\"2\"/></font></fonts><fills count=\"2\"><fill><patternFill "
    "patternType=\"none\"/></fill><fill><patternFill "
    "patternType=\"gray125\"/></fill></fills><borders "
    "count=\"2\"><border><left/><right/><top/><bottom/><diagonal/></border><border><left/><right/><top/>"
    "<bottom style=\"thin\"><color auto=\"1\"/></bottom><diagonal/></border></borders><cellStyleXfs count=\"1\"><xf numFmtId=\"0\" "
    "fontId=\"0\" fillId=\"0\" "
    "borderId=\"0\"/></cellStyleXfs><cellXfs count=\"6\"><xf numFmtId=\"0\" fontId=\"0\" fillId=\"0\" borderId=\"0\" xfId=\"0\"/><xf "
    "numFmtId=\"0\" fontId=\"1\" "
    "fillId=\"0\" borderId=\"1\" xfId=\"0\" applyFont=\"1\" applyBorder=\"1\"/><xf numFmtId=\"49\" fontId=\"0\" fillId=\"0\" "
    "borderId=\"0\" xfId=\"0\" "
    "applyNumberFormat=\"1\"/><xf numFmtId=\"164\" fontId=\"0\" fillId=\"0\" borderId=\"0\" xfId=\"0\" applyNumberFormat=\"1\"/><xf "
    "numFmtId=\"165\" fontId=\"0\" "
    "fillId=\"0\" borderId=\"0\" xfId=\"0\" applyNumberFormat=\"1\"/><xf numFmtId=\"0\" fontId=\"0\" fillId=\"0\" borderId=\"0\" "
    "xfId=\"0\" applyAlignment=\"1\">"
    "<alignment wrapText=\"1\"/></xf></cellXfs><cellStyles count=\"1\"><cellStyle name=\"Normal\" xfId=\"0\" "
    "builtinId=\"0\"/></cellStyles></styleSheet>";

typedef struct template_writer {
  aon_archive *archive;
  const aon_template_sheet *sheets;
  size_t count;
  const char *const **lists; /* those of the hidden sheet, by column */
  size_t list_count;
  aon_arena arena;
} template_writer;

/* --- what is asked for --- */

static aon_result name_check(const aon_template_sheet *sheets, size_t index, aon_error *error) {
  const char *name = sheets[index].name;
  size_t units = 0;
  for (const char *at = name; *at; at++)
    units += ((unsigned char)*at & 0xC0) == 0x80 ? 0 : (unsigned char)*at >= 0xF0 ? 2 : 1;
  bool twice = !strcasecmp(name, LIST_SHEET);
  for (size_t i = 0; i < index; i++)
    twice = twice || !strcasecmp(name, sheets[i].name);
  if (!units || units > NAME_CHARACTERS || strpbrk(name, "[]:*?/\\") || name[0] == '\'' || name[strlen(name) - 1] == '\'' || twice)
    return aon_fail(
        error, AON_USAGE, "bad_template",
        "The template can't have a sheet named “%s”: a name has 1 to %d characters, none of [ ] : * ? / \\ and stands only once.", name,
        NAME_CHARACTERS);
  return AON_OK;
}

/* In a rule entries are separated by commas, and the whole is bounded. */
static bool list_fits(const char *const *choices) {
  size_t length = 0;
  for (size_t i = 0; choices[i]; i++) {
    if (strpbrk(choices[i], ",\""))
      return false;
    length += strlen(choices[i]) + (i > 0);
  }
  return length <= LIST_CHARACTERS;
}

static bool has_list(const aon_template_column *column) { return column->choices && column->choices[0]; }

/* The hidden sheet's column, from 0, that holds a list; their number if none does. */
static size_t list_column(const template_writer *writer, const char *const *choices) {
  size_t column = 0;
  while (column < writer->list_count && writer->lists[column] != choices)
    column++;
  return column;
}

static aon_result plan(template_writer *writer, aon_error *error) {
  size_t columns = 0;
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < writer->count; i++) {
    columns += writer->sheets[i].column_count;
    result = name_check(writer->sheets, i, error);
  }
  if (result)
    return result;
  writer->lists = aon_arena_alloc(&writer->arena, columns * sizeof *writer->lists);
  if (!writer->lists)
    return aon_fail_memory(error);
  for (size_t i = 0; i < writer->count; i++) {
    for (size_t j = 0; j < writer->sheets[i].column_count; j++) {
      const aon_template_column *column = &writer->sheets[i].columns[j];
      if (has_list(column) && !list_fits(column->choices) && list_column(writer, column->choices) == writer->list_count)
        writer->lists[writer->list_count++] = column->choices;
    }
  }
  return AON_OK;
}

static bool has_example(const aon_template_sheet *sheet) {
  for (size_t i = 0; i < sheet->column_count; i++) {
    if (sheet->columns[i].example)
      return true;
  }
  return false;
}

static bool has_note(const aon_template_sheet *sheet, size_t column) {
  return sheet->columns[column].note || (column == 0 && (sheet->note || has_example(sheet)));
}

/* --- values --- */

/* Days from 1899-12-30 (the 1900 epoch from March 1900 on); false if the text is no date. */
static bool date_serial(const char *text, double *ret_serial) {
  static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
  int year, month, day, end = 0;
  if (sscanf(text, "%4d-%2d-%2d%n", &year, &month, &day, &end) != 3 || text[end] || year < 1901 || month < 1 || month > 12 || day < 1 ||
      day > 31)
    return false;
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  int past = year - 1; /* whole years before */
  *ret_serial = past * 365 + past / 4 - past / 100 + past / 400 + before[month - 1] + (leap && month > 2) + day - 693594;
  return true;
}

static bool time_serial(const char *text, double *ret_serial) {
  int hours, minutes, end = 0;
  if (sscanf(text, "%2d:%2d%n", &hours, &minutes, &end) != 2 || text[end] || hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
    return false;
  *ret_serial = (hours * 60 + minutes) / 1440.0;
  return true;
}

static bool number_of(const char *text, double *ret_number) {
  char *end;
  *ret_number = strtod(text, &end);
  return *text && !*end && isfinite(*ret_number);
}

static format format_of(const aon_template_column *column) {
  if (column->text_format)
    return FORMAT_TEXT;
  return column->example_type == 'd' ? FORMAT_DATE : column->example_type == 't' ? FORMAT_TIME : FORMAT_NONE;
}

static void text_cell(aon_sink *sink, uint32_t row, uint32_t column, format style, const char *text) {
  char reference[AON_FAULT_REFERENCE];
  aon_cell_reference(row, column, reference);
  aon_sink_format(sink, "<c r=\"%s\" s=\"%d\" t=\"inlineStr\"><is><t xml:space=\"preserve\">", reference, (int)style);
  aon_sink_escape(sink, text);
  aon_sink_text(sink, "</t></is></c>");
}

static void example_cell(aon_sink *sink, uint32_t at, const aon_template_column *column) {
  double number = 0;
  bool numeric = !column->text_format && ((column->example_type == 'd' && date_serial(column->example, &number)) ||
                                          (column->example_type == 't' && time_serial(column->example, &number)) ||
                                          (column->example_type == 'n' && number_of(column->example, &number)));
  if (!numeric) {
    format style = format_of(column);
    text_cell(sink, 2, at, style == FORMAT_NONE && strchr(column->example, '\n') ? FORMAT_WRAPPED : style, column->example);
    return;
  }
  char reference[AON_FAULT_REFERENCE];
  aon_cell_reference(2, at, reference);
  aon_sink_format(sink, "<c r=\"%s\" s=\"%d\"><v>%.17g</v></c>", reference, (int)format_of(column), number);
}

/* --- a sheet --- */

static size_t characters(const char *text) {
  size_t count = 0;
  for (; text && *text && *text != '\n'; text++)
    count += ((unsigned char)*text & 0xC0) != 0x80;
  return count;
}

static unsigned width_of(const aon_template_column *column) {
  size_t heading = characters(column->heading), example = characters(column->example), most = (heading > example ? heading : example) + 2;
  return most < WIDTH_LEAST ? WIDTH_LEAST : most > WIDTH_MOST ? WIDTH_MOST : (unsigned)most;
}

static void rows_write(const aon_template_sheet *sheet, aon_sink *sink) {
  aon_sink_text(sink, "<sheetData><row r=\"1\">");
  for (uint32_t i = 0; i < sheet->column_count; i++)
    text_cell(sink, 1, i + 1, FORMAT_HEADING, sheet->columns[i].heading);
  aon_sink_text(sink, "</row>");
  if (has_example(sheet)) {
    aon_sink_text(sink, "<row r=\"2\">");
    for (uint32_t i = 0; i < sheet->column_count; i++) {
      if (sheet->columns[i].example)
        example_cell(sink, i + 1, &sheet->columns[i]);
    }
    aon_sink_text(sink, "</row>");
  }
  aon_sink_text(sink, "</sheetData>");
}

static void letters_of(uint32_t column, char letters[AON_FAULT_REFERENCE]) {
  aon_cell_reference(1, column, letters);
  letters[strlen(letters) - 1] = 0;
}

/* A drop-down; other input is questioned, not refused: the pack knows more (CLEAR, other case) than the list. */
static void list_write(const template_writer *writer, uint32_t at, const char *const *choices, aon_sink *sink) {
  char letters[AON_FAULT_REFERENCE];
  letters_of(at, letters);
  aon_sink_format(
      sink,
      "<dataValidation type=\"list\" errorStyle=\"warning\" allowBlank=\"1\" showErrorMessage=\"1\" errorTitle=\"Not in the list\" "
      "error=\"This isn't one of the values in the list.\" sqref=\"%s2:%s%u\"><formula1>",
      letters, letters, LAST_ROW);
  size_t list = list_column(writer, choices), length = 0;
  if (list == writer->list_count) {
    aon_sink_text(sink, "\"");
    for (size_t i = 0; choices[i]; i++) {
      aon_sink_text(sink, i ? "," : "");
      aon_sink_escape(sink, choices[i]);
    }
    aon_sink_text(sink, "\"");
  } else {
    while (choices[length])
      length++;
    letters_of((uint32_t)list + 1, letters);
    aon_sink_format(sink, "'" LIST_SHEET "'!$%s$1:$%s$%zu", letters, letters, length);
  }
  aon_sink_text(sink, "</formula1></dataValidation>");
}

static void lists_write(const template_writer *writer, const aon_template_sheet *sheet, aon_sink *sink) {
  size_t count = 0;
  for (size_t i = 0; i < sheet->column_count; i++)
    count += has_list(&sheet->columns[i]);
  if (!count)
    return;
  aon_sink_format(sink, "<dataValidations count=\"%zu\">", count);
  for (uint32_t i = 0; i < sheet->column_count; i++) {
    if (has_list(&sheet->columns[i]))
      list_write(writer, i + 1, sheet->columns[i].choices, sink);
  }
  aon_sink_text(sink, "</dataValidations>");
}

static size_t notes_count(const aon_template_sheet *sheet) {
  size_t count = 0;
  for (size_t i = 0; i < sheet->column_count; i++)
    count += has_note(sheet, i);
  return count;
}

static aon_result sheet_write(template_writer *writer, size_t index, aon_error *error) {
  const aon_template_sheet *sheet = &writer->sheets[index];
  char name[64];
  snprintf(name, sizeof name, "xl/worksheets/sheet%zu.xml", index + 1);
  aon_sink sink = aon_archive_begin(writer->archive, name);
  aon_sink_format(
      &sink,
      DECLARATION
      "<worksheet xmlns=\"" MAIN "\" xmlns:r=\"" RELATIONS "\"><sheetViews><sheetView%s workbookViewId=\"0\"><pane ySplit=\"1\" "
      "topLeftCell=\"A2\" activePane=\"bottomLeft\" state=\"frozen\"/><selection pane=\"bottomLeft\" activeCell=\"A2\" sqref=\"A2\"/>"
      "</sheetView></sheetViews><sheetFormatPr defaultRowHeight=\"15\"/>",
      index ? "" : " tabSelected=\"1\"");
  aon_sink_text(&sink, sheet->column_count ? "<cols>" : "");
  for (size_t i = 0; i < sheet->column_count; i++)
    aon_sink_format(&sink, "<col min=\"%zu\" max=\"%zu\" width=\"%u\" customWidth=\"1\" style=\"%d\"/>", i + 1, i + 1,
                    width_of(&sheet->columns[i]), (int)format_of(&sheet->columns[i]));
  aon_sink_text(&sink, sheet->column_count ? "</cols>" : "");
  rows_write(sheet, &sink);
  lists_write(writer, sheet, &sink);
  aon_sink_text(&sink, notes_count(sheet) ? "<legacyDrawing r:id=\"rId2\"/></worksheet>" : "</worksheet>");
  return aon_archive_end(writer->archive, &sink, error);
}

/* --- notes --- */

static void note_write(const aon_template_sheet *sheet, uint32_t column, aon_sink *sink) {
  const char *parts[3] = {column == 0 && has_example(sheet) ? "Row 2 is an example: replace it." : NULL, column == 0 ? sheet->note : NULL,
                          sheet->columns[column].note};
  char reference[AON_FAULT_REFERENCE];
  aon_cell_reference(1, column + 1, reference);
  aon_sink_format(sink, "<comment ref=\"%s\" authorId=\"0\"><text><r><t xml:space=\"preserve\">", reference);
  bool any = false;
  for (size_t i = 0; i < 3; i++) {
    if (!parts[i] || !*parts[i])
      continue;
    aon_sink_text(sink, any ? "\n" : "");
    aon_sink_escape(sink, parts[i]);
    any = true;
  }
  aon_sink_text(sink, "</t></r></text></comment>");
}

static aon_result comments_write(template_writer *writer, size_t index, aon_error *error) {
  const aon_template_sheet *sheet = &writer->sheets[index];
  char name[64];
  snprintf(name, sizeof name, "xl/comments%zu.xml", index + 1);
  aon_sink sink = aon_archive_begin(writer->archive, name);
  aon_sink_text(&sink, DECLARATION "<comments xmlns=\"" MAIN "\"><authors><author>" NOTE_AUTHOR "</author></authors><commentList>");
  for (uint32_t i = 0; i < sheet->column_count; i++) {
    if (has_note(sheet, i))
      note_write(sheet, i, &sink);
  }
  aon_sink_text(&sink, "</commentList></comments>");
  return aon_archive_end(writer->archive, &sink, error);
}

/* A drawing wants the cells that have a note, which is what faults are. */
static aon_result drawing_write(template_writer *writer, size_t index, aon_error *error) {
  const aon_template_sheet *sheet = &writer->sheets[index];
  aon_faults cells = {.items = aon_arena_alloc(&writer->arena, sheet->column_count * sizeof *cells.items)};
  if (!cells.items)
    return aon_fail_memory(error);
  for (uint32_t i = 0; i < sheet->column_count; i++) {
    if (has_note(sheet, i))
      cells.items[cells.count++] = (aon_fault){.row = 1, .column = i + 1};
  }
  aon_notes notes = {.faults = &cells};
  char name[64];
  snprintf(name, sizeof name, "xl/drawings/vmlDrawing%zu.vml", index + 1);
  aon_sink sink = aon_archive_begin(writer->archive, name);
  aon_notes_drawing_new(&notes, &sink);
  return aon_archive_end(writer->archive, &sink, error);
}

static aon_result notes_write(template_writer *writer, size_t index, aon_error *error) {
  if (!notes_count(&writer->sheets[index]))
    return AON_OK;
  char name[64];
  snprintf(name, sizeof name, "xl/worksheets/_rels/sheet%zu.xml.rels", index + 1);
  aon_sink sink = aon_archive_begin(writer->archive, name);
  aon_sink_format(&sink,
                  DECLARATION "<Relationships xmlns=\"" PACKAGE "/relationships\"><Relationship Id=\"rId1\" Type=\"" RELATIONS
                              "/comments\" Target=\"../comments%zu.xml\"/><Relationship Id=\"rId2\" Type=\"" RELATIONS
                              "/vmlDrawing\" Target=\"../drawings/vmlDrawing%zu.vml\"/></Relationships>",
                  index + 1, index + 1);
  aon_result result = aon_archive_end(writer->archive, &sink, error);
  if (!result)
    result = comments_write(writer, index, error);
  return result ? result : drawing_write(writer, index, error);
}

/* --- the package --- */

static aon_result hidden_write(template_writer *writer, aon_error *error) {
  if (!writer->list_count)
    return AON_OK;
  char name[64];
  snprintf(name, sizeof name, "xl/worksheets/sheet%zu.xml", writer->count + 1);
  aon_sink sink = aon_archive_begin(writer->archive, name);
  aon_sink_text(&sink, DECLARATION "<worksheet xmlns=\"" MAIN "\"><sheetData>");
  bool *ended = aon_arena_alloc(&writer->arena, writer->list_count * sizeof *ended);
  if (!ended)
    return aon_fail_memory(error);
  size_t left = writer->list_count;
  for (uint32_t row = 1; left; row++) {
    aon_sink_format(&sink, "<row r=\"%u\">", row);
    for (uint32_t i = 0; i < writer->list_count; i++) {
      if (ended[i])
        continue;
      text_cell(&sink, row, i + 1, FORMAT_TEXT, writer->lists[i][row - 1]);
      ended[i] = !writer->lists[i][row];
      left -= ended[i];
    }
    aon_sink_text(&sink, "</row>");
  }
  aon_sink_text(&sink, "</sheetData></worksheet>");
  return aon_archive_end(writer->archive, &sink, error);
}

static aon_result types_write(template_writer *writer, aon_error *error) {
  aon_sink sink = aon_archive_begin(writer->archive, "[Content_Types].xml");
  aon_sink_text(&sink,
                DECLARATION "<Types xmlns=\"" PACKAGE "/content-types\"><Default Extension=\"rels\" "
                            "ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/><Default Extension=\"xml\" "
                            "ContentType=\"application/xml\"/>"
                            "<Default Extension=\"vml\" ContentType=\"" AON_TYPE_DRAWING "\"/><Override PartName=\"/xl/workbook.xml\" "
                            "ContentType=\"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml\"/>"
                            "<Override PartName=\"/xl/styles.xml\" ContentType=\"" AON_TYPE_STYLES "\"/>");
  for (size_t i = 0; i < writer->count + (writer->list_count > 0); i++) {
    aon_sink_format(&sink, "<Override PartName=\"/xl/worksheets/sheet%zu.xml\" ContentType=\"" AON_TYPE_WORKSHEET "\"/>", i + 1);
    if (i < writer->count && notes_count(&writer->sheets[i]))
      aon_sink_format(&sink, "<Override PartName=\"/xl/comments%zu.xml\" ContentType=\"" AON_TYPE_COMMENTS "\"/>", i + 1);
  }
  aon_sink_text(&sink, "</Types>");
  return aon_archive_end(writer->archive, &sink, error);
}

static aon_result book_write(template_writer *writer, aon_error *error) {
  aon_sink sink = aon_archive_begin(writer->archive, "xl/workbook.xml");
  aon_sink_text(&sink, DECLARATION "<workbook xmlns=\"" MAIN "\" xmlns:r=\"" RELATIONS
                                   "\"><bookViews><workbookView activeTab=\"0\"/></bookViews><sheets>");
  for (size_t i = 0; i < writer->count; i++) {
    aon_sink_text(&sink, "<sheet name=\"");
    aon_sink_escape(&sink, writer->sheets[i].name);
    aon_sink_format(&sink, "\" sheetId=\"%zu\" r:id=\"rId%zu\"/>", i + 1, i + 1);
  }
  if (writer->list_count)
    aon_sink_format(&sink, "<sheet name=\"" LIST_SHEET "\" sheetId=\"%zu\" state=\"hidden\" r:id=\"rId%zu\"/>", writer->count + 1,
                    writer->count + 1);
  aon_sink_text(&sink, "</sheets></workbook>");
  return aon_archive_end(writer->archive, &sink, error);
}

static aon_result relations_write(template_writer *writer, aon_error *error) {
  aon_sink sink = aon_archive_begin(writer->archive, "_rels/.rels");
  aon_sink_text(&sink, DECLARATION "<Relationships xmlns=\"" PACKAGE "/relationships\"><Relationship Id=\"rId1\" Type=\"" RELATIONS
                                   "/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>");
  aon_result result = aon_archive_end(writer->archive, &sink, error);
  if (result)
    return result;
  size_t sheets = writer->count + (writer->list_count > 0);
  sink = aon_archive_begin(writer->archive, "xl/_rels/workbook.xml.rels");
  aon_sink_text(&sink, DECLARATION "<Relationships xmlns=\"" PACKAGE "/relationships\">");
  for (size_t i = 1; i <= sheets; i++)
    aon_sink_format(&sink, "<Relationship Id=\"rId%zu\" Type=\"" RELATIONS "/worksheet\" Target=\"worksheets/sheet%zu.xml\"/>", i, i);
  aon_sink_format(&sink, "<Relationship Id=\"rId%zu\" Type=\"" RELATIONS "/styles\" Target=\"styles.xml\"/></Relationships>", sheets + 1);
  return aon_archive_end(writer->archive, &sink, error);
}

static aon_result all_write(template_writer *writer, aon_error *error) {
  aon_result result = types_write(writer, error);
  if (!result)
    result = relations_write(writer, error);
  if (!result)
    result = book_write(writer, error);
  if (result)
    return result;
  aon_sink sink = aon_archive_begin(writer->archive, "xl/styles.xml");
  aon_sink_text(&sink, styles);
  result = aon_archive_end(writer->archive, &sink, error);
  for (size_t i = 0; !result && i < writer->count; i++) {
    result = sheet_write(writer, i, error);
    if (!result)
      result = notes_write(writer, i, error);
  }
  if (!result)
    result = hidden_write(writer, error);
  return result ? result : aon_archive_finish(writer->archive, error);
}

static aon_result aside_write(aon_env *env, const char *aside, template_writer *writer, aon_error *error) {
  aon_result result = plan(writer, error);
  if (!result)
    result = aon_archive_open(env, aside, &writer->archive, error);
  if (!result)
    result = all_write(writer, error);
  aon_archive_close(writer->archive);
  return result;
}

aon_result aon_template_write(aon_env *env, const char *output, const aon_template_sheet *sheets, size_t count, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer aside = {0};
  if (!count)
    return aon_fail(error, AON_USAGE, "bad_template", "This pack has no sheets, so there is no template to write.");
  aon_result result = aon_buffer_format(&aside, error, "%s.part", output);
  if (result)
    return result;
  template_writer writer = {.sheets = sheets, .count = count};
  result = aside_write(env, aside.data, &writer, error);
  aon_arena_release(&writer.arena);
  if (!result)
    result = env->ops->file_rename(env->context, aside.data, output, error);
  if (result && env->ops->file_remove(env->context, aside.data, NULL))
    aon_log(env, AON_LOG_WARNING, "“%s” is left behind: it can't be removed.", aside.data);
  return result;
}
