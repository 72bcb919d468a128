/* The zip archive that a report becomes, written through the environment, and the packed bytes of the upload's parts.
 *
 * A part that needn't change is copied as its compressed bytes. Source: PKWARE APPNOTE 6.3.3. */
#ifndef AON_SHEET_REPORT_ARCHIVE_H
#define AON_SHEET_REPORT_ARCHIVE_H

#include "sheet/package.h"
#include "sheet/report_markup.h"

#define AON_ARCHIVE_BYTES ((uint64_t)UINT32_MAX) /* longest report, and longest part of one: beyond it zip needs another format */
#define AON_ARCHIVE_ENTRIES 65000u               /* likewise */

typedef struct aon_zip_entry {
  const char *name; /* UTF-8 */
  uint16_t method, dos_time, dos_date;
  uint32_t crc;
  uint64_t packed_bytes, unpacked_bytes, offset;
} aon_zip_entry;

typedef struct aon_packed aon_packed; /* a package whose parts are read without unpacking; entries numbered as in aon_package */
aon_result aon_packed_open(aon_env *env, const char *path, aon_packed **ret_packed, aon_error *error) AON_MUST_USE;
void aon_packed_close(aon_packed *packed);
/* Begins an entry and says what it is; then its bytes until 0. One at a time. The name is the caller's to fill in. */
aon_result aon_packed_begin(aon_packed *packed, size_t index, aon_zip_entry *ret_entry, aon_error *error) AON_MUST_USE;
aon_result aon_packed_read(aon_packed *packed, void *bytes, size_t length, size_t *ret_length, aon_error *error) AON_MUST_USE;

typedef struct aon_archive aon_archive;
aon_result aon_archive_open(aon_env *env, const char *path, aon_archive **ret_archive, aon_error *error) AON_MUST_USE;
aon_result aon_archive_copy(aon_archive *archive, aon_packed *packed, size_t index, const char *name, aon_error *error) AON_MUST_USE;
/* Begins a part; its bytes go through the sink; aon_archive_end ends it and tells the sink's failure. One at a time. */
/* The name lives until the end of the part. */
aon_sink aon_archive_begin(aon_archive *archive, const char *name);
aon_result aon_archive_end(aon_archive *archive, aon_sink *sink, aon_error *error) AON_MUST_USE;
aon_result aon_archive_finish(aon_archive *archive, aon_error *error) AON_MUST_USE; /* directory written, file synced */
void aon_archive_close(aon_archive *archive); /* without finish the file stays as it is: the caller removes it */
#endif
