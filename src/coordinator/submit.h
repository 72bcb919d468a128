/* What import, apply and undo share: submitting, ending, digests. Internal to the room. */
#ifndef AON_COORDINATOR_SUBMIT_H
#define AON_COORDINATOR_SUBMIT_H

#include "coordinator/run.h"

typedef struct aon_submit_what {
  const char *kind, *source, *pack, *undoes;
  aon_state state;            /* queued: for any worker, with options and the file that was put */
  const char *options, *file; /* NULL */
  uint64_t file_bytes;
} aon_submit_what;

/* AON_END: it ran before, and the outcome holds its first result. */
aon_result aon_run_submit(aon_run *run, const aon_submit_what *what, const char *digest, aon_error *error) AON_MUST_USE;
/* A failure before the first write: the bulk operation ends as rejected, cancelled or rolled back. AON_OK if the outcome tells it all. */
aon_result aon_run_give_up(aon_run *run, aon_result result, const aon_error *failure, aon_error *error) AON_MUST_USE;
/* The end of a run, whatever became of it: gives up if need be, fills the result object, gives memory back. */
aon_result aon_run_close(aon_run *run, aon_result result, const aon_error *failure, aon_error *error) AON_MUST_USE;

/* An uploaded workbook, from its first row to its end. */
typedef struct aon_upload_what {
  aon_pack *pack;
  const char *path, *name;                                  /* where it stands, what it is called */
  aon_result (*rejecting)(void *context, aon_error *error); /* its errors are known, and nobody was told yet; NULL */
  void *context;
} aon_upload_what;
aon_result aon_run_upload(aon_run *run, const aon_upload_what *what, aon_error *error) AON_MUST_USE;
aon_result aon_upload_report(aon_engine *engine, const char *file, const char *report, const aon_outcome *outcome,
                             aon_error *error) AON_MUST_USE;
aon_result aon_upload_look(aon_env *env, const char *file, aon_file_info *ret_info,
                           aon_error *error) AON_MUST_USE; /* AON_ENVIRONMENT no_such_file */
/* What its digest covers beside its content. */
void aon_upload_digest_texts(const char *pack, const aon_run_options *options, const char *texts[6]);
const char *aon_base_name(const char *path);
/* Puts one that came from the queue back there, if this failure lets it be tried again and it is not too often or too late; false: it is to
 * end (worker.c). */
bool aon_run_requeue(aon_run *run, aon_result result, const aon_error *failure);
/* The same for one whose worker was lost (recover.c). *ret_done false: it is to end. */
aon_result aon_run_requeue_lost(aon_run *run, const aon_bulk *bulk, bool *ret_done, aon_error *error) AON_MUST_USE;

/* Digest of a folder: names and contents of its files, in the order of names. */
aon_result aon_folder_digest(aon_env *env, const char *folder, const char *const *options, char ret_hex[65], aon_error *error) AON_MUST_USE;
#endif
