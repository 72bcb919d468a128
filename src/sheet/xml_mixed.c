/* Scanner and parser in turn over the bytes of one part. */
#include "sheet/xml_mixed.h"

#include <stdlib.h>
#include <string.h>

/* Where the scanner might take over again. 0: not in these bytes. */
static size_t next_border(const aon_mixed_ops *ops, const char *bytes, size_t length) {
  for (const char *at = bytes, *end = bytes + length; (at = memchr(at, '>', (size_t)(end - at))); at++) {
    size_t before = (size_t)(at - bytes) + 1;
    for (size_t i = 0; i < 2; i++) {
      size_t border = strlen(ops->borders[i]);
      if (before >= border && !memcmp(at + 1 - border, ops->borders[i], border))
        return before;
    }
  }
  return 0;
}

/* Fills the raw bytes behind what is left of them. */
static aon_result refill(aon_mixed *mixed, aon_error *error) {
  size_t got, left = mixed->length - mixed->used;
  memmove(mixed->raw, mixed->raw + mixed->used, left);
  mixed->used = 0;
  mixed->length = left;
  while (!mixed->ended && mixed->length < AON_MIXED_BYTES) {
    aon_result result = aon_part_read(mixed->xml->part, mixed->raw + mixed->length, AON_MIXED_BYTES - mixed->length, &got, error);
    if (result)
      return mixed->xml->failed = result;
    mixed->length += got;
    mixed->ended = got == 0;
  }
  memset(mixed->raw + mixed->length, 0, AON_PLAIN_PADDING);
  return AON_OK;
}

static aon_result feed(aon_mixed *mixed, size_t length, aon_error *error) {
  const char *bytes = mixed->raw + mixed->used;
  mixed->used += length;
  return aon_xml_feed(mixed->xml, bytes, length, error);
}

aon_result aon_mixed_step(aon_mixed *mixed, aon_error *error) {
  if (mixed->used == mixed->length || mixed->cut) {
    aon_result result = refill(mixed, error);
    if (result)
      return result;
  }
  mixed->cut = false;
  size_t left = mixed->length - mixed->used;
  if (left && mixed->ops->ready(mixed->xml) && aon_xml_drained(mixed->xml)) {
    size_t used;
    mixed->xml->error = error;
    aon_plain plain = mixed->ops->scan(mixed->xml, mixed->raw + mixed->used, left, &used);
    mixed->xml->error = NULL;
    mixed->used += used;
    left -= used;
    if (mixed->xml->failed)
      return mixed->xml->failed;
    mixed->cut = plain == AON_PLAIN_INCOMPLETE && !mixed->ended && mixed->used;
    if (plain == AON_PLAIN_TAKEN || mixed->cut)
      return AON_OK;
  }
  size_t border = left ? next_border(mixed->ops, mixed->raw + mixed->used, left) : 0;
  return feed(mixed, border ? border : left, error);
}

aon_result aon_mixed_open(aon_mixed *mixed, aon_xml *xml, const aon_mixed_ops *ops, aon_error *error) {
  *mixed = (aon_mixed){.xml = xml, .ops = ops, .raw = malloc(AON_MIXED_BYTES + AON_PLAIN_PADDING)};
  return mixed->raw ? AON_OK : aon_fail_memory(error);
}

void aon_mixed_close(aon_mixed *mixed) {
  free(mixed->raw);
  mixed->raw = NULL;
}
