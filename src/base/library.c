/* Libraries of others, loaded on first need. Invariants stand in library.h. Sources: dlopen(3), dlsym(3). */
#include "base/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

static aon_result not_loaded(const aon_library *library, const char *needed_by, aon_error *error) {
  const char *why = dlerror();
  if (errno == ENOMEM || (why && strstr(why, "annot allocate memory")))
    return aon_fail_memory(error);
  return aon_fail(error, AON_ENVIRONMENT, "library_missing",
                  "%s needs the library %s, which can't be loaded (%.200s). Install the package %s.", needed_by, library->file,
                  why ? why : "", library->package);
}

static aon_result too_old(const aon_library *library, const char *needed_by, aon_error *error) {
  return aon_fail(error, AON_ENVIRONMENT, "library_missing", "%s needs a newer %s than the one that is there. Install the package %s anew.",
                  needed_by, library->file, library->package);
}

static aon_result fill(aon_library *library, const char *needed_by, aon_error *error) {
  errno = 0;
  void *handle = dlopen(library->file, RTLD_NOW | RTLD_LOCAL);
  if (!handle)
    return not_loaded(library, needed_by, error);
  size_t i = 0;
  for (const char *name = library->names; *name; name += strlen(name) + 1, i++) {
    void *found = dlsym(handle, name);
    if (!found)
      return too_old(library, needed_by, error);
    memcpy((char *)library->table + i * sizeof found, &found, sizeof found);
  }
  if (library->fits && !library->fits())
    return too_old(library, needed_by, error);
  library->loaded = true;
  return AON_OK;
}

aon_result aon_library_load(aon_library *library, const char *needed_by, aon_error *error) {
  pthread_mutex_lock(&library->lock);
  aon_result result = library->loaded ? AON_OK : fill(library, needed_by, error);
  pthread_mutex_unlock(&library->lock);
  return result;
}
