/* The workbook part and the content types: in memory as bytes, rewritten tag by tag. */
#include "sheet/report_book.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sheet/report_relations.h"
#include "sheet/shared_strings.h"

#define RELATIONS "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
#define RELATIONS_STRICT "http://purl.oclc.org/ooxml/officeDocument/relationships"

static aon_result sheet_add(aon_book *book, const aon_token *token, aon_arena *arena, const char *ours, aon_error *error) {
  if (book->count == book->capacity) {
    size_t capacity = book->capacity ? book->capacity * 2 : 16;
    aon_book_sheet *sheets = realloc(book->sheets, capacity * sizeof *sheets);
    if (!sheets)
      return aon_fail_memory(error);
    book->sheets = sheets;
    book->capacity = capacity;
  }
  aon_text name = {"", 0}, relation = {"", 0};
  aon_tag_attribute(token->bytes, "name", &name);
  aon_tag_attribute(token->bytes, ":id", &relation);
  char *decoded = aon_markup_decode(arena, name), *id = aon_markup_decode(arena, relation);
  if (!decoded || !id)
    return aon_fail_memory(error);
  decoded[aon_text_unescape(decoded, strlen(decoded))] = 0;
  uint32_t number = aon_tag_number(token->bytes, "sheetId", 0);
  book->last_id = number > book->last_id ? number : book->last_id;
  aon_book_sheet sheet = {.name = decoded, .relation = id, .ours = !strcasecmp(decoded, ours)};
  if (sheet.ours)
    book->ours = book->count;
  book->sheets[book->count++] = sheet;
  return AON_OK;
}

aon_result aon_book_read(aon_book *book, aon_package *package, size_t part, aon_arena *arena, const char *ours, aon_error *error) {
  AON_MARKUP_CLEANUP aon_markup *markup = NULL;
  *book = (aon_book){.ours = SIZE_MAX};
  aon_result result = aon_part_load(package, part, &book->bytes, error);
  if (!result)
    result = aon_markup_open_bytes(book->bytes.data, book->bytes.length, &markup, error);
  aon_token token;
  bool in_sheets = false;
  while (!result && !(result = aon_markup_next(markup, &token, error))) {
    if (aon_token_opens(&token, "workbook"))
      book->strict = memmem(token.bytes.data, token.bytes.length, "purl.oclc.org/ooxml/spreadsheetml/main", 38) != NULL;
    if (aon_token_opens(&token, "bookViews"))
      book->viewed = true;
    if (aon_token_opens(&token, "sheets"))
      in_sheets = true;
    if (aon_token_closes(&token, "sheets"))
      in_sheets = false;
    if (in_sheets && aon_token_opens(&token, "sheet"))
      result = sheet_add(book, &token, arena, ours, error);
  }
  return result == AON_END ? AON_OK : result;
}

void aon_book_release(aon_book *book) {
  aon_buffer_release(&book->bytes);
  free(book->sheets);
  *book = (aon_book){0};
}

/* Where the sheet at a position stands afterwards. */
static uint32_t moved(const aon_book *book, uint32_t index) {
  if (book->ours == SIZE_MAX || index < book->ours)
    return index + 1;
  return index == book->ours ? 0 : index;
}

typedef struct book_writer {
  aon_book *book;
  const char *name, *relation;
  aon_sink *sink;
  aon_buffer tag;
  char prefix[64];
  bool related, in_sheets;
  size_t sheet;
  const char *skipping; /* an element that goes, with all that is in it */
  bool views;           /* bookViews was seen or written */
} book_writer;

static aon_result lift(book_writer *writer, const aon_token *token, aon_error *error) {
  aon_buffer_clear(&writer->tag);
  return aon_buffer_append(&writer->tag, token->bytes.data, token->bytes.length, error);
}

static void put(book_writer *writer) { aon_sink_put(writer->sink, writer->tag.data, writer->tag.length); }

static void root(book_writer *writer, const aon_token *token) {
  aon_text space;
  snprintf(writer->prefix, sizeof writer->prefix, "%.*s", (int)token->prefix.length, token->prefix.data);
  writer->related =
      aon_tag_attribute(token->bytes, "xmlns:r", &space) && aon_text_is(space, writer->book->strict ? RELATIONS_STRICT : RELATIONS);
}

static aon_result view(book_writer *writer, const aon_token *token, aon_error *error) {
  uint32_t active = moved(writer->book, aon_tag_number(token->bytes, "activeTab", 0));
  uint32_t first = aon_tag_number(token->bytes, "firstSheet", 0);
  aon_result result = lift(writer, token, error);
  if (!result)
    result = aon_tag_set_number(&writer->tag, "activeTab", active, error);
  if (!result && first)
    result = aon_tag_set_number(&writer->tag, "firstSheet", moved(writer->book, first), error);
  if (result)
    return result;
  put(writer);
  writer->book->selected = writer->book->selected || active == 0;
  return AON_OK;
}

static aon_result name(book_writer *writer, const aon_token *token, aon_error *error) {
  uint32_t sheet = aon_tag_number(token->bytes, "localSheetId", UINT32_MAX);
  if (sheet != UINT32_MAX && sheet == writer->book->ours) {
    writer->skipping = token->kind == AON_TOKEN_START ? "definedName" : NULL;
    return AON_OK;
  }
  aon_result result = lift(writer, token, error);
  if (!result && sheet != UINT32_MAX)
    result = aon_tag_set_number(&writer->tag, "localSheetId", moved(writer->book, sheet), error);
  put(writer);
  return result;
}

static aon_result sheets_open(book_writer *writer, const aon_token *token, aon_error *error) {
  const char *p = writer->prefix, *space = writer->book->strict ? RELATIONS_STRICT : RELATIONS;
  if (!writer->views && !writer->book->viewed) /* else the sheet of errors would be open together with the first one, as a group */
    aon_sink_format(writer->sink, "<%sbookViews><%sworkbookView activeTab=\"%u\"/></%sbookViews>", p, p, moved(writer->book, 0), p);
  writer->views = true;
  writer->in_sheets = token->kind == AON_TOKEN_START;
  aon_result result = lift(writer, token, error);
  if (!result)
    result = aon_tag_unclose(&writer->tag, error);
  put(writer);
  aon_sink_format(writer->sink, "<%ssheet name=\"%s\" sheetId=\"%u\"%s%s%s r:id=\"%s\"/>", p, writer->name, writer->book->last_id + 1,
                  writer->related ? "" : " xmlns:r=\"", writer->related ? "" : space, writer->related ? "" : "\"", writer->relation);
  if (token->kind == AON_TOKEN_EMPTY)
    aon_sink_format(writer->sink, "</%ssheets>", p);
  return result;
}

static aon_result write_token(book_writer *writer, const aon_token *token, aon_error *error) {
  if (writer->skipping) {
    if (aon_token_closes(token, writer->skipping))
      writer->skipping = NULL;
    return AON_OK;
  }
  if (aon_token_opens(token, "workbook"))
    root(writer, token);
  if (aon_token_opens(token, "workbookView"))
    return view(writer, token, error);
  if (aon_token_opens(token, "definedName"))
    return name(writer, token, error);
  if (aon_token_opens(token, "sheets"))
    return sheets_open(writer, token, error);
  if (aon_token_closes(token, "sheets"))
    writer->in_sheets = false;
  if (writer->in_sheets && aon_token_opens(token, "sheet") && writer->sheet++ == writer->book->ours) {
    writer->skipping = token->kind == AON_TOKEN_START ? "sheet" : NULL;
    return AON_OK;
  }
  aon_sink_put(writer->sink, token->bytes.data, token->bytes.length);
  return AON_OK;
}

aon_result aon_book_write(aon_book *book, const char *sheet_name, const char *relation, aon_sink *sink, aon_error *error) {
  AON_MARKUP_CLEANUP aon_markup *markup = NULL;
  book_writer writer = {.book = book, .name = sheet_name, .relation = relation, .sink = sink};
  book->selected = false;
  aon_result result = aon_markup_open_bytes(book->bytes.data, book->bytes.length, &markup, error);
  aon_token token;
  while (!result && !(result = aon_markup_next(markup, &token, error)))
    result = write_token(&writer, &token, error);
  aon_buffer_release(&writer.tag);
  return result == AON_END ? AON_OK : result;
}

/* --- content types --- */

static bool same_part(aon_text value, const char *part) {
  while (value.length && (*value.data == '/' || *value.data == '\\')) {
    value.data++;
    value.length--;
  }
  return value.length == strlen(part) && !strncasecmp(value.data, part, value.length);
}

static void types_add(const char *prefix, const aon_content_type *added, size_t count, bool drawing, aon_sink *sink) {
  if (drawing)
    aon_sink_format(sink, "<%sDefault Extension=\"vml\" ContentType=\"" AON_TYPE_DRAWING "\"/>", prefix);
  for (size_t i = 0; i < count; i++) {
    aon_sink_format(sink, "<%sOverride PartName=\"/", prefix);
    aon_sink_escape(sink, added[i].part);
    aon_sink_format(sink, "\" ContentType=\"%s\"/>", added[i].type);
  }
}

aon_result aon_content_types_write(const aon_buffer *bytes, const char *removed, const aon_content_type *added, size_t count, bool drawing,
                                   aon_sink *sink, aon_error *error) {
  AON_MARKUP_CLEANUP aon_markup *markup = NULL;
  char prefix[64] = "";
  aon_result result = aon_markup_open_bytes(bytes->data, bytes->length, &markup, error);
  aon_token token;
  aon_text value;
  while (!result && !(result = aon_markup_next(markup, &token, error))) {
    if (aon_token_opens(&token, "Types"))
      snprintf(prefix, sizeof prefix, "%.*s", (int)token.prefix.length, token.prefix.data);
    if (aon_token_opens(&token, "Default") && aon_tag_attribute(token.bytes, "Extension", &value) && value.length == 3 &&
        !strncasecmp(value.data, "vml", 3))
      drawing = false;
    if (removed && aon_token_opens(&token, "Override") && token.kind == AON_TOKEN_EMPTY &&
        aon_tag_attribute(token.bytes, "PartName", &value) && same_part(value, removed))
      continue;
    if (aon_token_closes(&token, "Types"))
      types_add(prefix, added, count, drawing, sink);
    aon_sink_put(sink, token.bytes.data, token.bytes.length);
  }
  return result == AON_END ? AON_OK : result;
}
