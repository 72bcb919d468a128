/* Files that are not what they claim: other formats, damaged zips, zips that lie. Nothing may be read wrongly, and nothing may crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include <cmocka.h>

#include "make.h"

static const made_book simple = {.data = "<row r='1'><c r='A1' t='s'><v>0</v></c><c r='B1' s='1'><v>44197</v></c></row>",
                                 .strings = "<si><t>text</t></si>",
                                 .styles = "<cellXfs><xf numFmtId='0'/><xf numFmtId='14'/></cellXfs>"};
static const char simple_lines[] =
    "{\"sheet\":\"S\",\"state\":\"visible\",\"row\":1,\"cells\":[[1,\"s\",\"text\"],[2,\"d\",\"2021-01-01\"]]}\n";

static char *simple_bytes(test_scene *scene, size_t *ret_length) {
  place_path(scene, "made.xlsx");
  make_book(scene->path, &simple);
  return load_file(scene->path, ret_length);
}

static aon_result read_bytes(test_scene *scene, const char *name, const void *bytes, size_t length) {
  place_path(scene, name);
  make_file(scene->path, bytes, length);
  return read_book(scene, scene->path, NULL);
}

static void other_formats(void **state) {
  static const struct {
    const char *name, *bytes;
    size_t length;
    const char *words;
  } cases[] = {
      {"a.xlsx", "", 0, "is empty"},
      {"a.pdf", "%PDF-1.7", 8, "PDF"},
      {"a.xlsx", "<!DOCTYPE html><html></html>", 28, "HTML"},
      {"a.xls", "\xef\xbb\xbf \n<table><tr></tr></table>", 29, "HTML"},
      {"a.xml", "<?xml version='1.0'?><Workbook/>", 32, "XML file"},
      {"a.rtf", "{\\rtf1}", 7, "RTF"},
      {"a.gz", "\x1f\x8b\x08", 3, "gzip"},
      {"a.7z", "7z\xbc\xaf\x27\x1c", 6, "7z"},
      {"a.rar", "Rar!\x1a\x07", 6, "RAR"},
      {"a.png", "\x89PNG\r\n", 6, "picture"},
      {"a.xlsx", "name,age\nx,1\n", 13, "text file"},
      {"a.csv", "name,age\nx,1\n", 13, "single .csv file"},
      {"a.CSV",
       "\xff\xfe"
       "a\0",
       4, "single .csv file"},
      {"a.xlsx", "\x01\x02\x03\x04", 4, "not a workbook"},
      {"a.xls", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 8, "old Office program"},
      {"a.xlsx", "PK", 2, "not a workbook"},
      {"a.xlsx", "PK\3\4aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 41, "damaged or incomplete"},
      {"a.xlsx", "PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22, "neither a workbook nor .csv"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_refused(*state, read_bytes(*state, cases[i].name, cases[i].bytes, cases[i].length), cases[i].words);
  test_scene *scene = *state;
  assert_int_equal(read_book(scene, place_path(scene, "no such file.xlsx"), NULL), AON_ENVIRONMENT);
  assert_string_equal(scene->error.code, "no_such_file");
}

static void other_zips(void **state) {
  static const struct {
    made_part part;
    const char *words;
  } cases[] = {
      {{"mimetype", "application/vnd.oasis.opendocument.spreadsheet"}, ".ods"},
      {{"mimetype", "application/vnd.oasis.opendocument.text"}, "OpenDocument file"},
      {{"Index/Document.iwa", "x"}, ".numbers"},
      {{"folder/Data.XLSX", "x"}, "holds the workbook “folder/Data.XLSX”"},
      {{"readme.txt", "x"}, "neither a workbook nor .csv"},
      {{"[Content_Types].xml", "<Types/>"}, "_rels/.rels"},
      {{"_rels/.rels", "<Relationships/>"}, "where its sheets are"},
      {{"_rels/.rels", "<Relationships><Relationship Id='a' Type='x/officeDocument' Target='gone.xml'/></Relationships>"},
       "where its sheets are"},
      {{"_rels/.rels", "<Relationships><Relationship Id='a'/><Relationship Id='a'/></Relationships>"}, "two things alike"},
  };
  test_scene *scene = *state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    place_path(scene, "made.zip");
    make_zip(scene->path, &cases[i].part, 1);
    assert_refused(scene, read_book(scene, scene->path, NULL), cases[i].words);
  }
  made_part binary[] = {
      {"_rels/.rels", "<Relationships><Relationship Id='a' Type='x/officeDocument' Target='xl/workbook.bin'/></Relationships>"},
      {"xl/workbook.bin", "x"}};
  make_zip(scene->path, binary, 2);
  assert_refused(scene, read_book(scene, scene->path, NULL), ".xlsb");
}

static void password(void **state) {
  test_scene *scene = *state;
  place_path(scene, "made.zip");
  make_zip(scene->path, &(made_part){"S.csv", "a,b"}, 1);
  zip_t *zip = zip_open(scene->path, 0, NULL);
  assert_int_equal(zip_file_set_encryption(zip, 0, ZIP_EM_AES_256, "secret"), 0);
  assert_int_equal(zip_close(zip), 0);
  assert_refused(scene, read_book(scene, scene->path, NULL), "protected by a password");
}

static void cut_anywhere(void **state) {
  test_scene *scene = *state;
  size_t length;
  char *bytes = simple_bytes(scene, &length);
  assert_int_equal(read_bytes(scene, "whole.xlsx", bytes, length), AON_OK);
  assert_string_equal(scene->lines, simple_lines);
  for (size_t cut = 0; cut < length; cut += 3) {
    aon_result result = read_bytes(scene, "cut.xlsx", bytes, cut);
    if (result != AON_REJECTED || strcmp(scene->error.code, "bad_file"))
      fail_msg("cut to %zu of %zu bytes: %s", cut, length, aon_result_name(result));
  }
  free(bytes);
}

/* One byte changed: the content is read as it was, or the file is refused. Names and dates of entries aside, nothing else may come out. */
static void changed_anywhere(void **state) {
  test_scene *scene = *state;
  size_t length, read = 0, refused = 0;
  char *bytes = simple_bytes(scene, &length);
  for (size_t at = 0; at < length; at++) {
    char was = bytes[at];
    bytes[at] = (char)(was ^ (1 << at % 8));
    aon_result result = read_bytes(scene, "changed.xlsx", bytes, length);
    bytes[at] = was;
    if (result == AON_OK)
      read++;
    else if (result == AON_REJECTED)
      refused++;
    else
      fail_msg("byte %zu: %s %s", at, aon_result_name(result), scene->error.sentence);
    if (!result && strcmp(scene->lines, simple_lines) && strstr(scene->lines, "text"))
      fail_msg("byte %zu: %s", at, scene->lines);
  }
  assert_true(read > 0 && refused > length / 3);
  free(bytes);
}

/* Where a record that begins with magic stands, counted from the end. */
static char *last_record(char *bytes, size_t length, const char *magic) {
  for (size_t at = length - 4;; at--) {
    if (!memcmp(bytes + at, magic, 4))
      return bytes + at;
    assert_true(at > 0);
  }
}

static void wrong_checksum(void **state) {
  test_scene *scene = *state;
  size_t length;
  made_part part = {"S.csv", "a,b,c\n"};
  place_path(scene, "made.zip");
  make_zip(scene->path, &part, 1);
  char *bytes = load_file(scene->path, &length);
  last_record(bytes, length, "PK\1\2")[16] ^= 1;
  assert_refused(scene, read_bytes(scene, "crc.zip", bytes, length), "damaged or incomplete");
  free(bytes);
}

static void doubled_names(void **state) {
  test_scene *scene = *state;
  size_t length;
  made_part parts[] = {{"a.csv", "1"}, {"b.csv", "2"}, {"A.csv", "3"}};
  place_path(scene, "made.zip");
  make_zip(scene->path, parts, 3);
  assert_refused(scene, read_book(scene, scene->path, NULL), "twice");
  make_zip(scene->path, parts, 2);
  char *bytes = load_file(scene->path, &length);
  for (size_t i = 0; i + 5 <= length; i++) {
    if (!memcmp(bytes + i, "b.csv", 5))
      bytes[i] = 'a';
  }
  assert_refused(scene, read_bytes(scene, "same.zip", bytes, length), "“a.csv” twice");
  free(bytes);
}

static void put_number(char *at, uint64_t number, int count) {
  for (; count--; number >>= 8)
    *at++ = (char)number;
}

static uint64_t number_at(const char *at, int count) {
  uint64_t number = 0;
  while (count--)
    number = number << 8 | (unsigned char)at[count];
  return number;
}

/* The same package with its end written as zip64 (APPNOTE 4.3.14 and 4.3.15), claiming so many entries. */
static aon_result read_zip64(test_scene *scene, uint64_t more_entries, uint64_t more_bytes) {
  size_t length;
  char *bytes = simple_bytes(scene, &length), *end = last_record(bytes, length, "PK\5\6");
  size_t head = (size_t)(end - bytes);
  char *made = calloc(1, head + 56 + 20 + 22), *at = made + head;
  memcpy(made, bytes, head);
  memcpy(at, "PK\6\6", 4);
  put_number(at + 4, 44, 8);
  put_number(at + 12, 45, 2);
  put_number(at + 14, 45, 2);
  put_number(at + 24, number_at(end + 8, 2) + more_entries, 8);
  put_number(at + 32, number_at(end + 10, 2) + more_entries, 8);
  put_number(at + 40, number_at(end + 12, 4) + more_bytes, 8);
  put_number(at + 48, number_at(end + 16, 4), 8);
  memcpy(at + 56, "PK\6\7", 4);
  put_number(at + 64, head, 8);
  put_number(at + 72, 1, 4);
  memcpy(at + 76, "PK\5\6\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0", 22);
  aon_result result = read_bytes(scene, "zip64.xlsx", made, head + 98);
  free(made);
  free(bytes);
  return result;
}

static void zip64(void **state) {
  test_scene *scene = *state;
  aon_result result = read_zip64(scene, 0, 0);
  if (result)
    fail_msg("%s", scene->error.sentence);
  assert_string_equal(scene->lines, simple_lines);
  assert_refused(scene, read_zip64(scene, UINT64_C(1) << 40, 0), "“entries” allows (10,000)");
  assert_refused(scene, read_zip64(scene, 0, UINT64_C(1) << 40), "“directory_bytes” allows (16,777,216)");
}

static void claims(void **state) {
  test_scene *scene = *state;
  size_t length;
  char *bytes = simple_bytes(scene, &length), *end = last_record(bytes, length, "PK\5\6");
  put_number(end + 8, 65535, 2);
  put_number(end + 10, 65535, 2);
  assert_refused(scene, read_bytes(scene, "claim.xlsx", bytes, length), "“entries” allows (10,000)");
  put_number(end + 8, 6, 2);
  put_number(end + 10, 6, 2);
  put_number(end + 12, 0x7fffffff, 4);
  assert_refused(scene, read_bytes(scene, "claim.xlsx", bytes, length), "“directory_bytes” allows (16,777,216)");
  free(bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(other_formats),
                                     cmocka_unit_test(other_zips),
                                     cmocka_unit_test(password),
                                     cmocka_unit_test(cut_anywhere),
                                     cmocka_unit_test(changed_anywhere),
                                     cmocka_unit_test(wrong_checksum),
                                     cmocka_unit_test(doubled_names),
                                     cmocka_unit_test(zip64),
                                     cmocka_unit_test(claims)};
  return cmocka_run_group_tests(tests, place_open, place_close);
}
