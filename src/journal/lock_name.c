/* Names of locks, taken apart. */
#include "journal/lock_name.h"

#include <string.h>

#include "model/text.h"

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

aon_result aon_lock_about_read(const char *name, aon_lock_about *ret_about, aon_error *error) {
  aon_lock_about about = {.name = aon_lock_name_read(name)};
  const aon_text store = about.name.store, collection = about.name.collection;
  about.of_document = store.data != NULL;
  if (about.of_document) {
    if (store.length >= sizeof about.store || collection.length >= sizeof about.collection)
      return aon_fail(error, AON_USAGE, "bad_name", "The name of the lock “%.200s” names a store or a collection that can't be.", name);
    memcpy(about.store, store.data, store.length);
    memcpy(about.collection, collection.data, collection.length);
    about.hash = (int64_t)aon_document_hash(about.store, about.collection, about.name.document);
  }
  *ret_about = about;
  return AON_OK;
}
