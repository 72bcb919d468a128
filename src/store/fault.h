/* A decorator that makes calls to a store fail.
 *
 * The nth call of those named fails, once or from then on, before the real call (it was never made) or after it (it was made,
 * its result is lost). A test counts on: fail the 1st, 2nd, … call until a run has no fault left.
 *
 * Invariants: what the failure says is true of the store, for the kinds that a store may use there: a call that ends a transaction ends it,
 * and a failing begin leaves none open. A kind that claims "not applied" after a real write (anything but AON_UNKNOWN) is a lie that
 * only a test of the coordinator's own checks wants; it is not kept from telling it. */
#ifndef AON_STORE_FAULT_H
#define AON_STORE_FAULT_H

#include <stdatomic.h>

#include "aon/store.h"

typedef enum aon_fault_when { AON_FAULT_BEFORE, AON_FAULT_AFTER } aon_fault_when;

typedef struct aon_fault { /* aon_store_config.options; lives until close; may be shared by stores, which then count together */
  const aon_store_adapter *inner;
  const void *inner_options;
  const char *call; /* name as in the step ("commit"); NULL: all but describe, normalise, abort and examine */
  uint64_t nth;     /* from 1; 0: never */
  bool for_ever;    /* all from the nth on */
  aon_fault_when when;
  aon_result kind;
  const char *code;               /* NULL: injected */
  _Atomic uint64_t calls, faults; /* counted; set by the decorator */
} aon_fault;

extern const aon_store_adapter aon_fault_adapter;
#endif
