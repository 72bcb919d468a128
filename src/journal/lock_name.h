/* What the name of a lock is about: document:STORE/COLLECTION/ID and property:STORE/COLLECTION/ID#/POINTER are parts of documents, any
 * other name is only itself (journal.h). */
#ifndef AON_JOURNAL_LOCK_NAME_H
#define AON_JOURNAL_LOCK_NAME_H

#include "aon/document.h"

typedef struct aon_lock_name {
  const char *kind; /* "named", "document", "property" */
  aon_text store, collection, document; /* within the name; data NULL where it is only a name */
} aon_lock_name;

aon_lock_name aon_lock_name_read(const char *name);
#endif
