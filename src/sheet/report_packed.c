/* Packed bytes of a package's entries, by libzip over the environment's files.
 * Invariant: an error of the environment inside libzip's callback is kept and wins over libzip's own. */
#include <stdlib.h>
#include <time.h>
#include <zip.h>

#include "sheet/report_archive.h"

struct aon_packed {
  aon_env *env;
  aon_file *file;
  uint64_t size_bytes, position;
  aon_result source_result;
  aon_error source_error;
  zip_error_t zip_error;
  zip_t *zip;
  zip_file_t *entry;
};

static zip_int64_t source_read(aon_packed *packed, void *data, zip_uint64_t length) {
  size_t got = 0;
  packed->source_result = packed->env->ops->file_read(packed->file, packed->position, data, (size_t)length, &got, &packed->source_error);
  if (packed->source_result) {
    zip_error_set(&packed->zip_error, ZIP_ER_READ, 0);
    return -1;
  }
  packed->position += got;
  return (zip_int64_t)got;
}

static zip_int64_t source_seek(aon_packed *packed, void *data, zip_uint64_t length) {
  zip_int64_t position = zip_source_seek_compute_offset(packed->position, packed->size_bytes, data, length, &packed->zip_error);
  if (position >= 0)
    packed->position = (uint64_t)position;
  return position < 0 ? -1 : 0;
}

static zip_int64_t source_stat(aon_packed *packed, void *data, zip_uint64_t length) {
  zip_stat_t *stat = ZIP_SOURCE_GET_ARGS(zip_stat_t, data, length, &packed->zip_error);
  if (!stat)
    return -1;
  zip_stat_init(stat);
  stat->size = packed->size_bytes;
  stat->valid |= ZIP_STAT_SIZE;
  return sizeof *stat;
}

static zip_int64_t source_call(void *context, void *data, zip_uint64_t length, zip_source_cmd_t command) {
  aon_packed *packed = context;
  switch (command) {
  case ZIP_SOURCE_OPEN:
    packed->position = 0;
    return 0;
  case ZIP_SOURCE_READ:
    return source_read(packed, data, length);
  case ZIP_SOURCE_STAT:
    return source_stat(packed, data, length);
  case ZIP_SOURCE_ERROR:
    return zip_error_to_data(&packed->zip_error, data, length);
  case ZIP_SOURCE_SEEK:
    return source_seek(packed, data, length);
  case ZIP_SOURCE_TELL:
    return (zip_int64_t)packed->position;
  case ZIP_SOURCE_CLOSE:
  case ZIP_SOURCE_FREE:
    return 0;
  case ZIP_SOURCE_SUPPORTS:
    return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR,
                                          ZIP_SOURCE_FREE, ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL, ZIP_SOURCE_SUPPORTS, -1);
  default:
    zip_error_set(&packed->zip_error, ZIP_ER_OPNOTSUPP, 0);
    return -1;
  }
}

static aon_result failed(aon_packed *packed, const zip_error_t *why, aon_error *error) {
  if (packed->source_result) {
    if (error)
      *error = packed->source_error;
    return packed->source_result;
  }
  if (zip_error_code_zip(why) == ZIP_ER_MEMORY)
    return aon_fail_memory(error);
  return aon_fail(error, AON_REJECTED, "bad_file", "This file is damaged or incomplete. Save or upload it again and try again.");
}

static aon_result open_all(aon_packed *packed, const char *path, aon_error *error) {
  aon_file_info info;
  aon_result result = packed->env->ops->file_info(packed->env->context, path, &info, error);
  if (!result)
    result = packed->env->ops->file_open(packed->env->context, path, AON_FILE_READ, &packed->file, error);
  if (result)
    return result;
  packed->size_bytes = info.size_bytes;
  zip_error_t why;
  zip_error_init(&why);
  zip_source_t *source = zip_source_function_create(source_call, packed, &why);
  if (source)
    packed->zip = zip_open_from_source(source, ZIP_RDONLY, &why);
  if (!packed->zip)
    result = failed(packed, &why, error);
  if (source && !packed->zip)
    zip_source_free(source);
  zip_error_fini(&why);
  return result;
}

aon_result aon_packed_open(aon_env *env, const char *path, aon_packed **ret_packed, aon_error *error) {
  aon_packed *packed = calloc(1, sizeof *packed);
  if (!packed)
    return aon_fail_memory(error);
  packed->env = env;
  zip_error_init(&packed->zip_error);
  aon_result result = open_all(packed, path, error);
  if (result) {
    aon_packed_close(packed);
    return result;
  }
  *ret_packed = packed;
  return AON_OK;
}

void aon_packed_close(aon_packed *packed) {
  if (!packed)
    return;
  if (packed->entry)
    zip_fclose(packed->entry);
  if (packed->zip)
    zip_discard(packed->zip);
  if (packed->file)
    packed->env->ops->file_close(packed->file);
  zip_error_fini(&packed->zip_error);
  free(packed);
}

/* libzip gives a time; zip holds local date and time in two halves (APPNOTE 4.4.6). */
static void dos_time(time_t when, aon_zip_entry *entry) {
  struct tm local;
  if (!localtime_r(&when, &local) || local.tm_year < 80 || local.tm_year > 207) {
    entry->dos_date = 0x21;
    entry->dos_time = 0;
    return;
  }
  entry->dos_date = (uint16_t)((local.tm_year - 80) << 9 | (local.tm_mon + 1) << 5 | local.tm_mday);
  entry->dos_time = (uint16_t)(local.tm_hour << 11 | local.tm_min << 5 | local.tm_sec / 2);
}

aon_result aon_packed_begin(aon_packed *packed, size_t index, aon_zip_entry *ret_entry, aon_error *error) {
  if (packed->entry)
    zip_fclose(packed->entry);
  packed->entry = zip_fopen_index(packed->zip, index, ZIP_FL_COMPRESSED);
  zip_stat_t stat;
  if (!packed->entry || zip_stat_index(packed->zip, index, 0, &stat))
    return failed(packed, zip_get_error(packed->zip), error);
  *ret_entry = (aon_zip_entry){.method = stat.comp_method, .crc = stat.crc, .packed_bytes = stat.comp_size, .unpacked_bytes = stat.size};
  dos_time(stat.mtime, ret_entry);
  return AON_OK;
}

aon_result aon_packed_read(aon_packed *packed, void *bytes, size_t length, size_t *ret_length, aon_error *error) {
  zip_int64_t got = zip_fread(packed->entry, bytes, length);
  if (got < 0)
    return failed(packed, zip_file_get_error(packed->entry), error);
  *ret_length = (size_t)got;
  return AON_OK;
}
