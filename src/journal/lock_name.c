/* Names of locks, taken apart. */
#include "journal/lock_name.h"

#include <string.h>

#define DOCUMENT_PREFIX "document:"
#define PROPERTY_PREFIX "property:"

aon_lock_name aon_lock_name_read(const char *name) {
  static const aon_lock_name plain = {.kind = "named"};
  bool property = !strncmp(name, PROPERTY_PREFIX, sizeof PROPERTY_PREFIX - 1);
  if (!property && strncmp(name, DOCUMENT_PREFIX, sizeof DOCUMENT_PREFIX - 1))
    return plain;
  const char *store = name + sizeof DOCUMENT_PREFIX - 1, *collection = strchr(store, '/');
  const char *document = collection ? strchr(collection + 1, '/') : NULL, *end = name + strlen(name);
  if (document && property)
    end = strstr(document, "#/");
  if (!document || !end)
    return plain;
  return (aon_lock_name){.kind = property ? "property" : "document",
                         .store = {store, (size_t)(collection - store)},
                         .collection = {collection + 1, (size_t)(document - collection - 1)},
                         .document = {document + 1, (size_t)(end - document - 1)}};
}
