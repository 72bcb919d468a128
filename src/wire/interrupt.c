/* Interrupts. Their invariant stands in wire/interrupt.h. */
#include "wire/interrupt.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

aon_result aon_interrupt_open(aon_interrupt *interrupt, aon_error *error) {
  atomic_store(&interrupt->raised, 0);
  interrupt->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return interrupt->wake >= 0 ? AON_OK
                              : aon_fail_native(error, AON_ENVIRONMENT, "io_error", errno, "No file handle is left: %s.", strerror(errno));
}

void aon_interrupt_close(aon_interrupt *interrupt) {
  if (interrupt->wake >= 0)
    close(interrupt->wake);
  interrupt->wake = -1;
}

void aon_interrupt_raise(aon_interrupt *interrupt) {
  uint64_t one = 1;
  atomic_store(&interrupt->raised, 1);
  if (write(interrupt->wake, &one, sizeof one) != (ssize_t)sizeof one)
    return; /* it is raised already */
}

void aon_interrupt_clear(aon_interrupt *interrupt) {
  uint64_t count;
  if (!atomic_exchange(&interrupt->raised, 0))
    return;
  if (read(interrupt->wake, &count, sizeof count) < 0)
    return; /* raised, but not written yet: the next wait wakes once for nothing */
}
