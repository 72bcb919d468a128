/* An SQLite file layer over another one that leaves out those syncs of a write-ahead log that nothing depends on.
 *
 * SQLite syncs a log in three places: after writing the header of a new generation, at each commit (synchronous FULL), and before moving
 * the log's frames into the database. The first and the last are mostly not needed here, and each costs as much as a commit:
 *
 *  - The header is synced so that after a loss of power no frame of an earlier generation is taken for one of this. A log that was empty
 *    holds no such frame: without its header nothing in it counts, which is what a log without a commit says too. So that sync is put off
 *    until the first one after it, which is at the first commit that must last, or before the first frame is moved.
 *  - Before frames are moved they must be on the disk, or a loss of power would leave a database with a part of a transaction and nothing
 *    to make it whole from. Frames that this connection wrote and synced are there. Others' are theirs to sync, which nobody knows here to
 *    have happened. So that sync is left out only if no frame can be another's.
 *
 * Invariants:
 *  - `ours` (of a database file): every frame of the log's present generation, up to the state of the log's index that was noted, was
 *    written by this connection. It begins with the header, which the connection writes itself while it holds the write lock; it ends when
 *    the index, on taking the write lock again, is not as it was on giving that lock back, and with the log file or the index.
 *  - A log's sync is left out only if nothing was written through this handle since its last one that succeeded, `ours` holds, and the
 *    index is still as it was noted. The index (48 bytes at the begin of its first page, described in SQLite's walformat.html) holds the
 *    number of frames, their running sum, the generation's salts and a counter of commits: no commit leaves it as it was.
 *  - A header's sync is put off only if the file was empty when the header was written and this handle has not shortened it since its last
 *    sync. Another's shortening comes before our writing also after a loss of power: file systems don't keep the later one alone.
 *  - All other files and calls go through as they are; also the first sync of a new log, which makes its name durable. */
#ifndef AON_WIRE_SQLITE_SYNCS_H
#define AON_WIRE_SQLITE_SYNCS_H

#include "aon/result.h"

/* The name of the layer over the one that is named (NULL: SQLite's default), made when it is first asked for and then kept by SQLite for as
 * long as the process lives. May be called from any thread. */
aon_result aon_sqlite_syncs_over(const char *below, const char **ret_name, aon_error *error) AON_MUST_USE;
#endif
