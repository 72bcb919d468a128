/* What the name of a lock is about: document:STORE/COLLECTION/ID and property:STORE/COLLECTION/ID#/POINTER are parts of documents, any
 * other name is only itself (journal.h). */
#ifndef AON_JOURNAL_LOCK_NAME_H
#define AON_JOURNAL_LOCK_NAME_H

#include <stdbool.h>
#include <stdint.h>

#include "aon/document.h"
#include "aon/result.h"

typedef struct aon_lock_name {
  const char *kind;                     /* "named", "document", "property" */
  aon_text store, collection, document; /* within the name; data NULL where it is only a name */
} aon_lock_name;

aon_lock_name aon_lock_name_read(const char *name);

typedef struct aon_lock_about {
  aon_lock_name name;
  bool of_document;
  char store[128], collection[256]; /* of the document, and its hash; "" and 0 where it is only a name */
  int64_t hash;
} aon_lock_about;

/* AON_USAGE bad_name. about borrows the name. */
aon_result aon_lock_about_read(const char *name, aon_lock_about *ret_about, aon_error *error) AON_MUST_USE;
#endif
