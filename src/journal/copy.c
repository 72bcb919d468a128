/* The tables that move, and how a whole journal does. */
#include "journal/copy.h"

const aon_copy_form aon_copy_forms[AON_COPY_TABLES] = {
    [AON_COPY_KEYS] = {"keys", "number, name, since_ms", "iti"},
    [AON_COPY_BULK] = {"bulk",
                       "number, id, idempotency_key, digest, organization, \"user\", kind, source, pack, undoes, state, worker_boot, stores,"
                       " summary, failure, options, epoch, attempt, logged, created_ms, changed_ms, finished_ms, age_ms, lease_until_ms, hold_until_ms,"
                       " images_until_ms, worker_pid, worker_ticks, operations, progress, dry_run, hold_on_failure, test_mode, cancel_asked,"
                       " holds",
                       "ittttttttttttttt"
                       "iiiiiiiiiiiiii"
                       "ooooo"},
    [AON_COPY_NAMES] = {"names", "number, bulk, kind, name", "iiit"},
    [AON_COPY_SEGMENTS] = {"segments", "bulk, first, count, sealed, operations_sum, images_sum, operations, images", "iiiobbbb"},
    [AON_COPY_LOCKS] = {"locks", "bulk, sequence, hash, shared", "iiio"},
    [AON_COPY_BATCHES] = {"batches", "number, bulk, store, attempt, batch, first, last, status, at_ms, unanswered", "iitiiiiiio"},
    [AON_COPY_CONFLICTS] = {"conflicts",
                            "bulk, sequence, hash, store, collection, document_id, code, sentence, paths, choice, watch_until_ms, since_ms,"
                            " watched",
                            "iiitttttttiio"},
    [AON_COPY_GENERATIONS] = {"generations", "store, generation", "ti"},
    [AON_COPY_EVENTS] = {"events", "number, bulk_id, at_ms, who, what, detail", "itittt"},
    [AON_COPY_FILES] = {"files", "number, id, bulk, role, bytes, put_ms, until_ms, owner_boot, owner_pid, owner_ticks, doomed", "itiiiiitiio"},
    [AON_COPY_CHUNKS] = {"file_chunks", "file, chunk, bytes", "iib"},
    [AON_COPY_EPOCH] = {"epoch", "epoch", "i"},
};
