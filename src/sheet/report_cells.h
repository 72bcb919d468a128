/* One worksheet of the upload, copied through with its faulty cells marked.
 *
 * Every byte stays but: the style of a faulty cell, a cell (and row) made for a fault where none is, `spans` of such rows, the
 * dimension where a made cell lies outside, the legacyDrawing that a sheet with comments needs, and earlier marks, taken off.
 * Memory: one tag, and the styles of columns. Source: ECMA-376 part 1, 18.3.1. */
#ifndef AON_SHEET_REPORT_CELLS_H
#define AON_SHEET_REPORT_CELLS_H

#include "sheet/report_faults.h"
#include "sheet/report_styles.h"

#define AON_RELATION_ID_BYTES 256

typedef struct aon_cells_edit {
  aon_faults *faults;
  aon_styles *styles;
  bool restore;                         /* an earlier report's colour may be on any cell */
  bool strip;                           /* the workbook had no formats: a style that a cell names anyway must not become one of ours */
  bool has_drawing;                     /* its relationships name a VML drawing, so the sheet will name one too */
  const char *drawing_id;               /* relationship of the drawing to add if it names none; NULL: none is needed */
  char found_id[AON_RELATION_ID_BYTES]; /* out: the relationship that the sheet does name, "" if none */
} aon_cells_edit;

aon_result aon_cells_edit_run(aon_cells_edit *edit, const aon_markup_input *input, aon_sink *sink, aon_error *error) AON_MUST_USE;
#endif
