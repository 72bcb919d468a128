/* xl/workbook.xml and [Content_Types].xml of a report.
 *
 * The sheet of errors becomes the first one, an older one goes. What counts sheets by position (the open tab, the first tab in view, names
 * that belong to one sheet) is moved with them; all else stays byte for byte. Source: ECMA-376 part 1, 18.2; part 2, 10. */
#ifndef AON_SHEET_REPORT_BOOK_H
#define AON_SHEET_REPORT_BOOK_H

#include "sheet/report_archive.h"

typedef struct aon_book_sheet {
  const char *name;     /* as the reader gives it */
  const char *relation; /* id, "" if none */
  bool ours;            /* an older sheet of errors */
} aon_book_sheet;

typedef struct aon_book {
  aon_buffer bytes;
  bool strict;
  aon_book_sheet *sheets; /* all kinds of them, in order; malloc */
  size_t count, capacity;
  size_t ours;      /* index of the older sheet of errors, SIZE_MAX: none */
  uint32_t last_id; /* highest sheetId */
  bool viewed;      /* has a bookViews */
  bool selected;    /* out of aon_book_write: the sheet of errors is the open tab */
} aon_book;

aon_result aon_book_read(aon_book *book, aon_package *package, size_t part, aon_arena *arena, const char *ours,
                         aon_error *error) AON_MUST_USE;
void aon_book_release(aon_book *book);
/* name, relation: of the sheet of errors. */
aon_result aon_book_write(aon_book *book, const char *name, const char *relation, aon_sink *sink, aon_error *error) AON_MUST_USE;

typedef struct aon_content_type {
  const char *part, *type;
} aon_content_type;

#define AON_TYPE_WORKSHEET "application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"
#define AON_TYPE_STYLES "application/vnd.openxmlformats-officedocument.spreadsheetml.styles+xml"
#define AON_TYPE_COMMENTS "application/vnd.openxmlformats-officedocument.spreadsheetml.comments+xml"
#define AON_TYPE_DRAWING "application/vnd.openxmlformats-officedocument.vmlDrawing"

/* removed: name of a part that goes, NULL; drawing: whether .vml parts are among what is added. */
aon_result aon_content_types_write(const aon_buffer *bytes, const char *removed, const aon_content_type *added, size_t count, bool drawing,
                                   aon_sink *sink, aon_error *error) AON_MUST_USE;
#endif
