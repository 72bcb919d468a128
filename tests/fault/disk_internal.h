/* What the disk's environment and its SQLite file system share. */
#ifndef TESTS_FAULT_DISK_INTERNAL_H
#define TESTS_FAULT_DISK_INTERNAL_H

#include <sqlite3.h>

#include "disk.h"
#include "points.h"

#define PAGE 4096u
#define SHM_SLOTS SQLITE_SHM_NLOCK
#define SHM_REGIONS 64

typedef struct bytes {
  unsigned char *at;
  uint64_t length, capacity;
} bytes;

typedef struct node {
  struct node *next;
  char *path; /* NULL: no name, or no longer one */
  bytes now, durable;
  unsigned char *dirty; /* per page */
  uint64_t dirty_pages;
  bool folder;
  unsigned open;
  /* locks of SQLite on the file, and on its shared memory */
  unsigned shared;
  const void *reserved, *pending, *exclusive;
  unsigned shm_shared[SHM_SLOTS];
  const void *shm_exclusive[SHM_SLOTS];
  void *shm[SHM_REGIONS];
  unsigned shm_open;
} node;

node *node_find(const char *path);
node *node_make(const char *path); /* path NULL: without a name */
void node_unlink(node *n);         /* the name goes; the node when nobody has it open */
void node_opened(node *n);
void node_release(node *n); /* one who had it open hasn't any more */
void node_write(node *n, const void *from, size_t length, uint64_t at);
size_t node_read(const node *n, void *to, size_t length, uint64_t at);
void node_truncate(node *n, uint64_t length);
void node_sync(node *n, bool lost); /* lost: called durable, and it isn't */

void disk_sleep(int64_t ms);
int64_t disk_now_ms(void);
void disk_random(void *to, size_t length);
void disk_vfs_register(void);
#endif
