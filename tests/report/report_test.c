/* What a report and a template promise, on packages made by hand: parts that nobody writes in a spreadsheet program, but that exist. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "sheet/report.h"
#include "sheet/report_archive.h"
#include "sheet/report_relations.h"
#include "sheet/template.h"

#define MAIN "xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\""
#define RELATIONS "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
#define PACKAGE "http://schemas.openxmlformats.org/package/2006"

typedef struct fixture {
  aon_env *env;
  char folder[64], input[96], output[96];
} fixture;

static int set_up(void **state) {
  fixture *all = calloc(1, sizeof *all);
  assert_non_null(all);
  strcpy(all->folder, "/tmp/aon-report-XXXXXX");
  assert_non_null(mkdtemp(all->folder));
  snprintf(all->input, sizeof all->input, "%s/input.xlsx", all->folder);
  snprintf(all->output, sizeof all->output, "%s/output.xlsx", all->folder);
  assert_int_equal(aon_env_open(AON_LOG_ERROR, 0, 0, &all->env, NULL), AON_OK);
  *state = all;
  return 0;
}

static int tear_down(void **state) {
  fixture *all = *state;
  char command[128];
  snprintf(command, sizeof command, "rm -r '%s'", all->folder);
  assert_int_equal(system(command), 0);
  aon_env_close(all->env);
  free(all);
  return 0;
}

/* --- packages --- */

typedef struct part {
  const char *name, *text;
  size_t length; /* 0: of the text */
} part;

static const char types[] =
    "<Types xmlns=\"" PACKAGE "/content-types\"><Default Extension=\"rels\" ContentType=\"application/vnd.openxmlformats-package."
    "relationships+xml\"/><Default Extension=\"xml\" ContentType=\"application/xml\"/></Types>";
static const char root_relations[] = "<Relationships xmlns=\"" PACKAGE "/relationships\"><Relationship Id=\"r1\" Type=\"" RELATIONS
                                     "/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>";
static const char book_relations[] = "<Relationships xmlns=\"" PACKAGE "/relationships\"><Relationship Id=\"r1\" Type=\"" RELATIONS
                                     "/worksheet\" Target=\"worksheets/sheet1.xml\"/></Relationships>";
static const char book[] =
    "<workbook " MAIN " xmlns:r=\"" RELATIONS "\"><sheets><sheet name=\"Data\" sheetId=\"7\" r:id=\"r1\"/></sheets></workbook>";

static void package_write(fixture *all, const char *path, const part *parts, size_t count) {
  aon_archive *archive = NULL;
  assert_int_equal(aon_archive_open(all->env, path, &archive, NULL), AON_OK);
  for (size_t i = 0; i < count; i++) {
    aon_sink sink = aon_archive_begin(archive, parts[i].name);
    aon_sink_put(&sink, parts[i].text, parts[i].length ? parts[i].length : strlen(parts[i].text));
    assert_int_equal(aon_archive_end(archive, &sink, NULL), AON_OK);
  }
  assert_int_equal(aon_archive_finish(archive, NULL), AON_OK);
  aon_archive_close(archive);
}

/* A workbook of one sheet, given its part. */
static void sheet_given(fixture *all, const char *sheet, size_t length) {
  const part parts[] = {{"[Content_Types].xml", types, 0},
                        {"_rels/.rels", root_relations, 0},
                        {"xl/workbook.xml", book, 0},
                        {"xl/_rels/workbook.xml.rels", book_relations, 0},
                        {"xl/worksheets/sheet1.xml", sheet, length}};
  package_write(all, all->input, parts, 5);
}

static char *part_text(fixture *all, const char *path, const char *name) {
  aon_package *package = NULL;
  aon_buffer buffer = {0};
  size_t index;
  assert_int_equal(aon_package_open(all->env, path, NULL, &package, NULL), AON_OK);
  if (!aon_package_find(package, name, &index))
    fail_msg("%s has no %s", path, name);
  assert_int_equal(aon_part_load(package, index, &buffer, NULL), AON_OK);
  aon_package_close(package);
  return buffer.data;
}

static void has(fixture *all, const char *name, const char *text) {
  char *bytes = part_text(all, all->output, name);
  if (!strstr(bytes, text))
    fail_msg("%s lacks %s; it is: %s", name, text, bytes);
  free(bytes);
}

static void has_not(fixture *all, const char *name, const char *text) {
  char *bytes = part_text(all, all->output, name);
  if (strstr(bytes, text))
    fail_msg("%s has %s; it is: %s", name, text, bytes);
  free(bytes);
}

static aon_problem fault(uint32_t row, uint32_t column) {
  return (aon_problem){
      .sheet = "Data", .row = row, .column = column, .heading = "H", .value = "v", .code = "required", .sentence = "Fill it in."};
}

static aon_result report(fixture *all, const aon_problem *errors, size_t count, aon_error *error) {
  return aon_report_write(all->env, all->input, all->output, NULL, errors, count, NULL, 0, 0, error);
}

static void reported(fixture *all, const aon_problem *errors, size_t count) {
  aon_error error = AON_ERROR_INIT;
  if (report(all, errors, count, &error))
    fail_msg("%s: %s", error.code, error.sentence);
}

/* --- sheets --- */

static void cells_are_made_in_order(void **state) {
  fixture *all = *state;
  sheet_given(all,
              "<worksheet " MAIN
              "><dimension ref=\"B2:C2\"/><sheetData><row r=\"2\" spans=\"2:3\"><c r=\"B2\"><v>1</v></c><c r=\"D2\"><v>2</v></c>"
              "</row></sheetData><pageMargins/><tableParts/></worksheet>",
              0);
  const aon_problem errors[] = {fault(5, 1), fault(2, 1), fault(2, 3), fault(2, 4), fault(2, 6), fault(1, 2)};
  reported(all, errors, 6);
  has(all, "xl/worksheets/sheet1.xml",
      "<dimension ref=\"A1:F5\"/><sheetData><row r=\"1\"><c r=\"B1\" s=\"1\"/></row><row r=\"2\"><c r=\"A2\" s=\"1\"/><c "
      "r=\"B2\"><v>1</v></c>"
      "<c r=\"C2\" s=\"1\"/><c r=\"D2\" s=\"1\"><v>2</v></c><c r=\"F2\" s=\"1\"/></row><row r=\"5\"><c r=\"A5\" "
      "s=\"1\"/></row></sheetData>");
  has(all, "xl/worksheets/sheet1.xml",
      "<pageMargins/><legacyDrawing xmlns:r=\"" RELATIONS "\" r:id=\"rIdAon2\"/><tableParts/></worksheet>");
  has(all, "xl/worksheets/_rels/sheet1.xml.rels", "Target=\"../comments1.xml\"");
}

static void rows_and_cells_without_numbers_are_counted(void **state) {
  fixture *all = *state;
  sheet_given(all,
              "<worksheet " MAIN
              "><sheetData><row><c><v>1</v></c><c><v>2</v></c></row><row/><row><c r=\"C3\"><v>3</v></c><c><v>4</v></c></row>"
              "</sheetData></worksheet>",
              0);
  const aon_problem errors[] = {fault(1, 2), fault(2, 1), fault(3, 4)};
  reported(all, errors, 3);
  has(all, "xl/worksheets/sheet1.xml",
      "<row><c><v>1</v></c><c s=\"1\"><v>2</v></c></row><row><c r=\"A2\" s=\"1\"/></row><row><c r=\"C3\"><v>3</v></c><c "
      "s=\"1\"><v>4</v></c></row>");
}

static void empty_data_with_a_prefix_is_opened(void **state) {
  fixture *all = *state;
  sheet_given(
      all,
      "<x:worksheet xmlns:x=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"><x:sheetData/><x:legacyDrawingHF/></x:worksheet>",
      0);
  const aon_problem errors[] = {fault(4, 3)};
  reported(all, errors, 1);
  has(all, "xl/worksheets/sheet1.xml",
      "<x:sheetData><x:row r=\"4\"><x:c r=\"C4\" s=\"1\"/></x:row></x:sheetData><x:legacyDrawing xmlns:r=\"" RELATIONS
      "\" r:id=\"rIdAon2\"/><x:legacyDrawingHF/>");
}

static void made_cells_look_like_their_row_or_column(void **state) {
  fixture *all = *state;
  const char sheet[] =
      "<worksheet " MAIN
      "><cols><col min=\"2\" max=\"3\" style=\"2\"/></cols><sheetData><row r=\"2\" s=\"1\" customFormat=\"true\"/></sheetData></worksheet>";
  const char styles[] = "<styleSheet " MAIN "><cellXfs count=\"3\"><xf fontId=\"0\"/><xf fontId=\"1\"/><xf numFmtId=\"14\"><alignment "
                        "wrapText=\"1\"/></xf></cellXfs></styleSheet>";
  const char relations[] = "<Relationships xmlns=\"" PACKAGE "/relationships\"><Relationship Id=\"r1\" Type=\"" RELATIONS
                           "/worksheet\" Target=\"worksheets/sheet1.xml\"/><Relationship Id=\"r2\" Type=\"" RELATIONS
                           "/styles\" Target=\"/xl/styles.xml\"/></Relationships>";
  const part parts[] = {
      {"[Content_Types].xml", types, 0}, {"_rels/.rels", root_relations, 0},           {"xl/workbook.xml", book, 0},
      {"xl/styles.xml", styles, 0},      {"xl/_rels/workbook.xml.rels", relations, 0}, {"xl/worksheets/sheet1.xml", sheet, 0}};
  package_write(all, all->input, parts, 6);
  const aon_problem errors[] = {fault(2, 2), fault(3, 3)};
  reported(all, errors, 2);
  has(all, "xl/worksheets/sheet1.xml", "<c r=\"B2\" s=\"3\"/></row><row r=\"3\"><c r=\"C3\" s=\"4\"/>");
  has(all, "xl/styles.xml", "<xf fontId=\"1\" fillId=\"2\" applyFill=\"1\"><extLst>");
  has(all, "xl/styles.xml", "<xf numFmtId=\"14\" fillId=\"2\" applyFill=\"1\"><alignment wrapText=\"1\"/><extLst>");
  has(all, "xl/styles.xml", "<fills count=\"3\"><fill><patternFill patternType=\"none\"/></fill>");
}

/* Without formats a cell's format means nothing; with ours it would turn red. */
static void formats_that_a_workbook_lacks_are_no_formats(void **state) {
  fixture *all = *state;
  sheet_given(all, "<worksheet " MAIN "><sheetData><row r=\"1\"><c r=\"A1\" s=\"1\"><v>1</v></c></row></sheetData></worksheet>", 0);
  const aon_problem errors[] = {fault(9, 9)};
  reported(all, errors, 1);
  has(all, "xl/worksheets/sheet1.xml", "<c r=\"A1\"><v>1</v></c>");
  has(all, "[Content_Types].xml", "PartName=\"/xl/styles.xml\"");
}

static void utf16_becomes_utf8(void **state) {
  fixture *all = *state;
  const char ascii[] = "<?xml version=\"1.0\" encoding=\"UTF-16\"?><worksheet " MAIN
                       "><sheetData><row r=\"1\"><c r=\"A1\" t=\"inlineStr\"><is><t>x</t></is></c>"
                       "</row></sheetData></worksheet>";
  char wide[2 * sizeof ascii];
  wide[0] = (char)0xFF;
  wide[1] = (char)0xFE;
  for (size_t i = 0; i + 1 < sizeof ascii; i++) {
    wide[2 + 2 * i] = ascii[i];
    wide[3 + 2 * i] = 0;
  }
  sheet_given(all, wide, 2 * sizeof ascii);
  const aon_problem errors[] = {fault(1, 1)};
  reported(all, errors, 1);
  has(all, "xl/worksheets/sheet1.xml", "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?><worksheet");
  has(all, "xl/worksheets/sheet1.xml", "<c r=\"A1\" t=\"inlineStr\" s=\"1\"><is><t>x</t></is></c>");
}

static void positions_move_with_the_sheets(void **state) {
  fixture *all = *state;
  const char views[] =
      "<workbook " MAIN " xmlns:r=\"" RELATIONS
      "\"><bookViews><workbookView firstSheet=\"1\"/><workbookView activeTab=\"2\"/></bookViews><sheets>"
      "<sheet name=\"Data\" sheetId=\"1\" r:id=\"r1\"/><sheet name=\"ALLORNONE Errors\" sheetId=\"3\" r:id=\"r2\"/>"
      "<sheet name=\"Chart\" sheetId=\"4\" r:id=\"r9\"/></sheets><definedNames><definedName name=\"a\" localSheetId=\"0\">1</definedName>"
      "<definedName name=\"b\" localSheetId=\"1\">2</definedName><definedName name=\"c\" localSheetId=\"2\">3</definedName>"
      "<definedName name=\"d\">4</definedName></definedNames></workbook>";
  const char relations[] = "<Relationships xmlns=\"" PACKAGE "/relationships\"><Relationship Id=\"r1\" Type=\"" RELATIONS
                           "/worksheet\" Target=\"worksheets/sheet1.xml\"/><Relationship Id=\"r2\" Type=\"" RELATIONS
                           "/worksheet\" Target=\"worksheets/old.xml\"/>"
                           "<Relationship Id=\"r9\" Type=\"" RELATIONS "/chartsheet\" Target=\"chart.xml\"/></Relationships>";
  const part parts[] = {{"[Content_Types].xml", types, 0},
                        {"_rels/.rels", root_relations, 0},
                        {"xl/workbook.xml", views, 0},
                        {"xl/_rels/workbook.xml.rels", relations, 0},
                        {"xl/worksheets/sheet1.xml", "<worksheet " MAIN "><sheetData/></worksheet>", 0},
                        {"xl/worksheets/old.xml", "<worksheet " MAIN "><sheetData/></worksheet>", 0},
                        {"xl/chart.xml", "<chartsheet " MAIN "/>", 0}};
  package_write(all, all->input, parts, 7);
  reported(all, NULL, 0);
  has(all, "xl/workbook.xml", "<workbookView firstSheet=\"0\" activeTab=\"1\"/><workbookView activeTab=\"2\"/>");
  has(all, "xl/workbook.xml", "<sheets><sheet name=\"Allornone errors\" sheetId=\"5\" r:id=\"rIdAon2\"/><sheet name=\"Data\"");
  has(all, "xl/workbook.xml",
      "localSheetId=\"1\">1</definedName><definedName name=\"c\" localSheetId=\"2\">3</definedName><definedName name=\"d\">4<");
  has_not(all, "xl/workbook.xml", "ALLORNONE");
  has_not(all, "xl/_rels/workbook.xml.rels", "old.xml");
}

/* --- the list --- */

static void problems_without_a_cell_have_no_link(void **state) {
  fixture *all = *state;
  sheet_given(all, "<worksheet " MAIN "><sheetData/></worksheet>", 0);
  const aon_problem errors[] = {{.code = "bad_file", .sentence = "The file <as> a whole."},
                                fault(2, 2),
                                {.sheet = "Gone", .row = 1, .column = 1, .code = "c", .sentence = "s"}};
  const aon_problem warning = {.sheet = "Data", .row = 1, .column = 3, .code = "unknown_column", .sentence = "Did you mean \x01_x0041_?"};
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(aon_report_write(all->env, all->input, all->output, NULL, errors, 3, &warning, 1, 1200, &error), AON_OK);
  char *list = part_text(all, all->output, "xl/worksheets/sheet3.xml");
  assert_non_null(strstr(list, ">1,203 errors need correction. Nothing was changed.<"));
  assert_non_null(strstr(list, "1,200 more were not kept"));
  assert_non_null(strstr(list, "The file &lt;as&gt; a whole."));
  assert_non_null(strstr(list, "Did you mean _x0001__x005F_x0041_?"));
  assert_non_null(strstr(list, "<hyperlinks><hyperlink ref=\"B6\" location=\"'Data'!B2\" display=\"B2\"/><hyperlink ref=\"B11\" "
                               "location=\"'Data'!C1\" display=\"C1\"/></hyperlinks>"));
  assert_non_null(strstr(list, "<autoFilter ref=\"A4:F7\"/>"));
  free(list);
}

static void links_and_long_values_are_bounded(void **state) {
  fixture *all = *state;
  enum { MANY = 65600 };
  sheet_given(all, "<worksheet " MAIN "><sheetData/></worksheet>", 0);
  char *value = malloc(40001);
  aon_problem *errors = calloc(MANY, sizeof *errors);
  assert_true(value && errors);
  memset(value, 'v', 40000);
  value[40000] = 0;
  for (uint32_t i = 0; i < MANY; i++)
    errors[i] = fault(i + 1, 1);
  errors[0].value = value;
  reported(all, errors, MANY);
  char *list = part_text(all, all->output, "xl/worksheets/sheet3.xml");
  size_t links = 0;
  for (const char *at = list; *at; at++) /* strstr would look at all of the rest each time under the sanitizer */
    links += *at == '<' && !strncmp(at, "<hyperlink ", 11);
  assert_int_equal(links, 65530);
  const char *cut = strstr(list, "vvvv");
  assert_int_equal(strspn(cut, "v"), 32766);
  free(list);
  free(errors);
  free(value);
}

/* --- comments --- */

static void other_comments_stay(void **state) {
  fixture *all = *state;
  const char sheet[] = "<worksheet " MAIN " xmlns:r=\"" RELATIONS "\"><sheetData/><legacyDrawing r:id=\"d\"/></worksheet>";
  const char relations[] = "<Relationships xmlns=\"" PACKAGE "/relationships\"><Relationship Id=\"c\" Type=\"" RELATIONS
                           "/comments\" Target=\"..\\comments9.xml\"/><Relationship Id=\"d\" Type=\"" RELATIONS
                           "/vmlDrawing\" Target=\"/xl/d.vml\"/></Relationships>";
  const char comments[] =
      "<comments " MAIN
      "><authors><author>Ann</author></authors><commentList><comment ref=\"A1\" authorId=\"0\"><text><t>old</t></text></comment>"
      "<comment ref=\"B1\" authorId=\"0\"><text/></comment></commentList></comments>";
  const char drawing[] = "<xml xmlns:v=\"urn:schemas-microsoft-com:vml\" xmlns:o=\"urn:schemas-microsoft-com:office:office\" "
                         "xmlns:x=\"urn:schemas-microsoft-com:office:excel\">"
                         "<v:shapetype id=\"_x0000_t202\"><br></v:shapetype><v:shape id=\"_x0000_s1030\"><x:ClientData "
                         "ObjectType=\"Note\"><x:Row>0</x:Row><x:Column>0</x:Column>"
                         "</x:ClientData></v:shape></xml>";
  const part parts[] = {{"[Content_Types].xml", types, 0},      {"_rels/.rels", root_relations, 0},
                        {"xl/workbook.xml", book, 0},           {"xl/_rels/workbook.xml.rels", book_relations, 0},
                        {"xl/worksheets/sheet1.xml", sheet, 0}, {"xl/worksheets/_rels/sheet1.xml.rels", relations, 0},
                        {"xl/comments9.xml", comments, 0},      {"xl/d.vml", drawing, 0}};
  package_write(all, all->input, parts, 8);
  const aon_problem errors[] = {fault(1, 1), fault(1, 2), fault(3, 3)};
  reported(all, errors, 3);
  has(all, "xl/comments9.xml", "<text><r><t>old</t></r><r><t xml:space=\"preserve\">\n[Allornone] Fill it in.</t></r></text>");
  has(all, "xl/comments9.xml",
      "<comment ref=\"B1\" authorId=\"0\"><text><r><t xml:space=\"preserve\">\n[Allornone] Fill it in.</t></r></text></comment>");
  has(all, "xl/comments9.xml", "<author>Ann</author><author>Allornone</author>");
  has(all, "xl/comments9.xml", "<comment ref=\"C3\" authorId=\"1\">");
  has(all, "xl/d.vml", "<v:shape id=\"_x0000_s1031\"");
  has(all, "xl/d.vml", "<x:Row>2</x:Row><x:Column>2</x:Column>");
  has_not(all, "xl/worksheets/_rels/sheet1.xml.rels", "rIdAon");
  assert_int_equal(rename(all->output, all->input), 0);
  reported(all, NULL, 0);
  has_not(all, "xl/comments9.xml", "[Allornone]");
  has(all, "xl/comments9.xml", "<text><r><t>old</t></r></text>");
  has_not(all, "xl/d.vml", "_x0000_s1031");
  has(all, "xl/d.vml", "_x0000_s1030");
  has(all, "xl/worksheets/sheet1.xml", "<row r=\"3\"><c r=\"C3\"/></row>");
}

/* --- files --- */

static void the_input_is_never_written(void **state) {
  fixture *all = *state;
  sheet_given(all, "<worksheet " MAIN "><sheetData/></worksheet>", 0);
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(aon_report_write(all->env, all->input, all->input, NULL, NULL, 0, NULL, 0, 0, &error), AON_USAGE);
  assert_int_equal(symlink(all->input, all->output), 0);
  assert_int_equal(report(all, NULL, 0, &error), AON_USAGE);
  assert_int_equal(unlink(all->output), 0);
  assert_int_equal(link(all->input, all->output), 0);
  assert_int_equal(report(all, NULL, 0, &error), AON_USAGE);
  assert_string_equal(error.code, "same_file");
  assert_int_equal(unlink(all->output), 0);
  char aside[128];
  snprintf(aside, sizeof aside, "%s.part", all->output);
  assert_int_equal(link(all->input, aside), 0);
  assert_int_equal(report(all, NULL, 0, &error), AON_USAGE);
  free(part_text(all, all->input, "xl/workbook.xml"));
}

static void nothing_half_done_is_left(void **state) {
  fixture *all = *state;
  sheet_given(all, "<worksheet " MAIN "><sheetData/></worksheet>", 0);
  char aside[128];
  aon_error error = AON_ERROR_INIT;
  snprintf(aside, sizeof aside, "%s.part", all->output);
  assert_int_equal(mkdir(all->output, 0700), 0);
  assert_int_equal(report(all, NULL, 0, &error), AON_ENVIRONMENT);
  assert_int_equal(access(aside, F_OK), -1);
}

static const aon_env_ops *real_ops;
static unsigned writes_left; /* a file has no context of its own to count in */

static aon_result write_or_full(aon_file *file, uint64_t offset, const void *bytes, size_t length, aon_error *error) {
  if (!writes_left)
    return aon_fail(error, AON_ENVIRONMENT, "disk_full", "The disk is full.");
  writes_left--;
  return real_ops->file_write(file, offset, bytes, length, error);
}

static void a_full_disk_leaves_nothing(void **state) {
  fixture *all = *state;
  sheet_given(all, "<worksheet " MAIN "><sheetData/></worksheet>", 0);
  const aon_problem errors[] = {fault(1, 1), fault(2, 2)};
  char aside[128];
  snprintf(aside, sizeof aside, "%s.part", all->output);
  aon_env_ops ops = *all->env->ops;
  real_ops = all->env->ops;
  ops.file_write = write_or_full;
  aon_env full = *all->env;
  full.ops = &ops;
  unsigned writes = 0;
  aon_result result;
  do {
    aon_error error = AON_ERROR_INIT;
    writes_left = writes++;
    result = aon_report_write(&full, all->input, all->output, NULL, errors, 2, NULL, 0, 0, &error);
    assert_int_equal(access(aside, F_OK), -1);
    if (result)
      assert_string_equal(error.code, "disk_full");
    assert_int_equal(access(all->output, F_OK), result ? -1 : 0);
  } while (result && writes < 1000);
  assert_int_equal(result, AON_OK);
  assert_true(writes > 20);
}

static void a_file_that_cannot_be_read_gets_the_list_alone(void **state) {
  fixture *all = *state;
  FILE *file = fopen(all->input, "w");
  assert_non_null(file);
  fputs("PK\3\4 that is no zip", file);
  fclose(file);
  const aon_problem error = {.code = "bad_file", .sentence = "This file is damaged."};
  reported(all, &error, 1);
  has(all, "xl/worksheets/sheet1.xml", "1 error needs correction");
  /* a sheet that ends in the middle of a tag shows only when it is streamed */
  sheet_given(all, "<worksheet " MAIN "><sheetData><row r=\"1\"><c r=\"A1", 0);
  const aon_problem broken = fault(1, 1);
  reported(all, &broken, 1);
  has(all, "xl/worksheets/sheet1.xml", "1 cell needs correction");
}

static void rows_equal(fixture *all, const char *path, size_t sheet, const char *expected) {
  aon_workbook *workbook = NULL;
  aon_rows *rows = NULL;
  const aon_row *row;
  char text[512] = "";
  aon_result result;
  assert_int_equal(aon_workbook_open(all->env, path, NULL, &workbook, NULL), AON_OK);
  assert_int_equal(aon_rows_open(workbook, sheet, &rows, NULL), AON_OK);
  while ((result = aon_rows_next(rows, &row, NULL)) == AON_OK) {
    for (size_t i = 0; i < row->count; i++) {
      size_t used = strlen(text);
      if (row->cells[i].type == AON_CELL_NUMBER)
        snprintf(text + used, sizeof text - used, "%u.%u=%g;", row->number, row->cells[i].column, row->cells[i].number);
      else
        snprintf(text + used, sizeof text - used, "%u.%u=%s;", row->number, row->cells[i].column, row->cells[i].text.data);
    }
  }
  assert_int_equal(result, AON_END);
  aon_rows_close(rows);
  aon_workbook_close(workbook);
  assert_string_equal(text, expected);
}

static void csv_becomes_a_workbook(void **state) {
  fixture *all = *state;
  char path[128];
  snprintf(path, sizeof path, "%s/in", all->folder);
  assert_int_equal(mkdir(path, 0700), 0);
  snprintf(path, sizeof path, "%s/in/Data.csv", all->folder);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs("Name,Phone\n\nann,007\n\"b\n<b>\",+1\n", file);
  fclose(file);
  snprintf(path, sizeof path, "%s/in/[a] sheet with a name longer than 31.csv", all->folder);
  file = fopen(path, "w");
  assert_non_null(file);
  fputs("x\n", file);
  fclose(file);
  snprintf(all->input, sizeof all->input, "%s/in", all->folder);
  const aon_problem errors[] = {fault(3, 2), fault(3, 4), fault(2, 1), fault(9, 1)};
  reported(all, errors, 4);
  rows_equal(all, all->output, 1, "1.1=Name;1.2=Phone;3.1=ann;3.2=007;4.1=b\n<b>;4.2=+1;");
  rows_equal(all, all->output, 2, "1.1=x;");
  has(all, "xl/workbook.xml", "name=\"_a_ sheet with a name longer th\"");
  has(all, "xl/worksheets/sheet2.xml", "<row r=\"2\"><c r=\"A2\" s=\"8\"/></row><row r=\"3\"><c r=\"A3\" s=\"7\"");
  has(all, "xl/worksheets/sheet2.xml", "<c r=\"D3\" s=\"8\"/></row>");
  has(all, "xl/worksheets/sheet2.xml", "<row r=\"9\"><c r=\"A9\" s=\"8\"/></row></sheetData><legacyDrawing");
  has(all, "xl/comments2.xml", "ref=\"D3\"");
}

/* --- markup --- */

static void every_byte_comes_back(void **state) {
  (void)state;
  const char text[] = "\xEF\xBB\xBF<?xml version='1.0'?><!-- a > b -->\n<a b='>' c=\"'/>\"><![CDATA[<x>]]>t&amp;<d/></a >tail";
  aon_buffer all = {0};
  aon_markup *markup = NULL;
  aon_token token;
  assert_int_equal(aon_markup_open_bytes(text, sizeof text - 1, &markup, NULL), AON_OK);
  while (aon_markup_next(markup, &token, NULL) == AON_OK)
    assert_int_equal(aon_buffer_append(&all, token.bytes.data, token.bytes.length, NULL), AON_OK);
  aon_markup_close(markup);
  assert_string_equal(all.data, text);
  aon_buffer_release(&all);
}

static void attributes_are_set_in_place(void **state) {
  (void)state;
  aon_buffer tag = {0};
  assert_int_equal(aon_buffer_text(&tag, "<c r=\"A1\" t='s' /><v/>", NULL), AON_OK);
  assert_int_equal(aon_tag_set(&tag, "s", "7", NULL), AON_OK);
  assert_int_equal(aon_tag_set(&tag, "r", "B22", NULL), AON_OK);
  assert_int_equal(aon_tag_set(&tag, "t", NULL, NULL), AON_OK);
  assert_string_equal(tag.data, "<c r=\"B22\" s=\"7\"/><v/>");
  aon_buffer_release(&tag);
}

/* --- template --- */

static void a_template_reads_back(void **state) {
  fixture *all = *state;
  static const char *const short_list[] = {"once", "daily", NULL};
  static const char *const commas[] = {"a, b", "c", NULL};
  const aon_template_column columns[] = {{"Name*", "What it is called.", "Ann", 's', NULL, false},
                                         {"Type", NULL, "once", 's', short_list, false},
                                         {"Other", NULL, "c", 's', commas, false},
                                         {"Phone", NULL, "007", 's', NULL, true},
                                         {"Count", NULL, "12.5", 'n', NULL, false},
                                         {"Start Date*", NULL, "2028-02-29", 'd', NULL, false},
                                         {"Start Time", NULL, "08:30", 't', NULL, false}};
  const aon_template_sheet sheets[] = {{"Users", "One row is one user.", columns, 7}, {"Non-Ops Days", NULL, columns, 1}};
  aon_error error = AON_ERROR_INIT;
  if (aon_template_write(all->env, all->output, sheets, 2, &error))
    fail_msg("%s", error.sentence);
  rows_equal(all, all->output, 0,
             "1.1=Name*;1.2=Type;1.3=Other;1.4=Phone;1.5=Count;1.6=Start Date*;1.7=Start "
             "Time;2.1=Ann;2.2=once;2.3=c;2.4=007;2.5=12.5;2.6=2028-02-29;2.7=08:30:00;");
  aon_workbook *workbook = NULL;
  assert_int_equal(aon_workbook_open(all->env, all->output, NULL, &workbook, NULL), AON_OK);
  assert_int_equal(aon_workbook_sheets(workbook), 3);
  assert_int_equal(aon_workbook_sheet_state(workbook, 2), AON_SHEET_HIDDEN);
  aon_workbook_close(workbook);
  has(all, "xl/worksheets/sheet1.xml", "sqref=\"B2:B1048576\"");
  has(all, "xl/worksheets/sheet1.xml", "<formula1>'Allornone lists'!$A$1:$A$2</formula1>");
  has(all, "xl/comments1.xml", "Row 2 is an example: replace it.\nOne row is one user.\nWhat it is called.");
  const aon_template_sheet wrong[] = {{"a/b", NULL, columns, 1}};
  assert_int_equal(aon_template_write(all->env, all->output, wrong, 1, &error), AON_USAGE);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      T(cells_are_made_in_order),
      T(rows_and_cells_without_numbers_are_counted),
      T(empty_data_with_a_prefix_is_opened),
      T(made_cells_look_like_their_row_or_column),
      T(formats_that_a_workbook_lacks_are_no_formats),
      T(utf16_becomes_utf8),
      T(positions_move_with_the_sheets),
      T(problems_without_a_cell_have_no_link),
      T(links_and_long_values_are_bounded),
      T(other_comments_stay),
      T(the_input_is_never_written),
      T(nothing_half_done_is_left),
      T(a_full_disk_leaves_nothing),
      T(a_file_that_cannot_be_read_gets_the_list_alone),
      T(csv_becomes_a_workbook),
      T(every_byte_comes_back),
      T(attributes_are_set_in_place),
      T(a_template_reads_back),
  };
  return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
