/* Plain rows and shared strings: the shape in which nearly all programs write nearly all of them, scanned without an XML parser, in a fifth
 * of its time.
 *
 * Invariant: what is taken here is well-formed XML that the parser would have told as the same events. So only a strict subset is taken,
 * and anything else is left to the parser, row by row: no entities, comments, CDATA, processing instructions, namespace declarations,
 * prefixes of elements, carriage returns, control characters, bytes beyond ASCII but in texts, and no elements but
 *   row > c > f, v   and   row > c > is > t   and   si > t.
 * A row has no effect before all of it has been scanned. Cells as Excel writes them are matched as they stand; another order, other spaces
 * or attributes go the longer way through take_attributes and take_content. */
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
  aon_plain trouble; /* TAKEN: none so far */
} scanner;

typedef struct attribute {
  aon_text name, value;
} attribute;

static bool give_up(scanner *scan, aon_plain why) {
  if (scan->trouble == AON_PLAIN_TAKEN)
    scan->trouble = why;
  return false;
}

/* The text must stand here. */
static inline bool take(scanner *scan, const char *text, size_t length) {
  if (!memcmp(scan->at, text, length)) {
    scan->at += length;
    return true;
  }
  return give_up(scan, (size_t)(scan->end - scan->at) < length ? AON_PLAIN_INCOMPLETE : AON_PLAIN_UNUSUAL);
}

/* Is the text here? Looks only. */
static inline bool ahead(scanner *scan, const char *text, size_t length) {
  if (!memcmp(scan->at, text, length))
    return true;
  if ((size_t)(scan->end - scan->at) < length)
    give_up(scan, AON_PLAIN_INCOMPLETE);
  return false;
}

static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t'; }

static void skip_spaces(scanner *scan) {
  while (scan->at < scan->end && is_space(*scan->at))
    scan->at++;
}

static bool is_name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

static bool is_name(char c) { return is_name_start(c) || (c >= '0' && c <= '9') || c == ':' || c == '-' || c == '.'; }

static bool take_name(scanner *scan, aon_text *ret_name) {
  const char *start = scan->at;
  int colons = 0;
  if (scan->at < scan->end && !is_name_start(*scan->at))
    return give_up(scan, AON_PLAIN_UNUSUAL);
  for (; scan->at < scan->end && is_name(*scan->at); scan->at++)
    colons += *scan->at == ':';
  if (scan->at == scan->end)
    return give_up(scan, AON_PLAIN_INCOMPLETE);
  *ret_name = (aon_text){start, (size_t)(scan->at - start)};
  if (colons > 1 || scan->at[-1] == ':' || (ret_name->length >= 5 && !memcmp(start, "xmlns", 5)))
    return give_up(scan, AON_PLAIN_UNUSUAL);
  return true;
}

static bool take_attribute(scanner *scan, attribute *ret_attribute) {
  if (!take_name(scan, &ret_attribute->name) || !take(scan, "=", 1))
    return false;
  if (scan->at == scan->end)
    return give_up(scan, AON_PLAIN_INCOMPLETE);
  char quote = *scan->at++;
  if (quote != '"' && quote != '\'')
    return give_up(scan, AON_PLAIN_UNUSUAL);
  const char *start = scan->at;
  scan->at += aon_plain_attribute(start);
  ret_attribute->value = (aon_text){start, (size_t)(scan->at - start)};
  if (scan->at == scan->end)
    return give_up(scan, AON_PLAIN_INCOMPLETE);
  if (*scan->at++ != quote)
    return give_up(scan, AON_PLAIN_UNUSUAL);
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
      return give_up(scan, AON_PLAIN_INCOMPLETE);
    *ret_empty = *scan->at == '/';
    if (*scan->at == '/' || *scan->at == '>') {
      *ret_count = count;
      return *ret_empty ? take(scan, "/>", 2) : take(scan, ">", 1);
    }
    if (before == scan->at || count == ATTRIBUTES_MAX)
      return give_up(scan, AON_PLAIN_UNUSUAL);
    if (!take_attribute(scan, &attributes[count]))
      return false;
    for (size_t i = 0; i < count; i++) {
      if (same_name(attributes[i].name, attributes[count].name))
        return give_up(scan, AON_PLAIN_UNUSUAL);
    }
    count++;
  }
}

/* Text and the tag that closes it. */
static inline bool take_text(scanner *scan, const char *closing, size_t length, aon_text *ret_text) {
  *ret_text = (aon_text){scan->at, aon_plain_text(scan->at)};
  scan->at += ret_text->length;
  if ((unsigned char)*scan->at >= 0x80 && scan->end - scan->at < 4)
    return give_up(scan, AON_PLAIN_INCOMPLETE); /* a character that goes on behind the end */
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
    return give_up(scan, AON_PLAIN_UNUSUAL);
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
      good = give_up(scan, AON_PLAIN_UNUSUAL);
    if (!good)
      return false;
  }
}

static void note_attribute(plain_cell *cell, char name, aon_text value) {
  if (name == 'r')
    cell->attributes.reference = value;
  else if (name == 's')
    cell->attributes.style = value;
  else if (name == 't')
    cell->attributes.type = value;
}

/* ' r="A1" s="1" t="s"' in any order, and the '>'. false: something else stands there, and nothing was taken. */
static inline bool match_attributes(scanner *scan, plain_cell *cell, bool *ret_empty) {
  const char *at = scan->at;
  while (at[0] == ' ' && (at[1] == 'r' || at[1] == 's' || at[1] == 't') && at[2] == '=' && at[3] == '"') {
    aon_text *value = at[1] == 'r' ? &cell->attributes.reference : at[1] == 's' ? &cell->attributes.style : &cell->attributes.type;
    if (value->data)
      return false;
    *value = (aon_text){at + 4, aon_plain_attribute(at + 4)};
    at += 4 + value->length;
    if (*at++ != '"')
      return false;
  }
  *ret_empty = *at == '/';
  at += *ret_empty;
  if (*at++ != '>')
    return false;
  scan->at = at;
  return true;
}

/* "<v>…</v></c>" or "<is><t>…</t></is></c>". false: something else stands there, and nothing was taken. */
static inline bool match_content(scanner *scan, plain_cell *cell) {
  const char *at = scan->at;
  if (!memcmp(at, "<v>", 3)) {
    cell->value = (aon_text){at + 3, aon_plain_text(at + 3)};
    at += 3 + cell->value.length;
    if (!memcmp(at, "</v></c>", 8)) {
      scan->at = at + 8;
      return true;
    }
    cell->value = (aon_text){0};
  } else if (!memcmp(at, "<is><t>", 7)) {
    cell->inline_text = (aon_text){at + 7, aon_plain_text(at + 7)};
    at += 7 + cell->inline_text.length;
    if (!memcmp(at, "</t></is></c>", 13)) {
      scan->at = at + 13;
      return true;
    }
    cell->inline_text = (aon_text){0};
  }
  return false;
}

static bool take_cell_attributes(scanner *scan, plain_cell *cell, bool *ret_empty) {
  attribute attributes[ATTRIBUTES_MAX];
  size_t count;
  *cell = (plain_cell){0};
  if (!take_attributes(scan, attributes, &count, ret_empty))
    return false;
  for (size_t i = 0; i < count; i++) {
    if (attributes[i].name.length == 1)
      note_attribute(cell, attributes[i].name.data[0], attributes[i].value);
  }
  return true;
}

static inline bool take_cell(scanner *scan, plain_cell *ret_cell) {
  bool empty;
  *ret_cell = (plain_cell){0};
  if (!take(scan, "<c", 2) || (!match_attributes(scan, ret_cell, &empty) && !take_cell_attributes(scan, ret_cell, &empty)))
    return false;
  return empty || match_content(scan, ret_cell) || take_content(scan, ret_cell);
}

static bool add_cell(xlsx_rows *reader, scanner *scan, size_t count) {
  if (count == reader->plain_capacity) {
    size_t capacity = count ? count * 2 : 64;
    plain_cell *grown = realloc(reader->plain_cells, capacity * sizeof *grown);
    if (!grown) {
      aon_xml_stop(&reader->xml, aon_fail_memory(reader->xml.error));
      return give_up(scan, AON_PLAIN_UNUSUAL);
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

aon_plain aon_xlsx_plain_rows(aon_xml *xml, char *bytes, size_t length, size_t *ret_used) {
  xlsx_rows *reader = (xlsx_rows *)xml;
  scanner scan = {bytes, bytes + length, AON_PLAIN_TAKEN};
  aon_text reference;
  size_t count;
  for (;;) {
    skip_spaces(&scan);
    *ret_used = (size_t)(scan.at - bytes);
    if (reader->xml.failed || scan.at == scan.end || !take_row(reader, &scan, &reference, &count))
      return scan.trouble;
    aon_xlsx_row_start(reader, reference.data ? &reference : NULL);
    for (size_t i = 0; i < count && !reader->xml.failed; i++) {
      const plain_cell *cell = &reader->plain_cells[i];
      aon_xlsx_cell_whole(reader, &cell->attributes, cell->value, cell->inline_text);
    }
    if (!reader->xml.failed)
      aon_xlsx_row_end(reader);
  }
}

/* ---- shared strings ---- */

/* "<si><t>…</t></si>", where t may say xml:space="preserve"; formatted texts (r), phonetic ones and all else are the parser's. */
aon_plain aon_xlsx_plain_strings(aon_xml *xml, char *bytes, size_t length, size_t *ret_used) {
  static const aon_text starts[] = {AON_TEXT("<si><t>"), AON_TEXT("<si><t xml:space=\"preserve\">")}, end = AON_TEXT("</t></si>");
  char *at = bytes, *stop = bytes + length;
  for (;;) {
    while (*at == '\n' || *at == ' ' || *at == '\t')
      at++;
    *ret_used = (size_t)(at - bytes);
    if (at == stop || xml->failed)
      return AON_PLAIN_TAKEN;
    const aon_text *start = &starts[at[6] == ' '];
    size_t left = (size_t)(stop - at);
    if (left < start->length)
      return AON_PLAIN_INCOMPLETE;
    if (memcmp(at, start->data, start->length))
      return AON_PLAIN_UNUSUAL;
    char *text = at + start->length;
    size_t run = aon_plain_text(text);
    left = (size_t)(stop - text) - run;
    if (left < end.length)
      return AON_PLAIN_INCOMPLETE;
    if (memcmp(text + run, end.data, end.length))
      return AON_PLAIN_UNUSUAL;
    aon_xlsx_string_whole(xml, text, run);
    at = text + run + end.length;
  }
}
