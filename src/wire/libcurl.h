/* libcurl, loaded on first need. Invariants stand in base/library.h. */
#ifndef AON_WIRE_LIBCURL_H
#define AON_WIRE_LIBCURL_H

#include <curl/curl.h>

#include "base/library.h"

#undef curl_easy_getinfo /* macros that count arguments or look at their types, for who is linked */
#undef curl_easy_setopt
#undef curl_multi_setopt

/* clang-format off */
#define AON_LIBCURL(X)                                                                                                                  \
  X(curl_easy_cleanup) X(curl_easy_getinfo) X(curl_easy_init) X(curl_easy_reset) X(curl_easy_setopt) X(curl_getdate)                    \
  X(curl_global_cleanup) X(curl_global_init) X(curl_multi_add_handle) X(curl_multi_cleanup) X(curl_multi_info_read) X(curl_multi_init)  \
  X(curl_multi_perform) X(curl_multi_poll) X(curl_multi_remove_handle) X(curl_multi_setopt) X(curl_slist_append) X(curl_slist_free_all) \
  X(curl_version_info)
/* clang-format on */

typedef struct aon_libcurl_table {
  AON_LIBCURL(AON_LIBRARY_FIELD)
} aon_libcurl_table;

aon_result aon_libcurl_load(const char *needed_by, aon_error *error) AON_MUST_USE;
const aon_libcurl_table *aon_libcurl(void);

#define curl_easy_cleanup aon_libcurl()->curl_easy_cleanup
#define curl_easy_getinfo aon_libcurl()->curl_easy_getinfo
#define curl_easy_init aon_libcurl()->curl_easy_init
#define curl_easy_reset aon_libcurl()->curl_easy_reset
#define curl_easy_setopt aon_libcurl()->curl_easy_setopt
#define curl_getdate aon_libcurl()->curl_getdate
#define curl_global_cleanup aon_libcurl()->curl_global_cleanup
#define curl_global_init aon_libcurl()->curl_global_init
#define curl_multi_add_handle aon_libcurl()->curl_multi_add_handle
#define curl_multi_cleanup aon_libcurl()->curl_multi_cleanup
#define curl_multi_info_read aon_libcurl()->curl_multi_info_read
#define curl_multi_init aon_libcurl()->curl_multi_init
#define curl_multi_perform aon_libcurl()->curl_multi_perform
#define curl_multi_poll aon_libcurl()->curl_multi_poll
#define curl_multi_remove_handle aon_libcurl()->curl_multi_remove_handle
#define curl_multi_setopt aon_libcurl()->curl_multi_setopt
#define curl_slist_append aon_libcurl()->curl_slist_append
#define curl_slist_free_all aon_libcurl()->curl_slist_free_all
#define curl_version_info aon_libcurl()->curl_version_info
#endif
