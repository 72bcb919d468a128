/* A part read by two: a scanner takes the plain elements that nearly all of it is made of, the XML parser all else. The parser never sees
 * what the scanner took: taking whole elements out of the content of another one changes nothing for it.
 *
 * Promise: whatever the scanner takes must be well-formed XML that the parser would have told as the same events. */
#ifndef AON_SHEET_XML_MIXED_H
#define AON_SHEET_XML_MIXED_H

#include "sheet/plain_scan.h"
#include "sheet/xml.h"

typedef enum aon_plain { AON_PLAIN_TAKEN, AON_PLAIN_INCOMPLETE, AON_PLAIN_UNUSUAL } aon_plain;

typedef struct aon_mixed_ops {
  bool (*ready)(const aon_xml *xml); /* the parser stands where plain elements may begin */
  /* Takes whole plain elements from the front of the bytes, behind which AON_PLAIN_PADDING zeros stand; it may change them. *ret_used: what
   * has been taken. TAKEN: all; INCOMPLETE: an element goes on behind the bytes; UNUSUAL: what follows is for the parser. Fails by
   * aon_xml_stop. */
  aon_plain (*scan)(aon_xml *xml, char *bytes, size_t length, size_t *ret_used);
  const char *borders[2]; /* ends of markup after which the scanner may take over again */
} aon_mixed_ops;

#define AON_MIXED_BYTES ((size_t)128 << 10) /* read at a time; a plain element is not longer */

typedef struct aon_mixed {
  aon_xml *xml;
  const aon_mixed_ops *ops;
  char *raw; /* malloc */
  size_t used, length;
  bool ended, cut; /* cut: a plain element goes on behind what is in raw */
} aon_mixed;

/* xml is open. */
aon_result aon_mixed_open(aon_mixed *mixed, aon_xml *xml, const aon_mixed_ops *ops, aon_error *error) AON_MUST_USE;
aon_result aon_mixed_step(aon_mixed *mixed, aon_error *error) AON_MUST_USE; /* some of it; AON_END: the part is over and whole */
void aon_mixed_close(aon_mixed *mixed);                                     /* also after a failed open */
#endif
