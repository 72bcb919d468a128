/* styles.xml: read once, appended to, written out with everything else as it stood.
 * Invariant: items[0, original) of a section are slices of the source, later ones are ours, in the arena. */
#include "sheet/report_styles.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TRANSITIONAL "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
#define STRICT "http://purl.oclc.org/ooxml/spreadsheetml/main"
#define EXTENSION "{7C5A0E6B-3C1D-4E59-9D0B-A10A11072E01}"
#define NAMESPACE "urn:allornone:report:1"
#define PREFIX_BYTES 64
#define OFFICE_BACK "FF8080" /* what LibreOffice writes as background of our red: the palette's nearest colour, and nobody's former one */

static const char skeleton[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<styleSheet xmlns=\"%s\"><fonts count=\"1\"><font><sz val=\"11\"/>"
    "<name val=\"Calibri\"/><family val=\"2\"/></font></fonts><fills count=\"2\"><fill><patternFill patternType=\"none\"/></fill><fill>"
    "<patternFill patternType=\"gray125\"/></fill></fills><borders count=\"1\"><border><left/><right/><top/><bottom/><diagonal/></border>"
    "</borders><cellStyleXfs count=\"1\"><xf numFmtId=\"0\" fontId=\"0\" fillId=\"0\" borderId=\"0\"/></cellStyleXfs><cellXfs count=\"1\">"
    "<xf numFmtId=\"0\" fontId=\"0\" fillId=\"0\" borderId=\"0\" xfId=\"0\"/></cellXfs><cellStyles count=\"1\"><cellStyle name=\"Normal\" "
    "xfId=\"0\" builtinId=\"0\"/></cellStyles></styleSheet>";

/* Children of the root in the order of the schema. */
static const char *const ranks[] = {"numFmts", "fonts", "fills", "borders", "cellStyleXfs", "cellXfs", "cellStyles", "dxfs"};
enum { RANK_FONTS = 1, RANK_FILLS = 2, RANK_BORDERS = 3, RANK_PARENTS = 4, RANK_FORMATS = 5, RANKS = 8 };

typedef enum section_kind { FONTS, FILLS, FORMATS, SECTIONS } section_kind;

typedef struct style_section {
  int rank;
  bool present, closed_at_once; /* <fonts/> */
  bool placed;                  /* insert_at is known */
  size_t tag_from, tag_to;      /* its start tag */
  size_t insert_at;             /* behind its last item; absent: where it belongs */
  aon_text *items;
  size_t count, capacity, original;
} style_section;

struct aon_styles {
  aon_arena arena;
  aon_text source;
  char prefix[PREFIX_BYTES];
  bool borders, parents; /* sections that our formats may point to */
  bool marked;
  style_section sections[SECTIONS];
  uint32_t *twins, *originals; /* by format, one more than the answer; 0: not asked yet */
  uint32_t own[AON_STYLE_KINDS];
};

static aon_result item_add(aon_styles *styles, section_kind kind, aon_text item, aon_error *error) {
  style_section *into = &styles->sections[kind];
  if (into->count == into->capacity) {
    size_t capacity = into->capacity ? into->capacity * 2 : 64;
    aon_text *items = realloc(into->items, capacity * sizeof *items);
    if (!items)
      return aon_fail_memory(error);
    into->items = items;
    into->capacity = capacity;
  }
  into->items[into->count++] = item;
  return AON_OK;
}

/* --- reading --- */

typedef struct style_scan {
  aon_styles *styles;
  size_t at; /* offset behind the token */
  uint32_t depth;
  style_section *inside;
  size_t item_from;
} style_scan;

static int rank_of(aon_text name) {
  for (int i = 0; i < RANKS; i++) {
    if (aon_text_is(name, ranks[i]))
      return i;
  }
  return RANKS;
}

static void scan_root_child(style_scan *scan, const aon_token *token, size_t from) {
  aon_styles *styles = scan->styles;
  int rank = rank_of(token->local);
  styles->borders = styles->borders || rank == RANK_BORDERS;
  styles->parents = styles->parents || rank == RANK_PARENTS;
  for (int i = 0; i < SECTIONS; i++) {
    style_section *section = &styles->sections[i];
    if (section->rank == rank && !section->present) {
      section->present = section->placed = true;
      section->tag_from = from;
      section->tag_to = section->insert_at = scan->at;
      section->closed_at_once = token->kind == AON_TOKEN_EMPTY;
      scan->inside = section->closed_at_once ? NULL : section;
    } else if (section->rank < rank && !section->placed) {
      section->placed = true;
      section->insert_at = from;
    }
  }
}

static aon_result scan_close(style_scan *scan, size_t from, aon_error *error) {
  aon_styles *styles = scan->styles;
  if (scan->depth == 2 && scan->inside) {
    aon_text item = {styles->source.data + scan->item_from, scan->at - scan->item_from};
    return item_add(styles, (section_kind)(scan->inside - styles->sections), item, error);
  }
  if (scan->depth == 1 && scan->inside) {
    scan->inside->insert_at = from;
    scan->inside = NULL;
  }
  for (int i = 0; scan->depth == 0 && i < SECTIONS; i++) {
    if (!styles->sections[i].placed)
      styles->sections[i].insert_at = from;
    styles->sections[i].placed = true;
  }
  return AON_OK;
}

static aon_result scan_token(style_scan *scan, const aon_token *token, aon_error *error) {
  size_t from = scan->at;
  scan->at += token->bytes.length;
  if (!aon_token_tag(token))
    return AON_OK;
  if (token->kind == AON_TOKEN_CLOSE) {
    if (scan->depth == 0)
      return AON_OK;
    scan->depth--;
    return scan_close(scan, from, error);
  }
  if (scan->depth == 0)
    snprintf(scan->styles->prefix, PREFIX_BYTES, "%.*s", (int)token->prefix.length, token->prefix.data);
  if (scan->depth == 1)
    scan_root_child(scan, token, from);
  if (scan->depth == 2)
    scan->item_from = from;
  if (token->kind == AON_TOKEN_EMPTY)
    return scan->depth == 2 ? scan_close(scan, from, error) : AON_OK;
  scan->depth++;
  return AON_OK;
}

static aon_result scan_all(aon_styles *styles, aon_error *error) {
  AON_MARKUP_CLEANUP aon_markup *markup = NULL;
  aon_result result = aon_markup_open_bytes(styles->source.data, styles->source.length, &markup, error);
  style_scan scan = {.styles = styles};
  aon_token token;
  while (!result && !(result = aon_markup_next(markup, &token, error)))
    result = scan_token(&scan, &token, error);
  if (result != AON_END)
    return result;
  for (int i = 0; i < SECTIONS; i++) {
    styles->sections[i].original = styles->sections[i].count;
    if (!styles->sections[i].placed)
      return aon_fail(error, AON_REJECTED, "bad_file",
                      "The workbook's cell formats (styles.xml) are damaged. Save it again and upload that.");
  }
  return AON_OK;
}

/* --- one item --- */

typedef struct fill_facts {
  bool solid, red;
  aon_text front, back; /* attributes of fgColor and bgColor as they stand, with a blank before; empty: none */
} fill_facts;

static aon_text attributes_of(const aon_token *token) {
  const char *from = token->local.data + token->local.length, *to = token->bytes.data + token->bytes.length - 1;
  if (token->kind == AON_TOKEN_EMPTY)
    to--;
  while (to > from && (to[-1] == ' ' || to[-1] == '\n'))
    to--;
  return (aon_text){from, (size_t)(to - from)};
}

/* Its last six digits: programs differ in what they write for the opacity before them. */
static bool colour_is(aon_text tag, const char *digits) {
  aon_text rgb;
  return aon_tag_attribute(tag, "rgb", &rgb) && rgb.length >= 6 && !strncasecmp(rgb.data + rgb.length - 6, digits, 6);
}

static fill_facts fill_read(aon_text item) {
  fill_facts facts = {0};
  AON_MARKUP_CLEANUP aon_markup *markup = NULL;
  if (aon_markup_open_bytes(item.data, item.length, &markup, NULL))
    return facts;
  aon_token token;
  aon_text type;
  while (aon_markup_next(markup, &token, NULL) == AON_OK) {
    if (aon_token_opens(&token, "patternFill"))
      facts.solid = aon_tag_attribute(token.bytes, "patternType", &type) && aon_text_is(type, "solid");
    else if (aon_token_opens(&token, "fgColor")) {
      facts.front = attributes_of(&token);
      facts.red = facts.solid && colour_is(token.bytes, &AON_STYLES_RED[2]);
    } else if (aon_token_opens(&token, "bgColor"))
      facts.back = attributes_of(&token);
  }
  return facts;
}

static const aon_text plain_format = {"<xf numFmtId=\"0\" fontId=\"0\" fillId=\"0\"/>", 41};

static aon_text format_of(const aon_styles *styles, uint32_t style) {
  const style_section *formats = &styles->sections[FORMATS];
  return style < formats->count ? formats->items[style] : plain_format;
}

static fill_facts fill_of(const aon_styles *styles, aon_text format) {
  const style_section *fills = &styles->sections[FILLS];
  uint32_t fill = aon_tag_number(format, "fillId", 0);
  return fill < fills->count ? fill_read(fills->items[fill]) : (fill_facts){0};
}

/* --- adding --- */

/* Markup written without a prefix gets the one that the part has. */
static aon_result prefixed(const aon_styles *styles, const char *markup, aon_buffer *out, aon_error *error) {
  aon_sink sink = aon_sink_to_buffer(out);
  for (const char *at = markup; *at;) {
    size_t plain = strcspn(at, "<");
    aon_sink_put(&sink, at, plain);
    at += plain;
    size_t bracket = strspn(at, "</");
    aon_sink_put(&sink, at, bracket);
    if (bracket)
      aon_sink_text(&sink, styles->prefix);
    at += bracket;
  }
  return aon_sink_end(&sink, error);
}

static aon_result item_keep(aon_styles *styles, section_kind kind, const aon_buffer *item, aon_error *error) {
  char *kept = aon_arena_text(&styles->arena, item->data, item->length);
  return kept ? item_add(styles, kind, (aon_text){kept, item->length}, error) : aon_fail_memory(error);
}

static aon_result plain_keep(aon_styles *styles, section_kind kind, const char *markup, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer item = {0};
  aon_result result = prefixed(styles, markup, &item, error);
  return result ? result : item_keep(styles, kind, &item, error);
}

/* A section that wasn't there begins with what programs take for granted in it. */
static aon_result section_begin(aon_styles *styles, section_kind kind, aon_error *error) {
  static const char *const defaults[SECTIONS][2] = {
      [FONTS] = {"<font><sz val=\"11\"/><name val=\"Calibri\"/><family val=\"2\"/></font>", NULL},
      [FILLS] = {"<fill><patternFill patternType=\"none\"/></fill>", "<fill><patternFill patternType=\"gray125\"/></fill>"},
      [FORMATS] = {"<xf numFmtId=\"0\" fontId=\"0\" fillId=\"0\"/>", NULL}};
  aon_result result = AON_OK;
  for (size_t i = styles->sections[kind].count; !result && i < 2 && defaults[kind][i]; i++)
    result = plain_keep(styles, kind, defaults[kind][i], error);
  return result;
}

#define NOT_THERE UINT32_MAX
/* The number of an item, NOT_THERE if there is no such one. */
static uint32_t item_find(const aon_styles *styles, section_kind kind, aon_text item) {
  const style_section *in = &styles->sections[kind];
  for (size_t i = 0; i < in->count; i++) {
    if (in->items[i].length == item.length && !memcmp(in->items[i].data, item.data, item.length))
      return (uint32_t)i;
  }
  return NOT_THERE;
}

static aon_result item_ensure(aon_styles *styles, section_kind kind, const aon_buffer *item, uint32_t *ret_number, aon_error *error) {
  aon_result result = section_begin(styles, kind, error);
  if (result)
    return result;
  *ret_number = item_find(styles, kind, (aon_text){item->data, item->length});
  if (*ret_number != NOT_THERE)
    return AON_OK;
  *ret_number = (uint32_t)styles->sections[kind].count;
  return item_keep(styles, kind, item, error);
}

static aon_result solid_fill(aon_styles *styles, const char *front, aon_text back, aon_buffer *item, aon_error *error) {
  const char *p = styles->prefix;
  return aon_buffer_format(item, error,
                           "<%sfill><%spatternFill patternType=\"solid\"><%sfgColor%s/><%sbgColor%.*s/></%spatternFill></%sfill>", p, p, p,
                           front, p, (int)back.length, back.data, p, p);
}

static aon_result red_fill(aon_styles *styles, aon_text format, aon_buffer *item, aon_error *error) {
  fill_facts was = fill_of(styles, format);
  aon_text back = was.solid && was.front.length ? was.front : AON_TEXT(" indexed=\"64\"");
  return solid_fill(styles, " rgb=\"" AON_STYLES_RED "\"", back, item, error);
}

/* Behind the tag that begins the format: our extension, within an extLst that may be there. */
static aon_result extension_add(aon_styles *styles, aon_buffer *format, uint32_t style, aon_error *error) {
  const char *p = styles->prefix;
  char close[PREFIX_BYTES + 16];
  snprintf(close, sizeof close, "</%sextLst>", p);
  char *at = memmem(format->data, format->length, close, strlen(close));
  bool listed = at != NULL;
  snprintf(close, sizeof close, "</%sxf>", p);
  if (!listed)
    at = memmem(format->data, format->length, close, strlen(close));
  AON_BUFFER_CLEANUP aon_buffer rest = {0};
  aon_result result = AON_OK;
  if (at) {
    result = aon_buffer_text(&rest, at, error);
    format->length = (size_t)(at - format->data);
  } else {
    result = aon_tag_unclose(format, error);
    if (!result)
      result = aon_buffer_text(&rest, close, error);
  }
  if (result)
    return result;
  return aon_buffer_format(format, error,
                           "%s%s%s<%sext uri=\"" EXTENSION "\" xmlns:aon=\"" NAMESPACE "\"><aon:base s=\"%u\"/></%sext>%s%s%s%s",
                           listed ? "" : "<", listed ? "" : p, listed ? "" : "extLst>", p, style, p, listed ? "" : "</", listed ? "" : p,
                           listed ? "" : "extLst>", rest.data);
}

/* The red twin of a format, given the number of its fill. */
static aon_result twin_build(aon_styles *styles, uint32_t style, uint32_t fill, aon_buffer *item, aon_error *error) {
  aon_text format = format_of(styles, style);
  aon_result result = format.data == plain_format.data ? prefixed(styles, plain_format.data, item, error)
                                                       : aon_buffer_append(item, format.data, format.length, error);
  if (!result)
    result = aon_tag_set_number(item, "fillId", fill, error);
  if (!result)
    result = aon_tag_set(item, "applyFill", "1", error);
  return result ? result : extension_add(styles, item, style, error);
}

static aon_result twin_make(aon_styles *styles, uint32_t style, uint32_t *ret_style, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer fill = {0}, item = {0};
  aon_result result = red_fill(styles, format_of(styles, style), &fill, error);
  uint32_t number = 0;
  if (!result)
    result = item_ensure(styles, FILLS, &fill, &number, error);
  if (!result)
    result = twin_build(styles, style, number, &item, error);
  return result ? result : item_ensure(styles, FORMATS, &item, ret_style, error);
}

aon_result aon_styles_mark(aon_styles *styles, uint32_t style, uint32_t *ret_style, aon_error *error) {
  if (style >= styles->sections[FORMATS].count)
    style = 0;
  if (style >= AON_STYLES_FORMATS || styles->sections[FORMATS].count >= AON_STYLES_FORMATS) {
    *ret_style = style;
    return AON_OK;
  }
  aon_result result = AON_OK;
  if (!styles->twins[style]) {
    uint32_t twin = 0;
    result = twin_make(styles, style, &twin, error);
    styles->twins[style] = twin + 1;
  }
  if (!result)
    *ret_style = styles->twins[style] - 1;
  return result;
}

/* --- taking our colour off --- */

/* The original that a twin names, if it is still its twin: another program may have renumbered the formats. */
static aon_result named_original(aon_styles *styles, uint32_t style, uint32_t *ret_original, aon_error *error) {
  AON_MARKUP_CLEANUP aon_markup *markup = NULL;
  aon_text format = format_of(styles, style);
  *ret_original = NOT_THERE;
  if (!memmem(format.data, format.length, NAMESPACE, strlen(NAMESPACE)))
    return AON_OK;
  aon_result result = aon_markup_open_bytes(format.data, format.length, &markup, error);
  aon_token token;
  uint32_t original = NOT_THERE;
  while (!result && !(result = aon_markup_next(markup, &token, error))) {
    if (aon_token_opens(&token, "base"))
      original = aon_tag_number(token.bytes, "s", NOT_THERE);
  }
  if (result != AON_END || original >= styles->sections[FORMATS].original || original == style)
    return result == AON_END ? AON_OK : result;
  AON_BUFFER_CLEANUP aon_buffer fill = {0}, item = {0};
  result = red_fill(styles, format_of(styles, original), &fill, error);
  uint32_t number = result ? NOT_THERE : item_find(styles, FILLS, (aon_text){fill.data, fill.length});
  if (result || number == NOT_THERE)
    return result;
  result = twin_build(styles, original, number, &item, error);
  if (!result && item.length == format.length && !memcmp(item.data, format.data, item.length))
    *ret_original = original;
  return result;
}

/* The fill that the cell had, as far as the red one remembers it. */
static aon_result former_fill(aon_styles *styles, const fill_facts *red, uint32_t *ret_fill, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer item = {0}, front = {0};
  uint32_t indexed = aon_tag_number(red->back, "indexed", 0);
  *ret_fill = 0;
  if (!memchr(red->back.data ? red->back.data : "", '=', red->back.length) || indexed >= 64 || colour_is(red->back, OFFICE_BACK))
    return AON_OK;
  aon_result result = aon_buffer_append(&front, red->back.data, red->back.length, error);
  if (!result)
    result = solid_fill(styles, front.data, AON_TEXT(" indexed=\"64\""), &item, error);
  return result ? result : item_ensure(styles, FILLS, &item, ret_fill, error);
}

/* Cuts our extension out of a format, with its list if nothing else is in it. */
static void extension_cut(const aon_styles *styles, aon_buffer *item) {
  char open[PREFIX_BYTES + 80], close[PREFIX_BYTES + 16];
  snprintf(open, sizeof open, "<%sext uri=\"" EXTENSION "\"", styles->prefix);
  snprintf(close, sizeof close, "</%sext>", styles->prefix);
  char *from = memmem(item->data, item->length, open, strlen(open));
  char *to = from ? strstr(from, close) : NULL;
  if (!to)
    return;
  to += strlen(close);
  memmove(from, to, item->length - (size_t)(to - item->data) + 1);
  item->length -= (size_t)(to - from);
}

static aon_result original_make(aon_styles *styles, uint32_t style, uint32_t *ret_original, aon_error *error) {
  aon_text format = format_of(styles, style);
  fill_facts facts = fill_of(styles, format);
  *ret_original = style;
  if (!facts.red)
    return AON_OK;
  aon_result result = named_original(styles, style, ret_original, error);
  if (result || *ret_original != NOT_THERE)
    return result;
  AON_BUFFER_CLEANUP aon_buffer item = {0};
  uint32_t fill = 0;
  result = former_fill(styles, &facts, &fill, error);
  if (!result)
    result = aon_buffer_append(&item, format.data, format.length, error);
  if (!result)
    result = aon_tag_set_number(&item, "fillId", fill, error);
  if (result)
    return result;
  extension_cut(styles, &item);
  return item_ensure(styles, FORMATS, &item, ret_original, error);
}

aon_result aon_styles_restore(aon_styles *styles, uint32_t style, uint32_t *ret_style, aon_error *error) {
  aon_result result = AON_OK;
  *ret_style = style;
  if (!styles->marked || style >= styles->sections[FORMATS].original || style >= AON_STYLES_FORMATS)
    return AON_OK;
  if (!styles->originals[style]) {
    uint32_t original = style;
    result = original_make(styles, style, &original, error);
    styles->originals[style] = original + 1;
  }
  if (!result)
    *ret_style = styles->originals[style] - 1;
  return result;
}

/* --- formats of the sheet of errors --- */

aon_result aon_styles_own(aon_styles *styles, aon_style_kind kind, uint32_t *ret_style, aon_error *error) {
  static const char *const fonts[AON_STYLE_KINDS] = {[AON_STYLE_TITLE] = "<b/><sz val=\"12\"/>",
                                                     [AON_STYLE_HEAD] = "<b/><sz val=\"11\"/>",
                                                     [AON_STYLE_LINK] = "<u/><sz val=\"11\"/><color rgb=\"FF0563C1\"/>"};
  AON_BUFFER_CLEANUP aon_buffer font = {0}, plain = {0}, item = {0};
  uint32_t number = 0;
  if (styles->own[kind]) {
    *ret_style = styles->own[kind] - 1;
    return AON_OK;
  }
  aon_result result = aon_buffer_format(&plain, error, "<font>%s<name val=\"Calibri\"/><family val=\"2\"/></font>",
                                        fonts[kind] ? fonts[kind] : "<sz val=\"11\"/>");
  if (!result)
    result = prefixed(styles, plain.data, &font, error);
  aon_buffer_clear(&plain);
  if (!result)
    result = item_ensure(styles, FONTS, &font, &number, error);
  if (!result)
    result =
        aon_buffer_format(&plain, error,
                          "<xf numFmtId=\"%d\" fontId=\"%u\" fillId=\"0\"%s%s applyNumberFormat=\"1\" applyFont=\"1\" "
                          "applyAlignment=\"1\"><alignment vertical=\"top\"%s/></xf>",
                          kind == AON_STYLE_TEXT || kind == AON_STYLE_CELL ? 49 : 0, number, styles->borders ? " borderId=\"0\"" : "",
                          styles->parents ? " xfId=\"0\"" : "", kind == AON_STYLE_WRAP || kind == AON_STYLE_TEXT ? " wrapText=\"1\"" : "");
  if (!result)
    result = prefixed(styles, plain.data, &item, error);
  if (!result)
    result = item_ensure(styles, FORMATS, &item, &number, error);
  if (result)
    return result;
  styles->own[kind] = number + 1;
  *ret_style = number;
  return AON_OK;
}

/* --- opening and writing --- */

static void find_marks(aon_styles *styles) {
  const style_section *fills = &styles->sections[FILLS];
  for (size_t i = 0; i < fills->original && !styles->marked; i++)
    styles->marked = fill_read(fills->items[i]).red;
}

static aon_result prepare(aon_styles *styles, aon_text source, bool strict, aon_error *error) {
  static const int rank[SECTIONS] = {[FONTS] = RANK_FONTS, [FILLS] = RANK_FILLS, [FORMATS] = RANK_FORMATS};
  for (int i = 0; i < SECTIONS; i++)
    styles->sections[i].rank = rank[i];
  styles->source = source;
  if (!source.length) {
    char *text = aon_arena_format(&styles->arena, skeleton, strict ? STRICT : TRANSITIONAL);
    if (!text)
      return aon_fail_memory(error);
    styles->source = (aon_text){text, strlen(text)};
  }
  styles->twins = aon_arena_alloc(&styles->arena, AON_STYLES_FORMATS * sizeof *styles->twins);
  styles->originals = aon_arena_alloc(&styles->arena, AON_STYLES_FORMATS * sizeof *styles->originals);
  if (!styles->twins || !styles->originals)
    return aon_fail_memory(error);
  aon_result result = scan_all(styles, error);
  if (!result)
    find_marks(styles);
  return result;
}

aon_result aon_styles_open(aon_text source, bool strict, aon_styles **ret_styles, aon_error *error) {
  aon_styles *styles = calloc(1, sizeof *styles);
  if (!styles)
    return aon_fail_memory(error);
  aon_result result = prepare(styles, source, strict, error);
  if (result) {
    aon_styles_close(styles);
    return result;
  }
  *ret_styles = styles;
  return AON_OK;
}

void aon_styles_close(aon_styles *styles) {
  if (!styles)
    return;
  for (int i = 0; i < SECTIONS; i++)
    free(styles->sections[i].items);
  aon_arena_release(&styles->arena);
  free(styles);
}

uint32_t aon_styles_count(const aon_styles *styles) { return (uint32_t)styles->sections[FORMATS].original; }

bool aon_styles_marked(const aon_styles *styles) { return styles->marked; }

static void added_write(const style_section *section, aon_sink *sink) {
  for (size_t i = section->original; i < section->count; i++)
    aon_sink_put(sink, section->items[i].data, section->items[i].length);
}

static void tag_write(const aon_styles *styles, const style_section *section, aon_sink *sink) {
  AON_BUFFER_CLEANUP aon_buffer tag = {0};
  aon_error error = AON_ERROR_INIT;
  aon_result result = aon_buffer_append(&tag, styles->source.data + section->tag_from, section->tag_to - section->tag_from, &error);
  if (!result)
    result = aon_tag_set_number(&tag, "count", section->count, &error);
  if (!result && section->closed_at_once)
    result = aon_tag_unclose(&tag, &error);
  if (result)
    aon_sink_fail(sink, result, &error);
  else
    aon_sink_put(sink, tag.data, tag.length);
}

/* The source from *at on up to and with this section's additions. */
static void section_write(const aon_styles *styles, const style_section *section, size_t *at, aon_sink *sink) {
  const char *name = ranks[section->rank], *p = styles->prefix;
  if (section->present) {
    aon_sink_put(sink, styles->source.data + *at, section->tag_from - *at);
    tag_write(styles, section, sink);
    aon_sink_put(sink, styles->source.data + section->tag_to, section->insert_at - section->tag_to);
  } else {
    aon_sink_put(sink, styles->source.data + *at, section->insert_at - *at);
    aon_sink_format(sink, "<%s%s count=\"%zu\">", p, name, section->count);
  }
  added_write(section, sink);
  if (!section->present || section->closed_at_once)
    aon_sink_format(sink, "</%s%s>", p, name);
  *at = section->insert_at;
}

static int section_order(const void *a, const void *b) {
  const style_section *left = *(const style_section *const *)a, *right = *(const style_section *const *)b;
  return left->insert_at != right->insert_at ? (left->insert_at < right->insert_at ? -1 : 1) : left->rank - right->rank;
}

void aon_styles_write(const aon_styles *styles, aon_sink *sink) {
  const style_section *order[SECTIONS];
  for (int i = 0; i < SECTIONS; i++)
    order[i] = &styles->sections[i];
  qsort(order, SECTIONS, sizeof *order, section_order);
  size_t at = 0;
  for (int i = 0; i < SECTIONS; i++) {
    if (order[i]->count > order[i]->original)
      section_write(styles, order[i], &at, sink);
  }
  aon_sink_put(sink, styles->source.data + at, styles->source.length - at);
}
