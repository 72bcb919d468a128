/* Sheets: what their XML may look like, and what comes out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "make.h"

#define ROW(number, cells) "{\"sheet\":\"S\",\"state\":\"visible\",\"row\":" #number ",\"cells\":[" cells "]}\n"
#define MAIN "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
#define STYLES                                                                                                                             \
  "<numFmts><numFmt numFmtId=\"200\" formatCode=\"[h]:mm:ss\"/><numFmt numFmtId=\"201\" formatCode=\"0.00\\ "                              \
  "&quot;days&quot;\"/></numFmts>"                                                                                                         \
  "<cellXfs><xf numFmtId=\"0\"/><xf numFmtId=\"14\"/><xf numFmtId=\"200\"/><xf numFmtId=\"201\"/><xf numFmtId=\"22\"/></cellXfs>"

typedef struct good_case {
  const char *data, *lines, *strings, *styles;
} good_case;

static void expect_lines(test_scene *place, const made_book *book, const char *lines) {
  aon_result result = read_made(place, book, NULL);
  if (result)
    fail_msg("%s: %s", book->data, place->error.sentence);
  assert_string_equal(place->lines, lines);
}

static void expect_all(void **state, const good_case *cases, size_t count) {
  for (size_t i = 0; i < count; i++) {
    made_book book = {.data = cases[i].data, .strings = cases[i].strings, .styles = cases[i].styles};
    expect_lines(*state, &book, cases[i].lines);
  }
}

static void cells_by_type(void **state) {
  static const good_case cases[] = {
      {"<row r='1'><c r='A1'><v>1.5</v></c><c r='B1' t='n'><v>-7</v></c><c r='C1'><v>1E+20</v></c><c r='D1'><v> 3 </v></c></row>",
       ROW(1, "[1,\"n\",1.5],[2,\"n\",-7],[3,\"n\",1e+20],[4,\"n\",3]")},
      {"<row r='1'><c r='A1'><v>0.1</v></c><c r='B1'><v>12345678901234567890</v></c><c r='C1'><v>2.2250738585072014e-308</v></c></row>",
       ROW(1, "[1,\"n\",0.1],[2,\"n\",1.2345678901234567e+19],[3,\"n\",2.2250738585072014e-308]")},
      {"<row r='1'><c r='A1' t='b'><v>1</v></c><c r='B1' t='b'><v>false</v></c><c r='C1' t='e'><v>#N/A</v></c></row>",
       ROW(1, "[1,\"b\",true],[2,\"b\",false],[3,\"e\",\"#N/A\"]")},
      {"<row r='1'><c r='A1' t='str'><f>A1&amp;\"x\"</f><v>a_x0041_</v></c><c r='B1'><f>1+1</f></c><c r='C1'><f>1</f><v>1</v></c></row>",
       ROW(1, "[1,\"s\",\"aA\"],[3,\"n\",1]")},
      {"<row r='1'><c r='A1' t='inlineStr'><is><t> a </t></is></c><c r='B1' t='inlineStr'><is><r><rPr><b/></rPr><t>x</t></r><r><t>y</t></r>"
       "<rPh sb='0' eb='1'><t>no</t></rPh><phoneticPr/></is></c><c r='C1' t='inlineStr'><is><t><![CDATA[<&>]]></t></is></c></row>",
       ROW(1, "[1,\"s\",\" a \"],[2,\"s\",\"xy\"],[3,\"s\",\"<&>\"]")},
      {"<row r='1'><c r='A1' t='s'><v>1</v></c><c r='B1' t='s'><v>0</v></c><c r='C1' t='s'><v>2</v></c></row>",
       ROW(1, "[1,\"s\",\"rich text\"],[2,\"s\",\"a&b\"]"),
       "<si><t>a&amp;b</t></si><si><r><t>rich</t></r><r><t xml:space='preserve'> text</t></r><rPh><t>no</t></rPh></si><si><t/></si>"},
      {"<row r='1'><c r='A1' t='s'><v>0</v></c></row>", ROW(1, "[1,\"s\",\"\xf0\x9f\x98\x80 \xef\xbf\xbd_x00_ _x005\\r\\n\"]"),
       "<si><t>_xD83D__xDE00_ _xD83D__x005F_x00_ _x005_x000D_\n</t></si>"},
  };
  expect_all(state, cases, sizeof cases / sizeof *cases);
}

static void dates_by_format(void **state) {
  static const good_case cases[] = {
      {"<row r='1'><c r='A1' s='1'><v>44197</v></c><c r='B1' s='4'><v>44197.333333333336</v></c><c r='C1' s='4'><v>0.5</v></c>"
       "<c r='D1' s='2'><v>1.25</v></c><c r='E1' s='3'><v>5</v></c><c r='F1' s='1' t='str'><v>x</v></c></row>",
       ROW(1, "[1,\"d\",\"2021-01-01\"],[2,\"d\",\"2021-01-01T08:00:00\"],[3,\"t\",\"12:00:00\"],[4,\"dur\",108000],[5,\"n\",5],[6,\"s\","
              "\"x\"]"),
       NULL, STYLES},
      {"<row r='1'><c r='A1' s='1'><v>1</v></c><c r='B1' s='1'><v>59</v></c><c r='C1' s='1'><v>60</v></c><c r='D1' s='1'><v>61</v></c>"
       "<c r='E1' s='1'><v>2958465</v></c><c r='F1' s='1'><v>2958466</v></c><c r='G1' s='1'><v>-1</v></c>"
       "<c r='H1' s='1'><v>44196.999999999</v></c></row>",
       ROW(1,
           "[1,\"d\",\"1900-01-01\"],[2,\"d\",\"1900-02-28\"],[3,\"d\",\"1900-02-29\"],[4,\"d\",\"1900-03-01\"],[5,\"d\",\"9999-12-31\"],"
           "[6,\"n\",2958466],[7,\"n\",-1],[8,\"d\",\"2021-01-01\"]"),
       NULL, STYLES},
      {"<row r='1'><c r='A1' t='d'><v>2021-02-03T04:05:06.5</v></c><c r='B1' t='d'><v>2021-02-03</v></c><c r='C1' t='d'><v>04:05:06</v></c>"
       "<c r='D1' t='d'><v>2021-02-03T00:00:00Z</v></c></row>",
       ROW(1, "[1,\"d\",\"2021-02-03T04:05:06.500\"],[2,\"d\",\"2021-02-03\"],[3,\"t\",\"04:05:06\"],[4,\"d\",\"2021-02-03\"]")},
  };
  expect_all(state, cases, sizeof cases / sizeof *cases);
  made_book book = {.data = "<row r='1'><c r='A1' s='1'><v>1</v></c><c r='B1' s='1'><v>42736.5</v></c></row>",
                    .styles = STYLES,
                    .workbook = "<x:workbook xmlns:x='" MAIN "' xmlns:q='urn:any'><x:workbookPr date1904='true'/><x:sheets><x:sheet "
                                "name='S' q:id='s1'/></x:sheets></x:workbook>"};
  expect_lines(*state, &book, ROW(1, "[1,\"d\",\"1904-01-02\"],[2,\"d\",\"2021-01-02T12:00:00\"]"));
}

static void places(void **state) {
  static const good_case cases[] = {
      {"<row><c><v>1</v></c><c/><c><v>2</v></c></row><row/><row><c><v>3</v></c></row>",
       ROW(1, "[1,\"n\",1],[3,\"n\",2]") ROW(3, "[1,\"n\",3]")},
      {"<row r='5'><c r='C5'><v>3</v></c><c r='A5'><v>1</v></c><c r='b5'><v>2</v></c></row>",
       ROW(5, "[1,\"n\",1],[2,\"n\",2],[3,\"n\",3]")},
      {"<row><c r='A4'><v>1</v></c></row><row r='9'><c r='XFD9'><v>2</v></c></row>", ROW(4, "[1,\"n\",1]") ROW(9, "[16384,\"n\",2]")},
      {"<row r='1'><c r='A1' s='0'/><c r='B1' t='s'><v></v></c></row><x:row xmlns:x='urn:other' r='2'><c r='A2'><v>1</v></c></x:row>", ""},
      {"<row r='1048576'><c r='A1048576'><v>1</v></c></row>", ROW(1048576, "[1,\"n\",1]")},
  };
  expect_all(state, cases, sizeof cases / sizeof *cases);
}

static void whole_parts(void **state) {
  static const struct {
    const char *sheet, *lines;
  } cases[] = {
      {"\xef\xbb\xbf<?xml version='1.0'?><x:worksheet xmlns:x='http://purl.oclc.org/ooxml/spreadsheetml/main'><x:dimension "
       "ref='A1:XFD1048576'/>"
       "<x:sheetData><x:row r='1'><x:c r='A1'><x:v>1</x:v></x:c></x:row></x:sheetData><x:mergeCells><x:mergeCell "
       "ref='A1:B9'/></x:mergeCells>"
       "</x:worksheet>",
       ROW(1, "[1,\"n\",1]")},
      {"<?xml version='1.0' encoding='ISO-8859-1'?><worksheet xmlns='" MAIN
       "'><sheetData><row r='1'><c r='A1' t='str'><v>\xe4</v></c></row>"
       "</sheetData></worksheet>",
       ROW(1, "[1,\"s\",\"\xc3\xa4\"]")},
      {"<worksheet xmlns='" MAIN "'><!-- <row> --><sheetData><?x y?><row r='1'><!-- --><c r='A1'><v>1<!-- 5 -->2</v></c></row></sheetData>"
       "<extLst><ext><sheetData><row r='9'><c><v>1</v></c></row></sheetData></ext></extLst></worksheet>",
       ROW(1, "[1,\"n\",12]")},
      {"<worksheet xmlns='" MAIN "'/>", ""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    made_book book = {.sheet = cases[i].sheet};
    expect_lines(*state, &book, cases[i].lines);
  }
}

/* The same part as UTF-16 with a byte order mark. */
static void utf16_part(void **state) {
  static const char text[] = "<?xml version='1.0' encoding='UTF-16'?><worksheet xmlns='" MAIN
                             "'><sheetData><row r='1'><c r='A1'><v>7</v></c></row></sheetData></worksheet>";
  char wide[2 * sizeof text] = {'\xff', '\xfe'};
  for (size_t i = 0; i + 1 < sizeof text; i++)
    wide[2 + 2 * i] = text[i];
  test_scene *place = *state;
  place_path(place, "utf16.xlsx");
  make_book(place->path, &(made_book){.data = ""});
  made_part parts[] = {
      {"_rels/.rels", "<Relationships><Relationship Id='r' Type='x/officeDocument' Target='xl\\workbook.xml'/></Relationships>"},
      {"XL\\Workbook.XML", "<workbook xmlns:r='r'><sheets><sheet name='S' r:id='a'/></sheets></workbook>"},
      {"xl/_rels/workbook.xml.rels",
       "<Relationships><Relationship Id='a' Type='x/worksheet' Target='../xl/./Sheet%201.xml'/></Relationships>"},
      {"xl/sheet 1.xml", wide, 2 * sizeof text}};
  make_zip(place->path, parts, 4);
  aon_result result = read_book(place, place->path, NULL);
  if (result)
    fail_msg("%s", place->error.sentence);
  assert_string_equal(place->lines, ROW(1, "[1,\"n\",7]"));
}

static void refusals(void **state) {
  static const struct {
    const char *data, *words;
  } cases[] = {
      {"<row r='2'/><row r='1'/>", "Row 1 of the sheet “S” stands after row 2"},
      {"<row r='2'/><row r='2'/>", "Row 2 of the sheet “S” stands after row 2"},
      {"<row r='1'><c r='B1'><v>1</v></c><c r='A1'><v>1</v></c><c r='B1'><v>2</v></c></row>", "Cell S!B1 stands there twice"},
      {"<row r='1'><c r='A2'><v>1</v></c></row>", "Cell S!A1 says that it stands in another row"},
      {"<row r='1'><c r='7'><v>1</v></c></row>", "no proper place"},
      {"<row r='x'/>", "no proper number"},
      {"<row r='0'/>", "no proper number"},
      {"<row r='1'><c r='A1'><v>abc</v></c></row>", "Cell S!A1 is said to be a number"},
      {"<row r='1'><c r='A1'><v>1e999</v></c></row>", "Cell S!A1 is said to be a number"},
      {"<row r='1'><c r='A1'><v>0x10</v></c></row>", "Cell S!A1 is said to be a number"},
      {"<row r='1'><c r='A1' t='b'><v>2</v></c></row>", "Cell S!A1 is said to be true or false"},
      {"<row r='1'><c r='A1' t='d'><v>2021-02-30</v></c></row>", "Cell S!A1 is said to be a date"},
      {"<row r='1'><c r='A1' t='zz'><v>2</v></c></row>", "Cell S!A1 holds something of an unknown type"},
      {"<row r='1'><c r='AB1' t='s'><v>0</v></c></row>", "Cell S!AB1 names a shared text"},
      {"<row r='1'><c r='A1' s='1'><v>0</v></c></row>", "Cell S!A1 names a cell format"},
      {"<row r='1'><c r='A1'><v>1</v></row>", "no proper XML"},
      {"<row r='1'>&undefined;</row>", "no proper XML"},
      {"<row r='1'>\x01</row>", "no proper XML"},
      {"<row r='1'>\xff</row>", "no proper XML"},
      {"<row r='1048577'/>", "“rows” allows (1,048,576)"},
      {"<row r='99999999999999999999'/>", "“rows” allows (1,048,576)"},
      {"<row r='1'><c r='XFE1'/></row>", "“columns” allows (16,384)"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_refused(*state, read_made(*state, &(made_book){.data = cases[i].data}, NULL), cases[i].words);
  static const struct {
    const char *sheet, *words;
  } parts[] = {{"<!DOCTYPE worksheet [<!ENTITY a 'b'>]><worksheet/>", "DOCTYPE"},
               {"<chartsheet/>", "no worksheet"},
               {"<worksheet><sheetData>", "no proper XML"},
               {"<worksheet/><worksheet/>", "no proper XML"},
               {" ", "no proper XML"}};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    assert_refused(*state, read_made(*state, &(made_book){.sheet = parts[i].sheet}, NULL), parts[i].words);
}

#define BOOK(inside) "<workbook xmlns='" MAIN "' xmlns:r='urn:r'><sheets>" inside "</sheets></workbook>"

static void lists_of_sheets(void **state) {
  static const struct {
    const char *workbook, *words;
  } cases[] = {
      {BOOK("<sheet name='A' r:id='s1'/><sheet name='a' r:id='s1'/>"), "two sheets named"},
      {BOOK("<sheet name='A' r:id='s9'/>"), "where the cells of the sheet “A” are"},
      {BOOK("<sheet name='A' state='gone' r:id='s1'/>"), "neither visible nor hidden"},
      {BOOK("<sheet name='' r:id='s1'/>"), "without a name"},
      {BOOK("<sheet name='Chart' r:id='s2'/><sheet name='Module' r:id=''/>"), "no sheet with cells"},
      {"<document/>", "not a workbook"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_refused(*state, read_made(*state, &(made_book){.workbook = cases[i].workbook, .styles = STYLES}, NULL), cases[i].words);
  made_book hidden = {.data = "<row><c><v>1</v></c></row>",
                      .workbook =
                          BOOK("<sheet name='Tom &amp; _x0041_' state='veryHidden' r:id='s1'/><sheet name='B' state='hidden' r:id='s1'/>")};
  expect_lines(*state, &hidden,
               "{\"sheet\":\"Tom & A\",\"state\":\"veryHidden\",\"row\":1,\"cells\":[[1,\"n\",1]]}\n"
               "{\"sheet\":\"B\",\"state\":\"hidden\",\"row\":1,\"cells\":[[1,\"n\",1]]}\n");
}

/* Rows that are longer than a chunk of the parser, and many short ones: what is open at a chunk's end must survive it. */
static void rows_across_chunks(void **state) {
  char *data = malloc(4000000), *at = data;
  size_t length = 0;
  for (int row = 1; row <= 60; row++) {
    at += sprintf(at, "<row r='%d'>", row);
    for (int column = 0; column < (row % 3 ? 7 : 900); column++)
      at += sprintf(at, "<c t='inlineStr'><is><t>row %d column %d</t></is></c><c t='s'><v>%d</v></c>", row, column + 1, column % 2);
    at += sprintf(at, "</row>");
  }
  test_scene *place = *state;
  aon_result result = read_made(place, &(made_book){.data = data, .strings = "<si><t>even</t></si><si><t>odd</t></si>"}, NULL);
  if (result)
    fail_msg("%s", place->error.sentence);
  char *line = place->lines;
  for (int row = 1; row <= 60; row++) {
    int used;
    char expected[64];
    assert_int_equal(sscanf(line, "{\"sheet\":\"S\",\"state\":\"visible\",\"row\":%d,\"cells\":[%n", &(int){0}, &used), 1);
    line += used;
    for (int column = 0; column < (row % 3 ? 7 : 900); column++) {
      length = (size_t)snprintf(expected, sizeof expected, "%s[%d,\"s\",\"row %d column %d\"],[%d,\"s\",\"%s\"]", column ? "," : "",
                                2 * column + 1, row, column + 1, 2 * column + 2, column % 2 ? "odd" : "even");
      assert_memory_equal(line, expected, length);
      line += length;
    }
    line = strchr(line, '\n') + 1;
  }
  assert_string_equal(line, "");
  free(data);
}

/* The scanner of plain rows against the parser. A prefix on sheetData keeps the scanner out, and the rows inside are the same bytes. */
static void compare_books(test_scene *scene, const char *data, const made_book *by_parser, const made_book *by_scanner) {
  aon_result wanted = read_made(scene, by_parser, NULL);
  char *lines = strdup(scene->lines);
  aon_error error = scene->error;
  aon_result got = read_made(scene, by_scanner, NULL);
  if (got != wanted || (!got && strcmp(lines, scene->lines)) || (got && strcmp(error.sentence, scene->error.sentence)))
    fail_msg("%s\nparser: %s %s %s\nscanner: %s %s %s", data, aon_result_name(wanted), lines, error.sentence, aon_result_name(got),
             scene->lines, scene->error.sentence);
  free(lines);
}

static void compare_ways(test_scene *scene, const char *data) {
  char *plain, *parsed;
  assert_true(asprintf(&plain, "<worksheet xmlns='" MAIN "' xmlns:x='" MAIN "'><sheetData>%s</sheetData></worksheet>", data) > 0);
  assert_true(asprintf(&parsed, "<worksheet xmlns='" MAIN "' xmlns:x='" MAIN "'><x:sheetData>%s</x:sheetData></worksheet>", data) > 0);
  made_book book = {.sheet = parsed, .strings = "<si><t>shared</t></si>", .styles = STYLES}, other = book;
  other.sheet = plain;
  compare_books(scene, data, &book, &other);
  free(plain);
  free(parsed);
}

static void scanner_agrees_with_parser(void **state) {
  static const char seed[] =
      "<row r=\"1\" q='2'> <c r=\"A1\" s=\"1\"><v>44197</v></c><c t=\"inlineStr\" r=\"B1\"><is><t>a \xc3\xa4 z</t></is></c>\n"
      "<c r='C1' t='s'><f>A&lt;1</f><v>0</v></c><c r='D1' t='inlineStr'><is><t xml:space='preserve'> x </t></is></c><c "
      "t='e'><f/><v>#N/A</v></c><c/></row>\n"
      "<row/><row><c t='b'><v>1</v></c></row>";
  static const char others[] = {'<', '>', '&', '"', '\'', ' ', '/', 'r', 'x', ':', '=', ']', '\r', '\t', '\x01', '\x7f', '\xc3', '1', '!'};
  static const char *const whole[] = {"",
                                      " ",
                                      "x",
                                      "<!-- -->",
                                      "<row r='1'><c><v>1</v><v>2</v></c></row>",
                                      "<row><c><v>1</v><f>2</f></c></row>",
                                      "<row><c><v><![CDATA[5]]></v></c></row>",
                                      "<row xmlns='urn:x'><c><v>1</v></c></row>",
                                      "<row><c r='A1' r='A1'><v>1</v></c></row>",
                                      "<row><c><v>]]></v></c></row>",
                                      "<row",
                                      "<row><c t='inlineStr'><is><t>a</t><t>b</t></is><v>c</v></c></row>",
                                      "<row><c><is><t>a</t></is><v>7</v></c></row>",
                                      "<row a='' b='' c='' d='' e='' f='' g='' h='' i=''><c><v>1</v></c></row>",
                                      "<row><c><v>1</v></c></row >",
                                      "<row><c r=\"A1\" r=\"A1\"><v>1</v></c></row>",
                                      "<row><c s=\"1\" t=\"n\" s=\"1\"/></row>",
                                      "<row><c r=\"A1\"x=\"1\"/></row>",
                                      "<row><c r=\"A1'/></row>",
                                      "<row><c r=\"A1\"/ ></row>",
                                      "<row><c r=\"A1\"><v>1</v></c ></row>",
                                      "<row><c><v>1</v> <f>2</f></c></row>"};
  for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
    compare_ways(*state, whole[i]);
  for (size_t at = 0; at + 1 < sizeof seed; at++) {
    char changed[sizeof seed];
    memcpy(changed, seed, sizeof seed);
    for (size_t k = 0; k < 3; k++) {
      changed[at] = others[(at * 7 + k * 5) % sizeof others];
      compare_ways(*state, changed);
    }
    memmove(changed + at, seed + at + 1, sizeof seed - at - 1); /* without this byte */
    compare_ways(*state, changed);
  }
}

/* Every character that UTF-8 and XML have a border at, whole and cut, and one that stands across the end of what is read at once. */
static const char *const wide[] = {
    "\xc2\x80",         "\xc2\x85", "\xdf\xbf",     "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbd",     "\xf0\x90\x80\x80",
    "\xf4\x8f\xbf\xbf", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xef\xbf\xbe", "\xef\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
    "\xf5\x80\x80\x80", "\x80",     "\xff",         "\xc3",         "\xe2\x82",     "\xf0\x9f\x98", "\xe2\x82(",        "\xf0\x9f\x98 "};

static void wide_characters(void **state) {
  for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
    char row[256];
    snprintf(row, sizeof row, "<row><c t=\"str\"><v>%s</v></c><c t='str'><f>%s</f><v>a%sz</v></c></row>", wide[i], wide[i], wide[i]);
    compare_ways(*state, row);
  }
  char *data = malloc(600000);
  for (size_t shift = 0; shift < 4; shift++) {
    char *at = data + sprintf(data, "%*s", (int)shift, "");
    for (int row = 1; row <= 4000; row++)
      at += sprintf(at,
                    "<row r='%d'><c t=\"str\"><v>\xf0\x9f\x98\x80\xc3\xa4\xe2\x82\xac "
                    "\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80</v></c></row>",
                    row);
    compare_ways(*state, data);
  }
  free(data);
}

/* The same for shared strings; the rows name all of them. */
static void compare_strings(test_scene *scene, const char *items) {
  char *plain, *parsed;
  assert_true(asprintf(&plain, "<sst xmlns='" MAIN "' xmlns:x='" MAIN "'>%s</sst>", items) > 0);
  assert_true(asprintf(&parsed, "<x:sst xmlns='" MAIN "' xmlns:x='" MAIN "'>%s</x:sst>", items) > 0);
  static const char rows[] = "<row><c t='s'><v>0</v></c><c t='s'><v>1</v></c><c t='s'><v>2</v></c><c t='s'><v>3</v></c></row>";
  compare_books(scene, items, &(made_book){.data = rows, .sst = parsed}, &(made_book){.data = rows, .sst = plain});
  free(plain);
  free(parsed);
}

static void scanner_agrees_on_strings(void **state) {
  static const char seed[] =
      "<si><t>one_x0041_</t></si>\n<si><t xml:space=\"preserve\"> \xe2\x82\xac two </t></si><si><r><t>th</t></r><r><t>ree</t></r></si>"
      "<si><t/></si>";
  static const char others[] = {'<', '>', '&', '"', '\'', ' ', '/', 's', 't', ':', '=', ']', '\r', '\t', '\x01', '\x7f', '\xc3', '1', '_'};
  static const char *const whole[] = {"<si><t>a</t><t>b</t></si><si/><si><t>c</t><rPh><t>d</t></rPh></si><si><t> </t></si>",
                                      "<si><t>a</t></si><!-- --><si><t>b</t></si>x<si><t>c</t></si><si><t><![CDATA[d]]></t></si>",
                                      "<si><t>a</t></si><y><si><t>b</t></si></y><si><t>c</t></si><si><t>d</t></si><si><t>e</t></si>",
                                      "<si><t>a</t></si><si xmlns='urn:x'><t>b</t></si><si><t>c</t></si><si><t>d</t></si><si><t>e</t></si>",
                                      "<si><t>a</t></si ><si><t>b</t></si><si><t>]]></t></si>"};
  for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
    compare_strings(*state, whole[i]);
  for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
    char items[128];
    snprintf(items, sizeof items, "<si><t>%s</t></si><si><t>a%sz</t></si><si><t/></si><si><t>%s%s</t></si>", wide[i], wide[i], wide[i],
             wide[i]);
    compare_strings(*state, items);
  }
  for (size_t at = 0; at + 1 < sizeof seed; at++) {
    char changed[sizeof seed];
    memcpy(changed, seed, sizeof seed);
    for (size_t k = 0; k < 3; k++) {
      changed[at] = others[(at * 7 + k * 5) % sizeof others];
      compare_strings(*state, changed);
    }
    memmove(changed + at, seed + at + 1, sizeof seed - at - 1);
    compare_strings(*state, changed);
  }
}

/* Strings longer than what is read at once, and many that the reader's blocks are cut by. */
static void long_strings(void **state) {
  char *items = malloc(1200000), *at = items;
  at += sprintf(at, "<si><t>");
  memset(at, 'x', 130000);
  at += 130000 + sprintf(at + 130000, "</t></si>");
  for (int i = 0; i < 30000; i++)
    at += sprintf(at, "<si><t>string %d</t></si>", i);
  at += sprintf(at, "<si><t>");
  memset(at, 'y', 131072);
  sprintf(at + 131072, "</t></si>");
  static const char rows[] = "<row><c t='s'><v>0</v></c><c t='s'><v>1</v></c><c t='s'><v>30000</v></c><c t='s'><v>30001</v></c></row>";
  test_scene *scene = *state;
  assert_int_equal(read_made(scene, &(made_book){.data = rows, .strings = items}, NULL), AON_OK);
  assert_int_equal(strspn(strchr(scene->lines, 'x'), "x"), 130000);
  assert_int_equal(strspn(strchr(scene->lines, 'y'), "y"), 131072);
  assert_non_null(strstr(scene->lines, "[2,\"s\",\"string 0\"],[3,\"s\",\"string 29999\"]"));
  free(items);
}

/* Decimals of every length are the doubles that strtod makes of them, to the last bit. */
static void decimals(void **state) {
  test_scene *scene = *state;
  enum { COUNT = 20000, BYTES = 32 };
  char(*texts)[BYTES] = malloc(COUNT * BYTES), *data = malloc(COUNT * 64), *at = data;
  uint64_t random = 88172645463325252u;
  for (int i = 0; i < COUNT; i++) {
    char digits[24];
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    int length = snprintf(digits, sizeof digits, "%020llu", (unsigned long long)random), count = 1 + i % 20, point = i / 20 % (count + 1);
    snprintf(texts[i], BYTES, "%s%.*s.%.*s", i % 3 ? "" : "-", point, digits + length - count, count - point,
             digits + length - count + point);
    at += sprintf(at, "<row><c><v>%s</v></c></row>", texts[i]);
  }
  place_path(scene, "made.xlsx");
  make_book(scene->path, &(made_book){.data = data});
  aon_workbook *workbook;
  aon_rows *rows;
  const aon_row *row;
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(aon_workbook_open(scene->env, scene->path, NULL, &workbook, &error), AON_OK);
  assert_int_equal(aon_rows_open(workbook, 0, &rows, &error), AON_OK);
  for (int i = 0; i < COUNT; i++) {
    assert_int_equal(aon_rows_next(rows, &row, &error), AON_OK);
    double wanted = strtod(texts[i], NULL);
    if (memcmp(&row->cells[0].number, &wanted, sizeof wanted))
      fail_msg("%s: %.17g, not %.17g", texts[i], row->cells[0].number, wanted);
  }
  aon_rows_close(rows);
  aon_workbook_close(workbook);
  free(texts);
  free(data);
}

static void one_cursor_at_a_time(void **state) {
  test_scene *place = *state;
  aon_workbook *workbook;
  aon_rows *rows, *second;
  const aon_row *row;
  aon_error error = AON_ERROR_INIT;
  place_path(place, "made.xlsx");
  make_book(place->path, &(made_book){.data = "<row><c><v>1</v></c></row><row r='1'/>"});
  assert_int_equal(aon_workbook_open(place->env, place->path, NULL, &workbook, &error), AON_OK);
  assert_true(aon_workbook_is_xlsx(workbook));
  for (int again = 0; again < 2; again++) {
    assert_int_equal(aon_rows_open(workbook, 0, &rows, &error), AON_OK);
    assert_int_equal(aon_rows_open(workbook, 0, &second, &error), AON_USAGE);
    aon_result result;
    while (!(result = aon_rows_next(rows, &row, &error)))
      assert_int_equal(row->number, 1);
    assert_int_equal(result, AON_REJECTED);
    assert_int_equal(aon_rows_next(rows, &row, &error), AON_USAGE);
    aon_rows_close(rows);
  }
  assert_int_equal(aon_rows_open(workbook, 1, &rows, &error), AON_USAGE);
  aon_workbook_close(workbook);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cells_by_type),
      cmocka_unit_test(dates_by_format),
      cmocka_unit_test(places),
      cmocka_unit_test(whole_parts),
      cmocka_unit_test(utf16_part),
      cmocka_unit_test(refusals),
      cmocka_unit_test(lists_of_sheets),
      cmocka_unit_test(rows_across_chunks),
      cmocka_unit_test(one_cursor_at_a_time),
      cmocka_unit_test(scanner_agrees_with_parser),
      cmocka_unit_test(wide_characters),
      cmocka_unit_test(scanner_agrees_on_strings),
      cmocka_unit_test(long_strings),
      cmocka_unit_test(decimals),
  };
  return cmocka_run_group_tests(tests, place_open, place_close);
}
