/* MongoDB's client library, loaded on first need. Invariants stand in base/library.h. */
#ifndef AON_WIRE_LIBMONGOC_H
#define AON_WIRE_LIBMONGOC_H

#include <mongoc/mongoc.h>

#include "base/library.h"

/* clang-format off */
#define AON_LIBMONGOC(X)                                                                                                                \
  X(mongoc_client_command_with_opts) X(mongoc_client_destroy) X(mongoc_client_get_collection) X(mongoc_client_new_from_uri_with_error)  \
  X(mongoc_client_session_abort_transaction) X(mongoc_client_session_append) X(mongoc_client_session_commit_transaction)                \
  X(mongoc_client_session_destroy) X(mongoc_client_session_get_lsid) X(mongoc_client_session_in_transaction)                            \
  X(mongoc_client_session_start_transaction) X(mongoc_client_set_appname) X(mongoc_client_set_error_api)                                \
  X(mongoc_client_set_stream_initiator) X(mongoc_client_start_session) X(mongoc_collection_destroy) X(mongoc_collection_find_with_opts) \
  X(mongoc_cursor_destroy) X(mongoc_cursor_error_document) X(mongoc_cursor_next) X(mongoc_error_has_label) X(mongoc_init)               \
  X(mongoc_log_set_handler) X(mongoc_read_concern_destroy) X(mongoc_read_concern_new) X(mongoc_read_concern_set_level)                  \
  X(mongoc_read_prefs_destroy) X(mongoc_read_prefs_new) X(mongoc_session_opts_destroy) X(mongoc_session_opts_new)                       \
  X(mongoc_session_opts_set_causal_consistency) X(mongoc_stream_destroy) X(mongoc_stream_tls_handshake_block)                           \
  X(mongoc_stream_tls_new_with_hostname) X(mongoc_transaction_opts_destroy) X(mongoc_transaction_opts_new)                              \
  X(mongoc_transaction_opts_set_read_concern) X(mongoc_transaction_opts_set_write_concern) X(mongoc_uri_destroy)                        \
  X(mongoc_uri_get_appname) X(mongoc_uri_get_database) X(mongoc_uri_get_hosts) X(mongoc_uri_get_option_as_bool)                         \
  X(mongoc_uri_get_option_as_utf8) X(mongoc_uri_get_replica_set) X(mongoc_uri_get_srv_hostname) X(mongoc_uri_get_tls)                   \
  X(mongoc_uri_new_with_error) X(mongoc_uri_set_option_as_bool) X(mongoc_uri_set_option_as_int32) X(mongoc_write_concern_destroy)       \
  X(mongoc_write_concern_new) X(mongoc_write_concern_set_journal) X(mongoc_write_concern_set_w)                                         \
  X(mongoc_write_concern_set_wtimeout_int64)
/* clang-format on */

typedef struct aon_libmongoc_table {
  AON_LIBMONGOC(AON_LIBRARY_FIELD)
} aon_libmongoc_table;

aon_result aon_libmongoc_load(const char *needed_by, aon_error *error) AON_MUST_USE;
const aon_libmongoc_table *aon_libmongoc(void);

#define mongoc_client_command_with_opts aon_libmongoc()->mongoc_client_command_with_opts
#define mongoc_client_destroy aon_libmongoc()->mongoc_client_destroy
#define mongoc_client_get_collection aon_libmongoc()->mongoc_client_get_collection
#define mongoc_client_new_from_uri_with_error aon_libmongoc()->mongoc_client_new_from_uri_with_error
#define mongoc_client_session_abort_transaction aon_libmongoc()->mongoc_client_session_abort_transaction
#define mongoc_client_session_append aon_libmongoc()->mongoc_client_session_append
#define mongoc_client_session_commit_transaction aon_libmongoc()->mongoc_client_session_commit_transaction
#define mongoc_client_session_destroy aon_libmongoc()->mongoc_client_session_destroy
#define mongoc_client_session_get_lsid aon_libmongoc()->mongoc_client_session_get_lsid
#define mongoc_client_session_in_transaction aon_libmongoc()->mongoc_client_session_in_transaction
#define mongoc_client_session_start_transaction aon_libmongoc()->mongoc_client_session_start_transaction
#define mongoc_client_set_appname aon_libmongoc()->mongoc_client_set_appname
#define mongoc_client_set_error_api aon_libmongoc()->mongoc_client_set_error_api
#define mongoc_client_set_stream_initiator aon_libmongoc()->mongoc_client_set_stream_initiator
#define mongoc_client_start_session aon_libmongoc()->mongoc_client_start_session
#define mongoc_collection_destroy aon_libmongoc()->mongoc_collection_destroy
#define mongoc_collection_find_with_opts aon_libmongoc()->mongoc_collection_find_with_opts
#define mongoc_cursor_destroy aon_libmongoc()->mongoc_cursor_destroy
#define mongoc_cursor_error_document aon_libmongoc()->mongoc_cursor_error_document
#define mongoc_cursor_next aon_libmongoc()->mongoc_cursor_next
#define mongoc_error_has_label aon_libmongoc()->mongoc_error_has_label
#define mongoc_init aon_libmongoc()->mongoc_init
#define mongoc_log_set_handler aon_libmongoc()->mongoc_log_set_handler
#define mongoc_read_concern_destroy aon_libmongoc()->mongoc_read_concern_destroy
#define mongoc_read_concern_new aon_libmongoc()->mongoc_read_concern_new
#define mongoc_read_concern_set_level aon_libmongoc()->mongoc_read_concern_set_level
#define mongoc_read_prefs_destroy aon_libmongoc()->mongoc_read_prefs_destroy
#define mongoc_read_prefs_new aon_libmongoc()->mongoc_read_prefs_new
#define mongoc_session_opts_destroy aon_libmongoc()->mongoc_session_opts_destroy
#define mongoc_session_opts_new aon_libmongoc()->mongoc_session_opts_new
#define mongoc_session_opts_set_causal_consistency aon_libmongoc()->mongoc_session_opts_set_causal_consistency
#define mongoc_stream_destroy aon_libmongoc()->mongoc_stream_destroy
#define mongoc_stream_tls_handshake_block aon_libmongoc()->mongoc_stream_tls_handshake_block
#define mongoc_stream_tls_new_with_hostname aon_libmongoc()->mongoc_stream_tls_new_with_hostname
#define mongoc_transaction_opts_destroy aon_libmongoc()->mongoc_transaction_opts_destroy
#define mongoc_transaction_opts_new aon_libmongoc()->mongoc_transaction_opts_new
#define mongoc_transaction_opts_set_read_concern aon_libmongoc()->mongoc_transaction_opts_set_read_concern
#define mongoc_transaction_opts_set_write_concern aon_libmongoc()->mongoc_transaction_opts_set_write_concern
#define mongoc_uri_destroy aon_libmongoc()->mongoc_uri_destroy
#define mongoc_uri_get_appname aon_libmongoc()->mongoc_uri_get_appname
#define mongoc_uri_get_database aon_libmongoc()->mongoc_uri_get_database
#define mongoc_uri_get_hosts aon_libmongoc()->mongoc_uri_get_hosts
#define mongoc_uri_get_option_as_bool aon_libmongoc()->mongoc_uri_get_option_as_bool
#define mongoc_uri_get_option_as_utf8 aon_libmongoc()->mongoc_uri_get_option_as_utf8
#define mongoc_uri_get_replica_set aon_libmongoc()->mongoc_uri_get_replica_set
#define mongoc_uri_get_srv_hostname aon_libmongoc()->mongoc_uri_get_srv_hostname
#define mongoc_uri_get_tls aon_libmongoc()->mongoc_uri_get_tls
#define mongoc_uri_new_with_error aon_libmongoc()->mongoc_uri_new_with_error
#define mongoc_uri_set_option_as_bool aon_libmongoc()->mongoc_uri_set_option_as_bool
#define mongoc_uri_set_option_as_int32 aon_libmongoc()->mongoc_uri_set_option_as_int32
#define mongoc_write_concern_destroy aon_libmongoc()->mongoc_write_concern_destroy
#define mongoc_write_concern_new aon_libmongoc()->mongoc_write_concern_new
#define mongoc_write_concern_set_journal aon_libmongoc()->mongoc_write_concern_set_journal
#define mongoc_write_concern_set_w aon_libmongoc()->mongoc_write_concern_set_w
#define mongoc_write_concern_set_wtimeout_int64 aon_libmongoc()->mongoc_write_concern_set_wtimeout_int64
#endif
