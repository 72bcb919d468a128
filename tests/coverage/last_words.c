/* What a coverage build (tools/coverage) links into every program: a process that ends without exit() would take its counters with it.
   Seen are _exit, abort, and a SIGKILL to oneself; whom somebody else kills is not counted. */
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

void __gcov_dump(void);
_Noreturn void __real__exit(int status);
_Noreturn void __wrap__exit(int status);
_Noreturn void __real_abort(void);
_Noreturn void __wrap_abort(void);
int __real_kill(pid_t pid, int number);
int __wrap_kill(pid_t pid, int number);

_Noreturn void __wrap__exit(int status) {
  __gcov_dump();
  __real__exit(status);
}

_Noreturn void __wrap_abort(void) {
  __gcov_dump();
  __real_abort();
}

int __wrap_kill(pid_t pid, int number) {
  if (pid == getpid() && number == SIGKILL)
    __gcov_dump();
  return __real_kill(pid, number);
}
