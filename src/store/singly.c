/* Stores without transactions: see singly.h. */
#include "store/singly.h"

static aon_result no_transactions(aon_error *error) {
  return aon_fail(error, AON_USAGE, "not_supported", "A store that writes documents singly has no transactions.");
}

aon_result aon_singly_begin(void *state, const aon_branch *branch, aon_marker marker, aon_transaction **ret_transaction, aon_error *error) {
  (void)state;
  (void)branch;
  (void)marker;
  (void)ret_transaction;
  return no_transactions(error);
}

aon_result aon_singly_end(void *state, aon_transaction *transaction, aon_error *error) {
  (void)state;
  (void)transaction;
  return no_transactions(error);
}

void aon_singly_abort(void *state, aon_transaction *transaction) {
  (void)state;
  (void)transaction;
}

aon_result aon_singly_resolve(void *state, const aon_branch *branch, aon_branch_state *ret_state, aon_error *error) {
  (void)state;
  (void)branch;
  (void)ret_state;
  return no_transactions(error);
}

aon_result aon_singly_forget(void *state, int64_t before_ms, aon_error *error) {
  (void)state;
  (void)before_ms;
  (void)error;
  return AON_OK; /* it keeps no markers */
}
