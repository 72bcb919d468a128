/* A decorator that asserts the contract of aon/store.h, on both sides: that the caller uses the store as it may be used, and that
 * the adapter answers as it must. A breach ends the process with a sentence on standard error (abort), because whatever broke
 * the protocol can't be trusted to go on. Used by all tests; costs little enough to be left on in trials.
 *
 *     idle --begin--> open --apply fails--> failed
 *      ^               |                      |
 *      +--commit, prepare, abort--+---abort---+
 *
 * Asserted of the caller: transactions only in classes 1-3, one at a time; apply only in the open one, in classes 4-5 without
 * one but with states; after a failure only abort; every write names its document and expects or wants something; sizes within the
 * capabilities; no resolving or ending of prepared ones while one is open; closed only when idle.
 * Asserted of the adapter: failures are filled whole and success leaves the error untouched; images are BSON; states agree with the
 * result; a failing apply names the write; AON_END and AON_OK are not mixed up. */
#ifndef AON_STORE_ASSERT_H
#define AON_STORE_ASSERT_H

#include "aon/store.h"

typedef struct aon_assert { /* aon_store_config.options; lives until close */
  const aon_store_adapter *inner;
  const void *inner_options;
} aon_assert;

extern const aon_store_adapter aon_assert_adapter;
#endif
