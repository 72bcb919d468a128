/* SQLite's files among those of world.c: a VFS named FUZZ_FILES. One thread, any number of connections in it. */
#ifndef AON_TESTS_FUZZ_FILES_H
#define AON_TESTS_FUZZ_FILES_H

#define FUZZ_FILES "fuzz"

void fuzz_files_register(void); /* before SQLite is used otherwise; as often as one likes */
#endif
