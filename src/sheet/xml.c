/* XML events over libxml2. */
#include "sheet/xml.h"

#include <string.h>

#include "sheet/internal.h"

#define CHUNK_BYTES 32768

static void on_start(void *context, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri, int namespace_count,
                     const xmlChar **namespaces, int count, int defaulted, const xmlChar **attributes) {
  (void)namespace_count;
  (void)namespaces;
  (void)defaulted;
  aon_xml *xml = context;
  if (xml->parser->nameNr <= 1 && !xml->rooted) {
    xml->uri = uri;
    xml->rooted = true;
  }
  xml->prefixed = prefix != NULL;
  xml->events->start(xml, (const char *)name, uri != xml->uri, count, attributes);
}

static void on_end(void *context, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri) {
  (void)prefix;
  (void)uri;
  aon_xml *xml = context;
  xml->events->end(xml, (const char *)name);
}

static void on_text(void *context, const xmlChar *text, int length) {
  aon_xml *xml = context;
  xml->events->text(xml, (const char *)text, (size_t)length);
}

static void on_doctype(void *context, const xmlChar *name, const xmlChar *external, const xmlChar *system) {
  (void)name;
  (void)external;
  (void)system;
  aon_xml *xml = context;
  aon_xml_stop(xml,
               aon_refuse(xml->error,
                          "This file declares a document type (DOCTYPE) in “%s”, which workbooks never do and attacks use. " AON_SAVE_AGAIN,
                          xml->name));
}

/* Only so that the library does not print: the state of the parser says what is wrong. */
static void on_error(void *context, xmlErrorPtr error) {
  (void)context;
  (void)error;
}

aon_result aon_xml_open(aon_xml *xml, aon_package *package, size_t part, const aon_xml_events *events, aon_error *error) {
  xmlSAXHandler sax = {
      .initialized = XML_SAX2_MAGIC, .internalSubset = on_doctype, .startElementNs = on_start, .endElementNs = on_end, .serror = on_error};
  if (events->text)
    sax.characters = sax.ignorableWhitespace = sax.cdataBlock = on_text;
  xml->events = events;
  xml->name = aon_package_name(package, part);
  aon_result result = aon_part_open(package, part, &xml->part, error);
  if (result)
    return result;
  xml->parser = xmlCreatePushParserCtxt(&sax, xml, NULL, 0, NULL);
  if (!xml->parser)
    return aon_fail_memory(error);
  /* NOENT: else "&amp;" in attributes comes out as "&#38;". Entities of the file's own need a DOCTYPE, and that is refused. */
  xmlCtxtUseOptions(xml->parser, XML_PARSE_NONET | XML_PARSE_NOENT);
  return AON_OK;
}

void aon_xml_stop(aon_xml *xml, aon_result result) {
  if (xml->failed)
    return;
  xml->failed = result;
  xmlStopParser(xml->parser);
}

static aon_result refuse_xml(aon_xml *xml, aon_error *error) {
  if (xml->parser->errNo == XML_ERR_NO_MEMORY)
    return aon_fail_memory(error);
  return aon_refuse(error, "This file is damaged: its part “%s” is no proper XML. " AON_SAVE_AGAIN, xml->name);
}

aon_result aon_xml_feed(aon_xml *xml, const char *bytes, size_t length, aon_error *error) {
  if (xml->ended)
    return AON_END;
  xml->error = error;
  xmlParseChunk(xml->parser, bytes, (int)length, length == 0);
  xml->error = NULL;
  if (xml->failed)
    return xml->failed;
  if (!xml->parser->wellFormed || xml->parser->disableSAX)
    return xml->failed = refuse_xml(xml, error);
  xml->ended = length == 0;
  return xml->ended ? AON_END : AON_OK;
}

bool aon_xml_drained(const aon_xml *xml) {
  const xmlParserInput *input = xml->parser->input;
  return xml->parser->instate == XML_PARSER_CONTENT && xml->parser->inputNr == 1 && input->cur == input->end && input->buf &&
         !input->buf->encoder;
}

aon_result aon_xml_pump(aon_xml *xml, aon_error *error) {
  char chunk[CHUNK_BYTES];
  size_t length;
  if (xml->failed)
    return aon_fail(error, AON_USAGE, "wrong_state", "The part “%s” has failed before.", xml->name);
  if (xml->ended)
    return AON_END;
  aon_result result = aon_part_read(xml->part, chunk, sizeof chunk, &length, error);
  if (result)
    return xml->failed = result;
  return aon_xml_feed(xml, chunk, length, error);
}

void aon_xml_close(aon_xml *xml) {
  if (xml->parser)
    xmlFreeParserCtxt(xml->parser);
  aon_part_close(xml->part);
  xml->parser = NULL;
  xml->part = NULL;
}

aon_result aon_xml_run(aon_xml *xml, aon_package *package, size_t part, const aon_xml_events *events, aon_error *error) {
  aon_result result = aon_xml_open(xml, package, part, events, error);
  while (!result)
    result = aon_xml_pump(xml, error);
  aon_xml_close(xml);
  return result == AON_END ? AON_OK : result;
}

bool aon_xml_attribute(int count, const xmlChar **attributes, const char *name, aon_text *ret_value) {
  for (const xmlChar **at = attributes; count--; at += 5) {
    if (!at[1] && !strcmp((const char *)at[0], name)) {
      *ret_value = (aon_text){(const char *)at[3], (size_t)(at[4] - at[3])};
      return true;
    }
  }
  return false;
}

bool aon_xml_prefixed_attribute(int count, const xmlChar **attributes, const char *name, aon_text *ret_value) {
  for (const xmlChar **at = attributes; count--; at += 5) {
    if (at[1] && !strcmp((const char *)at[0], name)) {
      *ret_value = (aon_text){(const char *)at[3], (size_t)(at[4] - at[3])};
      return true;
    }
  }
  return false;
}
