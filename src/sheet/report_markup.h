/* XML as a sequence of pieces of bytes that can be copied through unchanged.
 *
 * Unlike a parser that builds or interprets, it gives every byte of the input back in some token, so that a part of a workbook keeps
 * all that we don't know. Invariants: the tokens, one after the other, are the input (in UTF-8: another encoding is converted and the
 * XML declaration says so); a tag is always one whole token, text may come in several; nothing is kept beyond one tag.
 * It is tolerant: tags needn't match (VML has a lone <br>). A DOCTYPE is refused. Source: XML 1.0, Namespaces in XML 1.0. */
#ifndef AON_SHEET_REPORT_MARKUP_H
#define AON_SHEET_REPORT_MARKUP_H

#include <stdbool.h>

#include "base/arena.h"
#include "sheet/report_sink.h"

#define AON_MARKUP_TAG_BYTES ((size_t)1 << 20) /* longest tag */

typedef struct aon_markup_input {
  aon_result (*read)(void *context, void *bytes, size_t length, size_t *ret_length, aon_error *error); /* 0 bytes: the end */
  void *context;
} aon_markup_input;

typedef enum aon_token_kind { AON_TOKEN_START, AON_TOKEN_EMPTY, AON_TOKEN_CLOSE, AON_TOKEN_TEXT, AON_TOKEN_OTHER } aon_token_kind;

typedef struct aon_token {
  aon_token_kind kind;
  aon_text bytes;  /* all of it, with its brackets */
  aon_text prefix; /* tags: "x:" or empty */
  aon_text local;  /* tags: the name behind the prefix */
} aon_token;

typedef struct aon_markup aon_markup;

aon_result aon_markup_open(const aon_markup_input *input, aon_markup **ret_markup, aon_error *error) AON_MUST_USE;
aon_result aon_markup_open_bytes(const char *bytes, size_t length, aon_markup **ret_markup,
                                 aon_error *error) AON_MUST_USE; /* borrowed, UTF-8 */
aon_result aon_markup_next(aon_markup *markup, aon_token *ret_token,
                           aon_error *error) AON_MUST_USE; /* AON_END; lives until the next call */
void aon_markup_close(aon_markup *markup);
static inline void aon_markup_close_at(aon_markup **markup) { aon_markup_close(*markup); }
#define AON_MARKUP_CLEANUP __attribute__((cleanup(aon_markup_close_at)))

/* The whole input as UTF-8. */
aon_result aon_markup_collect(const aon_markup_input *input, aon_buffer *buffer, aon_error *error) AON_MUST_USE;

bool aon_text_is(aon_text text, const char *other);
bool aon_text_ends(aon_text text, const char *end);
static inline bool aon_token_opens(const aon_token *token, const char *local) {
  return token->kind <= AON_TOKEN_EMPTY && aon_text_is(token->local, local);
}
static inline bool aon_token_closes(const aon_token *token, const char *local) {
  return token->kind == AON_TOKEN_CLOSE && aon_text_is(token->local, local);
}
static inline bool aon_token_tag(const aon_token *token) { return token->kind <= AON_TOKEN_CLOSE; }

/* The value of an attribute as it stands. Name ":id": any prefix, but one. */
bool aon_tag_attribute(aon_text tag, const char *name, aon_text *ret_value);
uint32_t aon_tag_number(aon_text tag, const char *name, uint32_t otherwise);
bool aon_tag_flag(aon_text tag, const char *name); /* xsd:boolean, false if it isn't there */
/* Sets an attribute of the tag that the buffer holds (starting with it), or takes it out (value NULL). The value needs no escape. */
aon_result aon_tag_set(aon_buffer *tag, const char *name, const char *value, aon_error *error) AON_MUST_USE;
aon_result aon_tag_set_number(aon_buffer *tag, const char *name, uint64_t value, aon_error *error) AON_MUST_USE;
/* <a/> becomes <a> when something has to go in. */
aon_result aon_tag_unclose(aon_buffer *tag, aon_error *error) AON_MUST_USE;

/* Entities and character references decoded (not _xHHHH_); NUL-terminated, in the arena. NULL: no memory. */
char *aon_markup_decode(aon_arena *arena, aon_text text);
#endif
