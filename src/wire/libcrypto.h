/* OpenSSL's libcrypto, loaded on first need. Invariants stand in base/library.h. */
#ifndef AON_WIRE_LIBCRYPTO_H
#define AON_WIRE_LIBCRYPTO_H

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/library.h"

/* clang-format off */
#define AON_LIBCRYPTO(X)                                                                                                          \
  X(BIO_free) X(BIO_new_mem_buf) X(EVP_DigestSign) X(EVP_DigestSignInit) X(EVP_MD_CTX_free) X(EVP_MD_CTX_new) X(EVP_PKEY_get_base_id) \
  X(EVP_PKEY_free) X(EVP_sha256) X(PEM_read_bio_PrivateKey)
/* clang-format on */

typedef struct aon_libcrypto_table {
  AON_LIBCRYPTO(AON_LIBRARY_FIELD)
} aon_libcrypto_table;

aon_result aon_libcrypto_load(const char *needed_by, aon_error *error) AON_MUST_USE;
const aon_libcrypto_table *aon_libcrypto(void);

#define BIO_free aon_libcrypto()->BIO_free
#define BIO_new_mem_buf aon_libcrypto()->BIO_new_mem_buf
#define EVP_DigestSign aon_libcrypto()->EVP_DigestSign
#define EVP_DigestSignInit aon_libcrypto()->EVP_DigestSignInit
#define EVP_MD_CTX_free aon_libcrypto()->EVP_MD_CTX_free
#define EVP_MD_CTX_new aon_libcrypto()->EVP_MD_CTX_new
#define EVP_PKEY_get_base_id aon_libcrypto()->EVP_PKEY_get_base_id
#define EVP_PKEY_free aon_libcrypto()->EVP_PKEY_free
#define EVP_sha256 aon_libcrypto()->EVP_sha256
#define PEM_read_bio_PrivateKey aon_libcrypto()->PEM_read_bio_PrivateKey
#endif
