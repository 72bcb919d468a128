/* Uploads that wait in the journal: queueing them, and working on them (docs/workers.md).
 *
 * Invariants: an upload is queued whole or not at all; a worker touches no store before it has compared what the submitter meant with what
 * is configured here; what it gives back is as it was submitted. */
#ifndef AON_COORDINATOR_WORKER_H
#define AON_COORDINATOR_WORKER_H

#include "coordinator/engine.h"

#define AON_UPLOAD_LIMIT_BYTES ((uint64_t)100 << 20)

/* Leaves an upload in the journal for a worker. pack_given: the name or path under which workers look for the pack. The outcome holds its
 * result object, state queued (or the first one's, if it was there already). AON_USAGE for a folder, or a file above
 * AON_UPLOAD_LIMIT_BYTES. */
aon_result aon_import_queue(aon_engine *, const aon_pack *pack, const char *pack_given, const char *file, const aon_run_options *,
                            aon_outcome *, aon_error *) AON_MUST_USE;

typedef enum aon_work_kind {
  AON_WORK_TAKEN,
  AON_WORK_ENDED,      /* in a state of its own */
  AON_WORK_GIVEN_BACK, /* queued again, or left for another worker: why says it */
  AON_WORK_LEFT,       /* another worker has it, or recovery goes on with it: why says it */
  AON_WORK_RECOVERED,  /* what another worker left: why says what became of it */
  AON_WORK_TROUBLE     /* journal or machine: the worker tries again; no bulk operation */
} aon_work_kind;
typedef struct aon_work_event {
  aon_work_kind kind;
  const char *id, *source, *pack, *organization; /* NULL where there is none */
  aon_state state;
  const aon_outcome *outcome; /* AON_WORK_ENDED */
  int64_t took_ms;
  const char *why;
} aon_work_event;

typedef struct aon_work_options {
  const char *user;            /* for what the worker itself does: recovery */
  const char *organization;    /* only its uploads; NULL: all */
  const char *folder;          /* is there; a file stands here while it is worked on */
  const char *const *packs;    /* folders */
  bool until_empty;            /* ends when nothing that it can do is left in the queue */
  volatile sig_atomic_t *stop; /* NULL: never. What has not begun to execute is given back then, and the call returns */
  void (*hear)(void *context, const aon_work_event *event); /* NULL */
  void *context;
} aon_work_options;

/* Works on queued uploads, one at a time, and recovers what dead workers left. Returns when it shall stop; failures of journal and machine
 * are told and tried again, but for those that make a start impossible. *ret_taken (may be NULL): how many it took. */
aon_result aon_work(aon_engine *, const aon_work_options *, uint64_t *ret_taken, aon_error *) AON_MUST_USE;

/* Writes the report that is kept with a bulk operation to a file, aside and renamed. AON_USAGE no_report. */
aon_result aon_report_fetch(aon_engine *, const char *id, const char *path, aon_error *) AON_MUST_USE;

/* aon_housekeep, and what it recovered is heard. */
aon_result aon_housekeep_heard(aon_engine *, const aon_run_options *, aon_recovered each, void *context, aon_error *) AON_MUST_USE;
#endif
