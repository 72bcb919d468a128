/* A disk in memory, with the environment and the SQLite file system over it: each call is a point. It is copied by fork.
 *
 * Each file has its bytes and those of them that a sync has made durable; when the power fails, only the latter are left. Names are durable
 * at once. Invariant: what the disk itself allocates is no point and no leak. */
#ifndef TESTS_FAULT_DISK_H
#define TESTS_FAULT_DISK_H

#include "aon/env.h"

#define DISK_VFS "aon-fault-disk"

typedef struct disk_image disk_image; /* a copy of all files */

void disk_open(aon_env *ret_env); /* once: the environment, with the file system registered */
disk_image *disk_keep(void);
void disk_restore(const disk_image *image); /* and the clock, the randomness and the process as at first */
void disk_put(const char *path, const void *bytes, size_t length);
void disk_get_real(const char *from, const char *to); /* a file of the machine */
bool disk_has(const char *path);
void disk_each(void (*each)(void *context, const char *path), void *context);

void disk_power_fails(void);
void disk_new_process(void); /* who comes next is another one, and those before are dead */
size_t disk_open_files(void);
int64_t disk_slept_ms(void);

/* The process is to die at this step (counted from now): every file as it then is goes to the real path. 0: never. */
void disk_die_at(uint64_t step, const char *image_path);
uint64_t disk_steps(void);
void disk_load(const char *image_path);
#endif
