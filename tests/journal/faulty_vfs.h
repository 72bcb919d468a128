/* A SQLite VFS over the default one whose disk has a quota and can fail a write or a sync: what the journal's tests of full
 * and failing disks open their files through. Only growth counts against the quota. */
#ifndef AON_TESTS_JOURNAL_FAULTY_VFS_H
#define AON_TESTS_JOURNAL_FAULTY_VFS_H

#include <stdint.h>

typedef struct faulty_disk {
  int64_t *quota_bytes; /* what may still be written; *quota_bytes < 0: no limit */
  int fail_sync_in;     /* the n-th sync from now fails; 0: none */
  int fail_write_in;
  uint64_t syncs;
} faulty_disk;

extern faulty_disk the_disk;       /* SQLite gives its methods no place for it */
const char *faulty_vfs_name(void); /* registers it when first asked */
#endif
