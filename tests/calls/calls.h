/* The n-th call of a kind fails, once: what the suites named `fails` count on. Linked with calls_wraps, which put these in the way of our
 * own memory (malloc and its like; each piece of an arena, each addition to a buffer, which seldom need malloc) and of SQLite's statements.
 *
 * Invariant: nothing fails but between calls_fail and calls_end. One fault at a time; from any thread. */
#ifndef AON_TESTS_CALLS_H
#define AON_TESTS_CALLS_H

#include <stdbool.h>
#include <stddef.h>

enum { CALL_MEMORY, CALL_PIECE, CALL_STEP, CALL_STATEMENT, CALLS }; /* a suite's own kinds follow */

void calls_fail(int kind, int nth);                    /* nth 0: none does */
void calls_fail_from(int kind, int nth);               /* the nth and all after it */
void calls_fail_for_ever(int nth, void (*then)(void)); /* the nth step of SQLite and all after it; `then` at the first of them */
bool calls_due(int kind);                              /* counts a call: does it fail? */
bool calls_failed(void);
int calls_seen(void); /* since calls_fail(kind, INT_MAX): how many there are; ends it */
bool calls_end(void); /* whether it failed */
/* Instead of failing, until calls_end: which calls of the kind come from a way (the innermost `depth` callers) that no call watched before
 * in this process came from. */
void calls_watch(int kind, int depth);
size_t calls_ways(const int **ret_nths); /* of the last watch, in their order; theirs until the next */
const char *calls_name(int kind);
bool calls_full(void); /* AON_FULL=1: each of them is wanted */
int calls_next(
    int nth,
    int fewer); /* the one to try after this: all of the first, then fewer and fewer (AON_CALLS_MORE=N: N times as many); with AON_FULL=1 each */
#endif
