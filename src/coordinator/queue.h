/* What those who queue an upload and those who take it share: what the submitter meant, as the journal keeps it. Internal to the room. */
#ifndef AON_COORDINATOR_QUEUE_H
#define AON_COORDINATOR_QUEUE_H

#include "coordinator/run.h"
#include "coordinator/worker.h"

#define AON_QUEUE_FORMAT 1 /* of bulk.options; a worker refuses a newer one */
#define AON_QUEUE_STORES_LIMIT 64
#define AON_REQUEUE_LIMIT 3 /* times that one goes back after a failure or a loss */

typedef struct aon_queue_store {
  const char *name, *kind, *place; /* place: what tells two databases apart, without user and password */
} aon_queue_store;

typedef struct aon_queue_options {
  int64_t format, lock_wait_ms;
  const char *pack, *pack_digest; /* pack: as it was given, a name or a path */
  aon_queue_store stores[AON_QUEUE_STORES_LIMIT];
  size_t store_count;
} aon_queue_options;

/* What this engine would do with the pack: its stores, as configured here. AON_REJECTED unknown_store. Texts in the arena. */
aon_result aon_queue_mean(aon_engine *engine, const aon_pack *pack, aon_arena *arena, aon_queue_options *options,
                          aon_error *error) AON_MUST_USE;
aon_result aon_queue_write(const aon_queue_options *options, aon_buffer *out, aon_error *error) AON_MUST_USE;
/* AON_CORRUPT if it is none of ours; of a newer format only that is set. */
aon_result aon_queue_read(const char *json, aon_arena *arena, aon_queue_options *ret_options, aon_error *error) AON_MUST_USE;

/* Puts a file of this machine into the journal; digest: as aon_content_read. ret_file: its id. tick may be NULL. */
aon_result aon_file_keep(aon_engine *engine, aon_journal *journal, const char *path, const char *const *texts, aon_run *run,
                         char ret_file[37], uint64_t *ret_bytes, char ret_digest[65], aon_error *error) AON_MUST_USE;
/* Writes a file of the journal to path (0600, must not be there). */
aon_result aon_file_fetch(aon_engine *engine, aon_journal *journal, const aon_journal_file *file, const char *path, aon_run *run,
                          aon_error *error) AON_MUST_USE;
#endif
