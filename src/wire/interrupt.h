/* How another thread, or a signal handler, ends a wait for a server.
 *
 * Invariant: raising is async-signal-safe; whoever waits polls `wake` beside its own sockets and looks at `raised` when it wakes. */
#ifndef AON_WIRE_INTERRUPT_H
#define AON_WIRE_INTERRUPT_H

#include <stdatomic.h>

#include "aon/result.h"

typedef struct aon_interrupt {
  atomic_int raised;
  int wake; /* eventfd */
} aon_interrupt;

aon_result aon_interrupt_open(aon_interrupt *interrupt, aon_error *error) AON_MUST_USE;
void aon_interrupt_close(aon_interrupt *interrupt);
void aon_interrupt_raise(aon_interrupt *interrupt); /* async-signal-safe */
void aon_interrupt_clear(aon_interrupt *interrupt);
#endif
