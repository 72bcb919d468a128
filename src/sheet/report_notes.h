/* Comments of a sheet: the comments part (ECMA-376 part 1, 18.7) and the VML drawing (part 4, 19) that says where they are shown.
 *
 * Ours are by the author AON_NOTES_AUTHOR, each line begins with AON_NOTES_SIGN. Other people's stay; on a cell that has one, our lines
 * are added to it. Those of an earlier report are taken off. Both parts are streamed: memory is one comment, and the cells of those
 * taken off. */
#ifndef AON_SHEET_REPORT_NOTES_H
#define AON_SHEET_REPORT_NOTES_H

#include "sheet/report_faults.h"
#include "sheet/report_markup.h"

#define AON_NOTES_AUTHOR "Allornone"
#define AON_NOTES_SIGN "[Allornone] "
#define AON_NOTES_COMMENT_BYTES ((size_t)4 << 20) /* longest comment or shape that is looked at; longer ones are copied unseen */

typedef struct aon_notes {
  aon_faults *faults;
  bool strict;
  aon_buffer
      dropped; /* cells whose comments of ours were taken off: row and column as two uint32_t each, ascending after a comments part */
} aon_notes;

void aon_notes_release(aon_notes *notes);

/* Whether an earlier report may have left a comment in the part, which is read to its end: AON_REJECTED if it is damaged. */
aon_result aon_notes_marked(const aon_markup_input *input, bool *ret_marked, aon_error *error) AON_MUST_USE;
/* First the comments, then the drawing: it follows what became of them. */
aon_result aon_notes_comments_edit(aon_notes *notes, const aon_markup_input *input, aon_sink *sink, aon_error *error) AON_MUST_USE;
void aon_notes_comments_new(aon_notes *notes, aon_sink *sink);
aon_result aon_notes_drawing_edit(aon_notes *notes, const aon_markup_input *input, aon_sink *sink, aon_error *error) AON_MUST_USE;
void aon_notes_drawing_new(aon_notes *notes, aon_sink *sink);
#endif
