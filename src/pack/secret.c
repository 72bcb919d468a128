/* Values of cells that a pack hands on and never sees: passwords.
 *
 *     cell -> sealed in the stage -> a token in Lua -> a mark in the defaults of a new document -> opened for its operation
 *
 * Invariants: the stage never has such a value in clear; its key lies in the job, in memory, and is made by the first one; a value is
 * opened only for a store that never tells it again (write_only of its shape), else it is left out. */
#include "pack/job.h"

#include <sodium.h>
#include <stdlib.h>

_Static_assert(sizeof((aon_pack_job *)0)->secret_key == crypto_secretbox_KEYBYTES, "the key of a job is one of secretbox");

aon_result aon_secret_seal(aon_pack_job *job, aon_text value, const char *property, bson_t *data, aon_error *error) {
  if (!job->has_secrets)
    aon_random(job->pack->env, job->secret_key, sizeof job->secret_key);
  job->has_secrets = true;
  size_t length = crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES + value.length;
  unsigned char *sealed = aon_arena_alloc(&job->row_arena, length);
  if (!sealed)
    return aon_fail_memory(error);
  aon_random(job->pack->env, sealed, crypto_secretbox_NONCEBYTES);
  bool fine = !crypto_secretbox_easy(sealed + crypto_secretbox_NONCEBYTES, (const unsigned char *)value.data, value.length, sealed,
                                     job->secret_key) &&
              bson_append_binary(data, property, -1, BSON_SUBTYPE_USER, sealed, (uint32_t)length);
  return fine ? AON_OK : aon_fail_memory(error);
}

void aon_secret_mark(bson_t *document, const char *name, size_t column) {
  uint8_t index = (uint8_t)column;
  bson_append_binary(document, name, -1, BSON_SUBTYPE_USER, &index, sizeof index);
}

static bool sealed_of(const aon_job_row *row, const uint8_t *mark, uint32_t length, const uint8_t **ret_sealed, uint32_t *ret_length) {
  bson_iter_t at;
  bson_subtype_t subtype;
  if (length != 1 || *mark >= row->sheet->column_count || !(row->filled >> *mark & 1) ||
      !bson_iter_init_find(&at, &row->data, row->sheet->columns[*mark].property) || !BSON_ITER_HOLDS_BINARY(&at))
    return false;
  bson_iter_binary(&at, &subtype, ret_length, ret_sealed);
  return *ret_length >= crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES;
}

static aon_result open_one(const aon_pack_job *job, const aon_job_row *row, const bson_iter_t *at, bson_t *out, aon_error *error) {
  bson_subtype_t subtype;
  uint32_t length, sealed_length;
  const uint8_t *mark, *sealed;
  bson_iter_binary(at, &subtype, &length, &mark);
  if (!sealed_of(row, mark, length, &sealed, &sealed_length))
    return AON_OK;
  size_t plain_length = sealed_length - crypto_secretbox_NONCEBYTES - crypto_secretbox_MACBYTES;
  unsigned char *plain = malloc(plain_length + 1);
  if (!plain)
    return aon_fail_memory(error);
  bool fine = !crypto_secretbox_open_easy(plain, sealed + crypto_secretbox_NONCEBYTES, sealed_length - crypto_secretbox_NONCEBYTES, sealed,
                                          job->secret_key);
  aon_result result = !fine ? aon_fail(error, AON_CORRUPT, "corrupt", "The temporary database of the upload is damaged. Upload it again.")
                      : bson_append_utf8(out, bson_iter_key(at), -1, (const char *)plain, (int)plain_length) ? AON_OK
                                                                                                             : aon_fail_memory(error);
  sodium_memzero(plain, plain_length);
  free(plain);
  return result;
}

/* Rows ask the same of the same store: the last answer is kept. */
static aon_result is_hidden(aon_pack_job *job, const aon_schema_collection *collection, const char *property, bool *ret_hidden,
                            aon_error *error) {
  const aon_document_source *source = job->input->source;
  aon_result result = AON_OK;
  *ret_hidden = false;
  if (job->hides_collection == collection && !strcmp(job->hides_property, property)) {
    *ret_hidden = job->hides;
    return AON_OK;
  }
  if (source->hides)
    result = source->hides(source->context, &collection->base, property, ret_hidden, error);
  if (!result && strlen(property) < sizeof job->hides_property) {
    job->hides_collection = collection;
    snprintf(job->hides_property, sizeof job->hides_property, "%s", property);
    job->hides = *ret_hidden;
  }
  return result;
}

aon_result aon_secret_open(aon_pack_job *job, const aon_job_row *row, const aon_schema_collection *collection, const bson_t *document,
                           bson_t *ret_document, aon_error *error) {
  aon_result result = AON_OK;
  bson_iter_t at;
  bson_init(ret_document);
  for (bson_iter_init(&at, document); !result && bson_iter_next(&at);) {
    bool hidden = false;
    if (!BSON_ITER_HOLDS_BINARY(&at)) {
      bson_append_iter(ret_document, NULL, 0, &at);
      continue;
    }
    result = is_hidden(job, collection, bson_iter_key(&at), &hidden, error);
    if (!result && hidden)
      result = open_one(job, row, &at, ret_document, error);
  }
  if (result)
    bson_destroy(ret_document);
  return result;
}

void aon_secret_forget(aon_pack_job *job) { sodium_memzero(job->secret_key, sizeof job->secret_key); }
