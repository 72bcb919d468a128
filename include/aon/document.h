/* Documents and images.
 *
 * A document inside the program is BSON (typed, compact). JSON of people is never fed to libbson's own reader, where
 * {"$oid": …} silently changes type: it passes through aon_document_from_json.
 * Sources: BSON 1.1, RFC 8259 (JSON), RFC 7396 (merge patch), RFC 6901 (JSON Pointer).
 */
#ifndef AON_DOCUMENT_H
#define AON_DOCUMENT_H

#include <bson/bson.h>
#include <stdbool.h>

#include "aon/result.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct aon_text { /* borrowed bytes, not NUL-terminated unless said so */
  const char *data;
  size_t length;
} aon_text;

#define AON_TEXT(literal) ((aon_text){(literal), sizeof(literal) - 1})

/* One state of one document. Absent: bson NULL. Borrowed: the owner of the arena or batch keeps the bytes. */
typedef struct aon_image {
  const uint8_t *bson; /* a whole BSON document, length in its head; NULL: the document is not there */
  uint32_t bson_length;
  uint32_t token_length;
  const uint8_t *token; /* opaque to all but the adapter that made it: what it needs to recognise and to restore
                           exactly this state beyond the BSON (SQLite: the stored text where it is not the canonical
                           one; RTDB: an ETag). NULL if none. */
} aon_image;

static inline bool aon_image_absent(const aon_image *image) { return image->bson == NULL; }

/* A view of the image as bson_t. Fails only on bytes that are no BSON. */
bool aon_image_view(const aon_image *image, bson_t *ret_view);

#ifdef __cplusplus
}
#endif
#endif
