/* A zip package opened through the environment, and the bytes of its parts.
 *
 * Promises: what is no zip is refused by name; entries and directory are bounded before anything is allocated for them; names are
 * compared as spreadsheets do (case of ASCII letters, slash or backslash, a leading slash do not count) and stand only once; bytes are
 * counted while they are inflated, each byte of a part once however often it is read; a part whose checksum is wrong fails at
 * its end. All refusals are AON_REJECTED, bad_file. */
#ifndef AON_SHEET_PACKAGE_H
#define AON_SHEET_PACKAGE_H

#include "sheet/workbook.h"

/* Defaults of aon_workbook_limits. */
#define AON_LIMIT_ENTRIES 10000u
#define AON_LIMIT_UNPACKED_BYTES (UINT64_C(2) << 30)
#define AON_LIMIT_ROWS 1048576u
#define AON_LIMIT_COLUMNS 16384u
#define AON_LIMIT_CELLS UINT64_C(50000000)
#define AON_LIMIT_STRING_BYTES 131072u
#define AON_LIMIT_STRINGS_MEMORY_BYTES (UINT64_C(5) << 20)
#define AON_LIMIT_DIRECTORY_BYTES (UINT64_C(16) << 20) /* of a zip's list of entries */

typedef struct aon_package aon_package;
typedef struct aon_part aon_part;

typedef struct aon_budget { /* bytes that may still be unpacked */
  uint64_t limit_bytes, used_bytes;
} aon_budget;

aon_workbook_limits aon_workbook_limits_or_default(const aon_workbook_limits *limits); /* every 0 and NULL replaced */

aon_result aon_package_open(aon_env *env, const char *path, const aon_workbook_limits *limits, aon_package **ret_package,
                            aon_error *error) AON_MUST_USE;
void aon_package_close(aon_package *package);
size_t aon_package_count(const aon_package *package);
const char *aon_package_name(const aon_package *package, size_t index); /* UTF-8, slashes, no leading one, case as it stands */
bool aon_package_find(const aon_package *package, const char *name, size_t *ret_index);

/* The package, or the environment, outlives the part. */
aon_result aon_part_open(aon_package *package, size_t index, aon_part **ret_part, aon_error *error) AON_MUST_USE;
/* A file beside the package way: a .csv in a folder. seen counts what was read of it, over all openings; both outlive the part. */
aon_result aon_part_open_file(aon_env *env, const char *path, uint64_t *seen_bytes, aon_budget *budget, aon_part **ret_part,
                              aon_error *error) AON_MUST_USE;
aon_result aon_part_read(aon_part *part, void *bytes, size_t length, size_t *ret_length, aon_error *error) AON_MUST_USE; /* 0: the end */
void aon_part_close(aon_part *part);
#endif
