/* What is this file? Anything but a zip is refused here, in words that say what it is and what to do.
 * Sources: [MS-CFB] (compound files: .xls and encrypted .xlsx), the magic numbers of file(1). */
#include <string.h>
#include <strings.h>

#include "sheet/internal.h"

#define HEAD_BYTES 4096
#define CHAIN_SECTORS 64 /* of a compound file's directory that are looked at */

#define LONE_CSV                                                                                                                           \
  "This is a single .csv file, and a workbook is made of one or more. Put it into a folder or a zip (each .csv is a sheet named after "    \
  "the file) and give that."

static uint32_t u32_at(const unsigned char *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* An entry's name is UTF-16 in its first 64 bytes. */
static bool entry_named(const unsigned char *entry, const char *name) {
  size_t i = 0;
  for (; name[i]; i++) {
    if (entry[2 * i] != (unsigned char)name[i] || entry[2 * i + 1])
      return false;
  }
  return entry[2 * i] == 0 && entry[2 * i + 1] == 0;
}

typedef enum compound { COMPOUND_UNKNOWN, COMPOUND_XLS, COMPOUND_ENCRYPTED, COMPOUND_WORD } compound;

static compound compound_of_sector(const unsigned char *sector, size_t length) {
  compound found = COMPOUND_UNKNOWN;
  for (size_t at = 0; at + 128 <= length; at += 128) {
    if (entry_named(sector + at, "EncryptedPackage") || entry_named(sector + at, "EncryptionInfo"))
      return COMPOUND_ENCRYPTED;
    if (entry_named(sector + at, "Workbook") || entry_named(sector + at, "Book"))
      found = COMPOUND_XLS;
    if (entry_named(sector + at, "WordDocument"))
      found = COMPOUND_WORD;
  }
  return found;
}

/* Follows the directory's chain through the allocation table's sectors that the header names itself. */
static aon_result compound_kind(aon_env *env, aon_file *file, const unsigned char *head, compound *ret_kind, aon_error *error) {
  unsigned char sector[4096], entry[4];
  size_t shift = head[30] == 12 ? 12 : 9, size = (size_t)1 << shift, got;
  uint32_t number = u32_at(head + 48);
  *ret_kind = COMPOUND_UNKNOWN;
  for (int i = 0; i < CHAIN_SECTORS && number < 0xfffffff0u && *ret_kind != COMPOUND_ENCRYPTED; i++) {
    aon_result result = env->ops->file_read(file, ((uint64_t)number + 1) << shift, sector, size, &got, error);
    if (result)
      return result;
    compound found = compound_of_sector(sector, got);
    if (found)
      *ret_kind = found;
    uint32_t table = number >> (shift - 2);
    if (table >= 109 || u32_at(head + 76 + 4 * table) >= 0xfffffff0u)
      return AON_OK;
    uint64_t place = (((uint64_t)u32_at(head + 76 + 4 * table) + 1) << shift) + 4 * (number & ((1u << (shift - 2)) - 1));
    result = env->ops->file_read(file, place, entry, sizeof entry, &got, error);
    if (result)
      return result;
    if (got < sizeof entry)
      return AON_OK;
    number = u32_at(entry);
  }
  return AON_OK;
}

static aon_result refuse_compound(aon_env *env, aon_file *file, const unsigned char *head, size_t length, aon_error *error) {
  compound kind = COMPOUND_UNKNOWN;
  if (length >= 512) {
    aon_result result = compound_kind(env, file, head, &kind, error);
    if (result)
      return result;
  }
  switch (kind) {
  case COMPOUND_ENCRYPTED:
    return aon_refuse(error, "This workbook is protected by a password. Open it in Excel, remove the password (File, Info, Protect "
                             "Workbook, Encrypt with Password), save it and try again.");
  case COMPOUND_XLS:
    return aon_refuse(error, "This is an old .xls file. Save it as .xlsx and try again.");
  case COMPOUND_WORD:
    return aon_refuse(error, "This is an old Word document (.doc), not a workbook. Give an .xlsx file.");
  default:
    return aon_refuse(error, "This is a file of an old Office program, not an .xlsx file. Save it as .xlsx and try again.");
  }
}

static bool has_ending(const char *path, const char *ending) {
  size_t length = strlen(path), wanted = strlen(ending);
  return length >= wanted && !strcasecmp(path + length - wanted, ending);
}

static bool begins(const unsigned char *head, size_t length, const char *magic, size_t wanted) {
  return length >= wanted && !memcmp(head, magic, wanted);
}

/* Leading blanks and a byte order mark skipped, case of letters aside. */
static bool text_begins(const unsigned char *head, size_t length, const char *word) {
  size_t at = begins(head, length, "\xef\xbb\xbf", 3) ? 3 : 0, wanted = strlen(word);
  while (at < length && strchr(" \t\r\n", head[at]) && head[at])
    at++;
  return length - at >= wanted && !strncasecmp((const char *)head + at, word, wanted);
}

static bool looks_like_text(const unsigned char *head, size_t length) {
  if (begins(head, length, "\xff\xfe", 2) || begins(head, length, "\xfe\xff", 2))
    return true;
  for (size_t i = 0; i < length; i++) {
    if (head[i] < 0x20 && head[i] != '\t' && head[i] != '\n' && head[i] != '\r' && head[i] != '\f')
      return false;
  }
  return true;
}

static aon_result refuse_text(const unsigned char *head, size_t length, aon_error *error) {
  if (text_begins(head, length, "<!doctype html") || text_begins(head, length, "<html") || text_begins(head, length, "<table") ||
      text_begins(head, length, "<head"))
    return aon_refuse(error, "This is a web page (HTML), not a workbook. Open it in Excel or LibreOffice, save it as .xlsx and try again.");
  if (text_begins(head, length, "<?xml") || text_begins(head, length, "<workbook"))
    return aon_refuse(error, "This is an XML file, not a workbook. Open it in Excel or LibreOffice, save it as .xlsx and try again.");
  if (text_begins(head, length, "ID;"))
    return aon_refuse(error, "This is a SYLK file (.slk). Open it in Excel or LibreOffice, save it as .xlsx and try again.");
  if (text_begins(head, length, "{\\rtf"))
    return aon_refuse(error, "This is a text document (RTF), not a workbook. Give an .xlsx file.");
  return aon_refuse(error, "This is a text file, not a workbook. If it holds comma-separated values, name it .csv, put it into a folder or "
                           "a zip and give that; else save it as .xlsx and try again.");
}

aon_result aon_file_recognise(aon_env *env, aon_file *file, uint64_t size_bytes, const char *path, aon_error *error) {
  static const struct {
    const char *magic;
    size_t length;
    const char *sentence;
  } known[] = {
      {"%PDF", 4, "This is a PDF file, not a workbook. Give the .xlsx file that it was made from."},
      {"\x1f\x8b", 2, "This is a file packed by gzip. Unpack it and give the workbook inside."},
      {"7z\xbc\xaf", 4, "This is a 7z archive. Unpack it and give the workbook inside, or pack .csv files as an ordinary zip."},
      {"Rar!", 4, "This is a RAR archive. Unpack it and give the workbook inside, or pack .csv files as an ordinary zip."},
      {"\x89PNG", 4, "This is a picture, not a workbook. Give an .xlsx file."},
      {"\xff\xd8\xff", 3, "This is a picture, not a workbook. Give an .xlsx file."},
      {"SQLite format 3", 15, "This is a SQLite database, not a workbook. Give an .xlsx file."},
  };
  unsigned char head[HEAD_BYTES];
  size_t length;
  if (size_bytes == 0)
    return aon_refuse(error, "This file is empty. Save or upload the workbook again and try again.");
  aon_result result = env->ops->file_read(file, 0, head, sizeof head, &length, error);
  if (result)
    return result;
  if (begins(head, length, "PK", 2) && length > 3 && head[2] < 9 && head[3] < 9)
    return AON_OK;
  if (begins(head, length, "\xd0\xcf\x11\xe0", 4))
    return refuse_compound(env, file, head, length, error);
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    if (begins(head, length, known[i].magic, known[i].length))
      return aon_refuse(error, "%s", known[i].sentence);
  }
  if (has_ending(path, ".csv") || has_ending(path, ".tsv"))
    return aon_refuse(error, LONE_CSV);
  if (looks_like_text(head, length))
    return refuse_text(head, length, error);
  return aon_refuse(error, "This is not a workbook, or it is damaged. Give an .xlsx file, or a folder or zip of .csv files.");
}
