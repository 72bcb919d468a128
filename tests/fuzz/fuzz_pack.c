/* A pack file: Lua source of a stranger.
 *
 * Properties: it is loaded or refused as bad_pack in a sentence with the file's name, within the limits of memory and instructions; a
 * loaded one can be described, located and made a template of; loading it again gives the same description. */
#include <stdlib.h>
#include <string.h>

#include "book.h"
#include "fuzz.h"
#include "model/document.h"
#include "pack/pack.h"

#define PACK_FILE "./fuzz.lua"

static const aon_pack_limits limits = {.memory_bytes = 4u << 20, .instructions = 200000, .call_ms = 1000, .stage_memory_bytes = 1u << 20};

static void check_locations(const aon_pack *pack) {
  size_t count;
  const aon_collection *const *collections = aon_pack_collections(pack, &count);
  for (size_t i = 0; i < count; i++) {
    AON_BUFFER_CLEANUP aon_buffer place = {0};
    aon_error error = AON_ERROR_INIT;
    bson_t read;
    FUZZ_CHECK(aon_pack_collection(pack, collections[i]->name) == collections[i], "“%s” is not found", collections[i]->name);
    FUZZ_CHECK(aon_pack_locate(pack, collections[i]->name, NULL, &place, &error) == AON_OK, "%s", error.sentence);
    FUZZ_CHECK(aon_document_from_json(place.data, place.length, &read, &error) == AON_OK, "%s: %s", error.sentence, place.data);
    bson_destroy(&read);
    aon_buffer_clear(&place);
    aon_result result = aon_pack_locate(pack, collections[i]->name, "a:b", &place, &error);
    FUZZ_CHECK(!result || error.sentence[0], "a failure without a sentence");
  }
}

static void describe(const aon_pack *pack, aon_buffer *out) {
  AON_BUFFER_CLEANUP aon_buffer words = {0};
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_error error = AON_ERROR_INIT;
  const aon_template_sheet *sheets;
  size_t count;
  bson_t read;
  FUZZ_CHECK(aon_pack_describe(pack, true, out, &error) == AON_OK, "%s", error.sentence);
  FUZZ_CHECK(aon_document_from_json(out->data, out->length, &read, &error) == AON_OK, "%s: %s", error.sentence, out->data);
  bson_destroy(&read);
  FUZZ_CHECK(aon_pack_describe(pack, false, &words, &error) == AON_OK && words.length, "%s", error.sentence);
  FUZZ_CHECK(aon_pack_template(pack, &arena, &sheets, &count, &error) == AON_OK, "%s", error.sentence);
  if (!aon_template_write(fuzz_world(), "template.xlsx", sheets, count, &error)) {
    aon_buffer_clear(&words);
    FUZZ_CHECK(book_read("template.xlsx", &words, &error) == AON_OK, "%s", error.sentence);
  }
  FUZZ_CHECK(!error.kind || error.sentence[0], "a failure without a sentence");
}

/* false: refused. */
static bool load(aon_buffer *out) {
  aon_pack *pack = NULL;
  aon_error error = AON_ERROR_INIT;
  aon_result result = aon_pack_load(fuzz_world(), PACK_FILE, NULL, &limits, &pack, &error);
  if (result) {
    FUZZ_CHECK(result == AON_ENVIRONMENT && !strcmp(error.code, "bad_pack"), "%s %s: %s", aon_result_name(result), error.code,
               error.sentence);
    FUZZ_CHECK(strstr(error.sentence, PACK_FILE), "it does not say where: %s", error.sentence);
    FUZZ_CHECK(bson_utf8_validate(error.sentence, strlen(error.sentence), false), "a sentence that is no UTF-8: %s", error.sentence);
    FUZZ_CHECK(aon_buffer_text(out, error.sentence, NULL) == AON_OK, "memory");
    return false;
  }
  check_locations(pack);
  describe(pack, out);
  aon_pack_close(pack);
  return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  AON_BUFFER_CLEANUP aon_buffer first = {0};
  AON_BUFFER_CLEANUP aon_buffer second = {0};
  fuzz_file_put(PACK_FILE, data, size);
  bool loaded = load(&first);
  FUZZ_CHECK(load(&second) == loaded && !strcmp(first.data, second.data), "%s\n  %s", first.data, second.data);
  fuzz_world_clear();
  return 0;
}
