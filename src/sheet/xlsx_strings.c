/* The shared strings of an .xlsx into their table, one after another.
 *
 * Plain ones come from the scanner (xlsx_plain.c), the others from the parser. */
#include <string.h>

#include "sheet/xlsx_rows.h"

typedef struct strings_reader {
  aon_xml xml;
  aon_workbook *workbook;
  aon_buffer text;
  int depth;   /* of the element that is open; 1: sst */
  int skipped; /* depth of an element whose content does not count, 0: none */
  bool in_item, in_text;
  bool plain; /* sst has no prefix, so neither have its elements */
} strings_reader;

/* sst > si > t, sst > si > r > t; phonetic runs (rPh) and all else are skipped. */
static void on_start(aon_xml *xml, const char *name, bool foreign, int count, const xmlChar **attributes) {
  (void)count;
  (void)attributes;
  strings_reader *reader = (strings_reader *)xml;
  int depth = ++reader->depth;
  if (depth == 1)
    reader->plain = !xml->prefixed;
  if (reader->skipped || depth == 1)
    return;
  if (depth == 2 && !foreign && !strcmp(name, "si")) {
    reader->in_item = true;
    aon_buffer_clear(&reader->text);
  } else if (reader->in_item && !foreign && !strcmp(name, "t")) {
    reader->in_text = true;
  } else if (!(depth == 3 && !foreign && !strcmp(name, "r"))) {
    reader->skipped = depth;
  }
}

static void stop_if(strings_reader *reader, aon_result result) {
  if (result)
    aon_xml_stop(&reader->xml, result);
}

/* text: of the reader's own buffer, or of the part; either may be changed in place. */
static void add(strings_reader *reader, char *text, size_t length) {
  length = length ? aon_text_unescape(text, length) : 0;
  stop_if(reader, aon_strings_add(reader->workbook->strings, length ? text : "", length, reader->xml.error));
}

static void on_end(aon_xml *xml, const char *name) {
  (void)name;
  strings_reader *reader = (strings_reader *)xml;
  int depth = reader->depth--;
  if (reader->skipped == depth)
    reader->skipped = 0;
  else if (!reader->skipped)
    reader->in_text = false;
  if (depth != 2 || !reader->in_item)
    return;
  reader->in_item = false;
  add(reader, reader->text.data, reader->text.length);
}

static bool fits(strings_reader *reader, size_t length) {
  uint32_t limit = reader->workbook->limits.string_bytes;
  if (length > limit)
    stop_if(reader, aon_refuse_limit(reader->xml.error, "This workbook has a cell with more bytes of text", "string_bytes", limit));
  return length <= limit;
}

static void on_text(aon_xml *xml, const char *text, size_t length) {
  strings_reader *reader = (strings_reader *)xml;
  if (reader->in_text && !reader->skipped && fits(reader, reader->text.length + length))
    stop_if(reader, aon_buffer_append(&reader->text, text, length, xml->error));
}

static const aon_xml_events events = {on_start, on_end, on_text};

/* ---- plain strings ---- */

void aon_xlsx_string_whole(aon_xml *xml, char *text, size_t length) {
  strings_reader *reader = (strings_reader *)xml;
  if (fits(reader, length))
    add(reader, text, length);
}

static bool ready(const aon_xml *xml) {
  const strings_reader *reader = (const strings_reader *)xml;
  return reader->depth == 1 && !reader->skipped && reader->plain;
}

static const aon_mixed_ops mixed_ops = {ready, aon_xlsx_plain_strings, {"</si>", ">"}};

static aon_result pump(strings_reader *reader, size_t part, aon_error *error) {
  aon_mixed mixed = {0};
  aon_result result = aon_xml_open(&reader->xml, reader->workbook->package, part, &events, error);
  if (!result)
    result = aon_mixed_open(&mixed, reader->workbook->env, &reader->xml, &mixed_ops, error);
  while (!result)
    result = aon_mixed_step(&mixed, error);
  aon_mixed_close(&mixed);
  aon_xml_close(&reader->xml);
  return result == AON_END ? AON_OK : result;
}

aon_result aon_xlsx_strings_read(aon_workbook *workbook, size_t part, aon_error *error) {
  strings_reader reader = {.workbook = workbook};
  aon_result result = aon_strings_new(workbook->env, workbook->limits.strings_memory_bytes, &workbook->strings, error);
  if (!result)
    result = pump(&reader, part, error);
  aon_buffer_release(&reader.text);
  return result;
}
