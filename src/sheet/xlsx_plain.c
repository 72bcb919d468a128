/* Plain rows: the shape in which nearly all programs write nearly all rows, scanned without an XML parser, in half of its time.
 *
 * Invariant: what is taken here is well-formed XML that the parser would have told as the same events. So only a strict subset is taken,
 * and anything else is left to the parser, row by row: no entities, comments, CDATA, processing instructions, namespace declarations,
 * prefixes of elements, carriage returns, control characters, bytes beyond ASCII, and no elements but
 *   row > c > f, v   and   row > c > is > t.
 * A row has no effect before all of it has been scanned. */
#include <stdlib.h>
#include <string.h>

#include "sheet/xlsx_rows.h"

#define ATTRIBUTES_MAX 8 /* of one element; more are left to the parser */

typedef struct plain_cell {
  xlsx_cell_attributes attributes;
  aon_text value, inline_text; /* data NULL: not there */
} plain_cell;

typedef struct scanner {
  const char *at, *end;
  xlsx_plain trouble; /* TAKEN: none so far */
} scanner;

typedef struct attribute {
  aon_text name, value;
} attribute;

static bool give_up(scanner *scan, xlsx_plain why) {
  if (scan->trouble == XLSX_PLAIN_TAKEN)
    scan->trouble = why;
  return false;
}

/* The text must stand here. */
static bool take(scanner *scan, const char *text, size_t length) {
  size_t left = (size_t)(scan->end - scan->at);
  if (left < length)
    return give_up(scan, XLSX_PLAIN_INCOMPLETE);
  if (memcmp(scan->at, text, length))
    return give_up(scan, XLSX_PLAIN_UNUSUAL);
  scan->at += length;
  return true;
}

/* Is the text here? Looks only. */
static bool ahead(scanner *scan, const char *text, size_t length) {
  if ((size_t)(scan->end - scan->at) < length) {
    give_up(scan, XLSX_PLAIN_INCOMPLETE);
    return false;
  }
  return !memcmp(scan->at, text, length);
}

static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t'; }

static void skip_spaces(scanner *scan) {
  while (scan->at < scan->end && is_space(*scan->at))
    scan->at++;
}

static bool is_name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

static bool is_name(char c) { return is_name_start(c) || (c >= '0' && c <= '9') || c == ':' || c == '-' || c == '.'; }

/* Characters that may stand in plain text and attributes. */
static bool is_plain(char c) { return ((unsigned char)c >= 0x20 && (unsigned char)c < 0x7f && c != '<' && c != '&' && c != '>'); }

static bool take_name(scanner *scan, aon_text *ret_name) {
  const char *start = scan->at;
  int colons = 0;
  if (scan->at < scan->end && !is_name_start(*scan->at))
    return give_up(scan, XLSX_PLAIN_UNUSUAL);
  for (; scan->at < scan->end && is_name(*scan->at); scan->at++)
    colons += *scan->at == ':';
  if (scan->at == scan->end)
    return give_up(scan, XLSX_PLAIN_INCOMPLETE);
  *ret_name = (aon_text){start, (size_t)(scan->at - start)};
  if (colons > 1 || scan->at[-1] == ':' || (ret_name->length >= 5 && !memcmp(start, "xmlns", 5)))
    return give_up(scan, XLSX_PLAIN_UNUSUAL);
  return true;
}

static bool take_attribute(scanner *scan, attribute *ret_attribute) {
  if (!take_name(scan, &ret_attribute->name) || !take(scan, "=", 1))
    return false;
  if (scan->at == scan->end)
    return give_up(scan, XLSX_PLAIN_INCOMPLETE);
  char quote = *scan->at++;
  if (quote != '"' && quote != '\'')
    return give_up(scan, XLSX_PLAIN_UNUSUAL);
  const char *start = scan->at;
  while (scan->at < scan->end && *scan->at != quote && is_plain(*scan->at))
    scan->at++;
  ret_attribute->value = (aon_text){start, (size_t)(scan->at - start)};
  if (scan->at == scan->end)
    return give_up(scan, XLSX_PLAIN_INCOMPLETE);
  if (*scan->at++ != quote)
    return give_up(scan, XLSX_PLAIN_UNUSUAL);
  return true;
}

static bool same_name(aon_text a, aon_text b) { return a.length == b.length && !memcmp(a.data, b.data, a.length); }

/* What follows an element's name, up to and with '>'. */
static bool take_attributes(scanner *scan, attribute attributes[ATTRIBUTES_MAX], size_t *ret_count, bool *ret_empty) {
  size_t count = 0;
  for (;;) {
    const char *before = scan->at;
    skip_spaces(scan);
    if (scan->at == scan->end)
      return give_up(scan, XLSX_PLAIN_INCOMPLETE);
    *ret_empty = *scan->at == '/';
    if (*scan->at == '/' || *scan->at == '>') {
      *ret_count = count;
      return *ret_empty ? take(scan, "/>", 2) : take(scan, ">", 1);
    }
    if (before == scan->at || count == ATTRIBUTES_MAX)
      return give_up(scan, XLSX_PLAIN_UNUSUAL);
    if (!take_attribute(scan, &attributes[count]))
      return false;
    for (size_t i = 0; i < count; i++) {
      if (same_name(attributes[i].name, attributes[count].name))
        return give_up(scan, XLSX_PLAIN_UNUSUAL);
    }
    count++;
  }
}

/* Text and the tag that closes it. */
static bool take_text(scanner *scan, const char *closing, size_t length, aon_text *ret_text) {
  const char *start = scan->at;
  while (scan->at < scan->end && (is_plain(*scan->at) || *scan->at == '\n' || *scan->at == '\t'))
    scan->at++;
  *ret_text = (aon_text){start, (size_t)(scan->at - start)};
  return take(scan, closing, length);
}

static bool take_formula(scanner *scan) {
  attribute attributes[ATTRIBUTES_MAX];
  size_t count;
  bool empty;
  aon_text text;
  return take(scan, "<f", 2) && take_attributes(scan, attributes, &count, &empty) && (empty || take_text(scan, "</f>", 4, &text));
}

static bool take_inline(scanner *scan, plain_cell *cell) {
  attribute attributes[ATTRIBUTES_MAX];
  size_t count;
  bool empty;
  if (!take(scan, "<is><t", 6) || !take_attributes(scan, attributes, &count, &empty))
    return false;
  if (empty)
    return give_up(scan, XLSX_PLAIN_UNUSUAL);
  return take_text(scan, "</t></is>", 9, &cell->inline_text);
}

/* All up to and with </c>; each of f, v and is at most once. */
static bool take_content(scanner *scan, plain_cell *cell) {
  bool formula = false;
  for (;;) {
    skip_spaces(scan);
    if (ahead(scan, "</c>", 4)) {
      scan->at += 4;
      return true;
    }
    if (scan->trouble)
      return false;
    bool good;
    if (!cell->value.data && scan->at[1] == 'v')
      good = take(scan, "<v>", 3) && take_text(scan, "</v>", 4, &cell->value);
    else if (!formula && !cell->value.data && scan->at[1] == 'f')
      good = formula = take_formula(scan);
    else if (!cell->inline_text.data && scan->at[1] == 'i')
      good = take_inline(scan, cell);
    else
      good = give_up(scan, XLSX_PLAIN_UNUSUAL);
    if (!good)
      return false;
  }
}

static bool take_cell(scanner *scan, plain_cell *ret_cell) {
  attribute attributes[ATTRIBUTES_MAX];
  size_t count;
  bool empty;
  *ret_cell = (plain_cell){0};
  if (!take(scan, "<c", 2) || !take_attributes(scan, attributes, &count, &empty))
    return false;
  for (size_t i = 0; i < count; i++) {
    if (attributes[i].name.length != 1)
      continue;
    switch (attributes[i].name.data[0]) {
    case 'r':
      ret_cell->attributes.reference = attributes[i].value;
      break;
    case 's':
      ret_cell->attributes.style = attributes[i].value;
      break;
    case 't':
      ret_cell->attributes.type = attributes[i].value;
      break;
    default:
      break;
    }
  }
  return empty || take_content(scan, ret_cell);
}

static bool add_cell(xlsx_rows *reader, scanner *scan, size_t count) {
  if (count == reader->plain_capacity) {
    size_t capacity = count ? count * 2 : 64;
    plain_cell *grown = realloc(reader->plain_cells, capacity * sizeof *grown);
    if (!grown) {
      aon_xml_stop(&reader->xml, aon_fail_memory(reader->xml.error));
      return give_up(scan, XLSX_PLAIN_UNUSUAL);
    }
    reader->plain_cells = grown;
    reader->plain_capacity = capacity;
  }
  return take_cell(scan, &reader->plain_cells[count]);
}

/* Scans one row into plain_cells. */
static bool take_row(xlsx_rows *reader, scanner *scan, aon_text *ret_reference, size_t *ret_count) {
  attribute attributes[ATTRIBUTES_MAX];
  size_t count, cells = 0;
  bool empty;
  *ret_reference = (aon_text){0};
  if (!take(scan, "<row", 4) || !take_attributes(scan, attributes, &count, &empty))
    return false;
  for (size_t i = 0; i < count; i++) {
    if (attributes[i].name.length == 1 && attributes[i].name.data[0] == 'r')
      *ret_reference = attributes[i].value;
  }
  for (; !empty; cells++) {
    skip_spaces(scan);
    if (ahead(scan, "</", 2)) {
      if (!take(scan, "</row>", 6))
        return false;
      break;
    }
    if (scan->trouble || !add_cell(reader, scan, cells))
      return false;
  }
  *ret_count = cells;
  return true;
}

static void tell_cell(xlsx_rows *reader, const plain_cell *cell) {
  aon_xlsx_cell_start(reader, &cell->attributes);
  if (reader->xml.failed)
    return;
  const aon_text *text = reader->content == CONTENT_INLINE ? &cell->inline_text : &cell->value;
  reader->has_value = text->data != NULL;
  if (text->length)
    aon_xlsx_cell_text(reader, text->data, text->length);
  if (!reader->xml.failed)
    aon_xlsx_cell_end(reader);
}

xlsx_plain aon_xlsx_plain_rows(xlsx_rows *reader, const char *bytes, size_t length, size_t *ret_used) {
  scanner scan = {bytes, bytes + length, XLSX_PLAIN_TAKEN};
  aon_text reference;
  size_t count;
  for (;;) {
    skip_spaces(&scan);
    *ret_used = (size_t)(scan.at - bytes);
    if (reader->xml.failed || scan.at == scan.end || !take_row(reader, &scan, &reference, &count))
      return scan.trouble;
    aon_xlsx_row_start(reader, reference.data ? &reference : NULL);
    for (size_t i = 0; i < count && !reader->xml.failed; i++)
      tell_cell(reader, &reader->plain_cells[i]);
    if (!reader->xml.failed)
      aon_xlsx_row_end(reader);
  }
}
