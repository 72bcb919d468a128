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

/* Fills next. */
static void read_ahead(aon_mixed *mixed) {
  size_t got = 1;
  mixed->ahead_length = 0;
  mixed->ahead_result = AON_OK;
  while (!mixed->ahead_result && got && mixed->ahead_length < AON_MIXED_BYTES) {
    char *to = mixed->next + AON_MIXED_BYTES + mixed->ahead_length;
    mixed->ahead_result = aon_part_read(mixed->xml->part, to, AON_MIXED_BYTES - mixed->ahead_length, &got, &mixed->ahead_error);
    if (!mixed->ahead_result)
      mixed->ahead_length += got;
  }
  mixed->read_ahead = true;
}

/* Next becomes raw, with what is left of raw before it. */
static aon_result turn(aon_mixed *mixed, aon_error *error) {
  if (!mixed->read_ahead)
    read_ahead(mixed);
  mixed->read_ahead = mixed->cut = false;
  if (mixed->ahead_result) {
    if (error)
      *error = mixed->ahead_error;
    return mixed->xml->failed = mixed->ahead_result;
  }
  char *raw = mixed->next;
  size_t left = mixed->length - mixed->used;
  memcpy(raw + AON_MIXED_BYTES - left, mixed->raw + mixed->used, left);
  mixed->next = mixed->raw;
  mixed->raw = raw;
  mixed->used = AON_MIXED_BYTES - left;
  mixed->length = AON_MIXED_BYTES + mixed->ahead_length;
  mixed->ended = mixed->ahead_length < AON_MIXED_BYTES;
  memset(raw + mixed->length, 0, AON_PLAIN_PADDING);
  return AON_OK;
}

/* Scanner or parser for a part of raw. */
static aon_result consume_some(aon_mixed *mixed) {
  size_t left = mixed->length - mixed->used;
  if (mixed->ops->ready(mixed->xml) && aon_xml_drained(mixed->xml)) {
    size_t used;
    mixed->xml->error = mixed->error;
    aon_plain plain = mixed->ops->scan(mixed->xml, mixed->raw + mixed->used, left, &used);
    mixed->xml->error = NULL;
    mixed->used += used;
    left -= used;
    if (mixed->xml->failed)
      return mixed->xml->failed;
    mixed->cut = plain == AON_PLAIN_INCOMPLETE && !mixed->ended && left <= AON_MIXED_BYTES;
    if (plain == AON_PLAIN_TAKEN || mixed->cut)
      return AON_OK;
  }
  const char *bytes = mixed->raw + mixed->used;
  size_t border = next_border(mixed->ops, bytes, left), length = border ? border : left;
  mixed->used += length;
  return aon_xml_feed(mixed->xml, bytes, length, mixed->error);
}

static void consume(aon_mixed *mixed) {
  mixed->consumed = AON_OK;
  while (!mixed->consumed && mixed->used < mixed->length && !mixed->cut)
    mixed->consumed = consume_some(mixed);
}

static void work(void *argument, size_t index) {
  if (index == 0)
    consume(argument);
  else
    read_ahead(argument);
}

aon_result aon_mixed_step(aon_mixed *mixed, aon_error *error) {
  aon_result result = turn(mixed, error);
  if (result)
    return result;
  mixed->error = error;
  aon_run_together(mixed->env, work, mixed, mixed->ended ? 1 : 2);
  mixed->error = NULL;
  return !mixed->consumed && mixed->ended ? aon_xml_feed(mixed->xml, NULL, 0, error) : mixed->consumed;
}

aon_result aon_mixed_open(aon_mixed *mixed, aon_env *env, aon_xml *xml, const aon_mixed_ops *ops, aon_error *error) {
  size_t bytes = 2 * AON_MIXED_BYTES + AON_PLAIN_PADDING;
  *mixed = (aon_mixed){.xml = xml, .ops = ops, .env = env, .raw = malloc(bytes), .next = malloc(bytes)};
  return mixed->raw && mixed->next ? AON_OK : aon_fail_memory(error);
}

void aon_mixed_close(aon_mixed *mixed) {
  free(mixed->raw);
  free(mixed->next);
  mixed->raw = mixed->next = NULL;
}
