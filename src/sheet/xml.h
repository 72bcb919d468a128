/* A part of the package as events of libxml2's push parser (SAX2), fed chunk by chunk.
 *
 * No entity but the five predefined ones is ever expanded, and a DOCTYPE is refused where it begins. The parser's own bounds stay on
 * (depth 256, 10 MB of one name, attribute or look-ahead). A callback that fails calls aon_xml_stop; nothing is called after that. */
#ifndef AON_SHEET_XML_H
#define AON_SHEET_XML_H

#include <libxml/parser.h>

#include "sheet/package.h"

struct aon_xml_events;

typedef struct aon_xml { /* first member of what the callbacks get as context */
  const struct aon_xml_events *events;
  xmlParserCtxtPtr parser;
  aon_part *part;
  const char *name;   /* of the part, for sentences */
  const xmlChar *uri; /* of the root element, as interned by the parser: elements of others are foreign */
  aon_error *error;   /* of the call under way */
  aon_result failed;
  bool rooted, ended;
  bool prefixed; /* the element whose start is being told has a prefix */
} aon_xml;

typedef struct aon_xml_events {
  /* Elements of other namespaces than the root's come with foreign = true. attributes: count times localname, prefix, URI, value, end. */
  void (*start)(aon_xml *xml, const char *name, bool foreign, int count, const xmlChar **attributes);
  void (*end)(aon_xml *xml, const char *name);
  void (*text)(aon_xml *xml, const char *text, size_t length); /* may come in pieces; NULL: not wanted */
} aon_xml_events;

aon_result aon_xml_open(aon_xml *xml, aon_package *package, size_t part, const aon_xml_events *events, aon_error *error) AON_MUST_USE;
aon_result aon_xml_pump(aon_xml *xml, aon_error *error) AON_MUST_USE; /* one chunk; AON_END: the part is over and whole */
/* For who reads xml->part itself; length 0: the end, AON_END if the part is whole. */
aon_result aon_xml_feed(aon_xml *xml, const char *bytes, size_t length, aon_error *error) AON_MUST_USE;
/* All that was fed has become events, it was UTF-8, and the next byte stands in the content of an element. */
bool aon_xml_drained(const aon_xml *xml);
void aon_xml_close(aon_xml *xml);                   /* also after a failed open */
void aon_xml_stop(aon_xml *xml, aon_result result); /* a callback has filled xml->error and fails */

/* Without prefix. false: not there. */
bool aon_xml_attribute(int count, const xmlChar **attributes, const char *name, aon_text *ret_value);
/* With a prefix of whatever name (r:id). false: not there. */
bool aon_xml_prefixed_attribute(int count, const xmlChar **attributes, const char *name, aon_text *ret_value);
/* Opens, pumps to the end and closes. */
aon_result aon_xml_run(aon_xml *xml, aon_package *package, size_t part, const aon_xml_events *events, aon_error *error) AON_MUST_USE;
#endif
