/* What import, apply and undo share: submitting, ending, digests. Internal to the room. */
#ifndef AON_COORDINATOR_SUBMIT_H
#define AON_COORDINATOR_SUBMIT_H

#include "coordinator/run.h"

typedef struct aon_submit_what {
  const char *kind, *source, *pack, *undoes;
  aon_state state;
} aon_submit_what;

/* AON_END: it ran before, and the outcome holds its first result. */
aon_result aon_run_submit(aon_run *run, const aon_submit_what *what, const char *digest, aon_error *error) AON_MUST_USE;
/* A failure before the first write: the bulk operation ends as rejected, cancelled or rolled back. AON_OK if the outcome tells it all. */
aon_result aon_run_give_up(aon_run *run, aon_result result, const aon_error *failure, aon_error *error) AON_MUST_USE;
/* The end of a run, whatever became of it: gives up if need be, fills the result object, gives memory back. */
aon_result aon_run_close(aon_run *run, aon_result result, const aon_error *failure, aon_error *error) AON_MUST_USE;
/* Digest of a folder: names and contents of its files, in the order of names. */
aon_result aon_folder_digest(aon_env *env, const char *folder, const char *const *options, char ret_hex[65], aon_error *error) AON_MUST_USE;
#endif
