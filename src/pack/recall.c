/* The last answers of the stage. A slot holds question and answer one after the other; a new one simply takes its place. */
#include "pack/job.h"

static aon_recall_slot *slot_of(const aon_pack_job *job, uint32_t kind, aon_text key) {
  uint64_t h = 1469598103934665603u ^ kind;
  for (size_t i = 0; i < key.length; i++)
    h = (h ^ (unsigned char)key.data[i]) * 1099511628211u;
  return &job->recall[(h ^ h >> 32) % AON_RECALL_SLOTS];
}

bool aon_recall_get(const aon_pack_job *job, uint32_t kind, aon_text key, aon_text *ret_value) {
  const aon_recall_slot *slot = slot_of(job, kind, key);
  if (!slot->value_length || slot->kind != kind || !aon_text_same(key, (aon_text){slot->bytes, slot->key_length}))
    return false;
  *ret_value = (aon_text){slot->bytes + slot->key_length, slot->value_length};
  return true;
}

void aon_recall_put(aon_pack_job *job, uint32_t kind, aon_text key, aon_text value) {
  if (key.length > AON_RECALL_BYTES || value.length > AON_RECALL_BYTES - key.length)
    return;
  aon_recall_slot *slot = slot_of(job, kind, key);
  *slot = (aon_recall_slot){.kind = kind, .key_length = (uint16_t)key.length, .value_length = (uint16_t)value.length};
  if (key.length)
    memcpy(slot->bytes, key.data, key.length);
  memcpy(slot->bytes + key.length, value.data, value.length);
}

void aon_recall_clear(aon_pack_job *job) { memset(job->recall, 0, AON_RECALL_SLOTS * sizeof *job->recall); }
