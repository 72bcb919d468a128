/* A service that is asked by HTTP and answers as a test says: refusals, nonsense, answers that are lost. A thread of this process, since the
 * emulators give none of these. Where nothing is planned it answers as an empty Firestore, or an empty Realtime Database, would.
 *
 * Invariant: what is planned is used once, in its order: a request takes the next answer if that is meant for it. */
#ifndef AON_TESTS_STORE_ANSWERS_H
#define AON_TESTS_STORE_ANSWERS_H

#include <stddef.h>

typedef struct answer {
  const char *to;      /* stands in the request; "" in each */
  int status;          /* 0: hangs up instead of answering */
  const char *body;    /* "@": the first document of Firestore's that is asked for; NULL: as where nothing is planned */
  const char *headers; /* each with its line's end; NULL: an ETag */
} answer;

typedef struct service service;

/* variable: of the environment, is set to its HOST:PORT */
service *service_start(const char *variable);
int service_port(const service *s);
void service_stop(service *s);
void service_plan(service *s, const answer *answers, size_t count);
size_t service_left(service *s); /* planned answers that nobody has asked for */
/* Whether a request since the plan held this. */
int service_heard(service *s, const char *text);

#define PLAN(s, ...) service_plan(s, (const answer[]){__VA_ARGS__}, sizeof((const answer[]){__VA_ARGS__}) / sizeof(answer))
#endif
