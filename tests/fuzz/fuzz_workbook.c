/* A file that somebody calls a workbook: any bytes.
 *
 * Properties: it is read or refused in a sentence, within the reader's promises for each cell; the scanner of plain rows and the XML parser
 * give the same cells or both refuse. */
#include "two_readers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_file_put("in.xlsx", data, size);
  AON_BUFFER_CLEANUP aon_buffer lines = {0};
  aon_error error;
  aon_result ignored = read_by_both("in.xlsx", &lines, &error);
  (void)ignored;
  fuzz_world_clear();
  return 0;
}
