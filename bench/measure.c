/* Runs one command and says what it took: wall time, CPU time of the process and of all that it waited for, peak resident memory.
 *
 *   measure RESULT COMMAND [ARGUMENT...]
 *
 * RESULT gets one JSON object. A program of its own, because a child's peak begins with that of the process that forked it: this one
 * is a megabyte, an interpreter would be ten. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static double milliseconds(struct timeval time) { return (double)time.tv_sec * 1e3 + (double)time.tv_usec / 1e3; }

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: measure RESULT COMMAND [ARGUMENT...]\n");
    return 1;
  }
  double started = now_ms();
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* whoever ends a run that takes too long ends all of it */
    execvp(argv[2], argv + 2);
    perror(argv[2]);
    _exit(127);
  }
  int status;
  struct rusage usage;
  if (child < 0 || wait4(child, &status, 0, &usage) < 0) {
    perror("measure");
    return 1;
  }
  double wall = now_ms() - started;
  FILE *out = fopen(argv[1], "w");
  if (!out) {
    perror(argv[1]);
    return 1;
  }
  int code = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  fprintf(out, "{\"status\":%d,\"wall_ms\":%.3f,\"user_ms\":%.3f,\"system_ms\":%.3f,\"peak_kib\":%ld}\n", code, wall,
          milliseconds(usage.ru_utime), milliseconds(usage.ru_stime), usage.ru_maxrss);
  return fclose(out) ? 1 : 0;
}
