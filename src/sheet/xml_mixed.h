/* A part read by two: a scanner takes the plain elements that nearly all of it is made of, the XML parser all else. The parser never sees
 * what the scanner took: taking whole elements out of the content of another one changes nothing for it.
 *
 * While one buffer is scanned and parsed, the next one is inflated, side by side where the environment has threads. A failure to read is
 * told when its bytes would have been needed, so the order of failures does not depend on threads.
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

#define AON_MIXED_BYTES ((size_t)128 << 10) /* read at a time; what is left of a plain element goes on behind it, if it is not longer */

typedef struct aon_mixed {
  aon_xml *xml;
  const aon_mixed_ops *ops;
  aon_env *env;
  char *raw, *next;    /* malloc; each has room for what is left of the one before, then AON_MIXED_BYTES, then the padding */
  size_t used, length; /* in raw */
  bool ended, cut;     /* cut: a plain element goes on behind what is in raw */
  bool read_ahead;     /* next is filled: */
  size_t ahead_length;
  aon_result ahead_result;
  aon_error ahead_error;
  aon_result consumed; /* of the call under way */
  aon_error *error;
} aon_mixed;

/* xml is open. */
aon_result aon_mixed_open(aon_mixed *mixed, aon_env *env, aon_xml *xml, const aon_mixed_ops *ops, aon_error *error) AON_MUST_USE;
aon_result aon_mixed_step(aon_mixed *mixed, aon_error *error) AON_MUST_USE; /* one buffer; AON_END: the part is over and whole */
void aon_mixed_close(aon_mixed *mixed);                                     /* also after a failed open */
#endif
