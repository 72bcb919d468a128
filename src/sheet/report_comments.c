/* The comments part, one comment at a time.
 * Invariant: a comment that is neither ours nor on a faulty cell comes out byte for byte. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sheet/report_notes.h"

#define PREFIX_BYTES 64
#define AUTHORS 65536 /* of a part; those beyond are nobody's */
#define NO_AUTHOR UINT32_MAX
#define TRANSITIONAL "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
#define STRICT "http://purl.oclc.org/ooxml/spreadsheetml/main"

typedef struct comment_stream {
  aon_notes *notes;
  aon_sink *sink;
  char prefix[PREFIX_BYTES];
  uint32_t authors;
  uint32_t own;      /* number of the author that we write as */
  bool *ours;        /* by author */
  aon_buffer author; /* text of the one being read */
  bool in_author;
  bool collecting; /* a comment is being collected */
  aon_buffer comment, fresh;
} comment_stream;

void aon_notes_release(aon_notes *notes) { aon_buffer_release(&notes->dropped); }

aon_result aon_notes_marked(const aon_markup_input *input, bool *ret_marked, aon_error *error) {
  AON_MARKUP_CLEANUP aon_markup *markup = NULL;
  aon_result result = aon_markup_open(input, &markup, error);
  aon_token token;
  bool marked = false;
  while (!result && !(result = aon_markup_next(markup, &token, error)))
    marked = marked ||
             (token.kind == AON_TOKEN_TEXT && memmem(token.bytes.data, token.bytes.length, AON_NOTES_AUTHOR, strlen(AON_NOTES_AUTHOR)));
  if (result && result != AON_END)
    return result;
  *ret_marked = marked;
  return AON_OK;
}

/* --- what we write --- */

/* Each problem a line that begins with our sign: LibreOffice forgets the authors, so the text itself must tell what is ours. */
static void lines_write(const aon_fault *fault, aon_sink *sink) {
  for (size_t i = 0; i < fault->count; i++) {
    aon_sink_text(sink, i ? "\n" AON_NOTES_SIGN : AON_NOTES_SIGN);
    aon_sink_escape_line(sink, fault->problems[i]->sentence);
  }
}

static void comment_write(const aon_fault *fault, const char *prefix, uint32_t author, aon_sink *sink) {
  char reference[AON_FAULT_REFERENCE];
  aon_cell_reference(fault->row, fault->column, reference);
  aon_sink_format(sink, "<%scomment ref=\"%s\" authorId=\"%u\"><%stext><%sr><%st xml:space=\"preserve\">", prefix, reference, author,
                  prefix, prefix, prefix);
  lines_write(fault, sink);
  aon_sink_format(sink, "</%st></%sr></%stext></%scomment>", prefix, prefix, prefix, prefix);
}

void aon_notes_comments_new(aon_notes *notes, aon_sink *sink) {
  aon_sink_format(sink,
                  "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<comments xmlns=\"%s\"><authors><author>" AON_NOTES_AUTHOR
                  "</author></authors><commentList>",
                  notes->strict ? STRICT : TRANSITIONAL);
  for (size_t i = 0; i < notes->faults->count; i++)
    comment_write(&notes->faults->items[i], "", 0, sink);
  aon_sink_text(sink, "</commentList></comments>");
}

/* --- authors --- */

static aon_result author_end(comment_stream *stream, aon_error *error) {
  stream->in_author = false;
  if (!stream->ours && !(stream->ours = calloc(AUTHORS, sizeof *stream->ours)))
    return aon_fail_memory(error);
  bool ours = stream->author.length == strlen(AON_NOTES_AUTHOR) && !memcmp(stream->author.data, AON_NOTES_AUTHOR, stream->author.length);
  if (ours && stream->own == NO_AUTHOR)
    stream->own = stream->authors;
  if (stream->authors < AUTHORS)
    stream->ours[stream->authors] = ours;
  stream->authors++;
  aon_buffer_clear(&stream->author);
  return AON_OK;
}

static void author_add(comment_stream *stream) {
  if (stream->own != NO_AUTHOR || !stream->notes->faults->count)
    return;
  stream->own = stream->authors++;
  aon_sink_format(stream->sink, "<%sauthor>" AON_NOTES_AUTHOR "</%sauthor>", stream->prefix, stream->prefix);
}

/* --- comments of others --- */

/* The text before our line, without the break between. */
static size_t length_before(aon_text text, size_t at) {
  static const char *const breaks[] = {"\n", "&#10;", "&#xA;", "_x000A_"};
  for (size_t i = 0; i < sizeof breaks / sizeof *breaks; i++) {
    size_t length = strlen(breaks[i]);
    if (at >= length && !memcmp(text.data + at - length, breaks[i], length))
      return at - length;
  }
  return at;
}

/* Cuts our lines out of a run of text. A break before the first one was put there for a comment that was there, if an empty one. */
static aon_result text_cut(aon_text text, aon_buffer *out, bool *cut, bool *ret_kept, aon_error *error) {
  aon_result result = AON_OK;
  const char *sign;
  while (!result && (sign = memmem(text.data, text.length, AON_NOTES_SIGN, strlen(AON_NOTES_SIGN)))) {
    size_t at = (size_t)(sign - text.data), before = length_before(text, at);
    *ret_kept = *ret_kept || (!*cut && before < at);
    *cut = true;
    result = aon_buffer_append(out, text.data, before, error);
    const char *end = text.data + text.length, *to = memchr(sign, '\n', (size_t)(end - sign));
    text = (aon_text){to ? to : end, to ? (size_t)(end - to) : 0};
  }
  return result ? result : aon_buffer_append(out, text.data, text.length, error);
}

typedef struct text_edit {
  comment_stream *stream;
  const aon_fault *fault; /* NULL: only take ours off */
  aon_buffer *out;
  uint32_t depth;     /* within <text> from 1, 0: outside */
  bool in_t, wrapped; /* wrapped: a bare <t> was put into a run */
  bool added;
  size_t run_from; /* where the run that is being written begins in out */
  bool emptied;    /* the run held nothing but our line */
  bool cut, kept;  /* a line of ours went; text that isn't ours stays */
} text_edit;

static aon_result line_add(text_edit *edit, aon_error *error) {
  if (edit->added || !edit->fault)
    return AON_OK;
  edit->added = true;
  const char *p = edit->stream->prefix;
  aon_sink sink = aon_sink_to_buffer(edit->out);
  aon_sink_format(&sink, "<%sr><%st xml:space=\"preserve\">", p, p);
  aon_sink_text(&sink, "\n");
  lines_write(edit->fault, &sink);
  aon_sink_format(&sink, "</%st></%sr>", p, p);
  return aon_sink_end(&sink, error);
}

static aon_result put(text_edit *edit, const aon_token *token, aon_error *error) {
  return aon_buffer_append(edit->out, token->bytes.data, token->bytes.length, error);
}

/* <text>, and what is in it: t of its own, r with t, rPh, phoneticPr. */
static aon_result text_open(text_edit *edit, const aon_token *token, aon_error *error) {
  aon_result result = AON_OK;
  bool empty = token->kind == AON_TOKEN_EMPTY;
  if (edit->depth == 0 && aon_text_is(token->local, "text") && empty && edit->fault) {
    size_t from = edit->out->length;
    const char *p = edit->stream->prefix;
    result = put(edit, token, error);
    if (!result) {
      edit->out->length = from + token->bytes.length - 2;
      result = aon_buffer_text(edit->out, ">", error);
    }
    if (!result)
      result = line_add(edit, error);
    return result ? result : aon_buffer_format(edit->out, error, "</%stext>", p);
  }
  if (edit->depth == 1 && (aon_text_is(token->local, "rPh") || aon_text_is(token->local, "phoneticPr")))
    result = line_add(edit, error);
  if (edit->depth == 1 && aon_text_is(token->local, "r")) {
    edit->run_from = edit->out->length;
    edit->emptied = false;
  }
  if (!result && edit->depth == 1 && aon_text_is(token->local, "t") && !empty && edit->fault) {
    edit->wrapped = true;
    result = aon_buffer_format(edit->out, error, "<%sr>", edit->stream->prefix);
  }
  if (!result)
    result = put(edit, token, error);
  edit->in_t = !empty && aon_text_is(token->local, "t");
  if (!empty && (edit->depth || aon_text_is(token->local, "text")))
    edit->depth++;
  return result;
}

static aon_result text_close(text_edit *edit, const aon_token *token, aon_error *error) {
  aon_result result = AON_OK;
  if (edit->depth)
    edit->depth--;
  if (edit->depth == 0 && aon_text_is(token->local, "text"))
    result = line_add(edit, error);
  if (!result)
    result = put(edit, token, error);
  if (!result && edit->wrapped && edit->depth == 1) {
    edit->wrapped = false;
    result = aon_buffer_format(edit->out, error, "</%sr>", edit->stream->prefix);
  }
  if (edit->depth == 1 && edit->emptied && aon_text_is(token->local, "r")) {
    edit->out->length = edit->run_from;
    edit->emptied = false;
  }
  edit->in_t = false;
  return result;
}

static aon_result text_token(text_edit *edit, const aon_token *token, aon_error *error) {
  if (token->kind == AON_TOKEN_CLOSE)
    return text_close(edit, token, error);
  if (aon_token_tag(token))
    return text_open(edit, token, error);
  if (!edit->in_t || token->kind != AON_TOKEN_TEXT)
    return put(edit, token, error);
  size_t before = edit->out->length;
  bool cut = edit->cut;
  aon_result result = text_cut(token->bytes, edit->out, &edit->cut, &edit->kept, error);
  for (size_t i = before; i < edit->out->length; i++)
    edit->kept = edit->kept || (unsigned char)edit->out->data[i] > ' ';
  if (edit->cut && !cut && edit->out->length == before && edit->depth == 3)
    edit->emptied = true;
  return result;
}

/* The collected comment without our lines, then with those of a fault. *ret_ours: nothing in it was anybody else's. */
static aon_result comment_rewrite(comment_stream *stream, const aon_fault *fault, bool *ret_ours, aon_error *error) {
  AON_MARKUP_CLEANUP aon_markup *markup = NULL;
  aon_buffer_clear(&stream->fresh);
  text_edit edit = {.stream = stream, .fault = fault, .out = &stream->fresh};
  aon_result result = aon_markup_open_bytes(stream->comment.data, stream->comment.length, &markup, error);
  aon_token token;
  while (!result && !(result = aon_markup_next(markup, &token, error)))
    result = text_token(&edit, &token, error);
  *ret_ours = edit.cut && !edit.kept;
  aon_buffer swapped = stream->comment;
  stream->comment = stream->fresh;
  stream->fresh = swapped;
  return result == AON_END ? AON_OK : result;
}

/* --- the part --- */

static aon_fault *fault_on(aon_notes *notes, uint32_t row, uint32_t column) {
  size_t at = aon_faults_from(notes->faults, row, column);
  aon_fault *fault = at < notes->faults->count ? &notes->faults->items[at] : NULL;
  return fault && fault->row == row && fault->column == column ? fault : NULL;
}

static bool signed_by_us(const aon_buffer *comment) {
  return memmem(comment->data, comment->length, AON_NOTES_SIGN, strlen(AON_NOTES_SIGN)) != NULL;
}

static aon_result comment_end(comment_stream *stream, aon_error *error) {
  aon_text tag = {stream->comment.data, stream->comment.length}, reference;
  uint32_t cell[2] = {0, 0}, author = aon_tag_number(tag, "authorId", NO_AUTHOR);
  bool placed = aon_tag_attribute(tag, "ref", &reference) && aon_cell_parse(reference, &cell[0], &cell[1]);
  bool ours = placed && stream->ours && author < AUTHORS && author < stream->authors && stream->ours[author], unused;
  aon_result result = placed && !ours && signed_by_us(&stream->comment) ? comment_rewrite(stream, NULL, &ours, error) : AON_OK;
  stream->collecting = false;
  if (result)
    return result;
  if (ours)
    return aon_buffer_append(&stream->notes->dropped, cell, sizeof cell, error);
  aon_fault *fault = placed ? fault_on(stream->notes, cell[0], cell[1]) : NULL;
  if (fault && !fault->noted) { /* a cell has one comment; a second one is somebody's mistake and stays as it is */
    fault->noted = true;
    result = comment_rewrite(stream, fault, &unused, error);
  }
  aon_sink_put(stream->sink, stream->comment.data, stream->comment.length);
  return result;
}

static void list_add(comment_stream *stream) {
  for (size_t i = 0; i < stream->notes->faults->count; i++) {
    if (!stream->notes->faults->items[i].noted)
      comment_write(&stream->notes->faults->items[i], stream->prefix, stream->own, stream->sink);
  }
}

static aon_result collect(comment_stream *stream, const aon_token *token, aon_error *error) {
  aon_result result = aon_buffer_append(&stream->comment, token->bytes.data, token->bytes.length, error);
  if (result)
    return result;
  if (aon_token_closes(token, "comment"))
    return comment_end(stream, error);
  if (stream->comment.length > AON_NOTES_COMMENT_BYTES) {
    aon_sink_put(stream->sink, stream->comment.data, stream->comment.length);
    stream->collecting = false;
  }
  return AON_OK;
}

/* <authors/> and <commentList/> are opened where something goes in. */
static aon_result expand(comment_stream *stream, const aon_token *token, void (*fill)(comment_stream *), aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer tag = {0};
  aon_result result = aon_buffer_append(&tag, token->bytes.data, token->bytes.length, error);
  if (!result)
    result = aon_tag_unclose(&tag, error);
  if (result)
    return result;
  aon_sink_put(stream->sink, tag.data, tag.length);
  fill(stream);
  aon_sink_format(stream->sink, "</%.*s%.*s>", (int)token->prefix.length, token->prefix.data, (int)token->local.length, token->local.data);
  return AON_OK;
}

static aon_result part_token(comment_stream *stream, const aon_token *token, aon_error *error) {
  if (stream->collecting)
    return collect(stream, token, error);
  if (aon_token_opens(token, "commentList") && stream->own == NO_AUTHOR && stream->notes->faults->count) {
    aon_sink_format(stream->sink, "<%sauthors>", stream->prefix); /* a part without authors, which the schema doesn't allow */
    author_add(stream);
    aon_sink_format(stream->sink, "</%sauthors>", stream->prefix);
  }
  if (aon_token_opens(token, "comments"))
    snprintf(stream->prefix, sizeof stream->prefix, "%.*s", (int)token->prefix.length, token->prefix.data);
  if (token->kind == AON_TOKEN_START && aon_token_opens(token, "comment")) {
    aon_buffer_clear(&stream->comment);
    stream->collecting = true;
    return collect(stream, token, error);
  }
  if (token->kind == AON_TOKEN_EMPTY && aon_token_opens(token, "authors"))
    return expand(stream, token, author_add, error);
  if (token->kind == AON_TOKEN_EMPTY && aon_token_opens(token, "commentList"))
    return expand(stream, token, list_add, error);
  if (aon_token_opens(token, "author"))
    stream->in_author = true;
  else if (stream->in_author && token->kind == AON_TOKEN_TEXT && stream->author.length < 4096) {
    aon_result result = aon_buffer_append(&stream->author, token->bytes.data, token->bytes.length, error);
    if (result)
      return result;
  }
  if (aon_token_closes(token, "authors"))
    author_add(stream);
  if (aon_token_closes(token, "commentList"))
    list_add(stream);
  aon_sink_put(stream->sink, token->bytes.data, token->bytes.length);
  if (aon_token_closes(token, "author") || (token->kind == AON_TOKEN_EMPTY && aon_token_opens(token, "author")))
    return author_end(stream, error);
  return AON_OK;
}

static int cell_order(const void *left, const void *right) {
  const uint32_t *a = left, *b = right;
  if (a[0] != b[0])
    return a[0] < b[0] ? -1 : 1;
  return a[1] < b[1] ? -1 : a[1] > b[1];
}

aon_result aon_notes_comments_edit(aon_notes *notes, const aon_markup_input *input, aon_sink *sink, aon_error *error) {
  AON_MARKUP_CLEANUP aon_markup *markup = NULL;
  comment_stream stream = {.notes = notes, .sink = sink, .own = NO_AUTHOR};
  aon_result result = aon_markup_open(input, &markup, error);
  aon_token token;
  while (!result && !(result = aon_markup_next(markup, &token, error)))
    result = part_token(&stream, &token, error);
  aon_buffer_release(&stream.author);
  aon_buffer_release(&stream.comment);
  aon_buffer_release(&stream.fresh);
  free(stream.ours);
  if (notes->dropped.length)
    qsort(notes->dropped.data, notes->dropped.length / (2 * sizeof(uint32_t)), 2 * sizeof(uint32_t), cell_order);
  return result == AON_END ? AON_OK : result;
}
