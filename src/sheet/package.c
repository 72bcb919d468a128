/* Zip packages by libzip over the environment's files.
 *
 * libzip allocates by the number of entries that the file claims, so the ends of central directory are looked at first.
 * An error of the environment that happens inside libzip's callback is kept and wins over libzip's own. */
#include "sheet/package.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zip.h>

#include "sheet/internal.h"

#define TAIL_BYTES ((size_t)65557) /* an end of central directory with the longest comment */
#define DAMAGED "This file is damaged or incomplete. Save or upload it again and try again."

typedef struct name_entry {
  const char *name;
  uint64_t index;
} name_entry;

struct aon_package {
  aon_env *env;
  aon_file *file;
  uint64_t size_bytes, position;
  aon_result source_result; /* what the environment said inside a callback */
  aon_error source_error;
  zip_error_t zip_error;
  zip_t *zip;
  aon_budget budget;
  aon_arena arena;
  size_t count;
  const char **names; /* by index */
  name_entry *sorted; /* by folded name; folders left out */
  size_t sorted_count;
  uint64_t *seen_bytes; /* by index */
};

struct aon_part {
  aon_package *package; /* NULL: a file */
  zip_file_t *zip;
  aon_env *env;
  aon_file *file;
  uint64_t position;
  uint64_t *seen_bytes;
  aon_budget *budget;
};

aon_workbook_limits aon_workbook_limits_or_default(const aon_workbook_limits *limits) {
  aon_workbook_limits all = limits ? *limits : (aon_workbook_limits){0};
  if (!all.entries)
    all.entries = AON_LIMIT_ENTRIES;
  if (!all.unpacked_bytes)
    all.unpacked_bytes = AON_LIMIT_UNPACKED_BYTES;
  if (!all.rows)
    all.rows = AON_LIMIT_ROWS;
  if (!all.columns)
    all.columns = AON_LIMIT_COLUMNS;
  if (!all.cells)
    all.cells = AON_LIMIT_CELLS;
  if (!all.string_bytes)
    all.string_bytes = AON_LIMIT_STRING_BYTES;
  if (!all.strings_memory_bytes)
    all.strings_memory_bytes = AON_LIMIT_STRINGS_MEMORY_BYTES;
  return all;
}

static zip_int64_t source_read(aon_package *package, void *data, zip_uint64_t length) {
  size_t got = 0;
  aon_result result = package->env->ops->file_read(package->file, package->position, data, (size_t)length, &got, &package->source_error);
  if (result) {
    package->source_result = result;
    zip_error_set(&package->zip_error, ZIP_ER_READ, 0);
    return -1;
  }
  package->position += got;
  return (zip_int64_t)got;
}

static zip_int64_t source_seek(aon_package *package, void *data, zip_uint64_t length) {
  zip_int64_t position = zip_source_seek_compute_offset(package->position, package->size_bytes, data, length, &package->zip_error);
  if (position < 0)
    return -1;
  package->position = (uint64_t)position;
  return 0;
}

static zip_int64_t source_stat(aon_package *package, void *data, zip_uint64_t length) {
  zip_stat_t *stat = ZIP_SOURCE_GET_ARGS(zip_stat_t, data, length, &package->zip_error);
  if (!stat)
    return -1;
  zip_stat_init(stat);
  stat->size = package->size_bytes;
  stat->valid |= ZIP_STAT_SIZE;
  return sizeof *stat;
}

static zip_int64_t source_call(void *context, void *data, zip_uint64_t length, zip_source_cmd_t command) {
  aon_package *package = context;
  switch (command) {
  case ZIP_SOURCE_OPEN:
    package->position = 0;
    return 0;
  case ZIP_SOURCE_READ:
    return source_read(package, data, length);
  case ZIP_SOURCE_CLOSE:
    return 0;
  case ZIP_SOURCE_STAT:
    return source_stat(package, data, length);
  case ZIP_SOURCE_ERROR:
    return zip_error_to_data(&package->zip_error, data, length);
  case ZIP_SOURCE_FREE:
    return 0;
  case ZIP_SOURCE_SEEK:
    return source_seek(package, data, length);
  case ZIP_SOURCE_TELL:
    return (zip_int64_t)package->position;
  case ZIP_SOURCE_SUPPORTS:
    return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR,
                                          ZIP_SOURCE_FREE, ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL, ZIP_SOURCE_SUPPORTS, -1);
  default:
    zip_error_set(&package->zip_error, ZIP_ER_OPNOTSUPP, 0);
    return -1;
  }
}

/* The environment's own error if there is one, else what libzip's number means to a person. Where malloc fails, libzip often says that the
 * file is no zip, or is damaged: errno, cleared before each call, tells the two apart. */
static aon_result zip_failed(aon_package *package, const zip_error_t *why, aon_error *error) {
  if (package->source_result) {
    if (error)
      *error = package->source_error;
    return package->source_result;
  }
  if (zip_error_code_zip(why) == ZIP_ER_MEMORY || errno == ENOMEM)
    return aon_fail_memory(error);
  switch (zip_error_code_zip(why)) {
  case ZIP_ER_NOPASSWD:
  case ZIP_ER_WRONGPASSWD:
    return aon_refuse(error, "This file is a zip protected by a password. Make one without and try again.");
  case ZIP_ER_ENCRNOTSUPP:
    return aon_refuse(error, "This file is a zip protected by a password. Make one without and try again.");
  case ZIP_ER_COMPNOTSUPP:
    return aon_refuse(error, "This file is packed in a way that workbooks do not use. Make an ordinary zip and try again.");
  default:
    return aon_refuse(error, DAMAGED);
  }
}

static uint64_t little_endian(const unsigned char *bytes, int count) {
  uint64_t value = 0;
  while (count--)
    value = value << 8 | bytes[count];
  return value;
}

static aon_result check_claim(uint64_t entries, uint64_t directory_bytes, const aon_workbook_limits *limits, aon_error *error) {
  if (entries > limits->entries)
    return aon_refuse_limit(error, "This file holds more files", "entries", limits->entries);
  if (directory_bytes > AON_LIMIT_DIRECTORY_BYTES)
    return aon_refuse_limit(error, "This file's list of contents has more bytes", "directory_bytes", AON_LIMIT_DIRECTORY_BYTES);
  return AON_OK;
}

/* APPNOTE 4.3.14: the zip64 record that a locator points to. None there: not an end that libzip could use either. */
static aon_result check_zip64(aon_package *package, const unsigned char *locator, const aon_workbook_limits *limits, aon_error *error) {
  unsigned char record[56];
  size_t got = 0;
  uint64_t place = little_endian(locator + 8, 8);
  if (place > package->size_bytes)
    return AON_OK;
  aon_result result = package->env->ops->file_read(package->file, place, record, sizeof record, &got, error);
  if (result || got < sizeof record || memcmp(record, "PK\6\6", 4))
    return result;
  return check_claim(little_endian(record + 32, 8), little_endian(record + 40, 8), limits, error);
}

static aon_result check_end(aon_package *package, const unsigned char *tail, size_t at, const aon_workbook_limits *limits,
                            aon_error *error) {
  if (at >= 20 && !memcmp(tail + at - 20, "PK\6\7", 4))
    return check_zip64(package, tail + at - 20, limits, error);
  return check_claim(little_endian(tail + at + 10, 2), little_endian(tail + at + 12, 4), limits, error);
}

/* Every record that looks like an end of central directory is checked: libzip tries all of them. */
static aon_result check_claims(aon_package *package, const aon_workbook_limits *limits, aon_error *error) {
  size_t length = package->size_bytes < TAIL_BYTES + 20 ? (size_t)package->size_bytes : TAIL_BYTES + 20;
  unsigned char *tail = malloc(length);
  if (!tail)
    return aon_fail_memory(error);
  size_t got = 0;
  bool found = false;
  aon_result result = package->env->ops->file_read(package->file, package->size_bytes - length, tail, length, &got, error);
  for (size_t i = 0; !result && i + 22 <= got; i++) {
    if (tail[i] != 'P' || memcmp(tail + i, "PK\5\6", 4))
      continue;
    found = true;
    result = check_end(package, tail, i, limits, error);
  }
  free(tail);
  if (!result && !found)
    return aon_refuse(error, DAMAGED);
  return result;
}

static int folded_order(const void *a, const void *b) { return strcasecmp(((const name_entry *)a)->name, ((const name_entry *)b)->name); }

static aon_result keep_name(aon_package *package, size_t index, aon_error *error) {
  errno = 0;
  const char *name = zip_get_name(package->zip, index, ZIP_FL_ENC_GUESS);
  if (!name)
    return zip_failed(package, zip_get_error(package->zip), error);
  while (*name == '/' || *name == '\\')
    name++;
  char *copy = aon_arena_text(&package->arena, name, strlen(name));
  if (!copy)
    return aon_fail_memory(error);
  for (char *at = copy; *at; at++) {
    if ((unsigned char)*at < 0x20)
      return aon_refuse(error, DAMAGED);
    if (*at == '\\')
      *at = '/';
  }
  package->names[index] = copy;
  size_t length = strlen(copy);
  if (length && copy[length - 1] != '/')
    package->sorted[package->sorted_count++] = (name_entry){copy, index};
  return AON_OK;
}

static aon_result read_names(aon_package *package, const aon_workbook_limits *limits, aon_error *error) {
  zip_int64_t count = zip_get_num_entries(package->zip, 0);
  if (count < 0 || (uint64_t)count > limits->entries)
    return aon_refuse_limit(error, "This file holds more files", "entries", limits->entries);
  package->count = (size_t)count;
  package->names = aon_arena_alloc(&package->arena, package->count * sizeof *package->names);
  package->sorted = aon_arena_alloc(&package->arena, package->count * sizeof *package->sorted);
  package->seen_bytes = aon_arena_alloc(&package->arena, package->count * sizeof *package->seen_bytes);
  if (!package->names || !package->sorted || !package->seen_bytes)
    return aon_fail_memory(error);
  for (size_t i = 0; i < package->count; i++) {
    aon_result result = keep_name(package, i, error);
    if (result)
      return result;
  }
  qsort(package->sorted, package->sorted_count, sizeof *package->sorted, folded_order);
  for (size_t i = 1; i < package->sorted_count; i++) {
    if (!strcasecmp(package->sorted[i - 1].name, package->sorted[i].name))
      return aon_refuse(error, "This file holds “%s” twice, so nobody can say which one counts. " AON_SAVE_AGAIN, package->sorted[i].name);
  }
  return AON_OK;
}

static aon_result open_zip(aon_package *package, const aon_workbook_limits *limits, aon_error *error) {
  zip_error_t why;
  errno = 0;
  zip_error_init(&why);
  zip_source_t *source = zip_source_function_create(source_call, package, &why);
  if (source)
    package->zip = zip_open_from_source(source, ZIP_RDONLY, &why);
  aon_result result = package->zip ? AON_OK : zip_failed(package, &why, error);
  if (source && !package->zip)
    zip_source_free(source);
  zip_error_fini(&why);
  return result ? result : read_names(package, limits, error);
}

static aon_result open_file(aon_package *package, const char *path, aon_error *error) {
  aon_file_info info;
  aon_result result = package->env->ops->file_info(package->env->context, path, &info, error);
  if (result)
    return result;
  package->size_bytes = info.size_bytes;
  result = package->env->ops->file_open(package->env->context, path, AON_FILE_READ, &package->file, error);
  if (result)
    return result;
  return aon_file_recognise(package->env, package->file, package->size_bytes, path, error);
}

aon_result aon_package_open(aon_env *env, const char *path, const aon_workbook_limits *limits, aon_package **ret_package,
                            aon_error *error) {
  aon_workbook_limits all = aon_workbook_limits_or_default(limits);
  aon_package *package = calloc(1, sizeof *package);
  if (!package)
    return aon_fail_memory(error);
  package->env = env;
  package->budget.limit_bytes = all.unpacked_bytes;
  zip_error_init(&package->zip_error);
  aon_result result = open_file(package, path, error);
  if (!result)
    result = check_claims(package, &all, error);
  if (!result)
    result = open_zip(package, &all, error);
  if (result) {
    aon_package_close(package);
    return result;
  }
  *ret_package = package;
  return AON_OK;
}

void aon_package_close(aon_package *package) {
  if (!package)
    return;
  if (package->zip)
    zip_discard(package->zip);
  if (package->file)
    package->env->ops->file_close(package->file);
  zip_error_fini(&package->zip_error);
  aon_arena_release(&package->arena);
  free(package);
}

size_t aon_package_count(const aon_package *package) { return package->count; }

const char *aon_package_name(const aon_package *package, size_t index) { return package->names[index]; }

bool aon_package_find(const aon_package *package, const char *name, size_t *ret_index) {
  while (*name == '/')
    name++;
  name_entry wanted = {name, 0};
  const name_entry *found = bsearch(&wanted, package->sorted, package->sorted_count, sizeof wanted, folded_order);
  if (found)
    *ret_index = found->index;
  return found != NULL;
}

aon_result aon_part_open(aon_package *package, size_t index, aon_part **ret_part, aon_error *error) {
  aon_part *part = calloc(1, sizeof *part);
  if (!part)
    return aon_fail_memory(error);
  *part = (aon_part){.package = package, .seen_bytes = &package->seen_bytes[index], .budget = &package->budget};
  errno = 0;
  part->zip = zip_fopen_index(package->zip, index, 0);
  if (!part->zip) {
    free(part);
    return zip_failed(package, zip_get_error(package->zip), error);
  }
  *ret_part = part;
  return AON_OK;
}

aon_result aon_part_open_file(aon_env *env, const char *path, uint64_t *seen_bytes, aon_budget *budget, aon_part **ret_part,
                              aon_error *error) {
  aon_part *part = calloc(1, sizeof *part);
  if (!part)
    return aon_fail_memory(error);
  *part = (aon_part){.env = env, .seen_bytes = seen_bytes, .budget = budget};
  aon_result result = env->ops->file_open(env->context, path, AON_FILE_READ, &part->file, error);
  if (result) {
    free(part);
    return result;
  }
  *ret_part = part;
  return AON_OK;
}

static aon_result read_some(aon_part *part, void *bytes, size_t length, size_t *ret_length, aon_error *error) {
  if (part->file)
    return part->env->ops->file_read(part->file, part->position, bytes, length, ret_length, error);
  errno = 0;
  zip_int64_t got = zip_fread(part->zip, bytes, length);
  if (got < 0)
    return zip_failed(part->package, zip_file_get_error(part->zip), error);
  *ret_length = (size_t)got;
  return AON_OK;
}

aon_result aon_part_read(aon_part *part, void *bytes, size_t length, size_t *ret_length, aon_error *error) {
  size_t got = 0;
  aon_result result = read_some(part, bytes, length, &got, error);
  if (result)
    return result;
  part->position += got;
  if (part->position > *part->seen_bytes) {
    part->budget->used_bytes += part->position - *part->seen_bytes;
    *part->seen_bytes = part->position;
  }
  if (part->budget->used_bytes > part->budget->limit_bytes)
    return aon_refuse_limit(error, "This file unpacks to more bytes", "unpacked_bytes", part->budget->limit_bytes);
  *ret_length = got;
  return AON_OK;
}

void aon_part_close(aon_part *part) {
  if (!part)
    return;
  if (part->zip)
    zip_fclose(part->zip);
  if (part->file)
    part->env->ops->file_close(part->file);
  free(part);
}
