/* Calls to files that fail, one of them, beside the calls of calls.h. */
#ifndef AON_TESTS_COORDINATOR_FAILING_FILES_H
#define AON_TESTS_COORDINATOR_FAILING_FILES_H

#include "calls.h"
#include "harness.h"

enum { CALL_FILE = CALLS }; /* a suite's own kinds follow */

void files_may_fail(world *w); /* from now on, in this world */
#endif
