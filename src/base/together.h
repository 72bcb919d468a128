/* Threads that help one caller at a time: tasks run side by side, and the caller with them.
 *
 * Invariants: a task is run exactly once, by whoever takes it first; the call returns when the last one has ended, and what tasks wrote
 * is then seen by the caller; helpers sleep in between, take no signals, and hold nothing; where no thread can be made the
 * caller does all. */
#ifndef AON_BASE_TOGETHER_H
#define AON_BASE_TOGETHER_H

#include <stddef.h>

typedef struct aon_together aon_together;

aon_together *aon_together_new(void); /* NULL: no memory */
void aon_together_free(aon_together *together);
/* together NULL, another thread in such a call, or a forked child: in order, by the caller alone. */
void aon_together_run(aon_together *together, void (*task)(void *argument, size_t index), void *argument, size_t count);
#endif
