/* malloc and its like for the whole process, libraries and libc's own calls included: each one is a point, and what is not given back is
 * known. The executable's definitions come before those of libc and of AddressSanitizer, which are called underneath. */
#ifndef TESTS_FAULT_ALLOCATOR_H
#define TESTS_FAULT_ALLOCATOR_H

#include <stdbool.h>
#include <stddef.h>

void allocator_names(void);                         /* which library is mapped where; before the first run */
void allocator_watch(void);                         /* from here on, what is allocated is to be given back */
void allocator_excuse(void);                        /* what is left now is kept by libraries for next time, and no leak from here on */
size_t allocator_left(char *ret_text, size_t size); /* blocks that were not; text: whose they are */
void allocator_stop(void);
#endif
