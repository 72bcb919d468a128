/* styles.xml of a report: red twins of the cell formats that faulty cells have, and the formats of the sheet of errors.
 *
 * A twin is its original with our fill; it names its original (an extension of ours), so that the next report can take the colour off
 * again exactly. Where another program saved the workbook in between and dropped that, the twin is known by its very colour, and the
 * colour that the cell had is kept as the (unseen) background of the solid fill.
 * Invariant: nothing that was there is changed or moved; ours is appended. Source: ECMA-376 part 1, 18.8. */
#ifndef AON_SHEET_REPORT_STYLES_H
#define AON_SHEET_REPORT_STYLES_H

#include "sheet/report_markup.h"

#define AON_STYLES_RED "FFFF4B4A"
#define AON_STYLES_FORMATS 65490u /* cell formats: Excel's limit; beyond it a cell only gets its comment */

typedef enum aon_style_kind {
  AON_STYLE_TITLE,
  AON_STYLE_HEAD,
  AON_STYLE_LINK,
  AON_STYLE_PLAIN,
  AON_STYLE_WRAP,
  AON_STYLE_TEXT,
  AON_STYLE_CELL,
  AON_STYLE_KINDS
} aon_style_kind;

typedef struct aon_styles aon_styles;

/* source: the part as UTF-8, borrowed until close; empty if the workbook has none. */
aon_result aon_styles_open(aon_text source, bool strict, aon_styles **ret_styles, aon_error *error) AON_MUST_USE;
void aon_styles_close(aon_styles *styles);
uint32_t aon_styles_count(const aon_styles *styles); /* cell formats that the workbook had: a cell that names another has none */
bool aon_styles_marked(const aon_styles *styles);    /* an earlier report's colour is in it */
/* The format without our colour: style itself if it has none. */
aon_result aon_styles_restore(aon_styles *styles, uint32_t style, uint32_t *ret_style, aon_error *error) AON_MUST_USE;
aon_result aon_styles_mark(aon_styles *styles, uint32_t style, uint32_t *ret_style, aon_error *error) AON_MUST_USE;
aon_result aon_styles_own(aon_styles *styles, aon_style_kind kind, uint32_t *ret_style, aon_error *error) AON_MUST_USE;
void aon_styles_write(const aon_styles *styles, aon_sink *sink);
#endif
