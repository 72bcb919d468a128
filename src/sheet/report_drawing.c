/* The VML drawing of a sheet's comments: one shape for each.
 *
 * VML isn't always well-formed, so shapes are found by their tags alone. Invariant: a shape that shows neither a comment of ours taken
 * off nor a faulty cell that gets a comment of its own comes out byte for byte. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sheet/report_notes.h"

#define FIRST_SHAPE 1025u /* Excel numbers the shapes of a sheet from here, in blocks of 1,024 */
#define SHAPES_PER_BLOCK 1024u
#define BOX_COLUMNS 3u /* size of the box that shows a comment, in cells */
#define BOX_ROWS 5u

typedef struct shape_stream {
  aon_notes *notes;
  aon_sink *sink;
  bool typed;       /* shapetype _x0000_t202 is there */
  uint64_t highest; /* number of a shape so far */
  bool collecting;
  aon_buffer shape;
  aon_buffer declared; /* namespaces that our shapes must declare themselves */
} shape_stream;

static const char shapetype[] =
    "<v:shapetype id=\"_x0000_t202\" coordsize=\"21600,21600\" o:spt=\"202\" path=\"m,l,21600r21600,l21600,xe\"%s>"
    "<v:stroke joinstyle=\"miter\"/><v:path gradientshapeok=\"t\" o:connecttype=\"rect\"/></v:shapetype>";

static void shape_write(const aon_fault *fault, uint64_t number, const char *declared, aon_sink *sink) {
  uint32_t left = fault->column + BOX_COLUMNS <= AON_FAULT_COLUMNS ? fault->column : fault->column - 1 - BOX_COLUMNS;
  uint32_t top = fault->row > 1 ? fault->row - 2 : 0;
  if (top + BOX_ROWS >= AON_FAULT_ROWS)
    top = AON_FAULT_ROWS - 1 - BOX_ROWS;
  aon_sink_format(
      sink,
      "<v:shape id=\"_x0000_s%llu\" type=\"#_x0000_t202\" style=\"position:absolute;margin-left:60pt;margin-top:2pt;width:240pt;"
      "height:90pt;z-index:%llu;visibility:hidden\" fillcolor=\"#ffffe1\" o:insetmode=\"auto\"%s>",
      (unsigned long long)number, (unsigned long long)(number - FIRST_SHAPE + 1), declared);
  aon_sink_format(sink, "<v:fill color2=\"#ffffe1\"/><v:shadow on=\"t\" color=\"black\" obscured=\"t\"/><v:path o:connecttype=\"none\"/>"
                        "<v:textbox style=\"mso-direction-alt:auto\"><div style=\"text-align:left\"></div></v:textbox>");
  aon_sink_format(sink,
                  "<x:ClientData ObjectType=\"Note\"><x:MoveWithCells/><x:SizeWithCells/><x:Anchor>%u, 15, %u, 2, %u, 15, %u, 4</x:Anchor>"
                  "<x:AutoFill>False</x:AutoFill><x:Row>%u</x:Row><x:Column>%u</x:Column></x:ClientData></v:shape>",
                  left, top, left + BOX_COLUMNS, top + BOX_ROWS, fault->row - 1, fault->column - 1);
}

static void shapes_write(const aon_notes *notes, uint64_t after, const char *declared, aon_sink *sink) {
  for (size_t i = 0; i < notes->faults->count; i++) {
    if (!notes->faults->items[i].noted)
      shape_write(&notes->faults->items[i], ++after, declared, sink);
  }
}

void aon_notes_drawing_new(aon_notes *notes, aon_sink *sink) {
  aon_sink_text(sink, "<xml xmlns:v=\"urn:schemas-microsoft-com:vml\" xmlns:o=\"urn:schemas-microsoft-com:office:office\" "
                      "xmlns:x=\"urn:schemas-microsoft-com:office:excel\"><o:shapelayout v:ext=\"edit\"><o:idmap v:ext=\"edit\" data=\"1");
  for (size_t block = 2; block <= notes->faults->count / SHAPES_PER_BLOCK + 1; block++)
    aon_sink_format(sink, ",%zu", block);
  aon_sink_text(sink, "\"/></o:shapelayout>");
  aon_sink_format(sink, shapetype, "");
  shapes_write(notes, FIRST_SHAPE - 1, "", sink);
  aon_sink_text(sink, "</xml>");
}

static bool was_dropped(const aon_notes *notes, uint32_t row, uint32_t column) {
  size_t low = 0, high = notes->dropped.length / (2 * sizeof(uint32_t));
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    uint32_t cell[2];
    memcpy(cell, notes->dropped.data + middle * sizeof cell, sizeof cell);
    if (cell[0] == row && cell[1] == column)
      return true;
    if (cell[0] < row || (cell[0] == row && cell[1] < column))
      low = middle + 1;
    else
      high = middle;
  }
  return false;
}

/* The cell whose comment a shape shows; false if it shows none. */
static bool shape_cell(const aon_buffer *shape, uint32_t cell[2]) {
  AON_MARKUP_CLEANUP aon_markup *markup = NULL;
  if (aon_markup_open_bytes(shape->data, shape->length, &markup, NULL))
    return false;
  aon_token token;
  aon_text type;
  bool note = false, known[2] = {false, false};
  int half = -1;
  while (aon_markup_next(markup, &token, NULL) == AON_OK) {
    if (aon_token_opens(&token, "ClientData"))
      note = aon_tag_attribute(token.bytes, "ObjectType", &type) && aon_text_is(type, "Note");
    if (half >= 0 && token.kind == AON_TOKEN_TEXT) {
      char digits[12] = "";
      memcpy(digits, token.bytes.data, token.bytes.length < 11 ? token.bytes.length : 11);
      cell[half] = (uint32_t)strtoul(digits, NULL, 10) + 1;
      known[half] = true;
    }
    if (aon_token_tag(&token))
      half = aon_token_opens(&token, "Row") ? 0 : aon_token_opens(&token, "Column") ? 1 : -1;
  }
  return note && known[0] && known[1];
}

static void shape_end(shape_stream *stream) {
  uint32_t cell[2];
  stream->collecting = false;
  if (shape_cell(&stream->shape, cell)) {
    size_t at = aon_faults_from(stream->notes->faults, cell[0], cell[1]);
    const aon_fault *fault = at < stream->notes->faults->count ? &stream->notes->faults->items[at] : NULL;
    bool redrawn = fault && fault->row == cell[0] && fault->column == cell[1] && !fault->noted;
    if (redrawn || was_dropped(stream->notes, cell[0], cell[1]))
      return;
  }
  aon_sink_put(stream->sink, stream->shape.data, stream->shape.length);
}

static aon_result collect(shape_stream *stream, const aon_token *token, aon_error *error) {
  aon_result result = aon_buffer_append(&stream->shape, token->bytes.data, token->bytes.length, error);
  if (result)
    return result;
  if (aon_token_closes(token, "shape"))
    shape_end(stream);
  else if (stream->shape.length > AON_NOTES_COMMENT_BYTES) {
    aon_sink_put(stream->sink, stream->shape.data, stream->shape.length);
    stream->collecting = false;
  }
  return AON_OK;
}

static aon_result declare(shape_stream *stream, const aon_token *root, aon_error *error) {
  static const char *const spaces[][2] = {{"xmlns:v", "urn:schemas-microsoft-com:vml"},
                                          {"xmlns:o", "urn:schemas-microsoft-com:office:office"},
                                          {"xmlns:x", "urn:schemas-microsoft-com:office:excel"}};
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < sizeof spaces / sizeof *spaces; i++) {
    aon_text value;
    if (!aon_tag_attribute(root->bytes, spaces[i][0], &value) || !aon_text_is(value, spaces[i][1]))
      result = aon_buffer_format(&stream->declared, error, " %s=\"%s\"", spaces[i][0], spaces[i][1]);
  }
  return result;
}

static void number_see(shape_stream *stream, const aon_token *token) {
  static const char head[] = "_x0000_s";
  aon_text id;
  if (!aon_tag_attribute(token->bytes, "id", &id) || id.length <= sizeof head - 1 || id.length > 24 ||
      memcmp(id.data, head, sizeof head - 1))
    return;
  char digits[24] = "";
  memcpy(digits, id.data + sizeof head - 1, id.length - (sizeof head - 1));
  uint64_t number = strtoull(digits, NULL, 10);
  stream->highest = number > stream->highest && number < UINT32_MAX ? number : stream->highest;
}

static bool wants_shapes(const aon_notes *notes) {
  for (size_t i = 0; i < notes->faults->count; i++) {
    if (!notes->faults->items[i].noted)
      return true;
  }
  return false;
}

static void root_end(shape_stream *stream) {
  const char *declared = stream->declared.data ? stream->declared.data : "";
  if (!wants_shapes(stream->notes))
    return;
  if (!stream->typed)
    aon_sink_format(stream->sink, shapetype, declared);
  shapes_write(stream->notes, stream->highest, declared, stream->sink);
}

static aon_result shape_token(shape_stream *stream, const aon_token *token, aon_error *error) {
  aon_text id;
  if (aon_token_opens(token, "shape"))
    number_see(stream, token);
  if (stream->collecting)
    return collect(stream, token, error);
  if (token->kind == AON_TOKEN_START && aon_token_opens(token, "shape")) {
    aon_buffer_clear(&stream->shape);
    stream->collecting = true;
    return collect(stream, token, error);
  }
  if (aon_token_opens(token, "shapetype") && aon_tag_attribute(token->bytes, "id", &id) && aon_text_is(id, "_x0000_t202"))
    stream->typed = true;
  if (token->kind == AON_TOKEN_START && aon_token_opens(token, "xml")) {
    aon_result result = declare(stream, token, error);
    if (result)
      return result;
  }
  if (aon_token_closes(token, "xml"))
    root_end(stream);
  aon_sink_put(stream->sink, token->bytes.data, token->bytes.length);
  return AON_OK;
}

aon_result aon_notes_drawing_edit(aon_notes *notes, const aon_markup_input *input, aon_sink *sink, aon_error *error) {
  AON_MARKUP_CLEANUP aon_markup *markup = NULL;
  shape_stream stream = {.notes = notes, .sink = sink, .highest = FIRST_SHAPE - 1};
  aon_result result = aon_markup_open(input, &markup, error);
  aon_token token;
  while (!result && !(result = aon_markup_next(markup, &token, error)))
    result = shape_token(&stream, &token, error);
  aon_buffer_release(&stream.shape);
  aon_buffer_release(&stream.declared);
  return result == AON_END ? AON_OK : result;
}
