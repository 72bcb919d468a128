/* The tables of the libraries that are loaded on first need. Invariants stand in base/library.h. */
#include "wire/libcrypto.h"
#include "wire/libcurl.h"
#include "wire/libmongoc.h"
#include "wire/libpq.h"

#define CURL_OLDEST 0x075500 /* 7.85.0: CURLOPT_PROTOCOLS_STR */

#define LIBRARY(name, NAME, of_file, of_package, of_fits)                                                                                  \
  static aon_##name##_table name##_table;                                                                                                  \
  static aon_library name##_library = {.file = of_file,                                                                                    \
                                       .package = of_package,                                                                              \
                                       .names = AON_##NAME(AON_LIBRARY_NAME),                                                              \
                                       .table = &name##_table,                                                                             \
                                       .fits = of_fits,                                                                                    \
                                       .lock = PTHREAD_MUTEX_INITIALIZER};                                                                 \
  aon_result aon_##name##_load(const char *needed_by, aon_error *error) { return aon_library_load(&name##_library, needed_by, error); }    \
  const aon_##name##_table *aon_##name(void) { return &name##_table; }

static bool curl_fits(void) { return curl_version_info(CURLVERSION_NOW)->version_num >= CURL_OLDEST; }

LIBRARY(libcrypto, LIBCRYPTO, "libcrypto.so.3", "libssl3", NULL)
LIBRARY(libcurl, LIBCURL, "libcurl.so.4", "libcurl4", curl_fits)
LIBRARY(libmongoc, LIBMONGOC, "libmongoc-1.0.so.0", "libmongoc-1.0-0", NULL)
LIBRARY(libpq, LIBPQ, "libpq.so.5", "libpq5", NULL)
