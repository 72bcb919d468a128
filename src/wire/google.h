/* Requests to Google's services with their credentials: a service account's key signs a JWT, which is exchanged for a token (RFC 7523), and
 * that is refreshed before it ends. Emulators are found by the variables that Google's own SDKs read, and take `Bearer owner`.
 *
 * Invariants: neither key nor token stands in a sentence or a log; the key is only sent as a signature; a token goes only to https
 * addresses or to this machine; a clock of ours that is wrong is put right by the token server's.
 * Sources: RFC 7515, 7519, 7523; https://developers.google.com/identity/protocols/oauth2/service-account. */
#ifndef AON_WIRE_GOOGLE_H
#define AON_WIRE_GOOGLE_H

#include "wire/http.h"

typedef struct aon_google aon_google;

typedef struct aon_google_settings {
  const char *label;    /* names the store in sentences */
  const char *emulator; /* name of the variable that holds an emulator's HOST:PORT */
  const char *scopes;   /* of the token, separated by blanks */
} aon_google_settings;

/* No emulator and no credentials (GOOGLE_APPLICATION_CREDENTIALS): AON_ENVIRONMENT no_credentials. http stays the caller's. */
aon_result aon_google_new(aon_env *env, const aon_google_settings *settings, aon_http *http, aon_google **ret_google,
                          aon_error *error) AON_MUST_USE;
void aon_google_free(aon_google *google);
const char *aon_google_emulator(const aon_google *google); /* HOST:PORT, NULL: the real service */
const char *aon_google_account(const aon_google *google);  /* the service account's name, "" for an emulator */

/* aon_http_run with the Authorization header. A token that is refused (401) is asked for anew,
 * once. A failure of its own means that no token can be had: nothing was sent. */
aon_result aon_google_run(aon_google *google, aon_http_request *requests, size_t count, int64_t deadline_ms, aon_http_go_on go_on,
                          void *context, aon_error *error) AON_MUST_USE;
#endif
