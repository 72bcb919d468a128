/* The zip archive that a report becomes: written once, front to back, with each local header filled in when its part's length is known.
 * Invariant: archive->length is where the next byte goes; bytes before it are final but for the header of the open part. */
#include "sheet/report_archive.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define WINDOW_BYTES ((size_t)64 << 10)
#define LOCAL_BYTES 30
#define CENTRAL_BYTES 46
#define END_BYTES 22
#define DEFLATE_LEVEL 4      /* sheets are repetitive: higher levels take thrice the time for a tenth less */
#define DOS_DATE_1980 0x0021 /* parts of ours carry no time: the same input gives the same report */
#define FLAG_UTF8 0x0800

struct aon_archive {
  aon_env *env;
  aon_file *file;
  uint64_t length;
  aon_buffer directory;
  uint32_t entries;
  z_stream deflater;
  bool deflating;
  aon_zip_entry open; /* the part being written */
  size_t gathered;    /* bytes of the part not yet packed: tags come one by one, and packing each of them costs more than all of it */
  unsigned char in[WINDOW_BYTES], out[WINDOW_BYTES];
};

static void put16(unsigned char *at, uint32_t value) {
  at[0] = (unsigned char)value;
  at[1] = (unsigned char)(value >> 8);
}

static void put32(unsigned char *at, uint64_t value) {
  put16(at, (uint32_t)(value & 0xFFFF));
  put16(at + 2, (uint32_t)(value >> 16 & 0xFFFF));
}

static aon_result too_large(aon_error *error) {
  return aon_fail(error, AON_ENVIRONMENT, "too_long",
                  "The report would be larger than 4 GiB or have more than %d parts. Split the workbook and upload its parts.",
                  AON_ARCHIVE_ENTRIES);
}

static aon_result bytes_write(aon_archive *archive, const void *bytes, size_t length, aon_error *error) {
  if (archive->length + length > AON_ARCHIVE_BYTES)
    return too_large(error);
  aon_result result = archive->env->ops->file_write(archive->file, archive->length, bytes, length, error);
  if (!result)
    archive->length += length;
  return result;
}

aon_result aon_archive_open(aon_env *env, const char *path, aon_archive **ret_archive, aon_error *error) {
  aon_archive *archive = calloc(1, sizeof *archive);
  if (!archive)
    return aon_fail_memory(error);
  archive->env = env;
  aon_result result = env->ops->file_open(env->context, path, AON_FILE_REPLACE, &archive->file, error);
  if (result) {
    free(archive);
    return result;
  }
  *ret_archive = archive;
  return AON_OK;
}

void aon_archive_close(aon_archive *archive) {
  if (!archive)
    return;
  if (archive->deflating)
    deflateEnd(&archive->deflater);
  archive->env->ops->file_close(archive->file);
  aon_buffer_release(&archive->directory);
  free(archive);
}

static uint32_t flags_of(const char *name) {
  while (*name && (unsigned char)*name < 0x80)
    name++;
  return *name ? FLAG_UTF8 : 0;
}

/* The fields that local and central headers share, from "version needed" to the length of the name. */
static void common_put(unsigned char *at, const aon_zip_entry *entry) {
  put16(at, 20);
  put16(at + 2, flags_of(entry->name));
  put16(at + 4, entry->method);
  put16(at + 6, entry->dos_time);
  put16(at + 8, entry->dos_date);
  put32(at + 10, entry->crc);
  put32(at + 14, entry->packed_bytes);
  put32(at + 18, entry->unpacked_bytes);
  put16(at + 22, (uint32_t)strlen(entry->name));
}

static void local_put(unsigned char header[LOCAL_BYTES], const aon_zip_entry *entry) {
  memset(header, 0, LOCAL_BYTES);
  put32(header, 0x04034b50);
  common_put(header + 4, entry);
}

static aon_result entry_begin(aon_archive *archive, aon_error *error) {
  aon_zip_entry *entry = &archive->open;
  size_t name_length = strlen(entry->name);
  if (archive->entries >= AON_ARCHIVE_ENTRIES || name_length > UINT16_MAX)
    return too_large(error);
  entry->offset = archive->length;
  unsigned char header[LOCAL_BYTES];
  local_put(header, entry);
  aon_result result = bytes_write(archive, header, sizeof header, error);
  return result ? result : bytes_write(archive, entry->name, name_length, error);
}

/* The part is whole: its directory entry. */
static aon_result entry_record(aon_archive *archive, aon_error *error) {
  const aon_zip_entry *entry = &archive->open;
  unsigned char header[CENTRAL_BYTES] = {0};
  put32(header, 0x02014b50);
  put16(header + 4, 20);
  common_put(header + 6, entry);
  put32(header + 42, entry->offset);
  aon_result result = aon_buffer_append(&archive->directory, header, sizeof header, error);
  if (!result)
    result = aon_buffer_append(&archive->directory, entry->name, strlen(entry->name), error);
  if (!result)
    archive->entries++;
  return result;
}

aon_result aon_archive_copy(aon_archive *archive, aon_packed *packed, size_t index, const char *name, aon_error *error) {
  aon_result result = aon_packed_begin(packed, index, &archive->open, error);
  if (result)
    return result;
  archive->open.name = name;
  result = entry_begin(archive, error);
  uint64_t total = 0;
  for (size_t got = 1; !result && got;) {
    result = aon_packed_read(packed, archive->out, sizeof archive->out, &got, error);
    if (!result)
      result = bytes_write(archive, archive->out, got, error);
    total += got;
  }
  if (!result && total != archive->open.packed_bytes)
    result = aon_fail(error, AON_REJECTED, "bad_file",
                      "The workbook is damaged: its part %s is shorter than it says. Save it again and upload that.", name);
  return result ? result : entry_record(archive, error);
}

static aon_result deflate_some(aon_archive *archive, const void *bytes, size_t length, int flush, aon_error *error) {
  z_stream *stream = &archive->deflater;
  stream->next_in = (Bytef *)(uintptr_t)bytes;
  stream->avail_in = (uInt)length;
  int state;
  do {
    stream->next_out = archive->out;
    stream->avail_out = sizeof archive->out;
    state = deflate(stream, flush);
    aon_result result = bytes_write(archive, archive->out, sizeof archive->out - stream->avail_out, error);
    if (result)
      return result;
  } while (stream->avail_in || stream->avail_out == 0 || (flush == Z_FINISH && state != Z_STREAM_END));
  return AON_OK;
}

static aon_result gathered_pack(aon_archive *archive, aon_error *error) {
  size_t length = archive->gathered;
  archive->gathered = 0;
  archive->open.crc = (uint32_t)crc32(archive->open.crc, archive->in, (uInt)length);
  archive->open.unpacked_bytes += length;
  if (archive->open.unpacked_bytes > AON_ARCHIVE_BYTES)
    return too_large(error);
  return length ? deflate_some(archive, archive->in, length, Z_NO_FLUSH, error) : AON_OK;
}

static aon_result part_write(void *context, const void *bytes, size_t length, aon_error *error) {
  aon_archive *archive = context;
  aon_result result = AON_OK;
  for (size_t done = 0; !result && done < length;) {
    size_t piece = length - done < WINDOW_BYTES - archive->gathered ? length - done : WINDOW_BYTES - archive->gathered;
    memcpy(archive->in + archive->gathered, (const char *)bytes + done, piece);
    archive->gathered += piece;
    done += piece;
    if (archive->gathered == WINDOW_BYTES)
      result = gathered_pack(archive, error);
  }
  return result;
}

static aon_result part_begin(aon_archive *archive, const char *name, aon_error *error) {
  if (deflateInit2(&archive->deflater, DEFLATE_LEVEL, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    return aon_fail_memory(error);
  archive->deflating = true;
  archive->gathered = 0;
  archive->open = (aon_zip_entry){.name = name, .method = Z_DEFLATED, .dos_date = DOS_DATE_1980};
  return entry_begin(archive, error);
}

aon_sink aon_archive_begin(aon_archive *archive, const char *name) {
  aon_sink sink = {.write = part_write, .context = archive, .error = AON_ERROR_INIT};
  sink.result = part_begin(archive, name, &sink.error);
  return sink;
}

aon_result aon_archive_end(aon_archive *archive, aon_sink *sink, aon_error *error) {
  aon_result result = aon_sink_end(sink, error);
  if (!result)
    result = gathered_pack(archive, error);
  if (!result)
    result = deflate_some(archive, NULL, 0, Z_FINISH, error);
  if (archive->deflating)
    deflateEnd(&archive->deflater);
  archive->deflating = false;
  if (result)
    return result;
  aon_zip_entry *entry = &archive->open;
  entry->packed_bytes = archive->length - entry->offset - LOCAL_BYTES - strlen(entry->name);
  unsigned char header[LOCAL_BYTES];
  local_put(header, entry);
  result = archive->env->ops->file_write(archive->file, entry->offset, header, sizeof header, error);
  return result ? result : entry_record(archive, error);
}

aon_result aon_archive_finish(aon_archive *archive, aon_error *error) {
  unsigned char end[END_BYTES] = {0};
  put32(end, 0x06054b50);
  put16(end + 8, archive->entries);
  put16(end + 10, archive->entries);
  put32(end + 12, archive->directory.length);
  put32(end + 16, archive->length);
  aon_result result = bytes_write(archive, archive->directory.data, archive->directory.length, error);
  if (!result)
    result = bytes_write(archive, end, sizeof end, error);
  return result ? result : archive->env->ops->file_sync(archive->file, error);
}
