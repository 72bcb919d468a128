/* What stores answer that write documents singly, without transactions and markers (classes 4 and 5): nothing calls it but by mistake. */
#ifndef AON_STORE_SINGLY_H
#define AON_STORE_SINGLY_H

#include "aon/store.h"

aon_result aon_singly_begin(void *state, const aon_branch *branch, aon_marker marker, aon_transaction **ret_transaction, aon_error *error);
aon_result aon_singly_end(void *state, aon_transaction *transaction, aon_error *error);
void aon_singly_abort(void *state, aon_transaction *transaction);
aon_result aon_singly_resolve(void *state, const aon_branch *branch, aon_branch_state *ret_state, aon_error *error);
aon_result aon_singly_forget(void *state, int64_t before_ms, aon_error *error);

/* Those members of an adapter. */
#define AON_SINGLY                                                                                                                         \
  .begin = aon_singly_begin, .flush = aon_singly_end, .commit = aon_singly_end, .abort = aon_singly_abort, .resolve = aon_singly_resolve,  \
  .forget = aon_singly_forget
#endif
